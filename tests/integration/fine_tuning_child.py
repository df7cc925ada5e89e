"""A fine-tuning that `test_fine_tuning` kills: `fine_tuning_child.py KIND FOLDER STOP_AT`.

It prints `epoch E step S` after each step, waits for its end after the second step of the epoch
STOP_AT, and prints `ended` with the digest of all variables if it comes to its end.
"""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from trainer import Classifier
from trainer.state.variables import variables

KIND, FOLDER, STOP_AT = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
RNG = np.random.default_rng(0)
X = RNG.uniform(0, 255, size=(48, 8, 8, 1)).astype("float32")
Y = np.arange(48) % 4


class Paced(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        print(f"epoch {self.epoch} step {batch}", flush=True)
        if self.epoch == STOP_AT and batch == 1:
            time.sleep(60)


def small() -> keras.Model:
    layers = keras.layers
    inputs = keras.Input((32, 32, 3))
    hidden = inputs
    for number, width in enumerate((4, 8)):
        hidden = layers.SeparableConv2D(width, 3, 2, use_bias=False, name=f"conv{number}")(hidden)
        hidden = layers.BatchNormalization(name=f"norm{number}")(hidden)
        hidden = layers.Dropout(0.2)(layers.ReLU()(hidden))
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(hidden), name="backbone")


class Images(Classifier):
    """A backbone that is unfrozen in two stages, its preprocessing, and a layer with LoRA."""

    def build_model(self, spec: Any) -> keras.Model:
        app = keras.applications.mobilenet
        mobilenet = {"alpha": 0.25, "include_top": False, "weights": None, "pooling": "avg"}
        backbone = app.MobileNet((32, 32, 3), **mobilenet) if KIND == "mobilenet" else small()
        inputs = keras.Input(spec.input_shape)
        hidden = keras.layers.Resizing(32, 32)(inputs)
        hidden = app.preprocess_input(keras.layers.Concatenate()([hidden] * 3))
        hidden = backbone(hidden, training=False)
        adapted = keras.layers.Dense(16, "relu", name="adapted")
        hidden = keras.layers.Dropout(0.2)(adapted(hidden))
        adapted.enable_lora(2)
        return keras.Model(inputs, keras.layers.Dense(spec.n_outputs, name="head")(hidden))


if __name__ == "__main__":
    layers = 30 if KIND == "mobilenet" else 2
    trainer = Images(
        epochs=3,
        batch_size=12,
        learning_rate=0.01,
        random_state=0,
        verbose=0,
        run_dir=FOLDER,
        save_steps=1,
        callbacks=[{"name": "unfreeze", "start": 2, "layers": layers}, Paced()],
    )
    trainer.fit(X, Y)
    digest = hashlib.sha256()
    for variable in variables(trainer.network_.core):
        digest.update(np.asarray(variable).tobytes())
    print(f"ended {digest.hexdigest()} {trainer.history_['loss']}", flush=True)
