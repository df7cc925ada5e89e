"""Pruning: trials of any proposer train to a rung, and only the promising ones go further.

Responsible for which trial is promoted to the next rung, and when. There is no barrier between
rungs: a trial is promoted as soon as the scores known so far justify it, and otherwise the other
proposer is asked for a new one. Not for training to a rung, nor for what a rung is measured in.

- "asha": promotes the best `1 / factor` of those that have ended at a rung (Li and others 2018, "A
  system for massively parallel hyperparameter tuning", algorithm 2).
- "hyperband": the same in several brackets, which begin at different rungs, in the proportions of
  Hyperband (Li and others 2018, "Hyperband: a novel bandit-based approach to hyperparameter
  optimization"), so that points that start slowly are tried too.
- "median": a trial ends unless its best score so far is at least the median of the scores that
  others have at the rung (Golovin and others 2017, "Google Vizier", section 3.2.2).
- "patient": a trial ends at the first rung that does not improve on its best score so far.
"""

from __future__ import annotations

import bisect
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from search.proposers import Finished, Outcome, PastTrial, Proposal, Proposer, Wait, replay
from search.space import Point

PRUNERS = ("asha", "hyperband", "median", "patient")
OTHERS = 4  # scores of other trials at a rung before a median of them ends a trial


@dataclass
class _Candidate:
    """A point that the other proposer has proposed.

    Attributes:
        number: its place among all of them.
        key: the other proposer's name for it.
        point: the point.
        first: the rung at which it begins.
        scores: its scores at the rungs from `first` on; higher is better.
    """

    number: int
    key: str
    point: Point
    first: int
    scores: list[float] = field(default_factory=list)

    @property
    def rung(self) -> int:
        """The last rung that it has ended with a score."""
        return self.first + len(self.scores) - 1


class _Ranks:
    """The candidates that have ended at a rung, best first, and which of them went on."""

    def __init__(self) -> None:
        self._all: list[tuple[float, int]] = []
        self._here: list[tuple[float, int]] = []  # those that have not gone on

    def add(self, candidate: _Candidate) -> None:
        place = (-candidate.scores[-1], candidate.number)
        bisect.insort(self._all, place)
        bisect.insort(self._here, place)

    def best(self, share: float) -> int | None:
        """Return the number of the best that has not gone on, if it is in this share of all."""
        if not self._here or bisect.bisect_left(self._all, self._here[0]) >= int(
            len(self._all) * share + 1e-9
        ):
            return None
        return self._here[0][1]

    def promoted(self, candidate: _Candidate, score: float) -> None:
        self._here.remove((-score, candidate.number))


class _Halving:
    """Asynchronous successive halving, in one bracket or in several.

    Args:
        rungs: number of rungs.
        factor: one in `factor` is promoted.
        brackets: the rungs at which candidates may begin.
    """

    tells_first = True  # scores at the first rung can be compared; later ones are of the best only

    def __init__(self, rungs: int, factor: float, brackets: Sequence[int]) -> None:
        self._last = rungs - 1
        self._factor = factor
        # Hyperband's numbers of candidates: equal resources for each bracket
        self._weights = {
            first: math.ceil(rungs / (rungs - first) * factor ** (self._last - first))
            for first in brackets
        }
        self._begun = dict.fromkeys(brackets, 0)
        self._ranks = {first: [_Ranks() for _ in range(rungs)] for first in brackets}

    def bracket(self) -> int:
        """Return the rung at which the next candidate begins."""
        return min(
            self._begun, key=lambda first: (self._begun[first] / self._weights[first], first)
        )

    def began(self, candidate: _Candidate) -> None:
        self._begun[candidate.first] += 1

    def ended(self, candidate: _Candidate) -> bool:
        """Note the last score; return whether the candidate is out for good."""
        self._ranks[candidate.first][candidate.rung].add(candidate)
        return candidate.rung == self._last

    def next(self) -> int | None:
        """Return the candidate that goes on, from the highest rung possible; None: no one does."""
        for rung in reversed(range(self._last)):
            for ranks in self._ranks.values():
                number = ranks[rung].best(1 / self._factor)
                if number is not None:
                    return number
        return None

    def last_chance(self) -> int | None:
        """Return who goes on when nothing else is left and no one has reached the last rung."""
        for rung in reversed(range(self._last + 1)):
            found = [r for ranks in self._ranks.values() if (r := ranks[rung].best(1)) is not None]
            if found:
                return None if rung == self._last else found[0]
        return None

    def promoted(self, candidate: _Candidate) -> None:
        self._ranks[candidate.first][candidate.rung].promoted(candidate, candidate.scores[-1])


