"""Models share traced graphs when they are compiled and fed alike, and never when they are not.

As in test_twins, the second of each pair is trained alone, and again after the first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from trainer import Trainer
from trainer.engine.tensorflow import graphs

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 6)).astype("float32")
Y = X[:, :1] - 2 * X[:, 1:2] ** 2
LABELS = (Y[:, 0] > 0).astype("int32")

Kind = dict[str, Any]


def _dense(units: int = 1) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(6, "relu", name="hidden"),
            layers.Dense(units, name="out"),
        ]
    )


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


def _one(**options: Any) -> Kind:
    return {"build": _dense} | options


def _both(build: Callable[[], keras.Model], **options: Any) -> Kind:
    return {"build": build, "x": {"a": X, "b": X[::-1].copy()}, "y": (Y, Y)} | options


def _by_name(**options: Any) -> Kind:
    return _both(_two(as_dict=True), y={"p": Y, "q": Y}, **options)


def _sgd(**options: Any) -> Kind:
    return _one(optimizer=lambda: keras.optimizers.SGD(0.01, **options))


def _rate(rate: Any) -> Kind:
    return _one(optimizer=lambda: keras.optimizers.SGD(rate))


def _own_schedule(rate: float) -> Any:
    class Own(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> Any:
            return rate

        def get_config(self) -> dict[str, Any]:
            return {}

    return Own()


def _function(rate: float) -> Callable[[], float]:
    return lambda: rate


def _decay(*left_out: str) -> Kind:
    def make() -> Any:
        optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.5)
        optimizer.exclude_from_weight_decay(var_names=list(left_out))
        return optimizer

    return _one(optimizer=make)


def _error(factor: float) -> Callable[..., Any]:
    def error(y: Any, predicted: Any) -> Any:
        return factor * keras.ops.mean(keras.ops.square(y - predicted), axis=-1)

    return error


def _classes(loss: Any) -> Kind:
    return {"build": lambda: _dense(2), "loss": loss, "y": LABELS}


def _wrapped(factor: float) -> Any:
    return keras.metrics.MeanMetricWrapper(_error(factor), name="m")


CosineDecay = keras.optimizers.schedules.CosineDecay
Crossentropy = keras.losses.CategoricalCrossentropy
Sparse = keras.losses.SparseCategoricalCrossentropy
ONE_HOT = np.eye(2, dtype="float32")[LABELS]

PAIRS: dict[str, tuple[Kind, Kind]] = {
    # optimizers
    "optimizer": (_sgd(), _one(optimizer=keras.optimizers.Adam)),
    "momentum": (_sgd(momentum=0.5), _sgd(momentum=0.9)),
    "Nesterov": (_sgd(momentum=0.9), _sgd(momentum=0.9, nesterov=True)),
    "clipping": (_sgd(clipnorm=0.1), _sgd(clipnorm=0.01)),
    "accumulation": (_sgd(gradient_accumulation_steps=2), _sgd(gradient_accumulation_steps=3)),
    "schedule": (_rate(CosineDecay(0.1, 9)), _rate(CosineDecay(0.1, 3))),
    "schedule of one's own": (_rate(_own_schedule(0.001)), _rate(_own_schedule(0.1))),
    "rate as a function": (_rate(_function(0.001)), _rate(_function(0.1))),
    "weights that do not decay": (_decay("bias"), _decay("kernel")),
    # losses and metrics
    "delta of Huber's loss": (
        _one(loss=keras.losses.Huber(0.1)),
        _one(loss=keras.losses.Huber(5.0)),
    ),
    "smoothing of labels": (
        _classes(Crossentropy(True)) | {"y": ONE_HOT},
        _classes(Crossentropy(True, 0.4)) | {"y": ONE_HOT},
    ),
    "ignored class": (_classes(Sparse(0, True)), _classes(Sparse(1, True))),
    "reduction": (
        _one(loss=keras.losses.MeanSquaredError()),
        _one(loss=keras.losses.MeanSquaredError(reduction="sum")),
    ),
    "loss of one's own": (_one(loss=_error(1.0)), _one(loss=_error(3.0))),
    "loss of one output only": (
        _both(_two(), loss=["mse", None]),
        _both(_two(), loss=[None, "mse"]),
    ),
    "loss by the name of an output": (_by_name(loss={"p": "mse"}), _by_name(loss={"q": "mse"})),
    "metric of one output only": (
        _both(_two(), metrics=[["mae"], []]),
        _both(_two(), metrics=[[], ["mae"]]),
    ),
    "threshold of a metric": (
        _one(metrics=[keras.metrics.BinaryAccuracy("m", threshold=0.1)], y=LABELS),
        _one(metrics=[keras.metrics.BinaryAccuracy("m", threshold=0.9)], y=LABELS),
    ),
    "name of a metric": (
        _one(metrics=[keras.metrics.MeanAbsoluteError("one")]),
        _one(metrics=[keras.metrics.MeanAbsoluteError("two")]),
    ),
    "function of a metric": (_one(metrics=[_wrapped(1.0)]), _one(metrics=[_wrapped(3.0)])),
    "axis of a metric": (
        _one(metrics=[keras.metrics.CosineSimilarity("m", axis=0)]),
        _one(metrics=[keras.metrics.CosineSimilarity("m", axis=1)]),
    ),
    # data and fields
    "names of outputs": (_both(_two()), _both(_two(names=("r", "s")))),
    "input that an output is for": (_both(_two("ab")), _both(_two("ba"))),
    "order of normalised inputs": (
        _both(_two(), x={"a": X, "b": 9 * X + 5}, fields={"normalize": "standard"}),
        _both(_two(), x={"b": X, "a": 9 * X + 5}, fields={"normalize": "standard"}),
    ),
    "weights of rows": (_one(), _one(weight=np.linspace(0, 1, 24))),
    "precision": (
        _one(fields={"precision": "float32"}),
        _one(fields={"precision": "mixed_bfloat16"}),
    ),
    "XLA": (
        _one(fields={"jit": False}) | _sgd(momentum=0.5),
        _one(fields={"jit": True}) | _sgd(momentum=0.6),
    ),
}


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize("difference", PAIRS)
def test_what_is_compiled_or_fed_otherwise_has_its_own_numbers(
    difference: str, assert_apart
) -> None:
    assert_apart(*PAIRS[difference])


SAME: dict[str, tuple[Kind, Kind]] = {
    "rate": (_rate(0.01), _rate(0.5)),
    "schedule": (_rate(CosineDecay(0.1, 9)), _rate(CosineDecay(0.1, 9))),
    "moving average": (_sgd(use_ema=True), _sgd(use_ema=True)),
    "metrics": tuple(
        _one(metrics=[keras.metrics.AUC(name="auc"), keras.metrics.R2Score()], y=LABELS[:, None])
        for _ in range(2)
    ),
    "epochs, batches and seeds": (
        _one(),
        _one(fields={"epochs": 3, "batch_size": 5, "random_state": 9}),
    ),
    "several outputs": (_both(_two()), _both(_two())),
}


@pytest.mark.parametrize("what", SAME)
def test_what_is_compiled_and_fed_alike_shares_its_graphs(what: str, traces_of_second) -> None:
    assert traces_of_second(*SAME[what]) == 0


class _OwnLoss(Trainer):
    loss = None
    factor: float = 1.0

    def build_model(self, spec: Any) -> keras.Model:
        return _dense()

    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
        return self.factor * keras.ops.mean(keras.ops.square(y - y_pred))


def test_compute_loss_of_a_trainer_is_its_own() -> None:
    def losses(factor: float) -> list[float]:
        trainer = _OwnLoss(factor=factor, epochs=2, random_state=0, verbose=0).fit(X, Y)
        return trainer.history_["loss"]

    graphs.forget()
    alone = losses(3.0)
    graphs.forget()
    assert losses(1.0) != alone
    assert losses(3.0) == alone
