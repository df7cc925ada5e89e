"""How far a study has come that another process runs."""

from __future__ import annotations

import sqlite3
from pathlib import Path


def ended(study: Path) -> int:
    """How many trials of a study.sqlite have ended; 0 while there is none."""
    try:
        file = sqlite3.connect(f"{study.as_uri()}?mode=ro", uri=True)
    except sqlite3.OperationalError:
        return 0  # not made yet
    try:
        return file.execute("select count(*) from trials where state = 'completed'").fetchone()[0]
    except sqlite3.OperationalError:
        return 0
    finally:
        file.close()
