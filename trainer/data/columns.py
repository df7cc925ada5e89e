"""What a column of a table holds: numbers, categories, dates, text or identifiers.

Responsible for the rules by which the kind of a column is found, for their limits, and for
converting a column to numbers or text. Not for what a network sees of it (`tables`).
"""

from __future__ import annotations

import datetime
import decimal
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.data import dates
from trainer.utils.checks import warn
from trainer.utils.written_numbers import find_written_numbers

if TYPE_CHECKING:
    import pandas as pd

MISSING = "[missing]"
KINDS = ("number", "category", "ordered", "date", "text", "identifier")
UNITS = ("timedelta", "time")  # of numbers that were durations or times of the day


@dataclass(frozen=True)
class Limits:
    """The limits by which the kinds of columns are found: all of them are here.

    Attributes:
        categories: The most common categories have a column of their own in the default encoding;
            there are fewer of them than this, and the others share one column.
        dates: The share of the values of a text column that must be dates, for a column of dates;
            and numbers with a unit or other marks, for a column of these, which is refused.
            The others count as missing. As a split may by chance leave more of the others among
            the training rows, 1.5 deviations of their number are allowed on top.
        some_dates: From this share on, up to `dates`, a column is refused: it was meant to be one
            of dates.
        rows: In columns with fewer values no identifiers or text are looked for: there text that
            is not dates is categories.
        identifier: A column of text, or of whole numbers, with more levels than this share of its
            values may be an identifier.
        coincidences: A column of whole numbers, all different, is an identifier if as many random
            numbers from its range would have this many pairs of equal ones, n (n - 1) / (2 range):
            a measured value would have repeated itself.
        words: Columns of text with as many levels as identifiers, and on average at least this
            many words in a value, are text to read.
        characters: The same for languages without spaces: at least this many characters, of which
            a third are of such a script.
    """

    categories: int = 256
    dates: float = 0.99
    some_dates: float = 0.5
    rows: int = 20
    identifier: float = 0.5
    coincidences: float = 5.0
    words: float = 3.0
    characters: float = 8.0


LIMITS = Limits()
LARGEST = 1e150  # of a number in a column: its square must be finite

# Names of columns of whole numbers that are identifiers: id, user_id, userId, PassengerID, 编号
_ID_NAME = re.compile(
    r"(|.*[\W_])(?i:id|ids|uid|uuid|guid|pk|idx|index|rowid|row_?number|unnamed: 0)"
    r"|.*[a-z0-9]I[dD]|.*[\u4e00-\u9fff](ID|Id|id)|.*(编号|序号|編號|序號|番号)"
)
# Names of columns that count time: in a series none repeats, and they say something.
_TIME_NAME = re.compile(
    r"(|.*[\W_])(?i:years?|months?|weeks?|days?|hours?|minutes?|seconds?|time|timestamp|dates?"
    r"|steps?|t|epoch|period|quarter)([\W_].*|)|.*(年|月|日|周|时间|時間|日期)"
)
# Scripts that are written without spaces: Chinese, Japanese, Thai, Lao, Khmer, Burmese.
_NO_SPACES = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0eff\u1780-\u17ff\u1000-\u109f]")


@dataclass(frozen=True)
class Found:
    """A column of the training rows.

    Attributes:
        kind: One of KINDS.
        values: Numbers and dates (seconds since 1970) as float64 [n] with NaN for missing ones,
            the ranks of ordered categories likewise; categories as a Series of text with MISSING;
            None for text and identifiers.
        details: What is saved with the column, besides its kind: `unit`, `levels`, `formats` or
            `zone`.
    """

    kind: str
    values: Any
    details: dict[str, Any]


