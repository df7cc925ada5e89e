"""`launch`: one training on several workers, on this machine or on those of a cluster.

Responsible for where the workers are to run, for their output with a prefix for each, for what
happens to the job when one of them dies or does not come up, and for starting it again. Not for the
processes (`processes`), nor for how workers train together (the field `strategy`).
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from trainer.launching import clusters, processes
from trainer.launching.clusters import Cluster
from trainer.launching.processes import Ended, Line, Lost, Missing, Program, Returned, exited
from trainer.utils import processor
from trainer.utils.checks import integer, one_of, positive, warn

SOURCES = ("local", "hosts", "tf_config", "slurm", "ray")
LAST_LINES = 20  # of a worker that has died, quoted in the error


class LaunchError(RuntimeError):
    """A worker died or did not come up, and the job was ended.

    Attributes:
        worker: Its number.
        code: Its exit code, -9 if it was killed by signal 9; None if it did not come up.
        last_lines: What it wrote last, on either stream.
    """

    def __init__(self, text: str, worker: int, code: int | None, last_lines: Sequence[str]) -> None:
        quoted = "".join(f"\n  {line}" for line in last_lines)
        said = f". Its last lines:{quoted}" if quoted else ""
        super().__init__(f"{text}{said}")
        self.worker, self.code, self.last_lines = worker, code, tuple(last_lines)


def launch(
    target: Callable[..., Any] | str | os.PathLike[str],
    *arguments: Any,
    workers: int | None = None,
    on: str | None = None,
    hosts: str | Sequence[str] | None = None,
    index: int | None = None,
    resources: Mapping[str, float] | None = None,
    start_timeout: float = 60.0,
    restarts: int = 0,
) -> Any:
    """Run a function or a script in several workers, which train one model together.

    Each worker is a process with the environment variable TF_CONFIG, in which TensorFlow's
    `MultiWorkerMirroredStrategy` and `Trainer(strategy="multi_worker")` find the others. What a
    worker writes appears here, line by line, prefixed with `[worker 0]`. If a worker dies, all
    others are killed with SIGKILL, with every process that they started; the same happens if this
    process ends, however it does.

    TensorFlow's workers listen on all interfaces without authentication: launch them in a network
    that you trust.

    Args:
        target: A function, which cloudpickle sends to the workers; or the path of a Python file.
        *arguments: Of the function; or the words after the file's name.
        workers: Their number. Required on this machine and on Ray; elsewhere the cluster
            determines it, and another number is refused.
        on: Where they run. "local": on this machine. "hosts": at the addresses `hosts`, of which
            this call starts one. "tf_config": as the variable TF_CONFIG says, of which this call
            starts one. "slurm": this call starts one for the task in which srun runs it. "ray":
            on the nodes of a Ray cluster, that of the variable RAY_ADDRESS or one started here.
            None: "hosts" if hosts are given, else "tf_config" if that is set, else "slurm" in a
            step of several tasks, else "local".
        hosts: The addresses of all workers, "a:5000,b:5000" or a list. The first is the chief's.
        index: Which of the hosts this is, from 0.
        resources: What Ray reserves for each worker, such as {"cpu": 2, "gpu": 1}. None: one core.
        start_timeout: Seconds in which all workers must have come up after the first, which then
            waits for them; on Ray also those until it has room. A worker has come up when it
            listens at its address, which is when its program makes the strategy.
        restarts: How many times the whole job is started again after a worker has died. With
            several calls, one per machine, each needs the same number.

    Returns:
        What the function returned in the chief, worker 0; None for a script, and where the chief
        runs in another call.

    Raises:
        TypeError: An argument has another type, or the function cannot be pickled.
        ValueError: An argument, TF_CONFIG or a variable of Slurm is wrong, a port is in use, or
            RAY_ADDRESS leads to no Ray cluster.
        FileNotFoundError: There is no such script.
        ImportError: Ray is not installed.
        LaunchError: A worker died, or did not come up.
        OSError: The system cannot fork, as Windows.
    """
    if workers is not None:
        workers = integer("workers", workers, low=1, example=2)
    start_timeout = positive("start_timeout", start_timeout)
    restarts = integer("restarts", restarts, low=0, example=3)
    source = _source(on, workers, hosts)
    _fitting(source, hosts, index, resources)
    program = _program(target, arguments)
    if source == "ray":
        from trainer.launching import on_ray

        number = _needed(workers, "on Ray")

        def start() -> Generator[processes.Event]:
            return on_ray.run(program, number, resources, start_timeout=start_timeout)
    else:
        cluster = _cluster(source, workers, hosts, index)

        def start() -> Generator[processes.Event]:
            # other ports each time: that the last ones were taken may be why a worker died
            found = cluster or clusters.local(_needed(workers, "on this machine"))
            share = str(max(1, processor.usable() // len(found.own)))
            limits = dict.fromkeys(processes.THREADS, share) if source == "local" else {}
            environment = {**limits, **os.environ}
            return processes.run(
                program, found, start_timeout=start_timeout, environment=environment
            )

    for again in range(restarts + 1):
        try:
            return _job(start())
        except LaunchError as error:
            if again == restarts or error.code is None:
                raise
            how = f"worker {error.worker} {exited(error.code)}"
            text = f"[launch] {how}; starting all workers again ({again + 1} of {restarts})"
            _print(text, sys.stderr)
    return None


def _job(events: Generator[processes.Event]) -> Any:
    """Print what happens to the workers, and return the chief's value.

    Raises:
        LaunchError: A worker died, or did not come up.
    """
    last: dict[int, deque[str]] = {}
    value: Any = None
    with contextlib.closing(events):
        for event in events:
            if isinstance(event, Line):
                last.setdefault(event.worker, deque(maxlen=LAST_LINES)).append(event.text)
                out = sys.stdout if event.stream == "stdout" else sys.stderr
                _print(f"[worker {event.worker}] {event.text}", out)
            elif isinstance(event, Returned):
                value = pickle.loads(event.value)
            elif isinstance(event, Missing):
                if event.fatal:
                    worker = event.workers[0]
                    raise LaunchError(event.text, worker, None, last.get(worker, ()))
                warn(event.text)
            elif isinstance(event, Lost):
                died = -int(signal.SIGKILL)
                raise LaunchError(event.text, event.worker, died, last.get(event.worker, ()))
            elif isinstance(event, Ended) and event.code:
                text = f"worker {event.worker} {exited(event.code)}"
                raise LaunchError(text, event.worker, event.code, last.get(event.worker, ()))
    return value


def _source(on: Any, workers: int | None, hosts: Any) -> str:
    if on is not None:
        return str(one_of("on", on, SOURCES))
    if hosts is not None:
        return "hosts"
    if os.environ.get(clusters.TF_CONFIG):
        return "tf_config"
    if clusters.in_slurm_step(os.environ):
        return "slurm"
    _needed(workers, "on this machine")
    return "local"


def _needed(workers: int | None, where: str) -> int:
    if workers is None:
        raise ValueError(
            f"workers=None: how many are to run {where}? write workers=2, for example"
            + (
                "; in a cluster, hosts='a:5000,b:5000' and index, TF_CONFIG, or srun"
                if where == "on this machine"
                else ""
            )
        )
    return workers


def _fitting(source: str, hosts: Any, index: Any, resources: Any) -> None:
    """Refuse arguments that belong to another source."""
    if source == "hosts" and hosts is None:
        raise ValueError(
            "hosts=None: on='hosts' needs the addresses of all workers; write "
            "hosts='a:5000,b:5000' and index=0"
        )
    if source != "hosts" and hosts is not None:
        raise ValueError(f"hosts={hosts!r}: on={source!r} has its own addresses; leave one out")
    if source != "hosts" and index is not None:
        raise ValueError(
            f"index={index!r}: is the place of this machine in hosts, and none are given; write "
            "hosts='a:5000,b:5000' as well, or leave index out"
        )
    if source != "ray" and resources is not None:
        raise ValueError(
            f"resources={resources!r}: are reserved by Ray, and the workers are to run with "
            f"on={source!r}; write on='ray', or leave them out"
        )


def _cluster(source: str, workers: int | None, hosts: Any, index: int | None) -> Cluster | None:
    """Return the cluster that the workers belong to; None for workers on this machine alone."""
    if source == "hosts":
        return clusters.of_hosts(hosts, index, workers)
    if source == "tf_config":
        return clusters.of_tf_config(os.environ, workers)
    if source == "slurm":
        return clusters.of_slurm(os.environ, workers)
    _needed(workers, "on this machine")
    return None


def _program(target: Any, arguments: Sequence[Any]) -> Program:
    if isinstance(target, str | os.PathLike):
        path = Path(target).expanduser()
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "there is no such file"
            raise FileNotFoundError(
                f"{path}: {what}; name a Python file, with a path from {Path.cwd()}"
            )
        return Program(script=str(path), words=tuple(map(str, arguments)))
    if not callable(target):
        raise TypeError(
            f"target={target!r}: must be a function, or the path of a Python file, as 'train.py'"
        )
    import cloudpickle

    try:
        function = pickle.dumps(sys.path) + cloudpickle.dumps((target, arguments))
    except Exception as error:
        raise TypeError(
            f"target={target!r} or its arguments cannot be sent to workers ({error}); keep open "
            "files, locks and models out of it, and make them inside the function"
        ) from error
    return Program(function=function)


def _print(text: str, out: TextIO) -> None:
    """Print a line, also where the terminal knows fewer characters than the workers."""
    encoding = getattr(out, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=out, flush=True)
