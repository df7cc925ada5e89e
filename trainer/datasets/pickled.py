"""Reads published files that are pickles, without executing code from them.

CIFAR's batches are pickled dicts, and the word sequences of IMDB and Reuters are pickled inside
their .npz files. An ordinary unpickler calls any function that the file names; this one only
builds NumPy arrays and plain containers, and refuses every other name.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

# The function that a pickled array calls; its module moved between NumPy 1 and 2.
_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
}


class ArrayUnpickler(pickle.Unpickler):
    """Builds numbers, strings, containers and NumPy arrays; raises UnpicklingError otherwise."""

    def find_class(self, module: str, name: str) -> Any:
        """Return an allowed class or function; pickle calls this for every global it reads."""
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it refers to {module}.{name}, and only NumPy arrays are allowed"
            ) from None


def read_npz(path: Path, keys: Sequence[str]) -> list[np.ndarray]:
    """Return the arrays `keys` of a published .npz file, including arrays of Python lists."""
    with zipfile.ZipFile(path) as archive:
        members = archive.namelist()
        if missing := [key for key in keys if f"{key}.npy" not in members]:
            raise ValueError(f"it has no array {', '.join(missing)}")
        # Read each member completely, so that its checksum is verified before it is parsed.
        return [_read_npy(io.BytesIO(archive.read(f"{key}.npy"))) for key in keys]


def _read_npy(stream: io.BytesIO) -> np.ndarray:
    version = npy_format.read_magic(stream)
    read_header = (
        npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    )
    _, _, dtype = read_header(stream)
    if dtype.hasobject:
        return np.asarray(ArrayUnpickler(stream).load())
    stream.seek(0)
    return npy_format.read_array(stream, allow_pickle=False)
