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

Trials of milliseconds are asked for and submitted in batches, if the executor takes batches and the
proposer's trials do not depend on how others end. What ends together is written in one transaction:
nothing has been told to the proposer or to callbacks before.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any

import numpy as np

from search.executors import Batching, Executor, Failure, NodeLost, Withdrawn
from search.proposers import (
    Finished,
    Outcome,
    PastTrial,
    Proposal,
    Proposer,
    Wait,
    is_independent,
    resume,
)
from search.study.callbacks import SearchCallback
from search.study.goals import Goals
from search.study.storage import ATTRIBUTES, ENDED, SCORED, Store, Trial
from search.study.trial import Fold, Job, Result
from trainer.sklearn_callbacks import Task

EARLIER = "earlier-"  # begins the keys of trials that a study took over from another one
SECONDS_BETWEEN_CHECKS = 0.1  # between checks of which trials have started
SECONDS_OF_A_BATCH = 0.1  # how long a worker is meant to be busy with a batch
SECONDS_WORTH_WAITING = 1.0  # trials as short as this are asked for ahead of time
MOST_IN_A_BATCH = 200
RECENT = 20  # trials whose longest says how many fit into a batch
LEARNT = {"learnt": True}  # the memo of trials of an earlier study
MAX_LOST_NODES = 10  # by one trial; it may be what ends them
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
        goals: all objectives and constraints; None: only the score.
        by_rung: whether the best trial is the best of the last rung, whose trials had all epochs.
        last_rung: the rung that trials reach unless they are pruned; None: there is no pruning.
        retries: how many times to restart a trial whose process died; a trial whose node was lost
            is restarted MAX_LOST_NODES times besides.
        max_trials: maximum number of trials, if known; enforced by the proposer.
        max_seconds: no new trial starts after this time; or None.
        max_epochs: no trial is started that could exceed this number of epochs, summed over all
            fits of all trials; or None.
        cost: returns the number of epochs that a proposal may take, without its parent's.
        callbacks: notified of events.
        known: trials of an earlier study, whose ends are known, with their folds; their keys
            begin with EARLIER. A new study begins with them.
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
        goals: Goals | None = None,
        by_rung: bool = False,
        last_rung: int | None = None,
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
        self._goals = goals or Goals((objective,), (maximize,))
        self.max_trials = max_trials
        self.max_seconds = max_seconds
        self.max_epochs = max_epochs
        self._store = store
        self._proposer = proposer
        self._executor = executor
        self._seed = seed
        self._by_rung = by_rung
        self._last_rung = last_rung
        self._retries = retries
        self._cost = cost
        self._task = task
        self._callbacks = callbacks
        self._submitted: dict[Future[Any], list[Trial]] = {}
        self._durations: deque[float] = deque(maxlen=RECENT)  # of trials, in seconds
        self._started_trials: set[int] = set()
        self._died: Counter[int] = Counter()  # by trial: how often its process died
        self._lost: Counter[int] = Counter()  # by trial: how often its node was lost
        new = store.empty
        if new:
            self._take_over(known)
        self._trials = store.trials()
        self._best: Trial | None = None
        for trial in self._trials:
            self._note_best(trial)
        self._numbers = {trial.key: trial.id for trial in self._trials}
        self._next_event = _number_events(self._trials)
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
            for event, (trial, folds) in enumerate(known):
                # its numbers and its memo were those of the other study and its proposer
                trial.asked, trial.told, trial.memo = 2 * event, 2 * event + 1, LEARNT
                outcome = Outcome(trial.score, **trial.outcome)
                self._proposer.learn(trial.key, trial.params, outcome)
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
    def workers(self) -> int:
        """How many trials run at once; nodes of a cluster come and go."""
        return self._executor.workers

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
                size = self._batch
                if left:
                    self._submit(left[:size])
                    left = left[size:]
                    continue
                try:
                    held_up = not self._ask(size)
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
            if done:
                self._end([(future, self._submitted.pop(future)) for future in done])
                held_up = False
            idle_checks = 0 if done else idle_checks + 1
            if idle_checks == CHECKS_BETWEEN_WAITS:
                idle_checks = 0
                self._notify_callbacks("on_wait")

    @property
    def _full(self) -> bool:
        workers = self._executor.workers
        # a worker with nothing to do would wait for what ended to be written
        short = self._longest < SECONDS_WORTH_WAITING
        ahead = workers if short or self._proposer.slow and workers > 1 else 0
        return len(self._submitted) >= workers + ahead

    @property
    def _batch(self) -> int:
        """How many trials to submit at once: as many as keep a worker busy for a moment."""
        longest = self._longest
        return max(1, min(MOST_IN_A_BATCH, int(SECONDS_OF_A_BATCH / max(longest, 1e-9))))

    @property
    def _longest(self) -> float:
        """The longest of recent trials, in seconds; infinite where each must be asked for alone."""
        alone = self.max_epochs is not None or not isinstance(self._executor, Batching)
        if alone or len(self._durations) < RECENT or not is_independent(self._proposer):
            return math.inf
        return max(self._durations)

    def _ask(self, size: int) -> bool:
        """Ask for trials and submit them; return False if one could exceed the budget of epochs.

        Raises:
            Wait, Finished: there is not even one.
        """
        trials: list[Trial] = []
        while len(trials) < size:
            try:
                trial = self._proposed(len(self._trials) + len(trials))
            except (Wait, Finished):
                if not trials:
                    raise
                break
            if trial is None:
                return False
            trials.append(trial)
        with self._store.transaction():
            for trial in trials:
                self._store.add(trial)
                if trial.parent is not None and self._trials[trial.parent].state == "pruned":
                    self._trials[trial.parent].state = "completed"  # not pruned after all
                    self._store.promote(trial.parent)
            self._store.set("proposer", self._proposer.snapshot())
        self._trials += trials
        self._numbers |= {trial.key: trial.id for trial in trials}
        self._submit(trials)
        return True

    def _proposed(self, number: int) -> Trial | None:
        """Ask for the trial with a number; return None if it could exceed the budget of epochs."""
        if self.max_epochs is not None:
            # as text: a snapshot may share lists with the proposer
            before = json.dumps(self._proposer.snapshot())
        proposal = self._proposer.ask()
        parent = None if proposal.parent is None else self._trials[self._numbers[proposal.parent]]
        trial = self._trial(number, proposal, parent)
        if self.max_epochs is not None:
            running = (t for trials in self._submitted.values() for t in trials)
            planned = sum(self._planned(t) for t in running)
            if self._epochs + planned + self._cost(trial, parent) > self.max_epochs:
                resume(self._proposer, json.loads(before), self._past())
                return None
        trial.asked = self._event()
        return trial

    def _trial(self, number: int, proposal: Proposal, parent: Trial | None) -> Trial:
        return Trial(
            number,
            proposal.key,
            proposal.point,
            # a trial that resumes from another one's state continues its random numbers
            trial_seed(self._seed, number) if parent is None else parent.seed,
            epochs=proposal.epochs,
            parent=None if parent is None else parent.id,
            rung=proposal.rung,
            memo=proposal.memo,
        )

    def _event(self) -> int:
        self._next_event += 1
        return self._next_event - 1

    def _past(self) -> list[PastTrial]:
        """Return the trials as a proposer replays them."""
        # every trial has a number here: `_number_events` and `_ask` saw to that
        ended = sorted((t for t in self._trials if t.told is not None), key=lambda t: t.told or 0)
        return [self._past_trial(t) for t in ended] + [
            self._past_trial(t) for t in self._trials if t.told is None
        ]

    def _past_trial(self, trial: Trial) -> PastTrial:
        assert trial.asked is not None
        return PastTrial(
            trial.key,
            trial.params,
            None if trial.told is None else Outcome(trial.score, **trial.outcome),
            trial.asked,
            trial.told,
            trial.epochs,
            None if trial.parent is None else self._trials[trial.parent].key,
            trial.rung,
            None if trial.memo == LEARNT else trial.memo,
            learnt=trial.memo == LEARNT,
        )

    def _planned(self, trial: Trial) -> int:
        return self._cost(trial, None if trial.parent is None else self._trials[trial.parent])

    def _restore(self, snapshot: Any) -> None:
        try:
            resume(self._proposer, snapshot, self._past())
        except Exception as error:
            raise ValueError(
                f"directory={str(self._store.path.parent)!r}: the state of "
                f"{type(self._proposer).__name__} in {self._store.path.name} cannot be read "
                f"({error!r}): it is damaged, or was written by another version of keras-tuner or "
                "of this library. Restore a backup copy, install that version, or write another "
                "directory"
            ) from error

    def _submit(self, trials: list[Trial]) -> None:
        if len(self._submitted) < self._executor.workers:
            # there is a worker for them; what an earlier batch left has been started already
            self._begin([t for t in trials if t.id not in self._started_trials])
        jobs = [self._job(trial) for trial in trials]
        if len(trials) > 1:
            assert isinstance(self._executor, Batching)
            future: Future[Any] = self._executor.submit_many(jobs)
        else:
            future = self._executor.submit(jobs[0])
        self._submitted[future] = trials

    def _job(self, trial: Trial) -> Job:
        parent = None if trial.parent is None else self._trials[trial.parent]
        return Job(
            trial.id,
            trial.params,
            trial.seed,
            trial.epochs,
            trial.parent,
            None if parent is None else parent.epochs,
            self._task(trial.id),
        )

    def _mark_started(self) -> None:
        for future, trials in self._submitted.items():
            new = trials[0].id not in self._started_trials
            if new and (future.running() or _ended(future)):
                self._begin(trials)

    def _begin(self, trials: list[Trial]) -> None:
        if not trials:
            return
        now = time.time()
        # not durable: if a power cut undoes it, the trials are started again
        with self._store.transaction(durable=False):
            for trial in trials:
                self._started_trials.add(trial.id)
                trial.state, trial.started = "running", now
                trial.attempts += 1
                self._store.start(trial.id)
        for trial in trials:
            self._notify_callbacks("on_trial_begin", trial)

    def _end(self, done: list[tuple[Future[Any], list[Trial]]]) -> None:
        """Tell and write the outcomes of futures that are done; submit again what has none."""
        outcomes: list[tuple[Trial, Result, str]] = []
        again: list[list[Trial]] = []
        disk: OSError | None = None
        for trial, outcome in self._outcomes(done, again):
            self._started_trials.discard(trial.id)
            if isinstance(outcome, Withdrawn):
                continue  # it stays in the study, for when the search resumes
            if isinstance(outcome, Failure):
                if self._may_repeat(trial, outcome):
                    again.append([trial])
                    continue
                outcomes.append((trial, Result(None), str(outcome)))
                continue
            if outcome.disk_error:
                # the trial stays in the study as running, and is run when the search resumes
                disk = disk or OSError(
                    f"{outcome.disk_error}. The search ended because trial {trial.id} could not "
                    "use its folder; make room or repair the disk, and the same call resumes"
                )
                continue
            score = outcome.score
            whole = score is not None and math.isfinite(score)
            error = "" if whole else f"the score is {score}, which is not a finite number"
            outcomes.append((trial, outcome, error))
        self._record(outcomes)
        if disk is not None:
            raise disk
        for trials in again:
            self._submit(trials)

    def _may_repeat(self, trial: Trial, failure: Failure) -> bool:
        """Count how often a trial has failed so, and return whether to run it again."""
        if not failure.again:
            return False
        # not trial.attempts: those also count attempts that ended with a killed coordinator
        lost = isinstance(failure, NodeLost)
        count, most = (self._lost, MAX_LOST_NODES) if lost else (self._died, self._retries)
        count[trial.id] += 1
        return count[trial.id] <= most

    def _outcomes(
        self, done: list[tuple[Future[Any], list[Trial]]], again: list[list[Trial]]
    ) -> Iterator[tuple[Trial, Any]]:
        """Yield each trial's Result or Failure, by its number; add what has none to `again`."""
        found: list[tuple[Trial, Any]] = []
        for future, trials in done:
            try:
                outcome = future.result()
            except Failure as failure:
                outcome = failure
            if len(trials) == 1:
                found.append((trials[0], outcome))
            elif isinstance(outcome, Withdrawn):
                found += [(trial, outcome) for trial in trials]
            elif isinstance(outcome, Failure):
                # whichever of the batch was to blame: each again, alone
                again += [[trial] for trial in trials]
                self._started_trials -= {trial.id for trial in trials}
            else:
                left = [t for t, result in zip(trials, outcome, strict=True) if result is None]
                found += [p for p in zip(trials, outcome, strict=True) if p[1] is not None]
                # where the search was stopped they stay in the study, for when it resumes
                again += [left] if left and not self._stopped else []
        yield from sorted(found, key=lambda pair: pair[0].id)

    def _record(self, outcomes: list[tuple[Trial, Result, str]]) -> None:
        if not outcomes:
            return
        with self._store.transaction(durable=False):  # settle makes it durable, once
            for trial, result, error in outcomes:
                self._record_one(trial, result, error)
            self._store.set("proposer", self._proposer.snapshot())
        self._store.settle()
        for trial, _, _ in outcomes:
            self._notify_callbacks("on_trial_end", trial)

    def _record_one(self, trial: Trial, result: Result, error: str) -> None:
        outcome = Outcome(None)
        if not error:
            assert result.score is not None
            seconds = sum(f.fit_seconds + f.score_seconds for f in result.folds)
            try:
                outcome = self._goals.outcome(result.score, result.metrics, seconds)
            except ValueError as missing:
                error = str(missing)
        trial.score = outcome.score
        pruned = self._last_rung is not None and (trial.rung or 0) < self._last_rung
        trial.state = "failed" if error else "pruned" if pruned else "completed"
        trial.metrics, trial.error, trial.ended = dict(result.metrics), error or None, time.time()
        trial.outcome, trial.told = outcome.besides_score(), self._event()
        self._proposer.tell(trial.key, outcome)
        self._store.add_folds(trial.id, result.folds)
        if result.attributes:
            self._store.set(f"{ATTRIBUTES}{trial.id}", result.attributes)
        self._store.end(trial)
        if any(fold.epochs for fold in result.folds):
            self._epochs += self._store.epochs_trained(trial.id)
        if result.folds:
            self._durations.append(sum(f.fit_seconds + f.score_seconds for f in result.folds))
        self._note_best(trial)

    def _note_best(self, trial: Trial) -> None:
        if trial.state not in SCORED or trial.score is None:
            return
        best = self._best
        if best is None or (self._merit(trial), -trial.id) > (self._merit(best), -best.id):
            self._best = trial  # whichever of equals ended first, the lowest number is the best

    def _merit(self, trial: Trial) -> tuple[float, ...]:
        score = trial.score or 0.0
        rung = (trial.rung or 0) if self._by_rung else 0
        return trial.feasible, rung, *self._goals.merit(score, trial.outcome.get("values", ()))

    def _withdraw(self) -> None:
        for future in list(self._submitted):
            if not future.running():
                future.cancel()

    def _notify_callbacks(self, event: str, *arguments: Any) -> None:
        for callback in self._callbacks:
            getattr(callback, event)(self, *arguments)


def _ended(future: Future[Any]) -> bool:
    return future.done() and not isinstance(future.exception(), Withdrawn)


def _number_events(trials: Sequence[Trial]) -> int:
    """Number the asks and ends of trials that an earlier version stored without numbers.

    Trials are stored in the order they were asked for, and their times say in which order they
    ended. How asks and ends alternated was not stored; with one worker, they took turns.

    Returns:
        The number of the next event.
    """
    unnumbered = [t for t in trials if t.asked is None]
    number = 0
    asked = iter(unnumbered)
    done: set[int] = set()
    # a trial that ended after the study was converted has its number already
    ended = [t for t in unnumbered if t.state in ENDED and t.told is None]
    for trial in sorted(ended, key=lambda t: (t.ended or 0, t.id)):
        while trial.id not in done:
            earlier = next(asked)
            earlier.asked, number = number, number + 1
            done.add(earlier.id)
        trial.told, number = number, number + 1
    for trial in asked:
        trial.asked, number = number, number + 1
    return 1 + max((n for t in trials for n in (t.asked, t.told) if n is not None), default=-1)
