"""What a trial starts ends with it, and what it holds is counted, whatever way it goes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from patience import GONE, SECONDS, wait_until

from search.executors import Crashed, OutOfMemory, Raised, TimedOut, memory
from search.executors.processes import Processes
from trainer.utils import guard

ROOT = Path(__file__).parents[3]
MIB = 2**20
LIMIT = 300 * MIB
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="orphans are found on Linux alone")

# each writes the numbers of what it has started, and goes on for ever
CHILDREN = {
    "child": "import os, time; print(os.getpid(), flush=True); time.sleep(3600)",
    "session": "import os, time; os.setsid(); print(os.getpid(), flush=True); time.sleep(3600)",
    "orphan": (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        print(os.getpid(), flush=True)\n"
        "        time.sleep(3600)\n"
        "    os._exit(0)\n"
    ),
    "stubborn": (
        "import os, signal, time\n"
        "for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):\n"
        "    signal.signal(number, signal.SIG_IGN)\n"
        "print(os.getpid(), flush=True); time.sleep(3600)"
    ),
}


def sleep() -> None:
    time.sleep(3600)


def start_all(folder: str) -> list[int]:
    """Start a process of each kind; their numbers are in the folder too."""
    import multiprocessing

    processes = [
        subprocess.Popen(
            [sys.executable, "-IS", "-c", code],
            stdout=subprocess.PIPE,
            start_new_session=name == "stubborn",
        )
        for name, code in CHILDREN.items()
    ]
    started = [int(process.stdout.readline()) for process in processes if process.stdout]
    forked = multiprocessing.get_context("fork").Process(target=sleep)
    forked.start()
    assert forked.pid is not None
    started.append(forked.pid)
    Path(folder, "started.tmp").write_text(" ".join(map(str, started)))
    os.replace(Path(folder, "started.tmp"), Path(folder, "started"))
    return started


def work(argument: Any) -> Any:
    how, folder = argument
    if how == "memory":
        code = f"import time; held = b'1' * {LIMIT}; print(flush=True); time.sleep(3600)"
        subprocess.run([sys.executable, "-c", code])
    if how == "forked memory":
        held = b"1" * (LIMIT - 60 * MIB)
        for _ in range(3):
            if os.fork() == 0:
                time.sleep(3600)
        time.sleep(1)  # several looks
        return len(held)
    if how == "mapped":
        rows = np.load(folder, mmap_mode="r")
        total = int(rows.sum())
        time.sleep(1)
        return total
    if how == "shared":
        from multiprocessing.shared_memory import SharedMemory

        block = SharedMemory(create=True, size=LIMIT + 50 * MIB)
        block.unlink()  # it is there as long as it is mapped
        np.frombuffer(block.buf, "uint8")[:] = 1
        time.sleep(3600)
    if how == "joblib":
        from joblib import Parallel, delayed

        return Parallel(n_jobs=2)(delayed(os.getpid)() for _ in range(4)), os.getpid()
    if how == "forkserver":
        import multiprocessing

        with multiprocessing.get_context("forkserver").Pool(1) as pool:
            return pool.apply(os.getppid), os.getpid()
    if how == "leader":
        return os.getppid(), os.getpid(), os.getpgid(0)
    if how == "left memory":
        from multiprocessing.shared_memory import SharedMemory

        SharedMemory(folder, create=True, size=MIB)
        os.kill(os.getpid(), signal.SIGKILL)
    started = start_all(folder)
    if how == "group":
        os.killpg(0, signal.SIGKILL)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "leave":
        os._exit(3)
    if how == "raise":
        raise ValueError("a reason")
    if how == "hang":
        time.sleep(3600)
    return started, os.getpid()


def ended(numbers: list[int]) -> list[int]:
    """Those that are left of the processes, after a while."""
    found = []
    for number in numbers:
        try:
            found.append(psutil.Process(number))
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(found, timeout=GONE)
    return [process.pid for process in alive]


def started(folder: Path) -> list[int]:
    return [int(number) for number in (folder / "started").read_text().split()]


@pytest.fixture(scope="module", autouse=True)
def by_value() -> Iterator[None]:
    import cloudpickle

    # a worker cannot import this file
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def pool() -> Iterator[Processes]:
    made = Processes(work, workers=1, memory=LIMIT)
    yield made
    made.close()


def test_what_a_trial_has_left_running_is_ended_before_the_next(
    pool: Processes, tmp_path: Path
) -> None:
    left, worker = pool.submit(("return", str(tmp_path))).result(SECONDS)
    assert len(left) == 5
    assert not any(map(psutil.pid_exists, left)), "ended when the result is there"
    with pytest.raises(Raised, match="a reason"):
        pool.submit(("raise", str(tmp_path))).result(SECONDS)
    assert not any(map(psutil.pid_exists, started(tmp_path)))
    assert pool.submit(("return", str(tmp_path))).result(SECONDS)[1] == worker, "it is used again"


@pytest.mark.parametrize("how", ["killed", "leave", "group"])
def test_what_a_dead_worker_had_started_is_ended(pool: Processes, tmp_path: Path, how: str) -> None:
    with pytest.raises(Crashed, match="exited with code 3" if how == "leave" else "SIGKILL"):
        pool.submit((how, str(tmp_path))).result(SECONDS)
    assert ended(started(tmp_path)) == []


def test_what_a_trial_had_started_ends_when_its_time_is_over(tmp_path: Path) -> None:
    made = Processes(work, workers=1, timeout=12)  # until it has started all of them
    try:
        with pytest.raises(TimedOut):
            made.submit(("hang", str(tmp_path))).result(SECONDS)
        assert ended(started(tmp_path)) == []
    finally:
        made.close()


def test_what_trials_have_started_ends_when_the_search_does(tmp_path: Path) -> None:
    made = Processes(work, workers=1)
    made.submit(("hang", str(tmp_path)))
    wait_until((tmp_path / "started").exists)
    made.close()
    assert not any(map(psutil.pid_exists, started(tmp_path)))


COORDINATOR = """
    import importlib.util, sys, time
    import cloudpickle
    from search.executors.processes import Processes

    spec = importlib.util.spec_from_file_location("trees", sys.argv[1])
    trees = sys.modules["trees"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(trees)
    cloudpickle.register_pickle_by_value(trees)
    pool = Processes(trees.work, workers=1)
    pool.submit(("hang", sys.argv[2]))
    time.sleep(3600)
"""


def test_what_trials_have_started_ends_with_a_coordinator_that_is_killed(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(COORDINATOR), __file__, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests/helpers")])},
    )
    wait_until((tmp_path / "started").exists)
    workers = [p.pid for p in psutil.Process(process.pid).children(recursive=True)]
    process.kill()
    process.wait()
    assert ended([*workers, *started(tmp_path)]) == []


def test_even_a_guard_that_is_killed_leaves_little(tmp_path: Path) -> None:
    made = Processes(work, workers=1)
    try:
        leader = made.submit(("leader", "")).result(SECONDS)[0]
        job = made.submit(("hang", str(tmp_path)))
        wait_until((tmp_path / "started").exists)
        child = started(tmp_path)[0]
        psutil.Process(leader).kill()
        with pytest.raises(Crashed):
            job.result(SECONDS)
        made.submit(("leader", "")).result(SECONDS)
        assert ended([child]) == []
    finally:
        made.close()


@contextlib.contextmanager
def _stopped(process: int) -> Iterator[None]:
    """Stop a process again and again: the kernel continues it when its session's leader dies."""
    over = threading.Event()

    def stop() -> None:
        with contextlib.suppress(ProcessLookupError):
            while not over.is_set():
                os.kill(process, signal.SIGSTOP)

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)


