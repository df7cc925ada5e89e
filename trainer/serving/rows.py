"""Rows in JSON: checked against the training data, converted to x, and described by a schema.

Responsible for what a client may send, for errors that name the row and the column, and for writing
predictions as JSON. Not for HTTP (`server`).
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from trainer.data import arrays, records
from trainer.data.arrays import Tree
from trainer.data.columns import MISSING
from trainer.data.inputs import Inputs
from trainer.data.records import Records, WrongRow
from trainer.data.tables import LEFT_OUT

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_LARGEST = 1e18  # of a number in an array: the limit that predict has


class Rows(Protocol):
    """How rows of one kind are read."""

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of one row."""

    def read(self, rows: list[Any]) -> Any:
        """Return rows as predict takes them.

        Raises:
            WrongRow: A row does not fit the training data.
        """

    def joined(self, parts: Sequence[Any]) -> Any:
        """Return the rows of several requests, each as `read` returned it, as one x."""

    def together(self, x: Any) -> Any:
        """Return a key: only rows with the same one can be joined."""


def of(inputs: Inputs) -> Rows:
    """Return how rows for these inputs are read."""
    if inputs.table is not None:
        return _TableRows(inputs)
    given = getattr(inputs.encoding, "given", None)  # what x was before an encoding
    return _ArrayRows(inputs if given is None else given)


class _TableRows:
    """A row is an object with a value for each column."""

    def __init__(self, inputs: Inputs) -> None:
        assert inputs.table is not None
        self._table = inputs.table
        self._reads_text = inputs.reads_text
        self._columns = {str(c["name"]): c for c in self._table.columns}

    def schema(self) -> dict[str, Any]:
        left = LEFT_OUT if not self._reads_text else ("identifier",)
        return {
            "$schema": _DIALECT,
            "type": "object",
            "properties": {name: _column_schema(c) for name, c in self._columns.items()},
            "required": [name for name, c in self._columns.items() if c["kind"] not in left],
            "additionalProperties": False,
        }

    def read(self, rows: list[Any]) -> list[Mapping[Any, Any]]:
        found: list[Mapping[Any, Any]] = []
        for i, row in enumerate(rows):
            if not isinstance(row, dict):
                raise _wrong(f"rows[{i}]", row, "an object with a value for each column", i, None)
            made = {}
            for key, value in row.items():
                column = self._columns.get(key)
                label = f"rows[{i}][{key!r}]"
                if column is None:
                    made[key] = value  # an error below
                else:
                    made[column["name"]] = _from_json(value, column, label, i, key)
            found.append(made)
        # of each request by itself, so that a wrong row is an error of its own request only
        texts = self._reads_text
        records.inputs(self._table, Records(found), "rows", texts=texts)
        return found

    def joined(self, parts: Sequence[Any]) -> list[Mapping[Any, Any]]:
        return [row for part in parts for row in part]

    def together(self, x: Any) -> Any:
        return None


def _column_schema(column: Mapping[str, Any]) -> dict[str, Any]:
    kind, unit = column["kind"], column.get("unit")
    if kind == "number" and unit == "time":
        return {"type": ["string", "null"], "format": "time"}
    if kind == "number" and unit is not None:
        return {"type": ["number", "null"], "description": "a duration in seconds"}
    if kind == "number":
        return {"type": ["number", "boolean", "null"]}
    if kind == "date" and "formats" in column:
        said = "a date, written as in training: " + " or ".join(column["formats"])
        return {"type": ["string", "null"], "description": said}
    if kind == "date":
        offset = "without an offset" if column["zone"] is None else "with an offset"
        said = f"a date and time in ISO 8601, {offset}"
        return {"type": ["string", "null"], "description": said}
    if kind == "text":
        return {"type": ["string", "null"]}
    if kind == "identifier":
        return {"description": "not used"}
    levels = column.get("categories") or column.get("levels") or []
    said = "other values count as unseen"
    known = [level for level in levels if level != MISSING]
    return {
        "type": ["string", "number", "boolean", "null"],
        "description": said,
        "examples": known,
    }


