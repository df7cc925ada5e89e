"""Scripts in processes of their own that need not load TensorFlow: forked from one that has.

To load TensorFlow takes several seconds of a core, and most scripts of the tests less. The process
to fork from has loaded libraries only: it has used none of them, and knows nothing of `trainer`.

Responsible for running a script to its end. Not for scripts that are watched or killed while they
run, nor for what is settled as an interpreter starts (PYTHONHASHSEED): those need a new process.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

SECONDS = 120


def run(
    script: str | Path,
    *arguments: str | Path,
    cwd: str | Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a file, or code, as `python FILE ...` or `python -c CODE ...` does.

    Args:
        script: the path of a file, or the text of a program.
        *arguments: what follows in sys.argv.
        cwd: the folder to run it in; None: this one.
        env: the whole environment; None: this one.

    Raises:
        subprocess.TimeoutExpired: it took longer than SECONDS.
    """
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        path = script
        if isinstance(script, str):
            path = Path(folder, "script.py")
            path.write_text(script, "utf-8")
        job = {
            "argv": [str(path), *map(str, arguments)],
            "cwd": str(cwd or os.getcwd()),
            "env": dict(os.environ if env is None else env),
            "out": str(out),
            "err": str(err),
        }
        server.stdin.write(json.dumps(job) + "\n")
        server.stdin.flush()
        answer = server.stdout.readline()
        assert answer, f"{__file__} has ended: run it to see why"
        code = int(answer)
        texts = (file.read_text("utf-8", errors="replace") for file in (out, err))
        if code == -signal.SIGALRM:
            raise subprocess.TimeoutExpired(job["argv"], SECONDS, *texts)
        return subprocess.CompletedProcess(job["argv"], code, *texts)


@functools.cache
def _server() -> subprocess.Popen[str]:
    """The process to fork from, one for each worker of pytest; it ends when its input does."""
    home = tempfile.TemporaryDirectory()
    atexit.register(home.cleanup)
    # These are read as libraries are loaded, before a script's environment is there.
    env = {k: v for k, v in os.environ.items() if k not in ("MPLBACKEND", "DISPLAY")}
    return subprocess.Popen(
        [sys.executable, __file__],
        env=env | {"KERAS_HOME": home.name},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _serve() -> list[str] | None:
    """Fork for each job; returns its sys.argv in the child, and None when there are no more."""
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            signal.alarm(SECONDS)
            for descriptor, path in ((1, job["out"]), (2, job["err"])):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.chdir(job["cwd"])
            os.environ.clear()
            os.environ.update(job["env"])
            more = os.environ.get("PYTHONPATH", "")
            sys.path[:1] = [str(Path(job["argv"][0]).parent), *filter(None, more.split(os.pathsep))]
            argv: list[str] = job["argv"]
            return argv
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    return None


if __name__ == "__main__":
    import keras  # noqa: F401 (with tensorflow, scipy, pandas and matplotlib)
    import sklearn.ensemble  # noqa: F401

    given = _serve()
    if given is not None:
        sys.argv = given
        runpy.run_path(given[0], run_name="__main__")
