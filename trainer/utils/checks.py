"""Checks of arguments.

Responsible for one clear error per fault: the argument, its value, and what to write instead.
Not for checking data against a model (`inputs`, `targets`, `compile`).
"""

from __future__ import annotations

import difflib
import inspect
import math
import numbers
import os
import sys
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

_MAX_NAMES = 40  # to list in an error: a folder may contain thousands of files


def warn(message: str) -> None:
    """Warn, at the line outside of trainer and search that led here."""
    level, frame = 2, sys._getframe(1)
    own = ("trainer", "search")
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).split(".")[0] in own:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


def did_you_mean(name: Any, known: Iterable[str]) -> str:
    """Return `did you mean 'x'?` if a known name is similar, otherwise a list of known names."""
    names = sorted(set(known))
    near = near_names(name, names)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    if not names:
        return "there are none to choose from"
    more = f" (and {len(names) - _MAX_NAMES} more)" if len(names) > _MAX_NAMES else ""
    return "choose one of " + ", ".join(repr(n) for n in names[:_MAX_NAMES]) + more


def near_names(name: Any, known: Iterable[str]) -> list[str]:
    """Return up to three known names that `name` may be a typo of, the most similar first."""
    folded = {n.lower().replace("_", ""): n for n in known}
    near = difflib.get_close_matches(str(name).lower().replace("_", ""), folded, n=3, cutoff=0.6)
    return [folded[n] for n in near]


# Arguments of other libraries' fit that have another name here.
_ELSEWHERE = {
    "X": "it is called x here",
    "validation_split_seed": "rows are drawn with the field random_state",
    "workers": "give keras.utils.PyDataset its workers",
    "max_queue_size": "give keras.utils.PyDataset its max_queue_size",
    "use_multiprocessing": "give keras.utils.PyDataset its use_multiprocessing",
    "eval_set": "write validation_data=(x, y)",
}


def misplaced(
    given: Mapping[str, Any], owner: type, method: str, fields: Iterable[str], known: Iterable[str]
) -> None:
    """Refuse arguments that a method does not have, and say where they belong.

    Args:
        given: The arguments by name.
        owner: The class of the method.
        method: Its name.
        fields: The fields of the class.
        known: The arguments that the method has.

    Raises:
        TypeError: There are any.
    """
    for name, value in given.items():
        if name in fields:
            says = f"is a field: {owner.__name__}({name}={_short(value)})"
        elif name in _ELSEWHERE:
            says = f"is not an argument of {method}: {_ELSEWHERE[name]}"
        else:
            near = near_names(name, [*known, *fields])
            if near and near[0] in fields and near[0] not in known:
                remedy = f"did you mean the field, {owner.__name__}({near[0]}={_short(value)})?"
            else:
                remedy = did_you_mean(name, known if near else [*known, *fields])
            says = f"is not an argument of {method}; {remedy}"
        raise TypeError(f"{owner.__name__}.{method}: {name} {says}")


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 and "\n" not in shown else "..."


def integer(name: str, value: Any, *, low: int, example: Any = 10) -> int:
    """Return `value` as an int of at least `low`.

    Raises:
        TypeError: It is not a whole number.
        ValueError: It is below `low`, or too large for an int64.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}={value!r}: must be a whole number, such as {name}={example}")
    if value < low:
        raise ValueError(
            f"{name}={value!r}: must be {low} or more; write {name}={example}, for example"
        )
    if int(value) >= 2**63:
        raise ValueError(f"{name} is larger than {2**63 - 1}; write {name}={example}, for example")
    return int(value)


def positive(name: str, value: Any) -> float:
    """Return `value` as a finite float above 0.

    Raises:
        TypeError: It is not a number.
        ValueError: It is not above 0, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}={value!r}: must be a number above 0, such as {name}=0.01")
    if not math.isfinite(value) or value <= 0:
        raise ValueError(
            f"{name}={value!r}: must be a finite number above 0; write {name}=0.01, for example"
        )
    return float(value)


def finite(name: str, value: Any, *, low: float = -math.inf, example: float = 0.0) -> float:
    """Return `value` as a finite float of at least `low`.

    Raises:
        TypeError: It is not a number.
        ValueError: It is below `low`, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}={value!r}: must be a number, such as {name}={example}")
    if not math.isfinite(value) or value < low:
        least = "" if low == -math.inf else f", {low:g} or more"
        raise ValueError(
            f"{name}={value!r}: must be a finite number{least}; write {name}={example}, for example"
        )
    return float(value)


def fraction(name: str, value: Any, *, example: float = 0.2) -> float:
    """Return `value` as a float from 0 up to, but not including, 1.

    Raises:
        TypeError: It is not a number.
        ValueError: It is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}={value!r}: must be a number, such as {name}={example}")
    if not 0 <= float(value) < 1:
        raise ValueError(
            f"{name}={value!r}: must be a number from 0 up to, but not including, 1; "
            f"write {name}={example}, for example"
        )
    return float(value)


