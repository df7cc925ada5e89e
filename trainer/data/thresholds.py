"""Decision thresholds: the probability above which a class or label is predicted.

Responsible for which metrics a threshold can be tuned for, and for finding the best one. Not for
predicting with it (`labels`), nor for which rows it is tuned on (`tasks`).
"""

from __future__ import annotations

import functools
import numbers
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from trainer.utils.checks import did_you_mean

MOST = 200  # candidates that are scored at a time
_PLAIN = ("accuracy", "balanced_accuracy", "matthews_corrcoef")
_AVERAGED = ("f1", "jaccard", "precision", "recall")
METRICS = (
    *_PLAIN,
    *(f"{name}{kind}" for name in _AVERAGED for kind in ("", "_macro", "_micro", "_weighted")),
)


def check(name: str, value: Any) -> None:
    """Check a threshold as given by the user: None, a number, or the name of a metric.

    Args:
        name: The name of the field, for errors.
        value: Its value.

    Raises:
        TypeError: It is neither.
        ValueError: The number is not above 0 and below 1, or the metric is not one of METRICS.
    """
    if value is None:
        return
    if isinstance(value, str):
        if value not in METRICS:
            raise ValueError(
                f"{name}={value!r}: must be a number above 0 and below 1, or the name of a metric "
                f"of predicted labels; {did_you_mean(value, METRICS)}"
            )
        return
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(
            f"{name}={value!r}: must be a number, such as {name}=0.3, or the name of a metric, "
            f"such as {name}='balanced_accuracy'"
        )
    if not 0 < float(value) < 1:
        raise ValueError(
            f"{name}={value!r}: is a probability, and must be above 0 and below 1; write "
            f"{name}=0.5, for example"
        )


def tune(
    metric: str, truth: np.ndarray, given: np.ndarray, weight: np.ndarray | None
) -> tuple[float, ...]:
    """Return the threshold of each column that maximises a metric.

    Candidates lie halfway between two probabilities that follow each other, as all others predict
    the same. Of thresholds with an equal score the one closest to 0.5 is taken. Of more than MOST
    candidates, every k-th is scored first, and then those around the best.

    Args:
        metric: One of METRICS.
        truth: Whether the class or label is right, bool [n, columns].
        given: Its probability, [n, columns].
        weight: Row weights [n], or None.

    Returns:
        One number above 0 and below 1 for each column. 0.5, with a warning, for a column whose
        rows are all true or all false.
    """
    weight = np.ones(len(truth)) if weight is None else weight.astype(np.float64)
    counted = truth[weight > 0]
    varies = counted.min(axis=0) < counted.max(axis=0)
    if not varies.all():
        warnings.warn(
            f"decision_threshold={metric!r}: the validation rows have only one value of the "
            f"label(s) {', '.join(map(str, np.flatnonzero(~varies).tolist()))}, for which "
            "predictions use 0.5",
            stacklevel=4,
        )
    return tuple(
        _best(metric, truth[:, i], given[:, i], weight) if varies[i] else 0.5
        for i in range(truth.shape[1])
    )


def _best(metric: str, truth: np.ndarray, given: np.ndarray, weight: np.ndarray) -> float:
    values, index = np.unique(given.astype(np.float64), return_inverse=True)
    right = np.bincount(index, weight * truth, len(values))
    wrong = np.bincount(index, weight * ~truth, len(values))
    lower, upper = np.append(0.0, values), np.append(values, 1.0)
    middle = (lower + upper) / 2
    # between neighbouring floats there is none, and the lower one separates them
    cuts = np.where(middle < upper, middle, lower)
    # those above cut i: the values from i on
    hits = np.append(np.cumsum(right[::-1])[::-1], 0.0)
    alarms = np.append(np.cumsum(wrong[::-1])[::-1], 0.0)
    usable = np.flatnonzero((cuts > 0) & (cuts < 1))
    score = _scorer(metric)
    scores: dict[int, float] = {}

    def look(some: np.ndarray) -> int:
        for i in some.tolist():
            if i not in scores:
                missed, rejected = hits[0] - hits[i], alarms[0] - alarms[i]
                scores[i] = score(rejected, alarms[i], missed, hits[i])
        most = max(scores.values())
        equal = [i for i in scores if scores[i] >= most - 1e-12]
        return min(equal, key=lambda i: abs(cuts[i] - 0.5))

    step = -(-len(usable) // MOST)
    best = look(usable[::step])
    if step > 1:
        best = look(usable[(usable > best - step) & (usable < best + step)])
    return float(cuts[best])


def _scorer(metric: str) -> Callable[[float, float, float, float], float]:
    """Return a metric as a function of the weights of the four cells of a confusion matrix.

    The metrics of labels depend on nothing else, so scikit-learn's functions get four rows.
    """
    from sklearn import metrics

    name, _, average = metric.partition("_") if metric not in _PLAIN else (metric, "", "")
    functions: dict[str, Callable[..., Any]] = {
        "accuracy": metrics.accuracy_score,
        "balanced_accuracy": metrics.balanced_accuracy_score,
        "matthews_corrcoef": metrics.matthews_corrcoef,
        "f1": metrics.f1_score,
        "jaccard": metrics.jaccard_score,
        "precision": metrics.precision_score,
        "recall": metrics.recall_score,
    }
    function = functions[name]
    if name in _AVERAGED:
        function = functools.partial(function, average=average or "binary", zero_division=0.0)
    truth, chosen = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])

    def score(rejected: float, alarms: float, missed: float, hits: float) -> float:
        cells = np.maximum([rejected, alarms, missed, hits], 0.0)  # sums of floats round
        return float(function(truth, chosen, sample_weight=cells))

    return score
