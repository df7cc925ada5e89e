"""CMA-ES: what it draws from, which outcomes count, and that it follows from them alone."""

from __future__ import annotations

from typing import Any

import cmaes  # noqa: F401 (which a proposer imports when it is made)
import numpy as np
import pytest

from search.proposers import Finished, Outcome, PastTrial
from search.proposers.cma import CmaEs
from search.space import Point, Space
from trainer import Bool, Choice, Float, Int

SPACE = Space(
    {
        "x": Float(-1.0, 1.0),
        "n": Int(1, 1000),
        "kind": Choice("a", "b"),
        "only_b": Float(1e-4, 1.0, log=True, when={"kind": ("b",)}),
    }
)


def _made(space: Space = SPACE, **options: Any) -> CmaEs:
    return CmaEs(space, **{"max_trials": None, "maximize": False, "seed": 1} | options)


def _run(proposer: CmaEs, n: int, score: Any) -> list[Point]:
    points = []
    for _ in range(n):
        proposal = proposer.ask()
        points.append(proposal.point)
        proposer.tell(proposal.key, Outcome(score(proposal.point)))
    return points


def _bowl(point: Point) -> float:
    return (point["x"] - 0.7) ** 2 + (point["n"] / 1000 - 0.2) ** 2


def test_points_lie_in_the_space_and_a_seed_repeats_them() -> None:
    first, again = (_run(_made(), 12, _bowl) for _ in range(2))
    assert first == again != _run(_made(seed=2), 12, _bowl)
    assert [SPACE.check(point) for point in first] == first
    assert {point["kind"] for point in first} == {"a", "b"}, "categories are drawn at random"


@pytest.mark.parametrize("maximize", [True, False])
def test_it_moves_to_where_the_scores_are_better(maximize: bool) -> None:
    sign = -1 if maximize else 1
    points = _run(_made(maximize=maximize), 50, lambda p: sign * _bowl(p))
    early, late = (np.mean([_bowl(p) for p in part]) for part in (points[:10], points[-10:]))
    assert late < early / 3


def test_a_trial_without_a_finite_score_moves_nothing() -> None:
    proposer = _made()
    before = proposer._optimizer.mean.copy()
    for score in (None, float("nan"), float("inf"), -float("inf")) * 5:
        proposer.tell(proposer.ask().key, Outcome(score))
    np.testing.assert_array_equal(proposer._optimizer.mean, before)


def test_trials_that_violate_a_constraint_come_after_all_others() -> None:
    proposer = _made()
    for _ in range(60):
        proposal = proposer.ask()
        # the better its score, the more it violates
        broken = max(0.0, proposal.point["x"] - 0.1)
        proposer.tell(proposal.key, Outcome(-proposal.point["x"], violations=(broken,)))
    late = [proposer.ask().point["x"] for _ in range(10)]
    assert np.mean(late) == pytest.approx(0.1, abs=0.15)


def test_it_ends_after_its_trials_or_when_a_finite_space_is_used_up() -> None:
    proposer = _made(max_trials=3)
    _run(proposer, 3, _bowl)
    with pytest.raises(Finished):
        proposer.ask()
    small = _made(Space({"n": Int(1, 3), "flag": Bool()}))
    points = _run(small, 6, lambda p: float(p["n"]))
    assert len({(p["n"], p["flag"]) for p in points}) == 6
    with pytest.raises(Finished):
        small.ask()


def test_the_outcomes_in_their_order_are_all_that_a_resumed_search_needs() -> None:
    proposer, past = _made(), []
    rng = np.random.default_rng(0)
    running: list[Any] = []
    for step in range(30):
        running.append((step, proposer.ask()))
        if len(running) == 4:  # trials end in another order than they began
            asked, ended = running.pop(int(rng.integers(4)))
            outcome = Outcome(_bowl(ended.point))
            proposer.tell(ended.key, outcome)
            past.append(PastTrial(ended.key, ended.point, outcome, asked, 100 + step))
    past += [PastTrial(p.key, p.point, None, asked, None) for asked, p in running]
    again = _made()
    again.restore(proposer.snapshot())
    again.replay(past[::-1])
    for each in (proposer, again):
        each.tell(running[0][1].key, Outcome(0.5))
    assert _run(proposer, 10, _bowl) == _run(again, 10, _bowl)
    assert proposer.snapshot() == again.snapshot() == {"asked": 40}


def test_a_space_of_lists_alone_is_refused() -> None:
    lists = Space({"kind": Choice("a", "b"), "one": Int(3, 3)})
    with pytest.raises(ValueError, match=r"tuner='cma-es': .*kind, one are lists.*tuner='tpe'"):
        _made(lists)
