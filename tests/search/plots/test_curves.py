"""Trials as curves, through rungs and over epochs, read back from the Axes."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from plotted import (
    DOWN,
    UP,
    curves,
    legend,
    line,
    table,
    tick_texts,
    written,
)

from search.plots import (
    plot_curves,
    plot_rungs,
)

pytestmark = pytest.mark.usefixtures("drawn_without_warnings")


# Rungs


def halving() -> pd.DataFrame:
    return table(
        [0.1, 0.2, 0.3, np.nan, 0.5, 0.6, 0.8],
        rung=[0, 0, 0, 0, 1, 1, 2],
        epochs=[1, 1, 1, 1, 3, 3, 9],
        parent=[None, None, None, None, 1, 2, 5],
    )


def test_candidates_are_lines_through_their_parents_and_the_promoted_stand_out() -> None:
    ax = written(plot_rungs(halving(), **UP))
    np.testing.assert_allclose(line(ax, "not promoted (1)").get_xydata(), [[1, 0.1]])
    once, twice = line(ax, "promoted once (1)"), line(ax, "promoted 2 times (1)")
    np.testing.assert_allclose(once.get_xydata(), [[1, 0.2], [3, 0.5]])
    np.testing.assert_allclose(twice.get_xydata(), [[1, 0.3], [3, 0.6], [9, 0.8]])
    assert twice.get_linewidth() > once.get_linewidth() > 1
    assert twice.get_zorder() > once.get_zorder()
    assert line(ax, "not promoted").get_color() == "0.6"
    assert list(line(ax, "failed (1)").get_xdata()) == [1]
    assert ax.get_xscale() == "log"
    assert tick_texts(ax) == ["1", "3", "9"]
    assert ax.get_title() == "best 0.8, trial 6; 7 trials, 1 failed"


def test_many_candidates_have_one_entry_in_the_legend_for_each_promotion() -> None:
    rng = np.random.default_rng(0)
    n = 1000
    results = table(rng.random(n).tolist(), rung=0, epochs=2, parent=np.nan)
    results.loc[700:, ["rung", "epochs"]] = [1, 4]
    results.loc[700:, "parent"] = np.arange(300, dtype=float)
    ax = plot_rungs(results, **DOWN)
    assert legend(ax) == ["not promoted (400)", "promoted once (300)"]
    assert ax.get_xscale() == "linear"


@pytest.mark.parametrize("columns", [{}, {"rung": np.nan}])
def test_rungs_of_a_search_without_them_are_refused(columns: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"no trial has a rung.*plot_history"):
        plot_rungs(table([0.1, 0.2], **columns), **UP)


# Learning curves


def test_a_learning_curve_is_the_mean_over_folds() -> None:
    ax = written(plot_curves(curves(3), metric="loss", best=1))
    assert len(ax.lines) == 3
    for trial in range(3):
        found = line(ax, f"trial {trial}")
        np.testing.assert_allclose(found.get_xdata(), [1, 2, 3])
        np.testing.assert_allclose(found.get_ydata(), trial + 1 / np.arange(1, 4))
    assert legend(ax) == ["trial 0", "trial 1 (best)", "trial 2"]
    best = line(ax, "trial 1")
    assert best.get_linewidth() > line(ax, "trial 0").get_linewidth()
    assert (ax.get_title(), ax.get_ylabel()) == ("loss of 3 trials", "loss")


def test_of_a_thousand_curves_the_legend_names_the_best_alone() -> None:
    ax = plot_curves(curves(1000, folds=1), metric="loss", best=7)
    assert len(ax.lines) == 1000
    assert legend(ax) == ["trial 7 (best)"]
    assert line(ax, "trial 7 (best)").get_color() != line(ax, "trial 8").get_color()
    assert legend(plot_curves(curves(1000, folds=1), metric="loss")) == []


def test_chosen_trials_alone_are_drawn() -> None:
    ax = plot_curves(curves(20), metric="loss", trials=[4, 2])
    assert legend(ax) == ["trial 4", "trial 2"]


def test_a_fold_that_diverged_makes_a_gap_and_an_epoch_that_nobody_logged_does_not() -> None:
    table = curves(2, epochs=4)
    table.loc[table["epoch"] == 2, "loss"] = np.nan
    table.loc[(table["trial"] == 1) & (table["fold"] == 1) & (table["epoch"] == 4), "loss"] = np.nan
    ax = plot_curves(table, metric="loss")
    np.testing.assert_allclose(line(ax, "trial 0").get_xdata(), [1, 3, 4])
    np.testing.assert_allclose(line(ax, "trial 1").get_ydata(), [2, 4 / 3, np.nan])


@pytest.mark.parametrize(("metric", "scale"), [("val_loss", "log"), ("val_accuracy", "linear")])
def test_curves_of_losses_that_span_three_powers_of_ten_are_logarithmic(
    metric: str, scale: str
) -> None:
    table = curves(1, folds=1).assign(**{metric: [1000.0, 1.0, 0.5]})
    assert plot_curves(table, metric=metric).get_yscale() == scale


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "los"}, "metric='los': was not logged; did you mean 'loss'"),
        ({"metric": "loss", "trials": [0, 9]}, "trials: trial 9 has no epochs"),
        ({"metric": "loss", "trials": [0], "best": 1}, "best: trial 1 has no epochs"),
        ({"metric": "loss", "trials": []}, r"trials=\[\]: must hold at least one number"),
        ({"metric": "nothing"}, "metric='nothing': no trial logged a finite value"),
    ],
)
def test_curves_that_are_not_there_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plot_curves(curves(2).assign(nothing=np.nan), **options)
    assert plt.get_fignums() == []


@pytest.mark.parametrize("trials", [5, "01"])
def test_curves_of_what_is_no_list_of_trials_are_refused(trials: Any) -> None:
    with pytest.raises(TypeError, match=r"trials=.*: must be a list of numbers.*trials=\[0, 1\]"):
        plot_curves(curves(2), metric="loss", trials=trials)