def find(series: pd.Series, name: Any) -> Found:
    """Find out what a column of the training rows holds.

    Args:
        series: The column.
        name: Its name.

    Raises:
        TypeError: It has values that are neither numbers, text nor dates.
        ValueError: It mixes text with numbers or dates, has dates of which several do not parse,
            or an infinite value.
    """
    import pandas as pd

    label = f"x[{name!r}]"
    series = plain(series, label)
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        if not dtype.ordered:
            return Found("category", as_text(series), {})
        levels = [_category_text(level) for level in dtype.categories]
        twice = next((level for level in levels if levels.count(level) > 1), None)
        if twice is not None:
            raise ValueError(
                f"{label} has two ordered categories that are {twice!r} as text; rename one of "
                f"them with {label}.cat.rename_categories"
            )
        return Found("ordered", ranks(series, levels), {"levels": levels})
    if isinstance(dtype, pd.DatetimeTZDtype) or pd.api.types.is_datetime64_dtype(dtype):
        zone = _zone(series)
        local = series if zone is None else series.dt.tz_convert(zone).dt.tz_localize(None)
        return Found("date", dates.seconds(local), {"zone": zone})
    if pd.api.types.is_timedelta64_dtype(dtype):
        return Found("number", as_floats(series, label, "timedelta"), {"unit": "timedelta"})
    if pd.api.types.is_bool_dtype(dtype):
        return Found("number", as_floats(series, label), {})
    if pd.api.types.is_numeric_dtype(dtype):
        return _number(series, name, label)
    return _objects(series, name, label)


def find_as_0_1(series: pd.Series, name: Any) -> Found:
    """Find out what a column holds by the rules of version 0.1: numbers, or else categories."""
    import pandas as pd

    series = plain(series, f"x[{name!r}]")
    present = series.dropna()
    numbers = not isinstance(series.dtype, pd.CategoricalDtype) and (
        pd.api.types.is_numeric_dtype(series.dtype)
        or pd.api.types.is_bool_dtype(series.dtype)
        or (len(present) > 0 and all(isinstance(value, _NUMBER) for value in present))
    )
    if numbers:
        return Found("number", as_floats(series, f"x[{name!r}]"), {})
    return Found("category", as_text(series), {})


def plain(series: pd.Series, label: str) -> pd.Series:
    """Return a column of an extension dtype as one of NumPy or of pandas' own nullable dtypes.

    Sparse columns are filled, periods become the time of their start.

    Raises:
        TypeError, ValueError: The dtype is one of complex numbers or intervals.
    """
    import pandas as pd

    dtype = series.dtype
    if isinstance(dtype, pd.ArrowDtype):
        found = series.array.__arrow_array__().to_pandas()
        found.index = series.index
        return plain(found, label)
    if isinstance(dtype, pd.SparseDtype):
        return series.sparse.to_dense()
    if isinstance(dtype, pd.PeriodDtype):
        return series.dt.to_timestamp()
    if isinstance(dtype, pd.IntervalDtype):
        raise TypeError(
            f"{label} contains intervals ({dtype}); write pd.IntervalIndex({label}).mid for numbers"
            f", or {label}.astype(str) for categories"
        )
    if pd.api.types.is_complex_dtype(dtype):
        raise ValueError(
            f"Complex data not supported: {label} has dtype {dtype}; write its real and imaginary "
            f"parts in two columns, {label}.to_numpy().real and .imag"
        )
    return series


def _zone(series: pd.Series) -> str | None:
    """Return the time zone of datetimes by a name that pandas knows, or UTC; None without one."""
    if series.dt.tz is None:
        return None
    try:
        series[:0].dt.tz_convert(str(series.dt.tz))
    except (KeyError, ValueError, TypeError):  # such as a file of dateutil
        return "UTC"
    return str(series.dt.tz)


def _number(series: pd.Series, name: Any, label: str) -> Found:
    import pandas as pd

    values = as_floats(series, label)
    present = values[~np.isnan(values)]
    whole = pd.api.types.is_integer_dtype(series.dtype) or (
        # pandas turns whole numbers into floats if one is missing
        series.dtype.kind in "fO" and len(present) < len(values)
    )
    if whole and _is_identifier(present, name):
        return Found("identifier", None, {})
    return Found("number", values, {})


