"""`trainer fit` and `resume`: classes of the user's, interruptions, and runs from Python."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal

import command_line
import numpy as np
import pytest
from PIL import Image

from trainer import Classifier, Regressor, datasets

NET = """\
from typing import Annotated
import keras
from beside import UNITS
from trainer import Int, Regressor

class Net(Regressor):
    '''A network.

    Attributes:
        units: how many units the layer has.
    '''

    units: Annotated[int, Int(2, 8)] = UNITS

    def build_model(self, spec):
        return keras.Sequential(
            [keras.Input(spec.input_shape), keras.layers.Dense(self.units), keras.layers.Dense(1)]
        )
"""
FIT = [
    *("fit", "--data", "house.csv", "--target", "price", "--verbose", "0", "--random_state", "0"),
    *("--model", "mlp", "--epochs", "6", "--save_steps", "1"),
]
EPOCH_BEGINS = "trainer.runs.run_log:RunLog.on_epoch_begin"


def weights(folder) -> list[np.ndarray]:
    return Regressor.load(folder).model_.get_weights()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a table, and a run that was not interrupted."""
    path = tmp_path_factory.mktemp("house")
    command_line.houses(path / "house.csv", 60)
    done = command_line.fork(*FIT, "--run_dir", "runs/whole", cwd=path)
    assert done.returncode == 0, done.stderr
    return path


def is_whole(run) -> bool:
    """Whether a run has the weights of the one that was not interrupted."""
    pairs = zip(weights(run.parent / "whole"), weights(run), strict=True)
    return all(np.array_equal(one, other) for one, other in pairs)


def test_fit_and_resume_are_interrupted_by_ctrl_c_and_end_with_the_same_weights(folder):
    run = folder / "runs" / "cut"

    def cut(*words: str) -> None:
        started = command_line.start_held(*words, cwd=folder, at=EPOCH_BEGINS, calls=3)
        code = command_line.ctrl_c(started)
        said = "trainer: interrupted, and saved; trainer resume runs/cut continues it"
        assert (code, started.error().splitlines()[-1]) == (130, said)

    cut(*FIT, "--run_dir", "runs/cut")
    cut("resume", "runs/cut")
    listed, resumed = command_line.several([["runs"], ["resume", "runs/cut"]], folder)
    assert re.search(r"^cut .* stopped by SIGINT$", listed.stdout, re.M)
    assert resumed.returncode == 0, resumed.stderr
    assert (run / "run.log").read_text().count("resumes from epoch") == 2
    assert is_whole(run)


def test_a_finished_run_says_how_it_is_trained_further(folder):
    longer = [word if word != "6" else "7" for word in FIT]
    (done,) = command_line.several([[*longer, "--run_dir", "runs/whole"]], folder)
    assert done.returncode == 2
    says = "train it to 7 epochs from Python with fit(..., resume=True), which no command does"
    assert says in done.stderr, done.stderr


def test_a_fit_that_was_killed_is_resumed_to_the_same_weights(folder):
    run = folder / "runs" / "killed"
    words = [*FIT, "--run_dir", "runs/killed"]
    started = command_line.start_held(*words, cwd=folder, at=EPOCH_BEGINS, calls=3)
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    listed, resumed = command_line.several([["runs"], ["resume", "runs/killed"]], folder)
    assert re.search(r"^killed .* unfinished$", listed.stdout, re.M)
    assert resumed.returncode == 0, resumed.stderr
    assert "resumes from epoch" in (run / "run.log").read_text()
    assert is_whole(run)


def test_a_fit_that_fails_before_it_trains_leaves_no_folder(folder, tmp_path):
    (tmp_path / "net.py").write_text(
        "from trainer import Regressor\n\nclass Net(Regressor):\n"
        "    def build_model(self, spec):\n        raise ImportError('no module for this')\n"
    )
    words = ["fit", "--data", folder / "house.csv", "--target", "price", "--trainer", "net.py:Net"]
    done = command_line.fork(*words, cwd=tmp_path)
    assert done.returncode == 2 and "no module for this" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["net.py"]


