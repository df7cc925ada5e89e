"""Models share traced graphs when they are built alike, and never when they are not.

Every pair below differs in one thing that a graph holds. The second model is trained alone, and
again after the first: had it been given the first one's graph, its numbers would be the first's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from trainer import Trainer
from trainer.engine import graphs

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 6)).astype("float32")
Y = X[:, :1] - 2 * X[:, 1:2] ** 2
WORDS = RNG.integers(0, 9, (24, 5))
SEED = 3


@dataclass
class Kind:
    """One of a pair: how it is built, compiled and fed."""

    build: Callable[[], keras.Model]
    optimizer: Callable[[], Any] = lambda: keras.optimizers.SGD(0.01)
    loss: Any = "mse"
    metrics: Any = ()
    x: Any = None
    y: Any = None
    weight: Any = None
    fields: dict[str, Any] = field(default_factory=dict)


class _Kept(Trainer):
    kind: Any = None

    def build_model(self, spec: Any) -> keras.Model:
        return self.kind.build()

    def configure_optimizer(self) -> Any:
        return self.kind.optimizer()


def _train(kind: Kind) -> tuple[_Kept, list[Any]]:
    options = {"epochs": 2, "batch_size": 8, "random_state": SEED, "verbose": 0} | kind.fields
    x, y = (X if kind.x is None else kind.x), (Y if kind.y is None else kind.y)
    trainer = _Kept(kind=kind, loss=kind.loss, metrics=list(kind.metrics) or None, **options)
    trainer.fit(x, y, sample_weight=kind.weight)
    history = [{k: v for k, v in r.items() if k != "seconds"} for r in trainer.history_.records]
    return trainer, [*history, *trainer.model_.get_weights()]


def _equal(ours: list[Any], theirs: list[Any]) -> bool:
    return len(ours) == len(theirs) and all(
        a == b if isinstance(a, dict) else np.array_equal(a, b)
        for a, b in zip(ours, theirs, strict=True)
    )


def _sequential(*parts: Any, shape: tuple[int, ...] = (6,)) -> keras.Model:
    return keras.Sequential([keras.Input(shape), *parts])


def _dense(*, between: Any = None, units: int = 1, **options: Any) -> Callable[[], keras.Model]:
    def build() -> keras.Model:
        parts = [] if between is None else [between() if callable(between) else between]
        return _sequential(layers.Dense(6, **options), *parts, layers.Dense(units))

    return build


def _after(change: Callable[[Any], Any], **options: Any) -> Callable[[], keras.Model]:
    """A model that is changed once it is built."""

    def build() -> keras.Model:
        model = _dense(**options)()
        change(model.layers[0])
        return model

    return build


def _adapted(scale: float) -> Callable[[], keras.Model]:
    def build() -> keras.Model:
        layer = layers.Normalization()
        layer.adapt(scale * X)
        return _sequential(layer, layers.Dense(1))

    return build


def _named(first: str, second: str, **kwargs: Any) -> Callable[[], keras.Model]:
    return lambda: _sequential(
        layers.Dense(6, first, name=first, **kwargs), layers.Dense(1, second, name=second)
    )


def _subtract(swapped: bool) -> Callable[[], keras.Model]:
    def build() -> keras.Model:
        x = keras.Input((6,))
        parts = [layers.Dense(1, name="b")(x), layers.Dense(1, name="c")(x)]
        return keras.Model(x, layers.Subtract()(parts[::-1] if swapped else parts))

    return build


def _scaled(factor: float) -> Callable[[], keras.Model]:
    def activation(x: Any) -> Any:
        return factor * x

    return _dense(activation=activation)


def relu(x: Any) -> Any:
    """It bears the name of one of Keras' own, and is another one."""
    return keras.ops.relu(x) + 1.0


def _tied(which: int) -> Callable[[], keras.Model]:
    """Three layers without a bias, the last of which uses the kernel of another one."""

    def build() -> keras.Model:
        parts = [layers.Dense(6, use_bias=False, activation="tanh") for _ in range(3)]
        model = _sequential(*parts)
        third = parts[2]
        third._tracker.unlock()
        third._trainable_variables.clear()
        object.__setattr__(third, "_kernel", parts[which].kernel)
        return model

    return build


def _nested(inner: str) -> Callable[[], keras.Model]:
    """Models of the same names within a model; only the activation differs."""

    def build() -> keras.Model:
        def part(activation: str | None) -> keras.Model:
            return keras.Sequential(
                [keras.Input((6,)), layers.Dense(6, activation, name="d")], name="part"
            )

        x = keras.Input((6,))
        first = part(inner)(x)
        return keras.Model(x, layers.Dense(1, name="d")(first))

    return build


