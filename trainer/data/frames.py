"""Tables of other libraries as pandas DataFrames: polars and Arrow.

Responsible for converting them column by column, without a detour through text. Not for what the
columns hold (`columns`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def as_frame(value: Any, name: str = "x") -> Any:
    """Return a polars DataFrame, an Arrow Table or a RecordBatch as a pandas DataFrame.

    Args:
        value: The data; anything else is returned unchanged.
        name: The name of the argument, for errors.

    Raises:
        TypeError: It is a polars LazyFrame, which has no rows yet, or a column has nested values.
    """
    kind = _kind(value)
    if kind == "polars.LazyFrame":
        raise TypeError(f"{name} is a polars LazyFrame, which has no rows yet; write x.collect()")
    if kind == "polars.DataFrame":
        return _of_polars(value, name)
    if kind in ("pyarrow.Table", "pyarrow.RecordBatch"):
        return _of_arrow(value)
    return value


def is_table(value: Any) -> bool:
    """Return whether a value is a table of named columns: of pandas, polars or Arrow."""
    tables = ("polars.DataFrame", "pyarrow.Table", "pyarrow.RecordBatch")
    return _kind(value) in tables or (hasattr(value, "iloc") and getattr(value, "ndim", 0) == 2)


def _kind(value: Any) -> str:
    kind = type(value)
    return f"{kind.__module__.partition('.')[0]}.{kind.__name__}"


def _of_arrow(table: Any) -> pd.DataFrame:
    import pandas as pd

    names = list(table.schema.names)
    columns = [table.column(i).to_pandas() for i in range(len(names))]
    frame = pd.concat(columns, axis=1) if columns else pd.DataFrame()
    frame.columns = pd.Index(names, dtype=object)  # a name may occur twice, which is an error later
    return frame


def _of_polars(table: Any, name: str) -> pd.DataFrame:
    import pandas as pd

    found = {}
    for column in table.columns:
        series = table.get_column(column)
        kind = type(series.dtype).__name__ if not isinstance(series.dtype, type) else ""
        kind = kind or series.dtype.__name__
        if kind in ("List", "Array", "Struct"):
            raise TypeError(
                f"{name}[{column!r}] has the polars dtype {series.dtype}: nested values; put their "
                "elements into columns of their own"
            )
        if kind == "Categorical":
            values = pd.Series(pd.Categorical(series.to_list()))
        elif kind == "Enum":  # ordered, as in polars' comparisons and in Arrow
            levels = series.dtype.categories.to_list()
            values = pd.Series(pd.Categorical(series.to_list(), categories=levels, ordered=True))
        elif kind in ("String", "Utf8", "Object", "Time", "Binary", "Decimal", "Null"):
            values = pd.Series(series.to_list(), dtype=object)
        elif kind == "Boolean" and series.null_count():
            values = pd.Series(series.to_list(), dtype="boolean")
        elif kind == "Datetime":
            zone = getattr(series.dtype, "time_zone", None)
            values = pd.Series(np.asarray(series.dt.replace_time_zone(None).to_numpy()))
            if zone is not None:
                moments = np.asarray(series.dt.convert_time_zone("UTC").to_numpy())
                values = pd.Series(moments).dt.tz_localize("UTC").dt.tz_convert(zone)
        else:
            values = pd.Series(np.asarray(series.to_numpy()))
        found[column] = values
    return pd.DataFrame(found)
