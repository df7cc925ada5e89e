"""Calls of the command line, as a shell makes them, and the files that they are made on.

A worktree is not installed, so that its entry points are not known to the interpreter: they are
taken from setup.cfg, in a distribution that is made for the tests.
"""

from __future__ import annotations

import configparser
import csv
import functools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import warm
from patience import GONE, WORK

ROOT = Path(__file__).parents[2]
MAIN = "import sys\nfrom trainer.cli import main\nsys.exit(main())"
IN_ITS_OWN_GROUP = "import os\nos.setsid()\n" + MAIN  # as a shell starts a command
SEVERAL = """
import contextlib, io, json, sys
from trainer.cli import main
found = []
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as error:
        with contextlib.redirect_stdout(io.StringIO()) as output:
            code = main(words)
    found.append([code, output.getvalue(), error.getvalue()])
print(json.dumps(found))
"""
TOWNS = {"York": 10, "Rome": 80, "Bonn": 33}


@functools.cache
def _entry_points() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory()
    found = configparser.ConfigParser()
    found.read(ROOT / "setup.cfg")
    info = Path(folder.name) / "entry_points_of_the_worktree-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: entry-points-of-the-worktree\n")
    groups = {n: v for n, v in found["options.entry_points"].items() if n.startswith("trainer.")}
    text = "\n".join(f"[{name}]\n{lines.strip()}\n" for name, lines in groups.items())
    (info / "entry_points.txt").write_text(text)
    return folder


def environment(*more: Path | str) -> dict[str, str]:
    """The environment of a call: this worktree, its entry points, and more folders to import."""
    path = os.pathsep.join([*map(str, more), str(ROOT), _entry_points().name])
    own = {"XDG_CONFIG_HOME": _entry_points().name, "PYTHONPATH": path}  # no key of the tester's
    return {**os.environ, **own, "PYTHONWARNINGS": "default", "COLUMNS": "100"}


def call(*words: str | Path, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess:
    """`python -m trainer WORDS`, in a process of its own that loads what it needs."""
    return subprocess.run(
        [sys.executable, "-m", "trainer", *map(str, words)],
        cwd=cwd,
        env=environment(*([path] if path else [])),
        capture_output=True,
        text=True,
        timeout=WORK,
        check=False,
    )


def fork(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The same in a process that is forked from one which has loaded TensorFlow."""
    return warm.run(MAIN, *words, cwd=cwd, env=environment())


def several(
    calls: Sequence[Sequence[str | Path]], cwd: Path
) -> list[subprocess.CompletedProcess[str]]:
    """Several calls, one after the other in one forked process, which loads libraries once."""
    given = [[str(word) for word in words] for words in calls]
    done = warm.run(SEVERAL, json.dumps(given), cwd=cwd, env=environment())
    assert done.returncode == 0, done.stderr
    found = zip(given, json.loads(done.stdout.splitlines()[-1]), strict=True)
    return [subprocess.CompletedProcess(words, *each) for words, each in found]


def start(*words: str | Path, cwd: Path) -> warm.Started:
    """The same, not waited for, and in a process group of its own."""
    return warm.start(IN_ITS_OWN_GROUP, *words, cwd=cwd, env=environment())


def start_held(
    *words: str | Path, cwd: Path, at: str, calls: int = 1, code: str = IN_ITS_OWN_GROUP
) -> warm.Started:
    """The same, and wait until it is held: it does not go on before a signal comes.

    Args:
        *words: the command's words.
        cwd: the folder that it runs in.
        at: the method at whose end it is held, "package.module:Class.method".
        calls: in which call of the method.
        code: what is run; without it, the command.
    """
    mark = Path(tempfile.mkdtemp(dir=_entry_points().name)) / "held"
    env = {"HELD_AT": at, "HELD_CALLS": str(calls), "HELD_MARK": str(mark)}
    env |= environment(Path(__file__).parent)
    started = warm.start(f"import held\n{code}", *words, cwd=cwd, env=env)
    while not mark.exists():
        assert started.poll() is None, started.error()
        time.sleep(0.01)
    return started


def ctrl_c(started: warm.Started) -> int:
    """Press Ctrl-C, which all processes of a command get; return its exit code.

    No process may be left that the command started.
    """
    import psutil

    children = psutil.Process(started.pid).children(recursive=True)
    os.killpg(started.pid, signal.SIGINT)
    code = started.wait()
    _, left = psutil.wait_procs(children, timeout=GONE)
    for process in left:
        process.kill()
    assert not left, f"{left} still run"
    return code


def houses(path: Path, rows: int, *, price: bool = True, seed: int = 0) -> Path:
    """Write a table of houses."""
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["size", "town", *(["price"] if price else [])])
        for _ in range(rows):
            size, town = draw.randint(30, 200), draw.choice(list(TOWNS))
            cost = round(size * 3.5 + TOWNS[town] + draw.random(), 2)
            writer.writerow([size, town, *([cost] if price else [])])
    return path
