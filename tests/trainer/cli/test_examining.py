"""`trainer doctor`: its exit code, and that it can be called where nothing works."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from trainer import installation
from trainer.cli import examining
from trainer.cli.examining import DOCTOR
from trainer.installation import Finding, Report


@pytest.mark.parametrize(("level", "code"), [("broken", 1), ("advice", 0)])
@pytest.mark.parametrize("as_json", [True, False])
def test_the_exit_code_is_one_only_if_something_is_broken(
    level: str,
    code: int,
    as_json: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[bool] = []
    finding = Finding("a package is too old", "pip install more", level)  # type: ignore[arg-type]

    def examine(*, hosts: bool) -> Report:
        asked.append(hosts)
        return Report({}, {}, [finding])

    monkeypatch.setattr(installation, "examine", examine)
    assert DOCTOR.run({"json": as_json, "offline": True}) == code
    assert asked == [False]
    said = capsys.readouterr().out
    assert "a package is too old" in said
    if as_json:
        assert json.loads(said)["broken"] is (level == "broken")


def test_it_imports_nothing_that_may_be_broken() -> None:
    tree = ast.parse(Path(examining.__file__).read_text("utf-8"))
    found = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    found |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert found <= {
        "__future__",
        "typing",
        "trainer",
        "trainer.cli.command",
        "trainer.cli.signatures",
    }
