"""The plugin that lowers the learning rate when a log no longer improves.

Responsible for what Keras' ReduceLROnPlateau lacks: rejecting logs that will not exist, and
resuming exactly. Not for comparing values, which Keras does, nor for schedules within an epoch: the
plugin learning_rate scales its schedule by what this one lowers.
"""

from __future__ import annotations

from typing import Annotated, Any

import keras

from trainer.callbacks import monitored
from trainer.callbacks.callback import Callback, Session
from trainer.callbacks.learning_rate import rate_of
from trainer.hyperparameters import Float, Int
from trainer.state import callback_state
from trainer.utils import checks


class Plateau(Callback):
    """Lowers the learning rate when a log has not improved for some epochs (ReduceLROnPlateau).

    With the plugin learning_rate, the rest of its schedule is lowered by the same factor. Unlike
    Keras' callback, it treats NaN as the worst value, and raises an error if the log does not
    exist.

    Attributes:
        monitor: the log to watch. None: val_loss with validation data, otherwise loss.
        mode: "min" or "max", whichever is better. None: inferred from the log's name.
        factor: what the rate is multiplied by, between 0 and 1.
        patience: the number of epochs without improvement after which the rate is lowered.
        min_delta: how much better than the best a value must be to count as an improvement.
        cooldown: the number of epochs after a reduction that do not count.
        min_learning_rate: the rate is never lowered below this.
    """

    monitor: str | None = None
    mode: str | None = None
    factor: Annotated[float, Float(0.1, 0.8)] = 0.1
    patience: Annotated[int, Int(1, 30, log=True)] = 3
    min_delta: Annotated[float, Float(0.0, 0.1)] = 1e-4
    cooldown: Annotated[int, Int(0, 10)] = 0
    min_learning_rate: float = 0.0

    def check(self) -> None:
        """Raise an error for a bad field."""
        if checks.positive("factor", self.factor) >= 1:
            raise ValueError(
                f"factor={self.factor!r}: must be below 1, as the rate is multiplied by it; write "
                "factor=0.1, for example"
            )
        checks.integer("patience", self.patience, low=1, example=3)
        checks.integer("cooldown", self.cooldown, low=0, example=2)
        checks.finite("min_delta", self.min_delta, low=0, example=0.001)
        checks.finite("min_learning_rate", self.min_learning_rate, low=0, example=1e-5)
        monitored.check(self.monitor, self.mode)

    def setup(self, session: Session) -> None:
        """Choose the log.

        Raises:
            ValueError: this fit has no such log, or the optimizer no rate to lower.
        """
        rate_of(session.network.core.optimizer, self.name)
        self._log = monitored.choose(self.monitor, session)
        self._inner = keras.callbacks.ReduceLROnPlateau(
            monitor=self._log,
            mode=monitored.direction(self._log, self.mode),
            factor=self.factor,
            patience=self.patience,
            min_delta=self.min_delta,
            cooldown=self.cooldown,
            min_lr=self.min_learning_rate,
        )

    def on_train_begin(self, logs: Any = None) -> None:
        """Start counting epochs."""
        self._inner.set_model(self.model)
        self._inner.on_train_begin()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Compare the value with the best, and lower the rate if patience has run out.

        Raises:
            ValueError: the log does not exist.
        """
        value = monitored.value(self._log, logs, worst=self._inner.mode)
        if value is None:
            return
        self._inner.on_epoch_end(epoch, {self._log: value})

    def teardown(self) -> None:
        """Release the model."""
        if hasattr(self, "_inner"):
            del self._inner

    def state_dict(self) -> dict[str, Any]:
        """The state of Keras' callback."""
        return callback_state.plain_attributes(self._inner)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it."""
        callback_state.set_attributes(self._inner, state)
