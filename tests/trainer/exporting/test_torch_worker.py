"""The script for PyTorch's process: it stands alone, and keeps the order of outputs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np

from trainer.exporting import torch_worker

SOURCE = Path(torch_worker.__file__)


def test_it_imports_nothing_of_this_package_nor_tensorflow() -> None:
    tree = ast.parse(SOURCE.read_text("utf-8"))
    found = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
    }
    assert not found & {"trainer", "search", "tensorflow", ""}
    assert {"keras", "torch", "numpy"} <= found


def test_outputs_of_any_structure_are_in_a_row_in_their_order() -> None:
    tree = {"b": [1, (2, {"z": 3, "a": 4})], "a": np.array([5, 6])}
    *numbers, array = torch_worker._leaves(tree)
    assert numbers == [1, 2, 3, 4]
    np.testing.assert_array_equal(array, [5, 6])
    assert torch_worker._leaves(7) == [7]


def test_another_word_than_write_and_run_ends_the_script_with_an_error(tmp_path: Path) -> None:
    call = [sys.executable, str(SOURCE), "convert", str(tmp_path), "model.pt2"]
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and "KeyError: 'convert'" in done.stderr
    assert list(tmp_path.iterdir()) == []
