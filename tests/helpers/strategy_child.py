"""Trainings on one device and on several, in a process of its own: `strategy_child.py WHAT FOLDER`.

WHAT is "mirrored" for two logical CPU devices in this process, or "multi_worker" for a worker of
TF_CONFIG. Each case trains on one device, then with the strategy, and the chief writes what both
gave to FOLDER/CASE.json. CASES, separated by commas, chooses some of them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from trainer import Classifier, Trainer

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


def result(trainer: Any) -> dict[str, Any]:
    x, y = (X, TARGET)
    shape = trainer.model_.input_shape[1:]
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
    if what == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
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
        one = fit(**given)
        found = {"one": result(one), "together": result(together)}
        path = folder / f"{name}-{os.environ.get('WORKER', '0')}.json"
        path.write_text(json.dumps(found))
    if what == "mirrored":
        apart(folder)


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
    for wrong in (None, "mirrored"):
        try:
            with tf.distribute.OneDeviceStrategy("CPU:0").scope():
                Given(layers=dense, **fields | {"strategy": strategy}).fit(X, TARGET)
        except ValueError as error:
            errors[str(wrong)] = str(error)
    found = {
        "masks": [masks[0], masks[1]],
        "losses": [t.history_["loss"] for t in (alone, given, scoped)],
        "inside": [inside, scoped.predict(X).tolist()],
        "kinds": sorted({type(v._value).__name__ for v in scoped.model_.variables}),
        "cloned": _cloned(strategy),
        "errors": errors,
    }
    (folder / "apart.json").write_text(json.dumps(found))


def _cloned(strategy: Any) -> bool:
    from sklearn.base import clone

    return clone(Given(layers=dense, strategy=strategy)).strategy is strategy


if __name__ == "__main__":
    main()
