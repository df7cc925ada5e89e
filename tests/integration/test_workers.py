"""Several workers of one training: the numbers of one process, and exact resume after SIGKILL.

The workers are processes on this machine, joined by TF_CONFIG. Two models are killed a few times by
default; a full proof, with ten kills of one and of all of two and three workers, takes an hour:

    WORKER_KILLS=10 pytest -n0 -s tests/integration/test_workers.py

With the variable MNIST, the path of mnist_10k.npz, these images are trained too, by two and three
workers.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import workers
from patience import GONE

from tests.helpers import strategy_child
from tests.integration.test_mirrored import compare

HELPERS = Path(workers.__file__).parent
CHILD = HELPERS / "workers_child.py"
KILLS = int(os.environ.get("WORKER_KILLS", "0"))

ALL = [name for name in strategy_child.CASES if name not in ("sample weights", "clipnorm")]
OF_WORKERS = {2: ALL, 3: ["dense, uneven last batch", "last batch of one row"]}
if "MNIST" in os.environ:
    OF_WORKERS[3] += strategy_child.DIGITS


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workers")
    for count, cases in OF_WORKERS.items():
        (folder / str(count)).mkdir()
        started = workers.start(
            count,
            HELPERS / "strategy_child.py",
            "multi_worker",
            folder / str(count),
            CASES=";".join(cases),
        )
        workers.wait(started)
    return folder


@pytest.mark.parametrize(
    ("count", "case"), [(count, case) for count, cases in OF_WORKERS.items() for case in cases]
)
def test_workers_give_the_history_predictions_and_evaluation_of_one_process(
    count: int, case: str, trained: Path
) -> None:
    compare(trained / str(count) / f"{case}-0.json")
    chief, other = (
        json.loads((trained / str(count) / f"{case}-{number}.json").read_text())["together"]
        for number in (0, count - 1)
    )
    assert chief == other


def result(folder: Path, number: int = 0) -> dict[str, Any]:
    """What a worker of a finished training has written."""
    found: dict[str, Any] = json.loads((folder / f"result-{number}.json").read_text())
    assert (found.pop("run") is None) == (number > 0)  # the chief alone has a run
    return found


def finish(count: int, kind: str, folder: Path, **env: str) -> list[Any]:
    """Train to the end."""
    folder.mkdir(exist_ok=True)
    started = workers.start(count, CHILD, kind, folder, **env)
    workers.wait(started)
    return started


def interrupt(
    count: int, kind: str, folder: Path, victims: list[int], after: float, number: int
) -> bool:
    """Start the training, and send some workers a signal; returns whether it fell within it."""
    folder.mkdir(exist_ok=True)
    began = folder / "began-0"
    began.unlink(missing_ok=True)
    started = workers.start(count, CHILD, kind, folder, PACE="0.3")  # it does not end before
    try:
        while not began.exists() and all(worker.poll() is None for worker in started):
            time.sleep(0.005)
        assert began.exists(), started[0].error()[-3000:]
        time.sleep(after)
        fell = all(started[victim].poll() is None for victim in victims)
        for victim in victims if fell else ():
            os.kill(started[victim].pid, number)
        if number == signal.SIGTERM and fell:
            assert [worker.wait(GONE) for worker in started] == [128 + number] * count
    finally:
        workers.end(started)
    return fell


@pytest.mark.parametrize("kind", ["cnn"] if not KILLS else ["perceptron", "cnn", "lstm"])
@pytest.mark.parametrize("count", [2] if not KILLS else [2, 3])
def test_a_job_whose_workers_are_killed_ends_byte_equal_to_an_unbroken_one(
    count: int, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEED", "1")
    if KILLS:  # there must be something left to kill
        monkeypatch.setenv("EPOCHS", "12")
    finish(count, kind, tmp_path / "unbroken")
    expected = result(tmp_path / "unbroken")
    rng = np.random.default_rng(count)
    one, everyone = [int(rng.integers(count))], list(range(count))
    plans = [[[1], everyone]] if not KILLS else [[one] * KILLS, [everyone] * KILLS]
    for i, victims in enumerate(plans):
        folder = tmp_path / f"killed-{i}"
        fell = [
            interrupt(count, kind, folder, each, float(rng.uniform(0, 0.5)), signal.SIGKILL)
            for each in victims
        ]
        assert fell[0], "the training was over before the first kill: nothing would be proved"
        finish(count, kind, folder)
        for number in range(count):
            assert result(folder, number) == expected, f"worker {number}, plan {i}"
        print(f"\n{count} workers, {kind}: {sum(fell)} of {len(fell)} kills fell, 0 differences")


def test_a_signal_to_one_worker_stops_all_and_the_run_resumes_with_another_number_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chief has not received the signal itself, and must not take the run for finished."""
    folder = tmp_path / "run"
    monkeypatch.setenv("SEED", "1")
    assert interrupt(2, "perceptron", folder, [1], 0.0, signal.SIGTERM)
    config = json.loads((folder / "run" / "config.json").read_text())
    assert config["status"] == "stopped"
    assert not (folder / "run" / "model.keras").exists()
    (last,) = finish(1, "perceptron", folder)
    assert "was trained on 2 replicas and resumes on 1: its numbers may differ" in last.error()
    config = json.loads((folder / "run" / "config.json").read_text())
    assert config["status"] == "finished" and len(result(folder)["history"]) >= 3
