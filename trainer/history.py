"""The training history: one dict of logged numbers per epoch, its file formats, and its curves.

Responsible for recording the logs of each epoch, in order and exactly (NaN and infinity included),
for converting them to a table, CSV and JSON, and for plotting the learning curves of one or
several runs. Not for computing the logs (`engine.loop`), for atomic writes (`files`), for the
folder of a run (`runs`) or for other plots (`plots`). Nothing here calls show().
"""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from trainer.utils import forms
from trainer.utils.checks import did_you_mean, integer, one_of
from trainer.utils.drawings import as_text, picture
from trainer.utils.figures import (
    COLOURS,
    WRONG,
    as_label,
    distinct_colours,
    new_figure,
    shortened,
    width_of,
)
from trainer.utils.files import read_whole, write_whole
from trainer.utils.fonts import legible
from trainer.utils.text import from_csv, printable, to_csv

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_TRAINING, _VALIDATION = COLOURS[:2]
_OWN_AXES = ("learning_rate", "seconds")

# The entries of every record besides its logs.
_FIXED = ("epoch", "learning_rate", "seconds")

# Strict JSON cannot represent these values, so they are written as strings.
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

# Suffixes, because Keras puts the output's name in front ("val_price_mae"). Counts of true and
# false positives are left out: whether more is better depends on the other counts.
_ENDINGS: dict[Literal["min", "max"], str] = {
    "min": "loss|error|mse|mae|mape|msle|rmse|logcosh|crossentropy|hinge|kl_divergence|poisson",
    "max": "accuracy|acc|auc|precision|recall|precision_at_recall|recall_at_precision|"
    "sensitivity_at_specificity|specificity_at_sensitivity|f1_score|fbeta_score|r2_score|r2|"
    "io_u|iou|cosine_similarity|pearson_correlation|concordance_correlation",
}


def known_mode(name: str) -> Literal["min", "max"] | None:
    """Return whether lower ("min") or higher ("max") is better for a log; None if unknown.

    The name may have the prefixes and suffixes that Keras adds: "val_", an output name, a number.

    >>> known_mode("val_price_mae"), known_mode("auc_1"), known_mode("seconds")
    ('min', 'max', None)
    """
    for mode, endings in _ENDINGS.items():
        if re.search(rf"(^|_)({endings})(_\d+)?$", name):
            return mode
    return None


