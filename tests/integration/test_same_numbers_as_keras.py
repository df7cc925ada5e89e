"""A Trainer gives the numbers of keras.Model.fit, to the bit where the operations are the same.

Training runs the same operations on the same batches: its logs and weights are equal bit by bit.
Validation may use larger batches, where nothing but the order of a sum depends on them: then it is
equal to 1e-6 of its value, and to the bit otherwise.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from trainer import Classifier, Trainer

SEED = 7
RNG = np.random.default_rng(0)
N, TRAIN, BATCH = 72, 50, 8  # 50 rows: the last batch has 2; 22 to validate: the last one has 6
X = RNG.normal(size=(N, 12)).astype("float32")
CLASSES = RNG.integers(0, 4, N)
TARGET = (X @ RNG.normal(size=(12, 1))).astype("float32")
IMAGES = RNG.normal(size=(N, 8, 8, 1)).astype("float32")
SERIES = RNG.normal(size=(N, 9, 5)).astype("float32")
WORDS = RNG.integers(0, 30, (N, 7))
WEIGHTS = RNG.uniform(0.1, 2.0, N).astype("float32")


# ---- models ------------------------------------------------------------------------------------


def _sequential(shape: tuple[int, ...], *parts: Any, **options: Any) -> keras.Model:
    return keras.Sequential([keras.Input(shape, **options), *parts])


def perceptron() -> keras.Model:
    return _sequential((12,), layers.Dense(16, "relu"), layers.Dense(4, "softmax"))


def deep() -> keras.Model:
    parts: list[Any] = []
    for _ in range(3):
        parts += [layers.Dense(16), layers.BatchNormalization(), layers.Activation("elu")]
    return _sequential((12,), *parts, layers.Dense(4))


def convolutional() -> keras.Model:
    parts = [layers.Conv2D(8, 3, activation="relu"), layers.BatchNormalization()]
    parts += [layers.MaxPooling2D(), layers.Dropout(0.3), layers.Flatten()]
    return _sequential((8, 8, 1), *parts, layers.Dense(4, "softmax"))


def lstm() -> keras.Model:
    return _sequential((9, 5), layers.LSTM(8, dropout=0.1), layers.Dense(1))


def embedding() -> keras.Model:
    parts = [layers.Embedding(30, 6, mask_zero=True), layers.GRU(6), layers.Dense(4, "softmax")]
    return _sequential((7,), *parts, dtype="int64")


def two_and_two() -> keras.Model:
    vector, series = keras.Input((12,), name="vector"), keras.Input((9, 5), name="series")
    joined = layers.Concatenate()(
        [layers.Dense(8, "relu")(vector), layers.GlobalAveragePooling1D()(series)]
    )
    outputs = {
        "label": layers.Dense(4, "softmax", name="label")(joined),
        "value": layers.Dense(1, name="value")(joined),
    }
    return keras.Model({"vector": vector, "series": series}, outputs)


def regularised() -> keras.Model:
    hidden = layers.Dense(16, "relu", kernel_regularizer="l2", kernel_constraint="max_norm")
    return _sequential((12,), hidden, layers.Dropout(0.2), layers.Dense(1))


class OwnStep(keras.Model):
    """A train_step and a test_step of its own, with metrics of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.drop, self.out = layers.Dense(8, "relu"), layers.Dropout(0.2), None
        self.out = layers.Dense(1)
        self.mean_loss = keras.metrics.Mean("loss")
        self.norm = keras.metrics.Mean("norm")

    @property
    def metrics(self) -> list[Any]:
        return [self.mean_loss, self.norm]

    def call(self, x: Any, training: bool = False) -> Any:
        return self.out(self.drop(self.hidden(x), training=training))

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss = ops.mean(ops.square(y - self(x, training=True)))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        self.mean_loss.update_state(loss)
        self.norm.update_state(ops.sqrt(sum(ops.sum(ops.square(g)) for g in gradients)))
        return {metric.name: metric.result() for metric in self.metrics}

    def test_step(self, data: Any) -> dict[str, Any]:
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        self.mean_loss.update_state(ops.mean(ops.abs(y - self(x, training=False))))
        return {"loss": self.mean_loss.result()}


class OwnLoss(keras.Model):
    """A compute_loss of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = layers.Dense(8, "relu"), layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.out(self.hidden(x))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(ops.abs(y - y_pred)) + 1e-2 * ops.mean(ops.square(x))


def log_squared(y: Any, predicted: Any) -> Any:
    """A loss function of one's own, a scalar for the batch as a whole."""
    return ops.sqrt(ops.mean(ops.log1p(ops.square(y - predicted))))


