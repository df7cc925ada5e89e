"""One trial after another in this process: for debugging, and where processes cannot be started.

Responsible for running work immediately. It has no limits of time or memory, and does not survive a
crash.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from search.executors import Raised, as_text


class Serial:
    """Run each job when it is submitted.

    Args:
        work: takes an argument and returns a result.
    """

    workers = 1

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self._work = work

    def submit(self, argument: Any) -> Future[Any]:
        """Run the work now, and return a future that is done."""
        future: Future[Any] = Future()
        try:
            future.set_result(self._work(argument))
        except (Exception, SystemExit) as error:
            failure = Raised(as_text(error))
            failure.__cause__ = error
            future.set_exception(failure)
        return future

    def close(self) -> None:
        """Do nothing: nothing is running."""
