"""Which generators and data sets have no end."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator

import pytest
import tensorflow as tf

from trainer.data.endless import is_endless, never_returns


def plain() -> Iterator[int]:
    while True:
        yield 1


def nested(start: int = 0) -> Iterator[int]:
    while True:
        for i in range(start, 3):
            if i == 1:
                continue
            try:
                yield i
            finally:
                start = 0


def in_a_context() -> Iterator[int]:
    while True:
        with open(__file__) as file:
            for line in file:
                yield len(line)


def breaks() -> Iterator[int]:
    while True:
        yield 1
        if sum((1, 2)) == 3:
            break


def returns() -> Iterator[int]:
    source = iter((1, 2))
    while True:
        try:
            yield next(source)
        except StopIteration:
            return


def raises() -> Iterator[int]:
    while True:
        yield 1
        raise LookupError("gone")


def finite() -> Iterator[int]:
    yield from range(3)


def counts() -> Iterator[int]:
    yield from itertools.count()


def while_true_of_a_name(go_on: bool = True) -> Iterator[int]:
    while go_on:
        yield 1


@pytest.mark.parametrize("function", [plain, nested, in_a_context])
def test_a_generator_without_a_way_out_never_returns(function: Callable[..., object]) -> None:
    assert never_returns(function.__code__)


@pytest.mark.parametrize("function", [breaks, returns, raises, finite, while_true_of_a_name])
def test_a_generator_with_a_way_out_may_return(function: Callable[..., object]) -> None:
    assert not never_returns(function.__code__)


class Rows:
    def __call__(self) -> Iterator[int]:
        while True:
            yield 1


def of(function: Callable[..., object]) -> tf.data.Dataset:
    return tf.data.Dataset.from_generator(function, output_signature=tf.TensorSpec([], tf.int32))


def test_a_data_set_is_endless_if_its_source_is() -> None:
    assert is_endless(of(plain))
    assert is_endless(of(Rows()))
    assert is_endless(of(Rows().__call__))
    assert is_endless(of(functools.partial(nested, 1)))
    assert is_endless(of(plain).map(lambda v: v + 1).shuffle(2).batch(2).prefetch(1))
    assert is_endless(of(finite).concatenate(of(plain)))
    assert is_endless(tf.data.Dataset.range(3).repeat().filter(lambda v: v > 0))


def test_a_data_set_with_an_end_is_not_endless() -> None:
    assert not is_endless(of(finite))
    assert not is_endless(of(plain).take(3))
    assert not is_endless(of(plain).batch(2).take(3).map(lambda v: v + 1))
    assert not is_endless(tf.data.Dataset.zip(of(plain), of(finite)))
    assert not is_endless(of(plain).apply(tf.data.experimental.assert_cardinality(3)))
    assert not is_endless(of(counts))  # only reading it would tell
