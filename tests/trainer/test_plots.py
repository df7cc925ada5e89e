"""What trainer.plots draws, read back from the Axes; and what it refuses to draw."""

from __future__ import annotations

import gc
import io
import math
import sys
import types
import warnings
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from trainer.history import History
from trainer.plots import plot_confusion_matrix, plot_history, plot_images, plot_residuals

NAMES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"]


@pytest.fixture(autouse=True)
def _headless_and_without_warnings() -> Iterator[None]:
    matplotlib.use("Agg")
    plt.close("all")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    plt.close("all")


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


def tick_texts(labels: Any) -> list[str]:
    return [label.get_text() for label in labels]


def png_size(ax: Axes) -> int:
    buffer = io.BytesIO()
    ax.figure.savefig(buffer, format="png")
    assert buffer.getvalue().startswith(b"\x89PNG")
    return len(buffer.getvalue())


# Learning curves


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


def test_a_loss_that_went_to_nan_ends_and_is_named() -> None:
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
    logs: dict[str, list[float]], expected: list[str]
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
def test_epoch_ticks_are_whole_and_within_the_training(epochs: int) -> None:
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
        (({},), ValueError, r"history=\{\}: holds no training"),
        (([1.0, 0.5],), TypeError, "history is a list: must be a History, such as trainer.hist"),
        (({"loss": [1.0]},), TypeError, r"history\['loss'\] is a list"),
        ((history_of(loss=[None]),), ValueError, "no epoch logged a loss or a metric"),
    ],
)
def test_curves_that_cannot_be_drawn_are_refused(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        plot_history(*arguments)
    assert plt.get_fignums() == []


# Confusion matrix


def test_a_confusion_matrix_counts_true_in_rows_and_predicted_in_columns() -> None:
    ax = plot_confusion_matrix([0, 0, 1, 2, 2, 2], [0, 1, 1, 2, 2, 0])
    np.testing.assert_array_equal(ax.images[0].get_array(), [[1, 1, 0], [0, 1, 0], [1, 0, 2]])
    assert [text.get_text() for text in ax.texts] == ["1", "1", "0", "0", "1", "0", "1", "0", "2"]
    assert ax.get_title() == "accuracy 0.667 on 6 rows"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Predicted label", "True label")


@pytest.mark.parametrize(
    ("normalize", "expected"), [("true", [[0.5, 0.5], [0, 1]]), ("pred", [[1, 0.5], [0, 0.5]])]
)
def test_a_normalised_matrix_holds_fractions(normalize: Any, expected: list[list[float]]) -> None:
    ax = plot_confusion_matrix([0, 0, 1], [0, 1, 1], normalize=normalize)
    np.testing.assert_allclose(ax.images[0].get_array(), expected)
    assert ax.texts[0].get_text() == f"{expected[0][0]:.2f}"
    assert ax.images[0].get_clim() == (0, 1)


def test_class_names_name_integer_labels_by_position_absent_classes_included() -> None:
    ax = plot_confusion_matrix([0, 4, 4], np.array([[0.0], [4.0], [1.0]]), class_names=NAMES)
    assert tick_texts(ax.get_yticklabels()) == NAMES
    matrix = ax.images[0].get_array()
    assert matrix.shape == (5, 5)
    assert (matrix[0, 0], matrix[4, 4], matrix[4, 1]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("true", "predicted", "class_names", "expected"),
    [
        (["cat", "dog"], ["dog", "dog"], None, ["cat", "dog"]),
        (["cat", "dog"], ["dog", "dog"], ["dog", "cat", "cow"], ["dog", "cat", "cow"]),
        (pd.Series(["b", "a"], dtype="category"), ["a", "a"], None, ["a", "b"]),
        ([True, False], [1, 1], ["no", "yes"], ["no", "yes"]),
        ([True, False], [True, True], None, ["False", "True"]),
        ([-1, 7], [7, 7], None, ["-1", "7"]),
        (np.array([3], "uint64"), np.array([5], "int8"), None, ["3", "5"]),
    ],
)
def test_labels_of_any_type_are_named(
    true: Any, predicted: Any, class_names: Any, expected: list[str]
) -> None:
    ax = plot_confusion_matrix(true, predicted, class_names=class_names)
    assert tick_texts(ax.get_xticklabels()) == expected
    position = expected.index(str(np.asarray(true)[0])) if class_names is None else None
    if position is not None:
        assert ax.images[0].get_array()[position].sum() == 1
    assert ax.images[0].get_array().sum() == len(true)


def test_a_hundred_classes_have_labels_that_do_not_overlap_and_no_numbers() -> None:
    names = [f"aquarium_{i}" for i in range(100)]
    rng = np.random.default_rng(0)
    true = rng.integers(0, 100, 5000)
    predicted = np.where(rng.random(5000) < 0.8, true, rng.integers(0, 100, 5000))
    ax = plot_confusion_matrix(true, predicted, class_names=names)
    assert len(ax.texts) == 0
    assert len(ax.figure.axes) == 2, "a colour bar stands for the numbers"
    png_size(ax)
    for labels, side in ((ax.get_xticklabels(), "x"), (ax.get_yticklabels(), "y")):
        assert tick_texts(labels) == names
        boxes = [label.get_window_extent() for label in labels]
        ends = sorted((getattr(box, f"{side}0"), getattr(box, f"{side}1")) for box in boxes)
        overlap = max(one[1] - two[0] for one, two in zip(ends, ends[1:], strict=False))
        assert overlap < 1.5, "pixels, of a line height that includes the space between lines"


@pytest.mark.parametrize("n", [2, 10, 30])
def test_numbers_stay_within_their_cells(n: int) -> None:
    labels = np.repeat(np.arange(n), 1500)
    ax = plot_confusion_matrix(labels, labels, class_names=[f"class {i}" for i in range(n)])
    assert len(ax.texts) == n * n
    png_size(ax)
    cell = ax.get_window_extent().width / n
    assert max(text.get_window_extent().width for text in ax.texts) < cell


def test_a_confusion_matrix_is_drawn_into_given_axes() -> None:
    figure, given = plt.subplots(1, 2, figsize=(5, 2))
    assert plot_confusion_matrix([0, 1], [0, 1], ax=given[1]) is given[1]
    assert given[1].figure is figure
    assert not given[0].images
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize(
    ("true", "predicted", "options", "message"),
    [
        ([0, 1, 1], [0, 1], {}, "y_true has 3 rows and y_pred has 2"),
        ([0, 1], [0, 5], {"class_names": NAMES}, "class_names: has 5 names, but .* label 5"),
        ([0, -1], [0, 1], {"class_names": NAMES}, "class_names: has 5 names, but .* label -1"),
        (["cat"], ["cow"], {"class_names": ["cat"]}, "class_names=.*'cow' is missing"),
        (["cat"], ["cat"], {"class_names": ["cat", "cat"]}, "one is there twice"),
        ([0, 1], [[0.9, 0.1], [0.2, 0.8]], {}, r"y_pred has shape \(2, 2\).*argmax"),
        ([0, 1], [0.2, 0.8], {}, "y_pred holds continuous numbers"),
        ([0, 1], ["cat", "dog"], {}, "y_true holds 0 and y_pred 'cat': must be labels of one kind"),
        ([0, None], [0, 1], {}, "y_true contains NaN or None"),
        ([], [], {}, "y_true is empty"),
        ([0, 1], [0, 1], {"normalize": "all"}, "normalize='all': must be one of None, 'true'"),
    ],
)
def test_a_confusion_matrix_of_bad_labels_is_refused(
    true: Any, predicted: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        plot_confusion_matrix(true, predicted, **options)
    assert plt.get_fignums() == []


# Images


def test_images_fill_a_grid_with_class_names_and_what_is_left_over_is_hidden() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 5, 7), dtype=np.uint8)
    axes = plot_images(images, [0, 1, 2, 4], class_names=NAMES, rows=2, columns=3)
    assert axes.shape == (2, 3)
    assert titles(axes) == ["T-shirt/top", "Trouser", "Pullover", "Coat", "", ""]
    np.testing.assert_array_equal(axes[1, 0].images[0].get_array(), images[3])
    assert axes[0, 0].images[0].get_cmap().name == "gray"
    assert not axes[1, 2].images
    assert not any(ax.axison for ax in axes.flat)
    png_size(axes[0, 0])


