"""The learned preprocessing of x.

Responsible for checking x against the training data, for encoding tables and normalising arrays,
and for the saved Keras model that includes this preprocessing. Not for targets (`targets`,
`labels`) or batches (`engine.feeds`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from trainer.data import arrays, records
from trainer.data.arrays import Tree, is_shape, map_shapes, map_tree
from trainer.data.columns import FEW
from trainer.data.frames import as_frame
from trainer.data.sparse import SparseRows
from trainer.data.streams import Stream
from trainer.data.tables import Table, affine
from trainer.utils import forms
from trainer.utils.checks import warn

if TYPE_CHECKING:
    import keras

# Limits on the rows of x that a loaded file may declare.
_MAX_ELEMENTS = 1 << 27
_MAX_RANK = 16
_DTYPES = (
    *("float32", "float64", "float16", "bfloat16", "bool", "object"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)
_SPARSE_PER_STATISTIC = 1 << 22  # numbers of sparse rows to make dense at a time
_ROWS_PER_STATISTIC = 8_192  # rows to convert to float64 at a time when computing statistics


@runtime_checkable
class Encoding(Protocol):
    """How an architecture encodes x in place of the default: once before training, then in graphs.

    A DataFrame is converted by its Table (`Table.inputs`), everything else by `raw`. It may have a
    method `encode(table, raw)`, which gives what the encoder's model gives, to the bit, without the
    cost of a graph's call; an attribute `given`, the Inputs of x as it was before, which checks
    streams and says how many features x has; and `reads_text = True`: then it also receives the
    columns of text of a DataFrame (`Table.texts`).
    """

    def raw(self, x: Any, owner: str, name: str) -> Tree:
        """Check x, and convert it to the inputs of the encoder: a tree of arrays [n, ...].

        Not called for a DataFrame.

        Args:
            x: The user's data.
            owner: The class name of the estimator, for errors.
            name: The name of the argument, for errors.

        Raises:
            TypeError, ValueError: x does not match the training data.
        """

    def encoder(self, table: Table | None) -> keras.Model:
        """Build the Keras model from raw inputs [n, ...] to what the network takes.

        It must have the same inputs and outputs whether it is built in fit or after loading, and
        only layers of Keras and registered ones of this package.

        Args:
            table: The learned columns of a DataFrame, or None.
        """

    def training_rows(self, encoded: Tree) -> Tree:
        """Return the encoded training rows as the network is to be trained on them.

        They differ from the encoder's output where their targets are in the encoding, as in
        target encoding. Called once, in the fit that has learnt the encoding.
        """


class Inputs:
    """The structure and statistics of x, learned from the training rows.

    Attributes:
        table: The learned columns of a DataFrame, or None for arrays and streams.
        shapes: The shape of one row of each input, as in `ModelSpec.input_shape`.
        dtypes: The NumPy dtype name of each input, in the same structure; for a table, that of
            the encoded matrix.
        scaling: (offset, scale) of each normalised input, by its name (`x['wide']`).
        n_features: The number of columns of a table or of values of a vector; None for other
            inputs.
        names: The column names, if x had any and all are strings.
        encoding: What encodes x in place of the default, or None.
        vocabularies: The words of each layer of text in a custom build_model, in the order
            of the model; None for those that build_model must adapt itself (TF-IDF). None before
            the network is built, and where there are no such layers.
    """

    def __init__(
        self,
        *,
        shapes: Any,
        dtypes: Any,
        scaling: dict[str, Any],
        table: Table | None = None,
        names: list[str] | None = None,
        encoding: Encoding | None = None,
    ) -> None:
        self.shapes = shapes
        self.dtypes = dtypes
        self.scaling = scaling
        self.table = table
        self.names = names
        self.encoding = encoding
        self.vocabularies: list[list[str] | None] | None = None
        self._encode: Any = None
        self._encoder: keras.Model | None = None

    @property
    def n_features(self) -> int | None:
        """The number of columns of a table, or of values of a vector."""
        if self.table is not None:
            return len(self.table.columns)
        if self._given is not None:
            return self._given.n_features
        return self.shapes[0] if is_shape(self.shapes) and len(self.shapes) == 1 else None

    @classmethod
    def learn(
        cls,
        x: Any,
        *,
        normalize: str | None,
        weight: np.ndarray | None = None,
        as_0_1: bool = False,
    ) -> Inputs:
        """Learn the structure and statistics of the training rows.

        Args:
            x: A DataFrame or a tree of arrays.
            normalize: None, "standard" or "minmax".
            weight: Row weights (n,) for the statistics, or None.
            as_0_1: Whether to learn a table as version 0.1 did.
        """
        if hasattr(x, "iloc"):
            table = Table.learn(x, normalize=normalize, weight=weight, as_0_1=as_0_1)
            names = table.names if all(isinstance(n, str) for n in table.names) else None
            # A frame of only float64 columns is treated like a float64 array.
            dtype = "float64" if (x.dtypes == np.float64).all() else "float32"
            inputs = cls(shapes=(), dtypes=dtype, scaling={}, table=table, names=names)
            inputs.shapes = (table.width,)
            return inputs
        several = not hasattr(x, "shape")
        return cls(
            shapes=map_tree(lambda a: tuple(int(d) for d in a.shape[1:]), x),
            dtypes=map_tree(lambda a: a.dtype.name, x),
            scaling={
                name: _statistics([(a, weight)], a.shape[1:], a.dtype, normalize)
                for name, a in arrays.leaves(x)
                if normalize is not None and _is_scaled(a.dtype, several)
            },
        )

    @classmethod
    def learn_stream(cls, batches: Iterable[Any], spec: Any, *, normalize: str | None) -> Inputs:
        """Learn the structure of a stream from its spec, and statistics from passes over it.

        Args:
            batches: Yields trees of arrays [rows, ...] and the row weights or None; iterated
                once per normalised input.
            spec: A tree of objects with `shape` (with the batch dimension) and `dtype`.
            normalize: None, "standard" or "minmax".
        """
        several = not hasattr(spec, "shape")
        dtypes = map_tree(lambda s: np.dtype(s.dtype.as_numpy_dtype), spec)
        scaling = {}
        for name, leaf in arrays.leaves(spec):
            dtype = np.dtype(leaf.dtype.as_numpy_dtype)
            if normalize is not None and _is_scaled(dtype, several):
                parts = (
                    (
                        np.asarray(dict(arrays.leaves(x))[name]),
                        w if getattr(w, "ndim", 0) == 1 else None,
                    )
                    for x, w in batches
                )
                scaling[name] = _statistics(parts, tuple(leaf.shape)[1:], dtype, normalize)
        return cls(
            shapes=map_tree(lambda s: tuple(s.shape)[1:], spec),
            dtypes=map_tree(lambda d: d.name, dtypes),
            scaling=scaling,
        )

    def encoded_by(self, encoding: Encoding) -> Inputs:
        """Return Inputs that an architecture's encoding encodes."""
        made = Inputs(
            shapes=(),
            dtypes="float32",
            scaling={},
            table=self.table,
            names=self.names,
            encoding=encoding,
        )
        outputs = made.encoder.output
        made.shapes = map_tree(lambda o: tuple(o.shape)[1:], outputs)
        made.dtypes = map_tree(lambda o: str(o.dtype), outputs)
        return made

    def prepare(
        self,
        x: Any,
        owner: str,
        name: str = "x",
        *,
        quiet: bool = False,
        training: bool = False,
        ignore_extra: bool = False,
    ) -> Tree:
        """Check x against the training data, and convert it to the arrays that the network takes.

        Args:
            x: The user's data: a table or rows as dicts if training had a table, or arrays.
            owner: The class name of the estimator, for errors.
            name: The name of the argument, for errors.
            quiet: Whether not to warn of dates that do not parse: for the training rows, of which
                `learn` has warned.
            training: Whether these are the rows that the encoding has learnt, to be trained on.
            ignore_extra: Whether to ignore columns that training did not have.

        Returns:
            A tree of arrays; for a DataFrame the encoded matrix, [n, width] of dtype `dtypes`.

        Raises:
            TypeError, ValueError: The type, structure, shape or columns differ from training.
        """
        if self.table is not None:
            encoded = self._encoded(self._raw(self.table, x, owner, name, quiet, ignore_extra))
            if training and self.encoding is not None:
                return self.encoding.training_rows(encoded)
            return encoded
        if records.is_row(x[0] if isinstance(x, list) and x else x):
            raise TypeError(
                f"{name} has rows as dicts: {owner} was trained on arrays, not on a DataFrame, "
                "whose columns have names; pass arrays as in training"
            )
        if self.encoding is not None:
            encoded = self._encoded(self.encoding.raw(x, owner, name))
            return self.encoding.training_rows(encoded) if training else encoded
        dtypes = arrays.leaves(self.dtypes, name)
        tree = arrays.to_arrays(x, name, texts=[n for n, dtype in dtypes if dtype == "object"])
        self._check_shapes(tree, owner, name)
        arrays.length(tree, name)
        return tree

    def _raw(
        self, table: Table, x: Any, owner: str, name: str, quiet: bool, ignore_extra: bool
    ) -> dict[str, np.ndarray]:
        """Return the inputs of a table's encoder."""
        rows = records.of(x, name)
        if rows is not None:
            texts = self.reads_text
            return records.inputs(table, rows, name, ignore_extra=ignore_extra, texts=texts)
        x = as_frame(x, name)
        if not hasattr(x, "iloc") or getattr(x, "ndim", 0) != 2:
            instead = f"pass a DataFrame with the columns {table.names!r}, or rows as dicts"
            if isinstance(x, Mapping):
                instead = f"write pd.DataFrame({name}), or pass a list with a dict for each row"
            raise TypeError(
                f"{name} is a {type(x).__name__}: {owner} was trained on a DataFrame; {instead}"
            )
        arrays.check_not_empty(x.shape, name)
        raw = table.inputs(x, name, quiet=quiet, ignore_extra=ignore_extra)
        return raw | table.texts(x, name, ignore_extra=True) if self.reads_text else raw

    def as_table(self, x: Any, name: str = "x") -> Any:
        """Return rows given as dicts as a DataFrame, if training had one; else x unchanged.

        Raises:
            ValueError: The rows do not fit the training table.
        """
        rows = None if self.table is None else records.of(x, name)
        if rows is None or self.table is None:
            return x
        return records.frame(self.table, rows, name, texts=self.reads_text)

    @property
    def _given(self) -> Inputs | None:
        return getattr(self.encoding, "given", None)

    @property
    def reads_text(self) -> bool:
        """Whether the architecture reads the columns of text, which are left out otherwise."""
        return getattr(self.encoding, "reads_text", False)

    @property
    def row_rank(self) -> int | None:
        """The number of axes of a row of x as it is given; None if x has several parts."""
        shapes = self.shapes if self._given is None else self._given.shapes
        return len(shapes) if is_shape(shapes) else None

    def encode_stream(self, stream: Stream) -> Stream:
        """Return a stream with x as the network takes it."""
        if self.encoding is None:
            return stream
        encoder = self.encoder

        def encode(x: Any, *rest: Any) -> tuple[Any, ...]:
            return (encoder(x), *rest)

        return stream.map(encode)

    def check_stream(self, spec: Any, owner: str, name: str = "x") -> None:
        """Check the spec of a stream's x against the training data.

        Args:
            spec: A tree of objects with `shape` (with the batch dimension) and `dtype`.
            owner: The class name of the estimator, for errors.
            name: The name of the argument, for errors.

        Raises:
            TypeError, ValueError: The type, structure or shape differs from training.
        """
        if self.table is not None:
            raise TypeError(
                f"{name} is a stream: {owner} was trained on a DataFrame; pass a DataFrame with "
                f"the columns {self.table.names!r}"
            )
        if self._given is not None:
            self._given.check_stream(spec, owner, name)
            return
        self._check_kinds(spec, owner, name)
        known = {n: leaf for n, leaf in arrays.leaves(spec, name) if leaf.shape.rank is not None}
        if len(known) == len(list(arrays.leaves(spec, name))):
            shapes = arrays.map_named(lambda _, leaf: _Shape(tuple(leaf.shape)), spec, name)
            self._check_shapes(shapes, owner, name)

    def _check_kinds(self, spec: Any, owner: str, name: str) -> None:
        text = {n: dtype == "object" for n, dtype in arrays.leaves(self.dtypes, name)}
        for key, leaf in arrays.leaves(spec, name):
            if key in text and text[key] != (leaf.dtype.name == "string"):
                trained, found = ("text", "numbers") if text[key] else ("numbers", "text")
                raise ValueError(
                    f"{key} is {found} ({leaf.dtype.name}), but {owner} was trained on {trained}"
                )

    def _check_shapes(self, tree: Tree, owner: str, name: str) -> None:
        expected = dict(arrays.leaves(map_shapes(_Shape, self.shapes), name))
        found = dict(arrays.leaves(tree, name))
        if set(expected) != set(found):
            raise ValueError(
                f"{name} has the inputs {list(found)}, but {owner} was trained on {list(expected)}"
            )
        for key, array in found.items():
            shape = expected[key].shape
            row = tuple(array.shape[1:])
            if len(array.shape) == 1 and len(shape) == 1:
                raise ValueError(
                    f"Expected 2D array, got 1D array instead: {key} has shape {array.shape} and "
                    f"must have shape (n, {shape[0]}). Reshape your data: {key}[:, None] if it has "
                    f"one feature, {key}[None] if it is one row"
                )
            fits = len(row) == len(shape) and all(
                s is None or a is None or s == a for s, a in zip(shape, row, strict=True)
            )
            if not fits and len(shape) == len(row) == 1:
                raise ValueError(
                    f"X has {row[0]} features, but {owner} is expecting {shape[0]} "
                    f"features as input: {key} must have shape (n, {shape[0]}), as in training"
                )
            if not fits:
                raise ValueError(
                    f"{key} has rows of shape {row}, but {owner} was trained on rows "
                    f"of shape {shape}; reshape {key} to (n, {', '.join(map(str, shape))})"
                )

    @property
    def encoder(self) -> keras.Model:
        """The Keras model that encodes a table, or what an encoding encodes; built once."""
        if self._encoder is None:
            if self.encoding is not None:
                self._encoder = self.encoding.encoder(self.table)
            elif self.table is not None:
                self._encoder = self.table.encoder(self.dtypes)
            else:
                raise AttributeError("arrays have no encoder")
        return self._encoder

    def check_text(self, reader: str, *, ready_made: bool) -> None:
        """Check that a network that is not an architecture for text can handle the text in x.

        A custom build_model receives text in arrays as it is. Columns of text are left out,
        with a warning.

        Args:
            reader: What the network is, for errors.
            ready_made: Whether it is a ready-made architecture.

        Raises:
            ValueError: It cannot: there is nothing else, or it would take text for numbers.
        """
        if self.table is None:
            found = [n for n, dtype in arrays.leaves(self.dtypes) if dtype == "object"]
            if found and ready_made:
                raise ValueError(
                    f"{reader} does not read text, and {found[0]} is text; write model='text' "
                    "(the default), 'text_rnn' or 'transformer'"
                )
            return
        texts = [c["name"] for c in self.table.columns if c["kind"] == "text"]
        if texts and not self.table.features():
            raise ValueError(
                f"{reader} does not read columns of text, and x has no others ({texts!r}); write "
                "model='text' (the default), or pass the column alone, x[name], to a build_model "
                "with a TextVectorization layer"
            )
        if texts:
            warn(
                f"{reader} does not read columns of text: {texts!r} are left out of x; write "
                "model='text' (the default), or drop them",
            )

    def _encoded(self, columns: Tree, piece: int = 16_384) -> Tree:
        encode = getattr(self.encoding, "encode", None)
        if encode is not None:
            return encode(self.table, columns)
        n = arrays.length(columns, "x")
        if self.table is not None and self.encoding is None and n <= FEW:
            return self.table.encoded(columns, self.dtypes)

        import tensorflow as tf

        if self._encode is None:
            self._encode = tf.function(self.encoder, reduce_retracing=True)
        if isinstance(self.encoder.input, dict) and self.table is not None:
            columns = {key: columns[key] for key in self.encoder.input}  # those that it reads
        parts = []
        for start in range(0, n, piece):
            rows = slice(start, start + piece)
            found = self._encode(map_tree(lambda a, r=rows: tf.constant(a[r]), columns))
            parts.append(map_tree(np.asarray, found))
        return parts[0] if len(parts) == 1 else map_tree(lambda *p: np.concatenate(p), *parts)

    def transform(self, dtype: str) -> Scaler | None:
        """Return the normalisation of a batch, or None if there is none.

        Args:
            dtype: The float type to compute in, "float32" or "float64".
        """
        return Scaler(self.scaling, dtype) if self.scaling else None

    def whole_model(self, network: keras.Model, dtype: str) -> keras.Model:
        """Return the encoder or normalisation followed by the network, as one Keras model."""
        import keras

        if self.table is not None or self.encoding is not None:
            if isinstance(self.encoder.input, dict) and network.name in self.encoder.input:
                raise ValueError(
                    f"build_model: the model is called {network.name!r}, like a column of x; "
                    f"give it another name, such as name='{network.name}_network'"
                )
            outputs = network(self.encoder.output)
            on = "on_table" if self.table is not None else "encoded"
            return keras.Model(self.encoder.input, outputs, name=f"{network.name}_{on}")
        if not self.scaling:
            return network
        inputs, normalized = self.symbolic(dtype)
        return keras.Model(inputs, network(normalized), name=f"{network.name}_normalized")

    def symbolic(self, dtype: str) -> tuple[Tree, Tree]:
        """Return Keras inputs for arrays of x, and the same normalised.

        Args:
            dtype: The float type to compute in, "float32" or "float64".
        """
        import keras

        dtypes = dict(arrays.leaves(self.dtypes))
        # Keras requires the inputs in a dict to be named like its keys.
        keys = self.shapes if isinstance(self.shapes, dict) else ()
        called = {f"x[{k!r}]": k for k in keys if isinstance(k, str) and "/" not in k}

        def symbolic(name: str, leaf: _Shape) -> Any:
            kind = np.dtype(dtypes[name])
            taken = dtype if name in self.scaling or kind.kind not in "iuO" else kind.name
            return keras.Input(
                leaf.shape, dtype="string" if kind.kind == "O" else taken, name=called.get(name)
            )

        def normalize(name: str, x: Any) -> Any:
            if name not in self.scaling:
                return x
            offset, scale = self.scaling[name]
            return keras.layers.Normalization(
                axis=-1 if np.ndim(offset) else None,
                mean=offset,
                variance=np.square(scale).tolist(),
                dtype=dtype,
            )(x)

        inputs = arrays.map_named(symbolic, map_shapes(_Shape, self.shapes))
        return inputs, arrays.map_named(normalize, inputs)

    def to_dict(self) -> dict[str, Any]:
        """Return a representation for JSON."""
        found = {
            "shapes": _encode_tree(self.shapes, is_shape),
            "dtypes": _encode_tree(self.dtypes, lambda v: isinstance(v, str)),
            "scaling": self.scaling,
            "table": None if self.table is None else self.table.to_dict(),
            "names": self.names,
        }
        return found if self.vocabularies is None else {**found, "vocabularies": self.vocabularies}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], encoding: Encoding | None = None) -> Inputs:
        """Restore Inputs from `to_dict`.

        Args:
            state: What to_dict returned.
            encoding: What encodes x in place of the default, or None.

        Raises:
            forms.Malformed: The state is invalid; the message names the entry.
        """
        forms.mapping("inputs", state, ("shapes", "dtypes", "scaling", "table", "names"))
        shapes = _decode_tree(state["shapes"], _checked_shape, "inputs: shapes")
        dtypes = _decode_tree(state["dtypes"], _checked_dtype, "inputs: dtypes")
        rows = dict(arrays.leaves(map_shapes(_Shape, shapes)))
        if set(rows) != set(dict(arrays.leaves(dtypes))):
            raise forms.wrong("inputs: dtypes", state["dtypes"], "of the same structure as shapes")
        scaling = forms.mapping("inputs: scaling", state["scaling"])
        for name, parts in scaling.items():
            if name not in rows:
                raise forms.wrong("inputs: scaling", name, f"one of the inputs {list(rows)}")
            _check_scaling(f"inputs: scaling: {name}", parts, rows[name].shape)
        table = None
        names = state["names"]
        if state["table"] is not None:
            table = Table.from_dict(state["table"])
            fits = shapes == (table.width,) and dtypes in ("float32", "float64") and not scaling
            if encoding is None and not fits:
                raise forms.wrong(
                    "inputs: shapes", state["shapes"], f"one vector of {table.width} numbers"
                )
            numbers_only = all(f["kind"] == "number" for f in table.features())
            if encoding is None and dtypes == "float64" and not numbers_only:
                raise forms.wrong("inputs: dtypes", dtypes, "'float32' with categories")
        if names is not None:
            known = [] if table is None else table.names
            if forms.items("inputs: names", names) != known or not all(
                isinstance(name, str) for name in names
            ):
                raise forms.wrong("inputs: names", names, "the names of the table's columns")
        made = cls(shapes=shapes, dtypes=dtypes, scaling=scaling, table=table, names=names)
        made.vocabularies = _checked_vocabularies(state.get("vocabularies"))
        if encoding is None:
            return made
        made = made.encoded_by(encoding)
        if (made.shapes, made.dtypes) != (shapes, dtypes) or scaling:
            raise forms.wrong("inputs: shapes", state["shapes"], f"{made.shapes}")
        return made


