"""Code in a trial sets attributes and writes files, which stay with the study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from light_estimators import Bowl
from light_searches import R, X, sklearn_search

from search import current_trial, load_study


class Tells(Bowl):
    """Says what it knows."""

    wrong: Any = None

    def fit(self, x: Any, y: Any, sample_weight: Any = None) -> Any:
        super().fit(x, y)
        trial = current_trial()
        if trial is not None:
            trial.set_attribute("twice", {"a": np.float64(self.a) * 2, "n": [len(x)]}["n"])
            trial.set_attribute("a", np.float64(self.a))
            if self.b:
                (trial.artifact_folder() / f"{trial.number}.txt").write_text(str(self.a))
        return self


class Wrong(Bowl):
    """Sets what cannot be saved."""

    def fit(self, x: Any, y: Any, sample_weight: Any = None) -> Any:
        trial = current_trial()
        if trial is not None:
            trial.set_attribute("model", object())
        return super().fit(x, y)


@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_attributes_and_files_stay_with_their_trials(executor: str, tmp_path: Path) -> None:
    search = sklearn_search(Tells(b=1.0), n_iter=3, executor=executor, directory=tmp_path)
    search.fit(X, R)
    for study in (search, load_study(tmp_path)):
        for trial, a in enumerate(search.results_.a):
            assert study.attributes(trial) == {"twice": [30], "a": a}
            (file,) = study.artifacts(trial)
            assert file.name == f"{trial}.txt" and file.read_text() == str(a)
        with pytest.raises(ValueError, match="trial=3: the study has 3 trials"):
            study.attributes(3)
    assert current_trial() is None


def test_what_cannot_be_saved_fails_the_trial_with_a_reason() -> None:
    with pytest.raises(RuntimeError, match=r"set_attribute\('model', object\): JSON does not"):
        sklearn_search(Wrong(), n_iter=1).fit(X, R)
    with pytest.raises(RuntimeError, match="artifact_folder: the search has no directory"):
        sklearn_search(Tells(b=1.0), n_iter=1).fit(X, R)
