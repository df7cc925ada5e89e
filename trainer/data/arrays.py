"""Converts user data to NumPy arrays and checks their structure, dtype and finiteness.

Responsible for turning arrays, lists, numeric frames and nested dicts or tuples of them into trees
of NumPy arrays of equal length, or for an error that says what is wrong and where. Not for labels
(`labels`), tables of mixed columns (`tables`), or batches (`engine.feeds`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trainer.data import text
from trainer.data.sparse import SparseRows, is_sparse

Tree = Any  # an array, or a dict, tuple or list of trees
SPARSE_TENSORS = ("SparseTensor", "SparseTensorValue", "SparseTensorSpec")
RAGGED_TENSORS = ("RaggedTensor", "RaggedTensorValue", "RaggedTensorSpec")
_LARGEST_X, _LARGEST_Y = 1e18, 3.4e38  # the latter is what float32 holds
_ROWS_PER_CHECK = 65_536  # check in chunks, so that a memory-mapped array stays on disk


def is_nested(value: Any) -> bool:
    """Return whether `value` is a structure of several inputs or outputs, not one array-like.

    A list of numbers or rows is data; a list of arrays is a structure.
    """
    if isinstance(value, Mapping):
        return not _is_sparse(value)  # SciPy's dok_matrix is a dict
    if isinstance(value, tuple):
        return len(value) > 0 and not any(np.isscalar(v) for v in value)
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(isinstance(v, (np.ndarray, Mapping)) or hasattr(v, "iloc") for v in value)
        and all(getattr(v, "ndim", 1) > 1 for v in value)
    )


def map_tree(function: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """Apply `function` to every leaf of `tree` (and the same leaves of `others`)."""
    if isinstance(tree, Mapping):
        return {k: map_tree(function, tree[k], *(o[k] for o in others)) for k in tree}
    if isinstance(tree, (tuple, list)):
        return tuple(map_tree(function, *leaves) for leaves in zip(tree, *others, strict=True))
    return function(tree, *others)


def leaves(tree: Tree, name: str = "x") -> Iterator[tuple[str, Any]]:
    """Yield each leaf with an expression that names it, such as `x['wide']` or `y[0]`."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from leaves(value, f"{name}[{key!r}]")
    elif isinstance(tree, (tuple, list)):
        for i, value in enumerate(tree):
            yield from leaves(value, f"{name}[{i}]")
    else:
        yield name, tree


def map_named(function: Callable[[str, Any], Any], tree: Tree, name: str = "x") -> Tree:
    """Apply `function(name, leaf)` to every leaf, named as by `leaves`."""
    if isinstance(tree, Mapping):
        return {k: map_named(function, v, f"{name}[{k!r}]") for k, v in tree.items()}
    if isinstance(tree, (tuple, list)):
        return tuple(map_named(function, v, f"{name}[{i}]") for i, v in enumerate(tree))
    return function(name, tree)


def to_arrays(
    value: Any, name: str, *, finite: bool = True, texts: Collection[str] | None = None
) -> Tree:
    """Convert `value` to a tree of finite NumPy arrays with at least one row each.

    Args:
        value: An array-like, a numeric frame, or a dict, tuple or list of them.
        name: The name of the argument, for errors.
        finite: Whether to refuse NaN and infinity.
        texts: The names of the parts that are text; None: those that look like it (see
            `text.is_text`).

    Returns:
        The same structure (lists of arrays become tuples) of arrays with a native float, int,
        unsigned or bool dtype, or of str in an array [n] of objects. Memory-mapped arrays stay
        memory-mapped, sparse matrices become SparseRows.

    Raises:
        TypeError, ValueError: Sparse tensors, complex, empty, NaN or infinite values, text in an
            array of several axes, or text mixed with anything else.
    """
    check_is_data(value, name)
    if isinstance(value, SparseRows) or is_sparse(value):
        return _sparse(value, name, finite)
    check_dense(value, name)
    if is_nested(value):
        if isinstance(value, Mapping):
            check_has_parts(value, name)
            return {
                k: to_arrays(v, f"{name}[{k!r}]", finite=finite, texts=texts)
                for k, v in value.items()
            }
        return tuple(
            to_arrays(v, f"{name}[{i}]", finite=finite, texts=texts) for i, v in enumerate(value)
        )
    if text.is_text(value) if texts is None else name in texts:
        return text.texts(value, name)
    array = numeric(value, name)
    if finite:
        check_finite(array, name)
    return array


