"""The steps of a fit: from collected data to a trained network.

Responsible for their order: learn, build, feed, decide, train. Not for the public methods (`base`),
nor for the individual steps, which have their own modules.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import numbers
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer import saving
from trainer.data import arrays, preparation
from trainer.data.arrays import Tree, map_tree
from trainer.data.inputs import Inputs
from trainer.data.preparation import PROBE_ROWS, Rows
from trainer.data.streams import Stream
from trainer.data.targets import Classes, Numbers, Targets
from trainer.doctor import evidence
from trainer.engine import hooks, loop
from trainer.engine.backend import plan, strategy
from trainer.engine.feeds import RowsFeed, StreamFeed
from trainer.network import adapters, compile, distributed, inference
from trainer.network.build import Defaults, Recipe, build
from trainer.network.network import Network
from trainer.runs import fingerprint
from trainer.runs.checkpointing import Checkpointer, State, warn_of_forgotten
from trainer.runs.directory import FREE, TABLES, Run, RunError, described
from trainer.state import callback_state, state_file, variables
from trainer.state.isolation import running, turn
from trainer.state.own_state import HasExtraState, OwnState
from trainer.state.state_file import BadState, StateFolder
from trainer.tasks import Task
from trainer.utils import checks
from trainer.utils.text import message_of

if TYPE_CHECKING:
    from trainer.callbacks.callback import Session
    from trainer.callbacks.epoch_tasks import Watched

MOST_DEVIATIONS = 1e4  # of a mean from 0 in float32: its last digit is then 0.1% of a deviation


def draw_seed(state: Any) -> int:
    """The seed of a fit: the field random_state, or one drawn from it.

    Raises:
        ValueError: it is negative, too large, or not a seed.
    """
    if isinstance(state, numbers.Integral) and not isinstance(state, bool):
        seed = int(state)
        if not 0 <= seed < 2**32:
            raise ValueError(
                f"random_state={state}: must be from 0 to {2**32 - 1}; write random_state=0"
            )
        return seed
    from sklearn.utils import check_random_state

    try:
        if isinstance(state, bool):
            raise ValueError("a bool is not a seed")
        with turn():  # NumPy's generator is the user's now, not that of a fit in another thread
            return int(check_random_state(state).randint(2**31 - 1))
    except ValueError as error:
        raise ValueError(
            f"random_state={state!r}: must be a whole number, a numpy RandomState or None"
        ) from error


@dataclass(frozen=True)
class Passes:
    """The arguments of fit that say how many steps and validations there are, as in Keras.

    Attributes:
        initial_epoch: The epoch to start at, counted from 0. None: 0, or after the epochs of the
            fits before, with warm_start.
        steps_per_epoch: The most steps of an epoch; the next epoch continues the same pass over
            the data. None: an epoch is a pass.
        validation_steps: The most steps of a validation. None: all.
        validation_batch_size: Rows per step of a validation. None: the field batch_size.
        validation_freq: Every how many epochs to validate, or a list of the epochs to validate
            after, counted from 1.
    """

    initial_epoch: int | None = None
    steps_per_epoch: int | None = None
    validation_steps: int | None = None
    validation_batch_size: int | None = None
    validation_freq: int | Sequence[int] = 1

    def check(self) -> None:
        """Check the types and limits of all values.

        Raises:
            TypeError, ValueError: One is not valid; the message names it.
        """
        if self.initial_epoch is not None:
            checks.integer("initial_epoch", self.initial_epoch, low=0, example=2)
        for name in ("steps_per_epoch", "validation_steps", "validation_batch_size"):
            if getattr(self, name) is not None:
                checks.integer(name, getattr(self, name), low=1, example=100)
        often = self.validation_freq
        if isinstance(often, (list, tuple, set, np.ndarray, range)):
            for epoch in often:
                checks.integer("validation_freq", epoch, low=1, example=[1, 2, 10])
        else:
            checks.integer("validation_freq", often, low=1, example=2)

    def warn_of_unused(self, validated: bool, epochs: range) -> None:
        """Warn of values that change nothing.

        Args:
            validated: Whether there are validation data.
            epochs: Those to train, counted from 0.
        """
        names = ("validation_steps", "validation_batch_size", "validation_freq")
        for name in self.described() if not validated else ():
            if name in names:
                checks.warn(
                    f"{name}={getattr(self, name)!r}: has no effect without validation data; pass "
                    "validation_data to fit, or write validation_split=0.2"
                )
        if validated and not any(map(self.validates, epochs)):
            checks.warn(
                f"validation_freq={self.validation_freq!r}: no epoch of this fit, which trains "
                f"epochs {epochs.start + 1} to {epochs.stop}, is validated; write "
                "validation_freq=1"
            )

    @property
    def _listed(self) -> set[int]:
        often: Any = self.validation_freq
        return {int(epoch) for epoch in often}

    def validates(self, epoch: int) -> bool:
        """Return whether to validate after an epoch, counted from 0."""
        if isinstance(self.validation_freq, numbers.Integral):
            return (epoch + 1) % int(self.validation_freq) == 0
        return epoch + 1 in self._listed

    def described(self) -> dict[str, Any]:
        """Return the values that differ from the defaults, as a run records them."""
        found = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if getattr(self, f.name) is not f.default and getattr(self, f.name) != f.default
        }
        if "validation_freq" in found and not isinstance(self.validation_freq, numbers.Integral):
            found["validation_freq"] = sorted(self._listed)
        return found


@dataclass(frozen=True)
class Settings:
    """The fields of a Trainer, and arguments of fit, that control fitting and evaluation.

    See Trainer, and:

    Attributes:
        passes: The arguments of fit that limit its steps.
        first_epoch: The epoch at which training starts, counted from 0.
    """

    owner: str
    epochs: int
    batch_size: int
    shuffle: bool
    normalize: str | None
    precision: str
    jit: bool | str
    resident_bytes: int | None
    run_dir: str | Path | None
    save_minutes: float | None
    save_steps: int | None
    loss: Any
    metrics: Any
    passes: Passes = field(default_factory=Passes)
    first_epoch: int = 0


def prepare(
    recipe: Recipe,
    task: Task,
    settings: Settings,
    chosen: Sequence[Any],
    train: Rows | Stream,
    valid: Rows | Stream | None,
    seed: int,
    *,
    tables_as_0_1: bool = False,
    network: Network | None = None,
) -> tuple[Network, Any, Any]:
    """Fit the encoders of inputs and targets, build the network, and plan its training.

    Args:
        recipe: how the estimator builds its network.
        task: its kind of task.
        settings: its fields.
        chosen: its callbacks.
        train: the training data.
        valid: the validation data, or None.
        seed: for weights, dropout and the order of rows.
        tables_as_0_1: whether to encode a table as version 0.1 did, to resume a run of it.
        network: one that was trained before, to train further with its encoders; None to learn
            and build them.

    Returns:
        The network, the feed of training batches, and the feed of validation batches or None.
    """
    if network is None:
        network, few = _build(recipe, task, settings, chosen, train, seed, tables_as_0_1)
    else:
        if isinstance(train, Stream):
            network.inputs.check_stream(train.x_spec, settings.owner)
        few = _few(network.inputs, settings, train)
    network.guarded = any(map(_ends_on_nan, chosen))
    _check_lora(network, chosen)
    if not any(getattr(c, "keeps_inference", False) for c in chosen):
        inference.warn_if_ignored(recipe.owner, network.core)
    if isinstance(train, Rows):
        network.check_weights(train.weight, few)
    if compile.ignores_weights(network.core) and _is_weighted(train):
        raise ValueError(
            "sample_weight: the model's only loss is what its layers add with add_loss, which no "
            "weight changes; leave the weights out, or write a loss"
        )
    if _lacks_y(train):
        network.check_y(settings.owner, stream=isinstance(train, Stream))
    feed = _training_feed(task, settings, network, train, seed)
    _try_out(recipe, settings, network, train, few)
    network.make_variables(feed.spec)
    if strategy.current() is not None:
        distributed.check(network, feed.spec)
        distributed.check_parts(network, feed.first())
        distributed.check_callbacks(chosen)
    decided = network.decide(
        feed.spec,
        feed.rows if isinstance(feed, RowsFeed) else None,
        feed.steps,
        hooks.interval(chosen, "train", network.core.steps_per_execution),
        batch_size=settings.batch_size,
        resident_bytes=settings.resident_bytes,
        jit=distributed.jit(settings.jit),
        save_steps=None if settings.run_dir is None else settings.save_steps,
    )
    if isinstance(feed, RowsFeed):
        feed.resident = decided.resident
        feed.part = distributed.part()
    validation = None
    if valid is not None:
        every = hooks.interval(chosen, "test") is not None
        size = settings.passes.validation_batch_size
        validation = evaluation_feed(
            settings if size is None else replace(settings, batch_size=size),
            network,
            valid,
            validation=True,
            exact=every or size is not None,
            steps=settings.passes.validation_steps,
        )
        if isinstance(validation, RowsFeed):
            validation.part = distributed.part()
    network.evidence = evidence.collect(train, feed, validation, network.targets)
    return network, feed, validation


def untrained(
    recipe: Recipe,
    task: Task,
    settings: Settings,
    chosen: Sequence[Any],
    train: Rows | Stream,
    seed: int,
) -> Network:
    """Learn the encoders from some rows, and build the network; see `prepare`.

    Without targets it needs no loss, as it only predicts.
    """
    if _lacks_y(train):
        recipe = replace(recipe, defaults=_WithoutLoss(recipe.defaults))
    network, _ = _build(recipe, task, settings, chosen, train, seed, tables_as_0_1=False)
    return network


class _WithoutLoss:
    """The defaults of a task, where there are no targets for a loss."""

    def __init__(self, defaults: Defaults) -> None:
        self._defaults = defaults

    def default_loss(self, *_: Any) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._defaults, name)


def _build(
    recipe: Recipe,
    task: Task,
    settings: Settings,
    chosen: Sequence[Any],
    train: Rows | Stream,
    seed: int,
    tables_as_0_1: bool,
) -> tuple[Network, Tree]:
    """Learn the encoders from the training rows, and build the network; return it and a few rows.

    The arguments are those of `prepare`.
    """
    targets = task.learn(train)
    normalize = settings.normalize or ("standard" if recipe.ready_made else None)
    inputs = preparation.learn_inputs(train, normalize, as_0_1=tables_as_0_1)
    chosen_one = recipe.architecture.architecture
    if chosen_one is None or not chosen_one.reads_text:
        named = f"model={recipe.architecture.name!r}"
        reader = named if recipe.ready_made else f"{recipe.owner}.build_model"
        inputs.check_text(reader, ready_made=recipe.ready_made)
    architecture = recipe.architecture.with_learned(train, inputs, targets, seed)
    recipe = replace(recipe, architecture=architecture)
    if architecture.encoding is not None:
        inputs = inputs.encoded_by(architecture.encoding)
    precision = _precision(recipe, settings, train, inputs, targets)
    few = _few(inputs, settings, train)
    network = build(
        recipe,
        inputs,
        targets,
        precision=precision,
        seed=seed,
        probe=few,
        callbacks=chosen,
        texts=lambda name: preparation.TextOf(train, name),
    )
    if task.take_loss(network.core):  # y means something else than the task could know
        return _build(recipe, task, settings, chosen, train, seed, tables_as_0_1)
    task.warn_of(targets)
    return network, few


def _few(inputs: Inputs, settings: Settings, train: Rows | Stream) -> Tree:
    """Return a few training rows as the network receives them."""
    if isinstance(train, Stream):
        return preparation.probe(inputs.encode_stream(train).first()[0])
    return inputs.prepare(preparation.probe(train.x), settings.owner, quiet=True)


def _precision(
    recipe: Recipe, settings: Settings, train: Rows | Stream, inputs: Inputs, targets: Targets
) -> str:
    """Return the precision of the field, of the model that was given, or one that suits the data.

    Raises:
        ValueError: The field and the model that was given differ.
    """
    wanted, own = settings.precision, recipe.precision
    if own is not None:
        if wanted not in ("auto", own):
            raise ValueError(
                f"precision={wanted!r}: the model that was given computes in {own}; leave "
                "precision out, or make the model with another dtype"
            )
        wanted = own
    if wanted == "auto":
        wanted = _choose_precision(recipe.ready_made, train, inputs, targets)
    far = _far_from_0(inputs)
    if far and wanted != "float64":
        checks.warn(
            f"{far}: its values lie so close together, compared with their size, that {wanted} "
            "cannot tell them apart; write precision='float64', or subtract a constant from them"
        )
    return wanted


def _far_from_0(inputs: Inputs) -> str | None:
    """Return the name of an input that float32 has too few digits for, or None."""
    for name, (offset, scale) in inputs.scaling.items():
        if np.any(np.abs(offset) > MOST_DEVIATIONS * np.asarray(scale)):
            return name
    return None


def _ends_on_nan(callback: Any) -> bool:
    import keras

    from trainer.callbacks.nan_guard import NaNGuard

    return isinstance(callback, (keras.callbacks.TerminateOnNaN, NaNGuard))


def _check_lora(network: Network, callbacks: Sequence[Any]) -> None:
    import keras

    restoring = (c for c in callbacks if isinstance(c, keras.callbacks.BackupAndRestore))
    if adapters.has_lora(network.core) and any(restoring):
        raise ValueError(
            "callbacks: Keras' BackupAndRestore adds LoRA's adapters to the kernels, and a resumed "
            "training would not train them further; write run_dir='runs/first' instead"
        )


def _is_weighted(data: Rows | Stream) -> bool:
    return data.is_weighted if isinstance(data, Stream) else data.weight is not None


def _lacks_y(data: Rows | Stream) -> bool:
    return (data.y_spec if isinstance(data, Stream) else data.y) is None


def _try_out(
    recipe: Recipe, settings: Settings, network: Network, train: Rows | Stream, few: Tree
) -> None:
    """Raise an error if a custom loss or metrics do not fit the targets."""
    fields = {
        "loss": None if network.default_loss else network.core.loss,
        "metrics": settings.metrics or recipe.metrics(),
    }
    if all(value is None for value in fields.values()):
        return
    if isinstance(train, Stream):
        y = None if train.y_spec is None else arrays.concatenate([train.first()[1]])
    else:
        y = None if train.y is None else train.take(np.arange(min(train.n, PROBE_ROWS))).y
    if y is None:
        return
    widths = [width for _, width in arrays.leaves(network.spec.n_outputs, "")]
    # with as many rows as outputs, wrong shapes would go unnoticed
    rows = next((n for n in range(PROBE_ROWS, 1, -1) if n not in widths), PROBE_ROWS)
    y = preparation.probe(network.targets.encode(y, "y"), rows)
    network.try_out(fields, preparation.probe(few, rows), y)


def _choose_precision(
    ready_made: bool, data: Rows | Stream, inputs: Inputs, targets: Targets
) -> str:
    if ready_made and isinstance(targets, Numbers) and targets.scale is not None:
        # float32 has 7 digits, of which a large mean leaves too few for the deviations from it
        pairs = zip(*targets.scale, strict=True)
        if any(abs(mean) > MOST_DEVIATIONS * deviation for mean, deviation in pairs):
            return "float64"
    if ready_made and _far_from_0(inputs):
        return "float64"
    doubles = isinstance(data, Rows) and inputs.dtypes == "float64"
    vectors = doubles and len(inputs.shapes) == 1
    return "float64" if vectors and ready_made and not plan.has_gpu() else "float32"


def _training_feed(
    task: Task, settings: Settings, network: Network, data: Rows | Stream, seed: int
) -> Any:
    if isinstance(data, Stream):
        data = network.inputs.encode_stream(data)
        if data.sparse is not None and network.takes_sparse:
            data = data.sparse
        network.check_batches(data.dataset.element_spec)
        if data.y_spec is not None and not isinstance(network.targets, Classes):
            network.check_finite(data.first()[1])
        weights = task.stream_weights(network.targets, data)
        return _stream_feed(
            preparation.encode_stream(
                data, network.targets, weights, mean_weight=network.default_loss
            ),
            _steps_per_epoch(settings, network, data.steps),
        )
    network.check_rows(data.n, settings.batch_size)
    steps = -(-data.n // settings.batch_size)
    x = network.inputs.prepare(data.x, settings.owner, quiet=True, training=True)
    y = None if data.y is None else network.encode(data.y, "y")
    weight = task.row_weights(network.targets, y, data.weight)
    return RowsFeed(
        network.batch(x, y, weight),
        batch_size=settings.batch_size,
        float_dtype=network.float_dtype,
        shuffle=settings.shuffle,
        seed=seed,
        steps_per_epoch=_steps_per_epoch(settings, network, steps),
        first_epoch=settings.first_epoch,
    )


def _steps_per_epoch(settings: Settings, network: Network, steps: int | None) -> int | None:
    """Return the most steps of an epoch, or None if an epoch is a pass.

    Args:
        settings: The estimator's fields.
        network: The network to train.
        steps: The steps of a pass, or None if unknown.
    """
    limits = [n for n in (_limited_steps(settings), settings.passes.steps_per_epoch) if n]
    if not limits:
        return None
    found, size = min(limits), network.core.steps_per_execution
    if found % size:
        checks.warn(
            f"steps_per_epoch={found}: steps_per_execution={size}, and an epoch has whole "
            f"executions, as in Keras: {found + size - found % size} steps"
        )
        found += size - found % size
    if steps is not None and steps % found:
        left = steps % found if found < steps else steps
        checks.warn(
            f"steps_per_epoch={found}: a pass over the data has {steps} steps, and an epoch in "
            f"which it ends has only {left}, as in Keras"
        )
    return found


def check_range(settings: Settings, end: int, done: int, train: Rows | Stream) -> None:
    """Check that there are epochs to train, and batches for them.

    Args:
        settings: The fields that control fitting.
        end: The epoch before which training ends, counted from 0.
        done: The epochs of the fits before.
        train: The training data.

    Raises:
        ValueError: There are none; the message says what to write.
    """
    first, steps = settings.first_epoch, settings.passes.steps_per_epoch
    if first >= end:
        raise ValueError(
            f"initial_epoch={first}: training ends before epoch {end}, counted from 0, as epochs="
            f"{end}; write a smaller initial_epoch, or epochs={first + 1} for one more"
        )
    if first < done:
        raise ValueError(
            f"initial_epoch={first}: the model was trained for {done} epochs already; leave it "
            f"out, or write initial_epoch={done}"
        )
    if isinstance(train, Stream) and train.read_once and steps is None and end - first > 1:
        raise ValueError(
            f"x is a Python iterator, which gives its batches only once, and epochs={end - first}: "
            "pass steps_per_epoch to fit if it has batches for all of them; or a "
            "keras.utils.PyDataset, or tf.data.Dataset.from_generator(function, ...)"
        )


def limited_epochs(settings: Settings, epochs: int) -> int:
    """The epoch before which a fit ends: `epochs`, or keras.config.max_epochs(), if less.

    Raises:
        ValueError: There is a run_dir: its run would be taken for one of all epochs.
    """
    import keras

    limit = keras.config.max_epochs()
    if not limit or limit >= epochs:
        return epochs
    _refuse_run(settings, "max_epochs", limit)
    checks.warn(f"epochs={epochs}: only {limit} are trained, as keras.config.set_max_epochs says")
    return int(limit)


def _limited_steps(settings: Settings) -> int | None:
    """The most steps of an epoch, keras.config.max_steps_per_epoch(), for debugging, or None."""
    import keras

    limit = keras.config.max_steps_per_epoch()
    if not limit:
        return None
    _refuse_run(settings, "max_steps_per_epoch", limit)
    checks.warn(
        f"every pass over the data ends after {limit} steps, as "
        "keras.config.set_max_steps_per_epoch says"
    )
    return int(limit)


def _refuse_run(settings: Settings, name: str, limit: int) -> None:
    if settings.run_dir is not None:
        raise ValueError(
            f"run_dir={str(settings.run_dir)!r}: keras.config.{name}() is {limit}, and a shortened "
            f"run would be taken for a whole one; write keras.config.set_{name}(None) (or unset "
            f"KERAS_{name.upper()}), or run_dir=None"
        )


def evaluation_feed(
    settings: Settings,
    network: Network,
    data: Rows | Stream,
    *,
    validation: bool = False,
    exact: bool = False,
    steps: int | None = None,
) -> Any:
    """The feed of batches to evaluate.

    Args:
        settings: the estimator's fields.
        network: the network to evaluate.
        data: the data to evaluate it on.
        validation: whether these are the validation data of a fit; used in error messages.
        exact: whether each step has settings.batch_size rows, as a callback that sees every batch
            needs.
        steps: the most steps; None for all.
    """
    network.check_evaluates(settings.owner)
    limits = [n for n in (_limited_steps(settings), steps) if n]
    limit = min(limits) if limits else None
    name = "validation_data: " if validation else ""
    if _lacks_y(data):
        streamed = isinstance(data, Stream)
        network.check_y(settings.owner, stream=streamed, name=name, hook="test_step")
    if isinstance(data, Stream):
        network.inputs.check_stream(data.x_spec, settings.owner, f"{name}x")
        data = network.inputs.encode_stream(data)
        network.check_batches(data.dataset.element_spec, f"{name}x")
        goes_on = validation and data.read_once  # each validation reads the next batches
        if limit is not None and not goes_on:
            data = data.first_batches(limit)
        if validation and isinstance(network.targets, Classes) and not data.read_once:
            for y in data.part(1):  # report unknown labels now, not at the end of an epoch
                network.targets.encode(arrays.concatenate([y]), f"{name}y")
        return _stream_feed(
            preparation.encode_stream(
                data, network.targets, None, mean_weight=network.default_loss
            ),
            limit if goes_on else None,
        )
    if limit is not None and limit * settings.batch_size < data.n:
        data = data.take(np.arange(limit * settings.batch_size))
    network.check_rows(data.n, settings.batch_size, f"{name}x")
    x = network.inputs.prepare(data.x, settings.owner, f"{name}x")
    y = None if data.y is None else network.encode(data.y, f"{name}y")
    network.check_weights(data.weight, map_tree(lambda a: a[:2], x), f"{name}sample_weight")
    return network.evaluation_rows(
        network.batch(x, y, data.weight),
        settings.batch_size,
        settings.resident_bytes,
        exact=exact,
    )


def evaluate(network: Network, feed: Any, callbacks: Sequence[Any] = ()) -> dict[str, float]:
    """The loss and every metric over a feed, by name.

    Args:
        network: the network to evaluate.
        feed: the batches.
        callbacks: those that see this evaluation.
    """
    if not callbacks:
        return network.evaluate(feed)
    import keras

    listed = keras.callbacks.CallbackList(
        list(callbacks), model=network.whole, epochs=1, steps=feed.steps, verbose=0
    )
    try:
        every = hooks.interval(listed.callbacks, "test", network.core.steps_per_execution)
        return network.evaluate(feed, chunk=every or 64, callbacks=listed)
    finally:
        _detach(listed)


def predicted_by_step(
    network: Network, outputs: Iterator[Tree], steps: int | None, callbacks: Sequence[Any]
) -> Iterator[Tree]:
    """Yield the outputs of step after step, and call the hooks of callbacks around them.

    Args:
        network: the network that predicts.
        outputs: those of each step.
        steps: their number, or None if it is unknown.
        callbacks: those that see this prediction; they can set `model.stop_predicting`.
    """
    if not callbacks:
        yield from outputs
        return
    import keras

    model = network.whole
    listed = keras.callbacks.CallbackList(
        list(callbacks), model=model, epochs=1, steps=steps, verbose=0
    )
    size = network.core.steps_per_execution
    try:
        model.stop_predicting = False
        listed.on_predict_begin()
        for number in itertools.count(0, size):
            part: list[Tree] = []
            while len(part) < size:
                if not part:  # begins before its first step, as in Keras
                    if steps is not None and number >= steps:
                        break
                    listed.on_predict_batch_begin(number)
                found = next(outputs, None)
                if found is None:
                    break
                part.append(found)
            if not part:
                break
            joined = arrays.concatenate(part)
            listed.on_predict_batch_end(number + size - 1, {"outputs": joined})
            yield joined
            if model.stop_predicting or len(part) < size:
                break
        listed.on_predict_end()
    finally:
        _detach(listed)


@contextlib.contextmanager
def run_of(
    settings: Settings,
    fields: dict[str, Any],
    architecture: dict[str, Any],
    written: dict[str, str],
    train: Rows | Stream,
    valid: Rows | Stream | None,
    seed: int,
    resume: bool | str,
) -> Iterator[Run | None]:
    """Open the run directory for the duration of a fit; yields None without the field run_dir.

    Args:
        settings: the fields that control fitting.
        fields: all fields of the estimator, resolved; they are recorded in the run.
        architecture: the name of the architecture, and its values.
        written: the digests of the estimator's code; see trainer.runs.code.
        train: the training data.
        valid: the validation data, or None.
        seed: for a new run.
        resume: as in Trainer.fit.

    Raises:
        RunError, BadState: the folder cannot be used, or holds no state to resume from.
    """
    if settings.run_dir is None:
        if resume is True:
            raise ValueError("resume=True: there is no run_dir; write run_dir='runs/first'")
        yield None
        return
    if not strategy.is_chief():
        yield None  # the chief's run is that of all
        return
    description = {
        "class": settings.owner,
        "fields": {name: described(value) for name, value in fields.items()},
        "architecture": architecture,
        "code": written,
        "tables": TABLES,
        "data": {"training": fingerprint.of(train), "validation": fingerprint.of(valid)},
    }
    own_seed = not isinstance(fields["random_state"], numbers.Integral)
    try:
        run = Run.open(settings.run_dir, description, resume, seed, own_seed=own_seed)
    except Exception as error:
        _share({"error": str(error)})
        raise
    try:
        yield run
    except BaseException as error:
        run.log(f"ended by {type(error).__name__}: {message_of(error)}")
        if isinstance(error, BadState) and str(run.path) not in str(error):
            raise BadState(
                f"run_dir={str(run.path)!r}: its state cannot be used: {error}; write another "
                "run_dir, or delete the folder, to start over"
            ) from error
        raise
    finally:
        run.close()


def agreed_start(
    run: Run | None, seed: int, fields: dict[str, Any], train: Rows | Stream
) -> tuple[int, bool]:
    """Return the seed, and whether tables are encoded as version 0.1 did, that all workers use.

    Args:
        run: The run directory; None without one, or on a worker that is not the chief.
        seed: The seed that this worker drew.
        fields: All fields of the estimator, resolved.
        train: The training data.

    Raises:
        RunError: The chief cannot use its run directory.
        ValueError: The workers were given different data or fields.
    """
    own = {
        "seed": seed if run is None else run.seed,
        "tables_as_0_1": run is not None and run.tables_as_0_1,
    }
    distribution = strategy.current()
    if distribution is None or distribution.workers == 1:
        return own["seed"], bool(own["tables_as_0_1"])
    found = _share(own)
    if "error" in found:
        raise RunError(f"the chief of the workers cannot begin: {found['error']}")
    compared = {name: described(v) for name, v in fields.items() if name not in FREE}
    if isinstance(compared.get("callbacks"), list):
        # a callback may be told which worker it is on
        compared["callbacks"] = [
            {k: v for k, v in c.items() if k != "arguments"} if isinstance(c, dict) else c
            for c in compared["callbacks"]
        ]
    if not isinstance(compared.get("random_state"), int):
        compared.pop("random_state", None)  # all use the chief's seed
    for name, value in (("fields", compared), ("data", fingerprint.of(train))):
        text = json.dumps(value, sort_keys=True, default=str)
        if not strategy.alike(hashlib.sha256(text.encode()).digest()):
            raise ValueError(
                f"strategy: the {name} of this fit differ between the workers, which all must "
                "call fit with the same arguments; each gets its own rows of every batch"
            )
    return found["seed"], bool(found["tables_as_0_1"])


def _share(values: dict[str, Any]) -> dict[str, Any]:
    """Return the chief's values, in JSON, on every worker."""
    content = strategy.share(json.dumps(values).encode())
    found: dict[str, Any] = json.loads(content or b"{}")
    return found


