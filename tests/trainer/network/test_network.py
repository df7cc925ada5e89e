"""Evaluating and predicting: the rows of a step, and weights that mean what they mean in Keras."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from keras import layers

from trainer import Classifier, Regressor
from trainer.engine.feeds import RowsFeed
from trainer.engine.tensorflow import plan

N, WIDTH = 40, 3
X = np.random.default_rng(0).normal(size=(N, WIDTH)).astype("float32")
Y = X.sum(axis=1)


def dense() -> keras.Model:
    x = keras.Input((WIDTH,))
    return keras.Model(x, layers.Dense(1)(layers.Dense(64, "relu")(x)))


def attention() -> keras.Model:
    x = keras.Input((20, WIDTH))
    found = layers.MultiHeadAttention(4, 2)(x, x)
    return keras.Model(x, layers.Dense(1)(layers.GlobalAveragePooling1D()(found)))


def upsampling() -> keras.Model:
    x = keras.Input((4, 4, 1))
    found = layers.Conv2D(2, 3, padding="same")(layers.UpSampling2D(8)(x))
    return keras.Model(x, layers.Dense(1)(layers.GlobalAveragePooling2D()(found)))


@keras.saving.register_keras_serializable("test_network")
class Outer(layers.Layer):  # type: ignore[misc, unused-ignore]
    """Makes a large tensor that no layer returns."""

    def call(self, x: Any) -> Any:
        return keras.ops.sum(x[:, :, None, None] * x[:, None, :, None] * x[:, None, None], (2, 3))


def inner() -> keras.Model:
    x = keras.Input((WIDTH * 5,))
    return keras.Model(x, layers.Dense(1)(Outer()(x)))


def fitted(build: Any, x: np.ndarray, y: np.ndarray = Y, **fields: Any) -> Any:
    class Own(Regressor):
        def build_model(self, spec: Any) -> keras.Model:
            return build()

    return Own(**{"epochs": 1, "metrics": (), "random_state": 0} | fields).fit(x, y)


@pytest.fixture(scope="module")
def trained() -> Any:
    return fitted(dense, X)


def steps_of(monkeypatch: pytest.MonkeyPatch, trained: Any) -> list[int]:
    """The rows of each step of predict from now on."""
    sizes: list[int] = []
    program, predict = trained.network_.program, trained.network_.program.predict
    monkeypatch.setattr(program, "predict", lambda x: (sizes.append(len(x)), predict(x))[1])
    return sizes


# ---- how many rows -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "shape", "values"),
    [
        (dense, (WIDTH,), 64),
        (attention, (20, WIDTH), 4 * 20 * 20),
        (upsampling, (4, 4, 1), 32 * 32 * 2),
        (inner, (WIDTH * 5,), (WIDTH * 5) ** 3),
    ],
    ids=["an output of a layer", "scores", "a larger image", "within a layer"],
)
def test_the_largest_tensor_of_a_row_is_counted(build: Any, shape: Any, values: int) -> None:
    x = np.zeros((8, *shape), "float32")
    assert fitted(build, x, np.arange(8.0)).network_.largest_bytes(x) == 4 * values


def test_a_step_has_32_rows_or_as_many_as_take_little_memory(
    monkeypatch: pytest.MonkeyPatch, trained: Any
) -> None:
    sizes = steps_of(monkeypatch, trained)
    trained.predict(X)
    monkeypatch.setattr(plan, "MAX_BATCH_BYTES", 4 * 64 * 36)
    trained.predict(X)
    monkeypatch.setattr(plan, "MAX_BATCH_BYTES", 1)
    trained.predict(X)
    assert sizes == [40, 36, 4, 32, 8]


def test_predict_takes_batch_size(monkeypatch: pytest.MonkeyPatch, trained: Any) -> None:
    expected = trained.predict(X)
    sizes = steps_of(monkeypatch, trained)
    np.testing.assert_allclose(trained.predict(X, batch_size=15), expected, rtol=1e-5)
    assert sizes == [15, 15, 10]


def test_predict_proba_takes_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Classifier(epochs=1, random_state=0).fit(X, Y > 0)
    sizes = steps_of(monkeypatch, found)
    found.predict_proba(X, batch_size=30)
    assert sizes == [30, 10]


def test_evaluate_with_batch_size_gives_what_keras_gives_with_it() -> None:
    trained = fitted(dense, X, loss=keras.losses.MeanSquaredError(reduction="sum"))
    whole = trained.model_
    for size in (7, 16):
        expected = whole.evaluate(X, Y, batch_size=size, verbose=0, return_dict=True)["loss"]
        found = trained.evaluate(X, Y, batch_size=size)["loss"]
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("size", "error", "words"),
    [
        (0, ValueError, r"batch_size=0: must be 1 or more"),
        ("8", TypeError, r"batch_size='8': must be a whole number"),
        (True, TypeError, r"batch_size=True: must be a whole number"),
    ],
)
def test_a_batch_size_that_is_none_is_refused(
    trained: Any, size: Any, error: type[Exception], words: str
) -> None:
    for call in (trained.predict, lambda x, **size: trained.evaluate(x, Y, **size)):
        with pytest.raises(error, match=words):
            call(X, batch_size=size)


def test_a_stream_has_batches_of_its_own(trained: Any) -> None:
    stream = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)
    for call in (trained.predict, trained.evaluate):
        with pytest.raises(ValueError, match=r"batch_size=4: x is .*batches of its own"):
            call(stream, batch_size=4)


def test_rows_on_disk_are_read_a_few_batches_at_a_time(trained: Any) -> None:
    feed = trained.network_.evaluation_rows((X, Y), 4, resident_bytes=0)
    assert not feed.resident and feed.most_read * feed.batch_size * (WIDTH + 1) * 4 <= 2**25
    feed = RowsFeed((X, Y), batch_size=4, float_dtype="float32")
    feed.resident, feed.most_read = False, 3
    assert [chunk.steps for chunk in feed.test(64)] == [3, 3, 3, 1]


def test_rows_left_over_by_a_fixed_batch_are_refused_when_predicting() -> None:
    def fixed() -> keras.Model:
        x = keras.Input((WIDTH,), batch_size=4)
        return keras.Model(x, layers.Dense(1)(x))

    trained = fitted(fixed, X, batch_size=4)
    assert trained.predict(X).shape == (N,)
    for call in (trained.predict, lambda x: trained.evaluate(x, Y[:6])):
        with pytest.raises(ValueError, match="x has 6 rows, .* exactly 4, .* pass 4 or 8 rows"):
            call(X[:6])
    with pytest.raises(ValueError, match="batch_size=8: the model takes batches of exactly 4"):
        trained.predict(X, batch_size=8)


# ---- weights -----------------------------------------------------------------------------------


def two_outputs() -> keras.Model:
    x = keras.Input((WIDTH,))
    return keras.Model(x, {"a": layers.Dense(1, name="a")(x), "b": layers.Dense(1, name="b")(x)})


def sequence() -> keras.Model:
    x = keras.Input((4, WIDTH))
    return keras.Model(x, layers.Dense(1)(x))


@pytest.mark.parametrize("form", ["for each output", "for each step"])
def test_weights_give_the_numbers_that_they_give_in_keras(form: str) -> None:
    draw = np.random.default_rng(1)
    build: Any = two_outputs
    x: Any = X
    y: Any = {"a": Y, "b": -Y}
    weight: Any = {"b": draw.random(N), "a": draw.random(N)}
    if form == "for each step":
        build, x, y = sequence, np.repeat(X[:, None], 4, axis=1), np.repeat(Y[:, None], 4, axis=1)
        y, weight = y[..., None], draw.random((N, 4))
    fields = {"epochs": 2, "optimizer": "sgd", "loss": "mse", "metrics": (), "shuffle": False}

    class Own(Regressor):
        def build_model(self, spec: Any) -> keras.Model:
            return build()

    trained = Own(**fields, random_state=0).fit(x, y, sample_weight=weight)
    keras.utils.set_random_seed(0)
    model = build()
    model.compile("sgd", "mse")
    model.fit(x, y, sample_weight=weight, epochs=2, shuffle=False, verbose=0)
    for ours, theirs in zip(trained.model_.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    expected = model.evaluate(x, y, sample_weight=weight, verbose=0, return_dict=True)["loss"]
    found = trained.evaluate(x, y, sample_weight=weight)["loss"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_weight_below_zero_later_in_a_stream_is_an_error_that_says_where(trained: Any) -> None:
    weight = np.where(np.arange(N) == 20, -1.0, 1.0)
    stream = tf.data.Dataset.from_tensor_slices((X, Y, weight)).batch(8)
    with pytest.raises(ValueError, match="sample_weight has a weight below 0 or NaN"):
        trained.evaluate(stream)


# ---- numbers as rows ---------------------------------------------------------------------------


def test_a_stream_of_numbers_is_a_column() -> None:
    def line() -> keras.Model:
        x = keras.Input((1,))
        return keras.Model(x, layers.Dense(1)(x))

    x = X[:, 0]
    for size in (None, 8):

        def stream(*parts: Any, size: int | None = size) -> Any:
            whole = tf.data.Dataset.from_tensor_slices(parts)
            return whole if size is None else whole.batch(size)

        trained = fitted(line, stream(x, Y), None, normalize="standard")
        assert trained.n_features_in_ == 1
        expected = trained.predict(x[:, None])
        np.testing.assert_allclose(trained.predict(stream(x, Y)), expected, rtol=1e-5)
        found = trained.evaluate(stream(x, Y))["loss"]
        np.testing.assert_allclose(found, trained.evaluate(x[:, None], Y)["loss"], rtol=1e-5)


def test_threads_predict_at_once_from_the_first_call_on() -> None:
    frame = pd.DataFrame({"a": X[:, 0], "b": np.where(Y > 0, "up", "down")})
    made = Regressor(model="mlp", epochs=1, random_state=0, verbose=0).fit(frame, Y)
    expected = made.predict(frame)
    content = pickle.dumps(made)
    fresh = pickle.loads(content)  # has traced nothing yet
    start = threading.Barrier(8)

    def predict(first: int) -> list[np.ndarray]:
        start.wait()
        return [fresh.predict(frame.iloc[i : i + 5]) for i in range(first, 32)]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(predict, range(8)))
    for first, found in enumerate(answers):
        for i, values in enumerate(found, first):
            np.testing.assert_allclose(values, expected[i : i + 5], rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(values, answers[0][i])
    assert fresh.network_.program.graphs.traces == 1
