"""The plugin that averages the weights of the last epochs.

Responsible for the mean, and for assigning it to the model at the end. Not for the learning rate of
those epochs.
"""

from __future__ import annotations

import math
import warnings
from typing import Annotated, Any

import keras
import numpy as np

from trainer.callbacks.callback import Callback, Session
from trainer.hyperparameters import Float
from trainer.utils import checks


class SWA(Callback):
    """Stochastic weight averaging (Izmailov et al. 2018).

    The final weights are the mean of the weights at the ends of the last epochs. Moving statistics
    of batch normalization are averaged too, whereas the paper recomputes them on the training data.
    Training, validation and other callbacks use the raw weights. If another callback also sets the
    final weights, as early_stopping does, the later one in the list wins.

    Attributes:
        start: the first epoch to average: a share of the epochs below 1, or an integer counted
            from 1. The last epoch is always included.
        averaged_: the number of epochs averaged.
    """

    start: Annotated[float | int, Float(0.5, 0.95)] = 0.75

    def check(self) -> None:
        """Raise an error if start is neither a share nor the number of an epoch."""
        if isinstance(self.start, bool) or not isinstance(self.start, (int, float, np.number)):
            raise TypeError(
                f"start={self.start!r}: must be a share of the epochs, such as 0.75, or the number "
                "of an epoch"
            )
        if isinstance(self.start, (int, np.integer)):
            checks.integer("start", self.start, low=1, example=5)
        else:
            checks.fraction("start", self.start, example=0.75)

    def setup(self, session: Session) -> None:
        """Reset the mean.

        Raises:
            ValueError: start is not an epoch of this fit.
        """
        self._first = self._first_epoch(session.epochs)
        self._mean: list[np.ndarray] | None = None
        self.averaged_ = 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Add the weights to the mean."""
        if epoch < self._first:
            return
        weights = [v.numpy().astype("float64") for v in self._weights()]
        self.averaged_ += 1
        means = weights if self._mean is None else self._mean
        n = self.averaged_
        self._mean = [m + (w - m) / n for m, w in zip(means, weights, strict=True)]

    def on_train_end(self, logs: Any = None) -> None:
        """Assign the mean to the model; warns if no epoch was averaged."""
        if self._mean is None:
            warnings.warn(
                f"start={self.start!r}: training ended before epoch {self._first + 1}, so no "
                "weights were averaged; write an earlier start",
                stacklevel=2,
            )
            return
        for variable, mean in zip(self._weights(), self._mean, strict=True):
            variable.assign(mean)

    def teardown(self) -> None:
        """Release the mean."""
        self._mean = None

    def _weights(self) -> list[keras.Variable]:
        # integers, such as the tables of a lookup layer, cannot be averaged
        found = self.session.network.core.weights
        return [v for v in found if keras.backend.is_float_dtype(v.dtype)]

    def _first_epoch(self, epochs: int) -> int:
        if isinstance(self.start, (int, np.integer)):
            if self.start > epochs:
                raise ValueError(
                    f"start={self.start!r}: the fit has {epochs} epoch(s); write start={epochs} or "
                    "less, or a share such as start=0.75"
                )
            return int(self.start) - 1
        return min(math.ceil(self.start * epochs), epochs - 1)
