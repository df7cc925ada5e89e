"""Validation data and splits that fit refuses: one clear error, before any training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Row = tuple[Callable[[Any], Any], type[Exception], tuple[str, ...]]


def with_value(array: np.ndarray, place: Any, value: Any) -> np.ndarray:
    changed = array.copy()
    changed[place] = value
    return changed


# what is called, the error, and what its message holds: argument, value, remedy
VALIDATION: dict[str, Row] = {
    "labels that training lacks": (
        lambda g: g.classifier().fit(g.x, g.y, validation_data=(g.x, g.y + 1)),
        ValueError,
        ("validation_data: y contains 3", "training did not have", "0, 1, 2", "Drop those rows"),
    ),
    "no rows to tune a threshold on": (
        lambda g: g.classifier(decision_threshold="f1").fit(g.x, g.y > 0),
        ValueError,
        ("decision_threshold='f1'", "validation rows", "write validation_split=0.2"),
    ),
    "no rows to tune a threshold on, of a stream": (
        lambda g: g.classifier(decision_threshold="f1").fit(g.stream(g.x, g.y > 0)),
        ValueError,
        ("decision_threshold='f1'", "validation rows", "pass validation_data"),
    ),
    "rows of one class to tune a threshold on": (
        lambda g: g.classifier(decision_threshold="f1").fit(
            g.x, g.y > 0, validation_data=(g.x[g.y > 0], g.y[g.y > 0] > 0)
        ),
        ValueError,
        ("decision_threshold='f1'", "20 validation rows all have the same label", "both classes"),
    ),
    "rows of one class to tune a threshold on, of a stream": (
        lambda g: g.classifier(decision_threshold="f1").fit(
            g.x, g.y > 0, validation_data=g.stream(g.x[g.y > 0], g.y[g.y > 0] > 0)
        ),
        ValueError,
        ("decision_threshold='f1'", "20 validation rows all have the same label"),
    ),
    "labels that training lacks in a stream": (
        lambda g: g.classifier().fit(g.stream(g.x, g.y), validation_data=g.stream(g.x, g.y + 1)),
        ValueError,
        ("validation_data: y contains 3", "training did not have", "0, 1, 2"),
    ),
    "columns that training lacks": (
        lambda g: g.classifier().fit(g.x, g.y, validation_data=(g.x[:, :3], g.y)),
        ValueError,
        ("validation_data: x", "3 features", "expecting 4", "(n, 4)"),
    ),
    "columns that training lacks in a stream": (
        lambda g: g.classifier().fit(g.x, g.y, validation_data=g.stream(g.x[:, :3], g.y)),
        ValueError,
        ("validation_data: x", "3 features", "expecting 4"),
    ),
    "text in a frame's numeric column": (
        lambda g: g.classifier().fit(
            g.frame, g.y, validation_data=(g.frame.assign(age="old"), g.y)
        ),
        ValueError,
        ("validation_data: x['age']", "'old' at row 0", "pd.to_numeric"),
    ),
    "NaN": (
        lambda g: g.classifier().fit(
            g.x, g.y, validation_data=(with_value(g.x, (0, 0), np.nan), g.y)
        ),
        ValueError,
        ("validation_data: x contains NaN", "x[0, 0]"),
    ),
    "different lengths": (
        lambda g: g.classifier().fit(g.x, g.y, validation_data=(g.x, g.y[:3])),
        ValueError,
        ("validation_data: x has 30 rows", "validation_data: y has 3 rows"),
    ),
    "weights of another length": (
        lambda g: g.classifier().fit(g.x, g.y, validation_data=(g.x, g.y, np.ones(3))),
        ValueError,
        ("validation_data: sample_weight has shape (3,)", "(30,)"),
    ),
    "x alone": (
        lambda g: g.classifier().fit(g.x, g.y, validation_data=g.x),
        TypeError,
        ("validation_data=<ndarray of shape (30, 4)>", "validation_data=(x_valid, y_valid)"),
    ),
    "too many parts": (
        lambda g: g.classifier().fit(g.x, g.y, validation_data=(g.x, g.y, g.y, g.y)),
        TypeError,
        ("validation_data=<tuple of 4 parts>", "(x, y, sample_weight)"),
    ),
    "no y": (
        lambda g: g.classifier().fit(g.x, g.y, validation_data=(g.x, None)),
        ValueError,
        ("requires y", "None", "validation_data: y"),
    ),
    "a share": (
        lambda g: g.classifier().fit(g.x, g.y, validation_data=0.2),
        TypeError,
        ("validation_data=0.2", "write validation_split=0.2"),
    ),
    "a class with a single row, split by class": (
        lambda g: g.classifier(validation_split=0.2).fit(g.x, with_value(g.y, 29, 9)),
        ValueError,
        ("validation_split=0.2", "class 9 has a single row", "pass validation_data"),
    ),
    "fewer held-out rows than classes": (
        lambda g: g.classifier(validation_split=0.01).fit(g.x, g.y),
        ValueError,
        ("validation_split=0.01", "1 of 30 rows", "classes (3)", "another fraction"),
    ),
    "no row left to train on": (
        lambda g: g.classifier(validation_split=0.99).fit(g.x, g.y),
        ValueError,
        ("validation_split=0.99", "none of 30 rows", "pass validation_data"),
    ),
    "a class only among the held-out rows": (
        lambda g: g.classifier(validation_split=0.4, shuffle=False).fit(g.x, np.sort(g.y)),
        ValueError,
        ("validation_split=0.4", "class 2", "write shuffle=True"),
    ),
    "a stream to split": (
        lambda g: g.classifier(validation_split=0.2).fit(g.stream(g.x, g.y)),
        ValueError,
        ("validation_split=0.2", "stream", "pass validation_data"),
    ),
}


@pytest.mark.parametrize(("call", "error", "words"), VALIDATION.values(), ids=VALIDATION.keys())
def test_fit_refuses_validation_with(refuses: Any, call: Any, error: Any, words: Any) -> None:
    refuses(call, error, words)
