"""The record of a training: one dict of numbers an epoch, and its forms as table, CSV and JSON.

Responsible for keeping what each epoch logged, in order and exactly (NaN and infinity included),
and for its forms on disk. Not responsible for computing anything that is logged (engine/loop.py),
for writing a file whole (files.py), for where a run keeps its files (runs.py) or for drawing
(curves.py).
"""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from trainer import forms
from trainer.checks import did_you_mean, integer, one_of
from trainer.files import read_whole, write_whole
from trainer.text import from_csv, printable, to_csv

if TYPE_CHECKING:
    import pandas as pd

# What every record holds beside its logs.
_OWN = ("epoch", "learning_rate", "seconds")

# Strict JSON has no word for these three, so they are written as strings.
_WRITTEN = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

# Endings, because Keras puts the output's name in front ("val_price_mae"). The counts of true and
# false positives are left out: whether more is better depends on the other counts.
_ENDINGS: dict[Literal["min", "max"], str] = {
    "min": "loss|error|mse|mae|mape|msle|rmse|logcosh|crossentropy|hinge|kl_divergence|poisson",
    "max": "accuracy|acc|auc|precision|recall|precision_at_recall|recall_at_precision|"
    "sensitivity_at_specificity|specificity_at_sensitivity|f1_score|fbeta_score|r2_score|r2|"
    "io_u|iou|cosine_similarity|pearson_correlation|concordance_correlation",
}


def known_mode(name: str) -> Literal["min", "max"] | None:
    """Whether lower ("min") or higher ("max") is better for a log of this name; None: unknown.

    The name may carry Keras's additions: "val_" and an output's name before it, a count after it.

    >>> known_mode("val_price_mae"), known_mode("auc_1"), known_mode("seconds")
    ('min', 'max', None)
    """
    for mode, endings in _ENDINGS.items():
        if re.search(rf"(^|_)({endings})(_\d+)?$", name):
            return mode
    return None


