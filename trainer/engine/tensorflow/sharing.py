"""Whether two models have the same structure, so that the graphs of one can train the other.

Responsible for the key that only models of the same structure share. In doubt, models do not share:
only models made of Keras' own parts have a key.

A graph depends on every object that Keras' code used during tracing, so the key describes these
objects completely. Their configs are not enough: some lack options (such as Huber's delta), and all
lack what was set after construction.
"""

from __future__ import annotations

import hashlib
import re
import types
from collections.abc import Hashable
from typing import Any

import numpy as np

from trainer.engine.tensorflow import variables

# Attributes that do not affect a step: names, which are numbered across models, and bookkeeping.
_NOTHING = {
    "_auto_config",
    "_build_shapes_dict",
    "_call_signature",
    "_inbound_nodes",
    "_layout",
    "_lock",
    "_losses",
    "_losses_override",
    "_loss_ids",
    "_outbound_nodes",
    "_parent_path",
    "_path",
    "_saved_model_arg_spec",
    "_saved_model_inputs_spec",
    "_tracked",
    "_tracker",
    "_trainable_variables_indices",
    "build",
    "name",
    "quantize",
}
_OF_A_MODEL = ("_dtype_policy", "_remat_mode", "_trainable", "activity_regularizer", "autocast")
_OF_A_VARIABLE = (
    "_aggregation",
    "_autocast",
    "_constraint",
    "_dtype",
    "_overwrite_with_gradient",
    "_regularizer",
    "_shape",
    "_trainable",
)
_BY_NAME = ("Muon", "MultiOptimizer")  # optimizers that treat variables by their names


class _Unknown(Exception):
    """It is unknown how something would affect a graph."""


def key(model: Any, *, extra: Any) -> Hashable | None:
    """Return everything that determines the graphs of a model, or None if that is unknown.

    Args:
        model: A built and compiled Keras model.
        extra: Plain values that determine them as well.

    Returns:
        A description of the layers and their connections, the variables, the optimizer, the
        losses and the metrics. None if code from outside Keras takes part, which may depend on
        anything.
    """
    import keras

    if not _is_stock_model(model) or type(model.optimizer).__name__ in _BY_NAME:
        return None
    outputs = getattr(model, "outputs", None)
    if not outputs:  # a Sequential model with a layer whose shape Keras cannot infer
        return None
    found = variables.listed(model)
    describe = _Description(found)
    several = len(outputs) > 1 or isinstance(model.loss, dict)
    counted = [] if model._compile_metrics is None else model._compile_metrics.metrics
    try:
        return (
            _without_optimizer(model, describe),
            tuple(describe.variable(variable) for variable in found),
            describe(model.optimizer),
            # the names of logs
            tuple(metric.name for metric in (*model.metrics, *counted)),
            tuple(model.output_names) if several else (),
            describe([keras.config.epsilon(), keras.config.image_data_format()]),
            describe(extra),
        )
    except _Unknown:
        return None


def is_stock(model: Any) -> bool:
    """Return whether a model, its losses and its metrics consist only of parts of Keras."""
    try:
        return bool(_is_stock_model(model) and _without_optimizer(model, _Description(None)))
    except _Unknown:
        return False


def _without_optimizer(model: Any, describe: _Description) -> Hashable:
    losses, metrics = model._compile_loss, model._compile_metrics
    return (
        describe(model),
        describe(losses and [losses._user_loss, losses._user_loss_weights]),
        describe(metrics and [metrics._user_metrics, metrics._user_weighted_metrics]),
    )


