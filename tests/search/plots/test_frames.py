"""The table of a search as plots read it: what is refused, and values as the space has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from plotted import SPACE, drawn, table

from search.plots import frames
from search.space import Space
from trainer import Choice, Float, Int


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ([1, 2], TypeError, "results is a list: must be a DataFrame"),
        (table([]), ValueError, "results has no rows: call fit before drawing"),
        (
            table([1.0]).drop(columns="state"),
            ValueError,
            "results has no column 'state'; pass the results_ of the search",
        ),
    ],
)
def test_what_is_no_table_of_a_search_is_refused(
    given: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=f"^{says}$"):
        frames.checked(given, True)


def test_a_direction_that_is_no_boolean_is_refused() -> None:
    with pytest.raises(TypeError, match="maximize='max'"):
        frames.checked(table([1.0]), "max")  # type: ignore[arg-type]


def test_a_checked_table_is_in_the_order_of_trials_and_the_given_one_stays_as_it_was() -> None:
    given = table([3, 1, 2]).assign(trial=[2, 0, 1])  # type: ignore[list-item]
    found = frames.checked(given, True)
    assert found["trial"].tolist() == [0, 1, 2] and found["score"].tolist() == [1.0, 2.0, 3.0]
    assert found["score"].dtype == np.float64 and found.index.tolist() == [0, 1, 2]
    assert given["trial"].tolist() == [2, 0, 1] and given["score"].dtype == np.int64


def test_a_score_that_is_infinite_is_none() -> None:
    found = frames.scored(table([1.0, np.inf, -np.inf, np.nan]))
    assert found.tolist() == [True, False, False, False]


@pytest.mark.parametrize("missing", [np.nan, None, pd.NA])
def test_a_parameter_that_a_condition_switches_off_has_no_value_and_no_place(missing: Any) -> None:
    columns = {"kind": ["a", 1], "rate": [0.01, 0.1], "units": [4, 1.0], "flag": [np.True_, 0]}
    columns["callbacks__early_stopping__patience"] = [8, 512]
    columns["momentum"] = pd.Series([1, missing], dtype=object)  # type: ignore[assignment]
    first, second = points = frames.points(table([0.1, 0.2], **columns), SPACE)
    assert first["momentum"] == 1.0 and type(first["momentum"]) is float
    assert second["units"] == 1 and type(second["units"]) is int and "momentum" not in second
    assert second["flag"] is False
    units = frames.units(points, SPACE)
    names = list(SPACE.domains)
    assert units.shape == (2, len(names))
    assert np.isnan(units).tolist() == [[False] * 6, [name == "momentum" for name in names]]
    assert np.nanmin(units) >= 0 and np.nanmax(units) <= 1


def test_a_value_outside_of_the_space_is_refused_with_its_trial() -> None:
    space = Space({"a": Int(1, 3), "b": Choice("x", "y")})
    given = table([1.0, 2.0], a=[1, 2], b=["x", "z"]).assign(trial=[4, 9])
    with pytest.raises(ValueError, match=r"^results, trial 9: .*'z'"):
        frames.points(given, space)
    with pytest.raises(ValueError, match="results has no column 'b'"):
        frames.points(given.drop(columns="b"), space)


def test_the_points_of_drawn_trials_come_back_to_the_bit() -> None:
    rng = np.random.default_rng(0)
    wanted = [SPACE.draw(rng) for _ in range(30)]
    assert frames.points(drawn(30), SPACE) == wanted


def test_a_title_names_the_best_and_how_many_failed() -> None:
    found = table([0.5, np.nan, 0.25], rung=[0, 0, 1])
    assert frames.summary(found, True, False) == "best 0.5, trial 0; 3 trials, 1 failed"
    assert frames.summary(found, True, True) == "best 0.25, trial 2; 3 trials, 1 failed"
    assert frames.summary(found, False, False) == "best 0.25, trial 2; 3 trials, 1 failed"
    assert frames.summary(found[:1], True, False) == "best 0.5, trial 0; 1 trial"
    assert frames.summary(found[1:2], True, False) == "no score: 1 trial, 1 failed"
    long = table(np.zeros(1200).tolist())
    assert frames.summary(long, True, False).endswith("; 1,200 trials")


def test_a_whole_number_of_a_table_becomes_a_float_where_the_space_has_floats() -> None:
    (point,) = frames.points(table([1.0], a=[2]), Space({"a": Float(0.0, 4.0)}))
    assert type(point["a"]) is float
