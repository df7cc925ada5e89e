"""Dates: how text is read, and the parts that a network sees."""

from __future__ import annotations

import keras
import numpy as np
import pandas as pd
import pytest

from trainer.data import dates

DAYS = pd.Series(pd.date_range("1999-12-25", periods=120, freq="97h"))


@pytest.mark.parametrize(
    "form",
    [
        "%Y-%m-%d",
        "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%dT%H:%M:%SZ",
        "%Y/%m/%d %H:%M",
        "%Y年%m月%d日",
        "%m/%d/%Y %I:%M %p",
        "%d/%m/%Y",
        "%d.%m.%Y %H:%M",
        "%d.%m.%y",
        "%d %B %Y",
        "%b %d, %Y",
        "%d-%b-%Y",
        "%a, %d %b %Y %H:%M:%S +0000",
        "%Y%m%d",
        "%Y-%m",
    ],
)
def test_dates_are_read_in_the_forms_that_people_write(form: str) -> None:
    text = [str(v) for v in DAYS.dt.strftime(form).unique()]
    assert all(map(dates.looks_like_date, text))
    _, found = dates.formats_of(text, np.ones(len(text)))
    expected = [pd.to_datetime(v, format=form, utc=True).timestamp() for v in text]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "word", ["May", "A", "10", "2020", "1.2", "1.2.3", "v1.2.3", "12/5", "192.168.0.1", "555-1234"]
)
def test_words_numbers_and_versions_do_not_look_like_dates(word: str) -> None:
    assert not dates.looks_like_date(word)


def test_day_and_month_are_in_one_order_in_a_column() -> None:
    text = ["01/02/2020", "25/12/2020", "13/01/2021"]
    formats, found = dates.formats_of(text, np.ones(3))
    assert formats == ["%d/%m/%Y"] and not dates.is_ambiguous(text, formats)
    assert pd.to_datetime(found[0], unit="s") == pd.Timestamp("2020-02-01")
    wrong, _ = dates.formats_of(["12/25/2020", "12/26/2020", "27/12/2020"], np.ones(3))
    assert wrong == ["%m/%d/%Y"]
    assert dates.is_ambiguous(["01/02/2020"], ["%m/%d/%Y"])


def test_a_column_may_have_several_formats_and_offsets_are_converted() -> None:
    text = ["2020-03-01", "2020-03-01 10:00+02:00", "05.03.2020", "neither"]
    formats, found = dates.formats_of(text, np.ones(4))
    assert formats == [dates.ISO, "%d.%m.%Y"]
    moments = pd.to_datetime(found[:3], unit="s")
    assert list(moments) == [
        pd.Timestamp("2020-03-01"),
        pd.Timestamp("2020-03-01 08:00"),
        pd.Timestamp("2020-03-05"),
    ]
    assert np.isnan(found[3])


def test_parts_are_those_of_the_calendar_in_numpy_and_in_keras() -> None:
    moments = pd.Series(pd.date_range("1895-01-01", "2105-01-01", freq="1321h"))
    seconds = dates.seconds(moments)
    found = dates.parts(seconds, seconds[0])
    assert tuple(found) == dates.PARTS
    np.testing.assert_array_equal(found["year"], moments.dt.year)
    np.testing.assert_array_equal(found["month"], moments.dt.month)
    np.testing.assert_array_equal(found["weekday"], moments.dt.day_of_week)
    np.testing.assert_array_equal(found["hour"], moments.dt.hour)
    np.testing.assert_array_equal(
        found["elapsed"], (moments - moments[0]).dt.total_seconds() / 86_400
    )
    tensors = dates.parts(keras.ops.convert_to_tensor(seconds), seconds[0], keras.ops)
    for part in dates.PARTS:
        np.testing.assert_array_equal(tensors[part], found[part])
