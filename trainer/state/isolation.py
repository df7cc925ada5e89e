"""Isolation of a fit from the global state of libraries.

Responsible for seeds, random generators, floatx, the dtype policy and Keras' name counters: for a
fit, they depend only on its seed, whatever else runs in this process, and other code finds them
unchanged. Also for restoring a model after a trial call.

Most of this state belongs to the process, not to a thread. Threads therefore take turns at
building, tracing and running steps in Python; compiled steps use none of it and run in parallel.
Threads of other libraries do not take turns: Dask's draw from Python's `random` at any time, from
which Keras draws the seeds of initial weights. So a fit has a generator of its own behind `random`.
"""

from __future__ import annotations

import contextlib
import functools
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.engine import backend
from trainer.engine.backend import generators

if TYPE_CHECKING:
    import keras

_turn = threading.RLock()
_running: list[int] = []  # the thread of each training
_drawn: set[int] = set()  # those whose training has TensorFlow's old random operations
_RANDOM_OF_KERAS = ("global_random_seed", "global_seed_generator")
_NAMES = "object_name_uids"
_SAFE_MODE = "safe_mode_saving"
# the functions of `random` that draw from the generator of the process, and that generator
_DRAW = [name for name in random.__all__ if hasattr(getattr(random, name), "__self__")]
_PROCESS: random.Random = random.random.__self__  # type: ignore[attr-defined]  # bound to it


@dataclass
class _Globals:
    """A copy of the global state of Python, NumPy, TensorFlow and Keras."""

    python: Any
    process: Any  # Python's generator for who has imported `from random import choice`
    numpy: Any
    backend: generators.Generators
    keras: dict[str, Any]
    count: np.ndarray | None  # how often Keras' global generator has drawn
    floatx: str
    policy: Any
    names: Any  # Keras' counters for layer names, per thread

    @classmethod
    def now(cls) -> _Globals:
        import keras
        from keras.src.backend.common import global_state

        attributes = {name: global_state.get_global_attribute(name) for name in _RANDOM_OF_KERAS}
        held = attributes["global_seed_generator"]
        return cls(
            *states_of_random(),
            np.random.get_state(),
            generators.Generators.now(),
            attributes,
            None if held is None else held.state.numpy(),
            keras.config.floatx(),
            keras.config.dtype_policy(),
            _names(),
        )

    def install(self, *, drawn_by_keras: bool = False) -> None:
        import keras
        from keras.src.backend.common import global_state

        random.setstate(self.python)
        _PROCESS.setstate(self.process)
        np.random.set_state(self.numpy)
        self.backend.install()
        for name, value in self.keras.items():
            global_state.set_global_attribute(name, value)
        held = self.keras["global_seed_generator"]
        if drawn_by_keras and held is not None:
            held.state.assign(self.count)
        keras.config.set_floatx(self.floatx)
        keras.config.set_dtype_policy(self.policy)
        global_state.set_global_attribute(_NAMES, self.names)


class Ambient:
    """The separate global state that a network is built, traced and run in.

    Calling it returns a context in which Python, NumPy, TensorFlow and Keras continue from where
    the last such context ended; the first one starts as after keras.utils.set_random_seed(seed).
    The previous state is restored at the end. Contexts in different threads take turns.

    Args:
        seed: The seed of all generators.
        precision: "float32", "float64", "mixed_bfloat16" or "mixed_float16".
    """

    def __init__(self, seed: int, precision: str) -> None:
        self._seed = seed
        self._precision = precision
        self._kept: _Globals | None = None
        self._inside = False

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Return the context."""
        import keras

        with _turn:
            if self._inside:
                yield
                return
            before = _Globals.now()
            self._inside = True
            try:
                with _own_random():
                    if self._kept is None:
                        _seed_all(self._seed)
                        double = self._precision == "float64"
                        keras.config.set_floatx("float64" if double else "float32")
                        keras.config.set_dtype_policy(self._precision)
                    else:
                        self._kept.install()
                    try:
                        yield
                    finally:
                        self._kept = _Globals.now()
            finally:
                self._inside = False
                before.install()


def states_of_random() -> tuple[Any, Any]:
    """Return the states of the generator behind `random.random()`, and of the process's."""
    return random.getstate(), _PROCESS.getstate()


