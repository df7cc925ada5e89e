"""A proposer that the user wrote, kept to the space and to the number of trials.

Responsible for one clear error where it proposes something that cannot be run. Not for what it
proposes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from search.proposers import Finished, Outcome, Proposal, Proposer
from search.space import Point, Space

METHODS = ("ask", "tell", "learn", "snapshot", "restore")


def is_proposer(value: Any) -> bool:
    """Whether an object has the methods of search.proposers.Proposer."""
    return not isinstance(value, type) and all(callable(getattr(value, m, None)) for m in METHODS)


class Given:
    """Checks what a proposer proposes.

    Args:
        inner: the proposer.
        space: of the search.
        max_trials: the most trials, or None for as many as it has.
    """

    def __init__(self, inner: Proposer, space: Space, max_trials: int | None) -> None:
        self._inner = inner
        self._space = space
        self._max_trials = max_trials
        self._asked = 0

    @property
    def slow(self) -> bool:
        """Whether asking may take long; False where the proposer does not say."""
        return bool(getattr(self._inner, "slow", False))

    @property
    def learns(self) -> bool:
        """Whether it learns from the trials of others; False where the proposer does not say."""
        return bool(getattr(self._inner, "learns", False))

    def ask(self) -> Proposal:
        """Its next trial.

        Raises:
            TypeError: it returned no Proposal.
            ValueError: the point is not one of the space.
        """
        if self._max_trials is not None and self._asked >= self._max_trials:
            raise Finished
        proposal = self._inner.ask()
        name = type(self._inner).__name__
        if not isinstance(proposal, Proposal):
            raise TypeError(
                f"{name}.ask returned {proposal!r}: it must return a search.proposers.Proposal, or "
                "raise Wait or Finished"
            )
        try:
            point = self._space.check(proposal.point)
        except ValueError as error:
            raise ValueError(f"{name}.ask proposed a point outside the space: {error}") from error
        self._asked += 1
        return replace(proposal, point=point)

    def tell(self, key: str, outcome: Outcome) -> None:
        """Pass it on."""
        self._inner.tell(key, outcome)

    def learn(self, key: str, point: Point, outcome: Outcome) -> None:
        """Pass it on."""
        self._inner.learn(key, point, outcome)

    def snapshot(self) -> Any:
        """How many trials were asked for, and the proposer's own state."""
        return {"asked": self._asked, "inner": self._inner.snapshot()}

    def restore(self, snapshot: Any) -> None:
        """Continue from there."""
        self._asked = snapshot["asked"]
        self._inner.restore(snapshot["inner"])
