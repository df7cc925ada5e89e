"""What the score of a trial is: a log of the training, or what scorers of scikit-learn give.

Responsible for the meaning of objective=, scoring= and refit=, and for measuring a fitted
estimator. Not for fitting it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trainer.base import Trainer
from trainer.checks import did_you_mean
from trainer.history import known_mode

SCORE = "score"  # the name of what a single scorer gives


@dataclass(frozen=True)
class Measure:
    """The score of a trial.

    Attributes:
        name: of the log or the scorer.
        maximize: whether more is better.
        log: whether it is a log of the training.
        scoring: what sklearn.metrics.check_scoring takes, where it is no log.
        several: whether scoring gives several, of which the score is that of `name`.
    """

    name: str
    maximize: bool
    log: bool = False
    scoring: Any = None
    several: bool = False

    def scores(self, estimator: Any, x: Any, y: Any) -> dict[str, float]:
        """What the scorers give for a fitted estimator; the score is that under `key`."""
        from sklearn.metrics import check_scoring

        given = check_scoring(estimator, scoring=self.scoring)(estimator, x, y)
        if not isinstance(given, Mapping):
            return {SCORE: float(given)}
        found = {str(name): float(value) for name, value in given.items()}
        if self.key not in found:
            raise ValueError(
                f"refit={self.key!r}: scoring gives no such score; {did_you_mean(self.key, found)}"
            )
        return found

    @property
    def key(self) -> str:
        """The name of the score among those of `scores`."""
        return self.name if self.several else SCORE


def trainer_in(estimator: Any) -> tuple[str, Trainer | None]:
    """The Trainer that does the training, and what its parameters' names begin with.

    It is the estimator itself, or the last step of a Pipeline; ("", None) for others.
    """
    from sklearn.pipeline import Pipeline

    if isinstance(estimator, Trainer):
        return "", estimator
    if isinstance(estimator, Pipeline) and isinstance(estimator.steps[-1][1], Trainer):
        return f"{estimator.steps[-1][0]}__", estimator.steps[-1][1]
    return "", None


def measure(estimator: Any, objective: Any, scoring: Any, refit: Any, *, by_log: bool) -> Measure:
    """The meaning of the arguments.

    Args:
        estimator: of the search.
        objective: None, the name of a log, or (name, "min" or "max").
        scoring: None, a scorer's name, a callable, or several as a list of names or a dict.
        refit: True, False, or which of several scores is the score.
        by_log: whether the validation loss is the score of a Trainer where nothing is said.

    Raises:
        TypeError, ValueError: they contradict each other, or a name is not known.
    """
    has_logs = trainer_in(estimator)[1] is not None
    if scoring is not None:
        return _of_scoring(estimator, objective, scoring, refit)
    if isinstance(refit, str):
        raise ValueError(f"refit={refit!r}: names one of several scores; write scoring=[...] too")
    if objective is None:
        if by_log and has_logs:
            return Measure("val_loss", maximize=False, log=True)
        objective = SCORE
    if objective == SCORE:
        if not hasattr(estimator, "score"):
            raise TypeError(
                f"scoring=None: {type(estimator).__name__} has no score method; write "
                "objective='val_loss' or scoring='accuracy', for example"
            )
        return Measure(SCORE, maximize=True)
    name, mode = _direction(objective)
    if not has_logs:
        raise ValueError(
            f"objective={objective!r}: is a log of a Trainer, and {type(estimator).__name__} has "
            f"none; write scoring={name!r} for one of scikit-learn's scores, or leave it out"
        )
    return Measure(name, maximize=mode == "max", log=True)


def _direction(objective: Any) -> tuple[str, Literal["min", "max"]]:
    if isinstance(objective, (tuple, list)) and len(objective) == 2:
        name, mode = objective
        if isinstance(name, str) and mode in ("min", "max"):
            return name, mode
    elif isinstance(objective, str) and objective:
        known = known_mode(objective)
        if known is not None:
            return objective, known
        raise ValueError(
            f"objective={objective!r}: whether more is better is not known by this name; write "
            f"objective=({objective!r}, 'max') or ({objective!r}, 'min')"
        )
    raise TypeError(
        f"objective={objective!r}: must be the name of a log, such as 'val_accuracy', or "
        "('val_accuracy', 'max')"
    )


def _of_scoring(estimator: Any, objective: Any, scoring: Any, refit: Any) -> Measure:
    from sklearn.metrics import check_scoring, get_scorer_names

    if isinstance(scoring, str) and scoring not in get_scorer_names():
        raise ValueError(
            f"scoring={scoring!r}: there is no such score; "
            f"{did_you_mean(scoring, get_scorer_names())}"
        )
    try:
        check_scoring(estimator, scoring=scoring)
    except (ValueError, TypeError) as error:
        raise ValueError(f"scoring={scoring!r}: {error}") from error
    if isinstance(scoring, (list, tuple, set, Mapping)):
        names = list(scoring)
        chosen = refit if isinstance(refit, str) else objective
        if chosen not in names:
            raise ValueError(
                f"refit={refit!r}: scoring gives {', '.join(names)}; write refit={names[0]!r} to "
                "choose the score by which trials are compared"
            )
        return Measure(chosen, maximize=True, scoring=scoring, several=True)
    if objective is not None:
        raise ValueError(
            f"objective={objective!r}, scoring={scoring!r}: two scores; write one of them"
        )
    if callable(scoring):
        # it may give several as a dict, which is known when it is called
        several = isinstance(refit, str)
        return Measure(refit if several else SCORE, True, scoring=scoring, several=several)
    return Measure(scoring, maximize=True, scoring=scoring)
