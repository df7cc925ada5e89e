"""Who proposes the next trial of a study.

Responsible for the protocol that all proposers share. A proposer is asked for trials and told how
they ended; it can be put to JSON and back at any moment between two calls, and then proposes what
it would have proposed. Not for running trials, nor for storing them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from search.space import Point


@dataclass(frozen=True)
class Proposal:
    """A trial that is to be run.

    Attributes:
        key: the proposer's own name for it, by which it is told of the end.
        point: the values of the active parameters.
        epochs: the epoch at which the trial ends, where the proposer decides that; otherwise None.
        parent: the key of the trial whose last state it goes on from, or None.
        rung: which round of a successive halving it belongs to, counted from 0, or None.
    """

    key: str
    point: Point
    epochs: int | None = None
    parent: str | None = None
    rung: int | None = None


class Wait(Exception):
    """Nothing can be proposed before a running trial ends."""


class Finished(Exception):
    """Nothing will be proposed any more."""


@dataclass
class Outcome:
    """How a trial ended.

    Attributes:
        score: of the objective; None if the trial gave none (it failed, or its score is no number).
    """

    score: float | None


class Proposer(Protocol):
    """Proposes trials.

    Attributes:
        slow: whether asking may take long, so that it is worth being asked before a worker is
            free.
        learns: whether trials that somebody else proposed mean anything to it.
    """

    @property
    def slow(self) -> bool: ...

    @property
    def learns(self) -> bool: ...

    def ask(self) -> Proposal:
        """The next trial.

        Raises:
            Wait: nothing can be proposed before a running trial ends.
            Finished: there is nothing more to propose.
        """

    def tell(self, key: str, outcome: Outcome) -> None:
        """The trial of this key ended."""

    def learn(self, key: str, point: Point, outcome: Outcome) -> None:
        """A trial that somebody else proposed has ended.

        Args:
            key: its name, which none of the proposer's own has.
            point: a point of the space.
            outcome: how it ended.
        """

    def snapshot(self) -> Any:
        """All that decides what is proposed from now on, as JSON holds it.

        It may share lists with the proposer: to be written down before the next call.
        """

    def restore(self, snapshot: Any) -> None:
        """Take back what `snapshot` of a proposer made with the same arguments gave."""
