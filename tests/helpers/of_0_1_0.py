"""The trainings and searches whose files are in tests/data/v0_1_0, for writing and for reading.

Responsible for making each again exactly as it was made: classes, data and arguments. Data are of
whole numbers divided by powers of two, so that they have the same bytes everywhere.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import pandas as pd
from keras import layers
from sklearn.base import BaseEstimator, RegressorMixin

from search import SklearnSearch, TunerSearch
from trainer import Classifier, Float, Int, Regressor, Trainer

N = 24


def numbers(n: int, width: int, salt: int = 0) -> np.ndarray:
    """Numbers between -1 and 1 that look random."""
    counted = np.arange(n * width, dtype=np.int64).reshape(n, width) + 1000 * salt
    return ((counted * counted * 31 + counted * 77) % 257 / 128 - 1).astype("float32")


X = numbers(N, 3)
LABELS = np.array(["no", "yes", "perhaps"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)]
TABLE = pd.DataFrame(
    {
        "rooms": [3.0, 4.0, None, 5.0, 2.0, 6.0] * 4,
        "near": ["sea", "city", "sea", None, "city", "hill"] * 4,
        "kind": pd.Categorical(["flat", "house", "flat", "house", "hut", "flat"] * 4),
        "new": [True, False, False, True, True, False] * 4,
    }
)
PRICE = np.array([310.0, 250.0, 290.0, 240.0, 200.0, 220.0] * 4)
SEVERAL_X = {"wide": numbers(N, 2, 1), "deep": numbers(N, 3, 2)}
SEVERAL_Y = {"main": numbers(N, 1, 3), "side": numbers(N, 2, 4)}


class Labels(Classifier):
    """One hidden layer of four."""

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input(spec.input_shape),
                layers.Dense(4, "relu"),
                layers.Dropout(0.25),
                layers.Dense(spec.n_outputs, "softmax"),
            ]
        )


class Table(Regressor):
    """One layer over the encoded columns."""

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential([keras.Input(spec.input_shape), layers.Dense(1)])


class Several(Trainer):
    """Two inputs and two outputs."""

    def build_model(self, spec: Any) -> keras.Model:
        given = {name: keras.Input(shape, name=name) for name, shape in spec.input_shape.items()}
        hidden = layers.Dense(4, "relu")(given["deep"])
        both = layers.Concatenate()([given["wide"], hidden])
        return keras.Model(given, {"main": layers.Dense(1)(both), "side": layers.Dense(2)(hidden)})


class OwnLoss(Trainer):
    """A loss of its own, and a field of its own."""

    power: float = 2.0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential([keras.Input(spec.input_shape), layers.Dense(2)])

    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
        return keras.ops.mean(keras.ops.abs(y - y_pred) ** self.power)


class Kill(keras.callbacks.Callback):
    """Ends the process by SIGKILL after so many batches of all trainings in it."""

    left: ClassVar[int] = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if Kill.left > 0:
            Kill.left -= 1
            if Kill.left == 0:
                time.sleep(1)  # the state before is being written
                os.kill(os.getpid(), signal.SIGKILL)


class Light(RegressorMixin, BaseEstimator):
    """Costs nothing to fit."""

    def __init__(self, a: float = 0.0, b: int = 1, random_state: Any = None) -> None:
        self.a = a
        self.b = b
        self.random_state = random_state

    def fit(self, x: Any, y: Any) -> Light:
        self.level_ = float(np.mean(y)) + self.a / self.b
        return self

    def predict(self, x: Any) -> Any:
        return np.full(len(x), self.level_)


SHARED: dict[str, Any] = {"epochs": 2, "batch_size": 8, "random_state": 3, "verbose": 0}


def classifier() -> Any:
    return Labels(**SHARED, normalize="standard").fit(X, LABELS, validation_data=(X, LABELS))


def table() -> Any:
    return Table(**SHARED, normalize="minmax", validation_split=0.25).fit(TABLE, PRICE)


def several() -> Any:
    return Several(**SHARED, loss="mse", metrics={"main": ["mae"], "side": ["mse"]}).fit(
        SEVERAL_X, SEVERAL_Y
    )


def objects() -> Any:
    schedule = keras.optimizers.schedules.ExponentialDecay(0.05, 10, 0.9)
    return Labels(
        **SHARED,
        optimizer=keras.optimizers.SGD(momentum=0.5, nesterov=True),
        learning_rate=schedule,
        loss=keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(2, name="two")],
        callbacks=[
            "early_stopping",
            {"name": "ema", "decay": 0.5},
            {"name": "csv", "path": "a file.csv"},
        ],
        class_weight={"no": 1.0, "yes": 2.0, "perhaps": 1.5},
        run_dir="a run",
    ).fit(X, LABELS, validation_data=(X, LABELS))


def own_loss() -> Any:
    return OwnLoss(**SHARED, power=1.5).fit(X, SEVERAL_Y["side"])


FILES = {
    "classifier": (classifier, Labels, X),
    "table": (table, Table, TABLE),
    "several": (several, Several, SEVERAL_X),
    "objects": (objects, Labels, X),
    "own_loss": (own_loss, OwnLoss, X),
}


def run(folder: Path, **changes: Any) -> Any:
    """A run with plugins, Keras' early stopping, and a kill if Kill.left is set."""
    stopping = keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)
    fields = SHARED | {
        "epochs": 4,
        "callbacks": [
            "early_stopping",
            {"name": "learning_rate", "shape": "cosine", "warmup": 0.25},
            {"name": "checkpoint", "keep": 1},
            {"name": "ema", "decay": 0.75},
            stopping,
            Kill(),
        ],
        "learning_rate": 0.02,
        "run_dir": folder,
        "save_steps": 1,
    }
    return Labels(**fields | changes)


