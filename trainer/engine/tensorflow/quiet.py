"""TensorFlow starts without a word, unless it fails to or is asked to speak.

Responsible for the lines of log that TensorFlow writes as it is imported and as it looks for GPUs.
Not for warnings of Python, nor for what the person's own code writes.

Its libraries write some lines as they are loaded, before they have read how much they are to say.
So stderr goes through another process while they are loaded: that passes on at once what is no such
line, and keeps these. If the import raises, or ends this process, it passes them on as well.

Nothing is changed if TF_CPP_MIN_LOG_LEVEL asks for lines (0, 1 or 2), or if TensorFlow was imported
before this.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

LEVEL = "TF_CPP_MIN_LOG_LEVEL"
NOTHING = "3"
ERRORS = "2"
SECONDS_TO_PASS_ON = 2.0
STARTED = b"\0started\n"  # ends what the other process reads, if all went well

# lines of the levels I and W, in both of TensorFlow's formats, and what goes with them
_FILTER = r"""
import os, re, sys
line = re.compile(
    rb"(\d{4}-\d\d-\d\d [\d:.]+: )?[IW](\d{4} [\d:.]+ +\d+)? ?[\w/.-]+:\d+\] "
    rb"|WARNING: All log messages before absl::InitializeLog\(\) is called"
    rb"|To enable the following instructions: .* rebuild TensorFlow"
)
kept = []
started = False
for text in sys.stdin.buffer:
    if text == b"\0started\n":
        started = True
    elif not started and line.match(text):
        kept.append(text)
    else:
        os.write(2, text)
if not started:
    os.write(2, b"".join(kept))
"""


def install() -> None:
    """See to it that TensorFlow is quiet when it is imported, by whomever."""
    if "tensorflow" not in sys.modules and not any(isinstance(f, _Finder) for f in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Finds TensorFlow where it is found without this, and makes its import quiet."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "tensorflow":
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                self._make_quiet(spec.loader)
                return spec
        return None

    def _make_quiet(self, loader: Any) -> None:
        whole = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            loader.exec_module = whole
            with contextlib.suppress(ValueError):  # another thread was first
                sys.meta_path.remove(self)
            with _without_lines_of_log() if _is_to_be_quiet() else contextlib.nullcontext():
                whole(module)

        loader.exec_module = exec_module


def _is_to_be_quiet() -> bool:
    asked = os.environ.get(LEVEL)
    if asked is None:
        # without a GPU TensorFlow calls it an error that there is none; with one, errors are errors
        os.environ[LEVEL] = ERRORS if _has_driver() else NOTHING
    return asked in (None, NOTHING)


def _has_driver() -> bool:
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return any(map(os.path.exists, ("/proc/driver/nvidia/version", "/dev/dxg")))


@contextlib.contextmanager
def _without_lines_of_log() -> Iterator[None]:
    try:
        stderr = os.dup(2)
    except OSError:  # this process has none
        yield
        return
    try:
        reader = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _FILTER], stdin=subprocess.PIPE, stdout=stderr
        )
    except OSError:  # there is no interpreter to start: an embedded one
        os.close(stderr)
        yield
        return
    assert reader.stdin is not None
    pipe = reader.stdin.fileno()
    _flush()
    os.dup2(pipe, 2)
    try:
        yield
        _flush()
        with contextlib.suppress(OSError):  # it was killed
            os.write(pipe, STARTED)
    finally:
        _flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        reader.stdin.close()
        # what another thread started meanwhile may go on writing to it
        with contextlib.suppress(subprocess.TimeoutExpired):
            reader.wait(SECONDS_TO_PASS_ON)


def _flush() -> None:
    with contextlib.suppress(Exception):  # there may be none, or one of the person's
        sys.stderr.flush()
