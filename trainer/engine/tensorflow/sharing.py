"""When two models are built alike, so that one's graphs can train the other.

Responsible for the key that twins share and others do not, and for the list of a model's
variables. Errs on the side of tracing anew: only models of Keras' own parts are compared.

How: a graph is what Keras' code made of the objects that it met while it was traced. So the key
holds all that these objects hold. A config would not do: Keras leaves options out of some (Huber's
delta, say), and what was set after building out of all.
"""

from __future__ import annotations

import hashlib
import types
from collections.abc import Hashable
from typing import Any

import numpy as np

# What no step computes with: names, which count up from model to model, and bookkeeping.
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
    """Something of which cannot be told what a graph would make of it."""


def key(model: Any, *, extra: Any) -> Hashable | None:
    """What determines the graphs of a model, or None if that cannot be told.

    Args:
        model: a built and compiled Keras model.
        extra: what else determines them; plain values.

    Returns:
        A description of the layers and how they are joined, of the variables, the optimizer, the
        losses and metrics; None where code that is not Keras' own takes part, because it may
        depend on anything.
    """
    import keras

    if not _is_stock_model(model) or type(model.optimizer).__name__ in _BY_NAME:
        return None
    found = variables(model)
    describe = _Description(found)
    several = len(model.outputs) > 1 or isinstance(model.loss, dict)
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
    """Whether a model, its losses and its metrics are made of Keras' own parts alone."""
    try:
        return bool(_is_stock_model(model) and _without_optimizer(model, None))
    except _Unknown:
        return False


def _without_optimizer(model: Any, describe: _Description | None) -> Hashable:
    describe = describe or _Description(variables(model))
    losses, metrics = model._compile_loss, model._compile_metrics
    return (
        describe(model),
        describe(losses and [losses._user_loss, losses._user_loss_weights]),
        describe(metrics and [metrics._user_metrics, metrics._user_weighted_metrics]),
    )


def variables(model: Any) -> list[Any]:
    """Every variable that a step of the model reads or writes, each once, in a fixed order."""
    found: dict[int, Any] = {}
    optimizer = model.optimizer
    for variable in (
        *model.variables,
        *model.metrics_variables,
        *(v for metric in model.metrics for v in metric.variables),
        *optimizer.variables,
        *getattr(getattr(optimizer, "inner_optimizer", None), "variables", ()),
    ):
        found.setdefault(id(variable), variable)
    return list(found.values())


class _Description:
    """Turns an object into nested tuples that are equal for equal objects.

    Args:
        variables: the model's variables; each stands for its place among them.
    """

    def __init__(self, variables: list[Any]) -> None:
        self._place = {id(variable): i for i, variable in enumerate(variables)}
        self._seen: dict[int, int] = {}
        self._nodes: dict[int, int] = {}

    def __call__(self, value: Any) -> Hashable:
        import keras
        import tensorflow as tf

        if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
            return repr(value)  # 1, 1.0, True and "1" are not the same
        if isinstance(value, keras.Variable):
            return "variable", self._known(self._place, value)
        if isinstance(value, keras.KerasTensor):
            return self._symbol(value)
        if isinstance(value, (np.ndarray, np.generic)):
            return _array(value)
        if tf.is_tensor(value):
            if not hasattr(value, "numpy"):
                raise _Unknown  # of a graph
            return _array(value.numpy())
        if isinstance(value, (list, tuple)):
            return type(value).__name__ == "tuple", *map(self, value)
        if isinstance(value, (set, frozenset)):
            return "set", *sorted(repr(self(item)) for item in value)
        if isinstance(value, dict):
            return "dict", *((self(k), self(v)) for k, v in value.items())
        if isinstance(value, (tf.DType, tf.TensorShape)):
            return repr(value)
        if isinstance(value, types.ModuleType):
            return value.__name__
        if isinstance(value, (type, types.FunctionType)):
            return _code(value)
        return self._thing(value)

    def variable(self, variable: Any) -> Hashable:
        """What a step may ask of a variable, except for its value."""
        return tuple(self(getattr(variable, name)) for name in _OF_A_VARIABLE)

    def _thing(self, thing: Any) -> Hashable:
        if type(thing).__name__ == "_DefaultDistributionStrategy":
            return "no strategy"
        if id(thing) in self._seen:
            return "again", self._seen[id(thing)]
        self._seen[id(thing)] = len(self._seen)
        name = _code(type(thing))
        held = vars(thing) if hasattr(thing, "__dict__") else {}
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
        """The operations of a network, and what each is called with, in the order of its calls."""
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
    """The name of a function or class of Keras'; others may differ and bear the same name."""
    if _is_foreign(code):
        raise _Unknown
    return code.__module__, code.__qualname__


def _is_foreign(value: Any) -> bool:
    """Whether a value is code of which it is not known what it does."""
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
