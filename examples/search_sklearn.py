"""scikit-learn's methods: random search, halving, and its own GridSearchCV, on one Trainer.

    python examples/search_sklearn.py
    python examples/search_sklearn.py --data flowers.csv --target species

A Trainer is an estimator, so GridSearchCV takes it unchanged. SklearnSearch has the same interface
and results; in addition a trial may crash, a study resumes after a kill, and halving continues the
training of promising candidates instead of starting over.
"""

import argparse
import os
from pathlib import Path
from typing import Annotated

import pandas as pd
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # silence TensorFlow's hardware report
from search import SklearnSearch
from search.distributions import grid
from trainer import Choice, Classifier, Float, Int, datasets, models


class Network(Classifier):
    """Two dense layers. A domain beside a default says what a search may try."""

    activation: Annotated[str, Choice("relu", "selu")] = "relu"
    batch_size: Annotated[int, Int(16, 128, log=True)] = 32
    learning_rate: Annotated[float, Float(1e-5, 1.0, log=True)] = 1e-3

    def build_model(self, spec):
        return models.deep(spec, depth=2, units=32, activation=self.activation)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="breast_cancer", help="a data set's name or a file")
    parser.add_argument("--target", help="for a table: the column to predict")
    parser.add_argument("--trials", type=int, default=18, help="candidates per search")
    parser.add_argument("--seed", type=int, default=42, help="the same seed gives the same trials")
    parser.add_argument("--out", type=Path, default=Path("output/search_sklearn"), help="for files")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    data = datasets.load(args.data, target=args.target, seed=args.seed)
    if data.class_names is None:
        raise SystemExit(f"--data {args.data}: has numbers to predict; use iris, for example")
    print(data, data.description, sep="\n")
    network = Network(normalize="standard", epochs=9)

    # 1. Random points, each scored by cross-validation with two of scikit-learn's scores. refit=
    # names the one that determines the best.
    splits = StratifiedKFold(3, shuffle=True, random_state=args.seed)
    random = SklearnSearch(
        network,
        method="random",
        n_iter=args.trials,
        cv=splits,
        scoring=["f1_macro", "neg_log_loss"],
        refit="f1_macro",
        seed=args.seed,
    ).fit(*data.train)
    print(random.summary())
    pd.DataFrame(random.cv_results_).to_csv(args.out / "cv_results.csv", index=False)
    random.plot_history().figure.savefig(args.out / "history.png")
    random.plot_parallel().figure.savefig(args.out / "parallel.png")
    random.plot_importance().figure.savefig(args.out / "importance.png")

    # 2. Halving: all candidates for one epoch, the best third for three, and so on. Each resumes
    # from its own last state, so no epoch is trained twice. cv=None: one fit per trial.
    halving = SklearnSearch(
        network, method="halving", n_iter=args.trials, cv=None, seed=args.seed
    ).fit(*data.train, validation_data=data.valid)
    rungs = halving.results_.groupby("rung").agg(trials=("trial", "size"), epochs=("epochs", "max"))
    print(rungs.to_string())
    halving.plot_rungs().figure.savefig(args.out / "rungs.png")

    # 3. scikit-learn's own search, over a grid of a narrower domain.
    listed = grid(network, {"learning_rate": Float(1e-3, 1e-1, log=True)}, levels=3)
    plain = GridSearchCV(network.set_params(random_state=args.seed), listed, cv=splits, n_jobs=2)
    plain.fit(*data.train)

    for name, found in {"random": random, "halving": halving, "GridSearchCV": plain}.items():
        accuracy = accuracy_score(data.test.y, found.predict(data.test.x))
        print(f"{name}: held-out accuracy {accuracy:.3f} with {found.best_params_}")

    print("\nfiles written:")
    for name in ("cv_results.csv", "history.png", "parallel.png", "importance.png", "rungs.png"):
        print(f"  {args.out / name}")


if __name__ == "__main__":
    main()
