"""Tensors, gradients, errors and devices of TensorFlow, where keras.ops has no word for them.

Responsible for what code outside of this folder needs to prepare a batch or to look into a model.
Not for running steps (`program`), or for variables (`variables`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_PASS_THROUGH = ("Identity", "Cast", "Reshape", "Squeeze", "ExpandDims")  # keep all values
_ACTIVATIONS = {"Softmax": "softmax", "Sigmoid": "sigmoid", "Tanh": "tanh"}
_LINEAR = ("MatMul", "BatchMatMulV2", "BiasAdd")


def constant(array: Any, dtype: Any = None) -> Any:
    """Return an array as a tensor, of its own dtype if None is given; text as bytes."""
    import tensorflow as tf

    return tf.constant(np.asarray(array), dtype=dtype)


def copied(tree: Any) -> Any:
    """Return a tree of arrays as tensors."""
    import tensorflow as tf

    return tf.nest.map_structure(tf.constant, tree)


def zeros(shape: Sequence[int], dtype: Any) -> Any:
    """Return a tensor of zeros."""
    import tensorflow as tf

    return tf.zeros(shape, dtype)


def spec(shape: Sequence[int | None], dtype: Any) -> Any:
    """Return the form of a tensor; None stands for any length, and a dtype of kind "O" for text."""
    import tensorflow as tf

    text = not isinstance(dtype, str) and np.dtype(dtype).kind == "O"
    return tf.TensorSpec(list(shape), tf.string if text else dtype)


def bytes_of(dtype: Any) -> int:
    """Return the size of one value."""
    import tensorflow as tf

    return int(tf.as_dtype(dtype).size)


def is_dense(value: Any) -> bool:
    """Return whether a value is a tensor or a variable, and not sparse."""
    import keras
    import tensorflow as tf

    found = tf.is_tensor(value) or isinstance(value, keras.Variable)
    return found and not isinstance(value, tf.SparseTensor)


def to_numpy(value: Any) -> np.ndarray:
    """Return a tensor, the rows of a sparse gradient included, as an array."""
    import tensorflow as tf

    return np.asarray(tf.convert_to_tensor(value))


def gradients(loss: Callable[[], Any], of: Sequence[Any]) -> list[Any]:
    """Compute a loss, and return its gradients; None for what it does not depend on.

    Args:
        loss: Computes the loss.
        of: Variables.
    """
    import tensorflow as tf

    with tf.GradientTape() as tape:
        value = loss()
    found: list[Any] = tape.gradient(value, [getattr(v, "value", v) for v in of])
    return found


def trace(function: Callable[[], Any]) -> None:
    """Run a function on symbolic tensors."""
    import tensorflow as tf

    tf.function(function).get_concrete_function()


def last_activation(tensor: Any) -> str | None:
    """Return the activation that a tensor of a traced graph ends in, by Keras' name.

    "linear" if that is a product with weights, or the addition of a bias. None: it is not known.
    """
    operation = _source(tensor)
    if operation.type in _LINEAR:
        return "linear"
    if operation.type == "AddV2":  # adding a bias if one side is a variable
        added = [_source(t).type for t in operation.inputs]
        return "linear" if "ReadVariableOp" in added else None
    return _ACTIVATIONS.get(operation.type)


def _source(tensor: Any) -> Any:
    operation = tensor.op
    while operation.type in _PASS_THROUGH:
        operation = operation.inputs[0].op
    return operation


def errors() -> tuple[type[Exception], ...]:
    """Return what an operation raises if it cannot be computed for its arguments."""
    import tensorflow as tf

    return (ValueError, TypeError, KeyError, tf.errors.OpError)


def out_of_memory() -> tuple[type[Exception], ...]:
    """Return what is raised where memory does not suffice."""
    import tensorflow as tf

    return (tf.errors.ResourceExhaustedError, MemoryError)


def devices() -> list[str]:
    """Return the devices of this machine, with their names where these are known."""
    import tensorflow as tf

    found = []
    for device in tf.config.list_physical_devices():
        kind = tf.config.experimental.get_device_details(device).get("device_name")
        number = device.name.removeprefix("/physical_device:")
        found.append(f"{number} ({kind})" if kind else number)
    return found


def reset_peak() -> None:
    """Begin to measure the peak memory of the first GPU."""
    import tensorflow as tf

    tf.config.experimental.reset_memory_stats("GPU:0")


def peak_bytes() -> int:
    """Return the peak memory of the first GPU since `reset_peak`."""
    import tensorflow as tf

    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])


def is_sparse(spec: Any) -> bool:
    """Return whether a spec is that of a sparse tensor."""
    import tensorflow as tf

    return isinstance(spec, tf.SparseTensorSpec)
