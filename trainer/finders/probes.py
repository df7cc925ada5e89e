"""The plugins by which finders look into a short training.

Responsible for raising the rate batch by batch, for the time of dispatches, and for ending such a
training. Not for what follows from it (`learning_rate`, `batch_size`).
"""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

from trainer import compiling
from trainer.callbacks.callback import Callback, Session

WORSE = 4.0  # a loss so many times the first ones has diverged
LAST = 5  # losses that must be so bad
WARM_UP = 2  # dispatches that trace and fill caches, and are not timed


class RateTest(Callback):
    """Trains each batch at its rate and notes its loss; ends where the loss has diverged.

    Attributes:
        rates: one a batch, rising.
    """

    rates: Any = None

    def configure_optimizer(self, optimizer: Any) -> Any:
        """The same optimizer with a rate that can be set, in the place of a schedule too."""
        return compiling.optimizer(optimizer, float(self.rates[0]))

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin with the first rate."""
        self.losses: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Set the rate, and let the loss be that of this batch alone."""
        core = self.session.network.core
        core.optimizer.learning_rate = float(self.rates[len(self.losses)])
        core.reset_metrics()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Note the loss."""
        loss = (logs or {}).get("loss")
        if loss is None:
            raise ValueError(
                "find_learning_rate: the model's train_step logs no 'loss'; let it return "
                "{'loss': loss}"
            )
        self.losses.append(loss)
        start = np.mean(self.losses[: max(1, len(self.rates) // 20)])
        # all of the last ones: an odd batch must not end the test
        diverged = not np.isfinite(loss) or min(self.losses[-LAST:]) > WORSE * abs(start)
        if diverged or len(self.losses) == len(self.rates):
            self.model.stop_training = True


class SpeedTest(Callback):
    """Times dispatches until there is enough to tell the speed.

    Attributes:
        seconds: how long to time.
        batch_size: rows a step.
    """

    seconds: float = 1.0
    batch_size: int = 32

    def setup(self, session: Session) -> None:
        """Note how many steps have whole batches."""
        rows = session.feed.rows
        self._whole = rows // self.batch_size
        self.speeds: list[float] = []
        self._dispatches, self._done, self._timed = 0, 0, 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """The first dispatch of an epoch begins."""
        self._done, self._since = 0, time.perf_counter()

    def on_chunk_end(self, steps: int, logs: dict[str, float]) -> None:
        """A dispatch has ended, and the next one begins."""
        took = time.perf_counter() - self._since
        # the last batch of an epoch may be smaller, and is a dispatch of its own
        if steps <= self._whole:
            self._dispatches += 1
            if self._dispatches > WARM_UP:
                self.speeds.append((steps - self._done) * self.batch_size / took)
                self._timed += took
        if self._timed >= self.seconds and len(self.speeds) >= 3:
            self.model.stop_training = True
        self._done, self._since = steps, time.perf_counter()


class PeakMemory:
    """The most memory that is used within a `with` block.

    Attributes:
        bytes: of this process, or of the first GPU where there is one.
    """

    def __init__(self, *, gpu: bool) -> None:
        self._gpu = gpu
        self._ended = threading.Event()
        self.bytes = 0

    def __enter__(self) -> PeakMemory:
        if self._gpu:
            import tensorflow as tf

            tf.config.experimental.reset_memory_stats("GPU:0")
        else:
            self._watch = threading.Thread(target=self._look, daemon=True)
            self._watch.start()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._gpu:
            import tensorflow as tf

            self.bytes = int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
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
