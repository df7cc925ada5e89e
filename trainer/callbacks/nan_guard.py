"""The plugin that ends a training whose loss is no longer finite, and reports where that began.

Responsible for noticing it, for restoring the model's last good state, and for finding the layer.
Not for other problems with data and learning rates (`doctor`).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np

from trainer.callbacks import monitored
from trainer.callbacks.callback import Callback, Session
from trainer.state import callback_state, variables


@dataclass(frozen=True)
class Failure:
    """Where a training stopped being finite.

    Attributes:
        epoch: counted from 1.
        step: the number of steps of this epoch done when it was noticed.
        log: the log that was not finite, or None if only weights were not.
        value: of the log.
        place: what is not finite. "x", "y" or "sample_weight": that part of the first batch.
            "outputs", "loss": a layer's outputs, or the loss, for the first batch, even with the
            last good weights. "weights": a layer's weights, when it was noticed. "elsewhere": none
            of these.
        layer: the first layer whose outputs or weights were not finite, by its path; or None.
    """

    epoch: int
    step: int
    log: str | None
    value: float
    place: str
    layer: str | None


class NaNGuard(Callback):
    """Stops a training whose loss is not finite, and restores the last good state.

    The loss is checked after each dispatch and at the end of each epoch, the weights at the end of
    each epoch. On failure the model, its optimizer and its random seeds are reset to the beginning
    of the epoch, and a warning says what was found. The history keeps the failed epoch.

    One copy of the model's and the optimizer's variables is held in memory, from the beginning of
    each epoch: a copy after each dispatch, a few times per second, would be expensive for a large
    model. A run's state saved within an epoch contains that copy too. A model that creates its
    variables in its first step is copied after the first dispatch of the first epoch.

    Attributes:
        monitor: the log that must be finite; one that begins with val_ is checked once per epoch.

    After training, `failure` is a Failure, or None if all went well.
    """

    name = "nan_guard"

    monitor: str = "loss"

    def check(self) -> None:
        """Raise an error for a bad field."""
        if self.monitor is None:
            raise TypeError("monitor=None: must be the name of a log; write monitor='loss'")
        monitored.check(self.monitor)

    def setup(self, session: Session) -> None:
        """Raise an error if there is no such log."""
        self._log = monitored.choose(self.monitor, session)

    def on_train_begin(self, logs: Any = None) -> None:
        """Reset all state."""
        self.failure: Failure | None = None
        self._good: list[np.ndarray] = []
        self._epoch = self._steps = 0
        self._within = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Copy the variables, after other callbacks' changes at the end of the last epoch."""
        self._epoch, self._steps, self._within = epoch, 0, True
        self._copy()

    def on_chunk_end(self, steps: int, logs: dict[str, float]) -> None:
        """Check the log."""
        first, self._steps = self._steps == 0, steps
        if not math.isfinite(logs.get(self._log, 0.0)):
            self._fail(self._log, logs[self._log])
        elif first and not self._complete:
            self._copy()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Check the log and the weights."""
        value = monitored.value(self._log, logs)
        if self.failure is None:
            if value is not None and not math.isfinite(value):
                self._fail(self._log, value)
            elif self._bad_layer() is not None:
                self._fail(None, math.nan if value is None else value)
        self._within = False

    def teardown(self) -> None:
        """Free the copy."""
        self._good = []

    def state_dict(self) -> dict[str, Any]:
        """The failure; within an epoch also the copy, whose values the model no longer has."""
        return {
            "failure": None if self.failure is None else asdict(self.failure),
            "_good": self._good if self._within else [],
            "_epoch": self._epoch,
            "_steps": self._steps,
            "_within": self._within,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it."""
        found = callback_state.entry(state, "failure", dict, None)
        self.failure = None if found is None else Failure(**found)
        self._good = callback_state.arrays(state, "_good")
        self._epoch, self._steps = (
            callback_state.entry(state, n, int) for n in ("_epoch", "_steps")
        )
        self._within = callback_state.entry(state, "_within", bool)

    # ---- reacting ----------------------------------------------------------------------------

    def _variables(self) -> list[Any]:
        network = self.session.network
        watch: Any = network.program.watch
        own = [] if watch is None else [held for held in watch.last_found() if held.is_numeric]
        return [*variables.variables(network.core), *own]

    def _copy(self) -> None:
        self._good = [np.array(keras.ops.convert_to_numpy(v)) for v in self._variables()]

    @property
    def _complete(self) -> bool:
        """False if the model created variables in its first step, after the copy was made."""
        return [v.shape for v in self._variables()] == [g.shape for g in self._good]

    def _fail(self, log: str | None, value: float) -> None:
        if self.failure is not None:
            return
        self.model.stop_training = True
        layer = self._bad_layer()
        self._restore()
        place, found = self._look()
        if place == "elsewhere" and layer is not None:
            place, found = "weights", layer
        self._restore()  # the search may have advanced random seeds
        self.failure = Failure(self._epoch + 1, self._steps, log, value, place, found)
        warnings.warn(_explained(self.failure, self._complete), stacklevel=2)

    def _restore(self) -> None:
        if not self._complete:
            return
        for variable, value in zip(self._variables(), self._good, strict=True):
            variable.assign(value)

    # ---- finding the cause -------------------------------------------------------------------

    def _bad_layer(self) -> str | None:
        """The first layer with a weight that is not finite."""
        core = self.session.network.core
        for layer in core._flatten_layers(include_self=False):
            if not all(map(is_finite, layer._trainable_variables + layer._non_trainable_variables)):
                return _path(layer, core)
        return None if all(map(is_finite, core.weights)) else str(core.name)

    def _look(self) -> tuple[str, str | None]:
        """Find what is not finite for the first batch, with the current weights."""
        core = self.session.network.core
        sample = self.session.sample()
        assert sample is not None
        for name, part in zip(("x", "y", "sample_weight"), sample, strict=False):
            if not all(map(is_finite, keras.tree.flatten(part))):
                return name, None
        if type(core).call is keras.Model.call:  # it only has a custom train_step
            return "elsewhere", None
        layer, outputs = _first_bad_output(core, sample[0])
        if layer is not None:
            return "outputs", layer
        y, weight = (*sample[1:], None, None)[:2]
        loss = core.compute_loss(x=sample[0], y=y, y_pred=outputs, sample_weight=weight)
        return ("elsewhere" if loss is None or is_finite(loss) else "loss"), None


