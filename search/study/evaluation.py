"""What a worker does with a trial: fit the estimator with its parameters, and score it.

Responsible for one trial from its parameters to its result: splits, repetitions, seeds, and
resuming from another trial's last state. Not for choosing trials, nor for processes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from search.executors.node_files import NodeFile
from search.space import Point, assembled
from search.study import models, scoring, stopping, trial_tasks
from search.study.current import CurrentTrial, running
from search.study.data import Data, Split, load
from search.study.function import Function
from search.study.goals import ARGUMENT, LATENCY, MEASURED, PARAMETERS, SECONDS, Goals
from search.study.progress import shown
from search.study.remote import Storage
from search.study.resource import Resource
from search.study.scoring import Measure, trainer_in
from search.study.trial import Fold, Job, Result
from search.study.trial_folders import TrialFolders, delete, refuse_link
from trainer.base import Trainer
from trainer.data.streams import is_stream
from trainer.runs import directory
from trainer.runs.lock import Hold, InUse
from trainer.state.state_file import BadState
from trainer.utils.checks import near_names

DRY_RUN_ROWS = 64  # plus two of each class
UNTIMED, TIMED = 3, 25  # calls of predict before and for the latency
SECONDS_UNTIL_FREE = 20.0  # for a run's folder: workers of a killed coordinator end soon


@dataclass(frozen=True)
class DryRun:
    """A fit on a few rows before the first trial, to check that it works.

    If it fails with so few rows, it is done with all.

    Attributes:
        params: to fit with.
        refit: whether to fit also as the refit will, without validation data.
    """

    params: Point
    refit: bool


class _DiskError(Exception):
    """The folder of a trial cannot be used, however often it is tried."""


class Evaluation:
    """The work of a worker; pickled once, and called for each trial.

    Args:
        estimator: not fitted.
        measure: what the score is.
        data: the data, or the file that `search.study.data.keep` wrote.
        splits: rows to train and to test on; empty: the data have validation data.
        groups: the group of each row [n], or None; rows of a group stay together in a fold.
        executions: number of fits per split.
        folders: of the trials' states, if trials resume after a kill or from a parent.
        models: the folders for trained models, if any are kept.
        train_score: whether to score on the rows of training too.
        artifacts: the folders for files that trials write.
        resource: what the rungs of trials are measured in; None: epochs, if there are rungs.
        progress: the folder for the progress of running trials, or None if nobody watches.
        goals: the objectives and constraints, whose values are measured.
        storage: where the folders of trials come from and go to, if the worker's machine does not
            share the study's directory.
    """

    def __init__(
        self,
        estimator: Any,
        measure: Measure,
        data: Data | Path | NodeFile,
        *,
        splits: Sequence[Split] = (),
        groups: np.ndarray | None = None,
        executions: int = 1,
        folders: TrialFolders | None = None,
        models: TrialFolders | None = None,
        train_score: bool = False,
        artifacts: TrialFolders | None = None,
        resource: Resource | None = None,
        progress: Path | NodeFile | None = None,
        goals: Goals | None = None,
        storage: Storage | None = None,
    ) -> None:
        self._estimator = estimator
        self._measure = measure
        self._data = data
        self._splits = splits
        self._groups = groups
        self._executions = executions
        self._folders = folders
        self._resource = resource
        self._models = models
        self._train_score = train_score
        self._artifacts = artifacts
        self._progress = progress
        self._goals = goals
        self._storage = storage

    @property
    def needs_folders(self) -> bool:
        """Whether workers read or write folders of the study."""
        return any(f is not None for f in (self._folders, self._models, self._artifacts))

    def warm_up(self) -> None:
        """Import what trials will need, and memory-map the data."""
        if trainer_in(self._estimator)[1] is not None:
            import keras  # noqa: F401 (so that the first trial finds it loaded)
        self._load()

    def __call__(self, job: Job | DryRun) -> Result | None:
        """Run a trial or a dry run."""
        self._load()
        if isinstance(job, DryRun):
            self._dry_run(job)
            return None
        trial = CurrentTrial(job.trial, self._artifacts)
        try:
            with self._stored(job), running(trial):
                folds = [
                    self._fold(job, fold, execution)
                    for execution in range(self._executions)
                    for fold in range(max(1, len(self._splits)))
                ]
        except _DiskError as error:
            return Result(None, disk_error=str(error))
        scores = [fold.score for fold in folds]
        whole = [score for score in scores if score is not None]
        # always add in the same order; NumPy's order depends on the number of values
        score = sum(whole) / len(scores) if len(whole) == len(scores) else None
        names = dict.fromkeys(name for fold in folds for name in fold.metrics)
        metrics = {
            name: sum(fold.metrics.get(name, float("nan")) for fold in folds) / len(folds)
            for name in names
        }
        return Result(score, metrics, folds, attributes=trial.attributes)

    def _load(self) -> Data:
        if isinstance(self._progress, NodeFile):
            self._progress = self._progress.path()
        if isinstance(self._data, NodeFile):
            self._data = self._data.path()
            if self._storage is not None:
                # beside the data: it is a folder of this process
                home = self._data.parent
                self._folders, self._models, self._artifacts = (
                    None if folders is None else folders.at(home / folders.path.name)
                    for folders in (self._folders, self._models, self._artifacts)
                )
        if isinstance(self._data, Path):
            self._data = load(self._data)
        return self._data

    @contextlib.contextmanager
    def _stored(self, job: Job) -> Iterator[None]:
        """Get the folders of a trial from the storage, and store them when it has ended.

        Of a trial that raised, only its artifacts are stored.
        """
        storage = self._storage
        if storage is None:
            yield
            return
        states, kinds = self._folders, [self._artifacts]
        earlier = [number for number in (job.trial, job.parent) if number is not None]
        if states is not None:
            for number in earlier:
                with _disk_errors():
                    storage.get(states.path.name, number, states)
        try:
            yield
            kinds += [self._folders, self._models]
        finally:
            for folders in kinds:
                made = None if folders is None else folders.find(job.trial)
                if folders is not None and made is not None:
                    with _disk_errors():
                        storage.put(folders.path.name, job.trial, made)
                        folders.discard(job.trial)
            if states is not None and job.parent is not None:
                states.discard(job.parent)

    def _fold(self, job: Job, fold: int, execution: int) -> Fold:
        try:
            return self._fit_and_score(job, fold, execution)
        except (OSError, directory.RunError, BadState) as error:
            # A fault of the disk in the study's own folder is not the trial's, and what was trained
            # is saved.
            own = self._folders or self._models
            if own is None or str(own.path.parent) not in str(error):
                raise
            try:
                return self._fit_and_score(job, fold, execution)
            except (OSError, directory.RunError) as again:
                if isinstance(again, OSError) or isinstance(again.__cause__, OSError):
                    raise _DiskError(str(again)) from again
                raise

    def _fit_and_score(self, job: Job, fold: int, execution: int) -> Fold:
        data = self._load()
        estimator = fresh(self._estimator, job.params, _seed(job.seed, execution))
        trainer = trainer_in(estimator)[1]
        train, test, fields = self._parts(data, fold, estimator)
        began = time.perf_counter()
        number = execution * max(1, len(self._splits)) + fold
        with trial_tasks.fit_of(job.task, number, estimator):
            if trainer is None:
                estimator, test_parts = self._fit_amount(job, fold, execution, estimator, train)
            else:
                test_parts = self._fit(job, fold, execution, estimator, train, fields)
        fitted = time.perf_counter()
        score, metrics = self._score(estimator, test, test_parts)
        scored = time.perf_counter()
        if self._train_score:
            metrics |= self._scored_on_training(estimator, train)
        if self._models is not None:
            models.save(self._models.make(job.trial), fold, execution, estimator)
        if trainer is not None:
            kept = stopping.kept_epoch(trainer)
            metrics |= {} if kept is None else {stopping.KEPT: kept}
        return Fold(
            fold,
            execution,
            score,
            metrics,
            fitted - began,
            scored - fitted,
            [] if trainer is None else _records(trainer_in(estimator)[1]),
        )

    def _fit(
        self,
        job: Job,
        fold: int,
        execution: int,
        estimator: Any,
        train: Data,
        fields: dict[str, Any],
    ) -> Any:
        """Fit the estimator, as `fit` does, with the trial's epochs and its folder."""
        prefix, trainer = trainer_in(estimator)
        # the estimator's own folder is for a single training: the refit on all rows
        changed: dict[str, Any] = {"verbose": 0, "run_dir": None, **fields}
        if job.epochs is not None:
            changed["epochs"] = job.epochs
        resume: bool | str = "auto"
        if self._folders is not None:
            name = f"{fold}-{execution}"
            changed["run_dir"] = self._folders.make(job.trial) / name
            resume = self._prepare_run(job, changed["run_dir"], name)
        estimator.set_params(**{f"{prefix}{k}": v for k, v in changed.items()})
        passes = {} if self._resource is None else self._resource.passes
        number = execution * max(1, len(self._splits)) + fold + 1
        assert not isinstance(self._progress, NodeFile)  # `_load` has found it
        with directory.state_alone(), shown(self._progress, job.trial, number, trainer):
            return fit(estimator, train, resume=resume, passes=passes)

    def _fit_amount(
        self, job: Job, fold: int, execution: int, estimator: Any, train: Data
    ) -> tuple[Any, Any]:
        """Fit an estimator without epochs with the trial's share of the resource.

        Returns:
            The fitted estimator, which may be another object than the given one; None.
        """
        resource, amount = self._resource, job.epochs
        if resource is None or amount is None:
            return estimator, fit(estimator, train)
        if not resource.is_parameter:
            labels = None
            if is_classifier(estimator) and np.ndim(train.y) == 1:
                labels = np.asarray(train.y)
            rows = resource.rows(train.n, labels, amount)
            return estimator, fit(estimator, train.take(rows))
        if self._folders is None or not resource.grows(estimator):
            estimator.set_params(**{resource.name: amount})
            return estimator, fit(estimator, train)
        name = f"{fold}-{execution}.ensemble"
        before = None if job.parent is None else self._folders.find(job.parent)
        grown = None if before is None else resource.load(before / name)
        estimator = estimator if grown is None else grown
        prefix = resource.name.rpartition("__")[0]
        warm = f"{prefix}__warm_start" if prefix else "warm_start"
        estimator.set_params(**{resource.name: amount, warm: True})
        fit(estimator, train)
        if amount < resource.amounts[-1]:
            path = self._folders.make(job.trial) / name
            refuse_link(path, self._folders.path.parent)
            resource.save(estimator, path)
        return estimator, None

    def _parts(
        self, data: Data, fold: int, estimator: Any
    ) -> tuple[Data, Data | None, dict[str, Any]]:
        """Return the parts of a fold.

        Returns:
            What to fit on; what to score on, unless the score is a log of the fit; the Trainer's
            fields to set. The rows of a fold that it is scored on are not those that callbacks
            watch.
        """
        if self._splits:
            rows, tested = split = self._splits[fold]
            train, test = data.take(rows), data.take(tested)
            trainer = trainer_in(estimator)[1]
            found = scoring.chosen(estimator, train.x, train.y)
            share = 0.0 if found is None else found.values.validation_split
            if trainer is not None and (share or stopping.watches(trainer, found)):
                held = share or stopping.WATCHED
                if self._groups is not None and len(np.unique(self._groups[rows])) > 1:
                    groups = self._groups[rows]
                    return stopping.with_watched_rows(train, groups, fold, held), test, {}
                if stopping.in_order_of_time(self._splits):
                    return stopping.with_last_rows(train, split, held), test, {}
                # fit holds out the share of an architecture itself
                return train, test, {} if share else {"validation_split": stopping.WATCHED}
            if self._measure.log:
                return data.held(split), None, {}
            return train, test, {}
        if self._measure.log:
            return data, None, {}
        x, y, *_ = data.validation
        # arguments of a scorer belong to the rows of training: validation data have none
        return data, Data(x, y), {}

    def _prepare_run(self, job: Job, path: Path, name: str) -> bool | str:
        """Prepare the run folder so that fit resumes the trial, or from a copy of its parent."""
        assert self._folders is not None
        beside = path.with_name(f".{name}")
        for place in (path, beside):
            refuse_link(place, self._folders.path.parent)
        _wait_until_free(path)
        done = directory.finished_epochs(path)
        if done is not None and (job.parent is None or done == job.epochs):
            # the run was finished, but the coordinator was killed before it got the result
            delete(beside)
            os.replace(path, beside)  # so that a kill leaves no half-deleted folder at `path`
        delete(beside)
        before = None if job.parent is None else self._folders.find(job.parent)
        parent = None if before is None else before / name
        # a study that had ended no longer has the parent's state; training from the beginning
        # then leads to the same numbers
        if parent is not None and not path.exists() and parent.exists():
            shutil.copytree(parent, beside, symlinks=True)
            os.replace(beside, path)
        return True if directory.finished_epochs(path) is not None else "auto"

    def _score(
        self, estimator: Any, test: Data | None, validation: Any
    ) -> tuple[float | None, dict[str, float]]:
        score, metrics = self._score_and_logs(estimator, test, validation)
        if self._goals is None or self._goals.plain:
            return score, metrics
        wanted = self._goals.wanted
        network = trainer_in(estimator)[1]
        if PARAMETERS in wanted and network is not None:
            metrics[PARAMETERS] = float(network.model_.count_params())
        if LATENCY in wanted and not isinstance(estimator, Function):
            metrics[LATENCY] = _latency(estimator, self._load().take(np.arange(1)).x)
        for name in wanted:
            if name not in (*metrics, SECONDS, self._goals.names[0]):
                argument = ARGUMENT if name in self._goals.names else "constraints"
                near = near_names(name, (*metrics, *MEASURED))
                meant = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
                raise ValueError(
                    f"{argument}: there is no value {name!r}; {meant}Those of a trial are "
                    f"{', '.join((*metrics, *MEASURED))}"
                )
        return score, metrics

    def _score_and_logs(
        self, estimator: Any, test: Data | None, validation: Any
    ) -> tuple[float | None, dict[str, float]]:
        trainer = trainer_in(estimator)[1]
        metrics = {} if trainer is None else _kept(trainer)
        if isinstance(estimator, Function):
            metrics |= estimator.metrics_
        if self._measure.log:
            assert trainer is not None
            if test is not None:
                x = test.x if estimator is trainer else estimator[:-1].transform(test.x)
                validation = (x, test.y)
            return _log(trainer, self._measure.name, validation), metrics
        assert test is not None
        found = self._measure.scores(estimator, test.x, test.y, test.score_params)
        if len(found) > 1 or self._measure.several:
            metrics |= {f"test_{name}": value for name, value in found.items()}
        return found[self._measure.key], metrics

    def _scored_on_training(self, estimator: Any, train: Data) -> dict[str, float]:
        """Return the scores on the rows of training, by their names in cv_results_."""
        if self._measure.log:
            trainer = trainer_in(estimator)[1]
            assert trainer is not None
            found = stopping.kept_logs(trainer).get(self._measure.name.removeprefix("val_"))
            return {} if found is None else {"train_score": found}
        scores = self._measure.scores(estimator, train.x, train.y, train.score_params)
        if self._measure.several:
            return {f"train_{name}": value for name, value in scores.items()}
        return {"train_score": scores[self._measure.key]}

    def _dry_run(self, job: DryRun) -> None:
        data = self._load()
        train, test, fields = self._parts(data, 0, fresh(self._estimator, job.params, 0))
        few, few_test = train, test
        if not is_stream(train.x):
            few = replace(train.take(_few(train)), validation=train.validation)
        if test is not None and test.n > DRY_RUN_ROWS:
            few_test = test.take(np.arange(DRY_RUN_ROWS))
        try:
            trained = self._dry_run_on(job, few, few_test, fields)
        except Exception:
            if few_test is test and (is_stream(train.x) or few.n == train.n):
                raise
            # more neighbours than rows, say, or fewer rows of a class than the estimator's folds
            trained = self._dry_run_on(job, train, test, fields)
        if self._measure.log:
            self._score(*trained)

    def _dry_run_on(
        self, job: DryRun, train: Data, test: Data | None, fields: dict[str, Any]
    ) -> tuple[Any, ...]:
        as_refit = [replace(train, validation=None)] if job.refit else []
        for part in (*as_refit, train):
            estimator = fresh(self._estimator, job.params, 0)
            trial_tasks.unwatched(estimator)
            prefix, trainer = trainer_in(estimator)
            if trainer is not None:
                short = {"epochs": 1, "verbose": 0, "run_dir": None}
                if part is train:
                    short |= fields
                estimator.set_params(**{f"{prefix}{k}": v for k, v in short.items()})
            with contextlib.ExitStack() as ends:
                if trainer is not None and part is not train:
                    ends.enter_context(stopping.no_early_stopping(trainer))
                validation = fit(estimator, part)
        if not self._measure.log:
            self._score(estimator, test, validation)
        return estimator, test, validation


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _DiskError(str(error)) from error


