"""Tables of mixed columns: DataFrames as inputs of a network.

Responsible for learning the columns (medians, means, categories), for the Keras model that
encodes a raw table with keras.utils.FeatureSpace, and for converting a DataFrame to its inputs.
The encoder is part of the saved model, so serving never differs from training. Not for arrays.
"""

from __future__ import annotations

import math
import numbers
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.utils import forms
from trainer.utils.checks import did_you_mean

if TYPE_CHECKING:
    import keras
    import pandas as pd

MISSING = "[missing]"
MAX_CATEGORIES = 256  # the most common are kept; the others share the out-of-vocabulary column

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# Names that Keras generates for layers and models; names within a model must be unique.
_GENERATED_NAME = re.compile(r"(category_encoding|tfd_concat|sequential|functional|model)(_\d+)?")


class Table:
    """The columns of the training DataFrame.

    Attributes:
        columns: For each column, in order, a dict with `name`, `kind` ("number" or "category"),
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

        In columns of numbers and booleans, missing values are replaced by the median, with an
        added indicator column if any is missing here; then they are scaled according to
        `normalize`. All other columns are categorical: missing is a separate category, and
        categories not seen in training are out-of-vocabulary.

        Args:
            frame: The training rows.
            normalize: None, "standard" or "minmax".
            weight: Row weights (n,) for means and deviations, or None.

        Raises:
            TypeError: A column has dates or objects that are neither text nor numbers, or its
                name is neither text nor a number.
            ValueError: A column mixes text and numbers or has an infinite value, or a name is
                repeated.
        """
        if frame.shape[1] == 0 or len(frame) == 0:
            raise ValueError(
                f"x is empty: found {frame.shape[1]} feature(s) (shape={frame.shape}) while a "
                "minimum of 1 is required."
            )
        repeated = frame.columns[frame.columns.duplicated()]
        if len(repeated):
            raise ValueError(f"x: the column {repeated[0]!r} occurs twice; rename one of them")
        names = [_checked_name(name) for name in frame.columns]
        columns = []
        for name, input_name in zip(names, _input_names(names), strict=True):
            series = frame[name]
            column: dict[str, Any] = {"name": name, "input": input_name}
            if _is_number(series, name):
                column |= _number_statistics(as_floats(series, f"x[{name!r}]"), normalize, weight)
            else:
                counts = as_text(series).value_counts()
                column |= {
                    "kind": "category",
                    # By count, then by name, because value_counts leaves the order of ties open.
                    "categories": sorted(counts.index, key=lambda c: (-counts[c], c))[
                        : MAX_CATEGORIES - 1
                    ],
                }
            columns.append(column)
        return cls(columns)

    @property
    def names(self) -> list[Any]:
        """The column names, in order."""
        return [c["name"] for c in self.columns]

    def inputs(self, frame: pd.DataFrame, name: str = "x") -> dict[str, np.ndarray]:
        """Convert a DataFrame to the inputs of the encoder.

        Returns:
            One array [n, 1] per column: float64 with NaN for missing values, or text.

        Raises:
            ValueError: A column is missing or unexpected, or has text instead of numbers.
        """
        self._check_names(frame, name)
        found = {}
        for column in self.columns:
            series = frame[column["name"]]
            if column["kind"] == "number":
                values = as_floats(series, f"{name}[{column['name']!r}]")
            else:
                values = as_text(series).to_numpy(dtype=object).astype(str)
            found[column["input"]] = values.reshape(-1, 1)
        return dict(sorted(found.items()))  # FeatureSpace sorts its inputs in the same way

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
                f"{name} has the column {extra[0]!r}, which training did not have; write "
                f"{name}.drop(columns={extra!r})"
            )

    def encoder(self, dtype: str = "float32") -> keras.Model:
        """Build the Keras model from the raw columns, [n, 1] each, to a float matrix [n, width].

        Args:
            dtype: The dtype of the matrix; "float64" requires that all columns are numeric.
        """
        import keras

        # FeatureSpace's layers cast to Keras' global dtype policy. The encoder must be the same
        # whether it is built before the precision is set or after loading.
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
                    unseen += "_"  # "[UNK]" may be one of the categories
                lookup = keras.layers.StringLookup(
                    vocabulary=column["categories"],
                    oov_token=unseen,
                    name=f"{column['input']}.lookup",
                )
                features[column["input"]] = keras.utils.FeatureSpace.feature(
                    "string", lookup, output_mode="one_hot"
                )
        space = keras.utils.FeatureSpace(features, output_mode="concat")
        space.build_from_config({})  # nothing to adapt: the preprocessors already have their state
        # Keras treats the tracked dict of a FeatureSpace as another structure than a plain dict.
        return keras.Model(dict(space.get_inputs()), space.get_encoded_features(), name="table")

    def to_dict(self) -> dict[str, Any]:
        """Return a representation for JSON."""
        return {"columns": self.columns}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Table:
        """Restore a Table from `to_dict`.

        Raises:
            forms.Malformed: The state is invalid; the message names the entry.
        """
        entry = "inputs: table"
        columns = forms.items(f"{entry}: columns", forms.mapping(entry, state).get("columns"))
        if not columns:
            raise forms.wrong(f"{entry}: columns", columns, "at least one column")
        for i, column in enumerate(columns):
            _check_column(f"{entry}: columns[{i}]", column)
        names = [c["name"] for c in columns]
        if len(set(names)) < len(names) or [c["input"] for c in columns] != _input_names(names):
            raise forms.wrong(f"{entry}: columns", names, "unique names with matching inputs")
        return cls(columns)

    @property
    def width(self) -> int:
        """The number of columns of the encoded matrix."""
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
    # Must be a list: Keras would treat a single string as a file to read the vocabulary from.
    for value in found:
        forms.text(f"{entry}: categories", value)
    if len(set(found)) < len(found) or len(found) >= MAX_CATEGORIES:
        raise forms.wrong(
            f"{entry}: categories", found, f"fewer than {MAX_CATEGORIES} unique names"
        )


