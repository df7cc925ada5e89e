"""The Pareto front: one panel for each pair of objectives, and a line of steps for two."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from plotted import legend

from search.plots.pareto import NAMED, plot_pareto

pytestmark = pytest.mark.usefixtures("drawn_without_warnings")
VALUES = {0: (1.0, 4.0), 1: (2.0, 2.0), 2: (4.0, 1.0), 3: (4.0, 4.0), 4: (0.0, 0.0)}
TWO: dict[str, Any] = {"names": ["loss", "seconds"], "maximize": [False, False]}


def _kinds(ax: Any) -> dict[str, list[list[float]]]:
    return {c.get_label(): c.get_offsets().tolist() for c in ax.collections}


def test_each_trial_is_drawn_once_by_what_it_is() -> None:
    (ax,) = plot_pareto(VALUES, **TWO, front=[0, 1, 2], infeasible=[4])
    assert _kinds(ax) == {
        "violates a constraint": [[0, 0]],
        "dominated": [[4, 4]],
        "Pareto front": [[1, 4], [2, 2], [4, 1]],
    }
    assert legend(ax) == list(_kinds(ax))
    assert sorted(text.get_text() for text in ax.texts) == ["0", "1", "2"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == (
        "loss (lower is better)",
        "seconds (lower is better)",
    )
    title = ax.figure.get_suptitle()
    assert title == "5 trials, 3 on the Pareto front, 1 violate a constraint"


@pytest.mark.parametrize("ways", [(False, False), (True, False), (False, True), (True, True)])
def test_the_steps_of_a_front_part_what_it_dominates_from_what_it_does_not(
    ways: tuple[bool, bool],
) -> None:
    values = np.array([VALUES[trial] for trial in (0, 1, 2)]) * np.where(ways, -1.0, 1.0)
    (ax,) = plot_pareto(dict(enumerate(values)), ["a", "b"], ways, front=[2, 0, 1])
    drawn = ax.lines[0].get_path().vertices
    ordered = values[values[:, 0].argsort()]
    np.testing.assert_array_equal(drawn[::2], ordered)
    both = np.stack([ordered[:-1], ordered[1:]])
    worse = np.where(ways, both.min(axis=0), both.max(axis=0))
    np.testing.assert_array_equal(drawn[1::2], worse)


def test_three_objectives_have_a_panel_for_each_pair_and_no_steps() -> None:
    values = {0: (1.0, 2.0, 3.0), 1: (3.0, 2.0, 1.0)}
    panels = plot_pareto(values, ["a", "b", "c"], [True, False, True], front=[0, 1])
    assert [(ax.get_xlabel()[0], ax.get_ylabel()[0]) for ax in panels] == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]
    assert not any(ax.lines for ax in panels)
    assert [legend(ax) for ax in panels] == [["Pareto front"], [], []]


def test_a_long_front_has_no_numbers_beside_it() -> None:
    for count in (NAMED, NAMED + 1):
        values = {i: (float(i), float(-i)) for i in range(count)}
        (ax,) = plot_pareto(values, **TWO, front=range(count))
        assert len(ax.texts) == (count if count <= NAMED else 0)


def test_what_has_no_two_objectives_or_no_values_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^names=\['loss'\]: must be two objectives or more$"):
        plot_pareto({0: (1.0,)}, ["loss"], [False], front=[0])
    with pytest.raises(ValueError, match="no trial has values of all objectives; call fit before"):
        plot_pareto({}, **TWO, front=[])
