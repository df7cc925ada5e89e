"""The coordinator of a study: ask, submit, record and tell, until no trial is left.

Responsible for doing this in an order that lets a study killed at any instant resume without losing
a trial or running one to its end twice. Not for proposing, running or storing trials: it gets
objects for these.

With one worker, trials are asked for and told in the same order every time, so they are the same
trials. A trial that was running when the coordinator was killed is run again with the same seed,
from its start or from its own last state.

If the proposer is slow, as many trials as there are workers are asked for ahead of time and wait in
the executor. With one worker this is not done: each trial would be chosen without the score of the
one before.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any

import numpy as np

from search.executors import Executor, Failure, Withdrawn
from search.proposers import Finished, Outcome, Proposal, Proposer, Wait
from search.study.callbacks import SearchCallback
from search.study.storage import ATTRIBUTES, Store, Trial
from search.study.trial import Fold, Job, Result
from trainer.sklearn_callbacks import Task

SECONDS_BETWEEN_CHECKS = 0.1  # between checks of which trials have started
CHECKS_BETWEEN_WAITS = 5  # checks without a result before callbacks get on_wait


def trial_seed(study: int, trial: int) -> int:
    """Return a trial's seed, which depends only on the study's seed and the trial's number."""
    return int(np.random.SeedSequence([study, trial]).generate_state(1)[0])


