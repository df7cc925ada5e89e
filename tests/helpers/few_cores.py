"""Processes on few cores, so that a search in them starts few workers: each loads TensorFlow."""

from __future__ import annotations

import os


def on_few(cores: int) -> None:
    """Let this process, and those that it starts, use so many cores; others in other tests."""
    allowed = sorted(os.sched_getaffinity(0))
    first = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) * cores
    os.sched_setaffinity(0, {allowed[(first + i) % len(allowed)] for i in range(cores)})
