"""The score of a trial: a log of the training, or the result of scikit-learn scorers.

Responsible for the meaning of objective=, scoring= and refit=, and for scoring a fitted estimator.
Not for fitting it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from trainer.base import Trainer
from trainer.history import known_mode
from trainer.models import Chosen
from trainer.utils.checks import did_you_mean, near_names

SCORE = "score"  # the name of a single scorer's result


@dataclass(frozen=True)
class Measure:
    """The score of a trial.

    Attributes:
        name: of the log or the scorer.
        maximize: whether higher is better.
        log: whether it is a log of the training.
        scoring: argument of sklearn.metrics.check_scoring, if it is not a log.
        several: whether scoring returns several scores, of which `name` is the one that counts.
    """

    name: str
    maximize: bool
    log: bool = False
    scoring: Any = None
    several: bool = False

    def scores(
        self, estimator: Any, x: Any, y: Any, params: Mapping[str, Any] | None = None
    ) -> dict[str, float]:
        """Return all scores of a fitted estimator; the trial's score is the one under `key`.

        Args:
            estimator: fitted.
            x: rows to score on.
            y: their targets.
            params: arguments of the scorer.
        """
        from sklearn.metrics import check_scoring

        given = check_scoring(estimator, scoring=self.scoring)(estimator, x, y, **(params or {}))
        if not isinstance(given, Mapping):
            if self.several:
                raise ValueError(
                    f"refit={self.key!r}: scoring returns a single score; write refit=True"
                )
            return {SCORE: _number(given)}
        found = {str(name): _number(value) for name, value in given.items()}
        if not self.several:
            raise ValueError(
                f"scoring={_named(self.scoring)}: several scores, {', '.join(found)}; write "
                f"refit={next(iter(found), '')!r} to choose the one by which trials are compared"
            )
        if self.key not in found:
            raise ValueError(
                f"refit={self.key!r}: scoring has no such score; {did_you_mean(self.key, found)}"
            )
        return found

    def scorer(self, estimator: Any) -> Any:
        """Return what scikit-learn's searches have as scorer_; None for a log."""
        from sklearn.metrics import check_scoring

        if self.log:
            return None
        if isinstance(self.scoring, (list, tuple, set)):
            return {name: check_scoring(estimator, scoring=name) for name in self.scoring}
        if isinstance(self.scoring, Mapping):
            return {n: check_scoring(estimator, scoring=s) for n, s in self.scoring.items()}
        return check_scoring(estimator, scoring=self.scoring)

    @property
    def key(self) -> str:
        """The name of the score in the result of `scores`."""
        return self.name if self.several else SCORE


def trainer_in(estimator: Any) -> tuple[str, Trainer | None]:
    """Return the Trainer that does the training, and the prefix of its parameters' names.

    It is the estimator itself, or the last step of a Pipeline; ("", None) for others.
    """
    from sklearn.pipeline import Pipeline

    if isinstance(estimator, Trainer):
        return "", estimator
    if isinstance(estimator, Pipeline) and isinstance(estimator.steps[-1][1], Trainer):
        return f"{estimator.steps[-1][0]}__", estimator.steps[-1][1]
    return "", None


def chosen(estimator: Any, x: Any, y: Any) -> Chosen | None:
    """Return the architecture that the Trainer of an estimator would train, with its values.

    What a pipeline's steps make of x is not known before they are fitted: a Trainer in one that
    leaves the choice to the data is taken for one on arrays.

    Args:
        estimator: not fitted.
        x: the data of the search.
        y: the targets of the search.
    """
    trainer = trainer_in(estimator)[1]
    if trainer is None:
        return None
    if trainer is estimator:
        own: Chosen = trainer.resolve(x, y)
        return own
    n = len(y) if hasattr(y, "__len__") else 2
    on_arrays: Chosen = trainer.resolve(np.zeros((n, 1), np.float32), y)
    return on_arrays


def measure(estimator: Any, objective: Any, scoring: Any, refit: Any, *, by_log: bool) -> Measure:
    """Interpret the arguments.

    Args:
        estimator: of the search.
        objective: None, the name of a log, (name, "min" or "max"), or a keras_tuner.Objective.
        scoring: None, a scorer's name, a callable, or several as a list of names or a dict.
        refit: True, False, the name of the score that counts, of several, or a function that
            chooses the best at the end.
        by_log: whether a Trainer's score is the validation loss by default.

    Raises:
        TypeError, ValueError: the arguments contradict each other, or a name is unknown.
    """
    has_logs = trainer_in(estimator)[1] is not None
    objective = _plain_objective(objective, scoring)
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
                f"scoring=None: {type(estimator).__name__} has no method score; write "
                f"{'objective=' + repr('val_loss') + ' or ' if has_logs else ''}"
                "scoring='accuracy', for example"
            )
        return Measure(SCORE, maximize=True)
    name, mode = _direction(objective)
    if not has_logs:
        from sklearn.metrics import get_scorer_names

        wanted = name if name in get_scorer_names() else "accuracy"
        raise ValueError(
            f"objective={objective!r}: is a log of a Trainer, and {type(estimator).__name__} has "
            f"none; write scoring={wanted!r}, for example, or leave it out"
        )
    return Measure(name, maximize=mode == "max", log=True)


