"""The time from creating a model to the end of its first epoch, tracing included."""

from __future__ import annotations

from benchmarks.case import Benchmark, Comparison, Side, Target
from benchmarks.cases import cnn, perceptron
from benchmarks.models import Task

OURS, KERAS = "Trainer", "keras.Model.fit"


def _benchmark(name: str, title: str, task: Task) -> Benchmark:
    return Benchmark(
        name=name,
        title=title,
        unit="s to the end of epoch 1",
        sides=(Side(OURS, task.ours_first_epoch), Side(KERAS, task.keras_first_epoch)),
        comparisons=(Comparison(OURS, KERAS, Target(ratio=1.0)),),
        fresh=True,
        most_rounds=3,
    )


BENCHMARKS = (
    _benchmark("perceptron", "first epoch of the perceptron, in a new process", perceptron.TASK),
    _benchmark("cnn", "first epoch of the small CNN, in a new process", cnn.TASK),
)
