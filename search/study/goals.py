"""The objectives and constraints of a search, and which trials they prefer.

Responsible for the meaning of a list as objective=, and of constraints=. Not for the first
objective alone, which is the score (`scoring`), nor for measuring the values (`evaluation`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from search.proposers import Outcome
from search.study import scoring
from trainer.history import known_mode
from trainer.utils.checks import near_names

SECONDS = "seconds"
PARAMETERS = "parameters"
LATENCY = "latency_ms"
MEASURED = (SECONDS, PARAMETERS, LATENCY)  # less is better
ARGUMENT = "objective"

Bounds = tuple[float | None, float | None]


@dataclass(frozen=True)
class Goals:
    """What trials are compared by.

    Attributes:
        names: of the objectives; the first one is the score.
        maximize: for each objective, whether a higher value is better.
        constraints: the lower and the upper bound of each value that has bounds, None without one.
    """

    names: tuple[str, ...]
    maximize: tuple[bool, ...]
    constraints: Mapping[str, Bounds] = field(default_factory=dict)

    @property
    def several(self) -> bool:
        """Whether there are several objectives."""
        return len(self.names) > 1

    @property
    def plain(self) -> bool:
        """Whether the score is all that counts."""
        return not self.several and not self.constraints

    @property
    def wanted(self) -> list[str]:
        """The names of the values besides the score, of objectives and constraints."""
        return list(dict.fromkeys([*self.names[1:], *self.constraints]))

    @property
    def bounds(self) -> int:
        """The number of bounds, each a constraint."""
        return sum(bound is not None for pair in self.constraints.values() for bound in pair)

    def outcome(self, score: float, metrics: Mapping[str, float], seconds: float) -> Outcome:
        """Return how a trial with a score ended.

        Args:
            score: the value of the first objective.
            metrics: the other values.
            seconds: of fitting and scoring.

        Raises:
            ValueError: a value is missing, or not a finite number.
        """
        if self.plain:
            return Outcome(score)
        own = {SECONDS: seconds, **metrics, self.names[0]: score}  # a function may return its own
        for name in self.wanted:
            if not math.isfinite(own.get(name, math.nan)):
                argument = ARGUMENT if name in self.names else "constraints"
                what = f"is {own[name]}, not a finite number" if name in own else "is not measured"
                raise ValueError(f"{argument}: {name!r} {what}")
        violations: list[float] = []
        for name, (low, high) in self.constraints.items():
            violations += [] if low is None else [low - own[name]]
            violations += [] if high is None else [own[name] - high]
        values = tuple(own[name] for name in self.names) if self.several else ()
        return Outcome(score, values, tuple(violations))

    def merit(self, score: float, values: Sequence[float]) -> tuple[float, ...]:
        """Return what feasible trials are compared by: higher is better.

        The first objective decides, and of equal ones the next: what has the highest merit is
        therefore on the Pareto front.

        Args:
            score: of a trial.
            values: of all its objectives, or empty if there is only the score.
        """
        own = values or (score,)
        return tuple(v if m else -v for v, m in zip(own, self.maximize, strict=True))

    def described(self) -> dict[str, Any]:
        """Return what a study's description says of them, besides the score."""
        found: dict[str, Any] = {}
        if self.several:
            modes = ["max" if m else "min" for m in self.maximize]
            found["objectives"] = [list(pair) for pair in zip(self.names, modes, strict=True)]
        if self.constraints:
            found["constraints"] = {name: list(pair) for name, pair in self.constraints.items()}
        return found

    @classmethod
    def recorded(cls, description: Mapping[str, Any]) -> Goals:
        """Return the goals of a study's description."""
        pairs = description.get("objectives") or [description["objective"][:2]]
        found = description.get("constraints") or {}
        return cls(
            tuple(name for name, _ in pairs),
            tuple(mode == "max" for _, mode in pairs),
            {name: (low, high) for name, (low, high) in found.items()},
        )


def check(
    first: scoring.Measure, others: Sequence[tuple[str, bool]], constraints: Any, known: Any
) -> Goals:
    """Return the goals of a search.

    Args:
        first: the score.
        others: names and directions of the other objectives: see `split`.
        constraints: None, or a dict from names to a lower and an upper bound.
        known: the kinds of values that the estimator has: "parameters", "logs", "latency".

    Raises:
        TypeError, ValueError: they are not such goals.
    """
    names = [first.name, *(name for name, _ in others)]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"objective: {name!r} appears twice; leave one of them out")
    bounds = _bounds(constraints)
    for argument, found in ((ARGUMENT, names[1:]), ("constraints", bounds)):
        for name in found:
            if name == PARAMETERS and "parameters" not in known:
                raise ValueError(
                    f"{argument}: only a Trainer has 'parameters' to count; leave it out"
                )
            if name == LATENCY and "latency" not in known:
                raise ValueError(
                    f"{argument}: 'latency_ms' is the time that predict takes for one row, and "
                    "here is no predict for rows held in memory; leave it out"
                )
    return Goals(tuple(names), (first.maximize, *(maximize for _, maximize in others)), bounds)


