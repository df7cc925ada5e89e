"""What libraries keep globally, and how a fit has it to itself.

Responsible for seeds, random generators, floatx, the dtype policy and Keras' counters of names: a
fit finds them as its seed says, whatever else runs in this process, and everybody else finds them
as they were. Also for restoring a model that something was tried on.

Most of this state belongs to the process and not to a thread. So threads take turns in building,
tracing and running steps in Python; compiled steps, which use none of it, run side by side.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

_turn = threading.RLock()
_running: list[None] = []  # one entry per training
_RANDOM_OF_KERAS = ("global_random_seed", "global_seed_generator")
_NAMES = "object_name_uids"


@dataclass
class _Globals:
    """A copy of the global state of Python, NumPy, TensorFlow and Keras."""

    python: Any
    numpy: Any
    seed: int | None  # TensorFlow's, in eager mode, with its generator and the generator's state
    generator: random.Random | None
    drawn: Any
    keras: dict[str, Any]
    count: np.ndarray | None  # how often Keras' global generator has drawn
    floatx: str
    policy: Any
    names: Any  # Keras counts the layers that it has named, per thread

    @classmethod
    def now(cls) -> _Globals:
        import keras
        from keras.src.backend.common import global_state
        from tensorflow.python.eager import context

        eager = context.context()
        generator = getattr(eager, "_rng", None)
        attributes = {name: global_state.get_global_attribute(name) for name in _RANDOM_OF_KERAS}
        held = attributes["global_seed_generator"]
        return cls(
            random.getstate(),
            np.random.get_state(),
            eager._seed,
            generator,
            None if generator is None else generator.getstate(),
            attributes,
            None if held is None else held.state.numpy(),
            keras.config.floatx(),
            keras.config.dtype_policy(),
            _names(),
        )

    def install(self, *, drawn_by_keras: bool = False) -> None:
        import keras
        from keras.src.backend.common import global_state
        from tensorflow.python.eager import context

        eager = context.context()
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        eager._seed = self.seed
        if self.generator is not None:
            eager._rng = self.generator
            self.generator.setstate(self.drawn)
        elif hasattr(eager, "_rng"):
            del eager._rng  # TensorFlow makes it at the first random operation
        for name, value in self.keras.items():
            global_state.set_global_attribute(name, value)
        held = self.keras["global_seed_generator"]
        if drawn_by_keras and held is not None:
            held.state.assign(self.count)
        keras.config.set_floatx(self.floatx)
        keras.config.set_dtype_policy(self.policy)
        global_state.set_global_attribute(_NAMES, self.names)


class Ambient:
    """The global state that a network is built, traced and run in, apart from everybody else's.

    Call it for a context: within, Python, NumPy, TensorFlow and Keras continue from where the last
    such context ended, and the first one begins as after keras.utils.set_random_seed(seed). At its
    end the state is what it was before. Contexts of different threads take turns.

    Args:
        seed: Of all generators.
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


def _seed_all(seed: int) -> None:
    """Do as keras.utils.set_random_seed, but do not disturb a training that is running.

    TensorFlow's old random operations (tf.random.uniform and its kin) have hidden states, which
    tf.random.set_seed resets in all graphs of the process, those of other fits included.
    """
    import keras
    from keras.src.backend.common import global_state
    from tensorflow.python.eager import context

    if not _running:
        keras.utils.set_random_seed(seed)
        return
    random.seed(seed)
    np.random.seed(seed)
    eager = context.context()
    eager._seed, eager._rng = seed, random.Random(seed)
    for name, value in zip(_RANDOM_OF_KERAS, (seed, None), strict=True):
        global_state.set_global_attribute(name, value)


@contextlib.contextmanager
def running() -> Iterator[None]:
    """Note that a training runs, in this thread or another one."""
    with _turn:
        _running.append(None)
    try:
        yield
    finally:
        with _turn:
            _running.pop()


@contextlib.contextmanager
def globals_kept() -> Iterator[None]:
    """Restore the global state at the end; other threads wait until then."""
    with _turn:
        before = _Globals.now()
        try:
            yield
        finally:
            before.install(drawn_by_keras=True)


@contextlib.contextmanager
def names_kept() -> Iterator[None]:
    """Let Keras count names from where it was, at the end.

    Without this, the layers of the user's next model would be called dense_6 and not dense.
    """
    from keras.src.backend.common import global_state

    counts = _names()
    try:
        yield
    finally:
        global_state.set_global_attribute(_NAMES, counts)


def _names() -> Any:
    from keras.src.backend.common import global_state

    names = global_state.get_global_attribute(_NAMES)
    return None if names is None else names.copy()


@contextlib.contextmanager
def model_kept(model: keras.Model, watch: Any = None) -> Iterator[None]:
    """Give every variable its value back: weights, seeds, moving means, metrics, optimizer.

    Args:
        model: whose variables these are.
        watch: the OwnState of a fit, whose variables and extra state are given back too.
    """
    import tensorflow as tf

    from trainer.state.variables import variables

    found = variables(model)
    before = [tf.identity(variable.value) for variable in found]
    try:
        with contextlib.nullcontext() if watch is None else watch.kept():
            yield
    finally:
        for variable, value in zip(found, before, strict=True):
            variable.assign(value)
