"""What goes to a worker, and what comes back.

Responsible for the form of both. Not for what is done with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from search.space import Point


@dataclass(frozen=True)
class Job:
    """A trial that is to be run.

    Attributes:
        trial: its number.
        params: the values of the active parameters.
        seed: of its random numbers.
        epochs: the epoch at which it ends, where the proposer decides that, or None.
        parent: the trial from whose last state it goes on, or None.
        parent_epochs: the epochs of that state.
    """

    trial: int
    params: Point
    seed: int
    epochs: int | None = None
    parent: int | None = None
    parent_epochs: int | None = None


@dataclass(frozen=True)
class Fold:
    """What one fit of a trial gave.

    Attributes:
        fold: which split of the data, counted from 0.
        execution: which repetition of it, counted from 0.
        score: of the objective, or None if it is not a number.
        metrics: what else was measured.
        fit_seconds: that fitting took.
        score_seconds: that scoring took.
        epochs: one record an epoch, with its number under "epoch".
    """

    fold: int
    execution: int
    score: float | None
    metrics: dict[str, float] = field(default_factory=dict)
    fit_seconds: float = 0.0
    score_seconds: float = 0.0
    epochs: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    """What a trial gave.

    Attributes:
        score: of the objective, the mean over its fits; None where there is none.
        metrics: what else was measured, the mean over its fits.
        folds: one for each fit.
    """

    score: float | None
    metrics: dict[str, float] = field(default_factory=dict)
    folds: list[Fold] = field(default_factory=list)
