"""The code of the pages about fine-tuning and about scikit-learn's callbacks runs as printed."""

import os
import re
from pathlib import Path

import pytest
import warm

ROOT = Path(__file__).parents[1]


def run(page: str, folder: Path) -> str:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text("utf-8"), re.S)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = warm.run("\n".join(blocks), cwd=folder, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_blocks_about_fine_tuning_run_in_order(tmp_path):
    run("fine_tuning.md", tmp_path)
    size = (tmp_path / "adapters.keras").stat().st_size
    assert "# 15 kB;" in (ROOT / "docs" / "fine_tuning.md").read_text("utf-8")
    assert 10_000 < size < 20_000


def test_the_blocks_about_scikit_learns_callbacks_run_in_order(tmp_path):
    pytest.importorskip("sklearn.callback", reason="this scikit-learn has no callbacks")
    printed = run("sklearn_callbacks.md", tmp_path)
    assert "Pipeline - fit-final-estimator | Classifier - fit" in " ".join(printed.split())
