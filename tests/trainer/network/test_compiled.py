"""A model that build_model compiles is trained as it was compiled."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from trainer import Classifier, Regressor, Trainer

X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
Y = X[:, :1] * 2
LABELS = np.arange(8) % 3


class Plain(Trainer):
    """A dense layer, compiled with what `how` says."""

    epochs: int = 2
    batch_size: int = 4
    random_state: Any = 0
    shuffle: bool = False
    verbose: int | str = 0
    how: Any = ("sgd", "mae")

    def build_model(self, spec: Any) -> keras.Model:
        model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
        optimizer, loss = self.how
        model.compile(keras.optimizers.get(optimizer), loss, metrics=["mse"])
        return model


class WithHook(Plain):
    def configure_optimizer(self) -> Any:
        return keras.optimizers.SGD()


class WithLoss(Plain):
    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
        return ops.mean(y_pred)


class Labels(Classifier):
    epochs: int = 1
    random_state: Any = 0
    verbose: int | str = 0

    def build_model(self, spec: Any) -> keras.Model:
        model = keras.Sequential([keras.Input((3,)), layers.Dense(3)])
        model.compile("sgd")
        return model


class Gan(keras.Model):
    """Two networks with an optimizer each, and a compile of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = layers.Dense(3)
        self.discriminator = layers.Dense(1)
        self.draws = keras.random.SeedGenerator(1)

    def compile(self, g_optimizer: Any, d_optimizer: Any) -> None:
        super().compile()
        self.g_optimizer, self.d_optimizer = g_optimizer, d_optimizer

    def train_step(self, data: Any) -> Any:
        x = data[0]
        noise = keras.random.normal((4, 2), seed=self.draws)
        logs = {}
        for name, part, optimizer, rows, sign in (
            ("d_loss", self.discriminator, self.d_optimizer, lambda: x, 1.0),
            ("g_loss", self.generator, self.g_optimizer, lambda: self.generator(noise), -1.0),
        ):
            with tf.GradientTape() as tape:
                loss = sign * ops.mean(ops.sigmoid(self.discriminator(rows())))
            weights = part.trainable_variables
            optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            logs[name] = loss
        return logs


class GanTrainer(Trainer):
    epochs: int = 2
    batch_size: int = 4
    random_state: Any = 0
    verbose: int | str = 0
    compiled: bool = True

    def build_model(self, spec: Any) -> keras.Model:
        model = Gan()
        if self.compiled:
            model.compile(keras.optimizers.SGD(0.5), keras.optimizers.SGD(0.25))
        return model


def test_a_compiled_model_trains_to_the_numbers_of_keras_fit() -> None:
    fitted = Plain(jit=False).fit(X, Y)
    keras.utils.set_random_seed(0)
    model = Plain().build_model(None)
    history = model.fit(X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0).history
    assert isinstance(fitted.model_.optimizer, keras.optimizers.SGD)
    for name in ("loss", "mse"):
        assert [record[name] for record in fitted.history_.records] == history[name]
    for ours, theirs in zip(fitted.model_.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_without_compile_the_optimizer_is_adam_and_the_field_is_none() -> None:
    class Uncompiled(Plain):
        def build_model(self, spec: Any) -> keras.Model:
            return keras.Sequential([keras.Input((3,)), layers.Dense(1)])

    fitted = Uncompiled(loss="mse", epochs=1).fit(X, Y)
    assert fitted.optimizer is None and fitted.model_.optimizer.name.startswith("adam")


@pytest.mark.parametrize(
    ("trainer", "named"),
    [
        (Plain(optimizer="adam"), "optimizer='adam'"),
        (Plain(learning_rate=0.1), "learning_rate=0.1"),
        (Plain(loss="mse"), "loss='mse'"),
        (Plain(metrics=["mae"]), "metrics=['mae']"),
        (WithHook(), "configure_optimizer"),
        (WithLoss(), "compute_loss"),
    ],
)
def test_fields_and_hooks_beside_a_compiled_model_are_refused(trainer: Any, named: str) -> None:
    with pytest.raises(ValueError, match="build_model is compiled, and") as caught:
        trainer.fit(X, Y)
    assert named in str(caught.value)


def test_what_compile_leaves_out_is_the_default_of_the_task() -> None:
    fitted = Labels().fit(X, LABELS)
    assert isinstance(fitted.model_.optimizer, keras.optimizers.SGD)
    assert fitted.network_.default_loss and "accuracy" in fitted.history_.records[0]
    np.testing.assert_allclose(fitted.predict_proba(X).sum(axis=1), 1, rtol=1e-5)


def test_run_eagerly_of_compile_counts() -> None:
    class Eager(Regressor):
        def build_model(self, spec: Any) -> keras.Model:
            model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
            model.compile("sgd", "mse", run_eagerly=True)
            return model

    assert Eager(epochs=1, verbose=0).fit(X, Y).network_.program.eager


def test_a_model_with_a_compile_of_its_own_is_trained_as_it_was_compiled(tmp_path: Any) -> None:
    fitted = GanTrainer().fit(X, X)
    core = fitted.network_.core
    rates = [float(o.learning_rate) for o in (core.g_optimizer, core.d_optimizer)]
    assert rates == [0.5, 0.25]
    assert [int(o.iterations) for o in (core.g_optimizer, core.d_optimizer)] == [4, 4]
    last = fitted.history_.records[-1]
    assert {"d_loss", "g_loss"} <= set(last) and not last["learning_rate"] > 0
    assert "the model's own" in fitted.summary()
    fitted.save(tmp_path / "gan.keras")
    loaded = GanTrainer.load(tmp_path / "gan.keras")
    for a, b in zip(fitted.model_.get_weights(), loaded.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_compile_of_its_own_that_build_model_does_not_call_is_one_clear_error() -> None:
    with pytest.raises(TypeError, match=r"Gan.compile has arguments of its own.*build_model"):
        GanTrainer(compiled=False).fit(X, X)


def test_a_file_of_0_1_0_keeps_its_fields_beside_a_compiled_model(tmp_path: Any) -> None:
    class Old(Plain):
        def build_model(self, spec: Any) -> keras.Model:
            model = super().build_model(spec)
            model.compiled = False  # 0.1.0 did not look at it
            return model

    fitted = Old(optimizer="adam", loss="mse").fit(X, Y)
    fitted.save(tmp_path / "old.keras")
    Old.build_model = Plain.build_model  # type: ignore[method-assign]
    loaded = Old.load(tmp_path / "old.keras")
    assert loaded.model_.loss == "mse" and loaded.model_.optimizer.name.startswith("adam")
    np.testing.assert_array_equal(loaded.predict(X), fitted.predict(X))


def test_an_optimizer_that_knows_more_variables_than_are_trained_is_taken() -> None:
    class Frozen(Regressor):
        def build_model(self, spec: Any) -> keras.Model:
            model = keras.Sequential(
                [keras.Input(spec.input_shape), *map(keras.layers.Dense, (3, 1))]
            )
            model.compile("adam", "mse")
            model.optimizer.build(model.trainable_variables)
            model.layers[0].trainable = False  # after compile, which Keras allows
            return model

    x = np.ones((8, 2), "float32")
    trained = Frozen(epochs=1, verbose=0).fit(x, x[:, 0])
    assert len(trained.model_.trainable_weights) == 2
