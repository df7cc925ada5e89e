"""The plugin that ends a training which no longer improves.

Responsible for what Keras' EarlyStopping lacks: rejecting logs that will not exist, counting from
the first epoch, and resuming exactly. Not for comparing values or keeping the best weights, which
Keras does.
"""

from __future__ import annotations

import warnings
from typing import Annotated, Any

import keras

from trainer.callbacks import monitored
from trainer.callbacks.callback import Callback, Session
from trainer.hyperparameters import Float, Int
from trainer.state import callback_state
from trainer.utils import checks


class EarlyStopping(Callback):
    """Ends the training when a log has not improved for some epochs (keras EarlyStopping).

    Unlike Keras' callback, it can end the training after the first epoch, counts every epoch that
    misses the baseline, treats NaN as the worst value, and raises an error if the log does not
    exist. The best weights are those at the end of the epoch: list this plugin after ema to keep
    the averaged ones.

    Attributes:
        monitor: the log to watch. None: val_loss with validation data, otherwise loss.
        mode: "min" or "max", whichever is better. None: inferred from the log's name.
        patience: the number of epochs without improvement after which the training ends.
        min_delta: how much better than the best a value must be to count as an improvement.
        baseline: a value that an epoch must also beat to count as an improvement, or None.
        restore_best: whether the model ends with the weights of the best epoch.
        start_from_epoch: the number of epochs to ignore at the beginning.
        best_epoch_: the best epoch, counted from 1; None before there is one.
        stopped_epoch_: the epoch after which this plugin ended the training, or None.
    """

    monitor: str | None = None
    mode: str | None = None
    patience: Annotated[int, Int(1, 30, log=True)] = 3
    min_delta: Annotated[float, Float(0.0, 0.1)] = 0.0
    baseline: float | None = None
    restore_best: bool = True
    start_from_epoch: int = 0

    def check(self) -> None:
        """Raise an error for a bad field."""
        checks.integer("patience", self.patience, low=1, example=3)
        checks.integer("start_from_epoch", self.start_from_epoch, low=0, example=5)
        checks.boolean("restore_best", self.restore_best)
        checks.finite("min_delta", self.min_delta, low=0, example=0.001)
        if self.baseline is not None:
            checks.finite("baseline", self.baseline, example=0.5)
        monitored.check(self.monitor, self.mode)

    def setup(self, session: Session) -> None:
        """Choose the log.

        Raises:
            ValueError: this fit has no such log, or too few epochs.
        """
        if self.start_from_epoch >= session.epochs:
            raise ValueError(
                f"start_from_epoch={self.start_from_epoch}: the fit has {session.epochs} "
                "epoch(s), so all would be ignored; write start_from_epoch=0"
            )
        self._log = monitored.choose(self.monitor, session)
        if self.monitor is None and session.validation is None:
            warnings.warn(
                "early_stopping: without validation data it watches the training loss, which also "
                "falls while the network overfits; pass validation_data to fit, write "
                "validation_split=0.2, or monitor='loss' if that is what you want",
                stacklevel=2,
            )
        self._inner = keras.callbacks.EarlyStopping(
            monitor=self._log,
            mode=monitored.direction(self._log, self.mode),
            patience=self.patience,
            min_delta=self.min_delta,
            baseline=self.baseline,
            restore_best_weights=self.restore_best,
            start_from_epoch=self.start_from_epoch,
        )
        self.best_epoch_: int | None = None
        self.stopped_epoch_: int | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Start counting epochs."""
        self._inner.set_model(self.model)
        self._inner.on_train_begin()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Compare the value with the best, and end the training if patience has run out.

        Raises:
            ValueError: the log does not exist.
        """
        value = monitored.value(self._log, logs, worst=self._inner.mode)
        if value is None:
            return
        if epoch < self.start_from_epoch:
            return
        self._inner.on_epoch_end(epoch, {self._log: value})
        self.best_epoch_ = self._inner.best_epoch + 1
        # Keras checks the count neither in the first epoch nor in the best one so far, although
        # that may miss the baseline
        if self._inner.wait >= self.patience:
            self.model.stop_training = True
            self.stopped_epoch_ = epoch + 1

    def on_train_end(self, logs: Any = None) -> None:
        """Restore the best weights."""
        self._inner.on_train_end()

    def teardown(self) -> None:
        """Release the best weights and the model."""
        if hasattr(self, "_inner"):
            del self._inner

    def state_dict(self) -> dict[str, Any]:
        """The state of Keras' callback, including the best weights."""
        return {
            "inner": callback_state.plain_attributes(self._inner),
            "best_epoch_": self.best_epoch_,
            "stopped_epoch_": self.stopped_epoch_,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it."""
        for name in ("best_epoch_", "stopped_epoch_"):
            callback_state.entry(state, name, int, None)
        callback_state.set_attributes(self._inner, callback_state.entry(state, "inner", dict))
        self.best_epoch_ = state["best_epoch_"]
        self.stopped_epoch_ = state["stopped_epoch_"]
