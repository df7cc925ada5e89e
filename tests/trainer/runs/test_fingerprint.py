"""Fingerprints: equal for equal data, and different for any change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainer.data.preparation import collect
from trainer.data.streams import Stream
from trainer.runs import fingerprint

X = np.arange(12, dtype="float32").reshape(6, 2)
Y = np.arange(6)


def _of(x: Any = X, y: Any = Y, weight: Any = None) -> Any:
    return fingerprint.of(collect(x, y, weight, batch_size=2, needs_y=None))


def _frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "name": ["a", "b", None, "d", "e", "f"],
            "n": [1.5, 2, 3, np.nan, 5, 6],
            "kind": pd.Categorical(["u", "v", "u", "v", "u", "v"]),
            "day": pd.date_range("2020-01-01", periods=6),
        }
    )


def test_equal_data_have_equal_fingerprints() -> None:
    assert _of() == _of(X.copy(), Y.copy())
    assert _of(_frame(), pd.Series(Y)) == _of(_frame(), pd.Series(Y))
    assert _of({"a": X, "b": X}, Y) == _of({"a": X.copy(), "b": X.copy()}, Y)
    assert set(_of(X, Y, np.ones(6))) == {"x", "y", "sample_weight"}


def test_no_data_have_none() -> None:
    assert fingerprint.of(None) is None


@pytest.mark.parametrize("place", [(0, 0), (3, 1), (5, 1)])
def test_one_changed_number_changes_it(place: tuple[int, int]) -> None:
    changed = X.copy()
    changed[place] = np.nextafter(changed[place], np.float32(100))
    assert _of(changed)["x"] != _of()["x"]
    assert _of(changed)["y"] == _of()["y"]


def test_order_type_and_shape_change_it() -> None:
    found = [_of(x)["x"] for x in (X, X[::-1].copy(), X.astype("float64"), X.reshape(6, 2, 1))]
    assert len(set(found)) == 4


@pytest.mark.parametrize(
    ("column", "value"), [("name", "z"), ("n", 9.0), ("kind", "v"), ("day", pd.Timestamp(0))]
)
def test_one_changed_cell_of_a_table_changes_it(column: str, value: Any) -> None:
    changed = _frame()
    changed.loc[0, column] = value
    assert _of(changed)["x"] != _of(_frame())["x"]


def test_a_renamed_column_changes_it() -> None:
    assert _of(_frame().rename(columns={"n": "m"}))["x"] != _of(_frame())["x"]


def test_text_labels_count() -> None:
    first, second = np.array(["a", "b"] * 3), np.array(["b", "a"] * 3)
    assert _of(X, first)["y"] != _of(X, second)["y"]
    objects = first.astype(object)
    assert _of(X, objects) == _of(X, objects.copy())


def test_cells_that_pandas_cannot_hash_count() -> None:
    frame = pd.DataFrame({"cell": pd.Series([[1], [2]] * 3, dtype=object)})
    assert fingerprint._table(frame) != fingerprint._table(frame[::-1])


def test_several_inputs_are_named() -> None:
    changed = _of({"a": X, "b": X + 1}, Y)
    assert {name for name, text in _of({"a": X, "b": X}, Y).items() if changed[name] != text} == {
        "x['b']"
    }


def test_of_a_large_array_rows_spread_over_it_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "MOST_BYTES", 8 * 256)
    large = np.arange(10_000, dtype="float64").reshape(-1, 1)
    first = fingerprint._array(large)
    assert first == fingerprint._array(large.copy())
    for changed in (large + 1, large[::-1], np.roll(large, 50)):
        assert fingerprint._array(changed) != first
    last = large.copy()
    last[-1] = 0
    assert fingerprint._array(last) != first


def test_a_stream_is_told_by_its_form_and_not_read() -> None:
    import tensorflow as tf

    def rows() -> Any:
        raise AssertionError("it was read")
        yield

    spec = (tf.TensorSpec([None, 2]), tf.TensorSpec([None]))
    stream = tf.data.Dataset.from_generator(rows, output_signature=spec)
    found = fingerprint.of(Stream.of(stream, batch_size=2, name="x"))
    assert found is not None and "shape=(None, 2)" in found["stream"]
