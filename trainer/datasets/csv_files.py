"""Reads user-supplied tables, .csv and .csv.gz.

Every column except the target stays as pandas reads it, including missing values and text; the
estimator encodes them.
"""

from __future__ import annotations

from pathlib import Path

from trainer.checks import did_you_mean
from trainer.datasets.cache import reading
from trainer.datasets.dataset import Dataset
from trainer.datasets.splits import as_dataset, check_rows, infer_task, split_in_three
from trainer.text import printable


def load_csv(path: Path, target: str | None, seed: int) -> Dataset:
    """Load x as a DataFrame without the column `target`, and y as that column, a Series."""
    import pandas as pd

    with reading(path, "a CSV file", cached=False):
        columns = list(pd.read_csv(path, nrows=0).columns)
    if target is None:
        raise ValueError(
            "target=None: must be the name of the column to predict; "
            f"write one of {', '.join(map(printable, columns))}"
        )
    if target not in columns:
        raise ValueError(
            f"target={target!r}: {path.name} has no such column; {did_you_mean(target, columns)}"
        )
    if len(columns) == 1:
        raise ValueError(f"{path.name} has no column other than the target {target!r}")
    with reading(path, "a CSV file", cached=False):
        # Reading in chunks could infer mixed types for a column.
        frame = pd.read_csv(path, low_memory=False)
    x, y = frame.drop(columns=target), frame[target]
    if y.isna().any():
        rows = ", ".join(str(row) for row in y.index[y.isna()][:5])
        raise ValueError(
            f"target={target!r}: {int(y.isna().sum()):,} of {len(y):,} rows have no value in this "
            f"column (first rows: {rows}, counted from 0 after the header); "
            "remove them from the file"
        )
    check_rows(x, y, x_name=path.name, y_name=f"the column {target!r}")
    task = infer_task(y)
    return as_dataset(
        split_in_three(x, y, task, seed),
        name=path.name,
        task=task,
        description=f"{len(x):,} rows of {x.shape[1]} columns to predict {target} from, with "
        f"{int(x.isna().sum().sum()):,} missing values.",
        source=str(path),
    )
