"""Keras' own callbacks and limits count in a fit as they do in keras.Model.fit."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from trainer import Regressor, Trainer

X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
Y = X[:, :1] * 2


class Dense(Trainer):
    epochs: int = 2
    batch_size: int = 4
    random_state: Any = 0
    loss: Any = "mse"
    verbose: int | str = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential([keras.Input((3,)), layers.Dense(1)])


class Ends(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == 3:
            raise RuntimeError("the process died")


class Counts(keras.callbacks.Callback):
    epochs = steps = tests = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epochs += 1

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.steps += 1

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.tests += 1


@pytest.fixture
def limited() -> Iterator[None]:
    keras.config.set_max_epochs(2)
    keras.config.set_max_steps_per_epoch(3)
    try:
        yield
    finally:
        keras.config.set_max_epochs(None)
        keras.config.set_max_steps_per_epoch(None)


def test_a_callback_whose_set_model_looks_at_the_model_ends_no_fit() -> None:
    class Looks(keras.callbacks.Callback):
        def set_model(self, model: Any) -> None:
            super().set_model(model)
            self.size = model.count_params()

    callback = Looks()
    Dense(callbacks=[callback]).fit(X, Y)
    assert callback.size == 4 and callback.model is None


def test_tensorboard_with_embeddings_ends_no_fit(tmp_path: Path) -> None:
    class Embeds(Dense):
        def build_model(self, spec: Any) -> keras.Model:
            return keras.Sequential(
                [keras.Input((3,)), layers.Embedding(9, 2), layers.Flatten(), layers.Dense(1)]
            )

    board = keras.callbacks.TensorBoard(
        str(tmp_path), embeddings_freq=1, embeddings_metadata="words.tsv", write_graph=False
    )
    Embeds(epochs=1, callbacks=[board]).fit(np.arange(24).reshape(8, 3) % 9, Y)
    assert (tmp_path / "projector_config.pbtxt").exists()


@pytest.mark.parametrize("normalize", [None, "standard"])
def test_backup_and_restore_goes_on_at_the_epoch_that_it_saved(
    tmp_path: Path, normalize: Any
) -> None:
    def backup() -> Any:
        return keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))

    options = {"epochs": 6, "normalize": normalize}
    with pytest.raises(RuntimeError, match="the process died"):
        Dense(callbacks=[backup(), Ends()], **options).fit(X, Y)
    resumed = Dense(callbacks=[backup()], **options).fit(X, Y)
    whole = Dense(**options).fit(X, Y)
    assert [record["epoch"] for record in resumed.history_.records] == [4, 5, 6]
    assert int(resumed.model_.optimizer.iterations) == 12
    for a, b in zip(resumed.model_.get_weights(), whole.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_backup_and_restore_of_all_epochs_trains_none(tmp_path: Path) -> None:
    def backup() -> Any:
        return keras.callbacks.BackupAndRestore(str(tmp_path / "b"), delete_checkpoint=False)

    first = Dense(callbacks=[backup()]).fit(X, Y)
    again = Dense(callbacks=[backup()]).fit(X, Y)
    assert len(again.history_) == 0
    np.testing.assert_array_equal(first.predict(X), again.predict(X))


@pytest.mark.parametrize("stream", [False, True])
def test_max_epochs_and_max_steps_per_epoch_are_obeyed(limited: None, stream: bool) -> None:
    counts = Counts()
    trainer = Dense(epochs=4, batch_size=2, shuffle=False, callbacks=[counts])
    rows = tf.data.Dataset.from_tensor_slices((X, Y)).batch(2)
    with pytest.warns(UserWarning, match="set_max_") as warned:
        if stream:
            trainer.fit(rows, validation_data=rows)
        else:
            trainer.fit(X, Y, validation_data=(X, Y))
    # the second epoch goes on in the data where the first ended, as in Keras
    assert (counts.epochs, counts.steps, counts.tests) == (2, 4, 6)
    said = " ".join(str(w.message) for w in warned)
    assert "epochs=4: only 2" in said and "after 3 steps" in said
    with pytest.warns(UserWarning, match="after 3 steps"):
        limited_loss = trainer.evaluate(X, Y)
    keras.config.set_max_steps_per_epoch(None)
    assert limited_loss == pytest.approx(trainer.evaluate(X[:6], Y[:6]))


def test_a_shortened_run_is_refused(limited: None, tmp_path: Path) -> None:
    for epochs, name in ((4, "max_epochs"), (2, "max_steps_per_epoch")):
        with pytest.raises(ValueError, match=rf"run_dir=.*config.{name}\(\) is"):
            Dense(epochs=epochs, run_dir=tmp_path / name).fit(X, Y)


@pytest.fixture(scope="module")
def checkpointed(tmp_path_factory: Any) -> tuple[Trainer, Path]:
    folder = tmp_path_factory.mktemp("saved")
    callbacks = [
        keras.callbacks.ModelCheckpoint(str(folder / "checkpoint.keras")),
        keras.callbacks.ModelCheckpoint(
            str(folder / "checkpoint.weights.h5"), save_weights_only=True
        ),
    ]
    fitted = Dense(normalize="standard", callbacks=callbacks).fit(X, Y)
    fitted.model_.save(folder / "model.keras")
    fitted.save(folder / "trainer.keras")
    return fitted, folder


@pytest.mark.parametrize("name", ["checkpoint.keras", "model.keras", "trainer.keras"])
def test_keras_own_saving_keeps_the_optimizer_state_of_a_normalised_model(
    checkpointed: tuple[Trainer, Path], name: str
) -> None:
    fitted, folder = checkpointed
    loaded = keras.models.load_model(folder / name)
    ours = {v.path.split("/", 1)[-1]: np.asarray(v) for v in fitted.model_.optimizer.variables}
    assert int(loaded.optimizer.iterations) == 4 and len(ours) == len(loaded.optimizer.variables)
    for mine, theirs in zip(
        fitted.model_.optimizer.variables, loaded.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(np.asarray(mine), np.asarray(theirs))


def test_weights_of_a_checkpoint_give_back_the_optimizer_state(
    checkpointed: tuple[Trainer, Path],
) -> None:
    fitted, folder = checkpointed
    loaded = keras.models.load_model(folder / "model.keras")
    loaded.optimizer.iterations.assign(0)
    loaded.load_weights(folder / "checkpoint.weights.h5")
    assert int(loaded.optimizer.iterations) == 4
    core = fitted.network_.core
    assert core.optimizer is fitted.model_.optimizer and core.compiled


class Mute(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


class Raises(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        raise Mute


def test_an_error_whose_text_has_an_error_arrives_and_is_in_the_log(tmp_path: Path) -> None:
    with pytest.raises(Mute):
        Dense(run_dir=tmp_path / "run", callbacks=[Raises()]).fit(X, Y)
    assert "ended by Mute: <exception str() failed>" in (tmp_path / "run" / "run.log").read_text()


# ---- precision -----------------------------------------------------------------------------------


class Column(Dense):
    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential([keras.Input((1,)), layers.Dense(1)])


SECONDS = 1_700_000_000 + np.arange(60)  # float32 holds one in 128


@pytest.mark.parametrize("form", ["int64", "uint64", "float64", "stream"])
def test_values_that_float32_cannot_tell_apart_are_told_apart(form: str) -> None:
    x: Any = SECONDS[:, None].astype("int64" if form == "stream" else form)
    y = np.arange(60.0)
    trainer = Regressor(model="mlp", epochs=5, random_state=0, verbose=0)
    if form == "stream":
        trainer.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(16))
    else:
        trainer.fit(x, y)
    assert len(np.unique(trainer.predict(x))) == 60


def test_a_precision_that_cannot_tell_them_apart_is_warned_of() -> None:
    trainer = Column(epochs=1, normalize="standard")
    with pytest.warns(UserWarning, match="x: its values lie so close .* precision='float64'"):
        trainer.fit(SECONDS[:, None], np.arange(60.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.set_params(precision="float64").fit(SECONDS[:, None], np.arange(60.0))


class Active(Trainer):
    """Its layer adds a loss that needs no y."""

    epochs: int = 1
    verbose: int | str = 0

    def build_model(self, spec: Any) -> keras.Model:
        inputs = keras.Input((3,))
        return keras.Model(inputs, layers.ActivityRegularization(l2=1.0)(layers.Dense(1)(inputs)))


@pytest.mark.parametrize(
    ("model", "part"),
    [
        (Dense(), "loss"),
        (Dense(loss=lambda y, out: keras.ops.mean(out)), "loss"),
        (Active(loss="mse"), "loss"),
        (Active(metrics=["mae"]), "metrics"),
    ],
)
def test_a_missing_y_is_said_before_training(model: Trainer, part: str) -> None:
    says = rf"{type(model).__name__}: y is None, and the {part} of the model compares? its outputs"
    with pytest.raises(ValueError, match=f"{says} with y; pass the y that belongs to x"):
        model.fit(X)
    rows = tf.data.Dataset.from_tensor_slices(X).batch(4)
    with pytest.raises(ValueError, match=r"x has no y, and .*; make its elements \(x, y\)"):
        model.fit(rows)
    with pytest.raises(ValueError, match="validation_data: y is None, and the"):
        model.fit(X, Y, validation_data=(X, None))
    model.fit(X, Y)
    with pytest.raises(ValueError, match=says):
        model.evaluate(X)
    assert len(model.predict(X)) == len(X)


@pytest.mark.parametrize("metrics", [None, []])
def test_a_loss_that_needs_no_y_trains_without_one(metrics: Any) -> None:
    model = Active(metrics=metrics).fit(X)
    assert np.isfinite(model.evaluate(X)["loss"])
