"""A state sets what a callback of its class saves, and never where that callback writes."""

from __future__ import annotations

import warnings
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from trainer.callbacks import Checkpoint, MLflow
from trainer.callbacks.callback import Callback
from trainer.state import callback_state, plain


class Own(keras.callbacks.Callback):
    """A callback as people write it."""

    kind = "of the class"

    def __init__(self, log: str = "here.txt", patience: int = 3) -> None:
        super().__init__()
        self.log = log
        self.patience = patience
        self.phase = "first"
        self.seen: list[int] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seen.append(epoch)
        self.last = epoch
        self.phase = "second"
        self.kind = "of this one"
        self.patience -= 1
        setattr(self, f"epoch_{epoch}", True)

    @property
    def half(self) -> float:
        return self.patience / 2


class Plugin(Callback):
    folder: str | None = None
    every: int = 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.count = epoch


ELSEWHERE = "/somewhere/else"


def stock(folder: Path) -> dict[str, Any]:
    """A callback of Keras' own for each attribute that says where it writes."""
    return {
        "filepath": keras.callbacks.ModelCheckpoint(folder / "m.keras"),
        "filename": keras.callbacks.CSVLogger(str(folder / "log.csv")),
        "log_dir": keras.callbacks.TensorBoard(folder / "logs"),
        "_train_dir": keras.callbacks.TensorBoard(folder / "logs"),
        "backup_dir": keras.callbacks.BackupAndRestore(folder / "backup"),
        "root": keras.callbacks.RemoteMonitor(),
    }


@pytest.mark.parametrize(
    "name", ["filepath", "filename", "log_dir", "_train_dir", "backup_dir", "root"]
)
def test_no_state_says_where_a_callback_of_keras_writes(name: str, tmp_path: Path) -> None:
    callback = stock(tmp_path)[name]
    vars(callback).setdefault(name, str(tmp_path))
    before = vars(callback)[name]
    for value in (ELSEWHERE, "evil", np.zeros(1)):
        try:
            callback_state.restore(callback, {name: value})
        except ValueError as error:
            assert name in str(error)
        if isinstance(value, str):
            assert vars(callback)[name] == before


@pytest.mark.parametrize(
    "name",
    [
        "model",
        "_model",
        "params",
        "__class__",
        "__dict__",
        "on_epoch_end",
        "set_model",
    ]
    + ["patience", "never_heard_of", "monitor", "min_delta"],
)
def test_what_no_early_stopping_saves_is_refused(name: str) -> None:
    callback = keras.callbacks.EarlyStopping()
    callback.on_train_begin()
    before = dict(vars(callback))
    with pytest.raises(ValueError, match=name):
        callback_state.restore(callback, {name: 5})
    assert vars(callback) == before


@pytest.mark.parametrize("value", ["x", [1], np.zeros(2), {"a": 1}])
def test_what_counts_in_a_callback_of_keras_stays_a_number(value: Any) -> None:
    callback = keras.callbacks.EarlyStopping()
    callback.on_train_begin()
    for name in ("wait", "best_epoch", "stopped_epoch"):
        with pytest.raises(ValueError, match=rf"(?s){name}=.* in the state is not a number"):
            callback_state.restore(callback, {name: value})
    callback_state.restore(callback, {"wait": 2, "best": np.float32(0.5), "monitor_op": 5})
    assert callback.wait == 2 and callback.best == 0.5 and callback.monitor_op is None


