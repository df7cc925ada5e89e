"""The geometry of a page's parallel coordinates: axes, marks, and a line for each trial.

Responsible for positions. Not for the elements of the page, or for brushing (study.html, study.js).
The picture is not matplotlib's, because a script moves brushes over its axes and hides lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from search.plots import frames, scales
from search.reports import summary
from search.space import Space
from trainer.utils.figures import shortened

if TYPE_CHECKING:
    import pandas as pd

GAP = 150  # between two axes
LEFT, TOP, HEIGHT, BELOW = 110, 56, 320, 44
INACTIVE = 1.1  # where lines cross the axis of a parameter that a condition switches off
COLOURS = 9  # classes of lines, from the worst score to the best
_OPAQUE = 60  # trials, above which worse lines become fainter


@dataclass(frozen=True)
class Axis:
    """An axis: its name, its place, and the heights and texts of its marks."""

    name: str
    x: int
    marks: list[tuple[float, str]]


@dataclass(frozen=True)
class Line:
    """A trial: its number, its path, and its colour: None for one without a score."""

    trial: int
    path: str
    colour: int | None


@dataclass(frozen=True)
class Drawing:
    """A picture of parallel coordinates, in units of SVG.

    Attributes:
        axes: One for each parameter, then that of the score.
        lines: From the worst to the best, so that this is on top.
        width, height: Of the picture.
        top, bottom: The ends of the axes.
        faint: Whether there are so many lines that they are drawn faintly.
    """

    axes: list[Axis]
    lines: list[Line]
    width: int
    height: int
    top: int
    bottom: int
    faint: bool


def drawing(results: pd.DataFrame, space: Space, *, maximize: bool, objective: str) -> Drawing:
    """Return the picture of a study.

    Args:
        results: the table of a search.
        space: of the search.
        maximize: whether a higher score is better.
        objective: the name of the score.
    """
    table = results.sort_values("trial", ignore_index=True)
    units = np.zeros((0, len(space.domains)))
    if len(table):
        units = frames.units(frames.points(table, space), space)
    units = units + scales.spread(table, space)
    scored = np.isfinite(table["score"].to_numpy(float))
    heights = np.full(len(table), np.nan)
    marks: list[tuple[float, str]] = []
    if scored.any():
        scores = table["score"].to_numpy(float)[scored]
        heights[scored], found = scales.goodness(scores, maximize)
        marks = [(_y(height), text) for height, _, text in found]
    axes = []
    for i, (name, domain) in enumerate(space.domains.items()):
        own = [(_y(at), text.replace(r"\$", "$")) for at, _, text in scales.marks(domain, 0.06)]
        if np.isnan(units[:, i]).any():
            own.append((_y(1 - INACTIVE), "inactive"))
        axes.append(Axis(_name(name), LEFT + GAP * i, own))
    axes.append(Axis(_name(objective), LEFT + GAP * len(axes), marks))
    lines = []
    for row in np.argsort(np.where(scored, heights, -1), kind="stable"):
        at = [1 - INACTIVE if np.isnan(u) else u for u in units[row]]
        at += [heights[row]] if scored[row] else []
        path = "L".join(f"{axis.x} {_y(u):g}" for axis, u in zip(axes, at, strict=False))
        colour = int(min(heights[row], 0.999) * COLOURS) if scored[row] else None
        lines.append(Line(int(table["trial"][row]), f"M{path}", colour))
    return Drawing(
        axes,
        lines,
        width=LEFT + GAP * (len(axes) - 1) + 70,
        height=TOP + HEIGHT + BELOW,
        top=TOP,
        bottom=TOP + HEIGHT,
        faint=len(lines) > _OPAQUE,
    )


def _y(unit: float) -> float:
    return round(TOP + HEIGHT * (1 - float(unit)), 1)


def _name(name: str) -> str:
    """Return the name of an axis; of a nested one that is long, its end."""
    plain = summary.one_line(name)
    last = plain.rsplit("__", 1)[-1]
    return shortened(plain if len(plain) <= 20 else last, 20)
