"""`windows`: a time series as rows of a past and the steps that follow it.

Responsible for finding the regular steps of a series, for filling missing ones if asked, and for
windows and splits in which nothing comes from the future. Not for files (`loading`), and not for
scaling: the values stay as they are.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from trainer.data import arrays, dates
from trainer.data.columns import plain
from trainer.datasets.dataset import Dataset, Split
from trainer.utils.checks import did_you_mean, integer, one_of, warn

# A grid of steps with more missing than this many for each one that is there is no grid.
MAX_MISSING = 10
# The square of a value, which a variance has, is to be a number in float32; so is its inverse.
LARGEST = 1e18
ROUNDING = 1e-6  # of a step: by so little a time may be off it
SHARES = (0.6, 0.8)  # where validation and test begin, as shares of the windows in order of time


class Parts(NamedTuple):
    """One array for each split of `Windows`, with an entry per window."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class Windows(Dataset):
    """The windows of a series in three splits, each in the order of time: see `windows`.

    Attributes:
        columns: The names of the f columns of x [n, past, f].
        targets: The names of the k columns of y: [n, horizon], or [n, horizon, k] for a list.
        times: For each split the times of y, [n, horizon]: datetime64, or the values of the time
            column, or the numbers of the rows if there are no times.
        groups: For each split the group of each window, [n]; None for a single series.
        latest: The last `past` steps of each series, [series, past, f], in the order in which the
            groups first occur, without series of fewer steps: what to predict the steps after the
            end from.
        step: The regular step, as text.
    """

    columns: list[str]
    targets: list[str]
    times: Parts
    groups: Parts | None
    latest: np.ndarray
    step: str

    def scores(self, predicted: Any, split: str = "test", season: int = 1) -> dict[str, float]:
        """Return the errors of forecasts, in the units of the series.

        Args:
            predicted: The forecasts of a split, in the shape of its y.
            split: "train", "valid" or "test".
            season: The steps of a season, for the naive forecast that MASE compares to: the value
                one season before. 1: the value before.

        Returns:
            "mae": the mean absolute error; "rmse": the root of the mean squared error; "mase": the
            mean absolute error divided by that of the naive forecast over the training windows,
            the mean over the target columns (Hyndman and Koehler 2006). Below 1 is better than the
            naive forecast of one step.

        Raises:
            ValueError: The shape is not that of y, or `past` is no longer than the season.
        """
        one_of("split", split, ("train", "valid", "test"))
        season = integer("season", season, low=1, example=12)
        truth = np.asarray(getattr(self, split).y)
        found = arrays.numeric(predicted, "predicted")
        if found.shape != truth.shape:
            raise ValueError(
                f"predicted has shape {found.shape}: must be {truth.shape}, as {split}.y; pass "
                f"predict({split}.x)"
            )
        if not np.isfinite(found).all():
            warn(
                "predicted: has NaN or infinity, so that the scores are not numbers; look at the "
                "training with diagnose()"
            )
        x = np.asarray(self.train.x)
        if x.shape[1] <= season:
            raise ValueError(
                f"season={season}: the windows hold past={x.shape[1]} steps, and a naive error "
                f"needs more than a season; write past={season + 1} or more in windows"
            )
        columns = [self.columns.index(name) for name in self.targets]
        naive = np.abs(x[:, season:, columns] - x[:, :-season, columns]).mean(axis=(0, 1))
        error = np.abs(found - truth).reshape(*truth.shape[:2], -1)
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = error.mean(axis=(0, 1)) / naive
        return {
            "mae": float(error.mean()),
            "rmse": float(np.sqrt(np.mean((found - truth) ** 2))),
            "mase": float(scaled.mean()),
        }


