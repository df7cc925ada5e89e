"""The list of slow tests names tests that exist."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_slow_test_exists():
    listed = (ROOT / "tests" / "slow.txt").read_text(encoding="utf-8").split()
    assert listed == sorted(set(listed))
    missing = []
    names: dict[str, set[str]] = {}
    for entry in listed:
        file, _, name = entry.partition("::")
        if file not in names:
            path = ROOT / file
            tree = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.parse("")
            defined = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef))
            names[file] = {function.name for function in defined}
        if name.rpartition("::")[2] not in names[file]:
            missing.append(entry)
    assert not missing, "write the list again: python tests/helpers/slow_tests.py REPORT"
