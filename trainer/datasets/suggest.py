"""What a user may have meant by a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(written: str, existing: Iterable[str]) -> str:
    """`" (did you mean 'iris'?)"`, or nothing where no existing name is near."""
    by_plain_name = {_plain(name): name for name in existing}
    near = get_close_matches(_plain(written), by_plain_name, n=3)
    names = " or ".join(repr(by_plain_name[name]) for name in near)
    return f" (did you mean {names}?)" if names else ""


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")
