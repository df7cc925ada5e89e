"""The plugin that stops a training after some time.

Responsible for measuring the time and for requesting the stop. Not for stopping (`engine.loop`).
"""

from __future__ import annotations

import time
from typing import Any

from trainer.callbacks.callback import Callback
from trainer.engine.backend import agree
from trainer.state import callback_state
from trainer.utils.checks import positive


class TimeLimit(Callback):
    """Stops the training gracefully after a total time.

    The current dispatch of steps is finished, and the partial epoch is validated and recorded. How
    far training gets depends on the machine and its load. With run_dir the same call of fit resumes
    where it stopped, in the middle of the epoch, with a new time budget: a job that is stopped and
    restarted repeatedly ends with the same bytes as one without a limit.

    Time counts from the beginning of the first epoch, including validation, callbacks and saving.
    After a kill, the time up to the saved state from which the run resumes counts too.

    Attributes:
        minutes: the limit.
        seconds: the limit in seconds; added to minutes if both are given.

    After training, `elapsed` is its length in seconds, and `reached` whether the limit ended it.
    """

    minutes: float | None = None
    seconds: float | None = None

    def check(self) -> None:
        """Raise an error for a bad field."""
        if self.minutes is None and self.seconds is None:
            raise ValueError("minutes=None: there is no limit; write minutes=30, or seconds=90")
        for name, value in (("minutes", self.minutes), ("seconds", self.seconds)):
            if value is not None:
                positive(name, value)

    def on_train_begin(self, logs: Any = None) -> None:
        """Start measuring."""
        self.reached = False
        self.elapsed = 0.0
        self._before = 0.0
        self._began = time.monotonic()

    def on_chunk_end(self, steps: int, logs: dict[str, float]) -> None:
        """Stop if the limit is reached."""
        self._measure()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Do the same: validation takes time too."""
        self._measure()

    def on_train_end(self, logs: Any = None) -> None:
        """Record the time it took."""
        self.elapsed = self._now()

    def state_dict(self) -> dict[str, Any]:
        """The time so far, and whether the limit was reached."""
        return {"elapsed": self._now(), "reached": self.reached}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the time; a run that the limit had stopped gets a new budget."""
        self.elapsed = float(callback_state.entry(state, "elapsed", float, int))
        self.reached = callback_state.entry(state, "reached", bool)
        if self.reached and not self.session.given_back:
            self.elapsed, self.reached = 0.0, False
        self._before = self.elapsed
        self._began = time.monotonic()

    def _now(self) -> float:
        return self._before + time.monotonic() - self._began

    def _measure(self) -> None:
        self.elapsed = self._now()
        if agree(self.elapsed >= 60 * (self.minutes or 0) + (self.seconds or 0)):
            self.reached = True
            self.session.stop(self.name)
