"""The field precision: what is computed in, that it stays finite, and that Keras is left alone."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from trainer import Classifier, Regressor

X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
Y = X[:, 0]
LABELS = np.where(Y > 0, "plus", "minus")
PRECISIONS = ["float32", "float64", "mixed_bfloat16", "mixed_float16"]


class Small(Classifier):
    epochs = 8
    batch_size = 20
    learning_rate = 0.05
    normalize = "standard"
    random_state = 0

    def build_model(self, spec: Any) -> keras.Model:
        self.policy_ = keras.config.dtype_policy().name
        return keras.Sequential(
            [
                keras.Input(spec.input_shape),
                keras.layers.Dense(8, "relu"),
                keras.layers.Dense(spec.n_outputs, "softmax", dtype="float32"),
            ]
        )


@pytest.fixture(autouse=True)
def keras_is_left_as_it_was() -> Any:
    before = keras.config.floatx(), keras.config.dtype_policy().name
    yield
    assert (keras.config.floatx(), keras.config.dtype_policy().name) == before


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_trains_and_predicts(precision: str) -> None:
    model = Small(precision=precision).fit(X, LABELS, validation_data=(X, LABELS))
    assert model.policy_ == precision
    assert np.isfinite(model.history_.frame.to_numpy()).all()
    proba = model.predict_proba(X)
    assert np.isfinite(proba).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-3)
    assert model.score(X, LABELS) > 0.8
    # weights and the optimizer's state keep their digits; only the computation is short
    stored = "float64" if precision == "float64" else "float32"
    assert model.model_.trainable_variables[0].dtype == stored
    served = np.asarray(model.model_(X))
    np.testing.assert_allclose(served, proba, atol=1e-2 if "mixed" in precision else 1e-6)


def test_only_float16_scales_its_loss() -> None:
    for precision, scaled in (("mixed_float16", True), ("mixed_bfloat16", False)):
        model = Small(precision=precision, epochs=1).fit(X, LABELS)
        found = isinstance(model.model_.optimizer, keras.optimizers.LossScaleOptimizer)
        assert found == scaled


def test_gradients_too_small_for_float16_still_train() -> None:
    class Faint(Regressor):
        epochs = 30
        batch_size = 20
        optimizer = "adam"
        learning_rate = 0.05
        precision = "mixed_float16"
        random_state = 0

        def build_model(self, spec: Any) -> keras.Model:
            return keras.Sequential(
                [
                    keras.Input(spec.input_shape),
                    keras.layers.Dense(8, "relu"),
                    keras.layers.Dense(1, dtype="float32"),
                ]
            )

        def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
            return 1e-6 * keras.ops.mean((keras.ops.expand_dims(y, -1) - y_pred) ** 2)

    model = Faint().fit(X, Y)
    assert model.score(X, Y) > 0.5


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_the_default_regressor_gives_house_prices_in_mixed_precision(precision: str) -> None:
    prices = 2e5 + 1e5 * Y
    model = Regressor(
        model="wide_and_deep", epochs=15, batch_size=20, precision=precision, random_state=0
    ).fit(X, prices)
    assert np.isfinite(model.predict(X)).all()
    assert model.score(X, prices) > 0.8


def test_float64_is_computed_in_throughout() -> None:
    class Linear(Regressor):
        epochs = 1
        precision = "float64"
        random_state = 0

        def build_model(self, spec: Any) -> keras.Model:
            return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(1)])

    x = X.astype(np.float64) + 1e-12
    model = Linear().fit(x, Y)
    kernel, bias = model.model_.get_weights()
    assert kernel.dtype == np.float64
    predicted = model.predict(x)
    assert predicted.dtype == np.float64
    np.testing.assert_allclose(predicted, (x @ kernel + bias)[:, 0], rtol=1e-14)


@pytest.mark.parametrize(
    ("model", "x", "expected"),
    [
        (Classifier(model="wide_and_deep"), X.astype(np.float64), "float64"),
        (Classifier(model="wide_and_deep"), X, "float32"),
        (Small(), X.astype(np.float64), "float32"),
        (Classifier(model="wide_and_deep"), pd.DataFrame({"n": Y, "c": LABELS}), "float32"),
    ],
    ids=["doubles", "floats", "a model of one's own", "a table with text"],
)
def test_auto_takes_doubles_for_ready_models_on_vectors_of_doubles(
    model: Classifier, x: Any, expected: str
) -> None:
    fitted = model.set_params(epochs=1, batch_size=20).fit(x, LABELS)
    assert {v.dtype for v in fitted.model_.trainable_variables} == {expected}


def test_a_table_is_encoded_with_all_digits_before_mixed_precision() -> None:
    frame = pd.DataFrame({"t": 1.7e9 + np.arange(60.0), "c": LABELS})
    model = Small(precision="mixed_bfloat16", epochs=20).fit(frame[["t"]], frame["t"] > 1.7e9 + 29)
    assert model.score(frame[["t"]], frame["t"] > 1.7e9 + 29) > 0.9


def test_keras_is_left_as_it_was_after_an_error() -> None:
    class Fails(Small):
        def build_model(self, spec: Any) -> keras.Model:
            raise RuntimeError("in build_model")

    class FailsLater(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            raise RuntimeError("in a callback")

    with pytest.raises(RuntimeError, match="in build_model"):
        Fails(precision="mixed_bfloat16").fit(X, LABELS)
    assert keras.config.dtype_policy().name == "float32"
    with pytest.raises(RuntimeError, match="in a callback"):
        Small(precision="float64", callbacks=[FailsLater()]).fit(X, LABELS)
    assert keras.config.floatx() == "float32"


def test_a_policy_of_the_users_own_is_given_back() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = Small(epochs=1).fit(X, LABELS)
        assert model.policy_ == "float32"
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        model.predict(X)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")
