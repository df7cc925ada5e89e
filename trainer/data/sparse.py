"""SciPy's sparse matrices as rows that become dense where they are used.

Responsible for an object with the part of an array's interface that feeds and statistics need. Not
for how many rows are made dense at once: the feeds read what fits in resident_bytes.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np


def is_sparse(value: Any) -> bool:
    """Return whether a value is a sparse matrix or array of SciPy."""
    return hasattr(value, "nnz") and hasattr(value, "tocsr")


def given(x: Any) -> Any:
    """Return rows as people pass them: a matrix of SciPy for SparseRows, the rest as it is."""
    return x.matrix if isinstance(x, SparseRows) else x


class SparseRows:
    """The rows of a sparse matrix; an index gives other SparseRows, np.asarray a dense array.

    Attributes:
        matrix: The values in SciPy's csr form, [n, d].
        shape: (n, d).
        dtype: Of the values.
        ndim: 2.
    """

    ndim = 2

    def __init__(self, matrix: Any) -> None:
        self.matrix = matrix.tocsr()
        self.shape: tuple[int, ...] = tuple(int(d) for d in self.matrix.shape)
        self.dtype: np.dtype[Any] = self.matrix.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> SparseRows:
        return SparseRows(self.matrix[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        dense = self.matrix.toarray()
        return np.asarray(dense if dtype is None else dense.astype(dtype, copy=False))

    @property
    def nbytes(self) -> int:
        """The size of all rows as a dense array, in bytes."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    @property
    def values(self) -> np.ndarray:
        """The values that are stored, [nnz]."""
        return np.asarray(self.matrix.data)

    def first(self, wanted: np.ndarray) -> tuple[int, int]:
        """Return row and column of the first of the stored values where `wanted` is true."""
        at = int(wanted.argmax())
        row = int(np.searchsorted(self.matrix.indptr, at, side="right")) - 1
        return row, int(self.matrix.indices[at])

    def digest(self) -> str:
        """Return a short text that changes when the values do."""
        whole = self.matrix.sorted_indices()
        found = hashlib.sha256()
        for part in (whole.indptr.astype("<i8"), whole.indices.astype("<i8"), whole.data):
            found.update(np.ascontiguousarray(part).tobytes())
        return found.hexdigest()[:16]
