"""Feeds: batches from rows held in memory or on disk, and from streams.

Responsible for the order of rows, for splitting an epoch into chunks, and for holding data as
tensors if they fit in memory. Not for running a chunk (`program`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from trainer.engine.backend import tensors
from trainer.engine.chunks import MANY, Batch, RowsChunk, StreamChunk


class RowsFeed:
    """Batches of rows picked from arrays.

    Args:
        data: (x,), (x, y) or (x, y, sample_weight): trees of arrays [n, ...].
        batch_size: Rows per batch; the last batch of an epoch may be smaller.
        float_dtype: The dtype that floats are converted to, "float32" or "float64", as in Keras.
        shuffle: Whether to shuffle the rows in each epoch.
        seed: The order of an epoch depends only on this seed and the number of the epoch.

    Attributes:
        data: The arrays.
        resident: Whether all rows are held as tensors; otherwise the rows of each chunk are read
            from the arrays, which may be memory-mapped, when needed. Set it before first use.
        most_read: The maximum number of batches to read at once if rows are not held as tensors.
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
        steps = -(-self.rows // self.batch_size)
        self._steps = min(steps, keras.config.max_steps_per_epoch() or steps)
        self.steps: int | None = self._steps
        self._dtype = float_dtype
        self._shuffle = shuffle
        self._seed = seed
        self.resident = True
        self.most_read = MANY
        self._tensors: Batch | None = None

    def _to_tensors(self, data: Batch) -> Batch:
        import keras

        def convert(array: Any) -> Any:
            return tensors.constant(array, self._dtype if array.dtype.kind in "fb" else None)

        found: Batch = keras.tree.map_structure(convert, data)
        return found

    @property
    def spec(self) -> Batch:
        """The spec of a batch: a tree of tf.TensorSpec with an unknown batch dimension."""
        import keras

        def one(array: Any) -> Any:
            dtype = self._dtype if array.dtype.kind in "fb" else array.dtype
            return tensors.spec([None, *array.shape[1:]], dtype)

        spec: Batch = keras.tree.map_structure(one, self.data)
        return spec

    def order(self, epoch: int) -> np.ndarray:
        """Return the order of the rows in an epoch, int32 [n]; depends only on seed and epoch."""
        if not self._shuffle:
            return np.arange(self.rows, dtype=np.int32)
        generator = np.random.default_rng([self._seed, epoch])
        return generator.permutation(self.rows).astype(np.int32)

    def first(self) -> Batch:
        """Return the first batch, unshuffled, as tensors."""
        import keras

        rows = slice(self.batch_size)
        return self._to_tensors(keras.tree.map_structure(lambda a: np.asarray(a[rows]), self.data))

    def replay(self, epochs: int) -> None:
        """Do nothing: the order of an epoch does not depend on earlier epochs."""

    def train(
        self, epoch: int, chunk: int, start: int = 0, most: Callable[[], int] = lambda: MANY
    ) -> Generator[RowsChunk]:
        """Yield the chunks of an epoch, in its order, from step `start`.

        They end at multiples of `chunk`, regardless of `start`, or after `most()` steps.
        """
        return self._chunks(self.order(epoch), chunk, start, most)

    def test(self, chunk: int) -> Generator[RowsChunk]:
        """Yield the chunks of all rows, unshuffled."""
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
        """Yield the rows of each chunk, [steps, batch]."""
        full = min(self.rows // self.batch_size, self._steps)
        matrix = order[: full * self.batch_size].reshape(full, self.batch_size)
        step = start
        while step < full:
            end = step + min(_to_next(step, chunk), most())
            yield matrix[step:end]
            step = end
        if full < self._steps and start < self._steps:
            # The last batch is smaller, as in Keras, and not padded.
            yield order[None, full * self.batch_size :]

    def _resident(self, pieces: Iterator[np.ndarray]) -> Iterator[tuple[Batch, np.ndarray]]:
        if self._tensors is None:
            self._tensors = self._to_tensors(self.data)
        for indices in pieces:
            yield self._tensors, indices

    def _read_ahead(self, pieces: Iterator[np.ndarray]) -> Iterator[tuple[Batch, np.ndarray]]:
        """Yield the rows of each chunk as tensors; read the next one during training."""
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
        dataset: Yields batches (x,), (x, y) or (x, y, sample_weight).
        steps: The number of batches, or None if unknown.
        around_epoch: Called with True before, and with False after, each pass.
        reraise: Called with an error from TensorFlow and the steps done; raises the cause instead.
        leave: Called after a pass that is not part of training.
        first: Returns the first batch as arrays without starting a pass. If None, reading the
            first batch starts a pass.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        steps: int | None,
        around_epoch: Callable[[bool], None] = lambda _: None,
        reraise: Callable[[Exception, int], None] = lambda *_: None,
        leave: Callable[[], None] = lambda: None,
        first: Callable[[], Batch] | None = None,
    ) -> None:
        import keras

        limit = keras.config.max_steps_per_epoch()
        if limit and (steps is None or limit < steps):
            dataset, steps = dataset.take(limit), None if steps is None else limit
        self._dataset = dataset
        self._first = first
        self._leave = leave
        self.steps = steps
        self._around_epoch = around_epoch
        self._reraise = reraise

    @property
    def spec(self) -> Batch:
        """The spec of a batch: a tree of tf.TensorSpec."""
        spec: Batch = self._dataset.element_spec
        return spec

    def first(self) -> Batch:
        """Return the first batch, as tensors."""
        if self._first is not None:
            found: Batch = tensors.copied(self._first())
            return found
        try:
            batch: Batch = next(iter(self._dataset.take(1)))
            return batch
        finally:
            self._leave()

    def replay(self, epochs: int) -> None:
        """Read `epochs` passes, so that the next pass has the same order as in the original fit.

        There is no shortcut: only the pipeline or PyDataset knows when it draws random numbers.
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
        """Yield the chunks of one pass from step `start`; the last may have fewer batches.

        They end at multiples of `chunk`, regardless of `start`, or after `most()` steps.
        """
        return self._chunks(chunk, start, most)

    def test(self, chunk: int) -> Generator[StreamChunk]:
        """Yield the chunks of one pass."""
        return self._chunks(chunk)

    def _chunks(
        self, chunk: int, start: int = 0, most: Callable[[], int] = lambda: MANY
    ) -> Generator[StreamChunk]:
        self._around_epoch(True)
        done = start
        try:
            iterator = iter(self._dataset)
            for _ in range(start):  # not dataset.skip, which would change the pipeline
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
    """Return the steps to the next multiple of `chunk`; every_n_batches relies on this."""
    return chunk - step % chunk
