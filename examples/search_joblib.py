"""scikit-learn's own search over a Trainer, with its fits on a cluster of Ray or of Dask.

    python examples/search_joblib.py --backend ray       needs pip install "ray"
    python examples/search_joblib.py --backend dask      needs pip install "distributed"

Both start workers on this machine; with --address they use a cluster that runs already. A search of
this project does more (see distributed_search.py): joblib sends the data with each fit, and when a
worker dies or the process is killed, all fits begin again.
"""

import argparse
import os
from contextlib import contextmanager

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # silence TensorFlow's hardware report
import joblib
from sklearn.datasets import load_digits
from sklearn.model_selection import RandomizedSearchCV

from search.distributions import distributions
from trainer import Classifier, Float


@contextmanager
def on_ray(address, workers):
    # a Ray on this machine alone need not be reachable from others
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0" if address is None else "1")
    import ray
    from ray.util.joblib import register_ray

    options = {} if address else {"num_cpus": workers, "include_dashboard": False}
    ray.init(address=address or "local", log_to_driver=False, **options)
    register_ray()
    with joblib.parallel_config("ray", n_jobs=workers):
        yield
    ray.shutdown()


@contextmanager
def on_dask(address, workers):
    from distributed import Client, LocalCluster

    local = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
    with (
        # TensorFlow needs a process for each fit that runs
        Client(address or LocalCluster(processes=True, **local)),
        joblib.parallel_config("dask", n_jobs=workers),
    ):
        yield


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=("ray", "dask", "loky"), default="ray")
    parser.add_argument("--address", help="of a cluster that runs already")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=5)
    args = parser.parse_args()

    x, y = load_digits(return_X_y=True)
    trainer = Classifier(model="mlp", epochs=args.epochs, random_state=0, verbose=0)
    search = RandomizedSearchCV(
        trainer,
        distributions(trainer, {"learning_rate": Float(1e-4, 1e-1, log=True)}),
        n_iter=args.trials,
        cv=2,
        random_state=0,
    )
    backends = {"ray": on_ray, "dask": on_dask}
    if args.backend in backends:
        with backends[args.backend](args.address, args.workers):
            search.fit(x / 16, y)
    else:
        search.set_params(n_jobs=args.workers).fit(x / 16, y)
    print(f"best rate {search.best_params_['learning_rate']:.6f}")
    print("scores " + " ".join(f"{score:.6f}" for score in search.cv_results_["mean_test_score"]))


if __name__ == "__main__":
    main()
