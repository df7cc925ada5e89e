"""How much of the score's variance each parameter explains, and a plot of it.

Responsible for the method. Not for the content of the table (`frames`).
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search.plots import frames
from search.space import Space, from_unit
from trainer.hyperparameters import Choice
from trainer.utils.checks import integer, one_of
from trainer.utils.figures import COLOURS, WRONG, as_label, new_figure
from trainer.utils.fonts import legible

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

METHODS = ("forest", "fanova", "ped-anova")
SAMPLES = 10  # bootstrap samples of Optuna's methods
_FEWEST = 10  # with fewer trials, shares of variance are chance


def importance(
    results: pd.DataFrame,
    space: Space,
    *,
    random_state: int = 0,
    method: str = "forest",
    maximize: bool = True,
) -> pd.Series:
    """Return each parameter's share of the variance of the score, over the entire space.

    A random forest [Breiman 2001, Machine Learning 45] of scikit-learn learns the score from the
    parameters; the variance of its prediction is divided as in functional ANOVA for searches
    [Hutter, Hoos, Leyton-Brown 2014, ICML]. The share is the total effect [Homma and Saltelli
    1996, Reliability Engineering and System Safety 52] by Jansen's estimator [1999, Computer
    Physics Communications 117]: half the mean squared change of the prediction when only this
    parameter is drawn again. An interaction counts for each of its parameters; shares are then
    divided by their sum. Points are drawn as in a random search, so that a search that looked
    mostly at good points is not mistaken for the space. A parameter switched off by a condition has
    no effect. After few trials the shares of weak parameters are underestimated, and those of
    strong ones overestimated. A few outlying scores make up most of the variance: drop their rows
    to see the importance for the others.

    Other methods, of Optuna: "fanova", the main effects alone [Hutter, Hoos, Leyton-Brown 2014],
    and "ped-anova" [Watanabe, Bansal, Hutter 2023, IJCAI], how much the best tenth of the trials
    differs from all in a parameter: what matters for being among the best, instead of for any
    score, without a model. Both are means over ten bootstrap samples of the trials, and a parameter
    that a condition switches off has its middle value there.

    In a search by rungs only candidates' first trials count, and of these only the ones with the
    most common number of epochs: later rungs hold selected trials, and other scores for the same
    point.

    Args:
        results: see above; at least 10 trials with a score that count.
        space: of the search.
        random_state: 0 or more; the same value returns the same shares.
        method: "forest", "fanova" or "ped-anova".
        maximize: whether a higher score is better, for "ped-anova".

    Returns:
        Shares by parameter, which sum to 1, the largest first. Its `attrs["r2"]` is the fraction of
        the variance of scores that the forest explains on trials it did not see (out-of-bag R2, at
        most 1). Near 0 or below, the shares are noise. With the other methods `attrs["spread"]` is
        the standard deviation of each share over the bootstrap samples: shares that differ by less
        do not differ.

    Raises:
        ValueError: too few trials, equal scores, or no parameter that differs between them.
    """
    import pandas as pd
    from scipy.stats import qmc
    from sklearn.ensemble import RandomForestRegressor

    integer("random_state", random_state, low=0, example=0)
    one_of("method", method, METHODS)
    table = frames.checked(results, True)
    table = table[frames.scored(table)]
    if "rung" in table and table["rung"].notna().any():
        frames.check_columns(table, "epochs", "parent")
        table = table[table["parent"].isna()]
        table = table[table["epochs"] == table["epochs"].mode().min()]
    if len(table) < _FEWEST:
        raise ValueError(
            f"results: {len(table)} trials have a score that counts: must be {_FEWEST} or more; "
            "continue the search with a larger max_trials"
        )
    scores = table["score"].to_numpy()
    if np.ptp(scores) == 0:
        raise ValueError(
            f"results: every score is {scores[0]:g}, so there is no variance to explain; "
            "choose an objective that differs between trials"
        )
    if method != "forest":
        sign = -1.0 if maximize and method == "ped-anova" else 1.0
        units = frames.units(frames.points(table, space), space)
        return _of_optuna(method, units, sign * scores, space, random_state)
    known = _features(frames.units(frames.points(table, space), space), space)
    # with half of the parameters per split, strong ones do not crowd out weak ones
    forest = RandomForestRegressor(
        200, max_features=0.5, bootstrap=True, oob_score=True, random_state=random_state
    ).fit(known, scores / np.abs(scores).max())
    n = len(space.domains)
    drawn = qmc.Sobol(2 * n, rng=np.random.default_rng(random_state)).random_base2(11)
    first, second = drawn[:, :n], drawn[:, n:]
    before = forest.predict(_features(_switched(first, space), space))
    shares = np.empty(n)
    for i in range(n):
        changed = first.copy()
        changed[:, i] = second[:, i]
        after = forest.predict(_features(_switched(changed, space), space))
        shares[i] = np.mean((before - after) ** 2) / 2
    if shares.sum() == 0:
        raise ValueError(
            "results: no parameter differs between the trials with a score; search a space with "
            "more than one point"
        )
    found = pd.Series(shares / shares.sum(), index=list(space.domains), name="importance")
    found = found.sort_values(ascending=False, kind="stable")
    found.attrs["r2"] = float(forest.oob_score_)
    return found


def _of_optuna(
    method: str,
    units: NDArray[np.float64],
    scores: NDArray[np.float64],
    space: Space,
    random_state: int,
) -> pd.Series:
    """Return the importance by an evaluator of Optuna, the mean over bootstrap samples."""
    import optuna
    import pandas as pd

    middle = np.nan_to_num(units, nan=0.5)
    categories = {n: len(d.values) for n, d in space.domains.items() if isinstance(d, Choice)}
    kinds = {
        name: optuna.distributions.CategoricalDistribution(range(categories[name]))
        if name in categories
        else optuna.distributions.FloatDistribution(0.0, 1.0)
        for name in space.domains
    }
    generator = np.random.default_rng(random_state)
    found = []
    for i in range(SAMPLES):
        rows = generator.integers(len(scores), size=len(scores))
        study = optuna.create_study()
        for row in rows:
            params = {
                name: int(unit * categories[name]) if name in categories else float(unit)
                for name, unit in zip(space.domains, middle[row], strict=True)
            }
            study.add_trial(
                optuna.trial.create_trial(
                    value=float(scores[row]), params=params, distributions=kinds
                )
            )
        if method == "fanova":
            evaluator: Any = optuna.importance.FanovaImportanceEvaluator(
                n_trees=32, seed=random_state + i
            )
        else:
            share = max(0.1, 3 / len(scores))
            with warnings.catch_warnings():  # Optuna calls it experimental
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=share)
        with warnings.catch_warnings():  # of parameters that a sample has a single value of
            warnings.simplefilter("ignore")
            shares = evaluator.evaluate(study, params=list(space.domains))
        total = sum(shares.values())
        if total > 0 and np.isfinite(total):
            found.append([shares[name] / total for name in space.domains])
    if not found:
        raise ValueError(
            "results: no parameter differs between the trials with a score; search a space with "
            "more than one point"
        )
    series = pd.Series(np.mean(found, axis=0), index=list(space.domains), name="importance")
    series = series.sort_values(ascending=False, kind="stable")
    spread = pd.Series(np.std(found, axis=0), index=list(space.domains), name="spread")
    series.attrs["spread"] = {name: float(spread[name]) for name in series.index}
    return series


def _switched(units: NDArray[np.float64], space: Space) -> NDArray[np.float64]:
    """Return the units of drawn points, with NaN for parameters that conditions switch off."""
    names = list(space.domains)
    parents = {p for domain in space.domains.values() for p in domain.when or {}}
    switched = units.copy()
    if parents:
        for old, new in zip(units, switched, strict=True):
            active = space.active(
                {p: from_unit(space.domains[p], float(old[names.index(p)])) for p in parents}
            )
            new[[name not in active for name in names]] = np.nan
    return switched


def _features(units: NDArray[np.float64], space: Space) -> NDArray[np.float64]:
    """Return the forest's input: one column per value of a choice, as their order is arbitrary."""
    columns = []
    for unit, domain in zip(units.T, space.domains.values(), strict=True):
        if isinstance(domain, Choice):
            index = np.floor(unit * len(domain.values))  # NaN (inactive) equals none of them
            columns += [(index == i).astype(np.float64) for i in range(len(domain.values))]
        else:
            # units are 0..1, so a tree can separate inactive from active
            columns.append(np.nan_to_num(unit, nan=-1.0))
    return np.column_stack(columns)