def fitted_run(folder: Path, resume: Any = "auto", **changes: Any) -> Any:
    return run(folder, **changes).fit(X, LABELS, validation_data=(X, LABELS), resume=resume)


def trial(folder: Path, resume: Any = "auto", epochs: int = 2) -> Any:
    """The run of a trial of a search: its state alone is kept."""
    from trainer.runs.directory import state_alone

    with state_alone():
        return fitted_run(folder, resume, epochs=epochs, callbacks=["nan_guard"])


class Sized(Classifier):
    """What the searches try."""

    def __init__(self, units: int = 4, epochs: int = 3, **fields: Any) -> None:
        super().__init__(epochs=epochs, **fields)
        self.units = units

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input(spec.input_shape),
                layers.Dense(self.units, "relu"),
                layers.Dense(spec.n_outputs, "softmax"),
            ]
        )


def search(kind: str, folder: Path) -> Any:
    """A search that is not fitted."""
    shared: dict[str, Any] = {
        "directory": folder,
        "seed": 5,
        "executor": "serial",
        "refit": False,
        "verbose": 0,
    }
    if kind == "light":
        space = {"a": Float(-1, 1, step=1), "b": Int(1, 2)}
        return SklearnSearch(Light(), space, method="grid", cv=2, **shared)
    trained = Sized(batch_size=8, learning_rate=0.02, save_steps=1, callbacks=[Kill()])
    space = {"units": Int(2, 6)}
    if kind == "halving":
        return SklearnSearch(trained, space, method="halving", n_iter=3, cv=None, **shared)
    if kind == "hyperband":
        return TunerSearch(trained, space, tuner="hyperband", max_trials=5, **shared)
    return TunerSearch(trained, space, tuner="random", max_trials=3, **shared)


def searched(kind: str, folder: Path) -> Any:
    if kind == "light":
        return search(kind, folder).fit(X, PRICE)
    return search(kind, folder).fit(X, LABELS, validation_data=(X, LABELS))


# kind of search, batches until the kill (those of the rehearsal too), or 0
STUDIES = {
    "random": ("random", 0),
    "light": ("light", 0),
    "random_unfinished": ("random", 19),
    "halving": ("halving", 0),
    "hyperband_unfinished": ("hyperband", 21),
}


def weights(trainer: Any) -> list[Any]:
    return [w.tolist() for w in trainer.model_.get_weights()]


def history(trainer: Any) -> list[dict[str, float]]:
    return [{k: v for k, v in r.items() if k != "seconds"} for r in trainer.history_.records]


def results(search: Any) -> list[dict[str, Any]]:
    """Each trial: its parameters, epochs, state, score."""
    return [
        {
            "params": dict(t.params),
            "epochs": t.epochs,
            "parent": t.parent,
            "state": t.state,
            "score": t.score,
        }
        for t in search._trials
    ]
