"""Models share traced graphs when they are built alike, and never when they are not: layers.

Every pair below differs in one thing that a graph holds. The second model is trained alone, and
again after the first: had it been given the first one's graph, its numbers would be the first's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 6)).astype("float32")
WORDS = RNG.integers(0, 9, (24, 5))
CODES = RNG.choice([3, 5, 8], (24, 1))

Build = Callable[[], keras.Model]


def _sequential(*parts: Any, shape: tuple[int, ...] = (6,), **options: Any) -> keras.Model:
    return keras.Sequential([keras.Input(shape, **options), *parts])


def _dense(between: Callable[[], Any] | None = None, **options: Any) -> Build:
    """A hidden layer with the given options, perhaps another one, and one for the output."""

    def build() -> keras.Model:
        middle = [] if between is None else [between()]
        return _sequential(layers.Dense(6, **options), *middle, layers.Dense(1))

    return build


def _after(change: Callable[[Any], Any], **options: Any) -> Build:
    """A model whose hidden layer is changed once it is built."""

    def build() -> keras.Model:
        model = _dense(**options)()
        change(model.layers[0])
        return model

    return build


def _with(attribute: str, value: Any, of: str | None = None, **options: Any) -> Build:
    """A model whose hidden layer, or a variable of it, is given an attribute once it is built."""
    return _after(
        lambda layer: setattr(layer if of is None else getattr(layer, of), attribute, value),
        **options,
    )


def _changed_dropout() -> Any:
    dropout = layers.Dropout(0.2)
    dropout.rate = 0.8
    return dropout


def _named(activation: str) -> Build:
    """Layers of the names of their activations."""
    return lambda: _sequential(
        layers.Dense(6, activation, name=activation), layers.Dense(1, "linear", name="linear")
    )


def _adapted(scale: float) -> Build:
    def build() -> keras.Model:
        layer = layers.Normalization()
        layer.adapt(scale * X)
        return _sequential(layer, layers.Dense(1))

    return build


def _words(masked: bool) -> Build:
    def build() -> keras.Model:
        embedding = layers.Embedding(9, 4, mask_zero=masked)
        return _sequential(embedding, layers.GRU(4), layers.Dense(1), shape=(5,))

    return build


def _looked_up(*vocabulary: int) -> Build:
    def build() -> keras.Model:
        codes = keras.Input((1,), dtype="int64")
        index = layers.IntegerLookup(vocabulary=list(vocabulary))(codes)
        return keras.Model(codes, layers.Dense(1)(layers.Embedding(4, 3)(index)[:, 0]))

    return build


def _difference(swapped: bool) -> Build:
    def build() -> keras.Model:
        x = keras.Input((6,))
        parts = [layers.Dense(1, activation)(x) for activation in ("relu", "tanh")]
        return keras.Model(x, layers.Subtract()(parts[::-1] if swapped else parts))

    return build


def _times(factor: float) -> Callable[[Any], Any]:
    return lambda x: factor * x


def relu(x: Any) -> Any:
    """It bears the name of one of Keras' own, and is another one."""
    return keras.ops.relu(x) + 1.0


def _tied(which: int) -> Build:
    """Three layers without a bias, the last of which uses the kernel of another one."""

    def build() -> keras.Model:
        parts = [layers.Dense(6, use_bias=False, activation="tanh") for _ in range(3)]
        model = _sequential(*parts)
        parts[2]._tracker.unlock()
        parts[2]._trainable_variables.clear()
        object.__setattr__(parts[2], "_kernel", parts[which].kernel)
        return model

    return build


def _nested(activation: str) -> Build:
    """A model within a model, of the same names throughout."""

    def build() -> keras.Model:
        x = keras.Input((6,))
        inner = keras.Sequential(
            [keras.Input((6,)), layers.Dense(6, activation, name="d")], name="part"
        )
        return keras.Model(x, layers.Dense(1, name="d")(inner(x)))

    return build


def _sliced(columns: slice) -> Build:
    def build() -> keras.Model:
        x = keras.Input((6,))
        return keras.Model(x, layers.Dense(1)(x[:, columns]))

    return build


def _scaled(factor: float) -> Build:
    def build() -> keras.Model:
        x = keras.Input((6,))
        return keras.Model(x, layers.Dense(1)(x * factor))

    return build


