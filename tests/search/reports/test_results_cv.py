"""cv_results_ of a search is that of scikit-learn's own search on the same grid and splits."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from light_estimators import Nearest
from sklearn.datasets import load_iris
from sklearn.linear_model import Ridge
from sklearn.metrics import make_scorer, mean_absolute_error
from sklearn.model_selection import GridSearchCV, KFold, ShuffleSplit, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from search import SklearnSearch
from trainer import Choice, Float

X, Y = load_iris(return_X_y=True)
TIMES = ("mean_fit_time", "std_fit_time", "mean_score_time", "std_score_time")


def _both(estimator: Any, grid: Any, y: Any = Y, **options: Any) -> tuple[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = GridSearchCV(estimator, grid, **options).fit(X, y)
        ours = SklearnSearch(
            estimator, grid, method="grid", executor="serial", verbose=0, **options
        ).fit(X, y)
    return ours, theirs


def _check_equal(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """The same keys, types, shapes, masks and values; of times that they are times."""
    order = [ours["params"].index(params) for params in theirs["params"]]
    assert sorted(order) == list(range(len(ours["params"])))
    assert set(ours) == set(theirs)
    assert list(ours)[:4] == list(TIMES)
    for name, expected in theirs.items():
        found = ours[name]
        if name == "params":
            assert isinstance(found, list)
            continue
        assert type(found) is type(expected), name
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape), name
        if name in TIMES:
            assert (found >= 0).all()
        elif isinstance(expected, np.ma.MaskedArray):
            assert found[order].tolist() == expected.tolist(), name
            assert np.ma.getmaskarray(found)[order].tolist() == (
                np.ma.getmaskarray(expected).tolist()
            ), name
        else:
            np.testing.assert_array_equal(found[order], expected, name)


@pytest.mark.parametrize(
    ("estimator", "grid"),
    [
        (Nearest(), {"shift": [0.0, 0.5, 1.0], "power": [1, 2]}),
        (Nearest(), {"kind": ["mean", "median"], "shift": [0.0]}),
        (DecisionTreeClassifier(random_state=0), {"max_depth": [None, 1, 2]}),
        (DecisionTreeClassifier(random_state=0), {"max_features": ["sqrt", 2, None, 0.5]}),
        (Nearest(), {"kind": ["mean"], "shift": [True, False]}),
        (
            make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0)),
            {
                "standardscaler__with_mean": [True, False],
                "decisiontreeclassifier__max_depth": [1, 2],
            },
        ),
    ],
)
def test_a_grid_gives_what_scikit_learn_gives(estimator: Any, grid: Any) -> None:
    ours, theirs = _both(estimator, grid, cv=5)
    _check_equal(ours.cv_results_, theirs.cv_results_)
    assert ours.best_score_ == theirs.best_score_
    assert ours.n_splits_ == theirs.n_splits_ == 5
    assert ours.multimetric_ is theirs.multimetric_ is False


@pytest.mark.parametrize(
    "cv",
    [
        3,
        KFold(4, shuffle=True, random_state=0),
        StratifiedKFold(2),
        ShuffleSplit(6, random_state=0),
        [(np.arange(0, 150, 2), np.arange(1, 150, 2))],
    ],
)
def test_it_is_so_with_any_splitter(cv: Any) -> None:
    ours, theirs = _both(Nearest(), {"shift": [0.0, 0.4, 0.8]}, cv=cv, scoring="f1_macro")
    _check_equal(ours.cv_results_, theirs.cv_results_)


def test_it_is_so_of_a_regression_with_a_negated_score() -> None:
    target = X[:, 3]
    ours, theirs = _both(
        Ridge(), {"alpha": [0.1, 1.0, 10.0]}, y=target, cv=5, scoring="neg_mean_squared_error"
    )
    _check_equal(ours.cv_results_, theirs.cv_results_)
    assert ours.best_params_ == theirs.best_params_
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


@pytest.mark.parametrize(
    "scoring",
    [
        ["accuracy", "f1_macro", "neg_log_loss"],
        {"accuracy": "accuracy", "far": make_scorer(mean_absolute_error, greater_is_better=False)},
    ],
)
def test_it_is_so_with_several_scores(scoring: Any) -> None:
    ours, theirs = _both(
        Nearest(), {"shift": [0.0, 0.5, 1.0]}, cv=5, scoring=scoring, refit="accuracy"
    )
    _check_equal(ours.cv_results_, theirs.cv_results_)
    assert ours.multimetric_ is theirs.multimetric_ is True
    assert set(ours.scorer_) == set(theirs.scorer_)
    assert ours.best_score_ == theirs.best_score_
    assert ours.score(X, Y) == theirs.score(X, Y)


def test_it_is_so_of_a_callable_that_gives_several() -> None:
    def scores(estimator: Any, x: Any, y: Any) -> dict[str, float]:
        hits = estimator.predict(x) == y
        return {"all": float(hits.mean()), "third": float(hits[y == 2].mean())}

    ours, theirs = _both(
        Nearest(), {"shift": [0.0, 0.5]}, cv=StratifiedKFold(3), scoring=scores, refit="third"
    )
    _check_equal(ours.cv_results_, theirs.cv_results_)
    assert ours.best_params_ == theirs.best_params_


def test_failed_trials_have_nan_and_the_last_rank() -> None:
    ours, theirs = _both(Nearest(), {"kind": ["broken", "mean", "median"], "shift": [0.0]}, cv=3)
    theirs = theirs.cv_results_
    # their times of a failed fit are those until its error; ours are not known
    failed = [params["kind"] == "broken" for params in ours.cv_results_["params"]]
    for name in TIMES:
        assert np.isnan(ours.cv_results_[name][failed]).all()
        ours.cv_results_[name][failed] = 0.0
    _check_equal(ours.cv_results_, theirs)
    assert ours.cv_results_["rank_test_score"].tolist().count(3) == 1


def test_failed_trials_are_told_of() -> None:
    search = SklearnSearch(
        Nearest(), {"kind": ["mean", "broken"]}, method="grid", executor="serial", verbose=0
    )
    with pytest.warns(UserWarning, match=r"1 of 2 trials failed.*results_\.error"):
        search.fit(X, Y)
    assert search.results_.error.str.contains("cannot be fitted").sum() == 1


def test_several_grids_are_a_condition() -> None:
    grids = [{"kind": ["mean"], "shift": [0.0]}, {"kind": ["median"], "power": [1.0, 2.0]}]
    theirs = GridSearchCV(Nearest(), grids, cv=3).fit(X, Y)
    ours = SklearnSearch(
        Nearest(),
        {
            "kind": Choice("mean", "median"),
            "power": Choice(1.0, 2.0, when={"kind": "median"}),
            "shift": Choice(0.0, when={"kind": "mean"}),
        },
        method="grid",
        cv=3,
        executor="serial",
        verbose=0,
    ).fit(X, Y)
    _check_equal(ours.cv_results_, theirs.cv_results_)
    assert ours.cv_results_["param_power"].mask.sum() == 1


def test_the_best_is_the_one_of_rank_1() -> None:
    search = SklearnSearch(
        Nearest(),
        {"shift": Float(0.0, 2.0)},
        n_iter=30,
        cv=9,
        executor="serial",
        verbose=0,
        seed=0,
    ).fit(X, Y)
    found = search.cv_results_
    assert found["rank_test_score"][search.best_index_] == 1
    assert found["mean_test_score"][search.best_index_] == search.best_score_
    assert found["params"][search.best_index_] == search.best_params_
    splits = np.column_stack([found[f"split{i}_test_score"] for i in range(9)])
    np.testing.assert_allclose(found["mean_test_score"], splits.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(found["std_test_score"], splits.std(axis=1), rtol=1e-9, atol=1e-12)


def test_repetitions_of_a_split_count_as_their_mean() -> None:
    def noisy(estimator: Any, x: Any, y: Any) -> float:
        return float(estimator.random_state % 1000)

    search = SklearnSearch(
        DecisionTreeClassifier(),
        {"max_depth": [1, 2]},
        method="grid",
        cv=3,
        scoring=noisy,
        executions_per_trial=2,
        executor="serial",
        verbose=0,
        seed=0,
    ).fit(X, Y)
    found = search.cv_results_
    splits = np.column_stack([found[f"split{i}_test_score"] for i in range(3)])
    assert set(found) >= {"split2_test_score"} and "split3_test_score" not in found
    np.testing.assert_allclose(found["mean_test_score"], splits.mean(axis=1))
    assert search.results_.score.tolist() == found["mean_test_score"].tolist()
