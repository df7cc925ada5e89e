"""Operations of TensorFlow in those of ONNX: ONNX Runtime computes what TensorFlow does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from trainer.exporting import formats, onnx_operations
from trainer.exporting.graphs import Lookup

tf2onnx = pytest.importorskip("tf2onnx")
onnxruntime = pytest.importorskip("onnxruntime")

RNG = np.random.default_rng(0)
KNOWN = [[-1.0, 0.0, 0.5, 2.0]]


def converted(function: Callable[[Any], Any], like: np.ndarray) -> Any:
    """The model of a function of one array of any number of rows, by our handlers."""
    from keras.src.export.tf2onnx_lib import patch_tf2onnx

    patch_tf2onnx()
    spec = [tf.TensorSpec((None, *like.shape[1:]), like.dtype, name="x")]
    with formats.quietly():
        model, _ = tf2onnx.convert.from_function(
            tf.function(function, input_signature=spec, autograph=False),
            spec,
            opset=formats.OPSET,
            custom_op_handlers=onnx_operations.handlers({}),
        )
    return model


def bincount(*, binary: bool) -> Callable[[Any], Any]:
    def of(x: Any) -> Any:
        none = tf.constant([], tf.float32)
        return tf.raw_ops.DenseBincount(input=x, size=5, weights=none, binary_output=binary)

    return of


@pytest.mark.parametrize(
    ("function", "x"),
    [
        (tf.math.log1p, RNG.uniform(-0.9, 9, (7, 3)).astype("float32")),
        (tf.math.log1p, RNG.uniform(-0.9, 9, (7, 3))),
        (tf.math.erfc, RNG.normal(size=(7, 3)).astype("float32")),
        (
            lambda x: tf.raw_ops.LowerBound(sorted_inputs=tf.constant(KNOWN), values=x[None, :, 0]),
            np.array([[-2.0], [-1.0], [0.1], [2.0], [3.0]], "float32"),
        ),
        (bincount(binary=False), RNG.integers(0, 5, (7, 4))),
        (bincount(binary=True), RNG.integers(0, 5, (7, 4))),
    ],
    ids=["log1p", "log1p of float64", "erfc", "lower bound", "counts", "which are there"],
)
def test_an_operation_gives_the_same_numbers_in_onnx(
    function: Callable[[Any], Any], x: np.ndarray
) -> None:
    session = onnxruntime.InferenceSession(
        converted(function, x).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for rows in (x, x[:1]):
        (found,) = session.run(None, {session.get_inputs()[0].name: rows})
        expected = function(tf.constant(rows)).numpy()
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_counts_with_weights_stay_an_operation_that_onnx_lacks() -> None:
    def weighted(x: Any) -> Any:
        return tf.raw_ops.DenseBincount(input=x, size=5, weights=tf.ones_like(x, tf.float32))

    model = converted(weighted, RNG.integers(0, 5, (7, 4)))
    assert "DenseBincount" in {node.op_type for node in model.graph.node}


def test_each_handler_is_for_an_operation_of_tensorflow() -> None:
    found = onnx_operations.handlers({"table": Lookup(np.array([b"a"]), np.array([0]))})
    for name in found:
        assert hasattr(tf.raw_ops, name)
