"""The compiled functions of one model: train a chunk of steps, evaluate a chunk, predict.

Responsible for running `model.train_step` and `model.test_step` many times in one dispatch, and
for compiling each function once. Not for the order of batches nor for epochs: that is `loop`'s.

A dispatch of one step costs more than the step itself for most models on a CPU, so K steps run
inside one `tf.function`, in a while loop. What a step does is Keras' own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

Batch = tuple[Any, ...]  # (x,), (x, y) or (x, y, sample_weight), each a tree of tensors
Logs = dict[str, Any]


class Program:
    """The compiled functions of a model.

    Args:
        model: a compiled and built Keras model; its train_step, test_step and call are used.
        transform: applied to x of every batch before the model sees it, or None.
        eager: whether steps run one by one in Python, for debugging.

    Attributes:
        jit: whether XLA compiles the training chunk; set it before the first.
    """

    def __init__(
        self,
        model: keras.Model,
        transform: Callable[[Any], Any] | None = None,
        *,
        eager: bool = False,
    ) -> None:
        import tensorflow as tf

        self.model = model
        self.eager = eager
        self.jit = False
        self.transform = transform
        self._longest = 0
        self._train_step: Any = self._on_transformed(model.train_step)
        self._test_step: Any = self._on_transformed(model.test_step)
        if not eager:
            # no autograph: Keras traces steps without it too
            graph = functools.partial(tf.function, reduce_retracing=True, autograph=False)
            self._train_step = graph(self._train_step)
            self._test_step = graph(self._test_step)
            self._predict = graph(self._call)
            self._train_rows = graph(self._rows_loop(self._train_step))
            self._test_rows = graph(self._rows_loop(self._test_step))
            self._train_stream = graph(self._stream_loop(self._train_step))
            self._test_stream = graph(self._stream_loop(self._test_step))
            self._train_chunk = tf.function(
                self._chunk_loop, autograph=False, reduce_retracing=False, jit_compile=True
            )

    @property
    def traces(self) -> int:
        """How often TensorFlow has traced any of the functions; constant once warm."""
        if self.eager:
            return 0
        return sum(
            f.experimental_get_tracing_count()
            for f in (
                self._train_step,
                self._test_step,
                self._predict,
                self._train_rows,
                self._test_rows,
                self._train_stream,
                self._test_stream,
                self._train_chunk,
            )
        )

    def train_rows(self, data: Batch, indices: np.ndarray) -> Logs:
        """Train a chunk of batches taken from data held in memory.

        Args:
            data: tensors of all rows, [n, ...] each.
            indices: the rows of each batch, int32 [steps, batch].

        Returns:
            What the last train_step returned: scalars, averaged over the epoch so far.
        """
        import tensorflow as tf

        if self.eager:
            return self._one_by_one(self._train_step, data, indices)
        if self.jit and len(indices) > 1:
            return self._train_compiled(data, indices)
        logs: Logs = self._train_rows(data, tf.constant(indices))
        return logs

    def _train_compiled(self, data: Batch, indices: np.ndarray) -> Logs:
        # XLA compiles once a shape: a chunk that falls short is filled up, and the loop ends early
        import tensorflow as tf

        steps = len(indices)
        self._longest = max(self._longest, steps)
        rows = np.concatenate([indices, np.repeat(indices[:1], self._longest - steps, axis=0)])
        flat = tf.constant(rows.reshape(-1))
        chunk = tf.nest.map_structure(
            lambda t: tf.reshape(tf.gather(t, flat), (*rows.shape, *t.shape[1:])), data
        )
        logs: Logs = self._train_chunk(chunk, tf.constant(steps))
        return logs

    def test_rows(self, data: Batch, indices: np.ndarray) -> Logs:
        """Evaluate a chunk of batches; arguments and result as for `train_rows`."""
        import tensorflow as tf

        if self.eager:
            return self._one_by_one(self._test_step, data, indices)
        logs: Logs = self._test_rows(data, tf.constant(indices))
        return logs

    def train_stream(self, iterator: Any, steps: int) -> tuple[int, Logs]:
        """Train up to `steps` batches from a tf.data iterator.

        Returns:
            How many batches there were, and what the last train_step returned.
        """
        return self._run_stream(self._train_stream, self._train_step, iterator, steps)

    def test_stream(self, iterator: Any, steps: int) -> tuple[int, Logs]:
        """Evaluate up to `steps` batches from a tf.data iterator, as `train_stream`."""
        return self._run_stream(self._test_stream, self._test_step, iterator, steps)

    def predict(self, x: Any) -> Any:
        """The outputs of the model for a tree of arrays [n, ...], as a tree of tensors."""
        if self.eager:
            return self._call(x)
        return self._predict(x)

    def _on_transformed(self, step: Callable[[Batch], Logs]) -> Callable[[Batch], Logs]:
        def transformed(batch: Batch) -> Logs:
            if self.transform is not None:
                batch = (self.transform(batch[0]), *batch[1:])
            logs = step(batch)
            if not isinstance(logs, dict):
                raise TypeError(
                    f"{step.__name__} of {type(self.model).__name__} returned "
                    f"{type(logs).__name__}: it must return a dict of scalars, such as "
                    '{"loss": loss}'
                )
            return logs

        return transformed

    def _call(self, x: Any) -> Any:
        if self.transform is not None:
            x = self.transform(x)
        # predict_step is what Keras' own predict runs, and users may override it
        return self.model.predict_step((x,))

    def _rows_loop(self, step: Callable[[Batch], Logs]) -> Callable[[Batch, Any], Logs]:
        import tensorflow as tf

        def run(data: Batch, indices: Any) -> Logs:
            def batch(i: Any) -> Batch:
                picked: Batch = tf.nest.map_structure(lambda t: tf.gather(t, indices[i]), data)
                return picked

            return _repeat(lambda i: step(batch(i)), tf.shape(indices)[0], step, batch(0))

        return run

    def _chunk_loop(self, chunk: Batch, steps: Any) -> Logs:
        import tensorflow as tf

        # XLA gathers the whole chunk before the loop: with the gather inside, compiling a loop
        # over a large data set does not end.
        def batch(i: Any) -> Batch:
            picked: Batch = tf.nest.map_structure(lambda t: t[i], chunk)
            return picked

        return _repeat(lambda i: self._train_step(batch(i)), steps, self._train_step, batch(0))

    def _stream_loop(self, step: Callable[[Batch], Logs]) -> Callable[..., tuple[Any, Logs]]:
        import tensorflow as tf

        def run(iterator: Any, steps: Any) -> tuple[Any, Logs]:
            spec = tf.nest.map_structure(
                lambda s: tf.TensorSpec(s.shape, s.dtype), iterator.element_spec
            )
            empty = _zeros(step, spec)

            def more(i: Any, left: Any, logs: Logs) -> Any:
                return tf.logical_and(i < steps, left)

            def body(i: Any, left: Any, logs: Logs) -> tuple[Any, Any, Logs]:
                element = iterator.get_next_as_optional()
                left = element.has_value()
                logs = tf.cond(left, lambda: step(element.get_value()), lambda: logs)
                return i + tf.cast(left, tf.int32), left, logs

            done, _, logs = tf.while_loop(
                more, body, (tf.constant(0), tf.constant(True), empty), parallel_iterations=1
            )
            return done, logs

        return run

    def _run_stream(
        self, compiled: Any, step: Callable[[Batch], Logs], iterator: Any, steps: int
    ) -> tuple[int, Logs]:
        import tensorflow as tf

        if self.eager:
            logs: Logs = {}
            for done in range(steps):
                element = next(iterator, None)
                if element is None:
                    return done, logs
                logs = step(element)
            return steps, logs
        done, logs = compiled(iterator, tf.constant(steps))
        return int(done), logs

    def _one_by_one(self, step: Callable[[Batch], Logs], data: Batch, indices: np.ndarray) -> Logs:
        import tensorflow as tf

        logs: Logs = {}
        for rows in indices:
            logs = step(tf.nest.map_structure(lambda t, r=rows: tf.gather(t, r), data))
        return logs


def _repeat(body: Callable[[Any], Logs], steps: Any, step: Any, example: Batch) -> Logs:
    """Run `body(0)` to `body(steps - 1)` in a graph, and return the last logs."""
    import tensorflow as tf

    spec = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype), example)
    _, logs = tf.while_loop(
        lambda i, logs: i < steps,
        lambda i, logs: (i + 1, body(i)),
        (tf.constant(0), _zeros(step, spec)),
        parallel_iterations=1,
    )
    result: Logs = logs
    return result


def _zeros(step: Any, spec: Any) -> Logs:
    # the loop's variables need the form of a step's logs before the first step has run
    import tensorflow as tf

    logs = step.get_concrete_function(spec).structured_outputs
    zeros: Logs = tf.nest.map_structure(
        lambda t: tf.zeros([d or 0 for d in t.shape], t.dtype), logs
    )
    return zeros
