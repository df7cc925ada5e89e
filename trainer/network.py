"""A built network with its inputs and targets: what a fit trains, and what is saved.

Responsible for deciding how to train, and for evaluating and predicting with one set of compiled
functions. Not for making the model (`building`), for fields, nor for training.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer import arrays, compiling, outputs
from trainer.arrays import Tree, map_tree
from trainer.engine import decisions, loop, twins
from trainer.engine.decisions import Decisions
from trainer.engine.feeds import RowsFeed
from trainer.engine.program import Batch, Program
from trainer.inputs import Inputs
from trainer.models import ModelSpec
from trainer.streams import Stream
from trainer.targets import Classes, Numbers

if TYPE_CHECKING:
    import keras

    from trainer.base import Trainer
    from trainer.doctor.evidence import Evidence


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Let Keras make layers, losses and metrics of this precision."""
    import keras

    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    try:
        keras.config.set_floatx("float64" if precision == "float64" else "float32")
        keras.config.set_dtype_policy(precision)
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


@dataclass
class Network:
    """A compiled model, what it was built for, and its compiled functions.

    Attributes:
        inputs: the learnt form of x.
        targets: the learnt form of y.
        spec: what build_model was asked for.
        precision: "float32", "float64", "mixed_bfloat16" or "mixed_float16".
        core: the model that is trained; it takes encoded tables or raw arrays.
        whole: the same with its encoder or normalisation before it; it is saved and served.
        program: the compiled functions of `core`.
        default_loss: whether the loss is the task's usual one; then only ratios of weights matter.
        evidence: what is kept of the data of its fit; None for a network that was loaded.
    """

    inputs: Inputs
    targets: Numbers | Classes
    spec: ModelSpec
    precision: str
    core: keras.Model
    whole: keras.Model
    program: Program
    default_loss: bool
    decisions: Decisions | None = None
    evidence: Evidence | None = None

    @property
    def float_dtype(self) -> str:
        """The type that float data are fed as."""
        return "float64" if self.precision == "float64" else "float32"

    @functools.cached_property
    def batch_independent(self) -> bool:
        """Whether evaluation gives the same for any batch size."""
        return decisions.batch_independent(self.core)

    @property
    def fixed_rows(self) -> int | None:
        """The rows that each batch must have, where the model says so, as a stateful one does."""
        inputs = getattr(self.core, "inputs", None) or ()
        return next((tensor.shape[0] for tensor in inputs), None)

    def try_out(self, fields: dict[str, Any], x: Tree, y: Tree) -> None:
        """Refuse a loss or metrics that do not fit, on a few rows: see compiling.try_out."""
        if self.fixed_rows is not None:
            return  # they may be more than there are to try it on
        with computing_in(self.precision), compiling.state_kept(self.core):
            compiling.try_out(
                self.core,
                fields,
                tensors(x, self.program.transform, self.float_dtype),
                tensors(y, None, self.float_dtype),
            )

    def make_variables(self, spec: Batch) -> None:
        """Make every variable of the model, its metrics and its optimizer.

        Before anything is traced: a trace in which variables are made is made a second time.

        Args:
            spec: the form of a batch, as tf.TensorSpec.
        """
        import keras

        def symbolic(leaf: Any) -> Any:
            return keras.KerasTensor(leaf.shape, leaf.dtype.name)

        batch = keras.tree.map_structure(symbolic, spec)
        with computing_in(self.precision):
            if self.program.transform is not None:
                x = keras.tree.map_structure(
                    lambda leaf: (
                        keras.KerasTensor(leaf.shape, self.float_dtype)
                        if leaf.dtype != "string"
                        else leaf
                    ),
                    batch[0],
                )
                batch = (x, *batch[1:])
            if not has_only_a_step(self.core):
                self.core._symbolic_build(data_batch=batch)

    def share_graphs(self, spec: Batch, extensions: Sequence[Any] = ()) -> None:
        """Let models that are built alike use each other's compiled functions.

        Args:
            spec: the form of a batch, as tf.TensorSpec.
            extensions: the callbacks whose before_step joins the training step.
        """
        import keras

        self.program.extensions = list(extensions)
        keys = [extension.traced_key() for extension in extensions]
        if None in keys:
            return
        transform = self.program.transform
        named = isinstance(spec[0], dict)  # then each input takes the part of its name
        inputs = [i.name for i in getattr(self.core, "inputs", ())] if named else []
        key = twins.key(
            self.core,
            extra=[
                self.precision,
                repr(keras.tree.map_structure(lambda leaf: (leaf.shape, leaf.dtype.name), spec)),
                [] if transform is None else transform.names,
                inputs,
                keys,
            ],
        )
        if key is not None and not self.program.eager:
            scaling = [] if transform is None else transform.variables
            added = [v for extension in extensions for v in extension.traced_variables()]
            found = [*twins.variables(self.core), *scaling, *added, self.program.streamed]
            self.program.graphs.share(key, found)

    def weights(self, weight: np.ndarray | None) -> np.ndarray | None:
        """Sample weights as the loss wants them."""
        if weight is None or not self.default_loss:
            return weight
        return np.asarray(weight / weight.mean())

    def batch(self, x: Tree, y: Tree | None = None, weight: np.ndarray | None = None) -> Batch:
        """x, y and weights as the tuple that a Keras step takes."""
        if y is None:
            return (x,)
        weight = self.weights(weight)
        if weight is None:
            return (x, y)
        if not hasattr(y, "shape"):
            return (x, y, map_tree(lambda _: weight, y))
        return (x, y, weight)

    def decide(
        self,
        trainer: Trainer,
        spec: Batch,
        rows: int | None,
        steps: int | None,
        interval: int | None,
    ) -> Decisions:
        """Decide how to train, and make the program so.

        Args:
            trainer: whose fields may override.
            spec: the form of a batch, as tf.TensorSpec.
            rows: the number of rows, or None for a stream.
            steps: the steps of an epoch, or None if that is unknown.
            interval: batches between two calls of callbacks, or None if none sees batches.
        """
        row = spec_bytes(spec)
        self.decisions = decisions.decide(
            self.core,
            batch_size=trainer.batch_size,
            steps=steps,
            batch_bytes=row * trainer.batch_size,
            data_bytes=None if rows is None else row * rows,
            resident_bytes=trainer.resident_bytes,
            jit=trainer.jit,
            interval=interval,
            save_steps=None if trainer.run_dir is None else trainer.save_steps,
        )
        self.program.compiled = self.decisions.compiled
        self.program.batch_size = None if rows is None else min(trainer.batch_size, rows)
        self.program.jit = self.decisions.jit and not self.program.eager
        return self.decisions

    def evaluation_rows(
        self,
        data: Batch,
        batch_size: int,
        resident_bytes: int | None,
        *,
        every_batch: bool = False,
    ) -> RowsFeed:
        """A feed for evaluating rows, in large batches where that gives the same result.

        Args:
            data: x, y and weights.
            batch_size: rows a step where they matter.
            resident_bytes: the field of this name.
            every_batch: whether a callback must see every batch.
        """
        if self.batch_independent and not every_batch:
            batch_size = max(batch_size, decisions.rows_a_batch(row_bytes(data[0])))
        feed = RowsFeed(data, batch_size=batch_size, float_dtype=self.float_dtype)
        limit = decisions.resident_limit() if resident_bytes is None else resident_bytes
        feed.resident = spec_bytes(feed.spec) * feed.rows <= limit
        return feed

    def evaluate(self, feed: Any, chunk: int = 64, **hooks: Any) -> dict[str, float]:
        """The loss and every metric over a feed, by name."""
        with computing_in(self.precision):
            return loop.evaluate(self.program, feed, chunk=chunk, **hooks)

    def predict(self, x: Tree) -> Tree:
        """The core's outputs for prepared arrays, as a tree of arrays in the structure of y."""
        import keras
        import tensorflow as tf

        def feed(array: np.ndarray) -> Any:
            dtype = self.float_dtype if array.dtype.kind in "fb" else None
            return tf.constant(np.asarray(array), dtype=dtype)

        n = arrays.length(x, "x")
        piece = self.fixed_rows or decisions.rows_a_batch(row_bytes(x))
        parts = []
        with computing_in(self.precision):
            for start in range(0, n, piece):
                rows = slice(start, start + piece)
                piece_outputs = self.program.predict(map_tree(lambda a, r=rows: feed(a[r]), x))
                parts.append(keras.tree.map_structure(np.asarray, piece_outputs))
        whole = keras.tree.map_structure(lambda *p: np.concatenate(p), *parts)
        return outputs.arranged(self.core, self.spec, whole)

    def predict_stream(self, stream: Stream) -> Tree:
        """The core's outputs for the x of every batch, as a tree of arrays."""
        import keras

        parts = [self.predict(x) for x in stream.part(0)]
        if not parts:
            raise ValueError(f"{stream.name} is empty: a tf.data.Dataset with 0 sample(s)")
        return keras.tree.map_structure(lambda *p: np.concatenate(p), *parts)


def row_bytes(x: Tree) -> int:
    """The bytes of one row, as float32."""
    return sum(4 * int(np.prod(a.shape[1:], dtype=np.int64)) for _, a in arrays.leaves(x))


def spec_bytes(spec: Batch) -> int:
    """The bytes of one row of a batch of this form."""
    import keras

    return sum(
        leaf.dtype.size * math.prod(d or 1 for d in leaf.shape[1:])
        for leaf in keras.tree.flatten(spec)
    )


def tensors(probe: Tree, transform: Any, dtype: str) -> Tree:
    """Prepared rows as the core takes them, normalised if `transform` does that."""
    import tensorflow as tf

    x = map_tree(
        lambda a: tf.constant(np.asarray(a), dtype=dtype if a.dtype.kind in "fb" else None), probe
    )
    return x if transform is None else transform(x)


def has_only_a_step(core: keras.Model) -> bool:
    """Whether a model has a train_step, and cannot be called."""
    import keras

    own, base = type(core), keras.Model
    return own.train_step is not base.train_step and own.call is base.call
