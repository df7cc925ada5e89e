"""The encoding of a table for `tabular`: what is learnt of its columns.

Responsible for scaling numbers, and for how each category is encoded: +-1 of two, one-hot up to
nine, an embedding up to fifty, the mean of the target above. Not for converting a DataFrame to
columns (`data.tables`), or for the layer that encodes (`tabular_layers`).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.data.arrays import Tree
from trainer.utils import forms
from trainer.utils.checks import with_article

if TYPE_CHECKING:
    import keras

    from trainer.data.tables import Table

# The most categories, missing included, that are encoded as +-1, one-hot, and by an embedding.
PAIR, ONE_HOT, EMBEDDING = 2, 9, 50
# Whole numbers that are tried for the mean of the target: how many at least, and rows for each.
FEWEST_WHOLE, ROWS_PER_WHOLE = 10, 4
BINS, SURE = 32, 4.0  # ranges to compare with; standard errors by which it must be better
FOLDS = 5  # of the cross-fitted target encoding
PRIOR_CLASSES, PRIOR_NUMBERS = 20.0, 10.0  # rows that the overall mean counts for
MOST_TARGETS = 10  # columns of targets to take the mean of; with more classes, embeddings

_KINDS = ("pair", "one_hot", "embedding", "target")


# Where the values of a kind of text are in the matrix.
_PARTS = {"target": "numbers", "pair": "plain", "embedding": "ids"}


@dataclass(frozen=True)
class _Fixed:
    """What `TableEncoding.matrix` needs of a plan, as arrays."""

    center: np.ndarray
    scale: np.ndarray
    varying: np.ndarray
    flagged: np.ndarray
    whole: list[np.ndarray]
    levels: list[dict[str, int]]

    @classmethod
    def of(cls, plan: Mapping[str, Any]) -> _Fixed:
        numbers = plan["numbers"]
        return cls(
            np.array([c["center"] for c in numbers]),
            np.array([c["scale"] for c in numbers]),
            np.flatnonzero([c["varies"] for c in numbers]),
            np.flatnonzero([c["indicator"] for c in numbers]),
            [np.array(c["levels"], np.float64) for c in plan["whole"]],
            [{level: i for i, level in enumerate(c["levels"])} for c in plan["texts"]],
        )


class TableEncoding:
    """What `tabular` has learnt of a table and its targets.

    Attributes:
        plan: For each number its `feature` (its place in Table.features), `center`, `scale`,
            `varies` (False for a constant, which is left out) and `indicator` (whether to add a
            column for missing values); for each text its `feature`, `kind`, `levels`, and `values`,
            the encoded values of its levels and, last, of an unseen one. `whole` has whole numbers
            that are encoded by the mean of the target too: `feature`, `levels` and `values`.
        rows: The number of training rows.
        low: The least value of each target column in units of its deviation; empty for classes.
        high: The largest.
    """

    def __init__(
        self, plan: dict[str, Any], low: list[float], high: list[float], rows: int
    ) -> None:
        self.plan = plan
        self.rows = rows
        self.low, self.high = low, high
        self._cross_fitted: np.ndarray | None = None

    @classmethod
    def learn(
        cls,
        columns: Mapping[int, np.ndarray],
        targets: np.ndarray | None,
        weight: np.ndarray | None,
        *,
        classes: bool,
        seed: int,
    ) -> TableEncoding:
        """Learn the encoding of the training rows.

        Args:
            columns: Columns by their places in Table.features, [n] each: float64 with NaN, or text.
            targets: Standardised numbers or indicators of classes, [n, k]; None to embed instead
                of encoding by the mean of targets.
            weight: Row weights [n], or None.
            classes: Whether the targets are classes.
            seed: Of the folds.
        """
        numbers, whole, texts = [], [], []
        of_whole: list[np.ndarray] = []
        of_texts: list[np.ndarray] = []
        means = None if targets is None else _Means(targets, weight, classes=classes, seed=seed)
        for place, column in columns.items():
            if column.dtype.kind == "f":
                numbers.append({"feature": place, **_number(column)})
                number_means = None if means is None else _whole(column, means)
                if number_means is not None:
                    whole.append({"feature": place, **number_means[0]})
                    of_whole.append(number_means[1])
                continue
            found, fitted = _text(column, means)
            texts.append({"feature": place, **found})
            if fitted is not None:
                of_texts.append(fitted)
        if not texts and not whole and numbers and not any(c["varies"] for c in numbers):
            numbers[0]["varies"] = True  # all are constant: the network needs an input, 0 here
        parts = [*of_whole, *of_texts]
        rows = len(next(iter(columns.values())))
        low: list[float] = []
        high: list[float] = []
        if targets is not None and not classes:
            low, high = targets.min(axis=0).tolist(), targets.max(axis=0).tolist()
        made = cls({"numbers": numbers, "whole": whole, "texts": texts}, low, high, rows)
        if parts:
            made._cross_fitted = np.concatenate(parts, axis=1)
        return made

    @property
    def n_numbers(self) -> int:
        """How many columns of the matrix are numbers, which come first."""
        means = [len(c["values"]) for c in self.plan["texts"] if c["kind"] == "target"]
        means += [len(c["values"]) for c in self.plan["whole"]]
        return sum(bool(c["varies"]) for c in self.plan["numbers"]) + sum(means)

    @property
    def levels(self) -> list[int]:
        """How many ids there are in each column of ids; these columns come last."""
        embedded = [c for c in self.plan["texts"] if c["kind"] == "embedding"]
        return [len(c["levels"]) + 1 for c in embedded]

    def raw(self, x: Any, owner: str, name: str) -> dict[str, np.ndarray]:
        """Refuse anything but a DataFrame, which its Table converts."""
        raise TypeError(
            f"{name} is {with_article(type(x).__name__)}: {owner} was trained on a DataFrame"
        )

    def encoder(self, table: Table | None) -> keras.Model:
        """Build the model from raw columns to the matrix."""
        import keras

        from trainer.models.tabular_layers import TableMatrix

        features = [] if table is None else table.features()
        self._check(features)
        assert table is not None
        raw = {
            name: keras.Input((1,), dtype=dtype, name=name)
            for name, dtype in table.input_dtypes().items()
        }
        columns = {str(i): table.tensor(features[i], raw) for i in self._places()}
        return keras.Model(raw, TableMatrix(self.plan, name="matrix")(columns), name="table")

    def encode(self, table: Table | None, raw: dict[str, np.ndarray]) -> np.ndarray:
        """Return the matrix without a graph, which a single row would wait for.

        Args:
            table: The learned columns.
            raw: What its `inputs` returned.
        """
        if table is None:
            raise ValueError("only a table has columns to encode")
        return self.matrix(dict(enumerate(table.values_of(raw))))

    def matrix(self, columns: Mapping[int, np.ndarray]) -> np.ndarray:
        """Return the matrix, float32 [n, width], for columns as for `learn`."""
        fixed = self._fixed
        parts: dict[str, list[np.ndarray]] = {"numbers": [], "plain": [], "ids": []}
        if self.plan["numbers"]:
            raw = np.array([columns[c["feature"]] for c in self.plan["numbers"]], np.float64).T
            missing = np.isnan(raw)
            z = np.where(missing, 0.0, (raw - fixed.center) * fixed.scale)
            z = (z / np.sqrt(1 + np.square(z / 3))).astype(np.float32)
            parts["numbers"].append(z[:, fixed.varying])
            parts["plain"].append(missing[:, fixed.flagged].astype(np.float32))
        for column, known in zip(self.plan["whole"], fixed.whole, strict=True):
            given = columns[column["feature"]]
            place = np.searchsorted(known, given)
            found = known[np.minimum(place, len(known) - 1)] == given
            place = np.where(found, place, len(known))
            parts["numbers"].append(np.asarray(column["values"], np.float32)[:, place].T)
        hot = []
        for column, levels in zip(self.plan["texts"], fixed.levels, strict=True):
            unseen = len(column["levels"])
            local = [levels.get(v, unseen) for v in columns[column["feature"]].tolist()]
            if column["kind"] == "one_hot":
                hot.append(np.eye(unseen + 1, unseen, dtype=np.float32)[local])
                continue
            values = np.asarray(column["values"], np.float32)[:, local].T
            parts[_PARTS[column["kind"]]].append(values)
        return np.concatenate([*parts["numbers"], *parts["plain"], *hot, *parts["ids"]], axis=1)

    @functools.cached_property
    def _fixed(self) -> _Fixed:
        return _Fixed.of(self.plan)

    def _check(self, features: list[dict[str, Any]]) -> None:
        """Check that the plan fits the columns of the table, which a file may say wrongly."""
        for kind, expected in (("numbers", "number"), ("texts", "category")):
            for column in self.plan[kind]:
                place = column["feature"]
                if place >= len(features) or features[place]["kind"] != expected:
                    raise forms.wrong(
                        f"architecture: learned: {kind}", place, f"the place of a {expected}"
                    )

    def _places(self) -> list[int]:
        return [c["feature"] for kind in ("numbers", "texts") for c in self.plan[kind]]

    def training_rows(self, encoded: Tree) -> Tree:
        """Return the rows with means of the target of other folds."""
        if self._cross_fitted is None:
            return encoded
        made = np.array(encoded)
        end = self.n_numbers
        made[:, end - self._cross_fitted.shape[1] : end] = self._cross_fitted
        return made

    def to_dict(self) -> dict[str, Any]:
        """Return a representation for JSON."""
        return {"plan": self.plan, "low": self.low, "high": self.high, "rows": self.rows}

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> TableEncoding:
        """Restore from `to_dict`.

        Raises:
            forms.Malformed: The form is invalid; the message names the entry.
        """
        entry = "architecture: learned"
        forms.mapping(entry, form, ("plan", "low", "high", "rows"))
        plan = forms.mapping(f"{entry}: plan", form["plan"], ("numbers", "whole", "texts"))
        places = []
        for column in forms.items(f"{entry}: numbers", plan["numbers"]):
            where = f"{entry}: numbers"
            forms.mapping(where, column, ("feature", "center", "scale", "varies", "indicator"))
            places.append(forms.whole(f"{where}: feature", column["feature"], 0, 2**31))
            forms.number(f"{where}: center", column["center"])
            forms.number(f"{where}: scale", column["scale"])
            forms.flag(f"{where}: varies", column["varies"])
            forms.flag(f"{where}: indicator", column["indicator"])
        for column in forms.items(f"{entry}: whole", plan["whole"]):
            _check_whole(f"{entry}: whole", column, places)
        for column in forms.items(f"{entry}: texts", plan["texts"]):
            places.append(_check_text(f"{entry}: texts", column))
        if not places or len(set(places)) < len(places):
            raise forms.wrong(f"{entry}: plan", places, "the places of different features")
        for key in ("low", "high"):
            for value in forms.items(f"{entry}: {key}", form[key], len(form["low"])):
                forms.number(f"{entry}: {key}", value)
        found = {kind: plan[kind] for kind in ("numbers", "whole", "texts")}
        rows = forms.whole(f"{entry}: rows", form["rows"], 1)
        return cls(found, form["low"], form["high"], rows)


def _check_whole(entry: str, column: Any, places: list[int]) -> None:
    forms.mapping(entry, column, ("feature", "levels", "values"))
    if column["feature"] not in places:
        raise forms.wrong(f"{entry}: feature", column["feature"], "one of the numbers")
    levels = [forms.number(f"{entry}: levels", v) for v in forms.items(entry, column["levels"])]
    if not levels or any(a >= b for a, b in itertools.pairwise(levels)):
        raise forms.wrong(f"{entry}: levels", levels, "increasing numbers")
    for values in forms.items(f"{entry}: values", column["values"]):
        for value in forms.items(f"{entry}: values", values, len(levels) + 1):
            forms.number(f"{entry}: values", value)


def _check_text(entry: str, column: Any) -> int:
    forms.mapping(entry, column, ("feature", "kind", "levels", "values"))
    place = forms.whole(f"{entry}: feature", column["feature"], 0, 2**31)
    kind = forms.text(f"{entry}: kind", column["kind"], _KINDS)
    levels = forms.items(f"{entry}: levels", column["levels"])
    for level in levels:
        forms.text(f"{entry}: levels", level)
    if not levels or len(set(levels)) < len(levels):
        raise forms.wrong(f"{entry}: levels", levels, "unique names")
    values = forms.items(f"{entry}: values", column["values"], 0 if kind == "one_hot" else None)
    if kind == "embedding" and values != [list(range(len(levels) + 1))]:
        raise forms.wrong(f"{entry}: values", values, "the numbers of the levels")
    if kind in ("pair", "embedding") and len(values) != 1:
        raise forms.wrong(f"{entry}: values", values, "one list")
    for one in values:
        for value in forms.items(f"{entry}: values", one, len(levels) + 1):
            forms.number(f"{entry}: values", value)
    return place


def _number(values: np.ndarray) -> dict[str, Any]:
    """Return center and scale: median and quartiles; the range where the quartiles are equal."""
    missing = np.isnan(values)
    known = values[~missing]
    found = {"center": 0.0, "scale": 1.0, "varies": False, "indicator": bool(missing.any())}
    if not len(known) or known.min() == known.max():
        found["center"] = float(known[0]) if len(known) else 0.0
        found["indicator"] = bool(missing.any() and len(known))
        return found
    low, median, high = np.quantile(known, (0.25, 0.5, 0.75))
    scale = 1 / (high - low) if high > low else 2 / (known.max() - known.min())
    if not math.isfinite(scale):  # differences near the smallest of floats
        return found
    return {**found, "center": float(median), "scale": float(scale), "varies": True}


def _text(values: np.ndarray, means: _Means | None) -> tuple[dict[str, Any], np.ndarray | None]:
    """Return how to encode a column of text, and the cross-fitted means of its training rows."""
    levels, index = np.unique(values, return_inverse=True)
    n = len(levels)
    found: dict[str, Any] = {"kind": "one_hot", "levels": levels.tolist(), "values": []}
    if n <= PAIR:
        found |= {"kind": "pair", "values": [[-1.0, 1.0][:n] + [0.0]]}
    elif n > ONE_HOT and (n <= EMBEDDING or means is None):
        found |= {"kind": "embedding", "values": [list(range(n + 1))]}
    elif n > ONE_HOT:
        assert means is not None
        encoded, fitted = _standardised(means.of(index, n), means.cross_fitted(index, n))
        return found | {"kind": "target", "values": encoded.T.tolist()}, fitted
    return found, None


def _whole(values: np.ndarray, means: _Means) -> tuple[dict[str, Any], np.ndarray] | None:
    """Return how to encode whole numbers by the mean of the target too, if that tells more.

    They may be codes, such as those of products or days, whose neighbours have nothing in common.
    It is tried on the training rows: the cross-fitted means of each number must predict the target
    better than those of BINS ranges of numbers do, by more than chance.
    """
    missing = np.isnan(values)
    known = values[~missing]
    if not len(known) or not np.array_equal(known, np.trunc(known)):
        return None
    levels = np.unique(known)
    n = len(levels)
    if not FEWEST_WHOLE <= n <= len(values) / ROWS_PER_WHOLE:
        return None
    index = np.where(missing, n, np.searchsorted(levels, np.where(missing, levels[0], values)))
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1]))
    ranges = np.where(missing, len(edges) + 1, np.searchsorted(edges, values, side="right"))
    fitted = means.cross_fitted(index, n + 1)
    smooth = means.cross_fitted(ranges, len(edges) + 2)
    gain = np.square(means.targets - smooth) - np.square(means.targets - fitted)
    gain = gain.mean(axis=1)
    if gain.mean() <= SURE * gain.std() / math.sqrt(len(gain)):
        return None
    # the last is what an unseen number has, and a missing one in training
    encoded, fitted = _standardised(means.of(index, n), fitted)
    return {"levels": levels.tolist(), "values": encoded.T.tolist()}, fitted


def _standardised(means: np.ndarray, fitted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return means of levels and of training rows as numbers of order 1."""
    center, scale = fitted.mean(axis=0), fitted.std(axis=0)
    scale = np.where(scale > 1e-12, scale, 1.0)
    rows = _clipped((fitted - center) / scale)
    return _clipped((means - center) / scale), rows.astype(np.float32)


