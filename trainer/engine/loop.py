"""The one training loop: epochs, chunks of steps, callbacks, stopping, going on.

Responsible for the order in which things happen in a fit and an evaluation. Not for what a step
does (`program`), nor for where batches come from (`feeds`), nor for what is written (`Keeper`).

The way of a batch: `feeds` gives the chunk, `program` runs its steps, the logs of its last step go
to the callbacks, and at the end of the epoch, with the validation's, into the history.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from trainer.engine.feeds import MANY
from trainer.engine.hooks import BatchHooks
from trainer.engine.program import Logs, Program

if TYPE_CHECKING:
    import keras

    from trainer.history import History


@dataclass
class Position:
    """A place in a training, between two dispatches.

    Attributes:
        epoch: counted from 0.
        step: steps of this epoch that are done; all of them before its validation.
        logs: of the last step.
        seconds: that the epoch has taken so far.
        stopped: whether a callback has ended the training.
    """

    epoch: int = 0
    step: int = 0
    logs: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    stopped: bool = False


class Feed(Protocol):
    """Where batches come from."""

    steps: int | None

    @property
    def spec(self) -> Any:
        """The form of a batch: a tree of tf.TensorSpec."""

    def first(self) -> Any:
        """The first batch."""

    def replay(self, epochs: int) -> None:
        """Come to the state in which so many passes leave the feed."""

    def train(
        self,
        program: Program,
        epoch: int,
        chunk: int,
        start: int = 0,
        most: Callable[[], int] = lambda: MANY,
    ) -> Iterator[tuple[int, Logs]]:
        """Train an epoch from step `start`: gives (steps so far, logs) after each dispatch.

        Dispatches end at multiples of `chunk`, and where `most()` steps are done.
        """

    def test(self, program: Program, chunk: int) -> Iterator[tuple[int, Logs]]:
        """Evaluate all batches, in order; gives the same."""


class Keeper(Protocol):
    """Who keeps what a training needs to go on, and knows whether it is to end."""

    def start(self) -> Position:
        """Give everything the state that was kept, and tell the place; called once, before any
        step, after on_train_begin."""

    def where(self) -> tuple[int, int]:
        """The epoch and step that `start` will give."""

    def passed(self, position: Position) -> None:
        """The training is at this place, which may be worth keeping."""

    def ending(self) -> bool:
        """Whether the training is to stop at the last place that was passed."""

    def at_once(self) -> bool:
        """Whether to stop there without even validating the epoch: a signal asked for it."""

    def most_steps(self) -> int:
        """The most steps that the next dispatch may run."""


def train(
    program: Program,
    feed: Feed,
    *,
    epochs: int,
    chunk: int,
    callbacks: keras.callbacks.CallbackList,
    validate: Callable[[], dict[str, float]] | None,
    history: History,
    keeper: Keeper,
) -> bool:
    """Train a model.

    Args:
        program: the compiled functions of the model.
        feed: the training batches.
        epochs: how many times to go through the data.
        chunk: how many steps to run in one dispatch.
        callbacks: told of the beginning and end of training and of epochs, of dispatches and,
            where they ask for it, of batches.
        validate: evaluates the validation data, or None; called once an epoch.
        history: receives one record an epoch.
        keeper: where to start, and what to keep.

    Returns:
        Whether the training came to its end: all epochs, or a callback set stop_training. False:
        it was stopped before.
    """
    import keras

    model = callbacks.model if callbacks.model is not None else program.model
    model.stop_training = False
    added: dict[str, Any] = {}  # the logs of an epoch, with what callbacks added to them
    last = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: added.update(logs))
    callbacks.callbacks.append(last)
    batches = BatchHooks(callbacks, "train")
    chunked = [c for c in callbacks.callbacks if hasattr(c, "on_chunk_end")]
    callbacks.on_train_begin()
    first_epoch, first_step = keeper.where()
    if first_step:  # the hook ran before what was kept was kept: what it does is overwritten
        callbacks.on_epoch_begin(first_epoch)
    here = keeper.start()
    stop = False
    model.stop_training = model.stop_training or here.stopped
    logs = here.logs
    # stopped within an epoch, that epoch still has its validation
    for epoch in range(here.epoch, 0 if here.stopped and not here.step else epochs):
        started = time.perf_counter() - here.seconds
        if here.step == 0:
            program.model.reset_metrics()
            callbacks.on_epoch_begin(epoch)
        if here.step != feed.steps and not here.stopped:
            batches.begin(here.step)
        # asked to stop before the first batch, Keras still trains that one
        size = 1 if model.stop_training else chunk
        steps = feed.train(program, epoch, size, here.step, most=keeper.most_steps)
        done = here.step
        for done, step_logs in () if here.stopped else steps:
            logs = as_floats(step_logs)
            batches.end(done, feed.steps, logs)
            for callback in chunked:
                callback.on_chunk_end(done, logs)
            keeper.passed(
                Position(epoch, done, logs, time.perf_counter() - started, model.stop_training)
            )
            if model.stop_training or keeper.ending():
                break
            if done != feed.steps:
                batches.begin(done)
        here = Position()
        stop = keeper.ending() and (keeper.at_once() or not model.stop_training)
        if stop and keeper.at_once():
            break
        rate = learning_rate(program.model)
        if validate is not None:
            logs = logs | {f"val_{name}": value for name, value in validate().items()}
        seconds = time.perf_counter() - started
        if stop and done != feed.steps:
            # for the fitted Trainer only: the saved state is that before this validation, and
            # whoever keeps something of whole epochs is not told of a part of one
            history.append(epoch + 1, logs, learning_rate=rate, seconds=seconds)
            break
        added.clear()
        callbacks.on_epoch_end(epoch, logs)
        logs = logs | as_floats(added)
        history.append(epoch + 1, logs, learning_rate=rate, seconds=seconds)
        keeper.passed(Position(epoch + 1, 0, logs, 0.0, model.stop_training))
        if model.stop_training or keeper.ending():
            stop = epoch + 1 < epochs and not model.stop_training
            break
    optimizer = program.model.optimizer
    if optimizer is not None and program.model.trainable_weights:
        optimizer.finalize_variable_values(program.model.trainable_weights)
    callbacks.on_train_end(logs)
    return not stop


def evaluate(
    program: Program,
    feed: Feed,
    *,
    chunk: int,
    callbacks: keras.callbacks.CallbackList | None = None,
) -> dict[str, float]:
    """Evaluate a model on all batches of a feed.

    Args:
        program: the compiled functions of the model.
        feed: the batches.
        chunk: how many to evaluate in one dispatch.
        callbacks: told of the beginning and end, and of batches where they ask for it.

    Returns:
        The loss and every metric, by name.
    """
    program.model.reset_metrics()
    logs: dict[str, float] = {}
    batches = None if callbacks is None else BatchHooks(callbacks, "test")
    if callbacks is not None and batches is not None:
        callbacks.model.stop_evaluating = False
        callbacks.on_test_begin()
        batches.begin(0)
    for done, step_logs in feed.test(program, chunk):
        logs = as_floats(step_logs)
        if callbacks is not None and batches is not None:
            batches.end(done, feed.steps, logs)
            if batches.interval is not None and callbacks.model.stop_evaluating:
                break
            if done != feed.steps:
                batches.begin(done)
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
