"""How the cost of an epoch grows with the rows."""

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
LEAST_ROWS = 100_000  # a round has so many epochs that it is long enough to be timed


def network() -> keras.Model:
    """For a table of numbers."""
    import keras

    return keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(64, "relu"),
            keras.layers.Dense(10, "softmax"),
        ]
    )


def ours(rounds: Rounds, rows: int, jit: bool | str) -> None:
    """A Trainer's epochs, told in microseconds a row."""
    rows = 320 if rounds.quick else rows
    epochs = 1 if rounds.quick else max(1, LEAST_ROWS // rows)
    clock = epoch_clock(rounds, scale=1e6 / rows / epochs, epochs=epochs)
    task = Task(network, lambda quick: arrays(rows, (FEATURES,)), "adam", 0.001)
    trainer = task.trainer(epochs=rounds.count * epochs, callbacks=[clock], jit=jit)
    trainer.fit(*task.data(rounds.quick))


def _name(rows: int) -> str:
    return f"Trainer, {rows:,} rows"


def _benchmark(name: str, title: str, jit: bool | str) -> Benchmark:
    return Benchmark(
        name=name,
        title=title,
        unit="µs a row",
        sides=tuple(Side(_name(rows), partial(ours, rows=rows, jit=jit)) for rows in ROWS),
        comparisons=tuple(
            Comparison(_name(rows), _name(REFERENCE), Target(within=0.15))
            for rows in ROWS
            if rows != REFERENCE
        ),
        most_rounds=3,
    )


BENCHMARKS = (
    _benchmark("auto", "an epoch over more rows: 32 features, batch 32, Adam", "auto"),
    # "auto" turns XLA on from so many steps: the cost of a row then falls, which is not a growth
    _benchmark("plain", "the same with jit=False for every number of rows", False),
)
