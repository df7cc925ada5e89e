"""The code in docs/exporting.md runs as printed, and its table says what the tests try out."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("exporting.md", "exporting.zh-CN.md")


def test_the_blocks_about_exporting_run_in_order(tmp_path, monkeypatch, capsys):
    needed = "the page exports to ONNX: pip install 'exact-trainer[onnx]'"
    for name in ("tf2onnx", "onnxruntime"):
        pytest.importorskip(name, reason=needed)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "exporting.md").read_text("utf-8"), re.S)
    exec("\n".join(blocks), {})
    assert "model.onnx (onnx), run by onnxruntime" in capsys.readouterr().out


def test_both_languages_name_the_same_formats_and_files():
    pages = [(DOCS / page).read_text("utf-8") for page in PAGES]
    names = [
        sorted(set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))))
        for text in pages
    ]
    assert names[0] == names[1]
