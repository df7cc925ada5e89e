"""The results of a search as tables: one row per trial, and scikit-learn's cv_results_.

Responsible for their form. Not for scoring, nor for plots.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from search.space import assembled
from search.study.resource import EPOCHS, STEPS, Resource
from search.study.storage import SCORED, Trial
from trainer.utils.text import printable

if TYPE_CHECKING:
    import pandas as pd

OWN = ("trial", "state", "score", "seconds", "rung", "parent", "feasible", "error")


def column(parameter: str, own: Iterable[str] = OWN) -> str:
    """Return the name of a parameter's column: its own, or "parameter NAME" if that is taken.

    Args:
        parameter: its name.
        own: the columns that the table has besides, perhaps only for some studies: the name must
            not depend on the study.
    """
    return f"parameter {parameter}" if parameter in own else parameter


def table(
    trials: Sequence[Trial],
    names: Sequence[str],
    folds: pd.DataFrame,
    epochs: pd.DataFrame,
    *,
    resource: Resource | None = None,
) -> pd.DataFrame:
    """Return one row per trial, in order.

    Args:
        trials: of the study.
        names: of the parameters.
        folds: the study's table of that name.
        epochs: the study's table of that name.
        resource: of the rungs of trials that were pruned.

    Returns:
        Columns trial, state, score (NaN without one), one column per parameter under its name (None
        where it was not active; "parameter NAME" if it is named like a column of OWN), the other
        metrics, epochs (the last one trained, if any), the
        resource of the trial's rung if that is another one, under its name, seconds (of fitting and
        scoring), rung and parent if trials were promoted, feasible (whether it has a score and
        meets the constraints) if there are any, and error (None without one). A metric
        with the same name as a parameter is called "metric NAME".
    """
    import pandas as pd

    seconds = dict((folds.fit_seconds + folds.score_seconds).groupby(folds.trial).sum())
    last = epochs.groupby(["trial", "fold", "execution"]).epoch.max().groupby("trial").mean()
    trained = {trial: _whole(value) for trial, value in last.items()}
    rungs = any(trial.rung is not None or trial.parent is not None for trial in trials)
    metrics = dict.fromkeys(name for trial in trials for name in trial.metrics)
    columns: dict[str, Any] = {
        "trial": [t.id for t in trials],
        "state": [t.state for t in trials],
        "score": np.array([np.nan if t.score is None else t.score for t in trials], float),
    }
    for name in names:
        # as objects: 8 beside None or 0.5 would become 8.0, and None would become NaN
        columns[column(name)] = pd.Series([t.params.get(name) for t in trials], dtype=object)
    for name in metrics:
        taken = name in columns or name in OWN or name == "epochs"
        values = [t.metrics.get(name, np.nan) for t in trials]
        columns[f"metric {name}" if taken else name] = np.array(values, float)
    if trained and "epochs" not in columns:
        columns["epochs"] = [trained.get(t.id, np.nan) for t in trials]
    if resource is not None and resource.name != EPOCHS:
        if resource.name == STEPS:  # the epochs are units of steps
            columns.pop("epochs", None)
        amounts = [t.epochs and t.epochs * resource.unit for t in trials]
        columns[resource.name] = pd.Series(amounts, dtype=object)
    columns["seconds"] = [seconds.get(t.id, _elapsed(t)) for t in trials]
    if rungs:
        columns["rung"] = np.array([np.nan if t.rung is None else t.rung for t in trials], float)
        columns["parent"] = np.array(
            [np.nan if t.parent is None else t.parent for t in trials], float
        )
    if any("violations" in t.outcome for t in trials):
        columns["feasible"] = [t.score is not None and t.feasible for t in trials]
    columns["error"] = pd.Series([t.error for t in trials], dtype=object)
    return pd.DataFrame(columns)


def ranked(
    results: pd.DataFrame,
    *,
    maximize: bool,
    by_rung: bool,
    others: Iterable[tuple[str, bool]] = (),
) -> pd.DataFrame:
    """Return trials with a score, best first.

    Those that meet the constraints come first, if there are any; with `by_rung` those of later
    rungs. Among equal scores `others` decide: names of columns, and whether higher is better.
    """
    done = results[results.state.isin(SCORED)]
    also = [(name, not higher) for name, higher in others if name in done]
    keys, orders = map(list, zip(("score", not maximize), *also, strict=True))
    if by_rung and "rung" in done:
        keys, orders = ["rung", *keys], [False, *orders]
    if _has_constraints(done):
        keys, orders = ["feasible", *keys], [False, *orders]
    return done.sort_values(keys, ascending=orders, kind="stable")


def may_be_best(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that meet the constraints, if there are any constraints."""
    return table[table["feasible"]] if _has_constraints(table) else table