def _path(layer: Any, core: keras.Model) -> str:
    """A layer's path within a model."""
    return str(layer.path or layer.name).removeprefix(f"{core.name}/")


def _first_bad_output(core: keras.Model, x: Any) -> tuple[str | None, Any]:
    """The first layer whose outputs for x are not finite, or None, and the model's outputs.

    Layers are checked in the order of computation.
    """
    found: list[str] = []

    def watched(layer: Any) -> Any:
        call = layer.call

        def call_and_look(*args: Any, **kwargs: Any) -> Any:
            outputs = call(*args, **kwargs)
            # a nested layer is checked before the one that contains it
            if not all(map(is_finite, keras.tree.flatten(outputs))):
                found.append(_path(layer, core))
            return outputs

        return call_and_look

    layers = {id(layer): layer for layer in core._flatten_layers(include_self=False)}.values()
    before = [vars(layer).get("call") for layer in layers]
    try:
        for layer in layers:
            vars(layer)["call"] = watched(layer)
        outputs = core(x, training=False)
    finally:
        for layer, call in zip(layers, before, strict=True):
            vars(layer).pop("call", None)
            if call is not None:
                vars(layer)["call"] = call
    if not found and not all(map(is_finite, keras.tree.flatten(outputs))):
        found.append(str(core.name))  # an operation outside any layer
    return (found[0] if found else None), outputs


def is_finite(value: Any) -> bool:
    """Return whether numbers are finite, whichever library they are of; True for all else."""
    if isinstance(value, float):
        return math.isfinite(value)
    dtype = getattr(value, "dtype", None)
    name = str(getattr(dtype, "name", dtype)).removeprefix("torch.")
    if not name.startswith(("float", "bfloat")):
        return True
    # of a sparse or ragged tensor, only the elements that it holds
    for part in ("flat_values", "values"):
        if keras.ops.is_tensor(value) and hasattr(value, part):
            value = getattr(value, part)
    return bool(np.all(keras.ops.convert_to_numpy(keras.ops.isfinite(value))))


def _explained(failure: Failure, restored: bool) -> str:
    where = {
        "x": "x of the first batch is not finite either; clean the data",
        "y": "y of the first batch is not finite either; clean the data",
        "sample_weight": "sample_weight of the first batch is not finite either",
        "outputs": f"the outputs of layer {failure.layer!r} for the first batch are not finite",
        "loss": "for the first batch the outputs are finite but the loss is not; check the loss "
        "and y, or try a smaller learning_rate if the loss had been growing",
        "weights": f"the first layer whose weights are not finite is {failure.layer!r}; a smaller "
        "learning_rate, or an optimizer with clipnorm=1.0, often helps",
        "elsewhere": "the weights, and the outputs and loss for the first batch, are finite; check "
        "the rows of later batches",
    }[failure.place]
    what = "weights are" if failure.log is None else f"{failure.log} {failure.value} is"
    state = (
        "the model was reset to the beginning of the epoch"
        if restored
        else "the model created its weights in these steps, so there is no earlier state to restore"
    )
    return (
        f"nan_guard: {what} not finite in epoch {failure.epoch}, noticed after step "
        f"{failure.step}: {where}. Training stops; {state}"
    )
