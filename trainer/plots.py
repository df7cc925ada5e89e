"""Plots: learning curves, confusion matrix, images and residuals.

Responsible for plotting given numbers; learning curves are implemented in `history` and only
exported here. Not for predicting, recording a history (`history`) or saving: every function
returns Axes, and `axes.figure.savefig("curve.png")` writes the file. Nothing here calls show();
`figures` decides which figures stay open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainer.data.arrays import check_finite, numeric
from trainer.data.labels import as_labels
from trainer.history import plot_history
from trainer.utils.checks import integer, one_of
from trainer.utils.figures import COLOURS, WRONG, as_label, new_figure, width_of
from trainer.utils.fonts import legible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_confusion_matrix", "plot_history", "plot_images", "plot_residuals"]


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
    ax = ax if ax is not None else new_figure((size, size)).add_subplot()

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
    ax = ax if ax is not None else new_figure((6.4, 4.4)).add_subplot()
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
    names = [str(name) for name in class_names]
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
