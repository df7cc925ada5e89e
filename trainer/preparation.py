"""From the arguments of fit to training and validation data that a network can be built for.

Responsible for collecting x, y, weights and validation data, for splitting off validation rows,
and for learning inputs and targets from the training part alone. Not for building or training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trainer import arrays
from trainer.arrays import Tree, map_tree
from trainer.inputs import Inputs
from trainer.streams import Stream, is_stream
from trainer.targets import Classes, Numbers

PROBE_ROWS = 8


@dataclass(frozen=True)
class Rows:
    """Rows in memory: x as a tree of arrays or a DataFrame, y as the user gave it."""

    x: Any
    y: Any
    weight: np.ndarray | None
    name: str = ""  # what precedes x and y in errors, such as "validation_data: "

    @property
    def n(self) -> int:
        """The number of rows."""
        return len(self.x) if hasattr(self.x, "iloc") else arrays.length(self.x, f"{self.name}x")

    def take(self, rows: np.ndarray) -> Rows:
        """The given rows."""
        return replace(
            self,
            x=arrays.take(self.x, rows),
            y=None if self.y is None else _take_any(self.y, rows),
            weight=None if self.weight is None else self.weight[rows],
        )


def collect(
    x: Any,
    y: Any,
    weight: Any,
    *,
    batch_size: int,
    needs_y: str | None,
    prefix: str = "",
) -> Rows | Stream:
    """x, y and weights, checked against each other.

    Args:
        x: a DataFrame, arrays, or a stream that holds y and weights itself.
        y: targets, or None.
        weight: sample weights (n,), or None.
        batch_size: for streams of single rows.
        needs_y: the name of the estimator if it cannot do without y.
        prefix: what precedes the names in errors.

    Raises:
        TypeError, ValueError: with the argument, its value and what to write instead.
    """
    if is_stream(x):
        for name, value in (("y", y), ("sample_weight", weight)):
            if value is not None:
                raise ValueError(
                    f"{prefix}{name}: x is a {type(x).__name__}, whose elements hold y and the "
                    f"weights themselves; leave {name} out, and let x give (x, y) or (x, y, weight)"
                )
        stream = Stream.of(x, batch_size=batch_size, name=f"{prefix}x")
        if needs_y and stream.y_spec is None:
            raise ValueError(f"{needs_y}: {prefix}x gives no y; let its elements be (x, y)")
        return stream
    if not (hasattr(x, "iloc") and getattr(x, "ndim", 0) == 2):
        x = arrays.to_arrays(x, f"{prefix}x")
        for name, leaf in arrays.leaves(x, f"{prefix}x"):
            if leaf.ndim == 0 or (leaf.ndim == 1 and hasattr(x, "shape")):
                raise ValueError(
                    f"Expected 2D array, got {leaf.ndim}D array instead: {name} has shape "
                    f"{leaf.shape}. Reshape your data: {name}.reshape(-1, 1) if it has one "
                    f"feature, {name}.reshape(1, -1) if it is one row"
                )
    if y is None and needs_y:
        raise ValueError(
            f"{needs_y} requires y to be passed, but the target y is None; pass the {prefix}y "
            "that belongs to x"
        )
    rows = Rows(x, y, None, prefix)
    if y is not None:
        for name, leaf in _targets(y, f"{prefix}y"):
            shape = np.asarray(leaf).shape
            if not shape or shape[0] != rows.n:
                found = f"{shape[0]} rows" if shape else "no rows"
                raise ValueError(
                    f"{prefix}x has {rows.n} rows, but {name} has {found}: inconsistent numbers "
                    "of samples; pass one target for each row of x"
                )
    return replace(rows, weight=arrays.weights(weight, rows.n, f"{prefix}sample_weight"))


def collect_validation(value: Any, *, batch_size: int, needs_y: str | None) -> Rows | Stream | None:
    """The argument validation_data: (x, y), (x, y, sample_weight), a stream, or None."""
    prefix = "validation_data: "
    if value is None:
        return None
    if is_stream(value):
        return collect(value, None, None, batch_size=batch_size, needs_y=needs_y, prefix=prefix)
    if not isinstance(value, (tuple, list)) or len(value) not in (2, 3):
        raise TypeError(
            f"validation_data={_short(value)}: must be (x, y), (x, y, sample_weight) or a stream"
        )
    x, y, *weight = value
    return collect(
        x, y, weight[0] if weight else None, batch_size=batch_size, needs_y=needs_y, prefix=prefix
    )


def split_rows(
    rows: Rows, share: float, *, stratify: np.ndarray | None, shuffle: bool, seed: int
) -> tuple[Rows, Rows]:
    """Split off a share of the rows for validation.

    Args:
        rows: all rows.
        share: the fraction for validation.
        stratify: class numbers (n,) whose shares both parts are to have, or None.
        shuffle: whether to pick rows at random; otherwise the last rows are taken, as Keras does.
        seed: of the random choice.

    Raises:
        ValueError: a part would be empty, or a class has a single row.
    """
    from sklearn.model_selection import train_test_split

    n = rows.n
    held = int(np.ceil(n * share))
    if held >= n:
        raise ValueError(
            f"validation_split={share}: leaves no row of {n} to train on; pass validation_data"
        )
    if not shuffle:
        return rows.take(np.arange(n - held)), rows.take(np.arange(n - held, n))
    if stratify is not None:
        classes, counts = np.unique(stratify, return_counts=True)
        if counts.min() < 2:
            raise ValueError(
                f"validation_split={share}: the class {_short(classes[counts.argmin()])} has a "
                "single row, which cannot be in both parts; add rows of it, drop it, or pass "
                "validation_data"
            )
        if held < len(classes) or n - held < len(classes):
            raise ValueError(
                f"validation_split={share}: {held} of {n} rows are too few for a row of each of "
                f"the {len(classes)} classes; pass validation_data, or a larger share"
            )
    train, valid = train_test_split(
        np.arange(n), test_size=held, stratify=stratify, random_state=seed % 2**32
    )
    return rows.take(np.sort(train)), rows.take(np.sort(valid))


def encode_stream(
    stream: Stream, targets: Numbers | Classes, row_weights: Mapping[int, float] | None
) -> Stream:
    """The stream with its targets encoded, and weighted by class if asked for."""
    if stream.y_spec is None or (isinstance(targets, Numbers) and row_weights is None):
        return stream

    def encode(x: Any, y: Any, *weight: Any) -> tuple[Any, ...]:
        encoded = targets.encode_graph(y)
        if row_weights is None:
            return (x, encoded, *weight)
        import tensorflow as tf

        table = tf.constant([row_weights[i] for i in sorted(row_weights)], tf.float32)
        index = encoded if encoded.shape.rank == 1 else tf.argmax(encoded, axis=-1)
        by_class = tf.gather(table, index)
        return (x, encoded, by_class * tf.cast(weight[0], tf.float32) if weight else by_class)

    return stream.map(encode)


def class_weights(value: Any, targets: Classes, y: Any) -> dict[int, float]:
    """The field class_weight as a weight for each class number.

    Args:
        value: {label: weight}, where labels that are left out weigh 1, or "balanced".
        targets: the classes.
        y: the encoded targets of training, class numbers (n,) or one-hot rows.

    Raises:
        TypeError, ValueError: another form, an unknown label, a negative weight.
    """
    from trainer.labels import Labels

    labels = targets.labels
    if not isinstance(labels, Labels) or labels.kind == "multilabel":
        raise ValueError(
            f"class_weight={value!r}: weighs the classes of a single output; for several outputs "
            "or labels pass sample_weight to fit"
        )
    if isinstance(value, str):
        if value != "balanced":
            raise ValueError(f"class_weight={value!r}: must be 'balanced' or {{label: weight}}")
        index = y if y.ndim == 1 else y.argmax(axis=-1)
        counts = np.maximum(np.bincount(index, minlength=labels.n_classes), 1)
        return dict(enumerate((len(index) / (labels.n_classes * counts)).tolist()))
    if not isinstance(value, Mapping):
        raise TypeError(f"class_weight={value!r}: must be 'balanced' or {{label: weight}}")
    known = {label: i for i, label in enumerate(labels.classes.tolist())}
    weights = dict.fromkeys(range(labels.n_classes), 1.0)
    for label, weight in value.items():
        key = label.item() if isinstance(label, np.generic) else label
        if key not in known:
            raise ValueError(
                f"class_weight: {label!r} is no class of y, which has {_short(list(known))}"
            )
        if not isinstance(weight, (int, float, np.number)) or not 0 <= weight < np.inf:
            raise ValueError(f"class_weight={{{label!r}: {weight!r}}}: must be 0 or more")
        weights[known[key]] = float(weight)
    return weights


def probe(x: Any, rows: int = PROBE_ROWS) -> Any:
    """The first rows of x, on which a model is tried before training."""
    if hasattr(x, "iloc"):
        return x.iloc[:rows]
    return map_tree(lambda a: a[:rows], x)


def learn_inputs(data: Rows | Stream, normalize: str | None) -> Inputs:
    """The form of x, from the training part."""
    if isinstance(data, Stream):
        return Inputs.learn_stream(data.part(0), data.x_spec, normalize=normalize)
    return Inputs.learn(data.x, normalize=normalize, weight=data.weight)


def _targets(y: Any, name: str) -> list[tuple[str, Any]]:
    if isinstance(y, list) or not arrays.is_nested(y):
        return [(name, y)]
    return list(arrays.leaves(y, name))


def _take_any(y: Any, rows: np.ndarray) -> Tree:
    def pick(value: Any) -> Any:
        return value.iloc[rows] if hasattr(value, "iloc") else np.asarray(value)[rows]

    return pick(y) if isinstance(y, list) or not arrays.is_nested(y) else map_tree(pick, y)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


__all__ = [
    "Rows",
    "class_weights",
    "collect",
    "collect_validation",
    "encode_stream",
    "learn_inputs",
    "probe",
    "split_rows",
]
