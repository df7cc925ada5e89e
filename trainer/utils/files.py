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
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    # Not tempfile: its files are readable only by their owner, also after the rename.
    temporary = os.path.join(folder, f".{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise OSError(
                error.errno,
                f"path={os.fspath(path)!r}: could not be written ({error.strerror}); anything "
                "there before is unchanged; write the name of a file in an existing folder with "
                "free space, where you may write",
            ) from error
        raise
    if os.name == "posix":
        # The rename is on disk only after the folder is synced.
        try:
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise OSError(
                error.errno,
                f"path={os.fspath(path)!r}: is written, but its folder could not be synced "
                f"({error.strerror}): after a power cut the old content may be back; check the "
                "disk",
            ) from error


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
