"""State of a person's own: variables and generators that Keras does not list, and extra state.

Responsible for finding them, for naming them so that another process finds them again, and for
saving and restoring their values. Not for what cannot be saved (`unsaved`), nor for the variables
that Keras lists (`variables`).

There are two ways of finding a variable. The attributes of the model, its layers, the Trainer and
the callbacks are walked, with the helper objects that they hold and the globals and closures that
their methods refer to: what is found there is named by its path. And each step is looked at as it
is traced, or as it first runs in Python: a variable that it works on and no path leads to is named
by its place among those.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from trainer.state import callback_state, plain, unsaved
from trainer.state.state_file import BadState
from trainer.state.walking import handle_of, is_variable, walk

if TYPE_CHECKING:
    import keras

Entry = list[Any]  # name, dtype, shape, and when it was found: "start", "train", "test" or "later"


class Held:
    """A variable, by the handle under which TensorFlow knows it.

    Attributes:
        name: the same in each process that runs the same code.
        since: when it was found; one that the first step makes is not there before.
    """

    def __init__(self, name: str, handle: Any, since: str, owner: Any = None) -> None:
        import tensorflow as tf

        (form,) = handle._handle_data.shape_and_type
        self.name = name
        self.since = since
        self.handle = handle
        self.dtype = tf.as_dtype(form.dtype)
        self._owner = owner  # TensorFlow frees the value with the object that made it

    @property
    def is_numeric(self) -> bool:
        """Whether it holds numbers, and not text."""
        return str(self.dtype.name) != "string"

    @property
    def filled(self) -> bool:
        """Whether there is a value: not before the first, nor after the variable is gone."""
        from tensorflow.python.ops import gen_resource_variable_ops as operations

        return bool(operations.var_is_initialized_op(self.handle))

    @property
    def value(self) -> Any:
        """The value, as a tensor."""
        from tensorflow.python.ops import gen_resource_variable_ops as operations

        return operations.read_variable_op(self.handle, self.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the present value."""
        return tuple(self.value.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        found: np.ndarray = np.array(self.value.numpy(), dtype=dtype)
        return found

    def assign(self, value: Any) -> None:
        """Set the value."""
        import tensorflow as tf
        from tensorflow.python.ops import gen_resource_variable_ops as operations

        tensor = tf.convert_to_tensor(value, self.dtype)
        operations.assign_variable_op(self.handle, tensor)

    def to_array(self) -> np.ndarray:
        """The value as numbers; text as the bytes of TensorFlow's own form."""
        import tensorflow as tf

        if self.dtype != tf.string:
            return np.asarray(self)
        return np.frombuffer(tf.io.serialize_tensor(self.value).numpy(), np.uint8).copy()

    def from_array(self, array: np.ndarray) -> None:
        """Set the value to what `to_array` gave."""
        import tensorflow as tf

        if self.dtype == tf.string:
            self.assign(tf.io.parse_tensor(array.tobytes(), tf.string))
        else:
            self.assign(array)


class HasExtraState(Protocol):
    """What is fitted: its attributes are walked, and its extra state is saved."""

    def get_extra_state(self) -> Any:
        """Plain values and arrays, or None for nothing."""

    def set_extra_state(self, state: Any) -> None:
        """Take back what get_extra_state returned."""


class OwnState:
    """What one training has of a person's own.

    Args:
        owner: what is fitted.
        model: whose steps run.
        callbacks: of the fit.
        known: gives the variables that are saved already, or never change.
        eager: whether steps run in Python.
        takes_back: whether `owner` has a set_extra_state of its own.
        reported: whether to warn of what cannot be saved; a fit without a run has no need of it.
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
        self._seen: dict[str, tuple[list[Any], list[str]]] = {}  # of a phase, until it is settled
        self._looked_at: set[str] = set()
        self._said: set[str] = set()
        self._walks = 0
        self._before: unsaved.Attributes | None = None  # as they were before the first step
        self._named: set[str] = set()  # attributes of which was warned
        self._lacking = False  # whether the state that was found is of an earlier version

    # ---- finding -----------------------------------------------------------------------------

    def variables(self, since: str = "later") -> list[Held]:
        """Every variable that is there now, each once.

        Args:
            since: what to note of those that were not found before.
        """
        known = {id(handle) for handle in map(handle_of, self._known()) if handle is not None}
        present: dict[int, Held] = {}
        names: set[str] = set()

        def add(held: Held) -> None:
            while held.name in names:
                held.name += "'"
            names.add(held.name)
            present[id(held.handle)] = held

        found = list(self._walked())
        for path, value in found:
            handle = handle_of(value)
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
        return [held for held in present.values() if held.filled and unsaved.storable(held.dtype)]

    def last_found(self) -> list[Held]:
        """The same as when it was last asked for: a walk takes milliseconds."""
        if not self._walks:
            return self.variables()
        return [held for held in self._held.values() if held.filled]

    def _walked(self) -> Iterator[tuple[str, Any]]:
        roots = list(self._roots)
        if self._eager:
            from tensorflow.python.ops import stateful_random_ops

            # a traced step captures it where it is used
            roots.append(("tf.random.get_global_generator()", stateful_random_ops.global_generator))
        return walk(roots)

    def traced(self, phase: str, trace: Callable[[], Any]) -> Any:
        """Trace a step, and note what it works on.

        Args:
            phase: "train" or "test", and what else tells one step from another.
            trace: gives the concrete function.
        """
        drawn = unsaved.python_generators()
        concrete = trace()
        texts = []
        if self._reported:
            texts = unsaved.of_graph(concrete.graph.as_graph_def(), phase.split()[0])
            texts += unsaved.drawn_since(drawn, phase.split()[0], "as it is compiled")
        self._seen[phase] = (list(concrete.captured_inputs), texts)
        return concrete

    @contextmanager
    def eager(self, phase: str) -> Iterator[None]:
        """Run a step in Python; the first of each phase is looked at."""
        if phase in self._looked_at or not self._reported:
            yield
            return
        self._looked_at.add(phase)
        watched = unsaved.Operations()
        before = unsaved.Attributes(self._walked())
        drawn = unsaved.python_generators()
        with watched:
            yield
        texts = unsaved.of_operations(watched.types, phase)
        texts += unsaved.drawn_since(drawn, phase, "in Python")
        texts += self._changed(before, f"the {unsaved.NAMES[phase]} step")
        if phase == "train":
            self._before = before
        self._seen[phase] = (watched.resources, texts)
        self.settle()

    def _changed(self, before: unsaved.Attributes, what: str) -> list[str]:
        names = [n for n in before.changed(self._names_of_extra()) if n not in self._named]
        self._named.update(names)
        return unsaved.of_attributes(names, what)

    def settle(self) -> None:
        """Take in what steps were seen to work on, and warn of what of it cannot be saved."""
        for phase, (captured, texts) in self._seen.items():
            walked = {id(held.handle) for held in self.variables(phase.split()[0])}
            known = {id(handle) for handle in map(handle_of, self._known())}
            added: list[str] = []
            for handle in captured:
                if not is_variable(handle) or id(handle) in known | walked | set(self._captured):
                    continue
                name = f"variable {len(added)} of the {phase} step"
                held = Held(name, handle, phase.split()[0])
                if not held.filled:
                    continue  # one that lived in this step only
                added.append(name)
                self._captured[id(handle)] = held
            self._warn_of_lacking(added)
            texts += [
                f"{held.name} holds {held.dtype.name}, which cannot be saved"
                for held in {**self._held, **self._captured}.values()
                if not unsaved.storable(held.dtype)
            ]
            self._warn(texts)
        self._seen.clear()

    def _warn_of_lacking(self, names: Iterable[str]) -> None:
        if self._lacking and names:
            warnings.warn(
                "the state was saved by a version of trainer that did not save "
                f"{_listed(names)}: these begin anew, and the rest goes on",
                stacklevel=3,
            )

    def _warn(self, texts: list[str]) -> None:
        for text in texts if self._reported else ():
            if text not in self._said:
                self._said.add(text)
                warnings.warn(f"resuming this run will not be exact: {text}", stacklevel=2)

    # ---- saving and restoring ----------------------------------------------------------------

    def _to_save(self, since: str = "later") -> list[Held]:
        """Those that no callback saves with its own state."""
        saved = {id(handle) for callback in self._callbacks for handle in _saved_with(callback)}
        return [held for held in self.variables(since) if id(held.handle) not in saved]

    def capture(self, tensors: dict[str, np.ndarray]) -> list[Entry]:
        """Add the values to `tensors`, and describe them."""
        if self._before is not None:
            self._warn(self._changed(self._before, "the training, after its first step,"))
        entries = []
        for i, held in enumerate(self._to_save()):
            tensors[f"own/{i}"] = held.to_array()
            entries.append([held.name, held.dtype.name, list(held.shape), held.since])
        return entries

    def prepare(self, entries: list[Entry] | None, look: Callable[[str], Any]) -> None:
        """Find what a saved state holds, before any of it is restored.

        Args:
            entries: as `capture` gave them, or None for a state of an earlier version.
            look: runs or traces a step of a phase, for variables that no path leads to or that
                the first step makes.
        """
        self._lacking = entries is None
        self.variables("start")
        for phase in ("train", "test"):
            present = {held.name for held in self._to_save()}
            if any(name not in present and since != "later" for name, _, _, since in entries or ()):
                look(phase)
                self.settle()

    def restore(self, entries: list[Entry] | None, tensors: dict[str, np.ndarray]) -> None:
        """Give the variables their saved values.

        Raises:
            BadState: there are others than were saved.
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
            which += [f"now there is {_listed(added)}"] if added else []
            raise BadState(
                f"the run's own variables differ: {', and '.join(which)}; was the code changed "
                "since?"
            )
        if anew:
            warnings.warn(
                f"{_listed(anew)} was made in the course of the run and is not there yet: it "
                "begins anew",
                stacklevel=2,
            )
        for i, (name, dtype, shape, _) in enumerate(entries):
            if name in anew:
                continue
            held = found[name]
            if held.dtype.name != dtype or not _takes(held, shape):
                raise BadState(
                    f"the run's own variable {name!r} was {dtype} of shape {shape}, and is "
                    f"{held.dtype.name} of shape {list(held.shape)} now; was the code changed?"
                )
            held.from_array(tensors[f"own/{i}"])

    # ---- extra state -------------------------------------------------------------------------

    def extra(self, tensors: dict[str, np.ndarray]) -> Any:
        """The Trainer's get_extra_state in a form that can be saved.

        Raises:
            TypeError: it holds something else than plain values; the place is named.
        """
        state = self._owner.get_extra_state()
        owner = f"{type(self._owner).__name__}.get_extra_state()"
        if state is not None and not self._takes_back:
            raise TypeError(
                f"{owner} gives a state, and there is no set_extra_state(state) to take it back; "
                "override both"
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
        """Give the Trainer its extra state back.

        Raises:
            BadState: it has no set_extra_state any more.
        """
        if form is None:
            return
        if not self._takes_back:
            raise BadState(
                f"the run has an extra state, and {type(self._owner).__name__} has no "
                "set_extra_state to take it; was the code changed since?"
            )
        self._owner.set_extra_state(plain.decode(form, tensors))

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Undo what is done to the variables and to the extra state."""
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
        """The names for which a person cares themselves; None for all of them."""
        state = self._owner.get_extra_state()
        if isinstance(state, dict):
            return set(map(str, state))
        return set() if state is None else None


def kept_variables(model: keras.Model) -> list[Held]:
    """The variables of a person's own that a path leads to from a model, built or not."""
    optimizer = getattr(model, "optimizer", None)
    listed = [*model.variables, *(() if optimizer is None else optimizer.variables)]
    known = {id(handle_of(variable)) for variable in listed}
    found: dict[int, Held] = {}
    for path, value in walk([("model", model)]):
        handle = handle_of(value)
        if handle is not None and id(handle) not in known:
            found.setdefault(id(handle), Held(path, handle, "start", value))
    return [held for held in found.values() if held.filled and unsaved.storable(held.dtype)]


def _saved_with(callback: Any) -> Iterator[Any]:
    """The handles of the variables that a callback's own state holds."""
    for _, value in walk([("", callback_state.state_of(callback))]):
        handle = handle_of(value)
        if handle is not None:
            yield handle


def _takes(held: Held, shape: list[int]) -> bool:
    import tensorflow as tf

    (form,) = held.handle._handle_data.shape_and_type
    return bool(tf.TensorShape(form.shape).is_compatible_with(shape))


def _odd(value: Any) -> tuple[str, Any] | None:
    """Where something is that cannot be saved, and what."""
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
