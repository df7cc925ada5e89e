"""Prepares the arguments of fit: training and validation data to build a network for.

Responsible for collecting x, y, weights and validation data, splitting off validation rows, and
learning inputs and targets from the training rows only. Not for building or training.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trainer.data import arrays, text
from trainer.data.arrays import Tree, map_tree
from trainer.data.frames import as_frame
from trainer.data.inputs import Inputs
from trainer.data.streams import NEGATIVE_WEIGHT, Stream, is_stream
from trainer.data.targets import Classes, Targets
from trainer.utils import checks
from trainer.utils.checks import near_names, warn

PROBE_ROWS = 8
_ROWS_PER_CHECK = 65_536


@dataclass(frozen=True)
class Rows:
    """Rows in memory: x as a tree of arrays or a DataFrame, y as passed by the user.

    `weight` is an array [n] or [n, steps], a tree of these in the structure of y, or None.
    """

    x: Any
    y: Any
    weight: Tree | None
    name: str = ""  # a prefix of x and y in errors, such as "validation_data: "

    @property
    def n(self) -> int:
        """The number of rows."""
        return len(self.x) if hasattr(self.x, "iloc") else arrays.length(self.x, f"{self.name}x")

    def take(self, rows: np.ndarray) -> Rows:
        """Return the given rows."""
        return replace(
            self,
            x=arrays.take(self.x, rows),
            y=None if self.y is None else _take_any(self.y, rows),
            weight=None if self.weight is None else map_tree(lambda w: w[rows], self.weight),
        )

    @property
    def row_weight(self) -> np.ndarray | None:
        """The weight of each row, or None where there is none, or more than one."""
        return self.weight if getattr(self.weight, "ndim", 0) == 1 else None


def collect(
    x: Any,
    y: Any,
    weight: Any,
    *,
    batch_size: int,
    needs_y: str | None,
    prefix: str = "",
    missing: MissingTargets | None = None,
    most: int | None = None,
) -> Rows | Stream:
    """Check x, y and weights, also against each other.

    Args:
        x: A DataFrame, arrays, or a stream that includes y and weights.
        y: Targets, or None.
        weight: Sample weights as for `arrays.weights`, or None.
        batch_size: For streams of single rows.
        needs_y: The name of the estimator if it requires y, else None.
        prefix: A prefix of the argument names in errors.
        missing: What to do with rows that lack a target; None leaves them.
        most: How many batches of a stream are read at most; None if nothing limits them.

    Raises:
        TypeError, ValueError: An argument is not valid; the message says what to write instead.
    """
    if is_stream(x):
        for name, value in (("y", y), ("sample_weight", weight)):
            if value is not None:
                raise ValueError(
                    f"{prefix}{name}: x is of type {type(x).__name__}, whose elements must "
                    f"include y and the weights; leave {name} out, and make them (x, y) or "
                    "(x, y, weight)"
                )
        return _checked_stream(x, batch_size, needs_y, prefix, most)
    x = _checked_inputs(x, f"{prefix}x")
    if y is None and needs_y:
        raise ValueError(
            f"{needs_y} requires y to be passed, but the target y is None; pass the {prefix}y "
            "that belongs to x"
        )
    rows = Rows(x, y, None, prefix)
    rows = replace(rows, y=several(y, rows.n))
    if y is not None:
        _check_targets(rows)
    rows = replace(rows, weight=arrays.weights(weight, rows.n, y, f"{prefix}sample_weight"))
    return rows if missing is None else missing.without(rows)


@dataclass(frozen=True)
class MissingTargets:
    """What to do with rows that lack a target: y is NaN, None, NaT or pd.NA there.

    A row with several targets lacks one if any of them is missing.

    Attributes:
        way: The field missing_target: "drop" or "raise".
        seen: Whether the loss of a part of y sees missing targets: it is one of the user's own.
        warns: Whether to warn of rows that are left out.
    """

    way: str
    seen: Callable[[str], bool] = lambda part: False
    warns: bool = True

    def rows(self, y: Any) -> np.ndarray | None:
        """Return which rows lack a target, bool [n], or None if none does."""
        found: np.ndarray | None = None
        for part, leaf in () if y is None else _targets(y, ""):
            if not self.seen(part):
                lacks = _lacks(leaf)
                if lacks is not None:
                    found = lacks if found is None else found | lacks
        return found

    def without(self, rows: Rows) -> Rows:
        """Return the rows that have a target, with a warning that counts the others.

        Raises:
            ValueError: There are some and `way` is "raise", or no row has one.
        """
        kept = self.kept(rows.y, f"{rows.name}y")
        return rows if kept is None else rows.take(kept)

    def kept(self, y: Any, name: str = "y") -> np.ndarray | None:
        """Return the row numbers that have a target, with a warning; None if all rows do.

        Raises:
            ValueError: As `without`.
        """
        lacks = self.rows(y)
        if lacks is None:
            return None
        n, missing = len(lacks), int(lacks.sum())
        what = f"{name}: {missing} of {n} rows have no target (NaN or None)"
        if self.way == "raise":
            raise ValueError(
                f"{what}, the first is row {int(lacks.argmax())}; drop such rows, or write "
                "missing_target='drop'"
            )
        if missing == n:
            raise ValueError(f"{what}, so none remains; pass rows that have one")
        if self.warns:
            warn(f"{what} and are left out; write missing_target='raise' for an error instead")
        return np.flatnonzero(~lacks)


def _lacks(y: Any) -> np.ndarray | None:
    """Return which rows of one part of y lack a value, bool [n], or None if none does."""
    import pandas as pd

    if hasattr(y, "iloc"):
        found = pd.isna(y).to_numpy()
    else:
        # NumPy would make text of the NaN in a list or a tuple of text
        array = np.asarray(y, dtype=object) if isinstance(y, (list, tuple)) else np.asarray(y)
        if array.ndim == 0 or array.dtype.kind not in "fOmM":  # such as a sparse matrix
            return None
        found = np.empty(len(array), dtype=bool)
        for start in range(0, len(array), _ROWS_PER_CHECK):  # an array may be memory-mapped
            piece = slice(start, start + _ROWS_PER_CHECK)
            found[piece] = _any_missing(pd.isna(np.asarray(array[piece])))
    found = _any_missing(found)
    return found if found.any() else None


def _any_missing(found: np.ndarray) -> np.ndarray:
    return np.asarray(found.reshape(len(found), -1).any(axis=1))


def check_batch_size(value: int | None, x: Any) -> None:
    """Check the argument batch_size of predict and evaluate.

    Raises:
        TypeError, ValueError: It is not a whole number of 1 or more, or x is a stream.
    """
    if value is None:
        return
    checks.integer("batch_size", value, low=1, example=32)
    if is_stream(x):
        raise ValueError(
            f"batch_size={value}: x is of type {type(x).__name__}, which has batches of its own; "
            f"leave batch_size out, or make them of {value} rows"
        )


def several(y: Any, n: int) -> Any:
    """A list of the targets of several outputs as a tuple; anything else unchanged.

    Keras takes such lists. A list of n vectors is the rows of one output.

    Args:
        y: Targets as passed by the user.
        n: The number of rows of x.
    """
    if not isinstance(y, list) or not y or not all(hasattr(part, "shape") for part in y):
        return y
    ranks = [len(part.shape) for part in y]
    if 0 in ranks or any(part.shape[0] != n for part in y):
        return y
    return tuple(y) if len(y) != n or max(ranks) > 1 else y


def _checked_stream(
    x: Any, batch_size: int, needs_y: str | None, prefix: str, most: int | None
) -> Stream:
    stream = Stream.of(x, batch_size=batch_size, name=f"{prefix}x", most=most)
    if stream.steps is None:
        stream.first()  # raises if the stream is empty
    if needs_y and stream.y_spec is None:
        raise ValueError(f"{needs_y}: {prefix}x has no y; make its elements (x, y)")
    return stream


def _checked_inputs(x: Any, name: str) -> Any:
    """A table as a pandas DataFrame, text as [n], all else as arrays of two dimensions or more."""
    x = as_frame(x, name)
    if hasattr(x, "iloc") and not text.is_text(x):
        if x.ndim == 1:
            raise ValueError(
                f"Expected 2D array, got 1D array instead: {name} is a Series of {len(x)} values. "
                "Reshape your data: x.to_frame() if it has one feature"
            )
        arrays.check_not_empty(x.shape, name)
        return x
    x = arrays.to_arrays(x, name)
    for part, leaf in arrays.leaves(x, name):
        alone = leaf.ndim == 1 and hasattr(x, "shape") and leaf.dtype != object
        if leaf.ndim == 0 or alone:
            raise ValueError(
                f"Expected 2D array, got {leaf.ndim}D array instead: {part} has shape "
                f"{leaf.shape}. Reshape your data: {part}[:, None] if it has one feature, "
                f"{part}[None] if it is one row"
            )
    return x


def _check_targets(rows: Rows) -> None:
    arrays.check_has_parts(rows.y, f"{rows.name}y")
    for name, leaf in _targets(rows.y, f"{rows.name}y"):
        arrays.check_dense(leaf, name)
        shape = arrays.shape(leaf, name)
        if not shape:
            place = name.rsplit(": ", 1)[-1]
            instead = f"; write list({place})" if isinstance(leaf, Iterator) else ""
            if arrays.is_nested(rows.y):
                instead = "; several outputs must be arrays each, not lists"
                instead += _if_tuple(rows.y, f"{rows.name}y", "outputs")
            raise ValueError(
                f"{name} is of type {type(leaf).__name__}: must be an array or a list with one "
                f"target for each of the {_counted(rows.n)} of x{instead}"
            )
        if shape[0] != rows.n:
            raise ValueError(
                f"{rows.name}x has {_counted(rows.n)}, but {name} has {_counted(shape[0])}: "
                "inconsistent numbers of samples; pass one target for each row of x"
                + _if_tuple(rows.x, f"{rows.name}x", "inputs")
                + _if_tuple(rows.y, f"{rows.name}y", "outputs")
            )


def _counted(n: int) -> str:
    return f"{n} row{'' if n == 1 else 's'}"


def _if_tuple(value: Any, name: str, parts: str) -> str:
    """Say, for an error, that a tuple is not taken as rows."""
    if not isinstance(value, tuple) or not value:
        return ""
    place = name.rsplit(": ", 1)[-1]
    return f"; {name} is taken as {len(value)} {parts}: write np.asarray({place}) for its rows"


def collect_validation(
    value: Any,
    *,
    batch_size: int,
    needs_y: str | None,
    missing: MissingTargets | None = None,
    most: int | None = None,
) -> Rows | Stream | None:
    """Check the argument validation_data: (x, y), (x, y, sample_weight), a stream, or None."""
    prefix = "validation_data: "
    if value is None:
        return None
    if is_stream(value):
        stream = collect(
            value, None, None, batch_size=batch_size, needs_y=needs_y, prefix=prefix, most=most
        )
        if isinstance(stream, Stream) and stream.read_once and most is None:
            raise TypeError(
                f"validation_data={_described(value)}: is a Python iterator, which gives its "
                "batches only once; pass validation_steps to validate each epoch on the next "
                "batches; or (x, y), a keras.utils.PyDataset, or "
                "tf.data.Dataset.from_generator(function, ...)"
            )
        return stream
    if not isinstance(value, (tuple, list)) or len(value) not in (2, 3):
        share = isinstance(value, float) and 0 < value < 1
        instead = f"validation_split={value}" if share else "validation_data=(x_valid, y_valid)"
        raise TypeError(
            f"validation_data={_described(value)}: must be (x, y), (x, y, sample_weight) or a "
            f"stream; write {instead}"
        )
    x, y, *weight = value
    return collect(
        x,
        y,
        weight[0] if weight else None,
        batch_size=batch_size,
        needs_y=needs_y,
        prefix=prefix,
        missing=missing,
    )


def split_rows(
    rows: Rows, share: float, *, stratify: np.ndarray | None, shuffle: bool, seed: int
) -> tuple[Rows, Rows]:
    """Split off a share of the rows for validation.

    Args:
        rows: All rows.
        share: The fraction for validation.
        stratify: Class indices (n,) to stratify by, or None.
        shuffle: Whether to draw rows at random; otherwise the last rows are held out, as in Keras.
        seed: The seed of the draw.

    Returns:
        The training and the validation rows.

    Raises:
        ValueError: A part would be empty, or a class has a single row.
    """
    from sklearn.model_selection import train_test_split

    n = rows.n
    held = int(np.ceil(n * share))
    if held >= n:
        raise ValueError(
            f"validation_split={share}: leaves none of {n} rows to train on; pass validation_data"
        )
    if not shuffle:
        if stratify is not None:
            lost = np.setdiff1d(stratify[n - held :], stratify[: n - held])
            if len(lost):
                raise ValueError(
                    f"validation_split={share}: shuffle=False holds out the last {held} rows, and "
                    f"the others do not have the class {_short(lost[0].item())}; write "
                    "shuffle=True, or pass validation_data"
                )
        return rows.take(np.arange(n - held)), rows.take(np.arange(n - held, n))
    if stratify is not None:
        classes, counts = np.unique(stratify, return_counts=True)
        if counts.min() < 2:
            raise ValueError(
                f"validation_split={share}: the class {_short(classes[counts.argmin()].item())} "
                "has a single row, which cannot be in both splits; add rows of this class, drop "
                "it, pass validation_data, or write validation_split=0 to hold out none"
            )
        if held < len(classes) or n - held < len(classes):
            raise ValueError(
                f"validation_split={share}: with {held} of {n} rows held out, a split has fewer "
                f"rows than there are classes ({len(classes)}); pass validation_data, another "
                "fraction, or 0 to hold out none"
            )
    train, valid = train_test_split(
        np.arange(n), test_size=held, stratify=stratify, random_state=seed % 2**32
    )
    return rows.take(np.sort(train)), rows.take(np.sort(valid))


def split_by(
    splitter: Any, rows: Rows, strata: np.ndarray | None, groups: Any, seed: int
) -> tuple[Rows, Rows]:
    """Split rows as a splitter of scikit-learn does first.

    Args:
        splitter: Has `split(X, y, groups)`; if its random_state is None, the seed takes its place,
            so that a resumed fit has the same rows.
        rows: All rows.
        strata: The class of each row (n,), or None.
        groups: The group of each row (n,), or None.
        seed: The seed of the fit.

    Returns:
        The training and the validation rows.

    Raises:
        ValueError: It splits nothing off, or raises an error for these rows.
    """
    if getattr(splitter, "random_state", 0) is None:
        splitter = copy.copy(splitter)
        splitter.random_state = seed
    try:
        train, valid = next(iter(splitter.split(np.zeros((rows.n, 1)), strata, groups)))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"validation_split={splitter!r}: cannot split these {rows.n} rows ({error}); pass "
            "groups to fit if it needs them, or validation_data"
        ) from error
    if not len(train) or not len(valid):
        raise ValueError(
            f"validation_split={splitter!r}: leaves {len(train)} rows to train on and {len(valid)} "
            "to validate; pass validation_data"
        )
    return rows.take(np.asarray(train)), rows.take(np.asarray(valid))


def split_some(
    rows: Rows, share: float, *, strata: np.ndarray | None, shuffle: bool, seed: int
) -> tuple[Rows, Rows]:
    """Split off a share of the rows although the user did not ask for it: no class is lost.

    As `split_rows`, but a class with a single row stays in the training rows, and where there are
    too many classes to have each in both parts, each has at least one training row.

    Args:
        rows: All rows.
        share: The fraction for validation.
        strata: The class of each row (n,), or None.
        shuffle: Whether to draw rows at random; otherwise the last rows are held out.
        seed: The seed of the draw.

    Returns:
        The training and the validation rows.
    """
    if strata is None or not shuffle:
        return split_rows(rows, share, stratify=strata, shuffle=shuffle, seed=seed)
    classes, index, counts = np.unique(strata, return_inverse=True, return_counts=True)
    held = int(np.ceil(rows.n * share))
    if counts.min() > 1 and min(held, rows.n - held) >= len(classes):
        return split_rows(rows, share, stratify=strata, shuffle=True, seed=seed)
    order = np.random.default_rng(seed).permutation(rows.n)
    first = np.unique(index[order], return_index=True)[1]
    chosen = np.delete(order, first)[:held]
    if not len(chosen):
        return split_rows(rows, share, stratify=strata, shuffle=True, seed=seed)  # says why
    return rows.take(np.setdiff1d(np.arange(rows.n), chosen)), rows.take(np.sort(chosen))


def encode_stream(
    stream: Stream,
    targets: Targets,
    row_weights: Mapping[int, float] | None,
    *,
    mean_weight: bool,
) -> Stream:
    """Return the stream with encoded targets, and with class weights if any.

    Args:
        stream: Batches of x, y and possibly weights.
        targets: The encoder of y.
        row_weights: The weight of each class index, or None.
        mean_weight: Whether to rescale weights to a mean of 1, which takes a pass.
    """
    if stream.y_spec is None:
        return stream
    if stream.is_weighted:  # the rest of them are checked as they are read
        for name, leaf in arrays.leaves(stream.first()[2], "sample_weight"):
            if not (leaf >= 0).all():
                raise ValueError(
                    f"{stream.name}: {name}={leaf.min():g}: weights must be 0 or more; to push "
                    "outputs away from targets, override compute_loss, and pass the signs as a "
                    "part of y"
                )
    scale = 1.0
    table = None if row_weights is None else np.array([row_weights[i] for i in sorted(row_weights)])
    if mean_weight and (table is not None or stream.is_weighted):
        scale = _mean_weight(stream, targets, table)

    def encode(x: Any, y: Any, *weight: Any) -> tuple[Any, ...]:
        encoded = targets.encode_graph(y)
        if table is None and not weight:
            return (x, encoded)
        import tensorflow as tf

        found = map_tree(lambda w: _checked(w) / scale, weight[0]) if weight else None
        if table is not None:
            if encoded.shape.rank == 1 or encoded.shape[-1] == 1:
                index = tf.cast(tf.reshape(encoded, [-1]), tf.int64)
            else:
                index = tf.argmax(encoded, axis=-1)
            index = tf.minimum(index, len(table) - 1)
            by_class = tf.gather(tf.constant(table / scale, tf.float32), index)
            found = by_class if found is None else by_class * found * scale
        if not hasattr(encoded, "shape") and hasattr(found, "shape"):
            found = map_tree(lambda _: found, encoded)
        return (x, encoded, found)

    return stream.map(encode)


def _checked(weight: Any) -> Any:
    """Return weights as float32 that fail in the pipeline if one is below 0 or NaN."""
    import tensorflow as tf

    cast = tf.cast(weight, tf.float32)
    with tf.control_dependencies(
        [tf.debugging.Assert(tf.reduce_all(cast >= 0), [NEGATIVE_WEIGHT])]
    ):
        return tf.identity(cast)


def _mean_weight(stream: Stream, targets: Targets, table: np.ndarray | None) -> float:
    total, rows = 0.0, 0
    for y, weight in stream.part(1, 2):
        if weight is not None and not hasattr(weight, "shape"):
            return 1.0  # separate weights per output: keep the ratios chosen by the user
        found = np.ones(arrays.length(y, "y")) if weight is None else np.asarray(weight, float)
        if table is not None:
            index = targets.encode(arrays.concatenate([y]), "y")
            found = found * table[index if index.ndim == 1 else index.argmax(axis=-1)]
        total, rows = total + float(found.sum()), rows + found.size
    if total <= 0:
        raise ValueError(f"{stream.name}: every weight is zero; at least one must be above 0")
    return total / rows


def class_weights(
    value: Any, targets: Classes, y: Any, weight: np.ndarray | None = None
) -> dict[int, float]:
    """Convert the field class_weight to a weight for each class index.

    "balanced" is that of scikit-learn's compute_class_weight (King and Zeng 2001): the total
    weight of the rows, divided by the number of classes and by the weight of the class's rows.

    Args:
        value: {label: weight}, where missing labels have weight 1, or "balanced".
        targets: The classes.
        y: The encoded training targets, class indices (n,) or one-hot rows.
        weight: Sample weights (n,), which "balanced" counts rows by; None counts each as 1.

    Raises:
        TypeError, ValueError: The value is not valid: wrong type, unknown label, negative weight.
    """
    from trainer.data.labels import Labels

    labels = targets.labels
    if not isinstance(labels, Labels) or labels.kind == "multilabel":
        raise ValueError(
            f"class_weight={value!r}: y has several outputs, or several labels a row, and a row "
            "has one weight for all of them; pass sample_weight to fit instead, such as "
            "sklearn.utils.class_weight.compute_sample_weight('balanced', y)"
        )
    if isinstance(value, str):
        if value != "balanced":
            near = "; did you mean 'balanced'?" if near_names(value, ["balanced"]) else ""
            raise ValueError(
                f"class_weight={value!r}: must be 'balanced' or {{label: weight}}{near}"
            )
        index = y if y.ndim == 1 else y.argmax(axis=-1)
        counts = np.bincount(index, weights=weight, minlength=labels.n_classes)
        # one-hot rows may have a column without rows, whose weight no row gets
        present = np.count_nonzero(counts)
        balanced = counts.sum() / (present * np.where(counts > 0, counts, counts.sum() / present))
        return dict(enumerate(balanced.tolist()))
    if not isinstance(value, Mapping):
        raise TypeError(f"class_weight={value!r}: must be 'balanced' or {{label: weight}}")
    known = {label: i for i, label in enumerate(labels.classes.tolist())}
    weights = dict.fromkeys(range(labels.n_classes), 1.0)
    for label, weight in value.items():
        key = label.item() if isinstance(label, np.generic) else label
        if key not in known:
            raise ValueError(
                f"class_weight={{{label!r}: {weight!r}}}: {label!r} is not a class of y, which "
                f"has {_short(list(known))}; leave it out"
            )
        if not isinstance(weight, (int, float, np.number)) or not 0 <= weight < np.inf:
            raise ValueError(f"class_weight={{{label!r}: {weight!r}}}: must be a number, 0 or more")
        weights[known[key]] = float(weight)
    return weights


def table_of_numbers(value: Any, owner: str) -> dict[int, float]:
    """Convert the field class_weight of an estimator without classes: {whole number: weight}.

    Args:
        value: The weights; other numbers have weight 1, as in Keras.
        owner: The name of the estimator, for errors.

    Returns:
        The weights of all numbers up to the largest given, and then of all larger ones.

    Raises:
        ValueError: It is not such a dict.
    """
    numbers_given = isinstance(value, Mapping) and all(
        isinstance(k, (int, np.integer)) and not isinstance(k, bool) and 0 <= k < 2**20
        for k in value
    )
    if not numbers_given:
        raise ValueError(
            f"class_weight={value!r}: {owner} has no classes; write a dict of weights by whole "
            "numbers of y, such as {0: 1.0, 1: 5.0}, use a Classifier, or pass sample_weight to fit"
        )
    for number, weight in value.items():
        if not isinstance(weight, (int, float, np.number)) or not 0 <= weight < np.inf:
            raise ValueError(
                f"class_weight={{{number!r}: {weight!r}}}: must be a number, 0 or more"
            )
    size = max((int(k) for k in value), default=0) + 2
    return {i: float(value.get(i, 1.0)) for i in range(size)}


def weights_of_numbers(value: Any, owner: str, y: Any) -> np.ndarray:
    """Return the weight of each row, (n,), for y of whole numbers or one-hot rows.

    Args:
        value: As for `table_of_numbers`.
        owner: As for `table_of_numbers`.
        y: The targets.

    Raises:
        ValueError: y has several outputs, or others than these.
    """
    table = table_of_numbers(value, owner)
    flat = y.reshape(len(y)) if hasattr(y, "shape") and y.size == len(y) else y
    whole = hasattr(flat, "shape") and flat.ndim <= 2
    if whole and flat.ndim == 2:
        flat = flat.argmax(axis=-1)
    if not whole or (flat < 0).any() or (flat != np.floor(flat)).any():
        raise ValueError(
            f"class_weight={value!r}: y must be one whole number for each row, 0 or more, or a "
            "one-hot row; pass sample_weight to fit instead"
        )
    weights = np.array([table[i] for i in sorted(table)])
    return np.asarray(weights[np.minimum(flat.astype(np.int64), len(weights) - 1)])


def probe(x: Any, rows: int = PROBE_ROWS) -> Any:
    """Return the first rows of x, to test a model with before training."""
    if hasattr(x, "iloc"):
        return x.iloc[:rows]
    return map_tree(lambda a: a[:rows], x)


def learn_inputs(data: Rows | Stream, normalize: str | None, *, as_0_1: bool = False) -> Inputs:
    """Learn the inputs from the training data; a table as version 0.1 did, if asked to."""
    if isinstance(data, Stream):
        return Inputs.learn_stream(data.part(0, 2), data.x_spec, normalize=normalize)
    return Inputs.learn(data.x, normalize=normalize, weight=data.row_weight, as_0_1=as_0_1)


class TextOf:
    """The text of one input, in batches of str [n]; can be iterated any number of times.

    Args:
        data: Rows of arrays, or a stream.
        name: The name of the input, `x` or `x['title']`.
    """

    def __init__(self, data: Rows | Stream, name: str) -> None:
        self._data = data
        self._name = name

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the batches of a stream, or all rows at once."""
        if isinstance(self._data, Rows):
            yield dict(arrays.leaves(self._data.x))[self._name]
            return
        for x in self._data.part(0):
            yield text.decoded(dict(arrays.leaves(x))[self._name], self._name)


def _targets(y: Any, name: str) -> list[tuple[str, Any]]:
    if isinstance(y, list) or not arrays.is_nested(y):
        return [(name, y)]
    return list(arrays.leaves(y, name))


def _take_any(y: Any, rows: np.ndarray) -> Tree:
    def pick(value: Any) -> Any:
        return value.iloc[rows] if hasattr(value, "iloc") else np.asarray(value)[rows]

    return pick(y) if isinstance(y, list) or not arrays.is_nested(y) else map_tree(pick, y)


def _described(value: Any) -> str:
    if hasattr(value, "shape"):
        return f"<{type(value).__name__} of shape {tuple(value.shape)}>"
    if isinstance(value, (tuple, list, dict)):
        return f"<{type(value).__name__} of {len(value)} parts>"
    return _short(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


__all__ = [
    "MissingTargets",
    "Rows",
    "TextOf",
    "class_weights",
    "collect",
    "collect_validation",
    "encode_stream",
    "learn_inputs",
    "probe",
    "split_rows",
    "split_some",
]
