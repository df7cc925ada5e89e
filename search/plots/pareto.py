"""Trials by their objectives, and the Pareto front.

Responsible for drawing. Not for which trials are on the front (`search.study.goals`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from trainer.utils.figures import COLOURS, as_label, new_figure
from trainer.utils.fonts import legible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMED = 12  # most trials of a front that have their numbers beside them
ACROSS = 3  # most panels beside each other


@legible
def plot_pareto(
    values: Mapping[int, Sequence[float]],
    names: Sequence[str],
    maximize: Sequence[bool],
    *,
    front: Sequence[int],
    infeasible: Sequence[int] = (),
) -> np.ndarray:
    """Plot trials by each pair of objectives, and the Pareto front.

    With two objectives the front is a line of steps: what lies on its worse side is dominated.
    With more, a trial of the front may look dominated in a panel, and is better in another one.

    Args:
        values: of the objectives, by trial [k].
        names: of the objectives.
        maximize: for each objective, whether a higher value is better.
        front: the trials on the front.
        infeasible: the trials that violate a constraint.

    Returns:
        An array of Axes, one for each pair of objectives.

    Raises:
        ValueError: no trial has values, or fewer than two objectives.
    """
    if len(names) < 2:
        raise ValueError(f"names={list(names)!r}: must be two objectives or more")
    if not values:
        raise ValueError("values: no trial has values of all objectives; call fit before drawing")
    pairs = list(combinations(range(len(names)), 2))
    across = min(len(pairs), ACROSS)
    down = -(-len(pairs) // across)
    figure = new_figure((5.4 * across, 4.2 * down))
    panels = [figure.add_subplot(down, across, i + 1) for i in range(len(pairs))]
    best, out = set(front), set(infeasible)
    for ax, (i, j) in zip(panels, pairs, strict=True):
        _panel(ax, {t: (v[i], v[j]) for t, v in values.items()}, best, out)
        for axis, k in ((ax.xaxis, i), (ax.yaxis, j)):
            way = "higher" if maximize[k] else "lower"
            axis.set_label_text(f"{as_label(names[k], 40)} ({way} is better)")
        if len(names) == 2:
            _steps(ax, [values[t] for t in front if t in values], maximize)
    panels[0].legend(fontsize="small")
    figure.suptitle(
        f"{len(values)} trials, {len(best)} on the Pareto front"
        + (f", {len(out)} violate a constraint" if out else ""),
        fontsize="medium",
    )
    return np.array(panels)


def _panel(
    ax: Axes, points: Mapping[int, tuple[float, float]], front: set[int], out: set[int]
) -> None:
    kinds = (
        ("violates a constraint", "x", "0.7", [t for t in points if t in out]),
        ("dominated", "o", "0.6", [t for t in points if t not in out and t not in front]),
        ("Pareto front", "o", COLOURS[0], [t for t in points if t in front]),
    )
    for label, marker, colour, trials in kinds:
        if trials:
            x, y = zip(*(points[t] for t in trials), strict=True)
            ax.scatter(x, y, marker=marker, color=colour, label=label, zorder=2)
    named = [t for t in points if t in front]
    for trial in named if len(named) <= NAMED else ():
        ax.annotate(
            str(trial), points[trial], xytext=(4, 4), textcoords="offset points", fontsize=8
        )


def _steps(ax: Axes, front: Sequence[Sequence[float]], maximize: Sequence[bool]) -> None:
    """Draw the edge of what the front dominates."""
    ordered = sorted((float(v[0]), float(v[1])) for v in front)
    if len(ordered) < 2:
        return
    x, y = zip(*ordered, strict=True)
    ax.step(x, y, where="pre" if maximize[0] else "post", color=COLOURS[0], linewidth=1, zorder=1)
