"""The result of `load`: a data set in three splits, with its metadata.

Not for reading or splitting data.
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

    Attributes:
        x: Array of shape (rows, ...), or a DataFrame if the columns have names.
        y: Array of shape (rows,) or (rows, outputs), or a Series if x is a DataFrame.
    """

    x: np.ndarray | pd.DataFrame
    y: np.ndarray | pd.Series


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A data set in three splits.

    Attributes:
        name: The name of the data set, or of the file.
        train: The rows to train on.
        valid: The rows for validation. The splits do not overlap.
        test: The rows for the final test.
        class_names: The names of the classes, in the sorted order of the labels in y; if these
            are the integers 0 to n - 1, `class_names[label]` is a label's name. None for
            regression and if y has several columns.
        task: "classification" or "regression".
        description: What the rows are, and how they were prepared and split.
        source: The publication to cite; for a file, its path.
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
        n = len(self.class_names or ())
        classes = f", {n} class{'' if n == 1 else 'es'}" if n else ""
        shapes = ", ".join(
            f"{split}: x {part.x.shape} y {part.y.shape}"
            for split, part in (("train", self.train), ("valid", self.valid), ("test", self.test))
        )
        return f"Dataset({self.name!r}, {self.task}{classes}, {shapes})"
