"""Studies that `test_search_kills` kills, each in a process of its own.

`search_child.py` reads lines "KIND FOLDER" from its input, and for each forks a process that runs
the study, and answers with its number. It has loaded the libraries, which takes seconds, and used
none of them; the workers of a study are processes as always, which load their own.

Every event is a line of `events.txt` in the folder, "place trial", written by the coordinator or by
the worker; at most of them there is a short pause, so that a kill can fall there:

    asking      the trial is written, and its transaction not committed
    copying     between two files of the parent's run, for a trial that goes on from one
    fitting     in a fit
    fitted      the fit has ended, and the coordinator has not heard of it
    recording   the end is written, and its transaction not committed
    ended       the end is on disk
    tidying     between two files of a state that is deleted

When the study has ended there is `result.json`.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

from search import SearchCallback, SklearnSearch, TunerSearch
from search.executors.processes import Processes
from search.study.storage import Store
from trainer import Classifier, Float, Int

PAUSE = 0.04
LARGE = int(os.environ.get("KILL_STUDIES", "1")) > 1  # a training costs seconds under load
RNG = np.random.default_rng(3)
X = RNG.normal(size=(96, 4)).astype("float32")
Y = (X[:, 0] + 0.3 * RNG.normal(size=96) > 0).astype(int)


def note(folder: Path, place: str, trial: Any, pause: float = PAUSE) -> None:
    """Write an event, and wait."""
    line = os.open(folder / "events.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.write(line, f"{place} {trial}\n".encode())
    os.close(line)
    time.sleep(pause)


class Light(RegressorMixin, BaseEstimator):
    """Costs nothing to fit; its score is a function of parameters, seed and rows."""

    def __init__(self, a: float = 0.0, b: int = 1, random_state: Any = None) -> None:
        self.a = a
        self.b = b
        self.random_state = random_state

    def fit(self, x: Any, y: Any) -> Light:
        noise = np.random.default_rng(self.random_state).normal()
        self.level_ = float(y.mean()) + self.a**2 / self.b + noise / 100
        return self

    def predict(self, x: Any) -> Any:
        return np.full(len(x), self.level_)


class Growing(Light):
    """The same, with an amount that its score depends on: for pruners."""

    def __init__(self, a: float = 0.0, b: int = 1, n: int = 9, random_state: Any = None) -> None:
        super().__init__(a, b, random_state)
        self.n = n

    def fit(self, x: Any, y: Any) -> Growing:
        super().fit(x, y)
        self.level_ += 1 / self.n
        return self


def slow() -> Any:
    """A callback that makes an epoch last long enough to be killed in."""
    from trainer.callbacks.callback import Callback  # it imports Keras, which takes seconds

    class Slow(Callback):
        every_n_batches = 2

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            time.sleep(PAUSE / 4)

    return Slow()


class Net(Classifier):
    """With all that must go on exactly: dropout, Adam's moments, an order of rows."""

    def __init__(self, units: int = 4, rate: float = 0.2, epochs: int = 9, **fields: Any) -> None:
        super().__init__(epochs=epochs, **fields)
        self.units = units
        self.rate = rate

    def build_model(self, spec: Any) -> Any:
        from keras import Input, Sequential, layers

        return Sequential(
            [
                Input(spec.input_shape),
                layers.Dense(self.units, "relu"),
                layers.Dropout(self.rate),
                layers.Dense(spec.n_outputs, "softmax"),
            ]
        )


class Paused:
    """The work of a worker, with events and pauses."""

    def __init__(self, work: Any, folder: Path) -> None:
        self._work = work
        self._folder = folder

    def warm_up(self) -> None:
        self._work.warm_up()

    def __call__(self, job: Any) -> Any:
        if not hasattr(job, "trial"):
            return self._work(job)
        folder = self._folder
        whole = shutil.copytree

        def copied(source: Any, target: Any, **options: Any) -> Any:
            note(folder, "copying", job.trial)
            return shutil.copy2(source, target, **options)

        def copytree(source: Any, target: Any, *rest: Any, **options: Any) -> Any:
            # that of a folder within it is told of the function already
            own = {} if rest else {"copy_function": copied}
            return whole(source, target, *rest, **own, **options)

        shutil.copytree = copytree
        with_slow_deletion(folder)
        note(folder, "fitting", job.trial)
        result = self._work(job)
        note(folder, "fitted", job.trial)
        shutil.copytree = whole
        return result