class Coordinator:
    """Run a study to its end; callbacks see it as the Study.

    Args:
        store: the study's store; its trials are resumed.
        proposer: made with the same arguments as when the study began.
        executor: its work takes a Job and returns a Result.
        seed: the study's seed.
        maximize: whether a higher score is better.
        directory: where the study is saved, for callbacks; None if it is not.
        objective: the name of the score.
        by_rung: whether the best trial is the best of the last rung, whose trials had all epochs.
        retries: how many times to restart a trial whose process died.
        max_trials: maximum number of trials, if known; enforced by the proposer.
        max_seconds: no new trial starts after this time; or None.
        max_epochs: no trial is started that could exceed this number of epochs, summed over all
            fits of all trials; or None.
        cost: returns the number of epochs that a proposal may take, without its parent's.
        callbacks: notified of events.
        known: trials of an earlier study, whose ends are known: with their state and score, keys
            that no proposer uses, and folds. A new study begins with them.
        task: returns a trial's task, by its number, as scikit-learn's callbacks see it; or None.

    Raises:
        ValueError: the store holds a study with another seed, or a proposer state that this
            proposer cannot read.
    """

    def __init__(
        self,
        store: Store,
        proposer: Proposer,
        executor: Executor,
        *,
        seed: int,
        maximize: bool,
        directory: Path | None = None,
        objective: str = "score",
        by_rung: bool = False,
        retries: int = 1,
        max_trials: int | None = None,
        max_seconds: float | None = None,
        max_epochs: int | None = None,
        cost: Callable[[Trial, Trial | None], int] = lambda trial, parent: 0,
        callbacks: Sequence[SearchCallback] = (),
        known: Sequence[tuple[Trial, list[Fold]]] = (),
        task: Callable[[int], Task | None] = lambda trial: None,
    ) -> None:
        self.directory = directory
        self.objective = objective
        self.maximize = maximize
        self.workers = executor.workers
        self.max_trials = max_trials
        self.max_seconds = max_seconds
        self.max_epochs = max_epochs
        self._store = store
        self._proposer = proposer
        self._executor = executor
        self._seed = seed
        self._by_rung = by_rung
        self._retries = retries
        self._cost = cost
        self._task = task
        self._callbacks = callbacks
        self._ahead = executor.workers if proposer.slow and executor.workers > 1 else 0
        self._submitted: dict[Future[Any], Trial] = {}
        self._started_trials: set[int] = set()
        self._died: dict[int, int] = {}  # by trial: how often its process died
        new = store.empty
        if new:
            self._take_over(known)
        self._trials = store.trials()
        self._best: Trial | None = None
        for trial in self._trials:
            self._compare(trial)
        self._numbers = {trial.key: trial.id for trial in self._trials}
        self._epochs = store.epochs_trained()
        self.finished = False
        self._stopped = False
        self._started = time.monotonic()
        kept = store.get("seed")
        if not new and kept != seed:
            raise ValueError(
                f"seed={seed}: the study in {str(store.path.parent)!r} has seed {kept}; write "
                f"seed={kept} to resume it, or another directory"
            )
        if not new:
            self._restore(store.get("proposer"))

    def _take_over(self, known: Sequence[tuple[Trial, list[Fold]]]) -> None:
        """Begin the study, with trials that are known."""
        with self._store.transaction():
            for trial, folds in known:
                self._proposer.learn(trial.key, trial.params, Outcome(trial.score))
                self._store.add(trial)
                self._store.add_folds(trial.id, folds)
                self._store.end(trial)
            self._store.set("seed", self._seed)
            self._store.set("proposer", self._proposer.snapshot())

    @property
    def trials(self) -> list[Trial]:
        """All trials, in the order they were asked for."""
        return self._trials

    @property
    def best(self) -> Trial | None:
        """The completed trial with the best score, the lowest number if tied; None: none has."""
        return self._best

    @property
    def seconds(self) -> float:
        """Seconds since `run` started."""
        return time.monotonic() - self._started

    def stop(self) -> None:
        """Start no new trials; running ones finish."""
        self._stopped = True

    def run(self) -> list[Trial]:
        """Run trials until the proposer has no more, or a budget is used up.

        Returns:
            All trials of the study, in the order they were asked for.
        """
        self._started = time.monotonic()
        with contextlib.ExitStack() as ends:
            for callback in self._callbacks:
                ends.callback(callback.on_search_end, self)
                callback.on_search_begin(self)
            self._run()
        return self._trials

    def _run(self) -> None:
        left = [t for t in self._trials if t.state in ("waiting", "running")]
        finished = False
        held_up = False  # no trial can be asked for until one ends
        idle_checks = 0
        while True:
            self._stopped = self._stopped or self.seconds >= (self.max_seconds or math.inf)
            if self._stopped:
                self._withdraw()
            while not (finished or held_up or self._stopped or self._full):
                if left:
                    self._submit(left.pop(0))
                    continue
                try:
                    held_up = not self._ask()
                except Wait:
                    if not self._submitted:
                        raise RuntimeError(
                            f"{type(self._proposer).__name__} waits, but no trial is running"
                        ) from None
                    held_up = True
                except Finished:
                    finished = True
            if not self._submitted:
                self.finished = finished and not left
                return
            done, _ = wait(self._submitted, SECONDS_BETWEEN_CHECKS, FIRST_COMPLETED)
            self._mark_started()
            for future in sorted(done, key=lambda f: self._submitted[f].id):
                self._end(self._submitted.pop(future), future)
                held_up = False
            idle_checks = 0 if done else idle_checks + 1
            if idle_checks == CHECKS_BETWEEN_WAITS:
                idle_checks = 0
                self._notify_callbacks("on_wait")

    @property
    def _full(self) -> bool:
        return len(self._submitted) >= self._executor.workers + self._ahead

    def _ask(self) -> bool:
        """Ask for a trial and submit it; return False if it could exceed the budget of epochs."""
        if self.max_epochs is not None:
            # as text: a snapshot may share lists with the proposer
            before = json.dumps(self._proposer.snapshot())
        proposal = self._proposer.ask()
        parent = None if proposal.parent is None else self._trials[self._numbers[proposal.parent]]
        trial = self._trial(proposal, parent)
        if self.max_epochs is not None:
            planned = sum(self._planned(t) for t in self._submitted.values())
            if self._epochs + planned + self._cost(trial, parent) > self.max_epochs:
                self._proposer.restore(json.loads(before))
                return False
        with self._store.transaction():
            self._store.add(trial)
            self._store.set("proposer", self._proposer.snapshot())
        self._trials.append(trial)
        self._numbers[trial.key] = trial.id
        self._submit(trial)
        return True

    def _trial(self, proposal: Proposal, parent: Trial | None) -> Trial:
        number = len(self._trials)
        return Trial(
            number,
            proposal.key,
            proposal.point,
            # a trial that resumes from another one's state continues its random numbers
            trial_seed(self._seed, number) if parent is None else parent.seed,
            epochs=proposal.epochs,
            parent=None if parent is None else parent.id,
            rung=proposal.rung,
        )

    def _planned(self, trial: Trial) -> int:
        return self._cost(trial, None if trial.parent is None else self._trials[trial.parent])

    def _restore(self, snapshot: Any) -> None:
        try:
            self._proposer.restore(snapshot)
        except Exception as error:
            raise ValueError(
                f"directory={str(self._store.path.parent)!r}: the state of "
                f"{type(self._proposer).__name__} in {self._store.path.name} cannot be read "
                f"({error!r}): it is damaged, or was written by another version of keras-tuner or "
                "of this library. Restore a backup copy, install that version, or write another "
                "directory"
            ) from error

    def _submit(self, trial: Trial) -> None:
        parent = None if trial.parent is None else self._trials[trial.parent]
        job = Job(
            trial.id,
            trial.params,
            trial.seed,
            trial.epochs,
            trial.parent,
            None if parent is None else parent.epochs,
            self._task(trial.id),
        )
        if len(self._submitted) < self._executor.workers:
            self._begin(trial)  # there is a worker for it
        self._submitted[self._executor.submit(job)] = trial

    def _mark_started(self) -> None:
        for future, trial in self._submitted.items():
            if trial.id not in self._started_trials and (future.running() or _ended(future)):
                self._begin(trial)

    def _begin(self, trial: Trial) -> None:
        self._started_trials.add(trial.id)
        trial.state, trial.started = "running", time.time()
        trial.attempts += 1
        self._store.start(trial.id)
        self._notify_callbacks("on_trial_begin", trial)

    def _end(self, trial: Trial, future: Future[Any]) -> None:
        self._started_trials.discard(trial.id)
        try:
            result: Result = future.result()
        except Withdrawn:
            return  # it stays in the study, for when the search resumes
        except Failure as failure:
            # not trial.attempts: those also count attempts that ended with a killed coordinator
            self._died[trial.id] = self._died.get(trial.id, 0) + failure.again
            if failure.again and self._died[trial.id] <= self._retries:
                self._submit(trial)
                return
            result, error = Result(None), str(failure)
        else:
            if result.disk_error:
                # the trial stays in the study as running, and is run when the search resumes
                raise OSError(
                    f"{result.disk_error}. The search ended because trial {trial.id} could not use "
                    "its folder; make room or repair the disk, and the same call resumes"
                )
            score = result.score
            whole = score is not None and math.isfinite(score)
            error = "" if whole else f"the score is {score}, which is not a finite number"
        trial.score = None if error else result.score
        trial.state = "failed" if error else "completed"
        trial.metrics, trial.error, trial.ended = dict(result.metrics), error or None, time.time()
        self._proposer.tell(trial.key, Outcome(trial.score))
        with self._store.transaction(durable=False):  # settle makes it durable, once
            self._store.add_folds(trial.id, result.folds)
            if result.attributes:
                self._store.set(f"{ATTRIBUTES}{trial.id}", result.attributes)
            self._store.end(trial)
            self._store.set("proposer", self._proposer.snapshot())
        self._store.settle()
        self._epochs += self._store.epochs_trained(trial.id)
        self._compare(trial)
        self._notify_callbacks("on_trial_end", trial)

    def _compare(self, trial: Trial) -> None:
        if trial.state != "completed" or trial.score is None:
            return
        best = self._best
        if best is None or (self._merit(trial), -trial.id) > (self._merit(best), -best.id):
            self._best = trial  # whichever of equals ended first, the lowest number is the best

    def _merit(self, trial: Trial) -> tuple[int, float]:
        score = trial.score or 0.0
        rung = (trial.rung or 0) if self._by_rung else 0
        return rung, score if self.maximize else -score

    def _withdraw(self) -> None:
        for future in list(self._submitted):
            if not future.running():
                future.cancel()

    def _notify_callbacks(self, event: str, *arguments: Any) -> None:
        for callback in self._callbacks:
            getattr(callback, event)(self, *arguments)


def _ended(future: Future[Any]) -> bool:
    return future.done() and not isinstance(future.exception(), Withdrawn)
