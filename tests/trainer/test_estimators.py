"""Classifier, Regressor and Trainer at work: weights, losses, metrics and hooks of one's own."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, r2_score

from trainer import Classifier, Regressor, Trainer

ROWS, BATCH = 60, 20
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, 3)).astype(np.float32)
Y = (X @ np.array([1.0, -2.0, 0.5]) + 0.1 * RNG.normal(size=ROWS)).astype(np.float32)
THREE = np.digitize(X[:, 0], [-0.3, 0.6])
NAMES = np.array(["a", "b", "c"])[THREE]
WEIGHT = RNG.uniform(0.2, 3, size=ROWS)


def dense(spec: Any) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input(spec.input_shape),
            keras.layers.Dense(spec.n_outputs, spec.output_activation),
        ]
    )


class Linear(Regressor):
    epochs = 2
    batch_size = BATCH
    optimizer = "sgd"
    shuffle = False
    random_state = 0

    def build_model(self, spec: Any) -> keras.Model:
        return dense(spec)


class Softmax(Classifier):
    epochs = 2
    batch_size = BATCH
    optimizer = "sgd"
    shuffle = False
    random_state = 0

    def build_model(self, spec: Any) -> keras.Model:
        return dense(spec)


class Plain(Trainer):
    epochs = 2
    batch_size = BATCH
    optimizer = "sgd"
    shuffle = False
    random_state = 0

    def build_model(self, spec: Any) -> keras.Model:
        return dense(spec)


def by_keras(loss: Any, y: np.ndarray, units: int, activation: str, **options: Any) -> Any:
    """What keras.Model.fit makes of the same rows, in the same order, from the same weights."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units, activation)])
    model.compile("sgd", loss, weighted_metrics=[])
    history = model.fit(X, y, batch_size=BATCH, epochs=2, shuffle=False, verbose=0, **options)
    return model, history.history


# ---- weights ---------------------------------------------------------------------------------


