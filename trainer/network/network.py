"""A built network with its inputs and targets: the object that fit trains and saves.

Responsible for applying the decisions on how to train, and for evaluating and predicting with one
set of compiled functions. Not for building the model (`build`), for fields, or for training.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.data import arrays
from trainer.data.arrays import Tree, map_tree
from trainer.data.inputs import Inputs
from trainer.data.streams import Stream
from trainer.data.targets import Targets
from trainer.engine import backend, loop
from trainer.engine.backend import Plan, Program, plan, sharing
from trainer.engine.chunks import Batch
from trainer.engine.feeds import RowsFeed
from trainer.models import Chosen, ModelSpec
from trainer.network import compile, outputs
from trainer.network.probabilities import Reading
from trainer.state.isolation import Ambient
from trainer.utils import checks

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
        readings: How to read each output as probabilities; empty if it is only numbers.
        architecture: The ready-made architecture, if it is one, and the resolved values of fields.
        guarded: Whether a callback ends the training where the loss is not finite: then targets
            need not be either.
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
    readings: Mapping[str, Reading] = field(default_factory=dict)
    architecture: Chosen = field(default_factory=Chosen)
    guarded: bool = False
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
    def loss_is_scaled(self) -> bool:
        """Whether the loss is that of standardised targets, in the place of y in its own units."""
        from trainer.network.losses import ScaledSquaredError

        return isinstance(self.core.loss, ScaledSquaredError)

    @property
    def fixed_rows(self) -> int | None:
        """The fixed batch size of the model, as stateful models have; else None."""
        inputs = getattr(self.core, "inputs", None) or ()
        return next((tensor.shape[0] for tensor in inputs), None)

    @property
    def takes_sparse(self) -> bool:
        """Whether the user's own model receives batches as the user gave them."""
        own = self.architecture.architecture is None and self.inputs.table is None
        return own and self.program.transform is None

    def check_rows(self, rows: int, batch_size: int, name: str = "x") -> None:
        """Check that rows fill the batches of a model of a fixed batch size.

        Args:
            rows: The number of rows.
            batch_size: The rows of a step.
            name: The name of the argument, for errors.

        Raises:
            ValueError: They do not; the message has the number of rows that do.
        """
        fixed = self.fixed_rows
        if fixed is None:
            return
        if batch_size != fixed:
            raise ValueError(
                f"batch_size={batch_size}: the model takes batches of exactly {fixed} rows; write "
                f"batch_size={fixed}, or leave the batch size of its input open"
            )
        if rows % fixed:
            most = rows // fixed * fixed
            instead = f"pass {most} or {most + fixed} rows" if most else f"pass {fixed} rows"
            raise ValueError(
                f"{name} has {rows} rows, but the model takes batches of exactly {fixed}, so that "
                f"{rows % fixed} would be left over; {instead}"
            )

    def check_batches(self, spec: Batch, name: str = "x") -> None:
        """Check that a stream's batches have the fixed batch size of the model, if it has one.

        Raises:
            ValueError: They have another size, or the last one may have fewer rows.
        """
        import keras

        fixed = self.fixed_rows
        found = {leaf.shape[0] for leaf in keras.tree.flatten(spec[0])}
        if fixed is not None and found != {fixed}:
            place = name.rsplit(": ", 1)[-1]
            raise ValueError(
                f"{name} has batches of {', '.join(str(n or 'varying') for n in found)} rows, but "
                f"the model takes batches of exactly {fixed}; write "
                f"{place}.unbatch().batch({fixed}, drop_remainder=True)"
            )

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
            sparse = backend.tensors.is_sparse(leaf)
            return keras.KerasTensor(leaf.shape, leaf.dtype.name, sparse=sparse)

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
            if has_only_a_step(self.core):
                return
            if self.program.eager:
                self._make_eagerly(batch)
            self.core._symbolic_build(data_batch=batch)

    def _make_eagerly(self, batch: Batch) -> None:
        """Build metrics and loss without calling them: eager code may look into its tensors."""
        import keras

        core, y = self.core, batch[1] if len(batch) > 1 else None
        parts = [core._compile_metrics, core._compile_loss]
        unbuilt = [part for part in parts if part is not None and not part.built]
        if not unbuilt or y is None:
            return

        def zeros(leaf: Any) -> Any:
            return backend.tensors.zeros([d or 2 for d in leaf.shape], leaf.dtype)

        with compile.state_kept(core):
            y_pred = core(keras.tree.map_structure(zeros, batch[0]), training=False)
        for part in unbuilt:
            part.build(y, y_pred)

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
        if self.program.replicas is not None:
            return
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
            found = [*backend.variables.listed(self.core), *scaling, *added, self.program.streamed]
            self.program.graphs.share(key, found)

    def weights(self, weight: Tree | None) -> Tree | None:
        """Return sample weights for the loss, rescaled to a mean of 1 if it is the default.

        Weights for each output are left as they are: their ratios weigh the outputs too.
        """
        if weight is None or not self.default_loss or not hasattr(weight, "shape"):
            return weight
        return np.asarray(weight / weight.mean())

    def check_weights(self, weight: Tree | None, x: Tree, name: str = "sample_weight") -> None:
        """Check weights per step against the model's outputs.

        Keras would multiply other shapes too, and mean something else.

        Args:
            weight: The weights, or None.
            x: A few prepared rows.
            name: The name of the argument, for errors.

        Raises:
            ValueError: The loss does not have a value for each of them.
        """
        parts = [] if weight is None else list(arrays.leaves(weight, ""))
        if all(leaf.ndim == 1 for _, leaf in parts) or has_only_a_step(self.core):
            return
        found = outputs.symbolic(self.core)
        if found is None:
            with self.ambient(), compile.state_kept(self.core):
                found = self.core(tensors(x, self.program.transform, self.float_dtype))
        by_name = outputs.named(self.core, self.spec, found)
        for part, leaf in parts:
            steps = tuple(by_name[part].shape[1:-1])
            fits = leaf.ndim - 1 == len(steps) and all(
                s is None or s == n for s, n in zip(steps, leaf.shape[1:], strict=True)
            )
            if leaf.ndim > 1 and not fits:
                shape = (len(leaf), *steps)
                several = f", or for each step, shape {shape}" if steps else ""
                raise ValueError(
                    f"{name}{part} has shape {leaf.shape}, but the loss has values of shape "
                    f"{shape} for outputs with rows of shape {tuple(by_name[part].shape[1:])}; "
                    f"pass one weight for each row, shape ({len(leaf)},){several}"
                )

    def encode(self, y: Any, name: str) -> Tree:
        """Return y as training targets; NaN and infinity are for user-defined losses only.

        Raises:
            ValueError: y is not finite, and its loss is one of Keras'.
        """
        encoded = self.targets.encode(y, name)
        self.check_finite(encoded, name)
        return encoded

    def check_finite(self, encoded: Tree, name: str = "y") -> None:
        """Check that encoded targets are finite where their loss is one of Keras'.

        Raises:
            ValueError: They are not.
        """
        if compile.computes_own_loss(self.core):
            return
        for part, leaf in arrays.leaves(encoded, ""):
            if own_loss(self.core.loss, part):
                continue
            try:
                arrays.check_finite(leaf, f"{name}{part}")
            except ValueError as error:
                if not self.guarded:
                    raise
                checks.warn(f"{error}; as there is a callback that ends on NaN, they are used")

    def check_y(
        self, owner: str, *, stream: bool, name: str = "", hook: str = "train_step"
    ) -> None:
        """Refuse data without y for a loss or metrics that need it.

        Args:
            owner: The name of the estimator.
            stream: Whether the data are a stream.
            name: What x and y are called in errors, before their letter.
            hook: The step that they are for, "train_step" or "test_step".

        Raises:
            ValueError: There is such a loss or metric.
        """
        part = compile.compares_with_y(self.core, hook)
        if part is None:
            return
        lacks = f"{name}x has no y" if stream else f"{name}y is None"
        remedy = "make its elements (x, y)" if stream else "pass the y that belongs to x"
        raise ValueError(
            f"{owner}: {lacks}, and the {part} of the model compare{'s' * (part == 'loss')} its "
            f"outputs with y; {remedy}, where y is x if the model is to reproduce it; a loss that "
            "needs no y is written with compute_loss, or with add_loss in a layer"
        )

    def batch(self, x: Tree, y: Tree | None = None, weight: Tree | None = None) -> Batch:
        """Return x, y and weights as the tuple that a Keras step takes."""
        if y is None:
            return (x,)
        weight = self.weights(weight)
        if weight is None:
            return (x, y)
        if not hasattr(y, "shape") and hasattr(weight, "shape"):
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
        exact: bool = False,
    ) -> RowsFeed:
        """Return a feed to evaluate rows with, in large batches if the result is the same.

        Args:
            data: x, y and weights.
            batch_size: Rows per step if the result depends on it; otherwise there may be more,
                where they take little memory.
            resident_bytes: As the field of Trainer.
            exact: Whether each step has batch_size rows, whatever the result depends on.
        """
        if self.batch_independent and not exact and arrays.length(data[0], "x") > batch_size:
            batch_size = plan.rows_per_batch(self.largest_bytes(data[0]), batch_size)
        feed = RowsFeed(data, batch_size=batch_size, float_dtype=self.float_dtype)
        limit = plan.resident_limit() if resident_bytes is None else resident_bytes
        row = spec_bytes(feed.spec)
        feed.resident = row * feed.rows <= limit
        feed.most_read = plan.steps_per_read(row * feed.batch_size)
        return feed

    def largest_bytes(self, x: Tree) -> int:
        """Return the bytes per row of the largest tensor in a forward pass with prepared x."""
        size = 8 if self.precision == "float64" else 4
        known = plan.largest_layer(self.core)
        if known is None and not self.program.eager:

            def spec(array: Any) -> Any:
                dtype = self.float_dtype if array.dtype.kind in "fb" else array.dtype
                return backend.tensors.spec([None, *array.shape[1:]], dtype)

            known = self.program.largest(map_tree(spec, x))
        return max(row_bytes(x), size * (known or plan.MAX_BATCH_BYTES))

    def check_evaluates(self, owner: str) -> None:
        """Refuse to evaluate a model that defines neither call nor test_step.

        Raises:
            ValueError: It does not.
        """
        import keras

        if has_only_a_step(self.core) and type(self.core).test_step is keras.Model.test_step:
            raise ValueError(
                f"{owner}: {type(self.core).__name__} has train_step, but neither call nor "
                "test_step, so that it cannot be evaluated; define one of them, or leave out the "
                "validation data"
            )

    def evaluate(self, feed: Any, chunk: int = 64, **hooks: Any) -> dict[str, float]:
        """Compute the loss and every metric over a feed, by name."""
        with self._evaluating:
            return loop.evaluate(self.program, feed, chunk=chunk, **hooks)

    def predict(self, x: Tree, batch_size: int | None = None) -> Tree:
        """Predict prepared arrays: return outputs as a tree of arrays in the structure of y.

        Args:
            x: Prepared arrays.
            batch_size: Rows per step; None for as many as take little memory.
        """
        import keras

        own = type(self.core).predict_step is not keras.Model.predict_step
        if has_only_a_step(self.core) and not own:
            raise ValueError(
                f"{type(self.core).__name__} has train_step, but neither call nor predict_step, so "
                "that it cannot predict; define one of them"
            )

        def feed(array: np.ndarray) -> Any:
            dtype = self.float_dtype if array.dtype.kind in "fb" else None
            return backend.tensors.constant(array, dtype)

        n = arrays.length(x, "x")
        piece = self.predicted_rows(x, n, batch_size)
        parts = []
        for start in range(0, n, piece):
            rows = slice(start, start + piece)
            piece_outputs = self.program.predict(map_tree(lambda a, r=rows: feed(a[r]), x))
            parts.append(keras.tree.map_structure(np.asarray, piece_outputs))
        joined = keras.tree.map_structure(lambda *p: np.concatenate(p), *parts)
        return outputs.arranged(self.core, self.spec, joined)

    def predicted_rows(self, x: Tree, n: int, batch_size: int | None = None) -> int:
        """Return how many rows are predicted at once.

        Args:
            x: Prepared arrays, or a few rows of them.
            n: The number of rows to predict.
            batch_size: Rows per step; None for as many as take little memory.

        Raises:
            ValueError: The model takes batches of a fixed size, which the rows do not fill.
        """
        if self.fixed_rows is not None:
            self.check_rows(n, batch_size or self.fixed_rows)
        piece = self.fixed_rows or batch_size
        if piece is not None:
            return piece
        few = n <= plan.BATCH_ROWS
        return plan.BATCH_ROWS if few else plan.rows_per_batch(self.largest_bytes(x))

    def predict_stream(self, stream: Stream) -> Tree:
        """Predict the x of every batch: return outputs as a tree of arrays."""
        import keras

        parts = [self.predict(x) for x in stream.once(0)]
        if not parts:
            raise ValueError(f"{stream.name} is empty: a tf.data.Dataset with 0 sample(s)")
        return keras.tree.map_structure(lambda *p: np.concatenate(p), *parts)