class Times(layers.Layer):
    """A layer of one's own with an attribute of Python's, which its config does not hold."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def call(self, x: Any) -> Any:
        return self.factor * x

    def get_config(self) -> dict[str, Any]:
        return {}


class _TimesOperation(keras.Operation):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self._auto_config = None
        self.factor = factor

    def call(self, x: Any) -> Any:
        return self.factor * x

    def compute_output_spec(self, x: Any) -> Any:
        return keras.KerasTensor(x.shape, x.dtype)


def _operation(factor: float) -> Build:
    def build() -> keras.Model:
        x = keras.Input((6,))
        return keras.Model(x, layers.Dense(1)(_TimesOperation(factor)(x)))

    return build


def _instead_of_call(factor: float) -> Build:
    """A stock layer, one method of which was replaced."""

    def change(layer: Any) -> None:
        own = layer.call
        layer.call = lambda *arguments, **options: factor * own(*arguments, **options)

    return _after(change)


def _own_model(factor: float) -> Build:
    class Functional(keras.Model):  # not the one of that name
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return factor * keras.ops.mean(keras.ops.square(y - y_pred))

    def build() -> keras.Model:
        x = keras.Input((6,))
        return Functional(x, layers.Dense(1)(x))

    return build


def _own_regularizer(factor: float) -> Any:
    class Own(keras.regularizers.Regularizer):
        def __call__(self, x: Any) -> Any:
            return factor * keras.ops.sum(keras.ops.square(x))

        def get_config(self) -> dict[str, Any]:
            return {}

    return Own()


L2 = keras.regularizers.L2
RELU = _dense(activation="relu")

PAIRS: dict[str, tuple[Build, Build]] = {
    "activation": (RELU, _dense(activation="tanh")),
    "activation that bears its layer's name": (_named("relu"), _named("tanh")),
    "activation set later": (RELU, _with("activation", keras.ops.tanh, activation="relu")),
    "activation of one's own": (_dense(activation=_times(1.0)), _dense(activation=_times(3.0))),
    "activation of a stock name": (RELU, _dense(activation=relu)),
    "rate of dropout": (
        _dense(lambda: layers.Dropout(0.2)),
        _dense(lambda: layers.Dropout(0.7)),
    ),
    "rate of dropout set later": (_dense(lambda: layers.Dropout(0.2)), _dense(_changed_dropout)),
    "regularizer": (_dense(kernel_regularizer=L2(0.01)), _dense(kernel_regularizer=L2(0.5))),
    "regularizer of one's own": (
        _dense(kernel_regularizer=_own_regularizer(0.0)),
        _dense(kernel_regularizer=_own_regularizer(0.5)),
    ),
    "regularizer of a variable": (_dense(), _with("regularizer", L2(0.5), of="kernel")),
    "regularizer of a layer that its variable lacks": (
        _dense(kernel_regularizer=L2(0.5)),
        _with("kernel_regularizer", L2(0.5)),
    ),
    "regularizer of the activity": (
        _dense(activity_regularizer="l1"),
        _dense(activity_regularizer="l2"),
    ),
    "constraint": (_dense(), _dense(kernel_constraint="non_neg")),
    "constraint of a variable": (
        _dense(),
        _with("constraint", keras.constraints.NonNeg(), of="kernel"),
    ),
    "frozen layer": (RELU, _with("trainable", False, activation="relu")),
    "frozen variable": (RELU, _with("trainable", False, of="kernel", activation="relu")),
    "type to compute in": (_dense(dtype="float32"), _dense(dtype="mixed_bfloat16")),
    "attribute of a layer of one's own": (
        _dense(lambda: Times(1.0)),
        _dense(lambda: Times(3.0)),
    ),
    "method of one layer": (_instead_of_call(1.0), _instead_of_call(3.0)),
    "lambda": (
        _dense(lambda: layers.Lambda(_times(1.0))),
        _dense(lambda: layers.Lambda(_times(3.0))),
    ),
    "operation of one's own": (_operation(1.0), _operation(3.0)),
    "constant of an operation": (_scaled(1.0), _scaled(3.0)),
    "adapted normalisation": (_adapted(1.0), _adapted(5.0)),
    "order of a layer's inputs": (_difference(False), _difference(True)),
    "shared weights": (_tied(0), _tied(1)),
    "model within a model": (_nested("relu"), _nested("tanh")),
    "model of one's own": (_own_model(1.0), _own_model(3.0)),
    "slices of the same size": (_sliced(slice(0, 2)), _sliced(slice(1, 3))),
}


@pytest.mark.parametrize("difference", PAIRS)
def test_models_that_differ_have_their_own_numbers(difference: str, assert_apart) -> None:
    first, second = PAIRS[difference]
    assert_apart({"build": first}, {"build": second})


def test_masks_are_told_apart(assert_apart) -> None:
    assert_apart({"build": _words(True), "x": WORDS}, {"build": _words(False), "x": WORDS})


def test_vocabularies_are_told_apart(assert_apart) -> None:
    assert_apart(
        {"build": _looked_up(3, 5, 8), "x": CODES},
        {"build": _looked_up(8, 3, 5), "x": CODES},
    )


SAME: dict[str, tuple[Build, Build]] = {
    "the same twice": (RELU, RELU),
    "dropout": (_dense(lambda: layers.Dropout(0.2)), _dense(lambda: layers.Dropout(0.2))),
    "initial weights": (
        _dense(kernel_initializer=keras.initializers.HeNormal(seed=1)),
        _dense(kernel_initializer=keras.initializers.Zeros()),
    ),
    "names": (RELU, lambda: _sequential(layers.Dense(6, "relu", name="a"), layers.Dense(1))),
    "batch normalisation": (
        _dense(layers.BatchNormalization),
        _dense(layers.BatchNormalization),
    ),
    "attention": (
        _dense(lambda: keras.Sequential([layers.Reshape((3, 2)), _attention()])),
        _dense(lambda: keras.Sequential([layers.Reshape((3, 2)), _attention()])),
    ),
    "a model within a model": (_nested("relu"), _nested("relu")),
    "constants of operations": (_scaled(2.0), _scaled(2.0)),
    "slices": (_sliced(slice(1, 3)), _sliced(slice(1, 3))),
}


def _attention() -> keras.Model:
    x = keras.Input((3, 2))
    attended = layers.MultiHeadAttention(2, 3, dropout=0.1)(x, x)
    return keras.Model(x, layers.Flatten()(layers.LayerNormalization()(attended + x)))


@pytest.mark.parametrize("what", SAME)
def test_models_that_are_alike_share_their_graphs(what: str, traces_of_second) -> None:
    first, second = SAME[what]
    assert traces_of_second({"build": first}, {"build": second}) == 0


@pytest.mark.parametrize("cell", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_recurrent_models_that_are_alike_share_their_graphs(cell: Any, traces_of_second) -> None:
    def build() -> keras.Model:
        parts = (layers.Bidirectional(cell(3, dropout=0.2)), layers.Dense(1))
        return _sequential(*parts, shape=(4, 2))

    kind = {"build": build, "x": np.ones((24, 4, 2), "float32")}
    assert traces_of_second(kind, kind) == 0
