"""Metrics by name on every form of Classifier, and metric objects as in Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from sklearn import metrics as sk

from trainer import Classifier

ROWS = 60
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, 3)).astype(np.float32)
TWO = (X[:, 0] + RNG.normal(size=ROWS) > 0.4).astype(int)
WORDS = np.array(["no", "yes"])[TWO]
THREE = np.digitize(X[:, 0] + 0.7 * RNG.normal(size=ROWS), [-0.5, 0.9])
MATRIX = (X + RNG.normal(size=X.shape) > 0.3).astype(int)
NAMES = ["auc", "precision", "Recall", "f1_score", "accuracy", "crossentropy", "true_positives"]


class Dense(Classifier):
    units: int | None = None
    end: Any = None
    epochs = 2
    batch_size = 16
    optimizer = "sgd"
    learning_rate = 0.2
    metrics = tuple(NAMES)
    random_state = 0

    def build_model(self, spec: Any) -> keras.Model:
        units = self.units or spec.n_outputs
        return keras.Sequential(
            [keras.Input(spec.input_shape), keras.layers.Dense(units, self.end)]
        )


def expected(model: Any, y: Any, positive: Any = None) -> dict[str, float]:
    """What scikit-learn makes of predict and predict_proba."""
    said, proba = model.predict(X), model.predict_proba(X)
    y = np.asarray(y)
    options: dict[str, Any] = {"average": "macro", "zero_division": 0}
    if y.ndim == 1 and len(model.classes_) == 2:
        options |= {"average": "binary", "pos_label": positive or model.classes_[-1]}
        at = list(model.classes_).index(options["pos_label"])
        auc = sk.roc_auc_score(y == options["pos_label"], proba[:, at])
        right = np.sum((y == said) & (y == options["pos_label"]))
    else:
        auc = sk.roc_auc_score(y, proba, multi_class="ovr")
        rows = y if y.ndim == 2 else y[:, None] == model.classes_
        both = said if said.ndim == 2 else said[:, None] == model.classes_
        right = np.mean(np.sum((rows == 1) & (both == 1), axis=0))
    multilabel = y.ndim == 2 and (y.sum(axis=1) != 1).any()
    return {
        "auc": pytest.approx(auc, abs=0.02),  # Keras' has 200 thresholds
        "precision": pytest.approx(sk.precision_score(y, said, **options)),
        "Recall": pytest.approx(sk.recall_score(y, said, **options)),
        "f1_score": pytest.approx(sk.f1_score(y, said, **options)),
        "accuracy": pytest.approx(np.mean(y == said) if multilabel else sk.accuracy_score(y, said)),
        "crossentropy": pytest.approx(
            -np.mean(y * np.log(proba) + (1 - y) * np.log(1 - proba))
            if multilabel
            else sk.log_loss(y.argmax(1) if y.ndim == 2 else y, proba),
            rel=1e-3,
        ),
        "true_positives": pytest.approx(right),
    }


FORMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "a sigmoid": (WORDS, {"units": 1, "end": "sigmoid"}),
    "a logit": (WORDS, {"units": 1}),
    "a tanh": (WORDS, {"units": 1, "end": "tanh", "loss": "hinge"}),
    "a softmax of two": (TWO, {"end": "softmax"}),
    "two logits": (WORDS, {}),
    "booleans": (TWO == 1, {"units": 1, "end": "sigmoid"}),
    "the ready-made architecture": (WORDS, None),
    "a softmax": (THREE, {"end": "softmax"}),
    "logits": (np.array(["a", "b", "c"])[THREE], {}),
    "one-hot rows": (np.eye(3)[THREE], {"end": "softmax", "loss": "categorical_crossentropy"}),
    "one-hot rows of two": (np.eye(2)[TWO], {"end": "softmax", "loss": "categorical_crossentropy"}),
    "labels for one-hot rows": (THREE, {"end": "softmax", "loss": "categorical_crossentropy"}),
    "several labels a row": (MATRIX, {"end": "sigmoid"}),
    "logits of several labels": (MATRIX, {}),
}


@pytest.mark.parametrize("form", FORMS)
def test_metrics_by_name_are_those_of_predict_and_predict_proba(form: str) -> None:
    y, fields = FORMS[form]
    if fields is None:
        model: Classifier = Classifier(epochs=1, random_state=0, metrics=NAMES)
    else:
        model = Dense(**fields)
    model.fit(X, y, validation_data=(X, y))
    found = model.evaluate(X, y)
    assert set(found) == {"loss", *NAMES}
    want = expected(model, y)
    if form == "one-hot rows of two":
        column = np.asarray(y)[:, 1], model.predict(X)[:, 1]
        want |= {
            "precision": pytest.approx(sk.precision_score(*column)),
            "Recall": pytest.approx(sk.recall_score(*column)),
            "f1_score": pytest.approx(sk.f1_score(*column)),
            "true_positives": pytest.approx(np.sum(column[0] * column[1])),
        }
    assert {name: found[name] for name in NAMES} == want
    assert {name: model.history_[f"val_{name}"][-1] for name in NAMES} == pytest.approx(
        {name: found[name] for name in NAMES}
    )


@pytest.mark.parametrize("fields", [{"units": 1}, {"end": "softmax"}])
def test_pos_label_is_the_class_that_they_are_of(fields: Any) -> None:
    model = Dense(pos_label="no", **fields).fit(X, WORDS)
    assert {n: model.evaluate(X, WORDS)[n] for n in NAMES} == expected(model, WORDS, "no")
    assert "'no' is positive" in model.summary()
    assert "'yes' is positive" in Dense(epochs=1, **fields).fit(X, WORDS).summary()


@pytest.mark.parametrize(
    ("y", "label", "message"),
    [
        (THREE, 1, r"pos_label=1: y has 3 classes, .*leave pos_label out"),
        (MATRIX, 1, "pos_label=1: y has 3 labels a row"),
        ({"a": TWO, "b": TWO}, 1, "pos_label=1: y has 2 outputs"),
        (WORDS, "maybe", r"pos_label='maybe': is not a class of y, which has \['no', 'yes'\]"),
        (WORDS, 1, r"pos_label=1: is not a class of y"),
    ],
)
def test_a_pos_label_that_is_none_is_refused_before_training(
    y: Any, label: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Dense(pos_label=label).fit(X, y)


def test_each_of_several_outputs_has_its_metrics_by_name() -> None:
    class Several(Dense):
        def build_model(self, spec: Any) -> keras.Model:
            x = keras.Input(spec.input_shape)
            outputs = {k: keras.layers.Dense(n, name=k)(x) for k, n in spec.n_outputs.items()}
            return keras.Model(x, outputs)

    y = {"a": WORDS, "b": THREE, "c": np.array([5, 7])[TWO]}
    all_of_them = Several(metrics=["recall"]).fit(X, y)
    one = Several(metrics={"b": ["recall", "f1_score"]}).fit(X, y)
    found, some = all_of_them.evaluate(X, y), one.evaluate(X, y)
    said = all_of_them.predict(X)
    assert found["a_recall"] == pytest.approx(sk.recall_score(y["a"], said["a"], pos_label="yes"))
    assert found["b_recall"] == pytest.approx(sk.recall_score(THREE, said["b"], average="macro"))
    assert found["c_recall"] == pytest.approx(sk.recall_score(y["c"], said["c"], pos_label=7))
    assert set(some) - {"loss", "a_loss", "b_loss", "c_loss"} == {"b_recall", "b_f1_score"}
    assert some["b_recall"] == found["b_recall"]


def test_classes_that_are_neither_in_y_nor_predicted_do_not_count() -> None:
    model = Dense(end="softmax", metrics=["recall", "f1_score", "auc"], epochs=5).fit(X, THREE)
    rows = (THREE < 2) & (model.predict(X) < 2)
    found = model.evaluate(X[rows], THREE[rows])
    said = model.predict(X[rows])
    options: dict[str, Any] = {"average": "macro"}
    assert found["recall"] == pytest.approx(sk.recall_score(THREE[rows], said, **options))
    assert found["f1_score"] == pytest.approx(sk.f1_score(THREE[rows], said, **options))
    proba = model.predict_proba(X[rows])
    each = [sk.roc_auc_score(THREE[rows] == i, proba[:, i]) for i in (0, 1)]
    assert found["auc"] == pytest.approx(np.mean(each), abs=0.02)


def test_every_name_of_keras_gives_one_number_or_is_refused_before_training() -> None:
    names = [
        *("binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy", "acc", "ce"),
        *(
            "TopKCategoricalAccuracy",
            "sparse_top_k_categorical_accuracy",
            "BinaryIoU",
            "FBetaScore",
        ),
        *("binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy"),
        *("kl_divergence", "FalseNegatives", "true_negatives", "mse", "hinge", "r2_score"),
    ]
    for y, fields in (FORMS["a logit"], FORMS["two logits"], FORMS["logits"]):
        model = Dense(metrics=names, epochs=1, **fields).fit(X, y)
        found = model.evaluate(X, y)
        assert len(found) == 1 + len(names)
        accuracy = pytest.approx(model.score(X, y))
        for name in ("categorical_accuracy", "sparse_categorical_accuracy", "acc"):
            assert found[name] == accuracy
        entropy = pytest.approx(sk.log_loss(y, model.predict_proba(X)), rel=1e-3)
        for name in ("categorical_crossentropy", "sparse_categorical_crossentropy", "ce"):
            assert found[name] == entropy


OBJECTS: dict[str, tuple[Callable[[], Any], Callable[[Any, Any], float]]] = {
    "F1Score": (
        lambda: keras.metrics.F1Score(threshold=0.5),
        lambda y, p: sk.f1_score(y, p > 0.5),
    ),
    "FBetaScore": (
        lambda: keras.metrics.FBetaScore(beta=2.0, threshold=0.5),
        lambda y, p: sk.fbeta_score(y, p > 0.5, beta=2),
    ),
    "TopK": (
        lambda: keras.metrics.TopKCategoricalAccuracy(k=1),
        lambda y, p: sk.accuracy_score(y, p > 0.5),
    ),
    "SparseTopK": (
        lambda: keras.metrics.SparseTopKCategoricalAccuracy(k=1),
        lambda y, p: sk.accuracy_score(y, p > 0.5),
    ),
    "AUC": (keras.metrics.AUC, sk.roc_auc_score),
    "Precision": (keras.metrics.Precision, lambda y, p: sk.precision_score(y, p > 0.5)),
    "MeanIoU": (lambda: keras.metrics.BinaryIoU([1]), lambda y, p: sk.jaccard_score(y, p > 0.5)),
}


def test_metric_objects_are_those_of_keras_and_may_follow_one_sigmoid() -> None:
    objects = [make() for make, _ in OBJECTS.values()]
    model = Dense(units=1, end="sigmoid", metrics=objects).fit(X, WORDS)
    found, p = model.evaluate(X, WORDS), model.predict_proba(X)[:, 1]
    for metric, (_, value) in zip(objects, OBJECTS.values(), strict=True):
        tolerance = 0.02 if isinstance(metric, keras.metrics.AUC) else 1e-5
        assert found[metric.name] == pytest.approx(value(TWO, p), abs=tolerance), metric.name


def test_an_f1_score_that_counts_every_row_warns_of_it() -> None:
    model = Dense(units=1, end="sigmoid", epochs=1, metrics=[keras.metrics.F1Score()])
    with pytest.warns(UserWarning, match=r"every row; write F1Score\(threshold=0.5\)"):
        model.fit(X, WORDS)
    assert model.evaluate(X, WORDS)["f1_score"] == pytest.approx(
        sk.f1_score(TWO, np.ones(ROWS)), rel=1e-5
    )


def test_callbacks_know_which_direction_is_better_and_keras_opens_the_file(tmp_path: Any) -> None:
    stop = keras.callbacks.EarlyStopping(monitor="val_f1_score", patience=0)
    fields: dict[str, Any] = {"units": 1, "metrics": ["f1_score", "false_negatives"], "epochs": 3}
    model = Dense(callbacks=[stop], **fields).fit(X, WORDS, validation_data=(X, WORDS))
    assert stop.monitor_op(1, 0)
    path = model.save(tmp_path / "m.keras")
    np.testing.assert_array_equal(Dense.load(path).predict_proba(X), model.predict_proba(X))
    loaded = Dense.load(path)
    assert loaded.evaluate(X, WORDS) == model.evaluate(X, WORDS), "to the bit: in equal batches"
    opened = keras.models.load_model(path)
    assert "trainer" not in str(opened.get_compile_config())
    np.testing.assert_allclose(opened(X), model.model_(X))
