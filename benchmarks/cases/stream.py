"""The perceptron fed by tf.data, so that neither side can hold the data as tensors."""

from __future__ import annotations

from typing import Any

from benchmarks.case import Benchmark, Comparison, Side, Target
from benchmarks.data import images
from benchmarks.models import Task, compiled
from benchmarks.rounds import Rounds, epoch_clock


def data(quick: bool) -> Any:
    """Return batches of 32 images, shuffled and prefetched as in Keras' guides."""
    import tensorflow as tf

    rows = tf.data.Dataset.from_tensor_slices(images(320 if quick else 12_800))
    return rows.shuffle(1_000, seed=0).batch(32).prefetch(tf.data.AUTOTUNE)


def perceptron() -> Any:
    """Return the network of the benchmark `perceptron`."""
    from benchmarks import models

    return models.perceptron()


def ours(rounds: Rounds) -> None:
    """Time a Trainer's epochs."""
    task = Task(perceptron, images, "sgd", 0.01)
    task.trainer(epochs=rounds.count, callbacks=[epoch_clock(rounds)]).fit(data(rounds.quick))


def keras_fit(rounds: Rounds) -> None:
    """Time the epochs of keras.Model.fit."""
    model = compiled(perceptron(), "sgd", 0.01)
    clock = epoch_clock(rounds)
    model.fit(data(rounds.quick), epochs=rounds.count, callbacks=[clock], verbose=0)


BENCHMARKS = (
    Benchmark(
        name="epoch",
        title="perceptron from a tf.data.Dataset, 12,800 images, batch 32, SGD",
        unit="s an epoch",
        sides=(Side("Trainer", ours), Side("keras.Model.fit", keras_fit)),
        comparisons=(Comparison("Trainer", "keras.Model.fit", Target(ratio=0.97)),),
    ),
)
