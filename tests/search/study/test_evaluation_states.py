"""Folders of trials' states: what a kill leaves in them stops no trial, and spoils none."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search import Space
from search.study.evaluation import Evaluation
from search.study.folder import Folder
from search.study.trial import Job
from search.study.trial_folders import TrialFolders
from trainer import Float

CHILD = Job(5, {}, 1, epochs=9, parent=2, parent_epochs=3)


STUDY = "0123456789abcdef"


DATA = {"training": {}, "validation": None}


def _run(path: Path, status: str, epochs: int) -> Path:
    path.mkdir(parents=True)
    own = {"format": 1, "class": "Net", "data": DATA, "run": "0" * 16, "seed": 1, "begun": "now"}
    config = own | {"status": status, "fields": {"epochs": epochs}}
    (path / "config.json").write_text(json.dumps(config))
    (path / "of").write_text(path.parent.name)
    return path


def _prepare(folders: TrialFolders, job: Job) -> tuple[Any, Path]:
    evaluation = Evaluation(None, None, None, folders=folders)  # type: ignore[arg-type]
    path = folders.make(job.trial) / "0-0"
    return evaluation._prepare_run(job, path, "0-0"), path


@pytest.fixture
def folders(tmp_path: Path) -> TrialFolders:
    return TrialFolders(tmp_path / "trials", STUDY)


def test_a_trial_goes_on_from_a_whole_copy_of_its_parent(folders: TrialFolders) -> None:
    _run(folders.make(2) / "0-0", "finished", 3)
    half = folders.make(5) / ".0-0"  # a copy that was killed
    half.mkdir()
    (half / "left").touch()
    resume, path = _prepare(folders, CHILD)
    assert resume is True
    assert (path / "of").read_text() == "2"
    assert not half.exists()
    assert not (path / "left").exists()


def test_a_trial_that_had_begun_goes_on_from_its_own_state(folders: TrialFolders) -> None:
    _run(folders.make(2) / "0-0", "finished", 3)
    _run(folders.make(5) / "0-0", "unfinished", 9)
    resume, path = _prepare(folders, CHILD)
    assert resume == "auto"
    assert (path / "of").read_text() == "5"


def test_a_trial_that_had_ended_unheard_is_run_again_from_its_parent(
    folders: TrialFolders,
) -> None:
    _run(folders.make(2) / "0-0", "finished", 3)
    _run(folders.make(5) / "0-0", "finished", 9)
    resume, path = _prepare(folders, CHILD)
    assert resume is True
    assert (path / "of").read_text() == "2"
    assert not path.with_name(".0-0").exists()


def test_a_trial_whose_parents_state_is_gone_begins_at_the_beginning(
    folders: TrialFolders,
) -> None:
    resume, path = _prepare(folders, CHILD)
    assert resume == "auto"
    assert not path.exists()


def test_a_parent_is_not_a_strangers_folder_with_its_number(folders: TrialFolders) -> None:
    _run(folders.path / "2" / "0-0", "finished", 3)
    resume, path = _prepare(folders, CHILD)
    assert resume == "auto"
    assert not path.exists()


def test_a_link_in_the_place_of_a_run_is_refused(folders: TrialFolders, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    for name in ("0-0", ".0-0"):
        link = folders.make(5) / name
        link.symlink_to(precious)
        with pytest.raises(ValueError, match=rf"'trials/5/{name}' in it is a link to '.*precious'"):
            _prepare(folders, CHILD)
        link.unlink()
    assert list(precious.iterdir()) == []


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


def test_a_disk_that_stays_full_ends_the_search_and_fails_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search import TunerSearch
    from trainer import Classifier
    from trainer.runs import directory

    x, y = np.random.default_rng(0).normal(size=(24, 2)).astype("float32"), np.arange(24) % 2

    def search() -> Any:
        found = TunerSearch(
            Classifier(epochs=1, model="mlp"),
            {"learning_rate": Float(0.001, 0.1)},
            tuner="random",
            max_trials=3,
            executor="serial",
            directory=tmp_path / "study",
            seed=0,
            refit=False,
            verbose=0,
        )
        return found.fit(x, y, validation_data=(x, y))

    write = directory.write_whole
    folder = str(tmp_path / "study" / "trials" / "1")

    def full(path: Any, content: bytes, **options: Any) -> None:
        if str(path).startswith(folder):
            raise OSError(errno.ENOSPC, f"path={str(path)!r}: could not be written (full)")
        write(path, content, **options)

    with monkeypatch.context() as patch:
        patch.setattr(directory, "write_whole", full)
        with pytest.raises(OSError, match=r"trials/1/.*could not use its folder.*resumes"):
            search()
    resumed = search()
    assert resumed.results_["state"].tolist() == ["completed"] * 3
