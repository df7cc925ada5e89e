"""Proposals as scikit-learn makes them: a grid, random points, successive halving.

Responsible for the order of points and for promotion. The grid is ParameterGrid's product of the
listed values; random points are drawn from the domains, without replacement if the space is
finite, as ParameterSampler does; halving is that of HalvingRandomSearchCV and HalvingGridSearchCV
(Jamieson and Talwalkar 2016; Li et al. 2018).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from search.proposers import Finished, Outcome, Proposal, Wait
from search.space import LEVELS, Point, Space, key_of, same

COLLISIONS = 1_000  # draws without a new point until a finite space counts as used up


class Listed:
    """Points known in advance, one trial each.

    Args:
        points: in order.
    """

    slow = False
    learns = True
    independent = True

    def __init__(self, points: list[Point]) -> None:
        self._points = points
        self._next = 0
        self._known: list[int] = []

    def ask(self) -> Proposal:
        """Return the next point that is not known."""
        while self._next in self._known:
            self._next += 1
        if self._next >= len(self._points):
            raise Finished
        self._next += 1
        return Proposal(str(self._next - 1), self._points[self._next - 1])

    def tell(self, key: str, outcome: Outcome) -> None:
        """Do nothing: the points are fixed."""

    def learn(self, key: str, point: Point, outcome: Outcome) -> None:
        """Leave this point out: its score is known."""
        for i, own in enumerate(self._points):
            alike = own.keys() == point.keys() and all(same(own[n], point[n]) for n in own)
            if alike and i >= self._next and i not in self._known:
                self._known.append(i)

    def snapshot(self) -> Any:
        """Return how many points were proposed, and which are left out."""
        return {"next": self._next} | ({"known": self._known} if self._known else {})

    def restore(self, snapshot: Any) -> None:
        """Resume from a snapshot."""
        self._next = snapshot["next"]
        self._known = list(snapshot.get("known", []))


def grid(space: Space, levels: int = LEVELS) -> Listed:
    """Propose every point of a grid."""
    return Listed(list(space.grid(levels)))


def random(space: Space, n: int, seed: int) -> Listed:
    """Propose `n` random points; fewer if the space has fewer."""
    return Listed(draw(space, n, seed))


def draw(space: Space, n: int, seed: int) -> list[Point]:
    """Draw `n` random points, without replacement if there are finitely many."""
    generator = np.random.default_rng(seed)
    if not space.finite:
        return [space.draw(generator) for _ in range(n)]
    found: dict[Any, Point] = {}
    misses = 0
    while len(found) < n and misses < COLLISIONS:
        point = space.draw(generator)
        key = tuple((name, key_of(point[name])) for name in sorted(point))
        misses = misses + 1 if key in found else 0
        found.setdefault(key, point)
    return list(found.values())


class Halving:
    """Successive halving: all points with few epochs, the best of them with more, and so on.

    Args:
        points: the candidates.
        epochs: of the last rung.
        factor: of `n` trials `n // factor` are promoted, with `factor` times the epochs.
        least: epochs of the first rung; None: as few as allow the largest number of rungs that the
            number of candidates permits.
        maximize: whether a higher score is better.

    Attributes:
        total: number of trials in all rungs; fewer are run if too few have a score.
    """

    slow = False
    learns = False  # its rungs compare trials with equal epochs

    def __init__(
        self,
        points: list[Point],
        *,
        epochs: int,
        factor: int = 3,
        least: int | None = None,
        maximize: bool,
    ) -> None:
        rungs = 1 + int(math.log(max(1, len(points)), factor) + 1e-9)
        by_epochs = 1 + int(math.log(max(1, epochs / (least or 1)), factor) + 1e-9)
        self._rungs = max(1, min(rungs, by_epochs))
        self._epochs = [
            max(1, math.ceil(epochs / factor ** (self._rungs - 1 - i))) for i in range(self._rungs)
        ]
        self._sizes = [max(1, len(points) // factor**i) for i in range(self._rungs)]
        self.total = sum(self._sizes)
        self._points = points
        self._maximize = maximize
        self._rung = 0
        self._entrants: list[tuple[int, str | None]] = [(i, None) for i in range(len(points))]
        self._asked = 0
        self._scores: dict[str, float | None] = {}

    def ask(self) -> Proposal:
        """Return the next trial of this rung; the next rung starts when all of it have ended."""
        if self._asked == len(self._entrants):
            if len(self._scores) < len(self._entrants):
                raise Wait
            self._promote()
        candidate, parent = self._entrants[self._asked]
        self._asked += 1
        return Proposal(
            f"{candidate}@{self._rung}",
            self._points[candidate],
            epochs=self._epochs[self._rung],
            parent=parent,
            rung=self._rung,
        )

    def _promote(self) -> None:
        last = self._rung
        if last + 1 >= self._rungs:
            raise Finished
        scored = [
            (candidate, score)
            for candidate, _ in self._entrants
            if (score := self._scores[f"{candidate}@{last}"]) is not None
        ]
        if not scored:
            raise Finished
        scored.sort(key=lambda pair: -pair[1] if self._maximize else pair[1])
        best = [candidate for candidate, _ in scored[: self._sizes[last + 1]]]
        self._rung += 1
        self._entrants = [(candidate, f"{candidate}@{last}") for candidate in best]
        self._asked = 0
        self._scores = {}

    def tell(self, key: str, outcome: Outcome) -> None:
        """Record the score; a trial without one is not promoted."""
        score = outcome.score
        self._scores[key] = score if score is not None and math.isfinite(score) else None

    def learn(self, key: str, point: Point, outcome: Outcome) -> None:
        """Do nothing: a trial from elsewhere is in no rung; add its point to the candidates."""

    def snapshot(self) -> Any:
        """Return the rung and its scores."""
        return {
            "rung": self._rung,
            "entrants": self._entrants,
            "asked": self._asked,
            "scores": self._scores,
        }

    def restore(self, snapshot: Any) -> None:
        """Resume from a snapshot."""
        self._rung = snapshot["rung"]
        self._entrants = [(c, p) for c, p in snapshot["entrants"]]
        self._asked = snapshot["asked"]
        self._scores = dict(snapshot["scores"])
