"""Trials as curves: through the rungs of a halving, and epoch by epoch.

Responsible for drawing. Not for the table (`frames`), nor for axes (`scales`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from search.plots import frames, scales
from trainer.history import known_mode
from trainer.utils.checks import did_you_mean
from trainer.utils.figures import COLOURS, WRONG, as_label, distinct_colours, new_figure
from trainer.utils.fonts import legible

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@legible
def plot_rungs(
    results: pd.DataFrame,
    *,
    maximize: bool,
    objective: str,
    by_rung: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Plot the score against epochs, one line per candidate through its chain of parents.

    The more often a candidate was promoted, the stronger its line; candidates that were not are
    grey points. Failed trials are crosses at the worse edge.

    Raises:
        ValueError: no trial has a rung.
    """
    table = frames.checked(results, maximize)
    if "rung" not in table or not table["rung"].notna().any():
        raise ValueError(
            "results: no trial has a rung; only searches that promote trials have rungs, such as "
            'tuner="hyperband"; call study.plot_history() for this one'
        )
    frames.check_columns(table, "epochs", "parent")
    table = table[table["rung"].notna()].set_index("trial", drop=False)
    ax = ax if ax is not None else new_figure((7.2, 4.4)).add_subplot()
    linked = table[table["parent"].isin(table.index)]
    parents = dict(zip(linked["trial"].map(int), linked["parent"].map(int), strict=True))
    done = table[frames.scored(table)]
    at = dict(zip(done["trial"], zip(done["epochs"], done["score"], strict=True), strict=True))
    chains: list[list[tuple[float, float]]] = []
    for trial in table.index.difference(list(parents.values())):
        chain = [trial]
        while chain[-1] in parents:
            chain.append(parents[chain[-1]])
        chains.append([at[t] for t in reversed(chain) if t in at])
    promoted = [len(chain) - 1 for chain in chains]
    levels = sorted({level for level in promoted if level >= 0})
    colours = dict(zip(levels, scales.strength(levels), strict=True))
    for level in levels:
        alike = [chain for chain in chains if len(chain) - 1 == level]
        times = {0: "not promoted", 1: "promoted once"}.get(level, f"promoted {level} times")
        for i, chain in enumerate(alike):
            ax.plot(
                *zip(*chain, strict=True),
                color=colours[level],
                lw=1 + 0.6 * level,
                marker="o",
                ms=3 + level if level else 4,
                alpha=0.9 if level else 0.6,
                zorder=2 + 0.1 * level,
                label=f"{times} ({len(alike)})" if i == 0 else "_",
            )
    failed = table.loc[table["state"] == "failed", "epochs"]
    scales.mark_failed(ax, failed, maximize)
    epochs = np.unique(table["epochs"].dropna())
    if len(epochs) and epochs[0] > 0 and epochs[-1] >= 8 * epochs[0]:
        ax.set_xscale("log")
    if len(epochs) <= 8:
        ax.set_xticks(epochs, labels=[f"{e:g}" for e in epochs])
        ax.minorticks_off()
    ax.set_xlabel("epochs")
    scales.score_axis(ax, done["score"], maximize, objective)
    ax.set_title(frames.summary(table, maximize, by_rung))
    if ax.get_legend_handles_labels()[0]:
        ax.legend(**scales.BESIDE)
    return ax


