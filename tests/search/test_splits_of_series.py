"""Groups, time and gaps in searches: splits are scikit-learn's; what is watched keeps to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    LeaveOneGroupOut,
    LeavePGroupsOut,
    PredefinedSplit,
    StratifiedGroupKFold,
    TimeSeriesSplit,
)

from search import SklearnSearch
from search.study import stopping
from search.study.data import Data, holdout, splits
from trainer import Regressor
from trainer.datasets import windows

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
Y = X[:, 0] + 0.1 * RNG.normal(size=60)
LABELS = np.arange(60) % 2
GROUPS = np.repeat(np.arange(12), 5)


class Purged:
    """Splits by the times in x's index, a week apart."""

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Any:
        for end in ("2020-02-01", "2020-02-15"):
            border = pd.Timestamp(end)
            train = np.flatnonzero(X.index < border - pd.Timedelta("7D"))
            yield train, np.flatnonzero(X.index >= border)

    def get_n_splits(self, *_: Any) -> int:
        return 2


@pytest.mark.parametrize(
    ("cv", "groups"),
    [
        (GroupKFold(3), GROUPS),
        (GroupKFold(3), [f"shop {g}" for g in GROUPS]),
        (GroupKFold(3), pd.Series(GROUPS, index=np.arange(60)[::-1])),
        (GroupShuffleSplit(2, random_state=0), GROUPS),
        (LeaveOneGroupOut(), GROUPS % 3),
        (LeavePGroupsOut(2), GROUPS % 3),
        (StratifiedGroupKFold(3), GROUPS),
        (TimeSeriesSplit(4), None),
        (TimeSeriesSplit(3, gap=5), None),
        (TimeSeriesSplit(3, gap=2, test_size=6, max_train_size=20), None),
        (PredefinedSplit(np.arange(60) % 3), None),
        (KFold(3, shuffle=True, random_state=1), None),
    ],
)
def test_splits_are_those_of_scikit_learn(cv: Any, groups: Any) -> None:
    y = LABELS if isinstance(cv, StratifiedGroupKFold) else Y
    ours = splits(Data.of(X, y, None, None), cv, groups, classifier=y is LABELS)
    theirs = list(cv.split(X, y, groups))
    assert len(ours) == len(theirs)
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])


def test_a_splitter_sees_x_and_its_times() -> None:
    frame = pd.DataFrame(X, index=pd.date_range("2020-01-01", periods=60))
    found = splits(Data.of(frame, Y, None, None), Purged(), None, classifier=False)
    assert [(len(a), len(b)) for a, b in found] == [(24, 29), (38, 15)]


@pytest.mark.parametrize(
    ("cv", "groups"), [(GroupKFold(3), GROUPS), (TimeSeriesSplit(3, gap=3), None)]
)
def test_scores_are_those_of_scikit_learns_search(cv: Any, groups: Any) -> None:
    space = {"alpha": [0.1, 10.0, 1000.0]}
    ours = SklearnSearch(
        Ridge(), space, method="grid", cv=cv, executor="serial", verbose=0, seed=0
    ).fit(X, Y, groups=groups)
    theirs = GridSearchCV(Ridge(), space, cv=cv).fit(X, Y, groups=groups)
    assert ours.best_params_ == theirs.best_params_
    by_alpha = {r.alpha: r.score for r in ours.results_.itertuples()}
    for params, score in zip(
        theirs.cv_results_["params"], theirs.cv_results_["mean_test_score"], strict=True
    ):
        assert by_alpha[params["alpha"]] == pytest.approx(score, rel=1e-12)


def test_the_last_rows_of_a_fold_are_watched_with_the_gap_of_the_splitter() -> None:
    data = Data.of(np.arange(100.0)[:, None], np.arange(100.0), None, None)
    for train, test in TimeSeriesSplit(3, gap=5).split(data.x):
        held = stopping.with_last_rows(data.take(train), (train, test), 0.2)
        watched = held.validation[0][:, 0]
        assert held.x.max() + 5 < watched.min()
        assert watched.max() + 5 < test.min()
        assert len(watched) == int(np.ceil(0.2 * len(train)))
        assert len(held.x) == len(train) - len(watched) - 5


def test_which_splits_are_in_order_of_time() -> None:
    def ordered(cv: Any) -> bool:
        return stopping.in_order_of_time(list(cv.split(X)))

    assert ordered(TimeSeriesSplit(3)) and ordered(TimeSeriesSplit(2, gap=4))
    assert not ordered(KFold(3)) and not ordered(KFold(2, shuffle=True, random_state=0))
    alone = [(np.arange(40), np.arange(40, 60))]
    assert not stopping.in_order_of_time(alone)  # it may be any rows, and the others
    assert stopping.in_order_of_time([(np.arange(40), np.arange(45, 60))])


def test_without_cv_the_last_windows_are_held_out() -> None:
    data = Data.of(X, Y, None, None)
    train, test = holdout(data, 0.2, 0, classifier=False, last_rows=True)
    np.testing.assert_array_equal(train, np.arange(48))
    np.testing.assert_array_equal(test, np.arange(48, 60))
    drawn = holdout(data, 0.2, 0, classifier=False)[1]
    assert drawn.tolist() != test.tolist()


def test_forecasts_are_searched_by_time_without_watching_later_rows() -> None:
    steps = np.arange(160.0)
    parts = windows(np.sin(steps * np.pi / 6) + 0.02 * steps, past=12, horizon=2)
    x, y = parts.train
    train, test = list(TimeSeriesSplit(2, gap=2).split(x))[-1]
    fields = {"epochs": 1, "verbose": 0, "random_state": 0}
    made = SklearnSearch(
        Regressor(model={"name": "sequence", "units": 4}, **fields),
        {"model__dropout": [0.0]},
        method="grid",
        cv=[(train, test)],
        executor="serial",
        verbose=0,
        seed=0,
        refit=False,
    ).fit(x, y)
    held = int(np.ceil(0.15 * len(train)))
    watched, before = train[-held:], train[: -held - 2]
    alone = Regressor(model={"name": "sequence", "units": 4, "dropout": 0.0}, **fields)
    alone.fit(x[before], y[before], validation_data=(x[watched], y[watched]))
    assert made.best_score_ == pytest.approx(alone.score(x[test], y[test]), rel=1e-6)
