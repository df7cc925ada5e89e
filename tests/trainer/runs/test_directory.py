"""Run directories: a fit begins, goes on, or is refused with the difference."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from trainer import Classifier
from trainer.callbacks.callback import Callback
from trainer.engine import loop
from trainer.engine.tensorflow.program import Program
from trainer.runs import directory
from trainer.runs.directory import Run, RunError, described
from trainer.runs.lock import Hold
from trainer.state import variables
from trainer.state.state_file import StateFolder

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype("float32")
Y = (X[:, 0] > 0).astype(int)


class Ended(Exception):
    """What ends a training from without."""


class End(Callback):
    """Ends the training in an epoch, if it is told to."""

    at: int | None = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.at:
            raise Ended

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {}  # when it ends is no setting of the run


class Small(Classifier):
    units: int = 4

    def build_model(self, spec: Any) -> keras.Model:
        start = [keras.Input(spec.input_shape), keras.layers.Dense(self.units, "relu")]
        return keras.Sequential([*start, keras.layers.Dense(spec.n_outputs, "softmax")])


@pytest.fixture(autouse=True)
def _unwritten_fields() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "callbacks=.*cannot be written to a file")
        yield


def make(folder: Path, end: int | None = None, **fields: Any) -> Small:
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 8, "random_state": 1, "verbose": 0}
    settings["callbacks"] = [End(at=end)]
    return Small(**settings | fields, run_dir=folder, save_steps=1)


def ended(folder: Path, **fields: Any) -> None:
    """A run that ended in its second epoch."""
    with pytest.raises(Ended):
        make(folder, 1, **fields).fit(X, Y)


def weights(trainer: Any) -> list[bytes]:
    return [w.tobytes() for w in trainer.model_.get_weights()]


def config(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return found


@pytest.mark.curves
def test_the_folder_holds_what_was_promised(tmp_path: Path) -> None:
    trainer = make(tmp_path / "a" / "b", optimizer=keras.optimizers.SGD(0.1))
    trainer.fit(X, Y, validation_data=(X, Y))
    folder = tmp_path / "a" / "b"
    assert trainer.run_ == folder
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert names == {
        "checkpoints", "config.json", "environment.json", "history.csv", "model.keras", "plots",
        "run.log",
    }  # fmt: skip
    written = config(folder)
    assert written["status"] == "finished" and written["seed"] == 1 and written["class"] == "Small"
    assert written["fields"]["units"] == 4 and written["fields"]["epochs"] == 3
    assert set(written["data"]["training"]) == {"x", "y"} == set(written["data"]["validation"])
    assert written["command"] and written["decisions"]
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["packages"]["keras"] == keras.__version__ and environment["cores"] >= 1
    loaded = Small.load(folder / "model.keras")
    np.testing.assert_array_equal(loaded.predict(X), trainer.predict(X))
    assert (folder / "plots" / "curves.png").read_bytes().startswith(b"\x89PNG")
    rows = (folder / "history.csv").read_text().splitlines()
    assert len(rows) == 4 and rows[0].startswith("epoch,")
    log = (folder / "run.log").read_text()
    assert "starts" in log and "epoch 3" in log and "finished after 3 epochs" in log


def test_without_run_dir_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trainer = Small(epochs=1, verbose=0).fit(X, Y)
    assert trainer.run_ is None
    assert list(tmp_path.iterdir()) == []


def test_an_unfinished_run_goes_on_by_default(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole").fit(X, Y)
    ended(tmp_path / "run")
    assert config(tmp_path / "run")["status"] == "unfinished"
    resumed = make(tmp_path / "run").fit(X, Y)
    assert weights(resumed) == weights(whole)
    assert resumed.history_["loss"] == whole.history_["loss"]
    log = (tmp_path / "run" / "run.log").read_text()
    assert "ended by Ended" in log and "resumes from epoch 2" in log


def test_a_run_that_was_killed_before_its_model_was_written_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make(tmp_path / "whole").fit(X, Y)
    with monkeypatch.context() as patch, pytest.raises(Ended):
        patch.setattr(directory.saving, "save", _raises)
        make(tmp_path / "run").fit(X, Y)
    resumed = make(tmp_path / "run").fit(X, Y)
    assert weights(resumed) == weights(whole)
    assert len(resumed.history_) == 3
    assert (tmp_path / "run" / "model.keras").exists()


def _raises(*arguments: Any, **options: Any) -> None:
    raise Ended


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a run but its log, and the file of its lock."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return {str(p): p.read_bytes() for p in files if p.name not in ("run.log", ".lock")}


def everything(trainer: Any) -> list[bytes]:
    """The bytes of all variables: weights, optimizer, seeds."""
    return [np.asarray(v).tobytes() for v in variables.variables(trainer._network.core)]


def trained(trainer: Any) -> list[bytes]:
    """The bytes of weights and optimizer: metrics are no part of a saved model."""
    variables = trainer._network.core.optimizer.variables
    return weights(trainer) + [np.asarray(v).tobytes() for v in variables]


def trains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "train", _raises)


@pytest.mark.parametrize("resume", ["auto", True])
def test_a_finished_run_is_given_back_by_the_same_call_without_training(
    resume: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = {"name": "early_stopping", "patience": 1, "monitor": "loss", "min_delta": 0.1}

    def fitted(**options: Any) -> Any:
        plugins = [stopping, "checkpoint", Counted(), "csv", "tensorboard", "statistics", "ema"]
        fields = {"callbacks": plugins, "random_state": None}
        return make(tmp_path, **fields, epochs=9).fit(X, Y, validation_data=(X, Y), **options)

    first = fitted()
    assert len(first.history_) < 9, "early stopping is a way to finish"
    before = contents(tmp_path)
    trains_nothing(monkeypatch)
    again = fitted(resume=resume)
    assert everything(again) == everything(first)
    np.testing.assert_array_equal(again.predict(X), first.predict(X))
    assert again.history_ == first.history_
    assert again.run_ == first.run_ == tmp_path and again.seed_ == first.seed_
    for one, other in zip(again.callbacks_, first.callbacks_, strict=True):
        assert type(one) is type(other)
    stopped, kept, counted = again.callbacks_[:3]
    assert stopped.stopped_epoch_ == first.callbacks_[0].stopped_epoch_ is not None
    assert kept.kept == first.callbacks_[1].kept and kept.best == first.callbacks_[1].best
    assert counted.count == len(first.history_)
    tables = [t.callbacks_[5].frame_.drop(columns="weight") for t in (again, first)]
    assert tables[0].equals(tables[1])  # Keras counts on in the names of layers
    assert contents(tmp_path) == before
    assert again.evaluate(X, Y) == first.evaluate(X, Y)


class Counted(Callback):
    """Counts epochs."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.count = 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.count += 1


