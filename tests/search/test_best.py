"""A search is a scikit-learn estimator: cloned, pickled, nested, in pipelines, checked."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from light_estimators import Bowl, Nearest, Tiny
from light_searches import R, X, Y, sklearn_search, tuner_search
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator

from search import SklearnSearch, TunerSearch
from trainer import Float

SHIFT = {"shift": [0.0, 0.5]}


@pytest.mark.parametrize("make", [sklearn_search, tuner_search])
def test_a_search_is_cloned_with_its_parameters(make: Any) -> None:
    search = make(Nearest(power=1.0), SHIFT, max_seconds=9.0).fit(X, Y)
    copy = clone(search)
    assert not hasattr(copy, "results_") and not hasattr(copy, "best_estimator_")
    assert copy.max_seconds == 9.0 and copy.space == SHIFT
    assert copy.get_params()["estimator__power"] == 1.0
    copy.set_params(estimator__power=3.0, seed=7)
    assert copy.estimator.power == 3.0 and search.estimator.power == 1.0
    assert "estimator=Nearest(power=3.0)" in repr(copy)


def test_a_fitted_search_is_pickled() -> None:
    space = {"kind": ["mean", "median"], "shift": Float(0, 1)}
    search = sklearn_search(Nearest(), space, scoring=["accuracy", "f1_macro"], refit="accuracy")
    search.fit(X, Y)
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict_proba(X), search.predict_proba(X))
    assert again.score(X, Y) == search.score(X, Y)
    assert again.best_params_ == search.best_params_
    assert again.summary() and len(again.top(2)) == 2


def test_a_fitted_search_over_trainers_is_pickled() -> None:
    search = tuner_search(Tiny(), ["learning_rate"], max_trials=1).fit(X.astype("float32"), Y)
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict_proba(X), search.predict_proba(X))


def test_it_does_what_its_best_estimator_does() -> None:
    search = sklearn_search(LogisticRegression(), {"C": [0.01, 1.0]}, method="grid").fit(X, Y)
    best = LogisticRegression(**search.best_params_).fit(X, Y)
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        np.testing.assert_array_equal(getattr(search, method)(X), getattr(best, method)(X))
    assert search.score(X, Y) == best.score(X, Y)
    assert search.classes_.tolist() == [0, 1, 2]
    assert search.n_features_in_ == 3


def test_its_score_is_that_of_the_scorer() -> None:
    search = sklearn_search(Ridge(), {"alpha": [1.0]}, scoring="neg_mean_squared_error")
    search.fit(X, R)
    assert search.score(X, R) == -np.mean((search.predict(X) - R) ** 2)
    assert search.scorer_(search, X, R) == search.score(X, R)


def test_it_has_the_methods_of_its_estimator_alone() -> None:
    assert hasattr(sklearn_search(LogisticRegression(), {"C": [1.0]}), "predict_proba")
    assert not hasattr(sklearn_search(SVC(probability=False), {"C": [1.0]}), "predict_proba")
    assert hasattr(sklearn_search(SVC(), {"C": [1.0]}), "decision_function")
    ridge = sklearn_search(Ridge(), {"alpha": [1.0]})
    for fitted in (ridge, ridge.fit(X, R)):
        assert not hasattr(fitted, "classes_") and not hasattr(fitted, "transform")
        assert not hasattr(fitted, "evaluate")
    assert hasattr(tuner_search(Tiny()), "evaluate")


def test_before_fit_it_says_so() -> None:
    search = sklearn_search(Nearest(), SHIFT)
    assert not hasattr(search, "classes_") and not hasattr(search, "n_features_in_")
    for call in (
        lambda: search.predict(X),
        lambda: search.score(X, Y),
        lambda: search.top(),
        lambda: search.summary(),
    ):
        with pytest.raises(NotFittedError):
            call()


def test_without_a_refit_it_says_so_in_the_errors_that_scikit_learn_expects() -> None:
    search = sklearn_search(Nearest(), SHIFT, refit=False).fit(X, Y)
    for name, rows in (("predict", (X,)), ("predict_proba", (X,)), ("score", (X, Y))):
        with pytest.raises(
            NotFittedError, match=rf"^refit=False: .* no {name}; write .*refit=True"
        ):
            getattr(search, name)(*rows)
    assert issubclass(NotFittedError, AttributeError), "what GridSearchCV raises"


@pytest.mark.parametrize(
    ("estimator", "kind"), [(Nearest(), is_classifier), (Bowl(), is_regressor), (SVC(), None)]
)
def test_its_kind_and_tags_are_those_of_its_estimator(estimator: Any, kind: Any) -> None:
    search = sklearn_search(estimator, {"any": [1]})
    assert (kind or is_classifier)(search)
    ours = get_tags(search)
    theirs = get_tags(GridSearchCV(estimator, {"any": [1]}))
    assert ours.estimator_type == theirs.estimator_type
    assert ours.classifier_tags == theirs.classifier_tags
    assert ours.regressor_tags == theirs.regressor_tags
    assert ours.input_tags.sparse == theirs.input_tags.sparse
    assert ours.target_tags.required == get_tags(estimator).target_tags.required


def test_cross_validation_nests() -> None:
    search = sklearn_search(Nearest(), {"shift": [0.0, 0.3, 0.9]}, method="grid", cv=KFold(3))
    theirs = GridSearchCV(Nearest(), {"shift": [0.0, 0.3, 0.9]}, cv=KFold(3))
    np.testing.assert_array_equal(
        cross_val_score(search, X, Y, cv=KFold(3)), cross_val_score(theirs, X, Y, cv=KFold(3))
    )


def test_weights_reach_a_nested_search() -> None:
    Bowl.fits.clear()
    weights = {"sample_weight": np.arange(60.0)}
    search = sklearn_search(Bowl(), {"a": [0.1]}, method="grid", cv=KFold(2))
    cross_validate(search, X, R, cv=KFold(2), params=weights)
    np.testing.assert_array_equal(Bowl.fits[-1]["weight"], np.arange(30.0))


def test_it_is_a_step_of_a_pipeline_and_a_part_of_a_search() -> None:
    inner = sklearn_search(Nearest(), SHIFT, method="grid")
    pipeline = make_pipeline(StandardScaler(), inner).fit(X, Y)
    assert pipeline.predict(X).shape == (60,)
    outer = GridSearchCV(inner, {"estimator__power": [1.0, 2.0]}, cv=2).fit(X, Y)
    assert outer.best_estimator_.best_estimator_.power == outer.best_params_["estimator__power"]


@pytest.mark.parametrize(
    ("kind", "estimator", "space"),
    [
        (SklearnSearch, LogisticRegression(), {"C": [0.1, 1.0]}),
        (TunerSearch, Ridge(), {"alpha": [0.1, 1.0]}),
    ],
)
def test_scikit_learns_checks_pass(kind: Any, estimator: Any, space: Any) -> None:
    options: dict[str, Any] = {"executor": "serial", "verbose": 0, "seed": 0}
    if kind is SklearnSearch:
        options |= {"method": "grid", "cv": 2}
    else:
        options |= {"tuner": "grid"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_estimator(kind(estimator, space, **options))
