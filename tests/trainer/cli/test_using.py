"""`trainer evaluate`, `predict`, `report`, `export`, `serve`: refused before anything is loaded."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

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
        ("p.txt", "--out p.txt: must end in .csv or .npy; write --out predictions.csv"),
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