def _sparse(value: Any, name: str, finite: bool) -> SparseRows:
    if value.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {value.ndim}D array instead: {name} is sparse and has shape "
            f"{value.shape}. Reshape your data: it must have shape (n, features)"
        )
    rows = value if isinstance(value, SparseRows) else SparseRows(value)
    if rows.dtype.kind == "c":
        raise ValueError(
            f"Complex data not supported: {name} has dtype {rows.dtype}; write abs({name})"
        )
    if rows.dtype.kind not in "fiub":
        raise TypeError(
            f"{name} is sparse and has dtype {rows.dtype}, which is not numeric; convert it to "
            "numbers first"
        )
    check_not_empty(rows.shape, name)
    wrong = ~np.isfinite(rows.values) if finite and rows.dtype.kind == "f" else np.zeros(0, bool)
    if wrong.any():
        row, column = rows.first(wrong)
        what = "NaN" if np.isnan(rows.values[wrong][0]) else "infinity (inf)"
        place = name.rsplit(": ", 1)[-1]
        raise ValueError(
            f"{name} contains {what}, first at {place}[{row}, {column}]; drop such rows, or "
            "replace these values"
        )
    return rows


def numeric(value: Any, name: str) -> np.ndarray:
    """Convert one array-like to an array with a native numeric dtype; NaN is allowed.

    Raises:
        TypeError: Sparse data, or elements that are not numbers.
        ValueError: Complex numbers, text, rows of different lengths, no rows, or no columns.
    """
    check_dense(value, name)
    if hasattr(value, "iloc"):
        value = value.to_numpy()
    try:
        array = np.asarray(value) if not isinstance(value, np.memmap) else value
    except ValueError as error:
        raise _uneven(name, error) from error
    if array.dtype.kind == "c":
        raise ValueError(
            f"Complex data not supported: {name} has dtype {array.dtype}; "
            f"write np.abs({name}) or stack {name}.real and {name}.imag"
        )
    if array.dtype.kind == "O":
        array = _from_objects(array, name)
    if array.dtype.kind in "US":
        array = _from_text(array, name)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"{name} has dtype {array.dtype}, which is not numeric; convert it to numbers first"
        )
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    check_not_empty(array.shape, name)
    return array


def check_is_data(value: Any, name: str) -> None:
    """Refuse values that NumPy would convert to a scalar.

    Raises:
        ValueError: The value is None.
        TypeError: The value is text, such as a file name.
    """
    if value is None:
        raise ValueError(f"{name}=None: must be data; pass an array, a DataFrame or a stream")
    if isinstance(value, (str, bytes, Path)):
        raise TypeError(
            f"{name}={value!r:.200}: must be data, not text; read a file with "
            f"trainer.datasets.load, or write [{name.rsplit(': ', 1)[-1]}] if it is a single text"
        )


def check_has_parts(value: Any, name: str) -> None:
    """Refuse an empty dict.

    Raises:
        ValueError: The value is one.
    """
    if isinstance(value, Mapping) and not value:
        raise ValueError(
            f"{name}={{}}: has no parts; pass an array, or a dict with an array for each part"
        )


def check_keys(tree: Tree, name: str) -> None:
    """Refuse keys of dicts that Keras does not take as names of layers.

    Raises:
        ValueError: A key is not text, or contains a slash.
    """
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            if not isinstance(key, str) or "/" in key:
                instead = str(key).replace("/", "_")
                raise ValueError(
                    f"{name}: the key {key!r} must be text without '/', as ready-made "
                    f"architectures name layers by it; write {instead!r}"
                )
            check_keys(value, f"{name}[{key!r}]")
    elif isinstance(tree, (tuple, list)):
        for i, value in enumerate(tree):
            check_keys(value, f"{name}[{i}]")


def shape(value: Any, name: str) -> tuple[int, ...]:
    """Return the shape of an array-like.

    Raises:
        ValueError: It is a list of rows that differ in length.
    """
    try:
        return np.asarray(value).shape
    except ValueError as error:
        raise _uneven(name, error) from error


def check_dense(value: Any, name: str) -> None:
    """Refuse data with values left out: sparse, ragged or masked.

    Raises:
        TypeError: The value is one; the message says how to fill it.
        ValueError: It is a masked array, whose masked values would be used.
    """
    place = name.rsplit(": ", 1)[-1]
    if _is_sparse(value):
        how = "toarray" if hasattr(value, "toarray") else "todense"
        raise TypeError(
            f"{name} is a sparse matrix, but dense data are required; write {place}.{how}()"
        )
    if type(value).__name__ in SPARSE_TENSORS:
        raise TypeError(
            f"{name} is a tf.SparseTensor, but dense data are required; write "
            f"tf.sparse.to_dense({place})"
        )
    if type(value).__name__ in RAGGED_TENSORS:
        raise TypeError(
            f"{name} is a tf.RaggedTensor, but its rows must have the same length; write "
            f"{place}.to_tensor(), which pads them"
        )
    if type(value).__module__.startswith("torch.utils.data"):
        raise TypeError(
            f"{name} is a PyTorch {type(value).__name__}, whose random state could not be saved; "
            "pass the arrays themselves (for a TensorDataset, fit(*dataset.tensors)), or "
            "tf.data.Dataset.from_generator(function, ...), whose function iterates over it"
        )
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        filled = f"{place}.filled(0)"
        if place.startswith("y"):  # there 0 would be a target like others; NaN is a missing one
            floats = "" if value.dtype.kind == "f" else ".astype(float)"
            filled = f"{place}{floats}.filled(np.nan)"
        raise ValueError(
            f"{name} is a masked array, whose masked values would be used; write {filled}, or drop "
            "such rows"
        )


