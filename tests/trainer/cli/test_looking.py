"""The tables of `trainer runs` and others."""

from __future__ import annotations

import command_line
from rich.cells import cell_len

from trainer.cli import looking


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
