"""The axes of a study's plots: the position of values, and their labels.

Responsible for scales, marks and labels. Not for what is drawn on the axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search.space import Space, from_unit, listed, shown, text_of, to_unit, values
from trainer.hyperparameters import Bool, Choice, Domain, Drawn, Float, Int
from trainer.utils.figures import WRONG, as_label, distinct_colours, width_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Mark = tuple[float, Any, str]  # on an axis: position in 0..1, value and text
BESIDE: dict[str, Any] = {
    "loc": "upper left",
    "bbox_to_anchor": (1, 1),
    "fontsize": "small",
    "frameon": False,
}


def spread(table: pd.DataFrame, space: Space) -> NDArray[np.float64]:
    """Return how far each trial's line is from its value on each parameter's axis."""
    counts = [len(values(d) or ()) or math.inf for d in space.domains.values()]
    shares = np.array([0.3 / count if 1 < count <= 10 else 0.0 for count in counts])
    return np.outer(golden(table), shares)


def golden(table: pd.DataFrame) -> NDArray[np.float64]:
    """Return a number in -0.5..0.5 per trial; by the golden ratio, neighbours are far apart."""
    return np.asarray((table["trial"] * 0.618034) % 1 - 0.5, dtype=np.float64)


def scale_of(scores: NDArray[np.float64], maximize: bool) -> dict[str, Any]:
    """Return arguments of set_yscale: logarithmic if bad scores would hide the others."""
    bad = -scores if maximize else scores
    if len(bad) and bad.min() > 0 and bad.max() >= 1000 * bad.min():
        if not maximize:
            return {"value": "log"}
        near = 10.0 ** math.floor(math.log10(bad.min()))
        return {"value": "symlog", "linthresh": near, "linscale": 1.0}
    middle = float(np.median(np.abs(bad))) if len(bad) else 0.0
    if middle > 0 and bad.max() >= 1000 * middle:
        near = 10.0 ** math.ceil(math.log10(middle))
        # half of the axis for the majority
        return {"value": "symlog", "linthresh": near, "linscale": math.log10(bad.max() / near)}
    return {"value": "linear"}


def goodness(scores: NDArray[np.float64], maximize: bool) -> tuple[NDArray[np.float64], list[Mark]]:
    """Return heights of scores in 0..1, the best on top, and the marks of their axis."""
    from matplotlib import colors, ticker

    scale = scale_of(scores, maximize)
    low, high = float(scores.min()), float(scores.max())
    ticks = [low, high]
    norm: Any
    if low == high:
        norm = colors.Normalize(low - (abs(low) or 1), high + (abs(high) or 1))
    elif scale["value"] == "log":
        norm = colors.LogNorm(low, high)
        ticks += [*ticker.LogLocator().tick_values(low, high)]
    elif scale["value"] == "symlog":
        near = scale["linthresh"]
        norm = colors.SymLogNorm(near, scale["linscale"], low, high, base=10)
        ticks += [*ticker.SymmetricalLogLocator(base=10, linthresh=near).tick_values(low, high)]
        inner = ticker.MaxNLocator(4).tick_values(max(low, -near), max(min(high, near), -near))
        ticks += [v for v in inner if abs(v) <= near]
    else:
        norm = colors.Normalize(low, high)
        ticks += [*ticker.MaxNLocator(6).tick_values(low, high)]

    def height(score: Any) -> Any:
        return norm(score) if maximize else 1 - norm(score)

    inside = sorted({float(v) for v in ticks if low <= v <= high})
    marks = [(float(height(v)), v, f"{v:.4g}") for v in inside]
    return np.asarray(height(scores), dtype=np.float64), _apart(marks, 0.05)


def marks(domain: Domain, apart: float) -> list[Mark]:
    """Return the labels of a parameter's axis, its ends included."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    found = values(domain)
    if isinstance(domain, (Choice, Bool)):
        assert found is not None
        texts = [shown(value) for value in found]
        if len(set(texts)) < len(texts):  # 1 and "1"
            texts = [text_of(value) for value in found]
        if len(set(texts)) < len(texts):  # two functions without a name
            texts = [f"{i}: {text}" for i, text in enumerate(texts)]
        texts = [as_label(text, 18) for text in texts]
        return _apart(
            [(to_unit(domain, v), v, text) for v, text in zip(found, texts, strict=True)], apart
        )
    assert isinstance(domain, (Int, Float, Drawn))
    ticks: Sequence[Any]
    if isinstance(domain, Drawn):
        ticks = [from_unit(domain, u) for u in (0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999)]
        ticks = list(dict.fromkeys(ticks))
    elif isinstance(domain, Int) and domain.log and domain.step is None:
        ticks = listed(domain, 6)
    elif found is not None:
        count = min(len(found), 6)
        ticks = [found[i] for i in np.linspace(0, len(found) - 1, count).round().astype(int)]
    else:
        locator = LogLocator() if domain.log else MaxNLocator(5)
        around = locator.tick_values(domain.low, domain.high)
        inner = [float(v) for v in around if domain.low < v < domain.high]
        ticks = [domain.low, *inner, domain.high]
    texts = [str(v) if isinstance(v, int) else f"{v:.4g}" for v in ticks]
    return _apart([(to_unit(domain, v), v, t) for v, t in zip(ticks, texts, strict=True)], apart)


