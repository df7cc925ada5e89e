"""Reads .keras files from untrusted sources: their members and weights, within limits.

Responsible for refusing, before unpacking, an archive or HDF5 file with parts that are too large
for the size of the file or lie outside it. Not for the meaning of the members (`saving`).
"""

from __future__ import annotations

import contextlib
import contextvars
import io
import math
import threading
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from trainer.utils.forms import Malformed, shown

ENTRY = "trainer.json"
WEIGHTS = "model.weights.h5"  # Keras' name
ADAPTERS = "adapters.safetensors"  # see trainer.network.adapters
_MOST_MEMBERS = 10_000
# Neither Keras nor we compress; a repacked file is at most a few times smaller.
_MOST_EXPANSION = 20
_SMALL = 1 << 20
# What a network may have in addition to the weights in its file: metrics, seeds, normalisation.
_FREE_BYTES = 8 << 20
_FREE_VARIABLES = 1_000


class NotOurs(Malformed):
    """The content is intact, but was not written by Trainer.save."""


def members(content: bytes) -> tuple[bytes, bytes]:
    """Return the text of trainer.json, and the weights; b"" in a file of adapters alone.

    Args:
        content: The content of the complete file.

    Raises:
        NotOurs: It is an archive of something else.
        Malformed: It is damaged, or a member is disproportionately large or has a name that leads
            elsewhere.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_members(archive.infolist(), len(content))
            found = archive.namelist()
            if ENTRY not in found:
                raise NotOurs(ENTRY)
            if WEIGHTS not in found and ADAPTERS not in found:
                raise NotOurs(WEIGHTS)
            broken = archive.testzip()
            if broken is not None:
                raise Malformed(f"{shown(broken)} is damaged")
            return archive.read(ENTRY), archive.read(WEIGHTS) if WEIGHTS in found else b""
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
        raise Malformed(str(error)) from error
    except (NotImplementedError, UnicodeError, ValueError, OverflowError) as error:
        if isinstance(error, Malformed):
            raise
        raise Malformed(str(error)) from error


def adapters(content: bytes) -> bytes | None:
    """Return the adapters in a file that `members` has checked, or None."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(ADAPTERS) if ADAPTERS in archive.namelist() else None


def _check_members(found: list[zipfile.ZipInfo], length: int) -> None:
    if len(found) > _MOST_MEMBERS:
        raise Malformed(f"it has {len(found):,} members; we write fewer than {_MOST_MEMBERS:,}")
    names = set()
    for info in found:
        name = info.filename
        parts = PurePosixPath(name.replace("\\", "/"))
        # orig_filename, because Python truncates names at a zero byte.
        if parts.is_absolute() or ".." in parts.parts or ":" in name or info.orig_filename != name:
            raise Malformed(
                f"the member {shown(info.orig_filename)} has a name that leads elsewhere"
            )
        if name in names:
            raise Malformed(f"the member {shown(name)} is in it twice")
        names.add(name)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Malformed(f"the member {shown(name)} is compressed in a way that we do not read")
        if info.flag_bits & 1:
            raise Malformed(f"the member {shown(name)} is encrypted")
        if info.file_size > _SMALL and info.file_size > _MOST_EXPANSION * info.compress_size:
            raise Malformed(
                f"the member {shown(name)} would grow from {info.compress_size:,} bytes to "
                f"{info.file_size:,}"
            )
    stored, total = (sum(getattr(i, n) for i in found) for n in ("compress_size", "file_size"))
    if stored > length or total > max(_SMALL, _MOST_EXPANSION * length):
        raise Malformed(f"its members are larger than the file: {total:,} bytes of {length:,}")


