"""The times of a series: how text and objects are read, and which are refused."""

from __future__ import annotations

import datetime
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainer.datasets import Windows, windows


def cut(times: Any, **options: Any) -> Windows:
    """Return the windows of a series with these times; every warning is an error."""
    frame = pd.DataFrame({"t": times, "v": np.arange(float(len(times)))})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return windows(frame, past=3, time="t", **options)


def all_times(parts: Windows) -> np.ndarray:
    return np.concatenate([getattr(parts.times, s)[:, 0] for s in ("train", "valid", "test")])


def text(start: str, n: int, freq: str, form: str) -> list[str]:
    return [str(t) for t in pd.date_range(start, periods=n, freq=freq).strftime(form)]


@pytest.mark.parametrize(
    ("start", "n", "freq", "form"),
    [
        ("2021-01-05", 40, "D", "%d.%m.%Y"),
        ("2021-01-05", 40, "D", "%d.%m.%y"),
        ("2021-01-01", 300, "h", "%d.%m.%Y %H:%M"),
        ("2021-01-05", 40, "D", "%Y年%m月%d日"),
        ("2021-01-05", 40, "D", "%d %b %Y"),
        ("2021-01-05", 40, "D", "%Y%m%d"),
        ("2021-01-05", 40, "h", "%m/%d/%Y %I:%M %p"),
        ("2021-01-05", 40, "h", "%a, %d %b %Y %H:%M:%S"),
        ("2021-01-05", 40, "7us", "%Y-%m-%dT%H:%M:%S.%f"),
        ("2021-01-01", 40, "MS", "%Y-%m"),
        ("2021-01-01", 40, "MS", "%Y/%m"),
        ("2021-01-01", 40, "MS", "%Y年%m月"),
        ("2021-01-01", 40, "MS", "%m/%Y"),
        ("2021-01-01", 40, "MS", "%b %Y"),
        ("2021-01-01", 40, "MS", "%b-%y"),
        ("1951-01-01", 40, "YS", "%Y"),
        # a value that cannot be a month says for all that the day comes first
        ("2000-01-01", 40, "D", "%d/%m/%Y"),
        ("2021-03-01", 1153, "15min", "%d/%m/%Y %H:%M"),
        ("2021-01-01", 40, "h", "%d-%m-%Y %H:%M"),
        # both orders of day and month can be read, but only one is regular
        ("2000-01-01", 60, "MS", "%d/%m/%Y"),
        ("2000-01-01", 60, "MS", "%d-%m-%Y"),
        ("2000-01-01", 60, "MS", "%d/%m/%y"),
        ("2000-01-01", 60, "MS", "%m/%d/%Y"),
        ("2021-03-05", 500, "15min", "%d/%m/%Y %H:%M"),
        ("2021-03-05", 500, "15min", "%m/%d/%Y %H:%M"),
    ],
)
def test_text_is_read_by_the_rules_of_tables(start: str, n: int, freq: str, form: str) -> None:
    times = text(start, n, freq, form)
    known = pd.date_range(start, periods=n, freq=freq).to_numpy()[3:]
    found = all_times(cut(times))
    np.testing.assert_array_equal(found, known[: len(found)])
    np.testing.assert_array_equal(all_times(cut(times[::-1])), found)  # the latest row first


