"""What a classifier's outputs mean, by its last layer and its loss."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from sklearn.metrics import recall_score

from trainer import Classifier

ROWS = 60
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, 3)).astype(np.float32)
TWO = (X[:, 0] + 0.5 * RNG.normal(size=ROWS) > 0.4).astype(int)
THREE = np.digitize(X[:, 0], [-0.5, 0.5])
MATRIX = (X > 0.3).astype(int)


class Dense(Classifier):
    units: int | None = None
    end: Any = None
    epochs = 8
    batch_size = 20
    optimizer = "sgd"
    learning_rate = 0.3
    random_state = 0

    def build_model(self, spec: Any) -> keras.Model:
        units = self.units or spec.n_outputs
        return keras.Sequential(
            [keras.Input(spec.input_shape), keras.layers.Dense(units, self.end)]
        )


def focal_on_logits(y: Any, z: Any) -> Any:
    y = ops.cast(ops.reshape(y, ops.shape(z)), z.dtype)
    p = ops.sigmoid(z)
    right = ops.where(y > 0.5, p, 1 - p)
    return ops.mean(-((1 - right) ** 2) * ops.log(right + 1e-7), axis=-1)


def focal_on_probabilities(y: Any, p: Any) -> Any:
    y = ops.cast(ops.reshape(y, ops.shape(p)), p.dtype)
    p = ops.clip(p, 1e-7, 1 - 1e-7)
    right = ops.where(y > 0.5, p, 1 - p)
    return ops.mean(-((1 - right) ** 2) * ops.log(right), axis=-1)


def bare_entropy(y: Any, p: Any) -> Any:
    y = ops.cast(ops.reshape(y, ops.shape(p)), p.dtype)
    return -ops.mean(y * ops.log(p) + (1 - y) * ops.log(1 - p), axis=-1)


def squares(y: Any, z: Any) -> Any:
    return ops.mean((ops.cast(ops.reshape(y, ops.shape(z)), z.dtype) - z) ** 2, axis=-1)


def squares_of_signs(y: Any, z: Any) -> Any:
    return squares(2 * ops.cast(y, z.dtype) - 1, z)


def soft_f1_on_logits(y: Any, z: Any) -> Any:
    y, p = ops.cast(ops.reshape(y, ops.shape(z)), z.dtype), ops.sigmoid(z)
    return 1 - 2 * ops.sum(y * p) / (ops.sum(y) + ops.sum(p))


class Focal(keras.losses.Loss):
    def call(self, y: Any, z: Any) -> Any:
        return focal_on_logits(y, z)


# the loss, the activation, and where its outputs separate the classes
FORMS: dict[str, tuple[Any, Any, float]] = {
    "a focal loss on logits": (focal_on_logits, None, 0.0),
    "an object": (Focal(), None, 0.0),
    "of the whole batch": (soft_f1_on_logits, None, 0.0),
    "a focal loss on probabilities": (focal_on_probabilities, "sigmoid", 0.5),
    "clipped": (focal_on_probabilities, None, 0.5),
    "an activation of one's own": (bare_entropy, lambda z: 1 / (1 + ops.exp(-z)), 0.5),
    "hard sigmoid": (squares, "hard_sigmoid", 0.5),
    "squares": (squares, None, 0.5),
    "squares of -1 and 1": (squares_of_signs, None, 0.0),
    "squares of -1 and 1 by tanh": (squares_of_signs, "tanh", 0.0),
    "mse": ("mse", None, 0.5),
    "mse by tanh": ("mse", "tanh", 0.5),
    "hinge": ("hinge", "tanh", 0.0),
    "hinge without an activation": (keras.losses.Hinge(), None, 0.0),
    "squared hinge": ("SquaredHinge", "tanh", 0.0),
    "hinge by a sigmoid": ("hinge", "sigmoid", 0.5),
    "focal by Keras": (keras.losses.BinaryFocalCrossentropy(from_logits=True), None, 0.0),
    "a crossentropy without its sigmoid": ("binary_crossentropy", None, 0.5),
}


@pytest.mark.parametrize("form", FORMS)
def test_classes_are_separated_where_the_loss_separates_them(form: str) -> None:
    loss, end, cut = FORMS[form]
    y = np.array(["no", "yes"])[TWO]
    model = Dense(units=1, loss=loss, end=end, metrics=["recall", "accuracy"]).fit(X, y)
    z, proba = np.asarray(model.model_(X))[:, 0], model.predict_proba(X)
    assert proba.min() >= 0 and proba.max() <= 1
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-6)
    right = np.array(["no", "yes"])[(z > cut).astype(int)]
    np.testing.assert_array_equal(model.predict(X), right)
    found = model.evaluate(X, y)
    assert found["recall"] == pytest.approx(recall_score(y, right, pos_label="yes"))
    assert found["accuracy"] == pytest.approx(np.mean(y == right))


@pytest.mark.parametrize("end", ["softmax", None, "tanh", "sigmoid"])
def test_a_loss_of_ones_own_may_be_of_many_classes(end: str | None) -> None:
    def entropy(y: Any, z: Any) -> Any:
        p = z if end == "softmax" else z / ops.sum(z, -1, keepdims=True)
        p = ops.softmax(z) if end in (None, "tanh") else p
        rows = ops.one_hot(ops.reshape(y, (-1,)), 3)
        return -ops.sum(rows * ops.log(p + 1e-7), axis=-1)

    model = Dense(loss=entropy, end=end).fit(X, THREE)
    z, proba = np.asarray(model.model_(X)), model.predict_proba(X)
    np.testing.assert_array_equal(model.predict(X), z.argmax(axis=1))
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
    if end == "softmax":
        np.testing.assert_array_equal(proba, z)
    if end == "sigmoid":
        np.testing.assert_allclose(proba, z / z.sum(axis=1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize(("loss", "cut"), [(focal_on_logits, 0.0), ("mse", 0.5), ("hinge", 0.0)])
def test_a_loss_of_ones_own_may_be_of_several_labels_a_row(loss: Any, cut: float) -> None:
    model = Dense(loss=loss).fit(X, MATRIX)
    z, proba = np.asarray(model.model_(X)), model.predict_proba(X)
    assert proba.min() >= 0 and proba.max() <= 1
    np.testing.assert_array_equal(model.predict(X), z > cut)
    right = np.mean((z > cut) == MATRIX)
    assert model.evaluate(X, MATRIX)["accuracy"] == pytest.approx(right)


class Own(Dense):
    """With a compute_loss in place of the loss."""

    units = 1

    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
        assert y_pred.shape[-1] == 1 and x.shape[-1] == 3
        return ops.mean(focal_on_logits(y, y_pred))


class Unknowable(Dense):
    """Nothing tells: the loss is not one of y."""

    units = 1

    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
        return ops.mean((y_pred - x[:, :1]) ** 2) * 0


def test_a_compute_loss_tells_what_its_outputs_are() -> None:
    model = Own().fit(X, TWO)
    z = np.asarray(model.model_(X))[:, 0]
    np.testing.assert_array_equal(model.predict(X), z > 0)


def test_what_cannot_be_known_is_refused_before_training_and_named() -> None:
    cases: list[Any] = [
        Dense(units=1, loss="cosine_similarity"),
        Dense(units=1, loss=lambda y, z: -z * ops.cast(ops.reshape(y, (-1, 1)), z.dtype)),
        Dense(units=1, end=lambda z: ops.clip(ops.mean(z) * 0 + 0.5, 0, 1) + 0 * z),
    ]
    for model in cases:
        with pytest.raises(ValueError, match="^from_logits=None: it cannot be told .*True if"):
            model.fit(X, TWO)
        assert not hasattr(model, "model_")


@pytest.mark.parametrize("from_logits", [True, False])
def test_from_logits_says_it(from_logits: bool, tmp_path: Any) -> None:
    model = Unknowable(from_logits=from_logits, metrics=["precision"]).fit(X, TWO)
    z, proba = np.asarray(model.model_(X))[:, 0], model.predict_proba(X)
    np.testing.assert_array_equal(model.predict(X), z > (0 if from_logits else 0.5))
    assert proba.min() >= 0 and proba.max() <= 1
    again = Unknowable.load(model.save(tmp_path / "m.keras"))
    np.testing.assert_array_equal(again.predict_proba(X), proba)
    assert again.evaluate(X, TWO) == model.evaluate(X, TWO)


def test_a_file_of_outputs_that_nothing_explains_is_opened_with_a_warning(tmp_path: Any) -> None:
    path = Unknowable(from_logits=True, epochs=1).fit(X, TWO).save(tmp_path / "m.keras")

    class Earlier(Unknowable):  # as if the class, or 0.1.0, had no such field
        def configure_task(self) -> Any:
            self.from_logits = None
            return super().configure_task()

    Earlier.__name__ = "Unknowable"
    with pytest.warns(UserWarning, match="^from_logits=None: it cannot be told"):
        model = Earlier.load(path)
    np.testing.assert_array_equal(model.predict_proba(X)[:, 1:], model.model_(X))


def test_from_logits_is_heeded_by_the_default_loss() -> None:
    ends = lambda z: ops.clip(1 / (1 + ops.exp(-z)), 0.01, 0.99)  # noqa: E731
    model = Dense(units=1, end=ends, from_logits=False).fit(X, TWO)
    assert model.model_.loss.from_logits is False
    assert Dense(units=1, from_logits=True).fit(X, TWO).model_.loss.from_logits is True


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"from_logits": 1}, "from_logits=1: must be True or False"),
        ({"from_logits": True, "end": "sigmoid"}, "from_logits=True: the output ends in sigmoid"),
        (
            {"from_logits": True, "loss": "binary_crossentropy"},
            r"from_logits=True: the loss 'binary_crossentropy' takes probabilities; .*"
            r"keras\.losses\.BinaryCrossentropy\(from_logits=True\)",
        ),
        (
            {"from_logits": False, "loss": keras.losses.BinaryCrossentropy(from_logits=True)},
            "from_logits=False: the loss binary_crossentropy takes logits",
        ),
    ],
)
def test_from_logits_that_contradicts_is_refused(fields: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        Dense(units=1, **fields).fit(X, TWO)


@pytest.mark.parametrize("loss", ["mse", "hinge", keras.losses.BinaryCrossentropy()])
def test_a_loss_that_would_compare_every_output_with_the_label_is_refused(loss: Any) -> None:
    for y, end in ((TWO, "softmax"), (TWO, None), (THREE, None)):
        with pytest.raises(ValueError, match="loss=.*: cannot be computed for y of shape"):
            Dense(loss=loss, end=end).fit(X, y)


def test_bounded_outputs_of_unknown_operations_are_probabilities() -> None:
    class Mean(Dense):
        def build_model(self, spec: Any) -> keras.Model:
            x = keras.Input(spec.input_shape)
            heads = [keras.layers.Dense(1, "sigmoid")(x) for _ in range(2)]
            return keras.Model(x, keras.layers.Average()(heads))

    model = Mean().fit(X, TWO)
    np.testing.assert_allclose(model.predict_proba(X)[:, 1:], model.model_(X), rtol=1e-5)


def test_each_of_several_outputs_is_read_by_its_own_loss() -> None:
    class Two(Dense):
        def build_model(self, spec: Any) -> keras.Model:
            x = keras.Input(spec.input_shape)
            return keras.Model(
                x, {k: keras.layers.Dense(1, name=f"{k}_out")(x) for k in spec.n_outputs}
            )

    y = {"a": TWO, "b": np.array(["n", "y"])[TWO]}
    model = Two(loss={"a": "mse", "b": focal_on_logits}).fit(X, y)
    z, found = model.model_(X), model.predict(X)
    np.testing.assert_array_equal(found["a"], np.asarray(z["a"])[:, 0] > 0.5)
    np.testing.assert_array_equal(found["b"] == "y", np.asarray(z["b"])[:, 0] > 0)


def test_pictures_of_predictions_show_what_predict_gives(tmp_path: Any, monkeypatch: Any) -> None:
    from trainer import plots

    class Images(Dense):
        def build_model(self, spec: Any) -> keras.Model:
            layers = [keras.layers.Flatten(), keras.layers.Dense(1)]
            return keras.Sequential([keras.Input(spec.input_shape), *layers])

    shown: list[Any] = []
    real = plots.plot_images
    monkeypatch.setattr(
        plots, "plot_images", lambda x, y, p, **o: shown.append(p) or real(x, y, p, **o)
    )
    images = RNG.normal(size=(ROWS, 4, 4)).astype(np.float32)
    plugin = {"name": "image_predictions", "folder": str(tmp_path)}
    model = Images(epochs=1, callbacks=[plugin]).fit(images, TWO)
    np.testing.assert_array_equal(shown[0], model.predict(images)[: len(shown[0])])


class EndsInSoftmax(keras.Model):
    """A functional model of one's own class, which does more than its graph."""

    def call(self, x: Any, training: bool = False) -> Any:
        return ops.softmax(super().call(x, training=training))


class StackEndsInSoftmax(keras.Sequential):
    def call(self, x: Any, training: bool = False, mask: Any = None) -> Any:
        return ops.softmax(super().call(x, training=training))


class OfItsOwnCall(Dense):
    kind: str = "functional"

    def build_model(self, spec: Any) -> keras.Model:
        x, dense = keras.Input(spec.input_shape), keras.layers.Dense(spec.n_outputs)
        if self.kind == "sequential":
            return StackEndsInSoftmax([x, dense])
        whole = EndsInSoftmax(x, dense(x))
        return keras.Model(x, whole(x)) if self.kind == "nested" else whole


@pytest.mark.parametrize("kind", ["functional", "sequential", "nested"])
def test_the_softmax_in_a_call_of_ones_own_counts_once(kind: str) -> None:
    model = OfItsOwnCall(kind=kind).fit(X, THREE)
    assert model.network_.core.loss.from_logits is False
    np.testing.assert_allclose(
        model.predict_proba(X), model.model_.predict(X, verbose=0), atol=1e-6
    )
    expected = Dense(end="softmax").fit(X, THREE).predict_proba(X)
    np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-5)
