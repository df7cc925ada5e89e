"""The course of a search: seeds, points known before, budgets, callbacks, stopping and going on."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from light_estimators import Bowl
from light_searches import R, Told, X, Y, sklearn_search, tuner_search
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from search.study import coordinator
from trainer import Bool, Choice, Float, Int


@pytest.fixture(autouse=True)
def fits() -> list[dict[str, Any]]:
    Bowl.fits.clear()
    return Bowl.fits


# ---- seeds, points, budgets ------------------------------------------------------------------


def test_executions_have_seeds_of_their_own_and_count_as_their_mean(
    fits: list[dict[str, Any]],
) -> None:
    def score(estimator: Any, x: Any, y: Any) -> float:
        return float(estimator.random_state % 97)

    search = sklearn_search(scoring=score, executions_per_trial=3, n_iter=2, cv=KFold(2))
    search.fit(X, R)
    seeds = [fit["seed"] for fit in fits[1:-1]]
    assert seeds[0::2] == seeds[1::2]  # both splits of an execution have one seed
    assert len(set(seeds)) == 6
    means = [np.mean([s % 97 for s in seeds[i : i + 6]]) for i in (0, 6)]
    np.testing.assert_allclose(search.results_.score, means)


def test_a_seed_in_the_estimator_stays(fits: list[dict[str, Any]]) -> None:
    sklearn_search(Bowl(random_state=3)).fit(X, R)
    assert {fit["seed"] for fit in fits} == {3}


@pytest.mark.parametrize("make", [sklearn_search, tuner_search])
def test_trials_do_not_depend_on_the_number_of_workers(make: Any) -> None:
    estimator = DecisionTreeClassifier(max_features=1)
    space = {"max_depth": Int(1, 9), "min_samples_leaf": Int(1, 9)}
    tables = [
        make(estimator, space, executor="processes", workers=n).fit(X, Y).results_ for n in (1, 3)
    ] + [make(estimator, space).fit(X, Y).results_]
    for table in tables[1:]:
        pd.testing.assert_frame_equal(
            table.drop(columns="seconds"), tables[0].drop(columns="seconds")
        )


def test_another_seed_gives_other_trials_and_none_draws_one() -> None:
    one, other = (sklearn_search(seed=seed).fit(X, R) for seed in (1, 2))
    assert set(one.results_.a).isdisjoint(other.results_.a)
    drawn = sklearn_search(seed=None).fit(X, R)
    again = sklearn_search(seed=drawn.seed_).fit(X, R)
    assert drawn.results_.a.tolist() == again.results_.a.tolist()


@pytest.mark.parametrize(
    ("make", "kind", "trials"),
    [
        (sklearn_search, "random", 4),
        (sklearn_search, "grid", 22),
        (tuner_search, "random", 4),
        (tuner_search, "grid", 4),
        (tuner_search, "bayesian", 4),
    ],
)
def test_known_points_come_first(make: Any, kind: str, trials: int) -> None:
    points = [{"a": 0.31}, {"a": 0.77, "b": 2.0}]
    space = {"a": Float(0, 1), "b": [1.0, 2.0]}
    name = "method" if make is sklearn_search else "tuner"
    search = make(Bowl(b=1.0), space, enqueue=points, **{name: kind}).fit(X, R)
    assert search.results_.a.tolist()[:2] == [0.31, 0.77]
    assert search.results_.b.tolist()[:2] == [1.0, 2.0]  # the estimator's own where none is given
    assert len(search.results_) == trials


def test_the_bayesian_oracle_learns_from_known_points() -> None:
    def proposed(known: Any) -> list[float]:
        found = tuner_search(tuner="bayesian", enqueue=known, max_trials=14).fit(X, R)
        return list(found.results_.a[-6:])

    near = [{"a": value} for value in (0.0, 0.2, 0.28, 0.32, 0.4, 0.6, 0.8, 1.0)]
    assert np.abs(np.array(proposed(near)) - 0.3).max() < 0.1


def test_no_trial_begins_after_max_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    class Slow(Bowl):
        def score(self, x: Any, y: Any = None, sample_weight: Any = None) -> float:
            nonlocal now
            now += 0.2
            return 0.0

    clock = SimpleNamespace(monotonic=lambda: now, time=time.time)
    monkeypatch.setattr(coordinator, "time", clock)
    search = sklearn_search(Slow(), n_iter=500, cv=2, max_seconds=1.0).fit(X, R)
    assert len(search.results_) == 3
    assert (search.results_.state == "completed").all()


# ---- callbacks, stopping, resuming -----------------------------------------------------------


def test_callbacks_are_told_in_order() -> None:
    told = Told()
    sklearn_search(n_iter=2, callbacks=[told]).fit(X, R)
    assert told.heard == [
        "begin 0", "0 begins", "0 completed", "1 begins", "1 completed", "end",
    ]  # fmt: skip


def test_a_callback_stops_the_search() -> None:
    search = sklearn_search(n_iter=50, callbacks=[Told(stop=3)]).fit(X, R)
    assert len(search.results_) == 3
    assert search.best_score_ == search.results_.score.max()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError("mine")])
def test_a_search_that_is_broken_off_shows_what_there_is_and_goes_on(
    tmp_path: Path, error: BaseException
) -> None:
    told = Told(stop=2, error=error)
    search = sklearn_search(n_iter=5, callbacks=[told], directory=tmp_path / "a")
    with pytest.raises(type(error)):
        search.fit(X, R)
    assert told.heard[-1] == "end"
    assert len(search.results_) == 2 and len(search.top(9)) == 2
    told = Told()
    search.set_params(callbacks=[told]).fit(X, R)
    assert told.heard[0] == "begin 2"
    whole = sklearn_search(n_iter=5).fit(X, R)
    assert search.results_.score.tolist() == whole.results_.score.tolist()


@pytest.mark.parametrize(
    ("make", "more"),
    [
        (sklearn_search, {"n_iter": 7}),
        (tuner_search, {"max_trials": 7}),
        (lambda **o: tuner_search(tuner="bayesian", **o), {"max_trials": 7}),
    ],
)
def test_a_study_goes_on_with_more_trials(tmp_path: Path, make: Any, more: Any) -> None:
    short = make(directory=tmp_path / "a").fit(X, R)
    told = Told()
    longer = make(directory=tmp_path / "a", seed=None, callbacks=[told], **more).fit(X, R)
    assert told.heard[0] == "begin 4" and "0 begins" not in told.heard
    assert longer.seed_ == short.seed_ == 0
    assert longer.directory_ == str(tmp_path / "a")
    whole = make(**more).fit(X, R)
    assert longer.results_.a.tolist() == whole.results_.a.tolist()
    assert longer.results_.score.tolist() == whole.results_.score.tolist()


def test_a_finished_study_is_read_without_a_fit(tmp_path: Path, fits: list[Any]) -> None:
    first = sklearn_search(directory=tmp_path).fit(X, R)
    fits.clear()
    again = sklearn_search(directory=tmp_path, resume=True, refit=False).fit(X, R)
    assert fits == []
    pd.testing.assert_frame_equal(first.results_, again.results_)
    assert first.best_params_ == again.best_params_


def test_values_that_json_has_no_form_for_are_kept_and_resumed(tmp_path: Path) -> None:
    space: dict[str, Any] = {
        "standardscaler": [StandardScaler(), "passthrough", StandardScaler(with_mean=False)],
        "bowl__a": Float(0, 1),
        "bowl__b": [np.float64(1.5), (1, 2), None],
    }
    pipeline = make_pipeline(StandardScaler(), Bowl())
    short = sklearn_search(pipeline, space, directory=tmp_path).fit(X, R)
    longer = sklearn_search(pipeline, space, directory=tmp_path, n_iter=9).fit(X, R)
    whole = sklearn_search(pipeline, space, n_iter=9).fit(X, R)
    for search in (longer, whole):
        assert search.results_.score.tolist()[:4] == short.results_.score.tolist()
    assert repr(longer.cv_results_["params"]) == repr(whole.cv_results_["params"])
    assert longer.best_params_["standardscaler"] in space["standardscaler"]


@pytest.mark.parametrize("make", [sklearn_search, tuner_search])
@pytest.mark.parametrize("first", [int, np.int64])
def test_scalars_of_numpy_mean_the_numbers_of_python(tmp_path: Path, make: Any, first: Any) -> None:
    def search(number: Any, more: int) -> Any:
        limit = "n_iter" if make is sklearn_search else "max_trials"
        options = {limit: number(3 + more), "seed": number(1), "executions_per_trial": number(2)}
        options |= {"factor": number(2), "resource": "n_samples", "min_resources": number(8)}
        space = {"a": Float(number(0), 1), "b": Choice(number(3), number(4))}
        made = make(space=space, pruner="asha", cv=number(2), directory=tmp_path, **options)
        return made, made.fit(X, R).results_

    begun, table = search(first, 0)
    assert begun.seed == 1 and type(begun.seed) is first  # a fit leaves arguments as they are
    resumed, more = search(np.int64 if first is int else int, 2)
    assert table.error.isna().all() and len(more) > len(table)
    assert more.score[: len(table)].tolist() == table.score.tolist()
    assert {type(value) for value in resumed.best_params_.values()} <= {int, float}


def test_true_and_false_of_numpy_are_those_of_python(tmp_path: Path) -> None:
    search = tuner_search(
        tuner=np.str_("random"), refit=np.False_, resume=np.False_, directory=tmp_path
    )
    assert not hasattr(search.fit(X, R), "best_estimator_")
    with pytest.raises(ValueError, match="resume=False: .* holds a study"):
        search.fit(X, R)


def test_the_values_of_a_space_are_not_fitted_themselves() -> None:
    scaler = StandardScaler()
    pipeline = make_pipeline("passthrough", Bowl())
    search = sklearn_search(pipeline, {"passthrough": [scaler], "bowl__a": [0.1]}, method="grid")
    search.fit(X, R)
    assert not hasattr(scaler, "mean_")
    assert hasattr(search.best_estimator_[0], "mean_")


@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_without_a_directory_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    search = tuner_search(executor=executor, workers=None if executor == "serial" else 2)
    search.fit(X, R)
    assert search.directory_ is None
    assert os.listdir(tmp_path) == []


def test_with_a_directory_the_data_do_not_stay_in_it(tmp_path: Path) -> None:
    search = sklearn_search(space={"b": Bool()}, method="grid", directory=tmp_path / "deep" / "er")
    search.fit(X, R)
    assert {p.name for p in (tmp_path / "deep" / "er").iterdir()} == {".lock", "study.sqlite"}
