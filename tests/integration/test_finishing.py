"""A run that is killed while it is being finished, or after, ends the same by the same call.

A process trains, and before each of its operations on the folder, from the end of the training
to its own end, it copies the folder: that is what a kill at this instant would leave. A few such
kills are made in earnest.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import warm

from trainer import Classifier
from trainer.engine import loop
from trainer.state import variables

FIT = """
import numpy as np
from trainer import Classifier

rng = np.random.default_rng(0)
x = rng.normal(size=(16, 3)).astype("float32")
y = (x[:, 0] > 0).astype(int)

def make(folder, how):
    plugins = {
        "epochs": [{"name": "swa", "start": 0.5}, "checkpoint", "csv"],
        "early_stopping": [{"name": "early_stopping", "patience": 1, "monitor": "loss",
                            "min_delta": 1.0}, "csv"],
    }
    return Classifier(model="mlp", epochs=3, batch_size=8, random_state=1, verbose=0,
                      run_dir=folder, callbacks=plugins[how])
"""
CHILD = (
    FIT
    + """
import os, shutil, signal, sys
from pathlib import Path
from trainer.engine import loop
from trainer.state.state_file import StateFolder

folder, how, before = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
WATCHED = ("open", "os.rename", "os.remove", "os.mkdir")
seen = [0]
watching = [False]

def watch(event, arguments):
    if not watching[0] or event not in WATCHED or not isinstance(arguments[0], (str, bytes)):
        return
    path = os.fsdecode(arguments[0])
    if not path.startswith((str(folder), ".")):  # or beside its place, in a folder that is open
        return
    if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
        return
    watching[0] = False
    if event == "os.rename" and arguments[1] == before:
        os.kill(os.getpid(), signal.SIGKILL)
    if before == "all":
        shutil.copytree(folder, f"{folder}-{seen[0]:02d}")
    seen[0] += 1
    watching[0] = True

save = StateFolder.save

def save_and_wait(self, *arguments):  # a folder that changes meanwhile cannot be copied
    save(self, *arguments)
    self.wait()

StateFolder.save = save_and_wait
train = loop.train

def watched(*arguments, **options):
    ended = train(*arguments, **options)
    watching[0] = True
    return ended

loop.train = watched
sys.addaudithook(watch)
make(folder, how).fit(x, y)
watching[0] = False
if before == "all":
    shutil.copytree(folder, f"{folder}-{seen[0]:02d}")
"""
)
SAME: dict[str, Any] = {}
exec(FIT, SAME)


def fitted(folder: Path, how: str) -> Classifier:
    trainer: Classifier = SAME["make"](folder, how)
    return trainer.fit(SAME["x"], SAME["y"])


def everything(trainer: Any) -> dict[str, Any]:
    """All that must be equal, by name."""
    found = [np.asarray(v).tobytes() for v in variables.variables(trainer._network.core)]
    records = [
        {k: v for k, v in record.items() if k != "seconds"} for record in trainer.history_.records
    ]
    kept = [getattr(c, "kept", None) for c in trainer.callbacks_]
    stopped = [getattr(c, "stopped_epoch_", None) for c in trainer.callbacks_]
    averaged = [getattr(c, "averaged_", None) for c in trainer.callbacks_]
    of_callbacks = [kept, stopped, averaged]
    return {"variables": found, "history": records, "callbacks": of_callbacks}


def assert_whole(folder: Path, how: str, expected: dict[str, Any]) -> None:
    """The same call ends as if nothing had happened, and leaves a finished run."""
    trainer = fitted(folder, how)
    for name, value in everything(trainer).items():
        assert value == expected[name], f"{folder.name}: {name}"
    assert json.loads((folder / "config.json").read_text())["status"] == "finished"
    loaded = Classifier.load(folder / "model.keras")
    np.testing.assert_array_equal(loaded.predict_proba(SAME["x"]), trainer.predict_proba(SAME["x"]))
    for name in ("history.csv", "epochs.csv"):
        assert len((folder / name).read_text().splitlines()) == len(trainer.history_) + 1
    assert not list(folder.rglob("*.tmp"))


@pytest.mark.parametrize("how", ["epochs", "early_stopping"])
def test_a_kill_before_any_operation_of_finishing_changes_nothing(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = everything(fitted(tmp_path / "alone", how))
    assert len(expected["history"]) == (3 if how == "epochs" else 2)
    found = warm.run(CHILD, tmp_path / "run", how, "all")
    assert found.returncode == 0, found.stderr
    places = sorted(tmp_path.glob("run-*"))
    assert len(places) >= 12
    states = [json.loads((p / "config.json").read_text())["status"] for p in places]
    assert states == sorted(states, reverse=True) and set(states) == {"unfinished", "finished"}
    for folder in places:
        assert_whole(folder, how, expected)
    monkeypatch.setattr(loop, "train", None)  # what is finished is not trained
    for folder in places:
        assert_whole(folder, how, expected)


@pytest.mark.parametrize("before", ["model.keras", "config.json"])
def test_a_killed_process_that_had_almost_finished_is_given_back(
    before: str, tmp_path: Path
) -> None:
    expected = everything(fitted(tmp_path / "alone", "epochs"))
    found = warm.run(CHILD, tmp_path / "run", "epochs", before)
    assert found.returncode == -signal.SIGKILL, found.stderr
    assert_whole(tmp_path / "run", "epochs", expected)
