"""Rows to compare an exported model on: raw, as learnt, and the same each time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainer.data.inputs import Inputs
from trainer.exporting import rows

RNG = np.random.default_rng(0)


def network(x: Any, *, seen: Any = None, fixed_rows: int | None = None) -> Any:
    """What the rows are made from: the learnt inputs of a network, without training one."""
    evidence = None if seen is None else SimpleNamespace(train=SimpleNamespace(x=seen))
    inputs = Inputs.learn(x, normalize="standard")
    return SimpleNamespace(inputs=inputs, fixed_rows=fixed_rows, evidence=evidence)


def test_a_table_has_every_category_an_unseen_one_and_a_missing_number() -> None:
    frame = pd.DataFrame(
        {
            "city": np.resize([f"c{i}" for i in range(12)], 60),
            "size": RNG.normal(50, 9, 60),
            "day": pd.date_range("2020-01-01", periods=60),
        }
    )
    made = network(frame)
    found = rows.for_comparison(made)
    names = {c["name"]: c["input"] for c in made.inputs.table.columns}
    assert set(found) == set(names.values())
    city = found[names["city"]]
    assert city.shape == (len(city), 1) and {*frame["city"], rows.UNSEEN} <= set(city[:, 0])
    for name in ("size", "day"):
        values = found[names[name]]
        assert values.shape == city.shape and values.dtype == np.float64
        assert np.isnan(values).sum() == 1
    earliest = frame["day"].min().timestamp()
    assert np.nanmin(found[names["day"]]) >= earliest


def test_rows_have_the_form_of_the_training_rows_and_are_the_same_each_time() -> None:
    x = {
        "image": RNG.integers(0, 256, (9, 4, 4), dtype="uint8"),
        "ids": RNG.integers(0, 1000, (9, 3)),
        "wide": RNG.normal(1e6, 1.0, (9, 2)).astype("float32"),
    }
    found, again = (rows.for_comparison(network(x)) for _ in range(2))
    for name, given in x.items():
        assert found[name].dtype == given.dtype and found[name].shape[1:] == given.shape[1:]
        np.testing.assert_array_equal(found[name], again[name])
    assert set(np.unique(found["ids"])) <= {0, 1}, "ids that the model is sure to know"
    assert np.abs(found["wide"] - 1e6).max() < 10, "near what was learnt"


def test_some_of_the_training_rows_stand_behind_those_that_are_made_up() -> None:
    x = RNG.normal(size=(20, 3)).astype("float32")
    found = rows.for_comparison(network(x, seen=x))
    assert len(found) == rows.FEWEST + rows.OF_TRAINING
    np.testing.assert_array_equal(found[rows.FEWEST :], x[: rows.OF_TRAINING])


def test_a_model_of_a_fixed_batch_gets_exactly_so_many_rows() -> None:
    x = RNG.normal(size=(20, 3)).astype("float32")
    assert rows.for_comparison(network(x, seen=x, fixed_rows=5)).shape == (5, 3)


def test_large_rows_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "LARGEST", 100)
    assert rows.for_comparison(network(np.zeros((2, 40), "float32"))).shape == (2, 40)
    assert rows.for_comparison(network(np.zeros((2, 400), "float32"))).shape == (1, 400)


def test_texts_differ_in_length_and_one_is_empty() -> None:
    texts = np.array(["some text", "more"], dtype=object)
    found = rows.for_comparison(network(texts))
    assert found.dtype == object and found.shape == (rows.FEWEST,)
    lengths = [len(text.split()) for text in found]
    assert lengths[-1] == 0 and lengths[:-1] == sorted(set(lengths[:-1]))
