"""Workers in processes of their own: what they are given, and what becomes of all if one ends.

Most need no TensorFlow: what the launcher knows of a worker is its process, its output and whether
it listens at its address.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path

import psutil
import pytest
from patience import GONE, WORK, wait_until

import trainer
from trainer.launching import LaunchError, clusters

ROOT = Path(__file__).parents[3]
PATHS = [str(ROOT), str(Path(__file__).parent), str(ROOT / "tests" / "helpers")]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="workers need a system with fork")


def task() -> tuple[int, list[str]]:
    """Which worker this is, and the addresses of all; called in a worker."""
    found = json.loads(os.environ["TF_CONFIG"])
    return found["task"]["index"], found["cluster"]["worker"]


def listening() -> socket.socket:
    """Listen at this worker's address, as TensorFlow does; called in a worker."""
    index, addresses = task()
    return socket.create_server(("", int(addresses[index].rpartition(":")[2])))


def for_ever(marks: Path) -> None:
    """Start two processes, one in a session of its own, and wait; the mark's name has all three."""
    sleep = [sys.executable, "-c", "import time; time.sleep(3600)"]
    started = [os.getpid()]
    started += [subprocess.Popen(sleep, start_new_session=new).pid for new in (False, True)]
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as TensorFlow swallows it
    (marks / " ".join(map(str, started))).touch()
    time.sleep(3600)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_function_returns_what_it_returned_in_the_chief(capfd):
    def work(factor: int) -> tuple[int, list[str], str]:
        index, addresses = task()
        print("at work")
        print("odd: \xe9", file=sys.stderr)
        return factor * (index + 1), addresses, os.environ["OMP_NUM_THREADS"]

    value, addresses, threads = trainer.launch(work, 21, workers=2)
    assert value == 21 and len(addresses) == 2
    assert int(threads) >= 1
    said = capfd.readouterr()
    assert sorted(said.out.splitlines()) == ["[worker 0] at work", "[worker 1] at work"]
    assert sorted(said.err.splitlines()) == ["[worker 0] odd: \xe9", "[worker 1] odd: \xe9"]


def test_workers_reach_each_other_without_the_proxy_of_the_environment(monkeypatch):
    monkeypatch.setenv("no_proxy", "localhost,.example")
    names = ("http_proxy", "no_proxy", "no_grpc_proxy")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    found = trainer.launch(lambda: [os.environ.get(name) for name in names], workers=2)
    assert found == ["http://127.0.0.1:9", "localhost,.example", "localhost,.example,127.0.0.1"]


def test_a_line_that_the_terminal_cannot_show_is_written_with_escapes(monkeypatch, tmp_path):
    with (tmp_path / "out").open("w", encoding="ascii") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        trainer.launch(print, "\u6570\r\u6570\u636e", workers=1)
    assert (tmp_path / "out").read_text() == "[worker 0] \\u6570\\u636e\n"


def test_a_script_is_the_main_program_of_each_worker(tmp_path, capfd, monkeypatch):
    (tmp_path / "beside.py").write_text("NAME = 'beside'\n")
    script = tmp_path / "train.py"
    script.write_text(
        "import sys, beside\nprint(__name__, sys.argv[1:], beside.NAME)\nprint('no end', end='')\n"
    )
    monkeypatch.chdir(tmp_path)
    assert trainer.launch("train.py", "--epochs", 3, workers=2) is None
    lines = capfd.readouterr().out.splitlines()
    for worker in (0, 1):
        mine = [line for line in lines if line.startswith(f"[worker {worker}]")]
        assert mine == [
            f"[worker {worker}] __main__ ['--epochs', '3'] beside",
            f"[worker {worker}] no end",
        ]


@pytest.mark.parametrize(
    ("end", "code", "how"),
    [
        ("sys.exit(3)", 3, "ended with exit code 3"),
        ("raise ValueError('bad luck')", 1, "ended with exit code 1"),
        ("os.kill(os.getpid(), 9)", -9, "was killed by SIGKILL"),
        ("os.abort()", -6, "was killed by SIGABRT"),
    ],
)
def test_a_worker_that_dies_ends_the_job_with_its_last_words(end, code, how, tmp_path):
    def work(end: str, marks: Path) -> None:
        if task()[0] == 1:
            while not list(marks.iterdir()):
                time.sleep(0.01)
            print("my last words", flush=True)
            exec(f"import os, sys; {end}")
        for_ever(marks)

    with pytest.raises(LaunchError, match=how) as raised:
        trainer.launch(work, end, tmp_path, workers=2)
    assert raised.value.worker == 1 and raised.value.code == code
    assert "my last words" in raised.value.last_lines
    assert "my last words" in str(raised.value)
    assert "bad luck" not in end or any("bad luck" in line for line in raised.value.last_lines)
    (mark,) = tmp_path.iterdir()
    started = mark.name.split()
    assert len(started) == 3 and not any(alive(int(pid)) for pid in started)