class History:
    """The logs of each epoch of a training.

    `records` has one dict per epoch: "epoch" (int, counted from 1), every log by name (float),
    "learning_rate" (float; NaN if unknown) and "seconds" (float). `len(history)` is the number of
    epochs, `history["loss"]` a list with one value per epoch, and `"loss" in history` says
    whether it was logged. Histories are equal if all their records are equal, including seconds;
    NaN equals NaN.

    >>> history = History()
    >>> history.append(1, {"loss": 0.9, "val_loss": 1.0}, learning_rate=0.01, seconds=2.5)
    >>> history.append(2, {"loss": 0.5, "val_loss": 0.7}, learning_rate=0.01, seconds=2.4)
    >>> history["loss"]
    [0.9, 0.5]
    >>> history.best("val_loss")
    (2, 0.7)
    """

    # Otherwise Python would iterate over history[0], history[1], which are not names of logs.
    __iter__ = None

    def __init__(self) -> None:
        self.records: list[dict[str, float]] = []
        self.rate_logged = False

    def append(
        self,
        epoch: int,
        logs: Mapping[str, float],
        *,
        learning_rate: float | None,
        seconds: float,
    ) -> None:
        """Add one epoch.

        Args:
            epoch: Its number, counted from 1 and higher than the last one recorded.
            logs: The value of every log, each a single number (NaN and infinity are allowed). A
                "learning_rate" among them, from a Keras callback, is used if the argument
                `learning_rate` is None.
            learning_rate: The learning rate of the epoch; None if unknown.
            seconds: The duration of the epoch.

        Raises:
            ValueError, TypeError: An argument is not valid. The history stays unchanged.
        """
        last = int(self.records[-1]["epoch"]) if self.records else 0
        number = integer("epoch", epoch, low=1)
        if number <= last:
            raise ValueError(
                f"epoch={epoch!r}: epochs up to {last} are already recorded; write epoch={last + 1}"
            )
        values: dict[str, float] = {}
        rate = math.nan
        for name, value in logs.items():
            if not isinstance(name, str):
                raise TypeError(f"logs: the name {name!r} must be a str")
            if name == "learning_rate":
                rate = _number("logs['learning_rate']", value)
                self.rate_logged = True
            elif name in _FIXED:
                raise ValueError(
                    f"logs={{{name!r}: ...}}: this name is reserved; give the log another name"
                )
            else:
                values[name] = _number(f"logs[{name!r}]", value)
        if learning_rate is not None:
            rate = _number("learning_rate", learning_rate)
        record = {"epoch": number, **values, "learning_rate": rate}
        record["seconds"] = _number("seconds", seconds)
        self.records.append(record)

    @property
    def history(self) -> dict[str, list[float]]:
        """The logs by name, as in the History of keras.Model.fit: only values that were logged.

        With "learning_rate" where a callback of Keras has logged it.
        """
        names = [*self.metrics, *(["learning_rate"] if self.rate_logged else [])]
        return {name: [record[name] for record in self.records if name in record] for name in names}

    def copy(self) -> History:
        """Return a history with the same records, to which epochs can be added."""
        made = History()
        made.take(self)
        return made

    def take(self, other: History) -> None:
        """Replace all epochs by those of another history."""
        self.records[:] = [dict(record) for record in other.records]
        self.rate_logged = other.rate_logged

    @property
    def metrics(self) -> list[str]:
        """The names of the logs in order of first appearance, without learning_rate and seconds."""
        names = dict.fromkeys(name for record in self.records for name in record)
        return [name for name in names if name not in _FIXED]

    @property
    def frame(self) -> pd.DataFrame:
        """A DataFrame indexed by "epoch", with a column per log, learning_rate and seconds.

        Values that were not logged in an epoch are NaN. Each access makes a new DataFrame.
        """
        import pandas as pd

        columns = [*self.metrics, "learning_rate", "seconds"]
        index = pd.Index(self["epoch"], name="epoch", dtype="int64")
        return pd.DataFrame({name: self[name] for name in columns}, index=index, dtype="float64")

    def best(self, name: str, mode: Literal["min", "max"] | None = None) -> tuple[int, float]:
        """Return the epoch with the best value of a log, and that value; the first if tied.

        Args:
            name: The name of the log.
            mode: "min" if lower is better, "max" if higher; None to infer it from the name, which
                works for all losses and metrics of Keras that have a direction.

        Raises:
            KeyError: The name was never logged.
            ValueError: The direction is unknown, or no epoch has a finite value.
        """
        values = self[name]
        if mode is None:
            mode = known_mode(name)
            if mode is None:
                raise ValueError(
                    f"name={name!r}: it is unknown whether lower or higher is better; "
                    'write mode="min" or mode="max"'
                )
        one_of("mode", mode, ("min", "max"))
        finite = [(e, v) for e, v in zip(self["epoch"], values, strict=True) if math.isfinite(v)]
        if not finite:
            raise ValueError(f"name={name!r}: no epoch has a finite value, so none is best")
        # min and max both return the first of equal values.
        choose = min if mode == "min" else max
        epoch, value = choose(finite, key=lambda pair: pair[1])
        return int(epoch), value

    def plot(self, names: str | Sequence[str] | None = None) -> NDArray[Any]:
        """Plot the learning curves: `trainer.plots.plot_history(self, names)`. Returns Axes."""
        return plot_history(self, names)

    def to_dict(self) -> dict[str, Any]:
        """Return the history as dicts, lists, numbers and strings for strict JSON.

        NaN and infinities become the strings "NaN", "Infinity" and "-Infinity". "rate_logged" is
        there, and true, if a callback of Keras has logged the learning rate: see `history`.
        """
        records = [{k: _encode(v) for k, v in each.items()} for each in self.records]
        return {"records": records, **({"rate_logged": True} if self.rate_logged else {})}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> History:
        """Restore a history from `to_dict`.

        Raises:
            ValueError: The data are not a history.
        """
        records = data.get("records") if isinstance(data, Mapping) else None
        if not isinstance(records, list):
            raise ValueError(
                "data: is not a history; it must be the result of History.to_dict, "
                "a dict with a list of 'records'"
            )
        history = cls()
        for position, record in enumerate(records):
            try:
                values = {name: _NOT_FINITE.get(v, v) for name, v in record.items()}
                fixed = {name: values.pop(name) for name in _FIXED}
                history.append(fixed.pop("epoch"), values, **fixed)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f"data['records'][{position}]: is not the record of an epoch ({error!r}); "
                    "it must be as returned by History.to_dict"
                ) from error
        history.rate_logged = data.get("rate_logged") is True
        return history

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a header and one line per epoch, with the columns of `frame` after "epoch".

        Values that were not logged are empty cells; NaN is "nan", infinity "inf". A name that a
        spreadsheet would run as a formula is prefixed with an apostrophe, and control characters
        are escaped; `from_csv` restores the original names. The file is written atomically: if
        writing fails (OSError), an existing file stays unchanged.
        """
        _check_path(path)
        columns = ["epoch", *self.metrics, "learning_rate", "seconds"]
        rows = [[record.get(name) for name in columns] for record in self.records]
        write_whole(path, to_csv(columns, rows).encode())

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str]) -> History:
        """Read a file written by `to_csv`.

        Raises:
            OSError: The file is missing or cannot be read.
            ValueError: The file is not a history, or is incomplete.
        """
        _check_path(path)
        content = read_whole(path)
        try:
            columns, rows = from_csv(content.decode())
            if columns[:1] != ["epoch"] or columns[-2:] != ["learning_rate", "seconds"]:
                raise ValueError("its columns must be epoch, the logs, learning_rate and seconds")
            history = cls()
            for row in rows:
                found = dict(zip(columns, row, strict=True))
                values = {name: float(cell) for name, cell in found.items() if cell != ""}
                _, rate, seconds = (values.pop(name) for name in _FIXED)
                history.append(int(found["epoch"]), values, learning_rate=rate, seconds=seconds)
        except (ValueError, KeyError, csv.Error) as error:
            raise ValueError(
                f"path={os.fspath(path)!r}: is not a history written by to_csv, "
                f"or is incomplete ({error})"
            ) from error
        return history

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write `to_dict` as strict JSON, atomically, as `to_csv` does."""
        _check_path(path)
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"
        write_whole(path, text.encode())

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> History:
        """Read a file written by `to_json`.

        Raises:
            OSError: The file is missing or cannot be read.
            ValueError: The file is not a history, or is incomplete.
        """
        _check_path(path)
        content = read_whole(path)
        try:
            return cls.from_dict(forms.parse(content))
        except ValueError as error:
            raise ValueError(
                f"path={os.fspath(path)!r}: is not a history written by to_json, "
                f"or is incomplete ({error})"
            ) from error

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the curves, and the last epoch."""
        if not len(self):
            return as_text("History of 0 epochs")
        last = "  ".join(f"{name} {value:.4g}" for name, value in self.records[-1].items())
        says = f"Learning curves of {len(self)} epochs."
        return picture("Learning curves", says, self.plot).as_html() + as_text(last)

    def __len__(self) -> int:
        return len(self.records)

    def __contains__(self, name: object) -> bool:
        return any(name in record for record in self.records)

    def __getitem__(self, name: str) -> list[float]:
        """Return one value per epoch, NaN if the epoch did not log it."""
        if name not in self and name not in _FIXED:
            if isinstance(name, int):
                raise KeyError(f"{name}: must be a log's name; write history.records[{name}]")
            raise KeyError(
                f"{name!r} was not logged; {did_you_mean(name, [*self.metrics, *_FIXED])}"
            )
        return [record.get(name, math.nan) for record in self.records]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, History):
            return NotImplemented
        # Do not compare the records themselves: NaN is not equal to NaN.
        return self.to_dict() == other.to_dict()

    def __repr__(self) -> str:
        epochs = f"{len(self)} epoch{'' if len(self) == 1 else 's'}"
        if not self.records:
            return f"History({epochs})"
        last = [f"{printable(k)}={v:.4g}" for k, v in self.records[-1].items() if k not in _FIXED]
        shown = last[:6] + (["..."] if len(last) > 6 else [])
        return f"History({epochs}; last: {', '.join(shown) or 'no logs'})"


def _check_path(path: Any) -> None:
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise TypeError(f"path={path!r:.80}: must be the name of a file, such as 'history.csv'")


def _number(name: str, value: Any) -> float:
    """Return `value` as a float if it is a single Python or NumPy number, or a tensor of one."""
    array = np.asarray(value)
    if array.size != 1:
        raise TypeError(
            f"{name}: contains {array.size} values; a log must be a single number, such as their "
            "mean (for a metric with a value per class, write average='macro')"
        )
    # float() would accept text and dates, and drop the imaginary part of complex numbers.
    if array.dtype.kind not in "SUcmM":
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            return float(array.reshape(-1)[0])
    raise TypeError(f"{name}={value!r}: must be a number")


def _encode(value: float) -> float | str:
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


# ---- learning curves ----------------------------------------------------------------------------


@legible
def plot_history(
    history: History | Mapping[str, History], names: str | Sequence[str] | None = None
) -> NDArray[Any]:
    """Plot learning curves, with training and validation of each metric in one Axes.

    Args:
        history: One History, or {label: history} to compare several in the same Axes.
        names: The metrics to plot, by the name of the training log, in this order; may include
            "learning_rate" and "seconds". None: the losses, the other metrics, and the learning
            rate if it varies within a run.

    Returns:
        The Axes, an object array of shape (number of names,). An axis is logarithmic if its
        values span at least three powers of ten (the learning rate: one). Curves have gaps at
        NaN and infinity, and a note above the Axes names the epochs.

    Raises:
        TypeError: `history` is of another type.
        ValueError: There are no epochs, or a name was not logged.

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
    # In inches: the width per letter of the legend, and that of a line and its gap.
    entry = 0.08 * max(width_of(str(label)) for label in [*runs, "validation"]) + 0.6
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
        raise ValueError('history={}: has no histories; write {"label": history, ...}')
    for label, run in runs.items():
        argument = f"history[{label!r}]" if several else "history"
        if not isinstance(run, History):
            raise TypeError(
                f"{argument} is of type {type(run).__name__}: must be a History, such as "
                "trainer.history_, or a mapping {label: History}"
            )
        if not len(run):
            raise ValueError(f"{argument} has no epochs: call fit before plotting its curves")


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
    if not isinstance(names, Iterable):
        raise TypeError(
            f"names={names!r:.80}: must be the name of a log, or a list of names; write "
            f"names={known[:1]!r}, for example"
        )
    wanted = [names] if isinstance(names, str) else list(names)
    if not wanted:
        raise ValueError("names=[]: must contain at least one name; leave it out to plot all")
    chosen = []
    for name in wanted:
        # Validation is in the Axes of its metric, so both names select the same Axes.
        stem = name.removeprefix("val_") if isinstance(name, str) else name
        if stem not in known:
            raise ValueError(f"names: {name!r} was not logged; {did_you_mean(name, known)}")
        chosen.append(stem)
    return list(dict.fromkeys(chosen))


