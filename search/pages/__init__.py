"""The page of a study: one HTML file, with its trials to sort, to filter and to brush.

    load_study("studies/first").report("study.html")

Responsible for what is on the page. Not for the geometry of the parallel coordinates (`parallel`),
for the best configuration as text (`best`), for the plots, or for the frame of the page, its style
and its policy (`trainer.reports.pages`).

Without JavaScript the page shows the same, and nothing can be sorted or filtered.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search import plots
from search.pages import best, parallel
from search.reports import results, summary
from search.space import Space, shown
from search.study.storage import ENDED
from trainer.reports import pages
from trainer.utils.drawings import Picture, picture
from trainer.utils.figures import shortened

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

NAME = "report.html"
COLUMNS = 60  # most parameters that the table has
CELLS = 30_000  # most parameters of all its trials together, so that the page stays small
CURVES = 150  # most learning curves in the picture
POINTS = 60  # most points of a curve
CHOICES = 8  # a column of text with at most so many values is filtered by a list of them
_TRIALS_IN_A_GROUP = 12


@dataclass(frozen=True)
class Content:
    """What a page shows of a study.

    Attributes:
        title: The heading.
        trials: The table of its trials, as results_ is.
        epochs: The table of their epochs, as epochs_ is.
        space: Of the study.
        objective: The name of the score.
        maximize: Whether a higher score is better.
        by_rung: Whether trials of higher rungs rank before all of lower ones.
        seed: Of the study.
        description: What the search wrote about itself.
        environment: Where it ran, as `trainer.runs.environment.environment` returns it; None if it
            is not known.
        front: The numbers of the trials that no other is better than in all objectives; empty for
            one objective.
        draw_front: Draws them; None for one objective.
        objectives: The names of several objectives: columns of trials.
        others: Those besides the score, and whether higher is better.
    """

    title: str
    trials: pd.DataFrame
    epochs: pd.DataFrame
    space: Space
    objective: str
    maximize: bool
    by_rung: bool
    seed: int | None = None
    description: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] | None = None
    front: Sequence[int] = ()
    draw_front: Callable[[], Axes] | None = None
    objectives: Sequence[str] = ()
    others: Sequence[tuple[str, bool]] = ()


@dataclass(frozen=True)
class Cell:
    """A cell of the table of trials.

    Attributes:
        text: What is shown.
        value: What it is sorted by if that is not the text: a number.
    """

    text: str
    value: str = ""


@dataclass(frozen=True)
class Column:
    """A column of the table of trials.

    Attributes:
        name: Its heading.
        cells: One for each trial.
        numeric: Whether all values are numbers.
        choices: The values, if it is filtered by a list of them.
    """

    name: str
    cells: list[Cell]
    numeric: bool
    choices: list[str]


def write(content: Content, path: str | Path) -> Path:
    """Write the page of a study, and return its path.

    Raises:
        OSError: the file cannot be written.
    """
    return pages.write(path, page(content))


def page(content: Content) -> str:
    """Return the page of a study as HTML."""
    table = content.trials
    ordered = _best_first(content)
    ranked = results.may_be_best(_ranked(content))
    first = ranked[ranked.score.map(math.isfinite)].head(1)
    columns = _columns(content, ordered)
    aim = "highest" if content.maximize else "lowest"
    found: dict[str, Any] = {
        "title": content.title,
        "goal": f"{aim} {summary.one_line(content.objective)}",
        "facts_": _facts(content, first),
        "best": best.described(content.space, content.description, first),
        "columns": columns,
        "left_out": max(0, len(content.space.domains) - _most_columns(len(table))),
        "rows": [
            (int(trial), cells)
            for trial, *cells in zip(ordered.trial, *(c.cells for c in columns), strict=True)
        ],
        "parallel": parallel.drawing(
            table, content.space, maximize=content.maximize, objective=content.objective
        ),
        "front": [int(number) for number in content.front],
        "objectives": list(content.objectives),
        "failures": _failures(table),
        "configuration": _configuration(content),
        "environment": None
        if content.environment is None
        else pages.environment(content.environment),
        **_pictures(content, first),
    }
    found["sections"] = [
        (id, name)
        for id, name in (
            ("best", "Best configuration"),
            ("course", "Course"),
            ("front", "Pareto front"),
            ("parameters", "Parameters"),
            ("trials", "Trials"),
            ("failures", "Failures"),
            ("configuration", "Configuration"),
        )
        if id not in ("best", "front", "failures") or found[id]
    ]
    script = resources.files(__package__).joinpath("study.js").read_text("utf-8")
    return pages.render("study.html", found, package=__package__, script=script)


def _most_columns(trials: int) -> int:
    """Return how many parameters the table has at most."""
    return min(COLUMNS, max(10, CELLS // max(1, trials)))


def _ranked(content: Content) -> pd.DataFrame:
    return results.ranked(
        content.trials,
        maximize=content.maximize,
        by_rung=content.by_rung,
        others=content.others,
    )


def _best_first(content: Content) -> pd.DataFrame:
    """Return all trials: those with a score from the best to the worst, then the others."""
    ranked = _ranked(content)
    others = content.trials.drop(index=ranked.index)
    return content.trials.loc[[*ranked.index, *others.index]]


def _facts(content: Content, first: pd.DataFrame) -> list[tuple[str, str]]:
    table = content.trials
    counts = table.state.value_counts()
    found = []
    if len(first):
        name = f"best {shortened(summary.one_line(content.objective), 30)}"
        found += [(name, summary.number(float(first.score.iloc[0])))]
        found += [("best trial", str(int(first.trial.iloc[0])))]
    found += [("trials", f"{len(table):,}")]
    found += [(state, f"{counts[state]:,}") for state in summary.STATES if state in counts]
    found += [("time of workers", summary.duration(float(table.seconds.sum())))]
    if content.seed is not None:
        found.append(("seed", str(content.seed)))
    return found


# ---- the table -----------------------------------------------------------------------------------


def _columns(content: Content, table: pd.DataFrame) -> list[Column]:
    """Return the columns of the table: the score, the parameters, then what else there is."""
    every = [results.column(name) for name in content.space.domains]
    parameters = [name for name in every if name in table][: _most_columns(len(table))]
    taken = {"trial", "state", "score", "error", "parent", *every}
    names = ["score", *parameters, *(name for name in table if name not in taken)]
    heads = {"score": content.objective}
    found = [_column("state", table["state"])]
    found += [_column(heads.get(name, name), table[name]) for name in names]
    if table["error"].notna().any():
        said = table["error"].map(lambda e: summary.reason(e) if isinstance(e, str) else None)
        found.append(_column("why it failed", said))
    return found


def _column(name: str, values: Iterable[Any]) -> Column:
    cells = [_cell(value) for value in values]
    filled = [cell for cell in cells if cell.text]
    numeric = bool(filled) and all(cell.value for cell in filled)
    distinct = sorted({cell.text for cell in filled})
    few = distinct if not numeric and len(distinct) <= CHOICES else []
    return Column(summary.one_line(name), cells, numeric, few)


def _cell(value: Any) -> Cell:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return Cell("")
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return Cell(shortened(summary.one_line(shown(value)), 80))
    if isinstance(value, int):
        return Cell(str(value), str(value))
    return Cell(summary.number(value), f"{value:.9g}")


def _failures(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Return how often trials failed for each reason, the reason, and which; the most first."""
    groups: dict[str, list[int]] = {}
    failed = table[table.state == "failed"]
    for trial, error in zip(failed.trial, failed.error, strict=True):
        reason = summary.reason(error if isinstance(error, str) else None)
        groups.setdefault(reason, []).append(int(trial))
    found = []
    for reason, trials in sorted(groups.items(), key=lambda group: -len(group[1])):
        listed = ", ".join(map(str, trials[:_TRIALS_IN_A_GROUP]))
        more = f" and {len(trials) - _TRIALS_IN_A_GROUP} more"
        found.append(
            (
                f"{len(trials)}",
                shortened(reason, 400),
                listed + more * (len(trials) > _TRIALS_IN_A_GROUP),
            )
        )
    return found


