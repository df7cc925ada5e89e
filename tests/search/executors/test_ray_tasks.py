"""Searches on a real Ray cluster of three nodes on this machine, which listen on loopback only."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from network import alone
from patience import GONE, SECONDS, WORK, wait_until
from sklearn.base import BaseEstimator, RegressorMixin

from search import FunctionSearch, SearchCallback, SklearnSearch, TunerSearch, load_study
from search.executors import (
    Crashed,
    Failure,
    NodeLost,
    OutOfMemory,
    Raised,
    Ray,
    TimedOut,
    Withdrawn,
    ray_cluster,
    ray_worker,
)
from search.executors.node_files import NodeFile
from search.executors.processes import MAX_STARTS
from search.executors.ray_tasks import RayTasks
from trainer import Classifier, Float

pytest.importorskip("ray", reason="the extra [ray] is not installed")
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # 0: Ray uses the address of loopback
NODE: dict[str, Any] = {
    "num_cpus": 1,
    "node_ip_address": "127.0.0.1",
    "object_store_memory": 80 * 2**20,
}
ROWS = np.random.default_rng(0).normal(size=(300, 4))
LABELS = (ROWS[:, 0] > ROWS[:, 1]).astype(int)
TRIALS = 200 if os.environ.get("RAY_STUDIES") else 60  # RAY_STUDIES=1: the long form


@pytest.fixture(scope="module", autouse=True)
def network() -> Iterator[bool]:
    """Return whether this module runs in a network that has loopback and nothing else."""
    with alone() as moved:
        yield moved


@pytest.fixture(scope="module")
def s3_port() -> Iterator[int]:
    """Return a port for an S3-like server, to which this process and all nodes will go."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    names = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "one",
        "AWS_SECRET_ACCESS_KEY": "two",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in names.items():
            patch.setenv(name, value)
        yield port


