"""EMA: the average itself, who sees it and when, and that training goes on with the raw weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.base import clone

from trainer import Regressor
from trainer.callbacks import EMA

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype("float32")
Y = (X @ np.float32([[1.0], [-2.0], [0.5]])).astype("float32")
VALID = (X[::-1].copy(), Y[::-1] + 1)
DECAY = 0.8


class Linear(Regressor):
    epochs = 3
    batch_size = 8
    optimizer = "adam"
    learning_rate = 0.05
    random_state = 1
    verbose = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input(spec.input_shape),
                keras.layers.Dense(4, "tanh"),
                keras.layers.BatchNormalization(),
                keras.layers.Dense(1),
            ]
        )


class Steps(keras.callbacks.Callback):
    """The trainable weights after every step."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.seen: list[list[np.ndarray]] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen.append([np.array(v.numpy()) for v in self.model.trainable_variables])


class Looks(keras.callbacks.Callback):
    """The trainable weights as others see them at different moments."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.seen: dict[str, list[Any]] = {"begin": [], "test": [], "end": []}

    def look(self, when: str) -> None:
        self.seen[when].append([np.array(v.numpy()) for v in self.model.trainable_variables])

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.look("begin")

    def on_test_end(self, logs: Any = None) -> None:
        self.look("test")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.look("end")


def averages(steps: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
    """The average after each step, by hand."""
    found = [steps[0]]
    for weights in steps[1:]:
        pairs = zip(found[-1], weights, strict=True)
        found.append([DECAY * a + (1 - DECAY) * w for a, w in pairs])
    return found


def trainable(trainer: Any) -> list[np.ndarray]:
    return [np.array(v.numpy()) for v in trainer.model_.trainable_variables]


def close(one: list[Any], other: list[Any]) -> bool:
    return all(np.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(one, other, strict=True))


def same(one: list[Any], other: list[Any]) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("valid", [VALID, None], ids=["validation", "none"])
def test_others_see_the_average_at_an_epochs_end_and_training_goes_on_with_the_raw(
    first: bool, valid: Any
) -> None:
    steps, looks = Steps(), Looks()
    callbacks = [EMA(decay=DECAY), looks] if first else [looks, EMA(decay=DECAY)]
    trainer = Linear(callbacks=[*callbacks, steps]).fit(X, Y, validation_data=valid)
    expected = averages(steps.seen)[4::5]
    for epoch in range(3):
        assert close(looks.seen["end"][epoch], expected[epoch])
        if valid is not None:
            assert same(looks.seen["test"][epoch], looks.seen["end"][epoch])
        if first and epoch:  # listed before it, a callback is told of the epoch before it swaps
            assert same(looks.seen["begin"][epoch], steps.seen[5 * epoch - 1])
    assert same(trainable(trainer), looks.seen["end"][-1])

    plain_steps = Steps()
    Linear(callbacks=[plain_steps]).fit(X, Y, validation_data=valid)
    for ours, theirs in zip(steps.seen, plain_steps.seen, strict=True):
        assert same(ours, theirs), "averaging must not change training"


def test_the_final_model_is_that_of_keras_with_use_ema() -> None:
    ours = Linear(callbacks=[EMA(decay=DECAY)]).fit(X, Y)
    optimizer = keras.optimizers.Adam(0.05, use_ema=True, ema_momentum=DECAY)
    theirs = Linear(optimizer=optimizer, learning_rate=None).fit(X, Y)
    assert same(trainable(ours), trainable(theirs))
    assert not close(trainable(ours), trainable(Linear().fit(X, Y)))


def test_validation_is_of_the_averaged_weights() -> None:
    trainer = Linear(callbacks=[EMA(decay=DECAY)]).fit(X, Y, validation_data=VALID)
    assert trainer.history_["val_loss"][-1] == pytest.approx(trainer.evaluate(*VALID)["loss"])


@pytest.mark.parametrize(
    "fields",
    [
        {"jit": True},
        {"run_eagerly": True},
        {"precision": "float64"},
        {"precision": "mixed_float16"},
        {"optimizer": keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.05))},
        {"optimizer": keras.optimizers.Adam(gradient_accumulation_steps=2)},
    ],
    ids=["xla", "eager", "float64", "float16", "loss-scale", "accumulation"],
)
def test_the_model_ends_with_the_optimizers_average_however_steps_run(
    fields: dict[str, Any],
) -> None:
    looks = Looks()
    trainer = Linear(callbacks=[EMA(decay=DECAY), looks], **fields)
    trainer.fit(X, Y, validation_data=VALID)
    optimizer = trainer.model_.optimizer
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    average = [np.array(v.numpy()) for v in inner._model_variables_moving_average]
    assert same(trainable(trainer), average)
    assert same(looks.seen["end"][-1], average)
    assert not close(looks.seen["begin"][-1], looks.seen["end"][-2])


def test_before_the_first_step_counts_the_average_is_the_initial_weights() -> None:
    looks = Looks()
    fields: dict[str, Any] = {"epochs": 1, "batch_size": 40, "precision": "mixed_float16"}
    trainer = Linear(callbacks=["ema", looks], **fields).fit(X, 1000 * Y)
    assert int(np.asarray(trainer.model_.optimizer.iterations)) == 0, "the step is skipped"
    assert same(trainable(trainer), looks.seen["begin"][0])


def test_a_stream_of_unknown_length_works_too() -> None:
    stream = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8).filter(lambda x, y: True)
    looks = Looks()
    trainer = Linear(callbacks=[EMA(decay=DECAY), looks]).fit(stream)
    fixed = Linear(callbacks=[EMA(decay=DECAY)], shuffle=False).fit(X, Y)
    assert close(trainable(trainer), trainable(fixed))
    assert same(trainable(trainer), looks.seen["end"][-1])


@pytest.mark.parametrize("ema_first", [True, False])
@pytest.mark.parametrize("valid", [VALID, None], ids=["validation", "none"])
def test_early_stopping_restores_averaged_weights(ema_first: bool, valid: Any) -> None:
    looks = Looks()
    callbacks: list[Any] = ["early_stopping", {"name": "ema", "decay": DECAY}]
    callbacks[0] = {"name": "early_stopping", "patience": 1, "min_delta": 1e6}
    if ema_first:
        callbacks.reverse()
    trainer = Linear(callbacks=[*callbacks, looks]).fit(X, Y, validation_data=valid)
    assert len(trainer.history_) == 2
    assert same(trainable(trainer), looks.seen["end"][0])


def test_a_training_that_is_stopped_within_an_epoch_ends_with_the_average() -> None:
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.stop_training = batch == 2

    steps = Steps()
    trainer = Linear(callbacks=[steps, EMA(decay=DECAY), Stop()]).fit(X, Y)
    assert len(steps.seen) == 3
    assert close(trainable(trainer), averages(steps.seen)[-1])


def test_the_file_loads_in_plain_keras_with_its_averages(tmp_path: Any) -> None:
    trained = Linear(callbacks=["ema"]).fit(X, Y)
    loaded = keras.models.load_model(trained.save(tmp_path / "model.keras"))
    assert loaded.optimizer.use_ema
    pairs = zip(trained.model_.optimizer.variables, loaded.optimizer.variables, strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("decay", "words"),
    [
        (1, "decay=1: must be a number from 0 up to, but not including, 1; write decay=0.99, for"),
        (-0.1, "decay=-0.1: must be a number from 0"),
        ("0.9", "decay='0.9': must be a number"),
    ],
)
def test_bad_fields_are_named(decay: Any, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        Linear(callbacks=[EMA(decay=decay)]).fit(X, Y)


def test_an_optimizer_that_averages_already_is_refused() -> None:
    optimizer = keras.optimizers.Adam(use_ema=True)
    with pytest.raises(ValueError, match="has use_ema=True already.*'decay': 0.99"):
        Linear(callbacks=["ema"], optimizer=optimizer).fit(X, Y)


def test_the_optimizer_that_the_user_gave_is_left_alone() -> None:
    optimizer = keras.optimizers.Adam(0.05)
    Linear(callbacks=["ema"], optimizer=optimizer, learning_rate=None).fit(X, Y)
    assert not optimizer.use_ema and not optimizer.built


def test_a_second_fit_with_the_same_object_starts_afresh() -> None:
    plugin = EMA(decay=DECAY)
    first = Linear(callbacks=[plugin]).fit(X, Y, validation_data=VALID)
    second = Linear(callbacks=[plugin]).fit(X, Y, validation_data=VALID)
    assert same(trainable(first), trainable(second))
    assert first.history_["val_loss"] == second.history_["val_loss"]


def test_names_dicts_and_nested_parameters_reach_it() -> None:
    by_dict = Linear(callbacks=[{"name": "ema", "decay": DECAY}]).fit(X, Y)
    trainer = clone(Linear(callbacks=["ema"])).set_params(callbacks__ema__decay=DECAY)
    by_parameter = clone(trainer).fit(X, Y)
    assert same(trainable(by_dict), trainable(by_parameter))
    by_name = Linear(callbacks=["ema"]).fit(X, Y)
    assert not close(trainable(by_dict), trainable(by_name))
    assert set(EMA.domains()) == {"decay"}


@pytest.mark.parametrize("valid", [VALID, None], ids=["validation", "none"])
def test_a_resumed_run_is_exact(interrupted_run: Callable[..., Any], valid: Any) -> None:
    def make(run_dir: str) -> Linear:
        callbacks = [{"name": "early_stopping", "patience": 2}, {"name": "ema", "decay": DECAY}]
        return Linear(run_dir=run_dir, epochs=4, callbacks=callbacks)

    # within an epoch, at its last step with the weights swapped, and between epochs
    interrupted_run(make, X, Y, at=[(0, 2), (1, 5), (2, 0), (3, 4)], validation_data=valid)