def test_only_the_ratios_of_weights_matter_with_the_default_loss() -> None:
    for cls, y in ((Linear, Y), (Softmax, NAMES)):
        one, thousand = (cls().fit(X, y, sample_weight=s * WEIGHT) for s in (1, 1000))
        for a, b in zip(one.model_.get_weights(), thousand.model_.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
        losses = [one.evaluate(X, y, sample_weight=s * WEIGHT)["loss"] for s in (1, 1000)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_equal_weights_are_none() -> None:
    weighted, plain = Linear().fit(X, Y, sample_weight=np.full(ROWS, 7.0)), Linear().fit(X, Y)
    np.testing.assert_allclose(weighted.predict(X), plain.predict(X), rtol=1e-5, atol=1e-7)


def test_weights_beside_a_loss_of_ones_own_are_those_of_keras() -> None:
    expected, history = by_keras("mse", Y, 1, "linear", sample_weight=100 * WEIGHT)
    found = Linear(loss="mse").fit(X, Y, sample_weight=100 * WEIGHT)
    for a, b in zip(found.model_.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.history_["loss"], history["loss"], rtol=1e-4)


def test_a_row_of_weight_two_counts_as_two_rows() -> None:
    weight = np.where(np.arange(ROWS) < ROWS // 2, 2.0, 1.0)
    doubled = np.r_[np.arange(ROWS // 2), np.arange(ROWS)]
    fields: dict[str, Any] = {"batch_size": 1000, "epochs": 5}
    weighted = Linear(**fields).fit(X, Y, sample_weight=weight)
    repeated = Linear(**fields).fit(X[doubled], Y[doubled])
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-4, atol=1e-5)
    found = weighted.evaluate(X, Y, sample_weight=weight)["loss"]
    assert found == pytest.approx(weighted.evaluate(X[doubled], Y[doubled])["loss"], rel=1e-5)


def test_class_weights_are_those_of_keras_beside_a_loss_of_ones_own() -> None:
    loss = "sparse_categorical_crossentropy"
    table = {0: 0.5, 1: 3.0, 2: 1.0}
    expected, history = by_keras(loss, THREE, 3, "softmax", class_weight=table)
    found = Softmax(loss=loss, class_weight={"a": 0.5, "b": 3.0}).fit(X, NAMES)
    np.testing.assert_allclose(found.history_["loss"], history["loss"], rtol=1e-4)
    np.testing.assert_allclose(
        found.predict_proba(X), expected.predict(X, verbose=0), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("loss", [None, "categorical_crossentropy"])
def test_class_weights_multiply_sample_weights(loss: str | None) -> None:
    by_class = np.array([0.5, 3.0, 1.0])[THREE]
    both = Softmax(loss=loss, class_weight={"a": 0.5, "b": 3.0}).fit(X, NAMES, sample_weight=WEIGHT)
    by_hand = Softmax(loss=loss).fit(X, NAMES, sample_weight=by_class * WEIGHT)
    np.testing.assert_array_equal(both.predict_proba(X), by_hand.predict_proba(X))


def test_balanced_class_weights_lift_the_rare_class() -> None:
    rare = X[:, 0] + 0.8 * X[:, 1] > 1.3
    assert 3 < rare.sum() < 12
    fields: dict[str, Any] = {"epochs": 30, "learning_rate": 0.3}
    plain = Softmax(**fields).fit(X, rare).predict_proba(X)[:, 1]
    balanced = Softmax(**fields, class_weight="balanced").fit(X, rare).predict_proba(X)[:, 1]
    assert balanced.mean() > 1.25 * plain.mean()
    counts = np.bincount(rare)
    by_hand = Softmax(**fields).fit(X, rare, sample_weight=(ROWS / (2 * counts))[rare.astype(int)])
    np.testing.assert_array_equal(by_hand.predict_proba(X)[:, 1], balanced)


def test_a_regressor_has_no_class_weights() -> None:
    with pytest.raises(ValueError, match="class_weight='balanced': Linear has no classes"):
        Linear(class_weight="balanced").fit(X, Y)


# ---- losses, metrics and scores --------------------------------------------------------------


def test_evaluate_gives_the_loss_and_every_metric_by_name() -> None:
    model = Linear(metrics=["mae", "mse", keras.metrics.RootMeanSquaredError(name="rmse")])
    logs, errors = model.fit(X, Y).evaluate(X, Y), Y - model.predict(X)
    assert list(logs) == ["loss", "mae", "mse", "rmse"]
    assert all(type(v) is float for v in logs.values())
    expected = [np.mean(errors**2), np.abs(errors).mean(), np.mean(errors**2)]
    assert list(logs.values())[:3] == pytest.approx(expected, rel=1e-5)
    assert logs["rmse"] == pytest.approx(np.sqrt(expected[0]), rel=1e-5)


def test_history_has_a_row_an_epoch_with_every_log() -> None:
    model = Softmax(epochs=3).fit(X, NAMES, validation_data=(X, NAMES))
    names = ["loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"]
    assert list(model.history_.frame.columns) == names
    assert list(model.history_.frame.index) == [1, 2, 3]
    logs = model.evaluate(X, NAMES)
    assert model.history_["val_loss"][-1] == pytest.approx(logs["loss"], rel=1e-6)
    assert model.history_["val_accuracy"][-1] == pytest.approx(logs["accuracy"], rel=1e-6)
    assert model.history_["learning_rate"] == pytest.approx([0.01] * 3)


def test_scores_are_those_of_scikit_learn() -> None:
    classifier, regressor = Softmax().fit(X, NAMES), Linear().fit(X, Y)
    for weight in (None, WEIGHT):
        expected = accuracy_score(NAMES, classifier.predict(X), sample_weight=weight)
        assert classifier.score(X, NAMES, sample_weight=weight) == pytest.approx(expected)
        expected = r2_score(Y, regressor.predict(X), sample_weight=weight)
        assert regressor.score(X, Y, sample_weight=weight) == pytest.approx(expected)


@pytest.fixture(scope="module")
def scored() -> SimpleNamespace:
    """Fitted estimators to score: of labels, of numbers, and of two outputs."""
    two = Classifier(model="mlp", epochs=1).fit(X, {"a": THREE, "b": THREE})
    return SimpleNamespace(c=Softmax().fit(X, THREE), r=Linear().fit(X, Y), two=two)


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (lambda g: g.c.score(X), "Softmax requires y to be passed"),
        (lambda g: g.c.score(X, THREE[:5]), "x has 60 rows, but y has 5 rows"),
        (lambda g: g.c.score(X, THREE.astype(str)), "y contains '0', '1', '2', which training"),
        (lambda g: g.c.score(X, THREE + 0.5), "y contains continuous numbers such as"),
        (lambda g: g.c.score(X, THREE, np.zeros(ROWS)), "sample_weight: every weight is zero"),
        (lambda g: g.c.score(X, THREE, -np.ones(ROWS)), "sample_weight=-1: weights must not"),
        (lambda g: g.two.score(X, {"a": THREE, "c": THREE}), r"y has the outputs .*\['c'\]"),
        (lambda g: g.r.score(X, NAMES), "y contains text such as"),
        (lambda g: g.r.score(X, np.c_[Y, Y]), "y has 2 columns, but training had 1"),
        (lambda g: g.r.score(X, np.where(Y > 0, np.inf, Y)), "y contains infinity"),
    ],
)
def test_a_score_checks_its_arguments_as_evaluate_does(
    score: Callable[[Any], float], message: str, scored: SimpleNamespace
) -> None:
    with pytest.raises(ValueError, match=message):
        score(scored)


def test_a_label_that_training_lacked_counts_as_wrong(scored: SimpleNamespace) -> None:
    later = np.where(np.arange(ROWS) < 30, 7, THREE)
    assert scored.c.score(X, later) == accuracy_score(later, scored.c.predict(X))


def test_the_default_losses_are_those_of_the_task() -> None:
    classifier = Softmax().fit(X, NAMES)
    p = classifier.predict_proba(X)[np.arange(ROWS), THREE]
    assert classifier.evaluate(X, NAMES)["loss"] == pytest.approx(-np.log(p).mean(), rel=1e-4)
    regressor = Linear().fit(X, Y)
    squared = np.mean((Y - regressor.predict(X)) ** 2)
    assert regressor.evaluate(X, Y) == {
        "loss": pytest.approx(squared, rel=1e-4),
        "mae": pytest.approx(np.abs(Y - regressor.predict(X)).mean(), rel=1e-4),
    }


def test_a_trainer_that_does_not_know_its_loss_says_so() -> None:
    with pytest.raises(ValueError, match="loss=None: Plain has no default loss; write loss='ms"):
        Plain().fit(X, Y)


@pytest.mark.parametrize(
    "loss",
    [keras.losses.Huber(0.5), lambda y, p: keras.ops.mean(keras.ops.abs(y - p), axis=-1)],
    ids=["object", "function"],
)
def test_a_loss_may_be_an_object_or_a_function(loss: Any) -> None:
    found = Plain(loss=loss).fit(X, Y[:, None])
    expected, history = by_keras(loss, Y[:, None], 1, "linear")
    np.testing.assert_allclose(found.history_["loss"], history["loss"], rtol=1e-5)
    np.testing.assert_allclose(found.model_.get_weights()[0], expected.get_weights()[0], rtol=1e-4)


# ---- hooks -----------------------------------------------------------------------------------


def test_hooks_make_the_optimizer_the_loss_the_metrics_and_the_callbacks() -> None:
    ended: list[int] = []

    class Hooked(Linear):
        def configure_optimizer(self) -> keras.optimizers.Optimizer:
            return keras.optimizers.RMSprop(0.123)

        def configure_loss(self) -> Any:
            return keras.losses.MeanAbsoluteError()

        def configure_metrics(self) -> Any:
            return ["mse"]

        def configure_callbacks(self) -> list[Any]:
            told = keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: ended.append(epoch)
            )
            return [*super().configure_callbacks(), told]

    model = Hooked().fit(X, Y)
    assert isinstance(model.model_.optimizer, keras.optimizers.RMSprop)
    assert model.history_["learning_rate"] == pytest.approx([0.123] * 2)
    errors = Y - model.predict(X)
    assert model.evaluate(X, Y) == {
        "loss": pytest.approx(np.abs(errors).mean(), rel=1e-4),
        "mse": pytest.approx(np.mean(errors**2), rel=1e-4),
    }
    assert ended == [0, 1]


def test_build_model_is_told_the_shapes_and_the_task() -> None:
    seen: list[Any] = []

    class Told(Softmax):
        def build_model(self, spec: Any) -> keras.Model:
            seen.append(spec)
            return super().build_model(spec)

    Told(epochs=1).fit(X, NAMES)
    assert seen[0].input_shape == (3,)
    assert seen[0].n_outputs == 3
    assert seen[0].task == "classification"


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["even", "weighted"])
def test_compute_loss_replaces_the_loss(weight: np.ndarray | None) -> None:
    class Quartic(Linear):
        def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
            errors = (y - y_pred[:, 0]) ** 4
            assert (sample_weight is None) == (weight is None)
            return keras.ops.mean(errors if sample_weight is None else errors * sample_weight)

    def quartic(y: Any, p: Any) -> Any:
        return keras.ops.mean((y - p) ** 4, axis=-1)

    # a hook of one's own is given the weights as they are, as a loss of one's own is
    found = Quartic(learning_rate=1e-3).fit(X, Y, sample_weight=weight)
    plain = Linear(loss=quartic, learning_rate=1e-3).fit(X, Y[:, None], sample_weight=weight)
    np.testing.assert_allclose(found.history_["loss"], plain.history_["loss"], rtol=1e-4)
    np.testing.assert_allclose(found.predict(X), plain.predict(X)[:, 0], rtol=1e-3, atol=1e-5)
    errors = (Y - found.predict(X)) ** 4
    expected = np.mean(errors if weight is None else errors * weight)
    logs = found.evaluate(X, Y, sample_weight=weight)
    assert logs["loss"] == pytest.approx(expected, rel=1e-4)


def test_compute_loss_of_a_classifier_is_given_the_encoded_labels() -> None:
    class Own(Softmax):
        def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
            return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, y_pred))

    found, expected = Own().fit(X, NAMES), Softmax().fit(X, NAMES)
    np.testing.assert_allclose(found.predict_proba(X), expected.predict_proba(X), rtol=1e-5)


