"""Studies: no trial is lost and none finished twice, whatever happens to workers or coordinator."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import warm

from search.executors import Crashed, Failure, NodeLost
from search.executors.processes import Processes
from search.executors.serial import Serial
from search.proposers import Finished, Outcome, PastTrial, Proposal
from search.proposers.keras_tuner import KerasTuner
from search.proposers.sklearn import Halving, draw, random
from search.space import Space
from search.study.callbacks import SearchCallback, Study
from search.study.coordinator import MAX_LOST_NODES, Coordinator, trial_seed
from search.study.storage import NAME, Store, Trial
from search.study.trial import Fold, Job, Result
from trainer import Choice, Float, Int

SPACE = Space({"x": Float(-1, 1), "units": Int(1, 64, log=True), "kind": Choice("a", None)})


def work(job: Job) -> Result:
    score = job.params["x"] ** 2 + job.seed / 2**40
    return Result(score, {"units": job.params["units"]}, [Fold(0, 0, score, epochs=[{"epoch": 1}])])


class Told(SearchCallback):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def on_search_begin(self, study: Study) -> None:
        self.heard.append("search begins")

    def on_trial_begin(self, study: Study, trial: Trial) -> None:
        self.heard.append(f"{trial.id} {trial.state}")

    def on_trial_end(self, study: Study, trial: Trial) -> None:
        self.heard.append(f"{trial.id} {trial.state}")

    def on_search_end(self, study: Study) -> None:
        self.heard.append("search ends")


def _study(folder: Path, n: int = 12, seed: int = 0, **options: Any) -> list[Trial]:
    store = Store(folder, SPACE)
    try:
        return Coordinator(
            store, random(SPACE, n, seed), Serial(work), seed=seed, maximize=False, **options
        ).run()
    finally:
        store.close()


def test_a_study_is_stored_as_it_ran(tmp_path: Path) -> None:
    trials = _study(tmp_path)
    assert [t.params for t in trials] == draw(SPACE, 12, 0)
    assert all(t.state == "completed" for t in trials)
    store = Store(tmp_path, SPACE)
    assert [(t.params, t.score, t.seed) for t in store.trials()] == [
        (t.params, t.score, t.seed) for t in trials
    ]
    assert len(store.frame("folds")) == len(store.frame("epochs")) == 12


def test_a_finished_study_runs_nothing_again(tmp_path: Path) -> None:
    first = _study(tmp_path)
    told = Told()
    assert [t.score for t in _study(tmp_path, callbacks=[told])] == [t.score for t in first]
    assert told.heard == ["search begins", "search ends"]


def test_another_seed_is_another_study(tmp_path: Path) -> None:
    _study(tmp_path)
    with pytest.raises(ValueError, match=r"seed=1: the study .* has seed 0; write seed=0"):
        _study(tmp_path, seed=1)


def test_the_seed_of_a_trial_does_not_depend_on_the_others() -> None:
    seeds = [trial_seed(7, i) for i in range(100)]
    assert len(set(seeds)) == 100
    assert seeds[42] == trial_seed(7, 42) != trial_seed(8, 42)


def test_time_that_is_over_begins_no_further_trial(tmp_path: Path) -> None:
    assert _study(tmp_path, max_seconds=1e-9) == []
    assert len(_study(tmp_path)) == 12, "and the study goes on later"


@pytest.mark.parametrize("score", [None, math.nan, -math.inf])
def test_a_score_that_is_no_number_is_a_failure_with_its_reason(
    tmp_path: Path, score: float | None
) -> None:
    store = Store(tmp_path, SPACE)
    serial = Serial(lambda job: Result(score))
    (trial,) = Coordinator(store, random(SPACE, 1, 0), serial, seed=0, maximize=False).run()
    assert (trial.state, trial.score) == ("failed", None)
    assert trial.error == f"the score is {score}, which is not a finite number"


def test_rungs_name_their_parents(tmp_path: Path) -> None:
    proposer = Halving(draw(SPACE, 9, 0), epochs=9, factor=3, maximize=False)
    trials = Coordinator(
        Store(tmp_path, SPACE), proposer, Serial(work), seed=0, maximize=False
    ).run()
    assert [t.rung for t in trials] == [0] * 9 + [1] * 3 + [2]
    for trial in trials[9:]:
        assert trial.parent is not None
        assert trials[trial.parent].params == trial.params
        assert trials[trial.parent].rung == (trial.rung or 0) - 1
    assert sorted(trials[9:12], key=lambda t: t.score or 0)[0].params == trials[12].params


class Replayed:
    """Proposes x from what it was told in which order; nothing of that is in its snapshot."""

    slow, learns = False, True

    def __init__(self, n: int = 8) -> None:
        self.n = n
        self.events: list[tuple[Any, ...]] = []
        self.replays = 0

    def ask(self) -> Proposal:
        number = sum(e[0] == "ask" for e in self.events)
        if number == self.n:
            raise Finished
        x = math.sin(len(self.events) + sum(e[2] for e in self.events if e[0] == "tell"))
        self.events.append(("ask", f"t{number}", x))
        point = {"x": x, "units": 1 + number, "kind": None}
        return Proposal(f"t{number}", point, memo={"number": number})

    def tell(self, key: str, outcome: Outcome) -> None:
        self.events.append(("tell", key, outcome.score))

    def learn(self, key: str, point: Any, outcome: Outcome) -> None:
        self.events.append(("learn", key, outcome.score))

    def snapshot(self) -> Any:
        return {"n": self.n}

    def restore(self, snapshot: Any) -> None:
        self.events = []

    def replay(self, trials: Sequence[PastTrial]) -> None:
        self.replays += 1
        found = [(t.asked, ("ask", t.key, t.point["x"])) for t in trials]
        found += [
            (t.told, ("tell", t.key, t.outcome.score))
            for t in trials
            if t.told is not None and t.outcome is not None
        ]
        self.events = [event for _, event in sorted(found)]
        assert all(t.memo == {"number": int(t.key[1:])} for t in trials)


def _replayed(folder: Path, **options: Any) -> tuple[Replayed, list[Trial]]:
    folder.mkdir(exist_ok=True)
    store, proposer = Store(folder, SPACE), Replayed()
    with contextlib.closing(store):
        Coordinator(store, proposer, Serial(work), seed=0, maximize=False, **options).run()
        return proposer, store.trials()


class Scripted:
    """An executor with four workers, in which trial 2 ends before trial 0, and then the user."""

    workers = 4

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, job: Job) -> Future[Any]:
        self.futures.append(Future())
        if job.trial == 3:
            self.futures[2].set_result(Result(2.0))
        if job.trial == 4:
            self.futures[0].set_result(Result(0.0))
        if job.trial == 5:
            raise KeyboardInterrupt
        return self.futures[-1]

    def close(self) -> None:
        pass


class Stopping(SearchCallback):
    """Stops the study at the end of a trial."""

    def __init__(self, last: int) -> None:
        self.last = last

    def on_trial_end(self, study: Study, trial: Trial) -> None:
        if trial.id == self.last:
            study.stop()


def test_a_proposer_that_replays_the_trials_goes_on_as_if_it_had_not_been_interrupted(
    tmp_path: Path,
) -> None:
    whole, expected = _replayed(tmp_path / "whole")
    assert whole.replays == 0, "a new study has no trials to replay"
    for last in (0, 3, 6):
        _replayed(tmp_path / "parts", callbacks=[Stopping(last)])
    parts, found = _replayed(tmp_path / "parts")
    assert parts.events == whole.events and len(whole.events) == 16
    assert [(t.params, t.score) for t in found] == [(t.params, t.score) for t in expected]


def test_a_replay_has_running_trials_last_and_says_when_each_was_asked_for_and_told(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path, SPACE)
    coordinator = Coordinator(store, Replayed(), Scripted(), seed=0, maximize=False)
    with pytest.raises(KeyboardInterrupt):
        coordinator.run()
    store.close()
    proposer = Replayed()
    seen: list[PastTrial] = []
    proposer.replay = seen.extend  # type: ignore[method-assign, assignment]
    with contextlib.closing(Store(tmp_path, SPACE)) as store:
        Coordinator(store, proposer, Serial(work), seed=0, maximize=False)
    # trial 2 ended first, then 0; each end made room for another trial
    assert [(t.key, t.asked, t.told) for t in seen] == [
        ("t2", 2, 4),
        ("t0", 0, 6),
        ("t1", 1, None),
        ("t3", 3, None),
        ("t4", 5, None),
        ("t5", 7, None),
    ]
    assert [t.outcome for t in seen[2:]] == [None] * 4 and seen[0].outcome == Outcome(2.0)


def test_a_proposal_over_the_budget_of_epochs_is_taken_back_from_a_proposer_that_replays(
    tmp_path: Path,
) -> None:
    proposer, trials = _replayed(tmp_path, max_epochs=3, cost=lambda trial, parent: 1)
    assert len(trials) == 3
    assert [e[:2] for e in proposer.events] == [
        (kind, f"t{i}") for i in range(3) for kind in ("ask", "tell")
    ]


def test_trials_of_an_earlier_version_are_replayed_in_the_order_they_ended(tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parents[2] / "data" / "format_2" / NAME, tmp_path)
    proposer = Replayed()
    seen: list[PastTrial] = []
    proposer.replay = seen.extend  # type: ignore[method-assign, assignment]
    with contextlib.closing(Store(tmp_path, Space({"a": Float(0.0, 1.0)}))) as store:
        Coordinator(store, proposer, Serial(work), seed=0, maximize=True)
    assert [(t.key, t.asked, t.told) for t in seen] == [
        (str(i), 2 * i, 2 * i + 1) for i in range(4)
    ]
    assert all(t.outcome is not None and t.outcome.score is not None for t in seen)


# ---- workers that die ----------------------------------------------------------------------------


def faulty(job: Job) -> Result:
    fault = {3: "die", 5: "raise", 7: "hang", 9: "leave", 11: "nan"}.get(job.trial)
    if fault == "die":
        os.kill(os.getpid(), 9)
    if fault == "raise":
        raise ValueError("a reason")
    if fault == "hang":
        time.sleep(3600)
    if fault == "leave":
        os._exit(0)
    return Result(math.nan if fault == "nan" else job.params["x"] ** 2)


@pytest.fixture
def by_value() -> Iterator[None]:
    import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_the_prepared_trials_fail_with_their_reasons_and_the_others_score(
    tmp_path: Path, by_value: None
) -> None:
    pool = Processes(faulty, workers=3, timeout=4)
    try:
        trials = Coordinator(
            Store(tmp_path, SPACE), random(SPACE, 20, 0), pool, seed=0, maximize=False
        ).run()
    finally:
        pool.close()
    failed = {t.id: t.error or "" for t in trials if t.state == "failed"}
    reasons = {
        3: "died of SIGKILL",
        5: "ValueError: a reason",
        7: "took longer than 4 s",
        9: "exited with code 0",
        11: "the score is nan",
    }
    assert sorted(failed) == sorted(reasons)
    for number, reason in reasons.items():
        assert reason in failed[number]
    assert [t.attempts for t in trials if t.id in (3, 5, 7, 9)] == [2, 1, 1, 2]
    points = draw(SPACE, 20, 0)
    assert all(t.score == points[t.id]["x"] ** 2 for t in trials if t.state == "completed")


DIED, LOST = Crashed("its process died of SIGKILL"), NodeLost("its node was lost")


class Failing:
    """An executor of which each trial's first attempts end with a failure."""

    workers = 1

    def __init__(self, *failures: Failure) -> None:
        self._failures = failures
        self._begun: Counter[int] = Counter()

    def submit(self, job: Job) -> Future[Any]:
        future: Future[Any] = Future()
        before = self._begun[job.trial]
        self._begun[job.trial] += 1
        if before < len(self._failures):
            future.set_exception(self._failures[before])
        else:
            future.set_result(work(job))
        return future

    def close(self) -> None:
        pass