def fresh(estimator: Any, params: Mapping[str, Any], seed: int) -> Any:
    """Return a clone with the parameters; every random_state that is None becomes the seed."""
    from sklearn.base import clone

    made = clone(estimator).set_params(**clone(assembled(params), safe=False))
    open_ = [
        name
        for name, value in made.get_params(deep=True).items()
        if value is None and (name == "random_state" or name.endswith("__random_state"))
    ]
    return made.set_params(**dict.fromkeys(open_, seed))


def fit(
    estimator: Any,
    data: Data,
    *,
    resume: bool | str = "auto",
    passes: Mapping[str, int] = MappingProxyType({}),
) -> Any:
    """Fit on rows; a Trainer in a pipeline gets validation data transformed like its rows.

    Args:
        estimator: not fitted.
        data: the rows.
        resume: of Trainer.fit.
        passes: further arguments of Trainer.fit, which limit the steps of an epoch.

    Returns:
        The validation data as the Trainer saw them, or None.
    """
    prefix, trainer = trainer_in(estimator)
    weight = {} if data.weight is None else {"sample_weight": data.weight}
    if trainer is None:
        estimator.fit(data.x, data.y, **_routed(estimator, weight), **data.fit_params)
        return None
    x, validation = data.x, data.validation
    if prefix:
        head = estimator[:-1]
        x = head.fit_transform(x, data.y, **data.fit_params)
        if validation is not None and not is_stream(validation):
            validation = (head.transform(validation[0]), *validation[1:])
        estimator.steps[:-1] = head.steps  # a pipeline with memory fits copies
    trainer.fit(x, data.y, validation_data=validation, resume=resume, **weight, **passes)
    return validation


