"""The machine and the versions that figures were measured with, without names or paths."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

_PACKAGES = (
    "exact-trainer",
    "tensorflow",
    "keras",
    "numpy",
    "scikit-learn",
    "torch",
    "lightning",
)


def describe() -> dict[str, str]:
    """Return CPU, cores, memory, system and versions, as text by name."""
    import psutil

    described = {
        "CPU": _cpu(),
        "cores": f"{_usable_cores()} usable, {psutil.cpu_count()} in all",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
    }
    for package in _PACKAGES:
        try:
            described[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            described[package] = "not installed"
    return described


def load() -> float:
    """Return the average number of processes that wanted a core in the last minute."""
    return os.getloadavg()[0]


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()
