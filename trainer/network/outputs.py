"""Interprets a model's outputs: which part of y each belongs to, and whether it is logits.

Responsible for matching outputs to targets, refusing those that do not fit, and converting logits
to probabilities. Not for choosing losses (`compile`), or for labels (`labels`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.data import arrays
from trainer.data.arrays import Tree, map_named
from trainer.models import ModelSpec

if TYPE_CHECKING:
    import keras

_PASS_THROUGH = ("Identity", "Cast", "Reshape", "Squeeze", "ExpandDims")  # keep all values


def symbolic(model: keras.Model) -> Any:
    """Return the symbolic outputs of a functional model; None if the model must be called."""
    import keras

    if not (model.built and getattr(model, "outputs", None)):
        return None
    # The `output` of a Sequential is defined only after a call; it has a single output anyway.
    return model.outputs if isinstance(model, keras.Sequential) else model.output


def named(model: keras.Model, spec: ModelSpec, outputs: Any) -> dict[str, Any]:
    """Return the model's outputs by the names of the parts of y in `arrays.leaves`.

    If y is a dict, the model may also return a list, if its output layers are named like the keys.

    Raises:
        ValueError: The number of outputs is wrong, or their order is ambiguous.
    """
    names = [name for name, _ in arrays.leaves(spec.n_outputs, "")]
    found = dict(arrays.leaves(outputs, ""))
    if set(found) == set(names):
        return {name: found[name] for name in names}
    flat = list(found.values())
    if len(names) != len(flat):
        raise ValueError(
            f"build_model returned a model with {len(flat)} outputs, but y has {len(names)}; "
            "give the model one output for each part of y"
        )
    if len(flat) == 1:
        return {names[0]: flat[0]}
    layers = getattr(model, "output_names", None) or ()
    if isinstance(spec.n_outputs, dict) and set(layers) == set(spec.n_outputs):
        by_layer = dict(zip(layers, flat, strict=True))
        return {f"[{key!r}]": by_layer[key] for key in spec.n_outputs}
    raise ValueError(
        f"build_model returned a model whose outputs are {', '.join(found)}, but the parts of y "
        f"are {', '.join(names)}; return the outputs in the structure of y"
    )


def arranged(model: keras.Model, spec: ModelSpec, outputs: Any) -> Tree:
    """Return the outputs in the structure of y, or unchanged if a custom model has another one."""
    if spec.task == "custom":
        names = [name for name, _ in arrays.leaves(spec.n_outputs, "")]
        if len(names) != len(dict(arrays.leaves(outputs, ""))):
            return outputs
    by_name = named(model, spec, outputs)
    if isinstance(spec.n_outputs, int):
        return next(iter(by_name.values()))
    return map_named(lambda name, _: by_name[name], spec.n_outputs, "")


def check(model: keras.Model, spec: ModelSpec, outputs: Any) -> None:
    """Check that the output widths of a model fit the targets.

    Args:
        model: The built model.
        spec: The spec that it was built for.
        outputs: Its outputs, symbolic or not, each with `shape`.

    Raises:
        ValueError: A width is wrong; the message has the expected and the actual width.
    """
    if spec.task == "custom":
        return
    widths = dict(arrays.leaves(spec.n_outputs, ""))
    for name, output in named(model, spec, outputs).items():
        expected, shape = widths[name], tuple(output.shape)
        got = shape[-1] if len(shape) > 1 else 1
        binary = spec.task == "classification" and expected == 2 and got == 1
        if got != expected and not binary:
            where = f" for y{name}" if name else ""
            unit = {"classification": "classes", "multilabel": "labels"}.get(spec.task, "columns")
            raise ValueError(
                f"build_model: the output{where} has the wrong width: expected {expected} "
                f"({expected} {unit} in y), got {got}; end the model with "
                f"Dense(spec.n_outputs, {spec.output_activation!r})"
            )


def are_logits(
    model: keras.Model, spec: ModelSpec, probe: Callable[[], Any], exclusive: dict[str, bool]
) -> dict[str, bool]:
    """Return whether each output is logits, not probabilities.

    Determined by the last activation; if that is unknown, by the last operation of the graph; and
    if that is inconclusive, by whether outputs for a few rows could be probabilities.

    Args:
        model: The built model.
        spec: The spec that it was built for.
        probe: Returns the model's outputs for a few rows.
        exclusive: For each output, whether the probabilities of its classes sum to one.
    """
    import tensorflow as tf

    known: dict[str, bool | None] = dict.fromkeys(exclusive)
    declared = symbolic(model)
    if declared is not None:
        known = {n: _by_activation(t) for n, t in named(model, spec, declared).items()}
    if None in known.values():
        traced: dict[str, bool | None] = {}

        def trace() -> None:
            for name, tensor in named(model, spec, probe()).items():
                traced[name] = _by_operation(tensor)

        tf.function(trace).get_concrete_function()
        known = {n: traced[n] if k is None else k for n, k in known.items()}
    if None in known.values():
        values = named(model, spec, probe())
        known = {
            n: _by_value(np.asarray(values[n]), exclusive[n]) if k is None else k
            for n, k in known.items()
        }
    return {name: bool(k) for name, k in known.items()}


def _by_activation(output: Any) -> bool | None:
    layer: Any = None
    while (history := getattr(output, "_keras_history", None)) is not None:
        layer = history.operation
        if not (getattr(layer, "layers", None) and getattr(layer, "outputs", None)):
            break
        output = layer.outputs[history.tensor_index]  # a nested model
    activation = getattr(layer, "activation", None)
    name = type(layer).__name__ if activation is None else getattr(activation, "__name__", "")
    return {"softmax": False, "sigmoid": False, "linear": True}.get(name.lower())


def _by_operation(tensor: Any) -> bool | None:
    operation = _source(tensor)
    if operation.type in ("Softmax", "Sigmoid"):
        return False
    if operation.type in ("MatMul", "BatchMatMulV2", "BiasAdd"):
        return True
    if operation.type == "AddV2":  # adding a bias if one side is a variable
        added = [_source(t).type for t in operation.inputs]
        return True if "ReadVariableOp" in added else None
    return None


def _source(tensor: Any) -> Any:
    operation = tensor.op
    while operation.type in _PASS_THROUGH:
        operation = operation.inputs[0].op
    return operation


def _by_value(values: np.ndarray, exclusive: bool) -> bool:
    values = values.astype(np.float64)
    outside = bool((values < 0).any() or (values > 1).any())
    if exclusive and values.shape[-1] > 1:
        return outside or bool((np.abs(values.sum(axis=-1) - 1) > 0.05).any())
    return outside


def as_probabilities(outputs: Tree, loss: Any) -> Tree:
    """Convert the outputs of a trained classifier to probabilities, if its loss expects logits.

    Args:
        outputs: In the structure of y.
        loss: The training loss, or one per output.
    """
    losses = dict(arrays.leaves(loss, ""))

    def one(name: str, values: np.ndarray) -> np.ndarray:
        from scipy.special import expit, softmax

        own = losses.get(name, loss)
        if not getattr(own, "from_logits", False):
            return values
        if values.shape[-1] == 1 or type(own).__name__.startswith("Binary"):
            return np.asarray(expit(values))
        return np.asarray(softmax(values, axis=-1))

    return map_named(one, outputs, "")
