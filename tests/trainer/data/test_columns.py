"""What kind a column is found to be, and the columns that are refused."""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainer.data import columns
from trainer.data.columns import LIMITS

N = 40
RNG = np.random.default_rng(0)
DAYS = pd.Series(pd.date_range("2020-01-01", periods=N, freq="31h"))
WORDS = RNG.choice(["the", "film", "was", "very", "good", "bad", "long", "not", "liked"], (N, 8))
GAPS = np.arange(N) % 9 == 4


def kind(values: Any, name: str = "c", dtype: Any = None) -> str:
    return columns.find(pd.Series(values, dtype=dtype), name).kind


def gaps(values: Any) -> pd.Series:
    return pd.Series(values).mask(GAPS)


@pytest.mark.parametrize(
    ("values", "expected"),
    {
        "floats": (RNG.normal(size=N), "number"),
        "flags": (gaps(np.arange(N) % 2 == 0), "number"),
        "decimals": ([decimal.Decimal("1.5"), None] * 20, "number"),
        "counts": (RNG.poisson(3, N), "number"),
        "prices in units": (RNG.integers(100_000, 900_000, N), "number"),
        "the same with gaps": (gaps(RNG.integers(100_000, 900_000, N)), "number"),
        "durations": (pd.to_timedelta(np.arange(N), unit="m"), "number"),
        "times of the day": ([datetime.time(i % 24, 30) for i in range(N)], "number"),
        "words": (["red", "green", None, "blue"] * 10, "category"),
        "flags as text": (["True", "False"] * 20, "category"),
        "numbers as text": (["1", "2", "3", "4"] * 10, "category"),
        "a category of many": (pd.Categorical([f"k{i}" for i in range(N)]), "category"),
        "nothing": ([None] * N, "category"),
        "ordered": (pd.Categorical(["lo", "hi"] * 20, ["lo", "hi"], ordered=True), "ordered"),
        "bins": (pd.cut(RNG.normal(size=N), 4), "ordered"),
        "datetimes": (gaps(DAYS), "date"),
        "with a time zone": (DAYS.dt.tz_localize("Europe/Berlin"), "date"),
        "days": ([d.date() for d in DAYS], "date"),
        "datetimes as objects": (DAYS.astype(object), "date"),
        "periods": (pd.period_range("2020-01", periods=N, freq="M"), "date"),
        "dates as text": (gaps(DAYS.dt.strftime("%d.%m.%Y")), "date"),
        "few dates as text": (["2020-01-01", "2020-01-02"] * 20, "date"),
        "sentences": ([" ".join(words) for words in WORDS], "text"),
        "Chinese": ([f"这部电影非常好看第{i}次观看" for i in range(N)], "text"),
        "codes": ([f"A{i:05}" for i in range(N)], "identifier"),
        "codes with gaps": (gaps([f"A{i:05}" for i in range(N)]), "identifier"),
        "UUIDs": ([str(uuid.UUID(int=i)) for i in range(N)], "identifier"),
        "whole numbers as text": ([str(i) for i in range(N)], "identifier"),
        "Chinese names": ([chr(0x4E00 + i) + "明" for i in range(N)], "identifier"),
        "the numbers of the rows": (np.arange(N), "identifier"),
        "the same, shuffled, with gaps": (gaps(RNG.permutation(N) + 1000), "identifier"),
        "with every third": (np.arange(N) * 3, "identifier"),
    }.values(),
)
def test_the_kind_of_a_column_is_found(values: Any, expected: str) -> None:
    assert kind(values) == expected


@pytest.mark.parametrize(
    "name", ["id", "ID", "user_id", "userId", "PassengerId", "Unnamed: 0", "index", "客户编号"]
)
def test_whole_numbers_that_rarely_repeat_are_identifiers_by_their_name(name: str) -> None:
    values = RNG.integers(0, 10_000_000, N)
    values[1] = values[0]
    assert kind(values) == "number"
    assert kind(values, name) == "identifier"
    assert kind(values / 7, name) == "number"  # not whole
    assert kind(values % 5, name) == "number"  # repeats


@pytest.mark.parametrize("name", ["paid", "grid", "width", "valid", "id_count", "idea"])
def test_names_that_only_hold_the_letters_are_no_identifiers(name: str) -> None:
    assert kind(RNG.integers(0, 10_000_000, N), name) == "number"


