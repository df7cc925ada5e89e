"""parameters: fields, and those of callbacks and architectures, under scikit-learn's names."""

from __future__ import annotations

import pickle
from typing import Annotated, Any

import keras
import pytest
from sklearn.base import clone

from trainer import Classifier, Regressor
from trainer.callbacks import EMA, EarlyStopping
from trainer.hyperparameters import Float, Int


class Searched(Regressor):
    units: Annotated[int, Int(1, 64)] = 8


def network() -> keras.Model:
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])


def test_deep_parameters_can_be_set_to_what_they_are_and_nothing_changes() -> None:
    made = Regressor(
        model={"name": "mlp", "hidden": (4,)},
        callbacks=["ema", {"name": "early_stopping", "patience": 2}, keras.callbacks.History()],
    )
    before = made.get_params()
    assert before["model__hidden"] == (4,) and before["callbacks__ema__decay"] == EMA().decay
    assert before["callbacks__early_stopping__patience"] == 2
    assert not any("__" in name for name in made.get_params(deep=False))
    nested = {name: value for name, value in before.items() if "__" in name}
    assert {
        k: v for k, v in made.set_params(**nested).get_params().items() if k in nested
    } == nested


def test_setting_a_field_of_a_callback_replaces_the_sequence_and_not_the_callback() -> None:
    stop = EarlyStopping(patience=2)
    listed = [stop, "ema", EMA]
    made = Regressor(callbacks=listed)
    made.set_params(callbacks__early_stopping__patience=5, callbacks__ema__decay=0.5)
    assert listed == [stop, "ema", EMA] and stop.patience == 2
    first, second, third = made.callbacks
    assert type(first) is EarlyStopping and first.patience == 5
    assert second == {"name": "ema", "decay": 0.5} and third is EMA
    made.set_params(callbacks=("ema",))
    assert type(made.set_params(callbacks__ema__decay=0.5).callbacks) is tuple


def test_a_class_as_callback_has_the_parameters_of_its_object() -> None:
    made = Regressor(callbacks=[EMA])
    assert made.get_params()["callbacks__ema__decay"] == EMA().decay
    (one,) = made.set_params(callbacks__ema__decay=0.25).callbacks
    assert isinstance(one, EMA) and one.decay == 0.25


def test_a_field_and_what_is_within_it_may_be_set_in_one_call() -> None:
    made = Regressor().set_params(
        callbacks__ema__decay=0.5,
        callbacks=["ema"],
        model__hidden=(3,),
        model__activation="tanh",
        model="mlp",
    )
    assert made.callbacks == [{"name": "ema", "decay": 0.5}]
    assert made.model == {"name": "mlp", "hidden": (3,), "activation": "tanh"}


def test_callbacks_and_models_that_are_none_are_left_for_fit_to_refuse() -> None:
    made = Regressor(callbacks=["nope", {"patience": 2}], model="nope")
    found = made.get_params()
    assert found["callbacks"] == ["nope", {"patience": 2}] and found["model"] == "nope"
    assert not any(name.startswith("model__") for name in found)
    assert "callbacks" in Regressor(callbacks=3).get_params()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("epoch", "^Invalid parameter 'epoch' for Regressor: no such field; did you mean 'epochs'"),
        ("callbacks__ema__decoy", "no callback has such a field; did you mean 'callbacks__ema__d"),
        ("callbacks__swa__decay", "'callbacks__swa__decay' for Regressor: no callback has such"),
        ("model__hidden", "'model__hidden' .*: the field model is 3; write model='mlp'"),
        ("epochs__value", "^Invalid parameter 'epochs__value' for Regressor: no such field"),
    ],
)
def test_a_parameter_that_there_is_not_is_named_with_near_ones(name: str, message: str) -> None:
    made = Regressor(callbacks=["ema"], model=3)
    with pytest.raises(ValueError, match=message):
        made.set_params(**{name: 1})
    assert made.callbacks == ["ema"] and made.model == 3


def test_the_space_is_of_annotated_fields_and_those_of_callbacks() -> None:
    assert Searched(model=None).search_space()["units"] == Int(1, 64)
    callbacks = Regressor(callbacks={"first": "ema", "second": EMA()}).search_space()
    of_decay = EMA.domains()["decay"]
    assert isinstance(of_decay, Float)
    assert callbacks["callbacks__first__decay"] == of_decay
    assert callbacks["callbacks__second__decay"] == of_decay


def test_an_option_or_a_rate_that_is_given_is_not_searched() -> None:
    whole = Regressor(model="tabular").search_space()
    assert "learning_rate" in whole and "model__width" in whole
    given = Regressor(model={"name": "tabular", "width": 32}, learning_rate=0.5).search_space()
    assert set(whole) - set(given) == {"learning_rate", "model__width"}
    assert set(given) < set(whole)


def test_a_clone_has_copies_of_its_fields_but_shares_a_model() -> None:
    model, stop = network(), EarlyStopping(patience=2)
    made = Regressor(model=model, callbacks=[stop], epochs=3)
    made.leftover_ = 1  # type: ignore[attr-defined]
    other = clone(made)
    assert other.model is made.model is model
    assert other.callbacks[0] is not stop and other.callbacks[0].patience == 2
    assert other.epochs == 3 and not hasattr(other, "leftover_")


def test_parameters_survive_pickling() -> None:
    fields: dict[str, Any] = {"callbacks": ["ema"], "model": {"name": "mlp", "hidden": (3,)}}
    made = Classifier(**fields)
    again = pickle.loads(pickle.dumps(made))
    assert again.get_params() == made.get_params()
    again.set_params(callbacks__ema__decay=0.5)
    assert made.callbacks == ["ema"]


def test_rows_may_have_more_axes_than_scikit_learns() -> None:
    assert Regressor().__sklearn_tags__().input_tags.three_d_array
