"""Ensembles of fitted models are estimators of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from light_searches import X, Y
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.svm import LinearSVC
from sklearn.utils.validation import check_is_fitted

from search.ensembles import EnsembleClassifier, EnsembleRegressor


def test_a_class_that_a_member_has_not_seen_has_no_probability_there() -> None:
    labels = np.array(["a", "b", "c"])[Y]
    whole = LogisticRegression().fit(X, labels)
    part = LogisticRegression().fit(X[labels != "b"], labels[labels != "b"])
    vote = EnsembleClassifier.of([part, whole])
    found = vote.predict_proba(X)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_allclose(found[:, 1], whole.predict_proba(X)[:, 1] / 2)
    assert set(vote.classes_) == {"a", "b", "c"}


def test_weights_count_and_fit_makes_new_members() -> None:
    members = [LinearRegression(fit_intercept=False), LinearRegression()]
    mean = EnsembleRegressor(members, weights=[3, 1]).fit(X, X[:, 1])
    alone = [clone(m).fit(X, X[:, 1]).predict(X) for m in members]
    np.testing.assert_allclose(mean.predict(X), 0.75 * alone[0] + 0.25 * alone[1])
    check_is_fitted(clone(mean).fit(X, X[:, 1]), "estimators_")
    assert not hasattr(members[0], "coef_")


def test_what_cannot_be_combined_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        EnsembleRegressor.of([])
    with pytest.raises(TypeError, match="LinearSVC has no predict_proba"):
        EnsembleClassifier.of([LinearSVC().fit(X, Y)])
    with pytest.raises(ValueError, match=r"weights=\[1\]: must be one for each of 2"):
        EnsembleRegressor.of([1, 2], [1])
