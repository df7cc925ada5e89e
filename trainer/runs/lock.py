"""A lock for a folder that only one process may use at a time.

Responsible for the lock, for saying who holds it, and for detecting that it was lost. A lock ends
with its process, so files left by a killed process block nobody. Not for the folder's content.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import secrets
import stat
from pathlib import Path
from typing import Any

from trainer.utils import forms
from trainer.utils.files import identity, write_whole

LOCK = ".lock"
HOLDER = ".holder.json"


class InUse(Exception):
    """Another process holds the folder; the message says which, where and since when."""


class LockLost(Exception):
    """This process no longer holds the folder; the message says why. Write nothing to it."""


class CannotLock(ValueError):
    """The folder cannot be locked; the message names it and says why."""


class Hold:
    """A folder held by this process until `release`.

    A lock can become ineffective: somebody deletes its file and a second process locks a new one,
    or the file system grants the same lock to two machines. Each holder therefore writes its own
    token to the folder; call `check` before each write.

    Args:
        folder: An existing folder.

    Raises:
        InUse: Another process holds it.
        CannotLock: The file system has no locks, or this process may not lock a file there.
    """

    def __init__(self, folder: Path) -> None:
        # Resolve it now: the working directory or the target of a link may change later.
        self._folder = Path(os.path.realpath(folder))
        self._path = self._folder / LOCK
        self._holder = self._folder / HOLDER
        self._token = secrets.token_hex(8)
        self._lost: str | None = None
        for path in (self._path, self._holder):
            _refuse_odd(path)
        if not self._acquire():
            raise InUse(self._who())
        now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        mine = {
            "process": os.getpid(),
            "machine": platform.node(),
            "since": now,
            "token": self._token,
        }
        try:
            write_whole(self._holder, json.dumps(mine).encode(), follow_links=False)
            self._marked = True
        except OSError:  # a full disk must not end a run; rely on the lock alone
            self._marked = False

    def check(self) -> None:
        """Check that this process still holds the folder; call it before each write there.

        If only the lock file was deleted and no other process has used the folder since, the
        folder is locked again.

        Raises:
            LockLost: The folder was removed, or another process has taken it. It stays lost.
            OSError: The file system does not respond; the lock may still be held.
        """
        if self._lost is None:
            self._lost = self._why_lost()
        if self._lost is not None:
            raise LockLost(self._lost)

    def release(self) -> None:
        """Release the folder for other processes."""
        if not self._lock.is_locked:
            return
        # A holder file left behind does no harm, and may belong to another process.
        with contextlib.suppress(OSError):
            if self._read().get("token") == self._token:
                self._holder.unlink(missing_ok=True)
        self._lock.release()

    def _acquire(self) -> bool:
        from filelock import FileLock, Timeout

        # Not thread-local: states are checked and written in another thread.
        lock = FileLock(self._path, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        except (OSError, NotImplementedError) as error:
            said = getattr(error, "strerror", None) or str(error)
            raise CannotLock(
                f"{str(self._path)!r}: cannot be locked ({said}), so nothing would keep two "
                "processes from writing to this folder at once; choose a folder in which you may "
                "write, on a file system with locks (a local disk, or a network file system that "
                "is mounted with locking)"
            ) from error
        self._lock = lock
        self._file = identity(self._path)
        return True

    def _why_lost(self) -> str | None:
        found = self._changed()
        # Ask last: the folder may have been removed while its files were looked at.
        return "it was removed" if found is not None and not self._folder.is_dir() else found

    def _changed(self) -> str | None:
        present = identity(self._path)
        if present is None or present != self._file:
            if not self._marked:
                return "its lock file was deleted"
            if not os.path.lexists(self._holder):  # perhaps the folder is being deleted just now
                return f"its {HOLDER} was deleted: another process may have used it"
            before = self._lock
            if not self._acquire():
                return f"its lock file was deleted, and {self._who()}"
            before.release()
        if self._marked and self._read().get("token") != self._token:
            if os.path.lexists(self._holder):
                return f"its lock was ineffective: {self._who()}"
            return f"its {HOLDER} was deleted: another process may have used it"
        return None

    def _read(self) -> dict[str, Any]:
        try:
            return forms.mapping(HOLDER, forms.read(self._holder))
        except (FileNotFoundError, NotADirectoryError, forms.Malformed):
            return {}

    def _who(self) -> str:
        found: dict[str, Any] = {}
        with contextlib.suppress(OSError):
            found = self._read()
        process, machine, since = (
            forms.shown(found.get(n, "?")).strip("'") for n in ("process", "machine", "since")
        )
        return f"process {process} on {machine} has been using it since {since}"


def _refuse_odd(path: Path) -> None:
    """Refuse anything but a regular file at this path; a link would lead elsewhere."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise CannotLock(f"{str(path)!r}: cannot be read ({error.strerror})") from error
    if not stat.S_ISREG(mode):
        kind = "a link" if stat.S_ISLNK(mode) else "not a regular file"
        raise CannotLock(f"{str(path)!r}: is {kind}, so it is not written to; remove it")
