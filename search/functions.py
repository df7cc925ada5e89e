"""FunctionSearch: a search over the arguments of a function.

Responsible for its arguments; the search itself is that of TunerSearch.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from search.checking import names_of_arguments
from search.searches import TunerSearch
from search.space import Space
from search.study.callbacks import SearchCallback
from search.study.function import SEED, Function, name_of, parameters_of
from search.study.goals import split
from search.study.scoring import SCORE, Measure
from trainer.utils.checks import did_you_mean, one_of

RESERVED = ("function", "objective", "names", "random_state")  # arguments of Function


class FunctionSearch(TunerSearch):
    """A search over the arguments of any function, on all cores, that resumes after a kill.

        def loss(x, y):
            return (x - 1) ** 2 + y

        search = FunctionSearch(loss, {"x": Float(-2, 2), "y": Int(0, 3)}, direction="min")
        search.fit().best_params_

    Args:
        function: is called with a value for each parameter of the space, as keyword arguments, in
            worker processes. It returns the score, or a dict of numbers of which `objective` names
            the score. None or NaN: the trial failed. If it has an argument `seed` that is not in
            the space, it gets the seed of the trial.
        space: a dict from name to Int, Float, Choice, Bool or a list of values; or a list of such
            dicts, each a space of its own.
        direction: "max" or "min": whether a higher or a lower score is better.
        objective: the name of the score, if the function returns a dict. A list of several, whose
            others are pairs such as ("size", "min"): see TunerSearch.
        constraints: bounds of values in the dict, or of "seconds": see TunerSearch.
        tuner, max_trials, enqueue, workers, executor, directory, resume, seed, trial_timeout,
            trial_memory, trial_retries, max_seconds, callbacks, verbose: as in TunerSearch.

    After fit: best_params_, best_score_, best_index_, results_ (a DataFrame, one row per trial),
    cv_results_, seed_, directory_.
    """

    _by_log: ClassVar[bool] = False

    @names_of_arguments
    def __init__(
        self,
        function: Any,
        space: Any,
        *,
        direction: str = "max",
        objective: Any = None,
        tuner: Any = None,
        max_trials: int | None = None,
        enqueue: Any = None,
        workers: int | None = None,
        executor: Any = "processes",
        directory: Any = None,
        resume: Any = "auto",
        seed: int | None = None,
        trial_timeout: float | None = None,
        trial_memory: int | None = None,
        trial_retries: int = 1,
        max_seconds: float | None = None,
        callbacks: Sequence[SearchCallback] = (),
        verbose: Any = "auto",
        constraints: Any = None,
    ) -> None:
        super().__init__(
            None,
            space,
            tuner=tuner,
            max_trials=max_trials,
            objective=objective,
            enqueue=enqueue,
            workers=workers,
            executor=executor,
            directory=directory,
            resume=resume,
            seed=seed,
            refit=False,
            trial_timeout=trial_timeout,
            trial_memory=trial_memory,
            trial_retries=trial_retries,
            max_seconds=max_seconds,
            callbacks=callbacks,
            constraints=constraints,
            verbose=verbose,
        )
        self.function = function
        self.direction = direction

    def fit(self) -> Self:  # type: ignore[override] # there are no data
        """Run the trials, or resume the study in the directory.

        Returns:
            self.

        Raises:
            TypeError, ValueError: bad arguments, before the first trial.
            RuntimeError: every trial failed.
            KeyboardInterrupt: on Ctrl-C; results_ holds the trials so far, and with a directory
                the same call resumes.
        """
        self._check()
        self.estimator = Function(self.function, split(self.objective)[0], self._names())
        nothing = np.zeros((2, 1))
        return super().fit(nothing, nothing[:, 0], validation_data=(nothing, nothing[:, 0]))

    def _check(self) -> None:
        function, name = self.function, name_of(self.function)
        if not callable(function):
            raise TypeError(
                f"function={function!r}: must be a function; an estimator goes into TunerSearch or "
                "SklearnSearch"
            )
        if hasattr(function, "get_params"):
            raise TypeError(
                f"function={name}: is an estimator or its class; write TunerSearch({name}, ...)"
            )
        one_of("direction", self.direction, ("max", "min"))
        first = split(self.objective)[0]
        if first is not None and not isinstance(first, str):
            raise TypeError(
                f"objective={self.objective!r}: must be the name of the score in the dict that the "
                "function returns, or None; whether lower is better is direction='min'"
            )
        if self.max_epochs is not None:
            raise ValueError(f"max_epochs={self.max_epochs}: a function has no epochs")
        parts = self.space if isinstance(self.space, (list, tuple)) else [self.space]
        if not self.space or not all(isinstance(part, Mapping) for part in parts):
            raise TypeError(
                f"space={self.space!r}: must be a dict from the function's arguments to what to "
                "try; write {'x': Float(0, 1)}, for example"
            )
        for part in parts:
            _check_names(name, part)
            known = parameters_of(function)
            if known is not None:
                _check_signature(name, known, part)

    def _names(self) -> tuple[str, ...]:
        parts = self.space if isinstance(self.space, (list, tuple)) else [self.space]
        return tuple(dict.fromkeys(name for part in parts for name in part))

    def _wanted(self, objective: Any) -> Measure:
        return Measure(objective or SCORE, maximize=self.direction == "max")

    def _dry_run(self, executor: Any, space: Space, seed: int, *, alone: bool) -> None:
        """Do nothing: what a function costs is not known, and a call of it is a trial."""

    def _method(self) -> dict[str, Any]:
        return super()._method() | {"function": name_of(self.function)}


def _check_names(function: str, space: Mapping[str, Any]) -> None:
    """Check that the names of a space may be arguments of a function."""
    for name in space:
        if not isinstance(name, str):
            raise TypeError(
                f"space={{{name!r}: ...}}: must be the name of an argument of {function}"
            )
        if name in RESERVED:
            raise ValueError(
                f"space={{{name!r}: ...}}: the names {', '.join(RESERVED)} are used by the search; "
                "give the function's argument another name"
            )


def _check_signature(
    function: str, parameters: Mapping[str, inspect.Parameter], space: Mapping[str, Any]
) -> None:
    """Check that the function takes what the space gives it, and needs nothing else."""
    for name, parameter in parameters.items():
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise ValueError(
                f"function={function}: its argument {name!r} is positional only, and the search "
                "passes names; leave out the '/' in its definition"
            )
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = [n for n, p in parameters.items() if p.kind in named]
    takes_all = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    for name in space if not takes_all else ():
        if name not in known:
            raise ValueError(
                f"space={{{name!r}: ...}}: {function} has no argument of this name; "
                f"{did_you_mean(name, known)}"
            )
    for name, parameter in parameters.items():
        required = parameter.default is inspect.Parameter.empty and parameter.kind in named
        if required and name not in space and name != SEED:
            raise ValueError(
                f"function={function}: needs {name!r}, which is not in the space; add it, or bind "
                f"it with functools.partial({function}, {name}=...)"
            )
