"""`python -m benchmarks.networks`: networks trained once, for searches that look up their scores.

    python -m benchmarks.networks --data FOLDER    # appends to benchmarks/results/networks.csv

To train each trial of each search of `samplers` (20 seeds, 100 trials, five data sets) would take
days. So random points of a space are trained, a forest of extremely randomised trees learns the
score from the point, and the searches ask the forest (Eggensperger, Hutter, Hoos and Leyton-Brown
2015, "Efficient Benchmarking of Hyperparameter Optimizers via Surrogates").

The folder holds california_housing.csv.gz, diamonds.csv.gz and mnist_10k.npz; the digits and the
tumours come with scikit-learn.
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.functions import Problem
from search.space import Point, Space, to_unit
from trainer import Bool, Choice, Float, Int

RECORDS = Path(__file__).parent / "results" / "networks.csv"
ROWS = 3_000  # of a data set, for training and validation together
EPOCHS = 6
POINTS = 250  # of each data set
SPACE = Space(
    {
        "optimizer": Choice("sgd", "adam", "rmsprop"),
        "learning_rate": Float(1e-4, 0.3, log=True),
        "batch_size": Int(16, 256, log=True),
        "depth": Int(1, 5),
        "units": Int(8, 256, log=True),
        "activation": Choice("relu", "selu", "tanh"),
        "batch_norm": Bool(),
        "dropout": Float(0.0, 0.6, when={"batch_norm": False}),
    }
)
CLASSES = ("digits", "tumours", "mnist")


def data(name: str, folder: Path) -> tuple[Any, Any]:
    """Return the rows of a data set, at most ROWS of them, drawn with a fixed seed."""
    import pandas as pd
    from sklearn import datasets

    x: Any
    y: Any
    if name == "digits":
        x, y = datasets.load_digits(return_X_y=True)
    elif name == "tumours":
        x, y = datasets.load_breast_cancer(return_X_y=True)
    elif name == "mnist":
        with np.load(folder / "mnist_10k.npz") as file:
            x, y = file["x"], file["y"]
        x = x.reshape(len(x), -1)
    else:
        target = {"california": "median_house_value", "diamonds": "price"}[name]
        frame = pd.read_csv(folder / f"{FILES[name]}.csv.gz").dropna()
        x = pd.get_dummies(frame.drop(columns=target)).to_numpy(np.float32)
        y = frame[target].to_numpy(np.float32)
    order = np.random.default_rng(0).permutation(len(x))[:ROWS]
    x, y = np.asarray(x, np.float32)[order], np.asarray(y)[order]
    return x, y


FILES = {"california": "california_housing", "diamonds": "diamonds"}
NAMES = ("digits", "tumours", "mnist", "california", "diamonds")


def score(name: str, point: Point, x: Any, y: Any) -> float:
    """Train a network; return its error rate, or its unexplained share of the variance."""
    from trainer import Classifier, Regressor, models

    base: Any = Classifier if name in CLASSES else Regressor

    class Network(base):  # type: ignore[misc]  # a class chosen at run time
        depth: int = 1
        units: int = 32
        activation: str = "relu"
        batch_norm: bool = False
        dropout: float = 0.0

        def build_model(self, spec: Any) -> Any:
            return models.deep(
                spec,
                depth=self.depth,
                units=self.units,
                activation=self.activation,
                batch_norm=self.batch_norm,
                dropout=self.dropout,
            )

    deviation = 1.0
    if base is Regressor:
        deviation = float(y.std())
        y = (y - y.mean()) / deviation
    cut = len(x) * 7 // 10
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rates that diverge belong to the space
        network = Network(epochs=EPOCHS, normalize="standard", verbose=0, random_state=0, **point)
        try:
            network.fit(x[:cut], y[:cut])
            lost = 1 - float(network.score(x[cut:], y[cut:]))
        except (ArithmeticError, ValueError):  # a loss that is no number any more
            lost = 1.0
    return min(lost, 1.0) if np.isfinite(lost) else 1.0


@functools.cache
def _records() -> list[dict[str, str]]:
    with RECORDS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _row(point: Point) -> list[float]:
    cells: list[float] = []
    for name, domain in SPACE.domains.items():
        if isinstance(domain, Choice):
            cells += [float(point[name] == value) for value in domain.values]
        else:
            cells.append(to_unit(domain, point[name]) if name in point else -1.0)
    return cells


@functools.cache
def _forest(name: str) -> tuple[Any, float]:
    """Return the forest of a data set, and how well it ranks points that it has not seen."""
    from scipy.stats import spearmanr
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.model_selection import cross_val_predict

    records = [record for record in _records() if record["data"] == name]
    x = np.array([_row(SPACE.from_json(_parsed(record))) for record in records])
    y = np.array([float(record["score"]) for record in records])
    forest = ExtraTreesRegressor(100, min_samples_leaf=2, random_state=0)
    ranked = spearmanr(cross_val_predict(forest, x, y, cv=10), y)
    return forest.fit(x, y), float(ranked.statistic)


def ranked(name: str) -> float:
    """Return Spearman's correlation of the forest's scores and the networks', cross-validated."""
    return _forest(name)[1]


def _parsed(record: dict[str, str]) -> dict[str, Any]:
    return {name: json.loads(record[name]) for name in SPACE.domains if record[name]}


def recorded() -> list[str]:
    """Return the names of the data sets that have been recorded."""
    return list(dict.fromkeys(record["data"] for record in _records()))


def problems() -> dict[str, Problem]:
    """Return the recorded data sets as problems to minimise."""
    return {
        f"network, {name}": Problem(
            f"network, {name}",
            "benchmarks/results/networks.csv",
            SPACE,
            functools.partial(_asked, name),
        )
        for name in recorded()
    }


def _asked(name: str, point: Point, _epochs: int) -> float:
    row = np.array([_row(point)], np.float32)
    trees = _forest(name)[0].estimators_
    return float(np.mean([tree.predict(row, check_input=False)[0] for tree in trees]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is not recorded yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"))
    options = parser.parse_args(arguments)
    done = _records() if RECORDS.exists() else []
    fields = ["data", *SPACE.domains, "score", "seconds"]
    with RECORDS.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fields)
        if not done:
            writer.writeheader()
        held = {name: data(name, options.data) for name in NAMES}
        generators = {name: np.random.default_rng(0) for name in NAMES}
        for number in range(POINTS):
            for name in NAMES:
                point = SPACE.draw(generators[name])
                if sum(record["data"] == name for record in done) > number:
                    continue
                start = time.perf_counter()
                value = score(name, point, *held[name])
                cells = {key: json.dumps(v) for key, v in SPACE.to_json(point).items()}
                seconds = round(time.perf_counter() - start, 3)
                writer.writerow(
                    {"data": name, **cells, "score": f"{value:.6g}", "seconds": seconds}
                )
                file.flush()


if __name__ == "__main__":
    main()
