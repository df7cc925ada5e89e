"""What every test needs: an environment that is set before any library is imported."""

import os
import signal

import pytest

# A shell starts commands in the background with SIGINT ignored, and their children inherit that:
# the tests of Ctrl-C would wait for ever.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["MPLBACKEND"] = "Agg"
# scikit-learn's array-API check skips unless SciPy was imported with this switched on
os.environ["SCIPY_ARRAY_API"] = "1"


@pytest.fixture
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run without its picture: that takes half of the time of a short one."""
    from trainer.runs.directory import Run

    monkeypatch.setattr(Run, "_draw", lambda run, history: None)
