"""The executor without processes: a job is done when submit returns, whatever came of it."""

from __future__ import annotations

import sys

import pytest

from search.executors import Raised
from search.executors.serial import Serial


def test_jobs_run_one_after_another_as_they_are_submitted() -> None:
    done: list[int] = []
    executor = Serial(done.append)
    futures = [executor.submit(i) for i in range(3)]
    assert done == [0, 1, 2]
    assert all(future.done() for future in futures)
    executor.close()


def test_what_a_job_raises_is_its_failure_with_the_traceback() -> None:
    def work(argument: int) -> float:
        return 1 / argument

    failure = Serial(work).submit(0).exception()
    assert isinstance(failure, Raised) and isinstance(failure.__cause__, ZeroDivisionError)
    assert "ZeroDivisionError: division by zero" in str(failure) and "in work" in str(failure)


def test_a_job_that_exits_fails_and_one_that_is_interrupted_interrupts() -> None:
    failure = Serial(sys.exit).submit(3).exception()
    assert isinstance(failure, Raised) and "SystemExit: 3" in str(failure)

    def interrupted(argument: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Serial(interrupted).submit(0)
