"""The guide to extending says what is true: its blocks run in their order."""

import os
import re
from pathlib import Path

import warm

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")


def test_the_blocks_run_in_their_order(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", GUIDE, re.S)
    assert len(blocks) >= 4
    # one core: a search starts one worker, which loads TensorFlow
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = warm.run("\n".join(blocks), cwd=tmp_path, env=env, cores=1)
    assert done.returncode == 0, done.stderr
