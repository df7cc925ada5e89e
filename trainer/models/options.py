"""Kinds of the options of architectures: what values each may have.

Responsible for checking a value and converting it to Python's own types. Not for which option is of
which kind (the architectures), or for their names (`architecture`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from trainer.utils import checks

# Takes the name and the value of an option, and returns the value; raises TypeError or ValueError.
Kind = Callable[[str, Any], Any]


def whole(low: int, example: int) -> Kind:
    """Return the kind of whole numbers of at least `low`."""
    return partial(checks.integer, low=low, example=example)


def among(*known: Any) -> Kind:
    """Return the kind of these values alone."""
    return partial(checks.one_of, known=known)


def optional(kind: Kind) -> Kind:
    """Return the kind of None, and of what `kind` is of."""
    return partial(_optional, kind)


def _optional(kind: Kind, name: str, value: Any) -> Any:
    return None if value is None else kind(name, value)


def from_0(name: str, value: Any) -> float:
    """Return `value` as a finite number of at least 0.

    Raises:
        TypeError, ValueError: It is none.
    """
    return checks.finite(name, value, low=0, example=1.0)


def widths(name: str, value: Any) -> tuple[int, ...]:
    """Return the widths of layers: a tuple, or a list, of whole numbers from 1.

    Raises:
        TypeError, ValueError: It is none.
    """
    says = f"{name}={value!r}: must be a tuple of whole numbers from 1, such as {name}=(256, 128)"
    if not isinstance(value, (list, tuple)):
        raise TypeError(says)
    try:
        return tuple(checks.integer(name, width, low=1) for width in value)
    except (TypeError, ValueError) as error:
        raise type(error)(says) from None


def keras_activation(name: str, value: Any) -> str:
    """Return the name of an activation of Keras.

    Raises:
        TypeError, ValueError: It is none.
    """
    import keras

    if not isinstance(value, str):
        raise TypeError(
            f"{name}={value!r}: must be the name of an activation of Keras, such as {name}='relu'"
        )
    try:
        keras.activations.get(value)
    except (TypeError, ValueError):
        known = [n for n, found in vars(keras.activations).items() if callable(found)]
        known = [n for n in known if n not in ("get", "serialize", "deserialize")]
        raise ValueError(
            f"{name}={value!r}: Keras has no such activation; {checks.did_you_mean(value, known)}"
        ) from None
    return str(value)


__all__ = ["Kind", "among", "from_0", "keras_activation", "optional", "whole", "widths"]
