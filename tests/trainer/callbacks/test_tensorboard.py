"""TensorBoard: what a TensorBoard that is started on the folder shows, also of a resumed run."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import keras
import numpy as np
import pytest
import tensorflow as tf
from patience import SECONDS

from trainer import Classifier, Regressor
from trainer.callbacks import TensorBoard

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 4)).astype("float32")
Y = X[:, 0] - X[:, 1] ** 2
VALID = (X[:16] + 0.5, Y[:16])


class Small(Regressor):
    epochs = 5
    batch_size = 8
    learning_rate = 0.05
    metrics = ("mae",)
    random_state = 0
    verbose = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(1, name="d")])


class Own(keras.Model):
    """A subclassed model without a config."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.head = keras.layers.Dense(units)

    def call(self, x: Any) -> Any:
        return self.head(x)


class Subclassed(Small):
    def build_model(self, spec: Any) -> keras.Model:
        return Own(1)


def summaries(folder: Path) -> dict[str, list[int]]:
    """The steps under each tag of the event files of a folder, in the order of writing."""
    found: dict[str, list[int]] = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                found.setdefault(value.tag, []).append(event.step)
    return found


@pytest.fixture
def scalars() -> Iterator[Callable[..., list[tuple[int, float]]]]:
    """`scalars(logdir, tag, run, last)`: what a TensorBoard shows, asked over HTTP.

    It waits until step `last` is shown: TensorBoard answers while it is still reading.
    """
    servers: dict[Path, tuple[subprocess.Popen[bytes], str]] = {}

    def ask(logdir: Path, tag: str, run: str, last: int) -> list[tuple[int, float]]:
        if logdir not in servers:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir)]
            command += ["--host", "127.0.0.1", "--port", str(port)]
            process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            servers[logdir] = process, f"http://127.0.0.1:{port}"
        process, address = servers[logdir]
        url = f"{address}/data/plugin/scalars/scalars?tag={quote(tag)}&run={quote(run)}"
        until = time.monotonic() + SECONDS
        found: list[tuple[int, float]] = []
        while time.monotonic() < until:
            assert process.poll() is None, "TensorBoard has ended"
            try:
                with urllib.request.urlopen(url, timeout=10) as answer:
                    found = [(step, value) for _, step, value in json.load(answer)]
                if found and found[-1][0] == last:
                    return found
            except (urllib.error.URLError, OSError):  # it starts, or has not read the run yet
                found = []
            time.sleep(0.25)
        raise AssertionError(f"{url} has not shown step {last} in time, but {found}")

    yield ask
    for process, _ in servers.values():
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def test_tensorboard_shows_a_resumed_run_as_one_line(
    interrupted_run: Callable[..., Any], scalars: Callable[..., Any], tmp_path: Path
) -> None:
    def make(run_dir: str) -> Small:
        board = {"name": "tensorboard", "every_n_batches": 3}
        return Small(callbacks=(board,), run_dir=run_dir)

    _, resumed = interrupted_run(make, X, Y, at=[(1, 4), (3, 0)], validation_data=VALID)
    logdir = tmp_path / "resumed" / "tensorboard"
    history = resumed.history_
    for run, prefix in (("train", ""), ("validation", "val_")):
        shown = scalars(logdir, "epoch_loss", run, 4)
        assert [step for step, _ in shown] == [0, 1, 2, 3, 4]
        np.testing.assert_allclose([value for _, value in shown], history[f"{prefix}loss"], 1e-6)
    rates = scalars(logdir, "epoch_learning_rate", "train", 4)
    np.testing.assert_allclose([value for _, value in rates], [0.05] * 5, 1e-6)
    batches = scalars(logdir, "batch_loss", "train", 29)
    assert [step for step, _ in batches] == list(range(2, 30, 3))
    last = [value for step, value in batches if step % 6 == 5]  # the mean over the epoch
    np.testing.assert_allclose(last, history["loss"], 1e-6)