def _wait_until_free(path: Path) -> None:
    until = time.monotonic() + SECONDS_UNTIL_FREE
    while path.exists():
        try:
            Hold(path).release()
        except InUse:
            if time.monotonic() > until:
                return  # fit reports who holds it
            time.sleep(0.1)
        else:
            return


def _routed(estimator: Any, weight: dict[str, Any]) -> dict[str, Any]:
    from sklearn.pipeline import Pipeline

    if not weight or not isinstance(estimator, Pipeline):
        return weight
    return {f"{estimator.steps[-1][0]}__{name}": value for name, value in weight.items()}


def _seed(trial: int, execution: int) -> int:
    if execution == 0:
        return trial
    return int(np.random.SeedSequence([trial, execution]).generate_state(1)[0])


def _few(data: Data) -> np.ndarray:
    """Pick the first rows, and two of each class if y are labels of one output."""
    first = np.arange(min(data.n, DRY_RUN_ROWS))
    if data.y is None or isinstance(data.y, (Mapping, tuple)):
        return first
    y = np.asarray(data.y)
    if y.ndim != 1 or y.dtype.kind == "f":
        return first
    order = np.argsort(y, kind="stable")
    starts = np.flatnonzero(np.r_[True, y[order][1:] != y[order][:-1]])
    pairs = np.concatenate([order[starts], order[np.minimum(starts + 1, len(order) - 1)]])
    return np.unique(np.concatenate([first, pairs]))


