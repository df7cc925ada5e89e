"""The plugin that ends a training after some time.

Responsible for measuring the time and for asking for the end. Not for ending (`engine.loop`).
"""

from __future__ import annotations

import time
from typing import Any

from trainer.callbacks import states
from trainer.callbacks.callback import Callback, Session
from trainer.checks import positive


class TimeLimit(Callback):
    """Stops the training, in order, when it has lasted for some time in all.

    The dispatch of steps that is running then is finished, and its epoch is validated and recorded
    as it is. How far a training comes depends on the machine and its load. With run_dir the same
    call of fit resumes where it stopped, in the middle of the epoch, with a new budget of time: a
    job that is limited and started again and again ends with the bytes of one without a limit.

    What counts is the time from the beginning of the first epoch, validation, callbacks and saving
    included; time before a kill counts too, as far as the state from which the run resumes.

    Attributes:
        minutes: the limit, or a part of it.
        seconds: the same; both together where both are given.

    After training, `elapsed` is its length in seconds, and `reached` whether the limit ended it.
    """

    minutes: float | None = None
    seconds: float | None = None

    def setup(self, session: Session) -> None:
        """Refuse wrong fields."""
        if self.minutes is None and self.seconds is None:
            raise ValueError("minutes=None: there is no limit; write minutes=30, or seconds=90")
        for name, value in (("minutes", self.minutes), ("seconds", self.seconds)):
            if value is not None:
                positive(name, value)

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin to measure."""
        self.reached = False
        self.elapsed = 0.0
        self._before = 0.0
        self._began = time.monotonic()

    def on_chunk_end(self, steps: int, logs: dict[str, float]) -> None:
        """Stop if it is time."""
        self._measure()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """The same: validation takes time too."""
        self._measure()

    def on_train_end(self, logs: Any = None) -> None:
        """Note how long it took."""
        self.elapsed = self._now()

    def state_dict(self) -> dict[str, Any]:
        """The time until now."""
        return {"elapsed": self._now(), "reached": self.reached}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Count from there; a run that the limit had stopped has all its time again."""
        assert self.session is not None
        self.elapsed = float(states.entry(state, "elapsed", float, int))
        self.reached = states.entry(state, "reached", bool)
        if self.reached and not self.session.given_back:
            self.elapsed, self.reached = 0.0, False
        self._before = self.elapsed
        self._began = time.monotonic()

    def _now(self) -> float:
        return self._before + time.monotonic() - self._began

    def _measure(self) -> None:
        self.elapsed = self._now()
        if self.elapsed >= 60 * (self.minutes or 0) + (self.seconds or 0):
            self.reached = True
            assert self.session is not None
            self.session.stop(self.name)
