"""Reading a study's file: what is found in it, at which moment, and what is refused."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from search.space import Space
from search.study import reading
from search.study.database import FORMAT, NAME
from search.study.storage import Store, Trial
from search.study.trial import Fold
from trainer import Choice, Float, Int

SPACE = Space({"a": Float(0.0, 1.0), "kind": Choice("x", "y"), "n": Int(1, 3)})


def _begun(folder: Path) -> Store:
    folder.mkdir(parents=True, exist_ok=True)
    store = Store(folder, SPACE)
    store.set("description", {"objective": ["score", "max", None]})
    store.set("space", json.loads(json.dumps(SPACE.described())))
    return store


def _ended(store: Store, number: int, score: float) -> None:
    trial = Trial(number, str(number), {"a": score, "kind": "x", "n": 2}, seed=number)
    store.add(trial)
    store.start(number)
    folds = [
        Fold(
            f,
            0,
            score,
            {"mae": score / 2},
            1.0,
            0.5,
            [{"epoch": e, "loss": 1 / e} for e in (1, 2 + f)],
        )
        for f in (0, 1)
    ]
    store.add_folds(number, folds)
    trial.state, trial.score, trial.metrics = "completed", score, {"mae": score / 2}
    store.end(trial)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    store = _begun(tmp_path / "first")
    _ended(store, 0, 0.25)
    store.add(Trial(1, "1", {"a": 0.5, "kind": "y", "n": 1}, seed=1))
    store.close()
    return tmp_path / "first"


def test_a_study_is_read_as_it_was_written(study: Path) -> None:
    found = reading.read(str(study))
    assert found.directory == study and found.description == {"objective": ["score", "max", None]}
    assert [trial.state for trial in found.trials] == ["completed", "waiting"]
    assert found.trials[0].params == {"a": 0.25, "kind": "x", "n": 2}
    assert found.trials[0].metrics == {"mae": 0.125}
    assert found.seconds == {0: 3.0} and found.last_epochs == {0: 2.5}
    assert found.space.described() == SPACE.described()
    folds = found.frame("folds")
    assert folds["mae"].tolist() == [0.125, 0.125] and folds["fold"].tolist() == [0, 1]
    assert found.frame("epochs")["epoch"].tolist() == [1, 2, 1, 3]


def test_the_file_itself_and_a_path_name_the_folder_too(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(study.parent)
    for name in (study / NAME, "first", Path("first"), f"first/{NAME}"):
        assert reading.read(name).directory == study


def test_reading_leaves_the_folder_as_it_was(study: Path) -> None:
    before = {path.name: path.read_bytes() for path in study.iterdir()}
    times = {path.name: path.stat().st_mtime_ns for path in study.iterdir()}
    reading.read(study).frame("epochs")
    assert {path.name: path.read_bytes() for path in study.iterdir()} == before
    assert {path.name: path.stat().st_mtime_ns for path in study.iterdir()} == times


def test_a_search_that_writes_is_read_as_of_now_and_frames_as_of_the_reading(
    tmp_path: Path,
) -> None:
    store = _begun(tmp_path)
    _ended(store, 0, 0.25)
    found = reading.read(tmp_path)
    _ended(store, 1, 0.5)
    with store.transaction():
        store.set("later", 1)
        assert "later" not in reading.read(tmp_path).values, "half of it is not seen"
    assert len(found.trials) == 1 and found.frame("folds")["trial"].unique().tolist() == [0]
    again = reading.read(tmp_path)
    assert len(again.trials) == 2 and again.values["later"] == 1
    store.close()


@pytest.mark.parametrize("given", [None, 3, "", b""])
def test_what_is_no_name_of_a_folder_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match=rf"^directory={given!r}: .*write load_study\('studies"):
        reading.read(given)


def test_a_folder_without_a_study_says_what_to_write(study: Path) -> None:
    with pytest.raises(ValueError, match="there is no such folder; did you mean 'first'"):
        reading.read(study.parent / "firsd")
    with pytest.raises(ValueError, match=rf"its folders do; write {str(study)!r}"):
        reading.read(study.parent)
    (study.parent / "empty").mkdir()
    with pytest.raises(ValueError, match=rf"holds no study \({NAME} is missing\); write the dir"):
        reading.read(study.parent / "empty")


def test_a_study_that_has_not_begun_says_when_to_load_it(tmp_path: Path) -> None:
    store = Store(tmp_path, SPACE)
    with pytest.raises(ValueError, match="has not begun yet; load it when its first trial"):
        reading.read(tmp_path)
    store.close()


def _change(study: Path, *statements: str) -> None:
    with closing(sqlite3.connect(study / NAME, isolation_level=None)) as file:
        file.execute("pragma foreign_keys = off")
        for statement in statements:
            file.execute(statement)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("update trials set score = 0.75 where id = 0", "1 of 2 rows of the table trials .*of 0;"),
        ("update study set value = '9' where name = 'space'", "of the table study .*of space; res"),
        ("drop table epochs", r"is not a study \(its tables: folds, study, trials\)"),
        (
            f"update study set value = '{FORMAT + 1}' where name = 'format'",
            f"has format {FORMAT + 1}, and this version reads 1 to {FORMAT}; install the version",
        ),
        ("delete from study where name = 'format'", "has format missing"),
    ],
)
def test_damage_and_other_formats_are_named(study: Path, change: str, says: str) -> None:
    _change(study, change)
    with pytest.raises(ValueError, match=says) as caught:
        reading.read(study)
    assert str(caught.value).startswith(f"directory={str(study)!r}: ")


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_a_file_that_is_no_database_is_refused_with_its_folder(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(ValueError, match="study.sqlite") as caught:
        reading.read(tmp_path)
    assert repr(str(tmp_path)) in str(caught.value)


def test_metrics_become_columns_but_never_replace_one_of_the_tables() -> None:
    rows = [(0, 0.5, '{"loss": 1.0, "score": 9.0}'), (1, None, '{"other": 2.0}')]
    found = reading.framed(rows, ["trial", "score", "metrics"])
    assert list(found) == ["trial", "score", "loss", "other"]
    assert found["score"].tolist()[0] == 0.5 and found["score"].isna().tolist() == [False, True]
    assert list(reading.framed([], ["trial", "score", "metrics"])) == ["trial", "score"]
