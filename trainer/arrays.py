"""From what a user holds to clean arrays: the structure, type and finiteness of x, y and weights.

Responsible for turning arrays, lists, frames of numbers and nested dicts or tuples of them into
trees of NumPy arrays of equal length, or for one error that says what is wrong where. Not for
labels (`labels`), for tables of mixed columns (`tables`), nor for batches (`data`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Tree = Any  # an array, or a dict, tuple or list of trees
_ROWS_A_CHECK = 65_536  # rows looked at in one piece, so that a memory-mapped array stays on disk


def is_nested(value: Any) -> bool:
    """Whether `value` is a structure of several inputs or outputs, not one array-like.

    A list is data when it holds numbers or rows, and a structure when it holds arrays.
    """
    if isinstance(value, Mapping):
        return not _is_sparse(value)  # one kind of sparse matrix is a dict of its elements
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
    """Each leaf with the expression that names it, such as `x['wide']` or `y[0]`."""
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


def to_arrays(value: Any, name: str) -> Tree:
    """`value` as a tree of finite NumPy arrays, each at least one row long.

    Args:
        value: an array-like, a frame of numbers, or a dict, tuple or list of them.
        name: what the user calls it, for errors.

    Returns:
        The same structure (lists of arrays become tuples) of arrays whose dtype is a native
        float, int, unsigned or bool type. Memory-mapped arrays stay so.

    Raises:
        TypeError, ValueError: sparse, complex, text, empty, NaN or infinite values.
    """
    check_is_data(value, name)
    if is_nested(value):
        if isinstance(value, Mapping):
            return {k: to_arrays(v, f"{name}[{k!r}]") for k, v in value.items()}
        return tuple(to_arrays(v, f"{name}[{i}]") for i, v in enumerate(value))
    array = numeric(value, name)
    check_finite(array, name)
    return array


def numeric(value: Any, name: str) -> np.ndarray:
    """One array-like as an array of numbers of a native type; NaN is let through.

    Raises:
        TypeError: sparse, or elements that are no numbers.
        ValueError: complex numbers, text, rows of different lengths, no rows, no columns.
    """
    check_dense(value, name)
    if hasattr(value, "iloc"):
        value = value.to_numpy()
    try:
        array = np.asarray(value) if not isinstance(value, np.memmap) else value
    except ValueError as error:
        raise ValueError(
            f"{name}: its rows differ in length ({error}); pad them to one length, for example "
            "with keras.utils.pad_sequences"
        ) from error
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
            f"{name} has dtype {array.dtype}, which is no number; convert it to numbers first"
        )
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    check_not_empty(array.shape, name)
    return array


def check_is_data(value: Any, name: str) -> None:
    """Refuse what is plainly no data, before NumPy makes a scalar of it.

    Raises:
        ValueError: None.
        TypeError: text, such as the name of a file.
    """
    if value is None:
        raise ValueError(f"{name}=None: must be data; pass an array, a DataFrame or a stream")
    if isinstance(value, (str, bytes, Path)):
        raise TypeError(
            f"{name}={value!r}: must be data, not text; read a file with trainer.datasets.load"
        )


def check_dense(value: Any, name: str) -> None:
    """Refuse a sparse matrix."""
    if _is_sparse(value):
        raise TypeError(
            f"{name} is a sparse matrix, and dense data are required; write {name}.toarray()"
        )


def _is_sparse(value: Any) -> bool:
    return hasattr(value, "toarray") and hasattr(value, "nnz")


def _from_objects(array: np.ndarray, name: str) -> np.ndarray:
    try:
        return array.astype(np.float64)
    except TypeError as error:
        raise TypeError(
            f"{name} holds objects that are no numbers, where each argument must be a string of "
            f"digits or a number ({error}); convert them to numbers first"
        ) from error
    except ValueError as error:
        raise _text_found(array, name) from error


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

    text = next((v for v in array.ravel().tolist() if not is_number(v)), "")
    instead = {
        "x": "pass a pandas DataFrame to fit, whose text columns are encoded for you, or convert "
        "it to numbers first",
        "y": "convert it to numbers first, or use a Classifier if these are labels",
    }.get(_role(name), "pass numbers")
    return ValueError(f"{name} holds text such as {text!r}; {instead}")


def _role(name: str) -> str:
    # "validation_data: x['wide']" is an x
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
    """Refuse NaN and infinity, naming the first place where one stands.

    Raises:
        ValueError: with the index of the first value that is not finite.
    """
    if array.dtype.kind != "f":
        return
    for start in range(0, len(array) if array.ndim else 0, _ROWS_A_CHECK):
        piece = np.asarray(array[start : start + _ROWS_A_CHECK])
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(piece.sum(dtype=np.float64)):
                continue  # one pass without a temporary of the same size
        bad = np.argwhere(~np.isfinite(piece))
        if len(bad):
            at = tuple(int(i) for i in bad[0])
            what = "NaN" if np.isnan(piece[at]) else "infinity (inf)"
            index = ", ".join(str(i) for i in (at[0] + start, *at[1:]))
            instead = "drop such rows, or replace what is not finite"
            if what == "NaN" and _role(name) == "x":
                instead = (
                    "drop such rows, fill them in (sklearn.impute.SimpleImputer), or train on a "
                    "pandas DataFrame, whose missing values are filled in for you"
                )
            place = name.rsplit(": ", 1)[-1]
            raise ValueError(f"{name} contains {what}, first at {place}[{index}]; {instead}")


def length(tree: Tree, name: str) -> int:
    """The number of rows that every leaf has.

    Raises:
        ValueError: leaves of different lengths, with each length.
    """
    lengths = {n: len(a) for n, a in leaves(tree, name)}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{n} has {k}" for n, k in lengths.items())
        raise ValueError(f"{name}: the parts differ in their number of rows: {listed}")
    return next(iter(lengths.values()))


def concatenate(batches: Iterable[Tree]) -> Tree:
    """The batches of a stream, one after another; bytes, TensorFlow's text, become text."""
    parts = list(batches)
    whole = map_tree(lambda *p: np.concatenate([np.asarray(a) for a in p]), parts[0], *parts[1:])
    return map_tree(lambda a: np.char.decode(a.astype(bytes)) if a.dtype.kind in "OS" else a, whole)


def take(tree: Tree, rows: np.ndarray) -> Tree:
    """The given rows of every leaf."""
    return map_tree(lambda a: a.iloc[rows] if hasattr(a, "iloc") else a[rows], tree)


def weights(value: Any, n: int, name: str = "sample_weight") -> np.ndarray | None:
    """Sample weights as float64 [n], or None.

    Raises:
        ValueError: another shape, negative or non-finite values, or nothing but zeros.
    """
    if value is None:
        return None
    if isinstance(value, str):
        raise TypeError(
            f"{name}={value!r}: must be numbers, one weight a row, shape ({n},); for weights by "
            "class write class_weight='balanced'"
        )
    array = numeric(value, name).astype(np.float64)
    check_finite(array, name)
    if array.ndim != 1 or len(array) != n:
        raise ValueError(
            f"{name} has shape {array.shape}: must have one weight a row, shape ({n},)"
        )
    if (array < 0).any():
        raise ValueError(f"{name}={array.min():g}: weights must not be negative")
    if not array.any():
        raise ValueError(f"{name}: every weight is zero; at least one must be above 0")
    return array
