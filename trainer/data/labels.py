"""Class labels of any type, and their encoding as numbers.

Responsible for the labels of one output: learning the classes, encoding labels, decoding outputs
into labels and probabilities, and saving them as JSON. Not for several outputs (`targets`).
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from trainer.utils import forms

_MAX_PADDING = 16 << 20  # bytes by which an array of labels from a file may exceed their text


class Labels:
    """The classes of one output.

    Attributes:
        kind: "binary" (two classes), "multiclass", or "multilabel" (a 0/1 column per label).
        classes: The sorted labels, shape (n_classes,); for "multilabel" the column indices.
        dtype: The dtype of the labels; of a matrix, that of its values.
        one_hot: Whether targets are encoded as one-hot rows instead of class indices.
        rows: Whether the labels themselves were one-hot rows; if so, predictions are too.
        thresholds: The probability above which the positive class is predicted, or each label if
            multi-label: one number, or n_classes of them. None: the most probable class, and 0.5
            for each label.
        positive: Of two classes, the index of the one that the threshold is of.
        may_be_one_hot: Whether it is "multilabel" with a single 1 in every row that was learnt.
    """

    def __init__(
        self,
        kind: str,
        classes: np.ndarray,
        dtype: np.dtype[Any],
        one_hot: bool = False,
        rows: bool = False,
    ) -> None:
        self.kind = kind
        self.classes = classes
        self.dtype = dtype
        self.one_hot = one_hot
        self.rows = rows
        self.thresholds: tuple[float, ...] | None = None
        self.positive = 1
        self.may_be_one_hot = False

    @classmethod
    def learn(
        cls,
        y: Any,
        name: str,
        *,
        one_hot: bool = False,
        known: Any = None,
        columns: int | None = None,
    ) -> Labels:
        """Learn the classes of `y`.

        Args:
            y: Labels, shape (n,) or (n, 1), of any sortable type; or a 0/1 matrix (n, n_labels).
            name: The name of the argument, for errors.
            one_hot: Whether the loss expects one-hot rows; if so, a 0/1 matrix with a single 1
                per row is multiclass, not multi-label.
            known: All labels, of which `y` may lack some; None for those in `y`.
            columns: The number of outputs of a model that was made for these labels: whole numbers
                from 0 are then the numbers of its outputs, also where `y` lacks some.

        Raises:
            ValueError: There are missing labels, continuous numbers, or fewer than two classes.
        """
        array = as_labels(y, name)
        if array.ndim == 2 and one_hot and _is_one_hot(array):
            kept = array.dtype
            return cls("multiclass", np.arange(array.shape[1]), kept, one_hot=True, rows=True)
        if array.ndim == 2:
            made = cls("multilabel", np.arange(array.shape[1]), array.dtype)
            made.may_be_one_hot = array.shape[1] > 1 and len(array) > 1 and _is_one_hot(array)
            return made
        classes = _known_classes(array, name, known, columns)
        if len(classes) < 2:
            raise ValueError(
                f"{name} has only one class ({classes.tolist()[0]!r}); a classifier needs rows "
                "of at least two classes"
            )
        kind = "binary" if len(classes) == 2 else "multiclass"
        return cls(kind, classes, array.dtype, one_hot=one_hot)

    @property
    def n_classes(self) -> int:
        """The number of classes, or of labels if multi-label."""
        return len(self.classes)

    def encode(self, y: Any, name: str) -> np.ndarray:
        """Encode labels as training targets.

        Returns:
            Class indices, int32 (n,); one-hot rows, float32 (n, n_classes), if the loss expects
            them; or the 0/1 matrix as float32 (n, n_labels).

        Raises:
            ValueError: There are labels that training did not have, or the number of columns is
                wrong.
        """
        array = self.checked(y, name)
        if array.ndim == 2:
            return array.astype(np.float32)
        index = np.minimum(np.searchsorted(self.classes, array), self.n_classes - 1)
        unknown = self.classes[index] != array
        if unknown.any():
            raise self._not_trained_on(array[unknown], name)
        if self.one_hot:
            return np.eye(self.n_classes, dtype=np.float32)[index]
        return index.astype(np.int32)

    def checked(self, y: Any, name: str) -> np.ndarray:
        """Return labels as an array of the form that training had; they may be other classes.

        Raises:
            ValueError: They are text and those of the training numbers, or the reverse, or the
                number of columns is wrong.
        """
        array = as_labels(y, name)
        if self.kind == "multilabel" or array.ndim == 2:
            if array.ndim != 2 or array.shape[1] != self.n_classes:
                raise ValueError(
                    f"{name} has shape {array.shape}: must have {self.n_classes} columns of 0 and "
                    "1, as in training"
                )
        elif not _sortable(array, self.classes):
            raise self._not_trained_on(array, name)
        return array

    def _not_trained_on(self, labels: np.ndarray, name: str) -> ValueError:
        return ValueError(
            f"{name} contains {_listed(np.unique(labels))}, which training did not have; its "
            f"classes are {_listed(self.classes)}. Drop those rows, or train on data with every "
            "class"
        )

    def probabilities(self, output: np.ndarray) -> np.ndarray:
        """Convert an output of probabilities, (n, width), to (n, n_classes)."""
        if self.kind != "multilabel" and output.shape[-1] == 1:
            return np.concatenate([1 - output, output], axis=-1)
        return output

    def decode(self, output: np.ndarray) -> np.ndarray:
        """Decode an output (n, width) into labels in the form of y.

        Returns:
            Labels (n,); a 0/1 matrix (n, n_labels) if multi-label; one-hot rows (n, n_classes) if
            the labels were such rows.
        """
        chosen = self.choose(output)
        return (chosen[:, None] == self.classes).astype(self.dtype) if self.rows else chosen

    def choose(self, output: np.ndarray) -> np.ndarray:
        """Decode an output (n, width) into one of `classes` for each row, (n,).

        For multi-label outputs into a 0/1 matrix (n, n_labels).
        """
        if self.kind == "multilabel":
            limits = (0.5,) if self.thresholds is None else self.thresholds
            # in float64: in float32 a threshold could round to the probability above it
            return (output.astype(np.float64) > np.array(limits)).astype(self.dtype)
        given = self.probabilities(output)
        if self.thresholds is None:
            index = np.argmax(given, axis=-1)
        else:
            above = given[..., self.positive].astype(np.float64) > self.thresholds[0]
            index = np.where(above, self.positive, 1 - self.positive)
        chosen: np.ndarray = self.classes[index]
        return chosen

    def to_dict(self) -> dict[str, Any]:
        """Return a representation for JSON."""
        cut: dict[str, Any] = {}
        if self.thresholds is not None:
            cut = {"thresholds": list(self.thresholds), "positive": self.positive}
        return cut | {
            "kind": self.kind,
            "classes": self.classes.tolist(),
            "classes_dtype": self.classes.dtype.str,
            "dtype": self.dtype.str,
            "one_hot": self.one_hot,
            "rows": self.rows,
        }

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Labels:
        """Restore Labels from `to_dict`.

        Raises:
            forms.Malformed: The state is invalid; the message names the entry.
        """
        entry = "targets: labels"
        forms.mapping(entry, state, ("kind", "classes", "classes_dtype", "dtype", "one_hot"))
        kind = forms.text(f"{entry}: kind", state["kind"], ("binary", "multiclass", "multilabel"))
        classes = forms.items(f"{entry}: classes", state["classes"])
        flag = forms.flag(f"{entry}: one_hot", state["one_hot"])
        rows = forms.flag(f"{entry}: rows", state.get("rows", False))  # 0.1.0 did not write it
        dtype = _checked_dtype(f"{entry}: dtype", state["dtype"])
        array = _checked_classes(f"{entry}: classes", classes, state["classes_dtype"])
        fits = len(array) == 2 if kind == "binary" else len(array) >= 1
        if kind == "multilabel":
            fits = fits and dtype.kind in "biuf" and classes == list(range(len(classes)))
        if rows:
            fits = fits and kind == "multiclass" and dtype.kind in "biuf" and flag
            fits = fits and classes == list(range(len(classes)))
        if not fits:
            raise forms.wrong(f"{entry}: classes", classes, f"valid classes of {kind!r} labels")
        found = cls(kind, array, dtype, flag, rows)
        if state.get("thresholds") is not None:  # not written without a threshold, nor by 0.1.0
            found._restore_thresholds(entry, state)
        return found

    def _restore_thresholds(self, entry: str, state: dict[str, Any]) -> None:
        name = f"{entry}: thresholds"
        if self.kind != "multilabel" and self.n_classes != 2:
            raise forms.wrong(name, state["thresholds"], "absent, for more than two classes")
        count = self.n_classes if self.kind == "multilabel" else 1
        values = forms.items(name, state["thresholds"], count)
        for value in values:
            forms.number(name, value, above=0.0)
            if value >= 1:
                raise forms.wrong(name, value, "a number below 1")
        self.thresholds = tuple(map(float, values))
        self.positive = forms.whole(f"{entry}: positive", state.get("positive"), 0, 1)


def known_labels(value: Any) -> np.ndarray:
    """Return the argument classes as sorted labels.

    Raises:
        TypeError: It is not a list or an array.
        ValueError: It has no labels, or not such as y may have.
    """
    if isinstance(value, (set, frozenset)) or np.ndim(value) == 0:
        instead = "[0, 1, 2], for example"
        if isinstance(value, (set, frozenset)) and value:
            instead = repr(sorted(value, key=str))
        raise TypeError(
            f"classes={value!r:.200}: must be a list or an array of all labels; write "
            f"classes={instead}"
        )
    found: np.ndarray = np.unique(as_labels(value, "classes"))
    return found


def _known_classes(array: np.ndarray, name: str, known: Any, columns: int | None) -> np.ndarray:
    """Return the sorted labels: those that are known, or those in an array."""
    found = np.unique(array)
    if known is not None:
        classes = known_labels(known)
        if not _sortable(found, classes) or not np.isin(found, classes).all():
            extra = found if not _sortable(found, classes) else found[~np.isin(found, classes)]
            raise ValueError(
                f"classes={_listed(classes)}: {name} also contains {_listed(extra)}; list every "
                "label in classes"
            )
        return classes
    if columns is not None and found.dtype.kind in "iubf":
        numbers = np.arange(max(columns, 2))
        if np.isin(found, numbers).all():
            return numbers.astype(bool if found.dtype.kind == "b" else found.dtype)
    return found


def _checked_dtype(entry: str, value: Any) -> np.dtype[Any]:
    if re.fullmatch(r"[<>|=]([biuf][1248]|[US]\d{1,7})", forms.text(entry, value)) is None:
        raise forms.wrong(entry, value, "a dtype of labels, such as '<i8' or '<U5'")
    try:
        found: np.dtype[Any] = np.dtype(value)
    except TypeError as error:
        raise forms.wrong(entry, value, "a dtype of labels, such as '<i8' or '<U5'") from error
    return found


def _checked_classes(entry: str, classes: list[Any], form: Any) -> np.ndarray:
    dtype = _checked_dtype(f"{entry}_dtype", form)
    kinds: dict[str, tuple[type, ...]] = {"b": (bool,), "f": (int, float), "U": (str,)}
    for value in classes:
        if type(value) not in kinds.get(dtype.kind, (int,)):
            raise forms.wrong(entry, value, f"of dtype {form!r}")
    if dtype.kind == "U" and dtype.itemsize * len(classes) > _MAX_PADDING + 8 * len(str(classes)):
        raise forms.wrong(f"{entry}_dtype", form, "about as long as the longest label")
    try:
        array = np.array(classes, dtype=dtype)
    except (OverflowError, ValueError, TypeError) as error:
        raise forms.wrong(entry, classes, f"of dtype {form!r}") from error
    if array.tolist() != classes or (array[1:] <= array[:-1]).any():
        raise forms.wrong(entry, classes, "sorted and unique")
    return array


def _from_objects(array: np.ndarray, name: str) -> np.ndarray:
    """Convert labels of dtype object to strings or numbers."""
    if _any_missing(array):
        raise ValueError(f"{name} contains NaN or None; drop the rows without a label")
    kinds = {str if isinstance(v, str) else type(v) for v in array.ravel()}
    if kinds == {str}:
        return array.astype(str)
    if str in kinds and len(kinds) > 1:
        raise ValueError(
            f"Unknown label type: {name} mixes text and numbers; write {name}.astype(str)"
        )
    if all(issubclass(k, (bool, int, float, np.generic)) for k in kinds):
        return np.array(array.tolist())
    raise ValueError(
        f"Unknown label type: {name} contains {sorted(k.__name__ for k in kinds)}; labels "
        "must be strings, whole numbers or booleans"
    )


def as_labels(y: Any, name: str) -> np.ndarray:
    """Convert `y` to an array of labels (n,), or of 0 and 1 (n, n_labels).

    Raises:
        ValueError: There are missing or continuous values, or the shape is not valid.
    """
    array = y.to_numpy() if hasattr(y, "to_numpy") else np.asarray(y)
    if isinstance(y, (list, tuple)) and array.dtype.kind == "U":
        array = np.asarray(y, dtype=object)  # numbers and NaN among text are still what they are
    if array.ndim == 0 or len(array) == 0:
        raise ValueError(f"{name} is empty: found 0 sample(s) while a minimum of 1 is required")
    if array.size == 0:
        raise ValueError(
            f"{name} has shape {array.shape}, so no labels; pass one label per row, shape (n,), or "
            "a column of 0 and 1 per label"
        )
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dtype.kind == "O":
        array = _from_objects(array, name)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise ValueError(
                f"{name} contains NaN or infinity (inf); drop the rows without a label"
            )
        if (array != np.floor(array)).any():
            raise ValueError(
                f"Unknown label type: {name} contains continuous numbers such as "
                f"{array[array != np.floor(array)].flat[0]:g}; use a Regressor, or labels"
            )
    if array.dtype.kind not in "fiubUS":
        raise ValueError(
            f"Unknown label type: {name} has dtype {array.dtype}; labels must be strings, whole "
            "numbers or booleans"
        )
    if array.ndim > 2 or (array.ndim == 2 and not np.isin(array, (0, 1)).all()):
        raise ValueError(
            f"{name} has shape {array.shape}: must be one label per row, shape (n,), or a matrix "
            "of 0 and 1 with a column per label; for several outputs write a dict of labels"
        )
    return array


def _any_missing(array: np.ndarray) -> bool:
    import pandas as pd

    return bool(pd.isna(array).any())


def _is_one_hot(array: np.ndarray) -> bool:
    return bool((array.sum(axis=1) == 1).all())


def _sortable(array: np.ndarray, classes: np.ndarray) -> bool:
    return (array.dtype.kind in "US") == (classes.dtype.kind in "US")


def _listed(values: np.ndarray, limit: int = 8) -> str:
    shown = ", ".join(repr(v) for v in values[:limit].tolist())
    return shown + (f" and {len(values) - limit} more" if len(values) > limit else "")
