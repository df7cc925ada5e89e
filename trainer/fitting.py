"""The steps of a fit: from collected data to a trained network.

Responsible for their order: learn, build, feed, decide, train. Not for the public methods (`base`),
nor for the individual steps, which have their own modules.
"""

from __future__ import annotations

import contextlib
import numbers
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
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
from trainer.engine.backend import plan
from trainer.engine.feeds import RowsFeed, StreamFeed
from trainer.network import adapters, compile, inference
from trainer.network.build import Recipe, build
from trainer.network.network import Network
from trainer.runs import fingerprint
from trainer.runs.checkpointing import Checkpointer, State, warn_of_forgotten
from trainer.runs.directory import TABLES, Run, described
from trainer.state import variables
from trainer.state.isolation import running, turn
from trainer.state.own_state import HasExtraState, OwnState
from trainer.state.state_file import BadState, StateFolder
from trainer.tasks import Task

if TYPE_CHECKING:
    from trainer.callbacks.callback import Session
    from trainer.callbacks.epoch_tasks import Watched

MOST_DEVIATIONS = 1e4  # of y's mean from 0 in float32: its last digit is then 0.1% of a deviation


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
class Settings:
    """The fields of a Trainer that control fitting and evaluation: see Trainer."""

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

    Returns:
        The network, the feed of training batches, and the feed of validation batches or None.
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
    precision = settings.precision
    if precision == "auto":
        precision = _choose_precision(recipe.ready_made, train, inputs, targets)
    few: Any
    if isinstance(train, Stream):
        few = preparation.probe(inputs.encode_stream(train).first()[0])
    else:
        few = inputs.prepare(preparation.probe(train.x), settings.owner, quiet=True)
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
    _limited_steps(settings)
    feed = _training_feed(task, settings, network, train, seed)
    _try_out(recipe, settings, network, train, few)
    network.make_variables(feed.spec)
    decided = network.decide(
        feed.spec,
        feed.rows if isinstance(feed, RowsFeed) else None,
        feed.steps,
        hooks.interval(chosen, "train"),
        batch_size=settings.batch_size,
        resident_bytes=settings.resident_bytes,
        jit=settings.jit,
        save_steps=None if settings.run_dir is None else settings.save_steps,
    )
    if isinstance(feed, RowsFeed):
        feed.resident = decided.resident
    validation = None
    if valid is not None:
        every = hooks.interval(chosen, "test") is not None
        validation = evaluation_feed(settings, network, valid, validation=True, exact=every)
    network.evidence = evidence.collect(train, feed, validation, targets)
    return network, feed, validation


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
    doubles = isinstance(data, Rows) and inputs.dtypes == "float64"
    vectors = doubles and len(inputs.shapes) == 1
    return "float64" if vectors and ready_made and not plan.has_gpu() else "float32"


def _training_feed(
    task: Task, settings: Settings, network: Network, data: Rows | Stream, seed: int
) -> Any:
    if isinstance(data, Stream):
        data = network.inputs.encode_stream(data)
        network.check_batches(data.dataset.element_spec)
        if data.y_spec is not None and not isinstance(network.targets, Classes):
            network.check_finite(data.first()[1])
        weights = task.stream_weights(network.targets, data)
        return _stream_feed(
            preparation.encode_stream(
                data, network.targets, weights, mean_weight=network.default_loss
            )
        )
    network.check_rows(data.n, settings.batch_size)
    x = network.inputs.prepare(data.x, settings.owner, quiet=True, training=True)
    y = None if data.y is None else network.encode(data.y, "y")
    weight = task.row_weights(network.targets, y, data.weight)
    return RowsFeed(
        network.batch(x, y, weight),
        batch_size=settings.batch_size,
        float_dtype=network.float_dtype,
        shuffle=settings.shuffle,
        seed=seed,
    )


def limited_epochs(settings: Settings) -> int:
    """The epochs of a fit: the field, or keras.config.max_epochs(), for debugging, if less.

    Raises:
        ValueError: There is a run_dir: its run would be taken for one of all epochs.
    """
    import keras

    limit = keras.config.max_epochs()
    if not limit or limit >= settings.epochs:
        return settings.epochs
    _refuse_run(settings, "max_epochs", limit)
    warnings.warn(
        f"epochs={settings.epochs}: only {limit} are trained, as keras.config.set_max_epochs says",
        stacklevel=3,
    )
    return int(limit)


