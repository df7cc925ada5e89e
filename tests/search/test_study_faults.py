"""Faults of trials: each is marked and explained, and no other trial is touched by it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import cloudpickle
import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin

from search import TunerSearch
from trainer import Choice, Classifier, Float, Int

TIMEOUT = 12  # new pages of memory can take seconds on a busy machine
MEMORY = 1_000  # MiB, of which a worker with TensorFlow takes half
# how a fit goes wrong, and what its study says of it
REASONS = {
    "segfault": "its process died of SIGSEGV",
    "killed": "its process died of SIGKILL",
    "hang": f"took longer than {TIMEOUT} s, and was ended",
    "memory": f"MiB, above {MEMORY:,} MiB, and was ended",
    "raise": "ValueError: a reason\nTraceback",
    "unpicklable": "Unpicklable: holds a function",
    "nan": "the score is nan, which is not a finite number",
    "leave": "its process exited with code 0; it had printed:\nlast words",
    "exit": "SystemExit: 0",
}


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__("holds a function")
        self.function = lambda: 0


def commit(fault: str) -> None:
    """Go wrong in this way."""
    if fault == "segfault":
        ctypes.string_at(0)
    if fault == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "hang":
        time.sleep(3600)
    if fault == "memory":
        held = []
        while True:
            held.append(b"1" * 20_000_000)
    if fault == "raise":
        raise ValueError("a reason")
    if fault == "unpicklable":
        raise Unpicklable
    if fault == "leave":
        print("last words", flush=True)
        os._exit(0)
    if fault == "exit":
        sys.exit(0)
    if fault == "print":
        for _ in range(10):
            print("x" * 1_000_000)


class Prepared(RegressorMixin, BaseEstimator):
    """Its fit goes wrong as `fault` says, unless it is to be harmless."""

    def __init__(
        self,
        level: float = 0.0,
        fault: int = 0,
        harmless: bool = False,
        random_state: int | None = None,
    ) -> None:
        self.level = level
        self.fault = fault
        self.harmless = harmless
        self.random_state = random_state

    def fit(self, x: Any, y: Any) -> Prepared:
        faults = dict(enumerate([*REASONS, "print"], start=1))
        self.how_ = "none" if self.harmless else faults.get(self.fault, "none")
        commit(self.how_)
        noise = np.random.default_rng(self.random_state).normal(size=x.shape[1])
        self.weights_ = np.linalg.lstsq(x, y, rcond=None)[0] + self.level * noise
        return self

    def predict(self, x: Any) -> Any:
        return x @ self.weights_

    def score(self, x: Any, y: Any, sample_weight: Any = None) -> float:
        return float("nan") if self.how_ == "nan" else super().score(x, y, sample_weight)


class Net(Classifier):
    """The same with a training: it goes wrong in build_model."""

    def __init__(self, units: int = 4, fault: str = "none", **fields: Any) -> None:
        super().__init__(**fields)
        self.units = units
        self.fault = fault

    def build_model(self, spec: Any) -> Any:
        from keras import Input, Sequential, layers

        commit(self.fault)
        return Sequential(
            [
                Input(spec.input_shape),
                layers.Dense(self.units, "relu"),
                layers.Dense(spec.n_outputs, "softmax"),
            ]
        )


@pytest.fixture(autouse=True)
def by_value() -> Iterator[None]:
    # a worker cannot import this file
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_sixty_trials_of_which_some_go_wrong_in_every_way(capfd: pytest.CaptureFixture) -> None:
    """Takes up to 20 s: workers that die are replaced by new ones, which import TensorFlow."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    y = x @ [1.0, -2.0, 0.5] + rng.normal(size=60)
    space = {"level": Float(0, 1), "fault": Int(1, 30)}
    shared: dict[str, Any] = {"tuner": "random", "max_trials": 60, "seed": 239, "refit": False}

    search = TunerSearch(
        Prepared(),
        space,
        workers=3,
        trial_timeout=TIMEOUT,
        trial_memory=MEMORY * 2**20,
        verbose=0,
        **shared,
    ).fit(x, y)
    clean = TunerSearch(Prepared(harmless=True), space, executor="serial", verbose=0, **shared)
    whole = clean.fit(x, y).results_

    found = search.results_
    assert len(found) == 60
    assert found["level"].tolist() == whole["level"].tolist()
    assert found["fault"].tolist() == whole["fault"].tolist()
    faults = [dict(enumerate(REASONS, start=1)).get(i) for i in found["fault"]]
    assert set(faults) == {*REASONS, None}, "the seed is to prepare every fault"
    assert len(REASONS) + 1 in set(found["fault"]), "and a trial that prints"
    for i, fault in enumerate(faults):
        row = found.loc[i]
        if fault is None:
            assert (row["state"], row["score"]) == ("completed", whole["score"][i])
            assert not row["error"]
        else:
            assert row["state"] == "failed", fault
            assert np.isnan(row["score"])
            assert REASONS[fault] in row["error"]
    assert "xxxx" not in "".join(capfd.readouterr())


def test_trainings_that_go_wrong_leave_the_others_as_they_were() -> None:
    """Takes over 30 s, the time limit of the trial that hangs."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 4)).astype("float32")
    y = (x[:, 0] > 0).astype(int)
    ways = ["segfault", "hang", "unpicklable"]
    points = [{"units": 3 + i, "fault": fault} for i, fault in enumerate([*ways, "none"])]
    space = {"units": Int(2, 12), "fault": Choice("none", *ways)}

    def searched(points: list[dict[str, Any]], **options: Any) -> Any:
        search = TunerSearch(
            Net(epochs=1, batch_size=16, verbose=0),
            space,
            tuner="random",
            max_trials=len(points),
            enqueue=points,
            seed=2,
            refit=False,
            verbose=0,
            **options,
        )
        return search.fit(x, y).results_

    seconds = 30  # a training that goes well needs a few, and more on a busy machine
    found = searched(
        points, workers=2, trial_timeout=seconds, trial_memory=MEMORY * 2**20, trial_retries=0
    )
    whole = searched([p | {"fault": "none"} for p in points], executor="serial")
    for i, point in enumerate(points):
        row = found.loc[i]
        if point["fault"] == "none":
            assert (row["state"], row["score"]) == ("completed", whole["score"][i])
        else:
            reason = REASONS[point["fault"]].replace(f"{TIMEOUT} s", f"{seconds} s")
            assert row["state"] == "failed"
            assert reason in row["error"]
