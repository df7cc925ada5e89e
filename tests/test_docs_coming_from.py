"""The pages for people who come from Optuna and Ray Tune say what is true: their blocks run."""

import os
import re
from pathlib import Path

import pytest
import warm

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("page", "shown"), [("optuna", "tpe"), ("ray_tune", "pruned")])
def test_the_blocks_run_in_their_order(page, shown, tmp_path):
    text = (ROOT / "docs" / f"coming_from_{page}.md").read_text(encoding="utf-8")
    script = tmp_path / "page.py"
    script.write_text("\n".join(re.findall(r"```python\n(.*?)```", text, re.S)), encoding="utf-8")
    # one core: one worker for each search of the page, which loads TensorFlow
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = warm.run(script, cwd=tmp_path, env=env, cores=1)
    assert run.returncode == 0, run.stderr[-3000:]
    assert shown in run.stdout and "learning_rate" in run.stdout
