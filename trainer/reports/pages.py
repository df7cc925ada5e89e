"""The skeleton of a page: its style, its policy, and how a template becomes HTML.

Responsible for pages that are one file, make no request, and run no code but their own. Not for
what is on them: a package with pages of its own has a template that extends "base.html", which
says what that offers.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.utils.files import write_whole
from trainer.utils.text import printable


def render(template: str, values: Mapping[str, Any], *, package: str, script: str = "") -> str:
    """Return a page as HTML.

    All text is escaped. The page's Content-Security-Policy allows no request; of scripts it allows
    the given one alone, by its hash, and none without one.

    Args:
        template: The name of a file in the package.
        values: What the template names. One that it names and that is missing is an error.
        package: The package with the template, such as "trainer.reports".
        script: JavaScript for the end of the page.

    Raises:
        ValueError: The script contains what would end its element.
    """
    import jinja2

    if "</script" in script.lower() or "<!--" in script:
        raise ValueError("script: must contain neither '</script' nor '<!--', which end it early")
    script = script.strip().replace("\r\n", "\n")  # as a browser reads it, for the hash
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    templates = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(name, ".") for name in dict.fromkeys((package, __package__))]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["plain"] = lambda value: printable(value, lines=True)
    own = {"script": script, "allowed": f"'sha256-{digest}'" if script else ""}
    return templates.get_template(template).render({**values, **own})


def write(path: str | Path, html: str) -> Path:
    """Write a page, and return its path; an existing file is replaced by a complete one.

    Raises:
        OSError: The file cannot be written.
    """
    path = Path(path)
    write_whole(path, html.encode("utf-8"))
    return path


def environment(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the rows of a table about a machine and its packages.

    Args:
        found: As `trainer.runs.environment.environment` returns it.
    """
    rows = [("python", str(found["python"])), *found["packages"].items()]
    rows += [("system", str(found["system"])), ("cores", str(found["cores"]))]
    return [*rows, ("memory", f"{found['memory_bytes'] / 2**30:.1f} GiB")]


__all__ = ["environment", "render", "write"]
