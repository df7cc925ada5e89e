"""Temporary folders that are cleaned up even if their process is killed.

Responsible for folders with our mark, and for removing those whose process is gone. Not for their
content.

The mark is a file in the folder that the process keeps locked while it lives. A lock ends with its
process, whereas the ID of a dead process may be reused. The mark is locked before it is moved into
place, so that the mark of a living process is never seen unlocked. It is deleted last, so that an
interrupted removal can be repeated. It contains the name of its folder: a copied or renamed folder
belongs to the user.

Without such locks (Windows, some network drives), folders have no mark, and those of killed
processes stay.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

MARK = ".scratch.json"
MAKER = "trainer.scratch"
LONGEST_MARK = 4_096  # bytes to read from a possible mark


class Scratch:
    """A new temporary folder of this process.

    Args:
        prefix: The prefix of its name.
        parent: Where to create it; None for the system's temporary folder.

    Attributes:
        path: The path of the folder.

    Raises:
        OSError: It cannot be created.
    """

    def __init__(self, prefix: str, parent: Path | None = None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        self._lock = _mark(self.path)

    def remove(self) -> None:
        """Delete the folder. `sweep` will retry what cannot be deleted."""
        if self._lock is None:
            shutil.rmtree(self.path, ignore_errors=True)
            return
        _delete(self.path)
        os.close(self._lock)
        self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


def sweep(prefix: str, parent: Path | None = None) -> list[Path]:
    """Delete the folders of processes that are gone.

    A folder is deleted if it has our mark, belongs to this user, and is not locked. Links are not
    followed, and everything else is left alone.

    Args:
        prefix: The prefix of the folders' names.
        parent: Where they are; None for the system's temporary folder.

    Returns:
        The folders that were deleted.
    """
    found: list[Path] = []
    home = Path(tempfile.gettempdir() if parent is None else parent)
    with contextlib.suppress(OSError), os.scandir(home) as entries:
        found = [home / entry.name for entry in entries if entry.name.startswith(prefix)]
    return [path for path in found if _abandoned_and_deleted(path)]


def _mark(folder: Path) -> int | None:
    """Mark a folder; return the file descriptor that holds the lock, or None without locks."""
    if fcntl is None:
        return None
    beside = folder / f"{MARK}.tmp"
    lock = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        os.write(lock, json.dumps(_content(folder.name, os.stat(folder))).encode())
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rename(beside, folder / MARK)
    except OSError:
        os.close(lock)
        return None
    return lock


def _content(name: str, folder: os.stat_result) -> dict[str, Any]:
    return {"made by": MAKER, "folder": name, "inode": folder.st_ino}


def _abandoned_and_deleted(path: Path) -> bool:
    with _held_if_abandoned(path) as abandoned:
        if abandoned:
            _delete(path)
        return abandoned and not os.path.lexists(path)


@contextlib.contextmanager
def _held_if_abandoned(path: Path) -> Iterator[bool]:
    """Yield whether the folder's process is gone; if so, hold the folder's lock meanwhile."""
    if fcntl is None:
        yield False
        return
    with contextlib.ExitStack() as ends:
        try:
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            ends.callback(os.close, folder)
            # O_NONBLOCK: if it is a pipe, do not wait for a writer.
            mark = os.open(MARK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            ends.callback(os.close, mark)
            of_folder, of_mark = os.fstat(folder), os.fstat(mark)
            mine = {of_folder.st_uid, of_mark.st_uid} == {os.getuid()}
            regular = stat.S_ISREG(of_mark.st_mode) and of_mark.st_nlink == 1
            if not (mine and regular):
                abandoned = False
            else:
                found = json.loads(os.read(mark, LONGEST_MARK))
                abandoned = found == _content(path.name, of_folder)
                if abandoned:
                    fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (OSError, ValueError, RecursionError):  # not our mark, or it is locked
            abandoned = False
        yield abandoned


def _delete(path: Path) -> None:
    """Delete a folder's content, then its mark, then the folder; stop at the first error."""
    with contextlib.suppress(OSError):
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            for name in os.listdir(folder):
                if name == MARK:
                    continue
                if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                    shutil.rmtree(name, dir_fd=folder)
                else:
                    os.unlink(name, dir_fd=folder)
            os.unlink(MARK, dir_fd=folder)
        finally:
            os.close(folder)
        os.rmdir(path)
