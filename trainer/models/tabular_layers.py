"""The layers and the loss of `tabular`. Imports Keras: import it only where a model is built.

After RealMLP (Holzmueller, Grinsztajn and Steinwart 2024, Better by default: strong pre-tuned MLPs
and boosted trees on tabular data). Its learning rates per parameter are built into the layers: Adam
moves each weight by about the rate, so a layer that uses 0.1 b has a bias with a tenth of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from keras import ops

BIAS_RATE = 0.1  # of the learning rate, as the paper's
SCALE_RATE = 6.0
FREQUENCY_RATE = 0.1


@keras.saving.register_keras_serializable("trainer")
class TableMatrix(keras.layers.Layer):  # type: ignore[misc, unused-ignore]
    """Encodes the raw columns of a table as one matrix: numbers, then plain values, then ids.

    All columns are handled by a few operations on the whole table, so that a single row is fast.

    Args:
        plan: What `table_encoding` has learnt of the columns.
    """

    def __init__(self, plan: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", "autocast": False, **kwargs})
        self.plan = dict(plan)
        self._tables: list[Any] = []

    def build(self, input_shape: Any) -> None:
        """Make the table of the categories of each column.

        One for each column, and not one for all with the number of the column before each key:
        ONNX has lookups of text, but cannot join text.
        """
        with tf.init_scope():
            self._tables = [
                tf.lookup.StaticHashTable(
                    tf.lookup.KeyValueTensorInitializer(
                        tf.constant(column["levels"]),
                        tf.range(len(column["levels"]), dtype=tf.int64),
                    ),
                    len(column["levels"]),
                )
                for column in self.plan["texts"]
            ]
        self.built = True

    def call(self, columns: Mapping[str, Any]) -> Any:
        """Return the matrix, float32 [n, width].

        Args:
            columns: Columns by their places in Table.features, [n, 1] each: float64 with NaN, or
                text.
        """
        plan = self.plan
        numbers: list[Any] = []
        plain: list[Any] = []
        ids: list[Any] = []
        if plan["numbers"]:
            raw = ops.concatenate([columns[str(c["feature"])] for c in plan["numbers"]], axis=1)
            missing = ops.isnan(raw)
            center = tf.constant([c["center"] for c in plan["numbers"]], tf.float64)
            scale = tf.constant([c["scale"] for c in plan["numbers"]], tf.float64)
            z = tf.where(missing, tf.zeros_like(raw), (raw - center) * scale)
            z = z / tf.sqrt(1 + tf.square(z / 3))  # smooth clipping to (-3, 3)
            z = tf.cast(z, tf.float32)
            varying = [i for i, c in enumerate(plan["numbers"]) if c["varies"]]
            numbers.append(_columns(z, varying))
            flagged = [i for i, c in enumerate(plan["numbers"]) if c["indicator"]]
            if flagged:
                plain.append(tf.cast(_columns(missing, flagged), tf.float32))
        for column in plan["whole"]:
            known = tf.constant(column["levels"], tf.float64)
            given = columns[str(column["feature"])][:, 0]
            place = tf.searchsorted(known, given)
            there = tf.gather(known, tf.minimum(place, len(column["levels"]) - 1)) == given
            place = tf.where(there, place, len(column["levels"]))
            numbers.append(tf.gather(tf.transpose(tf.constant(column["values"])), place))
        if plan["texts"]:
            local = self._local_ids(columns)
            for kind, found in (("target", numbers), ("pair", plain), ("embedding", ids)):
                values = self._values(local, kind)
                if values is not None:
                    found.append(values)
            hot = [
                (i, level)
                for i, column in enumerate(plan["texts"])
                if column["kind"] == "one_hot"
                for level in range(len(column["levels"]))
            ]
            if hot:
                levels = tf.constant([level for _, level in hot], tf.int64)
                plain.append(tf.cast(_columns(local, [i for i, _ in hot]) == levels, tf.float32))
        return tf.concat([*numbers, *plain, *ids], axis=1)

    def _local_ids(self, columns: Mapping[str, Any]) -> Any:
        """Return the level of each text in its column, int64 [n, columns]; the last is unseen."""
        pairs = zip(self._tables, self.plan["texts"], strict=True)
        found = [table.lookup(columns[str(column["feature"])]) for table, column in pairs]
        return tf.concat(found, axis=1)

    def _values(self, local: Any, kind: str) -> Any:
        """Return the values of the columns of a kind, float32 [n, values], or None."""
        flat: list[float] = []
        bases, places = [], []
        for i, column in enumerate(self.plan["texts"]):
            for values in column["values"] if column["kind"] == kind else ():
                bases.append(len(flat))
                places.append(i)
                flat += values
        if not places:
            return None
        index = _columns(local, places) + tf.constant(bases, tf.int64)
        return tf.gather(tf.constant(flat, tf.float32), index)

    def compute_output_spec(self, columns: Mapping[str, Any]) -> Any:
        """Return the form of the matrix."""
        width = sum(c["varies"] + c["indicator"] for c in self.plan["numbers"])
        width += sum(len(column["values"]) for column in self.plan["whole"])
        for column in self.plan["texts"]:
            hot = column["kind"] == "one_hot"
            width += len(column["levels"]) if hot else len(column["values"])
        return keras.KerasTensor((None, width), "float32")

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "plan": self.plan}


def _columns(matrix: Any, places: list[int]) -> Any:
    return matrix if places == list(range(matrix.shape[1])) else tf.gather(matrix, places, axis=1)


@keras.saving.register_keras_serializable("trainer")
class NumberEmbedding(keras.layers.Layer):  # type: ignore[misc, unused-ignore]
    """Periodic embedding of each number, beside the number itself (PBLD in the paper).

    cos(2 pi f x + b) of several learnt frequencies f, then a linear map for each column.

    Args:
        frequencies: How many for each number.
        deviation: The standard deviation of the initial frequencies.
        width: The values for each number, beside itself.
    """

    def __init__(
        self, frequencies: int = 16, deviation: float = 1.0, width: int = 3, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.frequencies, self.deviation, self.width = frequencies, deviation, width

    def build(self, input_shape: Any) -> None:
        """Create the weights."""
        n, k, w = input_shape[-1], self.frequencies, self.width

        def weight(name: str, shape: Any, init: Any, **options: Any) -> Any:
            return self.add_weight(name=name, shape=shape, initializer=init, **options)

        normal, uniform = keras.initializers.RandomNormal, keras.initializers.RandomUniform
        self.start = weight("start", (n, k), normal(0.0, self.deviation), trainable=False)
        self.frequency = weight("frequency", (n, k), "zeros")
        self.phase = weight("phase_bias", (n, k), uniform(-math.pi, math.pi))
        bound = 1 / math.sqrt(k)
        self.kernel = weight("kernel", (n, k, w), uniform(-bound, bound))
        self.bias = weight("bias", (n, w), uniform(-bound, bound))
        self.built = True

    def call(self, x: Any) -> Any:
        """Return [n, columns * (1 + width)]."""
        frequency = self.start + FREQUENCY_RATE * self.frequency
        angle = 2 * math.pi * frequency * x[..., None] + self.phase
        # [n, columns, k] by [columns, k, width] is a product for each column
        waves = ops.transpose(ops.cos(angle), (1, 0, 2))
        found = ops.transpose(ops.matmul(waves, self.kernel), (1, 0, 2)) + self.bias
        joined = ops.concatenate([x[..., None], found], axis=-1)
        return ops.reshape(joined, (-1, x.shape[-1] * (1 + self.width)))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the output."""
        return (input_shape[0], input_shape[-1] * (1 + self.width))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        own = {k: getattr(self, k) for k in ("frequencies", "deviation", "width")}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("trainer")
