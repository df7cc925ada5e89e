"""The directory of a study: who may use it, and whether a search goes on with what is in it.

Responsible for the lock, for the study's description and for comparing it. Not for trials
(`store`), nor for running them.

    study.sqlite     all trials: see search.store
    data.joblib      the data, while trials run
    trials/          states of running trials, and of the best one
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from search.callbacks import SearchCallback, Study
from search.data import FILE
from search.space import Space
from search.store import NAME, Store, Trial
from trainer.holding import Hold, InUse
from trainer.runs import described

TRIALS = "trials"


class Folder:
    """A study's directory, held by this process.

    Args:
        path: the directory; it is made if it is not there.
        space: of the study.
        resume: "auto": go on with a study that is there; True: there must be one; False: there
            must be none.
        seed: of a new study, or None to draw one; one that is gone on with keeps its own.
        draw: gives a seed.

    Attributes:
        path: the directory.
        store: the trials.
        seed: of the study.

    Raises:
        ValueError: another process holds it, or resume says otherwise than what is there.
    """

    def __init__(
        self, path: Path, space: Space, resume: Any, seed: int | None, draw: Callable[[], int]
    ) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"directory={str(path)!r}: cannot be made ({error.strerror}); write the name of a "
                "folder that does not exist yet, in one where you may write"
            ) from error
        there = (path / NAME).exists()
        if resume is True and not there:
            raise ValueError(
                f"resume=True: there is no study in {str(path)!r}; write resume='auto' to begin one"
            )
        if resume is False and there:
            raise ValueError(
                f"resume=False: {str(path)!r} holds a study; write resume='auto' to go on with "
                "it, or another directory"
            )
        try:
            self._hold = Hold(path)
        except InUse as error:
            raise ValueError(
                f"directory={str(path)!r}: {error}; wait for it, or write another directory"
            ) from None
        try:
            self.store = Store(path, space)
            for left in path.glob(f".{'[0-9a-f]' * 16}.tmp"):  # of a killed write
                left.unlink(missing_ok=True)
            kept = None if self.store.empty else self.store.get("seed")
            self.seed: int = kept if seed is None and kept is not None else seed or 0
            if seed is None and kept is None:
                self.seed = draw()
        except BaseException:
            self.close()
            raise

    def describe(self, description: dict[str, Any]) -> None:
        """Note what the study is, or refuse to go on with one that is another.

        One without a trial has nothing to lose, and becomes this one.

        Raises:
            ValueError: naming what differs.
        """
        now = json.loads(json.dumps({"seed": self.seed, **description}))
        if self.store.empty:
            self.store.set("description", now)
            return
        earlier = self.store.get("description")
        before, after = _flat(earlier), _flat(now)
        changes = [
            f"{name} was {_short(before.get(name))}, is {_short(after.get(name))}"
            for name in dict.fromkeys([*before, *after])
            if before.get(name) != after.get(name)
        ]
        if changes:
            raise ValueError(
                f"directory={str(self.path)!r}: holds a study that differs from this one: "
                f"{'; '.join(changes)}. Set these back to go on with it, or write another directory"
            )

    def remove_data(self) -> None:
        """Delete what is needed only while trials run."""
        (self.path / FILE).unlink(missing_ok=True)

    def close(self) -> None:
        """Leave the directory to others."""
        if hasattr(self, "store"):
            self.store.close()
        self._hold.release()


class Tidy(SearchCallback):
    """Deletes the states of trials that nothing goes on from any more.

    Args:
        folder: of the states.
        rungs: whether trials go on from others: then all are needed until the search ends.
    """

    def __init__(self, folder: Path, *, rungs: bool) -> None:
        self._folder = folder
        self._rungs = rungs

    def on_search_begin(self, study: Study) -> None:
        """Delete what a killed search had not deleted whole."""
        for left in self._folder.glob(".*"):
            shutil.rmtree(left, ignore_errors=True)

    def on_trial_end(self, study: Study, trial: Trial) -> None:
        """Delete that of the trial, unless it is the best."""
        if not self._rungs:
            self._keep_best(study, [trial.id, *self._there()])

    def on_search_end(self, study: Study) -> None:
        """Delete all but the best one's, if no trial is left to run."""
        if study.finished:
            self._keep_best(study, self._there())

    def _there(self) -> list[int]:
        found = self._folder.iterdir() if self._folder.exists() else ()
        return [int(path.name) for path in found if path.name.isdigit()]

    def _keep_best(self, study: Study, numbers: list[int]) -> None:
        best = None if study.best is None else study.best.id
        for number in numbers:
            ended = study.trials[number].state in ("completed", "failed")
            if number != best and ended:
                discard(self._folder / str(number))


def discard(path: Path) -> None:
    """Delete a folder, so that it is there whole or not at all if this is killed in the middle.

    What a kill leaves has a point before its name.
    """
    beside = path.with_name(f".{path.name}")
    shutil.rmtree(beside, ignore_errors=True)
    if path.exists():
        os.replace(path, beside)
        shutil.rmtree(beside, ignore_errors=True)


def description(estimator: Any) -> dict[str, Any]:
    """An estimator, for comparing: its class and parameters, without those that change nothing."""
    params = estimator.get_params(deep=False)
    free = ("verbose", "run_dir", "save_minutes", "save_steps", "n_jobs")
    return {
        "class": type(estimator).__name__,
        **{name: described(value) for name, value in params.items() if name not in free},
    }


def _flat(tree: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict) or "class" in tree and name and "." in name:
        return {name: tree}
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{name}.{key}" if name else key)
    return flat


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
