"""What a fit meets in the wild: odd batches, streams that break, steps, metrics and callbacks that
fail, and Ctrl-C. The user's own error arrives, and the trainer goes on to be useful."""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from patience import SECONDS
from sklearn.exceptions import NotFittedError

from trainer import Trainer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6)).astype("float32")
Y = (X @ RNG.normal(size=(6, 1))).astype("float32")


class Linear(Trainer):
    """One dense layer."""

    epochs = 2
    batch_size = 8
    optimizer = "sgd"
    loss = "mse"
    shuffle = False
    random_state = 0
    verbose = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential([keras.Input((6,)), layers.Dense(1)])


class Broken(Exception):
    """Of the user's own."""


def _logs(trainer: Trainer) -> list[dict[str, float]]:
    return [{k: v for k, v in r.items() if k != "seconds"} for r in trainer.history_.records]


def _assert_usable(trainer: Trainer) -> None:
    """It predicts, evaluates, and fits anew to the numbers of a fresh one."""
    assert trainer.predict(X).shape == (40, 1)
    assert math.isfinite(trainer.evaluate(X, Y)["loss"])
    trainer.set_params(callbacks=()).fit(X, Y)
    assert _logs(trainer) == _logs(type(trainer)().fit(X, Y))


# ---- odd batches -------------------------------------------------------------------------------


def test_a_batch_larger_than_the_data_is_one_batch_of_all_rows() -> None:
    seen: list[int] = []
    counter = keras.callbacks.LambdaCallback(on_train_batch_end=lambda i, logs: seen.append(i))
    large = Linear(batch_size=1_000, callbacks=[counter]).fit(X, Y, validation_data=(X, Y))
    exact = Linear(batch_size=40).fit(X, Y, validation_data=(X, Y))
    assert _logs(large) == _logs(exact)
    assert seen == [0, 0]
    assert large.evaluate(X[:3], Y[:3]) == exact.evaluate(X[:3], Y[:3])


def test_a_single_row_is_a_batch() -> None:
    one = Linear().fit(X[:1], Y[:1])
    assert math.isfinite(one.history_["loss"][-1])
    assert one.predict(X[:1]).shape == (1, 1)


def _fortran(a: np.ndarray) -> np.ndarray:
    return np.asfortranarray(a)


def _strided(a: np.ndarray) -> np.ndarray:
    wide = np.zeros((2 * len(a), *a.shape[1:]), a.dtype)
    wide[::2] = a
    return wide[::2]


def _backwards(a: np.ndarray) -> np.ndarray:
    return a[::-1].copy()[::-1]


def _transposed(a: np.ndarray) -> np.ndarray:
    return a.T.copy().T


def _read_only(a: np.ndarray) -> np.ndarray:
    made = a.copy()
    made.flags.writeable = False
    return made


def _swapped(a: np.ndarray) -> np.ndarray:
    return a.astype(a.dtype.newbyteorder())


LAYOUTS = [_fortran, _strided, _backwards, _transposed, _read_only, _swapped]


