"""What runs in a worker process. It imports nothing heavy before its threads are limited.

Responsible for preparing the process, for loading the work once, for answers that can always be
sent back, and for ending processes that a job leaves running. Not for starting and ending workers
(`processes`), nor for cleaning up after a worker that died (`guard`).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search.executors import as_text
from trainer.utils import guard, processor

SECONDS_BETWEEN_CHECKS = 0.5  # between checks that the parent is still alive
SECONDS_OF_A_BATCH = 0.25  # after which a worker sends back what it has of a batch
SECONDS_TO_CLEAN = 5.0  # for processes that a job left running to end
# if true, a worker is the child of its guard, which leads its session; else of the coordinator
GUARDED = hasattr(os, "fork") and not getattr(sys, "frozen", False)
SEAT = "SEARCH_WORKER_SEAT"  # environment variable: which of the pool's workers this is, from 0
SECONDS_TO_IMPORT = 15.0  # how long a worker waits for others to have imported what it needs
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")

_work: Any = None
_file = ""
_number = 0  # the coordinator's number for this worker: its guard's process number


def prepare(
    work: str, folder: str, parent: int, threads: int, preload: tuple[str, ...] = ()
) -> None:
    """Make this process a worker.

    Args:
        work: file of the pickled work; it may come later, before the first job.
        folder: for the mark of a running job, and the process's output.
        parent: the coordinator's process.
        threads: number of threads for libraries, unless the environment sets it.
        preload: modules to import. The first worker is the first to do so, where there are fewer
            cores than processes that want to: a search waits for its first result only.
    """
    global _file, _number
    _file = work
    _number = os.getsid(0) if GUARDED else os.getpid()
    for name in THREADS:
        os.environ.setdefault(name, str(threads))
    # several processes share a GPU: none may take all of its memory at once
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    if GUARDED:
        _use_own_tracker()
        _acknowledge_as(_number)
        _end_with_parent(os.getppid())
    else:
        _print_to(Path(folder) / f"{_number}.txt")
        _end_with_parent(parent)
    seat = int(os.environ.pop(SEAT, "0"))
    if preload:
        _import(preload, Path(folder), seat)
    if not os.path.exists(work):
        return
    with contextlib.suppress(Exception):  # the first job reports what is wrong
        warm_up = getattr(_loaded(), "warm_up", None)
        if warm_up is not None:
            warm_up()


def _import(names: tuple[str, ...], folder: Path, seat: int) -> None:
    """Import modules, after the workers in earlier seats if there are too few cores for all."""
    at_once = max(1, processor.usable() - 1)  # the coordinator imports them as well
    until = time.monotonic() + SECONDS_TO_IMPORT
    while len(list(folder.glob("*.ready"))) <= seat - at_once and time.monotonic() < until:
        time.sleep(0.02)
    gc.disable()  # imports leave no garbage, and scanning all of it takes a second
    for name in names:
        with contextlib.suppress(Exception):  # the first job reports what is wrong
            importlib.import_module(name)
    gc.freeze()
    gc.enable()
    (folder / f"{seat}.ready").touch()


def _use_own_tracker() -> None:
    """Use a resource tracker of our own, so that jobs' shared memory is deleted if we die.

    Spawned processes share their parent's tracker, which waits until all of them have ended, and
    then warns on the parent's stderr about what they left.
    """
    from multiprocessing import resource_tracker

    tracker: Any = resource_tracker._resource_tracker
    tracker._fd = tracker._pid = None  # a new one is started when needed


def _acknowledge_as(number: int) -> None:
    """Report a started job to pebble under the number by which it knows this worker."""
    from pebble.pool.process import Acknowledgement

    whole = Acknowledgement.__init__

    def acknowledge(self: Any, worker: int, task: int) -> None:  # noqa: ARG001 (called by name)
        whole(self, number, task)

    # replaced on purpose: pebble gives no other way to name the worker
    Acknowledgement.__init__ = acknowledge  # type: ignore[method-assign]


def _print_to(file: Path) -> None:
    output = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)


def _loaded() -> Any:
    global _work
    if _work is None:
        import cloudpickle

        with open(_file, "rb") as file:
            _work = cloudpickle.load(file)
    return _work


Answer = tuple[str, bytes | str]  # ("result", the pickled result) or ("raised", the error as text)


def run(job: int, argument: bytes) -> Answer:
    """Do the work on an argument.

    Exceptions and results may not be picklable, so neither is sent as it is. Processes that the job
    started and left running are ended, so that the next job finds the machine as this one did.

    Args:
        job: its number; while it runs, a file beside the process's output holds it.
        argument: of the work, pickled.
    """
    return run_many(job, [argument])[0]


def run_many(job: int, arguments: Sequence[bytes]) -> list[Answer]:
    """Do the work on one argument after another, for a quarter of a second; at least on one.

    What holds for a job in `run` holds for all of these together.

    Returns:
        One answer for each argument that there was time for.
    """
    os.ftruncate(1, 0)  # the file holds only what this job prints
    mark = Path(_file).with_name(f"{_number}.job")
    mark.write_text(str(job))
    before = _processes()
    until = time.monotonic() + SECONDS_OF_A_BATCH
    answers: list[Answer] = []
    try:
        for argument in arguments:
            answers.append(_answer(argument))
            if time.monotonic() > until:
                break
        return answers
    finally:
        _end_processes(before)
        sys.stdout.flush()
        sys.stderr.flush()
        mark.unlink(missing_ok=True)


def _answer(argument: bytes) -> Answer:
    try:
        import cloudpickle

        return "result", pickle.dumps(_loaded()(cloudpickle.loads(argument)))
    except (Exception, SystemExit) as error:
        return "raised", as_text(error)


def _processes() -> set[int]:
    return set(guard.descendants(os.getpid()))


def _end_processes(before: set[int]) -> None:
    """End new processes below this one, except those that libraries keep for it."""
    until = time.monotonic() + SECONDS_TO_CLEAN
    if _new(before):
        _end_pool_of_joblib()
    while time.monotonic() < until:
        left = _new(before)
        if not left:
            return
        for process in left:
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.01)
        for process in left:
            with contextlib.suppress(OSError):  # not our child, or already waited for
                os.waitpid(process, os.WNOHANG)
    print(f"processes {_new(before)} of the job could not be ended", file=sys.stderr)


def _new(before: set[int]) -> list[int]:
    direct = set(guard.children(os.getpid()))
    return [
        process
        for process in guard.descendants(os.getpid())
        if process not in before
        and not (process in direct and guard.is_helper(process, of_living=True))
    ]


def _end_pool_of_joblib() -> None:
    """Shut down joblib's pool in an orderly way: it would take killed processes for crashed."""
    if "joblib.externals.loky" in sys.modules:
        from joblib.externals.loky import get_reusable_executor

        # if there is no pool, this makes one without processes
        with contextlib.suppress(Exception):  # a broken pool: its processes are ended anyway
            get_reusable_executor().shutdown(wait=True, kill_workers=True)


def _end_with_parent(parent: int) -> None:
    """End this process when its parent ends.

    On Linux the kernel does this at any time. Elsewhere a thread does, which cannot interrupt a
    long computation that holds the interpreter's lock.
    """

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(SECONDS_BETWEEN_CHECKS)
        os._exit(1)

    if sys.platform != "linux":
        threading.Thread(target=look, daemon=True).start()
