"""`python -m benchmarks.single_rows`: predict of one row, against keras.Model.predict of the same.

    python -m benchmarks.single_rows            # writes benchmarks/results/single_rows.md
    python -m benchmarks.single_rows --quick    # tiny: checks that it runs; prints only

Of each row both sides take turns in one process, so that other load affects them alike; a figure is
the median of its calls. The peers are the bare network, given the row as our encoding made it, and,
for tables, the saved model, given the raw columns. The goals are a tenth of the time for a row of
a table, as a DataFrame or a dict, and a sixtieth for an image.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import machine
from benchmarks.data import images
from benchmarks.models import Ours, perceptron
from trainer import Classifier

RESULTS = Path(__file__).parent / "results" / "single_rows.md"
TABLE_GOAL, IMAGE_GOAL = 10.0, 60.0
ROWS = 300


@dataclass(frozen=True)
class Case:
    """One kind of row.

    Attributes:
        title: what it is.
        fit: returns a fitted Classifier.
        x: rows of this kind.
        goal: the least ratio of times.
    """

    title: str
    fit: Callable[[], Classifier]
    x: Any
    goal: float


def mixed() -> pd.DataFrame:
    """Return rows of numbers, a category, a date and a boolean."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": rng.normal(40, 10, ROWS),
            "income": rng.lognormal(10, 1, ROWS),
            "city": rng.choice(["Rome", "Oslo", "Bern"], ROWS),
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, ROWS), "D"),
            "owner": rng.integers(0, 2, ROWS).astype(bool),
        }
    )


def numbers() -> pd.DataFrame:
    """Return rows of 300 numbers."""
    rng = np.random.default_rng(1)
    return pd.DataFrame(rng.normal(size=(ROWS, 300)), columns=[f"c{i}" for i in range(300)])


def kinds() -> pd.DataFrame:
    """Return rows of 75 columns in several dtypes, of pandas' own too."""
    rng = np.random.default_rng(2)
    columns: dict[str, Any] = {}
    for i in range(30):
        columns[f"text_{i}"] = rng.choice(["a", "b", "c"], ROWS)
        columns[f"number_{i}"] = rng.normal(size=ROWS)
    for i in range(10):
        columns[f"category_{i}"] = pd.Series(rng.choice(["a", "b"], ROWS), dtype="category")
    for i in range(5):
        columns[f"nullable_{i}"] = pd.array(rng.integers(0, 9, ROWS), dtype="Int64")
    return pd.DataFrame(columns)


def cnn() -> Any:
    """Return a small network of convolutions, for images."""
    import keras

    return keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Reshape((28, 28, 1)),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(10, "softmax"),
        ]
    )


def cases() -> list[Case]:
    """Return what is measured."""
    labels = np.random.default_rng(3).choice(["a", "b"], ROWS)
    short: dict[str, Any] = {"epochs": 1, "random_state": 0, "verbose": 0}
    found = []
    for title, frame in (
        ("5 columns: numbers, category, date, boolean", mixed()),
        ("300 columns of numbers", numbers()),
        ("75 columns of text, numbers, categories, nullable numbers", kinds()),
    ):
        for name, model in (("tabular", None), ("mlp", "mlp")):
            made = Classifier(model=model, **short)
            fit = lambda made=made, frame=frame: made.fit(frame, labels)  # noqa: E731
            found.append(Case(f"table, {title}; {name}", fit, frame, TABLE_GOAL))
    x, y = images(ROWS)
    for title, network in (("perceptron 784-300-100-10", perceptron), ("a small CNN", cnn)):
        made = Ours(network=network, epochs=1, random_state=0)
        fit = lambda made=made: made.fit(x, y)  # noqa: E731
        found.append(Case(f"image 28 x 28, {title}", fit, x, IMAGE_GOAL))
    return found


def turns(works: dict[str, Callable[[], Any]], seconds: float) -> dict[str, float]:
    """Return the median milliseconds of each work, called in turns for about so long."""
    figures: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        for _ in range(3):
            work()
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or not all(figures.values()):
        for name, work in works.items():
            for _ in range(5 if name.startswith("Trainer") else 1):
                started = time.perf_counter()
                work()
                figures[name].append(1_000 * (time.perf_counter() - started))
    return {name: statistics.median(each) for name, each in figures.items()}


def measured(case: Case, seconds: float) -> dict[str, float]:
    """Return the milliseconds of every side."""
    import tensorflow as tf

    made = case.fit()
    network = made.network_
    one = case.x.iloc[[7]] if hasattr(case.x, "iloc") else case.x[7:8]
    encoded = np.asarray(network.inputs.prepare(one, "Classifier"), network.float_dtype)
    works: dict[str, Callable[[], Any]] = {
        "Trainer": lambda: made.predict(one),
        "the network's predict": lambda: network.core.predict(encoded, verbose=0),
    }
    if network.inputs.table is not None:
        row = one.to_dict("records")[0]
        works["Trainer, a dict"] = lambda: made.predict(row)
        raw = network.inputs.table.inputs(one)
        given = {name: tf.constant(raw[name]) for name in made.model_.input}
        works["the saved model's predict"] = lambda: made.model_.predict(given, verbose=0)
    return turns(works, seconds)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table, and return 1 if a figure misses its goal."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.single_rows", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="checks that it runs; prints only")
    parser.add_argument("--seconds", type=float, default=15.0, help="for each kind of row")
    given = parser.parse_args(arguments)
    chosen = cases()[::6] if given.quick else cases()
    lines = [
        "| row | ours, ms | ours as a dict, ms | network's predict, ms | ratio "
        "| saved model's predict, ms | ratio | goal |",
        "|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    missed = 0
    for case in chosen:
        found = measured(case, 0.0 if given.quick else given.seconds)
        ours, network = found["Trainer"], found["the network's predict"]
        slowest = max(ours, found.get("Trainer, a dict", 0.0))
        met = network / slowest >= case.goal
        missed += not met

        def shown(name: str, found: dict[str, float] = found) -> str:
            return f"{found[name]:.2f}" if name in found else ""

        saved = found.get("the saved model's predict")
        lines.append(
            f"| {case.title} | {ours:.2f} | {shown('Trainer, a dict')} | {network:.1f} "
            f"| {network / ours:.0f}× | {shown('the saved model' + chr(39) + 's predict')} "
            f"| {'' if saved is None else f'{saved / ours:.0f}×'} "
            f"| at least {case.goal:.0f}×: {'yes' if met else 'no'} |"
        )
        print(lines[-1], flush=True)
    if not given.quick:
        where = ", ".join(f"{name} {value}" for name, value in machine.describe().items())
        text = (
            "# One row\n\nMedians of `python -m benchmarks.single_rows`; the ratio of the goal is "
            f"that to the bare network's predict, also of a dict. {where}; load "
            f"{machine.load():.1f}.\n\n"
        )
        RESULTS.write_text(text + "\n".join(lines) + "\n")
    return int(missed > 0 and not given.quick)


if __name__ == "__main__":
    sys.exit(main())