def test_hooks_of_kerass_callbacks_are_not_called_where_a_run_is_given_back(
    tmp_path: Path,
) -> None:
    def logger() -> Any:
        return keras.callbacks.CSVLogger(tmp_path / "log.csv")  # empties it when training begins

    make(tmp_path / "run", callbacks=[logger()]).fit(X, Y)
    before = (tmp_path / "log.csv").read_bytes()
    assert before.count(b"\n") == 4
    make(tmp_path / "run", callbacks=[logger()]).fit(X, Y)
    assert (tmp_path / "log.csv").read_bytes() == before


@pytest.mark.parametrize("fault", ["missing", "cut", "unreadable"])
def test_a_finished_run_without_its_model_is_given_back_from_its_last_state(
    fault: str, tmp_path: Path
) -> None:
    averaged = {"epochs": 4, "callbacks": [{"name": "swa", "start": 0.5}]}
    first = make(tmp_path, **averaged).fit(X, Y)
    path = tmp_path / "model.keras"
    content = path.read_bytes()
    path.unlink()
    if fault == "cut":
        path.write_bytes(content[:-100])
    elif fault == "unreadable":
        path.mkdir()
    words = {"missing": "", "cut": "model.keras: cannot be used", "unreadable": "cannot be used"}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if fault == "unreadable":
            with pytest.raises(OSError, match="model.keras"):  # it cannot be written either
                make(tmp_path, **averaged).fit(X, Y)
            path.rmdir()
        again = make(tmp_path, **averaged).fit(X, Y)
    assert not words[fault] or any(words[fault] in str(w.message) for w in caught)
    assert everything(again) == everything(first) and again.history_ == first.history_
    assert weights(Small.load(path)) == weights(first)


