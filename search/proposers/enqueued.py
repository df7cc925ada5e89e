"""Propose given points first, then what another proposer proposes.

Responsible for the order, and for telling the other proposer how the given points did. Not for
checking that points lie in the space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from search.proposers import Finished, Outcome, PastTrial, Proposal, Proposer, is_independent
from search.proposers import replay as replay_if_wanted
from search.space import Point


class Enqueued:
    """Propose given points, then those of another proposer, which learns from them.

    The other proposer does not know a point whose trial is still running: with several workers it
    may propose that point again.

    Args:
        points: points of the space, in order.
        inner: the proposer of later trials.
        max_trials: maximum number of trials, `points` included; None: as many as `inner` has. An
            `inner` with its own limit gets the same one.

    Raises:
        ValueError: `inner` cannot learn from trials that it did not propose; hyperband cannot.
    """

    def __init__(
        self, points: Sequence[Point], inner: Proposer, *, max_trials: int | None = None
    ) -> None:
        if not inner.learns:
            raise ValueError(
                f"enqueue={list(points)!r}: this tuner cannot learn from trials that it did not "
                "propose (tuner='hyperband' only compares trials whose epochs it chose itself); "
                "write tuner='bayesian' or tuner='random', or leave out enqueue"
            )
        self._points = {f"enqueued-{i}": point for i, point in enumerate(points)}
        self._inner = inner
        self._max_trials = max_trials
        self._asked = 0
        self._running: set[str] = set()  # points that were asked for and have not ended

    @property
    def slow(self) -> bool:
        """Whether the other proposer is."""
        return self._inner.slow

    @property
    def learns(self) -> bool:
        """Whether the other proposer does: always."""
        return self._inner.learns

    @property
    def independent(self) -> bool:
        """Whether the other proposer's trials do not depend on how others end.

        They depend on the points, which it learns when these end.
        """
        learnt = self._asked >= len(self._points) and not self._running
        return learnt and is_independent(self._inner)

    def ask(self) -> Proposal:
        """Return the next of the points, or the other proposer's next trial."""
        if self._max_trials is not None and self._asked >= self._max_trials:
            raise Finished
        if self._asked < len(self._points):
            key = f"enqueued-{self._asked}"
            proposal = Proposal(key, self._points[key])
            self._running.add(key)
        else:
            proposal = self._inner.ask()
        self._asked += 1
        return proposal

    def tell(self, key: str, outcome: Outcome) -> None:
        """Pass the outcome on: one of the points as somebody else's trial."""
        if key in self._points:
            self._running.discard(key)
            self._inner.learn(key, self._points[key], outcome)
        else:
            self._inner.tell(key, outcome)

    def learn(self, key: str, point: Point, outcome: Outcome) -> None:
        """Pass the outcome on."""
        self._inner.learn(key, point, outcome)

    def snapshot(self) -> Any:
        """Return how many trials were asked for, and the other proposer's state."""
        return {"asked": self._asked, "inner": self._inner.snapshot()}

    def restore(self, snapshot: Any) -> None:
        """Resume from a snapshot."""
        self._asked = snapshot["asked"]
        self._running = set(list(self._points)[: self._asked])  # until `replay` says otherwise
        self._inner.restore(snapshot["inner"])

    def replay(self, trials: Sequence[PastTrial]) -> None:
        """Pass the trials on, if the other proposer has the method.

        The points that were given are somebody else's trials, which it learnt when they ended.
        """
        known = [
            replace(trial, learnt=True) if trial.key in self._points else trial
            for trial in trials
            if trial.outcome is not None or trial.key not in self._points
        ]
        self._running -= {trial.key for trial in known}
        replay_if_wanted(self._inner, known)
