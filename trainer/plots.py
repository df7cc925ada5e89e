"""Plots: learning curves, confusion matrix, images, residuals, forecasts, probabilities.

Responsible for plotting given numbers; learning curves are implemented in `history` and only
exported here. Not for predicting, recording a history (`history`) or saving: every function
returns Axes, and `axes.figure.savefig("curve.png")` writes the file. Nothing here calls show();
`figures` decides which figures stay open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainer.data.arrays import check_finite, numeric
from trainer.data.labels import as_labels
from trainer.history import plot_history
from trainer.utils.checks import integer, one_of
from trainer.utils.figures import COLOURS, WRONG, as_label, distinct_colours, new_figure, width_of
from trainer.utils.fonts import legible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "plot_calibration",
    "plot_confusion_matrix",
    "plot_forecast",
    "plot_history",
    "plot_images",
    "plot_precision_recall",
    "plot_residuals",
    "plot_roc",
]

_BINS = 10  # of a calibration curve
_MOST_NAMES = 12  # curves with a line in the legend


@legible
def plot_confusion_matrix(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    class_names: Sequence[str] | None = None,
    normalize: Literal["true", "pred"] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot a confusion matrix, with true classes in rows and predicted classes in columns.

    Args:
        y_true: Labels, shape (n,) or (n, 1); numbers, strings or booleans.
        y_pred: Predicted labels (not probabilities), the same number.
        class_names: For integer labels, class_names[i] is the name of label i, and all classes
            are shown; for string labels, their order. None: the labels as text.
        normalize: None for counts; "true" for fractions of each true class (the diagonal is
            recall), "pred" for fractions of each predicted class (the diagonal is precision).
        ax: Where to draw; None makes a new figure, sized for the number of classes. If cells are
            too small for numbers, there is a colour bar instead.

    Returns:
        The Axes; the title has the accuracy and the number of rows.

    Raises:
        ValueError: Lengths differ, there are no rows, class_names is too short, or `normalize` is
            unknown.
    """
    from matplotlib.colors import PowerNorm
    from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

    one_of("normalize", normalize, (None, "true", "pred"))
    true, predicted = _labels("y_true", y_true), _labels("y_pred", y_pred)
    _same_length("y_true", true, "y_pred", predicted)
    if (true.dtype.kind == "U") != (predicted.dtype.kind == "U"):
        raise ValueError(
            f"y_true contains {true[0].item()!r} and y_pred {predicted[0].item()!r}: must be "
            "labels of the same type; pass both as class indices or both as names"
        )
    labels = np.unique(np.concatenate([true, predicted]))
    texts = [str(label) for label in labels.tolist()]
    if class_names is not None:
        texts = _checked_names(labels, class_names)
        labels = np.array(texts) if labels.dtype.kind == "U" else np.arange(len(texts))
    matrix = confusion_matrix(true, predicted, labels=labels, normalize=normalize)
    size = min(max(4.8, 2.8 + 0.45 * len(labels)), 15.0)
    ax = given_or_new(ax, (size, size))

    # The size of a cell in points determines what fits into it.
    box = ax.get_window_extent()
    cell = 72 / ax.figure.dpi * min(box.width, box.height) / len(labels)
    digits = 4 if normalize else len(str(matrix.max()))
    number_size = min(cell / (0.75 * digits), 0.6 * cell, 10)
    label_size = min(max(0.8 * cell, 4), 10)
    numbers = number_size >= 6
    # Without numbers, a few errors must differ visibly in colour from none: use a square root.
    norm = PowerNorm(1 if numbers else 0.5, vmin=0, vmax=1 if normalize else max(matrix.max(), 1))
    ConfusionMatrixDisplay(matrix, display_labels=[as_label(text) for text in texts]).plot(
        include_values=numbers,
        cmap="Blues",
        values_format=".2f" if normalize else "d",
        ax=ax,
        colorbar=False,
        im_kw={"norm": norm},
        text_kw={"fontsize": number_size},
    )
    ax.tick_params(labelsize=label_size)
    if max(map(width_of, texts)) * 0.6 * label_size > cell:
        # Slanted labels need a spacing of about twice their height.
        slant = 45 if cell >= 2 * label_size else 90
        for tick in ax.get_xticklabels():
            anchored = {"ha": "right", "rotation_mode": "anchor"} if slant == 45 else {}
            tick.set(rotation=slant, **anchored)
    if not numbers:
        kind = "true" if normalize == "true" else "predicted"
        label = f"fraction of the {kind} class" if normalize else "rows"
        ax.figure.colorbar(ax.images[0], ax=ax, fraction=0.03, pad=0.01, label=label)
    n = len(true)
    ax.set_title(f"accuracy {np.mean(true == predicted):.3f} on {n:,} row{'s' if n > 1 else ''}")
    return ax


