"""What `load` returns: a data set in three splits, with what is known about it.

Holds the data and describes it; reads nothing, splits nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

Task = Literal["classification", "regression"]


class Split(NamedTuple):
    """The rows of one split; unpacks as `x, y = dataset.train`.

    x: array of shape (rows, ...), or a DataFrame where the columns have names.
    y: array of shape (rows,) or (rows, outputs), or a Series where x is a DataFrame.
    """

    x: np.ndarray | pd.DataFrame
    y: np.ndarray | pd.Series


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A data set in three splits.

    name: the name or the file's name that was asked for.
    train, valid, test: the splits; no row is in two of them.
    class_names: the names of the classes, in the sorted order of the labels in y (where the
        labels are the integers 0 to n - 1, `class_names[label]`); None for regression and where
        y has several columns.
    task: "classification" or "regression".
    description: what the rows are, and how they were prepared and split.
    source: whom to cite; for a file, its path.
    """

    name: str
    train: Split
    valid: Split
    test: Split
    class_names: list[str] | None
    task: Task
    description: str
    source: str

    def __repr__(self) -> str:
        classes = f", {len(self.class_names)} classes" if self.class_names else ""
        shapes = ", ".join(
            f"{split}: x {part.x.shape} y {part.y.shape}"
            for split, part in (("train", self.train), ("valid", self.valid), ("test", self.test))
        )
        return f"Dataset({self.name!r}, {self.task}{classes}, {shapes})"