@pytest.mark.filterwarnings("ignore:.*state-.*:UserWarning")  # each damaged state, too
def test_a_finished_run_without_its_states_is_given_back_from_its_model(tmp_path: Path) -> None:
    first = make(tmp_path).fit(X, Y)
    for path in (tmp_path / "checkpoints").glob("state-*"):
        path.write_bytes(path.read_bytes()[:50])
    with pytest.warns(UserWarning, match="none of the states.*the state of the callbacks is not"):
        again = make(tmp_path).fit(X, Y)
    assert trained(again) == trained(first) and again.history_ == first.history_
    for path in (tmp_path / "checkpoints").glob("state-*"):
        path.unlink()
    assert trained(make(tmp_path).fit(X, Y)) == trained(first)
    (tmp_path / "model.keras").unlink()
    with pytest.raises(RunError, match="finished run with neither model.keras nor a state"):
        make(tmp_path).fit(X, Y)


def test_a_trials_run_that_keeps_its_state_alone_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with directory.state_alone():
        first = make(tmp_path).fit(X, Y)
        assert not (tmp_path / "model.keras").exists()
        steps: list[int] = []
        monkeypatch.setattr(
            Program, "train_rows", lambda program, data, indices, even=False: steps.append(1)
        )
        again = make(tmp_path).fit(X, Y)
        assert directory.finished_epochs(tmp_path) == 3
    assert everything(again) == everything(first) and not steps


def test_a_finished_run_that_differs_is_refused_with_the_differences(tmp_path: Path) -> None:
    make(tmp_path).fit(X, Y)
    before = contents(tmp_path)
    for resume in ("auto", True):
        with pytest.raises(RunError, match=r"a finished run that differs.*units was 4, is 5") as e:
            make(tmp_path, units=5).fit(X, Y, resume=resume)
        assert "Small.load(" in str(e.value) and "resume=True" not in str(e.value)
        with pytest.raises(RunError, match="training x was"):
            make(tmp_path).fit(X + 1, Y, resume=resume)
        with pytest.raises(RunError, match="epochs was 3, is 2") as e:
            make(tmp_path, epochs=2).fit(X, Y, resume=resume)
        assert "resume=True" not in str(e.value)
    with pytest.raises(RunError, match="resume=False: .*a finished run; write resume='auto' to re"):
        make(tmp_path).fit(X, Y, resume=False)
    assert contents(tmp_path) == before


def test_a_field_that_a_callback_has_got_since_the_run_began_is_no_difference_by_default() -> None:
    def config(**more: Any) -> dict[str, Any]:
        board = {"name": "tensorboard", "histogram_freq": 1, **more}
        return {"class": "Small", "fields": {"callbacks": [board]}, "data": {}}

    assert directory.differences(config(), config(image_freq=0)) == []
    (said,) = directory.differences(config(), config(image_freq=2))
    assert "image_freq" in said


@pytest.mark.parametrize("first", ["finished", "unfinished"])
def test_for_more_epochs_the_hint_is_resume_true(first: str, tmp_path: Path) -> None:
    if first == "finished":
        make(tmp_path).fit(X, Y)
    else:
        ended(tmp_path)
    with pytest.raises(RunError, match="epochs was 3, is 4.*write resume=True to train it to 4"):
        make(tmp_path, epochs=4).fit(X, Y)
    with pytest.raises(RunError, match="units was") as error:
        make(tmp_path, epochs=4, units=5).fit(X, Y)
    assert "resume=True" not in str(error.value), "that alone would not help"
    assert len(make(tmp_path, epochs=4).fit(X, Y, resume=True).history_) == 4


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"units": 5}, "units was 4, is 5"),
        ({"epochs": 4}, "epochs was 3, is 4"),
        ({"random_state": 2}, "random_state was 1, is 2"),
        ({"callbacks": ["early_stopping"]}, "callbacks was .*early_stopping"),
        ({"optimizer": keras.optimizers.Adam(0.5)}, "optimizer was None, is .*0.5"),
    ],
)
def test_changed_fields_are_refused_by_name(
    fields: dict[str, Any], words: str, tmp_path: Path
) -> None:
    ended(tmp_path)
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(RunError, match=rf"differs from this one: {words}.*Set these back"):
        make(tmp_path, **fields).fit(X, Y)
    assert (tmp_path / "config.json").read_bytes() == before


