"""Search: what the searches share, from the arguments of fit to the best estimator.

Responsible for the order of events in a search, and for being a scikit-learn meta-estimator. Not
for who proposes (`searches`), for a trial (`evaluation`), or for the order of trials
(`coordinator`).
"""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, is_classifier
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from search import checking, evaluation, results, study
from search.callbacks import SearchCallback
from search.coordinator import Coordinator
from search.data import HOLDOUT, Data, Split, fingerprint_of, holdout, keep, splits
from search.evaluation import Evaluation, Rehearsal
from search.executors import Executor, Failure
from search.pictures import Pictures
from search.proposers import Proposer
from search.scoring import Measure, measure, trainer_in
from search.space import Point, Space
from search.store import Trial


def _delegated(name: str) -> Callable[[Search], bool]:
    def check(search: Search) -> bool:
        # hasattr is asked before fit too; what is missing is the estimator's error
        getattr(getattr(search, "best_estimator_", search.estimator), name)
        return True

    return check


class Search(Pictures, MetaEstimatorMixin, BaseEstimator):
    """A search over the hyperparameters of an estimator: see TunerSearch and SklearnSearch."""

    _by_log: ClassVar[bool]
    estimator: Any
    space: Any
    objective: Any
    scoring: Any
    cv: Any
    executions_per_trial: int
    enqueue: Any
    workers: int | None
    executor: Any
    directory: Any
    resume: Any
    seed: int | None
    refit: Any
    trial_timeout: float | None
    trial_memory: int | None
    trial_retries: int
    max_seconds: float | None
    max_epochs: int | None
    callbacks: Sequence[SearchCallback]
    verbose: Any

    # ---- what people call --------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        validation_data: Any = None,
        groups: Any = None,
        sample_weight: Any = None,
    ) -> Self:
        """Run the trials, or go on with those of the directory; then fit the best on all rows.

        Args:
            x: rows, as the estimator takes them; they reach workers once, memory-mapped. A stream
                needs executor="serial".
            y: targets of the rows.
            validation_data: (x, y) or (x, y, sample_weight), on which trials are measured. None
                without cv: a share of the rows is held out, that of the Trainer's validation_split
                or a fifth.
            groups: of the rows [n], for cv splitters that take them.
            sample_weight: of the rows [n], for fitting and for logs; scores of scikit-learn do not
                use it.

        Returns:
            self.

        Raises:
            TypeError, ValueError: bad arguments, before the first trial.
            RuntimeError: every trial failed.
            KeyboardInterrupt: Ctrl-C; results_ holds what there is, and with a directory the same
                call goes on.
        """
        checking.arguments(self)
        space = Space.of(self.estimator, self.space)
        points = checking.enqueued(self.enqueue, space, self.estimator)
        wanted = measure(
            self.estimator, self.objective, self.scoring, self.refit, by_log=self._by_log
        )
        checking.data(self, x, y, validation_data, groups, sample_weight)
        data = Data(x, y, sample_weight, validation_data)
        with self._folder(space) as folder:
            whole, cuts, own = self._cut(data, groups, folder.seed)
            proposer = self._proposer(space, points, folder.seed, wanted.maximize)
            folder.describe(self._description(space, points, wanted, data, cuts))
            executor = self._executor(folder, whole, cuts, wanted)
            try:
                if not folder.store.trials():
                    self._rehearse(executor, space, folder.seed, own)
                self._run(folder, proposer, executor, space, wanted, cuts)
            finally:
                executor.close()
                folder.remove_data()
        self.n_splits_, self.scorer_, self.multimetric_ = max(1, len(cuts)), wanted, wanted.several
        self._choose()
        if self.refit:
            self._refit(data)
        return self

    def top(self, n: int = 5) -> Any:
        """The rows of results_ with the best scores, the best first.

        Raises:
            sklearn.exceptions.NotFittedError: before fit.
        """
        check_is_fitted(self, "results_")
        return results.ranked(self.results_, maximize=self._maximize, by_rung=self._by_rung).head(n)

    # ---- the parts of a search ---------------------------------------------------------------

    def _proposer(self, space: Space, points: list[Point], seed: int, maximize: bool) -> Proposer:
        """Who proposes the trials."""
        raise NotImplementedError

    def _method(self) -> dict[str, Any]:
        """What of the arguments decides which trials there are."""
        raise NotImplementedError

    @property
    def _most_trials(self) -> int | None:
        """The most trials there will be, or None."""
        raise NotImplementedError

    @property
    def _has_rungs(self) -> bool:
        """Whether trials go on from others."""
        raise NotImplementedError

    @property
    def _by_rung(self) -> bool:
        """Whether only a trial of the last rung can be the best."""
        return False

    @contextmanager
    def _folder(self, space: Space) -> Iterator[study.Folder]:
        if self.directory is not None:
            path = Path(self.directory)
            folder = study.Folder(path, space, self.resume, self.seed, _draw)
            try:
                yield folder
            finally:
                folder.close()
            return
        with tempfile.TemporaryDirectory(prefix="study-", ignore_cleanup_errors=True) as made:
            folder = study.Folder(Path(made), space, "auto", self.seed, _draw)
            try:
                yield folder
            finally:
                folder.close()

    def _cut(self, data: Data, groups: Any, seed: int) -> tuple[Data, list[Split], bool]:
        """The data as trials see them, splits, and whether rows were held out by the search."""
        classifier = is_classifier(self.estimator)
        if self.cv is not None:
            return data, splits(data, self.cv, groups, classifier=classifier), False
        if data.validation is not None:
            return data, [], False
        trainer = trainer_in(self.estimator)[1]
        share = (trainer.validation_split if trainer is not None else 0) or HOLDOUT
        return data.held(holdout(data, share, seed, classifier=classifier)), [], True

    def _description(
        self, space: Space, points: list[Point], wanted: Measure, data: Data, cuts: list[Split]
    ) -> dict[str, Any]:
        scored = [wanted.name, "max" if wanted.maximize else "min", study.described(self.scoring)]
        return {
            "search": {"class": type(self).__name__, **self._method()},
            "estimator": study.description(self.estimator),
            "space": {name: repr(domain) for name, domain in space.domains.items()},
            "enqueue": [space.to_json(point) for point in points],
            "objective": scored,
            "executions_per_trial": self.executions_per_trial,
            "data": fingerprint_of(data, cuts),
        }

    def _executor(
        self, folder: study.Folder, data: Data, cuts: list[Split], wanted: Measure
    ) -> Executor:
        # states are kept where trials go on from others, and where a kill could cost long ones
        states = self._has_rungs or self.directory is not None
        is_trainer = trainer_in(self.estimator)[1] is not None
        in_process = self.executor == "serial"
        work = Evaluation(
            self.estimator,
            wanted,
            data if in_process else keep(data, folder.path),
            splits=cuts,
            executions=self.executions_per_trial,
            folder=(folder.path / study.TRIALS).resolve() if states and is_trainer else None,
        )
        if callable(self.executor):
            made: Executor = self.executor(work)
            return made
        if in_process:
            from search.executors.serial import Serial

            return Serial(work)
        from search.executors.processes import Processes

        return Processes(
            work,
            workers=checking.workers(self.workers, self._most_trials),
            timeout=self.trial_timeout,
            memory=self.trial_memory,
        )

    def _rehearse(self, executor: Executor, space: Space, seed: int, own: bool) -> None:
        """See that a fit can be done and measured, and that of the refit, with some values.

        Where the search held rows out, the refit has no validation data, and a callback may need
        them.
        """
        trainer = trainer_in(self.estimator)[1]
        alone = own and trainer is not None and bool(trainer.callbacks and self.refit)
        if trainer is not None and trainer.validation_split:
            alone = False
        drawn = space.draw(np.random.default_rng(seed))
        reasons = []
        for params in ({}, drawn):
            try:
                executor.submit(Rehearsal(params, alone)).result()
            except Failure as failure:
                reasons.append(failure)
            else:
                return
        raise ValueError(
            f"{type(self.estimator).__name__}: a fit on a few rows, before the first trial, failed "
            f"with the estimator's own values and with {drawn!r}: {reasons[0]}"
        ) from reasons[0]

    def _run(
        self,
        folder: study.Folder,
        proposer: Proposer,
        executor: Executor,
        space: Space,
        wanted: Measure,
        cuts: list[Split],
    ) -> None:
        from search.display import Display

        fits = max(1, len(cuts)) * self.executions_per_trial
        coordinator = Coordinator(
            folder.store,
            proposer,
            executor,
            seed=folder.seed,
            maximize=wanted.maximize,
            objective=wanted.name,
            by_rung=self._by_rung,
            retries=self.trial_retries,
            max_trials=self._most_trials,
            max_seconds=self.max_seconds,
            max_epochs=self.max_epochs,
            cost=lambda trial, parent: fits * self._epochs(trial, parent),
            callbacks=[
                study.Tidy(folder.path / study.TRIALS, rungs=self._has_rungs),
                *self.callbacks,
                Display(self.verbose),
            ],
        )
        self._space, self._maximize, self._objective = space, wanted.maximize, wanted.name
        self.seed_, self.directory_ = folder.seed, self.directory and str(folder.path)
        try:
            coordinator.run()
        finally:
            self._trials, self._best = coordinator.trials, coordinator.best
            self._seconds = coordinator.seconds
            self._folds = folder.store.frame("folds")
            self.epochs_ = folder.store.frame("epochs")
            names = list(space.domains)
            self.results_ = results.table(self._trials, names, self._folds, self.epochs_)

    def _epochs(self, trial: Trial, parent: Trial | None) -> int:
        """The epochs that a fit of the trial may take, without its parent's."""
        prefix, trainer = trainer_in(self.estimator)
        if trainer is None:
            return 0
        own = trial.params.get(f"{prefix}epochs", trainer.epochs)
        before = 0 if parent is None else parent.epochs or 0
        return int(trial.epochs or own) - before

    def _choose(self) -> None:
        ended = [t for t in self._trials if t.state in ("completed", "failed")]
        best = self._best
        if best is None or best.score is None:
            reasons = [t.error or "" for t in ended]
            first = f"the first: {reasons[0]}" if reasons else "a budget was used up before one"
            raise RuntimeError(f"none of {len(ended)} trials gave a score; {first}")
        self.cv_results_ = results.cv_results(
            ended,
            list(self._space.domains),
            self._folds,
            n_splits=self.n_splits_,
            maximize=self._maximize,
            several=checking.score_names(self.scoring, ended) if self.multimetric_ else (),
        )
        self.best_index_ = ended.index(best)
        self.best_params_, self.best_score_ = dict(best.params), best.score

    def _refit(self, data: Data) -> None:
        began = time.perf_counter()
        assert self._best is not None
        made = evaluation.fresh(self.estimator, self.best_params_, self._best.seed)
        prefix, trainer = trainer_in(made)
        if trainer is not None and self._best.epochs is not None:
            made.set_params(**{f"{prefix}epochs": self._best.epochs})
        evaluation.fit(made, data)
        self.best_estimator_ = made
        self.refit_time_ = time.perf_counter() - began

    # ---- as the best estimator ---------------------------------------------------------------

    def score(self, x: Any, y: Any = None) -> float:
        """The score of the best estimator: what trials are compared by if it is a scorer's.

        Where the objective is a log it is the estimator's own score.
        """
        check_is_fitted(self, "best_estimator_")
        if self.scorer_.log:
            return float(self.best_estimator_.score(x, y))
        return self.scorer_.scores(self.best_estimator_, x, y)[self.scorer_.key]

    @available_if(_delegated("predict"))
    def predict(self, x: Any) -> Any:
        """The best estimator's predictions."""
        return self._ask_best("predict", x)

    @available_if(_delegated("predict_proba"))
    def predict_proba(self, x: Any) -> Any:
        """The best estimator's probabilities."""
        return self._ask_best("predict_proba", x)

    @available_if(_delegated("predict_log_proba"))
    def predict_log_proba(self, x: Any) -> Any:
        """The logarithms of the best estimator's probabilities."""
        return self._ask_best("predict_log_proba", x)

    @available_if(_delegated("decision_function"))
    def decision_function(self, x: Any) -> Any:
        """The best estimator's decision function."""
        return self._ask_best("decision_function", x)

    @available_if(_delegated("transform"))
    def transform(self, x: Any) -> Any:
        """What the best estimator makes of x."""
        return self._ask_best("transform", x)

    @available_if(_delegated("evaluate"))
    def evaluate(self, x: Any, y: Any = None, *, sample_weight: Any = None) -> dict[str, float]:
        """The best Trainer's loss and metrics on the given data."""
        check_is_fitted(self, "best_estimator_")
        found: dict[str, float] = self.best_estimator_.evaluate(x, y, sample_weight=sample_weight)
        return found

    def _ask_best(self, method: str, x: Any) -> Any:
        check_is_fitted(self, "best_estimator_")
        return getattr(self.best_estimator_, method)(x)

    @property
    def classes_(self) -> Any:
        """The labels, of a classifier."""
        _delegated("classes_")(self)
        return self.best_estimator_.classes_

    @property
    def n_features_in_(self) -> int:
        """The features that fit saw."""
        if not hasattr(self, "best_estimator_"):
            raise AttributeError(f"{type(self).__name__} is not fitted: it has no n_features_in_")
        count: int = self.best_estimator_.n_features_in_
        return count

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "results_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        own = get_tags(self.estimator)
        tags.estimator_type = own.estimator_type
        tags.classifier_tags = deepcopy(own.classifier_tags)
        tags.regressor_tags = deepcopy(own.regressor_tags)
        tags.target_tags = deepcopy(own.target_tags)
        tags.input_tags = deepcopy(own.input_tags)
        return tags


def _draw() -> int:
    return secrets.randbits(31)
