"""Digests of values: what a description does not show is compared all the same."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import tensorflow as tf
from sklearn.metrics import make_scorer
from sklearn.model_selection import PredefinedSplit

from trainer.runs import code, values

LARGE = np.arange(2000, dtype="float32")
FACTOR = 0.5
SHIFT = np.zeros(3)
COUNT = 0


class Fields:
    """An estimator: its parameters are what it was given."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return self.fields


class Weighted:
    """An object that is called, as a loss is."""

    def __init__(self, weights: Any, power: float = 1.0) -> None:
        self.weights = weights
        self._power = power
        self.calls = 0

    def __call__(self, y: Any, p: Any) -> Any:
        self.calls += 1
        return y - p

    def method(self, y: Any, p: Any) -> Any:
        return self(y, p)


class OwnLoss(keras.losses.Loss):
    """A loss without a get_config of its own."""

    def __init__(self, alpha: float, name: str | None = None) -> None:
        super().__init__(name=name)
        self.alpha = alpha

    def call(self, y: Any, p: Any) -> Any:
        return self.alpha * (y - p)


class OwnMetric(keras.metrics.Mean):
    """A metric: its variables change during training."""

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha


class OwnSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule with a table."""

    def __init__(self, table: Any) -> None:
        self.table = table

    def __call__(self, step: Any) -> Any:
        return self.table[0]


class OwnOptimizer(keras.optimizers.SGD):
    """An optimizer with an argument of its own."""

    def __init__(self, beta: float) -> None:
        super().__init__(0.1)
        self.beta = beta


def closure(weights: Any) -> Callable[..., Any]:
    def loss(y: Any, p: Any) -> Any:
        return weights[0] * (y - p)

    return loss


def default(weights: Any) -> Callable[..., Any]:
    def loss(y: Any, p: Any, w: Any = weights) -> Any:
        return w[0] * (y - p)

    return loss


def plain(y: Any, p: Any, weights: Any = None) -> Any:
    return y - p


def scaled(y: Any) -> Any:
    return FACTOR * y + SHIFT


def counted(y: Any) -> Any:
    global COUNT
    COUNT += 1
    return y


def changed(array: np.ndarray) -> np.ndarray:
    """A copy with one number changed, which its repr does not show."""
    array = array.copy()
    array[1000] += 1e-3
    return array


HOLDERS: dict[str, Callable[[Any], Any]] = {
    "a field": lambda a: a,
    "a list": lambda a: ["mse", a],
    "a dict": lambda a: {"w": a},
    "a table": lambda a: pd.DataFrame({"a": a}),
    "a sparse matrix": lambda a: scipy.sparse.csr_matrix(a),
    "an object": Weighted,
    "an object in an object": lambda a: Weighted(Weighted(a)),
    "a bound method": lambda a: Weighted(a).method,
    "a closure": closure,
    "a closure over a tensor": lambda a: closure(tf.constant(a)),
    "a default": default,
    "a partial": lambda a: functools.partial(plain, weights=a),
    "a partial by position": lambda a: functools.partial(plain, a),
    "a partial of a closure": lambda a: functools.partial(closure(a), 1),
    "a graph function": lambda a: tf.function(closure(a)),
    "a Keras loss": OwnLoss,
    "a Keras metric": OwnMetric,
    "a Keras schedule": OwnSchedule,
    "a scorer": lambda a: make_scorer(plain, weights=a),
    "a splitter": lambda a: PredefinedSplit((a * 1000).astype(int)),
    "a plugin": lambda a: Fields(weights=a),
    "a class": lambda a: type("Holder", (), {"__module__": "__main__", "table": a}),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_changed_array_is_found_wherever_it_is_held(holder: str) -> None:
    made = HOLDERS[holder]
    first = values.of(Fields(loss=made(LARGE)))
    assert first == values.of(Fields(loss=made(LARGE.copy())))
    (said,) = code.changes(first, values.of(Fields(loss=made(changed(LARGE)))))
    assert said.startswith("the value of ") and said.endswith(" changed")


@pytest.mark.parametrize(
    "made",
    [
        lambda a: Weighted(None, a),
        OwnLoss,
        OwnMetric,
        OwnOptimizer,
        lambda a: functools.partial(plain, weights=a),
        lambda a: [Weighted([1, {"a": a}])],
    ],
)
def test_a_changed_number_is_found_in_what_an_object_was_made_with(
    made: Callable[[float], Any],
) -> None:
    first = values.of(Fields(loss=made(0.25)))
    assert first == values.of(Fields(loss=made(0.25)))
    assert code.changes(first, values.of(Fields(loss=made(0.5))))


class Shows(keras.callbacks.Callback):
    """A callback that reads a number of its module."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        print(epoch / FACTOR)


