"""`trainer doctor`: whether the installation works."""

from __future__ import annotations

from typing import Any

from trainer.cli.command import Command
from trainer.cli.signatures import Argument


def _doctor(given: dict[str, Any]) -> int:
    from trainer import installation

    report = installation.examine(hosts=not given["offline"])
    print(report.as_json() if given["json"] else report)
    return 1 if report.broken else 0


DOCTOR = Command(
    name="doctor",
    summary="Check the installation, and say how to fix it",
    example="trainer doctor --offline",
    run=_doctor,
    arguments=lambda words: [
        Argument("json", bool, "print JSON", False, flag=True),
        Argument("offline", bool, "do not contact the hosts of data sets", False, flag=True),
    ],
    description=(
        "It works where TensorFlow cannot be imported, too. The exit code is 1 if something is "
        "broken."
    ),
)
