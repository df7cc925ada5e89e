"""The study's file: what is damaged is found and named, and each fault of the disk is one error."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from light_estimators import Bowl
from light_searches import R, Told, X, sklearn_search, tuner_search

from search.space import Space
from search.study import database
from search.study.database import NAME, TABLES, Database, Taken, explained
from search.study.folder import Folder
from search.study.storage import Store, Trial
from search.study.trial import Fold

DATA = Path(__file__).parents[2] / "data" / "v0_1_0"
SPACE = Space({"a": sklearn_search().space["a"]})


def _fit(directory: Path, **options: Any) -> Any:
    return sklearn_search(directory=directory, refit=False, **options).fit(X, R)


def _content(search: Any) -> Any:
    kept = search.results_.drop(columns="seconds")
    return [kept.to_json(double_precision=15), search.best_params_]


def _sql(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as changed:
        for statement in statements:
            changed.execute(statement)


# ---- damage ----------------------------------------------------------------------------------

DAMAGE = {
    "a score": (
        "update trials set score = score + 1e-9 where id = 2",
        "3 of 4 trials that can be read are intact; trial 2 is damaged: its row in trials: its che",
    ),
    "a parameter": (
        "update trials set params = '{\"a\": 0.5}' where id = 1",
        "3 of 4 .*; trial 1 is damaged: its row in trials",
    ),
    "a state": (
        "update trials set state = 'waiting', score = null where id = 0",
        "3 of 4 .*; trial 0 is damaged: its row in trials",
    ),
    "a result of a fold": (
        "update folds set score = 0 where trial = 3 and fold = 1",
        r"3 of 4 .*; trial 3 is damaged: its row in folds, fold 1, execution 0: its checksum",
    ),
    "a fold that is gone": (
        "delete from folds where trial = 3 and fold = 1",
        "table folds has 7 rows instead of 8",
    ),
    "a fold more": (
        "insert into folds select trial, 7, execution, score, metrics, fit_seconds, "
        "score_seconds, checksum from folds where trial = 3 and fold = 1",
        r"trial 3 is damaged: its row in folds, fold 7.* table folds has 9 rows instead of 8",
    ),
    "an epoch": (
        "update epochs set metrics = '{\"loss\": 0}' where trial = 0 and epoch = 2",
        r"3 of 4 .*; trial 0 is damaged: its row in epochs, fold 0, execution 0, epoch 2",
    ),
    "a trial that is gone": ("delete from trials where id = 1", "3 of 3 .*; trial 1 is missing"),
    "the last trial that is gone": (
        "delete from trials where id = 3",
        "a row of folds names a trial that does not exist.*table trials has 3 rows instead of 4",
    ),
    "the state of the proposer": (
        "update study set value = '{}' where name = 'proposer'",
        "4 of 4 .*; the study's value 'proposer' is damaged",
    ),
    "a value that is gone": (
        "delete from study where name = 'seed'",
        "4 of 4 .*; table study has . rows instead of .",
    ),
    "the sums": (
        "delete from study where name = 'sums'",
        "4 of 4 .*; the study's value 'sums' is missing",
    ),
    "a definition": (
        "alter table folds add column extra integer",
        "4 of 4 .*; the definition of table folds is not that of format 3",
    ),
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that has ended: four trials of two folds, one of them with epochs."""
    path = tmp_path_factory.mktemp("study")
    _fit(path)
    store = Store(path, SPACE)
    records = [{"epoch": i + 1, "loss": 1 / (i + 1)} for i in range(3)]
    ((score,),) = store._database.select("select score from folds where trial = 0 and fold = 0")
    store.add_folds(0, [Fold(0, 0, score, {}, 0.25, 0.25, records)])
    store.close()
    return path


@pytest.mark.parametrize(("change", "says"), DAMAGE.values(), ids=DAMAGE)
def test_what_is_damaged_and_what_is_whole_is_said(
    study: Path, tmp_path: Path, change: str, says: str
) -> None:
    directory = Path(shutil.copytree(study, tmp_path / "study"))
    _sql(directory / NAME, "pragma foreign_keys = off", change)
    before, fits = (directory / NAME).read_bytes(), len(Bowl.fits)
    with pytest.raises(ValueError, match=says) as caught:
        _fit(directory, resume=True)
    text = str(caught.value)
    assert text.startswith(f"directory={str(directory)!r}: study.sqlite is damaged: ")
    assert "Restore a backup copy, and the same call resumes from there. Or write another" in text
    assert f"sqlite3.connect({str(directory / NAME)!r})) reads them" in text
    assert (directory / NAME).read_bytes() == before, "nothing was changed"
    assert len(Bowl.fits) == fits, "nothing was trained"
    assert {p.name for p in directory.iterdir()} == {NAME, ".lock"}


