"""`python -m benchmarks.asking`: how long a study waits for its proposer.

    python -m benchmarks.asking              # all methods; writes the results
    python -m benchmarks.asking tpe random   # some of them; prints the table

It waits while the proposer is asked, is told, and serializes its state. Responsible for these times
after 20, 100 and 1,000 trials. Not for the quality of proposals (`search_quality`), nor for writing
to disk.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks import machine

if TYPE_CHECKING:
    from search.proposers import Proposer

RESULTS = Path(__file__).parent / "results"
SIZES = (20, 100, 1_000)
TIMED = 10  # trials timed at each size
METHODS = (
    "random",
    "grid",
    "hyperband",
    "bayesian",
    "random, scikit-learn's",
    "grid, scikit-learn's",
    "halving, scikit-learn's",
    "tpe",
)
RUNNING = {"tpe": 4}  # trials that run while it is asked, which it keeps away from; others: none


def proposer(method: str, initial: int) -> Proposer:
    """Return a proposer of more than a thousand trials over six mixed parameters.

    Args:
        method: one of METHODS.
        initial: number of trials after which the Bayesian one uses its Gaussian process.
    """
    from search.proposers import sklearn
    from search.proposers.keras_tuner import KerasTuner
    from search.proposers.optuna import OptunaSampler
    from search.space import Space
    from trainer import Bool, Choice, Float, Int

    space = Space(
        {
            "units": Int(4, 64, log=True),
            "learning_rate": Float(1e-4, 1e-1, log=True),
            "activation": Choice("relu", None, "tanh"),
            "dropout": Float(0, 0.9, step=0.1, when={"activation": "relu"}),
            "bias": Bool(),
            "layers": Int(1, 5),
        }
    )
    if method == "random, scikit-learn's":
        return sklearn.random(space, 2_000, 0)
    if method == "grid, scikit-learn's":
        return sklearn.grid(space, 6)
    if method == "halving, scikit-learn's":
        return sklearn.Halving(sklearn.draw(space, 2_000, 0), epochs=729, maximize=False)
    if method == "tpe":
        return OptunaSampler(space, "tpe", max_trials=2_000, maximize=[False], seed=0)
    options = {
        "hyperband": {"hyperband_iterations": 3},
        "bayesian": {"num_initial_points": initial},
    }
    return KerasTuner(
        space,
        method,
        max_trials=None if method == "hyperband" else 2_000,
        maximize=False,
        seed=0,
        epochs=729,
        options=options.get(method),
    )


def times(method: str, size: int, timed: int) -> dict[str, Any]:
    """Measure the times of a trial after `size` others.

    Returns:
        method, size; ask, tell and write: ms, medians of `timed` trials. `write` is the time to
        serialize the state to JSON, which a study does twice per trial: at its start and end.
    """
    from search.proposers import Outcome

    asked = proposer(method, size)
    running: deque[Any] = deque()
    found: dict[str, list[float]] = {"ask": [], "tell": [], "write": []}
    for i in range(size + timed):
        began = time.perf_counter()
        proposal = asked.ask()
        ask = time.perf_counter() - began
        # also before the first timed trial: the state is serialized after every trial
        write = _written(asked) if i >= size - 1 else 0.0
        running.append(proposal)
        if len(running) <= RUNNING.get(method, 0):
            continue
        ended = running.popleft()
        score = Outcome(ended.point["learning_rate"] + ended.point["layers"])
        began = time.perf_counter()
        asked.tell(ended.key, score)
        tell = time.perf_counter() - began
        write += _written(asked) if i >= size - 1 else 0.0
        if i >= size:
            for name, seconds in (("ask", ask), ("tell", tell), ("write", write)):
                found[name].append(1000 * seconds)
    return {"method": method, "size": size} | {k: median(v) for k, v in found.items()}


def _written(asked: Proposer) -> float:
    began = time.perf_counter()
    json.dumps(asked.snapshot())
    return time.perf_counter() - began


def measure(methods: Sequence[str] = METHODS, sizes: Sequence[int] = SIZES) -> list[dict[str, Any]]:
    """Measure methods; with a thousand trials the Gaussian process is asked only once."""
    return [
        times(method, size, 1 if method == "bayesian" and size >= 1_000 else TIMED)
        for method in methods
        for size in sizes
    ]


def markdown(found: list[dict[str, Any]]) -> list[str]:
    """Return the times as lines of a Markdown document."""
    body = [
        "## How long a study waits for its proposer",
        "",
        f"Six mixed parameters; ms a trial, medians of {TIMED} (a Gaussian process of 1,000 trials "
        "is asked once); tpe with four trials running. Writing: the proposer's state as JSON, "
        "twice a trial.",
        "",
        "| proposer | trials before | ask | tell | write |",
        "|" + "---|" * 5,
    ]
    for line in found:
        cells = [line["method"], f"{line['size']:,}"]
        cells += [_number(line[k]) for k in ("ask", "tell", "write")]
        body.append("| " + " | ".join(cells) + " |")
    return body


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*", choices=[[], *METHODS], default=[])
    given = parser.parse_args()
    lines = markdown(measure(given.methods or METHODS))
    print("\n".join(lines))
    if not given.methods:
        told = "\n".join(f"- {name}: {value}" for name, value in machine.describe().items())
        text = "\n".join(
            ["# Asking for a trial", "", "`python -m benchmarks.asking`", "", told, ""]
        )
        (RESULTS / "asking.md").write_text("\n".join([text, *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