@pytest.mark.parametrize("name", ["year", "Year", "day", "time_step", "t", "年"])
def test_columns_that_count_time_are_numbers(name: str) -> None:
    assert kind(np.arange(1950, 1950 + N), name) == "number"


def test_a_user_can_say_what_a_column_is() -> None:
    assert kind(np.arange(N).astype(float)) == "number"
    assert kind(pd.Series([f"A{i}" for i in range(N)]).astype("category")) == "category"


def test_few_rows_say_nothing_of_identifiers() -> None:
    few = LIMITS.rows - 1
    assert kind(np.arange(few)) == "number"
    assert kind([f"A{i}" for i in range(few)]) == "category"


@pytest.mark.parametrize(("wrong", "rows"), [(1, 100), (1, 40), (10, 1000), (14, 1000)])
def test_a_date_that_does_not_parse_counts_as_missing(wrong: int, rows: int) -> None:
    text = pd.Series(pd.date_range("2020-01-01", periods=rows).strftime("%Y-%m-%d").tolist())
    text.iloc[:wrong] = "unknown"
    message = rf"x\['c'\]: {wrong} of {rows} values are not dates .*'unknown' at row 0"
    with pytest.warns(UserWarning, match=message):
        found = columns.find(text, "c")
    assert found.kind == "date" and np.isnan(found.values).sum() == wrong


def test_dates_that_could_be_read_in_two_ways_are_told() -> None:
    with pytest.warns(UserWarning, match="month first; .*dayfirst=True"):
        assert kind(["01/02/2020", "03/04/2020"] * 20) == "date"


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([1.0, "old"] * 20, ValueError, r"both numbers and text \('old' at row 1\).*astype\(str\)"),
        ([True, "yes"] * 20, ValueError, r"both numbers and text \('yes' at row 1\)"),
        ([DAYS[0], "2020"] * 20, ValueError, r"both Timestamp objects and text"),
        (
            ["2020-01-01"] * 38 + ["?", "??"],
            ValueError,
            r"95% .* are dates, but 2 .*'\?+' at row 3",
        ),
        ([f"{i / 7:.3f}" for i in range(N)], ValueError, r"numbers as text; .*pd.to_numeric"),
        ([f"{i}" for i in range(38)] + ["?", "!"], ValueError, r"numbers as text and other text"),
        ([b"a", b"b"] * 20, TypeError, r"bytes objects.*decode\('utf-8'\)"),
        ([[1], [2]] * 20, TypeError, r"list objects.*columns of their own"),
        ([{"a": 1}] * 40, TypeError, "dict objects"),
        ([1j, 2.0] * 20, ValueError, "contains complex numbers; .*imaginary parts"),
        (pd.Series([1j, 2j] * 20), ValueError, "has dtype complex128; .*imaginary"),
        (pd.interval_range(0, N), TypeError, r"contains intervals .*\.mid"),
        ([1.0, DAYS[0]] * 20, TypeError, "Timestamp and float objects"),
        ([datetime.timedelta(1), 1.0] * 20, TypeError, "float and timedelta objects"),
        (
            pd.Categorical([1, "1"] * 20, [1, "1"], ordered=True),
            ValueError,
            "two ordered categories that are '1' as text",
        ),
        ([1.0, np.inf] * 20, ValueError, r"infinity \(inf\) at row 1"),
    ],
)
def test_a_column_that_is_not_one_kind_is_refused(
    values: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=rf"x\['c'\].*{message}"):
        kind(values, dtype=object if isinstance(values, list) else None)


def test_the_numbers_of_durations_and_times_are_seconds() -> None:
    durations = columns.find(gaps(pd.to_timedelta(np.arange(N), unit="min")), "c")
    np.testing.assert_array_equal(durations.values, np.where(GAPS, np.nan, np.arange(N) * 60.0))
    times = columns.find(pd.Series([datetime.time(1, 0, 2), None] * 20, dtype=object), "c")
    np.testing.assert_array_equal(times.values, [3602.0, np.nan] * 20)
    assert [durations.details, times.details] == [{"unit": "timedelta"}, {"unit": "time"}]