def test_a_row_of_an_earlier_time_is_damage(tmp_path: Path) -> None:
    store = Store(tmp_path, SPACE)
    store.add(Trial(0, "0", {"a": 0.5}, seed=0))
    columns = f"{', '.join(TABLES['trials'].columns)}, checksum"
    (earlier,) = store._database.select(f"select {columns} from trials")
    store.end(Trial(0, "0", {"a": 0.5}, seed=0, state="completed", score=1.0))
    store.close()
    with closing(sqlite3.connect(tmp_path / NAME)) as changed, changed:
        changed.execute(f"replace into trials values ({', '.join('?' * len(earlier))})", earlier)
    with pytest.raises(ValueError, match="table trials holds rows of an earlier version"):
        Store(tmp_path, SPACE)


FINITE = st.floats(allow_nan=False) | st.none()
TEXT = st.text(st.characters(codec="utf-8"))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(FINITE, TEXT, st.dictionaries(TEXT, st.floats())), min_size=8))
def test_whatever_is_written_is_found_whole(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any]
) -> None:
    tmp_path = tmp_path_factory.mktemp("rows")
    store = Store(tmp_path, SPACE)
    with store.transaction():
        for i, (number, text, metrics) in enumerate(rows):
            trial = Trial(i, f"{i}{text}", {"a": number}, seed=2**31 + i)
            store.add(trial)
            trial.state, trial.score, trial.error, trial.metrics = "failed", number, text, metrics
            store.end(trial)
            store.add_folds(i, [Fold(0, 0, number, metrics, epochs=[{"epoch": 1, "x": 0.1}])])
    store.close()
    found = Store(tmp_path, SPACE)
    assert [(t.score, t.error, t.params["a"]) for t in found.trials()] == [
        (number, text, number) for number, text, _ in rows
    ]
    assert [repr(t.metrics) for t in found.trials()] == [repr(m) for _, _, m in rows]
    found.close()


def test_numbers_and_texts_that_sqlite_does_not_hold_are_no_damage(tmp_path: Path) -> None:
    store = Store(tmp_path, SPACE)
    for number, score in enumerate([-0.0, float("nan"), 3, float("inf")]):
        store.add(Trial(number, str(number), {"a": 0.0}, seed=0))
        store.end(
            Trial(number, "", {}, 0, state="failed", score=score, error="a\udcff\0b", ended=1)
        )
    store.close()
    store = Store(tmp_path, SPACE)
    assert [t.score for t in store.trials()] == [0.0, None, 3.0, float("inf")]
    assert {t.error for t in store.trials()} == {"a\\udcff\0b"}
    store.close()


# ---- what is no study ------------------------------------------------------------------------


def test_a_persons_database_is_refused_and_not_touched(tmp_path: Path) -> None:
    for mode in ("delete", "wal"):
        directory = tmp_path / mode
        directory.mkdir()
        file = directory / NAME
        _sql(file, f"pragma journal_mode = {mode}", "create table studies (id)")
        before = file.read_bytes()
        with pytest.raises(ValueError, match=r"not a study \(its tables: 'studies'\); write"):
            _fit(directory)
        assert file.read_bytes() == before
        assert {p.name for p in directory.iterdir()} == {NAME, ".lock"}


ODD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a folder": (lambda file: file.mkdir(), "study.sqlite is not a file; remove it"),
    "an empty file": (lambda file: file.touch(), "study.sqlite is empty: .* delete it if"),
    "the log alone": (
        lambda file: file.with_name(f"{NAME}-wal").write_bytes(b"log"),
        "study.sqlite is missing, and study.sqlite-wal beside it may hold its newest trials; put",
    ),
    "a text": (
        lambda file: file.write_text("text"),
        "study.sqlite in it is not a study .* write",
    ),
}


@pytest.mark.parametrize(("make", "says"), ODD.values(), ids=ODD)
def test_what_cannot_be_a_study_is_refused_by_name(
    tmp_path: Path, make: Callable[[Path], Any], says: str
) -> None:
    make(tmp_path / NAME)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    with pytest.raises(ValueError, match=says) as caught:
        _fit(tmp_path)
    assert repr(str(tmp_path)) in str(caught.value)
    (tmp_path / ".lock").unlink()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before