def windows(
    series: Any,
    *,
    past: int,
    horizon: int = 1,
    stride: int = 1,
    target: Any = None,
    time: Any = None,
    group: Any = None,
    step: Any = None,
    fill: str | None = None,
) -> Windows:
    """Cut a series into windows, split by time: 60% to train on, 20% and 20% for the two others.

    A window is `past` steps of all columns (x) and the `horizon` steps of the target after them
    (y). Its time is that of y. Every y of the validation split is later than every x and y of the
    training split, and likewise for the test split; windows whose y would lie on both sides of a
    border are left out. The x of a validation window may reach back into the training time: at
    the time of the forecast that is known.

    Steps must be regular: equal distances, or calendar months, quarters, years or working days.
    Missing steps, missing values and times between steps are an error, or with `fill` are
    filled. A filled value in x is only of steps up to the end of x, one in y of steps up to the
    end of y: where the next known value is later, "interpolate" takes the previous one.

    Args:
        series: An array [steps] or [steps, columns] of regular steps in order, or a Series or
            DataFrame of numbers with times: a DatetimeIndex or PeriodIndex, or a column of times.
            Its rows may be in any order.
        past: The number of steps of x.
        horizon: The number of steps of y.
        stride: The distance in steps from one window to the next.
        target: The column of y by name (DataFrame) or position (array), or a list of them. None:
            the only column, or all.
        time: The column of times (numbers, dates or text) of a DataFrame. None: its index if that
            has times, or its only column of dates; otherwise the order of the rows. Text is read
            as dates in tables are; where day and month could be either way round, in the order in
            which the steps are regular, or else with a warning with the month first. Times of
            several zones become UTC, or stay on their clock if they are days or months.
        group: The column of a DataFrame that says which series a row belongs to. No window spans
            two series; the splits have the same borders in time for all.
        step: The step, such as "1h", "D", "MS" or a number, where it cannot be found: for times
            that are irregular. None: found from the times.
        fill: None: missing steps are an error; "previous": the last known value; "interpolate":
            on the line between the known values on both sides.

    Returns:
        A Dataset with x [n, past, f] and y [n, horizon] or [n, horizon, k].

    Raises:
        TypeError, ValueError: An argument is not usable, a step is missing, irregular or there
            twice, or a value is beyond 1e18 in size; the message names it.

    >>> parts = windows(np.arange(100.0), past=8, horizon=2)
    >>> parts.train.x.shape, parts.train.y.shape
    ((53, 8, 1), (53, 2))
    >>> parts.train.x[0, -1], parts.train.y[0]
    (array([7.]), array([8., 9.]))
    """
    past = integer("past", past, low=1, example=24)
    horizon = integer("horizon", horizon, low=1, example=12)
    stride = integer("stride", stride, low=1, example=1)
    one_of("fill", fill, (None, "previous", "interpolate"))
    table = _Table.of(series, time, group)
    chosen, single = _targets(table.columns, target)
    found = _Steps.of(table, step, irregular=fill is not None)
    parts = [_filled(table, found, rows, fill) for rows in table.each()]
    cuts = [_cut(part, past, horizon, stride, chosen, fill) for part in parts]
    n = sum(len(cut.x) for cut in cuts)
    longest = max(len(part.values) for part in parts)
    if n == 0:
        raise _too_few(longest, past, horizon, stride)
    first = np.concatenate([cut.times[:, 0] for cut in cuts])
    last = np.concatenate([cut.times[:, -1] for cut in cuts])
    order = np.argsort(first, kind="stable")
    borders = [first[order[min(int(share * n), n - 1)]] for share in SHARES]
    member = [
        last < borders[0],
        (first >= borders[0]) & (last < borders[1]),
        first >= borders[1],
    ]
    if not all(part.any() for part in member):
        raise _too_few(longest, past, horizon, stride)
    rows = [order[part[order]] for part in member]
    x = np.concatenate([cut.x for cut in cuts])
    y = np.concatenate([cut.y for cut in cuts])
    times = np.concatenate([cut.times for cut in cuts])
    names = np.repeat(np.asarray([part.name for part in parts]), [len(cut.x) for cut in cuts])
    _warn_unless_sequence(past, x.shape[2])
    return Windows(
        name="windows",
        train=Split(x[rows[0]], y[rows[0]][..., 0] if single else y[rows[0]]),
        valid=Split(x[rows[1]], y[rows[1]][..., 0] if single else y[rows[1]]),
        test=Split(x[rows[2]], y[rows[2]][..., 0] if single else y[rows[2]]),
        class_names=None,
        task="regression",
        description=_described(table, parts, found.name, past, horizon, n - sum(map(len, rows))),
        source=type(series).__name__,
        columns=[str(name) for name in table.columns],
        targets=[str(table.columns[i]) for i in chosen],
        times=Parts(*(times[part] for part in rows)),
        groups=None if table.group is None else Parts(*(names[part] for part in rows)),
        latest=np.stack([part.held[-past:] for part in parts if len(part.held) >= past]),
        step=found.name,
    )


