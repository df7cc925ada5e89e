"""What a trained model does on the test rows: pictures, mistakes, and which columns matter.

Responsible for computing it. Not for the page, or for the data themselves (`profile`).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.datasets.windows import Windows
from trainer.utils.drawings import Picture, picture
from trainer.utils.figures import COLOURS, as_label, new_figure

if TYPE_CHECKING:
    from trainer.base import Trainer
    from trainer.datasets import Dataset

_MOST_DRAWN = 5_000  # test rows in the pictures, so that a page stays small
_MOST_ROWS = 2_000  # test rows that are permuted
_MOST_COLUMNS = 40  # of which the importance is computed
_SHOWN = 4  # columns of which the dependence is drawn
_MISTAKES = 12
_ACROSS = 6  # images in a row
_REPEATS = 3


def examine(trainer: Trainer, dataset: Dataset) -> dict[str, Any]:
    """Return what a page shows of a model.

    Args:
        trainer: A fitted one.
        dataset: Its data.

    Returns:
        "metrics", the score and the metrics by name; "pictures"; "mistakes", a table or pictures of
        the worst; "importance", the columns with the loss of score if they are permuted.
    """
    x: Any = dataset.test.x
    y = np.asarray(dataset.test.y)
    classifier = isinstance(getattr(trainer, "classes_", None), np.ndarray) and y.ndim == 1
    score = "accuracy" if hasattr(trainer, "classes_") else "R squared"
    metrics = {name: float(value) for name, value in trainer.evaluate(x, y).items()}
    if trainer.network_.loss_is_scaled:
        metrics["loss, of the standardised target"] = metrics.pop("loss")
    found: dict[str, Any] = {"metrics": metrics, "mistakes": None, "importance": []}
    if hasattr(trainer, "score"):
        found["metrics"] = {score: float(trainer.score(x, y)), **metrics}
    if len(y) > _MOST_DRAWN:
        drawn = np.sort(np.random.default_rng(trainer.seed_).permutation(len(y))[:_MOST_DRAWN])
        x, y = x.iloc[drawn] if hasattr(x, "iloc") else np.asarray(x)[drawn], y[drawn]
    pictures = []
    if len(trainer.history_):
        says = f"The logs of each of {len(trainer.history_)} epochs."
        pictures.append(picture("Learning curves", says, trainer.history_.plot))
    if classifier:
        pictures += _of_classes(trainer, x, y)
        found["mistakes"] = _wrong_classes(trainer, x, y)
    elif y.ndim == 1 and hasattr(trainer, "plot_residuals"):
        says = "The difference between prediction and target against the prediction."
        pictures.append(picture("Residuals", says, lambda: trainer.plot_residuals(x, y)))
        found["mistakes"] = _largest_errors(trainer, x, y)
    if isinstance(dataset, Windows) and hasattr(trainer, "plot_forecast"):
        pictures += _forecasts(trainer, dataset)
    if hasattr(x, "iloc") and y.ndim == 1 and hasattr(trainer, "score"):
        found["importance"] = importance(trainer, x, y)
        columns = {str(name): name for name in x.columns}
        for name, _, _ in found["importance"][:_SHOWN]:
            if _repeats(x[columns[name]]):
                pictures.append(_dependence(trainer, x, columns[name]))
    found["pictures"] = pictures
    return found


def _forecasts(trainer: Any, data: Windows) -> list[Picture]:
    """Return pictures of the first and the last window of the test rows."""
    made = []
    for row, which in ((0, "first"), (len(data.test.x) - 1, "last")):
        says = f"What came before the {which} test window, its forecast, and what came."
        draw = functools.partial(trainer.plot_forecast, *data.test, row=row, times=data.times.test)
        made.append(picture(f"Forecast of the {which} window", says, draw))
    return made


def _of_classes(trainer: Any, x: Any, y: np.ndarray) -> list[Picture]:
    found = [
        picture(
            "Confusion matrix",
            "How many test rows of each class were predicted as each class.",
            lambda: trainer.plot_confusion_matrix(x, y),
        )
    ]
    if len(trainer.classes_) == 2 and len(np.unique(y)) == 2:
        says = "True positives against false positives, for each threshold."
        found.append(picture("ROC", says, lambda: trainer.plot_roc(x, y)))
        says = "The share of positives against the predicted probability."
        found.append(picture("Calibration", says, lambda: trainer.plot_calibration(x, y)))
    return found


def _wrong_classes(trainer: Any, x: Any, y: np.ndarray) -> dict[str, Any] | None:
    """Return the rows of which a wrong class had the highest probability."""
    probabilities = np.asarray(trainer.predict_proba(x))
    labels = np.asarray(trainer.predict(x))
    column = {label: i for i, label in enumerate(trainer.classes_.tolist())}
    sure = np.array(
        [probabilities[i, column[label]] for i, label in enumerate(labels.tolist())], float
    )
    wrong = np.flatnonzero(labels != y)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:_MISTAKES]
    if not len(worst):
        return None
    told = [(str(y[i]), str(labels[i]), f"{sure[i]:.3f}") for i in worst]
    return _shown(x, worst, ("true", "predicted", "probability"), told, (y[worst], labels[worst]))


def _largest_errors(trainer: Any, x: Any, y: np.ndarray) -> dict[str, Any]:
    predicted = np.asarray(trainer.predict(x), float).reshape(len(y))
    error = predicted - y
    worst = np.argsort(-np.abs(error), kind="stable")[:_MISTAKES]
    told = [(f"{y[i]:.6g}", f"{predicted[i]:.6g}", f"{error[i]:+.4g}") for i in worst]
    return _shown(x, worst, ("true", "predicted", "error"), told, None)


def _shown(
    x: Any, rows: np.ndarray, header: tuple[str, ...], told: list[Any], labels: Any
) -> dict[str, Any]:
    """Return rows of a table or texts with their predictions, or images as a picture."""
    from trainer import plots

    if hasattr(x, "iloc"):
        names = [str(name) for name in list(x.columns)[:20]]
        cells = [[str(v)[:200] for v in row[:20]] for row in x.iloc[rows].to_numpy().tolist()]
        body = [[*one, *more] for one, more in zip(told, cells, strict=True)]
        return {"header": [*header, *names], "rows": body, "picture": None}
    values = np.asarray(x)[rows]
    drawn = None
    if labels is not None and values.ndim in (3, 4) and values.shape[-1] != 2:
        true, predicted = (np.asarray(each).astype(str) for each in labels)
        down = -(-len(values) // _ACROSS)
        draw = functools.partial(
            plots.plot_images, values, true, predicted, rows=down, columns=_ACROSS
        )
        drawn = picture("Worst mistakes", "Images with their true and predicted classes.", draw)
    if values.dtype.kind in "OUS" and values.ndim == 1:
        body = [[*one, str(text)[:400]] for one, text in zip(told, values, strict=True)]
        return {"header": [*header, "text"], "rows": body, "picture": None}
    return {"header": list(header), "rows": [list(one) for one in told], "picture": drawn}


def importance(trainer: Any, x: Any, y: np.ndarray) -> list[tuple[str, float, float]]:
    """Return how much the score falls if a column is permuted (Breiman 2001), the most first.

    Args:
        trainer: A fitted one.
        x: A table; at most 2,000 rows of it are used.
        y: The targets.

    Returns:
        The name of each column, the mean and the standard deviation of three permutations.
    """
    generator = np.random.default_rng(trainer.seed_)
    rows = generator.permutation(len(x))[:_MOST_ROWS]
    x, y = x.iloc[rows].reset_index(drop=True), y[rows]
    whole = trainer.score(x, y)
    found = []
    for name in list(x.columns)[:_MOST_COLUMNS]:
        falls = []
        for _ in range(_REPEATS):
            order = generator.permutation(len(x))
            permuted = x.copy()
            permuted[name] = x[name].iloc[order].reset_index(drop=True)
            falls.append(whole - trainer.score(permuted, y))
        found.append((str(name), float(np.mean(falls)), float(np.std(falls))))
    return sorted(found, key=lambda each: -each[1])


def _repeats(column: Any) -> bool:
    """Whether a column has numbers, or other values most of which are there more than once."""
    known = column.dropna()
    return bool(len(known)) and (column.dtype.kind in "iuf" or known.nunique() <= len(known) / 2)


def _dependence(trainer: Any, x: Any, column: Any) -> Picture:
    """Draw the mean prediction if a column has one value in all rows (Friedman 2001)."""
    import pandas as pd

    few = x.iloc[:200]
    numeric = few[column].dtype.kind in "iuf"
    known = x[column].dropna()
    if numeric:
        values = np.unique(np.quantile(known.to_numpy(float), np.linspace(0.02, 0.98, 15)))
        values = np.unique(np.round(values)) if few[column].dtype.kind in "iu" else values
        grid = pd.Series(values).astype(few[column].dtype).tolist()
    else:
        grid = sorted(known.value_counts().index[:12].tolist(), key=str)
    classes = getattr(trainer, "classes_", None)
    means = []
    for value in grid:
        held = few.copy()
        held[column] = pd.Series(value, index=few.index).astype(few[column].dtype)
        outputs = trainer.predict(held) if classes is None else trainer.predict_proba(held)
        means.append(np.asarray(outputs, float).reshape(len(held), -1).mean(axis=0))
    lines = np.array(means)
    if classes is not None and len(classes) == 2:
        lines, classes = lines[:, 1:], classes[1:]

    def draw() -> Any:
        ax = new_figure((5.2, 3.2)).add_subplot()
        at = grid if numeric else np.arange(len(grid))
        for i in range(min(lines.shape[1], len(COLOURS))):
            label = None if classes is None else as_label(classes[i])
            ax.plot(at, lines[:, i], marker="o", color=COLOURS[i], label=label)
        if not numeric:
            ax.set_xticks(at, [as_label(v, 16) for v in grid], rotation=45, ha="right")
        ax.set_xlabel(as_label(column, 40))
        ax.set_ylabel("mean prediction" if classes is None else "mean probability")
        if classes is not None:
            ax.legend(fontsize="small")
        return ax

    says = f"The mean prediction of {len(few)} rows if {column} has the same value in all of them."
    return picture(f"Dependence on {column}", says, draw)
