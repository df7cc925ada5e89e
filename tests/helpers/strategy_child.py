"""Trainings on one device and on several, in a process of its own: `strategy_child.py WHAT FOLDER`.

WHAT is "mirrored" for two logical CPU devices in this process ("apart" for what only they show,
"same" for the models of test_same_numbers_as_keras), or "multi_worker" for a worker of TF_CONFIG.
Each case trains with the strategy, and on the chief also on one device; what they gave goes to
FOLDER/CASE-WORKER.json. The variable CASES, separated by semicolons, chooses some.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from trainer import Classifier, Trainer
from trainer.callbacks.callback import Callback

RNG = np.random.default_rng(3)
ROWS = 38
X = RNG.normal(size=(ROWS, 6)).astype("float32")
IMAGES = RNG.normal(size=(ROWS, 6, 6, 1)).astype("float32")
SERIES = RNG.normal(size=(ROWS, 5, 3)).astype("float32")
LABELS = RNG.integers(0, 3, ROWS)
TARGET = (X @ RNG.normal(size=(6, 1))).astype("float32")
WEIGHTS = RNG.uniform(0.1, 2.0, ROWS).astype("float32")


class Given(Trainer):
    layers: Any = ()
    clip: Any = None

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential([keras.Input(spec.input_shape), *self.layers()])

    def configure_optimizer(self) -> Any:
        return keras.optimizers.SGD(0.05, momentum=0.5, **(self.clip or {}))


class GivenClassifier(Given, Classifier):
    pass


def dense() -> list[Any]:
    return [layers.Dense(8, "relu", kernel_regularizer="l2"), layers.Dense(1)]


def classes() -> list[Any]:
    return [layers.Dense(8, "relu"), layers.Dense(3, "softmax")]


def convolutions() -> list[Any]:
    some = [layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization()]
    return [*some, layers.Flatten(), layers.Dense(3, "softmax")]


def lstm() -> list[Any]:
    return [layers.LSTM(4), layers.Dense(1)]


def dropped() -> list[Any]:
    return [layers.Dropout(0.5), layers.Dense(1)]


def stream(x: Any, y: Any) -> Any:
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(8)


Fit = Callable[..., Any]


def regression(parts: Any, x: Any = X, **fields: Any) -> Fit:
    def fit(**more: Any) -> Any:
        return Given(layers=parts, loss="mse", metrics=["mae"], **fields | more).fit(
            x, TARGET, validation_data=(x, TARGET)
        )

    return fit


def classifier(parts: Any, x: Any = X, weights: Any = None, **fields: Any) -> Fit:
    def fit(**more: Any) -> Any:
        made = GivenClassifier(layers=parts, **fields | more)
        return made.fit(x, LABELS, weights, validation_data=(x, LABELS))

    return fit


def streamed(**more: Any) -> Any:
    data = stream(X, TARGET)
    made = Given(layers=dense, loss="mse", metrics=["mae"], **more)
    return made.fit(data, validation_data=data)


# 38 rows: the last of the batches of 8 has 6, and with batches of 37 only one
CASES: dict[str, Fit] = {
    "dense, uneven last batch": regression(dense),
    "last batch of one row": regression(dense, batch_size=37),
    "convolutions with batch normalisation": classifier(convolutions, IMAGES),
    "LSTM": regression(lstm, SERIES),
    "class weights": classifier(classes, class_weight={0: 3.0, 1: 0.5, 2: 1.0}),
    "sample weights": classifier(classes, weights=WEIGHTS),
    "read chunk by chunk": regression(dense, resident_bytes=0),
    "tf.data": streamed,
    "global_clipnorm": regression(dense, clip={"global_clipnorm": 0.1}),
    "clipnorm": regression(dense, clip={"clipnorm": 0.05}),
    "moving average": regression(
        dense, clip={"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 4}
    ),
    "accumulation": regression(dense, clip={"gradient_accumulation_steps": 2}),
    "ready-made": lambda **more: Classifier(model="mlp", **more).fit(
        X, LABELS, validation_data=(X, LABELS)
    ),
}


# ---- real images: with the variable MNIST, the path of mnist_10k.npz -----------------------------


def digits() -> tuple[Any, Any, Any, Any]:
    """Training and test images, of which the last training batch of 256 is uneven."""
    with np.load(os.environ["MNIST"]) as file:
        images, labels = (file[name] for name in file.files[:2])
    images = (images / 255).astype("float32")
    return images[:7_777], labels[:7_777].astype(int), images[7_777:], labels[7_777:].astype(int)


def perceptron() -> list[Any]:
    some = [layers.Flatten(), layers.Dense(100, "relu")]
    return [*some, layers.Dense(10, "softmax")]


def images() -> list[Any]:
    some = [layers.Reshape((28, 28, 1)), layers.Conv2D(8, 3, 2), layers.BatchNormalization()]
    more = [layers.Activation("relu"), layers.Conv2D(8, 3, 2, activation="relu")]
    return [*some, *more, layers.Flatten(), layers.Dense(10, "softmax")]


def rows_of_pixels() -> list[Any]:
    return [layers.LSTM(16), layers.Dense(10, "softmax")]


def of_digits(parts: Any, **fields: Any) -> Fit:
    def fit(**more: Any) -> Any:
        x, y, *valid = digits()
        given = {"epochs": 3, "batch_size": 256, "random_state": 4, "verbose": 0}
        kept = {"strategy": more.get("strategy")}
        made = GivenClassifier(layers=parts, **given | fields | kept)
        return made.fit(x, y, validation_data=tuple(valid))

    return fit


DIGITS: dict[str, Fit] = {
    "digits, dense": of_digits(perceptron),
    # In float32, a sum over the 43,264 values of a channel differs by 1e-6 with the order of its
    # terms, which grows to 1e-3 within the 93 steps.
    "digits, convolutions with batch normalisation": of_digits(images, precision="float64"),
    "digits, LSTM": of_digits(rows_of_pixels),
    "digits, class weights": of_digits(perceptron, class_weight="balanced"),
}
if "MNIST" in os.environ:
    CASES |= DIGITS


def result(trainer: Any) -> dict[str, Any]:
    shape = trainer.model_.input_shape[1:]
    if shape == (28, 28):
        x, y = digits()[2:]
    else:
        x = {X.shape[1:]: X, IMAGES.shape[1:]: IMAGES, SERIES.shape[1:]: SERIES}[shape]
        y = LABELS if isinstance(trainer, Classifier) else TARGET
    return {
        "history": {name: trainer.history_[name] for name in trainer.history_.metrics},
        "weights": [w.ravel().tolist() for w in trainer.model_.get_weights()],
        "predicted": np.asarray(trainer.predict(x)).ravel().tolist(),
        "evaluated": trainer.evaluate(x, y),
    }


def main() -> None:
    what, folder = sys.argv[1], Path(sys.argv[2])
    if what in ("mirrored", "apart", "same"):
        cpu = tf.config.list_physical_devices("CPU")[0]
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
    if what == "apart":
        apart(folder)
        return
    if what == "same":
        same(folder)
        return
    # workers can only be joined before the first operation, and a stream is made of operations
    strategy: Any = what
    if what == "multi_worker":
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    chosen = list(filter(None, os.environ.get("CASES", "").split(";"))) or list(CASES)
    fields = {"epochs": 3, "batch_size": 8, "random_state": 4, "verbose": 0}
    for name in chosen:
        fit = CASES[name]
        given = {k: v for k, v in fields.items() if not (k == "batch_size" and "one row" in name)}
        together = fit(strategy=strategy, **given)
        found = {"together": result(together)}
        if os.environ.get("WORKER", "0") == "0":
            found["one"] = result(fit(**given))
        path = folder / f"{name}-{os.environ.get('WORKER', '0')}.json"
        path.write_text(json.dumps(found))


def apart(folder: Path) -> None:
    """What is of two devices alone: their masks, a scope, and an object."""
    rows = np.ones((64, 6), "float32")
    zeros = np.zeros((64, 1), "float32")
    seen: list[np.ndarray] = []

    class Seen(layers.Layer):
        def call(self, x: Any) -> Any:
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            note = tf.numpy_function(lambda n, a: seen.append((int(n), a)), [number, x], [])
            with tf.control_dependencies([note]):
                return tf.identity(x)

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    def parts() -> list[Any]:
        return [layers.Dropout(0.5), Seen(), layers.Dense(1)]

    fields = {"epochs": 1, "batch_size": 64, "random_state": 4, "verbose": 0, "loss": "mse"}
    Given(layers=parts, strategy="mirrored", **fields).fit(rows, zeros)
    masks = {n: (a != 0).tolist() for n, a in seen if len(a) == 32}
    strategy = tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    given = Given(layers=dense, strategy=strategy, **fields).fit(X, TARGET)
    with strategy.scope():
        scoped = Given(layers=dense, **fields).fit(X, TARGET)
        inside = scoped.predict(X).tolist()
    alone = Given(layers=dense, **fields).fit(X, TARGET)
    errors = {}
    for name, wrong in {"scope": strategy, "jit": "mirrored"}.items():
        try:
            with tf.distribute.OneDeviceStrategy("CPU:0").scope():
                Given(layers=dense, **fields | {"strategy": wrong}).fit(X, TARGET)
        except ValueError as error:
            errors[name] = str(error)
    found = {
        "masks": [masks[0], masks[1]],
        "losses": [t.history_["loss"] for t in (alone, given, scoped)],
        "inside": [inside, scoped.predict(X).tolist()],
        "kinds": sorted({type(v._value).__name__ for v in scoped.model_.variables}),
        "cloned": _cloned(strategy),
        "errors": errors,
        "resumed": resumed(folder),
    }
    (folder / "apart.json").write_text(json.dumps(found))


def same(folder: Path) -> None:
    """Write, for each model of test_same_numbers_as_keras, what it gave, or why it was refused."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
    import test_same_numbers_as_keras as models

    def without_masks(build: Callable[[], Any]) -> Callable[[], Any]:
        """Build a model without dropout, of which each device draws its own."""

        def built() -> Any:
            model = build()
            for layer in model._flatten_layers():
                if isinstance(layer, layers.Dropout):
                    layer.rate = 0.0
                elif isinstance(layer, layers.LSTMCell):
                    layer.dropout = 0.0
            return model

        return built

    found: dict[str, Any] = {}
    for name, whole in models.CASES.items():
        case = dataclasses.replace(whole, build=without_masks(whole.build))
        begun: list[int] = []
        watch = keras.callbacks.LambdaCallback(on_train_begin=lambda logs, to=begun: to.append(1))
        one = models.ours(case)
        try:
            two = models.ours(case, strategy="mirrored", callbacks=[watch])
        except ValueError as error:
            found[name] = {"refused": str(error), "begun": bool(begun)}
            continue
        found[name] = {
            key: {
                "history": {name: t.history_[name] for name in t.history_.metrics},
                "weights": [w.ravel().tolist() for w in t.model_.get_weights()],
            }
            for key, t in {"one": one, "two": two}.items()
        }
    (folder / "same.json").write_text(json.dumps(found))


