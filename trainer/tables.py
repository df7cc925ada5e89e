"""Tables of mixed columns: a DataFrame as inputs of a network.

Responsible for what is learned of each column (medians, means, categories), for the Keras model
that encodes a raw table with keras.utils.FeatureSpace, and for handing that model a DataFrame.
The encoder is part of the saved model, so serving never differs from training. Not for arrays.
"""

from __future__ import annotations

import math
import numbers
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer import forms
from trainer.checks import did_you_mean

if TYPE_CHECKING:
    import keras
    import pandas as pd

MISSING = "[missing]"
MAX_CATEGORIES = 256  # the commonest are kept; the others share the out-of-vocabulary column

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# What Keras calls layers and models that nobody named: no two parts of a model share a name.
_KERAS_OWN = re.compile(r"(category_encoding|tfd_concat|sequential|functional|model)(_\d+)?")


class Table:
    """What training learned of a DataFrame's columns.

    Attributes:
        columns: for each column, in order, a dict with `name`, `kind` ("number" or "category"),
            `input` (the name of its Keras input), and either `median`, `offset`, `scale` and
            `indicator`, or `categories`.
    """

    def __init__(self, columns: list[dict[str, Any]]) -> None:
        self.columns = columns

    @classmethod
    def learn(
        cls, frame: pd.DataFrame, *, normalize: str | None, weight: np.ndarray | None = None
    ) -> Table:
        """Learn the columns of the training rows.

        Numbers and booleans: missing values become the median, beside an indicator column if
        any is missing here; then scaled as `normalize` says. Everything else is a category:
        missing is a category of its own, and what training lacks is out-of-vocabulary.

        Args:
            frame: the training rows.
            normalize: None, "standard" or "minmax".
            weight: weights of the rows (n,) for means and deviations, or None.

        Raises:
            TypeError: a column of dates or of objects that are neither text nor numbers, or whose
                name is neither text nor a number.
            ValueError: text among the numbers of a column, an infinite value, a repeated name.
        """
        if frame.shape[1] == 0 or len(frame) == 0:
            raise ValueError(
                f"x is empty: found {frame.shape[1]} feature(s) (shape={frame.shape}) while a "
                "minimum of 1 is required."
            )
        repeated = frame.columns[frame.columns.duplicated()]
        if len(repeated):
            raise ValueError(f"x: the column {repeated[0]!r} stands twice; rename one of them")
        names = [_checked_name(name) for name in frame.columns]
        columns = []
        for name, input_name in zip(names, _input_names(names), strict=True):
            series = frame[name]
            column: dict[str, Any] = {"name": name, "input": input_name}
            if _is_number(series, name):
                column |= _number_statistics(as_floats(series, f"x[{name!r}]"), normalize, weight)
            else:
                counts = as_text(series, name).value_counts()
                column |= {
                    "kind": "category",
                    # the count decides, then the name: value_counts leaves ties in any order
                    "categories": sorted(counts.index, key=lambda c: (-counts[c], c))[
                        : MAX_CATEGORIES - 1
                    ],
                }
            columns.append(column)
        return cls(columns)

    @property
    def names(self) -> list[Any]:
        """The columns' names, in order."""
        return [c["name"] for c in self.columns]

    def inputs(self, frame: pd.DataFrame, name: str = "x") -> dict[str, np.ndarray]:
        """The columns of a DataFrame as the encoder's inputs.

        Returns:
            One array [n, 1] a column: float64, NaN where missing, or text.

        Raises:
            ValueError: a column is missing, too many, or text in a column of numbers.
        """
        self._check_names(frame, name)
        found = {}
        for column in self.columns:
            series = frame[column["name"]]
            if column["kind"] == "number":
                values = as_floats(series, f"{name}[{column['name']!r}]")
            else:
                values = as_text(series, column["name"]).to_numpy(dtype=object).astype(str)
            found[column["input"]] = values.reshape(-1, 1)
        return dict(sorted(found.items()))  # the order in which FeatureSpace lists its inputs

    def _check_names(self, frame: pd.DataFrame, name: str) -> None:
        known = self.names
        missing = [c for c in known if c not in frame.columns]
        extra = [c for c in frame.columns if c not in known]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            hint = did_you_mean(missing[0], map(str, extra)) if extra else "add it"
            raise ValueError(
                f"{name} lacks the column {missing[0]!r}{more}, which training had; {hint}"
            )
        if extra:
            raise ValueError(
                f"{name} has the column {extra[0]!r} that training lacked; write "
                f"{name}.drop(columns={extra!r})"
            )

    def encoder(self, dtype: str = "float32") -> keras.Model:
        """The Keras model from the raw columns, [n, 1] each, to one float matrix [n, width].

        Args:
            dtype: of the matrix; "float64" needs a table of numbers alone.
        """
        import keras

        # FeatureSpace's own layers cast to the type that Keras computes in: a table learnt before
        # the precision is set, and one loaded after, must give the same
        ambient = keras.config.dtype_policy()
        keras.config.set_dtype_policy(dtype)
        try:
            return self._assembled(dtype)
        finally:
            keras.config.set_dtype_policy(ambient)

    def _assembled(self, dtype: str) -> keras.Model:
        import keras

        features = {}
        for column in self.columns:
            if column["kind"] == "number":
                preprocessor = _number_encoder(column, dtype)
                features[column["input"]] = keras.utils.FeatureSpace.feature(
                    "float64", preprocessor, output_mode="float"
                )
            else:
                unseen = "[UNK]"
                while unseen in column["categories"]:
                    unseen += "_"  # a category of this name is seen like any other
                lookup = keras.layers.StringLookup(
                    vocabulary=column["categories"],
                    oov_token=unseen,
                    name=f"{column['input']}.lookup",
                )
                features[column["input"]] = keras.utils.FeatureSpace.feature(
                    "string", lookup, output_mode="one_hot"
                )
        space = keras.utils.FeatureSpace(features, output_mode="concat")
        space.build_from_config({})  # every preprocessor was made with its state: nothing to adapt
        # a plain dict: FeatureSpace gives a tracked one, which Keras takes for another structure
        return keras.Model(dict(space.get_inputs()), space.get_encoded_features(), name="table")

    def to_dict(self) -> dict[str, Any]:
        """A form that JSON can hold."""
        return {"columns": self.columns}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Table:
        """The Table that `to_dict` described.

        Raises:
            forms.Malformed: it described no such thing; the message names the entry.
        """
        entry = "inputs: table"
        columns = forms.items(f"{entry}: columns", forms.mapping(entry, state).get("columns"))
        if not columns:
            raise forms.wrong(f"{entry}: columns", columns, "at least one column")
        for i, column in enumerate(columns):
            _check_column(f"{entry}: columns[{i}]", column)
        names = [c["name"] for c in columns]
        if len(set(names)) < len(names) or [c["input"] for c in columns] != _input_names(names):
            raise forms.wrong(f"{entry}: columns", names, "names that stand once, and their inputs")
        return cls(columns)

    @property
    def width(self) -> int:
        """The numbers in a row of the encoder's matrix."""
        return sum(
            1 + c["indicator"] if c["kind"] == "number" else len(c["categories"]) + 1
            for c in self.columns
        )


