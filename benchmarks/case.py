"""The parts of a benchmark: its sides, and which of them are compared.

Responsible for the description only. Not for running sides (`running`), nor for their work
(`cases`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmarks.rounds import Rounds

ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}


@dataclass(frozen=True)
class Side:
    """One way to do the work.

    Attributes:
        name: as shown in the table.
        program: does the work, one round whenever it is asked to.
        environment: environment variables of its process.
        needs: a package that it requires, or "".
    """

    name: str
    program: Callable[[Rounds], None]
    environment: Mapping[str, str] = field(default_factory=dict)
    needs: str = ""


@dataclass(frozen=True)
class Target:
    """The target of a comparison; exactly one of the bounds is set.

    Attributes:
        ratio: minimum of the peer's figure divided by ours.
        within: maximum distance of that ratio from 1.
        value: maximum of our figure.
        excess: maximum by which our figure may exceed the peer's.
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
        """Whether the medians meet the target."""
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
    """Two sides to compare, by name; or only one of ours, which has a bound."""

    ours: str
    peer: str | None = None
    target: Target | None = None


@dataclass(frozen=True)
class Benchmark:
    """One quantity, measured on every side.

    Attributes:
        name: distinguishes it from the others in its file.
        title: what is done, with sizes.
        unit: of the figures; less is better.
        sides: in the order of their turns.
        comparisons: the lines of the table.
        fresh: whether each round has its own process, whose first round then counts.
        most_rounds: maximum number of rounds; more would add no information.
    """

    name: str
    title: str
    unit: str
    sides: tuple[Side, ...]
    comparisons: tuple[Comparison, ...]
    fresh: bool = False
    most_rounds: int = 100
