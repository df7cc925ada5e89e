"""The saved model as a function of named tensors, and its graph with everything inside.

Responsible for the names of inputs and outputs, for what our network gives for a few rows, and for
the frozen graph that converters read. Not for the formats (`formats`).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from trainer.data import arrays
from trainer.data.arrays import Tree, map_named, map_tree
from trainer.network import outputs
from trainer.network.network import Network
from trainer.state.isolation import model_kept

if TYPE_CHECKING:
    import keras

Flat = dict[str, np.ndarray]

LARGEST = 2**31 - 2**24  # bytes of weights: 2 GB, less what describes them


class Refused(Exception):
    """A format cannot hold a model.

    Attributes:
        lacks: what it lacks, for the sentence "ONNX has no ...".
        layers: the layers that need it, by name.
        instead: what to write; None for another format.
    """

    def __init__(
        self, lacks: str, layers: Iterable[str | None] = (), instead: str | None = None
    ) -> None:
        super().__init__(lacks)
        self.lacks, self.instead = lacks, instead
        self.layers = sorted({layer for layer in layers if layer is not None})


@dataclass(frozen=True)
class Lookup:
    """The content of a lookup table.

    Attributes:
        keys: what is looked up, [n].
        values: what is found for each, [n].
    """

    keys: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Frozen:
    """A graph that has its weights, constants and lookup tables inside.

    Attributes:
        graph: a GraphDef, whose weights and constants are nodes.
        inputs: the tensors of the inputs by their names.
        outputs: the tensors of the outputs by their names.
        lookups: the tables by the nodes that stand for their handles.
        shapes: the shapes of what lookups give, which the nodes do not know, by tensor; None for
            any length.
    """

    graph: Any
    inputs: dict[str, str]
    outputs: dict[str, str]
    lookups: dict[str, Lookup]
    shapes: dict[str, list[int | None]]

    def nodes(self) -> Iterator[Any]:
        """Yield every node, those of functions (branches and loops) included."""
        yield from self.graph.node
        for function in self.graph.library.function:
            yield from function.node_def


@dataclass
class Served:
    """The whole model of a network, in float32, as a function of named tensors.

    Attributes:
        network: the network.
        rows: raw rows in the structure that its whole model takes.
        specs: the tf.TensorSpec of each input, by its name, in the order of the structure.
        results: what the network gives for the rows: arrays by the names of the outputs.
    """

    network: Network
    rows: Tree
    specs: dict[str, Any] = field(init=False)
    results: Flat = field(init=False)

    def __post_init__(self) -> None:
        """Name the inputs and outputs, and compute what the network gives for the rows."""
        self._names = _names(self.rows, "x")
        declared = _declared(self.network.whole, list(self._names))
        shapes = _row_shapes(self.network)

        def spec(name: str, rows: np.ndarray) -> Any:
            dtype, shape = declared.get(name) or (_dtype(rows), ())
            if len(shape) != rows.ndim - 1:  # none declared, or Keras adds an axis
                shape = shapes.get(name, rows.shape[1:])
            return tf.TensorSpec([self.network.fixed_rows, *shape], dtype, name=self._names[name])

        self._specs = map_named(spec, self.rows)
        self.specs = {leaf.name: leaf for _, leaf in arrays.leaves(self._specs)}
        self.rows = map_named(self._as_declared, self.rows)
        self.results = self.reference(self.network)

    def _as_declared(self, name: str, rows: np.ndarray) -> np.ndarray:
        spec = self.specs[self._names[name]]
        return rows if spec.dtype == tf.string else rows.astype(spec.dtype.as_numpy_dtype)

    @property
    def flat_rows(self) -> Flat:
        """The rows by the names of the inputs."""
        return {self._names[name]: leaf for name, leaf in arrays.leaves(self.rows)}

    def structured(self, rows: Flat) -> Tree:
        """Return rows, by the names of the inputs, as tensors in the structure of x."""
        return map_named(lambda name, _: tf.constant(rows[self._names[name]]), self.rows)

    def reference(self, network: Network) -> Flat:
        """Return what a network's predict gives for the rows, by the names of the outputs.

        Args:
            network: this one, or the same in another precision.
        """
        x = self.rows
        if network.inputs.table is not None or network.inputs.encoding is not None:
            with network.ambient():
                encoded = network.inputs.encoder(map_tree(tf.constant, x))
            x = map_tree(np.asarray, encoded)
        # a stateful model must start from the same state as what is exported
        kept = model_kept(network.core) if network.fixed_rows else contextlib.nullcontext()
        with kept:
            found = self.named(network.predict(x))
        return {name: np.asarray(leaf) for name, leaf in found.items()}

    def call(self, x: Any) -> Any:
        """Call the whole model; return its outputs in the structure of y."""
        found = self.network.whole(x, training=False)
        return outputs.arranged(self.network.core, self.network.spec, found)

    def flat(self, *given: Any) -> dict[str, Any]:
        """Call the whole model with its inputs in a row; return its outputs by name."""
        each = dict(zip(self._names, given, strict=True))
        return self.named(self.call(map_named(lambda name, _: each[name], self._specs)))

    def named(self, found: Tree) -> dict[str, Any]:
        """Return outputs, in the structure of y, by their names, of which no input has one."""
        names = _names(found, "output", self.specs)
        return {names[f"x{name}"]: leaf for name, leaf in arrays.leaves(found, "")}

    def concrete(self) -> Any:
        """Return the concrete function from the inputs in a row to a dict of the outputs."""
        function = tf.function(
            self.flat, input_signature=list(self.specs.values()), autograph=False
        )
        return function.get_concrete_function()

    def write_saved_model(self, folder: str) -> None:
        """Write a SavedModel that takes x in its structure, and returns outputs in that of y."""
        self._archive(self.call, [self._specs]).write_out(folder, verbose=False)

    def write_flat_saved_model(self, folder: str) -> None:
        """Write a SavedModel that takes the inputs in a row, and returns a dict of outputs."""
        self._archive(self.flat, list(self.specs.values())).write_out(folder, verbose=False)

    def _archive(self, function: Callable[..., Any], signature: list[Any]) -> Any:
        import keras

        made = keras.export.ExportArchive()
        made.track(self.network.whole)
        made.add_endpoint("serve", function, input_signature=signature)
        return made

    def frozen(self) -> Frozen:
        """Return the graph with everything inside.

        Raises:
            Refused: a call changes a variable.
        """
        from tensorflow.python.framework.convert_to_constants import (
            convert_variables_to_constants_v2,
        )

        concrete = self.concrete()
        changing = [op for op in concrete.graph.get_operations() if op.type.startswith("Assign")]
        if changing:
            raise Refused(
                "variable that a call changes, as stateful layers have",
                (self.layer_of(op.name) for op in changing),
            )
        constant = convert_variables_to_constants_v2(
            concrete, lower_control_flow=False, aggressive_inlining=True
        )
        graph = constant.graph.as_graph_def()
        lookups = _inlined(graph, concrete.graph.captures)
        inside = {spec.name: f"{spec.name}:0" for spec in self.specs.values()}
        # the outputs of a dict are in the order of its sorted keys
        given = zip(sorted(self.results), constant.outputs, strict=True)
        found = (op for op in concrete.graph.get_operations() if op.type == "LookupTableFindV2")
        shapes = {
            op.outputs[0].name: list(op.outputs[0].shape)
            for op in found
            if op.outputs[0].shape.rank is not None
        }
        results = {name: tensor.name for name, tensor in given}
        return Frozen(graph, inside, results, lookups, shapes)

    def check_size(self) -> None:
        """Refuse a model that is too large for a file of Google's Protocol Buffers or FlatBuffers.

        Raises:
            Refused: it is.
        """
        size = sum(4 * int(np.prod(v.shape)) for v in self.network.whole.variables)
        if size > LARGEST:
            raise Refused(f"room for {size / 2**30:.1f} GB of weights (a file holds 2 GB)")

    def check_python(self) -> None:
        """Refuse a model that calls Python: it would only run in this process.

        Raises:
            Refused: it does.
        """
        graph = self.concrete().graph.as_graph_def()
        functions = (node for function in graph.library.function for node in function.node_def)
        calls = [n for n in (*graph.node, *functions) if n.op in ("PyFunc", "EagerPyFunc")]
        if calls:
            layers = (self.layer_of(node.name) for node in calls)
            raise Refused(
                "call of Python (tf.py_function, tf.numpy_function)",
                layers,
                instead="write it with keras.ops or TensorFlow's operations",
            )

    def order_of_outputs(self) -> list[int]:
        """Return the places of the named outputs among those that the whole model returns."""
        raw = self.network.whole.output
        places = iter(range(len(list(arrays.leaves(raw)))))
        numbered = map_tree(lambda _: next(places), raw)
        arranged = outputs.arranged(self.network.core, self.network.spec, numbered)
        return list(self.named(arranged).values())

    def layer_of(self, node: str) -> str | None:
        """Return the name of the layer that a node of the graph belongs to, or None."""
        names = _layer_names(self.network.whole)
        for part in reversed(node.split("/")[:-1]):
            for name in (part, re.sub(r"_\d+$", "", part)):
                if name in names:
                    return name
        return None


def _inlined(graph: Any, captures: Iterable[tuple[Any, Any]]) -> dict[str, Lookup]:
    """Write captured constants into a graph; return the lookup tables that it captures."""
    nodes = {node.name: node for node in graph.node}
    lookups: dict[str, Lookup] = {}
    for outside, inside in captures:
        node = nodes.get(inside.op.name)
        if node is None or node.op != "Placeholder":
            continue  # a variable, which is a constant already
        if outside.dtype == tf.resource:
            user = next(
                (
                    n
                    for n in graph.node
                    if n.op == "LookupTableFindV2" and _source(n.input[0], nodes) == node.name
                ),
                None,
            )
            if user is None:
                continue
            keys, values = tf.raw_ops.LookupTableExportV2(
                table_handle=outside,
                Tkeys=tf.as_dtype(user.attr["Tin"].type),
                Tvalues=tf.as_dtype(user.attr["Tout"].type),
            )
            lookups[node.name] = Lookup(keys.numpy(), values.numpy())
            continue
        node.op = "Const"
        node.ClearField("attr")
        node.attr["dtype"].type = outside.dtype.as_datatype_enum
        node.attr["value"].tensor.CopyFrom(
            tf.make_tensor_proto(outside.numpy(), dtype=outside.dtype, shape=outside.shape)
        )
    return lookups


def _source(tensor: str, nodes: Mapping[str, Any]) -> str:
    """Return the node that a tensor comes from, past identities."""
    name = tensor.split(":")[0].lstrip("^")
    while name in nodes and nodes[name].op == "Identity":
        name = nodes[name].input[0].split(":")[0]
    return name


def _names(tree: Tree, alone: str, taken: Container[str] = ()) -> dict[str, str]:
    """Return a name for each leaf, by its name in `arrays.leaves`.

    A single one is called `alone`, those of a dict like their keys, those of a tuple `alone_0` and
    so on; other characters than letters, digits, `_` and `.` become `_`. None is one of `taken`.
    """
    found: dict[str, str] = {}
    for name, _ in arrays.leaves(tree, ""):
        parts = re.findall(r"\[(?:'((?:[^'\\]|\\.)*)'|\"([^\"]*)\"|([^\]]*))\]", name)
        said = "_".join("".join(part) for part in parts)
        if not parts or not re.match("[A-Za-z]", said):
            said = "_".join([alone, said]) if parts else alone
        called = re.sub(r"[^A-Za-z0-9_.]", "_", said)
        while called in found.values() or called in taken:
            called += f"_{alone[0]}"
        found[f"x{name}"] = called
    return found


def _declared(
    whole: keras.Model, names: list[str]
) -> dict[str, tuple[str, tuple[int | None, ...]]]:
    """Return the dtypes and shapes of rows that a model declares, by the names in `arrays.leaves`.

    A subclassed model declares none.
    """
    import keras

    def form(tensor: Any) -> tuple[str, tuple[int | None, ...]]:
        return str(tensor.dtype), tuple(tensor.shape)[1:]

    tensors = list(getattr(whole, "inputs", None) or ())
    if not tensors:
        return {}
    found = {f"x[{tensor.name!r}]": form(tensor) for tensor in tensors}
    if not isinstance(whole, keras.Sequential):
        found |= {name: form(tensor) for name, tensor in arrays.leaves(whole.input)}
    if not set(names) <= set(found):
        found = dict(zip(names, map(form, tensors), strict=False))
    return found


def _dtype(rows: np.ndarray) -> Any:
    if rows.dtype.kind == "O":
        return tf.string
    return "float32" if rows.dtype.kind in "fb" else rows.dtype.name


def _row_shapes(network: Network) -> dict[str, tuple[int | None, ...]]:
    """Return the shapes of rows, with their open axes, by the names in `arrays.leaves`."""
    given = getattr(network.inputs.encoding, "given", None)
    if network.inputs.table is not None or (network.inputs.encoding is not None and not given):
        return {}
    found: dict[str, tuple[int | None, ...]] = {}

    def one(name: str, row: _Row) -> None:
        found[name] = row.shape

    map_named(one, arrays.map_shapes(_Row, (given or network.inputs).shapes))
    return found


class _Row:
    # Wraps a shape so that the tree functions treat it as a leaf.
    def __init__(self, shape: tuple[int | None, ...]) -> None:
        self.shape = shape


def _layer_names(model: keras.Model) -> set[str]:
    found: set[str] = set()
    for layer in getattr(model, "layers", ()):
        found |= {layer.name, *_layer_names(layer)}
    return found


def in_a_line(said: Any, most: int = 300) -> str:
    """Return an error's message in a line, shortened."""
    found = " ".join(str(said).split())
    return found if len(found) <= most else f"{found[:most]}..."


def listed(names: Iterable[str]) -> str:
    """Return names in a sentence, each once."""
    return ", ".join(dict.fromkeys(names))
