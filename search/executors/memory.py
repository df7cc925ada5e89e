"""How much memory a trial holds: its own and that of the processes it started, and nothing else's.

Responsible for the number that `trial_memory` limits. Not for ending anything.

Counted are pages that no file stands behind: the heap, arrays, and memory shared between processes
that one of them may write to; also where they were swapped out. Pages that several processes share
are divided among them, so that a tree of forks counts each once. Not counted is what the kernel can
drop and read again: libraries, and data that are mapped from a file, which all workers share.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

LITTLE = 2**20  # of shared memory, below which it does not matter whose it is
_FIELD = re.compile(rb"^(Pss_Anon|Pss_Shmem|SwapPss):\s+(\d+) kB", re.MULTILINE)
_SIZE = re.compile(rb"^(?:VmRSS|VmSwap):\s+(\d+) kB", re.MULTILINE)
_MAPPING = re.compile(rb"^[0-9a-f]+-[0-9a-f]+ (\S{4}) [0-9a-f]+ ([0-9a-f]+):.*$", re.MULTILINE)
_PSS = re.compile(rb"^Pss:\s+(\d+) kB", re.MULTILINE)


def above(processes: Iterable[int], limit: int) -> int | None:
    """The bytes that the processes hold together, if that is more than the limit."""
    numbers = list(processes)
    # never less, and far cheaper to read
    if _total(_resident, numbers) <= limit:
        return None
    taken = _total(held, numbers)
    return taken if taken > limit else None


def held(process: int) -> int:
    """The bytes that a process holds, without those that it shares with others or with files.

    Raises:
        OSError: it has ended, or is another user's.
    """
    if sys.platform != "linux":
        return _unique(process)
    found = dict(_FIELD.findall(Path(f"/proc/{process}/smaps_rollup").read_bytes()))
    if b"Pss_Anon" not in found:  # a kernel before 5.4
        return _unique(process)
    anonymous, shared, swapped = (
        int(found.get(name, 0)) * 1024 for name in (b"Pss_Anon", b"Pss_Shmem", b"SwapPss")
    )
    if shared > LITTLE:
        shared -= min(shared, _mapped_to_read(process))
    return anonymous + shared + swapped


def _mapped_to_read(process: int) -> int:
    """The bytes of files that are mapped for reading only, as a share of each page's users.

    In a temporary folder that is kept in memory such a file counts as shared memory; it is not the
    trial's: only who may write to memory has made it.
    """
    content = Path(f"/proc/{process}/smaps").read_bytes()
    mappings = list(_MAPPING.finditer(content))
    ends = [m.start() for m in mappings[1:]] + [len(content)]
    total = 0
    for mapping, end in zip(mappings, ends, strict=True):
        # the device of a file that is kept in memory has no driver, which is number 0
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


def _total(measure: Callable[[int], int], processes: Iterable[int]) -> int:
    total = 0
    for process in processes:
        try:
            total += measure(process)
        except OSError:  # it has ended
            continue
    return total
