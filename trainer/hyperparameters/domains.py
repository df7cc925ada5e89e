"""Domains of hyperparameters: the values that a field may take in a search.

Responsible for describing and checking a domain. Not for sampling (`search`, which also converts
domains for keras-tuner and scikit-learn).

A domain is part of the annotation of a field, next to its default:

    class MyTrainer(Classifier):
        units: Annotated[int, Int(32, 512, log=True)] = 128
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainer.utils.checks import python_scalar

__all__ = ["Bool", "Choice", "Domain", "Drawn", "Float", "Int", "Repeat"]


@dataclass(frozen=True, kw_only=True)
class Domain:
    """Base class of all domains.

    Attributes:
        when: The values of other fields with which this one is active, such as
            `{"optimizer": "sgd"}`; a tuple means any of its values. None: always.
    """

    when: Mapping[str, Any] | None = field(default=None)

    def contains(self, value: Any) -> bool:
        """Return whether `value` is in the domain."""
        raise TypeError(f"{type(self).__name__} must define contains()")

    def __post_init__(self) -> None:
        if self.when is not None and not isinstance(self.when, Mapping):
            raise TypeError(
                f"when={self.when!r}: must be a mapping from field names to values, such as "
                'when={"optimizer": "sgd"}'
            )
        if self.when is not None:
            whole = {n: _each_scalar(wanted) for n, wanted in self.when.items()}
            object.__setattr__(self, "when", whole)


def _each_scalar(wanted: Any) -> Any:
    return tuple(map(python_scalar, wanted)) if isinstance(wanted, tuple) else python_scalar(wanted)


class _Range(Domain):
    """The common checks of Int and Float."""

    low: Any
    high: Any
    step: Any
    log: bool

    def _check_range(self) -> None:
        kind = type(self).__name__
        for name in ("low", "high", "step", "log"):
            object.__setattr__(self, name, _as_python(getattr(self, name)))
        if not isinstance(self.log, bool):
            raise TypeError(f"{kind}(log={self.log!r}): must be True or False")
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
                f"{kind}(low={self.low!r}, log=True): low must be above 0 on a logarithmic scale"
            )
        if self.step is not None:
            if isinstance(self.step, bool) or not isinstance(self.step, (int, float)):
                raise TypeError(f"{kind}(step={self.step!r}): must be a number above 0")
            if not (self.step > 0 and math.isfinite(self.step)):
                raise ValueError(f"{kind}(step={self.step!r}): must be above 0, and finite")
            if self.log and self.step <= 1:
                raise ValueError(
                    f"{kind}(step={self.step!r}, log=True): with log=True the step is a factor, "
                    "and must be above 1; write step=2"
                )

    def _on_grid(self, value: float) -> bool:
        if self.step is None:
            return True
        if self.log:
            powers = math.log(value / self.low) / math.log(self.step)
            return math.isclose(powers, round(powers), abs_tol=1e-9)
        steps = (value - self.low) / self.step
        return math.isclose(steps, round(steps), abs_tol=1e-9)


def _as_python(value: Any) -> Any:
    """Return a number as Python's own int or float: those of NumPy, and fractions."""
    value = python_scalar(value)
    if isinstance(value, (int, float)) or not isinstance(value, numbers.Real):
        return value
    return float(value)


@dataclass(frozen=True)
class Int(_Range):
    """Whole numbers from `low` to `high`, both included.

    Attributes:
        low: The smallest value.
        high: The upper bound; with `step`, the largest value may be lower.
        step: The distance between values; None is 1. With log=True it is the factor between them,
            as in KerasTuner: Int(1, 8, step=2, log=True) has the values 1, 2, 4 and 8.
        log: Whether values are uniform on a logarithmic scale.

    Raises:
        ValueError: low is above high, low is below 1 with log=True, or step is not positive.
        TypeError: A bound is not a whole number.
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
                    f"Int({name}={value!r}): must be a whole number; otherwise write Float(...)"
                )

    def contains(self, value: Any) -> bool:
        """Return whether `value` is a whole number in the domain."""
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            return False
        return self.low <= value <= self.high and self._on_grid(value)


@dataclass(frozen=True)
class Float(_Range):
    """Numbers from `low` to `high`, both included.

    Attributes:
        low: The smallest value.
        high: The upper bound; with `step`, the largest value may be lower.
        step: The distance between values, with log=True the factor between them; None allows any
            number between the bounds.
        log: Whether values are uniform on a logarithmic scale.

    Raises:
        ValueError: low is above high, low is not above 0 with log=True, or step is not positive.
        TypeError: A bound is not a number.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_range()

    def contains(self, value: Any) -> bool:
        """Return whether `value` is a number in the domain."""
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            return False  # NumPy numbers are Real, NumPy booleans are not
        return self.low <= float(value) <= self.high and self._on_grid(float(value))


