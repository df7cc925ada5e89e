"""NaNGuard: a training that breaks down stops, with its last good state and the reason."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer import Regressor, Trainer
from trainer.callbacks import NaNGuard, nan_guard

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 4)).astype("float32")
Y = X[:, 0] - X[:, 1] ** 2


class Small(Regressor):
    epochs = 6
    batch_size = 8
    optimizer = "adam"
    learning_rate = 0.05
    shuffle = False
    metrics = ()
    random_state = 0
    verbose = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input(spec.input_shape),
                keras.layers.Dense(5, "relu", name="hidden"),
                keras.layers.Dropout(0.2),
                keras.layers.Dense(1, name="head"),
            ]
        )


def wild(epoch: int) -> float:
    """A learning rate that is too high from the third epoch on."""
    return 0.05 if epoch < 2 else 1e20


WILD = keras.callbacks.LearningRateScheduler(wild)


class Poisoned(keras.callbacks.Callback):
    """Makes a weight not finite when an epoch ends."""

    def __init__(self, epoch: int, weight: int) -> None:
        super().__init__()
        self.epoch, self.weight = epoch, weight

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.epoch:
            weight = self.model.weights[self.weight]
            weight.assign(np.full(weight.shape, np.inf, "float32"))


class Root(keras.layers.Layer):
    """A layer that gives what is no number for what is negative."""

    def call(self, x: Any) -> Any:
        return keras.ops.sqrt(x)


def numbers(trainer: Any) -> list[np.ndarray]:
    variables = [*trainer.model_.weights, *trainer.model_.optimizer.variables]
    return [np.array(v) for v in variables]


def assert_same(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_loss_that_explodes_ends_the_training_with_the_last_good_state() -> None:
    guard = NaNGuard()
    with pytest.warns(UserWarning, match="nan_guard: loss .* is not finite in epoch 3"):
        fitted = Small(callbacks=(guard, WILD)).fit(X, Y)
    assert (guard.failure.epoch, guard.failure.place) == (3, "weights")
    assert guard.failure.layer == "hidden"
    assert guard.failure.log == "loss" and not math.isfinite(guard.failure.value)
    assert len(fitted.history_) == 3
    assert not math.isfinite(fitted.history_["loss"][-1])
    # the state of the training as it was at the end of the epoch before
    assert_same(numbers(fitted), numbers(Small(epochs=2).fit(X, Y)))


def test_it_is_noticed_within_the_epoch(short_dispatches: None) -> None:
    y = Y.copy()
    y[16:24] = 1e38  # the third batch; its square is infinite
    guard = NaNGuard()
    with pytest.warns(UserWarning, match="epoch 1, noticed after step 4"):
        fitted = Small(callbacks=(guard,)).fit(X, y)
    assert guard.failure.step == 4
    assert guard.failure.epoch == 1
    assert int(fitted.model_.optimizer.iterations) == 0


@pytest.mark.parametrize(("weight", "layer"), [(0, "hidden"), (1, "hidden"), (2, "head")])
def test_the_layer_whose_weights_are_not_finite_is_named(weight: int, layer: str) -> None:
    guard = NaNGuard()
    with pytest.warns(UserWarning, match=f"weights are not finite in epoch 2.*{layer}"):
        fitted = Small(callbacks=(Poisoned(1, weight), guard)).fit(X, Y)
    assert guard.failure.layer.endswith(layer)
    assert guard.failure.log is None
    assert guard.failure.place == "weights"
    assert_same(numbers(fitted), numbers(Small(epochs=1).fit(X, Y)))


class Rooted(Small):
    def build_model(self, spec: Any) -> keras.Model:
        inner = keras.Sequential([keras.layers.Dense(3, name="inside"), Root(name="root")])
        return keras.Sequential([keras.Input(spec.input_shape), inner, keras.layers.Dense(1)])


class Own(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.root, self.head = keras.layers.Dense(3), Root(), keras.layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.head(self.root(self.first(x)))


class Subclassed(Small):
    normalize = "standard"

    def build_model(self, spec: Any) -> keras.Model:
        return Own()


@pytest.mark.parametrize("kind", [Rooted, Subclassed])
def test_the_layer_whose_outputs_are_not_finite_is_named(kind: Any) -> None:
    guard = NaNGuard()
    with pytest.warns(UserWarning, match="outputs of layer '.*root' .* not finite"):
        fitted = kind(callbacks=(guard,)).fit(X, Y)
    assert guard.failure.place == "outputs"
    assert guard.failure.layer.endswith("root")
    assert all(np.isfinite(w).all() for w in numbers(fitted))
    assert "call" not in vars(fitted.model_.layers[-1])


class Linear(Trainer):
    loss = "mse"
    optimizer = "sgd"
    shuffle = False
    random_state = 0
    verbose = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(1)])


@pytest.mark.parametrize("part", ["x", "sample_weight"])
def test_data_that_are_not_finite_are_named(part: str) -> None:
    # a stream is not looked through before training, as arrays are
    batch = {"x": X.copy(), "y": Y.copy(), "sample_weight": np.ones(len(X), "float32")}
    batch[part][3] = np.inf
    guard = NaNGuard()
    with pytest.warns(UserWarning, match=f": {part} of the first batch is not finite"):
        Linear(callbacks=(guard,)).fit(
            tf.data.Dataset.from_tensor_slices(tuple(batch.values())).batch(8)
        )
    assert (guard.failure.place, guard.failure.layer) == (part, None)


def test_a_loss_that_is_not_finite_by_itself_is_named() -> None:
    guard = NaNGuard()
    with pytest.warns(UserWarning, match="outputs are finite but the loss is not"):
        Small(callbacks=(guard,)).fit(X, np.full_like(Y, 3e38))
    assert guard.failure.place == "loss"


class OnlyAStep(keras.Model):
    """Cannot be called: a training step is all that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.head = keras.layers.Dense(1, name="head")

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with tf.GradientTape() as tape:
            loss = keras.ops.mean((self.head(x)[:, 0] - y) ** 2)
        weights = self.head.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return {"loss": loss}