def _two(
    order: str = "ab", *, names: tuple[str, str] = ("p", "q"), as_dict: bool = False
) -> Callable[[], keras.Model]:
    """Two inputs and two outputs."""

    def build() -> keras.Model:
        inputs = {name: keras.Input((6,), name=name) for name in "ab"}
        first = layers.Dense(1, name=names[0])(inputs[order[0]])
        second = layers.Dense(1, "tanh", name=names[1])(inputs[order[1]])
        outputs = dict(zip(names, (first, second), strict=True)) if as_dict else [first, second]
        return keras.Model([inputs["a"], inputs["b"]], outputs)

    return build


def _own_layer(factor: float) -> Callable[[], keras.Model]:
    class Own(layers.Layer):
        def call(self, x: Any) -> Any:
            return factor * x

    return _dense(between=Own)


def _own_operation(factor: float) -> Callable[[], keras.Model]:
    class Own(keras.Operation):
        def call(self, x: Any) -> Any:
            return factor * x

        def compute_output_spec(self, x: Any) -> Any:
            return keras.KerasTensor(x.shape, x.dtype)

    def build() -> keras.Model:
        x = keras.Input((6,))
        return keras.Model(x, layers.Dense(1)(Own()(x)))

    return build


def _own_model(factor: float) -> Callable[[], keras.Model]:
    class Functional(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return factor * keras.ops.mean(keras.ops.square(y - y_pred))

    def build() -> keras.Model:
        x = keras.Input((6,))
        return Functional(x, layers.Dense(1)(x))

    return build


def _own_loss(factor: float) -> Callable[..., Any]:
    def loss(y: Any, predicted: Any) -> Any:
        return factor * keras.ops.mean(keras.ops.square(y - predicted), axis=-1)

    return loss


def _own_regularizer(factor: float) -> Any:
    class Own(keras.regularizers.Regularizer):
        def __call__(self, x: Any) -> Any:
            return factor * keras.ops.sum(keras.ops.square(x))

        def get_config(self) -> dict[str, Any]:
            return {}

    return Own()


def _own_schedule(rate: float) -> Callable[[], Any]:
    class Own(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> Any:
            return rate

        def get_config(self) -> dict[str, Any]:
            return {}

    return lambda: keras.optimizers.SGD(Own())


def _without_decay(*names: str) -> Callable[[], Any]:
    def make() -> Any:
        optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.5)
        optimizer.exclude_from_weight_decay(var_names=list(names))
        return optimizer

    return make


def _sgd(**options: Any) -> Callable[[], Any]:
    return lambda: keras.optimizers.SGD(0.01, **options)


def _instead(method: str, factor: float) -> Callable[[Any], None]:
    def change(layer: Any) -> None:
        own = getattr(layer, method)
        setattr(layer, method, lambda *a, **k: factor * own(*a, **k))

    return change


DENSE = _dense(activation="relu")
BOTH = {"x": {"a": X, "b": X[::-1].copy()}, "y": (Y, Y)}
AHEAD = keras.losses.SparseCategoricalCrossentropy
CLASSES = {"y": (Y[:, 0] > 0).astype("int32")}

PAIRS: dict[str, tuple[Kind, Kind]] = {
    # layers
    "activation": (Kind(_dense(activation="relu")), Kind(_dense(activation="tanh"))),
    "activation, its name that of the layer": (
        Kind(_named("relu", "linear")),
        Kind(_named("tanh", "linear")),
    ),
    "activation, set after building": (
        Kind(_dense(activation="relu")),
        Kind(_after(lambda d: setattr(d, "activation", keras.ops.tanh), activation="relu")),
    ),
    "activation of one's own": (Kind(_scaled(1.0)), Kind(_scaled(3.0))),
    "activation of the name of Keras' own": (
        Kind(_dense(activation="relu")),
        Kind(_dense(activation=relu)),
    ),
    "rate of dropout": (
        Kind(_dense(between=lambda: layers.Dropout(0.2))),
        Kind(_dense(between=lambda: layers.Dropout(0.7))),
    ),
    "rate of dropout, set after building": (
        Kind(_dense(between=lambda: layers.Dropout(0.2))),
        Kind(_dense(between=lambda: (d := layers.Dropout(0.2), setattr(d, "rate", 0.8))[0])),
    ),
    "regularizer": (
        Kind(_dense(kernel_regularizer=keras.regularizers.L2(0.01))),
        Kind(_dense(kernel_regularizer=keras.regularizers.L2(0.5))),
    ),
    "regularizer of one's own": (
        Kind(_dense(kernel_regularizer=_own_regularizer(0.0))),
        Kind(_dense(kernel_regularizer=_own_regularizer(0.5))),
    ),
    "regularizer of a variable": (
        Kind(DENSE),
        Kind(
            _after(
                lambda d: setattr(d.kernel, "regularizer", keras.regularizers.L2(0.5)),
                activation="relu",
            )
        ),
    ),
    "regularizer of a layer that its variable does not have": (
        Kind(_dense(kernel_regularizer=keras.regularizers.L2(0.5))),
        Kind(_after(lambda d: setattr(d, "kernel_regularizer", keras.regularizers.L2(0.5)))),
    ),
    "regularizer of the outputs": (
        Kind(_dense(activity_regularizer="l1")),
        Kind(_dense(activity_regularizer="l2")),
    ),
    "constraint": (Kind(_dense()), Kind(_dense(kernel_constraint="non_neg"))),
    "constraint of a variable": (
        Kind(DENSE),
        Kind(
            _after(
                lambda d: setattr(d.kernel, "constraint", keras.constraints.NonNeg()),
                activation="relu",
            )
        ),
    ),
    "frozen layer": (
        Kind(DENSE),
        Kind(_after(lambda d: setattr(d, "trainable", False), activation="relu")),
    ),
    "frozen variable": (
        Kind(DENSE),
        Kind(_after(lambda d: setattr(d.kernel, "trainable", False), activation="relu")),
    ),
    "type that a layer computes in": (
        Kind(_dense(dtype="float32")),
        Kind(_dense(dtype="mixed_bfloat16")),
    ),
    "casting of inputs": (
        Kind(_dense(between=lambda: layers.LayerNormalization()), fields={"jit": False}),
        Kind(_dense(between=lambda: layers.LayerNormalization(epsilon=1.0))),
    ),
    "layer of one's own": (Kind(_own_layer(1.0)), Kind(_own_layer(3.0))),
    "operation of one's own": (Kind(_own_operation(1.0)), Kind(_own_operation(3.0))),
    "constant of an operation": (
        Kind(lambda: (x := keras.Input((6,))) is not None and keras.Model(x, _line(x, 1.0))),
        Kind(lambda: (x := keras.Input((6,))) is not None and keras.Model(x, _line(x, 3.0))),
    ),
    "lambda": (
        Kind(_dense(between=lambda: layers.Lambda(_line_of(1.0)))),
        Kind(_dense(between=lambda: layers.Lambda(_line_of(3.0)))),
    ),
    "method of one layer": (
        Kind(_after(_instead("call", 1.0))),
        Kind(_after(_instead("call", 3.0))),
    ),
    "adapted normalisation": (Kind(_adapted(1.0)), Kind(_adapted(5.0))),
    "order of a layer's inputs": (Kind(_subtract(False)), Kind(_subtract(True))),
    "shared weights": (Kind(_tied(0)), Kind(_tied(1))),
    "model within a model": (Kind(_nested("relu")), Kind(_nested("tanh"))),
    "mask of an embedding": (
        Kind(lambda: _words(True), x=WORDS),
        Kind(lambda: _words(False), x=WORDS),
    ),
    # the model
    "loss of the model's own": (Kind(_own_model(1.0)), Kind(_own_model(3.0))),
    # optimizers
    "momentum": (Kind(DENSE, _sgd(momentum=0.5)), Kind(DENSE, _sgd(momentum=0.9))),
    "Nesterov": (Kind(DENSE, _sgd(momentum=0.9)), Kind(DENSE, _sgd(momentum=0.9, nesterov=True))),
    "clipping": (Kind(DENSE, _sgd(clipnorm=0.1)), Kind(DENSE, _sgd(clipnorm=0.01))),
    "accumulation": (
        Kind(DENSE, _sgd(gradient_accumulation_steps=2)),
        Kind(DENSE, _sgd(gradient_accumulation_steps=3)),
    ),
    "schedule": (
        Kind(DENSE, lambda: keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 9))),
        Kind(DENSE, lambda: keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 3))),
    ),
    "schedule of one's own": (Kind(DENSE, _own_schedule(0.001)), Kind(DENSE, _own_schedule(0.1))),
    "rate as a function": (
        Kind(DENSE, lambda: keras.optimizers.SGD(_line_of(0.0))),
        Kind(DENSE, lambda: keras.optimizers.SGD(lambda: 0.1)),
    ),
    "weights that do not decay": (
        Kind(_named("relu", "linear"), _without_decay()),
        Kind(_named("relu", "linear"), _without_decay("bias", "kernel")),
    ),
    # losses and metrics
    "delta of Huber's loss": (
        Kind(DENSE, loss=keras.losses.Huber(0.1)),
        Kind(DENSE, loss=keras.losses.Huber(5.0)),
    ),
    "smoothing of labels": (
        Kind(DENSE, loss=keras.losses.BinaryCrossentropy(True), **CLASSES),
        Kind(DENSE, loss=keras.losses.BinaryCrossentropy(True, 0.4), **CLASSES),
    ),
    "logits": (
        Kind(_dense(units=2), loss=AHEAD(from_logits=True), **CLASSES),
        Kind(_dense(units=2), loss=AHEAD(ignore_class=0, from_logits=True), **CLASSES),
    ),
    "loss of one's own": (Kind(DENSE, loss=_own_loss(1.0)), Kind(DENSE, loss=_own_loss(3.0))),
    "loss of one output only": (
        Kind(_two(), loss=["mse", None], **BOTH),
        Kind(_two(), loss=[None, "mse"], **BOTH),
    ),
    "loss by the name of an output": (
        Kind(_two(as_dict=True), loss={"p": "mse"}, x=BOTH["x"], y={"p": Y, "q": Y}),
        Kind(_two(as_dict=True), loss={"q": "mse"}, x=BOTH["x"], y={"p": Y, "q": Y}),
    ),
    "metric of one output only": (
        Kind(_two(), metrics=[["mae"], []], **BOTH),
        Kind(_two(), metrics=[[], ["mae"]], **BOTH),
    ),
    "threshold of a metric": (
        Kind(DENSE, metrics=[keras.metrics.BinaryAccuracy("m", threshold=0.1)], **CLASSES),
        Kind(DENSE, metrics=[keras.metrics.BinaryAccuracy("m", threshold=0.9)], **CLASSES),
    ),
    "name of a metric": (
        Kind(DENSE, metrics=[keras.metrics.MeanAbsoluteError("one")]),
        Kind(DENSE, metrics=[keras.metrics.MeanAbsoluteError("two")]),
    ),
    "function of a metric": (
        Kind(DENSE, metrics=[keras.metrics.MeanMetricWrapper(_own_loss(1.0), name="m")]),
        Kind(DENSE, metrics=[keras.metrics.MeanMetricWrapper(_own_loss(3.0), name="m")]),
    ),
    # data and fields
    "names of outputs": (Kind(_two(), **BOTH), Kind(_two(names=("r", "s")), **BOTH)),
    "input that an output is for": (Kind(_two("ab"), **BOTH), Kind(_two("ba"), **BOTH)),
    "order of normalised inputs": (
        Kind(_two(), x={"a": X, "b": 9 * X + 5}, y=(Y, Y), fields={"normalize": "standard"}),
        Kind(_two(), x={"b": X, "a": 9 * X + 5}, y=(Y, Y), fields={"normalize": "standard"}),
    ),
    "weights of rows": (Kind(DENSE), Kind(DENSE, weight=np.linspace(0, 1, 24))),
    "precision": (
        Kind(DENSE, fields={"precision": "float32"}),
        Kind(DENSE, fields={"precision": "mixed_bfloat16"}),
    ),
}


def _line_of(factor: float) -> Callable[..., Any]:
    return lambda x=1.0: factor * x


def _line(x: Any, factor: float) -> Any:
    return layers.Dense(1)(x * factor)


def _words(masked: bool) -> keras.Model:
    parts = (layers.Embedding(9, 4, mask_zero=masked), layers.GRU(4), layers.Dense(1))
    return _sequential(*parts, shape=(5,))


@pytest.mark.parametrize("difference", PAIRS)
def test_models_that_differ_share_no_graph(difference: str) -> None:
    first, second = PAIRS[difference]
    graphs._shared.clear()
    _, alone = _train(second)
    graphs._shared.clear()
    _, of_first = _train(first)
    _, after = _train(second)
    assert not _equal(alone, of_first), "the pair does not differ: the test would prove nothing"
    assert _equal(alone, after)
