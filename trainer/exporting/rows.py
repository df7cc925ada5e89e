"""Rows to compare an exported model with ours on.

Responsible for rows as the saved model takes them, raw: made up from what was learnt of x, and a
few rows of the training data where the network has kept some. A loaded network has none. Not for
running anything (`formats`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.data import arrays
from trainer.data.arrays import Tree, map_named, map_shapes, map_tree
from trainer.data.inputs import Inputs
from trainer.data.tables import Table
from trainer.network.build import side
from trainer.network.network import Network

FEWEST, MOST = 8, 64
OF_TRAINING = 8  # rows of the training data beside those that are made up
LARGEST = 1 << 22  # numbers of all rows together
UNSEEN = "a category that training did not have"
YEAR = 365.25 * 86_400  # seconds


def for_comparison(network: Network) -> Tree:
    """Return raw rows in the structure that `network.whole` takes.

    Columns of a table are [n, 1] by the names of their inputs: numbers and dates float64, with a
    missing one in each; categories are those that the encoder knows, and one that it does not.
    Everything else has the shape and the dtype of the training rows.

    Args:
        network: the network.
    """
    inputs = network.inputs
    if inputs.table is not None:
        return _of_table(inputs.table, inputs)
    given = getattr(inputs.encoding, "given", None) or inputs
    words = _words(inputs)
    n = network.fixed_rows or FEWEST
    made = _of_arrays(given, words, n)
    evidence = getattr(network.evidence, "train", None)
    if evidence is None or inputs.encoding is not None or network.fixed_rows is not None:
        return made
    own = map_tree(lambda a: np.asarray(a[:OF_TRAINING]), evidence.x)
    ours = dict(arrays.leaves(made))

    def both(name: str, few: np.ndarray) -> np.ndarray:
        return np.concatenate([ours[name].astype(few.dtype), few])

    fits = all(ours[name].shape[1:] == few.shape[1:] for name, few in arrays.leaves(own))
    return map_named(both, own) if fits else own  # rows of open length have another one


def _of_table(table: Table, inputs: Inputs) -> dict[str, np.ndarray]:
    levels = _levels(table, inputs)
    n = min(max([FEWEST, *(len(known) + 2 for known in levels.values())]), MOST)
    generator = np.random.default_rng(0)
    made: dict[str, np.ndarray] = {}
    for place, column in enumerate(table.columns):
        name = column["input"]
        if name not in inputs.encoder.input:
            continue  # left out, as identifiers are
        if column["kind"] == "text":
            made[name] = _sentences(_words(inputs), n, generator)[:, None]
            continue
        if column["kind"] in ("category", "ordered"):
            known = [*levels[name], UNSEEN]
            made[name] = np.array([known[i % len(known)] for i in range(n)], dtype=object)[:, None]
            continue
        if column["kind"] == "date":
            values = column["earliest"] + generator.uniform(0, 3 * YEAR, n).round()
        elif name in levels:
            values = np.resize(np.asarray(levels[name], np.float64), n)
        else:
            spread = column["scale"] if column["scale"] != 1 else max(abs(column["median"]), 1.0)
            values = column["median"] + spread * generator.normal(size=n)
        values[place % n] = np.nan
        made[name] = values[:, None]
    return made


def _levels(table: Table, inputs: Inputs) -> dict[str, list[Any]]:
    """Return the values that the encoder has looked up in training, by the names of the inputs."""
    found = {
        column["input"]: list(column.get("categories") or column.get("levels") or ["a"])
        for column in table.columns
        if column["kind"] in ("category", "ordered")
    }
    plan: Mapping[str, Any] = getattr(inputs.encoding, "plan", {})
    features = table.features() if plan else []
    for column in plan.get("texts", ()):
        found[features[column["feature"]]["input"]] = column["levels"]
    for column in plan.get("whole", ()):
        feature = features[column["feature"]]
        if "part" not in feature:
            found[feature["input"]] = column["levels"]
    return found


def _words(inputs: Inputs) -> list[str]:
    """Return words that the text layers know."""
    known: list[str] = []
    for vocabulary in getattr(inputs.encoding, "vocabularies", ()):
        known += vocabulary.tokens[:50]
    for listed in inputs.vocabularies or ():
        known += (listed or ())[:50]
    return known or ["some", "words", "of", "text"]


def _sentences(words: Sequence[str], n: int, generator: np.random.Generator) -> np.ndarray:
    """Return texts [n] of known and unknown words, of different lengths; the last is empty."""
    found = [" ".join(generator.choice([*words, "unheard-of"], size=1 + 3 * i)) for i in range(n)]
    found[-1] = ""
    return np.array(found, dtype=object)


def _of_arrays(inputs: Inputs, words: Sequence[str], n: int) -> Tree:
    dtypes = dict(arrays.leaves(inputs.dtypes))
    generator = np.random.default_rng(0)

    def one(name: str, row: _Row) -> np.ndarray:
        shape = tuple(d or side(row.shape) for d in row.shape)
        rows = max(1, min(n, LARGEST // max(1, int(np.prod(shape, dtype=np.int64)))))
        size = (n if n != FEWEST else rows, *shape)
        if dtypes[name] == "object":
            return _sentences(words, size[0], generator)
        if dtypes[name] == "bfloat16" or np.dtype(dtypes[name]).kind == "f":
            offset, scale = inputs.scaling.get(name, (0.0, 1.0))
            values = np.asarray(offset) + np.asarray(scale) * generator.normal(size=size)
            return values.astype(np.float32 if dtypes[name] == "bfloat16" else dtypes[name])
        # Integers may be ids, of which the largest is not known: 0 and 1 are safe, except for
        # bytes that are normalised, which are amounts.
        amounts = dtypes[name] == "uint8" and name in inputs.scaling
        return generator.integers(0, 256 if amounts else 2, size=size).astype(dtypes[name])

    made = map_named(one, map_shapes(_Row, inputs.shapes))
    fewest = min(len(a) for _, a in arrays.leaves(made))
    return map_tree(lambda a: a[:fewest], made)


class _Row:
    # Wraps a shape so that the tree functions treat it as a leaf.
    def __init__(self, shape: tuple[int | None, ...]) -> None:
        self.shape = shape