def weights_size(content: bytes) -> tuple[int, int]:
    """Return the number of variables in an HDF5 file of weights, and their size in bytes.

    Raises:
        Malformed: It is not such a file, or an array in it is not numeric, lies in another file,
            or has a declared size that differs from its stored size.
    """
    import h5py

    found: list[tuple[str, Any]] = []
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            # Do not raise within a visit: h5py would replace the error.
            link = file.visititems_links(lambda n, at: None if isinstance(at, h5py.HardLink) else n)
            if link is not None:
                raise Malformed(f"{WEIGHTS}: {shown(link)} is a link to elsewhere")
            file.visititems(lambda name, item: found.append((name, item)))
            sizes = [_array(name, item) for name, item in found if isinstance(item, h5py.Dataset)]
    except Malformed:
        raise
    except Exception as error:  # h5py raises OSError, RuntimeError, KeyError and more
        raise Malformed(f"{WEIGHTS}: cannot be read ({error})") from error
    if sum(sizes) > len(content):
        raise Malformed(f"{WEIGHTS}: its arrays are larger than the file")
    return len(sizes), sum(sizes)


def _array(name: str, item: Any) -> int:
    entry = f"{WEIGHTS}: {shown(name)}"
    if item.external or item.is_virtual:
        raise Malformed(f"{entry} lies in another file")
    if item.dtype.kind not in "fiub" and not (item.dtype.kind == "V" and item.dtype.itemsize == 2):
        raise Malformed(f"{entry} holds {item.dtype}; weights are numbers")
    if item.shape is None or item.chunks is not None or item.id.get_create_plist().get_nfilters():
        raise Malformed(f"{entry} is packed in a way that Keras does not write")
    size = math.prod(item.shape) * item.dtype.itemsize
    if size != item.id.get_storage_size():
        raise Malformed(
            f"{entry} has the shape {item.shape}, {size:,} bytes, of which "
            f"{item.id.get_storage_size():,} are stored"
        )
    return int(size)


# ---- memory limits for a network built from a file ----------------------------------------------


class TooLarge(Malformed):
    """A network, or a part of it, is too large for the weights in its file."""


def too_large(error: BaseException | None) -> TooLarge | None:
    """Return the TooLarge that caused an error, if any: user code may have wrapped it."""
    while error is not None and not isinstance(error, TooLarge):
        error = error.__cause__ or error.__context__
    return error


class _Budget:
    def __init__(self, count: int, size: int) -> None:
        self.count, self.size = count + _FREE_VARIABLES, size + _FREE_BYTES

    def take(self, shape: Any, dtype: str) -> None:
        import ml_dtypes  # bfloat16 and float8

        size = math.prod(shape) * np.dtype(getattr(ml_dtypes, dtype, dtype)).itemsize
        if not self.count or size > self.size:
            raise TooLarge(
                "the network would be larger than the weights in the file: it asks for a variable "
                f"of the shape {tuple(shape)}"
            )
        self.count -= 1
        self.size -= size


_budget: contextvars.ContextVar[_Budget | None] = contextvars.ContextVar("budget", default=None)
_patching = threading.Lock()
_users = 0


@contextlib.contextmanager
def variables_within(count: int, size: int) -> Iterator[None]:
    """Return a context in which Keras creates no more variables than a file has weights for.

    The shapes and fields in a file determine the size of the network that build_model creates. It
    must not use up the memory before it turns out that the weights do not fit.

    Args:
        count: The number of variables in the file.
        size: Their total size in bytes.
    """
    token = _budget.set(_Budget(count, size))
    try:
        with _shapes_checked():
            yield
    finally:
        _budget.reset(token)


@contextlib.contextmanager
def _shapes_checked() -> Iterator[None]:
    """Make Keras check the budget before it creates a variable.

    Keras has no hook for this, so this patches its check of shapes, which runs before each
    variable is created. Threads that are not loading a file have no budget and are not affected.
    """
    global _users
    from keras.src.backend.common.variables import Variable

    with _patching:
        if not _users:
            original = Variable._validate_shape

            def validate(variable: Any, shape: Any) -> Any:
                found = original(variable, shape)
                budget = _budget.get()
                if budget is not None:
                    budget.take(found, variable._dtype)
                return found

            validate.__wrapped__ = original  # type: ignore[attr-defined]
            Variable._validate_shape = validate
        _users += 1
    try:
        yield
    finally:
        with _patching:
            _users -= 1
            if not _users:
                Variable._validate_shape = Variable._validate_shape.__wrapped__
