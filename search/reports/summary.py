"""A study as text: the summary of its results, and the wording of its parts.

Responsible for the text about a finished or interrupted search, and for numbers, durations,
parameters and reasons as people read them. Not for what is shown while it runs (`display`), nor for
plots.
"""

from __future__ import annotations

import io
import math
import numbers
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from search.reports.results import column, may_be_best, ranked
from search.space import shown
from trainer.utils.figures import shortened
from trainer.utils.text import printable

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType
    from rich.table import Table

TOP = 5  # number of trials in the table of the best
REASONS = 8  # number of different reasons of failures listed
LONGEST = 24  # maximum number of characters of a parameter's value
NARROW = 12  # the same, in the table of the best
STATES = ("completed", "pruned", "failed", "running", "waiting")
_CODES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")  # terminal colours, as in messages of Keras


def describe(
    results: pd.DataFrame,
    parameters: Sequence[str],
    *,
    objective: str,
    maximize: bool,
    directory: str | None,
    by_rung: bool = False,
    others: Sequence[tuple[str, bool]] = (),
    seconds: float | None = None,
    refit_epochs: int | None = None,
) -> str:
    """Return the best trials, how trials ended, their time, and where the study is saved.

    Lines are at most as wide as the terminal, or 80 characters without one. A table that does not
    fit has one column per trial instead of one row.

    Args:
        results: as returned by `results.table`: one row per trial, with the columns trial,
            state, score, seconds, error, perhaps epochs, and one per parameter.
        parameters: names of the parameters; those without a column are left out.
        objective: the name of the score.
        maximize: whether a higher score is better.
        by_rung: whether trials of later rungs come before others.
        others: the objectives besides the score, and whether higher is better.
        directory: where the study is saved, or None if it is not.
        seconds: duration of the last call of fit, or None if unknown.
        refit_epochs: number of epochs of the refit, if early stopping chose it.
    """
    completed = results[results["state"].isin(("completed", "pruned"))]
    best = may_be_best(ranked(results, maximize=maximize, by_rung=by_rung, others=others)).head(TOP)
    names = [name for name in parameters if column(name) in results]
    parts: list[RenderableType] = []
    if len(best):
        first = best.iloc[0]
        head = f"best {one_line(objective)} {number(first['score'])}, trial {first['trial']}"
        best_values = [("  " + printable(n), value(first[column(n)])) for n in names]
        parts += [_line(head), _pairs(best_values)]
        if refit_epochs is not None:
            text = (
                f"refit for {refit_epochs} epoch{'s' * (refit_epochs > 1)}, where the trial's "
                "weights were kept on average, without early stopping"
            )
            parts += [_line(text)]
    else:
        parts += [_line("no trial has completed")]
    if len(best) > 1:
        parts += _top(best, names, len(completed))
    parts += ["", *_totals(results, seconds, directory), *_failures(results)]
    return _rendered(parts)


def number(value: float | None) -> str:
    """Format a score or parameter with four digits, or as an integer of up to seven."""
    if value is None:
        return "-"
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e7 else f"{value:.4g}"


def duration(seconds: float) -> str:
    """Format seconds for people: "0.25 s", "48 s", "3 min 20 s", "2 h 5 min", "3 d 4 h"."""
    if round(seconds) < 60:
        digits = 0 if seconds >= 10 or seconds == int(seconds) else 1 if seconds >= 1 else 2
        return f"{seconds:.{digits}f} s"
    if round(seconds) < 3600:
        whole, rest, units = *divmod(round(seconds), 60), ("min", "s")
    elif round(seconds / 60) < 24 * 60:
        whole, rest, units = *divmod(round(seconds / 60), 60), ("h", "min")
    else:
        whole, rest, units = *divmod(round(seconds / 3600), 24), ("d", "h")
    return f"{whole} {units[0]} {rest} {units[1]}" if rest else f"{whole} {units[0]}"


def one_line(text: Any) -> str:
    """Return the text without line breaks, colours and other control characters."""
    plain = _CODES.sub("", str(text))
    return " ".join("".join(c if c.isprintable() else " " for c in plain).split())


def value(found: Any) -> str:
    """Format a parameter's value in a few characters; "-" for NaN."""
    if isinstance(found, numbers.Real) and not isinstance(found, numbers.Integral):
        return "-" if math.isnan(found) else number(float(found))
    return shortened(one_line(shown(found)), LONGEST)


