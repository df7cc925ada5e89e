"""Trainings that fail, each for a reason of its own, and the Trainers that they use."""

import keras
import numpy as np
from keras import layers, ops
from sklearn import datasets

from trainer import Classifier, Regressor


class Perceptron(Classifier):
    """The 784-300-100-10 network of the Fashion-MNIST lesson, on whatever is given."""

    optimizer: str = "sgd"
    learning_rate: float = 0.01

    def build_model(self, spec):
        return keras.Sequential(
            [
                layers.Input(spec.input_shape),
                layers.Flatten(),
                layers.Dense(300, "relu"),
                layers.Dense(100, "relu"),
                layers.Dense(spec.n_outputs, "softmax"),
            ]
        )


class Small(Perceptron):
    """The same with one small hidden layer."""

    units: int = 32
    bias: float = 0.0

    def build_model(self, spec):
        return keras.Sequential(
            [
                layers.Input(spec.input_shape),
                layers.Dense(
                    self.units, "relu", bias_initializer=keras.initializers.Constant(self.bias)
                ),
                layers.Dense(spec.n_outputs, "softmax"),
            ]
        )


class Line(Regressor):
    """A regression with a network of one's own, whose output activation is a field."""

    end: str = "linear"
    optimizer: str = "sgd"
    learning_rate: float = 0.01

    def build_model(self, spec):
        return keras.Sequential(
            [
                layers.Input(spec.input_shape),
                layers.Dense(32, "tanh"),
                layers.Dense(spec.n_outputs, self.end),
            ]
        )


def pixels():
    """Digits as images of 28 x 28 pixels from 0 to 255."""
    x, y = datasets.load_digits(return_X_y=True)
    images = np.kron(x.reshape(-1, 8, 8), np.ones((3, 3)))
    return np.pad(images, ((0, 0), (2, 2), (2, 2))).astype("float32") * (255 / 16), y


def diabetes():
    x, y = datasets.load_diabetes(return_X_y=True, scaled=False)
    return x.astype("float32"), y.astype("float32")


# ---- ten trainings, and more, that fail ----------------------------------------------------------


def raw_pixels():
    return Perceptron(epochs=5, random_state=0).fit(*pixels())


def raw_columns():
    x, y = datasets.load_wine(return_X_y=True)
    return Small(epochs=20, optimizer="adam", random_state=1).fit(x, y)


def raw_targets():
    return Line(epochs=10, normalize="standard", random_state=0).fit(
        diabetes()[0], diabetes()[1] * 10
    )


def high_rate():
    x, y = datasets.load_wine(return_X_y=True)
    return Small(epochs=10, normalize="standard", learning_rate=300.0, random_state=0).fit(x, y)


def high_rate_of_adam():
    x, y = pixels()
    return Perceptron(
        epochs=4, normalize="standard", optimizer="adam", learning_rate=3.0, random_state=0
    ).fit(x, y)


def low_rate():
    x, y = datasets.load_digits(return_X_y=True)
    return Small(epochs=8, normalize="standard", learning_rate=1e-6, random_state=0).fit(x, y)


def low_rate_of_regression():
    x, y = datasets.make_friedman1(800, random_state=0)
    y = (y - y.mean()) / y.std()
    return Line(
        epochs=5, normalize="standard", optimizer="adam", learning_rate=1e-8, random_state=0
    ).fit(x, y)


def logits_as_probabilities():
    class NoSoftmax(Small):
        def build_model(self, spec):
            return keras.Sequential(
                [
                    layers.Input(spec.input_shape),
                    layers.Dense(32, "relu"),
                    layers.Dense(spec.n_outputs),
                ]
            )

    x, y = datasets.load_digits(return_X_y=True)
    loss = "sparse_categorical_crossentropy"
    return NoSoftmax(epochs=5, normalize="standard", loss=loss, random_state=0).fit(x, y)