# ---- what was passed -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Table:
    """The numbers of a series, with the time and the group of each row.

    Attributes:
        values: [rows, columns], float32 or float64, NaN where missing.
        columns: The names or positions of the columns.
        times: The time of each row, datetime64 or numbers; None: the rows are the steps.
        group: The group of each row, or None.
    """

    values: np.ndarray
    columns: list[Any]
    times: Any
    group: np.ndarray | None

    @classmethod
    def of(cls, series: Any, time: Any, group: Any) -> _Table:
        import pandas as pd

        if not hasattr(series, "iloc") and hasattr(series, "to_pandas"):
            series = series.to_pandas()
        if isinstance(series, pd.Series):
            series = series.to_frame(series.name if series.name is not None else "value")
        if not isinstance(series, pd.DataFrame):
            return cls._of_array(series, time, group)
        twice = series.columns[series.columns.duplicated()]
        if len(twice):
            raise ValueError(
                f"series: has the column {twice[0]!r} twice; columns need different names"
            )
        for name, column in (("time", time), ("group", group)):
            if column is not None and column not in list(series.columns):
                raise ValueError(
                    f"{name}={column!r}: series has no such column; "
                    f"{_which(column, list(series.columns))}"
                )
        groups = None
        if group is not None:
            if series[group].isna().any():
                row = int(np.flatnonzero(series[group].isna())[0])
                raise ValueError(
                    f"group={group!r}: has no value in row {row}; drop such rows, or give them a "
                    "group"
                )
            groups = series[group].to_numpy()
        if not len(series):
            raise ValueError(
                f"series is empty: it has shape {series.shape}; pass at least one step"
            )
        times, time = _times(series, time, group)
        rest = series.drop(columns=[c for c in (time, group) if c is not None])
        if rest.shape[1] == 0:
            raise ValueError("series: has no column of values besides time and group")
        columns = {name: _numbers(rest[name], f"series[{name!r}]") for name in rest.columns}
        kind = np.result_type(*columns.values())
        values = np.column_stack([column.astype(kind) for column in columns.values()])
        table = cls(values, list(rest.columns), times, groups)
        table._check()
        return table

    @classmethod
    def _of_array(cls, series: Any, time: Any, group: Any) -> _Table:
        from trainer.data.arrays import check_is_data, numeric

        check_is_data(series, "series")
        for name, column in (("time", time), ("group", group)):
            if column is not None:
                raise ValueError(
                    f"{name}={column!r}: series is of type {type(series).__name__}, which has no "
                    "columns with names; pass a DataFrame"
                )
        array = numeric(series, "series")
        if array.ndim not in (1, 2):
            raise ValueError(
                f"series has shape {array.shape}: must be [steps] or [steps, columns]; pass one "
                "array per series, or a DataFrame with a group column"
            )
        array = array.reshape(len(array), -1)
        if array.dtype != np.float32:
            array = array.astype(np.float64)
        table = cls(array, list(range(array.shape[1])), None, None)
        table._check()
        return table

    def _check(self) -> None:
        if self.values.size == 0:
            raise ValueError(
                f"series is empty: it has shape {self.values.shape}; pass at least one step"
            )
        bad = np.argwhere(np.isinf(self.values))
        if len(bad):
            row, column = bad[0]
            raise ValueError(
                f"series[{self.columns[column]!r}]: is infinite at {self.at(row)}; drop the step, "
                "or set it to NaN and write fill='previous'"
            )
        size = np.abs(np.where(np.isnan(self.values), 0.0, self.values))
        bad = np.argwhere(size > LARGEST)
        if len(bad):
            row, column = bad[0]
            name, value = self.columns[column], self.values[row, column]
            power = int(np.floor(np.log10(float(size[:, column].max()))))
            raise ValueError(
                f"series[{name!r}]: is {value:g} at {self.at(row)}, and a network in float32 "
                f"takes values up to {LARGEST:g}; use other units: divide the column by "
                f"1e{power}, for example"
            )
        most = size.max(axis=0)
        small = np.flatnonzero((most > 0) & (most < 1 / LARGEST))
        if len(small):
            name, value = self.columns[small[0]], most[small[0]]
            raise ValueError(
                f"series[{name!r}]: has no value above {value:g} in size, and to a network in "
                f"float32 values below {1 / LARGEST:g} are all the same; use other units: divide "
                f"the column by 1e{int(np.floor(np.log10(value)))}, for example"
            )

    def at(self, row: int) -> str:
        """Return how errors name a row: by its time, or by its number."""
        place = f"step {row}" if self.times is None else f"the step {_shown(self.times[row])}"
        return place if self.group is None else f"{place} of group {self.group[row]!r}"

    def each(self) -> Iterator[np.ndarray]:
        """Return the rows of each series, in the order of time."""
        if self.group is None:
            rows: list[np.ndarray] = [np.arange(len(self.values))]
        else:
            names = dict.fromkeys(self.group.tolist())
            rows = [np.flatnonzero(self.group == name) for name in names]
        for part in rows:
            yield part if self.times is None else part[np.argsort(self.times[part], kind="stable")]


def _times(frame: Any, time: Any, group: Any) -> tuple[np.ndarray | None, Any]:
    """Return the time of each row, and the column that it is from (None: the index, or none)."""
    import pandas as pd

    if time is None:
        if isinstance(frame.index, pd.PeriodIndex):
            return _dates(frame.index.to_timestamp(), "series.index"), None
        if isinstance(frame.index, (pd.DatetimeIndex, pd.TimedeltaIndex)):
            return _dates(frame.index, "series.index"), None
        found = [c for c in frame.columns if pd.api.types.is_datetime64_any_dtype(frame[c])]
        if len(found) > 1:
            raise ValueError(
                f"time=None: series has several columns of dates, {found!r}; write "
                f"time={found[0]!r}, and drop the others"
            )
        if not found:
            return None, None
        time = found[0]
    return _of_column(frame[time], None if group is None else frame[group], time), time