def test_only_as_many_images_as_there_are_axes_are_drawn() -> None:
    axes = plot_images(np.zeros((100, 4, 4)), np.arange(100))
    assert axes.shape == (3, 6)
    assert titles(axes) == [str(i) for i in range(18)]


def test_wrong_predictions_show_both_classes_in_bold_red() -> None:
    axes = plot_images(np.zeros((3, 4, 4)), [0, 1, 2], [0, 2, 2], class_names=NAMES, rows=1)
    assert titles(axes)[:3] == [
        "true: T-shirt/top\npredicted: T-shirt/top",
        "true: Trouser\npredicted: Pullover",
        "true: Pullover\npredicted: Pullover",
    ]
    red, green, blue = matplotlib.colors.to_rgb(axes[0, 1].title.get_color())
    assert red > 0.6 > 0.2 > max(green, blue)
    assert axes[0, 1].title.get_fontweight() == "bold"
    assert [axes[0, i].title.get_color() for i in (0, 2)] == ["black", "black"]


def test_predictions_without_labels_are_shown_and_not_judged() -> None:
    axes = plot_images(np.zeros((1, 4, 4)), predicted=[1], class_names=NAMES, rows=1, columns=1)
    assert titles(axes) == ["predicted: Trouser"]
    assert axes[0, 0].title.get_color() == "black"


