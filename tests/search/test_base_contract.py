"""What scikit-learn's searches have too: a rule for the best, scores of training, routing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from light_estimators import Bowl, Tiny
from light_searches import R, X, Y, sklearn_search, tuner_search
from sklearn import config_context
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
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


# ---- arguments of fit --------------------------------------------------------------------------


class Takes(Bowl):
    """Notes a further argument of fit, and its scores are weighted."""

    seen: ClassVar[list[Any]] = []

    def fit(self, x: Any, y: Any, sample_weight: Any = None, extra: Any = None) -> Any:
        type(self).seen.append((x[:, 0].tolist(), None if extra is None else list(extra)))
        return super().fit(x, y, sample_weight)

    def score(self, x: Any, y: Any = None, sample_weight: Any = None) -> float:
        weight = np.ones(len(x)) if sample_weight is None else sample_weight
        return float(np.average(x[:, 0], weights=weight))


def test_each_fold_gets_its_rows_of_an_argument_of_fit() -> None:
    Takes.seen.clear()
    sklearn_search(Takes(), n_iter=2).fit(X, R, extra=X[:, 0] * 10)
    folds = Takes.seen[1:]
    assert len(folds) == 5 and all(np.multiply(rows, 10).tolist() == e for rows, e in folds)
    Takes.seen.clear()
    sklearn_search(Takes(), n_iter=1, executor="processes", workers=1).fit(X, R, extra=[1, 2])
    assert Takes.seen[-1][1] == [1, 2]  # not one for each row: passed as it is


def test_the_steps_of_a_pipeline_get_their_arguments() -> None:
    Takes.seen.clear()
    pipe = make_pipeline(StandardScaler(), Takes())
    weight = np.linspace(1, 2, 60)
    sklearn_search(pipe, {"takes__a": [0.1]}, method="grid").fit(
        X, R, standardscaler__sample_weight=weight, takes__extra=X[:, 0]
    )
    assert [len(extra) for _, extra in Takes.seen] == [30, 30, 30, 60]
    step = Takes.seen[-1]
    scaled = StandardScaler().fit_transform(X, sample_weight=weight)[:, 0]
    np.testing.assert_allclose(step[0], scaled)


def test_metadata_go_where_they_are_requested_as_in_scikit_learn() -> None:
    weight, groups = np.linspace(1, 2, 60), np.arange(60) // 6
    with config_context(enable_metadata_routing=True):
        ridge = Ridge().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        grid = {"alpha": [0.1, 1.0, 10.0]}
        params = {"sample_weight": weight, "groups": groups}
        theirs = GridSearchCV(ridge, grid, cv=GroupKFold(3)).fit(X, R, **params)
        ours = sklearn_search(ridge, grid, method="grid", cv=GroupKFold(3)).fit(X, R, **params)
        for i in range(3):
            name = f"split{i}_test_score"
            np.testing.assert_allclose(ours.cv_results_[name], theirs.cv_results_[name])
        np.testing.assert_allclose(ours.best_estimator_.coef_, theirs.best_estimator_.coef_)
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            sklearn_search(Ridge(), grid, method="grid").fit(X, R, sample_weight=weight)


@pytest.mark.parametrize(
    ("estimator", "params", "says"),
    [
        (Takes(), {"extr": [1]}, r"fit\(extr=...\): Takes.fit takes no such argument.*'extra'"),
        (make_pipeline(Takes()), {"extra": [1]}, r"fit\(extra=...\): Pipeline.fit takes no such"),
        (Tiny(), {"resume": True}, r"fit\(resume=...\): a search decides"),
        (Tiny(), {"epochs": 3}, r"fit\(epochs=...\): a search decides.*a field"),
    ],
)
def test_an_argument_that_fit_does_not_take_is_refused(
    estimator: Any, params: Any, says: str
) -> None:
    space = {"takes__a": [0.1]} if hasattr(estimator, "steps") else None
    if isinstance(estimator, Tiny):
        space = ["learning_rate"]
    with pytest.raises(TypeError, match=says):
        sklearn_search(estimator, space).fit(F, Y, **params)
