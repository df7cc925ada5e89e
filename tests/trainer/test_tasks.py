"""Task: what is learnt of y, default loss and metrics, weights; and a task of the user's own."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.base import clone
from sklearn.utils import get_tags

from trainer import Classifier, Regressor, Task, Trainer
from trainer.data.preparation import Rows
from trainer.tasks import Classification, Regression

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = np.digitize(X[:, 0], [-0.7, 0.0, 0.7])


class Steps:
    """Ordered labels 0 to k as k yes-or-no targets."""

    task = "ordinal"

    def __init__(self, n_outputs: int) -> None:
        self.n_outputs = n_outputs

    def encode(self, y: Any, name: str) -> Any:
        return (np.asarray(y)[:, None] > np.arange(self.n_outputs)).astype(np.float32)

    def encode_graph(self, y: Any) -> Any:
        return y

    def decode(self, outputs: Any) -> Any:
        return (outputs > 0).sum(axis=-1)

    def to_dict(self) -> dict[str, Any]:
        return {"n_outputs": self.n_outputs}


class Ordinal(Task):
    needs_y = True

    def learn(self, data: Any) -> Steps:
        return Steps(int(np.max(data.y)))

    def restore(self, form: Any) -> Steps:
        return Steps(form["n_outputs"])

    def default_loss(self, model: Any, spec: Any, learned: Any, probe: Any) -> Any:
        import keras

        assert spec.task == "ordinal"
        return keras.losses.BinaryCrossentropy(from_logits=True)

    def default_metrics(self, spec: Any, learned: Any, loss: Any) -> Any:
        return ["mse"]

    def strata(self, data: Rows) -> Any:
        return np.asarray(data.y)


class OrdinalTrainer(Trainer):
    model = "mlp"
    epochs = 3
    random_state = 0
    validation_split = 0.25

    def configure_task(self) -> Ordinal:
        return Ordinal("ordinal")


@pytest.fixture(scope="module")
def fitted() -> OrdinalTrainer:
    return OrdinalTrainer().fit(X, Y)


def test_a_task_of_ones_own_decides_targets_loss_metrics_and_predictions(fitted: Any) -> None:
    assert fitted.model_.output_shape == (None, 3)
    assert "val_mse" in fitted.history_
    assert set(fitted.predict(X)) <= {0, 1, 2, 3}
    assert fitted.evaluate(X, Y)["loss"] > 0


def test_its_targets_are_saved_and_pickled_with_the_model(fitted: Any, tmp_path: Path) -> None:
    path = fitted.save(tmp_path / "m.keras")
    for again in (OrdinalTrainer.load(path), pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(again.predict(X), fitted.predict(X))


def test_its_split_is_stratified(fitted: Any) -> None:
    from trainer.data import preparation

    rows = preparation.collect(X, Y, None, batch_size=8, needs_y=None)
    strata = Ordinal("ordinal").strata(rows)
    _, held = preparation.split_rows(rows, 0.25, stratify=strata, shuffle=True, seed=0)
    assert set(held.y) == {0, 1, 2, 3}


def test_the_summary_and_the_diagnosis_speak_of_it(fitted: Any) -> None:
    assert "ordinal, width 3" in fitted.summary()
    assert str(fitted.diagnose())


def test_the_task_says_whether_y_is_needed() -> None:
    with pytest.raises(ValueError, match="OrdinalTrainer requires y to be passed"):
        OrdinalTrainer().fit(X)
    assert get_tags(OrdinalTrainer()).target_tags.required
    assert not get_tags(Trainer()).target_tags.required


def test_each_estimator_has_its_task() -> None:
    assert isinstance(Classifier().configure_task(), Classification)
    assert isinstance(Regressor().configure_task(), Regression)
    assert type(Trainer().configure_task()) is Task
    assert clone(OrdinalTrainer()).configure_task().name == "ordinal"


def test_a_task_without_classes_refuses_class_weights_before_training() -> None:
    with pytest.raises(ValueError, match="class_weight='balanced': Regressor has no classes"):
        Regressor(class_weight="balanced").fit(X, Y)


# ---- one-hot rows, and the loss that a model was compiled with -----------------------------------


def _compiled(outputs: int = 1, loss: Any = "categorical_crossentropy") -> keras.Model:
    keras.utils.set_random_seed(1)
    x = keras.Input((3,))
    heads = [keras.layers.Dense(3, "softmax", name=f"head{i}")(x) for i in range(outputs)]
    model = keras.Model(x, heads[0] if outputs == 1 else heads)
    model.compile("sgd", loss, metrics=["accuracy"] if outputs == 1 else [["accuracy"]] * outputs)
    return model


class OneHot(Classifier):
    """Compiles its model in build_model."""

    def build_model(self, spec: Any) -> keras.Model:
        return _compiled()


ROWS = np.random.default_rng(2).normal(size=(30, 3)).astype(np.float32)
CLASSES = np.argmax(ROWS, axis=1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("make", [lambda **k: Classifier.from_keras(_compiled(), **k), OneHot])
@pytest.mark.parametrize("stream", [False, True])
def test_one_hot_rows_are_classes_where_the_model_was_compiled_for_them(
    make: Any, stream: bool
) -> None:
    y = np.eye(3)[CLASSES]
    theirs = _compiled()
    theirs.fit(ROWS, y, epochs=2, batch_size=10, shuffle=False, verbose=0)
    data = (tf.data.Dataset.from_tensor_slices((ROWS, y)).batch(10),) if stream else (ROWS, y)
    ours = make(epochs=2, batch_size=10, shuffle=False, verbose=0).fit(*data)
    loss, accuracy = theirs.evaluate(ROWS, y, batch_size=10, verbose=0)
    found = ours.evaluate(ROWS, y)
    assert found["loss"] == pytest.approx(loss, rel=1e-5) and found["accuracy"] == accuracy
    assert ours.score(ROWS, y) == pytest.approx(accuracy)
    np.testing.assert_array_equal(ours.predict(ROWS).sum(axis=1), np.ones(30))


@pytest.mark.filterwarnings("error")
def test_class_weights_count_for_one_hot_rows_of_a_compiled_model() -> None:
    y, weights = np.eye(3)[CLASSES], {0: 1.0, 1: 2.0, 2: 5.0}
    theirs = _compiled().fit(ROWS, y, class_weight=weights, batch_size=30, verbose=0)
    ours = Classifier.from_keras(
        _compiled(), class_weight=weights, epochs=1, batch_size=30, verbose=0
    ).fit(ROWS, y)
    assert ours.history_["loss"][0] == pytest.approx(theirs.history["loss"][0], rel=1e-5)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("loss", [["categorical_crossentropy"] * 2, None])
def test_one_hot_rows_of_several_outputs_are_classes(loss: Any) -> None:
    loss = loss or {f"head{i}": keras.losses.CategoricalCrossentropy() for i in range(2)}
    model = _compiled(2, loss)
    y = (np.eye(3)[CLASSES], np.eye(3)[2 - CLASSES])
    ours = Classifier.from_keras(model, epochs=1, verbose=0).fit(ROWS, y)
    for predicted in ours.predict(ROWS):
        np.testing.assert_array_equal(predicted.sum(axis=1), np.ones(30))


def test_rows_with_a_single_1_that_are_taken_as_labels_are_warned_of_once() -> None:
    with pytest.warns(UserWarning, match=r"y: every row has a single 1.*argmax") as found:
        Classifier(model="mlp", epochs=1, verbose=0).fit(ROWS, np.eye(3)[CLASSES])
    assert sum("single 1" in str(warning.message) for warning in found) == 1


THREE_AXES = np.random.default_rng(1).normal(size=(40, 2, 2)).astype(np.float32)


@pytest.mark.parametrize("architecture", [None, "mlp", "deep", "wide_and_deep", "tabular", "cnn"])
def test_y_of_three_axes_is_refused_where_the_network_has_two(architecture: Any) -> None:
    x = np.zeros((40, 8, 8, 1), np.float32) if architecture == "cnn" else X
    regressor = Regressor(model=architecture, epochs=1)
    with pytest.raises(
        ValueError, match=r"y has shape \(n, 2, 2\), but the .* \(n, 2\); write y.reshape"
    ):
        regressor.fit(x, THREE_AXES)
    assert not hasattr(regressor, "history_")


def test_y_of_three_axes_is_refused_by_part_and_in_a_stream() -> None:
    with pytest.raises(ValueError, match=r"y\['a'\] has shape \(n, 3, 1\), .* shape \(n, 1\)"):
        Regressor(model="mlp", epochs=1).fit(X, {"a": THREE_AXES[:, :1].repeat(3, 1)[..., :1]})
    stream = tf.data.Dataset.from_tensor_slices((X, THREE_AXES)).batch(8)
    with pytest.raises(ValueError, match=r"y has shape \(n, 2, 2\), but the network's output"):
        Regressor(epochs=1).fit(stream)


class Reshaped(Regressor):
    epochs = 1

    def build_model(self, spec: Any) -> keras.Model:
        layers = [keras.layers.Dense(4), keras.layers.Reshape((2, 2))]
        return keras.Sequential([keras.Input(spec.input_shape), *layers])


def test_y_of_three_axes_is_trained_on_where_the_output_has_its_shape() -> None:
    assert Reshaped().fit(X, THREE_AXES).predict(X).shape == (40, 2, 2)
    one = Regressor(model="mlp", epochs=1).fit(X, THREE_AXES[:, :1, :1])
    assert one.predict(X).shape == (40, 1)
    series = Regressor(model="sequence", epochs=1).fit(THREE_AXES.repeat(3, 1), THREE_AXES)
    assert series.predict(THREE_AXES.repeat(3, 1)).shape == (40, 2, 2)


def test_later_targets_have_as_many_axes_as_those_of_the_training() -> None:
    with pytest.raises(ValueError, match=r"validation_data: y has shape \(40, 2, 2\), but in tr"):
        Regressor(model="mlp", epochs=1).fit(X, THREE_AXES[:, 0], validation_data=(X, THREE_AXES))
    fitted = Reshaped().fit(X, THREE_AXES)
    with pytest.raises(ValueError, match=r"y has shape \(40, 2\), but in training .*\(n, 2, 2\)"):
        fitted.evaluate(X, THREE_AXES[:, 0])


def test_classes_of_a_later_call_of_partial_fit_must_be_those_of_the_first() -> None:
    model = Classifier(model="mlp").partial_fit(X, Y, classes=[3, 2, 1, 0])
    model.partial_fit(X, Y, classes=np.arange(4))
    with pytest.raises(ValueError, match=r"classes=\['a', 'z'\]: the model was made for \[0, 1"):
        model.partial_fit(X, Y, classes=["a", "z"])
    assert len(model.history_) == 2


@pytest.mark.parametrize("estimator", [Regressor(), Trainer(loss="mse", model="mlp")])
def test_a_task_without_classes_refuses_those_of_partial_fit(estimator: Any) -> None:
    with pytest.raises(ValueError, match=r"classes=\[0, 1\]: \w+ has no classes; leave"):
        estimator.partial_fit(X, X[:, 0], classes=[0, 1])


def test_partial_fit_tunes_no_threshold_and_says_what_to_write() -> None:
    model = Classifier(decision_threshold="f1", validation_split=0.2)
    with pytest.raises(ValueError, match=r"partial_fit holds out none: .* decision_threshold=0.5"):
        model.partial_fit(X, Y > 1)
