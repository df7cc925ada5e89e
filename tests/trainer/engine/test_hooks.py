"""Which callbacks must see every batch: that costs a dispatch for each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras.callbacks import (
    BackupAndRestore,
    Callback,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ProgbarLogger,
    ReduceLROnPlateau,
    SwapEMAWeights,
    TensorBoard,
    TerminateOnNaN,
)

from trainer import Regressor
from trainer import callbacks as trainer_callbacks
from trainer.engine.hooks import interval


class _Named(Callback):
    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Nothing."""


class _OldName(Callback):
    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        """Nothing."""


class _Test(Callback):
    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Nothing."""


class _Checkpoint(ModelCheckpoint):
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """More than ModelCheckpoint's own."""


def _set_on_the_object() -> Callback:
    callback = Callback()
    callback.on_train_batch_end = lambda batch, logs=None: None
    return callback


EVERY_BATCH: dict[str, Callable[[Path], Callback]] = {
    "begin": lambda path: _Named(),
    "older name": lambda path: _OldName(),
    "set on the object": lambda path: _set_on_the_object(),
    "LambdaCallback": lambda path: LambdaCallback(on_train_batch_end=print),
    "TerminateOnNaN": lambda path: TerminateOnNaN(),
    "ProgbarLogger": lambda path: ProgbarLogger(),
    "ModelCheckpoint by batches": lambda path: ModelCheckpoint(path / "m.keras", save_freq=5),
    "ModelCheckpoint with a hook of one's own": lambda path: _Checkpoint(path / "m.keras"),
    "BackupAndRestore by batches": lambda path: BackupAndRestore(path, save_freq=5),
    "TensorBoard by batches": lambda path: TensorBoard(path, update_freq=5),
    "TensorBoard, steps a second": lambda path: TensorBoard(path, write_steps_per_second=True),
}
EPOCHS: dict[str, Callable[[Path], Callback]] = {
    "none": lambda path: Callback(),
    "LambdaCallback": lambda path: LambdaCallback(on_epoch_end=print),
    "EarlyStopping": lambda path: EarlyStopping(),
    "ReduceLROnPlateau": lambda path: ReduceLROnPlateau(),
    "LearningRateScheduler": lambda path: LearningRateScheduler(lambda epoch: 0.1),
    "CSVLogger": lambda path: CSVLogger(path / "log.csv"),
    "SwapEMAWeights": lambda path: SwapEMAWeights(),
    "ModelCheckpoint": lambda path: ModelCheckpoint(path / "m.keras"),
    "BackupAndRestore": lambda path: BackupAndRestore(path),
    "TensorBoard": lambda path: TensorBoard(path),
    "test only": lambda path: _Test(),
}


@pytest.mark.parametrize("name", EVERY_BATCH)
def test_a_callback_with_a_hook_of_batches_sees_every_batch(name: str, tmp_path: Path) -> None:
    assert interval([Callback(), EVERY_BATCH[name](tmp_path)], "train") == 1


@pytest.mark.parametrize("name", EPOCHS)
def test_a_callback_of_epochs_costs_no_dispatches(name: str, tmp_path: Path) -> None:
    assert interval([EPOCHS[name](tmp_path)], "train") is None


def test_a_profile_needs_every_batch(tmp_path: Path) -> None:
    callback = TensorBoard(tmp_path)
    callback._should_trace = True  # as profile_batch sets it where TensorFlow can profile
    assert interval([callback], "train") == 1


def test_training_and_evaluation_are_told_apart() -> None:
    assert interval([_Test()], "test") == 1
    assert interval([_Test()], "train") is None
    assert interval([_Named()], "test") is None
    assert interval([], "train") is None


class _Every(trainer_callbacks.Callback):
    every_n_batches: int = 10

    def on_train_begin(self, logs: Any = None) -> None:
        self.seen: list[int] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen.append(batch)


def test_a_callback_tells_how_often_it_needs_to_be_called() -> None:
    assert interval([Callback(), _Every()], "train") == 10
    assert interval([_Every(), _Every(every_n_batches=15)], "train") == 5
    assert interval([_Every(), LambdaCallback(on_train_batch_end=print)], "train") == 1


@pytest.mark.parametrize("others", [[], [LambdaCallback(on_train_batch_end=lambda i, logs: None)]])
def test_each_callback_is_called_as_often_as_it_asked(others: list[Any]) -> None:
    ten, fifteen = _Every(), _Every(every_n_batches=15)
    x = np.zeros((8 * 32, 2), "float32")
    Regressor(epochs=1, batch_size=8, verbose=0, callbacks=[ten, fifteen, *others]).fit(x, x[:, 0])
    assert ten.seen == [9, 19, 29, 31], "and at the last batch"
    assert fifteen.seen == [14, 29, 31]