def test_only_a_study_that_this_call_began_is_deleted_with_it(tmp_path: Path) -> None:
    def ended_before_its_first_trial() -> None:
        with pytest.raises(RuntimeError, match="no trial has ended"):
            _fit(tmp_path, max_seconds=1e-9)

    ended_before_its_first_trial()
    assert {p.name for p in tmp_path.iterdir()} == {".lock"}
    Store(tmp_path, SPACE).close()  # as another call left it
    ended_before_its_first_trial()
    assert (tmp_path / NAME).exists()


# ---- version 0.1.0 ---------------------------------------------------------------------------


def test_a_study_of_0_1_0_gets_checksums_when_it_is_opened(tmp_path: Path) -> None:
    file = Path(shutil.copy(DATA / "studies" / "random" / NAME, tmp_path))
    with closing(sqlite3.connect(file)) as old:
        before = {
            name: old.execute(
                f"select {', '.join(table.earlier(1).columns)} from {name}"
            ).fetchall()
            for name, table in TABLES.items()
        }
    assert ("format", "1") in before["study"]
    opened = Database(file)
    assert opened.migrated
    opened.close()
    again = Database(file)
    assert not again.migrated
    for name in ("trials", "folds", "epochs"):
        names = ", ".join(TABLES[name].earlier(1).columns)
        assert again.select(f"select {names} from {name}") == before[name]
    values = dict(again.select("select name, value from study"))
    assert values["format"] == "3"
    assert {n: v for n, v in before["study"] if n != "format"}.items() <= values.items()
    again.close()
    _sql(file, "update trials set score = 0 where id = 0")
    with pytest.raises(ValueError, match="trial 0 is damaged"):
        Database(file)


def test_a_study_of_format_2_gets_the_new_columns_and_keeps_its_rows(tmp_path: Path) -> None:
    file = Path(shutil.copy(DATA.parent / "format_2" / NAME, tmp_path))
    with closing(sqlite3.connect(file)) as old:
        before = old.execute("select id, key, state, score, params, seed from trials").fetchall()
    assert len(before) == 4
    opened = Database(file)
    found = opened.select("select id, key, state, score, params, seed from trials")
    assert opened.migrated and found == before
    assert opened.select("select asked, told, memo, outcome from trials") == [(None,) * 4] * 4
    assert not opened.select("select * from study where name = 'unmarked'")
    opened.close()
    assert not (again := Database(file)).migrated
    again.close()


def test_a_study_of_format_2_is_resumed_with_more_trials(tmp_path: Path) -> None:
    shutil.copy(DATA.parent / "format_2" / NAME, tmp_path)
    resumed = tuner_search(directory=tmp_path, max_trials=6, refit=False).fit(X, R)
    apart = tuner_search(directory=tmp_path / "apart", max_trials=6, refit=False).fit(X, R)
    assert _content(resumed) == _content(apart)


def test_damage_to_a_study_of_format_2_is_found(tmp_path: Path) -> None:
    file = Path(shutil.copy(DATA.parent / "format_2" / NAME, tmp_path))
    _sql(file, "update trials set score = 0 where id = 1")
    with pytest.raises(ValueError, match="3 of 4 .* intact; trial 1 is damaged"):
        Database(file)


