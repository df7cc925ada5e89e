"""Diagnoses a training run: common causes of failure, each with what to change.

Responsible for the order in which causes are checked, and for the warning at the end of a failed
fit. Not for the checks themselves (`reasons`), for sampling the data (`evidence`), or for
measuring the network on the sample (`examination`).
"""

from __future__ import annotations

import contextlib
import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass

from trainer.doctor import reasons
from trainer.doctor.examination import Examination, Training
from trainer.doctor.reasons import Finding

__all__ = [
    "Diagnosis",
    "Finding",
    "Training",
    "diagnose",
    "failure_expected",
    "warn_of_failure",
]
from trainer.utils.drawings import as_text
from trainer.utils.text import printable

_expected: ContextVar[bool] = ContextVar("failure expected", default=False)


@dataclass(frozen=True)
class Diagnosis:
    """The problems found in a training run, the likeliest cause first; empty if there are none.

    Attributes:
        findings: The problems.
        note: What could not be checked, if anything.
    """

    findings: tuple[Finding, ...] = ()
    note: str = ""

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __getitem__(self, index: int) -> Finding:
        return self.findings[index]

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the text."""
        return as_text(str(self))

    def __str__(self) -> str:
        lines = [f"{i}. {finding}" for i, finding in enumerate(self.findings, 1)]
        lines = lines or ["no problem was found"]
        text = "\n".join([*lines, f"({self.note})"] if self.note else lines)
        return printable(text, lines=True)


def diagnose(training: Training) -> Diagnosis:
    """Diagnose a training: see Trainer.diagnose."""
    network, history = training.network, training.history
    if network.evidence is None:
        last = history.records[-1].get("loss", 0.0) if len(history) else 0.0
        found = [] if math.isfinite(last) else [reasons.not_finite(last)]
        note = "the data are not saved: for a loaded Trainer only the history was checked"
        return Diagnosis(tuple(found), note)
    case = Examination(training, network.evidence)
    found = _certain(case)
    if reasons.failed(case):
        # Comparing learning rates is meaningless as long as something else prevents learning.
        more = [] if found else [reasons.too_short, reasons.rate]
        found += _found(case, more, first=True) + _found(case, [reasons.dying])
    if not reasons.is_good(case) and not found:
        found += _found(case, [reasons.linear, reasons.too_small], first=True)
    found += _found(case, [reasons.leak, reasons.imbalance, reasons.overfitting])
    if not found and case.broken:
        found.append(reasons.not_finite(case.losses[-1]))
    if not found and reasons.went_nowhere(case):
        found.append(reasons.constant(case))
    overlap = network.evidence.overlap
    note = ""
    if overlap is not None and overlap.searched < overlap.rows:
        note = f"validation rows were compared with {overlap.searched} of {overlap.rows} rows"
    return Diagnosis(tuple(found), note)


def _certain(case: Examination) -> list[Finding]:
    """Return the findings that take precedence and need no trial training."""
    found = _found(case, [reasons.mismatch, reasons.inputs, reasons.targets])
    if reasons.failed(case):
        starts = [reasons.alike, reasons.dead_from_start, reasons.vanishing]
        found += _found(case, starts, first=True)
    return found


def _found(
    case: Examination,
    checks: Sequence[Callable[[Examination], Finding | None]],
    *,
    first: bool = False,
) -> list[Finding]:
    """Return the findings of all checks, or of the first that finds something."""
    found = (finding for check in checks if (finding := check(case)) is not None)
    return list(itertools.islice(found, 1 if first else None))


@contextlib.contextmanager
def failure_expected() -> Iterator[None]:
    """Return a context in which `warn_of_failure` does not warn, in this thread alone."""
    token = _expected.set(True)
    try:
        yield
    finally:
        _expected.reset(token)


def warn_of_failure(training: Training) -> None:
    """Warn at the end of a fit that clearly failed.

    A fit failed if its loss is not finite, or if after several epochs the loss no longer improves
    and the predictions are no better than a constant. For a successful fit this only reads the
    history, provided the loss of a constant prediction is known.
    """
    network = training.network
    if network.evidence is None or not len(training.history) or _expected.get():
        return
    case = Examination(training, network.evidence)
    losses = case.losses
    if math.isfinite(losses[-1]):
        improving = losses[-1] < (1 - reasons.SLOW) * losses[(len(losses) - 1) // 2]
        constant = case.constant_loss
        learnt = constant is not None and losses[-1] < (1 - reasons.NOWHERE) * constant
        if len(losses) < reasons.MIN_EPOCHS or improving or learnt:
            return
        if not reasons.went_nowhere(case):
            return
    first = next((printable(f"{f.name}: {f.change}. ") for f in _certain(case)), "")
    warnings.warn(
        f"the training of {training.recipe.owner} went nowhere: {reasons.outcome(case)}. {first}"
        "Call diagnose() for details",
        RuntimeWarning,
        stacklevel=3,
    )
