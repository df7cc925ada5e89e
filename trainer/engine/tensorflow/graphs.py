"""Traced functions, and the sharing of them between models of one architecture.

Responsible for tracing each function once a signature, and for running a graph that was traced for
one model on the variables of another one that is built alike: a second fit, another fold or the
next trial of a search then trains without tracing. Not for deciding which models are built alike
(`sharing` does), nor for what the functions do (`program`).

How: a graph takes the variables of its model as captured inputs beside its arguments. The same
graph computes the same steps of a twin model when it is given the twin's variables instead.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

MAX_SHARED = 4  # architectures whose graphs are kept
MAX_SHARED_BYTES = 2**27  # and the most that the variables they were traced with may take


@dataclass
class _Traced:
    graph: Any
    owner: Graphs | None  # None once the owner's variables need not be told apart
    positions: list[int]  # of each captured variable among the owner's variables


class _Shared(dict[Hashable, _Traced]):
    """The graphs of one architecture, and the bytes of the variables that they keep alive."""

    bytes = 0


_needless: list[Any] = []
_shared: OrderedDict[Hashable, _Shared] = OrderedDict()


class Graphs:
    """The traced functions of a model, its own or a twin's.

    Args:
        ambient: gives a context in which functions are traced.

    Attributes:
        traces: how many functions were traced for this model; a twin's are not counted.
        after_trace: called when a function was traced, before it runs; or None.
    """

    def __init__(
        self,
        ambient: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._ambient = ambient
        self.traces = 0
        self.after_trace: Callable[[], None] | None = None
        self._own: dict[Hashable, _Traced] = {}
        self._common: _Shared | None = None
        self._handles: list[Any] = []
        self._captured: dict[Hashable, list[Any]] = {}

    def share(self, key: Hashable, variables: Sequence[Any]) -> None:
        """Use the graphs of twin models from now on, and let them use this one's.

        Args:
            key: equal for models that are built alike, and for no others.
            variables: every Keras variable that the functions read or write, in an order that is
                the same for twins.
        """
        size = sum(v.value.dtype.size * v.value.shape.num_elements() for v in variables)
        if size > MAX_SHARED_BYTES:
            return
        self._handles = [v.value.handle for v in variables]
        self._common = _shared.setdefault(key, _Shared())
        self._common.bytes = max(self._common.bytes, size)
        _shared.move_to_end(key)
        while len(_shared) > MAX_SHARED or _kept_bytes() > MAX_SHARED_BYTES:
            _shared.popitem(last=False)

    @property
    def shared(self) -> bool:
        """Whether twins may use these graphs."""
        return self._common is not None

    def run(
        self,
        name: str,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        specs: tuple[Any, ...],
        *,
        jit: bool = False,
    ) -> Any:
        """Run a function in a graph.

        Args:
            name: of the function.
            function: traced if there is no graph of this name and form yet.
            arguments: trees of tensors.
            specs: the form of the arguments that the graph is to accept.
            jit: whether XLA compiles it.
        """
        signature = (name, jit, repr(specs))
        traced = self._find(signature, function, specs, jit)
        if traced.owner is self:
            return traced.graph(*arguments)
        captured = self._captured.get(signature)
        if captured is None:
            captured = [self._handles[i] for i in traced.positions]
            self._captured[signature] = captured
        return _call(traced.graph, arguments, captured)

    def form(self, name: str, function: Callable[..., Any], specs: tuple[Any, ...]) -> Any:
        """The operations of the graph that `run` would run, as a GraphDef with the shapes."""
        traced = self._find((name, False, repr(specs)), function, specs, False)
        return traced.graph.graph.as_graph_def(add_shapes=True)

    def _find(
        self, signature: Hashable, function: Callable[..., Any], specs: Any, jit: bool
    ) -> _Traced:
        traced = self._own.get(signature)
        if traced is None and self._common is not None:
            traced = self._common.get(signature)
        if traced is None:
            traced = self._trace(signature, function, specs, jit)
            if self.after_trace is not None:
                self.after_trace()
        return traced

    def _trace(
        self, signature: Hashable, function: Callable[..., Any], specs: Any, jit: bool
    ) -> _Traced:
        import tensorflow as tf

        made = tf.function(function, autograph=False, jit_compile=True if jit else None)
        with self._ambient(), _nothing_left_behind():
            graph = made.get_concrete_function(*specs)
        self.traces += 1
        place = {id(handle): i for i, handle in enumerate(self._handles)}
        positions = [place.get(id(tensor), -1) for tensor in graph.captured_inputs]
        traced = _Traced(graph, self, positions)
        if self._common is not None and -1 not in positions:
            # the entry must not keep this model alive: only its graph, and what that captured
            self._common[signature] = _Traced(graph, None, positions)
        self._own[signature] = traced
        return traced


@contextlib.contextmanager
def _nothing_left_behind() -> Iterator[None]:
    """Free what a trace leaves in TensorFlow's global tables, where it would stay for good.

    Inner graphs refer to their operations by way of C++, where Python's collector does not see it
    (keras#20552); and custom gradients are registered by name with all that they refer to. Neither
    is needed again: TensorFlow has its own copy of the graphs, and nobody differentiates them.
    """
    from tensorflow.python.framework import ops
    from tensorflow.python.framework.func_graph import dismantle_func_graph

    gradients = ops.gradient_registry._registry
    before = set(gradients)
    try:
        yield
    finally:
        for name in set(gradients) - before:
            if name.startswith("CustomGradient-"):
                del gradients[name]
        while _needless:
            dismantle_func_graph(_needless.pop())


def needless(graph: Any) -> None:
    """Let the Python side of an inner graph be freed once the outer one is traced."""
    _needless.append(graph)


def _call(graph: Any, arguments: tuple[Any, ...], captured: list[Any]) -> Any:
    from tensorflow.python.eager.polymorphic_function import function_type_utils

    bound = function_type_utils.canonicalize_function_inputs(arguments, {}, graph.function_type)
    return graph._call_flat(graph.function_type.unpack_inputs(bound), captured)


def forget() -> None:
    """Forget all shared graphs: the next model of each architecture is traced again."""
    _shared.clear()


def _kept_bytes() -> int:
    return sum(shared.bytes for shared in _shared.values())