def test_a_migration_that_is_killed_leaves_the_study_as_it_was(tmp_path: Path) -> None:
    shutil.copy(DATA / "studies" / "random" / NAME, tmp_path)
    script = f"""
        import os, signal
        from pathlib import Path
        from search.study import database

        def killed(self):
            os.kill(os.getpid(), signal.SIGKILL)

        database.Database._make_tables = killed
        database.Database(Path({str(tmp_path / NAME)!r}))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)])
    assert done.returncode == -signal.SIGKILL
    opened = Database(tmp_path / NAME)
    assert opened.migrated
    assert len(opened.select("select * from trials")) == 3
    opened.close()


# ---- faults of the disk ----------------------------------------------------------------------


class AtTrial(Told):
    """Does something when a trial begins."""

    def __init__(self, number: int, what: Callable[[], Any]) -> None:
        super().__init__()
        self.number = number
        self.what = what

    def on_trial_begin(self, study: Any, trial: Trial) -> None:
        super().on_trial_begin(study, trial)
        if trial.id == self.number:
            self.what()


class Long(Bowl):
    """Fails with a reason that needs room."""

    def fit(self, x: Any, y: Any, sample_weight: Any = None) -> Any:
        if 0.5 < self.a < 0.6:
            raise ArithmeticError("x" * 20_000)
        return super().fit(x, y)


class Full(Told):
    """Lets the file grow no further from a trial on."""

    def on_trial_begin(self, study: Any, trial: Trial) -> None:
        super().on_trial_begin(study, trial)
        if trial.id == 3:
            opened = study._store._database
            ((pages,),) = opened.select("pragma page_count")
            opened.select(f"pragma max_page_count = {pages}")


def test_a_full_disk_when_a_trial_ends_is_said_and_the_same_call_resumes(tmp_path: Path) -> None:
    space = {"a": [0.1, 0.2, 0.3, 0.55, 0.6, 0.7]}

    def fit(name: str, **options: Any) -> Any:
        made = {"estimator": Long(), "space": space, "method": "grid", "refit": False}
        search = sklearn_search(directory=tmp_path / name, **made, **options)
        return search, lambda: search.fit(X, R)

    whole, run = fit("whole")
    with pytest.warns(UserWarning, match="1 of 6 trials failed"):
        run()
    told = Full()
    search, run = fit("study", callbacks=[told])
    with pytest.raises(OSError, match="study.sqlite could not be written: the disk is full. Make"):
        run()
    assert told.heard[-2:] == ["3 begins", "end"], "nobody was told that it had ended"
    store = Store(tmp_path / "study", search._space)
    assert [t.state for t in store.trials()] == ["completed"] * 3 + ["running"]
    store.close()
    again, run = fit("study", resume=True)
    with pytest.warns(UserWarning, match="1 of 6 trials failed"):
        run()
    assert _content(again) == _content(whole)


def test_a_fault_of_the_disk_while_a_study_is_written(tmp_path: Path) -> None:
    script = f"""
        import resource, signal, sys
        from pathlib import Path
        from search.space import Space
        from search.study.storage import Store, Trial

        store = Store(Path({str(tmp_path)!r}), Space({{}}))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        for i in range(3):
            store.add(Trial(i, str(i), {{}}, seed=0))
            store.settle()
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
        try:
            store.add(Trial(3, "3", {{}}, seed=0))
        except OSError as error:
            print(error.errno, error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True
    )
    assert done.stdout.startswith(f"{errno.EIO} "), done.stderr
    assert f"directory={str(tmp_path)!r}: study.sqlite could not be read or written" in done.stdout
    assert "the same call resumes from there" in done.stdout
    assert len(Store(tmp_path, Space({})).trials()) == 3


def test_another_program_that_writes_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "SECONDS_UNTIL_FREE", 0.01)
    store = Store(tmp_path, SPACE)
    with closing(sqlite3.connect(tmp_path / NAME, isolation_level=None)) as other:
        other.execute("begin immediate")
        with pytest.raises(
            OSError, match="being written to by another program .*; end it"
        ) as found:
            store.set("seed", 1)
        other.execute("rollback")
    assert found.value.errno == errno.EBUSY
    store.set("seed", 1)
    assert store.get("seed") == 1


def test_a_reader_does_not_stop_a_search(tmp_path: Path) -> None:
    readers = []

    def read() -> None:
        reader = sqlite3.connect(tmp_path / NAME)
        cursor = reader.execute("select * from study, study as other")
        readers.append((reader, cursor, cursor.fetchone()))  # and goes on reading

    search = _fit(tmp_path, callbacks=[AtTrial(1, read)])
    assert len(search.results_) == 4
    for reader, cursor, _ in readers:
        cursor.close()
        reader.close()
    assert _content(_fit(tmp_path, resume=True)) == _content(search)


