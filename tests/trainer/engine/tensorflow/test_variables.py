"""Variables of Keras and TensorFlow are found, read and assigned alike, copies on devices too."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import warm

from trainer.engine.tensorflow import variables
from trainer.engine.tensorflow.variables import Held


@pytest.mark.parametrize(
    "made",
    [
        lambda: keras.Variable([1.0, 2.0]),
        lambda: tf.Variable([1.0, 2.0]),
        lambda: tf.Variable([1.0, 2.0], dtype=tf.bfloat16),
        lambda: tf.random.Generator.from_seed(1),
        lambda: keras.random.SeedGenerator(1).state,
    ],
    ids=["keras", "tensorflow", "bfloat16", "generator", "seed"],
)
def test_the_value_of_a_variable_is_read_and_put_back(made: Any) -> None:
    owner = made()
    held = Held("name", variables.handle_of(owner), "start", owner)
    before = held.to_array().copy()
    assert held.filled and held.shape == before.shape and variables.storable(held.dtype)
    held.assign(np.zeros_like(before))
    assert not held.to_array().any()
    held.from_array(before)
    np.testing.assert_array_equal(held.to_array(), before)


def test_text_is_read_as_bytes_and_put_back() -> None:
    owner = tf.Variable(["ä", "b"])
    held = Held("name", variables.handle_of(owner), "start", owner)
    saved = held.to_array()
    assert saved.dtype == np.uint8 and not held.is_numeric
    owner.assign(["", ""])
    held.from_array(saved)
    assert [text.decode() for text in owner.numpy()] == ["ä", "b"]


def test_what_is_no_variable_has_no_handle() -> None:
    for value in (1.0, np.ones(3), tf.constant(1.0), keras.layers.Dense(1), object()):
        assert variables.handle_of(value) is None and variables.parts(value) == []


def test_a_shape_may_be_left_open() -> None:
    owner = tf.Variable([[1.0]], shape=[None, 1])
    held = Held("name", variables.handle_of(owner), "start", owner)
    assert held.takes([3, 1]) and not held.takes([3, 2])


MIRRORED = """
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
from trainer.engine.tensorflow import variables
from trainer.engine.tensorflow.variables import Held

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
for variable in variables.listed(model):
    handles = variables.parts(variable)
    held = Held(variable.path, variables.handle_of(variable), "start", variable)
    value = held.to_array()
    np.testing.assert_array_equal(value, variables.copied(variable))
    held.assign(value + 1)
    for copy in variable._value.values:
        np.testing.assert_array_equal(copy.numpy(), value + 1)
    assert len(handles) == 2, (variable.path, handles)
print(len(variables.listed(model)), "variables")
"""


def test_each_copy_of_a_mirrored_variable_is_assigned() -> None:
    done = warm.run(MIRRORED)
    assert done.returncode == 0, done.stderr
    assert "variables" in done.stdout
