"""A person sees how far running trials are."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_study import FakeStudy
from rich.console import Console

from search.reports.display import LiveTable
from search.study import progress
from search.study.progress import Progress
from trainer.history import History


def test_the_last_epoch_of_a_fit_is_written_while_it_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LOOKS", 0.01)
    trainer = SimpleNamespace(history_=History())
    trainer.history_.append(9, {"loss": 9.0}, learning_rate=0.1, seconds=1.0)
    with progress.shown(tmp_path, 3, 1, trainer):
        assert progress.read(tmp_path, 3) is None  # that was the history of an earlier fit
        trainer.history_ = History()
        for epoch in (1, 2):
            trainer.history_.append(epoch, {"loss": 1 / epoch}, learning_rate=0.1, seconds=1.0)
            while (found := progress.read(tmp_path, 3)) is None or found.epoch < epoch:
                threading.Event().wait(0.01)
            assert found.epoch == epoch and found.fit == 1 and found.logs["loss"] == 1 / epoch
    assert threading.active_count() == 1 or all(t.name != "look" for t in threading.enumerate())
    progress.file_of(tmp_path, 4).write_text('{"fit": 1, "ep')
    assert progress.read(tmp_path, 4) is None
    assert json.loads(progress.file_of(tmp_path, 3).read_text())["epoch"] == 2


def test_the_live_table_shows_epochs_and_logs() -> None:
    known = {1: Progress(2, 7, {"accuracy": 0.5, "loss": 0.25, "val_f1": 0.75})}
    console = Console(width=120, height=40, force_terminal=True, record=True)
    table = LiveTable(console, known.get)
    study = FakeStudy(table, objective="val_f1")
    table.on_search_begin(study)
    study.begin()
    study.begin(epochs=9)
    console.print(table._table(study))
    table.on_search_end(study)
    shown = console.export_text()
    assert "epoch" in shown and "7/9, fit 2" in shown
    assert "val_f1 0.75, loss 0.25" in shown and "accuracy" not in shown
