"""A small convolutional network."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.case import Benchmark, Comparison, Side, Target
from benchmarks.data import Data, arrays
from benchmarks.models import Task

if TYPE_CHECKING:
    import keras


def network() -> keras.Model:
    """Return a network of two convolutions, each with pooling."""
    import keras

    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(10, "softmax"),
        ]
    )


def data(quick: bool) -> Data:
    """Return images with one channel."""
    return arrays(320 if quick else 12_800, (28, 28, 1))


TASK = Task(network, data, "adam", 0.001)
OURS, KERAS = "Trainer", "keras.Model.fit"
BENCHMARKS = (
    Benchmark(
        name="epoch",
        title="small CNN, 12,800 images, batch 32, Adam",
        unit="s an epoch",
        sides=(
            Side(OURS, TASK.ours),
            Side(KERAS, TASK.keras),
            Side(f"{KERAS}, steps_per_execution=100", partial(TASK.keras, steps_per_execution=100)),
        ),
        comparisons=(
            Comparison(OURS, KERAS, Target(ratio=1.2)),
            Comparison(OURS, f"{KERAS}, steps_per_execution=100", Target(ratio=0.97)),
        ),
    ),
)
