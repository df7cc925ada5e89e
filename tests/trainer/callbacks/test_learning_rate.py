"""LearningRate: the rate of every step, however steps run, and what others do to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.optimizers import schedules
from sklearn.base import clone

from trainer import Regressor
from trainer.callbacks import LearningRate
from trainer.callbacks.learning_rate import shares
from trainer.engine.tensorflow import graphs

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype("float32")
Y = (X @ np.float32([[1.0], [-2.0], [0.5]])).astype("float32")
STEPS = 5  # an epoch


class Linear(Regressor):
    epochs = 3
    batch_size = 8
    optimizer = "sgd"
    learning_rate = 0.1
    random_state = 1
    verbose = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(1)])


class Rates(keras.callbacks.Callback):
    """The rate of every step; it sees each batch."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.seen: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen.append(float(np.asarray(self.model.optimizer.learning_rate)))


class Lower(keras.callbacks.Callback):
    """Changes the rate at the end of one epoch."""

    def __init__(self, at: int, factor: float) -> None:
        super().__init__()
        self.at, self.factor = at, factor

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.at:
            rate = float(np.asarray(self.model.optimizer.learning_rate))
            self.model.optimizer.learning_rate = rate * self.factor


def rates(plugin: Any, x: Any = X, y: Any = Y, **fields: Any) -> list[float]:
    seen = Rates()
    Linear(callbacks=[plugin, seen], **fields).fit(x, y)
    return seen.seen


def weights(**fields: Any) -> list[Any]:
    trained: list[Any] = Linear(**fields).fit(X, Y).model_.get_weights()
    return trained


@pytest.mark.parametrize(
    ("fields", "stock"),
    [
        ({"shape": "cosine"}, schedules.CosineDecay(0.1, 15)),
        ({"shape": "cosine", "final": 0.1}, schedules.CosineDecay(0.1, 15, alpha=0.1)),
        ({"shape": "linear", "final": 0.2}, schedules.PolynomialDecay(0.1, 15, 0.02)),
        ({"shape": "exponential", "final": 0.01}, schedules.ExponentialDecay(0.1, 15, 0.01)),
    ],
)
def test_the_rates_are_those_of_the_schedules_of_keras(fields: dict[str, Any], stock: Any) -> None:
    expected = [float(stock(step)) for step in range(3 * STEPS)]
    assert rates(LearningRate(**fields)) == pytest.approx(expected, rel=1e-5)


def test_the_trained_weights_are_those_of_the_schedule_of_keras() -> None:
    theirs = weights(learning_rate=schedules.CosineDecay(0.1, 15))
    ours = weights(callbacks=["learning_rate"])
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    constant = weights()
    assert not np.allclose(ours[0], constant[0], rtol=1e-3)


def test_the_warm_up_rises_to_the_peak() -> None:
    seen = rates(LearningRate(shape="constant", warmup=0.2, peak=0.4))
    assert seen == pytest.approx([0.1, 0.2, 0.3] + 12 * [0.4])


def test_after_the_warm_up_the_fall_takes_the_other_steps() -> None:
    found = shares("linear", 10, warmup=0.4, final=0.5)
    assert found == pytest.approx([0.2, 0.4, 0.6, 0.8, *(1 - 0.5 * np.arange(6) / 6)])


def test_one_cycle_rises_from_a_25th_and_falls_to_the_final_share() -> None:
    found = shares("one_cycle", 100, final=0.001)
    rise = [1 / 25 + 24 / 25 * (1 - math.cos(math.pi * i / 30)) / 2 for i in range(30)]
    fall = [0.001 + 0.999 * (1 + math.cos(math.pi * i / 70)) / 2 for i in range(70)]
    assert found == pytest.approx(rise + fall)
    assert np.argmax(found) == 30
    assert np.argmax(shares("one_cycle", 100, warmup=0.1)) == 10


@pytest.mark.parametrize("total", [1, 2, 3])
@pytest.mark.parametrize("shape", ["constant", "linear", "cosine", "one_cycle"])
def test_very_short_fits_have_rates_above_0(shape: str, total: int) -> None:
    for warmup in (None, 0.0, 0.5, 0.99):
        found = shares(shape, total, warmup=warmup)
        assert found.shape == (total,) and np.all(found > 0) and np.all(found <= 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"jit": True},
        {"run_eagerly": True},
        {"precision": "float64"},
        {"optimizer": keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)},
    ],
    ids=["xla", "eager", "float64", "accumulation"],
)
def test_the_rates_are_the_same_however_steps_run(fields: dict[str, Any]) -> None:
    expected = 0.1 * shares("cosine", 3 * STEPS)
    assert rates(LearningRate(), **fields) == pytest.approx(expected, rel=1e-5)
    # and without a hook that sees batches, many steps a dispatch
    trainer = Linear(callbacks=["learning_rate"], **fields).fit(X, Y)
    assert trainer.history_["learning_rate"] == pytest.approx(
        expected[STEPS - 1 :: STEPS], rel=1e-5
    )


def test_steps_that_float16_skips_for_overflow_do_not_count() -> None:
    seen = rates(LearningRate(), precision="mixed_float16")
    distinct = list(dict.fromkeys(seen))
    assert 1 < len(distinct) < len(seen), "some steps are skipped while the loss scale is found"
    expected = 0.1 * shares("cosine", 3 * STEPS)[: len(distinct)]
    assert distinct == pytest.approx(expected, rel=1e-5)


