"""A list of spaces as one, for proposers that know a single space.

Responsible for naming the parameters of each space apart, and for the points between. Not for
proposing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from search.proposers import Outcome, PastTrial, Proposal, Proposer, is_independent
from search.proposers import replay as replay_if_wanted
from search.space import Point, Space, with_when
from trainer.hyperparameters import Choice, Domain

PART = "part"  # the parameter that says which of the spaces a point lies in


def flat(space: Space) -> Space:
    """Return one space whose parameter `part` chooses among those of a list."""
    domains: dict[str, Domain] = {PART: Choice(*range(len(space.parts)))}
    for i, part in enumerate(space.parts):
        for name, domain in part.domains.items():
            above = {_apart(parent, i): v for parent, v in (domain.when or {}).items()}
            domains[_apart(name, i)] = with_when(domain, {PART: i, **above})
    return Space(domains)


def defaults(space: Space, params: Point) -> Point:
    """Return an estimator's own values by the names of `flat`."""
    names = ((name, i) for i, part in enumerate(space.parts) for name in part.domains)
    return {_apart(name, i): params[name] for name, i in names}


def _apart(name: str, part: int) -> str:
    return f"{name}@{part}"


class Parts:
    """Propose points of a list of spaces as a proposer of the flat one does.

    Args:
        inner: made for the flat space.
        space: the list of spaces.
    """

    def __init__(self, inner: Proposer, space: Space) -> None:
        self._inner = inner
        self._space = space
        self.slow = inner.slow
        self.learns = inner.learns
        self.independent = is_independent(inner)

    def ask(self) -> Proposal:
        """Return the next trial, without the name of its part."""
        proposal = self._inner.ask()
        point = {n.rpartition("@")[0]: v for n, v in proposal.point.items() if n != PART}
        # a point may lie in several of the spaces
        memo = {PART: proposal.point[PART], "inner": proposal.memo}
        return dataclasses.replace(proposal, point=point, memo=memo)

    def tell(self, key: str, outcome: Outcome) -> None:
        """Pass the outcome on."""
        self._inner.tell(key, outcome)

    def learn(self, key: str, point: Point, outcome: Outcome) -> None:
        """Pass the outcome on, with the point in the flat space."""
        self._inner.learn(key, self._flat(point, self._space.part_of(point)), outcome)

    def snapshot(self) -> Any:
        """Return the inner proposer's state."""
        return self._inner.snapshot()

    def restore(self, snapshot: Any) -> None:
        """Resume from a snapshot."""
        self._inner.restore(snapshot)

    def replay(self, trials: Sequence[PastTrial]) -> None:
        """Pass the trials on with their points in the flat space, if the inner one wants them."""
        replay_if_wanted(self._inner, [self._past(trial) for trial in trials])

    def _past(self, trial: PastTrial) -> PastTrial:
        if trial.memo is None:  # proposed by somebody else, or by an earlier version
            part, memo = self._space.part_of(trial.point), None
        else:
            part, memo = trial.memo[PART], trial.memo["inner"]
        return dataclasses.replace(trial, point=self._flat(trial.point, part), memo=memo)

    def _flat(self, point: Point, part: int) -> Point:
        return {PART: part, **{_apart(name, part): value for name, value in point.items()}}
