"""The plots of a study: its course, its space, parameter importance, rungs and learning curves.

Responsible for drawing a table of results, and for the importance of parameters. Not for making the
table, nor for saving: every function returns Axes, and `axes.figure.savefig("study.png")` writes
the file. Nothing here calls show().

`results` is the table of a search: one row per trial, with the columns trial, state ("completed",
"failed", "running" or "waiting"), score (NaN without one), one for each parameter of the space, and
perhaps rung, parent and epochs. `objective` is the name of the score, `maximize` says whether
higher is better, and `by_rung` that the best trial is the best of the last rung. `ax` is where to
draw; None: a new figure. A study whose trials all failed can be plotted too: its plots show the
failures, and say that there is no score. A table without trials or with a missing column raises a
ValueError; a table or flag of another type a TypeError.
"""

from __future__ import annotations

from search.plots.contour import plot_contour
from search.plots.course import plot_distribution, plot_timeline
from search.plots.curves import plot_curves, plot_rungs
from search.plots.pareto import plot_pareto
from search.plots.shares import importance, plot_importance
from search.plots.study import plot_history, plot_parallel, plot_slice

__all__ = [
    "importance",
    "plot_contour",
    "plot_curves",
    "plot_distribution",
    "plot_history",
    "plot_importance",
    "plot_parallel",
    "plot_pareto",
    "plot_rungs",
    "plot_slice",
    "plot_timeline",
]
