"""The example of every command runs as printed, in the order in which a user would write them."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import command_line
import numpy as np
import pytest
from patience import SECONDS

from trainer import cli

YAML = """\
data: house.csv
target: price
space:
  learning_rate: {low: 0.001, high: 0.1, log: true}
  batch_size: [8, 16]
fields: {epochs: 1, model: mlp, verbose: 0}
tuner: random
max_trials: 2
workers: 1
seed: 0
verbose: 0
"""
TRAIN = """\
import json, os, sys
print(json.loads(os.environ["TF_CONFIG"])["task"]["index"], sys.argv[1:])
"""
# What is added to an example so that it takes no longer than a test may.
QUICK = {"fit": "--epochs 2 --model mlp --random_state 0 --callbacks [tensorboard] --verbose 0"}
WAITING = ("serve", "tensorboard")  # until Ctrl-C


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which two runs were trained by the example of fit."""
    path = tmp_path_factory.mktemp("house")
    command_line.houses(path / "house.csv", 60)
    command_line.houses(path / "new.csv", 5, price=False, seed=1)
    (path / "study.yaml").write_text(YAML)
    (path / "train.py").write_text(TRAIN)
    for seed in ("0", "1"):
        done = example("fit", path, "--random_state", seed)
        assert done.returncode == 0, done.stderr
        assert not done.stderr, "nothing to warn of"
    return path


def words_of(name: str) -> list[str]:
    """The words of a command's example, after `trainer`."""
    program, *words = shlex.split(cli.find(name).example)
    assert program == "trainer" and words[0] == name
    return [*words, *shlex.split(QUICK.get(name, ""))]


def example(name: str, folder, *more: str):
    return command_line.fork(*words_of(name), *more, cwd=folder)


def test_fit_says_the_task_and_the_score_and_records_what_it_was_called_with(folder):
    found = json.loads((folder / "runs" / "house-1" / "config.json").read_text())
    assert found["source"].pop("test")["x"].startswith("table of 12 rows, ")
    assert found["source"] == {
        "data": str(folder / "house.csv"),
        "target": "price",
        "split_seed": 0,
        "as_text": False,
        "image_size": None,
        "broken_images": "raise",
        "trainer": "Regressor",
        "fields": {
            "epochs": 2,
            "model": "mlp",
            "random_state": 0,
            "callbacks": ["tensorboard"],
            "verbose": 0,
        },
    }
    evaluation = json.loads((folder / "runs" / "house-1" / "evaluation.json").read_text())
    assert evaluation["rows"] == "12 test rows of house.csv"
    assert evaluation["score"]["name"] == "R squared"


def test_runs_lists_them(folder):
    done = example("runs", folder)
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["name", "data"],
        ["house-1", "house.csv"],
        ["house-2", "house.csv"],
    ]
    assert all("R squared" in line and line.endswith("finished") for line in lines[1:])


def test_a_finished_run_is_resumed_unchanged(folder):
    before = (folder / "runs" / "house-1" / "model.keras").read_bytes()
    done = example("resume", folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "runs" / "house-1" / "model.keras").read_bytes() == before


def test_evaluate_scores_all_rows_of_a_file(folder):
    done, own = command_line.several([words_of("evaluate"), ["evaluate", "runs/house-1"]], folder)
    assert done.stdout.startswith("on 60 rows of house.csv:\n  R squared  "), done.stderr
    (loss,) = (line for line in done.stdout.splitlines() if line.startswith("  loss "))
    assert loss.endswith(", of the standardised target: 1 is that of predicting its mean")
    assert own.stdout.startswith("on 12 test rows of house.csv:\n")


