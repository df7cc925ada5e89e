"""`trainer evaluate`, `predict`, `report`, `export`, `serve`: what they refuse, keep and count."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import command_line
import pytest

from trainer import exporting
from trainer.cli import using
from trainer.cli.command import Command, WrongCall

COMMANDS = [using.EVALUATE, using.PREDICT, using.REPORT, using.EXPORT, using.SERVE]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_example_of_a_command_is_a_call_that_its_parser_takes(command: Command) -> None:
    program, name, *words = shlex.split(command.example)
    assert (program, name) == ("trainer", command.name)
    found = command.parser(command.arguments(words)).parse_args(words)
    assert found.RUN == "runs/house-1" and found.trainer is None


def test_the_formats_of_the_command_are_those_of_export() -> None:
    assert using._FORMATS == exporting.NAMES
    with pytest.raises(
        WrongCall, match="--format onx: there is no such format; did you mean 'onnx'"
    ):
        using.EXPORT.run({"RUN": "none", "format": "onx", "out": "x", "trainer": None})


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("p.txt", "--out p.txt: must end in .csv or .npy; write --out p.csv"),
        ("none/p.csv", "--out none/p.csv: there is no folder 'none'; make it first"),
        ("p.CSV", "RUN nowhere: there is no such folder"),
        ("./p.npy", "RUN nowhere: there is no such folder"),
    ],
)
def test_a_place_that_predictions_cannot_be_written_to_is_refused_before_the_run_is_read(
    out: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given: dict[str, Any] = {"RUN": "nowhere", "data": "x.csv", "out": out, "target": None}
    with pytest.raises(WrongCall, match=said):
        using.PREDICT.run({**given, "extra_columns": "raise", "trainer": None})
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_model_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(b"no model")
    given = {"RUN": str(tmp_path / "model.keras"), "trainer": None, "data": None, "target": None}
    with pytest.raises(ValueError, match="model.keras") as caught:
        using.EVALUATE.run(given)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a table, and a run of it."""
    path = tmp_path_factory.mktemp("using")
    command_line.houses(path / "house.csv", 60)
    shutil.copy(path / "house.csv", path / "kept.csv")
    command_line.houses(path / "new.csv", 5, price=False, seed=1)
    fit = ["fit", "--data", "house.csv", "--target", "price", "--model", "mlp", "--epochs", "1"]
    done = command_line.fork(*fit, "--verbose", "0", cwd=path)
    assert done.returncode == 0, done.stderr
    return path


def test_no_command_writes_over_the_data(folder):
    (folder / "link.csv").symlink_to("new.csv")
    before = {name: (folder / name).read_bytes() for name in ("house.csv", "new.csv")}
    run = "runs/house-1"
    calls = {
        "--out new.csv: is the file with the rows": ["predict", "--data", "new.csv"],
        "--out link.csv: is the file with the rows": ["predict", "--data", "new.csv"],
        "--out house.csv: is the file that the run was": ["predict", "--data", "new.csv"],
        "--out report.csv: must end in .html or .htm; write": ["report"],
        "--out none/report.html: there is no folder 'none'": ["report"],
        "--out none/p.csv: there is no folder 'none'": ["predict", "--data", "new.csv"],
    }
    words = [
        [name, run, *more, "--out", said.split(": ")[0].split()[1]]
        for said, (name, *more) in calls.items()
    ]
    found = command_line.several(words, folder)
    for said, done in zip(calls, found, strict=True):
        assert done.returncode == 2 and f"trainer: {said}" in done.stderr, done.stderr
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert not (folder / "report.csv").exists()


def test_rows_without_a_target_are_left_out_and_not_counted(folder):
    lines = (folder / "house.csv").read_text().splitlines()
    lines[1:4] = [line.rpartition(",")[0] + "," for line in lines[1:4]]
    (folder / "gaps.csv").write_text("\n".join(lines) + "\n")
    (done,) = command_line.several([["evaluate", "runs/house-1", "--data", "gaps.csv"]], folder)
    assert done.stdout.startswith("on 57 rows of gaps.csv:"), done.stderr
    said = "warning: --data gaps.csv: 3 of 60 rows have no price, and are left out\n"
    assert done.stderr == said