def test_classes_that_are_whole_texts_are_not_all_named(tmp_path):
    draw = np.random.default_rng(0)
    rows = [" ".join(draw.choice(["good", "bad", "film"], 30)) for _ in range(60)]
    text = "".join(f"{row},{i % 3}\n" for i, row in enumerate(rows))
    (tmp_path / "texts.csv").write_text(f"said,kind\n{text}")
    done = command_line.fork("fit", "--data", "texts.csv", "--target", "said", cwd=tmp_path)
    line = done.stderr.splitlines()[-1]
    assert done.returncode == 2 and "too few rows to be in each part" in line
    assert len(line) < 700


def test_a_class_in_a_file_is_trained_with_its_fields_and_found_again(tmp_path):
    command_line.houses(tmp_path / "house.csv", 40)
    (tmp_path / "beside.py").write_text("UNITS = 3\n")
    (tmp_path / "net.py").write_text(NET)
    text = command_line.fork("fit", "--trainer", "net.py:Net", "--help", cwd=tmp_path).stdout
    assert "--units UNITS" in text and "how many units the layer has." in text
    (tmp_path / "run.yaml").write_text(
        "data: house.csv\ntarget: price\ntrainer: net.py:Net\nunits: 5\nepochs: 1\nverbose: 0\n"
        "normalize: standard\ncallbacks: [{name: early_stopping, patience: 2}]\n"
    )
    printed = command_line.fork("fit", "--config", "run.yaml", "--print_config", cwd=tmp_path)
    assert "units: 5" in printed.stdout and "shuffle: true" in printed.stdout, printed.stderr
    (tmp_path / "printed.yaml").write_text(printed.stdout)
    done = command_line.fork("fit", "--config", "printed.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "task: " in done.stdout and "net.py:Net, as --trainer says" in done.stdout
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    run = tmp_path / "runs" / "house-1"
    done = command_line.fork("evaluate", run, cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    # whoever sends a run does not decide which code is executed
    evil = tmp_path / "evil.py"
    evil.write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n{NET}")
    config = json.loads((run / "config.json").read_text())
    for place in (f"{evil}:Net", "evil:Net"):
        config["source"]["trainer"] = place
        (run / "config.json").write_text(json.dumps(config))
        done = command_line.fork("evaluate", run, cwd=tmp_path)
        assert done.returncode == 2 and "was not trained by you" in done.stderr
        assert not (tmp_path / "executed").exists()


PYTHON = """\
import sys
from trainer import Regressor, datasets
data = datasets.load("house.csv", target="price")
fields = {"epochs": 6, "model": "mlp", "random_state": 0, "verbose": 0, "save_steps": 1}
Regressor(**fields, run_dir=sys.argv[1]).fit(*data.train, validation_data=data.valid)
"""


def test_a_run_from_python_is_resumed_with_the_data_that_the_call_names(folder):
    run = folder / "runs" / "own"
    started = command_line.start_held("runs/own", cwd=folder, at=EPOCH_BEGINS, calls=3, code=PYTHON)
    os.kill(started.pid, signal.SIGTERM)
    assert started.wait() == 143
    words = ["resume", "runs/own"]
    calls = [words, [*words, "--data", "house.csv", "--target", "price"], ["runs"]]
    unknown, resumed, listed = command_line.several(calls, folder)
    assert unknown.returncode == 2
    assert "write trainer resume runs/own --data house.csv" in unknown.stderr
    assert resumed.returncode == 0, resumed.stderr
    assert re.search(r"^own +\(from Python\) .* finished$", listed.stdout, re.M)
    assert is_whole(run)


def test_rows_to_predict_may_be_odd(tmp_path):
    command_line.houses(tmp_path / "house.csv", 60)
    with (tmp_path / "house.csv").open(encoding="utf-8") as file:
        rows = [
            [size, town, "dear" if float(price) > 450 else "=cheap"]
            for size, town, price in list(csv.reader(file))[1:]
        ]
    with (tmp_path / "class.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["size", "town", "price"], *rows])
    words = ["fit", "--data", "class.csv", "--target", "price", "--verbose", "0", "--epochs", "1"]
    done = command_line.fork(*words, "--run_dir", "run", cwd=tmp_path)
    assert "task: classification into 2 classes" in done.stdout, done.stderr
    tables = {
        "unseen": "size,town\n50,Paris\n",
        "missing": "size,town\n,\n60,Rome\n",
        "with_target": "size,town,price\n50,Rome,dear\n",
        "more": "size,town,garden\n50,Rome,1\n",
        "less": "size\n50\n",
    }
    for name, text in tables.items():
        (tmp_path / f"{name}.csv").write_text(text)
    calls = [["predict", "run", "--data", f"{n}.csv", "--out", f"{n}_out.csv"] for n in tables]
    calls += [[*calls[3], "--extra_columns", "ignore"]]
    *found, ignoring = command_line.several(calls, tmp_path)
    said = {n: (d.returncode, d.stderr.splitlines()) for n, d in zip(tables, found, strict=True)}
    for name in ("unseen", "missing", "with_target"):
        assert said[name][0] == 0, said[name]
        with (tmp_path / f"{name}_out.csv").open(encoding="utf-8") as file:
            header, *found = csv.reader(file)
        # the first apostrophe keeps a spreadsheet from calculating it
        assert header == ["prediction", "probability_=cheap", "probability_dear"]
        assert all(abs(float(a) + float(b) - 1) < 1e-6 for _, a, b in found)
    for name, what in (("more", "garden"), ("less", "town")):
        code, lines = said[name]
        assert code == 2 and what in lines[-1] and lines[-1].startswith(f"trainer: --data {name}")
    assert not (tmp_path / "less_out.csv").exists()
    assert "--extra_columns ignore" in said["more"][1][-1]
    assert ignoring.returncode == 0 and (tmp_path / "more_out.csv").exists(), ignoring.stderr


def test_images_in_folders_are_trained_on_and_images_in_a_folder_predicted(tmp_path):
    draw = np.random.default_rng(0)
    for name, level in (("dark", 0), ("light", 200)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(8):
            pixels = draw.integers(level, level + 50, (4 + i % 2, 4), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    (tmp_path / "new").mkdir()
    shutil.copy(tmp_path / "photos" / "light" / "1.png", tmp_path / "new" / "=b.png")
    shutil.copy(tmp_path / "photos" / "dark" / "0.png", tmp_path / "new" / "a.png")
    fit = ["fit", "--data", "photos", "--image_size", "[4, 4]", "--epochs", "1", "--verbose", "0"]
    calls = [
        [*fit, "--run_dir", "run", "--model", "mlp"],
        ["predict", "run", "--data", "new", "--out", "p.csv"],
        ["predict", "run", "--data", "photos", "--out", "p.npy"],
    ]
    fitted, predicted, as_array = command_line.several(calls, tmp_path)
    assert "as photos has folders of images" in fitted.stdout, fitted.stderr
    assert predicted.returncode == as_array.returncode == 0, predicted.stderr + as_array.stderr
    with (tmp_path / "p.csv").open(encoding="utf-8") as file:
        header, *found = csv.reader(file)
    assert header == ["file", "prediction", "probability_0", "probability_1"]
    assert [row[0] for row in found] == ["'=b.png", "a.png"]
    assert len(np.load(tmp_path / "p.npy")) == 16


def test_a_named_data_set_is_trained_on_and_its_test_rows_are_predicted(tmp_path):
    fit = ["fit", "--data", "iris", "--epochs", "1", "--verbose", "0", "--run_dir", "run"]
    calls = [fit, ["predict", "run", "--data", "iris", "--out", "p.npy"], ["evaluate", "run"]]
    found = command_line.several(calls, tmp_path)
    assert [done.returncode for done in found] == [0, 0, 0], [done.stderr for done in found]
    assert found[2].stdout.startswith("on 30 test rows of iris:")
    wanted = Classifier.load(tmp_path / "run").predict(datasets.load("iris").test.x)
    assert np.array_equal(np.load(tmp_path / "p.npy"), wanted)
