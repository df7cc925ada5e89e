"""Traced functions, shared between models of the same structure.

Responsible for tracing each function once per signature, and for running a graph that was traced
for one model on the variables of a twin, a model of the same structure: a second fit, another fold
or the next trial of a search then trains without tracing. Not for deciding which models are twins
(`sharing`), or for what the functions do (`program`).

A graph receives the variables of its model as captured inputs in addition to its arguments. Passing
the variables of a twin instead makes the same graph compute the steps of the twin.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

MAX_SHARED = 4  # structures whose graphs are cached
MAX_SHARED_BYTES = 2**27  # of the variables that the cached graphs keep alive


@dataclass
class _Traced:
    graph: Any
    # None in the shared cache: a shared graph must not keep its first owner alive.
    owner: Graphs | None
    positions: list[int]  # of each captured variable among the owner's variables


class Specs(tuple[Any, ...]):
    """The specs of the arguments of a function, with the text that identifies them, made once."""

    text: str

    def __new__(cls, *specs: Any) -> Specs:
        """Return the specs."""
        made = super().__new__(cls, specs)
        made.text = repr(specs)
        return made


class _Shared(dict[Hashable, _Traced]):
    """The graphs of one structure, and the size of the variables that they keep alive."""

    bytes = 0


_to_free: list[Any] = []
_shared: OrderedDict[Hashable, _Shared] = OrderedDict()


class Graphs:
    """The traced functions of a model, its own or shared with twins.

    Args:
        ambient: Returns the context in which functions are traced.

    Attributes:
        traces: The number of functions traced for this model, without those traced for twins.
        after_trace: Called after a function is traced and before it runs, or None.
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
        """Share graphs with twin models from now on.

        Args:
            key: Equal for models of the same structure only.
            variables: Every Keras variable that the functions read or write, in the same order
                for all twins.
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
        """Run a function as a graph.

        Args:
            name: The name of the function.
            function: The function to trace if there is no graph for this name and specs yet.
            arguments: Trees of tensors.
            specs: The specs of the arguments that the graph must accept.
            jit: Whether to compile it with XLA.
        """
        signature = (name, jit, specs.text if isinstance(specs, Specs) else repr(specs))
        traced = self._find(signature, function, specs, jit)
        if traced.owner is self:
            return _call(traced.graph, arguments, traced.graph.captured_inputs)
        captured = self._captured.get(signature)
        if captured is None:
            captured = [self._handles[i] for i in traced.positions]
            self._captured[signature] = captured
        return _call(traced.graph, arguments, captured)

    def form(self, name: str, function: Callable[..., Any], specs: tuple[Any, ...]) -> Any:
        """Return the operations of the graph that `run` would run, as a GraphDef with shapes."""
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
        with self._ambient(), _traces_freed():
            if signature in self._own:  # another thread has traced it while this one waited
                return self._own[signature]
            graph = made.get_concrete_function(*specs)
            self.traces += 1
            place = {id(handle): i for i, handle in enumerate(self._handles)}
            positions = [place.get(id(tensor), -1) for tensor in graph.captured_inputs]
            traced = _Traced(graph, self, positions)
            if self._common is not None and -1 not in positions:
                # The entry must not keep this model alive, only its graph and captured variables.
                self._common[signature] = _Traced(graph, None, positions)
            self._own[signature] = traced
        return traced


@contextlib.contextmanager
def _traces_freed() -> Iterator[None]:
    """Free objects that tracing would otherwise leave in memory for good.

    Inner graphs refer to their operations through C++, which Python's garbage collector cannot see
    (keras#20552), and custom gradients are registered globally by name with everything they refer
    to. Neither is needed again: TensorFlow has its own copy of the graphs, and nothing
    differentiates them later.
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
        while _to_free:
            dismantle_func_graph(_to_free.pop())


def free_after_trace(graph: Any) -> None:
    """Free the Python objects of an inner graph once the outer one is traced."""
    _to_free.append(graph)


def _call(graph: Any, arguments: tuple[Any, ...], captured: list[Any]) -> Any:
    if len(arguments) == 1 and hasattr(arguments[0], "shape"):
        return graph._call_flat(list(arguments), captured)
    from tensorflow.python.eager.polymorphic_function import function_type_utils

    bound = function_type_utils.canonicalize_function_inputs(arguments, {}, graph.function_type)
    return graph._call_flat(graph.function_type.unpack_inputs(bound), captured)


def forget() -> None:
    """Clear the shared graphs: the next model of each structure is traced again."""
    _shared.clear()


def _kept_bytes() -> int:
    return sum(shared.bytes for shared in _shared.values())
