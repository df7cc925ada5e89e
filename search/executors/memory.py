"""How much memory a trial holds: its own and that of the processes it started, nothing else.

Responsible for the number that `trial_memory` limits. Not for ending anything.

It counts pages without a file behind them: the heap, arrays, and memory shared between processes
that one of them may write to, swapped out or not. Pages shared by several processes are divided
among them, so that a tree of forks counts each once. It does not count what the kernel can drop and
read again: libraries, and data mapped from a file, which all workers share.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

LITTLE = 2**20  # bytes of shared memory too few to find out whose they are
_FIELD = re.compile(rb"^(Pss_Anon|Pss_Shmem|SwapPss):\s+(\d+) kB", re.MULTILINE)
_SIZE = re.compile(rb"^(?:VmRSS|VmSwap):\s+(\d+) kB", re.MULTILINE)
_MAPPING = re.compile(rb"^[0-9a-f]+-[0-9a-f]+ (\S{4}) [0-9a-f]+ ([0-9a-f]+):.*$", re.MULTILINE)
_PSS = re.compile(rb"^Pss:\s+(\d+) kB", re.MULTILINE)


def above(processes: Iterable[int], limit: int) -> int | None:
    """Return the bytes that the processes hold together if that is above the limit, else None."""
    numbers = list(processes)
    # resident memory is never less than what is held, and far cheaper to read
    if sum(_each(_resident, numbers)) <= limit:
        return None
    # a page that two processes share counts half for each; if one of them ends, or lets go of it,
    # after it was read and before the other one is, it counts half and then whole: so read twice,
    # and take the smaller number of each process
    taken = sum(map(min, _each(held, numbers), _each(held, numbers)))
    return taken if taken > limit else None


def held(process: int) -> int:
    """Return the bytes that a process holds, without what it shares with others or with files.

    Raises:
        OSError: the process has ended, or belongs to another user.
    """
    if sys.platform != "linux":
        return _unique(process)
    found = _shares(process)
    if b"Pss_Anon" not in found:  # a kernel before 5.4
        return _unique(process)
    anonymous, shared, swapped = (
        found.get(name, 0) for name in (b"Pss_Anon", b"Pss_Shmem", b"SwapPss")
    )
    if shared > LITTLE:
        mapped = _mapped_to_read(process)
        # the process may have let go of a file meanwhile, or another one may have mapped it
        shared = max(0, min(shared, _shares(process).get(b"Pss_Shmem", 0)) - mapped)
    return anonymous + shared + swapped


def _shares(process: int) -> dict[bytes, int]:
    """Return the bytes of each kind that a process holds, its part of what it shares."""
    content = Path(f"/proc/{process}/smaps_rollup").read_bytes()
    return {name: int(size) * 1024 for name, size in _FIELD.findall(content)}


def _mapped_to_read(process: int) -> int:
    """Return the bytes of files mapped read-only, each page divided among its users.

    If the temporary folder is in memory, such a file counts as shared memory; but it is not the
    trial's: only a process that may write to memory has made it.
    """
    content = Path(f"/proc/{process}/smaps").read_bytes()
    mappings = list(_MAPPING.finditer(content))
    ends = [m.start() for m in mappings[1:]] + [len(content)]
    total = 0
    for mapping, end in zip(mappings, ends, strict=True):
        # a file kept in memory is on a device without a driver: major number 0
        if mapping[1] == b"r--s" and int(mapping[2], 16) == 0:
            size = _PSS.search(content, mapping.end(), end)
            total += int(size[1]) * 1024 if size else 0
    return total


def _unique(process: int) -> int:
    import psutil

    try:
        return int(psutil.Process(process).memory_full_info().uss)
    except psutil.Error as error:
        raise ProcessLookupError(str(error)) from error


def _resident(process: int) -> int:
    if sys.platform == "linux":
        found = _SIZE.findall(Path(f"/proc/{process}/status").read_bytes())
        return sum(map(int, found)) * 1024
    import psutil

    try:
        return int(psutil.Process(process).memory_info().rss)
    except psutil.Error as error:
        raise ProcessLookupError(str(error)) from error


def _each(measure: Callable[[int], int], processes: list[int]) -> list[int]:
    """Return a number for each process, 0 for one that has ended."""
    found = []
    for process in processes:
        try:
            found.append(measure(process))
        except OSError:
            found.append(0)
    return found
