"""The plugin that keeps an exponential moving average of the weights, and uses it.

Responsible for when the model has the averaged weights and when the raw ones. Not for averaging:
the optimizer does that inside its step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import keras
import numpy as np

from trainer import checks
from trainer.callbacks import states
from trainer.callbacks.callback import Callback, Session
from trainer.hyperparameters import Float


class EMA(Callback):
    """An exponential moving average of the trainable weights (Polyak averaging).

    The average is the optimizer's own (use_ema of Keras): after each step it is `decay` times the
    average plus 1 - `decay` times the weights. Validation, what other callbacks see at the end of
    an epoch, and the final model have the averaged weights; training goes on with the raw ones.
    Without validation data, list it before callbacks that look at the weights at the end of an
    epoch. Moving statistics of batch normalization are averages already and are left alone.

    Attributes:
        decay: the share of the average that a step leaves, from 0 up to, but not including, 1.
    """

    decay: Annotated[float, Float(0.9, 0.9999)] = 0.99

    def configure_optimizer(self, optimizer: keras.optimizers.Optimizer) -> Any:
        """Let the optimizer average.

        Raises:
            TypeError, ValueError: decay is no share, or the optimizer averages already.
        """
        checks.fraction("decay", self.decay)
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        if hasattr(inner, "optimizers"):
            raise ValueError(
                f"optimizer={inner.name!r}: has several optimizers, and the plugin 'ema' averages "
                "for one; write use_ema=True in each of them, and leave 'ema' out"
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
        """Begin with the raw weights.

        Raises:
            ValueError: the model's optimizer is another one.
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
        # Keras' averages are 0 up to the first step, which mixed_float16 may skip
        for variable, average in self._pairs():
            average.assign(variable)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Go on with the raw weights."""
        if self._raw is not None:
            for variable, value in zip(self._variables(), self._raw, strict=True):
                variable.assign(value)
            self._raw = None

    def on_chunk_end(self, steps: int, logs: dict[str, float]) -> None:
        """At the end of an epoch give the model the averaged weights, before anyone looks."""
        assert self.session is not None
        if steps == self.session.feed.steps:
            self._swap()

    def on_test_begin(self, logs: Any = None) -> None:
        """The same where an epoch's length was not known."""
        self._swap()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """The same where there are no validation data either."""
        self._swap()

    def on_train_end(self, logs: Any = None) -> None:
        """Forget the raw weights: the optimizer has given the model the averaged ones for good."""
        self._raw = None

    def teardown(self) -> None:
        """Let go of the optimizer, and of the raw weights of a fit that failed."""
        self._optimizer = self._raw = None

    def state_dict(self) -> dict[str, Any]:
        """The raw weights, while the model has the averaged ones."""
        return {"raw": self._raw}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them back."""
        if states.entry(state, "raw", list, None) is None:
            self._raw = None
            return
        found = states.arrays(state, "raw")
        if [a.shape for a in found] != [tuple(v.shape) for v in self._variables()]:
            raise ValueError("raw: its shapes are not those of the model's weights")
        self._raw = found

    def _swap(self) -> None:
        # copies: Keras' SwapEMAWeights adds and subtracts in place, which rounds
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
