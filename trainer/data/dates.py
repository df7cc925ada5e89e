"""Dates: text to seconds since 1970, and the parts of a date that a network sees.

Responsible for the formats of dates in text, and for year, month, weekday, hour and elapsed time,
computed by the same lines in NumPy and in a Keras model. Not for deciding which columns are dates
(`columns`).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

DAY = 86_400.0  # seconds

PARTS = ("year", "month", "weekday", "hour", "elapsed")
LEVELS = {"month": (1, 12), "weekday": (0, 7)}  # the first value, and how many there are

ISO = "ISO8601"
# How dates are written, without their time. Of two that read as many dates the first is used.
FORMATS = (
    ISO,
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y年%m月%d日",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%m-%d-%Y",
    "%d-%m-%Y",
    "%d.%m.%Y",
    "%d %b %Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%b %d %Y",
    "%B %d %Y",
    "%d-%b-%Y",
    "%d-%b-%y",
    "%a, %d %b %Y",
    "%m/%d/%y",
    "%d/%m/%y",
    "%d.%m.%y",
    "%Y%m%d",
)
# The same characters, read with the month first or with the day first.
SWAPPED = {
    "%m/%d/%Y": "%d/%m/%Y",
    "%m-%d-%Y": "%d-%m-%Y",
    "%m/%d/%y": "%d/%m/%y",
}
_EPOCH, _SECOND = datetime.datetime(1970, 1, 1), datetime.timedelta(seconds=1)
_MICROSECOND = datetime.timedelta(microseconds=1)
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TRIED = 500  # values to choose a format by
_TIMES = ("", "%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%H:%M:%S %z")
# What a date may look like, so that words, versions and codes are not tried.
_DATE = re.compile(
    r"\s*(\d{4}[-/.年]\d{1,2}|\d{1,2}[-/. ](\d{1,2}|[A-Za-z]{3,9})[-/. ,]+\d{2,4}"
    r"|[A-Za-z]{3,9}\.?,? \d{1,2}|(19|20)\d{6}(\D|$))"
)


def looks_like_date(value: str) -> bool:
    """Return whether text has the form of a date; not whether there is such a day."""
    return _DATE.match(value) is not None


def seconds(values: pd.Series) -> np.ndarray:
    """Return datetimes of any unit, without a time zone, as seconds since 1970; NaT is NaN."""
    moments = values.to_numpy(dtype="datetime64[us]")
    found = moments.astype(np.int64).astype(np.float64) / 1e6
    found[np.isnat(moments)] = np.nan
    return np.asarray(found)


def parse(values: list[str], formats: Sequence[str]) -> np.ndarray:
    """Parse text by formats of FORMATS, with or without a time of the day.

    A moment with an offset, such as +02:00, is converted to UTC; without one it stays as written.

    Args:
        values: The text.
        formats: The formats; a value is read by the first that fits.

    Returns:
        Seconds since 1970, float64 [n]; NaN where no format fits.
    """
    found = np.full(len(values), np.nan)
    for wanted in formats:
        for form in _with_times(wanted):
            left = np.flatnonzero(np.isnan(found))
            if not len(left):
                return found
            found[left] = _parsed([values[i] for i in left], form)
    return found


def quick(value: str, formats: Sequence[str]) -> float | None:
    """Return what `parse` returns for one value that is a date as the first format writes it.

    Returns:
        Seconds since 1970; None for anything else, which is left to `parse`.
    """
    form, text = formats[0], value.strip()
    try:
        if form != ISO:
            moment = datetime.datetime.strptime(text, form)
        elif _ISO_DATE.match(text):
            moment = datetime.datetime.fromisoformat(text)
        else:
            return None
    except ValueError:
        return None
    if moment.tzinfo is not None:
        moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
    return (moment - _EPOCH) / _SECOND


def moment(value: datetime.date) -> float | None:
    """Return what `seconds` returns for one date or datetime.

    Returns:
        Seconds since 1970; None if it has a time zone, or pandas can make no datetime of it.
    """
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime.combine(value, datetime.time())
    if value.tzinfo is not None:
        return None
    if hasattr(value, "to_datetime64"):  # a Timestamp may have nanoseconds
        return float(value.to_datetime64().astype("datetime64[us]").astype(np.int64)) / 1e6
    return float((value - _EPOCH) // _MICROSECOND) / 1e6


def _with_times(form: str) -> list[str]:
    if form == ISO:
        return [ISO]
    return [f"{form} {time}".strip() for time in _TIMES]


def _parsed(values: list[str], form: str) -> np.ndarray:
    import pandas as pd

    text = pd.Series(values, dtype=object).str.strip()
    if form == ISO:  # it also reads years and year weeks, which may be anything
        text = text.where(text.str.match(r"\d{4}-\d{1,2}"), None)
    moments = pd.to_datetime(text, format=form, errors="coerce", utc=True)
    return seconds(moments.dt.tz_localize(None))


def formats_of(values: list[str], counts: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Find the formats that read most of the values.

    Args:
        values: Distinct text.
        counts: How many rows have each, [n].

    Returns:
        The formats, the one that reads most rows first, and what `parse` returns with them.
    """
    chosen: list[str] = []
    found = np.full(len(values), np.nan)
    while np.isnan(found).any():
        left = np.flatnonzero(np.isnan(found))
        few = left[:: -(-len(left) // _TRIED)]  # to choose by; they are spread over all
        excluded = {SWAPPED.get(form) for form in chosen}
        excluded |= {first for first, then in SWAPPED.items() if then in chosen}
        # Not the other order of day and month: it would read wrong days.
        read = {
            form: float(counts[few][~np.isnan(parse([values[i] for i in few], [form]))].sum())
            for form in FORMATS
            if form not in excluded and form not in chosen
        }
        best = max(read, key=lambda form: read[form])
        if not read[best]:
            break
        chosen.append(best)
        found[left] = parse([values[i] for i in left], [best])
    return chosen, found


def is_ambiguous(values: list[str], formats: Sequence[str]) -> bool:
    """Return whether all values could also be read with day and month in the other order."""
    return any(
        form in SWAPPED and not np.isnan(parse(values, [SWAPPED[form]])).any() for form in formats
    )


def parts(moment: Any, earliest: float, ops: Any = np) -> dict[str, Any]:
    """Return the parts of dates, by the names in PARTS.

    The days are converted to years and months of the Gregorian calendar by counting from 1 March
    of the year 0 in cycles of 400 years (H. Hinnant, "chrono-compatible low-level date
    algorithms", 2013); all steps are exact in float64.

    Args:
        moment: Seconds since 1970, float64, without NaN; of NumPy or of Keras.
        earliest: The moment from which the elapsed time is counted.
        ops: np or keras.ops.

    Returns:
        The year; the month, 1 to 12; the weekday, 0 (Monday) to 6; the hour, with its fraction,
        0 to 24; the elapsed time in days.
    """
    floor = ops.floor
    days = floor(moment / DAY)
    shifted = days + 719_468.0
    era = floor(shifted / 146_097.0)
    day = shifted - era * 146_097.0  # of the cycle
    year = floor(
        (day - floor(day / 1_460.0) + floor(day / 36_524.0) - floor(day / 146_096.0)) / 365.0
    )
    day = day - (365.0 * year + floor(year / 4.0) - floor(year / 100.0))  # of the year from March
    month = floor((5.0 * day + 2.0) / 153.0)
    month = ops.where(month < 10.0, month + 3.0, month - 9.0)
    year = year + era * 400.0
    return {
        "year": ops.where(month <= 2.0, year + 1.0, year),
        "month": month,
        "weekday": (days + 3.0) - 7.0 * floor((days + 3.0) / 7.0),
        "hour": (moment - days * DAY) / 3_600.0,
        "elapsed": (moment - earliest) / DAY,
    }
