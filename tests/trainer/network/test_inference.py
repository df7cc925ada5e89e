"""Layers that a functional model calls with training=False: found, kept so, and warned of."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from trainer.network import inference


def backbone() -> keras.Model:
    return keras.Sequential([keras.Input((3,)), layers.BatchNormalization()], name="backbone")


def model(*parts: tuple[Any, dict[str, Any]]) -> keras.Model:
    """A functional model of layers in a row, each with the arguments of its call."""
    x = given = keras.Input((3,))
    for layer, options in parts:
        x = layer(x, **options)
    return keras.Model(given, x)


OFF: dict[str, Any] = {"training": False}


def test_only_layers_that_are_always_called_so_are_found() -> None:
    first, on, both = (layers.BatchNormalization() for _ in range(3))
    dropout = layers.Dropout(0.5)
    made = model((first, OFF), (on, {}), (both, OFF), (both, {}), (dropout, {}))
    assert inference.called(made) == [first]


def test_a_layer_in_a_model_inside_is_found_and_a_model_without_a_graph_has_none() -> None:
    norm = layers.BatchNormalization()
    inner = model((norm, OFF))
    assert inference.called(model((inner, {}))) == [norm]

    class Own(keras.Model):
        def call(self, x: Any) -> Any:
            return x

    assert inference.called(Own()) == []


def test_a_kept_layer_stays_in_inference_and_the_mode_outside_is_as_before() -> None:
    norm, drop = layers.BatchNormalization(), layers.Dropout(0.5)
    made = model((norm, OFF), (drop, {}))
    x = np.random.default_rng(0).normal(5, 2, (64, 3)).astype("float32")
    norm.call = inference.kept(norm)
    found = np.asarray(made(x, training=True))
    np.testing.assert_array_equal(norm.moving_mean, np.zeros(3))
    assert (found == 0).any(), "dropout, which comes after it, trains"


def test_what_a_layer_calls_after_a_kept_one_is_in_its_own_mode() -> None:
    norm, drop = layers.BatchNormalization(), layers.Dropout(0.5)
    norm.build((None, 3))
    norm.call = inference.kept(norm)

    class Outer(layers.Layer):
        def call(self, x: Any, training: bool = False) -> Any:
            return drop(norm(x))

    found = np.asarray(Outer()(np.ones((64, 3), "float32"), training=True))
    assert (found == 0).any()
    np.testing.assert_array_equal(norm.moving_mean, np.zeros(3))


def test_batch_normalization_that_would_train_is_warned_of_with_the_remedy() -> None:
    made = model((backbone(), OFF))
    with pytest.warns(UserWarning, match=r"Net.build_model: 'backbone' is called .*unfreeze"):
        inference.warn_if_ignored("Net", made)


@pytest.mark.parametrize("kind", ["frozen", "without normalization", "in the mode of the model"])
def test_what_keeps_its_statistics_is_not_warned_of(kind: str) -> None:
    inside = backbone() if kind != "without normalization" else layers.Dropout(0.5)
    made = model((inside, {} if kind == "in the mode of the model" else OFF))
    inside.trainable = kind != "frozen"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inference.warn_if_ignored("Net", made)
