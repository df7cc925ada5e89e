"""Opening finished and running studies: load_study, and several studies side by side.

Responsible for the results of a study that this process did not run. Not for reading its file
(`study.reading`), nor for what its results have in common with a search's (`kept`).
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from search import exchange
from search.kept import Kept, as_html
from search.reports import results
from search.space import assembled
from search.study import reading
from search.study.goals import Goals
from search.study.reading import Recorded
from search.study.storage import ATTRIBUTES, SCORED, Trial
from search.study.trial import Fold

if TYPE_CHECKING:
    import pandas as pd

# the columns of compare() besides the parameters
_COMPARED = (
    *("study", "trials", "completed", "pruned", "failed", "best", "median", "seconds"),
    *("trials_to_best", "seconds_to_best"),
)


def load_study(directory: Any) -> StudyResults:
    """Open a study, in any process, without its data, its estimator or its classes.

        study = load_study("studies/first")
        study.results_, study.summary(), study.plot_history()

    While a search runs, this is the study at the time of the call: call it again for more. Nothing
    in the directory is changed, and nothing is unpickled.

    Args:
        directory: of the study.

    Raises:
        TypeError: not the name of a folder.
        ValueError: it holds no study, one of a later version, or a damaged one.
        OSError: it cannot be read.
    """
    return StudyResults(reading.read(directory))


def import_optuna(study: Any, name: str | None = None, *, objective: int = 0) -> StudyResults:
    """Take over a study of Optuna: for our tables and plots, compare and warm_start_from.

    Trials that have different parameters lie in different spaces: which condition an objective
    asks for them by is not known.

    Args:
        study: an optuna.Study; or a storage or its address, such as "sqlite:///optuna.db".
        name: of the study in the storage; needed if it has several.
        objective: the number of the objective that is the score, if there are several.

    Raises:
        TypeError: neither a study nor a storage.
        ValueError: no such study or objective, or it has no trials or parameters.
    """
    return StudyResults(exchange.from_optuna(study, name, objective))


class StudyResults(Kept):
    """The results of a study, with the attributes and plots of a search after its fit.

    Attributes:
        directory_: of the study.
        seed_: of the study.
        objective: the name of the score.
        maximize: whether a higher score is better.
        space: of the study, with texts in place of objects.
        trials: all trials, in the order they were asked for: see search.store.Trial.
        best_params_, best_score_, best_index_: of the best trial, as in scikit-learn; an
            AttributeError if no trial has a score yet.
    """

    def __init__(self, recorded: Recorded) -> None:
        described = recorded.description
        self._recorded = recorded
        self._space = self.space = recorded.space
        self._trials = self.trials = recorded.trials
        self.directory_ = None if recorded.frames is not None else str(recorded.directory)
        self.seed_: int | None = recorded.values.get("seed")
        self._described = described
        self._environment = recorded.values.get("environment")
        self.objective: str = described["objective"][0]
        self.maximize: bool = described["objective"][1] == "max"
        self._goals = Goals.recorded(described)
        self._objective, self._maximize = self.objective, self.maximize
        self._seconds = None
        self._attributes = {
            int(name.removeprefix(ATTRIBUTES)): value
            for name, value in recorded.values.items()
            if name.startswith(ATTRIBUTES)
        }
        self._identity = recorded.values.get("identity", "")

    def __repr__(self) -> str:
        ended = len(self._ended)
        return (
            f"<StudyResults of {self.directory_!r}: {len(self.trials)} trials, {ended} ended, "
            f"objective {self.objective}>"
        )

    def _repr_html_(self) -> str:
        return as_html(self)

    @functools.cached_property
    def results_(self) -> pd.DataFrame:
        """One row per trial, as a search has it after its fit."""
        import pandas as pd

        recorded = self._recorded
        folds = pd.DataFrame(
            {
                "trial": list(recorded.seconds),
                "fit_seconds": list(recorded.seconds.values()),
                "score_seconds": 0.0,
            }
        )
        epochs = pd.DataFrame(
            {
                "trial": list(recorded.last_epochs),
                "fold": 0,
                "execution": 0,
                "epoch": list(recorded.last_epochs.values()),
            }
        )
        return results.table(self.trials, list(self.space.domains), folds, epochs)

    @functools.cached_property
    def epochs_(self) -> pd.DataFrame:
        """One row per epoch of each fit of the trials that had ended."""
        return self._recorded.frame("epochs")

    @property
    def description(self) -> dict[str, Any]:
        """What the search wrote about itself: estimator, space, method, objective, data."""
        return self._recorded.description

    @functools.cached_property
    def history_(self) -> pd.DataFrame:
        """The trials of the study that this one was warm-started from: see warm_start_from.

        The columns are trial (its number there), state, score, params, counts (whether it is one of
        this study's trials) and why (it is not).
        """
        return history_table(self._recorded.values.get("history") or [])

    def folds(self) -> dict[int, list[Fold]]:
        """Return the fits of each trial, without their epochs."""
        import math

        found: dict[int, list[Fold]] = {}
        own = ("trial", "fold", "execution", "score", "fit_seconds", "score_seconds")
        for row in self._recorded.frame("folds").to_dict("records"):
            score = None if math.isnan(row["score"]) else float(row["score"])
            metrics = {str(n): float(v) for n, v in row.items() if n not in own and v == v}
            seconds = [0.0 if math.isnan(row[n]) else float(row[n]) for n in own[4:]]
            place = int(row["fold"]), int(row["execution"])
            fold = Fold(*place, score, metrics, seconds[0], seconds[1])
            found.setdefault(int(row["trial"]), []).append(fold)
        return found

    @functools.cached_property
    def cv_results_(self) -> dict[str, Any]:
        """The results in the form of scikit-learn's searches."""
        folds = self._recorded.frame("folds")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that trials failed: see failures
            return results.cv_results(
                self._ended,
                list(self.space.domains),
                folds,
                n_splits=self.n_splits_,
                maximize=self.maximize,
                several=self._scores(),
            )

    @functools.cached_property
    def n_splits_(self) -> int:
        """The number of splits of a cross-validation; 1 without one."""
        folds = self._recorded.frame("folds")
        return int(folds.fold.max()) + 1 if len(folds) else 1

    @property
    def best_index_(self) -> int:
        """The place of the best trial in cv_results_."""
        return self._ended.index(self._best)

    @property
    def best_params_(self) -> dict[str, Any]:
        """The parameters of the best trial."""
        return assembled(self._best.params)

    @property
    def best_score_(self) -> float:
        """The score of the best trial."""
        assert self._best.score is not None
        return self._best.score

    @property
    def _ended(self) -> list[Trial]:
        return [t for t in self.trials if t.state not in ("waiting", "running")]

    @functools.cached_property
    def _best(self) -> Trial:
        done = [t for t in self.trials if t.state in SCORED and t.score is not None]
        if not done:
            raise AttributeError(
                f"directory={self.directory_!r}: none of {len(self.trials)} trials has a score "
                "yet; see results_ and failures"
            )
        best = max(done, key=lambda t: (*self.merit(t), -t.id))
        if not best.feasible:
            raise AttributeError(
                f"directory={self.directory_!r}: none of {len(done)} trials meets the constraints "
                f"{dict(self._goals.constraints)!r}; see results_"
            )
        return best

    @property
    def _by_rung(self) -> bool:
        method = self._recorded.description["search"]
        return method.get("method") == "halving" or method.get("pruner") is not None

    @property
    def _owner(self) -> Any:
        return None

    def _scores(self) -> list[str]:
        """The names of several scores."""
        scoring = self._recorded.description["objective"][2:]
        names = dict.fromkeys(n for t in self.trials for n in t.metrics if n.startswith("test_"))
        return [name.removeprefix("test_") for name in names] if scoring[:1] != [None] else []

    def _table(self) -> pd.DataFrame:
        return self.results_


def history_table(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the record of a warm start as a table: see StudyResults.history_."""
    import pandas as pd

    return pd.DataFrame(
        list(records), columns=["trial", "state", "score", "params", "counts", "why"]
    )


def compare(studies: Mapping[str, Any] | Sequence[Any]) -> pd.DataFrame:
    """Compare studies: one row each, the best first.

    Args:
        studies: directories, loaded studies or fitted searches; with names as a dict. They must
            have the same objective.

    Returns:
        The columns study, trials, completed, pruned, failed, best (its score), median (of the
        scores), trials_to_best and seconds_to_best (of workers, until the best trial had ended),
        seconds (of workers, in all), and one for each parameter: its value in the best trial. A
        parameter with the name of another column is called "parameter NAME".

    Raises:
        TypeError: not a list or dict of studies.
        ValueError: no study, or different objectives.
    """
    import numpy as np
    import pandas as pd

    found = opened(studies)
    rows = []
    for name, study in found.items():
        table = study._table()
        done = table[np.isfinite(table.score) & table.state.isin(SCORED)]
        row: dict[str, Any] = {
            "study": name,
            "trials": len(table),
            "completed": int((table.state == "completed").sum()),
            "pruned": int((table.state == "pruned").sum()),
            "failed": int((table.state == "failed").sum()),
            "best": np.nan,
            "median": float(done.score.median()) if len(done) else np.nan,
            "seconds": float(table.seconds.sum()),
        }
        if len(done):
            best = study.top(1).iloc[0]
            until = table[table.trial <= best.trial]
            row |= {
                "best": float(best.score),
                "trials_to_best": len(until),
                "seconds_to_best": float(until.seconds.sum()),
                **{
                    results.column(name, _COMPARED): best[results.column(name)]
                    for name in study._space.domains
                    if results.column(name) in best
                },
            }
        rows.append(row)
    first = next(iter(found.values()))
    made = pd.DataFrame(rows).sort_values("best", ascending=not first._maximize, kind="stable")
    return made.reset_index(drop=True)


def opened(studies: Any) -> dict[str, Kept]:
    """Return studies by name, opened; see `compare`.

    Raises:
        TypeError, ValueError: as `compare`.
    """
    if isinstance(studies, (str, os.PathLike)) or not isinstance(studies, (Mapping, Sequence)):
        raise TypeError(
            f"studies={studies!r}: must be a list or a dict of studies; write "
            "compare(['studies/first', 'studies/second'])"
        )
    named = studies if isinstance(studies, Mapping) else dict(enumerate(studies))
    found: dict[str, Kept] = {}
    for name, study in named.items():
        known = study if isinstance(study, Kept) else load_study(study)
        known._table()
        if isinstance(name, int):
            name = os.path.basename(known.directory_) if known.directory_ else f"study {name}"
            name = f"{name} ({len(found)})" if name in found else name
        found[str(name)] = known
    if not found:
        raise ValueError("studies=[]: must hold at least one study")
    aims = {(s._objective, s._maximize) for s in found.values()}
    if len(aims) > 1:
        told = ", ".join(
            f"{name!r} has {s._objective} ({'max' if s._maximize else 'min'})"
            for name, s in found.items()
        )
        raise ValueError(f"studies: must have the same objective, and {told}")
    return found
