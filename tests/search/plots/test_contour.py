"""The score over two parameters: which names are taken, when there is a surface, what is marked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from plotted import DOWN, SPACE, UP, drawn, table

from search.plots.contour import NEIGHBOURS, plot_contour
from search.space import Space
from trainer import Float
from trainer.utils.figures import new_figure

pytestmark = pytest.mark.usefixtures("drawn_without_warnings")
TWO = Space({"a": Float(0.0, 1.0), "b": Float(0.0, 1.0)})


def _surfaces(ax: Axes) -> int:
    return sum(not isinstance(found, PathCollection) for found in ax.collections)


def _study(scores: list[float]) -> Any:
    line = np.linspace(0.1, 0.9, len(scores))
    return table(scores, a=line, b=line[::-1])


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        ("aa", "b", r"x='aa': the space has no such parameter; did you mean 'a'\?"),
        ("a", "c", "y='c': the space has no such parameter; "),
        ("b", "b", "x='b', y='b': must be two parameters"),
    ],
)
def test_names_that_are_not_two_parameters_are_refused(x: str, y: str, says: str) -> None:
    with pytest.raises(ValueError, match=f"^{says}"):
        plot_contour(_study([1.0, 2.0]), TWO, x, y, **UP)


def test_there_is_a_surface_as_soon_as_more_trials_than_neighbours_have_a_score() -> None:
    few = [0.1 * i for i in range(NEIGHBOURS)]
    assert _surfaces(plot_contour(_study([*few, np.nan]), TWO, "a", "b", **UP)) == 0
    assert _surfaces(plot_contour(_study([*few, 0.7]), TWO, "a", "b", **UP)) == 1


@pytest.mark.parametrize(("goal", "best"), [(UP, 2), (DOWN, 0)])
def test_the_star_is_at_the_best_trial_and_a_failed_one_is_a_cross(
    goal: dict[str, Any], best: int
) -> None:
    ax = plot_contour(_study([0.1, 0.2, 0.3, np.nan]), TWO, "a", "b", **goal)
    points, star, crosses = ax.collections
    line = np.linspace(0.1, 0.9, 4)
    np.testing.assert_allclose(points.get_offsets(), np.column_stack([line, line[::-1]])[:3])
    np.testing.assert_allclose(star.get_offsets(), [[line[best], line[::-1][best]]])
    np.testing.assert_allclose(crosses.get_offsets(), [[0.9, 0.1]])


def test_axes_may_be_given_and_are_named_after_their_parameters() -> None:
    own = new_figure((4, 3)).add_subplot()
    ax = plot_contour(drawn(20), SPACE, "momentum", "rate", **UP, ax=own)
    assert ax is own
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("momentum", "rate")
    assert "; both active in " in ax.get_title()


def test_a_study_without_a_score_is_drawn_without_a_bar_of_colours() -> None:
    ax = plot_contour(_study([np.nan, np.nan]), TWO, "a", "b", **UP)
    assert ax.figure.axes == [ax] and ax.get_title() == "no score: 2 trials, 2 failed"


def test_no_height_of_the_surface_is_beyond_those_of_the_trials() -> None:
    from search.plots.contour import _surface

    rng = np.random.default_rng(0)
    points, heights = rng.random((30, 2)), rng.random(30)
    across, up = np.meshgrid(np.linspace(0, 1, 20), np.linspace(0, 1, 20))
    found = _surface(points, heights, across, up)
    assert found.shape == (20, 20)
    assert heights.min() <= found.min() and found.max() <= heights.max()
    np.testing.assert_allclose(_surface(points, np.full(30, 0.5), across, up), 0.5)
