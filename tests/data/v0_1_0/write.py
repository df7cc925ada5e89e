"""Writes what is beside it: files, runs and studies of version 0.1.0 of this package.

It was run once, with that version, from the root of its tree; never run it with another one, since
what is beside it shows that later versions read what 0.1.0 wrote:

    git switch --detach <a commit of version 0.1.0>
    python tests/data/v0_1_0/write.py

The trainings are those of tests/helpers/of_0_1_0.py. What was to be had from them (predictions,
weights, histories, the results of studies) is in expected.json, with the versions of libraries.
Runs and studies called unfinished were ended by SIGKILL. Afterwards names of folders of the machine
are taken out of config.json, and the files of locks are deleted: nothing reads either.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import sqlite3
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "helpers"), str(HERE.parents[2])]
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
for name in list(os.environ):
    if name.startswith(("TF_CLI", "KERAS_")):
        del os.environ[name]

# after the environment is set: they read it as they are imported
import keras  # noqa: E402
import numpy as np  # noqa: E402
import of_0_1_0 as old  # noqa: E402

import trainer  # noqa: E402
from trainer.runs import environment  # noqa: E402


def in_a_child(work: Callable[[], Any], *, killed: bool = False) -> Any:
    """What the function returns, in a process that has not used TensorFlow before."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "answer.json")
        child = os.fork()
        if not child:
            try:
                answer.write_text(json.dumps(work()))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code == (-signal.SIGKILL if killed else 0), code
        return None if killed else json.loads(answer.read_text())


def listed(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: listed(value) for name, value in tree.items()}
    return np.asarray(tree).tolist()


def file(name: str) -> Any:
    make, _, x = old.FILES[name]
    made = make()
    made.save(HERE / "files" / f"{name}.keras")
    return {"predictions": listed(made.predict(x)), "history": old.history(made)}


def run(folder: Path) -> Any:
    made = old.fitted_run(folder)
    return {
        "weights": old.weights(made),
        "history": old.history(made),
        "predictions": listed(made.predict(old.X)),
    }


def trial(folder: Path, epochs: int) -> Any:
    made = old.trial(folder, True if epochs > 2 else "auto", epochs)
    return {"weights": old.weights(made), "history": old.history(made)}


def killed(batches: int, work: Callable[[], Any]) -> None:
    def until() -> None:
        old.Kill.left = batches
        work()

    in_a_child(until, killed=True)


def study(kind: str, folder: Path) -> Any:
    found = old.searched(kind, folder)
    return {
        "trials": old.results(found),
        "best": dict(found.best_params_),
        "best_score": found.best_score_,
    }


def main() -> None:
    assert trainer.__version__ == "0.1.0"
    platform.node = lambda: "a machine"
    platform.platform = lambda *args, **options: platform.system()
    for name in ("files", "runs", "studies"):
        shutil.rmtree(HERE / name, ignore_errors=True)
        (HERE / name).mkdir()
    scratch = Path(tempfile.mkdtemp())
    os.chdir(scratch)
    expected: dict[str, Any] = {
        "versions": environment()["packages"] | {"python": platform.python_version()},
        "files": {name: in_a_child(lambda name=name: file(name)) for name in old.FILES},
        "runs": {"finished": in_a_child(lambda: run(Path("runs/finished")))},
        "studies": {},
    }
    # the whole of what the unfinished ones come to is that of one that nothing happened to
    killed(5, lambda: run(Path("runs/unfinished")))
    expected["runs"]["unfinished"] = expected["runs"]["finished"]
    in_a_child(lambda: trial(Path("runs/trial"), 2))
    shutil.copytree("runs/trial", "further")
    expected["runs"]["trial"] = in_a_child(lambda: trial(Path("further"), 3))
    for name, (kind, batches) in old.STUDIES.items():
        folder = Path("studies", name)
        undisturbed = folder if not batches else Path("undisturbed", name)
        expected["studies"][name] = in_a_child(
            lambda kind=kind, folder=undisturbed: study(kind, folder)
        )
        if batches:
            killed(batches, lambda kind=kind, folder=folder: study(kind, folder))
    # of one unfinished study the log of SQLite stays as the kill left it, of the other it would be
    # the largest file here
    database = sqlite3.connect("studies/hyperband_unfinished/study.sqlite")
    database.execute("select count(*) from trials").fetchall()
    database.close()
    for name in ("runs", "studies"):
        shutil.copytree(name, HERE / name, dirs_exist_ok=True)
    for path in sorted(HERE.rglob("*")):
        if path.name in (".lock", ".holder.json", "study.sqlite-shm"):
            path.unlink()
        elif path.name == "curves.png":  # nothing reads it, and it is the largest file
            path.unlink()
            path.parent.rmdir()
        elif path.name == "config.json":
            path.write_text(path.read_text().replace(f"{scratch.resolve()}/", ""))
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    shutil.rmtree(scratch)
    print(keras.__version__, sum(p.stat().st_size for p in HERE.rglob("*") if p.is_file()), "bytes")


if __name__ == "__main__":
    main()
