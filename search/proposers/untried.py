"""The points of a small finite space that were not tried yet.

Responsible for replacing a point that was tried by its nearest neighbour that was not, so that no
trial is spent twice on the same point. Not for proposing.
"""

from __future__ import annotations

import math

import numpy as np

from search.space import Point, Space, key_of, to_unit
from trainer.hyperparameters import Bool, Choice

MOST = 10_000  # points of a space that are listed


class Untried:
    """Keep track of which points of a finite space were tried.

    Args:
        space: of the search; nothing is tracked if it has more than `MOST` points.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._points = list(space.grid(math.inf)) if space.size <= MOST else None
        self._rows: np.ndarray | None = None
        self.clear()

    def clear(self) -> None:
        """Forget which points were tried."""
        points = self._points or ()
        self._left = {self._key(point): place for place, point in enumerate(points)}

    @property
    def finished(self) -> bool:
        """Whether all points were tried."""
        return self._points is not None and not self._left

    def take(self, point: Point) -> None:
        """Record that a point is tried."""
        self._left.pop(self._key(point), None)

    def instead_of(self, point: Point, seed: int) -> Point | None:
        """Return the nearest point that was not tried, or None if this one was not.

        Points differ by 1 in each category and in each parameter that is active in only one of
        them, and by their distance within its range in each number.

        Args:
            point: of the space.
            seed: decides which of equally near points is returned.
        """
        if self._points is None or self._key(point) in self._left:
            return None
        if self._rows is None:
            self._rows = np.array([self._row(p) for p in self._points])
        left = np.fromiter(self._left.values(), int)
        apart = np.abs(self._rows[left] - self._row(point))
        categories = [isinstance(d, (Bool, Choice)) for d in self._space.domains.values()]
        apart[:, categories] = apart[:, categories] > 0
        distance = np.minimum(apart, 1).sum(axis=1)
        nearest = left[distance <= distance.min() + 1e-9]
        return dict(self._points[int(np.random.default_rng(seed).choice(nearest))])

    def _row(self, point: Point) -> list[float]:
        domains = self._space.domains.items()
        return [to_unit(d, point[name]) if name in point else 2.0 for name, d in domains]

    @staticmethod
    def _key(point: Point) -> tuple[object, ...]:
        return tuple((name, key_of(point[name])) for name in sorted(point))
