"""`python -m benchmarks.series`: forecasts by default, beside a naive one and Ridge.

    python -m benchmarks.series                   # all series, three seeds; prints the table
    python -m benchmarks.series --series co2 --seeds 1

The series come with statsmodels (`pip install statsmodels`); nothing is downloaded. All sides learn
from the same rows, the training and the validation windows of `datasets.windows`, and forecast the
test windows. The measures are the mean absolute error, in the units of the series, of

- the seasonal naive forecast: the value one season before;
- Ridge (alpha 1) on the differences of the window, of the difference from the last value;
- `Regressor()` without arguments.

Required: the default's is at most the naive one's, and at most 1.2 times Ridge's.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

LIMIT = 1.2


@dataclass(frozen=True)
class Series:
    """A series: where it is, and how it is cut."""

    load: Callable[[], np.ndarray]  # [steps, columns], the target first
    past: int
    horizon: int
    season: int


def _frame(name: str) -> Any:
    return import_module(f"statsmodels.datasets.{name}.data").load_pandas().data


def _carbon_dioxide() -> np.ndarray:
    weeks = _frame("co2")["co2"]
    return np.asarray(weeks.resample("MS").mean().ffill())[:, None]


def _macro(*columns: str) -> np.ndarray:
    return np.asarray(_frame("macrodata")[list(columns)], np.float64)


SERIES = {
    "sunspots": Series(lambda: _frame("sunspots")[["SUNACTIVITY"]].to_numpy(), 22, 11, 11),
    "elnino": Series(lambda: _frame("elnino").iloc[:, 1:].to_numpy().reshape(-1, 1), 36, 12, 12),
    "co2": Series(_carbon_dioxide, 36, 12, 12),
    "unemployment": Series(
        lambda: _macro("unemp", "realgdp", "realcons", "cpi", "tbilrate"), 12, 4, 4
    ),
    "prices": Series(lambda: _macro("cpi"), 12, 4, 4),
}


def compare(series: Series, seeds: int) -> dict[str, float]:
    """Return the mean absolute error of each side, and the seconds of one fit.

    Args:
        series: Which.
        seeds: The number of fits of the default; its error is the mean.
    """
    from sklearn.linear_model import Ridge

    from trainer import Regressor, datasets

    parts = datasets.windows(series.load(), past=series.past, horizon=series.horizon, target=0)
    x, y = (np.concatenate([getattr(p, n) for p in (parts.train, parts.valid)]) for n in "xy")
    x_test, y_test = parts.test

    def error(predicted: np.ndarray) -> float:
        return float(np.abs(predicted - y_test).mean())

    def changes(x: np.ndarray) -> np.ndarray:
        return np.diff(x, axis=1).reshape(len(x), -1)

    season = series.past - series.season + np.arange(series.horizon) % series.season
    ridge = Ridge().fit(changes(x), y - x[:, -1:, 0])
    began = time.perf_counter()
    ours = [
        error(Regressor(random_state=seed, verbose=0).fit(x, y).predict(x_test))
        for seed in range(seeds)
    ]
    seconds = (time.perf_counter() - began) / seeds
    return {
        "windows": len(x),
        "naive": error(x_test[:, season, 0]),
        "ridge": error(ridge.predict(changes(x_test)) + x_test[:, -1:, 0]),
        "default": float(np.mean(ours)),
        "worst": max(ours),
        "seconds": seconds,
    }


def main() -> None:
    """Print a table, a row per series; end with 1 if a required figure is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.series")
    parser.add_argument("--series", nargs="+", choices=SERIES, default=list(SERIES))
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    print("| series | windows | seasonal naive | Ridge | default | worst seed | of Ridge | s |")
    print("|---|---|---|---|---|---|---|---|")
    missed = []
    for name in args.series:
        found = compare(SERIES[name], args.seeds)
        ratio = found["default"] / found["ridge"]
        if found["default"] > found["naive"] or ratio > LIMIT:
            missed.append(name)
        errors = " | ".join(f"{found[side]:.4g}" for side in ("naive", "ridge", "default", "worst"))
        print(
            f"| {name} | {found['windows']:.0f} | {errors} | {ratio:.2f} "
            f"| {found['seconds']:.0f} |",
            flush=True,
        )
    if missed:
        raise SystemExit(f"above the limit: {', '.join(missed)}")


if __name__ == "__main__":
    main()