def _points(run: History, name: str) -> tuple[list[int], list[float]]:
    """Return the epochs that logged `name`, and its values; some epochs may lack it."""
    pairs = [(int(record["epoch"]), record[name]) for record in run.records if name in record]
    if name == "learning_rate":  # NaN means unknown, not diverged
        pairs = [(epoch, value) for epoch, value in pairs if not math.isnan(value)]
    return [epoch for epoch, _ in pairs], [value for _, value in pairs]


def _draw_run(
    ax: Axes, run: History, name: str, label: str, styles: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Plot the training and the validation curve; returns notes on values that are not finite."""
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
        # A point between two gaps has no line, so it needs a marker.
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
    # The axis also covers epochs with NaN, but not epoch 0.
    margin = min(max(0.04 * (epochs.max() - epochs.min()), 0.3), 0.9)
    ax.set_xlim(epochs.min() - margin, epochs.max() + margin)
    ax.xaxis.set_major_locator(
        MaxNLocator(nbins=10, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    )
    ax.set_xlabel("epoch")
    span = 10 if name == "learning_rate" else 1000
    wide = len(values) and values.min() > 0 and values.max() / values.min() >= span
    # A loss of 1000 would hide all later ones; a score of 0.001 is just bad.
    if wide and known_mode(name) != "max":
        ax.set_yscale("log")
        ax.set_ylabel("logarithmic scale")
    if name == "seconds" and len(values):
        ax.set_ylim(0, 1.1 * max(values.max(), 1e-3))
    ax.grid(True, alpha=0.3)
