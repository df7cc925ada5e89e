"""Forecast a series: windows split by time, the default network, and a plot of one forecast.

    python examples/forecast.py                     hourly demand that is made here, offline
    python examples/forecast.py --data sales.csv --time date --target units --past 28 --horizon 7

The errors are in the units of the series, beside those of the value one season before.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # silence TensorFlow's hardware report

from trainer import Regressor, datasets

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", help="a CSV file; without it a series is made")
parser.add_argument("--time", help="its column of times")
parser.add_argument("--target", default="demand", help="the column to forecast")
parser.add_argument("--past", type=int, default=48, help="steps that a forecast is made from")
parser.add_argument("--horizon", type=int, default=12, help="steps to forecast")
parser.add_argument("--season", type=int, default=24, help="steps of a season, to compare with")
parser.add_argument("--epochs", type=int, help="at most so many passes over the data")
parser.add_argument("--seed", type=int, default=42, help="the same seed gives the same results")
parser.add_argument("--out", type=Path, default=Path("output/forecast"), help="where files go")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)


def made(seed: int) -> pd.DataFrame:
    """Return eight weeks of demand by the hour, which depends on the hour and on warmth."""
    generator = np.random.default_rng(seed)
    times = pd.date_range("2024-01-01", periods=8 * 7 * 24, freq="h")
    hour, day = np.asarray(times.hour), np.asarray(times.day_of_week)
    warmth = np.cumsum(generator.normal(size=len(times))) * 0.3
    shape = np.maximum(np.sin((hour - 6) * np.pi / 12), 0) * np.where(day < 5, 30, 12)
    demand = 50 + shape + 2 * warmth + generator.normal(size=len(times))
    return pd.DataFrame({"demand": demand, "warmth": warmth}, index=times)


frame = made(args.seed) if args.data is None else pd.read_csv(args.data)
data = datasets.windows(
    frame,
    past=args.past,
    horizon=args.horizon,
    target=args.target,
    time=args.time,
    fill="previous",
)
print(data, data.description, sep="\n")

model = Regressor(epochs=args.epochs, random_state=args.seed)
model.fit(*data.train, validation_data=data.valid)
print(next(line for line in model.summary().splitlines() if line.startswith("architecture")))

column = data.columns.index(args.target)
one_season_before = args.past - args.season + np.arange(args.horizon) % args.season
naive = data.test.x[:, one_season_before, column]
for name, predicted in (("default", model.predict(data.test.x)), ("seasonal naive", naive)):
    errors = data.scores(predicted, season=args.season)
    print(f"{name:>14}  MAE {errors['mae']:.3f}  MASE {errors['mase']:.3f}")

ax = model.plot_forecast(*data.test, column=column, times=data.times.test)
ax.figure.savefig(args.out / "forecast.png")
print("the next steps:", np.round(model.predict(data.latest)[0], 1))
model.save(args.out / "forecast.keras")

print("\nfiles written:")
for name in ("forecast.png", "forecast.keras"):
    print(f"  {args.out / name}")
