"""The course of a study and its space: the score by trial, and by parameter.

Responsible for drawing. Not for the table (`frames`), nor for axes (`scales`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search.plots import frames, scales
from search.space import Space
from trainer.hyperparameters import Bool, Choice
from trainer.utils.checks import did_you_mean
from trainer.utils.figures import COLOURS, as_label, distinct_colours, new_figure, width_of
from trainer.utils.fonts import legible

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@legible
def plot_history(
    results: pd.DataFrame,
    *,
    maximize: bool,
    objective: str,
    by_rung: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Plot the score of each trial in order, and the best so far as a step line.

    Failed trials are crosses at the worse edge. In a search by rungs each rung has its own colour.

    Returns:
        The Axes. The axis of scores is logarithmic if bad scores would hide the good ones.
    """
    table = frames.checked(results, maximize)
    ax = ax if ax is not None else new_figure((7.2, 4.2)).add_subplot()
    done = table[frames.scored(table)]
    by_rung = "rung" in table and table["rung"].notna().any()
    rungs = sorted(done["rung"].dropna().unique()) if by_rung else [None] * bool(len(done))
    size = 24 if len(table) <= 200 else 8
    for rung, colour in zip(rungs, distinct_colours(len(rungs)), strict=True):
        rows = done if rung is None else done[done["rung"] == rung]
        label = "trial" if rung is None else f"rung {int(rung)}"
        ax.scatter(rows["trial"], rows["score"], s=size, color=colour, alpha=0.7, label=label, lw=0)
    if len(done):
        best = (np.maximum if maximize else np.minimum).accumulate(done["score"].to_numpy())
        # extend the best to the last trial, whether that has a score or not
        x = [*done["trial"], table["trial"].max()]
        ax.step(x, [*best, best[-1]], where="post", color="black", lw=1.2, label="best so far")
    failed = table.loc[table["state"] == "failed", "trial"]
    scales.mark_failed(ax, failed, maximize)
    scales.score_axis(ax, done["score"], maximize, objective)
    scales.whole_numbers(ax)
    ax.set_xlabel("trial")
    ax.set_title(frames.summary(table, maximize, by_rung))
    if ax.get_legend_handles_labels()[0]:
        ax.legend(**scales.BESIDE)
    return ax