class _Stopping:
    """Decide for each candidate, when it has ended at a rung, whether it goes on at once.

    Args:
        rungs: number of rungs.
        keeps: decides, from the candidate and the scores of the others at its rung.
    """

    tells_first = False  # each candidate ends for good, sooner or later

    def __init__(self, rungs: int, keeps: Callable[[_Candidate, list[float]], bool]) -> None:
        self._last = rungs - 1
        self._keeps = keeps
        self._scores: list[list[float]] = [[] for _ in range(rungs)]
        self._ready: list[int] = []

    def bracket(self) -> int:
        """Return the first rung."""
        return 0

    def began(self, candidate: _Candidate) -> None:
        """Do nothing: there is one bracket."""

    def ended(self, candidate: _Candidate) -> bool:
        """Decide; return whether the candidate is out for good."""
        others = self._scores[candidate.rung]
        on = candidate.rung < self._last and self._keeps(candidate, others)
        bisect.insort(others, candidate.scores[-1])
        if on:
            self._ready.append(candidate.number)
        return not on

    def next(self) -> int | None:
        """Return the candidate that has waited longest."""
        return self._ready[0] if self._ready else None

    def last_chance(self) -> int | None:
        """Return None: every candidate that should be promoted has been."""
        return None

    def promoted(self, candidate: _Candidate) -> None:
        self._ready.remove(candidate.number)


def _above_median(candidate: _Candidate, others: list[float]) -> bool:
    return len(others) < OTHERS or max(candidate.scores) >= statistics.median(others)


def _improved(candidate: _Candidate, _others: list[float]) -> bool:
    return len(candidate.scores) == 1 or candidate.scores[-1] > max(candidate.scores[:-1])


