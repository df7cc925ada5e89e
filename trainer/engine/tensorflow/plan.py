"""What "auto" means: pure functions of model, data and machine, never of a stop-watch.

Responsible for the number of steps in a dispatch, for the rows of a prediction batch, for whether
data are held as tensors, whether XLA compiles, and how many threads TensorFlow starts. Two runs of
one configuration on one machine decide the same. Not for acting on it: `program` and `feeds` do.
"""

from __future__ import annotations

import math
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainer.engine.tensorflow import sharing

if TYPE_CHECKING:
    import keras

SECONDS_A_DISPATCH = 0.15  # long enough to forget the cost of a dispatch, short enough for Ctrl-C
OPERATIONS_A_SECOND = 6e10  # what a core of a common machine does on small matrices
SECONDS_A_STEP = 1e-4  # the least that a step costs, however small the model
MAX_CHUNK = 1_000
MAX_CHUNK_BYTES = 2**25  # two chunks are in memory at once: one is trained, one is read
MAX_BATCH_BYTES = 2**22  # of the largest tensor in evaluation; a few like it live at once
MAX_BATCH_ROWS = 8_192
BATCH_ROWS = 32  # a batch of Keras' predict and evaluate; no larger a batch needs more memory
RESIDENT_SHARE = 0.25  # of the memory that is available when fit begins
JIT_STEPS = 1_000  # steps an epoch from which the second that XLA compiles for is soon won back
JIT_RECURRENT_STEPS = 50  # the same where each step is a loop over time

# Layers of which XLA on a CPU makes a faster program, with the same numbers but for rounding. It
# ruins convolutions, and draws other random numbers than TensorFlow's own kernels for dropout.
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
# and these, without dropout of their own: of each step of time XLA makes one operation of many
_RECURRENT = {"GRU", "LSTM", "SimpleRNN"}
_AROUND_RECURRENT = {"Bidirectional", "GRUCell", "LSTMCell", "Masking", "SimpleRNNCell"}


