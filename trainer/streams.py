"""Streams: tf.data.Dataset and keras.utils.PyDataset as batches of (x, y, sample_weight).

Responsible for recognising a stream, for batching one that is not, and for passing on the error
that a user's own code raised inside one. Not for rows in memory (`arrays`, `engine.feeds`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any


def is_stream(value: Any) -> bool:
    """Whether `value` is a tf.data.Dataset or a keras.utils.PyDataset.

    Raises:
        TypeError: it is a Python generator, which gives its rows only once.
    """
    if isinstance(value, Iterator) and not hasattr(value, "element_spec"):
        raise TypeError(
            f"x is a {type(value).__name__}, which gives its batches only once; pass a "
            "keras.utils.PyDataset, or tf.data.Dataset.from_generator(function, ...)"
        )
    if "tensorflow" not in sys.modules and "keras" not in sys.modules:
        return False
    import keras
    import tensorflow as tf

    return isinstance(value, (tf.data.Dataset, keras.utils.PyDataset))


class Stream:
    """Batches of (x,), (x, y) or (x, y, sample_weight).

    Attributes:
        dataset: a batched tf.data.Dataset whose elements are such tuples.
        steps: the number of batches, or None if it is unknown.
    """

    def __init__(self, dataset: Any, *, steps: int | None, source: _Source | None = None) -> None:
        self.dataset = dataset
        self.steps = steps
        self._source = source

    @classmethod
    def of(cls, value: Any, *, batch_size: int, name: str) -> Stream:
        """A stream over a tf.data.Dataset, batched or not, or a keras.utils.PyDataset.

        Args:
            value: the data set.
            batch_size: the rows a batch, where its elements are single rows.
            name: what the user calls it, for errors.

        Raises:
            ValueError: it is empty, or endless.
        """
        import tensorflow as tf

        if not isinstance(value, tf.data.Dataset):
            source = _Source(value, name)
            return cls(source.dataset(), steps=value.num_batches, source=source)
        cardinality = int(value.cardinality())
        if cardinality == tf.data.INFINITE_CARDINALITY:
            raise ValueError(
                f"{name} is a tf.data.Dataset without end; remove repeat(), or write "
                f"{name}.take(steps) to say how long an epoch is"
            )
        if cardinality == 0:
            raise ValueError(f"{name} is empty: a tf.data.Dataset with 0 sample(s)")
        dataset = value.map(_as_tuple, num_parallel_calls=tf.data.AUTOTUNE)
        if not _is_batched(dataset.element_spec):
            dataset = dataset.batch(batch_size, num_parallel_calls=tf.data.AUTOTUNE)
        dataset = dataset.prefetch(tf.data.AUTOTUNE)
        steps = int(dataset.cardinality())
        return cls(dataset, steps=None if steps < 0 else steps)

    @property
    def x_spec(self) -> Any:
        """The tree of tf.TensorSpec of x."""
        return self.dataset.element_spec[0]

    @property
    def y_spec(self) -> Any:
        """The tree of tf.TensorSpec of y, or None if the elements hold x alone."""
        spec = self.dataset.element_spec
        return spec[1] if len(spec) > 1 else None

    def part(self, i: int) -> Iterable[Any]:
        """A re-iterable view of x (0), y (1) or the weights (2) as trees of NumPy arrays."""
        return _Part(self, i)

    def map(self, function: Callable[..., tuple[Any, ...]]) -> Stream:
        """The stream with `function(x, y, ...)` applied to each batch in the pipeline."""
        import tensorflow as tf

        mapped = self.dataset.map(function, num_parallel_calls=tf.data.AUTOTUNE)
        return Stream(mapped.prefetch(tf.data.AUTOTUNE), steps=self.steps, source=self._source)

    def around_epoch(self, begins: bool) -> None:
        """Tell a PyDataset that a pass begins, or that it has ended."""
        if self._source is not None:
            self._source.around_epoch(begins)

    def reraise(self, error: Exception, steps: int) -> None:
        """Raise the user's own error, with the batch in which it arose, in place of `error`.

        Args:
            error: what TensorFlow made of it.
            steps: the batches that had been used before it.
        """
        if self._source is not None and self._source.error is not None:
            cause, self._source.error = self._source.error, None
            cause.add_note(
                f"raised while reading batch {self._source.batch} of {self._source.name}"
            )
            raise cause from None
        error.add_note(f"raised after {steps} batches of the stream had been used")


class _Part:
    def __init__(self, stream: Stream, i: int) -> None:
        self._stream = stream
        self._i = i

    def __iter__(self) -> Iterator[Any]:
        self._stream.around_epoch(True)
        read = 0
        try:
            for batch in self._stream.dataset.as_numpy_iterator():
                yield batch[self._i]
                read += 1
        except Exception as error:
            self._stream.reraise(error, read)
            raise
        finally:
            self._stream.around_epoch(False)


class _Source:
    """A PyDataset behind Keras' own adapter, which runs its workers."""

    def __init__(self, dataset: Any, name: str) -> None:
        from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter

        self.name = name
        self.error: Exception | None = None
        self.batch = 0
        source = self

        class Adapter(PyDatasetAdapter):
            def _get_iterator(self) -> Iterator[Any]:
                return source.watched(super()._get_iterator())

        if dataset.num_batches == 0:
            raise ValueError(f"{name} is empty: a PyDataset with 0 sample(s)")
        if dataset.num_batches is None:
            raise ValueError(f"{name} is a PyDataset without end; give it a num_batches")
        self._adapter = Adapter(dataset)

    def dataset(self) -> Any:
        return self._adapter.get_tf_dataset().map(_as_tuple)

    def watched(self, batches: Iterator[Any]) -> Iterator[Any]:
        # from_generator turns an exception into text: keep the exception itself
        self.batch = 0
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except Exception as error:
                self.error = error
                raise
            self.batch += 1
            yield batch

    def around_epoch(self, begins: bool) -> None:
        if begins:
            self._adapter.on_epoch_begin()
        elif self._adapter._within_epoch:
            self._adapter.on_epoch_end()


def _as_tuple(*element: Any) -> tuple[Any, ...]:
    return element


def _is_batched(spec: Any) -> bool:
    """Whether every component of an element has the same leading dimension, as batches have."""
    import keras

    shapes = [s.shape for s in keras.tree.flatten(spec)]
    if any(s.rank == 0 for s in shapes):
        return False
    if any(s.rank is None for s in shapes):
        return True
    leading = {s[0] for s in shapes}
    return len(leading) == 1 and (None in leading or len(shapes) > 1)
