"""The code in the guide and in the page about callbacks runs as printed."""

import os
import re
from pathlib import Path

import pytest
import warm

ROOT = Path(__file__).parents[1]
# pages in English with code, and the tests that run it; test_readme.py compares the Chinese ones
TESTED = {
    "callbacks.md": "test_docs_guide.py",
    "distributed.md": "test_docs_distributed.py",
    "exporting.md": "test_docs_exporting.py",
    "extending.md": "test_docs_extending.py",
    "files.md": "test_docs_files.py",
    "coming_from_keras_tuner.md": "test_docs_coming_from_keras_tuner.py",
    "coming_from_ray_tune.md": "test_docs_coming_from.py",
    "coming_from_optuna.md": "test_docs_coming_from.py",
    "from_keras.md": "test_docs_from_keras.py",
    "fine_tuning.md": "test_docs_fine_tuning.py",
    "guide.md": "test_docs_guide.py",
    "resuming.md": "test_docs_resuming.py",
    "search.md": "test_docs_search.py",
    "serving.md": "test_docs_serving.py",
    "sklearn_callbacks.md": "test_docs_fine_tuning.py",
}


def sections(page: str) -> list[str]:
    """The code of each section of a page, as one program."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = (re.findall(r"```python\n(.*?)```", part, re.S) for part in text.split("\n## "))
    return ["\n".join(blocks) for blocks in found if blocks]


def run(program: str, folder: Path) -> None:
    # one core: a search starts one worker, which loads TensorFlow
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = warm.run(program, cwd=folder, env=env, cores=1)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", range(2), ids=["training", "searches"])
def test_the_blocks_of_a_section_of_the_guide_run_in_order(number, tmp_path):
    programs = sections("guide.md")
    assert len(programs) == 2
    run(programs[number], tmp_path)


def test_the_blocks_about_callbacks_run_in_order(tmp_path):
    run("\n".join(sections("callbacks.md")), tmp_path)


def test_every_page_with_code_is_run_by_a_test():
    pages = {p.name for p in (ROOT / "docs").glob("*.md") if "```python" in p.read_text("utf-8")}
    assert {page for page in pages if not page.endswith(".zh-CN.md")} == TESTED.keys()
    for test in TESTED.values():
        assert (ROOT / "tests" / test).is_file()
