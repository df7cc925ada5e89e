"""The plugin that keeps an exponential moving average of the weights, and uses it.

Responsible for when the model has the averaged weights and when the raw ones. Not for averaging,
which the optimizer does in its step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import keras
import numpy as np

from trainer.callbacks.callback import Callback, Session
from trainer.hyperparameters import Float
from trainer.state import callback_state
from trainer.utils import checks


class EMA(Callback):
    """An exponential moving average of the trainable weights (Polyak averaging).

    The optimizer computes the average (use_ema in Keras): after each step it is `decay` times the
    old average plus 1 - `decay` times the weights. Validation, other callbacks at the end of an
    epoch, and the final model use the averaged weights; training continues with the raw ones.
    Without validation data, list it before callbacks that read the weights at the end of an epoch.
    Moving statistics of batch normalization are averages already and are not averaged again.

    Attributes:
        decay: the weight of the old average in each step, at least 0 and below 1.
    """

    decay: Annotated[float, Float(0.9, 0.9999)] = 0.99

    def configure_optimizer(self, optimizer: keras.optimizers.Optimizer) -> Any:
        """Turn on the optimizer's averaging.

        Raises:
            TypeError, ValueError: decay is out of range, or the optimizer averages already.
        """
        checks.fraction("decay", self.decay, example=0.99)
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        if hasattr(inner, "optimizers"):
            raise ValueError(
                f"optimizer={inner.name!r}: has several optimizers, and the plugin 'ema' supports "
                "only one; write use_ema=True in each of them, and leave 'ema' out"
            )
        if inner.use_ema:
            raise ValueError(
                f"optimizer={inner.name!r}: has use_ema=True already; leave that out, and write "
                f"callbacks=[{{'name': 'ema', 'decay': {inner.ema_momentum}}}]"
            )
        inner.use_ema = True
        inner.ema_momentum = float(self.decay)
        inner.ema_overwrite_frequency = None
        return optimizer

    def setup(self, session: Session) -> None:
        """Initialize the averages with the raw weights.

        Raises:
            ValueError: the model was compiled with a different optimizer.
        """
        optimizer = session.network.core.optimizer
        self._optimizer: Any = getattr(optimizer, "inner_optimizer", optimizer)
        if not (self._optimizer.built and self._optimizer.use_ema):
            raise ValueError(
                f"callbacks=['ema']: the optimizer of {session.network.core.name!r} does not "
                "average its variables; build and train the model's layers with the optimizer that "
                "it is compiled with, or leave 'ema' out"
            )
        self._raw: list[np.ndarray] | None = None
        # Keras' averages are 0 until the first step, which mixed_float16 may skip
        for variable, average in self._pairs():
            average.assign(variable)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Switch back to the raw weights."""
        if self._raw is not None:
            for variable, value in zip(self._variables(), self._raw, strict=True):
                variable.assign(value)
            self._raw = None

    def on_chunk_end(self, steps: int, logs: dict[str, float]) -> None:
        """Switch to the averaged weights after the last step of an epoch."""
        if steps == self.session.feed.steps:
            self._swap()

    def on_test_begin(self, logs: Any = None) -> None:
        """Do the same if the epoch's length was unknown."""
        self._swap()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Do the same if there are no validation data either."""
        self._swap()

    def on_train_end(self, logs: Any = None) -> None:
        """Discard the raw weights: the model keeps the averaged ones."""
        self._raw = None

    def teardown(self) -> None:
        """Release the optimizer, and the raw weights if the fit failed."""
        self._optimizer = self._raw = None

    def state_dict(self) -> dict[str, Any]:
        """The raw weights, while the model has the averaged ones."""
        return {"raw": self._raw}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them."""
        if callback_state.entry(state, "raw", list, None) is None:
            self._raw = None
            return
        found = callback_state.arrays(state, "raw")
        if [a.shape for a in found] != [tuple(v.shape) for v in self._variables()]:
            raise ValueError("raw: the shapes do not match the model's weights")
        self._raw = found

    def _swap(self) -> None:
        # copy: Keras' SwapEMAWeights swaps by adding and subtracting, which rounds
        if self._raw is None:
            variables = self._variables()
            self._raw = [np.array(variable.numpy()) for variable in variables]
            self._optimizer.finalize_variable_values(variables)

    def _pairs(self) -> Iterator[tuple[keras.Variable, keras.Variable]]:
        averages = self._optimizer._model_variables_moving_average
        return zip(self._variables(), averages, strict=True)

    def _variables(self) -> list[keras.Variable]:
        variables: list[keras.Variable] = self._optimizer._trainable_variables
        return variables
