"""Digests of code: what changes them, and what does not."""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer
from sklearn.pipeline import make_pipeline

from trainer.runs import code

SOURCE = '''
"""A module."""
import functools

class Base:
    width = 8
    def size(self):
        return self.width

class Net(Base):
    """A network."""
    def __init__(self, rate=0.1):
        self.rate = rate
    def get_params(self, deep=True):
        return {"rate": self.rate}
    @property
    def doubled(self):
        return self.rate * 2
    @staticmethod
    def build(n):
        """Build it."""
        return [n + 1, lambda x: x + 3]

class Loss:
    def __call__(self, a, b):
        return a - b

def made(n):
    def score(y, p):
        return n + sum(y) - sum(p)
    return score

score = made(5)
'''
Load = Callable[[str], Any]


@pytest.fixture
def load(tmp_path: Path) -> Any:
    counter = iter(range(100))

    def loaded(source: str) -> Any:
        path = tmp_path / f"version_{next(counter)}.py"
        path.write_text(source)
        spec = importlib.util.spec_from_file_location("own_network", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["own_network"] = module
        spec.loader.exec_module(module)
        return module

    yield loaded
    sys.modules.pop("own_network", None)


def test_comments_docstrings_and_layout_change_nothing(load: Load) -> None:
    before = code.of(load(SOURCE).Net())
    other = SOURCE.replace('"""Build it."""', '"""Another."""\n        # a comment\n')
    other = other.replace("n + 1, lambda", "(n  +  1),\n   lambda").replace('"""A module."""', "\n")
    assert code.of(load(other).Net()) == before
    assert code.of(load(SOURCE.replace('        """Build it."""\n', "")).Net()) == before


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("n + 1", "n + 2", "Net.build"),
        ("x + 3", "x + 4", "Net.build"),
        ("rate * 2", "rate * 3", "Net.doubled"),
        ("width = 8", "width = 9", "Base.width"),
        ("return self.width", "return 3", "Base.size"),
        ("a - b", "b - a", "Loss.__call__"),
        ("sum(y)", "max(y)", "made.<locals>.score"),
        ("made(5)", "made(6)", "made.<locals>.score"),
    ],
)
def test_a_change_is_named(load: Load, old: str, new: str, name: str) -> None:
    def found(source: str) -> dict[str, str]:
        module = load(source)
        return code.of(make_pipeline(module.Net(module.Loss())), make_scorer(module.score))

    before, after = found(SOURCE), found(SOURCE.replace(old, new))
    assert code.changes(before, after) == [f"the code of {name} changed"]


def test_functions_are_found_wherever_they_are_passed(load: Load) -> None:
    score = load(SOURCE).score
    alone = code.of(score)
    assert list(alone) == ["made.<locals>.score"]
    for holder in (functools.partial(score, 1), {"a": [score]}, (score,), make_scorer(score)):
        assert code.of(holder) == alone


def test_code_of_libraries_has_no_digest() -> None:
    from trainer import Classifier

    assert code.of(Classifier(), LogisticRegression(), len, "accuracy", None, [1]) == {}


def test_code_without_a_source_has_a_digest_too(load: Load) -> None:
    spaces: list[dict[str, Any]] = [{"__name__": "__main__"} for _ in range(3)]
    for space, text in zip(spaces, ("x + 1", "x + 1", "x + 2"), strict=True):
        exec(f"def f(x): return {text}", space)
    a, b, c = (code.of(space["f"]) for space in spaces)
    assert a == b != c


def test_a_file_that_is_edited_while_it_is_loaded_is_not_taken_for_what_is_loaded(
    load: Load,
) -> None:
    module = load(SOURCE)
    before = code.of(module.Net())
    Path(module.__file__).write_text(SOURCE.replace("rate * 2", "rate * 3"))
    edited = load(SOURCE.replace("rate * 2", "rate * 3"))
    assert code.of(module.Net())["Net.doubled"] != code.of(edited.Net())["Net.doubled"]
    assert code.of(module.Net())["Net.build"] == before["Net.build"]


DECORATED = """
import contextlib
import functools

def half(function):
    @functools.wraps(function)
    def halved(*args):
        return function(*args) / 2
    return halved

@half
def score(y, p):
    return y - p

@contextlib.contextmanager
def opened():
    yield 1
"""


def test_the_code_of_a_decorator_counts_and_that_of_a_librarys_does_not(load: Load) -> None:
    first = load(DECORATED)
    digests = code.of(first.score, first.opened)
    again = load(DECORATED.replace("def score", "# the distance\n\ndef score"))
    assert code.of(again.score, again.opened) == digests
    for old, new in (("/ 2", "/ 3"), ("y - p", "p - y")):
        edited = load(DECORATED.replace(old, new))
        assert code.changes(digests, code.of(edited.score, edited.opened)) == [
            "the code of score changed"
        ]
    assert " " not in digests["opened"], "one function: the user's"
