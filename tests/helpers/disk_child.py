"""Trainings and searches in which one operation on disk fails: processes of `test_disk_faults`.

`disk_child.py` runs with the library made of disk_faults.c before libc. It has loaded Python's
libraries, and used none, so that it can fork. It reads jobs as lines of JSON. One that ends by a
kill has a process of its own; all others are done one after another in one process, which is made
anew if it dies. The answer is a line with the exit code; the file `answer` says what came of it.

Two things are made regular, so that the same operations come in the same order each time: states
are written at once instead of beside the training, and what is written "if it costs little" always
is. Neither changes what is done on disk.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import io
import json
import os
import re
import signal
import sys
import tempfile
import traceback
import warnings
import zipfile
from concurrent.futures import Future
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["MPLBACKEND"] = "Agg"

import h5py
import keras
from keras import layers
from patience import SECONDS

from search import SklearnSearch
from trainer import Classifier, Float, Int
from trainer.runs.directory import Run

DRAW = Run._draw
X = (np.arange(24).reshape(8, 3) ** 2 % 7 - 3).astype("float32")
Y = np.array(["a", "b"])[(X[:, 0] > 0).astype(int)]
PRICE = X[:, 1] * 2.0


class AtOnce:
    """A pool that does its work when it is given."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def submit(self, work: Any, *arguments: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(work(*arguments))
        except BaseException as error:
            done.set_exception(error)
        return done

    def shutdown(self, *_: Any, **__: Any) -> None:
        pass


class Count(keras.callbacks.Callback):
    """Counts the steps that were trained, in a file that outlives the process."""

    file: ClassVar[int] = -1

    @staticmethod
    def one() -> None:
        os.write(Count.file, b".")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        Count.one()


class Net(Classifier):
    """With what must be resumed exactly: dropout, Adam's moments, an order of rows."""

    def __init__(self, units: int = 2, epochs: int = 2, **fields: Any) -> None:
        super().__init__(epochs=epochs, **fields)
        self.units = units

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input(spec.input_shape),
                layers.Dropout(0.25),
                layers.Dense(self.units, "relu"),
                layers.Dense(spec.n_outputs, "softmax"),
            ]
        )


class Light(RegressorMixin, BaseEstimator):
    """Costs nothing to fit."""

    def __init__(self, a: float = 0.0, b: int = 1, random_state: Any = None) -> None:
        self.a = a
        self.b = b
        self.random_state = random_state

    def fit(self, x: Any, y: Any) -> Light:
        Count.one()
        self.level_ = float(np.mean(y)) + self.a / self.b
        return self

    def predict(self, x: Any) -> Any:
        return np.full(len(x), self.level_)


