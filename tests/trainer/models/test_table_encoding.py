"""How `tabular` encodes the columns of a table."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from trainer.data.tables import Table
from trainer.models.table_encoding import TableEncoding
from trainer.models.tabular_layers import TableMatrix
from trainer.utils.forms import Malformed

RNG = np.random.default_rng(0)


def column(values: Any) -> np.ndarray:
    return np.asarray(values)


def learned(columns: dict[str, np.ndarray], y: np.ndarray | None = None) -> TableEncoding:
    targets = None if y is None else y.reshape(-1, 1)
    by_place = dict(enumerate(columns.values()))
    return TableEncoding.learn(by_place, targets, None, classes=False, seed=0)


def encoded(encoding: TableEncoding, columns: dict[str, np.ndarray]) -> np.ndarray:
    """Encode with the layer of the saved model; without it there must be the same bits."""
    by_place = dict(enumerate(columns.values()))
    tensors = {str(i): tf.constant(v.reshape(-1, 1)) for i, v in by_place.items()}
    found = np.asarray(TableMatrix(encoding.plan)(tensors))
    np.testing.assert_array_equal(encoding.matrix(by_place), found)
    return found


def test_numbers_are_scaled_by_quartiles_and_clipped_smoothly() -> None:
    x = column(np.arange(101.0))
    x[0] = 1e9
    encoding = learned({"a": x})
    found = encoded(encoding, {"a": column([50.5, 100.5, 1e30, -1e30])})[:, 0]
    np.testing.assert_allclose(found[0], 0, atol=0.02)
    np.testing.assert_allclose(found[1], 1 / np.sqrt(1 + 1 / 9), rtol=0.03)
    np.testing.assert_allclose(found[2:], [3, -3], rtol=1e-5)


def test_missing_numbers_are_the_median_and_are_marked_where_training_had_some() -> None:
    a, b = column([1.0, 2.0, 3.0, np.nan]), column([1.0, 2.0, 3.0, 4.0])
    encoding = learned({"a": a, "b": b})
    found = encoded(encoding, {"a": column([np.nan, 2.0]), "b": column([np.nan, 2.5])})
    np.testing.assert_allclose(found, [[0, 0, 1], [0, 0, 0]], atol=1e-6)


def test_constant_columns_are_left_out_and_few_values_use_the_range() -> None:
    encoding = learned(
        {"a": column(np.full(9, 7.0)), "b": column([0.0] * 8 + [1.0]), "c": column([np.nan] * 9)}
    )
    found = encoded(encoding, {"a": column([7.0]), "b": column([1.0]), "c": column([np.nan])})
    assert found.shape == (1, 1)
    np.testing.assert_allclose(found, 2 / np.sqrt(1 + 4 / 9), rtol=1e-5)


def test_categories_are_encoded_by_their_number() -> None:
    n = 600
    columns = {
        "two": column(np.where(np.arange(n) % 2, "b", "a")),
        "few": column(np.array(list("xyz"))[np.arange(n) % 3]),
        "some": column([f"s{i % 12}" for i in range(n)]),
        "many": column([f"m{i % 60}" for i in range(n)]),
    }
    y = (np.arange(n) % 60 >= 30).astype(float)
    encoding = learned(columns, y)
    kinds = [c["kind"] for c in encoding.plan["texts"]]
    assert kinds == ["pair", "one_hot", "embedding", "target"]
    rows = {
        "two": column(["a", "b", "?"]),
        "few": column(["x", "z", "?"]),
        "some": column(["s0", "s1", "?"]),
        "many": column(["m0", "m59", "?"]),
    }
    found = encoded(encoding, rows)
    assert (encoding.n_numbers, encoding.levels) == (1, [13])
    assert found[0, 0] < -0.5 and found[1, 0] > 0.5 and abs(found[2, 0]) < 0.2
    np.testing.assert_array_equal(found[:, 1], [-1, 1, 0])
    np.testing.assert_array_equal(found[:, 2:5], [[1, 0, 0], [0, 0, 1], [0, 0, 0]])
    np.testing.assert_array_equal(found[:, 5], [0, 1, 12])


def test_training_rows_do_not_see_their_own_target() -> None:
    n = 400
    columns = {"many": column([f"m{i % 200}" for i in range(n)])}
    y = RNG.normal(size=n)  # noise: a level tells nothing of another row
    encoding = learned(columns, y)
    all_rows = encoded(encoding, columns)
    trained = encoding.training_rows(all_rows)
    assert abs(np.corrcoef(all_rows[:, 0], y)[0, 1]) > 0.5  # the leak that is to be avoided
    assert abs(np.corrcoef(trained[:, 0], y)[0, 1]) < 0.15


def test_texts_with_odd_content_are_levels_of_their_own() -> None:
    odd = ["", "0\x1fa", "a", "[UNK]", "[missing]", "中文", "é\n"]
    encoding = learned({"odd": column(odd * 3), "other": column(["a", "b", "c"] * 7)})
    found = encoded(encoding, {"odd": column(odd), "other": column(["a"] * 7)})
    np.testing.assert_array_equal(found[:, :7].sum(axis=1), np.ones(7))
    np.testing.assert_array_equal(found[:, :7].sum(axis=0), np.ones(7))


def test_it_is_restored_from_json() -> None:
    columns = {
        "a": column(RNG.normal(size=300)),
        "many": column([f"m{i % 60}" for i in range(300)]),
        "some": column([f"s{i % 12}" for i in range(300)]),
    }
    encoding = learned(columns, RNG.normal(size=300))
    again = TableEncoding.from_dict(json.loads(json.dumps(encoding.to_dict())))
    np.testing.assert_array_equal(encoded(again, columns), encoded(encoding, columns))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f["plan"].pop("texts"), "texts"),
        (lambda f: f["plan"]["numbers"][0].update(scale="x"), "scale"),
        (lambda f: f["plan"]["numbers"][0].update(feature=1), "different features"),
        (lambda f: f["plan"]["texts"][0].update(kind="code"), "kind"),
        (lambda f: f["plan"]["texts"][0].update(levels=["a", "a"]), "levels"),
        (lambda f: f["plan"]["texts"][0].update(values=[[9] * 13]), "values"),
        (lambda f: f.update(low=[1.0]), "high"),
    ],
)
def test_a_damaged_form_is_refused(change: Any, said: str) -> None:
    columns = {
        "a": column(RNG.normal(size=60)),
        "some": column([f"s{i % 12}" for i in range(60)]),
    }
    form = json.loads(json.dumps(learned(columns).to_dict()))
    change(form)
    with pytest.raises(Malformed, match=said):
        TableEncoding.from_dict(form)


def test_whole_numbers_that_are_codes_are_encoded_by_the_mean_of_the_target() -> None:
    n = 2000
    codes = RNG.integers(50, size=n).astype(float)
    effect = RNG.normal(size=50)
    sizes = RNG.integers(50, size=n).astype(float)
    y = effect[codes.astype(int)] + sizes / 25 + 0.1 * RNG.normal(size=n)
    codes[:5] = np.nan
    encoding = learned({"code": codes, "size": sizes}, y)
    assert [c["feature"] for c in encoding.plan["whole"]] == [0]
    found = encoded(encoding, {"code": column([0.0, 1.0, 77.0, np.nan]), "size": column([1.0] * 4)})
    assert encoding.n_numbers == 3
    # between the two numbers' own columns and the mark of missing ones
    means = found[:, 2]
    assert np.sign(means[0] - means[1]) == np.sign(effect[0] - effect[1])
    assert means[2] == means[3]


def test_a_plan_that_does_not_fit_the_table_is_refused() -> None:
    table = Table.learn(pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}), normalize=None)
    for columns in ({"b": column(["x"]), "a": column([1.0])}, dict.fromkeys("abc", column([1.0]))):
        with pytest.raises(Malformed, match="the place of a"):
            learned(columns).encoder(table)
