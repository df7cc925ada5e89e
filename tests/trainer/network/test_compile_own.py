"""Losses and metrics of the user's own classes, which Keras makes no config of."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from trainer import Regressor
from trainer.network import compile

X = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
Y = X[:, 0]


def power_of_error(y: Any, predicted: Any, power: float = 2.0) -> Any:
    return keras.ops.mean(keras.ops.abs(y - predicted) ** power, -1)


class Power(keras.losses.Loss):
    """A loss whose config leaves out its argument, as Keras' Loss writes it."""

    def __init__(self, power: float = 2.0, **others: Any) -> None:
        super().__init__(**others)
        self.power = power

    def call(self, y: Any, predicted: Any) -> Any:
        return power_of_error(y, predicted, self.power)


class MeanPower(keras.metrics.Mean):
    """A metric whose constructor takes an argument, and no name."""

    def __init__(self, power: float) -> None:
        super().__init__(name="mean_power")
        self.power = power

    def update_state(self, y: Any, predicted: Any, sample_weight: Any = None) -> Any:
        return super().update_state(power_of_error(y, predicted, self.power), sample_weight)


class Wrapped(keras.metrics.MeanMetricWrapper):
    """A metric of a function and its argument."""

    def __init__(self, power: float) -> None:
        super().__init__(power_of_error, name="wrapped", power=power)


class Holder(keras.metrics.Metric):
    """A metric that holds another one."""

    def __init__(self, power: float) -> None:
        super().__init__(name="holder")
        self.inner = MeanPower(power)

    def update_state(self, y: Any, predicted: Any, sample_weight: Any = None) -> None:
        self.inner.update_state(y, predicted, sample_weight)

    def result(self) -> Any:
        return self.inner.result()

    def reset_state(self) -> None:
        self.inner.reset_state()


FIELDS = {
    "a loss": lambda: {"loss": Power(3.0)},
    "a metric": lambda: {"metrics": [MeanPower(3.0)]},
    "a metric of a function": lambda: {"metrics": [Wrapped(3.0)]},
    "a metric in a metric": lambda: {"weighted_metrics": [Holder(3.0)]},
    "a metric of Keras with a function": lambda: {
        "metrics": [keras.metrics.MeanMetricWrapper(power_of_error, power=3.0)]
    },
}


@pytest.mark.parametrize("own", FIELDS)
def test_a_trainer_with_it_trains_alike_when_cloned_and_pickled(own: str) -> None:
    made = Regressor(epochs=1, batch_size=16, verbose=0, random_state=0, **FIELDS[own]())
    copies = [clone(made), pickle.loads(pickle.dumps(made)), made]
    found = [copy.fit(X, Y).history_.history for copy in copies]
    assert found[0] == found[1] == found[2]
    again = pickle.loads(pickle.dumps(made))
    assert again.evaluate(X, Y) == made.evaluate(X, Y)


def test_scikit_learn_validates_a_trainer_with_a_loss_and_a_metric_of_ones_own() -> None:
    made = Regressor(epochs=1, verbose=0, loss=Power(3.0), metrics=[MeanPower(3.0)])
    assert np.isfinite(cross_val_score(made, X, Y, cv=2, error_score="raise")).all()


@pytest.mark.parametrize(
    "metric", [keras.metrics.MeanSquaredError(), Holder(2.0)], ids=["of Keras", "with another"]
)
def test_a_copied_metric_starts_afresh_and_the_given_one_keeps_its_state(metric: Any) -> None:
    metric.update_state(np.ones((4, 1)), np.zeros((4, 1)))
    (made,) = compile.metrics([metric])
    assert float(made.result()) == 0.0
    assert float(metric.result()) == 1.0


def test_a_pickled_metric_keeps_its_variables() -> None:
    metric = Holder(2.0)
    metric.update_state(np.ones((4, 1)), np.zeros((4, 1)))
    made = pickle.loads(pickle.dumps(Regressor(metrics=[metric]))).metrics[0]
    assert float(made.result()) == float(metric.result()) == 1.0
    assert [v.name for v in made.variables] == [v.name for v in metric.variables]


def test_a_shallow_copy_has_the_same_optimizer_loss_metrics_and_model() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    given = Regressor(
        model=model,
        optimizer=keras.optimizers.Adam(0.1),
        loss=Power(3.0),
        metrics=[MeanPower(3.0), "mae"],
    )
    found = copy.copy(given)
    assert found.model is model and found.optimizer is given.optimizer
    assert found.loss is given.loss and found.metrics == given.metrics
    deep = copy.deepcopy(given)
    assert isinstance(deep.model, keras.Sequential) and deep.loss.power == 3.0
