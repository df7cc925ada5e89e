"""Plugins by name: built in, registered, and of an installed package."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
import pytest
import warm
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from trainer import Int, Regressor, callbacks
from trainer.callbacks import Callback

X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
Y = X @ np.array([1.0, -2.0, 0.5], "float32")


class Halt(Callback):
    """Stops after so many epochs."""

    epochs: Annotated[int, Int(1, 5)] = 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch + 1 == self.epochs:
            self.model.stop_training = True


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(callbacks, "_registered", {})
    monkeypatch.setattr(Halt, "name", "halt")
    callbacks.register("halt")(Halt)
    yield


def _epochs(*specs: Any) -> int:
    trainer = Regressor(epochs=5, callbacks=specs, random_state=0, verbose=0)
    return len(trainer.fit(X, Y).history_)


@pytest.mark.parametrize(
    ("spec", "epochs"),
    [("halt", 1), ({"name": "halt", "epochs": 2}, 2), (Halt(epochs=3), 3)],
    ids=["name", "dict", "object"],
)
def test_a_plugin_is_given_by_name_by_dict_or_as_an_object(
    spec: Any, epochs: int, registered: None
) -> None:
    assert _epochs(spec) == epochs


def test_a_name_makes_a_new_object_for_each_fit(registered: None) -> None:
    assert callbacks.make("halt") is not callbacks.make("halt")


def test_every_built_in_name_has_a_class_that_knows_its_name() -> None:
    for name in callbacks.BUILT_IN:
        found = callbacks.find(name)
        assert issubclass(found, Callback)
        assert found.name == name
        assert getattr(callbacks, found.__name__) is found


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("erly_stopping", ValueError, r"'erly_stopping'.*did you mean 'early_stopping'\?"),
        ({"patience": 3}, ValueError, r"a dict needs the plugin's name; write \{'name'"),
        ({"name": "halt", "epoch": 3}, TypeError, r"Halt\(epoch=...\).*did you mean 'epochs'"),
        (print, TypeError, r"must be a plugin's name, a dict.* object or class$"),
        (keras.callbacks.CSVLogger, TypeError, r"needs arguments \(.*write CSVLogger\(\.\.\.\)$"),
    ],
)
def test_what_is_no_callback_is_named(
    spec: Any, error: type[Exception], message: str, registered: None
) -> None:
    with pytest.raises(error, match=message):
        Regressor(callbacks=[spec]).fit(X, Y)


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="a plugin has this name already"):
        callbacks.register("early_stopping")(Halt)
    with pytest.raises(ValueError, match="must be letters, digits and single underscores"):
        callbacks.register("two__parts")(Halt)
    with pytest.raises(TypeError, match="is not a keras.callbacks.Callback class"):
        callbacks.register("other")(int)
    with pytest.raises(TypeError, match=r"register\(5\): takes the plugin's name; write @register"):
        callbacks.register(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("specs", [{"patience": 3}, {"name": 5, "callback": None}])
def test_a_dict_without_the_name_of_a_plugin_is_said_to_have_none(specs: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"^callbacks={.*}: the dict has no plugin's 'name', .* wr"):
        Regressor(callbacks=specs).fit(X, Y)


# ---- parameters --------------------------------------------------------------------------------

FORMS: list[Any] = ["halt", {"name": "halt"}, Halt()]


@pytest.mark.parametrize("spec", FORMS, ids=["name", "dict", "object"])
def test_the_fields_of_a_plugin_are_nested_parameters(spec: Any, registered: None) -> None:
    trainer = Regressor(epochs=5, callbacks=[spec], random_state=0, verbose=0)
    assert trainer.get_params()["callbacks__halt__epochs"] == 1
    other = clone(trainer).set_params(callbacks__halt__epochs=4)
    assert other.get_params()["callbacks__halt__epochs"] == 4
    assert trainer.get_params()["callbacks__halt__epochs"] == 1, "the first has its own"
    assert len(other.fit(X, Y).history_) == 4


def test_the_second_of_a_name_has_a_number(registered: None) -> None:
    trainer = Regressor(callbacks=("halt", Halt(epochs=3)))
    trainer.set_params(callbacks__halt_2__epochs=5)
    assert trainer.callbacks[0] == "halt"
    assert trainer.callbacks[1].epochs == 5


def test_an_unknown_nested_parameter_is_named(registered: None) -> None:
    with pytest.raises(ValueError, match="did you mean 'callbacks__halt__epochs'"):
        Regressor(callbacks=["halt"]).set_params(callbacks__halt__epoch=3)


def test_a_grid_search_varies_a_plugin(registered: None) -> None:
    trainer = Regressor(epochs=3, callbacks=["halt"], random_state=0, verbose=0)
    search = GridSearchCV(trainer, {"callbacks__halt__epochs": [1, 3]}, cv=2).fit(X, Y)
    assert len(search.best_estimator_.history_) == search.best_params_["callbacks__halt__epochs"]


def test_a_class_is_called_by_its_name_in_snake_case() -> None:
    class MyHTTPLog(Callback):
        """Named by its class."""

    assert MyHTTPLog.name == "my_http_log"
    assert repr(Halt(epochs=2)) == "Halt(epochs=2)"


# ---- a package -----------------------------------------------------------------------------------

ENTRY_POINTS = """
    [trainer.callbacks]
    shout = shouting:Shout
    broken = shouting:NUMBER
"""
MODULE = """
    from trainer.callbacks import Callback

    NUMBER = 3

    class Shout(Callback):
        word: str = "epoch"

        def on_epoch_end(self, epoch, logs=None):
            print(self.word.upper(), epoch)
"""
USE = """
    import numpy as np
    from trainer import Regressor, callbacks

    assert "shout" in callbacks.names()
    x = np.zeros((8, 2))
    spec = {"name": "shout", "word": "lap"}
    Regressor(epochs=2, verbose=0, callbacks=[spec]).fit(x, x[:, 0])
    try:
        Regressor(callbacks=["broken"]).fit(x, x[:, 0])
    except TypeError as error:
        print(error)
"""


def test_an_installed_package_adds_plugins_by_name(tmp_path: Path) -> None:
    wheel, target = tmp_path / "shouting-1.0-py3-none-any.whl", tmp_path / "installed"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("shouting.py", textwrap.dedent(MODULE))
        about = "shouting-1.0.dist-info"
        archive.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: shouting\nVersion: 1.0\n"
        )
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{about}/entry_points.txt", textwrap.dedent(ENTRY_POINTS))
        archive.writestr(f"{about}/RECORD", "")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True)
    path = os.pathsep.join([str(target), *filter(None, [os.environ.get("PYTHONPATH")])])
    found = warm.run(textwrap.dedent(USE), env=os.environ | {"PYTHONPATH": path})
    assert found.returncode == 0, found.stderr
    assert "LAP 0\nLAP 1\n" in found.stdout
    assert "the entry point of this name gives 3, which is not a keras" in found.stdout
