"""Two epochs with Keras, three more with a Trainer that is killed in one: as five with Keras."""

from __future__ import annotations

import signal
from pathlib import Path

import warm

CHILD = Path(__file__).with_name("handed_over_child.py")


def test_a_handed_over_training_that_is_killed_equals_one_of_keras(tmp_path: Path) -> None:
    assert warm.start(CHILD, tmp_path / "run", "kill").wait() == -signal.SIGKILL
    resumed = warm.start(CHILD, tmp_path / "run", "end")
    assert resumed.wait() == 0, resumed.error()
    assert "differ: []; resumed: True" in resumed.output()
