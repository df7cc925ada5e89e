"""Several objectives and constraints: what they mean, and which trials are on the front."""

from __future__ import annotations

from typing import Any

import keras_tuner
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.study.goals import Goals, check, front, split
from search.study.scoring import Measure

ACCURACY = Measure("val_accuracy", maximize=True, log=True)


def test_the_front_is_what_no_other_row_dominates() -> None:
    values = [[0.9, 10], [0.8, 5], [0.7, 7], [0.9, 12], [0.95, 30]]
    assert front(values, [True, False]).tolist() == [True, True, False, False, True]
    assert front(values, [False, True]).tolist() == [False, False, True, True, True]


def test_equal_rows_are_on_the_front_together() -> None:
    assert front([[1, 2], [1, 2], [2, 3]], [False, False]).tolist() == [True, True, False]
    assert front(np.zeros((0, 2)), [True, True]).tolist() == []


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=12), st.integers(0, 7))
@settings(deadline=None, derandomize=True)
def test_each_row_off_the_front_is_dominated_by_one_on_it(rows: Any, ways: int) -> None:
    maximize = [bool(ways >> k & 1) for k in range(3)]
    costs = np.array(rows) * np.where(maximize, -1, 1)
    mask = front(rows, maximize)

    def dominates(a: Any, b: Any) -> bool:
        return bool((a <= b).all() and (a < b).any())

    for row, on in zip(costs, mask, strict=True):
        assert any(dominates(other, row) for other in costs[mask]) != on


def test_an_outcome_has_the_values_and_by_how_much_each_bound_is_violated() -> None:
    goals = Goals(
        ("val_accuracy", "seconds"),
        (True, False),
        {"parameters": (10, 100), "val_accuracy": (0.5, None)},
    )
    found = goals.outcome(0.8, {"parameters": 130.0}, 2.5)
    assert (found.score, found.values) == (0.8, (0.8, 2.5))
    assert found.violations == (-120, 30, pytest.approx(-0.3))
    assert goals.bounds == 3
    assert Goals(("score",), (True,)).outcome(0.5, {}, 1.0).values == ()


def test_a_value_that_is_missing_or_no_number_has_no_outcome() -> None:
    goals = Goals(("score", "size"), (True, False))
    with pytest.raises(ValueError, match="objective: 'size' is not measured"):
        goals.outcome(1.0, {}, 1.0)
    with pytest.raises(ValueError, match="objective: 'size' is nan, not a finite number"):
        goals.outcome(1.0, {"size": float("nan")}, 1.0)


def test_goals_come_back_from_a_description() -> None:
    goals = Goals(("a", "b"), (True, False), {"c": (None, 3.0)})
    first = {"objective": ["a", "max", None]}
    assert Goals.recorded(first | goals.described()) == goals
    assert Goals.recorded(first) == Goals(("a",), (True,))


def test_directions_of_known_names_need_not_be_written() -> None:
    first, others = split(["val_accuracy", "seconds", "val_loss", ("mine", "max")])
    assert (first, others) == (
        "val_accuracy",
        [("seconds", False), ("val_loss", False), ("mine", True)],
    )
    assert split(("val_loss", "min")) == (("val_loss", "min"), [])
    assert split(None) == (None, [])


def test_an_objective_of_keras_tuner_is_a_name_and_a_direction() -> None:
    mine = keras_tuner.Objective("mine", "max")
    assert split(mine) == (("mine", "max"), [])
    both = [mine, keras_tuner.Objective("val_mse", "min"), "seconds"]
    assert split(both) == (("mine", "max"), [("val_mse", False), ("seconds", False)])


@pytest.mark.parametrize(
    ("objective", "error", "said"),
    [
        ([], ValueError, "no objective; write"),
        (["seconds", "val_loss"], ValueError, "first objective is the score.*'val_loss'"),
        ("parameters", ValueError, "first objective is the score.*'val_loss', 'parameters'"),
        (["val_loss", "latency"], ValueError, "'latency' is better; .*did you mean 'latency_ms'"),
        (["val_loss", ("seconds", "less")], TypeError, r"\('seconds', 'less'\) must be a name"),
        (["val_loss", 3], TypeError, "3 must be a name"),
        (["val_loss", ""], TypeError, "'' must be a name"),
    ],
)
def test_a_list_that_holds_no_objectives_is_refused(
    objective: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=f"objective.*{said}"):
        split(objective)


@pytest.mark.parametrize(
    ("constraints", "error", "said"),
    [
        ([("parameters", None, 3)], TypeError, "must be a dict"),
        ({"parameters": 100}, TypeError, "a lower and an upper bound"),
        ({"parameters": (None, None)}, ValueError, "no bound"),
        ({"parameters": (3, 1)}, ValueError, "the lower bound is above the upper one"),
        ({"parameters": (None, "many")}, TypeError, "'many' must be a number or None"),
        ({"parameters": (None, float("inf"))}, ValueError, "must be a finite number"),
        ({3: (None, 1)}, TypeError, "the name of a value"),
        ({"latency_ms": (None, 1)}, ValueError, "rows held in memory"),
        ({"parameters": (None, 1)}, ValueError, "only a Trainer"),
    ],
)
def test_what_is_no_bound_is_refused(constraints: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=f"constraints.*{said}"):
        check(ACCURACY, [], constraints, ())


def test_an_objective_appears_once() -> None:
    with pytest.raises(ValueError, match="'seconds' appears twice"):
        check(ACCURACY, [("seconds", False), ("seconds", False)], None, ())
