"""The layers of `tabular`: what each computes, and that a saved one is the same again."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from trainer.models.tabular_layers import (
    ColumnScale,
    Ids,
    NumberEmbedding,
    SmoothedCrossentropy,
    TangentDense,
    Within,
)

X = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")


def test_an_embedded_number_stands_beside_its_values_for_each_column() -> None:
    layer = NumberEmbedding(frequencies=4, width=2)
    found = np.asarray(layer(X)).reshape(5, 3, 1 + 2)
    np.testing.assert_array_equal(found[..., 0], X)
    assert layer.compute_output_shape((None, 3)) == (None, 9)
    moved = X.copy()
    moved[:, 1] += 1
    changed = np.asarray(layer(moved)).reshape(5, 3, 3) != found
    assert changed[:, 1].all() and not changed[:, [0, 2]].any()


def test_each_column_of_ids_has_a_table_of_its_own() -> None:
    layer = Ids([2, 3], width=4)
    found = np.asarray(layer(np.array([[1.0, 0.0], [1.0, 2.0]], "float32")))
    table = np.asarray(layer.table)
    np.testing.assert_array_equal(found[0], np.concatenate([table[1], table[2]]))
    np.testing.assert_array_equal(found[1], np.concatenate([table[1], table[4]]))


def test_columns_are_unscaled_and_a_zero_layer_is_zero_before_training() -> None:
    np.testing.assert_array_equal(ColumnScale()(X), X)
    np.testing.assert_array_equal(TangentDense(2, zero=True)(X), np.zeros((5, 2)))


def test_a_tangent_layer_divides_by_the_root_of_its_inputs_and_has_a_tenth_of_its_bias() -> None:
    layer = TangentDense(2)
    layer.build((None, 3))
    layer.set_weights([np.ones((3, 2)), np.array([10.0, 20.0])])
    expected = X.sum(1, keepdims=True) / np.sqrt(3) + [1.0, 2.0]
    np.testing.assert_allclose(layer(X), expected, rtol=1e-5)


def test_predictions_are_clipped_to_the_targets_but_not_in_training() -> None:
    layer = Within([0.0, -1.0], [1.0, 1.0])
    given = np.array([[-5.0, -5.0], [0.5, 0.5], [5.0, 5.0]], "float32")
    np.testing.assert_array_equal(layer(given), [[0, -1], [0.5, 0.5], [1, 1]])
    np.testing.assert_array_equal(layer(given, training=True), given)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_smoothed_labels_share_a_part_among_all_classes(smoothing: float) -> None:
    index, p = np.array([0, 2]), np.array([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]], "float32")
    labels = (1 - smoothing) * np.eye(3)[index] + smoothing / 3
    expected = -(labels * np.log(p)).sum(1)
    loss = SmoothedCrossentropy(smoothing, reduction=None)
    np.testing.assert_allclose(loss(index, p), expected, rtol=1e-5)
    again = SmoothedCrossentropy.from_config(loss.get_config())
    np.testing.assert_allclose(again(index, p), expected, rtol=1e-5)
    certain = SmoothedCrossentropy(0.3)(np.array([0]), np.array([[1.0, 0.0, 0.0]], "float32"))
    assert np.isfinite(float(certain))


def test_a_saved_model_of_these_layers_predicts_the_same_again(tmp_path: Path) -> None:
    given = keras.Input((3,))
    x = NumberEmbedding(frequencies=2, deviation=0.5, width=1)(given)
    x = TangentDense(2)(ColumnScale()(x))
    model = keras.Model(given, Within([0.0, 0.0], [0.5, 1.0])(x))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(X), model(X))
