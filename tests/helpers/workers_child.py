"""A worker of a training that is killed: `workers_child.py KIND FOLDER`; TF_CONFIG has the others.

KIND is "perceptron", "cnn" or "lstm". The chief writes `began` when the first batches are trained,
and at the end each worker writes `result-N.json`: digests of all that must be equal.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from trainer import Classifier
from trainer.callbacks.callback import Callback

KIND, FOLDER = sys.argv[1], Path(sys.argv[2])
NUMBER = os.environ.get("WORKER", "0")
RNG = np.random.default_rng(5)
PARTS: dict[str, tuple[tuple[int, ...], Any]] = {
    "perceptron": ((12,), lambda: [layers.Dense(16, "relu"), layers.Dropout(0.3)]),
    "cnn": (
        (6, 6, 1),
        lambda: [
            layers.RandomFlip("horizontal"),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Flatten(),
        ],
    ),
    "lstm": ((5, 3), lambda: [layers.LSTM(6, dropout=0.2)]),
}


class Paced(Callback):
    """Counts batches, and makes the training last long enough to be killed in."""

    every_n_batches = 3

    def on_train_begin(self, logs: Any = None) -> None:
        self.seen: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen.append(logs["loss"])
        (FOLDER / f"began-{NUMBER}").touch()
        time.sleep(float(os.environ.get("PACE", "0.02")))


class Small(Classifier):
    def build_model(self, spec: Any) -> keras.Model:
        parts = PARTS[KIND][1]()
        last = layers.Dense(spec.n_outputs, "softmax")
        return keras.Sequential([keras.Input(spec.input_shape), *parts, last])


def digest(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def main() -> None:
    # before the optimizer, whose variables would start TensorFlow without the other workers
    strategy = None
    if "TF_CONFIG" in os.environ:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    rows = int(os.environ.get("ROWS", "117"))
    x = RNG.normal(size=(rows, *PARTS[KIND][0])).astype("float32")
    y = (x.reshape(rows, -1)[:, 0] > 0).astype(int) + (RNG.random(rows) < 0.3)
    paced = Paced()
    trainer = Small(
        strategy=strategy,
        epochs=int(os.environ.get("EPOCHS", "6")),
        batch_size=8,
        optimizer=keras.optimizers.Adam(0.02, use_ema=True, ema_momentum=0.9),
        callbacks=[
            {"name": "plateau", "patience": 1, "factor": 0.5, "min_delta": 0.001},
            keras.callbacks.ModelCheckpoint(FOLDER / "best.keras", save_best_only=True),
            {"name": "early_stopping", "patience": 3, "min_delta": 0.001},
            paced,
        ],
        validation_split=0.25,
        random_state=int(os.environ["SEED"]) if "SEED" in os.environ else None,
        run_dir=FOLDER / "run",
        save_steps=4,
        verbose=0,
        resident_bytes=0,
    )
    trainer.fit(x, y)
    core = trainer._network.core
    history = [{k: v for k, v in r.items() if k != "seconds"} for r in trainer.history_.records]
    result = {
        "seed": trainer.seed_,
        "weights": [digest(w) for w in trainer.model_.get_weights()],
        "optimizer": [digest(v) for v in core.optimizer.variables],
        "history": history,
        "batches": paced.seen,
        "run": None if trainer.run_ is None else str(trainer.run_),
    }
    (FOLDER / f"result-{NUMBER}.json").write_text(json.dumps(result))


main()
