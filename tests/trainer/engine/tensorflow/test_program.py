"""The compiled functions of a model: many steps in a dispatch are as many single steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from trainer.engine.tensorflow.program import Program

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 3)).astype("float32")
Y = (X @ [[1.0], [2.0], [-1.0]]).astype("float32")
DATA = (tf.constant(X), tf.constant(Y))
ROWS = np.arange(20, dtype=np.int32).reshape(5, 4)


class Own(keras.Model):
    """Counts how often Python runs its step, and with which shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.out = layers.Dense(1)
        self.shapes: list[Any] = []

    def call(self, x: Any) -> Any:
        return self.out(x)

    def train_step(self, data: Any) -> dict[str, Any]:
        self.shapes.append(data[0].shape[0])
        return super().train_step(data)

    def predict_step(self, data: Any) -> Any:
        return {"twice": 2 * super().predict_step(data)}


def _program(
    build: Callable[[], keras.Model] | None = None, *, transform: Any = None, **options: Any
) -> Program:
    keras.utils.set_random_seed(0)
    model = build() if build else keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    model(X[:2])
    model._symbolic_build(data_batch=(X[:2], Y[:2]))
    return Program(model, transform, **options)


def _state(program: Program, logs: dict[str, Any]) -> list[np.ndarray]:
    values = [v.numpy() for v in (*program.model.variables, *program.model.optimizer.variables)]
    return [*values, *(np.asarray(logs[name]) for name in sorted(logs))]


def _assert_equal(ours: list[np.ndarray], theirs: list[np.ndarray], rtol: float = 0.0) -> None:
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol)


@pytest.mark.parametrize("options", [{}, {"eager": True}], ids=["compiled", "eager"])
def test_a_chunk_is_as_many_single_steps(options: dict[str, Any]) -> None:
    single, chunk = _program(), _program(**options)
    for rows in ROWS:
        single_logs = single.train_rows(DATA, rows[None])
    chunk_logs = chunk.train_rows(DATA, ROWS)
    _assert_equal(_state(chunk, chunk_logs), _state(single, single_logs))
    assert int(chunk.model.optimizer.iterations) == 5


def test_evaluation_changes_nothing_but_the_metrics() -> None:
    program = _program()
    before = [v.numpy() for v in program.model.variables]
    logs = program.test_rows(DATA, ROWS)
    for a, b in zip(program.model.variables, before, strict=True):
        np.testing.assert_array_equal(a.numpy(), b)
    errors = program.predict(DATA[0]).numpy() - Y
    assert float(logs["loss"]) == pytest.approx(np.mean(errors**2), rel=1e-6)
    assert float(logs["mae"]) == pytest.approx(np.mean(np.abs(errors)), rel=1e-6)
    assert program.graphs.traces == 2


def test_xla_gives_the_same_but_for_rounding() -> None:
    plain, compiled = _program(), _program()
    compiled.jit = True
    logs = [p.train_rows(DATA, ROWS) for p in (plain, compiled)]
    _assert_equal(_state(compiled, logs[1]), _state(plain, logs[0]), rtol=1e-5)


def test_xla_compiles_once_for_chunks_that_fall_short() -> None:
    plain, compiled = _program(), _program()
    compiled.jit = True
    for rows in (ROWS[:3], ROWS[3:], ROWS[:2], ROWS[2:4]):
        logs = [p.train_rows(DATA, rows) for p in (plain, compiled)]
    assert compiled.graphs.traces == 1
    assert int(compiled.model.optimizer.iterations) == 9, "what fills a chunk up is not trained"
    _assert_equal(_state(compiled, logs[1]), _state(plain, logs[0]), rtol=1e-4)
    compiled.train_rows(DATA, np.arange(3, dtype=np.int32)[None])
    assert compiled.graphs.traces == 2, "the last batch of an epoch is not worth compiling"


