"""Trainings for `diagnosis`: 40 with a fault each, 60 healthy ones.

The kinds of faults are those of two collections of faulty programs, DeepLocalize (Wardat, Le,
Rajan, ICSE 2021) and DeepFD (Cao et al., ICSE 2022): learning rate, activation, loss, labels, scale
of the data, initial weights, number of epochs, size of the network. Their programs need releases of
Keras from 2017 to 2019 and data that are not published; these are trainings of the same kinds, on
data of scikit-learn. The checks of `trainer.doctor` were written with these trainings at hand, so
this recall is that of known faults. Thresholds were set by seed 0; of the others, those for
overfitting.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers
from sklearn import datasets
from sklearn.preprocessing import scale

from trainer import Classifier, Regressor

Fit = Callable[[int], Any]
FAULTY: dict[str, tuple[frozenset[str], Fit]] = {}
HEALTHY: dict[str, Fit] = {}

LABELS, INPUTS, TARGETS = (
    "labels do not match the output",
    "inputs are not scaled",
    "targets are not scaled",
)
HIGH, LOW = "learning rate is too high", "learning rate is too low"
DEAD, VANISHING, OVERFITTING = "dying ReLUs", "vanishing gradients", "overfitting"
SHORT, LINEAR, EQUAL, SMALL = (
    "too few steps",
    "no activation between the layers",
    "the units are all alike",
    "the network is too small",
)
CONSTANT, NAN, RARE, LEAK = (
    "constant prediction",
    "loss is not finite",
    "class imbalance",
    "leak between training and validation rows",
)


def faulty(*names: str) -> Callable[[Fit], Fit]:
    """Add a training whose cause has one of these names."""

    def add(fit: Fit) -> Fit:
        FAULTY[fit.__name__] = frozenset(names), fit
        return fit

    return add


def healthy(fit: Fit) -> Fit:
    """Add a training in which nothing is to be found."""
    HEALTHY[fit.__name__] = fit
    return fit


# ---- data ------------------------------------------------------------------------------------


@functools.cache
def data(name: str, scaled: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return x as float32 and y."""
    generator = np.random.default_rng(0)
    if name == "moons":
        x, y = datasets.make_moons(1_000, noise=0.2, random_state=0)
    elif name == "circles":
        x, y = datasets.make_circles(1_000, noise=0.1, factor=0.5, random_state=0)
    elif name == "blobs":
        x, y = datasets.make_blobs(900, n_features=4, centers=4, random_state=0)
    elif name == "xor":
        x = generator.uniform(-1, 1, (1_000, 2))
        y = (x[:, 0] * x[:, 1] > 0).astype(int)
    elif name == "table":
        x, y = datasets.make_classification(
            1_200, 20, n_informative=8, n_classes=3, class_sep=1.5, random_state=1
        )
    elif name == "rare":
        x, y = datasets.make_classification(
            2_000, 10, n_informative=5, weights=[0.96], class_sep=0.8, random_state=7
        )
    elif name == "friedman":
        x, y = datasets.make_friedman1(1_000, noise=0.5, random_state=0)
    elif name == "linear":
        x, y = datasets.make_regression(800, 10, noise=5.0, random_state=0)
    elif name == "sine":
        x = generator.uniform(-3, 3, (800, 1))
        y = np.sin(2 * x[:, 0]) + 0.1 * generator.normal(size=800)
    elif name == "diabetes":
        x, y = datasets.load_diabetes(return_X_y=True, scaled=False)
    else:
        x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        x = x / 16 if name == "digits" and scaled else x
    order = np.random.default_rng(1).permutation(len(x))
    x, y = x[order], y[order]
    if scaled and name != "digits":
        x = scale(x)
    return x.astype("float32"), y


