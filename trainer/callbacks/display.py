"""The progress display of a training: a bar, a line per epoch, or nothing.

Responsible for what users see while fit runs. Not for recording it (`history`).
"""

from __future__ import annotations

import sys
import time
from typing import Any

from trainer.utils.notebooks import Output, in_notebook
from trainer.utils.text import printable

REFRESH_SECONDS = 0.5  # drawing takes 1 to 3 ms, less than 1% of this
LINES_IN_NOTEBOOK = 10  # of epochs: a notebook stores what it shows


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
        rate = _rate(step, now - self._began)
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


class NotebookBar(Silence):
    """Shows a bar and the lines of the last epochs in the output of a notebook's cell.

    It needs no widgets, and its last state is stored in the notebook.

    Args:
        epochs: The number of epochs.
    """

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._output = Output()
        self._lines: list[str] = []
        self._epoch, self._steps = 0, 0
        self._began = self._drawn = 0.0

    def epoch_begins(self, epoch: int, steps: int | None) -> None:
        """Show the bar, from the first epoch on."""
        self._epoch, self._steps = epoch, steps or 0
        self._began = time.perf_counter()
        if not self._drawn:
            self._draw(f"epoch {epoch + 1}/{self._epochs}", epoch)

    def chunk_ends(self, step: int, logs: dict[str, float]) -> None:
        """Update the bar, at most every REFRESH_SECONDS."""
        if time.perf_counter() - self._drawn < REFRESH_SECONDS:
            return
        rate = _rate(step, time.perf_counter() - self._began)
        now = f"epoch {self._epoch + 1}/{self._epochs}  {step}/{self._steps or '?'}  {rate}"
        part = step / self._steps if self._steps else 0.0
        self._draw(f"{now}  {_shown(logs)}", self._epoch + part)

    def epoch_ends(self, epoch: int, logs: dict[str, float], seconds: float) -> None:
        """Add the line of the epoch."""
        self._lines.append(_line(epoch, self._epochs, logs, seconds))
        self._epoch = epoch + 1
        if time.perf_counter() - self._drawn >= REFRESH_SECONDS:
            self._draw("", self._epoch)

    def close(self) -> None:
        """Show how many epochs there were."""
        if self._drawn:
            self._draw(f"ended after {self._epoch} of {self._epochs} epochs", self._epoch)

    def _draw(self, now: str, done: float) -> None:
        left_out = len(self._lines) - LINES_IN_NOTEBOOK
        head = [f"({left_out} earlier epochs are in history_)"] if left_out > 0 else []
        lines = [*head, *self._lines[-LINES_IN_NOTEBOOK:], now]
        self._output.show("\n".join(filter(None, lines)), min(done / self._epochs, 1.0))
        self._drawn = time.perf_counter()


def make_progress(verbose: int | str, epochs: int) -> Silence:
    """Return the progress display for the field verbose of Trainer."""
    notebook = in_notebook()
    interactive = notebook or (sys.stdout is not None and sys.stdout.isatty())
    if verbose == "auto":
        verbose = int(interactive)
    if not verbose:
        return Silence()
    if verbose == 2 or not interactive:  # a file or a pipe cannot show a moving bar
        return Lines(epochs)
    return NotebookBar(epochs) if notebook else Bar(epochs)


def _rate(steps: int, seconds: float) -> str:
    each = max(seconds, 1e-9) / steps
    return f"{1 / each:,.0f} steps/s" if each < 1 else f"{each:,.1f} s/step"


def _line(epoch: int, epochs: int, logs: dict[str, float], seconds: float) -> str:
    return f"epoch {epoch + 1}/{epochs}  {seconds:.1f} s  {_shown(logs)}"


def _shown(logs: dict[str, float]) -> str:
    return "  ".join(f"{printable(name)} {value:.4g}" for name, value in logs.items())
