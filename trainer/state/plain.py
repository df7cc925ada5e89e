"""Converts plain values to JSON and tensors, and back with the same types.

Responsible for the form in which the state of callbacks is saved. Not for files (`state_file`).
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

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
    tensors[name] = copied(value)
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
    import tensorflow as tf

    return tf.constant(found)


def copied(value: Any) -> np.ndarray:
    """Return a NumPy copy of an array, a tensor or a variable; later steps do not change it."""
    held = getattr(value, "value", None)
    if held is not None and not callable(held):  # a Keras variable wraps one of TensorFlow's
        value = held
    return np.array(value.numpy() if hasattr(value, "numpy") else value)


def _kind(value: Any) -> str | None:
    """Return the kind that `decode` restores an array of numbers as; None for anything else."""
    if isinstance(value, np.generic):
        return "scalar" if value.dtype.kind in "biufc" else None
    if type(value) is np.ndarray:
        return "array" if value.dtype.kind in "biufc" else None
    if "keras" not in sys.modules:
        return None
    import keras
    import tensorflow as tf

    if isinstance(value, (keras.Variable, tf.Variable)):
        return "array" if value.dtype not in ("string", tf.string) else None
    if tf.is_tensor(value) and hasattr(value, "numpy"):
        return "tensor" if value.dtype not in (tf.string, tf.resource, tf.variant) else None
    return None