@pytest.fixture(scope="module")
def cluster(s3_port: int) -> Iterator[Any]:
    """Return a cluster of three nodes with a core each; this process is connected to it."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own
        patch.setenv(LOOPBACK, "0")
        import ray
        from ray.cluster_utils import Cluster

        patch.setattr(ray._private.ray_constants, "ENABLE_RAY_CLUSTER", False)
        made = Cluster(initialize_head=True, head_node_args=NODE | {"include_dashboard": False})
        for _ in range(2):
            made.add_node(**NODE)
        ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
        yield made
        ray.shutdown()
        made.shutdown()


@pytest.fixture
def storage(s3_port: int) -> Iterator[str]:
    """Return the URL of a folder on an S3-like server."""
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = pytest.importorskip("moto.server", reason="moto's server is not installed")
    made = server.ThreadedMotoServer("127.0.0.1", s3_port, verbose=False)
    made.start()
    import boto3

    boto3.client("s3").create_bucket(Bucket="studies")
    yield "s3://studies/all"
    made.stop()


def work(argument: Any) -> Any:
    import ctypes

    if argument == "segfault":
        ctypes.string_at(0)
    if argument == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if argument == "worker killed":
        psutil.Process().parents()[2].kill()  # above its two guards
        time.sleep(60)
    if argument == "hang":
        time.sleep(3600)
    if argument == "memory":
        held = []
        while True:
            held.append(b"1" * 100_000_000)
            time.sleep(0.1)
    if isinstance(argument, Path):
        child = subprocess.Popen(["sleep", "3600"], start_new_session=True)
        argument.write_text(str(child.pid))
        time.sleep(3600)
    if argument == "raise":
        raise ValueError("a reason")
    if argument == "leave":
        print("last words")
        sys.stdout.flush()
        os._exit(3)
    return argument, os.getpid()


ENDS: dict[str, tuple[type[Failure], str]] = {
    "segfault": (Crashed, "died of SIGSEGV"),
    "killed": (Crashed, "died of SIGKILL"),
    "worker killed": (Crashed, "its worker died"),
    "memory": (OutOfMemory, "MiB, above 400 MiB"),
    "raise": (Raised, "ValueError: a reason\nTraceback"),
    "leave": (Crashed, "exited with code 3; it had printed:\nlast words"),
}


def test_the_cluster_needs_nothing_but_loopback(network: bool) -> None:
    if not network:
        pytest.skip("a network namespace is not allowed here: the cluster listens on loopback")
    assert [name for _, name in socket.if_nameindex()] == ["lo"]


@pytest.fixture
def by_value() -> Iterator[None]:
    import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@dataclass(frozen=True)
class Numbered:
    trial: int


@pytest.mark.usefixtures("cluster", "by_value")
def test_the_progress_of_a_trial_and_its_node_are_known_while_it_runs(tmp_path: Path) -> None:
    seen = tmp_path / "seen"

    def reports(argument: Numbered) -> int:
        written = {"fit": 1, "epoch": 3, "logs": {"loss": 0.5}}
        file = NodeFile(ray_worker.PROGRESS).path() / f"{argument.trial}.json"
        file.write_text(json.dumps(written))
        while not seen.exists():
            time.sleep(0.05)
        return argument.trial

    tasks = RayTasks(Ray())
    with contextlib.closing(tasks):
        tasks.load(reports)
        future = tasks.submit(Numbered(7))
        wait_until(lambda: tasks.progress(7) is not None)
        assert tasks.progress(7) == {"fit": 1, "epoch": 3, "logs": {"loss": 0.5}}
        assert (tasks.node(7), tasks.node(8)) == ("127.0.0.1", "")
        seen.touch()
        assert future.result(SECONDS) == 7


@pytest.mark.usefixtures("cluster", "by_value")
def test_each_end_has_the_reason_that_it_has_on_one_machine() -> None:
    tasks = RayTasks(Ray(), memory=400 * 2**20)
    with contextlib.closing(tasks):
        assert tasks.workers == 3
        tasks.load(work)
        jobs = [name for end in ENDS for name in (end, f"good after {end}")]
        futures = {name: tasks.submit(name) for name in jobs}
        batch = tasks.submit_many(list(range(20)))
        for name, future in futures.items():
            if name in ENDS:
                kind, reason = ENDS[name]
                with pytest.raises(kind) as caught:
                    future.result(SECONDS)
                assert reason in str(caught.value), name
            else:
                assert future.result(SECONDS)[0] == name
        assert [found for found, _ in batch.result(SECONDS)] == list(range(20))
        processes = {tasks.submit(i).result(SECONDS)[1] for i in range(9)}
        assert len(processes) <= 3  # warm ones
        waiting = [tasks.submit("hang") for _ in range(12)]
        wait_until(lambda: any(future.running() for future in waiting))
        assert waiting[-1].cancel()
        with pytest.raises(Withdrawn):
            waiting[-1].result(SECONDS)
    wait_until(lambda: not any(map(runs, processes)))


@pytest.mark.usefixtures("cluster", "by_value")
def test_a_job_that_takes_too_long_is_ended_and_the_next_one_runs() -> None:
    with contextlib.closing(RayTasks(Ray(), timeout=4)) as tasks:
        tasks.load(work)
        long = [tasks.submit("hang") for _ in range(tasks.workers)]
        short = tasks.submit("good after it")
        for job in long:
            with pytest.raises(TimedOut, match="took longer than 4 s"):
                job.result(SECONDS)
        assert short.result(SECONDS)[0] == "good after it"


@pytest.mark.parametrize("deaths", [2, 100])
@pytest.mark.usefixtures("cluster", "by_value")
def test_a_job_that_no_worker_has_begun_is_sent_to_the_next(
    deaths: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = ray_cluster.looker()

    def dies(modules: Any) -> Any:
        before = len(list(tmp_path.iterdir()))
        if before < deaths:
            (tmp_path / str(before)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return look(modules)

    with monkeypatch.context() as patch:
        patch.setattr(ray_cluster, "looker", lambda: dies)
        tasks = RayTasks(Ray())
    with contextlib.closing(tasks):
        tasks.load(work)
        job = tasks.submit("good")
        if deaths < MAX_STARTS:
            assert job.result(SECONDS)[0] == "good"
        else:
            with pytest.raises(Crashed, match="its worker died"):
                job.result(SECONDS)
            assert len(list(tmp_path.iterdir())) == MAX_STARTS


@pytest.mark.usefixtures("cluster", "by_value")
def test_a_task_that_has_answered_or_failed_is_not_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ray can abort a process that cancels a task just as it ends."""
    import ray

    cancelled: list[Any] = []
    monkeypatch.setattr(ray, "cancel", lambda task, **_: cancelled.append(task))
    with contextlib.closing(RayTasks(Ray())) as tasks:
        tasks.load(work)
        for i in range(6):
            job: Any = tasks.submit(i)
            job.add_done_callback(lambda job: job.end(Withdrawn("the search ended")))
            assert job.result(SECONDS)[0] == i
        with pytest.raises(Crashed, match="its worker died"):
            tasks.submit("worker killed").result(SECONDS)
    assert not cancelled