class _Means:
    """Means of the targets by level, smoothed towards the overall mean.

    Args:
        targets: [n, k].
        weight: Row weights [n], or None.
        classes: Whether the targets are classes.
        seed: Of the folds.
    """

    def __init__(
        self, targets: np.ndarray, weight: np.ndarray | None, *, classes: bool, seed: int
    ) -> None:
        self.targets = targets
        n = len(targets)
        self._weight = np.ones(n) if weight is None or not weight.any() else weight
        self._prior = PRIOR_CLASSES if classes else PRIOR_NUMBERS
        self._folds = np.random.default_rng(seed).permutation(n) % FOLDS

    def of(self, index: np.ndarray, n: int, rows: Any = slice(None)) -> np.ndarray:
        """Return the mean of each of n levels and, last, of an unseen one, [n + 1, k].

        Args:
            index: The level of each row [rows]; n for none of them.
            n: The number of levels.
            rows: The rows to take.
        """
        index, targets, weight = index[rows], self.targets[rows], self._weight[rows]
        total = np.average(targets, axis=0, weights=weight if weight.any() else None)
        counts = np.bincount(index, weight, n + 1)[:, None]
        sums = np.stack([np.bincount(index, weight * t, n + 1) for t in targets.T], axis=1)
        return np.asarray((sums + self._prior * total) / (counts + self._prior))

    def cross_fitted(self, index: np.ndarray, n: int) -> np.ndarray:
        """Return for each row the mean of its level in the other folds, [rows, k]."""
        found = np.empty_like(self.targets, dtype=np.float64)
        for fold in range(FOLDS):
            own = self._folds == fold
            if own.any() and not own.all():
                found[own] = self.of(index, n, ~own)[index[own]]
            else:
                found[own] = self.targets.mean(axis=0)
        return found


def _clipped(z: np.ndarray) -> np.ndarray:
    return np.asarray(z / np.sqrt(1 + np.square(z / 3)))


__all__ = ["EMBEDDING", "MOST_TARGETS", "ONE_HOT", "PAIR", "TableEncoding"]
