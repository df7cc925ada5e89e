"""Files that are written atomically.

Responsible for replacing a file so that neither a reader nor a crash ever leaves or sees a partial
one. Not for the content (`history`, `saving`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path
from typing import BinaryIO


def write_whole(path: str | os.PathLike[str], content: bytes, *, follow_links: bool = True) -> None:
    """Write a file atomically: readers see either the old or the new content, never a part.

    The new content has been synced to disk when this returns.

    Args:
        path: The name of the file, in an existing folder.
        content: The complete content of the file.
        follow_links: Whether to replace the target if `path` is a link. If False, refuse a link,
            and a folder that is a link; for files that we name ourselves.

    Raises:
        OSError: It cannot be written; the message names `path`. The old file is unchanged unless
            the message says otherwise.
    """
    if not follow_links:
        no_link(path)
    # Keep a link, and replace the file that it points to.
    target = os.path.realpath(path) if follow_links else os.path.abspath(path)
    folder, name = os.path.split(target)
    # Not tempfile: its files are readable only by their owner, also after the rename.
    temporary = f".{secrets.token_hex(8)}.tmp"
    with contextlib.ExitStack() as stack:
        try:
            place = stack.enter_context(Folder(folder, follow_links=follow_links))
            try:
                with place.create(temporary) as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                place.replace(temporary, name)
            except BaseException:
                with contextlib.suppress(OSError):
                    place.unlink(temporary)
                raise
        except OSError as error:
            raise OSError(
                error.errno,
                f"path={os.fspath(path)!r}: could not be written ({error.strerror}); anything "
                "there before is unchanged; write the name of a file in an existing folder with "
                "free space, where you may write",
            ) from error
        try:
            place.sync()  # the rename is on disk only after this
        except OSError as error:
            raise OSError(
                error.errno,
                f"path={os.fspath(path)!r}: is written, but its folder could not be synced "
                f"({error.strerror}): after a power cut the old content may be back; check the "
                "disk",
            ) from error


class Folder:
    """A folder that stays the same one while it is open, even if it is moved or replaced.

    Checking a path for a link and then writing to it would follow a link that appears in between.
    Where the system has no descriptors of folders (Windows), names are joined to the path instead.

    Args:
        path: An existing folder.
        follow_links: Whether `path` may be a link.

    Raises:
        OSError: It is missing or cannot be opened, or it is a link that is not followed.
    """

    def __init__(self, path: str | os.PathLike[str], *, follow_links: bool = False) -> None:
        self._path = os.fspath(path)
        self._descriptor: int | None = None
        if os.open in os.supports_dir_fd:
            flags = os.O_RDONLY | os.O_DIRECTORY | (0 if follow_links else os.O_NOFOLLOW)
            self._descriptor = os.open(self._path, flags)

    def __enter__(self) -> Folder:
        """Return the folder."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        if self._descriptor is not None:
            os.close(self._descriptor)

    def names(self) -> list[str]:
        """Return the names of what is in the folder."""
        return os.listdir(self._path if self._descriptor is None else self._descriptor)

    def create(self, name: str) -> BinaryIO:
        """Open a new file for writing."""

        def opener(name: str, flags: int) -> int:
            return os.open(self._named(name), flags, 0o666, dir_fd=self._descriptor)

        return open(name, "xb", opener=opener)

    def replace(self, old: str, new: str) -> None:
        """Rename a file, replacing another of that name."""
        at = self._descriptor
        os.replace(self._named(old), self._named(new), src_dir_fd=at, dst_dir_fd=at)

    def unlink(self, name: str) -> None:
        """Delete a file."""
        os.unlink(self._named(name), dir_fd=self._descriptor)

    def sync(self) -> None:
        """Wait until its names are on disk, where the system can tell."""
        if self._descriptor is not None:
            os.fsync(self._descriptor)

    def _named(self, name: str) -> str:
        return name if self._descriptor is not None else os.path.join(self._path, name)


def read_whole(path: str | os.PathLike[str]) -> bytes:
    """Return the content of a file.

    Raises:
        OSError: It cannot be read; the error always names `path`.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        # Python names the file only if opening fails, not if reading does.
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def no_link(path: str | os.PathLike[str]) -> None:
    """Refuse a path that is a link, dangling or not, or whose folder is one.

    Raises:
        OSError: It is a link; the message names it.
    """
    for each in (Path(path).parent, Path(path)):
        if each.is_symlink():
            raise OSError(
                errno.ELOOP,
                f"{str(each)!r} is a link, and links are not followed here; remove the link",
            )


def append(path: str | os.PathLike[str], text: str) -> None:
    """Append text to a file, creating it if necessary; links are not followed.

    Raises:
        OSError: The file cannot be written to, or is a link.
    """
    no_link(path)
    # O_NOFOLLOW also refuses a link created just now, where the system supports it.
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    with open(os.open(path, flags, 0o666), "a", encoding="utf-8") as file:
        file.write(text)


def identity(path: Path) -> tuple[int, int] | None:
    """Return what identifies the file at a path, regardless of its name; None if there is none."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino
