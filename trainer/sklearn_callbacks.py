"""The only access to scikit-learn's callbacks (sklearn.callback, SLEP023), which are experimental.

Responsible for every use of that API: what an estimator needs to take such callbacks, and the tasks
(a fit, its epochs, the trials of a search) that it reports to them. If scikit-learn changes it,
only this module has to change; where it cannot be imported, estimators have no
`set_callbacks`. Not for Keras' callbacks and plugins, which belong in the field `callbacks`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

from sklearn.utils.metaestimators import available_if

try:
    from sklearn.callback import (
        AutoPropagatedCallback,
        CallbackSupportMixin,
        FitCallback,
    )
    from sklearn.callback._callback_support import callback_management_context
except ImportError:  # before 1.9, or the experimental API has moved
    CallbackSupportMixin = object
    SUPPORTED = False
else:
    SUPPORTED = True

if TYPE_CHECKING:
    from trainer.history import History

# Attributes that scikit-learn sets on an estimator: its callbacks, and those of a fit in progress.
CALLBACKS = "_skl_callbacks"
_PARENT = "_parent_callback_ctx"
OF_A_FIT = (_PARENT, "_callback_fit_ctx", "_skl_callbacks_to_teardown")


def _supported(_estimator: Any) -> bool:
    if not SUPPORTED:
        import sklearn

        raise AttributeError(
            f"set_callbacks: scikit-learn {sklearn.__version__} has no sklearn.callback that this "
            "version of trainer can use; install scikit-learn 1.9, or use the field callbacks, "
            "which takes Keras' callbacks and plugins"
        )
    return True


class SupportsCallbacks(CallbackSupportMixin):
    """An estimator that takes scikit-learn's callbacks; its fit is `managed`."""

    @available_if(_supported)
    def set_callbacks(self, *callbacks: Any) -> Self:
        """Set scikit-learn's callbacks (sklearn.callback), instead of those set before.

        They are notified of the fit and of each of its epochs, and of the trials of a search. They
        change no number; one that returns True from `on_fit_task_end` ends the training after that
        epoch, or the search after the running trials. They are not saved with the estimator, and
        are not the callbacks of the field of that name, which are Keras'.

        Args:
            *callbacks: such as sklearn.callback.ProgressBar(); none removes all.

        Returns:
            self.

        Raises:
            TypeError: one of them is not a callback of scikit-learn.
        """
        for callback in callbacks:
            if isinstance(callback, type) or not isinstance(callback, FitCallback):
                if isinstance(callback, type):
                    hint = f"; write {callback.__name__}()"
                else:
                    hint = (
                        "; Keras' callbacks and plugins go into the field: "
                        f"{type(self).__name__}(callbacks=[...])"
                    )
                raise TypeError(
                    f"set_callbacks({callback!r}): must be a callback of scikit-learn, such as "
                    f"sklearn.callback.ProgressBar(){hint}"
                )
        super().set_callbacks(*callbacks)
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to a fit in progress."""
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name not in OF_A_FIT}


def managed(estimator: Any) -> contextlib.AbstractContextManager[None]:
    """Return a context for a fit: callbacks that are set up in it are torn down at its end.

    A context, and not scikit-learn's decorator `with_callbacks`, which has a frame of its own:
    warnings would name scikit-learn's file instead of the line that calls fit.

    Args:
        estimator: the estimator that is fitted.
    """
    context: contextlib.AbstractContextManager[None] = (
        callback_management_context(estimator) if SUPPORTED else contextlib.nullcontext()
    )
    return context


class Task:
    """A task that is reported to callbacks: see `root`.

    Args:
        context: scikit-learn's context of the task.
        estimator: the estimator whose task it is.
        data: the keyword arguments X, y and metadata for the hooks.

    Attributes:
        numbers: those of the tasks in it.
    """

    def __init__(self, context: Any, estimator: Any, data: dict[str, Any]) -> None:
        self.context = context
        self._estimator = estimator
        self._data = data
        self.numbers: list[int] = []

    def __getstate__(self) -> dict[str, Any]:
        """Only the context: workers, to which a task is sent, begin and end tasks within it."""
        return {**vars(self), "_estimator": None, "_data": {}}

    def begin(self, fitted: Callable[[], dict[str, Any]] | None = None) -> Self:
        """Notify the callbacks that the task begins.

        Args:
            fitted: returns the attributes that make a copy of the estimator the one that would be
                fitted if the fit ended here; called only if a callback asks for that.
        """
        self.context.call_on_fit_task_begin(
            estimator=self._estimator, reconstruction_attributes=fitted, **self._data
        )
        return self

    def end(self, fitted: Callable[[], dict[str, Any]] | None = None) -> bool:
        """Notify the callbacks that the task has ended; return whether one asks to stop.

        Args:
            fitted: as for `begin`.
        """
        stops: bool = self.context.call_on_fit_task_end(
            estimator=self._estimator, reconstruction_attributes=fitted, **self._data
        )
        return stops

    def inner(self, name: str, number: int, most: int | None = 0, *, ordered: bool = True) -> Task:
        """Return a task within this one, which has not begun yet.

        Args:
            name: its name.
            number: what tells it from its siblings.
            most: the most tasks in it; None if unknown.
            ordered: whether these come one after another, numbered from 0.
        """
        context = self.context
        if context.sequential_subtasks and number != len(self.numbers):
            # A resumed fit: the first epoch is not number 0, so that by scikit-learn's definition
            # its tasks are not sequential.
            context.sequential_subtasks = False
        self.numbers.append(number)
        made = context.subcontext(
            task_name=name,
            task_id=None if context.sequential_subtasks else number,
            max_subtasks=most,
            sequential_subtasks=ordered,
        )
        return Task(made, self._estimator, self._data)

    @contextlib.contextmanager
    def around(self, estimator: Any) -> Iterator[None]:
        """Within this context, the fit of another estimator is this task.

        Args:
            estimator: it gets the callbacks that propagate; it need not support any.
        """
        if not hasattr(estimator, "set_callbacks"):
            yield
            return
        with self.context.propagate_callback_context(estimator):
            yield


def is_watched(estimator: Any) -> bool:
    """Return whether scikit-learn's callbacks watch the next fit of an estimator.

    They do if it has some, or if the fit is a task of another estimator that may have some.
    """
    return SUPPORTED and any(name in vars(estimator) for name in (CALLBACKS, _PARENT))


def root(
    estimator: Any,
    most: int | None,
    *,
    x: Any = None,
    y: Any = None,
    sample_weight: Any = None,
    watched: bool = False,
) -> Task | None:
    """Set up the callbacks of a fit, and begin its task; its `fit` must be `managed`.

    Args:
        estimator: the estimator that is fitted.
        most: the most tasks in it; None if unknown.
        x: the rows, as its predict takes them.
        y: their targets, or None.
        sample_weight: their weights, or None.
        watched: whether callbacks watch what is fitted within.

    Returns:
        The task, or None if no callback watches this fit.
    """
    if not (watched or is_watched(estimator)):
        return None
    metadata = None if sample_weight is None else {"sample_weight": sample_weight}
    # functions, because scikit-learn calls whatever is callable, and a stream may be
    data = {"X": lambda: x, "y": lambda: y, "metadata": metadata}
    return Task(estimator._init_callback_context(max_subtasks=most), estimator, data).begin()


class Epochs:
    """The epochs of a fit, as tasks in it.

    Args:
        fit: the task of the fit.
        fitted: returns the attributes of the estimator as it would be fitted now, given its
            history.
    """

    def __init__(self, fit: Task, fitted: Callable[[History], dict[str, Any]]) -> None:
        self._fit = fit
        self._fitted = fitted
        self._running: Task | None = None

    def begin(self, epoch: int, history: History | None) -> None:
        """Notify the callbacks that an epoch begins.

        Args:
            epoch: its number, from 0; a resumed fit begins with the epoch that it resumes in.
            history: of the epochs before; None if the weights are not there yet.
        """
        task = self._fit.inner("epoch", epoch)
        self._running = task.begin(None if history is None else lambda: self._fitted(history))

    def end(self, history: History) -> bool:
        """Notify the callbacks that the running epoch, if any, has ended.

        Args:
            history: including this epoch.

        Returns:
            Whether a callback asks to end the training.
        """
        running, self._running = self._running, None
        return running is not None and running.end(lambda: self._fitted(history))


def propagated(estimator: Any) -> list[Any]:
    """Return those of an estimator's callbacks that the estimators in it get too."""
    found = getattr(estimator, CALLBACKS, ())
    return [callback for callback in found if isinstance(callback, AutoPropagatedCallback)]


def has_callbacks(estimator: Any) -> bool:
    """Return whether scikit-learn's callbacks are set on an estimator."""
    return bool(getattr(estimator, CALLBACKS, ()))


def without_callbacks(estimator: Any) -> None:
    """Remove the callbacks of an estimator, where it has some."""
    if has_callbacks(estimator):
        estimator.set_callbacks()