def _checked_name(name: Any) -> str | int | float:
    # A saved model stores the names as JSON, which has no tuples, dates or NumPy numbers.
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
    """Return unique names for the Keras inputs: the column name if Keras allows it, or a number."""
    # Keras uses names in variable paths, so a name must not contain slashes or spaces.
    kept = {
        n
        for n in names
        if isinstance(n, str) and _IDENTIFIER.fullmatch(n) and not _GENERATED_NAME.fullmatch(n)
    }
    found = []
    for position, name in enumerate(names):
        called = str(name) if name in kept else f"column_{position}"
        while name not in kept and called in kept:  # a column may be called "column_3"
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
            f"x[{name!r}] contains dates ({dtype}); convert them to numbers first, for example "
            f"x[{name!r}].dt.dayofyear"
        )
    present = series.dropna()
    if not len(present):
        return False  # unknown type: later values will be out-of-vocabulary
    is_text = present.map(lambda v: isinstance(v, str))
    if is_text.all():
        return False
    if is_text.any():
        row, value = next((i, v) for i, v in present.items() if isinstance(v, str))
        raise ValueError(
            f"x[{name!r}] contains both numbers and text ({value!r} at row {row}); correct the "
            f"text, or write x[{name!r}].astype(str) to make every value a category"
        )
    if present.map(lambda v: isinstance(v, (bool, int, float, np.number, np.bool_))).all():
        return True
    raise TypeError(
        f"x[{name!r}] contains {type(present.iloc[0]).__name__} objects, where each argument must "
        "be a string or a number; convert the column first"
    )


def as_floats(series: pd.Series, name: str) -> np.ndarray:
    """Convert a column of numbers to float64 [n], with NaN for missing values.

    Args:
        series: The column.
        name: Its name in errors, such as `x['age']`.

    Raises:
        ValueError: There is text or an infinite value; the message names the row.
    """
    import pandas as pd

    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(object)
    numbers = pd.to_numeric(series, errors="coerce")
    wrong = numbers.isna() & series.notna()
    if series.dtype == object or pd.api.types.is_string_dtype(series.dtype):
        # "12" could be converted, but the column had numbers in training, so refuse text.
        wrong |= series.map(lambda v: isinstance(v, str)).astype(bool)
    if wrong.any():
        row = wrong.idxmax()
        raise ValueError(
            f"{name} is a column of numbers, but has the text {series[wrong].iloc[0]!r} at row "
            f"{row}; correct it, or convert it with pd.to_numeric({name}, errors='coerce')"
        )
    values = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(values).any():
        row = series.index[int(np.isinf(values).argmax())]
        raise ValueError(f"{name} contains infinity (inf) at row {row}; set it to NaN or drop it")
    return np.asarray(values)


def as_text(series: pd.Series) -> pd.Series:
    """Convert a column of categories to text, with MISSING for missing values."""
    return series.astype(object).where(series.notna(), MISSING).map(_category_text)


def _category_text(value: Any) -> str:
    # pandas turns integers into floats if a value is missing: the category of 7.0 is still "7".
    integral = isinstance(value, (float, np.floating)) and float(value).is_integer()
    return str(int(value)) if integral else str(value)


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
    """Return offset and scale, float64 [d] each, to normalise columns: (values - offset) / scale.

    Args:
        values: [n, d].
        normalize: None (0 and 1), "standard" (mean and standard deviation) or "minmax" (minimum
            and range).
        weight: Row weights [n] for mean and deviation, or None.
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
    # Map a constant column to 0 instead of dividing rounding errors by almost zero.
    constant = scale <= 1e-12 * np.maximum(1.0, np.abs(offset))
    return offset, np.where(constant, 1.0, scale)


def _number_encoder(column: dict[str, Any], dtype: str) -> keras.Model:
    """Build the encoder of a number: imputed by the median, scaled, and with its indicator.

    It uses only Keras operations, so that the saved model can be loaded without this package.
    """
    import keras
    from keras import ops

    raw = keras.Input((1,), dtype="float64", name=f"{column['input']}.raw")
    missing = ops.isnan(raw)
    filled = ops.where(missing, column["median"], raw)
    # Scale in float64: float32 has too few digits for, say, a date in seconds.
    scaled = ops.cast((filled - column["offset"]) / column["scale"], dtype)
    encoded = (
        ops.concatenate([scaled, ops.cast(missing, dtype)], axis=-1)
        if column["indicator"]
        else scaled
    )
    return keras.Model(raw, encoded, name=f"{column['input']}.encoder")
