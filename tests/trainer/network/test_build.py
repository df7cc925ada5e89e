"""Models of every form that Keras trains are trained, saved and loaded."""

from __future__ import annotations

import pickle
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from keras import layers, ops

from trainer import Classifier, Regressor, Trainer
from trainer.callbacks.callback import Callback
from trainer.network.build import rebuild

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 3)).astype("float32")
Y = X[:, :1] * 2


class Mine(Trainer):
    """The model of the field `make`."""

    epochs: int = 2
    batch_size: int = 4
    random_state: Any = 0
    verbose: int | str = 0
    make: Any = None

    def build_model(self, spec: Any) -> keras.Model:
        made: keras.Model = MODELS[self.make]()
        return made


class Activity(layers.Layer):
    def call(self, x: Any) -> Any:
        self.add_loss(ops.mean(ops.square(x)))
        return x


class Steps(keras.Model):
    """An autoencoder with train_step and no call."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = layers.Dense(2), layers.Dense(3)
        self.mean = keras.metrics.Mean(name="loss")

    @property
    def metrics(self) -> list[Any]:
        return [self.mean]

    def loss_of(self, x: Any) -> Any:
        return ops.mean(ops.square(self.decoder(self.encoder(x)) - x))

    def train_step(self, data: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = self.loss_of(data[0])
        weights = self.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        self.mean.update_state(loss)
        return {"loss": self.mean.result()}


class Evaluated(Steps):
    def test_step(self, data: Any) -> Any:
        self.mean.update_state(self.loss_of(data[0]))
        return {"loss": self.mean.result()}


class Stubborn(Steps):
    """One whose step cannot be tried without its data."""

    def train_step(self, data: Any) -> Any:
        if len(data) < 3:
            raise TypeError("weights are needed")
        return super().train_step(data)


def text() -> keras.Model:
    words = layers.TextVectorization(vocabulary=["a", "b"], output_sequence_length=2)
    return keras.Sequential([words, layers.Embedding(5, 2), layers.Flatten(), layers.Dense(1)])


MODELS: dict[str, Any] = {
    "adds": lambda: keras.Sequential([keras.Input((3,)), layers.Dense(2), Activity()]),
    "decays": lambda: keras.Sequential(
        [keras.Input((3,)), layers.Dense(1, kernel_regularizer="l2")]
    ),
    "dense": lambda: keras.Sequential([keras.Input((3,)), layers.Dense(1)]),
    "steps": Steps,
    "tested": Evaluated,
    "stubborn": Stubborn,
    "open": lambda: keras.Sequential(
        [
            layers.Conv2D(2, 3),
            layers.MaxPooling2D(),
            layers.Conv2D(1, 3),
            layers.GlobalAveragePooling2D(),
        ]
    ),
    "text": text,
}


def same(a: Trainer, b: Trainer) -> None:
    for mine, yours in zip(a.model_.get_weights(), b.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, yours)


@pytest.mark.parametrize("normalize", [None, "standard"])
@pytest.mark.parametrize("y", [None, Y])
def test_a_model_whose_only_loss_is_add_loss_trains(normalize: Any, y: Any) -> None:
    fitted = Mine(make="adds", normalize=normalize, learning_rate=0.1).fit(X, y)
    first, last = (record["loss"] for record in fitted.history_.records)
    assert last < first
    loaded = pickle.loads(pickle.dumps(fitted))
    assert loaded.evaluate(X, y) == fitted.evaluate(X, y)


def test_add_loss_alone_equals_keras() -> None:
    fitted = Mine(make="adds", optimizer="sgd", shuffle=False, jit=False).fit(X)
    keras.utils.set_random_seed(0)
    model = MODELS["adds"]()
    model.compile("sgd")
    losses = model.fit(X, batch_size=4, epochs=2, shuffle=False, verbose=0).history["loss"]
    assert [record["loss"] for record in fitted.history_.records] == losses


def test_a_regulariser_alone_is_no_loss_to_train_with() -> None:
    with pytest.raises(ValueError, match=r"loss=None.*add_loss"):
        Mine(make="decays").fit(X, Y)


def test_sample_weights_without_a_loss_that_uses_them_are_refused() -> None:
    with pytest.raises(ValueError, match="sample_weight: .* add_loss"):
        Mine(make="adds").fit(X, Y, sample_weight=np.ones(8))


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("y", [None, X])
def test_a_model_with_train_step_and_no_call_is_loaded_and_pickled(
    y: Any, eager: bool, tmp_path: Any
) -> None:
    fitted = Mine(make="steps", run_eagerly=eager).fit(X, y)
    fitted.save(tmp_path / "model.keras")
    for again in (Mine.load(tmp_path / "model.keras"), pickle.loads(pickle.dumps(fitted))):
        same(fitted, again)
        assert int(again.model_.optimizer.iterations) == 4


def test_it_is_evaluated_by_its_test_step() -> None:
    fitted = Mine(make="tested").fit(X, X, validation_data=(X, X))
    assert fitted.evaluate(X, X)["loss"] == fitted.history_.records[-1]["val_loss"]
    assert pickle.loads(pickle.dumps(fitted)).evaluate(X, X) == fitted.evaluate(X, X)


@pytest.mark.parametrize(
    ("does", "says"),
    [
        (lambda: Mine(make="steps").fit(X, X, validation_data=(X, X)), "neither call nor test_"),
        (lambda: Mine(make="steps").fit(X, X).predict(X), "neither call nor predict_step"),
        (lambda: Mine(make="steps", normalize="minmax").fit(X, X), "write normalize=None"),
        (lambda: Mine(make="steps").fit(pd.DataFrame(X), X), "pass arrays, or define call"),
        (lambda: Mine(make="stubborn").fit(X, X), "weights are needed.*define call"),
    ],
)
def test_what_a_model_without_call_cannot_do_is_one_clear_error(does: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        does()


def test_a_sequential_model_without_input_loads_where_the_size_of_images_is_open(
    tmp_path: Any,
) -> None:
    images = RNG.random((2, 12, 12, 1)).astype("float32")
    spec = (tf.TensorSpec((None, None, None, 1)), tf.TensorSpec((None, 1)))
    stream = tf.data.Dataset.from_generator(
        lambda: iter([(images, np.ones((2, 1), "float32"))]), output_signature=spec
    )
    fitted = Mine(make="open", loss="mse").fit(stream)
    fitted.save(tmp_path / "model.keras")
    again = Mine.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(fitted.predict(images), again.predict(images))


def test_a_sequential_model_without_input_loads_with_text(tmp_path: Any) -> None:
    class Words(Classifier):
        def build_model(self, spec: Any) -> keras.Model:
            return text()

    rows = tf.data.Dataset.from_tensor_slices(([["a b"], ["b"], ["c"], ["a"]], [0, 1, 0, 1]))
    fitted = Words(epochs=1, verbose=0).fit(rows.batch(2))
    fitted.save(tmp_path / "model.keras")
    again = Words.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        fitted.predict_proba(rows.batch(2)), again.predict_proba(rows.batch(2))
    )


def two(spec: Any) -> keras.Model:
    rows = keras.Input((3,))
    return keras.Model(rows, [layers.Dense(1)(rows), layers.Dense(2)(rows)])


class TwoNumbers(Regressor):
    def build_model(self, spec: Any) -> keras.Model:
        return two(spec)


class TwoLabels(Classifier):
    def build_model(self, spec: Any) -> keras.Model:
        return two(spec)


@pytest.mark.parametrize(
    ("kind", "y"),
    [
        (TwoNumbers, [Y, X[:, :2]]),
        (TwoNumbers, [Y[:, 0], X[:, :2]]),
        (TwoLabels, [np.arange(8) % 2, np.arange(8) // 4]),
    ],
)
def test_a_list_of_arrays_is_the_targets_of_several_outputs(kind: Any, y: Any) -> None:
    options = {"epochs": 1, "verbose": 0, "random_state": 0}
    listed = kind(**options).fit(X, y, validation_data=[X, y])
    tupled = kind(**options).fit(X, tuple(y), validation_data=(X, tuple(y)))
    same(listed, tupled)
    assert listed.evaluate(X, y)["loss"] == tupled.evaluate(X, tuple(y))["loss"]
    assert listed.score(X, y) == tupled.score(X, tuple(y))


@pytest.mark.parametrize("normalize", [None, "standard"])
def test_run_eagerly_gives_compute_loss_only_eager_tensors(normalize: Any) -> None:
    looked: list[float] = []

    class Looking(Regressor):
        def build_model(self, spec: Any) -> keras.Model:
            return MODELS["dense"]()

        def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
            looked.append(float(y_pred[0, 0]))
            return ops.mean(ops.square(y - y_pred))

    for loss in (None, "mse"):
        fitted = Looking(epochs=1, verbose=0, run_eagerly=True, loss=loss, normalize=normalize).fit(
            X, Y, validation_data=(X, Y)
        )
        fitted.evaluate(X, Y)
    assert len(looked) == 6


def test_a_sequential_model_without_input_takes_batches_of_any_size() -> None:
    class Bare(Regressor):
        def build_model(self, spec: Any) -> keras.Model:
            return keras.Sequential([layers.Dense(1)])

    rows = RNG.normal(size=(13, 3)).astype("float32")
    fitted = Bare(epochs=1, batch_size=5, verbose=0).fit(rows, rows[:, 0])
    assert fitted.network_.fixed_rows is None and fitted.predict(rows).shape == (13,)


class Watching(keras.optimizers.SGD):
    """Records the float type in which its variables are made."""

    floats: list[str] = []

    def build(self, variables: Any) -> None:
        if not self.built:
            self.floats.append(keras.config.floatx())
        super().build(variables)


def test_a_network_that_is_built_again_makes_its_optimizer_in_its_own_precision() -> None:
    made = Mine(make="dense", precision="float64", optimizer=Watching(0.1), loss="mse").fit(X, Y)
    network = made.network_
    Watching.floats.clear()
    rebuild(
        made.recipe(network.architecture),
        network.inputs,
        network.targets,
        precision="float64",
        seed=0,
    )
    assert Watching.floats == ["float64"]


class Forgetful(Callback):
    """A plugin whose hook lacks its `return`."""

    def configure_optimizer(self, optimizer: Any) -> Any:
        pass


class NoOptimizer(Mine):
    def configure_optimizer(self) -> Any:
        return None


def test_a_hook_that_returns_no_optimizer_is_named() -> None:
    with pytest.raises(TypeError, match="NoOptimizer.configure_optimizer returned None: it must"):
        NoOptimizer(make="dense", loss="mse").fit(X, Y)
    with pytest.raises(TypeError, match="Forgetful.configure_optimizer returned None: it must"):
        Mine(make="dense", loss="mse", callbacks=[Forgetful()]).fit(X, Y)


SMALL = {"name": "mlp", "hidden": (2,)}
TWO = {"a": Y[:, 0], "b": -Y[:, 0]}
LABELS = np.arange(8) % 2


def small(kind: type[Trainer], y: Any, **fields: Any) -> Trainer:
    return kind(model=SMALL, epochs=1, random_state=0, verbose=0, **fields).fit(X, y)


@pytest.mark.parametrize("weights", [2, 2.0, np.float32(2), [2], {"output": 2}])
def test_the_weight_of_one_loss_is_any_real_number(weights: Any, tmp_path: Any) -> None:
    made = small(Regressor, Y[:, 0], loss_weights=weights)
    plain = small(Regressor, Y[:, 0]).history_["loss"][0]
    np.testing.assert_allclose(made.history_["loss"][0], 2 * plain, rtol=1e-5)
    loaded = Regressor.load(made.save(tmp_path / "m.keras"))
    assert loaded.evaluate(X, Y[:, 0]) == made.evaluate(X, Y[:, 0])


@pytest.mark.parametrize("weights", [{"a": 1, "b": 3}, {"b": 3, "a": 1}, [1, 3], (1.0, 3.0)])
@pytest.mark.parametrize("loss", [None, "mse", {"a": "mse", "b": "mse"}])
def test_each_output_has_its_weight_though_the_loss_is_one(weights: Any, loss: Any) -> None:
    logs = small(Regressor, TWO, loss=loss, loss_weights=weights).history_.records[0]
    np.testing.assert_allclose(logs["loss"], logs["a_loss"] + 3 * logs["b_loss"], rtol=1e-5)


def test_outputs_without_names_have_their_weights_by_the_names_of_their_layers() -> None:
    y = (Y[:, 0], -Y[:, 0])
    weights = {"output_1": 3, "output_0": 1}
    logs = small(Regressor, y, loss=["mse", "mse"], loss_weights=weights).history_.records[0]
    np.testing.assert_allclose(
        logs["loss"], logs["output_0_loss"] + 3 * logs["output_1_loss"], rtol=1e-5
    )


@pytest.mark.parametrize(
    ("kind", "y", "fields", "error", "says"),
    [
        (Regressor, Y[:, 0], {"loss_weights": float("nan")}, ValueError, "nan: each weight must"),
        (Regressor, Y[:, 0], {"loss_weights": [float("nan")]}, ValueError, r"\[nan\]: each"),
        (Regressor, Y[:, 0], {"loss_weights": -1.0}, ValueError, "-1.0: each weight must be a"),
        (Regressor, Y[:, 0], {"loss_weights": True}, TypeError, "True: each weight must be a"),
        (Regressor, Y[:, 0], {"loss_weights": "a"}, TypeError, "'a': each weight must be a"),
        (Regressor, Y[:, 0], {"loss_weights": [1, 2]}, ValueError, "has 2 weights, but there is 1"),
        (Regressor, Y[:, 0], {"loss_weights": {"typo": 100}}, ValueError, "no output 'typo'; the "),
        (Regressor, TWO, {"loss_weights": {"a": 1}}, ValueError, "has 1 weight, but there are 2 "),
        (Regressor, TWO, {"loss_weights": {"a": 1, "zz": 5}}, ValueError, "outputs are 'a', 'b'"),
        (Classifier, LABELS, {"metrics": {"typo": ["auc"]}}, ValueError, "there is no output 'typ"),
        (Classifier, LABELS, {"weighted_metrics": {"zz": ["auc"]}}, ValueError, "there is no out"),
        (Classifier, LABELS, {"metrics": [[]]}, ValueError, "has no metric in it; write metrics="),
        (Regressor, Y[:, 0], {"loss": []}, ValueError, "has no loss in it; write loss='mse'"),
        (Regressor, Y[:, 0], {"loss": {}}, ValueError, "has no loss in it; write loss='mse'"),
    ],
)
def test_weights_and_metrics_of_outputs_that_there_are_not_are_refused(
    kind: type[Trainer], y: Any, fields: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=f"^{next(iter(fields))}=.*{says}"):
        small(kind, y, **fields)


@pytest.mark.parametrize("metrics", [[], {}, {"output": ["auc"]}, [["auc"]]])
def test_no_metrics_and_those_by_the_name_of_the_output_are_taken(metrics: Any) -> None:
    logs = small(Classifier, LABELS, metrics=metrics).history_.records[0]
    assert ("auc" in logs) == bool(metrics)
