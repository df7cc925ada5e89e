"""variables: all that training a model changes, in one order, and back to the values of a run."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from trainer.state.state_file import BadState
from trainer.state.variables import (
    draws_from,
    leaves,
    restore_variables,
    seed_states,
    variables,
)


class Own(keras.Model):
    """Holds what Keras does not track, in containers."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = keras.layers.SimpleRNN(2, stateful=True)
        self.dense = keras.layers.Dense(1)
        object.__setattr__(
            self, "held", {"a": [keras.optimizers.SGD(0.25), (keras.metrics.Mean(),)]}
        )
        object.__setattr__(self, "drawn", [keras.random.SeedGenerator(3, name="mine")])

    def call(self, x: Any) -> Any:
        return self.dense(self.recurrent(x))


def built(kind: Any = Own) -> Any:
    model = kind()
    model.compile("adam", "mse")
    model(np.zeros((4, 3, 2), np.float32))
    model.optimizer.build(model.trainable_variables)
    return model


def described(model: Any) -> tuple[list[Any], dict[str, np.ndarray]]:
    found = variables(model)
    tensors = {f"variable/{i}": np.asarray(v) for i, v in enumerate(found)}
    return [[v.path, list(v.shape)] for v in found], tensors


def test_every_variable_is_there_once_also_what_keras_does_not_list() -> None:
    model = built()
    found = variables(model)
    ids = [id(v) for v in found]
    assert len(ids) == len(set(ids))
    held, (drawn,) = model.held["a"], model.drawn
    expected = [*model.variables, *model.optimizer.variables, *model.recurrent.states]
    expected += [*held[0].variables, *held[1][0].variables, drawn.state]
    assert {id(v) for v in expected} <= set(ids)
    assert [id(v) for v in variables(model)] == ids, "in the same order again"


def test_a_model_draws_from_the_generator_of_its_fit_and_another_from_keras_own() -> None:
    model, other, generator = built(), built(), keras.random.SeedGenerator(5)
    draws_from(model, generator)
    states = seed_states(model)
    assert states[-1] is generator.state is variables(model)[-1]
    assert not any(state is generator.state for state in seed_states(other))
    assert any(state is model.drawn[0].state for state in states)


def test_leaves_are_those_of_containers_at_any_depth_in_order() -> None:
    assert list(leaves([1, (2, {"a": 3, "b": [4, []]}), "text", None])) == [
        1,
        2,
        3,
        4,
        "text",
        None,
    ]


def test_the_values_of_a_run_come_back_to_the_bit() -> None:
    model = built()
    rng = np.random.default_rng(0)
    for variable in variables(model):
        variable.assign(rng.integers(0, 100, variable.shape).astype(variable.dtype))
    about, tensors = described(model)
    again = built()
    restore_variables(again, about, tensors)
    for variable, value in zip(variables(again), tensors.values(), strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda tensors: tensors.pop("variable/1"),
        lambda tensors: tensors.update({"variable/1": np.zeros(77)}),
        lambda tensors: tensors.update({"variable/1": tensors["variable/1"].astype(complex)}),
    ],
)
def test_a_value_that_does_not_fit_is_named_and_nothing_is_changed(spoil: Any) -> None:
    model = built()
    about, tensors = described(model)
    before = {name: value.copy() for name, value in tensors.items()}
    tensors["variable/0"] = tensors["variable/0"] + 1
    spoil(tensors)
    with pytest.raises(BadState, match=f"no suitable value for '{variables(model)[1].path}'"):
        restore_variables(model, about, tensors)
    for variable, value in zip(variables(model), before.values(), strict=True):
        np.testing.assert_array_equal(variable, value)


def test_another_model_is_refused_with_the_first_variable_that_differs() -> None:
    model = built()
    about, tensors = described(model)
    about[2] = ["layer/kernel", [9, 9]]
    with pytest.raises(BadState, match="first at 'layer/kernel'; was build_model changed since"):
        restore_variables(model, about, tensors)
    about, tensors = described(model)
    n = len(about)
    with pytest.raises(
        BadState, match=f"had {n - 1} variables, this one has {n}, and they differ;"
    ):
        restore_variables(model, about[:-1], tensors)
