"""What a study holds, for a search after its fit and for a study that was loaded.

Responsible for the best trials, why others failed, and the models that were kept. Not for running
(`base`), nor for reading the file (`study.reading`).
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search import ensembles, exchange, pages
from search.pictures import Pictures
from search.proposers import Outcome
from search.reports import results
from search.study import models
from search.study.current import ARTIFACTS
from search.study.goals import Goals, front
from search.study.storage import SCORED, Trial
from search.study.trial_folders import MARK, TrialFolders
from trainer.base import Trainer
from trainer.utils.checks import integer
from trainer.utils.drawings import as_text, picture

if TYPE_CHECKING:
    import pandas as pd

    from search.space import Space


class Kept(Pictures):
    """The trials of a study, its plots, and its models."""

    _trials: list[Trial]
    _identity: str
    _attributes: dict[int, dict[str, Any]]
    _space: Space
    _maximize: bool
    _objective: str
    _goals: Goals
    _described: Mapping[str, Any]  # what the search wrote about itself
    _environment: Mapping[str, Any] | None  # where it ran, if that is known
    seed_: int | None

    @property
    @abstractmethod
    def _by_rung(self) -> bool: ...

    @abstractmethod
    def _table(self) -> pd.DataFrame:
        """Return results_."""

    @property
    @abstractmethod
    def _owner(self) -> Any:
        """The class of the estimator if it is known and a Trainer, or None."""

    @property
    def _trusted(self) -> bool:
        """Whether pickled models may be loaded without being asked for."""
        return False

    def top(self, n: int = 5) -> pd.DataFrame:
        """Return the rows of results_ with the best scores, best first.

        Args:
            n: the maximum number of rows.

        Raises:
            sklearn.exceptions.NotFittedError: before fit.
        """
        found = results.ranked(
            self._table(), maximize=self._maximize, by_rung=self._by_rung, others=self._others
        )
        return found.head(integer("n", n, low=1, example=5))

    @property
    def failures(self) -> pd.DataFrame:
        """The failed trials: their number, parameters and seconds, and reason without traceback."""
        table = self._table()
        failed = table[table.state == "failed"]
        columns = map(results.column, self._space.domains)
        names = {n: results.column(n, ["reason"]) for n in columns if n in table}
        reasons = failed.error.map(lambda text: results.reason(text or ""))
        return failed[["trial", *names, "seconds"]].rename(columns=names).assign(reason=reasons)

    def attributes(self, trial: int) -> dict[str, Any]:
        """Return what code in a trial has set with current_trial().set_attribute.

        Args:
            trial: its number.

        Raises:
            ValueError: there is no such trial.
        """
        return dict(self._attributes.get(self._known_trial(trial), {}))

    def artifacts(self, trial: int) -> list[Path]:
        """Return the files that code in a trial wrote to current_trial().artifact_folder().

        Args:
            trial: its number.

        Raises:
            ValueError: there is no such trial.
        """
        self._known_trial(trial)
        if self.directory_ is None:
            return []
        folder = TrialFolders(Path(self.directory_) / ARTIFACTS, self._identity).find(trial)
        files = [] if folder is None else folder.rglob("*")
        return sorted(p for p in files if p.is_file() and p != (folder or p) / MARK)

    @property
    def kept_models(self) -> list[int]:
        """The trials whose models are on disk, the best first: see keep_models."""
        self._table()
        if self.directory_ is None:
            return []
        there = set(self._models().numbers())
        merit = {t.id: t for t in self._trials if t.id in there and t.state in SCORED}
        return sorted(merit, key=lambda i: (*self.merit(merit[i]), -i), reverse=True)

    def load_model(self, trial: int, kind: Any = None, *, trust: bool | None = None) -> Any:
        """Return the model of a trial as its fit left it, if it was kept: see keep_models.

        Args:
            trial: its number.
            kind: the class of the Trainer, if it is neither Classifier nor Regressor; a search
                knows it.
            trust: whether an estimator that is not a Trainer may be unpickled, which may run code.
                None: a search that ran in this process trusts its own directory, a loaded study
                does not.

        Returns:
            The fitted estimator. If the trial has several fits, by cv or executions_per_trial, the
            ensemble of their models, which has them as estimators_.

        Raises:
            ValueError: the trial's models were not kept, or they would have to be unpickled.
            TypeError: the class is needed, or kind is no class of a Trainer.
        """
        integer("trial", trial, low=0, example=0)
        if kind is not None and not (isinstance(kind, type) and issubclass(kind, Trainer)):
            raise TypeError(
                f"kind={kind!r}: must be the class of the Trainer; write kind=Classifier"
            )
        folder = None if self.directory_ is None else self._models().find(trial)
        found = [] if folder is None else models.files(folder)
        if not found:
            known = ", ".join(map(str, self.kept_models)) or "none"
            raise ValueError(
                f"trial={trial}: its model was not kept; those kept are {known}. A search keeps "
                "the best ones with directory=... and keep_models=3"
            )
        sure = self._trusted if trust is None else trust
        loaded = [models.load(path, kind or self._owner, trust=sure) for path in found]
        return loaded[0] if len(loaded) == 1 else ensembles.ensemble(loaded)

    def best_estimators(self, k: int = 3, kind: Any = None, *, trust: bool | None = None) -> Any:
        """Return the models of the best trials, the best first.

        Args:
            k: number of trials, at most keep_models of the search.
            kind: as in load_model.
            trust: as in load_model.

        Returns:
            A list of k fitted estimators, each as load_model returns it: trained on the rows of
            the trial, not refitted on all.

        Raises:
            ValueError: fewer models were kept.
            TypeError: as load_model.
        """
        integer("k", k, low=1, example=3)
        kept = self.kept_models
        if len(kept) < k:
            raise ValueError(
                f"k={k}: the models of {len(kept)} trials were kept; write k={len(kept) or 1}, or "
                f"search with keep_models={k}"
            )
        return [self.load_model(trial, kind, trust=trust) for trial in kept[:k]]

    def ensemble(self, k: int = 3, kind: Any = None, *, trust: bool | None = None) -> Any:
        """Return the best k models as one fitted estimator of scikit-learn.

        Classifiers vote with the mean of their probabilities, of others predictions are averaged.

        Args:
            k: number of trials, at most keep_models of the search.
            kind: as in load_model.
            trust: as in load_model.

        Raises:
            ValueError, TypeError: as best_estimators.
        """
        return ensembles.ensemble(self.best_estimators(k, kind, trust=trust))

    def export_csv(self, path: Any) -> Path:
        """Write results_ to a CSV file, objects as text, and return its path.

        Args:
            path: of the file; an existing one is replaced.

        Raises:
            TypeError, OSError: not a name of a file, or it cannot be written.
        """
        return exchange.write_csv(self._table(), path)

    def export_tensorboard(self, path: Any) -> Path:
        """Write the trials as logs of TensorBoard, for its HPARAMS page: tensorboard --logdir path.

        Each trial is a run, with its parameters, score, metrics and the logs of its epochs (their
        mean over folds). Objects in choices become texts. `trainer tensorboard STUDY` writes them
        to a temporary folder, and starts TensorBoard on it.

        Args:
            path: of a folder, which is made, or empty.

        Returns:
            The path.

        Raises:
            ImportError: the package tensorboard is not installed.
            TypeError, ValueError: not the name of a folder, or one that has files.
            OSError: it cannot be written.
        """
        self._table()
        return exchange.write_tensorboard(
            self._trials,
            self._space,
            self.epochs_,
            path,
            goals=self._goals,
        )

    def export_optuna(self, storage: Any = None, name: str | None = None) -> Any:
        """Copy the trials that have ended into a new study of Optuna, for its dashboard and plots.

        Objects in choices become texts. Metrics, seeds and errors are user attributes, the
        objective's logs the intermediate values.

        Args:
            storage: of Optuna, or its address, such as "sqlite:///optuna.db"; None: in memory.
            name: of the study; None: Optuna draws one.

        Returns:
            The optuna.Study.

        Raises:
            TypeError, ValueError: no storage or its address, or it has a study of this name.
        """
        self._table()
        goals = self._goals
        curves: dict[int, dict[int, float]] = {}
        if self._objective in self.epochs_:
            means = self.epochs_.groupby(["trial", "epoch"])[self._objective].mean().dropna()
            for (trial, epoch), value in means.items():
                curves.setdefault(int(trial), {})[int(epoch)] = float(value)
        return exchange.to_optuna(
            self._trials,
            self._space,
            curves,
            storage=storage,
            name=name,
            goals=goals,
        )

    # ---- several objectives ------------------------------------------------------------------

    @property
    def best_trials_(self) -> pd.DataFrame:
        """The rows of results_ that meet the constraints and that no other such row dominates.

        The Pareto front, the best first objective first. With a single objective these are the
        trials with the best score.
        """
        table = self._table()
        done = self._compared()
        if not done:
            return table[:0]
        values = [Outcome(t.score, **t.outcome).objectives for t in done]
        on_front = front(values, self._goals.maximize)
        chosen = [t.id for t, on in zip(done, on_front, strict=True) if on]
        found = table[table.trial.isin(chosen)]
        return found.sort_values("score", ascending=not self._maximize, kind="stable")

    def plot_pareto(self) -> Any:
        """Plot the trials by their objectives, and the Pareto front: see search.plots.plot_pareto.

        Raises:
            ValueError: there is a single objective.
        """
        from search import plots

        table, goals = self._table(), self._goals
        if not goals.several:
            raise ValueError(
                f"objective={self._objective!r}: there is a single objective; a search with "
                "objective=['val_accuracy', 'seconds'] has a Pareto front"
            )
        done = [t for t in self._trials if t.state == "completed" and t.outcome]
        return plots.plot_pareto(
            {t.id: t.outcome["values"] for t in done},
            goals.names,
            goals.maximize,
            front=list(self.best_trials_.trial) if len(table) else [],
            infeasible=[t.id for t in done if not t.feasible],
        )

    @property
    def _others(self) -> list[tuple[str, bool]]:
        """The objectives besides the score, and whether higher is better."""
        return list(zip(self._goals.names[1:], self._goals.maximize[1:], strict=True))

    def _front(self) -> dict[str, Any]:
        """Return what the page says of several objectives."""
        if not self._goals.several or not self._compared():
            return {}
        return {
            "front": list(self.best_trials_.trial),
            "draw_front": lambda: self.plot_pareto()[0],
            "objectives": self._goals.names,
        }

    def _compared(self) -> list[Trial]:
        """Return the trials that may be the best: with a score, feasible, of the last rung."""
        done = [t for t in self._trials if t.state in SCORED and t.score is not None and t.feasible]
        if not self._by_rung:
            return done
        last = max((t.rung or 0 for t in done), default=0)
        return [t for t in done if (t.rung or 0) == last]

    def report(self, path: Any = "report.html", *, title: str | None = None) -> Path:
        """Write a page about the study: one HTML file to look at and to share; it makes no request.

        Its trials can be sorted, filtered and brushed; it has the importance of the parameters,
        learning curves, the best configuration as Python and YAML, failures by their reason, and
        where the study ran.

        Args:
            path: the file to write, which is replaced if it exists.
            title: the heading. None: the name of the study's folder.

        Returns:
            The path.

        Raises:
            sklearn.exceptions.NotFittedError: before fit.
            TypeError, ValueError: the path is not the name of an HTML file.
            OSError: the file cannot be written.
        """
        table = self._table()
        if not isinstance(path, (str, os.PathLike)) or not str(path):
            raise TypeError(f"path={path!r}: must be the name of a file; write 'report.html'")
        if Path(path).suffix.lower() not in (".html", ".htm"):
            raise ValueError(
                f"path={str(path)!r}: must end in .html or .htm, as the page is HTML; write "
                f"{str(Path(path).with_suffix('.html'))!r}"
            )
        name = None if self.directory_ is None else Path(self.directory_).name
        content = pages.Content(
            title=title or f"Study {name or ''}".strip(),
            trials=table,
            epochs=self.epochs_,
            space=self._space,
            objective=self._objective,
            maximize=self._maximize,
            by_rung=self._by_rung,
            seed=self.seed_,
            description=self._described,
            environment=self._environment,
            others=self._others,
            **self._front(),
        )
        return pages.write(content, Path(path))

    # ---- its parts ---------------------------------------------------------------------------

    def merit(self, trial: Trial) -> tuple[float, ...]:
        """Return what a completed trial is compared by: higher is better."""
        score = trial.score if trial.score is not None else float("nan")
        rung = (trial.rung or 0) if self._by_rung else 0
        return trial.feasible, rung, *self._goals.merit(score, trial.outcome.get("values", ()))

    def _known_trial(self, trial: int) -> int:
        self._table()
        integer("trial", trial, low=0, example=0)
        if trial >= len(self._trials):
            raise ValueError(
                f"trial={trial}: the study has {len(self._trials)} trials; write a number from 0 "
                f"to {len(self._trials) - 1}"
            )
        return trial

    def _models(self) -> TrialFolders:
        assert self.directory_ is not None
        return TrialFolders(Path(self.directory_) / models.MODELS, self._identity)


def as_html(study: Kept) -> str:
    """Return what a notebook shows of a study: the summary, and the scores of the trials as SVG.

    Args:
        study: a search after its fit, or an opened study.
    """
    import numpy as np

    text = as_text(study.summary())
    if not np.isfinite(study._table().score.astype(float)).any():
        return text
    says = f"Scores of {len(study._trials)} trials, and the best so far."
    return text + picture("Scores of trials", says, study.plot_history).as_html()