def digest(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def run(folder: Path) -> dict[str, Any]:
    """A run with the plugins that write, and what must be the same whatever failed."""
    made = Net(
        batch_size=4,
        random_state=1,
        verbose=0,
        learning_rate=0.02,
        save_steps=1,
        run_dir=folder,
        callbacks=[{"name": "csv"}, {"name": "checkpoint", "keep": 1}, Count()],
    ).fit(X, Y, validation_data=(X, Y))
    return {
        "weights": [digest(w) for w in made.model_.get_weights()],
        "history": [{k: v for k, v in r.items() if k != "seconds"} for r in made.history_.records],
    }


def search(kind: str, folder: Path) -> dict[str, Any]:
    """A search in this process, and what must be the same whatever failed."""
    shared: dict[str, Any] = {
        "directory": folder,
        "seed": 7,
        "executor": "serial",
        "refit": False,
        "verbose": 0,
    }
    if kind == "light":
        space = {"a": Float(-1, 1), "b": Int(1, 3)}
        found = SklearnSearch(Light(), space, n_iter=3, cv=2, **shared).fit(X, PRICE)
    else:
        net = Net(epochs=3, batch_size=8, learning_rate=0.02, save_steps=1, callbacks=[Count()])
        space = {"units": Int(2, 4)}
        found = SklearnSearch(net, space, method="halving", n_iter=3, cv=None, **shared)
        found.fit(X, Y, validation_data=(X, Y))
    table = found.results_.drop(columns="seconds")
    epochs = found.epochs_.drop(columns="seconds", errors="ignore")
    return {
        "results": json.loads(table.to_json()),
        "epochs": json.loads(epochs.to_json()),
        "best": found.best_params_,
    }


SCENARIOS = {
    "run": run,
    "light": lambda folder: search("light", folder),
    "trained": lambda folder: search("trained", folder),
}


def files(folder: Path) -> dict[str, Any]:
    """What is in the folder at the end, as far as it must be the same."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = re.sub(r"state-\d+", "state", str(path.relative_to(folder)))
        if name.endswith("state.safetensors"):
            found[name] = found.get(name, 0) + 1
        elif path.is_dir() or path.name.startswith((".", "study.sqlite")):
            continue
        elif path.suffix == ".keras":
            if not zipfile.is_zipfile(path):
                found[name] = "damaged"
                continue
            with zipfile.ZipFile(path) as archive:
                weights = archive.read("model.weights.h5")
                history = json.loads(archive.read("trainer.json"))["history"]
            arrays: list[str] = []
            with h5py.File(io.BytesIO(weights), "r") as opened:
                opened.visititems(
                    lambda at, thing, arrays=arrays: (
                        arrays.append(f"{at} {digest(thing[()])}")
                        if isinstance(thing, h5py.Dataset)
                        else None
                    )
                )
            for record in history["records"]:
                del record["seconds"]
            found[name] = [arrays, history]
        elif path.suffix == ".csv":
            lines = path.read_text().splitlines()
            found[name] = [line.rpartition(",")[0] for line in lines]
        elif path.name == "config.json":
            found[name] = json.loads(path.read_text()).get("status")
        else:
            found[name] = "there"
    return found


def call(work: Any, folder: Path, ended: Any = lambda: None) -> dict[str, Any]:
    """Call it once; gives how it ended, and what was said."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            outcome: dict[str, Any] = {"result": work(folder)}
        except BaseException as error:
            outcome = {
                "raised": type(error).__name__,
                "expected": isinstance(error, (OSError, ValueError)),
                "said": str(error),
                "traceback": traceback.format_exc()[-3000:],
            }
        finally:
            ended()
    outcome["warned"] = [str(w.message) for w in caught if w.category is not DeprecationWarning]
    outcome["steps"] = os.fstat(Count.file).st_size
    outcome["files"] = files(folder)
    return outcome


def regular() -> None:
    from trainer.runs import checkpointing, run_log
    from trainer.state import state_file

    for module, name, value in (
        (state_file, "ThreadPoolExecutor", AtOnce),
        (checkpointing, "SECONDS_PER_SAVING_SECOND", 0),
        (run_log, "WRITE_SHARE", 0),
    ):
        assert hasattr(module, name), f"{module.__name__}.{name} has another name now"
        setattr(module, name, value)


def work(job: dict[str, Any], library: Any) -> None:
    """Call the scenario with the fault, and then again without."""
    # drawing takes longer than the rest of a run
    Run._draw = DRAW if job["draw"] else lambda run, history: None  # type: ignore[method-assign]
    base = Path(job["folder"])
    (base / "tmp").mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = str(base / "tmp")
    os.chdir(base)
    Count.file = os.open(job["steps"], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    scenario, place = SCENARIOS[job["scenario"]], base / "it"
    answer = []
    if job["at"] is not None:
        number, fault = ctypes.c_long(job["at"]), job["fault"]
        library.disk_faults_arm(str(base).encode(), job["log"].encode(), number, fault)
        answer.append(call(scenario, place, library.disk_faults_disarm))
    for _ in range(job["again"]):
        answer.append(call(scenario, place))
    os.close(Count.file)
    Path(job["answer"]).write_text(json.dumps(answer))


def worker(output: int) -> tuple[int, Any, Any]:
    """A process that does jobs one after another; its number, and where to send and receive."""
    to_read, to_send = os.pipe()
    from_read, from_send = os.pipe()
    child = os.fork()
    if child:
        os.close(to_read)
        os.close(from_send)
        return child, open(to_send, "w"), open(from_read)
    os.close(to_send)
    os.close(from_read)
    begin(output)
    library = ctypes.CDLL(os.environ["LD_PRELOAD"])
    with open(to_read) as jobs:
        for line in jobs:
            signal.alarm(SECONDS)
            work(json.loads(line), library)
            signal.alarm(0)
            os.write(from_send, b"0\n")
    os._exit(0)


def begin(output: int) -> None:
    for stream in (1, 2):
        os.dup2(output, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    regular()


def serve(log: str) -> None:
    import keras_tuner  # noqa: F401

    gc.freeze()  # or each child copies what the libraries have made, when it looks for garbage
    output = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    one: tuple[int, Any, Any] | None = None
    for line in sys.stdin:
        job = json.loads(line)
        if job["fault"] == -1:
            child = os.fork()
            if not child:
                begin(output)
                signal.alarm(SECONDS)
                work(job, ctypes.CDLL(os.environ["LD_PRELOAD"]))
                os._exit(0)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
            continue
        one = one or worker(output)
        one[1].write(line)
        one[1].flush()
        code = one[2].readline().strip()
        if not code:
            code = os.waitstatus_to_exitcode(os.waitpid(one[0], 0)[1])
            one = None
        print(code, flush=True)
    if one is not None:
        one[1].close()
        os.waitpid(one[0], 0)


if __name__ == "__main__":
    serve(sys.argv[1])
