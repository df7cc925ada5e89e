"""Digests of values that a description does not show: whether a run or a study resumes with them.

Responsible for one short text for each array, and for each value that an object, a
functools.partial or a closure holds: the repr of an array leaves numbers out, and that of an object
leaves out nearly everything. Not for code (`code`), nor for data that fit is given (`fingerprint`).

Values that training changes are not in it, because a run would then not resume in the process that
it was started in: variables, weights, and attributes that are neither arrays nor parameters of the
constructor.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import inspect
import types
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from trainer.data.sparse import is_sparse
from trainer.network import compile, given
from trainer.runs import code, fingerprint

_NUMBERS = (bool, int, float, complex)


def of(estimator: Any, without: Collection[str] = (), **others: Any) -> dict[str, str]:
    """Return the digests of the values that an estimator's parameters and code hold.

    Args:
        estimator: The estimator, or a function.
        without: Names of parameters that do not affect the results.
        others: Further values, by the name that they are given in messages.

    Returns:
        A digest for each value, by a name such as "value of loss.weights", to be compared by
        `code.changes`.
    """
    walk = _Walk()
    walk.estimator(estimator, without)
    for name, value in others.items():
        walk.visit(value, name)
    return {f"{code.VALUE}{name}": text for name, text in sorted(walk.found.items())}


class _Walk:
    def __init__(self, seen: dict[int, Any] | None = None) -> None:
        self.found: dict[str, str] = {}
        # the objects themselves, so that no address is used again
        self.seen: dict[int, Any] = {} if seen is None else seen
        self._numbers = True  # whether numbers of a function's module count

    def estimator(self, estimator: Any, without: Collection[str]) -> None:
        if not hasattr(estimator, "get_params"):
            self.visit(estimator, getattr(estimator, "__name__", "function"))
            return
        self._fields(estimator, "", without=without)

    def _fields(
        self, owner: Any, name: str, *, without: Collection[str] = (), arrays: bool = False
    ) -> None:
        self._methods(type(owner))
        before = self._numbers
        for key, part in owner.get_params(deep=False).items():
            if key in without:
                continue
            # Callbacks show progress, stop early and the like: a number of their module, such as
            # that of the epochs, may change in a run that is trained further.
            self._numbers = before and key != "callbacks"
            self.visit(part, f"{name}{key}", arrays=arrays)
        self._numbers = before

    def visit(self, value: Any, name: str, *, hidden: bool = False, arrays: bool = False) -> None:
        """Record what a value holds.

        Args:
            value: Anything.
            name: What it is called in messages.
            hidden: Whether its description does not show it even if it is plain.
            arrays: Whether only arrays count.
        """
        if code.is_plain(value):
            if hidden and not arrays:
                self._add(name, code.as_text(value))
            return
        if id(value) in self.seen:
            return
        self.seen[id(value)] = value
        array = _as_array(value)
        if array is not None:
            self._add(name, fingerprint.of_array(array))
        elif isinstance(value, (Mapping, list, tuple)):
            self._container(value, name, hidden=hidden, arrays=arrays)
        elif callable(value) and not isinstance(value, type) and self._called(value, name):
            return
        elif isinstance(value, type):
            self._methods(value)
        elif hasattr(value, "get_params"):
            self._fields(value, f"{name}.", arrays=arrays)
        elif not isinstance(value, types.ModuleType):
            self._object(value, name)

    def _called(self, value: Any, name: str) -> bool:
        """Record what a function, method or partial holds; return False for any other object."""
        if isinstance(value, functools.partial):
            self.visit(value.func, name)
            for i, part in enumerate(value.args):
                self.visit(part, f"{name}.args[{i}]", hidden=True)
            for key, part in value.keywords.items():
                self.visit(part, f"{name}.{key}", hidden=True)
        elif isinstance(value, types.MethodType):
            self.visit(value.__func__, name)
            self.visit(value.__self__, name)
        elif isinstance(value, types.FunctionType):
            self._function(value, name)
        elif isinstance(getattr(value, "python_function", None), types.FunctionType):
            self._function(value.python_function, name)  # of a tf.function
        else:
            return False
        return True

    def _container(self, value: Any, name: str, *, hidden: bool, arrays: bool) -> None:
        within = _Walk(self.seen)  # one entry for the whole, however long it is
        within._numbers = self._numbers
        for key, part in value.items() if isinstance(value, Mapping) else enumerate(value):
            within.visit(part, f"{name}[{key!r}]", hidden=hidden, arrays=arrays)
        if len(within.found) == 1:
            self.found |= within.found
        elif within.found:
            self._add(name, repr(sorted(within.found.items())))

    def _object(self, value: Any, name: str) -> None:
        """Record what an object was made with, and other arrays that are attributes of it.

        Of an object whose class comes with a library, only the arrays that it was made with; of a
        callback, whose description has its arguments, only what its functions hold.
        """
        self._methods(type(value))
        ours = not code.of_library(type(value))
        callback = hasattr(value, "on_train_begin")
        based = any(code.of_library(c) for c in type(value).__mro__ if c is not object)
        made_with = _parameters(type(value))
        if given.is_model(value):
            for where, part in given.own_parts(value):
                self.visit(part, f"{name}{where}", hidden=True)
        if hasattr(value, "apply_gradients") and hasattr(value, "get_config"):
            config = compile.optimizer_config(value)
            for key in config.keys() - {"name"}:  # which numbers the optimizers of the process
                self.visit(config[key], f"{name}.{key}", hidden=True)
        for key, part in getattr(value, "_fn_kwargs", {}).items() if based else ():
            self.visit(part, f"{name}.{key}", hidden=True)  # of a loss: the configs of some lack it
        for key, part in _state(value):
            if (callback and not callable(part)) or (key == "name" and based):
                continue  # Keras numbers the objects of a process, as in mean_3
            if key in made_with or key.removeprefix("_") in made_with:
                self.visit(part, f"{name}.{key}", hidden=True, arrays=not ours)
            elif ours and _as_array(part) is not None:
                self.visit(part, f"{name}.{key}")

    def _methods(self, owner: type) -> None:
        for base in reversed(owner.__mro__):
            if code.of_library(base):
                continue
            for key, part in list(vars(base).items()):
                if isinstance(part, (staticmethod, classmethod)):
                    part = part.__func__
                if isinstance(part, functools.partial) or _as_array(part) is not None:
                    self.visit(part, f"{base.__qualname__}.{key}")
                elif isinstance(part, types.FunctionType):
                    self._function(part, f"{base.__qualname__}.{key}")

    def _function(self, function: types.FunctionType, name: str) -> None:
        if code.of_library(function):
            return
        for key, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        ):
            try:
                kept = cell.cell_contents
            except ValueError:  # not assigned yet
                continue
            if not isinstance(kept, type):
                self.visit(kept, f"{name}.{key}")  # if plain, it is in the digest of the code
        for i, part in enumerate(function.__defaults__ or ()):
            self.visit(part, f"{name}.defaults[{i}]")
        for key, part in (function.__kwdefaults__ or {}).items():
            self.visit(part, f"{name}.{key}")
        for key in _globals_read(function.__code__):
            part = function.__globals__.get(key)
            plain = isinstance(part, _NUMBERS) or (isinstance(part, tuple) and code.is_plain(part))
            if plain and self._numbers:
                self._add(f"{name}.{key}", code.as_text(part))
            elif _as_array(part) is not None:
                self.visit(part, f"{name}.{key}")

    def _add(self, name: str, text: str) -> None:
        self.found[name] = hashlib.sha256(text.encode()).hexdigest()[:16]


def _as_array(value: Any) -> Any:
    """Return an array, table, sparse matrix or constant tensor; None for what is none of these.

    Variables are state, which training changes.
    """
    if isinstance(value, type) or hasattr(value, "assign") and not hasattr(value, "iloc"):
        return None
    if hasattr(value, "iloc") or is_sparse(value):
        return value
    if not hasattr(value, "__array__") or not hasattr(value, "shape"):
        return None
    try:
        return value.__array__()
    except Exception:  # of a tensor without a value, each backend raises an error of its own
        return None


def _state(value: Any) -> Iterator[tuple[str, Any]]:
    yield from list(getattr(value, "__dict__", {}).items())
    for owner in type(value).__mro__:
        slots = owner.__dict__.get("__slots__", ())
        for key in [slots] if isinstance(slots, str) else slots:
            if key not in ("__dict__", "__weakref__") and hasattr(value, key):
                yield key, getattr(value, key)


def _parameters(owner: type) -> Collection[str]:
    try:
        return inspect.signature(owner).parameters.keys()
    except (ValueError, TypeError):  # of a class written in C
        return ()


@functools.lru_cache(maxsize=1024)
def _globals_read(compiled: types.CodeType) -> tuple[str, ...]:
    """The names that a function, and those within it, reads from its module and does not assign."""
    read: dict[str, None] = {}
    assigned = set()
    for step in dis.get_instructions(compiled):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            read[step.argval] = None
        elif step.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            assigned.add(step.argval)
        elif isinstance(step.argval, types.CodeType):
            read |= dict.fromkeys(_globals_read(step.argval))
    return tuple(name for name in read if name not in assigned)