def test_attempts_that_ended_with_a_killed_coordinator_are_no_retries(tmp_path: Path) -> None:
    proposer = random(SPACE, 2, 0)
    store = Store(tmp_path, SPACE)
    # as a coordinator leaves it that is killed in its third attempt at the first trial
    store.set("seed", 0)
    proposal = proposer.ask()
    store.add(Trial(0, proposal.key, proposal.point, trial_seed(0, 0)))
    store.set("proposer", proposer.snapshot())
    for _ in range(3):
        store.start(0)
    coordinator = Coordinator(
        store, random(SPACE, 2, 0), Failing(DIED), seed=0, maximize=False, retries=1
    )
    trials = coordinator.run()
    store.close()
    assert [(t.state, t.attempts) for t in trials] == [("completed", 5), ("completed", 2)]


@pytest.mark.parametrize(
    ("failures", "retries", "ends"),
    [
        ([LOST] * MAX_LOST_NODES, 0, ("completed", MAX_LOST_NODES + 1, None)),
        ([LOST] * (MAX_LOST_NODES + 1), 9, ("failed", MAX_LOST_NODES + 1, str(LOST))),
        ([LOST, DIED, LOST], 1, ("completed", 4, None)),
        ([LOST, DIED, DIED], 1, ("failed", 3, str(DIED))),
    ],
)
def test_a_lost_node_is_no_death_of_a_trial(
    failures: list[Failure], retries: int, ends: tuple[str, int, str | None], tmp_path: Path
) -> None:
    store = Store(tmp_path, SPACE)
    (trial,) = Coordinator(
        store, random(SPACE, 1, 0), Failing(*failures), seed=0, maximize=False, retries=retries
    ).run()
    store.close()
    assert (trial.state, trial.attempts, trial.error) == ends


