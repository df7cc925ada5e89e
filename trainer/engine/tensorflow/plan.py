"""What "auto" means: decisions from the model, the data and the machine, never from timings.

Responsible for the number of steps per dispatch, the rows per prediction batch, whether data are
held as tensors, whether to use XLA, and how many threads TensorFlow starts. Two runs of the same
configuration on the same machine decide the same. Not for carrying it out (`program`, `feeds`).
"""

from __future__ import annotations

import math
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainer.engine.tensorflow import sharing, strategy

if TYPE_CHECKING:
    import keras

SECONDS_PER_DISPATCH = 0.15  # long enough to amortise the overhead, short enough for Ctrl-C
OPERATIONS_PER_SECOND = 6e10  # on small matrices, for one core of a common machine
SECONDS_PER_STEP = 1e-4  # the minimum, however small the model
MAX_CHUNK = 1_000
MAX_CHUNK_BYTES = 2**25  # two chunks are in memory at once: one trains while the next is read
MAX_BATCH_BYTES = 2**22  # of the largest tensor in evaluation; a few of this size exist at once
MAX_BATCH_ROWS = 8_192
BATCH_ROWS = 32  # the default of Keras' predict and evaluate
RESIDENT_SHARE = 0.25  # of the memory available at the start of fit
JIT_STEPS = 1_000  # steps per epoch that justify the second XLA takes to compile
JIT_RECURRENT_STEPS = 50  # the same if each step contains a loop over time

# Layers that XLA makes faster on a CPU, with the same results except for rounding. It makes
# convolutions much slower, and its dropout draws other random numbers than TensorFlow's kernels.
_DENSE_STACK = {
    "Activation",
    "Add",
    "BatchNormalization",
    "Concatenate",
    "Dense",
    "ELU",
    "Flatten",
    "Functional",
    "InputLayer",
    "LayerNormalization",
    "LeakyReLU",
    "Normalization",
    "PReLU",
    "ReLU",
    "Rescaling",
    "Reshape",
    "Sequential",
    "Softmax",
}
# And these, if they have no dropout: XLA fuses the many operations of each time step into one.
_RECURRENT = {"GRU", "LSTM", "SimpleRNN"}
_AROUND_RECURRENT = {"Bidirectional", "GRUCell", "LSTMCell", "Masking", "SimpleRNNCell"}


@dataclass(frozen=True)
class Plan:
    """The decisions for one fit.

    Attributes:
        chunk: Training steps per dispatch.
        compiled: Steps in the program compiled by XLA; shorter dispatches are padded.
        resident: Whether all rows are held as tensors.
        jit: Whether XLA compiles the training chunk.
        threads: Threads per operation, 0 for as many as there are cores.
        why: The reasons for decisions that are not obvious.
    """

    chunk: int
    compiled: int
    resident: bool
    jit: bool
    threads: int
    why: str

    def __str__(self) -> str:
        data = "data held as tensors" if self.resident else "data streamed"
        threads = f"{self.threads} thread{'s' if self.threads != 1 else ''} per operation"
        return (
            f"{self.chunk} steps per dispatch, {data}, XLA {'on' if self.jit else 'off'}, "
            f"{threads if self.threads else 'default threads'} ({self.why})"
        )


