"""Labels of every type, and networks that give probabilities or logits in every usual form."""

from __future__ import annotations

import functools
import pickle
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import get_scorer

from trainer import Classifier
from trainer.data.labels import Labels
from trainer.utils.forms import Malformed

ROWS = 60
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, 3)).astype(np.float32)
TWO = (X[:, 0] > 0).astype(int)
THREE = np.digitize(X[:, 0], [-0.5, 0.5])
MATRIX = (X > 0).astype(int)


class Linear(Classifier):
    """One dense layer that separates the rows within a few epochs."""

    units: int | None = None
    activation: str | None = "softmax"
    epochs = 30
    batch_size = 20
    optimizer = "sgd"
    learning_rate = 0.5
    metrics = ()
    random_state = 0

    def build_model(self, spec: Any) -> keras.Model:
        units = self.units or spec.n_outputs
        return keras.Sequential(
            [keras.Input(spec.input_shape), keras.layers.Dense(units, self.activation)]
        )


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64))
    return powers / powers.sum(axis=-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


# ---- types of labels -------------------------------------------------------------------------

LABELS = {
    "strings": np.array(["b", "a", "c"])[THREE],
    "strings of one length more": np.array(["no", "yes", "perhaps"])[THREE],
    "objects": np.array(["b", "a", "c"], dtype=object)[THREE],
    "a list": [["b", "a", "c"][i] for i in THREE],
    "integers with gaps": np.array([-7, 40, 3])[THREE],
    "uint8": THREE.astype(np.uint8),
    "whole floats": np.array([0.0, 10.0, 5.0])[THREE],
    "a column": np.array([5, 1, 9])[THREE][:, None],
    "booleans": TWO == 1,
    "two strings": np.where(TWO, "spam", "ham"),
    "minus one and one": np.where(TWO, 1, -1),
    "a Series": pd.Series(np.where(TWO, "spam", "ham"), index=np.arange(ROWS)[::-1]),
    "a Series of categories": pd.Series(pd.Categorical(np.where(TWO, "spam", "ham"))),
    "a Series of Int64": pd.Series(np.where(TWO, 5, 2), dtype="Int64"),
    "a Series of boolean": pd.Series(TWO == 1, dtype="boolean"),
    "a Series of string": pd.Series(np.where(TWO, "spam", "ham"), dtype="string"),
}


@pytest.mark.parametrize("form", LABELS)
def test_labels_of_any_type_are_learnt_and_given_back(form: str) -> None:
    y = LABELS[form]
    plain = np.asarray(y).reshape(-1)
    if plain.dtype == object:
        plain = np.array(plain.tolist())
    model = Linear().fit(X, y)
    predicted = model.predict(X)
    np.testing.assert_array_equal(model.classes_, np.unique(plain))
    assert model.classes_.dtype.kind == predicted.dtype.kind == plain.dtype.kind
    assert predicted.shape == (ROWS,)
    assert np.mean(predicted == plain) > 0.85
    assert model.score(X, y) == pytest.approx(np.mean(predicted == plain))
    proba = model.predict_proba(X)
    assert proba.shape == (ROWS, len(model.classes_))
    np.testing.assert_array_equal(predicted, model.classes_[proba.argmax(axis=1)])


def test_the_probabilities_stand_in_the_order_of_the_classes() -> None:
    names = np.array(["zebra", "ant"])[TWO]  # class 1 comes first in classes_
    proba = Linear().fit(X, names).predict_proba(X)
    right = np.where(TWO == 1, proba[:, 0], proba[:, 1])
    assert np.mean(right > 0.5) > 0.85


def test_labels_of_any_type_give_the_same_training() -> None:
    expected = Linear().fit(X, THREE).predict_proba(X)
    renamed = Linear().fit(X, np.array(["a", "b", "c"])[THREE]).predict_proba(X)
    np.testing.assert_array_equal(renamed, expected)


def test_several_labels_a_row_come_back_as_a_matrix() -> None:
    model = Linear(activation="sigmoid").fit(X, MATRIX)
    predicted, proba = model.predict(X), model.predict_proba(X)
    assert predicted.shape == proba.shape == (ROWS, 3)
    assert predicted.dtype == MATRIX.dtype
    np.testing.assert_array_equal(predicted, (proba > 0.5).astype(int))
    assert np.mean(predicted == MATRIX) > 0.9
    exact = np.mean((predicted == MATRIX).all(axis=1))
    assert model.score(X, MATRIX) == pytest.approx(exact)


def test_the_default_model_learns_several_labels_a_row() -> None:
    model = Classifier(epochs=20, batch_size=20, random_state=0).fit(X, MATRIX)
    assert model.score(X, MATRIX) > 0.7
    right = np.mean(model.predict(X) == MATRIX)
    assert model.evaluate(X, MATRIX)["accuracy"] == pytest.approx(right, rel=1e-5)


def test_one_hot_rows_are_classes_for_categorical_crossentropy() -> None:
    model = Linear(loss="categorical_crossentropy").fit(X, np.eye(3)[THREE])
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])
    predicted = model.predict(X)
    assert np.mean(predicted.argmax(axis=1) == THREE) > 0.85
    np.testing.assert_array_equal(predicted.sum(axis=1), 1)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1, rtol=1e-5)
    right = np.mean(predicted.argmax(axis=1) == THREE)
    assert model.score(X, np.eye(3)[THREE]) == model.score(X, THREE) == pytest.approx(right)
    assert model.plot_confusion_matrix(X, np.eye(3)[THREE]).get_xlabel()


