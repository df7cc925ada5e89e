"""Warnings about what a step changes and a state cannot hold.

Responsible for detecting which attributes and which of Python's random generators a step changes.
Not for operations with hidden state (the backend's `operations`), or for what can be saved
(`own_state`).
"""

from __future__ import annotations

import dis
import functools
import hashlib
import itertools
import random
import types
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from trainer.engine.backend import operations, variables
from trainer.state import isolation, walking

# ---- Python's generators -----------------------------------------------------------------------


def python_generators() -> dict[str, Any]:
    """Return the states of Python's and NumPy's global generators."""
    return {
        "random": isolation.states_of_random(),
        "np.random": repr(np.random.get_state(legacy=False)),
    }


def drawn_since(before: dict[str, Any], phase: str, how: str) -> list[str]:
    """Return the warnings if a step has drawn from them."""
    now = python_generators()
    return [
        f"the {operations.NAMES[phase]} step draws from {name} {how}, whose state is not saved; "
        "use keras.random with a keras.random.SeedGenerator"
        for name, state in before.items()
        if now[name] != state
    ]


# ---- attributes --------------------------------------------------------------------------------


class Attributes:
    """A snapshot of the attributes, globals and closures of user code.

    Args:
        walked: Objects with their paths, as from `walking.walk`.
    """

    def __init__(self, walked: Iterable[tuple[str, Any]]) -> None:
        self._objects = [(path, value) for path, value in walked if _has_attributes(value)]
        self._before = {
            id(value): {name: (item, _image(item)) for name, item in _held(value)}
            for _, value in self._objects
        }

    def changed(self, handled: set[str] | None) -> list[str]:
        """Return the paths of those that have changed since.

        Args:
            handled: Names that get_extra_state returns; None for all.
        """
        found = []
        for path, value in self._objects if handled is not None else ():
            before = self._before[id(value)]
            for name, item in _held(value):
                same = name in before and before[name][1] == _image(item)
                # Variables are saved.
                if not same and name not in (handled or ()) and not walking.is_saved(item):
                    found.append(f"{path}.{name}")
        return list(dict.fromkeys(found))


def of_attributes(changed: list[str], what: str) -> list[str]:
    """Return the warnings about attributes that have changed.

    Args:
        changed: Their paths.
        what: What changed them.
    """
    if not changed:
        return []
    return [
        f"{what} changes {', '.join(changed)} in Python, which is not saved; make it a "
        "keras.Variable, or return it from get_extra_state and restore it in set_extra_state of "
        "the Trainer"
    ]


def _has_attributes(value: Any) -> bool:
    """Return whether it is a user-defined object, class or function with attributes."""
    import keras

    if isinstance(value, (types.FunctionType, type)):
        return not walking.of_a_library(value)
    # The attributes of callbacks are saved.
    own = not walking.of_a_library(type(value)) and not isinstance(value, keras.callbacks.Callback)
    return own and bool(walking.attributes(value))


def _held(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, types.FunctionType):
        held, passed = walking.referred(value), frozenset[str]()
    elif isinstance(value, type):
        held, passed = dict(vars(value)), frozenset({"__dict__", "__weakref__"})
    else:
        cls: Any = type(value)
        held, passed = walking.attributes(value), _set_by_libraries(cls)
    for name, item in held.items():
        if name not in passed and not name.startswith("_self_") and not callable(item):
            yield name, item


@functools.cache
def _set_by_libraries(cls: type) -> frozenset[str]:
    """Return the attributes that library base classes of `cls` set on its objects."""
    found: set[str] = set()
    for base in cls.__mro__:
        if walking.of_a_library(base):
            for item in vars(base).values():
                item = getattr(item, "fset", None) or getattr(item, "__wrapped__", item)
                if isinstance(item, types.FunctionType):
                    found |= _set_by(item.__code__)
    return frozenset(found)


def _set_by(code: types.CodeType) -> set[str]:
    found = {i.argval for i in dis.get_instructions(code) if i.opname == "STORE_ATTR"}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _set_by(constant)
    return found


def _image(value: Any) -> Any:
    """Return something that is equal for equal values; for other objects, their identity."""
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        return type(value).__name__, repr(value)
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.hasobject:
            return "object", id(value)
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return "array", value.dtype.str, value.shape, digest
    if isinstance(value, dict):
        return "dict", tuple((repr(key), _image(item)) for key, item in list(value.items()))
    if isinstance(value, (list, tuple, deque)):
        return type(value).__name__, tuple(map(_image, value))
    if isinstance(value, (set, frozenset)):
        return "set", tuple(sorted(map(repr, value)))
    if isinstance(value, np.random.Generator):
        return "generator", repr(value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return "generator", repr(value.get_state(legacy=False))
    if isinstance(value, random.Random):
        return "generator", repr(value.getstate())
    if isinstance(value, itertools.count):
        return "count", repr(value)
    if variables.handle_of(value) is None and hasattr(value, "numpy") and hasattr(value, "dtype"):
        return "tensor", _image(value.numpy())
    return "object", id(value)
