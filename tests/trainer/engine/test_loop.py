"""The loop's events are those of keras.Model.fit: what callbacks are called with, and when."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from trainer import Trainer
from trainer.engine.loop import as_floats

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 6)).astype("float32")
Y = {"a": X[:, :1] * 3, "b": X[:, 1:2] ** 2}
VALID = (X[:21], {name: y[:21] for name, y in Y.items()})
SEED, BATCH = 5, 8  # the last batch of training has 2 rows, of validation 5


def _model() -> keras.Model:
    x = keras.Input((6,))
    hidden = layers.Dropout(0.3)(layers.Dense(8, "relu")(x))
    outputs = {name: layers.Dense(1, name=name)(hidden) for name in "ab"}
    return keras.Model(x, outputs)


class Ours(Trainer):
    epochs = 2
    batch_size = BATCH
    optimizer = "adam"
    loss = "mse"
    metrics = None
    shuffle = False
    random_state = SEED
    verbose = 0

    def build_model(self, spec: Any) -> keras.Model:
        return _model()


def _ours(*callbacks: Any, x: Any = X, y: Any = Y, valid: Any = VALID, **fields: Any) -> Ours:
    return Ours(callbacks=callbacks, **fields).fit(x, y, validation_data=valid)


def _keras(
    *callbacks: Any, x: Any = X, y: Any = Y, valid: Any = VALID, epochs: int = 2
) -> tuple[keras.Model, dict[str, Any]]:
    keras.utils.set_random_seed(SEED)
    model = _model()
    model.compile("adam", "mse")
    history = model.fit(
        x,
        y,
        batch_size=None if y is None else BATCH,
        validation_data=valid,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
    )
    return model, history.history


def _assert_same(trainer: Trainer, model: keras.Model, history: dict[str, Any]) -> None:
    assert {name: trainer.history_[name] for name in trainer.history_.metrics} == history
    for a, b in zip(trainer.model_.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


EVENTS = [
    f"on_{phase}_{event}"
    for phase in ("train", "test")
    for event in ("begin", "end", "batch_begin", "batch_end")
] + ["on_epoch_begin", "on_epoch_end"]


class Recorder(keras.callbacks.Callback):
    """Writes down every call, and may act at one of them.

    Args:
        at: the call to act at, such as ("on_train_batch_end", 3).
        act: what is done to the model then.
    """

    def __init__(self, at: tuple[Any, ...] = (), act: Callable[[Any], None] | None = None) -> None:
        super().__init__()
        self.calls: list[Any] = []
        self._at, self._act = at, act

    def count(self, event: str) -> int:
        """How many calls there were of an event."""
        return sum(call[0] == event for call in self.calls)


def _hook(event: str) -> Callable[..., None]:
    def write(self: Recorder, *arguments: Any) -> None:
        *index, logs = arguments
        self.calls.append((event, *index, dict(logs or {})))
        if (event, *index) == self._at and self._act is not None:
            self._act(self.model)

    if "batch" in event or "epoch" in event:
        return lambda self, index, logs=None: write(self, index, logs)
    return lambda self, logs=None: write(self, logs)


for _event in EVENTS:
    setattr(Recorder, _event, _hook(_event))


def test_callbacks_are_called_as_keras_calls_them() -> None:
    ours, theirs = Recorder(), Recorder()
    trainer = _ours(ours)
    model, history = _keras(theirs)
    assert ours.calls == theirs.calls
    assert ours.count("on_train_batch_end") == 2 * 7
    assert ours.count("on_test_batch_end") == 2 * 3
    _assert_same(trainer, model, history)


def test_callbacks_without_hooks_of_batches_see_the_same_epochs() -> None:
    class Epochs(Recorder):
        pass

    for event in ("train_batch_begin", "train_batch_end", "test_batch_begin", "test_batch_end"):
        setattr(Epochs, f"on_{event}", getattr(keras.callbacks.Callback, f"on_{event}"))
    ours, theirs = Epochs(), Epochs()
    trainer = _ours(ours)
    _keras(theirs)
    assert ours.calls == theirs.calls
    assert trainer._network.plan.chunk == 7, "one dispatch an epoch"


def test_a_stream_shows_callbacks_the_same_batches() -> None:
    def stream(data: Any) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(data).batch(BATCH)

    ours, theirs = Recorder(), Recorder()
    _ours(ours, x=stream((X, Y)), y=None, valid=stream(VALID))
    _keras(theirs, x=stream((X, Y)), y=None, valid=stream(VALID))
    assert ours.calls == theirs.calls


def test_a_stream_of_unknown_length_shows_callbacks_the_same_batches() -> None:
    """On a model whose every variable waits for its batch.

    At the end of such a stream Keras begins one batch more, which does not come: by then it may
    have drawn a seed for dropout and counted a step.
    """

    def model() -> keras.Model:
        return keras.Sequential([keras.Input((6,)), layers.Dense(1)])

    class Plain(Ours):
        def build_model(self, spec: Any) -> keras.Model:
            return model()

    def stream(n: int) -> tf.data.Dataset:
        batches = tf.data.Dataset.from_tensor_slices((X[:n], Y["a"][:n])).batch(BATCH)
        return batches.filter(lambda x, y: True)

    def batches(recorder: Recorder) -> list[Any]:
        return [call for call in recorder.calls if call[0].endswith("batch_end")]

    ours, theirs = Recorder(), Recorder()
    Plain(callbacks=[ours], optimizer="sgd").fit(stream(50), validation_data=stream(21))
    keras.utils.set_random_seed(SEED)
    plain = model()
    plain.compile("sgd", "mse")
    plain.fit(stream(50), validation_data=stream(21), epochs=2, verbose=0, callbacks=[theirs])
    assert batches(ours) == batches(theirs)
    assert ours.count("on_train_batch_end") == 2 * 7


STOPS = [
    (("on_train_batch_end", 3), True),
    (("on_epoch_begin", 1), True),
    (("on_epoch_begin", 1), False),
    (("on_train_begin",), False),
    (("on_test_end",), False),
]


@pytest.mark.parametrize(("at", "every_batch"), STOPS)
def test_training_stops_where_keras_stops(at: tuple[Any, ...], every_batch: bool) -> None:
    def stop(model: Any) -> None:
        model.stop_training = True

    def stopping() -> keras.callbacks.Callback:
        if every_batch:
            return Recorder(at, stop)
        callback = keras.callbacks.Callback()

        def act(*arguments: Any) -> None:
            if len(at) == 1 or arguments[0] == at[1]:
                stop(callback.model)

        setattr(callback, at[0], lambda *arguments, logs=None: act(*arguments))
        return callback

    ours, theirs = stopping(), stopping()
    trainer = _ours(ours, epochs=4)
    model, history = _keras(theirs, epochs=4)
    assert len(trainer.history_) < 4
    if every_batch:
        assert ours.calls == theirs.calls
    _assert_same(trainer, model, history)


def test_an_evaluation_stops_where_keras_stops() -> None:
    def stop(model: Any) -> None:
        model.stop_evaluating = True

    ours = Recorder(("on_test_batch_end", 1), stop)
    theirs = Recorder(("on_test_batch_end", 1), stop)
    trainer = _ours(ours)
    model, history = _keras(theirs)
    assert ours.calls == theirs.calls
    assert ours.count("on_test_batch_end") == 2 * 2
    _assert_same(trainer, model, history)


def test_what_a_callback_adds_to_the_logs_of_an_epoch_is_in_the_history() -> None:
    class Adds(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["f1"] = 0.5 + epoch

    class Later(keras.callbacks.Callback):
        seen: list[Any] = []

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.seen.append(logs["f1"])

    trainer = _ours(Adds(), Later())
    _, history = _keras(Adds())
    assert trainer.history_["f1"] == history["f1"] == [0.5, 1.5]
    assert Later.seen == [0.5, 1.5]


def test_callbacks_of_keras_work_on_the_model() -> None:
    """The learning rate, early stopping and the weights that it restores."""

    def callbacks() -> list[Any]:
        def rate(epoch: int, now: float) -> float:
            return 0.1 if epoch == 0 else now * 3

        return [
            keras.callbacks.LearningRateScheduler(rate),
            keras.callbacks.EarlyStopping(patience=1, restore_best_weights=True),
        ]

    trainer = _ours(*callbacks(), epochs=9)
    model, history = _keras(*callbacks(), epochs=9)
    assert 2 < len(trainer.history_) < 9
    assert trainer.history_["learning_rate"] == history.pop("learning_rate")
    _assert_same(trainer, model, history)


class Nested(keras.Model):
    """Its step returns a number for each column, and a dict within the dict."""

    def __init__(self) -> None:
        super().__init__()
        self.out = layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.out(x)

    def train_step(self, data: Any) -> dict[str, Any]:
        logs = super().train_step(data)
        mean = keras.ops.mean(keras.ops.abs(data[0]), axis=0)
        return {**logs, "column": mean[:2], "more": {"largest": keras.ops.max(mean), "two": 2}}


def test_logs_of_every_form_reach_the_history() -> None:
    class Own(Ours):
        def build_model(self, spec: Any) -> keras.Model:
            return Nested()

    trainer = Own().fit(X, Y["a"])
    assert trainer.history_.metrics == ["loss", "column[0]", "column[1]", "largest", "two"]
    means = np.abs(X[48:]).mean(axis=0)  # of the last batch
    assert trainer.history_["column[1]"] == pytest.approx([means[1]] * 2)
    assert trainer.history_["largest"] == pytest.approx([means.max()] * 2)
    assert trainer.history_["two"] == [2.0, 2.0]


def test_logs_become_plain_floats() -> None:
    logs = as_floats({"a": np.float32(0.5), "m": np.eye(2), "n": {"b": 1, "c": math.nan}})
    assert {k: v for k, v in logs.items() if k != "c"} == {
        "a": 0.5,
        "m[0,0]": 1.0,
        "m[0,1]": 0.0,
        "m[1,0]": 0.0,
        "m[1,1]": 1.0,
        "b": 1.0,
    }
    assert math.isnan(logs["c"])
    one = as_floats({"f1_score": np.array([0.25]), "m": np.array([[1]]), "none": np.zeros(0)})
    assert one == {"f1_score": 0.25, "m": 1.0}
    assert all(type(value) is float for value in logs.values())