@pytest.mark.parametrize("dtype", [int, bool, np.float32, "a table", "a list"])
def test_predictions_of_one_hot_rows_are_one_hot_rows_of_their_type(dtype: Any) -> None:
    rows: Any = np.eye(3, dtype=dtype if isinstance(dtype, type) else bool)[THREE]
    y = pd.DataFrame(rows) if dtype == "a table" else rows.tolist() if dtype == "a list" else rows
    model = Linear(loss="categorical_crossentropy", epochs=2).fit(X, y)
    predicted = model.predict(X)
    assert predicted.shape == rows.shape and predicted.dtype == rows.dtype
    for scoring in ("accuracy", "f1_macro", "roc_auc_ovr", "neg_log_loss"):
        assert np.isfinite(get_scorer(scoring)(model, X, rows))
    assert get_scorer("accuracy")(model, X, rows) == pytest.approx(model.score(X, y))
    again = pickle.loads(pickle.dumps(model)).predict(X)
    np.testing.assert_array_equal(again, predicted)
    assert again.dtype == predicted.dtype


@pytest.mark.parametrize(
    "loss",
    [
        keras.losses.categorical_crossentropy,
        functools.partial(keras.losses.categorical_crossentropy, label_smoothing=0.1),
        type("Own", (keras.losses.CategoricalCrossentropy,), {})(),
        {"class_name": "CategoricalCrossentropy", "config": {}},
    ],
)
def test_one_hot_rows_are_classes_in_whatever_form_the_loss_is_written(loss: Any) -> None:
    model = Linear(loss=loss, epochs=1).fit(X, np.eye(3)[THREE])
    assert model.predict_proba(X).sum(axis=1) == pytest.approx(1)
    np.testing.assert_array_equal(model.predict(X).sum(axis=1), 1)


def test_each_of_several_outputs_may_have_one_hot_rows() -> None:
    class Two(Linear):
        def build_model(self, spec: Any) -> keras.Model:
            x = keras.Input(spec.input_shape)
            outputs = {
                k: keras.layers.Dense(n, "softmax", name=k)(x) for k, n in spec.n_outputs.items()
            }
            return keras.Model(x, outputs)

    losses = {"a": "categorical_crossentropy", "b": "sparse_categorical_crossentropy"}
    y = {"a": np.eye(3)[THREE], "b": np.array(["x", "y"])[TWO]}
    model = Two(loss=losses, epochs=1).fit(X, y)
    predicted = model.predict(X)
    np.testing.assert_array_equal(predicted["a"].sum(axis=1), 1)
    assert predicted["b"].shape == (ROWS,)
    assert 0 <= model.score(X, y) <= 1


