"""Small Trainers whose files and runs are changed by the tests, and their data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from trainer import Classifier, Regressor

ROWS = 24
_RNG = np.random.default_rng(0)
X = _RNG.normal(size=(ROWS, 3)).astype("float32")
Y = X[:, 0]
LABELS = np.array(["a", "b", "c"])[np.arange(ROWS) % 3]
FRAME = pd.DataFrame({"n": Y, "c": np.array(["u", "v"])[np.arange(ROWS) % 2]})


class Numbers(Regressor):
    """On normalised vectors, with fields that decide the size of the network."""

    units: int = 3
    sizes: tuple[int, ...] = (2,)
    epochs = 1
    batch_size = 24
    verbose = 0
    random_state = 0
    normalize = "standard"

    def build_model(self, spec: Any) -> keras.Model:
        hidden = [keras.layers.Dense(n) for n in (self.units, *self.sizes)]
        return keras.Sequential(
            [keras.Input(spec.input_shape), *hidden, keras.layers.Dense(spec.n_outputs)]
        )


class Table(Classifier):
    """On a table of mixed columns."""

    epochs = 1
    batch_size = 24
    verbose = 0
    random_state = 0

    def build_model(self, spec: Any) -> keras.Model:
        head = keras.layers.Dense(spec.n_outputs, spec.output_activation)
        return keras.Sequential([keras.Input(spec.input_shape), head])


def saved() -> list[tuple[Any, Any, Any]]:
    """Each with its data: (Trainer, x, y), not fitted."""
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    numbers = Numbers(
        optimizer=keras.optimizers.SGD(schedule),
        callbacks=["early_stopping", {"name": "ema"}],
        metrics=[keras.metrics.MeanMetricWrapper(keras.metrics.mean_absolute_error)],
    )
    table = Table(loss=keras.losses.SparseCategoricalCrossentropy(), class_weight={"a": 2.0})
    return [(numbers, X, Y), (table, FRAME, LABELS)]


class Ended(Exception):
    """What ends a training from without."""


class Ends(keras.callbacks.Callback):
    """Ends the second epoch while `now` is set."""

    now = False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == 1 and Ends.now:
            raise Ended


class Counts(keras.callbacks.Callback):
    """A callback with a state of several types."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []
        self.word = "a/b"
        self.table = {"x": 1}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seen.append(epoch)


def resumed(folder: Path) -> Any:
    """A Trainer that resumes the run in a folder, with plugins and callbacks of Keras' own."""
    stock = [keras.callbacks.EarlyStopping(patience=5), keras.callbacks.ReduceLROnPlateau()]
    plugins = ["early_stopping", "checkpoint", "plateau", "nan_guard"]
    return Numbers(
        epochs=3,
        batch_size=8,
        save_steps=1,
        run_dir=str(folder),
        callbacks=[Ends(), Counts(), *plugins, *stock],
    )


def unfinished(folder: Path) -> dict[Path, bytes]:
    """The files of a run that was ended in its second epoch, by their place in the folder."""
    Ends.now = True
    try:
        resumed(folder).fit(X, Y, validation_data=(X, Y))
    except Ended:
        pass
    finally:
        Ends.now = False
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in found}
