"""What "auto" decides: a pure function of model, data and machine."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import keras
import pytest
from keras import layers

from trainer.engine.tensorflow import plan
from trainer.engine.tensorflow.plan import (
    batch_independent,
    decide,
    multiplications,
    rows_per_batch,
    steps_per_dispatch,
)


def _compiled(*parts: Any, shape: tuple[Any, ...] = (8,), loss: Any = "mse") -> keras.Model:
    model = keras.Sequential([keras.Input(shape), *parts])
    model.compile("sgd", loss, metrics=["mae"])
    return model


def _dense() -> keras.Model:
    return _compiled(layers.Dense(4, "relu"), layers.Dense(1))


def _decide(model: keras.Model, **changes: Any) -> plan.Plan:
    given: dict[str, Any] = {
        "batch_size": 32,
        "steps": 100,
        "batch_bytes": 32 * 36,
        "data_bytes": 100 * 32 * 36,
        "resident_bytes": None,
        "jit": "auto",
        "interval": None,
    }
    return decide(model, **given | changes)


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "intra_op_threads", lambda: 2)
    monkeypatch.setattr(plan, "has_gpu", lambda: False)


def test_the_same_is_decided_twice() -> None:
    assert _decide(_dense()) == _decide(_dense())


def test_a_callback_of_batches_has_one_step_a_dispatch() -> None:
    decided = _decide(_dense(), interval=1)
    assert decided.chunk == 1
    assert "a callback is called at every batch" in str(decided)


@pytest.mark.parametrize(("interval", "chunk"), [(10, 10), (997, 997), (2_400, 800), (1_009, 1)])
def test_dispatches_end_where_callbacks_are_called(interval: int, chunk: int) -> None:
    assert _decide(_dense(), steps=10**6, jit=False, interval=interval).chunk == chunk


@pytest.mark.parametrize("steps", [1, 7, 999, 1_001, 4_000])
def test_chunks_of_an_epoch_are_of_one_length(steps: int) -> None:
    chunk = _decide(_dense(), steps=steps).chunk
    assert 1 <= chunk <= plan.MAX_CHUNK
    assert -(-steps // chunk) * chunk - steps < -(-steps // chunk), "none is much shorter"


@pytest.mark.parametrize(
    ("save_steps", "interval", "chunk"),
    [(10, None, 10), (1, None, 1), (1_000, None, 100), (10, 4, 4), (3, 4, 2), (50, 100, 50)],
)
def test_a_dispatch_is_no_longer_than_what_may_be_lost(
    save_steps: int, interval: int | None, chunk: int
) -> None:
    decided = _decide(_dense(), interval=interval, save_steps=save_steps, jit=True)
    assert decided.chunk == chunk
    whole = _decide(_dense(), interval=interval, jit=True)
    assert decided.compiled == whole.compiled == whole.chunk, "XLA's program stays the same"
    assert ("a state is saved every" in decided.why) is (chunk < whole.chunk)


def test_a_larger_model_has_fewer_steps_per_dispatch() -> None:
    large = _compiled(layers.Dense(400), layers.Dense(400), layers.Dense(1))
    assert steps_per_dispatch(_dense(), 32) == plan.MAX_CHUNK
    assert 1 <= steps_per_dispatch(large, 512) < steps_per_dispatch(large, 32) < plan.MAX_CHUNK


@pytest.mark.parametrize(
    ("parts", "shape", "expected"),
    [
        ((layers.Dense(4), layers.Dense(1)), (8,), 8 * 4 + 4 + 4 + 1),
        ((layers.Conv2D(2, 3, padding="same"),), (5, 5, 1), 25 * (9 * 2 + 2)),
        ((layers.SimpleRNN(3),), (7, 2), 7 * (2 * 3 + 3 * 3 + 3)),
    ],
)
def test_multiplications_are_counted_at_every_position(
    parts: tuple[Any, ...], shape: tuple[int, ...], expected: int
) -> None:
    assert multiplications(_compiled(*parts, shape=shape)) == expected


def test_data_above_the_limit_are_read_chunk_by_chunk() -> None:
    assert _decide(_dense(), resident_bytes=10**9).resident
    read = _decide(_dense(), resident_bytes=10**5)
    assert not read.resident
    assert "MiB of data, limit 0" in str(read)
    assert "data streamed" in str(read)


def test_the_limit_is_a_share_of_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=4_000))
    assert plan.resident_limit() == 1_000
    assert _decide(_dense(), data_bytes=1_000).resident
    assert not _decide(_dense(), data_bytes=1_001).resident


def test_what_is_read_for_a_chunk_is_limited() -> None:
    wide = 2**24
    assert _decide(_dense(), resident_bytes=0, batch_bytes=wide).chunk == 2
    assert _decide(_dense(), data_bytes=None, steps=None, batch_bytes=wide).chunk == 2
    assert _decide(_dense(), resident_bytes=0, batch_bytes=2**30).chunk == 1


def test_xla_compiles_dense_stacks_with_many_steps(two_threads: None) -> None:
    many = plan.JIT_STEPS
    assert _decide(_dense(), steps=many).jit
    assert not _decide(_dense(), steps=many - 1).jit
    assert not _decide(_dense(), steps=many, data_bytes=None).jit, "a stream"
    dropout = _compiled(layers.Dense(4), layers.Dropout(0.5), layers.Dense(1))
    assert not _decide(dropout, steps=many).jit, "XLA draws other numbers"
    convolution = _compiled(layers.Conv1D(2, 2), layers.Flatten(), layers.Dense(1), shape=(8, 1))
    assert not _decide(convolution, steps=many).jit, "XLA is slow at it"


def test_the_field_jit_overrides(two_threads: None) -> None:
    assert _decide(_dense(), steps=10, jit=True).jit
    assert not _decide(_dense(), steps=10**6, jit=False).jit
    assert "jit=True" in str(_decide(_dense(), steps=10, jit=True))


RECURRENT: dict[str, list[Any]] = {
    "LSTM": [layers.LSTM(2)],
    "GRU under a mask": [layers.Masking(), layers.GRU(2)],
    "both ways": [layers.Bidirectional(layers.SimpleRNN(2))],
    "two": [layers.LSTM(2, return_sequences=True), layers.LSTM(2)],
}


@pytest.mark.parametrize("name", RECURRENT)
def test_xla_compiles_recurrent_layers_from_fewer_steps(name: str, two_threads: None) -> None:
    model = _compiled(*RECURRENT[name], layers.Dense(1), shape=(5, 3))
    few = plan.JIT_RECURRENT_STEPS
    assert _decide(model, steps=few).jit
    assert not _decide(model, steps=few - 1).jit


def test_dropout_within_recurrent_layers_keeps_xla_off(two_threads: None) -> None:
    model = _compiled(layers.LSTM(2, recurrent_dropout=0.5), layers.Dense(1), shape=(5, 3))
    assert not _decide(model, steps=10**6).jit


def test_xla_pays_on_one_thread_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "intra_op_threads", lambda: 1)
    monkeypatch.setattr(plan, "has_gpu", lambda: False)
    decided = _decide(_dense(), steps=10**6)
    assert decided.jit
    assert "1 thread per operation" in str(decided)


def test_xla_compiles_all_on_a_gpu_but_what_forbids_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "has_gpu", lambda: True)
    model = _compiled(layers.Conv1D(2, 2), layers.Flatten(), layers.Dense(1), shape=(8, 1))
    assert _decide(model, steps=10).jit
    model.layers[0].supports_jit = False
    assert not _decide(model, steps=10).jit


def test_a_prediction_batch_is_bounded_in_rows_and_bytes() -> None:
    assert rows_per_batch(4) == plan.MAX_BATCH_ROWS
    assert rows_per_batch(2**15) == 2**7
    assert rows_per_batch(2**15, 500) == 500
    assert rows_per_batch(2**40) == 32


@pytest.mark.parametrize("variable", ["OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"])
def test_the_environment_limits_threads(variable: str) -> None:
    import os

    import warm

    code = (
        "import trainer.base, tensorflow as tf; tf.constant(1);"  # a worker may unpickle before fit
        "from trainer.engine.tensorflow import plan as d; print(d.intra_op_threads())"
    )
    clean = {k: v for k, v in os.environ.items() if "NUM_" not in k}
    found = warm.run(code, env={**clean, variable: "3"})
    assert found.stdout.strip() == "3", found.stderr


def test_threads_are_left_alone_once_tensorflow_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    keras.ops.zeros(1)
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    plan.limit_threads()
    assert "TF_NUM_INTRAOP_THREADS" not in os.environ


# ---- whether evaluation may choose the rows of a batch -----------------------------------------


class _Own(layers.Layer):
    def call(self, x: Any) -> Any:
        return x - keras.ops.mean(x, axis=0)


def _two() -> keras.Model:
    x = keras.Input((8,))
    model = keras.Model(x, [layers.Dense(1)(x), layers.Dense(1)(x)])
    model.compile("sgd", ["mse", "mse"])
    return model


def _fixed() -> keras.Model:
    x = keras.Input(batch_shape=(4, 8))
    model = keras.Model(x, layers.Dense(1)(x))
    model.compile("sgd", "mse")
    return model


DEPENDENT: dict[str, Callable[[], keras.Model]] = {
    "a layer of one's own": lambda: _compiled(_Own(), layers.Dense(1)),
    "a loss of one's own": lambda: _compiled(layers.Dense(1), loss=lambda y, p: p),
    "a sum": lambda: _compiled(
        layers.Dense(1), loss=keras.losses.MeanSquaredError(reduction="sum")
    ),
    "a loss of the activity": lambda: _compiled(layers.Dense(1, activity_regularizer="l2")),
    "masks": lambda: _compiled(layers.Embedding(9, 3, mask_zero=True), layers.GRU(2)),
    "dropout in a cell": lambda: _compiled(layers.LSTM(2, dropout=0.5), shape=(4, 2)),
    "several outputs": _two,
    "a batch of a fixed size": _fixed,
}


@pytest.mark.parametrize("what", DEPENDENT)
def test_evaluation_keeps_to_batches_where_they_matter(what: str) -> None:
    assert not batch_independent(DEPENDENT[what]())


def test_evaluation_takes_large_batches_of_other_models() -> None:
    assert batch_independent(_dense())
    parts = (layers.Conv2D(2, 3), layers.BatchNormalization(), layers.Dropout(0.5))
    assert batch_independent(_compiled(*parts, layers.Flatten(), layers.Dense(1), shape=(5, 5, 1)))
    assert batch_independent(_compiled(layers.LSTM(2), layers.Dense(1), shape=(4, 2)))


@pytest.mark.parametrize("metric", [keras.metrics.F1Score, keras.metrics.AUC, "accuracy"])
def test_metrics_that_have_not_counted_yet_do_not_matter_to_it(metric: Any) -> None:
    """As those of a model that was loaded, which is then evaluated as before it was saved."""
    model = _dense()
    model.compile(
        "sgd", "binary_crossentropy", metrics=[metric if isinstance(metric, str) else metric()]
    )
    assert batch_independent(model)


def test_a_metric_of_ones_own_keeps_evaluation_to_batches() -> None:
    class Own(keras.metrics.AUC):
        pass

    model = _dense()
    model.compile("sgd", "binary_crossentropy", metrics=[Own()])
    assert not batch_independent(model)