@pytest.mark.usefixtures("cluster", "by_value")
def test_a_job_that_is_ended_while_it_is_sent_again_leaves_no_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    look, cancel = ray_cluster.looker(), ray.cancel
    cancelled: list[Any] = []

    def dies_once(modules: Any) -> Any:
        if not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return look(modules)

    def cancels(task: Any, **options: Any) -> None:
        cancelled.append(task)
        cancel(task, **options)

    monkeypatch.setattr(ray, "cancel", cancels)
    with monkeypatch.context() as patch:
        patch.setattr(ray_cluster, "looker", lambda: dies_once)
        tasks = RayTasks(Ray())
    start = tasks._start

    def ends_meanwhile(job: Any) -> None:
        if job.starts:
            job.end(Withdrawn("the search ended"))
        start(job)

    monkeypatch.setattr(tasks, "_start", ends_meanwhile)
    with contextlib.closing(tasks):
        tasks.load(work)
        job: Any = tasks.submit("hang")
        with pytest.raises(Withdrawn):
            job.result(SECONDS)
        wait_until(lambda: job.starts == 2 and job.generator in cancelled)


@pytest.mark.usefixtures("cluster", "by_value")
def test_warm_processes_end_with_the_study_that_used_them_and_no_other() -> None:
    """Ray may end a study in the very worker that keeps its process warm."""
    other = RayTasks(Ray())
    with contextlib.closing(other):
        other.load(work)
        for _ in range(3):
            tasks = RayTasks(Ray())
            with contextlib.closing(tasks):
                tasks.load(work)
                futures = [tasks.submit(i) for i in range(9)]
                processes = {future.result(SECONDS)[1] for future in futures}
            beside = other.submit("alive")
            wait_until(lambda seen=processes: not any(map(runs, seen)))
            assert beside.result(SECONDS)[0] == "alive"


@pytest.mark.usefixtures("cluster", "by_value")
def test_what_a_trial_started_ends_with_the_worker_that_ray_ends(tmp_path: Path) -> None:
    mark = tmp_path / "child"
    with contextlib.closing(RayTasks(Ray())) as tasks:
        tasks.load(work)
        tasks.submit(mark)
        wait_until(lambda: mark.exists() and mark.read_text() != "")
        child = int(mark.read_text())
        assert runs(child)
    wait_until(lambda: not runs(child))


@pytest.mark.usefixtures("by_value")
def test_what_a_trial_started_ends_with_a_node_that_is_killed(cluster: Any, tmp_path: Path) -> None:
    node = cluster.add_node(**NODE, resources={"short": 1})
    mark = tmp_path / "child"
    with contextlib.closing(RayTasks(Ray(trial_resources={"short": 1}))) as tasks:
        tasks.load(work)
        future = tasks.submit(mark)
        wait_until(lambda: mark.exists() and mark.read_text() != "")
        child = int(mark.read_text())
        cluster.remove_node(node, allow_graceful=False)
        with pytest.raises(NodeLost, match="its node was lost"):
            future.result(SECONDS)
        wait_until(lambda: len(ray_cluster.look_at((), None)) == 3)  # Ray may take it for alive
        wait_until(lambda: not runs(child))


class Course(SearchCallback):
    """Does things to a cluster in the middle of a study, and counts how often each trial ended."""

    def __init__(self, **acts: Callable[[], None]) -> None:
        self.acts = {int(name.removeprefix("after_")): act for name, act in acts.items()}
        self.ends: dict[int, int] = {}
        self.workers: set[int] = set()

    def on_trial_end(self, study: Any, trial: Any) -> None:
        self.ends[trial.id] = self.ends.get(trial.id, 0) + 1
        self.workers.add(study.workers)
        self.acts.pop(sum(self.ends.values()), lambda: None)()


