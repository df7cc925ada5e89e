"""Which callbacks must see every batch: that costs a dispatch for each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
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

from trainer.engine.hooks import check_callbacks, wants_batches


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
    assert wants_batches([Callback(), EVERY_BATCH[name](tmp_path)], "train")


@pytest.mark.parametrize("name", EPOCHS)
def test_a_callback_of_epochs_costs_no_dispatches(name: str, tmp_path: Path) -> None:
    assert not wants_batches([EPOCHS[name](tmp_path)], "train")


def test_a_profile_needs_every_batch(tmp_path: Path) -> None:
    callback = TensorBoard(tmp_path)
    callback._should_trace = True  # as profile_batch sets it where TensorFlow can profile
    assert wants_batches([callback], "train")


def test_training_and_evaluation_are_told_apart() -> None:
    assert wants_batches([_Test()], "test")
    assert not wants_batches([_Test()], "train")
    assert not wants_batches([_Named()], "test")
    assert not wants_batches([], "train")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (print, r"callbacks\[1\]=.*: must be a keras.callbacks.Callback object$"),
        (EarlyStopping, r"callbacks\[1\]=.*Callback object; write EarlyStopping\(\)$"),
    ],
)
def test_what_is_no_callback_is_named(wrong: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        check_callbacks([keras.callbacks.History(), wrong])
