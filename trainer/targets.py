"""What a fitted Trainer knows of its targets.

Responsible for checking y, for encoding it as the network's targets, and for turning the network's
outputs back into predictions: numbers as they are (`Numbers`), or labels (`Classes`). Both may be
nested, for several outputs. Not for x (`inputs`), nor for losses (`compiling`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from trainer import arrays, forms
from trainer.arrays import Tree, map_named, map_tree
from trainer.labels import Labels
from trainer.streams import UNKNOWN_LABEL


class Targets(Protocol):
    """What Numbers and Classes have in common."""

    @property
    def n_outputs(self) -> Any:
        """The width of the output layer; a structure of widths for several outputs."""

    @property
    def task(self) -> str:
        """As in ModelSpec."""

    def encode(self, y: Any, name: str) -> Tree:
        """y as training targets: a tree of arrays."""

    def encode_graph(self, y: Any) -> Any:
        """The same for tensors within a tf.data pipeline."""

    def decode(self, outputs: Tree) -> Tree:
        """The network's outputs as predictions."""

    def to_dict(self) -> dict[str, Any]:
        """A form that JSON can hold."""


class Numbers:
    """Targets that are numbers: of a Regressor, or of a plain Trainer.

    Attributes:
        widths: the number of columns of each target, in the structure of y.
        flat: whether each target was a vector (n,), in the same structure.
        scale: (mean, deviation) of the columns of a single target, weighted; for output scaling.
    """

    def __init__(
        self, task: str, widths: Any, flat: Any, scale: tuple[list[float], list[float]] | None
    ) -> None:
        self.task = task
        self.n_outputs = widths
        self.flat = flat
        self.scale = scale

    @classmethod
    def learn(cls, task: str, y: Any, name: str, weight: np.ndarray | None = None) -> Numbers:
        """Learn the form of y.

        Raises:
            TypeError, ValueError: y is no tree of finite numbers.
        """
        tree = arrays.to_arrays(y, name)
        scale = None
        if hasattr(tree, "shape") and tree.ndim <= 2:
            from trainer.tables import affine

            mean, deviation = affine(tree.reshape(len(tree), -1), "standard", weight)
            scale = (mean.tolist(), deviation.tolist())
        widths = map_tree(lambda a: 1 if a.ndim == 1 else int(a.shape[-1]), tree)
        return cls(task, widths, map_tree(lambda a: a.ndim == 1, tree), scale)

    @classmethod
    def learn_stream(cls, task: str, batches: Iterable[Any] | None, spec: Any) -> Numbers:
        """Learn the form of the targets of a stream, and their scale in one pass over `batches`
        of targets and weights, unless they are None."""
        widths = map_tree(lambda s: 1 if s.shape.rank == 1 else s.shape[-1] or 1, spec)
        flat = map_tree(lambda s: s.shape.rank == 1, spec)
        scale = None
        if hasattr(spec, "shape") and spec.shape.rank <= 2 and batches is not None:
            parts = list(batches)
            whole = np.concatenate(
                [np.asarray(y, np.float64).reshape(len(y), -1) for y, _ in parts]
            )
            arrays.check_finite(whole, "y")
            weights = [weight for _, weight in parts if weight is not None]
            from trainer.tables import affine

            mean, deviation = affine(
                whole, "standard", np.concatenate(weights) if weights else None
            )
            scale = (mean.tolist(), deviation.tolist())
        return cls(task, widths, flat, scale)

    def encode(self, y: Any, name: str) -> Tree:
        """y as numbers, checked against the form that training had."""
        tree = arrays.to_arrays(y, name)
        expected, found = dict(arrays.leaves(self.n_outputs, name)), dict(arrays.leaves(tree, name))
        if set(expected) != set(found):
            raise ValueError(
                f"{name} has the outputs {list(found)}, but training had {list(expected)}"
            )
        for key, array in found.items():
            width = 1 if array.ndim == 1 else array.shape[-1]
            if width != expected[key]:
                raise ValueError(
                    f"{key} has {width} columns, but training had {expected[key]}; "
                    f"its shape is {array.shape}"
                )
        return tree

    def encode_graph(self, y: Any) -> Any:
        """Tensors of numbers are targets as they are."""
        return y

    def decode(self, outputs: Tree) -> Tree:
        """The outputs, without the last axis where the target was a vector.

        Args:
            outputs: in the structure of y; of a custom model any other, which is left as it is.
        """
        if set(dict(arrays.leaves(outputs, ""))) != set(dict(arrays.leaves(self.flat, ""))):
            return outputs

        def one(flat: bool, output: np.ndarray) -> np.ndarray:
            return output[..., 0] if flat and output.ndim > 1 and output.shape[-1] == 1 else output

        return map_tree(one, self.flat, outputs)

    def to_dict(self) -> dict[str, Any]:
        """A form that JSON can hold."""
        return {
            "kind": "numbers",
            "task": self.task,
            "outputs": [[k, w] for k, w in arrays.leaves(self.n_outputs, "")],
            "flat": [f for _, f in arrays.leaves(self.flat, "")],
            "structure": structure(self.n_outputs),
            "scale": self.scale,
        }