def own_loss(loss: Any, part: str) -> bool:
    """Return whether the loss of a part of y is the user's code, or there is none.

    Args:
        loss: A loss, or a structure of losses for several outputs.
        part: The part of y, such as "['a']"; "" for all of it.
    """
    by_part = dict(arrays.leaves(loss, ""))
    # Otherwise there is one loss for all parts, or the losses have other names.
    losses = [by_part[part]] if part in by_part else list(by_part.values())
    return any(map(_is_own, losses))


def _is_own(loss: Any) -> bool:
    if loss is None:
        return True
    if isinstance(loss, str):
        return False
    while isinstance(loss, functools.partial):
        loss = loss.func
    parts = [loss if hasattr(loss, "__name__") else type(loss), getattr(loss, "fn", None)]
    modules = [getattr(part, "__module__", "") for part in parts if part is not None]
    return any(module.split(".")[0] not in ("keras", "trainer") for module in modules)


def save_state_once(whole: keras.Model, core: keras.Model) -> None:
    """Make the whole model's save, save_weights and load_weights keep the optimizer's state.

    Keras would find the optimizer in the core first and write it there, where plain Keras, which
    loads the core as a layer, does not look for it.
    """

    def without(method: Any) -> Any:
        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            shared, compiled = core.optimizer, core.compiled
            core.optimizer, core.compiled = None, False
            try:
                return method(*args, **kwargs)
            finally:
                core.optimizer, core.compiled = shared, compiled

        return call

    for name in ("save", "save_weights", "load_weights"):
        vars(whole)[name] = without(getattr(whole, name))


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
    x = map_tree(
        lambda a: backend.tensors.constant(a, dtype if a.dtype.kind in "fb" else None), probe
    )
    return x if transform is None else transform(x)


def has_only_a_step(core: keras.Model) -> bool:
    """Return whether a model defines train_step but no call."""
    import keras

    own, base = type(core), keras.Model
    return own.train_step is not base.train_step and own.call is base.call
