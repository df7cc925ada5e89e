"""Kept models: how they are written and loaded, and which are deleted."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from light_estimators import Bowl, Tiny

from search.study import models
from search.study.models import KeepModels
from search.study.storage import Trial
from search.study.trial_folders import TrialFolders


def test_an_estimator_comes_back_as_it_was_if_it_is_trusted(tmp_path: Path) -> None:
    models.save(tmp_path, 0, 1, Bowl(a=0.5))
    models.save(tmp_path, 0, 1, Bowl(a=0.75))  # it replaces the earlier one
    (path,) = models.files(tmp_path)
    assert path.name == "0-1.pickle"
    assert models.load(path, None, trust=True).a == 0.75


def test_nothing_is_unpickled_without_trust(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> Any:
            return (os.mkdir, (str(tmp_path / "ran"),))

    models.save(tmp_path, 0, 0, Runs())
    (path,) = models.files(tmp_path)
    with pytest.raises(ValueError, match=r"0-0\.pickle'?.*: a pickled estimator.*write trust=True"):
        models.load(path, None, trust=False)
    assert not (tmp_path / "ran").exists()


def test_what_does_not_pickle_is_named_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="keep_models: Bowl cannot be pickled .*keep_models=0"):
        models.save(tmp_path, 0, 0, Bowl(a=threading.Lock()))
    assert not list(tmp_path.iterdir())


def test_files_are_in_the_order_of_splits_and_executions_and_others_are_no_models(
    tmp_path: Path,
) -> None:
    names = ["0-0.keras", "0-2.keras", "0-10.pickle", "2-0.keras", "10-0.keras"]
    for name in [*reversed(names), ".trial.json", "notes.txt", "mine.pickle", ".1-0.keras"]:
        (tmp_path / name).touch()
    assert [path.name for path in models.files(tmp_path)] == names


def test_a_file_that_is_no_trainer_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "0-0.keras").write_bytes(b"not a zip file")
    (path,) = models.files(tmp_path)
    for kind in (None, Tiny):
        with pytest.raises(ValueError, match=r"0-0\.keras"):
            models.load(path, kind, trust=True)


def _trial(number: int, score: float | None, state: str = "completed") -> Trial:
    return Trial(number, str(number), {}, 0, state=state, score=score)


def _kept(path: Path, trials: list[Trial], most: int, folders: list[int]) -> list[int]:
    """Make folders of models, and return which of them are kept."""
    found = TrialFolders(path / "models", "0" * 16)
    for number in folders:
        models.save(found.make(number), 0, 0, Bowl())
    study: Any = SimpleNamespace(trials=trials)
    keep = KeepModels(found, most, lambda trial: (trial.score or 0.0,))
    keep.on_trial_end(study, trials[-1])
    left = sorted(found.numbers())
    keep.on_search_begin(study)
    assert sorted(found.numbers()) == left
    return left


def test_the_best_are_kept_and_of_equals_the_first(tmp_path: Path) -> None:
    trials = [_trial(i, score) for i, score in enumerate([0.5, 0.9, 0.5, 0.1])]
    assert _kept(tmp_path, trials, 2, [0, 1, 2, 3]) == [0, 1]


def test_pruned_trials_count_and_failed_ones_do_not(tmp_path: Path) -> None:
    trials = [_trial(0, 0.1, "pruned"), _trial(1, None, "failed"), _trial(2, np.inf, "failed")]
    assert _kept(tmp_path, trials, 3, [0, 1, 2]) == [0]


def test_models_of_trials_that_run_stay_and_those_of_no_trial_go(tmp_path: Path) -> None:
    trials = [_trial(0, None, "running"), _trial(1, None, "waiting"), _trial(2, 1.0)]
    assert _kept(tmp_path, trials, 0, [0, 1, 2, 7]) == [0, 1]


def test_models_that_cannot_be_deleted_are_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    found = TrialFolders(tmp_path / "models", "0" * 16)
    monkeypatch.setattr(found, "discard", refuse)
    monkeypatch.setattr(found, "numbers", lambda: [0])
    keep = KeepModels(found, 0, lambda trial: (trial.id,))
    with pytest.warns(UserWarning, match=r"models'?: models that .* could not be deleted"):
        keep.on_trial_end(SimpleNamespace(trials=[_trial(0, 1.0)]), _trial(0, 1.0))  # type: ignore[arg-type]
