"""TensorFlow's seed: random operations begin anew, and nothing else does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python import pywrap_tfe

from trainer import Classifier
from trainer.engine.tensorflow import generators

X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
Y = (X[:, 0] > 0).astype(int)


@pytest.fixture
def cleared(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[None]]:
    """One entry for each time that TensorFlow forgot its compiled operations."""
    times: list[None] = []
    clear = pywrap_tfe.TFE_ContextClearCaches

    def counted(context: Any) -> None:
        times.append(None)
        clear(context)

    monkeypatch.setattr(pywrap_tfe, "TFE_ContextClearCaches", counted)
    before = generators.Generators.now()
    yield times
    before.install()


class Drawing(Classifier):
    op_seed: int | None = None

    def build_model(self, spec: Any) -> keras.Model:
        drawn = [tf.random.uniform([3, 2], seed=self.op_seed) for _ in range(2)]
        start = keras.initializers.Constant(drawn[0].numpy() - drawn[1].numpy())
        hidden = keras.layers.Dense(2, kernel_initializer=start)
        last = keras.layers.Dense(spec.n_outputs, "softmax")
        return keras.Sequential([keras.Input(spec.input_shape), hidden, last])


@pytest.mark.parametrize("op_seed", [None, 7])
def test_old_random_operations_draw_the_same_numbers_in_each_fit_of_a_seed(
    op_seed: int | None,
) -> None:
    fits = [Drawing(op_seed=op_seed, epochs=1, verbose=0, random_state=3) for _ in range(2)]
    first, second = (fit.fit(X, Y).model_.get_weights() for fit in fits)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_models_without_random_operations_leave_compiled_ones_alone(cleared: list[None]) -> None:
    for seed in (1, 2):
        Classifier(model="mlp", epochs=1, verbose=0, random_state=seed).fit(X, Y)
    assert not cleared


def test_the_first_random_operation_after_seeding_begins_anew(cleared: list[None]) -> None:
    generators.seed(5, alone=lambda: True)
    first = [float(tf.random.uniform([], seed=1)), float(tf.random.uniform([]))]
    assert len(cleared) == 1
    generators.seed(5, alone=lambda: True)
    assert [float(tf.random.uniform([], seed=1)), float(tf.random.uniform([]))] == first
    tf.random.set_seed(5)
    assert [float(tf.random.uniform([], seed=1)), float(tf.random.uniform([]))] == first


def test_random_operations_of_another_training_do_not_begin_anew(cleared: list[None]) -> None:
    generators.seed(5, alone=lambda: False)
    tf.random.uniform([])
    assert not cleared
