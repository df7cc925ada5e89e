"""What a model's outputs are: which part of y each belongs to, and whether it is probabilities.

Responsible for naming outputs as the targets are named, for refusing those that do not fit, and
for turning logits into probabilities. Not for choosing losses (`compiling`), nor for labels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer import arrays
from trainer.arrays import Tree, map_named
from trainer.models import ModelSpec

if TYPE_CHECKING:
    import keras

_PASSING = ("Identity", "Cast", "Reshape", "Squeeze", "ExpandDims")  # change no value


def symbolic(model: keras.Model) -> Any:
    """The outputs of a functional model in their structure; None if only a call tells them."""
    import keras

    if not (model.built and getattr(model, "outputs", None)):
        return None
    # a Sequential has one output, and `output` only once it was called
    return model.outputs if isinstance(model, keras.Sequential) else model.output


def named(model: keras.Model, spec: ModelSpec, outputs: Any) -> dict[str, Any]:
    """The model's outputs by the names that `arrays.leaves` gives the parts of y.

    Where y is a dict, a model may also give a list: then its output layers bear y's keys.

    Raises:
        ValueError: there are more or fewer, or it is unclear which is which.
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
    """The outputs in the structure of y; as the model gives them where y says nothing of it."""
    if spec.task == "custom":
        names = [name for name, _ in arrays.leaves(spec.n_outputs, "")]
        if len(names) != len(dict(arrays.leaves(outputs, ""))):
            return outputs
    by_name = named(model, spec, outputs)
    if isinstance(spec.n_outputs, int):
        return next(iter(by_name.values()))
    return map_named(lambda name, _: by_name[name], spec.n_outputs, "")


def check(model: keras.Model, spec: ModelSpec, outputs: Any) -> None:
    """Refuse a model whose output width does not fit its targets.

    Args:
        model: the built model.
        spec: what it was to be built for.
        outputs: its outputs, symbolic or not, each with `shape`.

    Raises:
        ValueError: with the width expected and the width got.
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
    """Whether each output is logits rather than probabilities.

    The last activation tells it; of a model that hides it, the last operation of its graph; and
    of one that hides that too, whether its outputs on a few rows could be probabilities.

    Args:
        model: the built model.
        spec: what it was built for.
        probe: gives the model's outputs on a few rows.
        exclusive: of each output, whether the probabilities of its classes add up to one.
    """
    import tensorflow as tf

    told: dict[str, bool | None] = dict.fromkeys(exclusive)
    declared = symbolic(model)
    if declared is not None:
        told = {n: _by_activation(t) for n, t in named(model, spec, declared).items()}
    if None in told.values():
        traced: dict[str, bool | None] = {}

        def trace() -> None:
            for name, tensor in named(model, spec, probe()).items():
                traced[name] = _by_operation(tensor)

        tf.function(trace).get_concrete_function()
        told = {n: traced[n] if t is None else t for n, t in told.items()}
    if None in told.values():
        values = named(model, spec, probe())
        told = {
            n: _by_value(np.asarray(values[n]), exclusive[n]) if t is None else t
            for n, t in told.items()
        }
    return {name: bool(t) for name, t in told.items()}


def _by_activation(output: Any) -> bool | None:
    layer: Any = None
    while (history := getattr(output, "_keras_history", None)) is not None:
        layer = history.operation
        if not (getattr(layer, "layers", None) and getattr(layer, "outputs", None)):
            break
        output = layer.outputs[history.tensor_index]  # a model within the model
    activation = getattr(layer, "activation", None)
    name = type(layer).__name__ if activation is None else getattr(activation, "__name__", "")
    return {"softmax": False, "sigmoid": False, "linear": True}.get(name.lower())


def _by_operation(tensor: Any) -> bool | None:
    operation = _source(tensor)
    if operation.type in ("Softmax", "Sigmoid"):
        return False
    if operation.type in ("MatMul", "BatchMatMulV2", "BiasAdd"):
        return True
    if operation.type == "AddV2":  # a bias, unless both sides are computed
        added = [_source(t).type for t in operation.inputs]
        return True if "ReadVariableOp" in added else None
    return None


def _source(tensor: Any) -> Any:
    operation = tensor.op
    while operation.type in _PASSING:
        operation = operation.inputs[0].op
    return operation


def _by_value(values: np.ndarray, exclusive: bool) -> bool:
    values = values.astype(np.float64)
    outside = bool((values < 0).any() or (values > 1).any())
    if exclusive and values.shape[-1] > 1:
        return outside or bool((np.abs(values.sum(axis=-1) - 1) > 0.05).any())
    return outside


def as_probabilities(outputs: Tree, loss: Any) -> Tree:
    """The outputs of a trained classifier as probabilities, where its loss takes logits.

    Args:
        outputs: in the structure of y.
        loss: the loss that it was trained with; one, or one for each output.
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
