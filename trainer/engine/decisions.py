"""What "auto" means: pure functions of model, data and machine, never of a stop-watch.

Responsible for the number of steps in a dispatch, for the rows of a prediction batch, for whether
data are held as tensors and whether XLA compiles. Two runs of one configuration decide the same.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

SECONDS_A_DISPATCH = 0.15  # long enough to forget the cost of a dispatch, short enough for Ctrl-C
OPERATIONS_A_SECOND = 2e10  # what a core of a common machine does on small matrices
SECONDS_A_STEP = 1e-4  # the least that a step costs, however small the model
MAX_CHUNK = 1_000
MAX_BATCH_BYTES = 2**25
MAX_BATCH_ROWS = 8_192


def multiplications(model: keras.Model) -> float:
    """About how many multiplications one row costs in a forward pass."""
    total = 0.0
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if getattr(layer, "_layers", None):
            continue  # its parts are counted themselves
        weights = sum(math.prod(w.shape) for w in layer.weights)
        total += weights * _positions(layer)
    return total


def _positions(layer: Any) -> int:
    # a convolution's or a recurrent layer's weights are used once a position of its sequence
    try:
        shape = layer.input.shape if hasattr(layer, "cell") else layer.output.shape
    except (AttributeError, ValueError):
        return 1  # a layer without symbolic inputs: only its weights are known
    inner = shape[1:-1]
    return math.prod(d or 1 for d in inner)


def steps_a_dispatch(model: keras.Model, batch_size: int) -> int:
    """How many training steps to run in one dispatch."""
    operations = 6 * multiplications(model) * batch_size  # forward, and twice that backward
    seconds = SECONDS_A_STEP + operations / OPERATIONS_A_SECOND
    return max(1, min(MAX_CHUNK, round(SECONDS_A_DISPATCH / seconds)))


def rows_a_batch(row_bytes: int) -> int:
    """How many rows to evaluate or predict at once, where nothing depends on the batch."""
    return max(32, min(MAX_BATCH_ROWS, MAX_BATCH_BYTES // max(1, row_bytes)))


def use_jit(field: Any) -> bool:
    """Whether XLA compiles the training chunk."""
    return field is True


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))
