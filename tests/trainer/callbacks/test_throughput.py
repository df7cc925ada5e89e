"""Throughput: how fast a training was, and where its time went."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import psutil
import pytest
import tensorflow as tf

from trainer import Regressor
from trainer.callbacks import Throughput, throughput

RNG = np.random.default_rng(0)
X = RNG.normal(size=(44, 4)).astype("float32")
Y = X[:, 0] - X[:, 1] ** 2


class Small(Regressor):
    epochs = 3
    batch_size = 8
    learning_rate = 0.05
    random_state = 0
    verbose = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(1)])


def test_steps_and_rows_of_each_epoch_are_counted() -> None:
    measured = Throughput()
    Small(callbacks=(measured,)).fit(X, Y)
    assert [r["epoch"] for r in measured.records] == [1, 2, 3]
    assert [r["steps"] for r in measured.records] == [6, 6, 6]
    assert [r["rows"] for r in measured.records] == [44, 44, 44]  # the last batch has 4
    for r in measured.records:
        assert r["steps_per_second"] == pytest.approx(6 / r["training_seconds"])
        assert r["rows_per_second"] == pytest.approx(44 / r["training_seconds"])


def test_the_parts_of_the_time_are_told_apart_and_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def passes(seconds: float) -> Callable[..., None]:
        def hook(*args: Any) -> None:
            nonlocal now
            now += seconds

        return hook

    class Slow(keras.callbacks.Callback):
        on_train_batch_end, on_test_begin, on_epoch_end = passes(1), passes(10), passes(100)

    monkeypatch.setattr(throughput, "time", SimpleNamespace(perf_counter=lambda: now))
    measured = Throughput()
    Small(callbacks=(measured, Slow())).fit(X, Y, validation_data=(X, Y))
    for r in measured.records:
        parts = [r[f"{part}_seconds"] for part in ("training", "validation", "other")]
        assert parts == [6, 10, 100]
        assert r["seconds"] == 116
    assert now == 3 * 116


def test_memory_is_that_of_this_process() -> None:
    measured = Throughput()
    before = psutil.Process().memory_info().rss
    Small(callbacks=(measured,)).fit(X, Y)
    assert all(0.5 * before < r["memory_bytes"] < 20 * before for r in measured.records)


def test_the_devices_are_named() -> None:
    measured = Throughput()
    Small(callbacks=(measured,)).fit(X, Y)
    assert len(measured.devices) == len(tf.config.list_physical_devices())
    assert measured.devices[0].startswith("CPU:0")


def test_nothing_is_added_to_the_logs() -> None:
    plain, measured = Small().fit(X, Y), Small(callbacks=("throughput",)).fit(X, Y)
    assert measured.history_.metrics == plain.history_.metrics
    assert measured.history_["loss"] == plain.history_["loss"]


def test_a_stream_has_steps_and_no_rows() -> None:
    measured = Throughput()
    Small(callbacks=(measured,)).fit(tf.data.Dataset.from_tensor_slices((X, Y)).batch(8))
    assert measured.records[0]["steps"] == 6
    assert math.isnan(measured.records[0]["rows"])
    assert "rows/s" not in measured.summary()


def test_the_summary_is_printed_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    measured = Throughput()
    Small(callbacks=(measured,), verbose="auto").fit(X, Y, validation_data=(X, Y))
    assert measured.summary() in capsys.readouterr().out
    for part in ("3 epochs in", "training", "validation", "rows/s", "steps/s", "MB", "CPU:0"):
        assert part in measured.summary()


def test_silence_is_kept_with_verbose_0(capsys: pytest.CaptureFixture[str]) -> None:
    Small(callbacks=({"name": "throughput"},)).fit(X, Y)
    assert capsys.readouterr().out == ""


def test_the_frame_has_a_row_an_epoch() -> None:
    measured = Throughput()
    Small(callbacks=(measured,)).fit(X, Y)
    assert list(measured.frame.index) == [1, 2, 3]
    assert measured.frame["steps"].sum() == 18


def test_a_second_fit_of_the_same_object_begins_anew() -> None:
    measured = Throughput()
    Small(callbacks=(measured,)).fit(X, Y)
    Small(epochs=1, callbacks=(measured,)).fit(X, Y)
    assert [r["epoch"] for r in measured.records] == [1]


@pytest.mark.parametrize("at", [[(0, 2)], [(1, 4), (2, 0)], [(2, 6)]])
def test_an_interrupted_run_has_the_records_of_all_epochs(
    interrupted_run: Callable[..., Any], at: list[tuple[int, int]]
) -> None:
    made: list[Throughput] = []

    def make(run_dir: str) -> Small:
        made.append(Throughput())
        return Small(callbacks=(made[-1],), run_dir=run_dir)

    interrupted_run(make, X, Y, at=at, validation_data=(X, Y))
    assert [(r["epoch"], r["steps"], r["rows"]) for r in made[-1].records] == [
        (1, 6, 44),
        (2, 6, 44),
        (3, 6, 44),
    ]
    assert all(r["training_seconds"] > 0 for r in made[-1].records)


def test_a_field_that_there_is_not_is_named() -> None:
    with pytest.raises(TypeError, match="there is no field 'every'"):
        Small(callbacks=({"name": "throughput", "every": 3},)).fit(X, Y)
