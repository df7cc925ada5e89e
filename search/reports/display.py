"""What a person sees of a search while it runs: a live table, plain lines, or nothing.

Responsible for what is shown and when, and for restoring the terminal. Not for the text about a
finished study (`summary`).
"""

from __future__ import annotations

import io
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from search.reports.summary import duration, number, one_line, reason, settings
from search.study.callbacks import SearchCallback, Study
from search.study.progress import Progress
from search.study.storage import Trial
from trainer.utils.checks import one_of
from trainer.utils.figures import shortened
from trainer.utils.notebooks import Output, in_notebook
from trainer.utils.text import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

SECONDS_BETWEEN_DRAWINGS = 0.5  # drawing takes about 1% of this
FAILURES = 3  # number of reasons shown below the live table
LOGS = 2  # number of logs shown of a running trial
REASON = 200  # maximum number of characters of a reason in a plain line
FREE_LINES = 50  # lines about ordinary trials before some are left out
SECONDS_PER_LINE = 10.0  # after these, one more such line


class Display(SearchCallback):
    """Show a search in the way that suits the output; a search adds this callback by itself.

    Args:
        verbose: 1 or "auto": a live table on a terminal or in a notebook, plain lines
            elsewhere; 2: plain lines; 0: nothing. Unlike a training, a search is not silent
            in a file or a pipe: it takes hours, and its log may be the only thing people look at.
        progress: returns how far a running trial is, by its number, if that is known.
        node: returns the node of a cluster that runs a trial, by its number, if there is one.

    Raises:
        ValueError: another `verbose`.
    """

    def __init__(
        self,
        verbose: int | str = "auto",
        progress: Callable[[int], Progress | None] = lambda trial: None,
        node: Callable[[int], str] = lambda trial: "",
    ) -> None:
        self._progress = progress
        self._node = node
        self.verbose = one_of("verbose", verbose, ("auto", 0, 1, 2, True, False))
        self._shown = SearchCallback()

    def on_search_begin(self, study: Study) -> None:
        """Choose how to show it: only now is it known where the output goes."""
        if not self.verbose:
            return
        console = None if self.verbose == 2 or in_notebook() else _moving()
        if console is not None:
            self._shown = LiveTable(console, self._progress, self._node)
        elif self.verbose != 2 and in_notebook():
            self._shown = NotebookTable(self._progress)
        else:
            self._shown = Lines()
        self._shown.on_search_begin(study)

    def on_trial_begin(self, study: Study, trial: Trial) -> None:
        """Show that a trial started."""
        self._shown.on_trial_begin(study, trial)

    def on_trial_end(self, study: Study, trial: Trial) -> None:
        """Show how a trial ended."""
        self._shown.on_trial_end(study, trial)

    def on_wait(self, study: Study) -> None:
        """Show that time passes."""
        self._shown.on_wait(study)

    def on_search_end(self, study: Study) -> None:
        """Show the outcome of the search, and restore the terminal."""
        self._shown.on_search_end(study)


