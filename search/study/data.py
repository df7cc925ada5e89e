"""The data of a search: saved once on disk for all workers, and cut into splits.

Responsible for selecting rows from any kind of data, for splits, for a file that every worker
memory-maps, and for the fingerprint that shows whether data changed since a study began. Not for
checking data against an estimator: its fit does that.
"""

from __future__ import annotations

import base64
import hashlib
import math
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from trainer.data import arrays, preparation
from trainer.data.frames import as_frame
from trainer.data.preparation import MissingTargets, Rows
from trainer.data.streams import is_stream
from trainer.runs import fingerprint

HOLDOUT = 0.2  # the default fraction of rows held out

Split = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Data:
    """The data passed to a search's fit.

    Attributes:
        x: rows, as the estimator takes them, or a stream.
        y: targets of the rows, or None.
        weight: weight of each row [n], or None.
        validation: (x, y) or (x, y, weight) or a stream, if validation data were passed.
        fit_params: further arguments of the estimator's fit, such as {"coef_init": ...}.
        score_params: arguments of the scorer, by scikit-learn's metadata routing. Of both those
            with one value for each row are cut as the rows are.
    """

    x: Any
    y: Any = None
    weight: Any = None
    validation: Any = None
    fit_params: Mapping[str, Any] = field(default_factory=dict)
    score_params: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, x: Any, y: Any, weight: Any, validation: Any) -> Data:
        """Take the data as they are.

        x that cannot be indexed becomes an array or csr; tables of polars or Arrow become pandas'.
        """
        if isinstance(validation, (tuple, list)):
            validation = tuple(map(_indexable, validation))
        return cls(_indexable(x), _indexable(y), _indexable(weight), validation)

    @property
    def n(self) -> int:
        """The number of rows."""
        return rows(self.x)

    def take(self, index: np.ndarray) -> Data:
        """Return the given rows, without validation data."""
        return Data(
            _take(self.x, index),
            _take(self.y, index),
            _take(self.weight, index),
            fit_params=_cut(self.fit_params, self.n, index),
            score_params=_cut(self.score_params, self.n, index),
        )

    def with_targets(self, missing: MissingTargets) -> tuple[Data, np.ndarray | None]:
        """Leave out the rows that have no target, also of the validation data.

        Args:
            missing: what to do with them.

        Returns:
            The data; the row numbers that are left, or None if all are.

        Raises:
            ValueError: there are such rows, and they are not to be left out; or no other is left.
        """
        data, kept = self, None
        if not is_stream(self.x):
            kept = missing.kept(preparation.several(self.y, self.n))
            data = self if kept is None else replace(self.take(kept), validation=self.validation)
        if isinstance(self.validation, (tuple, list)):
            given = Data(*self.validation)
            of_valid = missing.kept(preparation.several(given.y, given.n), "validation_data: y")
            if of_valid is not None:
                left = given.take(of_valid)
                parts = (left.x, left.y, left.weight)[: len(self.validation)]
                data = replace(data, validation=parts)
        return data, kept

    def held(self, split: Split) -> Data:
        """Return the rows to train on, with the others as validation data."""
        test = self.take(split[1])
        parts = (test.x, test.y) if test.weight is None else (test.x, test.y, test.weight)
        return replace(self.take(split[0]), validation=parts)


def rows(x: Any) -> int:
    """Return the number of rows.

    Raises:
        ValueError: several inputs differ in their numbers of rows.
        TypeError: x has no rows.
    """
    if arrays.is_nested(x):
        return arrays.length(arrays.map_tree(np.asanyarray, x), "x")
    from sklearn.utils.validation import _num_samples

    return int(_num_samples(x))


def _indexable(value: Any) -> Any:
    if arrays.is_nested(value) or is_stream(value):
        return value
    from sklearn.utils import indexable

    return indexable(as_frame(value))[0]


