"""What a fit leaves alone: global seeds, generators and settings; and other fits, in threads.

By default some fits run in threads once. The long form runs as many sets as you say:

    THREADED_FITS=200 pytest -n0 -s tests/trainer/state/test_isolation.py -k threads
"""

from __future__ import annotations

import os
import pickle
import random
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor, wait
from random import random as imported_before

import joblib
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from patience import SECONDS
from sklearn.model_selection import cross_val_score

from trainer import Classifier, Regressor
from trainer.engine.tensorflow import graphs
from trainer.finders import find_learning_rate
from trainer.fitting import draw_seed
from trainer.state.isolation import Ambient

SETS = int(os.environ.get("THREADED_FITS", "2"))
RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 4))
Y = (X[:, 0] > X[:, 1]).astype(int)
SMALL = X.astype("float32")


class Dropped(Classifier):
    """Draws in every step."""

    epochs: int = 2
    batch_size: int = 16
    verbose: int = 0

    def build_model(self, spec):
        return keras.Sequential(
            [
                layers.Input(spec.input_shape),
                layers.Dense(4, "relu"),
                layers.Dropout(0.3),
                layers.Dense(spec.n_outputs, spec.output_activation),
            ]
        )


class Noisy(Dropped):
    """Draws from Keras' global generator, and from TensorFlow's."""

    def build_model(self, spec):
        class Noise(layers.Layer):
            def call(self, x, training=False):
                if not training:
                    return x
                shape = keras.ops.shape(x)
                return x + keras.random.normal(shape) + tf.random.uniform(shape, dtype=x.dtype)

        return keras.Sequential(
            [
                layers.Input(spec.input_shape),
                Noise(),
                layers.Dense(spec.n_outputs, spec.output_activation),
            ]
        )


FITS = [
    lambda: Dropped(random_state=1).fit(SMALL, Y),
    lambda: Dropped(random_state=2).fit(SMALL, Y),
    lambda: Classifier(epochs=2, random_state=1).fit(X, Y),  # in float64
    lambda: Regressor(epochs=2, random_state=1, precision="mixed_bfloat16").fit(SMALL, X[:, 0]),
    lambda: Noisy(random_state=1).fit(SMALL, Y),
    lambda: Noisy(random_state=1, run_eagerly=True, epochs=1).fit(SMALL, Y),
    lambda: Classifier(epochs=2, random_state=3, validation_split=0.25).fit(X, Y),
    lambda: Dropped(random_state=4, callbacks=["ema"], metrics=["auc"]).fit(
        tf.data.Dataset.from_tensor_slices((SMALL, Y)).batch(16)
    ),
]


def result(fit):
    trained = fit()
    weights = [w.tobytes() for w in trained.model_.get_weights()]
    return weights, trained.history_["loss"], trained.predict(SMALL).tobytes()


@pytest.mark.timeout(900 + 20 * SETS)  # a set takes about 7 s on two busy cores
def test_fits_in_threads_equal_fits_in_sequence() -> None:
    expected = [result(fit) for fit in FITS]
    for number in range(SETS):
        if number % 2 == 0:
            graphs.forget()  # every second set traces everything
        order = np.random.default_rng(number).permutation(len(FITS))
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda i: (i, result(FITS[i])), order.tolist()))
        different = [i for i, got in found if got != expected[i]]
        assert not different, f"set {number}: fits {different} differ"
        assert keras.config.floatx() == "float32"


def test_cross_validation_in_threads_gives_the_scores_of_one_in_sequence() -> None:
    estimator = Dropped(random_state=0)
    expected = cross_val_score(estimator, SMALL, Y, cv=4)
    with joblib.parallel_backend("threading", n_jobs=4):
        found = cross_val_score(estimator, SMALL, Y, cv=4)
    assert found.tolist() == expected.tolist()


def test_threads_that_evaluate_one_trainer_get_the_numbers_of_one() -> None:
    trained = Dropped(random_state=0, metrics=["accuracy"]).fit(SMALL, Y)
    halves = [(SMALL[:20], Y[:20]), (SMALL[20:], Y[20:])] * 4
    expected = [trained.evaluate(*half) for half in halves]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda half: trained.evaluate(*half), halves)) == expected


def test_files_loaded_in_threads_predict_alike_and_leave_the_filters_of_warnings(saved) -> None:
    expected = Dropped.load(saved).predict(SMALL).tolist()  # imports what loading needs
    filters, shown = list(warnings.filters), warnings._showwarnmsg_impl
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: Dropped.load(saved).predict(SMALL).tolist(), range(8)))
    assert found == [expected] * 8
    assert warnings.filters == filters
    assert warnings._showwarnmsg_impl is shown


def test_a_thread_of_another_library_that_draws_changes_no_fit() -> None:
    """Dask's threads draw from Python's `random` whenever they send something."""
    ended = threading.Event()

    def draws() -> None:
        while not ended.is_set():
            random.random()

    thread = threading.Thread(target=draws)
    chosen = FITS[:2] + FITS[4:5]
    alone = [result(fit) for fit in chosen]
    thread.start()
    try:
        beside = [result(fit) for fit in chosen]
    finally:
        ended.set()
        thread.join()
    assert beside == alone


def test_functions_of_random_are_the_users_again_after_a_fit() -> None:
    """Those that a module imported within the fit, too."""
    kept = []

    class Imports(Dropped):
        def build_model(self, spec):
            from random import random as imported

            kept.append(imported)
            return super().build_model(spec)

    before = {name: getattr(random, name) for name in random.__all__}
    Imports(random_state=0).fit(SMALL, Y)
    assert {name: getattr(random, name) for name in random.__all__} == before
    random.seed(3)
    expected = random.Random(3)
    assert [kept[-1](), random.random()] == [expected.random(), expected.random()]