class OwnSteps(keras.Model):
    """A model that trains and evaluates itself."""

    def __init__(self) -> None:
        super().__init__()
        self.head = keras.layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.head(x)

    def train_step(self, data: Any) -> dict[str, Any]:
        import tensorflow as tf

        x, y = data
        with tf.GradientTape() as tape:
            error = keras.ops.mean((y - self(x, training=True)[:, 0]) ** 2)
        weights = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(error, weights), weights, strict=True))
        return {"error": error, "doubled": 2 * error}

    def test_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        return {"error": keras.ops.mean((y - self(x)[:, 0]) ** 2)}


@pytest.mark.parametrize("normalize", [None, "standard"])
def test_a_model_with_steps_of_its_own_is_trained_by_them(normalize: str | None) -> None:
    class Own(Plain):
        def build_model(self, spec: Any) -> keras.Model:
            return OwnSteps()

    model = Own(epochs=20, normalize=normalize, learning_rate=0.1).fit(
        X, Y, validation_data=(X[:BATCH], Y[:BATCH])
    )
    assert model.history_["error"][-1] < 0.1 * model.history_["error"][0]
    assert model.history_["doubled"] == pytest.approx([2 * e for e in model.history_["error"]])
    error = np.mean((Y[:BATCH] - model.predict(X[:BATCH])) ** 2)
    assert model.history_["val_error"][-1] == pytest.approx(error, rel=1e-4)
    assert model.evaluate(X[:BATCH], Y[:BATCH]) == {"error": pytest.approx(error, rel=1e-4)}


