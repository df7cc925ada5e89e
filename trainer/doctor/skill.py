"""Measures how much better than a constant prediction a network is.

Responsible for one measure, comparable between classes, labels and numbers. Not for the scores
that users see: those are the metrics of Keras and scikit-learn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainer.data.labels import Labels


@dataclass(frozen=True)
class Result:
    """How well one output predicts some rows.

    Attributes:
        skill: How much better it is than the best constant prediction: 0 is equal, 1 is perfect,
            -inf is not finite. For classes, the best skill by accuracy, mean recall and
            crossentropy; for numbers, R squared.
        score: Accuracy or R squared, to compare training and validation by.
        fit: How much lower the loss is than that of the best constant prediction, in the same
            way as skill: by crossentropy for classes, R squared for numbers.
        recalls: The recall of each class or label; NaN if it has no rows.
        spread: How much the predictions vary over the rows: for classes, the standard deviation
            of probabilities; for numbers, relative to that of the targets.
        predicted: The share of the rows for which each class or label is predicted; empty if
            unknown.
    """

    skill: float
    score: float
    fit: float
    recalls: np.ndarray
    spread: float
    predicted: np.ndarray = field(default_factory=lambda: np.array([]))


def of_labels(labels: Labels, true: np.ndarray, p: np.ndarray) -> Result:
    """Measure probabilities [n, classes] against encoded targets: indices, one-hot or multi-hot."""
    if not np.isfinite(p).all():
        return Result(-math.inf, 0.0, -math.inf, np.zeros(labels.n_classes), 0.0)
    p = p.astype(np.float64)
    if labels.kind == "multilabel":
        limits = 0.5 if labels.thresholds is None else np.array(labels.thresholds)
        chosen = (p > limits).astype(int)
        columns = [
            _of_classes(
                true[:, i].astype(int), np.stack([1 - p[:, i], p[:, i]], axis=-1), chosen[:, i]
            )
            for i in range(p.shape[1])
        ]
        recalls = np.array([c.recalls[1] for c in columns])
        predicted = chosen.mean(axis=0)
        varied = [c for i, c in enumerate(columns) if len(np.unique(true[:, i])) == 2]
        if not varied:
            return Result(0.0, 1.0, 0.0, recalls, 0.0, predicted)
        return Result(
            max(c.skill for c in varied),
            float(np.mean([c.score for c in varied])),
            float(np.mean([c.fit for c in varied])),
            recalls,
            max(c.spread for c in varied),
            predicted,
        )
    chosen = p.argmax(axis=-1)
    if labels.thresholds is not None:
        above = p[:, labels.positive] > labels.thresholds[0]
        chosen = np.where(above, labels.positive, 1 - labels.positive)
    return _of_classes(true if true.ndim == 1 else true.argmax(axis=-1), p, chosen)


def _of_classes(true: np.ndarray, p: np.ndarray, chosen: np.ndarray) -> Result:
    counts = np.bincount(true, minlength=p.shape[-1])
    hits = np.bincount(true[chosen == true], minlength=p.shape[-1])
    recalls = np.where(counts > 0, hits / np.maximum(counts, 1), np.nan)
    predicted = np.bincount(chosen, minlength=p.shape[-1]) / len(true)
    shares = counts[counts > 0] / len(true)
    accuracy = float((chosen == true).mean())
    if len(shares) < 2:
        return Result(accuracy, accuracy, 0.0, recalls, 0.0, predicted)
    total = np.maximum(p, 0).sum(axis=-1)
    q = np.maximum(p[np.arange(len(true)), true], 0) / np.where(total > 0, total, 1)
    entropy = -float(np.sum(shares * np.log(shares)))
    fit = 1 + float(np.log(np.maximum(q, 1e-7)).mean()) / entropy
    skills = [
        (accuracy - shares.max()) / (1 - shares.max()),
        (float(np.nanmean(recalls)) - 1 / len(shares)) / (1 - 1 / len(shares)),
        fit,
    ]
    return Result(max(skills), accuracy, fit, recalls, float(p.std(axis=0).max()), predicted)


def of_numbers(true: np.ndarray, given: np.ndarray) -> Result:
    """Measure predicted numbers [n, ...] against the true ones, of the same shape."""
    none = np.array([])
    if not np.isfinite(given).all():
        return Result(-math.inf, 0.0, -math.inf, none, 0.0)
    wide = true.reshape(len(true), -1).astype(np.float64)
    given = given.reshape(len(true), -1).astype(np.float64)
    varies = wide.var(axis=0) > 0
    if not varies.any():
        return Result(0.0, 1.0, 0.0, none, 0.0)
    with np.errstate(over="ignore"):
        error = np.mean(np.square(wide - given), axis=0)[varies]
        variance = wide.var(axis=0)[varies]
        # Averaged per column (columns in different units) or over all (same unit), if better.
        r2 = float(1 - min(np.mean(error / variance), error.sum() / variance.sum()))
        spread = float((given.std(axis=0)[varies] / wide.std(axis=0)[varies]).max())
    return Result(r2, r2, r2, none, spread)


def compares_numbers(loss: Any) -> bool:
    """Return whether a loss is one of the usual regression losses."""
    return kind(loss) in ("mse", "mae", "huber", "logcosh")


def constant_loss(loss: Any, y: np.ndarray) -> float | None:
    """Return the loss of the best constant prediction of encoded y; None for an unknown loss."""
    name = kind(loss)
    wide = y.reshape(len(y), -1).astype(np.float64)
    if name == "scaledsquarederror":
        return 1.0
    if name == "mse":
        return float(wide.var(axis=0).mean())
    if name == "mae":
        return float(np.abs(wide - np.median(wide, axis=0)).mean())
    if not name.endswith("categoricalcrossentropy") and name != "binarycrossentropy":
        return None
    if y.ndim == 1:
        shares = np.unique(y, return_counts=True)[1] / len(y)
        return -float(np.sum(shares * np.log(shares)))
    shares = np.clip(wide.mean(axis=0), 1e-12, 1 - 1e-12)
    if name == "binarycrossentropy":
        return -float(np.mean(shares * np.log(shares) + (1 - shares) * np.log(1 - shares)))
    return -float(np.sum(shares * np.log(shares)))


def kind(loss: Any) -> str:
    """Return the name of a loss in lower case, such as "mse"; usual long names are shortened."""
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    plain = name.lower().replace("_", "")
    return {"meansquarederror": "mse", "meanabsoluteerror": "mae"}.get(plain, plain)
