"""Run the sides of a benchmark in turns, each in its own process.

Responsible for processes, turns and collecting the figures. Not for what is measured (`cases`), nor
for showing it (`table`).
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from benchmarks.case import Benchmark, Side

ROOT = Path(__file__).parents[1]
WARM_UP = 2  # rounds that do not count; Keras may trace in its second epoch, too

# environment variables of the caller that would affect the measurements
_DECISIVE = ("_NUM_THREADS", "TF_NUM_", "TF_XLA_FLAGS", "XLA_FLAGS", "KERAS_BACKEND", "KMP_")


class SideFailed(RuntimeError):
    """A side's process ended without an answer; the message ends with its last output."""


class _Process:
    """The process of a side."""

    def __init__(self, file: str, benchmark: Benchmark, side: Side, count: int, quick: bool):
        self._what = f"{file}, {benchmark.name}: {side.name}"
        # a file, not a pipe: nobody reads it while the side runs; closed in __exit__
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        inherited = {k: v for k, v in os.environ.items() if not any(d in k for d in _DECISIVE)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.rounds", file, benchmark.name, side.name, str(count)]
            + ["--quick"] * quick,
            cwd=ROOT,
            # all sides use the CPU: a peer without a GPU build would lose just because of that
            env=inherited
            | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
            | dict(side.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def ask(self) -> float:
        """Request one round, and return its figure."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            code = self._process.wait()
            self._errors.seek(0)
            last = "".join(self._errors.readlines()[-15:])
            raise SideFailed(f"{self._what} ended without an answer (exit code {code})\n{last}")
        return float(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):  # it may have ended already
            self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()


def run(file: str, benchmark: Benchmark, *, rounds: int, quick: bool) -> dict[str, list[float]]:
    """Measure every side of a benchmark that can run here.

    Args:
        file: the file of `cases` that contains it.
        benchmark: what to run.
        rounds: number of figures per side.
        quick: whether to use tiny data.

    Returns:
        The figures of each side by name, one per round; sides whose package is not installed are
        left out.

    Raises:
        SideFailed: a side's process died.
    """
    rounds = min(rounds, benchmark.most_rounds)
    sides = [side for side in benchmark.sides if installed(side)]
    figures: dict[str, list[float]] = {side.name: [] for side in sides}
    if benchmark.fresh:
        for _ in range(rounds):
            for side in sides:
                with _Process(file, benchmark, side, 1, quick) as process:
                    figures[side.name].append(process.ask())
        return figures
    with ExitStack() as stack:
        processes = {}
        for side in sides:
            process = stack.enter_context(_Process(file, benchmark, side, WARM_UP + rounds, quick))
            for _ in range(WARM_UP):
                process.ask()  # before the next side starts
            processes[side.name] = process
        for _ in range(rounds):
            for name, process in processes.items():
                figures[name].append(process.ask())
    return figures


def installed(side: Side) -> bool:
    """Whether the package that a side needs is installed."""
    return not side.needs or importlib.util.find_spec(side.needs) is not None
