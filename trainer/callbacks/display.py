"""The progress display of a training: a bar, a line per epoch, or nothing.

Responsible for what users see while fit runs. Not for recording it (`history`).
"""

from __future__ import annotations

import importlib.util
import sys
import time
from typing import Any

from trainer.utils.text import printable

REFRESH_SECONDS = 0.5  # drawing takes 1 to 3 ms, less than 1% of this


class Silence:
    """Shows nothing."""

    def epoch_begins(self, epoch: int, steps: int | None) -> None:
        """Do nothing."""

    def chunk_ends(self, step: int, logs: dict[str, float]) -> None:
        """Do nothing."""

    def epoch_ends(self, epoch: int, logs: dict[str, float], seconds: float) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Lines(Silence):
    """Prints one plain line at the end of each epoch, for logs and files."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs

    def epoch_ends(self, epoch: int, logs: dict[str, float], seconds: float) -> None:
        """Print the line."""
        print(_line(epoch, self._epochs, logs, seconds), flush=True)


class Bar(Silence):
    """Shows a bar for the current epoch, and a permanent line for each finished one.

    Args:
        epochs: The number of epochs.
        console: A rich Console; None for one on standard output.
    """

    def __init__(self, epochs: int, console: Any = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        self._epochs = epochs
        console = console or Console()
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/" + str(epochs)),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.fields[steps]}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            TextColumn(
                "{task.fields[logs]}",
                markup=False,  # names of metrics may contain brackets
                table_column=Column(no_wrap=True, overflow="ellipsis"),
            ),
            console=console,
            transient=True,
            auto_refresh=False,
            # In a notebook, IPython flushes rich's stream on every output, which would recurse
            # endlessly.
            redirect_stdout=not console.is_jupyter,
            redirect_stderr=not console.is_jupyter,
        )
        self._task: Any = None
        self._lines: list[str] = []
        self._began = self._drawn = 0.0

    def epoch_begins(self, epoch: int, steps: int | None) -> None:
        """Reset the bar to zero; show it in the first epoch."""
        self._began = time.perf_counter()
        fields: dict[str, Any] = {"epoch": epoch + 1, "steps": steps or "?", "rate": "", "logs": ""}
        if self._task is None:
            self._task = self._bar.add_task("", total=steps, **fields)
            self._bar.start()
        self._bar.update(self._task, completed=0, total=steps, **fields)

    def chunk_ends(self, step: int, logs: dict[str, float]) -> None:
        """Update the bar, at most every REFRESH_SECONDS."""
        now = time.perf_counter()
        if now - self._drawn < REFRESH_SECONDS:
            return
        each = max(now - self._began, 1e-9) / step
        rate = f"{1 / each:,.0f} steps/s" if each < 1 else f"{each:,.1f} s/step"
        self._bar.update(self._task, completed=step, rate=rate, logs=_shown(logs))
        self._draw(now)

    def epoch_ends(self, epoch: int, logs: dict[str, float], seconds: float) -> None:
        """Print a permanent line with the epoch's results above the bar."""
        self._lines.append(_line(epoch, self._epochs, logs, seconds))
        now = time.perf_counter()
        if now - self._drawn >= REFRESH_SECONDS:
            self._draw(now)

    def close(self) -> None:
        """Remove the bar; the lines remain."""
        if self._task is not None:
            self._draw(time.perf_counter())
            self._bar.stop()

    def _draw(self, now: float) -> None:
        if self._lines:
            self._bar.console.print(
                "\n".join(self._lines),
                highlight=False,
                markup=False,
                emoji=False,  # do not replace names between colons
                soft_wrap=True,
            )
            self._lines.clear()
        self._bar.refresh()
        self._drawn = now


def make_progress(verbose: int | str, epochs: int) -> Silence:
    """Return the progress display for the field verbose of Trainer."""
    interactive = _in_notebook() or (sys.stdout is not None and sys.stdout.isatty())
    if verbose == "auto":
        verbose = int(interactive)
    if not verbose:
        return Silence()
    # A file or a pipe cannot show a moving bar.
    return Bar(epochs) if verbose != 2 and interactive and _can_move() else Lines(epochs)


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def _can_move() -> bool:
    # In a notebook, rich needs ipywidgets to show a bar.
    return not _in_notebook() or importlib.util.find_spec("ipywidgets") is not None


def _line(epoch: int, epochs: int, logs: dict[str, float], seconds: float) -> str:
    return f"epoch {epoch + 1}/{epochs}  {seconds:.1f} s  {_shown(logs)}"


def _shown(logs: dict[str, float]) -> str:
    return "  ".join(f"{printable(name)} {value:.4g}" for name, value in logs.items())
