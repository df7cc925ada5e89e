"""docs/data.md: every line of its table says what fit does with such data."""

from __future__ import annotations

import datetime
import decimal
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import tensorflow as tf
from keras import ops

from trainer import Classifier, Regressor
from trainer.data import streams

PAGE = Path(__file__).parent.parent / "docs" / "data.md"
TABLE = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", PAGE.read_text("utf-8"), re.M)[1:])
N = 8
X = np.linspace(-1, 1, N * 3, dtype=np.float32).reshape(N, 3)
Y = X.sum(axis=1)
STEPS = np.repeat(X[:, :, None], 2, axis=2)  # [8, 3 steps, 2]
GAPS = np.where(np.arange(N) == 2, np.nan, Y)
from_slices = tf.data.Dataset.from_tensor_slices


WORDS = ["one", "two words", "three", "four"] * (N // 4)


class Watch(keras.callbacks.Callback):
    begun = 0

    def on_train_begin(self, logs: Any = None) -> None:
        Watch.begun += 1


class Own(Regressor):
    """Dense layers: one output for each row or step, or for each part of y."""

    epochs = 1
    batch_size = 4
    metrics = ()
    callbacks = (Watch(),)
    fixed: int | None = None

    def build_model(self, spec: Any) -> keras.Model:
        x = keras.Input(spec.input_shape, batch_size=self.fixed)
        if isinstance(spec.n_outputs, dict):
            return keras.Model(x, {k: keras.layers.Dense(1, name=k)(x) for k in spec.n_outputs})
        return keras.Model(x, keras.layers.Dense(spec.n_outputs)(x))


class Masked(Own):
    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
        return masked(y, y_pred)


def masked(y: Any, y_pred: Any) -> Any:
    y = ops.reshape(y, ops.shape(y_pred))
    known = ops.isfinite(y)
    return ops.mean(ops.where(known, ops.square(ops.where(known, y, 0) - y_pred), 0))


def own(x: Any, y: Any = None, weight: Any = None, kind: type[Own] = Own, **fields: Any) -> Any:
    return kind(**fields).fit(x, y, sample_weight=weight)


def read(x: Any) -> Any:
    return Regressor(epochs=1, callbacks=(Watch(),)).fit(x, Y)


def two(weight: Any) -> Any:
    return own(X, {"a": Y, "b": Y}, weight, loss="mse")


def per_step(weight: Any, y: Any = STEPS[..., :1]) -> Any:
    return own(STEPS, y, weight, loss="mse")


def endless() -> Any:
    while True:
        yield X[0], Y[0]


def counting() -> Any:
    for _ in itertools.count():
        yield X[0], 1


def generated(function: Callable[[], Any]) -> tf.data.Dataset:
    spec = (tf.TensorSpec([3], tf.float32), tf.TensorSpec([], tf.float32))
    return tf.data.Dataset.from_generator(function, output_signature=spec)


class Sparse(keras.utils.PyDataset):  # type: ignore[misc, unused-ignore]
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        return scipy.sparse.csr_matrix(X[:4]), Y[:4]


class Fixed(Own):
    fixed = 4


sparse_tensor = tf.sparse.from_dense(X)
ragged = tf.RaggedTensor.from_row_lengths(X.ravel(), [1, 5] * 4)

DAYS = pd.date_range("2020-01-01", periods=40)
Y40 = np.arange(40.0)
ONE = {"a": [1.0, 2.0] * 20}


def column(*values: Any) -> Any:
    """A fit on a table with these columns."""
    frame = pd.DataFrame({"c" * (i + 1): pd.Series(v) for i, v in enumerate(values)})
    return own(frame, Y40, normalize="standard")


def left_out(values: Any) -> Any:
    with pytest.warns(UserWarning, match=r"x: left out \['c'\]"):
        return own(pd.DataFrame({"c": values, **ONE}), Y40)


def unread(texts: Any) -> Any:
    frame = pd.DataFrame({"c": texts, **ONE})
    Classifier(random_state=0, epochs=1).fit(frame, (Y40.mean() < Y40).astype(int))
    with pytest.warns(UserWarning, match=r"does not read columns of text: \['c'\]"):
        return own(frame, Y40)


def polars() -> Any:
    return pytest.importorskip("polars", reason="polars is not a dependency; CI installs it")


# What the lines of the table are tried with.
TRIED: dict[str, Callable[[], Any]] = {
    "`sample_weight` of shape (n,)": lambda: own(X, Y, np.ones(N)),
    "`sample_weight` with a part for each output": lambda: two({"b": np.ones(N), "a": np.ones(N)}),
    "`sample_weight` with parts for other outputs": lambda: two({"a": np.ones(N)}),
    "`sample_weight` per step, (n, steps), where the output is (n, steps, ...)": lambda: per_step(
        np.ones((N, 3))
    ),
    "`sample_weight` per step where the output is one row": lambda: own(X, X, np.ones((N, 3))),
    "`sample_weight` per step in a stream": lambda: own(
        from_slices((STEPS, STEPS[..., :1], np.ones((N, 3)))).batch(4), normalize="standard"
    ),
    "negative `sample_weight`": lambda: own(X, Y, -np.ones(N)),
    "negative `sample_weight` in a stream": lambda: own(from_slices((X, Y, -Y)).batch(8)),
    "sparse `sample_weight`": lambda: own(X, Y, scipy.sparse.csr_matrix(np.ones((1, N)))),
    "rows without a target: NaN, None, NaT or pd.NA in y": lambda: own(X, GAPS, loss="mae"),
    'rows without a target, with `missing_target="raise"`': lambda: own(
        X, GAPS, loss="mae", missing_target="raise"
    ),
    "no row with a target": lambda: own(X, GAPS * np.nan),
    "infinity in y under a loss of Keras": lambda: own(X, np.where(X[:, 0] < 0, np.inf, Y)),
    "NaN or infinity in y under a loss of your own": lambda: own(X, GAPS, loss=masked),
    "NaN in y of one of two outputs, whose loss is your own": lambda: own(
        X, {"a": GAPS, "b": Y}, loss={"a": masked, "b": "mse"}
    ),
    "NaN in y under `compute_loss`": lambda: own(X, GAPS, kind=Masked),
    "NaN in the first batch of a stream under a loss of Keras": lambda: own(
        from_slices((X, GAPS)).batch(4)
    ),
    "SciPy sparse x": lambda: own(scipy.sparse.csr_matrix(X), Y),
    "SciPy sparse x among several inputs": lambda: Regressor(epochs=1, model="deep").fit(
        {"a": scipy.sparse.csr_matrix(X), "b": X}, Y
    ),
    "SciPy sparse x with NaN or infinity": lambda: own(
        scipy.sparse.csr_matrix(np.where(X > 0, np.nan, X)), Y
    ),
    "SciPy sparse y": lambda: own(X, scipy.sparse.csr_matrix(X)),
    "`tf.SparseTensor`": lambda: own(sparse_tensor, Y),
    "`tf.RaggedTensor`": lambda: own(ragged, Y),
    "`tf.RaggedTensor` as y": lambda: own(X, ragged),
    "a stream of `tf.SparseTensor`": lambda: own(from_slices((sparse_tensor, Y)).batch(4)),
    "a stream of `tf.RaggedTensor`": lambda: own(from_slices((ragged, Y)).batch(4)),
    "a `PyDataset` of SciPy sparse matrices": lambda: own(Sparse()),
    "rows of different lengths, as lists or objects": lambda: own([[1.0], [2.0, 3.0]] * 4, Y),
    "a masked array with masked values": lambda: own(np.ma.masked_greater(X, 0), Y),
    "text x of shape (n,)": lambda: read(WORDS),
    "missing values in text x": lambda: read([None, *WORDS[1:]]),
    "text x that is mixed with numbers": lambda: read([1.5, *WORDS[1:]]),
    "text x of shape (n, 1)": lambda: read(np.array(WORDS)[:, None]),
    "bytes as x": lambda: read([word.encode() for word in WORDS]),
    "text x without a single word": lambda: read(["", "!"] * (N // 2)),
    "numbers x of shape (n,)": lambda: own(X[:, 0], Y),
    "a stream of rows that are one number each": lambda: own(from_slices((X[:, 0], Y))),
    "a stream of batches of numbers (batch,)": lambda: own(from_slices((X[:, 0], Y)).batch(4)),
    "a Python generator of batches, for one epoch": lambda: own(
        (batch for batch in [(X, Y)]), epochs=1
    ),
    "a Python generator for a network that normalises its inputs": lambda: own(
        (batch for batch in [(X, Y)]), epochs=1, normalize="standard"
    ),
    "a stream that has no end, as by `repeat()`": lambda: own(from_slices((X, Y)).repeat()),
    "a stream that has no end, with `steps_per_epoch`": lambda: Own().fit(
        from_slices((X, Y)).batch(4).repeat(), steps_per_epoch=2
    ),
    "`Dataset.from_generator` of a generator that has no end": lambda: own(
        generated(endless).batch(4)
    ),
    "a stream of unknown length that has no end that could be seen": lambda: Classifier(
        epochs=1
    ).fit(generated(counting).batch(4)),
    "rows left over by a model of a fixed batch size": lambda: own(X[:6], Y[:6], kind=Fixed),
    "a column of numbers, flags or decimals, also nullable or of Arrow": lambda: column(
        pd.array([1, None] * 20, "Int64"),
        pd.array([True, None] * 20, "boolean"),
        pd.array([1.5, None] * 20, "Float64"),
        [decimal.Decimal(1), None] * 20,
    ),
    "a column of text or of an unordered category": lambda: column(
        ["a", None] * 20, pd.Categorical(["a", "b"] * 20)
    ),
    "a column of an ordered category, such as by `pd.cut`": lambda: column(
        pd.cut(np.arange(40), 3)
    ),
    "a column of datetimes, with or without a time zone, of days or of periods": lambda: column(
        DAYS, DAYS.tz_localize("UTC"), DAYS.date, DAYS.to_period("D")
    ),
    "a column of text of which 99% are dates": lambda: column([*DAYS.strftime("%d.%m.%Y")]),
    "a column of text of which half are dates, but not 99%": lambda: column(
        [*DAYS.strftime("%d.%m.%Y")[:30], *"abcdefghij"]
    ),
    "a column of durations, or of times of the day": lambda: column(
        DAYS - DAYS[0], [datetime.time(i % 24) for i in range(40)]
    ),
    "a column of text with more levels than half of its rows": lambda: left_out(
        [f"K{i}" for i in range(40)]
    ),
    "a column of whole numbers that are called an id, or never repeat": lambda: left_out(
        np.arange(40) + 1000
    ),
    "a column of long text, mostly different": lambda: unread(
        [f"a text of several words, number {i}" for i in range(40)]
    ),
    "a table of identifiers and text alone": lambda: own(
        pd.DataFrame({"c": np.arange(40)}), np.ones(40)
    ),
    "a column of text and numbers": lambda: column(np.array(["a", 1.5] * 20, dtype=object)),
    "a column of numbers that are written as text, mostly different": lambda: column(
        [str(i / 8) for i in range(40)]
    ),
    "a column of intervals": lambda: column(pd.interval_range(0, 40)),
    "a column of complex numbers": lambda: column(np.ones(40) * 1j),
    "a column of lists, dicts or arrays": lambda: column([[1]] * 40),
    "a column of bytes": lambda: column([b"a"] * 40),
    "infinity in a column": lambda: column([np.inf] * 40),
    "a number above 1e150 in a column": lambda: column([1e160, 1.0] * 20),
    "a number above 1e18 in an array": lambda: own(
        np.where(np.arange(N)[:, None] == 3, 1e19, X).astype(np.float32), Y
    ),
    "a column of numbers with a currency sign, a unit, a percent sign or a decimal comma, "
    "mostly different": lambda: column([f"€{i}.50" for i in range(40)]),
    "two columns of one name": lambda: own(pd.DataFrame(np.ones((40, 2)), columns=["c", "c"]), Y40),
    "a polars DataFrame, an Arrow table or RecordBatch": lambda: own(polars().DataFrame(ONE), Y40),
    "a polars LazyFrame": lambda: own(polars().LazyFrame(ONE), Y40),
    "batches of another size than the model's fixed one": lambda: own(
        X, Y, kind=Fixed, batch_size=2
    ),
    "a stream whose last batch may be smaller than the model's fixed size": lambda: own(
        from_slices((X, Y)).batch(4), kind=Fixed
    ),
}


def test_every_line_of_the_table_is_tried() -> None:
    assert list(TABLE) == list(TRIED)


@pytest.mark.parametrize("line", TABLE)
def test_fit_does_what_the_table_says_of(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_BATCHES", 50)
    begun, says = Watch.begun, TABLE[line]
    if says.startswith("trains"):
        trained = TRIED[line]()
        assert np.isfinite(trained.history_.records[-1]["loss"])
        return
    kind = {"TypeError": TypeError, "ValueError": ValueError}[re.match(r"\w+", says)[0]]  # type: ignore[index]
    words = re.findall(r"`(.+?)`", says)[-1]
    with pytest.raises(kind, match=re.escape(words)) as caught:
        TRIED[line]()
    assert "\n" not in str(caught.value)
    assert Watch.begun == begun
