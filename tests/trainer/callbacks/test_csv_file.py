"""CSVFile: the history is a file while the training goes on."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from trainer import Regressor
from trainer.callbacks import CSVFile

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 4)).astype("float32")
Y = X[:, 0] - X[:, 1] ** 2


class Small(Regressor):
    epochs = 3
    batch_size = 8
    learning_rate = 0.05
    random_state = 0
    verbose = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(1)])


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_the_file_has_one_row_an_epoch_as_the_history_has(tmp_path: Path) -> None:
    fitted = Small(callbacks=(CSVFile(path=tmp_path / "log.csv"),)).fit(X, Y)
    fitted.history_.to_csv(tmp_path / "expected.csv")
    assert (tmp_path / "log.csv").read_bytes() == (tmp_path / "expected.csv").read_bytes()
    found = rows(tmp_path / "log.csv")
    assert [row["epoch"] for row in found] == ["1", "2", "3"]
    assert [float(row["loss"]) for row in found] == fitted.history_["loss"]
    assert [float(row["learning_rate"]) for row in found] == pytest.approx([0.05] * 3)


def test_a_row_is_there_when_the_next_epoch_begins(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    seen: list[int] = []
    look = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: seen.append(len(rows(path)) if path.exists() else 0)
    )
    Small(callbacks=({"name": "csv", "path": str(path)}, look)).fit(X, Y)
    assert seen == [0, 1, 2]


def test_the_rows_of_a_training_that_failed_stay(tmp_path: Path) -> None:
    def fail(epoch: int, logs: Any) -> None:
        if epoch == 2:
            raise RuntimeError("stop here")

    callbacks = (
        CSVFile(path=tmp_path / "log.csv"),
        keras.callbacks.LambdaCallback(on_epoch_end=fail),
    )
    with pytest.raises(RuntimeError, match="stop here"):
        Small(callbacks=callbacks).fit(X, Y)
    assert [row["epoch"] for row in rows(tmp_path / "log.csv")] == ["1", "2"]


def test_a_second_fit_of_the_same_object_writes_anew(tmp_path: Path) -> None:
    written = CSVFile(path=tmp_path / "log.csv")
    Small(callbacks=(written,)).fit(X, Y)
    fitted = Small(epochs=2, callbacks=(written,)).fit(X + 1, Y)
    assert [float(row["loss"]) for row in rows(tmp_path / "log.csv")] == fitted.history_["loss"]


@pytest.mark.parametrize("at", [[(0, 2)], [(1, 4), (2, 0)], [(2, 5)]])
def test_an_interrupted_run_ends_with_the_same_file(
    interrupted_run: Callable[..., Any], tmp_path: Path, at: list[tuple[int, int]]
) -> None:
    def make(run_dir: str) -> Small:
        return Small(callbacks=("csv",), validation_split=0.25, run_dir=run_dir)

    interrupted_run(make, X, Y, at=at)
    whole, resumed = (rows(tmp_path / name / "epochs.csv") for name in ("whole", "resumed"))
    assert len(whole) == 3
    assert [{**row, "seconds": ""} for row in resumed] == [{**row, "seconds": ""} for row in whole]


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        (None, ValueError, "path=None: there is no run_dir to write to; write path='epochs.csv'"),
        (3, TypeError, "path=3: must be a path"),
        ("", TypeError, "path='': must be a path"),
        (".", IsADirectoryError, "path='.': is a folder; write path='epochs.csv'"),
        ("no/log.csv", FileNotFoundError, "path='no/log.csv': there is no folder 'no'"),
    ],
)
def test_a_bad_path_is_named_before_training(
    path: Any,
    error: type[Exception],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        Small(callbacks=(CSVFile(path=path),)).fit(X, Y)
    assert not list(tmp_path.iterdir())
