"""Executors: one job's end is no other's, and each end has its reason."""

from __future__ import annotations

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

import psutil
import pytest
from patience import GONE, SECONDS, WORK

from search.executors import Crashed, Failure, OutOfMemory, Raised, TimedOut, memory, worker
from search.executors.processes import MAX_STARTS, Processes
from search.executors.serial import Serial


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__("holds a function")
        self.function = lambda: 0


def work(argument: Any) -> Any:
    import ctypes

    if argument == "segfault":
        ctypes.string_at(0)
    if argument == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if argument == "hang":
        time.sleep(3600)
    if argument == "memory":
        held = b"1" * 500_000_000
        time.sleep(3600)
        return held
    if argument == "raise":
        raise ValueError("a reason")
    if argument == "unpicklable":
        raise Unpicklable
    if argument == "exit":
        sys.exit(0)
    if argument == "leave":
        print("last words")
        sys.stdout.flush()
        os._exit(0)
    if argument == "print":
        for _ in range(10):
            print("x" * 1_000_000)
    if argument == "result":
        return lambda: 0
    if argument == "slow":
        time.sleep(0.15)
    return argument, os.getpid(), os.environ["OMP_NUM_THREADS"]


@pytest.fixture
def by_value() -> Iterator[None]:
    import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def pool() -> Iterator[Processes]:
    # sent by value: a worker cannot import this file
    import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    made = Processes(work, workers=2, timeout=8, memory=400 * 2**20)
    yield made
    made.close()


ENDS: dict[str, tuple[type[Failure], str]] = {
    "segfault": (Crashed, "died of SIGSEGV"),
    "killed": (Crashed, "died of SIGKILL"),
    "hang": (TimedOut, "took longer than 8 s"),
    "memory": (OutOfMemory, "MiB, above 400 MiB"),
    "raise": (Raised, "ValueError: a reason\nTraceback"),
    "unpicklable": (Raised, "Unpicklable: holds a function"),
    "exit": (Raised, "SystemExit: 0"),
    "leave": (Crashed, "exited with code 0; it had printed:\nlast words"),
    "result": (Raised, "local object"),
}


def test_each_end_has_its_reason_and_harms_no_other_job(pool: Processes) -> None:
    jobs = [name for end in ENDS for name in (end, f"good after {end}")]
    futures = {name: pool.submit(name) for name in jobs}
    for name, future in futures.items():
        if name in ENDS:
            kind, reason = ENDS[name]
            with pytest.raises(kind) as caught:
                future.result(SECONDS)
            assert reason in str(caught.value), name
        else:
            assert future.result(SECONDS)[0] == name


def test_only_the_death_of_a_process_is_worth_another_attempt() -> None:
    assert [f.again for f in (Raised, TimedOut, OutOfMemory, Crashed)] == [False] * 3 + [True]


def test_a_worker_may_print_megabytes(pool: Processes, capfd: pytest.CaptureFixture) -> None:
    assert pool.submit("print").result(SECONDS)[0] == "print"
    assert "xxx" not in "".join(capfd.readouterr())


