"""Predictions of data that do not fit in memory: parts of x, and where their predictions go.

Responsible for the argument `out` of predict: an array, or a .npy file that appears once it is
complete; and for taking a part of the rows of x, whatever it is. Not for predicting (`base`).
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from trainer.data import arrays
from trainer.data.arrays import Tree
from trainer.data.frames import as_frame
from trainer.data.sparse import is_sparse
from trainer.utils.files import Folder

Out = str | os.PathLike[str] | np.ndarray

_SAID = "out='predictions.npy'"


def sliceable(x: Any) -> Any:
    """Return x in a form of which `part` can take rows: SciPy's csr, and pandas' DataFrames."""
    if arrays.is_nested(x):
        if isinstance(x, Mapping):
            return {key: sliceable(value) for key, value in x.items()}
        return tuple(sliceable(value) for value in x)
    return x.tocsr() if is_sparse(x) else as_frame(x)


def part(x: Any, start: int, stop: int) -> Any:
    """Return the rows from `start` up to `stop` of data that `sliceable` returned."""
    if arrays.is_nested(x):
        return arrays.map_tree(lambda leaf: part(leaf, start, stop), x)
    return x.iloc[start:stop] if hasattr(x, "iloc") else x[start:stop]


def count(x: Any, name: str = "x") -> int:
    """Return the number of rows of data that `sliceable` returned.

    Raises:
        TypeError: It has no rows.
        ValueError: Its parts differ in length, or there are none.
    """
    arrays.check_is_data(x, name)
    parts = list(arrays.leaves(x, name)) if arrays.is_nested(x) else [(name, x)]
    lengths = {}
    for label, leaf in parts:
        shape = getattr(leaf, "shape", None)
        if shape is None and not hasattr(leaf, "__len__"):
            raise TypeError(
                f"{label} is of type {type(leaf).__name__}: pass rows, such as an array"
            )
        if shape is not None and len(shape) == 0:
            raise TypeError(f"{label} has no axis of rows: its shape is ()")
        lengths[label] = len(leaf) if shape is None else int(shape[0])
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{label} has {n}" for label, n in lengths.items())
        raise ValueError(f"{name}: the parts differ in number of rows: {listed}")
    n = next(iter(lengths.values()))
    if n == 0:
        raise ValueError(f"{name} is empty: found 0 sample(s) while a minimum of 1 is required")
    return n


def check(out: Any, rows: int | None) -> None:
    """Check what can be known of `out` before anything is predicted.

    Args:
        out: The argument.
        rows: The number of rows, or None for a stream.

    Raises:
        TypeError: It is neither an array nor a path.
        ValueError: The path does not end in .npy, the array has another number of rows or cannot
            be written to, or x is a stream and it is an array.
        FileNotFoundError: The folder of the path is missing.
    """
    if isinstance(out, (str, os.PathLike)):
        path = Path(out)
        if path.suffix != ".npy":
            raise ValueError(f"out={os.fspath(out)!r}: must end in .npy; write {_SAID}")
        if not path.parent.is_dir():
            raise FileNotFoundError(
                f"out={os.fspath(out)!r}: there is no folder {str(path.parent)!r}; make it first"
            )
        if path.is_dir():
            raise ValueError(f"out={os.fspath(out)!r}: is a folder; write {_SAID}")
        return
    if not isinstance(out, np.ndarray):
        raise TypeError(
            f"out is of type {type(out).__name__}: must be an array, such as np.memmap, or the "
            f"path of a file to write; write {_SAID}"
        )
    if rows is None:
        raise ValueError(
            f"out is an array, but how many rows a stream has is known only at its end; write "
            f"{_SAID}"
        )
    if out.ndim == 0 or len(out) != rows:
        raise ValueError(f"out has shape {out.shape}, but x has {rows} rows; write {_SAID}")
    if not out.flags.writeable:
        raise ValueError("out cannot be written to; open it with mode='r+', or pass a copy")


def write(out: Out, rows: int | None, parts: Iterable[Tree]) -> np.ndarray:
    """Write predictions part by part.

    Args:
        out: An array [n, ...], or the path of a .npy file, which replaces an existing one when it
            is complete.
        rows: The number of rows, or None for a stream.
        parts: The predictions of consecutive rows; one array each.

    Returns:
        The array; for a path the file as a read-only memory-mapped array.

    Raises:
        TypeError, ValueError: As `check`; or shape or dtype of the array are wrong, or there are
            several outputs; nothing has been written to it then.
        OSError: The file cannot be written.
    """
    check(out, rows)
    if isinstance(out, np.ndarray):
        _consume(parts, _Array(out))
        if isinstance(out, np.memmap):
            out.flush()
        return out
    with _file(out) as file:
        _consume(parts, file)
    found: np.ndarray = np.load(out, mmap_mode="r", allow_pickle=False)
    return found


class _Sink(Protocol):
    def begin(self, form: np.ndarray) -> None: ...

    def add(self, part: np.ndarray) -> None: ...


def _consume(parts: Iterable[Tree], sink: _Sink) -> None:
    begun = False
    for one in parts:
        if not isinstance(one, np.ndarray):
            raise ValueError(
                "out: y has several outputs, and out holds one; leave out away and pass a part of "
                "the rows at a time"
            )
        if not begun:
            sink.begin(one)
            begun = True
        sink.add(one)
    if not begun:
        raise ValueError("x is empty: a stream with 0 sample(s)")


class _Array:
    """Writes to an array of the user's."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self._done = 0

    def begin(self, form: np.ndarray) -> None:
        expected = (len(self._array), *form.shape[1:])
        # texts of a longer dtype hold shorter ones
        longer = (
            form.dtype.kind == self._array.dtype.kind == "U"
            and self._array.dtype.itemsize >= form.dtype.itemsize
        )
        if self._array.shape != expected or not (self._array.dtype == form.dtype or longer):
            raise ValueError(
                f"out has shape {self._array.shape} and dtype {self._array.dtype}: the predictions "
                f"have shape {expected} and dtype {form.dtype}; write "
                f"np.empty({expected}, {form.dtype.str!r})"
            )

    def add(self, part: np.ndarray) -> None:
        self._array[self._done : self._done + len(part)] = part
        self._done += len(part)