def _take(value: Any, index: np.ndarray) -> Any:
    if value is None:
        return None
    if arrays.is_nested(value):
        return arrays.take(value, index)
    from sklearn.utils import _safe_indexing

    return _safe_indexing(value, index)


def _cut(params: Mapping[str, Any], n: int, index: np.ndarray) -> dict[str, Any]:
    """Return arguments for some rows; those without one value per row stay as they are."""
    found = {}
    for name, value in params.items():
        whole = value
        sized = hasattr(value, "__len__") and not isinstance(value, (str, bytes, Mapping))
        if sized and rows(value) == n:
            whole = _take(value, index)
        found[name] = whole
    return found


# ---- splits --------------------------------------------------------------------------------------


def splits(data: Data, cv: Any, groups: Any, *, classifier: bool) -> list[Split]:
    """Return the rows to train on and to test on, for each split of a cross-validation.

    Args:
        data: all rows.
        cv: a number of folds (stratified for a classifier), a splitter of scikit-learn, or an
            iterable of (train, test).
        groups: group of each row [n], for splitters that use groups.
        classifier: whether y are labels.

    Raises:
        ValueError: cv does not fit the data or the groups.
    """
    from sklearn.model_selection import check_cv
    from sklearn.utils.multiclass import type_of_target

    y = None if data.y is None or arrays.is_nested(data.y) else np.asarray(data.y)
    labels = classifier and y is not None and type_of_target(y) in ("binary", "multiclass")
    if isinstance(cv, (int, np.integer)) and labels:
        _enough_of_each(y, int(cv))
    try:
        splitter = check_cv(cv, y, classifier=labels)
        # a custom splitter may look at x, for example at the times in its index
        x = np.zeros((data.n, 1)) if arrays.is_nested(data.x) else data.x
        found = [(np.asarray(a), np.asarray(b)) for a, b in splitter.split(x, y, groups)]
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"cv={cv!r}: {error}; write cv=5, a splitter of sklearn.model_selection (with "
            "fit(..., groups=...) if it uses groups), or a list of (train, test)"
        ) from error
    if not found:
        raise ValueError(f"cv={cv!r}: has no splits; write cv=5, or a list of (train, test)")
    for i, (train, test) in enumerate(found):
        if len(train) == 0 or len(test) == 0:
            raise ValueError(
                f"cv={cv!r}: split {i} has {len(train)} rows to train on and {len(test)} to test "
                "on; write splits with rows in both"
            )
        for part in (train, test):
            if part.dtype.kind not in "iu" or part.min() < -data.n or part.max() >= data.n:
                raise ValueError(
                    f"cv={cv!r}: split {i} has row numbers that do not exist; write row numbers "
                    f"from 0 to {data.n - 1}"
                )
    return found


def unseeded(cv: Any) -> bool:
    """Return whether a splitter would cut the rows otherwise each time."""
    seed = getattr(cv, "random_state", 0)
    return not isinstance(seed, (int, np.integer)) and bool(getattr(cv, "shuffle", True))


def packed(splits: Sequence[Split]) -> list[list[str]]:
    """Return splits as text, for `unpacked`."""

    def pack(part: np.ndarray) -> str:
        return base64.b85encode(zlib.compress(part.astype("<i8").tobytes())).decode()

    return [[pack(train), pack(test)] for train, test in splits]


def unpacked(texts: list[list[str]]) -> list[Split]:
    """Return the splits that `packed` wrote."""

    def unpack(text: str) -> np.ndarray:
        return np.frombuffer(zlib.decompress(base64.b85decode(text)), "<i8").astype(np.int64)

    return [(unpack(train), unpack(test)) for train, test in texts]


def _enough_of_each(y: Any, folds: int) -> None:
    classes, counts = np.unique(y, return_counts=True)
    least = int(counts.argmin())
    if counts[least] < folds:
        instead = f"cv={counts[least]}" if counts[least] > 1 else "cv=ShuffleSplit(n_splits=5)"
        raise ValueError(
            f"cv={folds}: the class {classes[least].item()!r} has {counts[least]} rows, fewer "
            f"than folds; write {instead}, or drop the class"
        )


