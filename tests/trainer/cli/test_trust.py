"""The mark by which a run is known to be one's own."""

from __future__ import annotations

import os

import pytest

from trainer.cli import trust

SOURCE = {"trainer": "net.py:Net", "data": "house.csv", "fields": {"epochs": 1}}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The configuration folder of a user who has no key yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


def test_what_was_marked_is_known_again_and_what_was_altered_is_not(home):
    marked = {**SOURCE, "mark": trust.mark(SOURCE)}
    assert trust.is_marked(marked)
    assert not trust.is_marked({**marked, "trainer": "other.py:Net"})
    assert not trust.is_marked(SOURCE)
    assert not trust.is_marked({**SOURCE, "mark": 7})
    assert not trust.is_marked({**SOURCE, "mark": "ä"})
    assert [path.name for path in (home / "exact-trainer").iterdir()] == ["key"]


def test_another_user_has_another_mark(home, monkeypatch):
    mark = trust.mark(SOURCE)
    assert mark == trust.mark(SOURCE)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "other"))
    assert not trust.is_marked({**SOURCE, "mark": mark})
    assert trust.mark(SOURCE) != mark


def test_a_key_that_others_can_read_is_none(home):
    if os.name != "posix":
        pytest.skip("files have no modes here")
    mark = trust.mark(SOURCE)
    (home / "exact-trainer" / "key").chmod(0o644)
    assert not trust.is_marked({**SOURCE, "mark": mark})
    assert trust.mark(SOURCE) is None


def test_without_a_place_for_a_key_there_is_no_mark(home):
    (home / "exact-trainer").write_text("a file in its place")
    assert trust.mark(SOURCE) is None