@legible
def plot_parallel(
    results: pd.DataFrame,
    space: Space,
    *,
    maximize: bool,
    objective: str,
    by_rung: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Plot each trial as a line through one axis per parameter, and finally through its score.

    Values have a strip of their own beside their axis, behind which the lines pass. With more than
    100 trials the worse ones are faint.

    The best is on top of the score axis, darkest, and drawn over the others; failed trials are grey
    and end before that axis. A parameter's axis is spread as it is searched: by ratio if it is
    logarithmic. If it has ten values or fewer, lines pass near the value instead of through it, so
    that they do not hide each other. If a condition switches a parameter off, the line passes below
    the axis, at the mark "inactive".

    Args:
        results: the table of a search, with one row per trial.
        space: of the search.
        maximize: whether a higher score is better.
        objective: the name of the score.
        by_rung: whether trials of higher rungs rank before all of lower ones.
        ax: to draw on; None: a new figure.

    Returns:
        The Axes; heights of lines are 0..1 on each axis, the marks are texts.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import LineCollection
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.patches import Rectangle

    table = frames.checked(results, maximize)
    units = frames.units(frames.points(table, space), space)
    n = len(space.domains)
    if ax is None:
        ax = new_figure((max(6.4, 1.35 * (n + 1)), 4.8)).add_subplot()
    heights = np.where(np.isnan(units), -0.15, units + scales.spread(table, space))
    scored = frames.scored(table).to_numpy()
    failed = heights[(table["state"] == "failed").to_numpy()]
    x = np.arange(n + 1)
    grey = [np.column_stack([x[:n], row]) for row in failed]
    ax.add_collection(LineCollection(grey, colors="0.75", linewidths=1, zorder=1))
    if scored.any():
        scores = table["score"].to_numpy()[scored]
        goodness, marks = scales.goodness(scores, maximize)
        order = np.argsort(goodness, kind="stable")
        whole = np.column_stack([heights[scored], goodness])[order]
        lines = [np.column_stack([x, row]) for row in whole]
        # the light end of the colour map is invisible on white
        shades = ListedColormap(colormaps["viridis_r"](np.linspace(0.08, 1, 256)))
        widths = np.full(len(lines), 1.4 if len(lines) <= 100 else 0.7)
        widths[-1] = 3
        # of many lines the good ones are seen, and the others are their background
        shade = np.full(len(lines), 0.9)
        if len(lines) > 100:
            shade = 0.08 + 0.72 * goodness[order] ** 2
        ax.add_collection(
            LineCollection(
                lines,
                array=goodness[order],
                cmap=shades,
                norm=Normalize(0, 1),
                linewidths=widths,
                alpha=np.where(widths == 3, 1.0, shade),
                zorder=2,
            )
        )
        bar = ax.inset_axes((n, 0, 0.08, 1), transform=ax.transData)
        ax.figure.colorbar(ScalarMappable(Normalize(0, 1), shades), cax=bar, ticks=[])
        for height, _, text in marks:
            ax.text(n + 0.12, height, text, fontsize=8, va="center")
    for position, domain in enumerate(space.domains.values()):
        ax.plot([position] * 2, [0, 1], color="0.3", lw=1, zorder=3)
        marks = scales.marks(domain, 0.05)
        if np.isnan(units[:, position]).any():
            marks.append((-0.15, None, "inactive"))
        # a strip of its own for the labels: lines pass behind it
        wide = min(0.07 + 0.048 * max(width_of(text) for _, _, text in marks), 0.75)
        strip = Rectangle(
            (position - wide, -0.3), wide - 0.02, 1.4, color="white", lw=0, zorder=2.5
        )
        ax.add_patch(strip)
        for height, _, text in marks:
            ax.text(position - 0.05, height, text, fontsize=8, ha="right", va="center", zorder=4)
    shown = [*space.domains, objective] if scored.any() else list(space.domains)
    # break a nested name where its parts meet
    texts = [as_label(name, 60).replace("__", "__\n") for name in shown]
    ax.set_xticks(x[: len(shown)], labels=texts, fontsize=9)
    if max(width_of(line) for text in texts for line in text.split("\n")) > 16:
        scales.slant(ax)
    ax.set_yticks([])
    ax.set_xlim(-0.6, len(shown) - 0.4)
    ax.set_ylim(-0.22 if np.isnan(units).any() else -0.05, 1.05)
    ax.spines[:].set_visible(False)
    ax.set_title(
        frames.summary(table, maximize, by_rung) + ("; grey: failed" if len(failed) else "")
    )
    return ax


@legible
def plot_slice(
    results: pd.DataFrame,
    space: Space,
    *,
    maximize: bool,
    objective: str,
    by_rung: bool = False,
    names: str | Sequence[str] | None = None,
) -> NDArray[Any]:
    """Plot the score against each parameter, each on its own Axes, in a new figure.

    A trial is drawn where the parameter is active, the best as a star, failed ones as crosses at
    the worse edge. The values of a choice have one column each, in which the points are spread
    sideways by less than a third, so that they do not hide each other.

    Args:
        results: the table of a search, with one row per trial.
        space: of the search.
        maximize: whether a higher score is better.
        objective: the name of the score.
        by_rung: whether trials of higher rungs rank before all of lower ones.
        names: parameters to plot, in this order. None: all.

    Returns:
        The Axes, an object array of shape (number of names,).

    Raises:
        TypeError: names are not names.
        ValueError: an unknown name.
    """
    table = frames.checked(results, maximize)
    if names is not None and not isinstance(names, Collection):
        raise TypeError(
            f"names={names!r}: must be a parameter or a list of them; write "
            f"names=[{next(iter(space.domains))!r}]"
        )
    chosen = list(space.domains) if names is None else [names] if isinstance(names, str) else names
    for name in chosen:
        if name not in space.domains:
            raise ValueError(
                f"names: the space has no parameter {name!r}; {did_you_mean(name, space.domains)}"
            )
    if not len(chosen):
        raise ValueError("names=[]: must hold at least one name; leave it out to plot all")
    points = frames.points(table, space)
    columns = min(len(chosen), 3)
    rows = math.ceil(len(chosen) / columns)
    figure = new_figure((max(3.4 * columns, 4.4), 3.1 * rows))
    axes = np.empty(len(chosen), dtype=object)
    scores = table["score"].where(frames.scored(table)).to_numpy()
    failed = (table["state"] == "failed").to_numpy()
    for position, name in enumerate(chosen):
        domain = space.domains[name]
        shared = axes[0] if position else None
        axes[position] = ax = figure.add_subplot(rows, columns, position + 1, sharey=shared)
        active = np.array([name in point for point in points])
        x = np.full(len(points), np.nan)
        x[active] = [scales.place(domain, point[name]) for point in points if name in point]
        if isinstance(domain, (Choice, Bool)):
            x += 0.6 * scales.golden(table)
        drawn = active & np.isfinite(scores)
        size, alpha = (18, 0.6) if len(table) <= 200 else (6, 0.35)
        ax.scatter(x[drawn], scores[drawn], s=size, color=COLOURS[0], alpha=alpha, lw=0)
        if drawn.any():
            best = np.nanargmax(np.where(drawn, scores if maximize else -scores, np.nan))
            ax.scatter(x[[best]], scores[[best]], marker="*", s=140, color=COLOURS[1], zorder=3)
        scales.mark_failed(ax, x[failed & active], maximize)
        scales.parameter_axis(ax, domain)
        ax.set_xlabel(as_label(name, 40))
        if not active.all():
            ax.set_title(f"active in {active.sum():,} of {len(active):,} trials", fontsize=8)
        scales.score_axis(ax, scores[np.isfinite(scores)], maximize, objective)
        if position % columns:
            ax.set_ylabel("")
            ax.tick_params(labelleft=False)
    figure.suptitle(frames.summary(table, maximize, by_rung), fontsize="medium")
    return axes
