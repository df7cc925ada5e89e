"""Grids, random points and halving as scikit-learn has them: their order, and promotion."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sklearn.model_selection import ParameterGrid

from search.proposers import Finished, Outcome, Proposer, Wait
from search.proposers import sklearn as proposers
from search.proposers.sklearn import Halving, Listed
from search.space import Point, Space
from trainer import Choice, Float, Int

FINITE = Space({"b": Int(1, 3), "a": Choice("x", "y", None)})
POINTS: list[Point] = [{"a": i} for i in range(9)]


def _all(proposer: Proposer) -> list[Point]:
    found = []
    while True:
        try:
            found.append(proposer.ask().point)
        except Finished:
            return found


def test_a_grid_is_the_product_that_scikit_learn_makes() -> None:
    ours = _all(proposers.grid(FINITE))
    theirs = list(ParameterGrid({"a": ["x", "y", None], "b": [1, 2, 3]}))
    assert sorted(map(repr, map(sorted, (p.items() for p in ours)))) == sorted(
        map(repr, map(sorted, (p.items() for p in theirs)))
    )


def test_random_points_of_a_finite_space_end_when_it_is_used_up() -> None:
    assert len(_all(proposers.random(FINITE, 100, seed=0))) == 9
    assert proposers.draw(FINITE, 4, seed=0) == proposers.draw(FINITE, 9, seed=0)[:4]
    assert proposers.draw(FINITE, 0, seed=0) == []


def test_random_points_are_those_of_their_seed() -> None:
    space = Space({"a": Float(0.0, 1.0)})
    first = proposers.draw(space, 5, seed=3)
    assert first == proposers.draw(space, 5, seed=3) != proposers.draw(space, 5, seed=4)
    assert len({point["a"] for point in first}) == 5


def test_a_point_whose_score_is_known_is_left_out_once() -> None:
    proposer = Listed([{"a": 1}, {"a": True}, {"a": 2}, {"a": 1}])
    assert proposer.ask().point == {"a": 1}
    proposer.learn("other", {"a": 2}, Outcome(1.0))
    proposer.learn("other", {"a": 7}, Outcome(1.0))
    proposer.learn("other", {"a": 1, "b": 1}, Outcome(1.0))
    again = Listed([{"a": 1}, {"a": True}, {"a": 2}, {"a": 1}])
    again.restore(json.loads(json.dumps(proposer.snapshot())))
    for each in (proposer, again):
        left = _all(each)
        assert [(type(p["a"]), p["a"]) for p in left] == [(bool, True), (int, 1)]


def _rungs(proposer: Halving, score: Any) -> list[list[tuple[int, int | None]]]:
    """Run it; return for each rung the points and epochs of its trials."""
    rungs: list[list[tuple[int, int | None]]] = []
    while True:
        try:
            proposal = proposer.ask()
        except Finished:
            return rungs
        assert proposal.rung is not None
        if proposal.rung == len(rungs):
            rungs.append([])
        rungs[-1].append((proposal.point["a"], proposal.epochs))
        proposer.tell(proposal.key, Outcome(score(proposal.point["a"])))


@pytest.mark.parametrize("maximize", [True, False])
def test_a_third_is_promoted_with_three_times_the_epochs(maximize: bool) -> None:
    proposer = Halving(POINTS, epochs=9, maximize=maximize)
    first, second, third = _rungs(proposer, float)
    assert first == [(i, 1) for i in range(9)]
    assert second == [(i, 3) for i in ([8, 7, 6] if maximize else [0, 1, 2])]
    assert third == [(8 if maximize else 0, 9)]
    assert proposer.total == 13


@pytest.mark.parametrize(
    ("options", "epochs"),
    [
        ({"epochs": 9, "least": 3}, [3, 9]),
        ({"epochs": 9, "least": 9}, [9]),
        ({"epochs": 2}, [2]),
        ({"epochs": 1}, [1]),
        ({"epochs": 20, "factor": 2}, [3, 5, 10, 20]),
    ],
)
def test_the_first_rung_has_no_fewer_epochs_than_the_least(
    options: dict[str, Any], epochs: list[int]
) -> None:
    proposer = Halving(POINTS, maximize=True, **options)
    rungs = _rungs(proposer, float)
    assert [rung[0][1] for rung in rungs] == epochs
    assert sum(map(len, rungs)) == proposer.total


def test_where_too_few_have_a_score_fewer_are_promoted() -> None:
    rungs = _rungs(
        Halving(POINTS, epochs=9, maximize=True), lambda a: float("nan") if a > 1 else float(a)
    )
    assert [[a for a, _ in rung] for rung in rungs] == [list(range(9)), [1, 0], [1]]
    assert len(_rungs(Halving(POINTS, epochs=9, maximize=True), lambda _: None)) == 1


def test_a_rung_waits_for_its_trials_also_after_a_resume() -> None:
    proposer = Halving(POINTS[:3], epochs=3, maximize=True)
    keys = [proposer.ask().key for _ in range(3)]
    proposer.tell(keys[2], Outcome(1.0))
    again = Halving(POINTS[:3], epochs=3, maximize=True)
    again.restore(json.loads(json.dumps(proposer.snapshot())))
    for key in keys[:2]:
        with pytest.raises(Wait):
            again.ask()
        again.tell(key, Outcome(0.0))
    promoted = again.ask()
    assert (promoted.point, promoted.parent, promoted.rung) == ({"a": 2}, keys[2], 1)
