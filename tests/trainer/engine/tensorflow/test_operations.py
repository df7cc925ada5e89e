"""operations: which operations of a step have a state that no file can hold, and how it is said."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

from trainer.engine.tensorflow.operations import (
    Operations,
    global_generators,
    of_graph,
    warnings_of,
)


def test_one_warning_for_each_kind_of_state_names_the_first_operation_of_each_type() -> None:
    found = [
        ("RandomUniform", "first"),
        ("MatMul", "harmless"),
        ("RandomUniform", "second"),
        ("QueueEnqueueV2", "queue"),
        ("PyFunc", ""),
        ("LogUniformCandidateSampler", "sampler"),
    ]
    draws, python, changes = warnings_of(found, "train")
    shown = "RandomUniform (first), LogUniformCandidateSampler (sampler), as"
    assert draws.startswith(f"the training step draws with {shown}")
    assert "use keras.random with a keras.random.SeedGenerator" in draws
    assert python.startswith("the training step calls Python with PyFunc, as")
    assert "return it from get_extra_state" in python
    assert changes.startswith("the training step changes a table, queue or iterator with QueueEn")
    assert "hold it in a tf.Variable" in changes
    assert warnings_of(found[1:2], "test") == []


@pytest.mark.parametrize("draw", [tf.random.uniform, tf.function(tf.random.uniform)])
def test_an_operation_within_a_function_of_a_traced_step_is_found(draw: Any) -> None:
    generator = keras.random.SeedGenerator(1)

    def step() -> Any:
        return draw([2]) + keras.random.normal((2,), seed=generator)

    (text,) = of_graph(tf.function(step).get_concrete_function(), "test")
    assert text.startswith("the test step draws with RandomUniform (")
    assert "Stateless" not in text


def test_nothing_is_said_of_generators_whose_state_is_a_variable() -> None:
    generator = tf.random.Generator.from_seed(1)

    @tf.function
    def step() -> Any:
        return generator.normal([2]) + tf.random.stateless_uniform([2], seed=[1, 2])

    assert of_graph(step.get_concrete_function(), "train") == []
    with Operations() as seen:
        generator.normal([2])
    assert warnings_of(seen.types, "train") == []
    assert any(handle is generator.state.handle for handle in seen.resources)


def test_eager_operations_are_recorded_within_the_block_and_not_after_it() -> None:
    variable = tf.Variable(1.0)
    with Operations() as seen:
        variable.assign_add(1.0)
        variable.assign_add(1.0)
    tf.random.uniform([1])
    kinds = [kind for kind, _ in seen.types]
    assert kinds.count("AssignAddVariableOp") == 2 and "RandomUniform" not in kinds
    assert len([h for h in seen.resources if h is variable.handle]) == 1


def test_operations_within_a_function_that_runs_in_the_block_are_recorded_too() -> None:
    drawn = tf.function(lambda: tf.random.uniform([1]))
    drawn()
    with Operations() as seen:
        drawn()
    assert "RandomUniform" in [kind for kind, _ in seen.types]


def test_an_error_ends_the_recording_as_well() -> None:
    with pytest.raises(ZeroDivisionError), Operations() as seen:
        raise ZeroDivisionError
    tf.random.uniform([1])
    assert seen.types == []


def test_the_generator_of_the_process_is_named_as_users_get_it() -> None:
    of_users = tf.random.get_global_generator()
    ((name, generator),) = global_generators()
    assert generator is of_users is eval(name, {"tf": tf})
