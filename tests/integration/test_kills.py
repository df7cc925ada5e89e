"""A run that is killed at any instant, again and again, ends as one that was not: byte-equal.

The trainings are those of `kill_child.py`, each a process of its own that SIGKILL ends. Three
models, each killed a few times by default; a full proof of 30 runs takes some ten minutes:

    KILL_RUNS=10 pytest -n0 -s tests/integration/test_kills.py

KILL_RUNS is the number of runs for each model, with up to three kills each, in new processes; some
kills fall before the libraries are loaded. Without it there is one run, with one kill, in processes
that are forked with the libraries loaded. The figures are printed with -s.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import warm
from patience import GONE, SECONDS

CHILD = Path(__file__).with_name("kill_child.py")
RUNS = int(os.environ.get("KILL_RUNS", "1"))
KILLS = 3 if RUNS > 1 else 1  # the most in a run; some runs end before
ATTEMPTS = 5  # to kill a training before it ends
AT_ONCE = 3
WITHIN = 0.5  # seconds that the write of a state takes where a kill is to fall into it


def _start(kind: str, folder: Path, slow: float = 0.0) -> Any:
    # one thread each: there are several at once
    own = {"OMP_NUM_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "KILL_SLOW": str(slow)}
    if RUNS == 1:
        return warm.start(CHILD, kind, folder, env=os.environ | own)
    with open(folder / "output.txt", "ab") as output:
        return subprocess.Popen(
            [sys.executable, str(CHILD), kind, str(folder)],
            env=os.environ | own,
            stdout=output,
            stderr=output,
        )


def _failed(folder: Path, child: Any) -> str:
    printed = child.error() if RUNS == 1 else (folder / "output.txt").read_text()
    return str(printed)[-3000:]


def _result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def _finish(kind: str, folder: Path) -> dict[str, Any]:
    child = _start(kind, folder)
    assert child.wait(SECONDS) == 0, _failed(folder, child)
    return _result(folder)


def _killed(kind: str, folder: Path, rng: np.random.Generator) -> str | None:
    """Start the training, and kill it; tells where, or None if it ended before."""
    began, saving = folder / "began", folder / "saving"
    began.unlink(missing_ok=True)
    saving.unlink(missing_ok=True)
    in_save = rng.random() < 0.5
    child = _start(kind, folder, WITHIN if in_save else 0.0)

    def wait_for(mark: Path, seconds: float = SECONDS) -> None:
        until = time.monotonic() + seconds
        while child.poll() is None and not mark.exists() and time.monotonic() < until:
            time.sleep(0.002)

    if rng.random() < 0.15:  # at any time, while libraries load and graphs are traced too
        time.sleep(rng.uniform(0, 6))
    else:
        wait_for(began)
        time.sleep(rng.uniform(0, 1.5))
    if in_save:
        wait_for(saving, 5)
        time.sleep(rng.uniform(0, WITHIN * 1.2))
    child.kill()
    if child.wait(GONE) != -9:
        assert child.returncode == 0, _failed(folder, child)
        return None
    # the child alone takes the mark away, and it is dead
    return "save" if saving.exists() else "training" if began.exists() else "start"


def _one_run(kind: str, parent: Path, seed: int, uninterrupted: dict[str, Any]) -> list[str]:
    """Train with kills until it is finished; gives where each fell. Raises for a difference."""
    rng = np.random.default_rng(seed)
    kills: list[str] = []
    for attempt in range(ATTEMPTS):
        folder = parent / str(attempt)
        folder.mkdir(parents=True)
        while len(kills) < KILLS and (place := _killed(kind, folder, rng)) is not None:
            kills.append(place)
        if kills:
            break  # else the training was over before the first kill, which proves nothing
    result = _result(folder) if (folder / "result.json").exists() else _finish(kind, folder)
    assert kills, f"{ATTEMPTS} trainings were over before the first kill"
    for name, expected in uninterrupted.items():
        assert result[name] == expected, f"{kind}, seed {seed}, kills {kills}: {name} differs"
    return kills


def test_killed_runs_end_byte_equal_to_one_that_was_not(tmp_path: Path) -> None:
    """Takes 21 s: three models are trained unbroken and killed, each in new processes."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        kinds = ("perceptron", "cnn", "lstm")
        for kind in kinds:
            (tmp_path / kind).mkdir()
        alone = dict(zip(kinds, pool.map(lambda k: _finish(k, tmp_path / k), kinds), strict=True))
        for kind, result in alone.items():
            assert 3 <= result["epochs"] < 12, f"{kind}: early stopping is to be part of the proof"
            assert result["checkpoints"]
        jobs = [(kind, number) for number in range(RUNS) for kind in kinds]
        kills = pool.map(
            lambda job: _one_run(job[0], tmp_path / f"{job[0]}-{job[1]}", job[1], alone[job[0]]),
            jobs,
        )
        places = [place for places in kills for place in places]
    counted = {place: places.count(place) for place in ("save", "training", "start")}
    print(f"\n{len(jobs)} runs, {len(places)} kills: {counted}; 0 differences")