def test_a_train_step_that_returns_no_dict_is_told_to() -> None:
    class Wrong(OwnSteps):
        def train_step(self, data: Any) -> Any:
            return super().train_step(data)["error"]

    class Own(Plain):
        def build_model(self, spec: Any) -> keras.Model:
            return Wrong()

    with pytest.raises(TypeError, match="train_step of Wrong returned .*must return a dict"):
        Own().fit(X, Y)


def test_a_subclassed_model_is_trained_as_keras_does() -> None:
    class Net(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.head = keras.layers.Dense(1)

        def call(self, x: Any) -> Any:
            return self.head(x)

    class Own(Linear):
        def build_model(self, spec: Any) -> keras.Model:
            return Net()

    found = Own(loss="mse").fit(X, Y)
    _, history = by_keras("mse", Y, 1, "linear")
    np.testing.assert_allclose(found.history_["loss"], history["loss"], rtol=1e-5)


def test_a_loss_that_layers_add_is_part_of_the_loss() -> None:
    class Penalised(Linear):
        def build_model(self, spec: Any) -> keras.Model:
            head = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.5))
            return keras.Sequential([keras.Input(spec.input_shape), head])

    model = Penalised().fit(X, Y)
    penalty = 0.5 * np.sum(model.model_.get_weights()[0] ** 2)
    squared = np.mean((Y - model.predict(X)) ** 2)
    assert model.evaluate(X, Y)["loss"] == pytest.approx(squared + penalty, rel=1e-4)


