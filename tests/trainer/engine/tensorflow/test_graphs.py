"""Refitting, evaluating and predicting trace nothing anew, and leave nothing behind."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import warm
from keras import layers

from trainer import Classifier, Trainer
from trainer.engine.tensorflow import graphs

RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 6)).astype("float32")
Y = X[:, :1] * 2
LABELS = np.array(["no", "yes"])[(Y[:, 0] > 0).astype(int)]


class Dense(Trainer):
    """Stock parts alone: its graphs are shared."""

    epochs = 2
    batch_size = 8
    loss = "mse"
    random_state = 0
    verbose = 0
    units: int = 4

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential(
            [keras.Input((6,)), layers.Dense(self.units, "relu"), layers.Dense(1)]
        )


class Own(Dense):
    """A layer of its own: its graphs are not."""

    def build_model(self, spec: Any) -> keras.Model:
        class Twice(layers.Layer):
            def call(self, x: Any) -> Any:
                return 2 * x

        return keras.Sequential([keras.Input((6,)), Twice(), layers.Dense(1)])


@pytest.fixture(autouse=True)
def no_graphs_yet() -> None:
    graphs.forget()


def _traces(trainer: Trainer) -> int:
    return trainer._network.program.graphs.traces


def test_a_fit_traces_once_for_each_of_training_evaluation_and_prediction() -> None:
    trainer = Dense().fit(X, Y, validation_data=(X[:30], Y[:30]))
    trainer.predict(X)
    assert _traces(trainer) == 3


def test_a_refit_traces_nothing() -> None:
    trainer = Dense().fit(X, Y, validation_data=(X, Y))
    trainer.predict(X)
    for rows in (100, 99, 64, 7):
        trainer.fit(X[:rows], Y[:rows], validation_data=(X, Y))
        trainer.evaluate(X, Y)
        trainer.predict(X)
        assert _traces(trainer) == 0


@pytest.mark.parametrize("kind", [Dense, Own])
def test_odd_sizes_trace_nothing(kind: type[Dense]) -> None:
    trainer = kind().fit(X, Y)
    trainer.predict(X)
    trainer.evaluate(X, Y)
    traced = _traces(trainer)
    for rows in (1, 2, 3, 5, 17, 31, 50, 99, 100):
        assert trainer.predict(X[:rows]).shape == (rows, 1)
        trainer.evaluate(X[:rows], Y[:rows])
    assert _traces(trainer) == traced


def test_sequences_of_any_length_trace_nothing() -> None:
    class Any_(Dense):
        def build_model(self, spec: Any) -> keras.Model:
            return keras.Sequential(
                [keras.Input((None, 3)), layers.GlobalAveragePooling1D(), layers.Dense(1)]
            )

    def stream(*lengths: int) -> tf.data.Dataset:
        def batches() -> Any:
            for n in lengths:
                yield np.full((4, n, 3), n, "float32"), np.ones((4, 1), "float32")

        spec = (tf.TensorSpec([None, None, 3]), tf.TensorSpec([None, 1]))
        return tf.data.Dataset.from_generator(batches, output_signature=spec)

    trainer = Any_().fit(stream(5, 6, 7))
    trainer.predict(stream(3, 4))
    traced = _traces(trainer)
    assert len(trainer.predict(stream(*range(8, 28)))) == 20 * 4
    for n in range(1, 20):
        trainer.predict(np.ones((2, n, 3), "float32"))
    assert _traces(trainer) == traced


def test_a_clone_and_another_fold_trace_nothing() -> None:
    first = Dense(normalize="standard").fit(X, Y)
    second = Dense(normalize="standard", learning_rate=0.1, epochs=1, random_state=5)
    second.fit(5 * X[:50] + 3, Y[:50])
    assert (_traces(first), _traces(second)) == (1, 0)
    alone = Dense(normalize="standard", learning_rate=0.1, epochs=1, random_state=5)
    graphs.forget()
    alone.fit(5 * X[:50] + 3, Y[:50])
    assert _traces(alone) == 1
    assert alone.history_["loss"] == second.history_["loss"]
    np.testing.assert_array_equal(alone.predict(X), second.predict(X))


def test_twins_train_their_own_variables() -> None:
    first = Classifier(model="mlp", epochs=2, random_state=0, verbose=0).fit(X, LABELS)
    before = [w.copy() for w in first.model_.get_weights()]
    second = Classifier(model="mlp", epochs=3, random_state=1, verbose=0).fit(X, LABELS)
    assert _traces(second) == 0
    for ours, theirs in zip(first.model_.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert any(
        not np.array_equal(a, b)
        for a, b in zip(first.model_.get_weights(), second.model_.get_weights(), strict=True)
    )
    steps = -(-len(X) // 32)
    counts = [int(t.model_.optimizer.iterations) for t in (first, second)]
    assert counts == [2 * steps, 3 * steps]


def test_another_form_of_the_data_is_traced_anew() -> None:
    Dense().fit(X, Y)
    weighted = Dense().fit(X, Y, sample_weight=np.ones(100))
    assert _traces(weighted) == 1
    flat = Dense().fit(X, Y[:, 0])
    assert _traces(flat) == 1


def test_code_of_ones_own_is_traced_for_each_model() -> None:
    first, second = Own().fit(X, Y), Own().fit(X, Y)
    assert (_traces(first), _traces(second)) == (1, 1)
    assert not first._network.program.graphs.shared
    assert first.history_["loss"] == second.history_["loss"]


def test_graphs_of_few_architectures_are_kept() -> None:
    for units in range(2, 2 + graphs.MAX_SHARED + 2):
        Dense(units=units).fit(X, Y)
    assert len(graphs._shared) == graphs.MAX_SHARED
    latest = Dense(units=1 + graphs.MAX_SHARED + 2).fit(X, Y)
    assert _traces(latest) == 0
    oldest = Dense(units=2).fit(X, Y)
    assert _traces(oldest) == 1


def test_graphs_of_large_models_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "MAX_SHARED_BYTES", 100)
    trainer = Dense().fit(X, Y)
    assert not graphs._shared
    assert not trainer._network.program.graphs.shared


@pytest.mark.parametrize("kind", [Dense, Own])
def test_a_trainer_that_is_deleted_is_freed(kind: type[Dense]) -> None:
    kept = kind().fit(X, Y)  # whoever is first leaves its graphs to its twins
    trainer = kind(random_state=1).fit(X, Y, validation_data=(X, Y))
    trainer.predict(X)
    model, core = weakref.ref(trainer.model_), weakref.ref(trainer._network.core)
    weights = weakref.ref(trainer.model_.trainable_variables[0])
    del trainer
    gc.collect()
    assert model() is None
    assert core() is None
    assert weights() is None
    assert kept.predict(X).shape == (100, 1)


@pytest.mark.parametrize("kind", [Dense, Own])
def test_the_first_of_twins_is_freed_and_leaves_its_graphs(kind: type[Dense]) -> None:
    trainer = kind().fit(X, Y)
    model = weakref.ref(trainer.model_)
    callbacks = weakref.ref(trainer._network.program)
    del trainer
    gc.collect()
    assert model() is None
    assert callbacks() is None
    assert _traces(kind().fit(X, Y)) == (0 if kind is Dense else 1)


def test_a_refit_frees_the_model_before() -> None:
    trainer = Dense().fit(X, Y)
    before = weakref.ref(trainer.model_)
    trainer.fit(X, Y)
    gc.collect()
    assert before() is None


GROWTH = """
import gc, sys
import numpy as np, psutil
import keras
from keras import layers
from trainer import Trainer

x = np.zeros((100, 6), "float32")

class Twice(layers.Layer):
    def call(self, x):
        return 2 * x

class Each(Trainer):
    own: bool = False

    def build_model(self, spec):
        middle = Twice() if self.own else layers.Activation("relu")
        return keras.Sequential([keras.Input((6,)), middle, layers.Dense(1)])

def after(fits):
    for i in range(fits):
        own = i % 2 == 0
        trainer = Each(own=own, epochs=1, batch_size=8, loss="mse", random_state=i, verbose=0)
        trainer.fit(x, x[:, :1], validation_data=(x, x[:, :1]))
        trainer.predict(x[: i + 1])
        trainer.evaluate(x[: i + 1], x[: i + 1, :1])
    del trainer
    gc.collect()
    return psutil.Process().memory_info().rss

after(6)
sizes = [after(4) for _ in range(8)]
print((min(sizes[4:]) - min(sizes[:4])) / 16)  # the least, because the allocator comes and goes
"""


def test_memory_does_not_grow_with_fits() -> None:
    # in a process of its own: what other tests leave to the allocator is no measure
    found = warm.run(GROWTH)
    assert found.returncode == 0, found.stderr
    assert float(found.stdout) < 2**19, "half a megabyte a fit"
