"""Feeds: which rows are in which batch, whatever the data are held in."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.engine.chunks import RowsChunk
from trainer.engine.feeds import RowsFeed, StreamFeed
from trainer.engine.loop import run_chunks
from trainer.engine.tensorflow.program import Program

N = 23
X = np.arange(N, dtype="float64")[:, None] * [1.0, 10.0]
Y = np.arange(N)


class Spy:
    """Stands for a Program: writes down the rows of every batch of every dispatch."""

    def __init__(self) -> None:
        self.dispatches: list[list[list[int]]] = []
        self.even: set[bool] = set()
        self.data: list[Any] = []

    def train_rows(self, data: Any, indices: np.ndarray, even: bool) -> dict[str, float]:
        self.data.append(data)
        self.even.add(even)
        y = data[1].numpy()
        self.dispatches.append([y[rows].tolist() for rows in indices])
        return {"loss": 0.0}

    def train(self, chunk: Any) -> tuple[int, dict[str, float]]:
        if isinstance(chunk, RowsChunk):
            return chunk.steps, self.train_rows(chunk.data, chunk.indices, chunk.even)
        return self.train_stream(chunk)

    def train_stream(self, chunk: Any) -> tuple[int, dict[str, float]]:
        iterator, steps = chunk.iterator, chunk.steps
        batches = [element[1].numpy().tolist() for element in itertools.islice(iterator, steps)]
        if batches:
            self.dispatches.append(batches)
        return len(batches), {"loss": 0.0}

    test = train

    @property
    def batches(self) -> list[list[int]]:
        """All batches, in order."""
        return [batch for dispatch in self.dispatches for batch in dispatch]


def _feed(data: Any = (X, Y), **options: Any) -> RowsFeed:
    return RowsFeed(data, **{"batch_size": 5, "float_dtype": "float32"} | options)


def _train(feed: Any, *, epoch: int = 0, chunk: int = 2) -> tuple[Spy, list[int]]:
    spy = Spy()
    return spy, [done for done, _ in run_chunks(spy.train, feed, feed.train(epoch, chunk), 0)]


IN_ORDER = [list(range(i, min(i + 5, N))) for i in range(0, N, 5)]


@pytest.mark.parametrize("resident", [True, False])
def test_rows_come_in_their_order_and_the_rest_in_a_batch_of_its_own(resident: bool) -> None:
    feed = _feed()
    feed.resident = resident
    spy, done = _train(feed)
    assert spy.batches == IN_ORDER
    assert [len(dispatch) for dispatch in spy.dispatches] == [2, 2, 1]
    assert done == [2, 4, 5]
    assert feed.steps == 5
    assert spy.even == {False}


@pytest.mark.parametrize("kind", ["resident", "read", "stream"])
@pytest.mark.parametrize(
    ("start", "most", "done"),
    [
        (0, 99, [3, 4]),
        (1, 99, [3, 4]),  # callbacks of every third batch are called where they always are
        (2, 99, [3, 4]),
        (3, 99, [4]),
        (4, 99, []),
        (0, 2, [2, 3, 4]),
        (1, 1, [2, 3, 4]),
    ],
)
def test_dispatches_end_at_the_same_places_wherever_an_epoch_is_resumed(
    kind: str, start: int, most: int, done: list[int]
) -> None:
    feed: Any = _feed((X[:20], Y[:20]))
    if kind == "stream":
        rows = tf.data.Dataset.from_tensor_slices((X[:20], Y[:20])).batch(5)
        feed = StreamFeed(rows, steps=None)
    else:
        feed.resident = kind == "resident"
    spy = Spy()
    chunks = feed.train(0, 3, start, most=lambda: most)
    assert [n for n, _ in run_chunks(spy.train, feed, chunks, start)] == done
    assert spy.batches == IN_ORDER[start:4]


@pytest.mark.parametrize("resident", [True, False])
def test_each_epoch_has_an_order_of_its_own_that_depends_on_nothing_else(resident: bool) -> None:
    def orders(**options: Any) -> list[list[list[int]]]:
        feed = _feed(shuffle=True, **options)
        feed.resident = resident
        return [_train(feed, epoch=epoch)[0].batches for epoch in range(3)]

    once = orders(seed=1)
    assert once == orders(seed=1)
    assert len({str(order) for order in [*once, *orders(seed=2)]}) == 6
    for order in once:
        assert sorted(itertools.chain(*order)) == list(range(N))
    assert _train(_feed(shuffle=True, seed=1), epoch=2)[0].batches == once[2], "epoch 2 alone"


def test_the_chunk_changes_no_batch() -> None:
    for chunk in (1, 3, 4, 100):
        assert _train(_feed(shuffle=True), chunk=chunk)[0].batches == (
            _train(_feed(shuffle=True), chunk=2)[0].batches
        )


def test_evaluation_is_in_order_even_of_a_shuffled_feed() -> None:
    spy = Spy()
    feed = _feed(shuffle=True)
    assert [done for done, _ in run_chunks(spy.test, feed, feed.test(3), 0)] == [3, 4, 5]
    assert spy.batches == IN_ORDER


def test_batches_that_come_out_even_are_marked() -> None:
    data = (X[:20], Y[:20])
    assert _train(_feed(data))[0].even == {True}
    assert _train(_feed(data, batch_size=64))[0].even == {False}, "Keras does not know its size"


def test_a_batch_has_no_more_rows_than_the_data() -> None:
    feed = _feed(batch_size=1_000)
    assert (feed.batch_size, feed.steps) == (N, 1)
    assert _train(feed)[0].batches == [list(range(N))]


def test_resident_rows_are_made_tensors_once() -> None:
    feed = _feed()
    first, second = _train(feed)[0], _train(feed)[0]
    assert {id(data) for data in first.data + second.data} == {id(first.data[0])}


@pytest.mark.parametrize("resident", [True, False])
def test_numbers_are_fed_as_keras_feeds_them(resident: bool) -> None:
    kinds = {
        "float": (X, "float32"),
        "half": (X.astype("float16"), "float32"),
        "flag": (X > 3, "float32"),
        "byte": (X.astype("uint8"), "uint8"),
        "whole": (X.astype("int32"), "int32"),
    }
    feed = _feed(({name: array for name, (array, _) in kinds.items()}, Y))
    feed.resident = resident
    spy, _ = _train(feed)
    for name, (_, dtype) in kinds.items():
        assert spy.data[0][0][name].dtype == dtype
        assert feed.spec[0][name] == tf.TensorSpec([None, 2], dtype)
    assert _feed(float_dtype="float64").spec[0].dtype == "float64"


class _Disk:
    """An array whose rows are read on demand, and counted."""

    dtype, shape, ndim = X.dtype, X.shape, 2

    def __init__(self, fails_at: int | None = None) -> None:
        self.reads: list[int] = []
        self.fails_at = fails_at

    def __len__(self) -> int:
        return N

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        self.reads.append(len(rows))
        if len(self.reads) == self.fails_at:
            raise OSError("the disk is gone")
        return X[rows]


def test_a_chunk_is_read_while_the_one_before_is_trained() -> None:
    disk = _Disk()
    feed = _feed((disk, Y))
    feed.resident = False
    spy = Spy()
    steps = run_chunks(spy.train, feed, feed.train(0, 2), 0)
    next(steps)
    steps.close()
    assert disk.reads == [10, 10], "one chunk ahead, and no more"
    disk.reads.clear()
    assert _train(feed)[0].batches == IN_ORDER
    assert disk.reads == [10, 10, 3]


def test_the_error_of_reading_arrives() -> None:
    feed = _feed((_Disk(fails_at=2), Y))
    feed.resident = False
    with pytest.raises(OSError, match="the disk is gone"):
        _train(feed)


# ---- streams -----------------------------------------------------------------------------------


def _dataset() -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(5)


@pytest.mark.parametrize("chunk", [1, 2, 5, 9])
def test_a_stream_is_read_to_its_end(chunk: int) -> None:
    feed = StreamFeed(_dataset(), steps=None)
    spy, done = _train(feed, chunk=chunk)
    assert spy.batches == IN_ORDER
    assert done[-1] == feed.steps == 5, "now its length is known"
    assert feed.spec == _dataset().element_spec


def test_a_stream_is_told_of_the_beginning_and_end_of_each_pass() -> None:
    told: list[bool] = []
    feed = StreamFeed(_dataset(), steps=5, around_epoch=told.append)
    _train(feed)
    assert told == [True, False]
    passing = run_chunks(Spy().train, feed, feed.train(0, 2), 0)
    next(passing)
    del passing  # training stopped in the middle
    gc.collect()
    assert told == [True, False] * 2
    assert feed.steps == 5


def test_the_error_of_a_stream_comes_with_the_batches_before_it() -> None:
    def generate() -> Iterator[Any]:
        yield from (np.array([[i]]) for i in range(3))
        raise OSError("the line is cut")

    dataset = tf.data.Dataset.from_generator(
        generate, output_signature=tf.TensorSpec([None, 1], tf.float32)
    ).map(lambda y: (y, y))
    told: list[Any] = []

    feed = StreamFeed(dataset, steps=None, reraise=lambda error, steps: told.append(steps))
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    program = Program(model)
    for _ in range(2):
        with pytest.raises(tf.errors.OpError, match="the line is cut"):
            list(run_chunks(program.test, feed, feed.test(10), 0))
    assert told == [3, 3]
