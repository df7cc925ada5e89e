"""A folder that one process uses at a time.

Responsible for the lock, and for telling who holds it. A lock dies with its process: what a killed
one leaves behind stops nobody. Not for what the folder is for.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
from pathlib import Path

from trainer import forms
from trainer.files import write_whole

_HOLDER = ".holder.json"


class InUse(Exception):
    """Another process holds the folder; the message says which, where and since when."""


class Hold:
    """A folder held by this process until `release`.

    Args:
        folder: an existing folder.

    Raises:
        InUse: another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        from filelock import FileLock, Timeout

        self._holder = folder / _HOLDER
        self._lock = FileLock(folder / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InUse(self._who()) from None
        now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        mine = {"process": os.getpid(), "machine": platform.node(), "since": now}
        with contextlib.suppress(OSError):  # only read by people: a full disk must not end a run
            write_whole(self._holder, json.dumps(mine).encode())

    def release(self) -> None:
        """Leave the folder to others."""
        if self._lock.is_locked:
            self._holder.unlink(missing_ok=True)
            self._lock.release()

    def _who(self) -> str:
        try:
            found = forms.mapping(_HOLDER, forms.read(self._holder))
        except (OSError, forms.Malformed):
            found = {}
        process, machine, since = (
            forms.shown(found.get(n, "?")).strip("'") for n in ("process", "machine", "since")
        )
        return f"process {process} on {machine} has been using it since {since}"
