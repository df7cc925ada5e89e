"""Windows of series: their values, splits by time, regular steps, filling, and what is refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainer.datasets import Windows, windows

DAYS = pd.date_range("2020-01-01", periods=120, freq="D")


def daily(**columns: Any) -> pd.DataFrame:
    own = {"a": np.arange(120.0), "b": 2 * np.arange(120.0)}
    return pd.DataFrame(own | columns, index=DAYS)


def test_windows_hold_the_past_of_all_columns_and_the_steps_of_the_target_after_it() -> None:
    parts = windows(daily(), past=7, horizon=3, target="b")
    x, y = parts.train
    assert x.shape[1:] == (7, 2) and y.shape[1:] == (3,)
    for i in (0, 1, len(x) - 1):
        np.testing.assert_array_equal(x[i, :, 0], np.arange(i, i + 7))
        np.testing.assert_array_equal(y[i], 2 * np.arange(i + 7, i + 10))
    assert parts.columns == ["a", "b"] and parts.targets == ["b"]
    np.testing.assert_array_equal(parts.latest[0, :, 0], np.arange(113, 120))
    assert parts.times.train[0, 0] == np.datetime64("2020-01-08")
    assert parts.step == "D"


def test_stride_is_the_distance_between_windows() -> None:
    x, y = windows(np.arange(200.0), past=4, horizon=2, stride=5).train
    np.testing.assert_array_equal(x[:3, 0, 0], [0, 5, 10])
    np.testing.assert_array_equal(y[:3, 0], [4, 9, 14])


def test_several_targets_have_an_axis_of_their_own() -> None:
    series = np.arange(240.0).reshape(80, 3)
    assert windows(series, past=4, horizon=2, target=1).train.y.shape[1:] == (2,)
    assert windows(series, past=4, horizon=2, target=[1]).train.y.shape[1:] == (2, 1)
    y = windows(series, past=4, horizon=2).train.y
    np.testing.assert_array_equal(y[0], series[4:6])


@pytest.mark.parametrize("horizon", [1, 5])
@pytest.mark.parametrize("stride", [1, 3])
def test_nothing_of_a_later_split_is_in_an_earlier_one(horizon: int, stride: int) -> None:
    parts = windows(np.arange(300.0), past=10, horizon=horizon, stride=stride)
    seen_in_training = max(parts.train.x.max(), parts.train.y.max())
    assert seen_in_training < parts.valid.y.min()
    assert max(parts.valid.x.max(), parts.valid.y.max()) < parts.test.y.min()
    n = [len(part.x) for part in (parts.train, parts.valid, parts.test)]
    assert n[0] / sum(n) == pytest.approx(0.6, abs=0.05)


def test_no_window_spans_two_series_and_their_splits_have_the_same_borders() -> None:
    stacked = pd.DataFrame(
        {
            "year": np.tile(np.arange(1950, 2050), 2),
            "shop": np.repeat(["north", "south"], 100),
            "sales": np.concatenate([np.arange(100.0), 1000 + np.arange(100.0)]),
        }
    ).sample(frac=1, random_state=0)
    parts = windows(stacked, past=5, horizon=2, target="sales", time="year", group="shop")
    assert parts.groups is not None
    for split, groups in zip(("train", "valid", "test"), parts.groups, strict=True):
        x, y = getattr(parts, split)
        far = np.where(groups == "south", 1000, 0)
        whole = np.concatenate([x[:, :, 0], y], axis=1) - far[:, None]
        np.testing.assert_array_equal(np.diff(whole), 1)
        assert set(groups) == {"north", "south"}
        np.testing.assert_array_equal(getattr(parts.times, split)[:, 0], 1950 + y[:, 0] - far)
    assert parts.times.train.max() < parts.times.valid.min()
    assert parts.latest.shape == (2, 5, 1)


@pytest.mark.parametrize(
    "step", ["MS", "ME", "QS", "QE-NOV", "YS", "YE", "B", "BME", "W", "h", "15min", "7D"]
)
def test_regular_and_missing_steps_of_the_calendar_are_found(step: str) -> None:
    times = pd.date_range("2000-01-01", periods=90, freq=step)
    series = pd.Series(np.arange(90.0), index=times)
    whole = windows(series, past=4, horizon=2)
    assert len(whole.train.x) > 40
    missing = series.drop(times[40])
    with pytest.raises(ValueError, match="is missing") as error:
        windows(missing, past=4, horizon=2)
    assert str(times[40].date()) in str(error.value)
    filled = windows(missing, past=4, horizon=2, fill="previous")
    assert filled.train.x.shape == whole.train.x.shape


def test_previous_fills_with_the_last_known_value() -> None:
    parts = windows([1.0, 2.0, np.nan, np.nan, 5.0] * 8, past=5, horizon=1, fill="previous")
    np.testing.assert_array_equal(parts.train.x[0, :, 0], [1, 2, 2, 2, 5])


def test_interpolation_in_x_knows_nothing_after_x() -> None:
    whole = windows(daily(), past=7, horizon=3, target="a")
    parts = windows(daily().drop(DAYS[50]), past=7, horizon=3, target="a", fill="interpolate")
    different = np.argwhere(parts.train.x[:, :, 0] != whole.train.x[:, :, 0])
    np.testing.assert_array_equal(different, [[44, 6]])  # the window whose x ends with the gap
    assert parts.train.x[44, -1, 0] == 49.0
    np.testing.assert_array_equal(np.argwhere(parts.train.y != whole.train.y), [[41, 2]])
    assert parts.train.y[41, 2] == 49.0


def test_a_window_is_the_same_whatever_comes_after_it() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=200)
    values[rng.random(200) < 0.2] = np.nan
    values[0] = 0.0
    for fill in ("previous", "interpolate"):
        long = windows(values, past=6, horizon=2, fill=fill)
        changed = values.copy()
        changed[100:] = 7.0
        other = windows(changed, past=6, horizon=2, fill=fill)
        np.testing.assert_array_equal(long.train.x[:93], other.train.x[:93])
        np.testing.assert_array_equal(long.train.y[:93], other.train.y[:93])


def test_times_between_steps_are_placed_on_the_steps_of_step() -> None:
    seconds = np.random.default_rng(0).integers(0, 300, 100)
    times = pd.date_range("2020-01-01", periods=100, freq="h") + pd.to_timedelta(seconds, unit="s")
    series = pd.Series(np.arange(100.0), index=times)
    parts = windows(series, past=4, horizon=2, fill="interpolate", step="1h")
    inner = parts.train.x[5, :-1, 0]
    assert np.abs(np.diff(inner) - 1).max() < 0.2
    with pytest.raises(ValueError, match=r"irregular: the step 2020-01-01 01:.*step='1h'"):
        windows(series, past=4, horizon=2)
    with pytest.raises(ValueError, match="lies between the steps"):
        windows(series, past=4, horizon=2, step="1h")


@pytest.mark.parametrize("freq", ["h", "D"])
def test_zones_with_summer_time_have_regular_steps(freq: str) -> None:
    times = pd.date_range("2020-03-01", periods=800, freq=freq, tz="Europe/Berlin")
    assert len(windows(pd.Series(np.arange(800.0), index=times), past=4).train.x) > 400


def test_float32_stays_and_everything_else_is_float64() -> None:
    assert windows(np.arange(50, dtype=np.float32), past=4).train.x.dtype == np.float32
    assert windows(np.arange(50), past=4).train.x.dtype == np.float64
    nullable = pd.DataFrame({"a": pd.array(range(50), dtype="Int64")})
    assert windows(nullable, past=4).train.x.dtype == np.float64


def test_scores_are_in_units_of_the_series_and_of_the_naive_forecast() -> None:
    parts = windows(np.arange(100.0) * 3, past=6, horizon=2)
    found = parts.scores(parts.test.y + 1.5)
    assert found == {"mae": 1.5, "rmse": 1.5, "mase": 0.5}
    assert parts.scores(parts.valid.y + 3.0, "valid", season=2)["mase"] == 0.5
    with pytest.raises(ValueError, match=r"predicted has shape \(3,\): must be"):
        parts.scores(np.zeros(3))
    with pytest.raises(ValueError, match="season=6: the windows hold past=6 steps"):
        parts.scores(parts.test.y, season=6)


@pytest.mark.parametrize(
    ("past", "columns", "message"),
    [
        (8, 8, r"past=8: with 8 columns the windows are square.*model='sequence'.*past=16"),
        (9, 9, "square"),
        (12, 9, "with 9 columns the windows are shorter than past=18.*model='sequence'.*past=18"),
        (17, 9, "shorter than past=18"),
        (2, 9, "shorter than past=18"),
    ],
)
def test_windows_that_are_not_taken_for_a_series_are_warned_of(
    past: int, columns: int, message: str
) -> None:
    with pytest.warns(UserWarning, match=message) as found:
        windows(np.random.default_rng(0).normal(size=(90, columns)), past=past, target=0)
    assert [warning.filename for warning in found] == [__file__]


@pytest.mark.parametrize(("past", "columns"), [(18, 9), (2, 8), (16, 8), (7, 7), (1, 9)])
def test_windows_that_are_taken_for_a_series_are_not_warned_of(past: int, columns: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        windows(np.random.default_rng(0).normal(size=(90, columns)), past=past, target=0)


def with_nan() -> pd.DataFrame:
    frame = daily()
    frame.iloc[9, 1] = np.nan
    return frame


BAD: dict[str, tuple[Callable[[], Windows], type[Exception], str]] = {
    "duplicate times": (
        lambda: windows(pd.concat([daily(), daily().iloc[[5]]]), past=7, target="a"),
        ValueError,
        r"series: the step 2020-01-06 occurs twice; drop one.*group=",
    ),
    "duplicate times in a group": (
        lambda: windows(
            pd.DataFrame({"t": [1, 2, 3, 1, 2, 2], "g": list("aaabbb"), "v": range(6)}),
            past=1,
            target="v",
            time="t",
            group="g",
        ),
        ValueError,
        "series: the step 2 of group 'b' occurs twice",
    ),
    "a missing step": (
        lambda: windows(daily().drop(DAYS[[50, 60]]), past=7, target="a"),
        ValueError,
        r"the step 2020-02-20 is missing \(2 steps are missing in all\).*fill='previous'",
    ),
    "a missing value": (
        lambda: windows(with_nan(), past=7, target="a"),
        ValueError,
        r"series\['b'\]: has no value at the step 2020-01-10; write fill=",
    ),
    "a missing value of an array": (
        lambda: windows([1.0, 2.0, np.nan] * 9, past=2),
        ValueError,
        r"series\[0\]: has no value at step 2 \(9 values are missing",
    ),
    "nothing to fill the first value with": (
        lambda: windows([np.nan, 2.0, 3.0] * 9, past=2, fill="previous"),
        ValueError,
        r"series\[0\]: has no value at step 0, the first.*drop the steps",
    ),
    "infinity": (
        lambda: windows([1.0, np.inf, 3.0] * 9, past=2, fill="previous"),
        ValueError,
        r"series\[0\]: is infinite at step 1; drop",
    ),
    "text": (
        lambda: windows(daily(c="red"), past=7, target="a"),
        ValueError,
        r"series\['c'\]: holds text such as 'red'.*get_dummies",
    ),
    "times that are no dates": (
        lambda: windows(pd.DataFrame({"t": ["2020-01-01", "then"], "v": [1, 2]}), past=1, time="t"),
        ValueError,
        "time='t': 'then' in row 1 is not a date",
    ),
    "no such target": (
        lambda: windows(daily(), past=7, target="c"),
        ValueError,
        "target='c': series has no column",
    ),
    "a target counted from the end": (
        lambda: windows(np.zeros((30, 3)), past=7, target=-1),
        ValueError,
        "target=-1: series has no column -1; its columns are 0, 1, 2$",
    ),
    "a target counted from the end of many": (
        lambda: windows(np.zeros((30, 40)), past=7, target=[0, -1]),
        ValueError,
        r"target=\[0, -1\]: series has no column -1; its columns are 0 to 39$",
    ),
    "a position in a single column": (
        lambda: windows(np.arange(30.0), past=7, target="0"),
        ValueError,
        "target='0': series has no column '0'; its only column is 0$",
    ),
    "a position among names": (
        lambda: windows(daily(), past=7, target=-1),
        ValueError,
        "target=-1: series has no column -1; its columns are 'a', 'b'$",
    ),
    "a group counted from the end": (
        lambda: windows(pd.DataFrame(np.zeros((30, 2))), past=7, group=-1),
        ValueError,
        "group=-1: series has no such column; its columns are 0, 1$",
    ),
    "a list of times": (
        lambda: windows(daily(), past=7, time=["a"]),
        ValueError,
        r"time=\['a'\]: series has no such column; its columns are 'a', 'b'$",
    ),
    "values beyond float32": (
        lambda: windows(daily(c=1e300 * np.linspace(0, 3, 120)), past=7),
        ValueError,
        r"series\['c'\]: is 2.52101e\+298 at the step 2020-01-02,.* to 1e\+18; .*by 1e300",
    ),
    "a value beyond float32": (
        lambda: windows([1.0, -2e30, np.nan] * 9, past=2, fill="previous"),
        ValueError,
        r"series\[0\]: is -2e\+30 at step 1,.*divide the column by 1e30",
    ),
    "values that float32 cannot tell apart": (
        lambda: windows(np.arange(30) * 1e-40, past=2),
        ValueError,
        r"series\[0\]: has no value above 2.9e-39 in size,.*divide the column by 1e-39",
    ),
    "no such time": (
        lambda: windows(daily(), past=7, time="when"),
        ValueError,
        "time='when': series has no such",
    ),
    "no such group": (
        lambda: windows(daily(), past=7, group="g"),
        ValueError,
        "group='g': series has no such",
    ),
    "a group column of an array": (
        lambda: windows(np.arange(30.0), past=7, group="g"),
        ValueError,
        "pass a DataFrame",
    ),
    "too few steps": (
        lambda: windows(np.arange(12.0), past=7, horizon=4),
        ValueError,
        "12 steps are too few for windows of past=7 and horizon=4.*about 30 are needed",
    ),
    "three axes": (
        lambda: windows(np.zeros((3, 4, 5)), past=2),
        ValueError,
        r"series has shape \(3, 4, 5\): must be \[steps\]",
    ),
    "an unknown fill": (
        lambda: windows(np.arange(30.0), past=7, fill="mean"),
        ValueError,
        "fill='mean': must be one of",
    ),
    "past zero": (lambda: windows(np.arange(30.0), past=0), ValueError, "past=0: must be 1"),
    "a file's name": (lambda: windows("a.csv", past=7), TypeError, "series='a.csv'"),
    "no steps": (lambda: windows([], past=7), ValueError, "series is empty"),
    "a step without times": (
        lambda: windows(np.arange(30.0), past=7, step="1h"),
        ValueError,
        "series has no times",
    ),
    "a step that is none": (
        lambda: windows(daily(), past=7, step="hourly", target="a"),
        ValueError,
        "step='hourly'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_series_are_refused_with_one_error(case: str) -> None:
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call()


def test_a_stride_that_leaves_too_few_windows_is_said_to_be_too_long() -> None:
    with pytest.raises(ValueError, match="stride=1000: .* of 60 steps .*; write a smaller stride"):
        windows(np.arange(60.0), past=5, stride=1000)


def test_scores_are_of_numbers_and_warn_of_predictions_that_are_none() -> None:
    parts = windows(np.arange(100.0), past=8)
    with pytest.raises(ValueError, match="predicted contains text such as 'a'"):
        parts.scores(np.full(parts.test.y.shape, "a"))
    with pytest.warns(UserWarning, match="predicted: has NaN or infinity"):
        assert np.isnan(parts.scores(np.full(parts.test.y.shape, np.nan))["mae"])
