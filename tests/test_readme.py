"""The READMEs say what is true: code blocks run, and both languages give the same commands."""

import os
import re
from pathlib import Path

import pytest
import warm

ROOT = Path(__file__).parents[1]
ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def code(block: str) -> str:
    """A block without its comments, which are in the reader's language."""
    return re.sub(r"\s*#.*", "", block)


@pytest.mark.parametrize("block", blocks(ENGLISH, "python"), ids=lambda b: b.split("\n")[0])
def test_a_code_block_runs_as_printed(block, tmp_path):
    done = warm.run(block, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr


def test_both_languages_give_the_same_commands_and_code():
    assert blocks(CHINESE, "bash") == blocks(ENGLISH, "bash")
    assert list(map(code, blocks(CHINESE, "python"))) == list(map(code, blocks(ENGLISH, "python")))


def test_both_languages_show_the_same_figures():
    def rows(text):
        return [re.findall(r"\d[\d.,]*", line) for line in text.splitlines() if "×" in line]

    assert rows(CHINESE) == rows(ENGLISH)


def test_ci_runs_the_second_command():
    script = (ROOT / ".ci" / "run").read_text()
    assert "README.md" in script and "blocks[1]" in script
    assert "pytest" in blocks(ENGLISH, "bash")[1]


def test_every_file_that_the_readme_names_exists():
    for name in re.findall(r"`(examples/\w+\.py)`|\]\(([\w./-]+)\)", ENGLISH):
        path = name[0] or name[1]
        assert (ROOT / path).exists(), path
