"""Chunks: the batches of one dispatch, as feeds yield and programs run them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Logs = dict[str, Any]
Batch = tuple[Any, ...]  # (x,), (x, y) or (x, y, sample_weight), each a tree of tensors

MANY = sys.maxsize  # steps in a dispatch without a limit


@dataclass(frozen=True)
class RowsChunk:
    """Batches picked from tensors.

    Attributes:
        data: Tensors of rows, [n, ...] each.
        indices: The rows of each batch, int32 [steps, batch].
        even: Whether all batches of the epoch have this size; user code may need a static size.
        whole: The rows of each batch over all workers, if `indices` has only those of this one.
    """

    data: Batch
    indices: np.ndarray
    even: bool
    whole: int | None = None

    @property
    def steps(self) -> int:
        """The number of batches."""
        return len(self.indices)


@dataclass(frozen=True)
class StreamChunk:
    """Batches pulled from an iterator.

    Attributes:
        iterator: A tf.data iterator.
        steps: The maximum number of batches to pull.
        before: The number of batches pulled earlier in this pass.
        explain: Called with an error from TensorFlow and the step of the pass at which it
            occurred; raises the cause instead.
    """

    iterator: Any
    steps: int
    before: int
    explain: Callable[[Exception, int], None]
