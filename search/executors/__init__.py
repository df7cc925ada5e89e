"""Who runs the trials of a study: the protocol, and how a trial can fail to give a result.

Responsible for what an executor promises. Not for what a trial does, nor for what becomes of it.
"""

from __future__ import annotations

import os
from concurrent.futures import Future
from typing import Any, Protocol

from trainer.text import printable


class Failure(Exception):
    """A job gave no result; the message says why, for the person who reads the study.

    Attributes:
        again: whether another attempt may end otherwise: the machine may be at fault, not the job.
    """

    again = False

    def __init__(self, message: str) -> None:
        # what a trial raised or printed is kept in the study, and shown
        super().__init__(printable(message, lines=True))


class Raised(Failure):
    """It raised an exception, or called sys.exit; the message ends with its traceback."""


class TimedOut(Failure):
    """It took longer than it may, and was ended."""


class OutOfMemory(Failure):
    """Its process took more memory than it may, and was ended."""


class Crashed(Failure):
    """Its process died: of a signal, or by leaving without a word."""

    again = True


class Withdrawn(Failure):
    """It was cancelled before a worker began it."""


class Executor(Protocol):
    """Runs `work(argument)` for one argument after another, some of them at once.

    Attributes:
        workers: how many at once.
    """

    workers: int

    def submit(self, argument: Any) -> Future[Any]:
        """Run the work on an argument; the future gives the result, or raises a Failure.

        The future's running() tells whether a worker has begun. Its cancel() withdraws the
        argument if none has: the future then raises Withdrawn.
        """

    def close(self) -> None:
        """Give up what is running or waiting, and end."""


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
