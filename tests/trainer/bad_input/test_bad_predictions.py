"""What a fitted Trainer refuses to predict or evaluate, and what one does that is not fitted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from trainer import Classifier, Regressor

Row = tuple[Callable[[Any], Any], type[Exception], tuple[str, ...]]


def with_value(array: np.ndarray, place: Any, value: Any) -> np.ndarray:
    changed = array.copy()
    changed[place] = value
    return changed


# what is called, the error, and what its message holds: argument, value, remedy
PREDICTIONS: dict[str, Row] = {
    "fewer columns": (
        lambda g: g.on_array.predict(g.x[:, :3]),
        ValueError,
        ("x", "3 features", "expecting 4", "(n, 4)"),
    ),
    "fewer columns in a stream": (
        lambda g: g.on_array.predict(g.stream(g.x[:, :3], g.y)),
        ValueError,
        ("x", "3 features", "expecting 4", "(n, 4)"),
    ),
    "more columns": (
        lambda g: g.on_array.predict_proba(np.hstack([g.x, g.x])),
        ValueError,
        ("x", "8 features", "expecting 4"),
    ),
    "one row without its dimension": (
        lambda g: g.on_array.predict(g.x[0]),
        ValueError,
        ("x has shape (4,)", "(n, 4)", "x[None]"),
    ),
    "a dimension too many": (
        lambda g: g.on_array.predict(g.x[None]),
        ValueError,
        ("x has rows of shape (30, 4)", "rows of shape (4,)", "reshape x to (n, 4)"),
    ),
    "no rows": (lambda g: g.on_array.predict(g.x[:0]), ValueError, ("x is empty", "(0, 4)")),
    "NaN": (
        lambda g: g.on_array.predict(with_value(g.x, (2, 1), np.nan)),
        ValueError,
        ("x contains NaN", "x[2, 1]", "SimpleImputer"),
    ),
    "another structure": (
        lambda g: g.on_array.predict({"wide": g.x, "deep": g.x}),
        ValueError,
        ("x['wide']", "trained on ['x']"),
    ),
    "a frame with text, trained on an array": (
        lambda g: g.on_array.predict(g.frame),
        ValueError,
        ("x contains text such as 'a'", "pass a pandas DataFrame to fit"),
    ),
    "a column under another name": (
        lambda g: g.on_frame.predict(g.frame.rename(columns={"size": "sise"})),
        ValueError,
        ("x lacks the column 'size'", "did you mean 'sise'?"),
    ),
    "a missing column": (
        lambda g: g.on_frame.predict(g.frame.drop(columns="size")),
        ValueError,
        ("x lacks the column 'size'", "add it"),
    ),
    "two missing columns": (
        lambda g: g.on_frame.predict(g.frame[["town"]]),
        ValueError,
        ("x lacks the column 'age' and 1 more", "add it"),
    ),
    "a column too many": (
        lambda g: g.on_frame.predict(g.frame.assign(more=1)),
        ValueError,
        ("x has the column 'more'", "write x.drop(columns=['more'])"),
    ),
    "text in a numeric column": (
        lambda g: g.on_frame.predict(g.frame.assign(age=["1", "2", "old"] * 10)),
        ValueError,
        ("x['age']", "the text 'old' at row 2", "pd.to_numeric(x['age'], errors='coerce')"),
    ),
    "an array, trained on a frame": (
        lambda g: g.on_frame.predict(g.x),
        TypeError,
        ("x is a ndarray", "trained on a DataFrame", "['age', 'size', 'town']"),
    ),
    "a stream, trained on a frame": (
        lambda g: g.on_frame.predict(g.stream(g.x, g.y)),
        TypeError,
        ("x is a stream", "trained on a DataFrame", "['age', 'size', 'town']"),
    ),
    "evaluation of x and y of different length": (
        lambda g: g.on_array.evaluate(g.x, g.y[:3]),
        ValueError,
        ("x has 30 rows", "y has 3 rows"),
    ),
    "evaluation of labels that training lacks": (
        lambda g: g.on_array.evaluate(g.x, g.y + 1),
        ValueError,
        ("y contains 3", "training did not have", "0, 1, 2"),
    ),
    "evaluation of a stream with labels that training lacks": (
        lambda g: g.on_array.evaluate(g.stream(g.x, g.y + 1)),
        ValueError,
        ("y has a label that was not in training", "after 0 batches", "drop such rows"),
    ),
}

UNFITTED: dict[str, Callable[[Any], Any]] = {
    "predict": lambda g: Classifier().predict(g.x),
    "predict_proba": lambda g: Classifier().predict_proba(g.x),
    "evaluate": lambda g: Classifier().evaluate(g.x, g.y),
    "score": lambda g: Regressor().score(g.x, g.r),
    "summary": lambda g: Regressor().summary(),
    "save": lambda g: Classifier().save(g.folder / "never.keras"),
}


@pytest.mark.parametrize(("call", "error", "words"), PREDICTIONS.values(), ids=PREDICTIONS.keys())
def test_a_fitted_trainer_refuses(refuses: Any, call: Any, error: Any, words: Any) -> None:
    refuses(call, error, words)


@pytest.mark.parametrize("call", UNFITTED.values(), ids=UNFITTED.keys())
def test_before_fit_there_is_no(refuses: Any, call: Any) -> None:
    refuses(call, NotFittedError, ("not fitted yet", "Call 'fit'"))
