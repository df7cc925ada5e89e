"""ModelSpec: what a network must take and give.

Responsible for the argument of build_model. Not for building networks (`stacks` and its siblings).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ModelSpec:
    """The required inputs and outputs of a network; the argument of `build_model`.

    Attributes:
        input_shape: The shape of one row, such as (784,) or (28, 28); for several inputs a dict
            or tuple of shapes. A DataFrame is encoded as one vector.
        n_outputs: The width of the output layer: the number of classes, labels or target columns;
            for several outputs a dict or tuple of widths.
        task: "classification" (one class per row), "multilabel", "regression" or "custom".
        chosen: The ready-made architecture to build (a `Chosen`, with what it has learnt of the
            training rows); None in a custom build_model.
    """

    input_shape: Any
    n_outputs: Any
    task: str
    chosen: Any = field(default=None, repr=False, compare=False)

    @property
    def output_activation(self) -> str:
        """The output activation that the default loss expects."""
        return {"classification": "softmax", "multilabel": "sigmoid"}.get(self.task, "linear")


def is_image(shape: tuple[int | None, ...]) -> bool:
    """Return whether the shape is that of an image: (h, w, 1 to 4 channels), or square (h, w)."""
    if len(shape) == 3:
        return shape[-1] in (1, 2, 3, 4)
    return len(shape) == 2 and shape[0] == shape[1] and (shape[0] or 0) >= 8
