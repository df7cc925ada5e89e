"""Searches with a pruner: what rungs are measured in, which trials are pruned, and exactness."""

from __future__ import annotations

import pickle
import sqlite3
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import search_child
from light_searches import Told
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from search import SklearnSearch, TunerSearch, load_study
from search.study.resource import Resource, ladder, unit_of
from trainer import Float, Int

X, Y = search_child.X, search_child.Y
TRAIN, VALID = (X[32:], Y[32:]), (X[:32], Y[:32])
NET = {"units": Int(2, 8), "rate": Float(0.1, 0.5), "learning_rate": Float(1e-3, 0.1, log=True)}
DEPTH = {"max_depth": Int(1, 8)}


def pruned(estimator: Any, space: Any, **options: Any) -> SklearnSearch:
    given: dict[str, Any] = {
        "pruner": "asha",
        "n_iter": 6,
        "cv": 2,
        "seed": 1,
        "executor": "serial",
        "verbose": 0,
    }
    return SklearnSearch(estimator, space, **given | options)


def net_search(**options: Any) -> TunerSearch:
    given: dict[str, Any] = {
        "tuner": "random",
        "max_trials": 4,
        "seed": 3,
        "executor": "serial",
        "refit": False,
        "verbose": 0,
    }
    net = search_child.Net(epochs=9, batch_size=8, optimizer="adam", verbose=0)
    return TunerSearch(net, NET, **given | options)


def fit(search: Any) -> Any:
    return search.fit(*TRAIN, validation_data=VALID)


@pytest.mark.parametrize("resource", ["epochs", "steps"])
def test_a_promoted_trial_equals_one_without_interruption(tmp_path: Path, resource: str) -> None:
    search = fit(net_search(pruner="asha", resource=resource, directory=tmp_path, keep_models=20))
    table = search.results_
    assert {"completed", "pruned"} <= set(table.state)
    whole = table[table.parent.notna()]
    assert len(whole) >= 2 and table.loc[search.best_index_, "parent"] >= 0
    for _, row in whole.iterrows():
        root = row
        while root.parent >= 0:
            root = table.loc[int(root.parent)]
        seed = sqlite3.connect(tmp_path / "study.sqlite").execute(
            "select seed from trials where id = ?", (int(root.trial),)
        )
        unit = search._resource.unit
        alone = search_child.Net(
            batch_size=8,
            optimizer="adam",
            verbose=0,
            random_state=seed.fetchone()[0],
            epochs=int(row["epochs"] if resource == "epochs" else row["steps"] / unit),
            **{name: row[name] for name in NET},
        )
        limits = {} if resource == "epochs" else {"steps_per_epoch": unit}
        alone.fit(*TRAIN, validation_data=VALID, **limits)
        records = search.epochs_[search.epochs_.trial == row.trial]
        assert len(records) == len(alone.history_.records)
        for name in ("loss", "val_loss", "val_accuracy"):
            assert list(records[name]) == [r[name] for r in alone.history_.records]
        assert row.score == alone.history_.records[-1]["val_loss"]
        weights = search.load_model(int(row.trial)).model_.get_weights()
        expected = alone.model_.get_weights()
        assert [w.tobytes() for w in weights] == [w.tobytes() for w in expected]


def test_a_search_that_was_stopped_goes_on_with_the_same_trials(tmp_path: Path) -> None:
    def course(folder: Path, stops: tuple[int, ...]) -> Any:
        for stop in (*stops, 10**9):
            search = pruned(
                RandomForestClassifier(27),
                DEPTH,
                resource="n_estimators",
                directory=folder,
                callbacks=[Told(stop)],
            ).fit(X, Y)
        return search

    whole = course(tmp_path / "whole", ())
    broken = course(tmp_path / "broken", (2, 4, 6))
    for name in ("trial", "state", "score", "rung", "parent", *DEPTH):
        assert list(whole.results_[name].fillna(-1)) == list(broken.results_[name].fillna(-1))
    loaded = load_study(tmp_path / "whole")
    assert list(loaded.results_.state) == list(whole.results_.state)
    assert loaded.best_score_ == whole.best_score_


def test_pruned_trials_are_those_below_the_last_rung_that_nothing_resumes() -> None:
    search = pruned(RandomForestClassifier(27), DEPTH, resource="n_estimators").fit(X, Y)
    table = search.results_
    parents = set(table.parent.dropna().astype(int))
    for trial, state, rung in zip(table.trial, table.state, table.rung, strict=True):
        assert (state == "pruned") == (rung < table.rung.max() and trial not in parents)
    assert (table.groupby("rung").n_estimators.first() == [1, 3, 9, 27]).all()
    assert table.loc[search.best_index_, "rung"] == 3
    assert search.best_estimator_.n_estimators == 27
    assert "pruned" in search.summary()
    assert len(search.cv_results_["params"]) == len(table)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(9),
        GradientBoostingClassifier(n_estimators=9, subsample=0.5),
        make_pipeline(StandardScaler(), RandomForestClassifier(9)),
        LogisticRegression(max_iter=9, solver="saga"),
    ],
    ids=["forest", "boosting", "pipeline", "from the beginning"],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_last_rung_is_the_estimator_fitted_at_once(estimator: Any) -> None:
    names = estimator.get_params()
    resource = next(n for n in names if n.split("__")[-1] in ("n_estimators", "max_iter"))
    space = {n: [1, 2, 5] for n in names if n.endswith("max_depth")} or {"C": [0.1, 1.0, 9.0]}
    search = pruned(estimator, space, resource=resource, n_iter=3, cv=2).fit(X, Y)
    row = search.results_.loc[search.best_index_]
    assert row[resource] == 9 and row.parent >= 0
    cut = StratifiedKFold(2).split(X, Y)
    alone = [clone(search.best_estimator_).fit(X[a], Y[a]).score(X[b], Y[b]) for a, b in cut]
    folds = [search.cv_results_[f"split{i}_test_score"][search.best_index_] for i in (0, 1)]
    assert folds == alone


