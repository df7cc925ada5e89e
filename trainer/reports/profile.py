"""What the columns of a table hold, and what in the data makes a score misleading.

Responsible for a profile of the training rows, and for warnings: rows in two splits, columns that
give the target away, and columns that differ between training and test rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from trainer.datasets import Dataset

DRIFT = 0.2  # the distance of two distributions, from 0 to 1, from which on it is named
LEAK = 0.999  # the rank correlation with the target, or the share of rows, that gives it away
_MOST_COLUMNS = 100
_MOST_ROWS = 50_000


def columns(dataset: Dataset) -> list[dict[str, str]]:
    """Return a row for each column of a table, or for an array as a whole; at most 100."""
    x: Any = dataset.train.x
    if not hasattr(x, "iloc"):
        x = np.asarray(x)
        values = f"{x.dtype} {list(x.shape[1:])}"
        return [{"name": "x", "kind": values, "missing": _share(x), "values": ""}]
    return [
        _column(str(name), x.iloc[:, i]) for i, name in enumerate(list(x.columns)[:_MOST_COLUMNS])
    ]


def _share(x: np.ndarray) -> str:
    return f"{np.isnan(x).mean():.1%}" if x.dtype.kind == "f" else "0.0%"


def _column(name: str, column: Any) -> dict[str, str]:
    from pandas.api import types

    known = column.dropna()
    found = {"name": name, "kind": str(column.dtype), "missing": f"{column.isna().mean():.1%}"}
    if (
        types.is_numeric_dtype(column.dtype)
        and not types.is_bool_dtype(column.dtype)
        and len(known)
    ):
        low, middle, high = (float(v) for v in (known.min(), known.median(), known.max()))
        return {**found, "values": f"{low:.4g} to {high:.4g}, median {middle:.4g}"}
    counts = known.astype(str).value_counts()
    most = ", ".join(f"{value[:40]} ({n:,})" for value, n in counts.head(3).items())
    return {**found, "values": f"{len(counts):,} values: {most}" if len(counts) else ""}


def warnings(dataset: Dataset) -> list[str]:
    """Return what in the data makes the score misleading, one sentence each."""
    train, test = dataset.train, dataset.test
    found = _duplicates(dataset)
    x: Any = train.x
    if not hasattr(x, "iloc"):
        return found
    y = np.asarray(train.y)
    for name in list(x.columns)[:_MOST_COLUMNS]:
        one, other = x[name], test.x[name]
        if y.ndim == 1 and _gives_away(one.iloc[:_MOST_ROWS], y[:_MOST_ROWS], dataset.task):
            found.append(
                f"the column {name} alone tells the target of nearly all rows: would it be known "
                "when a prediction is needed?"
            )
        distance = _distance(one, other)
        if distance >= DRIFT:
            found.append(
                f"the column {name} differs between training and test rows (distance "
                f"{distance:.2f} of 1): the score may not hold for other rows"
            )
    return found


def _duplicates(dataset: Dataset) -> list[str]:
    keys = set(_keys(dataset.train.x))
    found = []
    for name, x, means in (
        ("validation", dataset.valid.x, "the validation loss"),
        ("test", dataset.test.x, "the score"),
    ):
        both = sum(key in keys for key in _keys(x))
        if both:
            found.append(
                f"{both:,} {name} rows ({both / len(x):.1%}) are in the training rows too: {means} "
                "is of rows that are known"
            )
    return found


def _keys(x: Any) -> list[Any]:
    if hasattr(x, "iloc"):
        import pandas as pd

        plain = x.astype({n: str for n in x if x[n].dtype == object})
        return list(pd.util.hash_pandas_object(plain, index=False))
    if not len(x):
        return []
    rows = np.ascontiguousarray(x).reshape(len(x), -1)
    if rows.dtype == object:  # texts
        return [hash(tuple(map(str, row))) for row in rows]
    return [hash(row.tobytes()) for row in rows]


def _gives_away(column: Any, y: np.ndarray, task: str) -> bool:
    """Whether a column alone determines the target."""
    from pandas.api import types
    from scipy import stats

    numeric = types.is_numeric_dtype(column.dtype) and not types.is_bool_dtype(column.dtype)
    if task == "regression":
        if not numeric or column.nunique() < 10:
            return False
        known = column.notna().to_numpy()
        if len(np.unique(y[known])) < 2:
            return False  # every column tells a target that never varies
        ranks = stats.spearmanr(column[known].astype(float), y[known]).statistic
        return bool(abs(ranks) > LEAK)
    if column.nunique() > len(column) / 4 or column.nunique() < 2:
        return False  # each value is rare, so that it tells little
    import pandas as pd

    table = pd.crosstab(column.astype(str).to_numpy(), y)
    n = table.to_numpy().sum()
    wrong, always = 1 - table.max(axis=1).sum() / n, 1 - table.sum().max() / n
    # of two classes one of which is rare, every column tells nearly all
    return bool(wrong < 1 - LEAK and wrong < always / 10)


def _distance(one: Any, other: Any) -> float:
    """Return Kolmogorov and Smirnov's distance of numbers, the total variation of categories."""
    from pandas.api import types
    from scipy import stats

    one, other = one.dropna(), other.dropna()
    # of few rows, two samples of one distribution differ as much
    noise = 1.6 * np.sqrt(1 / max(1, len(one)) + 1 / max(1, len(other)))
    if min(len(one), len(other)) < 20:
        return 0.0
    if types.is_numeric_dtype(one.dtype) and not types.is_bool_dtype(one.dtype):
        distance = float(stats.ks_2samp(one.astype(float), other.astype(float)).statistic)
    else:
        a, b = (c.astype(str).value_counts(normalize=True) for c in (one, other))
        if len(a) > 50:
            return 0.0
        distance = float(a.sub(b, fill_value=0).abs().sum() / 2)
    return distance if distance > noise else 0.0