@legible
def plot_images(
    images: ArrayLike,
    labels: ArrayLike | None = None,
    predicted: ArrayLike | None = None,
    *,
    class_names: Sequence[str] | None = None,
    rows: int = 3,
    columns: int = 6,
) -> NDArray[Any]:
    """Plot the first rows x columns images in a grid, with their classes as titles.

    Args:
        images: Shape (n, height, width), (n, height, width, 1) or (n, height, width, 3); or one
            image (height, width) with rows=1, columns=1. Values from black to white are 0..1,
            0..16 or 0..255, the smallest range that contains all images shown; for other values,
            from 0 (16 bits), or from the minimum if negative (standardised), to the maximum.
        labels: True classes, shape (n,) or (n, 1).
        predicted: Predicted classes, likewise; with `labels`, wrong ones are bold and red.
        class_names: class_names[i] is the name of label i. None: the labels as text.
        rows: Rows of the grid; cells without an image stay empty.
        columns: Columns of the grid.

    Returns:
        The Axes, an object array of shape (rows, columns).

    Raises:
        ValueError: A shape is wrong, lengths differ, there are no images, a value is NaN, or
            class_names is too short.
    """
    integer("rows", rows, low=1)
    integer("columns", columns, low=1)
    pictures = _checked_images(images, rows, columns)
    titles: list[NDArray[Any]] = []
    for name, values in (("labels", labels), ("predicted", predicted)):
        if values is not None:
            array = _labels(name, values)
            _same_length("images", pictures, name, array)
            if class_names is not None:
                names = np.array(_checked_names(array, class_names))
                array = array if array.dtype.kind == "U" else names[array.astype(np.int64)]
            titles.append(array)
    pictures = pictures[: rows * columns]
    low, high = _value_range(pictures)
    ratio = min(max(pictures.shape[1] / pictures.shape[2], 0.3), 3.0)
    space = 0.17 * len(titles) + 0.12
    figure = new_figure((max(1.6 * columns, 2.5), max((1.5 * ratio + space) * rows, 2.5)))
    axes = figure.subplots(rows, columns, squeeze=False)
    for position, ax in enumerate(axes.flat):
        ax.set_axis_off()
        if position >= len(pictures):
            continue
        picture = pictures[position]
        if picture.ndim == 3 and (picture.dtype != np.uint8 or high != 255):
            picture = (picture.astype(np.float64) - low) / (high - low)
        # imshow ignores range and colour map for RGB images.
        ax.imshow(picture, cmap="gray", vmin=low, vmax=high)
        texts = [str(title[position]) for title in titles]
        wrong = len(texts) == 2 and texts[0] != texts[1]
        if predicted is not None:
            words = ["true", "predicted"][-len(texts) :]
            texts = [f"{word}: {text}" for word, text in zip(words, texts, strict=True)]
        ax.set_title(
            "\n".join(as_label(text, 22) for text in texts),
            fontsize=8,
            pad=3,
            color=WRONG if wrong else "black",
            fontweight="bold" if wrong else "normal",
        )
    return axes


def _checked_images(images: ArrayLike, rows: int, columns: int) -> NDArray[Any]:
    """Return the images as (n, h, w) or (n, h, w, 3); those to be shown must be finite."""
    array = numeric(images, "images")
    channels = array.shape[3] if array.ndim == 4 else 1
    shape = f"images has shape {array.shape}: "
    if array.ndim == 2:
        if (rows, columns) != (1, 1):
            raise ValueError(
                shape + "write rows=1, columns=1 for one image, or "
                "images.reshape(-1, height, width) if each row is a flattened image"
            )
        array = array[np.newaxis]
    elif array.ndim == 3 and array.shape[2] in (1, 3):
        raise ValueError(shape + "write images[None] for one image with channels")
    elif array.ndim not in (3, 4) or channels not in (1, 3):
        raise ValueError(
            shape + "must be (n, height, width), (n, height, width, 1) or (n, height, width, 3); "
            "if channels come first, write np.moveaxis(images, 1, -1)"
        )
    elif array.ndim == 4 and channels == 1:
        array = array[..., 0]
    check_finite(array[: rows * columns], "images")
    return array


