"""One trial after another in this process: for debugging, and where processes cannot be started.

Responsible for running work at once. It has no limit of time or memory, and does not survive a
crash.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from search.executors import Raised


class Serial:
    """Runs each job when it is submitted.

    Args:
        work: takes an argument and gives a result.
    """

    workers = 1

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self._work = work

    def submit(self, argument: Any) -> Future[Any]:
        """Run it now; the future is done."""
        future: Future[Any] = Future()
        try:
            future.set_result(self._work(argument))
        except (Exception, SystemExit) as error:
            text = "".join(traceback.format_exception(error))
            failure = Raised(f"{type(error).__name__}: {error}\n{text}")
            failure.__cause__ = error
            future.set_exception(failure)
        return future

    def close(self) -> None:
        """Nothing is running."""