@pytest.mark.parametrize("name", ["half", "on_epoch_end", "__class__", "model", "set_params"])
def test_a_state_covers_no_method_of_a_callback_of_ones_own(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        callback_state.restore(Own(), {name: 5})


def test_all_that_a_callback_of_ones_own_saves_comes_back() -> None:
    first, second = Own(), Own()
    for epoch in range(2):
        first.on_epoch_end(epoch)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        callback_state.restore(second, callback_state.state_of(first))
    assert callback_state.state_of(second) == callback_state.state_of(first)
    assert second.patience == 1 and second.phase == "second" and second.epoch_1  # type: ignore[attr-defined]


class Patient(keras.callbacks.EarlyStopping):
    """Waits longer from epoch to epoch."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_end(epoch, logs)
        self.patience += 1


def test_an_argument_of_keras_that_a_subclass_changes_comes_back() -> None:
    first, second = Patient("loss", patience=3), Patient("loss", patience=3)
    for callback in (first, second):
        callback.set_model(keras.Sequential())
        callback.on_train_begin()
    first.on_epoch_end(0, {"loss": 1.0})
    callback_state.restore(second, callback_state.state_of(first))
    assert first.patience == second.patience == 4
    assert "monitor" not in callback_state.state_of(first)


def restored(callback: Any, fresh: Any) -> Any:
    """A fresh callback with the state of another one, as it comes from a file."""
    tensors: dict[str, Any] = {}
    form = plain.encode(callback_state.state_of(callback), tensors, "key")
    callback_state.restore(fresh, plain.decode(form, tensors))
    return fresh


class Holding(keras.callbacks.Callback):
    def __init__(self, **held: Any) -> None:
        super().__init__()
        vars(self).update(held)


@pytest.mark.parametrize("items", [{}, {"a": 2}])
@pytest.mark.parametrize("make", [OrderedDict, Counter, lambda items: defaultdict(list, items)])
@pytest.mark.parametrize("present", [False, True])
def test_dicts_of_the_standard_library_keep_their_types(
    make: Any, items: dict[str, int], present: bool
) -> None:
    fresh = Holding(held=make({"a": 1, "b": 5})) if present else Holding()
    found = restored(Holding(held=make(items)), fresh).held
    assert type(found) is type(make({})) and found == items
    if isinstance(found, defaultdict):
        assert found["new"] == []


def test_attributes_that_hold_one_list_hold_one_again() -> None:
    one: list[int] = [1]
    found = restored(Holding(all=one, last=one, other=[1]), Holding())
    found.all.append(2)
    assert found.last == [1, 2] and found.other == [1]


def test_a_list_that_is_no_longer_shared_is_not_shared_again() -> None:
    shared: list[int] = []
    found = restored(Holding(all=[1], last=[1]), Holding(all=shared, last=shared))
    found.all.append(2)
    assert found.last == [1]


class Derives(keras.callbacks.Callback):
    """Keeps something else than its argument, and something that a method changes."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.last_epoch = epoch - 1
        self.left = epoch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.left -= 1


def test_another_value_of_the_constructor_than_the_runs_is_warned_of() -> None:
    before = Derives(2)
    before.on_epoch_end(0)
    with pytest.warns(UserWarning, match=r"Derives\.last_epoch: is 1, .* not 3.* another run_dir"):
        restored(before, Derives(4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert restored(before, Derives(2)).left == 1


class Made(keras.callbacks.Callback):
    def __init__(self, epoch: int, names: list[str], log: str, measure: Any, model: Any) -> None:
        super().__init__()
        self.epoch, self._names, self.log, self.measure = epoch, names, log, measure
        self.other_model = model


def test_the_arguments_of_a_class_of_ones_own_are_plain_values_functions_and_no_paths() -> None:
    made = Made(2, ["a"], "logs/a.txt", np.median, keras.Sequential())
    assert callback_state.arguments(made) == {
        "epoch": 2,
        "names": ["a"],
        "measure": "numpy.median",
    }
    assert callback_state.arguments(keras.callbacks.EarlyStopping()) == {}


def test_arguments_that_a_fit_changes_are_those_from_before_it_until_somebody_sets_them() -> None:
    callback = Own(patience=3)
    before = callback_state.arguments(callback)
    assert before["patience"] == 3
    callback.on_epoch_end(0)
    callback_state.fit_ended(callback)
    assert callback.patience == 2 and callback_state.arguments(callback) == before
    callback.patience = 7
    assert callback_state.arguments(callback)["patience"] == 7


def test_text_that_a_callback_was_made_with_stays_and_that_is_said() -> None:
    callback = Own(log="here.txt")
    with pytest.warns(UserWarning, match=r"Own\.log: stays 'here\.txt' and is not .* state_dict"):
        callback_state.restore(callback, {"log": ELSEWHERE, "seen": [1]})
    assert callback.log == "here.txt" and callback.seen == [1]


def test_a_state_sets_no_field_of_a_plugin() -> None:
    plugin = Plugin(folder="here")
    plugin.on_epoch_end(4)
    assert plugin.state_dict() == {"count": 4}
    for name in ("folder", "every", "session", "load_state_dict", "name"):
        with pytest.raises(ValueError, match=name):
            callback_state.restore(plugin, {name: ELSEWHERE})
    callback_state.restore(plugin, {"count": 7})
    assert plugin.count == 7 and plugin.folder == "here"


@pytest.mark.parametrize(
    "file",
    ["../epoch-0001-loss-1.keras", "/x/epoch-0001-loss-1.keras", "notes.txt", "", ".."]
    + ["epoch-0001-loss-1/../../x", "epoch-0002-loss-1.keras", "epoch-0001-loss-1\\..\\x"],
)
def test_a_checkpoint_takes_the_names_of_its_own_files_only(file: str) -> None:
    plugin = Checkpoint()
    plugin._log = "loss"
    state = {"kept": [{"epoch": 1, "value": 0.5, "file": file}], "_rate": None}
    with pytest.raises(ValueError, match="is not a file that the plugin writes"):
        callback_state.restore(plugin, state)
    own = {"kept": [{"epoch": 1, "value": 0.5, "file": "epoch-0001-loss-0.5.keras"}], "_rate": None}
    callback_state.restore(plugin, own)
    assert plugin.kept == own["kept"]


@pytest.mark.parametrize("run", ["../x", 5.5, ["a"], "http://x/", "a" * 99])
def test_mlflow_takes_a_runs_identity_only(run: Any) -> None:
    plugin = MLflow()
    plugin._client = SimpleNamespace()
    with pytest.raises(ValueError, match="run"):
        callback_state.restore(plugin, {"run": run})


@pytest.mark.parametrize(
    "state",
    [None, [], "x", {"inner": 5}, {}, {"inner": {"best": 1}}, {"inner": {}, "best_epoch_": 0}],
)
def test_a_state_of_another_form_is_one_error_that_names_the_callback(state: Any) -> None:
    from trainer.callbacks import EarlyStopping

    plugin = EarlyStopping()
    plugin._inner = keras.callbacks.EarlyStopping()
    with pytest.raises(ValueError, match="EarlyStopping"):
        callback_state.restore(plugin, state)


@pytest.mark.parametrize(
    "form",
    [{}, {"a": 1, "b": 2}, {"dict": 5}, {"dict": [[1]]}, {"dict": [[[], 1]]}, {"array": "no"}]
    + [{"scalar": []}, {"set": [[1]]}, {"object": "x"}, {"tensor": None}, {"tuple": None}],
)
def test_a_form_that_nobody_wrote_is_one_error(form: Any) -> None:
    with pytest.raises(ValueError, match="does not describe a value"):
        plain.decode(form, {"w": np.ones(2)})
