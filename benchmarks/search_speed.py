"""`python -m benchmarks.search_speed`: what a search costs besides the fits of its trials.

    python -m benchmarks.search_speed                     # all of it; writes the results
    python -m benchmarks.search_speed --reduced           # a tenth; prints the tables
    python -m benchmarks.search_speed --only logistic     # one of zero, logistic, first, beyond

- zero: trials of a function that does nothing, with the study in a directory: trials a second,
  resident memory of the search after a tenth of them and at the end, the time to open the study.
- logistic: trials of LogisticRegression on iris with five folds, SklearnSearch against
  RandomizedSearchCV with as many workers. Each is a process of its own, and they take turns.
- first: the time until the first trial of a network has ended, start of Python included, against
  that of one fit of the same network in a process of its own. They take turns.
- beyond: the time of a trial of a network with one worker, without that of its training steps: of
  networks that differ in their learning rate only, and share a graph.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import machine
from search import FunctionSearch, SearchCallback, SklearnSearch, load_study
from search.checking import workers
from trainer import Classifier, Float

RESULTS = Path(__file__).parent / "results"
PARTS = ("zero", "logistic", "first", "beyond")
ZERO, LOGISTIC, ROUNDS, TRIALS = 100_000, 1_000, 3, 12
RATE = {"learning_rate": Float(1e-4, 1e-2, log=True)}
EPOCHS = 2


class Resident(SearchCallback):
    """Records the resident bytes of this process after some trials."""

    def __init__(self, after: tuple[int, ...]) -> None:
        self.after = after
        self.seen: list[int] = []
        self._ended = 0

    def on_trial_end(self, study: Any, trial: Any) -> None:
        """Record them if it is one of those trials."""
        import psutil

        self._ended += 1
        if self._ended in self.after:
            self.seen.append(psutil.Process().memory_info().rss)


class First(SearchCallback):
    """Stops the search at the end of its first trial, and records when that was."""

    time = 0.0

    def on_trial_end(self, study: Any, trial: Any) -> None:
        """Record the time, and stop."""
        self.time = self.time or time.time()
        study.stop()


class Durations(SearchCallback):
    """Records how long trials took."""

    def __init__(self) -> None:
        self._begun: dict[int, float] = {}
        self.taken: dict[int, float] = {}

    def on_trial_begin(self, study: Any, trial: Any) -> None:
        """Record the time."""
        self._begun[trial.id] = time.perf_counter()

    def on_trial_end(self, study: Any, trial: Any) -> None:
        """Record the duration."""
        self.taken[trial.id] = time.perf_counter() - self._begun[trial.id]


def nothing(a: float, b: float) -> float:
    """Return a score without any work."""
    return a - b


def zero(n: int) -> dict[str, float]:
    """Run trials of a function that does nothing, and open the study."""
    with tempfile.TemporaryDirectory() as folder:
        resident = Resident((n // 10, n))
        search = FunctionSearch(
            nothing,
            {"a": Float(0, 1), "b": Float(0, 1)},
            tuner="random",
            max_trials=n,
            directory=f"{folder}/study",
            seed=0,
            verbose=0,
            callbacks=[resident],
        )
        began = time.perf_counter()
        search.fit()
        taken = time.perf_counter() - began
        began = time.perf_counter()
        opened = load_study(f"{folder}/study")
        assert len(opened.results_) == n
        return {
            "trials": n,
            "seconds": taken,
            "load": time.perf_counter() - began,
            "before": resident.seen[0],
            "after": resident.seen[1],
            "file": (Path(folder) / "study" / "study.sqlite").stat().st_size,
        }


def logistic(side: str, n: int) -> float:
    """Search over LogisticRegression on iris; return its best score."""
    from scipy.stats import loguniform
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import RandomizedSearchCV

    x, y = load_iris(return_X_y=True)
    estimator = LogisticRegression(max_iter=1_000)
    if side == "theirs":
        space = {"C": loguniform(1e-3, 1e3), "tol": loguniform(1e-5, 1e-2)}
        theirs = RandomizedSearchCV(
            estimator, space, n_iter=n, cv=5, n_jobs=workers(None), random_state=0
        )
        return float(theirs.fit(x, y).best_score_)
    domains = {"C": Float(1e-3, 1e3, log=True), "tol": Float(1e-5, 1e-2, log=True)}
    ours = SklearnSearch(estimator, domains, method="random", n_iter=n, cv=5, seed=0, verbose=0)
    return float(ours.fit(x, y).best_score_)


def table() -> tuple[np.ndarray, np.ndarray]:
    """Return 10,000 rows of 20 columns, and one of three classes for each."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(10_000, 20)).astype("float32")
    return x, (x @ generator.normal(size=(20, 3))).argmax(axis=1)


def first(side: str, _: int = 0) -> float:
    """Return when the first trial of a search had ended, or one fit."""
    x, y = table()
    network = Classifier(epochs=EPOCHS, verbose=0, validation_split=0.2)
    if side == "theirs":
        network.fit(x, y)
        return time.time()
    clock = First()
    SklearnSearch(
        network, RATE, n_iter=100, cv=None, seed=0, verbose=0, refit=False, callbacks=[clock]
    ).fit(x, y)
    return clock.time


