"""A study's directory: a search deletes and writes what is its own, and nothing else."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from light_estimators import Bowl
from light_searches import R, Told, X, sklearn_search

from search.study.database import FORMAT
from search.study.storage import NAME
from search.study.trial_folders import MARK, TrialFolders

DATA = Path(__file__).parents[2] / "data" / "v0_1_0"
STUDY = "0123456789abcdef"


def _snapshot(folder: Path, *but: str) -> dict[str, bytes | str]:
    """All names below a folder, with what is in files and where links lead."""
    return {
        str(path.relative_to(folder)): os.readlink(path)
        if path.is_symlink()
        else (path.read_bytes() if path.is_file() else "folder")
        for path in sorted(folder.rglob("*"))
        if path.relative_to(folder).parts[0] not in but
    }


def _put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"a person's {name}")


def _fit(directory: Any, **options: Any) -> tuple[Any, list[str]]:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        search = sklearn_search(directory=directory, **options).fit(X, R)
    return search, [str(w.message) for w in told]


# ---- what is somebody else's -----------------------------------------------------------------


def test_what_a_search_did_not_make_is_left_alone_and_named_once(tmp_path: Path) -> None:
    study, elsewhere = tmp_path / "study", tmp_path / "elsewhere"
    _put(elsewhere, "precious")
    names = [".git/config", ".3/notes", ".0/0-0/notes", "0/thesis", "1/0-0/notes", "2024/a"]
    names += ["²/a", "٣/a", "03/a", "-1/a", "1_0/a", "notes.txt", "3", "backup/.trial.json"]
    _put(study / "trials", *names)
    (study / "trials" / ".ssh").symlink_to(elsewhere)
    (study / "trials" / "2").mkdir()
    _put(study, "data.joblib", f".{'0' * 16}.tmp", "data", "notes/a.txt", ".git/config")
    _put(study, f".{NAME}", "model.keras", "study-wal")
    before = _snapshot(study)
    _, told = _fit(study, n_iter=3)
    _, again = _fit(study, n_iter=6)
    after = _snapshot(study)
    assert {name: after.get(name) for name in before} == before
    assert after.keys() - before.keys() == {NAME, ".lock"}
    assert _snapshot(elsewhere) == {"precious": b"a person's precious"}
    for said in (told, again):
        (warning,) = said
        assert f"{str(study / 'trials')!r}: '-1', " in warning
        assert "'.git', '.ssh'" in warning
        assert "6 more in it were not made by this study; they are neither used nor dele" in warning


def test_trials_whose_number_is_taken_use_another_name(tmp_path: Path) -> None:
    folders = TrialFolders(tmp_path / "trials", STUDY)
    _put(folders.path, "3/thesis", "4")
    (folders.path / "5").mkdir()
    before = _snapshot(folders.path)
    made = [folders.make(number) for number in (3, 4, 5, 6)]
    assert [path.name for path in made] == [f"3-{STUDY}", f"4-{STUDY}", f"5-{STUDY}", "6"]
    assert [folders.make(number) for number in (3, 4, 5, 6)] == made, "and go on using it"
    assert folders.numbers() == [3, 4, 5, 6]
    assert folders.strangers() == ["3", "4", "5"]
    for number in folders.numbers():
        folders.discard(number)
    assert _snapshot(folders.path) == before


def test_a_folder_of_another_study_or_trial_is_a_strangers(tmp_path: Path) -> None:
    folders = TrialFolders(tmp_path / "trials", STUDY)
    other = TrialFolders(tmp_path / "trials", "f" * 16)
    other.make(0)
    shutil.copytree(folders.make(1), folders.path / "2")  # by a person
    assert folders.numbers() == [1]
    assert folders.strangers() == ["0", "2"]
    folders.discard(0)
    folders.discard(2)
    assert sorted(p.name for p in folders.path.iterdir()) == ["0", "1", "2"]


# ---- kills -----------------------------------------------------------------------------------

OPERATIONS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")


def _killed_before(n: int, root: Path, action: Callable[[], Any]) -> bool:
    """Do it in a process that SIGKILL ends before its n-th operation in the folder."""
    child = os.fork()
    if child == 0:
        seen = 0

        def look(event: str, arguments: Any) -> None:
            nonlocal seen
            if event in OPERATIONS:
                # within a folder that is deleted, names are relative to it
                inside = str(arguments[0]).startswith(str(root)) or event == "os.remove"
                seen += inside
                if inside and seen == n:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(look)
            action()
            os._exit(0)
        except BaseException:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert status == 0 or os.WTERMSIG(status) == signal.SIGKILL
    return status != 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("what", ["make", "discard"])
def test_whatever_a_kill_leaves_is_recognised_as_the_studys(tmp_path: Path, what: str) -> None:
    n = 0
    killed = True
    while killed:
        n += 1
        folders = TrialFolders(tmp_path / str(n) / "trials", STUDY)
        _put(folders.path, ".git/config", "2024/a")
        before = _snapshot(folders.path)
        if what == "discard":
            for name in ("0-0/checkpoints/state", "0-0/config.json", "1-0/config.json"):
                _put(folders.make(7), name)
        killed = _killed_before(n, folders.path, lambda: getattr(folders, what)(7))  # noqa: B023
        for path in folders.path.iterdir():
            if path.name == "7":  # under its final name it is whole
                assert json.loads((path / MARK).read_text()) == {"study": STUDY, "trial": 7}
                if what == "discard":
                    assert len(list(path.rglob("*"))) == 7
        folders.clean()
        assert folders.strangers() == [".git", "2024"]
        folders.discard(7)
        assert _snapshot(folders.path) == before
    assert n > (6 if what == "discard" else 3), "too few kills to prove anything"


def test_a_persons_file_in_a_folder_that_is_being_made_stays(tmp_path: Path) -> None:
    folders = TrialFolders(tmp_path, STUDY)
    _put(tmp_path, f".7-{STUDY}/notes")
    folders.clean()
    assert (tmp_path / f".7-{STUDY}" / "notes").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    import resource

    folders = TrialFolders(tmp_path / "trials", STUDY)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        said = ""
        try:
            folders.make(3)
        except OSError as error:
            said = str(error)
        whole = f"directory={str(tmp_path)!r}: the folder of trial 3 in trials could not be created"
        os._exit(0 if whole in said else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert folders.numbers() == []
    folders.clean()
    assert list(folders.path.iterdir()) == []
    assert folders.make(3).name == "3"


# ---- links -----------------------------------------------------------------------------------

LINKS = [NAME, *(f"{NAME}-{end}" for end in ("wal", "shm", "journal")), ".lock", ".holder.json"]
LINKS += ["trials", "trials/0", "trials/17", "trials/3-{study}", "trials/.3-{study}"]
LINKS += ["data-{study}.joblib", "trials/1/0-0", "trials/1/.0-0"]


@pytest.mark.parametrize("whole", [True, False], ids=["", "dangling"])
@pytest.mark.parametrize("name", LINKS)
def test_a_link_in_the_directory_is_refused_by_name(tmp_path: Path, name: str, whole: bool) -> None:
    study, elsewhere = tmp_path / "study", tmp_path / "elsewhere"
    _put(elsewhere, "file", "trials/0/precious")
    own = "{study}" in name or "/1/" in name
    if own:
        _fit(study, n_iter=1)
        identity = _identity(study)
        TrialFolders(study / "trials", identity).make(1)
        name = name.format(study=identity)
    link = study / name
    link.parent.mkdir(parents=True, exist_ok=True)
    target = {"trials": "trials", "trials/0": "trials/0"}.get(name, "file")
    link.symlink_to(elsewhere / target if whole else tmp_path / "none")
    before, fits = _snapshot(tmp_path), len(Bowl.fits)
    with pytest.raises(ValueError, match="in it is a link to") as caught:
        _fit(study)
    assert repr(name) in str(caught.value)
    assert repr(str(study)) in str(caught.value)
    assert len(Bowl.fits) == fits, "nothing was trained"
    after = _snapshot(tmp_path)
    if own:  # that it was opened is noted in it
        for found in (before, after):
            del found[f"study/{NAME}"]
    assert {n: after[n] for n in before} == before
    assert {Path(n).name for n in after.keys() - before.keys()} <= {NAME, ".lock"}
    assert not (tmp_path / "none").exists()


def _identity(study: Path) -> str:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(study / NAME)) as database:
        ((text,),) = database.execute("select value from study where name = 'identity'")
    return str(json.loads(text))


def test_a_file_in_the_place_of_trials_is_refused(tmp_path: Path) -> None:
    _put(tmp_path, "trials")
    with pytest.raises(ValueError, match="trials in it is not a folder; move it away"):
        _fit(tmp_path)


def test_a_directory_that_is_a_link_is_resolved_once(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    class Turn(Told):
        def on_trial_end(self, study: Any, trial: Any) -> None:
            super().on_trial_end(study, trial)
            if trial.id == 0:
                (tmp_path / "link").unlink()
                (tmp_path / "link").symlink_to(tmp_path)

    search, _ = _fit(tmp_path / "link", callbacks=[Turn()])
    assert search.directory_ == str(tmp_path / "real")
    assert (tmp_path / "real" / NAME).exists()
    assert not (tmp_path / NAME).exists()
    whole, _ = _fit(tmp_path / "real", resume=True)
    assert whole.results_["score"].tolist() == search.results_["score"].tolist()


def test_a_relative_directory_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()

    class Leave(Told):
        def on_trial_begin(self, study: Any, trial: Any) -> None:
            os.chdir(tmp_path / "other")

    search, _ = _fit("study", callbacks=[Leave()])
    assert search.directory_ == str(tmp_path / "study")
    assert list((tmp_path / "other").iterdir()) == []
    told = Told()
    _fit(tmp_path / "study", callbacks=[told], resume=True)
    assert told.heard == ["begin 4", "end"]


def test_a_directory_with_a_name_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"directory='a\\x00b': not a valid folder name .*write"):
        _fit("a\0b")


# ---- version 0.1.0 ---------------------------------------------------------------------------


def test_folders_of_0_1_0_are_recognised_by_what_is_in_them(tmp_path: Path) -> None:
    folders = TrialFolders(tmp_path / "trials", STUDY)
    run = DATA / "studies" / "random_unfinished" / "trials" / "0" / "0-0"
    for name in ("0/0-0", "1/0-0", "1/1-0", ".2/0-0", "3/0-0", "2024/0-0", "5/mine"):
        shutil.copytree(run, folders.path / name)
    (folders.path / ".2" / "0-0" / "config.json").unlink()  # it was being deleted
    _put(folders.path, "3/thesis", "4/0-0/notes", ".git/0-0/notes", ".1/notes", "6")
    before = _snapshot(folders.path)
    folders.adopt(8)
    assert folders.numbers() == [0, 1]
    folders.clean()
    assert folders.strangers() == [".1", ".git", "2024", "3", "4", "5", "6"]
    folders.discard(0)
    folders.discard(1)
    gone = ("0", "1", ".2")
    assert _snapshot(folders.path) == {
        name: found for name, found in before.items() if Path(name).parts[0] not in gone
    }


def test_data_that_a_killed_search_of_0_1_0_left_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import joblib

    from search.study import data

    class Data(data.Data):
        """As version 0.1.0 pickled it, in which the module was search.data."""

    Data.__module__, Data.__qualname__ = "search.data", "Data"
    there = types.ModuleType("search.data")
    there.Data = Data  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "search.data", there)

    study = Path(shutil.copytree(DATA / "studies" / "light", tmp_path / "study"))
    joblib.dump(Data(X, R), study / "data.joblib")
    assert _open(study) == FORMAT
    assert not (study / "data.joblib").exists()
    joblib.dump(Data(X, R), study / "data.joblib")  # later it is a person's
    assert _open(study) == FORMAT
    assert (study / "data.joblib").exists()


def _open(study: Path) -> int:
    from search.space import Space
    from search.study.folder import Folder
    from trainer import Float, Int

    folder = Folder(study, Space({"a": Float(-1, 1), "b": Int(1, 2)}), True, None, lambda: 0)
    try:
        return int(folder.store.get("format"))
    finally:
        folder.close()


def test_a_lock_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(hold: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))  # as read raises it, without a name

    monkeypatch.setattr("search.study.folder.Hold.check", check)
    with pytest.raises(OSError, match="whether this search still holds it cannot be") as caught:
        _fit(tmp_path)
    assert f"directory={str(tmp_path)!r}: " in str(caught.value)