def holdout(
    data: Data, share: float, seed: int, *, classifier: bool, last_rows: bool = False
) -> Split:
    """Split into rows to train on and held-out rows; stratified if y are labels of one output.

    Args:
        data: all rows.
        share: of the rows, to hold out.
        seed: of the draw.
        classifier: whether y are labels.
        last_rows: whether to hold out the last rows, as for windows of a series.

    Raises:
        ValueError: a class has a single row, or a part would lack one of the classes.
    """
    from sklearn.model_selection import train_test_split
    from sklearn.utils.multiclass import type_of_target

    if last_rows and data.n > 1:
        kept = max(data.n - math.ceil(share * data.n), 1)
        return np.arange(kept), np.arange(kept, data.n)
    y = None if data.y is None or arrays.is_nested(data.y) else np.asarray(data.y)
    labels = classifier and y is not None and type_of_target(y) in ("binary", "multiclass")
    try:
        train, test = train_test_split(
            np.arange(data.n),
            test_size=math.ceil(share * data.n),
            stratify=y if labels else None,
            random_state=seed,
        )
    except ValueError as error:
        raise ValueError(
            f"holding out {share:.0%} of {data.n} rows: {error}; pass validation_data, or write "
            "cv=..."
        ) from error
    return np.sort(train), np.sort(test)


# ---- for workers ---------------------------------------------------------------------------------


def keep(data: Data, path: Path) -> Path:
    """Write the data atomically to a file that `load` memory-maps.

    Args:
        data: for the workers.
        path: the file, whose name nobody else uses.

    Returns:
        The path.

    Raises:
        TypeError: the data cannot be pickled.
        OSError: the folder has no room for them.
    """
    import joblib

    beside = unfinished(path)
    try:
        joblib.dump(data, beside)
        os.replace(beside, path)
    except OSError as error:
        raise OSError(
            error.errno,
            f"directory={str(path.parent)!r}: the data could not be written there for the workers "
            f"({error.strerror}); write a directory with enough room, or executor='serial'",
        ) from error
    except Exception as error:
        raise TypeError(
            f"x={type(data.x).__name__}: cannot be sent to other processes ({error}); pass "
            "arrays, or write executor='serial'"
        ) from error
    finally:
        beside.unlink(missing_ok=True)
    return path


def unfinished(path: Path) -> Path:
    """Return the temporary file that `keep` writes to; a kill may leave it behind."""
    return path.with_name(f"{path.name}.part")


def load(path: Path) -> Data:
    """Load the data; arrays stay on disk until they are used, and are read-only."""
    import joblib

    data: Data = joblib.load(path, mmap_mode="r")
    return data


def fingerprint_of(data: Data, splits: Sequence[Split]) -> dict[str, Any]:
    """Return a digest that shows whether a study resumes with the same rows and splits."""
    found: dict[str, Any] = {"training": _fingerprint(data.x, data.y, data.weight)}
    if data.validation is not None:
        parts = (data.validation, None, None)
        if not is_stream(data.validation):
            x, y, *weight = data.validation
            parts = (x, y, weight[0] if weight else None)
        found["validation"] = _fingerprint(*parts)
    digest = hashlib.sha256()
    for train, test in splits:
        digest.update(np.ascontiguousarray(train).tobytes() + b"|")
        digest.update(np.ascontiguousarray(test).tobytes() + b"|")
    if splits:
        found["splits"] = f"{len(splits)}, {digest.hexdigest()[:16]}"
    return found


def _fingerprint(x: Any, y: Any, weight: Any) -> Any:
    if is_stream(x):
        return f"stream {getattr(x, 'element_spec', type(x).__name__)!r}"
    whole = weight if weight is None else np.asarray(weight)
    return fingerprint.of(Rows(x, y, whole))