class Largest(keras.metrics.Metric):
    """A metric of one's own, whose argument its config does not hold."""

    def __init__(self, power: float = 1.0) -> None:
        super().__init__(name="largest")
        self.power = power
        self.value = self.add_weight(shape=(), initializer="zeros")

    def update_state(self, y: Any, predicted: Any, sample_weight: Any = None) -> None:
        worst = ops.max(ops.abs(y - predicted)) ** self.power
        self.value.assign(ops.maximum(self.value, worst))

    def result(self) -> Any:
        return ops.copy(self.value)


# ---- cases -------------------------------------------------------------------------------------

SPARSE = "sparse_categorical_crossentropy"


@dataclass
class Case:
    """A model, and all that fit takes."""

    build: Callable[[], keras.Model]
    optimizer: Callable[[], Any] = keras.optimizers.Adam
    loss: Any = "mse"
    metrics: Callable[[], Any] = lambda: ["mae"]
    x: Any = field(default_factory=lambda: X)
    y: Any = field(default_factory=lambda: TARGET)
    weight: Any = None
    class_weight: Any = None


def _sgd(**options: Any) -> Callable[[], Any]:
    return lambda: keras.optimizers.SGD(0.01, **options)


def _decaying() -> Any:
    return keras.optimizers.schedules.ExponentialDecay(0.01, decay_steps=3, decay_rate=0.7)


