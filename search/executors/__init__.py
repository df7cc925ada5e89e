"""Executors run the trials of a study: the protocol, and the ways in which a trial can fail.

Responsible for what an executor promises. Not for what a trial does, nor for handling its result.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from trainer.utils.checks import integer
from trainer.utils.ray_connection import check_resources
from trainer.utils.text import message_of, printable


class Failure(Exception):
    """A job gave no result; the message says why, for people who read the study.

    Attributes:
        again: whether another attempt may succeed: the machine may be at fault, not the job.
    """

    again = False

    def __init__(self, message: str) -> None:
        # what a trial raised or printed is saved in the study and shown
        super().__init__(printable(message, lines=True))


class Raised(Failure):
    """The job raised an exception, or called sys.exit; the message ends with its traceback."""


class TimedOut(Failure):
    """The job exceeded its time limit and was ended."""


class OutOfMemory(Failure):
    """The job's processes exceeded their memory limit and were ended."""


class Crashed(Failure):
    """The job's process died: from a signal, or by exiting without a message."""

    again = True


class NodeLost(Crashed):
    """The machine that ran the job was lost: that does not count as a death of its process."""


class Withdrawn(Failure):
    """The job was cancelled before a worker started it."""


class Executor(Protocol):
    """Runs `work(argument)` for one argument after another, several at a time."""

    @property
    def workers(self) -> int:
        """How many run at once; it may change."""

    def submit(self, argument: Any) -> Future[Any]:
        """Run the work on an argument; the future returns the result, or raises a Failure.

        The future's running() says whether a worker has started. Its cancel() withdraws the
        argument if none has: the future then raises Withdrawn.
        """

    # An executor may also have `submit_many`: see Batching.

    def close(self) -> None:
        """Abandon running and waiting jobs, and shut down."""


@runtime_checkable
class Batching(Executor, Protocol):
    """An executor that can run many short jobs for the price of one."""

    def submit_many(self, arguments: Sequence[Any]) -> Future[list[Any]]:
        """Run the work on several arguments in one worker, one after another.

        Returns:
            A future of one outcome per argument: its result, its Failure, or None if the batch took
            so long that the worker ended it before this argument; submit it again. If the worker
            died or a limit was exceeded the future raises that Failure, which says nothing about
            any one of them: submit each alone.
        """


@dataclass(frozen=True)
class Ray:
    """Trials on the nodes of a Ray cluster: `executor=Ray(...)`; "ray" is `Ray()`.

    A Ray that this process has started or connected to before (`ray.init`) is used, and left open.

    Attributes:
        address: of the cluster, such as "10.0.0.1:6379", or "auto" for the one that was started on
            this machine. None: the one in RAY_ADDRESS, or else a Ray of its own on this machine.
        trial_resources: what a trial takes of its node: "cpu", "gpu", "memory" (bytes), and the
            names of custom resources. "cpu" is 1 unless given.
        storage: a folder that all nodes can write to, as a URL of fsspec such as
            "s3://bucket/studies", for the states of trials that others resume from, and for kept
            models and artifacts on their way to the study's directory. None: nodes use the
            directory itself, which must be the same folder on all of them.
        recycle: number of jobs after which a worker process is replaced by a new one; 0: never.

    Raises:
        TypeError, ValueError: an attribute has a value that it cannot have.
    """

    address: str | None = None
    trial_resources: Mapping[str, float] = field(default_factory=lambda: {"cpu": 1})
    storage: str | None = None
    recycle: int = 0

    def __post_init__(self) -> None:
        for name in ("address", "storage"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value):
                example = "10.0.0.1:6379" if name == "address" else "s3://bucket/studies"
                raise TypeError(f"{name}={value!r}: must be text; write {name}={example!r}")
        if (self.address or "").startswith("ray://"):
            raise ValueError(
                f"address={self.address!r}: a search needs a full connection, not one through a "
                "proxy; start it on a node of the cluster, or with `ray job submit`, and write "
                "address='auto'"
            )
        integer("recycle", self.recycle, low=0, example=100)
        check_resources("trial_resources", self.trial_resources)


def ray_settings(executor: Any) -> Ray | None:
    """Return the settings of Ray that an argument `executor` means; None if it means another."""
    if isinstance(executor, str) and executor == "ray":
        return Ray()
    return executor if isinstance(executor, Ray) else None


def as_text(error: BaseException) -> str:
    """Return the class and the message of what a job raised, and then its traceback."""
    trace = "".join(traceback.format_exception(error))
    return f"{type(error).__name__}: {message_of(error)}\n{trace}"
