"""The plugin that keeps the history as a CSV file while the training goes on.

Responsible for when the file is written. Not for its form (`trainer.history`), nor for the run's
own history.csv, which is written only where that costs little (`run_log`).
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from trainer.callbacks import folders
from trainer.callbacks.callback import Callback, Session


class CSVFile(Callback):
    """Writes one row an epoch: epoch, each log, learning_rate and seconds.

    The whole file is written anew each time, and a reader never sees a part of one. That takes a
    few milliseconds an epoch. The row of an epoch is there when the next epoch begins, and the last
    one when the training ends. An earlier file of this name is replaced when the first epoch has
    ended. A resumed run ends with the file of an unbroken one, but for the seconds.

    Attributes:
        path: the file, in a folder that exists. None: epochs.csv in the run's folder.
    """

    name = "csv"

    PATHS = ("path",)

    path: str | Path | None = None

    def setup(self, session: Session) -> None:
        """Refuse a path that cannot be written to."""
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
        """Write the epochs before this one."""
        self._write()

    def on_train_end(self, logs: Any = None) -> None:
        """Write all of them."""
        self._write()

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the rows are the history's."""
        return {}

    def _write(self) -> None:
        history = self.session.history
        # none yet: so too where a run goes on within an epoch, and its history is not back yet
        if not len(history) or not self.session.may_write(self._file):
            return
        try:
            history.to_csv(self._file)
        except OSError as error:
            warnings.warn(f"csv: {error}; training goes on", stacklevel=2)
