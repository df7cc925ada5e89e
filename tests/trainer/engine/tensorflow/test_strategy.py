"""What only the chief of several workers does, and what all of them do alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer import Classifier
from trainer.engine.tensorflow import plan, strategy

X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
Y = (X[:, 0] > 0).astype(int)


def fit(folder: Path, *callbacks: Any, **fields: Any) -> Classifier:
    settings = {"model": "mlp", "epochs": 2, "batch_size": 8, "verbose": 0, "random_state": 1}
    return Classifier(**settings | fields, callbacks=callbacks).fit(X, Y, validation_data=(X, Y))


def test_one_process_is_its_own_chief_and_agrees_with_itself() -> None:
    assert strategy.is_chief()
    assert strategy.agree(True) and not strategy.agree(False) and strategy.agree(7) == 7


def test_the_plugins_of_a_worker_that_is_not_the_chief_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plugins(folder: Path) -> list[Any]:
        return [
            {"name": "csv", "path": folder / "epochs.csv"},
            {"name": "checkpoint", "folder": folder / "checkpoints"},
            {"name": "tensorboard", "log_dir": folder / "tensorboard", "every_n_batches": 1},
        ]

    for name in ("chief", "other"):
        (tmp_path / name).mkdir()
    chief = fit(tmp_path, *plugins(tmp_path / "chief"))
    monkeypatch.setattr(strategy, "is_chief", lambda: False)
    other = fit(tmp_path, *plugins(tmp_path / "other"))
    assert len(list((tmp_path / "chief").iterdir())) == 3
    assert list((tmp_path / "other").iterdir()) == []
    for a, b in zip(chief.model_.get_weights(), other.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What this worker would do; another has a reason to act, and little memory."""
    found: list[Any] = []

    def agree(value: Any) -> Any:
        found.append(value)
        return True if isinstance(value, bool) else 1_000

    monkeypatch.setattr(strategy, "agree", agree)
    return found


def test_all_workers_hold_as_many_rows_as_the_smallest_can(asked: list[Any]) -> None:
    assert plan.resident_limit() == 1_000
    assert asked[0] > 1_000


def test_a_worker_stops_when_the_time_of_another_is_over(
    asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.callbacks.time_limit.agree", strategy.agree)
    limited = fit(tmp_path, {"name": "time_limit", "minutes": 60.0})
    assert len(limited.history_) == 1 and limited.callbacks_[0].reached
    assert False in asked


def test_a_worker_stops_at_once_when_another_was_signalled(
    asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.runs.checkpointing.agree", strategy.agree)
    stopped = fit(tmp_path, run_dir=tmp_path / "run", epochs=20)
    assert len(stopped.history_) == 0 and asked
