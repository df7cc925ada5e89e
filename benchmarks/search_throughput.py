"""`python -m benchmarks.search_throughput`: trials per hour, overhead of a trial, and memory.

    python -m benchmarks.search_throughput                          # writes the results
    python -m benchmarks.search_throughput --trials 8 --rounds 1    # a quick look; prints the table
    python -m benchmarks.search_throughput --data mnist_10k.npz     # on your own x and y

- Throughput: a random search over width and learning rate of a perceptron, with 8,000 images of
  28 x 28 to train on for two epochs and 2,000 to validate on. One side is TunerSearch with one
  worker per core, the other keras_tuner.RandomSearch. Each is a process of its own, timed from
  start to exit, and the sides take turns.
- Overhead: the time of a trial besides fitting and scoring, with an estimator that does nothing.
- Memory: resident size of coordinator and workers after the 20th and the 200th trial.
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
from typing import Annotated, Any

import numpy as np
from sklearn.base import BaseEstimator

from benchmarks import machine
from benchmarks.data import images
from search import SearchCallback, TunerSearch
from search.checking import workers
from trainer import Classifier, Float, Int

RESULTS = Path(__file__).parent / "results"
TRIALS, ROUNDS = 100, 3
EPOCHS, TRAINED, MEASURED = 2, 8_000, 2_000
MEMORY_TRIALS = (20, 200)
OVERHEAD_TRIALS = 100
WIDTHS = (100, 200, 300)
RATES = (1e-4, 1e-2)


class Perceptron(Classifier):
    """A perceptron 784-width-100-10."""

    width: Annotated[int, Int(WIDTHS[0], WIDTHS[-1], step=100)] = 300
    learning_rate: Annotated[float, Float(*RATES, log=True)] = 1e-3

    def build_model(self, spec: Any) -> Any:
        """Return the same network as the other side."""
        return network(self.width)


class Nothing(BaseEstimator):
    """An estimator that takes no time to fit or to score."""

    def __init__(self, a: float = 0.0, b: int = 0) -> None:
        self.a = a
        self.b = b

    def fit(self, x: Any, y: Any = None) -> Nothing:
        """Do nothing."""
        return self

    def score(self, x: Any, y: Any = None) -> float:
        """Return a score that is higher the closer `a` is to 0.5."""
        return -abs(self.a - 0.5)


class Resident(SearchCallback):
    """Record the resident bytes of this process and its workers after given trials."""

    def __init__(self) -> None:
        self.seen: dict[int, tuple[int, list[int]]] = {}
        self._ended = 0

    def on_trial_end(self, study: Any, trial: Any) -> None:
        """Record them if it is one of those trials."""
        import psutil

        self._ended += 1
        if self._ended in MEMORY_TRIALS:
            own = psutil.Process()
            # leave out the guards above the workers, and multiprocessing's resource tracker
            below = [child.memory_info().rss for child in own.children(recursive=True)]
            self.seen[self._ended] = own.memory_info().rss, [r for r in below if r > 2**27]


class Clock(SearchCallback):
    """Record when trials end."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def on_trial_end(self, study: Any, trial: Any) -> None:
        """Record the time."""
        self.marks.append(time.perf_counter())


def network(width: int) -> Any:
    """Return a perceptron 784-width-100-10, for images."""
    import keras

    return keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Flatten(),
            keras.layers.Dense(width, "relu"),
            keras.layers.Dense(100, "relu"),
            keras.layers.Dense(10, "softmax"),
        ]
    )


def data(file: str | None) -> tuple[np.ndarray, ...]:
    """Return training rows and classes, and validation rows and classes."""
    if file is None:
        x, y = images(TRAINED + MEASURED)
    else:
        with np.load(file) as found:
            x, y = (found["x"] / 255.0).astype(np.float32), found["y"]
    cut = slice(TRAINED, TRAINED + MEASURED)
    return x[:TRAINED], y[:TRAINED], x[cut], y[cut]


def ours(trials: int, file: str | None) -> float:
    """Search with TunerSearch; return the best accuracy."""
    x, y, x_valid, y_valid = data(file)
    search = TunerSearch(
        Perceptron(epochs=EPOCHS),
        tuner="random",
        max_trials=trials,
        objective="val_accuracy",
        refit=False,
        seed=0,
        verbose=0,
    ).fit(x, y, validation_data=(x_valid, y_valid))
    return float(search.best_score_)


