"""The house has layers: imports go down only, without circles, and private names stay at home."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(f for package in ("trainer", "search") for f in (ROOT / package).rglob("*.py"))
# protocols of scikit-learn and IPython; attributes of objects of Keras, keras-tuner and tf.data
OF_LIBRARIES = {
    "_get_param_names",
    "_html_repr",
    "_repr_html_",
    "_value",
    "_dtype",
    "_display",
    "_inputs",
}


def test_imports_go_down_only():
    linter = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", linter, "--no-cache", "setup.cfg"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_files_import_each_other_in_a_circle():
    graph = grimp.build_graph("trainer", "search", cache_dir=None)
    below = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    while True:
        leaves = {module for module, imported in below.items() if not imported}
        if not leaves:
            break
        below = {m: imported - leaves for m, imported in below.items() if m not in leaves}
    assert not below, f"these import each other, or what does: {sorted(below)}"


def test_the_root_of_trainer_stays_small():
    assert len(list((ROOT / "trainer").glob("*.py"))) <= 14


def test_one_door_leads_to_the_backend():
    graph = grimp.build_graph("trainer", "search", cache_dir=None)
    inside = {"trainer.engine.tensorflow", *graph.find_descendants("trainer.engine.tensorflow")}
    outside = {m for i in inside for m in graph.find_modules_that_directly_import(i)} - inside
    # trainer/__init__ silences TensorFlow before anything imports it
    assert outside == {"trainer.engine.backend", "trainer"}


# files outside the backend that import TensorFlow: what they do needs it under any backend
OF_TENSORFLOW = {
    "data/endless.py": "tf.data",
    "data/streams.py": "tf.data",
    "data/targets.py": "labels encoded in a tf.data pipeline",
    "data/preparation.py": "weights in a tf.data pipeline",
    "data/inputs.py": "the encoder of a table, with StringLookup",
    "models/tabular_layers.py": "the encoder of a table, with a lookup table of text",
    "exporting/graphs.py": "the graph that all converters read",
    "exporting/formats.py": "TensorFlow's own format, and its converter to LiteRT",
    "callbacks/tensorboard.py": "the writer of TensorBoard's files",
}


def test_tensorflow_is_imported_by_the_backend_and_for_data_alone():
    found = set()
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "tensorflow" for name in names):
                found.add(file)
    outside = {f for f in found if "tensorflow" not in f.parts}
    assert {str(f.relative_to(ROOT / "trainer")) for f in outside} == set(OF_TENSORFLOW)


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in OF_LIBRARIES


@pytest.fixture(scope="module")
def homes() -> dict[str, set[Path]]:
    """The files that define a name: a function, a class, a variable or an attribute."""
    found = defaultdict(set)
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found[node.name].add(file)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found[node.id].add(file)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                found[node.attr].add(file)
    return found


def _used_from_elsewhere(file: Path, homes: dict[str, set[Path]]) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(("trainer", "search")):
            found += [f"{file}:{node.lineno} {a.name}" for a in node.names if _is_private(a.name)]
        if isinstance(node, ast.Attribute) and _is_private(node.attr):
            of_another = homes.get(node.attr) and file not in homes[node.attr]
            found += [f"{file}:{node.lineno} {ast.unparse(node)}"] if of_another else []
    return found


def test_no_module_uses_the_private_names_of_another(homes):
    assert [use for file in FILES for use in _used_from_elsewhere(file, homes)] == []


def test_below_the_trainer_nothing_is_handed_the_trainer():
    below = [
        file
        for file in FILES
        if file.is_relative_to(ROOT / "trainer")
        and file.name not in ("base.py", "estimators.py", "__init__.py")
        and not {"cli", "finders", "reports", "serving"}.intersection(file.parts)
    ]
    guilty = [
        f"{file}:{node.lineno} {node.arg}: {ast.unparse(node.annotation)}"
        for file in below
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.arg)
        and node.annotation is not None
        and "Trainer" in ast.unparse(node.annotation)
    ]
    assert guilty == []


def test_every_module_has_its_tests_under_its_own_name():
    without = [
        file.relative_to(ROOT)
        for file in FILES
        if file.stem not in ("__init__", "__main__")
        and not list((ROOT / "tests" / file.relative_to(ROOT).parent).glob(f"test_{file.stem}*.py"))
    ]
    assert without == []
