"""Trials in their own processes, which may crash, hang or eat memory without harm to the study.

Responsible for starting workers, for their limits, and for finding out how one ended. pebble's
ProcessPool does the hard part: it ends a job that takes too long and replaces a process that died.
It shuts down when an idle process dies while no other has a job; then a new pool is made, and gets
the jobs that no worker had begun. What pebble takes for a worker is the worker's guard: see
`guard`.

A worker does not import the user's script again, as Python's own spawned processes do: a script
that starts a search without `if __name__ == "__main__"` would start it in each worker.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing.spawn
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any

from search.executors import (
    Crashed,
    Failure,
    OutOfMemory,
    Raised,
    TimedOut,
    Withdrawn,
    devices,
    memory,
    worker,
)
from trainer.utils import guard, processor
from trainer.utils.scratch import Scratch
from trainer.utils.text import message_of

SECONDS_BETWEEN_CHECKS = 0.1  # between checks of the workers' memory
CHECK_PAUSE_FACTOR = 5  # wait at least this many times as long as the last check of memory took
SECONDS_UNTIL_LOST = 2.0  # after which a job that pebble has not reported is lost
MAX_STARTS = 3  # of workers for a job, if each dies before it begins the job
OUTPUT_QUOTED = 2_000  # how many characters of a process's output its failure quotes


class Processes:
    """A pool of worker processes.

    Args:
        work: takes an argument and returns a picklable result; cloudpickle sends it. None: it
            comes later, by `load`, and workers meanwhile import what it needs.
        workers: number of processes.
        timeout: seconds after which a job is ended, or None.
        memory: bytes above which a worker is ended with all processes it started, as counted by
            `search.executors.memory`; or None.
        recycle: number of jobs after which a process is replaced by a new one; 0: never.
        preload: modules that workers import as they start.
        guards: 2 where this process may be ended by a program that also ends its children, as Ray
            does: the second guard of each worker then ends what the worker has started.

    Raises:
        TypeError: the work cannot be pickled.
    """

    def __init__(
        self,
        work: Any = None,
        *,
        workers: int,
        timeout: float | None = None,
        memory: int | None = None,
        recycle: int = 0,
        preload: Sequence[str] = (),
        guards: int = 1,
    ) -> None:
        from pebble import ProcessPool

        self.workers = workers
        self._timeout = timeout
        self._memory = memory
        content = None if work is None else pickled(work)
        self._scratch = Scratch("search-")
        self._folder = self._scratch.path
        self._file = self._folder / "work.pickle"
        if content is not None:
            self._file.write_bytes(content)
        self._seats = _Seats(self._folder, devices.shares(workers), guards)
        threads = max(1, processor.usable() // workers)
        self._new_pool: Callable[[], Any] = lambda: ProcessPool(
            max_workers=workers,
            max_tasks=recycle,
            initializer=worker.prepare,
            initargs=(str(self._file), str(self._folder), os.getpid(), threads, tuple(preload)),
            context=_Context(self._seats),
        )
        self._pool = self._new_pool()
        self._changing = threading.RLock()  # held while the pool is replaced, or gets a job
        self._broken: BrokenProcessPool | None = None  # why the last pool shut down
        self._killed: dict[int, int] = {}
        self._jobs: dict[int, _Job] = {}
        self._submitted = 0
        self._closed = threading.Event()
        self._watching = threading.Thread(target=self._watch, daemon=True)
        self._watching.start()

    def start(self) -> None:
        """Start the workers, before there is a job."""
        with self._changing:
            if not self._works():
                self._renew()

    def _works(self) -> bool:
        """Start the pool if it is new; return whether it works."""
        try:
            return bool(self._pool.active)
        except (BrokenProcessPool, OSError) as error:  # no process could be started
            self._broken = _as_broken(error)
            return False

    def load(self, work: Any) -> None:
        """Set the work, before the first job.

        Raises:
            TypeError: it cannot be pickled.
        """
        self.load_pickled(pickled(work))

    def load_pickled(self, content: bytes) -> None:
        """Set the work, as `pickled` returned it, before the first job."""
        beside = self._file.with_suffix(".part")
        beside.write_bytes(content)
        os.replace(beside, self._file)  # a worker that is starting finds all of it or nothing

    def submit(self, argument: Any) -> Future[Any]:
        """Run the work on an argument in a free worker, or as soon as one is free."""
        import cloudpickle

        sent = cloudpickle.dumps(argument)  # it may hold classes defined in a script
        return self._schedule(worker.run, sent, result)

    def submit_many(self, arguments: Sequence[Any]) -> Future[list[Any]]:
        """Run the work on several arguments in one worker, for a quarter of a second."""
        import cloudpickle

        def results(answers: list[worker.Answer]) -> list[Any]:
            missing = [None] * (len(arguments) - len(answers))
            return [outcome(answer) for answer in answers] + missing

        return self._schedule(worker.run_many, [cloudpickle.dumps(a) for a in arguments], results)

    def submit_pickled(self, arguments: Sequence[bytes]) -> Future[list[worker.Answer]]:
        """Do as submit_many, with pickled arguments; the answers stay as the worker sent them."""
        return self._schedule(worker.run_many, list(arguments), lambda answers: answers)

    def _schedule(
        self, run: Callable[..., Any], sent: Any, read: Callable[[Any], Any]
    ) -> Future[Any]:
        with self._changing:
            self.start()
            self._submitted += 1
            job = self._jobs[self._submitted] = _Job(self._submitted, run, sent, read)
            self._send(job)
        return job

    def _send(self, job: _Job) -> None:
        job.starts += 1
        try:
            job.inner = self._pool.schedule(
                job.run, args=(job.number, job.sent), timeout=self._timeout
            )
        except (RuntimeError, OSError) as error:  # the pool has just broken: the next gets this job
            job.inner = Future()
            job.inner.set_exception(_as_broken(error))
        job.inner.add_done_callback(lambda done: self._settle(job, done))

    def _settle(self, job: _Job, done: Future[Any]) -> None:
        try:
            answer = done.result()
        except BrokenProcessPool as error:
            self._broken = error  # `_renew` decides what becomes of the job
            return
        except BaseException as error:
            self._jobs.pop(job.number, None)
            job.fail(self._failure(error))
        else:
            self._jobs.pop(job.number, None)
            job.settle(answer)

    def _renew(self) -> None:
        """Replace a pool that has shut down; its jobs go to the next unless they were begun."""
        with self._changing:
            codes = self._seats.exit_codes()  # of those that died, not of those that end here
            self._end_pool()
            begun = self._begun()
            self._pool = self._new_pool()
            for job in list(self._jobs.values()):
                pid = begun.get(job.number)
                if pid is None and job.starts < MAX_STARTS:
                    self._send(job)
                    continue
                self._jobs.pop(job.number, None)
                if pid is None:
                    job.fail(self._without_worker(codes))
                else:
                    job.fail(self._death(pid, codes.get(pid)))
            self._killed.clear()

    def _begun(self) -> dict[int, int]:
        """Return the process numbers of workers by that of the job they are doing."""
        pids = [int(mark.stem) for mark in self._folder.glob("*.job")]
        return {job: pid for pid in pids if (job := self._job_of(pid)) is not None}

    def _job_of(self, pid: int) -> int | None:
        """Return the number of the job that a worker is doing, None if it does none."""
        try:
            return int((self._folder / f"{pid}.job").read_text())
        except (OSError, ValueError):  # it is done, or not quite begun
            return None

    def close(self) -> None:
        """End all workers and their jobs."""
        self._closed.set()
        with self._changing:
            self._end_pool()
        self._watching.join()  # it reads the folder
        self._scratch.remove()

    def _end_pool(self) -> None:
        self._pool.stop()  # type: ignore[no-untyped-call] # pebble gives it no types
        self._seats.end()  # all at once: pebble ends them one by one
        self._pool.join()
        self._seats.sweep()

    def _failure(self, error: BaseException) -> Failure:
        from pebble import ProcessExpired

        if isinstance(error, TimeoutError):
            return TimedOut(f"took longer than {self._timeout:g} s, and was ended")
        if isinstance(error, concurrent.futures.CancelledError):
            return Withdrawn("was cancelled")
        if not isinstance(error, ProcessExpired):
            return Raised(
                f"it could not be sent to a worker: {type(error).__name__}: {message_of(error)}"
            )
        return self._death(error.pid, error.exitcode)

    def _death(self, pid: int, code: int | None) -> Failure:
        if pid in self._killed:
            return self._too_large(pid, self._killed.pop(pid))
        return Crashed(f"its process {_how(code)}{self._last_output(pid)}")

    def _too_large(self, pid: int, taken: int) -> Failure:
        took, limit = (n / 2**20 for n in (taken, self._memory or 0))
        said = self._last_output(pid)
        return OutOfMemory(f"took {took:,.0f} MiB, above {limit:,.0f} MiB, and was ended{said}")

    def _without_worker(self, codes: Mapping[int, int | None]) -> Failure:
        if self._killed:
            return self._too_large(*list(self._killed.items())[-1])
        cause = None if self._broken is None else self._broken.__cause__
        if cause is not None:
            return Crashed(f"no process could start it: {type(cause).__name__}: {cause}")
        dead = {pid: code for pid, code in codes.items() if code}
        how = "".join(f"; the last {_how(code)}" for code in list(dead.values())[-1:])
        said = next(filter(None, map(self._last_output, reversed(dead))), "")
        return Crashed(f"{MAX_STARTS} processes died before one could start it{how}{said}")

    def _last_output(self, pid: int | None) -> str:
        try:
            text = (
                (self._folder / f"{pid}.txt").read_text(errors="replace")[-OUTPUT_QUOTED:].strip()
            )
        except OSError:
            return ""
        return f"; it had printed:\n{text}" if text else ""

    def _watch(self) -> None:
        dead: dict[Path, float] = {}
        look = 0.0
        while not self._closed.wait(SECONDS_BETWEEN_CHECKS):
            if self._jobs and not self._works():
                with self._changing:
                    if not self._closed.is_set():
                        self.start()
            if self._memory is not None and time.monotonic() >= look:
                began = time.monotonic()
                for mark in self._folder.glob("*.txt"):
                    self._limit(int(mark.stem))
                # counting a lot of memory takes long, and slows down the processes it belongs to
                look = time.monotonic() + CHECK_PAUSE_FACTOR * (time.monotonic() - began)
            # if a process exited with 0, pebble assumes it had no job, and would wait for the job
            # forever; it reports all other deaths soon
            marks = [m for m in self._folder.glob("*.job") if not _alive(int(m.stem))]
            now = time.monotonic()
            dead = {mark: dead.get(mark, now) for mark in marks}
            for mark in [m for m, since in dead.items() if now - since > SECONDS_UNTIL_LOST]:
                with contextlib.suppress(OSError, ValueError):
                    lost = self._jobs.pop(int(mark.read_text()), None)
                    mark.unlink()
                    if lost is not None:
                        pid = int(mark.stem)
                        lost.fail(self._death(pid, self._seats.exit_codes().get(pid, 0)))

    def _limit(self, pid: int) -> None:
        assert self._memory is not None
        if not _alive(pid):
            return
        job = self._job_of(pid)
        tree = guard.descendants(pid) if worker.GUARDED else [pid, *guard.descendants(pid)]
        taken = memory.above(tree, self._memory)
        if taken is None or self._job_of(pid) != job:  # counting takes a while, and a job may end
            return
        self._killed[pid] = taken
        for process in tree:  # not the guard: it ends whatever these start meanwhile
            if not guard.is_helper(process, of_living=False):
                with contextlib.suppress(OSError):
                    os.kill(process, signal.SIGKILL)


def _as_broken(error: RuntimeError | OSError) -> BrokenProcessPool:
    """Return what pebble raises as a BrokenProcessPool, whose cause is the system's error if any.

    It does so itself for a worker that cannot be started, but not for Python's resource tracker,
    which is started with the first pool, nor for its pipes.
    """
    if isinstance(error, BrokenProcessPool):
        return error
    made = BrokenProcessPool()
    made.__cause__ = error if isinstance(error, OSError) else None
    return made


def pickled(work: Any) -> bytes:
    """Return the work in the form in which it is sent to workers.

    Raises:
        TypeError: it cannot be pickled.
    """
    import cloudpickle

    try:
        found: bytes = cloudpickle.dumps(work)
    except Exception as error:
        raise TypeError(
            f"the search cannot be sent to other processes ({error}); write "
            "executor='serial', or keep open files, locks and the like out of the estimator"
        ) from error
    return found


def result(answer: worker.Answer) -> Any:
    """Return what the work returned, or raise a Failure."""
    kind, content = answer
    if kind == "raised":
        raise Raised(str(content))
    try:
        return pickle.loads(content)  # type: ignore[arg-type] # bytes, if it is a result
    except Exception as error:
        text = f"its result could not be read: {type(error).__name__}: {message_of(error)}"
        raise Raised(text) from error


def outcome(answer: worker.Answer) -> Any:
    """Return what the work returned, or the Failure."""
    try:
        return result(answer)
    except Failure as failure:
        return failure


class _Job(Future[Any]):
    """The future of a job.

    Args:
        number: of the job.
        run: what a worker calls.
        sent: what it calls it with.
        read: makes the result of the answer.

    Attributes:
        inner: pebble's own future, which knows whether it is running.
        starts: how many pools have had it.
    """

    def __init__(
        self, number: int, run: Callable[..., Any], sent: Any, read: Callable[[Any], Any]
    ) -> None:
        super().__init__()
        self.number = number
        self.run = run
        self.sent = sent
        self.read = read
        self.inner: Future[Any] = Future()
        self.starts = 0

    def running(self) -> bool:
        return bool(self.inner.running()) and not self.done()

    def cancel(self) -> bool:
        return not self.inner.running() and bool(self.inner.cancel())

    def fail(self, failure: Failure) -> None:
        """End the job with a failure, unless it has ended."""
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            self.set_exception(failure)

    def settle(self, answer: Any) -> None:
        """End the job with the answer of its worker, unless it has ended."""
        try:
            found = self.read(answer)
        except Failure as failure:
            self.fail(failure)
            return
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            self.set_result(found)


def _how(code: int | None) -> str:
    """Return how a process ended, by its exit code; None: it was ended with its pool."""
    if code is None:
        return "was ended, because another had died before it could start"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"died of {signal.Signals(-code).name}"
    return f"exited with code {code}"


def _alive(pid: int) -> bool:
    import psutil

    try:
        process = psutil.Process(pid)
        return bool(process.ppid() == os.getpid() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


class _Seats:
    """The seats of a pool's workers: whoever replaces a worker takes its number and its devices.

    Args:
        folder: of the pool.
        environments: environment variables for the worker in each seat.
        guards: of each worker.
    """

    def __init__(self, folder: Path, environments: Sequence[dict[str, str]], guards: int) -> None:
        self._folder = folder
        self._guards = guards
        self._environments = environments
        self._taken: dict[int, _Process] = {}
        self._died: dict[int, int | None] = {}  # exit codes of processes that were replaced

    def process(self, **options: Any) -> _Process:
        """Return a process, not yet started, in the first free seat."""
        number = 0
        while (taken := self._taken.get(number)) is not None and taken.is_alive():
            number += 1
        if taken is not None:
            _end_session(taken)
            if taken.exitcode and taken.pid is not None:
                self._died[taken.pid] = taken.exitcode
        environment = self._environments[number % len(self._environments)]
        made = self._taken[number] = _Process(**options)
        made.settle(self._folder, {**environment, worker.SEAT: str(number)}, self._guards)
        return made

    def exit_codes(self) -> dict[int, int | None]:
        """Return exit codes by process number, other than 0; None: the process is alive."""
        taken = {p.pid: p.exitcode for p in list(self._taken.values()) if p.pid is not None}
        return self._died | {pid: code for pid, code in taken.items() if code != 0}

    def end(self) -> None:
        """Ask all workers to end, and wait for them for a while."""
        for process in list(self._taken.values()):
            with contextlib.suppress(OSError, AttributeError):  # it has not been started
                process.terminate()
        for process in list(self._taken.values()):
            with contextlib.suppress(AssertionError):
                process.join(guard.SECONDS_TO_END)

    def sweep(self) -> None:
        """End what is left of workers whose only guard was killed."""
        for process in self._taken.values():
            _end_session(process)
        self._taken.clear()


def _end_session(process: _Process) -> None:
    number = process.pid
    if number is None or not worker.GUARDED or process.exitcode != -signal.SIGKILL:
        return  # the guard ended by itself, after everything below it
    if process.guards > 1:
        return  # the second guard is in this session, and is still ending what the worker started
    import psutil

    # a session's number is not reused for a process while somebody is in the session
    for other in [] if psutil.pid_exists(number) else psutil.pids():
        with contextlib.suppress(OSError):
            if os.getsid(other) == number:
                os.kill(other, signal.SIGKILL)


class _Process(SpawnProcess):
    """A spawned process that does not import the main module, below its guards."""

    _folder = Path()
    _environment: Mapping[str, str] = {}
    guards = 1

    def settle(self, folder: Path, environment: Mapping[str, str], guards: int) -> None:
        """Set its folder, the variables to add to its environment, and how many guards it has."""
        self._folder, self._environment, self.guards = folder, environment, guards

    def run(self) -> None:
        """Start in the new process, before anything heavy is imported."""
        os.environ.update(self._environment)
        super().run()

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        with _guarded_start(process_obj._folder, process_obj.guards):
            return SpawnProcess._Popen(process_obj)


class _Context(SpawnContext):
    """A context that starts processes in seats."""

    def __init__(self, seats: _Seats) -> None:
        super().__init__()
        # in the place of the class that multiprocessing calls to make a process
        self.Process = seats.process  # type: ignore[misc, assignment]


_preparing = threading.Lock()
_GUARDED = (
    "from importlib import util; "
    "spec = util.spec_from_file_location('guard', {file!r}); "
    "guard = util.module_from_spec(spec); spec.loader.exec_module(guard); "
    "import os; guard.begin({parent}, {folder!r}); "
    "[guard.begin(os.getppid()) for _ in range({more})]; "
    # what a trial starts stays below its worker, which ends it once the trial has ended
    "guard.prctl(guard.PR_SET_CHILD_SUBREAPER, 1); {command}"
)


@contextlib.contextmanager
def _guarded_start(folder: Path, guards: int) -> Iterator[None]:
    with _preparing:
        whole = multiprocessing.spawn.get_preparation_data
        whole_line = multiprocessing.spawn.get_command_line

        def data(name: str) -> dict[str, Any]:
            found = whole(name)
            return {k: v for k, v in found.items() if not k.startswith("init_main")}

        def line(**numbers: Any) -> list[str]:
            *before, command, last = whole_line(**numbers)
            if not worker.GUARDED:
                return [*before, command, last]
            guarded = _GUARDED.format(
                file=guard.__file__,
                folder=str(folder),
                parent=os.getpid(),
                more=guards - 1,
                command=command,
            )
            return [*before, guarded, last]

        multiprocessing.spawn.get_preparation_data = data
        multiprocessing.spawn.get_command_line = line
        try:
            yield
        finally:
            multiprocessing.spawn.get_preparation_data = whole
            multiprocessing.spawn.get_command_line = whole_line
