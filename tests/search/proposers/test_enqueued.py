"""Points that are tried first, and what the proposer after them is told of them."""

from __future__ import annotations

from typing import Any

import pytest

from search.proposers import Finished, Outcome, PastTrial, Proposal
from search.proposers.enqueued import Enqueued


class Counting:
    """Proposes a = 0, 1, 2 and no more."""

    def __init__(self, *, slow: bool = False, learns: bool = True) -> None:
        self.slow, self.learns = slow, learns
        self.asked = 0
        self.told: list[Any] = []

    def ask(self) -> Proposal:
        if self.asked == 3:
            raise Finished
        self.asked += 1
        return Proposal(str(self.asked), {"a": self.asked - 1})

    def tell(self, key: str, outcome: Outcome) -> None:
        self.told.append((key, outcome.score))

    def learn(self, key: str, point: Any, outcome: Outcome) -> None:
        self.told.append((key, point, outcome.score))

    def snapshot(self) -> Any:
        return self.asked

    def restore(self, snapshot: Any) -> None:
        self.asked = snapshot


def asked(proposer: Enqueued) -> list[Any]:
    found = []
    while True:
        try:
            found.append(proposer.ask().point["a"])
        except Finished:
            return found


def test_the_points_come_first_and_then_the_other_proposers() -> None:
    assert asked(Enqueued([{"a": 7}, {"a": 8}], Counting())) == [7, 8, 0, 1, 2]


def test_the_limit_counts_the_points() -> None:
    assert asked(Enqueued([{"a": 7}, {"a": 8}], Counting(), max_trials=3)) == [7, 8, 0]
    assert asked(Enqueued([{"a": 7}, {"a": 8}], Counting(), max_trials=1)) == [7]


def test_the_other_proposer_learns_from_the_points_and_is_told_of_its_own() -> None:
    inner = Counting()
    proposer = Enqueued([{"a": 7}], inner)
    proposals = [proposer.ask(), proposer.ask()]
    for proposal, score in zip(proposals, (0.5, None), strict=True):
        proposer.tell(proposal.key, Outcome(score))
    assert inner.told == [(proposals[0].key, {"a": 7}, 0.5), ("1", None)]


def test_a_snapshot_resumes_between_and_after_the_points() -> None:
    points = [{"a": 7}, {"a": 8}]
    for before in range(5):
        first = Enqueued(points, Counting())
        head = [first.ask().point["a"] for _ in range(before)]
        again = Enqueued(points, Counting())
        again.restore(first.snapshot())
        assert head + asked(again) == [7, 8, 0, 1, 2]


def test_a_proposer_that_cannot_learn_takes_no_points() -> None:
    with pytest.raises(ValueError, match=r"enqueue=\[\{'a': 7\}\]: this tuner cannot learn"):
        Enqueued([{"a": 7}], Counting(learns=False))
    assert Enqueued([], Counting(slow=True)).slow


def test_points_that_have_ended_are_replayed_as_trials_that_were_learnt() -> None:
    class Replaying(Counting):
        def replay(self, trials: Any) -> None:
            self.replayed = [(t.key, t.learnt) for t in trials]

    inner = Replaying()
    Enqueued([{"a": 7}, {"a": 8}], inner).replay(
        [
            PastTrial("enqueued-0", {"a": 7}, Outcome(1.0), 0, 2),
            PastTrial("1", {"a": 0}, Outcome(None), 3, 4),
            PastTrial("enqueued-1", {"a": 8}, None, 1, None),
            PastTrial("2", {"a": 1}, None, 5, None),
        ]
    )
    assert inner.replayed == [("enqueued-0", True), ("1", False), ("2", False)]