def _shared_state(found: State | None) -> State | None:
    """Return the state that the chief has found, on every worker."""
    distribution = strategy.current()
    if distribution is None or distribution.workers == 1:
        return found
    content = strategy.share(None if found is None else state_file.to_bytes(*found))
    return None if content is None else state_file.from_bytes(content)


def give_back(session: Session, settings: Settings, own: OwnState, run: Run | None) -> bool:
    """Restore a prepared estimator from its finished run, without training.

    The weights and the history come from model.keras; callbacks, and anything else that is not in
    that file, come from the last saved state.

    Args:
        session: of the fit.
        settings: the estimator's fields.
        own: the user-defined state.
        run: the run directory, or None.

    Returns:
        False if there is no finished run, or, with a warning, if its model.keras does not fit the
        model: the run must then be finished again from its last state.

    Raises:
        RunError: the file does not fit, and there is no saved state.
    """
    from trainer.callbacks.callback import Callback

    network = session.network
    model = strategy.share(None if run is None else run.model)
    if model is None:
        return False
    found = _shared_state(None if run is None else run.found)
    session = replace(session, given_back=True)
    listed = _listed(session, session.callbacks)
    plugins = [c for c in listed.callbacks if isinstance(c, Callback)]
    checkpointer = _checkpointer(session, settings, own, found)
    try:
        for plugin in plugins:
            plugin.session = session  # type: ignore[misc]
            plugin.setup(session)
        for callback in listed.callbacks if found is not None else ():
            if hasattr(callback, "load_state_dict"):  # it expects on_train_begin to come first
                callback.on_train_begin()
        checkpointer.start()
        try:
            saving.load_weights(network, model)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            if run is not None:
                run.refuse_model(error)
            return False
        session.history.take(saving.history_of(model))
    finally:
        network.program.watch = None
        _let_go(plugins, listed)
    return True


