"""Proposers choose the next trial of a study.

Responsible for the protocol that all proposers share. A proposer is asked for trials and told how
they ended; between any two calls it can be saved as JSON and restored, and then makes the same
proposals as it would have made. Not for running trials, nor for storing them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from search.space import Point


@dataclass(frozen=True)
class Proposal:
    """A trial to be run.

    Attributes:
        key: the proposer's own name for it, under which it is told the outcome.
        point: the values of the active parameters.
        epochs: the epoch at which the trial ends, if the proposer decides that; otherwise None.
        parent: the key of the trial whose last state it resumes from, or None.
        rung: its round of a successive halving, counted from 0, or None.
    """

    key: str
    point: Point
    epochs: int | None = None
    parent: str | None = None
    rung: int | None = None


class Wait(Exception):
    """Nothing can be proposed until a running trial ends."""


class Finished(Exception):
    """Nothing more will be proposed."""


@dataclass
class Outcome:
    """How a trial ended.

    Attributes:
        score: of the objective; None if the trial failed or its score is not a number.
    """

    score: float | None


class Proposer(Protocol):
    """The protocol of proposers.

    Attributes:
        slow: whether asking may take long, so that it pays to ask before a worker is free.
        learns: whether it can use trials that it did not propose.
    """

    @property
    def slow(self) -> bool:
        """Return whether it pays to ask before a worker is free."""

    @property
    def learns(self) -> bool:
        """Return whether it can use trials that it did not propose."""

    def ask(self) -> Proposal:
        """Return the next trial.

        Raises:
            Wait: nothing can be proposed until a running trial ends.
            Finished: nothing more will be proposed.
        """

    def tell(self, key: str, outcome: Outcome) -> None:
        """Report how the trial with this key ended."""

    def learn(self, key: str, point: Point, outcome: Outcome) -> None:
        """Report how a trial that somebody else proposed ended.

        Args:
            key: its name, different from all of the proposer's own keys.
            point: a point of the space.
            outcome: how it ended.
        """

    def snapshot(self) -> Any:
        """Return everything that determines future proposals, as JSON-compatible values.

        It may share lists with the proposer: serialize it before the next call.
        """

    def restore(self, snapshot: Any) -> None:
        """Restore a snapshot of a proposer that was made with the same arguments."""
