"""The networks that are trained, and both ways of training them.

Responsible for giving ours and Keras the same network, data, optimizer and clock.
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
        """What the function makes."""
        model: keras.Model = self.network()
        return model


def perceptron(width: int = 300) -> keras.Model:
    """784-300-100-10, for images."""
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
    """The model, compiled as a Classifier would."""
    import keras

    made = keras.optimizers.get(optimizer)
    made.learning_rate = rate
    model.compile(made, "sparse_categorical_crossentropy", metrics=["accuracy"], **options)
    return model


@dataclass(frozen=True)
class Task:
    """A network to train, and on what.

    Attributes:
        network: makes it.
        data: makes the data; takes whether they are to be tiny.
        optimizer: its Keras name.
        learning_rate: a number.
        batch_size: rows a step.
        in_steps: whether to tell milliseconds a step in the place of seconds an epoch.
    """

    network: Callable[[], keras.Model]
    data: Callable[[bool], Data]
    optimizer: str
    learning_rate: float
    batch_size: int = 32
    in_steps: bool = False

    def trainer(self, **fields: Any) -> Ours:
        """Ours, unfitted."""
        return Ours(
            network=self.network,
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            random_state=0,
            **fields,
        )

    def ours(self, rounds: Rounds) -> None:
        """A Trainer's epochs."""
        x, y = self.data(rounds.quick)
        clock = epoch_clock(rounds, scale=self._scale(len(x)))
        self.trainer(epochs=rounds.count, callbacks=[clock]).fit(x, y)

    def keras(self, rounds: Rounds, **options: Any) -> None:
        """The epochs of keras.Model.fit; options are those of compile."""
        x, y = self.data(rounds.quick)
        clock = epoch_clock(rounds, scale=self._scale(len(x)))
        model = compiled(self.network(), self.optimizer, self.learning_rate, **options)
        model.fit(
            x, y, batch_size=self.batch_size, epochs=rounds.count, callbacks=[clock], verbose=0
        )

    def ours_first_epoch(self, rounds: Rounds) -> None:
        """From the Trainer's making to the end of its first epoch."""
        import tensorflow as tf  # noqa: F401  what is timed does not include importing it

        x, y = self.data(rounds.quick)
        rounds.time(lambda: self.trainer(epochs=1).fit(x, y))

    def keras_first_epoch(self, rounds: Rounds) -> None:
        """From the model's making to the end of its first epoch."""
        import keras  # noqa: F401

        x, y = self.data(rounds.quick)

        def fit() -> None:
            model = compiled(self.network(), self.optimizer, self.learning_rate)
            model.fit(x, y, batch_size=self.batch_size, verbose=0)

        rounds.time(fit)

    def _scale(self, rows: int) -> float:
        return 1000 / -(-rows // self.batch_size) if self.in_steps else 1.0
