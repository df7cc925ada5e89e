"""A training that kills itself: `own_state_child.py KIND FOLDER RESULT EPOCHS PLACE`.

PLACE: a number of batches, after which, and after the first state, SIGKILL comes; a number of
seconds that ends with "s", after which a thread sends it whatever is going on; or "never". A
training that reaches its end writes digests of all that must be equal to RESULT.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["MPLBACKEND"] = "Agg"

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

import own_states

from trainer.callbacks.callback import Callback
from trainer.runs.directory import Run

KIND, FOLDER, RESULT, EPOCHS, PLACE = sys.argv[1:]


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Killing(Callback):
    """Sends SIGKILL in the middle of an epoch."""

    every_n_batches = 1

    def on_train_begin(self, logs: Any = None) -> None:
        self.left = int(PLACE) if PLACE.isdigit() else 0
        self._timer = threading.Timer(float(PLACE.strip("nevrs") or 0), kill)
        if PLACE.endswith("s"):
            self._timer.start()

    def on_train_end(self, logs: Any = None) -> None:
        self._timer.cancel()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if PLACE.endswith("s"):
            time.sleep(0.05)  # for there to be something to kill
        self.left -= 1
        if self.left == 0:
            while not list(Path(FOLDER, "checkpoints").glob("state-*.safetensors")):
                time.sleep(0.01)  # a thread is writing it
            kill()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {}  # where it kills is no setting of the run


def without_curves(run: Any, history: Any) -> None:
    """A run's picture takes half of the time of a short one."""


Run._draw = without_curves  # type: ignore[method-assign]
trainer = own_states.make(KIND, [Killing()], run_dir=FOLDER, epochs=int(EPOCHS))
own_states.fit(trainer)
digests = [hashlib.sha256(content).hexdigest()[:16] for content in own_states.numbers(trainer)]
Path(RESULT).write_text(json.dumps(digests))