@contextlib.contextmanager
def _own_random() -> Iterator[None]:
    """Let this thread draw from a generator of its own where it calls `random.random()`."""
    own = random.Random()
    inside = [threading.get_ident()]
    before = {name: getattr(random, name) for name in _DRAW}

    def chosen(mine: Any, shared: Any) -> Any:
        def draw(*args: Any, **kwargs: Any) -> Any:
            # a module that is imported here may keep this function for longer
            return (mine if threading.get_ident() in inside else shared)(*args, **kwargs)

        return draw

    for name, shared in before.items():
        setattr(random, name, chosen(getattr(own, name), shared))
    try:
        yield
    finally:
        inside.clear()
        for name, shared in before.items():
            setattr(random, name, shared)


def _seed_all(seed: int) -> None:
    """Do the same as keras.utils.set_random_seed, without disturbing a running training."""
    from keras.src.backend.common import global_state

    random.seed(seed)
    _PROCESS.seed(seed)
    np.random.seed(seed)
    thread = threading.get_ident()
    if thread not in _running:  # else it is a fit within a fit
        _drawn.discard(thread)
    generators.seed(seed, alone=functools.partial(_draws_alone, thread))
    for name, value in zip(_RANDOM_OF_KERAS, (seed, None), strict=True):
        global_state.set_global_attribute(name, value)


def _draws_alone(thread: int) -> bool:
    """Return whether no running training has random operations; note that this one has some."""
    alone = not any(each in _drawn for each in _running)
    _drawn.add(thread)
    return alone


@contextlib.contextmanager
def running() -> Iterator[None]:
    """Record that a training is running, in this or another thread."""
    thread = threading.get_ident()
    with _turn:
        _running.append(thread)
    try:
        yield
    finally:
        with _turn:
            _running.remove(thread)
            if thread not in _running:
                _drawn.discard(thread)


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """Wait until no other thread is in an Ambient: until then, the global state is not the user's.

    Other threads wait until the end.
    """
    with _turn:
        yield


@contextlib.contextmanager
def globals_kept() -> Iterator[None]:
    """Restore the global state at the end.

    Other threads do not wait until then: they may be producing the rows that this one needs.
    """
    with _turn:
        before = _Globals.now()
    try:
        yield
    finally:
        with _turn:
            before.install(drawn_by_keras=True)


@contextlib.contextmanager
def thread_kept() -> Iterator[None]:
    """Restore what Keras keeps for each thread at the end: its name counters and its safe mode.

    Without this, the layers of the user's next model would be called dense_6 and not dense.
    """
    from keras.src.backend.common import global_state

    counts, safe = _names(), global_state.get_global_attribute(_SAFE_MODE)
    try:
        yield
    finally:
        global_state.set_global_attribute(_NAMES, counts)
        global_state.set_global_attribute(_SAFE_MODE, safe)


def _names() -> Any:
    from keras.src.backend.common import global_state

    names = global_state.get_global_attribute(_NAMES)
    return None if names is None else names.copy()


@contextlib.contextmanager
def model_kept(model: keras.Model, watch: Any = None) -> Iterator[None]:
    """Restore every variable at the end: weights, seeds, moving means, metrics, optimizer.

    Args:
        model: The model to restore.
        watch: The OwnState of a fit, whose variables and extra state are restored too, or None.
    """
    from trainer.state.variables import variables

    found = variables(model)
    before = [backend.variables.held_by(variable) for variable in found]
    try:
        with contextlib.nullcontext() if watch is None else watch.kept():
            yield
    finally:
        for variable, value in zip(found, before, strict=True):
            variable.assign(value)
