"""The state of callbacks: what of a callback a resumed run must have back.

Responsible for telling the plain values among a callback's attributes, and for giving them back.
Works on any Keras callback: EarlyStopping and ReduceLROnPlateau count in plain attributes. Not for
writing them to a file (`plain`, `statefile`).
"""

from __future__ import annotations

import inspect
from typing import Any

from trainer import plain

# What Keras sets on every callback, and what describes a fit rather than its progress; CSVLogger
# looks into its file for append_header, at the beginning of each.
_OF_A_FIT = {"model", "_model", "params", "validation_data", "session", "append_header"}


def state_of(callback: Any) -> dict[str, Any]:
    """The state of any Keras callback: its own state_dict, or its plain attributes."""
    own = getattr(callback, "state_dict", None)
    found: dict[str, Any] = own() if callable(own) else plain_attributes(callback)
    return found


def restore(callback: Any, state: dict[str, Any]) -> None:
    """Give a callback the state that `state_of` took from one like it."""
    own = getattr(callback, "load_state_dict", None)
    if callable(own):
        own(state)
    else:
        set_attributes(callback, state)


def plain_attributes(callback: Any) -> dict[str, Any]:
    """The attributes that hold numbers, text, arrays, variables, and containers of them.

    Not what Keras' own classes were made with: that is in the callback already, and EarlyStopping
    turns the sign of its min_delta once, when it learns which way is better.
    """
    made_with = stock_parameters(callback)
    return {
        name: value
        for name, value in vars(callback).items()
        if name not in _OF_A_FIT and name not in made_with and plain.is_plain(value)
    }


def stock_parameters(callback: Any) -> list[str]:
    """The arguments of a callback that are those of a class of Keras'; none for a plugin."""
    names: list[str] = []
    for cls in type(callback).__mro__:
        if cls.__module__.startswith("keras.") and "__init__" in vars(cls):
            names += [n for n in inspect.signature(vars(cls)["__init__"]).parameters if n != "self"]
    return [name for name in dict.fromkeys(names) if name in vars(callback)]


def set_attributes(callback: Any, state: dict[str, Any]) -> None:
    """Set attributes; a variable, in a list or dict too, keeps its identity and takes the value."""
    for name, value in state.items():
        setattr(callback, name, _merged(vars(callback).get(name), value))


def _merged(present: Any, value: Any) -> Any:
    import keras
    import tensorflow as tf

    if isinstance(present, (keras.Variable, tf.Variable)):
        present.assign(value)
        return present
    if isinstance(present, (list, tuple)) and isinstance(value, type(present)):
        if len(present) == len(value):
            return type(value)(map(_merged, present, value))
    elif isinstance(present, dict) and isinstance(value, dict):
        return {k: _merged(present.get(k), v) for k, v in value.items()}
    return value


def forgotten(callback: Any) -> list[str]:
    """The attributes that hold something else, which a resumed run will not have back."""
    if hasattr(callback, "state_dict") or type(callback).__module__.startswith("keras."):
        return []
    return [
        name
        for name, value in vars(callback).items()
        if name not in _OF_A_FIT and not plain.is_plain(value) and not callable(value)
    ]