def theirs(trials: int, file: str | None) -> float:
    """Search with keras_tuner.RandomSearch; return the best accuracy."""
    import keras
    import keras_tuner

    def build(hp: Any) -> Any:
        model = network(hp.Int("width", WIDTHS[0], WIDTHS[-1], step=100))
        rate = hp.Float("learning_rate", *RATES, sampling="log")
        adam = keras.optimizers.Adam(rate)
        model.compile(adam, "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    x, y, x_valid, y_valid = data(file)
    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.RandomSearch(
            build, objective="val_accuracy", max_trials=trials, directory=folder, seed=1
        )
        tuner.search(x, y, epochs=EPOCHS, validation_data=(x_valid, y_valid), verbose=0)
        return float(tuner.oracle.get_best_trials(1)[0].score)


SIDES = {"ours": ours, "theirs": theirs}


def timed(side: str, trials: int, file: str | None) -> tuple[float, float]:
    """Run a side's search in a new process; return its seconds, start included, and best score."""
    more = [] if file is None else ["--data", file]
    command = [sys.executable, "-m", "benchmarks.search_throughput", "--side", side, *more]
    began = time.perf_counter()
    done = subprocess.run(
        [*command, "--trials", str(trials)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        check=False,
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{side} failed:\n{done.stderr[-3_000:]}")
    return seconds, float(done.stdout.split()[-1])


def overhead() -> dict[str, float]:
    """Return milliseconds per trial besides fitting and scoring, without and with a worker."""
    x, y = np.zeros((100, 2)), np.zeros(100)
    space = {"a": Float(0, 1), "b": Int(0, 1_000)}
    found = {}
    for executor in ("serial", "processes"):
        clock = Clock()
        search = TunerSearch(
            Nothing(),
            space,
            tuner="random",
            max_trials=OVERHEAD_TRIALS + 1,
            executor=executor,
            workers=1,
            refit=False,
            seed=0,
            callbacks=[clock],
            verbose=0,
        ).fit(x, y)
        own = search.cv_results_["mean_fit_time"] + search.cv_results_["mean_score_time"]
        spent = clock.marks[-1] - clock.marks[0] - float(own[1:].sum())
        found[executor] = 1e3 * spent / OVERHEAD_TRIALS
    return found


def memory(file: str | None) -> dict[int, tuple[int, list[int]]]:
    """Return resident bytes of the coordinator and of each worker, by number of ended trials."""
    x, y, x_valid, y_valid = data(file)
    watch = Resident()
    TunerSearch(
        Perceptron(epochs=1),
        tuner="random",
        max_trials=MEMORY_TRIALS[-1],
        objective="val_accuracy",
        refit=False,
        seed=0,
        callbacks=[watch],
        verbose=0,
    ).fit(x, y, validation_data=(x_valid, y_valid))
    return watch.seen


def measure(trials: int, rounds: int, file: str | None) -> dict[str, Any]:
    """Measure all three, and describe the machine."""
    report: dict[str, Any] = {"machine": machine.describe(), "load": machine.load()}
    report |= {"trials": trials, "workers": workers(None), "data": "own" if file else "synthetic"}
    report["throughput"] = []
    for _ in range(rounds):
        (a, score), (b, peer) = (timed(side, trials, file) for side in SIDES)
        line = {"ours": a, "theirs": b, "ratio": b / a, "score": score, "peer_score": peer}
        print(line, file=sys.stderr, flush=True)
        report["throughput"].append(line)
    report["overhead"] = overhead()
    report["memory"] = memory(file)
    return report


def markdown(report: dict[str, Any]) -> str:
    """Format the report as tables."""
    rounds, cores = report["throughput"], report["workers"]
    ratio = median(line["ratio"] for line in rounds)
    described = "; ".join(f"{name} {text}" for name, text in report["machine"].items())
    lines = [
        "# Searches: throughput, overhead, memory",
        "",
        f"Command: `{report['command']}`. {described}. Load before: {report['load']:.1f}.",
        "",
        f"## {report['trials']} random trials of a perceptron, {cores} workers",
        "",
        "| round | ours, s | keras_tuner.RandomSearch, s | ratio | best, ours | best, theirs |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for i, line in enumerate(rounds):
        lines.append(
            f"| {i + 1} | {line['ours']:.1f} | {line['theirs']:.1f} | {line['ratio']:.1f} | "
            f"{line['score']:.4f} | {line['peer_score']:.4f} |"
        )
    lines += [
        "",
        f"Median {ratio:.1f} times as many trials a second, {ratio / cores:.2f} for each worker "
        "(target: at least 2.0).",
        "",
        "## What a trial takes beside fitting and scoring",
        "",
        f"{report['overhead']['serial']:.1f} ms in this process, "
        f"{report['overhead']['processes']:.1f} ms with one worker process (target: under 20).",
        "",
        "## Resident MiB",
        "",
        "| | " + " | ".join(f"after trial {n}" for n in MEMORY_TRIALS) + " | growth |",
        "|---|---:|---:|---:|",
    ]
    (own, children), (own_later, children_later) = (report["memory"][n] for n in MEMORY_TRIALS)
    for name, before, after in (
        ("coordinator", own, own_later),
        ("workers, the mean", np.mean(children), np.mean(children_later)),
    ):
        lines.append(
            f"| {name} | {before / 2**20:.0f} | {after / 2**20:.0f} | {after / before - 1:+.1%} |"
        )
    return "\n".join([*lines, "", "Target: within 5 %.", ""])


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the tables, and save them if the run was complete."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search_throughput",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--trials", type=int, default=TRIALS, help=f"per search (default {TRIALS})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default {ROUNDS}")
    parser.add_argument("--data", help=".npz with images x, 0 to 255, and y; default: synthetic")
    parser.add_argument("--output", type=Path, help="folder for the results")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    file = None if given.data is None else str(Path(given.data).resolve())
    if given.side is not None:
        print(SIDES[given.side](given.trials, file))
        return 0
    report = measure(given.trials, given.rounds, file)
    report["command"] = " ".join(
        ["python -m benchmarks.search_throughput", f"--trials {given.trials}"]
        + [f"--rounds {given.rounds}"]
        + (["--data FILE"] if file else [])
    )
    text = markdown(report)
    output = given.output or (RESULTS if given.trials == TRIALS else None)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "search_throughput.md").write_text(text, encoding="utf-8")
        kept = json.dumps(report, indent=1) + "\n"
        (output / "search_throughput.json").write_text(kept, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