def test_how_an_epoch_is_cut_changes_no_number_of_xlas_program() -> None:
    found = []
    for pieces in ([ROWS], [ROWS[:2], ROWS[2:4], ROWS[4:]], [row[None] for row in ROWS]):
        program = _program(
            lambda: keras.Sequential(
                [
                    keras.Input((3,)),
                    layers.Dense(8, "relu"),
                    layers.LayerNormalization(),
                    layers.Dense(1),
                ]
            )
        )
        program.jit, program.compiled, program.batch_size = True, 5, 4
        for rows in pieces:
            logs = program.train_rows(DATA, rows)
        assert program.graphs.traces == 1, "a single step is run by the same program too"
        found.append(_state(program, logs))
    for other in found[1:]:
        _assert_equal(other, found[0])


@pytest.mark.parametrize("options", [{}, {"eager": True}], ids=["compiled", "eager"])
def test_a_stream_is_as_many_single_steps(options: dict[str, Any]) -> None:
    single, streamed = _program(), _program(**options)
    for rows in ROWS:
        logs = single.train_rows(DATA, rows[None])
    iterator = iter(tf.data.Dataset.from_tensor_slices(DATA).batch(4))
    assert streamed.train_stream(iterator, 2)[0] == 2
    done, last = streamed.train_stream(iterator, 100)
    assert done == 3
    assert int(streamed.streamed) == 5
    _assert_equal(_state(streamed, last), _state(single, logs))
    assert streamed.train_stream(iterator, 100)[0] == 0


def test_an_eager_step_runs_in_python_each_time() -> None:
    eager, compiled = _program(Own, eager=True), _program(Own)
    for program in (eager, compiled):
        program.train_rows(DATA, ROWS)
        program.train_rows(DATA, ROWS)
    assert len(eager.model.shapes) == 10
    assert len(compiled.model.shapes) == 1
    assert eager.graphs.traces == 0


@pytest.mark.parametrize(("even", "expected"), [(True, 4), (False, None)])
def test_code_of_ones_own_meets_the_batch_size_where_all_batches_have_it(
    even: bool, expected: int | None
) -> None:
    program = _program(Own)
    program.train_rows(DATA, ROWS, even)
    assert program.model.shapes == [expected]


def test_a_predict_step_of_the_models_own_runs() -> None:
    program = _program(Own)
    outputs = program.predict(DATA[0])
    np.testing.assert_array_equal(outputs["twice"], 2 * program.model(X).numpy())


def test_the_transform_is_of_x_alone_wherever_the_model_sees_it() -> None:
    def halved(x: Any) -> Any:
        return x / 2

    plain, transformed = _program(), _program(transform=halved)
    half = (tf.constant(X / 2), DATA[1])
    _assert_equal(
        _state(transformed, transformed.train_rows(DATA, ROWS)),
        _state(plain, plain.train_rows(half, ROWS)),
    )
    assert float(transformed.test_rows(DATA, ROWS)["loss"]) == float(
        plain.test_rows(half, ROWS)["loss"]
    )
    np.testing.assert_array_equal(transformed.predict(DATA[0]), plain.predict(half[0]))


def test_lengths_that_differ_are_traced_once() -> None:
    model = keras.Sequential([keras.Input((None, 3)), layers.GlobalMaxPooling1D()])
    program = Program(model)
    for n in (4, 5, 6, 7, 1):
        assert program.predict(tf.ones((2, n, 3))).shape == (2, 3)
    assert program.graphs.traces == 2


@pytest.mark.parametrize("step", ["train_step", "test_step"])
def test_a_step_that_returns_no_dict_is_named(step: str) -> None:
    class Broken(Own):
        pass

    setattr(Broken, step, lambda self, data: keras.ops.mean(data[0]))
    run = {"train_step": Program.train_rows, "test_step": Program.test_rows}[step]
    with pytest.raises(TypeError, match=f"{step} of Broken returned SymbolicTensor: it must"):
        run(_program(Broken), DATA, ROWS)
