"""A search that starts from the trials of another study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from light_estimators import Bowl, Nearest, Tiny
from light_searches import R, Told, X, Y, sklearn_search, tuner_search

from search import import_optuna, load_study
from trainer import Choice, Float, Int


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("first")
    sklearn_search(space={"a": Float(0, 1)}, n_iter=8, directory=path).fit(X, R)
    return path


def scores(study: Any) -> list[float]:
    return sorted(study.results_.score)


def test_trials_in_a_wider_space_all_count(first: Path, tmp_path: Path) -> None:
    Bowl.fits.clear()
    search = sklearn_search(
        space={"a": Float(-1, 2)}, n_iter=3, warm_start_from=first, directory=tmp_path
    ).fit(X, R)
    old = load_study(first)
    assert search.results_.score[:8].tolist() == old.results_.score.tolist()
    assert len(search.results_) == 11 and len(search.cv_results_["params"]) == 11
    assert search.best_score_ >= old.best_score_
    assert len(Bowl.fits) == 1 + 2 * 3 + 1  # a dry run, three trials, the refit
    assert search.history_.counts.all() and len(search.history_) == 8
    loaded = load_study(tmp_path)
    assert loaded.history_.equals(search.history_) and loaded.best_score_ == search.best_score_
    for i in range(2):
        assert loaded.cv_results_[f"split{i}_test_score"][:8].tolist() == (
            old.cv_results_[f"split{i}_test_score"].tolist()
        )


def test_in_a_narrower_space_the_others_are_history(first: Path, tmp_path: Path) -> None:
    search = sklearn_search(
        space={"a": Float(0.2, 0.6)}, n_iter=2, warm_start_from=first, directory=tmp_path
    ).fit(X, R)
    inside = search.history_.params.map(lambda p: 0.2 <= p["a"] <= 0.6)
    assert search.history_.counts.tolist() == inside.tolist() and 0 < inside.sum() < 8
    assert len(search.results_) == inside.sum() + 2
    assert search.history_.why[~inside].str.contains("must lie in Float").all()


def test_a_new_parameter_has_the_estimators_own_value_in_earlier_trials(first: Path) -> None:
    space = {"a": Float(0, 1), "b": Float(0.0, 1.0)}
    search = sklearn_search(space=space, n_iter=2, warm_start_from=first).fit(X, R)
    assert search.results_.b[:8].tolist() == [0.0] * 8
    assert search.history_.counts.all()


def test_a_parameter_that_is_no_longer_searched_must_have_had_the_own_value(
    tmp_path: Path,
) -> None:
    space = {"a": Float(0, 1), "b": Choice(0.0, 1.0)}
    sklearn_search(space=space, n_iter=8, directory=tmp_path).fit(X, R)
    search = sklearn_search(n_iter=1, warm_start_from=tmp_path).fit(X, R)
    own = search.history_.params.map(lambda p: p["b"] == 0.0)
    assert search.history_.counts.tolist() == own.tolist() and 0 < own.sum() < 8
    assert search.history_.why[~own].str.contains("b=1.0 is no longer searched").all()


def test_a_grid_leaves_out_what_is_known_and_resumes_so(tmp_path: Path) -> None:
    space = {"a": [0.1, 0.2, 0.3]}
    sklearn_search(space=space, method="grid", directory=tmp_path / "old").fit(X, R)
    search = sklearn_search(
        space={"a": [0.2, 0.4, 0.3, 0.5]},
        method="grid",
        warm_start_from=tmp_path / "old",
        directory=tmp_path / "new",
        callbacks=[Told(stop=3)],
    )
    search.fit(X, R)
    assert search.results_.a.tolist() == [0.2, 0.3, 0.4]
    search.set_params(callbacks=()).fit(X, R)
    assert search.results_.a.tolist() == [0.2, 0.3, 0.4, 0.5]


@pytest.mark.parametrize("tuner", ["bayesian", "random", "grid"])
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.filterwarnings("ignore:tuner='bayesian'")
def test_a_tuner_learns_from_earlier_trials_and_resumes_as_if_unbroken(
    tuner: str, several: bool, first: Path, tmp_path: Path
) -> None:
    space: Any = {"a": Float(0, 1)}
    space = [space, {"a": Float(2, 3)}] if several else space

    def tuned(name: str, **options: Any) -> Any:
        options |= {"tuner": tuner, "cv": 2, "max_trials": 6, "directory": tmp_path / name}
        return tuner_search(space=space, warm_start_from=first, **options)

    whole = tuned("whole").fit(X, R)
    assert len(whole.results_) == 14
    broken = tuned("broken", callbacks=[Told(stop=11)])
    broken.fit(X, R)
    assert len(broken.results_) == 11
    broken.set_params(callbacks=()).fit(X, R)
    assert broken.results_.a.tolist() == whole.results_.a.tolist()


def test_objects_are_recognised_by_their_text(tmp_path: Path) -> None:
    def one(x: Any) -> Any:
        return x

    space = {"a": Float(0, 1), "b": Choice(one, (1, 2), 5)}
    sklearn_search(space=space, n_iter=6, directory=tmp_path).fit(X, R)
    search = sklearn_search(
        space={"a": Float(0, 1), "b": Choice((1, 2), one)}, n_iter=1, warm_start_from=tmp_path
    ).fit(X, R)
    assert set(search.results_.b) <= {one, (1, 2)}
    assert 0 < search.history_.counts.sum() < 6


def test_a_study_of_optuna_is_a_start_too() -> None:
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(lambda trial: -((trial.suggest_float("a", 0, 1) - 0.3) ** 2), 5)
    search = sklearn_search(n_iter=1, cv=None, warm_start_from=import_optuna(study)).fit(X, R)
    assert len(search.results_) == 6


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"warm_start_from": 3}, TypeError, "warm_start_from=3: must be the directory"),
        ({"warm_start_from": "nowhere"}, ValueError, "warm_start_from: .*no such folder"),
        ({"scoring": "r2"}, ValueError, "its objective differs from this search's"),
        ({"cv": 3}, ValueError, "its data are not those of this search"),
        ({"executions_per_trial": 2}, ValueError, "its executions_per_trial differs"),
        ({"estimator": Bowl(b=5)}, ValueError, "estimator has b=0.0, and this search's has 5"),
        ({"space": {"a": Float(5, 6)}}, ValueError, "none of its 8 trials lies in the space"),
        ({"directory": "own"}, ValueError, "is the directory of this search itself"),
        ({"estimator": Nearest(), "space": {"shift": Int(0, 1)}}, ValueError, "its "),
    ],
)
def test_a_start_that_cannot_be_compared_is_refused(
    options: Any, kind: type[Exception], says: str, first: Path
) -> None:
    given = {"warm_start_from": first} | options
    if given.get("directory") == "own":
        given["directory"] = first
    Bowl.fits.clear()
    with pytest.raises(kind, match=f"(?s){says}"):
        sklearn_search(**given).fit(X, Y if "Nearest" in repr(options) else R)
    assert Bowl.fits == []


def test_a_method_that_compares_epochs_refuses_earlier_trials(tmp_path: Path) -> None:
    f = X.astype("float32")
    options = {"validation_data": (f, Y)}
    tuner_search(Tiny(epochs=3), ["units"], max_trials=1, directory=tmp_path).fit(f, Y, **options)
    search = tuner_search(Tiny(epochs=3), ["units"], tuner="hyperband", warm_start_from=tmp_path)
    with pytest.raises(ValueError, match="whose epochs it chose itself; write tuner='random'"):
        search.fit(f, Y, **options)