# ---- the pictures --------------------------------------------------------------------------------


def _pictures(content: Content, first: pd.DataFrame) -> dict[str, Any]:
    goal: dict[str, Any] = {
        "maximize": content.maximize,
        "objective": content.objective,
        "by_rung": content.by_rung,
    }
    table = content.trials
    course = []
    if len(table):
        says = "The score of each trial in order, and the best so far."
        draw = functools.partial(plots.plot_history, table, **goal)
        course.append(picture("Scores", says, draw))
    curves = _curves(content, first)
    if curves is not None:
        course.append(curves)
    if "rung" in table and "epochs" in table and table["rung"].notna().any():
        says = "The score of each rung against its epochs; a line for each candidate."
        course.append(picture("Rungs", says, functools.partial(plots.plot_rungs, table, **goal)))
    front = None
    if content.draw_front is not None:
        says = (
            "The trials by their objectives, and the front: the trials than which none is better."
        )
        front = picture("Pareto front", says, content.draw_front)
    return {"course": course, "front_picture": front, **_importance(content)}


def _importance(content: Content) -> dict[str, Any]:
    says = "How much of the variance of the score each parameter explains, alone and with others."
    draw = functools.partial(
        plots.plot_importance,
        content.trials,
        content.space,
        objective=content.objective,
        maximize=content.maximize,
    )
    try:
        return {"importance": picture("Importance of parameters", says, draw), "unknown": ""}
    except ValueError as error:  # too few trials, or all alike: the page says so
        return {"importance": None, "unknown": summary.one_line(error)}


