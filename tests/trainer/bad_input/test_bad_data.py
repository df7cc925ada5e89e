"""Data that fit refuses: one clear error, before any training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

Row = tuple[Callable[[Any], Any], type[Exception], tuple[str, ...]]


def with_value(array: np.ndarray, place: Any, value: Any) -> np.ndarray:
    changed = array.copy()
    changed[place] = value
    return changed


# what is called, the error, and what its message holds: argument, value, remedy
WORDS = [f"text number {i}" for i in range(30)]

DATA: dict[str, Row] = {
    "text and numbers mixed": (
        lambda g: g.classifier().fit([*WORDS[:-1], 3], g.y),
        ValueError,
        ("x contains both text and int (3 in row 29)", "[str(v) for v in x]"),
    ),
    "text and numbers mixed in a column": (
        lambda g: g.classifier().fit(pd.Series([2.5, *WORDS[1:]]), g.y),
        ValueError,
        ("x contains both text and float (2.5 in row 0)",),
    ),
    "text and numbers mixed in one of several inputs": (
        lambda g: g.classifier().fit({"a": g.x, "t": [*WORDS[:-1], 3]}, g.y),
        ValueError,
        ("x['t'] contains both text and int", "for v in x['t']"),
    ),
    "bytes": (
        lambda g: g.classifier().fit([t.encode() for t in WORDS], g.y),
        TypeError,
        ("x has bytes, b'text number 0' in row 0", "decode('utf-8')"),
    ),
    "empty texts": (
        lambda g: g.classifier().fit([""] * 30, g.y),
        ValueError,
        ("x has no words", "is it the right column?"),
    ),
    "an empty vocabulary": (
        lambda g: g.classifier().fit(["...!"] * 30, g.y),
        ValueError,
        ("x has no words", "spaces and punctuation"),
    ),
    "text in two columns of an array": (
        lambda g: g.classifier().fit(np.array([WORDS, WORDS]).T, g.y),
        ValueError,
        ("x contains text such as 'text number 0'", "one array of text [n]"),
    ),
    "one text instead of a list": (
        lambda g: g.classifier().fit("a text", g.y),
        TypeError,
        ("x='a text'", "write [x] if it is a single text"),
    ),
    "half a character": (
        lambda g: g.classifier().fit(["\ud83d", *WORDS[1:]], g.y),
        ValueError,
        ("x: the text in row 0 has half a character", "encode('utf-8', 'replace')"),
    ),
    "text for an architecture that does not read it": (
        lambda g: g.classifier(model="mlp").fit(WORDS, g.y),
        ValueError,
        ("model='mlp' does not read text, and x is text", "model='text'"),
    ),
    "numbers for an architecture that reads text": (
        lambda g: g.classifier(model="transformer").fit(g.x, g.y),
        ValueError,
        ("model='transformer': x has no text", "leave model out"),
    ),
    "an option of text out of range": (
        lambda g: g.classifier(model={"name": "text", "length": 0}).fit(WORDS, g.y),
        ValueError,
        ("length=0: must be 1 or more",),
    ),
    "x and y of different length": (
        lambda g: g.classifier().fit(g.x, g.y[:-1]),
        ValueError,
        ("x has 30 rows", "y has 29 rows", "pass one target for each row"),
    ),
    "inputs of different length": (
        lambda g: g.classifier().fit((g.x, g.x[:-1]), g.y),
        ValueError,
        ("x[0] has 30", "x[1] has 29"),
    ),
    "outputs of different length": (
        lambda g: g.classifier().fit(g.x, {"a": g.y, "b": g.y[:3]}),
        ValueError,
        ("x has 30 rows", "y['b'] has 3 rows"),
    ),
    "no rows": (
        lambda g: g.classifier().fit(g.x[:0], g.y[:0]),
        ValueError,
        ("x is empty", "(0, 4)"),
    ),
    "no columns": (
        lambda g: g.classifier().fit(g.x[:, :0], g.y),
        ValueError,
        ("x is empty", "(30, 0)"),
    ),
    "no rows in a frame": (
        lambda g: g.classifier().fit(g.frame[:0], g.y[:0]),
        ValueError,
        ("x is empty", "(0, 3)"),
    ),
    "no rows in a stream": (
        lambda g: g.classifier().fit(g.stream(g.x[:0], g.y[:0])),
        ValueError,
        ("x is empty",),
    ),
    "x None": (lambda g: g.classifier().fit(None, g.y), ValueError, ("x=None", "pass an array")),
    "x a file's name": (
        lambda g: g.classifier().fit("data.csv", g.y),
        TypeError,
        ("x='data.csv'", "trainer.datasets.load"),
    ),
    "NaN in x": (
        lambda g: g.classifier().fit(with_value(g.x, (2, 1), np.nan), g.y),
        ValueError,
        ("x contains NaN", "x[2, 1]", "SimpleImputer", "DataFrame"),
    ),
    "infinity in x": (
        lambda g: g.classifier().fit(with_value(g.x, (2, 1), np.inf), g.y),
        ValueError,
        ("x contains infinity", "x[2, 1]", "drop such rows"),
    ),
    "infinity in a frame": (
        lambda g: g.classifier().fit(g.frame.assign(age=with_value(g.x[:, 0], 3, np.inf)), g.y),
        ValueError,
        ("x['age'] contains infinity", "row 3", "set it to NaN"),
    ),
    "NaN in numeric y": (
        lambda g: g.regressor(missing_target="raise").fit(g.x, with_value(g.r, 3, np.nan)),
        ValueError,
        ("y: 1 of 30 rows have no target", "row 3", "drop such rows", "missing_target='drop'"),
    ),
    "NaN among labels": (
        lambda g: g.classifier(missing_target="raise").fit(
            g.x, with_value(g.y.astype(float), 3, np.nan)
        ),
        ValueError,
        ("y: 1 of 30 rows have no target", "row 3", "drop such rows"),
    ),
    "None among labels": (
        lambda g: g.classifier(missing_target="raise").fit(
            g.x, with_value(g.y.astype(object), 3, None)
        ),
        ValueError,
        ("y: 1 of 30 rows have no target", "row 3", "drop such rows"),
    ),
    "one class": (
        lambda g: g.classifier().fit(g.x, g.y * 0),
        ValueError,
        ("y has only one class (0)", "at least two classes"),
    ),
    "numbers for a classifier": (
        lambda g: g.classifier().fit(g.x, g.r),
        ValueError,
        ("y contains continuous numbers", "use a Regressor"),
    ),
    "labels for a regressor": (
        lambda g: g.regressor().fit(g.x, np.array(["a", "b", "c"])[g.y]),
        ValueError,
        ("y contains text such as 'a'", "use a Classifier"),
    ),
    "text among numeric labels": (
        lambda g: g.classifier().fit(g.x, np.array(["a", 1, 2] * 10, dtype=object)),
        ValueError,
        ("y mixes text and numbers", "y.astype(str)"),
    ),
    "no y": (lambda g: g.classifier().fit(g.x), ValueError, ("requires y", "None", "pass the y")),
    "y beside a stream": (
        lambda g: g.classifier().fit(g.stream(g.x, g.y), g.y),
        ValueError,
        ("y: x is of type", "leave y out"),
    ),
    "text in a numeric column": (
        lambda g: g.classifier().fit(g.frame.assign(age=[1.0, 2.0, "old"] * 10), g.y),
        ValueError,
        ("x['age']", "'old' at row 2", "x['age'].astype(str)"),
    ),
    "text in an array": (
        lambda g: g.classifier().fit(np.array([["a", "b"]] * 30), g.y),
        ValueError,
        ("x contains text such as 'a'", "DataFrame"),
    ),
    "a column twice": (
        lambda g: g.classifier().fit(pd.concat([g.frame, g.frame], axis=1), g.y),
        ValueError,
        ("column 'age' occurs twice", "rename"),
    ),
    "dates where training had numbers": (
        lambda g: g.on_frame.predict(g.frame.assign(age=pd.Timestamp("2020-01-01"))),
        TypeError,
        ("x['age'] is a column of numbers", "datetime64"),
    ),
    "sparse x of complex numbers": (
        lambda g: g.classifier().fit(scipy.sparse.csr_matrix(g.x * 1j), g.y),
        ValueError,
        ("Complex data not supported: x", "abs(x)"),
    ),
    "sparse y": (
        lambda g: g.classifier().fit(g.x, scipy.sparse.csr_matrix(g.x > 0)),
        TypeError,
        ("y is a sparse matrix", "y.toarray()"),
    ),
    "1-D x": (
        lambda g: g.classifier().fit(g.x[:, 0], g.y),
        ValueError,
        ("x has shape (30,)", "x[:, None]"),
    ),
    "a Series as x": (
        lambda g: g.classifier().fit(g.frame["age"], g.y),
        ValueError,
        ("x is a Series", "x.to_frame()"),
    ),
    "objects as x": (
        lambda g: g.classifier().fit(np.array([[object()]] * 30), g.y),
        TypeError,
        ("x contains objects that are not numbers", "convert"),
    ),
    "complex x": (
        lambda g: g.classifier().fit(g.x + 1j, g.y),
        ValueError,
        ("x has dtype complex128",),
    ),
    "rows of different length": (
        lambda g: g.classifier().fit([[1, 2], [3]] * 15, g.y),
        ValueError,
        ("x: its rows differ in length", "pad_sequences"),
    ),
    "a generator beside y": (
        lambda g: g.classifier().fit((row for row in g.x), g.y),
        ValueError,
        ("y: x is of type generator", "leave y out, and make them (x, y)"),
    ),
    "a generator of labels": (
        lambda g: g.classifier(epochs=1).fit(batch for batch in [(g.x, g.y)]),
        TypeError,
        ("x is a Python iterator", "only once", "tf.data.Dataset.from_generator(function"),
    ),
    "an endless stream": (
        lambda g: g.classifier().fit(g.stream(g.x, g.y).repeat()),
        ValueError,
        ("x is an infinite tf.data.Dataset", "x.take(steps)"),
    ),
}


@pytest.mark.parametrize(("call", "error", "words"), DATA.values(), ids=DATA.keys())
def test_fit_refuses_data_with(refuses: Any, call: Any, error: Any, words: Any) -> None:
    refuses(call, error, words)