def train(
    session: Session,
    settings: Settings,
    own: OwnState,
    run: Run | None,
    tune: Callable[[], None],
    begin: Callable[[], None],
    watched: Watched | None = None,
) -> None:
    """Train a prepared network, with its callbacks, history, progress display and run.

    Args:
        session: of the fit.
        settings: the estimator's fields.
        own: the user-defined state.
        run: the run directory, or None.
        tune: called when training has ended: see Task.tune.
        begin: called when every callback has accepted the fit, before it trains.
        watched: notified of the epochs, and may end the training; or None.
    """
    from trainer.callbacks.callback import Callback
    from trainer.callbacks.epoch_tasks import EpochTasks
    from trainer.callbacks.progress import Progress
    from trainer.runs.run_log import RunLog

    network, feed = session.network, session.feed
    chunk = network.plan.chunk if network.plan is not None else 1
    shown: list[Any] = []
    if not any(isinstance(callback, Progress) for callback in session.callbacks):
        shown.append(Progress(verbose=session.verbose if strategy.is_chief() else 0))
    if run is not None:
        run.decided(str(network.plan))
        warn_of_forgotten(session.callbacks)
        shown.append(RunLog(run=run))
    reporting = EpochTasks(watched=watched)
    if watched is not None:
        shown.append(reporting)
    listed = _listed(session, [*session.callbacks, *shown])
    plugins = [c for c in listed.callbacks if isinstance(c, Callback)]
    interrupts = session.interrupts
    found = _shared_state(None if run is None else run.found)
    with interrupts, _appending(listed.callbacks if found is not None else ()):
        checkpointer = _checkpointer(
            session,
            settings,
            own,
            found,
            folder=None if run is None else run.states,
            chunk=chunk,
        )
        reporting.resumes = checkpointer.where()[1] > 0

        def validate(epoch: int) -> dict[str, float]:
            if not settings.passes.validates(epoch):
                return {}
            seen = [*session.callbacks, *shown]
            every = hooks.interval(seen, "test", network.core.steps_per_execution)
            return loop.evaluate(
                network.program, session.validation, chunk=every or chunk, callbacks=listed
            )

        try:
            for callback in plugins:
                callback.session = session  # type: ignore[misc]
                callback.setup(session)
            begin()
            with running(), distributed.on_replicas(network, _known(network, session.callbacks)):
                network.share_graphs(feed.spec, hooks.traced(session.callbacks))
                distributed.warn_of_own(lambda: [v.name for v in own.variables("start")])
                ended = loop.train(
                    network.program,
                    feed,
                    epochs=session.epochs,
                    chunk=chunk,
                    callbacks=listed,
                    validate=None if session.validation is None else validate,
                    history=session.history,
                    checkpointer=checkpointer,
                    first_epoch=settings.first_epoch,
                )
        finally:
            for each in (feed, session.validation):
                if isinstance(each, StreamFeed):
                    each.close()
            network.program.watch = None
            _let_go(plugins, listed)
    interrupts.received = _signal_of_any(interrupts.received)
    if interrupts.received != signal.SIGTERM:  # after which there may be little time left
        tune()
    if interrupts.received is not None:
        if run is not None:
            run.stop(signal.Signals(interrupts.received).name)
        interrupts.pass_on()
    elif run is not None:
        run.finish(session.history, session.save, None if ended else interrupts.asked)


