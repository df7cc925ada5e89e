"""The memory of one fit: its peak, and what it takes for arrays above the limit."""

from __future__ import annotations

import resource
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

from benchmarks.case import Benchmark, Comparison, Side, Target
from benchmarks.data import Data, images
from benchmarks.models import Task, compiled, perceptron
from benchmarks.rounds import Rounds

MB = 1e6
ROW_BYTES = 784 * 4
PEAK_ROWS = 160_000  # 502 MB
LIMIT = 128 * MB  # of resident_bytes
TASK = Task(perceptron, lambda quick: images(320 if quick else PEAK_ROWS), "sgd", 0.01, 256)


def ours(x: Any, y: Any, epochs: int, limit: int | None = None) -> None:
    """Fit a new Trainer, with a limit on the bytes it holds as tensors."""
    TASK.trainer(epochs=epochs, resident_bytes=limit).fit(x, y)


def keras(x: Any, y: Any, epochs: int, limit: int | None = None) -> None:
    """Fit a new keras.Model, which has no limit."""
    compiled(perceptron(), "sgd", 0.01).fit(x, y, batch_size=256, epochs=epochs, verbose=0)


def peak(rounds: Rounds, fit: Callable[..., None]) -> None:
    """Report the peak memory of the process in megabytes, data included."""
    x, y = TASK.data(rounds.quick)
    rounds.wait()
    fit(x, y, epochs=1)
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    rounds.tell(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MB)


def mapped(rounds: Rounds, fit: Callable[..., None], times: int) -> None:
    """Report the maximum megabytes that a fit on a mapped file of `times` the limit adds."""
    limit = int(LIMIT / 64 if rounds.quick else LIMIT)
    few = images(2_000)
    fit(*few, epochs=1, limit=few[0].nbytes // 2)  # TensorFlow's own memory does not count
    with tempfile.TemporaryDirectory() as folder:
        x, y = _file(Path(folder) / "x.npy", times * limit // ROW_BYTES)
        rounds.wait()
        before = _private()
        with _Watch() as watch:
            fit(x, y, epochs=2, limit=limit)
        rounds.tell((watch.most - before) / MB)


def _file(path: Path, rows: int) -> Data:
    import numpy as np

    x = np.lib.format.open_memmap(path, "w+", np.float32, (rows, 28, 28))
    piece, labels = images(1_000)
    for start in range(0, rows, len(piece)):
        x[start : start + len(piece)] = piece[: rows - start]
    x.flush()
    return np.load(path, mmap_mode="r"), np.resize(labels, rows)


def _private() -> float:
    """Return the resident bytes without pages of mapped files, which the system can drop."""
    import psutil

    info = psutil.Process().memory_info()
    return float(info.rss - getattr(info, "shared", 0))


class _Watch:
    """Check the private memory a hundred times per second."""

    def __enter__(self) -> Self:
        self.most = _private()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._over.wait(0.01):
            self.most = max(self.most, _private())

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()


_TWICE, _FOUR = "Trainer, 2 x resident_bytes", "Trainer, 4 x resident_bytes"
BENCHMARKS = (
    Benchmark(
        name="peak",
        title="peak memory of a process that fits 502 MB of images",
        unit="MB",
        sides=(
            Side("Trainer", partial(peak, fit=ours)),
            Side("keras.Model.fit", partial(peak, fit=keras)),
        ),
        comparisons=(
            Comparison("Trainer", "keras.Model.fit", Target(excess=PEAK_ROWS * ROW_BYTES / MB)),
        ),
        fresh=True,
        most_rounds=1,
    ),
    Benchmark(
        name="mapped",
        title="memory added by a fit on a memory-mapped file, resident_bytes 128 MB",
        unit="MB",
        sides=(
            Side(_TWICE, partial(mapped, fit=ours, times=2)),
            Side(_FOUR, partial(mapped, fit=ours, times=4)),
            Side("keras.Model.fit, the smaller file", partial(mapped, fit=keras, times=2)),
        ),
        comparisons=(
            Comparison(_TWICE, "keras.Model.fit, the smaller file", Target(value=LIMIT / MB)),
            Comparison(_FOUR, target=Target(value=LIMIT / MB)),
        ),
        fresh=True,
        most_rounds=1,
    ),
)
