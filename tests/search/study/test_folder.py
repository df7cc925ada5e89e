"""A study's directory: who holds it, what may be resumed, and what is deleted from it."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from light_estimators import Bowl, Tiny
from sklearn.base import clone

from search.space import Space
from search.study.database import Taken
from search.study.folder import STRANGERS_NAMED, Folder, Tidy, description
from search.study.storage import Trial
from search.study.trial_folders import TrialFolders
from trainer import Float
from trainer.runs.lock import LOCK, LockLost

SPACE = Space({"a": Float(0.0, 1.0)})
CODE = {"Bowl": "123"}


def _open(path: Path, resume: Any = "auto", seed: int | None = None) -> Folder:
    return Folder(path, SPACE, resume, seed, lambda: 77)


def _with_trial(path: Path, described: dict[str, Any], seed: int | None = None) -> None:
    folder = _open(path, seed=seed)
    folder.describe(described)
    folder.store.set("seed", folder.seed)
    folder.store.add(Trial(0, "0", {"a": 0.5}, seed=0))
    folder.close()


def _described(**changed: Any) -> dict[str, Any]:
    return {"estimator": {"class": "Bowl", "b": 1}, "architecture": None, "code": CODE} | changed


def test_a_folder_is_held_by_one_search_at_a_time_and_released(tmp_path: Path) -> None:
    first = _open(tmp_path / "a" / "b")
    with pytest.raises(ValueError, match=r"^directory='.*b': .*; wait for it, or write another"):
        _open(tmp_path / "a" / "b")
    first.close()
    _open(tmp_path / "a" / "b").close()


def test_a_study_without_trials_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = _open(tmp_path)
    folder.describe(_described())
    folder.record_space()
    folder.close()
    assert {path.name for path in tmp_path.iterdir()} <= {LOCK}
    _open(tmp_path, resume=False).close()


def test_resume_says_whether_there_must_be_a_study(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"resume=True: there is no study .*resume='auto' to sta"):
        _open(tmp_path, resume=True)
    _with_trial(tmp_path, _described())
    with pytest.raises(ValueError, match="resume=False: .* holds a study; write resume='auto'"):
        _open(tmp_path, resume=False)
    for resume in (True, "auto", "force"):
        folder = _open(tmp_path, resume=resume)
        assert folder.store.count == 1
        folder.close()


def test_a_resumed_study_keeps_its_seed_and_a_new_one_draws_it(tmp_path: Path) -> None:
    for name, given, wanted in (("a", None, 77), ("b", 5, 5), ("c", 0, 0)):
        _with_trial(tmp_path / name, _described(), seed=given)
        for seed in (None, given):
            again = _open(tmp_path / name, seed=seed)
            assert again.seed == wanted
            again.describe(_described())
            again.close()


def test_another_seed_is_another_study(tmp_path: Path) -> None:
    _with_trial(tmp_path, _described(), seed=5)
    folder = _open(tmp_path, seed=6)
    with pytest.raises(ValueError, match="differs from this one: seed was 5, is 6. Undo these"):
        folder.describe(_described())
    folder.close()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"estimator": {"class": "Bowl", "b": 2}}, "estimator.b was 1, is 2. Undo"),
        ({"estimator": {"class": "Bowl", "b": np.int64(2)}}, "estimator.b was 1, is 2. Undo"),
        ({"estimator": {"class": "Bowl"}}, "estimator.b was 1, is None. Undo"),
        ({"objective": ["a", "max"]}, r"objective was None, is \['a', 'max'\]. Undo"),
        ({"code": {"Bowl": "456"}}, "write resume='force' to resume it although it differs"),
    ],
)
def test_a_study_that_differs_is_refused_with_what_differs(
    tmp_path: Path, changed: dict[str, Any], says: str
) -> None:
    _with_trial(tmp_path, _described())
    folder = _open(tmp_path)
    with pytest.raises(ValueError, match=says):
        folder.describe(_described(**changed))
    folder.close()
    forced = _open(tmp_path, resume="force")
    if "code" in changed:
        forced.describe(_described(**changed))
        assert forced.store.get("description")["code"] == changed["code"]
    else:
        with pytest.raises(ValueError, match=says):
            forced.describe(_described(**changed))
    forced.close()


def test_scalars_of_numpy_are_the_numbers_that_they_mean(tmp_path: Path) -> None:
    of_numpy = {"class": "Bowl", "b": np.int64(1), "c": np.float32(0.5), "d": np.True_}
    _with_trial(tmp_path, _described(estimator=of_numpy, space={"a": "Choice(np.float64(0.5))"}))
    folder = _open(tmp_path)
    of_python = {"class": "Bowl", "b": 1, "c": 0.5, "d": True}
    folder.describe(_described(estimator=of_python, space={"a": "Choice(0.5)"}))
    folder.close()


@pytest.mark.parametrize("name", ["adam_w", "adam_w_1"])
def test_the_name_of_an_optimizer_that_a_study_recorded_before_is_no_difference(
    name: str, tmp_path: Path
) -> None:
    optimizer = {"learning_rate": 0.1}
    _with_trial(
        tmp_path, _described(architecture={"name": "a", "optimizer": {"name": name, **optimizer}})
    )
    folder = _open(tmp_path)
    folder.describe(_described(architecture={"name": "a", "optimizer": optimizer}))
    with pytest.raises(ValueError, match="architecture.optimizer.learning_rate was 0.1, is 0.2"):
        folder.describe(_described(architecture={"name": "a", "optimizer": {"learning_rate": 0.2}}))
    folder.close()


def test_a_study_that_described_a_callback_by_its_class_is_no_difference(tmp_path: Path) -> None:
    earlier, now, other = (
        _described(estimator={"class": "Tiny", "callbacks": [{"class": "Freeze", **arguments}]})
        for arguments in ({}, {"arguments": {"epoch": 2}}, {"arguments": {"epoch": 4}})
    )
    _with_trial(tmp_path / "earlier", earlier)
    folder = _open(tmp_path / "earlier")
    folder.describe(now)
    folder.close()
    _with_trial(tmp_path / "now", now)
    folder = _open(tmp_path / "now")
    with pytest.raises(ValueError, match="callbacks was .*'epoch': 2.*'epoch': 4"):
        folder.describe(other)
    folder.close()


def test_a_study_without_trials_takes_on_another_description(tmp_path: Path) -> None:
    folder = _open(tmp_path)
    folder.describe(_described(objective=1))
    folder.describe(_described(objective=2))
    assert folder.store.get("description")["objective"] == 2
    folder.close()


def test_data_are_removed_once_and_those_of_another_stay(tmp_path: Path) -> None:
    folder = _open(tmp_path)
    strange = tmp_path / "data-0123456789abcdef.joblib"
    for path in (folder.data, strange):
        path.touch()
    folder.remove_data()
    folder.remove_data()
    assert not folder.data.exists() and strange.exists()
    folder.close()


def test_nothing_is_written_after_the_lock_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _open(tmp_path)

    def lost() -> None:
        raise LockLost("the file of the lock is another one")

    with monkeypatch.context() as changed:
        changed.setattr(folder._hold, "check", lost)
        with pytest.raises(Taken, match="the lock is another one; this search ends"):
            folder.store.set("a", 1)
    assert folder.store.get("a") is None
    folder.close()


def test_a_place_where_no_folder_can_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"directory='.*file/a': cannot be created \("):
        _open(tmp_path / "file" / "a")


def test_harmless_parameters_are_not_described() -> None:
    first = description(Tiny(verbose=0))
    assert first == description(clone(Tiny(verbose=2, run_dir="runs")))
    assert first != description(Tiny(units=5)) and first["class"] == "Tiny"
    assert description(Bowl(a=0.5))["a"] == 0.5


# ---- states of trials ------------------------------------------------------------------------


def _study(*states: str, best: int | None = None, finished: bool = True) -> Any:
    trials = [Trial(i, str(i), {}, 0, state=state) for i, state in enumerate(states)]
    return SimpleNamespace(
        trials=trials, best=None if best is None else trials[best], finished=finished
    )


def _folders(path: Path, count: int) -> TrialFolders:
    found = TrialFolders(path / "trials", "0" * 16)
    for number in range(count):
        found.make(number)
    return found


def test_of_the_states_of_trials_that_have_ended_the_best_stays(tmp_path: Path) -> None:
    folders = _folders(tmp_path, 6)
    study = _study("completed", "completed", "failed", "running", "waiting", best=1)
    Tidy(folders, rungs=False).on_trial_end(study, study.trials[0])
    assert sorted(folders.numbers()) == [1, 3, 4, 5]


def test_with_rungs_all_states_stay_until_no_trial_is_left(tmp_path: Path) -> None:
    folders = _folders(tmp_path, 2)
    tidy = Tidy(folders, rungs=True)
    study = _study("completed", "pruned", best=0, finished=False)
    tidy.on_trial_end(study, study.trials[0])
    tidy.on_search_end(study)
    assert sorted(folders.numbers()) == [0, 1]
    study.finished = True
    tidy.on_search_end(study)
    assert folders.numbers() == [0]


def test_many_strangers_are_one_warning_that_names_some(tmp_path: Path) -> None:
    folders = _folders(tmp_path, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Tidy(folders, rungs=False).on_search_begin(_study())
    for i in range(STRANGERS_NAMED + 2):
        (folders.path / f"mine{i:02}").mkdir()
    with pytest.warns(UserWarning, match=r"'mine00', .*'mine09' and 2 more in it were not made"):
        Tidy(folders, rungs=False).on_search_begin(_study())
    assert len(list(folders.path.glob("mine*"))) == STRANGERS_NAMED + 2


def test_a_state_that_cannot_be_deleted_does_not_end_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = _folders(tmp_path, 1)

    def refuse(trial: int) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folders, "discard", refuse)
    with pytest.warns(UserWarning, match=r"could not be deleted \(.*Permission denied"):
        Tidy(folders, rungs=False).on_trial_end(_study("completed"), Trial(0, "0", {}, 0))
