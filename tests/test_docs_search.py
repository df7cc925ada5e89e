"""The guide to searches says what is true: its blocks run in their order, and it can be watched."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import warm
from ended_trials import ended

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "search.md").read_text(encoding="utf-8")
SECONDS = 900  # of all blocks, on a busy machine


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.S)


def test_the_blocks_run_in_their_order_while_another_process_watches(tmp_path):
    """Takes a minute: every block of docs/search.md is a search, some with worker processes."""
    (watch,) = blocks("bash")
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    script = tmp_path / "guide.py"
    script.write_text("\n".join(blocks("python")), encoding="utf-8")
    guide = warm.start(script, cwd=tmp_path, env=env, cores=1)
    try:
        while not ended(tmp_path / "studies" / "first" / "study.sqlite") and guide.poll() is None:
            time.sleep(0.02)
        watcher = subprocess.run(
            ["bash", "-c", watch], cwd=tmp_path, env=env, capture_output=True, text=True
        )
        seen = watcher.stdout
        watched_a_running_study = guide.poll() is None
        guide.wait(SECONDS)
    finally:
        guide.kill()
    assert guide.returncode == 0, guide.error()
    assert "completed" in seen and "learning_rate" in seen, watcher.stderr
    assert watched_a_running_study
    shown = guide.output()
    assert "is not a finite number" in shown  # the trial that fails
    assert "\n12\n" in shown  # the trials of the study that was gone on with
    for picture in re.findall(r'savefig\("(\S+)"\)', GUIDE):
        assert (tmp_path / picture).stat().st_size > 0