def test_the_regular_order_of_day_and_month_is_found_in_several_series() -> None:
    times = text("2000-01-01", 30, "MS", "%d/%m/%Y")
    frame = pd.DataFrame({"t": times * 2, "g": ["a"] * 30 + ["b"] * 30, "v": np.arange(60.0)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parts = windows(frame, past=3, time="t", group="g")
    assert parts.step == "a month"


@pytest.mark.parametrize(
    ("times", "first"),
    [
        (text("2021-03-05", 96, "15min", "%d/%m/%Y %H:%M"), "2021-05-03T00:45"),
        (text("2000-01-01", 12, "D", "%d/%m/%Y"), "2000-04-01"),
    ],
)
def test_a_month_first_that_nothing_decides_is_warned_of(times: list[str], first: str) -> None:
    frame = pd.DataFrame({"t": times, "v": np.arange(float(len(times)))})
    with pytest.warns(UserWarning, match=r"series\['t'\].*read with the month first.*dayfirst"):
        parts = windows(frame, past=3, time="t")
    assert parts.times.train[0, 0] == np.datetime64(first)


def test_a_day_that_is_the_same_in_both_orders_is_not_warned_of() -> None:
    assert cut(text("2021-05-05", 24, "h", "%d/%m/%Y %H:%M")).step == "h"


def test_forms_of_iso_may_be_mixed() -> None:
    times = ["2021-01-05T00:00:00", "2021-01-06", "2021-01-07 00:00", "2021-01-08T00:00:00Z"]
    found = cut(times + text("2021-01-09", 30, "D", "%Y-%m-%d"))
    assert found.step == "D"
    assert found.times.train[0, 0] == np.datetime64("2021-01-08")


@pytest.mark.parametrize("form", ["text", "objects", "mixed objects", "category"])
@pytest.mark.parametrize("freq", ["h", "D", "MS"])
def test_offsets_across_a_clock_change_are_one_series(form: str, freq: str) -> None:
    aware = pd.date_range("2021-02-01", periods=1000, freq=freq, tz="Europe/Berlin")
    times: Any = pd.Series(list(aware.to_pydatetime()), dtype=object)
    if form == "mixed objects":
        times = times.map(lambda t: datetime.datetime.fromisoformat(t.isoformat()))
    elif form != "objects":
        times = times.map(lambda t: t.isoformat())
    if form == "category":
        times = times.astype("category")
    found = all_times(cut(times.tolist() if form == "text" else times))
    # hours are regular in UTC, days and months on the clock
    known = aware.tz_localize(None) if freq != "h" else aware.tz_convert("UTC").tz_localize(None)
    np.testing.assert_array_equal(found, known.to_numpy()[3 : 3 + len(found)])


def test_dates_durations_and_periods_may_be_objects() -> None:
    days = pd.date_range("2021-01-01", periods=30)
    known = all_times(cut(days))
    for times in (list(days.date), list(days.to_numpy()), list(days.to_period("D"))):
        np.testing.assert_array_equal(all_times(cut(pd.Series(times, dtype=object))), known)
    quarters = [str(q) for q in pd.period_range("2000Q1", periods=30, freq="Q")]
    assert all_times(cut(quarters))[0] == np.datetime64("2000-10-01")
    hours = pd.Series([datetime.timedelta(hours=i) for i in range(30)], dtype=object)
    assert cut(hours).step == "h"
    assert cut(pd.Series(range(30), dtype=object)).step == "1"


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (
            [datetime.time(i) for i in range(24)],
            r"time='t': holds times of the day, such as datetime.time\(0, 0\), without.*combine",
        ),
        (text("2021-01-01", 24, "h", "%H:%M"), "holds times of the day, such as '00:00', without"),
        (text("2021-01-01", 24, "h", "%I:%M %p"), "holds times of the day, such as '12:00 AM'"),
        (["2021-01-01", "then"] * 5, "time='t': 'then' in row 1 is not a date; correct it"),
        (["13/01/2021", "01/13/2021"] * 5, "'13/01/2021' in row 0 is not a date as '%m/%d/%Y'"),
        ([str(i) for i in range(24)], "'0' in row 0 is not a date.*to_numeric"),
        ([True, False] * 9, "holds bool"),
        ([1, "2021-01-01"] * 9, "holds int and str"),
        ([None, *text("2021-01-01", 24, "h", "%d.%m.%Y")], "has no time in row 0"),
    ],
)
def test_times_that_are_none_are_refused(times: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cut(pd.Series(times, dtype=object))


def test_a_row_without_a_group_and_a_series_without_rows_are_named_before_its_times() -> None:
    times = text("2000-01-01", 30, "MS", "%d/%m/%Y")
    frame = pd.DataFrame({"t": times, "g": ["a"] * 29 + [None], "v": np.arange(30.0)})
    with pytest.raises(ValueError, match="group='g': has no value in row 29"):
        windows(frame, past=3, time="t", group="g")
    with pytest.raises(ValueError, match="series is empty"):
        windows(frame[["t", "v"]][:0], past=3, time="t")


def test_times_may_be_numbers_of_any_size() -> None:
    assert cut(np.arange(30) * 1e300).step == "1e+300"
    assert cut(np.arange(30) * 0.5).step == "0.5"
    assert cut(np.arange(30.0)).times.train.dtype == np.int64


def test_times_off_their_step_by_rounding_alone_are_regular() -> None:
    tenths = np.round(np.arange(30) * 0.1, 1)  # 0.3 is not 3 * 0.1
    np.testing.assert_array_equal(all_times(cut(tenths)), tenths[3:])
    filled = cut(np.delete(tenths, 7), fill="previous")
    np.testing.assert_allclose(all_times(filled), tenths[3:])
    assert filled.train.x[5, :, 0].tolist() == [5.0, 6.0, 6.0]
    with pytest.raises(ValueError, match="the times are irregular: the step 0.44"):
        cut(np.append(tenths[:20], 0.44))
