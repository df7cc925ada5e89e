"""`trainer search` resumes what Ctrl-C stopped, with a class of a file; `trainer studies`."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import command_line
import pytest
from ended_trials import ended

from search import TunerSearch
from search.commands import SEARCH

NET = """\
from typing import Annotated
import keras
from trainer import Int, Regressor

class Net(Regressor):
    units: Annotated[int, Int(2, 8)] = 4

    def build_model(self, spec):
        return keras.Sequential(
            [keras.Input(spec.input_shape), keras.layers.Dense(self.units), keras.layers.Dense(1)]
        )
"""
YAML = """\
data: house.csv
target: price
trainer: net.py:Net
fields: {epochs: 1, verbose: 0, normalize: standard}
directory: studies/units
tuner: random
max_trials: 3
workers: 1
seed: 0
verbose: 0
"""


def test_a_search_that_was_interrupted_is_resumed_by_the_same_call(tmp_path):
    command_line.houses(tmp_path / "house.csv", 40)
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "study.yaml").write_text(YAML)
    words = ["search", "--config", "study.yaml"]
    started = command_line.start_held(
        *words, cwd=tmp_path, at="search.study.storage:Store.start", calls=2
    )
    study = tmp_path / "studies" / "units" / "study.sqlite"
    assert command_line.ctrl_c(started) == 130, started.error()
    said = "trainer: interrupted, and saved in studies/units; the same call resumes it"
    assert started.error().splitlines()[-1] == said
    before = ended(study)
    assert before == 1
    done, listed = command_line.several([words, ["studies"]], tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^units +Net +val_loss +\S+ +3 +0 ", listed.stdout, re.M), listed.stdout
    assert (tmp_path / "studies" / "units" / "best.keras").is_file()


@pytest.mark.parametrize(
    ("python", "in_a_file"),
    [
        (
            "write Float(1e-4, 1e-1, log=True) or [1]",
            "write {low: 1e-4, high: 1e-1, log: true} or [1]",
        ),
        ("Int(when=None, low=1, high=5, step=2, log=False)", "{low: 1, high: 5, step: 2}"),
        ("write objective=('val_acuracy', 'max')", "write objective=[val_acuracy,max]"),
        ("nothing of Python (at all)", "nothing of Python (at all)"),
    ],
)
def test_an_error_says_what_a_file_accepts(python, in_a_file, monkeypatch, tmp_path):
    def refuse(*given, **more):
        raise ValueError(python)

    monkeypatch.chdir(tmp_path)
    command_line.houses(tmp_path / "house.csv", 40)
    monkeypatch.setattr(TunerSearch, "fit", refuse)
    words = ["--data", "house.csv", "--target", "price", "--space", "{epochs: [1, 2]}"]
    given = SEARCH.parser(SEARCH.arguments(words)).parse_args(words).as_dict()
    with pytest.raises(ValueError, match=f"^{re.escape(in_a_file)}$"):
        SEARCH.run(given)
    assert [path.name for path in tmp_path.iterdir()] == ["house.csv"]


def test_an_objective_of_a_file_may_have_a_direction(monkeypatch, tmp_path):
    seen = []

    def note(search, *given, **more):
        seen.append(search.objective)
        raise ValueError("enough")

    monkeypatch.chdir(tmp_path)
    command_line.houses(tmp_path / "house.csv", 40)
    monkeypatch.setattr(TunerSearch, "fit", note)
    for objective in ("[mine, max]", "[[mine, max], seconds]", "val_loss"):
        words = ["--data", "house.csv", "--target", "price", "--space", "{epochs: [1, 2]}"]
        words += ["--objective", objective]
        given = SEARCH.parser(SEARCH.arguments(words)).parse_args(words).as_dict()
        with pytest.raises(ValueError, match="enough"):
            SEARCH.run(given)
    assert seen == [("mine", "max"), [("mine", "max"), "seconds"], "val_loss"]


def test_studies_of_an_older_version_are_listed_and_not_changed(tmp_path):
    folder = tmp_path / "studies"
    shutil.copytree(Path(__file__).parents[1] / "data" / "v0_1_0" / "studies", folder)
    files = sorted(folder.glob("*/study.sqlite"))
    before = [file.read_bytes() for file in files]
    beside = sorted((folder / "random").iterdir())
    done = command_line.fork("studies", folder, cwd=tmp_path)
    assert re.search(r"^random +Sized +", done.stdout, re.M), done.stderr
    assert len(done.stdout.splitlines()) == 1 + len(files)
    assert [file.read_bytes() for file in files] == before
    assert sorted((folder / "random").iterdir()) == beside


def test_a_file_that_is_no_study_is_said_so(tmp_path):
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "study.sqlite").write_bytes(b"not a database" * 100)
    done = command_line.fork("studies", ".", cwd=tmp_path)
    assert done.returncode == 0 and "odd" in done.stdout and "cannot be read" in done.stdout
