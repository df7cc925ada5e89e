"""run_log: a line for each epoch, and a history that costs little of the training's time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from sessions import session

from trainer.callbacks.folders import WRITE_SHARE
from trainer.history import History
from trainer.runs import run_log
from trainer.runs.directory import Run
from trainer.runs.run_log import RunLog

DESCRIBED = {
    "class": "Small",
    "fields": {"epochs": 1},
    "code": {},
    "data": {"training": None, "validation": None},
}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[RunLog]:
    run = Run.open(tmp_path / "run", DESCRIBED, "auto", 0, own_seed=False)
    made = RunLog(run=run)
    made.session = session(history=History())
    yield made
    run.close()


def lines(log: RunLog) -> list[str]:
    return (log.run.path / "run.log").read_text().splitlines()


def test_every_epoch_has_a_line_with_its_time_and_its_logs(log: RunLog) -> None:
    before = len(lines(log)) if (log.run.path / "run.log").exists() else 0
    log.on_epoch_end(0, {"loss": 0.123456789, "val_loss": 2.0})
    log.on_epoch_end(1)
    first, second = lines(log)[before:]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d.*  epoch 1  loss 0\.123457  val_loss 2", first)
    assert second.rstrip().endswith("epoch 2")


def test_the_name_of_a_metric_cannot_write_a_line_of_its_own(log: RunLog) -> None:
    log.on_epoch_end(0, {"loss": 1.0})
    before = len(lines(log))
    log.on_epoch_end(1, {"a\nepoch 9  loss": 1.0, "b\x1b[31m": 2.0})
    assert len(lines(log)) == before + 1 and "\x1b" not in lines(log)[-1]


def test_the_history_is_written_when_the_next_epoch_begins(log: RunLog) -> None:
    file = log.run.path / "history.csv"
    log.on_epoch_begin(0)
    assert not file.exists(), "there is nothing to write yet"
    log.session.history.append(1, {"loss": 0.5}, learning_rate=0.1, seconds=1.0)
    log.on_epoch_begin(1)
    assert History.from_csv(file) == log.session.history


def test_the_history_is_not_written_again_before_training_took_many_times_as_long(
    log: RunLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(run_log, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    written: list[int] = []

    def slow(history: History) -> None:
        now[0] += 2.0
        written.append(len(history))

    monkeypatch.setattr(log.run, "history", slow)
    for seconds in (1.0, 1.0, 2 * WRITE_SHARE - 3.0, 3.0):
        epoch = len(log.session.history) + 1
        log.session.history.append(epoch, {"loss": 0.5}, learning_rate=0.1, seconds=1.0)
        now[0] += seconds
        log.on_epoch_begin(epoch)
    assert written == [1, 4]