class Scaler:
    """The normalisation of a batch in a graph, equal to keras.layers.Normalization.

    Offsets and scales are variables, so that folds with different means can share a graph.

    Attributes:
        names: The inputs to normalise.
        variables: The offset and the scale of each, in that order.
    """

    def __init__(self, scaling: Mapping[str, Any], dtype: str) -> None:
        import keras

        self.names = list(scaling)
        self.variables = []
        for offset, scale in scaling.values():
            # Take the root of the variance, as the layer in the saved model does, so that the
            # results are bitwise equal.
            deviation = np.sqrt(np.square(scale).astype(dtype))
            for values in (offset, np.maximum(deviation, keras.config.epsilon())):
                self.variables.append(
                    keras.Variable(np.asarray(values, dtype), dtype=dtype, trainable=False)
                )
        self._dtype = dtype

    def __call__(self, x: Tree) -> Tree:
        """Normalise the inputs `names` of a batch."""
        from keras import ops

        def one(name: str, a: Any) -> Any:
            if name not in self.names:
                return a
            i = 2 * self.names.index(name)
            return (ops.cast(a, self._dtype) - self.variables[i]) / self.variables[i + 1]

        return arrays.map_named(one, x)


class _Shape:
    # Wraps a shape so that tree functions treat it as a leaf.
    def __init__(self, shape: tuple[int | None, ...]) -> None:
        self.shape = shape


