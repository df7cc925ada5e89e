"""`python -m benchmarks.pruning`: a search with a pruner, without one, and keras-tuner's Hyperband.

    python -m benchmarks.pruning                         # 10 seeds; writes the results
    python -m benchmarks.pruning --seeds 2 --problems 2  # a quick look; prints the table
    BENCHMARK_EPOCHS=81 python -m benchmarks.pruning --seeds 1 --problems 1    # a quicker one

Every side searches width, depth, learning rate, batch size and dropout of a perceptron for the
same number of epochs in all (BUDGET), of which a full trial has EPOCHS. Each run is a process of
its own, and the sides take turns. Compared are the best validation accuracies that were known

- when the budget of epochs was used up, and
- after as many seconds as keras-tuner took for it, start included. Ours have one worker per core
  and go on for MORE times the budget; keras-tuner has one.

Accuracy is that of the best epoch of a trial on all sides. keras-tuner goes by it, our searches by
the last epoch of a trial at its rung.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import machine

RESULTS = Path(__file__).parent / "results"
EPOCHS = 27
BUDGET = int(os.environ.get("BENCHMARK_EPOCHS", str(8 * EPOCHS)))
MORE = 3
PROBLEMS = ("digits", "breast cancer", "spirals", "noisy clusters")
SIDES = ("random", "random + asha", "random + median", "tpe + asha", "keras-tuner's Hyperband")
LIMITS = {"units": (8, 128), "rate": (1e-4, 1e-1), "depth": (1, 3), "dropout": (0.0, 0.5)}
BATCHES = (16, 32, 64)


def data(problem: str) -> tuple[Any, Any, Any, Any]:
    """Return rows to train on, their labels, and the same to validate on."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    if problem == "digits":
        x, y = datasets.load_digits(return_X_y=True)
    elif problem == "breast cancer":
        x, y = datasets.load_breast_cancer(return_X_y=True)
    elif problem == "spirals":
        generator = np.random.default_rng(0)
        turn = np.sqrt(generator.random(1500)) * 3 * np.pi
        y = np.arange(1500) % 2
        angle = turn + np.pi * y
        x = np.c_[np.cos(angle) * turn, np.sin(angle) * turn] + generator.normal(0, 0.4, (1500, 2))
    else:
        x, y = datasets.make_classification(
            1500, 20, n_informative=8, n_classes=5, flip_y=0.05, random_state=0
        )
    x = ((x - x.mean(axis=0)) / (x.std(axis=0) + 1e-9)).astype("float32")
    found: Any = train_test_split(x, y, test_size=0.3, random_state=0, stratify=y)
    x, x_valid, y, y_valid = found
    return x, y, x_valid, y_valid


def network(shape: Any, classes: int, units: int, depth: int, dropout: float) -> Any:
    """Return the perceptron that all sides train."""
    import keras

    model = keras.Sequential([keras.Input(shape)])
    for _ in range(depth):
        model.add(keras.layers.Dense(units, "relu"))
        model.add(keras.layers.Dropout(dropout))
    model.add(keras.layers.Dense(classes, "softmax"))
    return model


def ours(problem: str, tuner: str, pruner: str | None, seed: int) -> list[tuple[int, float, float]]:
    """Run our search; return epochs so far, time and score at each end of a trial."""
    from search import SearchCallback, TunerSearch
    from trainer import Choice, Classifier, Float, Int

    class Net(Classifier):
        units: int = 32
        depth: int = 1
        dropout: float = 0.0

        def build_model(self, spec: Any) -> Any:
            return network(spec.input_shape, spec.n_outputs, self.units, self.depth, self.dropout)

    ends: list[tuple[int, float, int]] = []

    class Noting(SearchCallback):
        spent = 0

        def on_trial_end(self, study: Any, trial: Any) -> None:
            before = 0 if trial.parent is None else study.trials[trial.parent].epochs
            self.spent += (trial.epochs or EPOCHS) - before
            ends.append((self.spent, time.time(), trial.id))

    space = {
        "units": Int(*LIMITS["units"], log=True),
        "depth": Int(*LIMITS["depth"]),
        "dropout": Float(*LIMITS["dropout"]),
        "learning_rate": Float(*LIMITS["rate"], log=True),
        "batch_size": Choice(*BATCHES),
    }
    x, y, x_valid, y_valid = data(problem)
    search = TunerSearch(
        Net(epochs=EPOCHS, normalize=None),
        space,
        tuner=tuner,
        pruner=pruner,
        max_trials=10_000,
        max_epochs=MORE * BUDGET,
        objective="val_accuracy",
        seed=seed,
        refit=False,
        verbose=0,
        callbacks=[Noting()],
    ).fit(x, y, validation_data=(x_valid, y_valid))
    best = search.epochs_.groupby("trial").val_accuracy.max()
    return [(spent, at, float(best[n])) for spent, at, n in ends if n in best.index]


