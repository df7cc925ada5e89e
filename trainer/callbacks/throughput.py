"""The plugin that measures how fast a training is, and where its time goes.

Responsible for the measurements of each epoch. They are not added to the logs, which must be the
same every time the same training runs; speed is not.
"""

from __future__ import annotations

import math
import statistics
import time
from typing import TYPE_CHECKING, Any

from trainer.callbacks.callback import Callback
from trainer.engine.backend import tensors
from trainer.state import callback_state

if TYPE_CHECKING:
    import pandas as pd

_PARTS = ("training", "validation", "other")


class Throughput(Callback):
    """Measures rows and steps per second, shares of the time, and memory, for each epoch.

    Tracing and compiling count as training in the first epoch. Callbacks at the end of an epoch and
    saving count as "other"; callbacks between dispatches count as training.

    After training:

        records: one dict per epoch: epoch (counted from 1), steps, rows, seconds and its parts
            (training_seconds, validation_seconds, other_seconds), steps_per_second and
            rows_per_second (per training second), and memory_bytes: the most resident memory of
            this process measured at the end of a dispatch or of the epoch. rows and
            rows_per_second are NaN for a stream, whose batches may vary in size.
        frame: the same as a DataFrame.
        devices: the names and kinds of the devices that TensorFlow computes on.
        summary(): a summary of a few lines, printed at the end unless the Trainer has verbose=0.
    """

    def on_train_begin(self, logs: Any = None) -> None:
        """Reset the records."""
        import psutil

        self.records: list[dict[str, float]] = []
        self.devices: list[str] = _devices()
        self._epoch: dict[str, float] = {}
        self._process = psutil.Process()
        self._mark = time.perf_counter()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Record the last epoch, and start a new one."""
        self._end_epoch()
        parts = {f"{part}_seconds": 0.0 for part in _PARTS}
        self._epoch = {"epoch": epoch + 1, "steps": 0, "memory_bytes": 0, **parts}

    def on_chunk_end(self, steps: int, logs: dict[str, float]) -> None:
        """Count steps and time."""
        self._epoch["steps"] = steps
        self._passed("training")

    def on_test_begin(self, logs: Any = None) -> None:
        """Count the time since the last dispatch as "other"."""
        self._passed("other")

    def on_test_end(self, logs: Any = None) -> None:
        """Count the time of validation."""
        self._passed("validation")

    def on_train_end(self, logs: Any = None) -> None:
        """Record the last epoch, and print the summary."""
        self._end_epoch()
        if self.records and self.session.verbose not in (0, False):
            print(self.summary())

    @property
    def frame(self) -> pd.DataFrame:
        """The records as a DataFrame indexed by epoch."""
        import pandas as pd

        return pd.DataFrame(self.records).set_index("epoch")

    def summary(self) -> str:
        """Summarize the measurements in a few lines; the rates are medians over the epochs."""
        if not self.records:
            return "throughput: no epoch has ended"
        total = sum(r["seconds"] for r in self.records)
        shares = ", ".join(
            f"{part} {sum(r[f'{part}_seconds'] for r in self.records) / total:.0%}"
            for part in _PARTS
        )
        steps, rows = (
            statistics.median(r[f"{name}_per_second"] for r in self.records)
            for name in ("steps", "rows")
        )
        counted = "" if math.isnan(rows) else f"{rows:,.0f} rows/s, "
        memory = max(r["memory_bytes"] for r in self.records) / 1e6
        epochs = f"{len(self.records)} epoch{'s' if len(self.records) > 1 else ''}"
        return (
            f"throughput: {epochs} in {total:.1f} s: {shares}\n"
            f"  {counted}{steps:,.1f} steps/s; {memory:,.0f} MB of memory at most\n"
            f"  on {', '.join(self.devices)}"
        )

    def state_dict(self) -> dict[str, Any]:
        """The records, and the current epoch so far."""
        return {"records": self.records, "_epoch": self._epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore both; the time between the two processes is not counted."""
        records, epoch = (
            callback_state.entry(state, "records", list),
            callback_state.entry(state, "_epoch", dict),
        )
        for record in (*records, epoch):
            if not isinstance(record, dict) or not all(
                isinstance(value, (int, float)) for value in record.values()
            ):
                raise ValueError("records: must hold only numbers by name")
        needed = {"epoch", "steps", "memory_bytes", *(f"{part}_seconds" for part in _PARTS)}
        if (epoch or self._epoch) and not needed <= epoch.keys():
            raise ValueError("_epoch: some measurements are missing")
        self.records, self._epoch = list(records), dict(epoch)
        self._mark = time.perf_counter()

    def _passed(self, part: str) -> None:
        now = time.perf_counter()
        self._epoch[f"{part}_seconds"] += now - self._mark
        self._mark = now
        held = float(self._process.memory_info().rss)
        self._epoch["memory_bytes"] = max(self._epoch["memory_bytes"], held)

    def _end_epoch(self) -> None:
        if self._epoch:
            self._passed("other")
            self.records.append(_completed(self._epoch, self.session.feed))
            self._epoch = {}
        self._mark = time.perf_counter()


def _completed(epoch: dict[str, float], feed: Any) -> dict[str, float]:
    steps = epoch["steps"]
    has_rows = hasattr(feed, "rows")
    rows = float(min(steps * feed.batch_size, feed.rows)) if has_rows else math.nan
    training = epoch["training_seconds"]
    parts = {f"{part}_seconds": epoch[f"{part}_seconds"] for part in _PARTS}
    return {
        "epoch": epoch["epoch"],
        "steps": steps,
        "rows": rows,
        "seconds": sum(parts.values()),
        **parts,
        "steps_per_second": steps / training if training else math.nan,
        "rows_per_second": rows / training if training else math.nan,
        "memory_bytes": epoch["memory_bytes"],
    }


def _devices() -> list[str]:
    return tensors.devices()
