"""Models whose step takes over 50 ms, so that the cost of a dispatch no longer matters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.case import Benchmark, Comparison, Side, Target
from benchmarks.data import Data, arrays
from benchmarks.models import Task

if TYPE_CHECKING:
    import keras

BATCH = 512


def wide() -> keras.Model:
    """Return two layers of 2,048 units: 18 billion operations per step."""
    import keras

    return keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Dense(2048, "relu"),
            keras.layers.Dense(2048, "relu"),
            keras.layers.Dense(10, "softmax"),
        ]
    )


def convolutional() -> keras.Model:
    """Return convolutions at full resolution."""
    import keras

    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10, "softmax"),
        ]
    )


def vectors(quick: bool) -> Data:
    """Return data for the wide network."""
    return arrays(BATCH * 2 if quick else BATCH * 12, (784,))


def images(quick: bool) -> Data:
    """Return data for the convolutional network, whose batches are smaller."""
    return arrays(128 * 2 if quick else 128 * 12, (28, 28, 1))


WIDE = Task(wide, vectors, "adam", 0.001, batch_size=BATCH, in_steps=True)
CONVOLUTIONAL = Task(convolutional, images, "adam", 0.001, batch_size=128, in_steps=True)
OURS, KERAS = "Trainer", "keras.Model.fit"


def _benchmark(name: str, title: str, task: Task) -> Benchmark:
    return Benchmark(
        name=name,
        title=title,
        unit="ms a step",
        sides=(Side(OURS, task.ours), Side(KERAS, task.keras)),
        comparisons=(Comparison(OURS, KERAS, Target(ratio=0.98)),),
    )


BENCHMARKS = (
    _benchmark("dense", "long step: two Dense of 2,048, batch 512, Adam", WIDE),
    _benchmark("convolutions", "long step: two Conv2D of 28 x 28 x 32, batch 128", CONVOLUTIONAL),
)
