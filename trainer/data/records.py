"""Rows of a table given as dicts, such as {"age": 31, "city": "Rome"}.

Responsible for recognising them, for checking every value against what was learnt of its column,
with an error that names the row and the column, and for converting them to the inputs of a table's
encoder. Not for DataFrames (`tables`).
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Collection, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.data import columns as kinds
from trainer.data import text
from trainer.data.tables import LEFT_OUT, Table, converted
from trainer.utils.checks import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

_MOST_NAMES = 10  # to list in an error

_NUMBER = (bool, int, float, np.number, np.bool_, decimal.Decimal)
_DATE = (str, datetime.date, np.datetime64)
_DURATION = (datetime.timedelta, np.timedelta64)


class WrongRow(ValueError):
    """A row does not fit the columns of the training table.

    Attributes:
        row: Its place among the rows.
        column: The column whose value is wrong or missing, or that training did not have; None if
            there is no single one.
    """

    def __init__(self, message: str, row: int, column: Any) -> None:
        super().__init__(message)
        self.row = row
        self.column = column


@dataclass(frozen=True)
class Records:
    """Rows given as dicts.

    Attributes:
        rows: A dict of the row's values for each row.
        alone: Whether a single dict was given, not a list.
    """

    rows: list[Mapping[Any, Any]]
    alone: bool = False

    def label(self, name: str, row: int) -> str:
        """Return an expression for a row, for errors."""
        return name if self.alone else f"{name}[{row}]"


def of(x: Any, name: str = "x") -> Records | None:
    """Return rows given as a dict of single values or a list of dicts; None for anything else.

    Args:
        x: The data.
        name: The name of the argument, for errors.

    Raises:
        ValueError: It is an empty list.
        WrongRow: It is a list of which only a part are dicts.
    """
    if isinstance(x, Mapping) and not hasattr(x, "nnz"):  # SciPy's dok_matrix is a dict
        is_row = not x or any(_is_single(value) for value in x.values())
        return Records([x], alone=True) if is_row else None
    if not isinstance(x, list):
        return None
    if not x:
        raise ValueError(
            f"{name} is empty: found 0 sample(s) (shape=(0,)) while a minimum of 1 is required"
        )
    wrong = [i for i, row in enumerate(x) if not isinstance(row, Mapping)]
    if len(wrong) == len(x):
        return None
    if wrong:
        raise WrongRow(
            f"{name}[{wrong[0]}] is {_shown(x[wrong[0]])}: must be a dict of the row's columns, as "
            "the other rows are",
            wrong[0],
            None,
        )
    return Records(x)


def is_row(value: Any) -> bool:
    """Return whether a value is a dict that holds nothing but single values."""
    # some of SciPy's sparse matrices are dicts
    plain = isinstance(value, Mapping) and not hasattr(value, "shape")
    return plain and bool(value) and all(map(_is_single, value.values()))


def _is_single(value: Any) -> bool:
    if isinstance(value, (str, bytes)):
        return True
    shape = getattr(value, "shape", None)
    return not isinstance(value, Sized) if shape is None else len(shape) == 0


def inputs(
    table: Table,
    records: Records,
    name: str = "x",
    *,
    ignore_extra: bool = False,
    texts: bool = False,
) -> dict[str, np.ndarray]:
    """Convert rows to the inputs of the encoder, equal to those of a DataFrame of the same rows.

    Args:
        table: The learned columns.
        records: The rows.
        name: The name of the argument, for errors.
        ignore_extra: Whether to ignore columns that training did not have.
        texts: Whether to return the columns of text too, as `Table.texts` does.

    Returns:
        As `Table.inputs`: one array [n, 1] per column.

    Raises:
        WrongRow: A row lacks a column, has one that training did not have, or has a value of
            another type.
    """
    needed = [c for c in table.columns if c["kind"] not in LEFT_OUT]
    read = [c for c in table.columns if texts and c["kind"] == "text"]
    _check_names(records, [c["name"] for c in needed + read], table.names, name, ignore_extra)
    values = [_column(records, column) for column in needed]
    found = {}
    for column, given, early in zip(needed, values, kinds.few(needed, values), strict=True):
        array = early
        if array is None:
            array = _converted(records, given, column, name).reshape(-1, 1)
        found[column["input"]] = array
    found = dict(sorted(found.items()))
    for column in read:
        given = _column(records, column)
        for i, value in enumerate(given):
            if not (isinstance(value, str) or kinds.is_missing(value)):
                raise _wrong(records, i, column, value, name, "text", "write it as text")
        label = f"{name}[{column['name']!r}]"
        found[column["input"]] = text.texts(given, label, quiet=True).reshape(-1, 1)
    return found


def frame(table: Table, records: Records, name: str = "x", *, texts: bool = False) -> pd.DataFrame:
    """Return rows as a DataFrame of the training table's columns.

    Args:
        table: The learned columns.
        records: The rows.
        name: The name of the argument, for errors.
        texts: Whether the architecture reads columns of text.

    Raises:
        WrongRow: As `inputs`.
    """
    import pandas as pd

    inputs(table, records, name, texts=texts)
    found = {}
    for column in table.columns:
        if all(column["name"] in row for row in records.rows):
            found[column["name"]] = pd.Series(_column(records, column), dtype=object)
    return pd.DataFrame(found)


def _column(records: Records, column: Mapping[str, Any]) -> list[Any]:
    return [
        value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
        for value in (row[column["name"]] for row in records.rows)
    ]


def _check_names(
    records: Records,
    needed: Collection[Any],
    known: Sequence[Any],
    name: str,
    ignore_extra: bool,
) -> None:
    of_training = set(known)
    for i, row in enumerate(records.rows):
        extra = [] if ignore_extra else [key for key in row if key not in of_training]
        missing = [key for key in needed if key not in row]
        if missing:
            near = did_you_mean(missing[0], map(str, extra)) if extra else ""
            raise WrongRow(
                f"{records.label(name, i)} lacks {_listed(missing)}, which training had; "
                f"{near or 'add it, as None if the value is missing'}",
                i,
                missing[0],
            )
        if extra:
            raise WrongRow(
                f"{records.label(name, i)} has {_listed(extra)}, which training did not have; "
                "leave it out, or write extra_columns='ignore' in predict",
                i,
                extra[0],
            )


def _listed(names: Sequence[Any]) -> str:
    shown = ", ".join(map(repr, names[:_MOST_NAMES]))
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"the column{'s' if len(names) > 1 else ''} {shown}{more}"


def _converted(
    records: Records, values: list[Any], column: dict[str, Any], name: str
) -> np.ndarray:
    """Return what the encoder takes of values that are not of the usual forms, [n]."""
    import pandas as pd

    for i, value in enumerate(values):
        problem = None if kinds.is_missing(value) else _problem(value, column)
        if problem is not None:
            raise _wrong(records, i, column, value, name, *problem)
    label = f"{name}[{column['name']!r}]"
    try:
        found = converted(pd.Series(values, dtype=object), column, label, True)
    # pandas has its own errors for dates near the year 10000
    except (TypeError, ValueError, OverflowError, NotImplementedError) as error:
        if len(values) == 1:
            raise WrongRow(str(error), 0, column["name"]) from error
        for i in range(len(values)):
            alone = Records([records.rows[i]], alone=True)
            try:
                _converted(alone, values[i : i + 1], column, records.label(name, i))
            except WrongRow as wrong:
                raise WrongRow(str(wrong), i, column["name"]) from error
        raise
    if column["kind"] == "date":
        for i in np.flatnonzero(np.isnan(found)).tolist():
            if not kinds.is_missing(values[i]):
                raise _wrong(
                    records, i, column, values[i], name, "dates", "write it as in training"
                )
    return found


def _problem(value: Any, column: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return what training had instead of such a value, and what to write; None if it fits."""
    kind, unit = column["kind"], column.get("unit")
    if kind == "number" and unit is not None:
        expected = _DURATION if unit == "timedelta" else (datetime.time,)
        if isinstance(value, expected):
            return None
        what = "durations" if unit == "timedelta" else "times of the day"
        return what, f"write a datetime.{unit}"
    if kind == "number":
        return _problem_of_number(value)
    if kind == "date":
        return _problem_of_date(value, column)
    if isinstance(value, bytes) or not _is_single(value):
        return "categories", "write text, a number or a boolean"
    return None


