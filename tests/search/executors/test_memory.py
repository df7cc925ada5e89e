"""The number of bytes that trial_memory limits: whose they are, and whose end makes it smaller."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from patience import wait_until

from search.executors import memory

SIZE = 2**26
ME = os.getpid


@pytest.fixture
def ended() -> int:
    """The number of a process that has ended, and was waited for."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@contextmanager
def _taken() -> Iterator[None]:
    """While SIZE bytes of memory are this process's own."""
    with mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as found:
        found.write(b"1" * SIZE)
        yield


def test_what_a_limit_allows_is_not_above_it_and_one_byte_less_is() -> None:
    with _taken():
        assert memory.above([ME()], 2**50) is None
        found = memory.above([ME()], SIZE)
        assert found is not None and found > SIZE
        assert found == pytest.approx(memory.held(ME()), rel=0.05)


def test_data_that_are_mapped_from_a_file_are_resident_but_above_no_limit(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"1" * SIZE)
    limit = memory.held(ME()) + SIZE // 2
    with (
        open(tmp_path / "data", "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        assert data[:: mmap.PAGESIZE].count(b"1") == SIZE // mmap.PAGESIZE
        assert memory.above([ME()], limit) is None


def test_processes_are_counted_together() -> None:
    one = memory.above([ME()], 1)
    assert one is not None
    assert memory.above([ME(), ME()], 1) == pytest.approx(2 * one, rel=0.05)
    assert memory.above(iter([ME(), ME()]), int(1.5 * one)) is not None, "any iterable will do"


def test_a_process_that_has_ended_holds_nothing_and_hides_no_other(ended: int) -> None:
    assert memory.above([ended], 0) is None
    alone, both = memory.above([ME()], 1), memory.above([ended, ME()], 1)
    assert alone is not None and both == pytest.approx(alone, rel=0.05)
    assert memory.above([], 0) is None


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_memory_that_is_written_counts_until_it_is_given_back(
    platform: str, ended: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil  # noqa: F401  (which looks at the platform when it is imported)

    if sys.platform != "linux" and platform == "linux":
        pytest.skip("needs /proc")
    monkeypatch.setattr(sys, "platform", platform)
    before = memory.held(ME())
    with _taken():
        assert memory.held(ME()) - before == pytest.approx(SIZE, rel=0.2)
    assert memory.held(ME()) - before < SIZE / 5
    with pytest.raises(OSError):
        memory.held(ended)
    assert memory.above([ended], 0) is None


@pytest.mark.skipif(
    sys.platform != "linux" or not os.access("/dev/shm", os.W_OK),
    reason="files in memory are told apart on Linux, in its folder /dev/shm",
)
def test_a_file_that_is_let_go_of_while_memory_is_counted_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The system tells of all memory and of each mapping, but not at the same moment."""
    count = memory._mapped_to_read
    file = Path("/dev/shm", f"rows-{ME()}")
    before = memory.held(ME())
    try:
        file.write_bytes(b"1" * SIZE)
        with file.open("rb") as opened:
            rows = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        assert rows[:: mmap.PAGESIZE] == b"1" * (SIZE // mmap.PAGESIZE)  # all of it is resident
        assert memory.held(ME()) < before + SIZE // 2

        def lets_go(process: int) -> int:
            rows.close()
            return count(process)

        monkeypatch.setattr(memory, "_mapped_to_read", lets_go)
        assert memory.held(ME()) < before + SIZE // 2
    finally:
        file.unlink()
    assert rows.closed


def _wait_until_it_holds_little(process: int, held: Callable[[int], int]) -> None:
    with suppress(OSError):  # it has ended
        wait_until(lambda: held(process) <= SIZE // 8, message="it still holds the memory")


FORKS = """
import os, sys, time
held = b"1" * int(sys.argv[1])
sharing = [os.getpid()]
for _ in range(2):
    order, orders = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(orders)
        if os.read(order, 1):
            os.execvp("sleep", ["sleep", "3600"])
        os._exit(0)
    os.close(order)
    sharing.append(child)
    last = orders
print(*sharing, flush=True)
told = sys.stdin.readline().strip()
os.write(last, b"1") if told == "other program" else os.close(last)
time.sleep(3600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="pages are divided among processes on Linux")
@pytest.mark.parametrize("what", ["end", "other program"])
def test_pages_that_a_fork_lets_go_of_while_memory_is_counted_do_not_count_twice(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = memory.held
    forks = subprocess.Popen(
        [sys.executable, "-c", FORKS, str(SIZE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert forks.stdin is not None and forks.stdout is not None
        first, second, third = map(int, forks.stdout.readline().split())
        together = sum(map(held, [first, second, third]))
        assert SIZE < together < 2 * SIZE
        looks: list[int] = []

        def lets_go(process: int) -> int:
            found = held(process)
            if process == third and not looks:
                looks.append(found)
                print(what, file=forks.stdin, flush=True)
                _wait_until_it_holds_little(third, held)
            return found

        monkeypatch.setattr(memory, "held", lets_go)
        limit = together + SIZE // 8
        assert memory.above([third, second, first], limit) is None
        assert looks and looks[0] > SIZE // 4
        assert memory.above([third, second, first], SIZE) is not None, "the others still hold it"
    finally:
        os.killpg(forks.pid, signal.SIGKILL)
        forks.communicate()
