"""The plugin that measures weights, gradients and updates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from sklearn.base import clone

from trainer import Classifier, Regressor, Trainer
from trainer.callbacks import Statistics

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 5)).astype("float32")
Y = (X[:, 0] > 0).astype(int)
COLUMNS = ["epoch", "weight", "mean", "std", "norm", "zeros", "gradient_norm", "update_ratio"]


class Linear(Regressor):
    """One layer that starts at 0.5."""

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input(spec.input_shape),
                keras.layers.Dense(1, kernel_initializer=keras.initializers.Constant(0.5)),
            ]
        )


class Noisy(Classifier):
    """With all that a look at a model could change: dropout, moving means, several variables."""

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input(spec.input_shape),
                keras.layers.GaussianNoise(0.1),
                keras.layers.Dense(8, "relu"),
                keras.layers.BatchNormalization(),
                keras.layers.Dropout(0.4),
                keras.layers.Dense(2, "softmax"),
            ]
        )


def noisy(**fields: Any) -> Noisy:
    return Noisy(**{"epochs": 3, "batch_size": 8, "random_state": 1, "verbose": 0} | fields)


def numbers(trainer: Trainer) -> list[Any]:
    from trainer.state.variables import variables

    logs = [{k: v for k, v in r.items() if k != "seconds"} for r in trainer.history_.records]
    return [logs, *(np.asarray(v).tobytes() for v in variables(trainer._network.core))]


def assert_same_measures(one: pd.DataFrame, other: pd.DataFrame) -> None:
    # Keras counts the layers of a process: in the same one a second model has other names
    frames = [frame.drop(columns="weight") for frame in (one, other)]
    pd.testing.assert_frame_equal(*frames, check_exact=True)


def test_the_measures_are_those_of_the_tensors_and_of_a_step_on_the_first_batch() -> None:
    plugin = Statistics()
    y = X @ np.arange(5, dtype="float32")
    trainer = Linear(
        optimizer="sgd", learning_rate=0.1, loss="mse", batch_size=16, epochs=1, callbacks=[plugin],
        random_state=0, verbose=0,
    ).fit(X, y)  # fmt: skip
    kernel, bias = (w.astype(float) for w in trainer.model_.get_weights())
    error = X[:16] @ kernel[:, 0] + bias - y[:16]
    gradient = 2 * X[:16].T @ error / 16
    row = plugin.frame_.iloc[0]
    assert list(plugin.frame_.columns) == COLUMNS
    assert row["weight"].endswith("kernel") and row["epoch"] == 1
    expected = [
        kernel.mean(), kernel.std(), np.linalg.norm(kernel), 0.0, np.linalg.norm(gradient),
        0.1 * np.linalg.norm(gradient) / np.linalg.norm(kernel),
    ]  # fmt: skip
    np.testing.assert_allclose(row[COLUMNS[2:]].astype(float), expected, rtol=1e-4)


def test_the_share_of_zeros_counts_elements() -> None:
    plugin = Statistics()

    class Frozen(Linear):
        def build_model(self, spec: Any) -> keras.Model:
            start = keras.initializers.Constant([[0.0], [1.0], [0.0], [2.0], [3.0]])
            fixed = keras.layers.Dense(1, kernel_initializer=start, trainable=False, name="fixed")
            return keras.Sequential([keras.Input(spec.input_shape), fixed, keras.layers.Dense(1)])

    Frozen(epochs=1, callbacks=[plugin], verbose=0).fit(X, X[:, 0])
    table = plugin.frame_.set_index("weight")
    frozen = table.iloc[[w.endswith("fixed/kernel") for w in table.index].index(True)]
    assert frozen["zeros"] == pytest.approx(0.4)
    assert np.isnan(frozen["gradient_norm"]) and np.isnan(frozen["update_ratio"])
    trained = table[table["gradient_norm"].notna()]
    assert len(trained) == 2 and (trained["gradient_norm"] > 0).all()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_training_is_the_same_to_the_bit_with_and_without(optimizer: str, precision: str) -> None:
    fields = {"optimizer": optimizer, "precision": precision}
    alone = noisy(**fields).fit(X, Y, validation_data=(X, Y))
    keras.utils.set_random_seed(99)
    measured = noisy(callbacks=["statistics"], **fields).fit(X, Y, validation_data=(X, Y))
    assert numbers(measured) == numbers(alone)


def test_training_on_a_shuffled_stream_is_the_same_to_the_bit_with_and_without() -> None:
    def stream() -> Any:
        return tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(48, seed=4).batch(8)

    alone = noisy().fit(stream())
    measured = noisy(callbacks=["statistics"]).fit(stream())
    assert numbers(measured) == numbers(alone)


def test_gradients_in_mixed_precision_have_their_true_size() -> None:
    norms = []
    for precision in ("float32", "mixed_float16"):
        plugin = Statistics()
        Linear(
            optimizer="sgd", precision=precision, epochs=1, callbacks=[plugin], random_state=0,
            verbose=0,
        ).fit(X, X[:, 0])  # fmt: skip
        norms.append(plugin.frame_["gradient_norm"])
    np.testing.assert_allclose(norms[1], norms[0], rtol=0.05)


def test_several_outputs_weights_and_unused_weights_are_taken() -> None:
    class Two(Trainer):
        def build_model(self, spec: Any) -> keras.Model:
            x = keras.Input(spec.input_shape)
            return keras.Model(
                x,
                {"a": keras.layers.Dense(1, name="a")(x), "b": keras.layers.Dense(2, name="b")(x)},
            )

    plugin = Statistics()
    y = {"a": X[:, :1], "b": X[:, 1:3]}
    Two(loss="mse", epochs=1, callbacks=[plugin], verbose=0).fit(X, y, sample_weight=np.ones(48))
    assert len(plugin.frame_) == 4 and (plugin.frame_["gradient_norm"] > 0).all()


def test_every_epochs_spaces_the_measurements() -> None:
    plugin = Statistics(every_epochs=2)
    noisy(epochs=5, callbacks=[plugin]).fit(X, Y)
    assert sorted(set(plugin.frame_["epoch"])) == [2, 4]


def test_a_run_has_the_table_as_a_file(tmp_path: Path) -> None:
    plugin = Statistics()
    noisy(callbacks=[plugin], run_dir=tmp_path / "run").fit(X, Y)
    found = pd.read_csv(tmp_path / "run" / "statistics.csv")
    pd.testing.assert_frame_equal(found, plugin.frame_)
    assert sorted(set(found["epoch"])) == [1, 2, 3]


def test_a_second_fit_with_the_same_object_starts_afresh() -> None:
    plugin = Statistics()
    trainer = noisy(callbacks=[plugin]).fit(X, Y)
    first = plugin.frame_
    trainer.fit(X, Y)
    assert_same_measures(plugin.frame_, first)
    assert clone(trainer).callbacks[0].every_epochs == 1


def test_a_resumed_run_ends_with_the_same_table(interrupted_run: Callable[..., Any]) -> None:
    plugins: list[Statistics] = []

    def make(folder: str) -> Trainer:
        plugins.append(Statistics())
        return noisy(callbacks=[plugins[-1]], run_dir=folder, epochs=4)

    whole, resumed = interrupted_run(make, X, Y, at=[(1, 2), (1, 6), (3, 0)])
    assert_same_measures(plugins[0].frame_, plugins[-1].frame_)
    assert sorted(set(plugins[-1].frame_["epoch"])) == [1, 2, 3, 4]
    files = [pd.read_csv(Path(t.run_) / "statistics.csv") for t in (whole, resumed)]
    assert_same_measures(*files)


def test_the_dict_form_and_nested_parameters_reach_the_field(tmp_path: Path) -> None:
    trainer = noisy(callbacks=[{"name": "statistics", "every_epochs": 3}], run_dir=tmp_path / "a")
    assert trainer.get_params()["callbacks__statistics__every_epochs"] == 3
    trainer.fit(X, Y)
    assert set(pd.read_csv(tmp_path / "a" / "statistics.csv")["epoch"]) == {3}


@pytest.mark.parametrize(
    ("value", "message"), [(0, "every_epochs=0: must be 1 or more"), (1.5, "every_epochs=1.5")]
)
def test_a_bad_interval_is_refused_before_training(value: Any, message: str) -> None:
    trainer = noisy(callbacks=[{"name": "statistics", "every_epochs": value}])
    with pytest.raises((TypeError, ValueError), match=message):
        trainer.fit(X, Y)
    assert not hasattr(trainer, "history_")


def test_a_model_whose_loss_only_its_step_knows_is_refused_before_training() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.layer = keras.layers.Dense(1)

        def call(self, x: Any) -> Any:
            return self.layer(x)

        def train_step(self, data: Any) -> dict[str, Any]:
            return {"loss": tf.reduce_mean(self(data[0]))}

    class Odd(Trainer):
        def build_model(self, spec: Any) -> keras.Model:
            return Own()

    with pytest.raises(ValueError, match="statistics: the loss of Own cannot be computed"):
        Odd(callbacks=["statistics"], verbose=0).fit(X, X[:, :1])


def test_there_is_no_table_before_a_fit() -> None:
    with pytest.raises(AttributeError, match="call fit first"):
        _ = Statistics().frame_
