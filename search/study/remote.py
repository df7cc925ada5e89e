"""Folders of trials on storage that workers of other machines can reach, by fsspec.

Responsible for moving the folder of a trial there and back as one file, and for what is left there.
Not for what is in it, nor for folders in a study's directory (`trial_folders`).

    URL/IDENTITY/trials/3.tar      the states of trial 3, for trials that resume from it
    URL/IDENTITY/models/3.tar      its models, until the search has moved them to its directory
    URL/IDENTITY/artifacts/3.tar   its files, likewise

A file appears there whole or not at all, so that a worker that dies leaves no half of one.
"""

from __future__ import annotations

import contextlib
import io
import secrets
import tarfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from search.study.callbacks import SearchCallback, Study
from search.study.storage import ENDED, Trial
from search.study.trial_folders import MARK, TrialFolders

ATTEMPTS = 3  # to reach the storage
SECONDS_BETWEEN_ATTEMPTS = 0.5
SUFFIX = ".tar"

Found = TypeVar("Found")


class Storage:
    """The folder of a study on shared storage; workers get a copy of this object.

    Args:
        url: of a folder, as fsspec understands it.
        study: the identity of the study.

    Raises:
        ImportError: the package for this kind of URL is not installed.
        ValueError: the URL is not valid.
    """

    def __init__(self, url: str, study: str) -> None:
        self.url = url
        self._study = study
        self._system()

    def put(self, kind: str, trial: int, folder: Path) -> None:
        """Store the files of a trial's folder; an earlier version is replaced.

        Args:
            kind: "trials", "models" or "artifacts".
            trial: its number.
            folder: with the files.

        Raises:
            OSError: the storage cannot be reached, or takes no more.
        """
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as archive:
            for path in sorted(folder.iterdir()):
                if path.name != MARK:
                    archive.add(path, path.name)
        self._tried("written", lambda: self._put(kind, trial, content.getbuffer()))

    def get(self, kind: str, trial: int, folders: TrialFolders) -> bool:
        """Restore the files of a trial's folder, if there are any.

        Args:
            kind: as in `put`.
            trial: its number.
            folders: among which to make the trial's; files that are there are replaced.

        Returns:
            Whether there were any.

        Raises:
            OSError: the storage cannot be reached, or the folder cannot be written.
        """
        content = self._tried("read", lambda: self._get(kind, trial))
        if content is None:
            return False
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            archive.extractall(folders.make(trial), filter="data")
        return True

    def numbers(self, kind: str) -> list[int]:
        """Return the trials that have a folder of this kind there.

        Raises:
            OSError: the storage cannot be reached.
        """

        def listed() -> list[int]:
            system, root = self._system()
            system.invalidate_cache()  # others write there too
            try:
                names = system.ls(f"{root}/{kind}", detail=False)
            except FileNotFoundError:
                return []
            stems = [n.rpartition("/")[2].removesuffix(SUFFIX) for n in names if n.endswith(SUFFIX)]
            return sorted(int(stem) for stem in stems if stem.isdecimal())

        return self._tried("listed", listed)

    def delete(self, kind: str, trial: int) -> None:
        """Delete the folder of a trial there, if there is one.

        Raises:
            OSError: the storage cannot be reached.
        """

        def deleted() -> None:
            system, root = self._system()
            with contextlib.suppress(FileNotFoundError):
                system.rm_file(f"{root}/{kind}/{trial}{SUFFIX}")

        self._tried("deleted", deleted)

    # ---- its parts ---------------------------------------------------------------------------

    def _system(self) -> tuple[Any, str]:
        """Return the file system, and the study's folder in it."""
        try:
            from fsspec.core import url_to_fs

            system, root = url_to_fs(self.url)
        except ImportError as error:
            raise ImportError(
                f"storage={self.url!r}: needs a package that is not installed ({error}); write "
                "pip install fsspec, and s3fs for s3:// or gcsfs for gs://"
            ) from error
        except ValueError as error:
            raise ValueError(
                f"storage={self.url!r}: {error}; write 's3://bucket/studies', or '/shared/studies'"
            ) from error
        return system, f"{root.rstrip('/')}/{self._study}"

    def _put(self, kind: str, trial: int, content: memoryview) -> None:
        system, root = self._system()
        path = f"{root}/{kind}/{trial}{SUFFIX}"
        if "file" not in system.protocol:
            system.pipe_file(path, bytes(content))  # one object, which appears when it is whole
            return
        system.makedirs(f"{root}/{kind}", exist_ok=True)
        beside = f"{root}/{kind}/.{trial}-{secrets.token_hex(8)}"
        system.pipe_file(beside, bytes(content))
        system.mv(beside, path)

    def _get(self, kind: str, trial: int) -> bytes | None:
        system, root = self._system()
        try:
            found: bytes = system.cat_file(f"{root}/{kind}/{trial}{SUFFIX}")
        except FileNotFoundError:
            return None
        return found

    def _tried(self, what: str, act: Callable[[], Found]) -> Found:
        """Act, and repeat it if that fails: networks do, and file systems raise what they like."""
        for attempt in range(ATTEMPTS):
            try:
                return act()
            except Exception as error:
                if attempt == ATTEMPTS - 1:
                    raise OSError(
                        f"storage={self.url!r}: cannot be {what} ({type(error).__name__}: {error})"
                    ) from error
                time.sleep(SECONDS_BETWEEN_ATTEMPTS)
        raise AssertionError("unreachable")


class StoredFolders:
    """The folders of one kind on the storage, as `folder.Tidy` takes them.

    Args:
        storage: of the study.
        kind: as in `Storage.put`.
    """

    def __init__(self, storage: Storage, kind: str) -> None:
        self.path = Path(kind)
        self._storage = storage
        self._kind = kind

    def numbers(self) -> list[int]:
        """Return the trials that have one."""
        return self._storage.numbers(self._kind)

    def discard(self, trial: int) -> None:
        """Delete that of a trial."""
        self._storage.delete(self._kind, trial)

    def clean(self) -> None:
        """Do nothing: there are no halves of folders."""

    def strangers(self) -> list[str]:
        """Return nothing: the study has a folder of its own there."""
        return []


class Collect(SearchCallback):
    """Move models and artifacts of trials that have ended from the storage to the directory.

    Args:
        storage: of the study.
        folders: in the study's directory, which have the names of their kinds.
    """

    def __init__(self, storage: Storage, *folders: TrialFolders) -> None:
        self._storage = storage
        self._folders = folders

    def on_search_begin(self, study: Study) -> None:
        """Move what a killed search left there."""
        for folders in self._folders:
            with self._warn_on_failure(folders):
                for number in self._storage.numbers(folders.path.name):
                    if number < len(study.trials) and study.trials[number].state in ENDED:
                        self._move(folders, number)

    def on_trial_end(self, study: Study, trial: Trial) -> None:
        """Move those of the trial."""
        for folders in self._folders:
            with self._warn_on_failure(folders):
                self._move(folders, trial.id)

    def _move(self, folders: TrialFolders, trial: int) -> None:
        if self._storage.get(folders.path.name, trial, folders):
            self._storage.delete(folders.path.name, trial)

    @contextlib.contextmanager
    def _warn_on_failure(self, folders: TrialFolders) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # they stay there, and the next search moves them
            warnings.warn(
                f"{folders.path.name} of trials could not be moved to {str(folders.path)!r} "
                f"({error}); the same call of fit tries again",
                stacklevel=4,
            )