def _of_column(column: Any, group: Any, time: Any) -> np.ndarray:
    """Return the times in a column of numbers, dates, durations or text."""
    import pandas as pd

    name = f"time={time!r}"
    missing = np.flatnonzero(column.isna())
    if len(missing):
        raise ValueError(f"{name}: has no time in row {missing[0]}; drop such rows")
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    column = plain(plain(column, f"series[{time!r}]").infer_objects(), f"series[{time!r}]")
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        numbers = column.to_numpy(np.float64)
        if not np.isfinite(numbers).all():
            row = int(np.flatnonzero(~np.isfinite(numbers))[0])
            raise ValueError(f"{name}: has no time in row {row}; drop such rows")
        whole = (numbers % 1 == 0).all() and (np.abs(numbers) < 2**53).all()
        return np.asarray(numbers.astype(np.int64) if whole else numbers)
    if pd.api.types.is_datetime64_any_dtype(column):
        return _dates(pd.DatetimeIndex(column), name)
    if pd.api.types.is_timedelta64_dtype(column):
        return _dates(pd.TimedeltaIndex(column), name)
    values = list(column)
    if all(isinstance(value, str) for value in values):
        return _of_text([str(value) for value in values], group, time)
    if all(isinstance(value, (datetime.date, np.datetime64)) for value in values):
        clock = pd.to_datetime(pd.Series([_without_zone(value) for value in values]))
        if not any(getattr(value, "tzinfo", None) is not None for value in values):
            return _dates(pd.DatetimeIndex(clock), name)
        moments = pd.to_datetime(pd.Series(values, dtype=object), utc=True)
        return _on_clock(pd.DatetimeIndex(clock), pd.DatetimeIndex(moments.dt.tz_localize(None)))
    if all(isinstance(value, datetime.time) for value in values):
        raise _no_day(values[0], time)
    held = " and ".join(sorted({type(value).__name__ for value in values}))
    raise ValueError(
        f"{name}: holds {held} objects, such as {values[0]!r} in row 0; times are numbers, dates "
        "or text: convert the column with pandas.to_datetime or pandas.to_numeric"
    )


def _without_zone(value: Any) -> Any:
    return value.replace(tzinfo=None) if isinstance(value, datetime.datetime) else value


def _no_day(value: Any, time: Any) -> ValueError:
    return ValueError(
        f"time={time!r}: holds times of the day, such as {value!r}, without a date; combine them "
        f"with one, as in pandas.to_datetime(date + ' ' + series[{time!r}].astype(str)), where "
        "date is text such as '2021-03-05', or a column of it"
    )


# Months and years, which tables do not take for dates: there they may be codes or numbers.
MONTHS = (
    "%Y-%m",
    "%Y/%m",
    "%Y年%m月",
    "%m/%Y",
    "%m.%Y",
    "%b %Y",
    "%B %Y",
    "%b-%Y",
    "%b-%y",
    "%Y",
)
_QUARTER = re.compile(r"\d{4}-?[qQ][1-4]")
_TIME_OF_DAY = re.compile(r"\d{1,2}:\d\d(:\d\d(\.\d+)?)?( ?[AaPp][Mm])?")
_OFFSET = re.compile(r"(?<=\d) ?(Z|[+-]\d\d(:?\d\d)?)$")  # of the time zone, after a time


def _of_text(texts: list[str], group: Any, time: Any) -> np.ndarray:
    """Return the times that text says, read by the rules of tables (`trainer.data.dates`)."""
    import pandas as pd

    codes, levels = pd.factorize(np.asarray(texts, dtype=object))
    values = [str(level).strip() for level in levels]
    if all(_TIME_OF_DAY.fullmatch(value) for value in values):
        raise _no_day(texts[0], time)
    moments = _months(values)
    if moments is not None:
        return np.asarray(moments[codes])
    formats, seconds = dates.formats_of(values, np.bincount(codes))
    swapped = [_SWAPPED.get(form, form) for form in formats]
    if swapped != formats:
        formats = _day_or_month(values, codes, group, time, formats, swapped)
        seconds = dates.parse(values, formats)
    if np.isnan(seconds).any():
        row = int(np.isnan(seconds)[codes].argmax())
        form = f" as {formats[0]!r}" if formats and formats[0] != dates.ISO else ""
        raise ValueError(
            f"time={time!r}: {texts[row]!r} in row {row} is not a date{form}; correct it, or "
            "convert the column with pandas.to_datetime(..., format=...), or, if its values are "
            "numbers, with pandas.to_numeric"
        )
    bare = [_OFFSET.sub("", value) if ":" in value else value for value in values]
    if bare == values:
        return np.asarray(_moments(seconds)[codes])
    clock = _moments(dates.parse(bare, formats))[codes]
    return _on_clock(pd.DatetimeIndex(clock), pd.DatetimeIndex(_moments(seconds)[codes]))


def _moments(seconds: np.ndarray) -> np.ndarray:
    return np.asarray(np.round(seconds * 1e6).astype("datetime64[us]"))


