"""`trainer runs`, `compare` and `tensorboard`: their tables, and what they read of broken runs."""

from __future__ import annotations

import json
import os
import platform
import socket
from pathlib import Path
from typing import Any

import command_line
import pytest
from rich.cells import cell_len

from trainer.cli import looking
from trainer.cli.command import WrongCall
from trainer.history import History


def run(folder: Path, **files: Any) -> Path:
    """The folder of a run with some of its files."""
    folder.mkdir()
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / {"holder": ".holder.json"}.get(name, f"{name}.json")).write_text(text)
    return folder


def test_columns_are_aligned_and_lines_end_without_spaces() -> None:
    found = looking.table([("name", "state"), ("a-long-one", ""), ("b", "bad\x1b[1m\nline")])
    assert found.splitlines() == ["name        state", "a-long-one", "b           bad\\x0aline"]


def test_the_score_is_that_of_the_test_rows_and_else_the_best_finite_loss(tmp_path: Path) -> None:
    one = run(tmp_path / "one", evaluation={"score": {"name": "accuracy", "value": 0.98765}})
    assert looking._score(one) == "accuracy 0.9877"
    two = run(tmp_path / "two", evaluation="{not json")
    assert looking._score(two) == "" and looking._time(two) == ""
    history = "epoch,loss,val_loss,learning_rate,seconds\n1,3,nan,0.1,100\n2,2,0.5,0.1,80\n"
    (two / "history.csv").write_text(history)
    assert looking._score(two) == "val_loss 0.5" and looking._time(two) == "3.0 min"
    (two / "history.csv").write_text(history.replace("80", "8000"))
    assert looking._time(two) == "2.2 h"
    assert isinstance(looking._history(two), History)


def test_a_run_is_running_only_if_a_process_of_this_machine_holds_it(tmp_path: Path) -> None:
    own = {"machine": platform.node(), "process": os.getpid()}
    assert looking._is_held(run(tmp_path / "a", holder=own))
    assert not looking._is_held(run(tmp_path / "b", holder={**own, "machine": "another"}))
    assert not looking._is_held(run(tmp_path / "c", holder={**own, "process": "x"}))
    assert not looking._is_held(run(tmp_path / "d"))


def test_a_run_that_cannot_be_read_hides_no_other_and_an_empty_folder_has_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    looking.RUNS.run({"FOLDER": str(tmp_path)})
    assert capsys.readouterr().out == f"there are no runs in {tmp_path}\n"
    run(tmp_path / "broken", config="{not json")
    run(tmp_path / "also", config="[]")
    looking.RUNS.run({"FOLDER": str(tmp_path)})
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "data", "score", "time", "state"]
    assert [line.split()[0] for line in lines] == ["also", "broken"]
    assert all("cannot be read: " in line for line in lines)


def test_what_differs_in_the_data_of_two_runs_is_told() -> None:
    before = {"source": {"data": "a.csv", "fields": {"epochs": 1}, "trainer": "x"}}
    now = {"source": {"data": "b.csv", "fields": {"epochs": 2}, "split_seed": 1}}
    assert looking._of_source(before, now) == [
        "data was 'a.csv', is 'b.csv'",
        "split_seed was None, is 1",
    ]
    assert looking._of_source(before, before) == [] == looking._of_source({}, {})


def test_a_port_that_is_taken_or_none_is_refused_with_a_free_one() -> None:
    looking._check_port(0)
    for port in (-1, 65536):
        with pytest.raises(WrongCall, match=f"--port {port}: must be from 0, for a free one, to"):
            looking._check_port(port)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"--port {port}: cannot be listened on .*--port 0"):
            looking._check_port(port)


def test_columns_stay_aligned_after_characters_that_are_two_wide():
    lines = looking.table([("name", "data"), ("客户-1", "客户.csv"), ("house-1", "house.csv")])
    starts = [
        cell_len(line[: line.index(part)])
        for line, part in zip(lines.splitlines(), ("data", "客户.csv", "house.csv"), strict=True)
    ]
    assert starts == [9, 9, 9]


def test_a_comparison_is_refused_before_anything_is_printed(tmp_path):
    (tmp_path / "empty").mkdir()
    words = ["compare", "empty", "empty", "--out", "none/c.png"]
    done = command_line.call(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("trainer: --out none/c.png: there is no folder 'none'")