def _signal_of_any(received: int | None) -> int | None:
    """Return the signal that ended the training of all workers: whichever of them received it."""
    none = signal.NSIG  # larger than any
    found = strategy.agree(none if received is None else int(received))
    return None if found == none else int(found)


def _listed(session: Session, callbacks: Sequence[Any]) -> Any:
    import keras

    if not strategy.is_chief():
        callbacks = [c for c in callbacks if not isinstance(c, distributed.writers())]
    return keras.callbacks.CallbackList(
        list(callbacks),
        model=session.network.whole,
        epochs=session.epochs,
        steps=session.feed.steps,
        verbose=0,
    )


def _checkpointer(
    session: Session,
    settings: Settings,
    own: OwnState,
    found: State | None,
    *,
    folder: StateFolder | None = None,
    chunk: int = 1,
) -> Checkpointer:
    network, feed = session.network, session.feed
    network.program.watch = own

    def look(phase: str) -> None:
        of_phase = feed if phase == "train" else session.validation
        if of_phase is not None:
            network.program.look(phase, of_phase.spec, settings.batch_size)

    def replay(epochs: int) -> None:
        if session.given_back:
            return  # restoring a finished run reads no batches
        feed.replay(epochs)
        if session.validation is not None:
            first = settings.first_epoch
            passes = map(settings.passes.validates, range(first, first + epochs))
            session.validation.replay(sum(passes))

    return Checkpointer(
        network.core,
        session.callbacks,
        session.history,
        None if session.given_back else feed,
        replay,
        session.interrupts,
        epochs=session.epochs,
        first_epoch=settings.first_epoch,
        folder=folder,
        minutes=settings.save_minutes,
        steps=settings.save_steps,
        chunk=chunk,
        found=found,
        warm_up=lambda: network.program.warm_up(feed.spec, settings.batch_size),
        own=own,
        look=look,
    )


