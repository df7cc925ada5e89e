"""Layers that a functional model calls with training=False.

Keras' guide to transfer learning calls a backbone this way, so that its batch normalization keeps
its statistics. In Keras 3 that has no effect in training: when a functional model runs, its mode
replaces the argument (keras.src.models.functional.operation_fn). The plugin `unfreeze` puts it into
effect; a plain fit does as Keras does, and warns.

Responsible for finding these layers, and for the call that keeps to the argument.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def called(model: keras.Model) -> list[Any]:
    """Return the layers that a functional model, or one in it, calls with training=False.

    Only those that it calls so in all places.
    """
    import keras

    functional = getattr(model, "_functional", None) or model
    by_depth = getattr(functional, "_nodes_by_depth", {})
    always: dict[int, bool] = {}
    layers: dict[int, Any] = {}
    for node in (node for nodes in by_depth.values() for node in nodes):
        layer = node.operation
        if isinstance(layer, keras.layers.Layer) and node.arguments is not None:
            # Keras writes a default of False (of Dropout, say) as if it had been given
            takes = inspect.signature(layer.call).parameters.get("training")
            tells = takes is not None and takes.default is not False
            off = tells and node.arguments.kwargs.get("training") is False
            always[id(layer)] = always.get(id(layer), True) and off
            layers[id(layer)] = layer
    found = [layers[key] for key, off in always.items() if off]
    nested = (layer for layer in layers.values() if isinstance(layer, keras.Model))
    return found + [inner for layer in nested for inner in called(layer)]


def kept(layer: Any) -> Callable[..., Any]:
    """Return the method `call` of a layer with training=False, for itself and for what it calls."""
    own = layer.call

    def call(*args: Any, **kwargs: Any) -> Any:
        context = layer._get_call_context()
        outer = context.get_value("training")
        context.set_value("training", False)
        try:
            return own(*args, **(kwargs | {"training": False}))
        finally:
            context.set_value("training", outer)

    return call


def warn_if_ignored(owner: str, model: keras.Model) -> None:
    """Warn if batch normalization is called with training=False, but updates its statistics.

    Args:
        owner: The name of the estimator.
        model: The model that is trained, without the plugin `unfreeze`.
    """
    import keras

    for layer in called(model):
        norms = (
            inner
            for inner in layer._flatten_layers()
            if isinstance(inner, keras.layers.BatchNormalization) and inner.trainable
        )
        if any(norms):
            warnings.warn(
                f"{owner}.build_model: {layer.name!r} is called with training=False, but Keras 3 "
                "replaces that in training by the mode of the model around it, and batch "
                "normalization updates its statistics; freeze these layers (layer.trainable = "
                "False), or use the plugin 'unfreeze', which keeps the mode",
                stacklevel=5,
            )
