"""An LSTM on sequences."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.case import Benchmark, Comparison, Side, Target
from benchmarks.data import Data, arrays
from benchmarks.models import Task

if TYPE_CHECKING:
    import keras


def network() -> keras.Model:
    """Return a network with one recurrent layer."""
    import keras

    return keras.Sequential(
        [
            keras.Input((50, 8)),
            keras.layers.LSTM(64),
            keras.layers.Dense(10, "softmax"),
        ]
    )


def data(quick: bool) -> Data:
    """Return sequences of 50 steps of 8 features."""
    return arrays(320 if quick else 3_200, (50, 8))


TASK = Task(network, data, "adam", 0.001)
OURS, KERAS = "Trainer", "keras.Model.fit"
BENCHMARKS = (
    Benchmark(
        name="epoch",
        title="LSTM of 64 units, 3,200 sequences of 50 x 8, batch 32, Adam",
        unit="s an epoch",
        sides=(
            Side(OURS, TASK.ours),
            Side(KERAS, TASK.keras),
            Side(f"{KERAS}, steps_per_execution=100", partial(TASK.keras, steps_per_execution=100)),
        ),
        comparisons=(
            Comparison(OURS, KERAS, Target(ratio=1.1)),
            Comparison(OURS, f"{KERAS}, steps_per_execution=100", Target(ratio=0.97)),
        ),
    ),
)
