"""The README, the guide and the benchmarks page are true, and say the same in both languages."""

import os
import re
from pathlib import Path

import pytest
import warm

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "README.zh-CN.md",
    "docs/callbacks.md": "docs/callbacks.zh-CN.md",
    "docs/clusters.md": "docs/clusters.zh-CN.md",
    "docs/command_line.md": "docs/command_line.zh-CN.md",
    "docs/coming_from_keras_tuner.md": "docs/coming_from_keras_tuner.zh-CN.md",
    "docs/coming_from_optuna.md": "docs/coming_from_optuna.zh-CN.md",
    "docs/coming_from_ray_tune.md": "docs/coming_from_ray_tune.zh-CN.md",
    "docs/data.md": "docs/data.zh-CN.md",
    "docs/distributed.md": "docs/distributed.zh-CN.md",
    "docs/exporting.md": "docs/exporting.zh-CN.md",
    "docs/extending.md": "docs/extending.zh-CN.md",
    "docs/files.md": "docs/files.zh-CN.md",
    "docs/from_keras.md": "docs/from_keras.zh-CN.md",
    "docs/fine_tuning.md": "docs/fine_tuning.zh-CN.md",
    "docs/sklearn_callbacks.md": "docs/sklearn_callbacks.zh-CN.md",
    "docs/guide.md": "docs/guide.zh-CN.md",
    "docs/benchmarks.md": "docs/benchmarks.zh-CN.md",
    "docs/resuming.md": "docs/resuming.zh-CN.md",
    "docs/search.md": "docs/search.zh-CN.md",
    "docs/serving.md": "docs/serving.zh-CN.md",
}
DOCS = sorted(f"docs/{file.name}" for file in (ROOT / "docs").glob("*.md"))
ALL = ["README.md", "README.zh-CN.md", *DOCS]


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", read(page), re.S)


def code(block: str) -> str:
    """A block without its comments, which are in the reader's language."""
    return re.sub(r"\s*#.*", "", block)


def figures(page: str) -> list[list[str]]:
    """The numbers in each line that compares two speeds."""
    return [re.findall(r"\d[\d.,]*", line) for line in read(page).splitlines() if "×" in line]


def test_the_ten_lines_run_as_printed(tmp_path):
    (block,) = blocks("README.md", "python")
    done = warm.run(block, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("english", PAGES)
def test_both_languages_have_the_same_commands_code_and_figures(english):
    chinese = PAGES[english]
    assert blocks(chinese, "bash") == blocks(english, "bash")
    assert list(map(code, blocks(chinese, "python"))) == list(map(code, blocks(english, "python")))
    assert figures(chinese) == figures(english)


def test_the_readme_quotes_the_benchmarks_page():
    quoted = re.findall(r"[\d.]+×", read("README.md"))
    assert quoted and set(quoted) <= set(re.findall(r"[\d.]+×", read("docs/benchmarks.md")))


def test_ci_runs_the_second_command():
    script = (ROOT / ".ci" / "run").read_text()
    assert "README.md" in script and "blocks[1]" in script
    assert "pytest" in blocks("README.md", "bash")[1]


@pytest.mark.parametrize("page", ALL)
def test_every_file_that_a_page_names_exists(page):
    for name in re.findall(r"`(examples/\w+\.py)`", read(page)):
        assert (ROOT / name).is_file(), name
    for link in re.findall(r"\]\(([\w./-]+)\)", read(page)):
        assert ((ROOT / page).parent / link).exists(), link


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", ALL)
def test_every_heading_that_a_page_links_to_exists(page):
    for name, anchor in re.findall(r"\]\(([\w./-]*)#([^)]+)\)", read(page)):
        place = (ROOT / page).parent / name if name else ROOT / page
        assert anchor in anchors(place), f"{name}#{anchor}"


def test_the_guide_lists_every_example():
    listed = set(re.findall(r"`examples/(\w+\.py)`", read("docs/guide.md")))
    assert listed == {file.name for file in (ROOT / "examples").glob("*.py")}


def test_the_picture_is_small():
    (picture,) = re.findall(r"!\[.+\]\((\S+)\)", read("README.md"))
    assert (ROOT / picture).stat().st_size < 60_000
