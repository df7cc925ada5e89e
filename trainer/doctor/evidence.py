"""Samples the data of a fit, so that the training can be diagnosed afterwards.

Responsible for a few training and validation rows as the network receives them, the number of
rows per class, and how many validation rows are also training rows. Memory and time are bounded;
global random states are not used, and no model is called. Not for drawing conclusions (`doctor`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.data import arrays
from trainer.data.arrays import Tree, map_tree
from trainer.data.preparation import Rows
from trainer.data.sparse import SparseRows
from trainer.data.streams import Stream
from trainer.data.targets import Classes, Targets
from trainer.engine.feeds import RowsFeed

MAX_ROWS = 2_000
MAX_BYTES = 2**23  # of the sample of one data set
MAX_QUERIES = 500  # rows to search for among the training rows
MAX_CANDIDATES = 1_500  # training rows to compare completely, after a part of each matched
MAX_SEARCHED_BYTES = 2**30  # of training rows to search in
MAX_READ_BYTES = 2**24  # the same if they are on disk, or sparse
WINDOW = 64  # bytes of each row to compare first


@dataclass(frozen=True)
class Sample:
    """Some rows of a data set.

    Attributes:
        x: As the network receives it, before normalisation.
        y: As encoded, or None.
        rows: The number of rows of the data set; None for a stream.
    """

    x: Tree
    y: Tree | None
    rows: int | None


@dataclass(frozen=True)
class Overlap:
    """How many validation rows are equal to a training row.

    Attributes:
        checked: Number of validation rows that were searched for.
        found: Number of these that are also training rows.
        repeated: Share of training rows that occur more than once, by chance if rows have few
            distinct values.
        searched: Number of training rows that were searched.
        rows: Number of all training rows.
    """

    checked: int
    found: int
    repeated: float
    searched: int
    rows: int


@dataclass(frozen=True)
class Evidence:
    """A sample of the data of a fit, with statistics.

    Attributes:
        train: Some training rows.
        valid: Some validation rows; None if there are none or if they are a stream, which would
            take an extra pass that Keras does not make.
        counts: Number of training rows of each class or label, by the name of the output.
        overlap: Overlap of validation and training rows, if both are in memory.
        weighted: Whether rows have weights.
    """

    train: Sample
    valid: Sample | None
    counts: dict[str, np.ndarray]
    overlap: Overlap | None
    weighted: bool


def collect(train: Rows | Stream, feed: Any, validation: Any, targets: Targets) -> Evidence:
    """Collect the evidence of a fit, without reading any further batch of a stream.

    Args:
        train: The training data; for a stream, the sample is the first batch, which fit has
            already read.
        feed: The training batches.
        validation: The validation batches, or None.
        targets: The encoder of y.
    """
    if isinstance(train, Stream):
        x, *rest = train.first()
        y = rest[0] if rest and rest[0] is not None else None
        n = min(arrays.length(x, "x"), _rows_that_fit(x))
        x = map_tree(lambda a: np.array(a[:n]), x)
        if y is not None:
            y = map_tree(lambda a: a[:n], targets.encode(arrays.concatenate([y]), "y"))
        return Evidence(Sample(x, y, None), None, {}, None, len(rest) > 1)
    sample = _sample(feed)
    valid = _sample(validation, MAX_ROWS // 2) if isinstance(validation, RowsFeed) else None
    counts = {}
    if isinstance(targets, Classes):
        labels = dict(arrays.leaves(targets.labels, ""))
        for name, leaf in arrays.leaves(feed.data[1], ""):
            per_class = leaf.ndim == 1
            counts[name] = (
                np.bincount(leaf, minlength=labels[name].n_classes)
                if per_class
                else leaf.sum(axis=0).astype(int)
            )
    overlap = None if valid is None else _overlap(valid.x, sample.x, feed.data[0])
    return Evidence(sample, valid, counts, overlap, len(feed.data) > 2)


def _sample(feed: RowsFeed, limit: int = MAX_ROWS) -> Sample:
    x, *rest = feed.data
    rows = draw_rows(feed.rows, _rows_that_fit(x, limit))

    def take(a: np.ndarray) -> np.ndarray:
        return np.asarray(a[rows])  # a copy, in memory

    return Sample(map_tree(take, x), map_tree(take, rest[0]) if rest else None, feed.rows)


def _rows_that_fit(x: Tree, limit: int = MAX_ROWS) -> int:
    row = sum(a.dtype.itemsize * math.prod(a.shape[1:]) for _, a in arrays.leaves(x))
    return max(8, min(limit, MAX_BYTES // max(1, int(row))))


def draw_rows(n: int, limit: int) -> np.ndarray:
    """Return up to `limit` of n row numbers, sorted: a random draw with a fixed seed."""
    if n <= limit:
        return np.arange(n)
    # Dropping the few repeated draws is cheaper than a permutation of all rows.
    return np.unique(np.random.default_rng(0).integers(0, n, limit))


def _overlap(valid: Tree, train: Tree, rows: Tree) -> Overlap | None:
    """Count how often some validation rows, and some training rows for comparison, occur."""
    all_rows = [a for _, a in arrays.leaves(rows)]
    if any(a.dtype.kind not in "fiub" for a in all_rows):
        return None
    n = len(all_rows[0])
    on_disk = any(isinstance(a, (np.memmap, SparseRows)) for a in all_rows)
    total = sum(a.nbytes for a in all_rows)
    step = max(1, math.ceil(total / (MAX_READ_BYTES if on_disk else MAX_SEARCHED_BYTES)))
    searched = [a[::step] for a in all_rows]
    searched = [np.asarray(a) if isinstance(a, SparseRows) else a for a in searched]
    queries = []
    counted = []
    for tree in (valid, train):
        leaves = [a for _, a in arrays.leaves(tree)]
        few = draw_rows(len(leaves[0]), MAX_QUERIES)
        queries.append([a[few] for a in leaves])
        counted.append(len(few))
    needles = [np.concatenate([v.astype(t.dtype), t]) for v, t in zip(*queries, strict=True)]
    found = occurrences(needles, searched)
    of_valid, of_train = found[: counted[0]], found[counted[0] :]
    known, known_train = of_valid[of_valid >= 0], of_train[of_train >= 0]
    if not len(known):
        return None
    twice = float((known_train > 1).mean()) if len(known_train) else 0.0
    return Overlap(len(known), int((known > 0).sum()), twice, len(searched[0]), n)


def occurrences(needles: list[np.ndarray], rows: list[np.ndarray]) -> np.ndarray:
    """Count the rows that are equal to each needle.

    A window of a few bytes is compared in all rows; where it matches, the complete rows are.

    Args:
        needles: Arrays [k, ...], the parts of k rows.
        rows: Arrays [n, ...], the same parts of n rows, with the same dtypes.

    Returns:
        Counts, int [k]; -1 if unknown, because a different needle has the same window, or too
        many rows have it.
    """
    widest = max(range(len(rows)), key=lambda i: math.prod(rows[i].shape[1:]))
    contiguous = rows[widest].ndim <= 2 or rows[widest][:1].flags.c_contiguous
    queries = _flat(needles[widest], contiguous)
    window = _most_varied_window(queries)
    wanted, first, which = np.unique(_keys(queries, window), return_index=True, return_inverse=True)
    keys = _keys(_flat(rows[widest], contiguous), window)
    marked = np.zeros(2**18, bool)  # prefilter by the first bits of the keys
    marked[wanted >> np.uint64(46)] = True
    matches = np.flatnonzero(marked[keys >> np.uint64(46)])
    at = np.minimum(np.searchsorted(wanted, keys[matches]), len(wanted) - 1)
    found = wanted[at] == keys[matches]
    matches, at = matches[found], at[found]
    each = np.bincount(at, minlength=len(wanted))
    rarest = np.argsort(each, kind="stable")
    kept = np.zeros(len(wanted), bool)
    kept[rarest] = np.cumsum(each[rarest]) <= _rows_that_fit(rows, MAX_CANDIDATES)
    matches, at = matches[kept[at]], at[kept[at]]
    equal = _equal([a[matches] for a in rows], [a[first[at]] for a in needles])
    times = np.bincount(at[equal], minlength=len(wanted))
    known = kept[which] & _equal(needles, [a[first[which]] for a in needles])
    return np.where(known, times[which], -1)


def _equal(some: list[np.ndarray], others: list[np.ndarray]) -> np.ndarray:
    """Return which rows are equal to their counterparts, [n]."""
    n = len(some[0])
    parts = [(a == b).reshape(n, -1).all(axis=1) for a, b in zip(some, others, strict=True) if n]
    return np.logical_and.reduce(parts) if parts else np.zeros(0, bool)


def _flat(array: np.ndarray, contiguous: bool) -> np.ndarray:
    # Never copy: if the array is not in C order, use only the values in the middle.
    if not contiguous:
        middle = tuple(d // 2 for d in array.shape[1:-1])
        view: np.ndarray = array[(slice(None), *middle)]
        return view
    return array.reshape(len(array), -1)


def _most_varied_window(rows: np.ndarray) -> slice:
    """Return where the rows differ most, of a few positions compared on a few rows."""
    width = max(1, WINDOW // rows.dtype.itemsize)
    starts = np.unique(np.linspace(0, max(0, rows.shape[1] - width), 9).astype(int))
    tried = [slice(start, start + width) for start in starts.tolist()]
    few = rows[:: max(1, len(rows) // 128)]
    return max(tried, key=lambda w: len(np.unique(_keys(few, w))))


def _keys(rows: np.ndarray, window: slice) -> np.ndarray:
    """Hash the window of each row, [n], by multiply-add hashing (Dietzfelbinger 1996)."""
    octets = np.ascontiguousarray(rows[:, window]).view(np.uint8)
    if octets.shape[1] % 8:
        octets = np.pad(octets, ((0, 0), (0, -octets.shape[1] % 8)))
    words = octets.view(np.uint64)
    keys = np.zeros(len(rows), np.uint64)
    generator = np.random.default_rng(1)
    for i, factor in enumerate(generator.integers(1, 2**63, words.shape[1], np.uint64)):
        keys += words[:, i] * (np.uint64(2) * factor + np.uint64(1))
    return keys
