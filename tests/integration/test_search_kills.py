"""A study whose coordinator is killed at any instant, again and again, ends as one that was not.

The studies are those of `tests/helpers/search_child.py`, each a process of its own that SIGKILL
ends. Six methods, and samplers with pruners, each killed once or twice by default; a full proof
takes some twenty minutes:

    KILL_STUDIES=3 pytest -n0 -s tests/integration/test_search_kills.py

KILL_STUDIES is the number of studies for each method, with up to three kills each. The figures are
printed with -s.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import search_child
from patience import GONE, SECONDS

from search.searches import TUNERS
from search.study.storage import NAME
from trainer import Float

CHILD = Path(search_child.__file__)
STUDIES = int(os.environ.get("KILL_STUDIES", "1"))
LARGE = STUDIES > 1
KILLS = 3 if LARGE else 2  # the most in a study; some end before
AT_ONCE = 4
WITHIN = search_child.PAUSE * 1.5
LIGHT = ("cv", "random", "grid", "bayesian")
TRAINED = ("hyperband", "halving")
SAMPLERS = [name for name in ("tpe", "gp", "cma-es", "nsga2") if name in TUNERS]
if find_spec("torch") is None and "gp" in SAMPLERS:
    SAMPLERS.remove("gp")
# by default each pruner once or twice, and each sampler once: "random" is one of LIGHT
PRUNED = tuple(
    f"{sampler}+{pruner}"
    for i, sampler in enumerate(("random", *SAMPLERS))
    for pruner in ("asha", "median")
    if LARGE or (i > 0 and pruner == ("median", "asha")[i % 2])
)
PLACES = ("asking", "fitting", "fitted", "recording", "ended")
PLACES_OF_RUNGS = (*PLACES, "copying", "training", "tidying")


@functools.cache
def _server() -> subprocess.Popen[str]:
    own = {"OMP_NUM_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    server = subprocess.Popen(
        [sys.executable, str(CHILD)],
        env=os.environ | own,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    atexit.register(server.kill)
    return server


_asking = threading.Lock()


def _start(kind: str, folder: Path) -> psutil.Process:
    folder.mkdir(exist_ok=True)
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    with _asking:
        server.stdin.write(f"{kind} {folder}\n")
        server.stdin.flush()
        return psutil.Process(int(server.stdout.readline()))


def _finish(kind: str, folder: Path) -> Path:
    if not (folder / "result.json").exists():
        _start(kind, folder).wait(SECONDS)
    assert (folder / "result.json").exists(), (folder / "output.txt").read_text()[-3000:]
    return folder


def _rows(folder: Path, what: str) -> list[tuple[Any, ...]]:
    file = folder / "study" / NAME
    if not file.exists():
        return []
    database = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        return database.execute(what).fetchall()
    except sqlite3.OperationalError:  # killed before it had tables
        return []
    finally:
        database.close()


def _study(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """What must be the same, whatever was killed."""
    epochs = _rows(
        folder, "select trial, fold, execution, epoch, metrics from epochs order by 1, 2, 3, 4"
    )
    without_seconds = [
        (*row[:4], {k: v for k, v in json.loads(row[4]).items() if k != "seconds"})
        for row in epochs
    ]
    return {
        "trials": _rows(
            folder,
            "select id, params, seed, epochs, parent, rung, state, score, metrics, error "
            "from trials order by id",
        ),
        "folds": _rows(folder, "select trial, fold, execution, score from folds order by 1, 2, 3"),
        "epochs": without_seconds,
    }


def _events(folder: Path) -> list[list[str]]:
    file = folder / "events.txt"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def _begun_of_ended(folder: Path) -> dict[int, tuple[int, int]]:
    """For each trial whose end is on disk: how often it was begun, and its fit ended, up to now."""
    ended = _rows(folder, "select id from trials where state in ('completed', 'failed', 'pruned')")
    events = Counter((place, trial) for place, trial in _events(folder))
    return {i: (events["fitting", str(i)], events["fitted", str(i)]) for (i,) in ended}


def _killed(kind: str, folder: Path, rng: np.random.Generator) -> str | None:
    """Start the study, and kill it; tells where, or None if it ended before."""
    place = str(rng.choice(PLACES_OF_RUNGS if kind in TRAINED else PLACES))
    nth = int(rng.integers(1, 5))
    seen = len(_events(folder))
    child = _start(kind, folder)
    if rng.random() < 0.15:  # while libraries load, data are written and the first fit rehearsed
        place = "start"
        time.sleep(rng.uniform(0, 8 if kind in TRAINED else 4))
    else:
        mark = "fitting" if place == "training" else place
        until = time.monotonic() + SECONDS
        while child.is_running() and time.monotonic() < until:
            if [event for event, _ in _events(folder)[seen:]].count(mark) >= nth:
                break
            time.sleep(0.004)
        time.sleep(rng.uniform(0, 1.0 if place == "training" else WITHIN))
    if not _kill(child):
        _finish(kind, folder)
        return None
    found = [event for event, _ in _events(folder)[seen:]]
    return found[-1] if found else "start"


def _kill(process: psutil.Process) -> bool:
    """Whether it still ran."""
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return False
    process.wait(GONE)
    return True


def _one_study(kind: str, folder: Path, seed: int, unbroken: dict[str, Any]) -> list[str]:
    """Run a study with kills until it has ended; gives where each fell. Raises for a difference."""
    rng = np.random.default_rng([seed, *kind.encode()])
    kills: list[str] = []
    ended: dict[int, tuple[int, int]] = {}

    def look() -> None:
        now = _begun_of_ended(folder)
        assert ended.items() <= now.items(), f"{kind}: a trial was lost, or finished twice"
        ended.update(now)

    for _ in range(KILLS if LARGE or kind in LIGHT else 1):
        place = _killed(kind, folder, rng)
        if place is None:
            break
        kills.append(place)
        look()
    _finish(kind, folder)
    look()
    assert all(fitted for _, fitted in ended.values())
    for name, rows in _study(folder).items():
        assert rows == unbroken[name], f"{kind}, seed {seed}, killed {kills}: {name} differ"
    return kills


def test_killed_studies_end_with_the_trials_of_one_that_was_not(tmp_path: Path) -> None:
    """Takes a minute: each kind of study runs unbroken and killed, in new processes."""
    kinds = (*TRAINED, *PRUNED, *LIGHT)  # the long ones first
    with ThreadPoolExecutor(AT_ONCE) as pool:
        unbroken = pool.map(lambda kind: _study(_finish(kind, tmp_path / kind)), kinds)
        alone = dict(zip(kinds, unbroken, strict=True))
        for kind, tables in alone.items():
            states = [row[6] for row in tables["trials"]]
            assert len(states) >= 5, kind
            expected = {"completed", "pruned"} if kind in PRUNED else {"completed"}
            assert set(states) == expected, kind
        for kind in (*TRAINED, *PRUNED):
            assert any(row[4] is not None for row in alone[kind]["trials"]), "none was promoted"
        jobs = [(kind, number) for number in range(STUDIES) for kind in kinds]
        kills = pool.map(
            lambda job: _one_study(job[0], tmp_path / f"{job[0]}-{job[1]}", job[1], alone[job[0]]),
            jobs,
        )
        places = [place for found in kills for place in found]
    assert len(places) >= len(jobs), "too few kills to prove anything"
    print(f"\n{len(jobs)} studies, {len(places)} kills: {dict(Counter(places))}; 0 differences")


# ---- who may use the directory ---------------------------------------------------------------


@pytest.fixture
def child(tmp_path: Path) -> Iterator[psutil.Process]:
    """A coordinator that was suspended in the middle of its study."""
    process = _start("cv", tmp_path)
    until = time.monotonic() + SECONDS
    # not any event: it may delete what an earlier search left before it has workers
    while "fitting" not in [event for event, _ in _events(tmp_path)]:
        assert process.is_running() and time.monotonic() < until
        time.sleep(0.02)
    process.suspend()  # it is to live until we have looked
    yield process
    _kill(process)


def test_a_directory_has_one_coordinator_until_it_is_dead(
    tmp_path: Path, child: psutil.Process
) -> None:
    second = search_child.search("cv", tmp_path, executor="serial")
    with pytest.raises(ValueError, match=rf"directory=.*: process {child.pid} on .* wait for it"):
        second.fit(search_child.X, search_child.Y)
    assert _kill(child)
    assert (tmp_path / "study" / ".holder.json").exists(), "it had no time to take it away"
    second.fit(search_child.X, search_child.Y)
    assert (second.results_["state"] == "completed").all()
    assert not (tmp_path / "study" / ".holder.json").exists()


def test_another_study_in_the_directory_is_refused_with_what_differs(tmp_path: Path) -> None:
    x, y = search_child.X, search_child.Y

    def fit(rows: Any = x, kind: str = "cv", **changes: Any) -> None:
        changes = {"executor": "serial", "callbacks": []} | changes
        search_child.search(kind, tmp_path, **changes).fit(rows, y)

    fit()
    with pytest.raises(
        ValueError, match=r"differs from this one: seed was 7, is 8\. Undo these changes"
    ):
        fit(seed=8)
    with pytest.raises(ValueError, match="search.class was 'SklearnSearch', is 'TunerSearch'"):
        fit(kind="grid")
    with pytest.raises(ValueError, match=r"this one: space\.b was 'Int\(.*high=3.*', is None"):
        fit(space={"a": Float(-1, 1)})
    with pytest.raises(ValueError, match=r"this one: data\.training"):
        fit(x + 1)
    with pytest.raises(ValueError, match="executions_per_trial was 1, is 2"):
        fit(executions_per_trial=2)
    fit(seed=None)


# ---- orphans ---------------------------------------------------------------------------------

BUSY = """
    import ctypes, os, sys, time
    from search.executors.processes import Processes

    def work(how):
        open(os.path.join(sys.argv[1], how), "w").close()
        if how == "python":
            while True:
                pass
        if how == "native":  # and does not let go of the interpreter
            ctypes.PyDLL(None).sleep(3600)
        time.sleep(3600)

    pool = Processes(work, workers=3)
    jobs = [pool.submit(how) for how in ("python", "native", "waiting")]
    time.sleep(3600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere native code may hold a worker up")
def test_workers_end_with_their_coordinator_whatever_they_are_doing(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("\n".join(line[4:] for line in BUSY.splitlines()))
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path)])
    until = time.monotonic() + SECONDS
    marks = [tmp_path / how for how in ("python", "native", "waiting")]
    while not all(mark.exists() for mark in marks) and time.monotonic() < until:
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 3
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=GONE)
    assert alive == []


def test_a_killed_study_leaves_no_process(tmp_path: Path, child: psutil.Process) -> None:
    children = child.children(recursive=True)
    assert children
    assert _kill(child)
    _, alive = psutil.wait_procs(children, timeout=GONE)
    assert alive == []