def numbers(name: str, scaled: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return a regression's data with scaled targets."""
    x, y = data(name, scaled)
    return x, scale(y).astype("float32")


def network(*hidden: Any, out: Any = None) -> Callable[[Any, Any], keras.Model]:
    """Return a build_model of layers; `out` is the last layer, from spec."""

    def build_model(self: Any, spec: Any) -> keras.Model:
        last = layers.Dense(spec.n_outputs, spec.output_activation) if out is None else out(spec)
        copies = [type(h).from_config({**h.get_config(), "name": None}) for h in hidden]
        return keras.Sequential([layers.Input(spec.input_shape), *copies, last])

    return build_model


def classifier(*hidden: Any, out: Any = None, **fields: Any) -> Any:
    """Return a Classifier of these layers."""
    kind = type("Net", (Classifier,), {"build_model": network(*hidden, out=out)})
    return kind(**{"epochs": 15, "normalize": None, "validation_split": 0.2, **fields})


def regressor(*hidden: Any, out: Any = None, **fields: Any) -> Any:
    """Return a Regressor of these layers."""
    kind = type("Net", (Regressor,), {"build_model": network(*hidden, out=out)})
    return kind(**{"epochs": 30, "normalize": None, "validation_split": 0.2, **fields})


def dense(units: int = 32, activation: str | None = "relu", **options: Any) -> Any:
    """Return a Dense layer to be copied into a network."""
    return layers.Dense(units, activation, **options)


def of(estimator: Any, both: tuple[Any, Any], seed: int) -> Any:
    """Fit."""
    return estimator.set_params(random_state=seed).fit(*both)


# ---- forty faults ----------------------------------------------------------------------------


@faulty(HIGH)
def sgd_at_ten(seed):
    return of(classifier(dense(), optimizer="sgd", learning_rate=10.0), data("digits"), seed)


@faulty(HIGH, DEAD)
def adam_at_one(seed):
    return of(classifier(dense(), dense(), learning_rate=1.0), data("table"), seed)


@faulty(HIGH, NAN)
def sgd_regression_diverges(seed):
    model = regressor(dense(64), dense(64), optimizer="sgd", learning_rate=3.0)
    return of(model, numbers("friedman"), seed)


@faulty(HIGH, INPUTS)
def sgd_regression_of_raw_columns(seed):
    model = regressor(dense(64), optimizer="sgd", learning_rate=1e-4, epochs=20)
    return of(model, numbers("diabetes", scaled=False), seed)


@faulty(LOW)
def sgd_at_a_millionth(seed):
    return of(classifier(dense(), optimizer="sgd", learning_rate=1e-6), data("digits"), seed)


@faulty(LOW)
def adam_at_a_hundred_thousandth(seed):
    return of(classifier(dense(), learning_rate=1e-5), data("table"), seed)


@faulty(LOW)
def adam_too_slow_for_a_regression(seed):
    return of(regressor(dense(), learning_rate=1e-6), numbers("friedman"), seed)


@faulty(LOW, SHORT)
def sgd_at_a_thousandth(seed):
    return of(
        classifier(dense(), optimizer="sgd", learning_rate=1e-3, epochs=5), data("digits"), seed
    )


@faulty(INPUTS)
def raw_wine(seed):
    model = classifier(dense(), optimizer="sgd", learning_rate=0.01)
    return of(model, data("wine", scaled=False), seed)


@faulty(INPUTS)
def raw_pixels(seed):
    x, y = data("digits", scaled=False)
    model = classifier(dense(64), dense(64), optimizer="sgd", learning_rate=0.01)
    return of(model, (x * 16, y), seed)


@faulty(INPUTS)
def tiny_inputs(seed):
    x, y = data("digits")
    return of(classifier(dense(), optimizer="sgd", learning_rate=0.01), (x / 5_000, y), seed)


@faulty(TARGETS)
def raw_targets(seed):
    x, y = data("diabetes")
    return of(regressor(dense(), learning_rate=1e-3), (x, y), seed)


@faulty(LABELS)
def softmax_of_one_unit(seed):
    model = classifier(
        dense(), out=lambda spec: layers.Dense(1, "softmax"), loss="binary_crossentropy"
    )
    return of(model, data("moons"), seed)


@faulty(LABELS)
def softmax_twice(seed):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = classifier(
        dense(), out=lambda spec: layers.Dense(spec.n_outputs, "softmax"), loss=loss, epochs=5
    )
    return of(model, data("digits"), seed)


@faulty(LABELS)
def logits_taken_for_probabilities(seed):
    loss = keras.losses.SparseCategoricalCrossentropy()
    model = classifier(dense(), out=lambda spec: layers.Dense(spec.n_outputs), loss=loss)
    return of(model, data("table"), seed)


@faulty(LABELS)
def relu_at_the_end(seed):
    loss = keras.losses.SparseCategoricalCrossentropy()
    model = classifier(dense(), out=lambda spec: layers.Dense(spec.n_outputs, "relu"), loss=loss)
    return of(model, data("digits"), seed)


@faulty(LABELS)
def sigmoid_at_the_end_of_a_regression(seed):
    model = regressor(dense(), out=lambda spec: layers.Dense(1, "sigmoid"))
    return of(model, numbers("friedman"), seed)


@faulty(LABELS)
def relu_at_the_end_of_a_regression(seed):
    model = regressor(dense(), out=lambda spec: layers.Dense(1, "relu"))
    return of(model, numbers("linear"), seed)


@faulty(LABELS)
def broadcast_loss(seed):
    class Net(Regressor):
        build_model = network(dense())

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, **_):
            return keras.ops.mean(keras.ops.square(y - y_pred))

    model = Net(epochs=20, normalize=None)
    return of(model, numbers("friedman"), seed)


