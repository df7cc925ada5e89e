"""A built network with its inputs and targets: what a fit trains, and what is saved.

Responsible for building the model under the right precision and seed, compiling it, and for
evaluating and predicting with one set of compiled functions. Not for fields or for training.
"""

from __future__ import annotations

import contextlib
import functools
import math
import random
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


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Keras, TensorFlow, NumPy and Python; give the latter two their states back after.

    With the same seed, layers get the weights that keras.utils.set_random_seed(seed) would give.
    """
    import keras

    python, numpy = random.getstate(), np.random.get_state()
    try:
        keras.utils.set_random_seed(seed)
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


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
                _tensors(x, self.program.transform, self.float_dtype),
                _tensors(y, None, self.float_dtype),
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
            if not _has_only_a_step(self.core):
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
        )
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


def build(
    trainer: Trainer,
    inputs: Inputs,
    targets: Numbers | Classes,
    spec: ModelSpec,
    *,
    precision: str,
    seed: int,
    probe: Tree,
    callbacks: Sequence[Any] = (),
) -> Network:
    """Build, compile and check the network of a Trainer.

    Args:
        trainer: whose hooks and fields say how.
        inputs: the learnt form of x.
        targets: the learnt form of y.
        spec: what the model is built for.
        precision: what Keras computes in.
        seed: of the initial weights and of dropout.
        probe: a few prepared rows of x, on which the model is tried.
        callbacks: those that may change the optimizer.

    Raises:
        TypeError, ValueError: build_model gave no model, or one that does not fit the data.
    """
    import keras
    from keras.src.random import seed_generator

    owner = type(trainer).__name__
    dtype = "float64" if precision == "float64" else "float32"
    with computing_in(precision), seeded(seed), trainer.python_scalars():
        core = trainer.build_model(spec)
        # Keras makes it when a layer first draws without a seed: in its fit, with this seed
        seed_generator.global_seed_generator()
        compiling.check_model(core, owner)
        transform = inputs.transform(dtype)
        with compiling.state_kept(core):
            found = _outputs(core, transform, probe, dtype, owner, spec)
        if found is not None:
            outputs.check(core, spec, found)

        def few() -> Any:
            # not the user's rows: a loaded Trainer has none, and must come to the same loss
            return core(_tensors(_noise_like(probe), transform, dtype))

        if trainer._ready_made and spec.task == "regression":
            core = _in_units_of_y(core, targets)
        loss = trainer.configure_loss()
        default = loss is None
        if default:
            with compiling.state_kept(core):
                loss = trainer._default_loss(core, spec, targets, few)
        compiling.compile_model(
            core, trainer, spec, targets, loss, callbacks, run_eagerly=trainer.run_eagerly
        )
        whole = inputs.whole_model(core, dtype)
        if whole is core and type(core.loss).__module__ == "trainer.losses":
            whole = keras.Model(core.input, core.output, name=core.name)
        if whole is not core:
            # callbacks and users meet the whole model: it shares the core's weights and optimizer,
            # and has a loss that plain Keras can load
            loss = "mse" if type(core.loss).__module__ == "trainer.losses" else core.loss
            whole.compile(optimizer=core.optimizer, loss=loss, auto_scale_loss=False)
            # not tracked, for they stay the core's: EarlyStopping asks them which way is better
            vars(whole)["_compile_metrics"] = core._compile_metrics
    program = Program(core, transform, eager=trainer.run_eagerly)
    own = "compute_loss" in vars(core) or any(
        getattr(type(core), name) is not getattr(keras.Model, name)
        for name in ("compute_loss", "train_step")
    )
    return Network(
        inputs, targets, spec, precision, core, whole, program, default_loss=default and not own
    )


def spec_bytes(spec: Batch) -> int:
    """The bytes of one row of a batch of this form."""
    import keras

    return sum(
        leaf.dtype.size * math.prod(d or 1 for d in leaf.shape[1:])
        for leaf in keras.tree.flatten(spec)
    )


def _in_units_of_y(core: keras.Model, targets: Numbers | Classes) -> keras.Model:
    """A model whose outputs are in the units of y; the core's own are of the order of 1."""
    import keras

    if not isinstance(targets, Numbers) or targets.scale is None:
        return core
    mean, deviation = targets.scale
    output = core.outputs[0]
    # its own precision: house prices have no room in float16
    units = keras.layers.Rescaling(deviation, offset=mean, dtype=output.dtype, name="units")
    return keras.Model(core.input, units(output), name=core.name)


def _noise_like(probe: Tree) -> Tree:
    """Rows of the same form: normal numbers, or 0 and 1 where x holds integers."""
    generator = np.random.default_rng(0)

    def one(array: np.ndarray) -> np.ndarray:
        if array.dtype.kind == "f":
            return generator.normal(size=array.shape).astype(array.dtype)
        return generator.integers(0, 2, size=array.shape).astype(array.dtype)

    return map_tree(one, probe)


def _tensors(probe: Tree, transform: Any, dtype: str) -> Tree:
    import tensorflow as tf

    x = map_tree(
        lambda a: tf.constant(np.asarray(a), dtype=dtype if a.dtype.kind in "fb" else None), probe
    )
    return x if transform is None else transform(x)


def _has_only_a_step(core: keras.Model) -> bool:
    import keras

    own, base = type(core), keras.Model
    return own.train_step is not base.train_step and own.call is base.call


def _outputs(
    core: keras.Model, transform: Any, probe: Tree, dtype: str, owner: str, spec: ModelSpec
) -> Any:
    """The model's outputs; a model that is not built yet is called on the probe to build it.

    None for a model that has a train_step, and cannot be called: its parts are built in training.
    """
    if _has_only_a_step(core):
        return None
    try:
        declared = outputs.symbolic(core)
        if declared is not None:
            _check_symbolic(core.inputs, probe)
            return declared
        return core(_tensors(probe, transform, dtype))
    except (ValueError, TypeError) as error:
        raise compiling.misfit(error, owner, spec) from error
    except Exception as error:
        if type(error).__module__.startswith(("tensorflow", "keras")):
            raise compiling.misfit(error, owner, spec) from error
        raise


def _check_symbolic(symbolic: Any, probe: Tree) -> None:
    found = [a.shape[1:] for _, a in arrays.leaves(probe)]
    expected = [tuple(s.shape[1:]) for s in symbolic]
    if len(found) != len(expected):
        raise ValueError(f"the model has {len(expected)} inputs, and x has {len(found)}")
    if len(found) == 1:
        want, got = expected[0], found[0]
        fits = len(want) == len(got) and all(
            w is None or w == g for w, g in zip(want, got, strict=True)
        )
        if not fits and not (want == (*got, 1) or (*want, 1) == got):
            raise ValueError(f"its input has shape {want}, and the rows of x have {got}")
