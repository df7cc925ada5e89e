"""`trainer launch`: what is the script's, its exit code, and what is left when it is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import command_line
import psutil
from patience import GONE, SECONDS

TRAIN = """\
import json, os, sys, time
index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
print(sys.argv[1:], flush=True)
if sys.argv[1:] == ["die"] and index == 1:
    sys.exit("no more data")
if sys.argv[1:] == ["killed"] and index == 1:
    os.kill(os.getpid(), 9)
if sys.argv[1:] != ["--help", "--debug", "--workers", "7"]:
    open(f"{os.getpid()}.started", "w").close()
    time.sleep(3600)
"""


def test_words_after_the_script_are_its_own(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    words = ["--workers=2", "train.py", "--help", "--debug", "--workers", "7"]
    done = command_line.call("launch", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = "['--help', '--debug', '--workers', '7']"
    assert sorted(done.stdout.splitlines()) == [f"[worker {i}] {said}" for i in range(2)]


def test_the_exit_code_is_that_of_the_worker_that_died(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    given = ["launch", "--workers", "2", "--start-timeout", "90", "train.py"]
    died, killed = command_line.several([[*given, "die"], [*given, "killed"]], tmp_path)
    assert died.returncode == 1
    said = "trainer: worker 1 ended with exit code 1. Its last lines:\n  ['die']\n  no more data\n"
    assert died.stderr.endswith(said)
    assert "[worker 1] no more data" in died.stderr
    assert killed.returncode == 128 + signal.SIGKILL
    assert "trainer: worker 1 was killed by SIGKILL. Its last lines:" in killed.stderr


def test_sigterm_ends_the_workers_before_the_launcher(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    words = [sys.executable, "-m", "trainer", "launch", "--workers", "2", "train.py"]
    launcher = subprocess.Popen(
        words, cwd=tmp_path, env=command_line.environment(), stdout=subprocess.DEVNULL
    )
    until = time.monotonic() + SECONDS
    while len(found := list(tmp_path.glob("*.started"))) < 2:
        assert launcher.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(GONE) == 128 + signal.SIGTERM
    assert not any(psutil.pid_exists(int(mark.stem)) for mark in found)
    assert os.listdir(tmp_path)


def test_ctrl_c_ends_the_workers_and_is_one_line(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    started = command_line.start("launch", "--workers", "2", "train.py", cwd=tmp_path)
    until = time.monotonic() + SECONDS
    while len(found := list(tmp_path.glob("*.started"))) < 2:
        assert started.poll() is None and time.monotonic() < until, started.error()
        time.sleep(0.01)
    assert command_line.ctrl_c(started) == 130
    assert started.error().splitlines()[-1] == "trainer: interrupted"
    assert not any(psutil.pid_exists(int(mark.stem)) for mark in found)
    assert "Traceback" not in started.error()