def _is_identifier(present: np.ndarray, name: Any) -> bool:
    """Return whether whole numbers are identifiers: by their name, or because none repeats."""
    n = len(present)
    if n < LIMITS.rows or (present != np.floor(present)).any():
        return False
    levels = len(np.unique(present))
    if levels <= LIMITS.identifier * n:
        return False
    if isinstance(name, str) and _ID_NAME.fullmatch(name.strip()):
        return True
    if isinstance(name, str) and _TIME_NAME.fullmatch(name.strip()):
        return False
    spread = present.max() - present.min() + 1
    return levels == n and n * (n - 1) / (2 * spread) >= LIMITS.coincidences


_Kind = tuple[type, ...]
_TEXT: _Kind = (str,)
_NUMBER: _Kind = (bool, int, float, np.number, np.bool_, decimal.Decimal)
_DATE: _Kind = (datetime.date, np.datetime64)  # datetime and Timestamp are dates too
_DURATION: _Kind = (datetime.timedelta, np.timedelta64)
_TIME: _Kind = (datetime.time,)


def _objects(series: pd.Series, name: Any, label: str) -> Found:
    """Find out what a column of text or objects holds."""
    import pandas as pd

    present = series[series.notna()]
    if not len(present):
        return Found("category", as_text(series), {})  # later values will be out-of-vocabulary
    types = set(map(type, present))

    def all_of(kind: _Kind) -> bool:
        return all(issubclass(t, kind) for t in types)

    if all_of(_TEXT):
        return _text(series, present, label)
    if any(issubclass(t, complex) for t in types):
        raise ValueError(
            f"Complex data not supported: {label} contains complex numbers; write their real and "
            "imaginary parts in two columns"
        )
    if all_of(_DATE):
        moments = pd.to_datetime(series.astype(object), utc=True, errors="coerce")
        aware = any(getattr(value, "tzinfo", None) is not None for value in present)
        zone = "UTC" if aware else None
        return Found("date", dates.seconds(moments.dt.tz_localize(None)), {"zone": zone})
    if all_of(_DURATION):
        return Found("number", as_floats(series, label, "timedelta"), {"unit": "timedelta"})
    if all_of(_TIME):
        return Found("number", as_floats(series, label, "time"), {"unit": "time"})
    if all_of(_NUMBER):
        if all(issubclass(t, (bool, np.bool_)) for t in types):
            return Found("number", as_floats(series, label), {})
        return _number(series, name, label)
    if any(issubclass(t, str) for t in types):
        row, value = next((i, v) for i, v in present.items() if isinstance(v, str))
        other = next(t for t in types if not issubclass(t, str))
        what = "numbers" if issubclass(other, _NUMBER) else f"{other.__name__} objects"
        raise ValueError(
            f"{label} contains both {what} and text ({value!r} at row {row}); correct the "
            f"text, or write {label}.astype(str) to make every value a category"
        )
    raise _odd(present, types, label)


def _odd(present: pd.Series, types: set[type], label: str) -> TypeError:
    odd = next((t for t in types if not issubclass(t, _NUMBER + _DATE)), next(iter(types)))
    instead = "convert the column first"
    if issubclass(odd, bytes):
        instead = f"write {label}.str.decode('utf-8')"
    elif issubclass(odd, (list, tuple, dict, set, np.ndarray)):
        instead = "put their elements into columns of their own"
    found = " and ".join(sorted(t.__name__ for t in types))
    return TypeError(
        f"{label} contains {found} objects, where each argument must be a string or a number "
        f"({present.iloc[0]!r:.60} at row {present.index[0]}); {instead}"
    )


