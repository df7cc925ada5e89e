"""The benchmarks: one file per subject, each with its BENCHMARKS.

To add one, write such a file and add its name to FILES.
"""

from __future__ import annotations

import importlib

from benchmarks.case import Benchmark, Side

FILES = (
    "perceptron",
    "cnn",
    "lstm",
    "long_step",
    "stream",
    "first_epoch",
    "inference",
    "trial",
    "scaling",
    "keeping",
    "growth",
    "memory",
)


def benchmarks(file: str) -> tuple[Benchmark, ...]:
    """Return the benchmarks of a file."""
    found: tuple[Benchmark, ...] = importlib.import_module(f"benchmarks.cases.{file}").BENCHMARKS
    return found


def find_side(file: str, benchmark: str, side: str) -> Side:
    """Find a side by the names of its file, its benchmark and itself."""
    (found,) = (b for b in benchmarks(file) if b.name == benchmark)
    (wanted,) = (s for s in found.sides if s.name == side)
    return wanted
