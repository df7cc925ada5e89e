"""Batch hooks of Keras callbacks: which ones to call, and how often.

Responsible for determining whether a callback needs to see batches, which costs one dispatch per
call, and for calling its hooks. Not for the order of events (`loop`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from trainer.utils import checks


class BatchHooks:
    """Calls the batch hooks of each callback as often as the callback asks for.

    Args:
        callbacks: A keras.callbacks.CallbackList.
        phase: "train", "test" or "predict".
        steps: Batches between two calls of a callback that does not say how often: the model's
            steps_per_execution.

    Attributes:
        interval: Batches between two calls of any hook, or None if there is nothing to call.
    """

    def __init__(self, callbacks: Any, phase: str, steps: int = 1) -> None:
        self.interval = interval(callbacks.callbacks, phase, steps)
        self._steps = steps
        self._callbacks = callbacks
        self._phase = phase
        self._begin = f"on_{phase}_batch_begin"
        self._end = f"on_{phase}_batch_end"

    def begin(self, batch: int) -> None:
        """Call the hooks before batch `batch`, counted from 0."""
        if self.interval is None:
            return
        for callback in self._callbacks.callbacks:
            if batch % self._often(callback) == 0:
                getattr(callback, self._begin)(batch, {})

    def end(self, done: int, steps: int | None, logs: dict[str, Any]) -> None:
        """Call the hooks after `done` of `steps` batches."""
        if self.interval is None:
            return
        for callback in self._callbacks.callbacks:
            often = self._often(callback)
            if done % often == 0 or done == steps:
                # As in Keras, an execution that ran out of batches counts as if it had not.
                last = -(-done // often) * often if often == self._steps else done
                getattr(callback, self._end)(last - 1, logs)

    def _often(self, callback: Any) -> int:
        own = _interval(callback, self._phase, self._steps)
        # Once any callback sees batches, the others are called too, as in Keras.
        return self.interval or 1 if own is None else own


def interval(callbacks: Sequence[Any], phase: str, steps: int = 1) -> int | None:
    """Return the batches between two calls of any batch hook, or None if none is overridden.

    Args:
        callbacks: Keras callbacks.
        phase: "train", "test" or "predict".
        steps: As for `BatchHooks`.
    """
    asked = [n for n in (_interval(c, phase, steps) for c in callbacks) if n is not None]
    return math.gcd(*asked) if asked else None


def traced(callbacks: Sequence[Any]) -> list[Any]:
    """Return the callbacks that add operations to the training step."""
    return [c for c in callbacks if getattr(c, "extends_step", False)]


def _interval(callback: Any, phase: str, steps: int) -> int | None:
    import keras

    names = [f"on_{phase}_batch_begin", f"on_{phase}_batch_end"]
    if phase == "train":
        names += ["on_batch_begin", "on_batch_end"]
    idle = (keras.callbacks.Callback, _idle(callback))
    overridden = any(
        name in vars(callback)
        or all(getattr(type(callback), name) is not getattr(stock, name) for stock in idle)
        for name in names
    )
    often = getattr(callback, "every_n_batches", None)
    if not overridden or (often == 0 and not isinstance(often, bool)):
        return None
    return steps if often is None else checks.integer("every_n_batches", often, low=0, example=100)


def _idle(callback: Any) -> Any:
    """Return the base class whose batch hooks do nothing with this callback's options."""
    from keras.callbacks import BackupAndRestore, Callback, ModelCheckpoint, TensorBoard

    for saving in (BackupAndRestore, ModelCheckpoint):
        if isinstance(callback, saving) and callback.save_freq == "epoch":
            return saving
    if isinstance(callback, TensorBoard):
        every_batch = callback.update_freq != "epoch" or callback.write_steps_per_second
        return Callback if every_batch or callback._should_trace else TensorBoard
    return Callback
