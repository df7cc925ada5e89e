"""Trials of a slow proposer are asked for before workers are free, and withdrawn at the end."""

from __future__ import annotations

import concurrent.futures
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from search.executors import Withdrawn
from search.proposers.sklearn import Listed, draw
from search.space import Space
from search.study import coordinator
from search.study.callbacks import SearchCallback, Study
from search.study.storage import Store, Trial
from search.study.trial import Job, Result
from trainer import Float

SPACE = Space({"x": Float(-1, 1)})


class Slow(Listed):
    """Says that asking takes long, and notes how many jobs the executor had at each ask."""

    slow = True

    def __init__(self, n: int, executor: Held) -> None:
        super().__init__(draw(SPACE, n, 0))
        self.executor = executor
        self.before: list[int] = []

    def ask(self) -> Any:
        self.before.append(len(self.executor.waiting) + len(self.executor.running))
        return super().ask()


class _Future(Future[Any]):
    executor: Held

    def running(self) -> bool:
        return self in self.executor.running

    def cancel(self) -> bool:
        if self not in self.executor.waiting:
            return False
        self.executor.waiting.remove(self)
        self.set_exception(Withdrawn("not begun"))
        return True


class Held:
    """An executor whose workers end a job when the coordinator has nothing else to do."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.waiting: list[_Future] = []
        self.running: list[_Future] = []
        self.jobs: dict[_Future, Job] = {}

    def submit(self, job: Job) -> Future[Any]:
        future = _Future()
        future.executor = self
        self.jobs[future] = job
        self.waiting.append(future)
        self._fill()
        return future

    def _fill(self) -> None:
        while self.waiting and len(self.running) < self.workers:
            self.running.append(self.waiting.pop(0))

    def end_one(self) -> None:
        future = self.running.pop(0)
        self._fill()
        future.set_result(Result(self.jobs[future].params["x"]))

    def close(self) -> None:
        pass


def _run(folder: Path, workers: int, n: int = 9, **options: Any) -> tuple[list[Trial], Slow]:
    executor = Held(workers)

    def waited(*arguments: Any) -> Any:
        executor.end_one()
        return concurrent.futures.wait(*arguments)

    proposer = Slow(n, executor)
    store = Store(folder, SPACE)
    study = coordinator.Coordinator(store, proposer, executor, seed=0, maximize=True, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coordinator, "wait", waited)
        trials = study.run()
    store.close()
    return trials, proposer


def test_several_workers_have_a_trial_waiting_for_each_while_one_is_asked_for(
    tmp_path: Path,
) -> None:
    trials, proposer = _run(tmp_path, 2)
    assert [t.state for t in trials] == ["completed"] * 9
    assert max(proposer.before) == 3, "two run, one waits, and the fourth is asked for"


def test_one_worker_is_asked_for_only_when_the_last_score_is_known(tmp_path: Path) -> None:
    _, proposer = _run(tmp_path, 1)
    assert set(proposer.before) == {0}


class Stop(SearchCallback):
    def on_trial_end(self, study: Study, trial: Trial) -> None:
        study.stop()


def test_trials_that_no_worker_has_begun_are_withdrawn_and_run_when_the_study_goes_on(
    tmp_path: Path,
) -> None:
    trials, _ = _run(tmp_path, 2, callbacks=[Stop()])
    states = [t.state for t in trials]
    assert "waiting" in states
    assert set(states) == {"completed", "waiting"}
    later, _ = _run(tmp_path, 2)
    assert [t.state for t in later] == ["completed"] * 9
    assert [t.params for t in later] == draw(SPACE, 9, 0)
    assert [t.attempts for t in later] == [1] * 9
