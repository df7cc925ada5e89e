"""A function as an estimator, so that it can be searched like any other estimator.

Responsible for calling it with a trial's parameters and for what it may return. Not for the search.
"""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, Self

from sklearn.base import BaseEstimator

SEED = "seed"  # the argument under which a function gets the seed of its trial


class Function(BaseEstimator):
    """Fitting it calls the function; its score is what the function returned.

    Args:
        function: called with the parameters as keyword arguments; returns a number, or a dict of
            numbers.
        objective: the name of the score in such a dict, or None.
        names: of the parameters.
        random_state: the seed of the trial, for functions that take `seed`.
        values: of the parameters.

    Attributes:
        score_: what the function returned, or the objective in it.
        metrics_: the other numbers in it.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        objective: str | None,
        names: tuple[str, ...],
        random_state: int | None = None,
        **values: Any,
    ) -> None:
        self.function = function
        self.objective = objective
        self.names = names
        self.random_state = random_state
        self.values = values

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the arguments, and a value for each parameter: None where there is none yet."""
        own = {"function": self.function, "objective": self.objective, "names": self.names}
        values = {name: self.values.get(name) for name in self.names}
        return {**own, "random_state": self.random_state, **values}

    def set_params(self, **params: Any) -> Self:
        """Set parameters, and the seed."""
        self.random_state = params.pop("random_state", self.random_state)
        self.values |= params
        return self

    def __sklearn_clone__(self) -> Function:
        # without a copy of the function, which may be a method of something large
        return Function(self.function, self.objective, self.names, self.random_state, **self.values)

    def fit(self, x: Any, y: Any = None) -> Self:
        """Call the function.

        Raises:
            TypeError: it returned None, something else than a number, or than a dict of numbers.
            ValueError: the dict does not hold the objective.
        """
        given = dict(self.values)
        if SEED not in self.names and SEED in (parameters_of(self.function) or {}):
            given[SEED] = self.random_state
        returned = self.function(**given)
        if returned is None:
            raise TypeError(
                f"function={name_of(self.function)}: returned None, which is no score; is a "
                "'return' missing?"
            )
        if not isinstance(returned, Mapping):
            self.metrics_: dict[str, float] = {}
            self.score_ = _number(self.function, returned)
            return self
        found = {str(n): _number(self.function, value) for n, value in returned.items()}
        if self.objective is None or self.objective not in found:
            raise ValueError(
                f"objective={self.objective!r}: {name_of(self.function)} returned a dict of "
                f"{', '.join(map(repr, found)) or 'nothing'}; write one of these as objective="
            )
        self.score_ = found.pop(self.objective)
        self.metrics_ = found
        return self

    def score(self, x: Any = None, y: Any = None) -> float:
        """Return what the function returned."""
        return self.score_


def parameters_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter] | None:
    """Return the parameters of a function; None if Python cannot tell."""
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return None


def name_of(function: Any) -> str:
    """Return the name of a function, for people."""
    if isinstance(function, functools.partial):
        return f"partial({name_of(function.func)})"
    # a resumed study compares the name, and addresses are of this process
    shown = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(function))
    return str(getattr(function, "__qualname__", None) or shown)


def _number(function: Any, value: Any) -> float:
    if hasattr(value, "item") and getattr(value, "size", 1) == 1:
        value = value.item()  # of NumPy or a tensor
    if isinstance(value, Real):
        return float(value)
    if value is None:
        return math.nan
    raise TypeError(
        f"function={name_of(function)}: returned {value!r}; it must return a number, or a dict of "
        "numbers"
    )
