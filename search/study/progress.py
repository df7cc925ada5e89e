"""How far running trials are: the last epoch of each, for a person who watches.

Responsible for passing it from the worker to the search. A thread looks at the history of the
Trainer, so that the training is the same whether somebody watches or not. Not for showing it
(`reports.display`).
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.utils.files import write_whole

SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True)
class Progress:
    """The state of a running trial.

    Attributes:
        fit: how many of its fits have begun.
        epoch: the last one of this fit that has ended.
        logs: of that epoch.
    """

    fit: int
    epoch: int
    logs: dict[str, float]


def file_of(folder: Path, trial: int) -> Path:
    """Return the file with the progress of a trial."""
    return folder / f"{trial}.json"


def read(folder: Path, trial: int) -> Progress | None:
    """Return the progress of a trial; None if its first epoch has not ended."""
    try:
        return parsed(json.loads(file_of(folder, trial).read_text("utf-8")))
    except (FileNotFoundError, ValueError):  # an incomplete file: there will be a complete one
        return None


def parsed(written: Mapping[str, Any]) -> Progress:
    """Return the progress that `shown` wrote."""
    return Progress(int(written["fit"]), int(written["epoch"]), dict(written["logs"]))


@contextlib.contextmanager
def shown(folder: Path | None, trial: int, fit: int, trainer: Any) -> Iterator[None]:
    """Write the progress of a Trainer's fit while the block runs.

    Args:
        folder: for the files; None: nothing is written.
        trial: its number.
        fit: number of the fit in the trial, from 1.
        trainer: that is fitted in the block.
    """
    if folder is None:
        yield
        return
    over = threading.Event()
    earlier = getattr(trainer, "history_", None)

    def look() -> None:
        known = None
        while not over.wait(SECONDS_BETWEEN_LOOKS):
            history = getattr(trainer, "history_", None)
            records = [] if history is None or history is earlier else list(history.records)
            if not records or records[-1]["epoch"] == known:
                continue
            known = records[-1]["epoch"]
            logs = {n: v for n, v in records[-1].items() if n not in ("epoch", "seconds")}
            written = {"fit": fit, "epoch": known, "logs": logs}
            with contextlib.suppress(OSError):  # nobody sees it then; the training goes on
                write_whole(file_of(folder, trial), json.dumps(written).encode())

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
