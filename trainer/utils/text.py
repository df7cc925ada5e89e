"""Text from outside (names of metrics, columns, classes, files; messages of errors) on its way out.

Responsible for what a terminal or a spreadsheet would take for a command: escape sequences, line
breaks that forge lines, letters that turn the reading direction, and formulas. Not for what is
said: that is whoever prints or writes it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")
# C0 and C1 controls, line and paragraph separators, marks and overrides of the reading direction,
# and halves of surrogate pairs, which no file can hold.
_CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_ESCAPES = re.compile(r"\\(?:\\|x([0-9a-f]{2})|u([0-9a-f]{4}))")
# A spreadsheet also takes the wide forms for signs, and some skip spaces before them. An
# apostrophe of the text's own is escaped too, so that every first apostrophe is ours.
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠']|[\t\r\n]")


def printable(text: Any, *, lines: bool = False) -> str:
    r"""The text without colours, and with other control characters as escapes such as \x07.

    Args:
        text: what str() can turn into text.
        lines: whether line breaks and tabs stay, in a text of several lines.

    >>> printable("loss\x1b[31m\x1b]0;title\x07")
    'loss\\x1b]0;title\\x07'
    """
    plain = _COLOURS.sub("", str(text))

    def shown(found: re.Match[str]) -> str:
        return found[0] if lines and found[0] in "\n\t" else _escape(found[0])

    return _CONTROLS.sub(shown, plain)


def to_cell(value: Any) -> Any:
    r"""A value as a cell of a table: text that a spreadsheet neither runs nor misreads.

    Numbers stay what they are. Of text, control characters and backslashes are written as escapes,
    and an apostrophe is put before what begins like a formula; `from_cell` gives the text back.

    >>> to_cell("=1+1"), to_cell("loss"), to_cell(-0.5)
    ("'=1+1", 'loss', -0.5)
    """
    if not isinstance(value, str):
        return value
    # Before escaping: a line break at the beginning counts, too.
    mark = "'" if _FORMULA.match(value) else ""
    return mark + _CONTROLS.sub(lambda found: _escape(found[0]), value.replace("\\", "\\\\"))


def from_cell(text: str) -> str:
    """The text that `to_cell` was given."""

    def meant(found: re.Match[str]) -> str:
        code = found[1] or found[2]
        return "\\" if code is None else chr(int(code, 16))

    return _ESCAPES.sub(meant, text.removeprefix("'"))


def to_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as CSV; `from_csv` reads it.

    Args:
        columns: their names.
        rows: a value a column; None is an empty cell.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in (columns, *rows):
        writer.writerow([to_cell(value) for value in row])
    return text.getvalue()


def from_csv(text: str) -> tuple[list[str], list[list[str]]]:
    """The columns and rows that `to_csv` was given, of which all values are text.

    Raises:
        ValueError: there is no header, or a row is longer or shorter than it.
    """
    cells = [
        [from_cell(cell) for cell in row] for row in csv.reader(io.StringIO(text), strict=True)
    ]
    if not cells:
        raise ValueError("it is empty")
    columns, *rows = cells
    for number, row in enumerate(rows, 2):
        if len(row) != len(columns):
            raise ValueError(f"line {number} has {len(row)} cells, and the header {len(columns)}")
    return columns, rows


def _escape(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
