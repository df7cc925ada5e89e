"""The checks of arguments, and the words in which they fail.

Responsible for one clear error a fault: the argument, its value, and what to write instead.
Not for checking data against a model: `data` and `compiling` do that where they know more.
"""

from __future__ import annotations

import difflib
import math
import numbers
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

_MOST_NAMES = 40  # that an error lists: a folder may hold thousands of files


def did_you_mean(name: Any, known: Iterable[str]) -> str:
    """`did you mean 'x'?` if a known name is near, otherwise the list of the known names."""
    names = sorted(set(known))
    near = near_names(name, names)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    if not names:
        return "there are none to choose from"
    more = f" (and {len(names) - _MOST_NAMES} more)" if len(names) > _MOST_NAMES else ""
    return "choose one of " + ", ".join(repr(n) for n in names[:_MOST_NAMES]) + more


def near_names(name: Any, known: Iterable[str]) -> list[str]:
    """Up to three of the known names that `name` may be a slip of, the nearest first."""
    folded = {n.lower().replace("_", ""): n for n in known}
    near = difflib.get_close_matches(str(name).lower().replace("_", ""), folded, n=3, cutoff=0.6)
    return [folded[n] for n in near]


def integer(name: str, value: Any, *, low: int, example: int = 10) -> int:
    """`value` as an int not below `low`.

    Raises:
        TypeError: no whole number.
        ValueError: below `low`.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}={value!r}: must be a whole number, such as {name}={example}")
    if value < low:
        raise ValueError(
            f"{name}={value!r}: must be {low} or more; write {name}={example}, for example"
        )
    return int(value)


def positive(name: str, value: Any) -> float:
    """`value` as a finite float above 0.

    Raises:
        TypeError: no number.
        ValueError: not above 0, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}={value!r}: must be a number above 0, such as {name}=0.01")
    if not math.isfinite(value) or value <= 0:
        raise ValueError(
            f"{name}={value!r}: must be a finite number above 0; write {name}=0.01, for example"
        )
    return float(value)


def finite(name: str, value: Any, *, low: float = -math.inf, example: float = 0.0) -> float:
    """`value` as a finite float not below `low`.

    Raises:
        TypeError: no number.
        ValueError: below `low`, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}={value!r}: must be a number, such as {name}={example}")
    if not math.isfinite(value) or value < low:
        least = "" if low == -math.inf else f", {low:g} or more"
        raise ValueError(
            f"{name}={value!r}: must be a finite number{least}; write {name}={example}, for example"
        )
    return float(value)


def fraction(name: str, value: Any) -> float:
    """`value` as a float from 0 up to, but not including, 1."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}={value!r}: must be a number, such as {name}=0.2")
    if not 0 <= float(value) < 1:
        raise ValueError(
            f"{name}={value!r}: must be a number from 0 up to, but not including, 1; "
            f"write {name}=0.2 to hold out a fifth of the rows"
        )
    return float(value)


def boolean(name: str, value: Any) -> bool:
    """`value` as a bool, if it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={value!r}: must be True or False")
    return bool(value)


def one_of(name: str, value: Any, known: Iterable[Any]) -> Any:
    """`value` if it is one of `known`; True is not 1, but NumPy's scalars are Python's."""
    options = list(known)
    plain = value.item() if isinstance(value, np.generic) else value  # a search over an array
    if not any(plain is o or (type(plain) is type(o) and plain == o) for o in options):
        strings = [o for o in options if isinstance(o, str)]
        near = near_names(plain, strings) if isinstance(plain, str) else []
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        listed = ", ".join(repr(o) for o in options)
        raise ValueError(f"{name}={plain!r}: must be one of {listed}{hint}")
    return plain


def field_values(fields: Mapping[str, Any]) -> None:
    """Check the values of the fields that every Trainer has.

    Raises:
        TypeError, ValueError: naming the field, its value and what to write instead.
    """
    integer("epochs", fields["epochs"], low=1)
    integer("batch_size", fields["batch_size"], low=1, example=32)
    fraction("validation_split", fields["validation_split"])
    boolean("shuffle", fields["shuffle"])
    boolean("run_eagerly", fields["run_eagerly"])
    if fields["resident_bytes"] is not None:
        integer("resident_bytes", fields["resident_bytes"], low=0)
    one_of("normalize", fields["normalize"], (None, "standard", "minmax"))
    one_of(
        "precision",
        fields["precision"],
        ("auto", "float32", "float64", "mixed_bfloat16", "mixed_float16"),
    )
    run_dir = fields["run_dir"]
    if run_dir is not None and (not isinstance(run_dir, (str, os.PathLike)) or not str(run_dir)):
        raise TypeError(f"run_dir={run_dir!r}: must be the name of a folder; write 'runs/first'")
    if fields["save_minutes"] is not None:
        positive("save_minutes", fields["save_minutes"])
    if fields["save_steps"] is not None:
        integer("save_steps", fields["save_steps"], low=1, example=1_000)
    one_of("jit", fields["jit"], ("auto", True, False))
    one_of("verbose", fields["verbose"], ("auto", 0, 1, 2, True, False))
    rate = fields["learning_rate"]
    if rate is not None and not callable(rate) and not isinstance(rate, Mapping):
        positive("learning_rate", rate)
    callbacks = fields["callbacks"]
    if isinstance(callbacks, (str, Mapping)) or not isinstance(callbacks, Iterable):
        instead = "callbacks=()" if callbacks is None else "callbacks=(callback,)"
        raise TypeError(
            f"callbacks={callbacks!r}: must be a sequence of names of plugins or "
            f"keras.callbacks.Callback objects; write {instead}"
        )
