"""Stacks of plain layers: Keras functional models built from a ModelSpec.

Responsible for networks for vectors, images, and several inputs and outputs. Not for scaling inputs
or targets (`inputs`, `build`), for losses (`compile`), or for which network is chosen
(`architecture`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trainer.data.arrays import Tree, is_shape
from trainer.models.options import Kind, keras_activation, whole, widths
from trainer.models.spec import ModelSpec
from trainer.utils import checks

if TYPE_CHECKING:
    import keras

# the kinds of the options of `mlp` and `wide_and_deep`, `deep` and `cnn`
MLP: dict[str, Kind] = {"hidden": widths, "activation": keras_activation}
DEEP: dict[str, Kind] = {
    "depth": whole(1, 20),
    "units": whole(1, 100),
    "activation": keras_activation,
    "batch_norm": checks.boolean,
    "dropout": checks.fraction,
}
CNN: dict[str, Kind] = {
    "filters": widths,
    "units": whole(1, 64),
    "dropout": checks.fraction,
}


def mlp(
    spec: ModelSpec, *, hidden: Sequence[int] = (256, 128), activation: str = "relu"
) -> keras.Model:
    """Build a multilayer perceptron: dense layers on the flattened and concatenated inputs.

    Args:
        spec: Inputs of any shapes.
        hidden: The units of each hidden layer.
        activation: The activation of the hidden layers.
    """
    from keras import layers

    inputs = input_layers(spec)
    x = joined(inputs)
    for units in hidden:
        x = layers.Dense(units, activation, kernel_initializer=initializer(activation))(x)
    return model_of(inputs, x, spec)


def deep(
    spec: ModelSpec,
    *,
    depth: int = 20,
    units: int = 100,
    activation: str = "selu",
    batch_norm: bool = False,
    dropout: float = 0.0,
) -> keras.Model:
    """Build a deep network of dense layers of the same width.

    With `activation="selu"` the network is self-normalising (Klambauer et al. 2017): LeCun
    initialisation, and alpha dropout after the last layer only. With `batch_norm=True` each layer
    is followed by batch normalisation (Ioffe & Szegedy 2015). With neither, a sigmoid network of
    this depth does not train.

    Args:
        spec: Inputs of any shapes.
        depth: The number of hidden layers.
        units: The units of each hidden layer.
        activation: The activation of the hidden layers.
        batch_norm: Whether to normalise between each layer and its activation.
        dropout: The dropout rate after the last hidden layer.
    """
    from keras import layers

    checks.integer("depth", depth, low=1)
    inputs = input_layers(spec)
    x = joined(inputs)
    for _ in range(depth):
        x = layers.Dense(
            units, use_bias=not batch_norm, kernel_initializer=initializer(activation)
        )(x)
        if batch_norm:
            x = layers.BatchNormalization()(x)
        x = layers.Activation(activation)(x)
    if dropout:
        drop = layers.AlphaDropout if activation == "selu" else layers.Dropout
        x = drop(dropout)(x)
    return model_of(inputs, x, spec)


def cnn(
    spec: ModelSpec, *, filters: Sequence[int] = (32, 64), units: int = 64, dropout: float = 0.25
) -> keras.Model:
    """Build a small convolutional network: a convolution and a pooling for each of `filters`.

    Args:
        spec: One input, images (h, w) or (h, w, channels).
        filters: The filters of each convolution; pooling halves the size, down to 4 pixels.
        units: The units of the dense layer.
        dropout: The dropout rate before the output layer.

    Raises:
        ValueError: The input is not an image.
    """
    from keras import layers

    shape = spec.input_shape
    if not is_shape(shape) or len(shape) not in (2, 3):
        raise ValueError(
            f"model='cnn': needs images of shape (h, w) or (h, w, channels), but x has rows of "
            f"shape {shape}; reshape x, or write model='mlp'"
        )
    inputs = layers.Input(shape)
    x = inputs if len(shape) == 3 else layers.Reshape((*shape, 1))(inputs)
    side = min(shape[0] or 64, shape[1] or 64)
    for n in filters:
        x = layers.Conv2D(n, 3, padding="same", activation="relu", kernel_initializer="he_normal")(
            x
        )
        if side >= 8:
            x, side = layers.MaxPooling2D()(x), side // 2
    x = layers.Flatten()(x) if None not in shape[:2] else layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(units, "relu", kernel_initializer="he_normal")(x)
    x = layers.Dropout(dropout)(x)
    return model_of(inputs, x, spec)


def wide_and_deep(
    spec: ModelSpec, *, hidden: Sequence[int] = (64, 64), activation: str = "relu"
) -> keras.Model:
    """Build a wide and deep network (Cheng et al. 2016).

    The input "wide" is connected directly to the output layer, and the input "deep" through the
    hidden layers; of two unnamed inputs the first is wide. A single input is used for both.

    Args:
        spec: One input, or a dict with "wide" and "deep", or a pair.
        hidden: The units of each hidden layer of the deep part.
        activation: The activation of the hidden layers.

    Raises:
        ValueError: There are several inputs that are neither a pair nor "wide" and "deep".
    """
    from keras import layers

    inputs = input_layers(spec)
    shapes = spec.input_shape
    if is_shape(shapes):
        wide = x = joined(inputs)
    elif isinstance(shapes, dict) and {"wide", "deep"} == set(shapes):
        wide, x = joined(inputs["wide"]), joined(inputs["deep"])
    elif isinstance(shapes, tuple) and len(shapes) == 2:
        wide, x = joined(inputs[0]), joined(inputs[1])
    else:
        names = list(shapes) if isinstance(shapes, dict) else len(shapes)
        raise ValueError(
            f"model='wide_and_deep': x has the inputs {names}; pass one array, a pair "
            "(wide, deep), or {'wide': ..., 'deep': ...}"
        )
    for units in hidden:
        x = layers.Dense(units, activation, kernel_initializer=initializer(activation))(x)
    return model_of(inputs, layers.Concatenate()([wide, x]), spec)


def input_layers(spec: ModelSpec) -> Tree:
    """Return the Keras inputs of a spec, in the structure of its input_shape."""
    from keras import layers

    def make(shape: Any, name: str | None = None) -> Any:
        if is_shape(shape):
            return layers.Input(shape, name=name)
        if isinstance(shape, dict):
            return {k: make(v, k) for k, v in shape.items()}
        return tuple(make(v) for v in shape)

    return make(spec.input_shape)


def joined(inputs: Tree) -> Any:
    """Return all inputs as one vector per row: flattened and concatenated."""
    import keras
    from keras import layers

    flat = []
    for x in keras.tree.flatten(inputs):
        if len(x.shape) == 1:
            x = layers.Reshape((1,))(x)
        elif len(x.shape) > 2:
            if None in x.shape[1:]:
                raise ValueError(
                    f"model='mlp': rows of shape {tuple(x.shape[1:])} have no fixed size, so they "
                    "cannot be flattened; resize or pad them, or override build_model"
                )
            x = layers.Flatten()(x)
        flat.append(x)
    return flat[0] if len(flat) == 1 else layers.Concatenate()(flat)


def model_of(inputs: Tree, features: Any, spec: ModelSpec) -> keras.Model:
    """Return the model from the inputs to an output layer for each output on the features."""
    import keras
    from keras import layers

    def head(width: int, name: str | None = None) -> Any:
        # float32 even with mixed precision: float16 is too small for a softmax or a large target.
        dtype = "float64" if keras.backend.standardize_dtype(features.dtype) == "float64" else None
        return layers.Dense(
            width, spec.output_activation, dtype=dtype or "float32", name=name or "output"
        )(features)

    if isinstance(spec.n_outputs, dict):
        outputs: Tree = {name: head(width, name) for name, width in spec.n_outputs.items()}
    elif isinstance(spec.n_outputs, tuple):
        outputs = tuple(head(w, f"output_{i}") for i, w in enumerate(spec.n_outputs))
    else:
        outputs = head(spec.n_outputs)
    return keras.Model(inputs, outputs)


def keras_model(inputs: Any, outputs: Any) -> keras.Model:
    """Return a functional model."""
    import keras

    return keras.Model(inputs, outputs)


def initializer(activation: str) -> str:
    """Return the name of the initializer of weights that suits an activation."""
    if activation == "selu":
        return "lecun_normal"
    return "he_normal" if activation in ("relu", "elu", "leaky_relu") else "glorot_uniform"


__all__ = [
    "CNN",
    "DEEP",
    "MLP",
    "cnn",
    "deep",
    "initializer",
    "input_layers",
    "joined",
    "keras_model",
    "mlp",
    "model_of",
    "wide_and_deep",
]
