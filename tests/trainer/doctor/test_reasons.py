"""A failing training's cause is named, and a healthy one's silence is kept: real trainings."""

import pickle
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from failing_trainings import FAILING, Perceptron, Small, diabetes, high_rate, pixels, raw_pixels
from keras import layers
from sklearn import datasets
from sklearn.base import clone

from benchmarks import trainings
from trainer import Classifier, Regressor, Trainer
from trainer.doctor import Diagnosis, Finding, evidence

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"


@pytest.fixture(autouse=True)
def _quiet():
    """Trainings that fail warn of it; the tests of the warning look for it themselves."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*went nowhere", category=RuntimeWarning)
        warnings.filterwarnings("ignore", message=".*encountered in", category=RuntimeWarning)
        warnings.filterwarnings("ignore", message=".*softmax over axis", category=UserWarning)
        yield


@pytest.mark.parametrize("training", FAILING, ids=lambda t: t.__name__)
def test_the_cause_of_a_failing_training_is_named_first(training):
    found = training().diagnose()
    assert len(found), "nothing was found"
    assert found[0].name == FAILING[training], str(found)


@pytest.mark.parametrize(
    "name",
    [
        "all_weights_equal",
        "below_the_majority_on_new_rows",
        "dropout_of_nearly_all",
        "no_activation_on_xor",
        "no_dependence_at_all",
        "one_large_batch",
        "one_unit",
        "sgd_ends_at_a_huge_loss",
        "sgd_on_a_loss_in_the_unit_of_y",
        "small_initial_weights",
    ],
)
def test_a_fault_of_the_benchmark_is_named_and_nothing_before_it(name):
    causes, fit = trainings.FAULTY[name]
    assert fit(0).diagnose()[0].name in causes


def test_validation_worse_than_the_majority_is_said_with_both_losses():
    found = trainings.FAULTY["below_the_majority_on_new_rows"][1](0).diagnose()
    assert "than that of a constant prediction" in found[0].says, str(found)


# ---- five trainings, and more, that do not -------------------------------------------------------


def scaled_pixels():
    x, y = pixels()
    return Perceptron(
        epochs=8, normalize="minmax", learning_rate=0.1, validation_split=0.2, random_state=0
    ).fit(x, y)


def small_cnn():
    x, y = datasets.load_digits(return_X_y=True)
    x = x.reshape(-1, 8, 8, 1).astype("float32")
    return Classifier(model="cnn", epochs=4, validation_split=0.2, random_state=0).fit(x, y)


def regression():
    return Regressor(epochs=40, validation_split=0.2, random_state=0).fit(*diabetes())


def two_outputs():
    x, y = datasets.load_digits(return_X_y=True)
    both = {"digit": y, "odd": y % 2}
    return Classifier(epochs=5, validation_split=0.2, random_state=0).fit(x, both)


def several_labels():
    x, y = datasets.make_multilabel_classification(900, 20, n_classes=4, random_state=0)
    return Classifier(epochs=12, validation_split=0.2, random_state=0).fit(x, y)


def short_run():
    x, y = pixels()
    return Perceptron(epochs=1, normalize="standard", random_state=0).fit(x[:600], y[:600])


def short_slow_run():
    x, y = datasets.load_digits(return_X_y=True)
    return Small(epochs=3, normalize="standard", random_state=0).fit(x, y)


def weighted_rare_class():
    x, y = datasets.make_classification(
        2_000, 10, n_informative=5, weights=[0.95], class_sep=1.5, random_state=7
    )
    return Classifier(epochs=8, class_weight="balanced", validation_split=0.2, random_state=0).fit(
        x, y
    )


def autoencoder():
    class Copy(Trainer):
        def build_model(self, spec):
            return keras.Sequential(
                [
                    layers.Input(spec.input_shape),
                    layers.Dense(16, "relu"),
                    layers.Dense(spec.n_outputs),
                ]
            )

    x = datasets.load_digits(return_X_y=True)[0] / 16
    return Copy(epochs=10, loss="mse", random_state=0).fit(x, x)


def tokens():
    class Bag(Classifier):
        def build_model(self, spec):
            return keras.Sequential(
                [
                    layers.Input(spec.input_shape),
                    layers.Embedding(1_000, 8),
                    layers.GlobalAveragePooling1D(),
                    layers.Dense(1, "sigmoid"),
                ]
            )

    generator = np.random.default_rng(0)
    x = generator.integers(0, 1_000, (1_500, 12))
    return Bag(epochs=30, learning_rate=0.05, random_state=0).fit(x, (x < 300).sum(axis=1) > 3)


HEALTHY = [
    scaled_pixels,
    small_cnn,
    regression,
    two_outputs,
    several_labels,
    short_run,
    short_slow_run,
    weighted_rare_class,
    autoencoder,
    tokens,
]


@pytest.mark.parametrize("training", HEALTHY, ids=lambda t: t.__name__)
def test_nothing_is_found_in_a_healthy_training(training):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*went nowhere")
        trained = training()
    assert not list(trained.diagnose()), str(trained.diagnose())


# ---- the words -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unscaled():
    with pytest.warns(RuntimeWarning, match="went nowhere.*inputs are not scaled.*diagnose"):
        return raw_pixels()


def test_a_last_layer_that_starts_at_zero_is_no_vanishing_gradient():
    class Zero(Regressor):
        def build_model(self, spec):
            hidden = [layers.Dense(8, "relu"), layers.Dense(8, "relu")]
            last = layers.Dense(spec.n_outputs, kernel_initializer="zeros")
            return keras.Sequential([keras.Input(spec.input_shape), *hidden, last])

    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(200, 4)), rng.normal(size=200)
    found = Zero(epochs=8, learning_rate=0.02, random_state=0, verbose=0).fit(x, noise).diagnose()
    assert "vanishing gradients" not in [finding.name for finding in found]


def test_the_lesson_without_normalisation_is_told_to_normalise(unscaled):
    first = unscaled.diagnose()[0]
    assert 'normalize="standard"' in first.change
    assert 'normalize="minmax"' in first.change
    healed = unscaled.set_params(normalize="standard", epochs=3).fit(*pixels())
    assert healed.score(*pixels()) > 0.85


@pytest.mark.skipif(not (SHARED / "mnist_10k.npz").exists(), reason="needs mnist_10k.npz")
def test_the_lesson_on_mnist_is_told_to_normalise():
    with np.load(SHARED / "mnist_10k.npz") as data:
        x, y = data["x"][:6_000].astype("float32"), data["y"][:6_000]
    trained = Perceptron(epochs=3, random_state=0, validation_split=0.1).fit(x, y)
    first = trained.diagnose()[0]
    assert first.name == "inputs are not scaled"
    assert 'normalize="standard", or normalize="minmax"' in first.change


def test_a_diagnosis_prints_each_finding_with_its_change():
    found = Diagnosis((Finding("a", "b", "c"), Finding("d", "e", "f")), "of 3 of 4 rows")
    assert str(found) == "1. a: b\n  change: c\n2. d: e\n  change: f\n(of 3 of 4 rows)"
    assert [f.name for f in found] == ["a", "d"] and len(found) == 2
    assert str(Diagnosis()) == "no problem was found" and not Diagnosis()


def test_the_suggested_rate_heals_a_training():
    x, y = datasets.load_wine(return_X_y=True)
    change = high_rate().diagnose()[0].change
    rate = float(change.removeprefix("write learning_rate="))
    healed = Small(epochs=10, normalize="standard", learning_rate=rate, random_state=0).fit(x, y)
    assert healed.score(x, y) > 0.9


def test_a_stream_that_is_not_scaled_is_named_by_its_first_batch():
    import tensorflow as tf

    x, y = pixels()
    stream = tf.data.Dataset.from_tensor_slices((x, y)).batch(64)
    trained = Perceptron(epochs=3, random_state=0).fit(stream, validation_data=stream)
    assert trained.diagnose()[0].name == "inputs are not scaled"


def test_only_clear_failures_warn():
    x, y = datasets.load_iris(return_X_y=True)
    noise = np.random.default_rng(0).permutation(y)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*went nowhere")
        Classifier(epochs=2, random_state=0, learning_rate=1e-9).fit(x, noise)  # has only begun
    with pytest.warns(RuntimeWarning, match="no better than a constant.*diagnose"):
        Classifier(epochs=3, random_state=0, learning_rate=1e-9).fit(x, noise)


# ---- what it leaves alone ------------------------------------------------------------------------


def test_a_diagnosis_changes_no_weight_and_can_be_repeated():
    trained = high_rate()
    before = [v.numpy() for v in (*trained.model_.variables, *trained.model_.optimizer.variables)]
    numpy_state = np.random.get_state()[1].copy()
    first, second = str(trained.diagnose()), str(trained.diagnose())
    after = [v.numpy() for v in (*trained.model_.variables, *trained.model_.optimizer.variables)]
    assert first == second
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(before, after, strict=True))
    assert np.array_equal(np.random.get_state()[1], numpy_state)


def test_keeping_evidence_changes_no_number(monkeypatch):
    x, y = datasets.load_digits(return_X_y=True)

    class WithDropout(Small):
        def build_model(self, spec):
            return keras.Sequential(
                [
                    layers.Input(spec.input_shape),
                    layers.Dense(16, "relu"),
                    layers.Dropout(0.3),
                    layers.Dense(spec.n_outputs, "softmax"),
                ]
            )

    def weights():
        trained = WithDropout(epochs=2, random_state=0, validation_split=0.2).fit(x, y)
        return trained.model_.get_weights(), trained.history_["val_loss"]

    with_evidence = weights()
    monkeypatch.setattr(evidence, "collect", lambda *arguments: None)
    without = weights()
    assert all(np.array_equal(a, b) for a, b in zip(with_evidence[0], without[0], strict=True))
    assert with_evidence[1] == without[1]


def test_evidence_is_neither_pickled_nor_cloned():
    trained = small_cnn()
    kept = trained._network.evidence
    assert kept is not None
    content = pickle.dumps(trained)
    weights = sum(w.nbytes for w in trained.model_.get_weights())
    assert len(content) < 4 * weights + 2**17  # the weights and Adam's two averages of them
    assert kept.train.x[:40].tobytes() not in content
    loaded = pickle.loads(content)
    assert loaded._network.evidence is None
    assert not loaded.diagnose() and "history" in loaded.diagnose().note
    assert not hasattr(clone(trained), "_network")


def test_a_loaded_trainer_still_tells_of_nan(tmp_path):
    file = high_rate().save(tmp_path / "model.keras")
    assert Small.load(file).diagnose()[0].name == "loss is not finite"


def test_rows_of_few_values_are_no_leak():
    generator = np.random.default_rng(0)
    x = generator.integers(0, 2, (600, 6)).astype("float32")
    y = (x[:, 0] > x[:, 1]).astype(int)
    trained = Classifier(epochs=5, random_state=0, validation_split=0.3).fit(x, y)
    assert trained._network.evidence.overlap.found > 0
    assert not trained.diagnose()


# ---- rare classes --------------------------------------------------------------------------------


def hardly_told_apart():
    """15% of the rows are positive, and hardly any of them more likely than not."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1_500, 2))
    y = rng.random(1_500) < 1 / (1 + np.exp(2.1 - 0.9 * x[:, 0]))
    return x, np.where(y, "yes", "no")