def runs(number: int) -> bool:
    """Whether there is a process that does more than wait for its parent to read its end."""
    try:
        return bool(psutil.Process(number).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Losses(RegressorMixin, BaseEstimator):
    """Scores known beforehand; marks what it does in a folder, and hangs where a is 0.5."""

    def __init__(self, folder: str = "", a: float = 0.0, b: float = 0.0, amount: int = 9) -> None:
        self.folder = folder
        self.a = a
        self.b = b
        self.amount = amount

    def fit(self, x: Any, y: Any) -> Losses:
        if self.a == 0.5:
            time.sleep(3600)
        if not self.folder:
            return self
        mark = Path(self.folder, str(os.getpid()))
        mark.touch()
        time.sleep(0.1)
        mark.unlink()
        return self

    def score(self, x: Any, y: Any, sample_weight: Any = None) -> float:
        return -((self.a - 0.3) ** 2) - self.b - 1 / self.amount


def search_with_one_that_hangs(running: Path, **others: Any) -> TunerSearch:
    return TunerSearch(
        Losses(str(running)),
        {"a": Float(0, 1), "b": Float(0, 1)},
        max_trials=TRIALS,
        enqueue=[{"a": 0.5, "b": 0.5}],
        seed=3,
        trial_timeout=4,
        refit=False,
        verbose=0,
        **others,
    ).fit(ROWS, LABELS, validation_data=(ROWS, LABELS))


def on_a_cluster_that_changes(
    cluster: Any, running: Path, search: Callable[..., Any]
) -> tuple[Any, Course]:
    """Run a search while a node is killed, one is added, and a worker is killed."""
    running.mkdir()

    def kill_worker() -> None:
        wait_until(lambda: any(running.iterdir()))
        for mark in running.iterdir():
            with contextlib.suppress(psutil.Error, IndexError):
                psutil.Process(int(mark.name)).parents()[2].kill()
                return

    def add() -> None:
        cluster.add_node(**NODE)

    lost = cluster.worker_nodes.copy().pop()
    course = Course(
        after_10=lambda: cluster.remove_node(lost, allow_graceful=False),
        after_25=add,
        after_40=kill_worker,
    )
    return search(executor="ray", callbacks=[course]), course


@pytest.mark.usefixtures("by_value")
def test_a_study_loses_no_trial_when_a_node_is_killed_and_another_joins(
    cluster: Any, tmp_path: Path
) -> None:
    """Ray takes its time to give up a node, and to start workers on another."""

    def search(**others: Any) -> TunerSearch:
        return search_with_one_that_hangs(tmp_path / "running", tuner="random", **others)

    ours, course = on_a_cluster_that_changes(
        cluster, tmp_path / "running", lambda **given: search(directory=tmp_path / "s", **given)
    )
    local = search(executor="processes")
    assert course.ends == dict.fromkeys(range(TRIALS), 1)
    assert not course.acts
    assert max(course.workers) >= 3
    assert list(ours.results_.state) == ["failed"] + ["completed"] * (TRIALS - 1)
    assert "took longer than 4 s" in ours.results_.error[0]
    names = ["a", "b", "score"]
    assert ours.results_[names].equals(local.results_[names])
    assert (ours.best_index_, ours.best_params_) == (local.best_index_, local.best_params_)
    assert len(load_study(tmp_path / "s").results_) == TRIALS


@pytest.mark.usefixtures("by_value")
def test_a_pruned_study_loses_no_rung_when_a_node_is_killed_and_another_joins(
    cluster: Any, tmp_path: Path
) -> None:
    """Ray takes its time to give up a node, and to start workers on another."""

    def search(**others: Any) -> TunerSearch:
        rungs = {"pruner": "asha", "resource": "amount", "min_resources": 1}
        running = tmp_path / "running"
        return search_with_one_that_hangs(running, tuner="tpe", **rungs, **others)

    found, course = on_a_cluster_that_changes(cluster, tmp_path / "running", search)
    table = found.results_
    assert course.ends == dict.fromkeys(table.trial, 1)
    assert not course.acts
    first = table[table.rung == 0]
    assert len(first) == TRIALS
    assert list(table.error.dropna().index) == [0], list(table.error.dropna())
    assert set(table.state[1:]) == {"completed", "pruned"}
    for rung in (1, 2):  # at least a third of those below went on, each once
        here, below = table[table.rung == rung], table[table.rung == rung - 1]
        assert len(here) >= (len(below) - 1) // 3
        assert here.parent.is_unique
        assert set(here.parent) <= set(below.trial)
    expected = -((table.a - 0.3) ** 2) - table.b - 1 / table.amount
    assert np.allclose(table.score[1:], expected[1:].astype(float))


@pytest.mark.usefixtures("cluster", "by_value")
@pytest.mark.parametrize(
    ("tuner", "pruner"),
    [
        *((tuner, None) for tuner in ("grid", "bayesian", "cma-es", "qmc", "nsga2")),
        *(("tpe", pruner) for pruner in ("asha", "hyperband", "median", "patient")),
    ],
)
def test_with_one_worker_a_cluster_finds_what_this_process_finds(
    tuner: str, pruner: str | None
) -> None:
    def search(executor: Any) -> Any:
        found = TunerSearch(
            Losses(),
            {"a": Float(0.6, 1), "b": Float(0, 1)},
            tuner=tuner,
            pruner=pruner,
            resource="amount" if pruner else None,
            max_trials=8,
            executor=executor,
            workers=None if executor == "serial" else 1,
            seed=0,
            refit=False,
            verbose=0,
        ).fit(ROWS, LABELS, validation_data=(ROWS, LABELS))
        names = ["trial", "state", "a", "b", "score", "parent"]
        return found.results_[[name for name in names if name in found.results_]]

    ours = search("ray")
    assert ours.equals(search("serial"))
    assert len(ours) >= 8


@pytest.mark.usefixtures("cluster")
def test_a_pruned_study_keeps_its_models_through_storage_that_is_not_a_folder(
    storage: str, tmp_path: Path
) -> None:
    import s3fs
    from sklearn.ensemble import RandomForestClassifier

    search = TunerSearch(
        RandomForestClassifier(n_estimators=27),
        {"max_depth": [1, 2, 3, 4], "max_features": Float(0.1, 1.0)},
        tuner="tpe",
        pruner="asha",
        resource="n_estimators",
        min_resources=1,
        scoring="accuracy",
        max_trials=12,
        executor=Ray(storage=storage),
        directory=tmp_path / "study",
        keep_models=2,
        seed=0,
        verbose=0,
    )
    search.fit(ROWS, LABELS)
    states = set(search.results_.state)
    assert states == {"completed", "pruned"}
    assert len(search.kept_models) == 2
    model = search.load_model(search.kept_models[0])
    assert model.score(ROWS, LABELS) > 0.9
    grown = search.results_[search.results_.rung > 0].iloc[0]
    assert grown.parent >= 0
    left = s3fs.S3FileSystem().find("studies/all")
    assert len(left) <= 1  # the state of the best trial, for a study that goes on


@pytest.mark.usefixtures("cluster")
def test_a_network_resumes_at_a_rung_from_a_state_in_storage_as_from_one_in_a_folder(
    storage: str, tmp_path: Path
) -> None:
    def search(executor: Any, directory: str) -> SklearnSearch:
        return SklearnSearch(
            Classifier(model="mlp", epochs=3, batch_size=32),
            {"learning_rate": [1e-4, 1e-3, 1e-2]},
            method="halving",
            cv=None,
            n_iter=3,
            executor=executor,
            workers=2 if isinstance(executor, Ray) else None,
            directory=tmp_path / directory,
            keep_models=1,
            refit=False,
            seed=0,
            verbose=0,
        ).fit(ROWS[:96], LABELS[:96], validation_data=(ROWS[200:], LABELS[200:]))

    ours, local = search(Ray(storage=storage), "ours"), search("serial", "local")
    assert list(ours.results_.error.dropna()) == []
    assert ours.results_.rung.max() >= 1  # some went on from a rung
    names = ["learning_rate", "epochs", "rung", "score"]
    names = [name for name in names if name in local.results_]
    assert ours.results_[names].equals(local.results_[names])
    (best,) = ours.kept_models
    predicted = [s.load_model(best).predict_proba(ROWS) for s in (ours, local)]
    assert np.array_equal(*predicted)


def test_a_study_resumes_after_its_process_was_killed(cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "done").mkdir()
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
            import time
            from pathlib import Path
            from search import FunctionSearch
            from search.executors import Ray
            from trainer import Float

            done, go_on = Path({str(tmp_path / "done")!r}), Path({str(tmp_path / "go_on")!r})

            def loss(a):
                while len(list(done.iterdir())) > 8 and not go_on.exists():
                    time.sleep(0.02)
                (done / str(a)).touch()
                return a

            FunctionSearch(
                loss, {{"a": Float(0, 1)}}, tuner="random", max_trials=30, seed=0, verbose=0,
                executor=Ray({cluster.address!r}), directory={str(tmp_path / "study")!r},
            ).fit()
        """)
    )
    environment = os.environ | {LOOPBACK: "0"}

    def completed() -> int:
        with contextlib.suppress(sqlite3.Error):
            file = f"file:{tmp_path}/study/study.sqlite?mode=ro"
            with contextlib.closing(sqlite3.connect(file, uri=True)) as database:
                query = "select count(*) from trials where state = 'completed'"
                return int(database.execute(query).fetchone()[0])
        return 0

    with subprocess.Popen([sys.executable, script], env=environment) as first:
        wait_until(lambda: completed() > 5)
        first.kill()
    (tmp_path / "go_on").touch()
    before = completed()
    assert 5 < before < 30
    ended = {t: e for t, e in _ends(tmp_path / "study") if e is not None}
    subprocess.run([sys.executable, script], env=environment, check=True, timeout=WORK)
    after = dict(_ends(tmp_path / "study"))
    assert completed() == 30
    assert {t: after[t] for t in ended} == ended  # none of them ran again


def _ends(study: Path) -> list[tuple[int, float | None]]:
    with contextlib.closing(sqlite3.connect(study / "study.sqlite")) as database:
        return database.execute("select id, ended from trials").fetchall()


HIDES = """
import importlib.abc, importlib.metadata, sys
whole = importlib.metadata.version
def version(name):
    if name == "keras":
        return "3.0.1"
    return whole(name)
importlib.metadata.version = version
class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "cloudpickle_missing":
            return None
"""


def test_a_node_that_differs_is_named_or_left_out(cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HIDES)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    tasks = RayTasks(Ray())
    with contextlib.closing(tasks):
        tasks.load(time.sleep)
        other = cluster.add_node(**NODE, env_vars={"PYTHONPATH": path})
        try:
            wait_until(lambda: tasks.workers == 4)
            with pytest.warns(
                UserWarning, match=r"has joined gets no trials: it has keras 3\.0\.1"
            ):
                futures = [tasks.submit(0.3) for _ in range(12)]
                assert [future.result(SECONDS) for future in futures] == [None] * 12
            wait_until(lambda: tasks.workers == 3)
            began = time.monotonic()
            search = FunctionSearch(
                lambda a: a, {"a": [1, 2]}, tuner="grid", executor="ray", verbose=0
            )
            with pytest.raises(ValueError, match=r"node 127\.0\.0\.1 .* has keras 3\.0\.1 \(here "):
                search.fit()
            assert time.monotonic() - began < GONE
        finally:
            cluster.remove_node(other)


@pytest.mark.usefixtures("cluster")
def test_no_room_for_a_trial_is_said_at_once() -> None:
    with pytest.raises(ValueError, match=r"trial_resources=.*'gpu': 1.*no node .* has cpu 1"):
        RayTasks(Ray(trial_resources={"cpu": 1, "gpu": 1}))


@pytest.mark.usefixtures("cluster")
def test_the_address_of_another_cluster_is_refused() -> None:
    with pytest.raises(ValueError, match="this process is connected to the Ray cluster at 127"):
        RayTasks(Ray("127.0.0.1:1"))
