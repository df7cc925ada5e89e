"""The plugin that changes the learning rate at every step by a schedule.

Responsible for the rates of all steps, and for setting them inside the compiled step. The optimizer
keeps a plain learning_rate variable, so that other callbacks may change it and files load in plain
Keras. Not for lowering the rate on a plateau: that is `plateau`, which works together with this.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any

import keras
import numpy as np
import tensorflow as tf

from trainer.callbacks.callback import Callback, Session
from trainer.hyperparameters import Choice, Float
from trainer.utils import checks

ONE_CYCLE_WARMUP = 0.3  # share of the steps, and the ratio of peak to first rate: as in fastai
ONE_CYCLE_RATIO = 25.0

# The rate as a share of the peak, after the warm-up, at the times t from 0 up to 1.
_FALLS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "constant": lambda t, final: np.ones_like(t),
    "linear": lambda t, final: 1 + (final - 1) * t,
    "cosine": lambda t, final: final + (1 - final) * (1 + np.cos(math.pi * t)) / 2,
    "exponential": lambda t, final: final**t,
}
_FALLS["one_cycle"] = _FALLS["cosine"]


class LearningRate(Callback):
    """A schedule of the learning rate, step by step over the whole fit.

    It has two parts. In the first `warmup` of the steps the rate rises: linearly, from a step's
    share of the peak, or for "one_cycle" along half a cosine from a 25th of the peak. Then it falls
    from `peak` towards `final * peak`:

        "constant"     not at all;
        "linear"       along a line;
        "cosine"       along half a cosine (Loshchilov & Hutter 2017, SGDR, without restarts), as
                       keras.optimizers.schedules.CosineDecay;
        "exponential"  by the same factor at every step;
        "one_cycle"    along half a cosine (Smith 2018, A disciplined approach to neural network
                       hyper-parameters; with the cosines of fastai; the momentum is left alone).

    Where another callback changes the rate between epochs, as `plateau` does, the rest of the
    schedule is scaled by the same factor. A step is a batch, with gradient accumulation too; steps
    that mixed_float16 skips do not count, as in Keras.

    Attributes:
        shape: of the fall.
        warmup: the share of all steps in which the rate rises, from 0 up to, but not including, 1.
            None: 0.3 for "one_cycle", otherwise 0.
        peak: the highest rate. None: the optimizer's own.
        final: the share of the peak that the fall ends at, from 0 to 1.
    """

    shape: Annotated[str, Choice("constant", "linear", "cosine", "exponential", "one_cycle")] = (
        "cosine"
    )
    warmup: Annotated[float | None, Float(0.0, 0.5)] = None
    peak: Annotated[float | None, Float(1e-4, 1.0, log=True)] = None
    final: Annotated[float, Float(0.0, 0.5)] = 0.0

    def setup(self, session: Session) -> None:
        """Compute the rates of all steps.

        Raises:
            TypeError, ValueError: naming the field, its value and what to write instead.
        """
        self._check()
        rate = rate_of(session.network.core.optimizer, self.name)
        steps = session.feed.steps
        if steps is None:
            raise ValueError(
                "callbacks=['learning_rate']: a schedule needs the number of steps, and that of "
                "this stream is not known; give a stream of known length, for example by "
                "x.apply(tf.data.experimental.assert_cardinality(n)), or leave the plugin out"
            )
        peak = float(np.asarray(rate)) if self.peak is None else float(self.peak)
        total = session.epochs * steps
        table = peak * shares(self.shape, total, warmup=self.warmup, final=self.final)
        dtype = rate.dtype

        def variable(value: Any) -> keras.Variable:
            return keras.Variable(value, dtype=dtype, trainable=False)

        self._table = variable(table)
        self._scale = variable(1.0)
        self._left = variable(np.asarray(rate))  # the rate as the schedule left it

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Scale the rest of the schedule by what others did to the rate since its last step."""
        rate = rate_of(self.session.network.core.optimizer, self.name)
        now, left = float(np.asarray(rate)), float(np.asarray(self._left))
        if now != left and left != 0:
            self._scale.assign(float(np.asarray(self._scale)) * now / left)
            self._left.assign(now)

    def before_step(self, model: keras.Model) -> None:
        """Set the rate of the step."""
        optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        # beyond the table, as where a step of one's own applies gradients twice, the last rate
        last = self._table.shape[0] - 1
        step = tf.minimum(tf.cast(optimizer._iterations.value, tf.int32), last)
        rate = self._table.value[step] * self._scale.value
        optimizer.learning_rate.assign(rate)
        self._left.assign(rate)

    def traced_key(self) -> str:
        """The length of the table: all else is in variables."""
        return f"{self.name} {self._table.shape[0]}"

    def traced_variables(self) -> list[keras.Variable]:
        """The table, the scale, and the last rate."""
        return [self._table, self._scale, self._left]

    def state_dict(self) -> dict[str, Any]:
        """What others did to the rate; the table is a function of the fields."""
        return {"scale": np.asarray(self._scale), "left": np.asarray(self._left)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it back."""
        self._scale.assign(state["scale"])
        self._left.assign(state["left"])

    def _check(self) -> None:
        checks.one_of("shape", self.shape, _FALLS)
        if self.warmup is not None:
            checks.fraction("warmup", self.warmup)
        if self.peak is not None:
            checks.positive("peak", self.peak)
        checks.finite("final", self.final, low=0, example=0.01)
        if self.final > 1:
            raise ValueError(
                f"final={self.final!r}: is a share of the peak, so must be 1 or less; write "
                "final=0.01, for example"
            )
        if self.shape == "exponential" and self.final == 0:
            raise ValueError(
                f"final={self.final!r}: an exponential fall never comes to 0; write final=0.01, "
                "for example, or shape='cosine'"
            )


def shares(shape: str, total: int, *, warmup: float | None = None, final: float = 0.0) -> Any:
    """The rate of each step as a share of the peak.

    Args:
        shape, warmup, final: as the fields of LearningRate.
        total: the number of steps.

    Returns:
        float64 [total].
    """
    cycle = shape == "one_cycle"
    if warmup is None:
        warmup = ONE_CYCLE_WARMUP if cycle else 0.0
    rising = round(warmup * total)
    if cycle:
        first = 1 / ONE_CYCLE_RATIO
        risen = np.arange(rising) / max(1, rising)
        rise = first + (1 - first) * (1 - np.cos(math.pi * risen)) / 2
    else:
        rise = np.arange(1, rising + 1) / (rising + 1)  # no step is lost at a rate of 0
    t = np.arange(total - rising) / max(1, total - rising)
    return np.concatenate([rise, _FALLS[shape](t, final)])


def rate_of(optimizer: Any, plugin: str) -> keras.Variable:
    """The variable that holds an optimizer's learning rate.

    Args:
        optimizer: of Keras; of a LossScaleOptimizer the inner one counts.
        plugin: the name of the plugin that is to change the rate, for errors.

    Raises:
        ValueError: the rate is a schedule or function, or there are several.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    rate = getattr(optimizer, "_learning_rate", None)
    if not isinstance(rate, keras.Variable) or hasattr(optimizer, "optimizers"):
        held = "several rates" if hasattr(optimizer, "optimizers") else f"learning_rate={rate!r}"
        raise ValueError(
            f"optimizer: has {held}, and the plugin {plugin!r} needs one number to change; write "
            f"learning_rate=0.001, for example, or leave {plugin!r} out"
        )
    return rate
