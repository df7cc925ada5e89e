"""What is kept of the data of a fit, so that its training can be diagnosed after it.

Responsible for a few rows of the training and the validation data as the network is fed them, the
rows of each class, and how many validation rows are training rows too. It is bounded in memory and
in time, draws from no generator but its own, and calls no model. Not for judging it (`doctor`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer import arrays
from trainer.arrays import Tree, map_tree
from trainer.engine.feeds import RowsFeed
from trainer.preparation import Rows
from trainer.streams import Stream
from trainer.targets import Classes, Targets

MOST_ROWS = 2_000
MOST_BYTES = 2**23  # of the rows that are kept of one data set
MOST_SOUGHT = 500  # rows that are looked for among the training rows
MOST_CANDIDATES = 1_500  # training rows that are compared whole, after a part of each was
MOST_SEARCHED = 2**30  # bytes of training rows among which one is looked for
MOST_READ = 2**24  # the same where they lie on a disk
WINDOW = 64  # bytes of a row that are compared first


@dataclass(frozen=True)
class Sample:
    """Some rows of a data set.

    Attributes:
        x: as the network is fed it, before normalisation.
        y: as encoded, or None.
        rows: how many rows the data set has; None for a stream.
    """

    x: Tree
    y: Tree | None
    rows: int | None


@dataclass(frozen=True)
class Overlap:
    """How many validation rows are equal to a training row.

    Attributes:
        checked: validation rows that were looked for.
        found: those of them that are there.
        repeated: the share of training rows that are there twice, as rows of few values may be.
        searched: training rows among which they were looked for.
        rows: training rows in all.
    """

    checked: int
    found: int
    repeated: float
    searched: int
    rows: int


@dataclass(frozen=True)
class Evidence:
    """What is kept of a fit's data.

    Attributes:
        train: some training rows.
        valid: some validation rows; None if there are none, or if they are a stream that has not
            been read: that would be a pass that Keras does not make.
        counts: how many training rows each class or label has, by the name of the output.
        overlap: of validation and training rows, where both are in memory.
        weighted: whether rows have weights.
    """

    train: Sample
    valid: Sample | None
    counts: dict[str, np.ndarray]
    overlap: Overlap | None
    weighted: bool


def collect(train: Rows | Stream, feed: Any, validation: Any, targets: Targets) -> Evidence:
    """The evidence of a fit whose feeds are made; it reads no stream that was not read before.

    Args:
        train: the training data; of a stream the first batch, which fit looked at, is kept.
        feed: the training batches.
        validation: the validation batches, or None.
        targets: the learnt form of y.
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
    valid = _sample(validation, MOST_ROWS // 2) if isinstance(validation, RowsFeed) else None
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


def _sample(feed: RowsFeed, most: int = MOST_ROWS) -> Sample:
    x, *rest = feed.data
    rows = picked(feed.rows, _rows_that_fit(x, most))

    def take(a: np.ndarray) -> np.ndarray:
        return np.asarray(a[rows])  # a copy, in memory

    return Sample(map_tree(take, x), map_tree(take, rest[0]) if rest else None, feed.rows)


def _rows_that_fit(x: Tree, most: int = MOST_ROWS) -> int:
    row = sum(a.dtype.itemsize * math.prod(a.shape[1:]) for _, a in arrays.leaves(x))
    return max(8, min(most, MOST_BYTES // max(1, int(row))))


def picked(n: int, most: int) -> np.ndarray:
    """Up to `most` of n row numbers, at random but always the same, in their order."""
    if n <= most:
        return np.arange(n)
    # sorted draws with a few repeats left out: a permutation of all rows would cost more
    return np.unique(np.random.default_rng(0).integers(0, n, most))


def _overlap(valid: Tree, train: Tree, rows: Tree) -> Overlap | None:
    """Look for some validation rows, and for some training rows as a measure, among all rows."""
    everything = [a for _, a in arrays.leaves(rows)]
    if any(a.dtype.kind not in "fiub" for a in everything):
        return None
    n = len(everything[0])
    on_disk = any(isinstance(a, np.memmap) for a in everything)
    total = sum(a.nbytes for a in everything)
    step = max(1, math.ceil(total / (MOST_READ if on_disk else MOST_SEARCHED)))
    searched = [a[::step] for a in everything]
    sought = []
    counted = []
    for tree in (valid, train):
        leaves = [a for _, a in arrays.leaves(tree)]
        few = picked(len(leaves[0]), MOST_SOUGHT)
        sought.append([a[few] for a in leaves])
        counted.append(len(few))
    needles = [np.concatenate([v.astype(t.dtype), t]) for v, t in zip(*sought, strict=True)]
    found = occurrences(needles, searched)
    of_valid, of_train = found[: counted[0]], found[counted[0] :]
    known, known_train = of_valid[of_valid >= 0], of_train[of_train >= 0]
    if not len(known):
        return None
    twice = float((known_train > 1).mean()) if len(known_train) else 0.0
    return Overlap(len(known), int((known > 0).sum()), twice, len(searched[0]), n)


def occurrences(needles: list[np.ndarray], rows: list[np.ndarray]) -> np.ndarray:
    """How many of the rows are equal to each needle.

    A window of some bytes is compared in all rows, and whole rows where it agrees.

    Args:
        needles: arrays [k, ...] of the parts of k rows.
        rows: arrays [n, ...] of the same parts and types of n rows.

    Returns:
        int [k]; -1 where it is not known, because the window is the same in other needles, or in
        more rows than may be compared.
    """
    widest = max(range(len(rows)), key=lambda i: math.prod(rows[i].shape[1:]))
    whole = rows[widest].ndim <= 2 or rows[widest][:1].flags.c_contiguous
    sought = _flat(needles[widest], whole)
    window = _telling_window(sought)
    wanted, first, which = np.unique(_keys(sought, window), return_index=True, return_inverse=True)
    keys = _keys(_flat(rows[widest], whole), window)
    marked = np.zeros(2**18, bool)  # by the first bits of a key: leaves few rows to look up
    marked[wanted >> np.uint64(46)] = True
    agrees = np.flatnonzero(marked[keys >> np.uint64(46)])
    at = np.minimum(np.searchsorted(wanted, keys[agrees]), len(wanted) - 1)
    found = wanted[at] == keys[agrees]
    agrees, at = agrees[found], at[found]
    each = np.bincount(at, minlength=len(wanted))
    rarest = np.argsort(each, kind="stable")
    kept = np.zeros(len(wanted), bool)
    kept[rarest] = np.cumsum(each[rarest]) <= _rows_that_fit(rows, MOST_CANDIDATES)
    agrees, at = agrees[kept[at]], at[kept[at]]
    equal = _equal([a[agrees] for a in rows], [a[first[at]] for a in needles])
    times = np.bincount(at[equal], minlength=len(wanted))
    known = kept[which] & _equal(needles, [a[first[which]] for a in needles])
    return np.where(known, times[which], -1)


def _equal(some: list[np.ndarray], others: list[np.ndarray]) -> np.ndarray:
    """Whether each row is equal to the other, [n]."""
    n = len(some[0])
    parts = [(a == b).reshape(n, -1).all(axis=1) for a, b in zip(some, others, strict=True) if n]
    return np.logical_and.reduce(parts) if parts else np.zeros(0, bool)


def _flat(array: np.ndarray, whole: bool) -> np.ndarray:
    # never a copy: of an array in another order than C's only the values in the middle
    if not whole:
        middle = tuple(d // 2 for d in array.shape[1:-1])
        view: np.ndarray = array[(slice(None), *middle)]
        return view
    return array.reshape(len(array), -1)


def _telling_window(rows: np.ndarray) -> slice:
    """Where the rows differ most: a few places are tried on a few rows."""
    width = max(1, WINDOW // rows.dtype.itemsize)
    starts = np.unique(np.linspace(0, max(0, rows.shape[1] - width), 9).astype(int))
    tried = [slice(start, start + width) for start in starts.tolist()]
    few = rows[:: max(1, len(rows) // 128)]
    return max(tried, key=lambda w: len(np.unique(_keys(few, w))))


def _keys(rows: np.ndarray, window: slice) -> np.ndarray:
    """A number for each row [n], the same for windows of the same bytes: multiply-add hashing
    (Dietzfelbinger 1996)."""
    octets = np.ascontiguousarray(rows[:, window]).view(np.uint8)
    if octets.shape[1] % 8:
        octets = np.pad(octets, ((0, 0), (0, -octets.shape[1] % 8)))
    words = octets.view(np.uint64)
    keys = np.zeros(len(rows), np.uint64)
    generator = np.random.default_rng(1)
    for i, factor in enumerate(generator.integers(1, 2**63, words.shape[1], np.uint64)):
        keys += words[:, i] * (np.uint64(2) * factor + np.uint64(1))
    return keys
