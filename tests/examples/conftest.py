"""Runs an example in a process and a folder of its own, without a screen or a network."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import warm
from patience import WORK
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@dataclass
class Run:
    """A finished run: what it printed, the folder that it wrote to and the files that it named."""

    text: str
    folder: Path
    files: dict[str, Path]

    def line(self, start: str) -> str:
        """The rest of the only printed line that starts so."""
        (rest,) = [x.removeprefix(start) for x in self.text.splitlines() if x.startswith(start)]
        return rest


def starting(folder: Path) -> Any:
    """What the fixture `start` gives, in this folder."""

    def start_one(
        name: str, *options: str, cold: bool = False, cores: int | None = None
    ) -> subprocess.CompletedProcess[str]:
        env = {k: v for k, v in os.environ.items() if k not in ("MPLBACKEND", "DISPLAY")}
        nowhere = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
        env |= nowhere | {"KERAS_HOME": str(folder / "no_cache")}
        path = EXAMPLES / f"{name}.py"
        if not cold:
            return warm.run(path, *options, cwd=folder, env=env, cores=cores)
        return subprocess.run(
            [sys.executable, str(path), *options],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=WORK,
        )

    return start_one


@pytest.fixture
def start(tmp_path):
    """Runs examples/<name>.py with options; gives the finished process.

    `cold`: in a process that loads TensorFlow, as a newcomer does.
    `cores`: on how many at the most, of a process that is not cold. A search starts a worker on
    each.
    """
    return starting(tmp_path)


@pytest.fixture(scope="module")
def start_once(tmp_path_factory):
    """The same, for a run that several tests of a module look at."""
    return starting(tmp_path_factory.mktemp("examples"))


@pytest.fixture
def run(start, tmp_path):
    """Runs an example to its end, and checks what holds for all: it succeeds without a warning
    (but the `expected` one), and the files that it names are whole and are all that it wrote."""

    def run_one(name: str, *options: str, expected: str | None = None, **how: Any) -> Run:
        done = start(name, *options, **how)
        assert done.returncode == 0, done.stderr
        warnings = [x for x in done.stderr.splitlines() if "Warning" in x or "WARNING:tens" in x]
        assert all(expected is not None and expected in x for x in warnings), done.stderr
        folder = tmp_path / "output" / name
        _, named = done.stdout.split("\nfiles written:\n")
        files = [tmp_path / line.strip() for line in named.splitlines()]
        shown = [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")]
        assert sorted(files) == sorted(shown)
        for file in files:
            check_whole(file)
        return Run(done.stdout, folder, {file.name: file for file in files})

    return run_one


def check_whole(file: Path) -> None:
    """Assert that a picture shows something, and that a table has rows."""
    assert file.stat().st_size > 0
    if file.suffix == ".png":
        with Image.open(file) as picture:
            assert min(picture.size) >= 200
            assert len(picture.convert("L").getcolors(256)) > 10, f"{file} is blank"
    elif file.suffix == ".csv":
        assert len(pd.read_csv(file, header=None)) > 1


@pytest.fixture(scope="session")
def housing():
    """The real table of houses in California, with missing values and a column of text."""
    file = Path(__file__).resolve().parents[3] / "shared" / "data" / "california_housing.csv.gz"
    if not file.exists():
        pytest.skip(f"{file} is not there")
    return str(file)
