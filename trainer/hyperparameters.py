"""The domain of one hyperparameter: which values a field may take in a search.

Responsible for describing and checking a domain. Not for sampling from it: that is the work of
`search`, which translates these domains for keras-tuner and scikit-learn.

A domain stands in the annotation of a field, beside its default:

    class MyTrainer(Classifier):
        units: Annotated[int, Int(32, 512, log=True)] = 128
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Bool", "Choice", "Domain", "Float", "Int"]


@dataclass(frozen=True, kw_only=True)
class Domain:
    """What all domains share.

    Attributes:
        when: the values that other fields must have for this one to matter, such as
            `{"optimizer": "sgd"}`; a tuple of values means any of them. None: always.
    """

    when: Mapping[str, Any] | None = field(default=None)

    def contains(self, value: Any) -> bool:
        """Whether `value` lies in the domain."""
        raise TypeError(f"{type(self).__name__} must define contains()")

    def __post_init__(self) -> None:
        if self.when is not None and not isinstance(self.when, Mapping):
            raise TypeError(
                f"when={self.when!r}: must be a mapping from a field's name to its value, such as "
                'when={"optimizer": "sgd"}'
            )


class _Range(Domain):
    """The checks that Int and Float share."""

    low: Any
    high: Any
    step: Any
    log: bool

    def _check_range(self) -> None:
        kind = type(self).__name__
        for name in ("low", "high"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{kind}({name}={value!r}): must be a number")
            if not math.isfinite(value):
                raise ValueError(f"{kind}({name}={value!r}): must be finite")
        if self.low > self.high:
            raise ValueError(
                f"{kind}(low={self.low!r}, high={self.high!r}): low is above high; "
                f"write {kind}({self.high!r}, {self.low!r})"
            )
        if self.log and self.low <= 0:
            raise ValueError(
                f"{kind}(low={self.low!r}, log=True): a logarithmic domain must start above 0"
            )
        if self.step is not None:
            if self.log:
                raise ValueError(
                    f"{kind}(step={self.step!r}, log=True): give step or log=True, not both"
                )
            if isinstance(self.step, bool) or not isinstance(self.step, (int, float)):
                raise TypeError(f"{kind}(step={self.step!r}): must be a number above 0")
            if not (self.step > 0 and math.isfinite(self.step)):
                raise ValueError(f"{kind}(step={self.step!r}): must be above 0, and finite")

    def _on_grid(self, value: float) -> bool:
        if self.step is None:
            return True
        steps = (value - self.low) / self.step
        return math.isclose(steps, round(steps), abs_tol=1e-9)


@dataclass(frozen=True)
class Int(_Range):
    """Whole numbers from `low` to `high`, both included.

    Attributes:
        low: the smallest value.
        high: the largest value; with `step`, the largest that the steps reach.
        step: the distance between neighbours. None: 1.
        log: whether equal ratios, rather than equal differences, are equally likely.

    Raises:
        ValueError: low above high, log with low below 1, a step that is not positive.
        TypeError: a bound that is no whole number.
    """

    low: int
    high: int
    step: int | None = None
    log: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_range()
        for name in ("low", "high", "step"):
            value = getattr(self, name)
            if value is not None and int(value) != value:
                raise TypeError(
                    f"Int({name}={value!r}): must be a whole number; for others write Float(...)"
                )

    def contains(self, value: Any) -> bool:
        """Whether `value` is a whole number of the domain."""
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            return False
        return self.low <= value <= self.high and self._on_grid(value)


@dataclass(frozen=True)
class Float(_Range):
    """Numbers from `low` to `high`, both included.

    Attributes:
        low: the smallest value.
        high: the largest value; with `step`, the largest that the steps reach.
        step: the distance between neighbours. None: any number between the bounds.
        log: whether equal ratios, rather than equal differences, are equally likely.

    Raises:
        ValueError: low above high, log with low not above 0, a step that is not positive.
        TypeError: a bound that is no number.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_range()

    def contains(self, value: Any) -> bool:
        """Whether `value` is a number of the domain."""
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            return False  # NumPy's numbers are Real, its booleans are not
        return self.low <= float(value) <= self.high and self._on_grid(float(value))


@dataclass(frozen=True, init=False)
class Choice(Domain):
    """One of a few values of any type, None included.

    Example:
        >>> Choice("relu", "selu").contains("selu")
        True

    Raises:
        ValueError: no value, or the same value twice.
    """

    values: tuple[Any, ...]

    def __init__(self, *values: Any, when: Mapping[str, Any] | None = None) -> None:
        if len(values) == 1 and isinstance(values[0], (list, set)):
            raise ValueError(
                f"Choice({values[0]!r}): give the values one by one, "
                f"Choice({', '.join(repr(v) for v in values[0])})"
            )
        if not values:
            raise ValueError('Choice(): needs at least one value, such as Choice("relu", "selu")')
        for i, value in enumerate(values):
            if any(_same(value, other) for other in values[:i]):
                raise ValueError(f"Choice(...): {value!r} is given twice")
        object.__setattr__(self, "values", tuple(values))
        object.__setattr__(self, "when", when)
        self.__post_init__()

    def contains(self, value: Any) -> bool:
        """Whether `value` is one of the values (True is not 1)."""
        return any(_same(value, other) for other in self.values)


@dataclass(frozen=True)
class Bool(Domain):
    """True or False."""

    def contains(self, value: Any) -> bool:
        """Whether `value` is a boolean."""
        return isinstance(value, bool)


def _same(a: Any, b: Any) -> bool:
    # 1 == True == 1.0 in Python, but they are different values of a hyperparameter.
    return type(a) is type(b) and bool(a == b)