def _plain_objective(objective: Any, scoring: Any) -> Any:
    """Return a keras_tuner.Objective as the name or the pair that it stands for."""
    if not type(objective).__module__.startswith("keras_tuner."):
        return objective
    name = getattr(objective, "name", None)
    mode = getattr(objective, "direction", None)
    if hasattr(objective, "objectives") or not isinstance(name, str):
        raise TypeError(
            f"objective={type(objective).__name__}: several objectives; write one of them, "
            "keras_tuner.Objective('val_loss', 'min'), for example"
        )
    if scoring is None and name != SCORE:
        return name if mode is None else (name, mode)
    if mode == "min":
        raise ValueError(
            f"objective=Objective({name!r}, 'min'): scores of scikit-learn are better the higher "
            f"they are; write Objective({name!r}, 'max')"
        )
    return name


def _direction(objective: Any) -> tuple[str, Literal["min", "max"]]:
    if isinstance(objective, (tuple, list)) and len(objective) == 2:
        name, mode = objective
        if isinstance(name, str) and mode in ("min", "max"):
            return name, mode
    elif isinstance(objective, str) and objective:
        known = known_mode(objective)
        if known is not None:
            return objective, known
        common = near_names(objective, ("val_loss", "val_accuracy", "val_mae", "val_mse"))
        near = f"; did you mean {' or '.join(map(repr, common))}?" if common else ""
        raise ValueError(
            f"objective={objective!r}: unknown whether higher is better; write "
            f"objective=({objective!r}, 'max') or ({objective!r}, 'min'){near}"
        )
    raise TypeError(
        f"objective={objective!r}: must be the name of a log, such as 'val_accuracy', or "
        "('val_accuracy', 'max')"
    )


def _of_scoring(estimator: Any, objective: Any, scoring: Any, refit: Any) -> Measure:
    _check_scoring(estimator, scoring)
    chosen = refit if isinstance(refit, str) else objective
    if isinstance(refit, str) and objective not in (None, refit):
        raise ValueError(f"objective={objective!r}, refit={refit!r}: two scores; write one of them")
    if isinstance(scoring, (list, tuple, set, Mapping)):
        names = list(scoring)
        if chosen is None and callable(refit):
            chosen = names[0]  # refit is a rule for the end; trials are compared by one score
        if chosen not in names:
            named = objective is not None and not isinstance(refit, str)
            given = f"objective={objective!r}" if named else f"refit={refit!r}"
            raise ValueError(
                f"{given}: scoring returns {', '.join(map(repr, names))}; write "
                f"{'objective' if named or not refit else 'refit'}={names[0]!r} to choose the "
                "score by which trials are compared"
            )
        return Measure(chosen, maximize=True, scoring=scoring, several=True)
    if callable(scoring) and isinstance(chosen, str):
        # whether it returns this one among several is known only when it is called
        return Measure(chosen, maximize=True, scoring=scoring, several=True)
    if objective is not None:
        raise ValueError(
            f"objective={objective!r}, scoring={scoring!r}: two scores; write one of them"
        )
    if isinstance(refit, str) and refit != scoring:
        raise ValueError(
            f"refit={refit!r}: scoring={scoring!r} is a single score; write refit=True"
        )
    return Measure(SCORE if callable(scoring) else scoring, maximize=True, scoring=scoring)


def _check_scoring(estimator: Any, scoring: Any) -> None:
    from sklearn.metrics import check_scoring, get_scorer_names

    several = isinstance(scoring, (list, tuple, set, Mapping))
    if not (isinstance(scoring, str) or callable(scoring) or several and len(scoring)):
        raise TypeError(
            f"scoring={scoring!r}: must be the name of a score, a callable (estimator, x, y), or "
            "several as a list of names or a dict; write scoring='accuracy', for example"
        )
    parts = scoring.values() if isinstance(scoring, Mapping) else scoring if several else [scoring]
    for part in parts:
        if isinstance(part, str) and part not in get_scorer_names():
            raise ValueError(
                f"scoring={scoring!r}: there is no score {part!r}; "
                f"{did_you_mean(part, get_scorer_names())}"
            )
    try:
        check_scoring(estimator, scoring=scoring)
    except (ValueError, TypeError) as error:
        raise ValueError(f"scoring={scoring!r}: {error}") from error


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"scoring: returned {value!r}; it must return a number, or a dict of numbers"
        ) from None


def _named(scoring: Any) -> str:
    return getattr(scoring, "__name__", None) or repr(scoring)
