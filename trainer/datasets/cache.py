"""Finds published files in the Keras cache, downloads missing ones, and reports broken ones.

The cache is the folder that Keras uses (`KERAS_HOME`, or `.keras` in the home folder), so files
are shared with Keras. A file that exists is used without checking its hash, so that a user without
a network can put it there by hand. Files are downloaded from their publishers, or from a mirror if
the environment variable TRAINER_DATASETS_MIRROR is set. Not for parsing files.
"""

from __future__ import annotations

import gzip
import lzma
import os
import pickle
import tarfile
import tempfile
import threading
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

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
    lzma.LZMAError,
    pickle.UnpicklingError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


MIRROR = "TRAINER_DATASETS_MIRROR"
PATIENCE = 30.0  # seconds until a host that does not answer counts as out of reach
KERAS_FILES = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"


class DataFileError(OSError):
    """Raised for a data file that is incomplete, unreadable, or cannot be downloaded."""


@dataclass(frozen=True)
class PublishedFile:
    """A file of a public data set.

    Attributes:
        name: Its name in the cache, the same as in Keras.
        origin: The URL to download it from.
        file_hash: SHA-256 of the download, or MD5 where the publisher has only that.
        folder: The folder inside the Keras home.
        by_hand: Other names under which a user may have placed the same content.
    """

    name: str
    origin: str
    file_hash: str
    folder: str = "datasets"
    by_hand: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All names under which the file may be found, the preferred ones first."""
        return (*self.by_hand, self.name)

    @property
    def address(self) -> str:
        """Where to download the file from.

        A mirror has the files under their publishers' names, those of a folder of their own in
        the Keras home in a folder of that name: mnist.npz, fashion-mnist/t10k-images-idx3-ubyte.gz.

        Raises:
            ValueError: The mirror is neither an address nor a folder.
        """
        mirror = _mirror()
        if mirror is None:
            return self.origin
        folder = self.folder.removeprefix("datasets").strip("/")
        return "/".join(filter(None, (mirror, folder, self.origin.rsplit("/", 1)[-1])))


def _mirror() -> str | None:
    """Return the address of the mirror without a slash at its end; None if there is none."""
    chosen = os.environ.get(MIRROR, "").strip()
    if not chosen:
        return None
    if Path(chosen).expanduser().is_dir():
        return Path(chosen).expanduser().absolute().as_uri()
    if urlsplit(chosen).scheme not in ("http", "https", "file", "ftp"):
        raise ValueError(
            f"{MIRROR}={chosen!r}: is neither a folder nor an address; write one that starts with "
            "https://, http:// or file://"
        )
    return chosen.rstrip("/")


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
    found = [cached(file) for file in files]
    missing = [file for file, path in zip(files, found, strict=True) if path is None]
    _mirror()  # a wrong address is the user's error, not the download's
    for file in missing:
        # Keras would wait for minutes for a host that a firewall blocks.
        problem = unreachable_each([file.address], PATIENCE)[file.address]
        if problem is not None:
            raise _cannot_download(dataset, missing, problem)
        try:
            _download(file)
        except ValueError as error:  # get_file's word for a wrong checksum
            remedy = (
                f"choose another mirror, or unset {MIRROR}"
                if _mirror()
                else f"try again later, or set {MIRROR} to the address of a mirror"
            )
            raise DataFileError(
                f"{dataset}: {file.address} is incomplete or another file than the published one "
                f"(its hash is wrong), and was not kept; {remedy}"
            ) from error
        except Exception as error:  # get_file reports other failures as plain Exception
            raise _cannot_download(dataset, missing, str(error)) from error
    return [path or _folder(file) / file.name for file, path in zip(files, found, strict=True)]


def _folder(file: PublishedFile) -> Path:
    return keras_home() / file.folder


def cached(file: PublishedFile) -> Path | None:
    """Return where a file is in the cache, or None if it is not there."""
    candidates = (_folder(file) / name for name in file.names)
    return next((path for path in candidates if path.exists()), None)


def unreachable(address: str, timeout: float) -> str | None:
    """Return why an address does not answer within `timeout` seconds, or None if it does."""
    try:
        # Returns once the headers have arrived; some mirrors refuse to send only these.
        with urlopen(address, timeout=timeout):
            return None
    # ValueError: an address that is malformed
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__


def unreachable_each(addresses: Iterable[str], timeout: float) -> dict[str, str | None]:
    """Ask several addresses at once; it never takes longer than `timeout`, and half a second.

    The limit of urlopen is one for each operation on a socket: it bounds neither the look-up of a
    name nor an answer that arrives byte by byte.

    Args:
        addresses: The addresses.
        timeout: The seconds to wait for all of them together.

    Returns:
        Why an address does not answer, or None if it does, by address.
    """
    asked = list(dict.fromkeys(addresses))
    found: dict[str, str | None] = {}

    def ask(address: str) -> None:
        found[address] = unreachable(address, timeout)

    threads = [threading.Thread(target=ask, args=(each,), daemon=True) for each in asked]
    for thread in threads:
        thread.start()
    until = time.monotonic() + timeout + 0.5
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0.0))
    answers = dict(found)  # a thread that is not waited for any more may still add its own
    return {each: answers.get(each, f"no answer within {timeout:g} seconds") for each in asked}


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
            origin=file.address,
            file_hash=file.file_hash,
            cache_dir=str(workplace.path),
            cache_subdir="",
        )
        os.replace(path, folder / file.name)


def _cannot_download(dataset: str, missing: Sequence[PublishedFile], problem: str) -> DataFileError:
    names = ", ".join(file.names[0] for file in missing if cached(file) is None)
    origins = ", ".join(file.address for file in missing if cached(file) is None)
    return DataFileError(
        f"{dataset}: could not download {names} ({problem}). On a machine with network access, "
        f"download it from {origins}, and put it into {_folder(missing[0])} under exactly this "
        f"name; to use a folder other than {keras_home()}, set KERAS_HOME; if the host is out of "
        f"reach, set {MIRROR} to the address of a mirror"
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
        reason = " ".join(str(error).split())  # some have several lines
        raise DataFileError(f"{path} is incomplete or not {kind} ({reason}): {remedy}") from error
