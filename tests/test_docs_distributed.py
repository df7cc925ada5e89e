"""The code in docs/distributed.md runs as printed."""

import os
import re
from pathlib import Path

import warm

ROOT = Path(__file__).parents[1]


def test_the_block_about_strategies_runs(tmp_path):
    page = (ROOT / "docs" / "distributed.md").read_text("utf-8")
    program = "\n".join(re.findall(r"```python\n(.*?)```", page, re.S))
    done = warm.run(program, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"\d\.\d+", done.stdout)) == 2
