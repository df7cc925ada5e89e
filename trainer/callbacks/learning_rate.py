"""The plugin that changes the learning rate at every step according to a schedule.

Responsible for the rates of all steps, and for setting them inside the compiled step. The optimizer
keeps a plain learning_rate variable, so that other callbacks can change it and files load in plain
Keras. Not for lowering the rate on a plateau (`plateau`, which can be combined with this).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any

import keras
import numpy as np

from trainer.callbacks.callback import Callback, Session
from trainer.hyperparameters import Choice, Float
from trainer.utils import checks

ONE_CYCLE_WARMUP = 0.3  # share of the steps, and the ratio of peak to first rate: as in fastai
ONE_CYCLE_RATIO = 25.0

# The rate as a share of the peak, after the warm-up, at times t in [0, 1).
_FALLS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "constant": lambda t, _: np.ones_like(t),
    "linear": lambda t, final: 1 + (final - 1) * t,
    "cosine": lambda t, final: final + (1 - final) * (1 + np.cos(math.pi * t)) / 2,
    "exponential": lambda t, final: final**t,
}
_FALLS["one_cycle"] = _FALLS["cosine"]
_FALLS["cosines"] = lambda t, final: (
    final + (1 - final) * (1 - np.cos(2 * math.pi * np.log2(1 + 15 * t))) / 2
)


class LearningRate(Callback):
    """A schedule of the learning rate, step by step over the whole fit.

    It has two phases. During the first `warmup` share of the steps the rate rises: linearly from
    nearly 0, or for "one_cycle" along half a cosine from 1/25 of the peak. Then it falls from
    `peak` towards `final * peak`:

        "constant"     not at all;
        "linear"       linearly;
        "cosine"       along half a cosine (Loshchilov & Hutter 2017, SGDR, without restarts), as
                       keras.optimizers.schedules.CosineDecay;
        "exponential"  by the same factor at every step;
        "one_cycle"    along half a cosine (Smith 2018, A disciplined approach to neural network
                       hyper-parameters; with the cosines of fastai; the momentum is left alone);
        "cosines"      and rises again, four times, each time more slowly: 1/2 (1 - cos(2 pi
                       log2(1 + 15 t))) (Holzmueller, Grinsztajn and Steinwart 2024, RealMLP).

    If another callback changes the rate between epochs, as `plateau` does, the rest of the schedule
    is scaled by the same factor. A step is one batch, also with gradient accumulation; steps that
    mixed_float16 skips do not count, as in Keras.

    Attributes:
        shape: the shape of the decay.
        warmup: the share of all steps during which the rate rises, at least 0 and below 1. None:
            0.3 for "one_cycle", otherwise 0.
        peak: the highest rate. None: the optimizer's rate.
        final: the share of the peak at which the decay ends, from 0 to 1.
    """

    shape: Annotated[str, Choice("constant", "linear", "cosine", "exponential", "one_cycle")] = (
        "cosine"
    )
    warmup: Annotated[float | None, Float(0.0, 0.5)] = None
    peak: Annotated[float | None, Float(1e-4, 1.0, log=True)] = None
    final: Annotated[float, Float(0.0, 0.5)] = 0.0

    def check(self) -> None:
        """Raise an error for a bad field."""
        checks.one_of("shape", self.shape, _FALLS)
        if self.warmup is not None:
            checks.fraction("warmup", self.warmup, example=0.1)
        if self.peak is not None:
            checks.positive("peak", self.peak)
        checks.finite("final", self.final, low=0, example=0.01)
        if self.final > 1:
            raise ValueError(
                f"final={self.final!r}: is a share of the peak, so it must be at most 1; write "
                "final=0.01, for example"
            )
        if self.shape == "exponential" and self.final == 0:
            raise ValueError(
                f"final={self.final!r}: an exponential decay never reaches 0; write final=0.01, "
                "for example, or shape='cosine'"
            )

    def setup(self, session: Session) -> None:
        """Compute the rates of all steps.

        Raises:
            ValueError: the number of steps is unknown, or the optimizer has no rate to set.
        """
        rate = rate_of(session.network.core.optimizer, self.name)
        steps = session.feed.steps
        if steps is None:
            raise ValueError(
                "callbacks=['learning_rate']: a schedule needs the number of steps, and this "
                "stream's is unknown; pass a stream of known length, for example "
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
        self._left = variable(np.asarray(rate))  # the rate that the schedule last set

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Scale the rest of the schedule if another callback has changed the rate."""
        rate = rate_of(self.session.network.core.optimizer, self.name)
        now, left = float(np.asarray(rate)), float(np.asarray(self._left))
        if now != left and left != 0:
            self._scale.assign(float(np.asarray(self._scale)) * now / left)
            self._left.assign(now)

    def before_step(self, model: keras.Model) -> None:
        """Set the rate of the step."""
        optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        # a custom step may apply gradients twice and run past the table: use the last rate
        last = self._table.shape[0] - 1
        step = keras.ops.minimum(keras.ops.cast(optimizer._iterations.value, "int32"), last)
        rate = self._table.value[step] * self._scale.value
        optimizer.learning_rate.assign(rate)
        self._left.assign(rate)

    def traced_key(self) -> str:
        """The length of the table; everything else is in variables."""
        return f"{self.name} {self._table.shape[0]}"

    def traced_variables(self) -> list[keras.Variable]:
        """The table, the scale, and the last rate."""
        return [self._table, self._scale, self._left]

    def state_dict(self) -> dict[str, Any]:
        """The scale and the last rate; the table follows from the fields."""
        return {"scale": np.asarray(self._scale), "left": np.asarray(self._left)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them."""
        self._scale.assign(state["scale"])
        self._left.assign(state["left"])


def shares(shape: str, total: int, *, warmup: float | None = None, final: float = 0.0) -> Any:
    """The rate of each step as a share of the peak.

    Args:
        shape: as the field of LearningRate.
        total: the number of steps.
        warmup: as the field of LearningRate.
        final: as the field of LearningRate.

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
        optimizer: a Keras optimizer; of a LossScaleOptimizer the inner one is used.
        plugin: the name of the plugin that changes the rate, for error messages.

    Raises:
        ValueError: the rate is a schedule or a function, or there are several rates.
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
