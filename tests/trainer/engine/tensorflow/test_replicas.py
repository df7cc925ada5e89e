"""replicas: a step on a strategy with one device is that of no strategy, and Keras is left whole.

What several replicas compute is shown by tests/integration/test_mirrored.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.losses import loss as losses
from keras.src.metrics.reduction_metrics import Mean
from keras.src.optimizers.base_optimizer import BaseOptimizer
from keras.src.random.seed_generator import SeedGenerator

from trainer.engine.tensorflow import variables
from trainer.engine.tensorflow.replicas import Replicas
from trainer.engine.tensorflow.strategy import Distribution

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 3)).astype("float32")
Y = X[:, :1] * 2
ROWS = np.array([4, 0, 2], np.int32)
Run = Callable[..., Any]


class WithoutApply(keras.Sequential):
    """Trains in a way that replicas cannot add up."""

    def train_step(self, data: Any) -> Any:
        weight = self.trainable_weights[0]
        weight.assign(weight * 0.5)
        return {"loss": tf.reduce_mean(weight)}


class Logging(keras.Sequential):
    """Logs a number of its own beside the metrics."""

    def train_step(self, data: Any) -> Any:
        return {**super().train_step(data), "rows": tf.shape(data[0])[0]}


def made(kind: type = keras.Sequential) -> Any:
    keras.utils.set_random_seed(3)
    core = kind(
        [
            keras.Input((3,)),
            keras.layers.BatchNormalization(),
            *([] if kind is not keras.Sequential else [keras.layers.Dropout(0.5, seed=7)]),
            keras.layers.Dense(1),
        ]
    )
    core.compile(keras.optimizers.SGD(0.1, clipnorm=0.1), "mse", metrics=["mae"])
    core.optimizer.build(core.trainable_variables)
    core._symbolic_build(data_batch=(X, Y))
    return core


@pytest.fixture
def run() -> Iterator[Run]:
    """Runs one step of a model on the replicas of a strategy with one device; gives its logs."""
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])

    def one(
        core: Any, data: Any, rows: Any = None, *, phase: str = "train", few: bool = False
    ) -> Any:
        distribution = Distribution(strategy)
        replicas = Replicas(distribution, core)
        assert replicas.count == 1
        with distribution.holding(variables.listed(core), [core.optimizer]), replicas.scope():
            step = replicas.step(phase, getattr(core, f"{phase}_step"), few=few)
            returned = tf.function(step, autograph=False)((data, rows, None))
            return {k: np.asarray(v) for k, v in replicas.logs(phase, returned).items()}

    yield one


@pytest.mark.parametrize(("rows", "few"), [(None, False), (ROWS, True)])
def test_one_replica_takes_the_step_of_one_device(run: Run, rows: Any, few: bool) -> None:
    data = tuple(tf.constant(a) for a in (X, Y))
    core, plain = made(), made()
    logs = run(core, data, None if rows is None else tf.constant(rows), few=few)
    picked = data if rows is None else tuple(tf.gather(a, rows) for a in data)
    expected = tf.function(plain.train_step, autograph=False)(picked)
    assert logs.keys() == expected.keys() == {"loss", "mae"}
    for name, value in expected.items():
        np.testing.assert_allclose(logs[name], value, rtol=1e-5)
    for ours, theirs in zip(core.variables, plain.variables, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6, err_msg=ours.path)


def test_a_step_that_calls_no_optimizer_is_refused_with_what_to_call(run: Run) -> None:
    with pytest.raises(ValueError, match=r"strategy: train_step of WithoutApply .*strategy=None"):
        run(made(WithoutApply), (tf.constant(X), tf.constant(Y)))


def test_what_a_step_logs_of_its_own_stays_among_the_logs_in_order(run: Run) -> None:
    logs = run(made(Logging), (tf.constant(X), tf.constant(Y)))
    assert list(logs) == ["loss", "mae", "rows"] and logs["rows"] == 6


def test_keras_is_as_before_after_a_step_and_after_one_that_fails(run: Run) -> None:
    def parts() -> list[Any]:
        found = [losses.scale_loss_for_distribution, Mean.update_state, SeedGenerator.next]
        return [*found, BaseOptimizer.apply, vars(keras.optimizers.Optimizer).get("apply")]

    before = parts()
    data = (tf.constant(X), tf.constant(Y))
    core = made()
    held = [v._value for v in core.variables]
    run(core, data, phase="test")
    assert parts() == before
    assert all(v._value is value for v, value in zip(core.variables, held, strict=True))
    assert core.layers[0].synchronized is False
    with pytest.raises(ValueError):
        run(made(WithoutApply), data)
    assert parts() == before