def _text(series: pd.Series, present: pd.Series, label: str) -> Found:
    levels = present.value_counts()
    values, counts = [str(v) for v in levels.index], levels.to_numpy()
    if float(counts[[dates.looks_like_date(v) for v in values]].sum()) >= (
        LIMITS.some_dates * len(present)
    ):
        formats, moments = dates.formats_of(values, counts)
        read = float(counts[~np.isnan(moments)].sum()) / len(present)
        if (1 - read) * len(present) <= _others(len(present)):
            return _text_dates(series, formats, label)
        if read >= LIMITS.some_dates:
            wrong = [v for v, m in zip(values, moments, strict=True) if np.isnan(m)]
            missed = int(counts[np.isnan(moments)].sum())
            row = present.index[int((present == wrong[0]).argmax())]
            raise ValueError(
                f"{label}: {read:.0%} of the values are dates, but {missed} others are not, "
                f"such as {wrong[0]!r} at row {row} (with {LIMITS.dates:.0%} dates, the others "
                f"would count as missing); correct them, or write {label} = "
                f"pd.to_datetime({label}, format={formats[0]!r}, errors='coerce')"
            )
    if len(present) < LIMITS.rows or len(levels) <= LIMITS.identifier * len(present):
        return Found("category", as_text(series), {})
    # before prose: 12 500 000 kg has as many words
    _refuse_numbers_with_marks(present, values, counts, label, _others(len(present)))
    if _is_prose(values):
        return Found("text", None, {})
    _refuse_written_numbers(present, values, counts, label)
    return Found("identifier", None, {})


def _others(n: int) -> float:
    """Return how many of n values may be something else in a column of dates or of numbers."""
    others = (1 - LIMITS.dates) * n
    return float(others + 1.5 * others**0.5)


def _text_dates(series: pd.Series, formats: Sequence[str], label: str) -> Found:
    details = {"formats": list(formats)}
    moments = as_seconds(series, label, details)
    values = sorted({str(v) for v in series.dropna()})
    if dates.is_ambiguous(values, formats):
        warn(
            f"{label}: dates such as {values[0]!r} are read with the month first; if the day is "
            f"first, write {label} = pd.to_datetime({label}, dayfirst=True)",
        )
    return Found("date", moments, details)


def has_text(frame: pd.DataFrame) -> bool:
    """Return whether a DataFrame has a column of text to read."""
    for i, name in enumerate(frame.columns):
        series = frame.iloc[:, i]
        if getattr(series.dtype, "kind", "O") in "biufcmM":
            continue
        present = series.dropna()
        if len(present) < LIMITS.rows or not all(isinstance(v, str) for v in present):
            continue
        values = {str(v) for v in present}
        prose = len(values) > LIMITS.identifier * len(present) and _is_prose(sorted(values))
        if prose and find(series, name).kind == "text":  # and not dates
            return True
    return False


def _is_prose(values: Sequence[str]) -> bool:
    """Return whether distinct values are text to read, not codes."""
    if float(np.mean([len(v.split()) for v in values])) >= LIMITS.words:
        return True
    characters = "".join(values)
    without = len(_NO_SPACES.findall(characters))
    return len(characters) / len(values) >= LIMITS.characters and 3 * without >= len(characters)


def _refuse_numbers_with_marks(
    present: pd.Series, values: Sequence[str], counts: np.ndarray, label: str, others: float
) -> None:
    """Raise an error for numbers that pandas cannot read, such as "3,5", "$1,000" and "15 kg"."""
    found = find_written_numbers(values, counts.tolist(), label, others)
    if found is None:
        return
    but = ""
    if found.other is not None:
        row = present.index[int((present == found.other).argmax())]
        but = f" and other text ({found.other!r} at row {row})"
    raise ValueError(
        f"{label} contains numbers as text, such as {found.example!r}{but}; write {label} = "
        f"{found.code}{found.note}, or {label}.astype('category') to make every value a category"
    )