@legible
def plot_importance(
    results: pd.DataFrame,
    space: Space,
    *,
    objective: str,
    random_state: int = 0,
    method: str = "forest",
    maximize: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Plot `importance` as bars, the largest on top, with how far to believe it.

    That is how well the forest explains the scores: the bars are grey if it explains less than half
    of the variance. With the other methods the spread over bootstrap samples is a line on each bar,
    and bars that are not longer than their spread are grey.

    Raises:
        ValueError: as in `importance`.
    """
    shares = importance(results, space, random_state=random_state, method=method, maximize=maximize)
    if method != "forest":
        return _with_spread(shares, method, objective, ax)
    r2 = shares.attrs["r2"]
    if ax is None:
        ax = new_figure((6.8, max(2.6, 1.6 + 0.32 * len(shares)))).add_subplot()
    bars = ax.barh(
        [as_label(name, 40) for name in shares.index],
        shares,
        color=COLOURS[0] if r2 >= 0.5 else "0.6",
    )
    ax.bar_label(bars, [f"{share:.1%}" for share in shares], padding=3, fontsize=8)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.15 * shares.max())
    ax.set_xlabel(
        f"share of the variance of {as_label(objective, 30)}:\n"
        "total effects [Homma, Saltelli 1996]\nof a random forest [Breiman 2001]",
        fontsize=9,
    )
    verdict = (
        f"the forest explains {r2:.0%} of the variance"
        if r2 >= 0.5
        else f"the forest explains only {r2:.0%} of the variance: take care"
        if r2 > 0.1
        else "the forest explains next to nothing: this is noise"
    )
    ax.set_title(
        f"{verdict}\n(out-of-bag R² {r2:.2f})",
        fontsize="medium",
        color="black" if r2 >= 0.5 else WRONG,
    )
    return ax


def _with_spread(shares: pd.Series, method: str, objective: str, ax: Axes | None) -> Axes:
    spread = np.array([shares.attrs["spread"][name] for name in shares.index])
    if ax is None:
        ax = new_figure((6.8, max(2.6, 1.6 + 0.32 * len(shares)))).add_subplot()
    sure = shares.to_numpy() > spread
    ax.barh(
        [as_label(name, 40) for name in shares.index],
        shares,
        xerr=spread,
        color=[COLOURS[0] if s else "0.6" for s in sure],
        error_kw={"lw": 1, "capsize": 3},
    )
    for i, (share, wide) in enumerate(zip(shares, spread, strict=True)):
        text = f"{share:.1%} ± {wide:.1%}"
        ax.annotate(
            text, (share + wide, i), (4, 0), textcoords="offset points", va="center", size=8
        )
    ax.invert_yaxis()
    ax.set_xlim(0, 1.4 * float((shares + spread).max()))
    told = {
        "fanova": f"share of the variance of {as_label(objective, 30)}:\n"
        "main effects by fANOVA [Hutter, Hoos, Leyton-Brown 2014]",
        "ped-anova": f"for a {as_label(objective, 30)} among the best tenth:\n"
        "PED-ANOVA [Watanabe, Bansal, Hutter 2023]",
    }
    ax.set_xlabel(told[method], fontsize=9)
    weak = int((~sure).sum())
    ax.set_title(
        f"± over {SAMPLES} bootstrap samples; {weak} of {len(shares)} are not told from chance",
        fontsize="medium",
    )
    return ax
