"""The code in docs/files.md runs as printed."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def blocks(page):
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text("utf-8"), re.S)


def test_the_blocks_about_files_run_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("TRAINER_DATASETS_MIRROR", "")  # and restored after what the page sets
    with pytest.warns(UserWarning, match="1 of 11 images"):
        exec("\n".join(blocks("files.md")), {})
    printed = capsys.readouterr().out
    assert "Read as gb18030, separated by semicolons, with decimal commas." in printed
    assert "mnist" in printed


def test_both_languages_name_the_same_formats():
    pages = [(DOCS / page).read_text("utf-8") for page in ("files.md", "files.zh-CN.md")]
    names = [
        set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S)))
        for text in pages
    ]
    assert names[0] ^ names[1] <= {"description"}
