"""The plugin that ends a training whose loss is no number any more, and says where that began.

Responsible for noticing it, for giving the model back its last good state, and for finding the
layer. Not for what may be wrong with data and rates in general: that is the doctor's work.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np

from trainer import keeping
from trainer.callbacks import monitored, states
from trainer.callbacks.callback import Callback, Session


@dataclass(frozen=True)
class Failure:
    """Where a training stopped being finite.

    Attributes:
        epoch: counted from 1.
        step: steps of this epoch that were done when it was noticed.
        log: the log that was not finite, or None if only weights were not.
        value: of the log.
        place: what is not finite. "x", "y" or "sample_weight": that part of the first batch.
            "outputs", "loss": what a layer, or the loss, gives for the first batch, even with the
            last good weights. "weights": those of a layer, when it was noticed. "elsewhere":
            none of these.
        layer: the first layer whose outputs or weights were not finite, by its path; or None.
    """

    epoch: int
    step: int
    log: str | None
    value: float
    place: str
    layer: str | None


class NaNGuard(Callback):
    """Stops a training whose loss is not finite, and gives back the last good state.

    The loss is looked at after each dispatch and at the end of each epoch, where the weights are
    looked at too. The model, its optimizer and its random seeds then go back to the beginning of
    that epoch; a warning says what was found. The history shows the epoch as it was.

    One copy of the model's and the optimizer's variables is held in memory, from the beginning of
    each epoch: a copy after each dispatch, some times a second, would cost a large model dearly.
    The state of a run that is saved within an epoch holds that copy too. A model that makes its
    variables in its first step is copied after the first dispatch of the first epoch.

    Attributes:
        monitor: the log that must be finite; one that begins with val_ is looked at once an epoch.

    After training, `failure` is a Failure, or None if all went well.
    """

    name = "nan_guard"

    monitor: str = "loss"

    def setup(self, session: Session) -> None:
        """Refuse a log that there is not."""
        if self.monitor is None:
            raise TypeError("monitor=None: must be the name of a log; write monitor='loss'")
        self._log = monitored.choose(self.monitor, session)

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin anew."""
        self.failure: Failure | None = None
        self._good: list[np.ndarray] = []
        self._epoch = self._steps = 0
        self._within = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Keep a copy; what other callbacks did at the end of the epoch before is in it."""
        self._epoch, self._steps, self._within = epoch, 0, True
        self._copy()

    def on_chunk_end(self, steps: int, logs: dict[str, float]) -> None:
        """Look at the log."""
        first, self._steps = self._steps == 0, steps
        if not math.isfinite(logs.get(self._log, 0.0)):
            self._fail(self._log, logs[self._log])
        elif first and not self._complete:
            self._copy()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Look at the log and at the weights."""
        value = monitored.value(self._log, logs)
        if self.failure is None:
            if not math.isfinite(value):
                self._fail(self._log, value)
            elif self._bad_layer() is not None:
                self._fail(None, value)
        self._within = False

    def teardown(self) -> None:
        """Give the memory back."""
        self._good = []

    def state_dict(self) -> dict[str, Any]:
        """What was found; within an epoch the copy too, which the model no longer has."""
        return {
            "failure": None if self.failure is None else asdict(self.failure),
            "_good": self._good if self._within else [],
            "_epoch": self._epoch,
            "_steps": self._steps,
            "_within": self._within,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with it."""
        found = states.entry(state, "failure", dict, None)
        self.failure = None if found is None else Failure(**found)
        self._good = states.arrays(state, "_good")
        self._epoch, self._steps = (states.entry(state, n, int) for n in ("_epoch", "_steps"))
        self._within = states.entry(state, "_within", bool)

    # ---- what to do --------------------------------------------------------------------------

    def _variables(self) -> list[Any]:
        assert self.session is not None
        network = self.session.network
        watch: Any = network.program.watch
        own = [] if watch is None else [held for held in watch.last_found() if held.is_numeric]
        return [*keeping.variables(network.core), *own]

    def _copy(self) -> None:
        self._good = [np.array(keras.ops.convert_to_numpy(v)) for v in self._variables()]

    @property
    def _complete(self) -> bool:
        """False where the model made variables in its first step, after they were copied."""
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
        self._restore()  # looking may have drawn from random seeds
        self.failure = Failure(self._epoch + 1, self._steps, log, value, place, found)
        warnings.warn(_explained(self.failure, self._complete), stacklevel=2)

    def _restore(self) -> None:
        if not self._complete:
            return
        for variable, value in zip(self._variables(), self._good, strict=True):
            variable.assign(value)

    # ---- where it began ----------------------------------------------------------------------

    def _bad_layer(self) -> str | None:
        """The first layer with a weight that is not finite."""
        assert self.session is not None
        core = self.session.network.core
        for layer in core._flatten_layers(include_self=False):
            if not all(map(_finite, layer._trainable_variables + layer._non_trainable_variables)):
                return _path(layer, core)
        return None if all(map(_finite, core.weights)) else str(core.name)

    def _look(self) -> tuple[str, str | None]:
        """What is not finite in the first batch, with the weights as they are."""
        assert self.session is not None
        core = self.session.network.core
        sample = self.session.sample()
        assert sample is not None
        for name, part in zip(("x", "y", "sample_weight"), sample, strict=False):
            if not all(map(_finite, keras.tree.flatten(part))):
                return name, None
        if type(core).call is keras.Model.call:  # it has only a train_step of its own
            return "elsewhere", None
        layer, outputs = _first_bad_output(core, sample[0])
        if layer is not None:
            return "outputs", layer
        y, weight = (*sample[1:], None, None)[:2]
        loss = core.compute_loss(x=sample[0], y=y, y_pred=outputs, sample_weight=weight)
        return ("elsewhere" if loss is None or _finite(loss) else "loss"), None


def _path(layer: Any, core: keras.Model) -> str:
    """Where a layer is in a model."""
    return str(layer.path or layer.name).removeprefix(f"{core.name}/")


def _first_bad_output(core: keras.Model, x: Any) -> tuple[str | None, Any]:
    """The first layer whose outputs for x are not finite, in the order of computation, or None,
    and the outputs of the model."""
    found: list[str] = []

    def watched(layer: Any) -> Any:
        call = layer.call

        def call_and_look(*args: Any, **kwargs: Any) -> Any:
            outputs = call(*args, **kwargs)
            # a nested layer is looked at before the one that holds it
            if not all(map(_finite, keras.tree.flatten(outputs))):
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
    if not found and not all(map(_finite, keras.tree.flatten(outputs))):
        found.append(str(core.name))  # an operation that is no layer
    return (found[0] if found else None), outputs


def _finite(value: Any) -> bool:
    import tensorflow as tf

    if not tf.is_tensor(value) and not isinstance(value, keras.Variable):
        return True
    if not tf.as_dtype(value.dtype).is_floating or isinstance(value, tf.SparseTensor):
        return True
    return bool(np.all(keras.ops.convert_to_numpy(keras.ops.isfinite(value))))


def _explained(failure: Failure, restored: bool) -> str:
    where = {
        "x": "x of the first batch is not finite either; clean the data",
        "y": "y of the first batch is not finite either; clean the data",
        "sample_weight": "sample_weight of the first batch is not finite either",
        "outputs": f"layer {failure.layer!r} gives values for the first batch that are not finite",
        "loss": "for the first batch the outputs are finite and the loss is not; look at the loss "
        "and at y, or try a smaller learning_rate if the loss has grown before",
        "weights": f"the first layer whose weights are not finite is {failure.layer!r}; a smaller "
        "learning_rate, or an optimizer with clipnorm=1.0, often helps",
        "elsewhere": "the weights, and what the model makes of the first batch, are finite; look "
        "at the rows of later batches",
    }[failure.place]
    what = "weights are" if failure.log is None else f"{failure.log} {failure.value} is"
    state = (
        "the model has its state from the beginning of the epoch"
        if restored
        else "the model made its weights in these very steps and has no earlier state"
    )
    return (
        f"nan_guard: {what} not finite in epoch {failure.epoch}, noticed after step "
        f"{failure.step}: {where}. Training stops; {state}"
    )
