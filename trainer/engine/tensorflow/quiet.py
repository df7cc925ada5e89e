"""Silences TensorFlow's log messages at import, unless the import fails or the user wants them.

Responsible for the log lines that TensorFlow writes when it is imported and looks for GPUs. Not for
Python warnings, or for what user code writes.

TensorFlow's libraries write some lines while loading, before they read the log level. Therefore
stderr is piped through another process in the meantime, which holds back these lines and passes on
all others immediately. If the import fails or ends this process, it passes on the rest as well.

Does nothing if TF_CPP_MIN_LOG_LEVEL asks for log lines (0, 1 or 2), or if TensorFlow has already
been imported.
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
STARTED = b"\0started\n"  # tells the other process that the import succeeded

# Lines of the levels I and W, in both of TensorFlow's formats, and lines that accompany them.
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
    """Make the first import of TensorFlow quiet, wherever it happens."""
    if "tensorflow" not in sys.modules and not any(isinstance(f, _Finder) for f in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Finds TensorFlow with the other finders, and makes its import quiet."""

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
        original = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            loader.exec_module = original
            with contextlib.suppress(ValueError):  # another thread was first
                sys.meta_path.remove(self)
            with _without_log_lines() if _is_to_be_quiet() else contextlib.nullcontext():
                original(module)

        loader.exec_module = exec_module


def _is_to_be_quiet() -> bool:
    asked = os.environ.get(LEVEL)
    if asked is None:
        # Without a GPU, TensorFlow logs its absence as an error.
        os.environ[LEVEL] = ERRORS if _has_driver() else NOTHING
    return asked in (None, NOTHING)


def _has_driver() -> bool:
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return any(map(os.path.exists, ("/proc/driver/nvidia/version", "/dev/dxg")))


@contextlib.contextmanager
def _without_log_lines() -> Iterator[None]:
    try:
        stderr = os.dup(2)
    except OSError:  # this process has no stderr
        yield
        return
    try:
        reader = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _FILTER],
            stdin=subprocess.PIPE,
            stdout=stderr,
            start_new_session=True,  # Ctrl-C is for this process, which then ends that one
        )
    except OSError:  # Python is embedded: there is no interpreter to start
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
        with contextlib.suppress(OSError):  # the other process was killed
            os.write(pipe, STARTED)
    finally:
        _flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        reader.stdin.close()
        # A process started by another thread in the meantime may keep the pipe open.
        with contextlib.suppress(subprocess.TimeoutExpired):
            reader.wait(SECONDS_TO_PASS_ON)


def _flush() -> None:
    with contextlib.suppress(Exception):  # sys.stderr may be None or user-defined
        sys.stderr.flush()
