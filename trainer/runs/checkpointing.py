"""What a training needs to go on exactly, and when it is kept.

Responsible for capturing the state between two dispatches, for giving it back, and for how often
it is saved. Not for the form of files (`state_file`), nor for the run's folder (`directory`).

The state is all that a step, a callback or the loop reads and changes: the variables of the model,
its metrics, its optimizer and its random seeds, the attributes of callbacks, the history and the
place in the training. What can be had again is not part of it: the order of rows is a function of
seed and epoch, and normalisation is learnt from the same data again.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.engine.feeds import MANY
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

# The least that training is to last for each second that saving takes: saving each epoch then
# takes at most a 51st of the time, however short an epoch is. What the thread that writes computes
# counts too: it takes a core from the training.
SECONDS_A_SECOND = 50

State = tuple[dict[str, Any], dict[str, np.ndarray]]


class Checkpointer:
    """Keeps the state of one training.

    Args:
        model: whose steps run.
        callbacks: in the order of the fit.
        history: of the fit.
        feeds: those of training and validation; each epoch makes one pass.
        interrupts: tells whether a signal or a callback asked for a stop.
        epochs: of the fit.
        folder: where states are saved, or None to save none.
        minutes: the longest time without saving within an epoch, or None for no limit.
        steps: the most steps without saving within an epoch, or None for no limit.
        chunk: the most steps in a dispatch: nothing can be saved within one.
        found: the state to go on with, or None to start anew.
        warm_up: runs a step, for a model that makes variables in its first one.
        own: the variables and the extra state of a person's own, or None.
        look: lets `own` see a step, "train" or "test", before the first one runs.
    """

    def __init__(
        self,
        model: keras.Model,
        callbacks: Sequence[Any],
        history: History,
        feeds: Sequence[Any],
        interrupts: Interrupts,
        *,
        epochs: int,
        folder: StateFolder | None = None,
        minutes: float | None = None,
        steps: int | None = None,
        chunk: int = 1,
        found: State | None = None,
        warm_up: Callable[[], Any] = lambda: None,
        own: OwnState | None = None,
        look: Callable[[str], Any] = lambda phase: None,
    ) -> None:
        self._model = model
        self._callbacks = callbacks
        self._history = history
        self._feeds = feeds
        self._interrupts = interrupts
        self._epochs = epochs
        self._warm_up = warm_up
        self._own = own
        self._look = look
        self._folder = folder
        self._minutes = minutes
        self._every = steps
        self._chunk = chunk
        self._passed = (0, 0, 0.0)  # the last place, and when it was passed
        self._seconds_a_step = 0.0
        self._found = found
        self._here = Position() if found is None else Position(**found[0]["position"])
        self._step = self._here.step
        self._saved = time.perf_counter()
        self._took = 0.0
        self._ending = False

    def where(self) -> tuple[int, int]:
        """The epoch and step at which training starts."""
        return self._here.epoch, self._here.step

    def start(self) -> Position:
        """Give everything the state that was found, and tell the place.

        Raises:
            BadState: it does not fit the model or the callbacks.
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
            if self._own is not None:
                self._own.restore(values.get("own"), tensors)
            self._restore_callbacks(values["callbacks"], tensors)
            if self._own is not None:
                self._own.restore_extra(values.get("extra"), tensors)
            self._history.records[:] = values["history"]
            for feed in self._feeds:
                if feed is not None:
                    feed.replay(self._here.epoch)
        if self._folder is not None:
            for i, callback in enumerate(self._callbacks):
                self._state_of(i, callback, {})  # what cannot be saved is named before training
            if self._own is not None:
                self._own.extra({})
                self._own.variables("start")
        self._saved = time.perf_counter()
        self._passed = (self._here.epoch, self._here.step, self._saved)
        return self._here

    def passed(self, position: Position) -> None:
        """Save the state if it is time to."""
        interrupts = self._interrupts
        self._ending = interrupts.received is not None or interrupts.asked is not None
        self._measure(position)
        if self._folder is None or not self._due(position):
            return
        began = time.perf_counter()
        values, tensors = self._capture(position)
        self._folder.save(values, tensors)
        self._saved = time.perf_counter()
        self._took = self._saved - began
        self._step = position.step

    def ending(self) -> bool:
        """Whether a signal or a callback had asked for a stop at the last place."""
        return self._ending

    def at_once(self) -> bool:
        """Whether it was a signal: whoever sent it may not wait for a validation."""
        return self._interrupts.received is not None

    def most_steps(self) -> int:
        """The most steps that may be run before the next state is due.

        Steps that take longer than was estimated would otherwise go on past `minutes` within one
        dispatch. How many steps a dispatch has changes no number.
        """
        if self._folder is None or self._minutes is None or not self._seconds_a_step:
            return MANY
        left = self._saved + 60 * self._minutes - time.perf_counter()
        return max(1, int(left / self._seconds_a_step))

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
            assert self._folder is not None
            return since >= SECONDS_A_SECOND * (self._took + self._folder.cost)
        # where the next dispatch would go past the limit, now is the time
        if self._every is not None and position.step - self._step + self._chunk > self._every:
            return True
        return self._minutes is not None and since >= 60 * self._minutes

    def _capture(self, position: Position) -> State:
        tensors: dict[str, np.ndarray] = {}
        found = variables(self._model)
        for i, variable in enumerate(found):
            tensors[f"variable/{i}"] = plain.copied(variable)
        values = {
            "position": asdict(position),
            "history": [dict(record) for record in self._history.records],
            "variables": [[v.path, list(v.shape)] for v in found],
            "callbacks": [
                {"class": type(callback).__name__, "state": self._state_of(i, callback, tensors)}
                for i, callback in enumerate(self._callbacks)
            ],
        }
        if self._own is not None:
            values["own"] = self._own.capture(tensors)
            values["extra"] = self._own.extra(tensors)
        return values, tensors

    @staticmethod
    def _state_of(i: int, callback: Any, tensors: dict[str, np.ndarray]) -> Any:
        name = f"callback/{i}/{type(callback).__name__}"
        return plain.encode(callback_state.state_of(callback), tensors, name)

    def _restore_callbacks(self, found: list[Any], tensors: dict[str, np.ndarray]) -> None:
        saved = [entry["class"] for entry in found]
        present = [type(callback).__name__ for callback in self._callbacks]
        if saved != present:
            raise BadState(f"the run had the callbacks {saved}, and now there are {present}")
        for callback, entry in zip(self._callbacks, found, strict=True):
            try:
                callback_state.restore(callback, plain.decode(entry["state"], tensors))
            except ValueError as error:
                raise BadState(str(error)) from error

    def _check_place(self, values: dict[str, Any]) -> None:
        """Refuse a place that this training never comes to: it may be years of epochs away."""
        steps = self._feeds[0].steps if self._feeds else None
        if self._here.epoch > self._epochs or (steps is not None and self._here.step > steps):
            raise BadState(
                f"its place is epoch {self._here.epoch}, step {self._here.step}, and the training "
                f"has {self._epochs} epochs of {steps} steps"
            )
        if len(values["history"]) > self._here.epoch:
            raise BadState("its history is longer than the training was")


def warn_of_forgotten(callbacks: Sequence[Any]) -> None:
    """Warn of what callbacks of one's own hold that no state can keep."""
    for callback in callbacks:
        names = [
            n
            for n in callback_state.forgotten(callback)
            if not all(map(is_saved, leaves(vars(callback)[n])))
        ]
        if names:
            warnings.warn(
                f"{type(callback).__name__}: a resumed run will not have back {', '.join(names)}; "
                "give the callback the methods state_dict and load_state_dict if it matters",
                stacklevel=4,
            )
