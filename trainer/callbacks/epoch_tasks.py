"""The callback that reports the epochs of a fit to scikit-learn's callbacks; no plugin.

Responsible for when they are notified, and for the history that a fitted estimator has then. Not
for how (`trainer.sklearn_callbacks`).
"""

from __future__ import annotations

import time
from typing import Any, Protocol

from trainer.callbacks.callback import Callback
from trainer.engine.loop import as_floats, learning_rate
from trainer.history import History


class Watched(Protocol):
    """What is notified: see trainer.sklearn_callbacks.Epochs."""

    def begin(self, epoch: int, history: History | None) -> None:
        """An epoch, counted from 0, begins after those in the history, if that is known."""

    def end(self, history: History) -> bool:
        """The running epoch has ended; returns whether to end the training."""


class EpochTasks(Callback):
    """Notifies `watched` of each epoch; called after all other callbacks.

    Attributes:
        watched: the epochs as tasks.
        resumes: whether the fit resumes within an epoch.
    """

    watched: Any = None
    resumes: bool = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begin the epoch's task."""
        self._began = time.perf_counter()
        self._rate: float | None = None
        watched: Watched = self.watched
        # resuming within an epoch, the loop calls this before it restores the weights
        watched.begin(epoch, None if self.resumes else self.session.history)
        self.resumes = False

    def on_chunk_end(self, steps: int, logs: dict[str, float]) -> None:
        """Note the learning rate: another callback may change it at the end of the epoch."""
        self._rate = learning_rate(self.session.network.core)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """End the epoch's task, and the training if a callback asks for that."""
        complete = self.session.history.copy()  # the epoch itself has no record yet
        complete.append(
            epoch + 1,
            as_floats(dict(logs or {})),
            learning_rate=self._rate,
            seconds=time.perf_counter() - self._began,
        )
        watched: Watched = self.watched
        if watched.end(complete):
            self.model.stop_training = True

    def on_train_end(self, logs: Any = None) -> None:
        """End the task of an epoch in which the training was stopped."""
        watched: Watched = self.watched
        watched.end(self.session.history)