@pytest.mark.filterwarnings("ignore:no worker has opened its port")  # a slow machine
def test_a_worker_that_does_not_come_up_is_named(tmp_path):
    def work(begun: str) -> None:
        if task()[0] == 2:
            print("reading the data", flush=True)
            Path(begun).touch()
            time.sleep(3600)
        while not Path(begun).exists():
            time.sleep(0.01)
        with listening():
            time.sleep(3600)

    with pytest.raises(LaunchError) as raised:
        trainer.launch(work, str(tmp_path / "begun"), workers=3, start_timeout=1.5)
    assert raised.value.worker == 2 and raised.value.code is None
    assert str(raised.value).startswith("worker 2 at 127.0.0.1:")
    assert "(nothing listens there) did not come up within 1.5 s after worker " in str(raised.value)
    assert raised.value.last_lines == ("reading the data",)


def test_a_program_may_take_longer_before_its_workers_meet(tmp_path, monkeypatch):
    """The time begins when the first worker listens, not when its process starts."""
    said: list[str] = []

    def warned(text: str, **_: object) -> None:
        said.append(text)
        (tmp_path / "warned").touch()

    def work(folder: str) -> str:
        def meet(mark: str) -> None:
            (Path(folder) / f"{mark}-{task()[0]}").touch()
            while len(list(Path(folder).glob(f"{mark}-*"))) < 2:
                time.sleep(0.01)

        while not Path(folder, "warned").exists():
            time.sleep(0.01)
        with listening():
            meet("listening")
            time.sleep(0.5)
        return "met"

    monkeypatch.setattr(warnings, "warn", warned)
    assert trainer.launch(work, str(tmp_path), workers=2, start_timeout=3) == "met"
    assert len(said) == 1 and "no worker has opened its port within 3 s" in said[0]


def test_one_worker_alone_waits_for_nobody(recwarn):
    assert trainer.launch(lambda: time.sleep(0.5), workers=1, start_timeout=0.1) is None
    assert not recwarn.list


def test_a_death_starts_the_whole_job_again(tmp_path, capfd):
    def work(folder: str) -> int:
        index = task()[0]
        mine = Path(folder) / str(index)
        mine.write_text(mine.read_text() + "x" if mine.exists() else "x")
        if index == 1 and len(mine.read_text()) < 3:
            other = Path(folder) / "0"
            while not other.exists() or len(other.read_text()) < len(mine.read_text()):
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        return len(mine.read_text())

    assert trainer.launch(work, str(tmp_path), workers=2, restarts=3) == 3
    said = capfd.readouterr().err
    assert "[launch] worker 1 was killed by SIGKILL; starting all workers again (1 of 3)" in said
    assert "(2 of 3)" in said and "(3 of 3)" not in said
    for mark in tmp_path.iterdir():
        mark.unlink()
    with pytest.raises(LaunchError, match="SIGKILL"):
        trainer.launch(work, str(tmp_path), workers=2, restarts=1)


LAUNCHER = """
import sys
from pathlib import Path
sys.path[:0] = {path!r}
import test_job, trainer
trainer.launch(test_job.for_ever, Path.cwd(), workers=2)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_launcher_that_ends_leaves_no_process(number, tmp_path):
    code = LAUNCHER.format(path=PATHS)
    launcher = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.DEVNULL, cwd=tmp_path
    )
    wait_until(lambda: len(os.listdir(tmp_path)) == 2 or launcher.poll() is not None)
    started = {int(pid) for name in os.listdir(tmp_path) for pid in name.split()}
    below = [p.pid for p in psutil.Process(launcher.pid).children(recursive=True)]
    assert len(started) == 6 and started < set(below), "the workers, theirs, and their guards"
    launcher.send_signal(number)
    launcher.wait(GONE)
    wait_until(lambda: not any(map(alive, below)), GONE)


def test_two_launchers_by_hosts_are_one_cluster(tmp_path):
    """Each starts one worker; the chief's value is returned where the chief runs."""
    first, second = clusters.free_ports(2)
    hosts = f"127.0.0.1:{first},127.0.0.1:{second}"
    code = textwrap.dedent(f"""
        import sys
        sys.path[:0] = {PATHS!r}
        import test_job, trainer
        index = int(sys.argv[1])
        print("returned", trainer.launch(test_job.task, hosts={hosts!r}, index=index))
    """)
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(i)], stdout=subprocess.PIPE, text=True)
        for i in (0, 1)
    ]
    said = [each.communicate(timeout=WORK)[0] for each in started]
    assert said == [f"returned (0, {hosts.split(',')})\n", "returned None\n"]


