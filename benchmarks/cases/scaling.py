"""How the cost of an epoch grows with the number of rows."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.case import Benchmark, Comparison, Side, Target
from benchmarks.data import arrays
from benchmarks.models import Task
from benchmarks.rounds import Rounds, epoch_clock

if TYPE_CHECKING:
    import keras

ROWS = (1_000, 10_000, 100_000, 1_000_000)
REFERENCE = 100_000
FEATURES = 32
LEAST_ROWS = 100_000  # a round has enough epochs to process at least this many rows


def network() -> keras.Model:
    """Return a network for a table of numbers."""
    import keras

    return keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(64, "relu"),
            keras.layers.Dense(10, "softmax"),
        ]
    )


def ours(rounds: Rounds, rows: int, jit: bool | str) -> None:
    """Time a Trainer's epochs, in microseconds per row."""
    rows = 320 if rounds.quick else rows
    epochs = 1 if rounds.quick else max(1, LEAST_ROWS // rows)
    clock = epoch_clock(rounds, scale=1e6 / rows / epochs, epochs=epochs)
    task = Task(network, lambda quick: arrays(rows, (FEATURES,)), "adam", 0.001)
    trainer = task.trainer(epochs=rounds.count * epochs, callbacks=[clock], jit=jit)
    trainer.fit(*task.data(rounds.quick))


def line(rounds: Rounds) -> None:
    """Report how far, in percent, an epoch's time is from a straight line over the rows.

    The line minimizes the squares of relative deviations. It need not pass through 0: an epoch has
    a fixed cost, which dominates for few rows.
    """
    import numpy as np

    sizes = (320, 640, 1_280) if rounds.quick else ROWS
    data = {rows: arrays(rows, (FEATURES,)) for rows in sizes}
    for _ in range(rounds.count):
        rounds.wait()
        seconds = []
        for rows in sizes:
            task = Task(network, lambda quick: data[rows], "adam", 0.001)  # noqa: B023
            epochs = 3 if rows >= LEAST_ROWS else 3 * min(30, LEAST_ROWS // rows)
            trainer = task.trainer(epochs=epochs, jit=False).fit(*data[rows])
            # the first epoch starts threads, and traces if no model of the same form did before
            seconds.append(float(np.median(trainer.history_["seconds"][1:])))
        scaled = np.stack([np.ones(len(sizes)), np.array(sizes)], axis=1) / np.c_[seconds]
        fitted, *_ = np.linalg.lstsq(scaled, np.ones(len(sizes)), rcond=None)
        rounds.tell(100 * float(np.abs(scaled @ fitted - 1).max()))


def _name(rows: int) -> str:
    return f"Trainer, {rows:,} rows"


def _benchmark(name: str, title: str, jit: bool | str) -> Benchmark:
    return Benchmark(
        name=name,
        title=title,
        unit="µs a row",
        sides=tuple(Side(_name(rows), partial(ours, rows=rows, jit=jit)) for rows in ROWS),
        comparisons=tuple(
            Comparison(_name(rows), _name(REFERENCE)) for rows in ROWS if rows != REFERENCE
        ),
        most_rounds=3,
    )


BENCHMARKS = (
    _benchmark("auto", "an epoch over more rows: 32 features, batch 32, Adam", "auto"),
    # "auto" turns XLA on above a number of steps: the cost per row then falls, which is not growth
    _benchmark("plain", "the same with jit=False for every number of rows", False),
    Benchmark(
        name="line",
        title="an epoch's seconds over 1,000 to 1,000,000 rows: distance from a straight line",
        unit="%",
        sides=(Side("Trainer, jit=False", line),),
        comparisons=(Comparison("Trainer, jit=False", target=Target(value=15.0)),),
        fresh=True,
        most_rounds=2,
    ),
)
