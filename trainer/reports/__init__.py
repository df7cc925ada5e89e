"""Reports: one HTML page for a run, which needs nothing besides itself.

    reports.write(trainer, dataset, "report.html")

Responsible for putting the page of a run together. Not for what is examined (`examining`,
`profile`), for how it is drawn (`utils.drawings`, page.html), or for what all pages share (`pages`,
which is public: other packages make their pages with it).

The page has no script, and its Content-Security-Policy forbids all: it makes no request, and a
name such as `<script>` shows as text. All text is escaped by the template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.reports import examining, pages, profile
from trainer.utils.notebooks import displays_dropped

if TYPE_CHECKING:
    from trainer.base import Trainer
    from trainer.datasets import Dataset

NAME = "report.html"


def write(
    trainer: Trainer,
    dataset: Dataset,
    path: str | Path,
    *,
    title: str | None = None,
    command: str = "",
    notes: Sequence[str] = (),
) -> Path:
    """Write the report of a fitted Trainer.

    Args:
        trainer: A fitted Classifier or Regressor with one output.
        dataset: The data: the test rows are examined, and compared with the training rows.
        path: The file to write, which is replaced if it exists.
        title: The heading. None: the name of the data.
        command: The command that trains it again, if there is one.
        notes: Warnings about the data, which are shown before those that the page has of itself.

    Returns:
        The path.

    Raises:
        sklearn.exceptions.NotFittedError: It is not fitted.
        OSError: The file cannot be written.
    """
    html = page(trainer, dataset, title=title or dataset.name, command=command, notes=notes)
    return pages.write(path, html)


def page(
    trainer: Trainer,
    dataset: Dataset,
    *,
    title: str,
    command: str = "",
    notes: Sequence[str] = (),
) -> str:
    """Return the page of a fitted Trainer as HTML; see `write`."""
    from trainer.runs.environment import environment

    examined = examining.examine(trainer, dataset)
    found: Mapping[str, Any] = {
        "title": title,
        "command": command,
        "dataset": dataset,
        "summary": trainer.summary().split("\nModel:")[0],
        "layers": _layers(trainer),
        "fields": _fields(trainer),
        "environment": pages.environment(environment()),
        "columns": profile.columns(dataset),
        "warnings": [*notes, *profile.warnings(dataset)],
        "seed": trainer.seed_,
        **examined,
    }
    return pages.render("page.html", found, package="trainer.reports")


def _layers(trainer: Trainer) -> str:
    lines: list[str] = []
    with displays_dropped():
        trainer.network_.core.summary(print_fn=lambda text, **_: lines.append(text), line_length=80)
    return "\n".join(lines)


def _fields(trainer: Trainer) -> list[tuple[str, str, bool]]:
    """Return the name and value of each field, and whether it is not the default.

    Paths are left out: they say where the run is on this machine, which is nobody else's business.
    """
    from trainer.fields import path_fields
    from trainer.runs.directory import described

    own = type(trainer).__dataclass_fields__
    found = []
    for name, value in trainer.get_params(deep=False).items():
        if name in path_fields(type(trainer)):
            continue
        changed = name not in own or described(own[name].default) != described(value)
        found.append((name, repr(described(value)), changed))
    return found


__all__ = ["NAME", "page", "write"]