def test_epochs_that_are_trained_again_are_shown_once(
    short_dispatches: None,
    scalars: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from trainer.runs.checkpointing import Checkpointer

    saved = Checkpointer.passed
    late = (2, 0)  # what comes after it is not saved: the run goes on from there

    def make(run_dir: str) -> Small:
        return Small(callbacks=("tensorboard",), run_dir=run_dir)

    class Killed(Exception):
        pass

    def killed(keeper: Any, position: Any) -> None:
        if (position.epoch, position.step) <= late:
            saved(keeper, position)
        if position.epoch == 4:
            raise Killed

    run = make(str(tmp_path / "run")).set_params(save_steps=2)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpointer, "passed", killed)
        with pytest.raises(Killed):
            run.fit(X, Y)
    fitted = make(str(tmp_path / "run")).set_params(save_steps=2).fit(X, Y)
    logdir = tmp_path / "run" / "tensorboard"
    assert sorted(summaries(logdir / "train")["epoch_loss"]) == [0, 1, 2, 2, 3, 3, 4]
    shown = scalars(logdir, "epoch_loss", "train", 4)
    assert [step for step, _ in shown] == [0, 1, 2, 3, 4]
    np.testing.assert_allclose([value for _, value in shown], fitted.history_["loss"], 1e-6)


def test_scalars_are_written_by_epoch_under_keras_names(tmp_path: Path) -> None:
    Small(callbacks=({"name": "tensorboard", "log_dir": str(tmp_path)},), epochs=3).fit(
        X, Y, validation_data=VALID
    )
    train, validation = summaries(tmp_path / "train"), summaries(tmp_path / "validation")
    for tag in ("epoch_loss", "epoch_mae", "epoch_learning_rate"):
        assert train[tag] == [0, 1, 2]
    assert validation["epoch_loss"] == validation["epoch_mae"] == [0, 1, 2]
    assert validation["evaluation_loss_vs_iterations"] == [6, 12, 18]
    assert not [tag for tag in train if tag.startswith("batch_")]


def test_what_is_written_is_on_disk_before_a_state_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short_dispatches: None
) -> None:
    from trainer.runs.checkpointing import Checkpointer

    seen: list[tuple[int, int]] = []

    def passed(keeper: Any, position: Any) -> None:
        train, validation = summaries(tmp_path / "train"), summaries(tmp_path / "validation")
        assert train.get("epoch_loss", []) == list(range(position.epoch))
        assert validation.get("epoch_loss", []) == list(range(position.epoch))
        assert len(train.get("batch_loss", [])) == (6 * position.epoch + position.step) // 2
        seen.append((position.epoch, position.step))

    monkeypatch.setattr(Checkpointer, "passed", passed)
    board = TensorBoard(log_dir=tmp_path, every_n_batches=2)
    Small(epochs=2, callbacks=(board,)).fit(X, Y, validation_data=VALID)
    assert seen == [(0, 2), (0, 4), (0, 6), (1, 0), (1, 2), (1, 4), (1, 6), (2, 0)]


def test_weights_are_written_as_histograms_every_so_many_epochs(tmp_path: Path) -> None:
    Small(callbacks=(TensorBoard(log_dir=tmp_path, histogram_freq=2),)).fit(X, Y)
    found = summaries(tmp_path / "train")
    (kernel,) = [tag for tag in found if tag.endswith("kernel/histogram")]
    assert found[kernel] == [0, 2, 4]


def test_pictures_of_predictions_are_written_every_so_many_epochs(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, size=(16, 6, 5)).astype("uint8")
    y = np.where(images[:, 0, 0] > 127, "bright", "dark")
    board = TensorBoard(log_dir=tmp_path, image_freq=2)
    fields = {"model": "mlp", "epochs": 3, "batch_size": 8, "random_state": 0, "verbose": 0}
    trainer = Classifier(callbacks=(board,), **fields).fit(images, y)
    assert summaries(tmp_path / "train")["predictions"] == [0, 2]
    same = Classifier(**fields).fit(images, y)
    assert same.history_["loss"] == trainer.history_["loss"], "they do not change the training"


@pytest.mark.parametrize("normalize", [None, "standard"])
def test_the_graph_holds_the_layers(tmp_path: Path, normalize: str | None) -> None:
    board = TensorBoard(log_dir=tmp_path)
    Small(epochs=1, normalize=normalize, callbacks=(board,)).fit(X, Y)
    graphs = []
    for path in (tmp_path / "train").glob("events.out.tfevents.*"):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            graphs += [v for v in event.summary.value if v.tag == "keras"]
    (graph,) = graphs
    model = json.loads(tf.make_ndarray(graph.tensor).item())
    assert re.search(r'"name": "d"', json.dumps(model))