@faulty(DEAD)
def biased_to_death(seed):
    unit = dense(32, bias_initializer=keras.initializers.Constant(-20.0))
    return of(classifier(unit), data("table"), seed)


@faulty(VANISHING)
def deep_sigmoids(seed):
    model = classifier(*[dense(32, "sigmoid") for _ in range(10)], optimizer="sgd")
    return of(model.set_params(learning_rate=0.1), data("digits"), seed)


@faulty(VANISHING)
def small_initial_weights(seed):
    unit = dense(32, "tanh", kernel_initializer=keras.initializers.RandomNormal(stddev=1e-3))
    return of(classifier(unit, unit, unit, optimizer="sgd", learning_rate=0.1), data("table"), seed)


@faulty(EQUAL, VANISHING)
def all_weights_zero(seed):
    model = classifier(dense(32, "relu", kernel_initializer="zeros"))
    return of(model, data("digits"), seed)


@faulty(EQUAL)
def all_weights_equal(seed):
    start = keras.initializers.Constant(0.1)
    model = classifier(
        dense(32, "tanh", kernel_initializer=start),
        out=lambda spec: layers.Dense(1, "sigmoid", kernel_initializer=start),
        epochs=30,
    )
    return of(model, data("xor"), seed)


@faulty(LINEAR)
def no_activation_on_circles(seed):
    return of(classifier(dense(32, None), dense(32, None), epochs=20), data("circles"), seed)


@faulty(LINEAR)
def no_activation_on_xor(seed):
    model = classifier(dense(64, None), learning_rate=0.01, epochs=20)
    return of(model, data("xor"), seed)


@faulty(LINEAR)
def no_activation_on_a_sine(seed):
    model = regressor(dense(64, None), dense(64, None), learning_rate=0.01)
    return of(model, numbers("sine"), seed)


@faulty(SHORT)
def one_large_batch(seed):
    return of(classifier(dense(), batch_size=1_000, epochs=6), data("digits"), seed)


@faulty(SHORT)
def three_epochs(seed):
    return of(regressor(dense(), epochs=3), numbers("friedman"), seed)


