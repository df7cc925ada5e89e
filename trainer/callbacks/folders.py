"""A folder that belongs to one run: a plugin writes only that run's files to it.

Responsible for where a plugin writes by default, for rejecting a folder that holds another run's
files, and for keeping two writers apart. Not for the files themselves.
"""

from __future__ import annotations

import json
import os
import secrets
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.utils import forms
from trainer.utils.files import identity, read_whole, write_whole

if TYPE_CHECKING:
    from trainer.callbacks.callback import Session

_OWNER = ".run.json"
# Rewrite a table only after training for this many times as long as the last write took.
WRITE_SHARE = 100


def place(field: str, value: Any, default: str, session: Session) -> Path:
    """Where to write: `value`, or `default` in the folder of the run.

    Raises:
        TypeError, ValueError: `value` is not a path, or is None without a run, or `default` is a
            link.
    """
    if value is None:
        if session.folder is None:
            raise ValueError(
                f"{field}=None: there is no run_dir to write to; write {field}='{default}', or "
                "run_dir='runs/first' for the Trainer"
            )
        path = session.folder / default
        refuse_link(field, path)
        return path
    if not isinstance(value, (str, os.PathLike)) or not str(value):
        raise TypeError(f"{field}={value!r}: must be a path, such as {field}='{default}'")
    return Path(value)


def refuse_link(name: str, path: Path) -> None:
    """Raise an error if a path in a run's folder that a plugin writes to is a link.

    Raises:
        ValueError: it is a link.
    """
    if path.is_symlink():
        raise ValueError(
            f"{name}: {str(path)!r} is a link to {os.readlink(path)!r}, and nothing is written "
            "through it; remove the link, or write another run_dir"
        )


class OwnFolder:
    """A folder that a single plugin of a single run writes to.

    Args:
        field: the plugin's field that names it, for error messages.
        path: the folder; it is created if it does not exist.
        session: of the fit.
        patterns: the files that the plugin writes in it, as Path.glob takes them.

    Attributes:
        path: the folder.

    Raises:
        ValueError: it holds such files of another run, or another plugin or process uses it.
        OSError: it cannot be created or written to.
    """

    def __init__(self, field: str, path: Path, session: Session, patterns: Sequence[str]) -> None:
        from filelock import FileLock, Timeout

        self.path = path.absolute()  # a callback may change the current folder
        self._patterns = patterns
        self._session = session
        self._lost = False
        self._lock: FileLock | None = None
        if not session.is_chief:
            return
        if session.folder is not None and self.path.is_relative_to(session.folder):
            folders = {path / Path(pattern).parent for pattern in patterns}
            for inner in (*folders, path / ".lock", path / _OWNER, *self.files()):
                refuse_link(field, inner)
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.path / ".lock")
            self._lock.acquire(timeout=0)
            self._file = identity(self.path / ".lock")
        except Timeout:
            raise ValueError(
                f"{field}={str(path)!r}: another callback or process writes to it; write another "
                f"{field}, {str(path.with_name(path.name + '-2'))!r} for example"
            ) from None
        except OSError as error:
            raise OSError(
                error.errno,
                f"{field}={str(path)!r}: cannot be written to ({error.strerror}); write the name "
                "of a folder in which you may write",
            ) from error
        try:
            self._take(field, session)
        except BaseException:
            self.release()
            raise

    def files(self) -> list[Path]:
        """The plugin's files, sorted by name."""
        return sorted(path for pattern in self._patterns for path in self.path.glob(pattern))

    def held(self) -> bool:
        """Whether the plugin may still write to the folder; warns once if it may not.

        It may not if the folder was removed or taken by another process, whose files are then left
        alone.
        """
        if not self._session.may_write(self.path):
            return False
        try:
            locked = identity(self.path / ".lock") == self._file
            owned = locked and _read(self.path / _OWNER) == self._run
        except OSError:
            return not self._lost  # the disk does not respond; the next write will report it
        if not owned and not self._lost:
            self._lost = True
            warnings.warn(
                f"{str(self.path)!r} was removed, or another process uses it now; nothing more is "
                "written to it, and training continues",
                stacklevel=3,
            )
        return not self._lost

    def release(self) -> None:
        """Release the folder."""
        if self._lock is not None:
            self._lock.release()

    def _take(self, field: str, session: Session) -> None:
        owner = self.path / _OWNER
        run = self._run = _identity(session)
        files = self.files()
        if files and _read(owner) != run:
            raise ValueError(
                f"{field}={str(self.path)!r}: holds {files[0].name} of another run, which is left "
                f"alone; write another {field}, or delete the folder"
            )
        inside = session.folder is not None and owner.is_relative_to(session.folder)
        write_whole(owner, (json.dumps({"run": run}) + "\n").encode(), follow_links=not inside)


def _identity(session: Session) -> str:
    """The run's identity, which survives resuming; random for a fit without run_dir."""
    if session.folder is None:
        return secrets.token_hex(8)
    identity: str = json.loads(read_whole(session.folder / "config.json"))["run"]
    return identity


def _read(owner: Path) -> str | None:
    try:
        return forms.text("run", forms.mapping(_OWNER, forms.read(owner), ("run",))["run"])
    except (FileNotFoundError, forms.Malformed):
        return None