CASES = {
    "perceptron": Case(perceptron, _sgd(), SPARSE, lambda: ["accuracy"], y=CLASSES),
    "deep with batch normalisation": Case(
        deep,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=lambda: ["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(2)],
        y=CLASSES,
    ),
    "convolutional": Case(
        convolutional, loss=SPARSE, metrics=lambda: ["accuracy"], x=IMAGES, y=CLASSES
    ),
    "LSTM": Case(lstm, keras.optimizers.RMSprop, x=SERIES),
    "embedding": Case(embedding, loss=SPARSE, metrics=lambda: ["accuracy"], x=WORDS, y=CLASSES),
    "two inputs, two outputs": Case(
        two_and_two,
        loss={"label": SPARSE, "value": "mse"},
        metrics=lambda: {"label": ["accuracy"], "value": ["mae", keras.metrics.R2Score()]},
        x={"vector": X, "series": SERIES},
        y={"label": CLASSES, "value": TARGET},
    ),
    "train_step of its own": Case(OwnStep, _sgd(momentum=0.9), metrics=lambda: None),
    "compute_loss of its own": Case(OwnLoss, loss=None),
    "loss function, metric of one's own": Case(
        regularised, keras.optimizers.Nadam, log_squared, lambda: ["mse", Largest(2.0)]
    ),
    "schedule": Case(regularised, lambda: keras.optimizers.Adam(_decaying())),
    "accumulation": Case(
        regularised, lambda: keras.optimizers.Adam(_decaying(), gradient_accumulation_steps=3)
    ),
    "moving average": Case(regularised, _sgd(use_ema=True, ema_momentum=0.9)),
    "moving average, written back": Case(
        regularised, _sgd(use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=2)
    ),
    "clipping": Case(regularised, _sgd(global_clipnorm=0.5)),
    "decay of weights": Case(regularised, lambda: keras.optimizers.AdamW(0.01, clipvalue=0.1)),
    "sample_weight": Case(perceptron, _sgd(), SPARSE, list, y=CLASSES, weight=WEIGHTS),
    "class_weight": Case(
        perceptron,
        _sgd(),
        SPARSE,
        lambda: ["accuracy"],
        y=CLASSES,
        class_weight={0: 3.0, 1: 0.5, 2: 1.0, 3: 0.0},
    ),
}


class _Kept(Trainer):
    case: Any = None

    def build_model(self, spec: Any) -> keras.Model:
        return self.case.build()

    def configure_optimizer(self) -> Any:
        return self.case.optimizer()


class _KeptClassifier(_Kept, Classifier):
    pass


def _part(tree: Any, rows: slice) -> Any:
    return keras.tree.map_structure(lambda a: a[rows], tree)


def ours(case: Case, data: Any = None, *, epochs: int = 2, **fields: Any) -> Trainer:
    kind = _Kept if case.class_weight is None else _KeptClassifier
    options = {"epochs": epochs, "batch_size": BATCH, "shuffle": False, "random_state": SEED}
    trainer = kind(
        case=case,
        loss=case.loss,
        metrics=case.metrics(),
        class_weight=case.class_weight,
        verbose=0,
        **options | fields,
    )
    valid = _part((case.x, case.y), slice(TRAIN, None))
    if data is not None:
        return trainer.fit(data, validation_data=valid)
    x, y = _part((case.x, case.y), slice(TRAIN))
    weight = None if case.weight is None else case.weight[:TRAIN]
    return trainer.fit(x, y, validation_data=valid, sample_weight=weight)


def _keras(
    case: Case, *, epochs: int = 2, callbacks: Any = (), eagerly: bool = False
) -> tuple[keras.Model, Any]:
    keras.utils.set_random_seed(SEED)
    model = case.build()
    model.compile(case.optimizer(), case.loss, metrics=case.metrics(), run_eagerly=eagerly)
    x, y = _part((case.x, case.y), slice(TRAIN))
    history = model.fit(
        x,
        y,
        validation_data=_part((case.x, case.y), slice(TRAIN, None)),
        sample_weight=None if case.weight is None else case.weight[:TRAIN],
        class_weight=case.class_weight,
        epochs=epochs,
        batch_size=BATCH,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
    )
    return model, history.history


def _assert_same(trainer: Trainer, model: keras.Model, history: dict[str, list[float]]) -> None:
    ours = {name: trainer.history_[name] for name in trainer.history_.metrics}
    theirs = {name: values for name, values in history.items() if name != "learning_rate"}
    assert set(ours) == set(theirs)
    for name, values in theirs.items():
        if name.startswith("val_") and trainer._network.batch_independent:
            np.testing.assert_allclose(ours[name], values, rtol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(ours[name], values, err_msg=name)
    for a, b in zip(trainer.model_.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


# ---- tests -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_history_and_weights_are_those_of_keras(name: str) -> None:
    trainer = ours(CASES[name])
    _assert_same(trainer, *_keras(CASES[name]))


def _stream(case: Case, batched: bool) -> Any:
    parts = tf.data.Dataset.from_tensor_slices(_part((case.x, case.y), slice(TRAIN)))
    return parts.batch(BATCH) if batched else parts


class _Batches(keras.utils.PyDataset):
    def __init__(self, case: Case, **options: Any) -> None:
        super().__init__(**options)
        self.data = _part((case.x, case.y), slice(TRAIN))

    def __len__(self) -> int:
        return -(-TRAIN // BATCH)

    def __getitem__(self, i: int) -> Any:
        return _part(self.data, slice(i * BATCH, (i + 1) * BATCH))


FEEDS: dict[str, tuple[Callable[[Case], Any] | None, dict[str, Any]]] = {
    "as arrays, run_eagerly": (None, {"run_eagerly": True}),
    "read chunk by chunk": (None, {"resident_bytes": 0}),
    "tf.data of batches": (lambda case: _stream(case, True), {}),
    "tf.data of rows": (lambda case: _stream(case, False), {}),
    "tf.data, run_eagerly": (lambda case: _stream(case, True), {"run_eagerly": True}),
    "PyDataset": (_Batches, {}),
    "PyDataset with workers": (lambda case: _Batches(case, workers=2), {}),
}


@pytest.mark.parametrize("name", ["two inputs, two outputs", "convolutional"])
@pytest.mark.parametrize("feed", FEEDS)
def test_every_way_of_feeding_gives_the_numbers_of_keras(feed: str, name: str, keras_fit) -> None:
    case = CASES[name]
    make, fields = FEEDS[feed]
    trainer = ours(case, None if make is None else make(case), **fields)
    _assert_same(trainer, *keras_fit(name, eagerly="run_eagerly" in fields))


@pytest.fixture(scope="module")
def keras_fit() -> Callable[[str], Any]:
    """keras.Model.fit of a case, run once."""

    @functools.cache
    def fit(name: str, **options: Any) -> Any:
        return _keras(CASES[name], **options)

    return fit


@pytest.mark.parametrize("name", ["perceptron", "compute_loss of its own"])
def test_xla_gives_the_numbers_of_keras_but_for_rounding(name: str, keras_fit) -> None:
    trainer = ours(CASES[name], epochs=1, jit=True)
    assert trainer._network.plan.jit
    _, history = keras_fit(name, epochs=1)
    for log, values in history.items():
        np.testing.assert_allclose(trainer.history_[log], values, rtol=1e-5, err_msg=log)


def test_a_stream_of_unknown_length_gives_the_numbers_of_its_arrays() -> None:
    # Keras itself is no measure: it begins a step more than there are batches, and counts it
    case = CASES["convolutional"]
    arrays = ours(case)
    stream = ours(case, _stream(case, True).filter(lambda x, y: True))
    for name in arrays.history_.metrics:
        assert stream.history_[name] == arrays.history_[name]
