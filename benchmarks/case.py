"""What a benchmark consists of: its sides, and which of them are compared.

Responsible for the description only. Not for running sides (`running`), nor for what they do
(`cases`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmarks.rounds import Rounds

ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}


@dataclass(frozen=True)
class Side:
    """One way of doing the work.

    Attributes:
        name: as the table shows it.
        program: does the work, a round whenever it is asked to.
        environment: variables of the process that it runs in.
        needs: a package without which it cannot run, or "".
    """

    name: str
    program: Callable[[Rounds], None]
    environment: Mapping[str, str] = field(default_factory=dict)
    needs: str = ""


@dataclass(frozen=True)
class Target:
    """What a comparison is to show; one of the bounds is given.

    Attributes:
        ratio: the least that the peer's figure over ours may be.
        within: how far that ratio may be from 1, as a share.
        value: the most that our figure may be.
        excess: the most by which our figure may be above the peer's.
    """

    ratio: float | None = None
    within: float | None = None
    value: float | None = None
    excess: float | None = None

    def __str__(self) -> str:
        if self.ratio is not None:
            return f"at least {self.ratio:.3g}×"
        if self.within is not None:
            return f"1 ± {self.within:.3g}"
        if self.value is not None:
            return f"at most {self.value:.3g}"
        return f"at most {self.excess:,.0f} above"

    def met(self, ours: float, peer: float | None, ratio: float | None) -> bool:
        """Whether medians meet it."""
        if self.value is not None:
            return ours <= self.value
        if peer is None or ratio is None:
            return False
        if self.excess is not None:
            return ours <= peer + self.excess
        if self.within is not None:
            return abs(ratio - 1) <= self.within
        return self.ratio is not None and ratio >= self.ratio


@dataclass(frozen=True)
class Comparison:
    """Two sides to compare, by name; or one of ours that only has a bound."""

    ours: str
    peer: str | None = None
    target: Target | None = None


@dataclass(frozen=True)
class Benchmark:
    """One quantity, measured on every side.

    Attributes:
        name: tells it from the others of its file.
        title: what is done, with sizes.
        unit: of the figures; less is better.
        sides: in the order of their turns.
        comparisons: the lines of the table.
        fresh: whether each round has a process of its own; its first round counts then.
        most_rounds: rounds beyond which nothing is learnt.
    """

    name: str
    title: str
    unit: str
    sides: tuple[Side, ...]
    comparisons: tuple[Comparison, ...]
    fresh: bool = False
    most_rounds: int = 100