class Told(SearchCallback):
    """Events of the coordinator."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def on_trial_end(self, study: Any, trial: Any) -> None:
        note(self._folder, "ended", trial.id)


def with_slow_deletion(folder: Path) -> None:
    """Make the deletion of a folder last long."""
    whole = getattr(os.unlink, "whole", os.unlink)

    def removed(path: Any, **options: Any) -> None:
        if options.get("dir_fd") is not None:
            note(folder, "tidying", path, PAUSE / 4)
        whole(path, **options)

    removed.whole = whole  # type: ignore[attr-defined]
    os.unlink = removed


def with_pauses(folder: Path) -> None:
    """Make what the coordinator writes last long."""
    with_slow_deletion(folder)
    for name, place in (("add", "asking"), ("end", "recording")):
        whole = getattr(Store, name)

        def paused(self: Any, trial: Any, whole: Any = whole, place: str = place) -> None:
            whole(self, trial)
            note(folder, place, trial.id)

        setattr(Store, name, paused)


def search(kind: str, folder: Path, **changes: Any) -> Any:
    """The search of a kind, in the folder."""
    space: dict[str, Any] = {"a": Float(-1, 1), "b": Int(1, 3)}
    shared: dict[str, Any] = {
        "directory": folder / "study",
        "seed": 7,
        "workers": 1,
        "executor": lambda work: Processes(
            Paused(work, folder), workers=1, preload=("search.study.evaluation", "sklearn.base")
        ),
        "callbacks": [Told(folder)],
        "refit": False,
        "verbose": 0,
    }
    if kind in ("hyperband", "halving"):
        shared["executor"] = lambda work: Processes(
            Paused(work, folder), workers=1, preload=("search.study.evaluation", "keras")
        )
        space = {"units": Int(2, 8), "rate": Float(0, 0.5)}
        estimator: Any = Net(
            epochs=9 if LARGE else 3,
            batch_size=8,
            save_steps=3,
            learning_rate=0.02,
            callbacks=[slow()],
        )
    else:
        estimator = Growing() if "+" in kind else Light()
    shared |= changes
    space = shared.pop("space", space)
    if kind == "halving":
        return SklearnSearch(
            estimator, space, method="halving", n_iter=9 if LARGE else 4, cv=None, **shared
        )
    if kind == "cv":
        return SklearnSearch(estimator, space, method="random", n_iter=10, cv=3, **shared)
    if kind == "grid":
        space["a"] = Float(-1, 1, step=1)
    if "+" in kind:
        tuner, pruner = kind.split("+")
        shared |= {"pruner": pruner, "resource": "n"}
        return TunerSearch(estimator, space, tuner=tuner, max_trials=9, **shared)
    trials = {"random": 10, "bayesian": 10, "grid": None, "hyperband": 14}
    return TunerSearch(estimator, space, tuner=kind, max_trials=trials[kind], **shared)


def run(kind: str, folder: Path) -> None:
    """Run a study, or go on with it."""
    output = os.open(folder / "output.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    with_pauses(folder)
    found = search(kind, folder).fit(X, Y)
    (folder / "result.json").write_text(json.dumps(found.best_params_))


def serve() -> None:
    """Fork a process for each line."""
    import keras_tuner  # noqa: F401

    gc.freeze()  # or each child takes a second to look through the libraries as it ends
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them: they leave no zombies
    for line in sys.stdin:
        child = os.fork()
        if child:
            print(child, flush=True)
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        kind, folder = line.split(maxsplit=1)
        run(kind, Path(folder.strip()))
        return


if __name__ == "__main__":
    serve()
