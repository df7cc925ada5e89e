"""Checkpoint: the best and the last epochs are files, also after a run that was interrupted."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from trainer import Regressor, saving
from trainer.callbacks import Checkpoint

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 4)).astype("float32")
Y = X[:, 0] - X[:, 1] ** 2
VALID = (X[:16] + 0.5, Y[:16])
SWINGING = [0.5, 0.9, 0.2, 0.7, 0.4, 0.2, float("nan"), 0.3]


class Small(Regressor):
    epochs = 3
    batch_size = 8
    learning_rate = 0.05
    metrics = ()
    random_state = 0
    verbose = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(1)])


class Swinging(keras.callbacks.Callback):
    """Logs a value that goes up and down, and keeps the weights of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: dict[str, Any] = {}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["swing"] = SWINGING[epoch]
        self.weights[str(epoch + 1)] = [np.array(w) for w in self.model.weights]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.keras"))


def test_the_best_epochs_are_kept_under_their_number_and_value(tmp_path: Path) -> None:
    checkpoint = Checkpoint(keep=2, monitor="swing", mode="min", folder=tmp_path / "kept")
    Small(epochs=8, callbacks=(Swinging(), checkpoint)).fit(X, Y)
    assert files(tmp_path / "kept") == ["epoch-0003-swing-0.2.keras", "epoch-0006-swing-0.2.keras"]
    assert [k["epoch"] for k in checkpoint.kept] == [3, 6]  # of equal ones the first
    assert checkpoint.best == tmp_path / "kept" / "epoch-0003-swing-0.2.keras"


def test_the_last_epochs_are_kept_beside_the_best(tmp_path: Path) -> None:
    checkpoint = Checkpoint(keep=1, last=2, monitor="swing", mode="max", folder=tmp_path)
    Small(epochs=8, callbacks=(Swinging(), checkpoint)).fit(X, Y)
    assert files(tmp_path) == [
        "epoch-0002-swing-0.9.keras",
        "epoch-0007-swing-nan.keras",
        "epoch-0008-swing-0.3.keras",
    ]
    assert [k["epoch"] for k in checkpoint.kept] == [2, 7, 8]


def test_a_value_that_is_no_number_is_never_among_the_best(tmp_path: Path) -> None:
    checkpoint = Checkpoint(keep=20, monitor="swing", mode="min", folder=tmp_path)
    Small(epochs=8, callbacks=(Swinging(), checkpoint)).fit(X, Y)
    assert [k["epoch"] for k in checkpoint.kept] == [3, 6, 8, 5, 1, 4, 2]


def test_only_the_last_epochs_are_kept_with_keep_0(tmp_path: Path) -> None:
    Small(callbacks=({"name": "checkpoint", "keep": 0, "last": 1, "folder": tmp_path},)).fit(X, Y)
    (only,) = files(tmp_path)
    assert only.startswith("epoch-0003-loss-")


