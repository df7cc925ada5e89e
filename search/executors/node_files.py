"""Files of a study on a machine that does not have its directory.

Responsible for a folder that all workers of a study on one machine share, for writing a file to it
once, and for deleting it when the last of them has ended, however it ended. Not for its content.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # a module elsewhere

VARIABLE = "SEARCH_NODE_FOLDER"  # environment variable: where a worker finds a NodeFile
PREFIX = "search-node-"
USERS = ".users"  # each user holds a shared lock on it
_NAME = re.compile(re.escape(PREFIX) + r"[0-9a-f]{32}")


@dataclass(frozen=True)
class NodeFile:
    """A file or folder whose place is known only on the machine that has it.

    Attributes:
        name: in the folder that the environment variable names.
    """

    name: str

    def path(self) -> Path:
        """Return its path on this machine."""
        return Path(os.environ[VARIABLE]) / self.name


def folder(token: str) -> Path:
    """Return where the SharedFolder of a token is on this machine, if there is one."""
    return Path(tempfile.gettempdir()) / f"{PREFIX}{token}"


class SharedFolder:
    """A folder of this machine, for all processes that know the study's token.

    Args:
        token: 32 secret hexadecimal digits.

    Attributes:
        path: of the folder.

    Raises:
        OSError: it cannot be created, or the machine has no locks.
    """

    def __init__(self, token: str) -> None:
        if fcntl is None:
            raise OSError("search.executors.Ray: needs locks of files, which this system lacks")
        self.path = folder(token)
        while True:
            self.path.mkdir(mode=0o700, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # it was deleted just now
                self._users = os.open(self.path / USERS, os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(self._users, fcntl.LOCK_SH)
                if _same(self._users, self.path / USERS):
                    return
                os.close(self._users)

    def write_once(self, name: str, content: Iterable[memoryview | bytes]) -> Path:
        """Write a file unless another process has written it; return its path."""
        path = self.path / name
        with open(self.path / f".{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                beside = self.path / f".{name}.part"
                with open(beside, "wb") as file:
                    for part in content:
                        file.write(part)
                os.replace(beside, path)
        return path

    def close(self) -> None:
        """Leave the folder; the last one who leaves it deletes it."""
        os.close(self._users)
        _delete_if_unused(self.path)


def sweep() -> None:
    """Delete the folders of studies that have no process left on this machine."""
    if fcntl is None:
        return
    with contextlib.suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if _NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                _delete_if_unused(Path(entry.path))


def _delete_if_unused(path: Path) -> None:
    with contextlib.suppress(OSError):  # somebody uses it, or has just deleted it
        users = os.open(path / USERS, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same(users, path / USERS):
                # one who joins meanwhile must not have its new files deleted with the old ones
                unused = folder(secrets.token_hex(16))
                os.rename(path, unused)
                for entry in list(os.scandir(unused)):
                    if entry.name != USERS:  # the last, by which a sweep knows what is left
                        os.unlink(entry)
                shutil.rmtree(unused)
        finally:
            os.close(users)


def _same(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one at the path."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False
    mine = os.fstat(descriptor)
    return (mine.st_dev, mine.st_ino) == (found.st_dev, found.st_ino)
