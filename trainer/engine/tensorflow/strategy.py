"""Which processes and devices train together: this process, as one worker.

Responsible for the questions that have another answer where several workers train one model: who
writes files, what all of them do where clocks, signals or free memory differ, and where variables
are created. A tf.distribute strategy answers them here; see docs/architecture.md.
"""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import TypeVar

Value = TypeVar("Value", bool, int)


def is_chief() -> bool:
    """Return whether this worker is the one that writes files and logs."""
    return True


def agree(value: Value) -> Value:
    """Return what all workers do, given what this one would.

    Every worker calls it in the same order: for each decision that depends on time, on a signal or
    on free memory, which differ between workers.

    Args:
        value: True if this worker has a reason to act, or the number of steps or bytes that suit
            it. The result is True if any has a reason, and the smallest number.
    """
    return value


def scope() -> AbstractContextManager[None]:
    """Return the context in which variables are created, and steps are traced."""
    return contextlib.nullcontext()
