"""A built network with its inputs and targets: the object that fit trains and saves.

Responsible for applying the decisions on how to train, and for evaluating and predicting with one
set of compiled functions. Not for building the model (`build`), for fields, or for training.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.data import arrays
from trainer.data.arrays import Tree, map_tree
from trainer.data.inputs import Inputs
from trainer.data.streams import Stream
from trainer.data.targets import Targets
from trainer.engine import loop
from trainer.engine.feeds import Batch, RowsFeed
from trainer.engine.tensorflow import plan, sharing
from trainer.engine.tensorflow.plan import Plan
from trainer.engine.tensorflow.program import Program
from trainer.models import ModelSpec
from trainer.network import compile, outputs
from trainer.state.isolation import Ambient

if TYPE_CHECKING:
    import keras


@dataclass
class Network:
    """A compiled model, what it was built for, and its compiled functions.

    Attributes:
        inputs: The learned preprocessing of x.
        targets: The learned encoding of y.
        spec: The argument of build_model.
        precision: "float32", "float64", "mixed_bfloat16" or "mixed_float16".
        core: The model that is trained; it takes encoded tables or normalised arrays.
        whole: The same including its encoder or normalisation; it is saved and served.
        program: The compiled functions of `core`.
        ambient: The global state that it was built in.
        default_loss: Whether the loss is the task's default; if so, sample weights are rescaled
            to a mean of 1.
        plan: How to train; None before `decide`.
        evidence: A sample of the data of its fit; None for a loaded network.
    """

    inputs: Inputs
    targets: Targets
    spec: ModelSpec
    precision: str
    core: keras.Model
    whole: keras.Model
    program: Program
    ambient: Ambient
    default_loss: bool
    plan: Plan | None = None
    evidence: Any = None
    # A model has one set of metrics, so threads take turns at evaluating it.
    _evaluating: threading.RLock = field(default_factory=threading.RLock, repr=False)

    @property
    def float_dtype(self) -> str:
        """The dtype of float data fed to the model."""
        return "float64" if self.precision == "float64" else "float32"

    @functools.cached_property
    def batch_independent(self) -> bool:
        """Whether results of evaluation are the same for any batch size."""
        return plan.batch_independent(self.core)

    @property
    def fixed_rows(self) -> int | None:
        """The fixed batch size of the model, as stateful models have; else None."""
        inputs = getattr(self.core, "inputs", None) or ()
        return next((tensor.shape[0] for tensor in inputs), None)

    def try_out(self, fields: dict[str, Any], x: Tree, y: Tree) -> None:
        """Test loss and metrics on a few rows: see compile.try_out."""
        if self.fixed_rows is not None:
            return  # there may be too few rows for a batch
        with self.ambient(), compile.state_kept(self.core):
            compile.try_out(
                self.core,
                fields,
                tensors(x, self.program.transform, self.float_dtype),
                tensors(y, None, self.float_dtype),
            )

    def make_variables(self, spec: Batch) -> None:
        """Create all variables of the model, its metrics and its optimizer.

        Call it before tracing: TensorFlow traces a function that creates variables twice.

        Args:
            spec: The spec of a batch, as tf.TensorSpec.
        """
        import keras

        def symbolic(leaf: Any) -> Any:
            return keras.KerasTensor(leaf.shape, leaf.dtype.name)

        batch = keras.tree.map_structure(symbolic, spec)
        with self.ambient():
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
        """Share compiled functions between models of the same structure.

        Args:
            spec: The spec of a batch, as tf.TensorSpec.
            extensions: The callbacks whose before_step is part of the training step.
        """
        with self.ambient():  # other threads share graphs too
            self._share_graphs(spec, extensions)

    def _share_graphs(self, spec: Batch, extensions: Sequence[Any]) -> None:
        import keras

        self.program.extensions = list(extensions)
        keys = [extension.traced_key() for extension in extensions]
        if None in keys:
            return
        transform = self.program.transform
        named = isinstance(spec[0], dict)  # if so, inputs are matched by name
        inputs = [i.name for i in getattr(self.core, "inputs", ())] if named else []
        key = sharing.key(
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
            found = [*sharing.variables(self.core), *scaling, *added, self.program.streamed]
            self.program.graphs.share(key, found)

    def weights(self, weight: np.ndarray | None) -> np.ndarray | None:
        """Return sample weights for the loss, rescaled to a mean of 1 if it is the default."""
        if weight is None or not self.default_loss:
            return weight
        return np.asarray(weight / weight.mean())

    def batch(self, x: Tree, y: Tree | None = None, weight: np.ndarray | None = None) -> Batch:
        """Return x, y and weights as the tuple that a Keras step takes."""
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
        spec: Batch,
        rows: int | None,
        steps: int | None,
        interval: int | None,
        *,
        batch_size: int,
        resident_bytes: int | None,
        jit: bool | str,
        save_steps: int | None = None,
    ) -> Plan:
        """Decide how to train, and configure the program accordingly.

        Args:
            spec: The spec of a batch, as tf.TensorSpec.
            rows: The number of rows, or None for a stream.
            steps: The steps per epoch, or None if unknown.
            interval: Batches between calls of callbacks, or None if no callback sees batches.
            batch_size: As the field of Trainer.
            resident_bytes: As the field of Trainer.
            jit: As the field of Trainer.
            save_steps: As the field of Trainer, if states are saved; else None.
        """
        row = spec_bytes(spec)
        self.plan = plan.decide(
            self.core,
            batch_size=batch_size,
            steps=steps,
            batch_bytes=row * batch_size,
            data_bytes=None if rows is None else row * rows,
            resident_bytes=resident_bytes,
            jit=jit,
            interval=interval,
            save_steps=save_steps,
        )
        self.program.compiled = self.plan.compiled
        self.program.batch_size = None if rows is None else min(batch_size, rows)
        self.program.jit = self.plan.jit and not self.program.eager
        return self.plan

    def evaluation_rows(
        self,
        data: Batch,
        batch_size: int,
        resident_bytes: int | None,
        *,
        every_batch: bool = False,
    ) -> RowsFeed:
        """Return a feed to evaluate rows with, in large batches if the result is the same.

        Args:
            data: x, y and weights.
            batch_size: Rows per step if the result depends on it.
            resident_bytes: As the field of Trainer.
            every_batch: Whether a callback must see every batch.
        """
        if self.batch_independent and not every_batch:
            batch_size = max(batch_size, plan.rows_per_batch(row_bytes(data[0])))
        feed = RowsFeed(data, batch_size=batch_size, float_dtype=self.float_dtype)
        limit = plan.resident_limit() if resident_bytes is None else resident_bytes
        feed.resident = spec_bytes(feed.spec) * feed.rows <= limit
        return feed

    def evaluate(self, feed: Any, chunk: int = 64, **hooks: Any) -> dict[str, float]:
        """Compute the loss and every metric over a feed, by name."""
        with self._evaluating:
            return loop.evaluate(self.program, feed, chunk=chunk, **hooks)

    def predict(self, x: Tree) -> Tree:
        """Predict prepared arrays: return outputs as a tree of arrays in the structure of y."""
        import keras
        import tensorflow as tf

        def feed(array: np.ndarray) -> Any:
            dtype = self.float_dtype if array.dtype.kind in "fb" else None
            return tf.constant(np.asarray(array), dtype=dtype)

        n = arrays.length(x, "x")
        piece = self.fixed_rows or plan.rows_per_batch(row_bytes(x))
        parts = []
        for start in range(0, n, piece):
            rows = slice(start, start + piece)
            piece_outputs = self.program.predict(map_tree(lambda a, r=rows: feed(a[r]), x))
            parts.append(keras.tree.map_structure(np.asarray, piece_outputs))
        joined = keras.tree.map_structure(lambda *p: np.concatenate(p), *parts)
        return outputs.arranged(self.core, self.spec, joined)

    def predict_stream(self, stream: Stream) -> Tree:
        """Predict the x of every batch: return outputs as a tree of arrays."""
        import keras

        parts = [self.predict(x) for x in stream.part(0)]
        if not parts:
            raise ValueError(f"{stream.name} is empty: a tf.data.Dataset with 0 sample(s)")
        return keras.tree.map_structure(lambda *p: np.concatenate(p), *parts)


def row_bytes(x: Tree) -> int:
    """Return the bytes of one row, as float32."""
    return sum(4 * int(np.prod(a.shape[1:], dtype=np.int64)) for _, a in arrays.leaves(x))


def spec_bytes(spec: Batch) -> int:
    """Return the bytes of one row of a batch with this spec."""
    import keras

    return sum(
        leaf.dtype.size * math.prod(d or 1 for d in leaf.shape[1:])
        for leaf in keras.tree.flatten(spec)
    )


def tensors(probe: Tree, transform: Any, dtype: str) -> Tree:
    """Convert prepared rows to tensors for the core, normalised by `transform` if not None."""
    import tensorflow as tf

    x = map_tree(
        lambda a: tf.constant(np.asarray(a), dtype=dtype if a.dtype.kind in "fb" else None), probe
    )
    return x if transform is None else transform(x)


def has_only_a_step(core: keras.Model) -> bool:
    """Return whether a model defines train_step but no call."""
    import keras

    own, base = type(core), keras.Model
    return own.train_step is not base.train_step and own.call is base.call