# ---- a coordinator that dies ---------------------------------------------------------------------

KILLED = """
    import sys, time
    from pathlib import Path
    from search.study.coordinator import Coordinator
    from search.executors.serial import Serial
    from search.proposers.sklearn import Halving, draw
    from search.space import Space
    from search.study.storage import Store
    from search.study.trial import Result
    from trainer import Float

    space = Space({"x": Float(-1, 1)})

    def work(job):
        time.sleep(0.004)
        return Result(job.params["x"] ** 2 + job.seed / 2**40)

    proposer = Halving(draw(space, 81, 0), epochs=27, factor=3, maximize=False)
    store = Store(Path(sys.argv[1]), space)
    print("begun", flush=True)
    trials = Coordinator(store, proposer, Serial(work), seed=5, maximize=False).run()
    print(*[(t.id, t.key, t.params["x"], t.score, t.epochs, t.parent) for t in trials], sep="\\n")
"""


def _coordinator(folder: Path) -> warm.Started:
    folder.mkdir(exist_ok=True)
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    return warm.start(textwrap.dedent(KILLED), folder, env=env)


def _finished(process: warm.Started) -> str:
    assert process.wait() == 0, process.error()
    return process.output()


def test_a_study_that_is_killed_again_and_again_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole = _finished(_coordinator(tmp_path / "whole"))
    rng = np.random.default_rng(0)
    kills = 0
    for _ in range(12):
        process = _coordinator(tmp_path / "killed")
        process.wait_for("begun")
        time.sleep(rng.uniform(0, 0.2))
        process.kill()
        kills += process.wait() == -9
    assert kills >= 3
    assert _finished(_coordinator(tmp_path / "killed")) == whole
    assert (tmp_path / "killed" / NAME).exists()


