"""The architecture `tabular`: the default for DataFrames.

After RealMLP (Holzmueller, Grinsztajn and Steinwart 2024): robust scaling with smooth clipping,
periodic embeddings of numbers, a scaling layer, dense layers in the parametrisation of the neural
tangent kernel, a learning rate that rises and falls four times, label smoothing, and the best epoch
by held-out rows. Not for the encoding of columns (`table_encoding`) or the layers
(`tabular_layers`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.data.arrays import is_shape
from trainer.data.inputs import Inputs
from trainer.data.preparation import Rows
from trainer.data.streams import Stream
from trainer.data.targets import Classes, Numbers, Targets
from trainer.hyperparameters import Choice, Domain, Float, Int
from trainer.models import stacks
from trainer.models.architecture import Architecture, Chosen, Look, Values
from trainer.models.options import Kind, from_0, optional, whole
from trainer.models.spec import ModelSpec
from trainer.models.table_encoding import MOST_TARGETS, TableEncoding
from trainer.utils.checks import finite, fraction, integer

if TYPE_CHECKING:
    import keras
    import pandas as pd

RATES = {"classification": 0.04, "regression": 0.1}
SMOOTHING = 0.1
MANY_ROWS = 10_000
BATCHES = ((1_000, 32), (4_000, 64), (10_000, 128))  # the most rows, and the rows of a batch


def tabular(
    spec: ModelSpec,
    *,
    width: int = 256,
    depth: int = 3,
    dropout: float | None = None,
    frequencies: int = 16,
    deviation: float | None = None,
) -> keras.Model:
    """Build the network for a table, or for vectors, whose values it takes for numbers.

    Args:
        spec: Inputs of one shape (d,), one output.
        width: The units of each hidden layer.
        depth: The number of hidden layers.
        dropout: The dropout rate after each. None: 0.15, and 0.05 for numbers from 10,000 rows.
        frequencies: The frequencies of each number's periodic embedding; 0 for none.
        deviation: Their initial standard deviation. None: 0.1 up to 1,000 rows, for smooth
            functions, rising to 0.5 below 10,000, and 1 from there.

    Raises:
        ValueError: There are several inputs or outputs, or x has no vectors.
    """
    from keras import layers

    from trainer.models.tabular_layers import (
        ColumnScale,
        Ids,
        NumberEmbedding,
        TangentDense,
        Within,
    )

    shape = spec.input_shape
    if not is_shape(shape) or len(shape) != 1 or isinstance(spec.n_outputs, (dict, tuple)):
        raise ValueError(
            f"model='tabular': takes a DataFrame or vectors and one output, but x has rows of "
            f"shape {shape} and y the widths {spec.n_outputs}; write model='mlp'"
        )
    integer("width", width, low=1, example=256)
    integer("depth", depth, low=1, example=3)
    integer("frequencies", frequencies, low=0, example=16)
    learned = None if spec.chosen is None else spec.chosen.learned
    if deviation is None:
        deviation = 1.0 if learned is None else _deviation(learned.rows)
    if dropout is None:
        many = learned is not None and learned.rows >= MANY_ROWS
        dropout = 0.05 if many and spec.task == "regression" else 0.15
    fraction("dropout", dropout)
    finite("deviation", deviation, low=0, example=1.0)
    n_numbers = shape[0] if learned is None else learned.n_numbers
    levels = [] if learned is None else learned.levels
    inputs = layers.Input(shape)
    parts = []
    if n_numbers:
        x = inputs[:, :n_numbers]
        embedded = NumberEmbedding(frequencies, deviation)(x) if frequencies else x
        parts.append(embedded)
    if shape[0] - len(levels) > n_numbers:
        parts.append(inputs[:, n_numbers : shape[0] - len(levels)])
    if levels:
        parts.append(Ids(levels)(inputs[:, shape[0] - len(levels) :]))
    x = parts[0] if len(parts) == 1 else layers.Concatenate()(parts)
    x = ColumnScale()(x)
    for _ in range(depth):
        x = TangentDense(width)(x)
        x = layers.Activation("relu")(x)
        if dropout:
            x = layers.Dropout(dropout)(x)
    x = TangentDense(spec.n_outputs, zero=True, dtype=_wide(x))(x)
    if spec.task == "regression" and learned is not None and learned.low:
        x = Within(learned.low, learned.high, dtype=_wide(x))(x)
    outputs = layers.Activation(spec.output_activation, dtype=_wide(x), name="output")(x)
    return stacks.keras_model(inputs, outputs)


def _deviation(rows: int) -> float:
    if rows >= MANY_ROWS:
        return 1.0
    return float(0.1 * 5 ** max(math.log10(max(rows, 1) / 1000), 0.0))


def _wide(x: Any) -> str:
    """Return the dtype of outputs: float32 also in mixed precision."""
    return "float64" if x.dtype == "float64" else "float32"


def _is_an_array(frame: pd.DataFrame) -> bool:
    import pandas as pd

    unnamed = isinstance(frame.columns, pd.RangeIndex)
    return unnamed and all(isinstance(d, np.dtype) and d.kind in "fiub" for d in frame.dtypes)


class Tabular(Architecture):
    """The architecture for DataFrames."""

    kinds: Mapping[str, Kind] = MappingProxyType(
        {
            "width": whole(1, 256),
            "depth": whole(1, 3),
            "dropout": optional(fraction),
            "frequencies": whole(0, 16),
            "deviation": optional(from_0),
        }
    )

    def __init__(self) -> None:
        super().__init__("tabular", tabular)

    def suits(self, look: Look) -> bool:
        """Return whether x is a DataFrame, and y one output of classes or numbers.

        A DataFrame of numbers whose columns have no names is an array in another form, and gets
        the network that the array would get; scikit-learn's checks want that.
        """
        return (
            look.is_frame
            and not _is_an_array(look.x)
            and look.one_output
            and look.normalize is None
            and look.task in ("classification", "regression")
        )

    def values(self, look: Look) -> Values:
        """Return its values: smaller batches, and a larger share held out, for fewer rows."""
        rate = RATES.get(look.task, RATES["regression"])

        def optimizer() -> keras.optimizers.Optimizer:
            import keras

            made = keras.optimizers.AdamW(rate, beta_2=0.95, weight_decay=0.02)
            made.exclude_from_weight_decay(var_names=["bias", "frequency", "embedding_table"])
            return made

        rows = look.rows or 0
        return Values(
            epochs=32,
            batch_size=next((size for most, size in BATCHES if 0 < rows <= most), 256),
            validation_split=0.1 if rows > MANY_ROWS else 0.2 if rows >= 50 else 0.0,
            optimizer=optimizer,
            schedule={"name": "learning_rate", "shape": "cosines"},
            early_stopping={"patience": 10_000},
        )

    def domains(self) -> dict[str, Domain]:
        """Return the domains of the learning rate and of its options."""
        return {
            "learning_rate": Float(0.01, 0.3, log=True),
            "model__width": Choice(128, 256, 512),
            "model__depth": Int(1, 4),
            "model__dropout": Float(0.0, 0.4),
            "model__deviation": Float(0.05, 2.0, log=True),
        }

    def learn(
        self, data: Rows | Stream, inputs: Inputs, targets: Targets, *, options: Any, seed: int
    ) -> TableEncoding | None:
        """Learn the encoding of a table; vectors have none."""
        if inputs.table is None or isinstance(data, Stream):
            return None
        columns = dict(enumerate(inputs.table.values(data.x)))
        values, classes = _numbers(targets, data)
        return TableEncoding.learn(columns, values, data.row_weight, classes=classes, seed=seed)

    def restore(self, form: Mapping[str, Any]) -> TableEncoding:
        """Restore the encoding."""
        return TableEncoding.from_dict(form)

    def default_loss(self, spec: ModelSpec, targets: Targets) -> Any:
        """Return the crossentropy with smoothed labels for classes."""
        if spec.task != "classification" or _one_hot(targets):
            return None
        from trainer.models.tabular_layers import SmoothedCrossentropy

        return SmoothedCrossentropy(SMOOTHING)

    def describe(self, chosen: Chosen) -> str:
        """Return how many columns are encoded in which way."""
        if chosen.learned is None:
            return ""
        plan = chosen.learned.plan
        kinds = [c["kind"] for c in plan["texts"]]
        said = {
            "numbers": sum(c["varies"] for c in plan["numbers"]),
            "pairs": kinds.count("pair"),
            "one-hot": kinds.count("one_hot"),
            "embedded": kinds.count("embedding"),
            "by mean of y": kinds.count("target") + len(plan["whole"]),
        }
        return ", ".join(f"{n} {what}" for what, n in said.items() if n)


def _one_hot(targets: Targets) -> bool:
    return not isinstance(targets, Classes) or bool(getattr(targets.labels, "one_hot", True))


def _numbers(targets: Targets, data: Rows) -> tuple[np.ndarray | None, bool]:
    """Return the targets as columns of numbers of order 1, and whether they are classes."""
    encoded: Any = targets.encode(data.y, "y")
    if isinstance(targets, Numbers):
        if targets.scale is None or not hasattr(encoded, "shape") or encoded.ndim > 2:
            return None, False
        mean, deviation = (np.asarray(part) for part in targets.scale)
        columns = np.asarray(encoded, np.float64).reshape(len(encoded), -1)
        if columns.shape[1] > MOST_TARGETS:
            return None, False
        return (columns - mean) / deviation, False
    n = targets.n_outputs
    if not hasattr(encoded, "shape") or not isinstance(n, int) or n > MOST_TARGETS:
        return None, True
    if encoded.ndim == 2:
        return np.asarray(encoded, np.float64), True
    rows = np.eye(n)[encoded]
    return (rows[:, 1:] if n == 2 else rows), True