@pytest.mark.parametrize(
    ("train", "later", "error", "message"),
    [
        (DAYS, DAYS.dt.tz_localize("UTC"), ValueError, "had none in training; .*tz_localize"),
        (
            DAYS.dt.tz_localize("UTC"),
            DAYS,
            ValueError,
            r"had UTC in training; .*tz_localize\('UTC'",
        ),
        (
            DAYS.dt.tz_localize("Asia/Tokyo"),
            DAYS.astype(str),
            ValueError,
            r"is text, but .*time zone Asia/Tokyo in training; .*tz_convert\('Asia/Tokyo'\)",
        ),
        (DAYS, pd.Series(np.arange(N)), TypeError, "column of dates in training.*unit='s'"),
        (DAYS - DAYS[0], pd.Series(np.arange(N)), TypeError, "durations in training"),
        (DAYS - DAYS[0], DAYS, TypeError, "durations in training"),
        (
            pd.Series(RNG.normal(size=N)),
            DAYS,
            TypeError,
            "is a column of numbers, but now has dtype",
        ),
    ],
)
def test_later_values_of_another_kind_are_refused(
    train: pd.Series, later: pd.Series, error: type[Exception], message: str
) -> None:
    found = columns.find(train, "c")
    with pytest.raises(error, match=message):
        if found.kind == "date":
            columns.as_seconds(later, "x['c']", found.details)
        else:
            columns.as_floats(later, "x['c']", found.details.get("unit"))


def test_a_time_zone_is_that_of_the_training_rows() -> None:
    local = DAYS.dt.tz_localize("Asia/Shanghai")
    found = columns.find(local, "c")
    assert found.details == {"zone": "Asia/Shanghai"}
    np.testing.assert_array_equal(found.values, columns.find(DAYS, "c").values)  # as the clock says
    elsewhere = local.dt.tz_convert("America/New_York")
    np.testing.assert_array_equal(
        columns.as_seconds(elsewhere, "x['c']", found.details), found.values
    )


U = RNG.uniform(1, 5000, N)
BLANK, THIN = "\u00a0", "\u202f"


@pytest.mark.parametrize(
    ("values", "numbers"),
    {
        "decimal commas": ([f"{v:.2f}".replace(".", ",") for v in U], U.round(2)),
        "with gaps": (gaps([f"{v:.2f}".replace(".", ",") for v in U]), U.round(2)),
        "exponents": ([f"{v:.3e}".replace(".", ",") for v in U], [float(f"{v:.3e}") for v in U]),
        "thousands": ([f"{v:,.2f}" for v in U], U.round(2)),
        "points": ([f"{v * 1e4:,.0f}".replace(",", ".") for v in U], (U * 1e4).round()),
        "lakhs": ([f"{i + 1},{i + 10},500" for i in range(N)], 1e5 + np.arange(N) * 101e3 + 10500),
        "blanks": ([f"{v * 1e3:,.0f}".replace(",", " ") for v in U], (U * 1e3).round()),
        "two blanks": ([f"{v:,.0f} 000 kg".replace(",", " ") for v in U], U.round() * 1000),
        "thin blanks": ([f"{v * 100:,.0f} €".replace(",", THIN) for v in U], (U * 100).round()),
        "apostrophes": ([f"{v * 100:,.1f}".replace(",", "'") for v in U], (U * 100).round(1)),
        "typographic ones": ([f"{v * 100:,.1f}".replace(",", "’") for v in U], (U * 100).round(1)),
        "euros": ([f"€{v:.2f}" for v in U], U.round(2)),
        "dollars": ([f"-${v:,.2f}" for v in U], -U.round(2)),
        "euros at the end": ([f"{v:.2f}{BLANK}€".replace(".", ",") for v in U], U.round(2)),
        "codes of currencies": ([f"USD {v:,.2f}" for v in U], U.round(2)),
        "yen": ([f"¥{v * 1e3:,.0f}" for v in U], (U * 1e3).round()),
        "yuan": ([f"{v:.1f}元" for v in U], U.round(1)),
        "percent": ([f"{v:.1f}%" for v in U], U.round(1)),
        "whole percent": ([f"{i + 20} %" for i in range(N)], np.arange(N) + 20),
        "kilograms": ([f"{v:.1f} kg" for v in U], U.round(1)),
        "without a blank": ([f"{v:.1f}kg" for v in U], U.round(1)),
        "degrees": ([f"{v - 2500:.1f} °C" for v in U], (U - 2500).round(1)),
        "speeds": ([f"{v:.0f} km/h" for v in U], U.round()),
        "areas": ([f"{v:.1f} m2" for v in U], U.round(1)),
        "square feet": ([f"{v:,.1f} sq ft" for v in U], U.round(1)),
        "Unicode minus": ([f"\u2212{v:.1f}" for v in U], -U.round(1)),
        "the same, whole": ([f"\u2212{i}" for i in range(N)], -np.arange(N)),
    }.values(),
)
def test_numbers_with_marks_are_refused_with_the_line_that_converts_them(
    values: Any, numbers: Any
) -> None:
    series = pd.Series(values)
    with pytest.raises(ValueError, match=r"x\['c'\] contains numbers as text, such as") as caught:
        kind(series)
    line = str(caught.value).split("; write x['c'] = ")[1].split(", or x['c'].astype('category')")
    code = line[0].split(" (with ")[0]
    converted = eval(code, {"pd": pd, "x": {"c": series}})
    present = series.notna()
    np.testing.assert_allclose(converted[present], np.asarray(numbers, float)[present])
    assert converted.notna().equals(present)
    assert kind(converted.where(converted != converted[0], 0.5)) == "number"