class Pruned:
    """Propose the trials of another proposer rung by rung.

    Halving tells the other proposer the score at a trial's first rung: these scores can be
    compared, and a trial may wait for its promotion forever. The stopping rules tell it the score
    with which a trial ended.

    Args:
        inner: proposes the points; without rungs of its own.
        pruner: one of PRUNERS.
        amounts: the resource of each rung, in ascending order; at least two.
        factor: for "asha" and "hyperband": one in `factor` is promoted.
        maximize: whether a higher score is better.
    """

    learns = False  # its rungs compare trials that it has proposed itself

    def __init__(
        self,
        inner: Proposer,
        pruner: str,
        amounts: Sequence[int],
        *,
        factor: float,
        maximize: bool,
    ) -> None:
        self._inner = inner
        self._amounts = tuple(amounts)
        self._sign = 1 if maximize else -1
        rungs = len(self._amounts)
        kinds: dict[str, Callable[[], _Halving | _Stopping]] = {
            "asha": lambda: _Halving(rungs, factor, [0]),
            "hyperband": lambda: _Halving(rungs, factor, range(rungs)),
            "median": lambda: _Stopping(rungs, _above_median),
            "patient": lambda: _Stopping(rungs, _improved),
        }
        self._make = kinds[pruner]
        self._pruner = pruner
        self._forget()

    @property
    def slow(self) -> bool:
        """Whether the other proposer is."""
        return self._inner.slow

    def ask(self) -> Proposal:
        """Return the next rung of a trial, or the first one of a new trial.

        Raises:
            ValueError: the other proposer chooses epochs or rungs itself.
        """
        number = self._rule.next()
        if number is None:
            try:
                return self._new()
            except Finished:
                if self._running:
                    raise Wait from None  # it may promote another one
                number = self._rule.last_chance()
                if number is None:
                    raise
        candidate = self._candidates[number]
        parent = self._key(candidate, candidate.rung)
        self._promote(candidate)
        rung = candidate.rung + 1
        return Proposal(
            self._key(candidate, rung),
            candidate.point,
            epochs=self._amounts[rung],
            parent=parent,
            rung=rung,
        )

    def tell(self, key: str, outcome: Outcome) -> None:
        """Note how a trial ended at its rung."""
        if self._note_end(key, outcome):
            self._inner.tell(_parts(key)[0], outcome)

    def learn(self, key: str, point: Point, outcome: Outcome) -> None:
        """Pass a trial on that had no rungs."""
        self._inner.learn(key, point, outcome)

    def snapshot(self) -> Any:
        """Return the other proposer's state; everything else follows from the trials."""
        return {"inner": self._inner.snapshot()}

    def restore(self, snapshot: Any) -> None:
        """Resume from a snapshot; `replay` must follow."""
        self._inner.restore(snapshot["inner"])

    def replay(self, trials: Sequence[PastTrial]) -> None:
        """Go through the asks and ends of the study again."""
        self._forget()
        whole: dict[str, PastTrial] = {}  # the other proposer's trials
        events = [(trial.asked, trial, True) for trial in trials]
        events += [(t.told, t, False) for t in trials if t.told is not None]
        for now, trial, asked in sorted(events, key=lambda event: event[0]):
            if not asked:
                key, outcome = _parts(trial.key)[0], trial.outcome or Outcome(None)
                if self._note_end(trial.key, outcome):
                    whole[key] = replace(whole[key], outcome=outcome, told=now)
            elif trial.parent is None:
                key, _ = _parts(trial.key)
                self._note_new(key, trial.point, trial.rung or 0)
                whole[key] = PastTrial(key, trial.point, None, trial.asked, None, memo=trial.memo)
            else:
                self._promote(self._candidates[self._numbers[_parts(trial.key)[0]]])
        ended = [t for t in whole.values() if t.told is not None]
        others = [t for t in whole.values() if t.told is None]
        replay(self._inner, [*sorted(ended, key=lambda t: t.told or 0), *others])

    # ---- its parts ---------------------------------------------------------------------------

    def _forget(self) -> None:
        self._rule = self._make()
        self._candidates: list[_Candidate] = []
        self._numbers: dict[str, int] = {}
        self._running = 0

    def _new(self) -> Proposal:
        found = self._inner.ask()
        if (found.epochs, found.parent, found.rung) != (None, None, None):
            raise ValueError(
                f"pruner={self._pruner!r}: the tuner has rungs of its own (it proposed epochs "
                f"{found.epochs}, rung {found.rung}); leave out pruner, or write another tuner"
            )
        first = self._rule.bracket()
        candidate = self._note_new(found.key, found.point, first)
        return replace(
            found, key=self._key(candidate, first), epochs=self._amounts[first], rung=first
        )

    def _note_new(self, key: str, point: Point, first: int) -> _Candidate:
        candidate = _Candidate(len(self._candidates), key, point, first)
        self._candidates.append(candidate)
        self._numbers[key] = candidate.number
        self._rule.began(candidate)
        self._running += 1
        return candidate

    def _promote(self, candidate: _Candidate) -> None:
        self._rule.promoted(candidate)
        self._running += 1

    def _note_end(self, key: str, outcome: Outcome) -> bool:
        """Note how a trial ended; return whether the other proposer is to be told."""
        name, _ = _parts(key)
        candidate = self._candidates[self._numbers[name]]
        self._running -= 1
        first = not candidate.scores
        out = True
        if outcome.score is not None and math.isfinite(outcome.score):
            candidate.scores.append(self._sign * outcome.score)
            out = self._rule.ended(candidate)
        return first if self._rule.tells_first else out

    @staticmethod
    def _key(candidate: _Candidate, rung: int) -> str:
        return f"{candidate.key}@{rung}"


def _parts(key: str) -> tuple[str, str]:
    """Return the other proposer's key of a trial, and its rung as text."""
    name, _, rung = key.rpartition("@")
    return name, rung