def _limited_steps(settings: Settings) -> int | None:
    """The most steps of an epoch, keras.config.max_steps_per_epoch(), for debugging, or None."""
    import keras

    limit = keras.config.max_steps_per_epoch()
    if not limit:
        return None
    _refuse_run(settings, "max_steps_per_epoch", limit)
    warnings.warn(
        f"every pass over the data ends after {limit} steps, as "
        "keras.config.set_max_steps_per_epoch says",
        stacklevel=4,
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
) -> Any:
    """The feed of batches to evaluate.

    Args:
        settings: the estimator's fields.
        network: the network to evaluate.
        data: the data to evaluate it on.
        validation: whether these are the validation data of a fit; used in error messages.
        exact: whether each step has settings.batch_size rows, as a callback that sees every batch
            needs.
    """
    network.check_evaluates(settings.owner)
    limit = _limited_steps(settings)
    name = "validation_data: " if validation else ""
    if isinstance(data, Stream):
        network.inputs.check_stream(data.x_spec, settings.owner, f"{name}x")
        data = network.inputs.encode_stream(data)
        network.check_batches(data.dataset.element_spec, f"{name}x")
        if validation and isinstance(network.targets, Classes):
            for y in data.part(1):  # report unknown labels now, not at the end of an epoch
                network.targets.encode(arrays.concatenate([y]), f"{name}y")
        return _stream_feed(
            preparation.encode_stream(data, network.targets, None, mean_weight=network.default_loss)
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
    description = {
        "class": settings.owner,
        "fields": {name: described(value) for name, value in fields.items()},
        "architecture": architecture,
        "code": written,
        "tables": TABLES,
        "data": {"training": fingerprint.of(train), "validation": fingerprint.of(valid)},
    }
    own_seed = not isinstance(fields["random_state"], numbers.Integral)
    run = Run.open(settings.run_dir, description, resume, seed, own_seed=own_seed)
    try:
        yield run
    except BaseException as error:
        run.log(f"ended by {type(error).__name__}: {error}")
        if isinstance(error, BadState) and str(run.path) not in str(error):
            raise BadState(
                f"run_dir={str(run.path)!r}: its state cannot be used: {error}; write another "
                "run_dir, or delete the folder, to start over"
            ) from error
        raise
    finally:
        run.close()


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
    if run is None or run.model is None:
        return False
    session = replace(session, given_back=True)
    listed = _listed(session, session.callbacks)
    plugins = [c for c in listed.callbacks if isinstance(c, Callback)]
    checkpointer = _checkpointer(session, settings, own, run.found)
    try:
        for plugin in plugins:
            plugin.session = session  # type: ignore[misc]
            plugin.setup(session)
        for callback in listed.callbacks if run.found is not None else ():
            if hasattr(callback, "load_state_dict"):  # it expects on_train_begin to come first
                callback.on_train_begin()
        checkpointer.start()
        try:
            saving.load_weights(network, run.model)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            run.refuse_model(error)
            return False
        session.history.records[:] = saving.history_of(run.model).records
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
    watched: Watched | None = None,
) -> None:
    """Train a prepared network, with its callbacks, history, progress display and run.

    Args:
        session: of the fit.
        settings: the estimator's fields.
        own: the user-defined state.
        run: the run directory, or None.
        tune: called when training has ended: see Task.tune.
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
        shown.append(Progress(verbose=session.verbose))
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
    with interrupts:
        checkpointer = _checkpointer(
            session,
            settings,
            own,
            None if run is None else run.found,
            folder=None if run is None else run.states,
            chunk=chunk,
        )
        reporting.resumes = checkpointer.where()[1] > 0

        def validate() -> dict[str, float]:
            every = hooks.interval(listed.callbacks, "test") is not None
            return loop.evaluate(
                network.program, session.validation, chunk=1 if every else chunk, callbacks=listed
            )

        try:
            for callback in plugins:
                callback.session = session  # type: ignore[misc]
                callback.setup(session)
            network.share_graphs(feed.spec, hooks.traced(session.callbacks))
            with running():
                ended = loop.train(
                    network.program,
                    feed,
                    epochs=session.epochs,
                    chunk=chunk,
                    callbacks=listed,
                    validate=None if session.validation is None else validate,
                    history=session.history,
                    checkpointer=checkpointer,
                )
        finally:
            network.program.watch = None
            _let_go(plugins, listed)
    if interrupts.received != signal.SIGTERM:  # after which there may be little time left
        tune()
    if interrupts.received is not None:
        if run is not None:
            run.stop(signal.Signals(interrupts.received).name)
        interrupts.pass_on()
    elif run is not None:
        run.finish(session.history, session.save, None if ended else interrupts.asked)


def _listed(session: Session, callbacks: Sequence[Any]) -> Any:
    import keras

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

    return Checkpointer(
        network.core,
        session.callbacks,
        session.history,
        # restoring a finished run reads no batches
        [] if session.given_back else [feed, session.validation],
        session.interrupts,
        epochs=session.epochs,
        folder=folder,
        minutes=settings.save_minutes,
        steps=settings.save_steps,
        chunk=chunk,
        found=found,
        warm_up=lambda: network.program.warm_up(feed.spec, settings.batch_size),
        own=own,
        look=look,
    )


def _let_go(plugins: Sequence[Any], listed: Any) -> None:
    """Tear down the plugins, and detach all callbacks from the model."""
    for plugin in plugins:
        if plugin.session is not None:
            plugin.teardown()
            plugin.session = None
    for callback in listed.callbacks:
        # Otherwise clone and pickle would copy the model along with the callback. Not by set_model:
        # callbacks override it to look at the model.
        if "_model" in vars(callback):
            callback._model = None


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
    return [*variables.variables(network.core), *scaling, *added, program.streamed]


def _stream_feed(stream: Stream) -> StreamFeed:
    return StreamFeed(
        stream.dataset,
        steps=stream.steps,
        around_epoch=stream.around_epoch,
        reraise=stream.reraise,
        leave=stream.stop_workers,
        first=stream.first,
    )