def _is_sparse(value: Any) -> bool:
    return hasattr(value, "nnz") and (hasattr(value, "toarray") or hasattr(value, "todense"))


def _from_objects(array: np.ndarray, name: str) -> np.ndarray:
    try:
        return array.astype(np.float64)
    except TypeError as error:
        raise TypeError(
            f"{name} contains objects that are not numbers, where each argument must be a string "
            f"of digits or a number ({error}); convert them to numbers first"
        ) from error
    except ValueError as error:
        if any(np.ndim(value) for value in array.ravel()):
            raise _uneven(name, error) from error
        raise _text_found(array, name) from error


def _uneven(name: str, error: Exception) -> ValueError:
    return ValueError(
        f"{name}: its rows differ in length ({error}); pad them to the same length, for "
        "example with keras.utils.pad_sequences"
    )


def _from_text(array: np.ndarray, name: str) -> np.ndarray:
    try:
        return array.astype(np.float64)
    except ValueError as error:
        raise _text_found(array, name) from error


def _text_found(array: np.ndarray, name: str) -> ValueError:
    def is_number(value: Any) -> bool:
        try:
            float(value)
        except (TypeError, ValueError):
            return False
        return True

    found = next((v for v in array.ravel().tolist() if not is_number(v)), "")
    instead = {
        "x": "pass a pandas DataFrame to fit, which encodes its text columns, one array of text "
        "[n], or convert it to numbers first",
        "y": "convert it to numbers first, or use a Classifier if these are labels",
    }.get(_role(name), "pass numbers")
    return ValueError(f"{name} contains text such as {found!r:.80}; {instead}")


def _role(name: str) -> str:
    # The role of "validation_data: x['wide']" is "x".
    last = name.rsplit(": ", 1)[-1]
    return last.split("[", 1)[0]


def check_not_empty(shape: tuple[int, ...], name: str) -> None:
    """Refuse an array without rows or without features."""
    if len(shape) and shape[0] == 0:
        raise ValueError(
            f"{name} is empty: found 0 sample(s) (shape={shape}) while a minimum of 1 is required"
        )
    if 0 in shape[1:]:
        raise ValueError(
            f"{name} is empty: found 0 feature(s) (shape={shape}) while a minimum of 1 is required."
        )


def check_finite(array: np.ndarray, name: str) -> None:
    """Refuse NaN, infinity, and numbers that are too large to compute with in float32.

    Raises:
        ValueError: There is such a value; the message has the first index.
    """
    if array.dtype.kind != "f":
        return
    # x is squared, to scale it; y is scaled before that
    most = _LARGEST_X if _role(name) == "x" else _LARGEST_Y
    for start in range(0, len(array) if array.ndim else 0, _ROWS_PER_CHECK):
        piece = np.asarray(array[start : start + _ROWS_PER_CHECK])
        with np.errstate(invalid="ignore"):
            if not piece.size or (float(piece.max()) <= most and float(piece.min()) >= -most):
                continue  # the common case, without a temporary array of the same size
            bad = np.argwhere(~(np.abs(piece.astype(np.float64)) <= most))
        if len(bad):
            at = tuple(int(i) for i in bad[0])
            index = ", ".join(str(i) for i in (at[0] + start, *at[1:]))
            place = name.rsplit(": ", 1)[-1]
            if np.isfinite(piece[at]):
                raise ValueError(
                    f"{name} contains {piece[at]:.3g}, first at {place}[{index}], and the limit is "
                    f"{most:g}: numbers in float32 would overflow; choose a larger unit, or "
                    "replace the number if it stands for a missing one"
                )
            what = "NaN" if np.isnan(piece[at]) else "infinity (inf)"
            instead = "drop such rows, or replace these values"
            if what == "NaN" and _role(name) == "x":
                instead = (
                    "drop such rows, impute the values (sklearn.impute.SimpleImputer), or train "
                    "on a pandas DataFrame, whose missing values are imputed automatically"
                )
            if _role(name) == "y":
                instead += ", or write a loss of your own that leaves them out"
            raise ValueError(f"{name} contains {what}, first at {place}[{index}]; {instead}")


