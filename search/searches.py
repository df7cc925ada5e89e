"""TunerSearch and SklearnSearch: keras-tuner's and scikit-learn's ways of choosing trials.

Responsible for their arguments, and for making the proposer. Not for running trials (`base`).
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from search import checking
from search.base import Search
from search.proposers import Proposer
from search.proposers.optuna import is_sampler
from search.space import Point, Space, same, taken_apart
from search.study.callbacks import SearchCallback
from search.study.goals import Goals
from search.study.scoring import trainer_in
from trainer.utils.checks import integer, one_of

INITIAL = 3  # random trials per parameter before keras-tuner uses its Gaussian process
MAX_TRIALS = 20  # default of tuners that have no number of their own
OPTUNA = ("tpe", "gp", "cma-es", "qmc", "nsga2")
TUNERS = ("random", "grid", "bayesian", "hyperband", *OPTUNA)
DEFAULT = "tpe"
METHODS = ("grid", "random", "halving")


class TunerSearch(Search):
    """A search with one of keras-tuner's oracles, on all cores, that survives failing trials.

        search = TunerSearch(Classifier(epochs=5), {"learning_rate": Float(1e-4, 1, log=True)})
        search.fit(x, y, validation_data=(x_valid, y_valid))
        search.best_params_, search.best_score_, search.predict(x_test)

    Args:
        estimator: a Trainer, a Pipeline that ends with one, or any scikit-learn estimator.
        space: None: the annotated domains of the estimator, its callbacks and steps. Names: only
            these. A dict from name to Int, Float, Choice, Bool or a list: instead of them. Several
            such dicts in a list: each point lies in one of them.
        tuner: None: "tpe", or, where `directory` has a study, the tuner of that study. Of
            keras-tuner: "random", "grid", "bayesian" (a Gaussian process), "hyperband" (Li et al.
            2018; promoted trials resume from the exact state of their parents). Of Optuna: "tpe"
            (tree-structured Parzen estimators; Bergstra et al. 2011, Watanabe 2023), "gp" (a
            Gaussian process; needs the extra [gp]), "qmc" (Sobol's sequence), "nsga2" (a genetic
            algorithm; Deb et al. 2002), and "cma-es" (of the library cmaes; Hansen and Ostermeier
            2001). Or your own keras_tuner.Oracle, optuna.samplers.BaseSampler, or object with the
            methods of search.proposers.Proposer, which is copied (see docs/extending.md).
        max_trials: maximum number of trials. None: 20; all of a grid or of hyperband's plan; an
            oracle's own number.
        objective: the log that is the score, such as "val_accuracy", of the model as fit left it;
            its direction is known or passed as (name, "max") or keras_tuner.Objective. "score": the
            estimator's score. None: the validation loss, or the score of an estimator that is not a
            Trainer. A list of several: the first is the score, and best_trials_ the Pareto front;
            besides logs they may be "seconds" (of fitting and scoring a trial), "parameters" (of
            the model, frozen ones too) and "latency_ms" (the median time of predict for one row).
        constraints: bounds of such values, {"parameters": (None, 100_000)}: a lower and an upper
            one. A trial that violates them is not the best.
        scoring: a scikit-learn scorer instead of objective: a name, a callable, or several as a
            list or dict, of which refit or objective names the one that counts.
        cv: None: trials are scored on validation data. A number of folds, or a splitter.
        executions_per_trial: fits per split, each with its own seed; the score is the mean.
        enqueue: points to try first, such as [{"learning_rate": 0.01}].
        pruner: trains trials to a rung, and only promising ones further: "asha" (Li et al. 2018;
            one in `factor` of those that have ended at a rung is promoted), "hyperband" (the same
            in brackets that begin at different rungs), "median" (a trial worse than the median at
            a rung ends), "patient" (a trial that does not improve from rung to rung ends). None:
            every trial gets all of the resource. See docs/search.md.
        factor: with a pruner, how many times more of the resource each rung has. None: 3.
        min_resources: with a pruner, the least that the first rung has; for n_samples also a share
            of the rows, such as 0.1. None: 1 epoch; a 27th of other resources.
        resource: with a pruner, what rungs are measured in: "epochs" or "steps" of a Trainer;
            "n_samples", or an integer parameter such as "n_estimators", of other estimators, whose
            own value is the maximum. None: epochs.
        workers: number of trials at once. None: one per core.
        executor: "processes", "serial" (in this process, for debugging), "ray" or a
            search.executors.Ray (on the nodes of a cluster: see docs/clusters.md), or a function
            that makes a search.executors.Executor for the work.
        directory: where to save the study, so that it can be resumed after a kill or with more
            trials, and the states of running trials. None: nowhere.
        resume: "auto": resume a study in the directory if there is one; True: there must be one;
            False: there must not be one; "force": resume it although the code of the estimator or
            of the scorer has changed.
        seed: of the search; each trial's seed is derived from it and from the trial's number. None:
            one is drawn, and saved in seed_.
        refit: whether to fit the best parameters on all rows; the name of the score, of several,
            that determines the best; or a function that takes cv_results_ and returns best_index_,
            as in scikit-learn. The tuner then learns from objective, or else from the first score.
        trial_timeout: seconds after which a trial is ended, with all processes it started.
        trial_memory: bytes above which a trial is ended, with all processes it started. All memory
            they hold together counts: arrays, TensorFlow's own memory, memory shared among them
            (once), swapped out or not. What is mapped from files does not count: libraries, and the
            rows of x and y, which all workers share.
        trial_retries: how many times to restart a trial whose process died.
        max_seconds: no new trial starts after this time.
        max_epochs: maximum number of epochs of all fits together.
        callbacks: SearchCallback objects; callbacks of a training belong to the estimator.
        verbose: 1 a live table, 2 plain lines, 0 nothing; "auto" a table on a terminal or in a
            notebook, lines elsewhere.
        keep_models: the number of best trials whose trained models are kept in the directory, for
            load_model, best_estimators and ensemble.
        warm_start_from: the directory of an earlier study, or what load_study or import_optuna
            returned. A new study starts with those of its trials that lie in the space, which may
            be wider, narrower or different: they count, except for max_trials, and the tuner
            learns from them. history_ has all of them. Objective, data and estimator must be the
            same.
        return_train_score: whether cv_results_ also has the scores on the rows of training.
        target_score: no new trial starts once one has this score, or a better one.
        patience_trials: no new trial starts once this many have ended since the best one did.

    After fit: best_params_, best_score_, best_index_, best_estimator_ (with refit), results_ (a
    DataFrame, one row per trial), epochs_ (a DataFrame, one row per epoch of each fit), cv_results_
    (as scikit-learn's; scores of a loss are losses), n_splits_, seed_, directory_, refit_time_.
    """

    _by_log: ClassVar[bool] = True
    _known: list[Any]
    _goals: Goals
    _begun_with: str = DEFAULT

    @checking.names_of_arguments
    def __init__(
        self,
        estimator: Any,
        space: Any = None,
        *,
        tuner: Any = None,
        max_trials: int | None = None,
        objective: Any = None,
        scoring: Any = None,
        cv: Any = None,
        executions_per_trial: int = 1,
        enqueue: Any = None,
        pruner: str | None = None,
        factor: float | None = None,
        min_resources: float | None = None,
        resource: str | None = None,
        workers: int | None = None,
        executor: Any = "processes",
        directory: Any = None,
        resume: Any = "auto",
        seed: int | None = None,
        refit: Any = True,
        trial_timeout: float | None = None,
        trial_memory: int | None = None,
        trial_retries: int = 1,
        max_seconds: float | None = None,
        max_epochs: int | None = None,
        callbacks: Sequence[SearchCallback] = (),
        verbose: Any = "auto",
        keep_models: int = 0,
        warm_start_from: Any = None,
        return_train_score: bool = False,
        target_score: float | None = None,
        patience_trials: int | None = None,
        constraints: Any = None,
    ) -> None:
        self.estimator = estimator
        self.space = space
        self.tuner = tuner
        self.max_trials = max_trials
        self.objective = objective
        self.scoring = scoring
        self.cv = cv
        self.executions_per_trial = executions_per_trial
        self.enqueue = enqueue
        self.pruner = pruner
        self.factor = factor
        self.min_resources = min_resources
        self.resource = resource
        self.workers = workers
        self.executor = executor
        self.directory = directory
        self.resume = resume
        self.seed = seed
        self.refit = refit
        self.trial_timeout = trial_timeout
        self.trial_memory = trial_memory
        self.trial_retries = trial_retries
        self.max_seconds = max_seconds
        self.max_epochs = max_epochs
        self.callbacks = callbacks
        self.verbose = verbose
        self.keep_models = keep_models
        self.warm_start_from = warm_start_from
        self.return_train_score = return_train_score
        self.target_score = target_score
        self.patience_trials = patience_trials
        self.constraints = constraints

    @property
    def _tuner(self) -> Any:
        return self._begun_with if self.tuner is None else self.tuner

    def _resume_method(self, begun: Mapping[str, Any]) -> None:
        # in 0.1 the default was "bayesian"; a study keeps the tuner that it was started with
        self._begun_with = begun["tuner"] if begun.get("tuner") in TUNERS else DEFAULT

    def _check_method(self) -> None:
        from search.proposers.given import is_proposer

        if self.max_trials is not None:
            integer("max_trials", self.max_trials, low=1, example=MAX_TRIALS)
        tuner = self.tuner
        if isinstance(tuner, str):
            one_of("tuner", tuner, TUNERS)
        elif tuner is not None and not (
            is_proposer(tuner) or _is_oracle(tuner) or is_sampler(tuner)
        ):
            raise TypeError(
                f"tuner={tuner!r}: must be one of {', '.join(map(repr, TUNERS))}, an "
                "optuna.samplers.BaseSampler or keras_tuner.Oracle object, or an object with the "
                "methods of search.proposers.Proposer"
            )

    def _proposer(self, space: Space, points: list[Point], seed: int, maximize: bool) -> Proposer:
        from search.proposers import parts
        from search.proposers.enqueued import Enqueued
        from search.proposers.given import Given, is_proposer

        if is_proposer(self._tuner):
            given = Given(copy.deepcopy(self._tuner), space, self.max_trials)
            return Enqueued(points, given, max_trials=self.max_trials) if points else given
        inner: Proposer
        if self._tuner in OPTUNA or is_sampler(self._tuner):
            inner = self._optuna(parts.flat(space) if space.parts else space, seed, maximize)
        else:
            inner = self._keras_tuner(space, seed, maximize)
        if space.parts:
            inner = parts.Parts(inner, space)
        limited = points or (self._known and inner.learns)
        return Enqueued(points, inner, max_trials=self._limit) if limited else inner

    def _optuna(self, space: Space, seed: int, maximize: bool) -> Proposer:
        from search.proposers.cma import CmaEs
        from search.proposers.optuna import OptunaSampler

        if self._tuner == "cma-es":
            return CmaEs(space, max_trials=self._limit, maximize=maximize, seed=seed)
        return OptunaSampler(
            space,
            self._tuner,
            max_trials=self._limit,
            maximize=self._goals.maximize,
            seed=seed,
            constraints=self._goals.bounds,
        )

    def _keras_tuner(self, space: Space, seed: int, maximize: bool) -> Proposer:
        from search.proposers import parts
        from search.proposers.keras_tuner import KerasTuner

        epochs = None
        if self._tuner == "hyperband":
            epochs = _epochs_for_rungs(self, space, "tuner='hyperband'")
        random = INITIAL * len(space.domains)
        if self._tuner == "bayesian" and (self._limit or 0) <= random:
            warnings.warn(
                f"tuner='bayesian', max_trials={self._limit}: the first {random} trials are "
                f"random, {INITIAL} per parameter, so none is left for the Gaussian process; write "
                f"max_trials={2 * random}, fewer parameters in space=, or tuner='random'",
                UserWarning,
                stacklevel=4,
            )
        own = taken_apart(self.estimator.get_params(deep=True), space)
        return KerasTuner(
            parts.flat(space) if space.parts else space,
            _adopted(self._tuner) if _is_oracle(self._tuner) else self._tuner,
            # an oracle counts the trials that it learns
            max_trials=None if self._limit is None else self._limit + len(self._known),
            maximize=maximize,
            seed=seed,
            epochs=epochs,
            defaults=parts.defaults(space, own) if space.parts else own,
        )

    def _method(self) -> dict[str, Any]:
        # more trials may be added to an existing study; the size of a grid follows from the space
        tuner = self._tuner if isinstance(self._tuner, str) else type(self._tuner).__name__
        return {"tuner": tuner}

    @property
    def _limit(self) -> int | None:
        named = isinstance(self._tuner, str) and self._tuner not in ("grid", "hyperband")
        if self.max_trials is None and (named or is_sampler(self._tuner)):
            return MAX_TRIALS
        return self.max_trials

    @property
    def _most_trials(self) -> int | None:
        return self._limit

    @property
    def _has_rungs(self) -> bool:
        given = not isinstance(self._tuner, str)
        return (
            (given and not is_sampler(self._tuner))
            or self._tuner == "hyperband"
            or self.pruner is not None
        )

    @property
    def _single(self) -> str | None:
        named = self._tuner in ("bayesian", "hyperband", "cma-es")
        if not named and not _is_oracle(self._tuner):
            return None
        return f"tuner={self._tuner if named else type(self._tuner).__name__!r}"

    @property
    def _own_rungs(self) -> str:
        oracle = any(kind.__name__ == "HyperbandOracle" for kind in type(self._tuner).__mro__)
        return "tuner='hyperband'" if oracle or self._tuner == "hyperband" else ""


class SklearnSearch(Search):
    """A search with scikit-learn's methods, on all cores, that survives failing trials and resumes.

        search = SklearnSearch(Classifier(), {"batch_size": [16, 32, 64]}, method="grid", cv=5)
        search.fit(x, y).cv_results_

    Args:
        estimator, space: as in TunerSearch.
        method: "grid" (every combination; ten values of a domain without steps), "random", or
            "halving": `n_iter` candidates with few epochs, the best third of them with three times
            as many, and so on up to the Trainer's epochs (Jamieson and Talwalkar 2016), each
            resuming from its own exact state.
        n_iter: number of trials for "random", of candidates for "halving".
        cv: a number of folds (stratified for classifiers), a splitter, or an iterable of (train,
            test). None: validation data, or a fraction of the rows held out.
        objective: a log of the Trainer instead of the score, as in TunerSearch.
        scoring: None: the estimator's score. Otherwise as in TunerSearch.

    All other arguments, and the attributes after fit, are those of TunerSearch.
    """

    _by_log: ClassVar[bool] = False

    @checking.names_of_arguments
    def __init__(
        self,
        estimator: Any,
        space: Any = None,
        *,
        method: str = "random",
        n_iter: int = 10,
        cv: Any = 5,
        objective: Any = None,
        scoring: Any = None,
        executions_per_trial: int = 1,
        enqueue: Any = None,
        pruner: str | None = None,
        factor: float | None = None,
        min_resources: float | None = None,
        resource: str | None = None,
        workers: int | None = None,
        executor: Any = "processes",
        directory: Any = None,
        resume: Any = "auto",
        seed: int | None = None,
        refit: Any = True,
        trial_timeout: float | None = None,
        trial_memory: int | None = None,
        trial_retries: int = 1,
        max_seconds: float | None = None,
        max_epochs: int | None = None,
        callbacks: Sequence[SearchCallback] = (),
        verbose: Any = "auto",
        keep_models: int = 0,
        warm_start_from: Any = None,
        return_train_score: bool = False,
        target_score: float | None = None,
        patience_trials: int | None = None,
        constraints: Any = None,
    ) -> None:
        self.estimator = estimator
        self.space = space
        self.method = method
        self.n_iter = n_iter
        self.cv = cv
        self.objective = objective
        self.scoring = scoring
        self.executions_per_trial = executions_per_trial
        self.enqueue = enqueue
        self.pruner = pruner
        self.factor = factor
        self.min_resources = min_resources
        self.resource = resource
        self.workers = workers
        self.executor = executor
        self.directory = directory
        self.resume = resume
        self.seed = seed
        self.refit = refit
        self.trial_timeout = trial_timeout
        self.trial_memory = trial_memory
        self.trial_retries = trial_retries
        self.max_seconds = max_seconds
        self.max_epochs = max_epochs
        self.callbacks = callbacks
        self.verbose = verbose
        self.keep_models = keep_models
        self.warm_start_from = warm_start_from
        self.return_train_score = return_train_score
        self.target_score = target_score
        self.patience_trials = patience_trials
        self.constraints = constraints

    def _check_method(self) -> None:
        one_of("method", self.method, METHODS)
        if self.method != "grid":
            integer("n_iter", self.n_iter, low=1)

    def _proposer(self, space: Space, points: list[Point], seed: int, maximize: bool) -> Proposer:
        from search.proposers.sklearn import Halving, Listed, draw

        if self.method == "grid":
            listed = points + _others(space.grid(), points)
            self._count = len(listed)
            return Listed(listed)
        n = self.n_iter
        # the same first points for any n_iter, so that a longer search can resume a shorter one
        listed = (points + _others(draw(space, n, seed), points))[:n]
        if self.method == "random":
            self._count = len(listed)
            return Listed(listed)
        epochs = _epochs_for_rungs(self, space, "method='halving'")
        halving = Halving(listed, epochs=epochs, maximize=maximize)
        self._count = halving.total
        return halving

    def _method(self) -> dict[str, Any]:
        candidates = {"n_iter": self.n_iter} if self.method == "halving" else {}
        return {"method": self.method} | candidates

    @property
    def _most_trials(self) -> int | None:
        return self._count

    @property
    def _likely_trials(self) -> int | None:
        return None if self.method == "grid" or not isinstance(self.n_iter, int) else self.n_iter

    @property
    def _has_rungs(self) -> bool:
        return self.method == "halving" or self.pruner is not None

    @property
    def _single(self) -> str | None:
        return "method='halving'" if self.method == "halving" else None

    @property
    def _own_rungs(self) -> str:
        return "method='halving'" if self.method == "halving" else ""

    @property
    def _by_rung(self) -> bool:
        # as in scikit-learn's halving searches
        return self.method == "halving" or self.pruner is not None


def _others(candidates: Iterable[Point], points: list[Point]) -> list[Point]:
    """Return the candidates that are not among the points."""

    def alike(a: Point, b: Point) -> bool:
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)

    return [c for c in candidates if not any(alike(c, point) for point in points)]


def _epochs_for_rungs(search: Search, space: Space, what: str) -> int:
    prefix, trainer = trainer_in(search.estimator)
    if trainer is None:
        raise ValueError(
            f"{what}: divides the epochs of a Trainer, but {type(search.estimator).__name__} has "
            f"none; write {what.partition('=')[0]}='random'"
        )
    if f"{prefix}epochs" in space.domains:
        raise ValueError(
            f"{what}: chooses the epochs itself; leave {prefix + 'epochs'!r} out of the space, and "
            f"write {type(trainer).__name__}(epochs=...) for the maximum"
        )
    epochs = search.epochs_of_a_fit or 0
    if epochs == 1:
        raise ValueError(
            f"{what}: starts with few epochs, and {type(trainer).__name__}(epochs=1) has no fewer; "
            f"write {type(trainer).__name__}(epochs=27), for example"
        )
    return epochs


def _is_oracle(tuner: Any) -> bool:
    return (
        not isinstance(tuner, type)
        and hasattr(tuner, "create_trial")
        and hasattr(tuner, "get_space")
    )


def _adopted(oracle: Any) -> Any:
    """Return a function that makes a copy of the user's oracle search our space."""
    if oracle.trials:
        raise ValueError(
            f"tuner={type(oracle).__name__}: has {len(oracle.trials)} trials already; pass a new "
            "oracle"
        )

    def make(objective: Any, parameters: Any) -> Any:
        made = copy.deepcopy(oracle)
        made.objective, made.hyperparameters = objective, parameters
        made.allow_new_entries = made.tune_new_entries = False
        return made

    return make
