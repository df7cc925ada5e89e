"""What is sent to a worker, and what it sends back.

Responsible for the form of both. Not for what is done with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from search.space import Point

if TYPE_CHECKING:
    from trainer.sklearn_callbacks import Task  # it imports scikit-learn, and that pandas


@dataclass(frozen=True)
class Job:
    """A trial to be run.

    Attributes:
        trial: its number.
        params: the values of the active parameters.
        seed: of its random numbers.
        epochs: the epoch at which it ends, if the proposer decides that, or None.
        parent: the trial whose last state it resumes from, or None.
        parent_epochs: the number of epochs of that state.
        task: the trial as scikit-learn's callbacks see it, or None if there are none.
    """

    trial: int
    params: Point
    seed: int
    epochs: int | None = None
    parent: int | None = None
    parent_epochs: int | None = None
    task: Task | None = None


@dataclass(frozen=True)
class Fold:
    """The result of one fit of a trial.

    Attributes:
        fold: which split of the data, counted from 0.
        execution: which repetition of it, counted from 0.
        score: of the objective, or None if it is not a number.
        metrics: all other metrics.
        fit_seconds: time to fit.
        score_seconds: time to score.
        epochs: one record per epoch, with its number under "epoch".
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
    """The result of a trial.

    Attributes:
        score: of the objective, the mean over its fits; None if there is none.
        metrics: all other metrics, the mean over its fits.
        folds: one per fit.
        attributes: that code in the trial set: see search.study.current.
        disk_error: why the trial could not use its folder; empty where it could. It has no result
            then, and is not to blame for that.
    """

    score: float | None
    metrics: dict[str, float] = field(default_factory=dict)
    folds: list[Fold] = field(default_factory=list)
    disk_error: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
