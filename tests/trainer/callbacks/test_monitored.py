"""monitored: the log that a plugin watches is one that will be there, of known direction."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
from sessions import session

from trainer.callbacks import EarlyStopping
from trainer.callbacks.monitored import check, choose, direction, value


class OwnStep(keras.Sequential):
    def test_step(self, *data: Any) -> Any:
        return super().test_step(*data)


class OwnCallback(keras.callbacks.Callback):
    """Nobody knows what it adds to the logs."""


def core(kind: type = keras.Sequential) -> Any:
    made = kind([keras.Input((1,)), keras.layers.Dense(1)])
    made.compile(loss="mse", metrics=["mae"], run_eagerly=True)
    made.test_on_batch(np.zeros((2, 1)), np.zeros((2, 1)))
    return made


def test_the_loss_of_validation_is_watched_where_there_is_one() -> None:
    assert choose(None, session()) == "loss"
    assert choose(None, session(validation="some")) == "val_loss"


def test_a_name_must_be_among_the_logs_of_the_model() -> None:
    of = session(core=core(), validation="some", callbacks=[EarlyStopping()])
    for name in ("loss", "mae", "val_loss", "val_mae"):
        assert choose(name, of) == name
    with pytest.raises(ValueError, match="^monitor='val_mea': there will be no such log.*'val_mae"):
        choose("val_mea", of)
    with pytest.raises(ValueError, match="^monitor='val_mae': there are no .*monitor='mae'$"):
        choose("val_mae", session(core=core()))
    for wrong in ("", 3, ["loss"]):
        with pytest.raises(TypeError, match="must be the name of a log, such as 'val_loss'"):
            check(wrong)


@pytest.mark.parametrize(
    ("callback", "may_log"),
    [
        (OwnCallback(), True),
        (keras.callbacks.LambdaCallback(), True),
        (keras.callbacks.TerminateOnNaN(), False),
        (EarlyStopping(), False),
    ],
)
def test_any_name_is_believed_only_where_code_of_the_user_may_log_it(
    callback: Any, may_log: bool
) -> None:
    of = session(core=core(), callbacks=[callback])
    if may_log:
        assert choose("own", of) == "own"
    else:
        with pytest.raises(ValueError, match="no such log"):
            choose("own", of)


def test_a_step_of_ones_own_may_log_anything() -> None:
    assert choose("own", session(core=core(OwnStep))) == "own"


def test_the_better_direction_is_that_of_the_name_unless_it_is_given() -> None:
    assert direction("val_accuracy", None) == "max" and direction("val_accuracy", "min") == "min"
    with pytest.raises(ValueError, match="^monitor='own': .*write mode='min' or mode='max'$"):
        direction("own", None)
    with pytest.raises(ValueError, match="^mode='auto': must be one of 'min', 'max'"):
        direction("loss", "auto")


def test_an_epoch_without_validation_has_no_value_but_a_missing_log_is_an_error() -> None:
    assert value("val_loss", {"loss": 1.0}) is None
    assert value("val_loss", None) is None
    assert value("val_loss", {"val_loss": np.float32(0.5), "loss": 1}) == 0.5
    with pytest.raises(ValueError, match="^monitor='val_mea': was not logged; did you mean 'val_m"):
        value("val_mea", {"val_loss": 1.0, "val_mae": 2.0})
    with pytest.raises(ValueError, match="^monitor='loss': was not logged"):
        value("loss", {})


def test_nan_counts_as_the_worst_value_where_a_direction_is_given() -> None:
    logs = {"loss": math.nan}
    assert value("loss", logs, "min") == math.inf
    assert value("loss", logs, "max") == -math.inf
    kept = value("loss", logs)
    assert kept is not None and math.isnan(kept)
