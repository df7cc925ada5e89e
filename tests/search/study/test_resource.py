"""What rungs are measured in: their amounts, the rows of a part, and ensembles that are signed."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import (
    AdaBoostClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.pipeline import make_pipeline

from search.study import resource
from search.study.resource import Resource, amount_of, ladder, unit_of

ROWS = Resource("n_samples", (1, 3, 9), seed=4)
TREES = Resource("n_estimators", (1, 3, 9))


@pytest.mark.parametrize(
    ("full", "factor", "least", "amounts"),
    [
        (9, 3, 1, (1, 3, 9)),
        (10, 3, 1, (2, 4, 10)),
        (8, 2, 3, (4, 8)),
        (9, 3, 10, (9,)),
        (1, 3, 1, (1,)),
        (1000, 10, 1, (1, 10, 100, 1000)),
    ],
)
def test_a_ladder_ends_with_all_of_it_and_begins_at_the_least(
    full: int, factor: float, least: float, amounts: tuple[int, ...]
) -> None:
    found = ladder(full, factor, least)
    assert found[-1] == full and list(found) == sorted(set(found))
    assert found[0] >= min(least, full)
    assert found == amounts


@pytest.mark.parametrize("factor", [1.1, 1.5, 2.5])
def test_rungs_of_a_small_factor_have_no_amount_twice(factor: float) -> None:
    found = ladder(6, factor, 1)
    assert found[-1] == 6 and list(found) == sorted(set(found))


def test_a_unit_of_steps_divides_the_epoch_and_there_are_not_too_many() -> None:
    assert unit_of(12, 5) == 4 and unit_of(12, 0.5) == 1 and unit_of(7, 5) == 1
    assert unit_of(12, 100) == 12
    prime = resource.UNITS + 3
    assert unit_of(prime, 5) == prime, "not 53 units of one step"
    for steps in range(1, 200):
        unit = unit_of(steps, 7)
        assert steps % unit == 0 and steps // unit <= resource.UNITS


def test_more_rows_include_the_fewer_and_all_of_them_are_all() -> None:
    y = np.repeat([0, 1, 2], [70, 20, 10])
    for labels in (None, y):
        small, middle, whole = (ROWS.rows(100, labels, amount) for amount in ROWS.amounts)
        assert (len(small), len(middle), len(whole)) == (11, 33, 100)
        assert set(small) < set(middle) and whole.tolist() == list(range(100))
        assert all((np.diff(rows) > 0).all() for rows in (small, middle)), "in their order"
        np.testing.assert_array_equal(small, ROWS.rows(100, labels, 1))
    np.testing.assert_allclose(np.bincount(y[ROWS.rows(100, y, 3)]), [23, 7, 3], atol=1)
    other = Resource("n_samples", (1, 3, 9), seed=5)
    assert ROWS.rows(100, None, 3).tolist() != other.rows(100, None, 3).tolist()


def test_no_class_is_lost_as_long_as_there_is_a_row_for_each() -> None:
    y = np.array(["a"] * 97 + ["b", "c", "d"])
    assert set(y[ROWS.rows(100, y, 1)]) == {"a", "b", "c", "d"}
    assert len(Resource("n_samples", (1, 10**6)).rows(5, None, 1)) == 1, "never none"


def test_what_a_resource_is_follows_from_its_name() -> None:
    steps = Resource("steps", (2, 6), unit=4)
    assert steps.passes == {"steps_per_epoch": 4} and TREES.passes == ROWS.passes == {}
    assert [r.is_parameter for r in (TREES, steps, ROWS, Resource("epochs", (1,)))] == [
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("estimator", "name", "grows"),
    [
        (RandomForestClassifier(), "n_estimators", True),
        (make_pipeline(RandomForestClassifier()), "randomforestclassifier__n_estimators", True),
        (RandomForestClassifier(), "max_depth", False),
        (RandomForestClassifier(oob_score=True), "n_estimators", False),
        (GradientBoostingRegressor(n_iter_no_change=3), "n_estimators", False),
        (AdaBoostClassifier(), "n_estimators", False),
        (type("RandomForestClassifier", (RandomForestClassifier,), {})(), "n_estimators", False),
    ],
)
def test_only_ensembles_that_come_out_the_same_grow(estimator: Any, name: str, grows: bool) -> None:
    assert Resource(name, (1, 2)).grows(estimator) is grows


def test_an_ensemble_is_loaded_by_the_search_that_saved_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "state"
    assert TREES.load(path) is None
    TREES.save({"trees": [1, 2]}, path)
    assert TREES.load(path) == {"trees": [1, 2]}
    other = Resource("n_estimators", (1, 3, 9))
    assert other == TREES and other.load(path) is None
    assert pickle.loads(pickle.dumps(TREES)).load(path) == {"trees": [1, 2]}, "a worker's"


@pytest.mark.parametrize("change", ["cut", "flipped", "empty"])
def test_a_file_that_is_not_as_it_was_saved_is_not_unpickled(tmp_path: Path, change: str) -> None:
    path = tmp_path / "state"
    TREES.save([1, 2], path)
    whole = path.read_bytes()
    flipped = whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:]
    path.write_bytes({"cut": whole[:-1], "flipped": flipped, "empty": b""}[change])
    assert TREES.load(path) is None


def test_the_key_of_a_search_is_never_shown() -> None:
    assert "key" not in repr(TREES)


def test_an_amount_is_an_integer_that_is_no_boolean() -> None:
    params = {"a": 3, "b": np.int64(4), "c": True, "d": 3.0, "e": None}
    assert [amount_of(params, name) for name in "abcdef"] == [3, 4, None, None, None, None]
