"""A study without trials of its own, for what shows one."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search.study.storage import Trial


@dataclass
class FakeStudy:
    """A study whose trials begin and end when a test says so, at the times that it says."""

    shown: Any
    directory: Path = Path("studies/a")
    objective: str = "f1[red]"
    maximize: bool = True
    workers: int = 2
    max_trials: int | None = 10
    max_seconds: float | None = None
    max_epochs: int | None = None
    finished: bool = False
    trials: list[Trial] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def best(self) -> Trial | None:
        completed = [t for t in self.trials if t.state == "completed"]
        sign = 1 if self.maximize else -1
        return max(completed, key=lambda t: sign * (t.score or 0.0), default=None)

    def stop(self) -> None:
        raise AssertionError("a display does not stop a search")

    def begin(self, **more: Any) -> Trial:
        """A trial begins: now, unless `ago` says how many seconds ago."""
        number = len(self.trials)
        params = more.pop("params", {"units": number, "rate": 0.001})
        started = time.time() - more.pop("ago", 0.0)
        trial = Trial(number, str(number), params, 0, started=started, attempts=1)
        vars(trial).update(more)
        self.trials.append(trial)
        self.shown.on_trial_begin(self, trial)
        return trial

    def end(self, trial: Trial, score: float | None, took: float = 3.2, error: str = "") -> None:
        """It ends, after so many seconds."""
        trial.state = "failed" if score is None else "completed"
        trial.score, trial.error = score, error or None
        trial.ended = (trial.started or 0.0) + took
        self.shown.on_trial_end(self, trial)

    def run(self, *scores: float | None, **more: Any) -> None:
        """Trials, one after another."""
        for score in scores:
            self.end(self.begin(), score, **more)
