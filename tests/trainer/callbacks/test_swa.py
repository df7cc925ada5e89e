"""SWA: which epochs the mean is of, and that the model ends with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.base import clone

from trainer import Regressor
from trainer.callbacks import SWA

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype("float32")
Y = (X @ np.float32([[1.0], [-2.0], [0.5]])).astype("float32")


class Linear(Regressor):
    epochs = 4
    batch_size = 8
    optimizer = "sgd"
    learning_rate = 0.1
    random_state = 1
    verbose = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input(spec.input_shape),
                keras.layers.BatchNormalization(),
                keras.layers.Dense(1),
            ]
        )


class Looks(keras.callbacks.Callback):
    """The weights at the end of every epoch."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.seen: list[list[np.ndarray]] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seen.append(self.model.get_weights())


def mean(seen: list[list[np.ndarray]]) -> list[np.ndarray]:
    return [np.mean(np.float64(each), axis=0) for each in zip(*seen, strict=True)]


def close(one: list[Any], other: list[Any]) -> bool:
    return all(np.allclose(a, b, rtol=1e-6) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("start", "epochs", "first"),
    [(0.75, 4, 4), (0.5, 4, 3), (0.0, 4, 1), (0.99, 3, 3), (0.6, 5, 4), (1, 3, 1), (3, 3, 3)],
)
def test_the_model_ends_with_the_mean_of_the_last_epochs(
    start: float, epochs: int, first: int
) -> None:
    plugin, looks = SWA(start=start), Looks()
    trainer = Linear(callbacks=[plugin, looks], epochs=epochs).fit(X, Y)
    assert plugin.averaged_ == epochs - first + 1
    assert close(trainer.model_.get_weights(), mean(looks.seen[first - 1 :]))


def test_training_goes_on_with_the_raw_weights() -> None:
    with_mean, without = Looks(), Looks()
    averaged = Linear(callbacks=[SWA(start=2), with_mean]).fit(X, Y, validation_data=(X, Y))
    plain = Linear(callbacks=[without]).fit(X, Y, validation_data=(X, Y))
    assert averaged.history_["val_loss"] == plain.history_["val_loss"]
    for ours, theirs in zip(with_mean.seen, without.seen, strict=True):
        assert all(a.tobytes() == b.tobytes() for a, b in zip(ours, theirs, strict=True))


def test_moving_statistics_of_batch_norm_are_averaged_too() -> None:
    looks = Looks()
    trainer = Linear(callbacks=[SWA(start=1), looks]).fit(X, Y)
    norm = trainer._network.core.layers[0]
    each = [weights[2] for weights in looks.seen]
    assert trainer.model_.weights[2].path == norm.moving_mean.path
    assert not np.allclose(each[0], each[-1])
    np.testing.assert_allclose(np.asarray(norm.moving_mean), np.mean(each, axis=0), rtol=1e-5)


@pytest.mark.parametrize("fields", [{"jit": True}, {"run_eagerly": True}, {"precision": "float64"}])
def test_it_works_however_steps_run(fields: dict[str, Any]) -> None:
    looks = Looks()
    trainer = Linear(callbacks=[SWA(start=2), looks], epochs=3, **fields).fit(X, Y)
    assert close(trainer.model_.get_weights(), mean(looks.seen[1:]))


def test_it_works_on_a_stream() -> None:
    looks = Looks()
    stream = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)
    trainer = Linear(callbacks=[SWA(start=2), looks], epochs=3).fit(stream)
    assert close(trainer.model_.get_weights(), mean(looks.seen[1:]))


def test_whole_numbers_of_a_model_are_no_weights_to_average() -> None:
    class Counts(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.count = self.add_weight(
                shape=(), initializer="zeros", dtype="int32", trainable=False
            )

        def call(self, x: Any, training: bool = False) -> Any:
            if training:
                self.count.assign_add(1)
            return x

    class Counted(Linear):
        def build_model(self, spec: Any) -> keras.Model:
            parts = [keras.Input(spec.input_shape), Counts(), super().build_model(spec)]
            return keras.Sequential(parts)

    trainer = Counted(callbacks=[SWA(start=1)]).fit(X, Y)
    counts = [int(v.numpy()) for v in trainer.model_.weights if v.dtype == "int32"]
    assert counts == [4 * 5]


def test_a_training_that_ends_before_the_start_keeps_its_weights_and_says_so() -> None:
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(stop.model, "stop_training", True)
    )
    looks = Looks()
    with pytest.warns(UserWarning, match="start=3: training ended before epoch 3"):
        trainer = Linear(callbacks=[SWA(start=3), looks, stop]).fit(X, Y)
    assert close(trainer.model_.get_weights(), looks.seen[0])


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (5, r"start=5: the fit has 4 epoch\(s\); write start=4 or less"),
        (0, "start=0: must be 1 or more"),
        (1.0, "start=1.0: must be .* up to, but not including, 1; write start=0.75, for example"),
        ("last", "start='last': must be a share of the epochs, such as 0.75, or the number"),
        (True, "start=True: must be a share"),
    ],
)
def test_bad_fields_are_named_before_training(start: Any, words: str) -> None:
    trainer = Linear(callbacks=[SWA(start=start)])
    with pytest.raises((TypeError, ValueError), match=words):
        trainer.fit(X, Y)
    assert not hasattr(trainer, "history_")


def test_a_second_fit_with_the_same_object_starts_afresh() -> None:
    plugin = SWA(start=2)
    first = Linear(callbacks=[plugin]).fit(X, Y).model_.get_weights()
    second = Linear(callbacks=[plugin]).fit(X, Y).model_.get_weights()
    assert plugin.averaged_ == 3
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_names_dicts_and_nested_parameters_reach_it() -> None:
    by_dict = Linear(callbacks=[{"name": "swa", "start": 2}]).fit(X, Y)
    changed = clone(Linear(callbacks=["swa"])).set_params(callbacks__swa__start=2)
    by_parameter = clone(changed).fit(X, Y)
    by_name = Linear(callbacks=["swa"]).fit(X, Y)
    assert close(by_dict.model_.get_weights(), by_parameter.model_.get_weights())
    assert not close(by_dict.model_.get_weights(), by_name.model_.get_weights())
    assert set(SWA.domains()) == {"start"}


def test_a_resumed_run_is_exact(interrupted_run: Callable[..., Any]) -> None:
    def make(run_dir: str) -> Linear:
        return Linear(run_dir=run_dir, callbacks=[{"name": "swa", "start": 2}])

    interrupted_run(make, X, Y, at=[(0, 2), (2, 0), (3, 4)])


def test_a_fit_that_is_trained_further_goes_on_with_its_mean(
    short_dispatches: None, tmp_path: Any
) -> None:
    looks = Looks()
    fields: dict[str, Any] = {"run_dir": str(tmp_path / "run"), "random_state": 1}
    Linear(callbacks=[SWA(start=2), looks], epochs=3, **fields).fit(X, Y)
    plugin = SWA(start=2)
    before = looks.seen[1:]
    more = Linear(callbacks=[plugin, looks], epochs=4, **fields).fit(X, Y, resume=True)
    assert plugin.averaged_ == 3
    assert close(more.model_.get_weights(), mean([*before, *looks.seen[-1:]]))