_SCHEDULE = "keras.optimizers.schedules.ExponentialDecay(0.1, 1000, 0.9)"


def learning_rate(value: Any) -> None:
    """Check the field learning_rate: a number, a schedule, its config, or a function.

    Raises:
        TypeError: It is none of these, or a function that needs arguments.
        ValueError: The number is out of range.
    """
    if isinstance(value, type):
        raise TypeError(
            f"learning_rate={value.__name__}: is a class; write an object of one, such as "
            f"{_SCHEDULE}"
        )
    if isinstance(value, Mapping):
        if not isinstance(value.get("class_name"), str):
            raise TypeError(
                f"learning_rate={value!r}: a dict must be the config of a schedule, with a "
                f"class_name; write {_SCHEDULE}, for example"
            )
    elif not callable(value):
        positive("learning_rate", value)
    elif _needs_arguments(value):
        raise TypeError(
            f"learning_rate={value!r}: a function is called without arguments, and this one needs "
            "some; write a keras.optimizers.schedules.LearningRateSchedule object, such as "
            f"{_SCHEDULE}"
        )


def _needs_arguments(function: Any) -> bool:
    """Return whether Keras, which passes none, cannot call a function as a learning rate."""
    import keras

    if isinstance(function, keras.optimizers.schedules.LearningRateSchedule):
        return False  # it is called with the step
    try:
        parameters = inspect.signature(function)
    except (TypeError, ValueError):
        return False  # it is written in C, and does not say
    try:
        parameters.bind()
    except TypeError:
        return True
    return False


def boolean(name: str, value: Any) -> bool:
    """Return `value` as a bool.

    Raises:
        TypeError: It is not True or False.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={value!r}: must be True or False")
    return bool(value)


def one_of(name: str, value: Any, known: Iterable[Any]) -> Any:
    """Return `value` if it is one of `known`; True differs from 1, NumPy scalars are converted.

    Raises:
        ValueError: It is not.
    """
    options = list(known)
    plain = python_scalar(value)
    if not any(plain is o or (type(plain) is type(o) and plain == o) for o in options):
        strings = [o for o in options if isinstance(o, str)]
        near = near_names(plain, strings) if isinstance(plain, str) else []
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        listed = ", ".join(repr(o) for o in options)
        raise ValueError(f"{name}={plain!r}: must be one of {listed}{hint}")
    return plain


def verbose(value: Any) -> None:
    """Check the field verbose.

    Raises:
        ValueError: It is none of its values.
    """
    one_of("verbose", value, ("auto", 0, 1, 2, True, False))


def with_article(noun: str) -> str:
    """Return a noun, such as the name of a class, with `a` or `an` before it."""
    return f"{'an' if noun[:1].lower() in tuple('aeio') else 'a'} {noun}"


def python_scalar(value: Any) -> Any:
    """Return a NumPy scalar, which a search over an array passes, as Python's; others as is."""
    return value.item() if isinstance(value, np.generic) else value


def is_splitter(value: Any) -> bool:
    """Return whether a value splits rows, as scikit-learn's splitters do."""
    return callable(getattr(value, "split", None)) and not isinstance(value, (str, bytes))


def field_values(fields: Mapping[str, Any]) -> None:
    """Check the values of the fields that every Trainer has.

    Raises:
        TypeError, ValueError: A value is not valid; the message says what to write instead.
    """
    if fields["epochs"] is not None:
        integer("epochs", fields["epochs"], low=1)
    if fields["batch_size"] is not None:
        integer("batch_size", fields["batch_size"], low=1, example=32)
    if fields["validation_split"] is not None and not is_splitter(fields["validation_split"]):
        fraction("validation_split", fields["validation_split"])
    one_of("missing_target", fields["missing_target"], ("drop", "raise"))
    boolean("shuffle", fields["shuffle"])
    boolean("run_eagerly", fields["run_eagerly"])
    boolean("warm_start", fields["warm_start"])
    if fields["steps_per_execution"] is not None:
        integer("steps_per_execution", fields["steps_per_execution"], low=1)
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
        raise TypeError(f"run_dir={run_dir!r}: must be a folder; write run_dir='runs/first'")
    if fields["save_minutes"] is not None:
        positive("save_minutes", fields["save_minutes"])
    if fields["save_steps"] is not None:
        integer("save_steps", fields["save_steps"], low=1, example=1_000)
    one_of("jit", fields["jit"], ("auto", True, False))
    verbose(fields["verbose"])
    if fields["jit"] is True and fields["run_eagerly"]:
        raise ValueError(
            "jit=True: steps in Python, as with run_eagerly=True, are not compiled by XLA; leave "
            "one of them out"
        )
    if fields["learning_rate"] is not None:
        learning_rate(fields["learning_rate"])
