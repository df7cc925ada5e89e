"""Studies of any size for the tests of their page, made without training anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from search.space import Space
from search.studies import StudyResults
from search.study.reading import Recorded
from search.study.storage import Trial
from trainer import Bool, Choice, Float, Int
from trainer.runs.environment import environment

ODD = "<script>alert(1)</script>"
QUOTED = "\"quoted\" & 'odd'"
CHINESE = "中文列"
SPACE = {
    "learning_rate": Float(1e-4, 1e-1, log=True),
    "batch_size": Choice(8, 16, 32),
    "optimizer": Choice("adam", "sgd", ODD),
    QUOTED: Float(0.0, 1.0),
    CHINESE: Int(1, 40),
    "momentum": Float(0.0, 1.0, when={"optimizer": ("sgd",)}),
    "flag": Bool(),
}
ERRORS = [f"ValueError: the loss is {ODD}", "ResourceExhaustedError: out of memory"]


def study(n: int, epochs: int = 10, space: dict[str, Any] | None = None) -> StudyResults:
    """A study of n trials: most completed, some pruned, every twentieth failed."""
    known = Space(SPACE if space is None else space)
    draw = np.random.default_rng(0)
    trials, rows = [], []
    for i in range(n):
        params = known.draw(draw)
        base = 0.2 + abs(np.log10(params.get("learning_rate", 1e-2)) + 2) / 4
        losses = base + 1 / np.arange(1, epochs + 1) + draw.normal(size=epochs) / 50
        state = "failed" if i % 20 == 7 else "pruned" if i % 5 == 3 else "completed"
        reached = max(1, epochs // 3) if state == "pruned" else epochs
        failed = state == "failed"
        trials.append(
            Trial(
                i,
                str(i),
                params,
                seed=i,
                state=state,
                score=None if failed else float(losses[reached - 1]),
                attempts=1,
                started=1e9 + 3 * i,
                ended=1e9 + 3 * i + 2,
                metrics={} if failed else {"val_mae": float(losses[reached - 1]) / 2},
                error=f"{ERRORS[i // 20 % 2]}\nTraceback (most recent call last):\n ..."
                if failed
                else None,
            )
        )
        if not failed:
            rows += [
                {
                    "trial": i,
                    "fold": 0,
                    "execution": 0,
                    "epoch": e + 1,
                    "val_loss": float(losses[e]),
                }
                for e in range(reached)
            ]
    described = {
        "search": {"class": "TunerSearch", "tuner": "random", "pruner": "asha"},
        "estimator": {"class": "Regressor", "epochs": epochs, "model": "mlp", "callbacks": None},
        "objective": ["val_loss", "min", None],
        "data": {"rows": 100, "columns": [ODD, QUOTED, CHINESE]},
    }
    folds = pd.DataFrame(
        {
            "trial": range(n),
            "fold": 0,
            "execution": 0,
            "score": [t.score for t in trials],
            "fit_seconds": 2.0,
            "score_seconds": 0.0,
        }
    )
    values = {"description": described, "seed": 0, "environment": environment()}
    return StudyResults(
        Recorded(
            Path(),
            values,
            known,
            trials,
            frames={"folds": folds, "epochs": pd.DataFrame(rows)},
        )
    )
