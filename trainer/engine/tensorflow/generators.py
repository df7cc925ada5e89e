"""TensorFlow's seed and generator of eager mode, as far as they belong to the process.

Responsible for reading, setting and seeding them. Not for those of Python, NumPy and Keras
(`trainer.state.isolation`).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Generators:
    """A copy of TensorFlow's seed and generator.

    Attributes:
        seed: As set by tf.random.set_seed; None if it was not.
        generator: The generator that draws the seeds of operations; None until the first one.
        drawn: The state of the generator.
    """

    seed: int | None
    generator: random.Random | None
    drawn: Any

    @classmethod
    def now(cls) -> Generators:
        """Copy the present ones."""
        eager = _eager()
        generator = getattr(eager, "_rng", None)
        return cls(eager._seed, generator, None if generator is None else generator.getstate())

    def install(self) -> None:
        """Put the copy back."""
        eager = _eager()
        eager._seed = self.seed
        if self.generator is not None:
            eager._rng = self.generator
            self.generator.setstate(self.drawn)
        elif hasattr(eager, "_rng"):
            del eager._rng  # TensorFlow creates it at the first random operation


class _Seed(int):
    """A seed that forgets the states of random operations when the first of them needs it.

    TensorFlow's old random operations (such as tf.random.uniform) have hidden states, which are
    reset only if TensorFlow forgets all its compiled operations. tf.random.set_seed makes it do
    that, and the next step of every model is then compiled again, although Keras' own layers have
    no such operations.
    """

    _alone: Callable[[], bool] | None

    def __new__(cls, value: int, alone: Callable[[], bool]) -> _Seed:
        made = super().__new__(cls, value)
        made._alone = alone
        return made

    def __mod__(self, other: int) -> int:
        # TensorFlow takes the remainder of its seed for every operation that depends on it.
        alone, self._alone = self._alone, None
        if alone is not None and alone():
            _eager().clear_kernel_cache()
        return int(self) % other


def seed(value: int, *, alone: Callable[[], bool]) -> None:
    """Seed them as tf.random.set_seed does, but without making models compile again.

    Args:
        value: The seed.
        alone: Called before the first random operation; whether no other running training has some,
            which would be reset with ours.
    """
    eager = _eager()
    eager._seed, eager._rng = _Seed(value, alone), random.Random(value)


def _eager() -> Any:
    from tensorflow.python.eager import context

    return context.context()
