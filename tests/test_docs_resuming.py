"""The page about states says what is true: its block runs, and warns of nothing."""

import os
import re
from pathlib import Path

import warm

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "resuming.md").read_text(encoding="utf-8")


def test_the_block_runs_as_printed_and_what_it_saves_is_not_warned_of(tmp_path):
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    done = warm.run(block, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert "resuming this run will not be exact" not in done.stderr
