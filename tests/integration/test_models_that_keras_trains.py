"""What keras.Model.fit trains, a Trainer trains, with the same numbers: unusual models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from trainer import Trainer

SEED, BATCH = 3, 8
RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 6)).astype("float32")
Y = (X @ RNG.normal(size=(6, 1))).astype("float32")
SERIES = RNG.normal(size=(48, 5, 3)).astype("float32")
RAGGED = slice(45)  # the last batch has five rows


class StepAlone(keras.Model):
    """A variational autoencoder as Keras' examples write it: a train_step, and no call."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = layers.Dense(4), layers.Dense(6)
        self.mean_loss = keras.metrics.Mean("loss")
        self.seeds = keras.random.SeedGenerator(1)

    @property
    def metrics(self) -> list[Any]:
        return [self.mean_loss]

    def train_step(self, data: Any) -> dict[str, Any]:
        x = data[0] if isinstance(data, tuple) else data
        with tf.GradientTape() as tape:
            code = self.encoder(x)
            code += keras.random.normal(ops.shape(code), seed=self.seeds)
            loss = ops.mean(ops.square(x - self.decoder(code)))
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        self.mean_loss.update_state(loss)
        return {"loss": self.mean_loss.result()}


class TwoOptimizers(keras.Model):
    """A generator and a discriminator, each with an optimizer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = keras.Sequential([keras.Input((3,)), layers.Dense(6)])
        self.critic = keras.Sequential(
            [keras.Input((6,)), layers.Dense(4, "relu"), layers.Dense(1)]
        )
        self.second = keras.optimizers.Adam(0.01)
        self.seeds = keras.random.SeedGenerator(1)

    def call(self, x: Any) -> Any:
        return self.critic(x)

    def train_step(self, data: Any) -> dict[str, Any]:
        x = data[0] if isinstance(data, tuple) else data
        noise = keras.random.normal((ops.shape(x)[0], 3), seed=self.seeds)
        with tf.GradientTape() as tape:
            critic_loss = ops.mean(self.critic(self.generator(noise)) - self.critic(x))
        weights = self.critic.trainable_weights
        self.second.apply(tape.gradient(critic_loss, weights), weights)
        with tf.GradientTape() as tape:
            generator_loss = -ops.mean(self.critic(self.generator(noise)))
        weights = self.generator.trainable_weights
        self.optimizer.apply(tape.gradient(generator_loss, weights), weights)
        return {"critic_loss": critic_loss, "generator_loss": generator_loss}


class KnownBatch(keras.Model):
    """Its code reads the size of a batch, which it has where all batches are of one size."""

    def __init__(self) -> None:
        super().__init__()
        self.out = layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.out(ops.reshape(x, (x.shape[0], -1)))


class Unseeded(layers.Layer):
    """Draws from Keras' global generator."""

    def call(self, x: Any, training: bool = False) -> Any:
        return x + keras.random.normal(ops.shape(x)) if training else x


class AddsLoss(layers.Layer):
    """A loss of the layer's own, and a weight that no gradient reaches."""

    def build(self, shape: Any) -> None:
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x: Any) -> Any:
        self.count.assign_add(1.0)
        self.add_loss(1e-2 * ops.sum(ops.square(x)))
        return x


def _stateful() -> keras.Model:
    series = keras.Input(batch_shape=(2 * BATCH, 5, 3))
    return keras.Model(series, layers.Dense(1)(layers.LSTM(4, stateful=True)(series)))


def _sequential(*parts: Any, shape: tuple[Any, ...] = (6,)) -> keras.Model:
    return keras.Sequential([keras.Input(shape), *parts])


def _tied() -> keras.Model:
    x = keras.Input((6,))
    shared = layers.Dense(6, "tanh")
    return keras.Model(x, layers.Dense(1)(shared(shared(x))))


def _part_frozen() -> keras.Model:
    model = _sequential(layers.Dense(6), layers.BatchNormalization(), layers.Dense(1))
    model.layers[0].trainable = model.layers[1].trainable = False
    return model


Build = Callable[[], keras.Model]
MODELS: dict[str, tuple[Build, dict[str, Any]]] = {
    "a step alone": (StepAlone, {"loss": None, "y": None, "rows": RAGGED}),
    "two optimizers": (TwoOptimizers, {"loss": None, "y": None, "rows": RAGGED}),
    "a batch of known size": (KnownBatch, {}),
    "a state from batch to batch": (_stateful, {"x": SERIES, "batch_size": 2 * BATCH}),
    "numbers of the global generator": (
        lambda: _sequential(Unseeded(), layers.Dense(1)),
        {"rows": RAGGED},
    ),
    "a loss of a layer": (lambda: _sequential(AddsLoss(), layers.Dense(1)), {"rows": RAGGED}),
    "a layer used twice": (_tied, {"rows": RAGGED}),
    "frozen layers": (_part_frozen, {"rows": RAGGED}),
    "bidirectional, dropout in the cells": (
        lambda: _sequential(
            layers.Bidirectional(layers.GRU(3, dropout=0.2, recurrent_dropout=0.2)),
            layers.Dense(1),
            shape=(5, 3),
        ),
        {"x": SERIES, "rows": RAGGED},
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_an_unusual_model_is_trained_as_keras_trains_it(name: str) -> None:
    build, given = MODELS[name]
    rows = given.get("rows", slice(None))
    x, y, loss = given.get("x", X)[rows], given.get("y", Y), given.get("loss", "mse")
    y = None if y is None else y[rows]
    batch_size = given.get("batch_size", BATCH)

    class Ours(Trainer):
        def build_model(self, spec: Any) -> keras.Model:
            return build()

    trainer = Ours(
        optimizer="adam",
        loss=loss,
        epochs=2,
        batch_size=batch_size,
        shuffle=False,
        random_state=SEED,
        verbose=0,
    ).fit(x, y)

    keras.utils.set_random_seed(SEED)
    model = build()
    model.compile("adam", loss)
    history = model.fit(x, y, batch_size=batch_size, epochs=2, shuffle=False, verbose=0).history

    assert {n: trainer.history_[n] for n in trainer.history_.metrics} == history
    assert len(model.weights) > 0
    for a, b in zip(trainer.model_.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    if name not in ("a step alone", "a batch of known size"):
        expected = model.predict(x, batch_size=batch_size, verbose=0)
        np.testing.assert_allclose(trainer.predict(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("precision", ["float64", "mixed_bfloat16", "mixed_float16"])
def test_a_precision_gives_the_numbers_that_keras_gives_in_it(precision: str) -> None:
    def build() -> keras.Model:
        return _sequential(
            layers.Dense(16, "relu"), layers.BatchNormalization(), layers.Dense(1, dtype="float32")
        )

    class Ours(Trainer):
        def build_model(self, spec: Any) -> keras.Model:
            return build()

    trainer = Ours(
        loss="mse", epochs=2, batch_size=BATCH, shuffle=False, precision=precision, verbose=0
    )
    trainer.set_params(random_state=SEED, optimizer="sgd").fit(X[RAGGED], Y[RAGGED])

    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    try:
        keras.config.set_floatx("float64" if precision == "float64" else "float32")
        keras.config.set_dtype_policy(precision)
        keras.utils.set_random_seed(SEED)
        model = build()
        model.compile("sgd", "mse")
        history = model.fit(
            X[RAGGED], Y[RAGGED], batch_size=BATCH, epochs=2, shuffle=False, verbose=0
        ).history
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)

    assert trainer.history_["loss"] == history["loss"]
    for a, b in zip(trainer.model_.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
