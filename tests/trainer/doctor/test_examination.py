"""examination: numbers of a training, measured on its sample, that leave the network as it was."""

import dataclasses
import math
from typing import Any

import keras
import numpy as np
import pytest

from trainer import Regressor
from trainer.doctor.examination import Examination
from trainer.history import History

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype("float32")
Y = X @ np.array([1.0, -2.0, 0.5], "float32")
FIELDS: dict[str, Any] = {"normalize": None, "batch_size": 16, "random_state": 0, "verbose": 0}


class Linear(Regressor):
    def build_model(self, spec: Any) -> keras.Model:
        layers = [keras.layers.Dense(2, name="one"), keras.layers.Dense(1, name="two")]
        return keras.Sequential([keras.Input(spec.input_shape), *layers])


@pytest.fixture(scope="module")
def fitted():
    """The one fit of this file."""
    return Linear(epochs=2, learning_rate=0.01, loss="mse", **FIELDS).fit(
        X, Y, validation_data=(X[:10], Y[:10])
    )


def examined(fitted, **evidence):
    """A new examination, with some of the evidence replaced."""
    training = fitted._training()
    return Examination(training, dataclasses.replace(training.network.evidence, **evidence))


def without_targets(fitted):
    train = fitted._network.evidence.train
    return examined(fitted, train=dataclasses.replace(train, y=None), valid=None)


def test_skill_is_that_of_the_predictions_on_the_sample(fitted):
    case = examined(fitted)
    (result,) = case.results.values()
    error = np.mean((fitted.predict(X) - Y) ** 2)
    assert result.skill == pytest.approx(1 - error / Y.var(), rel=1e-4)
    assert case.skill == result.skill and not case.broken
    (valid,) = case.valid_results.values()
    assert valid.skill != result.skill
    unknown = without_targets(fitted)
    assert unknown.results == unknown.valid_results == {} and unknown.skill is None


def test_steps_count_the_last_batch_of_every_epoch_and_are_unknown_for_a_stream(fitted):
    assert examined(fitted).steps == 2 * 3 == int(fitted.model_.optimizer.iterations)
    train = dataclasses.replace(fitted._network.evidence.train, rows=None)
    assert examined(fitted, train=train).steps is None


def test_a_loss_that_is_not_logged_is_no_fault_and_one_that_is_not_finite_is(fitted):
    case = examined(fitted)
    case.history = History()
    assert case.losses == [] and not case.broken
    case.history.append(1, {"other": 1.0}, learning_rate=0.1, seconds=1.0)
    assert case.losses == [0.0] and not case.broken
    case.history.append(2, {"loss": math.nan}, learning_rate=0.1, seconds=1.0)
    assert case.broken


def test_the_loss_of_a_constant_is_that_of_the_mean_unless_rows_have_weights(fitted):
    assert examined(fitted).constant_loss == pytest.approx(Y.var(), rel=1e-5)
    assert examined(fitted, weighted=True).constant_loss is None
    assert without_targets(fitted).constant_loss is None


def test_layers_are_seen_now_and_as_they_were_before_the_first_step(fitted):
    case = examined(fitted)
    assert case.chain
    for layers in (case.layers, case.layers_at_start):
        assert [stats.layer.name for stats in layers] == ["one", "two"]
    now, start = (
        np.asarray(core.get_layer("one").kernel) for core in (fitted.model_, case.at_start.core)
    )
    assert not np.array_equal(now, start)
    untrained = Linear(loss="mse", **FIELDS).initialize(X, Y)
    np.testing.assert_array_equal(start, untrained.model_.get_layer("one").kernel)


def test_the_gradients_at_the_start_are_those_of_the_loss(fitted):
    case = examined(fitted)
    one, two = (np.asarray(layer.kernel, "float64") for layer in case.at_start.core.layers)
    error = (X @ one @ two)[:, 0] - Y
    of_two = 2 * (X @ one).T @ error / len(X)
    of_one = 2 * X.T @ (error[:, None] * two.T) / len(X)
    expected = math.sqrt(np.mean(of_one**2) / np.mean(of_two**2))
    assert case.flow == pytest.approx(expected, rel=1e-3)


def test_other_rates_are_tried_from_the_start_and_nothing_is_left_of_it(fitted):
    case = examined(fitted)
    trained = [np.asarray(v).copy() for v in fitted._network.core.variables]
    start = [np.asarray(v).copy() for v in case.at_start.core.weights]
    tried = case.trials
    assert next(iter(tried)) == pytest.approx(0.01)
    assert max(tried.values()) > 0.5, "a linear function is learned in 50 steps at some rate"
    assert case.fall == pytest.approx(
        1 - fitted.evaluate(X, Y)["loss"] / case.loss_at_start, rel=1e-3
    )
    for before, core in (
        (trained, fitted._network.core.variables),
        (start, case.at_start.core.weights),
    ):
        for value, variable in zip(before, core, strict=True):
            np.testing.assert_array_equal(value, variable)