def _months(values: list[str]) -> np.ndarray | None:
    """Return the starts of the months, quarters or years that all values are, or None."""
    import pandas as pd

    if all(_QUARTER.fullmatch(value) for value in values):
        quarters = [f"{value[:4]}-{3 * int(value[-1]) - 2:02}" for value in values]
        return np.asarray(quarters, "datetime64[us]")
    for form in MONTHS:
        found = pd.to_datetime(pd.Series(values, dtype=object), format=form, errors="coerce")
        if found.notna().all():
            return np.asarray(found.to_numpy("datetime64[us]"))
    return None


_SWAPPED = dates.SWAPPED | {then: first for first, then in dates.SWAPPED.items()}


def _day_or_month(
    values: list[str],
    codes: np.ndarray,
    group: Any,
    time: Any,
    formats: list[str],
    swapped: list[str],
) -> list[str]:
    """Return the formats of the right order of day and month, month first if nothing decides.

    A value that is not a date in one order decides for the other. Where all are dates in both, the
    right order is that in which the rows follow each other and the steps are regular.
    """
    read = [dates.parse(values, form) for form in (formats, swapped)]
    unread = [int(np.isnan(found)[codes].sum()) for found in read]
    if unread[0] != unread[1]:
        return formats if unread[0] < unread[1] else swapped
    if unread[0] or (read[0] == read[1]).all():
        return formats
    of_groups = [np.arange(len(codes))]
    if group is not None:
        of_groups = [np.flatnonzero(group == value) for value in group.unique()]
    disorder = [_disorder([_moments(found)[codes][rows] for rows in of_groups]) for found in read]
    if disorder[0] != disorder[1]:
        return formats if disorder[0] < disorder[1] else swapped
    warn(
        f"series[{time!r}]: dates such as {values[0]!r} are read with the month first; if the day "
        f"is first, write series[{time!r}] = pd.to_datetime(series[{time!r}], dayfirst=True)"
    )
    month_first = any(form in dates.SWAPPED for form in formats)
    return formats if month_first else swapped


def _disorder(parts: list[np.ndarray]) -> tuple[bool, float]:
    """Return whether rows are neither sorted nor reversed, and how many regular steps are missing.

    Args:
        parts: The times of each series, in the order of its rows.
    """
    rises = [np.diff(part) for part in parts]
    zero = np.timedelta64(0, "us")
    sorted_ = all((d >= zero).all() for d in rises) or all((d <= zero).all() for d in rises)
    return not sorted_, _best([np.unique(part) for part in parts])[1]


def _on_clock(clock: Any, moments: Any) -> np.ndarray:
    """Return times by the clock of their zone if these are days or months, otherwise in UTC."""
    if clock.is_unique and (clock - clock.normalize()).nunique() == 1:
        return np.asarray(clock.to_numpy())
    return np.asarray(moments.to_numpy())


def _dates(index: Any, name: str) -> np.ndarray:
    if index.isna().any():
        row = int(np.flatnonzero(index.isna())[0])
        raise ValueError(f"{name}: has no time in row {row}; drop such rows")
    if getattr(index, "tz", None) is None:
        return np.asarray(index.to_numpy())
    # Days and months are regular on the clock of the zone, hours in UTC.
    return _on_clock(index.tz_localize(None), index.tz_convert("UTC").tz_localize(None))


def _numbers(column: Any, name: str) -> np.ndarray:
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(column.dtype):
        kind = "dates" if pd.api.types.is_datetime64_any_dtype(column.dtype) else "no numbers"
        odd = next((v for v in column if isinstance(v, str)), None)
        held = f"text such as {odd!r}" if odd is not None else kind
        raise ValueError(
            f"{name}: holds {held}; a series has numbers: drop the column, or encode it, with "
            "pandas.get_dummies for example"
        )
    if pd.api.types.is_complex_dtype(column.dtype):
        raise ValueError(f"{name}: holds complex numbers; pass real and imaginary part as columns")
    dtype = np.float32 if column.dtype == np.float32 else np.float64
    return np.asarray(column.to_numpy(dtype, na_value=np.nan))


def _which(name: Any, columns: Sequence[Any]) -> str:
    """Return which columns there are, or which one a name may be a typo of."""
    if isinstance(name, str) and all(isinstance(column, str) for column in columns):
        return did_you_mean(name, columns)
    if len(columns) > 10 and list(columns) == list(range(len(columns))):
        return f"its columns are 0 to {len(columns) - 1}"
    more = f" and {len(columns) - 10} more" if len(columns) > 10 else ""
    only = "its only column is" if len(columns) == 1 else "its columns are"
    return f"{only} {', '.join(map(repr, columns[:10]))}{more}"


def _targets(columns: Sequence[Any], target: Any) -> tuple[list[int], bool]:
    """Return the positions of the target columns, and whether y has no axis for them."""
    if target is None:
        return list(range(len(columns))), len(columns) == 1
    single = not isinstance(target, (list, tuple))
    chosen = []
    for name in [target] if single else target:
        if name not in columns or isinstance(name, bool):
            raise ValueError(
                f"target={target!r}: series has no column {name!r}; {_which(name, columns)}"
            )
        chosen.append(list(columns).index(name))
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"target={target!r}: must be a column, or a list of different columns")
    return chosen, single