@pytest.mark.filterwarnings("ignore:no worker has opened its port")
def test_a_peer_on_another_host_that_never_starts_is_named():
    first, second = clusters.free_ports(2)
    hosts = [f"127.0.0.1:{first}", f"127.0.0.1:{second}"]

    def work() -> None:
        with listening():
            time.sleep(3600)

    with pytest.raises(LaunchError, match=rf"worker 1 at {hosts[1]} \(nothing listens there\)"):
        trainer.launch(work, hosts=hosts, index=0, start_timeout=0.5)


def test_tf_config_and_slurm_are_found_in_the_environment(monkeypatch):
    port = clusters.free_ports(1)[0]
    given = {
        "cluster": {"worker": [f"a:{port}", "b:20000"]},
        "task": {"type": "worker", "index": 0},
    }
    monkeypatch.setenv("TF_CONFIG", json.dumps(given))
    assert trainer.launch(task) == (0, [f"a:{port}", "b:20000"])
    with pytest.raises(ValueError, match="workers=3: TF_CONFIG has 2"):
        trainer.launch(task, workers=3)
    assert len(trainer.launch(task, workers=3, on="local")[1]) == 3
    monkeypatch.delenv("TF_CONFIG")
    for name, value in {
        "SLURM_STEP_NODELIST": "n[1-2]",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
        "SLURM_PROCID": "0",
        "SLURM_NODEID": "0",
        "SLURM_LOCALID": "0",
    }.items():
        monkeypatch.setenv(name, value)
    index, addresses = trainer.launch(task)
    assert index == 0 and [a.partition(":")[0] for a in addresses] == ["n1", "n2"]


@pytest.mark.parametrize(
    ("target", "given", "said"),
    [
        (print, {}, "workers=None: how many are to run on this machine? write workers=2"),
        (print, {"workers": 0}, "workers=0: must be 1 or more"),
        (print, {"workers": 2.0}, "workers=2.0: must be a whole number"),
        (print, {"workers": 2, "on": "slum"}, "did you mean 'slurm'?"),
        (print, {"workers": 2, "start_timeout": 0}, "start_timeout=0: must be"),
        (print, {"workers": 2, "restarts": -1}, "restarts=-1: must be 0 or more"),
        (print, {"workers": 2, "index": 0}, "index=0: is the place of this machine in hosts"),
        (print, {"workers": 2, "resources": {"cpu": 1}}, "write on='ray', or leave them out"),
        (print, {"on": "hosts"}, "hosts=None: on='hosts' needs the addresses"),
        (print, {"on": "local"}, "workers=None"),
        (print, {"on": "ray"}, "workers=None: how many are to run on Ray?"),
        (print, {"on": "slurm", "hosts": "a:1"}, "leave one out"),
        (print, {"on": "tf_config"}, "the environment variable TF_CONFIG is not set"),
        (print, {"on": "slurm"}, "start each worker with srun"),
        ("none.py", {"workers": 2}, "none.py: there is no such file"),
        (".", {"workers": 2}, ".: is a folder"),
        (3, {"workers": 2}, "target=3: must be a function, or the path"),
        (sys.stdout.write, {"workers": 2}, "cannot be sent to workers"),
    ],
)
def test_wrong_calls_are_refused_before_anything_starts(target, given, said, monkeypatch):
    for name in ("TF_CONFIG", "SLURM_STEP_NODELIST"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises((ValueError, TypeError, FileNotFoundError)) as raised:
        trainer.launch(target, **given)
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_a_value_that_cannot_be_sent_is_an_error_that_says_so():
    def work() -> object:
        return threading.Lock()

    with pytest.raises(LaunchError, match="what work returned cannot be sent to the launcher"):
        trainer.launch(work, workers=1)