@faulty(SMALL)
def one_unit(seed):
    return of(classifier(dense(1), epochs=40, learning_rate=0.01), data("digits"), seed)


@faulty(SMALL)
def dropout_of_nearly_all(seed):
    model = classifier(dense(32), layers.Dropout(0.97), epochs=15)
    return of(model, data("digits"), seed)


@faulty(OVERFITTING, CONSTANT)
def rows_of_x_and_y_do_not_match(seed):
    x, y = data("digits")
    model = classifier(dense(128), dense(128), learning_rate=3e-3, epochs=30)
    return of(model, (x, np.random.default_rng(seed).permutation(y)), seed)


@faulty(OVERFITTING)
def eighty_rows_and_a_thousand_units(seed):
    x, y = datasets.make_classification(80, 40, n_informative=4, flip_y=0.3, random_state=seed)
    model = classifier(dense(512), dense(512), epochs=60)
    return of(model.set_params(validation_split=0.4), (scale(x).astype("float32"), y), seed)


@faulty(OVERFITTING)
def below_the_majority_on_new_rows(seed):
    generator = np.random.default_rng(seed)
    levels = generator.integers(0, 300, (1_500, 3))
    x = np.concatenate([np.eye(300, dtype="float32")[levels[:, i]] for i in range(3)], axis=1)
    y = (generator.random(1_500) < 0.1 + 0.1 * (levels[:, 0] < 60)).astype(int)
    return of(classifier(dense(128), epochs=15), (x, y), seed)


@faulty(OVERFITTING)
def noise_learnt_by_heart(seed):
    x = np.random.default_rng(seed).normal(size=(300, 40)).astype("float32")
    y = np.random.default_rng(seed + 1).normal(size=300).astype("float32")
    return of(regressor(dense(256), dense(256), epochs=40), (x, y), seed)


@faulty(CONSTANT)
def no_dependence_at_all(seed):
    x = np.random.default_rng(seed).normal(size=(2_000, 4)).astype("float32")
    y = np.random.default_rng(seed + 1).normal(size=2_000).astype("float32")
    return of(regressor(dense(8), epochs=5, callbacks=["early_stopping"]), (x, y), seed)


@faulty(HIGH, TARGETS, INPUTS)
def sgd_ends_at_a_huge_loss(seed):
    x, y = data("linear")
    clipped = keras.optimizers.SGD(clipnorm=1.0)
    model = regressor(dense(64), optimizer=clipped, learning_rate=1e-3, epochs=10)
    return of(model, (x, y * 4), seed)


@faulty(HIGH)
def sgd_on_a_loss_in_the_unit_of_y(seed):
    x, y = data("linear")
    model = Regressor(optimizer="sgd", learning_rate=0.01, loss="mse", epochs=5)
    return of(model, (x, y * 10), seed)


@faulty(RARE)
def rare_class_never_found(seed):
    return of(classifier(dense(4), epochs=4, optimizer="sgd"), data("rare"), seed)


@faulty(LEAK)
def rows_twice(seed):
    x, y = data("table")
    return of(classifier(dense()), (np.concatenate([x, x]), np.concatenate([y, y])), seed)


# ---- sixty healthy trainings -----------------------------------------------------------------

for _name in ("digits", "iris", "wine", "breast_cancer", "moons", "circles", "blobs", "table"):
    _epochs = {"iris": 60, "wine": 30}.get(_name, 25)

    def _adam(seed: int, name: str = _name, epochs: int = _epochs) -> Any:
        return of(classifier(dense(), epochs=epochs, learning_rate=0.005), data(name), seed)

    def _two(seed: int, name: str = _name, epochs: int = _epochs) -> Any:
        model = classifier(dense(), dense(), epochs=epochs, learning_rate=3e-3)
        return of(model.set_params(callbacks=["early_stopping"]), data(name), seed)

    def _sgd(seed: int, name: str = _name, epochs: int = _epochs) -> Any:
        model = classifier(dense(), optimizer="sgd", learning_rate=0.3, epochs=epochs)
        model.set_params(callbacks=["early_stopping"])
        return of(model, data(name), seed)

    def _stopped(seed: int, name: str = _name) -> Any:
        model = Classifier(epochs=60, validation_split=0.2, callbacks=["early_stopping"])
        return of(model, data(name, scaled=False), seed)

    for _fit in (_adam, _two, _sgd, _stopped):
        HEALTHY[f"{_name}_{_fit.__name__[1:]}"] = _fit

