"""The plugin that shows the progress of a training: a bar, one line per epoch, or nothing.

Responsible for passing events to the display. Not for what it looks like (`display`).
"""

from __future__ import annotations

import time
from typing import Any

from trainer.callbacks.callback import Callback, Session
from trainer.callbacks.display import Silence, make_progress
from trainer.utils import checks


class Progress(Callback):
    """Shows the progress of the training; every fit adds it automatically.

    Attributes:
        verbose: as the Trainer field of this name.
    """

    verbose: int | str = "auto"

    def check(self) -> None:
        """Raise an error for a bad field."""
        checks.verbose(self.verbose)

    def setup(self, session: Session) -> None:
        """Choose the display."""
        self._display: Silence = make_progress(self.verbose, session.epochs)
        self._began = time.perf_counter()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Show that an epoch begins."""
        self._began = time.perf_counter()
        self._display.epoch_begins(epoch, self.session.feed.steps)

    def on_chunk_end(self, steps: int, logs: dict[str, float]) -> None:
        """Show the progress within the epoch."""
        self._display.chunk_ends(steps, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Show the results of the epoch."""
        self._display.epoch_ends(epoch, logs or {}, time.perf_counter() - self._began)

    def teardown(self) -> None:
        """Remove the bar."""
        if hasattr(self, "_display"):
            self._display.close()

    def state_dict(self) -> dict[str, Any]:
        """Nothing: a resumed run starts a new display."""
        return {}
