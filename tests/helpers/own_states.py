"""Trainers with state of a person's own, of every kind, for tests of exact resuming.

Each of KINDS gives a Trainer and a function that reads the values of its own state. They are made
anew for each fit, as in a new process: what would be a module's global is in a namespace that
`make` replaces.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from trainer import Trainer
from trainer.callbacks.callback import Callback

BATCH, EPOCHS = 8, 2
RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 4)).astype("float32")
Y = (X @ RNG.normal(size=(4, 1))).astype("float32")

SHARED: Any = None  # a global that a step works on
SECRET: Any = None  # one that is found by no path: it is fetched by its name


class Dense(Trainer):
    """A dense layer after what `first` makes."""

    def first(self) -> list[Any]:
        return []

    def build_model(self, spec: Any) -> keras.Model:
        rows = keras.Input(spec.input_shape)
        x = rows
        for layer in self.first():
            x = layer(x)
        return keras.Model(rows, layers.Dense(1)(x))


class Counts(layers.Layer):
    """Counts its calls in a variable that is none of Keras', and works with the count."""

    def __init__(self) -> None:
        super().__init__()
        self.count = tf.Variable(0.0)
        self.words = tf.Variable("none")

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            self.count.assign_add(1.0)
            self.words.assign(tf.strings.as_string(self.count))
        return x * (1.0 + 0.1 * self.count)


class InLayer(Dense):
    def first(self) -> list[Any]:
        self.layer = Counts()
        return [self.layer]

    def own(self) -> list[Any]:
        return [self.layer.count, self.layer.words]


class Helper:
    """A plain object."""

    def __init__(self) -> None:
        self.inner = {"means": [tf.Variable(tf.zeros([1])), keras.Variable(0.0)]}

    def follow(self, loss: Any) -> Any:
        mean, steps = self.inner["means"]
        steps.assign_add(1.0)
        mean.assign(0.9 * mean + 0.1 * tf.reshape(loss, [1]))
        return loss * (1.0 + mean[0] / tf.convert_to_tensor(steps))


class InHelper(Dense):
    """The helper is the Trainer's, and works in its loss."""

    def first(self) -> list[Any]:
        self.helper = Helper()
        return []

    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
        return self.helper.follow(tf.reduce_mean(tf.square(y - y_pred)))

    def own(self) -> list[Any]:
        return self.helper.inner["means"]


class Noise(layers.Layer):
    """Draws with a generator of TensorFlow's."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = tf.random.Generator.from_seed(3)

    def call(self, x: Any, training: bool = False) -> Any:
        return x + self.generator.normal(tf.shape(x)) if training else x


class GeneratorInLayer(Dense):
    def first(self) -> list[Any]:
        self.layer = Noise()
        return [self.layer]

    def own(self) -> list[Any]:
        return [self.layer.generator.state]


class GeneratorInTrainer(Dense):
    def first(self) -> list[Any]:
        self.generator = tf.random.Generator.from_seed(5)
        return []

    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
        return tf.reduce_mean(tf.square(y - y_pred) * self.generator.uniform(tf.shape(y)))

    def own(self) -> list[Any]:
        return [self.generator.state]


class Average(tf.Module):
    """A module whose variable the first call makes."""

    def __init__(self) -> None:
        super().__init__()
        self.mean: Any = None

    @tf.function(autograph=False)
    def __call__(self, loss: Any) -> Any:
        if self.mean is None:
            self.mean = tf.Variable(1.0)
        self.mean.assign(0.5 * self.mean + 0.5 * loss)
        return self.mean


class Stepping(keras.Model):
    """A model with a step of its own, weighed by what `weigh` makes of the loss."""

    def __init__(self, weigh: Any) -> None:
        super().__init__()
        self.dense = layers.Dense(1)
        self.weigh = weigh

    def call(self, x: Any) -> Any:
        return self.dense(x)

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data[:2]
        with tf.GradientTape() as tape:
            loss = ops.mean(ops.square(self(x) - y))
        weights = self.trainable_weights
        gradients = tape.gradient(loss, weights)
        scale = self.weigh(loss)
        self.optimizer.apply([scale * g for g in gradients], weights)
        return {"loss": loss, "scale": scale}


class InModule(Trainer):
    def build_model(self, spec: Any) -> keras.Model:
        self.average = Average()
        return Stepping(self.average)

    def own(self) -> list[Any]:
        return [self.average.mean]


def weighed_by_globals(loss: Any) -> Any:
    SHARED.count.assign_add(1.0)
    hidden = globals()["SEC" + "RET"]
    hidden.assign(0.5 * hidden + loss)
    return (1.0 + hidden / SHARED.count) * SHARED.generator.uniform([])


class InGlobals(Trainer):
    def build_model(self, spec: Any) -> keras.Model:
        return Stepping(weighed_by_globals)

    def own(self) -> list[Any]:
        return [SHARED.count, SECRET, SHARED.generator.state]


class Drawn(Trainer):
    """Draws with the global generator of TensorFlow."""

    def build_model(self, spec: Any) -> keras.Model:
        return Stepping(lambda loss: tf.random.get_global_generator().uniform([]))

    def own(self) -> list[Any]:
        return [tf.random.get_global_generator().state]


class Peaks(keras.metrics.Metric):
    """A metric that counts in a variable that is none of Keras', over epochs."""

    def __init__(self, name: str = "peaks") -> None:
        super().__init__(name=name)
        self.highest = tf.Variable(0.0)
        self.calls = tf.Variable(0, dtype=tf.int64)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.calls.assign_add(1)
        self.highest.assign(tf.maximum(self.highest, tf.reduce_max(y_pred)))

    def result(self) -> Any:
        return self.highest + tf.cast(self.calls, tf.float32)

    def reset_state(self) -> None:
        pass


