"""TensorFlow's seed and generator of eager mode, as far as they belong to the process.

Responsible for reading, setting and seeding them. Not for those of Python, NumPy and Keras
(`trainer.state.isolation`).
"""

from __future__ import annotations

import random
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


def seed(value: int) -> None:
    """Seed them, without disturbing a training that runs.

    TensorFlow's old random operations (such as tf.random.uniform) have hidden states, which
    tf.random.set_seed resets in all graphs of the process, including those of other fits.
    """
    eager = _eager()
    eager._seed, eager._rng = value, random.Random(value)


def _eager() -> Any:
    from tensorflow.python.eager import context

    return context.context()
