"""A function as an estimator: what it is called with, and what it may return."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from search.study.function import Function, name_of, parameters_of


def _made(function: Any, objective: str | None = None, **values: Any) -> Function:
    return Function(function, objective, tuple(values), **values)


def _returns(value: Any, objective: str | None = None) -> Function:
    return _made(lambda: value, objective).fit(None)


@pytest.mark.parametrize(
    ("value", "score"),
    [
        (2, 2.0),
        (True, 1.0),
        (Fraction(1, 2), 0.5),
        (np.float32(0.5), 0.5),
        (np.array([[3]]), 3.0),
        (float("inf"), math.inf),
    ],
)
def test_a_number_of_any_kind_is_the_score(value: Any, score: float) -> None:
    found = _returns(value)
    assert found.score_ == found.score() == score and type(found.score_) is float
    assert found.metrics_ == {}


def test_nothing_is_a_score_that_is_not_there() -> None:
    with pytest.raises(TypeError, match="returned None, which is no score; is a 'return' missing"):
        _returns(None)
    assert math.isnan(_returns({"a": None}, "a").score_)


def test_a_mapping_holds_the_objective_and_metrics_and_is_not_changed() -> None:
    given = MappingProxyType({"loss": np.float64(0.5), "n": 3, 7: 1})
    found = _returns(given, "loss")
    assert found.score_ == 0.5 and found.metrics_ == {"n": 3.0, "7": 1.0}
    assert len(given) == 3


@pytest.mark.parametrize("value", ["0.5", [1.0], np.zeros(2), 1j, Decimal("0.5"), np.array([1j])])
def test_what_is_no_number_is_refused_with_the_functions_name(value: Any) -> None:
    def alone() -> Any:
        return value

    def among() -> Any:
        return {"a": value}

    for function in (alone, among):
        says = rf"^function=.*\.{function.__name__}: returned .*; it must return a number"
        with pytest.raises(TypeError, match=says):
            _made(function, "a").fit(None)


@pytest.mark.parametrize(
    ("given", "objective", "says"),
    [
        ({"a": 1, "b": 2}, "c", "returned a dict of 'a', 'b'; write one of these as objective="),
        ({"a": 1}, None, "^objective=None: .*returned a dict of 'a'; write one of these"),
        ({}, "a", "returned a dict of nothing"),
    ],
)
def test_a_dict_without_the_objective_is_refused(given: Any, objective: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        _returns(given, objective)


def test_a_function_that_takes_a_seed_gets_it_unless_it_is_a_parameter() -> None:
    def seeded(x: int, seed: int) -> int:
        return x + seed

    assert _made(seeded, x=1).set_params(random_state=40).fit(None).score_ == 41
    assert _made(seeded, x=1, seed=2).set_params(random_state=40).fit(None).score_ == 3
    assert _made(lambda x: x, x=1).set_params(random_state=40).fit(None).score_ == 1


def test_a_clone_has_the_values_and_the_same_function() -> None:
    class Large:
        def __call__(self, x: int, y: int) -> int:
            return x * y

        def __deepcopy__(self, memo: Any) -> Any:
            raise AssertionError("it is large")

    large = Large()
    first = Function(large, None, ("x", "y"), x=2)
    assert first.get_params()["x"] == 2 and first.get_params()["y"] is None
    second = clone(first).set_params(y=4)
    assert second.function is large and second.fit(None).score_ == 8
    assert first.get_params()["y"] is None, "of its own"


def test_names_and_parameters_are_known_as_far_as_python_can_tell() -> None:
    assert name_of(math.sqrt) == "sqrt" and name_of(3) == "3"
    assert list(parameters_of(lambda a, *, b=1: a)) == ["a", "b"]
    assert parameters_of(3) is None  # type: ignore[arg-type]
