"""The table of a search as its plots read it: checked, with values as in the space.

Responsible for the content of the table. Not for drawing it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search.reports.results import column, ranked
from search.space import Point, Space, to_unit, values
from trainer.hyperparameters import Domain, Drawn, Float, Int
from trainer.utils.checks import boolean

if TYPE_CHECKING:
    import pandas as pd


def check_table(name: str, table: Any) -> None:
    """Refuse what is not a DataFrame with rows.

    Raises:
        TypeError, ValueError: the message calls the table `name`.
    """
    import pandas as pd

    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"{name} is a {type(table).__name__}: must be a DataFrame")
    if not len(table):
        raise ValueError(f"{name} has no rows: call fit before drawing")


def check_columns(table: pd.DataFrame, *names: str) -> None:
    """Refuse a table without the named columns.

    Raises:
        ValueError: a column is missing.
    """
    for name in names:
        if name not in table:
            raise ValueError(f"results has no column {name!r}; pass the results_ of the search")


def checked(results: pd.DataFrame, maximize: bool) -> pd.DataFrame:
    """Check the table, and return it in the order of trials."""
    check_table("results", results)
    check_columns(results, "trial", "state", "score")
    boolean("maximize", maximize)
    table = results.sort_values("trial", ignore_index=True)
    return table.assign(score=table["score"].astype(np.float64))


def scored(table: pd.DataFrame) -> pd.Series:
    """Return which trials have a finite score [trials]."""
    return np.isfinite(table["score"])


def points(table: pd.DataFrame, space: Space) -> list[Point]:
    """Return the active parameters of each trial, with values as in the space."""
    columns = [column(name) for name in space.domains]
    check_columns(table, *columns)
    points = []
    for trial, *cells in zip(table["trial"], *(table[n] for n in columns), strict=True):
        whole = {
            name: _value(domain, cell)
            for (name, domain), cell in zip(space.domains.items(), cells, strict=True)
        }
        try:
            points.append(space.check({name: whole[name] for name in space.active(whole)}))
        except ValueError as error:
            raise ValueError(f"results, trial {trial}: {error}") from None
    return points


def _value(domain: Domain, cell: Any) -> Any:
    """Return a parameter's value: pandas turns 8 into 8.0 in a column with missing values."""
    import pandas as pd

    cell = cell.item() if isinstance(cell, np.generic) else cell
    if cell is None or cell is pd.NA or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if isinstance(domain, Float) and type(cell) is int:
        return float(cell)
    if isinstance(domain, Int) or (isinstance(domain, Drawn) and domain.discrete):
        return int(cell) if isinstance(cell, float) and cell.is_integer() else cell
    if domain.contains(cell):
        return cell
    return next((value for value in values(domain) or () if value == cell), cell)


def units(points: Sequence[Point], space: Space) -> NDArray[np.float64]:
    """Return values in 0..1 as the space spreads them [trials, parameters]; NaN where inactive."""
    items = space.domains.items()
    return np.array([[to_unit(d, p[n]) if n in p else np.nan for n, d in items] for p in points])


def summary(table: pd.DataFrame, maximize: bool, by_rung: bool) -> str:
    """Return a plot's title: the best score, and how many trials there were."""
    count = f"{len(table):,} trial{'s' if len(table) > 1 else ''}"
    done = table[scored(table)]
    failed = int((table["state"] == "failed").sum())
    told = f", {failed:,} failed" if failed else ""
    if not len(done):
        return f"no score: {count}{told}"
    best = ranked(done, maximize=maximize, by_rung=by_rung).iloc[0]
    return f"best {best['score']:.4g}, trial {int(best['trial'])}; {count}{told}"
