"""Converts plain values to JSON and tensors, and back with the same types.

Responsible for the form in which the state of callbacks is saved. Not for files (`state_file`).
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections import Counter, OrderedDict, defaultdict
from typing import Any

import numpy as np

from trainer.engine.backend import variables

_CONTAINERS: dict[str, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset}
_DICTS: dict[str, Any] = {"dict": dict, "OrderedDict": OrderedDict, "Counter": Counter}
# What a defaultdict may make its values with, to be restored; None makes none.
_FACTORIES: dict[str | None, Any] = {None: None} | {
    factory.__name__: factory for factory in (bool, int, float, str, list, tuple, set, dict)
}
_LONGEST = 1000  # characters of a value that is shown; of longer ones there is a digest


def is_plain(value: Any) -> bool:
    """Return whether `encode` accepts a value; not of subclasses, which it could not restore."""
    if value is None or type(value) in (bool, int, float, str):
        return True
    if type(value) in (*_DICTS.values(), defaultdict):
        if isinstance(value, defaultdict) and value.default_factory not in _FACTORIES.values():
            return False
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
        items = [[k, encode(v, tensors, key)] for k, v in value.items()]
        if isinstance(value, defaultdict):
            made_by = value.default_factory
            return {"defaultdict": [None if made_by is None else made_by.__name__, items]}
        return {type(value).__name__: items}
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
        if kind in _DICTS:
            return _DICTS[kind]({k: decode(v, tensors) for k, v in content})
        if kind == "defaultdict":
            made_by, items = content
            return defaultdict(_FACTORIES[made_by], {k: decode(v, tensors) for k, v in items})
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


def shown(value: Any) -> Any:
    """Return JSON that shows a plain value, to be read and compared, not to be recreated from.

    Args:
        value: As for `encode`. A large one is shown as its digest.
    """
    form = _shown(value)
    text = json.dumps(form)
    return form if len(text) <= _LONGEST else f"{type(value).__name__} {_digest(text.encode())}"


def _shown(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):  # NaN is not equal to itself
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, dict):
        return {str(k): _shown(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shown(v) for v in value]
    if isinstance(value, (set, frozenset)):  # the order differs between processes
        return sorted((_shown(v) for v in value), key=repr)
    if isinstance(value, complex):
        return repr(value)
    array = np.asarray(variables.copied(value))
    return f"{array.dtype} {list(array.shape)} {_digest(np.ascontiguousarray(array).tobytes())}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _kind(value: Any) -> str | None:
    """Return the kind that `decode` restores an array of numbers as; None for anything else."""
    if isinstance(value, np.generic):
        return "scalar" if value.dtype.kind in "biufc" else None
    if type(value) is np.ndarray:
        return "array" if value.dtype.kind in "biufc" else None
    if "keras" not in sys.modules:
        return None
    return variables.numeric_kind(value)