# ---- regular steps -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Steps:
    """The regular steps of a series.

    Attributes:
        offset: A number, a timedelta64 or an offset of pandas; None: the rows are the steps.
        name: The step as text.
    """

    offset: Any
    name: str

    @classmethod
    def of(cls, table: _Table, step: Any, *, irregular: bool) -> _Steps:
        """Find the steps, or check the given one.

        Raises:
            ValueError: A time occurs twice, or the times have no regular step.
        """
        times = table.times
        if times is None:
            if step is not None:
                raise ValueError(
                    f"step={step!r}: series has no times; leave step out, or pass a DataFrame with "
                    "a DatetimeIndex or a time column"
                )
            return cls(None, "row")
        parts = list(table.each())
        for rows in parts:
            twice = np.flatnonzero(times[rows][1:] == times[rows][:-1])
            if len(twice):
                hint = (
                    ""
                    if table.group is not None
                    else (
                        ", or if there are several series, write group= with the column that says "
                        "which one a row belongs to"
                    )
                )
                raise ValueError(
                    f"series: {table.at(int(rows[twice[0] + 1]))} occurs twice; drop one of the "
                    f"rows, or average them with groupby(...).mean(){hint}"
                )
        sorted_times = [times[rows] for rows in parts]
        if step is not None:
            return cls._given(step, times)
        gaps = np.concatenate([np.diff(part) for part in sorted_times])
        if len(gaps) == 0:
            return cls(1 if times.dtype.kind in "if" else np.timedelta64(1, "D"), "1")
        best, _ = _best(sorted_times)
        if best is None:
            row, common = _irregular_row(parts, times, gaps)
            remedy = (
                "write step= beside fill, such as step='1h', for values at regular steps"
                if irregular
                else "resample first, with series.resample('1h').mean() for example, or write "
                "fill='previous' and step='1h' for values at regular steps"
            )
            raise ValueError(
                f"series: the times are irregular: {table.at(row)} does not follow the one before "
                f"by a regular step (most often {common}); {remedy}"
            )
        return cls(best, _offset_name(best))

    @classmethod
    def _given(cls, step: Any, times: np.ndarray) -> _Steps:
        import pandas as pd

        if times.dtype.kind in "if":
            if isinstance(step, bool) or not isinstance(step, (int, float, np.number)) or step <= 0:
                raise ValueError(
                    f"step={step!r}: the times are numbers; write a number above 0, such as step=1"
                )
            return cls(step, f"{step:g}")
        try:
            offset = pd.tseries.frequencies.to_offset(step)
            if offset is None or offset.n < 1:
                raise ValueError("it does not lead forward")
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"step={step!r}: is not a step of time ({error}); write step='1h', 'D' or 'MS', "
                "for example"
            ) from error
        return cls(offset, str(offset.freqstr))

    def grid(self, times: np.ndarray) -> np.ndarray:
        """Return the regular times from the first to the last of sorted `times`."""
        if self.offset is None:
            return times
        grid = _grid(times, self.offset)
        if times.dtype.kind != "f":
            return grid
        # 0.3 is not 3 * 0.1: a step that a time differs from by rounding alone is that time
        at = np.searchsorted(times, grid)
        before, after = times[np.maximum(at - 1, 0)], times[np.minimum(at, len(times) - 1)]
        near = np.where(grid - before < after - grid, before, after)
        return np.where(np.abs(near - grid) <= ROUNDING * self.offset, near, grid)


def _best(parts: Sequence[np.ndarray]) -> tuple[Any, float]:
    """Return the step of sorted times, and how many are missing; None and infinity without one."""
    gaps = np.concatenate([np.diff(part) for part in parts])
    best, fewest = None, np.inf
    if not len(gaps):
        return best, 0.0
    for offset in _candidates(parts, gaps):
        missing = _missing(parts, offset)
        if missing is not None and missing < fewest:
            best, fewest = offset, float(missing)
    return (best, fewest) if fewest <= MAX_MISSING * sum(map(len, parts)) else (None, np.inf)


def _candidates(parts: Sequence[np.ndarray], gaps: np.ndarray) -> Iterator[Any]:
    import pandas as pd

    distances, counts = np.unique(gaps, return_counts=True)
    yield distances[counts.argmax()]
    if gaps.dtype.kind != "m" or parts[0].dtype.kind != "M":
        return
    index = pd.DatetimeIndex(np.concatenate(parts))
    months = np.concatenate([np.diff(d.year * 12 + d.month) for d in map(pd.DatetimeIndex, parts)])
    months = months[months > 0]
    if len(months):
        values, counts = np.unique(months, return_counts=True)
        most = int(values[counts.argmax()])
        if index.is_month_end.all():
            yield pd.offsets.MonthEnd(most)
        yield pd.DateOffset(months=most)
        yield pd.offsets.BMonthEnd(most)
        yield pd.offsets.BMonthBegin(most)
    if (index.day_of_week < 5).all():
        yield pd.offsets.BDay()