def test_a_number_of_the_module_that_a_callback_reads_may_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plugin = Fields(function=scaled)
    shown = keras.callbacks.LambdaCallback(on_epoch_end=scaled)
    fields = Fields(callbacks=[plugin, Shows(), shown])
    first = values.of(fields)
    monkeypatch.setitem(globals(), "FACTOR", 0.75)
    assert values.of(fields) == first


def test_the_message_names_the_attribute() -> None:
    first, now = (values.of(Fields(loss=Weighted(None, p))) for p in (1.0, 2.0))
    assert code.changes(first, now) == ["the value of loss._power changed"]


def test_a_number_of_the_module_that_a_function_reads_is_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = values.of(Fields(loss=scaled))
    monkeypatch.setitem(globals(), "FACTOR", 0.75)
    assert code.changes(first, values.of(Fields(loss=scaled))) == [
        "the value of loss.FACTOR changed"
    ]
    monkeypatch.undo()
    monkeypatch.setitem(globals(), "SHIFT", np.ones(3))
    assert code.changes(first, values.of(Fields(loss=scaled))) == [
        "the value of loss.SHIFT changed"
    ]


class OwnLayer(keras.layers.Layer):
    """A layer whose config is not whole."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def get_config(self) -> dict[str, Any]:
        return {}

    def call(self, x: Any) -> Any:
        return x * self.factor


def _scaling(factor: float) -> Callable[..., Any]:
    def activation(x: Any) -> Any:
        return x * factor

    return activation


def _model(layer: Any, optimizer: Any = "sgd", loss: Any = "mse") -> keras.Model:
    made = keras.Sequential([keras.Input((2,)), layer])
    made.compile(optimizer, loss)
    return made


MODELS: dict[str, Callable[[float], keras.Model]] = {
    "a layer": lambda a: _model(OwnLayer(a)),
    "a layer in a model in it": lambda a: _model(
        keras.Sequential([keras.Input((2,)), OwnLayer(a)])
    ),
    "an activation": lambda a: _model(keras.layers.Dense(1, activation=_scaling(a))),
    "a loss": lambda a: _model(keras.layers.Dense(1), loss=OwnLoss(a)),
    "an argument that Keras leaves out": lambda a: _model(
        keras.layers.Dense(1), loss=keras.losses.Huber(a)
    ),
    "a schedule": lambda a: _model(keras.layers.Dense(1), keras.optimizers.SGD(OwnSchedule(a))),
}


@pytest.mark.parametrize("held", MODELS)
def test_what_a_given_model_holds_of_the_users_own_is_compared(held: str) -> None:
    def recorded(number: float) -> dict[str, str]:
        fields = Fields(model=MODELS[held](number))
        return code.of(fields) | values.of(fields)

    first = recorded(0.25)
    assert code.changes(first, recorded(0.25)) == []
    (said,) = code.changes(first, recorded(0.5))
    assert said.endswith(" changed")


def test_what_training_changes_is_not_compared() -> None:
    loss, metric = Weighted(LARGE), OwnMetric(0.5)
    fields = Fields(loss=loss, metrics=[metric], optimizer=OwnOptimizer(0.5), metric=counted)
    first = values.of(fields)
    loss(1, 2)
    counted(1)
    metric.update_state([1.0, 3.0])
    fields.fields["optimizer"].build([keras.Variable([1.0])])
    fields.fields["optimizer"].iterations.assign(5)
    assert values.of(fields) == first
    fields.fields["metrics"] = [OwnMetric(0.5)]  # Keras gives it another name
    assert values.of(fields) == first


def test_plain_parameters_and_those_left_out_have_no_digest() -> None:
    fields = Fields(units=[8, 4], rate=0.1, model=keras.Sequential(), strategy=LARGE)
    assert values.of(fields, ["strategy"]) == {}


def _several() -> Fields:
    made = [Weighted(LARGE, {"a", "b", "c"}), closure(LARGE), OwnLoss(0.5)]
    return Fields(loss=made, metric=scaled)


def test_the_digests_are_the_same_in_another_process() -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import json, test_values as t\n"
        "print(json.dumps(t.values.of(t._several())))"
    )
    command = [sys.executable, "-c", script, str(Path(__file__).parent)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(said) == values.of(_several())


def test_a_value_that_was_not_recorded_is_not_compared() -> None:
    now = values.of(Fields(loss=Weighted(LARGE)))
    assert now and code.changes({}, now) == []
    assert code.changes(now, {}) != []
