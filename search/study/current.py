"""The trial that runs: what code inside it can say about it.

Responsible for attributes and artifacts, from the code of an estimator, of a callback or of a
scorer. Not for storing attributes (`coordinator`), nor for running trials (`evaluation`).
"""

from __future__ import annotations

import contextlib
import contextvars
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from search.study.trial_folders import TrialFolders

ARTIFACTS = "artifacts"  # the folder in a study's directory
LONGEST = 1_000_000  # characters of the attributes of a trial as JSON


class CurrentTrial:
    """A running trial: see `current_trial`.

    Attributes:
        number: of the trial.
        attributes: that were set so far, in this attempt.
    """

    def __init__(self, number: int, folders: TrialFolders | None) -> None:
        self.number = number
        self.attributes: dict[str, Any] = {}
        self._folders = folders

    def set_attribute(self, name: str, value: Any) -> None:
        """Save a value with the trial, for attributes(trial) of the search or of the loaded study.

        Args:
            name: of the attribute; an earlier value is replaced.
            value: of types that JSON has: numbers, text, None, lists, dicts with text as keys.

        Raises:
            TypeError: the name is not text, or JSON does not have the value.
            ValueError: the attributes are too long; write an artifact instead.
        """
        if not isinstance(name, str) or not name:
            raise TypeError(f"set_attribute(name={name!r}): must be text; write 'depth'")
        value = value.item() if hasattr(value, "item") and not hasattr(value, "__len__") else value
        try:
            text = json.dumps(value)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"set_attribute({name!r}, {type(value).__name__}): JSON does not have it "
                f"({error}); write numbers, text, lists or dicts, or a file in artifact_folder()"
            ) from error
        if len(text) + len(json.dumps(self.attributes)) > LONGEST:
            raise ValueError(
                f"set_attribute({name!r}): the attributes of a trial may have {LONGEST:,} "
                "characters; write a file in artifact_folder()"
            )
        self.attributes[name] = json.loads(text)

    def artifact_folder(self) -> Path:
        """Return a folder of this trial, for files that stay with the study.

        Raises:
            ValueError: the search has no directory.
        """
        if self._folders is None:
            raise ValueError(
                "artifact_folder: the search has no directory to keep files in; write "
                "directory='studies/first'"
            )
        return self._folders.make(self.number)


_CURRENT: contextvars.ContextVar[CurrentTrial | None] = contextvars.ContextVar(
    "trial", default=None
)


def current_trial() -> CurrentTrial | None:
    """Return the trial that runs in this process; None outside of trials, as in the refit.

    trial = search.current_trial()
    if trial is not None:
        trial.set_attribute("parameters", model.count_params())
        (trial.artifact_folder() / "model.txt").write_text(text)
    """
    return _CURRENT.get()


@contextlib.contextmanager
def running(trial: CurrentTrial) -> Iterator[CurrentTrial]:
    """Return a context in which `current_trial` returns the trial."""
    token = _CURRENT.set(trial)
    try:
        yield trial
    finally:
        _CURRENT.reset(token)
