"""What the field strategy stands for, what only the chief does, and what all workers do alike."""

from __future__ import annotations

import json
import pickle
import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer import Classifier, Trainer
from trainer.engine.tensorflow import plan, strategy
from trainer.network import distributed

X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
Y = (X[:, 0] > 0).astype(int)


def fit(folder: Path, *callbacks: Any, **fields: Any) -> Classifier:
    settings = {"model": "mlp", "epochs": 2, "batch_size": 8, "verbose": 0, "random_state": 1}
    return Classifier(**settings | fields, callbacks=callbacks).fit(X, Y, validation_data=(X, Y))


def test_one_process_is_its_own_chief_and_agrees_with_itself() -> None:
    assert strategy.is_chief()
    assert strategy.agree(True) and not strategy.agree(False) and strategy.agree(7) == 7


def test_the_plugins_of_a_worker_that_is_not_the_chief_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plugins(folder: Path) -> list[Any]:
        return [
            {"name": "csv", "path": folder / "epochs.csv"},
            {"name": "checkpoint", "folder": folder / "checkpoints"},
            {"name": "tensorboard", "log_dir": folder / "tensorboard", "every_n_batches": 1},
        ]

    for name in ("chief", "other"):
        (tmp_path / name).mkdir()
    chief = fit(tmp_path, *plugins(tmp_path / "chief"))
    monkeypatch.setattr(strategy, "is_chief", lambda: False)
    other = fit(tmp_path, *plugins(tmp_path / "other"))
    assert len(list((tmp_path / "chief").iterdir())) == 3
    assert list((tmp_path / "other").iterdir()) == []
    for a, b in zip(chief.model_.get_weights(), other.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What this worker would do; another has a reason to act, and little memory."""
    found: list[Any] = []

    def agree(value: Any) -> Any:
        found.append(value)
        return True if isinstance(value, bool) else min(value, 1_000)

    monkeypatch.setattr(strategy, "agree", agree)
    return found


def test_all_workers_hold_as_many_rows_as_the_smallest_can(asked: list[Any]) -> None:
    assert plan.resident_limit() == 1_000
    assert asked[0] > 1_000


def test_a_worker_stops_when_the_time_of_another_is_over(
    asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.callbacks.time_limit.agree", strategy.agree)
    limited = fit(tmp_path, {"name": "time_limit", "minutes": 60.0})
    assert len(limited.history_) == 1 and limited.callbacks_[0].reached
    assert False in asked


def test_a_worker_stops_at_once_when_another_was_signalled(
    asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.runs.checkpointing.agree", strategy.agree)
    monkeypatch.setattr("trainer.fitting.strategy.agree", lambda own: min(own, signal.SIGTERM))
    with pytest.raises(SystemExit) as ended:
        fit(tmp_path, run_dir=tmp_path / "run", epochs=20)
    assert asked and ended.value.code == 128 + signal.SIGTERM
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["status"] == "stopped"
    assert not (tmp_path / "run" / "history.csv").exists()


# ---- the field -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ("mirored", ValueError, "strategy='mirored'.*'mirrored'"),
        (2, TypeError, "strategy=2: must be None, 'mirrored'"),
        (
            object.__new__(tf.distribute.ParameterServerStrategy),
            ValueError,
            "ParameterServerStrategy.*at their own pace",
        ),
        (
            object.__new__(tf.distribute.experimental.CentralStorageStrategy),
            ValueError,
            "CentralStorageStrategy.*copy of the variables",
        ),
        ("multi_worker", ValueError, "TF_CONFIG, which lists the workers, is not set.*launch"),
        ("tpu", ValueError, "no TPU was found. Looked for TPU_NAME .not set"),
    ],
)
def test_a_strategy_that_cannot_be_used_is_one_clear_error(
    value: Any, error: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.delenv("TPU_NAME", raising=False)
    with pytest.raises(error, match=words):
        fit(tmp_path, strategy=value)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}']
)
def test_a_tf_config_without_this_worker_is_one_clear_error(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match="does not list this worker in a cluster"):
        fit(tmp_path, strategy="auto")


def test_workers_must_be_joined_before_tensorflow_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}'
    monkeypatch.setenv("TF_CONFIG", text)
    tf.constant(1)
    with pytest.raises(ValueError, match="MultiWorkerMirroredStrategy.. at the start"):
        fit(tmp_path, strategy="multi_worker")


def test_auto_is_one_device_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert strategy.resolve("auto") is None
    one, auto = (fit(tmp_path, strategy=value) for value in (None, "auto"))
    assert one.history_["loss"] == auto.history_["loss"]


# ---- what cannot be trained on several devices ---------------------------------------------------


class Given(Trainer):
    model_of: Any = None

    def build_model(self, spec: Any) -> keras.Model:
        return self.model_of()


class Largest(keras.metrics.Metric):
    def __init__(self) -> None:
        super().__init__(name="largest")
        self.value = self.add_weight(shape=(), initializer="zeros")

    def update_state(self, y: Any, predicted: Any, sample_weight: Any = None) -> None:
        self.value.assign(keras.ops.maximum(self.value, keras.ops.max(predicted)))

    def result(self) -> Any:
        return keras.ops.copy(self.value)


class Descent(keras.Model):
    """Changes its weights without an optimizer."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.dense(x)

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with tf.GradientTape() as tape:
            loss = keras.ops.mean(keras.ops.square(y - self(x)))
        for weight, gradient in zip(
            self.trainable_variables, tape.gradient(loss, self.trainable_variables), strict=True
        ):
            weight.assign_sub(0.1 * gradient)
        return {"loss": loss}


def dense(**options: Any) -> Any:
    return keras.Sequential([keras.Input((3,), **options), keras.layers.Dense(1)])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"jit": True}, "jit=True: XLA cannot compile"),
        ({"run_eagerly": True}, "run_eagerly=True: steps in Python run on one device"),
        ({"model_of": lambda: dense(batch_size=8)}, "batches of exactly 8 rows"),
        ({"loss": keras.losses.MeanSquaredError(reduction="sum")}, "reduction='sum'"),
        ({"metrics": [Largest()]}, "metrics: Largest .* are not sums over rows"),
        ({"model_of": Descent}, "train_step of Descent does not call optimizer.apply"),
    ],
)
def test_what_would_give_other_numbers_on_several_devices_is_refused(
    fields: dict[str, Any], words: str
) -> None:
    given = {"model_of": dense, "loss": "mse", "verbose": 0, "epochs": 1, "batch_size": 8}
    given["random_state"] = 0
    with pytest.raises(ValueError, match=words):
        Given(strategy="mirrored", **given | fields).fit(X, X[:, :1])


