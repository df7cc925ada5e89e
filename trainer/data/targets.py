"""The learned encoding of y.

Responsible for checking y, encoding it as training targets, and decoding network outputs into
predictions: either numbers (`Numbers`) or labels (`Classes`). Both may be nested, for several
outputs. Not for x (`inputs`) or losses (`compile`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from trainer.data import arrays
from trainer.data.arrays import Tree, map_named, map_tree
from trainer.data.labels import Labels
from trainer.data.streams import UNKNOWN_LABEL
from trainer.utils import forms


class Targets(Protocol):
    """The interface of Numbers and Classes."""

    @property
    def n_outputs(self) -> Any:
        """The width of the output layer; a structure of widths for several outputs."""

    @property
    def task(self) -> str:
        """The task, as in ModelSpec."""

    def encode(self, y: Any, name: str) -> Tree:
        """Encode y as training targets: a tree of arrays."""

    def encode_graph(self, y: Any) -> Any:
        """Encode tensors in a tf.data pipeline in the same way."""

    def decode(self, outputs: Tree) -> Tree:
        """Decode network outputs into predictions."""

    def to_dict(self) -> dict[str, Any]:
        """Return a representation for JSON."""


class Numbers:
    """Numeric targets, for a Regressor or a plain Trainer.

    Attributes:
        task: The task, as in ModelSpec.
        n_outputs: The number of columns of each target, in the structure of y.
        flat: Whether each target was a vector (n,), in the same structure.
        scale: Weighted (mean, standard deviation) of the columns of a single target, to scale
            outputs; otherwise None.
        row_shapes: The shape of a row of each target in training, by the name of the target; None
            for an axis of any length. Empty if unknown, as in a loaded model.
    """

    def __init__(
        self, task: str, widths: Any, flat: Any, scale: tuple[list[float], list[float]] | None
    ) -> None:
        self.task = task
        self.n_outputs = widths
        self.flat = flat
        self.scale = scale
        self.row_shapes: dict[str, tuple[int | None, ...]] = {}

    @classmethod
    def learn(cls, task: str, y: Any, name: str, weight: np.ndarray | None = None) -> Numbers:
        """Learn the structure and scale of y.

        Raises:
            TypeError, ValueError: y is not a tree of numbers. They need not be finite: a custom
                loss may leave NaN out.
        """
        tree = arrays.to_arrays(y, name, finite=False, texts=())
        scale = None
        if hasattr(tree, "shape") and tree.ndim <= 2:
            scale = _scale(tree.reshape(len(tree), -1), weight)
        widths = map_tree(lambda a: 1 if a.ndim == 1 else int(a.shape[-1]), tree)
        made = cls(task, widths, map_tree(lambda a: a.ndim == 1, tree), scale)
        made.row_shapes = {key: a.shape[1:] for key, a in arrays.leaves(tree, "")}
        return made

    @classmethod
    def learn_stream(cls, task: str, batches: Iterable[Any] | None, spec: Any) -> Numbers:
        """Learn the targets of a stream from its spec.

        Args:
            task: The task, as in ModelSpec.
            batches: Yields targets and weights, to learn the scale in one pass; None to skip it.
            spec: The tree of tf.TensorSpec of y.
        """
        widths = map_tree(lambda s: 1 if s.shape.rank == 1 else s.shape[-1] or 1, spec)
        flat = map_tree(lambda s: s.shape.rank == 1, spec)
        scale = None
        if hasattr(spec, "shape") and spec.shape.rank <= 2 and batches is not None:
            parts = list(batches)
            values = np.concatenate(
                [np.asarray(y, np.float64).reshape(len(y), -1) for y, _ in parts]
            )
            arrays.check_finite(values, "y")
            weights = [weight for _, weight in parts if weight is not None]
            rows = bool(weights) and weights[0].ndim == 1
            scale = _scale(values, np.concatenate(weights) if rows else None)
        made = cls(task, widths, flat, scale)
        known = [(key, s.shape) for key, s in arrays.leaves(spec, "") if s.shape.rank is not None]
        made.row_shapes = {key: tuple(shape[1:]) for key, shape in known}
        return made

    def encode(self, y: Any, name: str) -> Tree:
        """Return y as numbers, finite or not, after checking it against the training data."""
        tree = arrays.to_arrays(y, name, finite=False, texts=())
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
            trained = self.row_shapes.get(key.removeprefix(name))
            if trained is not None and max(array.ndim, 2) != max(len(trained) + 1, 2):
                shape = ", ".join(["n", *("any" if k is None else str(k) for k in trained)])
                raise ValueError(
                    f"{key} has shape {array.shape}, but in training it had shape ({shape}); pass "
                    "targets of that shape"
                )
        return tree

    def encode_graph(self, y: Any) -> Any:
        """Return y unchanged: numeric tensors need no encoding."""
        return y

    def decode(self, outputs: Tree) -> Tree:
        """Return the outputs, without the last axis if the target was a vector.

        Args:
            outputs: In the structure of y; another structure, from a custom model, is returned
                unchanged.
        """
        if set(dict(arrays.leaves(outputs, ""))) != set(dict(arrays.leaves(self.flat, ""))):
            return outputs

        def one(flat: bool, output: np.ndarray) -> np.ndarray:
            return output[..., 0] if flat and output.ndim > 1 and output.shape[-1] == 1 else output

        return map_tree(one, self.flat, outputs)

    def to_dict(self) -> dict[str, Any]:
        """Return a representation for JSON."""
        return {
            "kind": "numbers",
            "task": self.task,
            "outputs": [[k, w] for k, w in arrays.leaves(self.n_outputs, "")],
            "flat": [f for _, f in arrays.leaves(self.flat, "")],
            "structure": structure(self.n_outputs),
            "scale": self.scale,
        }


class Classes:
    """Targets that are labels, for a Classifier.

    Attributes:
        labels: The Labels of each output, in the structure of y.
    """

    def __init__(self, labels: Tree) -> None:
        self.labels = labels

    @classmethod
    def learn(
        cls,
        y: Any,
        name: str,
        *,
        one_hot: bool | Mapping[str, bool],
        weight: np.ndarray | None = None,
        known: Any = None,
        columns: int | None = None,
    ) -> Classes:
        """Learn the classes of each output.

        Args:
            y: The labels, as passed by the user.
            name: The name of the argument, for errors.
            one_hot: Whether the loss expects one-hot rows; by the name of the output if there are
                several losses.
            weight: Row weights (n,), or None.
            known: All labels of a single output, as for `Labels.learn`.
            columns: The outputs of a model for a single output, as for `Labels.learn`.

        Raises:
            ValueError: y has no labels, or only one class among rows with nonzero weight.
        """

        def one(output: str, value: Any) -> Labels:
            wanted = one_hot if isinstance(one_hot, bool) else one_hot.get(output[len(name) :])
            return Labels.learn(value, output, one_hot=bool(wanted), known=known, columns=columns)

        labels = _map_labels(one, y, name)
        if known is not None and not isinstance(labels, Labels):
            raise ValueError(
                f"classes={known!r}: {name} has several outputs, whose labels must all be in the "
                "first call; leave classes out"
            )
        if (
            known is None
            and columns is None
            and weight is not None
            and isinstance(labels, Labels)
            and labels.kind != "multilabel"
        ):
            present = labels.encode(y, name)[weight > 0]
            if len(np.unique(present, axis=0)) < 2:
                raise ValueError(
                    "sample_weight leaves only one class with a weight above 0; a classifier "
                    "needs rows of at least two classes"
                )
        return cls(labels)

    @classmethod
    def learn_stream(cls, batches: Iterable[Any], **options: Any) -> Classes:
        """Learn the classes of a stream in one pass over its targets; options as for `learn`."""
        return cls.learn(arrays.concatenate(batches), "y", **options)

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
        """The kind of task: "multilabel" for a single multi-label output, else "classification"."""
        if isinstance(self.labels, Labels) and self.labels.kind == "multilabel":
            return "multilabel"
        return "classification"

    def encode(self, y: Any, name: str) -> Tree:
        """Encode labels as class indices, one-hot rows or 0/1 matrices."""
        return self._map(Labels.encode, y, name)

    def check(self, y: Any, name: str) -> None:
        """Check that labels have the form of those of the training: see Labels.checked."""
        self._map(Labels.checked, y, name)

    def _map(self, function: Callable[[Labels, Any, str], np.ndarray], y: Any, name: str) -> Tree:
        """Call a method of the labels of each output with its part of y."""
        if isinstance(self.labels, Labels):
            return function(self.labels, y, name)
        found, expected = _keys(y), _keys(self.labels)
        if found != expected:
            raise ValueError(f"{name} has the outputs {found}, but training had {expected}")
        pick = functools.partial(_at, y)
        return _map_labels(lambda n, label: function(label, pick(n), name + n), self.labels, "")

    def encode_graph(self, y: Any) -> Any:
        """Encode labels as targets in a tf.data pipeline."""
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
        """Return the most probable labels in the form of y: see Labels.decode."""
        return map_tree(lambda label, p: label.decode(p), self.labels, outputs)

    def choose(self, outputs: Tree) -> Tree:
        """Return the most probable labels, also where y had one-hot rows: see Labels.choose."""
        return map_tree(lambda label, p: label.choose(p), self.labels, outputs)

    def probabilities(self, outputs: Tree) -> Tree:
        """Return class probabilities, [n, n_classes] for each output."""
        return map_tree(lambda label, p: label.probabilities(p), self.labels, outputs)

    def to_dict(self) -> dict[str, Any]:
        """Return a representation for JSON."""
        return {
            "kind": "classes",
            "labels": [label.to_dict() for _, label in arrays.leaves(self.labels, "")],
            "structure": structure(self.labels),
        }


def _scale(values: np.ndarray, weight: np.ndarray | None) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of the finite values of each column."""
    from trainer.data.tables import affine

    finite = np.isfinite(values)
    if finite.all():
        mean, deviation = affine(values, "standard", weight)
        return mean.tolist(), deviation.tolist()
    columns = []
    for column, known in zip(values.T, finite.T, strict=True):
        weights = None if weight is None else weight[known]
        if not known.any() or (weights is not None and not weights.any()):
            columns.append((0.0, 1.0))
            continue
        mean, deviation = affine(column[known][:, None], "standard", weights)
        columns.append((float(mean[0]), float(deviation[0])))
    return [mean for mean, _ in columns], [deviation for _, deviation in columns]


