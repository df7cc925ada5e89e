"""Executors run the trials of a study: the protocol, and the ways in which a trial can fail.

Responsible for what an executor promises. Not for what a trial does, nor for handling its result.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Protocol, runtime_checkable

from trainer.utils.text import printable


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


class Withdrawn(Failure):
    """The job was cancelled before a worker started it."""


class Executor(Protocol):
    """Runs `work(argument)` for one argument after another, several at a time.

    Attributes:
        workers: how many run at once.
    """

    workers: int

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


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