def beyond(n: int) -> list[float]:
    """Return the seconds of each trial without those of its steps, as its last epoch took them."""
    x, y = table()
    durations = Durations()
    search = SklearnSearch(
        Classifier(epochs=EPOCHS),
        RATE,
        n_iter=n,
        cv=None,
        seed=0,
        verbose=0,
        refit=False,
        workers=1,
        callbacks=[durations],
    ).fit(x, y)
    last = search.epochs_[search.epochs_.epoch == EPOCHS].set_index("trial").seconds
    # the first traces the graph
    return [durations.taken[i] - EPOCHS * float(last[i]) for i in range(1, n)]


SIDES: dict[str, Callable[[str, int], Any]] = {"logistic": logistic, "first": first}


def _in_process(part: str, side: str, n: int) -> tuple[float, str]:
    """Return the seconds of a process that does a side of a part, and what it printed last."""
    command = [sys.executable, "-m", "benchmarks.search_speed", "--side", f"{part}-{side}-{n}"]
    began = time.time()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    printed = done.stdout.splitlines()[-1]
    return (float(printed) if part == "first" else time.time()) - began, printed


def _rounds(part: str, rounds: int, n: int) -> list[dict[str, Any]]:
    found = []
    for i in range(rounds):
        sides = ("ours", "theirs") if i % 2 == 0 else ("theirs", "ours")
        line: dict[str, Any] = {}
        for side in sides:
            line[side], line[f"said_{side}"] = _in_process(part, side, n)
        found.append(line)
    return found


def measure(parts: list[str], *, reduced: bool) -> dict[str, Any]:
    """Measure the parts."""
    share, rounds = (10, 1) if reduced else (1, ROUNDS)
    report: dict[str, Any] = {"machine": machine.describe(), "load": machine.load()}
    if "zero" in parts:
        report["zero"] = zero(ZERO // share)
    if "logistic" in parts:
        report["logistic"] = _rounds("logistic", rounds, LOGISTIC // share)
    if "first" in parts:
        report["first"] = _rounds("first", rounds, 0)
    if "beyond" in parts:
        report["beyond"] = beyond(TRIALS)
    return report


def markdown(report: dict[str, Any]) -> str:
    """Format the report."""
    described = "; ".join(f"{name} {text}" for name, text in report["machine"].items())
    lines = [
        "# Searches: what they cost besides their fits",
        "",
        f"Command: `{report['command']}`. {described}. Load before: {report['load']:.1f}.",
    ]
    if "zero" in report:
        found = report["zero"]
        n, mib = found["trials"], 2**20
        lines += [
            "",
            f"## {n:,} trials that do nothing, saved",
            "",
            f"{n / found['seconds']:,.0f} trials a second (target: at least 1,000). Resident "
            f"{found['before'] / mib:,.0f} MiB after a tenth of them and "
            f"{found['after'] / mib:,.0f} MiB at the end, "
            f"{(found['after'] - found['before']) / (0.9 * n):,.0f} bytes a trial; the file has "
            f"{found['file'] / n:,.0f}. Opened in {found['load']:.1f} s (target: under 3).",
        ]
    for part, title in (
        ("logistic", "Trials of LogisticRegression on iris against RandomizedSearchCV"),
        ("first", "The first result against one fit in a new process (target: within 1.3)"),
    ):
        if part not in report:
            continue
        lines += [
            "",
            f"## {title}",
            "",
            "| round | ours, s | theirs, s | ratio |",
            "|---:|---:|---:|---:|",
        ]
        for i, line in enumerate(report[part]):
            ratio = line["ours"] / line["theirs"]
            lines.append(f"| {i + 1} | {line['ours']:.1f} | {line['theirs']:.1f} | {ratio:.2f} |")
        ratios = [line["ours"] / line["theirs"] for line in report[part]]
        lines += ["", f"Median {median(ratios):.2f}."]
    if "beyond" in report:
        found = report["beyond"]
        lines += [
            "",
            "## A trial without its training steps (target: under 0.15 s)",
            "",
            f"Median of {len(found)} trials that share a graph: {median(found):.3f} s.",
        ]
    return "\n".join([*lines, ""])


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the tables, and save them if all of it was measured."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search_speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--reduced", action="store_true", help="a tenth of the trials, one round")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part only")
    parser.add_argument("--output", type=Path, help="folder for the results")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.side is not None:
        part, side, n = given.side.split("-")
        print(SIDES[part](side, int(n)), flush=True)
        return 0
    report = measure(given.only or list(PARTS), reduced=given.reduced)
    report["command"] = " ".join(
        ["python -m benchmarks.search_speed"]
        + ["--reduced"] * given.reduced
        + [f"--only {part}" for part in given.only or ()]
    )
    text = markdown(report)
    complete = not given.reduced and given.only is None
    output = given.output or (RESULTS if complete else None)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "search_speed.md").write_text(text, encoding="utf-8")
        kept = json.dumps(report, indent=1) + "\n"
        (output / "search_speed.json").write_text(kept, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