@dataclass(frozen=True)
class Plan:
    """What was decided for one fit.

    Attributes:
        chunk: training steps in one dispatch.
        compiled: the steps that XLA's program is made for; a shorter dispatch is filled up.
        resident: whether all rows are held as tensors.
        jit: whether XLA compiles the training chunk.
        threads: the threads that one operation may use, 0 for as many as there are cores.
        why: one sentence for each that is not obvious.
    """

    chunk: int
    compiled: int
    resident: bool
    jit: bool
    threads: int
    why: str

    def __str__(self) -> str:
        data = "data held as tensors" if self.resident else "data streamed"
        threads = f"{self.threads} thread{'s' if self.threads != 1 else ''} an operation"
        return (
            f"{self.chunk} steps a dispatch, {data}, XLA {'on' if self.jit else 'off'}, "
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
        model: the built and compiled model.
        batch_size: rows a step.
        steps: steps an epoch, or None if that is unknown.
        batch_bytes: the bytes of one batch as tensors.
        data_bytes: the bytes of all rows as tensors, or None for a stream.
        resident_bytes: the most that may be held as tensors; None for a share of free memory.
        jit: the field of this name.
        interval: batches between two calls of callbacks, or None if none sees batches.
        save_steps: the most steps after which a state is to be saved, or None for no limit. It
            shortens a dispatch, and changes no number: XLA's program stays the same.
    """
    threads = intra_op_threads()
    limit = resident_limit() if resident_bytes is None else resident_bytes
    resident = data_bytes is not None and data_bytes <= limit
    compiled, why = _use_jit(model, jit, steps, in_memory=data_bytes is not None)
    chunk = steps_a_dispatch(model, batch_size)
    if data_bytes is None or not resident or compiled:
        chunk = max(1, min(chunk, MAX_CHUNK_BYTES // max(1, batch_bytes)))
    if interval is not None:
        chunk = _divisor(interval, chunk)
        seen = "every batch" if interval == 1 else f"every {interval} batches"
        why = f"a callback is called at {seen}; " + why
    elif steps is not None:
        # equal chunks: the last is no shorter than it must be
        chunk = math.ceil(steps / math.ceil(steps / chunk))
    whole = chunk
    if save_steps is not None and save_steps < chunk:
        chunk = save_steps if interval is None else _divisor(interval, save_steps)
        why = f"a state is saved every {save_steps} steps; " + why
    if data_bytes is not None and not resident:
        why = f"{data_bytes / 2**20:,.0f} MiB of data, limit {limit / 2**20:,.0f}; " + why
    return Plan(chunk, whole, resident, compiled, threads, why)


def _divisor(interval: int, most: int) -> int:
    """The largest divisor that is no larger than `most`."""
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
        return False, "a stream"
    names = {type(layer).__name__ for layer in layers}
    draws = any(
        getattr(layer, "dropout", 0) or getattr(layer, "recurrent_dropout", 0) for layer in layers
    )
    if draws or names - _DENSE_STACK - _RECURRENT - _AROUND_RECURRENT:
        return False, "XLA pays on a CPU for dense and recurrent layers without randomness only"
    least = JIT_RECURRENT_STEPS if names & _RECURRENT else JIT_STEPS
    if steps is None or steps < least:
        return False, f"fewer than {least:,} steps an epoch do not pay for compiling"
    return True, "dense or recurrent layers, and many steps"


def multiplications(model: keras.Model) -> float:
    """About how many multiplications one row costs in a forward pass."""
    total = 0.0
    layers = list(model._flatten_layers(include_self=False, recursive=True))
    cells = {id(layer.cell) for layer in layers if hasattr(layer, "cell")}
    for layer in layers:
        if id(layer) in cells or (getattr(layer, "_layers", None) and not hasattr(layer, "cell")):
            continue  # a cell is counted with its layer, and the parts of a model themselves
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


def rows_a_batch(row_bytes: int, least: int = BATCH_ROWS) -> int:
    """How many rows to evaluate or predict at once, where nothing depends on the batch.

    Args:
        row_bytes: the bytes of the largest tensor that one row makes.
        least: the rows of a batch however large they are.
    """
    return max(least, min(MAX_BATCH_ROWS, MAX_BATCH_BYTES // max(1, row_bytes)))


def steps_a_read(batch_bytes: int) -> int:
    """How many batches of rows that are not held as tensors to read at once."""
    return max(1, MAX_CHUNK_BYTES // max(1, batch_bytes))


def largest_layer(model: keras.Model) -> int | None:
    """The values of the largest output of a layer for one row.

    None where a layer may make larger tensors than its output, or its output is not known: then
    only the graph tells.
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
    """Whether evaluation gives the same, but for rounding, however many rows a batch has.

    Code of one's own may look at a batch as a whole, and so do some of Keras' own parts: with
    several outputs each one's loss is a mean over batches, not over rows.
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
    # cells of recurrent layers draw a mask of dropout in evaluation too, and leave it unused
    draws = getattr(layer, "dropout", 0) or getattr(layer, "recurrent_dropout", 0)
    stateful = getattr(layer, "stateful", False)
    return bool(masks or draws or stateful or layer.activity_regularizer is not None)


def resident_limit() -> int:
    """The bytes that data may take as tensors: a share of the memory that is available."""
    import psutil

    return int(RESIDENT_SHARE * psutil.virtual_memory().available)


def limit_threads() -> None:
    """Let TensorFlow start no more threads than joblib or the environment allows.

    TensorFlow reads TF_NUM_INTRAOP_THREADS and TF_NUM_INTEROP_THREADS when its runtime starts, but
    not OMP_NUM_THREADS, which joblib sets in its workers: they are set to it where they are not.
    Nothing is changed once the runtime has started.
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


# when this is imported, not by fit alone: a worker that unpickles a Trainer imports this first, and
# an optimizer or a fitted model within it then starts TensorFlow before there is any fit
limit_threads()


def intra_op_threads() -> int:
    """The threads that one operation may use; 0 means as many as there are cores."""
    import tensorflow as tf

    configured = tf.config.threading.get_intra_op_parallelism_threads()
    if not configured:
        configured = int(os.environ.get("TF_NUM_INTRAOP_THREADS", "0") or 0)
    return configured or (1 if os.cpu_count() == 1 else 0)


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))
