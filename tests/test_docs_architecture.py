"""docs/architecture.md says what is true: files exist, and the lines that it quotes are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_a_batch_passes_at_most_seven_files_by_the_lines_that_are_quoted():
    rows = re.findall(r"^\| `(trainer/\S+)`(?: again)? \| .*? \| `(.+?)` \|$", PAGE, re.M)
    assert 5 <= len({path for path, _ in rows}) <= 7
    for path, line in rows:
        assert (ROOT / path).read_text(encoding="utf-8").count(line) == 1, f"{path}: {line}"


def test_every_module_of_the_layout_is_named_and_exists():
    layout = PAGE[PAGE.index("    trainer/") : PAGE.index("## Following a batch")]
    named = set(re.findall(r"[a-z_]+", layout))
    for package in ("trainer", "search"):
        for file in (ROOT / package).rglob("*.py"):
            if file.parent.name in ("callbacks", "finders", "doctor", "datasets", "utils"):
                continue  # named as a whole
            if file.parent.name in ("plots", "reports", "interop", "proposers", "executors"):
                continue
            assert file.stem == "__init__" or file.stem in named, file
