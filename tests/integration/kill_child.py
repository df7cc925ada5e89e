"""A training that `test_kills` kills: a process of its own, run as `kill_child.py KIND FOLDER`.

It writes `began` when the first batch was trained, `saving` while a state is being written, and at
the end `result.json`: digests of all that must be equal. The variable KILL_SLOW makes each write of
a state last about so many seconds, in four parts, so that a kill can fall between any two of them.
"""

from __future__ import annotations

import builtins
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["MPLBACKEND"] = "Agg"

import keras
import numpy as np
from keras import callbacks as stock
from keras import layers

from trainer import Classifier
from trainer.callbacks.callback import Callback
from trainer.state import state_file
from trainer.utils import files

KIND, FOLDER = sys.argv[1], Path(sys.argv[2])
SLOW = float(os.environ.get("KILL_SLOW", "0"))
RNG = np.random.default_rng(5)
EPOCHS = 12


class Paced(Callback):
    """Counts batches, and makes the training last long enough to be killed in."""

    every_n_batches = 3

    def on_train_begin(self, logs: Any = None) -> None:
        self.seen: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen.append(logs["loss"])
        (FOLDER / "began").touch()
        time.sleep(0.02)


class Perceptron(Classifier):
    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input(spec.input_shape),
                layers.Dense(32, "relu"),
                layers.Dropout(0.3),
                layers.Dense(spec.n_outputs, "softmax"),
            ]
        )


class Images(Classifier):
    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input(spec.input_shape),
                layers.RandomFlip("horizontal"),
                layers.RandomTranslation(0.1, 0.1),
                layers.Conv2D(6, 3, activation="relu"),
                layers.BatchNormalization(),
                layers.MaxPooling2D(),
                layers.Flatten(),
                layers.Dense(spec.n_outputs, "softmax"),
            ]
        )


class Series(Classifier):
    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input(spec.input_shape),
                layers.LSTM(8, dropout=0.2, recurrent_dropout=0.1),
                layers.Dense(spec.n_outputs, "softmax"),
            ]
        )


SHAPES = {"perceptron": (Perceptron, (20,)), "cnn": (Images, (8, 8, 1)), "lstm": (Series, (6, 3))}


def slowed_writes() -> None:
    """Make a state's write take long, and tell that it is under way."""
    whole, replace, fsync = files.write_whole, os.replace, os.fsync
    pause = SLOW / 4

    class Halves:
        def __init__(self, file: Any) -> None:
            self._file = file

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *error: Any) -> None:
            self._file.close()

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

        def write(self, content: bytes) -> None:
            for part in (content[: len(content) // 2], content[len(content) // 2 :]):
                self._file.write(part)
                self._file.flush()
                time.sleep(pause)

    class Slow:
        """The module os, with pauses."""

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        @staticmethod
        def replace(*names: Any, **options: Any) -> None:
            replace(*names, **options)
            time.sleep(pause)

        @staticmethod
        def fsync(descriptor: int) -> None:
            fsync(descriptor)
            time.sleep(pause / 2)

    def marked(path: Any, content: bytes, **options: Any) -> None:
        mark = FOLDER / "saving"
        files.os = Slow()
        files.open = lambda *a, **k: Halves(builtins.open(*a, **k))  # noqa: SIM115
        mark.touch()
        try:
            whole(path, content, **options)
        finally:
            mark.unlink()
            files.os = os
            del files.open

    state_file.write_whole = marked


def with_keras(folder: Path) -> tuple[list[Any], Any]:
    """Keras' own callbacks and optimizer."""
    chosen = [
        stock.LearningRateScheduler(lambda epoch, rate: rate * 0.97),
        stock.ReduceLROnPlateau(patience=1, factor=0.5, min_delta=0.001),
        stock.SwapEMAWeights(),
        stock.ModelCheckpoint(folder / "best.keras", save_best_only=True, monitor="val_loss"),
        stock.EarlyStopping(patience=3, min_delta=0.001, restore_best_weights=True),
    ]
    return chosen, keras.optimizers.Adam(0.02, use_ema=True, ema_momentum=0.9)


def with_plugins() -> tuple[list[Any], Any]:
    """The built-in plugins."""
    chosen = [
        {"name": "learning_rate", "shape": "cosine", "warmup": 0.2},
        {"name": "plateau", "patience": 1, "factor": 0.5, "min_delta": 0.001},
        {"name": "ema", "decay": 0.9},
        {"name": "checkpoint", "keep": 2},
        {"name": "early_stopping", "patience": 2, "min_delta": 0.01},
    ]
    return chosen, keras.optimizers.Adam(0.02)


PLUGINS = {"perceptron": False, "cnn": True, "lstm": True}


def digest(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def best(folder: Path) -> dict[str, list[str]]:
    """The weights in every checkpoint that is kept."""
    found = sorted(folder.rglob("*.keras"))
    return {
        str(path.relative_to(folder)): [
            digest(w) for w in keras.models.load_model(path, compile=False).get_weights()
        ]
        for path in found
    }


def main() -> None:
    (FOLDER / "saving").unlink(missing_ok=True)
    if SLOW:
        slowed_writes()
    cls, shape = SHAPES[KIND]
    x = RNG.normal(size=(240, *shape)).astype("float32")
    y = (x.reshape(240, -1)[:, 0] > 0).astype(int) + (RNG.random(240) < 0.3)
    chosen, optimizer = with_plugins() if PLUGINS[KIND] else with_keras(FOLDER)
    paced = Paced()
    trainer = cls(
        epochs=EPOCHS,
        batch_size=8,
        optimizer=optimizer,
        callbacks=[*chosen, paced],
        validation_split=0.25,
        random_state=1,
        run_dir=FOLDER / "run",
        save_steps=4,
        verbose=0,
    )
    trainer.fit(x, y)
    core = trainer._network.core
    history = [{k: v for k, v in r.items() if k != "seconds"} for r in trainer.history_.records]
    result = {
        "weights": [digest(w) for w in trainer.model_.get_weights()],
        "optimizer": [digest(v) for v in core.optimizer.variables],
        "history": history,
        "batches": paced.seen,
        "checkpoints": best(FOLDER),
        "epochs": len(history),
    }
    (FOLDER / "result.json").write_text(json.dumps(result))


main()
