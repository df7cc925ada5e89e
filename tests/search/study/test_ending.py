"""A study ends when its score is good enough, or has not become better for long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from light_estimators import Bowl
from light_searches import R, X, sklearn_search, tuner_search

AS = [0.9, 0.8, 0.3, 0.7, 0.6, 0.5, 0.31, 0.1]


def listed(**options: Any) -> Any:
    return sklearn_search(Bowl(), {"a": AS}, method="grid", **options)


def test_no_trial_starts_after_the_target_is_reached() -> None:
    assert listed(target_score=-0.2).fit(X, R).results_.a.tolist() == AS[:3]
    search = tuner_search(
        Bowl(), {"a": AS}, tuner="grid", scoring="neg_mean_squared_error", target_score=-1e9
    )
    assert len(search.fit(X, R).results_) == 1


@pytest.mark.parametrize(("patience", "trials"), [(1, 4), (3, 6), (5, 8), (6, 8)])
def test_no_trial_starts_once_the_best_one_is_old(patience: int, trials: int) -> None:
    assert len(listed(patience_trials=patience).fit(X, R).results_) == trials


def test_a_resumed_study_counts_the_trials_before(tmp_path: Path) -> None:
    assert len(listed(patience_trials=2, directory=tmp_path).fit(X, R).results_) == 5
    assert len(listed(patience_trials=2, directory=tmp_path).fit(X, R).results_) == 5
    assert len(listed(patience_trials=4, directory=tmp_path).fit(X, R).results_) == 7
    assert len(listed(directory=tmp_path).fit(X, R).results_) == 8