class _Counting(SearchCallback):
    """Keep running counts, so as not to count thousands of trials again when each ends."""

    def on_search_begin(self, study: Study) -> None:
        states = [trial.state for trial in study.trials]
        self.completed, self.failed = states.count("completed"), states.count("failed")
        self.pruned = {trial.id for trial in study.trials if trial.state == "pruned"}
        self.running: dict[int, Trial] = {}
        self._seconds: list[float] = []
        self._ends: list[float] = []
        self._one_completed = False
        self._rungs = False

    def on_trial_begin(self, study: Study, trial: Trial) -> None:
        self.running[trial.id] = trial
        self._rungs |= trial.rung is not None
        if trial.parent in self.pruned:  # it has been promoted
            self.pruned.remove(trial.parent)
            self.completed += 1

    def on_trial_end(self, study: Study, trial: Trial) -> None:
        self.running.pop(trial.id, None)
        if trial.state == "completed":
            self.completed += 1
            self._one_completed = True
        elif trial.state == "pruned":
            self.pruned.add(trial.id)
        else:
            self.failed += 1
        taken = _taken(trial)
        if taken is not None:
            self._seconds.append(taken)
            self._ends.append(study.seconds)

    @property
    def ended(self) -> int:
        return self.completed + len(self.pruned) + self.failed

    def remaining(self, study: Study) -> float | None:
        """Estimate the seconds until the search ends; None if they cannot be estimated.

        A trial is assumed to take the mean time of those that ended in this call, failed ones
        included, once one has completed; or longer, if trials ended less often than busy workers
        would end them. With a budget of epochs, and for halving and Hyperband, whose later trials
        train longer, the only known end is `max_seconds`.
        """
        if not self._one_completed or not self._seconds:
            return None
        mean = sum(self._seconds) / len(self._seconds)
        if len(self._ends) > 1:
            # workers may wait for a proposer, and the start of a short trial is noticed late
            pause = (self._ends[-1] - self._ends[0]) / (len(self._ends) - 1)
            mean = max(mean, pause * study.workers)
        now = time.time()
        rest = [max(mean - (_taken(t, now) or 0.0), 0.0) for t in self.running.values()]
        free = sorted(rest + [0.0] * (study.workers - len(rest)))  # when each worker becomes free
        ends = []
        by_trials = study.max_epochs is None and not self._rungs
        if study.max_trials is not None and by_trials:
            later = max(study.max_trials - self.ended - len(self.running), 0)
            rounds, more = divmod(later, study.workers)
            ends.append(rounds * mean + (free[more - 1] + mean if more else free[-1]))
        if study.max_seconds is not None:
            left = study.max_seconds - study.seconds
            ends.append(left + mean if left > 0 else free[-1])
        # 0: running trials have taken longer than the mean, and how much longer is unknown
        return min(ends, default=0.0) or None


class Lines(_Counting):
    """One plain line when each trial ends, for logs and files.

    Failures and new bests always get a line. Other trials get one as long as there are no more such
    lines than fifty plus one per ten seconds of the search; the next line says how many were left
    out. So thousands of fast trials do not flood a log, and slow ones all appear in it.
    """

    def on_search_begin(self, study: Study) -> None:
        """Print what is searched."""
        super().on_search_begin(study)
        self._lines = self._left_out = 0
        told = [f"{study.workers} worker{'s'[: study.workers > 1]}"]
        if study.directory is not None:
            told.append(f"in {printable(study.directory)}")
        if study.max_seconds is not None:
            told.insert(0, f"no trial starts after {duration(study.max_seconds)}")
        if study.max_trials is not None:
            told.insert(0, f"{study.max_trials} trials")
        if study.trials:
            told.append(f"resuming after {_counts(self)}")
        _print(f"search for the {_aim(study)}: {', '.join(told)}")

    def on_trial_end(self, study: Study, trial: Trial) -> None:
        """Print its line, or leave it out."""
        super().on_trial_end(study, trial)
        best = study.best
        scored = trial.state in ("completed", "pruned")
        if scored and best is not None and best.id != trial.id:
            if self._lines >= FREE_LINES + study.seconds / SECONDS_PER_LINE:
                self._left_out += 1
                return
            self._lines += 1
        of = "" if study.max_trials is None else f"/{study.max_trials}"
        taken = _taken(trial)
        state = "at its rung" if trial.state == "pruned" else trial.state
        line = f"[{self.ended}{of}] trial {trial.id} {state}"
        if taken is not None:
            line += f" {'in' if scored else 'after'} {duration(taken)}"
        if trial.attempts > 1:
            line += f", attempt {trial.attempts}"
        if scored:
            line += f": {_score(study, trial)}"
            if best is not None:
                known = f"best {number(best.score)}, trial {best.id}"
                line += " (the best so far)" if best.id == trial.id else f" ({known})"
        else:
            line += f": {shortened(reason(trial.error), REASON)}"
        line += f"; {settings(trial.params)}" if trial.params else ""
        if self._left_out:
            line += f"; {self._left_out} others completed since the last line"
            self._left_out = 0
        _print(line)

    def on_search_end(self, study: Study) -> None:
        """Print the outcome."""
        line = f"search ended after {duration(study.seconds)}: {_counts(self)}"
        if self.running:
            line += f", {len(self.running)} not ended"
        best = study.best
        if best is not None:
            line += f"; best {_score(study, best)}, trial {best.id}"
            line += f": {settings(best.params)}" if best.params else ""
        _print(line)


