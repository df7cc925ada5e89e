"""Learning curves: what each epoch of one or several trainings logged, epoch by epoch.

Responsible for drawing histories, with what is not finite named. Not responsible for recording
them (history.py) nor for the other pictures (plots.py). Nothing here calls show().
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainer.checks import did_you_mean
from trainer.figures import COLOURS, WRONG, as_label, distinct_colours, new_figure, shortened
from trainer.history import History, known_mode

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TRAINING, _VALIDATION = COLOURS[:2]
_OWN_AXES = ("learning_rate", "seconds")


def plot_history(
    history: History | Mapping[str, History], names: str | Sequence[str] | None = None
) -> NDArray[Any]:
    """Draw learning curves, each metric with its validation on Axes of its own.

    Args:
        history: of one training, or {label: history} to compare several in the same Axes.
        names: the metrics to draw, by the name of the training log, in this order; "learning_rate"
            and "seconds" may be among them. None: the losses, the other metrics, and the learning
            rate if it varies within a training.

    Returns:
        The Axes, an object array of shape (number of names,). An axis is logarithmic where its
        values span more than three powers of ten (the learning rate: one). A curve ends where
        its values do: NaN and infinity are named, with their epochs, above the Axes.

    Raises:
        TypeError: `history` is something else.
        ValueError: no epochs, or a name that was not logged.

    >>> axes = plot_history({"raw": raw, "scaled": scaled}, names=["loss"])  # doctest: +SKIP
    >>> axes[0].figure.savefig("loss.png")  # doctest: +SKIP
    """
    from matplotlib.lines import Line2D

    runs = dict(history) if isinstance(history, Mapping) else {"": history}
    several = isinstance(history, Mapping)
    _check_histories(runs, several)
    chosen = _chosen_names(runs, names)
    columns = 2 if len(chosen) == 4 else min(len(chosen), 3)
    rows = math.ceil(len(chosen) / columns)
    width = max(4.4 * columns, 5.2)
    # In inches: a letter of the legend, and the line and the gap beside a label.
    entry = 0.08 * max(len(str(label)) for label in [*runs, "validation"]) + 0.6
    legend_columns = max(1, min(int(width / entry), 5))
    legend_height = 0.3 + 0.25 * math.ceil((len(runs) + 2) / legend_columns) if several else 0
    figure = new_figure((width, 3.4 * rows + legend_height))
    axes = np.empty(len(chosen), dtype=object)
    colours = dict(zip(runs, distinct_colours(len(runs)), strict=True))
    for position, name in enumerate(chosen):
        axes[position] = ax = figure.add_subplot(rows, columns, position + 1)
        notes: list[str] = []
        for label, run in runs.items():
            if several:
                styles = ({"color": colours[label]}, {"color": colours[label], "ls": "--"})
            elif name in _OWN_AXES:
                styles = ({"color": COLOURS[2]}, {})
            else:
                styles = ({"color": _TRAINING}, {"color": _VALIDATION, "ls": "--"})
            notes += _draw_run(ax, run, name, as_label(label), styles)
        _finish_curves(ax, name, notes)
        if not several and name not in _OWN_AXES:
            ax.legend(fontsize="small")
    if several:
        handles = [Line2D([], [], color=colours[label], label=as_label(label)) for label in runs]
        handles.append(Line2D([], [], color="0.4", label="training"))
        if any(f"val_{name}" in run for name in chosen for run in runs.values()):
            handles.append(Line2D([], [], color="0.4", ls="--", label="validation"))
        ncols = min(len(handles), legend_columns)
        figure.legend(handles=handles, loc="outside lower center", ncols=ncols)
    return axes


def _check_histories(runs: Mapping[Any, Any], several: bool) -> None:
    if not runs:
        raise ValueError('history={}: holds no training; write {"label": history, ...}')
    for label, run in runs.items():
        argument = f"history[{label!r}]" if several else "history"
        if not isinstance(run, History):
            raise TypeError(
                f"{argument} is a {type(run).__name__}: must be a History, such as "
                "trainer.history_, or a mapping {label: History}"
            )
        if not len(run):
            raise ValueError(f"{argument} has no epochs: call fit before drawing its curves")


def _chosen_names(runs: Mapping[str, History], names: str | Sequence[str] | None) -> list[str]:
    logged = dict.fromkeys(name for run in runs.values() for name in run.metrics)
    known = list(dict.fromkeys(name.removeprefix("val_") for name in logged))
    if names is None:
        losses = [name for name in known if name == "loss" or name.endswith("_loss")]
        rest = [name for name in known if name not in losses]
        rate = any(len(set(_points(run, "learning_rate")[1])) > 1 for run in runs.values())
        chosen = losses + rest + (["learning_rate"] if rate else [])
        if not chosen:
            raise ValueError("history: no epoch logged a loss or a metric, so there are no curves")
        return chosen
    known += [name for name in _OWN_AXES if any(_points(run, name)[0] for run in runs.values())]
    wanted = [names] if isinstance(names, str) else list(names)
    if not wanted:
        raise ValueError("names=[]: must hold a name at least; leave it out to draw all")
    chosen = []
    for name in wanted:
        # The validation is on the Axes of its metric, so its name asks for the same Axes.
        stem = name.removeprefix("val_") if isinstance(name, str) else name
        if stem not in known:
            raise ValueError(f"names: {name!r} was not logged; {did_you_mean(name, known)}")
        chosen.append(stem)
    return list(dict.fromkeys(chosen))


def _points(run: History, name: str) -> tuple[list[int], list[float]]:
    """The epochs that logged `name` and its values: a log may be missing from some epochs."""
    pairs = [(int(record["epoch"]), record[name]) for record in run.records if name in record]
    if name == "learning_rate":  # its NaN says "not known", not "diverged"
        pairs = [(epoch, value) for epoch, value in pairs if not math.isnan(value)]
    return [epoch for epoch, _ in pairs], [value for _, value in pairs]


def _draw_run(
    ax: Axes, run: History, name: str, label: str, styles: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Draw the training curve and the validation curve; returns notes on what is not finite."""
    notes: dict[str, str] = {}
    curves = {name: "training", f"val_{name}": "validation"}
    if name in _OWN_AXES:
        curves = {name: ""}
    for (log, part), style in zip(curves.items(), styles, strict=False):
        epochs, values = _points(run, log)
        if not epochs:
            continue
        shown = np.where(np.isfinite(values), values, np.nan)
        finite = np.isfinite(shown)
        # A point between two gaps has no line to be seen by.
        beside = np.append(finite[1:], False) | np.append(False, finite[:-1])
        marked = np.flatnonzero(finite if len(values) <= 30 else finite & ~beside)
        full = ", ".join(word for word in (label, part) if word)
        ax.plot(
            epochs,
            shown,
            marker="o",
            markersize=3.5,
            markevery=marked.tolist(),
            label=full,
            **style,
        )
        note = _note_on_gaps(epochs, values)
        if note:
            notes[part] = note
            before = np.flatnonzero(finite & ~np.append(finite[1:], True))
            ax.scatter(
                np.array(epochs)[before], shown[before], marker="X", s=60, color=WRONG, zorder=3
            )
    if len(set(notes.values())) == 1 and len(notes) == sum(log in run for log in curves):
        notes = {"": next(iter(notes.values()))}
    prefixes = {part: ", ".join(w for w in (label, part) if w) for part in notes}
    return [f"{prefixes[p]}: {note}" if prefixes[p] else note for p, note in notes.items()]


