"""Real data: the numbers of keras.Model.fit on MNIST, and a raw table of houses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

from trainer import Classifier, Regressor

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SEED = 42


def data(name: str) -> Path:
    if not (DATA / name).is_file():
        pytest.skip(f"{name} is not in the folder shared/data beside the repository")
    return DATA / name


def perceptron() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Flatten(),
            keras.layers.Dense(300, "relu"),
            keras.layers.Dense(100, "relu"),
            keras.layers.Dense(10, "softmax"),
        ]
    )


class Perceptron(Classifier):
    optimizer = "sgd"
    learning_rate = 0.01
    normalize = None
    shuffle = False
    epochs = 3

    def build_model(self, spec: Any) -> keras.Model:
        return perceptron()


def test_the_losses_of_every_epoch_are_those_of_keras() -> None:
    with np.load(data("mnist_10k.npz")) as arrays:
        x, y = arrays["x"].astype(np.float32) / 255, arrays["y"].astype(np.int64)
    train, valid = slice(0, 8_000), slice(8_000, 10_000)

    keras.utils.set_random_seed(SEED)
    model = perceptron()
    model.compile(
        keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    expected = model.fit(
        x[train],
        y[train],
        validation_data=(x[valid], y[valid]),
        epochs=3,
        shuffle=False,
        verbose=0,
    ).history

    ours = Perceptron(random_state=SEED).fit(
        x[train], y[train], validation_data=(x[valid], y[valid])
    )
    for name in ("loss", "val_loss", "accuracy", "val_accuracy"):
        np.testing.assert_allclose(ours.history_[name], expected[name], rtol=1e-5, err_msg=name)
    assert ours.history_["loss"][-1] < 0.5  # it learnt, and the losses are not three times the same


def test_the_raw_table_of_houses_is_learnt_without_preparation() -> None:
    frame = pd.read_csv(data("california_housing.csv.gz"))
    x, y = frame.drop(columns="median_house_value"), frame["median_house_value"]
    assert x["total_bedrooms"].isna().any() and x["ocean_proximity"].dtype.kind not in "iuf"
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.2, random_state=SEED)

    model = Regressor(epochs=20, batch_size=128, random_state=SEED).fit(x_train, y_train)
    ours = model.score(x_test, y_test)

    as_category = {"ocean_proximity": "category"}
    boosting = HistGradientBoostingRegressor(random_state=SEED)
    with threadpool_limits(1):  # its threads wait for each other in vain on a machine that is busy
        boosting.fit(x_train.astype(as_category), y_train)
    theirs = boosting.score(x_test.astype(as_category), y_test)
    print(f"R2 on the held-out fifth: Regressor {ours:.4f}, HistGradientBoosting {theirs:.4f}")
    assert ours >= 0.75
    assert theirs >= 0.75  # the split is no easier or harder than it should be
