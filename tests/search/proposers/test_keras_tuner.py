"""Proposers: points of the space, and the same ones after every restart."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from search.proposers import (
    Finished,
    Outcome,
    PastTrial,
    Proposal,
    Proposer,
    Wait,
    gaussian,
    resume,
)
from search.proposers.enqueued import Enqueued
from search.proposers.keras_tuner import KerasTuner
from search.proposers.sklearn import Halving, draw, grid, random
from search.space import Space
from trainer import Bool, Choice, Float, Int

SPACE = Space(
    {
        "units": Int(4, 64, log=True),
        "rate": Float(1e-4, 1e-1, log=True),
        "kind": Choice("relu", None, True, 1),
        "share": Float(0, 1, step=0.1, when={"kind": "relu"}),
        "bias": Bool(),
    }
)
DEFAULTS = {"units": 16, "rate": 1e-3, "kind": "relu", "share": 0.0, "bias": True}
GOOD = [
    {"units": 8, "rate": 3e-3, "kind": "relu", "share": 0.3, "bias": False},
    {"units": 9, "rate": 2e-3, "kind": None, "bias": True},
]
SMALL = Space(
    {"units": Int(2, 4, log=True), "kind": Choice(None, True, 1), "share": Float(0, 1, step=0.5)}
)


def _score(point: dict[str, Any]) -> float:
    return (math.log10(point["rate"]) + 2.5) ** 2 + float(point.get("share", 0.5))


def _tuner(name: str, n: int = 16, seed: int = 0) -> KerasTuner:
    return KerasTuner(
        SPACE,
        name,
        max_trials=n,
        maximize=False,
        seed=seed,
        epochs=9,
        defaults=DEFAULTS,
        options={"num_initial_points": 6} if name == "bayesian" else None,
    )


MAKERS: dict[str, Callable[[], Proposer]] = {
    "random of keras-tuner": lambda: _tuner("random"),
    "grid of keras-tuner": lambda: _tuner("grid"),
    "bayesian": lambda: _tuner("bayesian", 7),
    "hyperband": lambda: _tuner("hyperband", 40),
    "grid": lambda: grid(SPACE, 2),
    "random": lambda: random(SPACE, 16, 0),
    "halving": lambda: Halving(draw(SPACE, 12, 0), epochs=9, maximize=False),
    "points, then random of keras-tuner": lambda: Enqueued(GOOD, _tuner("random"), max_trials=9),
    "points, then grid of keras-tuner": lambda: Enqueued([DEFAULTS], _tuner("grid"), max_trials=9),
    "points, then bayesian": lambda: Enqueued(GOOD, _tuner("bayesian", 8), max_trials=8),
    "points, then a grid": lambda: Enqueued(GOOD, grid(SPACE, 2)),
}
FEW: dict[str, Any] = {"bayesian": {"num_initial_points": 3}}
SLOW = ("bayesian", "points, then bayesian")


class History:
    """The trials of a study as the coordinator replays them."""

    def __init__(self) -> None:
        self.trials: dict[str, PastTrial] = {}
        self.events = 0

    def asked(self, p: Proposal) -> None:
        fields = (p.epochs, p.parent, p.rung, json.loads(json.dumps(p.memo)))
        self.trials[p.key] = PastTrial(p.key, p.point, None, self.events, None, *fields)
        self.events += 1

    def told(self, key: str, outcome: Outcome) -> None:
        changed = {"outcome": outcome, "told": self.events}
        self.trials[key] = dataclasses.replace(self.trials[key], **changed)
        self.events += 1

    def resumed(self, proposer: Proposer, made: Proposer) -> Proposer:
        """Return what resumes from where a proposer is."""
        ended = sorted((t for t in self.trials.values() if t.told), key=lambda t: t.told or 0)
        running = [t for t in self.trials.values() if not t.told]
        resume(made, json.loads(json.dumps(proposer.snapshot())), [*ended, *running])
        return made


def _run(make: Callable[[], Proposer], *, restart: bool, workers: int = 1) -> list[Proposal]:
    """All proposals of a study in which trials end in the order in which they were asked for."""
    proposer, asked, history = make(), [], History()
    running: list[Proposal] = []
    while True:
        if restart:
            proposer = history.resumed(proposer, make())
        try:
            if len(running) < workers:
                proposal = proposer.ask()
                running.append(proposal)
                asked.append(proposal)
                history.asked(proposal)
                continue
        except Wait:
            assert running, "it waits for nothing"
        except Finished:
            if not running:
                return asked
        ended = running.pop(0)
        failed = len(asked) % 5 == 0
        outcome = Outcome(None if failed else _score(ended.point))
        proposer.tell(ended.key, outcome)
        history.told(ended.key, outcome)


def _points(proposer: Proposer, score: float | None = 0.0) -> list[dict[str, Any]]:
    """All points of a study of one worker in which every trial ends alike."""
    points = []
    with pytest.raises(Finished):
        while True:
            proposal = proposer.ask()
            points.append(proposal.point)
            proposer.tell(proposal.key, Outcome(score))
    return points


@pytest.mark.parametrize(
    ("name", "workers"),
    # asking the Gaussian process takes seconds; with workers it guesses their scores too
    [(name, workers) for name in MAKERS for workers in (1, 3) if name not in SLOW or workers == 3],
)
def test_a_proposer_that_is_put_away_after_every_call_proposes_the_same(
    name: str, workers: int
) -> None:
    whole = _run(MAKERS[name], restart=False, workers=workers)
    assert len(whole) > 3
    assert _run(MAKERS[name], restart=True, workers=workers) == whole


@pytest.mark.parametrize("name", [name for name in MAKERS if name not in SLOW])
def test_every_proposal_is_a_point_of_the_space(name: str) -> None:
    for proposal in _run(MAKERS[name], restart=False, workers=2):
        assert SPACE.check(proposal.point) == proposal.point


def test_neighbouring_seeds_share_no_points() -> None:
    space = Space({"x": Float(0.0, 1.0)})

    def points(seed: int) -> set[float]:
        proposer = KerasTuner(space, "random", max_trials=20, maximize=True, seed=seed)
        return {proposer.ask().point["x"] for _ in range(20)}

    assert len(points(0) | points(1) | points(2)) == 60


@pytest.mark.parametrize("name", ["random", "bayesian", "hyperband"])
def test_another_seed_proposes_others(name: str) -> None:
    assert _tuner(name).ask().point != _tuner(name, seed=1).ask().point


@pytest.mark.parametrize("name", ["grid of keras-tuner", "grid"])
def test_a_grid_reaches_every_point_once(name: str) -> None:
    makers: dict[str, Callable[[], Proposer]] = {
        "grid": lambda: grid(SMALL),
        "grid of keras-tuner": lambda: KerasTuner(
            SMALL, "grid", max_trials=None, maximize=False, seed=0
        ),
    }
    points = _points(makers[name]())
    assert sorted(map(repr, points)) == sorted(map(repr, SMALL.grid()))
    assert len(points) == 27


def test_random_points_of_a_finite_space_are_drawn_once_each() -> None:
    small = Space({"kind": Choice("a", "b"), "bias": Bool()})
    assert len(draw(small, 100, 0)) == 4


def test_halving_promotes_the_best_with_more_epochs() -> None:
    proposer = Halving([{"v": i} for i in range(9)], epochs=9, factor=3, maximize=True)
    rungs: list[list[tuple[int, int | None]]] = [[], [], []]
    with pytest.raises(Finished):
        while True:
            proposal = proposer.ask()
            assert proposal.rung is not None
            rungs[proposal.rung].append((proposal.point["v"], proposal.epochs))
            if proposal.rung:
                assert proposal.parent == f"{proposal.point['v']}@{proposal.rung - 1}"
            proposer.tell(proposal.key, Outcome(float(proposal.point["v"])))
    assert rungs[0] == [(v, 1) for v in range(9)]
    assert rungs[1] == [(v, 3) for v in (8, 7, 6)]
    assert rungs[2] == [(8, 9)]


@pytest.mark.parametrize("bad", [None, math.nan, math.inf])
def test_a_trial_without_a_score_is_not_promoted(bad: float | None) -> None:
    proposer = Halving([{"v": i} for i in range(3)], epochs=3, factor=3, maximize=True)
    for i in range(3):
        proposer.tell(proposer.ask().key, Outcome(bad if i == 2 else float(i)))
    assert proposer.ask().point == {"v": 1}


def test_the_rungs_of_halving_wait_for_each_other() -> None:
    proposer = Halving([{"v": i} for i in range(3)], epochs=3, factor=3, maximize=True)
    for _ in range(3):
        proposer.ask()
    with pytest.raises(Wait):
        proposer.ask()


def test_an_oracle_of_the_users_own_is_taken() -> None:
    import keras_tuner

    made = []

    def oracle(objective: Any, parameters: Any) -> keras_tuner.Oracle:
        made.append(
            keras_tuner.oracles.RandomSearchOracle(
                objective=objective, hyperparameters=parameters, max_trials=5, seed=3
            )
        )
        return made[-1]

    proposer = KerasTuner(SPACE, oracle, max_trials=None, maximize=True, seed=0)
    points = []
    with pytest.raises(Finished):
        while True:
            proposal = proposer.ask()
            points.append(SPACE.check(proposal.point))
            proposer.tell(proposal.key, Outcome(_score(proposal.point)))
    assert len(points) == 5
    assert made[0].objective.direction == "max"


@pytest.mark.parametrize("tuner", ["random", "grid"])
def test_a_study_in_which_every_trial_fails_ends_and_repeats_none(tuner: str) -> None:
    points = _points(KerasTuner(SMALL, tuner, max_trials=100, maximize=False, seed=0), None)
    assert len(set(map(repr, points))) == len(points)
    assert len(points) == 27 if tuner == "grid" else 15 <= len(points) <= 27


def test_points_come_first_and_count_as_trials() -> None:
    asked = _run(MAKERS["points, then random of keras-tuner"], restart=False)
    assert [proposal.point for proposal in asked[:2]] == GOOD
    assert len(asked) == 9
    # what follows is what would have been proposed without them
    assert [p.point for p in asked[2:]] == [
        p.point for p in _run(MAKERS["random of keras-tuner"], restart=False)[:7]
    ]
    assert len(_points(Enqueued(GOOD, _tuner("random"), max_trials=1))) == 1


@pytest.mark.parametrize("tuner", ["random", "grid"])
@pytest.mark.parametrize("score", [1.0, None])
def test_points_that_were_tried_are_not_proposed_again(tuner: str, score: float | None) -> None:
    given = list(SMALL.grid())[:20]
    inner = KerasTuner(SMALL, tuner, max_trials=27, maximize=False, seed=0)
    points = _points(Enqueued(given, inner, max_trials=27), score)
    assert points[:20] == given
    assert len(set(map(repr, points))) == len(points)
    assert len(points) == 27 if tuner == "grid" else len(points) > 20


def test_a_grid_takes_points_between_its_levels() -> None:
    inner = KerasTuner(SPACE, "grid", max_trials=5, maximize=False, seed=0, defaults=DEFAULTS)
    assert _points(Enqueued(GOOD, inner, max_trials=5))[:2] == GOOD


def test_a_gaussian_process_is_fitted_to_points_that_were_given() -> None:
    inner = KerasTuner(
        SPACE, "bayesian", max_trials=9, maximize=True, seed=0, options={"num_initial_points": 2}
    )
    proposer = Enqueued(GOOD, inner)
    for score in (1.0, 3.0):
        proposer.tell(proposer.ask().key, Outcome(score))
    proposer.ask()
    process = inner._oracle.gpr
    assert list(process.y_train_ * process._y_train_std + process._y_train_mean) == [-1.0, -3.0]
    # 0.3 is the fourth of eleven values, each with an equal share of 0..1
    assert process.X_train_[0][3] == pytest.approx(3.5 / 11)
    assert len(process.X_train_[0]) == len(SPACE.domains)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("tuner", "n"), [("random", 60), ("grid", 60), ("bayesian", 12)])
def test_a_snapshot_does_not_grow_with_the_study(tuner: str, n: int) -> None:
    space = Space({"a": Float(0, 1), "b": Int(0, 100)})
    options = {"num_initial_points": 3} if tuner == "bayesian" else None
    proposer = KerasTuner(space, tuner, max_trials=n, maximize=False, seed=0, options=options)
    sizes = []
    for i in range(n):
        proposer.tell(proposer.ask().key, Outcome(float(i)))
        sizes.append(len(json.dumps(proposer.snapshot())))
    assert max(sizes[n // 2 :]) < 1.05 * max(sizes[: n // 2])


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("tuner", ["random", "grid", "bayesian", "hyperband"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_snapshot_of_an_earlier_version_still_opens(tuner: str, workers: int) -> None:
    """Snapshots with all trials in them, as they were before these were replayed."""

    def make() -> KerasTuner:
        return _tuner(tuner, 12)

    proposer, history, running = make(), History(), []
    for _ in range(8):
        with contextlib.suppress(Wait):  # a grid, until another trial ends
            while len(running) < workers:
                running.append(proposer.ask())
                history.asked(running[-1])
        ended = running.pop(0)
        proposer.tell(ended.key, Outcome(_score(ended.point)))
        history.told(ended.key, Outcome(_score(ended.point)))
    earlier = copy.deepcopy(proposer.snapshot())
    oracle = proposer._oracle
    earlier["oracle"] = {k: v for k, v in oracle.get_state().items() if k != "display"}
    earlier["trials"] = []
    for key, trial in history.trials.items():
        values = trial.memo or proposer._encoded(trial.point)
        score = None if trial.outcome is None else trial.outcome.score
        status = "RUNNING" if score is None else "COMPLETED"
        earlier["trials"].append(json.dumps([key, values, status, score, score]))
    if tuner == "grid":
        ids = oracle._ordered_ids
        following = [[k, v] for k, v in ids._next_index.items()]
        earlier["ordered"] = [list(ids._memory), following, ids._last_index]
    if hasattr(oracle, "gpr") and earlier["fitted"] is not None:
        earlier["fitted"] = [v.tolist() for v in proposer._fitted_rows(earlier["fitted"])]
    opened = make()
    resume(opened, json.loads(json.dumps(earlier)), list(history.trials.values()))
    assert opened.snapshot()["oracle"] == proposer.snapshot()["oracle"]
    again = history.resumed(opened, make())
    for _ in range(2):
        for ended in running:
            for each in (proposer, opened, again):
                each.tell(ended.key, Outcome(_score(ended.point)))
        running = [proposer.ask()]
        assert opened.ask() == running[0] == again.ask()


@pytest.mark.parametrize("rows", [1, 20])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_gaussian_process_is_predicted_to_the_bit_as_scikit_learn_does(rows: int) -> None:
    from sklearn.gaussian_process import GaussianProcessRegressor, kernels

    generator = np.random.default_rng(rows)
    x = generator.random((rows, 3))
    y = np.sin(5 * x).sum(axis=1)
    process = GaussianProcessRegressor(kernels.Matern(nu=2.5), alpha=1e-4, normalize_y=True)
    process.fit(x, y)
    for at in [*x, *generator.random((50, 3)), np.zeros(3), np.ones(3)]:
        mean, deviation = gaussian.predict(process, at[None])
        expected = process.predict(at[None], return_std=True)
        assert (mean.tolist(), deviation.tolist()) == tuple(v.tolist() for v in expected)


def test_the_gaussian_process_is_asked_without_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = KerasTuner(
        SPACE, "bayesian", max_trials=9, maximize=True, seed=0, options={"num_initial_points": 3}
    )
    for score in (1.0, 2.0, 3.0):
        inner.tell(inner.ask().key, Outcome(score))
    asked = []
    predict = gaussian.predict
    monkeypatch.setattr(
        gaussian, "predict", lambda process, x: asked.append(1) or predict(process, x)
    )
    inner.ask()
    assert len(asked) >= 50  # it starts its search for the best point from so many


def test_hyperband_learns_nothing_from_points_that_were_given() -> None:
    with pytest.raises(ValueError, match="enqueue=.*tuner='hyperband'.*write tuner='bayesian'"):
        Enqueued(GOOD, _tuner("hyperband"))


def test_an_oracle_that_does_not_take_the_parameters_is_refused() -> None:
    import keras_tuner

    def oracle(objective: Any, parameters: Any) -> keras_tuner.Oracle:
        return keras_tuner.oracles.RandomSearchOracle(objective=objective, max_trials=5)

    with pytest.raises(ValueError, match="does not search 'units'.*hyperparameters=parameters"):
        KerasTuner(SPACE, oracle, max_trials=None, maximize=True, seed=0)


def test_only_a_gaussian_process_and_ones_own_oracle_are_slow_to_ask() -> None:
    import keras_tuner

    def oracle(objective: Any, parameters: Any) -> keras_tuner.Oracle:
        return keras_tuner.oracles.RandomSearchOracle(objective, hyperparameters=parameters)

    assert [n for n in MAKERS if MAKERS[n]().slow] == list(SLOW)
    assert KerasTuner(SPACE, oracle, max_trials=None, maximize=True, seed=0).slow


def test_a_slow_proposer_multiplies_matrices_on_one_thread() -> None:
    import keras_tuner
    from threadpoolctl import threadpool_info

    threads = []

    class Watched(keras_tuner.oracles.RandomSearchOracle):
        def populate_space(self, trial_id: str) -> Any:
            threads.extend(p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas")
            return super().populate_space(trial_id)

    def oracle(objective: Any, parameters: Any) -> keras_tuner.Oracle:
        return Watched(objective, hyperparameters=parameters)

    KerasTuner(SPACE, oracle, max_trials=None, maximize=True, seed=0).ask()
    assert set(threads) == {1}


def test_an_unknown_tuner_is_named() -> None:
    with pytest.raises(ValueError, match="did you mean 'bayesian'"):
        _tuner("bayes")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("tuner", ["random", "bayesian"])
def test_every_point_of_a_finite_space_is_proposed_once(tuner: str, workers: int) -> None:
    space = Space({"a": Choice(1, 1.0, None), "b": Bool()})

    def make() -> KerasTuner:
        return KerasTuner(
            space, tuner, max_trials=20, maximize=False, seed=3, options=FEW.get(tuner)
        )

    def proposed(*, restart: bool) -> list[str]:
        found: list[str] = []
        running: list[Proposal] = []
        proposer: Any = make()
        history = History()
        while True:
            if restart:
                proposer = history.resumed(proposer, make())
            try:
                if len(running) < workers:
                    running.append(proposer.ask())
                    history.asked(running[-1])
                    found.append(repr(running[-1].point))
                    continue
            except Finished:
                if not running:
                    return found
            ended = running.pop(0)
            outcome = Outcome(float(len(found)))
            proposer.tell(ended.key, outcome)
            history.told(ended.key, outcome)

    found = proposed(restart=False)
    assert len(found) == len(set(found)) == 6
    assert proposed(restart=True) == found


@pytest.mark.parametrize("tuner", ["random", "grid", "bayesian", "hyperband"])
def test_a_condition_may_rest_on_a_parameter_that_has_one(tuner: str) -> None:
    space = Space(
        {
            "a": Bool(),
            "b": Choice("x", "y", when={"a": True}),
            "c": Choice(1, 2, when={"b": "x"}),
            "d": Float(0, 1, step=0.5, when={"c": (1, 2), "a": True}),
        }
    )
    proposer = KerasTuner(space, tuner, max_trials=9, maximize=True, seed=0, epochs=9)
    for _ in range(5):
        proposal = proposer.ask()
        assert space.check(proposal.point) == proposal.point
        proposer.tell(proposal.key, Outcome(0.5))
