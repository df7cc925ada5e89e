"""Which class a call or a run names, where it is found, and what is never executed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trainer import Classifier, Regressor, Trainer
from trainer.cli import classes, trust
from trainer.cli.command import WrongCall

NET = """\
import beside
from trainer import Regressor

class Net(Regressor):
    extra: int = beside.VALUE

number = 3
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file with a class, which imports what is beside it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    (tmp_path / "beside.py").write_text("VALUE = 7\n")
    path = tmp_path / "net_of_tests.py"
    path.write_text(NET)
    yield path
    for name in set(sys.modules) - known:
        if getattr(sys.modules[name], "__file__", None) in (str(path), str(tmp_path / "beside.py")):
            del sys.modules[name]


def test_a_class_of_a_file_is_found_once_with_its_fields_and_what_is_beside_it(file: Path) -> None:
    cls = classes.found(f"{file}:Net")
    assert issubclass(cls, Regressor) and classes.found(f"{file}:Net") is cls
    fields = {a.name: a.default for a in classes.fields(["--trainer", f"{file}:Net"])}
    assert fields["extra"] == 7 and "epochs" in fields
    assert [classes.found(name) for name in classes.OWN] == [Classifier, Regressor, Trainer]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Nett", "has no Nett; did you mean 'Net'?"),
        ("number", "is not a subclass of Trainer, Classifier or Regressor: number"),
        ("Regressors", "has no Regressors; choose one of 'Net'"),
    ],
)
def test_a_wrong_name_is_answered_with_the_classes_of_that_file(
    name: str, said: str, file: Path
) -> None:
    with pytest.raises(WrongCall) as caught:
        classes.found(f"{file}:{name}")
    assert said in str(caught.value)


def test_a_file_that_fails_is_not_kept_as_a_module(tmp_path: Path, file: Path) -> None:
    bad = tmp_path / "fails_of_tests.py"
    bad.write_text("import nothing_of_this_name\n")
    with pytest.raises(ModuleNotFoundError, match="nothing_of_this_name"):
        classes.found(f"{bad}:Net")
    assert bad.stem not in sys.modules
    for name, said in (
        ("json.py", "Python has another module 'json'"),
        ("my-net.py", "rename the file, for example to my_trainer.py"),
        ("none.py", "there is no such file"),
    ):
        if name != "none.py":
            (tmp_path / name).write_text(NET)
        with pytest.raises(WrongCall, match=said):
            classes.found(f"{tmp_path / name}:Net")


def test_the_last_word_of_a_call_names_the_class(tmp_path: Path) -> None:
    config = tmp_path / "fit.yaml"
    config.write_text("trainer: Classifier\n")
    assert classes.named(["--config", str(config)]) == "Classifier"
    assert classes.named(["--trainer=Trainer", f"--config={config}"]) == "Classifier"
    assert classes.named([f"--config={config}", "--trainer", "Regressor"]) == "Regressor"
    config.write_text("epochs: [1\n")  # which the parser reports
    assert classes.named(["--trainer", "Trainer", "--config", str(config)]) == "Trainer"
    assert classes.named(["--epochs", "3"]) is None
    assert classes.named(["--trainer"]) == ""


def test_a_place_is_absolute_so_that_it_can_be_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert classes.absolute("net.py:Net") == f"{tmp_path.resolve() / 'net.py'}:Net"
    assert classes.absolute("package.net:Net") == "package.net:Net"
    assert classes.absolute("Regressor") == "Regressor"


def test_a_run_that_others_sent_executes_nothing_until_the_call_says_so(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    source = {"trainer": f"{file}:Net"}
    config: dict[str, Any] = {"class": "Net", "source": source}
    with pytest.raises(WrongCall, match="not trained by you.*if you trust this code, write"):
        classes.of_run(config, tmp_path, None)
    assert file.stem not in sys.modules
    assert classes.of_run(config, tmp_path, f"{file}:Net").__name__ == "Net"
    marked = {**config, "source": {**source, "mark": trust.mark(source)}}
    assert classes.of_run(marked, tmp_path, None).__name__ == "Net"


def test_a_run_from_python_asks_where_its_class_is_and_no_other_class_is_taken(
    tmp_path: Path,
) -> None:
    assert classes.of_run({"class": "Regressor"}, tmp_path, None) is Regressor
    with pytest.raises(WrongCall, match="by the class Net; write --trainer file.py:Net"):
        classes.of_run({"class": "Net"}, tmp_path, None)
    with pytest.raises(WrongCall, match="is of the class Classifier; write --trainer Classifier"):
        classes.of_run({"class": "Classifier"}, tmp_path, "Regressor")
    with pytest.raises(WrongCall, match="is of the class Net; write --trainer file.py:Net, with"):
        classes.of_run({"class": "Net"}, tmp_path, "Regressor")