def _problem_of_number(value: Any) -> tuple[str, str] | None:
    if not isinstance(value, _NUMBER) or isinstance(value, (complex, np.complexfloating)):
        return "numbers", "write a number, or None if it is missing"
    if isinstance(value, np.timedelta64):
        return "numbers", "write a number"
    try:
        size = abs(float(value))
    except OverflowError:
        size = float("inf")
    if size > kinds.LARGEST:
        return f"numbers up to {kinds.LARGEST:g}", "write None if it is missing"
    return None


def _problem_of_date(value: Any, column: Mapping[str, Any]) -> tuple[str, str] | None:
    if not isinstance(value, _DATE):
        return "dates", "write a datetime, or text as in training"
    zone = column.get("zone")
    aware = getattr(value, "tzinfo", None) is not None
    if "formats" in column:
        return None
    if zone is None and aware:
        return "dates without a time zone", "write value.replace(tzinfo=None)"
    if zone is not None and not aware:
        return f"datetimes of the time zone {zone}", "write a datetime with a tzinfo"
    return None


def _wrong(
    records: Records,
    row: int,
    column: Mapping[str, Any],
    value: Any,
    name: str,
    expected: str,
    instead: str,
) -> WrongRow:
    return WrongRow(
        f"{records.label(name, row)}[{column['name']!r}] is {_shown(value)}: training had "
        f"{expected}; {instead}",
        row,
        column["name"],
    )


def _shown(value: Any) -> str:
    return f"{value!r:.60} ({type(value).__name__})"
