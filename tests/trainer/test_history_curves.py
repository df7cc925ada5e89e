"""The learning curves that trainer.history draws, read back from the Axes; and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes

import trainer.plots
from trainer.history import History, plot_history

pytestmark = pytest.mark.usefixtures("drawn_without_warnings")


def history_of(rates: list[float] | None = None, **logs: list[float]) -> History:
    history = History()
    for i in range(len(next(iter(logs.values())))):
        values = {name: column[i] for name, column in logs.items() if column[i] is not None}
        history.append(i + 1, values, learning_rate=rates[i] if rates else 0.1, seconds=1.0)
    return history


def usual() -> History:
    return history_of(
        loss=[0.9, 0.5, 0.4],
        accuracy=[0.6, 0.8, 0.9],
        val_loss=[1.0, 0.7, 0.8],
        val_accuracy=[0.5, 0.7, 0.6],
    )


def titles(axes: np.ndarray) -> list[str]:
    return [ax.get_title() for ax in axes.flat]


def legend_texts(legend: Any) -> list[str]:
    return [text.get_text() for text in legend.get_texts()]


def notes(ax: Axes) -> list[str]:
    return [line for text in ax.texts for line in text.get_text().split("\n")]


def test_each_metric_is_drawn_with_its_validation_on_axes_of_its_own() -> None:
    axes = plot_history(usual())
    assert axes.dtype == object
    assert axes.shape == (2,)
    assert titles(axes) == ["loss", "accuracy"]
    training, validation = axes[0].lines
    np.testing.assert_array_equal(training.get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(training.get_ydata(), [0.9, 0.5, 0.4])
    np.testing.assert_array_equal(validation.get_ydata(), [1.0, 0.7, 0.8])
    assert training.get_color() != validation.get_color()
    assert training.get_linestyle() != validation.get_linestyle()
    assert legend_texts(axes[1].get_legend()) == ["training", "validation"]
    assert all(line.get_visible() for line in axes[0].get_xgridlines())


def test_losses_come_first_then_metrics_then_a_learning_rate_that_varies() -> None:
    logs = {"mae": [1.0, 2.0], "price_loss": [1.0, 2.0], "val_loss": [3.0, 4.0], "loss": [1.0, 2.0]}
    axes = plot_history(history_of(rates=[0.1, 0.05], **logs))
    assert titles(axes) == ["price_loss", "loss", "mae", "learning_rate"]
    np.testing.assert_array_equal(axes[3].lines[0].get_ydata(), [0.1, 0.05])
    assert len(axes[3].lines) == 1


def test_a_constant_or_unknown_learning_rate_is_drawn_only_if_asked() -> None:
    constant = usual()
    assert "learning_rate" not in titles(plot_history(constant))
    assert titles(plot_history(constant, ["learning_rate"])) == ["learning_rate"]
    unknown = History()
    unknown.append(1, {"loss": 1.0}, learning_rate=None, seconds=1.0)
    assert titles(plot_history(unknown)) == ["loss"]
    with pytest.raises(ValueError, match="'learning_rate' was not logged"):
        plot_history(unknown, ["learning_rate"])


def test_names_choose_the_axes_and_a_validation_name_asks_for_those_of_its_metric() -> None:
    axes = plot_history(usual(), ["accuracy", "val_loss", "val_accuracy", "seconds"])
    assert titles(axes) == ["accuracy", "loss", "seconds"]
    assert [len(ax.lines) for ax in axes] == [2, 2, 1]
    assert titles(plot_history(usual(), "loss")) == ["loss"]


def test_several_runs_share_axes_in_colours_of_their_own() -> None:
    short = history_of(loss=[2.0, 1.0], val_loss=[2.5, 1.5])
    axes = plot_history({"raw": short, "scaled": usual()})
    assert titles(axes) == ["loss", "accuracy"]
    lines = {line.get_label(): line for line in axes[0].lines}
    assert list(lines) == [
        "raw, training",
        "raw, validation",
        "scaled, training",
        "scaled, validation",
    ]
    np.testing.assert_array_equal(lines["raw, validation"].get_ydata(), [2.5, 1.5])
    assert lines["raw, training"].get_color() == lines["raw, validation"].get_color()
    assert lines["raw, training"].get_color() != lines["scaled, training"].get_color()
    assert [line.get_label() for line in axes[1].lines] == [
        "scaled, training",
        "scaled, validation",
    ]
    (legend,) = axes[0].figure.legends
    assert legend_texts(legend) == ["raw", "scaled", "training", "validation"]


def test_any_number_of_runs_has_distinct_colours() -> None:
    axes = plot_history({f"trial {i}": history_of(loss=[1.0, float(i)]) for i in range(20)})
    colours = {matplotlib.colors.to_hex(line.get_color()) for line in axes[0].lines}
    assert len(colours) == 20
    assert "validation" not in legend_texts(axes[0].figure.legends[0])


def test_a_loss_that_went_to_nan_ends_and_is_named(png_size: Callable[[Axes], int]) -> None:
    nan = math.nan
    axes = plot_history(history_of(loss=[2.0, 1.5, nan, nan], val_loss=[2.0, 1.7, nan, nan]))
    assert notes(axes[0]) == ["NaN from epoch 3"]
    np.testing.assert_array_equal(axes[0].lines[0].get_ydata(), [2.0, 1.5, nan, nan])
    assert axes[0].get_xlim()[1] > 4
    (end, _) = axes[0].collections
    np.testing.assert_array_equal(end.get_offsets(), [[2, 1.5]])
    png_size(axes[0])


@pytest.mark.parametrize(
    ("logs", "expected"),
    [
        ({"loss": [math.nan, math.nan]}, ["NaN from epoch 1"]),
        ({"loss": [1.0, math.inf]}, ["infinite from epoch 2"]),
        ({"loss": [1.0, math.inf, math.nan]}, ["NaN or infinite from epoch 2"]),
        ({"loss": [1.0, math.nan, 0.5]}, ["NaN in epoch 2"]),
        ({"loss": [math.nan] * 6 + [0.5]}, ["NaN in epochs 1, 2, 3, 4, 5, ..."]),
        ({"loss": [1.0, 2.0], "val_loss": [1.0, math.nan]}, ["validation: NaN from epoch 2"]),
        (
            {"loss": [1.0, math.nan, math.nan], "val_loss": [math.nan] * 3},
            ["training: NaN from epoch 2", "validation: NaN from epoch 1"],
        ),
        ({"loss": [1.0, 2.0]}, []),
    ],
)
def test_values_that_are_not_finite_are_named_with_their_epochs(
    logs: dict[str, list[float]], expected: list[str], png_size: Callable[[Axes], int]
) -> None:
    ax = plot_history(history_of(**logs))[0]
    assert notes(ax) == expected
    png_size(ax)


def test_a_note_names_its_run() -> None:
    bad = history_of(loss=[1.0, math.nan], val_loss=[1.0, 2.0])
    ax = plot_history({"raw": bad, "scaled": usual()}, "loss")[0]
    assert notes(ax) == ["raw, training: NaN from epoch 2"]


def test_many_notes_are_cut_to_four_lines() -> None:
    runs = {f"trial {i}": history_of(loss=[1.0, math.nan]) for i in range(6)}
    assert notes(plot_history(runs)[0]) == [
        "trial 0: NaN from epoch 2",
        "trial 1: NaN from epoch 2",
        "trial 2: NaN from epoch 2",
        "and 3 more",
    ]


def test_a_metric_logged_in_some_epochs_only_is_joined_over_the_others() -> None:
    ax = plot_history(history_of(loss=[3.0, 2.0, 1.0], val_loss=[3.5, None, 1.5]))[0]
    np.testing.assert_array_equal(ax.lines[1].get_xdata(), [1, 3])
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), [3.5, 1.5])
    assert notes(ax) == []


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 40, 1000])
def test_epoch_ticks_are_whole_and_within_the_training(
    epochs: int, png_size: Callable[[Axes], int]
) -> None:
    ax = plot_history(history_of(loss=[1.0] * epochs))[0]
    png_size(ax)
    low, high = ax.get_xlim()
    ticks = [tick for tick in ax.get_xticks() if low <= tick <= high]
    assert ticks
    assert all(tick == int(tick) and 1 <= tick <= epochs for tick in ticks)


def test_a_point_without_a_neighbour_has_a_marker() -> None:
    values = [1.0] * 40
    values[10] = values[12] = math.nan
    line = plot_history(history_of(loss=values))[0].lines[0]
    assert line.get_markevery() == [11]
    assert plot_history(history_of(loss=[0.5]))[0].lines[0].get_markevery() == [0]


def test_losses_of_different_magnitude_get_a_logarithmic_axis() -> None:
    axes = plot_history(history_of(loss=[5e4, 0.5], accuracy=[0.0001, 0.9], mae=[3.0, 1.0]))
    assert [ax.get_yscale() for ax in axes] == ["log", "linear", "linear"]
    assert plot_history(history_of(loss=[5e4, -0.5]))[0].get_yscale() == "linear"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((usual(), ["acuracy"]), ValueError, "names: 'acuracy' .* did you mean 'accuracy'?"),
        ((usual(), [3]), ValueError, "names: 3 was not logged"),
        ((usual(), []), ValueError, r"names=\[\]"),
        ((History(),), ValueError, "history has no epochs: call fit"),
        (({"a": usual(), "b": History()},), ValueError, r"history\['b'\] has no epochs"),
        (({},), ValueError, r"history=\{\}: has no histories"),
        (([1.0, 0.5],), TypeError, "history is of type list: must be a History, such as tr"),
        (({"loss": [1.0]},), TypeError, r"history\['loss'\] is of type list"),
        ((history_of(loss=[None]),), ValueError, "no epoch logged a loss or a metric"),
    ],
)
def test_curves_that_cannot_be_drawn_are_refused(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        plot_history(*arguments)
    assert plt.get_fignums() == []


def test_trainer_plots_offers_the_curves_too() -> None:
    assert trainer.plots.plot_history is plot_history
    assert "plot_history" in trainer.plots.__all__