class Ids(keras.layers.Layer):  # type: ignore[misc, unused-ignore]
    """Embeds columns of ids, each with a table of its own, in one lookup.

    Args:
        levels: The number of ids of each column.
        width: The values for each.
    """

    def __init__(self, levels: list[int], width: int = 8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.levels, self.width = list(levels), width

    def build(self, input_shape: Any) -> None:
        """Create the weights."""
        self.table = self.add_weight(
            name="embedding_table",
            shape=(sum(self.levels), self.width),
            initializer=keras.initializers.RandomNormal(0.0, 1.0),
        )
        self.built = True

    def call(self, ids: Any) -> Any:
        """Return [n, columns * width] for ids [n, columns] as floats."""
        starts = [sum(self.levels[:i]) for i in range(len(self.levels))]
        index = ops.cast(ids, "int32") + ops.cast(ops.array(starts), "int32")
        found = ops.take(self.table, index, axis=0)
        return ops.reshape(found, (-1, len(self.levels) * self.width))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the output."""
        return (input_shape[0], len(self.levels) * self.width)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "levels": self.levels, "width": self.width}


@keras.saving.register_keras_serializable("trainer")
class ColumnScale(keras.layers.Layer):  # type: ignore[misc, unused-ignore]
    """Multiplies each column by a learnt number, which chooses columns early in the training."""

    def build(self, input_shape: Any) -> None:
        """Create the weights."""
        self.scale = self.add_weight(
            name="scale_bias", shape=(input_shape[-1],), initializer="zeros"
        )
        self.built = True

    def call(self, x: Any) -> Any:
        """Return x times the scales."""
        return x * (1 + SCALE_RATE * self.scale)


@keras.saving.register_keras_serializable("trainer")
class TangentDense(keras.layers.Layer):  # type: ignore[misc, unused-ignore]
    """A dense layer in the parametrisation of the neural tangent kernel: x W / sqrt(d) + 0.1 b.

    Args:
        units: The width of the output.
        zero: Whether weights start at 0 instead of normal.
    """

    def __init__(self, units: int, zero: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.zero = units, zero

    def build(self, input_shape: Any) -> None:
        """Create the weights."""
        normal = keras.initializers.RandomNormal(0.0, 1.0)
        init: Any = "zeros" if self.zero else normal
        self._factor = 1 / math.sqrt(input_shape[-1])
        self.kernel = self.add_weight(
            name="kernel", shape=(input_shape[-1], self.units), initializer=init
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.units,), initializer="zeros" if self.zero else normal
        )
        self.built = True

    def call(self, x: Any) -> Any:
        """Return [n, units]."""
        return ops.matmul(x, self.kernel) * self._factor + BIAS_RATE * self.bias

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the output."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "units": self.units, "zero": self.zero}


@keras.saving.register_keras_serializable("trainer")
class Within(keras.layers.Layer):  # type: ignore[misc, unused-ignore]
    """Clips predictions to the range of the training targets; in training it does nothing.

    Args:
        low: The least value of each column.
        high: The largest.
    """

    def __init__(self, low: list[float], high: list[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.low, self.high = list(low), list(high)

    def call(self, x: Any, training: bool = False) -> Any:
        """Return x, clipped unless in training."""
        if training:
            return x
        low, high = (ops.cast(ops.array(v), x.dtype) for v in (self.low, self.high))
        return ops.minimum(ops.maximum(x, low), high)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the output."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "low": self.low, "high": self.high}


@keras.saving.register_keras_serializable("trainer")
class SmoothedCrossentropy(keras.losses.Loss):  # type: ignore[misc, unused-ignore]
    """Crossentropy of class indices and probabilities, with smoothed labels.

    The true class counts for 1 - smoothing, and all classes share the rest (Szegedy and others
    2016, Rethinking the Inception architecture).

    Args:
        smoothing: From 0 to 1.

    Attributes:
        plain: The name of the loss that a saved model gets instead, which plain Keras can load.
    """

    plain = "sparse_categorical_crossentropy"

    def __init__(self, smoothing: float, name: str = "smoothed_crossentropy", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.smoothing = float(smoothing)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each row, [n], for class indices [n] and probabilities [n, k]."""
        index = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        own = ops.sparse_categorical_crossentropy(index, y_pred)
        floor = keras.config.epsilon()
        every = -ops.mean(ops.log(ops.maximum(y_pred, floor)), axis=-1)
        return (1 - self.smoothing) * own + self.smoothing * every

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "smoothing": self.smoothing}
