"""The forms of y: vectors, columns, Series, images, and several outputs, for each estimator."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from trainer import Classifier, Regressor, Trainer

ROWS = 40
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, 4)).astype(np.float32)
Y = X @ RNG.normal(size=(4, 3))
SIGN = np.where(X[:, 0] > 0, "plus", "minus")
SIZE = np.digitize(X[:, 1], [-0.5, 0.5]) * 10  # 0, 10 and 20
FLAGS = (X[:, :3] > 0).astype(int)


def heads(spec: Any, x: Any) -> Any:
    """An output layer for each width, in the structure of y."""
    if isinstance(spec.n_outputs, int):
        return keras.layers.Dense(spec.n_outputs, spec.output_activation)(x)
    return keras.tree.map_structure(
        lambda width: keras.layers.Dense(width, spec.output_activation)(x), spec.n_outputs
    )


class SmallTrainer(Trainer):
    """A single layer for each output, trained fast."""

    epochs = 2
    batch_size = 20
    optimizer = "sgd"
    loss = "mse"
    random_state = 0

    def build_model(self, spec: Any) -> keras.Model:
        inputs = keras.Input(spec.input_shape)
        return keras.Model(inputs, heads(spec, inputs))


class SmallRegressor(Regressor):
    epochs = 2
    batch_size = 20
    optimizer = "sgd"
    metrics = ()
    random_state = 0
    build_model = SmallTrainer.build_model


class SmallClassifier(Classifier):
    epochs = 2
    batch_size = 20
    optimizer = "sgd"
    metrics = ()
    random_state = 0
    build_model = SmallTrainer.build_model


# ---- one output ------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [SmallRegressor, SmallTrainer])
@pytest.mark.parametrize(
    ("y", "shape"),
    [
        (Y[:, 0], (ROWS,)),
        (Y[:, :1], (ROWS, 1)),
        (Y, (ROWS, 3)),
        (pd.Series(Y[:, 0]), (ROWS,)),
        (pd.DataFrame(Y), (ROWS, 3)),
    ],
    ids=["vector", "column", "columns", "series", "frame"],
)
def test_predictions_have_the_shape_of_y(cls: Any, y: Any, shape: tuple[int, ...]) -> None:
    model = cls().fit(X, y)
    predicted = model.predict(X)
    assert predicted.shape == shape
    error = np.mean((np.asarray(y) - predicted) ** 2)
    assert model.evaluate(X, y)["loss"] == pytest.approx(error, rel=1e-4)


@pytest.mark.parametrize(
    "y",
    [
        Y[:, 0].astype(np.float16),
        Y[:, 0].astype(">f8"),
        SIZE,
        SIZE.astype(np.uint8),
        FLAGS[:, 0] == 1,
        SIZE.astype(object),
        pd.Series(SIZE, dtype="Int64"),
        pd.Series(FLAGS[:, 0] == 1, dtype="boolean"),
    ],
    ids=["float16", "big-endian", "int", "uint8", "bool", "object", "Int64", "boolean"],
)
def test_targets_of_any_type_are_the_same_numbers(y: Any) -> None:
    plain = np.asarray(y, dtype=np.float32)
    np.testing.assert_array_equal(
        SmallRegressor().fit(X, y).predict(X), SmallRegressor().fit(X, plain).predict(X)
    )


@pytest.mark.parametrize("shape", [(ROWS,), (ROWS, 3)])
def test_the_default_regressor_gives_y_in_its_own_units(shape: tuple[int, ...]) -> None:
    x = np.linspace(-1, 1, ROWS)[:, None]
    y = np.broadcast_to(2e5 + 1e4 * x, (ROWS, 3))[:, : shape[1] if len(shape) > 1 else 1]
    model = Regressor(epochs=40, batch_size=20, random_state=0).fit(x, y.reshape(shape))
    predicted = model.predict(x)
    assert predicted.shape == shape
    assert model.score(x, y.reshape(shape)) > 0.9
    # the loss in units of y's variance, the metric in those of y
    logs = model.evaluate(x, y.reshape(shape))
    errors = y.reshape(shape) - predicted
    assert logs["loss"] == pytest.approx(np.mean((errors / y[:, 0].std()) ** 2), rel=1e-3)
    assert logs["mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-3)


def test_targets_may_be_images() -> None:
    class Autoencoder(SmallTrainer):
        def build_model(self, spec: Any) -> keras.Model:
            size = int(np.prod(spec.input_shape))
            return keras.Sequential(
                [
                    keras.Input(spec.input_shape),
                    keras.layers.Flatten(),
                    keras.layers.Dense(size),
                    keras.layers.Reshape(spec.input_shape),
                ]
            )

    images = RNG.random(size=(ROWS, 4, 5)).astype(np.float32)
    model = Autoencoder(epochs=5).fit(images, images)
    predicted = model.predict(images)
    assert predicted.shape == images.shape
    error = np.mean((images - predicted) ** 2)
    assert model.evaluate(images, images)["loss"] == pytest.approx(error, rel=1e-4)


def test_a_trainer_needs_no_y_where_the_model_makes_its_own_loss() -> None:
    class Contracting(SmallTrainer):
        loss = None

        def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
            assert y is None
            return keras.ops.mean((x[:, :1] - y_pred) ** 2)

    model = Contracting(epochs=3).fit(X, validation_data=(X, None))
    assert model.predict(X).shape == (ROWS, 1)
    error = np.mean((X[:, :1] - model.predict(X)) ** 2)
    assert model.evaluate(X)["loss"] == pytest.approx(error, rel=1e-4)
    assert model.history_["val_loss"][-1] == pytest.approx(error, rel=1e-4)


# ---- several outputs -------------------------------------------------------------------------

NUMBERS = {
    "dict": {"low": Y[:, 0], "high": Y[:, 1:]},
    "dict not in order": {"z": Y[:, 0], "a": Y[:, 1:]},
    "tuple": (Y[:, 0], Y[:, 1:]),
}


@pytest.mark.parametrize(
    ("cls", "form"),
    [(SmallRegressor, "dict"), (SmallTrainer, "dict not in order"), (SmallRegressor, "tuple")],
)
def test_several_outputs_of_numbers_come_back_in_the_structure_of_y(cls: Any, form: str) -> None:
    y = NUMBERS[form]
    model = cls(loss="mse").fit(X, y, validation_data=(X, y))
    predicted = model.predict(X)
    assert type(predicted) is type(y)
    keys = list(y) if isinstance(y, dict) else range(len(y))
    assert list(predicted if isinstance(y, dict) else range(len(predicted))) == list(keys)
    for key in keys:
        assert predicted[key].shape == y[key].shape
    total = sum(np.mean((y[k] - predicted[k]) ** 2) for k in keys)
    assert model.evaluate(X, y)["loss"] == pytest.approx(total, rel=1e-4)
    assert model.history_["val_loss"][-1] == pytest.approx(total, rel=1e-4)


def test_the_default_regressor_learns_several_outputs() -> None:
    model = Regressor(epochs=60, batch_size=20, random_state=0).fit(X, NUMBERS["dict"])
    assert model.score(X, NUMBERS["dict"]) > 0.7


def test_outputs_may_be_nested_deeper() -> None:
    y = {"left": {"a": Y[:, 0], "b": Y[:, 1]}, "right": (Y[:, 2],)}
    model = SmallTrainer().fit(X, y)
    predicted = model.predict(X)
    assert list(predicted) == ["left", "right"]
    for found in (predicted["left"]["a"], predicted["left"]["b"], predicted["right"][0]):
        assert found.shape == (ROWS,)
    total = (
        np.mean((predicted["left"]["a"] - Y[:, 0]) ** 2)
        + np.mean((predicted["left"]["b"] - Y[:, 1]) ** 2)
        + np.mean((predicted["right"][0] - Y[:, 2]) ** 2)
    )
    assert model.evaluate(X, y)["loss"] == pytest.approx(total, rel=1e-4)


LABELS = {
    "dict": {"sign": SIGN, "size": SIZE},
    "dict not in order": {"z": SIGN, "a": SIZE},
    "tuple": (SIGN, SIZE),
}


@pytest.mark.parametrize("form", LABELS)
def test_several_outputs_of_labels_come_back_in_the_structure_of_y(form: str) -> None:
    y = LABELS[form]
    model = SmallClassifier(epochs=60, learning_rate=0.5, metrics=None).fit(X, y)
    predicted, proba = model.predict(X), model.predict_proba(X)
    sign, size = list(y) if isinstance(y, dict) else (0, 1)
    assert type(predicted) is type(proba) is type(model.classes_) is type(y)
    np.testing.assert_array_equal(model.classes_[sign], ["minus", "plus"])
    np.testing.assert_array_equal(model.classes_[size], [0, 10, 20])
    for key, width in ((sign, 2), (size, 3)):
        assert proba[key].shape == (ROWS, width)
        np.testing.assert_allclose(proba[key].sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_array_equal(
            predicted[key], model.classes_[key][proba[key].argmax(axis=1)]
        )
    right = [np.mean(predicted[k] == y[k]) for k in (sign, size)]
    assert min(right) > 0.8
    assert model.score(X, y) == pytest.approx(np.mean(right))


def test_an_output_may_hold_several_labels_a_row_beside_one_that_holds_classes() -> None:
    y = {"flags": FLAGS, "sign": SIGN}

    class TwoHeads(SmallClassifier):
        def build_model(self, spec: Any) -> keras.Model:
            inputs = keras.Input(spec.input_shape)
            return keras.Model(
                inputs,
                {
                    "flags": keras.layers.Dense(spec.n_outputs["flags"], "sigmoid")(inputs),
                    "sign": keras.layers.Dense(spec.n_outputs["sign"], "softmax")(inputs),
                },
            )

    model = TwoHeads(epochs=60, learning_rate=0.5).fit(X, y)
    predicted = model.predict(X)
    assert np.mean(predicted["flags"] == FLAGS) > 0.8
    assert np.mean(predicted["sign"] == SIGN) > 0.8
    with pytest.raises(ValueError, match=r"y\['flags'\] is multi-label.*build_model"):
        Classifier().fit(X, y)


def test_several_logits_become_probabilities_of_each_output() -> None:
    class Logits(SmallClassifier):
        def build_model(self, spec: Any) -> keras.Model:
            inputs = keras.Input(spec.input_shape)
            return keras.Model(
                inputs, {k: keras.layers.Dense(w)(inputs) for k, w in spec.n_outputs.items()}
            )

    model = Logits().fit(X, LABELS["dict not in order"])
    logits, proba = model.model_.predict(X, verbose=0), model.predict_proba(X)
    for key, width in (("z", 2), ("a", 3)):
        assert proba[key].shape == (ROWS, width)
        powers = np.exp(logits[key].astype(np.float64))
        np.testing.assert_allclose(proba[key], powers / powers.sum(axis=1)[:, None], rtol=1e-5)


def test_losses_and_metrics_may_differ_by_output() -> None:
    y = {"number": Y[:, 0], "flag": FLAGS[:, 0]}

    class Both(SmallTrainer):
        def build_model(self, spec: Any) -> keras.Model:
            inputs = keras.Input(spec.input_shape)
            return keras.Model(
                inputs,
                {
                    "number": keras.layers.Dense(1)(inputs),
                    "flag": keras.layers.Dense(1, "sigmoid")(inputs),
                },
            )

    model = Both(
        loss={"number": "mae", "flag": "binary_crossentropy"},
        metrics={"number": ["mse"], "flag": ["accuracy"]},
    ).fit(X, y)
    predicted, logs = model.predict(X), model.evaluate(X, y)
    p = predicted["flag"]
    entropy = -np.mean(np.where(FLAGS[:, 0] == 1, np.log(p), np.log(1 - p)))
    assert logs["loss"] == pytest.approx(
        np.abs(Y[:, 0] - predicted["number"]).mean() + entropy, rel=1e-4
    )
    assert logs["number_mse"] == pytest.approx(np.mean((Y[:, 0] - predicted["number"]) ** 2), 1e-4)
    assert logs["flag_accuracy"] == pytest.approx(np.mean((p > 0.5) == FLAGS[:, 0]), rel=1e-6)


@pytest.mark.parametrize("form", ["dict", "tuple"])
def test_a_model_may_give_a_list_of_outputs_whose_layers_bear_the_keys_of_y(form: str) -> None:
    class Listed(SmallRegressor):
        def build_model(self, spec: Any) -> keras.Model:
            inputs = keras.Input(spec.input_shape)
            low = keras.layers.Dense(1, name="low")(inputs)
            return keras.Model(inputs, [low, keras.layers.Dense(2, name="high")(inputs)])

    y = {"high": Y[:, 1:], "low": Y[:, 0]} if form == "dict" else (Y[:, 0], Y[:, 1:])
    model = Listed(metrics=None).fit(X, y)
    predicted, keys = model.predict(X), ("low", "high") if form == "dict" else (0, 1)
    total = sum(np.mean((y[k] - predicted[k]) ** 2) for k in keys)
    logs = model.evaluate(X, y)
    assert logs["loss"] == pytest.approx(total, rel=1e-4)
    assert logs["low_mae"] == pytest.approx(np.abs(y[keys[0]] - predicted[keys[0]]).mean(), 1e-4)


def test_outputs_that_cannot_be_told_apart_are_refused() -> None:
    class Listed(SmallRegressor):
        def build_model(self, spec: Any) -> keras.Model:
            inputs = keras.Input(spec.input_shape)
            return keras.Model(inputs, [keras.layers.Dense(1)(inputs) for _ in range(2)])

    with pytest.raises(ValueError, match=r"outputs are \[0\], \[1\].*y are \['a'\], \['b'\]"):
        Listed().fit(X, {"a": Y[:, 0], "b": Y[:, 1]})


def test_a_custom_model_may_have_outputs_that_y_says_nothing_of() -> None:
    class Coder(SmallTrainer):
        loss = None

        def build_model(self, spec: Any) -> keras.Model:
            inputs = keras.Input(spec.input_shape)
            code = keras.layers.Dense(2)(inputs)
            return keras.Model(inputs, {"x": keras.layers.Dense(4)(code), "code": code})

        def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
            return keras.ops.mean((y - y_pred["x"]) ** 2)

    model = Coder().fit(X, X)
    predicted = model.predict(X)
    assert {k: v.shape for k, v in predicted.items()} == {"x": (ROWS, 4), "code": (ROWS, 2)}
    error = np.mean((X - predicted["x"]) ** 2)
    assert model.evaluate(X, X)["loss"] == pytest.approx(error, rel=1e-4)


@pytest.mark.parametrize("form", ["dict", "tuple"])
def test_a_subclassed_model_may_have_several_outputs(form: str) -> None:
    y = NUMBERS[form]

    class Heads(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = keras.layers.Dense(1), keras.layers.Dense(2)

        def call(self, x: Any) -> Any:
            if form == "dict":
                return {"low": self.one(x), "high": self.two(x)}
            return self.one(x), self.two(x)

    class OwnModel(SmallRegressor):
        def build_model(self, spec: Any) -> keras.Model:
            return Heads()

    model = OwnModel(epochs=5).fit(X, y)
    predicted = model.predict(X)
    keys = ("low", "high") if form == "dict" else (0, 1)
    total = sum(np.mean((y[k] - predicted[k]) ** 2) for k in keys)
    assert model.evaluate(X, y)["loss"] == pytest.approx(total, rel=1e-4)


def test_sample_weights_weigh_every_output() -> None:
    weight = RNG.uniform(0.5, 2, size=ROWS)
    model = SmallTrainer().fit(X, NUMBERS["tuple"], sample_weight=weight)
    predicted = model.predict(X)
    total = sum(
        np.mean(weight * ((y - p) ** 2).reshape(ROWS, -1).mean(axis=1))
        for y, p in zip(NUMBERS["tuple"], predicted, strict=True)
    )
    found = model.evaluate(X, NUMBERS["tuple"], sample_weight=weight)["loss"]
    assert found == pytest.approx(total, rel=1e-4)


# ---- what is refused -------------------------------------------------------------------------


def test_another_structure_or_width_at_evaluate_is_named() -> None:
    model = SmallRegressor().fit(X, NUMBERS["dict"])
    with pytest.raises(ValueError, match=r"y has the outputs .*'low'.*but training had"):
        model.evaluate(X, {"low": Y[:, 0]})
    with pytest.raises(ValueError, match=r"y\['high'\] has 3 columns, but training had 2"):
        model.evaluate(X, {"low": Y[:, 0], "high": Y})


def test_parts_of_y_with_too_few_rows_are_named() -> None:
    with pytest.raises(ValueError, match=r"x has 40 rows, but y\['high'\] has 39 rows"):
        SmallRegressor().fit(X, {"low": Y[:, 0], "high": Y[:39]})


def test_a_model_with_another_number_of_outputs_is_refused() -> None:
    class OneHead(SmallRegressor):
        def build_model(self, spec: Any) -> keras.Model:
            return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(1)])

    with pytest.raises(ValueError, match="the model has 1 outputs, but y has 2"):
        OneHead().fit(X, NUMBERS["tuple"])
