"""A list of spaces as one: its points are told apart, and lie in the space they came from."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator

from search.proposers import Outcome, PastTrial, Proposal
from search.proposers.parts import PART, Parts, defaults, flat
from search.space import Space
from trainer import Choice, Float


class Two(BaseEstimator):
    def __init__(self, a: float = 0.0, b: int = 1) -> None:
        self.a, self.b = a, b


SPACES = Space.of(Two(), [{"a": Float(0, 1), "b": Choice(1, 2)}, {"a": Float(5, 6)}])


class Fixed:
    """Proposes one point, and notes what it is told."""

    slow, learns = True, True

    def __init__(self, point: Any) -> None:
        self.point = point
        self.told: list[Any] = []

    def ask(self) -> Proposal:
        return Proposal("k", self.point)

    def tell(self, key: str, outcome: Outcome) -> None:
        self.told.append((key, outcome.score))

    def learn(self, key: str, point: Any, outcome: Outcome) -> None:
        self.told.append((key, point, outcome.score))

    def snapshot(self) -> Any:
        return list(self.told)

    def restore(self, snapshot: Any) -> None:
        self.told = snapshot


def test_each_parameter_depends_on_the_choice_of_its_space() -> None:
    domains = flat(SPACES).domains
    assert list(domains) == [PART, "a@0", "b@0", "a@1"]
    assert domains["a@0"].when == {PART: 0} and domains["a@1"].when == {PART: 1}
    assert (domains["a@1"].low, domains["a@1"].high) == (5, 6)
    assert defaults(SPACES, {"a": 0.5, "b": 1}) == {"a@0": 0.5, "b@0": 1, "a@1": 0.5}


def test_a_proposal_has_the_names_of_its_space() -> None:
    inner = Fixed({PART: 1, "a@1": 5.5})
    proposer = Parts(inner, SPACES)
    assert proposer.ask().point == {"a": 5.5}
    assert proposer.slow and proposer.learns


def test_a_point_that_was_given_is_learned_where_it_lies() -> None:
    inner = Fixed({})
    proposer = Parts(inner, SPACES)
    proposer.learn("x", {"a": 5.5}, Outcome(1.0))
    proposer.learn("y", {"a": 0.5, "b": 2}, Outcome(None))
    proposer.tell("k", Outcome(2.0))
    assert inner.told == [
        ("x", {PART: 1, "a@1": 5.5}, 1.0),
        ("y", {PART: 0, "a@0": 0.5, "b@0": 2}, None),
        ("k", 2.0),
    ]
    again = Parts(Fixed({}), SPACES)
    again.restore(proposer.snapshot())
    assert again.snapshot() == proposer.snapshot()


def test_past_trials_are_replayed_in_the_space_they_came_from() -> None:
    class Replaying(Fixed):
        def replay(self, trials: Any) -> None:
            self.replayed = trials

    overlapping = Space.of(Two(), [{"a": Float(0, 1)}, {"a": Float(0, 2)}])
    proposal = Parts(Replaying({PART: 1, "a@1": 0.5}), overlapping).ask()
    inner = Replaying({})
    trials = [
        PastTrial("k", proposal.point, Outcome(1.0), 0, 1, memo=proposal.memo),
        PastTrial("x", {"a": 0.25}, None, 2, None),  # without a memo: proposed by somebody else
    ]
    Parts(inner, overlapping).replay(trials)
    assert [t.point for t in inner.replayed] == [{PART: 1, "a@1": 0.5}, {PART: 0, "a@0": 0.25}]
    assert [t.memo for t in inner.replayed] == [None, None]
    Parts(Fixed({}), overlapping).replay(trials)  # which has no use for them