class Counting(ClassifierMixin, BaseEstimator):
    """Notes the rows that it is fitted on; its score is how many there were."""

    seen: ClassVar[list[np.ndarray]] = []

    def __init__(self, a: int = 0) -> None:
        self.a = a

    def fit(self, x: Any, y: Any) -> Counting:
        self.classes_ = np.unique(y)
        self.rows_ = len(x)
        type(self).seen.append(np.asarray(x)[:, 0])
        return self

    def predict(self, x: Any) -> Any:
        return np.full(len(x), self.classes_[0])

    def score(self, x: Any, y: Any = None) -> float:
        return float(self.rows_ + self.a / 10)


def test_a_share_of_rows_grows_by_rungs_and_all_folds_train_to_it() -> None:
    Counting.seen.clear()
    x = np.arange(100.0)[:, None]
    y = np.arange(100) % 2
    options: dict[str, Any] = {"resource": "n_samples", "min_resources": 0.1, "refit": False}
    search = pruned(Counting(), {"a": [0, 1, 2, 3, 4, 5]}, **options).fit(x, y)
    amounts = sorted(set(search.results_.n_samples))
    assert amounts == [6, 17, 50]
    # the mean over both folds is the score
    for _, row in search.results_.iterrows():
        assert row.score == row.n_samples + row.a / 10
    seen = Counting.seen[-2 * len(search.results_) :]
    by_size: dict[int, set[tuple[float, ...]]] = {}
    for rows in seen:
        by_size.setdefault(len(rows), set()).add(tuple(rows))
        assert abs(sum(r % 2 for r in rows) - len(rows) / 2) <= 1, "classes keep their shares"
    assert all(len(kinds) == 2 for kinds in by_size.values()), "all trials get the same rows"
    for few in by_size[6]:
        assert any(set(few) <= set(more) for more in by_size[17])


@pytest.mark.parametrize("pruner", ["asha", "hyperband", "median", "patient"])
@pytest.mark.parametrize("tuner", ["random", "grid", "bayesian"])
@pytest.mark.filterwarnings("ignore:tuner='bayesian'")
def test_every_pruner_goes_with_every_tuner(tuner: str, pruner: str) -> None:
    search = TunerSearch(
        RandomForestClassifier(9),
        {"max_depth": [1, 2, 3, 4], "min_samples_leaf": [1, 9]},
        tuner=tuner,
        max_trials=6,
        pruner=pruner,
        resource="n_estimators",
        cv=2,
        seed=0,
        executor="serial",
        refit=False,
        verbose=0,
    ).fit(X, Y)
    table = search.results_
    assert table.parent.isna().sum() == 6
    assert (table.n_estimators == 9).any()
    assert set(table.state) <= {"completed", "pruned"}


def test_enqueued_points_are_pruned_too() -> None:
    search = pruned(
        RandomForestClassifier(9), DEPTH, resource="n_estimators", enqueue=[{"max_depth": 7}]
    ).fit(X, Y)
    assert search.results_.max_depth[0] == 7 and search.results_.n_estimators[0] == 1


def test_a_pruned_study_is_resumed_only_with_the_same_pruner(tmp_path: Path) -> None:
    def made(**changes: Any) -> Any:
        options = {"resource": "n_estimators", "directory": tmp_path, "refit": False} | changes
        return pruned(RandomForestClassifier(9), DEPTH, **options)

    made(n_iter=3).fit(X, Y)
    with pytest.raises(ValueError, match="search.pruner was 'asha', is 'median'"):
        made(pruner="median").fit(X, Y)
    with pytest.raises(ValueError, match="search.factor was None, is 2"):
        made(factor=2).fit(X, Y)
    more = made(n_iter=6).fit(X, Y)
    assert more.results_.parent.isna().sum() == 6


def test_the_epochs_of_a_budget_are_not_exceeded() -> None:
    search = fit(net_search(pruner="asha", max_epochs=5, max_trials=9))
    counted = search.epochs_.groupby("trial").epoch.max()
    parents = search.results_.set_index("trial").parent.dropna().astype(int)
    own = sum(n - counted.get(parents.get(t, -1), 0) for t, n in counted.items())
    assert own == 5


def test_rungs_are_divided_as_halving_divides_them() -> None:
    assert ladder(27, 3, 1) == (1, 3, 9, 27)
    assert ladder(10, 3, 1) == (2, 4, 10)
    assert ladder(27, 3, 2) == (3, 9, 27)
    assert ladder(8, 2, 1) == (1, 2, 4, 8)
    assert ladder(3, 1.5, 1) == (2, 3)
    assert unit_of(10, 3.3) == 2
    assert unit_of(10, 0.5) == 1
    assert unit_of(1719, 100) == 1719  # its only divisors below are 1, 3 and 9: too many units


def test_a_saved_ensemble_of_somebody_else_is_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    resource = Resource("n_estimators", (1, 3))
    file = tmp_path / "0-0.ensemble"
    file.write_bytes(bytes(32) + pickle.dumps(Trap()))
    assert resource.load(file) is None
    Resource("n_estimators", (1, 3)).save({"a": 1}, file)
    assert resource.load(file) is None
    resource.save({"a": 1}, file)
    assert resource.load(file) == {"a": 1}
    assert not (tmp_path / "sprung").exists()
