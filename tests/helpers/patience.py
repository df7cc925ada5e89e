"""How long tests wait for what must happen, in seconds.

Long enough for a slow machine that does much else. Shorter than the hour that children of the tests
sleep: one that ends by itself must not pass for one that was ended.
"""

import time
from collections.abc import Callable

SECONDS = 300  # for an event
WORK = 1200  # for the end of a process that computes all the time
GONE = 60  # until a process has ended that was told to


def wait_until(is_so: Callable[[], object], seconds: float = SECONDS, message: str = "") -> None:
    """Wait until something is so; AssertionError with the message if it is not in time."""
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, message
        time.sleep(0.01)
