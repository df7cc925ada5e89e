"""The skeleton of a page: everything is escaped, and of scripts only its own one runs."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import jinja2
import pytest

from trainer.reports import pages
from trainer.runs.environment import environment

TEMPLATE = """\
{% extends "base.html" %}
{% block heading %}<h1>{{ title }}</h1>{% endblock %}
{% block content %}<p>{{ said }}</p>{% endblock %}
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with a page of its own."""
    folder = tmp_path / "pages_of_tests"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "own.html").write_text(TEMPLATE)
    monkeypatch.syspath_prepend(tmp_path)
    return folder.name


def rendered(package: str, script: str = "", **more: Any) -> str:
    values = {"title": "A & B", "said": "<b>bold</b>", **more}
    return pages.render("own.html", values, package=package, script=script)


def test_a_template_of_another_package_extends_the_skeleton_and_text_is_escaped(
    package: str,
) -> None:
    html = rendered(package)
    assert html.startswith("<!DOCTYPE html>") and "<title>A &amp; B</title>" in html
    assert "<p>&lt;b&gt;bold&lt;/b&gt;</p>" in html
    assert "<script" not in html and "script-src" not in html


def test_the_policy_has_the_hash_of_the_script_as_a_browser_reads_it(package: str) -> None:
    html = rendered(package, script="\r\nlet a = 1 < 2;\r\nlet b = '&';\n")
    (policy,) = re.findall(r"script-src '(sha256-[^']*)'", html)
    (inside,) = re.findall(r"<script>(.*?)</script>", html, re.S)
    digest = hashlib.sha256(inside.encode()).digest()
    assert policy == f"sha256-{base64.b64encode(digest).decode()}"
    assert inside == "let a = 1 < 2;\nlet b = '&';"


@pytest.mark.parametrize("script", ["a = '</SCRIPT>'", "a = '<!-- b'"])
def test_a_script_that_would_end_its_element_is_refused(script: str, package: str) -> None:
    with pytest.raises(ValueError, match="script: must contain neither '</script' nor '<!--'"):
        rendered(package, script)


def test_a_value_that_the_template_names_and_nobody_gave_is_an_error(package: str) -> None:
    with pytest.raises(jinja2.UndefinedError, match="'said' is undefined"):
        pages.render("own.html", {"title": "A"}, package=package)


def test_a_page_replaces_the_file_before_it_and_keeps_its_letters(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("before, and longer than what comes")
    assert pages.write(str(path), "<p>中文列</p>") == path
    assert path.read_bytes().decode("utf-8") == "<p>中文列</p>"
    with pytest.raises(OSError, match="none"):
        pages.write(tmp_path / "none" / "report.html", "")
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_the_table_of_the_machine_has_its_packages_and_memory_in_words() -> None:
    rows = pages.environment({**environment(), "memory_bytes": 3 * 2**29})
    names = [name for name, _ in rows]
    assert names[0] == "python" and names[-3:] == ["system", "cores", "memory"]
    assert "tensorflow" in names and rows[-1] == ("memory", "1.5 GiB")
    assert all(isinstance(said, str) for _, said in rows)
