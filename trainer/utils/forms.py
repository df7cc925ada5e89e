"""JSON from untrusted files: parsed within limits, and checked before use.

Responsible for limits on size and depth, and for small checks that name the wrong entry. Not for
the meaning of entries: the modules that write them know it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trainer.utils.files import read_whole

MOST_DEEP = 64  # levels of nesting; our own files have about ten
_FREE_VALUES = 500_000  # values allowed in any file, plus one per 16 bytes of the file


class Malformed(ValueError):
    """Content that was not written by this package; the message names the entry."""


def parse(text: bytes, whole: int | None = None) -> Any:
    """Parse a JSON text.

    Args:
        text: The text in UTF-8.
        whole: The size in bytes of the file that contains the text; None for that of the text.
            It limits the number of values: a value takes up to 80 bytes of memory, but as few as
            2 bytes of text.

    Raises:
        Malformed: It is not JSON, or is larger or deeper than anything that we write.
    """
    most = _FREE_VALUES + (len(text) if whole is None else whole) // 16
    if sum(text.count(sign) for sign in (b",", b"[", b"{")) > most:
        raise Malformed(f"holds more than {most:,} values, which is out of proportion to the file")
    try:
        value = json.loads(text.decode("utf-8"))
    except RecursionError:
        raise Malformed(f"is nested deeper than {MOST_DEEP} levels") from None
    except ValueError as error:
        raise Malformed(f"is not JSON ({error})") from error
    _check_tree(value)
    return value


def read(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        OSError: The file cannot be read.
        Malformed: As for `parse`.
    """
    return parse(read_whole(path))


def _check_tree(value: Any) -> None:
    level = [value]
    for _ in range(MOST_DEEP):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item
                below += item.values()
            elif isinstance(item, list):
                below += item
            elif isinstance(item, str) and not item.isascii():
                _check_text(item)
        if not below:
            return
        level = below
    raise Malformed(f"is nested deeper than {MOST_DEEP} levels")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Malformed(f"holds {ascii(text[:40])}, which is not valid text") from None


# ---- checks of one entry ------------------------------------------------------------------------


def shown(value: Any) -> str:
    """Return a short text for a value in an error."""
    if isinstance(value, dict):
        value = dict(list(value.items())[:3])
    elif isinstance(value, list):
        value = value[:3]
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def wrong(entry: str, value: Any, must: str) -> Malformed:
    """Return the error for an entry with an invalid value."""
    return Malformed(f"{entry} is {shown(value)}; it must be {must}")


def mapping(entry: str, value: Any, keys: Iterable[str] = ()) -> dict[str, Any]:
    """Check that a value is a dict with at least these keys, and return it."""
    if not isinstance(value, dict):
        raise wrong(entry, value, "a dict")
    for key in keys:
        if key not in value:
            raise Malformed(f"{entry} lacks {key!r}")
    return value


def items(entry: str, value: Any, length: int | None = None) -> list[Any]:
    """Check that a value is a list, of this length if given, and return it."""
    if not isinstance(value, list):
        raise wrong(entry, value, "a list")
    if length is not None and len(value) != length:
        raise wrong(entry, value, f"a list of {length}, not {len(value)}")
    return value


def text(entry: str, value: Any, known: Iterable[str] | None = None) -> str:
    """Check that a value is text, one of `known` if given, and return it."""
    if not isinstance(value, str):
        raise wrong(entry, value, "text")
    if known is not None and value not in known:
        raise wrong(entry, value, f"one of {', '.join(map(repr, known))}")
    return value


def whole(entry: str, value: Any, low: int = 0, high: int = 2**63 - 1) -> int:
    """Check that a value is a whole number within these limits, and return it."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise wrong(entry, value, f"a whole number from {low} to {high}")
    return value


def number(entry: str, value: Any, *, above: float = -math.inf) -> float:
    """Check that a value is a finite number, and return it as a float."""
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    # Python's integers are unlimited and may be too large for a float.
    if not real or not -1e308 <= value <= 1e308 or value <= above:
        limit = "" if above == -math.inf else f" above {above:g}"
        raise wrong(entry, value, f"a finite number{limit}")
    return float(value)


def flag(entry: str, value: Any) -> bool:
    """Check that a value is True or False, and return it."""
    if not isinstance(value, bool):
        raise wrong(entry, value, "true or false")
    return value


def no_others(entry: str, value: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Refuse keys that we do not write."""
    for key in value:
        if key not in keys:
            raise Malformed(f"{entry} has {shown(key)}, which we do not write")
