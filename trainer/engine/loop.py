"""The training loop: epochs, chunks of steps, callbacks, stopping and resuming.

Responsible for the order of events in a fit and in an evaluation. Not for what a step does
(`Program`), for where batches come from (`Feed`), or for what is saved (`Checkpointer`); the loop
uses these through the protocols below.

The feed yields a chunk, the program runs its steps, and the logs of the last step go to the
callbacks. At the end of the epoch, they go to the history, together with those of the validation.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from trainer.engine.backend import agree
from trainer.engine.chunks import MANY, Logs
from trainer.engine.hooks import BatchHooks

if TYPE_CHECKING:
    import keras

    from trainer.history import History


@dataclass
class Position:
    """A position in a training, between two dispatches.

    Attributes:
        epoch: The epoch, counted from 0.
        step: The number of steps done in this epoch; the epoch is validated after all of them.
        logs: The logs of the last step.
        seconds: The duration of this epoch so far.
        stopped: Whether a callback has ended the training.
    """

    epoch: int = 0
    step: int = 0
    logs: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    stopped: bool = False


class Chunk(Protocol):
    """Batches for one dispatch; the program and its feeds agree on the content."""

    @property
    def steps(self) -> int:
        """The number of batches; for a stream, the maximum."""


class Feed(Protocol):
    """A source of batches.

    Attributes:
        steps: The number of batches in the current epoch, or None as long as it is unknown.
    """

    steps: int | None

    @property
    def spec(self) -> Any:
        """The spec of a batch: a tree of tf.TensorSpec."""

    def first(self) -> Any:
        """Return the first batch."""

    def replay(self, epochs: int) -> None:
        """Advance the feed to the state it is in after `epochs` epochs of a fit."""

    def ended(self, steps: int) -> None:
        """Note how many steps an epoch or evaluation had; called when it has ended."""

    def train(
        self, epoch: int, chunk: int, start: int = 0, most: Callable[[], int] = lambda: MANY
    ) -> Generator[Chunk]:
        """Yield the chunks of an epoch from step `start`.

        They end at multiples of `chunk`, and after `most()` steps.
        """

    def test(self, chunk: int) -> Generator[Chunk]:
        """Yield the chunks of all batches, unshuffled."""


class Program(Protocol):
    """The compiled functions of a model.

    Attributes:
        model: The model whose steps run.
    """

    model: keras.Model

    def train(self, chunk: Any) -> tuple[int, Logs]:
        """Train on the batches of a chunk; return their number and the last logs."""

    def test(self, chunk: Any) -> tuple[int, Logs]:
        """Evaluate the batches of a chunk; return their number and the last logs."""

    def predict(self, x: Any) -> Any:
        """Return the outputs of the model for a tree of tensors."""


class Checkpointer(Protocol):
    """Saves and restores the state of a training, and knows whether to stop it early."""

    def start(self) -> Position:
        """Restore the saved state, if any, and return the position to resume from.

        Called once, before any step, after on_train_begin.
        """

    def where(self) -> tuple[int, int]:
        """Return the epoch and step that `start` will return."""

    def passed(self, position: Position) -> None:
        """Save the state at this position if it is time to."""

    def ending(self) -> bool:
        """Return whether to stop at the last position given to `passed`."""

    def at_once(self) -> bool:
        """Return whether to stop there without validating the epoch, because of a signal."""

    def most_steps(self) -> int:
        """Return the maximum number of steps for the next dispatch."""


def train(
    program: Program,
    feed: Feed,
    *,
    epochs: int,
    chunk: int,
    callbacks: keras.callbacks.CallbackList,
    validate: Callable[[int], dict[str, float]] | None,
    history: History,
    checkpointer: Checkpointer,
    first_epoch: int = 0,
) -> bool:
    """Train a model.

    Args:
        program: The compiled functions of the model.
        feed: The training batches.
        epochs: The epoch before which training ends.
        chunk: The number of steps in one dispatch.
        callbacks: Called at the beginning and end of training and of each epoch, after dispatches
            and, if they ask for it, at batches.
        validate: Evaluates the validation data after an epoch, counted from 0; returns nothing
            where it does not. None if there are none.
        history: Receives one record per epoch.
        checkpointer: Determines where to start and when to save.
        first_epoch: The epoch at which training starts where nothing is restored.

    Returns:
        Whether the training finished: all epochs are done, or a callback set stop_training.
        False if it was interrupted.
    """
    import keras

    epochs = min(epochs, keras.config.max_epochs() or epochs)
    model = callbacks.model if callbacks.model is not None else program.model
    model.stop_training = False
    added: dict[str, Any] = {}  # the logs of an epoch, including those added by callbacks
    last = keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: added.update(logs))
    callbacks.callbacks.append(last)
    callbacks.on_train_begin()
    epoch_begun, steps_done = checkpointer.where()
    if steps_done:
        # When resuming mid-epoch, on_epoch_begin ran before the state was saved; run it again and
        # let the restored state overwrite its effects.
        callbacks.on_epoch_begin(epoch_begun)
    here = checkpointer.start()
    if (here.epoch, here.step) == (first_epoch, 0) and not here.stopped:
        # BackupAndRestore has loaded an earlier training in on_train_begin, and set this
        here = Position(epoch=getattr(model, "_initial_epoch", None) or first_epoch)
        feed.replay(max(0, min(here.epoch, epochs) - first_epoch))
    stop = False
    model.stop_training = model.stop_training or here.stopped
    logs = here.logs
    epoch_of = _Epochs(program, feed, chunk, callbacks, checkpointer, model)
    # If a callback stopped training within an epoch, that epoch is still validated.
    for epoch in range(here.epoch, 0 if here.stopped and not here.step else epochs):
        started = time.perf_counter() - here.seconds
        done, logs = epoch_of.train(epoch, here, started)
        if not done:
            warnings.warn(
                f"x has run out of batches: training ends before epoch {epoch + 1} of {epochs}",
                stacklevel=4,
            )
            break
        here = Position()
        stop = checkpointer.ending() and (checkpointer.at_once() or not model.stop_training)
        if stop and checkpointer.at_once():
            break
        rate = learning_rate(program.model)
        if validate is not None:
            logs = logs | {f"val_{name}": value for name, value in validate(epoch).items()}
        seconds = time.perf_counter() - started
        if stop and done != feed.steps:
            # This record is for the fitted Trainer only: the saved state precedes the validation,
            # and callbacks that expect complete epochs are not called for a partial one.
            history.append(epoch + 1, logs, learning_rate=rate, seconds=seconds)
            break
        added.clear()
        callbacks.on_epoch_end(epoch, logs)
        logs = logs | as_floats(added)
        history.append(epoch + 1, logs, learning_rate=rate, seconds=seconds)
        model.stop_training = agree(model.stop_training)
        checkpointer.passed(Position(epoch + 1, 0, logs, 0.0, model.stop_training))
        if model.stop_training or checkpointer.ending():
            stop = epoch + 1 < epochs and not model.stop_training
            break
    optimizer = program.model.optimizer
    if optimizer is not None and program.model.trainable_weights:
        optimizer.finalize_variable_values(program.model.trainable_weights)
    callbacks.on_train_end(logs)
    return not stop


@dataclass
class _Epochs:
    """Trains single epochs, without validation."""

    program: Program
    feed: Feed
    chunk: int
    callbacks: keras.callbacks.CallbackList
    checkpointer: Checkpointer
    model: keras.Model

    def __post_init__(self) -> None:
        steps = self.program.model.steps_per_execution
        self.batches = BatchHooks(self.callbacks, "train", steps)
        self.chunked = [c for c in self.callbacks.callbacks if hasattr(c, "on_chunk_end")]

    def train(self, epoch: int, here: Position, started: float) -> tuple[int, dict[str, float]]:
        """Train an epoch from a position in it; return the steps done and the last logs."""
        done, logs = here.step, here.logs
        if here.step == 0:
            self.program.model.reset_metrics()
            self.callbacks.on_epoch_begin(epoch)
        if here.step != self.feed.steps and not here.stopped:
            self.batches.begin(here.step)
        if here.stopped:
            return done, logs
        # If a callback stops training before the first batch, Keras still trains on that batch.
        size = 1 if self.model.stop_training else self.chunk
        done, logs = self._pass(epoch, here, size, started)
        if not done:  # the pass before ended exactly with an epoch, and this epoch begins another
            done, logs = self._pass(epoch, here, size, started)
        return done, logs

    def _pass(
        self, epoch: int, here: Position, size: int, started: float
    ) -> tuple[int, dict[str, float]]:
        done, logs = here.step, here.logs
        chunks = self.feed.train(epoch, size, here.step, self.checkpointer.most_steps)
        for done, step_logs in run_chunks(self.program.train, self.feed, chunks, here.step):
            logs = as_floats(step_logs)
            self.batches.end(done, self.feed.steps, logs)
            for callback in self.chunked:
                callback.on_chunk_end(done, logs)
            seconds = time.perf_counter() - started
            self.model.stop_training = agree(self.model.stop_training)
            self.checkpointer.passed(Position(epoch, done, logs, seconds, self.model.stop_training))
            if self.model.stop_training or self.checkpointer.ending():
                break
            if done != self.feed.steps:
                self.batches.begin(done)
        return done, logs


def evaluate(
    program: Program,
    feed: Feed,
    *,
    chunk: int,
    callbacks: keras.callbacks.CallbackList | None = None,
) -> dict[str, float]:
    """Evaluate a model on all batches of a feed.

    Args:
        program: The compiled functions of the model.
        feed: The batches.
        chunk: The number of batches to evaluate in one dispatch.
        callbacks: Called at the beginning and end and, if they ask for it, at batches.

    Returns:
        The loss and every metric, by name.
    """
    program.model.reset_metrics()
    logs: dict[str, float] = {}
    steps = program.model.steps_per_execution
    batches = None if callbacks is None else BatchHooks(callbacks, "test", steps)
    if callbacks is not None and batches is not None:
        callbacks.model.stop_evaluating = False
        callbacks.on_test_begin()
        batches.begin(0)
    for done, step_logs in run_chunks(program.test, feed, feed.test(chunk), 0):
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


def run_chunks(
    dispatch: Callable[[Any], tuple[int, Logs]], feed: Feed, chunks: Generator[Chunk], done: int
) -> Iterator[tuple[int, Logs]]:
    """Dispatch the chunks one after another.

    Args:
        dispatch: Runs the batches of a chunk, like Program.train.
        feed: Its `ended` is called with the number of steps.
        chunks: The chunks of one pass; always closed at the end.
        done: The number of steps in the pass before the first chunk.

    Yields:
        The steps so far and the last logs, after each chunk.
    """
    with contextlib.closing(chunks):
        for chunk in chunks:
            steps, logs = dispatch(chunk)
            done += steps
            if steps:
                yield done, logs
            if steps < chunk.steps:
                break
    feed.ended(done)


def as_floats(logs: Logs) -> dict[str, float]:
    """Convert logs to plain floats; a vector `f1` becomes `f1[0]`, `f1[1]` and so on.

    A single number keeps its own name, whatever its shape, because monitors look for it. A dict
    within the logs is flattened and its own name dropped, as in Keras.
    """
    plain: dict[str, float] = {}
    for name, value in logs.items():
        if isinstance(value, dict):
            plain |= as_floats(value)
            continue
        array = np.asarray(value)
        if array.size == 1:
            plain[name] = float(array.item())
        else:
            for index in np.ndindex(array.shape):
                plain[f"{name}[{','.join(map(str, index))}]"] = float(array[index])
    return plain


def learning_rate(model: keras.Model) -> float | None:
    """Return the learning rate of the optimizer's next step.

    None without an optimizer, or with one that the model's own train_step does not use.
    """
    if not getattr(model.optimizer, "built", False):
        return None
    rate = getattr(model.optimizer, "learning_rate", None)
    return None if rate is None else float(np.asarray(rate))