def test_commas_that_may_be_decimal_ones_are_mentioned() -> None:
    with pytest.raises(ValueError, match=r"replace\(',', ''\)\) \(with .* if the commas are dec"):
        kind([f"{i + 1},{i + 100}" for i in range(N)])


def test_few_other_values_among_numbers_with_marks_are_named() -> None:
    with pytest.raises(ValueError, match=r"'3.5 kg' and other text \('\?' at row 39\); .*coerce"):
        kind(["3.5 kg", *(f"{i}.5 kg" for i in range(10, 48)), "?"])
    # pd.to_numeric(..., errors="coerce") alone would lose the numbers above a thousand
    values = [*map(str, range(30)), *(f"1,{i}" for i in range(100, 106)), "a", "b", "c", "d"]
    with pytest.raises(
        ValueError, match=r"'1,100' and other text \('a' at row 36\); .*',', ''\), e"
    ):
        kind(values)


@pytest.mark.parametrize(
    ("values", "expected"),
    {
        "a letter before": ([f"A{i}" for i in range(N)], "identifier"),
        "letters between": ([f"{i}A3" for i in range(N)], "identifier"),
        "a letter after": ([f"{i}A" for i in range(N)], "identifier"),
        "ordinals": ([f"{i}th" for i in range(N)], "identifier"),
        "versions": ([f"1.{i}.3" for i in range(N)], "identifier"),
        "times": ([f"{i % 24}:{i:02}" for i in range(N)], "identifier"),
        "days": ([f"2021-03-{i % 28 + 1:02}" for i in range(N)], "date"),
        "network addresses": ([f"192.168.100.{i + 100}" for i in range(N)], "identifier"),
        "telephones": ([f"+49 170 123 {i + 456}" for i in range(N)], "text"),
        "leading zeros": ([f"{i:04} kg" for i in range(N)], "identifier"),
        "several units": ([f"{i} {'kg' if i % 2 else 'g'}" for i in range(N)], "identifier"),
        "several currencies": ([f"{'$' if i % 2 else '€'}{i}" for i in range(N)], "identifier"),
        "codes like currencies": ([f"CAD{i + 100}" for i in range(N)], "identifier"),
        "house numbers": ([f"{i}号" for i in range(N)], "identifier"),
        "ranges": ([f"{i}-{i + 1}" for i in range(N)], "identifier"),
        "coordinates": ([f"{i}.5,{i}.7" for i in range(N)], "identifier"),
        "lists": ([f"{i},{i},{i}" for i in range(N)], "identifier"),
        "few weights": ([f"{i % 4 * 10} kg" for i in range(N)], "category"),
        "few decimal commas": ([f"{i % 4},5" for i in range(N)], "category"),
    }.values(),
)
def test_codes_and_categories_with_digits_are_no_numbers(values: Any, expected: str) -> None:
    assert kind(values) == expected


def test_the_cell_that_is_no_number_is_named_among_texts_that_are() -> None:
    column = pd.Series(["50", "60", "many"])
    with pytest.raises(ValueError, match=r"x\['a'\] is a column of numbers, .* 'many' at row 2"):
        columns.as_floats(column, "x['a']")
    with pytest.raises(ValueError, match=r"has the text '50' at row 0"):
        columns.as_floats(column[:2], "x['a']")
