"""The profile of the training rows, and what is not warned of."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from trainer import datasets
from trainer.reports import profile

RNG = np.random.default_rng(0)


def dataset(
    x: tuple, y: tuple[np.ndarray, np.ndarray], task: str = "regression"
) -> datasets.Dataset:
    """A data set of training rows and test rows, without any to validate on."""
    train, test = (datasets.Split(*part) for part in zip(x, y, strict=True))
    splits = (train, datasets.Split(x[0][:0], y[0][:0]), test)
    return datasets.Dataset("made", *splits, None, task, "Made.", "a test")


def of_table(train: pd.DataFrame) -> list[dict[str, str]]:
    y = np.zeros(len(train))
    return profile.columns(dataset((train, train), (y, y)))


def test_each_column_is_told_by_its_kind_its_missing_values_and_what_it_holds() -> None:
    frame = pd.DataFrame(
        {
            "size": [1.0, 2.0, 4.0, np.nan],
            "sold": [True, True, False, True],
            "city": ["b", "a", "a", None],
            "none": [np.nan] * 4,
            7: pd.to_datetime(["2020-01-01"] * 4),
        }
    )
    found = {row["name"]: row for row in of_table(frame)}
    assert list(found) == ["size", "sold", "city", "none", "7"]
    assert found["size"]["missing"] == "25.0%"
    assert found["size"]["values"] == "1 to 4, median 2"
    assert found["sold"]["values"] == "2 values: True (3), False (1)"
    assert found["city"]["values"] == "2 values: a (2), b (1)"
    assert (found["none"]["missing"], found["none"]["values"]) == ("100.0%", "")
    assert found["7"]["values"].startswith("1 values: 2020-01-01")


def test_a_wide_table_is_cut_and_long_values_are_shortened() -> None:
    assert len(of_table(pd.DataFrame(np.zeros((3, 130))))) == 100
    (row,) = of_table(pd.DataFrame({"text": ["w" * 99] * 2}))
    assert row["values"] == f"1 values: {'w' * 40} (2)"


@pytest.mark.parametrize(
    ("x", "kind", "missing"),
    [
        (np.array([[1.0, np.nan], [3.0, 4.0]], "float32"), "float32 [2]", "25.0%"),
        (np.zeros((2, 4, 4, 3), "uint8"), "uint8 [4, 4, 3]", "0.0%"),
        (np.array(["a", "b"], object), "object []", "0.0%"),
    ],
    ids=["vectors", "images", "texts"],
)
def test_an_array_is_one_row(x: np.ndarray, kind: str, missing: str) -> None:
    y = np.zeros(len(x))
    (row,) = profile.columns(dataset((x, x), (y, y)))
    assert row == {"name": "x", "kind": kind, "missing": missing, "values": ""}


def test_images_in_two_splits_are_warned_of_and_only_exact_ones() -> None:
    train = RNG.random((20, 4, 4))
    other = RNG.random((10, 4, 4))
    other[:2], other[2] = train[:2], train[2] + 1e-9
    (said,) = profile.warnings(dataset((train, other), (np.zeros(20), np.zeros(10))))
    assert said.startswith("2 test rows (20.0%) are in the training rows too")


def test_few_rows_and_columns_of_identifiers_give_no_warning() -> None:
    y = np.arange(400) % 2
    train = pd.DataFrame({"id": [f"row {i}" for i in range(400)], "a": RNG.normal(size=400)})
    test = pd.DataFrame({"id": [f"new {i}" for i in range(15)], "a": RNG.normal(9, 1, 15)})
    assert profile.warnings(dataset((train, test), (y, y[:15]), "classification")) == []
    # of many test rows, the same shift is named
    many = pd.DataFrame({"id": [f"new {i}" for i in range(99)], "a": RNG.normal(9, 1, 99)})
    (said,) = profile.warnings(dataset((train, many), (y, y[:99]), "classification"))
    assert said.startswith("the column a differs between training and test rows (distance 1.00")