def _has_constraints(table: pd.DataFrame) -> bool:
    return "feasible" in table


def reason(error: str) -> str:
    """Return the message of a trial's error, without its traceback."""
    # studies of version 0.1 hold errors with control characters
    return printable(error.partition("\nTraceback (most recent call last):\n")[0], lines=True)


def _elapsed(trial: Trial) -> float:
    if trial.started is None or trial.ended is None:
        return float("nan")
    return trial.ended - trial.started


def _whole(value: float) -> float | int:
    return int(value) if float(value).is_integer() else float(value)


def cv_results(
    trials: Sequence[Trial],
    names: Sequence[str],
    folds: pd.DataFrame,
    *,
    n_splits: int,
    maximize: bool,
    several: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the results in the form of scikit-learn's GridSearchCV.cv_results_.

    Args:
        trials: those that have ended.
        names: of the parameters.
        folds: the study's table of that name.
        n_splits: number of splits; repetitions of a split are averaged.
        maximize: whether a higher score is better, for the ranks.
        several: names of the scores, if there are several.

    Returns:
        mean_fit_time, std_fit_time, mean_score_time, std_score_time [n]; param_NAME, masked where
        it was not active; params; for each score split{i}_test_SCORE, mean_, std_ and rank_; and
        the same of training, without ranks, if it was scored.
        Failed trials have NaN and the last rank.
    """
    from numpy.ma import MaskedArray

    shape = (len(trials), n_splits)
    place = {trial.id: i for i, trial in enumerate(trials)}
    ended = folds[folds.trial.isin(place)]
    scores = {name: f"test_{name}" for name in several} or {"score": "score"}
    found: dict[str, Any] = {}

    def spread(column: str) -> np.ndarray:
        array = np.full(shape, np.nan)
        if column in ended:
            for (trial, fold), value in ended.groupby(["trial", "fold"])[column].mean().items():
                array[place[trial], fold] = value
        return array

    for name, column in (("fit_time", "fit_seconds"), ("score_time", "score_seconds")):
        times = spread(column)
        found[f"mean_{name}"], found[f"std_{name}"] = times.mean(axis=1), times.std(axis=1)
    params = [dict(trial.params) for trial in trials]
    for name in names:
        values = [(i, p[name]) for i, p in enumerate(params) if name in p]
        empty = _column(len(params), [v for _, v in values])
        masked: Any = MaskedArray(empty, mask=True)
        for i, value in values:
            masked[i] = value
        found[f"param_{name}"] = masked
    found["params"] = [assembled(p) for p in params]
    failed = [i for i, trial in enumerate(trials) if trial.state not in SCORED]
    for name, measured in scores.items():
        array = spread(measured)
        array[failed] = np.nan
        for split in range(n_splits):
            found[f"split{split}_test_{name}"] = array[:, split]
        # use the mean by which trials were compared: another summation order may round differently
        own = [t.score if measured == "score" else t.metrics.get(measured) for t in trials]
        mean = np.array([np.nan if v is None else v for v in own], float)
        mean[failed] = np.nan
        found[f"mean_test_{name}"], found[f"std_test_{name}"] = mean, array.std(axis=1)
        found[f"rank_test_{name}"] = _ranks(mean if maximize else -mean)
        if f"train_{name}" in ended:
            trained = spread(f"train_{name}")
            trained[failed] = np.nan
            for split in range(n_splits):
                found[f"split{split}_train_{name}"] = trained[:, split]
            found[f"mean_train_{name}"] = trained.mean(axis=1)
            found[f"std_train_{name}"] = trained.std(axis=1)
    if failed:
        warnings.warn(
            f"{len(failed)} of {len(trials)} trials failed: their scores in cv_results_ are NaN, "
            "and results_.error says why",
            UserWarning,
            stacklevel=4,
        )
    return found


def _column(n: int, values: list[Any]) -> np.ndarray:
    """Return an empty array of the type that scikit-learn would choose; text becomes objects.

    So do values of several types: NumPy would make floats of 8 and 0.5.
    """
    if len({type(value) for value in values}) > 1:
        return np.empty(n, dtype=object)
    try:
        made = np.array(values)
    except ValueError:  # lists of different lengths
        return np.empty(n, dtype=object)
    plain = made.dtype.kind != "U" and made.ndim == 1
    return np.empty(n, dtype=made.dtype if plain else object)


def _ranks(mean: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    if np.isnan(mean).all():
        return np.ones(len(mean), dtype=np.int32)
    worst = np.nanmin(mean) - 1
    ranks: np.ndarray = rankdata(-np.where(np.isnan(mean), worst, mean), method="min")
    return ranks.astype(np.int32)
