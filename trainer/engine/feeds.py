"""Feeds: batches from rows held in memory or on disk, and from streams.

Responsible for the order of rows, for splitting an epoch into chunks, and for holding data as
tensors if they fit in memory. Not for running a chunk (`program`).
"""

from __future__ import annotations

import itertools
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
        shuffle: Whether to shuffle the rows in each pass.
        seed: The order of a pass depends only on this seed and the number of the pass.
        steps_per_epoch: The most steps of an epoch: the next epoch continues the same pass, as in
            Keras. None: an epoch is a pass.
        first_epoch: The epoch in which training starts, with a new pass.

    Attributes:
        data: The arrays.
        steps: The steps of the current epoch.
        resident: Whether all rows are held as tensors; otherwise the rows of each chunk are read
            from the arrays, which may be memory-mapped, when needed. Set it before first use.
        most_read: The maximum number of batches to read at once if rows are not held as tensors.
        part: Returns which rows of a batch of n are read if rows are not held as tensors: those of
            this worker, as a slice.
    """

    def __init__(
        self,
        data: Batch,
        *,
        batch_size: int,
        float_dtype: str,
        shuffle: bool = False,
        seed: int = 0,
        steps_per_epoch: int | None = None,
        first_epoch: int = 0,
    ) -> None:
        import keras

        self.data = data
        self._flat = keras.tree.flatten(data)
        self.rows = len(self._flat[0])
        self._even = self.rows % batch_size == 0
        self.batch_size = min(batch_size, self.rows)
        self._steps = -(-self.rows // self.batch_size)
        self._per_epoch = min(steps_per_epoch or self._steps, self._steps)
        self._first_epoch = first_epoch
        self.steps: int | None = self._per_epoch
        self._dtype = float_dtype
        self._shuffle = shuffle
        self._seed = seed
        self.resident = True
        self.most_read = MANY
        self.part: Callable[[int], slice] = slice
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

    def order(self, number: int) -> np.ndarray:
        """Return the order of the rows in a pass, int32 [n]; depends only on seed and number."""
        if not self._shuffle:
            return np.arange(self.rows, dtype=np.int32)
        generator = np.random.default_rng([self._seed, number])
        return generator.permutation(self.rows).astype(np.int32)

    def first(self) -> Batch:
        """Return the first batch, unshuffled, as tensors."""
        import keras

        rows = slice(self.batch_size)
        return self._to_tensors(keras.tree.map_structure(lambda a: np.asarray(a[rows]), self.data))

    def _place(self, epoch: int) -> tuple[int, int, int]:
        """Return the pass of an epoch, its first step in this pass, and the number of its steps."""
        epochs = -(-self._steps // self._per_epoch)  # of a pass
        done, within = divmod(epoch - self._first_epoch, epochs)
        first = within * self._per_epoch
        return self._first_epoch + done, first, min(self._per_epoch, self._steps - first)

    def replay(self, epochs: int) -> None:
        """Advance to the epoch after so many; the order of a pass does not depend on earlier ones.

        Args:
            epochs: The number of epochs since training started.
        """
        self.steps = self._place(self._first_epoch + epochs)[2]

    def ended(self, steps: int) -> None:
        """Note how many steps an epoch had; called when it has ended."""
        self.steps = steps

    def train(
        self, epoch: int, chunk: int, start: int = 0, most: Callable[[], int] = lambda: MANY
    ) -> Generator[RowsChunk]:
        """Yield the chunks of an epoch, in its order, from step `start`.

        They end at multiples of `chunk`, regardless of `start`, or after `most()` steps.
        """
        number, first, self.steps = self._place(epoch)
        return self._chunks(self.order(number), chunk, start, most, first, self.steps)

    def test(self, chunk: int) -> Generator[RowsChunk]:
        """Yield the chunks of all rows, unshuffled."""
        if not self.resident:
            chunk = min(chunk, self.most_read)
        self.steps = self._steps
        return self._chunks(np.arange(self.rows, dtype=np.int32), chunk)

    def _chunks(
        self,
        order: np.ndarray,
        chunk: int,
        start: int = 0,
        most: Callable[[], int] = lambda: MANY,
        first: int = 0,
        count: int | None = None,
    ) -> Generator[RowsChunk]:
        count = self._steps if count is None else count
        pieces = self._pieces(order, chunk, start, most, first, count)
        if self.resident:
            for data, indices in self._resident(pieces):
                yield RowsChunk(data, indices, self._even)
            return
        for data, indices, whole in self._read_ahead(pieces):
            yield RowsChunk(data, indices, self._even, whole)

    def _pieces(
        self,
        order: np.ndarray,
        chunk: int,
        start: int,
        most: Callable[[], int],
        first: int,
        count: int,
    ) -> Iterator[np.ndarray]:
        """Yield the rows of each chunk, [steps, batch], of `count` steps from `first` of a pass."""
        full = self.rows // self.batch_size
        matrix = order[: full * self.batch_size].reshape(full, self.batch_size)
        done, last = start, min(count, full - first)
        while done < last:
            end = min(done + min(_to_next(done, chunk), most()), last)
            yield matrix[first + done : first + end]
            done = end
        if start < count and first + count > full:
            # The last batch of a pass is smaller, as in Keras, and not padded.
            yield order[None, full * self.batch_size :]

    def _resident(self, pieces: Iterator[np.ndarray]) -> Iterator[tuple[Batch, np.ndarray]]:
        if self._tensors is None:
            self._tensors = self._to_tensors(self.data)
        for indices in pieces:
            yield self._tensors, indices

    def _read_ahead(self, pieces: Iterator[np.ndarray]) -> Iterator[tuple[Batch, np.ndarray, int]]:
        """Yield the rows of each chunk as tensors; read the next one during training.

        With their places, and the number of rows of a batch, of which this worker may read a part.
        """
        import keras

        def read(indices: np.ndarray) -> tuple[Batch, np.ndarray, int]:
            whole = indices.shape[1]
            indices = indices[:, self.part(whole)]
            rows = indices.reshape(-1)
            picked = keras.tree.map_structure(lambda a: np.asarray(a[rows]), self.data)
            local = np.arange(len(rows), dtype=np.int32).reshape(indices.shape)
            return self._to_tensors(picked), local, whole

        with ThreadPoolExecutor(1) as reader:
            ahead: Future[tuple[Batch, np.ndarray, int]] | None = None
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
        steps_per_epoch: The most steps of an epoch: the next epoch continues the same pass, as in
            Keras. None: an epoch is a pass.
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
        steps_per_epoch: int | None = None,
    ) -> None:
        self._dataset = dataset
        self._first = first
        self._leave = leave
        self._in_pass = steps  # None as long as it is unknown
        self._per_epoch = steps_per_epoch
        self._pass: Any = None  # the iterator of a pass that the next epoch continues
        self._seen = 0  # its steps so far
        self.steps = steps if steps_per_epoch is None else self._left()
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
        """Read the batches of `epochs` epochs, so that the next is as in the original fit.

        There is no shortcut: only the pipeline or PyDataset knows when it draws random numbers.
        """
        for _ in range(epochs):
            if self._per_epoch is not None:
                self._skip_epoch()
                continue
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
        """Yield the chunks of one epoch from step `start`; the last may have fewer batches.

        They end at multiples of `chunk`, regardless of `start`, or after `most()` steps.
        """
        if self._per_epoch is not None:
            return self._go_on(chunk, start, most)
        return self._chunks(chunk, start, most)

    def ended(self, steps: int) -> None:
        """Note how many steps an epoch had; called when it has ended."""
        if self._pass is None:
            self.steps = steps
            return
        self._seen += steps - (self.steps or 0)
        if steps != self.steps:
            self._in_pass = self._seen
        self.steps = steps
        self._close_if_over()

    def close(self) -> None:
        """End a pass that the next epoch would continue."""
        if self._pass is not None:
            self._pass = None
            self._around_epoch(False)

    def _left(self) -> int:
        """Return the steps of the next epoch, as far as they are known."""
        assert self._per_epoch is not None
        if self._in_pass is None:
            return self._per_epoch
        return min(self._per_epoch, self._in_pass - self._seen)

    def _close_if_over(self) -> None:
        if self._seen == self._in_pass:
            self.close()

    def _open(self) -> Any:
        if self._pass is None:
            self._around_epoch(True)
            self._pass, self._seen = iter(self._dataset), 0
        self.steps = self._left()
        return self._pass

    def _skip_epoch(self) -> None:
        try:
            iterator = self._open()
            steps = sum(1 for _ in itertools.islice(iterator, self.steps))
        except Exception as error:
            self._reraise(error, self._seen)
            raise
        self._seen += self.steps or 0
        self.ended(steps)

    def _go_on(self, chunk: int, start: int, most: Callable[[], int]) -> Generator[StreamChunk]:
        """Yield the chunks of an epoch that begins where the one before ended."""
        iterator = self._open()
        steps = self._left()
        before, self._seen = self._seen, self._seen + steps
        done = start
        try:
            for _ in range(start):
                next(iterator)
            while done < steps:
                size = min(_to_next(done, chunk), most(), steps - done)
                yield StreamChunk(iterator, size, before + done, self._reraise)
                done += size
        except Exception as error:
            self._reraise(error, before + done)
            raise

    def test(self, chunk: int) -> Generator[StreamChunk]:
        """Yield the chunks of one pass, or of the next `steps_per_epoch` batches."""
        if self._per_epoch is not None:
            return self._go_on(chunk, 0, lambda: MANY)
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
