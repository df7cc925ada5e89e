"""The coordinator of a study: ask, submit, record, tell, until there is nothing left.

Responsible for the order in which this happens, so that a study that is killed at any instant goes
on without losing a trial, or finishing one twice. Not for who proposes, who runs, or how trials are
stored: these are given.

With one worker the order of asking and telling is the same each time, and so are the trials. A
trial that was running when the coordinator was killed is run again, from its beginning or from its
own last state, with the seed that it had.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

import numpy as np

from search.executors import Executor, Failure
from search.proposers import Finished, Outcome, Proposer, Wait
from search.store import Store, Trial
from search.trial import Job, Result


def trial_seed(study: int, trial: int) -> int:
    """The seed of a trial: a function of the study's seed and the trial's number alone."""
    return int(np.random.SeedSequence([study, trial]).generate_state(1)[0])


class Coordinator:
    """Runs a study to its end.

    Args:
        store: of the study; what is in it is gone on with.
        proposer: made with the same arguments as when the study began.
        executor: whose work takes a Job and gives a Result.
        seed: of the study.
        retries: how often a trial is begun again whose process died.
        max_seconds: after which no further trial begins, or None.
        told: called with each trial that has begun or ended.

    Raises:
        ValueError: the store holds a study of another seed.
    """

    def __init__(
        self,
        store: Store,
        proposer: Proposer,
        executor: Executor,
        *,
        seed: int,
        retries: int = 1,
        max_seconds: float | None = None,
        told: Callable[[Trial], None] = lambda trial: None,
    ) -> None:
        self._store = store
        self._proposer = proposer
        self._executor = executor
        self._seed = seed
        self._retries = retries
        self._max_seconds = max_seconds
        self._told = told
        self._running: dict[Future[Any], Trial] = {}
        self._trials = store.trials()
        self._numbers = {trial.key: trial.id for trial in self._trials}
        kept = store.get("seed")
        if kept is None:
            with store.transaction():
                store.set("seed", seed)
                store.set("proposer", proposer.snapshot())
        elif kept != seed:
            raise ValueError(
                f"seed={seed}: the study in {str(store.path.parent)!r} has seed {kept}; write "
                f"seed={kept} to go on with it, or another directory"
            )
        else:
            proposer.restore(store.get("proposer"))

    def run(self) -> list[Trial]:
        """Run trials until the proposer has no more, or the time is over.

        Returns:
            All trials of the study, in the order of asking.
        """
        until = math.inf if self._max_seconds is None else time.monotonic() + self._max_seconds
        for trial in self._trials:
            if trial.state == "running":
                self._submit(trial)
        finished = False
        while True:
            while len(self._running) < self._executor.workers and not finished:
                if time.monotonic() >= until:
                    finished = True
                    break
                try:
                    self._begin()
                except Wait:
                    if not self._running:
                        raise RuntimeError(
                            f"{type(self._proposer).__name__} waits, and no trial is running"
                        ) from None
                    break
                except Finished:
                    finished = True
            if not self._running:
                return self._trials
            done, _ = wait(self._running, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=lambda f: self._running[f].id):
                self._end(self._running.pop(future), future)

    def _begin(self) -> None:
        proposal = self._proposer.ask()
        number = len(self._trials)
        trial = Trial(
            number,
            proposal.key,
            proposal.point,
            trial_seed(self._seed, number),
            epochs=proposal.epochs,
            parent=None if proposal.parent is None else self._numbers[proposal.parent],
            rung=proposal.rung,
        )
        with self._store.transaction():
            self._store.add(trial)
            self._store.set("proposer", self._proposer.snapshot())
        self._trials.append(trial)
        self._numbers[trial.key] = number
        self._submit(trial)

    def _submit(self, trial: Trial) -> None:
        trial.attempts += 1
        self._store.start(trial.id)
        job = Job(trial.id, trial.params, trial.seed, trial.epochs, trial.parent, trial.rung)
        self._running[self._executor.submit(job)] = trial
        self._told(trial)

    def _end(self, trial: Trial, future: Future[Any]) -> None:
        try:
            result: Result = future.result()
        except Failure as failure:
            if failure.again and trial.attempts <= self._retries:
                self._submit(trial)
                return
            result, error = Result(None), str(failure)
        else:
            score = result.score
            whole = score is not None and math.isfinite(score)
            error = "" if whole else f"the score is {score}, which is no finite number"
        trial.score = None if error else result.score
        trial.state = "failed" if error else "completed"
        trial.metrics, trial.error = dict(result.metrics), error or None
        self._proposer.tell(trial.key, Outcome(trial.score))
        with self._store.transaction():
            for i, fold in enumerate(result.folds):
                self._store.add_fold(
                    trial.id,
                    i,
                    score=fold.score,
                    metrics=fold.metrics,
                    seconds=fold.seconds,
                    epochs=fold.epochs,
                )
            self._store.end(trial.id, score=trial.score, metrics=trial.metrics, error=trial.error)
            self._store.set("proposer", self._proposer.snapshot())
        self._told(trial)
