"""The state that a training needs to resume exactly, and when to save it.

Responsible for capturing the state between two dispatches, for restoring it, and for how often to
save it. Not for the file format (`state_file`), or for the run's folder (`directory`).

The state is everything that a step, a callback or the loop reads and changes: the variables of the
model, its metrics, its optimizer and its random seeds, the attributes of callbacks, the history and
the position in the training. What can be recomputed is not part of it: the order of rows depends
only on seed and epoch, and normalisation is learned again from the same data.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.engine import backend
from trainer.engine.backend import agree, strategy
from trainer.engine.chunks import MANY
from trainer.engine.interrupts import Interrupts
from trainer.engine.loop import Position
from trainer.state import callback_state, plain
from trainer.state.state_file import BadState, StateFolder
from trainer.state.variables import leaves, restore_variables, variables
from trainer.state.walking import is_saved

if TYPE_CHECKING:
    import keras

    from trainer.history import History
    from trainer.state.own_state import OwnState

# Seconds of training between saved states, per second that saving takes. Saving after epochs thus
# takes at most 1/51 of the time, however short the epochs are. The CPU time of the writing thread
# counts as well, because it uses a core that training could use.
SECONDS_PER_SAVING_SECOND = 50

State = tuple[dict[str, Any], dict[str, np.ndarray]]


class Checkpointer:
    """Saves and restores the state of one training.

    Args:
        model: The model whose steps run.
        callbacks: The callbacks, in the order of the fit.
        history: The history of the fit.
        feed: The training batches; None where a finished run is only restored.
        replay: Advances training and validation batches to where they are after so many epochs of
            this fit.
        interrupts: Records whether a signal or a callback asked to stop.
        epochs: The epoch before which the fit ends.
        first_epoch: The epoch in which it starts.
        folder: Where to save states, or None to save none.
        minutes: The maximum time between saved states within an epoch, or None for no limit.
        steps: The maximum number of steps between saved states within an epoch, or None for no
            limit.
        chunk: The maximum number of steps in a dispatch, during which nothing can be saved.
        found: The state to resume from, or None to start from the beginning.
        warm_up: Runs a step, for a model that creates variables in its first step.
        own: The user's own variables and extra state, or None.
        look: Lets `own` see a step, "train" or "test", before the first one runs.
    """

    def __init__(
        self,
        model: keras.Model,
        callbacks: Sequence[Any],
        history: History,
        feed: Any,
        replay: Callable[[int], Any],
        interrupts: Interrupts,
        *,
        epochs: int,
        first_epoch: int = 0,
        folder: StateFolder | None = None,
        minutes: float | None = None,
        steps: int | None = None,
        chunk: int = 1,
        found: State | None = None,
        warm_up: Callable[[], Any] = lambda: None,
        own: OwnState | None = None,
        look: Callable[[str], Any] = lambda _: None,
    ) -> None:
        self._model = model
        self._callbacks = callbacks
        self._history = history
        self._feed = feed
        self._replay = replay
        self._interrupts = interrupts
        self._epochs = epochs
        self._warm_up = warm_up
        self._own = own
        self._look = look
        self._folder = folder
        self._minutes = minutes
        self._every = steps
        self._chunk = chunk
        self._passed = (0, 0, 0.0)  # the last position, and when it was reached
        self._seconds_a_step = 0.0
        self._found = found
        self._first_epoch = first_epoch
        self._here = Position(first_epoch) if found is None else Position(**found[0]["position"])
        self._step = self._here.step
        self._saved = time.perf_counter()
        self._took = 0.0
        self._ending = False
        self._saves = False
        # What callbacks hold beside their states, as JSON by kind and name, before training.
        self._beside: list[dict[tuple[str, str], Any]] = []

    def where(self) -> tuple[int, int]:
        """Return the epoch and step at which training starts."""
        return self._here.epoch, self._here.step

    def start(self) -> Position:
        """Restore the saved state, if any, and return the position to resume from.

        Raises:
            BadState: The state does not fit the model or the callbacks.
        """
        if self._found is not None:
            values, tensors = self._found
            self._found = None
            self._check_place(values)
            if len(variables(self._model)) < len(values["variables"]):
                self._warm_up()
            if self._own is not None:
                self._own.prepare(values.get("own"), self._look)
            restore_variables(self._model, values["variables"], tensors)
            self._restore_copies(values, tensors)
            if self._own is not None:
                self._own.restore(values.get("own"), tensors)
            self._restore_callbacks(values["callbacks"], tensors)
            if self._own is not None:
                self._own.restore_extra(values.get("extra"), tensors)
            self._history.records[:] = values["history"]
            self._history.rate_logged = values.get("rate_logged", False)
            self._replay(self._here.epoch - self._first_epoch)
        self._saves = agree(self._folder is not None)
        if self._folder is not None:
            self._beside = [_beside_state(callback) for callback in self._callbacks]
            for i, callback in enumerate(self._callbacks):
                self._state_of(i, callback, {})  # fail before training if it cannot be saved
            if self._own is not None:
                self._own.extra({})
                self._own.variables("start")
        self._saved = time.perf_counter()
        self._passed = (self._here.epoch, self._here.step, self._saved)
        return self._here

    def passed(self, position: Position) -> None:
        """Save the state if it is time to."""
        interrupts = self._interrupts
        self._ending = agree(interrupts.received is not None or interrupts.asked is not None)
        self._measure(position)
        if not self._saves or not agree(self._due(position)):
            return
        began = time.perf_counter()
        values, tensors = self._capture(position)
        if self._folder is not None:
            self._folder.save(values, tensors)
            self._warn_of_changed()
        self._saved = time.perf_counter()
        self._took = self._saved - began
        self._step = position.step

    def ending(self) -> bool:
        """Return whether a signal or a callback had asked to stop at the last position."""
        return self._ending

    def at_once(self) -> bool:
        """Return whether a signal asked: its sender may not wait for a validation."""
        return agree(self._interrupts.received is not None)

    def most_steps(self) -> int:
        """Return the maximum number of steps to run before the next state is due.

        Otherwise, steps that take longer than estimated could exceed `minutes` within one
        dispatch. The number of steps per dispatch does not affect the results.
        """
        if not self._saves or self._minutes is None:
            return MANY
        if not self._seconds_a_step:
            return agree(MANY)
        left = self._saved + 60 * self._minutes - time.perf_counter()
        return agree(max(1, int(left / self._seconds_a_step)))

    def _measure(self, position: Position) -> None:
        now = time.perf_counter()
        epoch, step, then = self._passed
        if position.epoch == epoch and position.step > step:
            self._seconds_a_step = (now - then) / (position.step - step)
        self._passed = (position.epoch, position.step, now)

    def _due(self, position: Position) -> bool:
        since = time.perf_counter() - self._saved
        last = position.stopped or position.epoch == self._epochs
        if self._ending or (last and position.step == 0):
            return True
        if position.step == 0:
            self._step = 0
            # The chief alone writes; the others go by what it decides.
            return self._folder is not None and (
                since >= SECONDS_PER_SAVING_SECOND * (self._took + self._folder.cost)
            )
        # Save now if the next dispatch would exceed the limit.
        if self._every is not None and position.step - self._step + self._chunk > self._every:
            return True
        return self._minutes is not None and since >= 60 * self._minutes

    def _capture(self, position: Position) -> State:
        tensors: dict[str, np.ndarray] = {}
        found = variables(self._model)
        copies = self._copies(found)
        for i, variable in enumerate(found):
            if i in copies and variable.synchronization == "on_read":
                # each replica counts its own rows
                tensors[f"variable/{i}"] = copies[i].sum(0, dtype=copies[i].dtype)
            else:
                tensors[f"variable/{i}"] = backend.variables.copied(variable)
        tensors |= {f"copies/{i}": stacked for i, stacked in copies.items()}
        values = {
            "replicas": _replicas(),
            "position": asdict(position),
            "history": [dict(record) for record in self._history.records],
            "variables": [[v.path, list(v.shape)] for v in found],
            "callbacks": [
                {"class": type(callback).__name__, "state": self._state_of(i, callback, tensors)}
                for i, callback in enumerate(self._callbacks)
            ],
        }
        if self._history.rate_logged:
            values["rate_logged"] = True
        if self._own is not None:
            values["own"] = self._own.capture(tensors)
            values["extra"] = self._own.extra(tensors)
        return values, tensors

    def _copies(self, found: Sequence[Any]) -> dict[int, np.ndarray]:
        """Return the copies of the variables that differ between replicas, by their place."""
        distribution = strategy.current()
        if distribution is None:
            return {}
        optimizers = backend.variables.optimizers(self._model)
        alike = {id(v) for optimizer in optimizers for v in optimizer.variables}
        alike |= {id(v) for v in found if v.trainable or v.dtype == "string"}
        places = [i for i, v in enumerate(found) if id(v) not in alike]
        stacked = distribution.copies([found[i] for i in places])
        return {
            i: copies
            for i, copies in zip(places, stacked, strict=True)
            if found[i].synchronization == "on_read" or (copies != copies[:1]).any()
        }

    def _restore_copies(self, values: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        """Restore the variables that differed between replicas, if there are as many again."""
        distribution, before = strategy.current(), values.get("replicas", 1)
        if before != _replicas():
            if strategy.is_chief():
                warnings.warn(
                    f"the run was trained on {before} replica{'s' if before != 1 else ''} and "
                    f"resumes on {_replicas()}: its numbers may differ by rounding, and layers "
                    "that draw random numbers draw others",
                    stacklevel=2,
                )
            return
        if distribution is None:
            return
        for i, variable in enumerate(variables(self._model)):
            copies = tensors.get(f"copies/{i}")
            if copies is None:
                continue
            if copies.shape != (distribution.replicas, *variable.shape):
                raise BadState(f"the state has no suitable values for {variable.path!r}")
            distribution.assign_copies(variable, copies)

    @staticmethod
    def _state_of(i: int, callback: Any, tensors: dict[str, np.ndarray]) -> Any:
        name = f"callback/{i}/{type(callback).__name__}"
        return plain.encode(callback_state.state_of(callback), tensors, name)

    def _warn_of_changed(self) -> None:
        """Warn, once each, about changes of callbacks that no state holds."""
        for callback, before in zip(self._callbacks, self._beside, strict=True):
            changed = [k for k, v in _beside_state(callback).items() if before.get(k, v) != v]
            for kind, name in changed:
                del before[kind, name]
                what, instead = {
                    "field": (
                        f"its field {name} has changed in training",
                        f"leave the field as it is, and change another attribute, such as "
                        f"self._{name}, which on_train_begin sets to the field's value",
                    ),
                    "class": (
                        f"{name}, an attribute of the class, has changed in training",
                        f"set self.{name} in the constructor, so that it belongs to the object",
                    ),
                }[kind]
                warnings.warn(
                    f"{type(callback).__name__}: {what}, which a resumed run will not restore; "
                    f"{instead}",
                    stacklevel=4,
                )

    def _restore_callbacks(self, found: list[Any], tensors: dict[str, np.ndarray]) -> None:
        saved = [entry["class"] for entry in found]
        present = [type(callback).__name__ for callback in self._callbacks]
        if saved != present:
            raise BadState(f"the run had the callbacks {saved}, but now they are {present}")
        for callback, entry in zip(self._callbacks, found, strict=True):
            try:
                callback_state.restore(callback, plain.decode(entry["state"], tensors))
            except ValueError as error:
                raise BadState(str(error)) from error

    def _check_place(self, values: dict[str, Any]) -> None:
        """Refuse a position that this training never reaches, such as a huge number of epochs."""
        steps = None if self._feed is None else self._feed.steps
        too_late = steps is not None and self._here.step > steps
        if not self._first_epoch <= self._here.epoch <= self._epochs or too_late:
            raise BadState(
                f"its position is epoch {self._here.epoch}, step {self._here.step}, but the "
                f"training has {self._epochs} epochs of {steps} steps"
            )
        if len(values["history"]) > self._here.epoch:
            raise BadState("its history is longer than the training was")


def _replicas() -> int:
    distribution = strategy.current()
    return 1 if distribution is None else distribution.replicas


def _beside_state(callback: Any) -> dict[tuple[str, str], Any]:
    """Return what a callback holds that its state does not, as JSON by kind and name.

    Empty for callbacks with a state_dict of their own, which decides what is restored.
    """
    from trainer.callbacks.callback import Callback

    fields: dict[str, Any] = {}
    if isinstance(callback, Callback):
        if type(callback).state_dict is not Callback.state_dict:
            return {}
        fields = callback.get_params()
    elif hasattr(callback, "state_dict"):
        return {}
    of_class = {n: v for n, v in callback_state.on_class(callback).items() if n not in fields}
    return {
        (kind, name): plain.shown(value)
        for kind, held in (("field", fields), ("class", of_class))
        for name, value in held.items()
        if plain.is_plain(value)
    }


def warn_of_forgotten(callbacks: Sequence[Any]) -> None:
    """Warn about attributes of user-defined callbacks that cannot be saved."""
    for callback in callbacks:
        names = [
            n
            for n in callback_state.forgotten(callback)
            # An empty container is of a class of its own, or it would be saved.
            if not (held := list(leaves(vars(callback)[n]))) or not all(map(is_saved, held))
        ]
        if names:
            warnings.warn(
                f"{type(callback).__name__}: a resumed run will not restore {', '.join(names)}; "
                "if that matters, add the methods state_dict and load_state_dict to the callback",
                stacklevel=4,
            )