@legible
def plot_curves(
    epochs: pd.DataFrame,
    *,
    metric: str,
    trials: Sequence[int] | None = None,
    best: int | None = None,
    pruned: Sequence[int] = (),
    ax: Axes | None = None,
) -> Axes:
    """Plot learning curves, one line per trial: the mean over its folds and executions.

    An epoch in which one of them logged NaN is a gap, because the mean of the others would look
    better than the trial is. Up to seven trials have colours and a legend.

    Args:
        epochs: one row per epoch, with the columns trial, fold, execution, epoch and the metrics.
        metric: the column to plot.
        trials: numbers of the trials to plot. None: all.
        best: number of one of them, which is highlighted.
        pruned: numbers of those that are dashed, with a cross at the end.
        ax: where to draw. None: a new figure.

    Returns:
        The Axes; logarithmic if lower is better and the values span three powers of ten.

    Raises:
        TypeError: trials are not a list.
        ValueError: no such metric or trial, no trial, or no finite value.
    """
    frames.check_table("epochs", epochs)
    for name in ("trial", "epoch", metric):
        if name not in epochs:
            raise ValueError(f"metric={name!r}: was not logged; {did_you_mean(name, epochs)}")
    known = epochs["trial"].unique().tolist()
    if trials is not None:
        _check_trials(trials)
    chosen = known if trials is None else list(trials)
    for name, wanted in (("trials", chosen), ("best", [] if best is None else [best])):
        for trial in wanted:
            if trial not in (known if name == "trials" else chosen):
                raise ValueError(f"{name}: trial {trial!r} has no epochs to plot; leave it out")
    table = epochs[epochs["trial"].isin(chosen)]
    if not np.isfinite(table[metric].to_numpy(dtype=np.float64)).any():
        raise ValueError(f"metric={metric!r}: no trial logged a finite value; choose another one")
    # an epoch that no trial logged (validation every other epoch) is not a gap
    logged = table[metric].notna().groupby(table["epoch"]).transform("any")
    means = table[logged].groupby(["trial", "epoch"])[metric].mean(skipna=False)
    means = means.where(np.isfinite(means))
    ax = ax if ax is not None else new_figure((7.2, 4.2)).add_subplot()
    few = len(chosen) <= len(COLOURS)
    colours = distinct_colours(len(chosen)) if few else [COLOURS[0] if best is None else "0.7"]
    stopped = set(pruned)
    for i, trial in enumerate(chosen):
        curve = means.loc[[trial]] if trial in means.index.get_level_values(0) else means[:0]
        stands_out = trial == best
        ax.plot(
            curve.index.get_level_values(1),
            curve.to_numpy(),
            color=colours[i] if few else COLOURS[1] if stands_out else colours[0],
            lw=3 if stands_out else 1.4 if few else 0.8,
            alpha=1 if few or stands_out else 0.5 if len(chosen) <= 100 else 0.2,
            zorder=3 if stands_out else 2,
            ls="--" if trial in stopped else "-",
            marker="o" if len(curve) <= (30 if few else 1) else None,
            ms=3.5,
            label=f"trial {trial}" + (" (best)" if stands_out else ""),
        )
        if trial in stopped and len(curve.dropna()):
            end = curve.dropna().iloc[-1:]
            ax.plot(end.index.get_level_values(1), end, "x", color=WRONG, ms=4, zorder=2.5)
    finite = means.dropna()
    wide = finite.min() > 0 and finite.max() >= 1000 * finite.min()
    if wide and known_mode(metric) != "max":
        ax.set_yscale("log")
    scales.whole_numbers(ax)
    ax.set_xlabel("epoch")
    ax.set_ylabel(as_label(metric))
    ax.set_title(f"{as_label(metric)} of {len(chosen):,} trial{'s' if len(chosen) > 1 else ''}")
    ax.grid(True, alpha=0.3)
    if few or best is not None:
        handles, labels = ax.get_legend_handles_labels()
        keep = [i for i, label in enumerate(labels) if few or label.endswith("(best)")]
        ax.legend([handles[i] for i in keep], [labels[i] for i in keep], **scales.BESIDE)
    return ax


def _check_trials(trials: object) -> None:
    if isinstance(trials, (str, bytes)) or not isinstance(trials, Collection):
        raise TypeError(
            f"trials={trials!r}: must be a list of numbers of trials; write trials=[0, 1]"
        )
    if len(trials) == 0:
        raise ValueError("trials=[]: must hold at least one number; leave it out to plot all")
