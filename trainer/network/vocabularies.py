"""The vocabularies of layers in a custom build_model.

Responsible for adapting TextVectorization and lookup layers without a vocabulary to the training
rows, and for giving them the same one when a network is built again. Not for the ready-made
architectures, whose vocabulary is in their encoding (`models.text`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.data import arrays
from trainer.data.inputs import Inputs
from trainer.engine.backend import tensors

if TYPE_CHECKING:
    import keras

Texts = Callable[[str], Iterable[np.ndarray]]


def fill(core: keras.Model, inputs: Inputs, texts: Texts | None, maker: str) -> None:
    """Give every layer of text its vocabulary, and write all of them to `inputs.vocabularies`.

    A layer that build_model has adapted, or made with a vocabulary, keeps it. Any other is adapted
    to the training rows.

    Args:
        core: The model that build_model returned.
        inputs: What was learned of x; its vocabularies, if any, are those of an earlier fit.
        texts: Returns the batches of str [n] of an input by its name; None if there are no
            training rows: then the vocabularies are in `inputs`.
        maker: The class name of the estimator, for errors.

    Raises:
        ValueError: A layer has no vocabulary, and it is not clear which input it reads, or its
            output would change its width; or it finds no words.
    """
    layers = list(_layers(core))
    known = inputs.vocabularies
    if known is not None and len(known) != len(layers):
        raise ValueError(
            f"{maker}: the model has {len(layers)} layers with a vocabulary, but had "
            f"{len(known)} in training"
        )
    for i, layer in enumerate(layers):
        if known is not None:
            if known[i] is not None and known[i] != _words(layer):
                layer.set_vocabulary(known[i])
        elif not _words(layer) and texts is not None:
            _adapt(core, layer, inputs, texts, maker)
    if layers and known is None:
        inputs.vocabularies = [None if _has_weights(layer) else _words(layer) for layer in layers]


def _layers(core: keras.Model) -> Iterator[Any]:
    """Yield the layers that have a vocabulary of text, in the order of the model."""
    import keras

    kinds = (keras.layers.TextVectorization, keras.layers.StringLookup)
    found = [layer for layer in core._flatten_layers() if isinstance(layer, kinds)]
    inner = {
        id(part)
        for layer in found
        for part in layer._flatten_layers(include_self=False)
        if isinstance(layer, keras.layers.TextVectorization)
    }
    yield from (layer for layer in found if id(layer) not in inner)


def _words(layer: Any) -> list[str]:
    found = layer.get_vocabulary(include_special_tokens=False)
    return [word.decode() if isinstance(word, bytes) else str(word) for word in found]


def _has_weights(layer: Any) -> bool:
    return bool(layer.get_config()["output_mode"] == "tf_idf")


def _adapt(core: keras.Model, layer: Any, inputs: Inputs, texts: Texts, maker: str) -> None:
    config = layer.get_config()
    adapt = f"write layer.adapt(texts) in {maker}"
    if config["output_mode"] != "int":
        raise ValueError(
            f"{maker}: the layer {layer.name!r} has no vocabulary, and with "
            f"output_mode={config['output_mode']!r} the width of its output would change when it "
            f"gets one; {adapt}, or pass it vocabulary=[...]"
        )
    name = _read_by(core, layer, inputs)
    if name is None:
        raise ValueError(
            f"{maker}: the layer {layer.name!r} has no vocabulary, and which input it "
            f"reads cannot be seen; {adapt}, or pass it vocabulary=[...]"
        )
    layer.adapt(tensors.constant(part)[:, None] for part in texts(name))
    found = _words(layer)
    if not found:
        raise ValueError(
            f"{name} has no words: the layer {layer.name!r} of {maker} finds none in "
            "the training rows; is it the right column?"
        )
    _check_embedding(layer, maker)


def _read_by(core: keras.Model, layer: Any, inputs: Inputs) -> str | None:
    """Return the name of the input that a layer reads, or None if that is not clear."""
    texts = [name for name, dtype in arrays.leaves(inputs.dtypes) if dtype == "object"]
    if len(texts) == 1:
        return texts[0]
    nodes = getattr(layer, "_inbound_nodes", ())
    if not nodes or not nodes[0].input_tensors:
        return None
    source = nodes[0].input_tensors[0]._keras_history.operation
    for name in texts:
        if source.name and name == f"x[{source.name!r}]":
            return name
    operations = [tensor._keras_history.operation for tensor in getattr(core, "inputs", ())]
    names = [name for name, _ in arrays.leaves(inputs.dtypes)]
    if isinstance(inputs.shapes, tuple) and source in operations:
        found = names[operations.index(source)]
        return found if found in texts else None
    return None


def _check_embedding(layer: Any, maker: str) -> None:
    import keras

    size = layer.vocabulary_size()
    for node in getattr(layer, "_outbound_nodes", ()):
        following = node.operation
        if isinstance(following, keras.layers.Embedding) and following.input_dim < size:
            raise ValueError(
                f"{maker}: the layer {layer.name!r} has {size:,} words after it was "
                f"adapted to the training rows, but {following.name!r} only {following.input_dim:,}"
                f"; write TextVectorization(max_tokens=n) and Embedding(n, ...)"
            )
