"""Where an exported model ends up: files and folders that are replaced only by whole ones.

Responsible for refusing to replace what export did not write, and for moving a finished model into
place. Not for its content (`formats`).
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from trainer.utils.files import Folder, write_whole

SAVED_MODEL = {"saved_model.pb", "fingerprint.pb", "variables", "assets", "assets.extra"}


def check(path: Path, ending: str, mark: str) -> None:
    """Refuse a place that a model cannot be written to, or that holds something else.

    Args:
        path: where the model is to be written.
        ending: the ending of the format; "" for a folder.
        mark: the file by which a folder is known to have been written by `move`.

    Raises:
        FileNotFoundError: there is no folder to write it to.
        IsADirectoryError: it is a folder, and the format is a file.
        FileExistsError: it is a file or a folder that we did not write, and the format is a folder.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path={str(path)!r}: there is no folder {str(path.parent)!r}")
    if ending:
        for each in _files(path):
            if each.is_dir():
                raise IsADirectoryError(
                    f"path={str(path)!r}: {str(each)!r} is a folder; write another name"
                )
        return
    if not os.path.lexists(path):
        return
    if not path.is_dir():
        raise FileExistsError(
            f"path={str(path)!r}: is a file, and this format is a folder; write another name"
        )
    found = {each.name for each in path.iterdir()}
    if not found:
        return
    instead = "and only a SavedModel that export wrote is replaced; write another name"
    if "saved_model.pb" not in found or not (path / "assets.extra" / mark).is_file():
        raise FileExistsError(
            f"path={str(path)!r}: is a folder with {_some(found)} in it, {instead}"
        )
    added = found - SAVED_MODEL
    added |= {f"assets.extra/{each.name}" for each in (path / "assets.extra").iterdir()}
    added.remove(f"assets.extra/{mark}")
    if added:
        raise FileExistsError(
            f"path={str(path)!r}: has {_some(added)} beside the SavedModel, {instead}, or move "
            "that away"
        )


def workspace(path: Path) -> Path:
    """Create a hidden folder beside a path, on the same disk, to prepare the model in.

    Raises:
        OSError: it cannot be created; the message names the path.
    """
    made = Path(os.path.realpath(path)).parent / f".{secrets.token_hex(8)}.tmp"
    try:
        made.mkdir()
    except OSError as error:
        raise OSError(
            error.errno,
            f"path={str(path)!r}: could not be written ({error.strerror}); write a path in a "
            "folder with free space, where you may write",
        ) from error
    return made


def move(made: Path, path: Path, ending: str, mark: str) -> None:
    """Move a finished model into place.

    A file is replaced in one step. The two files of OpenVINO cannot be: the old .xml is deleted
    first, and the new one is written last, so that an .xml never stands beside the .bin of another
    model. An old folder is moved aside, and deleted once the new one is in place: after a crash in
    between there may be nothing at the path, but never a part of a model.

    Args:
        made: the finished model, in a `workspace`.
        path: where it belongs.
        ending: as for `check`.
        mark: as for `check`.

    Raises:
        OSError: it cannot be written; the message names the path.
    """
    if not ending:
        _move_folder(made, path, mark)
        return
    first, *others = reversed(_files(made))
    if not others:
        write_whole(path, first.read_bytes())
        return
    content = made.read_bytes()
    path.unlink(missing_ok=True)
    write_whole(path.with_suffix(first.suffix), first.read_bytes())
    write_whole(path, content)


def _move_folder(made: Path, path: Path, mark: str) -> None:
    check(path, "", mark)  # the conversion took time: something else may be there now
    target = Path(os.path.realpath(path))
    for folder, _, names in os.walk(made):
        for name in names:
            with open(os.path.join(folder, name), "r+b") as file:
                os.fsync(file.fileno())
    aside = made.with_suffix(".old")
    try:
        if target.is_dir():
            os.replace(target, aside)
        os.replace(made, target)
        with Folder(target.parent) as parent:
            parent.sync()
    except OSError as error:
        if aside.exists() and not target.exists():
            os.replace(aside, target)
        raise OSError(
            error.errno,
            f"path={str(path)!r}: could not be written ({error.strerror}); anything there before "
            "is unchanged",
        ) from error
    if aside.exists():
        shutil.rmtree(aside)


def _files(path: Path) -> list[Path]:
    """Return the files of a format: OpenVINO has its weights in one of their own."""
    return [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]


def _some(names: set[str]) -> str:
    few = ", ".join(repr(name) for name in sorted(names)[:3])
    return few if len(names) <= 3 else f"{few} and {len(names) - 3} more"
