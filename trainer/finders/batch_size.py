"""Finds the batch size with which a machine trains fastest.

Responsible for measuring rows per second and memory, and for the suggestion based on them. Not
for how well a batch size learns: a larger one takes fewer steps per epoch, and may need a higher
learning rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.finders.short_fits import check_trainer, short_fit
from trainer.utils import checks

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from trainer.base import Trainer

SMALLEST, LARGEST = 8, 8192
NEAR = 0.95  # of the best speed; smaller differences are within measurement noise


@dataclass(frozen=True, repr=False)
class BatchSizes:
    """Speed and memory of several batch sizes.

    Attributes:
        suggestion: The smallest batch size within 5% of the highest speed.
        frame: One row per batch size: batch_size, rows_per_second (median over dispatches; NaN if
            out of memory) and peak_bytes (of the process; with a GPU, of the GPU).
        stopped: Why no larger sizes were tested.
    """

    suggestion: int
    frame: pd.DataFrame
    stopped: str

    def __repr__(self) -> str:
        speeds = self.frame.set_index("batch_size")["rows_per_second"]
        return (
            f"BatchSizes(suggestion={self.suggestion}, {speeds[self.suggestion]:,.0f} rows/s; "
            f"{len(speeds)} sizes from {speeds.index[0]} to {speeds.index[-1]}, {self.stopped})"
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Plot rows per second over batch sizes, with the suggestion marked.

        Args:
            ax: Where to draw; None makes a new figure.
        """
        from trainer.plots import given_or_new
        from trainer.utils.figures import COLOURS

        ax = given_or_new(ax, (6.4, 4.4))
        sizes, speeds = self.frame["batch_size"], self.frame["rows_per_second"]
        ax.plot(sizes, speeds, color=COLOURS[0], marker="o")
        ax.axvline(
            self.suggestion,
            color=COLOURS[1],
            linestyle="--",
            label=f"suggestion {self.suggestion}",
        )
        for size in sizes[speeds.isna()]:
            ax.axvline(size, color=COLOURS[6], linestyle=":", label=f"out of memory at {size}")
        ax.set_xscale("log", base=2)
        ax.set_xticks(list(sizes), [str(size) for size in sizes])
        ax.set_ylim(0, 1.1 * float(speeds.max()))
        ax.set_xlabel("batch size")
        ax.set_ylabel("rows per second")
        ax.legend(fontsize="small")
        ax.grid(True, alpha=0.3)
        return ax


def find_batch_size(
    trainer: Trainer,
    x: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    sizes: Sequence[int] | None = None,
    seconds: float = 1.0,
) -> BatchSizes:
    """Train copies with increasing batch sizes, and suggest the one to use.

    The trainer and the random states of all libraries stay unchanged; its callbacks,
    validation_split and run_dir are ignored. Nothing else should run on the machine meanwhile.

    On a GPU, the test ends at the first size that runs out of memory. On a CPU, the process would
    be killed, so the test ends before a size that would need more memory than is free, by
    extrapolation.

    Args:
        trainer: Fitted or not.
        x: As for Trainer.fit, but not a stream, which already comes in batches.
        y: As for Trainer.fit.
        sample_weight: As for Trainer.fit.
        sizes: The batch sizes, increasing. None: the powers of two from 8 to 8192, up to the
            number of rows.
        seconds: How long to time each size after compilation.

    Returns:
        The suggestion, with the speeds and memory that it is based on.

    Raises:
        TypeError, ValueError: Bad arguments, or data that fit refuses.
        MemoryError: There is not enough memory for the first size.
    """
    check_trainer("find_batch_size", trainer)
    checks.positive("seconds", seconds)
    rows = _rows(trainer, x, y, sample_weight)
    chosen = _checked_sizes(sizes, rows)
    import pandas as pd

    from trainer.engine.backend import plan, tensors
    from trainer.finders.probes import PeakMemory, SpeedTest

    gpu = plan.has_gpu()
    free = _free_bytes()
    table: list[tuple[int, float, float]] = []
    stopped = "all given sizes" if sizes is not None else "the largest size to test"
    if sizes is None and 2 * chosen[-1] > rows:
        stopped = f"with {rows:,} rows"
    for size in chosen:
        if not gpu and len(table) > 1 and _expected(table, size) - table[0][2] > free:
            stopped = f"probably not enough memory for {size}"
            break
        test = SpeedTest(seconds=seconds, batch_size=size)
        try:
            with PeakMemory(gpu=gpu) as peak:
                # An epoch may consist of a single dispatch, so the number of epochs is no limit.
                short_fit(trainer, test, x, y, sample_weight, batch_size=size, epochs=10**9)
        except tensors.out_of_memory() as error:
            if not table:
                raise MemoryError(
                    f"batch_size={size}: not enough memory; write smaller sizes, such as "
                    f"sizes=({max(1, size // 4)}, {max(1, size // 2)})"
                ) from error
            table.append((size, np.nan, np.nan))
            stopped = f"not enough memory for {size}"
            break
        table.append((size, float(np.median(test.speeds)), float(peak.bytes)))
    frame = pd.DataFrame(table, columns=["batch_size", "rows_per_second", "peak_bytes"])
    fast = frame["rows_per_second"] >= NEAR * frame["rows_per_second"].max()
    return BatchSizes(int(frame["batch_size"][fast].iloc[0]), frame, stopped)


def _rows(trainer: Trainer, x: Any, y: Any, weight: Any) -> int:
    from trainer.data import preparation
    from trainer.data.preparation import Rows

    owner = type(trainer).__name__ if trainer.configure_task().needs_y else None
    data = preparation.collect(
        x, y, weight, batch_size=1, needs_y=owner, missing=trainer.missing_targets()
    )
    if not isinstance(data, Rows):
        raise TypeError(
            f"x is of type {type(x).__name__}, which already comes in batches; pass some of "
            "its rows as arrays or a DataFrame"
        )
    return data.n


def _checked_sizes(sizes: Sequence[int] | None, rows: int) -> list[int]:
    if sizes is None:
        powers = (2**n for n in range(SMALLEST.bit_length() - 1, LARGEST.bit_length()))
        return [size for size in powers if size <= rows] or [rows]
    if isinstance(sizes, str) or not isinstance(sizes, Sequence | np.ndarray) or not len(sizes):
        raise TypeError(f"sizes={sizes!r}: must be batch sizes, such as sizes=(32, 64, 128)")
    found = [checks.integer("sizes", size, low=1, example="(32, 64)") for size in sizes]
    if sorted(set(found)) != found:
        raise ValueError(
            f"sizes={sizes!r}: must increase; write sizes={tuple(sorted(set(found)))!r}"
        )
    if found[-1] > rows:
        raise ValueError(
            f"sizes={sizes!r}: {found[-1]} is more than the {rows} rows of x; leave it out, or "
            "pass more rows"
        )
    return found


def _expected(table: list[tuple[int, float, float]], size: int) -> float:
    """Extrapolate the peak memory to a larger size, linearly from the last two."""
    (a, _, low), (b, _, high) = table[-2:]
    return high + max(0.0, high - low) / (b - a) * (size - b)


def _free_bytes() -> int:
    import psutil

    return int(psutil.virtual_memory().available)
