"""Ends of a study that depend on its scores: a target, and patience.

Responsible for when to stop. Not for budgets of time, trials and epochs (`coordinator`).
"""

from __future__ import annotations

from search.study.callbacks import SearchCallback, Study
from search.study.storage import Trial


class Ending(SearchCallback):
    """Stop a study that is good enough, or has not become better for long.

    Args:
        target: the score that is enough, or None.
        patience: the number of trials that may end after the best one, or None.
    """

    def __init__(self, target: float | None, patience: int | None) -> None:
        self._target = target
        self._patience = patience
        self._since = 0  # trials that have ended since the best one did
        self._best: int | None = None

    def on_search_begin(self, study: Study) -> None:
        """Count the trials so far, in the order in which they ended."""
        ended = [t for t in study.trials if t.ended is not None]
        ended.sort(key=lambda trial: trial.ended or 0.0)
        self._best = None if study.best is None else study.best.id
        places = [i for i, trial in enumerate(ended) if trial.id == self._best]
        self._since = len(ended) - 1 - places[0] if places else len(ended)
        self._stop(study)

    def on_trial_end(self, study: Study, trial: Trial) -> None:
        """Count the trial, and stop if it was the last."""
        best = None if study.best is None else study.best.id
        self._since = 0 if best != self._best else self._since + 1
        self._best = best
        self._stop(study)

    def _stop(self, study: Study) -> None:
        best = study.best
        if self._target is not None and best and best.feasible and best.score is not None:
            reached = best.score - self._target
            if reached >= 0 if study.maximize else reached <= 0:
                study.stop()
        if self._patience is not None and self._since >= self._patience:
            study.stop()
