"""The encoding of a table for `tabular`: what is learnt of its columns.

Responsible for scaling numbers, and for how each category is encoded: +-1 of two, one-hot up to
nine, an embedding up to fifty, the mean of the target above. Not for converting a DataFrame to
columns (`data.tables`), or for the layer that encodes (`tabular_layers`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.data.arrays import Tree
from trainer.utils import forms

if TYPE_CHECKING:
    import keras

    from trainer.data.tables import Table

# The most categories, missing included, that are encoded as +-1, one-hot, and by an embedding.
PAIR, ONE_HOT, EMBEDDING = 2, 9, 50
FOLDS = 5  # of the cross-fitted target encoding
PRIOR_CLASSES, PRIOR_NUMBERS = 20.0, 10.0  # rows that the overall mean counts for
MOST_TARGETS = 10  # columns of targets to take the mean of; with more classes, embeddings

_KINDS = ("pair", "one_hot", "embedding", "target")


class TableEncoding:
    """What `tabular` has learnt of a table and its targets.

    Attributes:
        plan: For each number its `input`, `center`, `scale`, `varies` (False for a constant, which
            is left out) and `indicator` (whether to add a column for missing values); for each
            text its `input`, `kind`, `levels`, and `values`, the encoded values of its levels and,
            last, of an unseen one.
        low: The least value of each target column in units of its deviation; empty for classes.
        high: The largest.
    """

    def __init__(self, plan: dict[str, Any], low: list[float], high: list[float]) -> None:
        self.plan = plan
        self.low, self.high = low, high
        self._cross_fitted: np.ndarray | None = None

    @classmethod
    def learn(
        cls,
        columns: Mapping[str, np.ndarray],
        targets: np.ndarray | None,
        weight: np.ndarray | None,
        *,
        classes: bool,
        seed: int,
    ) -> TableEncoding:
        """Learn the encoding of the training rows.

        Args:
            columns: Raw columns by input name, [n, 1] each: float64 with NaN, or text.
            targets: Standardised numbers or indicators of classes, [n, k]; None to embed instead
                of encoding by the mean of targets.
            weight: Row weights [n], or None.
            classes: Whether the targets are classes.
            seed: Of the folds.
        """
        numbers, texts = [], []
        parts: list[np.ndarray] = []
        for name, values in columns.items():
            column = values[:, 0]
            if column.dtype.kind == "f":
                numbers.append({"input": name, **_number(column)})
                continue
            found, fitted = _text(column, targets, weight, classes=classes, seed=seed)
            texts.append({"input": name, **found})
            if fitted is not None:
                parts.append(fitted)
        low: list[float] = []
        high: list[float] = []
        if targets is not None and not classes:
            low, high = targets.min(axis=0).tolist(), targets.max(axis=0).tolist()
        made = cls({"numbers": numbers, "texts": texts}, low, high)
        if parts:
            made._cross_fitted = np.concatenate(parts, axis=1)
        return made

    @property
    def n_numbers(self) -> int:
        """How many columns of the matrix are numbers, which come first."""
        means = [len(c["values"]) for c in self.plan["texts"] if c["kind"] == "target"]
        return sum(c["varies"] for c in self.plan["numbers"]) + sum(means)

    @property
    def levels(self) -> list[int]:
        """How many ids there are in each column of ids; these columns come last."""
        embedded = [c for c in self.plan["texts"] if c["kind"] == "embedding"]
        return [len(c["levels"]) + 1 for c in embedded]

    def raw(self, x: Any, owner: str, name: str) -> dict[str, np.ndarray]:
        """Refuse anything but a DataFrame, which its Table converts."""
        raise TypeError(f"{name} is a {type(x).__name__}: {owner} was trained on a DataFrame")

    def encoder(self, table: Table | None) -> keras.Model:
        """Build the model from raw columns to the matrix."""
        import keras

        from trainer.models.tabular_layers import TableMatrix

        plan = self.plan
        inputs = {
            **{c["input"]: ("float64", None) for c in plan["numbers"]},
            **{c["input"]: ("string", None) for c in plan["texts"]},
        }
        symbolic = {
            name: keras.Input((1,), dtype=dtype, name=name)
            for name, (dtype, _) in sorted(inputs.items())
        }
        matrix = TableMatrix(plan, name="table_matrix")(symbolic)
        return keras.Model(symbolic, matrix, name="table")

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
        return {"plan": self.plan, "low": self.low, "high": self.high}

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> TableEncoding:
        """Restore from `to_dict`.

        Raises:
            forms.Malformed: The form is invalid; the message names the entry.
        """
        entry = "architecture: learned"
        forms.mapping(entry, form, ("plan", "low", "high"))
        plan = forms.mapping(f"{entry}: plan", form["plan"], ("numbers", "texts"))
        inputs = []
        for column in forms.items(f"{entry}: numbers", plan["numbers"]):
            where = f"{entry}: numbers"
            forms.mapping(where, column, ("input", "center", "scale", "varies", "indicator"))
            inputs.append(forms.text(f"{where}: input", column["input"]))
            forms.number(f"{where}: center", column["center"])
            forms.number(f"{where}: scale", column["scale"])
            forms.flag(f"{where}: varies", column["varies"])
            forms.flag(f"{where}: indicator", column["indicator"])
        for column in forms.items(f"{entry}: texts", plan["texts"]):
            inputs.append(_check_text(f"{entry}: texts", column))
        if not inputs or len(set(inputs)) < len(inputs):
            raise forms.wrong(f"{entry}: plan", inputs, "columns with unique names")
        for key in ("low", "high"):
            for value in forms.items(f"{entry}: {key}", form[key], len(form["low"])):
                forms.number(f"{entry}: {key}", value)
        return cls({"numbers": plan["numbers"], "texts": plan["texts"]}, form["low"], form["high"])


def _check_text(entry: str, column: Any) -> str:
    forms.mapping(entry, column, ("input", "kind", "levels", "values"))
    name = forms.text(f"{entry}: input", column["input"])
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
    return name


def _number(values: np.ndarray) -> dict[str, Any]:
    """Return center and scale: median and quartiles; the range where the quartiles are equal."""
    missing = np.isnan(values)
    known = values[~missing]
    found = {"center": 0.0, "scale": 1.0, "varies": False, "indicator": bool(missing.any())}
    if not len(known) or known.min() == known.max():
        found["indicator"] = bool(missing.any() and len(known))
        return found
    low, median, high = np.quantile(known, (0.25, 0.5, 0.75))
    scale = 1 / (high - low) if high > low else 2 / (known.max() - known.min())
    if not math.isfinite(scale):  # differences near the smallest of floats
        return found
    return {**found, "center": float(median), "scale": float(scale), "varies": True}


def _text(
    values: np.ndarray,
    targets: np.ndarray | None,
    weight: np.ndarray | None,
    *,
    classes: bool,
    seed: int,
) -> tuple[dict[str, Any], np.ndarray | None]:
    """Return how to encode a column of text, and the cross-fitted means of its training rows."""
    levels, index = np.unique(values, return_inverse=True)
    n = len(levels)
    found: dict[str, Any] = {"kind": "one_hot", "levels": levels.tolist(), "values": []}
    if n <= PAIR:
        found |= {"kind": "pair", "values": [[-1.0, 1.0][:n] + [0.0]]}
    elif n > ONE_HOT and (n <= EMBEDDING or targets is None):
        found |= {"kind": "embedding", "values": [list(range(n + 1))]}
    elif n > ONE_HOT:
        assert targets is not None
        weights = np.ones(len(index)) if weight is None else weight
        prior = PRIOR_CLASSES if classes else PRIOR_NUMBERS
        means = _means(index, n, targets, weights, prior)
        fitted = np.empty_like(targets, dtype=np.float64)
        folds = np.random.default_rng(seed).permutation(len(index)) % FOLDS
        for fold in range(FOLDS):
            others = folds != fold
            known = _means(index[others], n, targets[others], weights[others], prior)
            fitted[~others] = known[index[~others]]
        center, scale = fitted.mean(axis=0), fitted.std(axis=0)
        scale = np.where(scale > 1e-12, scale, 1.0)
        found |= {
            "kind": "target",
            "values": _clipped((means - center) / scale).T.tolist(),
        }
        return found, _clipped((fitted - center) / scale).astype(np.float32)
    return found, None


def _means(
    index: np.ndarray, n: int, targets: np.ndarray, weight: np.ndarray, prior: float
) -> np.ndarray:
    """Return the smoothed mean of the targets of each level, and last that of an unseen one."""
    total = np.average(targets, axis=0, weights=weight) if weight.any() else targets.mean(axis=0)
    counts = np.bincount(index, weight, n + 1)[:, None]
    sums = np.stack([np.bincount(index, weight * t, n + 1) for t in targets.T], axis=1)
    return np.asarray((sums + prior * total) / (counts + prior))


def _clipped(z: np.ndarray) -> np.ndarray:
    return np.asarray(z / np.sqrt(1 + np.square(z / 3)))


__all__ = ["EMBEDDING", "MOST_TARGETS", "ONE_HOT", "PAIR", "TableEncoding"]