class _Description:
    """Converts objects to nested tuples that are equal for equal objects.

    Args:
        variables: The model's variables; each is described by its position in this list. None:
            all are alike. A model lists those of its metrics only once it has been evaluated.
    """

    def __init__(self, variables: list[Any] | None) -> None:
        self._place = None
        if variables is not None:
            self._place = {id(variable): i for i, variable in enumerate(variables)}
        self._seen: dict[int, int] = {}
        self._nodes: dict[int, int] = {}

    def __call__(self, value: Any) -> Hashable:
        import keras
        import tensorflow as tf

        if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
            return repr(value)  # tells 1, 1.0, True and "1" apart
        if isinstance(value, keras.Variable):
            return "variable", None if self._place is None else self._known(self._place, value)
        if isinstance(value, keras.KerasTensor):
            return self._symbol(value)
        if isinstance(value, (np.ndarray, np.generic)):
            return _array(value)
        if tf.is_tensor(value):
            if not hasattr(value, "numpy"):
                raise _Unknown  # a symbolic tensor
            return _array(value.numpy())
        if isinstance(value, (list, tuple)):
            return type(value).__name__ == "tuple", *map(self, value)
        if isinstance(value, (set, frozenset)):
            return "set", *sorted(repr(self(item)) for item in value)
        if isinstance(value, dict):
            return "dict", *((self(k), self(v)) for k, v in value.items())
        if isinstance(value, (tf.DType, tf.TensorShape, re.Pattern, range, type(...))):
            return repr(value)
        if isinstance(value, types.ModuleType):
            return value.__name__
        if isinstance(value, (type, types.FunctionType)):
            return _code(value)
        return self._thing(value)

    def variable(self, variable: Any) -> Hashable:
        """Describe everything about a variable that may affect a step, except its value."""
        return tuple(self(getattr(variable, name)) for name in _OF_A_VARIABLE)

    def _thing(self, thing: Any) -> Hashable:
        if type(thing).__name__ == "_DefaultDistributionStrategy":
            return "no strategy"
        if id(thing) in self._seen:
            return "again", self._seen[id(thing)]
        self._seen[id(thing)] = len(self._seen)
        name = _code(type(thing))
        if isinstance(thing, slice):
            return "slice", self([thing.start, thing.stop, thing.step])
        if not hasattr(thing, "__dict__"):
            raise _Unknown  # nothing tells two of them apart
        held = vars(thing)
        if any(hasattr(thing, slot) for slot in getattr(type(thing), "__slots__", ())):
            raise _Unknown
        if _is_stock_model(thing):
            own = {"train_step", "test_step", "predict_step", "compute_loss", "compute_metrics"}
            if own & set(held) or any(_is_foreign(v) for v in held.values()):
                raise _Unknown
            chosen = tuple(self(held.get(attribute)) for attribute in _OF_A_MODEL)
            return name, chosen, self._network(getattr(thing, "_functional", thing))
        return name, *(
            (attribute, self(held[attribute]))
            for attribute in sorted(held)
            if attribute not in _NOTHING
            and not attribute.startswith("_self_")
            and not attribute.endswith("_initializer")
        )

    def _network(self, functional: Any) -> Hashable:
        """Describe the operations of a network and their arguments, in the order of the calls."""
        if functional is None:
            raise _Unknown  # not built
        nodes = [node for depth in functional._nodes_by_depth.values() for node in depth]
        for node in nodes:
            self._nodes[id(node)] = len(self._nodes)
        calls = tuple(
            (
                self(node.operation),
                self([node.arguments.args, node.arguments.kwargs]),
                tuple(map(self._symbol, node.outputs)),
            )
            for node in nodes
        )
        return calls, self(functional._inputs_struct), self(functional._outputs_struct)

    def _symbol(self, tensor: Any) -> Hashable:
        operation, node, place = tensor._keras_history
        node = self._known(self._nodes, operation._inbound_nodes[node])
        return "tensor", node, place, repr(tensor.shape), str(tensor.dtype)

    @staticmethod
    def _known(places: dict[int, int], thing: Any) -> int:
        if id(thing) not in places:
            raise _Unknown
        return places[id(thing)]


def _array(array: Any) -> Hashable:
    array = np.ascontiguousarray(array)
    if array.dtype.hasobject:
        raise _Unknown
    return "array", array.shape, array.dtype.str, hashlib.sha256(array.tobytes()).hexdigest()


def _code(code: Any) -> Hashable:
    """Return the full name of a function or class of Keras; others may change under one name."""
    if _is_foreign(code):
        raise _Unknown
    return code.__module__, code.__qualname__


def _is_foreign(value: Any) -> bool:
    """Return whether a value is code from outside Keras and this package."""
    if not callable(value):
        return False
    code = value if hasattr(value, "__qualname__") else type(value)
    module = str(getattr(code, "__module__", None))
    stock = module.startswith(("keras.", "trainer.")) or module == "builtins"
    return not stock or isinstance(code, types.MethodType) or "<locals>" in code.__qualname__


def _is_stock_model(model: Any) -> bool:
    import keras

    return type(model) is keras.Sequential or (
        type(model).__name__ == "Functional" and type(model).__module__.startswith("keras.")
    )
