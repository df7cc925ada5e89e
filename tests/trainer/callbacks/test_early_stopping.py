"""EarlyStopping: when it ends a training, with which weights, and what it refuses."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.base import clone

from trainer import Regressor
from trainer.callbacks import EarlyStopping

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 3)).astype("float32")
Y = (X @ np.float32([[1.0], [-2.0], [0.5]]) + RNG.normal(size=(32, 1))).astype("float32")


class Linear(Regressor):
    epochs = 6
    batch_size = 8
    optimizer = "sgd"
    random_state = 1
    verbose = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(1)])


class Scripted(keras.callbacks.Callback):
    """Logs given values as "scripted", and keeps the weights of every epoch."""

    def __init__(self, values: list[float]) -> None:
        super().__init__()
        self.values = values

    def on_train_begin(self, logs: Any = None) -> None:
        self.weights: list[list[np.ndarray]] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["scripted"] = self.values[epoch]
        self.weights.append(self.model.get_weights())


def scripted(values: list[float], **fields: Any) -> tuple[Linear, EarlyStopping, Scripted]:
    """A fit of as many epochs as there are values, if nothing ends it."""
    script = Scripted(values)
    stopping = EarlyStopping(**{"monitor": "scripted", "mode": "min"} | fields)
    trainer = Linear(callbacks=[script, stopping], epochs=len(values)).fit(X, Y)
    return trainer, stopping, script


def same(one: list[Any], other: list[Any]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("values", "fields", "stopped", "best"),
    [
        ([3, 2, 4, 4, 1], {"patience": 2}, 4, 2),
        ([3, 2, 4, 1.9, 4, 4], {"patience": 2}, 6, 4),
        ([3, 2, 1.95, 1.9, 1.85, 0], {"patience": 2, "min_delta": 0.2}, 4, 2),
        ([1, 2, 2, 2, 3], {"patience": 2, "mode": "max"}, 4, 2),
        ([3, 4, 5, 6, 7], {"patience": 1, "start_from_epoch": 2}, 4, 3),
        ([3, 2, 1], {"patience": 2}, None, 3),
        ([math.nan, 2, 3, 3, 1], {"patience": 2}, 4, 2),
        ([2, math.nan, math.nan, 1], {"patience": 2}, 3, 1),
        ([3, 2, math.inf, 1], {"patience": 1}, 3, 2),
        # below the baseline every epoch counts, the first and the improving ones too
        ([5, 4, 3, 0.5], {"patience": 3, "baseline": 1.0}, 3, 3),
        ([5, 0.5, 0.6, 0.6], {"patience": 2, "baseline": 1.0}, 4, 2),
        ([5, 4], {"patience": 1, "baseline": 1.0}, 1, 1),
    ],
)
def test_it_stops_after_the_patience_with_the_best_weights(
    values: list[float], fields: dict[str, Any], stopped: int | None, best: int
) -> None:
    trainer, stopping, script = scripted(values, **fields)
    assert stopping.stopped_epoch_ == stopped
    assert len(trainer.history_) == (stopped or len(values))
    assert stopping.best_epoch_ == best
    assert same(trainer.model_.get_weights(), script.weights[best - 1])


def test_without_restoring_the_last_weights_stay() -> None:
    trainer, _, script = scripted([1, 2, 3, 4], patience=2, restore_best=False)
    assert len(trainer.history_) == 3
    assert same(trainer.model_.get_weights(), script.weights[-1])


@pytest.mark.parametrize("patience", [1, 2])
def test_where_keras_has_no_fault_it_does_as_keras(patience: int) -> None:
    values = [3, 2, 2.5, 1.5, 1.6, 1.55, 1.7]
    ours, _, _ = scripted(values, patience=patience)
    stock = keras.callbacks.EarlyStopping(
        "scripted", mode="min", patience=patience, restore_best_weights=True
    )
    theirs = Linear(callbacks=[Scripted(values), stock], epochs=len(values)).fit(X, Y)
    assert ours.history_["loss"] == theirs.history_["loss"]
    assert same(ours.model_.get_weights(), theirs.model_.get_weights())


def test_it_watches_the_validation_loss_if_there_is_one_and_otherwise_the_loss() -> None:
    plugin = EarlyStopping(patience=1, min_delta=1e6)
    Linear(callbacks=[plugin]).fit(X, Y, validation_data=(X, Y))
    assert plugin._log == "val_loss"
    with pytest.warns(UserWarning, match="without validation data.*validation_split=0.2") as caught:
        trainer = Linear(callbacks=[plugin]).fit(X, Y)
    assert len([w for w in caught if "without validation data" in str(w.message)]) == 1
    assert plugin._log == "loss"
    assert len(trainer.history_) == 2


def test_a_training_loss_that_is_asked_for_is_watched_without_a_word() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Linear(callbacks=[EarlyStopping(monitor="loss")]).fit(X, Y)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"patience": 0}, "patience=0: must be 1 or more; write patience=3, for example"),
        ({"patience": 2.5}, "patience=2.5: must be a whole number"),
        ({"min_delta": -1}, "min_delta=-1: must be a finite number, 0 or more"),
        ({"min_delta": "a"}, "min_delta='a': must be a number"),
        ({"baseline": math.nan}, "baseline=nan: must be a finite number"),
        ({"restore_best": 1}, "restore_best=1: must be True or False"),
        ({"start_from_epoch": -1}, "start_from_epoch=-1: must be 0 or more"),
        ({"start_from_epoch": 6}, r"start_from_epoch=6: the fit has 6 epoch\(s\)"),
        ({"mode": "up"}, "mode='up': must be one of 'min', 'max'"),
        ({"monitor": "val_loss"}, "monitor='val_loss': there are no validation data"),
        ({"monitor": "los"}, "monitor='los': there will be no such log; did you mean 'loss'"),
        ({"monitor": 3}, "monitor=3: must be the name of a log"),
    ],
)
def test_bad_fields_are_named_before_training(fields: dict[str, Any], words: str) -> None:
    trainer = Linear(callbacks=[EarlyStopping(**fields)])
    with pytest.raises((TypeError, ValueError), match=words):
        trainer.fit(X, Y)
    assert not hasattr(trainer, "history_")


def test_a_log_that_another_callback_does_not_give_is_named_with_those_there_are() -> None:
    trainer = Linear(
        callbacks=[Scripted([1, 2, 3, 4, 5, 6]), EarlyStopping(monitor="other", mode="min")]
    )
    with pytest.raises(ValueError, match=r"monitor='other': was not logged; .*'loss'.*'scripted'"):
        trainer.fit(X, Y)


def test_an_unknown_direction_is_asked_for() -> None:
    with pytest.raises(ValueError, match="monitor='scripted': .* write mode='min' or mode='max'"):
        scripted([1, 2], mode=None)


def test_a_second_fit_with_the_same_object_starts_afresh() -> None:
    first, stopping, script = scripted([3, 2, 4, 4, 5], patience=2)
    second = clone(first).set_params(callbacks=[script, stopping]).fit(X, Y)
    assert stopping.stopped_epoch_ == 4
    assert first.history_["loss"] == second.history_["loss"]
    assert same(first.model_.get_weights(), second.model_.get_weights())


def test_names_dicts_and_nested_parameters_reach_it() -> None:
    fields = {"name": "early_stopping", "patience": 1, "min_delta": 1e6}
    assert len(Linear(callbacks=[fields]).fit(X, Y).history_) == 2
    trainer = Linear(callbacks=["early_stopping"], epochs=8)
    trainer.set_params(
        callbacks__early_stopping__patience=4, callbacks__early_stopping__min_delta=1e6
    )
    assert len(clone(trainer).fit(X, Y).history_) == 5
    assert set(EarlyStopping.domains()) == {"patience", "min_delta"}


def noisy(run_dir: str, *callbacks: Any) -> Linear:
    return Linear(run_dir=run_dir, learning_rate=0.05, epochs=8, callbacks=callbacks)


@pytest.mark.parametrize("at", [[(0, 2), (1, 0), (2, 4)], [(3, 4), (5, 0)]])
def test_a_resumed_run_is_exact(interrupted_run: Callable[..., Any], at: list[Any]) -> None:
    whole, resumed = interrupted_run(
        lambda run_dir: noisy(run_dir, EarlyStopping(patience=2, min_delta=0.5)),
        X,
        Y,
        at=at,
        validation_data=(X, Y),
    )
    assert 4 < len(whole.history_) < 8, "it stops after the breaks, or nothing would be proved"
    plugins = [trainer.callbacks[0] for trainer in (whole, resumed)]
    assert plugins[0].best_epoch_ == plugins[1].best_epoch_ < len(whole.history_)
    assert plugins[0].stopped_epoch_ == plugins[1].stopped_epoch_ == len(whole.history_)


def test_stopped_and_killed_before_its_end_it_stays_stopped_with_the_best_weights(
    interrupted_run: Callable[..., Any],
) -> None:
    whole, _ = interrupted_run(
        lambda run_dir: noisy(run_dir, {"name": "early_stopping", "patience": 1, "min_delta": 9}),
        X,
        Y,
        at=[(2, 0)],
    )
    assert len(whole.history_) == 2
