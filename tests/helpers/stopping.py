"""A training that is stopped from without, in the middle of an epoch."""

from __future__ import annotations

from typing import Any

from trainer.callbacks.callback import Callback


class Stopped(Exception):
    """What ends a training from without."""


class Stop(Callback):
    """Raises when so many batches were trained in this process."""

    every_n_batches = 2
    after: int | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        self.left = self.after

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.left is not None:
            self.left -= 2
            if self.left <= 0:
                raise Stopped

    def state_dict(self) -> dict[str, Any]:
        return {}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {}  # when it stops is no setting of the run
