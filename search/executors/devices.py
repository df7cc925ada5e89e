"""Which GPUs each worker sees: its own share, because TensorFlow occupies every GPU it sees.

Responsible for finding the GPUs without starting CUDA in this process, and for dividing them. Not
for how much of a GPU's memory a worker takes: it grows as needed (`worker`).

    more GPUs than workers    each worker has some, the first workers no fewer than the last
    as many                   each has one
    fewer                     they share: worker i has GPU i % n
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping

VISIBLE = "CUDA_VISIBLE_DEVICES"
SECONDS_TO_LIST = 30  # a driver that is not in use takes a while to start
_LINE = re.compile(r"^(?P<part>\s*)(?:GPU|MIG) .*\(UUID: (?P<name>[\w/-]+)\)\s*$")


def shares(workers: int, environment: Mapping[str, str] = os.environ) -> list[dict[str, str]]:
    """Return the environment variables to set for each worker.

    Args:
        workers: number of workers.
        environment: of this process. If CUDA_VISIBLE_DEVICES names GPUs, these are divided.

    Returns:
        One mapping per worker, empty if there is no GPU or no other worker.
    """
    if workers == 1:
        return [{}]
    named = environment.get(VISIBLE)
    found = _listed() if named is None else _visible(named)
    if not found:
        return [{}] * workers
    n = len(found)
    if n < workers:
        parts = [[found[i % n]] for i in range(workers)]
    else:
        # the longer shares first
        ends = [-(-n * i // workers) for i in range(workers + 1)]
        parts = [found[ends[i] : ends[i + 1]] for i in range(workers)]
    return [{VISIBLE: ",".join(part)} for part in parts]


def _visible(named: str) -> list[str]:
    """Parse a list of GPUs as CUDA does: up to the first invalid name."""
    found: list[str] = []
    for name in (part.strip() for part in named.split(",")):
        if not (name.isdigit() or name.startswith(("GPU-", "MIG-"))):
            break
        found.append(name)
    return found


def _listed() -> list[str]:
    """List the GPUs of this machine by UUID: nvidia-smi's numbers may differ from CUDA's."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS_TO_LIST,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []  # there is no driver, or it finds no GPU
    found: list[str] = []
    whole = ""
    for line in map(_LINE.match, done.stdout.splitlines()):
        if line is None:
            continue
        if not line["part"]:
            whole = line["name"]
        elif found and found[-1] == whole:
            found.pop()  # a GPU that is partitioned can be used only through its parts
        found.append(line["name"])
    return found