@pytest.mark.parametrize("tuner", ["random", "grid", "bayesian"])
def test_trials_taken_over_from_another_study_are_replayed_as_learnt(
    tmp_path: Path, tuner: str
) -> None:
    space = Space({"a": Int(0, 3), "b": Int(0, 3)})

    def run(folder: Path, last: int | None) -> tuple[list[Trial], list[PastTrial]]:
        folder.mkdir(exist_ok=True)
        seen: list[PastTrial] = []
        known = [
            (
                Trial(
                    i,
                    f"of-{i}",
                    {"a": i, "b": 1},
                    7,
                    state="completed",
                    score=float(i),
                    ended=1.0,
                    asked=70 + i,
                    told=90 - i,
                    memo={"part": 3},
                ),
                [],
            )  # fmt: skip
            for i in range(3)
        ]
        proposer = KerasTuner(space, tuner, max_trials=6, maximize=False, seed=0)
        replay = proposer.replay
        proposer.replay = lambda trials: (seen.extend(trials), replay(trials))[1]  # type: ignore[method-assign]
        with contextlib.closing(Store(folder, space)) as store:
            taken = known if store.empty else ()
            serial = Serial(lambda job: Result(job.params["a"] + job.params["b"]))
            callbacks = [] if last is None else [Stopping(last)]
            Coordinator(
                store, proposer, serial, seed=0, maximize=False, known=taken, callbacks=callbacks
            ).run()
            return store.trials(), seen

    whole, none = run(tmp_path / "whole", None)
    assert none == [] and len(whole) > 5
    run(tmp_path / "parts", 3)
    parts, seen = run(tmp_path / "parts", None)
    assert [(t.learnt, t.memo, t.asked, t.told) for t in seen[:3]] == [
        (True, None, 2 * i, 2 * i + 1) for i in range(3)
    ]
    assert not any(t.learnt for t in seen[3:])
    assert [(t.key, t.params, t.score) for t in parts] == [
        (t.key, t.params, t.score) for t in whole
    ]