@dataclass(frozen=True, init=False)
class Choice(Domain):
    """One of a few values of any type, including None.

    Example:
        >>> Choice("relu", "selu").contains("selu")
        True

    Raises:
        ValueError: There is no value, or a value is repeated.
    """

    values: tuple[Any, ...]

    def __init__(self, *values: Any, when: Mapping[str, Any] | None = None) -> None:
        if len(values) == 1 and isinstance(values[0], (list, set)):
            raise ValueError(
                f"Choice({values[0]!r}): pass the values as separate arguments, "
                f"Choice({', '.join(repr(v) for v in values[0])})"
            )
        values = tuple(map(python_scalar, values))
        if not values:
            raise ValueError('Choice(): needs at least one value, such as Choice("relu", "selu")')
        for i, value in enumerate(values):
            if any(_same(value, other) for other in values[:i]):
                raise ValueError(f"Choice(...): {value!r} is repeated")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "when", when)
        self.__post_init__()

    def contains(self, value: Any) -> bool:
        """Return whether `value` is one of the values (True differs from 1)."""
        return any(_same(python_scalar(value), other) for other in self.values)


@dataclass(frozen=True)
class Bool(Domain):
    """True or False."""

    def contains(self, value: Any) -> bool:
        """Return whether `value` is a boolean."""
        return isinstance(value, (bool, np.bool_))


@dataclass(frozen=True)
class Drawn(Domain):
    """The values of a distribution of scipy.stats, such as `scipy.stats.norm(0, 1)`.

    Attributes:
        distribution: A frozen distribution, continuous or discrete, with its parameters. A search
            draws from it, and spreads values by its quantiles.

    Raises:
        TypeError: It has no quantiles: the methods ppf, cdf and support.
    """

    distribution: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        for method in ("ppf", "cdf", "support"):
            if not callable(getattr(self.distribution, method, None)):
                raise TypeError(
                    f"Drawn({self.distribution!r}): must be a frozen distribution with the method "
                    f"{method}; write Drawn(scipy.stats.norm(0, 1))"
                )
        try:
            self.distribution.support()
        except TypeError as error:
            name = getattr(self.distribution, "name", repr(self.distribution))
            raise TypeError(
                f"Drawn({name}): a distribution without its parameters ({error}); write "
                f"scipy.stats.{name}(...) with numbers"
            ) from error

    @property
    def discrete(self) -> bool:
        """Whether its values are whole numbers."""
        return hasattr(self.distribution, "pmf")

    def contains(self, value: Any) -> bool:
        """Return whether `value` can be drawn."""
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            return False
        low, high = self.distribution.support()
        if not (math.isfinite(value) and low <= value <= high):
            return False
        whole = hasattr(value, "__index__") or float(value).is_integer()
        return not self.discrete or (whole and bool(self.distribution.pmf(value) > 0))

    def __repr__(self) -> str:
        name = getattr(getattr(self.distribution, "dist", None), "name", None)
        given = [repr(v) for v in getattr(self.distribution, "args", ())]
        given += [f"{k}={v!r}" for k, v in getattr(self.distribution, "kwds", {}).items()]
        made = f"{name or type(self.distribution).__name__}({', '.join(given)})"
        return f"Drawn(when={self.when!r}, distribution={made})"


@dataclass(frozen=True, init=False)
class Repeat(Domain):
    """A number of parts, each with values of its own: layers and their widths, for example.

        layers: Annotated[tuple, Repeat(Int(1, 4), units=Int(16, 256))] = ({"units": 64},)

    The field is a tuple with a dict for each part, such as ({"units": 64}, {"units": 32}). In a
    search the number is a parameter of the field's name, and the values are layers[0].units,
    layers[1].units and so on, which are active if there are that many parts.

    Attributes:
        count: The number of parts.
        parts: The domains of each part, by name; the condition of one may name another.

    Raises:
        TypeError: The count is not an Int from 0 on, or a part has no domains.
    """

    count: Int
    parts: Mapping[str, Domain]

    def __init__(
        self, count: Int, *, when: Mapping[str, Any] | None = None, **parts: Domain
    ) -> None:
        if not isinstance(count, Int) or count.low < 0:
            raise TypeError(f"Repeat({count!r}): must be an Int from 0 on; write Repeat(Int(1, 4))")
        if not parts:
            raise TypeError(f"Repeat({count!r}): no domains; write Repeat(..., units=Int(16, 256))")
        for name, domain in parts.items():
            if not isinstance(domain, Domain) or isinstance(domain, Repeat):
                raise TypeError(
                    f"Repeat({name}={domain!r}): must be Int, Float, Choice, Bool or Drawn"
                )
        object.__setattr__(self, "count", count)
        object.__setattr__(self, "parts", dict(parts))
        object.__setattr__(self, "when", when)
        self.__post_init__()

    def contains(self, value: Any) -> bool:
        """Return whether `value` is a tuple of as many dicts, with values in the domains."""
        if not isinstance(value, (tuple, list)) or not self.count.contains(len(value)):
            return False
        return all(
            isinstance(part, Mapping)
            and part.keys() <= self.parts.keys()
            and all(self.parts[name].contains(v) for name, v in part.items())
            for part in value
        )


def _same(a: Any, b: Any) -> bool:
    # 1 == True == 1.0 in Python, but they are different hyperparameter values.
    return type(a) is type(b) and bool(a == b)