class Steps(Linear):
    loss = None
    batch_size = 8

    def build_model(self, spec: Any) -> keras.Model:
        return OnlyAStep()


@pytest.mark.parametrize("scale", [1e4, 1e9])
def test_a_model_that_makes_its_weights_in_a_step_goes_back_to_those_it_began_with(
    short_dispatches: None, scale: float
) -> None:
    guard = NaNGuard()
    with pytest.warns(UserWarning, match="nan_guard: loss .* the model was reset"):
        fitted = Steps(callbacks=(guard,), epochs=3).fit(scale * X, Y)
    assert len(fitted.history_) == 1
    still = Steps(epochs=1, optimizer=keras.optimizers.SGD(0.0)).fit(X, Y)
    for found, started in zip(fitted.model_.get_weights(), still.model_.get_weights(), strict=True):
        assert np.array_equal(found, started)


def test_validation_loss_can_be_watched() -> None:
    guard = NaNGuard(monitor="val_loss")
    valid = (X, np.full_like(Y, 3e38))
    with pytest.warns(UserWarning, match="nan_guard: val_loss inf is not finite in epoch 1"):
        fitted = Small(callbacks=(guard,)).fit(X, Y, validation_data=valid)
    assert guard.failure.log == "val_loss"
    assert len(fitted.history_) == 1


def test_a_healthy_training_is_left_alone() -> None:
    guard = NaNGuard()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        guarded = Small(callbacks=(guard,)).fit(X, Y)
    assert guard.failure is None
    assert_same(numbers(guarded), numbers(Small().fit(X, Y)))


def test_a_second_fit_of_the_same_object_begins_anew() -> None:
    guard = NaNGuard()
    with pytest.warns(UserWarning, match="nan_guard"):
        Small(callbacks=(guard, WILD)).fit(X, Y)
    fitted = Small(callbacks=(guard,)).fit(X, Y)
    assert guard.failure is None
    assert len(fitted.history_) == 6


@pytest.mark.parametrize("spec", ["nan_guard", {"name": "nan_guard", "monitor": "loss"}])
def test_it_is_found_by_name(spec: Any) -> None:
    with pytest.warns(UserWarning, match="nan_guard: loss"):
        fitted = Small(callbacks=(spec, WILD)).fit(X, Y)
    assert len(fitted.history_) == 3


@pytest.mark.parametrize("at", [[(0, 4)], [(1, 0)], [(1, 2), (1, 4)], [(2, 0)]])
@pytest.mark.filterwarnings("ignore:nan_guard")
def test_an_interrupted_run_goes_back_to_the_same_state(
    interrupted_run: Callable[..., Any], at: list[tuple[int, int]]
) -> None:
    guards: list[NaNGuard] = []

    def make(run_dir: str) -> Small:
        guards.append(NaNGuard())
        broken = Poisoned(2, 0)
        return Small(callbacks=(broken, guards[-1]), run_dir=run_dir)

    whole, resumed = interrupted_run(make, X, Y, at=at)
    assert guards[0].failure is not None
    assert guards[0].failure == guards[-1].failure
    assert len(resumed.history_) == len(whole.history_) == 3
    assert all(np.isfinite(w).all() for w in numbers(resumed))


@pytest.mark.filterwarnings("ignore:nan_guard")
def test_a_run_interrupted_before_the_loss_breaks_down_within_an_epoch_goes_back_as_far(
    interrupted_run: Callable[..., Any], tmp_path: Path
) -> None:
    y = Y.copy()
    y[40:] = 1e38  # the last batch of the first epoch

    def make(run_dir: str) -> Small:
        return Small(callbacks=("nan_guard",), run_dir=run_dir)

    _, resumed = interrupted_run(make, X, y, at=[(0, 2), (0, 4)])
    assert int(resumed.model_.optimizer.iterations) == 0


@pytest.mark.parametrize(
    ("monitor", "message"),
    [
        ("los", "monitor='los': there will be no such log; did you mean 'loss'"),
        ("val_loss", "monitor='val_loss': there are no validation data"),
        (None, "monitor=None: must be the name of a log"),
        (1, "monitor=1: must be the name of a log"),
    ],
)
def test_a_bad_monitor_is_named_before_training(monitor: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Small(callbacks=(NaNGuard(monitor=monitor),)).fit(X, Y)


@pytest.mark.parametrize(
    ("value", "finite"),
    [
        (np.array([1.0, np.nan], "float32"), False),
        (np.float64("inf"), False),
        (float("nan"), False),
        (np.array([1.0, 2.0]), True),
        (tf.constant([1.0, np.inf]), False),
        (tf.constant([1.0, np.nan], tf.bfloat16), False),
        (tf.SparseTensor([[0, 0]], [np.nan], [2, 2]), False),
        (tf.ragged.constant([[1.0], [2.0, np.nan]]), False),
        (tf.ragged.constant([[1.0], [2.0, 3.0]]), True),
        (tf.constant(["nan"]), True),
        (np.array(["nan"], object), True),
        (np.array([1, 2]), True),
        ("nan", True),
        (None, True),
    ],
)
def test_numbers_of_any_library_are_looked_at(value: Any, finite: bool) -> None:
    assert nan_guard.is_finite(value) is finite
