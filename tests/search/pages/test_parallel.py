"""The geometry of a page's parallel coordinates: one axis each, and a line through its values."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from plotted import SPACE, drawn, table

from search.pages import parallel
from search.pages.parallel import GAP, HEIGHT, INACTIVE, LEFT, TOP, Drawing, Line
from search.space import Space
from trainer import Choice, Float, Int


def _drawing(results: pd.DataFrame, space: Space, maximize: bool = True) -> Drawing:
    return parallel.drawing(results, space, maximize=maximize, objective="f1")


def _corners(line: Line) -> list[tuple[float, float]]:
    assert re.fullmatch(r"M\S+ \S+(L\S+ \S+)*", line.path)
    return [(float(x), float(y)) for x, y in (p.split() for p in line.path[1:].split("L"))]


def test_there_is_an_axis_for_each_parameter_and_then_that_of_the_score() -> None:
    found = _drawing(drawn(10), SPACE)
    assert [axis.x for axis in found.axes] == [LEFT + GAP * i for i in range(7)]
    assert [axis.name for axis in found.axes] == [
        "rate",
        "units",
        "kind",
        "momentum",
        "patience",  # the end of a long name
        "flag",
        "f1",
    ]
    assert (found.top, found.bottom) == (TOP, TOP + HEIGHT)
    assert found.width > found.axes[-1].x and found.height > found.bottom
    for axis in found.axes:
        inside = [y for y, text in axis.marks if text != "inactive"]
        assert inside and all(found.top <= y <= found.bottom for y in inside)


@pytest.mark.parametrize("maximize", [True, False])
def test_lines_go_through_their_values_and_the_best_is_drawn_last(maximize: bool) -> None:
    given = table([1.0, 3.0, 2.0], a=[0.0, 1.0, 0.5]).iloc[::-1]
    found = _drawing(given, Space({"a": Float(0.0, 1.0)}), maximize)
    assert [line.trial for line in found.lines] == ([0, 2, 1] if maximize else [1, 2, 0])
    assert [line.colour for line in found.lines] == [0, 4, 8]
    at = {line.trial: _corners(line) for line in found.lines}
    top, middle, bottom = TOP, TOP + HEIGHT / 2, TOP + HEIGHT
    assert [at[trial][0] for trial in range(3)] == [(LEFT, bottom), (LEFT, top), (LEFT, middle)]
    heights = [at[trial][1][1] for trial in range(3)]
    assert heights == [bottom, top, middle] if maximize else [top, bottom, middle]


def test_a_trial_without_a_score_ends_before_the_scores_and_lies_below_all() -> None:
    given = table([1.0, np.nan, np.inf], a=[1, 2, 3])
    found = _drawing(given, Space({"a": Int(1, 3)}))
    assert [(line.trial, line.colour) for line in found.lines[:2]] == [(1, None), (2, None)]
    assert [len(_corners(line)) for line in found.lines] == [1, 1, 2]


def test_a_parameter_that_is_switched_off_is_crossed_below_its_axis() -> None:
    space = Space({"kind": Choice("a", "b"), "m": Float(0.0, 1.0, when={"kind": ("a",)})})
    found = _drawing(table([1.0, 2.0], kind=["a", "b"], m=[0.5, np.nan]), space)
    below = TOP + HEIGHT * INACTIVE
    assert found.axes[1].marks[-1] == (below, "inactive")
    assert {line.trial: _corners(line)[1][1] for line in found.lines} == {
        0: TOP + HEIGHT / 2,
        1: below,
    }
    assert below < found.height
    active = _drawing(table([1.0], kind=["a"], m=[0.5]), space).axes[1]
    assert "inactive" not in [text for _, text in active.marks]


def test_a_study_without_trials_or_scores_has_axes_without_lines_or_marks_of_scores() -> None:
    space = Space({"a": Int(1, 3)})
    empty = _drawing(table([], a=[]), space)
    assert empty.lines == [] and len(empty.axes) == 2 and empty.axes[-1].marks == []
    failed = _drawing(table([np.nan], a=[1]), space)
    assert [line.colour for line in failed.lines] == [None] and failed.axes[-1].marks == []


def test_many_lines_are_faint() -> None:
    space = Space({"a": Float(0.0, 1.0)})
    assert [_drawing(drawn(n, space), space).faint for n in (60, 61)] == [False, True]


def test_names_from_outside_are_one_line_that_is_not_too_long() -> None:
    space = Space({"a\nb": Int(1, 2), "x" * 60: Int(1, 2)})
    columns = {name: [1] for name in space.domains}
    first, second, _ = _drawing(table([1.0], **columns), space).axes
    assert "\n" not in first.name and len(second.name) <= 20
