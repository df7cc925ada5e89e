"""What scikit-learn's searches have too: a rule for the best, scores of training, routing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from light_estimators import Bowl, Tiny
from light_searches import R, X, Y, sklearn_search, tuner_search
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeClassifier

from search import load_study

F = X.astype("float32")
TREES = {"max_depth": [1, 2, 8]}


def shallow(results: Any) -> int:
    """The shallowest tree within a standard deviation of the best."""
    mean, std = results["mean_test_accuracy"], results["std_test_accuracy"]
    enough = mean >= mean.max() - std[mean.argmax()]
    return int(np.flatnonzero(enough)[0])


def test_a_rule_chooses_the_best_as_in_scikit_learn() -> None:
    tree = DecisionTreeClassifier(random_state=0)
    options: dict[str, Any] = {"scoring": ["f1_macro", "accuracy"], "refit": shallow, "cv": 3}
    theirs = GridSearchCV(tree, TREES, **options).fit(X, Y)
    ours = sklearn_search(tree, TREES, method="grid", **options).fit(X, Y)
    assert ours.best_index_ == theirs.best_index_ and ours.best_params_ == theirs.best_params_
    assert ours.best_estimator_.get_depth() == theirs.best_estimator_.get_depth()
    assert ours.results_.score.tolist() == ours.cv_results_["mean_test_f1_macro"].tolist()


def test_scores_of_training_are_those_of_scikit_learn(tmp_path: Path) -> None:
    tree = DecisionTreeClassifier(random_state=0)
    for scoring in (None, ["accuracy", "f1_macro"]):
        options: dict[str, Any] = {"scoring": scoring, "cv": 3, "return_train_score": True}
        options["refit"] = "accuracy" if scoring else True
        theirs = GridSearchCV(tree, TREES, **options).fit(X, Y).cv_results_
        path = tmp_path / str(bool(scoring))
        ours = sklearn_search(tree, TREES, method="grid", directory=path, **options).fit(X, Y)
        for results in (ours.cv_results_, load_study(path).cv_results_):
            assert results.keys() == theirs.keys()
            for name in (n for n in theirs if "train" in n or "test" in n):
                np.testing.assert_allclose(results[name], theirs[name], err_msg=name)


def test_the_score_of_training_of_a_log_is_its_log_of_training() -> None:
    search = tuner_search(
        Tiny(), ["learning_rate"], objective="val_accuracy", return_train_score=True, max_trials=2
    ).fit(F, Y, validation_data=(F, Y))
    assert search.cv_results_["mean_train_score"].tolist() == search.results_.accuracy.tolist()


@pytest.mark.parametrize(
    ("rule", "kind", "says"),
    [
        (lambda results: "first", TypeError, "returned 'first'; it must return the index"),
        (lambda results: 9, IndexError, "returned 9; it must return an index from 0 to 2"),
        (lambda results: True, TypeError, "returned True; it must return the index"),
        (lambda results: 0, ValueError, "returned 0, the index of a trial that failed"),
    ],
)
def test_a_rule_that_returns_no_trial_is_a_clear_error(
    rule: Any, kind: type[Exception], says: str
) -> None:
    search = sklearn_search(Bowl(fail=0.5), {"a": [0.5, 0.1, 0.2]}, method="grid", refit=rule)
    with pytest.raises(kind, match=says), pytest.warns(UserWarning, match="1 of 3 trials failed"):
        search.fit(X, R)
