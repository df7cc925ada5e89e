"""User-defined state: variables and generators that Keras does not list, and extra state.

Responsible for finding them, for names by which another process finds them again, and for saving
and restoring their values. Not for what cannot be saved (`unsaved`), or for the variables that
Keras lists (`variables`).

Variables are found in two ways. The attributes of the model, its layers, the Trainer and the
callbacks are walked, including the helper objects that they hold and the globals and closures that
their methods use; a variable found there is named by its path. In addition, each step is observed
when it is traced or first runs in Python; a variable that it uses and that has no path is named by
its position among these.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from trainer.engine.backend import Held, operations
from trainer.engine.backend import variables as held_in
from trainer.state import callback_state, plain, unsaved
from trainer.state.state_file import BadState
from trainer.state.walking import walk

if TYPE_CHECKING:
    import keras

Entry = list[Any]  # name, dtype, shape, and when it was found: "start", "train", "test" or "later"


class HasExtraState(Protocol):
    """The object that is fitted: its attributes are walked, and its extra state is saved."""

    def get_extra_state(self) -> Any:
        """Return plain values and arrays, or None for nothing."""

    def set_extra_state(self, state: Any) -> None:
        """Restore what get_extra_state returned."""


class OwnState:
    """The user-defined state of one training.

    Args:
        owner: The object that is fitted.
        model: The model whose steps run.
        callbacks: The callbacks of the fit.
        known: Returns the variables that are saved elsewhere or never change.
        eager: Whether steps run in Python.
        takes_back: Whether the class of `owner` overrides set_extra_state.
        reported: Whether to warn about what cannot be saved; not needed without a run directory.
    """

    def __init__(
        self,
        owner: HasExtraState,
        model: keras.Model,
        callbacks: Sequence[Any],
        known: Callable[[], Iterable[Any]],
        *,
        eager: bool,
        takes_back: bool,
        reported: bool,
    ) -> None:
        self._owner = owner
        self._takes_back = takes_back
        self._callbacks = callbacks
        self._known = known
        self._eager = eager
        self._reported = reported
        self._roots = [("model", model), ("trainer", owner)]
        self._roots += [(f"callbacks[{i}]", callback) for i, callback in enumerate(callbacks)]
        self._held: dict[int, Held] = {}
        self._captured: dict[int, Held] = {}
        self._seen: dict[str, tuple[list[Any], list[str]]] = {}  # per phase, until `settle`
        self._looked_at: set[str] = set()
        self._said: set[str] = set()
        self._walks = 0
        self._before: unsaved.Attributes | None = None  # before the first step
        self._named: set[str] = set()  # attributes already warned about
        self._lacking = False  # whether the saved state is from a version without own variables

    # ---- finding -----------------------------------------------------------------------------

    def variables(self, since: str = "later") -> list[Held]:
        """Find every variable that exists now, each once.

        Args:
            since: When new ones are recorded as found.
        """
        known = self._known_handles()
        present: dict[int, Held] = {}
        names: set[str] = set()

        def add(held: Held) -> None:
            while held.name in names:
                held.name += "'"
            names.add(held.name)
            present[id(held.handle)] = held

        found = list(self._walked())
        for path, value in found:
            handle = held_in.handle_of(value)
            if handle is None or id(handle) in known or id(handle) in present:
                continue
            held = self._held.get(id(handle))
            if held is None:
                held = Held(path, handle, since, value)
            add(held)
        for key, held in self._captured.items():
            if key not in present and key not in known:
                add(held)
        self._held = present
        self._walks += 1
        return [held for held in present.values() if held.filled and held_in.storable(held.dtype)]

    def _known_handles(self) -> set[int]:
        """Return the identities of the handles of all copies of the known variables."""
        return {id(handle) for value in self._known() for handle in held_in.parts(value)}

    def last_found(self) -> list[Held]:
        """Return the variables of the last search; a new one takes milliseconds."""
        if not self._walks:
            return self.variables()
        return [held for held in self._held.values() if held.filled]

    def _walked(self) -> Iterator[tuple[str, Any]]:
        roots = list(self._roots)
        if self._eager:
            # A traced step captures it if it is used.
            roots += operations.global_generators()
        return walk(roots)

    def traced(self, phase: str, trace: Callable[[], Any]) -> Any:
        """Trace a step, and record the resources that it uses.

        Args:
            phase: "train" or "test", optionally followed by keys that distinguish steps.
            trace: Returns the concrete function.
        """
        drawn = unsaved.python_generators()
        concrete = trace()
        texts = []
        if self._reported:
            texts = operations.of_graph(concrete, phase.split()[0])
            texts += unsaved.drawn_since(drawn, phase.split()[0], "as it is compiled")
        self._seen[phase] = (list(concrete.captured_inputs), texts)
        return concrete

    @contextmanager
    def eager(self, phase: str) -> Iterator[None]:
        """Return a context to run a step in Python; the first one of each phase is observed."""
        if phase in self._looked_at or not self._reported:
            yield
            return
        self._looked_at.add(phase)
        watched = operations.Operations()
        before = unsaved.Attributes(self._walked())
        drawn = unsaved.python_generators()
        with watched:
            yield
        texts = operations.warnings_of(watched.types, phase)
        texts += unsaved.drawn_since(drawn, phase, "in Python")
        texts += self._changed(before, f"the {operations.NAMES[phase]} step")
        if phase == "train":
            self._before = before
        self._seen[phase] = (watched.resources, texts)
        self.settle()

    def _changed(self, before: unsaved.Attributes, what: str) -> list[str]:
        names = [n for n in before.changed(self._names_of_extra()) if n not in self._named]
        self._named.update(names)
        return unsaved.of_attributes(names, what)

    def settle(self) -> None:
        """Process what the observed steps use, and warn about what cannot be saved."""
        for phase, (captured, texts) in self._seen.items():
            walked = {id(held.handle) for held in self.variables(phase.split()[0])}
            known = self._known_handles()
            added: list[str] = []
            for handle in captured:
                if not held_in.is_handle(handle) or id(handle) in known | walked | set(
                    self._captured
                ):
                    continue
                name = f"variable {len(added)} of the {phase} step"
                held = Held(name, handle, phase.split()[0])
                if not held.filled:
                    continue  # it existed during this step only
                added.append(name)
                self._captured[id(handle)] = held
            self._warn_of_lacking(added)
            texts += [
                f"{held.name} holds {held.dtype.name}, which cannot be saved"
                for held in {**self._held, **self._captured}.values()
                if not held_in.storable(held.dtype)
            ]
            self._warn(texts)
        self._seen.clear()

    def _warn_of_lacking(self, names: Iterable[str]) -> None:
        if self._lacking and names:
            warnings.warn(
                "the state was saved by a version of trainer that did not save "
                f"{_listed(names)}: these start over, and the rest is restored",
                stacklevel=3,
            )

    def _warn(self, texts: list[str]) -> None:
        for text in texts if self._reported else ():
            if text not in self._said:
                self._said.add(text)
                warnings.warn(f"resuming this run will not be exact: {text}", stacklevel=2)

    # ---- saving and restoring ----------------------------------------------------------------

    def _to_save(self, since: str = "later") -> list[Held]:
        """Find the variables that no callback saves with its own state."""
        saved = {id(handle) for callback in self._callbacks for handle in _saved_with(callback)}
        return [held for held in self.variables(since) if id(held.handle) not in saved]

    def capture(self, tensors: dict[str, np.ndarray]) -> list[Entry]:
        """Add the values to `tensors`, and return their descriptions."""
        if self._before is not None:
            self._warn(self._changed(self._before, "the training, after its first step,"))
        entries = []
        for i, held in enumerate(self._to_save()):
            tensors[f"own/{i}"] = held.to_array()
            entries.append([held.name, held.dtype.name, list(held.shape), held.since])
        return entries

    def prepare(self, entries: list[Entry] | None, look: Callable[[str], Any]) -> None:
        """Find the variables that a saved state has values for, before restoring any.

        Args:
            entries: The result of `capture`, or None for a state of an earlier version.
            look: Runs or traces a step of a phase, for variables that have no path or are created
                by the first step.
        """
        self._lacking = entries is None
        self.variables("start")
        for phase in ("train", "test"):
            present = {held.name for held in self._to_save()}
            if any(name not in present and since != "later" for name, _, _, since in entries or ()):
                look(phase)
                self.settle()

    def restore(self, entries: list[Entry] | None, tensors: dict[str, np.ndarray]) -> None:
        """Restore the values of the variables.

        Raises:
            BadState: The variables differ from the saved ones.
        """
        found = {held.name: held for held in self._to_save()}
        if entries is None:
            self._warn_of_lacking(found)
            return
        saved = {name: (dtype, shape, since) for name, dtype, shape, since in entries}
        anew = [name for name in saved if name not in found and saved[name][2] == "later"]
        lost = [name for name in saved if name not in found and name not in anew]
        added = [name for name, held in found.items() if name not in saved]
        added = [name for name in added if found[name].since == "start"]
        if lost or added:
            which = [f"it had {_listed(lost)}"] if lost else []
            which += [f"now it has {_listed(added)}"] if added else []
            raise BadState(
                f"the run's own variables differ: {', and '.join(which)}; was the code changed "
                "since?"
            )
        if anew:
            warnings.warn(
                f"{_listed(anew)} was created during the run and does not exist yet: it starts "
                "over",
                stacklevel=2,
            )
        for i, (name, dtype, shape, _) in enumerate(entries):
            if name in anew:
                continue
            held = found[name]
            if held.dtype.name != dtype or not held.takes(shape):
                raise BadState(
                    f"the run's own variable {name!r} was {dtype} of shape {shape}, but now is "
                    f"{held.dtype.name} of shape {list(held.shape)}; was the code changed?"
                )
            if f"own/{i}" not in tensors:
                raise BadState(f"it lacks the value of the run's own variable {name!r}")
            try:
                held.from_array(tensors[f"own/{i}"])
            except Exception as error:  # TensorFlow has its own classes for what does not fit
                raise BadState(
                    f"the value of the run's own variable {name!r} does not fit it"
                ) from error

    # ---- extra state -------------------------------------------------------------------------

    def extra(self, tensors: dict[str, np.ndarray]) -> Any:
        """Return the Trainer's get_extra_state in a form that can be saved.

        Raises:
            TypeError: It holds something other than plain values; the message says where.
        """
        state = self._owner.get_extra_state()
        owner = f"{type(self._owner).__name__}.get_extra_state()"
        if state is not None and not self._takes_back:
            raise TypeError(
                f"{owner} returns a state, but set_extra_state(state) is not overridden to restore "
                "it; override both"
            )
        place = _odd(state)
        if place is not None:
            where, value = place
            raise TypeError(
                f"{owner}{where}: {value!r} cannot be saved, it is a {type(value).__name__}; give "
                "numbers, text, arrays, and lists, tuples, sets and dicts of them"
            )
        return plain.encode(state, tensors, "extra")

    def restore_extra(self, form: Any, tensors: dict[str, np.ndarray]) -> None:
        """Restore the Trainer's extra state.

        Raises:
            BadState: It no longer has a set_extra_state, or the form is none.
        """
        if form is None:
            return
        if not self._takes_back:
            raise BadState(
                f"the run has an extra state, but {type(self._owner).__name__} has no "
                "set_extra_state to restore it; was the code changed since?"
            )
        try:
            state = plain.decode(form, tensors)
        except ValueError as error:
            raise BadState(f"its extra state: {error}") from error
        self._owner.set_extra_state(state)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Restore the variables and the extra state at the end."""
        before = [(held, held.value) for held in self.variables()]
        extra = copy.deepcopy(self._owner.get_extra_state())
        try:
            yield
        finally:
            for held, value in before:
                held.assign(value)
            if extra is not None and self._takes_back:
                self._owner.set_extra_state(extra)

    def _names_of_extra(self) -> set[str] | None:
        """Return the names that the user saves in get_extra_state; None for all names."""
        state = self._owner.get_extra_state()
        if isinstance(state, dict):
            return set(map(str, state))
        return set() if state is None else None


