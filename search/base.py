"""Search: what all searches share, from the arguments of fit to the best estimator.

Responsible for the sequence of steps in a search. Not for proposing trials (`searches`), running
one (`evaluation`), scheduling them (`coordinator`), or acting as the best estimator (`best`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import secrets
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, is_classifier
from sklearn.utils.validation import check_is_fitted

from search import checking, earlier, routing
from search.best import BestEstimator
from search.executors import Executor, Failure, ray_settings
from search.executors.node_files import NodeFile
from search.kept import Kept, as_html
from search.proposers import Proposer
from search.proposers.pruning import Pruned
from search.reports import results
from search.space import Point, Space, assembled, described_domain, values
from search.studies import StudyResults, history_table
from search.study import evaluation, goals, progress, stopping, trial_tasks
from search.study.callbacks import SearchCallback
from search.study.coordinator import EARLIER, Coordinator
from search.study.data import (
    HOLDOUT,
    Data,
    Split,
    fingerprint_of,
    holdout,
    keep,
    packed,
    splits,
    unpacked,
    unseeded,
)
from search.study.ending import Ending
from search.study.evaluation import DryRun, Evaluation
from search.study.folder import Folder, Tidy, description
from search.study.function import Function
from search.study.goals import Goals
from search.study.models import KeepModels
from search.study.progress import Progress
from search.study.remote import Collect, Storage, StoredFolders
from search.study.resource import (
    EPOCHS,
    FACTOR,
    ROWS,
    STEPS,
    Resource,
    ladder,
    unit_of,
)
from search.study.scoring import Measure, chosen, measure, trainer_in
from search.study.storage import ENDED, Store, Trial
from search.study.trial import Fold
from search.study.trial_tasks import TrialTasks
from trainer import sklearn_callbacks
from trainer.base import Trainer
from trainer.data.streams import is_stream
from trainer.runs import code
from trainer.runs import values as held
from trainer.runs.directory import FREE, described
from trainer.sklearn_callbacks import SupportsCallbacks, Task
from trainer.utils.checks import python_scalar
from trainer.utils.scratch import Scratch, sweep

if TYPE_CHECKING:
    import pandas as pd

    from search.executors.processes import Processes
    from search.executors.ray_tasks import RayTasks

REHEARSALS = 6  # points tried before a search ends because every one fails alike
TEMPORARY = ("search-", "study-")  # folders of workers, and of studies without a directory


class Search(SupportsCallbacks, Kept, BestEstimator, MetaEstimatorMixin, BaseEstimator):
    """A search over the hyperparameters of an estimator: see TunerSearch and SklearnSearch."""

    _by_log: ClassVar[bool]
    estimator: Any
    space: Any
    objective: Any
    scoring: Any
    cv: Any
    executions_per_trial: int
    enqueue: Any
    pruner: str | None
    factor: float | None
    min_resources: float | None
    resource: str | None
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
    keep_models: int
    warm_start_from: Any
    return_train_score: bool
    target_score: float | None
    patience_trials: int | None
    _known: list[tuple[Trial, list[Fold]]]

    # ---- what people call --------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        validation_data: Any = None,
        groups: Any = None,
        sample_weight: Any = None,
        **fit_params: Any,
    ) -> Self:
        """Run the trials, or resume the study in the directory; then refit the best on all rows.

        With early stopping the refit trains for as many epochs as the best trial's kept weights
        had been trained (the mean over its fits, rounded), without stopping early. In a fold of a
        cross-validation, callbacks that watch a log see a tenth of its training rows (or
        validation_split of them; complete groups, if there are groups; the last rows, with the
        same gap before them, if every split tests on later rows), and its test rows only give the
        score.

        Args:
            x: rows, as the estimator takes them; sent to workers once, memory-mapped. A stream
                needs executor="serial".
            y: targets of the rows.
            validation_data: (x, y) or (x, y, sample_weight) to score trials on. None without cv:
                a fraction of the rows is held out, the Trainer's validation_split or a fifth.
            groups: group of each row [n], for cv splitters that use groups.
            sample_weight: weight of each row [n], used in fitting and in logs; scikit-learn scores
                ignore it.
            fit_params: further arguments of the estimator's fit, such as `step__argument` of a
                pipeline; of those with one value per row each fold gets its rows. If
                sklearn.set_config(enable_metadata_routing=True), these, sample_weight and groups
                go where the estimator, the scorer and the splitter request them.

        Returns:
            self.

        Raises:
            TypeError, ValueError: bad arguments, before the first trial.
            RuntimeError: every trial failed.
            KeyboardInterrupt: on Ctrl-C; results_ holds the trials so far, and with a directory
                the same call resumes.
        """
        with contextlib.ExitStack() as ends:
            ends.enter_context(_in_python(self))
            checking.arguments(self)
            self._check_method()
            self._source: StudyResults | None = None
            if self.warm_start_from is not None:
                self._source = earlier.opened(self.warm_start_from, self.directory)
            trial_tasks.checked(self)
            for name in ("_early", "_cluster"):
                ends.callback(setattr, self, name, None)  # a fitted search can be pickled
            self._cluster = self._connected(ends)
            self._early = self._started_early(ends)
            return self._fit(x, y, validation_data, groups, sample_weight, fit_params)

    def _fit(
        self,
        x: Any,
        y: Any,
        validation_data: Any,
        groups: Any,
        sample_weight: Any,
        fit_params: dict[str, Any],
    ) -> Self:
        self._resume_method({})
        space = Space.of(self.estimator, self.space)
        checking.fields(self, space)
        checking.pruning(self, space, self._own_rungs, streamed=is_stream(x))
        points = checking.enqueued(self.enqueue, space, self.estimator)
        first, others = goals.split(self.objective)
        wanted = self._wanted(first)
        self._goals = self._checked_goals(wanted, others, x)
        routed = routing.route(self, sample_weight, groups, fit_params)
        sample_weight, groups = routed.weight, routed.groups
        checking.data(self, wanted, x, y, validation_data, groups, sample_weight)
        data = dataclasses.replace(
            Data.of(x, y, sample_weight, validation_data),
            fit_params=routed.fit,
            score_params=routed.score,
        )
        trainer = trainer_in(self.estimator)[1]
        if trainer is not None:
            data, kept = data.with_targets(trainer.missing_targets())
            groups = groups if groups is None or kept is None else np.asarray(groups)[kept]
        self._chosen = chosen(self.estimator, data.x, data.y)
        checking.threshold(self, space, validation_data, self._share)
        cuts = []
        if self.cv is not None:
            cuts = splits(data, self.cv, groups, classifier=is_classifier(self.estimator))
        with sklearn_callbacks.managed(self):
            with self._folder(space) as folder:
                if not folder.store.empty:
                    self._resume_method(folder.store.get("description")["search"])
                self._trained = self._as_in(folder, data)
                whole, cuts = self._cut(data, cuts, folder)
                grouped = None if groups is None else np.asarray(groups)
                fits = max(1, len(cuts)) * self.executions_per_trial
                checking.epochs(self, space, fits, self.epochs_of_a_fit, rungs=self._has_rungs)
                now = self._description(space, points, wanted, data, cuts)
                if not folder.store.empty:
                    folder.describe(now)  # before its trials are read in this space
                self._known = self._taken_over(folder, space, now)
                self._resource = self._measured_rungs(whole, cuts, folder.seed)
                proposer = self._proposer(space, points, folder.seed, wanted.maximize)
                if self._resource is not None:
                    proposer = Pruned(
                        proposer,
                        str(self.pruner),
                        self._resource.amounts,
                        factor=self.factor or FACTOR,
                        maximize=wanted.maximize,
                    )
                if self._known and not proposer.learns:
                    raise ValueError(
                        f"warm_start_from={str(self.warm_start_from)!r}: this method compares only "
                        "trials whose epochs it chose itself; write tuner='random' or "
                        "tuner='bayesian' without a pruner, or leave out warm_start_from"
                    )
                if folder.store.empty:
                    folder.describe(now)
                with self._executor(folder, whole, cuts, grouped, wanted) as executor:
                    if folder.store.empty:
                        self._dry_run(executor, space, folder.seed, alone=validation_data is None)
                    self._delete_results()
                    self._described, self._environment = now, folder.store.get("environment")
                    self.n_splits_, self.multimetric_ = max(1, len(cuts)), wanted.several
                    self._measure, self.scorer_ = wanted, wanted.scorer(self.estimator)
                    task = self._task(x, y, sample_weight)
                    self._run(folder, proposer, executor, space, fits, task)
            self._choose_best()
            if self.refit:
                self._refit(data, task)
            if task is not None:
                task.end()
        return self

    def get_metadata_routing(self) -> Any:
        """Return where scikit-learn's metadata routing sends the arguments of fit."""
        return routing.router(self)

    # ---- the parts of a search ---------------------------------------------------------------

    @abstractmethod
    def _check_method(self) -> None:
        """Check the arguments that say which trials there are, as far as they need no space."""

    @abstractmethod
    def _proposer(self, space: Space, points: list[Point], seed: int, maximize: bool) -> Proposer:
        """Return the proposer of the trials."""

    def _wanted(self, objective: Any) -> Measure:
        """Return what the score of a trial is, given the first objective."""
        return measure(self.estimator, objective, self.scoring, self.refit, by_log=self._by_log)

    def _checked_goals(self, wanted: Measure, others: list[tuple[str, bool]], x: Any) -> Goals:
        """Return the objectives and constraints, which the method must be able to use."""
        function = isinstance(self.estimator, Function)  # it returns its values itself
        known = set()
        if function or trainer_in(self.estimator)[1] is not None:
            known.add("parameters")
        if function or hasattr(self.estimator, "predict") and not is_stream(x):
            known.add("latency")
        found = goals.check(wanted, others, self.constraints, known)
        if found.plain:
            return found
        told = f"objective={self.objective!r}"
        if not found.several:
            told = f"constraints={self.constraints!r}"
        if self.pruner is not None:
            raise ValueError(
                f"pruner={self.pruner!r}: compares trials at a rung by a single score, and there "
                f"is {told}; leave one of them out"
            )
        if self._single is not None:
            raise ValueError(
                f"{self._single}: knows only a single score, and there is {told}; write "
                "'tpe', 'nsga2', 'random' or 'grid' instead"
            )
        return found

    @property
    @abstractmethod
    def _single(self) -> str | None:
        """The argument of a method that knows only a single score; None if it knows more."""

    @abstractmethod
    def _method(self) -> dict[str, Any]:
        """Return the arguments that determine which trials there are."""

    def _resume_method(self, begun: Mapping[str, Any]) -> None:
        """Take what the arguments leave open from a study's method (of a new study: empty)."""

    @property
    @abstractmethod
    def _most_trials(self) -> int | None:
        """The most trials there will be, or None."""

    @property
    @abstractmethod
    def _has_rungs(self) -> bool:
        """Whether trials may resume from other trials."""

    @property
    @abstractmethod
    def _own_rungs(self) -> str:
        """The argument by which the method chooses rungs itself; empty if it does not."""

    @property
    def _by_rung(self) -> bool:
        """Whether only a trial of the last rung can be the best."""
        return self.pruner is not None

    @property
    def _described_pruning(self) -> dict[str, Any]:
        """The arguments of pruning that determine which trials there are, if it prunes."""
        if self.pruner is None:
            return {}
        names = ("pruner", "factor", "min_resources", "resource")
        return {name: getattr(self, name) for name in names}

    def _measured_rungs(self, data: Data, cuts: list[Split], seed: int) -> Resource | None:
        """Return the rungs of the trials; None without a pruner.

        Raises:
            ValueError: there is no rung below the last one.
        """
        if self.pruner is None:
            return None
        trainer = trainer_in(self.estimator)[1]
        name = self.resource or EPOCHS
        factor = self.factor or FACTOR
        rows = 0 if is_stream(data.x) else len(cuts[0][0]) if cuts else data.n
        unit = steps = 1
        if name == ROWS:
            full = rows
        elif trainer is None:
            full = int(self.estimator.get_params(deep=True)[name])
        else:
            assert self._chosen is not None
            full = self._chosen.values.epochs
            if name == STEPS:
                held = self._chosen.values.validation_split if data.validation is None else 0.0
                steps = math.ceil(rows * (1 - held) / self._chosen.values.batch_size)
                full *= steps
        least = self.min_resources or (1 if name == EPOCHS else full / factor**3)
        if least < 1 and name == ROWS and self.min_resources is not None:
            least *= rows
        elif name == ROWS and self.min_resources is None and is_classifier(self.estimator):
            least = max(least, 2 * len(np.unique(data.y)))  # as in scikit-learn's halving
        if name == STEPS:
            unit = unit_of(steps, least)
            full, least = full // unit, least / unit
        amounts: tuple[int, ...] = ()
        if least < full:
            amounts = ladder(full, factor, max(least, 1))
        if len(amounts) < 2:
            raise ValueError(checking.no_rungs(self, name, full * unit, factor))
        return Resource(name, amounts, unit, seed)

    @contextlib.contextmanager
    def _folder(self, space: Space) -> Iterator[Folder]:
        with contextlib.ExitStack() as ends:
            for prefix in TEMPORARY:  # left by searches that were killed
                sweep(prefix)
            if self.directory is not None:
                path, resume = Path(self.directory), self.resume
            else:
                path, resume = ends.enter_context(Scratch("study-")).path, "auto"
            folder = Folder(path, space, resume, self.seed, _draw)
            ends.callback(folder.close)
            yield folder

    @property
    def epochs_of_a_fit(self) -> int | None:
        """The epochs of one fit of the estimator on these data; None if it is no Trainer."""
        return None if self._chosen is None else self._chosen.values.epochs

    @property
    def _share(self) -> float:
        """The share of the rows that a fit of the estimator holds out."""
        return 0.0 if self._chosen is None else self._chosen.values.validation_split

    def _as_in(self, folder: Folder, data: Data) -> Any:
        """Return the estimator; in a study of 0.1 with the architecture that it chose then."""
        of_0_1 = not folder.store.empty and "architecture" not in folder.store.get("description")
        if not of_0_1 or not isinstance(self.estimator, Trainer):
            return self.estimator
        made = self.estimator.with_first_choice(data.x, data.y)
        self._chosen = made.resolve(data.x, data.y)
        return made

    def _cut(self, data: Data, cuts: list[Split], folder: Folder) -> tuple[Data, list[Split]]:
        """Return the data as trials see them, and the splits, given those of cv."""
        classifier = is_classifier(self.estimator)
        if self.cv is not None:
            return data, self._splits(cuts, folder.store)
        if data.validation is not None:
            return data, []
        share = self._share or HOLDOUT
        last = self._chosen is not None and self._chosen.values.last_rows
        cut = holdout(data, share, folder.seed, classifier=classifier, last_rows=last)
        return data.held(cut), []

    def _splits(self, cuts: list[Split], store: Store) -> list[Split]:
        """Return the splits of cv; those of a splitter without a seed are kept in the study."""
        if not unseeded(self.cv):
            return cuts
        cv = described(self.cv)
        kept = None if store.empty else store.get("splits")
        if kept is not None and kept["cv"] == cv:
            return unpacked(kept["splits"])
        if store.empty:
            store.set("splits", {"cv": cv, "splits": packed(cuts)})
        return cuts

    def _description(
        self, space: Space, points: list[Point], wanted: Measure, data: Data, cuts: list[Split]
    ) -> dict[str, Any]:
        scored = [wanted.name, "max" if wanted.maximize else "min", described(self.scoring)]
        return {
            "search": {
                "class": type(self).__name__,
                **self._method(),
                **self._described_pruning,
            },
            "estimator": description(self.estimator),
            "architecture": None if self._chosen is None else self._chosen.resolved(),
            "space": _described_space(space),
            "enqueue": [space.to_json(point) for point in points],
            "objective": scored,
            **self._goals.described(),
            "executions_per_trial": self.executions_per_trial,
            "data": fingerprint_of(data, cuts),
            "code": code.of(self.estimator, self.scoring, *map(values, space.domains.values()))
            | held.of(self.estimator, FREE, scoring=self.scoring, cv=self.cv),
        }

    @contextlib.contextmanager
    def _executor(
        self, folder: Folder, data: Data, cuts: list[Split], groups: Any, wanted: Measure
    ) -> Iterator[Executor]:
        with contextlib.ExitStack() as ends:
            self._watched = None
            shows = self.verbose in ("auto", 1, True) and self._cluster is None
            if shows and trainer_in(self.estimator)[1] is not None:
                self._watched = ends.enter_context(Scratch("search-")).path
            ends.callback(folder.remove_data)
            with contextlib.closing(
                self._make_executor(folder, data, cuts, groups, wanted)
            ) as executor:
                yield executor

    def _make_executor(
        self, folder: Folder, data: Data, cuts: list[Split], groups: Any, wanted: Measure
    ) -> Executor:
        # save states where trials resume from others, and where a kill could cost long ones
        states = self._has_rungs or self.directory is not None
        is_trainer = trainer_in(self.estimator)[1] is not None
        resource = self._resource
        grows = resource is not None and resource.is_parameter and resource.grows(self.estimator)
        in_process = isinstance(self.executor, str) and self.executor == "serial"
        on_ray = ray_settings(self.executor)
        found: Data | Path | NodeFile = data if in_process else keep(data, folder.data)
        watched: Path | NodeFile | None = self._watched
        if on_ray is not None:
            from search.executors.ray_worker import DATA, PROGRESS

            found, watched = NodeFile(DATA), NodeFile(PROGRESS)
        work = Evaluation(
            self._trained,
            wanted,
            found,
            splits=cuts,
            groups=groups,
            executions=self.executions_per_trial,
            folders=folder.trials if states and (is_trainer or grows) else None,
            resource=self._resource,
            models=folder.models if self.keep_models else None,
            train_score=self.return_train_score,
            artifacts=None if self.directory is None else folder.artifacts,
            progress=watched,
            goals=self._goals,
            storage=self._storage(folder),
        )
        if on_ray is not None:
            return self._on_ray(work, folder)
        if callable(self.executor):
            made: Executor = self.executor(work)
            return made
        if in_process:
            from search.executors.serial import Serial

            return Serial(work)
        from search.executors.processes import Processes

        workers = checking.workers(self.workers, self._most_trials)
        if self._early is not None and self._early.workers == workers:
            self._early.load(work)
            return self._early
        return Processes(
            work, workers=workers, timeout=self.trial_timeout, memory=self.trial_memory
        )

    def _on_ray(self, work: Evaluation, folder: Folder) -> Executor:
        """Return the connection to the cluster, with the work."""
        assert self._cluster is not None
        own = self._storage(folder) is None and work.needs_folders
        self._cluster.load(work, folder.data, shared=folder.data if own else None)
        return self._cluster

    def _storage(self, folder: Folder) -> Storage | None:
        """Return where the folders of trials are on their way, if nodes do not share ours."""
        on_ray = ray_settings(self.executor)
        if on_ray is None or on_ray.storage is None:
            return None
        return Storage(on_ray.storage, folder.identity)

    def _connected(self, ends: contextlib.ExitStack) -> RayTasks | None:
        """Connect to a Ray cluster, if trials run on one."""
        on_ray = ray_settings(self.executor)
        if on_ray is None:
            return None
        from search.executors.ray_tasks import RayTasks

        connected = RayTasks(
            on_ray,
            workers=self.workers,
            most=self._likely_trials,
            timeout=self.trial_timeout,
            memory=self.trial_memory,
        )
        ends.callback(connected.close)
        return connected

    def _started_early(self, ends: contextlib.ExitStack) -> Processes | None:
        """Start workers of a Trainer's search: they import TensorFlow while this process does."""
        if self.executor != "processes" or trainer_in(self.estimator)[1] is None:
            return None
        from search.executors.processes import Processes

        early = Processes(
            workers=checking.workers(self.workers, self._likely_trials),
            timeout=self.trial_timeout,
            memory=self.trial_memory,
            preload=("search.study.evaluation", "keras"),
        )
        ends.callback(early.close)
        early.start()
        return early

    @property
    def _likely_trials(self) -> int | None:
        """The most trials there will be, as far as it is known before the space is."""
        return self._most_trials

    def _dry_run(self, executor: Executor, space: Space, seed: int, *, alone: bool) -> None:
        """Check that an estimator can be fitted and scored, and refitted, with one of a few points.

        If the errors differ, they are due to the points, and the search continues: others may work.

        The refit is checked separately (`alone`) if trials have validation data and the refit has
        none: a callback may need them.
        """
        trainer = trainer_in(self.estimator)[1]
        # what a refit may need validation rows for
        watching = trainer is not None and (
            trainer.callbacks or isinstance(getattr(trainer, "decision_threshold", None), str)
        )
        if trainer is None or self._share or not (watching and self.refit):
            alone = False
        generator = np.random.default_rng(seed)
        points: list[Point] = [{}, *(space.draw(generator) for _ in range(REHEARSALS - 1))]
        reasons: list[Failure] = []
        for params in points:
            try:
                executor.submit(DryRun(params, alone)).result()
            except Failure as failure:
                reasons.append(failure)
                if len(reasons) > 1 and failure.again:
                    break  # a process died: more of them would
            else:
                return
        said_by_each = {results.reason(str(failure)) for failure in reasons}
        if len(said_by_each) > 1 and not any(failure.again for failure in reasons):
            return  # errors of these points, not of every trial's
        own, others = (results.reason(str(failure)) for failure in reasons[:2])
        said = own.removeprefix("ValueError: ").removeprefix("TypeError: ")
        kind = TypeError if own.startswith("TypeError: ") else ValueError
        too = "too" if own == others else f"it was: {others}"
        raise kind(
            f"{said}\nThis error ended a fit of {type(self.estimator).__name__} before the first "
            f"trial, with its own parameters; with {points[1]!r} {too}"
        ) from reasons[0]

    def _run(
        self,
        folder: Folder,
        proposer: Proposer,
        executor: Executor,
        space: Space,
        fits: int,
        task: Task | None,
    ) -> None:
        from search.reports.display import Display

        wanted = self._measure
        history = folder.store.get("history") or []
        # how many rungs trials will have together is not known
        planned = self._most_trials if self._resource is None else None
        most = None if planned is None else planned + len(self._known)
        tasks = None if task is None else TrialTasks(task, planned, fits)
        coordinator = Coordinator(
            folder.store,
            proposer,
            executor,
            seed=folder.seed,
            maximize=wanted.maximize,
            directory=None if self.directory is None else folder.path,
            objective=wanted.name,
            goals=self._goals,
            by_rung=self._by_rung,
            retries=self.trial_retries,
            last_rung=None if self._resource is None else len(self._resource.amounts) - 1,
            max_trials=most,
            max_seconds=self.max_seconds,
            max_epochs=self.max_epochs,
            cost=lambda trial, parent: fits * self._epochs(trial, parent),
            callbacks=[
                *self._tidying(folder),
                *self._keeper(folder),
                Ending(self.target_score, self.patience_trials),
                *self.callbacks,
                Display(self.verbose, self._progress, self._node),
                *([] if tasks is None else [tasks]),
            ],
            known=self._known if folder.store.empty else (),
            task=tasks.of if tasks is not None else lambda trial: None,
        )
        self._space, self._maximize, self._objective = space, wanted.maximize, wanted.name
        folder.record_space()
        self._identity = folder.store.get("identity")
        self.seed_, self.directory_ = folder.seed, self.directory and str(folder.path)
        try:
            coordinator.run()
            if tasks is not None:
                tasks.end()
        finally:
            self._trials, self._best = coordinator.trials, coordinator.best
            self._seconds = coordinator.seconds
            self._folds = folder.store.frame("folds")
            self.epochs_ = folder.store.frame("epochs")
            self._attributes = folder.store.attributes()
            if history:
                self.history_ = history_table(history)
            names = list(space.domains)
            self.results_ = results.table(
                self._trials, names, self._folds, self.epochs_, resource=self._resource
            )

    def _taken_over(
        self, folder: Folder, space: Space, now: dict[str, Any]
    ) -> list[tuple[Trial, list[Fold]]]:
        """Return the trials that a new study begins with, or those that this one began with."""
        if not folder.store.empty:
            return [(t, []) for t in folder.store.trials() if t.key.startswith(EARLIER)]
        if self._source is None:
            return []
        taken = earlier.take(self._source, space, self.estimator, now)
        if not taken.known:
            why = next((r["why"] for r in taken.history), "it has no trial that ended")
            raise ValueError(
                f"warm_start_from={str(self.warm_start_from)!r}: none of its "
                f"{len(taken.history)} trials lies in the space ({why}); widen the space, or leave "
                "out warm_start_from"
            )
        folder.store.set("history", taken.history)
        return taken.known

    def _progress(self, trial: int) -> Progress | None:
        if self._cluster is not None:
            written = self._cluster.progress(trial)
            return None if written is None else progress.parsed(written)
        return None if self._watched is None else progress.read(self._watched, trial)

    def _node(self, trial: int) -> str:
        """Return the node that runs a trial; empty if there are no nodes."""
        return "" if self._cluster is None else self._cluster.node(trial)

    def _tidying(self, folder: Folder) -> list[SearchCallback]:
        tidy: list[SearchCallback] = [Tidy(folder.trials, rungs=self._has_rungs)]
        storage = self._storage(folder)
        if storage is not None:
            states = StoredFolders(storage, folder.trials.path.name)
            tidy.append(Tidy(states, rungs=self._has_rungs))
            tidy.append(Collect(storage, folder.models, folder.artifacts))
        return tidy

    def _keeper(self, folder: Folder) -> list[SearchCallback]:
        if not self.keep_models:
            return []
        self._maximize = self._measure.maximize
        return [KeepModels(folder.models, self.keep_models, self.merit)]

    def _html_repr(self) -> str:
        """Return what a notebook shows: scikit-learn's diagram and, after fit, the results."""
        diagram: str = super()._html_repr()
        return f"<div>{diagram}{as_html(self)}</div>" if "results_" in vars(self) else diagram

    def _table(self) -> pd.DataFrame:
        check_is_fitted(self, "results_")
        return self.results_

    @property
    def _owner(self) -> Any:
        return type(self.estimator) if isinstance(self.estimator, Trainer) else None

    @property
    def _trusted(self) -> bool:
        return True  # it trained them itself, and its workers exchange pickles through files

    def _epochs(self, trial: Trial, parent: Trial | None) -> int:
        """The number of epochs that one fit of the trial may take, without its parent's."""
        prefix, trainer = trainer_in(self.estimator)
        if trainer is None:
            return 0
        own = trial.params.get(f"{prefix}epochs", self.epochs_of_a_fit)
        before = 0 if parent is None else parent.epochs or 0
        return int(trial.epochs or own or 0) - before

    def _delete_results(self) -> None:
        """Delete results of an earlier fit: with refit=False nothing would replace them."""
        for name in [n for n in vars(self) if n.endswith("_") and not n.startswith("_")]:
            delattr(self, name)

    def _choose_best(self) -> None:
        ended = [t for t in self._trials if t.state in ENDED]
        best = self._best
        if best is None or best.score is None:
            if not ended:
                raise RuntimeError("no trial has ended: a budget ran out before the first one did")
            raise RuntimeError(
                f"none of {len(ended)} trials has a score; the first failed with: "
                f"{results.reason(ended[0].error or '')}\nSee results_.error for the others"
            )
        if not best.feasible:
            scored = [t for t in ended if t.score is not None]
            raise RuntimeError(
                f"constraints={self.constraints!r}: none of {len(scored)} trials meets them; see "
                "results_, and widen them or try more trials"
            )
        self.cv_results_ = results.cv_results(
            ended,
            list(self._space.domains),
            self._folds,
            n_splits=self.n_splits_,
            maximize=self._maximize,
            several=checking.score_names(self.scoring, ended) if self.multimetric_ else (),
        )
        if callable(self.refit):
            best = self._best = ended[checking.chosen_index(self.refit, self.cv_results_)]
        self.best_index_ = ended.index(best)
        self.best_params_, self.best_score_ = assembled(best.params), best.score

    def _task(self, x: Any, y: Any, sample_weight: Any) -> Task | None:
        """Begin the search as a task of scikit-learn's callbacks, if some watch it."""
        own = sklearn_callbacks.is_watched(trainer_in(self.estimator)[1] or self.estimator)
        most = 1 + bool(self.refit)
        return sklearn_callbacks.root(
            self, most, x=x, y=y, sample_weight=sample_weight, watched=own
        )

    def _refit(self, data: Data, task: Task | None) -> None:
        began = time.perf_counter()
        assert self._best is not None
        made = evaluation.fresh(self._trained, self._best.params, self._best.seed)
        prefix, trainer = trainer_in(made)
        self.refit_epochs_ = None
        with contextlib.ExitStack() as ends:
            if trainer is not None:
                kept = self._best.metrics.get(stopping.KEPT)
                if kept is not None:
                    self.refit_epochs_ = max(1, round(kept))
                    ends.enter_context(stopping.no_early_stopping(trainer))
                epochs = self.refit_epochs_ or self._best.epochs
                if epochs is not None:
                    made.set_params(**{f"{prefix}epochs": epochs})
            elif self._resource is not None and self._resource.is_parameter:
                made.set_params(**{self._resource.name: self._best.epochs})
            ends.enter_context(trial_tasks.refit_of(task, made))
            passes = {} if self._resource is None else self._resource.passes
            evaluation.fit(made, data, passes=passes)
        self.best_estimator_ = made
        self.refit_time_ = time.perf_counter() - began


@contextlib.contextmanager
def _in_python(search: Search) -> Iterator[None]:
    """Let arguments that are NumPy scalars be Python's, as JSON knows them, while it fits."""
    given = search.get_params(deep=False)
    changed = {n: value for n, value in given.items() if isinstance(value, np.generic)}
    for name, value in changed.items():
        setattr(search, name, python_scalar(value))
    try:
        yield
    finally:
        for name, value in changed.items():
            setattr(search, name, value)


def _described_space(space: Space) -> dict[str, Any]:
    if space.parts:
        return {str(i): _described_space(part) for i, part in enumerate(space.parts)}
    return {name: described_domain(domain) for name, domain in space.domains.items()}


def _draw() -> int:
    return secrets.randbits(31)