def test_a_graph_is_not_written_where_it_is_not_wanted(tmp_path: Path) -> None:
    Small(epochs=1, callbacks=(TensorBoard(log_dir=tmp_path, write_graph=False),)).fit(X, Y)
    assert "keras" not in summaries(tmp_path / "train")


@pytest.mark.parametrize("normalize", [None, "standard"])
def test_a_subclassed_model_is_written_without_a_graph(
    tmp_path: Path, normalize: str | None
) -> None:
    board = TensorBoard(log_dir=tmp_path, histogram_freq=1, every_n_batches=2)
    Subclassed(epochs=2, normalize=normalize, callbacks=(board,)).fit(X, Y)
    found = summaries(tmp_path / "train")
    assert found["epoch_loss"] == [0, 1]
    assert found["batch_loss"] == [1, 3, 5, 7, 9, 11]


def test_batches_are_written_only_as_often_as_asked(tmp_path: Path) -> None:
    fitted = Small(
        epochs=2, callbacks=({"name": "tensorboard", "log_dir": tmp_path, "every_n_batches": 4},)
    ).fit(X, Y)
    assert summaries(tmp_path / "train")["batch_loss"] == [3, 9]
    assert fitted._network.plan.chunk <= 4


def test_without_batches_no_dispatch_is_cut_short(tmp_path: Path) -> None:
    plain = Small(epochs=1).fit(X, Y)
    written = Small(epochs=1, callbacks=(TensorBoard(log_dir=tmp_path),)).fit(X, Y)
    assert written._network.plan.chunk == plain._network.plan.chunk > 1


def test_the_events_of_another_run_are_not_mixed_in(tmp_path: Path) -> None:
    trainer = Small(epochs=1, callbacks=(TensorBoard(log_dir=tmp_path),)).fit(X, Y)
    with pytest.raises(ValueError, match="log_dir=.*events.* of another run.*another log_dir"):
        trainer.fit(X, Y)
    assert summaries(tmp_path / "train")["epoch_loss"] == [0]


def test_a_second_fit_of_the_same_object_writes_into_its_own_run(tmp_path: Path) -> None:
    board = TensorBoard(every_n_batches=6)
    for name in ("one", "two"):
        Small(epochs=2, callbacks=(board,), run_dir=tmp_path / name).fit(X, Y)
        found = summaries(tmp_path / name / "tensorboard" / "train")
        assert found["epoch_loss"] == [0, 1]
        assert found["batch_loss"] == [5, 11]


def test_keras_own_tensorboard_works_as_it_is(tmp_path: Path) -> None:
    stock = keras.callbacks.TensorBoard(tmp_path, histogram_freq=1, update_freq=3)
    Small(epochs=2, callbacks=(stock,)).fit(X, Y, validation_data=VALID)
    train = summaries(tmp_path / "train")
    assert train["epoch_loss"] == [0, 1]
    assert train["batch_loss"] == [3, 6, 9, 12]
    assert summaries(tmp_path / "validation")["epoch_loss"] == [0, 1]


def test_a_missing_tensorboard_is_named_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ImportError, match="package tensorboard is not installed.*pip install"):
        Small(callbacks=(TensorBoard(log_dir=tmp_path / "logs"),)).fit(X, Y)
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"log_dir": None}, "log_dir=None: there is no run_dir.*log_dir='tensorboard'"),
        ({"log_dir": 1}, "log_dir=1: must be a path"),
        ({"histogram_freq": -1}, "histogram_freq=-1: must be 0 or more"),
        ({"image_freq": -1}, "image_freq=-1: must be 0 or more"),
        ({"image_freq": 1}, "tensorboard: x has rows of shape .* leave image_freq out"),
        ({"every_n_batches": -5}, "every_n_batches=-5: must be 0 or more; write every_n_batches"),
        ({"every_n_batches": "all"}, "every_n_batches='all': must be a whole number"),
        ({"every_n_batches": False}, "every_n_batches=False: must be a whole number"),
        ({"write_graph": 1}, "write_graph=1: must be True or False"),
    ],
)
def test_a_bad_field_is_named_before_training(
    fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Small(callbacks=(TensorBoard(**{"log_dir": tmp_path / "logs"} | fields),)).fit(X, Y)
    assert not (tmp_path / "logs").exists()