def test_changed_data_are_refused_by_name(tmp_path: Path) -> None:
    ended(tmp_path)
    with pytest.raises(RunError, match="this one: training x was 'float32.*, is 'float32") as error:
        make(tmp_path).fit(X + 1, Y)
    assert "training y" not in str(error.value)
    with pytest.raises(RunError, match="validation was None, is|validation x was None, is"):
        make(tmp_path).fit(X, Y, validation_data=(X, Y))


def test_a_changed_array_in_a_loss_is_refused_by_name(tmp_path: Path) -> None:
    def loss(weights: Any) -> Any:
        def weighted(y: Any, p: Any) -> Any:
            return weights[0] * keras.losses.sparse_categorical_crossentropy(y, p)

        return weighted

    table = np.ones(2000, "float32")
    ended(tmp_path, loss=loss(table))
    other = table.copy()
    other[1000] = 2
    with pytest.raises(RunError, match=r"the value of loss.weights changed.*resume='force'"):
        make(tmp_path, loss=loss(other)).fit(X, Y)
    make(tmp_path, loss=loss(table.copy())).fit(X, Y)
    assert config(tmp_path)["status"] == "finished"


def test_changed_parameters_of_kerass_callbacks_are_refused(tmp_path: Path) -> None:
    def stopping(patience: int) -> Any:
        return keras.callbacks.EarlyStopping("loss", patience=patience, min_delta=0.1)

    first = [stopping(3), End(at=1)]
    with pytest.raises(Ended):
        make(tmp_path, callbacks=first).fit(X, Y)
    with pytest.raises(RunError, match="callbacks was .*'patience': 3.*'patience': 4"):
        make(tmp_path, callbacks=[stopping(4), End()]).fit(X, Y)
    first[1].at = None
    make(tmp_path, callbacks=first).fit(X, Y)  # the same objects, after a part of a fit


