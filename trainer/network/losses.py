"""Losses missing in Keras. Imports Keras: import this module only where a model is built."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("trainer")
class ScaledSquaredError(keras.losses.Loss):  # type: ignore[misc, unused-ignore]
    """Squared error in units of the targets' variance: predicting the mean has a loss of 1.

    All columns have the same weight regardless of their scale, and gradients are of order 1.

    Args:
        deviation: The standard deviation of each target column.

    Attributes:
        plain: The name of the loss that a saved model gets instead, which plain Keras can load.
    """

    plain = "mse"

    def __init__(self, deviation: list[float], name: str = "scaled_squared_error", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.deviation = [float(d) for d in deviation]

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the error of each row, [n], for targets [n] or [n, columns]."""
        error = ops.reshape(y_true, ops.shape(y_pred)) - y_pred
        return ops.mean(ops.square(error / ops.cast(self.deviation, y_pred.dtype)), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "deviation": self.deviation}