def test_a_stream_of_known_length_has_its_rates_and_another_one_is_refused() -> None:
    stream = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)
    expected = 0.1 * shares("cosine", 3 * STEPS)
    assert rates(LearningRate(), stream, None) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="needs the number of steps.* stream of known length"):
        rates(LearningRate(), stream.filter(lambda x, y: True), None)


def test_what_another_callback_does_to_the_rate_scales_the_rest_of_the_schedule() -> None:
    seen = Rates()
    callbacks = [Lower(0, 0.5), LearningRate(), seen, Lower(1, 0.5)]
    trainer = Linear(callbacks=callbacks).fit(X, Y)
    scale = np.repeat([1, 0.5, 0.25], STEPS)
    expected = 0.1 * shares("cosine", 3 * STEPS) * scale
    assert seen.seen == pytest.approx(expected, rel=1e-5)
    assert trainer.history_["learning_rate"] == pytest.approx(expected[4::5], rel=1e-5)


@pytest.mark.parametrize("where", [0, 1])
def test_plateau_of_the_package_and_of_keras_lower_the_rest_of_the_schedule(where: int) -> None:
    ours = {"name": "plateau", "factor": 0.1, "patience": 1, "min_delta": 1e6}
    stock = keras.callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=1e6)
    for plateau in (ours, stock):
        callbacks = ["learning_rate"]
        callbacks.insert(where, plateau)
        found = Linear(callbacks=callbacks).fit(X, Y).history_["learning_rate"]
        expected = 0.1 * shares("cosine", 15)[4::5] * [1, 1, 0.1]
        assert found == pytest.approx(expected, rel=1e-5)


def test_fits_with_other_rates_share_their_graphs() -> None:
    graphs.forget()
    first = Linear(callbacks=[LearningRate(peak=0.1)]).fit(X, Y)
    second = Linear(callbacks=[LearningRate(shape="linear", peak=0.3)]).fit(X, Y)
    traces = [trainer._network.program.graphs.traces for trainer in (first, second)]
    assert traces[0] > 0 and traces[1] == 0
    expected = 0.3 * shares("linear", 15)[4::5]
    assert second.history_["learning_rate"] == pytest.approx(expected, rel=1e-5)


def test_a_second_fit_with_the_same_object_starts_afresh() -> None:
    plugin = LearningRate(warmup=0.2)
    first = Linear(callbacks=[plugin, Lower(1, 0.5)]).fit(X, Y)
    second = Linear(callbacks=[plugin, Lower(1, 0.5)]).fit(X, Y)
    assert first.history_["learning_rate"] == second.history_["learning_rate"]
    assert np.array_equal(first.model_.get_weights()[0], second.model_.get_weights()[0])


def test_the_file_loads_in_plain_keras_with_a_number_for_a_rate(tmp_path: Any) -> None:
    trained = Linear(callbacks=["learning_rate"]).fit(X, Y)
    loaded = keras.models.load_model(trained.save(tmp_path / "model.keras"))
    rate = float(np.asarray(loaded.optimizer.learning_rate))
    assert rate == trained.history_["learning_rate"][-1]
    loaded.optimizer.learning_rate = 0.5


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"shape": "cosin"}, "shape='cosin': must be one of .* did you mean 'cosine'"),
        ({"warmup": 1}, "warmup=1: must be .* up to, but not including, 1; write warmup=0.1, for"),
        ({"peak": 0}, "peak=0: must be a finite number above 0"),
        ({"final": -0.1}, "final=-0.1: must be a finite number, 0 or more"),
        ({"final": 2}, "final=2: is a share of the peak"),
        ({"shape": "exponential"}, "final=0.0: an exponential decay never reaches 0"),
    ],
)
def test_bad_fields_are_named(fields: dict[str, Any], words: str) -> None:
    trainer = Linear(callbacks=[LearningRate(**fields)])
    with pytest.raises((TypeError, ValueError), match=words):
        trainer.fit(X, Y)
    assert not hasattr(trainer, "history_")


def test_an_optimizer_that_has_a_schedule_already_is_refused() -> None:
    trainer = Linear(callbacks=["learning_rate"], learning_rate=schedules.CosineDecay(0.1, 15))
    with pytest.raises(ValueError, match="CosineDecay.* needs one number.* learning_rate=0.001"):
        trainer.fit(X, Y)


def test_names_dicts_and_nested_parameters_reach_it() -> None:
    trainer = Linear(callbacks=[{"name": "learning_rate", "shape": "linear"}])
    found = trainer.fit(X, Y).history_["learning_rate"]
    assert found == pytest.approx(0.1 * shares("linear", 15)[4::5], rel=1e-5)
    changed = Linear(callbacks=["learning_rate"]).set_params(
        callbacks__learning_rate__peak=0.2, callbacks__learning_rate__shape="constant"
    )
    assert clone(changed).fit(X, Y).history_["learning_rate"] == pytest.approx([0.2] * 3)
    assert set(LearningRate.domains()) == {"shape", "warmup", "peak", "final"}


def test_a_resumed_run_is_exact(interrupted_run: Callable[..., Any]) -> None:
    def make(run_dir: str) -> Linear:
        plateau = {"name": "plateau", "factor": 0.5, "patience": 1, "min_delta": 1e6}
        callbacks = [{"name": "learning_rate", "warmup": 0.1}, plateau]
        return Linear(run_dir=run_dir, epochs=4, callbacks=callbacks)

    whole, _ = interrupted_run(make, X, Y, at=[(0, 2), (2, 0), (2, 4), (3, 0)])
    expected = 0.1 * shares("cosine", 20, warmup=0.1)[4::5] * [1, 1, 0.5, 0.25]
    assert whole.history_["learning_rate"] == pytest.approx(expected, rel=1e-5)