def length(tree: Tree, name: str) -> int:
    """Return the number of rows of every leaf.

    Raises:
        ValueError: The leaves differ in length; the message lists each length.
    """
    lengths = {n: len(a) for n, a in leaves(tree, name)}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{n} has {k}" for n, k in lengths.items())
        raise ValueError(f"{name}: the parts differ in number of rows: {listed}")
    return next(iter(lengths.values()))


def concatenate(batches: Iterable[Tree]) -> Tree:
    """Concatenate the batches of a stream; bytes, as TensorFlow represents text, become text."""
    parts = list(batches)
    joined = map_tree(lambda *p: np.concatenate([np.asarray(a) for a in p]), parts[0], *parts[1:])
    return map_tree(
        lambda a: np.char.decode(a.astype(bytes)) if a.dtype.kind in "OS" else a, joined
    )


def decoded(tree: Tree, name: str = "x") -> Tree:
    """Return a batch of a stream with str where it has bytes, TensorFlow's form of text.

    Raises:
        ValueError: The bytes are not text in UTF-8.
    """
    return map_named(lambda n, a: text.decoded(a, n) if a.dtype.kind in "OS" else a, tree, name)


def take(tree: Tree, rows: np.ndarray) -> Tree:
    """Return the given rows of every leaf."""
    return map_tree(lambda a: a.iloc[rows] if hasattr(a, "iloc") else a[rows], tree)


def weights(value: Any, n: int, y: Any, name: str = "sample_weight") -> Tree | None:
    """Check sample weights and return them as float64.

    Args:
        value: A weight per row (n,), or per step (n, steps); for several outputs also one of
            these for each, in the structure of y; or None.
        n: The number of rows.
        y: The targets, or None.
        name: The name of the argument, for errors.

    Returns:
        The weights in the same structure, or None.

    Raises:
        TypeError: The value is text, or not numeric.
        ValueError: The shape is wrong, a weight is negative or not finite, or all are zero.
    """
    if value is None:
        return None
    check_dense(value, name)
    if not is_nested(value) or isinstance(value, tuple) and not is_nested(y):
        return _weights(value, n, np.shape(y) if hasattr(y, "shape") else (n,), name)
    expected = dict(leaves(y, "")) if is_nested(y) and not isinstance(y, list) else {}
    value = _lists_as_arrays(value, name)
    found = dict(leaves(value, ""))
    if set(expected) != set(found):
        outputs = f"the outputs {[f'y{k}' for k in expected]}" if expected else "a single output"
        raise ValueError(
            f"{name} has the parts {[f'{name}{k}' for k in found]}, but y has {outputs}; pass one "
            "array of weights for each output, or one for all"
        )
    checked = map_named(lambda k, v: _weights(v, n, np.shape(expected[k]), name + k), value, "")
    return map_named(lambda k, _: dict(leaves(checked, ""))[k], y, "")


def _lists_as_arrays(value: Any, name: str) -> Tree:
    if is_nested(value):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        made = {k: _lists_as_arrays(v, f"{name}[{k!r}]") for k, v in items}
        return made if isinstance(value, Mapping) else tuple(made.values())
    return numeric(value, name) if isinstance(value, (list, tuple)) else value


def _weights(value: Any, n: int, of_y: tuple[int, ...], name: str) -> np.ndarray:
    if isinstance(value, str):
        raise TypeError(
            f"{name}={value!r}: must be one number per row, shape ({n},); for class weights write "
            "class_weight='balanced'"
        )
    array = numeric(value, name).astype(np.float64)
    check_finite(array, name)
    steps = array.ndim > 1 and len(of_y) > 1 and array.shape == of_y[: array.ndim]
    if not steps and (array.ndim != 1 or len(array) != n):
        several = f", or per step, shape {of_y[:2]}" if len(of_y) > 1 else ""
        raise ValueError(
            f"{name} has shape {array.shape}: must have one weight per row, shape ({n},){several}"
        )
    if (array < 0).any():
        raise ValueError(
            f"{name}={array.min():g}: weights must not be negative; to push outputs away from "
            "targets, override compute_loss, and pass the signs as a part of y"
        )
    if not array.any():
        raise ValueError(f"{name}: every weight is zero; at least one must be above 0")
    return array


def is_shape(value: Any) -> bool:
    """Return whether `value` is the shape of one input, not a structure of shapes."""
    return isinstance(value, tuple) and all(v is None or isinstance(v, int) for v in value)


def map_shapes(function: Callable[[Any], Any], shapes: Any) -> Tree:
    """Apply `function` to every shape of a structure of shapes."""
    if is_shape(shapes):
        return function(shapes)
    if isinstance(shapes, dict):
        return {k: map_shapes(function, v) for k, v in shapes.items()}
    return tuple(map_shapes(function, v) for v in shapes)
