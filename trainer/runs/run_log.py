"""The callback that records epochs in a run directory.

Responsible for the lines of run.log and for history.csv during training. A fit with run_dir adds
it automatically.
"""

from __future__ import annotations

import time
from typing import Any

from trainer.callbacks.callback import Callback
from trainer.callbacks.folders import WRITE_SHARE
from trainer.runs.directory import Run
from trainer.utils.text import printable


class RunLog(Callback):
    """Writes each epoch to the files of a run.

    Attributes:
        run: The run.
    """

    run: Any = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Add a line to run.log."""
        run: Run = self.run
        shown = "  ".join(f"{printable(name)} {value:.6g}" for name, value in (logs or {}).items())
        run.log(f"epoch {epoch + 1}  {shown}")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Write history.csv with the earlier epochs, unless that takes too much of the time."""
        history = self.session.history
        last, took = getattr(self, "_written", (0.0, 0.0))
        now = time.perf_counter()
        if len(history) and now - last > WRITE_SHARE * took:
            self.run.history(history)
            self._written = (time.perf_counter(), time.perf_counter() - now)
