"""Searches over any estimator: which rows are fitted and scored, and what comes of it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from light_estimators import Bowl, Nearest
from light_searches import R, X, Y, sklearn_search, tuner_search
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, KFold, TimeSeriesSplit
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from search import FunctionSearch, SklearnSearch, TunerSearch
from search.space import Space, text_of
from trainer import Choice, Float


@pytest.fixture(autouse=True)
def fits() -> list[dict[str, Any]]:
    Bowl.fits.clear()
    return Bowl.fits


# ---- rows ------------------------------------------------------------------------------------


def test_without_cv_a_fifth_of_the_rows_is_held_out(fits: list[dict[str, Any]]) -> None:
    search = tuner_search(max_trials=2).fit(X, R)
    assert [fit["rows"] for fit in fits[1:]] == [48, 48, 60]  # the first is the rehearsal
    assert search.n_splits_ == 1
    assert set(search.cv_results_) >= {"split0_test_score"}


def test_rows_of_a_class_are_held_out_in_proportion() -> None:
    seen = []

    def shares(estimator: Any, x: Any, y: Any) -> float:
        seen.append(np.bincount(y).tolist())
        return 0.0

    tuner_search(Nearest(), {"shift": [0.0, 1.0]}, scoring=shares, max_trials=1).fit(X, Y)
    assert seen == [[4, 4, 4]] * 2


def test_validation_data_are_what_trials_are_scored_on(fits: list[dict[str, Any]]) -> None:
    valid = np.full((5, 3), 7.0)
    search = tuner_search().fit(X, R, validation_data=(valid, np.zeros(5)))
    assert [fit["rows"] for fit in fits[1:]] == [60] * 5
    best = search.results_.loc[search.best_index_]
    assert best.score == -((best.a - 0.3) ** 2) + 7e-3


@pytest.mark.parametrize(
    ("cv", "groups", "rows"),
    [
        (3, None, [40, 40, 40]),
        (KFold(4), None, [45] * 4),
        (TimeSeriesSplit(3), None, [15, 30, 45]),
        (GroupKFold(2), np.repeat([0, 1, 1, 1], 15), [15, 45]),
        ([(np.arange(10), np.arange(10, 60))], None, [10]),
        (
            iter([(np.arange(10), np.arange(10, 60)), (np.arange(9), np.arange(9, 60))]),
            None,
            [10, 9],
        ),
    ],
)
def test_any_splitter_cuts_the_rows(
    fits: list[dict[str, Any]], cv: Any, groups: Any, rows: list[int]
) -> None:
    search = sklearn_search(cv=cv, n_iter=2).fit(X, R, groups=groups)
    assert [fit["rows"] for fit in fits[1:-1]] == rows * 2
    assert fits[-1]["rows"] == 60
    assert search.n_splits_ == len(rows)


def test_no_group_is_in_both_parts() -> None:
    groups = np.arange(60) % 7
    seen = []

    def score(estimator: Any, x: Any, y: Any) -> float:
        seen.append(set(groups[x[:, 0].astype(int)]))
        return 0.0

    sklearn_search(cv=GroupKFold(3), scoring=score, n_iter=1).fit(X, R, groups=groups)
    parts = seen[1:]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 7


def test_weights_reach_fit_with_their_rows(fits: list[dict[str, Any]]) -> None:
    weight = np.arange(60.0)
    sklearn_search(cv=KFold(2), n_iter=1).fit(X, R, sample_weight=weight)
    np.testing.assert_array_equal(fits[1]["weight"], weight[30:])
    np.testing.assert_array_equal(fits[2]["weight"], weight[:30])
    np.testing.assert_array_equal(fits[3]["weight"], weight)


def test_weights_reach_the_last_step_of_a_pipeline(fits: list[dict[str, Any]]) -> None:
    pipeline = make_pipeline(StandardScaler(), Bowl())
    search = sklearn_search(pipeline, {"bowl__a": [0.1, 0.3]}, method="grid", cv=KFold(2))
    search.fit(X, R, sample_weight=np.arange(60.0))
    assert search.best_params_ == {"bowl__a": 0.3}
    np.testing.assert_array_equal(fits[-1]["weight"], np.arange(60.0))


def test_rows_may_be_a_frame_or_a_list_of_texts() -> None:
    from sklearn.feature_extraction.text import CountVectorizer

    frame = pd.DataFrame(X, columns=list("abc"))
    search = sklearn_search(Nearest(), {"shift": [0.0, 1.0]}).fit(frame, Y)
    assert search.best_estimator_.feature_names_in_.tolist() == ["a", "b", "c"]
    texts = ["red apple", "green tree", "blue sky"] * 8
    pipeline = make_pipeline(CountVectorizer(), LogisticRegression())
    found = sklearn_search(pipeline, {"logisticregression__C": [0.1, 10.0]}).fit(
        texts, ["a", "b", "c"] * 8
    )
    assert found.predict(["green tree"]).tolist() == ["b"]


@pytest.mark.parametrize(
    "estimator",
    [KNeighborsClassifier(n_neighbors=150), make_pipeline(KNeighborsClassifier(n_neighbors=150))],
)
def test_an_estimator_that_needs_many_rows_is_rehearsed_with_all(estimator: Any) -> None:
    x = np.random.default_rng(0).normal(size=(400, 3))
    name = "weights" if hasattr(estimator, "weights") else "kneighborsclassifier__weights"
    search = sklearn_search(estimator, {name: ["uniform", "distance"]}, cv=2)
    search.fit(x, np.sort(np.arange(400) % 3))
    assert (search.results_.state == "completed").all()


# ---- what is best ----------------------------------------------------------------------------


@pytest.mark.parametrize("tuner", ["random", "grid", "bayesian"])
def test_the_best_has_the_highest_score(tuner: str) -> None:
    search = tuner_search(tuner=tuner, max_trials=8).fit(X, R)
    table = search.results_
    assert search.best_score_ == table.score.max()
    assert search.best_index_ == table.score.idxmax()
    assert search.best_params_ == {"a": table.a[search.best_index_]}
    assert search.best_estimator_.a == search.best_params_["a"]
    assert search.top(3).score.tolist() == sorted(table.score, reverse=True)[:3]
    assert len(search.top(100)) == len(table) == 8


def test_results_have_a_row_a_trial_and_a_column_a_parameter() -> None:
    space = {"b": Choice("x", None), "a": Float(0, 1, when={"b": "x"}), "fail": [5]}
    table = sklearn_search(space=space, n_iter=6).fit(X, R).results_
    assert table.columns.tolist() == [
        "trial", "state", "score", "b", "a", "fail", "seconds", "error",
    ]  # fmt: skip
    assert table.trial.tolist() == list(range(6))
    assert table.a.isna().tolist() == table.b.isna().tolist()
    assert {type(value) for value in table.fail} == {int}
    assert table.error.isna().all() and (table.seconds > 0).all()


def test_one_of_several_scores_counts() -> None:
    options: dict[str, Any] = {"method": "grid", "scoring": ["accuracy", "neg_log_loss"]}
    space = {"power": [1.0, 2.0, 3.0], "shift": [0.0, 0.3]}
    for chosen in ({"refit": "neg_log_loss"}, {"refit": False, "objective": "neg_log_loss"}):
        search = sklearn_search(Nearest(), space, **options, **chosen).fit(X, Y)
        assert search.best_score_ == search.results_.test_neg_log_loss.max()
        assert search.results_.score.tolist() == search.results_.test_neg_log_loss.tolist()
        assert hasattr(search, "best_estimator_") == bool(chosen["refit"])


def test_an_error_of_some_points_is_on_their_rows() -> None:
    search = sklearn_search(Bowl(fail=0.9), {"a": [0.9, 0.4, 0.2]}, method="grid")
    with pytest.warns(UserWarning, match="1 of 3 trials failed"):
        search.fit(X, R)
    table = search.results_.set_index("a")
    assert table.state.to_dict() == {0.9: "failed", 0.4: "completed", 0.2: "completed"}
    assert "a=0.9 cannot be" in table.error[0.9] and np.isnan(table.score[0.9])
    assert search.best_params_ != {"a": 0.9}


def test_without_a_single_score_it_says_why() -> None:
    class Fails(Bowl):
        def score(self, x: Any, y: Any = None, sample_weight: Any = None) -> float:
            return 1.0 if self.a == 0.0 else float("nan")

    with pytest.raises(RuntimeError, match="none of 2 trials has a score; the first failed.*nan"):
        sklearn_search(Fails(), {"a": [0.5, 0.6]}, method="grid").fit(X, R)


def test_refit_is_on_all_rows_with_the_trials_seed(fits: list[dict[str, Any]]) -> None:
    search = sklearn_search(n_iter=3).fit(X, R)
    by_trial = [fit["seed"] for fit in fits[1:-1:2]]
    assert len(set(by_trial)) == 3
    assert fits[-1]["seed"] == by_trial[search.best_index_]
    assert search.refit_time_ > 0


def test_without_refit_there_is_no_estimator_not_even_an_earlier_one() -> None:
    search = sklearn_search().fit(X, R)
    search.set_params(refit=False).fit(X, R)
    assert not hasattr(search, "best_estimator_") and not hasattr(search, "refit_time_")
    with pytest.raises(Exception, match="refit=False"):
        search.predict(X)
    assert search.best_params_


# ---- what may be passed --------------------------------------------------------------------------


def test_the_splits_of_a_splitter_without_a_seed_stay_those_of_the_study(tmp_path: Path) -> None:
    def first_rows(n_iter: int) -> list[float]:
        Bowl.fits.clear()
        sklearn_search(
            space={"a": [0.5, 0.6, 0.7]},
            cv=KFold(3, shuffle=True),
            n_iter=n_iter,
            directory=tmp_path,
            refit=False,
        ).fit(X, R)
        return [fit["first"] for fit in Bowl.fits]

    rehearsal, *begun = first_rows(2)
    assert begun[:3] == begun[3:]
    assert first_rows(3) == begun[:3]  # the third trial is fitted on the same rows
    search = sklearn_search(Bowl(), cv=KFold(4, shuffle=True), directory=tmp_path)
    with pytest.raises(ValueError, match="splits"):
        search.fit(X, R)


def test_a_search_goes_on_if_its_first_points_fail_each_in_their_own_way() -> None:
    class Picky(Bowl):
        def fit(self, x: Any, y: Any, sample_weight: Any = None) -> Picky:
            if self.a < 0.9:
                raise ArithmeticError(f"a={self.a} is too low")
            super().fit(x, y)
            return self

    search = sklearn_search(Picky(), enqueue=[{"a": 0.95}], n_iter=3).fit(X, R)
    assert search.best_params_ == {"a": 0.95}


def test_a_search_goes_on_if_a_later_point_of_the_rehearsal_can_be_fitted() -> None:
    class Picky(Bowl):
        def fit(self, x: Any, y: Any, sample_weight: Any = None) -> Picky:
            if self.a < 0.5:
                raise ArithmeticError("cannot be")
            super().fit(x, y)
            return self

    search = sklearn_search(Picky(), {"a": Float(0, 1)}, seed=8, n_iter=6)
    draws = Space.of(Picky(), {"a": Float(0, 1)})
    assert draws.draw(np.random.default_rng(search.seed))["a"] < 0.5
    assert search.fit(X, R).best_score_ < 1


LISTED = [
    {"kind": ["mean"], "shift": [0.0, 0.1]},
    {"kind": ["median"], "shift": [0.2, 0.3], "power": [1.0, 2.0]},
]


def _lies_in_one(params: dict[str, Any]) -> bool:
    return any(
        params.keys() == part.keys() and all(params[n] in v for n, v in part.items())
        for part in LISTED
    )


@pytest.mark.parametrize("method", ["grid", "random"])
def test_a_list_of_dicts_is_a_space(method: str) -> None:
    search = sklearn_search(Nearest(), LISTED, method=method, n_iter=20).fit(X, Y)
    tried = search.cv_results_["params"]
    assert all(map(_lies_in_one, tried))
    assert len({repr(sorted(p.items())) for p in tried}) == len(tried) == 6
    assert list(search.results_.columns[3:6]) == ["kind", "shift", "power"]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("tuner", ["random", "bayesian", "grid"])
def test_tuners_take_a_list_of_dicts(tuner: str, tmp_path: Path) -> None:
    given = {"tuner": tuner, "max_trials": 20, "directory": tmp_path, "refit": False}
    point = {"kind": "median", "shift": 0.3, "power": 2.0}
    search = tuner_search(Nearest(), LISTED, enqueue=[point], **given).fit(X, Y)
    tried = search.cv_results_["params"]
    assert tried[0] == point
    assert all(map(_lies_in_one, tried))
    assert len({repr(sorted(p.items())) for p in tried}) == len(tried) == 6
    assert len(search.fit(X, Y).results_) == 6  # resumed: nothing is left


def test_objects_as_choices_are_described_by_their_configuration(tmp_path: Path) -> None:
    def search() -> Any:
        scalers = [StandardScaler(), StandardScaler(with_mean=False)]
        given = {"method": "grid", "directory": tmp_path, "refit": False}
        space = {"standardscaler": [*scalers, "passthrough"], "nearest__shift": [0.0]}
        return sklearn_search(make_pipeline(StandardScaler(), Nearest()), space, **given)

    first = search().fit(X, Y)
    again = search().fit(X, Y)  # made anew, at other addresses
    assert len(again.results_) == len(first.results_) == 3
    assert text_of(StandardScaler(with_mean=False)) == "StandardScaler(with_mean=False)"
    assert text_of(np.mean) == "mean"
    assert "at 0x" not in text_of(object())


# ---- samplers of Optuna ----------------------------------------------------------------------


@pytest.mark.parametrize("tuner", ["tpe", "cma-es", "qmc", "nsga2"])
def test_a_sampler_goes_on_with_the_trials_that_it_would_have_tried(
    tuner: str, tmp_path: Path
) -> None:
    options = {"tuner": tuner, "enqueue": [{"a": 0.5}], "refit": False}
    tuner_search(max_trials=4, directory=tmp_path, **options).fit(X, R)
    resumed = tuner_search(max_trials=13, directory=tmp_path, **options).fit(X, R)
    whole = tuner_search(max_trials=13, **options).fit(X, R)
    assert resumed.results_.a.tolist() == whole.results_.a.tolist()
    assert resumed.results_.a[0] == 0.5 and len(set(whole.results_.a)) == 13


def test_a_sampler_learns_from_each_of_several_spaces() -> None:
    spaces = [{"a": Float(-1, 1)}, {"a": Float(5, 6)}]
    search = tuner_search(space=spaces, tuner="tpe", max_trials=12, refit=False).fit(X, R)
    assert {a > 1 for a in search.results_.a} == {True, False}


# ---- the tuner that is meant by None ---------------------------------------------------------


def test_without_a_tuner_tpe_proposes(tmp_path: Path) -> None:
    given = tuner_search(max_trials=14, tuner="tpe").fit(X, R)
    chosen = tuner_search(max_trials=14, tuner=None, directory=tmp_path).fit(X, R)
    assert chosen.get_params(deep=False)["tuner"] is None
    assert chosen.results_.score.tolist() == given.results_.score.tolist()


def test_without_a_tuner_a_study_keeps_the_one_it_was_begun_with(tmp_path: Path) -> None:
    given = tuner_search(max_trials=10, tuner="bayesian").fit(X, R)
    tuner_search(max_trials=8, tuner="bayesian", directory=tmp_path).fit(X, R)
    search = tuner_search(max_trials=10, tuner=None, directory=tmp_path)
    assert search.fit(X, R).results_.score.tolist() == given.results_.score.tolist()
    search.set_params(directory=None).fit(X, R)  # a new study: nothing of the last fit is left
    tpe = tuner_search(max_trials=10, tuner="tpe").fit(X, R)
    assert search.results_.score.tolist() == tpe.results_.score.tolist()


def test_a_study_begun_with_tpe_is_not_resumed_with_another_tuner(tmp_path: Path) -> None:
    tuner_search(max_trials=2, tuner=None, directory=tmp_path).fit(X, R)
    with pytest.raises(ValueError, match="tuner"):
        tuner_search(max_trials=3, tuner="random", directory=tmp_path).fit(X, R)


# ---- arguments -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "given", "says"),
    [
        (TunerSearch, {"max_trial": 3}, r"TunerSearch\(max_trial=...\): .*mean 'max_trials'\?"),
        (SklearnSearch, {"n_iters": 3}, r"SklearnSearch\(n_iters=...\): .*mean 'n_iter'\?"),
        (FunctionSearch, {"directon": "min"}, r"FunctionSearch\(directon=...\): .*'direction'"),
    ],
)
def test_an_argument_that_is_not_there_is_told_what_it_may_mean(
    kind: Any, given: dict[str, Any], says: str
) -> None:
    with pytest.raises(TypeError, match=says):
        kind(Bowl(), {"a": [1]}, **given)
    assert list(inspect.signature(kind).parameters)[1] == "space", "help() shows them all"
