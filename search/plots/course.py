"""When trials ran and how good they were: the timeline of workers, and the distribution of scores.

Responsible for drawing. Not for the table (`frames`), nor for axes (`scales`).
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from search.plots import frames, scales
from trainer.utils.figures import COLOURS, WRONG, as_label, distinct_colours, new_figure
from trainer.utils.fonts import legible

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

STATES = {"completed": COLOURS[0], "pruned": "0.6", "failed": WRONG, "running": COLOURS[1]}
NAMED = 60  # maximum number of bars that have the number of their trial


@legible
def plot_timeline(trials: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Plot when trials ran, one bar each, in as many rows as ran at once.

    A row is a worker that was free when the trial began; which process ran it is not recorded.
    Several calls of fit follow each other, with the pauses between them. Gaps within one show
    workers that had nothing to do.

    Args:
        trials: the columns trial, state, started and ended (seconds since 1970; NaN for what has
            not happened). A trial that runs lasts until the latest time in the table.
        ax: where to draw. None: a new figure.

    Returns:
        The Axes; its x axis are seconds, minutes or hours since the first trial began.

    Raises:
        TypeError, ValueError: not such a table, or no trial was started.
    """
    frames.check_table("trials", trials)
    frames.check_columns(trials, "trial", "state", "started", "ended")
    table = trials[trials["started"].notna()].sort_values("started", kind="stable")
    if not len(table):
        raise ValueError("trials: none was started; call fit before drawing")
    first = float(table["started"].min())
    latest = float(np.nanmax([table["started"].max(), table["ended"].max()]))
    unit, seconds = next(
        (unit, n)
        for unit, n in (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))
        if latest - first >= 3 * n or n == 1.0
    )
    ax = ax if ax is not None else new_figure((8.0, 3.2)).add_subplot()
    free: list[tuple[float, int]] = []  # when each row becomes free
    rows = 0
    shown: dict[str, int] = {}
    for row in table.itertuples():
        begin = (row.started - first) / seconds
        end = ((row.ended if row.ended == row.ended else latest) - first) / seconds
        if free and free[0][0] <= begin + 1e-9:
            place = heapq.heappop(free)[1]
        else:
            place, rows = rows, rows + 1
        heapq.heappush(free, (end, place))
        shown[row.state] = shown.get(row.state, 0) + 1
        ax.barh(
            place,
            end - begin,
            left=begin,
            height=0.8,
            color=STATES.get(row.state, "0.8"),
            edgecolor="white",
            lw=0.3 if len(table) <= 500 else 0.0,
            label="_" if shown[row.state] > 1 else row.state,
        )
        if len(table) <= NAMED:
            ax.text((begin + end) / 2, place, str(row.trial), ha="center", va="center", fontsize=7)
    ax.set_yticks(range(rows), labels=[f"worker {i + 1}" for i in range(rows)])
    ax.invert_yaxis()
    ax.set_xlabel(f"{unit} since the first trial began")
    ended = table[table["ended"].notna()]
    busy = float((ended["ended"] - ended["started"]).sum())
    share = busy / max(rows * (latest - first), 1e-9)
    ax.set_title(f"{len(table):,} trials; workers busy {min(share, 1):.0%} of the time")
    handles, labels = ax.get_legend_handles_labels()
    texts = [f"{label} ({shown[label]:,})" for label in labels]
    ax.legend(handles, texts, **scales.BESIDE)
    return ax


@legible
def plot_distribution(
    studies: Mapping[str, pd.DataFrame],
    *,
    maximize: bool,
    objective: str,
    ax: Axes | None = None,
) -> Axes:
    """Plot the empirical distribution of scores: the share of trials at least as bad as each score.

    The further a line lies towards the better scores, the better is the space or the method: a
    comparison that does not depend on one lucky trial.

    Args:
        studies: tables of results by name; one line each.
        maximize: whether a higher score is better.
        objective: the name of the score.
        ax: where to draw. None: a new figure.

    Raises:
        TypeError, ValueError: no table, or one without a score.
    """
    if not isinstance(studies, Mapping) or not studies:
        raise TypeError("studies: must be a dict from names to tables; write {'first': results}")
    ax = ax if ax is not None else new_figure((6.8, 4.2)).add_subplot()
    everything = []
    for (name, results), colour in zip(
        studies.items(), distinct_colours(len(studies)), strict=True
    ):
        table = frames.checked(results, maximize)
        scores = np.sort(table.loc[frames.scored(table), "score"].to_numpy())
        if not len(scores):
            raise ValueError(f"studies: {name!r} has no trial with a score; leave it out")
        shares = np.arange(1, len(scores) + 1) / len(scores)
        if not maximize:
            shares = 1 - (shares - 1 / len(scores))
        where = "post" if maximize else "pre"
        ax.step(scores, shares, where=where, color=colour, label=f"{name} ({len(scores):,})")
        everything.append(scores)
    found = np.concatenate(everything)
    scale = scales.scale_of(found, maximize)
    ax.set_xscale(**scale)
    ax.set_ylim(0, 1.02)
    ax.grid(True, alpha=0.3)
    ax.set_xlabel(f"{as_label(objective, 40)} ({'higher' if maximize else 'lower'} is better)")
    ax.set_ylabel("share of trials that are not better")
    ax.legend(**scales.BESIDE)
    return ax
