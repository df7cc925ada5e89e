"""The pictures of a training and of a model: learning curves, confusion matrix, images, residuals.

Responsible for drawing numbers that it is given, so that they can be read; the learning curves
are drawn in history.py and are only offered here. Not responsible for predicting, for recording a
history (history.py) or for saving: every function returns Axes, and
`axes.figure.savefig("curve.png")` writes the file. Nothing here calls show(); figures.py says
which figures stay open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainer.arrays import check_finite, numeric
from trainer.checks import integer, one_of
from trainer.figures import COLOURS, WRONG, as_label, new_figure
from trainer.history import plot_history
from trainer.labels import as_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_confusion_matrix", "plot_history", "plot_images", "plot_residuals"]


def plot_confusion_matrix(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    class_names: Sequence[str] | None = None,
    normalize: Literal["true", "pred"] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how often each class was taken for each: true classes in rows, predicted in columns.

    Args:
        y_true: labels, shape (n,) or (n, 1); numbers, strings or booleans.
        y_pred: predicted labels (not probabilities), as many.
        class_names: for integer labels, class_names[i] is the name of the label i, and every
            class gets its row; for labels that are names, their order. None: the labels as text.
        normalize: None for counts of rows; "true" for fractions of each true class (the diagonal
            is recall), "pred" of each predicted class (the diagonal is precision).
        ax: where to draw. None: a new figure whose size suits the number of classes. Cells too
            small for a number have a colour bar instead.

    Returns:
        The Axes; its title gives the accuracy and the number of rows.

    Raises:
        ValueError: lengths differ, no rows, class_names is too short, or unknown `normalize`.
    """
    from matplotlib.colors import PowerNorm
    from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

    one_of("normalize", normalize, (None, "true", "pred"))
    true, predicted = _labels("y_true", y_true), _labels("y_pred", y_pred)
    _same_length("y_true", true, "y_pred", predicted)
    if (true.dtype.kind == "U") != (predicted.dtype.kind == "U"):
        raise ValueError(
            f"y_true holds {true[0].item()!r} and y_pred {predicted[0].item()!r}: must be labels "
            "of one kind; write both as class numbers or both as names"
        )
    labels = np.unique(np.concatenate([true, predicted]))
    texts = [str(label) for label in labels.tolist()]
    if class_names is not None:
        texts = _checked_names(labels, class_names)
        labels = np.array(texts) if labels.dtype.kind == "U" else np.arange(len(texts))
    matrix = confusion_matrix(true, predicted, labels=labels, normalize=normalize)
    size = min(max(4.8, 2.8 + 0.45 * len(labels)), 15.0)
    ax = ax if ax is not None else new_figure((size, size)).add_subplot()

    # How many points a cell has decides what fits into it.
    box = ax.get_window_extent()
    cell = 72 / ax.figure.dpi * min(box.width, box.height) / len(labels)
    digits = 4 if normalize else len(str(matrix.max()))
    number_size = min(cell / (0.75 * digits), 0.6 * cell, 10)
    label_size = min(max(0.8 * cell, 4), 10)
    numbers = number_size >= 6
    # Without numbers, colours must tell one error in a hundred from none: lift the small values.
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
    if max(map(len, texts)) * 0.6 * label_size > cell:
        # Slanted labels need about twice their height beside each other.
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


