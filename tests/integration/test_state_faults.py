"""Faults of state files, full disks, two processes: never a wrong state, always words for it."""

from __future__ import annotations

import json
import os
import signal
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import warm
from patience import GONE

from trainer import Classifier
from trainer.callbacks.callback import Callback
from trainer.state.state_file import BadState, StateFolder, from_bytes

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 5)).astype("float32")
Y = (X[:, 0] > 0).astype(int)

CHILD = """
import os, resource, signal, sys, time, warnings
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
from trainer import Classifier
from trainer.callbacks.callback import Callback

class Wait(Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            act(sys.argv[1])

x = np.random.default_rng(0).normal(size=(64, 5)).astype("float32")
y = (x[:, 0] > 0).astype(int)
"""


def make(folder: Path, *callbacks: Any, **fields: Any) -> Classifier:
    settings = {"epochs": 4, "batch_size": 16, "random_state": 1, "verbose": 0, "model": "mlp"}
    return Classifier(**settings | fields, run_dir=str(folder), callbacks=callbacks)


def weights(trainer: Any) -> list[bytes]:
    return [w.tobytes() for w in trainer.model_.get_weights()]


class Ended(Exception):
    """What ends a training from without."""


class End(keras.callbacks.Callback):
    """Ends the third epoch, whose state then is not saved."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == 2:
            raise Ended


class Pass(keras.callbacks.Callback):
    """Stands where End stood."""


Pass.__name__ = End.__name__


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The weights of a training that nothing happened to."""
    return weights(make(tmp_path_factory.mktemp("whole") / "run", Pass()).fit(X, Y))


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a run that ended in its third epoch, with the states of two."""
    folder = tmp_path_factory.mktemp("unfinished") / "run"
    with pytest.raises(Ended):
        make(folder, End(), save_steps=1).fit(X, Y)
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert len([name for name in files if name.endswith(".safetensors")]) == 2
    return files


@pytest.fixture
def folder(unfinished: dict[str, bytes], tmp_path: Path) -> Path:
    """A folder of one's own with this run."""
    for name, content in unfinished.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def states(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").glob("state-*"))


def go_on(folder: Path) -> tuple[list[bytes], list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = make(folder, Pass(), save_steps=1).fit(X, Y, resume="force")
    return weights(trainer), [str(w.message) for w in caught if "cannot be used" in str(w.message)]


def test_without_a_fault_nothing_is_warned_of(folder: Path, whole: list[bytes]) -> None:
    found, warned = go_on(folder)
    assert found == whole and not warned


def last_state(folder: Path) -> tuple[Any, list[str]]:
    run = json.loads((folder / "config.json").read_text())["run"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        opened = StateFolder(folder / "checkpoints", run)
        found = opened.last()
        opened.close()
    return found, [str(w.message) for w in caught]


def assert_the_one_before_is_used(folder: Path, why: str) -> None:
    before, last = states(folder)
    found, warned = last_state(folder)
    values, tensors = from_bytes(before.read_bytes())
    del values["run"]
    assert found[0] == values
    assert {k: v.tobytes() for k, v in found[1].items()} == {
        k: v.tobytes() for k, v in tensors.items()
    }
    assert len(warned) == 1 and last.name in warned[0] and why in warned[0]


@pytest.mark.parametrize("sixteenth", range(16))
def test_of_a_cut_state_the_one_before_is_used(sixteenth: int, folder: Path) -> None:
    last = states(folder)[-1]
    content = last.read_bytes()
    last.write_bytes(content[: len(content) * sixteenth // 16])
    assert_the_one_before_is_used(folder, "truncated")


@pytest.mark.parametrize("part", ["header", "body"])
@pytest.mark.parametrize("seed", range(20))
def test_of_a_state_with_a_turned_bit_the_one_before_is_used(
    part: str, seed: int, folder: Path
) -> None:
    last = states(folder)[-1]
    content = bytearray(last.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    rng = np.random.default_rng(seed)
    place = rng.integers(header) if part == "header" else rng.integers(header, len(content))
    content[place] ^= 1 << int(rng.integers(8))
    last.write_bytes(bytes(content))
    assert_the_one_before_is_used(folder, "altered")


def test_after_a_bad_state_training_ends_with_the_same_bytes(
    folder: Path, whole: list[bytes]
) -> None:
    last = states(folder)[-1]
    last.write_bytes(last.read_bytes()[:-1])
    found, warned = go_on(folder)
    assert found == whole
    assert len(warned) == 1 and last.name in warned[0]


def test_a_deleted_state_leaves_the_one_before(folder: Path, whole: list[bytes]) -> None:
    states(folder)[-1].unlink()
    assert go_on(folder)[0] == whole


def test_another_runs_state_is_not_used(folder: Path, whole: list[bytes], tmp_path: Path) -> None:
    other = tmp_path / "other"
    with pytest.raises(Ended):
        make(other, End(), random_state=2, save_steps=1).fit(X, Y)
    states(folder)[-1].write_bytes(states(other)[-1].read_bytes())
    found, warned = go_on(folder)
    assert found == whole
    assert len(warned) == 1 and "belongs to another run" in warned[0]


def test_with_no_state_left_the_run_begins_anew(folder: Path, whole: list[bytes]) -> None:
    for path in states(folder):
        path.unlink()
    assert go_on(folder)[0] == whole
    assert (folder / "run.log").read_text().count("  starts") == 2


def test_with_no_usable_state_it_is_said_and_nothing_is_changed(folder: Path) -> None:
    for path in states(folder):
        path.write_bytes(path.read_bytes()[:100])
    before = [path.read_bytes() for path in states(folder)]
    with (
        pytest.warns(UserWarning, match="cannot be used"),
        pytest.raises(BadState, match="none of the states in it can be used"),
    ):
        make(folder, Pass(), save_steps=1).fit(X, Y, resume="force")
    assert [path.read_bytes() for path in states(folder)] == before


def test_the_files_of_a_killed_write_are_cleared_away(folder: Path) -> None:
    left = folder / "checkpoints" / ".0123456789abcdef.tmp"
    left.write_bytes(b"part")
    go_on(folder)
    assert not left.exists()


# ---- in processes of their own -------------------------------------------------------------------


def start(code: str, folder: Path) -> warm.Started:
    return warm.start(CHILD + code, folder, env=os.environ | {"OMP_NUM_THREADS": "1"})


FULL = """
def act(folder):  # from here on no file may be longer than a part of a state
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, resource.RLIM_INFINITY))

# the limit is for the file of the output too
warnings.simplefilter("ignore")
warnings.simplefilter("always", UserWarning)
trainer = Classifier(epochs=4, batch_size=16, random_state=1, verbose=0, model="mlp",
                     run_dir=sys.argv[1], callbacks=[Wait()], save_steps=1)
try:
    trainer.fit(x, y)
except OSError as error:
    print("ended:", error)
print("epochs:", len(trainer.history_), trainer.predict(x).shape)
"""


class Wait(Callback):
    """Stands where the Wait of another process stood."""


def test_a_full_disk_is_told_of_and_leaves_a_whole_state(tmp_path: Path) -> None:
    process = start(FULL, tmp_path / "full")
    code, output = process.wait(), process.output() + process.error()
    assert code == 0, output
    assert "the state of the run was not saved" in output and "File too large" in output
    assert "ended: " in output and "model.keras" in output  # training went on to its end
    assert "epochs: 4 (64,)" in output
    found, alone = (
        make(tmp_path / name, Wait(), save_steps=1).fit(X, Y, resume="force")
        for name in ("full", "alone")
    )
    assert weights(found) == weights(alone)
    log = (tmp_path / "full" / "run.log").read_text()
    assert "resumes from epoch" in log and "finished" in log


HOLDS = """
def act(folder):
    print("holding", flush=True)
    time.sleep(60)
Classifier(epochs=4, batch_size=16, random_state=1, verbose=0, model="mlp", run_dir=sys.argv[1],
           callbacks=[Wait()], save_steps=1).fit(x, y)
"""


def test_a_second_process_is_told_who_holds_the_folder_until_that_is_killed(tmp_path: Path) -> None:
    process = start(HOLDS, tmp_path / "run")
    process.wait_for("holding")
    before = (tmp_path / "run" / "config.json").read_bytes()
    with pytest.raises(ValueError, match=rf"process {process.pid} on .* has been using it since"):
        make(tmp_path / "run").fit(X, Y)
    assert (tmp_path / "run" / "config.json").read_bytes() == before
    process.kill()
    process.wait(GONE)
    found, alone = (
        make(tmp_path / name, Wait(), save_steps=1).fit(X, Y, resume="force")
        for name in ("run", "alone")
    )
    assert weights(found) == weights(alone)
    assert "resumes from epoch" in (tmp_path / "run" / "run.log").read_text()
    assert json.loads((tmp_path / "run" / "config.json").read_text())["status"] == "finished"


FORKED = """
class Rows(keras.utils.PyDataset):
    def __len__(self):
        return 400
    def __getitem__(self, i):
        time.sleep(0.02)
        return x[:16], y[:16]

def act(folder):
    print("workers", *[p.pid for p in multiprocessing.active_children()], flush=True)
    time.sleep(60)

class Early(Callback):
    every_n_batches = 1
    def on_train_batch_end(self, batch, logs=None):
        act("")

Classifier(epochs=4, batch_size=16, random_state=1, verbose=0, model="mlp", run_dir=sys.argv[1],
           callbacks=[Early()], save_steps=1).fit(Rows(workers=1, use_multiprocessing=True))
"""


def test_orphaned_workers_do_not_hold_the_folder(tmp_path: Path) -> None:
    process = start("import keras, multiprocessing" + FORKED, tmp_path / "run")
    workers: list[int] = []
    try:
        workers = [int(pid) for pid in process.wait_for("workers").split()[1:]]
        assert workers
        process.kill()
        process.wait(GONE)
        from filelock import FileLock

        with FileLock(tmp_path / "run" / ".lock", timeout=2):
            pass
    finally:
        process.kill()
        for pid in workers:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