def test_predict_equals_the_python_api(folder):
    from trainer import Regressor
    from trainer.datasets.table_files import read_table

    words = ["predict", "runs/house-1/model.keras", "--data", "new.csv", "--out", "p.npy"]
    done, own = command_line.several([words_of("predict"), words], folder)
    assert done.stdout == "5 predictions: predictions.csv\n", done.stderr
    with (folder / "predictions.csv").open(encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    loaded = Regressor.load(folder / "runs" / "house-1")
    wanted = loaded.predict(read_table(folder / "new.csv").frame)
    assert header == ["prediction"]
    assert np.array_equal(np.array(rows, float)[:, 0], wanted)
    assert own.returncode == 0, own.stderr
    assert np.array_equal(np.load(folder / "p.npy"), wanted)


def test_compare_says_what_differs_and_draws(folder):
    done = example("compare", folder)
    assert "random_state was 0, is 1" in done.stdout and "seed" in done.stdout, done.stderr
    assert (folder / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_fit_and_report_write_a_page(folder):
    page = (folder / "runs" / "house-1" / "report.html").read_text("utf-8")
    assert "Learning curves" in page and "trainer fit --data" in page
    done = example("report", folder)
    assert done.returncode == 0, done.stderr
    # what was decided of a machine is known to the fit alone
    fresh = re.sub(r"decisions  .*\n", "", page)
    assert (folder / "report.html").read_text("utf-8") == fresh


def test_export_writes_a_model(folder):
    done = example("export", folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "exported" / "saved_model.pb").is_file()


def test_launch_runs_the_script_in_each_worker(folder):
    done = example("launch", folder)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert sorted(done.stdout.splitlines()) == [
        f"[worker {i}] {i} ['--epochs', '3']" for i in range(2)
    ]


def test_serve_answers_until_ctrl_c(folder):
    words = words_of("serve")
    words[words.index("8000")] = "0"
    started = command_line.start(*words, cwd=folder)
    try:
        line = started.wait_for("Regressor is served at ")
        url = line.rpartition(" ")[2]
        body = json.dumps([{"size": 50, "town": "Rome"}]).encode()
        head = {"Content-Type": "application/json"}
        asked = urllib.request.Request(f"{url}/predict", body, head)
        with urllib.request.urlopen(asked, timeout=SECONDS) as answer:
            assert len(json.load(answer)["predictions"]) == 1
        assert command_line.ctrl_c(started) == 0, started.error()
    finally:
        started.kill()


def test_tensorboard_answers_until_ctrl_c(folder):
    pytest.importorskip("tensorboard", reason="the package tensorboard is not installed")
    words = words_of("tensorboard")
    words[words.index("6006")] = "0"
    started = command_line.start(*words, cwd=folder)
    try:
        while "http://" not in started.error():
            assert started.poll() is None, started.error()
            time.sleep(0.05)
        (url,) = {w for w in started.error().split() if w.startswith("http://")}
        expected = {"house-1/tensorboard/train", "house-2/tensorboard/validation"}
        found: list[str] = []
        until = time.monotonic() + SECONDS
        while not expected <= set(found):  # it answers while it is still reading
            assert time.monotonic() < until, found
            with urllib.request.urlopen(f"{url}data/runs", timeout=SECONDS) as answer:
                found = json.load(answer)
            time.sleep(0.05)
        assert command_line.ctrl_c(started) == 0, started.error()
    finally:
        started.kill()


def test_search_and_studies_are_joined_by_their_entry_points(folder):
    calls = [
        ["search", "--config", "study.yaml"],
        ["predict", "studies/house/best.keras", "--data", "new.csv", "--out", "best.csv"],
        ["studies"],
        ["evaluate", "studies/house"],
        ["evaluate", "studies/house/best.keras"],
    ]
    done, predicted, table, folder_given, file_given = command_line.several(calls, folder)
    assert done.returncode == 0, done.stderr
    assert "model: studies/house/best.keras" in done.stdout
    assert predicted.returncode == 0, predicted.stderr
    said = "studies/house: is a folder without a run; its model is studies/house/best.keras"
    assert folder_given.returncode == 2 and said in folder_given.stderr
    assert "a file of a model does not know its data" in file_given.stderr
    listed = table.stdout.splitlines()
    assert listed[0].split() == ["name", "class", "score", "best", "trials", "failed", "began"]
    assert listed[1].split()[:3] == ["house", "Regressor", "val_loss"]
    assert listed[1].split()[4:6] == ["2", "0"]


def test_datasets_callbacks_and_completion_are_listed(folder):
    done = command_line.call("datasets", "--timeout", "0.1", cwd=folder)
    assert any(line.split()[:2] == ["iris", "ready"] for line in done.stdout.splitlines())
    done = command_line.call("callbacks", cwd=folder)
    found = [line.split()[0] for line in done.stdout.splitlines()]
    # other tests of this process may have registered their own
    assert {"checkpoint", "early_stopping", "tensorboard", "unfreeze"} <= set(found)
    for shell in ("bash", "zsh", "fish"):
        done = command_line.call("completion", shell, cwd=folder)
        assert "learning_rate" in done.stdout and "doctor" in done.stdout, done.stderr


COMPLETE = """\
eval "$("$1" -m trainer completion bash)"
COMP_WORDS=($2) COMP_CWORD=$(($# == 3 ? $3 : 1)) COMPREPLY=()
$(complete -p trainer | sed 's/.*-F \\([^ ]*\\).*/\\1/')
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize(
    ("words", "found"),
    [("trainer ev", ["evaluate"]), ("trainer fit --learning_r", ["--learning_rate"])],
)
def test_bash_completes_a_command_and_an_option(words, found, folder):
    place = str(len(words.split()) - 1)
    call = ["bash", "-c", COMPLETE, "complete", sys.executable, words, place]
    done = subprocess.run(
        call, cwd=folder, env=command_line.environment(), capture_output=True, text=True
    )
    assert done.stdout.split() == found, done.stderr


def test_every_command_has_an_example_that_is_run_here():
    tested = Path(__file__).read_text("utf-8")
    for name in cli.BUILT_IN:  # test_installation runs doctor
        assert f'"{name}"' in tested or name == "doctor", name
