"""A place in the code where a process waits for a signal, so that it cannot end before one comes.

Imported in the process that is to be held, with these variables in its environment:

    HELD_AT     the method, "package.module:Class.method"
    HELD_CALLS  at the end of which call of it in this process
    HELD_MARK   the file that tells that it is held

It goes on as soon as SIGINT or SIGTERM has come, which it then handles as it would have anywhere.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import signal
import time
from pathlib import Path
from typing import Any


def until_a_signal_comes(mark: Path) -> None:
    """Write the mark, wait for a signal, and handle it as it was to be handled before."""
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda number, frame: came.append(number))
    mark.touch()
    while not came:
        time.sleep(0.005)
    for number, handler in before.items():
        signal.signal(number, handler)
    signal.raise_signal(came[0])


def hold(place: str, calls: int, mark: Path) -> None:
    """Hold this process at the end of a call of a method."""
    module, path = place.split(":")
    name, method = path.split(".")
    cls = getattr(importlib.import_module(module), name)
    whole, count = getattr(cls, method), itertools.count(1)

    @functools.wraps(whole)
    def held(*arguments: Any, **named: Any) -> Any:
        result = whole(*arguments, **named)
        if next(count) == calls:
            until_a_signal_comes(mark)
        return result

    setattr(cls, method, held)


hold(os.environ["HELD_AT"], int(os.environ["HELD_CALLS"]), Path(os.environ["HELD_MARK"]))
