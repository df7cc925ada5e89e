"""Makes text from outside (names of metrics, columns, classes, files; error messages) safe to show.

Responsible for whatever a terminal or a spreadsheet might interpret: escape sequences, line breaks
that forge lines, characters that change the reading direction, and formulas. Not for the wording.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")
# C0 and C1 controls, line and paragraph separators, marks and overrides of the reading direction,
# and lone surrogates, which UTF-8 cannot encode.
_CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_ESCAPES = re.compile(r"\\(?:\\|x([0-9a-f]{2})|u([0-9a-f]{4}))")
# Spreadsheets also accept full-width signs, and some skip spaces before them. A leading apostrophe
# in the text is escaped too, so that the first apostrophe of a cell is always ours.
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠']|[\t\r\n]")


def printable(text: Any, *, lines: bool = False) -> str:
    r"""Return text without colours, and with other control characters as escapes such as \x07.

    Args:
        text: The text, or a value to convert with str().
        lines: Whether to keep line breaks and tabs.

    >>> printable("loss\x1b[31m\x1b]0;title\x07")
    'loss\\x1b]0;title\\x07'
    """
    plain = _COLOURS.sub("", str(text))

    def shown(found: re.Match[str]) -> str:
        return found[0] if lines and found[0] in "\n\t" else _escape(found[0])

    return _CONTROLS.sub(shown, plain)


def to_cell(value: Any) -> Any:
    r"""Convert a value to a table cell that a spreadsheet neither executes nor misreads.

    Numbers are unchanged. In text, control characters and backslashes become escapes, and an
    apostrophe precedes what looks like a formula; `from_cell` returns the original text.

    >>> to_cell("=1+1"), to_cell("loss"), to_cell(-0.5)
    ("'=1+1", 'loss', -0.5)
    """
    if not isinstance(value, str):
        return value
    # Check before escaping, because a leading line break counts too.
    mark = "'" if _FORMULA.match(value) else ""
    return mark + _CONTROLS.sub(lambda found: _escape(found[0]), value.replace("\\", "\\\\"))


def from_cell(text: str) -> str:
    """Return the original text of a cell from `to_cell`."""

    def meant(found: re.Match[str]) -> str:
        code = found[1] or found[2]
        return "\\" if code is None else chr(int(code, 16))

    return _ESCAPES.sub(meant, text.removeprefix("'"))


def to_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Format a table as CSV; `from_csv` reads it.

    Args:
        columns: The names of the columns.
        rows: One value per column; None is an empty cell.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in (columns, *rows):
        writer.writerow([to_cell(value) for value in row])
    return text.getvalue()


def from_csv(text: str) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows of a CSV from `to_csv`; all values are text.

    Raises:
        ValueError: There is no header, or a row has a different length.
    """
    cells = [
        [from_cell(cell) for cell in row] for row in csv.reader(io.StringIO(text), strict=True)
    ]
    if not cells:
        raise ValueError("it is empty")
    columns, *rows = cells
    for number, row in enumerate(rows, 2):
        if len(row) != len(columns):
            raise ValueError(
                f"line {number} has {len(row)} cells, but the header has {len(columns)}"
            )
    return columns, rows


def _escape(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def message_of(error: BaseException) -> str:
    """Return the text of an error, also of one of the user's own whose text has an error itself."""
    try:
        return str(error)
    except Exception:  # whatever its __str__ raises
        return "<exception str() failed>"  # as tracebacks say it
