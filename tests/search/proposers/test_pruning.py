"""Pruners: which trial goes on, when, and what the other proposer hears of it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from search.proposers import Finished, Outcome, PastTrial, Proposal, Wait, resume
from search.proposers.pruning import PRUNERS, Pruned
from search.proposers.sklearn import Listed


class Noting(Listed):
    """Points in order; notes what it is told."""

    def __init__(self, n: int) -> None:
        super().__init__([{"a": i} for i in range(n)])
        self.heard: list[tuple[str, float | None]] = []

    def tell(self, key: str, outcome: Outcome) -> None:
        self.heard.append((key, outcome.score))


def pruned(pruner: str, n: int, amounts: Any = (1, 3, 9), **options: Any) -> tuple[Pruned, Noting]:
    inner = Noting(n)
    return Pruned(inner, pruner, amounts, **{"factor": 3, "maximize": True} | options), inner


def run(proposer: Pruned, score: Any, workers: int = 1) -> list[Proposal]:
    """Ask and tell to the end; of several running trials the oldest ends first."""
    asked: list[Proposal] = []
    running: list[Proposal] = []
    while True:
        try:
            while len(running) < workers:
                running.append(proposer.ask())
                asked.append(running[-1])
        except (Wait, Finished):
            if not running:
                return asked
        first = running.pop(0)
        proposer.tell(first.key, Outcome(score(first)))


def by_a(proposal: Proposal) -> float:
    return float(proposal.point["a"]) + proposal.rung


def test_asha_promotes_a_third_as_soon_as_it_is_known_without_waiting_for_the_rung() -> None:
    proposer, _ = pruned("asha", 9)
    asked = run(proposer, lambda p: -p.point["a"])
    places = [(p.point["a"], p.rung, p.epochs) for p in asked]
    # the third trial makes one promotion possible: the best of three goes on at once
    assert places[:5] == [(0, 0, 1), (1, 0, 1), (2, 0, 1), (0, 1, 3), (3, 0, 1)]
    rungs = [p.rung for p in asked]
    assert (rungs.count(0), rungs.count(1), rungs.count(2)) == (9, 3, 1)
    assert (asked[-1].point["a"], asked[-1].rung, asked[-1].parent) == (0, 2, "0@1")


def test_no_worker_waits_as_long_as_there_are_new_points() -> None:
    proposer, _ = pruned("asha", 30)
    running = [proposer.ask() for _ in range(30)]
    assert [p.rung for p in running] == [0] * 30
    with pytest.raises(Wait):  # one of those that run may be promoted
        proposer.ask()
    for p in running[:3]:
        proposer.tell(p.key, Outcome(by_a(p)))
    assert proposer.ask().rung == 1


def test_some_trial_gets_all_of_the_resource_however_few_there_are() -> None:
    for pruner in PRUNERS:
        for n in (1, 2, 4):
            asked = run(pruned(pruner, n)[0], by_a)
            assert max(p.epochs or 0 for p in asked) == 9, (pruner, n)


def test_hyperband_begins_trials_at_different_rungs_in_its_proportions() -> None:
    first = [p for p in run(pruned("hyperband", 90)[0], by_a) if p.parent is None]
    begun = [sum(p.rung == rung for p in first) for rung in range(3)]
    # Hyperband has 9, 5 and 3 for R=9 and eta=3
    np.testing.assert_allclose(np.array(begun) / 90, np.array([9, 5, 3]) / 17, atol=0.03)
    assert {p.epochs for p in first} == {1, 3, 9}


def test_the_median_ends_trials_that_are_worse_than_others_were_at_the_rung() -> None:
    proposer, inner = pruned("median", 8)
    order = [5, 6, 7, 8, 1, 9, 6.4, 0]
    asked = run(proposer, lambda p: order[p.point["a"]])
    went_on = {p.point["a"] for p in asked if p.rung == 1}
    # the first four have too few others; 1, 6.4 and 0 are below the median
    assert went_on == {0, 1, 2, 3, 5}
    assert [key for key, _ in inner.heard] == [str(i) for i in range(8)]


def test_patience_ends_a_trial_that_does_not_improve() -> None:
    scores = {0: [1, 2, 3], 1: [1, 1, 5], 2: [3, 2, 9]}
    proposer, inner = pruned("patient", 3)
    asked = run(proposer, lambda p: scores[p.point["a"]][p.rung])
    assert [(p.point["a"], p.rung) for p in asked] == [
        *((0, 0), (0, 1), (0, 2)),
        *((1, 0), (1, 1)),
        *((2, 0), (2, 1)),
    ]
    assert inner.heard == [("0", 3), ("1", 1), ("2", 2)]


@pytest.mark.parametrize("pruner", PRUNERS)
def test_lower_scores_are_better_if_so_said(pruner: str) -> None:
    up = run(pruned(pruner, 12)[0], by_a)
    down = run(pruned(pruner, 12, maximize=False)[0], lambda p: -by_a(p))
    assert up == down


@pytest.mark.parametrize("pruner", PRUNERS)
def test_failed_trials_go_no_further(pruner: str) -> None:
    bad = (None, float("nan"), float("inf"))
    proposer, inner = pruned(pruner, 9)
    asked = run(proposer, lambda p: bad[p.point["a"]] if p.point["a"] < 3 else by_a(p))
    assert all(p.point["a"] >= 3 for p in asked if p.parent is not None)
    assert len(inner.heard) == 9


def past(asked: list[Proposal], events: list[tuple[str, str]], scores: dict[str, Any]) -> Any:
    place = {event: i for i, event in enumerate(events)}
    found = [
        PastTrial(
            p.key,
            p.point,
            Outcome(scores[p.key]) if ("told", p.key) in place else None,
            place["asked", p.key],
            place.get(("told", p.key)),
            p.epochs,
            p.parent,
            p.rung,
            p.memo,
        )
        for p in asked
    ]
    told = sorted((t for t in found if t.told is not None), key=lambda t: t.told or 0)
    return [*told, *(t for t in found if t.told is None)]


@pytest.mark.parametrize("pruner", PRUNERS)
def test_it_goes_on_the_same_after_a_replay_at_any_place(pruner: str) -> None:
    generator = np.random.default_rng(4)
    noise = {(a, rung): generator.normal() for a in range(20) for rung in range(3)}

    def score(p: Proposal) -> float | None:
        return None if p.point["a"] == 4 else noise[p.point["a"], p.rung]

    def course(broken: bool) -> tuple[list[Proposal], Any]:
        proposer, inner = pruned(pruner, 20)
        asked: list[Proposal] = []
        running: list[Proposal] = []
        events: list[tuple[str, str]] = []
        scores: dict[str, Any] = {}
        heard: list[Any] = []
        while True:
            if broken:
                snapshot = json.loads(json.dumps(proposer.snapshot()))
                heard += inner.heard
                proposer, inner = pruned(pruner, 20)
                resume(proposer, snapshot, past(asked, events, scores))
            try:
                if len(running) < 3:
                    running.append(proposer.ask())
                    asked.append(running[-1])
                    events.append(("asked", asked[-1].key))
                    continue
            except (Wait, Finished):
                if not running:
                    return asked, heard + inner.heard
            first = running.pop(0)
            scores[first.key] = score(first)
            proposer.tell(first.key, Outcome(scores[first.key]))
            events.append(("told", first.key))

    assert course(True) == course(False)


def test_a_snapshot_does_not_grow_with_the_trials() -> None:
    sizes = []
    for n in (10, 200):
        proposer, _ = pruned("asha", n)
        run(proposer, by_a)
        sizes.append(len(json.dumps(proposer.snapshot())))
    assert sizes[1] - sizes[0] < 5


def test_a_proposer_that_chooses_epochs_itself_is_refused_when_it_does() -> None:
    class Own(Noting):
        def ask(self) -> Proposal:
            return Proposal("x", {"a": 1}, epochs=3)

    proposer = Pruned(Own(3), "asha", (1, 3), factor=3, maximize=True)
    with pytest.raises(ValueError, match="pruner='asha': the tuner has rungs of its own"):
        proposer.ask()
