"""What the tables of bad input share: good data, good estimators, and the check of one row."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from trainer import Classifier, Regressor


class Watch(keras.callbacks.Callback):
    """Counts the trainings that began."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = 0

    def on_train_begin(self, logs: Any = None) -> None:
        self.begun += 1


@pytest.fixture(scope="session")
def given(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Good data; makers of watched estimators; estimators that are fitted; an empty folder."""
    watch = Watch()
    x = np.random.default_rng(0).normal(size=(30, 4))
    y = np.arange(30) % 3
    frame = pd.DataFrame({"age": x[:, 0], "size": x[:, 1], "town": ["a", "b", "c"] * 10})

    def classifier(**fields: Any) -> Classifier:
        return Classifier(**{"epochs": 1, "callbacks": (watch,)} | fields)

    def regressor(**fields: Any) -> Regressor:
        return Regressor(**{"epochs": 1, "callbacks": (watch,)} | fields)

    def building(make: Callable[[Any], Any], base: type = Classifier) -> Any:
        """A watched estimator whose build_model is `make`."""
        mine = type("Mine", (base,), {"build_model": lambda self, spec: make(spec)})
        return mine(epochs=1, callbacks=(watch,))

    def stream(x: np.ndarray, y: np.ndarray) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices((x, y)).batch(8)

    return SimpleNamespace(
        watch=watch,
        x=x,
        y=y,
        r=x @ [1.0, 2.0, 3.0, 4.0],
        frame=frame,
        stream=stream,
        classifier=classifier,
        regressor=regressor,
        building=building,
        on_array=Classifier(epochs=1, random_state=0).fit(x, y),
        on_frame=Classifier(epochs=1, random_state=0).fit(frame, y),
        folder=tmp_path_factory.mktemp("bad_input"),
    )


@pytest.fixture
def refuses(given: SimpleNamespace) -> Callable[..., None]:
    """Checks one row: the error's type, words and single line, and that no training began."""

    def check(call: Callable[[Any], Any], error: type[Exception], words: tuple[str, ...]) -> None:
        begun = given.watch.begun
        with pytest.raises(error) as caught:
            call(given)
        message = str(caught.value)
        assert caught.type is error
        assert [word for word in words if word not in message] == [], message
        assert "\n" not in message
        assert given.watch.begun == begun

    return check