class Classes:
    """Targets that are labels: of a Classifier.

    Attributes:
        labels: a Labels for each output, in the structure of y.
    """

    def __init__(self, labels: Tree) -> None:
        self.labels = labels

    @classmethod
    def learn(
        cls, y: Any, name: str, *, one_hot: bool, weight: np.ndarray | None = None
    ) -> Classes:
        """Learn the classes of each output.

        Raises:
            ValueError: no labels, or only one class, among the rows whose weight is not zero.
        """
        labels = _map_labels(lambda n, v: Labels.learn(v, n, one_hot=one_hot), y, name)
        if weight is not None and isinstance(labels, Labels) and labels.kind != "multilabel":
            present = labels.encode(y, name)[weight > 0]
            if len(np.unique(present, axis=0)) < 2:
                raise ValueError(
                    "sample_weight leaves only one class with a weight above 0; a classifier "
                    "needs rows of at least two classes"
                )
        return cls(labels)

    @classmethod
    def learn_stream(cls, batches: Iterable[Any], *, one_hot: bool) -> Classes:
        """Learn the classes of a stream in one pass over its targets."""
        whole = arrays.concatenate(batches)
        return cls.learn(whole, "y", one_hot=one_hot)

    @property
    def n_outputs(self) -> Any:
        """The number of classes or labels of each output."""
        return map_tree(lambda label: label.n_classes, self.labels)

    @property
    def classes(self) -> Tree:
        """The sorted labels of each output."""
        return map_tree(lambda label: label.classes, self.labels)

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of the labels of each output, as `Labels.kind`."""
        return {name: label.kind for name, label in arrays.leaves(self.labels, "")}

    @property
    def task(self) -> str:
        """ "multilabel" if the only output is; else "classification"."""
        if isinstance(self.labels, Labels) and self.labels.kind == "multilabel":
            return "multilabel"
        return "classification"

    def encode(self, y: Any, name: str) -> Tree:
        """Labels as class numbers, one-hot rows or 0/1 matrices."""
        if isinstance(self.labels, Labels):
            return self.labels.encode(y, name)
        found, expected = _keys(y), _keys(self.labels)
        if found != expected:
            raise ValueError(f"{name} has the outputs {found}, but training had {expected}")
        pick = functools.partial(_at, y)
        return _map_labels(lambda n, label: label.encode(pick(n), name + n), self.labels, "")

    def encode_graph(self, y: Any) -> Any:
        """Labels as targets within a tf.data pipeline."""
        import tensorflow as tf

        def one(label: Labels, tensor: Any) -> Any:
            if label.kind == "multilabel" or (tensor.shape.rank == 2 and tensor.shape[-1] != 1):
                return tf.cast(tensor, tf.float32)
            numbers = np.arange(label.n_classes)
            if tensor.dtype == tf.string:
                keys = tf.constant(label.classes.astype(str))
            else:
                keys, tensor = (
                    tf.constant(label.classes.astype(np.int64)),
                    tf.cast(tensor, tf.int64),
                )
            table = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(keys, tf.constant(numbers)), -1
            )
            index = table.lookup(tf.reshape(tensor, [-1]))
            with tf.control_dependencies([tf.debugging.assert_non_negative(index, UNKNOWN_LABEL)]):
                index = tf.identity(index)
            if label.one_hot:
                return tf.one_hot(index, label.n_classes)
            return tf.cast(index, tf.int32)

        return map_tree(one, self.labels, y)

    def decode(self, outputs: Tree) -> Tree:
        """The most probable labels; for multilabel a 0/1 matrix."""
        return map_tree(lambda label, p: label.decode(p), self.labels, outputs)

    def probabilities(self, outputs: Tree) -> Tree:
        """The probability of every class, [n, n_classes] for each output."""
        return map_tree(lambda label, p: label.probabilities(p), self.labels, outputs)

    def to_dict(self) -> dict[str, Any]:
        """A form that JSON can hold."""
        return {
            "kind": "classes",
            "labels": [label.to_dict() for _, label in arrays.leaves(self.labels, "")],
            "structure": structure(self.labels),
        }


def from_dict(state: dict[str, Any]) -> Numbers | Classes:
    """The targets that `to_dict` described.

    Raises:
        forms.Malformed: it described no such thing; the message names the entry.
    """
    forms.mapping("targets", state, ("kind", "structure"))
    form = state["structure"]
    count = _leaves_of(form)
    if forms.text("targets: kind", state["kind"], ("classes", "numbers")) == "classes":
        labels = forms.items("targets: labels", state.get("labels"), count)
        return Classes(_fill(form, iter([Labels.from_dict(label) for label in labels])))
    forms.mapping("targets", state, ("task", "outputs", "flat", "scale"))
    tasks = ("custom", "regression", "classification", "multilabel")
    task = forms.text("targets: task", state["task"], tasks)
    outputs = forms.items("targets: outputs", state["outputs"], count)
    pairs = [forms.items("targets: outputs", pair, 2) for pair in outputs]
    widths = [forms.whole("targets: outputs", width, 1, 2**31) for _, width in pairs]
    flat = forms.items("targets: flat", state["flat"], count)
    for value in flat:
        forms.flag("targets: flat", value)
    scale = state["scale"]
    if scale is not None:
        for part, above in zip(
            forms.items("targets: scale", scale, 2), (-math.inf, 0.0), strict=True
        ):
            if form is not None:
                raise forms.wrong("targets: scale", scale, "null for several outputs")
            for value in forms.items("targets: scale", part, widths[0]):
                forms.number("targets: scale", value, above=above)
    return Numbers(
        task,
        _fill(form, iter(widths)),
        _fill(form, iter(flat)),
        None if scale is None else (scale[0], scale[1]),
    )


def _leaves_of(form: Any) -> int:
    if form is None:
        return 1
    entry = "targets: structure"
    forms.mapping(entry, form)
    kind = next(iter(form), None)
    if len(form) != 1 or kind not in ("dict", "tuple"):
        raise forms.wrong(entry, form, "null, or one of 'dict' and 'tuple'")
    parts = forms.items(entry, form[kind])
    if kind == "dict":
        parts = [forms.items(entry, pair, 2) for pair in parts]
        keys = [key for key, _ in parts]
        if not all(isinstance(k, (str, int, float)) for k in keys) or len(set(keys)) < len(keys):
            raise forms.wrong(entry, keys, "names that stand once")
        parts = [part for _, part in parts]
    if not parts:
        raise forms.wrong(entry, form, "at least one output")
    return sum(map(_leaves_of, parts))


def structure(tree: Tree) -> Any:
    """The structure of a tree as JSON: None for a leaf, else the dict's keys or the parts."""
    if isinstance(tree, dict):
        return {"dict": [[k, structure(v)] for k, v in tree.items()]}
    if isinstance(tree, tuple):
        return {"tuple": [structure(v) for v in tree]}
    return None


def _fill(shape: Any, values: Any) -> Tree:
    if shape is None:
        return next(values)
    if "dict" in shape:
        return {k: _fill(v, values) for k, v in shape["dict"]}
    return tuple(_fill(v, values) for v in shape["tuple"])


def _map_labels(function: Any, y: Any, name: str) -> Tree:
    # a list is always one output's labels: [[0, 1], [1, 0]] is a multilabel matrix
    if isinstance(y, list) or not arrays.is_nested(y):
        return function(name, y)
    return map_named(function, y, name)


def _keys(tree: Any) -> list[str]:
    return sorted(n for n, _ in arrays.leaves(tree if arrays.is_nested(tree) else [tree], ""))


def _at(tree: Any, name: str) -> Any:
    return dict(arrays.leaves(tree, ""))[name]