def _is_scaled(dtype: np.dtype[Any], several: bool) -> bool:
    # Among several inputs, integers of more than 8 bits are identifiers for an embedding.
    return dtype.kind in "fb" or (dtype.kind in "iu" and (dtype.itemsize == 1 or not several))


def _statistics(
    parts: Iterable[tuple[np.ndarray, np.ndarray | None]],
    shape: tuple[int | None, ...],
    dtype: np.dtype[Any],
    normalize: str | None,
) -> tuple[list[float] | float, list[float] | float]:
    """Return offset and scale over all parts.

    Per column for vectors and sequences, per channel for images, and single numbers for images
    without channels. Not per pixel: near the border of images the deviation is almost zero.
    """
    overall = len(shape) == 0 or (len(shape) == 2 and (dtype == np.uint8 or shape[0] == shape[1]))
    sums: Any = 0.0
    low: Any = np.inf
    high: Any = -np.inf
    total = 0.0
    first: Any = None
    for array, weight in parts:
        step = _ROWS_PER_STATISTIC
        if isinstance(array, SparseRows):  # may have many columns
            step = max(1, min(step, _SPARSE_PER_STATISTIC // array.shape[1]))
        for start in range(0, len(array), step):
            piece = np.asarray(array[start : start + step], dtype=np.float64)
            rows = piece.reshape(-1, 1) if overall else piece.reshape(-1, piece.shape[-1])
            repeats = len(rows) // len(piece)
            w = np.ones(len(piece)) if weight is None else weight[start : start + len(piece)]
            w = np.repeat(w, repeats)
            if first is None:
                first = rows[w > 0][:1].copy() if (w > 0).any() else rows[:1].copy()
            shifted = rows - first  # avoids cancellation if the mean is large
            sums = sums + np.stack([w @ shifted, w @ shifted**2])
            total += float(w.sum())
            low, high = np.minimum(low, rows.min(axis=0)), np.maximum(high, rows.max(axis=0))
    if normalize == "minmax":
        offset, scale = affine(np.stack([low, high]), "minmax")
    else:
        mean = sums[0] / total
        deviation = np.sqrt(np.maximum(sums[1] / total - mean**2, 0.0))
        offset = mean + first[0]
        constant = deviation <= 1e-12 * np.maximum(1.0, np.abs(offset))
        scale = np.where(constant, 1.0, deviation)
    return (float(offset[0]), float(scale[0])) if overall else (offset.tolist(), scale.tolist())


def _encode_tree(tree: Tree, is_leaf: Callable[[Any], bool]) -> Any:
    # JSON has no tuples: a structure is written as {"dict": ...} or {"tuple": ...}
    if is_leaf(tree):
        return {"leaf": tree}
    if isinstance(tree, Mapping):
        return {"dict": [[k, _encode_tree(v, is_leaf)] for k, v in tree.items()]}
    return {"tuple": [_encode_tree(v, is_leaf) for v in tree]}


def _decode_tree(state: Any, leaf: Callable[[str, Any], Any], entry: str) -> Any:
    forms.mapping(entry, state)
    kind = next(iter(state), None)
    if len(state) != 1 or kind not in ("leaf", "dict", "tuple"):
        raise forms.wrong(entry, state, "a dict with one of the keys 'leaf', 'dict' and 'tuple'")
    if kind == "leaf":
        return leaf(entry, state["leaf"])
    parts = forms.items(entry, state[kind])
    if not parts:
        raise forms.wrong(entry, state, "at least one input")
    if kind == "tuple":
        return tuple(_decode_tree(v, leaf, entry) for v in parts)
    found = {}
    for pair in parts:
        key, value = forms.items(entry, pair, 2)
        if not isinstance(key, (str, int, float)) or key in found:
            raise forms.wrong(entry, key, "the unique name of an input")
        found[key] = _decode_tree(value, leaf, entry)
    return found


def _checked_shape(entry: str, value: Any) -> tuple[int | None, ...]:
    shape = tuple(
        None if d is None else forms.whole(entry, d, 0, _MAX_ELEMENTS)
        for d in forms.items(entry, value)
    )
    if math.prod(d or 1 for d in shape) > _MAX_ELEMENTS:
        raise forms.wrong(entry, value, f"of at most {_MAX_ELEMENTS:,} numbers per row")
    if len(shape) > _MAX_RANK:
        raise forms.wrong(entry, value, f"of at most {_MAX_RANK} dimensions")
    return shape


def _checked_dtype(entry: str, value: Any) -> str:
    return forms.text(entry, value, _DTYPES)


def _checked_vocabularies(value: Any) -> list[list[str] | None] | None:
    if value is None:
        return None
    entry = "inputs: vocabularies"
    for words in forms.items(entry, value):
        for word in () if words is None else forms.items(entry, words):
            forms.text(entry, word)
    return list(value)


def _check_scaling(entry: str, parts: Any, shape: tuple[int | None, ...]) -> None:
    for part, above in zip(forms.items(entry, parts, 2), (-math.inf, 0.0), strict=True):
        if isinstance(part, list):
            if not shape or shape[-1] not in (None, len(part)) or not part:
                raise forms.wrong(entry, part, f"as long as rows of shape {shape}")
            for value in part:
                forms.number(entry, value, above=above)
        else:
            forms.number(entry, part, above=above)