def from_dict(state: dict[str, Any]) -> Numbers | Classes:
    """Restore targets from `to_dict`.

    Raises:
        forms.Malformed: The state is invalid; the message names the entry.
    """
    forms.mapping("targets", state, ("kind", "structure"))
    form = state["structure"]
    count = _count_leaves(form)
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


def _count_leaves(form: Any) -> int:
    if form is None:
        return 1
    entry = "targets: structure"
    forms.mapping(entry, form)
    kind = next(iter(form), None)
    if len(form) != 1 or kind not in ("dict", "tuple"):
        raise forms.wrong(entry, form, "null, or a dict with one of the keys 'dict' and 'tuple'")
    parts = forms.items(entry, form[kind])
    if kind == "dict":
        parts = [forms.items(entry, pair, 2) for pair in parts]
        keys = [key for key, _ in parts]
        if not all(isinstance(k, (str, int, float)) for k in keys) or len(set(keys)) < len(keys):
            raise forms.wrong(entry, keys, "unique names")
        parts = [part for _, part in parts]
    if not parts:
        raise forms.wrong(entry, form, "at least one output")
    return sum(map(_count_leaves, parts))


def structure(tree: Tree) -> Any:
    """Return the structure of a tree for JSON: None for a leaf, else the keys or the parts."""
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
    # A list is always the labels of one output: [[0, 1], [1, 0]] is a multi-label matrix.
    if isinstance(y, list) or not arrays.is_nested(y):
        return function(name, y)
    return map_named(function, y, name)


def _keys(tree: Any) -> list[str]:
    return sorted(n for n, _ in arrays.leaves(tree if arrays.is_nested(tree) else [tree], ""))


def _at(tree: Any, name: str) -> Any:
    return dict(arrays.leaves(tree, ""))[name]