def plot_images(
    images: ArrayLike,
    labels: ArrayLike | None = None,
    predicted: ArrayLike | None = None,
    *,
    class_names: Sequence[str] | None = None,
    rows: int = 3,
    columns: int = 6,
) -> NDArray[Any]:
    """Draw the first rows x columns images in a grid, with their classes as titles.

    Args:
        images: shape (n, height, width), (n, height, width, 1) or (n, height, width, 3); or one
            image (height, width) with rows=1, columns=1. Any numbers: the smallest of the ranges
            0..1, 0..16 and 0..255 that holds all the images drawn is black to white, and beyond
            them (standardised, 16 bits) their own range, the same for all.
        labels: true classes, shape (n,) or (n, 1).
        predicted: predicted classes, likewise; with `labels`, the wrong ones are bold and red.
        class_names: class_names[i] is the name of the label i. None: the labels as text.
        rows, columns: of the grid; what has no image stays empty.

    Returns:
        The Axes, an object array of shape (rows, columns).

    Raises:
        ValueError: another shape, lengths that differ, no images, NaN, class_names too short.
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
        # The range and the colour map count for one channel only.
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
    """The images as numbers, (n, h, w) or (n, h, w, 3); those to be drawn are finite."""
    array = numeric(images, "images")
    channels = array.shape[3] if array.ndim == 4 else 1
    shape = f"images has shape {array.shape}: "
    if array.ndim == 2:
        if (rows, columns) != (1, 1):
            raise ValueError(
                shape + "write rows=1, columns=1 for one image, or "
                "images.reshape(-1, height, width) where each row is a flattened one"
            )
        array = array[np.newaxis]
    elif array.ndim == 3 and array.shape[2] in (1, 3):
        raise ValueError(shape + "write images[None] for one image with channels")
    elif array.ndim not in (3, 4) or channels not in (1, 3):
        raise ValueError(
            shape + "must be (n, height, width), (n, height, width, 1) or (n, height, width, 3); "
            "where channels come first, write np.moveaxis(images, 1, -1)"
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


def plot_residuals(y_true: ArrayLike, y_pred: ArrayLike, *, ax: Axes | None = None) -> Axes:
    """Draw the residual, true - predicted, of each row against the prediction.

    Args:
        y_true: targets of one output, shape (n,) or (n, 1).
        y_pred: predictions, as many.
        ax: where to draw. None: a new figure.

    Returns:
        The Axes; its title gives RMSE, MAE and R2. Above 2,000 rows it shows how many rows fall
        into each hexagon, on a logarithmic scale, because points would hide each other.

    Raises:
        ValueError: lengths differ, no rows, several outputs, NaN or infinity.
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
        ax.figure.colorbar(bins, ax=ax, label="rows in a hexagon")
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
            f"{name} has shape {array.shape}: must be one number a row; "
            f"write {name}[:, 0] for the first of several outputs"
        )
    check_finite(array, name)
    return array.astype(np.float64)


def _labels(name: str, values: ArrayLike) -> NDArray[Any]:
    """Labels (n,) as int64, booleans or strings."""
    shape = np.shape(values)
    if len(shape) != 1 and shape[1:] != (1,):
        raise ValueError(
            f"{name} has shape {shape}: must be one label a row; "
            f"write {name}.argmax(axis=1) for one-hot rows or probabilities"
        )
    array = as_labels(values, name)
    if array.dtype.kind == "b":
        return array
    return array.astype(str if array.dtype.kind in "US" else np.int64)


def _checked_names(labels: NDArray[Any], class_names: Sequence[str]) -> list[str]:
    """The names as a list, if there is one for every label."""
    names = [str(name) for name in class_names]
    if labels.dtype.kind == "U":
        missing = [label for label in np.unique(labels).tolist() if label not in names]
        if missing or len(set(names)) != len(names):
            raise ValueError(
                f"class_names={names!r}: must hold each label once; "
                + (f"{missing[0]!r} is missing" if missing else "one is there twice")
            )
    elif int(labels.min()) < 0 or int(labels.max()) >= len(names):
        odd = int(labels.min()) if int(labels.min()) < 0 else int(labels.max())
        raise ValueError(
            f"class_names: has {len(names)} names, but there is a label {odd}; class_names[i] is "
            f"the name of the label i, so write a name for each from 0 to {max(odd, len(names))}"
        )
    return names


def _same_length(name: str, one: NDArray[Any], other_name: str, other: NDArray[Any]) -> None:
    if len(one) != len(other):
        raise ValueError(
            f"{name} has {len(one)} rows and {other_name} has {len(other)}: must be as many; "
            "write both for the same rows"
        )
