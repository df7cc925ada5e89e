"""The steps of a fit: from collected data to a trained network.

Responsible for their order: learn, build, feed, decide, train. Not for what people call (`base`),
nor for any one step, which have modules of their own.
"""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer import arrays, preparation
from trainer.arrays import Tree
from trainer.engine import decisions, hooks, loop
from trainer.engine.feeds import RowsFeed, StreamFeed
from trainer.inputs import Inputs
from trainer.models import ModelSpec
from trainer.network import Network, build, computing_in
from trainer.preparation import PROBE_ROWS, Rows
from trainer.progress import make_progress
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
    trainer: Trainer, train: Rows | Stream, valid: Rows | Stream | None, seed: int
) -> tuple[Network, Any, Any]:
    """Learn inputs and targets, build the network, and decide how to train it.

    Args:
        trainer: whose fields and hooks say how.
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
    network = build(trainer, inputs, targets, spec, precision=precision, seed=seed, probe=few)
    feed = _training_feed(trainer, network, train, seed)
    _try_out(trainer, network, train, few)
    network.make_variables(feed.spec)
    rows = feed.rows if isinstance(feed, RowsFeed) else None
    decided = network.decide(trainer, feed.spec, rows, feed.steps)
    if isinstance(feed, RowsFeed):
        feed.resident = decided.resident
    validation = (
        None if valid is None else evaluation_feed(trainer, network, valid, validation=True)
    )
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
    trainer: Trainer, network: Network, data: Rows | Stream, *, validation: bool = False
) -> Any:
    """The feed of batches to evaluate; `validation` is during a fit, and named so in errors."""
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
        every_batch=validation and hooks.wants_batches(trainer.configure_callbacks(), "test"),
    )


def train(trainer: Trainer, feed: Any, validation: Any) -> None:
    """Run the loop on a prepared Trainer, with its callbacks, history and progress."""
    import keras

    network, chosen = trainer._network, trainer.configure_callbacks()
    every_batch = hooks.wants_batches(chosen, "train")
    every_test_batch = hooks.wants_batches(chosen, "test")
    chunk = network.decisions.chunk if network.decisions is not None else 1
    listed = keras.callbacks.CallbackList(
        chosen, model=network.whole, epochs=trainer.epochs, steps=feed.steps, verbose=0
    )

    def validate() -> dict[str, float]:
        return loop.evaluate(
            network.program,
            validation,
            chunk=1 if every_test_batch else chunk,
            callbacks=listed,
            every_batch=every_test_batch,
        )

    try:
        with computing_in(network.precision):
            loop.train(
                network.program,
                feed,
                epochs=trainer.epochs,
                chunk=chunk,
                callbacks=listed,
                every_batch=every_batch,
                validate=None if validation is None else validate,
                history=trainer.history_,
                progress=make_progress(trainer.verbose, trainer.epochs),
            )
    finally:
        for callback in chosen:
            # a callback that keeps its model would be copied with it by clone and pickle
            callback.set_model(None)


def _stream_feed(stream: Stream) -> StreamFeed:
    return StreamFeed(
        stream.dataset,
        steps=stream.steps,
        around_epoch=stream.around_epoch,
        reraise=stream.reraise,
    )