def _check_column(entry: str, column: Any) -> None:
    forms.mapping(entry, column, ("name", "input", "kind"))
    try:
        name = _checked_name(column["name"])
    except TypeError as error:
        raise forms.wrong(f"{entry}: name", column["name"], "text or a number") from error
    entry = f"{entry} ({forms.shown(name)})"
    if forms.text(f"{entry}: kind", column["kind"], ("number", "category")) == "number":
        forms.mapping(entry, column, ("median", "offset", "scale", "indicator"))
        for key in ("median", "offset", "scale"):
            above = 0.0 if key == "scale" else -math.inf
            forms.number(f"{entry}: {key}", column[key], above=above)
        forms.flag(f"{entry}: indicator", column["indicator"])
        return
    forms.mapping(entry, column, ("categories",))
    found = forms.items(f"{entry}: categories", column["categories"])
    # a list, and of text: Keras would take one text for the name of a file to read them from
    for value in found:
        forms.text(f"{entry}: categories", value)
    if len(set(found)) < len(found) or len(found) >= MAX_CATEGORIES:
        raise forms.wrong(
            f"{entry}: categories", found, f"fewer than {MAX_CATEGORIES}, each of which stands once"
        )


def _checked_name(name: Any) -> str | int | float:
    # a saved model keeps the names in JSON, which knows no tuples, dates or NumPy numbers
    if isinstance(name, str):
        return str(name)
    if isinstance(name, numbers.Integral) and not isinstance(name, bool):
        return int(name)
    if isinstance(name, numbers.Real) and not isinstance(name, bool) and np.isfinite(float(name)):
        return float(name)
    hint = "'_'.join(map(str, c))" if isinstance(name, tuple) else "str(c)"
    raise TypeError(
        f"x: the column name {name!r} is a {type(name).__name__}: must be text or a number; "
        f"write x.columns = [{hint} for c in x.columns]"
    )


def _input_names(names: list[str | int | float]) -> list[str]:
    """What the Keras input of each column is called: as the column where Keras allows it, by its
    position where not; each once."""
    # Keras names end up in variable paths: no slash, and no two names that differ in spaces only.
    kept = {
        n
        for n in names
        if isinstance(n, str) and _PLAIN.fullmatch(n) and not _KERAS_OWN.fullmatch(n)
    }
    found = []
    for position, name in enumerate(names):
        called = str(name) if name in kept else f"column_{position}"
        while name not in kept and called in kept:  # a column may be called column_3 itself
            called += "_"
        found.append(called)
    return found


