"""guard: it ends like its worker, leaves nothing of it, and ends it with the coordinator.

What becomes of the trials of a search is in tests/search/executors/test_guard.py.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from patience import SECONDS

from trainer.utils import guard

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="guards are whole on Linux alone")

START = """
import importlib.util, os, signal, sys
spec = importlib.util.spec_from_file_location("guard", sys.argv[1])
guard = importlib.util.module_from_spec(spec)
spec.loader.exec_module(guard)
guard.SECONDS_BETWEEN_CHECKS = 0.01
def wait():
    print("ready", os.getpid(), flush=True)
    while True:
        signal.pause()
"""
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a bare interpreter that becomes a guard, whose worker runs some code."""
    made: list[subprocess.Popen[str]] = []

    def one(code: str, arguments: str = "os.getppid()") -> subprocess.Popen[str]:
        text = f"{START}\nguard.begin({arguments})\n{code}\n"
        command = [sys.executable, "-I", "-S", "-c", text, guard.__file__]
        made.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return made[-1]

    yield one
    for process in made:
        for number in [*guard.descendants(process.pid), process.pid]:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def ready(process: Any) -> int:
    """Wait until the worker says that it is ready; return its process number."""
    word, number = process.stdout.readline().split()
    assert word == "ready"
    return int(number)


@pytest.mark.parametrize(
    ("code", "ended"),
    [
        ("pass", 0),
        ("sys.exit(7)", 7),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    ],
)
def test_a_guard_ends_in_the_way_of_its_worker(code: str, ended: int, start: Start) -> None:
    assert start(code).wait(SECONDS) == ended


def test_a_process_that_left_the_workers_session_ends_with_the_worker(start: Start) -> None:
    process = start("if os.fork() == 0:\n    os.setsid()\n    wait()\nsignal.pause()")
    orphan = ready(process)
    worker = psutil.Process(orphan).ppid()
    assert os.getsid(orphan) == orphan
    os.kill(worker, signal.SIGKILL)
    assert process.wait(SECONDS) == -signal.SIGKILL
    assert not psutil.pid_exists(orphan)


def test_a_worker_may_end_in_order_when_its_guard_is_asked_to(start: Start) -> None:
    process = start("signal.signal(signal.SIGTERM, lambda *_: os._exit(5))\nwait()")
    ready(process)
    process.terminate()
    assert process.wait(SECONDS) == 5


@pytest.mark.parametrize("grace", [0, 0.01])
def test_a_worker_that_does_not_end_in_its_time_is_killed(grace: float, start: Start) -> None:
    stubborn = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwait()"
    process = start(stubborn, f"os.getppid(), grace={grace}")
    ready(process)
    process.terminate()
    assert process.wait(SECONDS) == -signal.SIGKILL


def test_a_worker_ends_if_the_guard_is_no_child_of_the_coordinator(start: Start) -> None:
    assert start("signal.pause()", "os.getpid()").wait(SECONDS) == -signal.SIGKILL


def test_the_output_of_both_goes_to_a_file_named_after_the_guard(
    tmp_path: Path, start: Start
) -> None:
    process = start(
        "print('said', flush=True); os.write(2, b'complained')", f"os.getppid(), {str(tmp_path)!r}"
    )
    assert process.wait(SECONDS) == 0
    (file,) = tmp_path.iterdir()
    assert file.name == f"{process.pid}.txt" and file.stat().st_mode & 0o777 == 0o600
    assert file.read_text() == "said\ncomplained"


def test_descendants_are_listed_each_after_its_parent(start: Start) -> None:
    process = start("if os.fork() == 0:\n    wait()\nsignal.pause()")
    grandchild = ready(process)
    worker = psutil.Process(grandchild).ppid()
    assert guard.children(process.pid) == guard._by_parent(process.pid) == [worker]
    assert guard.descendants(process.pid) == [worker, grandchild]
    process.kill()
    process.wait()
    os.kill(grandchild, signal.SIGKILL)  # without its guard nobody ends it
    assert guard.children(process.pid) == guard.descendants(process.pid) == []


@pytest.mark.parametrize(
    ("command", "always", "of_living"),
    [
        ("from multiprocessing.resource_tracker import main", True, True),
        ("from joblib.externals.loky.backend.resource_tracker import main", True, True),
        ("from multiprocessing.forkserver import main", False, True),
        ("from own.package import main", False, False),
    ],
)
def test_a_helper_of_a_library_is_known_by_its_command(
    command: str, always: bool, of_living: bool
) -> None:
    code = f"import sys; print(flush=True); sys.stdin.read() # {command}"
    waiting = [sys.executable, "-I", "-S", "-c", code]
    with subprocess.Popen(waiting, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        assert guard.is_helper(process.pid, of_living=False) is always
        assert guard.is_helper(process.pid, of_living=True) is of_living
    assert not guard.is_helper(process.pid, of_living=True), "it has ended"