def test_an_optimizer_object_is_copied_for_each_fit() -> None:
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    model = Linear(optimizer=optimizer)
    first = model.fit(X, Y).predict(X)
    np.testing.assert_array_equal(model.fit(X, Y).predict(X), first)
    assert not optimizer.built
    assert model.model_.optimizer.get_config()["momentum"] == 0.9


def test_running_eagerly_gives_the_same_numbers() -> None:
    eager, compiled = Softmax(run_eagerly=True).fit(X, NAMES), Softmax().fit(X, NAMES)
    np.testing.assert_allclose(eager.history_["loss"], compiled.history_["loss"], rtol=1e-5)
    np.testing.assert_allclose(eager.predict_proba(X), compiled.predict_proba(X), rtol=1e-4)
    assert eager.evaluate(X, NAMES) == pytest.approx(compiled.evaluate(X, NAMES), rel=1e-4)


def test_the_summary_tells_what_was_trained_and_how_it_went() -> None:
    text = Softmax().fit(X, NAMES).summary()
    for part in (
        "Softmax",
        "(3,)",
        "classification",
        "learning rate 0.01",
        "accuracy",
        "Total par",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("plot", "message"),
    [
        (lambda g: g.c.plot_roc(X, THREE, class_names=5), "class_names=5: must be a list"),
        (lambda g: g.c.plot_confusion_matrix(X, THREE, class_names=5), "class_names=5: must be"),
        (lambda g: g.c.plot_images(X, THREE, rows="a"), "rows='a': must be a whole number"),
        (lambda g: g.r.plot_forecast(X[:, :, None], row=1.5), "row=1.5: must be a whole number"),
        (lambda g: g.r.plot_forecast(X[:, :, None], column="a"), "column='a': must be a whole"),
    ],
)
def test_plots_of_an_estimator_check_their_arguments(
    plot: Callable[[Any], Any], message: str, scored: SimpleNamespace
) -> None:
    with pytest.raises(TypeError, match=message):
        plot(scored)
