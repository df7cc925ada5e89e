"""Proposers choose the next trial of a study.

Responsible for the protocol that all proposers share. A proposer is asked for trials and told how
they ended; between any two calls it can be saved as JSON and restored, and then makes the same
proposals as it would have made. Not for running trials, nor for storing them.

What follows from the trials of the study need not be in that JSON: a proposer with a method
`replay` is given them again, so that what is saved with each trial does not grow with the study.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, runtime_checkable

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
        memo: what the proposer needs to know of the trial later and the other fields do not say, as
            JSON-compatible values; saved with the trial, for `replay`.
    """

    key: str
    point: Point
    epochs: int | None = None
    parent: str | None = None
    rung: int | None = None
    memo: Any = None


class Wait(Exception):
    """Nothing can be proposed until a running trial ends."""


class Finished(Exception):
    """Nothing more will be proposed."""


@dataclass
class Outcome:
    """How a trial ended.

    Attributes:
        score: of the objective, or of the first of several; None if the trial failed or its score
            is not a number.
        values: of all objectives, if there are several.
        violations: for each constraint, by how much it is violated: 0 or less if it is met.
    """

    score: float | None
    values: tuple[float, ...] = ()
    violations: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        self.values, self.violations = tuple(self.values), tuple(self.violations)  # JSON has lists

    @property
    def objectives(self) -> tuple[float | None, ...]:
        """The values of all objectives, of one too."""
        return self.values or (self.score,)

    def besides_score(self) -> dict[str, Any]:
        """Return the other fields that are not at their defaults, for the study's file."""
        others = [f for f in fields(self) if f.name != "score"]
        return {f.name: v for f in others if (v := getattr(self, f.name)) != f.default}


@dataclass(frozen=True)
class PastTrial:
    """A trial that was asked for before the study was resumed, for `replay`.

    Attributes:
        key, point, epochs, parent, rung, memo: as proposed.
        outcome: what the proposer was told; None if the trial is still running or waiting, and the
            proposer will be told later.
        asked: when it was asked for: its place among all asks and tells of the study.
        told: when it ended, on the same scale; None if it has not.
        learnt: whether somebody else proposed it, so that the proposer was told of it by `learn`.
    """

    key: str
    point: Point
    outcome: Outcome | None
    asked: int
    told: int | None
    epochs: int | None = None
    parent: str | None = None
    rung: int | None = None
    memo: Any = None
    learnt: bool = False


class Proposer(Protocol):
    """The protocol of proposers.

    A proposer may also have the method `replay`: see Replaying. And it may have a true attribute
    `independent`: what it proposes does not depend on how trials end, so that many short ones may
    be asked for at once.

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


@runtime_checkable
class Replaying(Proposer, Protocol):
    """A proposer whose snapshot leaves out what follows from the trials of the study."""

    def replay(self, trials: Sequence[PastTrial]) -> None:
        """Restore what the snapshot leaves out; called after each `restore`.

        Snapshots and trials are saved together, so that these are exactly the trials that were
        asked for and told before the snapshot was taken. A snapshot of an earlier version, which
        still contains them, is followed by `replay` too.

        Args:
            trials: those that have ended, in the order in which they ended, and then the others, in
                the order in which they were asked for. `asked` and `told` say how asks and tells
                alternated.
        """


def resume(proposer: Proposer, snapshot: Any, trials: Sequence[PastTrial]) -> None:
    """Restore a snapshot, and replay the trials if the proposer wants them."""
    proposer.restore(snapshot)
    replay(proposer, trials)


def replay(proposer: Proposer, trials: Sequence[PastTrial]) -> None:
    """Replay the trials if the proposer wants them."""
    if isinstance(proposer, Replaying):
        proposer.replay(trials)


def is_independent(proposer: Proposer) -> bool:
    """Whether what a proposer proposes does not depend on how trials end."""
    return bool(getattr(proposer, "independent", False))