def _refuse_written_numbers(
    present: pd.Series, values: Sequence[str], counts: np.ndarray, label: str
) -> None:
    """Raise an error for numbers in the form of text: as an identifier they would be left out."""
    import pandas as pd

    numbers = pd.to_numeric(pd.Series(values, dtype=object), errors="coerce").to_numpy(float)
    wrong = np.isnan(numbers)
    share = float(counts[~wrong].sum()) / len(present)
    whole = not (numbers[~wrong] != np.floor(numbers[~wrong])).any()
    if share < LIMITS.some_dates or (whole and not wrong.any()):
        return
    but = ""
    if wrong.any():
        # errors='coerce' would lose 1,234 where the others are below a thousand
        most = (1 - LIMITS.some_dates) * len(present)
        _refuse_numbers_with_marks(present, values, counts, label, most)
        value = values[int(wrong.argmax())]
        row = present.index[int((present == value).argmax())]
        but = f" and other text ({value!r} at row {row})"
    raise ValueError(
        f"{label} contains numbers as text{but}; write {label} = pd.to_numeric({label}, "
        f"errors='coerce'), or {label}.astype('category') to make every value a category"
    )


# ---- conversions ---------------------------------------------------------------------------------


def as_seconds(
    series: pd.Series, label: str, details: dict[str, Any], *, quiet: bool = False
) -> np.ndarray:
    """Convert a column of dates to seconds since 1970, float64 [n]; NaN for missing ones.

    Datetimes with a time zone are shown by the clock of the training rows' zone. Text that does
    not parse counts as missing.

    Args:
        series: The column.
        label: Its name in errors, such as `x['day']`.
        details: `formats` of text, or the `zone` of datetimes, which may be None.
        quiet: Whether not to warn of text that does not parse.

    Raises:
        TypeError: It has no dates.
        ValueError: It has a time zone and training had none, or the reverse.
    """
    import pandas as pd

    series = plain(series, label)
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        series = series.astype(object)
    text = series.map(lambda v: isinstance(v, str)).astype(bool) & series.notna()
    if text.any():
        return _parsed(series, text, label, details, quiet)
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        return dates.seconds(_in_zone(series, label, details))
    present = series[series.notna()]
    if not len(present):
        return np.full(len(series), np.nan)
    if not all(isinstance(value, _DATE) for value in present):
        raise TypeError(
            f"{label} was a column of dates in training, and now has {present.iloc[0]!r}; convert "
            f"it with pd.to_datetime({label}), with unit='s' for seconds since 1970"
        )
    aware = any(getattr(value, "tzinfo", None) is not None for value in present)
    moments = pd.to_datetime(series.astype(object), utc=True, errors="coerce")
    if not aware:
        moments = moments.dt.tz_localize(None)
    return dates.seconds(_in_zone(moments, label, details))


def _in_zone(moments: pd.Series, label: str, details: dict[str, Any]) -> pd.Series:
    zone = "UTC" if "formats" in details else details["zone"]
    if moments.dt.tz is None:
        if zone is not None and "formats" not in details:
            raise ValueError(
                f"{label} has no time zone, but had {zone} in training; write "
                f"{label}.dt.tz_localize({zone!r})"
            )
        return moments
    if zone is None:
        raise ValueError(
            f"{label} has the time zone {moments.dt.tz}, but had none in training; write "
            f"{label}.dt.tz_localize(None)"
        )
    return moments.dt.tz_convert(zone).dt.tz_localize(None)


def _parsed(
    series: pd.Series, text: pd.Series, label: str, details: dict[str, Any], quiet: bool
) -> np.ndarray:
    """Convert a column with text; of other values only missing ones are taken."""
    others = series[~text & series.notna()]
    if len(others):
        raise ValueError(
            f"{label} contains both text and {type(others.iloc[0]).__name__} objects "
            f"({others.iloc[0]!r} at row {others.index[0]}); write one form of dates"
        )
    formats = details.get("formats")
    if formats is None and details["zone"] is not None:
        zone = details["zone"]
        raise ValueError(
            f"{label} is text, but had datetimes of the time zone {zone} in training; write "
            f"pd.to_datetime({label}, utc=True).dt.tz_convert({zone!r})"
        )
    codes, levels = series.astype(object).where(text, None).factorize()
    values = [str(v) for v in levels]
    if formats is None:  # training had datetimes: text in the usual forms is taken too
        formats, _ = dates.formats_of(values, np.ones(len(values)))
    moments = np.append(dates.parse(values, formats), np.nan)[codes]
    wrong = np.isnan(moments) & text.to_numpy()
    if wrong.any() and not quiet:
        at = int(wrong.argmax())
        warn(
            f"{label}: {wrong.sum()} of {len(series)} values are not dates and count as missing, "
            f"the first {series.iloc[at]!r} at row {series.index[at]}",
        )
    return np.asarray(moments)


