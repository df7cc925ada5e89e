"""The directory of a study: who may use it, and whether a search resumes what is in it.

Responsible for the lock, and for writing and comparing the study's description. Not for trials
(`storage`), nor for running them.

    study.sqlite             all trials: see search.store
    data-IDENTITY.joblib     the data, while trials run
    trials/                  states of running trials, and of the best one: see trial_folders
    models/                  trained models of the best trials: see models
    artifacts/               files that trials wrote: see current

Anything else in the directory is foreign, and is left alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from search.space import Space
from search.study.callbacks import SearchCallback, Study
from search.study.current import ARTIFACTS
from search.study.data import unfinished
from search.study.database import APPLICATION, SIDE_FILES, Taken
from search.study.models import MODELS
from search.study.storage import ENDED, NAME, Store, Trial
from search.study.trial_folders import TrialFolders, refuse_link, start_of
from trainer.runs import code
from trainer.runs.directory import NEW, described, without_new_arguments
from trainer.runs.environment import environment
from trainer.runs.lock import HOLDER, LOCK, Hold, InUse, LockLost

TRIALS = "trials"
STRANGERS_NAMED = 10  # maximum number named in a warning


class Folder:
    """A study's directory, held by this process.

    Args:
        path: the directory; created if it does not exist.
        space: of the study.
        resume: "auto": resume a study if there is one; True: there must be one; False: there must
            not be one; "force": resume it although its code has changed.
        seed: of a new study, or None to draw one; a resumed study keeps its own.
        draw: returns a new seed.

    Attributes:
        path: the directory, absolute and without links.
        identity: of the study.
        store: the trials.
        trials: the folders of their states.
        models: the folders of their models.
        artifacts: the folders of their files.
        data: the file for the data.
        seed: of the study.

    Raises:
        ValueError: another process holds the directory, resume contradicts its content, something
            in it is a link, or the study is damaged.
        OSError: the study cannot be read or written.
    """

    def __init__(
        self, path: Path, space: Space, resume: Any, seed: int | None, draw: Callable[[], int]
    ) -> None:
        self.path = path = _resolved(path)
        self._force = resume == "force"
        for name in (NAME, *SIDE_FILES, LOCK, HOLDER, TRIALS, MODELS, ARTIFACTS):
            refuse_link(path / name)
        there = os.path.lexists(path / NAME)
        if resume is True and not there:
            raise ValueError(
                f"resume=True: there is no study in {str(path)!r}; write resume='auto' to start one"
            )
        if resume is False and there:
            raise ValueError(
                f"resume=False: {str(path)!r} holds a study; write resume='auto' to resume it, or "
                "another directory"
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"directory={str(path)!r}: cannot be created ({error.strerror}); write the name of "
                "a new folder, in a folder where you may write"
            ) from error
        try:
            self._hold = Hold(path)
        except InUse as error:
            raise ValueError(
                f"directory={str(path)!r}: {error}; wait for it, or write another directory"
            ) from None
        try:
            self.store = Store(path, space, self._check)
            self.identity: str = self.store.get("identity")
            identity = self.identity
            self.data = path / f"data-{identity}.joblib"
            refuse_link(self.data)
            self.trials = TrialFolders(path / TRIALS, identity)
            self.trials.refuse_links()
            self.models = TrialFolders(path / MODELS, identity)
            self.models.refuse_links()
            self.artifacts = TrialFolders(path / ARTIFACTS, identity)
            self.artifacts.refuse_links()
            self._space = space
            if self.store.get("unmarked"):
                self._adopt()
            self._clean()
            kept = None if self.store.empty else self.store.get("seed")
            self.seed: int = kept if seed is None and kept is not None else seed or 0
            if seed is None and kept is None:
                self.seed = draw()
        except BaseException:
            self.close()
            raise

    def describe(self, description: dict[str, Any]) -> None:
        """Save the study's description, or refuse to resume a different study.

        A study without trials has nothing to lose, and takes on the new description.

        Raises:
            ValueError: naming what differs.
        """
        now = json.loads(json.dumps({"seed": self.seed, **description}, default=_json))
        if self.store.empty:
            self.store.set("description", now)
            self.store.set("environment", environment())
            return
        earlier = self.store.get("description")
        written, now_written = earlier.pop("code", None), now.pop("code")
        of_0_1 = "architecture" not in earlier
        if of_0_1:
            now.pop("architecture")  # the search takes the one that 0.1 chose
        now = without_new_arguments(earlier, now)
        before, after = _without_numpy(_flat(earlier)), _flat(now)
        for name in before if of_0_1 else ():
            field = name.rsplit(".", 1)[-1]
            if after.get(name, 0) is None and DEFAULTS_OF_0_1.get(field) == before[name]:
                after[name] = before[name]
        for name, value in NEW.items():
            if f"estimator.{name}" not in before and after.get(f"estimator.{name}") == value:
                del after[f"estimator.{name}"]
        for known in (before, after):
            # a count of the optimizers in the process, which was recorded before
            known.pop("architecture.optimizer.name", None)
            if known.get("estimator.optimizer") == "adam":
                # which means the same, and was the default in 0.1.0
                known["estimator.optimizer"] = None
        changes = [
            f"{name} was {_short(before.get(name))}, is {_short(after.get(name))}"
            for name in dict.fromkeys([*before, *after])
            if before.get(name) != after.get(name)
        ]
        edits = [] if written is None or self._force else code.changes(written, now_written)
        if changes or edits:
            force = ", write resume='force' to resume it although it differs"
            raise ValueError(
                f"directory={str(self.path)!r}: holds a study that differs from this one: "
                f"{'; '.join([*changes, *edits])}. Undo these changes to resume it"
                f"{'' if changes else force}, or write another directory"
            )
        if written is None:
            warnings.warn(
                f"directory={str(self.path)!r}: the study was started by a version that kept no "
                "digests of code; whether the code has changed since is not known. It is compared "
                "from now on",
                stacklevel=3,
            )
        if written != now_written:
            self.store.set("description", {**earlier, "code": now_written})

    def record_space(self) -> None:
        """Save the space in a form that can be read without the estimator's classes."""
        described = json.loads(json.dumps(self._space.described()))
        if self.store.get("space") != described:
            self.store.set("space", described)

    def remove_data(self) -> None:
        """Delete files that are needed only while trials run, unless another search uses them."""
        if not self.store.held:
            return
        for path in (self.data, unfinished(self.data)):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Release the directory, and leave it unchanged if no trial was asked for."""
        try:
            if hasattr(self, "store"):
                try:
                    unused = self.store.unused
                finally:
                    self.store.close()
                if unused:  # nothing to resume, or for resume=False to refuse
                    for name in (NAME, *SIDE_FILES):
                        (self.path / name).unlink(missing_ok=True)
        finally:
            self._hold.release()

    def _check(self) -> None:
        try:
            self._hold.check()
        except LockLost as error:
            raise Taken(self.path, str(error)) from error
        except OSError as error:
            raise OSError(
                error.errno,
                f"directory={str(self.path)!r}: whether this search still holds it cannot be read "
                f"({error.strerror}); see to it that the disk works, and the same call resumes",
            ) from error

    def _adopt(self) -> None:
        """Mark what version 0.1.0 left unmarked, once."""
        self.trials.adopt(self.store.count)
        if _data_of_0_1_0(self.path / "data.joblib"):
            (self.path / "data.joblib").unlink()
        self.store.set("unmarked", False)

    def _clean(self) -> None:
        """Delete unfinished files of a killed search."""
        unfinished(self.data).unlink(missing_ok=True)
        for left in self.path.glob(f".{'[0-9a-f]' * 16}.tmp"):
            head = start_of(left, 100)
            if head is None:
                continue
            holder = head.startswith(b'{"process": ')
            study = head[:16] == b"SQLite format 3\0" and head[68:72] == APPLICATION.to_bytes(4)
            if holder or study or not head:
                left.unlink(missing_ok=True)


class Deletable(Protocol):
    """The folders of trials, wherever they are: a TrialFolders, for one."""

    path: Path

    def numbers(self) -> list[int]:
        """Return the trials that have a folder."""

    def discard(self, trial: int) -> None:
        """Delete the folder of a trial, if any."""

    def clean(self) -> None:
        """Delete folders that killed searches left half made or half deleted."""

    def strangers(self) -> list[str]:
        """Return the names of entries that do not belong to this study."""


class Tidy(SearchCallback):
    """Delete the states of trials from which nothing will resume any more.

    Args:
        folders: of the trials.
        rungs: whether trials resume from others: then all are needed until the search ends.
    """

    def __init__(self, folders: Deletable, *, rungs: bool) -> None:
        self._folders = folders
        self._rungs = rungs

    def on_search_begin(self, study: Study) -> None:
        """Finish deletions of a killed search, and warn about foreign entries."""
        with self._warn_on_failure():
            self._folders.clean()
        strangers = self._folders.strangers()
        if strangers:
            shown = ", ".join(map(repr, strangers[:STRANGERS_NAMED]))
            more = len(strangers) - STRANGERS_NAMED
            warnings.warn(
                f"{str(self._folders.path)!r}: {shown}{f' and {more} more' * (more > 0)} in it "
                "were not made by this study; they are neither used nor deleted",
                stacklevel=2,
            )

    def on_trial_end(self, study: Study, trial: Trial) -> None:
        """Delete the trial's state, unless it is the best."""
        if not self._rungs:
            self._keep_best(study, self._folders.numbers())

    def on_search_end(self, study: Study) -> None:
        """Delete all states but the best one's, if no trial is left to run."""
        if study.finished:
            self._keep_best(study, self._folders.numbers())

    def _keep_best(self, study: Study, numbers: list[int]) -> None:
        best = None if study.best is None else study.best.id
        trials = study.trials
        for number in numbers:
            if number >= len(trials) or number == best:
                continue
            if trials[number].state in ENDED:
                with self._warn_on_failure():
                    self._folders.discard(number)

    @contextlib.contextmanager
    def _warn_on_failure(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # not a reason to end a search
            warnings.warn(
                f"{str(self._folders.path)!r}: states that are no longer needed could not be "
                f"deleted ({error}); delete them when the search has ended",
                stacklevel=4,
            )


# What fields that are None by default were in version 0.1, where None means the same.
DEFAULTS_OF_0_1 = {"epochs": 10, "batch_size": 32, "validation_split": 0.0}


def description(estimator: Any) -> dict[str, Any]:
    """Describe an estimator for comparison: class and parameters, except harmless ones."""
    params = estimator.get_params(deep=False)
    # missing_target changes which rows there are, and these are compared by their fingerprint
    free = ("verbose", "run_dir", "save_minutes", "save_steps", "n_jobs", "missing_target")
    return {
        "class": type(estimator).__name__,
        **{name: described(value) for name, value in params.items() if name not in free},
    }


def _resolved(path: Path) -> Path:
    try:
        return Path(os.path.realpath(path))
    except ValueError as error:  # a character that is not allowed in names
        raise ValueError(
            f"directory={str(path)!r}: not a valid folder name ({error}); write 'studies/first'"
        ) from error


def _json(value: Any) -> Any:
    if isinstance(value, np.generic):  # in fields of an estimator, or bounds of constraints
        return value.item()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _data_of_0_1_0(path: Path) -> bool:
    """Whether it is the data file of a killed search of version 0.1.0, and not somebody's own."""
    head = start_of(path, 200) or b""
    return b"search.data" in head and b"Data" in head


def _flat(tree: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict) or "class" in tree and name and "." in name:
        return {name: tree}
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{name}.{key}" if name else key)
    return flat


def _without_numpy(flat: dict[str, Any]) -> dict[str, Any]:
    """Return a description whose domains are those of Python: in 0.1 they kept NumPy scalars."""
    return {
        name: re.sub(r"\bnp\.\w+\(([^()]*)\)", r"\1", value)
        if name.startswith("space.") and isinstance(value, str)
        else value
        for name, value in flat.items()
    }


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
