"""The processors of this machine: how many this process may use, and of which kind they are."""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path

INFORMATION = Path("/proc/cpuinfo")
# that libraries choose their code by, which then adds numbers in another order
_DECISIVE = ("avx", "fma", "amx", "asimd", "sve", "bf16", "i8mm")


def usable() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def instructions() -> set[str] | None:
    """Return the instruction sets under Linux' names; None where they are not known."""
    found = _first(INFORMATION)
    flags = found.get("flags", found.get("Features"))
    return None if flags is None else set(flags.split())


@functools.cache
def kind() -> str:
    """Return what distinguishes processors that may round differently.

    Their names are not enough: a virtual machine may have another name for them, and may hide
    instruction sets.
    """
    return kind_of(_first(INFORMATION), platform.processor() or platform.machine())


def kind_of(found: dict[str, str], otherwise: str) -> str:
    """Return the kind of a processor.

    Args:
        found: What /proc/cpuinfo says of it; empty on other systems.
        otherwise: Its name, for those.
    """
    named = ("CPU implementer", "CPU part")
    name = found.get("model name") or ", ".join(f"{n} {found[n]}" for n in named if n in found)
    numbers = [f"{n} {found[n]}" for n in ("cpu family", "model") if n in found]
    sets = found.get("flags", found.get("Features", "")).split()
    decisive = sorted(each for each in set(sets) if each.startswith(_DECISIVE))
    return ", ".join(filter(None, [name or otherwise, *numbers, " ".join(decisive)]))


def _first(path: Path) -> dict[str, str]:
    """Return what the system says of its first processor; empty where it does not say it so."""
    found: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                name, colon, value = line.partition(":")
                if not colon:
                    break
                found[name.strip()] = value.strip()
    except OSError:
        return {}
    return found
