"""Files that are written whole or not at all.

Responsible for putting content in the place of a file so that neither a reader nor a crash ever
meets a part of it. Not responsible for what the content is: `history` and `saving` make it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path


def write_whole(path: str | os.PathLike[str], content: bytes, *, follow_links: bool = True) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    The new content is on disk, and not only on its way there, when this returns.

    Args:
        path: the file's name, in a folder that exists.
        content: all that the file will hold.
        follow_links: whether, where `path` is a link, the file that it points to is replaced.
            False refuses a link, and a folder that is one: for files that we name ourselves.

    Raises:
        OSError: naming `path`; what was there before is unchanged, unless the error says otherwise.
    """
    if not follow_links:
        no_link(path)
    # A link stays a link: the file that it points to is replaced.
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    # Not tempfile: its files are readable by their owner only, and the rename would keep that.
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
                f"path={os.fspath(path)!r}: could not be written ({error.strerror}), and what was "
                "there before is unchanged; write the name of a file in an existing folder with "
                "room, in which you may write",
            ) from error
        raise
    if os.name == "posix":
        # The new name itself is on disk only once the folder is.
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
    """The content of a file.

    Raises:
        OSError: naming `path`, also where the file can be opened and not read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        # Python names the file only where opening fails
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def no_link(path: str | os.PathLike[str]) -> None:
    """Refuse a path that is a link, dangling or not, or whose folder is one.

    Raises:
        OSError: naming the link.
    """
    for each in (Path(path).parent, Path(path)):
        if each.is_symlink():
            raise OSError(
                errno.ELOOP,
                f"{str(each)!r} is a link, and nothing is written through it; remove the link",
            )


def append(path: str | os.PathLike[str], text: str) -> None:
    """Add text to the end of a file, which is made if it is not there; never through a link.

    Raises:
        OSError: the file cannot be written to, or is a link.
    """
    no_link(path)
    # a link that is put there just now is refused too, where the system can do that
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    with open(os.open(path, flags, 0o666), "a", encoding="utf-8") as file:
        file.write(text)


def identity(path: Path) -> tuple[int, int] | None:
    """Which file is there, whatever its name; None if there is none."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino
