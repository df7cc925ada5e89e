"""Plain values as JSON and tensors, and back with their types.

Responsible for the form in which the state of callbacks is kept. Not for files (`statefile`).
"""

from __future__ import annotations

from typing import Any

import numpy as np


def encode(value: Any, tensors: dict[str, np.ndarray], key: str) -> Any:
    """A form that JSON holds; arrays go into `tensors` under names that begin with `key`.

    Args:
        value: None, numbers, text, NumPy's, Keras variables, tensors, and containers of them.
        tensors: receives the arrays.
        key: tells this value's arrays from others.

    Raises:
        TypeError: anything else.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, dict):
        pairs = [
            [encode(k, tensors, key), encode(v, tensors, f"{key}/{k}")] for k, v in value.items()
        ]
        return {"dict": pairs}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
        made = [encode(v, tensors, f"{key}/{i}") for i, v in enumerate(items)]
        return made if isinstance(value, list) else {_container(value): made}
    if isinstance(value, str):
        return str(value)
    array = np.array(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{key}={value!r}: {type(value).__name__} cannot be saved")
    tensors[key] = array
    return {"scalar" if isinstance(value, (np.generic, int, float)) else "array": key}


def decode(form: Any, tensors: dict[str, np.ndarray]) -> Any:
    """The value of a form that `encode` made; variables and tensors come back as arrays."""
    if isinstance(form, list):
        return [decode(v, tensors) for v in form]
    if not isinstance(form, dict):
        return form
    ((kind, content),) = form.items()
    if kind == "dict":
        return {decode(k, tensors): decode(v, tensors) for k, v in content}
    if kind == "array":
        return tensors[content]
    if kind == "scalar":
        return tensors[content][()]
    made = {"tuple": tuple, "set": set, "frozenset": frozenset}[kind]
    return made(decode(v, tensors) for v in content)


def _container(value: Any) -> str:
    return next(
        name
        for name, kind in (("set", set), ("frozenset", frozenset), ("tuple", tuple))
        if isinstance(value, kind)
    )
