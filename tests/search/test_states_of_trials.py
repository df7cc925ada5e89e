"""Folders of trials' states: what a kill leaves in them stops no trial, and spoils none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from search import Space
from search.evaluation import Evaluation
from search.study import Folder, discard
from search.trial import Job
from trainer import Float

CHILD = Job(5, {}, 1, epochs=9, parent=2, parent_epochs=3)


def _run(path: Path, status: str, epochs: int) -> Path:
    path.mkdir(parents=True)
    config = {"status": status, "fields": {"epochs": epochs}}
    (path / "config.json").write_text(json.dumps(config))
    (path / "of").write_text(path.parent.name)
    return path


def _prepare(folder: Path, job: Job) -> tuple[Any, Path]:
    evaluation = Evaluation(None, None, None, folder=folder)  # type: ignore[arg-type]
    path = folder / str(job.trial) / "0-0"
    return evaluation._prepare_run(job, path, "0-0"), path


def test_a_trial_goes_on_from_a_whole_copy_of_its_parent(tmp_path: Path) -> None:
    _run(tmp_path / "2" / "0-0", "finished", 3)
    half = tmp_path / "5" / ".0-0"  # a copy that was killed
    half.mkdir(parents=True)
    resume, path = _prepare(tmp_path, CHILD)
    assert resume is True
    assert (path / "of").read_text() == "2"
    assert not half.exists()


def test_a_trial_that_had_begun_goes_on_from_its_own_state(tmp_path: Path) -> None:
    _run(tmp_path / "2" / "0-0", "finished", 3)
    _run(tmp_path / "5" / "0-0", "unfinished", 9)
    resume, path = _prepare(tmp_path, CHILD)
    assert resume == "auto"
    assert (path / "of").read_text() == "5"


def test_a_trial_that_had_ended_unheard_is_run_again_from_its_parent(tmp_path: Path) -> None:
    _run(tmp_path / "2" / "0-0", "finished", 3)
    _run(tmp_path / "5" / "0-0", "finished", 9)
    resume, path = _prepare(tmp_path, CHILD)
    assert resume is True
    assert (path / "of").read_text() == "2"


def test_a_trial_whose_parents_state_is_gone_begins_at_the_beginning(tmp_path: Path) -> None:
    resume, path = _prepare(tmp_path, CHILD)
    assert resume == "auto"
    assert not path.exists()


def test_a_folder_is_deleted_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _run(tmp_path / "2" / "0-0", "finished", 3)
    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", lambda *args, **options: None)  # killed before it
        discard(path)
    assert not path.exists()
    assert (path.with_name(".0-0") / "config.json").exists()
    discard(path)
    assert not path.with_name(".0-0").exists()


def test_a_study_without_a_trial_may_become_another(tmp_path: Path) -> None:
    space = Space({"a": Float(0, 1)})

    def described(seed: int | None, text: str) -> int:
        folder = Folder(tmp_path, space, "auto", seed, lambda: 77)
        try:
            folder.describe({"estimator": text})
            return folder.seed
        finally:
            folder.close()

    assert described(1, "first") == 1
    assert described(None, "second") == 77, "one that ended before its first trial is forgotten"
    assert described(3, "third") == 3
