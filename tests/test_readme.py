"""The README, the guide and the benchmarks page are true, and say the same in both languages."""

import os
import re
from pathlib import Path

import pytest
import warm

ROOT = Path(__file__).parents[1]
# every page in Chinese, by the page in English beside it
PAGES = {
    str(page.relative_to(ROOT)).replace(".zh-CN", ""): str(page.relative_to(ROOT))
    for page in sorted([*ROOT.glob("*.zh-CN.md"), *(ROOT / "docs").glob("*.zh-CN.md")])
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
def test_both_languages_have_the_same_commands_code_and_figures_and_link_to_each_other(english):
    chinese = PAGES[english]
    assert f"[简体中文]({Path(chinese).name})" in read(english)
    assert f"[English]({Path(english).name})" in read(chinese)
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
