"""The plugin that shows a training: a bar, a line an epoch, or nothing.

Responsible for telling a display what happens. Not for what it looks like (`display`).
"""

from __future__ import annotations

import time
from typing import Any

from trainer.callbacks.callback import Callback, Session
from trainer.callbacks.display import Silence, make_progress


class Progress(Callback):
    """Shows how the training goes; a fit adds it by itself.

    Attributes:
        verbose: as the field of this name of a Trainer.
    """

    verbose: int | str = "auto"

    def setup(self, session: Session) -> None:
        """Choose what shows it."""
        self._display: Silence = make_progress(self.verbose, session.epochs)
        self._began = time.perf_counter()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Show an epoch that begins."""
        self._began = time.perf_counter()
        self._display.epoch_begins(epoch, self.session.feed.steps)

    def on_chunk_end(self, steps: int, logs: dict[str, float]) -> None:
        """Show how far it is."""
        self._display.chunk_ends(steps, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Show what it came to."""
        self._display.epoch_ends(epoch, logs or {}, time.perf_counter() - self._began)

    def teardown(self) -> None:
        """Remove the bar."""
        self._display.close()

    def state_dict(self) -> dict[str, Any]:
        """Nothing: a resumed run shows itself anew."""
        return {}
