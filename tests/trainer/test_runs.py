"""Run directories: a fit begins, goes on, or is refused with the difference."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from trainer import Classifier, runs
from trainer.callbacks.callback import Callback
from trainer.runs import RunError

pytestmark = pytest.mark.usefixtures("no_curves")

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


def test_the_folder_holds_what_was_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # of no_curves: here they are drawn
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
    assert "begins" in log and "epoch 3" in log and "finished after 3 epochs" in log


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
    assert "ended by Ended" in log and "goes on from epoch 2" in log


def test_a_run_that_was_killed_before_its_model_was_written_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make(tmp_path / "whole").fit(X, Y)
    with monkeypatch.context() as patch, pytest.raises(Ended):
        patch.setattr(runs.saving, "save", _raises)
        make(tmp_path / "run").fit(X, Y)
    resumed = make(tmp_path / "run").fit(X, Y)
    assert weights(resumed) == weights(whole)
    assert len(resumed.history_) == 3
    assert (tmp_path / "run" / "model.keras").exists()


def _raises(*arguments: Any) -> None:
    raise Ended


@pytest.mark.parametrize("resume", ["auto", True, False])
def test_a_finished_run_is_never_overwritten(resume: Any, tmp_path: Path) -> None:
    make(tmp_path).fit(X, Y)
    before = (tmp_path / "model.keras").read_bytes()
    with pytest.raises(RunError, match=r"holds a finished run.*Small\.load\(") as error:
        make(tmp_path, units=5).fit(X, Y, resume=resume)
    assert "more epochs" not in str(error.value)
    with pytest.raises(RunError, match="resume=True with more epochs trains it further"):
        make(tmp_path).fit(X, Y, resume=resume)
    assert (tmp_path / "model.keras").read_bytes() == before
    assert config(tmp_path)["status"] == "finished"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"units": 5}, "units was 4, is 5"),
        ({"epochs": 4}, "epochs was 3, is 4"),
        ({"random_state": 2}, "random_state was 1, is 2"),
        ({"callbacks": ["early_stopping"]}, "callbacks was .*early_stopping"),
        ({"optimizer": keras.optimizers.Adam(0.5)}, "optimizer was 'adam', is .*0.5"),
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
        with pytest.raises(RunError, match="its config.json is none that a run wrote"):
            make(tmp_path).fit(X, Y)
        assert (tmp_path / "config.json").read_text() == content


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"run_dir='.*file/run': cannot be made"):
        make(tmp_path / "file" / "run").fit(X, Y)


def test_a_folder_in_use_is_refused_and_free_after_the_fit(tmp_path: Path) -> None:
    class Second(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            with pytest.raises(RunError, match=r"process \d+ on .* has been using it since"):
                make(tmp_path).fit(X, Y)

    make(tmp_path, callbacks=[Second()], epochs=1).fit(X, Y)
    with pytest.raises(RunError, match="finished"):
        make(tmp_path, callbacks=[Second()], epochs=1).fit(X, Y)


def test_another_version_is_warned_of(tmp_path: Path) -> None:
    ended(tmp_path)
    path = tmp_path / "environment.json"
    environment = json.loads(path.read_text())
    environment["packages"]["keras"] = "3.1"
    path.write_text(json.dumps(environment))
    with pytest.warns(UserWarning, match="keras 3.1 is now 3.*may not go on to the bit"):
        make(tmp_path).fit(X, Y)


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
    with pytest.raises(RunError, match="holds a finished run"):
        trainer.fit(X, Y)


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