def _records(trainer: Trainer | None) -> list[dict[str, float]]:
    return [] if trainer is None else [dict(record) for record in trainer.history_.records]


def _latency(estimator: Any, row: Any) -> float:
    """Return the median time of predict for one row, in milliseconds."""
    for _ in range(UNTIMED):
        estimator.predict(row)
    times = []
    for _ in range(TIMED):
        began = time.perf_counter()
        estimator.predict(row)
        times.append(time.perf_counter() - began)
    return float(np.median(times)) * 1000


def _kept(trainer: Trainer) -> dict[str, float]:
    logs = stopping.kept_logs(trainer)
    return {name: value for name, value in logs.items() if name not in ("epoch", "seconds")}


def _log(trainer: Trainer, name: str, validation: Any) -> float:
    """Return the log for the model as fit left it."""
    last = stopping.kept_logs(trainer)
    if name.startswith("val_") and trainer.callbacks_ and validation is not None:
        # callbacks may have restored the weights of another epoch, or averaged them
        if is_stream(validation):
            found = trainer.evaluate(validation)
        else:
            x, y, *weight = validation
            found = trainer.evaluate(x, y, sample_weight=weight[0] if weight else None)
        if name.removeprefix("val_") in found:
            return found[name.removeprefix("val_")]
    if name not in last:
        known = [n for n in last if n not in ("epoch", "seconds")]
        near = near_names(name, known)
        meant = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        raise ValueError(
            f"objective={name!r}: there is no such metric; {meant}The logs are {', '.join(known)}"
        )
    return last[name]
