"""Checks rows, infers the task, and splits rows into train, validation and test.

Every split is a pure function of the rows and the seed. Not for files: it works on x and y in
memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from trainer.datasets.dataset import Dataset, Split, Task

FRACTION = 0.2  # of all rows for testing, and the same for validation
MIN_ROWS = 5  # a fifth of these is still one row; also the minimum per class to stratify
KERAS_SEED = 113  # keras.datasets shuffles the rows with it, which determines the test rows
VALIDATION_ROWS = 5_000  # of the 50,000 or 60,000 training images of the classic image sets
# Integers are a regression target if their distinct values are more than this many ...
MAX_CLASSES = 50
MAX_CLASS_SHARE = 0.05  # ... and more than this share of the rows.


class ThreeSplits(NamedTuple):
    """The training, validation and test splits of a data set."""

    train: Split
    valid: Split
    test: Split
    note: str  # a sentence for the description on how the rows were split


def check_rows(x: Any, y: Any, *, x_name: str, y_name: str) -> None:
    """Raise a ValueError unless x and y have the same number of rows and y is usable."""
    for values, label in ((x, x_name), (y, y_name)):
        if values.ndim == 0:
            raise ValueError(f"{label}: is a single value; it must have one entry per row")
    if len(x) != len(y):
        raise ValueError(
            f"{x_name} has {len(x):,} rows and {y_name} has {len(y):,}: "
            "both must have one entry per sample"
        )
    if len(x) == 0:
        raise ValueError(f"{x_name} has no rows: at least {MIN_ROWS} are needed")
    targets = np.asarray(y)
    if targets.dtype.kind not in "biufUSO":
        raise ValueError(
            f"{y_name} has dtype {targets.dtype}: targets must be numbers, strings or booleans"
        )
    if targets.dtype.kind == "f" and not np.isfinite(targets).all():
        bad = int((~np.isfinite(targets)).sum())
        raise ValueError(f"{y_name} has {bad:,} values that are NaN or infinite: remove those rows")


def infer_task(y: Any) -> Task:
    """Return "regression" for fractions and many distinct integers, else "classification"."""
    values = np.asarray(y)
    if values.dtype.kind == "f" and (values != np.floor(values)).any():
        return "regression"
    if values.dtype.kind in "iuf":
        distinct = len(np.unique(values))
        if distinct > MAX_CLASSES and distinct > MAX_CLASS_SHARE * len(values):
            return "regression"
    return "classification"


def label_names(ys: Sequence[Any]) -> list[str] | None:
    """Return the distinct labels of all `ys` as text, in label order; None for several columns."""
    labels = np.concatenate([np.asarray(y) for y in ys])
    return None if labels.ndim != 1 else [_label_text(label) for label in np.unique(labels)]


def _label_text(label: Any) -> str:
    if isinstance(label, bytes):
        return label.decode("utf-8", "backslashreplace")
    if isinstance(label, float | np.floating):
        return str(int(label))  # 2.0 in a file whose class labels were written as floats
    return str(label)


def keras_train_and_test(x: Any, y: Any) -> tuple[Split, Split]:
    """Split rows in Keras's order as Keras does: the last fifth are test rows."""
    n = int(len(x) * 0.8)
    return _take(x, y, np.arange(n)), _take(x, y, np.arange(n, len(x)))


def split_in_three(x: Any, y: Any, task: Task, seed: int) -> ThreeSplits:
    """Split the rows at random: 60% to train on, 20% for validation, 20% for testing.

    Stratified for classification if every class has at least five rows.

    Raises:
        ValueError: There are fewer than five rows.
    """
    _require(len(x), MIN_ROWS, "rows")
    strata, manner = _strata(y, task)
    rest, test = _hold_out(np.arange(len(x)), strata, FRACTION, seed)
    train, valid = _hold_out(rest, strata, FRACTION / (1 - FRACTION), seed)
    note = f"Split 60/20/20 with seed {seed}, {manner}."
    return ThreeSplits(_take(x, y, train), _take(x, y, valid), _take(x, y, test), note)


def split_off_validation(train: Split, test: Split, task: Task, seed: int) -> ThreeSplits:
    """Use a fifth of the training rows, drawn as in `split_in_three`, for validation."""
    x, y = train
    _require(len(x), MIN_ROWS, "training rows")
    strata, manner = _strata(y, task)
    kept, valid = _hold_out(np.arange(len(x)), strata, FRACTION, seed)
    note = (
        "The test rows are those of the source; validation is a fifth of its training rows, "
        f"drawn with seed {seed}, {manner}."
    )
    return ThreeSplits(_take(x, y, kept), _take(x, y, valid), test, note)


def split_off_first_rows(train: Split, test: Split) -> ThreeSplits:
    """Use the first 5,000 training rows, or the first tenth if these are fewer, for validation."""
    x, y = train
    _require(len(x), 10, "training rows")
    n = min(VALIDATION_ROWS, len(x) // 10)
    note = f"The test rows are those of the source; validation is its first {n:,} training rows."
    return ThreeSplits(Split(x[n:], y[n:]), Split(x[:n], y[:n]), test, note)


def as_dataset(
    splits: ThreeSplits,
    *,
    name: str,
    task: Task,
    description: str,
    source: str,
    class_names: list[str] | None = None,
) -> Dataset:
    """Return the splits as a Dataset; class names default to the labels.

    Raises:
        ValueError: The samples of the splits differ in shape.
    """
    shapes = [part.x.shape[1:] for part in (splits.train, splits.valid, splits.test)]
    if len(set(shapes)) > 1:
        raise ValueError(
            f"{name}: each row of x has shape {shapes[0]} in the training, {shapes[1]} in the "
            f"validation and {shapes[2]} in the test rows; all three must be the same"
        )
    if task == "classification" and class_names is None:
        class_names = label_names([splits.train.y, splits.valid.y, splits.test.y])
    return Dataset(
        name=name,
        train=splits.train,
        valid=splits.valid,
        test=splits.test,
        class_names=class_names and list(class_names),
        task=task,
        description=f"{description} {splits.note}",
        source=source,
    )


def _require(rows: int, least: int, what: str) -> None:
    if rows < least:
        raise ValueError(f"{rows} {what} are too few to split: at least {least} are needed")


def _strata(y: Any, task: Task) -> tuple[np.ndarray | None, str]:
    """Return the labels to stratify by, or None, and a phrase on how the rows are drawn."""
    labels = np.asarray(y)
    if task == "regression" or labels.ndim != 1:
        return None, "at random"
    classes, counts = np.unique(labels, return_counts=True)
    rarest = int(counts.argmin())
    if counts[rarest] < MIN_ROWS:
        return None, (
            f"at random without stratification, because class {_label_text(classes[rarest])!r} "
            f"has only {counts[rarest]} of the {MIN_ROWS} rows needed for it"
        )
    return labels, "stratified by class"


def _hold_out(
    rows: np.ndarray, strata: np.ndarray | None, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.model_selection import train_test_split

    kept, held_out = train_test_split(
        rows,
        test_size=fraction,
        random_state=seed,
        stratify=None if strata is None else strata[rows],
    )
    return kept, held_out


def _take(x: Any, y: Any, rows: np.ndarray) -> Split:
    def pick(values: Any) -> Any:
        return values.iloc[rows] if hasattr(values, "iloc") else values[rows]

    return Split(pick(x), pick(y))