def test_text_labels_are_titles_and_long_ones_are_cut() -> None:
    axes = plot_images(np.zeros((2, 4, 4)), ["cat", "x" * 80], [np.str_("cat"), "y" * 80], rows=1)
    assert titles(axes)[0] == "true: cat\npredicted: cat"
    assert max(map(len, titles(axes)[1].split("\n"))) == 22
    assert axes[0, 1].title.get_color() != "black"


@pytest.mark.parametrize(
    ("images", "limits"),
    [
        (np.array([[[0, 200]]], np.uint8), (0, 255)),
        (np.array([[[0.0, 0.7]]], np.float32), (0, 1)),
        (np.array([[[0.0, 15.0]]]), (0, 16)),
        (np.array([[[-1.5, 2.5]]]), (-1.5, 2.5)),
        (np.array([[[0, 40000]]], np.uint16), (0, 40000)),
        (np.array([[[True, False]]]), (0, 1)),
        (np.array([[[-3.0, -3.0]]]), (-3, -2)),
        (np.zeros((1, 2, 2), np.int64), (0, 1)),
    ],
    ids=["bytes", "unit", "digits", "standardised", "16 bits", "bool", "constant", "black"],
)
def test_the_range_of_grey_suits_the_numbers(
    images: np.ndarray, limits: tuple[float, float]
) -> None:
    ax = plot_images(images, rows=1, columns=1)[0, 0]
    assert ax.images[0].get_clim() == limits
    np.testing.assert_array_equal(ax.images[0].get_array(), images[0])
    png_size(ax)


def test_all_images_of_a_grid_share_one_range() -> None:
    axes = plot_images(np.array([[[-1.0, 0.0]], [[0.0, 3.0]]]), rows=1, columns=2)
    assert [ax.images[0].get_clim() for ax in axes.flat] == [(-1, 3), (-1, 3)]