@pytest.mark.parametrize("loss", ["categorical_crossentropy", keras.losses.CategoricalHinge()])
def test_labels_become_one_hot_rows_where_the_loss_wants_them(loss: Any) -> None:
    model = Linear(loss=loss, metrics=["accuracy"]).fit(X, np.array(["b", "a", "c"])[THREE])
    np.testing.assert_array_equal(model.classes_, ["a", "b", "c"])
    assert model.score(X, np.array(["b", "a", "c"])[THREE]) > 0.7
    found = model.evaluate(X, np.array(["b", "a", "c"])[THREE])["accuracy"]
    assert found == pytest.approx(model.score(X, np.array(["b", "a", "c"])[THREE]))


# ---- forms of networks -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("units", "activation"),
    [(2, "softmax"), (1, "sigmoid"), (2, None), (1, None)],
    ids=["softmax", "sigmoid", "two logits", "one logit"],
)
def test_two_classes_may_have_one_unit_or_two_with_or_without_activation(
    units: int, activation: str | None
) -> None:
    y = np.where(TWO, "yes", "no")
    model = Linear(units=units, activation=activation, metrics=None).fit(X, y)
    outputs, proba = np.asarray(model.model_(X)), model.predict_proba(X)
    if activation is None:
        outputs = softmax(outputs) if units == 2 else sigmoid(outputs)
    second = outputs[:, -1]
    np.testing.assert_allclose(proba, np.c_[1 - second, second], rtol=1e-4, atol=1e-6)
    assert model.score(X, y) > 0.9
    logs = model.evaluate(X, y)
    entropy = -np.log(np.where(TWO == 1, proba[:, 1], proba[:, 0])).mean()
    assert logs["loss"] == pytest.approx(entropy, rel=1e-3)
    assert logs["accuracy"] == pytest.approx(model.score(X, y), rel=1e-5)


@pytest.mark.parametrize("one_hot", [False, True])
def test_the_logits_of_many_classes_become_probabilities(one_hot: bool) -> None:
    model = Linear(activation=None, loss=_from_logits() if one_hot else None).fit(X, THREE)
    proba = model.predict_proba(X)
    np.testing.assert_allclose(proba, softmax(np.asarray(model.model_(X))), rtol=1e-4)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
    assert model.score(X, THREE) > 0.85


def _from_logits() -> keras.losses.Loss:
    return keras.losses.CategoricalCrossentropy(from_logits=True)


def test_the_logits_of_several_labels_become_probabilities_of_each() -> None:
    model = Linear(activation=None, metrics=None).fit(X, MATRIX)
    proba = model.predict_proba(X)
    np.testing.assert_allclose(proba, sigmoid(np.asarray(model.model_(X))), rtol=1e-4)
    right = np.mean(model.predict(X) == MATRIX)
    assert model.evaluate(X, MATRIX)["accuracy"] == pytest.approx(right, rel=1e-5)
    assert right > 0.9


class Hidden(keras.Model):
    """A subclassed model: nothing but its graph tells how it ends."""

    def __init__(self, units: int, end: Any) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(units, kernel_initializer="zeros")
        self.end = end

    def call(self, x: Any) -> Any:
        return self.end(self.dense(x))


ENDS = {
    "softmax": (lambda x: keras.ops.softmax(x), 3),
    "divided powers": (
        lambda x: keras.ops.exp(x) / keras.ops.sum(keras.ops.exp(x), axis=-1, keepdims=True),
        3,
    ),
    "logits": (lambda x: x, 3),
    "sigmoid": (lambda x: keras.ops.sigmoid(x), 1),
    "one logit": (lambda x: x, 1),
    "sigmoids": (lambda x: keras.ops.sigmoid(x), None),
    "logits of labels": (lambda x: x, None),
}


