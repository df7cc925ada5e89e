"""Training on tf.data.Dataset and keras.utils.PyDataset: the same results as on arrays."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from trainer import Classifier, Regressor, Trainer
from trainer.data.streams import Stream

ROWS, BATCH = 50, 20  # the last batch is smaller than the others
RNG = np.random.default_rng(0)
X = RNG.normal(loc=3, size=(ROWS, 4)).astype(np.float32)
Y = X[:, 0].astype(np.float32)
NAMES = np.array(["low", "mid", "top"])[np.digitize(X[:, 0], [2.5, 3.5])]
WEIGHT = RNG.uniform(0.5, 2, size=ROWS).astype(np.float32)


class Linear(Regressor):
    epochs = 2
    batch_size = BATCH
    optimizer = "sgd"
    loss = "mse"
    metrics = ()
    normalize = "standard"
    shuffle = False
    random_state = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(spec.n_outputs)])


class Labelled(Classifier):
    epochs = 6
    batch_size = BATCH
    optimizer = "sgd"
    learning_rate = 1.0
    normalize = "standard"
    shuffle = False
    random_state = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential(
            [keras.Input(spec.input_shape), keras.layers.Dense(spec.n_outputs, "softmax")]
        )


class Batches(keras.utils.PyDataset):
    """Rows in batches, as users write them."""

    def __init__(self, *parts: Any, fail_at: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.parts, self.fail_at = parts, fail_at

    @property
    def num_batches(self) -> int:
        return -(-ROWS // BATCH)

    def __getitem__(self, index: int) -> Any:
        if index == self.fail_at:
            raise LookupError("the file of this batch is gone")
        rows = slice(index * BATCH, (index + 1) * BATCH)
        return tuple(keras.tree.map_structure(lambda a: a[rows], p) for p in self.parts)


def dataset(*parts: Any) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(parts)


def generated(*parts: np.ndarray, batched: bool = True) -> tf.data.Dataset:
    """A data set of unknown length."""

    def rows() -> Iterator[Any]:
        step = BATCH if batched else 1
        for i in range(0, ROWS, step):
            yield tuple(p[i : i + step] if batched else p[i] for p in parts)

    lead = (None,) if batched else ()
    signature = tuple(tf.TensorSpec(lead + p.shape[1:], p.dtype) for p in parts)
    return tf.data.Dataset.from_generator(rows, output_signature=signature)


STREAMS = {
    "batched": lambda *p: dataset(*p).batch(BATCH),
    "single rows": dataset,
    "single rows of unknown length": lambda *p: generated(*p, batched=False),
    "PyDataset": Batches,
    "PyDataset with two workers": lambda *p: Batches(*p, workers=2, max_queue_size=4),
}


@pytest.fixture(scope="module")
def on_arrays() -> Linear:
    return Linear().fit(X, Y, sample_weight=WEIGHT, validation_data=(X, Y))


@pytest.mark.parametrize("form", STREAMS)
def test_a_stream_trains_as_its_rows_do_in_arrays(form: str, on_arrays: Linear) -> None:
    make = STREAMS[form]
    model = Linear().fit(make(X, Y, WEIGHT), validation_data=make(X, Y))
    np.testing.assert_allclose(model.predict(X), on_arrays.predict(X), rtol=1e-5)
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(model.history_[name], on_arrays.history_[name], rtol=1e-5)
    np.testing.assert_allclose(model.predict(make(X)), model.predict(X), rtol=1e-6)
    expected = model.evaluate(X, Y, sample_weight=WEIGHT)["loss"]
    assert model.evaluate(make(X, Y, WEIGHT))["loss"] == pytest.approx(expected, rel=1e-5)


def test_batches_of_a_fixed_size_are_taken_as_batches() -> None:
    whole = dataset(X[:40], Y[:40]).batch(BATCH, drop_remainder=True)
    by_stream, by_arrays = Linear().fit(whole), Linear().fit(X[:40], Y[:40])
    np.testing.assert_allclose(by_stream.predict(X), by_arrays.predict(X), rtol=1e-5)


@pytest.mark.parametrize(
    "form",
    [
        lambda s: s.batch(10, drop_remainder=True),
        lambda s: s.batch(5).rebatch(10, drop_remainder=True).map(lambda *e: e).prefetch(1),
        lambda s: tf.data.Dataset.zip(
            s.map(lambda x, y: x).batch(10, drop_remainder=True),
            s.map(lambda x, y: y).batch(10, drop_remainder=True),
        ).cache(),
        lambda s: tf.data.Dataset.choose_from_datasets(
            [s.take(20).batch(10, True), s.skip(20).batch(10, True)],
            tf.data.Dataset.from_tensor_slices(np.array([0, 0, 1, 1], np.int64)),
        ),
    ],
)
def test_batches_of_a_fixed_size_of_numbers_are_taken_as_batches(form: Any) -> None:
    class Column(Labelled):
        def build_model(self, spec: Any) -> keras.Model:
            layers = [keras.layers.Reshape((1,)), keras.layers.Dense(spec.n_outputs, "softmax")]
            return keras.Sequential([keras.Input(spec.input_shape), *layers])

    column, labels = X[:40, 0], (X[:40, 0] > 3).astype(int)
    stream = form(dataset(column, labels))
    fields: dict[str, Any] = {"batch_size": 10, "epochs": 1}
    model = Column(**fields).fit(stream, validation_data=stream)
    assert model.classes_.tolist() == [0, 1]
    assert model.predict(stream).shape == (40,)
    assert model.predict(stream.map(lambda x, y: x)).shape == (40,)
    assert model.evaluate(stream)["loss"] == model.history_["val_loss"][-1]
    other = Column(**fields).fit(dataset(column, labels).batch(10))
    assert model.history_["loss"] == other.history_["loss"]


def test_rows_of_a_fixed_size_are_taken_as_rows_whatever_y_is() -> None:
    for rows in (dataset(X, X), dataset(X, X).batch(10, drop_remainder=True).unbatch()):
        assert Linear(epochs=1).fit(rows).predict(X).shape == X.shape
        assert Linear(epochs=1).fit(rows).predict(rows).shape == X.shape


def test_batches_of_a_fixed_size_of_numbers_for_several_inputs_are_batches() -> None:
    class Two(Linear):
        normalize = None

        def build_model(self, spec: Any) -> keras.Model:
            found = {k: keras.Input(s, name=k) for k, s in spec.input_shape.items()}
            columns = [keras.layers.Reshape((1,))(x) for x in found.values()]
            out = keras.layers.Dense(spec.n_outputs)(keras.layers.Concatenate()(columns))
            return keras.Model(found, out)

    rows = dataset({"a": X[:40, 0], "b": X[:40, 1]}, Y[:40])
    model = Two(epochs=1).fit(rows.batch(10, drop_remainder=True))
    assert model.predict({"a": X[:, 0], "b": X[:, 1]}).shape == (ROWS,)


def test_elements_that_are_x_alone_can_be_predicted() -> None:
    model = Linear().fit(X, Y)
    alone = tf.data.Dataset.from_tensor_slices(X)
    np.testing.assert_array_equal(model.predict(alone), model.predict(X))
    np.testing.assert_array_equal(model.predict(alone.batch(7)), model.predict(X))


@pytest.mark.parametrize(
    ("form", "dtype"), [("single rows", object), ("PyDataset", object), ("PyDataset", str)]
)
def test_labels_of_a_stream_may_be_strings(form: str, dtype: type) -> None:
    stream = STREAMS[form](X, NAMES.astype(dtype))
    model = Labelled().fit(stream)
    np.testing.assert_array_equal(model.classes_, ["low", "mid", "top"])
    assert set(model.predict(X)) <= {"low", "mid", "top"}
    score = model.score(stream)
    assert score == pytest.approx(model.score(X, NAMES))
    assert model.evaluate(stream)["accuracy"] == pytest.approx(score, rel=1e-5)
    assert score > 0.8


@pytest.mark.parametrize(
    "labels",
    [np.array([40, -7, 3])[np.digitize(X[:, 0], [2.5, 3.5])], X[:, 0] > 3],
    ids=["integers with gaps", "booleans"],
)
def test_labels_of_a_stream_may_be_numbers_or_booleans(labels: np.ndarray) -> None:
    stream = dataset(X, labels).batch(BATCH)
    by_stream, by_arrays = Labelled(epochs=2).fit(stream), Labelled(epochs=2).fit(X, labels)
    np.testing.assert_array_equal(by_stream.classes_, by_arrays.classes_)
    np.testing.assert_allclose(by_stream.predict_proba(X), by_arrays.predict_proba(X), rtol=1e-4)
    np.testing.assert_array_equal(by_stream.predict(stream), by_stream.predict(X))


def test_several_labels_a_row_and_one_hot_rows_may_be_streamed() -> None:
    matrix = (X > 3).astype(np.int64)
    model = Classifier(model="wide_and_deep", epochs=1).fit(dataset(X, matrix).batch(BATCH))
    assert model.predict(X).shape == matrix.shape
    one_hot = np.eye(3, dtype=np.float32)[np.digitize(X[:, 0], [2.5, 3.5])]
    model = Labelled(loss="categorical_crossentropy").fit(dataset(X, one_hot).batch(BATCH))
    assert np.mean(model.predict(X).argmax(axis=1) == one_hot.argmax(axis=1)) > 0.8


@pytest.mark.parametrize(
    ("class_weight", "weighted"), [("balanced", False), ({"low": 5.0, "top": 0.5}, True)]
)
def test_classes_of_a_stream_are_weighted_as_those_of_arrays(
    class_weight: Any, weighted: bool
) -> None:
    loss = "sparse_categorical_crossentropy"  # of the user's own: weights are used as they are
    model = Labelled(epochs=2, class_weight=class_weight, loss=loss, metrics=())
    extra = (WEIGHT,) if weighted else ()
    weight = WEIGHT if weighted else None
    expected = model.fit(X, NAMES, sample_weight=weight).predict_proba(X)
    found = model.fit(dataset(X, NAMES.astype(object), *extra).batch(BATCH)).predict_proba(X)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("form", ["single rows", "PyDataset"])
def test_streams_may_have_several_inputs_and_outputs(form: str) -> None:
    class TwoByTwo(Linear):
        def build_model(self, spec: Any) -> keras.Model:
            inputs = {k: keras.Input(s, name=k) for k, s in spec.input_shape.items()}
            joined = keras.layers.Concatenate()(list(inputs.values()))
            return keras.Model(
                inputs, {k: keras.layers.Dense(w)(joined) for k, w in spec.n_outputs.items()}
            )

    x = {"left": X[:, :3], "right": X[:, 3:]}
    y = {"first": Y, "rest": X[:, 1:]}
    by_stream, by_arrays = TwoByTwo().fit(STREAMS[form](x, y)), TwoByTwo().fit(x, y)
    found, expected = by_stream.predict(STREAMS[form](x, y)), by_arrays.predict(x)
    assert found["first"].shape == (ROWS,)
    for key in y:
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-4, atol=1e-6)


def test_a_stream_is_normalised_by_its_own_statistics_inside_the_model() -> None:
    model = Linear().fit(generated(X, Y))
    kernel, bias = model.model_.get_weights()[-2:]
    by_hand = (X - X.mean(axis=0)) / X.std(axis=0) @ kernel + bias
    np.testing.assert_allclose(model.predict(X), by_hand[:, 0], rtol=1e-4)
    np.testing.assert_allclose(model.model_(X)[:, 0], model.predict(X), rtol=1e-5)


def test_the_default_model_learns_from_a_stream_in_units_of_y() -> None:
    model = Regressor(epochs=15, random_state=0).fit(dataset(X, 1000 * Y).batch(BATCH))
    assert model.score(X, 1000 * Y) > 0.9


def test_an_autoencoder_may_be_fed_by_a_stream() -> None:
    class Code(Trainer):
        def build_model(self, spec: Any) -> keras.Model:
            return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(4)])

    model = Code(loss="mse", random_state=0, epochs=1).fit(dataset(X, X).batch(BATCH))
    assert model.predict(X).shape == X.shape


def test_each_epoch_is_a_new_pass_over_a_shuffled_data_set() -> None:
    seen: list[float] = []

    def note(x: Any, y: Any) -> Any:
        tf.py_function(lambda v: seen.append(float(v)), [x[0]], [])
        return x, y

    stream = dataset(X, Y).shuffle(ROWS, seed=0).map(note).batch(BATCH)
    Linear(normalize=None, epochs=2).fit(stream)
    first, second = seen[-2 * ROWS : -ROWS], seen[-ROWS:]
    assert sorted(first) == sorted(second) == pytest.approx(sorted(X[:, 0].tolist()))
    assert first != second


def test_a_py_dataset_is_told_of_the_end_of_each_epoch() -> None:
    class Counting(Batches):
        ends = 0

        def on_epoch_end(self) -> None:
            self.ends += 1

    stream = Counting(X, Y)
    Linear(normalize=None, epochs=3).fit(stream)
    assert stream.ends == 3


# ---- errors of the user's own code -----------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("call", ["fit", "evaluate", "predict"])
def test_an_error_in_a_py_dataset_reaches_the_user_with_its_batch(workers: int, call: str) -> None:
    broken = Batches(X, Y, fail_at=1, workers=workers)
    model = Linear(normalize=None)
    if call != "fit":
        model.fit(X, Y)
    with pytest.raises(LookupError, match="the file of this batch is gone") as caught:
        getattr(model, call)(broken)
    assert any("batch 1 of x" in note for note in caught.value.__notes__)
    assert caught.value.__traceback__ is not None


def test_a_shuffled_stream_is_scored_by_the_rows_that_were_predicted() -> None:
    model = Labelled().fit(X, NAMES)
    shuffled = dataset(X, NAMES.astype(object)).shuffle(ROWS).batch(BATCH)
    assert model.score(shuffled) == pytest.approx(model.score(X, NAMES))


def test_an_error_in_validation_data_says_that_it_was_there() -> None:
    with pytest.raises(LookupError) as caught:
        Linear(normalize=None).fit(X, Y, validation_data=Batches(X, Y, fail_at=2))
    assert any("batch 2 of validation_data: x" in note for note in caught.value.__notes__)


def test_a_py_dataset_can_be_used_again_after_its_error() -> None:
    broken = Batches(X, Y, fail_at=1)
    model = Linear(normalize=None)
    with pytest.raises(LookupError):
        model.fit(broken)
    broken.fail_at = None
    np.testing.assert_allclose(
        model.fit(broken).predict(X), Linear(normalize=None).fit(X, Y).predict(X), rtol=1e-5
    )


def test_an_error_in_a_tf_data_pipeline_says_after_how_many_batches() -> None:
    def fragile() -> Iterator[Any]:
        yield X[:BATCH], Y[:BATCH]
        raise LookupError("the second file is gone")

    signature = (tf.TensorSpec((None, 4), tf.float32), tf.TensorSpec((None,), tf.float32))
    stream = tf.data.Dataset.from_generator(fragile, output_signature=signature)
    with pytest.raises(tf.errors.OpError, match="the second file is gone"):
        Linear(normalize=None).fit(stream)


# ---- what is refused -------------------------------------------------------------------------


def test_a_data_set_without_end_is_refused_with_the_remedy() -> None:
    endless = dataset(X, Y).batch(BATCH).repeat()
    with pytest.raises(ValueError, match=r"x is an infinite tf.data.Dataset.*x\.take\(steps\)"):
        Linear().fit(endless)
    with pytest.raises(ValueError, match="validation_data: x is an infinite tf.data.Dataset"):
        Linear().fit(X, Y, validation_data=endless)
    assert Linear().fit(endless.take(2)).history_.records


def test_a_py_dataset_without_end_is_refused() -> None:
    class Endless(Batches):
        num_batches = None

    with pytest.raises(ValueError, match="an infinite PyDataset; define its num_batches"):
        Linear().fit(Endless(X, Y))


@pytest.mark.parametrize(
    "make",
    [lambda: dataset(X[:0], Y[:0]).batch(4), lambda: generated(X, Y).skip(99)],
    ids=["known", "of unknown length"],
)
@pytest.mark.parametrize("normalize", [None, "standard"])
def test_an_empty_data_set_is_refused(make: Any, normalize: str | None) -> None:
    with pytest.raises(ValueError, match=r"x is empty"):
        Linear(normalize=normalize).fit(make())


def test_a_generator_is_refused_where_it_would_be_read_twice() -> None:
    def batches() -> Any:
        return (batch for batch in [(X, Y)])

    with pytest.raises(ValueError, match=r"x is a Python iterator.*epochs=.*steps_per_epoch"):
        Linear(epochs=2).fit(batches())
    with pytest.raises(TypeError, match=r"x is a Python iterator.*from_generator\(function"):
        Linear(epochs=1, normalize="standard").fit(batches())
    with pytest.raises(TypeError, match=r"validation_data=.*validation_steps"):
        Linear(epochs=1).fit(X, Y, validation_data=batches())


def test_y_and_weights_beside_a_stream_are_refused() -> None:
    stream = dataset(X, Y).batch(BATCH)
    with pytest.raises(ValueError, match=r"^y: x is of type .*leave y out, and make them \(x, y\)"):
        Linear().fit(stream, Y)
    with pytest.raises(ValueError, match="^sample_weight: x is of type .*leave sample_weight out"):
        Linear().fit(stream, sample_weight=WEIGHT)


def test_a_stream_cannot_be_split() -> None:
    with pytest.raises(ValueError, match=r"validation_split=0\.2: a stream cannot be split"):
        Linear(validation_split=0.2).fit(dataset(X, Y).batch(BATCH))


def test_a_stream_without_y_is_refused_where_y_is_needed() -> None:
    model = Linear().fit(X, Y)
    for method in (model.fit, model.evaluate, model.score):
        with pytest.raises(ValueError, match=r"Linear: x has no y; make its elements \(x, y"):
            method(dataset(X).batch(BATCH))


def test_a_label_that_the_training_stream_lacks_is_named() -> None:
    model = Labelled(epochs=1).fit(X, NAMES)
    other = dataset(X, np.where(NAMES == "top", "peak", NAMES).astype(object)).batch(BATCH)
    with pytest.raises(
        (ValueError, tf.errors.InvalidArgumentError), match="label that was not in training"
    ):
        model.evaluate(other)


def test_a_model_of_ones_own_is_trained_on_the_sparse_batches_that_it_is_given() -> None:
    import scipy.sparse

    class Own(Regressor):
        def build_model(self, spec: Any) -> keras.Model:
            return keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(1)])

    rows = np.where(X > 0, X, 0)
    target = Y.reshape(len(Y), -1)[:, :1].astype("float32")
    parts = [slice(i, i + 4) for i in range(0, len(X), 4)]
    matrices = [scipy.sparse.csr_matrix(rows[part]) for part in parts]
    seen: list[Any] = []

    class Sees(keras.layers.Dense):
        def call(self, x: Any, **options: Any) -> Any:
            seen.append(type(x).__name__)
            return super().call(x, **options)

    class Watched(Regressor):
        def build_model(self, spec: Any) -> keras.Model:
            inputs = keras.Input(spec.input_shape, sparse=True)
            return keras.Sequential([inputs, Sees(1)])

    def batches(dense: bool) -> Any:
        return (
            (m.toarray() if dense else m, target[p]) for m, p in zip(matrices, parts, strict=True)
        )

    options: dict[str, Any] = {"loss": "mse", "epochs": 1, "random_state": 0, "verbose": 0}
    sparse = Watched(**options).fit(batches(dense=False))
    assert "SparseTensor" in seen
    dense = Own(**options).fit(batches(dense=True))
    np.testing.assert_allclose(
        sparse.model_.get_weights()[0], dense.model_.get_weights()[0], rtol=1e-5
    )
    # a network that normalises them gets them dense
    stream = tf.data.Dataset.from_tensor_slices((rows, target)).batch(4)
    made_sparse = stream.map(lambda x, y: (tf.sparse.from_dense(x), y))
    a, b = (Linear(normalize="standard", **options).fit(s) for s in (made_sparse, stream))
    np.testing.assert_array_equal(a.model_.get_weights()[0], b.model_.get_weights()[0])


def _parts() -> list[Any]:
    return [X[i : i + BATCH] for i in range(0, ROWS, BATCH)]


def test_iterators_of_bare_x_and_of_a_data_set_are_predicted() -> None:
    model = Linear().fit(X, Y)
    expected = model.predict(X)
    sparse = dataset(X).batch(BATCH).map(tf.sparse.from_dense)
    for batches in (
        iter(_parts()),
        iter(dataset(X).batch(BATCH)),
        iter(dataset(X, Y).batch(BATCH)),
        iter(sparse),
        dataset(X).batch(BATCH).as_numpy_iterator(),
    ):
        np.testing.assert_allclose(model.predict(batches), expected, rtol=1e-6)
    for method in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=r"x has no y; make its elements \(x, y"):
            method(iter(_parts()))


@pytest.mark.parametrize(
    ("batches", "says"),
    [
        ([1.0, 2.0], "x is an iterator of float; it must give batches: x .an array"),
        ([[X[:8]]], "x is an iterator of list; it must give batches"),
        ([(X[:8], 1, 2, 3)], "x is an iterator of tuple with 4 parts; it must give batches"),
        ([pd.DataFrame(X[:8])], "x is an iterator of tables, and a stream has arrays; call the"),
        ([], "x is empty: an iterator with 0 sample"),
    ],
)
def test_an_iterator_of_something_else_says_what_it_must_give(batches: Any, says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        Linear().fit(X, Y).predict(iter(batches))


def test_elements_of_four_parts_are_refused() -> None:
    four = tf.data.Dataset.from_tensor_slices((X, Y, WEIGHT, WEIGHT)).batch(BATCH)
    with pytest.raises(ValueError, match=r"x: its elements have 4 parts; they must be \(x,\)"):
        Linear().fit(four)


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("prefetched", [True, False])
def test_learning_from_an_endless_stream_begins_no_further_repetition(
    batched: bool, prefetched: bool
) -> None:
    read: list[int] = []

    def note(i: Any) -> Any:
        read.append(int(i))
        return i

    def row(i: Any) -> Any:
        found = tf.cast(tf.py_function(note, [i], tf.int64), tf.float32)
        return tf.ensure_shape(found[None], [1])

    rows = tf.data.Dataset.range(12).map(row)
    endless = (rows.batch(4) if batched else rows).repeat()
    if prefetched:
        endless = endless.prefetch(2)
    stream = Stream.of(endless, batch_size=4, name="x", most=3)

    def count(action: Callable[[], Any]) -> int:
        read.clear()
        action()
        time.sleep(0.2)  # a thread that reads ahead would read more
        return len(read)

    assert count(stream.first) == 4
    assert count(lambda: list(stream.part(0))) == 12
    mapped = stream.map(lambda x: (x + 1,))
    assert count(lambda: list(mapped.first_batches(2).part(0))) == 8
    assert count(lambda: list(mapped.part(0))) == 12


def test_fits_on_an_endless_shuffled_stream_repeat_their_numbers() -> None:
    def fitted() -> Any:
        stream = dataset(X, Y).shuffle(ROWS, seed=3).batch(BATCH).repeat()
        return Linear().fit(stream, steps_per_epoch=3).model_.get_weights()[0]

    first, *others = (fitted() for _ in range(8))
    for other in others:
        np.testing.assert_array_equal(other, first)