@pytest.mark.parametrize(
    ("scale", "offset", "dtype"),
    [(1, 0, "uint8"), (1, 0, "float32"), (1 / 255, 0, "float64"), (2 / 255, -1, "float64")],
)
def test_colour_images_look_the_same_whatever_their_scale(
    scale: float, offset: float, dtype: str
) -> None:
    colours = np.array([[[[255, 0, 0], [0, 128, 255]]]])
    images = (colours * scale + offset).astype(dtype)
    ax = plot_images(images, rows=1, columns=1)[0, 0]
    shown = np.asarray(ax.images[0].get_array())
    shown = shown / 255 if shown.dtype == np.uint8 else shown
    np.testing.assert_allclose(shown, colours[0] / 255, atol=1e-6)


def test_a_single_image_and_a_single_channel_are_drawn() -> None:
    image = np.arange(12.0).reshape(3, 4)
    for given in (image, image[None], image[None, ..., None], image.tolist()):
        ax = plot_images(given, rows=1, columns=1)[0, 0]
        np.testing.assert_array_equal(ax.images[0].get_array(), image)


@pytest.mark.parametrize(
    ("images", "options", "error", "message"),
    [
        (np.zeros((1797, 64)), {}, ValueError, r"shape \(1797, 64\).*reshape\(-1, height, width\)"),
        (np.zeros((32, 32, 3)), {}, ValueError, r"shape \(32, 32, 3\).*images\[None\]"),
        (np.zeros((9, 3, 32, 32)), {}, ValueError, r"moveaxis\(images, 1, -1\)"),
        (np.zeros(64), {}, ValueError, r"images has shape \(64,\): must be \(n, height, width\)"),
        (np.zeros((0, 8, 8)), {}, ValueError, "images is empty"),
        (np.full((2, 8, 8), np.nan), {}, ValueError, r"images contains NaN.*images\[0, 0, 0\]"),
        (np.array([[["a"]]]), {}, ValueError, "images holds text"),
        (np.zeros((3, 8, 8)), {"labels": [1, 2]}, ValueError, "images has 3 rows and labels has 2"),
        (np.zeros((3, 8, 8)), {"predicted": [1]}, ValueError, "3 rows and predicted has 1"),
        (np.zeros((2, 8, 8)), {"labels": np.eye(2)}, ValueError, r"labels\.argmax\(axis=1\)"),
        (
            np.zeros((2, 8, 8)),
            {"labels": [1, 5], "class_names": NAMES},
            ValueError,
            "class_names: has 5 names, but there is a label 5.*from 0 to 5",
        ),
        (np.zeros((2, 8, 8)), {"rows": 0}, ValueError, "rows=0: must be 1 or more"),
        (np.zeros((2, 8, 8)), {"columns": 2.0}, TypeError, "columns=2.0: must be a whole number"),
    ],
)
def test_images_that_cannot_be_drawn_are_refused(
    images: np.ndarray, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        plot_images(images, **options)
    assert plt.get_fignums() == []


# Residuals


def test_residuals_are_true_minus_predicted_against_the_prediction() -> None:
    ax = plot_residuals([1.0, 2.0, 4.0], np.array([[1.5], [2.0], [3.0]]))
    (points,) = ax.collections
    np.testing.assert_allclose(points.get_offsets(), [[1.5, -0.5], [2.0, 0.0], [3.0, 1.0]])
    assert ax.get_title() == "RMSE 0.6455, MAE 0.5, R² 0.732"
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [0, 0])
    assert ax.get_xlabel() == "predicted"
    assert "true" in ax.get_ylabel()


def test_many_residuals_are_counted_in_hexagons_none_lost() -> None:
    rng = np.random.default_rng(0)
    predicted = rng.gamma(2, 1, 20_000)
    true = predicted + rng.normal(0, 0.5, 20_000)
    ax = plot_residuals(true, predicted)
    (hexagons,) = ax.collections
    assert hexagons.get_array().sum() == 20_000
    assert len(ax.figure.axes) == 2
    residual = true - predicted
    rmse, mae = np.sqrt(np.mean(residual**2)), np.mean(np.abs(residual))
    r2 = 1 - np.sum(residual**2) / np.sum((true - true.mean()) ** 2)
    assert ax.get_title() == f"RMSE {rmse:.4g}, MAE {mae:.4g}, R² {r2:.3f}"
    assert png_size(ax) < 200_000


