"""The one training loop: epochs, chunks of steps, callbacks, stopping.

Responsible for the order in which things happen in a fit and an evaluation. Not for what a step
does (`program`), nor for where batches come from (`feeds`).

The way of a batch: `feeds` gives the chunk, `program` runs its steps, the logs of its last step go
to the callbacks, and at the end of the epoch, with the validation's, into the history.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from trainer.engine.program import Logs, Program

if TYPE_CHECKING:
    import keras

    from trainer.history import History


class Feed(Protocol):
    """Where batches come from."""

    steps: int | None

    @property
    def spec(self) -> Any:
        """The form of a batch: a tree of tf.TensorSpec."""

    def train(self, program: Program, epoch: int, chunk: int) -> Iterator[tuple[int, Logs]]:
        """Train one epoch, `chunk` steps a dispatch: gives (steps so far, logs) after each."""

    def test(self, program: Program, chunk: int) -> Iterator[tuple[int, Logs]]:
        """Evaluate all batches, in order; gives the same."""


class Progress(Protocol):
    """Who shows a person how the training goes."""

    def epoch_begins(self, epoch: int, steps: int | None) -> None:
        """Epoch `epoch`, counted from 0, begins."""

    def chunk_ends(self, step: int, logs: dict[str, float]) -> None:
        """So many steps of the epoch are done."""

    def epoch_ends(self, epoch: int, logs: dict[str, float], seconds: float) -> None:
        """The epoch ended, its validation included."""

    def close(self) -> None:
        """The training ended, however it did."""


def train(
    program: Program,
    feed: Feed,
    *,
    epochs: int,
    chunk: int,
    callbacks: keras.callbacks.CallbackList,
    every_batch: bool,
    validate: Callable[[], dict[str, float]] | None,
    history: History,
    progress: Progress,
) -> None:
    """Train a model.

    Args:
        program: the compiled functions of the model.
        feed: the training batches.
        epochs: how many times to go through the data.
        chunk: how many steps to run in one dispatch.
        callbacks: told of the beginning and end of training and of epochs.
        every_batch: whether to tell them of every batch too; `chunk` is 1 then.
        validate: evaluates the validation data, or None; called once an epoch.
        history: receives one record an epoch.
        progress: shows how the training goes.
    """
    import keras

    model = callbacks.model if callbacks.model is not None else program.model
    model.stop_training = False
    added: dict[str, Any] = {}  # the logs of an epoch, with what callbacks added to them
    last = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: added.update(logs))
    callbacks.callbacks.append(last)
    callbacks.on_train_begin()
    logs: dict[str, float] = {}
    try:
        for epoch in range(epochs):
            started = time.perf_counter()
            program.model.reset_metrics()
            callbacks.on_epoch_begin(epoch)
            progress.epoch_begins(epoch, feed.steps)
            if every_batch:
                callbacks.on_train_batch_begin(0)
            # asked to stop before the first batch, Keras still trains that one
            for done, step_logs in feed.train(program, epoch, 1 if model.stop_training else chunk):
                logs = as_floats(step_logs)
                if every_batch:
                    callbacks.on_train_batch_end(done - 1, logs)
                progress.chunk_ends(done, logs)
                if model.stop_training:
                    break
                if every_batch and done != feed.steps:
                    callbacks.on_train_batch_begin(done)
            rate = learning_rate(program.model)
            if validate is not None:
                logs = logs | {f"val_{name}": value for name, value in validate().items()}
            seconds = time.perf_counter() - started
            added.clear()
            callbacks.on_epoch_end(epoch, logs)
            logs = logs | as_floats(added)
            history.append(epoch + 1, logs, learning_rate=rate, seconds=seconds)
            progress.epoch_ends(epoch, logs, time.perf_counter() - started)
            if model.stop_training:
                break
        optimizer = program.model.optimizer
        if optimizer is not None and program.model.trainable_weights:
            optimizer.finalize_variable_values(program.model.trainable_weights)
    finally:
        progress.close()
    callbacks.on_train_end(logs)


def evaluate(
    program: Program,
    feed: Feed,
    *,
    chunk: int,
    callbacks: keras.callbacks.CallbackList | None = None,
    every_batch: bool = False,
) -> dict[str, float]:
    """Evaluate a model on all batches of a feed.

    Returns:
        The loss and every metric, by name.
    """
    program.model.reset_metrics()
    logs: dict[str, float] = {}
    if callbacks is not None:
        callbacks.model.stop_evaluating = False
        callbacks.on_test_begin()
        if every_batch:
            callbacks.on_test_batch_begin(0)
    for done, step_logs in feed.test(program, chunk):
        logs = as_floats(step_logs)
        if callbacks is not None and every_batch:
            callbacks.on_test_batch_end(done - 1, logs)
            if callbacks.model.stop_evaluating:
                break
            if done != feed.steps:
                callbacks.on_test_batch_begin(done)
    if callbacks is not None:
        callbacks.on_test_end(logs)
    return logs


def as_floats(logs: Logs) -> dict[str, float]:
    """Logs as plain floats; a vector `f1` becomes `f1[0]`, `f1[1]` and so on.

    Of a dict within the logs the contents count, and not its name, as in Keras.
    """
    plain: dict[str, float] = {}
    for name, value in logs.items():
        if isinstance(value, dict):
            plain |= as_floats(value)
            continue
        array = np.asarray(value)
        if array.ndim == 0:
            plain[name] = float(array)
        else:
            for index in np.ndindex(array.shape):
                plain[f"{name}[{','.join(map(str, index))}]"] = float(array[index])
    return plain


def learning_rate(model: keras.Model) -> float | None:
    """The rate at which the optimizer's next step would be made, or None without an optimizer."""
    rate = getattr(model.optimizer, "learning_rate", None)
    return None if rate is None else float(np.asarray(rate))
