"""A user-defined proposer, restricted to the space and to the number of trials.

Responsible for one clear error if it proposes something that cannot be run. Not for what it
proposes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from search.proposers import Finished, Outcome, PastTrial, Proposal, Proposer, is_independent
from search.proposers import replay as replay_if_wanted
from search.space import Point, Space

METHODS = ("ask", "tell", "learn", "snapshot", "restore")


def is_proposer(value: Any) -> bool:
    """Whether an object has the methods of search.proposers.Proposer."""
    return not isinstance(value, type) and all(callable(getattr(value, m, None)) for m in METHODS)


class Given:
    """Check what a proposer proposes.

    Args:
        inner: the proposer.
        space: of the search.
        max_trials: maximum number of trials, or None for as many as it has.
    """

    def __init__(self, inner: Proposer, space: Space, max_trials: int | None) -> None:
        self._inner = inner
        self._space = space
        self._max_trials = max_trials
        self._asked = 0

    @property
    def slow(self) -> bool:
        """Whether asking may take long; False if the proposer does not say."""
        return bool(getattr(self._inner, "slow", False))

    @property
    def learns(self) -> bool:
        """Whether it can use trials it did not propose; False if the proposer does not say."""
        return bool(getattr(self._inner, "learns", False))

    @property
    def independent(self) -> bool:
        """Whether the inner proposer's trials do not depend on how others end."""
        return is_independent(self._inner)

    def ask(self) -> Proposal:
        """Return the proposer's next trial.

        Raises:
            TypeError: it did not return a Proposal.
            ValueError: the point is outside the space.
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
        """Pass the outcome on."""
        self._inner.tell(key, outcome)

    def learn(self, key: str, point: Point, outcome: Outcome) -> None:
        """Pass the outcome on."""
        self._inner.learn(key, point, outcome)

    def snapshot(self) -> Any:
        """Return how many trials were asked for, and the proposer's own state."""
        return {"asked": self._asked, "inner": self._inner.snapshot()}

    def restore(self, snapshot: Any) -> None:
        """Resume from a snapshot."""
        self._asked = snapshot["asked"]
        self._inner.restore(snapshot["inner"])

    def replay(self, trials: Sequence[PastTrial]) -> None:
        """Pass the trials on, if the proposer has the method."""
        replay_if_wanted(self._inner, trials)
