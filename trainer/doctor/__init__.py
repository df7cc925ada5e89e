"""What is wrong with a training, in words: the usual reasons, each with what to change.

Responsible for the order in which reasons are looked for, and for the warning at the end of a fit
that went nowhere. Not for the reasons themselves (`reasons`), for keeping a few rows of the data
(`evidence`), nor for measuring what the network does on them (`examination`).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from trainer.doctor import reasons
from trainer.doctor.examination import Examination, Training
from trainer.doctor.reasons import Finding

__all__ = ["Diagnosis", "Finding", "Training", "diagnose", "warn_of_failure"]
from trainer.text import printable


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a training, the likeliest cause first; empty if nothing is.

    Attributes:
        findings: what was found.
        note: what could not be looked at, if anything.
    """

    findings: tuple[Finding, ...] = ()
    note: str = ""

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __getitem__(self, index: int) -> Finding:
        return self.findings[index]

    def __str__(self) -> str:
        lines = [f"{i}. {finding}" for i, finding in enumerate(self.findings, 1)]
        lines = lines or ["nothing wrong was found"]
        text = "\n".join([*lines, f"({self.note})"] if self.note else lines)
        return printable(text, lines=True)


def diagnose(training: Training) -> Diagnosis:
    """What is wrong with a training: see Trainer.diagnose."""
    network, history = training.network, training.history
    if network.evidence is None:
        last = history.records[-1].get("loss", 0.0) if len(history) else 0.0
        found = [] if math.isfinite(last) else [reasons.not_finite(last)]
        note = "data are not saved: of a loaded Trainer only the history was looked at"
        return Diagnosis(tuple(found), note)
    case = Examination(training, network.evidence)
    found = _certain(case)
    if reasons.failed(case):
        # a trial of rates tells nothing while something else is in the way
        found += _found(case, [reasons.dying] if found else [reasons.rate, reasons.dying])
    found += _found(case, [reasons.leak, reasons.imbalance, reasons.overfitting])
    if not found and case.broken:
        found.append(reasons.not_finite(case.losses[-1]))
    if not found and reasons.went_nowhere(case):
        found.append(reasons.constant(case))
    overlap = network.evidence.overlap
    note = ""
    if overlap is not None and overlap.searched < overlap.rows:
        note = f"validation rows were looked for among {overlap.searched} of {overlap.rows} rows"
    return Diagnosis(tuple(found), note)


def _certain(case: Examination) -> list[Finding]:
    """The reasons that come before all others, and are found without a trial."""
    found = _found(case, [reasons.mismatch, reasons.inputs, reasons.targets])
    if reasons.failed(case):
        found += _found(case, [reasons.dead_from_start, reasons.vanishing])
    return found


def _found(
    case: Examination, looked_for: list[Callable[[Examination], Finding | None]]
) -> list[Finding]:
    return [finding for look in looked_for if (finding := look(case)) is not None]


def warn_of_failure(training: Training) -> None:
    """Warn at the end of a fit that clearly failed: its loss is not finite, or after some epochs,
    and without getting better, its predictions are no better than a constant.

    It costs a training that did not fail nothing but a look at its history, wherever the loss of
    a constant prediction is known.
    """
    network = training.network
    if network.evidence is None or not len(training.history):
        return
    case = Examination(training, network.evidence)
    losses = case.losses
    if math.isfinite(losses[-1]):
        getting_better = losses[-1] < (1 - reasons.SLOW) * losses[(len(losses) - 1) // 2]
        constant = case.constant_loss
        learnt = constant is not None and losses[-1] < (1 - reasons.NOWHERE) * constant
        if len(losses) < reasons.BEGUN or getting_better or learnt:
            return
        if not reasons.went_nowhere(case):
            return
    first = next((f"{f.name}: {f.change}. " for f in _certain(case)), "")
    warnings.warn(
        f"the training of {training.recipe.owner} went nowhere: {reasons.how(case)}. {first}"
        "For more call diagnose()",
        RuntimeWarning,
        stacklevel=3,
    )
