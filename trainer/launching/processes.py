"""The workers of one machine: started, watched, and ended with everything that they started.

Responsible for their environment, their output line by line, how each ended, and for noticing that
a worker of the cluster has not come up. Not for what happens to the job then (`launching`).

Each worker is the child of a guard (`trainer.utils.guard`): when this process is gone, by SIGKILL
too, the guard ends the worker with all that it started. Workers are ended by SIGKILL, because
TensorFlow swallows SIGTERM.

A worker has come up when something listens at its address: TensorFlow opens the port when the
training makes its strategy, then waits forever for the other workers. So the time limit for the
others begins when the first has come up, and what a program does before that may take as long as it
likes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import IO

from trainer.launching.clusters import TF_CONFIG, Cluster, parted
from trainer.utils import guard
from trainer.utils.scratch import Scratch, sweep

SECONDS_BETWEEN_LOOKS = 0.05  # when no worker writes anything
SECONDS_BETWEEN_CALLS = 0.25  # between attempts to connect to a worker that is not up
SECONDS_TO_ANSWER = 2.0  # for a machine that is asked whether a worker is up
SECONDS_TO_END = 10.0  # for a guard, after which it is killed as well
LONGEST_LINE = 65_536  # bytes without an end of line that are passed on as one
PREFIX = "trainer-launch-"
NO_PROXY = "no_grpc_proxy"  # gRPC's own variable, which it reads before no_proxy
# of one operation; those between operations stay as they are, since some wait for other workers
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
_FUNCTION, _RETURNED = "function.pickle", "returned.pickle"
# The guard runs before anything is imported, then the worker takes its place in the child. There
# are two: Ray kills the children of a process that it ends, and so the first guard, with which the
# kernel would end the worker alone. The second then ends what the worker has started.
_GUARDED = (
    "from importlib import util; "
    "spec = util.spec_from_file_location('guard', {file!r}); "
    "guard = util.module_from_spec(spec); spec.loader.exec_module(guard); "
    "import os, sys; "
    "guard.begin({parent}, grace=0); guard.begin(os.getppid(), grace=0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
# A function is called as the program of its worker. Only the chief's value is kept.
_CALL = f"""\
import os, sys
folder, is_chief = sys.argv[1:]
sys.argv[1:] = []
import pickle
with open(os.path.join(folder, {_FUNCTION!r}), "rb") as file:
    sys.path[:] = pickle.load(file)
    import cloudpickle
    function, arguments = cloudpickle.load(file)
value = function(*arguments)
if is_chief == "True":
    try:
        content = cloudpickle.dumps(value)
    except Exception as error:
        raise TypeError(
            f"what {{getattr(function, '__name__', 'the function')}} returned cannot be sent to "
            f"the launcher ({{error}}); return numbers, arrays or a Trainer"
        ) from error
    beside = os.path.join(folder, "part")
    with open(beside, "wb") as file:
        file.write(content)
    os.replace(beside, os.path.join(folder, {_RETURNED!r}))
