"""Unusual models and streams, stopped in the middle of an epoch: they go on to the same bytes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from stopping import Stop, Stopped

from trainer import Trainer
from trainer.engine import backend
from trainer.runs.directory import Run
from trainer.state import variables

BATCH, EPOCHS = 8, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 6)).astype("float32")
Y = (X @ RNG.normal(size=(6, 1))).astype("float32")
SERIES = RNG.normal(size=(48, 5, 3)).astype("float32")


class Built(Trainer):
    """Trains what the attribute `made` makes."""

    made: Any = None

    def build_model(self, spec: Any) -> keras.Model:
        return self.made()


class TwoOptimizers(keras.Model):
    """A generator and a critic; the critic's optimizer makes its variables in the first step."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = keras.Sequential([keras.Input((3,)), layers.Dense(6)])
        self.critic = keras.Sequential([keras.Input((6,)), layers.Dense(1)])
        self.second = keras.optimizers.Adam(0.01)

    def call(self, x: Any) -> Any:
        return self.critic(x)

    def train_step(self, data: Any) -> dict[str, Any]:
        x = data[0] if isinstance(data, tuple) else data
        noise = keras.random.normal((ops.shape(x)[0], 3))  # of Keras' global generator
        with tf.GradientTape() as tape:
            critic_loss = ops.mean(self.critic(self.generator(noise)) - self.critic(x))
        weights = self.critic.trainable_weights
        self.second.apply(tape.gradient(critic_loss, weights), weights)
        with tf.GradientTape() as tape:
            generator_loss = -ops.mean(self.critic(self.generator(noise)))
        weights = self.generator.trainable_weights
        self.optimizer.apply(tape.gradient(generator_loss, weights), weights)
        return {"critic_loss": critic_loss, "generator_loss": generator_loss}


class OwnStep(keras.Model):
    """A step that accumulates in variables of its own, and draws with a seed of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(1)
        self.seeds = keras.random.SeedGenerator(4)
        self.tracked = {"mean": keras.metrics.Mean("seen"), "steps": keras.Variable(0.0)}

    def call(self, x: Any) -> Any:
        return self.dense(x)

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data[:2]
        self.tracked["steps"].assign_add(1.0)
        x = x + keras.random.normal(ops.shape(x), seed=self.seeds) / self.tracked["steps"]
        with tf.GradientTape() as tape:
            loss = ops.mean(ops.square(self(x) - y))
        weights = self.trainable_weights
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        self.tracked["mean"].update_state(loss)
        return {"loss": self.tracked["mean"].result(), "steps": self.tracked["steps"]}


class Unseeded(layers.Layer):
    """Draws from Keras' global generator of seeds."""

    def call(self, x: Any, training: bool = False) -> Any:
        return x + keras.random.normal(ops.shape(x)) if training else x


def dense(*more: Any, **options: Any) -> Callable[[], keras.Model]:
    def make() -> keras.Model:
        drops = [layer() for layer in more]
        return keras.Sequential(
            [keras.Input((6,)), layers.Dense(8, "relu"), *drops, layers.Dense(1)]
        )

    return make


def stateful() -> keras.Model:
    rows = keras.Input(batch_shape=(BATCH, 5, 3))
    return keras.Model(rows, layers.Dense(1)(layers.LSTM(4, stateful=True)(rows)))


def accumulating() -> Any:
    return keras.optimizers.Adam(0.01, gradient_accumulation_steps=4)


class Shuffled(keras.utils.PyDataset):
    """Shuffles at the end of each epoch, by a generator of its own."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.rng = np.random.default_rng(3)
        self.order = np.arange(48)

    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> Any:
        rows = self.order[i * BATCH : (i + 1) * BATCH]
        return X[rows], Y[rows]

    def on_epoch_end(self) -> None:
        self.order = self.rng.permutation(48)


def pipeline() -> tf.data.Dataset:
    rows = tf.data.Dataset.from_tensor_slices((X, Y))
    return rows.shuffle(48, seed=2, reshuffle_each_iteration=True).batch(BATCH)


KINDS: dict[str, dict[str, Any]] = {
    "dropout": {"made": dense(lambda: layers.Dropout(0.5))},
    "batch norm": {"made": dense(layers.BatchNormalization)},
    "global seeds": {"made": dense(Unseeded)},
    "stateful": {"made": stateful, "x": SERIES, "shuffle": False},
    "two optimizers": {"made": TwoOptimizers, "loss": None},
    "own step": {"made": OwnStep},
    "accumulation": {"made": dense(), "optimizer": accumulating},
    "float16": {"made": dense(), "precision": "mixed_float16"},
    "jit": {"made": dense(layers.BatchNormalization), "jit": True},
    "tf.data": {"made": dense(lambda: layers.Dropout(0.5)), "x": pipeline},
    "tf.data with two optimizers": {"made": TwoOptimizers, "loss": None, "x": pipeline},
    "PyDataset": {"made": dense(), "x": Shuffled},
    "PyDataset in threads": {"made": dense(), "x": lambda: Shuffled(workers=2)},
    "not resident": {"made": dense(), "resident_bytes": 0},
    "eager": {"made": dense(lambda: layers.Dropout(0.5)), "run_eagerly": True},
}


def train(kind: dict[str, Any], folder: Path, *stops: int) -> Any:
    """Train to the end, each time stopped after so many batches and begun with new objects."""
    fields = {"loss": "mse", "epochs": EPOCHS, "batch_size": BATCH, "random_state": 7, "verbose": 0}
    fields |= {k: v for k, v in kind.items() if k not in ("x", "optimizer")}
    for after in (*stops, None):
        x = kind.get("x", X)
        x = x() if callable(x) else x
        trainer = Built(
            **fields,
            optimizer=kind.get("optimizer", lambda: "adam")(),
            callbacks=[Stop(after=after)],
            run_dir=str(folder),
            save_steps=2,
        )
        y = (Y,) if isinstance(x, np.ndarray) else ()
        validation = None if kind["made"] in (TwoOptimizers, stateful) else (X[:10], Y[:10])
        try:
            trainer.fit(x, *y, validation_data=validation)
        except Stopped:
            continue
        assert after is None, "it was over before it was stopped"
    return trainer


def numbers(trainer: Any) -> tuple[list[np.ndarray], list[Any]]:
    found = [backend.variables.copied(v) for v in variables.variables(trainer._network.core)]
    return found, [{k: v for k, v in r.items() if k != "seconds"} for r in trainer.history_.records]


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_training_goes_on_to_the_same_bytes(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a run's picture takes half of the time of a short one
    monkeypatch.setattr(Run, "_draw", lambda run, history: None)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "made=|optimizer=|callbacks=")  # not written to a file
        alone = numbers(train(KINDS[kind], tmp_path / "alone"))
        stopped = numbers(train(KINDS[kind], tmp_path / "stopped", 4, 7))
    assert stopped[1] == alone[1]
    assert len(stopped[0]) == len(alone[0])
    for ours, theirs in zip(stopped[0], alone[0], strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.tobytes() == theirs.tobytes()
    log = (tmp_path / "stopped" / "run.log").read_text()
    assert log.count("resumes from epoch") == 2 and "step" in log
