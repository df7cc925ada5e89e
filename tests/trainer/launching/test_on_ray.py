"""Workers on a real Ray cluster of two nodes on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from network import alone
from patience import GONE, WORK

ROOT = Path(__file__).parents[3]
SCRIPT = """
import json, os, signal, sys, time
import trainer
from trainer.launching import LaunchError

def work(mode, folder):
    cluster = json.loads(os.environ["TF_CONFIG"])
    index = cluster["task"]["index"]
    print("at work", flush=True)
    if mode == "well":
        return index, cluster["cluster"]["worker"], os.environ["OMP_NUM_THREADS"]
    if mode == "lost":
        import psutil
        if index == 1:
            psutil.Process().parents()[2].kill()  # of Ray, above both guards
        time.sleep(3600)
    if index == 0:  # and something in a session of its own
        import subprocess
        sleep = [sys.executable, "-c", "import time; time.sleep(3600)"]
        started = [os.getpid(), subprocess.Popen(sleep, start_new_session=True).pid]
        with open(os.path.join(folder, "part"), "w") as file:
            file.write(json.dumps(started))
        os.rename(os.path.join(folder, "part"), os.path.join(folder, "started"))
        time.sleep(3600)
    while not os.path.exists(os.path.join(folder, "started")):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    import psutil
    from ray.cluster_utils import Cluster
    import ray

    folder = sys.argv[1]
    quiet = {"include_dashboard": False, "num_cpus": 2, "node_ip_address": "127.0.0.1"}
    cluster = Cluster(initialize_head=True, head_node_args=quiet)
    cluster.add_node(num_cpus=2, node_ip_address="127.0.0.1")
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    said = {"well": trainer.launch(work, "well", folder, workers=2, on="ray",
                                   resources={"cpu": 2}, start_timeout=1200)}
    cancel, said["cancelled"] = ray.cancel, []
    def cancel_and_tell(generator, force):
        said["cancelled"].append(force)
        cancel(generator, force=force)
    ray.cancel = cancel_and_tell
    try:
        trainer.launch(work, "die", folder, workers=2, on="ray", start_timeout=1200)
    except LaunchError as error:
        said["died"] = [error.worker, error.code, list(error.last_lines)]
    ray.cancel = cancel
    with open(os.path.join(folder, "started")) as file:
        started = json.load(file)
    until = time.monotonic() + 300
    while any(map(psutil.pid_exists, started)) and time.monotonic() < until:
        time.sleep(0.05)
    said["left"] = list(filter(psutil.pid_exists, started))
    try:
        trainer.launch(work, "lost", folder, workers=2, on="ray", start_timeout=1200)
    except LaunchError as error:
        said["lost"] = [error.worker, error.code, str(error)]
    try:
        trainer.launch(work, "well", folder, workers=5, on="ray", start_timeout=0.5)
    except LaunchError as error:
        said["room"] = str(error)
    script = os.path.join(folder, "gone.py")
    open(script, "w").close()
    from trainer.launching import on_ray, processes
    program = processes.Program(script=script)
    os.remove(script)
    for event in on_ray.run(program, 1, None, start_timeout=1200):
        said["script"] = [event.text, event.fatal]
    print("said", json.dumps(said), flush=True)
    ray.shutdown()
    cluster.shutdown()
"""


def test_workers_of_a_ray_cluster_are_placed_run_and_ended(tmp_path):
    pytest.importorskip("ray", reason="the extra [ray] is not installed")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with alone():
        done = subprocess.run(
            [sys.executable, str(script), str(tmp_path)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_ADDRESS": ""},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=WORK,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    (line,) = (line for line in lines if line.startswith("said "))
    said = json.loads(line.removeprefix("said "))
    index, addresses, threads = said["well"]
    assert index == 0 and threads == "2"
    assert len(set(addresses)) == 2 and all(a.startswith("127.0.0.1:") for a in addresses)
    assert {"[worker 0] at work", "[worker 1] at work"} <= set(lines)
    assert said["died"] == [1, -9, ["at work"]]
    assert said["cancelled"].count(False) == 1, "the task of the other worker alone"
    assert not said["left"], "what the other worker had started"
    worker, code, text = said["lost"]
    assert (worker, code) == (1, -9) and text.startswith("worker 1 was lost with its task: ")
    assert said["room"].startswith("Ray has found no room for 5 workers of {'CPU': 1.0} within")
    text, fatal = said["script"]
    assert fatal and "there is no file" in text and "all nodes share" in text


DRIVER = """
import os, subprocess, sys, time
import ray, trainer

def for_ever():
    sleep = [sys.executable, "-c", "import time; time.sleep(3600)"]
    started = [os.getpid(), subprocess.Popen(sleep, start_new_session=True).pid]
    print("started", *started, flush=True)
    time.sleep(3600)

if __name__ == "__main__":
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False,
             logging_level="ERROR", _node_ip_address="127.0.0.1")
    trainer.launch(for_ever, workers=2, on="ray", start_timeout=1200)
"""


def test_a_driver_that_is_killed_leaves_no_worker(tmp_path):
    pytest.importorskip("ray", reason="the extra [ray] is not installed")
    (tmp_path / "driver.py").write_text(DRIVER)
    with alone(), (tmp_path / "out").open("w") as out, (tmp_path / "errors").open("w") as errors:
        driver = subprocess.Popen(
            [sys.executable, "driver.py"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            stdout=out,
            stderr=errors,
        )

    def started() -> list[int]:
        lines = (tmp_path / "out").read_text().splitlines()
        return [int(pid) for line in lines if "] started " in line for pid in line.split()[3:]]

    until = time.monotonic() + WORK
    while len(started()) < 4:
        said = (tmp_path / "errors").read_text()
        assert driver.poll() is None and time.monotonic() < until, said
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    until = time.monotonic() + GONE
    while left := [pid for pid in started() if psutil.pid_exists(pid)]:
        assert time.monotonic() < until, left
        time.sleep(0.05)


def test_a_cluster_that_does_not_answer_is_named(monkeypatch):
    pytest.importorskip("ray", reason="the extra [ray] is not installed")
    import trainer

    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(ValueError, match=r"RAY_ADDRESS='127.0.0.1:1': nothing answers there"):
        trainer.launch(print, workers=2, on="ray")
    monkeypatch.setenv("RAY_ADDRESS", "ray://127.0.0.1:10001")
    with pytest.raises(ValueError, match="ray job submit"):
        trainer.launch(print, workers=2, on="ray")


@pytest.mark.parametrize("wrong", [{}, ["cpu"], {"cpu": 0}, {"gpu": "1"}, {"cpu": 1.5}, {"CPU": 1}])
def test_resources_that_are_wrong(wrong):
    import trainer

    with pytest.raises((TypeError, ValueError), match="resources"):
        trainer.launch(print, workers=2, on="ray", resources=wrong)