def softmax_of_one():
    class One(Small):
        def build_model(self, spec):
            return keras.Sequential(
                [
                    layers.Input(spec.input_shape),
                    layers.Dense(16, "relu"),
                    layers.Dense(1),
                    layers.Softmax(),
                ]
            )

    x, y = datasets.load_breast_cancer(return_X_y=True)
    return One(epochs=5, normalize="standard", random_state=0).fit(x, y)


def sigmoid_of_any_numbers():
    x, y = datasets.make_regression(500, 8, noise=5, random_state=2)
    return Line(epochs=15, end="sigmoid", normalize="standard", random_state=0).fit(x, y / y.std())


def each_with_each():
    class Own(Line):
        def compute_loss(self, x, y, y_pred, sample_weight):
            return ops.mean(ops.square(ops.cast(y, y_pred.dtype) - y_pred))

    x, y = datasets.make_friedman1(600, random_state=3)
    y = (y - y.mean()) / y.std()
    return Own(epochs=10, normalize="standard", learning_rate=0.05, random_state=0).fit(x, y)


def dead_units():
    x, y = datasets.load_iris(return_X_y=True)
    return Small(epochs=20, normalize="standard", bias=-10.0, random_state=0).fit(x, y)


def deep_sigmoids():
    class Deep(Perceptron):
        def build_model(self, spec):
            hidden = [layers.Dense(30, "sigmoid") for _ in range(12)]
            last = layers.Dense(spec.n_outputs, "softmax")
            return keras.Sequential([layers.Input(spec.input_shape), *hidden, last])

    x, y = datasets.load_digits(return_X_y=True)
    return Deep(epochs=5, normalize="standard", learning_rate=0.1, random_state=0).fit(x, y)


def rare_class():
    x, y = datasets.make_classification(
        2_000, 10, n_informative=4, weights=[0.97], class_sep=0.4, flip_y=0.02, random_state=4
    )
    return Classifier(epochs=5, random_state=0, learning_rate=1e-4).fit(x, y)


def too_few_rows():
    x, y = datasets.make_classification(
        160, 40, n_informative=5, class_sep=0.5, flip_y=0.2, random_state=5
    )
    return Classifier(epochs=80, validation_split=0.4, random_state=0).fit(x, y)


def copies_before_the_split():
    x, y = datasets.load_breast_cancer(return_X_y=True)
    few = np.flatnonzero(y == 0)
    x, y = np.concatenate([x, x[few]]), np.concatenate([y, y[few]])
    return Classifier(epochs=10, validation_split=0.3, random_state=0).fit(x, y)


def other_rows_labels():
    x, y = datasets.load_wine(return_X_y=True)
    y = np.random.default_rng(0).permutation(np.tile(y, 10))
    x = np.tile(x, (10, 1)) + np.random.default_rng(1).normal(size=(1780, 13)) * x.std(axis=0)
    return Small(epochs=6, normalize="standard", random_state=0).fit(x, y)


def logarithm_of_negative():
    class Own(Line):
        def compute_loss(self, x, y, y_pred, sample_weight):
            return ops.mean(ops.square(ops.log(y_pred[:, 0]) - ops.log(y)))

    x, y = datasets.make_friedman1(400, random_state=6)
    return Own(epochs=3, normalize="standard", random_state=0).fit(x, y / 10)


FAILING = {
    raw_pixels: "inputs are not scaled",
    raw_columns: "inputs are not scaled",
    raw_targets: "targets are not scaled",
    high_rate: "learning rate is too high",
    high_rate_of_adam: "learning rate is too high",
    low_rate: "learning rate is too low",
    low_rate_of_regression: "learning rate is too low",
    logits_as_probabilities: "labels do not match the output",
    softmax_of_one: "labels do not match the output",
    sigmoid_of_any_numbers: "labels do not match the output",
    each_with_each: "labels do not match the output",
    dead_units: "dying ReLUs",
    deep_sigmoids: "vanishing gradients",
    rare_class: "class imbalance",
    too_few_rows: "overfitting",
    copies_before_the_split: "leak between training and validation rows",
    other_rows_labels: "constant prediction",
    logarithm_of_negative: "loss is not finite",
}