def of_imbalance(trainer):
    return next(f for f in trainer.diagnose() if f.name == "class imbalance")


def test_a_model_that_predicts_the_majority_is_said_to_with_what_to_write():
    x, y = hardly_told_apart()
    trained = Classifier(epochs=4, learning_rate=0.01, random_state=0).fit(x, y)
    found = of_imbalance(trained)
    share = np.mean(trained.predict(x) == "no")
    assert share >= 0.99
    assert f"the class 'yes' has {np.sum(y == 'yes')} of 1500 rows" in found.says
    assert "of them; it predicts 'no' for" in found.says
    assert 'class_weight="balanced"' in found.change
    assert 'decision_threshold="balanced_accuracy" with validation_split=0.2' in found.change


def test_a_rare_label_that_is_missed_is_named_and_a_threshold_that_finds_it_silences_that():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1_500, 3))
    rare = rng.random(1_500) < 1 / (1 + np.exp(3.4 - 0.9 * x[:, 0]))
    y = np.stack([rare, x[:, 1] > 0], axis=1).astype(int)
    missed = Classifier(epochs=4, learning_rate=0.01, random_state=0).fit(x, y)
    found = of_imbalance(missed)
    assert f"the label 0 has {rare.sum()} of 1500 rows" in found.says
    assert 'decision_threshold="f1" with validation_split=0.2' in found.change
    assert "class_weight" not in found.change
    low = clone(missed).set_params(decision_threshold=0.05).fit(x, y)
    assert "class imbalance" not in {f.name for f in low.diagnose()}