for _name in ("friedman", "linear", "sine", "diabetes"):

    def _regression(seed: int, name: str = _name) -> Any:
        return of(regressor(dense(64), epochs=40, learning_rate=0.01), numbers(name), seed)

    def _deep(seed: int, name: str = _name) -> Any:
        model = regressor(dense(), dense(), epochs=40, learning_rate=5e-3)
        return of(model.set_params(callbacks=["early_stopping"]), numbers(name), seed)

    def _default(seed: int, name: str = _name) -> Any:
        model = Regressor(epochs=40, validation_split=0.2, callbacks=["early_stopping"])
        return of(model, data(name, scaled=False), seed)

    def _tanh(seed: int, name: str = _name) -> Any:
        model = regressor(dense(64, "tanh"), epochs=40, learning_rate=0.01)
        return of(model.set_params(callbacks=["early_stopping"]), numbers(name), seed)

    for _fit in (_regression, _deep, _default, _tanh):
        HEALTHY[f"{_name}_{_fit.__name__[1:]}"] = _fit


@healthy
def convolutions(seed):
    x, y = data("digits")
    model = classifier(layers.Conv2D(8, 3, activation="relu"), layers.Flatten(), epochs=10)
    return of(model, (x.reshape(-1, 8, 8, 1), y), seed)


@healthy
def selu_and_batch_norm(seed):
    model = classifier(
        dense(32, "selu", kernel_initializer="lecun_normal"), layers.BatchNormalization(), epochs=15
    )
    return of(model, data("digits"), seed)


@healthy
def dropout(seed):
    return of(classifier(dense(64), layers.Dropout(0.3), epochs=25), data("digits"), seed)


@healthy
def weight_decay(seed):
    return of(classifier(dense(), optimizer="adamw", epochs=25), data("table"), seed)


@healthy
def no_validation(seed):
    return of(classifier(dense(), validation_split=0.0, epochs=20), data("digits"), seed)


@healthy
def logistic_regression(seed):
    return of(classifier(epochs=60, learning_rate=0.05), data("breast_cancer"), seed)


@healthy
def linear_regression(seed):
    return of(regressor(epochs=60, learning_rate=0.05), numbers("linear"), seed)


@healthy
def noise_that_nobody_learns_away(seed):
    x, y = datasets.make_classification(1_500, 10, flip_y=0.3, random_state=3)
    model = classifier(dense(8), callbacks=["early_stopping"], epochs=30)
    return of(model, (scale(x).astype("float32"), y), seed)


@healthy
def rare_class_with_weights(seed):
    return of(classifier(dense(), class_weight="balanced", epochs=20), data("rare"), seed)


@healthy
def many_labels(seed):
    x, y = datasets.make_multilabel_classification(900, 20, n_classes=4, random_state=0)
    return of(Classifier(epochs=15, validation_split=0.2), (x, y), seed)


@healthy
def two_outputs(seed):
    x, y = data("digits")
    return of(Classifier(epochs=10, validation_split=0.2), (x, {"d": y, "odd": y % 2}), seed)


@healthy
def deep_and_wide(seed):
    return of(
        Classifier(model="wide_and_deep", epochs=20, validation_split=0.2), data("table"), seed
    )


@healthy
def a_first_look_of_two_epochs(seed):
    return of(classifier(dense(), epochs=2), data("digits"), seed)