class Freeze(keras.callbacks.Callback):
    """A callback of the user's own class; its state has the attribute epoch."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch
        self.seen: list[int] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seen.append(epoch)
        self.epoch += 1


def test_changed_arguments_of_a_callback_of_ones_own_are_refused(tmp_path: Path) -> None:
    first = [Freeze(2), End(at=1)]
    with pytest.raises(Ended):
        make(tmp_path, callbacks=first).fit(X, Y)
    with pytest.raises(RunError, match="callbacks was .*Freeze.*'epoch': 2.*'epoch': 4"):
        make(tmp_path, callbacks=[Freeze(4), End()]).fit(X, Y)
    first[1].at = None  # type: ignore[attr-defined]
    make(tmp_path, callbacks=first).fit(X, Y)  # the same objects, after a part of a fit
    for callbacks in (first, [Freeze(2), End()]):
        again = make(tmp_path, callbacks=callbacks).fit(X, Y)
        assert again.callbacks_[0].seen == [0, 1, 2] and again.callbacks_[0].epoch == 5


class Patient(keras.callbacks.EarlyStopping):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_end(epoch, logs)
        self.patience += 1


def test_the_same_subclass_of_keras_that_changes_its_argument_resumes(tmp_path: Path) -> None:
    first = [Patient("loss", patience=3), End(at=1)]
    with pytest.raises(Ended):
        make(tmp_path, callbacks=first).fit(X, Y)
    first[1].at = None
    make(tmp_path, callbacks=first).fit(X, Y)
    for callbacks in (first, [Patient("loss", patience=3), End()]):
        for _ in range(2):  # given back, which restores the callback
            make(tmp_path, callbacks=callbacks).fit(X, Y)
            assert callbacks[0].patience == 6
    with pytest.raises(RunError, match="'patience': 3.*'patience': 4"):
        make(tmp_path, callbacks=[Patient("loss", patience=4), End()]).fit(X, Y)


@pytest.mark.parametrize("form", ["a list", "one"])
def test_a_run_that_described_a_callback_by_its_class_resumes(form: str, tmp_path: Path) -> None:
    def callbacks() -> Any:
        return Freeze(2) if form == "one" else [Freeze(2)]

    make(tmp_path, callbacks=callbacks()).fit(X, Y)
    before = config(tmp_path)
    described = before["fields"]["callbacks"]
    del (described if form == "one" else described[0])["arguments"]
    (tmp_path / "config.json").write_text(json.dumps(before))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "callbacks=.*cannot be written to a file")
        make(tmp_path, callbacks=callbacks()).fit(X, Y)


def test_what_takes_no_part_in_the_numbers_may_change(tmp_path: Path) -> None:
    ended(tmp_path / "run", optimizer=keras.optimizers.Adam(0.01))
    (tmp_path / "run").rename(tmp_path / "moved")
    again = make(tmp_path / "moved", verbose=2, optimizer=keras.optimizers.Adam(0.01))
    again.set_params(save_steps=None, save_minutes=1.0).fit(X, Y)
    whole = make(tmp_path / "whole", optimizer=keras.optimizers.Adam(0.01)).fit(X, Y)
    assert weights(again) == weights(whole)


def test_resume_true_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="resume=True: there is no run in .*resume='auto'"):
        make(tmp_path).fit(X, Y, resume=True)
    with pytest.raises(ValueError, match="resume=True: there is no run_dir"):
        Small(verbose=0).fit(X, Y, resume=True)
    with pytest.raises(ValueError, match="resume='yes': must be one of 'auto', True, False"):
        Small(verbose=0).fit(X, Y, resume="yes")


def test_resume_false_begins_a_run_and_overwrites_none(tmp_path: Path) -> None:
    ended(tmp_path / "run")
    with pytest.raises(RunError, match="resume=False: .*unfinished run.*resume='auto'"):
        make(tmp_path / "run").fit(X, Y, resume=False)
    make(tmp_path / "new").fit(X, Y, resume=False)
    assert config(tmp_path / "new")["status"] == "finished"


@pytest.mark.parametrize("first", ["finished", "unfinished"])
def test_more_epochs_give_what_a_longer_run_gives(first: str, tmp_path: Path) -> None:
    longer = make(tmp_path / "longer", epochs=5).fit(X, Y)
    if first == "finished":
        make(tmp_path / "run").fit(X, Y)
    else:
        ended(tmp_path / "run")
    extended = make(tmp_path / "run", epochs=5).fit(X, Y, resume=True)
    assert weights(extended) == weights(longer)
    assert extended.history_["loss"] == longer.history_["loss"]
    assert config(tmp_path / "run")["fields"]["epochs"] == 5
    loaded = Small.load(tmp_path / "run" / "model.keras")
    assert weights(loaded) == weights(longer)


@pytest.mark.parametrize("state", [None, "generator"])
def test_a_drawn_seed_is_the_runs(state: Any, tmp_path: Path) -> None:
    def drawn() -> Any:
        return np.random.RandomState() if state else None

    ended(tmp_path / "run", random_state=drawn())
    seed = config(tmp_path / "run")["seed"]
    resumed = make(tmp_path / "run", random_state=drawn()).fit(X, Y)
    assert resumed.seed_ == seed
    assert weights(resumed) == weights(make(tmp_path / "whole", random_state=seed).fit(X, Y))


def test_a_configuration_that_no_run_wrote_is_named(tmp_path: Path) -> None:
    for content in ("{", "[]", '{"name": "another program"}'):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(RunError, match="its config.json was not written by a run"):
            make(tmp_path).fit(X, Y)
        assert (tmp_path / "config.json").read_text() == content


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"run_dir='.*file/run': cannot be created"):
        make(tmp_path / "file" / "run").fit(X, Y)


def test_a_folder_in_use_is_refused_and_free_after_the_fit(tmp_path: Path) -> None:
    class Second(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            with pytest.raises(RunError, match=r"process \d+ on .* has been using it since"):
                make(tmp_path).fit(X, Y)

    make(tmp_path, callbacks=[Second()], epochs=1).fit(X, Y)
    assert len(make(tmp_path, callbacks=[Second()], epochs=1).fit(X, Y).history_) == 1


def test_another_version_is_warned_of(tmp_path: Path) -> None:
    ended(tmp_path)
    path = tmp_path / "environment.json"
    environment = json.loads(path.read_text())
    environment["packages"]["keras"] = "3.1"
    path.write_text(json.dumps(environment))
    with pytest.warns(UserWarning, match="keras 3.1 is now 3.*may not resume exactly"):
        make(tmp_path).fit(X, Y)


def test_another_number_of_threads_is_warned_of_until_the_run_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as begun:
        begun.setenv("TF_NUM_INTRAOP_THREADS", "99")
        ended(tmp_path)
    with pytest.warns(UserWarning, match="TensorFlow's threads was 99 and is now .*not resume ex"):
        make(tmp_path).fit(X, Y)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*may not resume exactly")
        make(tmp_path, epochs=5).fit(X, Y, resume=True)


def test_a_kill_while_a_run_begins_leaves_no_config_without_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    written: list[str] = []
    write = Run._write

    def killed(self: Run, name: str, *rest: Any) -> None:
        write(self, name, *rest)
        written.append(name)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Run, "_write", killed)
        with pytest.raises(Killed):
            make(tmp_path).fit(X, Y)
    assert written == ["environment.json"]
    assert len(make(tmp_path).fit(X, Y).history_) == 3


def test_a_log_that_cannot_be_written_ends_no_training(tmp_path: Path) -> None:
    (tmp_path / "run.log").mkdir()
    (tmp_path / "history.csv").mkdir()
    with pytest.warns(UserWarning) as caught:
        trainer = make(tmp_path).fit(X, Y)
    words = " ".join(str(w.message) for w in caught)
    assert "run.log: not written" in words and "history.csv: not written" in words
    assert len(trainer.history_) == 3
    assert config(tmp_path)["status"] == "finished"


def test_the_history_on_disk_can_be_read_while_training_goes_on(tmp_path: Path) -> None:
    seen = []

    class Read(Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if (tmp_path / "history.csv").exists():
                seen.append(len((tmp_path / "history.csv").read_text().splitlines()))

    make(tmp_path, callbacks=[Read()], epochs=3).fit(X, Y)
    assert seen and seen[0] == 2


def test_a_fit_that_was_refused_before_it_trained_does_not_occupy_its_folder(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "run"
    bad = {"name": "early_stopping", "patience": 0}
    with pytest.raises(ValueError, match="patience=0"):
        Classifier(epochs=1, verbose=0, run_dir=folder, callbacks=[bad]).fit(X, Y)
    trainer = Classifier(epochs=1, verbose=0, run_dir=folder, callbacks=["early_stopping"])
    assert len(trainer.fit(X, Y).history_) == 1
    assert len(trainer.fit(X, Y).history_) == 1


def test_a_run_that_was_killed_before_its_first_state_goes_on_in_the_folders_of_its_plugins(
    tmp_path: Path,
) -> None:
    class Kill(Callback):
        """Ends the first epoch, once."""

        def on_chunk_end(self, steps: int, logs: dict[str, float]) -> None:
            if not (tmp_path / "killed").exists():
                (tmp_path / "killed").touch()
                raise Ended

    fields = {"epochs": 1, "verbose": 0, "run_dir": tmp_path / "run"}
    with pytest.raises(Ended):
        Classifier(**fields, callbacks=["tensorboard", Kill()]).fit(X, Y)
    assert list((tmp_path / "run" / "tensorboard").rglob("events.*"))
    trainer = Classifier(**fields, callbacks=["tensorboard", Kill()]).fit(X, Y)
    assert len(trainer.history_) == 1


# ---- links, a folder that moves, is removed or is taken ----------------------------------------


@pytest.mark.parametrize("name", ["run", "link", "dangling"])
def test_the_folder_may_be_a_link_and_is_resolved_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "dangling").symlink_to("made")
    monkeypatch.chdir(tmp_path)
    trainer = make(Path(name)).fit(X, Y)
    real = tmp_path / {"run": "run", "link": "real", "dangling": "made"}[name]
    assert trainer.run_ == real and (real / "model.keras").exists()
    assert (tmp_path / name).is_symlink() is (name != "run")


NAMES = [*directory._WRITTEN, ".lock", ".holder.json", "epochs.csv", "images", "statistics.csv"]
INNER = ["checkpoints/.lock", "checkpoints/.run.json", "checkpoints/epoch-0001-loss-0.3.keras"]


@pytest.mark.parametrize("dangling", [False, True])
@pytest.mark.parametrize("name", [*NAMES, *INNER, "tensorboard", "images/epoch_0001.png"])
def test_a_link_in_the_place_of_what_a_run_writes_is_refused_by_name_before_training(
    name: str, dangling: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, outside = tmp_path / "run", tmp_path / "outside"
    (folder / name).parent.mkdir(parents=True)
    if not dangling:
        if Path(name).suffix or name == ".lock":
            outside.write_text("precious")
        else:
            outside.mkdir()
    (folder / name).symlink_to(outside)
    trains_nothing(monkeypatch)
    plugins = ["csv", "statistics", "checkpoint", "tensorboard"]
    images = ["image_predictions"] if "images" in name else []
    x = np.zeros((40, 2, 2), "float32") if images else X
    with pytest.raises(ValueError, match=f"{name}.* is a link"):
        Classifier(
            model="mlp", epochs=1, verbose=0, run_dir=folder, callbacks=images or plugins
        ).fit(x, Y)
    assert outside.exists() is not dangling
    if outside.is_file():
        assert outside.read_text() == "precious"
    elif not dangling:
        assert list(outside.iterdir()) == []


def test_a_link_that_a_run_does_not_write_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes").symlink_to(tmp_path / "outside")
    make(tmp_path / "run").fit(X, Y)
    assert (tmp_path / "run" / "notes").is_symlink()


class Do(Callback):
    """Does something at the end of an epoch."""

    def __init__(self, what: Any, at: int = 0) -> None:
        super().__init__()
        self._what, self._at = what, at

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == self._at:
            self._what()

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}


@pytest.mark.curves
@pytest.mark.filterwarnings("ignore:.*(link|not saved|continues).*:UserWarning")  # more than one
@pytest.mark.parametrize("name", ["run.log", "history.csv", "model.keras", "checkpoints", "plots"])
def test_a_link_that_appears_during_training_is_not_written_through(
    name: str, tmp_path: Path
) -> None:
    last = name in ("model.keras", "plots")
    folder, outside = tmp_path / "run", tmp_path / "outside"

    def link() -> None:
        if (folder / name).exists():
            (folder / name).rename(tmp_path / "moved")
        (folder / name).symlink_to(outside)

    outside.mkdir() if "." not in name else outside.write_text("precious")
    trainer = make(folder, callbacks=[Do(link)])
    told: Any = pytest.raises(OSError, match="is a link")
    with told if last else pytest.warns(UserWarning, match="is a link"):
        trainer.fit(X, Y)
    assert len(trainer.history_) == 3
    if "." in name:
        assert outside.read_text() == "precious"
    else:
        assert list(outside.iterdir()) == []


def test_a_relative_folder_stays_where_it_was_when_a_callback_changes_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make(tmp_path / "whole", callbacks=[Do(lambda: None), End()]).fit(X, Y)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)

    def plugins(end: int | None) -> list[Any]:
        names = {"csv": "path", "tensorboard": "log_dir", "checkpoint": "folder"}
        named = [{"name": n, field: f"own-{n}"} for n, field in names.items()]
        return [Do(lambda: os.chdir(tmp_path / "elsewhere")), *named, End(at=end)]

    with pytest.raises(Ended):
        make(Path("run"), callbacks=plugins(1)).fit(X, Y)
    assert list((tmp_path / "run" / "checkpoints").glob("state-*"))
    monkeypatch.chdir(tmp_path)
    resumed = make(Path("run"), callbacks=plugins(None)).fit(X, Y)
    assert weights(resumed) == weights(whole)
    assert resumed.run_ == tmp_path / "run"
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert len((tmp_path / "own-csv").read_text().splitlines()) == 4
    assert resumed.callbacks_[3].best.is_file()


@pytest.mark.parametrize("at", [0, 2])
def test_a_folder_that_is_removed_is_told_of_once_and_training_goes_on(
    at: int, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    plugins = ["csv", "statistics", "checkpoint", "tensorboard"]

    def delete() -> None:
        moved = folder.rename(tmp_path / "moved")  # at once: piece by piece is another case
        while moved.exists():  # a state may be being written
            shutil.rmtree(moved, ignore_errors=True)

    remove = Do(delete, at)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = make(folder, callbacks=[remove, *plugins]).fit(X, Y)
    said = [str(w.message) for w in caught if str(folder) in str(w.message)]
    assert len(said) == 1, said
    assert "it was removed. Training continues" in said[0] and "save('model.keras')" in said[0]
    assert not folder.exists()
    assert len(trainer.history_) == 3 and trainer.predict(X).shape == (40,)
    assert weights(trainer) == weights(make(tmp_path / "b", callbacks=[*plugins]).fit(X, Y))


DESCRIBED = {
    "class": "Small",
    "fields": {"epochs": 1},
    "code": {},
    "data": {"training": None, "validation": None},
}


@pytest.mark.filterwarnings("error")
def test_a_plugin_writes_even_if_the_disk_did_not_answer_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.open(tmp_path / "run", DESCRIBED, "auto", 0, own_seed=False)

    def fails(path: Path) -> bool:
        raise OSError(errno.EIO, "Input/output error", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "is_symlink", fails)
        assert run.may_write(run.path / "checkpoints")
    run.close()


def test_threads_that_notice_a_removed_folder_together_tell_of_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    told: list[Any] = []
    both = threading.Barrier(2)
    check = Hold.check

    def together(hold: Hold) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(timeout=1)  # where only one gets here at a time, this is over in a second
        check(hold)

    run = Run.open(folder, DESCRIBED, "auto", 0, own_seed=False)
    shutil.rmtree(folder)
    monkeypatch.setattr(Hold, "check", together)
    monkeypatch.setattr(warnings, "warn", lambda text, **_: told.append(text))
    threads = [threading.Thread(target=run.held) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.close()
    assert len(told) == 1 and "it was removed" in told[0]


def test_who_took_the_folder_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    states: list[StateFolder] = []
    taken: list[Any] = []

    class Noted(StateFolder):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            states.append(self)

    monkeypatch.setattr(directory, "StateFolder", Noted)

    def take() -> None:
        states[0].wait()  # the thread that writes them would lock the folder again before us
        (folder / ".lock").unlink()
        taken.append(Hold(folder))
        taken.append(contents(folder))

    with pytest.warns(UserWarning, match="has been using it since.*nothing more is written"):
        trainer = make(folder, callbacks=[Do(take), "csv"]).fit(X, Y)
    assert len(trainer.history_) == 3
    hold, before = taken
    assert contents(folder) == before
    hold.check()
    hold.release()
    assert weights(make(folder, callbacks=[Do(lambda: None), "csv"]).fit(X, Y)) == weights(trainer)


def test_a_lock_whose_file_alone_was_deleted_still_keeps_others_out(tmp_path: Path) -> None:
    def delete() -> None:
        (tmp_path / ".lock").unlink()

    def second() -> None:
        with pytest.raises(RunError, match="has been using it since"):
            make(tmp_path).fit(X, Y)

    with warnings.catch_warnings():
        warnings.filterwarnings("error", "run_dir=")
        make(tmp_path, callbacks=[Do(delete), Do(second, 1)]).fit(X, Y)
    assert config(tmp_path)["status"] == "finished"


def test_a_file_system_without_locks_is_named_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def refused(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(RunError, match="run_dir='.*cannot be locked .*file system with locks"):
        make(tmp_path).fit(X, Y)
    assert not (tmp_path / "config.json").exists()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_states_that_cannot_be_listed_are_not_taken_for_none(tmp_path: Path) -> None:
    ended(tmp_path)
    (tmp_path / "checkpoints").chmod(0)
    try:
        with pytest.raises(RunError, match="checkpoints cannot be read .*would be overwritten"):
            make(tmp_path).fit(X, Y)
    finally:
        (tmp_path / "checkpoints").chmod(0o755)


@pytest.mark.parametrize(
    ("ended", "epochs"),
    [
        ({"status": "finished"}, 3),
        ({"status": "stopped", "stopped_by": "time_limit"}, 3),
        ({"status": "stopped", "stopped_by": "SIGTERM"}, None),
        ({"status": "unfinished"}, None),
    ],
)
def test_a_trial_that_a_plugin_stopped_has_ended_and_one_that_a_signal_stopped_has_not(
    ended: dict[str, Any], epochs: int | None, tmp_path: Path
) -> None:
    data = {"training": {}, "validation": None}
    own = {"format": 1, "class": "Net", "data": data, "run": "0" * 16, "seed": 1, "begun": "now"}
    config = {**own, "fields": {"epochs": 3}, **ended}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert directory.finished_epochs(tmp_path) == epochs


def test_a_set_is_described_in_one_order() -> None:
    words = {"near", "sold", "rooms", "price"}
    assert described(words) == "{'near', 'price', 'rooms', 'sold'}"
    assert described(frozenset(words)) == "frozenset({'near', 'price', 'rooms', 'sold'})"
