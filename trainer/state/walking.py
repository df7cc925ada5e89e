"""Walks the objects that user code holds, with their paths, to find the variables among them.

Responsible for going from an object to its attributes, to the items of containers, and from a
function to its closure and the globals that it uses. Stops at classes of libraries, except those
that hold user objects. Not for what is done with the objects found (`own_state`, `unsaved`).
"""

from __future__ import annotations

import functools
import sys
import types
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from trainer.engine.backend import variables

# Packages whose objects and functions hold no user objects, with the exceptions in _may_hold.
_LIBRARIES = (sys.stdlib_module_names - {"types", "argparse", "collections", "__main__"}) | {
    *("PIL", "absl", "google", "h5py", "jax", "joblib", "keras", "keras_tuner", "matplotlib"),
    *("ml_dtypes", "numpy", "pandas", "psutil", "safetensors", "scipy", "search", "sklearn"),
    *("tensorboard", "tensorflow", "torch", "trainer", "wrapt"),
}
# Bookkeeping attributes of Keras and TensorFlow.
_PASSED_OVER = {
    *("_inbound_nodes", "_outbound_nodes", "_tracker", "_lock", "_self_tracked_trackables"),
    *("_self_unconditional_checkpoint_dependencies", "_self_unconditional_dependency_names"),
}
_OF_A_CALLBACK = {"model", "_model", "params", "validation_data", "session"}
# A library class whose objects should be walked lists here the attributes to pass over.
NOT_STATE = "__not_state__"
_WITHOUT_PARTS = {type(None), bool, int, float, complex, str, bytes, np.ndarray}
_LONGEST = 10_000  # items; longer containers are data and hold no variables


def walk(roots: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield every reachable object once, with its shortest path, in a fixed order."""
    waiting = deque(roots)
    seen: dict[int, Any] = {}
    while waiting:
        path, value = waiting.popleft()
        if type(value) in _WITHOUT_PARTS or id(value) in seen:
            continue
        seen[id(value)] = value  # keep objects created on access alive: ids must not be reused
        yield path, value
        waiting.extend((path + more, child) for more, child in _children(value))


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the objects that an object holds, each with the continuation of its path."""
    if type(value) in (weakref.ProxyType, weakref.CallableProxyType):
        return  # its referent may be gone
    if variables.handle_of(value) is not None or isinstance(value, types.ModuleType):
        return
    if isinstance(value, (list, tuple, deque)):
        if len(value) <= _LONGEST:
            yield from ((f"[{i}]", item) for i, item in enumerate(value))
    elif isinstance(value, (dict, types.MappingProxyType)):
        if len(value) <= _LONGEST:
            yield from ((f"[{key!r}]", item) for key, item in list(value.items()))
    elif isinstance(value, functools.partial):
        yield from ((".func", value.func), (".args", value.args), (".keywords", value.keywords))
    elif isinstance(value, types.MethodType):
        yield from ((".__self__", value.__self__), (".__func__", value.__func__))
    elif isinstance(value, types.FunctionType):
        if not _installed(value):
            yield from _of_function(value)
    elif isinstance(value, type):
        if not _installed(value):
            yield from _of_class(value)
    else:
        yield from _of_object(value)


def _of_object(value: Any) -> Iterator[tuple[str, Any]]:
    if type(value).__module__.startswith("tensorflow.") and hasattr(value, "python_function"):
        yield "", value.python_function  # a tf.function
        return
    if of_a_library(type(value)) and not _may_hold(value):
        return
    for name, item in attributes(value).items():
        yield f".{name}", item
    yield ".__class__", type(value)


def attributes(value: Any) -> dict[str, Any]:
    """Return the attributes of an object that may hold user objects."""
    import keras

    passed: set[str] = set(_PASSED_OVER)
    if isinstance(value, keras.callbacks.Callback):
        passed |= _OF_A_CALLBACK
    passed |= getattr(type(value), NOT_STATE, frozenset())
    found = dict(getattr(value, "__dict__", {}))
    for cls in type(value).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            if slot not in ("__dict__", "__weakref__") and hasattr(value, slot):
                found[slot] = getattr(value, slot)
    return {name: item for name, item in found.items() if name not in passed}


def _of_function(function: Any) -> Iterator[tuple[str, Any]]:
    for name, item in referred(function).items():
        yield f".{name}", item
    yield ".__defaults__", function.__defaults__
    yield ".__kwdefaults__", function.__kwdefaults__
    yield ".__dict__", vars(function)


def referred(function: Any) -> dict[str, Any]:
    """Return a function's closure variables and the globals that it uses, also in user modules."""
    found: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not set yet
            continue
    names = _names(function.__code__)
    for name in names:
        item = function.__globals__.get(name)
        if isinstance(item, types.ModuleType):
            if item.__name__.split(".")[0] not in _LIBRARIES:
                inner = {other: vars(item)[other] for other in names if other in vars(item)}
                found |= {f"{name}.{other}": thing for other, thing in inner.items()}
        elif name in function.__globals__:
            found[name] = item
    return found


@functools.cache
def _names(code: types.CodeType) -> tuple[str, ...]:
    found = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found += _names(constant)
    return tuple(dict.fromkeys(found))


def _of_class(cls: type) -> Iterator[tuple[str, Any]]:
    for name, item in list(vars(cls).items()):
        if name in ("__dict__", "__weakref__", "__doc__", "__module__", "__dataclass_fields__"):
            continue
        if isinstance(item, property):
            yield f".{name}.fget", item.fget
        elif isinstance(item, (staticmethod, classmethod)):
            yield f".{name}", item.__func__
        elif isinstance(item, functools.cached_property):
            yield f".{name}", item.func
        else:
            yield f".{name}", item
    for base in cls.__bases__:
        yield f".{base.__name__}", base


def of_a_library(code: Any) -> bool:
    """Return whether a class or function belongs to a library that holds no user objects."""
    return str(getattr(code, "__module__", None)).split(".")[0] in _LIBRARIES


def _installed(code: Any) -> bool:
    """Return whether a class or function is from an installed package; not worth walking.

    Its instances are still walked, for example a layer from another package.
    """
    name = str(getattr(code, "__module__", None))
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    return of_a_library(code) or "site-packages" in file or "dist-packages" in file


def _may_hold(value: Any) -> bool:
    """Return whether an object of a library's class may hold user objects."""
    import keras
    from keras.src.trainers.compile_utils import CompileLoss, CompileMetrics

    keras_own: Any = (
        *(keras.Layer, keras.Loss, keras.Metric, keras.Optimizer, keras.Initializer),
        *(keras.optimizers.schedules.LearningRateSchedule, keras.random.SeedGenerator),
        *(keras.regularizers.Regularizer, keras.constraints.Constraint, CompileLoss),
        CompileMetrics,
    )
    ours = isinstance(value, keras_own) or hasattr(type(value), NOT_STATE)
    return ours or variables.holds_some(value)


def is_saved(value: Any) -> bool:
    """Return whether only variables change in an object, which the walk finds."""
    import keras

    made_of_them = (keras.Layer, keras.Metric, keras.Optimizer, keras.random.SeedGenerator)
    found = variables.handle_of(value) is not None or isinstance(value, made_of_them)
    return found or variables.holds_some(value)