"""


@dataclass(frozen=True)
class Program:
    """What each worker runs.

    Attributes:
        script: The path of a Python file, or None.
        words: The arguments of the script.
        function: The pickled folders to import from, then the function and its arguments by
            cloudpickle; or None.
    """

    script: str | None = None
    words: tuple[str, ...] = ()
    function: bytes | None = None

    def command(self, folder: Path, *, chief: bool) -> list[str]:
        """Return the command of a worker, after the interpreter."""
        if self.script is not None:
            return [self.script, *self.words]
        return ["-c", _CALL, str(folder), str(chief)]


@dataclass(frozen=True)
class Line:
    """A line that a worker wrote.

    Attributes:
        worker: Its number.
        stream: "stdout" or "stderr".
        text: Without its end.
    """

    worker: int
    stream: str
    text: str


@dataclass(frozen=True)
class Ended:
    """A worker has ended.

    Attributes:
        worker: Its number.
        code: Its exit code; -9 if it was ended by signal 9.
    """

    worker: int
    code: int


@dataclass(frozen=True)
class Returned:
    """What the function returned in the chief.

    Attributes:
        value: By cloudpickle.
    """

    value: bytes


@dataclass(frozen=True)
class Missing:
    """Workers that have not come up in time.

    Attributes:
        workers: Their numbers.
        text: Who they are, and what was seen of them.
        fatal: Whether others wait for them; False if no worker at all has come up.
    """

    workers: tuple[int, ...]
    text: str
    fatal: bool


@dataclass(frozen=True)
class Lost:
    """A worker whose task Ray has lost, with its process or its node.

    Attributes:
        worker: Its number.
        text: What Ray says.
    """

    worker: int
    text: str


Event = Line | Ended | Returned | Missing | Lost


def run(
    program: Program,
    cluster: Cluster,
    *,
    start_timeout: float,
    environment: Mapping[str, str],
) -> Generator[Event]:
    """Run the workers of this machine, and yield what happens to them.

    All of them are ended when the caller closes the iterator, or when it ends.

    Args:
        program: What they run.
        cluster: All workers, and which of them run here.
        start_timeout: Seconds after the first worker has come up, in which the others must.
        environment: Of the workers, without what tells them of each other.

    Yields:
        Events in their order. A worker's lines come before its end. After a fatal `Missing` there
        are no more.
    """
    if not hasattr(os, "fork"):
        raise OSError("workers can be launched on Linux and macOS only: this system has no fork")
    sweep(PREFIX)
    processes: list[_Process] = []
    watch = _Watch(cluster, start_timeout)
    with Scratch(PREFIX) as scratch:
        folder = scratch.path
        if program.function is not None:
            (folder / _FUNCTION).write_bytes(program.function)
        try:
            for worker, configuration in cluster.configurations.items():
                command = program.command(folder, chief=worker == 0)
                own = {**environment, **_told(configuration, cluster, environment)}
                processes.append(_Process(worker, command, own))
            watch.start()
            while processes:
                yield from _pass(processes, watch)
                late = watch.late()
                if late is not None:
                    yield late
                    if late.fatal:
                        return
            returned = folder / _RETURNED
            if returned.exists():
                yield Returned(returned.read_bytes())
        finally:
            watch.close()
            _end(processes)


def _pass(processes: list[_Process], watch: _Watch) -> Generator[Event]:
    """Wait a little for what workers do, yield it, and forget those that have ended."""
    streams = [stream for process in processes for stream in process.streams]
    if streams:
        connection.wait(streams, SECONDS_BETWEEN_LOOKS)
    else:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    codes: dict[int, int] = {}
    for process in list(processes):
        code = process.poll()  # before reading: then nothing can be written after it
        yield from process.read(last=code is not None)
        if code is not None:
            codes[process.worker] = code
            processes.remove(process)
            watch.ended(process.worker)
    # a signal is the cause, and an exit code beside it the consequence
    for worker in sorted(codes, key=lambda n: (codes[n] >= 0, codes[n] == 0, n)):
        yield Ended(worker, codes[worker])


def _told(configuration: str, cluster: Cluster, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a worker that are not those of its environment."""
    # gRPC would ask the proxy of http_proxy for the other workers, and wait forever
    direct = environment.get(NO_PROXY) or environment.get("no_proxy", "")
    hosts = dict.fromkeys([*direct.split(","), *(parted(a)[0] for a in cluster.addresses)])
    return {
        TF_CONFIG: configuration,
        NO_PROXY: ",".join(filter(None, hosts)),
        "PYTHONUNBUFFERED": "1",  # or last words would be lost
    }


def _end(processes: Sequence[_Process]) -> None:
    """End workers at once, with everything that they started."""
    for process in processes:
        process.end()
    until = time.monotonic() + SECONDS_TO_END
    for process in processes:
        process.wait(until)


class _Process:
    """A worker below its guard.

    Args:
        worker: Its number.
        command: What it runs, after the interpreter.
        environment: Of the worker.
    """

    def __init__(self, worker: int, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.worker = worker
        code = _GUARDED.format(file=guard.__file__, parent=os.getpid())
        # -I and -S: neither the environment nor installed packages have a say in the guard
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code, sys.executable, *command],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._rests: dict[IO[bytes], bytes] = {}
        for stream in (self._guard.stdout, self._guard.stderr):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
            self._rests[stream] = b""

    @property
    def streams(self) -> list[int]:
        """The descriptors of its outputs that are not at their end."""
        return [stream.fileno() for stream in self._rests]

    def poll(self) -> int | None:
        """Return its exit code, or None while it or anything that it started runs."""
        return self._guard.poll()

    def read(self, *, last: bool) -> list[Line]:
        """Return the lines that it has written since the last call.

        Args:
            last: Return also what has no end of line, and close the outputs.
        """
        found: list[Line] = []
        for stream in list(self._rests):
            name = "stdout" if stream is self._guard.stdout else "stderr"
            content, ended = _available(stream)
            *whole, rest = (self._rests[stream] + content).split(b"\n")
            if rest and (last or ended or len(rest) >= LONGEST_LINE):
                whole.append(rest)
                rest = b""
            self._rests[stream] = rest
            found += [Line(self.worker, name, _text(line)) for line in whole]
            if last or ended:
                del self._rests[stream]
                stream.close()
        return found

    def end(self) -> None:
        """Have the guard kill it, with all that it started."""
        self._guard.send_signal(signal.SIGTERM)

    def wait(self, until: float) -> None:
        """Wait until it has ended; at the latest until a time, then kill the guard, too."""
        try:
            self._guard.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._guard.kill()  # with it, the kernel ends the worker
            self._guard.wait()
        for stream in self._rests:
            stream.close()
        self._rests.clear()


