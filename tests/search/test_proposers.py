"""Proposers: points of the space, and the same ones after every restart."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from search.proposers import Finished, Outcome, Proposal, Proposer, Wait
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
}


def _run(make: Callable[[], Proposer], *, restart: bool, workers: int = 1) -> list[Proposal]:
    """All proposals of a study in which trials end in the order in which they were asked for."""
    proposer, asked = make(), []
    running: list[Proposal] = []
    while True:
        if restart:
            kept = json.loads(json.dumps(proposer.snapshot()))
            proposer = make()
            proposer.restore(kept)
        try:
            if len(running) < workers:
                proposal = proposer.ask()
                running.append(proposal)
                asked.append(proposal)
                continue
        except Wait:
            assert running, "it waits for nothing"
        except Finished:
            if not running:
                return asked
        ended = running.pop(0)
        failed = len(asked) % 5 == 0
        proposer.tell(ended.key, Outcome(None if failed else _score(ended.point)))


@pytest.mark.parametrize(
    ("name", "workers"),
    # asking the Gaussian process takes seconds; with workers it guesses their scores too
    [
        (name, workers)
        for name in MAKERS
        for workers in (1, 3)
        if (name, workers) != ("bayesian", 1)
    ],
)
def test_a_proposer_that_is_put_away_after_every_call_proposes_the_same(
    name: str, workers: int
) -> None:
    whole = _run(MAKERS[name], restart=False, workers=workers)
    assert len(whole) > 3
    assert _run(MAKERS[name], restart=True, workers=workers) == whole


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "bayesian"])
def test_every_proposal_is_a_point_of_the_space(name: str) -> None:
    for proposal in _run(MAKERS[name], restart=False, workers=2):
        assert SPACE.check(proposal.point) == proposal.point


@pytest.mark.parametrize("name", ["random", "bayesian", "hyperband"])
def test_another_seed_proposes_others(name: str) -> None:
    assert _tuner(name).ask().point != _tuner(name, seed=1).ask().point


@pytest.mark.parametrize("name", ["grid of keras-tuner", "grid"])
def test_a_grid_reaches_every_point_once(name: str) -> None:
    small = Space(
        {
            "units": Int(2, 4, log=True),
            "kind": Choice(None, True, 1),
            "share": Float(0, 1, step=0.5),
        }
    )
    makers: dict[str, Callable[[], Proposer]] = {
        "grid": lambda: grid(small),
        "grid of keras-tuner": lambda: KerasTuner(
            small, "grid", max_trials=None, maximize=False, seed=0
        ),
    }
    proposer, points = makers[name](), []
    with pytest.raises(Finished):
        while True:
            proposal = proposer.ask()
            points.append(proposal.point)
            proposer.tell(proposal.key, Outcome(0.0))
    assert sorted(map(repr, points)) == sorted(map(repr, small.grid()))
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


def test_an_unknown_tuner_is_named() -> None:
    with pytest.raises(ValueError, match="did you mean 'bayesian'"):
        _tuner("bayes")
