"""Callbacks of a search: called when trials start and end.

Responsible for the methods a callback may define, and for the view of the study it gets. Not for
callbacks of a training, which belong to the estimator.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from search.study.storage import Trial


class Study(Protocol):
    """A running study, as callbacks see it.

    Attributes:
        directory: where the study is saved, or None if it is not.
        objective: the name of the score, such as "val_loss" or "score".
        maximize: whether a higher score is better.
        trials: all trials, in the order they were asked for; `state` is waiting, running,
            completed, failed or pruned (ended below the last rung, and not promoted so far).
        max_trials: maximum number of trials, or None if unknown.
        max_seconds: no trial starts later than this after the start of this call of fit; or None.
        max_epochs: maximum number of epochs of all fits together, or None.
        finished: whether the search ended because no trial was left, and not because of a budget,
            a stop or an exception.
        seconds: since the start of this call of fit.
        best: the trial with the best score, or None; with a pruner, of those at the highest rung.
    """

    directory: Path | None
    objective: str
    maximize: bool
    max_trials: int | None
    max_seconds: float | None
    max_epochs: int | None
    finished: bool

    @property
    def workers(self) -> int:
        """Return the number of trials that run at once."""

    @property
    def trials(self) -> Sequence[Trial]:
        """Return all trials, in the order they were asked for."""

    @property
    def seconds(self) -> float:
        """Return the seconds since the start of this call of fit."""

    @property
    def best(self) -> Trial | None:
        """Return the trial with the best score, if any."""

    def stop(self) -> None:
        """Start no new trials; running ones finish, and the search ends as usual."""


class SearchCallback:
    """Base class for callbacks of a search; override what you need.

    Methods are called in the search's process, one at a time. An exception ends the search; the
    study is saved and resumes with the next fit.
    """

    def on_search_begin(self, study: Study) -> None:
        """Before the first trial of this call of fit; `study.trials` holds the earlier ones."""

    def on_trial_begin(self, study: Study, trial: Trial) -> None:
        """A worker has started the trial, perhaps not for the first time: see `trial.attempts`."""

    def on_trial_end(self, study: Study, trial: Trial) -> None:
        """The trial has ended and is saved: `state` is completed, failed or pruned."""

    def on_wait(self, study: Study) -> None:
        """Nothing has happened for half a second."""

    def on_search_end(self, study: Study) -> None:
        """After the last trial of this call of fit, also when an exception ends it."""
