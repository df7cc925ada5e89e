"""What fit and predict make of arrays: every dtype and layout, several inputs, normalisation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from trainer import Regressor

RNG = np.random.default_rng(0)
BITS = RNG.integers(0, 2, size=(40, 4))  # 0 and 1 are the same number in every dtype
TARGET = BITS @ np.array([1.0, -2.0, 0.5, 3.0])

FLOATS = ["float16", "float32", "float64", "longdouble"]
INTEGERS = [f"{sign}int{bits}" for bits in (8, 16, 32, 64) for sign in ("", "u")]


class Linear(Regressor):
    """One dense layer: fast to compile, and its prediction can be checked by hand."""

    epochs = 2
    batch_size = 20  # divides the rows: one shape of batch to compile for
    optimizer = "sgd"
    metrics = ()
    normalize = "standard"
    random_state = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(1)])


def _inputs(shape: Any, name: str | None = None) -> Any:
    if isinstance(shape, dict):
        return {k: _inputs(v, k) for k, v in shape.items()}
    if isinstance(shape[0] if shape else None, tuple):
        return tuple(_inputs(s) for s in shape)
    return keras.Input(shape, name=name)


class Joined(Linear):
    """One dense layer on all inputs joined, whatever their structure."""

    def build_model(self, spec: Any) -> keras.Model:
        inputs = _inputs(spec.input_shape)
        flat = keras.tree.flatten(inputs)
        flat = [keras.layers.Reshape((1,))(i) if len(i.shape) == 1 else i for i in flat]
        return keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Concatenate()(flat)))


@pytest.fixture(scope="module")
def on_float32() -> np.ndarray:
    x = BITS.astype(np.float32)
    return Linear().fit(x, TARGET).predict(x)


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, "bool"])
def test_the_same_numbers_in_any_dtype_give_the_same_predictions(
    dtype: str, on_float32: np.ndarray
) -> None:
    x = BITS.astype(dtype)
    np.testing.assert_array_equal(Linear().fit(x, TARGET).predict(x), on_float32)


def _memory_mapped(folder: Path) -> np.ndarray:
    np.save(folder / "x.npy", BITS.astype(np.float32))
    return np.load(folder / "x.npy", mmap_mode="r")


LAYOUTS = {
    "Fortran order": lambda folder: np.asfortranarray(BITS.astype(np.float32)),
    "memory-mapped": _memory_mapped,
    "big-endian floats": lambda folder: BITS.astype(">f4"),
    "big-endian integers": lambda folder: BITS.astype(">i2"),
    "every second row and column": lambda folder: np.repeat(
        np.repeat(BITS.astype(np.float32), 2, axis=0), 2, axis=1
    )[::2, ::2],
    "reversed": lambda folder: BITS.astype(np.float32)[::-1, ::-1].copy()[::-1, ::-1],
    "lists": lambda folder: BITS.tolist(),
    "a list of rows": lambda folder: list(BITS.astype(np.float32)),
    "objects": lambda folder: BITS.astype(object),
    "digits as text": lambda folder: BITS.astype(str),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_numbers_in_any_layout_give_the_same_predictions(
    layout: str, on_float32: np.ndarray, tmp_path: Path
) -> None:
    x = LAYOUTS[layout](tmp_path)
    np.testing.assert_array_equal(Linear().fit(x, TARGET).predict(x), on_float32)


def test_predict_takes_another_layout_than_fit_took(on_float32: np.ndarray) -> None:
    model = Linear().fit(BITS.astype(np.float32), TARGET)
    np.testing.assert_array_equal(model.predict(BITS.tolist()), on_float32)
    np.testing.assert_array_equal(model.predict(BITS.astype(">i8")), on_float32)


def test_fit_and_predict_leave_read_only_arrays_as_they_are() -> None:
    x, y, weight = RNG.normal(size=(40, 3)), RNG.normal(size=40), RNG.uniform(1, 2, size=40)
    copies = [a.copy() for a in (x, y, weight)]
    for a in (x, y, weight):
        a.setflags(write=False)
    Linear().fit(x, y, sample_weight=weight, validation_data=(x, y)).predict(x)
    for now, before in zip((x, y, weight), copies, strict=True):
        np.testing.assert_array_equal(now, before)


def test_a_single_row_can_be_predicted() -> None:
    x = RNG.normal(size=(40, 3))
    model = Linear().fit(x, x[:, 0])
    np.testing.assert_allclose(model.predict(x[:1]), model.predict(x)[:1], rtol=1e-6)


def test_more_rows_than_a_prediction_batch_keep_their_order() -> None:
    x = np.random.default_rng(1).normal(size=(20_000, 2)).astype(np.float32)
    model = Linear(normalize=None).fit(x[:60], x[:60, 0])
    kernel, bias = model.model_.get_weights()
    np.testing.assert_allclose(model.predict(x), (x @ kernel + bias)[:, 0], atol=1e-5)


# ---- normalisation inside the model ----------------------------------------------------------


def _scaled(x: np.ndarray, normalize: str) -> np.ndarray:
    x = x.astype(np.float64)
    if normalize == "minmax":
        return (x - x.min(axis=0)) / (x.max(axis=0) - x.min(axis=0))
    return (x - x.mean(axis=0)) / x.std(axis=0)


@pytest.mark.parametrize("normalize", ["standard", "minmax"])
def test_normalisation_is_part_of_the_model_and_uses_the_training_rows(normalize: str) -> None:
    x = RNG.normal(loc=[5, -100, 0.01], scale=[1, 20, 0.001], size=(60, 3)).astype(np.float32)
    model = Linear(normalize=normalize).fit(x, x[:, 0])
    kernel, bias = model.model_.get_weights()[-2:]
    by_hand = (_scaled(x, normalize) @ kernel + bias)[:, 0]
    np.testing.assert_allclose(model.predict(x), by_hand, rtol=1e-4, atol=1e-5)
    served = model.model_.predict(x, verbose=0)[:, 0]
    np.testing.assert_allclose(served, model.predict(x), rtol=1e-6, atol=1e-7)


def test_without_normalisation_the_network_gets_x_as_it_is() -> None:
    x = RNG.normal(loc=3, size=(60, 3)).astype(np.float32)
    model = Linear(normalize=None).fit(x, x[:, 0])
    kernel, bias = model.model_.get_weights()
    np.testing.assert_allclose(model.predict(x), (x @ kernel + bias)[:, 0], rtol=1e-5)


@pytest.mark.parametrize("normalize", ["standard", "minmax"])
def test_a_constant_column_does_not_make_predictions_infinite(normalize: str) -> None:
    x = np.c_[RNG.normal(size=60), np.full(60, 0.1)]
    model = Linear(normalize=normalize).fit(x, x[:, 0])
    assert np.isfinite(model.predict(x)).all()


def test_validation_rows_do_not_enter_the_normalisation() -> None:
    x = RNG.normal(size=(60, 3))
    far = x + 1_000
    alone = Linear().fit(x, x[:, 0]).predict(x)
    beside = Linear().fit(x, x[:, 0], validation_data=(far, x[:, 0])).predict(x)
    np.testing.assert_array_equal(alone, beside)


def test_images_are_normalised_by_channel_and_grey_images_as_a_whole() -> None:
    class OnImages(Linear):
        def build_model(self, spec: Any) -> keras.Model:
            return keras.Sequential(
                [keras.Input(spec.input_shape), keras.layers.Flatten(), keras.layers.Dense(1)]
            )

    colour = RNG.integers(0, 256, size=(20, 4, 4, 3), dtype=np.uint8)
    colour[..., 2] //= 16
    grey = RNG.integers(0, 256, size=(20, 8, 8), dtype=np.uint8)
    y = RNG.normal(size=20)
    for images, axes in ((colour, (0, 1, 2)), (grey, None)):
        model = OnImages().fit(images, y)
        kernel, bias = model.model_.get_weights()[-2:]
        values = images.astype(np.float64)
        scaled = (values - values.mean(axis=axes)) / values.std(axis=axes)
        by_hand = (scaled.reshape(20, -1) @ kernel + bias)[:, 0]
        np.testing.assert_allclose(model.predict(images), by_hand, rtol=1e-3, atol=1e-4)
        served = np.asarray(model.model_(images))[:, 0]
        np.testing.assert_allclose(served, model.predict(images), rtol=1e-6, atol=1e-6)


# ---- several inputs --------------------------------------------------------------------------

A = RNG.normal(loc=10, size=(40, 3)).astype(np.float32)
B = RNG.normal(loc=-5, scale=3, size=(40, 2)).astype(np.float32)
C = RNG.normal(size=40).astype(np.float32)

STRUCTURES = {
    "a dict": {"a": A, "b": B},
    "a dict whose keys are not in order": {"b": B, "a": A},
    "a tuple": (A, B),
    "a list": [A, B],
    "three": (A, B, A),
    "a vector of scalars": {"a": A, "c": C},
    "a dict within a dict": {"left": {"a": A}, "right": B},
    "a dict of tuples": {"pair": (A, B), "b": B},
}


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("structure", STRUCTURES)
def test_several_inputs_are_normalised_fitted_served_and_predicted(structure: str) -> None:
    x = STRUCTURES[structure]
    model = Joined().fit(x, C)
    predicted = model.predict(x)
    flat = [_scaled(a.reshape(40, -1), "standard") for a in keras.tree.flatten(x)]
    kernel, bias = model.model_.get_weights()[-2:]
    by_hand = (np.concatenate(flat, axis=1) @ kernel + bias)[:, 0]
    np.testing.assert_allclose(predicted, by_hand, rtol=1e-3, atol=1e-4)
    served = model.model_(tuple(x) if isinstance(x, list) else x)[:, 0]
    np.testing.assert_allclose(served, predicted, rtol=1e-5, atol=1e-6)


def test_several_inputs_without_normalisation_are_validated_and_evaluated() -> None:
    x = {"b": B, "left": {"a": A}}
    model = Joined(normalize=None).fit(x, C, validation_data=(x, C))
    kernel, bias = model.model_.get_weights()
    errors = (np.concatenate([B, A], axis=1) @ kernel + bias)[:, 0] - C
    assert model.evaluate(x, C)["loss"] == pytest.approx(np.mean(errors**2), rel=1e-4)
    assert model.history_["val_loss"][-1] == pytest.approx(np.mean(errors**2), rel=1e-4)


def test_the_order_of_a_dict_at_predict_does_not_matter() -> None:
    model = Joined().fit({"a": A, "b": B}, C)
    turned = model.predict({"b": B, "a": A})
    np.testing.assert_array_equal(model.predict({"a": A, "b": B}), turned)


def test_a_wrong_shape_is_named_though_the_keys_come_in_another_order() -> None:
    model = Joined().fit({"a": A, "b": B}, C)
    with pytest.raises(ValueError, match=r"x\['b'\] must have shape \(n, 2\)"):
        model.predict({"b": A, "a": A})


def test_inputs_of_different_lengths_are_named() -> None:
    with pytest.raises(ValueError, match=r"x\['a'\] has 40, x\['b'\] has 39"):
        Joined().fit({"a": A, "b": B[:39]}, C)


def test_a_missing_input_at_predict_is_named() -> None:
    model = Joined().fit({"a": A, "b": B}, C)
    with pytest.raises(ValueError, match=r"trained on \[\"x\['a'\]\", \"x\['b'\]\"\]"):
        model.predict({"a": A})


def test_identifiers_among_several_inputs_reach_an_embedding_as_integers() -> None:
    class Embedded(Linear):
        def build_model(self, spec: Any) -> keras.Model:
            word = keras.Input(spec.input_shape["word"], dtype="int64", name="word")
            value = keras.Input(spec.input_shape["value"], name="value")
            vector = keras.layers.Flatten()(keras.layers.Embedding(1_000, 2)(word))
            joined = keras.layers.Concatenate()([vector, value])
            return keras.Model({"word": word, "value": value}, keras.layers.Dense(1)(joined))

    words = RNG.integers(0, 1_000, size=(40, 5))
    x = {"word": words, "value": A}
    model = Embedded(normalize="standard").fit(x, C)
    table, kernel, bias = (model.model_.get_weights()[i] for i in (0, -2, -1))
    joined = np.concatenate([table[words].reshape(40, -1), _scaled(A, "standard")], axis=1)
    np.testing.assert_allclose(
        model.predict(x), (joined @ kernel + bias)[:, 0], rtol=1e-3, atol=1e-4
    )


def test_a_column_with_a_large_mean_keeps_its_digits() -> None:
    """Seconds since 1970, a few apart: float32 alone could not tell them from each other."""
    seconds = 1.7e9 + np.arange(60.0)[:, None]
    y = np.arange(60.0)
    model = Regressor(
        model="wide_and_deep", epochs=60, batch_size=20, learning_rate=0.01, random_state=0
    ).fit(seconds, y)
    assert model.score(seconds, y) > 0.9
