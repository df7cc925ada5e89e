"""Batches of short trials: the same trials as one by one, and none lost or to blame for another."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from search.executors import Batching, Crashed, Raised, Withdrawn
from search.executors.serial import Serial
from search.proposers.enqueued import Enqueued
from search.proposers.keras_tuner import KerasTuner
from search.proposers.sklearn import draw, random
from search.space import Space
from search.study.callbacks import SearchCallback, Study
from search.study.coordinator import RECENT, Coordinator
from search.study.storage import NAME, Store, Trial
from search.study.trial import Fold, Job, Result
from trainer import Float

SPACE = Space({"x": Float(-1, 1)})
N = 120


def work(job: Job) -> Result:
    score = job.params["x"] ** 2 + job.seed / 2**40
    return Result(score, folds=[Fold(0, 0, score, fit_seconds=0.001)])


class Batches(Serial):
    """Runs batches in this process, a part of each; notes how long they were."""

    def __init__(self, done: float = 1.0, fails: bool = False) -> None:
        super().__init__(work)
        self.sizes: list[int] = []
        self.alone: list[int] = []
        self.done, self.fails = done, fails

    def submit(self, argument: Any) -> Future[Any]:
        self.alone.append(argument.trial)
        return super().submit(argument)

    def submit_many(self, arguments: Sequence[Any]) -> Future[list[Any]]:
        self.sizes.append(len(arguments))
        future: Future[list[Any]] = Future()
        if self.fails:
            future.set_exception(Crashed("its process died of SIGKILL"))
            return future
        n = max(1, int(self.done * len(arguments)))
        ran = [work(a) for a in arguments[:n]]
        future.set_result([*ran, *[None] * (len(arguments) - n)])
        return future


def _run(folder: Path, executor: Any, proposer: Any = None, **options: Any) -> list[Trial]:
    folder.mkdir(exist_ok=True)
    with contextlib.closing(Store(folder, SPACE)) as store:
        made = proposer or random(SPACE, N, 0)
        Coordinator(store, made, executor, seed=0, maximize=False, **options).run()
        return store.trials()


def _content(trials: list[Trial]) -> list[Any]:
    return [(t.id, t.key, t.params, t.seed, t.score, t.state, t.attempts) for t in trials]


def test_trials_of_milliseconds_are_sent_in_batches_and_are_the_same(tmp_path: Path) -> None:
    batches = Batches()
    assert isinstance(batches, Batching) and not isinstance(Serial(work), Batching)
    found = _run(tmp_path / "batches", batches)
    assert batches.alone == list(range(RECENT)), "until it is known how long they take"
    assert batches.sizes == [100]
    assert _content(found) == _content(_run(tmp_path / "alone", Serial(work)))


def test_what_a_worker_had_no_time_for_is_submitted_again_and_was_started_once(
    tmp_path: Path,
) -> None:
    batches = Batches(done=0.4)
    found = _run(tmp_path / "batches", batches)
    assert batches.sizes[:3] == [100, 60, 36]
    assert _content(found) == _content(_run(tmp_path / "alone", Serial(work)))


def test_a_batch_whose_worker_died_is_run_one_by_one(tmp_path: Path) -> None:
    batches = Batches(fails=True)
    found = _run(tmp_path / "batches", batches, retries=0)
    assert batches.alone == list(range(N)) and len(batches.sizes) == 1
    assert all(t.state == "completed" for t in found), "nobody knows whose fault it was"


def test_long_trials_and_a_budget_of_epochs_are_not_batched(tmp_path: Path) -> None:
    slow = Batches()
    slow._work = lambda job: Result(0.0, folds=[Fold(0, 0, 0.0, fit_seconds=0.06)])
    _run(tmp_path / "long", slow)
    counted = Batches()
    _run(tmp_path / "epochs", counted, max_epochs=N)
    assert slow.sizes == counted.sizes == []


def test_short_trials_wait_in_the_executor_so_that_no_worker_does(tmp_path: Path) -> None:
    class Waiting(Batches):
        workers = 1

        def __init__(self, seconds: float) -> None:
            super().__init__()
            self.open: list[tuple[Future[Any], Job]] = []
            self.most = 0
            self.seconds = seconds

        def submit(self, argument: Any) -> Future[Any]:
            future: Future[Any] = Future()
            self.open.append((future, argument))
            self.most = max(self.most, len(self.open))
            known = argument.trial >= RECENT and self.seconds < 1
            while self.open and (not known or len(self.open) > 1 or argument.trial == N - 1):
                self._answer()
            return future

        def _answer(self) -> None:
            future, job = self.open.pop(0)
            fold = Fold(0, 0, 0.0, fit_seconds=self.seconds)
            future.set_result(Result(float(job.trial), folds=[fold]))

    short, long = Waiting(0.2), Waiting(1.5)
    assert len(_run(tmp_path / "short", short)) == len(_run(tmp_path / "long", long)) == N
    assert (short.most, long.most) == (2, 1)


def test_a_proposer_that_learns_from_each_trial_is_not_asked_for_batches(tmp_path: Path) -> None:
    def made(tuner: str) -> Any:
        return KerasTuner(SPACE, tuner, max_trials=40, maximize=False, seed=0)

    grid, drawn = Batches(), Batches()
    _run(tmp_path / "grid", grid, made("grid"))
    _run(tmp_path / "random", drawn, made("random"))
    assert grid.sizes == [] and sum(drawn.sizes) == 20


def test_points_of_the_user_are_learnt_before_anything_is_batched(tmp_path: Path) -> None:
    points = draw(SPACE, RECENT + 5, 1)

    def made() -> Any:
        return Enqueued(points, KerasTuner(SPACE, "random", max_trials=N, maximize=False, seed=0))

    batches = Batches()
    found = _run(tmp_path / "batches", batches, made())
    assert batches.alone == list(range(RECENT + 5)) and batches.sizes
    assert _content(found) == _content(_run(tmp_path / "alone", Serial(work), made()))


def test_the_ends_of_a_batch_are_one_transaction(tmp_path: Path) -> None:
    seen: list[int] = []

    class Looking(SearchCallback):
        def on_trial_end(self, study: Study, trial: Trial) -> None:
            with contextlib.closing(sqlite3.connect(tmp_path / NAME)) as reader:
                ((n,),) = reader.execute("select count(*) from trials where state = 'completed'")
            seen.append(n)

    _run(tmp_path, Batches(), callbacks=[Looking()])
    assert seen == [*range(1, RECENT + 1), *[N] * 100]


def test_a_failure_in_a_batch_is_that_of_its_trial(tmp_path: Path) -> None:
    class OneRaises(Batches):
        def submit_many(self, arguments: Sequence[Any]) -> Future[list[Any]]:
            outcomes = super().submit_many(arguments).result()
            future: Future[list[Any]] = Future()
            future.set_result([Raised("ValueError: no"), *outcomes[1:]])
            return future

    found = _run(tmp_path, OneRaises())
    assert [t.id for t in found if t.state == "failed"] == [RECENT]
    assert found[RECENT].error == "ValueError: no"


def test_a_batch_that_was_withdrawn_stays_in_the_study(tmp_path: Path) -> None:
    class Withdraws(Batches):
        def submit_many(self, arguments: Sequence[Any]) -> Future[list[Any]]:
            future: Future[list[Any]] = Future()
            future.set_exception(Withdrawn("was cancelled"))
            return future

    left = _run(tmp_path, Withdraws())
    assert [t.state for t in left] == ["completed"] * RECENT + ["running"] * 100
    found = _run(tmp_path, Serial(work))
    assert _content(found)[:RECENT] == _content(left)[:RECENT]
    assert [t.state for t in found] == ["completed"] * N


def test_a_coordinator_killed_within_a_batch_resumes_with_the_same_trials(tmp_path: Path) -> None:
    class Kills(Batches):
        def submit_many(self, arguments: Sequence[Any]) -> Future[list[Any]]:
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError

    child = os.fork()
    if not child:
        _run(tmp_path / "killed", Kills())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    resumed = _run(tmp_path / "killed", Batches())
    whole = _run(tmp_path / "whole", Serial(work))
    assert [t[:6] for t in _content(resumed)] == [t[:6] for t in _content(whole)]
    assert {t.attempts for t in resumed} == {1, 2}