def test_a_constant_prediction_and_a_single_row_are_drawn() -> None:
    png_size(plot_residuals(np.arange(5000), np.full(5000, 3.0)))
    ax = plot_residuals([1], [2])
    assert ax.get_title() == "RMSE 1, MAE 1, R² undefined"


def test_residuals_are_drawn_into_given_axes() -> None:
    _, given = plt.subplots()
    assert plot_residuals([1.0, 2.0], [1.0, 2.0], ax=given) is given
    assert len(given.collections) == 1


@pytest.mark.parametrize(
    ("true", "predicted", "message"),
    [
        ([1.0, 2.0], [1.0], "y_true has 2 rows and y_pred has 1"),
        ([1.0, np.nan], [1.0, 2.0], r"y_true contains NaN, first at y_true\[1\]"),
        ([1.0, 2.0], [1.0, np.inf], "y_pred contains infinity"),
        ([1.0, 2.0], np.ones((2, 2)), r"y_pred has shape \(2, 2\).*y_pred\[:, 0\]"),
        ([], [], "y_true is empty"),
        (["a"], ["b"], "y_true holds text"),
    ],
)
def test_residuals_of_bad_numbers_are_refused(true: Any, predicted: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plot_residuals(true, predicted)
    assert plt.get_fignums() == []


# Figures


def test_many_plots_leave_one_figure_open_and_free_the_others() -> None:
    figures = []
    for _ in range(30):  # pyplot warns at 20, and a warning is an error here
        figures.append(weakref.ref(plot_residuals([1.0, 2.0], [1.5, 2.0]).figure))
    gc.collect()
    assert len(plt.get_fignums()) == 1
    assert [ref() is not None for ref in figures] == [False] * 29 + [True]


def test_axes_that_are_held_can_be_saved_after_other_plots(tmp_path: Path) -> None:
    first = plot_history(usual())
    plot_residuals([1.0, 2.0], [1.5, 2.0])
    first[0].figure.savefig(tmp_path / "first.png")
    assert (tmp_path / "first.png").stat().st_size > 10_000


def test_pyplot_saves_the_newest_plot() -> None:
    ax = plot_images(np.zeros((1, 4, 4)), rows=1, columns=1)[0, 0]
    assert plt.gcf() is ax.figure


def test_figures_of_the_user_stay_open() -> None:
    own = plt.figure()
    for _ in range(3):
        plot_residuals([1.0, 2.0], [1.5, 2.0])
    assert own.number in plt.get_fignums()
    assert len(plt.get_fignums()) == 2


def test_where_figures_are_shown_all_of_them_stay_until_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As a notebook's: pyplot draws with it, and the notebook shows what pyplot holds.
    notebook = types.ModuleType("a_notebook_backend")
    notebook.FigureCanvas = FigureCanvasAgg  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "a_notebook_backend", notebook)
    plt.switch_backend("module://a_notebook_backend")
    try:
        axes = [plot_residuals([1.0, 2.0], [1.5, 2.0]) for _ in range(3)]
        assert [plt.figure(number) for number in plt.get_fignums()] == [ax.figure for ax in axes]
    finally:
        plt.close("all")
        plt.switch_backend("Agg")


def test_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("show() was called")

    monkeypatch.setattr(plt, "show", refuse)
    monkeypatch.setattr(matplotlib.figure.Figure, "show", refuse)
    drawn = [
        plot_history(usual())[0],
        plot_confusion_matrix([0, 1], [0, 1]),
        plot_images(np.zeros((1, 4, 4)), rows=1, columns=1)[0, 0],
        plot_residuals([1.0, 2.0], [1.5, 2.0]),
    ]
    assert all(png_size(ax) > 500 for ax in drawn)
