"""The score over two parameters.

Responsible for drawing. Not for the table (`frames`), nor for axes (`scales`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from search.plots import frames, scales
from search.space import Space
from trainer.utils.checks import did_you_mean
from trainer.utils.figures import as_label, new_figure
from trainer.utils.fonts import legible

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

NEIGHBOURS = 5  # trials that the height at a point is the weighted mean of
GRID = 60  # points of the surface per axis


@legible
def plot_contour(
    results: pd.DataFrame,
    space: Space,
    x: str,
    y: str,
    *,
    maximize: bool,
    objective: str,
    by_rung: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Plot the score over two parameters as filled contours, with the trials as points.

    The surface is the mean of the five nearest trials, weighted by the inverse of their distance
    [Shepard 1968, ACM National Conference], in positions as the space spreads them; other
    parameters differ between these trials. Far from any point it is a guess. With fewer than six
    trials with a score there are points only. The best is a star, failed ones are crosses.

    Args:
        results: the table of a search, with one row per trial.
        space: of the search.
        x: the parameter of the horizontal axis.
        y: the other one.
        maximize: whether a higher score is better.
        objective: the name of the score.
        by_rung: whether trials of higher rungs rank before all of lower ones.
        ax: where to draw. None: a new figure.

    Returns:
        The Axes; positions are 0..1 on each axis, the marks are texts.

    Raises:
        ValueError: an unknown parameter, or twice the same.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    table = frames.checked(results, maximize)
    names = list(space.domains)
    for argument, name in (("x", x), ("y", y)):
        if name not in space.domains:
            raise ValueError(
                f"{argument}={name!r}: the space has no such parameter; {did_you_mean(name, names)}"
            )
    if x == y:
        raise ValueError(f"x={x!r}, y={y!r}: must be two parameters")
    units = frames.units(frames.points(table, space), space)
    both = units[:, [names.index(x), names.index(y)]]
    active = ~np.isnan(both).any(axis=1)
    scored = frames.scored(table).to_numpy() & active
    ax = ax if ax is not None else new_figure((6.6, 4.8)).add_subplot()
    if scored.any():
        scores = table["score"].to_numpy()[scored]
        goodness, marks = scales.goodness(scores, maximize)
        points = both[scored]
        if len(points) > NEIGHBOURS:
            line = np.linspace(0, 1, GRID)
            across, up = np.meshgrid(line, line)
            surface = _surface(points, goodness, across, up)
            ax.contourf(across, up, surface, levels=12, cmap="viridis", alpha=0.75, zorder=1)
        ax.scatter(
            *points.T,
            c=goodness,
            cmap="viridis",
            vmin=0,
            vmax=1,
            s=26 if len(points) <= 200 else 9,
            edgecolors="white",
            linewidths=0.6,
            zorder=2,
        )
        best = int(goodness.argmax())
        ax.scatter(*points[best], marker="*", s=170, color="white", edgecolors="black", zorder=3)
        bar = ax.figure.colorbar(
            ScalarMappable(Normalize(0, 1), "viridis"), ax=ax, ticks=[m[0] for m in marks]
        )
        bar.ax.set_yticklabels([m[2] for m in marks], fontsize=8)
        bar.set_label(
            f"{as_label(objective, 40)} ({'higher' if maximize else 'lower'} is better)", fontsize=9
        )
    failed = active & (table["state"] == "failed").to_numpy()
    if failed.any():
        ax.scatter(*both[failed].T, marker="x", color="black", s=22, lw=1, zorder=2)
    for axis, name in ((ax.xaxis, x), (ax.yaxis, y)):
        marks = scales.marks(space.domains[name], 0.1)
        axis.set_ticks([m[0] for m in marks], labels=[m[2] for m in marks], fontsize=8)
    ax.set_xlim(-0.03, 1.03)
    ax.set_ylim(-0.03, 1.03)
    ax.set_xlabel(as_label(x, 40))
    ax.set_ylabel(as_label(y, 40))
    left = "" if active.all() else f"; both active in {active.sum():,}"
    ax.set_title(frames.summary(table, maximize, by_rung) + left, fontsize="medium")
    return ax


def _surface(points: np.ndarray, heights: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    wanted = np.column_stack([x.ravel(), y.ravel()])
    far = np.sqrt(((wanted[:, None] - points[None]) ** 2).sum(axis=2))
    near = np.argpartition(far, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
    weights = 1 / np.maximum(np.take_along_axis(far, near, axis=1), 0.02)
    found: np.ndarray = (heights[near] * weights).sum(axis=1) / weights.sum(axis=1)
    return found.reshape(x.shape)