def test_what_may_only_be_read_is_said(tmp_path: Path) -> None:
    Store(tmp_path, SPACE).close()
    file = tmp_path / NAME
    with (
        closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as reader,
        pytest.raises(sqlite3.OperationalError) as caught,
    ):
        reader.execute("create table a (b)")
    error = explained(caught.value, file)
    assert isinstance(error, OSError)
    assert error.errno == errno.EACCES
    assert f"directory={str(tmp_path)!r}: study.sqlite cannot be opened for writing" in str(error)
    assert "make sure that you may write to it and to the folder" in str(error)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_study_in_a_folder_of_somebody_else_is_refused_with_the_reason() -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        Store(directory, SPACE).close()
        (directory / ".lock").touch()
        (directory / ".lock").chmod(0o444)
        (directory / NAME).chmod(0o444)
        directory.chmod(0o555)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                if os.geteuid() == 0:  # who may write everywhere
                    os.setuid(65534)
                for opened in (Store, _open):
                    try:
                        opened(directory, SPACE)
                    except (OSError, ValueError) as error:
                        os.write(writing, f"{type(error).__name__}: {error}\n".encode())
            finally:
                os._exit(0)
        os.close(writing)
        with open(reading, encoding="utf-8") as told:
            stored, held = told.read().splitlines()
        os.waitpid(child, 0)
        directory.chmod(0o700)
    assert stored.startswith("PermissionError: ")
    assert f"directory={name!r}: study.sqlite cannot be opened for writing" in stored
    assert "(Permission denied); make sure that you may write to it and to the folder" in stored
    assert name in held
    assert "cannot be locked" in held


def _open(directory: Path, space: Space) -> Any:
    return Folder(directory, space, "auto", 0, lambda: 0)


# ---- two coordinators ------------------------------------------------------------------------


def test_a_search_whose_lock_was_lost_ends_and_leaves_the_study_to_the_other(
    tmp_path: Path,
) -> None:
    whole = _fit(tmp_path / "whole", n_iter=6)
    directory = tmp_path / "study"
    others = []

    def take_over() -> None:
        (directory / ".lock").unlink()
        others.append(_fit(directory, n_iter=6))

    first = sklearn_search(
        directory=directory, refit=False, n_iter=6, callbacks=[AtTrial(3, take_over)]
    )
    with pytest.raises(Taken, match="this search ends, and writes nothing more there") as caught:
        first.fit(X, R)
    assert repr(str(directory)) in str(caught.value)
    assert _content(others[0]) == _content(whole)
    assert _content(_fit(directory, n_iter=6, resume=True)) == _content(whole)


def test_of_two_who_opened_a_study_only_the_last_writes(tmp_path: Path) -> None:
    first, second = Store(tmp_path, SPACE), Store(tmp_path, SPACE)
    with pytest.raises(Taken, match=f"directory={str(tmp_path)!r}: .*another search has opened"):
        first.set("seed", 1)
    second.set("seed", 2)
    assert first.get("seed") == 2
    assert not first.unused, "so that it is not deleted under the other"


def test_who_lost_a_study_does_not_delete_the_others_data(tmp_path: Path) -> None:
    first = _open(tmp_path, SPACE)
    (tmp_path / ".lock").unlink()
    second = _open(tmp_path, SPACE)
    second.data.write_bytes(b"rows")
    first.remove_data()
    first.close()
    assert {p.name for p in tmp_path.iterdir()} >= {NAME, second.data.name}
    second.store.set("seed", 1)
    second.remove_data()
    assert not second.data.exists()
    second.close()


def test_a_search_that_was_killed_while_it_changed_the_journal_is_resumed(tmp_path: Path) -> None:
    Store(tmp_path, SPACE).close()
    _sql(tmp_path / NAME, "pragma journal_mode = delete")  # as where there can be no log
    live = tmp_path / "live"
    live.mkdir()
    with closing(sqlite3.connect(tmp_path / NAME, isolation_level=None)) as changed:
        changed.execute("pragma cache_size = 1")
        changed.execute("begin immediate")
        changed.execute("create table other (a)")
        changed.executemany("insert into other values (?)", [("x" * 4000,)] * 50)
        for path in tmp_path.glob(f"{NAME}*"):
            shutil.copy(path, live)
    assert (live / f"{NAME}-journal").stat().st_size > 0
    store = Store(live, SPACE)
    assert store._database.select("select name from sqlite_master where name = 'other'") == []
    store.close()


def test_a_study_that_is_removed_while_it_is_written_is_said(tmp_path: Path) -> None:
    for name, remove in (
        ("file", lambda folder: (folder / NAME).unlink()),
        ("folder", shutil.rmtree),
    ):
        directory = tmp_path / name
        search = sklearn_search(
            directory=directory,
            callbacks=[AtTrial(2, lambda: remove(directory))],  # noqa: B023
        )
        with pytest.raises(OSError, match="study.sqlite was removed or replaced while") as caught:
            search.fit(X, R)
        assert caught.value.errno == errno.ENOENT
        assert search.results_["state"].tolist()[:2] == ["completed", "completed"]
        assert not (directory / NAME).exists()
