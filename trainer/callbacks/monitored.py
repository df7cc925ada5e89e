"""The log that a plugin watches: which one, and which way is better.

Responsible for finding both, and for rejecting names that will never be logged. Not for what
plugins do with the values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import keras

from trainer.engine.loop import as_floats
from trainer.history import known_mode
from trainer.utils.checks import did_you_mean, one_of

if TYPE_CHECKING:
    from trainer.callbacks.callback import Session


def check(monitor: Any, mode: Any = None) -> None:
    """Raise an error for values that no fit would allow.

    Raises:
        TypeError, ValueError: the monitor is neither a name nor None, or the mode is unknown.
    """
    if monitor is not None and (not isinstance(monitor, str) or not monitor):
        raise TypeError(f"monitor={monitor!r}: must be the name of a log, such as 'val_loss'")
    if mode is not None:
        one_of("mode", mode, ("min", "max"))


def choose(monitor: str | None, session: Session) -> str:
    """The name of the log to watch; None: val_loss with validation data, otherwise loss.

    Raises:
        ValueError: this fit will have no such log.
    """
    if monitor is None:
        return "loss" if session.validation is None else "val_loss"
    if monitor.startswith("val_") and session.validation is None:
        raise ValueError(
            f"monitor={monitor!r}: there are no validation data; pass validation_data to fit, "
            f"write validation_split=0.2, or monitor={monitor.removeprefix('val_')!r}"
        )
    known = _names(session)
    if known is not None and monitor not in known:
        raise ValueError(
            f"monitor={monitor!r}: there will be no such log; {did_you_mean(monitor, known)}"
        )
    return monitor


def direction(monitor: str, mode: str | None) -> Literal["min", "max"]:
    """Whether lower ("min") or higher ("max") is better; mode None: inferred from the log's name.

    Raises:
        ValueError: it is None, and the name does not determine the direction.
    """
    if mode is not None:
        found: Literal["min", "max"] = one_of("mode", mode, ("min", "max"))
        return found
    known = known_mode(monitor)
    if known is None:
        raise ValueError(
            f"monitor={monitor!r}: this name does not say whether lower or higher is better; "
            "write mode='min' or mode='max'"
        )
    return known


def value(monitor: str, logs: Mapping[str, Any] | None, worst: str | None = None) -> float | None:
    """The value of the log at the end of an epoch; None if it is of validation and there was none.

    With validation_freq, an epoch without a validation neither improves nor counts.

    Args:
        monitor: the log's name.
        logs: of the epoch.
        worst: the better direction, to replace NaN with the worst value: a NaN as the first value
            would remain the best, since comparisons with it are always false. None: keep NaN.

    Raises:
        ValueError: it was not logged.
    """
    found = as_floats(dict(logs or {}))
    if monitor.startswith("val_") and not any(name.startswith("val_") for name in found):
        return None
    if monitor not in found:
        raise ValueError(f"monitor={monitor!r}: was not logged; {did_you_mean(monitor, found)}")
    if worst is not None and math.isnan(found[monitor]):
        return math.inf if worst == "min" else -math.inf
    return found[monitor]


def _names(session: Session) -> set[str] | None:
    """The names of all logs, or None if user-defined code may add some."""
    core = session.network.core
    base = keras.Model
    own = any(
        getattr(type(core), name) is not getattr(base, name)
        for name in ("train_step", "test_step", "get_metrics_result", "compute_metrics")
    )
    if own or any(map(_may_log, session.callbacks)):
        return None
    of_training = set(as_floats(core.get_metrics_result()))
    if session.validation is None:
        return of_training
    return of_training | {f"val_{name}" for name in of_training}


def _may_log(callback: Any) -> bool:
    """Whether a callback may add to the logs of an epoch; the plugins of this package do not."""
    place = type(callback).__module__
    if place.startswith("keras."):
        return isinstance(callback, keras.callbacks.LambdaCallback)
    return not place.startswith("trainer.callbacks.")
