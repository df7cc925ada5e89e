"""The code in docs/from_keras.md runs as printed, and names every argument of compile and fit."""

import inspect
import re
from pathlib import Path

import keras

from trainer import Trainer

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "from_keras.md").read_text("utf-8")


def test_the_blocks_about_keras_models_run_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec("\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.S)), {})
    assert "'accuracy'" in capsys.readouterr().out
    assert (tmp_path / "history.csv").exists()


def test_every_argument_of_compile_and_fit_is_named():
    for method in (keras.Model.compile, keras.Model.fit):
        arguments = set(inspect.signature(method).parameters) - {"self"}
        table = PAGE.split(f"## {method.__name__}, argument by argument")[1].split("\n## ")[0]
        rows = re.findall(r"^\| (`[^|]*) \| ([^|]*) \|$", table, re.M)
        assert {name for left, _ in rows for name in re.findall(r"`(\w+)`", left)} == arguments
        for left, right in rows:
            if right.startswith("field"):
                assert re.search(r"`(\w+)`", right)[1] in Trainer.__dataclass_fields__, left
            elif right.startswith("argument of fit"):
                name = re.search(r"`(\w+)`", left)[1]
                assert name in inspect.signature(Trainer.fit).parameters
