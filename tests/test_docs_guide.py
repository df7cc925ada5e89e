"""The code in the guide and in the page about callbacks runs as printed."""

import os
import re
from pathlib import Path

import pytest
import warm

ROOT = Path(__file__).parents[1]
# all pages with code, and the tests that run it; test_readme.py checks that a page in Chinese has
# the same code as the one in English
TESTED = {
    "callbacks.md": "test_docs_guide.py",
    "callbacks.zh-CN.md": "test_readme.py",
    "distributed.md": "test_docs_distributed.py",
    "distributed.zh-CN.md": "test_readme.py",
    "exporting.md": "test_docs_exporting.py",
    "exporting.zh-CN.md": "test_readme.py",
    "extending.md": "test_docs_extending.py",
    "extending.zh-CN.md": "test_readme.py",
    "files.md": "test_docs_files.py",
    "files.zh-CN.md": "test_readme.py",
    "coming_from_keras_tuner.md": "test_docs_coming_from_keras_tuner.py",
    "coming_from_keras_tuner.zh-CN.md": "test_readme.py",
    "coming_from_ray_tune.md": "test_docs_coming_from.py",
    "coming_from_ray_tune.zh-CN.md": "test_readme.py",
    "coming_from_optuna.md": "test_docs_coming_from.py",
    "coming_from_optuna.zh-CN.md": "test_readme.py",
    "from_keras.md": "test_docs_from_keras.py",
    "from_keras.zh-CN.md": "test_readme.py",
    "fine_tuning.md": "test_docs_fine_tuning.py",
    "fine_tuning.zh-CN.md": "test_readme.py",
    "guide.md": "test_docs_guide.py",
    "guide.zh-CN.md": "test_readme.py",
    "resuming.md": "test_docs_resuming.py",
    "resuming.zh-CN.md": "test_readme.py",
    "search.md": "test_docs_search.py",
    "search.zh-CN.md": "test_readme.py",
    "serving.md": "test_docs_serving.py",
    "serving.zh-CN.md": "test_readme.py",
    "sklearn_callbacks.md": "test_docs_fine_tuning.py",
    "sklearn_callbacks.zh-CN.md": "test_readme.py",
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
    assert pages == TESTED.keys()
    for test in TESTED.values():
        assert (ROOT / "tests" / test).is_file()
