"""What a classifier's outputs mean: probabilities, logits, or scores about zero.

Responsible for telling by the last layer and the loss, for refusing what cannot be told, and for
converting outputs to probabilities. Not for choosing losses (`compile`), for metrics (`metrics`),
or for labels (`labels`).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from trainer.data.arrays import Tree, map_named
from trainer.engine.backend import tensors
from trainer.models import ModelSpec
from trainer.network import outputs

if TYPE_CHECKING:
    import keras

Meaning = Literal["probabilities", "logits", "scores"]

_PROBABILITIES = ("softmax", "sigmoid", "hard_sigmoid", "sparse_sigmoid", "sparsemax")
_SCORES = ("tanh", "hard_tanh", "softsign")  # from -1 to 1
_SCALES = (1.0, 30.0, 1000.0)  # of the noise that shows whether outputs are bounded


class Unknown(ValueError):
    """It cannot be told what the outputs mean."""


@dataclass(frozen=True)
class Reading:
    """How to read one output of a classifier.

    Attributes:
        meaning: "probabilities"; "logits", for a sigmoid or softmax; or "scores" from -1 to 1.
        exclusive: Whether each row has exactly one of the classes.
        classes: The number of classes, or of labels if not exclusive.
        units: The width of the output; 1 is possible for two classes.
        positive: Of two exclusive classes, the index of the one that metrics by name are of.
    """

    meaning: Meaning
    exclusive: bool
    classes: int
    units: int
    positive: int | None = None


def by_output(value: Any, names: list[str], layers: list[str]) -> dict[str, Any]:
    """Return what a loss, or a structure of them, says of each output.

    Args:
        value: One for all outputs, or one per output, as keras.Model.compile takes them: by the
            names of the parts of y, by the names of the output layers, or in their order.
        names: The names of the outputs, as in `arrays.leaves`.
        layers: The names of the output layers, in the order of `names`; empty if unknown.
    """
    if isinstance(value, (list, tuple)) and len(value) == len(names):
        return dict(zip(names, value, strict=True))
    if isinstance(value, Mapping):
        of_layer = dict(zip(names, layers, strict=False))
        return {
            name: next((v for k, v in value.items() if f"[{k!r}]" == name), None)
            if any(f"[{k!r}]" in names for k in value)
            else value.get(of_layer.get(name))
            for name in names
        }
    return dict.fromkeys(names, value)


def read(
    model: keras.Model,
    spec: ModelSpec,
    exclusive: Mapping[str, bool],
    losses: Mapping[str, Any],
    units: Mapping[str, int],
    *,
    from_logits: bool | None,
    probe: Callable[..., Any],
    try_loss: Callable[[str, Any, int], Mapping[str, float]],
) -> dict[str, Meaning]:
    """Return what each output means.

    Args:
        model: The built model.
        spec: The spec that it was built for.
        exclusive: For each output, whether each row has exactly one of its classes.
        losses: The loss of each output.
        units: The width of each output.
        from_logits: What the user says about it, or None.
        probe: Returns the model's outputs for a few rows.
        try_loss: Returns values of the loss of an output of a width: see `centre`.

    Raises:
        Unknown: Neither the last layer nor the loss tells.
        ValueError: The user says what contradicts them.
    """
    ends = activations(model, spec, probe, exclusive)
    found: dict[str, Meaning] = {}
    for name in exclusive:
        end, loss = ends[name], losses[name]
        stated = loss_takes_logits(loss)
        if from_logits is not None:
            _check_stated(from_logits, name, end, loss, stated)
            found[name] = "logits" if from_logits else "probabilities"
        elif stated is not None:
            found[name] = "logits" if stated else "probabilities"
        elif end in _PROBABILITIES:
            found[name] = "probabilities"
        else:
            if centre(try_loss(name, loss, units[name])) == 0.5:
                found[name] = "probabilities"
            elif end in _SCORES and (units[name] == 1 or not exclusive[name]):
                found[name] = "scores"
            else:
                found[name] = "logits"
    return found


def centre(loss: Mapping[str, float]) -> float:
    """Return where the loss separates two classes: at 0.5 as probabilities, or at 0 as logits.

    Args:
        loss: Its values where the outputs for a row's own class are 0.5, and those for others 0
            ("right") or -0.5 ("below"); and where those for others are 0, and those for its own
            0 ("none") or -0.5 ("wrong").

    Raises:
        Unknown: The loss does not tell.
    """
    right, below, none, wrong = (loss[k] for k in ("right", "below", "none", "wrong"))
    if not np.isfinite([right, below, none, wrong]).all():
        return 0.5  # the logarithm of a number that is not a probability
    small = 1e-4 * max(abs(right), abs(below), abs(none), 1e-3)
    if below < right - small:
        return 0.0
    clipped = abs(wrong - none) <= small and none > right + small
    if below > right + small or clipped:
        return 0.5  # numbers compared with 0 and 1, or clipped to that range
    raise Unknown("the loss is the same for outputs of 0 and below")


def _check_stated(
    from_logits: bool, name: str, end: str | None, loss: Any, stated: bool | None
) -> None:
    where = f" of y{name}" if name else ""
    if stated is not None and stated != from_logits:
        takes = "logits" if stated else "probabilities"
        raise ValueError(
            f"from_logits={from_logits}: the loss {_shown(loss)}{where} takes {takes}; leave "
            f"from_logits out, or write from_logits={from_logits} in the loss, such as "
            f"keras.losses.BinaryCrossentropy(from_logits={from_logits})"
        )
    if from_logits and end in _PROBABILITIES:
        raise ValueError(
            f"from_logits=True: the output{where} ends in {end}, whose values are probabilities; "
            "leave from_logits out, or end the model without an activation"
        )


def _shown(loss: Any) -> str:
    return repr(loss) if isinstance(loss, str) else getattr(loss, "name", None) or repr(loss)


def loss_takes_logits(loss: Any) -> bool | None:
    """Return what a loss itself says of from_logits; None if it does not."""
    import keras

    stated: bool | None = None
    while isinstance(loss, functools.partial):
        stated = loss.keywords.get("from_logits", stated)
        loss = loss.func
    if stated is not None or loss is None:
        return stated
    if isinstance(loss, str):
        loss = (
            keras.losses.binary_crossentropy  # as the other crossentropies
            if loss.lower() in ("crossentropy", "ce")
            else keras.losses.get(loss)
        )
    stated = getattr(loss, "from_logits", None)
    if stated is None:
        # LossFunctionWrapper keeps the arguments of its function
        stated = (getattr(loss, "_fn_kwargs", None) or {}).get("from_logits")
        function = getattr(loss, "fn", loss)
        if stated is None and inspect.isfunction(function):
            parameter = inspect.signature(function).parameters.get("from_logits")
            stated = None if parameter is None else parameter.default
    return stated if isinstance(stated, bool) else None


def are_logits(
    model: keras.Model,
    spec: ModelSpec,
    probe: Callable[..., Any],
    exclusive: Mapping[str, bool],
) -> dict[str, bool]:
    """Return whether each output is logits, not probabilities, where no loss tells.

    Determined by the last activation or operation; if that is inconclusive, by whether the outputs
    for a few rows, and for rows of large numbers, could be probabilities.

    Args:
        model: The built model.
        spec: The spec that it was built for.
        probe: Returns the model's outputs for a few rows, of numbers scaled by its argument.
        exclusive: For each output, whether the probabilities of its classes sum to one.

    Raises:
        Unknown: The values do not tell.
    """
    ends = activations(model, spec, probe, exclusive)
    known = {n: _ends_in_logits(end) for n, end in ends.items()}
    if None in known.values():
        values = [
            {n: np.asarray(v, np.float64) for n, v in outputs.named(model, spec, few).items()}
            for few in (probe(scale) for scale in _SCALES)
        ]
        for name, logits in known.items():
            if logits is None:
                known[name] = _by_values([v[name] for v in values], exclusive[name])
    return {name: bool(logits) for name, logits in known.items()}


def _ends_in_logits(end: str | None) -> bool | None:
    if end in _PROBABILITIES:
        return False
    return True if end == "linear" else None


def activations(
    model: keras.Model, spec: ModelSpec, probe: Callable[..., Any], names: Mapping[str, Any]
) -> dict[str, str | None]:
    """Return the name of the activation that each output ends in; None if it is not known.

    By the last layer; if that has none, by the last operation of the graph.
    """
    known: dict[str, str | None] = dict.fromkeys(names)
    declared = outputs.symbolic(model)
    if declared is not None:
        known = {n: _by_layer(t) for n, t in outputs.named(model, spec, declared).items()}
    if None in known.values():
        traced: dict[str, str | None] = {}

        def trace() -> None:
            for name, tensor in outputs.named(model, spec, probe()).items():
                traced[name] = tensors.last_activation(tensor)

        tensors.trace(trace)
        known = {n: traced[n] if k is None else k for n, k in known.items()}
    return known


def units(model: keras.Model, spec: ModelSpec, probe: Callable[..., Any]) -> dict[str, int]:
    """Return the width of each output."""
    declared = outputs.symbolic(model)
    found = outputs.named(model, spec, probe() if declared is None else declared)
    return {name: int(output.shape[-1]) for name, output in found.items()}


def _by_layer(output: Any) -> str | None:
    layer: Any = None
    while (history := getattr(output, "_keras_history", None)) is not None:
        layer = history.operation
        nested = getattr(layer, "layers", None) and getattr(layer, "outputs", None)
        if not (nested and outputs.called_as_graph(layer)):
            break
        output = layer.outputs[history.tensor_index]  # a nested model
    # What a layer of the user's own does with an attribute of this name is not known.
    if layer is None or not type(layer).__module__.startswith("keras."):
        return None
    activation = getattr(layer, "activation", None)
    if activation is None or hasattr(layer, "cell"):
        name = type(layer).__name__.lower()
        return name if name in ("softmax", "sigmoid") else None
    of_keras = str(getattr(activation, "__module__", "")).startswith("keras.")
    return getattr(activation, "__name__", None) if of_keras else None


def _by_values(values: list[np.ndarray], exclusive: bool) -> bool:
    """Return whether outputs are logits, given those for noise of several scales."""
    several = np.concatenate(values)
    if (several < 0).any() or (several > 1).any():
        return True
    if exclusive and several.shape[-1] > 1:
        if (np.abs(several.sum(axis=-1) - 1) <= 0.05).all():
            return False
        raise Unknown("the outputs for a few rows are from 0 to 1, but do not sum to 1")
    if np.ptp(values[0]) > 0 and not np.array_equal(values[0], values[-1]):
        return False  # they change with x, but stay between 0 and 1 however large it is
    raise Unknown("the outputs for a few rows could be either")


def as_probabilities(values: Tree, readings: Mapping[str, Reading]) -> Tree:
    """Convert the outputs of a trained classifier to probabilities.

    Args:
        values: The outputs, in the structure of y.
        readings: How to read each.
    """

    def one(name: str, output: np.ndarray) -> np.ndarray:
        from scipy.special import expit, softmax

        reading = readings.get(name)
        if reading is None:
            return output
        joint = reading.exclusive and output.shape[-1] > 1
        if reading.meaning == "logits":
            return np.asarray(softmax(output, axis=-1) if joint else expit(output))
        if reading.meaning == "scores":
            return (1 + output) / 2
        # A loss that compares numbers, or clips them, lets outputs leave the range.
        return _joint(output) if joint else np.clip(output, 0, 1)

    return map_named(one, values, "")


def _joint(output: np.ndarray) -> np.ndarray:
    totals = output.sum(axis=-1)
    if (output >= 0).all() and (np.abs(totals - 1) < 0.01).all():
        return output
    above = np.maximum(output, 0)
    chosen = (output == output.max(axis=-1, keepdims=True)).astype(output.dtype)
    above = np.where(above.sum(axis=-1, keepdims=True) > 0, above, chosen)
    joint: np.ndarray = above / above.sum(axis=-1, keepdims=True)
    return joint
