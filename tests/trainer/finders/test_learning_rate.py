"""The learning-rate finder: what it suggests. Both finders: that they leave no trace."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from keras.src.backend.common import global_state
from tensorflow.python.eager import context

from trainer import Classifier, Regressor, Trainer, find_batch_size, find_learning_rate
from trainer.finders.learning_rate import suggest
from trainer.finders.probes import RateTest

MNIST = Path(__file__).resolve().parents[4] / "shared" / "data" / "mnist_10k.npz"
RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 6)).astype("float32")
Y = (X[:, 0] + X[:, 1] > 0).astype(int)


class Perceptron(Classifier):
    """784-300-100-10."""

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input(spec.input_shape),
                keras.layers.Flatten(),
                keras.layers.Dense(300, "relu"),
                keras.layers.Dense(100, "relu"),
                keras.layers.Dense(10, "softmax"),
            ]
        )


def small(**fields: Any) -> Classifier:
    return Classifier(**{"random_state": 0, "verbose": 0, "epochs": 2, "model": "mlp"} | fields)


def global_states() -> list[Any]:
    eager = context.context()
    generator = global_state.get_global_attribute("global_seed_generator")
    names = global_state.get_global_attribute("object_name_uids")
    return [
        random.getstate(),
        [part.tolist() if hasattr(part, "tolist") else part for part in np.random.get_state()],
        eager._seed,
        eager._rng.getstate(),
        global_state.get_global_attribute("global_random_seed"),
        id(generator),
        None if generator is None else generator.state.numpy().tolist(),
        dict(names),
        keras.config.floatx(),
        keras.config.dtype_policy().name,
    ]


def fitted_bytes(trainer: Trainer) -> list[bytes]:
    return [w.tobytes() for w in trainer.fit(X, Y).model_.get_weights()]


# ---- learning rate ---------------------------------------------------------------------------


@pytest.mark.skipif(not MNIST.exists(), reason="mnist_10k.npz is not on this machine")
@pytest.mark.parametrize(("optimizer", "seed"), [("sgd", 0), ("adam", 1)])
def test_the_suggested_rate_is_nearly_as_good_as_the_best_of_a_grid(
    optimizer: str, seed: int
) -> None:
    data = np.load(MNIST)
    x, y = (data["x"] / 255).astype("float32"), data["y"].astype(int)
    train, valid = (x[:3000], y[:3000]), (x[5000:7000], y[5000:7000])

    def accuracy(rate: float) -> float:
        trainer = Perceptron(
            optimizer=optimizer, learning_rate=rate, random_state=seed, epochs=2, verbose=0
        )
        return trainer.fit(*train).score(*valid)

    found = find_learning_rate(Perceptron(optimizer=optimizer, random_state=seed), *train)
    best = max(accuracy(rate) for rate in (1e-4, 1e-3, 1e-2, 1e-1, 1.0))
    assert best > 0.85
    assert accuracy(found.suggestion) >= 0.95 * best


def test_rates_rise_exponentially_a_batch_each_over_several_epochs() -> None:
    found = find_learning_rate(small(), X, Y, low=1e-5, high=0.1, steps=60)
    assert len(found.rates) == len(found.losses) == len(found.smoothed) == 60  # an epoch has 13
    np.testing.assert_allclose(found.rates, np.geomspace(1e-5, 0.1, 60))
    assert found.rates[0] < found.suggestion < found.rates[-1]
    assert isinstance(found.suggestion, float)


def test_each_loss_is_that_of_its_own_batch_at_its_own_rate() -> None:
    class Linear(Regressor):
        def build_model(self, spec: Any) -> keras.Model:
            return keras.Sequential(
                [keras.Input(spec.input_shape), keras.layers.Dense(1, kernel_initializer="zeros")]
            )

    y = X @ np.arange(1.0, 7.0, dtype="float32")
    trainer = Linear(optimizer="sgd", batch_size=20, shuffle=False, random_state=0)
    found = find_learning_rate(trainer, X, y, low=1e-3, high=0.3, steps=60)
    weights, bias, expected = np.zeros(6), 0.0, []
    for step, rate in enumerate(found.rates):
        rows = np.arange(20) + 20 * (step % 20)
        error = X[rows] @ weights + bias - y[rows]
        expected.append(np.mean(error**2))
        weights -= rate * 2 * X[rows].T @ error / 20
        bias -= rate * 2 * error.mean()
    np.testing.assert_allclose(found.losses, expected, rtol=1e-3)


def test_the_test_ends_where_the_loss_diverges() -> None:
    found = find_learning_rate(small(optimizer="sgd", batch_size=8), X, Y, high=1e6, steps=200)
    assert len(found.rates) < 200
    assert found.suggestion < 10


def test_one_odd_batch_does_not_end_the_test() -> None:
    test = RateTest(rates=np.geomspace(1e-6, 1, 100))
    test.on_train_begin()
    test.set_model(keras.Model())
    test.model.stop_training = False
    for loss in (*[1.0] * 20, 50.0, *[1.0] * 20):
        test.on_train_batch_end(0, {"loss": loss})
    assert not test.model.stop_training
    for _ in range(5):
        test.on_train_batch_end(0, {"loss": 50.0})
    assert test.model.stop_training


def test_the_suggestion_lies_at_nine_tenths_of_the_fall() -> None:
    rates = np.geomspace(1e-6, 10, 201)
    position = np.log10(rates)
    losses = 2.0 - np.clip((position + 4) / 3, 0, 1) + np.where(position > 0, 9 * position, 0)
    suggestion, _ = suggest(rates, losses)
    assert suggestion == pytest.approx(10**-1.3, rel=0.3)
    noisy = losses + np.random.default_rng(0).normal(0, 0.1, 201)
    assert suggest(rates, noisy)[0] == pytest.approx(10**-1.3, rel=1.0)


def test_a_loss_that_never_falls_gives_no_suggestion() -> None:
    rates = np.geomspace(1e-6, 10, 200)
    refused = 0
    for seed in range(100):
        losses = 2.3 + np.random.default_rng(seed).normal(0, 0.3, 200)
        try:
            suggest(rates, losses)
        except ValueError as error:
            assert "at rates from 1e-06 to 10 the loss does not fall by more than chance" in str(
                error
            )
            refused += 1
    assert refused >= 97


def test_a_loss_that_is_not_finite_from_the_start_is_told() -> None:
    with pytest.raises(ValueError, match="diverges within the first 2 batches.*low=1e"):
        find_learning_rate(small(normalize="minmax"), X, Y, low=1e30, high=1e38)


def test_a_schedule_of_the_optimizer_gives_way_to_the_rates_of_the_test() -> None:
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    for trainer in (small(learning_rate=schedule), small(optimizer=keras.optimizers.SGD(schedule))):
        found = find_learning_rate(trainer, X, Y, steps=60)
        assert found.rates[0] == pytest.approx(1e-6)


def test_a_table_with_categories_and_weights_is_taken() -> None:
    table = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "kind": np.where(X[:, 2] > 0, "u", "v")})
    found = find_learning_rate(small(), table, Y, sample_weight=np.ones(400), steps=60)
    assert 1e-6 < found.suggestion < 10


def test_a_stream_is_taken() -> None:
    stream = tf.data.Dataset.from_tensor_slices((X, Y)).batch(32)
    found = find_learning_rate(small(), stream, steps=60)
    assert 1e-6 < found.suggestion < 10


def test_mixed_precision_is_taken() -> None:
    found = find_learning_rate(small(precision="mixed_float16"), X, Y, steps=60)
    assert 1e-6 < found.suggestion < 10


def test_the_result_says_and_shows_the_suggestion() -> None:
    found = find_learning_rate(small(), X, Y, steps=60)
    assert f"suggestion={found.suggestion:.3g}" in repr(found) and len(repr(found)) < 120
    ax = found.plot()
    marked = [line for line in ax.lines if "suggestion" in str(line.get_label())]
    assert [line.get_xdata()[0] for line in marked] == [found.suggestion]
    assert ax.get_xscale() == "log" and ax.get_xlabel() == "learning rate"
    assert found.plot(ax) is ax


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"low": 0}, "low=0"),
        ({"high": float("inf")}, "high=inf"),
        ({"low": 1.0, "high": 2.0}, "high must be at least ten times low"),
        ({"steps": 5}, "steps=5: must be 20 or more"),
        ({"steps": 50.0}, "steps=50.0: must be a whole number"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        find_learning_rate(small(), X, Y, **arguments)


@pytest.mark.parametrize("finder", [find_learning_rate, find_batch_size])
def test_a_class_in_the_place_of_a_trainer_is_refused(finder: Any) -> None:
    with pytest.raises(TypeError, match=r"the class Classifier\): must be a Trainer object"):
        finder(Classifier, X, Y)


@pytest.mark.parametrize("finder", [find_learning_rate, find_batch_size])
def test_errors_of_fit_come_through(finder: Any) -> None:
    with pytest.raises(ValueError, match="optimizer='sdg'"):
        finder(small(optimizer="sdg"), X, Y)
    with pytest.raises(ValueError, match="rows"):
        finder(small(), X, Y[:10])


# ---- leaving no trace ------------------------------------------------------------------------


def run_finder(finder: Any, trainer: Trainer) -> None:
    short = {"steps": 40} if finder is find_learning_rate else {"sizes": (32,), "seconds": 0.01}
    finder(trainer, X, Y, **short)


@pytest.mark.parametrize("finder", [find_learning_rate, find_batch_size])
@pytest.mark.parametrize("state", [7, None])
def test_all_random_states_and_names_stay_as_they_were(finder: Any, state: int | None) -> None:
    keras.utils.set_random_seed(5)
    keras.random.normal((2,))  # makes Keras' own generator
    before = global_states()
    run_finder(finder, small(random_state=state))
    assert global_states() == before


@pytest.mark.parametrize("finder", [find_learning_rate, find_batch_size])
def test_a_trainer_stays_as_it_was(finder: Any, tmp_path: Path) -> None:
    stop = keras.callbacks.EarlyStopping("loss", patience=0)
    generator = np.random.RandomState(3)
    fields = {"callbacks": (stop,), "random_state": generator, "run_dir": str(tmp_path / "run")}
    trainer = small(**fields)
    before = trainer.get_params(deep=False)
    run_finder(finder, trainer)
    after = trainer.get_params(deep=False)
    assert all(after[name] is value for name, value in before.items())
    assert set(vars(trainer)) == set(before)
    assert generator.randint(10**6) == np.random.RandomState(3).randint(10**6)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("finder", [find_learning_rate, find_batch_size])
def test_a_fitted_trainer_keeps_its_model_and_trains_on_to_the_same_bytes(finder: Any) -> None:
    trainer = small()
    first = fitted_bytes(trainer)
    model = trainer.model_
    run_finder(finder, trainer)
    assert trainer.model_ is model
    assert [w.tobytes() for w in model.get_weights()] == first
    assert fitted_bytes(trainer) == first


def test_a_threshold_that_is_tuned_for_a_metric_needs_no_rows_in_a_range_test() -> None:
    x = np.random.default_rng(0).normal(size=(80, 3)).astype("float32")
    trainer = Classifier(decision_threshold="f1", validation_split=0.2, random_state=0)
    assert len(find_learning_rate(trainer, x, x[:, 0] > 1).losses) > 1