class InMetric(Dense):
    def configure_metrics(self) -> Any:
        self.peaks = Peaks()
        return [self.peaks]

    def own(self) -> list[Any]:
        return [self.peaks.highest, self.peaks.calls]


class Tested(keras.Model):
    """A model whose test step alone counts."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(1)
        self.tests = tf.Variable(0.0)

    def call(self, x: Any) -> Any:
        return self.dense(x)

    def test_step(self, data: Any) -> dict[str, Any]:
        self.tests.assign_add(1.0)
        hidden = globals()["SEC" + "RET"]
        hidden.assign(0.5 * hidden + 1.0)
        return {"tests": self.tests + hidden}


class InTestStep(Trainer):
    def build_model(self, spec: Any) -> keras.Model:
        self.tested = Tested()
        return self.tested

    def own(self) -> list[Any]:
        return [self.tested.tests, SECRET]


class Scales(Callback):
    """A callback that scales the rate in the compiled step, by a variable in a helper of its own;
    its own state holds something else."""

    def setup(self, session: Any) -> None:
        self.held = SimpleNamespace(scale=tf.Variable(1.0))

    def before_step(self, model: Any) -> None:
        self.held.scale.assign(self.held.scale * 0.95)
        model.optimizer.learning_rate.assign(0.1 * self.held.scale)

    def state_dict(self) -> dict[str, Any]:
        return {}


class InCallback(Dense):
    def configure_callbacks(self) -> list[Any]:
        self.scales = Scales()
        return [self.scales, *self.callbacks]

    def own(self) -> list[Any]:
        return [self.scales.held.scale]


class Eager(Trainer):
    """A step in Python, which counts in an attribute that get_extra_state gives."""

    run_eagerly = True

    def build_model(self, spec: Any) -> keras.Model:
        self.count, self.losses = 0, [np.zeros(2)]
        return Stepping(self.weigh)

    def weigh(self, loss: Any) -> Any:
        self.count += 1
        self.losses.append(np.array([self.count, float(loss)]))
        return 1.0 / self.count + float(self.losses[-2][1])

    def get_extra_state(self) -> Any:
        return {"count": self.count, "losses": self.losses}

    def set_extra_state(self, state: Any) -> None:
        self.count, self.losses = state["count"], state["losses"]

    def own(self) -> list[Any]:
        return [np.array(self.count), *self.losses]


class EagerGlobals(InGlobals):
    run_eagerly = True


class EagerModule(InModule):
    run_eagerly = True


KINDS: dict[str, Any] = {
    "layer": InLayer,
    "helper": InHelper,
    "generator in a layer": GeneratorInLayer,
    "generator in the trainer": GeneratorInTrainer,
    "module": InModule,
    "globals": InGlobals,
    "global generator": Drawn,
    "metric": InMetric,
    "test step": InTestStep,
    "callback": InCallback,
    "eager attribute": Eager,
    "eager globals": EagerGlobals,
    "eager module": EagerModule,
}


def make(kind: str, callbacks: list[Any], **fields: Any) -> Any:
    """A new Trainer, and new globals."""
    global SHARED, SECRET
    SHARED = SimpleNamespace(count=tf.Variable(0.0), generator=tf.random.Generator.from_seed(9))
    SECRET = tf.Variable(0.0)
    tf.random.set_global_generator(tf.random.Generator.from_seed(11))
    settings = {"loss": "mse", "optimizer": "sgd", "learning_rate": 0.01, "random_state": 7}
    settings |= {"epochs": EPOCHS, "batch_size": BATCH, "save_steps": 2, "verbose": 0}
    return KINDS[kind](**settings | fields, callbacks=callbacks)


def fit(trainer: Any) -> Any:
    return trainer.fit(X, Y, validation_data=(X[:12], Y[:12]))


def numbers(trainer: Any) -> list[bytes]:
    """All that must be equal to the bit: weights, optimizer, history, and one's own."""
    model = trainer._network.core
    arrays = [np.asarray(v) for v in (*model.variables, *model.optimizer.variables)]
    own = [np.asarray(v.numpy() if hasattr(v, "numpy") else v) for v in trainer.own()]
    assert own
    history = [[v for k, v in r.items() if k != "seconds"] for r in trainer.history_.records]
    texts = [repr(a).encode() if a.dtype.hasobject else a.tobytes() for a in (*arrays, *own)]
    return [*texts, repr(history).encode()]
