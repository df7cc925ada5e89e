"""Files, runs and studies that version 0.1.0 wrote still open, and give what they gave.

They are in tests/data/v0_1_0, with the script that wrote them and what is to be had from them.
Numbers may differ a little on another CPU; names, epochs and trials may not.
"""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import of_0_1_0 as old
import pytest

from trainer.runs.directory import finished_epochs

DATA = Path(__file__).parents[1] / "data" / "v0_1_0"
EXPECTED = json.loads((DATA / "expected.json").read_text())

pytestmark = [
    # of versions of libraries that changed since, of paths in files, of so short trainings
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning"),
]


def copied(kind: str, name: str, tmp_path: Path) -> Path:
    return shutil.copytree(DATA / kind / name, tmp_path / name)


def assert_close(found: Any, expected: Any) -> None:
    """Equal in form, and in numbers nearly."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert_close(found[name], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            assert_close(a, b)
    elif isinstance(expected, float):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    else:
        assert found == expected


@pytest.mark.parametrize("name", old.FILES)
def test_a_file_loads_and_predicts_what_it_did(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # what a file names must not be written
    _, cls, x = old.FILES[name]
    loaded = cls.load(DATA / "files" / f"{name}.keras")
    predictions = loaded.predict(x)
    for part in predictions.values() if isinstance(predictions, dict) else [predictions]:
        assert len(part) == old.N
    found = (
        {k: v.tolist() for k, v in predictions.items()}
        if isinstance(predictions, dict)
        else predictions.tolist()
    )
    assert_close(found, EXPECTED["files"][name]["predictions"])
    assert_close(old.history(loaded), EXPECTED["files"][name]["history"])
    assert list(tmp_path.iterdir()) == []


def test_the_fields_of_a_file_are_those_that_it_was_saved_with() -> None:
    loaded = old.Labels.load(DATA / "files" / "objects.keras")
    assert (loaded.epochs, loaded.batch_size, loaded.random_state) == (2, 8, 3)
    assert loaded.optimizer.get_config()["momentum"] == 0.5
    assert loaded.learning_rate.get_config()["decay_steps"] == 10
    assert type(loaded.loss).__name__ == "SparseCategoricalCrossentropy"
    assert loaded.metrics[0] == "accuracy" and loaded.metrics[1].name == "two"
    assert loaded.class_weight == {"no": 1.0, "yes": 2.0, "perhaps": 1.5}
    assert loaded.callbacks[:2] == ["early_stopping", {"name": "ema", "decay": 0.5}]
    assert old.OwnLoss.load(DATA / "files" / "own_loss.keras").power == 1.5


def test_the_model_of_a_finished_run_loads() -> None:
    loaded = old.Labels.load(DATA / "runs" / "finished" / "model.keras")
    expected = EXPECTED["runs"]["finished"]
    assert_close(loaded.predict(old.X).tolist(), expected["predictions"])
    assert_close(old.weights(loaded), expected["weights"])
    assert len(old.history(loaded)) == 4
    assert finished_epochs(DATA / "runs" / "finished") == 4


def test_an_unfinished_run_resumes_and_ends_as_if_it_had_not_been_killed(tmp_path: Path) -> None:
    folder = copied("runs", "unfinished", tmp_path)
    resumed = old.fitted_run(folder)
    expected = EXPECTED["runs"]["unfinished"]
    assert_close(old.history(resumed), expected["history"])
    assert_close(old.weights(resumed), expected["weights"])
    log = (folder / "run.log").read_text()
    assert "resumes from epoch 2" in log
    assert finished_epochs(folder) == 4


def test_a_finished_run_of_a_trial_trains_further_from_its_state(tmp_path: Path) -> None:
    folder = copied("runs", "trial", tmp_path)
    resumed = old.trial(folder, True, 3)
    expected = EXPECTED["runs"]["trial"]
    assert [record["epoch"] for record in old.history(resumed)] == [1, 2, 3]
    assert_close(old.history(resumed), expected["history"])
    assert_close(old.weights(resumed), expected["weights"])


@pytest.mark.parametrize("name", old.STUDIES)
def test_a_study_opens_and_an_unfinished_one_goes_on(name: str, tmp_path: Path) -> None:
    kind, killed = old.STUDIES[name]
    folder = copied("studies", name, tmp_path)
    before = set(folder.rglob("state-*"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = old.searched(kind, folder)
    expected = EXPECTED["studies"][name]
    assert_close(old.results(found), expected["trials"])
    assert found.best_params_ == expected["best"]
    assert_close(found.best_score_, expected["best_score"])
    if not killed:  # nothing was trained again
        assert set(folder.rglob("state-*")) == before
