"""Operations of TensorFlow that tf2onnx does not convert, or not correctly, in those of ONNX.

Responsible for the operations that our encoders and networks use. What a handler cannot convert it
leaves as it is: the result is searched for operations that ONNX does not have.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from trainer.exporting.graphs import Lookup

INT32, INT64, STRING, DOUBLE = 6, 7, 8, 11  # of onnx.TensorProto


def handlers(lookups: Mapping[str, Lookup]) -> dict[str, tuple[Callable[..., None], list[Any]]]:
    """Return the handlers by the operation, as tf2onnx takes them.

    Args:
        lookups: the tables of the graph, by the nodes that stand for their handles.
    """
    return {
        "LookupTableFindV2": (functools.partial(_category_mapper, lookups), []),
        "Erfc": (_complement_of_erf, []),
        "Log1p": (_log_of_more, []),
        "LowerBound": (_lower_bound, []),
        "DenseBincount": (_one_hot, []),
    }


def _category_mapper(lookups: Mapping[str, Lookup], context: Any, node: Any, *_: Any) -> None:
    """Convert a lookup of text: ONNX has one that contains the table."""
    handle, keys = node.inputs[0], node.input[1]
    while handle.type == "Identity":
        handle = handle.inputs[0]
    table = lookups.get(handle.name)
    default = node.inputs[2].get_tensor_value()
    kinds = (context.get_dtype(keys), context.get_dtype(node.output[0]))
    if table is None or kinds != (STRING, INT64):
        return  # it stays, and is found to be unknown
    shape = context.get_shape(keys)
    outputs = node.output
    context.remove_node(node.name)
    context.make_node(
        "CategoryMapper",
        [keys],
        name=node.name,
        outputs=outputs,
        domain="ai.onnx.ml",
        attr={
            "cats_strings": list(table.keys),
            "cats_int64s": table.values.tolist(),
            "default_int64": int(default),
        },
        shapes=[shape],
        dtypes=[kinds[1]],
    )


def _complement_of_erf(context: Any, node: Any, *_: Any) -> None:
    """Convert Erfc(x) to 1 - Erf(x)."""
    shape, dtype = context.get_shape(node.output[0]), context.get_dtype(node.output[0])
    given, outputs = node.input[0], node.output
    context.remove_node(node.name)
    erf = context.make_node("Erf", [given], shapes=[shape], dtypes=[dtype])
    one = context.make_const(f"{node.name}_one", _one_as(dtype))
    context.make_node(
        "Sub", [one.output[0], erf.output[0]], outputs=outputs, shapes=[shape], dtypes=[dtype]
    )


def _log_of_more(context: Any, node: Any, *_: Any) -> None:
    """Convert Log1p(x) to Log(1 + x)."""
    shape, dtype = context.get_shape(node.output[0]), context.get_dtype(node.output[0])
    given, outputs = node.input[0], node.output
    context.remove_node(node.name)
    one = context.make_const(f"{node.name}_one", _one_as(dtype))
    more = context.make_node("Add", [given, one.output[0]], shapes=[shape], dtypes=[dtype])
    context.make_node("Log", [more.output[0]], outputs=outputs, shapes=[shape], dtypes=[dtype])


def _one_as(dtype: int) -> np.ndarray:
    return np.ones((), np.float64 if dtype == DOUBLE else np.float32)


def _lower_bound(context: Any, node: Any, *_: Any) -> None:
    """Convert a search in sorted numbers, [1, k], to how many of them are smaller."""
    known, given, outputs = node.input[0], node.input[1], node.output
    shape = context.get_shape(outputs[0])
    context.remove_node(node.name)
    last = context.make_const(f"{node.name}_axis", np.array([-1]))
    column = context.make_node("Unsqueeze", [given, last.output[0]])
    smaller = context.make_node("Less", [known, column.output[0]])
    ones = context.make_node("Cast", [smaller.output[0]], attr={"to": INT32})
    context.make_node(
        "ReduceSum",
        [ones.output[0], last.output[0]],
        attr={"keepdims": 0},
        outputs=outputs,
        shapes=[shape],
        dtypes=[INT32],
    )


def _one_hot(context: Any, node: Any, *_: Any) -> None:
    """Convert counts of the numbers in each row, [n, k] to [n, size], as CategoryEncoding has."""
    given, size, outputs = node.input[0], node.input[1], node.output
    shape, dtype = context.get_shape(outputs[0]), context.get_dtype(outputs[0])
    once = bool(node.get_attr_value("binary_output", 0))
    weighted = context.get_shape(node.input[2]) not in ([0], None)
    if weighted or len(context.get_shape(given) or ()) != 2:
        return  # it stays, and is found to be unknown
    context.remove_node(node.name)
    index = context.make_node("Cast", [given], attr={"to": INT64})
    width = context.make_node("Cast", [size], attr={"to": INT64})
    depth = context.make_node(
        "Reshape",
        [width.output[0], context.make_const(f"{node.name}_flat", np.array([1])).output[0]],
    )
    values = context.make_const(f"{node.name}_values", np.array([0, 1], np.float32))
    hot = context.make_node("OneHot", [index.output[0], depth.output[0], values.output[0]])
    if once:
        found = context.make_node("ReduceMax", [hot.output[0]], attr={"axes": [1], "keepdims": 0})
    else:
        axis = context.make_const(f"{node.name}_axis", np.array([1]))
        found = context.make_node(
            "ReduceSum", [hot.output[0], axis.output[0]], attr={"keepdims": 0}
        )
    context.make_node(
        "Cast",
        [found.output[0]],
        attr={"to": dtype},
        outputs=outputs,
        shapes=[shape],
        dtypes=[dtype],
    )
