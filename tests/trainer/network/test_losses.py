"""The squared error in units of the targets' variance."""

from __future__ import annotations

import keras
import numpy as np

from trainer.network.losses import ScaledSquaredError


def test_predicting_the_mean_has_a_loss_of_one_whatever_the_scale_of_a_column() -> None:
    y = np.random.default_rng(0).normal(size=(1000, 2)) * [1e-3, 1e6] + [5, -7]
    loss = ScaledSquaredError(y.std(axis=0).tolist())
    assert abs(float(loss(y, np.broadcast_to(y.mean(axis=0), y.shape))) - 1) < 1e-3


def test_rows_of_one_column_may_have_a_rank_less() -> None:
    loss = ScaledSquaredError([2.0], reduction=None)
    found = loss(np.array([1.0, 2.0, 3.0]), np.array([[1.0], [0.0], [5.0]]))
    np.testing.assert_allclose(found, [0.0, 1.0, 1.0])


def test_it_is_read_back_from_its_configuration() -> None:
    loss = ScaledSquaredError([2.0, 3.0])
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert isinstance(again, ScaledSquaredError) and again.deviation == [2.0, 3.0]