@pytest.mark.parametrize("form", ENDS)
def test_a_subclassed_model_may_end_in_probabilities_or_in_logits(form: str) -> None:
    end, units = ENDS[form]
    y = {3: THREE, 1: TWO, None: MATRIX}[units]

    class Own(Linear):
        def build_model(self, spec: Any) -> keras.Model:
            return Hidden(units or 3, end)

    model = Own().fit(X, y)
    outputs, proba = np.asarray(model.model_(X)), model.predict_proba(X)
    assert ("logit" in form) == bool((outputs < 0).any())
    if form == "logits":
        outputs = softmax(outputs)
    elif "logit" in form:
        outputs = sigmoid(outputs)
    expected = np.c_[1 - outputs, outputs] if units == 1 else outputs
    np.testing.assert_allclose(proba, expected, rtol=1e-3, atol=1e-6)
    assert np.mean(model.predict(X) == y) > 0.85


FUNCTIONAL_ENDS = {
    "an Activation layer": lambda d, n: keras.layers.Activation("softmax")(d),
    "a Softmax layer": lambda d, n: keras.layers.Softmax()(d),
    "an operation": lambda d, n: keras.ops.softmax(d),
    "a reshaped softmax": lambda d, n: keras.layers.Reshape((n,))(keras.layers.Softmax()(d)),
    "a mean of two": lambda d, n: keras.layers.Average()([keras.layers.Softmax()(d)] * 2),
}


@pytest.mark.parametrize("form", FUNCTIONAL_ENDS)
def test_probabilities_are_recognised_however_the_model_ends(form: str) -> None:
    class Own(Linear):
        def build_model(self, spec: Any) -> keras.Model:
            inputs = keras.Input(spec.input_shape)
            dense = keras.layers.Dense(spec.n_outputs)(inputs)
            return keras.Model(inputs, FUNCTIONAL_ENDS[form](dense, spec.n_outputs))

    model = Own(epochs=2).fit(X, THREE)
    assert model.model_.loss.from_logits is False
    np.testing.assert_allclose(model.predict_proba(X), model.model_(X), rtol=1e-5)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")  # of the head that is left out
def test_the_activation_of_a_model_within_the_model_counts() -> None:
    class Nested(Linear):
        def build_model(self, spec: Any) -> keras.Model:
            inputs = keras.Input(spec.input_shape)
            inner = keras.Input(spec.input_shape)
            head = keras.layers.Dense(spec.n_outputs, "softmax")(inner)
            other = keras.layers.Dense(2)(inner)
            return keras.Model(inputs, keras.Model(inner, [head, other])(inputs)[0])

    model = Nested(epochs=2).fit(X, THREE)
    assert model.model_.loss.from_logits is False