def test_threads_are_shared_among_the_workers(pool: Processes) -> None:
    threads = pool.submit("good").result(SECONDS)[2]
    given = os.environ.get("OMP_NUM_THREADS")
    assert threads == (given or str(max(1, (os.cpu_count() or 1) // 2)))


def test_processes_are_used_again_and_replaced_after_some_jobs() -> None:
    import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    made = Processes(work, workers=1, recycle=2)
    try:
        processes = [made.submit(i).result(SECONDS)[1] for i in range(4)]
    finally:
        made.close()
    assert processes[0] == processes[1] != processes[2] == processes[3]


def test_a_worker_that_is_killed_without_a_job_is_replaced() -> None:
    import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    made = Processes(work, workers=1)
    try:
        first = made.submit("good").result(SECONDS)[1]
        psutil.Process(first).kill()
        time.sleep(0.5)
        assert made.submit("good").result(SECONDS)[1] != first
    finally:
        made.close()


class SlowToStart:
    def warm_up(self) -> None:
        time.sleep(3600)

    def __call__(self, argument: Any) -> Any:
        return argument


def test_a_limit_that_no_worker_keeps_ends_its_job_with_the_reason() -> None:
    import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    made = Processes(SlowToStart(), workers=1, memory=2**20)
    try:
        with pytest.raises(OutOfMemory, match="MiB, above 1 MiB"):
            made.submit("good").result(SECONDS)
    finally:
        made.close()


class Mortal:
    """Its first workers die before they have begun a job."""

    def __init__(self, folder: Path, deaths: int) -> None:
        self.folder = folder
        self.deaths = deaths

    def warm_up(self) -> None:
        before = len(list(self.folder.iterdir()))
        (self.folder / str(before)).touch()
        if before < self.deaths:
            print("last words", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    def __call__(self, argument: Any) -> Any:
        return argument


def test_jobs_that_no_worker_has_begun_are_sent_to_the_next(tmp_path: Path, by_value: None) -> None:
    made = Processes(Mortal(tmp_path, deaths=2), workers=1)
    try:
        jobs = [made.submit(i) for i in range(3)]
        assert [job.result(SECONDS) for job in jobs] == [0, 1, 2]
    finally:
        made.close()


def test_a_job_that_no_worker_can_begin_ends_with_the_reason(
    tmp_path: Path, by_value: None
) -> None:
    made = Processes(Mortal(tmp_path, deaths=100), workers=1)
    reason = "3 processes died before one could start it; the last died of SIGKILL; it had printed:"
    try:
        with pytest.raises(Crashed, match=f"{reason}\nlast words"):
            made.submit("good").result(SECONDS)
    finally:
        made.close()
    assert len(list(tmp_path.iterdir())) == MAX_STARTS


def test_a_job_whose_start_was_not_seen_is_not_begun_again(
    by_value: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine a process may be found dead before its first message was read."""
    monkeypatch.setattr("pebble.pool.process.TaskManager.task_start", lambda *_: None)
    made = Processes(work, workers=1)
    try:
        with pytest.raises(Crashed, match="its process died of SIGSEGV"):
            made.submit("segfault").result(SECONDS)
    finally:
        made.close()


def test_a_pool_that_breaks_as_a_job_comes_is_replaced(
    by_value: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pebble import ProcessPool
    from pebble.pool.base_pool import PoolStatus

    whole = ProcessPool.schedule
    broken: list[Any] = []

    def breaks(self: Any, *args: Any, **options: Any) -> Any:
        if not broken:
            broken.append(self)
            self._context.status = PoolStatus.ERROR
        return whole(self, *args, **options)

    monkeypatch.setattr(ProcessPool, "schedule", breaks)
    made = Processes(work, workers=1)
    try:
        assert made.submit("good").result(SECONDS)[0] == "good"
    finally:
        made.close()
    assert broken


@pytest.mark.parametrize("first", ["worker", "resource tracker"])
def test_a_system_that_starts_no_process_is_named(
    first: str, by_value: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from multiprocessing import resource_tracker

    def fails(*_: Any) -> Any:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    resource_tracker.ensure_running()
    if first == "resource tracker":  # as in a process that has not used multiprocessing yet
        monkeypatch.setattr(resource_tracker._resource_tracker, "_fd", None)
    monkeypatch.setattr("multiprocessing.util.spawnv_passfds", fails)
    made = Processes(work, workers=1)
    try:
        with pytest.raises(Crashed, match="no process could start it: BlockingIOError: .*Resource"):
            made.submit("good").result(SECONDS)
        monkeypatch.undo()
        assert made.submit("good").result(SECONDS)[0] == "good"
    finally:
        made.close()


def begin_and_wait(job: tuple[str, str]) -> str:
    folder, name = job
    Path(folder, f"{name} has begun").touch()
    _wait_for(Path(folder, f"{name} may end"))
    return name


def _wait_for(file: Path) -> None:
    until = time.monotonic() + SECONDS
    while not file.exists():
        assert time.monotonic() < until, f"no file {file.name}"
        time.sleep(0.01)


def test_a_job_is_not_ended_for_what_the_one_before_it_held(
    tmp_path: Path, by_value: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    looked_again = threading.Event()
    most = 2**40  # other pools of this process have other limits

    def ends_while_it_is_counted(tree: list[int], limit: int) -> int | None:
        if limit == most and counted:
            looked_again.set()
        if limit != most or counted or not Path(tmp_path, "first has begun").exists():
            return None
        counted.extend(tree)
        Path(tmp_path, "first may end").touch()
        _wait_for(Path(tmp_path, "second has begun"))
        return limit + 1

    monkeypatch.setattr(memory, "above", ends_while_it_is_counted)
    made = Processes(begin_and_wait, workers=1, memory=most)
    try:
        first, second = (made.submit((str(tmp_path), name)) for name in ("first", "second"))
        assert first.result(SECONDS) == "first"
        assert looked_again.wait(SECONDS), "by then the second would have been ended"
        Path(tmp_path, "second may end").touch()
        assert second.result(SECONDS) == "second"
        assert counted
    finally:
        made.close()


def test_work_that_cannot_be_sent_is_named() -> None:
    import threading

    lock = threading.Lock()
    with pytest.raises(TypeError, match="cannot be sent to other processes .*executor='serial'"):
        Processes(lambda argument: lock, workers=1)


SCRIPT = """
    import os, sys, time
    from search.executors.processes import Processes

    class Mine:
        value = 3

    def work(argument):
        if argument == "wait":
            time.sleep(3600)
        return Mine.value, os.getpid()

    print("main", flush=True)  # once: a worker does not run the script again
    pool = Processes(work, workers=2)
    value, pid = pool.submit(0).result()
    print(value, pid, pool.submit("wait") and os.getpid(), flush=True)
    if sys.argv[1:] == ["wait"]:
        time.sleep(3600)
    pool.close()
"""


def _script(tmp_path: Path) -> Path:
    file = tmp_path / "script.py"
    file.write_text(textwrap.dedent(SCRIPT))
    return file


def test_classes_of_a_script_work_without_a_guard(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(_script(tmp_path))],
        capture_output=True,
        text=True,
        timeout=WORK,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("main") == 1
    assert "\n3 " in done.stdout


def test_orphans_end_by_themselves(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, str(_script(tmp_path)), "wait"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "main\n"
    process.stdout.readline()
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    process.kill()
    process.wait()
    gone, alive = psutil.wait_procs(children, timeout=GONE)
    assert alive == []


CLOSING = """
    import os, signal, sys, time
    from search.executors.processes import Processes

    def work(argument):
        if argument == "leave":
            os._exit(1)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # closing takes a while
        open(sys.argv[1], "w").close()
        time.sleep(3600)

    pool = Processes(work, workers=2)
    pool.submit("busy")
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.01)
    try:
        pool.submit("leave").result()
    except Exception as error:
        print(error)
    pool.close()  # while a worker starts in the place of the one that left
"""


def test_nothing_is_printed_when_a_pool_closes_while_a_worker_starts(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(CLOSING))
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "busy")],
        capture_output=True,
        text=True,
        timeout=WORK,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert done.stderr == ""
    assert done.stdout == "its process exited with code 1\n"


STARTING = """
    import sys
    from search.executors.processes import Processes

    pool = Processes(print, workers=2)
    for _ in range(3):
        pool.submit(0)
        pool._renew()
    pool.close()
"""


def test_nothing_is_printed_when_workers_end_before_they_have_started() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(STARTING)],
        capture_output=True,
        text=True,
        timeout=WORK,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("argument", ["raise", "exit"])
def test_the_serial_executor_tells_failures_alike(argument: str) -> None:
    with pytest.raises(Raised, match=r"(ValueError: a reason|SystemExit: 0)\n"):
        Serial(work).submit(argument).result()
    assert Serial(lambda value: value + 1).submit(1).result() == 2


def test_a_batch_has_an_outcome_for_each_argument_until_its_time_is_over(
    by_value: None,
) -> None:
    pool = Processes(work, workers=1)
    try:
        found = pool.submit_many([1, "raise", 2, "unpicklable", "exit"]).result(SECONDS)
        assert [found[0][0], found[2][0]] == [1, 2]
        assert all(isinstance(found[i], Raised) for i in (1, 3, 4))
        assert "ValueError: a reason" in str(found[1])
        slow = pool.submit_many(["slow"] * 5).result(SECONDS)
        assert [outcome is None for outcome in slow[-2:]] == [True, True] and slow[0] is not None
        assert pool.submit_many(["slow"]).result(SECONDS)[0][0] == "slow"
    finally:
        pool.close()


def test_a_batch_whose_worker_dies_or_takes_too_long_fails_as_a_whole(by_value: None) -> None:
    pool = Processes(work, workers=1, timeout=3)
    try:
        with pytest.raises(Crashed, match="died of SIGKILL"):
            pool.submit_many([1, "killed", 2]).result(SECONDS)
        with pytest.raises(TimedOut, match="took longer than 3 s"):
            pool.submit_many([1, "hang"]).result(SECONDS)
        assert pool.submit_many([1, 2]).result(SECONDS)[1][0] == 2
    finally:
        pool.close()


def imported(argument: Any) -> Any:
    return argument in sys.modules, os.environ.get(worker.SEAT)


def test_workers_import_what_they_will_need_before_there_is_work(by_value: None) -> None:
    pool = Processes(workers=2, preload=("this_is_no_module", "wave"))
    try:
        pool.start()
        pool.load(imported)
        found = [pool.submit("wave") for _ in range(2)]
        assert [f.result(SECONDS) for f in found] == [(True, None)] * 2
        with pytest.raises(TypeError, match="cannot be sent to other processes"):
            pool.load(threading.Lock())
    finally:
        pool.close()