def settings(params: Mapping[str, Any]) -> str:
    """Format parameters in one line, "units=30, rate=0.003", by their short names."""
    names = short_names(params)
    return ", ".join(f"{names[name]}={value(found)}" for name, found in params.items())


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Return the last part of each nested name, or the full name if two share their last part."""
    last = {name: name.rsplit("__", 1)[-1] for name in names}
    counts = Counter(last.values())
    shown = {name: part if counts[part] == 1 else name for name, part in last.items()}
    return {name: printable(text) for name, text in shown.items()}


def reason(error: Any) -> str:
    """Return the first line of an error that is not empty."""
    lines = str(error or "").splitlines()
    return next(filter(None, map(one_line, lines)), "unknown reason")


def _top(best: pd.DataFrame, names: Sequence[str], completed: int) -> list[RenderableType]:
    """Return the table of the best trials: one row per trial if it fits, else one column."""
    from rich.console import Console
    from rich.measure import Measurement

    columns = [["trial", *map(str, best["trial"])], ["score", *map(number, best["score"])]]
    for name, short in short_names(names).items():
        cells = (shortened(value(found), NARROW) for found in best[column(name)])
        columns.append([column(short), *cells])
    if "epochs" in best and "epochs" not in names and best["epochs"].notna().any():
        columns.append(["epochs", *map(value, best["epochs"])])
    columns.append(["time", *("-" if math.isnan(s) else duration(s) for s in best["seconds"])])
    room: int = _console().width
    unlimited = Console(width=100_000, force_jupyter=False)

    def fits(table: Table) -> bool:
        return Measurement.get(unlimited, unlimited.options, table).maximum <= room

    shown = len(best)
    table = _table([list(row) for row in zip(*columns, strict=True)])
    if not fits(table):
        while not fits(table := _table([c[: shown + 1] for c in columns], True)) and shown > 2:
            shown -= 1
    return ["", _line(f"the {shown} best of {completed}"), table]


def _totals(
    results: pd.DataFrame, seconds: float | None, directory: str | None
) -> list[RenderableType]:
    counts = results["state"].value_counts()
    ended = ", ".join(f"{counts[state]} {state}" for state in STATES if state in counts)
    told = [("trials", f"{len(results)}: {ended}" if len(results) else "none was started")]
    if seconds is not None:
        told.append(("time", f"{duration(seconds)} in the last call of fit"))
    told.append(("worker time", duration(float(results["seconds"].sum()))))
    if directory is None:
        told.append(("saved", "no; write directory='studies/name' to save a study"))
    else:
        told.append(("saved in", printable(directory)))
        told.append(("", "the same search with this directory resumes it"))
    return [_pairs(told)]


def _failures(results: pd.DataFrame) -> list[RenderableType]:
    failed = results[results["state"] == "failed"]
    if not len(failed):
        return []
    groups: dict[str, list[Any]] = {}
    for trial, error in zip(failed["trial"], failed["error"], strict=True):
        groups.setdefault(reason(error if isinstance(error, str) else None), []).append(trial)
    most = sorted(groups.items(), key=lambda group: -len(group[1]))
    parts: list[RenderableType] = ["", _line("why trials failed")]
    rows = []
    for text, trials in most[:REASONS]:
        listed = ", ".join(map(str, trials[:3])) + (", ..." if len(trials) > 3 else "")
        rows.append([f"{len(trials)} x", text, f"trial{'s'[: len(trials) > 1]} {listed}"])
    parts.append(_reasons(rows))
    if len(most) > REASONS:
        others = sum(len(trials) for _, trials in most[REASONS:])
        parts.append(_line(f"  and {others} for {len(most) - REASONS} other reasons"))
    return parts


# ---- the layout ----------------------------------------------------------------------------------


def _line(text: str) -> RenderableType:
    from rich.text import Text

    return Text(text, no_wrap=True, overflow="ellipsis")


def _pairs(told: Iterable[tuple[str, str]]) -> RenderableType:
    """Lay out names and texts in two columns."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(overflow="fold")
    grid.add_column(overflow="fold")
    for name, text in told:
        grid.add_row(Text(name), Text(text))
    return grid


def _table(rows: Sequence[Sequence[str]], names_first: bool = False) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, name in enumerate(rows[0]):
        left = names_first and i == 0  # the only column that may shrink
        table.add_column(
            Text(name), justify="left" if left else "right", no_wrap=not left, overflow="ellipsis"
        )
    for row in rows[1:]:
        table.add_row(*map(Text, row))
    return table


def _reasons(rows: Sequence[Sequence[str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    grid.add_column(no_wrap=True)
    for row in rows:
        grid.add_row(*map(Text, row))
    return grid


def _rendered(parts: Sequence[RenderableType]) -> str:
    console = _console()
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def _console() -> Any:
    """Return a console that writes plain text to a string, as wide as the terminal."""
    from rich.console import Console

    return Console(
        file=io.StringIO(), color_system=None, force_jupyter=False, markup=False, highlight=False
    )