def test_names_imported_from_random_repeat_with_the_seed_of_a_fit() -> None:
    class Draws(Dropped):
        def build_model(self, spec):
            drawn.append((random.random(), imported_before()))
            return super().build_model(spec)

    drawn: list[tuple[float, float]] = []
    for _ in range(2):
        Draws(random_state=5).fit(SMALL, Y)
    assert drawn[0] == drawn[-1]


def test_a_seed_is_not_drawn_from_the_generators_of_a_fit_in_another_thread() -> None:
    np.random.seed(3)
    expected = [draw_seed(None), np.random.random()]
    np.random.seed(3)
    with ThreadPoolExecutor(1) as pool:
        with Ambient(1, "float32")():
            waiting = pool.submit(draw_seed, None)
            wait([waiting], timeout=0.2)  # it has to wait for the end of this context
            drawn = np.random.random()
        assert [waiting.result(), np.random.random()] == expected
    with Ambient(1, "float32")():
        assert np.random.random() == drawn


def test_rows_of_a_finder_may_come_from_another_trainer() -> None:
    teacher = pickle.loads(pickle.dumps(Dropped(random_state=0, epochs=1).fit(SMALL, Y)))

    def labelled():  # TensorFlow calls it in a thread of its own
        for start in range(0, 48, 16):
            rows = SMALL[start : start + 16]
            yield rows, teacher.predict(rows)

    form = tf.TensorSpec([None, 4], tf.float32), tf.TensorSpec([None], tf.int64)
    rows = tf.data.Dataset.from_generator(labelled, output_signature=form)
    found = []
    finder = threading.Thread(
        target=lambda: found.append(find_learning_rate(Dropped(random_state=0), rows)), daemon=True
    )
    finder.start()
    finder.join(SECONDS)  # only where they wait for each other
    assert found


# ---- what everybody else finds ---------------------------------------------------------------


class Refused(Dropped):
    def build_model(self, spec):
        keras.config.set_floatx("float64")
        keras.config.enable_unsafe_deserialization()
        keras.utils.set_random_seed(99)
        raise RuntimeError("in build_model")


class Unsafe(Dropped):
    def build_model(self, spec):
        keras.config.enable_unsafe_deserialization()
        return super().build_model(spec)


class RefusedLater(Dropped):
    def compute_loss(self, x, y, y_pred, sample_weight):
        raise RuntimeError("in the first step")


def fails(estimator):
    with pytest.raises(RuntimeError, match="in build_model|in the first step"):
        estimator.fit(SMALL, Y)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return Dropped(random_state=5).fit(SMALL, Y).save(tmp_path_factory.mktemp("saved") / "a.keras")


WORK = {
    "fit": lambda file: Dropped(random_state=42).fit(SMALL, Y),
    "fit in float64": lambda file: Classifier(epochs=1, random_state=42).fit(X, Y),
    "fit in Python": lambda file: Noisy(random_state=4, epochs=1, run_eagerly=True).fit(SMALL, Y),
    "fit that fails in build_model": lambda file: fails(Refused(random_state=1)),
    "fit that fails in a step": lambda file: fails(RefusedLater(random_state=1)),
    "fit in unsafe mode": lambda file: Unsafe(random_state=1, epochs=1).fit(SMALL, Y),
    "load": lambda file: Dropped.load(file),
    "pickle": lambda file: pickle.loads(pickle.dumps(Dropped.load(file))),
    "save": lambda file: Dropped.load(file).save(file.with_name("again.keras")),
    "load and predict": lambda file: Dropped.load(file).predict(SMALL),
    "diagnose": lambda file: Dropped(random_state=42).fit(SMALL, Y).diagnose(),
}


def drawn():
    """What the next draws from everything global are."""
    shuffled = tf.data.Dataset.range(9).shuffle(9)
    return {
        "python": random.random(),
        "numpy": float(np.random.random()),
        "tensorflow": float(tf.random.uniform([])),
        "tf.data": [int(i) for i in shuffled],
        "keras": float(keras.random.uniform([])),
        "names": [keras.layers.Dense(2).name, keras.layers.Layer().name, keras.Input((1,)).name],
        "floatx": keras.config.floatx(),
        "policy": keras.config.dtype_policy().name,
        "safe mode": keras.src.saving.serialization_lib.in_safe_mode(),
    }


@pytest.mark.parametrize("work", WORK, ids=str)
def test_random_numbers_names_and_settings_are_as_if_nothing_had_run(work, saved) -> None:
    keras.utils.set_random_seed(7)
    keras.utils.clear_session()
    keras.utils.set_random_seed(7)
    first = drawn()
    WORK[work](saved)
    between = drawn()
    keras.utils.clear_session()
    keras.utils.set_random_seed(7)
    assert drawn() == first
    assert drawn() == between


def test_without_a_seed_numpy_is_drawn_from_once() -> None:
    np.random.seed(3)
    np.random.randint(2**31 - 1)
    expected = np.random.random()
    np.random.seed(3)
    Dropped(epochs=1).fit(SMALL, Y)
    assert np.random.random() == expected


def test_a_policy_that_the_user_set_stays() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        Dropped(random_state=0, epochs=1).fit(SMALL, Y)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")


def test_an_ambient_continues_where_it_was_left_and_nests() -> None:
    one, other = Ambient(1, "float32"), Ambient(2, "float64")

    def draw(ambient):
        with ambient():
            return random.random(), float(np.random.random()), keras.config.floatx()

    expected = [draw(Ambient(2, "float64"))]
    with one(), other():
        random.random()
    first, second = draw(one), draw(one)
    assert first != second
    with one():
        assert draw(Ambient(2, "float64")) == expected[0]
    random.seed(1)
    assert random.random() == first[0]
