"""Observes the inputs and outputs of each layer of a model for some rows.

Responsible for calling a model once with hooks on its layers. Not for interpreting the result
(`reasons`).
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras


@dataclass
class LayerStats:
    """Statistics of the inputs and outputs of a layer for some rows.

    Attributes:
        layer: The layer.
        first: Whether it has weights and receives the data through no other layer with weights.
        size: The largest root mean square of a column of its input, or that of the whole input
            if it has more than two axes; NaN if the input is not numeric.
        deviation: The largest standard deviation, in the same way.
        dead: The share of its units that are 0 for every row, if its activation is a ReLU.
        width: The number of units of its output.
        multiplies: Whether it multiplies its input by weights.
        gives_output: Whether its output is an output of the model.
    """

    layer: Any
    first: bool
    size: float
    deviation: float
    dead: float | None
    width: int | None
    multiplies: bool
    gives_output: bool = False


def watch(core: keras.Model, x: Any) -> list[LayerStats]:
    """Call a model on x and return what was observed of each layer."""
    import keras

    found: list[LayerStats] = []
    given: list[list[Any]] = []
    # Tensors computed with weights, by id; holding them prevents ids from being reused.
    learned: dict[int, Any] = {}
    whole_graph = True
    operations: dict[int, Any] = {}
    for layer in core._flatten_layers(include_self=True):
        if isinstance(layer, keras.Model):
            functional = isinstance(layer, (keras.Sequential, keras.src.models.Functional))
            whole_graph = whole_graph and functional
            operations |= {id(o): o for o in getattr(layer, "operations", ())}
        operations.setdefault(id(layer), layer)

    def note(operation: Any, args: Any, result: Any) -> None:
        taken, gives = _tensors_in(args), _tensors_in(result)
        behind = any(id(t) in learned for t in taken)
        has_weights = _multiplies_by_weights(operation)
        if has_weights or behind or isinstance(operation, keras.layers.Embedding):
            learned.update({id(t): t for t in gives})
        if not isinstance(operation, keras.layers.Layer) or any(
            s.layer is operation for s in found
        ):
            return
        if isinstance(operation, keras.Model):
            return
        # If operations between layers are not observed, only the first layer is certain to be.
        first = has_weights and not behind and (whole_graph or not any(s.first for s in found))
        size, deviation = _sizes(taken[0]) if taken else (math.nan, math.nan)
        dead = _dead(gives[0]) if gives and activation(operation) == "relu" else None
        width = gives[0].shape[-1] if gives and len(gives[0].shape) else None
        found.append(LayerStats(operation, first, size, deviation, dead, width, has_weights))
        given.append(gives)

    with _call_hooks(list(operations.values()), note):
        final = {id(t) for t in _tensors_in(core(x, training=False))}
    for seen, gives in zip(found, given, strict=True):
        seen.gives_output = any(id(t) in final for t in gives)
    return found


@contextlib.contextmanager
def _call_hooks(operations: list[Any], note: Any) -> Iterator[None]:
    """Call `note` after each call of these layers and operations."""
    watched = [o for o in operations if "call" not in vars(o)]
    for operation in watched:

        def call(*args: Any, _own: Any = operation, _call: Any = operation.call, **kw: Any) -> Any:
            result = _call(*args, **kw)
            note(_own, (args, kw), result)
            return result

        object.__setattr__(operation, "call", functools.wraps(operation.call)(call))
    try:
        yield
    finally:
        for operation in watched:
            object.__delattr__(operation, "call")


def _tensors_in(tree: Any) -> list[Any]:
    import keras

    return [t for t in keras.tree.flatten(tree) if hasattr(t, "shape") and hasattr(t, "dtype")]


def _multiplies_by_weights(operation: Any) -> bool:
    """Return whether a layer multiplies its input by weights."""
    import keras

    kinds = (keras.layers.RNN, keras.layers.Bidirectional)
    return isinstance(operation, kinds) or getattr(operation, "kernel", None) is not None


def activation(layer: Any) -> str:
    """Return the name of a layer's activation, such as "relu"; "linear" if it has none."""
    own = getattr(layer, "activation", None)
    name = type(layer).__name__ if own is None else getattr(own, "__name__", type(own).__name__)
    known = {"relu", "softmax", "sigmoid", "tanh", "softplus", "relu6", "hard_sigmoid"}
    return name.lower() if name.lower() in known else "linear"


def is_dropout(layer: Any) -> bool:
    """Return whether a layer drops units in training."""
    import keras

    kinds = keras.layers
    return isinstance(layer, (kinds.Dropout, kinds.SpatialDropout1D, kinds.SpatialDropout2D))


def is_linear(layer: Any) -> bool:
    """Return whether a layer is known to compute a linear (affine) function of its input."""
    import keras

    kinds = keras.layers
    if is_dropout(layer):
        return True
    if isinstance(layer, (kinds.Dense, kinds.Conv1D, kinds.Conv2D)):
        return layer.activation is keras.activations.linear
    plain = (kinds.InputLayer, kinds.Flatten, kinds.Reshape, kinds.Rescaling, kinds.Normalization)
    return isinstance(layer, (*plain, kinds.BatchNormalization))


def _sizes(tensor: Any) -> tuple[float, float]:
    array = np.asarray(tensor)
    if array.dtype.kind not in "fiub" or not array.size:
        return math.nan, math.nan
    columns = array.astype(np.float64)
    columns = columns if array.ndim == 2 else columns.reshape(-1, 1)
    with np.errstate(all="ignore"):
        sizes = np.sqrt(np.mean(np.square(columns), axis=0))
        return float(sizes.max()), float(columns.std(axis=0).max())


def _dead(tensor: Any) -> float:
    array = np.asarray(tensor)
    return float((array.reshape(-1, array.shape[-1]) == 0).all(axis=0).mean())