def split(objective: Any) -> tuple[Any, list[tuple[str, bool]]]:
    """Return the first objective, and names and directions (whether to maximize) of the others.

    Args:
        objective: the argument of a search. Only a list holds several: ("val_loss", "min") is one.

    Raises:
        TypeError, ValueError: one of them is not a name, or its direction is unknown.
    """
    if not isinstance(objective, list):
        objective = _as_pair(objective)
        if objective in MEASURED:
            raise ValueError(_first(objective))
        return objective, []
    if not objective:
        raise ValueError("objective=[]: no objective; write ['val_accuracy', 'seconds']")
    objective = list(map(_as_pair, objective))
    first = objective[0]
    name = first[0] if isinstance(first, (tuple, list)) and first else first
    if name in MEASURED:
        raise ValueError(_first(name))
    return first, [_direction(one) for one in objective[1:]]


def _as_pair(objective: Any) -> Any:
    """Return keras_tuner.Objective as a name and a direction, and anything else as it is."""
    name, direction = getattr(objective, "name", None), getattr(objective, "direction", None)
    return (name, direction) if isinstance(name, str) and direction in ("min", "max") else objective


def _first(name: str) -> str:
    return (
        f"objective={name!r}: the first objective is the score of a trial, by which the best one "
        f"is chosen; write ['val_loss', {name!r}], for example"
    )


def _direction(objective: Any) -> tuple[str, bool]:
    if isinstance(objective, (tuple, list)) and len(objective) == 2:
        name, mode = objective
        if isinstance(name, str) and mode in ("min", "max"):
            return name, mode == "max"
    if isinstance(objective, str) and objective:
        known = "min" if objective in MEASURED else known_mode(objective)
        if known is not None:
            return objective, known == "max"
        near = near_names(objective, (*MEASURED, "val_loss", "val_accuracy", "val_mae"))
        meant = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(
            f"objective: unknown whether a higher {objective!r} is better; write "
            f"({objective!r}, 'max') or ({objective!r}, 'min'){meant}"
        )
    raise TypeError(
        f"objective: {objective!r} must be a name, such as 'val_accuracy' or 'seconds', or "
        "('val_accuracy', 'max')"
    )


def _bounds(constraints: Any) -> dict[str, Bounds]:
    if constraints is None:
        return {}
    example = "constraints={'parameters': (None, 100_000)}"
    if not isinstance(constraints, Mapping):
        raise TypeError(
            f"constraints={constraints!r}: must be a dict from names to a lower and an upper "
            f"bound; write {example}"
        )
    found: dict[str, Bounds] = {}
    for name, pair in constraints.items():
        told = f"constraints={{{name!r}: {pair!r}}}"
        if not isinstance(name, str) or not name:
            raise TypeError(f"{told}: must be the name of a value; write {example}")
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(
                f"{told}: must be a lower and an upper bound, None for none; write {example}"
            )
        low, high = (_bound(told, bound) for bound in pair)
        if low is None and high is None:
            raise ValueError(f"{told}: no bound; write {example}")
        if low is not None and high is not None and low > high:
            raise ValueError(f"{told}: the lower bound is above the upper one; exchange them")
        found[name] = low, high
    return found


def _bound(told: str, bound: Any) -> float | None:
    if bound is None:
        return None
    if isinstance(bound, bool) or not isinstance(bound, (int, float, np.number)):
        raise TypeError(f"{told}: {bound!r} must be a number or None")
    if not math.isfinite(bound):
        raise ValueError(f"{told}: {bound!r} must be a finite number; None means no bound")
    return float(bound)


def front(values: Any, maximize: Sequence[bool]) -> np.ndarray:
    """Return which rows no other row dominates.

    A row dominates another one if it is at least as good in each objective and better in one (the
    Pareto front; Deb, Pratap, Agarwal and Meyarivan 2002, "A Fast and Elitist Multiobjective
    Genetic Algorithm: NSGA-II"). Equal rows do not dominate each other.

    Args:
        values: of the objectives [n, k].
        maximize: for each objective, whether a higher value is better.

    Returns:
        A mask [n].
    """
    signs = np.where(np.asarray(maximize), -1.0, 1.0)
    costs = np.asarray(values, float).reshape(-1, len(signs)) * signs
    mask = np.ones(len(costs), bool)
    for i, row in enumerate(costs):
        as_good = (costs <= row).all(axis=1)
        mask[i] = not (as_good & (costs < row).any(axis=1)).any()
    return mask
