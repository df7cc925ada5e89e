"""Splits are functions of the rows and the seed: apart, complete, stratified where that can be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainer.datasets import splits
from trainer.datasets.dataset import Split

X = np.arange(200).reshape(100, 2)
Y = np.arange(100) % 4


def rows(split: Split) -> set[int]:
    return set((np.asarray(split.x)[:, 0] // 2).tolist())


def test_three_splits_are_apart_and_complete_and_have_their_shares() -> None:
    found = splits.split_in_three(X, Y, "classification", 0)
    parts = [rows(part) for part in (found.train, found.valid, found.test)]
    assert [len(part) for part in parts] == [60, 20, 20]
    assert set.union(*parts) == set(range(100))
    assert all(np.bincount(part.y).tolist() == [len(part.y) // 4] * 4 for part in found[:3])
    assert "60/20/20 with seed 0, stratified by class" in found.note


def test_the_seed_alone_decides_and_frames_stay_frames() -> None:
    frame, series = pd.DataFrame(X, columns=["a", "b"]), pd.Series(Y)
    found = splits.split_in_three(frame, series, "classification", 1)
    assert rows(found.test) == rows(splits.split_in_three(X, Y, "classification", 1).test)
    assert rows(found.test) != rows(splits.split_in_three(X, Y, "classification", 2).test)
    assert isinstance(found.train.x, pd.DataFrame) and isinstance(found.train.y, pd.Series)


def test_a_class_too_rare_to_stratify_is_named() -> None:
    y = np.where(np.arange(100) < 2, "rare", "common")
    note = splits.split_in_three(X, y, "classification", 0).note
    assert "without stratification, because class 'rare' has only 2 of the 5 rows" in note


def test_validation_rows_come_off_the_training_rows_alone() -> None:
    train, test = Split(X[:80], Y[:80]), Split(X[80:], Y[80:])
    drawn = splits.split_off_validation(train, test, "regression", 0)
    assert len(drawn.valid.x) == 16 and rows(drawn.train) | rows(drawn.valid) == set(range(80))
    first = splits.split_off_first_rows(train, test)
    assert rows(first.valid) == set(range(8)) and first.test is test


@pytest.mark.parametrize(
    ("y", "task"),
    [
        ([0.0, 1.0, 2.0], "classification"),
        ([0.5, 1.0], "regression"),
        (["a", "b"], "classification"),
        (np.arange(51), "regression"),
        (np.arange(50), "classification"),
        (np.arange(2000) % 60, "classification"),  # many, but a small share of the rows
        ([True, False], "classification"),
    ],
)
def test_the_task_is_that_of_the_values(y: Any, task: str) -> None:
    assert splits.infer_task(y) == task


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X, Y[:5], "x has 100 rows and y has 5: both must have one entry per sample"),
        (X[:0], Y[:0], "x has no rows"),
        (np.float64(3), Y, "x: is a single value"),
        (X, Y.astype(complex), "y has dtype complex128"),
        (X, np.where(Y == 0, np.nan, 1.0), "y has 25 values that are NaN or infinite"),
    ],
)
def test_rows_that_cannot_be_used_are_refused(x: Any, y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        splits.check_rows(x, y, x_name="x", y_name="y")


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="4 rows are too few to split: at least 5"):
        splits.split_in_three(X[:4], Y[:4], "classification", 0)