class LiveTable(_Counting):
    """A table that is redrawn in place, a few times per second.

    What the program prints meanwhile appears above it.

    Args:
        console: where to draw; it must be able to move the cursor.
        progress: returns how far a running trial is, by its number, if that is known.
        node: returns the node of a cluster that runs a trial, by its number, if there is one.
    """

    def __init__(
        self,
        console: Console,
        progress: Callable[[int], Progress | None] = lambda trial: None,
        node: Callable[[int], str] = lambda trial: "",
    ) -> None:
        self._progress = progress
        self._node = node
        self._console = console
        self._live: Any = None

    def on_search_begin(self, study: Study) -> None:
        """Draw the table, and hide the cursor."""
        super().on_search_begin(study)
        self._failures: deque[str] = deque(maxlen=FAILURES)
        self._live = self._started(study)
        self._drawn = time.monotonic()

    def _started(self, study: Study) -> Any:
        """Return what draws the table, after its first drawing."""
        from rich.live import Live

        live = Live(
            self._table(study),
            console=self._console,
            auto_refresh=False,
            # errors that are redirected to a file must stay there
            redirect_stderr=_is_terminal(sys.stderr),
        )
        live.start(refresh=True)  # restores the terminal if it cannot draw
        return live

    def on_trial_begin(self, study: Study, trial: Trial) -> None:
        """Add the trial to the running ones."""
        super().on_trial_begin(study, trial)
        self._draw_in_time(study)

    def on_trial_end(self, study: Study, trial: Trial) -> None:
        """Remove the trial from the running ones."""
        super().on_trial_end(study, trial)
        if trial.state == "failed":
            self._failures.append(f"trial {trial.id}: {reason(trial.error)}")
        self._draw_in_time(study)

    def on_wait(self, study: Study) -> None:
        """Redraw the elapsed time."""
        self._draw_in_time(study)

    def on_search_end(self, study: Study) -> None:
        """Leave the final table on the screen, and show the cursor."""
        if self._live is None:
            return
        live, self._live = self._live, None
        try:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()  # an unfinished line would be lost with rich's stream
            live.update(self._table(study, over=True), refresh=True)
        finally:
            live.stop()

    def _draw_in_time(self, study: Study) -> None:
        if time.monotonic() - self._drawn >= SECONDS_BETWEEN_DRAWINGS:
            self._live.update(self._table(study), refresh=True)
            self._drawn = time.monotonic()

    def _table(self, study: Study, over: bool = False) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        head = self._head(study, over)
        below: list[RenderableType] = [
            Text(f"failed {line}", style="red", no_wrap=True, overflow="ellipsis")
            for line in self._failures
        ]
        if over or not self.running:
            return Group(head, *below)
        # a live display must not be higher than the terminal: one line each for the blank line, the
        # column names, "and N more", and the cursor
        used = len(self._console.render_lines(head)) + len(below) + 4
        rows = max(self._console.height - used, 1)
        if len(self.running) > rows:
            below.insert(0, Text(f"and {len(self.running) - rows} more"))
        return Group(head, Text(), self._rows(study, rows), *below)

    def _head(self, study: Study, over: bool) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        best = study.best
        of = "" if study.max_trials is None else f" of {study.max_trials}"
        ended = Text(f"{self.ended}{of} ended")
        if self.failed:
            ended.append(f", {self.failed} failed", style="red")
        if over and self.running:
            ended.append(f", {len(self.running)} interrupted")
        passed = duration(round(study.seconds))
        remaining = self.remaining(study)
        known = "unknown" if remaining is None else f"about {duration(round(remaining))}"
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row("search", Text(_aim(study)))
        grid.add_row("trials", ended)
        grid.add_row("time", Text(passed if over else f"{passed}, remaining: {known}"))
        if best is None:
            grid.add_row("best", Text("none" if over else "none yet"))
        else:
            grid.add_row("best", Text(f"{number(best.score)}, trial {best.id}", style="bold"))
            grid.add_row("", Text(shortened(settings(best.params), 3 * self._console.width)))
        return grid

    def _rows(self, study: Study, most: int) -> Table:
        from rich.table import Table
        from rich.text import Text

        shown = sorted(self.running.values(), key=lambda trial: trial.id)[:most]
        again = any(trial.attempts > 1 for trial in shown)
        table = Table(box=None, expand=True, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("trial", justify="right", no_wrap=True)
        table.add_column("running", justify="right", no_wrap=True)
        if again:
            table.add_column("attempt", justify="right", no_wrap=True)
        nodes = {trial.id: self._node(trial.id) for trial in shown}
        if any(nodes.values()):
            table.add_column("node", no_wrap=True)
        reached = {trial.id: self._progress(trial.id) for trial in shown}
        if any(reached.values()):
            table.add_column("epoch", justify="right", no_wrap=True)
            table.add_column("logs", no_wrap=True)
        # the only column that shrinks if there is not enough room
        table.add_column("parameters", ratio=1, no_wrap=True, overflow="ellipsis")
        now = time.time()
        for trial in shown:
            taken = _taken(trial, now)
            cells = [str(trial.id), "" if taken is None else duration(round(taken))]
            if again:
                cells.append(str(trial.attempts) if trial.attempts > 1 else "")
            if any(nodes.values()):
                cells.append(nodes[trial.id])
            if any(reached.values()):
                cells += _reached(study, trial, reached[trial.id])
            table.add_row(*map(Text, cells), Text(settings(trial.params)))
        return table


class NotebookTable(LiveTable):
    """The same table in the output of a notebook's cell, which stores its last state.

    Args:
        progress: returns how far a running trial is, by its number, if that is known.
    """

    def __init__(self, progress: Callable[[int], Progress | None] = lambda trial: None) -> None:
        from rich.console import Console

        plain = Console(
            file=io.StringIO(),
            width=100,
            height=30,
            force_jupyter=False,
            markup=False,
            emoji=False,
            highlight=False,
        )
        super().__init__(plain, progress)

    def _started(self, study: Study) -> Any:
        shown = _InNotebook(self._console, lambda: self._share(study))
        shown.update(self._table(study))
        return shown

    def _share(self, study: Study) -> float | None:
        return None if not study.max_trials else min(self.ended / study.max_trials, 1.0)


class _InNotebook:
    """What rich.live.Live is on a terminal."""

    def __init__(self, console: Console, share: Callable[[], float | None]) -> None:
        self._console, self._share = console, share
        self._output = Output()

    def update(self, table: RenderableType, *, refresh: bool = True) -> None:
        """Show the table."""
        with self._console.capture() as captured:
            self._console.print(table)
        lines = [line.rstrip() for line in captured.get().rstrip().splitlines()]
        self._output.show("\n".join(lines), self._share())

    def stop(self) -> None:
        """Leave it as it is."""


def _reached(study: Study, trial: Trial, progress: Progress | None) -> list[str]:
    """Return the epoch and the most telling logs of a running trial, as text."""
    if progress is None:
        return ["", ""]
    of = "" if trial.epochs is None else f"/{trial.epochs}"
    fit = "" if progress.fit == 1 else f", fit {progress.fit}"
    order = dict.fromkeys((study.objective, "val_loss", "loss", *progress.logs))
    names = [name for name in order if name in progress.logs][:LOGS]
    logs = ", ".join(f"{one_line(name)} {number(progress.logs[name])}" for name in names)
    return [f"{progress.epoch}{of}{fit}", logs]


def _moving() -> Console | None:
    """Return the console of the standard output, if a live display works on it."""
    from rich.console import Console

    # what the program prints passes through it, and may contain brackets
    console = Console(markup=False, emoji=False, highlight=False)
    # with FORCE_COLOR rich takes a file for a terminal
    possible = console.is_interactive and _is_terminal(console.file)
    return console if possible and not console.options.ascii_only else None


def _is_terminal(stream: Any) -> bool:
    try:
        return stream is not None and bool(stream.isatty())
    except ValueError:  # it is closed
        return False


def _taken(trial: Trial, now: float | None = None) -> float | None:
    """Return the seconds of the last attempt; None if it did not start or, without `now`, end."""
    until = trial.ended if now is None else now
    if trial.started is None or until is None:
        return None
    return max(until - trial.started, 0.0)  # a clock may be set back


def _aim(study: Study) -> str:
    return f"{'highest' if study.maximize else 'lowest'} {one_line(study.objective)}"


def _score(study: Study, trial: Trial) -> str:
    return f"{one_line(study.objective)} {number(trial.score)}"


def _counts(counts: _Counting) -> str:
    pruned = f"{len(counts.pruned)} pruned, " if counts.pruned else ""
    return f"{counts.completed} completed, {pruned}{counts.failed} failed"


def _print(line: str) -> None:
    # a character that the output cannot encode must not end a search
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(line.encode(encoding, "backslashreplace").decode(encoding), flush=True)
