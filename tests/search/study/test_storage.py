"""The study's file: what was committed is there after a kill, and nothing else is."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest

from search.space import Space
from search.study.storage import NAME, Store, Trial
from search.study.trial import Fold
from trainer import Choice, Int

LAYERS = Choice((8,), (8, 8), "none")
SPACE = Space({"units": Int(1, 8), "kind": Choice("a", None), "layers": LAYERS})


def _trial(number: int, **more: object) -> Trial:
    return Trial(number, str(number), {"units": 8, "kind": None}, seed=number, **more)  # type: ignore[arg-type]


def test_a_trial_comes_back_as_it_was_written(tmp_path: Path) -> None:
    store = Store(tmp_path, SPACE)
    store.add(_trial(0, epochs=3))
    store.start(0)
    store.end(_trial(0, state="completed", score=0.5, metrics={"val_loss": 0.25}, ended=9e9))
    store.add(_trial(1, epochs=9, parent=0, rung=1))
    store.end(_trial(1, state="failed", error="ValueError: no"))
    store.close()
    first, second = Store(tmp_path, SPACE).trials()
    assert (first.state, first.score, first.attempts) == ("completed", 0.5, 1)
    assert first.params == {"units": 8, "kind": None}
    assert first.metrics == {"val_loss": 0.25}
    assert first.started is not None and first.ended is not None
    assert first.started <= first.ended
    assert (second.state, second.score, second.error) == ("failed", None, "ValueError: no")
    assert (second.parent, second.rung, second.epochs) == (0, 1, 9)


def test_a_transaction_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    store = Store(tmp_path, SPACE)
    store.add(_trial(0))
    with pytest.raises(RuntimeError), store.transaction():
        store.end(_trial(0, state="completed", score=1.0))
        store.set("proposer", {"asked": 1})
        raise RuntimeError
    assert store.trials()[0].state == "waiting"
    assert store.get("proposer") is None


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from search.space import Space
    from search.study.storage import Store, Trial

    store = Store(Path(sys.argv[1]), Space({}))
    number = 0
    while True:
        with store.transaction():
            trial = Trial(number, str(number), {}, seed=0)
            store.add(trial)
            trial.state, trial.score = "completed", float(number)
            store.end(trial)
            store.set("proposer", {"asked": number + 1})
        number += 1
        print(number, flush=True)
"""


def test_trial_and_proposer_agree_after_a_kill(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    said = 0
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            said = int(line)
            if said == 25:
                os.kill(process.pid, signal.SIGKILL)
                break
    store = Store(tmp_path, SPACE)
    trials = store.trials()
    assert len(trials) >= said, "what was told as written is written"
    assert store.get("proposer") == {"asked": len(trials)}
    assert all(trial.state == "completed" for trial in trials)


def test_a_study_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    store = Store(tmp_path, SPACE)
    with store.transaction():
        store.add(_trial(0))
        with sqlite3.connect(tmp_path / NAME) as other:
            assert len(pd.read_sql("select * from trials", other)) == 0
    with sqlite3.connect(tmp_path / NAME) as other:
        assert pd.read_sql("select * from trials", other)["id"].tolist() == [0]


def test_epochs_and_folds_are_tables_with_a_column_a_metric(tmp_path: Path) -> None:
    store = Store(tmp_path, SPACE)
    store.add(_trial(0))
    epochs = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]
    for _ in range(2):  # a fit that is repeated
        store.add_folds(0, [Fold(0, 0, 0.75, {"accuracy": 0.75}, epochs=epochs)])
    frame = store.frame("epochs")
    assert frame[["trial", "fold", "epoch", "loss"]].to_numpy().tolist() == [
        [0, 0, 1, 0.5],
        [0, 0, 2, 0.25],
    ]
    assert store.frame("folds")["accuracy"].tolist() == [0.75]


def test_what_is_no_study_is_named(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"something else" * 100)
    with pytest.raises(ValueError, match="is not a study .* write another directory"):
        Store(tmp_path, SPACE)


def test_a_later_format_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path, SPACE)
    store.set("format", 4)
    store.close()
    with pytest.raises(ValueError, match="has format '4', and this version reads 1 to 3"):
        Store(tmp_path, SPACE)


def test_values_that_json_cannot_hold_come_back_as_what_they_were(tmp_path: Path) -> None:
    store = Store(tmp_path, SPACE)
    params = {"units": 3, "kind": None, "layers": (8, 8)}
    store.add(Trial(0, "0", params, seed=0))
    store.close()
    assert Store(tmp_path, SPACE).trials()[0].params == params


def test_epochs_of_a_parent_are_not_counted_again(tmp_path: Path) -> None:
    store = Store(tmp_path, SPACE)
    for number, (epochs, parent) in enumerate([(2, None), (5, 0)]):
        store.add(_trial(number, epochs=epochs, parent=parent))
        records: list[dict[str, float]] = [{"epoch": i + 1, "loss": 0.0} for i in range(epochs)]
        store.add_folds(number, [Fold(0, 0, 0.0, epochs=records)])
    assert (store.epochs_trained(0), store.epochs_trained(1)) == (2, 3)
    assert store.epochs_trained() == 5
