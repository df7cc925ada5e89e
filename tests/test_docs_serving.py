"""The code in docs/serving.md runs as printed, and both languages say the same."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def test_the_blocks_about_serving_run_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = (DOCS / "serving.md").read_text("utf-8")
    exec("\n".join(re.findall(r"```python\n(.*?)```", page, re.S)), {})
    printed = capsys.readouterr().out
    assert "{'predictions': ['" in printed and "'probabilities': [[" in printed
    assert (tmp_path / "probabilities.npy").exists()


def test_both_languages_name_the_same_things():
    pages = [(DOCS / page).read_text("utf-8") for page in ("serving.md", "serving.zh-CN.md")]
    names = [
        set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S)))
        for text in pages
    ]
    assert names[0] ^ names[1] <= {'extra_columns="ignore"'}