class _File:
    """Writes a .npy file whose number of rows is known at its end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._rows = 0
        self._form: tuple[tuple[int, ...], np.dtype[Any]] | None = None

    def begin(self, form: np.ndarray) -> None:
        if form.dtype.hasobject:
            raise TypeError(f"out: predictions of dtype {form.dtype} cannot be written to a file")
        self._form = (form.shape[1:], form.dtype)
        self._header()

    def add(self, part: np.ndarray) -> None:
        assert self._form is not None
        shape, dtype = self._form
        if part.shape[1:] != shape:
            raise ValueError(
                f"out: the predictions have rows of shape {shape}, and later of {part.shape[1:]}; "
                "a file holds rows of one shape"
            )
        self._file.write(np.ascontiguousarray(part, dtype).tobytes())
        self._rows += len(part)

    def end(self) -> None:
        """Write the number of rows: NumPy leaves space for it in the header."""
        self._file.seek(0)
        self._header()
        self._file.flush()
        os.fsync(self._file.fileno())

    def _header(self) -> None:
        assert self._form is not None
        shape, dtype = self._form
        np.lib.format.write_array_header_1_0(
            self._file,
            {
                "descr": np.lib.format.dtype_to_descr(dtype),
                "fortran_order": False,
                "shape": (self._rows, *shape),
            },
        )


@contextlib.contextmanager
def _file(path: str | os.PathLike[str]) -> Iterator[_File]:
    """Open a file that gets its name once it is complete, and is deleted after an error."""
    folder, name = os.path.split(os.path.realpath(path))
    temporary = f".{secrets.token_hex(8)}.tmp"
    with Folder(folder, follow_links=True) as place:
        try:
            with place.create(temporary) as opened:
                made = _File(opened)
                yield made
                made.end()
            place.replace(temporary, name)
        except BaseException:
            with contextlib.suppress(OSError):
                place.unlink(temporary)
            raise
        place.sync()
