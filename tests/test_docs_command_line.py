"""The commands in docs/command_line.md and in the README run as printed, in their order."""

import re
import shlex
from pathlib import Path

import command_line
import pytest

from trainer import cli

ROOT = Path(__file__).parents[1]
PAGES = ("docs/command_line.md", "docs/command_line.zh-CN.md")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text("utf-8"), re.S)


def calls(page: str) -> list[list[str]]:
    lines = "".join(blocks(page, "bash")).splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("trainer ")]


@pytest.fixture
def folder(tmp_path):
    """A folder with the files that the page speaks of."""
    command_line.houses(tmp_path / "house.csv", 40)
    command_line.houses(tmp_path / "new.csv", 5, price=False, seed=1)
    (tmp_path / "train.py").write_text("import sys\nprint(sys.argv)\n")
    run, study = blocks(PAGES[0], "yaml")
    (tmp_path / "run.yaml").write_text(run, "utf-8")
    (tmp_path / "study.yaml").write_text(f"{study}workers: 1\n", "utf-8")  # a process less
    return tmp_path


def test_the_commands_of_the_page_run_in_order(folder):
    found = command_line.several(calls(PAGES[0]), folder)
    for done in found:
        assert done.returncode == 0, (done.args, done.stderr)
    assert sorted(path.name for path in (folder / "runs").iterdir()) == [
        f"house-{number}" for number in (1, 2, 3)
    ]


def test_a_newcomer_gets_from_a_csv_to_predictions(folder):
    newcomer = calls("README.md")
    assert [words[0] for words in newcomer] == ["fit", "predict"]
    for words in newcomer:
        done = command_line.fork(*words, cwd=folder)
        assert done.returncode == 0, done.stderr
    assert len((folder / "predictions.csv").read_text("utf-8").splitlines()) == 6


def test_both_languages_have_the_same_files_and_name_the_same_options():
    assert blocks(PAGES[0], "yaml") == blocks(PAGES[1], "yaml")
    texts = [
        re.sub(r"```.*?```", "", (ROOT / page).read_text("utf-8"), flags=re.S) for page in PAGES
    ]
    options = [set(re.findall(r"--\w+", text)) for text in texts]
    assert options[0] == options[1]


def test_the_page_names_every_command():
    text = (ROOT / PAGES[0]).read_text("utf-8")
    for name in [*cli.BUILT_IN, "search", "studies"]:
        assert f"trainer {name}" in text or name == "callbacks", name
