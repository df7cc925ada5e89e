"""Searches with several objectives and with constraints: the front, the best, and resuming."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from light_searches import R, X, tuner_search

from search import FunctionSearch, SklearnSearch, TunerSearch, load_study
from search.study.goals import front
from trainer import Choice, Classifier, Float

SPACE = {"x": Float(0, 2), "y": Float(0, 2)}


def schaffer(x: float, y: float) -> dict[str, float]:
    """The function of Schaffer (1985), with a second variable that is best at 0."""
    return {"near": x**2 + y, "far": (x - 2) ** 2 + y, "size": 100 * x}


def search(**options: Any) -> FunctionSearch:
    given = {"objective": ["near", ("far", "min")], "direction": "min", "tuner": "random"}
    quiet = {"executor": "serial", "seed": 0, "verbose": 0, "max_trials": 24}
    return FunctionSearch(schaffer, SPACE, **given | quiet | options)


def test_the_best_trials_are_those_that_no_other_dominates() -> None:
    found = search().fit()
    results = found.results_
    assert list(results.columns[:4]) == ["trial", "state", "score", "x"]
    expected = results[front(results[["score", "far"]], [False, False])]
    assert set(found.best_trials_.trial) == set(expected.trial)
    assert found.best_trials_.score.is_monotonic_increasing
    assert found.best_score_ == results.score.min() == found.best_trials_.score.iloc[0]


def equal(x: float) -> dict[str, float]:
    return {"near": 1.0, "far": x, "size": 0.0}


def test_of_equal_first_objectives_the_next_decides_so_that_the_best_is_on_the_front(
    tmp_path: Path,
) -> None:
    options = {"objective": ["near", ("far", "min")], "direction": "min", "tuner": "grid"}
    quiet = {"executor": "serial", "seed": 0, "verbose": 0, "directory": tmp_path}
    found = FunctionSearch(equal, {"x": [3.0, 1.0, 2.0]}, **options | quiet).fit()
    assert found.best_trials_.x.tolist() == [1.0]
    assert found.best_params_ == load_study(tmp_path).best_params_ == {"x": 1.0}
    assert found.top(1).x.tolist() == load_study(tmp_path).top(1).x.tolist() == [1.0]


@pytest.mark.parametrize("tuner", ["nsga2", "tpe"])
def test_samplers_learn_from_all_objectives(tuner: str) -> None:
    dominated = {}
    for name in (tuner, "random"):
        # a generation of NSGA-II has 50 trials
        found = search(tuner=name, max_trials=200).fit().results_
        dominated[name] = found[100:].y.mean()  # at y = 0 is the front, wherever x is
    assert dominated[tuner] < 0.8 * dominated["random"]
    assert found.x.max() - found.x.min() > 1


@pytest.mark.parametrize("tuner", ["random", "nsga2", "tpe", "qmc"])
def test_a_study_that_is_resumed_equals_one_that_was_not(tuner: str, tmp_path: Path) -> None:
    bounds = {"size": (20, 150), "seconds": (None, 60)}
    whole = search(tuner=tuner, max_trials=20, constraints=bounds).fit()
    search(tuner=tuner, max_trials=13, constraints=bounds, directory=tmp_path).fit()
    resumed = search(tuner=tuner, max_trials=20, constraints=bounds, directory=tmp_path).fit()
    columns = ["score", "far", "size", "x", "y", "feasible"]
    assert resumed.results_[columns].equals(whole.results_[columns])
    assert resumed.best_index_ == whole.best_index_

    loaded = load_study(tmp_path)
    assert list(loaded.best_trials_.trial) == list(resumed.best_trials_.trial)
    assert loaded.best_params_ == resumed.best_params_
    assert list(loaded.top(3).trial) == list(resumed.top(3).trial)
    assert loaded.plot_pareto()[0].get_xlabel() == "near (lower is better)"
    with pytest.raises(ValueError, match="objectives"):
        search(objective="near", directory=tmp_path).fit()
    with pytest.raises(ValueError, match="constraints"):
        search(tuner=tuner, constraints={"size": (20, 160)}, directory=tmp_path).fit()


def test_a_trial_that_violates_a_constraint_is_not_the_best() -> None:
    free = search(objective="near").fit()
    assert free.best_params_["x"] < 0.5
    bound = search(objective="near", constraints={"size": (50, None)}).fit()
    results = bound.results_
    assert results.feasible.tolist() == (results["size"] >= 50).tolist()
    assert bound.best_score_ == results[results.feasible].score.min() > results.score.min()
    assert bound.top(2).feasible.all()
    assert bound.best_trials_.trial.tolist() == [bound.best_index_]


def test_samplers_learn_from_constraints() -> None:
    bounds = {"size": (120, None)}
    met = {
        tuner: search(tuner=tuner, max_trials=60, constraints=bounds).fit().results_.feasible
        for tuner in ("random", "tpe")
    }
    assert met["tpe"][30:].mean() > 1.5 * met["random"][30:].mean()


def test_where_no_trial_meets_the_constraints_it_says_so(tmp_path: Path) -> None:
    none = search(constraints={"size": (None, -1)}, max_trials=4, directory=tmp_path)
    with pytest.raises(RuntimeError, match="none of 4 trials meets them; see results_"):
        none.fit()
    assert len(none.results_) == 4
    assert not none.results_.feasible.any()
    assert not len(none.best_trials_)
    assert "best near" not in none.summary()
    none.report(tmp_path / "page.html")
    assert "There is no best trial" in (tmp_path / "page.html").read_text("utf-8")
    with pytest.raises(AttributeError, match="none of 4 trials meets the constraints"):
        _ = load_study(tmp_path).best_params_


def test_a_function_may_return_its_own_seconds_and_parameters() -> None:
    def model(x: float) -> dict[str, float]:
        return {"loss": x, "seconds": 100 * x, "parameters": 7.0}

    found = FunctionSearch(
        model,
        {"x": Float(0, 1)},
        objective=["loss", "seconds"],
        direction="min",
        constraints={"parameters": (None, 10)},
        tuner="random",
        max_trials=3,
        executor="serial",
        seed=0,
        verbose=0,
    ).fit()
    values = [trial.outcome["values"] for trial in found._trials]
    assert [v[1] for v in values] == pytest.approx([100 * v[0] for v in values])
    assert found.results_.feasible.all()


def test_a_value_that_a_trial_does_not_have_fails_it() -> None:
    def sometimes(x: float) -> dict[str, float]:
        return {"a": x} if x > 1 else {"a": x, "b": x}

    found = FunctionSearch(
        sometimes,
        {"x": Float(0, 2)},
        objective=["a", ("b", "min")],
        tuner="random",
        max_trials=8,
        executor="serial",
        seed=0,
        verbose=0,
    )
    with pytest.warns(UserWarning, match="of 8 trials failed"):
        found.fit()
    failed = found.results_[found.results_.state == "failed"]
    assert (failed.x > 1).all()
    assert len(failed) == (found.results_.x > 1).sum() > 0
    assert failed.error.str.contains("'b'").all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tuner": "bayesian"}, "tuner='bayesian': knows only a single score.*'tpe', 'nsga2'"),
        ({"tuner": "cma-es"}, "tuner='cma-es': knows only a single score"),
        (
            {"tuner": "cma-es", "objective": "near", "constraints": {"size": (None, 1)}},
            "tuner='cma-es'.*there is constraints=",
        ),
    ],
)
def test_a_method_that_knows_one_score_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        search(**options).fit()


def test_halving_and_pruners_compare_by_one_score() -> None:
    x = np.zeros((8, 2), np.float32)
    several = {"objective": ["val_loss", "seconds"], "verbose": 0}
    pruned = TunerSearch(Classifier(), {"learning_rate": [0.1, 0.2]}, pruner="asha", **several)
    halved = SklearnSearch(Classifier(), {"learning_rate": [0.1]}, method="halving", **several)
    for one, said in ((pruned, "pruner='asha'"), (halved, "method='halving'")):
        with pytest.raises(ValueError, match=f"{said}.*there is objective="):
            one.fit(x, np.arange(8) % 2)


def test_trials_of_an_earlier_study_bring_all_their_values(tmp_path: Path) -> None:
    options = {"tuner": "tpe", "objective": ["score", "seconds"], "cv": 2}
    first = tuner_search(max_trials=4, directory=tmp_path / "first", **options).fit(X, R)
    more = options | {"warm_start_from": tmp_path / "first", "directory": tmp_path / "second"}
    second = tuner_search(max_trials=2, **more).fit(X, R)
    known = second._trials[:4]
    values = [list(t.outcome["values"]) for t in first._trials]
    assert [t.outcome["values"] for t in known] == values
    assert len(second.results_) == 6
    with pytest.raises(ValueError, match="its objectives differs.*the same list as objective="):
        tuner_search(**more | {"objective": "score", "directory": None}).fit(X, R)


def test_a_study_of_optuna_gets_all_objectives() -> None:
    first = search(max_trials=6).fit()
    study = first.export_optuna()
    assert [t.values for t in study.trials] == first.results_[["score", "far"]].values.tolist()
    assert [d.name for d in study.directions] == ["MINIMIZE", "MINIMIZE"]
    assert {t.number for t in study.best_trials} == set(first.best_trials_.trial)


def test_parameters_seconds_and_latency_of_a_network_are_measured(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
    y = (x[:, 0] > 0).astype(int)
    found = TunerSearch(
        Classifier(model="mlp", epochs=1, verbose=0),
        {"batch_size": Choice(8, 16)},
        tuner="grid",
        objective=["val_accuracy", "seconds", ("parameters", "min"), "latency_ms"],
        constraints={"latency_ms": (None, 60_000.0)},
        executor="serial",
        directory=tmp_path,
        seed=0,
        verbose=0,
    ).fit(x, y)
    results = found.results_
    assert (results.parameters == found.best_estimator_.model_.count_params()).all()
    assert (results.latency_ms > 0).all()
    assert results.feasible.all()
    values = [trial.outcome["values"] for trial in found._trials]
    assert [v[1] for v in values] == pytest.approx(results.seconds.tolist())
    assert len(found.plot_pareto()) == 6
    misspelt = found.set_params(objective=["val_accuracy", ("val_lss", "min")], directory=None)
    with pytest.raises(ValueError, match=r"objective: .* 'val_lss'; did you mean 'val_loss'"):
        misspelt.fit(x, y)