@pytest.mark.parametrize("normalize", [None, "standard"])
def test_a_file_holds_the_epoch_for_trainer_and_for_plain_keras(
    tmp_path: Path, normalize: str | None
) -> None:
    seen = Swinging()
    checkpoint = Checkpoint(monitor="swing", mode="max", folder=tmp_path)
    fitted = Small(normalize=normalize, callbacks=(seen, checkpoint), validation_split=0.25)
    with pytest.warns(UserWarning, match="callbacks="):  # Swinging has no form in a file
        fitted.fit(X, Y)
    loaded = Small.load(checkpoint.best)
    for ours, theirs in zip(loaded.model_.weights, seen.weights["2"], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    plain = keras.saving.load_model(checkpoint.best)
    np.testing.assert_array_equal(plain.predict(X, verbose=0), loaded.model_.predict(X, verbose=0))
    # its history ends with the epoch itself, and the Trainer's own is as it was
    without = [{k: v for k, v in r.items() if k != "seconds"} for r in fitted.history_.records]
    assert [
        {k: v for k, v in r.items() if k != "seconds"} for r in loaded.history_.records
    ] == without[:2]


def test_validation_loss_is_watched_where_there_are_validation_data(tmp_path: Path) -> None:
    checkpoint = Checkpoint(folder=tmp_path)
    fitted = Small(callbacks=(checkpoint,)).fit(X, Y, validation_data=VALID)
    epoch, value = fitted.history_.best("val_loss")
    assert [(k["epoch"], k["value"]) for k in checkpoint.kept] == [(epoch, value)]
    assert files(tmp_path) == [f"epoch-{epoch:04d}-val_loss-{value:.4g}.keras"]


def test_the_model_has_the_best_epochs_weights_and_optimizer_at_the_end(tmp_path: Path) -> None:
    seen = Swinging()
    checkpoint = Checkpoint(
        monitor="swing", mode="max", folder=tmp_path / "kept", restore_best=True
    )
    fitted = Small(
        epochs=4, normalize="standard", run_dir=tmp_path / "run", callbacks=(seen, checkpoint)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Swinging has no form in a file
        fitted.fit(X, Y)
        saved = Small.load(tmp_path / "run" / "model.keras")
    for mine, theirs, best in zip(
        fitted.model_.weights, saved.model_.weights, seen.weights["2"], strict=True
    ):
        np.testing.assert_array_equal(mine, best)
        np.testing.assert_array_equal(theirs, best)
    assert int(fitted.model_.optimizer.iterations) == 2 * 6
    assert len(fitted.history_) == 4


def test_a_lost_file_of_the_best_epoch_is_warned_of(tmp_path: Path) -> None:
    lost = keras.callbacks.LambdaCallback(
        on_train_end=lambda logs: [p.unlink() for p in tmp_path.glob("*.keras")]
    )
    checkpoint = Checkpoint(folder=tmp_path, restore_best=True)
    with pytest.warns(UserWarning, match="the best epoch, 2, is not restored"):
        Small(epochs=2, callbacks=(lost, checkpoint)).fit(X, Y)


def test_a_second_fit_of_the_same_object_begins_anew_in_its_own_run(tmp_path: Path) -> None:
    checkpoint = Checkpoint()
    for run in ("one", "two"):
        fitted = Small(epochs=2, callbacks=(checkpoint,), run_dir=tmp_path / run).fit(X, Y)
        assert [k["value"] for k in checkpoint.kept] == [fitted.history_.best("loss")[1]]
        assert files(tmp_path / run / "checkpoints") == [checkpoint.kept[0]["file"]]


def test_the_checkpoints_of_another_run_are_not_touched(tmp_path: Path) -> None:
    trainer = Small(epochs=1, callbacks=({"name": "checkpoint", "folder": str(tmp_path)},))
    trainer.fit(X, Y)
    before = {path: path.read_bytes() for path in tmp_path.glob("*.keras")}
    with pytest.raises(ValueError, match="epoch-0001-loss-.* of another run.*write another folder"):
        trainer.fit(X, Y)
    assert {path: path.read_bytes() for path in tmp_path.glob("*.keras")} == before
    assert len(before) == 1


def test_two_checkpoints_in_one_folder_are_refused(tmp_path: Path) -> None:
    both = (Checkpoint(), Checkpoint(keep=0, last=1))
    with pytest.raises(ValueError, match="another callback or process writes to it"):
        Small(callbacks=both, run_dir=tmp_path).fit(X, Y)


def test_other_files_in_the_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "epoch-0001-mine.keras").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine too")
    Small(callbacks=(Checkpoint(folder=tmp_path),)).fit(X, Y)
    assert (tmp_path / "epoch-0001-mine.keras").read_text() == "mine"
    assert (tmp_path / "notes.txt").exists()


def test_a_full_disk_is_warned_of_and_the_earlier_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = saving.write_whole

    def full(path: Any, content: bytes) -> None:
        if "epoch-0001" not in str(path):
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(saving, "write_whole", full)
    checkpoint = Checkpoint(folder=tmp_path, last=1)
    with pytest.warns(UserWarning, match="epoch 3 was not saved: .*No space left"):
        fitted = Small(callbacks=(checkpoint,)).fit(X, Y)
    assert len(fitted.history_) == 3
    assert len(files(tmp_path)) == 1
    assert Small.load(checkpoint.best)


def test_a_saved_trainer_has_its_plugins_back(tmp_path: Path) -> None:
    checkpoint = Checkpoint(keep=2, folder=tmp_path / "kept")
    fitted = Small(callbacks=(checkpoint,)).fit(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fitted.save(tmp_path / "model.keras")
    (loaded,) = Small.load(tmp_path / "model.keras").callbacks
    expected = {"name": "checkpoint", **checkpoint.get_params()}
    del expected["folder"]  # where it writes is not in the file
    assert loaded == expected


def make(run_dir: str) -> Small:
    best = {"name": "checkpoint", "keep": 2, "last": 1, "restore_best": True}
    return Small(
        epochs=5,
        learning_rate=None,
        optimizer=keras.optimizers.SGD(0.3, momentum=0.9),  # it swings
        callbacks=(best,),
        run_dir=run_dir,
    )


@pytest.mark.parametrize("at", [[(1, 4), (2, 0)], [(2, 6), (4, 2)], [(5, 0)]])
def test_an_interrupted_run_keeps_what_an_unbroken_one_keeps(
    interrupted_run: Callable[..., Any], tmp_path: Path, at: list[tuple[int, int]]
) -> None:
    interrupted_run(make, X, Y, at=at, validation_data=VALID)
    whole, resumed = (tmp_path / name / "checkpoints" for name in ("whole", "resumed"))
    assert files(whole) == files(resumed)
    for name in files(whole):
        one, other = (Small.load(folder / name) for folder in (whole, resumed))
        for ours, theirs in zip(one.model_.weights, other.model_.weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_files_of_epochs_that_are_trained_again_do_not_mislead(
    interrupted_run: Callable[..., Any], tmp_path: Path
) -> None:
    folder = tmp_path / "resumed" / "checkpoints"

    def killed_later(run_dir: str) -> Small:
        if folder.exists():
            # as a killed run leaves it that came further than the state it goes on from
            (folder / "epoch-0005-val_loss-1e-09.keras").write_text("later")
        return make(run_dir)

    interrupted_run(killed_later, X, Y, at=[(1, 4)], validation_data=VALID)
    assert files(folder) == files(tmp_path / "whole" / "checkpoints")


def test_checkpoints_that_were_in_a_new_runs_folder_are_not_touched(tmp_path: Path) -> None:
    kept = tmp_path / "run" / "checkpoints"
    Small(epochs=1, callbacks=(Checkpoint(folder=kept),)).fit(X, Y)
    before = {path: path.read_bytes() for path in kept.glob("*.keras")}
    with pytest.raises(ValueError, match="of another run"):
        Small(callbacks=("checkpoint",), run_dir=tmp_path / "run").fit(X, Y)
    assert {path: path.read_bytes() for path in kept.glob("*.keras")} == before


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"keep": -1}, "keep=-1: must be 0 or more; write keep=3"),
        ({"keep": "3"}, "keep='3': must be a whole number"),
        ({"last": 1.5}, "last=1.5: must be a whole number"),
        ({"keep": 0}, "keep=0: with last=0 nothing is kept; write keep=1"),
        ({"keep": 0, "last": 1, "restore_best": True}, "restore_best=True: with keep=0"),
        ({"restore_best": "yes"}, "restore_best='yes': must be True or False"),
        ({"monitor": "los"}, "monitor='los': there will be no such log; did you mean 'loss'"),
        ({"monitor": "val_loss"}, "monitor='val_loss': there are no validation data"),
        ({"monitor": 3}, "monitor=3: must be the name of a log"),
        ({"mode": "low"}, "mode='low': must be one of 'min', 'max'"),
        ({"folder": 3}, "folder=3: must be a path"),
        ({"folder": None}, "folder=None: there is no run_dir.*folder='checkpoints'"),
    ],
)
def test_a_bad_field_is_named_before_training(
    fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    begun: list[Any] = []
    first = keras.callbacks.History()
    first.on_train_begin = begun.append
    checkpoint = Checkpoint(**{"folder": tmp_path / "kept"} | fields)
    with pytest.raises((ValueError, TypeError), match=message):
        Small(callbacks=(first, checkpoint)).fit(X, Y)
    assert not begun


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="folder=.*cannot be written to"):
        Small(callbacks=(Checkpoint(folder=tmp_path / "file" / "kept"),)).fit(X, Y)


def test_a_log_that_is_never_there_is_named_at_the_end_of_the_first_epoch(tmp_path: Path) -> None:
    checkpoint = Checkpoint(monitor="swong", mode="min", folder=tmp_path)
    with pytest.raises(ValueError, match="monitor='swong': was not logged; did you mean 'swing'"):
        Small(callbacks=(Swinging(), checkpoint)).fit(X, Y)


def test_a_log_of_unknown_direction_needs_a_mode(tmp_path: Path) -> None:
    checkpoint = Checkpoint(monitor="swing", folder=tmp_path)
    with pytest.raises(ValueError, match="monitor='swing': .* whether lower or higher.*mode='min'"):
        Small(callbacks=(Swinging(), checkpoint)).fit(X, Y)
