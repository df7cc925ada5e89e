"""A model that Keras trains for two epochs, handed over for three more: see test_handed_over.py.

    python handed_over_child.py FOLDER KILL

KILL is "kill" to be killed in the fourth epoch, "end" to train to the end and print what differs
from five epochs of keras.Model.fit.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from trainer import Classifier

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 5)).astype("float32")
Y = np.arange(48) % 3


class Killed(keras.callbacks.Callback):
    """Kills its process after the second batch of the fourth epoch, if it is told to."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if (self.epoch, batch) == (3, 1) and sys.argv[2] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)


def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    made = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(8, "relu"),
            keras.layers.Dropout(0.3),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(3, "softmax"),
        ]
    )
    made.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return made


def main() -> None:
    rows = {"batch_size": 8, "shuffle": False, "verbose": 0}
    begun, whole = model(), model()
    begun.fit(X, Y, epochs=2, **rows)
    trainer = Classifier.from_keras(
        begun,
        epochs=5,
        callbacks=[Killed()],
        run_dir=Path(sys.argv[1]),
        save_steps=1,
        **rows,
    )
    trainer.fit(X, Y, initial_epoch=2)
    whole.fit(X, Y, epochs=5, **rows)
    pairs = zip(trainer.model_.variables, whole.variables, strict=True)
    differ = [b.path for a, b in pairs if not np.array_equal(a, b)]
    states = zip(trainer.model_.optimizer.variables, whole.optimizer.variables, strict=True)
    differ += [b.path for a, b in states if not np.array_equal(a, b)]
    log = (Path(sys.argv[1]) / "run.log").read_text()
    print(f"differ: {differ}; resumed: {'resumes from epoch' in log}")


if __name__ == "__main__":
    main()