def test_a_second_guard_ends_everything_after_the_first_was_killed(tmp_path: Path) -> None:
    made = Processes(work, workers=1, guards=2)
    try:
        inner, worker = made.submit(("leader", "")).result(SECONDS)[:2]
        job = made.submit(("hang", str(tmp_path)))
        wait_until((tmp_path / "started").exists)
        first = psutil.Process(inner).parent()
        assert first is not None
        with _stopped(inner):  # as on a busy machine: it acts after the worker was replaced
            first.kill()
            with pytest.raises(Crashed):
                job.result(SECONDS)
            made.submit(("leader", "")).result(SECONDS)
        assert ended([inner, worker, *started(tmp_path)]) == []
    finally:
        made.close()


def test_a_worker_outlives_the_thread_that_started_it() -> None:
    made = Processes(work, workers=1)
    jobs: list[Any] = []
    try:
        thread = threading.Thread(target=lambda: jobs.append(made.submit(("leader", ""))))
        thread.start()
        thread.join()
        first = jobs[0].result(SECONDS)
        time.sleep(guard.SECONDS_TO_END + 2 * guard.SECONDS_BETWEEN_CHECKS)
        assert made.submit(("leader", "")).result(SECONDS) == first
    finally:
        made.close()


def test_a_worker_has_a_group_of_its_own_and_its_guard_the_session(pool: Processes) -> None:
    leader, worker, group = pool.submit(("leader", "")).result(SECONDS)
    assert group == worker != leader
    assert os.getsid(worker) == leader != os.getsid(0)