def kept_variables(model: keras.Model) -> list[Held]:
    """Return the user-defined variables that are reachable from a model, built or not."""
    optimizer = getattr(model, "optimizer", None)
    listed = [*model.variables, *(() if optimizer is None else optimizer.variables)]
    known = {id(held_in.handle_of(variable)) for variable in listed}
    found: dict[int, Held] = {}
    for path, value in walk([("model", model)]):
        handle = held_in.handle_of(value)
        if handle is not None and id(handle) not in known:
            found.setdefault(id(handle), Held(path, handle, "start", value))
    return [held for held in found.values() if held.filled and held_in.storable(held.dtype)]


def _saved_with(callback: Any) -> Iterator[Any]:
    """Yield the handles of the variables in a callback's own state."""
    for _, value in walk([("", callback_state.state_of(callback))]):
        handle = held_in.handle_of(value)
        if handle is not None:
            yield handle


def _odd(value: Any) -> tuple[str, Any] | None:
    """Find a value that cannot be saved: return its place and the value, or None."""
    if plain.is_plain(value):
        return None
    if type(value) is dict:
        for key, item in value.items():
            if type(key) not in (str, int):
                return f", key {key!r}", key
            inner = _odd(item)
            if inner is not None:
                return f"[{key!r}]{inner[0]}", inner[1]
    if type(value) in (list, tuple):
        for i, item in enumerate(value):
            inner = _odd(item)
            if inner is not None:
                return f"[{i}]{inner[0]}", inner[1]
    return "", value


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