def _available(stream: IO[bytes]) -> tuple[bytes, bool]:
    """Return what can be read now, and whether that is the end."""
    found = b""
    while len(found) < 2**20:
        try:
            part = os.read(stream.fileno(), 65_536)
        except BlockingIOError:
            return found, False
        if not part:
            return found, True
        found += part
    return found, False


def _text(line: bytes) -> str:
    """Return a line as a terminal would show it: a carriage return restarts it."""
    return line.decode("utf-8", errors="replace").rstrip("\r").rpartition("\r")[2]


class _Watch:
    """Which workers of the cluster have come up.

    Args:
        cluster: All workers.
        seconds: How long the others have after the first.
    """

    def __init__(self, cluster: Cluster, seconds: float) -> None:
        self._addresses = cluster.addresses
        self._seconds = seconds
        self._seen = dict.fromkeys(range(len(cluster.addresses)), "nothing is known of it")
        self._up: set[int] = set()
        self._ended: set[int] = set()
        self._began = time.monotonic()
        self._first: tuple[int, float] | None = None  # who came up first, and when
        self._warned = False
        self._closed = threading.Event()

    def start(self) -> None:
        """Start to look at every worker."""
        for worker in range(len(self._addresses)):
            threading.Thread(target=self._call, args=(worker,), daemon=True).start()

    def close(self) -> None:
        """Stop to look."""
        self._closed.set()

    def ended(self, worker: int) -> None:
        """Note that a worker of this machine has ended."""
        self._ended.add(worker)

    def late(self) -> Missing | None:
        """Return the workers that should have come up by now, or None."""
        missing = [worker for worker in self._seen if worker not in self._up]
        first = self._first
        since = self._began if first is None else first[1]
        alone = len(self._addresses) == 1
        if alone or not missing or time.monotonic() - since <= self._seconds:
            return None
        if first is None:
            if self._warned:
                return None
            self._warned = True
        return Missing(tuple(missing), self._described(missing), fatal=first is not None)

    def _described(self, missing: Sequence[int]) -> str:
        if self._first is None:
            return (
                f"no worker has opened its port within {self._seconds:g} s: they do not train "
                "together before each has made its strategy; give the Trainer "
                "strategy='multi_worker'"
            )
        who = ", ".join(
            f"worker {n} at {self._addresses[n]} "
            f"({'it has ended' if n in self._ended else self._seen[n]})"
            for n in missing[:8]
        )
        more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
        return (
            f"{who}{more} did not come up within {self._seconds:g} s after worker "
            f"{self._first[0]}, which waits"
        )

    def _call(self, worker: int) -> None:
        address = parted(self._addresses[worker])
        while not self._closed.is_set():
            try:
                with socket.create_connection(address, SECONDS_TO_ANSWER) as made:
                    # a connection within this machine can be answered by itself
                    if made.getsockname() != made.getpeername():
                        self._first = self._first or (worker, time.monotonic())
                        self._up.add(worker)
                        return
            except OSError as error:
                self._seen[worker] = _reason(error)
            self._closed.wait(SECONDS_BETWEEN_CALLS)


def _reason(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, TimeoutError):
        return "no answer: is the machine up, and the port open in its firewall?"
    if isinstance(error, socket.gaierror):
        return "there is no host of this name"
    return str(error.strerror or error)


def exited(code: int) -> str:
    """Return how a process with this exit code has ended, in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    name = f"signal {-code}"
    with contextlib.suppress(ValueError):
        name = signal.Signals(-code).name
    return f"was killed by {name}"
