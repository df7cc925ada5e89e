"""The process between a coordinator and a worker, which leaves nothing of a worker behind.

The coordinator runs a search, or launches the workers of one training. Responsible for ending every
process that a worker started, however the worker ends, and for ending the worker when the
coordinator is gone. Not for what the worker does, nor for replacing it.

When a worker dies, the processes it started live on. So each worker is the child of a guard, a copy
of the bare interpreter made before anything is imported. On Linux the guard is a subreaper:
processes below it stay below it, even those that started their own session or whose parent has
ended. The guard waits; when the worker has ended, it ends what is left, and then ends in the same
way itself. The coordinator takes the guard for the worker's process.

A spawned process runs this file by its path, before sys.path is set: it imports only the standard
library.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

SECONDS_BETWEEN_CHECKS = 0.5  # between checks that the coordinator is still alive
SECONDS_TO_END = 2.0  # for a trial's worker, after SIGTERM; pebble gives its process 3
SECONDS_FOR_HELPERS = 1.0  # for helpers to delete what other processes left
PR_SET_PDEATHSIG = 1  # an option of Linux prctl
PR_SET_CHILD_SUBREAPER = 36
# processes that delete semaphores, shared memory and memory maps once their users are gone
_TRACKER = re.compile(rb"from [\w.]*resource_tracker import main")
_FORKSERVER = re.compile(rb"from multiprocessing\.forkserver import main")


def begin(parent: int, folder: str | None = None, grace: float = SECONDS_TO_END) -> None:
    """Become the guard of a worker, and return in the worker only.

    Args:
        parent: the coordinator's process.
        folder: where the output of both goes, to a file named after the guard's process number;
            None: it stays where it is.
        grace: how many seconds a worker has to end after SIGTERM, when the guard gets one; 0: it
            gets SIGKILL at once.
    """
    with contextlib.suppress(PermissionError):  # below another guard it leads a group already
        os.setsid()
    if folder is not None:
        _write_to(os.path.join(folder, f"{os.getpid()}.txt"))
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    guard = os.getpid()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    worker = os.fork()
    if worker:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # only wakes the guard: the kernel sends it as soon as the thread that started us has
        # ended, and the loop checks whether the coordinator itself has
        signal.signal(signal.SIGHUP, lambda number, frame: None)
        prctl(PR_SET_PDEATHSIG, signal.SIGHUP)
        _guard(worker, parent, woken, asked, grace)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    os.close(woken)
    os.close(wake)
    os.setpgid(0, 0)  # a trial that signals its whole group does not reach the guard
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guard:
        os._exit(1)


def prctl(option: int, value: int) -> None:
    """Set a property of this process, where there is such a call."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError, ImportError):
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def children(process: int) -> list[int]:
    """List the child processes of a process."""
    if not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
        return _by_parent(process)  # a kernel built without this file
    found: list[int] = []
    with contextlib.suppress(OSError):  # it has ended
        for thread in os.listdir(f"/proc/{process}/task"):
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{process}/task/{thread}/children").read_text()
                found += map(int, text.split())
    return found


def _by_parent(process: int) -> list[int]:
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # the program's name before it may contain anything, brackets and spaces included
            fields = file.read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[1]) == process:
                found.append(int(file.parent.name))
    return found


def descendants(process: int) -> list[int]:
    """List the processes below a process, each after its parent."""
    if sys.platform != "linux":
        import psutil

        try:
            return [child.pid for child in psutil.Process(process).children(recursive=True)]
        except psutil.Error:
            return []
    found = children(process)
    for number in found:  # it grows
        found += [n for n in children(number) if n not in found]
    return found


def is_helper(process: int, *, of_living: bool) -> bool:
    """Return whether a process is a helper that a library runs for others.

    Args:
        process: its number.
        of_living: include helpers that are needed only while their users live.
    """
    try:
        command = Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False
    return bool(_TRACKER.search(command) or (of_living and _FORKSERVER.search(command)))


def _write_to(file: str) -> None:
    output = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_TRUNC, 0o600)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)


def _guard(worker: int, parent: int, woken: int, asked: list[int], grace: float) -> NoReturn:
    status: int | None = None
    until: float | None = None  # when a worker that got SIGTERM must have ended
    while status is None:
        _wait(woken, SECONDS_BETWEEN_CHECKS if until is None else 0.05)
        status = _reap().get(worker)
        if status is not None:
            break
        if os.getppid() != parent or (until is not None and time.monotonic() >= until):
            _kill(worker)
        elif asked and until is None:
            until = time.monotonic() + grace
            os.kill(worker, signal.SIGTERM if grace else signal.SIGKILL)
    if sys.platform != "linux":
        with contextlib.suppress(OSError):
            os.killpg(worker, signal.SIGKILL)
    _kill_rest(woken)
    _exit_like(status)


def _kill_rest(woken: int) -> None:
    until = time.monotonic() + SECONDS_FOR_HELPERS
    while True:
        _reap()
        # children of those that have ended become ours
        left = children(os.getpid())
        mine = [process for process in left if not is_helper(process, of_living=False)]
        if time.monotonic() > until:
            mine = left
        if not [_kill(process) for process in mine].count(True) and mine == left:
            return  # there are none left, or none that this user may end
        _wait(woken, 0.02)


def _reap() -> dict[int, int]:
    """Reap children that have ended; return their statuses by process number."""
    ended: dict[int, int] = {}
    with contextlib.suppress(ChildProcessError):
        while True:
            process, status = os.waitpid(-1, os.WNOHANG)
            if not process:
                break
            ended[process] = status
    return ended


def _kill(process: int) -> bool:
    """Kill a process; return whether it existed and could be killed."""
    try:
        os.kill(process, signal.SIGKILL)
    except OSError:
        return False
    return True


def _wait(woken: int, seconds: float) -> None:
    select.select([woken], [], [], seconds)
    with contextlib.suppress(BlockingIOError):
        os.read(woken, 4096)


def _exit_like(status: int) -> NoReturn:
    if os.WIFSIGNALED(status):
        import resource

        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the worker has dumped its own
        with contextlib.suppress(OSError):  # SIGKILL has no handler
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        os._exit(128 + number)
    os._exit(os.WEXITSTATUS(status))