# ---- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.linspace(0, 1, ROWS), "continuous numbers such as .*use a Regressor"),
        (np.array(["a", None] * 30, dtype=object), "30 of 60 rows have no target .*drop such rows"),
        (np.where(TWO, np.nan, 1.0), "29 of 60 rows have no target .*drop such rows"),
        (np.where(TWO, np.inf, 1.0), r"y contains NaN or infinity \(inf\)"),
        (np.array(["a", 1] * 30, dtype=object), r"mixes text and numbers; write y\.astype\(str\)"),
        (np.zeros(ROWS, int), r"y has only one class \(.*0.*\)"),
        (np.zeros((ROWS, 2, 2)), r"y has shape \(60, 2, 2\): must be one label per row"),
        (THREE[:, None] * np.ones((1, 2), int), "must be one label per row"),
    ],
    ids=[
        "continuous",
        "None",
        "NaN",
        "infinity",
        "mixed",
        "one class",
        "three axes",
        "no 0/1 matrix",
    ],
)
def test_labels_that_are_none_are_refused(y: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Linear(missing_target="raise").fit(X, y)


def test_labels_that_training_lacks_are_named() -> None:
    model = Linear(epochs=1).fit(X, np.array(["a", "b", "c"])[THREE])
    with pytest.raises(
        ValueError, match="y contains 'd', which training did not have; its classes are 'a', 'b'"
    ):
        model.evaluate(X, np.array(["a", "b", "d"])[THREE])
    with pytest.raises(
        ValueError, match=r"validation_data: y contains 3, which training did not have"
    ):
        Linear().fit(X, THREE, validation_data=(X, THREE + 1))
    with pytest.raises(ValueError, match="y contains 0, 1, 2, which training did not have"):
        model.evaluate(X, THREE)


def test_a_head_of_the_wrong_width_is_told_what_to_be() -> None:
    with pytest.raises(ValueError, match=r"expected 3 \(3 classes in y\), got 4; end the model"):
        Linear(units=4).fit(X, THREE)


# ---- thresholds in files ---------------------------------------------------------------------


def form(kind: str = "binary", classes: int = 2, **changed: Any) -> dict[str, Any]:
    state = {
        "kind": kind,
        "classes": list(range(classes)),
        "classes_dtype": "<i8",
        "dtype": "<i8",
        "one_hot": False,
        "thresholds": [0.3],
        "positive": 1,
    }
    return state | changed


def test_thresholds_are_read_back() -> None:
    one = Labels.from_dict(form(positive=0))
    assert (one.thresholds, one.positive) == ((0.3,), 0)
    assert Labels.from_dict(one.to_dict()).to_dict() == one.to_dict()
    several = Labels.from_dict(form("multilabel", 3, thresholds=[0.1, 0.2, 0.3]))
    assert several.thresholds == (0.1, 0.2, 0.3)
    old = form()
    del old["thresholds"], old["positive"]
    assert Labels.from_dict(old).thresholds is None


@pytest.mark.parametrize(
    "state",
    [
        form(thresholds=[0.3, 0.4]),
        form(thresholds=[1.0]),
        form(thresholds=[0]),
        form(thresholds=[float("nan")]),
        form(thresholds=["0.3"]),
        form(thresholds=[True]),
        form(thresholds=0.3),
        form(positive=2),
        form(positive=None),
        form("multiclass", 3),
        form("multilabel", 3),
    ],
    ids=str,
)
def test_bad_thresholds_in_a_file_are_refused(state: dict[str, Any]) -> None:
    with pytest.raises(Malformed, match="targets: labels: (thresholds|positive)"):
        Labels.from_dict(state)


@pytest.mark.parametrize("columns", [2, 3])
def test_several_labels_that_look_like_one_hot_rows_are_marked(columns: int) -> None:
    rows = np.eye(columns, dtype=int)[np.arange(12) % columns]
    label = Labels.learn(rows, "y")
    assert label.kind == "multilabel" and label.may_be_one_hot
    rows = np.array([[1, 0], [1, 1], [0, 0], [0, 1]])
    label = Labels.learn(rows, "y")
    assert label.kind == "multilabel" and not label.may_be_one_hot
    label = Labels.learn(np.eye(3, dtype=int), "y", one_hot=True)
    assert label.kind == "multiclass" and not label.may_be_one_hot


@pytest.mark.parametrize("kind", [list, tuple])
def test_numbers_among_text_in_a_list_are_not_made_text(kind: Any) -> None:
    for mixed in ([1, "b", 1], [True, "b"]):
        with pytest.raises(ValueError, match="y mixes text and numbers"):
            Labels.learn(kind(mixed), "y")
    with pytest.raises(ValueError, match="y contains NaN or None"):
        Labels.learn(kind(["a", "b", float("nan")]), "y")
    assert Labels.learn(kind(["b", "a"]), "y").classes.tolist() == ["a", "b"]
    assert Labels.learn(kind([b"b", b"a"]), "y").classes.tolist() == [b"a", b"b"]


def test_a_matrix_without_columns_has_no_labels() -> None:
    with pytest.raises(ValueError, match=r"y has shape \(60, 0\), so no labels"):
        Classifier(epochs=1).fit(X, np.zeros((ROWS, 0), int))


@pytest.mark.parametrize(
    ("classes", "instead"),
    [(5, r"\[0, 1, 2\]"), ("ab", r"\[0, 1, 2\]"), ({1, 0}, r"\[0, 1\]")],
)
def test_classes_must_be_a_list_or_an_array(classes: Any, instead: str) -> None:
    message = rf"classes=.*: must be a list or an array of all labels; write classes={instead}"
    with pytest.raises(TypeError, match=message):
        Linear().partial_fit(X, TWO, classes=classes)
