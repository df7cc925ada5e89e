"""The batch-size finder: what it measures and suggests, and where it ends."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from trainer import Classifier, find_batch_size
from trainer.finders import batch_size as batch_size_finder
from trainer.finders.probes import PeakMemory

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 6)).astype("float32")
Y = (X[:, 0] + X[:, 1] > 0).astype(int)


def small(**fields: Any) -> Classifier:
    return Classifier(**{"random_state": 0, "verbose": 0, "epochs": 2, "model": "mlp"} | fields)


def test_batch_sizes_are_measured_and_one_is_suggested() -> None:
    found = find_batch_size(small(), X, Y, seconds=0.02)
    assert list(found.frame["batch_size"]) == [8, 16, 32, 64, 128, 256]
    speeds = found.frame.set_index("batch_size")["rows_per_second"]
    assert (speeds > 0).all() and (found.frame["peak_bytes"] > 2**20).all()
    assert speeds[256] > speeds[8]  # a step of 8 rows costs much the same as one of 256
    assert speeds[found.suggestion] >= 0.95 * speeds.max()
    assert (speeds[speeds.index < found.suggestion] < 0.95 * speeds.max()).all()
    assert f"suggestion={found.suggestion}" in repr(found) and "with 400 rows" in repr(found)


def test_the_curve_of_speeds_marks_the_suggestion_and_what_did_not_fit() -> None:
    frame = pd.DataFrame(
        {
            "batch_size": [8, 16, 32],
            "rows_per_second": [10.0, 20.0, np.nan],
            "peak_bytes": [1.0, 2.0, np.nan],
        }
    )
    ax = batch_size_finder.BatchSizes(16, frame, "not enough memory for 32").plot()
    labels = [str(line.get_label()) for line in ax.lines]
    assert "suggestion 16" in labels and "out of memory at 32" in labels


class Hungry(Classifier):
    """Has no memory for batches of more than 20 rows."""

    def build_model(self, spec: Any) -> keras.Model:
        class Layer(keras.layers.Layer):
            def call(self, x: Any, training: bool = False) -> Any:
                if not training:
                    return x

                def check(batch: Any) -> Any:
                    if len(batch) > 20:
                        raise MemoryError
                    return batch

                out = tf.py_function(check, [x], x.dtype)
                out.set_shape(x.shape)
                return out

        return keras.Sequential(
            [keras.Input(spec.input_shape), keras.layers.Dense(2, "softmax"), Layer()]
        )


def test_running_out_of_memory_ends_the_test_and_not_the_program() -> None:
    found = find_batch_size(Hungry(random_state=0), X, Y, sizes=(8, 16, 32, 64), seconds=0.01)
    assert list(found.frame["batch_size"]) == [8, 16, 32]
    assert np.isnan(found.frame["rows_per_second"].iloc[-1])
    assert found.suggestion in (8, 16)
    assert found.stopped == "not enough memory for 32"


def test_too_little_memory_for_the_first_size_is_told() -> None:
    with pytest.raises(MemoryError, match=r"batch_size=64: .* write smaller sizes"):
        find_batch_size(Hungry(random_state=0), X, Y, sizes=(64,), seconds=0.01)


def test_on_a_cpu_the_test_ends_before_memory_does(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = iter([2**30, 2**30 + 2**20, 2**30 + 3 * 2**20, 2**30 + 7 * 2**20])
    exits = PeakMemory.__exit__

    def with_a_peak(self: PeakMemory, *error: Any) -> None:
        exits(self, *error)
        self.bytes = next(peaks)

    monkeypatch.setattr(PeakMemory, "__exit__", with_a_peak)
    monkeypatch.setattr(batch_size_finder, "_free_bytes", lambda: 4 * 2**20)
    found = find_batch_size(small(), X, Y, sizes=(8, 16, 32, 64), seconds=0.01)
    # 3 MiB of growth at 32, 2 more for each further 16 rows: 7 at 64
    assert list(found.frame["batch_size"]) == [8, 16, 32]
    assert found.stopped == "probably not enough memory for 64"


def test_peak_memory_sees_what_is_freed_again() -> None:
    with PeakMemory(gpu=False) as before:
        pass
    with PeakMemory(gpu=False) as during:
        large = np.ones(2**25)  # 256 MiB
        large.sum()
        del large
    assert during.bytes - before.bytes > 2**27


def test_a_stream_has_batches_already() -> None:
    stream = tf.data.Dataset.from_tensor_slices((X, Y)).batch(32)
    with pytest.raises(TypeError, match="already comes in batches"):
        find_batch_size(small(), stream)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sizes": (64, 32)}, r"must increase; write sizes=\(32, 64\)"),
        ({"sizes": 32}, r"sizes=32: must be batch sizes, such as"),
        ({"sizes": (0, 8)}, "sizes=0: must be 1 or more"),
        ({"sizes": (8, 1000)}, "1000 is more than the 400 rows"),
        ({"seconds": 0}, "seconds=0"),
    ],
)
def test_bad_arguments_of_batch_sizes_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        find_batch_size(small(), X, Y, **arguments)


def test_a_size_of_none_is_answered_with_sizes() -> None:
    with pytest.raises(ValueError, match=r"sizes=0: must be 1 or more; write sizes=\(32, 64\)"):
        find_batch_size(small(), X, Y, sizes=[0])


def test_speeds_are_drawn_in_axes_alone() -> None:
    frame = pd.DataFrame({"batch_size": [8], "rows_per_second": [1.0], "peak_bytes": [1.0]})
    with pytest.raises(TypeError, match="ax=5: must be an Axes of matplotlib"):
        batch_size_finder.BatchSizes(8, frame, "").plot(ax=5)  # type: ignore[arg-type]
