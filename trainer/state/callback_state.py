"""The state of callbacks: the attributes that a resumed run must restore.

Responsible for finding the plain values among a callback's attributes, and for restoring them.
Works with any Keras callback: EarlyStopping and ReduceLROnPlateau count in plain attributes. Not
for writing them to a file (`plain`, `state_file`).
"""

from __future__ import annotations

import copy
import dis
import functools
import inspect
import os
import types
import warnings
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from trainer.engine.backend import variables
from trainer.state import plain

# What Keras sets on every callback, and what describes a fit rather than its progress. CSVLogger
# determines append_header from its file at the beginning of each fit.
_OF_A_FIT = {"model", "_model", "params", "validation_data", "session", "append_header"}
# Holds what the attributes of a Keras callback were before its first fit. On the object itself, so
# that clones and pickles of it have them too.
_AS_MADE = "_as_made_for_trainer"
_OF_A_FIT.add(_AS_MADE)
# A function that Keras callbacks choose after the first logs; None until then.
_LEARNT = {"monitor_op"}
# The entry of a state that says which attributes hold one object; no attribute has this name.
_SAME = "same objects"
# What each callback was made with before its first fit, and when its last fit ended.
_made_with: weakref.WeakKeyDictionary[Any, tuple[Any, Any]] = weakref.WeakKeyDictionary()


def state_of(callback: Any) -> dict[str, Any]:
    """Return the state of any Keras callback: its own state_dict, or its plain attributes."""
    own = getattr(callback, "state_dict", None)
    found: dict[str, Any] = own() if callable(own) else plain_attributes(callback)
    return found


def restore(callback: Any, state: dict[str, Any]) -> None:
    """Restore a callback's state, as returned by `state_of` for a callback like it.

    Raises:
        ValueError: The state belongs to something else.
    """
    own = getattr(callback, "load_state_dict", None)
    if not isinstance(state, dict):
        raise ValueError(f"the state of {type(callback).__name__} is not a dict")
    try:
        if callable(own):
            own(state)
        else:
            set_attributes(callback, state)
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise ValueError(
            f"{type(callback).__name__} cannot resume from its state ({error!r})"
        ) from error


def entry(state: dict[str, Any], name: str, *kinds: type | None) -> Any:
    """Return an entry of a state, which must have one of these types; None allows the value None.

    Raises:
        ValueError: The entry is missing or has another type.
    """
    value = state.get(name, "nothing")
    if not any(value is None if kind is None else isinstance(value, kind) for kind in kinds):
        raise ValueError(f"{name} is {str(value)[:80]!r}")
    return value


def arrays(state: dict[str, Any], name: str) -> list[np.ndarray]:
    """Return an entry of a state, which must be a list of arrays.

    Raises:
        ValueError: The entry is something else.
    """
    found = list(entry(state, name, list, tuple))
    if not all(isinstance(value, np.ndarray) for value in found):
        raise ValueError(f"{name} must hold arrays only")
    return found


def plain_attributes(callback: Any) -> dict[str, Any]:
    """Return the attributes that hold numbers, text, arrays, variables, and containers of them.

    Without the constructor arguments of Keras' own classes that no method of a subclass changes:
    the callback has them already, and EarlyStopping flips the sign of its min_delta once it knows
    whether lower is better.
    """
    fixed = _fixed_parameters(callback)
    found = {
        name: value
        for name, value in vars(callback).items()
        if name not in _OF_A_FIT and name not in fixed and plain.is_plain(value)
    }
    same: dict[str, str] = {}
    first: dict[int, str] = {}
    for name, value in found.items():
        if _is_mutable(value) and first.setdefault(id(value), name) != name:
            same[name] = first[id(value)]
    return found | ({_SAME: same} if same else {})


def stock_parameters(callback: Any) -> list[str]:
    """Return the attributes that are constructor arguments of a Keras class; none for plugins."""
    names: list[str] = []
    for cls in type(callback).__mro__:
        if cls.__module__.startswith("keras.") and "__init__" in vars(cls):
            names += [n for n in inspect.signature(vars(cls)["__init__"]).parameters if n != "self"]
    return [name for name in dict.fromkeys(names) if name in vars(callback)]


def _fixed_parameters(callback: Any) -> set[str]:
    """Return the constructor arguments of a Keras class that do not change during a training.

    min_delta is always one, because Keras flips its sign: a restored one would be flipped again.
    """
    changed = set().union(*(_set_by(cls) for cls in _own_classes(callback)))
    return set(stock_parameters(callback)) - (changed - {"min_delta"})


