"""The description of study.sqlite, for people who read it, is what the file holds."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from search import store
from search.space import Space
from search.study.database import TABLES
from search.study.trial import Fold
from trainer import Choice, Float

SPACE = Space({"a": Float(0.0, 1.0), "kind": Choice("x", None)})


def _documented() -> dict[str, set[str]]:
    """The columns of each table, as the module's docstring lists them."""
    assert store.__doc__ is not None
    found: dict[str, set[str]] = {}
    table = ""
    listed = store.__doc__.partition("Tables, format")[2].partition("\n\nFormat 1")[0]
    for line in listed.split("\n\n", 1)[1].splitlines():
        head, names = line[4:13].strip(), re.split(r"\s{2,}", line[13:].strip())[0]
        if head:
            table = head
            found[table] = set()
        if not line[13:].startswith(" "):
            found[table] |= set(re.findall(r"[a-z_]+", names))
    return found


def test_every_column_is_described_and_no_other() -> None:
    documented = _documented()
    assert set(documented) == set(TABLES)
    for name, table in TABLES.items():
        described = documented[name]
        if name in ("folds", "epochs"):  # with words about the row beside them
            described &= set(table.columns)
        assert described == set(table.columns), name
    assert f"format {store.FORMAT};" in str(store.__doc__)


def test_the_query_of_the_description_reads_a_study_while_it_is_written(tmp_path: Path) -> None:
    study = store.Store(tmp_path, SPACE)
    study.add(store.Trial(0, "first", {"a": 0.25, "kind": None}, seed=3, epochs=2))
    study.start(0)
    with closing(sqlite3.connect(tmp_path / store.NAME)) as file:
        (row,) = pd.read_sql("select * from trials", file).to_dict("records")
        assert set(row) == {*TABLES["trials"].columns, "checksum"}
        assert (row["id"], row["key"], row["state"], row["attempts"]) == (0, "first", "running", 1)
        study.add_folds(0, [Fold(0, 1, 0.5, {"loss": 2.0}, 1.5, 0.5, [{"epoch": 1, "loss": 2.0}])])
        epochs = pd.read_sql("select * from epochs", file)
        assert epochs["epoch"].tolist() == [1], "counted from 1"
        assert json.loads(epochs["metrics"][0]) == {"loss": 2.0}
    study.close()


def test_a_trial_comes_back_from_its_row(tmp_path: Path) -> None:
    trial = store.Trial(0, "k", {"a": 0.5, "kind": "x"}, seed=1, memo=[1, {"b": None}], asked=4)
    study = store.Store(tmp_path, SPACE)
    study.add(trial)
    trial.state, trial.score, trial.ended, trial.told = "failed", None, 9.5, 5
    trial.error, trial.outcome = "ValueError: 中文", {"violations": [0.5]}
    study.end(trial)
    study.close()
    again = store.Store(tmp_path, SPACE)
    (found,) = again.trials()
    again.close()
    assert found == trial and not found.feasible


def test_a_trial_with_values_outside_of_the_space_is_named(tmp_path: Path) -> None:
    study = store.Store(tmp_path, SPACE)
    study.add(store.Trial(0, "k", {"a": 0.5, "kind": "x"}, seed=1))
    study.close()
    other = store.Store(tmp_path, Space({"b": Float(0.0, 1.0)}))
    with pytest.raises(ValueError, match="holds trial 0 with values outside the space"):
        other.trials()
    other.close()