class History:
    """What each epoch of a training logged.

    `records` holds one dict an epoch: "epoch" (int, counted from 1), every log under its name
    (float), "learning_rate" (float; NaN where it is not known) and "seconds" (float).
    `len(history)` is the number of epochs, `history["loss"]` one log over the epochs, and
    `"loss" in history` tells whether it was logged. Two histories are equal when all their
    records are, the seconds included; NaN equals NaN.

    >>> history = History()
    >>> history.append(1, {"loss": 0.9, "val_loss": 1.0}, learning_rate=0.01, seconds=2.5)
    >>> history.append(2, {"loss": 0.5, "val_loss": 0.7}, learning_rate=0.01, seconds=2.4)
    >>> history["loss"]
    [0.9, 0.5]
    >>> history.best("val_loss")
    (2, 0.7)
    """

    # Python would otherwise iterate by history[0], history[1], which are not names of logs.
    __iter__ = None

    def __init__(self) -> None:
        self.records: list[dict[str, float]] = []

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
            epoch: its number, counted from 1 and higher than the last one recorded.
            logs: every log's value, each a single number (NaN and infinity are numbers). Where a
                Keras callback has put "learning_rate" into the logs, it counts if the argument
                of that name is None.
            learning_rate: the rate at which the epoch was trained; None if it is not known.
            seconds: how long the epoch took.

        Raises:
            ValueError, TypeError: for anything else. The history is then as it was.
        """
        last = int(self.records[-1]["epoch"]) if self.records else 0
        number = integer("epoch", epoch, low=1)
        if number <= last:
            raise ValueError(
                f"epoch={epoch!r}: epochs up to {last} are recorded already; write epoch={last + 1}"
            )
        values: dict[str, float] = {}
        rate = math.nan
        for name, value in logs.items():
            if not isinstance(name, str):
                raise TypeError(f"logs: the name {name!r} must be a str")
            if name == "learning_rate":
                rate = _number("logs['learning_rate']", value)
            elif name in _OWN:
                raise ValueError(
                    f"logs={{{name!r}: ...}}: this name is the history's own; give the log another"
                )
            else:
                values[name] = _number(f"logs[{name!r}]", value)
        if learning_rate is not None:
            rate = _number("learning_rate", learning_rate)
        record = {"epoch": number, **values, "learning_rate": rate}
        record["seconds"] = _number("seconds", seconds)
        self.records.append(record)

    @property
    def metrics(self) -> list[str]:
        """Names of the logs in order of first appearance, without learning_rate and seconds."""
        names = dict.fromkeys(name for record in self.records for name in record)
        return [name for name in names if name not in _OWN]

    @property
    def frame(self) -> pd.DataFrame:
        """A DataFrame of floats indexed by "epoch": one column a log, learning_rate and seconds.

        A log that an epoch lacks is NaN in that row. Each access makes a new DataFrame.
        """
        import pandas as pd

        columns = [*self.metrics, "learning_rate", "seconds"]
        index = pd.Index(self["epoch"], name="epoch", dtype="int64")
        return pd.DataFrame({name: self[name] for name in columns}, index=index, dtype="float64")

    def best(self, name: str, mode: Literal["min", "max"] | None = None) -> tuple[int, float]:
        """The epoch at which a log was best, and its value there; the first of equals.

        Args:
            name: the log's name.
            mode: "min" if lower is better, "max" if higher; None: known by the name, as for
                every loss and metric of Keras with one direction.

        Raises:
            KeyError: the name was never logged.
            ValueError: the direction is unknown, or no epoch has a finite value.
        """
        values = self[name]
        if mode is None:
            mode = known_mode(name)
            if mode is None:
                raise ValueError(
                    f"name={name!r}: whether lower or higher is better is not known by this name; "
                    'write mode="min" or mode="max"'
                )
        one_of("mode", mode, ("min", "max"))
        finite = [(e, v) for e, v in zip(self["epoch"], values, strict=True) if math.isfinite(v)]
        if not finite:
            raise ValueError(f"name={name!r}: no epoch has a finite value, so none is the best")
        # min and max both return the first of equals.
        choose = min if mode == "min" else max
        epoch, value = choose(finite, key=lambda pair: pair[1])
        return int(epoch), value

    def plot(self, names: str | Sequence[str] | None = None) -> NDArray[Any]:
        """Draw the learning curves: `trainer.plots.plot_history(self, names)`. Returns Axes."""
        from trainer.plots import plot_history

        return plot_history(self, names)

    def to_dict(self) -> dict[str, Any]:
        """The history as dicts, lists, numbers and strings that strict JSON can hold.

        NaN and the infinities become the strings "NaN", "Infinity" and "-Infinity".
        """
        return {"records": [{k: _encode(v) for k, v in each.items()} for each in self.records]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> History:
        """The history that `to_dict` gave. Raises ValueError for anything else."""
        records = data.get("records") if isinstance(data, Mapping) else None
        if not isinstance(records, list):
            raise ValueError(
                "data: is not a history; it must be what History.to_dict gave, "
                "a dict whose 'records' is a list"
            )
        history = cls()
        for position, record in enumerate(records):
            try:
                values = {name: _WRITTEN.get(v, v) for name, v in record.items()}
                own = {name: values.pop(name) for name in _OWN}
                history.append(own.pop("epoch"), values, **own)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f"data['records'][{position}]: is not the record of an epoch ({error!r}); "
                    "it must be as History.to_dict gave it"
                ) from error
        return history

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a header and one line an epoch, with the columns of `frame` after "epoch".

        A log that an epoch lacks is an empty cell; not-a-number is "nan", infinity "inf". A name
        that a spreadsheet would run as a formula has an apostrophe before it, and control
        characters are written as escapes; `from_csv` reads the names back as they were. The file
        appears whole or not at all: if writing fails (OSError), an older one stays as it is.
        """
        columns = ["epoch", *self.metrics, "learning_rate", "seconds"]
        rows = [[record.get(name) for name in columns] for record in self.records]
        write_whole(path, to_csv(columns, rows).encode())

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str]) -> History:
        """Read what `to_csv` wrote.

        Raises:
            OSError: the file is missing or cannot be read.
            ValueError: it is not the table of a history, or only a part of one.
        """
        content = read_whole(path)
        try:
            columns, rows = from_csv(content.decode())
            if columns[:1] != ["epoch"] or columns[-2:] != ["learning_rate", "seconds"]:
                raise ValueError("its columns must be epoch, the logs, learning_rate and seconds")
            history = cls()
            for row in rows:
                found = dict(zip(columns, row, strict=True))
                values = {name: float(cell) for name, cell in found.items() if cell != ""}
                _, rate, seconds = (values.pop(name) for name in _OWN)
                history.append(int(found["epoch"]), values, learning_rate=rate, seconds=seconds)
        except (ValueError, KeyError, csv.Error) as error:
            raise ValueError(
                f"path={os.fspath(path)!r}: is not a history that to_csv wrote, "
                f"or is not whole ({error})"
            ) from error
        return history

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write `to_dict` as strict JSON, whole or not at all, as `to_csv` does."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"
        write_whole(path, text.encode())

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> History:
        """Read what `to_json` wrote.

        Raises:
            OSError: the file is missing or cannot be read.
            ValueError: it is not the JSON of a history, or only a part of one.
        """
        content = read_whole(path)
        try:
            return cls.from_dict(forms.parse(content))
        except ValueError as error:
            raise ValueError(
                f"path={os.fspath(path)!r}: is not a history that to_json wrote, "
                f"or is not whole ({error})"
            ) from error

    def __len__(self) -> int:
        return len(self.records)

    def __contains__(self, name: object) -> bool:
        return any(name in record for record in self.records)

    def __getitem__(self, name: str) -> list[float]:
        """One value an epoch, NaN where the epoch lacks this log."""
        if name not in self and name not in _OWN:
            if isinstance(name, int):
                raise KeyError(f"{name}: must be a log's name; write history.records[{name}]")
            raise KeyError(f"{name!r} was not logged; {did_you_mean(name, [*self.metrics, *_OWN])}")
        return [record.get(name, math.nan) for record in self.records]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, History):
            return NotImplemented
        # Not the records themselves: there, NaN differs from NaN.
        return self.to_dict() == other.to_dict()

    def __repr__(self) -> str:
        epochs = f"{len(self)} epoch{'' if len(self) == 1 else 's'}"
        if not self.records:
            return f"History({epochs})"
        last = [f"{printable(k)}={v:.4g}" for k, v in self.records[-1].items() if k not in _OWN]
        shown = last[:6] + (["..."] if len(last) > 6 else [])
        return f"History({epochs}; last: {', '.join(shown) or 'no logs'})"


def _number(name: str, value: Any) -> float:
    """`value` as a float, if it is one number: of Python, NumPy, or a tensor of one element."""
    array = np.asarray(value)
    if array.size != 1:
        raise TypeError(
            f"{name}: holds {array.size} values; a log must be one number, such as their mean "
            "(a metric with a value for each class takes average='macro')"
        )
    # float() would take these for numbers, or drop a part of them.
    if array.dtype.kind not in "SUcmM":
        with contextlib.suppress(TypeError, ValueError):
            return float(array.reshape(-1)[0])
    raise TypeError(f"{name}={value!r}: must be a number")


def _encode(value: float) -> float | str:
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
