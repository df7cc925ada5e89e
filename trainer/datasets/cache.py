"""Finds published files in the Keras cache, downloads what is missing, and names what is broken.

The cache is Keras's own folder (`KERAS_HOME`, or `.keras` in the home folder), so that a file
which Keras has downloaded serves here and the other way round. A file that is there is used as it
is: a user without a network may place it by hand. Does not parse anything.
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

from trainer.scratch import Scratch, sweep

# What the standard readers raise for a file that is cut short or is something else.
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
    """A data file is incomplete or unreadable, or is missing and can't be downloaded."""


@dataclass(frozen=True)
class PublishedFile:
    """A file of a public data set.

    name: its name in the cache, which is Keras's.
    origin: the address it is downloaded from.
    file_hash: SHA-256 that a download must have; None where Keras knows none either.
    folder: the folder below the Keras home.
    by_hand: other names under which a user may have placed the same content.
    """

    name: str
    origin: str
    file_hash: str | None
    folder: str = "datasets"
    by_hand: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.by_hand, self.name)


def keras_home() -> Path:
    """The folder that Keras keeps its files in, found without importing Keras."""
    if chosen := os.environ.get("KERAS_HOME"):
        return Path(chosen).expanduser()
    home = Path.home()
    return (home if os.access(home, os.W_OK) else Path(tempfile.gettempdir())) / ".keras"


def fetch(dataset: str, files: Sequence[PublishedFile]) -> list[Path]:
    """Where each of `files` lies in the cache, after downloading those that do not.

    Raises DataFileError, naming every missing file and its folder, if a download fails. A file
    appears in the cache only once it is whole.
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
    # Beside its final place and then renamed, so that a break never leaves half a file there.
    sweep("download-", folder)  # of downloads that were killed
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
        f"{dataset}: could not download {names} ({error}). On a machine with a network, get it "
        f"from {origins}, and put it under exactly this name into the folder "
        f"{_folder(missing[0])}; set KERAS_HOME to use another folder than {keras_home()}"
    )


@contextmanager
def reading(path: Path, kind: str, *, cached: bool) -> Iterator[None]:
    """Turn what goes wrong while reading `path` into a DataFileError that says what to do.

    cached: the file is in the cache and can be downloaded again; otherwise it is the user's.
    """
    try:
        yield
    except (DataFileError, PermissionError):
        raise
    except _UNREADABLE as error:
        remedy = (
            "delete it and load the data set again, or put a whole copy in its place"
            if cached
            else "make or copy the file again"
        )
        raise DataFileError(f"{path} is incomplete or not {kind} ({error}): {remedy}") from error
