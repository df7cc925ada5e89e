"""random_state: the same bits in every process, and no trace in the global generators."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from trainer import Classifier, Regressor

X = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
Y = X[:, 0]
IMAGES = np.random.default_rng(1).integers(0, 256, size=(50, 8, 8), dtype=np.uint8)
WORDS = np.random.default_rng(2).integers(0, 30, size=(50, 6))
LABELS = np.where(Y > 0, "plus", "minus")


class Linear(Regressor):
    epochs = 2
    optimizer = "sgd"
    metrics = ()

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(1)])


class Recurrent(Classifier):
    epochs = 2

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input(spec.input_shape, dtype="int32"),
                keras.layers.Embedding(30, 4),
                keras.layers.SpatialDropout1D(0.2),
                keras.layers.LSTM(5, dropout=0.1),
                keras.layers.Dense(spec.n_outputs, "softmax"),
            ]
        )


def fits() -> dict[str, Any]:
    """Fits that draw initial weights, orders, dropout masks and validation rows."""
    frame = pd.DataFrame({"n": Y, "c": LABELS, "d": pd.Categorical(np.arange(50) % 7)})
    return {
        "cnn with dropout": Classifier(epochs=2, random_state=3, validation_split=0.2).fit(
            IMAGES, LABELS
        ),
        "embedding and lstm": Recurrent(random_state=3).fit(WORDS, LABELS),
        "mlp on a table": Classifier(epochs=2, random_state=3, class_weight="balanced").fit(
            frame, LABELS
        ),
    }


def digest(model: Any) -> str:
    """A hash of every weight, of the optimizer's state and of the history but its seconds."""
    found = hashlib.sha256()
    for array in (*model.model_.get_weights(), *map(np.asarray, model.model_.optimizer.variables)):
        found.update(np.ascontiguousarray(array).tobytes())
    found.update(model.history_.frame.drop(columns="seconds").to_numpy().tobytes())
    return found.hexdigest()


def digests() -> dict[str, str]:
    return {name: digest(model) for name, model in fits().items()}


def test_two_fits_in_two_processes_are_equal_to_the_bit() -> None:
    script = f"import json, runpy; print(json.dumps(runpy.run_path({__file__!r})['digests']()))"
    # as many threads as here: they divide the sums of a convolution among them
    threads = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **threads, "PYTHONHASHSEED": "7", "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    np.random.seed(99)
    random.seed(99)
    assert digests() == json.loads(done.stdout.strip().splitlines()[-1])


def test_a_second_fit_of_the_same_object_or_of_a_clone_is_equal_to_the_bit() -> None:
    model = Classifier(epochs=1, random_state=0)
    first = digest(model.fit(IMAGES, LABELS))
    assert digest(clone(model).fit(IMAGES, LABELS)) == first
    assert digest(model.fit(IMAGES, LABELS)) == first


def test_another_random_state_gives_another_model() -> None:
    found = {digest(Linear(random_state=seed).fit(X, Y)) for seed in (0, 2**32 - 1)}
    assert len(found) == 2


def test_the_seed_orders_the_rows_and_picks_those_held_out() -> None:
    def weights(**fields: Any) -> list[np.ndarray]:
        class Zeros(Linear):
            def build_model(self, spec: Any) -> keras.Model:
                head = keras.layers.Dense(1, kernel_initializer="zeros")
                return keras.Sequential([keras.Input(spec.input_shape), head])

        return Zeros(**fields).fit(X, Y).model_.get_weights()[0].tolist()

    assert weights(random_state=0) != weights(random_state=1)
    assert weights(random_state=0, shuffle=False) == weights(random_state=1, shuffle=False)
    held = {"validation_split": 0.3, "batch_size": 50}
    assert weights(random_state=0, **held) != weights(random_state=1, **held)


@pytest.mark.parametrize("random_state", [0, None])
def test_the_global_generators_are_left_as_they_were(random_state: int | None) -> None:
    np.random.seed(5)
    random.seed(5)
    model = Linear(random_state=random_state, validation_split=0.2)
    if random_state is None:
        np.random.randint(2**31 - 1)  # as scikit-learn does, it draws its seed from there
    expected = np.random.random(3), random.random()
    np.random.seed(5)
    random.seed(5)
    model.fit(X, Y).predict(X)
    found = np.random.random(3), random.random()
    np.testing.assert_array_equal(found[0], expected[0])
    assert found[1] == expected[1]


def test_without_a_random_state_each_fit_draws_anew_and_numpys_seed_is_honoured() -> None:
    model = Linear()

    def two() -> list[str]:
        np.random.seed(1)
        return [digest(model.fit(X, Y)), digest(model.fit(X, Y))]

    first = two()
    assert first[0] != first[1]
    assert two() == first


def test_a_numpy_random_state_is_drawn_from() -> None:
    generator = np.random.RandomState(4)
    drawn = [digest(Linear(random_state=generator).fit(X, Y)) for _ in range(2)]
    again = digest(Linear(random_state=np.random.RandomState(4)).fit(X, Y))
    assert drawn[0] == again != drawn[1]


def test_the_seed_that_was_drawn_repeats_the_fit() -> None:
    model = Linear(random_state=None).fit(X, Y)
    assert digest(Linear(random_state=model.seed_).fit(X, Y)) == digest(model)
