"""Converts plain values to JSON and tensors, and back with the same types.

Responsible for the form in which the state of callbacks is saved. Not for files (`state_file`).
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from trainer.engine.backend import variables

_CONTAINERS: dict[str, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset}


def is_plain(value: Any) -> bool:
    """Return whether `encode` accepts a value; not of subclasses, which it could not restore."""
    if value is None or type(value) in (bool, int, float, str):
        return True
    if type(value) is dict:
        return all(type(k) in (str, int) and is_plain(v) for k, v in value.items())
    if type(value) in (list, *_CONTAINERS.values()):
        return all(map(is_plain, value))
    return _kind(value) is not None


def encode(value: Any, tensors: dict[str, np.ndarray], key: str) -> Any:
    """Convert a value to a form for JSON; arrays are added to `tensors` as `key`/number.

    Args:
        value: None, numbers, text, NumPy's numbers and arrays, variables, tensors, and lists,
            tuples, sets and dicts of them.
        tensors: Receives copies of the arrays.
        key: The prefix for the names of this value's arrays.

    Raises:
        TypeError: The value is, or contains, anything else.
    """
    if not is_plain(value):
        raise TypeError(
            f"{key}: {value!r} cannot be saved, it is a {type(value).__name__}; a state_dict must "
            "hold numbers, text, arrays, and lists, tuples, sets and dicts of them"
        )
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, dict):
        return {"dict": [[k, encode(v, tensors, key)] for k, v in value.items()]}
    if isinstance(value, list):
        return [encode(v, tensors, key) for v in value]
    if isinstance(value, (tuple, set, frozenset)):
        return {type(value).__name__: [encode(v, tensors, key) for v in value]}
    name = f"{key}/{len(tensors)}"
    tensors[name] = variables.copied(value)
    return {str(_kind(value)): name}


def decode(form: Any, tensors: dict[str, np.ndarray]) -> Any:
    """Convert the result of `encode` back to a value; variables become arrays.

    Raises:
        ValueError: The form was not made by `encode`.
    """
    if isinstance(form, list):
        return [decode(v, tensors) for v in form]
    if not isinstance(form, dict):
        return form
    try:
        ((kind, content),) = form.items()
        if kind == "dict":
            return {k: decode(v, tensors) for k, v in content}
        if kind in _CONTAINERS:
            return _CONTAINERS[kind](decode(v, tensors) for v in content)
        if kind == "array":
            return tensors[content].copy()  # writable
        if kind == "scalar":
            return tensors[content][()]
        found = tensors[content] if kind == "tensor" else None
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(f"{str(form)[:80]} does not describe a value ({error})") from error
    if found is None:
        raise ValueError(f"{str(form)[:80]} does not describe a value")
    import keras

    return keras.ops.convert_to_tensor(found)


def _kind(value: Any) -> str | None:
    """Return the kind that `decode` restores an array of numbers as; None for anything else."""
    if isinstance(value, np.generic):
        return "scalar" if value.dtype.kind in "biufc" else None
    if type(value) is np.ndarray:
        return "array" if value.dtype.kind in "biufc" else None
    if "keras" not in sys.modules:
        return None
    return variables.numeric_kind(value)