def _apart(marks: list[Mark], least: float) -> list[Mark]:
    """Drop marks that are too close to others; keep the two ends."""
    kept: list[Mark] = []
    for mark in marks[:-1]:
        far = not kept or abs(mark[0] - kept[-1][0]) >= least
        if far and (not kept or abs(mark[0] - marks[-1][0]) >= least):
            kept.append(mark)
    return [*kept, *marks[-1:]]


def place(domain: Domain, value: Any) -> float:
    """Return the position of a value on its parameter's axis: itself, or its index as a choice."""
    if isinstance(domain, (Choice, Bool)):
        count = len(values(domain) or ())
        return round(to_unit(domain, value) * count - 0.5)
    return float(value)


def parameter_axis(ax: Axes, domain: Domain) -> None:
    """Scale and label the x axis for the values of a parameter."""
    found = marks(domain, 0.12)
    texts = [text for _, _, text in found]
    places = [place(domain, value) for _, value, _ in found]
    if isinstance(domain, (Choice, Bool)):
        ax.set_xticks(places, labels=texts, fontsize=8)
        ax.set_xlim(-0.6, len(values(domain) or ()) - 0.4)
        if sum(map(width_of, texts)) > 30:
            slant(ax)
        return
    if isinstance(domain, Drawn):
        ax.set_xticks(places, labels=texts, fontsize=8)
        return
    assert isinstance(domain, (Int, Float))
    if domain.log:
        ax.set_xscale("log")
    ax.set_xticks(places, labels=texts, fontsize=8)
    ax.minorticks_off()
    if domain.log:
        pad = (domain.high / domain.low) ** 0.05
        ends = domain.low / pad, domain.high * pad
    else:
        pad = 0.05 * (domain.high - domain.low)
        ends = domain.low - pad, domain.high + pad
    if ends[0] < ends[1]:
        ax.set_xlim(ends)


def slant(ax: Axes) -> None:
    """Turn the labels of the x axis, so that long ones do not overlap."""
    for label in ax.get_xticklabels():
        label.set(rotation=25, ha="right", rotation_mode="anchor")


def score_axis(ax: Axes, scores: Any, maximize: bool, objective: str) -> None:
    """Scale and label the y axis for scores, so that differences between good ones show."""
    found = np.asarray(scores, dtype=np.float64)
    if len(found):
        scale = scale_of(found, maximize)
        ax.set_yscale(**scale)
        ax.margins(y=0.1)  # for the crosses of failed trials
        if scale["value"] == "symlog":  # its default ticks leave out the part with most scores
            marks = goodness(found, maximize)[1]
            ax.set_yticks([mark[1] for mark in marks], labels=[mark[2] for mark in marks])
        ax.grid(True, alpha=0.3)
    else:
        ax.set_yticks([])
    ax.set_ylabel(f"{as_label(objective, 40)} ({'higher' if maximize else 'lower'} is better)")


def mark_failed(ax: Axes, x: Any, maximize: bool) -> None:
    """Draw failed trials at x as crosses at the worse edge."""
    if len(x):
        edge: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "clip_on": False}
        y = np.full(len(x), 0.02 if maximize else 0.98)
        ax.plot(x, y, "X", color=WRONG, ms=6, label=f"failed ({len(x):,})", **edge)


def whole_numbers(ax: Axes) -> None:
    """Put ticks of the x axis at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))


def strength(levels: Sequence[int]) -> list[Any]:
    """Return the colours of rungs: grey for trials that were not promoted."""
    coloured = distinct_colours(sum(level > 0 for level in levels))
    return (["0.6"] if 0 in levels else []) + coloured
