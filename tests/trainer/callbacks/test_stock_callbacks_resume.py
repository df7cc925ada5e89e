"""Keras' own callbacks: a run that is interrupted and goes on ends as the unbroken one."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from trainer import Regressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 4)).astype("float32")
Y = X[:, 0] - X[:, 1] ** 2
VALID = (X[:16] + 0.5, Y[:16])
Places = list[tuple[int, int]]
AT: list[Places] = [[(0, 4)], [(1, 6), (3, 0)], [(2, 2), (4, 4)]]


class Small(Regressor):
    epochs = 8
    batch_size = 8
    optimizer = "sgd"
    learning_rate = 0.3  # it swings
    metrics = ()
    random_state = 0
    verbose = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input(spec.input_shape),
                keras.layers.Dense(8, "tanh"),
                keras.layers.Dropout(0.2),
                keras.layers.Dense(1),
            ]
        )


@pytest.mark.parametrize("at", AT)
def test_early_stopping_stops_where_it_would_have(
    interrupted_run: Callable[..., Any], at: Places
) -> None:
    made: list[Any] = []

    def make(run_dir: str) -> Small:
        made.append(
            keras.callbacks.EarlyStopping(
                patience=3, min_delta=0.01, restore_best_weights=True, start_from_epoch=1
            )
        )
        return Small(epochs=30, run_dir=run_dir, callbacks=(made[-1],))

    whole, resumed = interrupted_run(make, X, Y, at=at, validation_data=VALID)
    assert 5 < len(whole.history_) < 30, "the test needs a stop"
    assert made[0].stopped_epoch == made[-1].stopped_epoch == len(whole.history_) - 1
    assert made[0].best_epoch == made[-1].best_epoch
    assert made[0].best == made[-1].best


@pytest.mark.parametrize("at", AT)
def test_reduce_lr_on_plateau_reduces_when_it_would_have(
    interrupted_run: Callable[..., Any], at: Places
) -> None:
    def make(run_dir: str) -> Small:
        plateau = keras.callbacks.ReduceLROnPlateau(
            factor=0.5, patience=1, cooldown=1, min_delta=0.02
        )
        return Small(run_dir=run_dir, callbacks=(plateau,))

    whole, _ = interrupted_run(make, X, Y, at=at, validation_data=VALID)
    assert len(set(whole.history_["learning_rate"])) >= 3, "the test needs two reductions"


@pytest.mark.parametrize("at", AT)
def test_model_checkpoint_keeps_the_best_model(
    interrupted_run: Callable[..., Any], tmp_path: Path, at: Places
) -> None:
    def make(run_dir: str) -> Small:
        best = keras.callbacks.ModelCheckpoint(
            tmp_path / f"{Path(run_dir).name}.keras", save_best_only=True, verbose=0
        )
        # the path is a part of the run's fields, and differs between the two runs only
        return Small(run_dir=run_dir, callbacks=(best,))

    whole, _ = interrupted_run(make, X, Y, at=at, validation_data=VALID)
    best_epoch, _ = whole.history_.best("val_loss")
    assert best_epoch < 8, "the test needs worse epochs after the best"
    kept, expected = (
        keras.saving.load_model(tmp_path / f"{name}.keras").get_weights()
        for name in ("resumed", "whole")
    )
    for ours, theirs in zip(kept, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("at", AT)
def test_a_csv_logger_has_every_epoch_once(
    interrupted_run: Callable[..., Any], tmp_path: Path, at: Places, append: bool
) -> None:
    def make(run_dir: str) -> Small:
        file = str(tmp_path / f"{Path(run_dir).name}.csv")
        made.append(keras.callbacks.CSVLogger(file, append=append))
        return Small(run_dir=run_dir, callbacks=(made[-1],))

    made: list[Any] = []
    interrupted_run(make, X, Y, at=at, validation_data=VALID)
    assert all(logger.append is append for logger in made)
    ours, theirs = (
        list(csv.DictReader((tmp_path / f"{name}.csv").open())) for name in ("resumed", "whole")
    )
    assert [row["epoch"] for row in theirs] == [str(epoch) for epoch in range(8)]
    assert ours == theirs


@pytest.mark.parametrize("at", AT)
def test_a_learning_rate_scheduler_goes_on_from_the_rate_that_it_had(
    interrupted_run: Callable[..., Any], at: Places
) -> None:
    def make(run_dir: str) -> Small:
        # the rate depends on the one before, which is the optimizer's
        slower = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.8 * rate)
        return Small(run_dir=run_dir, callbacks=(slower,))

    whole, _ = interrupted_run(make, X, Y, at=at, validation_data=VALID)
    expected = 0.3 * 0.8 ** np.arange(1, 9)
    np.testing.assert_allclose(whole.history_["learning_rate"], expected, rtol=1e-5)


def test_all_of_them_together_end_alike(
    interrupted_run: Callable[..., Any], tmp_path: Path
) -> None:
    def make(run_dir: str) -> Small:
        name = Path(run_dir).name
        return Small(
            run_dir=run_dir,
            callbacks=(
                keras.callbacks.EarlyStopping(patience=4, restore_best_weights=True),
                keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=1),
                keras.callbacks.ModelCheckpoint(
                    tmp_path / f"{name}.keras", save_best_only=True, monitor="loss"
                ),
                keras.callbacks.CSVLogger(str(tmp_path / f"{name}.csv"), append=True),
                keras.callbacks.TerminateOnNaN(),
            ),
        )

    interrupted_run(make, X, Y, at=[(0, 2), (1, 6)], validation_data=VALID)
    ours, theirs = ((tmp_path / f"{name}.csv").read_text() for name in ("resumed", "whole"))
    assert ours == theirs
