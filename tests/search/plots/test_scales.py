"""The axes of plots: which scale scores get, where values lie, and which marks are written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from plotted import SPACE, drawn

from search.plots import scales
from search.space import Space, to_unit
from trainer import Bool, Choice, Float, Int
from trainer.hyperparameters import Domain
from trainer.utils.figures import new_figure

pytestmark = pytest.mark.usefixtures("drawn_without_warnings")


@pytest.mark.parametrize(
    ("scores", "maximize", "scale"),
    [
        ([], False, "linear"),
        ([0.0, 0.0], False, "linear"),
        ([1.0, 999.0], False, "linear"),
        ([1.0, 1000.0], False, "log"),
        ([-1.0, -1000.0], True, "symlog"),
        ([1.0, 1000.0], True, "linear"),
        ([0.0, 1.0, 2.0, 3.0, 1e6], False, "symlog"),
        ([0.0, -1.0, -2.0, -3.0, -1e6], True, "symlog"),
    ],
)
def test_scores_are_logarithmic_only_if_bad_ones_would_hide_the_others(
    scores: list[float], maximize: bool, scale: str
) -> None:
    assert scales.scale_of(np.array(scores), maximize)["value"] == scale


def test_a_logarithmic_axis_of_negative_scores_begins_at_the_power_of_ten_below_the_best() -> None:
    scale = scales.scale_of(np.array([-30.0, -1e5]), True)
    assert (scale["value"], scale["linthresh"]) == ("symlog", 10.0)


SCORES = {
    "linear": np.array([0.1, 0.4, 0.2]),
    "equal": np.array([2.0, 2.0]),
    "logarithmic": np.array([0.01, 1.0, 5e3]),
    "with a few far off": np.array([-0.5, 0.1, 0.3, 0.2, 1e7]),
}


@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize("name", SCORES)
def test_the_best_score_is_highest_and_marks_lie_where_their_scores_would(
    name: str, maximize: bool
) -> None:
    scores = SCORES[name] * (-1 if maximize else 1)
    heights, marks = scales.goodness(scores, maximize)
    assert heights.min() >= 0 and heights.max() <= 1
    order = np.argsort(scores if maximize else -scores)
    assert (np.diff(heights[order]) >= 0).all()
    both = scales.goodness(np.array([scores.min(), scores.max()]), maximize)[0]
    if name != "equal":
        np.testing.assert_allclose(sorted(both), [0, 1], atol=1e-12)
    positions = sorted(mark[0] for mark in marks)
    assert (np.diff(positions) >= 0.05 - 1e-12).all()
    assert all(scores.min() <= value <= scores.max() for _, value, _ in marks)
    assert [text for _, _, text in marks] == [f"{value:.4g}" for _, value, _ in marks]
    assert marks[-1][1] == scores.max(), "the last end has a mark"


DOMAINS: dict[str, Domain] = {
    **{name: domain for name, domain in SPACE.domains.items() if name != "flag"},
    "one": Int(3, 3),
    "steps": Float(0.0, 1.0, step=0.3),
    "wide": Int(-(10**6), 10**6),
    "flag": Bool(),
}


@pytest.mark.parametrize("name", DOMAINS)
def test_marks_of_a_parameter_are_its_values_in_order_and_far_enough_apart(name: str) -> None:
    domain = DOMAINS[name]
    marks = scales.marks(domain, 0.1)
    assert all(domain.contains(value) for _, value, _ in marks)
    for place, value, _ in marks:
        assert place == pytest.approx(to_unit(domain, value))
    places = [mark[0] for mark in marks]
    assert (np.diff(places) >= 0.1 - 1e-12).all()
    assert len({text for _, _, text in marks}) == len(marks)


def test_both_ends_of_numbers_have_marks() -> None:
    for domain in (Float(1e-4, 1e-1, log=True), Int(8, 512, log=True), Float(-1.0, 2.0)):
        values = [value for _, value, _ in scales.marks(domain, 0.1)]
        assert (values[0], values[-1]) == (domain.low, domain.high)


def test_choices_that_read_alike_have_marks_that_differ() -> None:
    def functions() -> list[Any]:
        return [lambda: 1, lambda: 2]

    for values in ([1, "1"], functions()):
        texts = [text for _, _, text in scales.marks(Choice(*values), 0.1)]
        assert len(set(texts)) == 2


def test_a_choice_lies_at_its_index_and_a_number_at_itself() -> None:
    kinds = Choice("a", None, 3)
    assert [scales.place(kinds, value) for value in ("a", None, 3)] == [0, 1, 2]
    assert [scales.place(Bool(), value) for value in (False, True)] == [0, 1]
    assert scales.place(Int(1, 9), 4) == 4.0


@pytest.mark.parametrize("name", DOMAINS)
def test_the_axis_of_a_parameter_shows_every_value_of_it(name: str) -> None:
    domain = DOMAINS[name]
    ax = new_figure((4, 3)).add_subplot()
    scales.parameter_axis(ax, domain)
    low, high = ax.get_xlim()
    assert all(
        low <= scales.place(domain, value) <= high for _, value, _ in scales.marks(domain, 0)
    )
    assert ax.get_xscale() == ("log" if getattr(domain, "log", False) else "linear")


def test_lines_are_spread_within_a_third_of_a_mark_where_values_are_few() -> None:
    table = drawn(50)
    found = scales.spread(table, Space(SPACE.domains))
    names = list(SPACE.domains)
    assert not found[:, [names.index("rate"), names.index("momentum")]].any()
    assert np.abs(found[:, names.index("units")]).max() <= 0.15 / 4 + 1e-12
    assert len(set(found[:, names.index("units")])) == 50
    one = scales.golden(table)
    assert np.abs(np.diff(one)).min() > 0.3, "neighbours are far apart"


def test_an_axis_of_scores_says_which_way_is_better() -> None:
    ax = new_figure((4, 3)).add_subplot()
    scales.score_axis(ax, [], True, "f1")
    assert ax.get_ylabel() == "f1 (higher is better)" and not len(ax.get_yticks())
    scales.score_axis(ax, [1.0, 2.0, 3.0, 0.0, 1e6], False, "loss")
    assert ax.get_ylabel() == "loss (lower is better)" and ax.get_yscale() == "symlog"


def test_failed_trials_are_marked_at_the_edge_where_bad_scores_are() -> None:
    for maximize, edge in ((True, 0.02), (False, 0.98)):
        ax = new_figure((4, 3)).add_subplot()
        scales.mark_failed(ax, [], maximize)
        assert not ax.lines
        scales.mark_failed(ax, [3, 5], maximize)
        assert ax.lines[0].get_label() == "failed (2)"
        assert ax.lines[0].get_ydata().tolist() == [edge, edge]


def test_rungs_have_colours_of_their_own_and_the_lowest_is_grey() -> None:
    assert scales.strength([]) == []
    found = scales.strength([0, 1, 2])
    assert found[0] == "0.6" and len({str(colour) for colour in found}) == 3
    assert scales.strength([1, 2]) == found[1:]
