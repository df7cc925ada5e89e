"""Seeded synthetic data that can be learnt; training on them costs as much as on real data."""

from __future__ import annotations

import numpy as np

Data = tuple[np.ndarray, np.ndarray]


def arrays(rows: int, shape: tuple[int, ...], classes: int = 10) -> Data:
    """Return x, float32 in 0..1 [rows, *shape], and y, int64 [rows]: the best-aligned direction."""
    generator = np.random.default_rng(0)
    x = generator.random((rows, *shape), dtype=np.float32)
    directions = generator.standard_normal((int(np.prod(shape)), classes), dtype=np.float32)
    # centred, or one class would win for almost every row
    y = ((x.reshape(rows, -1) - 0.5) @ directions).argmax(axis=1)
    return x, y


def images(rows: int) -> Data:
    """Return images of 28 x 28, as in MNIST, and their classes."""
    return arrays(rows, (28, 28))
