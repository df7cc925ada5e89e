"""Plateau: when it lowers the learning rate, and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.base import clone

from trainer import Regressor
from trainer.callbacks import Plateau

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 3)).astype("float32")
Y = (X @ np.float32([[1.0], [-2.0], [0.5]]) + RNG.normal(size=(32, 1))).astype("float32")


class Linear(Regressor):
    epochs = 3
    batch_size = 8
    optimizer = "sgd"
    learning_rate = 0.1
    random_state = 1
    verbose = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(1)])


class Scripted(keras.callbacks.Callback):
    """Logs given values as "scripted"."""

    def __init__(self, values: list[float]) -> None:
        super().__init__()
        self.values = values

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["scripted"] = self.values[epoch]


def rates(values: list[float], plugin: Any, **fields: Any) -> list[float]:
    """The rate of every epoch."""
    trainer = Linear(callbacks=[Scripted(values), plugin], epochs=len(values), **fields)
    return trainer.fit(X, Y).history_["learning_rate"]


def scripted(**fields: Any) -> Plateau:
    return Plateau(**{"monitor": "scripted", "mode": "min"} | fields)


@pytest.mark.parametrize(
    ("values", "fields", "expected"),
    [
        ([3, 2, 2, 2, 2], {"patience": 1}, [1, 1, 1, 0.1, 0.01]),
        ([3, 2, 2, 2, 2, 2], {"patience": 2, "factor": 0.5}, [1, 1, 1, 1, 0.5, 0.5]),
        ([1, 2, 3, 3, 3], {"patience": 1, "mode": "max"}, [1, 1, 1, 1, 0.1]),
        ([3, 2.9, 2.8, 2.7], {"patience": 1, "min_delta": 0.5}, [1, 1, 0.1, 0.01]),
        ([3, 4, 5, 6, 7], {"patience": 1, "cooldown": 2}, [1, 1, 0.1, 0.1, 0.01]),
        ([3, 4, 5, 6], {"patience": 1, "min_learning_rate": 0.005}, [1, 1, 0.1, 0.05]),
        ([math.nan, 2, 1, 1], {"patience": 1}, [1, 1, 1, 1]),
        ([2, math.nan, 1], {"patience": 1}, [1, 1, 0.1]),
    ],
)
def test_it_lowers_the_rate_after_the_patience(
    values: list[float], fields: dict[str, Any], expected: list[float]
) -> None:
    assert rates(values, scripted(**fields)) == pytest.approx(0.1 * np.array(expected), rel=1e-5)


def test_it_does_as_keras_own() -> None:
    values = [3, 2.5, 2.6, 2.4, 2.45, 2.5, 2.5, 2.39, 2.38]
    fields = {"factor": 0.3, "patience": 2, "min_delta": 0.05, "cooldown": 1}
    stock = keras.callbacks.ReduceLROnPlateau("scripted", mode="min", **fields)
    ours = rates(values, scripted(**fields))
    assert ours == rates(values, stock)
    assert len(set(ours)) > 2


@pytest.mark.parametrize("precision", ["mixed_float16", "float64"])
def test_it_lowers_the_rate_in_other_precisions(precision: str) -> None:
    found = rates([1, 2, 3], scripted(patience=1), precision=precision)
    assert found == pytest.approx([0.1, 0.1, 0.01], rel=1e-5)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"factor": 1}, "factor=1: must be below 1"),
        ({"factor": 0}, "factor=0: must be a finite number above 0"),
        ({"patience": 0}, "patience=0: must be 1 or more; write patience=3"),
        ({"cooldown": -1}, "cooldown=-1: must be 0 or more"),
        ({"min_delta": -1}, "min_delta=-1: must be a finite number, 0 or more"),
        ({"min_learning_rate": "a"}, "min_learning_rate='a': must be a number"),
        ({"monitor": "acuracy"}, "monitor='acuracy': there will be no such log"),
        ({"mode": "auto"}, "mode='auto': must be one of 'min', 'max'"),
    ],
)
def test_bad_fields_are_named_before_training(fields: dict[str, Any], words: str) -> None:
    trainer = Linear(callbacks=[Plateau(**fields)])
    with pytest.raises((TypeError, ValueError), match=words):
        trainer.fit(X, Y)
    assert not hasattr(trainer, "history_")


def test_a_rate_that_follows_a_schedule_is_refused() -> None:
    rate = keras.optimizers.schedules.CosineDecay(0.1, 15)
    with pytest.raises(ValueError, match="CosineDecay.*'plateau' needs one number"):
        Linear(callbacks=["plateau"], learning_rate=rate).fit(X, Y)


def test_a_log_that_is_not_there_is_named_after_the_first_epoch() -> None:
    with pytest.raises(ValueError, match="monitor='other': was not logged"):
        rates([1, 2, 3], Plateau(monitor="other", mode="min"))


def test_a_second_fit_with_the_same_object_starts_afresh() -> None:
    plugin = scripted(patience=2, cooldown=1)
    first = rates([3, 3, 3, 3, 3], plugin)
    assert first == rates([3, 3, 3, 3, 3], plugin)
    assert first[-1] < first[0]


def test_names_dicts_and_nested_parameters_reach_it() -> None:
    spec = {"name": "plateau", "patience": 1, "min_delta": 1e6}
    found = Linear(callbacks=[spec]).fit(X, Y).history_["learning_rate"]
    assert found == pytest.approx([0.1, 0.1, 0.01])
    trainer = Linear(callbacks=["plateau"])
    trainer.set_params(callbacks__plateau__patience=1, callbacks__plateau__min_delta=1e6)
    changed = clone(trainer).set_params(callbacks__plateau__factor=0.5)
    assert changed.fit(X, Y).history_["learning_rate"] == pytest.approx([0.1, 0.1, 0.05])
    assert set(Plateau.domains()) == {"factor", "patience", "min_delta", "cooldown"}


@pytest.mark.parametrize("stock", [False, True], ids=["plateau", "keras"])
def test_a_resumed_run_is_exact(interrupted_run: Callable[..., Any], stock: bool) -> None:
    fields = {"monitor": "val_loss", "factor": 0.5, "patience": 2, "min_delta": 0.1, "cooldown": 1}

    def make(run_dir: str) -> Linear:
        plugin = keras.callbacks.ReduceLROnPlateau if stock else Plateau
        return Linear(run_dir=run_dir, epochs=9, callbacks=[plugin(**fields)])

    at = [(1, 2), (3, 0), (5, 0), (6, 4)]
    whole, _ = interrupted_run(make, X, Y, at=at, validation_data=(X, Y))
    assert len(set(whole.history_["learning_rate"])) >= 3
