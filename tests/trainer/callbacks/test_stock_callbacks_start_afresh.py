"""Keras' own callbacks: a second fit, and one of a clone, starts as the first has; see `fit`."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import callbacks as stock
from sklearn.base import clone

from trainer import Regressor

X = np.random.default_rng(0).normal(size=(48, 3)).astype("float32")
Y = X.sum(1)


class Small(Regressor):
    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(1)])


def make(callback: Any, **fields: Any) -> Small:
    optimizer = keras.optimizers.SGD(0.01, use_ema=True, ema_momentum=0.5)
    fixed = {"epochs": 2, "batch_size": 16, "random_state": 0, "verbose": 0}
    fields = {**fixed, "metrics": (), **fields}
    return Small(optimizer=optimizer, callbacks=[callback], **fields)


def losses(trainer: Regressor) -> list[float]:
    return [float(v) for v in trainer.history_["loss"]]


STOCK: dict[str, Callable[[Path], Any]] = {
    "swap": lambda _: stock.SwapEMAWeights(swap_on_epoch=True),
    "early stopping": lambda _: stock.EarlyStopping("loss", min_delta=0.5),
    "plateau": lambda _: stock.ReduceLROnPlateau("loss", patience=1, min_delta=5.0),
    "checkpoint": lambda path: stock.ModelCheckpoint(
        path / "best.keras", "loss", save_best_only=True, initial_value_threshold=100.0
    ),
    "every 4 steps": lambda path: stock.ModelCheckpoint(path / "m.keras", save_freq=4),
    "backup": lambda path: stock.BackupAndRestore(path / "backup", save_freq=4),
    "csv": lambda path: stock.CSVLogger(path / "log.csv"),
    "tensorboard": lambda path: stock.TensorBoard(path / "logs"),
}


@pytest.mark.parametrize("name", STOCK)
def test_a_second_fit_a_clone_and_a_pickle_start_as_the_first_fit(
    name: str, tmp_path: Path
) -> None:
    trainer = make(STOCK[name](tmp_path)).fit(X, Y)
    first, predicted = losses(trainer), trainer.predict(X)
    others = [clone(trainer), pickle.loads(pickle.dumps(trainer)), trainer]
    for other in others:
        other.fit(X, Y)
        assert losses(other) == first
        np.testing.assert_array_equal(other.predict(X), predicted)


def test_a_model_checkpoint_writes_the_best_of_the_second_fit(tmp_path: Path) -> None:
    path = tmp_path / "best.keras"
    callback = stock.ModelCheckpoint(path, "loss", save_best_only=True)
    trainer = make(callback).fit(X, Y)
    path.unlink()
    trainer.fit(X, Y * 100)  # its losses are worse than those of the first fit
    assert path.exists()


def test_with_warm_start_a_callback_of_keras_keeps_its_state(tmp_path: Path) -> None:
    callback = stock.ModelCheckpoint(tmp_path / "best.keras", "loss", save_best_only=True)
    trainer = make(callback, warm_start=True).fit(X, Y)
    best = callback.best
    trainer.fit(X, Y * 100)
    assert callback.best == best


def test_an_argument_that_is_set_between_fits_stays() -> None:
    callback = stock.EarlyStopping("loss", patience=9, min_delta=0.5)
    trainer = make(callback).fit(X, Y)
    callback.patience = 3
    trainer.fit(X, Y)
    assert callback.patience == 3 and callback.min_delta == -0.5


@pytest.mark.parametrize(
    "callback",
    [
        stock.LearningRateScheduler(lambda epoch, rate: rate / 2),
        stock.ReduceLROnPlateau("loss", patience=1, min_delta=5.0),
    ],
)
def test_a_returned_run_and_a_loaded_file_have_the_learning_rate_that_keras_logged(
    callback: Any, tmp_path: Path
) -> None:
    trainer = make(callback, run_dir=tmp_path / "run").fit(X, Y)
    history = trainer.history_.history
    assert "learning_rate" in history
    assert trainer.fit(X, Y).history_.history == history
    if isinstance(callback, stock.ReduceLROnPlateau):
        assert pickle.loads(pickle.dumps(trainer)).history_.history == history
        trainer.set_params(callbacks=()).save(tmp_path / "saved.keras")
        assert Small.load(tmp_path / "saved.keras").history_.history == history