def decide(
    model: keras.Model,
    *,
    batch_size: int,
    steps: int | None,
    batch_bytes: int,
    data_bytes: int | None,
    resident_bytes: int | None,
    jit: Any,
    interval: int | None,
    save_steps: int | None = None,
) -> Plan:
    """Decide how to train.

    Args:
        model: The built and compiled model.
        batch_size: Rows per step.
        steps: Steps per epoch, or None if unknown.
        batch_bytes: The size of one batch as tensors.
        data_bytes: The size of all rows as tensors, or None for a stream.
        resident_bytes: The maximum size to hold as tensors; None for a share of free memory.
        jit: The field of this name.
        interval: Batches between calls of callbacks, or None if no callback sees batches.
        save_steps: The maximum number of steps between saved states, or None for no limit. It
            may shorten a dispatch, but does not change results: XLA's program stays the same.
    """
    threads = intra_op_threads()
    limit = resident_limit() if resident_bytes is None else resident_bytes
    resident = data_bytes is not None and data_bytes <= limit
    compiled, why = _use_jit(model, jit, steps, in_memory=data_bytes is not None)
    chunk = steps_per_dispatch(model, batch_size)
    if data_bytes is None or not resident or compiled:
        chunk = max(1, min(chunk, MAX_CHUNK_BYTES // max(1, batch_bytes)))
    if interval is not None:
        chunk = _divisor(interval, chunk)
        seen = "every batch" if interval == 1 else f"every {interval} batches"
        why = f"a callback is called at {seen}; " + why
    elif steps is not None:
        # Make the chunks equal, so that the last one is not much shorter.
        chunk = math.ceil(steps / math.ceil(steps / chunk))
    planned = chunk
    if save_steps is not None and save_steps < chunk:
        chunk = save_steps if interval is None else _divisor(interval, save_steps)
        why = f"a state is saved every {save_steps} steps; " + why
    if data_bytes is not None and not resident:
        why = f"{data_bytes / 2**20:,.0f} MiB of data, limit {limit / 2**20:,.0f}; " + why
    return Plan(chunk, planned, resident, compiled, threads, why)


def _divisor(interval: int, most: int) -> int:
    """Return the largest divisor of `interval` up to `most`."""
    return next(n for n in range(min(most, interval), 0, -1) if interval % n == 0)


def _use_jit(
    model: keras.Model, field: Any, steps: int | None, *, in_memory: bool
) -> tuple[bool, str]:
    if field in (True, False):
        return bool(field), f"jit={field}"
    if model.run_eagerly:
        return False, "run_eagerly"
    layers = list(model._flatten_layers(include_self=False, recursive=True))
    if has_gpu():
        able = all(layer.supports_jit for layer in layers)
        return able, "GPU" if able else "a layer does not support XLA"
    if not in_memory:
        return False, "the data are a stream"
    names = {type(layer).__name__ for layer in layers}
    draws = any(
        getattr(layer, "dropout", 0) or getattr(layer, "recurrent_dropout", 0) for layer in layers
    )
    if draws or names - _DENSE_STACK - _RECURRENT - _AROUND_RECURRENT:
        return False, "on a CPU, XLA is faster only for dense and recurrent layers without dropout"
    least = JIT_RECURRENT_STEPS if names & _RECURRENT else JIT_STEPS
    if steps is None or steps < least:
        return False, f"compiling takes too long for fewer than {least:,} steps per epoch"
    return True, "dense or recurrent layers, and many steps"


def multiplications(model: keras.Model) -> float:
    """Estimate the multiplications per row in a forward pass."""
    total = 0.0
    layers = list(model._flatten_layers(include_self=False, recursive=True))
    cells = {id(layer.cell) for layer in layers if hasattr(layer, "cell")}
    for layer in layers:
        if id(layer) in cells or (getattr(layer, "_layers", None) and not hasattr(layer, "cell")):
            continue  # a cell is counted with its layer, and a nested model by its layers
        weights = sum(math.prod(w.shape) for w in layer.weights)
        total += weights * _positions(layer)
    return total


def _positions(layer: Any) -> int:
    # Convolutional and recurrent layers use their weights once per position.
    try:
        shape = layer.input.shape if hasattr(layer, "cell") else layer.output.shape
    except (AttributeError, ValueError):
        return 1  # no symbolic inputs
    inner = shape[1:-1]
    return math.prod(d or 1 for d in inner)


def steps_per_dispatch(model: keras.Model, batch_size: int) -> int:
    """Return how many training steps to run per dispatch."""
    operations = 6 * multiplications(model) * batch_size  # the backward pass costs twice as much
    seconds = SECONDS_PER_STEP + operations / OPERATIONS_PER_SECOND
    return max(1, min(MAX_CHUNK, round(SECONDS_PER_DISPATCH / seconds)))


def rows_per_batch(row_bytes: int, least: int = BATCH_ROWS) -> int:
    """Return how many rows to evaluate or predict at once if the batch size does not matter.

    Args:
        row_bytes: The size per row of the largest tensor.
        least: The minimum number of rows, however large they are.
    """
    return max(least, min(MAX_BATCH_ROWS, MAX_BATCH_BYTES // max(1, row_bytes)))


def steps_per_read(batch_bytes: int) -> int:
    """Return how many batches to read at once if the rows are not held as tensors."""
    return max(1, MAX_CHUNK_BYTES // max(1, batch_bytes))


def largest_layer(model: keras.Model) -> int | None:
    """Return the number of values per row in the largest output of a layer.

    None if a layer may create tensors larger than its output, or if its output is unknown; then
    it has to be determined from the graph.
    """
    largest = 1
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if type(layer).__name__ not in _DENSE_STACK:
            return None
        shape = getattr(getattr(layer, "output", None), "shape", None)
        if shape is None or None in shape[1:]:
            return None
        largest = max(largest, math.prod(shape[1:]))
    return largest


def batch_independent(model: keras.Model) -> bool:
    """Return whether evaluation has the same result, up to rounding, for any batch size.

    User-defined code may depend on the whole batch, and so do some parts of Keras: with several
    outputs, the loss of each is a mean over batches, not over rows.
    """
    import keras

    losses = keras.tree.flatten(model.loss)
    return (
        sharing.is_stock(model)
        and len(losses) == len(model.outputs) == 1
        and getattr(losses[0], "reduction", "mean") in ("sum_over_batch_size", "mean")
        and all(tensor.shape[0] is None for tensor in model.inputs)
        and not any(map(_sees_batch, model._flatten_layers()))
    )


def _sees_batch(layer: Any) -> bool:
    import keras

    masks = isinstance(layer, keras.layers.Masking) or getattr(layer, "mask_zero", False)
    # Recurrent cells draw a dropout mask in evaluation too, though they do not use it.
    draws = getattr(layer, "dropout", 0) or getattr(layer, "recurrent_dropout", 0)
    stateful = getattr(layer, "stateful", False)
    return bool(masks or draws or stateful or layer.activity_regularizer is not None)


def resident_limit() -> int:
    """Return the maximum bytes of data to hold as tensors: a share of the available memory."""
    import psutil

    return strategy.agree(int(RESIDENT_SHARE * psutil.virtual_memory().available))


def limit_threads() -> None:
    """Limit TensorFlow's threads to OMP_NUM_THREADS, which joblib sets in its workers.

    TensorFlow ignores OMP_NUM_THREADS, but reads TF_NUM_INTRAOP_THREADS and
    TF_NUM_INTEROP_THREADS when its runtime starts. These are set unless they have a value already.
    Does nothing once the runtime has started.
    """
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    if not allowed.isdigit() or "TF_NUM_INTRAOP_THREADS" in os.environ:
        return
    if "tensorflow" in sys.modules:
        from tensorflow.python.eager import context

        if context.context()._initialized:
            return
    os.environ["TF_NUM_INTRAOP_THREADS"] = allowed
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", allowed)


# On import, because fit may be too late: a worker that unpickles a Trainer imports this module, and
# unpickling its optimizer or fitted model then starts TensorFlow.
limit_threads()


def intra_op_threads() -> int:
    """Return the threads per operation; 0 means as many as there are cores."""
    import tensorflow as tf

    configured = tf.config.threading.get_intra_op_parallelism_threads()
    if not configured:
        configured = int(os.environ.get("TF_NUM_INTRAOP_THREADS", "0") or 0)
    return configured or (1 if os.cpu_count() == 1 else 0)


def has_gpu() -> bool:
    """Return whether TensorFlow sees a GPU."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def gpus() -> list[str]:
    """Return the names of the GPUs that TensorFlow sees, such as "NVIDIA A100-SXM4-40GB"."""
    import tensorflow as tf

    details = tf.config.experimental.get_device_details
    found = tf.config.list_physical_devices("GPU")
    return [str(details(each).get("device_name", each.name)) for each in found]
