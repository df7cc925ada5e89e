"""Scripts in processes of their own that need not load TensorFlow: forked from one that has.

To load TensorFlow takes several seconds of a core, and most scripts of the tests less. The process
to fork from has loaded libraries only: it has used none of them, and knows nothing of `trainer`.

Responsible for running a script to its end, and for starting one that is watched or killed. Not for
what is settled as an interpreter starts or loads its libraries (PYTHONHASHSEED, the number of
TensorFlow's threads): that needs a new process.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from few_cores import on_few
from patience import SECONDS, WORK

_asking = threading.Lock()


class Started:
    """A script that runs, or has ended.

    Attributes:
        pid: its process.
        returncode: as of subprocess.Popen; None while it is not known to have ended.
    """

    def __init__(self, pid: int, output: Path, error: Path) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._output, self._error = output, error

    def poll(self) -> int | None:
        """Whether it has ended: its exit code, or the signal's number below zero."""
        if self.returncode is None:
            self.returncode = _ask({"reap": self.pid})
        return self.returncode

    def wait(self, seconds: float = WORK) -> int:
        """Wait until it ends; TimeoutError if it does not."""
        until = time.monotonic() + seconds
        while (code := self.poll()) is None:
            if time.monotonic() > until:
                raise TimeoutError(f"{self.pid} still runs. It printed: {self.output()}")
            time.sleep(0.01)
        return code

    def wait_for(self, text: str, seconds: float = SECONDS) -> str:
        """Wait until it has printed a line that begins so; returns the line."""
        until = time.monotonic() + seconds
        while True:
            ended = self.poll() is not None or time.monotonic() > until
            for line in self.output().splitlines(keepends=True):
                if line.startswith(text) and line.endswith("\n"):
                    return line.rstrip("\n")
            assert not ended, f"{text!r} was not printed, but: {self.output()}{self.error()}"
            time.sleep(0.01)

    def kill(self) -> None:
        """End it by SIGKILL, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def output(self) -> str:
        """What it has printed up to now."""
        return self._output.read_text("utf-8", errors="replace")

    def error(self) -> str:
        """What it has written to its standard error up to now."""
        return self._error.read_text("utf-8", errors="replace")


def start(
    script: str | Path,
    *arguments: str | Path,
    cwd: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    cores: int | None = None,
    seconds: int = WORK,
) -> Started:
    """Start a file, or code, as `python FILE ...` or `python -c CODE ...` does.

    It is ended with the tests, if not before.

    Args:
        script: the path of a file, or the text of a program.
        *arguments: what follows in sys.argv.
        cwd: the folder to run it in; None: this one.
        env: the whole environment; None: this one.
        cores: on how many at the most; None: on all.
        seconds: after which it is ended.
    """
    folder = Path(tempfile.mkdtemp(dir=_home()))
    out, err = folder / "out", folder / "err"
    out.touch()
    err.touch()
    path = script
    if isinstance(script, str):
        path = folder / "script.py"
        path.write_text(script, "utf-8")
    job = {
        "argv": [str(path), *map(str, arguments)],
        "cwd": str(cwd or os.getcwd()),
        "env": dict(os.environ if env is None else env),
        "out": str(out),
        "err": str(err),
        "cores": cores,
        "seconds": seconds,
    }
    pid = _ask(job)
    assert pid is not None
    return Started(pid, out, err)


def run(
    script: str | Path,
    *arguments: str | Path,
    cwd: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    cores: int | None = None,
    seconds: int = WORK,
) -> subprocess.CompletedProcess[str]:
    """Run it to its end: see `start`.

    Raises:
        subprocess.TimeoutExpired: it took longer.
    """
    started = start(script, *arguments, cwd=cwd, env=env, cores=cores, seconds=seconds)
    code = started.wait(seconds + 30)
    command, texts = [str(script), *map(str, arguments)], (started.output(), started.error())
    if code == -signal.SIGALRM:
        raise subprocess.TimeoutExpired(command, seconds, *texts)
    return subprocess.CompletedProcess(command, code, *texts)


def _ask(question: dict[str, Any]) -> int | None:
    """Send one question to the server; returns its answer."""
    with _asking:
        server = _server()
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write(json.dumps(question) + "\n")
        server.stdin.flush()
        answer = server.stdout.readline()
    assert answer, f"{__file__} has ended: run it to see why"
    found: int | None = json.loads(answer)
    return found


@functools.cache
def _home() -> str:
    home = tempfile.TemporaryDirectory()
    atexit.register(home.cleanup)
    return home.name


@functools.cache
def _server() -> subprocess.Popen[str]:
    """The process to fork from, one for each worker of pytest; it ends when its input does."""
    # These are read as libraries are loaded, before a script's environment is there.
    env = {k: v for k, v in os.environ.items() if k not in ("MPLBACKEND", "DISPLAY")}
    server = subprocess.Popen(
        [sys.executable, __file__],
        env=env | {"KERAS_HOME": _home()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    atexit.register(server.communicate)  # ends its input, and waits
    return server


def _serve() -> list[str] | None:
    """Fork for each job; returns its sys.argv in the child, and None when there are no more."""
    children: set[int] = set()
    for line in sys.stdin:
        job = json.loads(line)
        if "reap" in job:
            ended, status = os.waitpid(job["reap"], os.WNOHANG)
            children.discard(ended)
            print(json.dumps(os.waitstatus_to_exitcode(status) if ended else None), flush=True)
            continue
        child = os.fork()
        if not child:
            _become(job)
            argv: list[str] = job["argv"]
            return argv
        children.add(child)
        print(child, flush=True)
    for child in children:
        os.kill(child, signal.SIGKILL)
    return None


def _become(job: dict[str, Any]) -> None:
    """Make this process what an interpreter is that was started for the job."""
    signal.alarm(job["seconds"])
    if job["cores"] is not None:
        on_few(job["cores"])
    for descriptor, path in ((1, job["out"]), (2, job["err"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    tempfile.tempdir = None  # it is asked for anew, in this environment
    more = os.environ.get("PYTHONPATH", "")
    sys.path[:1] = [str(Path(job["argv"][0]).parent), *filter(None, more.split(os.pathsep))]


if __name__ == "__main__":
    gc.disable()
    import keras  # noqa: F401 (with tensorflow, scipy, pandas and matplotlib)
    import sklearn.ensemble  # noqa: F401

    # Nothing here is garbage. Else each child looks through all that the libraries have made, when
    # it collects and as it ends, which copies the memory and takes a second.
    gc.freeze()
    gc.enable()
    given = _serve()
    if given is not None:
        sys.argv = given
        runpy.run_path(given[0], run_name="__main__")
