"""Plain values as JSON and tensors: they come back with their types and bits, or are refused."""

from __future__ import annotations

import collections
import json
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.state import plain


def _back(value: Any) -> Any:
    tensors: dict[str, np.ndarray] = {}
    form = json.loads(json.dumps(plain.encode(value, tensors, "key")))
    return plain.decode(form, tensors)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -3,
        2**80,
        0.1,
        float("inf"),
        "",
        "ü\0",
        [],
        [1, [2, (3, None)]],
        (),
        {"a": {1: (True,)}, "b/c": [1.5], "b": {"c": [2.5]}},
        {1, 2},
        frozenset({"x"}),
        {},
        {"dict": 1},
        {"array": "key/0"},
        collections.OrderedDict(b=1, a=2),
        collections.Counter("aab"),
    ],
)
def test_python_values_come_back_as_they_were(value: Any) -> None:
    found = _back(value)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("made_by", [None, int, list])
def test_a_defaultdict_comes_back_with_what_makes_its_values(made_by: Any) -> None:
    found = _back(collections.defaultdict(made_by, {"a": 1}))
    assert type(found) is collections.defaultdict
    assert found == {"a": 1} and found.default_factory is made_by


@pytest.mark.parametrize("form", [{"defaultdict": ["eval", []]}, {"defaultdict": 5}])
def test_a_defaultdict_of_anything_else_is_refused(form: Any) -> None:
    with pytest.raises(ValueError, match="does not describe a value"):
        plain.decode(form, {})


def test_equal_values_are_shown_alike_and_others_differently() -> None:
    def array(last: float) -> Any:
        return {"rows": np.array([1.0, 2.0, last]), "names": {"b", "a"}}

    assert plain.shown(array(float("nan"))) == plain.shown(array(float("nan")))
    assert plain.shown(array(3.0)) != plain.shown(array(4.0))
    assert plain.shown([float("nan"), np.int8(1)]) == ["nan", 1]
    long = plain.shown(list(range(10_000)))
    assert isinstance(long, str) and len(long) < 30
    assert long == plain.shown(list(range(10_000))) != plain.shown(list(range(1, 10_001)))


def test_not_a_number_comes_back() -> None:
    assert np.isnan(_back(float("nan")))


@pytest.mark.parametrize("value", [np.float32(0.1), np.int8(-1), np.bool_(True), np.float64(2)])
def test_numpy_scalars_keep_their_type(value: Any) -> None:
    found = _back(value)
    assert found == value
    assert type(found) is type(value)


def test_arrays_come_back_to_the_bit_and_can_be_written_to() -> None:
    value = {"a/b": [np.arange(3)], "a": {"b": [np.array([[0.1], [np.nan]], "float32")]}}
    found = _back(value)
    np.testing.assert_array_equal(found["a/b"][0], [0, 1, 2])
    assert found["a"]["b"][0].tobytes() == value["a"]["b"][0].tobytes()
    found["a/b"][0][0] = 7


def test_what_was_encoded_does_not_change_with_its_source() -> None:
    array, variable, values = np.zeros(2), keras.Variable([0.0, 0.0]), [1]
    tensors: dict[str, np.ndarray] = {}
    form = plain.encode([array, variable, values], tensors, "key")
    array += 1
    variable.assign([1.0, 1.0])
    values.append(2)
    found = plain.decode(form, tensors)
    np.testing.assert_array_equal(found[0], [0, 0])
    np.testing.assert_array_equal(found[1], [0, 0])
    assert found[2] == [1]


def test_a_tensor_comes_back_as_a_tensor_and_a_variable_as_an_array() -> None:
    found = _back([tf.constant([1, 2]), tf.Variable(0.5), keras.Variable([2.0])])
    assert tf.is_tensor(found[0]) and found[0].dtype == tf.int32
    assert isinstance(found[1], np.ndarray) and found[1] == np.float32(0.5)
    assert isinstance(found[2], np.ndarray)


@pytest.mark.parametrize(
    "value",
    [
        object(),
        len,
        collections.deque([1]),
        collections.defaultdict(lambda: 0),
        {(1, 2): 3},
        np.array(["a"]),
        np.array([object()]),
        tf.constant("a"),
        [object()],
        b"bytes",
        1j,
    ],
)
def test_anything_else_is_no_plain_value(value: Any) -> None:
    assert not plain.is_plain(value)
    with pytest.raises(TypeError, match="key: .* cannot be saved"):
        plain.encode(value, {}, "key")
