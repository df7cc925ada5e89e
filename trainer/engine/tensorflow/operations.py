"""Operations with a state that TensorFlow hides, and which of them a step runs.

Responsible for recording the operations of a step, traced or run in Python, and for warnings about
those whose state no file can hold. Not for variables (`variables`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# Random operations with a counter inside their kernel. Those of tf.random.Generator and
# keras.random use a variable, or depend only on their arguments.
_DRAWING = {
    *("Multinomial", "ParameterizedTruncatedNormal", "RandomCrop", "RandomGamma"),
    *("RandomPoisson", "RandomPoissonV2", "RandomShuffle", "RandomStandardNormal"),
    *("RandomUniform", "RandomUniformInt", "SampleDistortedBoundingBox"),
    *("SampleDistortedBoundingBoxV2", "TruncatedNormal"),
}
_PYTHON = {"EagerPyFunc", "PyFunc", "PyFuncStateless"}
_CHANGING = {
    *("BarrierInsertMany", "BarrierTakeMany", "IteratorGetNext", "IteratorGetNextAsOptional"),
    *("IteratorGetNextSync", "LookupTableImportV2", "LookupTableInsertV2", "LookupTableRemoveV2"),
    *("MapStage", "MapUnstage", "OrderedMapStage", "OrderedMapUnstage", "QueueDequeueManyV2"),
    *("QueueDequeueUpToV2", "QueueDequeueV2", "QueueEnqueueManyV2", "QueueEnqueueV2"),
    *("ResourceAccumulatorApplyGradient", "ResourceAccumulatorTakeGradient", "Stage"),
    *("StackPopV2", "StackPushV2", "Unstage"),
}
NAMES = {"train": "training", "test": "test"}


def global_generators() -> list[tuple[str, Any]]:
    """Return the generators that belong to the process, by name, as far as they exist."""
    from tensorflow.python.ops import stateful_random_ops

    return [("tf.random.get_global_generator()", stateful_random_ops.global_generator)]


def of_graph(step: Any, phase: str) -> list[str]:
    """Return the warnings about the operations of a traced step.

    Args:
        step: The concrete function.
        phase: "train" or "test".
    """
    graph = step.graph.as_graph_def()
    nodes = [*graph.node, *(n for function in graph.library.function for n in function.node_def)]
    return warnings_of([(node.op, node.name) for node in nodes], phase)


def warnings_of(found: Iterable[tuple[str, str]], phase: str) -> list[str]:
    """Return the warnings about operations, given as types and names."""
    drawing: dict[str, str] = {}
    python: dict[str, str] = {}
    changing: dict[str, str] = {}
    for kind, name in found:
        if kind in _DRAWING or kind.endswith("CandidateSampler"):
            drawing.setdefault(kind, name)
        elif kind in _PYTHON:
            python.setdefault(kind, name)
        elif kind in _CHANGING:
            changing.setdefault(kind, name)
    step, texts = f"the {NAMES[phase]} step", []
    if drawing:
        texts.append(
            f"{step} draws with {_shown(drawing)}, as tf.random.uniform and tf.nn.dropout do, but "
            "TensorFlow does not expose their state; use keras.random with a "
            "keras.random.SeedGenerator, or a tf.random.Generator"
        )
    if python:
        texts.append(
            f"{step} calls Python with {_shown(python)}, as tf.py_function and tf.numpy_function "
            "do, and what it changes is not saved; return it from get_extra_state if it matters"
        )
    if changing:
        texts.append(
            f"{step} changes a table, queue or iterator with {_shown(changing)}, whose content is "
            "not saved; hold it in a tf.Variable if it matters"
        )
    return texts


def _shown(found: dict[str, str]) -> str:
    return ", ".join(f"{kind} ({name})" if name else kind for kind, name in found.items())


class Operations:
    """Records the operations that run eagerly within a `with` block.

    Attributes:
        types: The types and names of the operations.
        resources: The resource handles among their inputs, each once.
    """

    def __init__(self) -> None:
        self.types: list[tuple[str, str]] = []
        self._resources: dict[int, Any] = {}

    @property
    def resources(self) -> list[Any]:
        """The resource handles among the inputs of the operations, each once."""
        return list(self._resources.values())

    def __enter__(self) -> Operations:
        from tensorflow.python.framework import op_callbacks

        op_callbacks.add_op_callback(self._ran)
        return self

    def __exit__(self, *error: Any) -> None:
        from tensorflow.python.framework import op_callbacks

        op_callbacks.remove_op_callback(self._ran)

    def _ran(
        self,
        op_type: str | bytes,
        inputs: Any,
        attrs: Any,
        outputs: Any,
        op_name: str | None = None,
        graph: Any = None,
    ) -> None:
        import tensorflow as tf
        from tensorflow.python.eager import context

        for tensor in inputs:
            if getattr(tensor, "dtype", None) == tf.resource and hasattr(tensor, "numpy"):
                self._resources.setdefault(id(tensor), tensor)
        op_type = op_type if isinstance(op_type, str) else op_type.decode()
        self.types.append((op_type, op_name or ""))
        if graph is None and context.context().has_function(op_type):
            function = context.context().get_function_def(op_type)
            self.types += [(node.op, node.name) for node in function.node_def]
