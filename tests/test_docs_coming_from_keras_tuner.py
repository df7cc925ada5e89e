"""The code in docs/coming_from_keras_tuner.md runs as printed."""

import re
from pathlib import Path

import pytest

from trainer.utils import processor

PAGE = (Path(__file__).parents[1] / "docs" / "coming_from_keras_tuner.md").read_text("utf-8")


def test_the_blocks_run_one_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(processor, "usable", lambda: 1)  # one worker, which loads TensorFlow
    names: dict[str, object] = {"__name__": "__main__"}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(compile(block, "coming_from_keras_tuner.md", "exec"), names)
    shown = capsys.readouterr().out
    assert "best val_accuracy" in shown and "learning_rate" in shown
    assert len(names["study"].trials) == 2  # type: ignore[attr-defined]
