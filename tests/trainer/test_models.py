"""The ready architectures: what they take, what they give, and that they learn."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

from trainer import Classifier, ModelSpec, Regressor, models

RNG = np.random.default_rng(0)


def layers_of(model: keras.Model, kind: type) -> list[Any]:
    return [layer for layer in model.layers if isinstance(layer, kind)]


@pytest.mark.parametrize("name", ["mlp", "deep", "wide_and_deep"])
@pytest.mark.parametrize("shape", [(5,), (3, 4), (4, 4, 2)])
def test_an_architecture_for_vectors_flattens_other_shapes(
    name: str, shape: tuple[int, ...]
) -> None:
    model = models.build(name, ModelSpec(shape, 3, "classification"))
    out = model(RNG.normal(size=(7, *shape)))
    assert out.shape == (7, 3)
    np.testing.assert_allclose(np.sum(out, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("shape", [(8, 8), (9, 13), (28, 28, 1), (32, 32, 3), (4, 4, 1), (1, 8, 1)])
def test_the_cnn_takes_grey_and_coloured_images_of_any_size(shape: tuple[int, ...]) -> None:
    model = models.cnn(ModelSpec(shape, 4, "classification"))
    assert model(RNG.normal(size=(2, *shape))).shape == (2, 4)
    assert len(layers_of(model, keras.layers.Conv2D)) == 2


def test_the_cnn_takes_images_whose_size_differs() -> None:
    model = models.cnn(ModelSpec((None, None, 3), 4, "classification"))
    for size in (8, 20):
        assert model(RNG.normal(size=(2, size, size, 3))).shape == (2, 4)


@pytest.mark.parametrize(
    ("task", "activation"),
    [
        ("classification", "softmax"),
        ("multilabel", "sigmoid"),
        ("regression", "linear"),
        ("custom", "linear"),
    ],
)
def test_the_task_decides_the_last_activation(task: str, activation: str) -> None:
    assert models.mlp(ModelSpec((2,), 3, task)).layers[-1].activation.__name__ == activation


@pytest.mark.parametrize(
    ("shape", "convolutions"),
    [((8, 8), 2), ((28, 28, 1), 2), ((7, 7), 0), ((10, 3), 0), ((16, 16, 16), 0), ((64,), 0)],
)
def test_the_default_is_a_cnn_for_images_and_a_perceptron_for_the_rest(
    shape: tuple[int, ...], convolutions: int
) -> None:
    model = models.default(ModelSpec(shape, 2, "classification"))
    assert len(layers_of(model, keras.layers.Conv2D)) == convolutions


def test_several_inputs_and_outputs_keep_their_names() -> None:
    spec = ModelSpec({"a": (3,), "b": (2, 2), "c": ()}, {"y": 2, "z": 1}, "regression")
    model = models.mlp(spec)
    out = model({"a": np.ones((5, 3)), "b": np.ones((5, 2, 2)), "c": np.ones(5)})
    assert {name: value.shape for name, value in out.items()} == {"y": (5, 2), "z": (5, 1)}
    pair = models.wide_and_deep(ModelSpec(((3,), (2,)), (1, 4), "regression"))
    assert [o.shape for o in pair((np.ones((5, 3)), np.ones((5, 2))))] == [(5, 1), (5, 4)]


def test_deep_has_the_layers_that_its_options_ask_for() -> None:
    spec = ModelSpec((6,), 2, "classification")
    selu = models.deep(spec, depth=4, units=7, dropout=0.1)
    dense = layers_of(selu, keras.layers.Dense)[:-1]
    assert [layer.units for layer in dense] == [7] * 4
    assert all(type(d.kernel_initializer).__name__ == "LecunNormal" for d in dense)
    assert len(layers_of(selu, keras.layers.AlphaDropout)) == 1
    normed = models.deep(spec, depth=3, activation="relu", batch_norm=True, dropout=0.2)
    assert len(layers_of(normed, keras.layers.BatchNormalization)) == 3
    assert not any(layer.use_bias for layer in layers_of(normed, keras.layers.Dense)[:-1])
    assert [layer.rate for layer in layers_of(normed, keras.layers.Dropout)] == [0.2]
    with pytest.raises(ValueError, match="depth=0: must be 1 or more"):
        models.deep(spec, depth=0)


def test_the_wide_inputs_reach_the_output_without_a_hidden_layer() -> None:
    spec = ModelSpec({"wide": (2,), "deep": (3,)}, 1, "regression")
    model = models.wide_and_deep(spec, hidden=(4,), activation="relu")
    kernel = model.layers[-1].kernel
    assert kernel.shape == (2 + 4, 1)
    kernel.assign(np.array([[1.0], [10.0], [0], [0], [0], [0]]))
    out = model({"wide": np.array([[2.0, 3.0]]), "deep": np.ones((1, 3))})
    np.testing.assert_allclose(out, [[32.0]])


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("cnn", (5,), r"model='cnn': needs images.*rows of shape \(5,\)"),
        ("cnn", {"a": (8, 8)}, "model='cnn': needs images"),
        ("mlp", (None, 3), "no fixed size, so they cannot be flattened"),
        ("wide_and_deep", {"a": (1,), "b": (2,)}, r"x has the inputs \['a', 'b'\]"),
        ("wide_and_deep", ((1,), (2,), (3,)), "x has the inputs 3; pass one array, a pair"),
        ("mpl", (3,), "model='mpl': no such architecture; did you mean 'mlp'"),
    ],
)
def test_what_an_architecture_cannot_take_is_refused(name: str, shape: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        models.build(name, ModelSpec(shape, 2, "classification"))


def test_the_cnn_learns_digits() -> None:
    digits = load_digits()
    images, y = digits.images.astype(np.uint8), digits.target
    cnn = Classifier(epochs=4, learning_rate=0.005, random_state=0).fit(images[:1200], y[:1200])
    assert cnn.score(images[1200:], y[1200:]) > 0.9


def test_the_wide_and_deep_model_learns_from_two_inputs() -> None:
    x = RNG.normal(size=(200, 4)).astype(np.float32)
    y = 3 * x[:, 0] + np.abs(x[:, 2])
    parts = {"wide": x[:, :2], "deep": x[:, 2:]}
    model = Regressor(model="wide_and_deep", epochs=40, learning_rate=0.01, random_state=0)
    assert model.fit(parts, y).score(parts, y) > 0.95
