"""Finds published files in the Keras cache, downloads missing ones, and reports broken ones.

The cache is the folder that Keras uses (`KERAS_HOME`, or `.keras` in the home folder), so files
are shared with Keras. A file that exists is used without checking its hash, so that a user without
a network can put it there by hand. Not for parsing files.
"""

from __future__ import annotations

import gzip
import os
import pickle
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trainer.utils.scratch import Scratch, sweep

# What the standard readers raise for a file that is truncated or of another format.
_UNREADABLE = (
    EOFError,
    IndexError,
    KeyError,
    OSError,
    TypeError,
    ValueError,
    gzip.BadGzipFile,
    pickle.UnpicklingError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


KERAS_FILES = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"


class DataFileError(OSError):
    """Raised for a data file that is incomplete, unreadable, or cannot be downloaded."""


@dataclass(frozen=True)
class PublishedFile:
    """A file of a public data set.

    Attributes:
        name: Its name in the cache, the same as in Keras.
        origin: The URL to download it from.
        file_hash: SHA-256 of the download; None where Keras has none either.
        folder: The folder inside the Keras home.
        by_hand: Other names under which a user may have placed the same content.
    """

    name: str
    origin: str
    file_hash: str | None
    folder: str = "datasets"
    by_hand: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All names under which the file may be found, the preferred ones first."""
        return (*self.by_hand, self.name)


def keras_home() -> Path:
    """Return the folder where Keras stores its files, without importing Keras."""
    if chosen := os.environ.get("KERAS_HOME"):
        return Path(chosen).expanduser()
    home = Path.home()
    return (home if os.access(home, os.W_OK) else Path(tempfile.gettempdir())) / ".keras"


def fetch(dataset: str, files: Sequence[PublishedFile]) -> list[Path]:
    """Return the path of each of `files` in the cache, downloading missing ones.

    A file appears in the cache only once its download is complete.

    Raises:
        DataFileError: A download failed; the message names every missing file and its folder.
    """
    found = [_cached(file) for file in files]
    missing = [file for file, path in zip(files, found, strict=True) if path is None]
    for file in missing:
        try:
            _download(file)
        except Exception as error:  # get_file reports failures as plain Exception
            raise _cannot_download(dataset, missing, error) from error
    return [path or _folder(file) / file.name for file, path in zip(files, found, strict=True)]


def _folder(file: PublishedFile) -> Path:
    return keras_home() / file.folder


def _cached(file: PublishedFile) -> Path | None:
    candidates = (_folder(file) / name for name in file.names)
    return next((path for path in candidates if path.exists()), None)


def _download(file: PublishedFile) -> None:
    folder = _folder(file)
    folder.mkdir(parents=True, exist_ok=True)
    # Download next to the final path, then rename, so that an interrupted download never leaves
    # a partial file there.
    sweep("download-", folder)  # remains of killed downloads
    with Scratch("download-", folder) as workplace:
        import keras

        path = keras.utils.get_file(
            fname=file.name,
            origin=file.origin,
            file_hash=file.file_hash,
            cache_dir=str(workplace.path),
            cache_subdir="",
        )
        os.replace(path, folder / file.name)


def _cannot_download(
    dataset: str, missing: Sequence[PublishedFile], error: Exception
) -> DataFileError:
    names = ", ".join(file.names[0] for file in missing if _cached(file) is None)
    origins = ", ".join(file.origin for file in missing if _cached(file) is None)
    return DataFileError(
        f"{dataset}: could not download {names} ({error}). On a machine with network access, "
        f"download it from {origins}, and put it into {_folder(missing[0])} under exactly this "
        f"name; to use a folder other than {keras_home()}, set KERAS_HOME"
    )


@contextmanager
def reading(path: Path, kind: str, *, cached: bool) -> Iterator[None]:
    """Turn errors while reading `path` into a DataFileError that says what to do.

    Args:
        path: The file being read.
        kind: What the file should be, with an article, for the message.
        cached: Whether the file is in the cache and can be downloaded again; otherwise it was
            supplied by the user.
    """
    try:
        yield
    except (DataFileError, PermissionError):
        raise
    except _UNREADABLE as error:
        remedy = (
            "delete it and load the data set again, or replace it with a complete copy"
            if cached
            else "create or copy the file again"
        )
        raise DataFileError(f"{path} is incomplete or not {kind} ({error}): {remedy}") from error
