"""A trial that goes on from another's state equals one that was trained without interruption."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import search_child

from search import SklearnSearch, Space, TunerSearch
from search.study.storage import Store
from trainer import Float, Int
from trainer.state.state_file import StateFolder

SPACE = {"units": Int(2, 8), "rate": Float(0.1, 0.5), "learning_rate": Float(1e-3, 0.1, log=True)}
X, Y = search_child.X, search_child.Y
VALIDATION = X[:32], Y[:32]


def _net(**fields: Any) -> Any:
    return search_child.Net(batch_size=8, optimizer="adam", shuffle=True, verbose=0, **fields)


def _state(run: Path) -> list[np.ndarray]:
    """Weights, the optimizer's moments, metrics and seeds, in the order of the model."""
    identity = json.loads((run / "config.json").read_text())["run"]
    states = StateFolder(run / "checkpoints", identity)
    try:
        found = states.last()
    finally:
        states.close()
    assert found is not None
    values, tensors = found
    paths = [path for path, _ in values["variables"]]
    for part in ("kernel", "momentum", "velocity", "seed_generator_state"):
        assert any(part in path for path in paths), paths
    return [tensors[f"variable/{i}"] for i in range(len(paths))]


@pytest.mark.parametrize("method", ["hyperband", "halving"])
def test_a_promoted_trial_equals_one_without_interruption(tmp_path: Path, method: str) -> None:
    shared: dict[str, Any] = {
        "objective": "val_loss",
        "executor": "serial",
        "directory": tmp_path / "study",
        "seed": 3,
        "refit": False,
        "verbose": 0,
    }
    search: Any
    if method == "hyperband":
        search = TunerSearch(_net(epochs=9), SPACE, tuner="hyperband", max_trials=13, **shared)
    else:
        search = SklearnSearch(_net(epochs=3), SPACE, method="halving", n_iter=3, cv=None, **shared)
    search.fit(X[32:], Y[32:], validation_data=VALIDATION)

    space = Space.of(_net(), SPACE)
    store = Store(tmp_path / "study", space)
    trials = store.trials()
    store.close()
    promoted = [trial for trial in trials if trial.parent is not None]
    expected = {3, 9} if method == "hyperband" else {3}
    assert {trial.epochs for trial in promoted} == expected
    for trial in promoted:
        root = trial
        while root.parent is not None:
            root = trials[root.parent]
        assert root.params == trial.params
        run = tmp_path / f"alone-{trial.id}"
        alone = _net(**trial.params, epochs=trial.epochs, random_state=root.seed, run_dir=run)
        alone.fit(X[32:], Y[32:], validation_data=VALIDATION)
        assert trial.score == alone.history_.records[-1]["val_loss"]
        logs = search.epochs_[search.epochs_["trial"] == trial.id]
        assert len(logs) == trial.epochs
        for record, (_, row) in zip(alone.history_.records, logs.iterrows(), strict=True):
            names = [name for name in record if name != "seconds"]
            assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(names)
            assert [row[name] for name in names] == [record[name] for name in names]

    # the best trial's state stays
    best = int(search.results_.loc[search.best_index_, "trial"])
    assert trials[best].parent is not None, "the seed is to make the best a promoted one"
    there = _state(tmp_path / "study" / "trials" / str(best) / "0-0")
    here = _state(tmp_path / f"alone-{best}")
    assert len(there) == len(here) > 10
    for one, other in zip(there, here, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()