def test_what_is_wrong_with_rows_to_evaluate_is_said_of_the_data(folder):
    (folder / "less.csv").write_text("size,price\n50,200.5\n60,230.5\n")
    (done,) = command_line.several([["evaluate", "runs/house-1", "--data", "less.csv"]], folder)
    assert done.returncode == 2
    assert done.stderr.startswith("trainer: --data less.csv: x lacks the column 'town'")


def test_an_export_and_a_prediction_that_are_refused_name_the_options_of_the_call(folder):
    export = ["export", "runs/house-1", "--format", "onnx", "--out", "x.pdf"]
    predict = ["predict", "runs/house-1", "--data", "house.csv", "--out", "p.csv"]
    odd, right = command_line.several(
        [export, [*predict, "--target", "prise"]],
        folder,
    )
    assert odd.returncode == 2 and odd.stderr.startswith(
        "trainer: --out 'x.pdf': must end in .onnx"
    )
    assert "path=" not in odd.stderr
    says = "trainer: --target prise: house.csv has no such column; did you mean 'price'?\n"
    assert (right.returncode, right.stderr) == (2, says)


def test_a_target_that_would_be_ignored_is_refused(folder):
    calls = [[name, "runs/house-1", "--target", "size"] for name in ("evaluate", "report")]
    same = ["evaluate", "runs/house-1", "--target", "price"]
    *found, resumed, done = command_line.several(
        [*calls, ["resume", "runs/house-1", "--target", "size"], same], folder
    )
    for refused in (*found, resumed):
        assert refused.returncode == 2
        assert refused.stderr.startswith("trainer: --target size: the run predicts 'price'")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_run_that_has_not_finished_is_used_with_a_warning(folder):
    shutil.copytree(folder / "runs" / "house-1", folder / "runs" / "cut")
    config = folder / "runs" / "cut" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "status": "stopped"}))
    words = ["predict", "runs/cut", "--data", "new.csv", "--out", "cut.csv"]
    (done,) = command_line.several([words], folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == (
        "warning: runs/cut has not finished its training, and is used as it is; trainer resume "
        "runs/cut continues it\n"
    )


def test_a_model_in_a_file_is_evaluated_if_the_target_is_named(folder):
    words = ["evaluate", "runs/house-1/model.keras", "--data", "house.csv"]
    unnamed, done = command_line.several([words, [*words, "--target", "price"]], folder)
    assert unnamed.returncode == 2
    assert unnamed.stderr.startswith("trainer: --target None: must be the name of the column")
    assert done.stdout.startswith("on 60 rows of house.csv:"), done.stderr


def test_data_that_have_changed_since_the_fit_are_warned_of(folder):
    same = [["evaluate", "runs/house-1"], ["report", "runs/house-1", "--out", "r.html"]]
    for done in command_line.several(same, folder):
        assert (done.returncode, done.stderr) == (0, "")
    command_line.houses(folder / "house.csv", 70)
    try:
        evaluated, reported, moved = command_line.several(
            [*same, [*same[1], "--data", "kept.csv"]], folder
        )
    finally:
        shutil.copy(folder / "kept.csv", folder / "house.csv")
    for done in (evaluated, reported):
        assert done.returncode == 0
        (line,) = done.stderr.splitlines()
        assert line.startswith("warning: house.csv has changed since runs/house-1 was trained")
    assert (moved.returncode, moved.stderr) == (0, "")


def test_the_page_says_so_too(folder):
    command_line.houses(folder / "house.csv", 70)
    try:
        (done,) = command_line.several([["report", "runs/house-1", "--out", "old.html"]], folder)
    finally:
        shutil.copy(folder / "kept.csv", folder / "house.csv")
    assert done.returncode == 0, done.stderr
    assert "house.csv has changed since runs/house-1" in (folder / "old.html").read_text("utf-8")
