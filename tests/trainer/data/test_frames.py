"""Tables of polars and Arrow: the same columns as from pandas, for fit and predict."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainer import Regressor
from trainer.data.frames import as_frame, is_table
from trainer.data.tables import Table

pl = pytest.importorskip("polars", reason="polars is not a dependency; CI installs it")
pa = pytest.importorskip("pyarrow", reason="pyarrow is not a dependency; CI installs it")

N = 40
RNG = np.random.default_rng(0)
START = datetime.datetime(2020, 1, 1)


def columns(*names: str) -> Any:
    """A polars DataFrame with a column of each kind, a value missing in every ninth row."""

    def gaps(values: Any) -> list[Any]:
        return [None if i % 9 == 3 else v for i, v in enumerate(values)]

    table = pl.DataFrame(
        {
            "int": gaps(RNG.integers(0, 5, N).tolist()),
            "float": gaps(RNG.normal(size=N).tolist()),
            "bool": gaps((RNG.random(N) > 0.5).tolist()),
            "str": gaps(RNG.choice(["a", "b"], N).tolist()),
            "date": gaps([START.date() + datetime.timedelta(days=i) for i in range(N)]),
            "datetime": gaps([START + datetime.timedelta(hours=7 * i) for i in range(N)]),
            "duration": gaps([datetime.timedelta(minutes=i) for i in range(N)]),
            "time": gaps([datetime.time(i % 24, 3) for i in range(N)]),
            "nothing": [None] * N,
        }
    ).with_columns(
        pl.col("str").cast(pl.Categorical).alias("category"),
        pl.col("str").cast(pl.Enum(["b", "a"])).alias("enum"),
        pl.col("datetime").dt.replace_time_zone("Europe/Berlin").alias("zoned"),
        pl.col("float").cast(pl.Decimal(10, 2)).alias("decimal"),
        pl.col("float").cast(pl.Float32).alias("float32"),
    )
    return table.select(names) if names else table


FORMS: dict[str, Callable[[Any], Any]] = {
    "Arrow": lambda t: t.to_arrow(),
    "a batch of Arrow": lambda t: t.to_arrow().combine_chunks().to_batches()[0],
    "pandas": lambda t: t.to_arrow().to_pandas(),
    "pandas with Arrow's dtypes": lambda t: t.to_arrow().to_pandas(types_mapper=pd.ArrowDtype),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_columns_are_the_same_in_every_form(form: str) -> None:
    table = columns()
    other = FORMS[form](table)
    assert is_table(table) and is_table(other)
    frame, converted = as_frame(table), as_frame(other)
    learnt = Table.learn(frame, normalize="standard")
    assert learnt.columns == Table.learn(converted, normalize="standard").columns
    kinds = {c["name"]: c["kind"] for c in learnt.columns}
    numbers = ("int", "float", "bool", "duration", "time", "decimal", "float32")
    assert kinds == {
        **dict.fromkeys(numbers, "number"),
        **dict.fromkeys(("str", "category", "nothing"), "category"),
        **dict.fromkeys(("date", "datetime", "zoned"), "date"),
        "enum": "ordered",
    }
    expected = learnt.inputs(frame)
    for name, values in learnt.inputs(converted).items():
        np.testing.assert_array_equal(values, expected[name])


def test_fit_and_predict_take_any_of_them() -> None:
    table = columns("float", "str", "datetime", "enum")
    y = np.arange(N) / N
    fitted = Regressor(epochs=1, random_state=0).fit(table, y, validation_data=(table, y))
    assert list(fitted.feature_names_in_) == table.columns
    expected = fitted.predict(table)
    for form in FORMS.values():
        np.testing.assert_array_equal(fitted.predict(form(table)), expected)
    score = fitted.score(table, pl.Series(y))  # scikit-learn computes in float32 for some
    assert score == pytest.approx(fitted.score(table.to_arrow(), pa.array(y)), abs=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda t: t.lazy(), r"x is a polars LazyFrame.*x\.collect\(\)"),
        (lambda t: t.with_columns(pl.lit([1, 2]).alias("l")), r"x\['l'\].*nested values"),
        (lambda t: pl.DataFrame({"l": [{"a": 1}] * N}), r"x\['l'\].*nested values"),
    ],
)
def test_what_has_no_rows_or_no_single_values_is_refused(make: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Regressor().fit(make(columns("int")), np.arange(N))


def test_lists_in_arrow_are_refused() -> None:
    with pytest.raises(TypeError, match=r"x\['l'\] contains ndarray objects.*columns of their own"):
        Regressor().fit(pa.table({"l": [[1, 2]] * N}), np.arange(N))
