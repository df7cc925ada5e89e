"""What a run is computed with: the content of environment.json, and what has changed since.

With other versions of packages, another kind of processor, another number of threads or other GPUs,
TensorFlow may round differently, so a resumed run may not end with the same bytes.
"""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from trainer.engine.backend import plan
from trainer.utils import forms, processor
from trainer.utils.forms import Malformed

PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn", "pandas", "exact-trainer")
FORMER_NAME = "keras-trainer"  # of this distribution, in version 0.1.0
_VARIABLES = ("TF_", "XLA_", "OMP_", "CUDA_", "KERAS_")
# Besides packages; the files of earlier versions lack these.
_COMPARED = {
    "processor": "the processor",
    "threads": "the number of TensorFlow's threads",
    "gpus": "the list of GPUs",
}


def environment() -> dict[str, Any]:
    """Describe the machine, and the versions of packages that affect the results."""
    import psutil

    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return {
        "python": platform.python_version(),
        "packages": found,
        "system": platform.platform(),
        "processor": processor.kind(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "variables": {k: v for k, v in os.environ.items() if k.startswith(_VARIABLES)},
    }


def of_training() -> dict[str, Any]:
    """Describe what a training in this process is computed with; TensorFlow starts."""
    threads = plan.intra_op_threads() or processor.usable()
    return {**environment(), "threads": threads, "gpus": plan.gpus()}


def packages(path: Path) -> dict[str, str]:
    """Return the versions of packages in a file; empty if it was not written by a run."""
    try:
        return _packages(forms.read(path))
    except (OSError, Malformed):
        return {}


def changes(path: Path) -> list[str] | None:
    """Return what has changed since a file was written, in words; None if it cannot be read."""
    try:
        content = forms.read(path)
        earlier = _packages(content)
        _check(content)
    except (OSError, Malformed):
        return None
    if not earlier:
        return None
    if FORMER_NAME in earlier:
        earlier[PACKAGES[-1]] = earlier.pop(FORMER_NAME)
    now = of_training()
    changed = [
        f"{name} {earlier.get(name)} is now {version}"
        for name, version in now["packages"].items()
        if earlier.get(name) != version
    ]
    return changed + [
        f"{words} was {content[name]!r} and is now {now[name]!r}"
        for name, words in _COMPARED.items()
        if name in content and content[name] != now[name]
    ]


def _check(content: dict[str, Any]) -> None:
    forms.text("processor", content.get("processor", ""))
    forms.whole("threads", content.get("threads", 1), 1)
    for name in forms.items("gpus", content.get("gpus", [])):
        forms.text("gpus", name)


def _packages(content: Any) -> dict[str, str]:
    content = forms.mapping("its content", content, ("packages",))
    found: dict[str, str] = forms.mapping("packages", content["packages"])
    for name, version in found.items():
        forms.text(name, version)
    return found
