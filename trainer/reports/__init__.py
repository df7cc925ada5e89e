"""Reports: one HTML page for a run, which needs nothing besides itself.

    reports.write(trainer, dataset, "report.html")

Responsible for putting the page together and writing it. Not for what is examined (`examining`,
`profile`), or for how it is drawn (`utils.drawings`, page.html).

The page has no script, and its Content-Security-Policy forbids all: it makes no request, and a
name such as `<script>` shows as text. All text is escaped by the template.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.reports import examining, profile
from trainer.utils.files import write_whole
from trainer.utils.notebooks import displays_dropped
from trainer.utils.text import printable

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
) -> Path:
    """Write the report of a fitted Trainer.

    Args:
        trainer: A fitted Classifier or Regressor with one output.
        dataset: The data: the test rows are examined, and compared with the training rows.
        path: The file to write, which is replaced if it exists.
        title: The heading. None: the name of the data.
        command: The command that trains it again, if there is one.

    Returns:
        The path.

    Raises:
        sklearn.exceptions.NotFittedError: It is not fitted.
        OSError: The file cannot be written.
    """
    html = page(trainer, dataset, title=title or dataset.name, command=command)
    path = Path(path)
    write_whole(path, html.encode("utf-8"))
    return path


def page(trainer: Trainer, dataset: Dataset, *, title: str, command: str = "") -> str:
    """Return the page of a fitted Trainer as HTML; see `write`."""
    import jinja2

    examined = examining.examine(trainer, dataset)
    found: Mapping[str, Any] = {
        "title": title,
        "command": command,
        "dataset": dataset,
        "summary": trainer.summary().split("\nModel:")[0],
        "layers": _layers(trainer),
        "fields": _fields(trainer),
        "environment": _environment(),
        "columns": profile.columns(dataset),
        "warnings": profile.warnings(dataset),
        "seed": trainer.seed_,
        **examined,
    }
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("trainer.reports", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["plain"] = lambda value: printable(value, lines=True)
    return templates.get_template("page.html").render(found)


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


def _environment() -> list[tuple[str, str]]:
    from trainer.runs.directory import environment

    found = environment()
    rows = [("python", found["python"]), *found["packages"].items()]
    rows += [("system", found["system"]), ("cores", str(found["cores"]))]
    return [*rows, ("memory", f"{found['memory_bytes'] / 2**30:.1f} GiB")]


__all__ = ["NAME", "page", "write"]