def arguments(callback: Any) -> dict[str, Any]:
    """Return the arguments that a callback of the user's own class was made with, as JSON.

    These are the attributes that are named like a parameter of the class, with or without an
    underscore, and that hold plain values or functions; and the arguments of a Keras class that a
    method of the user's class changes. Without paths, which may differ between runs.

    Where a fit has changed them, they are still the ones from before it, if nobody has set them
    since: the same object in the same call resumes its run.
    """
    names = [
        parameter.name
        for cls in _own_classes(callback)
        if "__init__" in vars(cls)
        for parameter in inspect.signature(vars(cls)["__init__"]).parameters.values()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    fixed = _fixed_parameters(callback)
    names += [name for name in stock_parameters(callback) if name not in fixed]
    now = {}
    for name in dict.fromkeys(names):
        kept = next((n for n in (name, f"_{name}") if n in vars(callback)), None)
        if kept is None or kept in _OF_A_FIT or name in ("self", "verbose", *fixed):
            continue
        value = vars(callback)[kept]
        if hasattr(value, "__qualname__"):
            now[name] = f"{value.__module__}.{value.__qualname__}"
        elif plain.is_plain(value) and not _is_path(value):
            now[name] = plain.shown(value)
    if type(callback).__hash__ is None:  # its class compares objects by their values
        return now
    before, ended = _made_with.get(callback, (now, now))
    if now != ended:
        before = now
    _made_with[callback] = (before, now)
    return dict(before)


def fit_ended(callback: Any) -> None:
    """Note what the arguments of a callback are after a fit, for `arguments`.

    A callback of Keras lets go of what it cannot be copied with, such as its closed files.
    """
    for name, value in vars(callback).get(_AS_MADE, {}).items():
        now = vars(callback).get(name)
        if not plain.is_plain(now) and not callable(now):
            setattr(callback, name, copy.copy(value))
    if type(callback).__hash__ is None or callback not in _made_with:
        return
    before, _ = _made_with.pop(callback)
    _made_with[callback] = (before, arguments(callback))


def fit_begins(callbacks: Iterable[Any], *, fresh: bool) -> None:
    """Give callbacks of Keras the state that they had before their first fit.

    SwapEMAWeights, ModelCheckpoint and BackupAndRestore do not do so in on_train_begin. Their
    arguments stay as they are now. A class of the user's own, which may count over several fits,
    is left alone.

    Args:
        callbacks: Those of a fit.
        fresh: Whether it trains a new model. If not, they only note the state for a later fit.
    """
    for callback in callbacks:
        if not type(callback).__module__.startswith("keras."):
            continue
        # A resumed run leaves append_header off, and the next file would have none.
        kept = {*_OF_A_FIT, *stock_parameters(callback)} - {"append_header"}
        now = vars(callback)
        if _AS_MADE not in now:
            now[_AS_MADE] = {n: copy.copy(value) for n, value in now.items() if n not in kept}
        elif fresh:
            _start_afresh(callback, kept)


def _start_afresh(callback: Any, kept: set[str]) -> None:
    kind: type = type(callback)
    now, before = vars(callback), vars(callback)[_AS_MADE]
    for name in set(now) - set(before) - kept:
        if name in _set_by_methods(kind):  # the others are the user's
            del now[name]
    now.update({name: copy.copy(value) for name, value in before.items()})
    if "min_delta" in now:  # its sign is flipped along with the choice of monitor_op
        now["min_delta"] = abs(now["min_delta"])


def on_class(callback: Any) -> dict[str, Any]:
    """Return the plain values that are attributes of the user's own class, which no state holds."""
    return {
        name: value
        for cls in reversed(list(_own_classes(callback)))
        for name, value in vars(cls).items()
        if not name.startswith("__") and name not in vars(callback) and plain.is_plain(value)
    }


def _own_classes(callback: Any) -> Iterator[type]:
    """Yield the classes of a callback that are neither from Keras nor from here."""
    for cls in type(callback).__mro__:
        if cls.__module__.split(".")[0] not in ("keras", "trainer", "builtins"):
            yield cls


def constructor_parameters(callback: Any) -> dict[str, Any]:
    """Return the arguments that make an equal callback of a Keras class, by name.

    Empty for any other class, and for those of Keras that do not keep all of their arguments.
    """
    kind = type(callback)
    if not kind.__module__.startswith("keras."):
        return {}
    parameters = inspect.signature(kind).parameters.values()
    names = [p.name for p in parameters if p.kind != p.VAR_KEYWORD]
    if not names or not all(name in vars(callback) for name in names):
        return {}
    found = {name: vars(callback)[name] for name in names}
    if "min_delta" in found:  # Keras flips its sign if lower is better
        found["min_delta"] = abs(found["min_delta"])
    return found


def set_attributes(callback: Any, state: dict[str, Any], fixed: Iterable[str] = ()) -> None:
    """Set attributes; variables, including those in lists and dicts, are assigned in place.

    The state comes from a file and is not trusted. It sets only what `plain_attributes` could
    have found in a callback of this class, and must not determine where the callback writes: text
    in Keras' own callbacks and text passed to a constructor stay unchanged.

    Args:
        callback: The callback to set the attributes of.
        state: The state of a callback like it.
        fixed: Names that are never part of a state, such as fields.

    Raises:
        ValueError: The state has an attribute that such a callback never has.
    """
    kind = type(callback)
    stock = kind.__module__.startswith("keras.")
    made_with = [] if stock else [*inspect.signature(kind).parameters, *stock_parameters(callback)]
    made_with += [f"_{name}" for name in made_with]
    never = {*_OF_A_FIT, *_fixed_parameters(callback), *fixed}
    for name, value in state.items():
        if name == _SAME:
            continue
        if not isinstance(name, str) or name in never or not _may_have(kind, callback, name):
            raise ValueError(
                f"the state of {kind.__name__} has {name!r}, which no such callback saves"
            )
        present = vars(callback).get(name)
        if stock and name in _LEARNT:
            continue
        if stock and _is_number(present) and not (value is None or _is_number(value)):
            raise ValueError(f"{kind.__name__}.{name}={value!r} in the state is not a number")
        if _holds_text(value) or _holds_text(present):
            if stock and not isinstance(value, (list, tuple)):
                continue
            if name in made_with:
                if value != present:
                    warnings.warn(
                        f"{kind.__name__}.{name}: stays {present!r} and is not set to {value!r}: "
                        "text passed to a constructor may be a path, so it is never restored; if "
                        "it should be, add the methods state_dict and load_state_dict to the "
                        "callback",
                        stacklevel=2,
                    )
                continue
        if not stock and name in vars(callback) and _is_constant(callback, name, value):
            _warn_of_other(kind, name, present, value)
        setattr(callback, name, _merged(present, value))
    for name, first in dict(state.get(_SAME, {})).items():
        if {name, first} <= (state.keys() - {_SAME}) and _is_mutable(vars(callback).get(first)):
            setattr(callback, name, vars(callback)[first])


def _is_constant(callback: Any, name: str, value: Any) -> bool:
    """Return whether only the constructor sets an attribute, so that a fit does not change it."""
    kind: type = type(callback)
    changed = {n for cls in inspect.getmro(kind) for n in _set_by(cls)}
    scalars = (bool, int, float, str)
    return isinstance(value, scalars) and name in _set_by_methods(kind) - changed


def _warn_of_other(kind: type, name: str, present: Any, value: Any) -> None:
    if plain.is_plain(present) and plain.shown(present) != plain.shown(value):
        warnings.warn(
            f"{kind.__name__}.{name}: is {value!r}, as in the run that is resumed, and not "
            f"{present!r}, as the constructor has set it; to use that, write another run_dir",
            stacklevel=2,
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, (bool, int, float, np.number, np.bool_)) or (
        isinstance(value, np.ndarray) and value.ndim == 0
    )


def _may_have(kind: type, callback: Any, name: str) -> bool:
    """Return whether an attribute may be restored: it exists, or a method of the class sets it."""
    if name.startswith("__") or callable(vars(callback).get(name)):
        return False
    of_class = inspect.getattr_static(kind, name, None)
    if callable(of_class) or hasattr(of_class, "__get__"):  # a method, a property
        return False
    if name in vars(callback) or name in _set_by_methods(kind):
        return True
    # User-defined callbacks may use setattr; Keras' own do not.
    return of_class is None and not kind.__module__.startswith("keras.")


@functools.cache
def _set_by_methods(kind: type) -> frozenset[str]:
    return frozenset(
        instruction.argval
        for base in kind.__mro__
        for method in vars(base).values()
        if inspect.isfunction(method)
        for instruction in dis.get_instructions(method)
        if instruction.opname == "STORE_ATTR"
    )


@functools.cache
def _set_by(cls: type) -> frozenset[str]:
    """Return the attributes that methods of one class set, other than its constructor."""
    waiting = [
        method.__code__
        for name, method in vars(cls).items()
        if inspect.isfunction(method) and name != "__init__"
    ]
    found: set[str] = set()
    while waiting:
        code = waiting.pop()
        waiting += [c for c in code.co_consts if isinstance(c, types.CodeType)]
        found |= {i.argval for i in dis.get_instructions(code) if i.opname == "STORE_ATTR"}
    return frozenset(found)


def _is_mutable(value: Any) -> bool:
    return isinstance(value, (list, dict, set, np.ndarray))


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and ("/" in value or os.sep in value)


def _holds_text(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_text, value.values()))
    if isinstance(value, (list, tuple, set, frozenset)):
        return any(map(_holds_text, value))
    return isinstance(value, str)


def _merged(present: Any, value: Any) -> Any:
    if variables.is_one(present):
        present.assign(value)
        return present
    if isinstance(present, (list, tuple)) and isinstance(value, type(present)):
        if len(present) == len(value):
            return type(value)(map(_merged, present, value))
    elif isinstance(present, dict) and isinstance(value, dict):
        merged = copy.copy(value)  # it may be a defaultdict, or a Counter
        for k, v in value.items():
            merged[k] = _merged(present.get(k), v)
        return merged
    return value


def forgotten(callback: Any) -> list[str]:
    """Return the attributes that hold other values, which a resumed run does not restore."""
    if hasattr(callback, "state_dict") or type(callback).__module__.startswith("keras."):
        return []
    return [
        name
        for name, value in vars(callback).items()
        if name not in _OF_A_FIT and not plain.is_plain(value) and not callable(value)
    ]