def test_a_loss_that_is_no_mean_over_rows_is_trained_with_a_warning() -> None:
    def root(y: Any, predicted: Any) -> Any:
        return keras.ops.sqrt(keras.ops.mean(keras.ops.square(y - predicted)))

    given = Given(
        model_of=dense, loss=root, verbose=0, epochs=1, random_state=0, strategy="mirrored"
    )
    with pytest.warns(UserWarning, match="not the mean of its rows' losses"):
        given.fit(X, X[:, :1])


class Averaged(keras.Model):
    """A train_step of its own that calls its optimizer."""

    def __init__(self) -> None:
        super().__init__()
        self.out = keras.layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.out(x)

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss = keras.ops.mean(keras.ops.square(y - self(x, training=True)))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}


def test_a_step_of_ones_own_is_trained_with_a_warning() -> None:
    given = Given(model_of=Averaged, loss="mse", verbose=0, epochs=1, random_state=0)
    given.strategy = "mirrored"
    with pytest.warns(UserWarning, match="train_step of Averaged run on each replica's part"):
        given.fit(X, X[:, :1])


def test_a_loss_over_valid_steps_only_is_trained_with_a_warning() -> None:
    words = np.tile([[1, 2, 0, 0], [1, 2, 3, 4], [1, 2, 3, 0]], (4, 1))

    def tagger() -> Any:
        parts = [keras.layers.Embedding(5, 2, mask_zero=True), keras.layers.Dense(1)]
        return keras.Sequential([keras.Input((4,), dtype="int32"), *parts])

    given = Given(
        model_of=tagger, loss="mse", verbose=0, epochs=1, random_state=0, strategy="mirrored"
    )
    with pytest.warns(UserWarning, match="not the mean of its rows' losses"):
        given.fit(words, words[..., None].astype("float32"))


def test_a_variable_that_each_worker_has_of_its_own_gets_a_warning() -> None:
    class Workers:
        workers = 2

    with strategy.using(Workers()), pytest.warns(UserWarning, match="a model.count of its own"):  # type: ignore[arg-type]
        distributed.warn_of_own(lambda: ["model.count"])


def test_a_model_trained_with_a_strategy_is_pickled_and_saved_without_it(tmp_path: Path) -> None:
    made = tf.distribute.OneDeviceStrategy("CPU:0")
    trained = fit(tmp_path, strategy=made, epochs=1)
    with pytest.warns(UserWarning, match="<OneDeviceStrategy>: belongs to this process"):
        again = pickle.loads(pickle.dumps(trained))
    loaded = Classifier.load(trained.save(tmp_path / "model.keras"))
    assert again.strategy is None and loaded.strategy is None
    for other in (again, loaded):
        np.testing.assert_array_equal(other.predict(X), trained.predict(X))
