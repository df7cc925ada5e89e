"""Tables that fit, predict or a search refuse: one clear error, before any training.

And what is not refused, but told: one warning that names the columns and counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

Row = tuple[Callable[[Any], Any], type[Exception], tuple[str, ...]]
N = 30
DAYS = pd.Series(pd.date_range("2020-01-01", periods=N))


def fit(**columns: Any) -> Callable[[Any], Any]:
    """A fit on the good frame with these columns added."""
    return lambda g: g.classifier().fit(g.frame.assign(**columns), g.y)


def predict(change: Callable[[pd.DataFrame], Any]) -> Callable[[Any], Any]:
    """A prediction of the changed frame by an estimator that was fitted on the good one."""
    return lambda g: g.on_frame.predict(change(g.frame))


TABLES: dict[str, Row] = {
    "text and numbers in a column": (
        fit(c=pd.Series([1.5, "old", 2.0] * 10, dtype=object)),
        ValueError,
        ("x['c']", "'old' at row 1", "x['c'].astype(str)"),
    ),
    "flags and text in a column": (
        fit(c=pd.Series([True, "yes"] * 15, dtype=object)),
        ValueError,
        ("x['c']", "'yes' at row 1", "x['c'].astype(str)"),
    ),
    "dates of which some do not parse": (
        fit(c=[*DAYS.dt.strftime("%Y-%m-%d")[:27], "soon", "later", "never"]),
        ValueError,
        ("x['c']", "90% of the values are dates", "at row 27", "errors='coerce'"),
    ),
    "dates and text": (
        fit(c=pd.Series([*DAYS[:29], "2020"], dtype=object)),
        ValueError,
        ("x['c']", "Timestamp objects and text ('2020' at row 29)"),
    ),
    "numbers written as text": (
        fit(c=[f"{i},5".replace(",", ".") for i in range(N)]),
        ValueError,
        ("x['c'] contains numbers as text", "pd.to_numeric(x['c'], errors='coerce')"),
    ),
    "numbers written as text, and a word": (
        fit(c=[*(str(i / 8) for i in range(N - 1)), "unknown"]),
        ValueError,
        ("x['c'] contains numbers as text and other text ('unknown' at row 29)",),
    ),
    "numbers with a unit": (
        fit(c=[f"{i / 8} kg" for i in range(N)]),
        ValueError,
        ("x['c'] contains numbers as text, such as '", "x['c'].str.replace('kg', '')"),
    ),
    "a column twice": (
        lambda g: g.classifier().fit(pd.concat([g.frame, g.frame], axis=1), g.y),
        ValueError,
        ("column 'age' occurs twice", "rename"),
    ),
    "a column of lists": (
        fit(c=[[1, 2]] * N),
        TypeError,
        ("x['c'] contains list objects", "columns of their own"),
    ),
    "a column of bytes": (
        fit(c=[b"a", b"b"] * 15),
        TypeError,
        ("x['c'] contains bytes objects", "x['c'].str.decode('utf-8')"),
    ),
    "intervals": (fit(c=pd.interval_range(0, N)), TypeError, ("x['c'] contains intervals", ".mid")),
    "complex numbers": (
        fit(c=np.ones(N) * 1j),
        ValueError,
        ("Complex data not supported: x['c']", "two columns"),
    ),
    "infinity": (
        fit(c=np.where(np.arange(N) == 4, np.inf, 1.0)),
        ValueError,
        ("x['c'] contains infinity", "row 4", "set it to NaN"),
    ),
    "a number whose square is no number": (
        fit(c=np.where(np.arange(N) == 4, 1.7e308, 1.0)),
        ValueError,
        ("x['c'] contains 1.7e+308 at row 4", "the limit is 1e+150", "set it to NaN"),
    ),
    "a number too large for float32 in an array": (
        lambda g: g.classifier().fit(np.where(np.arange(N)[:, None] == 4, 9.97e36, g.x), g.y),
        ValueError,
        ("x contains 9.97e+36, first at x[4, 0]", "the limit is 1e+18", "larger unit"),
    ),
    "identifiers alone": (
        lambda g: g.classifier().fit(pd.DataFrame({"id": np.arange(N)}), g.y),
        ValueError,
        ("every column is left out", "'id'", "astype('category')"),
    ),
    "a name that is a tuple": (
        lambda g: g.classifier().fit(g.frame.set_axis([("a", 1), "b", "c"], axis=1), g.y),
        TypeError,
        ("('a', 1) is a tuple", "'_'.join"),
    ),
    "no target at all": (
        lambda g: g.classifier().fit(g.frame, [None] * N),
        ValueError,
        ("y: 30 of 30 rows have no target", "none remains"),
    ),
    "a missing target where that is refused": (
        lambda g: g.classifier(missing_target="raise").fit(g.frame, [None, *g.y[1:].tolist()]),
        ValueError,
        ("y: 1 of 30 rows have no target", "row 0", "missing_target='drop'"),
    ),
    "another way for missing targets": (
        lambda g: g.classifier(missing_target="ignore").fit(g.frame, g.y),
        ValueError,
        ("missing_target='ignore'", "'drop', 'raise'"),
    ),
    "sparse rows with NaN": (
        lambda g: g.classifier().fit(
            scipy.sparse.csr_matrix(np.where(g.x == g.x[2, 1], np.nan, g.x)), g.y
        ),
        ValueError,
        ("x contains NaN", "x[2, 1]", "replace these values"),
    ),
    "at predict, a column is missing": (
        predict(lambda f: f.drop(columns="town")),
        ValueError,
        ("x lacks the column 'town'",),
    ),
    "at predict, a column is new": (
        predict(lambda f: f.assign(more=1)),
        ValueError,
        ("x has the column 'more'", "x.drop(columns=['more'])"),
    ),
    "at predict, dates in a column of numbers": (
        predict(lambda f: f.assign(age=DAYS)),
        TypeError,
        ("x['age'] is a column of numbers", "datetime64"),
    ),
    "at predict, sparse rows": (
        lambda g: g.on_frame.predict(scipy.sparse.csr_matrix(g.x)),
        TypeError,
        ("trained on a DataFrame", "['age', 'size', 'town']"),
    ),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_bad_table_is_one_error_before_training(case: str, refuses: Callable[..., None]) -> None:
    refuses(*TABLES[case])


TOLD: dict[str, tuple[dict[str, Any], str]] = {
    "an identifier": (
        {"id": np.arange(N) + 1000, "code": [f"K{i}" for i in range(N)]},
        r"x: left out \['id', 'code'\] as identifiers.*astype\('category'\)",
    ),
    "a date that does not parse": (
        {"day": ["no day", *DAYS.dt.strftime("%Y-%m-%d")[1:]]},
        r"x\['day'\]: 1 of 30 values are not dates and count as missing.*'no day' at row 0",
    ),
    "days or months first": (
        {"day": ["01/02/2020", "03/04/2021"] * 15},
        r"x\['day'\]: dates such as '01/02/2020' are read with the month first",
    ),
}


@pytest.mark.parametrize("case", TOLD)
def test_what_is_left_out_is_told_once(case: str, given: Any) -> None:
    columns, message = TOLD[case]
    with pytest.warns(UserWarning, match=message) as told:
        given.classifier().fit(given.frame.assign(**columns), given.y)
    ours = [w for w in told if str(w.message).startswith("x")]
    assert len(ours) == 1 and ours[0].filename == __file__