@pytest.mark.parametrize("resident_bytes", [None, 0], ids=["held", "read"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_of_arrays_changes_no_number(layout: Callable, resident_bytes: Any) -> None:
    plain = Linear(shuffle=True).fit(X, Y, validation_data=(X, Y))
    odd = Linear(shuffle=True, resident_bytes=resident_bytes)
    odd.fit(layout(X), layout(Y), validation_data=(layout(X), layout(Y)))
    assert _logs(odd) == _logs(plain)
    np.testing.assert_array_equal(odd.predict(layout(X)), plain.predict(X))


def test_a_memory_mapped_array_is_read_chunk_by_chunk(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    read = Linear(shuffle=True, resident_bytes=0).fit(mapped, Y)
    assert not read._network.plan.resident
    assert _logs(read) == _logs(Linear(shuffle=True).fit(X, Y))


# ---- streams that break ------------------------------------------------------------------------


class Batches(keras.utils.PyDataset):
    """Five batches of eight rows; one of them may raise, once `armed` says so."""

    def __init__(self, breaks_at: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.breaks_at = breaks_at
        self.passes = 0

    def __len__(self) -> int:
        return 5

    def on_epoch_begin(self) -> None:
        self.passes += 1

    def __getitem__(self, i: int) -> Any:
        if i == self.breaks_at and self.passes:
            raise Broken("the disk is gone")
        return X[8 * i : 8 * i + 8], Y[8 * i : 8 * i + 8]


@pytest.mark.parametrize("workers", [1, 2])
def test_the_error_of_a_pydataset_arrives_with_its_batch(workers: int) -> None:
    trainer = Linear()
    with pytest.raises(Broken, match="the disk is gone") as raised:
        trainer.fit(Batches(breaks_at=3, workers=workers))
    assert any("batch 3" in note for note in raised.value.__notes__)
    _assert_usable(trainer)
    assert (
        trainer.fit(Batches(workers=workers)).history_["loss"]
        == Linear().fit(X, Y).history_["loss"]
    )


def test_the_error_of_a_validation_stream_arrives_with_its_batch() -> None:
    trainer = Linear()
    with pytest.raises(Broken) as raised:
        trainer.fit(X, Y, validation_data=Batches(breaks_at=2))
    assert any("batch 2" in note for note in raised.value.__notes__)
    _assert_usable(trainer)


def _generated(breaks_at: int | None) -> tf.data.Dataset:
    """A data set of unknown length; it may raise in its second pass, and later."""
    passes = []

    def generate() -> Iterator[Any]:
        passes.append(1)
        for i in range(5):
            if i == breaks_at and len(passes) > 2:
                raise Broken("the line is cut")
            yield X[8 * i : 8 * i + 8], Y[8 * i : 8 * i + 8]

    spec = (tf.TensorSpec([None, 6]), tf.TensorSpec([None, 1]))
    return tf.data.Dataset.from_generator(generate, output_signature=spec)


def test_the_error_of_a_generator_arrives_with_its_batch() -> None:
    trainer = Linear()
    with pytest.raises(tf.errors.OpError, match="Broken: the line is cut") as raised:
        trainer.fit(_generated(breaks_at=3))
    assert "raised after 3 batches of the stream had been used" in raised.value.__notes__
    assert len(trainer.history_) == 1, "the first epoch was whole"
    _assert_usable(trainer)


def test_a_stream_of_unknown_length_trains_and_evaluates_as_its_arrays_do() -> None:
    stream = Linear().fit(_generated(None), validation_data=_generated(None))
    arrays = Linear().fit(X, Y, validation_data=(X, Y))
    assert stream.history_["loss"] == arrays.history_["loss"]
    np.testing.assert_allclose(stream.history_["val_loss"], arrays.history_["val_loss"], rtol=1e-6)
    np.testing.assert_allclose(
        stream.evaluate(_generated(None))["loss"], arrays.evaluate(X, Y)["loss"], rtol=1e-6
    )
    np.testing.assert_array_equal(stream.predict(_generated(None)), arrays.predict(X))


def test_a_stream_of_unknown_length_without_a_batch_is_refused() -> None:
    none = _generated(None).filter(lambda x, y: False)
    with pytest.raises(ValueError, match="x is empty"):
        Linear().fit(none)


def test_an_endless_stream_is_refused_before_training() -> None:
    with pytest.raises(ValueError, match=r"is an infinite tf.data.Dataset; remove repeat\(\)"):
        Linear().fit(tf.data.Dataset.from_tensor_slices((X, Y)).batch(8).repeat())


# ---- steps, metrics and callbacks that fail ----------------------------------------------------


class NoLogs(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.out = layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.out(x)

    def train_step(self, data: Any) -> Any:
        super().train_step(data)
        return None


@pytest.mark.parametrize("eagerly", [False, True])
def test_a_train_step_that_returns_no_dict_is_named(eagerly: bool) -> None:
    class Own(Linear):
        def build_model(self, spec: Any) -> keras.Model:
            return NoLogs()

    with pytest.raises(TypeError, match="train_step of NoLogs returned NoneType: it must return"):
        Own(run_eagerly=eagerly).fit(X, Y)


def not_a_number(y: Any, predicted: Any) -> Any:
    """A metric without a value."""
    return keras.ops.sqrt(-1.0 - keras.ops.abs(y - predicted))


def test_a_metric_without_a_value_is_kept_as_nan(capsys: pytest.CaptureFixture) -> None:
    trainer = Linear(metrics=[not_a_number], verbose=2).fit(X, Y, validation_data=(X, Y))
    assert all(map(math.isnan, trainer.history_["not_a_number"]))
    assert all(map(math.isnan, trainer.history_["val_not_a_number"]))
    assert trainer.history_["loss"] == Linear().fit(X, Y).history_["loss"]
    assert "not_a_number nan" in capsys.readouterr().out


def test_a_loss_without_a_value_stops_where_keras_stops() -> None:
    def callbacks(seen: list[int]) -> list[Any]:
        each = keras.callbacks.LambdaCallback(on_train_batch_end=lambda i, logs: seen.append(i))
        return [keras.callbacks.TerminateOnNaN(), each]

    def steep() -> Any:
        return keras.optimizers.SGD(1e15)

    ours: list[int] = []
    theirs: list[int] = []
    trainer = Linear(optimizer=steep(), callbacks=callbacks(ours)).fit(X, Y)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), layers.Dense(1)])
    model.compile(steep(), "mse")
    model.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=callbacks(theirs))
    assert ours == theirs
    assert 1 < len(ours) < 5, "in the middle of the first epoch"
    assert not math.isfinite(trainer.history_["loss"][-1])


HOOKS = ["train_begin", "epoch_begin", "train_batch_begin", "train_batch_end", "test_begin"]
HOOKS += ["test_batch_end", "test_end", "epoch_end", "train_end"]


@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt])
@pytest.mark.parametrize("hook", HOOKS)
def test_an_error_in_a_callback_arrives_and_leaves_a_usable_trainer(
    hook: str, error: type[BaseException]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error("here")

    callback = keras.callbacks.Callback()
    setattr(callback, f"on_{hook}", fail)
    trainer = Linear(callbacks=[callback])
    with pytest.raises(error, match="here"):
        trainer.fit(X, Y, validation_data=(X, Y))
    assert callback.model is None, "it would be copied with the model by clone"
    _assert_usable(trainer)


@pytest.mark.parametrize("feed", ["rows", "chunks", "stream"])
def test_ctrl_c_in_the_middle_of_a_fit_leaves_a_usable_trainer(feed: str) -> None:
    begun = threading.Event()
    callback = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, _: begun.set() if epoch == 3 else None
    )
    trainer = Linear(callbacks=[callback], epochs=1_000_000)
    if feed == "chunks":
        trainer.set_params(resident_bytes=0)

    def interrupt() -> None:
        begun.wait(SECONDS)
        threading.Event().wait(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*((Batches(),) if feed == "stream" else (X, Y)))
    thread.join()
    assert len(trainer.history_) > 1
    assert trainer.history_.records[-1]["epoch"] == len(trainer.history_)
    _assert_usable(trainer.set_params(epochs=2, resident_bytes=None))


def test_a_fit_that_never_began_leaves_the_trainer_as_it_was() -> None:
    class Fails(Linear):
        broken: bool = True

        def build_model(self, spec: Any) -> keras.Model:
            if self.broken:
                raise Broken("no model")
            return super().build_model(spec)

    trainer = Fails()
    with pytest.raises(Broken):
        trainer.fit(X, Y)
    with pytest.raises(NotFittedError):
        trainer.predict(X)
    before = trainer.set_params(broken=False).fit(X, Y).predict(X)
    with pytest.raises(Broken):
        trainer.set_params(broken=True).fit(X, Y)
    np.testing.assert_array_equal(trainer.predict(X), before)
