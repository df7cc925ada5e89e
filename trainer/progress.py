"""How a training shows itself: a bar, a line an epoch, or nothing.

Responsible for what a person sees while fit runs. Not for what is kept of it: that is `history`.
"""

from __future__ import annotations

import sys
import time
from typing import Any

SECONDS_BETWEEN_UPDATES = 0.1


class Silence:
    """Shows nothing."""

    def epoch_begins(self, epoch: int, steps: int | None) -> None:
        """Nothing."""

    def chunk_ends(self, step: int, logs: dict[str, float]) -> None:
        """Nothing."""

    def epoch_ends(self, epoch: int, logs: dict[str, float], seconds: float) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Lines(Silence):
    """One plain line at the end of each epoch, for logs and files."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs

    def epoch_ends(self, epoch: int, logs: dict[str, float], seconds: float) -> None:
        """Print the line."""
        print(
            f"epoch {epoch + 1}/{self._epochs}  {seconds:.1f} s  {_shown(logs)}",
            flush=True,
        )


class Bar(Silence):
    """A bar for the running epoch, and a line that stays for each finished one."""

    def __init__(self, epochs: int, console: Any = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._epochs = epochs
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/" + str(epochs)),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.fields[steps]}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[logs]}"),
            console=console or Console(),
            transient=True,
            auto_refresh=False,
        )
        self._task: Any = None
        self._started = self._shown_at = 0.0

    def epoch_begins(self, epoch: int, steps: int | None) -> None:
        """Start the bar at zero."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        else:
            self._bar.start()
        self._started = time.perf_counter()
        self._task = self._bar.add_task(
            "", total=steps, epoch=epoch + 1, steps=steps or "?", rate="", logs=""
        )

    def chunk_ends(self, step: int, logs: dict[str, float]) -> None:
        """Move the bar, at most ten times a second."""
        now = time.perf_counter()
        if now - self._shown_at < SECONDS_BETWEEN_UPDATES:
            return
        self._shown_at = now
        rate = f"{step / max(now - self._started, 1e-9):,.0f} steps/s"
        self._bar.update(self._task, completed=step, rate=rate, logs=_shown(logs))
        self._bar.refresh()

    def epoch_ends(self, epoch: int, logs: dict[str, float], seconds: float) -> None:
        """Leave a line with the epoch's results above the bar."""
        self._bar.console.print(
            f"epoch {epoch + 1}/{self._epochs}  {seconds:.1f} s  {_shown(logs)}", highlight=False
        )

    def close(self) -> None:
        """Remove the bar; the lines stay."""
        if self._task is not None:
            self._bar.stop()


def make_progress(verbose: int | str, epochs: int) -> Silence:
    """What shows a training: see the field verbose of Trainer."""
    if verbose == "auto":
        verbose = int(_is_watched())
    if verbose == 2:
        return Lines(epochs)
    return Bar(epochs) if verbose else Silence()


def _is_watched() -> bool:
    if "ipykernel" in sys.modules:
        return True
    return sys.stdout is not None and sys.stdout.isatty()


def _shown(logs: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in logs.items())
