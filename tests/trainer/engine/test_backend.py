"""backend: what the rest of the package uses of a backend goes through this door, and is there."""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from types import ModuleType

import pytest

from trainer.engine import backend

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "trainer" / "engine" / "tensorflow"


@functools.cache
def used() -> set[tuple[str, ...]]:
    """What other files use of the door: `tensors.constant` is ("tensors", "constant")."""
    found: set[tuple[str, ...]] = set()
    for package in ("trainer", "search"):
        for file in (ROOT / package).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            if "engine" in text and "backend" in text and not file.is_relative_to(FOLDER):
                found |= _used_in(ast.parse(text))
    return found


def _used_in(tree: ast.Module) -> set[tuple[str, ...]]:
    names: dict[str, tuple[str, ...]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "trainer.engine.backend":
            names |= {alias.asname or alias.name: (alias.name,) for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module == "trainer.engine":
            names |= {a.asname or a.name: () for a in node.names if a.name == "backend"}
    found = set(names.values()) - {()}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            path, value = [node.attr], node.value
            while isinstance(value, ast.Attribute):
                path.insert(0, value.attr)
                value = value.value
            if isinstance(value, ast.Name) and value.id in names:
                found.add((*names[value.id], *path))
    return found


def test_all_that_is_used_of_the_backend_exists() -> None:
    paths = used()
    assert ("tensors",) in paths and ("strategy", "is_chief") in paths
    for path in sorted(paths):
        value = backend
        for name in path[: 2 if isinstance(getattr(backend, path[0]), ModuleType) else 1]:
            value = getattr(value, name)


def test_the_door_names_all_that_goes_through_it_and_no_more() -> None:
    assert set(backend.__all__) == {path[0] for path in used()}
    assert backend.__all__ == sorted(backend.__all__)


@pytest.mark.parametrize("name", backend.__all__)
def test_it_is_a_module_of_the_folder_or_comes_from_one(name: str) -> None:
    value = getattr(backend, name)
    module = value.__name__ if isinstance(value, ModuleType) else value.__module__
    assert module.startswith("trainer.engine.tensorflow.")
    assert (FOLDER / f"{module.rsplit('.', 1)[-1]}.py").exists()
