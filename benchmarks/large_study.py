"""`python -m benchmarks.large_study`: a study with 1,000 workers, which are simulated.

    python -m benchmarks.large_study --tuner random             # 100,000 trials, in simulated time
    python -m benchmarks.large_study --tuner tpe --trials 20000
    python -m benchmarks.large_study --tuner tpe --pruner asha --trials 20000

Coordinator, proposer and store are the real ones and take real time. Trials take from 1 to 600
simulated seconds (equal shares of the logarithm), one in a hundred ten times as long; of one in a
hundred the process dies. With a pruner, this is the time to each rung. The clock is the real one,
except that where the coordinator waits, it jumps to the next end of a trial. So what workers wait
for is what the coordinator takes.
"""

from __future__ import annotations

import argparse
import heapq
import tempfile
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from search import TunerSearch
from search.executors import Crashed
from search.study import coordinator
from search.study.evaluation import DryRun
from search.study.trial import Fold, Result
from trainer import Classifier, Float


class Simulated:
    """Workers that do nothing but take time.

    Args:
        workers: their number.
        seed: of how long trials take, and which fail.
    """

    def __init__(self, workers: int, seed: int = 0) -> None:
        self.workers = workers
        self._random = np.random.default_rng(seed)
        self._began, self._jumped = time.perf_counter(), 0.0
        self._free = [0.0] * workers  # since when, of each worker that has no trial
        self._queue: deque[tuple[Future[Any], Any]] = deque()
        self._ends: list[tuple[float, int, Future[Any], Any]] = []
        self._count = 0
        self.busy = self.lost = 0.0  # seconds of workers, until the last trial was asked for

    @property
    def now(self) -> float:
        """The simulated time."""
        return time.perf_counter() - self._began + self._jumped

    def submit(self, argument: Any) -> Future[Any]:
        """Give a trial to the worker that has been free for longest, or let it wait for one."""
        future: Future[Any] = Future()
        if isinstance(argument, DryRun):
            future.set_result(None)
            return future
        self._queue.append((future, argument))
        self._start(self.now)
        return future

    def _start(self, now: float) -> None:
        while self._queue and self._free:
            future, argument = self._queue.popleft()
            since = heapq.heappop(self._free)
            future.set_running_or_notify_cancel()
            seconds = float(np.exp(self._random.uniform(0, np.log(600))))
            seconds *= 10 if self._random.random() < 0.01 else 1
            self.lost += now - since
            self.busy += seconds
            self._count += 1
            heapq.heappush(self._ends, (now + seconds, self._count, future, argument))

    def wait(self, futures: Iterable[Future[Any]], *_: Any) -> tuple[set[Future[Any]], set[Any]]:
        """Stand in for concurrent.futures.wait: jump to the next end, if none is due."""
        if self._ends and self._ends[0][0] > self.now:
            self._jumped += self._ends[0][0] - self.now
        now = self.now
        while self._ends and self._ends[0][0] <= now:
            end, _, future, job = heapq.heappop(self._ends)
            heapq.heappush(self._free, end)
            self._start(end)  # a trial that waits begins at once
            if self._random.random() < 0.01:
                future.set_exception(Crashed("died"))
            else:
                score = -float((job.params["learning_rate"] - 0.3) ** 2 + job.params["units"])
                future.set_result(Result(score, {}, [Fold(0, 0, score)]))
        done = {future for future in futures if future.done()}
        return done, set()

    def close(self) -> None:
        """Do nothing."""


class Nothing(Classifier):
    """What the simulated workers do not train."""

    units: float = 0.5


def measure(tuner: str, pruner: str | None, trials: int, workers: int) -> str:
    """Run a study, and return a line about it."""
    made: list[Simulated] = []

    def simulated(_: Any) -> Simulated:
        made.append(Simulated(workers))
        return made[0]

    whole = coordinator.wait
    coordinator.wait = lambda *given: made[0].wait(*given)  # type: ignore[assignment]
    x, y = np.zeros((8, 1)), np.arange(8) % 2
    try:
        with tempfile.TemporaryDirectory() as folder:
            search = TunerSearch(
                Nothing(epochs=27),
                {"learning_rate": Float(0.001, 1), "units": Float(0, 1)},
                objective="val_accuracy",
                tuner=tuner,
                pruner=pruner,
                max_trials=trials,
                executor=simulated,
                directory=folder,
                seed=0,
                refit=False,
                verbose=0,
            )
            began = time.perf_counter()
            search.fit(x, y, validation_data=(x, y))
            taken = time.perf_counter() - began
            jobs = len(search.results_)
            size = sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file())
    finally:
        coordinator.wait = whole
    found = made[0]
    memory = psutil.Process().memory_info().rss / 2**20
    return (
        f"{tuner}{f' with {pruner}' if pruner else ''}: {jobs:,} trials and rungs, {workers:,} "
        f"workers: busy {found.busy / (found.busy + found.lost):.1%} of {found.now / 3600:.1f} "
        f"simulated hours; the coordinator took {1e3 * taken / jobs:.1f} ms for each; "
        f"{memory:,.0f} MiB of memory, {size / 2**20:,.0f} MiB on disk"
    )


def main() -> None:
    """Measure, and print a line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_study", description=__doc__)
    parser.add_argument("--tuner", default="random")
    parser.add_argument("--pruner")
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=1_000)
    given = parser.parse_args()
    print(measure(given.tuner, given.pruner, given.trials, given.workers))


if __name__ == "__main__":
    main()