def _is_number(series: pd.Series, name: Any) -> bool:
    import pandas as pd

    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return False
    if pd.api.types.is_complex_dtype(dtype):
        raise ValueError(f"Complex data not supported: x[{name!r}] has dtype {dtype}")
    if pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype):
        return True
    if pd.api.types.is_datetime64_any_dtype(dtype) or pd.api.types.is_timedelta64_dtype(dtype):
        raise TypeError(
            f"x[{name!r}] holds dates ({dtype}); turn them into numbers first, for example "
            f"x[{name!r}].dt.dayofyear"
        )
    present = series.dropna()
    if not len(present):
        return False  # of objects nobody knows: whatever comes later is out-of-vocabulary
    is_text = present.map(lambda v: isinstance(v, str))
    if is_text.all():
        return False
    if is_text.any():
        row, value = next((i, v) for i, v in present.items() if isinstance(v, str))
        raise ValueError(
            f"x[{name!r}] holds numbers and text ({value!r} at row {row}); correct the text, or "
            f"write x[{name!r}].astype(str) to make every value a category"
        )
    if present.map(lambda v: isinstance(v, (bool, int, float, np.number, np.bool_))).all():
        return True
    raise TypeError(
        f"x[{name!r}] holds {type(present.iloc[0]).__name__} objects, where each argument must be "
        "a string or a number; convert the column first"
    )


def as_floats(series: pd.Series, name: str) -> np.ndarray:
    """A column of numbers as float64 [n], NaN where missing.

    Args:
        series: the column.
        name: what the user calls it, such as `x['age']`.

    Raises:
        ValueError: text or an infinite value, with its row.
    """
    import pandas as pd

    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(object)
    numbers = pd.to_numeric(series, errors="coerce")
    wrong = numbers.isna() & series.notna()
    if series.dtype == object or pd.api.types.is_string_dtype(series.dtype):
        # "12" would convert, but a column that held numbers in training must hold them still
        wrong |= series.map(lambda v: isinstance(v, str)).astype(bool)
    if wrong.any():
        row = wrong.idxmax()
        raise ValueError(
            f"{name} is a column of numbers, but holds the text {series[wrong].iloc[0]!r} at row "
            f"{row}; correct it, or make numbers with pd.to_numeric({name}, errors='coerce')"
        )
    values = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(values).any():
        row = series.index[int(np.isinf(values).argmax())]
        raise ValueError(f"{name} contains infinity (inf) at row {row}; set it to NaN or drop it")
    return np.asarray(values)


def as_text(series: pd.Series, name: Any) -> pd.Series:
    """A column of categories as text, MISSING where a value is missing."""
    return series.astype(object).where(series.notna(), MISSING).map(_word)


def _word(value: Any) -> str:
    # a column of whole numbers becomes one of floats where a value is missing: 7.0 is still 7
    whole = isinstance(value, (float, np.floating)) and float(value).is_integer()
    return str(int(value)) if whole else str(value)


def _number_statistics(
    values: np.ndarray, normalize: str | None, weight: np.ndarray | None
) -> dict[str, Any]:
    missing = np.isnan(values)
    median = 0.0 if missing.all() else float(np.nanmedian(values))
    filled = np.where(missing, median, values)
    offset, scale = affine(filled[:, None], normalize, weight)
    return {
        "kind": "number",
        "median": median,
        "offset": float(offset[0]),
        "scale": float(scale[0]),
        "indicator": bool(missing.any()),
    }


def affine(
    values: np.ndarray, normalize: str | None, weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Offset and scale, float64 [d] each, that normalise columns: (values - offset) / scale.

    Args:
        values: [n, d].
        normalize: None (0 and 1), "standard" (mean and deviation) or "minmax" (low and range).
        weight: weights of the rows [n] for the mean and deviation, or None.
    """
    values = values.astype(np.float64, copy=False)
    if normalize is None:
        offset, scale = np.zeros(values.shape[1]), np.ones(values.shape[1])
    elif normalize == "minmax":
        offset = values.min(axis=0)
        scale = values.max(axis=0) - offset
    else:
        offset = np.average(values, axis=0, weights=weight)
        scale = np.sqrt(np.average((values - offset) ** 2, axis=0, weights=weight))
    # A constant column says nothing: leave it at 0 instead of dividing rounding errors by zero.
    constant = scale <= 1e-12 * np.maximum(1.0, np.abs(offset))
    return offset, np.where(constant, 1.0, scale)


def _number_encoder(column: dict[str, Any], dtype: str) -> keras.Model:
    """Missing to the median, scaled, beside an indicator: of Keras' own operations only, so that
    the saved model loads where this package is not installed."""
    import keras
    from keras import ops

    raw = keras.Input((1,), dtype="float64", name=f"{column['input']}.raw")
    missing = ops.isnan(raw)
    filled = ops.where(missing, column["median"], raw)
    # scaled in double precision: a date in seconds has no digits to spare in float32
    scaled = ops.cast((filled - column["offset"]) / column["scale"], dtype)
    encoded = (
        ops.concatenate([scaled, ops.cast(missing, dtype)], axis=-1)
        if column["indicator"]
        else scaled
    )
    return keras.Model(raw, encoded, name=f"{column['input']}.encoder")
