"""What runs in a worker of Ray: it passes jobs on to a process of its own, and reports on them.

Responsible for one slot of a node: the process that does the work, its limits, and messages about
its course. Not for where jobs run (`ray_tasks`), nor for how a process ends (`processes`).

A worker of Ray does no work itself. It starts a process as a search on one machine does, so that a
trial has the same limits, ends for the same reasons and leaves as little behind. That process stays
warm as long as Ray uses the same worker. It ends with the worker, at once.

It imports neither TensorFlow nor NumPy: there are as many workers as processes.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from search.executors import Failure, node_files, worker
from search.executors.processes import Processes
from trainer.utils.scratch import Scratch, sweep

SECONDS_BETWEEN_REPORTS = 0.5  # about the progress of trials
SECONDS_TO_END = 5.0  # for the workers of a study, when it ends
DATA, PROGRESS = "data", "progress"  # names of NodeFiles
_PREFIX = "search-"
_SLOT = "slot-"  # begins the name of a slot's mark: its process number and time of start


@dataclass(frozen=True)
class Order:
    """What all jobs of a study have in common.

    Attributes:
        token: of the study, unknown to others.
        timeout: seconds after which a job is ended, or None.
        memory: bytes above which a job is ended, or None.
        recycle: number of jobs after which a process is replaced; 0: never.
        threads: of a process.
    """

    token: str
    timeout: float | None
    memory: int | None
    recycle: int
    threads: int


# ("progress", {trial: what search.study.progress writes}), and at the end of a job ("answers",
# [what the process answered for each argument]) or ("failure", [its class, the text])
Message = tuple[str, Any]


class Slot:
    """The process of one worker of Ray.

    Args:
        order: what its jobs have in common.
        work: returns the pickled work.
        data: returns the content of the file with the data, or None if there is none.
    """

    def __init__(
        self, order: Order, work: Callable[[], bytes], data: Callable[[], memoryview | None]
    ) -> None:
        import psutil

        sweep(_PREFIX)
        node_files.sweep()
        self.order = order
        self._shared = node_files.SharedFolder(order.token)
        self._mark = self._shared.path / f"{_SLOT}{os.getpid()}-{psutil.Process().create_time()}"
        self._mark.touch()
        self._scratch = Scratch(_PREFIX)
        self._progress = self._scratch.path / PROGRESS
        self._progress.mkdir()
        file = self._shared.path / DATA
        if not file.exists():
            content = data()
            if content is not None:
                file = self._shared.write_once(DATA, [content])
        (self._scratch.path / DATA).symlink_to(file)
        os.environ[node_files.VARIABLE] = str(self._scratch.path)
        for name in worker.THREADS:
            os.environ.setdefault(name, str(order.threads))
        self._pool = Processes(
            workers=1,
            timeout=order.timeout,
            memory=order.memory,
            recycle=order.recycle,
            guards=2,  # Ray kills the children of a worker that it ends, and so the first guard
        )
        self._pool.load_pickled(work())

    def run(self, arguments: Sequence[bytes]) -> Iterator[Message]:
        """Do the work on pickled arguments, one after another, as Processes.submit_many does."""
        future = self._pool.submit_pickled(arguments)
        seen: dict[str, int] = {}
        look = time.monotonic() + SECONDS_BETWEEN_REPORTS
        while True:
            try:
                answers = future.result(max(look - time.monotonic(), 0))
            except Failure as failure:
                yield "failure", [type(failure).__name__, str(failure)]
                return
            except concurrent.futures.TimeoutError:
                look = time.monotonic() + SECONDS_BETWEEN_REPORTS
                found = self._reached(seen)
                if found:
                    yield "progress", found
            else:
                yield "answers", answers
                return

    def _reached(self, seen: dict[str, int]) -> dict[int, dict[str, Any]]:
        """Return what is new of the progress of trials."""
        found = {}
        for file in self._progress.glob("*.json"):
            try:
                changed = file.stat().st_mtime_ns
                if seen.get(file.name) != changed:
                    found[int(file.stem)] = json.loads(file.read_text("utf-8"))
                    seen[file.name] = changed
            except (FileNotFoundError, ValueError):  # there will be a complete one
                continue
        return found

    def close(self) -> None:
        """End the process, and delete its files."""
        self._mark.unlink(missing_ok=True)
        self._pool.close()
        self._scratch.remove()
        self._shared.close()


_slot: Slot | None = None


def slot(order: Order, work: Callable[[], bytes], data: Callable[[], memoryview | None]) -> Slot:
    """Return the slot of this worker; another study gets a new one."""
    global _slot
    if _slot is not None and _slot.order != order:
        _slot.close()
        _slot = None
    if _slot is None:
        _slot = Slot(order, work, data)
    return _slot


def _close() -> None:
    global _slot
    if _slot is not None:
        _slot.close()
        _slot = None


atexit.register(_close)


def end(token: str) -> None:
    """End the slots of a study on this machine, and wait for their workers to end.

    A worker that has its signal but has not ended might be given a job of the next study.

    Args:
        token: of the study; slots of another in the same workers go on.
    """
    import psutil

    if _slot is not None and _slot.order.token == token:
        _close()  # Ray may run this in a worker that has a slot
    ending = []
    for mark in node_files.folder(token).glob(f"{_SLOT}*"):
        number, started = mark.name.removeprefix(_SLOT).split("-")
        with contextlib.suppress(psutil.Error):  # it has ended
            process = psutil.Process(int(number))
            if str(process.create_time()) == started:
                process.send_signal(signal.SIGTERM)
                ending.append(process)
    psutil.wait_procs(ending, timeout=SECONDS_TO_END)
