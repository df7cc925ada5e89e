"""Searches over light estimators in this process, their data, and a callback that takes notes."""

from __future__ import annotations

from typing import Any

import numpy as np
from light_estimators import Bowl

from search import SearchCallback, SklearnSearch, TunerSearch
from trainer import Float

X = np.random.default_rng(0).normal(size=(60, 3))
X[:, 0] = np.arange(60)
R = X[:, 1] * 2
Y = np.arange(60) % 3
A = {"a": Float(0.0, 1.0)}


def sklearn_search(estimator: Any = None, space: Any = None, **options: Any) -> SklearnSearch:
    given: dict[str, Any] = {
        "executor": "serial",
        "verbose": 0,
        "seed": 0,
        "n_iter": 4,
        "cv": 2,
    } | options
    return SklearnSearch(estimator or Bowl(), space or A, **given)


def tuner_search(estimator: Any = None, space: Any = None, **options: Any) -> TunerSearch:
    given: dict[str, Any] = {
        "executor": "serial",
        "verbose": 0,
        "seed": 0,
        "max_trials": 4,
    } | options
    return TunerSearch(estimator or Bowl(), space or A, **{"tuner": "random"} | given)


class Told(SearchCallback):
    """Notes what it is told, and stops or fails after some trials."""

    def __init__(self, stop: int = 10**9, error: BaseException | None = None) -> None:
        self.heard: list[str] = []
        self.stop = stop
        self.error = error

    def on_search_begin(self, study: Any) -> None:
        self.heard.append(f"begin {len(study.trials)}")

    def on_trial_begin(self, study: Any, trial: Any) -> None:
        self.heard.append(f"{trial.id} begins")

    def on_trial_end(self, study: Any, trial: Any) -> None:
        self.heard.append(f"{trial.id} {trial.state}")
        if trial.id + 1 >= self.stop:
            if self.error is not None:
                raise self.error
            study.stop()

    def on_search_end(self, study: Any) -> None:
        self.heard.append("end")
