"""When two models are built alike, so that one's graphs can train the other.

Responsible for the key that twins share and others do not, and for the list of a model's
variables. Errs on the side of tracing anew: only models of Keras' own parts are compared.
"""

from __future__ import annotations

import json
from collections.abc import Hashable
from typing import Any


def key(model: Any, *, extra: Any) -> Hashable | None:
    """What determines the graphs of a model, or None if that cannot be told.

    Args:
        model: a built and compiled Keras model.
        extra: what else determines them, in a form that JSON can hold.

    Returns:
        A text that holds the architecture, the optimizer, the losses and metrics; None where a
        layer, loss, metric or step is not Keras' own, because its code may depend on anything.
    """
    import keras

    if type(model) is not keras.Sequential and type(model).__name__ != "Functional":
        return None
    if {"train_step", "test_step", "predict_step", "compute_loss"} & set(vars(model)):
        return None
    layers = list(model._flatten_layers(include_self=False, recursive=True))
    parts = [*layers, model.optimizer, *_leaves(model.loss), *_leaves(_metrics(model))]
    if not all(_is_stock(part) for part in parts):
        return None
    if any(isinstance(x, keras.layers.Normalization) and x.input_mean is None for x in layers):
        return None  # adapted: its statistics became constants of the graph
    optimizer = model.optimizer.get_config()
    if isinstance(optimizer.get("learning_rate"), (int, float)):
        optimizer["learning_rate"] = None  # a variable of the optimizer
    try:
        text = json.dumps(
            [
                model.get_config(),
                type(model.optimizer).__name__,
                optimizer,
                [_described(part) for part in _leaves(model.loss)],
                [_described(part) for part in _leaves(_metrics(model))],
                [layer.trainable for layer in layers],
                extra,
            ],
            default=keras.saving.serialize_keras_object,
            sort_keys=True,
        )
    except (TypeError, ValueError, NotImplementedError):
        return None
    for i, layer in enumerate([model, *layers, model.optimizer]):
        text = text.replace(f'"{layer.name}"', f'"#{i}"')  # names count up from model to model
    return text


def variables(model: Any) -> list[Any]:
    """Every variable that a step of the model reads or writes, each once, in a fixed order."""
    found: dict[int, Any] = {}
    optimizer = model.optimizer
    for variable in (
        *model.variables,
        *model.metrics_variables,
        *(v for metric in model.metrics for v in metric.variables),
        *optimizer.variables,
        *getattr(getattr(optimizer, "inner_optimizer", None), "variables", ()),
    ):
        found.setdefault(id(variable), variable)
    return list(found.values())


def _metrics(model: Any) -> Any:
    compiled = model._compile_metrics
    return [] if compiled is None else [compiled._user_metrics, compiled._user_weighted_metrics]


def _leaves(tree: Any) -> list[Any]:
    import keras

    return [leaf for leaf in keras.tree.flatten(tree) if leaf is not None]


def _is_stock(part: Any) -> bool:
    return isinstance(part, str) or type(part).__module__.startswith(("keras.", "trainer."))


def _described(part: Any) -> Any:
    return part if isinstance(part, str) else [type(part).__name__, part.get_config()]