class Interrupted(Callback):
    """Stops the training once, in the middle of an epoch."""

    every_n_batches = 1

    def on_train_begin(self, logs: Any = None) -> None:
        self.left = int(os.environ.get("BATCHES", "1000"))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.left -= 1
        if self.left == 0:
            self.session.stop("Interrupted")


def resumed(folder: Path) -> dict[str, Any]:
    """Weights and history of a run that is not interrupted, of one that is, and of fits in turn."""

    def parts() -> list[Any]:
        normal = [layers.Dropout(0.2), layers.Dense(6), layers.BatchNormalization()]
        return [*normal, layers.Dense(3, "softmax")]

    fields = {"epochs": 3, "batch_size": 8, "random_state": 4, "verbose": 0, "save_steps": 1}

    def fit(name: str | None, **more: Any) -> Any:
        run = {} if name is None else {"run_dir": folder / name}
        made = GivenClassifier(
            layers=parts, strategy="mirrored", callbacks=[Interrupted()], **fields | run | more
        )
        return made.fit(X, LABELS)

    os.environ["BATCHES"] = "7"
    broken = fit("broken")
    os.environ["BATCHES"] = "1000"
    told = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ended = {"unbroken": fit("unbroken"), "broken": fit("broken"), "none": fit(None)}
        again = fit(None, epochs=2, warm_start=True)
        again.epochs = 1
        ended["in turn"] = again.fit(X, LABELS)
        finished = fit("unbroken")
    told["warnings"] = sorted({str(w.message) for w in caught})
    return told | {
        "epochs before": len(broken.history_),
        "given back": finished.history_["loss"],
        "ended": {
            name: {
                "loss": t.history_["loss"],
                "weights": [w.ravel().tolist() for w in t.model_.get_weights()],
            }
            for name, t in ended.items()
        },
    }


def _cloned(strategy: Any) -> bool:
    from sklearn.base import clone

    return clone(Given(layers=dense, strategy=strategy)).strategy is strategy


if __name__ == "__main__":
    main()
