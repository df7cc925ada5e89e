"""Fingerprints of data, to check that a run is resumed with the same rows.

Responsible for a short text that changes when the data change. Not for comparing it (`directory`).
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from trainer.data import arrays
from trainer.data.preparation import Rows
from trainer.data.sparse import SparseRows, is_sparse
from trainer.data.streams import Stream

MOST_BYTES = 2**28  # read from one array; in a larger one, pieces spread over its rows
PIECES = 64


def of(data: Rows | Stream | None) -> dict[str, str] | None:
    """Return what identifies data: a digest of every array, or only the spec of a stream.

    The rows of a stream are not read: this may take long, and their order may vary. If an array
    is larger than 256 MiB, only 64 pieces spread over it are read.

    Returns:
        {"x": ..., "y": ...} with the names used in errors; None for no data.
    """
    if data is None:
        return None
    if isinstance(data, Stream):
        return {"stream": f"{data.dataset.element_spec!r}, {data.steps} batches"}
    found = {}
    parts: dict[str, Any] = {"x": data.x, "y": data.y, "sample_weight": data.weight}
    for name, value in parts.items():
        if value is None:
            continue
        if isinstance(value, list) and not arrays.is_nested(value):
            value = np.asarray(value)
        for leaf, array in arrays.leaves(value, name):
            found[leaf] = of_array(array)
    return found


def of_array(array: Any) -> str:
    """Return a digest of one array, table or sparse matrix, with its type and shape."""
    if hasattr(array, "iloc"):
        return f"table of {len(array)} rows, {_table(array)}"
    if isinstance(array, SparseRows) or is_sparse(array):
        rows = array if isinstance(array, SparseRows) else SparseRows(array)
        return f"sparse {rows.dtype} {list(rows.shape)}, {rows.digest()}"
    array = np.asanyarray(array)
    return f"{array.dtype} {list(array.shape)}, {_array(array)}"


def _array(array: np.ndarray) -> str:
    digest = hashlib.sha256()
    if array.dtype.kind in "OUS":
        for value in array.ravel():
            digest.update(repr(value).encode() + b"\0")
        return digest.hexdigest()[:16]
    rows = len(array) if array.ndim else 1
    if array.nbytes <= MOST_BYTES or rows < PIECES:
        pieces = [slice(i, i + 65_536) for i in range(0, rows, 65_536)]
    else:
        each = max(1, MOST_BYTES * rows // array.nbytes // PIECES)
        starts = np.linspace(0, rows - each, PIECES).astype(int)
        pieces = [slice(start, start + each) for start in starts]
    for piece in pieces:
        digest.update(np.ascontiguousarray(array[piece] if array.ndim else array).tobytes())
    return digest.hexdigest()[:16]


def _table(table: Any) -> str:
    import pandas as pd

    frame = table.to_frame() if table.ndim == 1 else table
    digest = hashlib.sha256(repr(list(frame.columns)).encode())
    for i in range(frame.shape[1]):
        column = frame.iloc[:, i]
        if column.dtype == object:  # may hold values that pandas cannot hash, such as lists
            digest.update(_array(column.to_numpy()).encode())
        else:
            digest.update(pd.util.hash_pandas_object(column, index=False).to_numpy().tobytes())
    return digest.hexdigest()[:16]