def _curves(content: Content, first: pd.DataFrame) -> Picture | None:
    """Draw the learning curves of the best trials and of the others, the pruned ones dashed."""
    epochs = content.epochs
    if not len(epochs):
        return None
    metric = content.objective if content.objective in epochs else "loss"
    if metric not in epochs or not epochs[metric].notna().any():
        return None
    ordered = _best_first(content)
    known = set(epochs["trial"])
    chosen = [
        int(t)
        for t, s in zip(ordered.trial, ordered.state, strict=True)
        if t in known and s in ENDED
    ]
    n = len(chosen)
    if n > CURVES:  # the best third, and of the others every so many
        some, rest = chosen[: CURVES // 3], chosen[CURVES // 3 :]
        step = len(rest) / (CURVES - len(some))
        chosen = [*some, *(rest[int(i * step)] for i in range(CURVES - len(some)))]
    states = dict(zip(ordered.trial, ordered.state, strict=True))
    best_trial = int(first.trial.iloc[0]) if len(first) else None
    shown_of = (
        f" The {len(chosen)} shown are the best and a sample of {n:,}." if n > len(chosen) else ""
    )
    says = f"{summary.one_line(metric)} by epoch, the best trial drawn over the others.{shown_of}"
    pruned = [t for t in chosen if states[t] == "pruned"]
    if pruned:
        says += " Pruned trials are dashed, and end where they were stopped."

    def draw() -> Axes:
        return plots.plot_curves(
            _thinned(epochs[epochs["trial"].isin(chosen)]),
            metric=metric,
            trials=chosen,
            best=best_trial if best_trial in chosen else None,
            pruned=pruned,
        )

    return picture("Learning curves", says, draw)


def _thinned(epochs: pd.DataFrame) -> pd.DataFrame:
    """Return at most 60 epochs, the first and the last of each trial among them."""
    last = int(epochs["epoch"].max())
    if last <= POINTS:
        return epochs
    step = math.ceil(last / POINTS)
    ends = epochs["epoch"] == epochs.groupby("trial")["epoch"].transform("max")
    return epochs[ends | (epochs["epoch"] % step == 1) | (epochs["epoch"] <= 1)]


# ---- the configuration ---------------------------------------------------------------------------


def _configuration(content: Content) -> list[tuple[str, str]]:
    """Return what the search wrote about itself, one row for each value."""
    described = {k: v for k, v in content.description.items() if k not in ("space", "code")}
    rows = [("seed", str(content.seed))] if content.seed is not None else []
    rows += list(_flat(described))
    for name, domain in content.space.domains.items():
        rows.append((f"space: {summary.one_line(name)}", shortened(summary.one_line(domain), 400)))
    return rows


def _flat(tree: Any, name: str = "") -> Iterable[tuple[str, str]]:
    if isinstance(tree, Mapping) and tree:
        for key, value in tree.items():
            yield from _flat(value, f"{name}: {key}" if name else str(key))
        return
    if name != "seed":
        text = json.dumps(tree, ensure_ascii=False, default=str)
        yield name, shortened(summary.one_line(text), 400)


__all__ = ["NAME", "Content", "page", "write"]