def _value_range(pictures: NDArray[Any]) -> tuple[float, float]:
    low, high = float(pictures.min()), float(pictures.max())
    if low >= 0:
        return 0.0, next((limit for limit in (1.0, 16.0, 255.0) if high <= limit), high)
    return low, high if high > low else low + 1


@legible
def plot_residuals(y_true: ArrayLike, y_pred: ArrayLike, *, ax: Axes | None = None) -> Axes:
    """Plot the residual, true - predicted, of each row against the prediction.

    Args:
        y_true: Targets of one output, shape (n,) or (n, 1).
        y_pred: Predictions, the same number.
        ax: Where to draw; None makes a new figure.

    Returns:
        The Axes; the title has RMSE, MAE and R2. Above 2,000 rows, where points would overlap, it
        is a hexagonal histogram with a logarithmic scale.

    Raises:
        ValueError: Lengths differ, there are no rows, several outputs, NaN or infinity.
    """
    from sklearn.metrics import r2_score

    true, predicted = _targets("y_true", y_true), _targets("y_pred", y_pred)
    _same_length("y_true", true, "y_pred", predicted)
    residual = true - predicted
    ax = given_or_new(ax, (6.4, 4.4))
    if len(true) <= 2000:
        ax.scatter(predicted, residual, s=14, alpha=0.5, color=COLOURS[0], linewidths=0)
    else:
        bins = ax.hexbin(predicted, residual, gridsize=60, bins="log", mincnt=1, cmap="viridis_r")
        ax.figure.colorbar(bins, ax=ax, label="rows per hexagon")
    ax.axhline(0, color="black", linewidth=1, linestyle="--")
    rmse, mae = float(np.sqrt(np.mean(residual**2))), float(np.mean(np.abs(residual)))
    # A single row has no variance to explain.
    r2 = f"{r2_score(true, predicted):.3f}" if len(true) > 1 else "undefined"
    ax.set_title(f"RMSE {rmse:.4g}, MAE {mae:.4g}, R² {r2}")
    ax.set_xlabel("predicted")
    ax.set_ylabel("residual (true − predicted)")
    ax.grid(True, alpha=0.3)
    return ax


