"""The plugins with which finders measure a short training.

Responsible for raising the rate batch by batch, timing dispatches, and ending the training. Not
for the suggestions (`learning_rate`, `batch_size`).
"""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

from trainer.callbacks.callback import Callback, Session
from trainer.engine.backend import tensors
from trainer.network import compile

WORSE = 4.0  # a loss has diverged if it is this many times the first losses ...
LAST = 5  # ... in this many consecutive batches
WARM_UP = 2  # dispatches that are not timed, as they trace and fill caches


class RateTest(Callback):
    """Trains each batch at a different rate and records its loss; ends when the loss diverges.

    Attributes:
        rates: One per batch, increasing.
    """

    sets_rate = True  # no schedule of an architecture
    rates: Any = None

    def configure_optimizer(self, optimizer: Any) -> Any:
        """Return the same optimizer with a rate that can be set, also instead of a schedule."""
        return compile.optimizer(optimizer, float(self.rates[0]))

    def on_train_begin(self, logs: Any = None) -> None:
        """Start with the first rate."""
        self.losses: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Set the rate, and reset the metrics so that the loss is that of this batch alone."""
        core = self.session.network.core
        core.optimizer.learning_rate = float(self.rates[len(self.losses)])
        core.reset_metrics()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Record the loss."""
        loss = (logs or {}).get("loss")
        if loss is None:
            raise ValueError(
                "find_learning_rate: the model's train_step does not log 'loss'; return "
                "{'loss': loss} from it"
            )
        self.losses.append(loss)
        start = np.mean(self.losses[: max(1, len(self.rates) // 20)])
        # All of the last losses must be bad: a single bad batch must not end the test.
        diverged = not np.isfinite(loss) or min(self.losses[-LAST:]) > WORSE * abs(start)
        if diverged or len(self.losses) == len(self.rates):
            self.model.stop_training = True


class SpeedTest(Callback):
    """Times dispatches until the speed is known.

    Attributes:
        seconds: How long to time.
        batch_size: Rows per step.
    """

    sets_rate = True  # no schedule of an architecture: the number of epochs has no end
    seconds: float = 1.0
    batch_size: int = 32

    def setup(self, session: Session) -> None:
        """Compute how many steps have full batches."""
        rows = session.feed.rows
        self._full_steps = rows // self.batch_size
        self.speeds: list[float] = []
        self._dispatches, self._done, self._timed = 0, 0, 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start timing the first dispatch of an epoch."""
        self._done, self._since = 0, time.perf_counter()

    def on_chunk_end(self, steps: int, logs: dict[str, float]) -> None:
        """Record the time of a dispatch, and start timing the next one."""
        took = time.perf_counter() - self._since
        # The last batch of an epoch may be smaller; it is dispatched separately.
        if steps <= self._full_steps:
            self._dispatches += 1
            if self._dispatches > WARM_UP:
                self.speeds.append((steps - self._done) * self.batch_size / took)
                self._timed += took
        if self._timed >= self.seconds and len(self.speeds) >= 3:
            self.model.stop_training = True
        self._done, self._since = steps, time.perf_counter()


class PeakMemory:
    """Measures the peak memory within a `with` block.

    Attributes:
        bytes: The peak of this process, or of the first GPU if there is one.
    """

    def __init__(self, *, gpu: bool) -> None:
        self._gpu = gpu
        self._ended = threading.Event()
        self.bytes = 0

    def __enter__(self) -> PeakMemory:
        if self._gpu:
            tensors.reset_peak()
        else:
            self._watch = threading.Thread(target=self._look, daemon=True)
            self._watch.start()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._gpu:
            self.bytes = tensors.peak_bytes()
        else:
            self._ended.set()
            self._watch.join()

    def _look(self) -> None:
        import psutil

        process = psutil.Process()
        while True:
            self.bytes = max(self.bytes, process.memory_info().rss)
            if self._ended.wait(0.005):
                return