def _missing(parts: Sequence[np.ndarray], offset: Any) -> int | None:
    """Return how many steps of the grid are missing; None if a time is not on the grid."""
    missing = 0
    for times in parts:
        if isinstance(offset, (np.timedelta64, np.number)):
            ratio = (times - times[0]) / offset
            if np.abs(ratio - np.round(ratio)).max() > ROUNDING:
                return None
            missing += round(float(ratio[-1])) + 1 - len(times)
            continue
        grid = _grid(times, offset)
        if not np.isin(times, grid).all():
            return None
        missing += len(grid) - len(times)
    return missing


def _grid(times: np.ndarray, offset: Any) -> np.ndarray:
    if isinstance(offset, (np.timedelta64, np.number, int, float)):
        n = round(float((times[-1] - times[0]) / offset)) + 1
        return np.asarray(times[0] + np.arange(n) * offset)
    import pandas as pd

    if times.dtype.kind == "m":
        grid = pd.timedelta_range(times[0], times[-1], freq=offset)
    else:
        grid = pd.date_range(times[0], times[-1], freq=offset)
    return np.asarray(grid.to_numpy().astype(times.dtype))


def _offset_name(offset: Any) -> str:
    import pandas as pd

    if isinstance(offset, np.timedelta64):
        days = offset / np.timedelta64(1, "D")
        if days % 1 == 0:
            return "D" if days == 1 else f"{days:.0f}D"
        return str(pd.tseries.frequencies.to_offset(pd.Timedelta(offset)).freqstr)
    if hasattr(offset, "freqstr"):
        months = getattr(offset, "months", None)
        if months is None:
            return str(offset.freqstr)
        return "a month" if months == 1 else f"{months} months"
    return f"{offset:g}"


def _irregular_row(
    parts: Sequence[np.ndarray], times: np.ndarray, gaps: np.ndarray
) -> tuple[int, str]:
    """Return the first row that does not follow the one before by the most common distance."""
    distances, counts = np.unique(gaps, return_counts=True)
    common = distances[counts.argmax()]
    for rows in parts:
        ratio = np.diff(times[rows]) / common
        odd = np.flatnonzero(np.abs(ratio - np.round(ratio)) > ROUNDING)
        if len(odd):
            return int(rows[odd[0] + 1]), _offset_name(common)
    return int(parts[0][min(1, len(parts[0]) - 1)]), _offset_name(common)


def _shown(time: Any) -> str:
    if isinstance(time, np.datetime64):
        text = str(time.astype("datetime64[s]")).replace("T", " ")
        return text.removesuffix(" 00:00:00")
    if isinstance(time, np.timedelta64):
        return _offset_name(time)
    return f"{time:g}"


# ---- values on the steps -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Series:
    """The values of one series at its regular steps.

    Attributes:
        name: Of its group; None for a single series.
        times: [steps].
        values: [steps, columns], filled as asked.
        held: [steps, columns], filled with the previous known value.
        known_at: [steps, columns]: the step at which a value is known; later than the step itself
            where it is interpolated.
        n_filled: The number of filled values.
    """

    name: Any
    times: np.ndarray
    values: np.ndarray
    held: np.ndarray
    known_at: np.ndarray
    n_filled: int


def _filled(table: _Table, steps: _Steps, rows: np.ndarray, fill: str | None) -> _Series:
    times = rows.copy() if table.times is None else table.times[rows]
    if table.times is None and table.group is not None:
        times = np.arange(len(rows))
    values = table.values[rows]
    grid = steps.grid(times) if table.times is not None else times
    name = None if table.group is None else table.group[rows[0]]
    of_group = "" if name is None else f" of group {name!r}"
    place = np.searchsorted(times, grid, side="right") - 1  # the last row at or before a step
    exact = np.zeros(len(grid), bool) if table.times is None else times[place] == grid
    if table.times is None:
        exact[:] = True
    if fill is None:
        _refuse_missing(table, steps, rows, times, grid, exact, of_group)
        at = np.broadcast_to(np.arange(len(grid))[:, None], values.shape)
        return _Series(name, grid, values, values, at, 0)
    held = np.empty((len(grid), values.shape[1]), values.dtype)
    line = np.empty_like(held)
    known_at = np.empty(held.shape, np.int64)
    unit = np.timedelta64(1, "s") if grid.dtype.kind in "mM" else 1
    moment, step = (times - grid[0]) / unit, (grid - grid[0]) / unit
    for column in range(values.shape[1]):
        known = np.flatnonzero(~np.isnan(values[:, column]))
        if len(known) == 0 or moment[known[0]] > 0:
            raise ValueError(
                f"series[{table.columns[column]!r}]: has no value at {table.at(int(rows[0]))}, the "
                f"first{of_group}, and none before to fill it with; drop the steps before the "
                "first value"
            )
        at, found = moment[known], values[known, column]
        before = np.searchsorted(at, step, side="right") - 1
        after = np.searchsorted(at, step, side="left")
        held[:, column] = found[before]
        line[:, column] = np.interp(step, at, found)  # after the last value: that value
        next_at = np.append(at, np.inf)[after]
        known_at[:, column] = np.where(
            np.isfinite(next_at), np.searchsorted(step, next_at), np.arange(len(grid))
        )
    whole = exact[:, None] & ~np.isnan(values[place])
    if fill == "previous":
        known_at[:] = np.arange(len(grid))[:, None]
    filled = held if fill == "previous" else line
    return _Series(name, grid, filled, held, known_at, int((~whole).sum()))