@legible
def plot_forecast(
    past: ArrayLike | None,
    y_true: ArrayLike | None,
    y_pred: ArrayLike,
    *,
    times: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot the forecast of one window: what came before, the forecast, and what came.

    Args:
        past: The values of the series before the forecast, shape (steps,); None to leave it out.
        y_true: The values that came, shape (horizon,); None if they are not known.
        y_pred: The forecast, shape (horizon,).
        times: The times of the forecast, shape (horizon,): numbers or dates. None: steps from the
            end of the past, 1 to horizon. The past has the same distance between its steps.
        ax: Where to draw; None makes a new figure.

    Returns:
        The Axes; the title has the MAE and RMSE of the forecast if y_true is given.

    Raises:
        ValueError: Lengths differ, a shape is wrong, there are no steps, NaN or infinity.
    """
    predicted = _targets("y_pred", y_pred)
    before = None if past is None else _targets("past", past)
    true = None if y_true is None else _targets("y_true", y_true)
    if true is not None:
        _same_length("y_true", true, "y_pred", predicted)
    moments: Any = np.arange(1, len(predicted) + 1) if times is None else np.asarray(times)
    if moments.shape != predicted.shape:
        raise ValueError(
            f"times has shape {moments.shape}: must be one time for each of the {len(predicted)} "
            "steps of y_pred"
        )
    ax = given_or_new(ax, (8.0, 4.0))
    if before is not None:
        step = moments[1] - moments[0] if len(moments) > 1 else _single_step(moments)
        earlier = moments[0] - step * np.arange(len(before), 0, -1)
        ax.plot(earlier, before, color="0.4", label="past")
        # joined to the past, so that the first step is seen to follow it
        moments = np.concatenate([earlier[-1:], moments])
        predicted_line = np.concatenate([before[-1:], predicted])
        true_line = None if true is None else np.concatenate([before[-1:], true])
    else:
        predicted_line, true_line = predicted, true
    if true_line is not None:
        ax.plot(moments, true_line, color="black", label="true")
    marker = "o" if len(predicted) <= 40 else None
    ax.plot(moments, predicted_line, color=COLOURS[0], marker=marker, ms=3, label="forecast")
    if true is not None:
        error = true - predicted
        rmse, mae = float(np.sqrt(np.mean(error**2))), float(np.mean(np.abs(error)))
        ax.set_title(f"RMSE {rmse:.4g}, MAE {mae:.4g}")
    ax.set_xlabel("step" if times is None else "time")
    ax.legend()
    ax.grid(True, alpha=0.3)
    if moments.dtype.kind == "M":
        ax.figure.autofmt_xdate()
    return ax


def _single_step(moments: NDArray[Any]) -> Any:
    return np.timedelta64(1, "D") if moments.dtype.kind == "M" else 1


@legible
def plot_roc(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    class_names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot ROC curves: the recall of each class against its false positive rate.

    Two classes have one curve. More have one each, of this class against all others, and so has
    each label if there are several per row. Computed by scikit-learn's roc_curve.

    Args:
        y_true: Labels, shape (n,) or (n, 1); or a matrix of 0 and 1 with a column for each column
            of y_score.
        y_score: Probabilities or other scores that rise with them, shape (n,) for the larger of
            two labels, or (n, k) with a column for each label in sorted order.
        class_names: As for plot_confusion_matrix if y_true has labels; for a matrix, a name for
            each column. None: the labels, or the numbers of the columns, as text.
        ax: Where to draw; None makes a new figure.

    Returns:
        The Axes; the title has the area under the curve, or the mean of several. A class whose
        rows are all right or all wrong has no curve, and the legend says so.

    Raises:
        ValueError: Lengths or shapes do not fit, there are no rows, a score is not finite, or no
            class has both kinds of rows.
    """
    from sklearn.metrics import auc, roc_curve

    curves = _curves(y_true, y_score, class_names)
    ax = given_or_new(ax, (6.0, 5.2))

    def draw(curve: _Curve, colour: Any) -> float:
        false, true, _ = roc_curve(curve.true, curve.score)
        area = float(auc(false, true))
        ax.plot(false, true, color=colour, label=f"{curve.name}: {area:.3f}")
        return area

    ax.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--")
    _draw(curves, draw, ax, "area under the curve")
    ax.set_xlabel("false positive rate")
    ax.set_ylabel("recall (true positive rate)")
    return ax


@legible
def plot_precision_recall(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    class_names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot precision against recall; for a rare class this shows more than a ROC curve.

    Computed by scikit-learn's precision_recall_curve. A dotted line at the share of the rows that
    are of the class is the precision of guessing.

    Args:
        y_true: As for plot_roc.
        y_score: As for plot_roc.
        class_names: As for plot_roc.
        ax: Where to draw; None makes a new figure.

    Returns:
        The Axes; the title has the average precision, or the mean of several.

    Raises:
        ValueError: As for plot_roc.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    curves = _curves(y_true, y_score, class_names)
    ax = given_or_new(ax, (6.0, 5.2))

    def draw(curve: _Curve, colour: Any) -> float:
        precision, recall, _ = precision_recall_curve(curve.true, curve.score)
        mean = float(average_precision_score(curve.true, curve.score))
        ax.plot(
            recall,
            precision,
            color=colour,
            drawstyle="steps-post",
            label=f"{curve.name}: {mean:.3f}",
        )
        ax.axhline(curve.true.mean(), color=colour, linewidth=1, linestyle=":")
        return mean

    _draw(curves, draw, ax, "average precision")
    ax.set_xlabel("recall")
    ax.set_ylabel("precision")
    ax.set_ylim(-0.02, 1.02)
    return ax


@legible
def plot_calibration(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    *,
    class_names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot how often a class is right against its predicted probability.

    Computed by scikit-learn's calibration_curve in ten bins with equally many rows, so that those
    of a rare class are as reliable as the others. On the diagonal, probabilities are frequencies.

    Args:
        y_true: As for plot_roc.
        y_prob: Probabilities from 0 to 1, shaped as y_score for plot_roc.
        class_names: As for plot_roc.
        ax: Where to draw; None makes a new figure.

    Returns:
        The Axes; the title has the Brier score (the mean squared error of the probabilities), or
        the mean of several.

    Raises:
        ValueError: As for plot_roc, or a probability is below 0 or above 1.
    """
    from sklearn.calibration import calibration_curve

    curves = _curves(y_true, y_prob, class_names, name="y_prob")
    for curve in curves:
        odd = curve.score[(curve.score < 0) | (curve.score > 1)]
        if len(odd):
            raise ValueError(
                f"y_prob contains {odd[0]:g}: must be probabilities from 0 to 1; pass the result "
                "of predict_proba"
            )
    ax = given_or_new(ax, (6.0, 5.2))

    def draw(curve: _Curve, colour: Any) -> float:
        right, given = calibration_curve(
            curve.true, curve.score, n_bins=min(_BINS, len(curve.true)), strategy="quantile"
        )
        error = float(np.mean((curve.score - curve.true) ** 2))
        ax.plot(given, right, color=colour, marker="o", label=f"{curve.name}: {error:.3f}")
        return error

    ax.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--")
    _draw(curves, draw, ax, "Brier score")
    ax.set_xlabel("predicted probability (mean of the bin)")
    ax.set_ylabel("share of the rows that are of the class")
    return ax


@dataclass(frozen=True)
class _Curve:
    """What one curve is of: whether each row is of the class [n], and its score [n]."""

    name: str
    true: NDArray[Any]
    score: NDArray[Any]


def _curves(
    y_true: ArrayLike, scores: ArrayLike, class_names: Sequence[str] | None, name: str = "y_score"
) -> list[_Curve]:
    """Return one curve for two classes, else one for each column."""
    given = numeric(scores, name)
    if given.ndim == 1:
        given = given[:, np.newaxis]
    if given.ndim != 2:
        raise ValueError(f"{name} has shape {given.shape}: must be (n,), or (n, k) for k classes")
    check_finite(given, name)
    given = given.astype(np.float64)
    names = None if class_names is None else names_of(class_names)
    shape, width = np.shape(y_true), given.shape[1]
    if len(shape) == 2 and shape[1] == width and (width > 1 or np.isin(y_true, (0, 1)).all()):
        if not np.isin(y_true, (0, 1)).all():
            raise ValueError(
                f"y_true has shape {shape}: must be a matrix of 0 and 1, or one label per row"
            )
        truth = np.asarray(y_true).astype(bool)
        texts = [str(i) for i in range(width)] if names is None else names
    else:
        truth, texts, given = _columns(_labels("y_true", y_true), given, names, name)
    _same_length("y_true", truth, name, given)
    if len(texts) != truth.shape[1]:
        raise ValueError(
            f"class_names={names!r}: must have a name for each of the {width} columns of {name}"
        )
    curves = [
        _Curve(as_label(texts[i], 22), truth[:, i], given[:, i]) for i in range(truth.shape[1])
    ]
    if not any(curve.true.any() and not curve.true.all() for curve in curves):
        raise ValueError(
            "y_true: its rows all have the same label, and a curve needs rows of two classes; pass "
            "rows of both"
        )
    return curves


def _columns(
    labels: NDArray[Any], given: NDArray[Any], names: list[str] | None, name: str
) -> tuple[NDArray[Any], list[str], NDArray[Any]]:
    """Return labels as 0/1 columns, the names of the columns, and their scores."""
    width = given.shape[1]
    classes = np.unique(labels)
    if names is not None:
        texts = _checked_names(labels, names)
        classes = np.array(texts) if labels.dtype.kind == "U" else np.arange(len(texts))
    if len(classes) != max(width, 2):
        raise ValueError(
            f"y_true has {len(classes)} class{'es' if len(classes) > 1 else ''}, and {name} has "
            f"{width} column{'s' if width > 1 else ''}: must be one column for each class, or one "
            "of the larger of two labels; if rows of a class are missing, pass y_true as a matrix "
            "of 0 and 1, (y[:, None] == classes) * 1"
        )
    truth = labels[:, np.newaxis] == classes
    texts = [str(c) for c in classes.tolist()] if names is None else names
    if len(classes) == 2:
        return truth[:, 1:], texts[-1:], given[:, -1:]
    return truth, texts, given


def _draw(
    curves: list[_Curve], draw: Callable[[_Curve, Any], float], ax: Axes, measure: str
) -> None:
    """Draw curves, a legend, and a title with the measure that `draw` returns."""
    found = []
    for curve, colour in zip(curves, distinct_colours(len(curves)), strict=True):
        if curve.true.any() and not curve.true.all():
            found.append(draw(curve, colour))
        else:
            kind = "all" if curve.true.all() else "no"
            ax.plot([], [], color="none", label=f"{curve.name}: {kind} rows are of it")
    n = len(curves[0].true)
    mean = "mean " if len(found) > 1 else ""
    of = f" of {curves[0].name}" if len(curves) == 1 else ""
    ax.set_title(f"{mean}{measure}{of} {np.mean(found):.3f} on {n:,} row{'s' if n > 1 else ''}")
    if 1 < len(curves) <= _MOST_NAMES:
        ax.legend(fontsize=8)
    ax.grid(True, alpha=0.3)


def given_or_new(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """Return the Axes to draw in, which are those of a new figure if none are given.

    Args:
        ax: The argument ax of a plot.
        size: The width and height of a new figure in inches.

    Raises:
        TypeError: `ax` is not an Axes.
    """
    from matplotlib.axes import Axes as AnyAxes

    if ax is None:
        return new_figure(size).add_subplot()
    if not isinstance(ax, AnyAxes):
        instead = "ax=figure.add_subplot()" if hasattr(ax, "add_subplot") else "ax=plt.gca()"
        raise TypeError(
            f"ax={ax!r:.80}: must be an Axes of matplotlib; write {instead}, or leave ax out for "
            "a new figure"
        )
    return ax


def names_of(class_names: Any) -> list[str]:
    """Return the argument class_names as a list.

    Raises:
        TypeError: It is not a list or an array of names.
    """
    if isinstance(class_names, str) or not isinstance(class_names, Iterable):
        raise TypeError(
            f"class_names={class_names!r:.80}: must be a list with a name for each class; write "
            "class_names=['no', 'yes'], for example"
        )
    return [str(name) for name in class_names]


def _targets(name: str, values: ArrayLike) -> NDArray[Any]:
    array = numeric(values, name)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(
            f"{name} has shape {array.shape}: must be one number per row; "
            f"write {name}[:, 0] for the first of several outputs"
        )
    check_finite(array, name)
    return array.astype(np.float64)


def _labels(name: str, values: ArrayLike) -> NDArray[Any]:
    """Return labels (n,) as int64, booleans or strings."""
    shape = np.shape(values)
    if len(shape) != 1 and shape[1:] != (1,):
        raise ValueError(
            f"{name} has shape {shape}: must be one label per row; "
            f"write {name}.argmax(axis=1) for one-hot rows or probabilities"
        )
    array = as_labels(values, name)
    if array.dtype.kind == "b":
        return array
    return array.astype(str if array.dtype.kind in "US" else np.int64)


def _checked_names(labels: NDArray[Any], class_names: Sequence[str]) -> list[str]:
    """Return the names as a list, after checking that there is one for every label."""
    names = names_of(class_names)
    if labels.dtype.kind == "U":
        missing = [label for label in np.unique(labels).tolist() if label not in names]
        if missing or len(set(names)) != len(names):
            raise ValueError(
                f"class_names={names!r}: must contain each label once; "
                + (f"{missing[0]!r} is missing" if missing else "one occurs twice")
            )
    elif int(labels.min()) < 0 or int(labels.max()) >= len(names):
        odd = int(labels.min()) if int(labels.min()) < 0 else int(labels.max())
        raise ValueError(
            f"class_names: has {len(names)} names, but there is a label {odd}; class_names[i] is "
            f"the name of label i, so write one for each label from 0 to {max(odd, len(names))}"
        )
    return names


def _same_length(name: str, one: NDArray[Any], other_name: str, other: NDArray[Any]) -> None:
    if len(one) != len(other):
        raise ValueError(
            f"{name} has {len(one)} rows and {other_name} has {len(other)}: must be equal; "
            "pass both for the same rows"
        )
