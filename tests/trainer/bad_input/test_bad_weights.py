"""Weights that fit refuses: one clear error, before any training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Row = tuple[Callable[[Any], Any], type[Exception], tuple[str, ...]]

# what is called, the error, and what its message holds: argument, value, remedy
WEIGHTS: dict[str, Row] = {
    "weights of another length": (
        lambda g: g.classifier().fit(g.x, g.y, sample_weight=np.ones(3)),
        ValueError,
        ("sample_weight has shape (3,)", "shape (30,)"),
    ),
    "weights in a matrix": (
        lambda g: g.classifier().fit(g.x, g.y, sample_weight=np.ones((30, 1))),
        ValueError,
        ("sample_weight has shape (30, 1)", "shape (30,)"),
    ),
    "negative weights": (
        lambda g: g.classifier().fit(g.x, g.y, sample_weight=-np.ones(30)),
        ValueError,
        ("sample_weight=-1", "must not be negative"),
    ),
    "NaN among weights": (
        lambda g: g.classifier().fit(g.x, g.y, sample_weight=np.full(30, np.nan)),
        ValueError,
        ("sample_weight contains NaN", "sample_weight[0]"),
    ),
    "nothing but zeros as weights": (
        lambda g: g.classifier().fit(g.x, g.y, sample_weight=np.zeros(30)),
        ValueError,
        ("sample_weight: every weight is zero", "at least one"),
    ),
    "a word as weights": (
        lambda g: g.classifier().fit(g.x, g.y, sample_weight="balanced"),
        TypeError,
        ("sample_weight='balanced'", "class_weight='balanced'"),
    ),
    "weights that leave one class": (
        lambda g: g.classifier().fit(g.x, g.y, sample_weight=(g.y == 1) * 1.0),
        ValueError,
        ("sample_weight leaves only one class", "at least two classes"),
    ),
    "class_weight another word": (
        lambda g: g.classifier(class_weight="balance").fit(g.x, g.y),
        ValueError,
        ("class_weight='balance'", "'balanced' or {label: weight}"),
    ),
    "class_weight a list": (
        lambda g: g.classifier(class_weight=[1, 2, 3]).fit(g.x, g.y),
        TypeError,
        ("class_weight=[1, 2, 3]", "'balanced' or {label: weight}"),
    ),
    "class_weight of an unknown label": (
        lambda g: g.classifier(class_weight={7: 1.0}).fit(g.x, g.y),
        ValueError,
        ("class_weight={7: 1.0}", "7 is not a class of y", "[0, 1, 2]"),
    ),
    "class_weight below 0": (
        lambda g: g.classifier(class_weight={1: -1.0}).fit(g.x, g.y),
        ValueError,
        ("class_weight={1: -1.0}", "0 or more"),
    ),
    "class_weight no number": (
        lambda g: g.classifier(class_weight={1: "high"}).fit(g.x, g.y),
        ValueError,
        ("class_weight={1: 'high'}", "must be a number"),
    ),
    "class_weight all 0": (
        lambda g: g.classifier(class_weight={0: 0, 1: 0, 2: 0}).fit(g.x, g.y),
        ValueError,
        ("class_weight={0: 0, 1: 0, 2: 0}", "weight of zero"),
    ),
    "class_weight for several labels a row": (
        lambda g: g.classifier(class_weight={0: 1}).fit(g.x, (g.x > 0) * 1),
        ValueError,
        ("class_weight={0: 1}", "pass sample_weight"),
    ),
    "class_weight balanced for several labels a row": (
        lambda g: g.classifier(class_weight="balanced").fit(g.x, (g.x > 0) * 1),
        ValueError,
        ("class_weight='balanced'", "one weight for all", "compute_sample_weight('balanced', y)"),
    ),
    "class_weight balanced for several outputs": (
        lambda g: g.classifier(class_weight="balanced").fit(g.x, {"a": g.y, "b": g.y > 1}),
        ValueError,
        ("class_weight='balanced'", "['a'], ['b']", "the weights of each", "sample_weight"),
    ),
    "class_weight of a regressor": (
        lambda g: g.regressor(class_weight={0: 1}).fit(g.x, g.r),
        ValueError,
        ("class_weight={0: 1}", "Regressor has no classes", "sample_weight"),
    ),
}


@pytest.mark.parametrize(("call", "error", "words"), WEIGHTS.values(), ids=WEIGHTS.keys())
def test_fit_refuses(refuses: Any, call: Any, error: Any, words: Any) -> None:
    refuses(call, error, words)
