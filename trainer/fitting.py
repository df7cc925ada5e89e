"""The steps of a fit: from collected data to a trained network.

Responsible for their order: learn, build, feed, decide, train. Not for what people call (`base`),
nor for any one step, which have modules of their own.
"""

from __future__ import annotations

import contextlib
import numbers
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer import arrays, fingerprint, keeping, preparation, saving
from trainer.arrays import Tree
from trainer.building import build
from trainer.doctor import evidence
from trainer.engine import decisions, hooks, loop
from trainer.engine.feeds import RowsFeed, StreamFeed
from trainer.engine.interrupts import Interrupts
from trainer.inputs import Inputs
from trainer.keeping import Keeper, warn_of_forgotten
from trainer.models import ModelSpec
from trainer.network import Network, computing_in
from trainer.own_state import OwnState
from trainer.preparation import PROBE_ROWS, Rows
from trainer.runs import Run
from trainer.statefile import BadState
from trainer.streams import Stream
from trainer.targets import Classes

if TYPE_CHECKING:
    from trainer.base import Trainer


def draw_seed(state: Any) -> int:
    """The seed of a fit: the field random_state, or one drawn from it.

    Raises:
        ValueError: it is negative, or no seed.
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
            raise ValueError("True is no seed")
        return int(check_random_state(state).randint(2**31 - 1))
    except ValueError as error:
        raise ValueError(
            f"random_state={state!r}: must be a whole number, a numpy RandomState or None"
        ) from error


def prepare(
    trainer: Trainer,
    chosen: Sequence[Any],
    train: Rows | Stream,
    valid: Rows | Stream | None,
    seed: int,
) -> tuple[Network, Any, Any]:
    """Learn inputs and targets, build the network, and decide how to train it.

    Args:
        trainer: whose fields and hooks say how.
        chosen: its callbacks.
        train: the training data.
        valid: the validation data, or None.
        seed: of weights, dropout and the order of rows.

    Returns:
        The network, the feed of training batches, and that of validation batches or None.
    """
    targets = trainer._learn_targets(train)
    normalize = trainer.normalize or ("standard" if trainer._ready_made else None)
    inputs = preparation.learn_inputs(train, normalize)
    precision = _choose_precision(trainer, train, inputs)
    few: Any
    if isinstance(train, Stream):
        few = preparation.probe(train.first()[0])
    else:
        few = inputs.prepare(preparation.probe(train.x), type(trainer).__name__)
    spec = ModelSpec(inputs.shapes, targets.n_outputs, targets.task)
    network = build(
        trainer,
        inputs,
        targets,
        spec,
        precision=precision,
        seed=seed,
        probe=few,
        callbacks=chosen,
    )
    feed = _training_feed(trainer, network, train, seed)
    _try_out(trainer, network, train, few)
    network.make_variables(feed.spec)
    rows = feed.rows if isinstance(feed, RowsFeed) else None
    often = hooks.interval(chosen, "train")
    decided = network.decide(trainer, feed.spec, rows, feed.steps, often)
    if isinstance(feed, RowsFeed):
        feed.resident = decided.resident
    validation = None
    if valid is not None:
        every = hooks.interval(chosen, "test") is not None
        validation = evaluation_feed(trainer, network, valid, validation=True, every_batch=every)
    network.evidence = evidence.collect(train, feed, validation, targets)
    return network, feed, validation


def _try_out(trainer: Trainer, network: Network, train: Rows | Stream, few: Tree) -> None:
    """Refuse a loss or metrics that do not fit the targets; the defaults do."""
    fields = {
        "loss": None if network.default_loss else trainer.loss or trainer.configure_loss(),
        "metrics": trainer.metrics or trainer.configure_metrics(),
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
    # as many rows as outputs would let shapes pass that do not fit
    rows = next((n for n in range(PROBE_ROWS, 1, -1) if n not in widths), PROBE_ROWS)
    y = preparation.probe(network.targets.encode(y, "y"), rows)
    network.try_out(fields, preparation.probe(few, rows), y)


def _choose_precision(trainer: Trainer, data: Rows | Stream, inputs: Inputs) -> str:
    if trainer.precision != "auto":
        return trainer.precision
    doubles = isinstance(data, Rows) and inputs.dtypes == "float64"
    vectors = doubles and len(inputs.shapes) == 1
    return "float64" if vectors and trainer._ready_made and not decisions.has_gpu() else "float32"


def _training_feed(trainer: Trainer, network: Network, data: Rows | Stream, seed: int) -> Any:
    if isinstance(data, Stream):
        weights = trainer._stream_class_weights(network, data)
        return _stream_feed(
            preparation.encode_stream(
                data, network.targets, weights, mean_weight=network.default_loss
            )
        )
    x = network.inputs.prepare(data.x, type(trainer).__name__)
    y = None if data.y is None else network.targets.encode(data.y, "y")
    weight = trainer._with_class_weight(network, y, data.weight)
    return RowsFeed(
        network.batch(x, y, weight),
        batch_size=trainer.batch_size,
        float_dtype=network.float_dtype,
        shuffle=trainer.shuffle,
        seed=seed,
    )


def evaluation_feed(
    trainer: Trainer,
    network: Network,
    data: Rows | Stream,
    *,
    validation: bool = False,
    every_batch: bool = False,
) -> Any:
    """The feed of batches to evaluate.

    Args:
        trainer: whose fields say how.
        network: what is evaluated.
        data: on what.
        validation: whether it is during a fit; errors name it so.
        every_batch: whether a callback must see the batches.
    """
    name = "validation_data: " if validation else ""
    if isinstance(data, Stream):
        network.inputs.check_stream(data.x_spec, type(trainer).__name__, f"{name}x")
        if validation and isinstance(network.targets, Classes):
            for y in data.part(1):  # an unknown label ends no epoch: it is found before
                network.targets.encode(arrays.concatenate([y]), f"{name}y")
        return _stream_feed(
            preparation.encode_stream(data, network.targets, None, mean_weight=network.default_loss)
        )
    x = network.inputs.prepare(data.x, type(trainer).__name__, f"{name}x")
    y = None if data.y is None else network.targets.encode(data.y, f"{name}y")
    return network.evaluation_rows(
        network.batch(x, y, data.weight),
        trainer.batch_size,
        trainer.resident_bytes,
        every_batch=every_batch,
    )


@contextlib.contextmanager
def run_of(
    trainer: Trainer,
    train: Rows | Stream,
    valid: Rows | Stream | None,
    seed: int,
    resume: bool | str,
) -> Iterator[Run | None]:
    """The run directory of a fit while it lasts, or None without the field run_dir.

    Raises:
        RunError, BadState: the folder must not be used, or holds no state to go on from.
    """
    if trainer.run_dir is None:
        if resume is True:
            raise ValueError("resume=True: there is no run_dir; write run_dir='runs/first'")
        yield None
        return
    data = {"training": fingerprint.of(train), "validation": fingerprint.of(valid)}
    run = Run.open(trainer, resume, seed, data)
    try:
        yield run
    except BaseException as error:
        run.log(f"ended by {type(error).__name__}: {error}")
        if isinstance(error, BadState) and str(run.path) not in str(error):
            raise BadState(
                f"run_dir={str(run.path)!r}: its state cannot be used: {error}; write another "
                "run_dir, or delete the folder, to start anew"
            ) from error
        raise
    finally:
        run.close()


def give_back(
    trainer: Trainer, chosen: Sequence[Any], feed: Any, validation: Any, run: Run | None
) -> bool:
    """Make a prepared Trainer what it was when its run had finished, without training.

    The weights and the history are those of model.keras; the callbacks, and what such a file does
    not hold, have the last state.

    Returns:
        False where there is no finished run, and, with a warning, where its file does not fit the
        model: then it is to be finished again from its last state.

    Raises:
        RunError: it does not fit, and there is no state.
    """
    import keras

    from trainer.callbacks.callback import Callback, Session

    if run is None or run.model is None:
        return False
    network = trainer._network
    interrupts = Interrupts()
    session = Session(
        trainer, network, feed, validation, trainer.seed_, run.path, interrupts, run, True
    )
    listed = keras.callbacks.CallbackList(
        list(chosen), model=network.whole, epochs=trainer.epochs, steps=feed.steps, verbose=0
    )
    own, look = _own_state(trainer, chosen, feed, validation, reported=False)
    keeper = Keeper(
        network.core,
        chosen,
        trainer.history_,
        [],  # nothing will be read from them
        interrupts,
        epochs=trainer.epochs,
        found=run.found,
        warm_up=lambda: network.program.warm_up(feed.spec, trainer.batch_size),
        own=own,
        look=look,
    )
    plugins = [c for c in listed.callbacks if isinstance(c, Callback)]
    try:
        for plugin in plugins:
            plugin.session = session  # type: ignore[misc]
            plugin.setup(session)
        for callback in listed.callbacks if run.found is not None else ():
            if hasattr(callback, "load_state_dict"):  # which is called after on_train_begin
                callback.on_train_begin()
        with computing_in(network.precision):
            keeper.start()
            try:
                saving.load_weights(network, run.model)
            except (OSError, ValueError, KeyError, RuntimeError) as error:
                run.refuse_model(error)
                return False
        trainer.history_.records[:] = saving.history_of(run.model).records
    finally:
        network.program.watch = None
        _let_go(plugins, listed)
    return True


def train(
    trainer: Trainer, chosen: Sequence[Any], feed: Any, validation: Any, run: Run | None
) -> None:
    """Run the loop on a prepared Trainer, with its callbacks, history, progress and run."""
    import keras

    from trainer.callbacks.callback import Callback, Session
    from trainer.callbacks.progress import Progress
    from trainer.callbacks.run_log import RunLog

    network = trainer._network
    chunk = network.decisions.chunk if network.decisions is not None else 1
    folder = None if run is None else run.path
    interrupts = Interrupts()
    session = Session(trainer, network, feed, validation, trainer.seed_, folder, interrupts, run)
    shown: list[Any] = []
    if not any(isinstance(callback, Progress) for callback in chosen):
        shown.append(Progress(verbose=trainer.verbose))
    if run is not None:
        run.decided(str(network.decisions))
        warn_of_forgotten(chosen)
        shown.append(RunLog(run=run))
    listed = keras.callbacks.CallbackList(
        [*chosen, *shown], model=network.whole, epochs=trainer.epochs, steps=feed.steps, verbose=0
    )
    plugins = [c for c in listed.callbacks if isinstance(c, Callback)]
    own, look = _own_state(trainer, chosen, feed, validation, reported=run is not None)
    with interrupts:
        keeper = Keeper(
            network.core,
            chosen,
            trainer.history_,
            [feed, validation],
            interrupts,
            epochs=trainer.epochs,
            folder=None if run is None else run.states,
            minutes=trainer.save_minutes,
            steps=trainer.save_steps,
            chunk=chunk,
            found=None if run is None else run.found,
            warm_up=lambda: network.program.warm_up(feed.spec, trainer.batch_size),
            own=own,
            look=look,
        )

        def validate() -> dict[str, float]:
            every = hooks.interval(listed.callbacks, "test") is not None
            return loop.evaluate(
                network.program, validation, chunk=1 if every else chunk, callbacks=listed
            )

        try:
            for callback in plugins:
                callback.session = session  # type: ignore[misc]
                callback.setup(session)
            network.share_graphs(feed.spec, hooks.traced(chosen))
            with computing_in(network.precision):
                ended = loop.train(
                    network.program,
                    feed,
                    epochs=trainer.epochs,
                    chunk=chunk,
                    callbacks=listed,
                    validate=None if validation is None else validate,
                    history=trainer.history_,
                    keeper=keeper,
                )
        finally:
            network.program.watch = None
            _let_go(plugins, listed)
    if interrupts.received is not None:
        if run is not None:
            run.stop(signal.Signals(interrupts.received).name)
        interrupts.pass_on()
    elif run is not None:
        run.finish(trainer, None if ended else interrupts.asked)


def _let_go(plugins: Sequence[Any], listed: Any) -> None:
    """Tear the plugins down, however it ended, and take the model from all callbacks."""
    for plugin in plugins:
        if plugin.session is not None:
            plugin.teardown()
            plugin.session = None
    for callback in listed.callbacks:
        # a callback that keeps its model would be copied with it by clone and pickle
        callback.set_model(None)


def _own_state(
    trainer: Trainer, chosen: Sequence[Any], feed: Any, validation: Any, *, reported: bool
) -> tuple[OwnState, Callable[[str], None]]:
    """The state that is the person's own, and what lets it see a step before the first one runs."""
    network = trainer._network
    own = OwnState(
        trainer,
        network.core,
        chosen,
        lambda: _known(network, chosen),
        eager=network.program.eager,
        reported=reported,
    )
    network.program.watch = own

    def look(phase: str) -> None:
        of_phase = feed if phase == "train" else validation
        if of_phase is not None:
            network.program.look(phase, of_phase.spec, trainer.batch_size)

    return own, look


def _known(network: Network, callbacks: Sequence[Any]) -> list[Any]:
    """The variables that a step works on and that are saved already, or never change."""
    program = network.program
    scaling = [] if program.transform is None else program.transform.variables
    added = [v for callback in hooks.traced(callbacks) for v in callback.traced_variables()]
    return [*keeping.variables(network.core), *scaling, *added, program.streamed]


def _stream_feed(stream: Stream) -> StreamFeed:
    return StreamFeed(
        stream.dataset,
        steps=stream.steps,
        around_epoch=stream.around_epoch,
        reraise=stream.reraise,
        leave=stream.stop_workers,
        first=stream.first,
    )
