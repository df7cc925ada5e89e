"""Temporary folders of killed processes are removed; of living ones and of people, never."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import SECONDS

from trainer.utils import scratch
from trainer.utils.scratch import MARK, Scratch, sweep

ROOT = Path(__file__).parents[3]
LIVING = """
import sys
from pathlib import Path
from trainer.utils.scratch import Scratch

made = Scratch("study-", Path(sys.argv[1]))
(made.path / "data").mkdir()
(made.path / "data" / "rows").write_bytes(b"1" * 1000)
print(made.path, flush=True)
sys.stdin.read()
"""


def _started(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", LIVING, str(parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


@pytest.fixture
def dead(tmp_path: Path) -> Path:
    """The folder of a process that was killed."""
    process, folder = _started(tmp_path)
    process.kill()
    process.wait()
    return folder


@pytest.fixture
def living(tmp_path: Path) -> Iterator[Path]:
    process, folder = _started(tmp_path)
    yield folder
    process.kill()
    process.wait()


def test_a_killed_process_folder_is_removed_and_a_living_one_is_not(
    tmp_path: Path, dead: Path, living: Path
) -> None:
    own = Scratch("study-", tmp_path)
    assert sweep("search-", tmp_path) == []
    assert sweep("study-", tmp_path) == [dead]
    assert not dead.exists()
    assert (living / "data" / "rows").exists()
    assert own.path.exists(), "the same process may run two searches"
    own.remove()
    assert not own.path.exists()


def test_a_folder_of_a_person_is_left_alone(tmp_path: Path, dead: Path) -> None:
    plain = tmp_path / "study-mine"
    plain.mkdir()
    (plain / "thesis.txt").write_text("mine")
    with_a_file_of_that_name = tmp_path / "study-marked"
    with_a_file_of_that_name.mkdir()
    (with_a_file_of_that_name / MARK).write_text('{"made by": "me"}')
    deep = tmp_path / "study-deep"
    deep.mkdir()
    (deep / MARK).write_text("[" * 4_000)
    piped = tmp_path / "study-piped"
    piped.mkdir()
    os.mkfifo(piped / MARK)
    copied = tmp_path / "study-copied"
    shutil.copytree(dead, copied)
    renamed = tmp_path / "study-renamed"
    dead.rename(renamed)
    assert sweep("study-", tmp_path) == []
    for path in (plain, with_a_file_of_that_name, deep, piped, copied, renamed):
        assert path.exists(), path
    assert (plain / "thesis.txt").read_text() == "mine"


def test_links_are_not_followed(tmp_path: Path, dead: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "letter").write_text("mine")
    (dead / "to-home").symlink_to(home)
    (dead / "data" / "to-home").symlink_to(home)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = tmp_path / "within" / dead.name
    link.parent.mkdir()
    link.symlink_to(dead)
    assert sweep("study-", link.parent) == []
    marked = tmp_path / "study-linked"
    marked.mkdir()
    (marked / MARK).symlink_to(dead / MARK)
    assert sweep("study-", tmp_path) == [dead]
    assert (home / "letter").read_text() == "mine"
    assert marked.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another user")
def test_another_user_s_folder_is_left_alone(tmp_path: Path, dead: Path) -> None:
    os.chown(dead, 12_345, -1)
    assert sweep("study-", tmp_path) == []
    os.chown(dead, 0, -1)
    os.chown(dead / MARK, 12_345, -1)
    assert sweep("study-", tmp_path) == []


def test_a_removal_that_was_cut_short_is_done_again(
    tmp_path: Path, dead: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object, **options: object) -> None:
        raise OSError("as if killed here")

    monkeypatch.setattr(scratch.shutil, "rmtree", fails)
    assert sweep("study-", tmp_path) == []
    assert json.loads((dead / MARK).read_text())["folder"] == dead.name
    monkeypatch.undo()
    assert sweep("study-", tmp_path) == [dead]


MAKING_AND_SWEEPING = """
import sys, time
from pathlib import Path
from trainer.utils.scratch import Scratch, sweep

until = time.monotonic() + 1.5
while time.monotonic() < until:
    with Scratch("study-", Path(sys.argv[1])) as made:
        (made.path / "rows").write_text("1")
        sweep("study-", Path(sys.argv[1]))
        assert (made.path / "rows").read_text() == "1"
"""


def test_a_folder_that_is_just_being_made_is_no_abandoned_one(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MAKING_AND_SWEEPING, str(tmp_path)],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.communicate(timeout=SECONDS)[1] == ""
        assert process.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_a_fork_that_lives_on_keeps_the_folder(tmp_path: Path) -> None:
    # it may still be using it
    made = Scratch("study-", tmp_path)
    child = os.fork()
    if not child:
        time.sleep(3600)
        os._exit(0)
    try:
        assert made._lock is not None
        os.close(made._lock)
        assert sweep("study-", tmp_path) == []
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert sweep("study-", tmp_path) == [made.path]