def _from_json(value: Any, column: Mapping[str, Any], label: str, row: int, key: str) -> Any:
    """Return a value as a DataFrame has it: JSON has no dates, times and durations."""
    if isinstance(value, str):
        _check_unicode(value, label, row, key)
    if column["kind"] == "number" and column.get("unit") == "timedelta" and value is not None:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not abs(value) < 1e12:
            raise _wrong(label, value, "a number of seconds", row, key)
        return datetime.timedelta(seconds=value)
    if not isinstance(value, str):
        return value
    try:
        if column["kind"] == "number" and column.get("unit") == "time":
            return datetime.time.fromisoformat(value)
        if column["kind"] == "date" and "formats" not in column:
            return datetime.datetime.fromisoformat(value)
    except ValueError as error:
        what = "a date and time" if column["kind"] == "date" else "a time of the day"
        raise _wrong(label, value, f"{what} in ISO 8601", row, key) from error
    return value


class _ArrayRows:
    """A row is a list of numbers, nested like the training rows; or a text; or several of these."""

    def __init__(self, inputs: Inputs) -> None:
        self._shapes = inputs.shapes
        self._dtypes = inputs.dtypes

    def schema(self) -> dict[str, Any]:
        return {"$schema": _DIALECT, **_tree_schema(self._shapes, self._dtypes)}

    def read(self, rows: list[Any]) -> Tree:
        return _read(rows, self._shapes, self._dtypes, "", None)

    def joined(self, parts: Sequence[Any]) -> Tree:
        return arrays.map_tree(lambda *each: np.concatenate(each), *parts)

    def together(self, x: Any) -> Any:
        return tuple(array.shape[1:] for _, array in arrays.leaves(x))


def _tree_schema(shapes: Any, dtypes: Any) -> dict[str, Any]:
    if isinstance(shapes, dict):
        return {
            "type": "object",
            "properties": {str(k): _tree_schema(shapes[k], dtypes[k]) for k in shapes},
            "required": [str(k) for k in shapes],
            "additionalProperties": False,
        }
    if not arrays.is_shape(shapes):
        parts = [_tree_schema(s, d) for s, d in zip(shapes, dtypes, strict=True)]
        n = len(parts)
        return {"type": "array", "prefixItems": parts, "minItems": n, "maxItems": n}
    if dtypes == "object":
        return {"type": "string"}
    found: dict[str, Any] = {"type": "number"}
    if dtypes == "bool":
        found = {"type": ["boolean", "integer"]}
    elif not _is_float(dtypes):
        limits = np.iinfo(dtypes)
        found = {"type": "integer", "minimum": int(limits.min), "maximum": int(limits.max)}
    for length in reversed(shapes):
        found = {"type": "array", "items": found}
        if length is not None:
            found |= {"minItems": length, "maxItems": length}
    return found


def _is_float(dtype: str) -> bool:
    return "float" in dtype


def _read(values: list[Any], shapes: Any, dtypes: Any, path: str, column: Any) -> Tree:
    """Return an array for each part of the rows.

    Args:
        values: What each row has for this part.
        shapes: The shape of a row of each part.
        dtypes: Their dtypes.
        path: What leads from a row to its part, such as `['wide']`.
        column: The outermost key of the part, for errors.
    """
    if isinstance(shapes, dict):
        by_text = {str(key): key for key in shapes}
        for i, value in enumerate(values):
            label = f"rows[{i}]{path}"
            if not isinstance(value, dict):
                raise _wrong(label, value, f"an object with {list(by_text)}", i, column)
            for key in [*(k for k in by_text if k not in value), *value]:
                if key not in value or key not in by_text:
                    what = "lacks" if key not in value else "has"
                    raise WrongRow(
                        f"{label} {what} {key!r}: must be an object with {list(by_text)}", i, key
                    )
        return {
            key: _read(
                [value[text] for value in values],
                shapes[key],
                dtypes[key],
                f"{path}[{text!r}]",
                text if column is None else column,
            )
            for text, key in by_text.items()
        }
    if not arrays.is_shape(shapes):
        for i, value in enumerate(values):
            if not isinstance(value, list) or len(value) != len(shapes):
                raise _wrong(f"rows[{i}]{path}", value, f"a list of {len(shapes)} parts", i, column)
        return tuple(
            _read(
                [value[k] for value in values],
                shapes[k],
                dtypes[k],
                f"{path}[{k}]",
                k if column is None else column,
            )
            for k in range(len(shapes))
        )
    if dtypes == "object":
        return _texts(values, path, column)
    return _numbers(values, shapes, dtypes, path, column)


