"""TimeLimit: a training ends in order when its time is over, interruptions included."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from trainer import Regressor
from trainer.callbacks import TimeLimit, time_limit
from trainer.state import variables

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 4)).astype("float32")
Y = X[:, 0] - X[:, 1] ** 2


class Small(Regressor):
    epochs = 6
    batch_size = 8
    learning_rate = 0.05
    random_state = 0
    verbose = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(1)])


class Clock(keras.callbacks.Callback):
    """A clock that goes on by one second with each dispatch and with each epoch's end."""

    now = 0.0

    def __call__(self) -> float:
        return Clock.now

    def on_chunk_end(self, steps: int, logs: Any) -> None:
        Clock.now += 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        Clock.now += 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, short_dispatches: None) -> Clock:
    """An epoch takes four seconds: three dispatches of two steps, and its end."""
    made = Clock()
    monkeypatch.setattr(time_limit, "time", SimpleNamespace(monotonic=made))
    return made


@pytest.mark.parametrize(
    "fields", [{"seconds": 6}, {"minutes": 0.1}, {"minutes": 0.05, "seconds": 3}]
)
def test_training_stops_after_the_dispatch_in_which_the_limit_is_reached(
    fields: dict[str, float], clock: Clock
) -> None:
    limit = TimeLimit(**fields)
    steps = []
    seen = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: steps.append(logs))
    fitted = Small(callbacks=(clock, limit, seen)).fit(X, Y, validation_data=(X, Y))
    # the second dispatch of the second epoch ends with the sixth second; that epoch is validated
    # and recorded, but callbacks are told of whole epochs only
    assert int(fitted.model_.optimizer.iterations) == 6 + 4
    assert len(fitted.history_) == 2 and len(fitted.history_["val_loss"]) == 2
    assert fitted.history_.records[1]["val_loss"] == fitted.evaluate(X, Y)["loss"]
    assert len(steps) == 1
    assert limit.reached
    assert limit.elapsed == 6


def test_a_training_within_the_limit_is_not_stopped() -> None:
    limit = TimeLimit(minutes=60)
    before = time.monotonic()
    fitted = Small(callbacks=(limit,)).fit(X, Y)
    assert len(fitted.history_) == 6
    assert not limit.reached
    assert 0 < limit.elapsed <= time.monotonic() - before


def config(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return found


def test_a_run_that_the_limit_stopped_is_resumed_by_the_same_call_to_the_bytes_of_one_without_it(
    tmp_path: Path, clock: Clock
) -> None:
    def fitted(run: str, seconds: float) -> Small:
        stopping = {"name": "early_stopping", "patience": 9}
        limit = TimeLimit(seconds=seconds)
        return Small(
            callbacks=(stopping, "checkpoint", Clock(), limit), run_dir=tmp_path / run, shuffle=True
        ).fit(X, Y, validation_data=(X, Y))

    whole = fitted("whole", 1000)
    epochs = []
    for _ in range(20):
        found = fitted("run", 5)
        epochs.append(len(found.history_))
        assert (tmp_path / "run" / "model.keras").exists()
        if config(tmp_path / "run")["status"] == "finished":
            break
        assert config(tmp_path / "run")["status"] == "stopped"
        assert config(tmp_path / "run")["stopped_by"] == "time_limit"
    # of 24 seconds in all: the last batches of epoch 4 end with a limit, and so that epoch is whole
    assert epochs == [2, 3, 4, 6, 6]
    ours, theirs = (
        [np.asarray(v).tobytes() for v in variables.variables(t._network.core)]
        for t in (found, whole)
    )
    assert ours == theirs
    assert found.history_["loss"] == whole.history_["loss"]
    assert found.history_["val_loss"] == whole.history_["val_loss"]
    kept = {p.name for p in (tmp_path / "run" / "checkpoints").glob("epoch-*")}
    assert kept == {p.name for p in (tmp_path / "whole" / "checkpoints").glob("epoch-*")}
    log = (tmp_path / "run" / "run.log").read_text()
    assert log.count("stopped by time_limit") == 4 and log.count("resumes from") == 4
    again = fitted("run", 5)
    assert len(again.history_) == 6 and again.callbacks_[3].elapsed == found.callbacks_[3].elapsed
    assert "returned unchanged" in (tmp_path / "run" / "run.log").read_text()


def test_a_limit_within_the_first_epoch_leaves_a_record_and_a_run_to_resume(
    tmp_path: Path, short_dispatches: None
) -> None:
    limited = {"name": "time_limit", "seconds": 1e-6}
    fitted = Small(callbacks=(limited,), run_dir=tmp_path / "run").fit(X, Y)
    assert len(fitted.history_) == 1 and fitted.callbacks_[0].reached
    assert int(fitted.model_.optimizer.iterations) == 2
    assert (tmp_path / "run" / "model.keras").exists()
    resumed = Small(callbacks=(limited,), run_dir=tmp_path / "run").fit(X, Y)
    assert int(resumed.model_.optimizer.iterations) == 4
    with pytest.raises(ValueError, match="resume=False: .* a run that was stopped"):
        Small(callbacks=(limited,), run_dir=tmp_path / "run").fit(X, Y, resume=False)


def test_a_limit_that_the_last_epoch_reaches_leaves_a_finished_run(
    tmp_path: Path, clock: Clock
) -> None:
    limit = TimeLimit(seconds=4 * 6)
    fitted = Small(callbacks=(clock, limit), run_dir=tmp_path).fit(X, Y)
    assert limit.reached and len(fitted.history_) == 6
    assert config(tmp_path)["status"] == "finished"


def test_a_second_fit_of_the_same_object_has_all_the_time_again(clock: Clock) -> None:
    limit = TimeLimit(seconds=6)
    first = Small(callbacks=(clock, limit)).fit(X, Y)
    second = Small(callbacks=(clock, limit)).fit(X, Y)
    assert len(first.history_) == len(second.history_) == 2


@pytest.mark.parametrize("at", [[(0, 4)], [(1, 0)], [(0, 4), (1, 2)]])
def test_time_before_an_interruption_counts(
    interrupted_run: Callable[..., Any], clock: Clock, at: list[tuple[int, int]]
) -> None:
    limits: list[TimeLimit] = []

    def make(run_dir: str) -> Small:
        limits.append(TimeLimit(seconds=6))
        return Small(callbacks=(Clock(), limits[-1]), run_dir=run_dir)

    whole, resumed = interrupted_run(make, X, Y, at=at)
    assert len(resumed.history_) == len(whole.history_) == 2
    assert int(resumed.model_.optimizer.iterations) == 6 + 4
    assert limits[0].reached and limits[-1].reached
    assert limits[0].elapsed == limits[-1].elapsed == 6


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "minutes=None: there is no limit; write minutes=30, or seconds=90"),
        ({"minutes": 0}, "minutes=0: must be a finite number above 0"),
        ({"seconds": -1.0}, "seconds=-1.0: must be a finite number above 0"),
        ({"seconds": float("inf")}, "seconds=inf: must be a finite number above 0"),
        ({"minutes": "5"}, "minutes='5': must be a number above 0"),
    ],
)
def test_a_bad_field_is_named_before_training(fields: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Small(callbacks=(TimeLimit(**fields),)).fit(X, Y)
