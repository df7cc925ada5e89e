"""watching: what goes into and comes out of each layer, in one call that leaves no trace."""

import math

import keras
import numpy as np
import pytest

from trainer.doctor.watching import activation, is_linear, watch


def dense(units, **options):
    return keras.layers.Dense(units, **options)


def by_name(core, x):
    return {stats.layer.name: stats for stats in watch(core, x)}


def test_sizes_are_those_of_the_largest_column_of_the_input():
    core = keras.Sequential([keras.Input((2,)), dense(3, name="a")])
    found = by_name(core, np.array([[3.0, 100.0], [-4.0, 100.0]], np.float32))["a"]
    assert found.size == pytest.approx(100) and found.deviation == pytest.approx(3.5)
    assert found.first and found.gives_output and found.multiplies
    assert found.width == 3 and found.dead is None


def test_units_that_are_zero_for_every_row_are_dead():
    bias = keras.initializers.Constant(np.array([-1e3, 0, -1e3, 1]))
    core = keras.Sequential(
        [
            keras.Input((2,)),
            dense(4, activation="relu", bias_initializer=bias, name="a"),
            dense(1, name="b"),
        ]
    )
    found = by_name(core, np.random.default_rng(0).normal(size=(20, 2)).astype("float32"))
    assert found["a"].dead == 0.5 and found["b"].dead is None
    assert [found[name].first for name in "ab"] == [True, False]
    assert [found[name].gives_output for name in "ab"] == [False, True]


def test_every_layer_that_the_data_reach_first_is_one_of_the_first():
    one, two = keras.Input((2,), name="one"), keras.Input((), dtype="int32", name="two")
    left = dense(2, name="left")(one * 2.0)
    learned = keras.layers.Embedding(3, 2, name="embedding")(two)
    right = dense(2, name="right")(learned)
    core = keras.Model([one, two], dense(1, name="end")(left + right))
    found = by_name(core, [np.ones((4, 2), np.float32), np.array([0, 1, 2, 0])])
    assert {name for name, stats in found.items() if stats.first} == {"left"}
    assert not found["embedding"].multiplies
    assert found["left"].size == 2


def test_a_layer_that_is_called_twice_is_watched_the_first_time():
    shared = dense(2, kernel_initializer="ones", name="shared")
    entry = keras.Input((2,))
    core = keras.Model(entry, shared(shared(entry)))
    (found,) = [s for s in watch(core, np.ones((3, 2), np.float32)) if s.multiplies]
    assert found.layer is shared and found.first and found.size == 1


def test_a_model_is_the_same_after_it_was_watched_even_if_it_fails():
    core = keras.Sequential([keras.Input((2,)), dense(3), keras.layers.Dropout(0.9)])
    x = np.ones((4, 2), np.float32)
    before = [np.asarray(v) for v in core.variables]
    watch(core, x)
    with pytest.raises(Exception, match="shape"):
        watch(core, np.ones((4, 7), np.float32))
    assert not any("call" in vars(layer) for layer in core._flatten_layers(include_self=True))
    for value, variable in zip(before, core.variables, strict=True):
        np.testing.assert_array_equal(value, variable)


def test_an_input_that_is_text_has_no_size():
    core = keras.Sequential(
        [
            keras.Input((1,), dtype="string"),
            keras.layers.StringLookup(vocabulary=["a", "b"], name="lookup"),
        ]
    )
    import tensorflow as tf

    found = by_name(core, tf.constant([["a"], ["b"]]))["lookup"]
    assert math.isnan(found.size) and math.isnan(found.deviation)


@pytest.mark.parametrize(
    ("layer", "name", "linear"),
    [
        (keras.layers.Dense(1), "linear", True),
        (keras.layers.Dense(1, activation="relu"), "relu", False),
        (keras.layers.ReLU(), "relu", False),
        (keras.layers.Dropout(0.5), "linear", True),
        (keras.layers.BatchNormalization(), "linear", True),
        (keras.layers.Dense(1, activation=keras.activations.tanh), "tanh", False),
        (keras.layers.LSTM(1), "tanh", False),
        (keras.layers.Dense(1, activation=lambda x: x), "linear", False),
    ],
)
def test_a_layer_is_linear_only_if_that_is_certain(layer, name, linear):
    assert activation(layer) == name
    assert is_linear(layer) is linear
