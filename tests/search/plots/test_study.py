"""What search.plots draws of a study, read back from the Axes."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from plotted import (
    DOWN,
    SPACE,
    UP,
    curves,
    drawn,
    legend,
    line,
    lines_of,
    table,
    tick_texts,
    written,
)

from search.plots import (
    plot_curves,
    plot_history,
    plot_importance,
    plot_parallel,
    plot_rungs,
    plot_slice,
)
from search.space import Space
from trainer import Bool, Choice, Float, Int
from trainer.utils.figures import WRONG

pytestmark = pytest.mark.usefixtures("drawn_without_warnings")


# History


@pytest.mark.parametrize(
    ("options", "best", "title"),
    [
        (UP, [0.5, 0.5, 0.9, 0.9, 0.9], "best 0.9, trial 3; 5 trials, 1 failed"),
        (DOWN, [0.5, 0.4, 0.4, 0.2, 0.2], "best 0.2, trial 4; 5 trials, 1 failed"),
    ],
)
def test_a_history_shows_scores_the_best_so_far_and_failures(
    options: dict[str, Any], best: list[float], title: str
) -> None:
    results = table([0.5, 0.4, np.nan, 0.9, 0.2]).sample(frac=1, random_state=0)
    ax = written(plot_history(results, **options))
    offsets = np.asarray(ax.collections[0].get_offsets())
    np.testing.assert_allclose(offsets, [[0, 0.5], [1, 0.4], [3, 0.9], [4, 0.2]])
    step = line(ax, "best so far")
    np.testing.assert_allclose(step.get_xdata(), [0, 1, 3, 4, 4])
    np.testing.assert_allclose(step.get_ydata(), best)
    assert step.get_drawstyle() == "steps-post"
    crosses = line(ax, "failed (1)")
    assert list(crosses.get_xdata()) == [2]
    assert list(crosses.get_ydata()) == [0.02 if options is UP else 0.98], "at the worse edge"
    assert crosses.get_color() == WRONG
    assert (ax.get_title(), ax.get_xlabel()) == (title, "trial")
    better = "higher" if options is UP else "lower"
    assert ax.get_ylabel() == f"{options['objective']} ({better} is better)"


def test_a_history_goes_on_to_the_last_trial_that_was_asked_for() -> None:
    results = table([0.5, np.nan, np.nan])
    results["state"] = ["completed", "running", "waiting"]
    ax = plot_history(results, **UP)
    np.testing.assert_allclose(line(ax, "best so far").get_xdata(), [0, 2])
    assert legend(ax) == ["trial", "best so far"], "what runs has not failed"


def test_a_history_by_rungs_has_a_colour_for_each() -> None:
    ax = written(plot_history(table([0.1, 0.2, 0.3, 0.4], rung=[0, 0, 1, 2]), **UP))
    assert legend(ax) == ["rung 0", "rung 1", "rung 2", "best so far"]
    colours = {tuple(points.get_facecolor()[0]) for points in ax.collections}
    assert len(colours) == 3
    assert len(ax.collections[0].get_offsets()) == 2


@pytest.mark.parametrize(
    ("scores", "options", "scale"),
    [
        ([0.3, 0.4, 500.0], DOWN, "log"),
        ([-0.3, -0.4, -500.0], UP, "symlog"),
        ([0.5, 0.6, 0.4, -1e8], UP, "symlog"),
        ([0.001, 0.5, 0.99], UP, "linear"),
        ([0.3, 0.4, 0.5], DOWN, "linear"),
        ([0.0, 0.0, 0.0], DOWN, "linear"),
    ],
)
def test_scores_far_off_on_the_bad_side_make_the_axis_logarithmic(
    scores: list[float], options: dict[str, Any], scale: str
) -> None:
    ax = written(plot_history(table(scores), **options))
    assert ax.get_yscale() == scale
    to_pixels = ax.transData.transform
    good = [to_pixels((0, s))[1] for s in scores if abs(s) < 1]
    if scale != "linear":
        height = ax.get_window_extent().height
        assert max(good) - min(good) > 0.02 * height, "the good ones can be told apart"


# Parallel coordinates


def test_parallel_axes_are_spread_as_the_space_is_and_the_best_is_on_top() -> None:
    space = Space({"rate": Float(1e-4, 1e-2, log=True), "units": Int(0, 99), "drop": Float(0, 1)})
    results = table(
        [0.5, 0.1, 0.9], rate=[1e-4, 1e-3, 1e-2], units=[0, 50, 99], drop=[0.0, 0.25, 1.0]
    )
    ax = written(plot_parallel(results, space, **DOWN))
    heights = np.array([path[:, 1] for path in lines_of(ax)])
    # worst first, so that the best is drawn over the others
    np.testing.assert_allclose(heights[:, 0], [1, 0, 0.5], atol=1e-9)
    np.testing.assert_allclose(heights[:, 1], [0.995, 0.005, 0.505])
    np.testing.assert_allclose(heights[:, 2], [1, 0, 0.25])
    np.testing.assert_allclose(heights[:, 3], [0, 0.5, 1])
    assert tick_texts(ax) == ["rate", "units", "drop", "val_loss"]
    widths = [c for c in ax.collections if isinstance(c, LineCollection)][1].get_linewidths()
    assert widths[-1] == 3 > max(widths[:-1])
    marks = {(t.get_text(), round(t.get_position()[1], 3)) for t in ax.texts}
    assert {("0.0001", 0), ("0.001", 0.5), ("0.01", 1), ("0.1", 1), ("0.9", 0)} <= marks


def test_a_parameter_that_a_condition_switches_off_passes_below_its_axis() -> None:
    space = Space({"kind": Choice("a", None), "momentum": Float(0, 1, when={"kind": ("a",)})})
    results = table([0.2, 0.1], kind=["a", None], momentum=[0.7, np.nan])
    ax = written(plot_parallel(results, space, **UP))
    inactive, active = lines_of(ax)
    assert inactive[1, 1] == -0.15
    assert active[1, 1] == pytest.approx(0.7)
    # None is a choice here, not a gap: near the middle of its half
    assert inactive[0, 1] == pytest.approx(0.75, abs=0.08)
    below = [text for text in ax.texts if text.get_text() == "inactive"]
    assert [text.get_position() for text in below] == [(0.95, -0.15)]


def test_values_come_back_as_the_space_has_them_from_what_pandas_made_of_them() -> None:
    space = Space(
        {
            "kind": Choice("a", "b", None),
            "units": Int(1, 9, when={"kind": ("a",)}),
            "size": Choice(1, 2, when={"kind": ("a",)}),
            "flag": Bool(when={"kind": ("a",)}),
        }
    )
    rows = [{"kind": "a", "units": 3, "size": 2, "flag": True}, {"kind": None}, {"kind": "b"}]
    results = table([0.1, 0.2, 0.3]).join(pd.DataFrame(rows))
    assert results["units"].dtype == results["size"].dtype == "float64"
    axes = plot_slice(results, space, **UP)
    np.testing.assert_allclose(axes[1].collections[0].get_offsets(), [[3, 0.1]])
    assert axes[2].collections[0].get_offsets()[0, 0] == pytest.approx(1, abs=0.31)
    assert axes[3].collections[0].get_offsets()[0, 0] == pytest.approx(1, abs=0.31)
    kinds = axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(np.round(kinds[:, 0]), [0, 2, 1])
    assert [ax.get_title() for ax in axes] == ["", *["active in 1 of 3 trials"] * 3]


def test_failed_trials_are_grey_and_end_before_the_scores() -> None:
    results = drawn(4)
    results.loc[2, ["state", "score"]] = ["failed", np.nan]
    ax = written(plot_parallel(results, SPACE, **UP))
    (failed,) = lines_of(ax, 0)
    assert failed[-1, 0] == len(SPACE.domains) - 1
    assert len(lines_of(ax)) == 3
    assert ax.get_title().endswith("grey: failed")


@pytest.mark.parametrize("n", [1, 60, 1000])
def test_the_labels_of_parallel_axes_do_not_overlap(n: int) -> None:
    ax = written(plot_parallel(drawn(n, failed=0.05), SPACE, **UP))
    boxes = [text.get_window_extent() for text in [*ax.texts, *ax.get_xticklabels()]]
    overlapping = [
        (a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.padded(-1).overlaps(b)
    ]
    assert overlapping == []
    assert "callbacks__\nearly_stopping__\npatience" in tick_texts(ax)
    edge = ax.figure.bbox
    assert all(box.x0 >= edge.x0 and box.x1 <= edge.x1 and box.y0 >= edge.y0 for box in boxes)
    # 1 and "1" would look the same
    texts = [text.get_text() for text in ax.texts]
    assert {"1", "a", "None", "True", "inactive"} <= set(texts)


def test_choices_that_look_alike_are_told_apart() -> None:
    space = Space({"kind": Choice(1, "1")})
    ax = plot_parallel(table([0.1, 0.2], kind=[1, "1"]), space, **UP)
    assert {"1", "'1'"} <= {text.get_text() for text in ax.texts}
    first, second = lines_of(ax)
    assert first[0, 1] < 0.5 < second[0, 1]


# Slices


def test_a_slice_has_the_scale_of_its_domain_and_the_best_as_a_star() -> None:
    results = drawn(50, failed=0.1)
    axes = plot_slice(results, SPACE, **UP)
    written(axes[0])
    assert [ax.get_xlabel() for ax in axes] == list(SPACE.domains)
    scales = [ax.get_xscale() for ax in axes]
    assert scales == ["log", "linear", "linear", "linear", "log", "linear"]
    done = results.dropna(subset="score")
    points = np.asarray(axes[0].collections[0].get_offsets())
    np.testing.assert_allclose(points, done[["rate", "score"]].to_numpy())
    best = done.loc[done["score"].idxmax()]
    star = np.asarray(axes[0].collections[1].get_offsets())
    np.testing.assert_allclose(star, [[best["rate"], best["score"]]])
    failed = results[results["state"] == "failed"]
    np.testing.assert_allclose(line(axes[0], "failed").get_xdata(), failed["rate"])
    assert [text.get_text() for text in axes[2].get_xticklabels()] == ["1", "a", "None", "True"]
    active = int((results["kind"] == "a").sum())
    assert axes[3].get_title() == f"active in {active} of 50 trials"
    assert len({ax.get_ylim() for ax in axes}) == 1


def test_a_slice_draws_the_names_it_is_given_in_their_order() -> None:
    axes = plot_slice(drawn(5), SPACE, **UP, names=["units", "rate"])
    assert [ax.get_xlabel() for ax in axes] == ["units", "rate"]
    assert plot_slice(drawn(5), SPACE, **UP, names="flag").shape == (1,)


def test_a_wide_range_of_whole_numbers_is_labelled_exactly() -> None:
    space = Space({"units": Int(1, 12345, log=True)})
    (ax,) = plot_slice(table([0.1, 0.2], units=[1, 12345]), space, **UP)
    assert ax.get_xticks()[-1] == 12345
    assert tick_texts(ax)[-1] == "12345"


# All of them


@pytest.mark.parametrize("n", [1, 1000])
def test_pictures_of_one_trial_and_of_a_thousand_are_written(n: int) -> None:
    results = drawn(n).assign(rung=0, epochs=1, parent=np.nan)
    for ax in (
        plot_history(results, **UP),
        plot_parallel(results, SPACE, **UP),
        plot_rungs(results, **UP),
        plot_slice(results, SPACE, **UP)[0],
    ):
        written(ax)
        title = ax.get_title() or ax.figure.get_suptitle()
        assert title.endswith(f"; {n:,} trial{'s' if n > 1 else ''}")


def test_pictures_of_a_study_that_failed_say_that_there_is_no_score() -> None:
    results = drawn(5, failed=1.0).assign(rung=0, epochs=1, parent=np.nan)
    for ax in (
        plot_history(results, **UP),
        plot_rungs(results, **UP),
        plot_slice(results, SPACE, **UP)[0],
    ):
        written(ax)
        assert (ax.get_title() or ax.figure.get_suptitle()) == "no score: 5 trials, 5 failed"
        assert len(line(ax, "failed (5)").get_xdata()) == 5
        assert list(ax.get_yticks()) == []
    ax = written(plot_parallel(results, SPACE, **UP))
    assert len(lines_of(ax, 0)) == 5
    assert tick_texts(ax)[-1] == "flag", "there is no axis of scores"


def test_pictures_are_drawn_into_given_axes() -> None:
    _, given = plt.subplots(1, 6)
    results = drawn(20).assign(rung=0, epochs=1, parent=np.nan)
    assert plot_history(results, **UP, ax=given[0]) is given[0]
    assert plot_parallel(results, SPACE, **UP, ax=given[1]) is given[1]
    assert plot_importance(results, SPACE, objective="score", ax=given[2]) is given[2]
    assert plot_rungs(results, **UP, ax=given[3]) is given[3]
    assert plot_curves(curves(2), metric="loss", ax=given[4]) is given[4]
    assert not given[5].lines
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize(
    ("results", "options", "error", "message"),
    [
        (drawn(0), UP, ValueError, "results has no rows: call fit"),
        ([1, 2], UP, TypeError, "results is a list: must be a DataFrame"),
        (drawn(3).drop(columns="score"), UP, ValueError, "results has no column 'score'"),
        (drawn(3).drop(columns="units"), UP, ValueError, "results has no column 'units'"),
        (drawn(3).assign(units=77), UP, ValueError, "results, trial 0: units=77: must lie in"),
        (drawn(3), UP | {"maximize": "max"}, TypeError, "maximize='max': must be True or False"),
        (drawn(3), UP | {"names": ["unit"]}, ValueError, "no parameter 'unit'; did you mean"),
        (drawn(3), UP | {"names": []}, ValueError, "must hold at least one name"),
    ],
)
def test_a_table_that_is_not_of_this_search_is_refused(
    results: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        plot_slice(results, SPACE, **options)
    assert plt.get_fignums() == []
