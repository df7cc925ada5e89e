"""What the rest of the package learns of TensorFlow's tensors."""

import pytest
import tensorflow as tf

from trainer.engine.tensorflow import tensors

WEIGHTS = tf.Variable(tf.ones((3, 2)))
BIAS = tf.Variable(tf.ones(2))


@pytest.mark.parametrize(
    ("ends_in", "name"),
    [
        (tf.nn.softmax, "softmax"),
        (lambda x: tf.cast(tf.reshape(tf.sigmoid(x), (-1, 1)), tf.float64), "sigmoid"),
        (tf.tanh, "tanh"),
        (lambda x: x @ WEIGHTS, "linear"),
        (lambda x: x @ WEIGHTS + BIAS, "linear"),
        (lambda x: tf.nn.bias_add(x @ WEIGHTS, BIAS), "linear"),
        (lambda x: x + tf.sigmoid(x), None),
        (tf.nn.relu, None),
    ],
)
def test_the_last_activation_of_a_graph_is_named_as_keras_names_it(ends_in, name):
    found = []
    tensors.trace(lambda: found.append(tensors.last_activation(ends_in(tf.ones((4, 3))))))
    assert found == [name]
