"""What every test needs: an environment that is set before any library is imported."""

import builtins
import compileall
import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# A shell starts commands in the background with SIGINT ignored, and their children inherit that:
# the tests of Ctrl-C would wait for ever.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["MPLBACKEND"] = "Agg"
# scikit-learn's array-API check skips unless SciPy was imported with this switched on
os.environ["SCIPY_ARRAY_API"] = "1"
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
os.environ.update(dict.fromkeys(THREADS, "1"))

# Processes that tests start would each compile the packages, where Python is told to keep nothing.
if "PYTEST_XDIST_WORKER" not in os.environ:
    for package in ("trainer", "search"):
        compileall.compile_dir(Path(__file__).parents[1] / package, quiet=2)

# What is imported is no garbage, and to look through it takes as long as a third of the import.
gc.disable()

PRINT, ON_SIGTERM = builtins.print, signal.getsignal(signal.SIGTERM)

SLOW = frozenset((Path(__file__).parent / "slow.txt").read_text(encoding="utf-8").split("\n"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that took long when they were measured (helpers/slow_tests.py)."""
    for item in items:
        if item.nodeid.split("[")[0] in SLOW:
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Make the small fits of the tests cheap, once everything has been imported.

    Thousands of them run in a process. One thread is faster for so few rows, and the collector
    need not look through what the libraries made on import.
    """
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].config.list_logical_devices()  # TensorFlow starts, and reads them
    for name in THREADS:
        del os.environ[name]  # not for the processes that tests start
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _no_curves(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs have no picture, which takes half of the time of a short one, unless a test asks."""
    directory = sys.modules.get("trainer.runs.directory")
    if directory is not None and not request.node.get_closest_marker("curves"):
        monkeypatch.setattr(directory.Run, "_draw", lambda run, history: None)


@pytest.fixture(autouse=True)
def _as_before_ray() -> Iterator[None]:
    """Undo what Ray leaves in a process that has connected to it: other tests would see it."""
    yield
    builtins.print = PRINT
    if signal.getsignal(signal.SIGTERM) is not ON_SIGTERM:
        signal.signal(signal.SIGTERM, ON_SIGTERM)
