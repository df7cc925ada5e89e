"""The networks to train, and both ways of training them.

Responsible for using the same network, data, optimizer and clock for ours and Keras.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.data import Data
from benchmarks.rounds import Rounds, epoch_clock
from trainer import Classifier

if TYPE_CHECKING:
    import keras


class Ours(Classifier):
    """A Classifier around a function that makes the network."""

    network: Any = None
    verbose: int | str = 0

    def build_model(self, spec: Any) -> keras.Model:
        """Return what the function makes."""
        model: keras.Model = self.network()
        return model


def perceptron(width: int = 300) -> keras.Model:
    """Return a perceptron 784-300-100-10, for images."""
    import keras

    return keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Flatten(),
            keras.layers.Dense(width, "relu"),
            keras.layers.Dense(100, "relu"),
            keras.layers.Dense(10, "softmax"),
        ]
    )


def compiled(model: keras.Model, optimizer: str, rate: float, **options: Any) -> keras.Model:
    """Compile the model as a Classifier would."""
    import keras

    made = keras.optimizers.get(optimizer)
    made.learning_rate = rate
    model.compile(made, "sparse_categorical_crossentropy", metrics=["accuracy"], **options)
    return model


@dataclass(frozen=True)
class Task:
    """A network to train, and its data.

    Attributes:
        network: makes the network.
        data: makes the data; its argument says whether they should be tiny.
        optimizer: its Keras name.
        learning_rate: a number.
        batch_size: rows per step.
        in_steps: whether to report milliseconds per step instead of seconds per epoch.
    """

    network: Callable[[], keras.Model]
    data: Callable[[bool], Data]
    optimizer: str
    learning_rate: float
    batch_size: int = 32
    in_steps: bool = False

    def trainer(self, **fields: Any) -> Ours:
        """Return an unfitted Trainer."""
        return Ours(
            network=self.network,
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            random_state=0,
            **fields,
        )

    def ours(self, rounds: Rounds) -> None:
        """Time a Trainer's epochs."""
        x, y = self.data(rounds.quick)
        clock = epoch_clock(rounds, scale=self._scale(len(x)))
        self.trainer(epochs=rounds.count, callbacks=[clock]).fit(x, y)

    def keras(self, rounds: Rounds, **options: Any) -> None:
        """Time the epochs of keras.Model.fit; options are passed to compile."""
        x, y = self.data(rounds.quick)
        clock = epoch_clock(rounds, scale=self._scale(len(x)))
        model = compiled(self.network(), self.optimizer, self.learning_rate, **options)
        model.fit(
            x, y, batch_size=self.batch_size, epochs=rounds.count, callbacks=[clock], verbose=0
        )

    def ours_first_epoch(self, rounds: Rounds) -> None:
        """Time from creating a Trainer to the end of its first epoch."""
        import tensorflow as tf  # noqa: F401  importing it is not timed

        x, y = self.data(rounds.quick)
        rounds.time(lambda: self.trainer(epochs=1).fit(x, y))

    def keras_first_epoch(self, rounds: Rounds) -> None:
        """Time from creating a model to the end of its first epoch."""
        import keras  # noqa: F401

        x, y = self.data(rounds.quick)

        def fit() -> None:
            model = compiled(self.network(), self.optimizer, self.learning_rate)
            model.fit(x, y, batch_size=self.batch_size, verbose=0)

        rounds.time(fit)

    def _scale(self, rows: int) -> float:
        return 1000 / -(-rows // self.batch_size) if self.in_steps else 1.0
