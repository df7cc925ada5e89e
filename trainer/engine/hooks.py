"""Which hooks of Keras callbacks a fit must call.

Responsible for telling whether a callback needs to see every batch, which costs a dispatch for
each. Not for calling it: that is `loop`'s work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def check_callbacks(callbacks: Sequence[Any]) -> None:
    """Refuse what is no Keras callback.

    Raises:
        TypeError: with the object and what to write instead.
    """
    if not callbacks:
        return
    import keras

    for i, callback in enumerate(callbacks):
        if not isinstance(callback, keras.callbacks.Callback):
            made = f"; write {callback.__name__}()" if isinstance(callback, type) else ""
            raise TypeError(
                f"callbacks[{i}]={callback!r}: must be a keras.callbacks.Callback object{made}"
            )


def wants_batches(callbacks: Sequence[Any], phase: str) -> bool:
    """Whether any callback must be called at every batch.

    Args:
        callbacks: Keras callbacks.
        phase: "train" or "test".
    """
    return any(_wants_batches(c, phase) for c in callbacks)


def _wants_batches(callback: Any, phase: str) -> bool:
    import keras

    names = [f"on_{phase}_batch_begin", f"on_{phase}_batch_end"]
    if phase == "train":
        names += ["on_batch_begin", "on_batch_end"]
    idle = (keras.callbacks.Callback, _idle(callback))
    return any(
        name in vars(callback)
        or all(getattr(type(callback), name) is not getattr(stock, name) for stock in idle)
        for name in names
    )


def _idle(callback: Any) -> Any:
    """The class whose hooks of batches do nothing for a callback: they are for another option."""
    from keras.callbacks import BackupAndRestore, Callback, ModelCheckpoint, TensorBoard

    for saving in (BackupAndRestore, ModelCheckpoint):
        if isinstance(callback, saving) and callback.save_freq == "epoch":
            return saving
    if isinstance(callback, TensorBoard):
        every_batch = callback.update_freq != "epoch" or callback.write_steps_per_second
        return Callback if every_batch or callback._should_trace else TensorBoard
    return Callback
