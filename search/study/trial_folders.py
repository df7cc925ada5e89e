"""The folders of trials in a study's directory: which ones are the study's, and their deletion.

Responsible for deleting nothing that the study did not make. A trial's folder holds a mark, a small
file that names the study and the trial; a folder without it is foreign, and is neither deleted nor
written to. Not for when a folder becomes useless (`folder.Tidy`), nor for what trials put in it.

    trials/3/                   the states of trial 3
    trials/3/.trial.json        its mark, written before anything else in it
    trials/3-IDENTITY/          the same, if a foreign folder has the name 3
    trials/.3-IDENTITY/         being made or deleted; a kill may leave it
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from trainer.utils.files import write_whole

MARK = ".trial.json"
LARGEST = 2**20  # maximum bytes read of a mark or a config.json
_NUMBER = re.compile(r"0|[1-9][0-9]*")
_RUN = re.compile(r"[0-9]+-[0-9]+")
_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")
_RUN_KEYS = {"format", "class", "fields", "run"}  # keys in a run's config.json


class TrialFolders:
    """The folder trials/ of a study.

    Args:
        path: of the folder; created along with the first trial's.
        study: the identity of the study.
    """

    def __init__(self, path: Path, study: str) -> None:
        self.path = path
        self._study = study

    def at(self, path: Path) -> TrialFolders:
        """Return the folders of the same study in another place."""
        return TrialFolders(path, self._study)

    def find(self, trial: int) -> Path | None:
        """Return the folder of a trial; None if the study has none."""
        for path in self._places(trial):
            if self._marked(path, trial):
                return path
        return None

    def make(self, trial: int) -> Path:
        """Return the folder of a trial, created if it does not exist.

        Raises:
            OSError: it cannot be created.
        """
        found = self.find(trial)
        if found is not None:
            return found
        beside, places = self._beside(trial), self._places(trial)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._remove(beside, trial)
            beside.mkdir()
            _write_mark(beside, self._mark(trial))
            free = [path for path in places if not os.path.lexists(path)]
            if not free:
                raise FileExistsError(
                    errno.EEXIST, f"{places[-1].name!r} does not belong to this study; move it away"
                )
            os.rename(beside, free[0])
        except OSError as error:
            raise OSError(
                error.errno,
                f"directory={str(self.path.parent)!r}: the folder of trial {trial} in "
                f"{self.path.name} could not be created ({error.strerror}); make sure that the "
                "disk has room and that you may write there",
            ) from error
        return free[0]

    def numbers(self) -> list[int]:
        """Return the trials that have a folder."""
        found = {number for entry in self._entries() if (number := self._number(entry)) is not None}
        return sorted(found)

    def discard(self, trial: int) -> None:
        """Delete the folder of a trial, if any; after a kill it is complete or hidden.

        Raises:
            OSError: it cannot be deleted.
        """
        found = self.find(trial)
        if found is not None:
            beside = self._beside(trial)
            self._remove(beside, trial)
            os.rename(found, beside)
            self._remove(beside, trial)

    def clean(self) -> None:
        """Delete folders that killed searches left half made or half deleted.

        Raises:
            OSError: it cannot be deleted.
        """
        for entry in self._entries():
            match = re.fullmatch(rf"\.({_NUMBER.pattern})-{self._study}", entry.name)
            if match:
                self._remove(entry, int(match[1]))

    def strangers(self) -> list[str]:
        """Return the names of entries that do not belong to this study."""
        return sorted(e.name for e in self._entries() if self._number(e) is None)

    def refuse_links(self) -> None:
        """Check that no name that a search would use is a link.

        Raises:
            ValueError: naming the link.
        """
        refuse_link(self.path)
        if os.path.lexists(self.path) and not self.path.is_dir():
            raise ValueError(
                f"directory={str(self.path.parent)!r}: {self.path.name} in it is not a folder; "
                "move it away, or write another directory"
            )
        own = re.compile(rf"{_NUMBER.pattern}|\.?({_NUMBER.pattern})-{self._study}")
        for entry in self._entries():
            if own.fullmatch(entry.name):
                refuse_link(entry, self.path.parent)
            if self._number(entry) is not None:
                for run in entry.iterdir():
                    refuse_link(run, self.path.parent)

    def adopt(self, trials: int) -> None:
        """Mark the folders that version 0.1.0 made, which it left without a mark.

        They have the number of a trial as their name, and contain nothing but runs.

        Args:
            trials: number of trials.
        """
        for trial in range(trials):
            path, left = self.path / str(trial), self.path / f".{trial}"
            if _is_folder(path) and not self._marked(path, trial) and _of_0_1_0(path, whole=True):
                write_whole(path / MARK, self._mark(trial))
            beside = self._beside(trial)
            if _is_folder(left) and not os.path.lexists(beside) and _of_0_1_0(left, whole=False):
                write_whole(left / MARK, self._mark(trial))
                os.rename(left, beside)

    # ---- its parts ---------------------------------------------------------------------------

    def _places(self, trial: int) -> tuple[Path, Path]:
        return self.path / str(trial), self.path / f"{trial}-{self._study}"

    def _beside(self, trial: int) -> Path:
        return self.path / f".{trial}-{self._study}"

    def _mark(self, trial: int) -> bytes:
        return json.dumps({"study": self._study, "trial": trial}).encode()

    def _marked(self, path: Path, trial: int) -> bool:
        return _is_folder(path) and start_of(path / MARK, LARGEST) == self._mark(trial)

    def _number(self, path: Path) -> int | None:
        """Return the trial whose folder this is, or None."""
        name = path.name.removesuffix(f"-{self._study}")
        if _NUMBER.fullmatch(name) and self._marked(path, int(name)):
            return int(name)
        return None

    def _entries(self) -> Iterator[Path]:
        with contextlib.suppress(FileNotFoundError):
            yield from sorted(self.path.iterdir())

    def _remove(self, beside: Path, trial: int) -> None:
        """Delete a temporary folder if it is ours; the mark is deleted last."""
        if not _is_folder(beside):
            return
        names = os.listdir(beside)
        mark = start_of(beside / MARK, LARGEST)
        if mark == self._mark(trial):
            for name in names:
                if name != MARK:
                    delete(beside / name)
        elif set(names) - {MARK} or not self._mark(trial).startswith(mark or b""):
            return  # somebody put something into it
        (beside / MARK).unlink(missing_ok=True)
        beside.rmdir()


def delete(path: Path) -> None:
    """Delete a file, a link (not its target), or a folder with its contents.

    Raises:
        OSError: it cannot be deleted.
    """
    if _is_folder(path):
        try:
            shutil.rmtree(path)
        except OSError as error:  # it names the last part of the path only
            raise OSError(
                error.errno, f"{str(path)!r}: cannot be deleted ({error.strerror}); check the disk"
            ) from error
    else:
        path.unlink(missing_ok=True)


def refuse_link(path: Path, directory: Path | None = None) -> None:
    """Check that a name in a study's directory is not a link.

    Args:
        path: that a search would write or delete.
        directory: of the study; None: the folder of the path.

    Raises:
        ValueError: it is a link.
    """
    if path.is_symlink():
        directory = directory or path.parent
        raise ValueError(
            f"directory={str(directory)!r}: {str(path.relative_to(directory))!r} in it is a link "
            f"to {os.readlink(path)!r}, and a search neither writes nor deletes through links; "
            "remove the link, or write another directory"
        )


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def start_of(path: Path, size: int) -> bytes | None:
    """Return the first bytes of a file; None if it is missing, not a file, or not readable."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return None
        with open(path, "rb") as file:
            return file.read(size)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except OSError as error:
        raise OSError(
            error.errno, f"{str(path)!r}: cannot be read ({error.strerror}); check the disk"
        ) from error


def _write_mark(folder: Path, content: bytes) -> None:
    # not through a temporary file: a kill could leave it under a name that nobody recognizes
    with open(folder / MARK, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _of_0_1_0(folder: Path, *, whole: bool) -> bool:
    """Whether a folder holds only runs; `whole`: at least one of them readable."""
    runs = []
    try:
        entries = list(folder.iterdir())
    except PermissionError:  # then it is not ours
        return False
    for entry in entries:
        if _TEMPORARY.fullmatch(entry.name) or entry.name == MARK:
            continue
        if not _RUN.fullmatch(entry.name.removeprefix(".")) or not _is_folder(entry):
            return False
        runs.append(entry)
    return any(map(_is_run, runs)) if whole else bool(runs)


def _is_run(folder: Path) -> bool:
    try:
        found = json.loads(start_of(folder / "config.json", LARGEST) or b"null")
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.keys() >= _RUN_KEYS