def _note_on_gaps(epochs: Sequence[int], values: Sequence[float]) -> str | None:
    gaps = [not math.isfinite(value) for value in values]
    where = [epoch for epoch, gap in zip(epochs, gaps, strict=True) if gap]
    if not where:
        return None
    kinds = [math.isnan(value) for value, gap in zip(values, gaps, strict=True) if gap]
    word = "NaN" if all(kinds) else "NaN or infinite" if any(kinds) else "infinite"
    if all(gaps[gaps.index(True) :]):
        return f"{word} from epoch {where[0]}"
    listed = ", ".join(map(str, where[:5])) + (", ..." if len(where) > 5 else "")
    return f"{word} in epoch{'s' if len(where) > 1 else ''} {listed}"


def _finish_curves(ax: Axes, name: str, notes: Sequence[str]) -> None:
    from matplotlib.ticker import MaxNLocator

    lines = [shortened(note, 60) for note in notes[:4]]
    if len(notes) > 4:
        lines[3:] = [f"and {len(notes) - 3} more"]
    ax.set_title(as_label(name), pad=6 + 11 * len(lines))
    if lines:
        above: dict[str, Any] = {"transform": ax.transAxes, "ha": "center", "va": "bottom"}
        ax.text(0.5, 1.01, "\n".join(lines), fontsize=8, color=WRONG, **above)
    epochs = np.concatenate([np.asarray(line.get_xdata()) for line in ax.lines])
    values = np.concatenate([np.asarray(line.get_ydata()) for line in ax.lines])
    values = values[np.isfinite(values)]
    # The epochs that ended in NaN have their place on the axis too; an epoch 0 has none.
    margin = min(max(0.04 * (epochs.max() - epochs.min()), 0.3), 0.9)
    ax.set_xlim(epochs.min() - margin, epochs.max() + margin)
    ax.xaxis.set_major_locator(
        MaxNLocator(nbins=10, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    )
    ax.set_xlabel("epoch")
    span = 10 if name == "learning_rate" else 1000
    wide = len(values) and values.min() > 0 and values.max() / values.min() >= span
    # A score of 0.001 is simply bad; a loss of 1000 hides everything that follows it.
    if wide and known_mode(name) != "max":
        ax.set_yscale("log")
        ax.set_ylabel("logarithmic scale")
    if name == "seconds" and len(values):
        ax.set_ylim(0, 1.1 * max(values.max(), 1e-3))
    ax.grid(True, alpha=0.3)