def _refuse_missing(
    table: _Table,
    steps: _Steps,
    rows: np.ndarray,
    times: np.ndarray,
    grid: np.ndarray,
    exact: np.ndarray,
    of_group: str,
) -> None:
    remedy = (
        "write fill='previous' (the last known value) or fill='interpolate', or drop the part "
        "of the series before"
    )
    off = np.flatnonzero(~np.isin(times, grid))
    if len(off):
        raise ValueError(
            f"series: {table.at(int(rows[off[0]]))} lies between the steps of {steps.name}; write "
            "fill='previous' or fill='interpolate', which give the value at each step, or resample"
        )
    absent = np.flatnonzero(~exact)
    if len(absent):
        more = f" ({len(absent)} steps are missing in all)" if len(absent) > 1 else ""
        raise ValueError(
            f"series: the step {_shown(grid[absent[0]])}{of_group} is missing{more}, with steps of "
            f"{steps.name}; {remedy}, or, if its steps follow each other as they are, pass it "
            "without times"
        )
    bad = np.argwhere(np.isnan(table.values[rows]))
    if len(bad):
        step, column = bad[0]
        more = f" ({len(bad)} values are missing in all)" if len(bad) > 1 else ""
        raise ValueError(
            f"series[{table.columns[column]!r}]: has no value at {table.at(int(rows[step]))}"
            f"{more}; {remedy}"
        )


# ---- windows -------------------------------------------------------------------------------------


class _Cut(NamedTuple):
    x: np.ndarray  # [n, past, columns]
    y: np.ndarray  # [n, horizon, targets]
    times: np.ndarray  # [n, horizon]


def _cut(
    part: _Series, past: int, horizon: int, stride: int, chosen: list[int], fill: str | None
) -> _Cut:
    starts = np.arange(0, len(part.values) - past - horizon + 1, stride)
    before = starts[:, None] + np.arange(past)
    after = starts[:, None] + past + np.arange(horizon)
    x, y = part.values[before], part.values[:, chosen][after]
    if fill == "interpolate":
        # What is on a line to a value after the window would tell of the future.
        late = part.known_at[before] > before[:, -1:, None]
        x = np.where(late, part.held[before], x)
        known_at = part.known_at[:, chosen]
        if horizon:
            late = known_at[after] > after[:, -1:, None]
            y = np.where(late, part.held[:, chosen][after], y)
    return _Cut(x, y, part.times[after])


def _too_few(steps: int, past: int, horizon: int, stride: int) -> ValueError:
    needed = past + 6 * horizon - 1
    if stride > 1 and steps >= needed:
        return ValueError(
            f"stride={stride}: a window every {stride} of {steps} steps makes too few of them for "
            "three splits; write a smaller stride"
        )
    return ValueError(
        f"series: {steps} step{' is' if steps == 1 else 's are'} too few for windows of "
        f"past={past} and horizon={horizon} in three splits; about {needed} are needed: write a "
        "smaller past or horizon"
    )


def _warn_unless_sequence(past: int, columns: int) -> None:
    """Warn where an estimator would by default not take the windows for a series."""
    from trainer.models.sequence import is_sequence
    from trainer.models.spec import is_image

    if past < 2 or is_sequence((past, columns)):  # of a single step there is no sequence
        return
    if is_image((past, columns)):
        why = "the windows are square, and square arrays are taken for images"
    else:
        why = f"the windows are shorter than past={2 * columns}, and are taken for plain vectors"
    warn(
        f"past={past}: with {columns} columns {why}; write model='sequence' in the estimator, or "
        f"past={2 * columns} or more"
    )


def _described(
    table: _Table, parts: Sequence[_Series], step: str, past: int, horizon: int, left_out: int
) -> str:
    several = "" if table.group is None else f" of {len(parts)} series"
    filled = sum(part.n_filled for part in parts)
    said = [
        f"Windows{several} with steps of {step}: {past} steps of {len(table.columns)} "
        f"column{'s' * (len(table.columns) != 1)}, and the {horizon} after them."
    ]
    if filled:
        said.append(f"{filled:,} values were missing and have been filled.")
    said.append("Split 60/20/20 by time.")
    if left_out:
        said.append(f"{left_out:,} windows across a border were left out.")
    return " ".join(said)