def ranks(series: pd.Series, levels: Sequence[str]) -> np.ndarray:
    """Return the ranks of ordered categories, float64 [n]; NaN for missing and unseen ones."""
    positions = {level: float(i) for i, level in enumerate(levels)}
    found = as_text(series).map(lambda v: positions.get(v, np.nan))
    return np.asarray(found, dtype=np.float64)


def as_floats(series: pd.Series, label: str, unit: str | None = None) -> np.ndarray:
    """Convert a column of numbers to float64 [n], with NaN for missing values.

    Args:
        series: The column.
        label: Its name in errors, such as `x['age']`.
        unit: None; "timedelta" or "time" for durations and times of the day, in seconds.

    Raises:
        TypeError: There are durations where training had none, or the reverse.
        ValueError: There is text or an infinite value; the message names the row.
    """
    import pandas as pd

    series = plain(series, label)
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(object)
    if unit is not None:
        return _durations(series, label, unit)
    if series.dtype.kind in "mM" or isinstance(series.dtype, pd.DatetimeTZDtype):
        raise TypeError(
            f"{label} is a column of numbers, but now has dtype {series.dtype}; convert it to "
            "numbers as in training"
        )
    numbers = pd.to_numeric(series, errors="coerce")
    unread = wrong = numbers.isna() & series.notna()
    if series.dtype == object or pd.api.types.is_string_dtype(series.dtype):
        # "12" could be converted, but the column had numbers in training, so refuse text.
        wrong = wrong | series.map(lambda v: isinstance(v, str)).astype(bool)
    if wrong.any():
        # of a file with one cell of text all cells are text: that one is the culprit
        culprits = unread if unread.any() else wrong
        row, cell = culprits.idxmax(), series[culprits].iloc[0]
        convert = f"convert it with pd.to_numeric({label}, errors='coerce')"
        if str(cell).lower() in ("true", "false"):
            convert = f"convert it with {label}.map({{'True': True, 'False': False}})"
        raise ValueError(
            f"{label} is a column of numbers, but has the text {cell!r} at row {row}; correct it, "
            f"or {convert}"
        )
    values = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(values).any():
        row = series.index[int(np.isinf(values).argmax())]
        raise ValueError(f"{label} contains infinity (inf) at row {row}; set it to NaN or drop it")
    if (large := np.abs(values) > LARGEST).any():
        row = series.index[int(large.argmax())]
        raise ValueError(
            f"{label} contains {values[large][0]:.3g} at row {row}, and the limit is {LARGEST:g}; "
            "set it to NaN if it stands for a missing number, or choose a larger unit"
        )
    return np.asarray(values)


def _durations(series: pd.Series, label: str, unit: str) -> np.ndarray:
    import pandas as pd

    kind = _DURATION if unit == "timedelta" else _TIME
    if not pd.api.types.is_timedelta64_dtype(series.dtype):
        present = series[series.notna()]
        if not all(isinstance(value, kind) for value in present):
            what = "durations" if unit == "timedelta" else "times of the day"
            raise TypeError(
                f"{label} was a column of {what} in training, and now has {present.iloc[0]!r}; "
                f"convert it to datetime.{unit}"
            )
    if unit == "timedelta":
        return np.asarray(pd.to_timedelta(series).dt.total_seconds(), dtype=np.float64)
    if pd.api.types.is_timedelta64_dtype(series.dtype):
        raise TypeError(
            f"{label} was a column of times of the day in training, and now has durations"
        )
    return np.array([_of_day(value) for value in series])


def _of_day(value: Any) -> float:
    if not isinstance(value, datetime.time):
        return float("nan")
    return value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6


