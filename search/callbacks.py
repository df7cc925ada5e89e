"""Callbacks of a search: what is called when trials begin and end.

Responsible for the methods that a callback may have, and for what it may look at. Not for those of
a training, which are on the estimator.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from search.store import Trial


class Study(Protocol):
    """A study while it runs, as callbacks see it.

    Attributes:
        directory: where it is kept, or None where it is not.
        objective: the name of what the score is, such as "val_loss" or "score".
        maximize: whether a higher score is better.
        workers: how many trials run at once.
        trials: all of them, in the order of asking; `state` is waiting, running, completed, failed.
        max_trials: the most trials there will be, or None where that is not known.
        max_seconds: after which no trial begins, counted from the beginning of this call of fit;
            or None.
        max_epochs: the most epochs of all fits together, or None.
        finished: whether the search ended because there is no trial left, and not by a budget,
            a stop or an exception.
        seconds: since that beginning.
        best: the completed trial with the best score, or None.
    """

    directory: Path | None
    objective: str
    maximize: bool
    workers: int
    max_trials: int | None
    max_seconds: float | None
    max_epochs: int | None
    finished: bool

    @property
    def trials(self) -> Sequence[Trial]: ...

    @property
    def seconds(self) -> float: ...

    @property
    def best(self) -> Trial | None: ...

    def stop(self) -> None:
        """Begin no further trial; those that run end, and the search ends as after its last."""


class SearchCallback:
    """Base of callbacks of a search; override what you need.

    They are called in the process of the search, one at a time. An exception ends the search; the
    study is kept and goes on with the next fit.
    """

    def on_search_begin(self, study: Study) -> None:
        """Before the first trial of this call of fit; `study.trials` holds the earlier ones."""

    def on_trial_begin(self, study: Study, trial: Trial) -> None:
        """A worker has begun the trial, perhaps again: `trial.attempts` counts from 1."""

    def on_trial_end(self, study: Study, trial: Trial) -> None:
        """The trial has ended, and is stored: `trial.state` is completed or failed."""

    def on_wait(self, study: Study) -> None:
        """Nothing has happened for half a second."""

    def on_search_end(self, study: Study) -> None:
        """After the last trial of this call of fit, also when an exception ends it."""
