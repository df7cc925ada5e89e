"""Feeds: batches from rows held in memory or on disk, and from streams.

Responsible for the order of rows, for cutting an epoch into chunks, and for holding data as
tensors where they fit. Not for what is done with a chunk: feeds know no program.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

Batch = tuple[Any, ...]  # (x,), (x, y) or (x, y, sample_weight), each a tree of tensors

MANY = sys.maxsize  # steps of a dispatch that nothing limits


@dataclass(frozen=True)
class RowsChunk:
    """Batches that are picked from tensors.

    Attributes:
        data: tensors of rows, [n, ...] each.
        indices: the rows of each batch, int32 [steps, batch].
        even: whether all batches of the epoch are of this size: a model's own code may ask for it.
    """

    data: Batch
    indices: np.ndarray
    even: bool

    @property
    def steps(self) -> int:
        """The number of batches."""
        return len(self.indices)


@dataclass(frozen=True)
class StreamChunk:
    """Batches that are pulled from an iterator.

    Attributes:
        iterator: of tf.data.
        steps: how many batches to pull, if there are as many.
        before: the batches of the pass that came before.
        explain: called with an error of TensorFlow and the step of the pass at which it arose;
            raises the cause instead.
    """

    iterator: Any
    steps: int
    before: int
    explain: Callable[[Exception, int], None]


class RowsFeed:
    """Batches of rows picked from arrays.

    Args:
        data: (x,), (x, y) or (x, y, sample_weight): trees of arrays [n, ...].
        batch_size: rows a batch; the last batch of an epoch may be smaller.
        float_dtype: what floats are converted to, "float32" or "float64", as Keras does.
        shuffle: whether each epoch has an order of its own.
        seed: with the epoch, determines that order, and nothing else does.

    Attributes:
        data: the arrays.
        resident: whether all rows are held as tensors; otherwise each chunk's rows are read from
            the arrays when they are needed, which may be memory-mapped. Set it before first use.
        most_read: the most batches to read at once where rows are not held as tensors.
    """

    def __init__(
        self,
        data: Batch,
        *,
        batch_size: int,
        float_dtype: str,
        shuffle: bool = False,
        seed: int = 0,
    ) -> None:
        import keras

        self.data = data
        self._flat = keras.tree.flatten(data)
        self.rows = len(self._flat[0])
        self._even = self.rows % batch_size == 0
        self.batch_size = min(batch_size, self.rows)
        self.steps: int | None = -(-self.rows // self.batch_size)
        self._dtype = float_dtype
        self._shuffle = shuffle
        self._seed = seed
        self.resident = True
        self.most_read = MANY
        self._tensors: Batch | None = None

    def _to_tensors(self, data: Batch) -> Batch:
        import keras
        import tensorflow as tf

        def convert(array: Any) -> Any:
            if array.dtype.kind in "fb":
                return tf.constant(np.asarray(array), dtype=self._dtype)
            return tf.constant(np.asarray(array))

        tensors: Batch = keras.tree.map_structure(convert, data)
        return tensors

    @property
    def spec(self) -> Batch:
        """The form of a batch: a tree of tf.TensorSpec with an open batch dimension."""
        import keras
        import tensorflow as tf

        def one(array: Any) -> Any:
            dtype = self._dtype if array.dtype.kind in "fb" else array.dtype
            return tf.TensorSpec([None, *array.shape[1:]], dtype)

        spec: Batch = keras.tree.map_structure(one, self.data)
        return spec

    def order(self, epoch: int) -> np.ndarray:
        """The order of the rows in an epoch, int32 [n]: a pure function of seed and epoch."""
        if not self._shuffle:
            return np.arange(self.rows, dtype=np.int32)
        generator = np.random.default_rng([self._seed, epoch])
        return generator.permutation(self.rows).astype(np.int32)

    def first(self) -> Batch:
        """The first batch in the order of the rows, as tensors."""
        import keras

        rows = slice(self.batch_size)
        return self._to_tensors(keras.tree.map_structure(lambda a: np.asarray(a[rows]), self.data))

    def replay(self, epochs: int) -> None:
        """Nothing: an epoch's order does not depend on those before it."""

    def train(
        self, epoch: int, chunk: int, start: int = 0, most: Callable[[], int] = lambda: MANY
    ) -> Generator[RowsChunk]:
        """The chunks of an epoch, in its order, from step `start`.

        They end at multiples of `chunk`, wherever the epoch was begun, or after `most()` steps.
        """
        return self._chunks(self.order(epoch), chunk, start, most)

    def test(self, chunk: int) -> Generator[RowsChunk]:
        """The chunks of all rows in their own order."""
        if not self.resident:
            chunk = min(chunk, self.most_read)
        return self._chunks(np.arange(self.rows, dtype=np.int32), chunk)

    def _chunks(
        self,
        order: np.ndarray,
        chunk: int,
        start: int = 0,
        most: Callable[[], int] = lambda: MANY,
    ) -> Generator[RowsChunk]:
        pieces = self._pieces(order, chunk, start, most)
        for data, indices in self._resident(pieces) if self.resident else self._read_ahead(pieces):
            yield RowsChunk(data, indices, self._even)

    def _pieces(
        self, order: np.ndarray, chunk: int, start: int, most: Callable[[], int]
    ) -> Iterator[np.ndarray]:
        """The rows of each chunk, [steps, batch]."""
        whole = self.rows // self.batch_size
        matrix = order[: whole * self.batch_size].reshape(whole, self.batch_size)
        step = start
        while step < whole:
            end = step + min(_to_next(step, chunk), most())
            yield matrix[step:end]
            step = end
        steps = -(-self.rows // self.batch_size)
        if whole < steps and start < steps:
            # a batch of its own size, as Keras has it, not a padded one
            yield order[None, whole * self.batch_size :]

    def _resident(self, pieces: Iterator[np.ndarray]) -> Iterator[tuple[Batch, np.ndarray]]:
        if self._tensors is None:
            self._tensors = self._to_tensors(self.data)
        for indices in pieces:
            yield self._tensors, indices

    def _read_ahead(self, pieces: Iterator[np.ndarray]) -> Iterator[tuple[Batch, np.ndarray]]:
        """Each chunk's rows as tensors, the next one read while this one is trained."""
        import keras

        def read(indices: np.ndarray) -> tuple[Batch, np.ndarray]:
            rows = indices.reshape(-1)
            picked = keras.tree.map_structure(lambda a: np.asarray(a[rows]), self.data)
            local = np.arange(len(rows), dtype=np.int32).reshape(indices.shape)
            return self._to_tensors(picked), local

        with ThreadPoolExecutor(1) as reader:
            ahead: Future[tuple[Batch, np.ndarray]] | None = None
            for following in pieces:
                reading = reader.submit(read, following)
                if ahead is not None:
                    yield ahead.result()
                ahead = reading
            if ahead is not None:
                yield ahead.result()


class StreamFeed:
    """Batches from a tf.data.Dataset.

    Args:
        dataset: gives batches (x,), (x, y) or (x, y, sample_weight).
        steps: how many batches there are, or None if that is unknown.
        around_epoch: called with True before, and with False after, each pass.
        reraise: called with an error of TensorFlow and the steps done; raises the cause instead.
        leave: called after a pass that was none of training's.
        first: gives the first batch as arrays, without a pass; None: it takes one.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        steps: int | None,
        around_epoch: Callable[[bool], None] = lambda begins: None,
        reraise: Callable[[Exception, int], None] = lambda error, steps: None,
        leave: Callable[[], None] = lambda: None,
        first: Callable[[], Batch] | None = None,
    ) -> None:
        self._dataset = dataset
        self._first = first
        self._leave = leave
        self.steps = steps
        self._around_epoch = around_epoch
        self._reraise = reraise

    @property
    def spec(self) -> Batch:
        """The form of a batch: a tree of tf.TensorSpec."""
        spec: Batch = self._dataset.element_spec
        return spec

    def first(self) -> Batch:
        """The first batch, as tensors."""
        if self._first is not None:
            import tensorflow as tf

            found: Batch = tf.nest.map_structure(tf.constant, self._first())
            return found
        try:
            batch: Batch = next(iter(self._dataset.take(1)))
            return batch
        finally:
            self._leave()

    def replay(self, epochs: int) -> None:
        """Read as many passes as a fit did, so that the next has the order that it had.

        Where a pipeline or a PyDataset draws, and how often in a pass, only it knows.
        """
        for _ in range(epochs):
            self._around_epoch(True)
            try:
                for _ in self._dataset:
                    pass
            except Exception as error:
                self._reraise(error, 0)
                raise
            finally:
                self._around_epoch(False)

    def train(
        self, epoch: int, chunk: int, start: int = 0, most: Callable[[], int] = lambda: MANY
    ) -> Generator[StreamChunk]:
        """The chunks of one pass from step `start`; the last may give fewer batches than asked.

        They end at multiples of `chunk`, wherever the pass was begun, or after `most()` steps.
        """
        return self._chunks(chunk, start, most)

    def test(self, chunk: int) -> Generator[StreamChunk]:
        """The chunks of one pass."""
        return self._chunks(chunk)

    def _chunks(
        self, chunk: int, start: int = 0, most: Callable[[], int] = lambda: MANY
    ) -> Generator[StreamChunk]:
        self._around_epoch(True)
        done = start
        try:
            iterator = iter(self._dataset)
            for _ in range(start):  # not dataset.skip, which would be another pipeline
                next(iterator)
            while True:
                size = min(_to_next(done, chunk), most())
                yield StreamChunk(iterator, size, done, self._reraise)
                done += size
        except Exception as error:
            self._reraise(error, done)
            raise
        finally:
            self._around_epoch(False)


def _to_next(step: int, chunk: int) -> int:
    """The steps up to the next multiple of `chunk`: callbacks of every n-th batch count on it."""
    return chunk - step % chunk
