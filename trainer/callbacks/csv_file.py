"""The plugin that writes the history to a CSV file during training.

Responsible for when the file is written. Not for its format (`trainer.history`), nor for the run's
own history.csv, which is written only when that costs little (`run_log`).
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from trainer.callbacks import folders
from trainer.callbacks.callback import Callback, Session


class CSVFile(Callback):
    """Writes one row per epoch: epoch, each log, learning_rate and seconds.

    The file is rewritten atomically every epoch, which takes a few milliseconds. An epoch's row is
    written when the next epoch begins, the last one when the training ends. An existing file of
    this name is replaced after the first epoch. A resumed run ends with the same file as an
    uninterrupted one, except for the seconds.

    Attributes:
        path: the file, in a folder that exists. None: epochs.csv in the run's folder.
    """

    name = "csv"

    PATHS = ("path",)

    path: str | Path | None = None

    def setup(self, session: Session) -> None:
        """Raise an error if the path cannot be written to."""
        file = folders.place("path", self.path, "epochs.csv", session)
        if file.is_dir():
            raise IsADirectoryError(
                f"path={str(file)!r}: is a folder; write path={str(file / 'epochs.csv')!r}"
            )
        if not file.parent.is_dir():
            raise FileNotFoundError(
                f"path={str(file)!r}: there is no folder {str(file.parent)!r}; make it first"
            )
        if not os.access(file.parent, os.W_OK):
            raise PermissionError(
                f"path={str(file)!r}: its folder cannot be written to; write the name of a file in "
                "one in which you may write"
            )
        self._file = file.absolute()  # a callback may change the current folder

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Write the epochs so far."""
        self._write()

    def on_train_end(self, logs: Any = None) -> None:
        """Write all epochs."""
        self._write()

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the rows come from the history."""
        return {}

    def _write(self) -> None:
        history = self.session.history
        # no epochs yet, or a run resumes within an epoch and its history is not restored yet
        if not len(history) or not self.session.may_write(self._file):
            return
        try:
            history.to_csv(self._file)
        except OSError as error:
            warnings.warn(f"csv: {error}; training continues", stacklevel=2)