def theirs(problem: str, seed: int) -> list[tuple[int, float, float]]:
    """Run keras-tuner's Hyperband; the same, at each end of an epoch."""
    import keras
    import keras_tuner
    from keras_tuner.errors import FatalError

    course: list[tuple[int, float, float]] = []
    x, y, x_valid, y_valid = data(problem)

    class Model(keras_tuner.HyperModel):
        def build(self, hp: Any) -> Any:
            model = network(
                x.shape[1:],
                int(y.max()) + 1,
                hp.Int("units", *LIMITS["units"], sampling="log"),
                hp.Int("depth", *LIMITS["depth"]),
                hp.Float("dropout", *LIMITS["dropout"]),
            )
            rate = hp.Float("rate", *LIMITS["rate"], sampling="log")
            model.compile(
                optimizer=keras.optimizers.Adam(rate),
                loss="sparse_categorical_crossentropy",
                metrics=["accuracy"],
            )
            return model

        def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
            size = hp.Choice("batch_size", list(BATCHES))
            return model.fit(*args, batch_size=size, **kwargs)

    class Noting(keras.callbacks.Callback):
        def __deepcopy__(self, memo: Any) -> Any:
            return self  # keras-tuner copies callbacks for each trial

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            course.append((len(course) + 1, time.time(), float(logs["val_accuracy"])))
            if len(course) >= BUDGET:
                raise FatalError("the budget is used up")

    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.Hyperband(
            Model(),
            objective="val_accuracy",
            max_epochs=EPOCHS,
            factor=3,
            hyperband_iterations=100,
            seed=seed + 1,
            directory=folder,
        )
        try:
            tuner.search(x, y, validation_data=(x_valid, y_valid), callbacks=[Noting()], verbose=0)
        except FatalError:
            return course
    return course


def run(problem: str, side: str, seed: int) -> dict[str, Any]:
    """Run a side in a process of its own; return its course, in seconds since its start."""
    began = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.pruning", "--one", problem, side, str(seed)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    if done.returncode:
        raise RuntimeError(f"{side} on {problem}: {done.stderr[-2000:]}")
    course = [(n, at - began, score) for n, at, score in json.loads(done.stdout.splitlines()[-1])]
    return {"problem": problem, "side": side, "seed": seed, "course": course}


def best(course: Any, *, epochs: float = np.inf, seconds: float = np.inf) -> float:
    """Return the best score known by then; 0 if there is none."""
    return max((s for n, at, s in course if n <= epochs and at <= seconds), default=0.0)


def table(runs: list[dict[str, Any]]) -> str:
    """Return the medians over seeds as a table."""
    sides = [s for s in SIDES if any(r["side"] == s for r in runs)]
    problems = list(dict.fromkeys(r["problem"] for r in runs))
    lines = [
        "| | "
        + " | ".join(f"{p}: epochs; seconds" for p in problems)
        + " | seconds for the budget |",
        "|---" * (len(problems) + 2) + "|",
    ]
    ends = {(r["problem"], r["seed"]): r["course"][-1][1] for r in runs if r["side"] == SIDES[-1]}
    for side in sides:
        cells = []
        for problem in problems:
            own = [r for r in runs if (r["problem"], r["side"]) == (problem, side)]
            by_epochs = median(best(r["course"], epochs=BUDGET) for r in own)
            by_time = median(best(r["course"], seconds=ends[problem, r["seed"]]) for r in own)
            cells.append(f"{by_epochs:.3f}; {by_time:.3f}")
        taken = median(
            max((at for n, at, _ in r["course"] if n <= BUDGET), default=np.inf)
            for r in runs
            if r["side"] == side
        )
        lines.append(f"| {side} | " + " | ".join(cells) + f" | {taken:.0f} |")
    goal = "keras-tuner's Hyperband"
    for side in sides:
        ratios = []
        for r in (r for r in runs if r["side"] == side and side != goal):
            (other,) = [
                o
                for o in runs
                if (o["side"], o["problem"], o["seed"]) == (goal, r["problem"], r["seed"])
            ]
            target = best(other["course"])
            reached = [at for _, at, s in r["course"] if s >= target]
            ratios.append(min(reached, default=np.inf) / other["course"][-1][1])
        if ratios:
            lines.append(
                f"\n{side}: reaches the best accuracy of {goal} in {median(ratios):.2f} of "
                f"its time (median of {len(ratios)} runs; inf: not within the budget)"
            )
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--problems", type=int, default=len(PROBLEMS))
    parser.add_argument("--one", nargs=3)
    given = parser.parse_args()
    if given.one:
        problem, side, seed = given.one
        if side == SIDES[-1]:
            found = theirs(problem, int(seed))
        else:
            tuner, _, pruner = side.partition(" + ")
            found = ours(problem, tuner, pruner or None, int(seed))
        print(json.dumps(found))
        return
    from search.searches import TUNERS

    sides = [s for s in SIDES if s.partition(" + ")[0] in TUNERS or s == SIDES[-1]]
    runs = [
        run(problem, side, seed)
        for seed in range(given.seeds)
        for problem in PROBLEMS[: given.problems]
        for side in sides
    ]
    print(table(runs))
    if (given.seeds, given.problems) == (10, len(PROBLEMS)):
        write(runs)


def write(runs: list[dict[str, Any]]) -> None:
    """Write the table of these runs to the results."""
    told = "\n".join(f"- {name}: {value}" for name, value in machine.describe().items())
    head = (
        f"# Pruning\n\n`python -m benchmarks.pruning`, {BUDGET} epochs a run; "
        f"{len({(r['problem'], r['seed']) for r in runs})} pairs of problem and seed.\n"
    )
    text = f"{head}\n{told}\n\n{table(runs)}\n"
    (RESULTS / "pruning.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
