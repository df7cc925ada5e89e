"""Tables of mixed columns: DataFrames as inputs of a network.

Responsible for learning the columns (medians, means, categories), for the Keras model that
encodes a raw table with keras.utils.FeatureSpace, and for converting a DataFrame to its inputs.
The encoder is part of the saved model, so serving never differs from training. Not for arrays, nor
for what kind of data a column holds (`columns`).
"""

from __future__ import annotations

import functools
import math
import numbers
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.data import columns as kinds
from trainer.data import dates, text
from trainer.data.columns import (
    FEW,
    KINDS,
    LIMITS,
    UNITS,
    as_floats,
    as_seconds,
    as_text,
)
from trainer.utils import forms
from trainer.utils.checks import did_you_mean, warn

if TYPE_CHECKING:
    import keras
    import pandas as pd

LEFT_OUT = ("identifier", "text")  # the kinds of columns that the default encoding leaves out

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# Names that Keras generates for layers and models; names within a model must be unique.
_GENERATED_NAME = re.compile(r"(category_encoding|tfd_concat|sequential|functional|model)(_\d+)?")


class Table:
    """The columns of the training DataFrame.

    Attributes:
        columns: For each column, in order, a dict with `name`, `kind` (one of columns.KINDS) and
            `input` (the name of its Keras input, which columns that are left out lack), and
            "number": `median`, `offset`, `scale`, `indicator`, and `unit` of durations;
            "category": `categories`;
            "ordered": `levels`, in their order, and, of the ranks, what numbers have;
            "date": `formats` or `zone`, `earliest`, `indicator`, and `parts`: of each part, by its
            name, what numbers have but the indicator;
            "text", "identifier": nothing more.
    """

    def __init__(self, columns: list[dict[str, Any]]) -> None:
        self.columns = columns

    @classmethod
    def learn(
        cls,
        frame: pd.DataFrame,
        *,
        normalize: str | None,
        weight: np.ndarray | None = None,
        as_0_1: bool = False,
    ) -> Table:
        """Learn the columns of the training rows.

        In columns of numbers and booleans, missing values are replaced by the median, with an
        added indicator column if any is missing here; then they are scaled according to
        `normalize`. Ordered categories are numbers, their ranks. Of dates the parts are numbers,
        and month and weekday have a column for each of their values. Of other categories missing
        is a separate one, and categories not seen in training are out-of-vocabulary. Identifiers
        are left out, with a warning. Text is for architectures that read it (`texts`).

        Args:
            frame: The training rows.
            normalize: None, "standard" or "minmax".
            weight: Row weights (n,) for means and deviations, or None.
            as_0_1: Whether to take every column for numbers or categories, as version 0.1 did, to
                resume a run of it.

        Raises:
            TypeError: A column has objects that are neither text, numbers nor dates, or its name
                is neither text nor a number.
            ValueError: A column mixes text with numbers or dates, or has an infinite value; a name
                is repeated; or no column is left.
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
            find = kinds.find_as_0_1 if as_0_1 else kinds.find
            found = find(frame[name], name)
            column = {"name": name, "input": input_name, "kind": found.kind, **found.details}
            columns.append(column | _statistics(found, normalize, weight))
            if found.kind == "text":
                text.texts(frame[name], f"x[{name!r}]")  # warns of missing ones
        made = cls(columns)
        made._tell_what_is_left_out()
        return made

    def _tell_what_is_left_out(self) -> None:
        left = {kind: [c["name"] for c in self.columns if c["kind"] == kind] for kind in LEFT_OUT}
        if len(self._encoded) == 0 and not left["text"]:
            raise ValueError(
                f"x: every column is left out, as identifiers ({left['identifier']!r}); pass "
                "columns of numbers, dates, categories or text, or write "
                "x[name].astype('category') or x[name].astype(float) to use one of these"
            )
        if left["identifier"]:
            warn(
                f"x: left out {left['identifier']!r} as identifiers: more levels than "
                f"{LIMITS.identifier:.0%} of the rows, of text, or of whole numbers that are "
                "called an id or never repeat; to use one, write x[name].astype('category') or, "
                "for numbers without missing ones, x[name].astype(float)",
            )

    @property
    def _encoded(self) -> list[dict[str, Any]]:
        """The columns that the encoder takes."""
        return [c for c in self.columns if c["kind"] not in LEFT_OUT]

    @property
    def names(self) -> list[Any]:
        """The column names, in order."""
        return [c["name"] for c in self.columns]

    def features(self) -> list[dict[str, Any]]:
        """Return what a network can see of the columns: numbers and categories.

        Returns:
            Dicts with `name`, `input`, `kind` ("number" or "category"), and what columns of this
            kind have. Numbers that are not a column as it is have a `part`: a part of a date (one
            of dates.PARTS), or "rank" of an ordered category. `tensor` and `values` give their
            values.
        """
        found: list[dict[str, Any]] = []
        for column in self._encoded:
            same = {"input": column["input"], "kind": "number"}
            if column["kind"] == "date":
                for part, learnt in column["parts"].items():
                    named = {"name": f"{column['name']}:{part}", "part": part}
                    of_date = {"earliest": column["earliest"], "indicator": column["indicator"]}
                    found.append(same | named | of_date | learnt)
            elif column["kind"] == "ordered":
                found.append(column | same | {"part": "rank"})
            else:
                found.append(dict(column))
        return found

    @functools.cached_property
    def _features(self) -> list[dict[str, Any]]:
        return self.features()

    def input_dtypes(self) -> dict[str, str]:
        """Return the dtype of each Keras input of an encoder, sorted by name."""
        found = {
            c["input"]: "float64" if c["kind"] in ("number", "date") else "string"
            for c in self._encoded
        }
        return dict(sorted(found.items()))

    @staticmethod
    def tensor(feature: dict[str, Any], raw: dict[str, Any]) -> Any:
        """Return the values of a feature in a Keras model.

        Args:
            feature: One of `features`.
            raw: The symbolic inputs [n, 1] by their names: float64 for numbers and dates, strings
                for categories.

        Returns:
            [n, 1]; float64 with NaN for missing values, or strings with "[missing]".
        """
        from keras import ops

        given, part = raw[feature["input"]], feature.get("part")
        if part is None:
            return given
        if part == "rank":
            return _ranks(feature["levels"], feature["input"])(given)
        missing = ops.isnan(given)
        moment = ops.where(missing, 0.0, given)
        return ops.where(missing, np.nan, dates.parts(moment, feature["earliest"], ops)[part])

    def values(self, frame: pd.DataFrame) -> list[np.ndarray]:
        """Return the values of each of `features`, [n]: float64 with NaN, or text."""
        return self.values_of(self.inputs(frame, quiet=True))

    def values_of(self, raw: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Return the values of each of `features`, given what `inputs` returned."""
        found = []
        for feature in self._features:
            given, part = raw[feature["input"]][:, 0], feature.get("part")
            if part == "rank":
                ranked = {level: float(i) for i, level in enumerate(feature["levels"])}
                given = np.array([ranked.get(v, np.nan) for v in given.tolist()])
            elif part is not None:
                given = dates.parts(given, feature["earliest"])[part]
            found.append(given)
        return found

    def inputs(
        self,
        frame: pd.DataFrame,
        name: str = "x",
        *,
        quiet: bool = False,
        ignore_extra: bool = False,
    ) -> dict[str, np.ndarray]:
        """Convert a DataFrame to the inputs of the encoder.

        Columns may be in another order, and those that are left out may be missing.

        Args:
            frame: The rows.
            name: The name of the argument, for errors.
            quiet: Whether not to warn of dates that do not parse.
            ignore_extra: Whether to ignore columns that training did not have.

        Returns:
            One array [n, 1] per column: float64 with NaN for missing values, of dates seconds
            since 1970; or text.

        Raises:
            TypeError: A column of dates or durations has something else.
            ValueError: A column is missing or unexpected, or has text instead of numbers.
        """
        self._check_names(frame, name, ignore_extra)
        columns = self._encoded
        early: list[np.ndarray | None] = [None] * len(columns)
        if len(frame) <= FEW:
            # all at once: to take one column out of a frame takes longer than to convert it
            rows = frame.to_numpy(dtype=object).T
            places = {column: i for i, column in enumerate(frame.columns.tolist())}
            early = kinds.few(columns, [rows[places[c["name"]]].tolist() for c in columns])
        found = {}
        for column, values in zip(columns, early, strict=True):
            if values is None:
                label = f"{name}[{column['name']!r}]"
                values = converted(frame[column["name"]], column, label, quiet).reshape(-1, 1)
            found[column["input"]] = values
        return dict(sorted(found.items()))  # FeatureSpace sorts its inputs in the same way

    def texts(
        self, frame: pd.DataFrame, name: str = "x", *, ignore_extra: bool = False
    ) -> dict[str, np.ndarray]:
        """Return the columns of kind "text", [n, 1] of str, by the names of their inputs.

        Missing values are empty text. `inputs` and `encoder` leave these columns out: an
        architecture that reads text asks for them here.

        Raises:
            ValueError: A column is missing, or has values that are not text.
        """
        self._check_names(frame, name, ignore_extra)
        found = {}
        for column in self.columns:
            if column["kind"] == "text":
                if column["name"] not in frame.columns:
                    raise ValueError(f"{name} lacks the column {column['name']!r}")
                label = f"{name}[{column['name']!r}]"
                values = text.texts(kinds.plain(frame[column["name"]], label), label, quiet=True)
                found[column["input"]] = values.reshape(-1, 1)
        return found

    def _check_names(self, frame: pd.DataFrame, name: str, ignore_extra: bool) -> None:
        known = self.names
        given = frame.columns.tolist()
        if given == known:
            return
        of_training = set(known)
        asked = [c for c in given if c in of_training] if ignore_extra else given
        if len(set(asked)) < len(asked):
            twice = next(column for column in asked if asked.count(column) > 1)
            raise ValueError(
                f"{name} has several columns {twice!r}; write x.loc[:, ~x.columns.duplicated()] "
                "to keep the first of each"
            )
        missing = [c["name"] for c in self._encoded if c["name"] not in frame.columns]
        extra = [c for c in frame.columns if c not in known]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            hint = did_you_mean(missing[0], map(str, extra)) if extra else "add it"
            raise ValueError(
                f"{name} lacks the column {missing[0]!r}{more}, which training had; {hint}"
            )
        if extra and not ignore_extra:
            raise ValueError(
                f"{name} has the column {extra[0]!r}, which training did not have; write "
                f"{name}.drop(columns={extra!r}); predict has extra_columns='ignore'"
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

    def encoded(self, raw: dict[str, np.ndarray], dtype: str = "float32") -> np.ndarray:
        """Return what the model of `encoder` returns, without the cost of a graph's call.

        Args:
            raw: What `inputs` returned.
            dtype: The dtype of the matrix.

        Returns:
            [n, width].
        """
        with np.errstate(over="ignore"):  # the graph makes infinity of what float32 cannot hold
            return self._encoded_by(self._layout, raw, dtype)

    def _encoded_by(self, layout: _Layout, raw: dict[str, np.ndarray], dtype: str) -> np.ndarray:
        found = np.zeros((len(next(iter(raw.values()))), self.width), dtype)
        if layout.numbers:
            values = np.concatenate([raw[name] for name in layout.numbers], axis=1)
            missing = np.isnan(values)
            filled = np.where(missing, layout.medians, values)
            found[:, layout.places] = (filled - layout.offsets) * layout.factors
            found[:, layout.flags] = missing[:, layout.flagged]
        for start, column, levels in layout.others:
            _fill(found[:, start:], raw[column["input"]][:, 0], column, levels)
        return found

    @functools.cached_property
    def _layout(self) -> _Layout:
        return _Layout.of(sorted(self._encoded, key=lambda c: str(c["input"])))

    def _assembled(self, dtype: str) -> keras.Model:
        import keras

        features = {}
        for column in self._encoded:
            if column["kind"] in _ENCODERS:
                raw, make = _ENCODERS[column["kind"]]
                features[column["input"]] = keras.utils.FeatureSpace.feature(
                    raw, make(column, dtype), output_mode="float"
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

    @functools.cached_property
    def width(self) -> int:
        """The number of columns of the encoded matrix."""
        return sum(_width(c) for c in self._encoded)


@dataclass(frozen=True)
class _Layout:
    """Where `Table.encoded` writes each column: numbers together, and the others one by one.

    Attributes:
        numbers: The names of the inputs that are numbers.
        medians: Of each; `offsets` likewise.
        factors: 1 / scale of each. Grappler, which optimises the encoder's graph, multiplies by
            these as well; a division would round differently in float64.
        places: The column of the matrix that each has.
        flagged: Which of the numbers have a column for missing values.
        flags: The columns for these.
        others: Of every other column its first column of the matrix, what was learnt of it, and
            the positions of its categories.
    """

    numbers: list[str]
    medians: np.ndarray
    offsets: np.ndarray
    factors: np.ndarray
    places: list[int]
    flagged: list[int]
    flags: list[int]
    others: list[tuple[int, dict[str, Any], dict[str, int]]]

    @classmethod
    def of(cls, columns: list[dict[str, Any]]) -> _Layout:
        numbers, places, others, start = [], [], [], 0
        for column in columns:
            if column["kind"] == "number":
                numbers.append(column)
                places.append(start)
            else:
                levels = column.get("categories") or column.get("levels") or []
                others.append((start, column, {level: i for i, level in enumerate(levels)}))
            start += _width(column)
        flagged = [i for i, c in enumerate(numbers) if c["indicator"]]
        medians, offsets, scales = (
            np.array([c[key] for c in numbers], np.float64) for key in ("median", "offset", "scale")
        )
        return cls(
            [c["input"] for c in numbers],
            medians,
            offsets,
            1 / scales,
            places,
            flagged,
            [places[i] + 1 for i in flagged],
            others,
        )


def _fill(
    matrix: np.ndarray, given: np.ndarray, column: dict[str, Any], levels: dict[str, int]
) -> None:
    """Write a column that is not a plain number to the first columns of a matrix of zeros."""
    rows = np.arange(len(given))
    if column["kind"] == "category":
        matrix[rows, [levels.get(v, -1) + 1 for v in given.tolist()]] = 1  # 0 for unseen ones
        return
    if column["kind"] == "ordered":
        ranked = np.array([levels.get(v, np.nan) for v in given.tolist()], np.float64)
        missing, width = np.isnan(ranked), 1
        matrix[:, 0] = _by(column, ranked, missing)
    else:
        missing, width = np.isnan(given), 0
        moment = np.where(missing, column["earliest"], given)
        parts = dates.parts(moment, column["earliest"])
        for part, learnt in column["parts"].items():
            if part in dates.LEVELS:
                first, count = dates.LEVELS[part]
                place = width + parts[part].astype(np.int64) - first
                matrix[rows[~missing], place[~missing]] = 1
                width += count
            else:
                matrix[:, width] = _by(learnt, parts[part], missing)
                width += 1
    if column["indicator"]:
        matrix[:, width] = missing


def _by(learnt: dict[str, Any], values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return numbers imputed and scaled, in float64."""
    filled = np.where(missing, learnt["median"], values)
    return np.asarray((filled - learnt["offset"]) * (1 / learnt["scale"]))


def converted(series: pd.Series, column: dict[str, Any], label: str, quiet: bool) -> np.ndarray:
    """Return what the encoder takes of a column, [n].

    Args:
        series: The column.
        column: What was learnt of it.
        label: Its name in errors, such as `x['age']`.
        quiet: Whether not to warn of dates that do not parse, and of categories that are all new.

    Raises:
        TypeError, ValueError: It holds something else than in training.
    """
    if column["kind"] == "number":
        return as_floats(series, label, column.get("unit"))
    if column["kind"] == "date":
        return as_seconds(series, label, column, quiet=quiet)
    series = kinds.plain(series, label)
    nested = (bytes, list, tuple, dict, set, np.ndarray)
    if series.dtype == object and (wrong := series.map(lambda v: isinstance(v, nested))).any():
        cell = series[wrong].iloc[0]
        raise ValueError(
            f"{label} has categories, but {cell!r:.40} at row {wrong.idxmax()} is a "
            f"{type(cell).__name__}; write text, numbers or booleans, as in training"
        )
    words = as_text(series)
    known = series.notna()
    levels = column.get("categories") or column.get("levels")  # of many levels there is no list
    if not quiet and levels and known.sum() >= FEW and not words[known].isin(levels).any():
        warn(
            f"{label}: no value is one of the categories of training, such as {levels[0]!r}; for "
            f"example {words[known].iloc[0]!r} is not, so all "
            "rows are treated alike; write the values as in training"
        )
    return np.asarray(words.to_numpy(dtype=object).astype(str))


def _width(column: dict[str, Any]) -> int:
    if column["kind"] == "category":
        return len(column["categories"]) + 1
    width = int(column["indicator"])
    if column["kind"] == "date":
        return width + sum(dates.LEVELS[p][1] if p in dates.LEVELS else 1 for p in column["parts"])
    return width + 1


def _check_column(entry: str, column: Any) -> None:
    forms.mapping(entry, column, ("name", "input", "kind"))
    try:
        name = _checked_name(column["name"])
    except TypeError as error:
        raise forms.wrong(f"{entry}: name", column["name"], "text or a number") from error
    entry = f"{entry} ({forms.shown(name)})"
    kind = forms.text(f"{entry}: kind", column["kind"], KINDS)
    if kind in LEFT_OUT:
        return
    if kind == "category":
        forms.mapping(entry, column, ("categories",))
        _check_texts(f"{entry}: categories", column["categories"], LIMITS.categories - 1)
        return
    forms.mapping(entry, column, ("indicator",))
    forms.flag(f"{entry}: indicator", column["indicator"])
    if kind == "date":
        _check_date(entry, column)
        return
    _check_number(entry, column)
    if kind == "ordered":
        forms.mapping(entry, column, ("levels",))
        _check_texts(f"{entry}: levels", column["levels"], None)
    elif column.get("unit") is not None:
        forms.text(f"{entry}: unit", column["unit"], UNITS)


def _check_number(entry: str, learnt: Any) -> None:
    forms.mapping(entry, learnt, ("median", "offset", "scale"))
    for key in ("median", "offset", "scale"):
        above = 0.0 if key == "scale" else -math.inf
        forms.number(f"{entry}: {key}", learnt[key], above=above)


def _check_date(entry: str, column: Any) -> None:
    forms.mapping(entry, column, ("earliest", "parts"))
    forms.number(f"{entry}: earliest", column["earliest"])
    parts = forms.mapping(f"{entry}: parts", column["parts"])
    if not parts:
        raise forms.wrong(f"{entry}: parts", parts, "at least one part")
    forms.no_others(f"{entry}: parts", parts, dates.PARTS)
    for part, learnt in parts.items():
        _check_number(f"{entry}: parts: {part}", learnt)
    if "formats" in column:
        formats = forms.items(f"{entry}: formats", column["formats"])
        for form in formats:
            forms.text(f"{entry}: formats", form, dates.FORMATS)
    elif forms.mapping(entry, column, ("zone",))["zone"] is not None:
        forms.text(f"{entry}: zone", column["zone"])


def _check_texts(entry: str, value: Any, most: int | None) -> None:
    found = forms.items(entry, value)
    # Must be a list: Keras would treat a single string as a file to read the vocabulary from.
    for one in found:
        forms.text(entry, one)
    if len(set(found)) < len(found) or (most is not None and len(found) > most):
        limit = "" if most is None else f"at most {most} "
        raise forms.wrong(entry, found, f"{limit}unique names")


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


def _statistics(
    found: kinds.Found, normalize: str | None, weight: np.ndarray | None
) -> dict[str, Any]:
    """Return what is learnt of a column besides its kind and details."""
    if found.kind == "category":
        counts = found.values.value_counts()
        # By count, then by name, because value_counts leaves the order of ties open.
        ordered = sorted(counts.index, key=lambda c: (-counts[c], c))
        return {"categories": ordered[: LIMITS.categories - 1]}
    if found.kind in LEFT_OUT:
        return {}
    indicator = {"indicator": bool(np.isnan(found.values).any())}
    if found.kind != "date":
        return _number_statistics(found.values, normalize, weight) | indicator
    known = found.values[~np.isnan(found.values)]
    earliest = float(known.min()) if len(known) else 0.0
    parts = dates.parts(found.values, earliest)
    # A part that never changes says nothing, such as the hour of days.
    varied = [p for p in dates.PARTS if len(known) and np.ptp(parts[p][~np.isnan(parts[p])]) > 0]
    learnt = {p: _number_statistics(parts[p], normalize, weight) for p in varied or ["elapsed"]}
    return {"earliest": earliest, "parts": learnt, **indicator}


def _number_statistics(
    values: np.ndarray, normalize: str | None, weight: np.ndarray | None
) -> dict[str, Any]:
    missing = np.isnan(values)
    median = 0.0 if missing.all() else float(np.nanmedian(values))
    filled = np.where(missing, median, values)
    offset, scale = affine(filled[:, None], normalize, weight)
    return {"median": median, "offset": float(offset[0]), "scale": float(scale[0])}


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

    raw = keras.Input((1,), dtype="float64", name=f"{column['input']}.raw")
    return keras.Model(raw, _scaled(raw, column, dtype), name=f"{column['input']}.encoder")


def _scaled(values: Any, column: dict[str, Any], dtype: str) -> Any:
    from keras import ops

    missing = ops.isnan(values)
    filled = ops.where(missing, column["median"], values)
    # Scale in float64: float32 has too few digits for, say, a date in seconds.
    scaled = ops.cast((filled - column["offset"]) / column["scale"], dtype)
    if not column["indicator"]:
        return scaled
    return ops.concatenate([scaled, ops.cast(missing, dtype)], axis=-1)


def _ordered_encoder(column: dict[str, Any], dtype: str) -> keras.Model:
    """Build the encoder of an ordered category: its rank, encoded as a number."""
    import keras

    raw = keras.Input((1,), dtype="string", name=f"{column['input']}.raw")
    ranks = _ranks(column["levels"], column["input"])(raw)
    return keras.Model(raw, _scaled(ranks, column, dtype), name=f"{column['input']}.encoder")


def _ranks(levels: list[str], name: str) -> Any:
    """Return a function from text to ranks, float64; NaN for missing and unseen categories."""
    import keras
    from keras import ops

    unseen = "[UNK]"
    while unseen in levels:
        unseen += "_"
    lookup = keras.layers.StringLookup(
        vocabulary=levels, oov_token=unseen, dtype="int64", name=f"{name}.lookup"
    )

    def rank(text: Any) -> Any:
        index = ops.cast(lookup(text), "float64")  # 0 for what is not among the levels
        return ops.where(ops.equal(index, 0.0), np.nan, index - 1.0)

    return rank


def _date_encoder(column: dict[str, Any], dtype: str) -> keras.Model:
    """Build the encoder of a date: its parts, and its indicator.

    Year, hour and elapsed time are encoded as numbers. Month and weekday have a column for each
    of their values, which are all 0 for a missing date.
    """
    import keras
    from keras import ops

    raw = keras.Input((1,), dtype="float64", name=f"{column['input']}.raw")
    missing = ops.isnan(raw)
    moment = ops.where(missing, column["earliest"], raw)
    parts = dates.parts(moment, column["earliest"], ops)
    found = []
    for part, learnt in column["parts"].items():
        if part in dates.LEVELS:
            first, count = dates.LEVELS[part]
            index = ops.cast(parts[part][..., 0], "int32") - first
            known = 1.0 - ops.cast(missing, dtype)
            found.append(ops.one_hot(index, count, dtype=dtype) * known)
        else:
            values = ops.where(missing, np.nan, parts[part])
            found.append(_scaled(values, learnt | {"indicator": False}, dtype))
    if column["indicator"]:
        found.append(ops.cast(missing, dtype))
    encoded = ops.concatenate(found, axis=-1) if len(found) > 1 else found[0]
    return keras.Model(raw, encoded, name=f"{column['input']}.encoder")


# The dtype of the raw input of each kind of column, and what builds its encoder.
_ENCODERS = {
    "number": ("float64", _number_encoder),
    "ordered": ("string", _ordered_encoder),
    "date": ("float64", _date_encoder),
}