@contextlib.contextmanager
def _appending(callbacks: Sequence[Any]) -> Iterator[None]:
    """Within this context, Keras' CSVLoggers append to their files instead of emptying them.

    For a resumed run, whose earlier rows would be lost. Not longer: `append` is an argument, and
    runs are compared by these.
    """
    import keras

    emptying = [c for c in callbacks if isinstance(c, keras.callbacks.CSVLogger) and not c.append]
    for callback in emptying:
        callback.append = True
    try:
        yield
    finally:
        for callback in emptying:
            callback.append = False


def _let_go(plugins: Sequence[Any], listed: Any) -> None:
    """Tear down the plugins, and detach all callbacks from the model."""
    for plugin in plugins:
        if plugin.session is not None:
            plugin.teardown()
            plugin.session = None
    _detach(listed)


def _detach(listed: Any) -> None:
    for callback in listed.callbacks:
        # Otherwise clone and pickle would copy the model along with the callback. Not by set_model:
        # callbacks override it to look at the model.
        if "_model" in vars(callback):
            callback._model = None
        callback_state.fit_ended(callback)


def own_state(
    owner: HasExtraState,
    network: Network,
    callbacks: Sequence[Any],
    *,
    takes_back: bool,
    reported: bool,
) -> OwnState:
    """The user-defined state of a fit.

    Args:
        owner: the estimator.
        network: its network.
        callbacks: of the fit.
        takes_back: whether `owner` overrides set_extra_state.
        reported: whether to warn about state that cannot be saved.
    """
    return OwnState(
        owner,
        network.core,
        callbacks,
        lambda: _known(network, callbacks),
        eager=network.program.eager,
        takes_back=takes_back,
        reported=reported,
    )


def _known(network: Network, callbacks: Sequence[Any]) -> list[Any]:
    """The variables of a training step that are saved elsewhere, or never change."""
    program = network.program
    scaling = [] if program.transform is None else program.transform.variables
    added = [v for callback in hooks.traced(callbacks) for v in callback.traced_variables()]
    return [
        *variables.variables(network.core),
        *scaling,
        *added,
        program.streamed,
        *strategy.tokens(),
    ]


def _stream_feed(stream: Stream, steps_per_epoch: int | None = None) -> StreamFeed:
    return StreamFeed(
        stream.dataset,
        steps=stream.steps,
        around_epoch=stream.around_epoch,
        reraise=stream.reraise,
        leave=stream.stop_workers,
        first=stream.first,
        steps_per_epoch=steps_per_epoch,
    )