def test_helpers_of_libraries_survive_the_trial_and_the_library_works_in_the_next(
    pool: Processes,
) -> None:
    servers = []
    for _ in range(2):
        server, worker = pool.submit(("forkserver", "")).result(SECONDS)
        assert psutil.pid_exists(server)
        servers.append((server, worker))
        numbers, again = pool.submit(("joblib", "")).result(SECONDS)
        assert again == worker
        assert not any(map(psutil.pid_exists, numbers)), "its workers hold what the trial loaded"
    assert servers[0] == servers[1]


def test_shared_memory_of_a_dead_worker_is_deleted_at_once(pool: Processes) -> None:
    name = f"left-by-{os.getpid()}"
    with pytest.raises(Crashed, match="SIGKILL"):
        pool.submit(("left memory", name)).result(SECONDS)
    assert not Path("/dev/shm", name).exists()


# ---- memory ----------------------------------------------------------------------------------


def test_the_memory_of_what_a_trial_started_counts(pool: Processes) -> None:
    with pytest.raises(OutOfMemory, match="MiB, above 300 MiB"):
        pool.submit(("memory", "")).result(SECONDS)


def test_the_memory_that_a_trial_shares_with_others_counts_where_it_made_it(
    pool: Processes,
) -> None:
    with pytest.raises(OutOfMemory, match="MiB, above 300 MiB"):
        pool.submit(("shared", "")).result(SECONDS)


def test_pages_that_forks_share_count_once(pool: Processes) -> None:
    assert pool.submit(("forked memory", "")).result(SECONDS) == LIMIT - 60 * MIB


@pytest.mark.parametrize("folder", ["on disk", "in memory"])
def test_mapped_data_do_not_count(tmp_path: Path, folder: str) -> None:
    rows = np.ones(200 * MIB, "uint8")
    file = tmp_path / "rows.npy"
    if folder == "in memory":
        if not os.access("/dev/shm", os.W_OK):
            pytest.skip("there is no such folder")
        file = Path("/dev/shm", f"rows-{os.getpid()}.npy")
    made = Processes(work, workers=2, memory=150 * MIB)
    try:
        np.save(file, rows)
        jobs = [made.submit(("mapped", str(file))) for _ in range(2)]
        assert [job.result(SECONDS) for job in jobs] == [200 * MIB] * 2
    finally:
        made.close()
        file.unlink(missing_ok=True)


def test_what_a_process_holds_is_its_own_memory() -> None:
    before = memory.held(os.getpid())
    block = np.ones(50 * MIB, "uint8")
    grown = memory.held(os.getpid()) - before
    assert 45 * MIB < grown < 60 * MIB
    assert block.nbytes == 50 * MIB
    assert memory.above([os.getpid()], 10 * 2**40) is None
    assert memory.above([os.getpid()], MIB) is not None
