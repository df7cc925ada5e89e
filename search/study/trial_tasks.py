"""The trials of a study as tasks that scikit-learn's callbacks see (sklearn.callback).

A search has one task for all trials. It holds one for each trial, which holds one for each of its
fits; the epochs of a Trainer are tasks in the latter. A second task of the search is the refit.

Responsible for when these begin and end. Not for scikit-learn's API (`trainer.sklearn_callbacks`).
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

from search.study.callbacks import SearchCallback, Study
from search.study.scoring import trainer_in
from search.study.storage import Trial
from trainer import sklearn_callbacks
from trainer.sklearn_callbacks import Task


class TrialTasks(SearchCallback):
    """Reports trials to the callbacks of a search, one of which may stop it.

    Args:
        search: the task of the search.
        most: the most trials there will be, or None.
        fits: the number of fits of a trial.
    """

    def __init__(self, search: Task, most: int | None, fits: int) -> None:
        # several run at once, and a resumed study has had others
        self._all = search.inner("search", 0, most, ordered=False)
        self._fits = fits
        self._tasks: dict[int, Task] = {}

    def of(self, trial: int) -> Task:
        """Return the task of a trial, by its number; it begins when it is first asked for.

        That is before a worker gets the trial: what callbacks see of its fits, they see within it.
        """
        if trial not in self._tasks:
            made = self._all.inner("trial", trial, self._fits, ordered=False)
            self._tasks[trial] = made.begin()
        return self._tasks[trial]

    def on_search_begin(self, study: Study) -> None:
        """Begin the task of all trials."""
        self._all.begin()

    def on_trial_end(self, study: Study, trial: Trial) -> None:
        """End the task of a trial, and stop the search if a callback asks for that."""
        if self._tasks.pop(trial.id).end():
            study.stop()

    def end(self) -> None:
        """End the task of all trials; not called if the search fails."""
        self._all.end()


def checked(search: Any) -> None:
    """Raise an error, or warn, if the callbacks of a search do not go with its estimator.

    Args:
        search: the search.

    Raises:
        TypeError: the estimator has callbacks that only the search may have, or one of them cannot
            be sent to the workers.
    """
    estimator = _watched_part(search.estimator)
    if estimator is not search.estimator and sklearn_callbacks.has_callbacks(search.estimator):
        raise TypeError(
            "estimator: a search fits the steps of a pipeline one by one, so that callbacks of the "
            f"{type(search.estimator).__name__} itself would see nothing; set them on the "
            f"{type(search).__name__}, or on the {type(estimator).__name__} in the pipeline"
        )
    own = {type(c).__name__ for c in sklearn_callbacks.propagated(estimator)}
    if own:
        name = sorted(own)[0]
        raise TypeError(
            f"estimator: {type(estimator).__name__} has the callback {name}, which belongs to the "
            f"outermost estimator; write {type(search).__name__}(...).set_callbacks({name}())"
        )
    passed_on = sklearn_callbacks.propagated(search)
    if passed_on and not hasattr(estimator, "set_callbacks"):
        warnings.warn(
            f"set_callbacks: {type(estimator).__name__} does not support scikit-learn's callbacks, "
            f"so that they see the trials of the {type(search).__name__}, but not what is in them",
            stacklevel=3,
        )
    if search.executor != "serial":
        import cloudpickle

        for callback in getattr(search, sklearn_callbacks.CALLBACKS, ()):
            try:
                cloudpickle.dumps(callback)
            except Exception as error:  # whatever an object raises that does not pickle
                raise TypeError(
                    f"set_callbacks({callback!r}): cannot be sent to the workers ({error}); write "
                    "executor='serial'"
                ) from error


def fit_of(
    trial: Task | None, number: int, estimator: Any
) -> contextlib.AbstractContextManager[None]:
    """Return a context in which the fit of an estimator is a task of a trial.

    Args:
        trial: the trial's task, or None.
        number: of the fit in the trial.
        estimator: that is fitted; a pipeline's other steps get no callbacks.
    """
    if trial is None or number in trial.numbers:
        # the second attempt after a fault of the disk: scikit-learn allows a task only once
        return contextlib.nullcontext()
    return trial.inner("fit", number).around(_watched_part(estimator))


@contextlib.contextmanager
def refit_of(search: Task | None, estimator: Any) -> Iterator[None]:
    """Return a context in which the fit of an estimator is the refit of a search.

    Args:
        search: the task of the search, or None.
        estimator: the best estimator.
    """
    if search is None:
        yield
        return
    refit = search.inner("refit", 1)
    with refit.around(_watched_part(estimator)):
        refit.begin()
        yield
    refit.end()


def unwatched(estimator: Any) -> None:
    """Remove the callbacks of an estimator that is only tried out."""
    for part in (estimator, _watched_part(estimator)):
        sklearn_callbacks.without_callbacks(part)


def _watched_part(estimator: Any) -> Any:
    """Return what is fitted with its epochs in a trial: the Trainer in a pipeline."""
    return trainer_in(estimator)[1] or estimator
