"""When trials ran, how good they were, and the score over two parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from light_estimators import Bowl
from light_searches import R, X, sklearn_search
from matplotlib.collections import PathCollection
from plotted import DOWN, SPACE, UP, drawn, legend, table, written

from search.plots import (
    importance,
    plot_contour,
    plot_distribution,
    plot_importance,
    plot_parallel,
    plot_timeline,
)
from search.space import Space
from trainer import Choice, Float, Int

pytestmark = pytest.mark.usefixtures("drawn_without_warnings")


def test_a_timeline_has_a_row_for_each_trial_that_ran_at_once() -> None:
    trials = pd.DataFrame(
        {
            "trial": [0, 1, 2, 3, 4],
            "state": ["completed", "failed", "completed", "running", "waiting"],
            "started": [100.0, 100.0, 104.0, 110.0, np.nan],
            "ended": [104.0, 110.0, 112.0, np.nan, np.nan],
        }
    )
    ax = written(plot_timeline(trials))
    bars = [(b.get_x(), b.get_width(), round(b.get_y() + 0.4)) for b in ax.patches]
    assert bars == [(0, 4, 0), (0, 10, 1), (4, 8, 0), (10, 2, 1)]
    assert legend(ax) == ["completed (2)", "failed (1)", "running (1)"]
    assert ax.get_title() == "4 trials; workers busy 92% of the time"
    with pytest.raises(ValueError, match="none was started"):
        plot_timeline(trials[4:])


@pytest.mark.parametrize(("options", "shares"), [(UP, [0.25, 0.5, 0.75, 1]), (DOWN, [1, 0.75])])
def test_a_distribution_has_the_share_of_trials_that_are_not_better(
    options: dict[str, Any], shares: list[float]
) -> None:
    ax = written(
        plot_distribution({"a": table([0.4, 0.1, np.nan, 0.3, 0.2]), "b": table([0.5])}, **options)
    )
    first = ax.lines[0]
    np.testing.assert_allclose(first.get_xdata(), [0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(first.get_ydata()[: len(shares)], shares)
    assert legend(ax) == ["a (4)", "b (1)"]
    with pytest.raises(ValueError, match="'b' has no trial with a score"):
        plot_distribution({"b": table([np.nan])}, **options)
    with pytest.raises(TypeError, match="must be a dict from names to tables"):
        plot_distribution({}, **options)


def test_a_contour_shows_trials_where_both_parameters_are_active() -> None:
    results = drawn(60, failed=0.1)
    ax = written(plot_contour(results, SPACE, "rate", "momentum", **UP))
    points = [c for c in ax.collections if isinstance(c, PathCollection)]
    both = results.momentum.notna() & results.score.notna()
    assert len(points[0].get_offsets()) == both.sum()
    assert "both active in" in ax.get_title()
    assert ax.get_xlabel() == "rate" and ax.get_ylabel() == "momentum"
    written(plot_contour(drawn(4), SPACE, "kind", "flag", **DOWN))
    with pytest.raises(ValueError, match="x='rat': the space has no such parameter; did you mean"):
        plot_contour(results, SPACE, "rat", "units", **UP)
    with pytest.raises(ValueError, match="must be two parameters"):
        plot_contour(results, SPACE, "rate", "rate", **UP)


def additive(n: int) -> tuple[pd.DataFrame, Space]:
    rng = np.random.default_rng(0)
    space = Space({"a": Float(0, 1), "b": Choice("x", "y", "z"), "idle": Int(1, 9)})
    points = pd.DataFrame([space.draw(rng) for _ in range(n)])
    return table((3 * points.a + (points.b == "y")).tolist()).join(points), space


@pytest.mark.parametrize("method", ["fanova", "ped-anova"])
def test_optunas_importance_finds_what_matters_and_says_how_sure_it_is(method: str) -> None:
    results, space = additive(60)
    shares = importance(results, space, method=method, maximize=True)
    assert shares.index[0] == "a" and shares.index[-1] == "idle"
    assert shares.sum() == pytest.approx(1) and shares.attrs["spread"].keys() == set(space.domains)
    assert shares.equals(importance(results, space, method=method, maximize=True))
    ax = written(plot_importance(results, space, objective="score", method=method))
    assert "bootstrap samples" in ax.get_title() and "20" in ax.get_xlabel()


def test_an_unknown_importance_is_refused() -> None:
    results, space = additive(20)
    with pytest.raises(ValueError, match="method='anova': must be one of .*did you mean 'fanova'"):
        importance(results, space, method="anova")


def test_labels_of_parallel_axes_do_not_lie_over_lines_or_each_other() -> None:
    rng = np.random.default_rng(1)
    space = Space(
        {f"parameter_{i}": Float(1e-4, 1, log=True) for i in range(11)} | {"k": Int(1, 9)}
    )
    points = pd.DataFrame([space.draw(rng) for _ in range(200)])
    ax = written(plot_parallel(table(rng.random(200).tolist()).join(points), space, **UP))
    renderer = ax.figure.canvas.get_renderer()
    strips = [p.get_window_extent(renderer) for p in ax.patches]
    assert len(strips) == 12
    labels = [t for t in ax.texts if t.get_position()[0] < 11.5]
    boxes = [t.get_window_extent(renderer) for t in labels]
    for label, box in zip(labels, boxes, strict=True):
        strip = strips[round(label.get_position()[0] + 0.05)]
        assert strip.x0 - 1 <= box.x0 and box.x1 <= strip.x1 + 1, label.get_text()
    overlaps = sum(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert overlaps == 0


def test_a_search_draws_them_all() -> None:
    search = sklearn_search(Bowl(), {"a": Float(0, 1), "b": Float(0, 1)}, n_iter=12).fit(X, R)
    assert search.plot_timeline().get_yticklabels()[0].get_text() == "worker 1"
    assert search.plot_contour().get_xlabel() == "a"
    assert search.plot_contour(x="b").get_ylabel() == "a"
    assert legend(search.plot_distribution({"other": search})) == ["this study (12)", "other (12)"]
    one = sklearn_search(n_iter=2).fit(X, R)
    with pytest.raises(ValueError, match="the space has only 'a'; write plot_slice"):
        one.plot_contour()