def _texts(values: list[Any], path: str, column: Any) -> np.ndarray:
    found = np.empty(len(values), object)
    for i, value in enumerate(values):
        if not isinstance(value, str):
            raise _wrong(f"rows[{i}]{path}", value, "text", i, column)
        _check_unicode(value, f"rows[{i}]{path}", i, column)
        found[i] = value
    return found


def _numbers(
    values: list[Any], shape: tuple[int | None, ...], dtype: str, path: str, column: Any
) -> np.ndarray:
    whole = "numbers" if _is_float(dtype) else "whole numbers"
    expected = f"{'nested lists' if len(shape) > 1 else 'a list'} of {whole}, of shape {shape}"
    if not shape:
        expected = "a number" if _is_float(dtype) else "a whole number"

    def array_of(given: Any, rank: int) -> np.ndarray | None:
        try:
            found = np.array(given)
        except (ValueError, OverflowError):  # lists of different lengths
            return None
        numbers = found.dtype.kind in "biuf" and found.ndim == rank
        return found if numbers else None

    def fits(found: np.ndarray | None, row_shape: Sequence[int]) -> bool:
        return found is not None and all(
            s is None or s == n for s, n in zip(shape, row_shape, strict=True)
        )

    found = array_of(values, len(shape) + 1)
    if found is None or not fits(found, found.shape[1:]):
        for i, value in enumerate(values):
            alone = array_of(value, len(shape))
            if alone is None or not fits(alone, alone.shape):
                raise _wrong(f"rows[{i}]{path}", value, expected, i, column)
        raise WrongRow(
            f"rows{path}: the rows differ in length; send those of one length in a request",
            0,
            column,
        )
    return _of_dtype(found, dtype, path, column)


def _of_dtype(found: np.ndarray, dtype: str, path: str, column: Any) -> np.ndarray:
    if _is_float(dtype):
        with np.errstate(invalid="ignore"):
            wrong = ~(np.abs(found.astype(np.float64)) <= _LARGEST)
        limits = f"numbers up to {_LARGEST:g}"
    else:
        low, high = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        wrong = (found < low) | (found > high)
        limits = f"whole numbers from {low} to {high}"
        if found.dtype.kind == "f":
            wrong |= found != np.floor(found)
    if wrong.any():
        at = tuple(int(k) for k in np.argwhere(wrong)[0])
        place = "".join(f"[{k}]" for k in at[1:])
        label = f"rows[{at[0]}]{path}{place}"
        which = column if column is not None or len(at) == 1 else at[1]
        raise _wrong(label, found[at].item(), limits, at[0], which)
    return found.astype(np.float64) if _is_float(dtype) else found.astype(dtype)


def _check_unicode(value: str, label: str, row: int, column: Any) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise WrongRow(
            f"{label} has half a surrogate pair at character {error.start}, which is not text",
            row,
            column,
        ) from error


def _wrong(label: str, value: Any, expected: str, row: int, column: Any) -> WrongRow:
    return WrongRow(f"{label} is {value!r:.80}: must be {expected}", row, column)


def as_json(tree: Tree) -> Any:
    """Return predictions as JSON has them: NaN and infinity, which JSON has not, as null."""
    if isinstance(tree, Mapping):
        return {str(key): as_json(value) for key, value in tree.items()}
    if isinstance(tree, (tuple, list)):
        return [as_json(value) for value in tree]
    array = np.asarray(tree)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return _with_nulls(array.tolist())
    return array.tolist()


def _with_nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_nulls(each) for each in value]
    return value if math.isfinite(value) else None
