"""Temporary folders that a killed process does not leave behind for ever.

Responsible for folders that bear our mark, and for removing those whose process is gone. Not for
what is in them.

A mark is a file in the folder which its process holds locked for as long as it lives: a lock ends
with its process, whereas the number of a dead process may be another's. The mark is put in its
place when it is locked already, so that nobody can find a mark of a living process unlocked; and it
is the last thing that is removed, so that a removal that is killed can be done again. It names its
folder: a copy, or a folder that was renamed, is the person's who made it.

Where there are no such locks (Windows, some network drives), folders have no mark, and what a kill
leaves stays.
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
LONGEST_MARK = 4_096  # bytes that are read of a file that may be one


class Scratch:
    """A new temporary folder of this process.

    Args:
        prefix: of its name.
        parent: where it is made; None: the folder for temporary files.

    Attributes:
        path: of the folder.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, prefix: str, parent: Path | None = None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        self._lock = _mark(self.path)

    def remove(self) -> None:
        """Delete it. What cannot be deleted stays, for `sweep` to try again."""
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

    A folder is deleted if it bears our mark, belongs to this user, and nobody holds its lock. Links
    are not followed, and everything else is left alone.

    Args:
        prefix: of the folders' names.
        parent: where they are; None: the folder for temporary files.

    Returns:
        The folders that were deleted.
    """
    found: list[Path] = []
    home = Path(tempfile.gettempdir() if parent is None else parent)
    with contextlib.suppress(OSError), os.scandir(home) as entries:
        found = [home / entry.name for entry in entries if entry.name.startswith(prefix)]
    return [path for path in found if _abandoned_and_deleted(path)]


def _mark(folder: Path) -> int | None:
    """The descriptor that holds the lock, or None where nothing can be locked."""
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
    """Whether the folder is one of a process that is gone; its lock is held meanwhile."""
    if fcntl is None:
        yield False
        return
    with contextlib.ExitStack() as ends:
        try:
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            ends.callback(os.close, folder)
            # not to wait for somebody who writes, should it be a pipe
            mark = os.open(MARK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            ends.callback(os.close, mark)
            of_folder, of_mark = os.fstat(folder), os.fstat(mark)
            mine = {of_folder.st_uid, of_mark.st_uid} == {os.getuid()}
            whole = stat.S_ISREG(of_mark.st_mode) and of_mark.st_nlink == 1
            if not (mine and whole):
                abandoned = False
            else:
                found = json.loads(os.read(mark, LONGEST_MARK))
                abandoned = found == _content(path.name, of_folder)
                if abandoned:
                    fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (OSError, ValueError, RecursionError):  # no mark of ours, or somebody holds it
            abandoned = False
        yield abandoned


def _delete(path: Path) -> None:
    """Delete what is in a folder, then its mark, then itself; what cannot be deleted stays."""
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
