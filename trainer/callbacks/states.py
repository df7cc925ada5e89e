"""The state of callbacks: what of a callback a resumed run must have back.

Responsible for telling the plain values among a callback's attributes, and for giving them back.
Works on any Keras callback: EarlyStopping and ReduceLROnPlateau count in plain attributes. Not for
writing them to a file (`state`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

# What Keras sets on every callback, and what describes a fit rather than its progress.
_OF_A_FIT = {"model", "_model", "params", "validation_data", "session"}


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
    """The attributes that hold numbers, text, arrays, variables, and containers of them."""
    return {
        name: value
        for name, value in vars(callback).items()
        if name not in _OF_A_FIT and is_plain(value)
    }


def set_attributes(callback: Any, state: dict[str, Any]) -> None:
    """Set attributes; a variable keeps its identity and takes the value."""
    import keras

    for name, value in state.items():
        present = vars(callback).get(name)
        if isinstance(present, keras.Variable):
            present.assign(value)
        else:
            setattr(callback, name, value)


def forgotten(callback: Any) -> list[str]:
    """The attributes that hold something else, which a resumed run will not have back."""
    if hasattr(callback, "state_dict") or type(callback).__module__.startswith("keras."):
        return []
    return [
        name
        for name, value in vars(callback).items()
        if name not in _OF_A_FIT and not is_plain(value) and not callable(value)
    ]


def is_plain(value: Any) -> bool:
    """Whether a value can be written to a file and read back as it was."""
    import keras

    if value is None or isinstance(value, (bool, int, float, str)):
        return True
    if isinstance(value, (np.ndarray, np.generic)):
        return value.dtype.kind in "biuf"
    if isinstance(value, dict):
        return all(isinstance(k, (str, int)) and is_plain(v) for k, v in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(map(is_plain, value))
    if isinstance(value, keras.Variable):
        return True
    import tensorflow as tf

    return tf.is_tensor(value) and hasattr(value, "numpy") and value.dtype != tf.string
