"""Tables of studies for the tests of their pictures, and what is read back from Axes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from search.space import Space
from trainer import Bool, Choice, Float, Int

UP: dict[str, Any] = {"maximize": True, "objective": "val_accuracy"}
DOWN: dict[str, Any] = {"maximize": False, "objective": "val_loss"}
SPACE = Space(
    {
        "rate": Float(1e-4, 1e-1, log=True),
        "units": Int(1, 4),
        "kind": Choice(1, "a", None, True),
        "momentum": Float(0.0, 1.0, when={"kind": ("a",)}),
        "callbacks__early_stopping__patience": Int(8, 512, log=True),
        "flag": Bool(),
    }
)


def written(ax: Axes) -> Axes:
    """The Axes, after its figure was laid out and written as a PNG file."""
    ax.figure.savefig(io.BytesIO(), format="png")
    return ax


def table(scores: list[float], **columns: Any) -> pd.DataFrame:
    states = ["failed" if np.isnan(score) else "completed" for score in scores]
    base = {"trial": range(len(scores)), "state": states, "score": scores}
    return pd.DataFrame(base | columns)


def drawn(n: int, space: Space = SPACE, failed: float = 0.0) -> pd.DataFrame:
    """A study of n random trials, as a search would put it into a table."""
    rng = np.random.default_rng(0)
    rows = [space.draw(rng) for _ in range(n)]
    scores = np.where(rng.random(n) < failed, np.nan, rng.random(n)).tolist()
    points = pd.DataFrame(rows, columns=list(space.domains))
    return table(scores).join(points)


def line(ax: Axes, label: str) -> Any:
    return next(found for found in ax.lines if str(found.get_label()).startswith(label))


def legend(ax: Axes) -> list[str]:
    found = ax.get_legend()
    return [] if found is None else [text.get_text() for text in found.get_texts()]


def lines_of(ax: Axes, position: int = 1) -> list[np.ndarray]:
    found = [c for c in ax.collections if isinstance(c, LineCollection)]
    return [np.asarray(path.vertices) for path in found[position].get_paths()]


def curves(trials: int, folds: int = 2, epochs: int = 3) -> pd.DataFrame:
    """Of which the mean over folds is trial + 1 / epoch."""
    rows = [
        {"trial": t, "fold": f, "execution": 0, "epoch": e, "loss": t + 1 / e + f - (folds - 1) / 2}
        for t in range(trials)
        for f in range(folds)
        for e in range(1, epochs + 1)
    ]
    return pd.DataFrame(rows)


def tick_texts(ax: Axes) -> list[str]:
    return [label.get_text() for label in ax.get_xticklabels()]
