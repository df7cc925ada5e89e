"""What trainer.plots draws, read back from the Axes; and what it refuses to draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from trainer.plots import (
    plot_calibration,
    plot_confusion_matrix,
    plot_forecast,
    plot_images,
    plot_precision_recall,
    plot_residuals,
    plot_roc,
)

pytestmark = pytest.mark.usefixtures("drawn_without_warnings")

NAMES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"]


def titles(axes: np.ndarray) -> list[str]:
    return [ax.get_title() for ax in axes.flat]


def tick_texts(labels: Any) -> list[str]:
    return [label.get_text() for label in labels]


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


def test_a_hundred_classes_have_labels_that_do_not_overlap_and_no_numbers(
    png_size: Callable[[Axes], int],
) -> None:
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
def test_numbers_stay_within_their_cells(n: int, png_size: Callable[[Axes], int]) -> None:
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
        (["cat"], ["cat"], {"class_names": ["cat", "cat"]}, "one occurs twice"),
        ([0, 1], [[0.9, 0.1], [0.2, 0.8]], {}, r"y_pred has shape \(2, 2\).*argmax"),
        ([0, 1], [0.2, 0.8], {}, "y_pred contains continuous numbers"),
        (
            [0, 1],
            ["cat", "dog"],
            {},
            "y_true contains 0 and y_pred 'cat': must be labels of the same type",
        ),
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


def test_images_fill_a_grid_with_class_names_and_what_is_left_over_is_hidden(
    png_size: Callable[[Axes], int],
) -> None:
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
    images: np.ndarray, limits: tuple[float, float], png_size: Callable[[Axes], int]
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
        (np.array([[["a"]]]), {}, ValueError, "images contains text"),
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


def test_many_residuals_are_counted_in_hexagons_none_lost(png_size: Callable[[Axes], int]) -> None:
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


def test_a_constant_prediction_and_a_single_row_are_drawn(png_size: Callable[[Axes], int]) -> None:
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
        (["a"], ["b"], "y_true contains text"),
    ],
)
def test_residuals_of_bad_numbers_are_refused(true: Any, predicted: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plot_residuals(true, predicted)
    assert plt.get_fignums() == []


# Curves of probabilities

TWO = np.array([0, 0, 1, 1, 0, 1])
P = np.array([0.1, 0.4, 0.35, 0.8, 0.2, 0.9])
THREE = np.array(["a", "b", "c", "a", "b", "c"])
OF_THREE = np.eye(3)[[0, 1, 2, 0, 2, 1]] * 0.8 + 0.1


def lines(ax: Axes) -> list[Any]:
    """The curves, without the dashed and dotted lines that they are compared with."""
    return [line for line in ax.lines if line.get_linestyle() == "-"]


def test_the_curves_of_two_classes_are_those_of_scikit_learn() -> None:
    false, true, _ = roc_curve(TWO, P)
    (roc,) = lines(plot_roc(TWO, P))
    np.testing.assert_array_equal(roc.get_xydata(), np.stack([false, true], axis=1))
    precision, recall, _ = precision_recall_curve(TWO, P)
    ax = plot_precision_recall(TWO, P)
    np.testing.assert_array_equal(lines(ax)[0].get_xydata(), np.stack([recall, precision], axis=1))
    assert ax.lines[1].get_ydata()[0] == 0.5  # the share of the class
    right, given = calibration_curve(TWO, P, n_bins=6, strategy="quantile")
    (line,) = lines(plot_calibration(TWO, P))
    np.testing.assert_array_equal(line.get_xydata(), np.stack([given, right], axis=1))


def test_titles_have_the_measure_and_the_class() -> None:
    auc, ap = roc_auc_score(TWO, P), average_precision_score(TWO, P)
    assert plot_roc(TWO, P).get_title() == f"area under the curve of 1 {auc:.3f} on 6 rows"
    assert (
        f"of yes {ap:.3f}" in plot_precision_recall(TWO, P, class_names=["no", "yes"]).get_title()
    )
    assert f"{np.mean((P - TWO) ** 2):.3f}" in plot_calibration(TWO, P).get_title()


def test_two_columns_and_the_larger_label_alone_are_the_same_curve() -> None:
    both = lines(plot_roc(np.array(["no", "yes"])[TWO], np.stack([1 - P, P], axis=1)))
    assert len(both) == 1
    np.testing.assert_array_equal(both[0].get_xydata(), lines(plot_roc(TWO, P))[0].get_xydata())


@pytest.mark.parametrize("plot", [plot_roc, plot_precision_recall, plot_calibration])
def test_several_classes_have_one_curve_each(plot: Any, png_size: Callable[[Axes], int]) -> None:
    ax = plot(THREE, OF_THREE)
    assert len(lines(ax)) == 3
    assert [t.get_text()[:2] for t in ax.get_legend().get_texts()] == ["a:", "b:", "c:"]
    assert ax.get_title().startswith("mean ")
    matrix = plot((THREE[:, None] == ["a", "b", "c"]) * 1, OF_THREE, class_names=["$x", "y", "z"])
    assert len(lines(matrix)) == 3
    assert png_size(matrix)


def test_a_class_without_rows_is_named_in_the_legend_and_has_no_curve() -> None:
    ax = plot_roc([0, 0, 1, 1], OF_THREE[:4], class_names=["a", "b", "c"])
    assert len([line for line in lines(ax) if len(line.get_xdata())]) == 2
    assert ax.get_legend().get_texts()[2].get_text() == "c: no rows are of it"


def test_curves_are_drawn_into_given_axes() -> None:
    _, ax = plt.subplots()
    assert plot_roc(TWO, P, ax=ax) is ax


@pytest.mark.parametrize(
    ("plot", "true", "given", "message"),
    [
        (plot_roc, TWO, P[:4], r"y_true has 6 rows and y_score has 4"),
        (plot_roc, [1, 1], [0.1, 0.2], r"y_true has 1 class, and y_score has 1 column: must"),
        (plot_roc, [[1], [1]], [0.1, 0.2], r"all have the same label"),
        (plot_roc, TWO, [*P[:5], np.nan], r"y_score contains NaN"),
        (plot_roc, THREE, P, r"y_true has 3 classes, and y_score has 1 column"),
        (plot_roc, THREE[:2], OF_THREE[:2], r"2 classes.*3 columns: .*matrix of 0 and 1"),
        (plot_roc, TWO, P[:, None, None], r"y_score has shape \(6, 1, 1\)"),
        (plot_roc, np.eye(3) * 2, np.eye(3), r"y_true has shape \(3, 3\).*0 and 1"),
        (plot_calibration, TWO, P * 2, r"y_prob contains 1\.6: must be probabilities"),
        (plot_precision_recall, TWO, ["high"] * 6, r"y_score"),
    ],
)
def test_curves_of_bad_numbers_are_refused(plot: Any, true: Any, given: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        plot(true, given)


# Forecasts


def test_a_forecast_follows_the_past_and_has_its_errors_as_title() -> None:
    ax = plot_forecast([1.0, 2.0, 3.0], [4.0, 6.0], [4.0, 5.0])
    past, true, forecast = ax.lines
    np.testing.assert_array_equal(past.get_xydata(), [[-2, 1], [-1, 2], [0, 3]])
    np.testing.assert_array_equal(true.get_xydata(), [[0, 3], [1, 4], [2, 6]])
    np.testing.assert_array_equal(forecast.get_xydata(), [[0, 3], [1, 4], [2, 5]])
    assert ax.get_title() == "RMSE 0.7071, MAE 0.5"
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["past", "true", "forecast"]


def test_a_forecast_of_unknown_steps_is_drawn_at_its_times(png_size: Callable[[Axes], int]) -> None:
    times = np.array(["2024-01-03", "2024-01-04"], "datetime64[D]")
    _, given = plt.subplots()
    ax = plot_forecast([1.0, 2.0], None, [3.0, 4.0], times=times, ax=given)
    assert ax is given and ax.get_title() == ""
    assert ax.lines[0].get_xdata()[0] == np.datetime64("2024-01-01")
    png_size(ax)
    assert len(plot_forecast(None, None, [3.0]).lines) == 1


@pytest.mark.parametrize(
    ("past", "true", "predicted", "times", "message"),
    [
        ([1.0], [1.0, 2.0], [1.0], None, "y_true has 2 rows and y_pred has 1"),
        ([1.0], None, [1.0, np.nan], None, "y_pred contains NaN"),
        ([[1.0, 2.0]], None, [1.0], None, r"past has shape \(1, 2\)"),
        ([1.0], None, [1.0, 2.0], [1], r"times has shape \(1,\): must be one time for each"),
        ([1.0], None, [], None, "y_pred is empty"),
    ],
)
def test_forecasts_of_bad_numbers_are_refused(
    past: Any, true: Any, predicted: Any, times: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        plot_forecast(past, true, predicted, times=times)
    assert plt.get_fignums() == []


DRAWN: dict[str, Callable[..., Any]] = {
    "confusion": lambda **o: plot_confusion_matrix([0, 1], [0, 1], **o),
    "roc": lambda **o: plot_roc([0, 1], [0.1, 0.9], **o),
    "precision": lambda **o: plot_precision_recall([0, 1], [0.1, 0.9], **o),
    "calibration": lambda **o: plot_calibration([0, 1], [0.1, 0.9], **o),
    "residuals": lambda **o: plot_residuals([0, 1], [0.1, 0.9], **o),
    "forecast": lambda **o: plot_forecast(None, [0, 1], [0.1, 0.9], **o),
}


@pytest.mark.parametrize("plot", DRAWN.values(), ids=DRAWN)
def test_what_is_not_an_axes_is_refused(plot: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"ax=5: must be an Axes of matplotlib; write ax=plt.gca"):
        plot(ax=5)
    figure = plt.figure()
    with pytest.raises(TypeError, match=r"ax=<Figure.*write ax=figure.add_subplot\(\)"):
        plot(ax=figure)
    plt.close(figure)


@pytest.mark.parametrize("plot", list(DRAWN.values())[:4], ids=list(DRAWN)[:4])
@pytest.mark.parametrize("names", [5, "ab"])
def test_class_names_are_a_list(plot: Callable[..., Any], names: Any) -> None:
    with pytest.raises(TypeError, match=rf"class_names={names!r}: must be a list with a name"):
        plot(class_names=names)
