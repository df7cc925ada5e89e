"""What a model does on the test rows: importance, mistakes and dependence, of known functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainer.reports import examining

RNG = np.random.default_rng(0)


class Known:
    """A fitted model whose function is known: twice the column `cause`."""

    seed_ = 0

    def predict(self, x: pd.DataFrame) -> np.ndarray:
        return 2 * x["cause"].to_numpy(float)

    def score(self, x: pd.DataFrame, y: Any) -> float:
        y = np.asarray(y, float)
        return float(1 - ((self.predict(x) - y) ** 2).sum() / ((y - y.mean()) ** 2).sum())


class Sorted(Known):
    """A classifier that says the class of the larger probability."""

    classes_ = np.array(["no", "yes"])

    def predict_proba(self, x: Any) -> np.ndarray:
        p = np.asarray(x, float).reshape(len(x), -1)[:, 0]
        return np.stack([1 - p, p], axis=1)

    def predict(self, x: Any) -> np.ndarray:
        return self.classes_[self.predict_proba(x).argmax(1)]


@pytest.fixture
def table() -> pd.DataFrame:
    """A table with an index of its own, of which one column does nothing."""
    columns = {"noise": RNG.normal(size=80), "cause": RNG.normal(size=80)}
    return pd.DataFrame(columns, index=np.arange(80)[::-1] * 3)


def test_a_column_that_is_not_used_has_no_importance_and_the_rows_stay_as_they_were(
    table: pd.DataFrame,
) -> None:
    before = table.copy()
    y = 2 * table["cause"].to_numpy()
    (first, fall, _), other = examining.importance(Known(), table, y)
    assert first == "cause" and fall > 1.0
    assert other == ("noise", 0.0, 0.0)
    assert examining.importance(Known(), table, y)[0] == (first, fall, _), "the same each time"
    pd.testing.assert_frame_equal(table, before)


def test_the_largest_errors_come_first_whatever_their_sign(table: pd.DataFrame) -> None:
    y = 2 * table["cause"].to_numpy()
    y[5] += 3
    y[7] -= 10
    found = examining._largest_errors(Known(), table, y)
    assert found["header"] == ["true", "predicted", "error", "noise", "cause"]
    assert [row[2] for row in found["rows"][:2]] == ["+10", "-3"]
    assert len(found["rows"]) == 12 and found["picture"] is None
    assert found["rows"][0][3:] == [str(table["noise"].iloc[7]), str(table["cause"].iloc[7])]


def test_the_surest_of_the_wrong_classes_come_first_and_without_mistakes_there_are_none() -> None:
    x = pd.DataFrame({"p": [0.9, 0.2, 0.6, 0.99]})
    y = np.array(["yes", "yes", "no", "no"])
    found = examining._wrong_classes(Sorted(), x, y)
    assert found is not None
    assert found["rows"] == [
        ["no", "yes", "0.990", "0.99"],
        ["yes", "no", "0.800", "0.2"],
        ["no", "yes", "0.600", "0.6"],
    ]
    assert examining._wrong_classes(Sorted(), x, Sorted().predict(x)) is None


def test_the_dependence_on_a_column_is_drawn_whatever_it_holds(table: pd.DataFrame) -> None:
    found = examining._dependence(Known(), table, "cause")
    assert found.title == "Dependence on cause" and "<svg" in found.svg
    assert found.says.startswith("The mean prediction of 80 rows if cause has the same value")
    mixed = table.assign(kind=np.resize(["<b>", None, "ä"], 80))
    assert "<b>" not in examining._dependence(Known(), mixed, "kind").svg
