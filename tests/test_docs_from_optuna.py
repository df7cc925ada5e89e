"""The page for people who come from Optuna says what is true: its blocks run in their order."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "coming_from_optuna.md").read_text(encoding="utf-8")
SECONDS = 600  # on a busy machine


def test_the_blocks_run_in_their_order(tmp_path):
    script = tmp_path / "page.py"
    script.write_text("\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.S)), encoding="utf-8")
    run = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert "tpe" in run.stdout and "learning_rate" in run.stdout
