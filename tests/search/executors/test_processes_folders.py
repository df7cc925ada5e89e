"""What a search that was killed leaves in the temporary folder, the next search removes."""

from __future__ import annotations

import json
import os
import signal
import textwrap
import time
from pathlib import Path

import psutil
import warm
from patience import GONE, SECONDS

from trainer.utils.scratch import MARK

ROOT = Path(__file__).parents[3]
SEARCH = """
    import os, signal, sys, time
    from pathlib import Path

    os.setsid()  # as a shell starts it
    # in the background of a shell it is ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)

    import numpy as np
    from sklearn.base import BaseEstimator, RegressorMixin

    from search import SklearnSearch
    from trainer import Float

    folder, waits = Path(sys.argv[1]), sys.argv[2] == "waits"

    class Light(RegressorMixin, BaseEstimator):
        def __init__(self, a=0.0):
            self.a = a

        def fit(self, x, y):
            (folder / f"fitting-{os.getpid()}").write_text("")
            while waits and not (folder / "go-on").exists():
                time.sleep(0.02)
            return self

        def predict(self, x):
            return np.full(len(x), self.a)

    x = np.arange(20.0).reshape(10, 2)
    found = SklearnSearch(
        Light(), {"a": Float(0, 1)}, method="random", n_iter=2, cv=2, workers=1, verbose=0, seed=1,
        refit=False,
    ).fit(x, x[:, 0])
    assert (found.results_["state"] == "completed").all()
"""


def _start(tmp_path: Path, how: str) -> warm.Started:
    (tmp_path / "tmp").mkdir(exist_ok=True)
    before = set(tmp_path.glob("fitting-*"))
    env = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "tmp")}
    process = warm.start(textwrap.dedent(SEARCH), tmp_path, how, env=env)
    until = time.monotonic() + SECONDS
    while set(tmp_path.glob("fitting-*")) == before and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.02)
    return process


def _finish(process: warm.Started) -> None:
    assert (process.wait(SECONDS), process.error()) == (0, "")


def _there(tmp_path: Path) -> set[str]:
    return {path.name.partition("-")[0] for path in (tmp_path / "tmp").iterdir()}


def test_a_killed_search_leaves_what_the_next_removes_and_living_ones_keep_theirs(
    tmp_path: Path,
) -> None:
    killed = _start(tmp_path, "waits")
    workers = psutil.Process(killed.pid).children(recursive=True)
    killed.kill()
    killed.wait()
    assert psutil.wait_procs(workers, timeout=GONE)[1] == []
    left = set((tmp_path / "tmp").iterdir())
    assert _there(tmp_path) == {"search", "study"}
    assert [file for path in left for file in path.glob("data-*.joblib")], "it had all rows"

    # so do searches of version 0.1 that were killed look, and those that run: they had no lock
    mine = {tmp_path / "tmp" / name for name in ("study-of-mine", "search-of-mine")}
    for path in mine:
        path.mkdir()
        (path / "study.sqlite").write_text("mine")
    living = _start(tmp_path, "waits")
    assert not any(path.exists() for path in left)
    assert _there(tmp_path) == {"search", "study"}
    held = {path for path in (tmp_path / "tmp").iterdir() if path not in mine}
    assert all(json.loads((path / MARK).read_text())["folder"] == path.name for path in held)

    (tmp_path / "go-on").write_text("")
    other = _start(tmp_path, "ends")
    _finish(other)
    _finish(living)
    assert set((tmp_path / "tmp").iterdir()) == mine
    assert all((path / "study.sqlite").read_text() == "mine" for path in mine)


def test_ctrl_c_ends_a_search_with_its_workers_and_leaves_nothing(tmp_path: Path) -> None:
    process = _start(tmp_path, "waits")
    workers = psutil.Process(process.pid).children(recursive=True)
    assert workers
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.wait(SECONDS) == -signal.SIGINT
    said = process.error()
    assert said.count("Traceback") == 1
    assert said.strip().endswith("KeyboardInterrupt")
    assert psutil.wait_procs(workers, timeout=GONE)[1] == []
    assert list((tmp_path / "tmp").iterdir()) == []
