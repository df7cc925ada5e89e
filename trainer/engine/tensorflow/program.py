"""The compiled functions of one model: train a chunk of steps, evaluate a chunk, predict.

Responsible for running `model.train_step` and `model.test_step` many times per dispatch, and for
compiling each function once. Not for the order of batches (`feeds`) or for epochs (`loop`).

For most models on a CPU, dispatching a step costs more than the step itself. Therefore many steps
run in a while loop inside one `tf.function`. The steps themselves are those of Keras.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from trainer.engine.chunks import Batch, Logs, RowsChunk, StreamChunk
from trainer.engine.tensorflow.graphs import Graphs, Specs, free_after_trace
from trainer.engine.tensorflow.replicas import Replicas

if TYPE_CHECKING:
    import keras


class Watch(Protocol):
    """Observes which variables and operations the steps use."""

    def traced(self, phase: str, trace: Callable[[], Any]) -> Any:
        """Call `trace`, which returns the concrete function of a step, and return its result."""

    def eager(self, phase: str) -> AbstractContextManager[None]:
        """Return a context in which one step runs in Python."""

    def settle(self) -> None:
        """Called after a graph with steps is traced and before it runs."""


class Program:
    """The compiled functions of a model.

    Args:
        model: A compiled and built Keras model; its train_step, test_step and predict_step run.
        transform: Applied to the x of every batch before the model, or None; its variables are
            those of `inputs.Scaler`.
        eager: Whether to run steps one by one in Python, for debugging.
        ambient: Returns the context in which functions are traced and steps run in Python.

    Attributes:
        jit: Whether XLA compiles the training chunk; set it before the first chunk.
        compiled: Steps in the program compiled by XLA; None for those of the longest chunk so
            far. Set it before the first chunk.
        graphs: The traced functions and their variables.
        batch_size: Rows in a full batch of rows in memory, or None if unknown.
        extensions: Callbacks whose before_step is part of the training step; set it before the
            first chunk.
        watch: Observes the steps of a fit, or None.
        streamed: Counts the steps of a pass over a stream; after an error, the step that failed.
        replicas: Runs the steps on several devices, within `on_replicas`; else None.
    """

    def __init__(
        self,
        model: keras.Model,
        transform: Any = None,
        *,
        eager: bool = False,
        ambient: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        import keras

        self.model = model
        self.streamed = keras.Variable(0, dtype="int32", trainable=False, name="streamed")
        self.transform = transform
        self.eager = eager
        self.jit = False
        self.graphs = Graphs(ambient)
        self.replicas: Replicas | None = None
        self._ambient = ambient
        self.extensions: list[Any] = []
        self.compiled: int | None = None
        self.batch_size: int | None = None
        self._watch: Watch | None = None
        self._longest = 0
        self._predicted: Any = None
        # of a row of each shape, as to derive them takes as long as a small network
        self._predicted_specs: dict[Any, Specs] = {}
        self._predicting = threading.Lock()

    def train(self, chunk: RowsChunk | StreamChunk) -> tuple[int, Logs]:
        """Train on the batches of a chunk; return their number and the last logs."""
        if isinstance(chunk, RowsChunk):
            return chunk.steps, self.train_rows(chunk.data, chunk.indices, chunk.even, chunk.whole)
        return self._pull(self.train_stream, chunk)

    def test(self, chunk: RowsChunk | StreamChunk) -> tuple[int, Logs]:
        """Evaluate the batches of a chunk; return their number and the last logs."""
        if isinstance(chunk, RowsChunk):
            return chunk.steps, self.test_rows(chunk.data, chunk.indices, chunk.even, chunk.whole)
        return self._pull(self.test_stream, chunk)

    def _pull(
        self, run: Callable[[Any, int], tuple[int, Logs]], chunk: StreamChunk
    ) -> tuple[int, Logs]:
        self.streamed.assign(chunk.before)
        try:
            return run(chunk.iterator, chunk.steps)
        except Exception as error:
            chunk.explain(error, int(self.streamed))
            raise

    @property
    def watch(self) -> Watch | None:
        """The observer of the steps of a fit, or None."""
        return self._watch

    @watch.setter
    def watch(self, watch: Watch | None) -> None:
        self._watch = watch
        self.graphs.after_trace = None if watch is None else watch.settle

    def train_rows(
        self, data: Batch, indices: np.ndarray, even: bool = False, whole: int | None = None
    ) -> Logs:
        """Train on a chunk of batches from data in memory.

        Args:
            data: Tensors of all rows, [n, ...] each.
            indices: The rows of each batch, int32 [steps, batch].
            even: Whether all batches have this size; user code may need a static size.
            whole: The rows of a batch over all workers, if `indices` has only those of this one.

        Returns:
            The logs of the last train_step: scalars, averaged over the epoch so far.
        """
        if self.replicas is not None:
            return self._run_on_replicas("train", self._train_step, data, indices, even, whole)
        if self.eager:
            return self._one_by_one("train", self._train_step, data, indices)
        if self.jit and (len(indices) > 1 or self._is_part(indices)):
            return self._train_compiled(data, indices)
        return self._run_rows("train", self._train_step, data, indices, even)

    def test_rows(
        self, data: Batch, indices: np.ndarray, even: bool = False, whole: int | None = None
    ) -> Logs:
        """Evaluate a chunk of batches; arguments and result as for `train_rows`."""
        if self.replicas is not None:
            return self._run_on_replicas("test", self._test_step, data, indices, even, whole)
        if self.eager:
            return self._one_by_one("test", self._test_step, data, indices)
        return self._run_rows("test", self._test_step, data, indices, even)

    def train_stream(self, iterator: Any, steps: int) -> tuple[int, Logs]:
        """Train on up to `steps` batches from a tf.data iterator.

        Returns:
            The number of batches, and the logs of the last train_step.
        """
        return self._run_stream("train", self._train_step, iterator, steps)

    def test_stream(self, iterator: Any, steps: int) -> tuple[int, Logs]:
        """Evaluate up to `steps` batches from a tf.data iterator, like `train_stream`."""
        return self._run_stream("test", self._test_step, iterator, steps)

    def warm_up(self, spec: Batch, batch_size: int, phase: str = "train") -> None:
        """Run a step on zeros, so that user code creates the variables of its first step.

        Not on data: a pass over a stream, even an aborted one, changes the order of the next.

        Args:
            spec: The spec of a batch, as tf.TensorSpec.
            batch_size: The number of rows if the spec does not specify it.
            phase: "train" or "test".
        """
        import tensorflow as tf

        def zeros(leaf: Any) -> Any:
            rows = leaf.shape[0] or batch_size
            return tf.zeros([rows, *(d or 1 for d in leaf.shape[1:])], leaf.dtype)

        batch = tf.nest.map_structure(zeros, spec)
        rows = tf.nest.flatten(batch)[0].shape[0]
        run = self.train_rows if phase == "train" else self.test_rows
        run(batch, np.arange(rows, dtype=np.int32)[None])

    def look(self, phase: str, spec: Batch, batch_size: int) -> None:
        """Let the watch see a step before the first one: trace it, or run it if `eager`.

        Args:
            phase: "train" or "test".
            spec: As for `warm_up`.
            batch_size: As for `warm_up`.
        """
        import tensorflow as tf

        if self.eager:
            self.warm_up(spec, batch_size, phase)
            return
        step = self._train_step if phase == "train" else self._test_step
        inside, form = self._ambient(), spec
        if self.replicas is not None:
            step, form = self.replicas.step(phase, step, few=True), (spec, None, None)
            inside = self._on_replicas()
        with inside:
            self._concrete(phase, tf.function(step, autograph=False), form)

    def predict(self, x: Any) -> Any:
        """Return the outputs of the model for a tree of tensors [n, ...], as a tree of tensors."""
        if self.eager:
            with self._ambient():
                return self._predict_step(x)
        shape = _shape(x)
        specs = self._predicted_specs.get(shape)
        if specs is None:
            specs = Specs(self._predicted_form(_open_batch(x)))
            if shape is not None:
                self._predicted_specs[shape] = specs
        return self.graphs.run("predict", self._predict_step, (x,), specs)

    def largest(self, spec: Any) -> int:
        """Return the number of values per row in the largest tensor of the forward pass.

        Args:
            spec: The spec of x, as tf.TensorSpec with an unknown batch dimension.
        """
        form = self._predicted_form(spec)
        return largest_a_row(
            self.graphs.form("predict", self._predict_step, (form,)),
            [d for leaf in _leaves(spec) for d in leaf.shape[1:]],
        )

    def _predicted_form(self, spec: Any) -> Any:
        import tensorflow as tf

        with self._predicting:
            if self._predicted is not None:
                # Dimensions that vary between calls become unknown, so that not every size is
                # traced.
                spec = tf.nest.map_structure(
                    lambda old, new: old.most_specific_common_supertype([new]) or new,
                    self._predicted,
                    spec,
                )
            self._predicted = spec
            return spec

    def _named(self, phase: str, form: str = "") -> str:
        name = f"{phase}{form}"
        if phase == "test":
            return name
        # If the key of an extension changes during a fit, the steps are traced again.
        keys = [extension.traced_key() for extension in self.extensions]
        return f"{name} {keys}" if keys else name

    # ---- several devices ---------------------------------------------------------------------

    @contextmanager
    def on_replicas(self, replicas: Replicas) -> Iterator[None]:
        """Run steps on several devices until the end; the variables must be there already."""
        graphs = self.graphs
        self.replicas = replicas
        self.graphs = Graphs(self._on_replicas)
        self.graphs.after_trace = graphs.after_trace
        try:
            yield
        finally:
            self.graphs, self.replicas = graphs, None

    @contextmanager
    def _on_replicas(self) -> Iterator[None]:
        assert self.replicas is not None
        with self._ambient(), self.replicas.scope():
            yield

    def _run_on_replicas(
        self,
        phase: str,
        step: Callable[[Batch], Logs],
        data: Batch,
        indices: np.ndarray,
        even: bool,
        whole: int | None,
    ) -> Logs:
        import tensorflow as tf

        replicas = self.replicas
        assert replicas is not None
        size = indices.shape[1] if whole is None else whole
        few = size < replicas.count
        on_all = replicas.step(phase, step, few=few, size=size if even else None)

        def run(data: Batch, indices: Any, whole: Any) -> Logs:
            def batch(i: Any) -> Any:
                return data, indices[i], whole

            logs = self._repeat(phase, on_all, batch, tf.shape(indices)[0])
            return replicas.logs(phase, logs)

        size_of_batch = indices.shape[1] if even else None
        specs = (
            _open_batch(data),
            tf.TensorSpec([None, size_of_batch], tf.int32),
            tf.TensorSpec([], tf.int32),
        )
        name = self._named(phase, "_few" if few else "_rows")
        arguments = (data, tf.constant(indices), tf.constant(size, tf.int32))
        logs: Logs = self.graphs.run(name, run, arguments, specs)
        return logs

    def _stream_on_replicas(
        self, phase: str, step: Callable[[Batch], Logs]
    ) -> Callable[[Any, Any], tuple[Any, Logs]]:
        import tensorflow as tf

        replicas = self.replicas
        assert replicas is not None
        on_all = replicas.step(phase, step, few=True)

        def run(iterator: Any, steps: Any) -> tuple[Any, Logs]:
            one = tf.function(lambda batch: on_all((batch, None, None)), autograph=False)

            def more(i: Any, element: Any, _: Logs) -> Any:
                return tf.logical_and(i < steps, element.has_value())

            def body(i: Any, element: Any, _: Logs) -> tuple[Any, Any, Logs]:
                # not within a condition: gradients cannot be exchanged there
                logs = one(element.get_value())
                self.streamed.assign_add(1)
                following = tf.cond(
                    i + 1 < steps,
                    iterator.get_next_as_optional,
                    lambda: tf.experimental.Optional.empty(iterator.element_spec),
                )
                return i + 1, following, logs

            zeros = self._zeros(phase, one, iterator.element_spec)
            start = (tf.constant(0), iterator.get_next_as_optional(), zeros)
            done, _, logs = tf.while_loop(more, body, start, parallel_iterations=1)
            return done, replicas.logs(phase, logs)

        return run

    # ---- one step ----------------------------------------------------------------------------

    def _train_step(self, batch: Batch) -> Logs:
        for extension in self.extensions:
            extension.before_step(self.model)
        try:
            return self._checked("train_step", self.model.train_step(self.transformed(batch)))
        finally:
            for extension in reversed(self.extensions):
                extension.after_step(self.model)

    def _test_step(self, batch: Batch) -> Logs:
        return self._checked("test_step", self.model.test_step(self.transformed(batch)))

    def _predict_step(self, x: Any) -> Any:
        # Keras' predict runs predict_step, which users may override.
        return self.model.predict_step(self.transformed((x,)))

    def transformed(self, batch: Batch) -> Batch:
        """Return the batch with x normalised, as the model expects it."""
        if self.transform is None:
            return batch
        return (self.transform(batch[0]), *batch[1:])

    def _checked(self, name: str, logs: Any) -> Logs:
        if not isinstance(logs, dict):
            raise TypeError(
                f"{name} of {type(self.model).__name__} returned {type(logs).__name__}: it must "
                'return a dict of scalars, such as {"loss": loss}'
            )
        return logs

    # ---- many steps --------------------------------------------------------------------------

    def _is_part(self, indices: np.ndarray) -> bool:
        """Return whether a single step is to run in the program that XLA compiled for chunks.

        The results of the two programs differ by rounding, and must not depend on how an epoch is
        split. For the smaller batch at the end of an epoch, XLA would have to compile again.
        """
        return (self.compiled or 1) > 1 and indices.shape[1] == self.batch_size

    def _run_rows(
        self,
        phase: str,
        step: Callable[[Batch], Logs],
        data: Batch,
        indices: np.ndarray,
        even: bool,
    ) -> Logs:
        import tensorflow as tf

        def run(data: Batch, indices: Any) -> Logs:
            def batch(i: Any) -> Batch:
                picked: Batch = tf.nest.map_structure(lambda t: tf.gather(t, indices[i]), data)
                return picked

            return self._repeat(phase, step, batch, tf.shape(indices)[0])

        # A graph shared by twins must accept any batch size.
        batch_size = indices.shape[1] if even and not self.graphs.shared else None
        specs = (_open_batch(data), tf.TensorSpec([None, batch_size], tf.int32))
        name = self._named(phase, "_rows")
        logs: Logs = self.graphs.run(name, run, (data, tf.constant(indices)), specs)
        return logs

    def _train_compiled(self, data: Batch, indices: np.ndarray) -> Logs:
        import tensorflow as tf

        # XLA compiles once per shape, so pad a shorter chunk and end the loop early. Gather before
        # the loop: XLA does not finish compiling a loop that gathers from a large array.
        steps = len(indices)
        self._longest = max(self._longest, steps, self.compiled or 0)
        rows = np.concatenate([indices, np.repeat(indices[:1], self._longest - steps, axis=0)])
        flat = tf.constant(rows.reshape(-1))
        chunk = tf.nest.map_structure(
            lambda t: tf.reshape(tf.gather(t, flat), (*rows.shape, *t.shape[1:])), data
        )

        def run(chunk: Batch, steps: Any) -> Logs:
            def batch(i: Any) -> Batch:
                picked: Batch = tf.nest.map_structure(lambda t: t[i], chunk)
                return picked

            return self._repeat("train", self._train_step, batch, steps)

        # Leave the batch dimension unknown, as in the other graphs: with several outputs, Keras
        # weights each loss by the batch size only if it is known.
        specs = (
            tf.nest.map_structure(
                lambda t: tf.TensorSpec([t.shape[0], None, *t.shape[2:]], t.dtype), chunk
            ),
            tf.TensorSpec([], tf.int32),
        )
        arguments = (chunk, tf.constant(steps))
        logs: Logs = self.graphs.run(
            self._named("train", "_chunk"), run, arguments, specs, jit=True
        )
        return logs

    def _run_stream(
        self, phase: str, step: Callable[[Batch], Logs], iterator: Any, steps: int
    ) -> tuple[int, Logs]:
        import tensorflow as tf

        if self.eager:
            logs: Logs = {}
            for done in range(steps):
                element = next(iterator, None)
                if element is None:
                    return done, logs
                with self._ambient(), self._watched(phase):
                    logs = step(element)
                self.streamed.assign_add(1)
            return steps, logs

        def run(iterator: Any, steps: Any) -> tuple[Any, Logs]:
            one = tf.function(step, autograph=False)

            def more(i: Any, left: Any, _: Logs) -> Any:
                return tf.logical_and(i < steps, left)

            def body(i: Any, left: Any, logs: Logs) -> tuple[Any, Any, Logs]:
                element = iterator.get_next_as_optional()
                left = element.has_value()
                logs = tf.cond(left, lambda: one(element.get_value()), lambda: logs)
                self.streamed.assign_add(tf.cast(left, tf.int32))
                return i + tf.cast(left, tf.int32), left, logs

            zeros = self._zeros(phase, one, iterator.element_spec)
            start = (tf.constant(0), tf.constant(True), zeros)
            done, _, logs = tf.while_loop(more, body, start, parallel_iterations=1)
            return done, logs

        specs = (iterator._type_spec, tf.TensorSpec([], tf.int32))
        name = self._named(phase, "_stream")
        traced = run if self.replicas is None else self._stream_on_replicas(phase, step)
        done, logs = self.graphs.run(name, traced, (iterator, tf.constant(steps)), specs)
        return int(done), logs

    def _one_by_one(
        self, phase: str, step: Callable[[Batch], Logs], data: Batch, indices: np.ndarray
    ) -> Logs:
        import tensorflow as tf

        logs: Logs = {}
        for rows in indices:
            with self._ambient(), self._watched(phase):
                logs = step(tf.nest.map_structure(lambda t, r=rows: tf.gather(t, r), data))
        return logs

    def _watched(self, phase: str) -> AbstractContextManager[None]:
        return nullcontext() if self._watch is None else self._watch.eager(phase)

    def _repeat(
        self,
        phase: str,
        step: Callable[[Batch], Logs],
        batch: Callable[[Any], Batch],
        steps: Any,
    ) -> Logs:
        """Run `step(batch(i))` for each i below `steps` in a graph, and return the last logs."""
        import tensorflow as tf

        one = tf.function(step, autograph=False)  # Keras traces steps without autograph too
        first = batch(0)
        spec = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype), first)
        _, logs = tf.while_loop(
            lambda i, _: i < steps,
            lambda i, _: (i + 1, one(batch(i))),
            (tf.constant(0), self._zeros(phase, one, spec)),
            parallel_iterations=1,
        )
        result: Logs = logs
        return result

    def _zeros(self, phase: str, step: Any, spec: Any) -> Logs:
        # The loop variables need the structure of the logs before the first step has run.
        import tensorflow as tf

        concrete = self._concrete(phase, step, spec)
        free_after_trace(concrete.graph)
        zeros: Logs = tf.nest.map_structure(
            lambda t: tf.zeros([d or 0 for d in t.shape], t.dtype), concrete.structured_outputs
        )
        return zeros

    def _concrete(self, phase: str, step: Any, spec: Any) -> Any:
        def trace() -> Any:
            return step.get_concrete_function(spec)

        return trace() if self._watch is None else self._watch.traced(self._named(phase), trace)


def largest_a_row(graph: Any, lengths: Sequence[int | None]) -> int:
    """Return the number of values per row in the largest tensor of a graph.

    The layers' outputs are not enough: attention scores are inside a layer, as are the
    intermediate results of a custom function.

    Args:
        graph: A GraphDef with shapes and an unknown batch dimension.
        lengths: The lengths of the axes of x; the largest is assumed for other unknown dimensions.
    """
    longest = max((n for n in lengths if n), default=1)
    largest = 1
    nodes = [graph.node, *(function.node_def for function in graph.library.function)]
    for node in itertools.chain.from_iterable(nodes):
        for shape in node.attr["_output_shapes"].list.shape:
            sizes = [d.size for d in shape.dim]
            if -1 in sizes:
                of_batch = sizes.index(-1)
                rest = sizes[:of_batch] + sizes[of_batch + 1 :]
                largest = max(largest, math.prod(longest if d < 0 else d for d in rest))
    return largest


def _leaves(tree: Any) -> list[Any]:
    import tensorflow as tf

    found: list[Any] = tf.nest.flatten(tree)
    return found


def _shape(x: Any) -> Any:
    """Return dtype and shape of a row of one tensor [n, ...], or None for several."""
    if not hasattr(x, "shape"):
        return None
    return (x.dtype, *x.shape.as_list()[1:])


def _open_batch(tree: Any) -> Any:
    """Return the spec of tensors [n, ...] with unknown n, so that one trace serves all sizes."""
    import tensorflow as tf

    return tf.nest.map_structure(lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), tree)
