"""The cost of a trial in a search: build, trace and train a small model after others."""

from __future__ import annotations

from functools import partial
from itertools import count

from benchmarks.case import Benchmark, Comparison, Side, Target
from benchmarks.data import Data, images
from benchmarks.models import Task, compiled, perceptron
from benchmarks.rounds import Rounds

EPOCHS = 2


def data(quick: bool) -> Data:
    """Return the data of a trial."""
    return images(320 if quick else 10_000)


def ours(rounds: Rounds, new: bool) -> None:
    """Time one new Trainer per round, of an architecture that was or was not trained before."""
    import tensorflow as tf  # noqa: F401

    x, y = data(rounds.quick)
    trials = count()

    def trial() -> None:
        i = next(trials)
        network = partial(perceptron, 300 + i if new else 300)
        # a trial of the same architecture differs in its learning rate
        task = Task(network, data, "sgd", 0.01 + 0.001 * i)
        task.trainer(epochs=EPOCHS).fit(x, y)

    rounds.time(trial)


def keras(rounds: Rounds, new: bool) -> None:
    """Time one new keras.Model per round, as `ours`."""
    x, y = data(rounds.quick)
    trials = count()

    def trial() -> None:
        i = next(trials)
        model = compiled(perceptron(300 + i if new else 300), "sgd", 0.01 + 0.001 * i)
        model.fit(x, y, epochs=EPOCHS, verbose=0)

    rounds.time(trial)


SAME, NEW = "Trainer, architecture trained before", "Trainer, new architecture"
KERAS_SAME, KERAS_NEW = "keras.Model, architecture trained before", "keras.Model, new architecture"
BENCHMARKS = (
    Benchmark(
        name="trial",
        title="a trial: new perceptron, 10,000 images, 2 epochs",
        unit="s a trial",
        sides=(
            Side(SAME, partial(ours, new=False)),
            Side(KERAS_SAME, partial(keras, new=False)),
            Side(NEW, partial(ours, new=True)),
            Side(KERAS_NEW, partial(keras, new=True)),
        ),
        comparisons=(
            Comparison(SAME, KERAS_SAME, Target(ratio=0.97)),
            Comparison(NEW, KERAS_NEW, Target(ratio=0.97)),
        ),
    ),
)