def as_text(series: pd.Series) -> pd.Series:
    """Convert a column of categories to text, with MISSING for missing values."""
    return series.astype(object).where(series.notna(), MISSING).map(_category_text)


def _category_text(value: Any) -> str:
    # pandas turns integers into floats if a value is missing: the category of 7.0 is still "7".
    integral = isinstance(value, (float, np.floating)) and float(value).is_integer()
    return str(int(value)) if integral else str(value)


# ---- a few rows ----------------------------------------------------------------------------------

FEW = 64  # rows; pandas' methods take longer than the network for so few
_PLAIN: _Kind = (bool, int, float, np.bool_, np.integer)
_USUAL_TYPES = frozenset((bool, int, float, type(None)))


def few(columns: Sequence[dict[str, Any]], values: Sequence[list[Any]]) -> list[np.ndarray | None]:
    """Convert a few rows, all columns of numbers at once: see `quick`.

    Args:
        columns: What was learnt of each column.
        values: The values of each column, as Python objects.

    Returns:
        What `quick` returns for each column, as [n, 1].
    """
    found: list[np.ndarray | None] = [None] * len(columns)
    numbers = [i for i, c in enumerate(columns) if c["kind"] == "number" and c.get("unit") is None]
    together = quick_numbers(list(itertools.chain.from_iterable(values[i] for i in numbers)))
    if numbers and together is not None:
        for i, block in zip(numbers, together.reshape(len(numbers), -1, 1), strict=True):
            found[i] = block
    for i, column in enumerate(columns):
        if found[i] is None:
            one = quick(values[i], column)
            found[i] = None if one is None else one.reshape(-1, 1)
    return found


def is_missing(value: Any) -> bool:
    """Return whether one value of a column is missing: None, NaN, NaT or pandas' NA."""
    if value is None or (isinstance(value, (float, np.floating)) and value != value):
        return True
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return bool(np.isnat(value))
    return type(value).__name__ in ("NAType", "NaTType")


def quick(values: list[Any], column: dict[str, Any]) -> np.ndarray | None:
    """Convert the usual forms of a few values as the functions above do, only faster.

    Args:
        values: The values of the column, as Python objects.
        column: What was learnt of it.

    Returns:
        What the encoder takes, [n]; None for other forms, and for what is an error or a warning.
    """
    if column["kind"] == "number":
        return None if column.get("unit") is not None else quick_numbers(values)
    if column["kind"] == "date":
        return _quick_dates(values, column)
    found = []
    for value in values:
        if isinstance(value, str):
            found.append(value)
        elif is_missing(value):
            found.append(MISSING)
        elif isinstance(value, _PLAIN) and not isinstance(value, np.timedelta64):
            found.append(_category_text(value))
        else:
            return None
    return np.array(found, dtype=str)


def quick_numbers(values: list[Any]) -> np.ndarray | None:
    """Convert numbers and missing values to float64 [n]; None if there is anything else.

    Numbers that are too large are left to `as_floats`, which refuses them.
    """
    if not _USUAL_TYPES.issuperset(map(type, values)):
        plain = (*_PLAIN, np.floating)
        if not all(
            (isinstance(v, plain) and not isinstance(v, np.timedelta64)) or is_missing(v)
            for v in values
        ):
            return None
        values = [None if is_missing(v) else v for v in values]
    try:
        numbers = np.array(values, dtype=np.float64)  # None becomes NaN
    except OverflowError:  # an int that is larger than any float
        return None
    return None if (np.abs(numbers) > LARGEST).any() else numbers


def _quick_dates(values: list[Any], column: dict[str, Any]) -> np.ndarray | None:
    formats = column.get("formats")
    no_zone = formats is not None or column["zone"] is None
    found = []
    for value in values:
        if is_missing(value):
            found.append(np.nan)
            continue
        moment = None
        if isinstance(value, str):
            moment = None if formats is None else dates.quick(value, formats)
        elif no_zone and isinstance(value, datetime.date):
            moment = dates.moment(value)
        if moment is None:
            return None
        found.append(moment)
    return np.array(found, dtype=np.float64)
