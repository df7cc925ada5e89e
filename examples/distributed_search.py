"""A search whose trials run on the nodes of a Ray cluster.

    python examples/distributed_search.py                           a Ray of its own on this machine
    python examples/distributed_search.py --address 10.0.0.1:6379   a cluster that runs already
    python examples/distributed_search.py --address auto --storage s3://bucket/studies

Needs pip install "exact-trainer[ray]". Nodes may join and leave meanwhile, and a search that was
killed resumes when it is started again.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # silence TensorFlow's hardware report
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from search import TunerSearch
from search.executors import Ray
from trainer import Classifier, Float


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", help="of a cluster; by default RAY_ADDRESS, or none")
    parser.add_argument("--storage", help="a URL that all nodes reach; not needed on one machine")
    parser.add_argument("--trials", type=int, default=16, help="how many rates to try")
    parser.add_argument("--epochs", type=int, default=9, help="for those that are promoted")
    parser.add_argument("--cpu", type=int, default=1, help="cores for each trial")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--out", type=Path, default=Path("output/distributed_search"))
    args = parser.parse_args()

    x, y = load_digits(return_X_y=True)
    parts = train_test_split(x / 16, y, test_size=500, stratify=y, random_state=args.seed)
    x_train, x_test, y_train, y_test = parts
    search = TunerSearch(
        Classifier(model="mlp", epochs=args.epochs),
        {"learning_rate": Float(1e-5, 1.0, log=True)},
        tuner="tpe",
        pruner="asha",
        max_trials=args.trials,
        objective="val_accuracy",
        executor=Ray(args.address, trial_resources={"cpu": args.cpu}, storage=args.storage),
        directory=args.out / "study",
        seed=args.seed,
    )
    search.fit(x_train, y_train)
    print(search.summary())
    print(f"held-out accuracy {search.score(x_test, y_test):.3f}")
    print(f"wrote {args.out / 'study' / 'study.sqlite'}")


if __name__ == "__main__":
    main()
