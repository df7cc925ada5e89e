"""Streams: tf.data.Dataset and keras.utils.PyDataset as batches of (x, y, sample_weight).

Responsible for recognising streams, batching those of single rows, and re-raising errors from
user code inside one. Not for rows in memory (`arrays`, `engine.feeds`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from trainer.data.arrays import check_dense, leaves, map_tree
from trainer.data.endless import is_endless

# A pass that learns something of a stream of unknown length ends with an error after that many
# batches: memory would grow until none is left if there were no end.
MOST_BATCHES = 100_000
NEGATIVE_WEIGHT = "sample_weight has a weight below 0 or NaN"  # asserted in the tf.data pipeline
UNKNOWN_LABEL = "y has a label that was not in training"  # asserted in the tf.data pipeline


def is_stream(value: Any) -> bool:
    """Return whether `value` gives batches: a tf.data.Dataset, a PyDataset, or an iterator."""
    if isinstance(value, Stream) or _is_iterator(value):
        return True
    if "tensorflow" not in sys.modules and "keras" not in sys.modules:
        return False
    import keras
    import tensorflow as tf

    return isinstance(value, (tf.data.Dataset, keras.utils.PyDataset))


def _is_iterator(value: Any) -> bool:
    return isinstance(value, Iterator)


class Stream:
    """Batches of (x,), (x, y) or (x, y, sample_weight).

    Attributes:
        dataset: A batched tf.data.Dataset with such tuples as elements.
        steps: The number of batches, or None if unknown.
        most: Of an endless stream, how many batches training reads; these are read to learn
            something from it. None: all.
        sparse: The same stream with the sparse tensors that the user gave, where it has any and
            they are made dense here.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        steps: int | None,
        name: str,
        source: _Source | _Iterated | None = None,
        most: int | None = None,
        beginning: Callable[[int], Any] | None = None,
    ) -> None:
        self.dataset = dataset
        # the data set of the first n batches, which reads no others ahead
        self._beginning = beginning or dataset.take
        self.steps = steps
        self.name = name
        self.most = most
        self.sparse: Stream | None = None
        self._source = source
        self._first: tuple[Any, ...] | None = None
        self._origin: tuple[Stream, Callable[..., tuple[Any, ...]]] | None = None

    @property
    def read_once(self) -> bool:
        """Whether its batches can be read only once, as those of a Python generator."""
        return isinstance(self._source, _Iterated)

    @classmethod
    def of(
        cls,
        value: Any,
        *,
        batch_size: int,
        name: str,
        row_rank: int | None = None,
        most: int | None = None,
    ) -> Stream:
        """Make a stream from a tf.data.Dataset, batched or not, a PyDataset or an iterator.

        Args:
            value: The data set.
            batch_size: Rows per batch, if its elements are single rows.
            name: The name of the argument, for errors.
            row_rank: The number of axes of a row of x, if known, to distinguish single rows from
                batches of a fixed size.
            most: How many batches are read at most, so that the stream may be endless; None if
                nothing limits them.

        Raises:
            ValueError: It is empty, or it is infinite and nothing limits it.
        """
        import tensorflow as tf

        if isinstance(value, Stream):
            return value
        if _is_iterator(value):
            iterated = _Iterated(value, name)
            given = cls(iterated.dataset(), steps=None, name=name, source=iterated, most=most)
            made = given._made_dense()
            return made if row_rank == 0 else made._with_columns()
        if not isinstance(value, tf.data.Dataset):
            source = _Source(value, name, endless=most is not None)
            steps = value.num_batches
            endless = None if steps is not None else most
            made = cls(source.dataset(), steps=steps, name=name, source=source, most=endless)
            return made if row_rank == 0 else made._with_columns()
        place = name.rsplit(": ", 1)[-1]
        endless = is_endless(value)
        if endless and most is None:
            raise ValueError(
                f"{name} is an infinite tf.data.Dataset; remove repeat(), pass steps_per_epoch to "
                f"fit, or write {place}.take(steps) to set the length of an epoch"
            )
        if int(value.cardinality()) == 0:
            raise ValueError(f"{name} is empty: a tf.data.Dataset with 0 sample(s)")
        _check_parts(value.element_spec, name)
        _check_dense(value.element_spec, name)
        batched, as_column = _is_batched_as(value, row_rank)

        def prepared(elements: Any) -> Any:
            made = elements.map(_as_tuple, num_parallel_calls=tf.data.AUTOTUNE)
            if not batched:
                made = made.batch(batch_size, num_parallel_calls=tf.data.AUTOTUNE)
            if as_column and _is_numbers(made.element_spec[0]):
                made = made.map(_as_column)
            return made.prefetch(tf.data.AUTOTUNE)

        def beginning(count: int) -> Any:
            elements = _without_reading_ahead(value)
            return prepared(elements.take(count if batched else count * batch_size))

        dataset = prepared(value)
        steps = int(dataset.cardinality())
        given = cls(
            dataset,
            steps=None if steps < 0 else steps,
            name=name,
            most=most if endless else None,
            beginning=beginning,
        )
        return given._made_dense()

    def _made_dense(self) -> Stream:
        """Return the stream with sparse tensors made dense, batch by batch."""
        import tensorflow as tf

        specs = tf.nest.flatten(self.dataset.element_spec)
        if not any(isinstance(spec, tf.SparseTensorSpec) for spec in specs):
            return self

        def dense(*element: Any) -> tuple[Any, ...]:
            made: tuple[Any, ...] = tf.nest.map_structure(
                lambda t: _to_dense(t) if isinstance(t, tf.SparseTensor) else t, element
            )
            return made

        made = self.map(dense)
        if self._source is not None:
            made._origin = None  # its first batch is known, as dense arrays
        made.sparse = self
        return made

    def first_batches(self, count: int) -> Stream:
        """Return a stream of the first `count` batches; it reads no others ahead."""
        if self.steps is not None and self.steps <= count:
            return self
        made = Stream(
            self._beginning(count),
            steps=None if self.steps is None and self.most is None else count,
            name=self.name,
            source=self._source,
        )
        made._first, made._origin = self._first, self._origin
        return made

    def _with_columns(self) -> Stream:
        """Return the stream with x as a column [n, 1] if it is one number for each row."""
        return self.map(_as_column) if _is_numbers(self.x_spec) else self

    @property
    def x_spec(self) -> Any:
        """The tree of tf.TensorSpec of x."""
        return self.dataset.element_spec[0]

    @property
    def y_spec(self) -> Any:
        """The tree of tf.TensorSpec of y, or None if the elements contain only x."""
        spec = self.dataset.element_spec
        return spec[1] if len(spec) > 1 else None

    @property
    def is_weighted(self) -> bool:
        """Whether the elements contain weights."""
        return len(self.dataset.element_spec) > 2

    def first(self) -> tuple[Any, ...]:
        """Return the first batch, as trees of NumPy arrays; it is read only once.

        Raises:
            ValueError: The stream is empty.
        """
        if self._first is None and self._origin is not None:
            # Starting another pass would change the shuffled order of the next one.
            import tensorflow as tf

            stream, function = self._origin
            batch = tf.data.Dataset.from_tensors(stream.first()).map(function)
            self._first = next(batch.as_numpy_iterator())
        if self._first is None and self._source is not None:
            # Stopping in the middle of a pass would leave batches in the workers' queue.
            self._first = self._source.first
        if self._first is None:
            self._first = next(iter(self._beginning(1).as_numpy_iterator()), None)
        if self._first is None:
            raise ValueError(f"{self.name} is empty: a tf.data.Dataset with 0 sample(s)")
        return self._first

    def part(self, *which: int) -> Iterable[Any]:
        """Return a re-iterable view of x (0), y (1) or the weights (2), as trees of NumPy arrays.

        For several parts it yields tuples; a part that the elements lack is None.
        """
        return _Part(self, which)

    def once(self, *which: int) -> Iterator[Any]:
        """Read the parts as `part` does, but only once, as a Python generator allows."""
        return _Part(self, which).read()

    def map(self, function: Callable[..., tuple[Any, ...]]) -> Stream:
        """Return a stream with `function(x, y, ...)` applied to each batch in the pipeline."""
        import tensorflow as tf

        def mapped(dataset: Any) -> Any:
            made = dataset.map(function, num_parallel_calls=tf.data.AUTOTUNE)
            return made.prefetch(tf.data.AUTOTUNE)

        made = Stream(
            mapped(self.dataset),
            steps=self.steps,
            name=self.name,
            source=self._source,
            most=self.most,
            beginning=lambda count: mapped(self._beginning(count)),
        )
        made._origin = (self, function)
        return made

    def too_long(self) -> ValueError:
        """Return the error of a stream that may have no end."""
        place = self.name.rsplit(": ", 1)[-1]
        return ValueError(
            f"{self.name} has not ended after {MOST_BATCHES:,} batches, and does not say how many "
            f"it has; write {place}.take(steps) if it has no end, and otherwise "
            f"{place}.apply(tf.data.experimental.assert_cardinality(steps))"
        )

    def around_epoch(self, begins: bool) -> None:
        """Call the epoch hook of a PyDataset at the start or end of a training pass."""
        if self._source is not None:
            self._source.around_epoch(begins)

    def stop_workers(self) -> None:
        """Abort a pass that is not part of training; the hooks of a PyDataset are not called."""
        if self._source is not None:
            self._source.stop_workers()

    def reraise(self, error: Exception, steps: int) -> None:
        """Raise the original error from user code, with the batch it occurred in, if known.

        Otherwise note the batch on `error`, which the caller raises.

        Args:
            error: What TensorFlow made of the original error.
            steps: The number of batches that had been used before it.
        """
        if self._source is not None and self._source.error is not None:
            cause, self._source.error = self._source.error, None
            raise cause from None
        if UNKNOWN_LABEL in str(error):
            raise ValueError(
                f"{UNKNOWN_LABEL}, after {steps} batches of the stream; drop such rows, or train "
                "on data with every class"
            ) from error
        if NEGATIVE_WEIGHT in str(error):
            raise ValueError(
                f"{NEGATIVE_WEIGHT}, after {steps} batches of the stream; weights must be 0 or more"
            ) from error
        error.add_note(f"raised after {steps} batches of the stream had been used")


class _Part:
    def __init__(self, stream: Stream, which: tuple[int, ...]) -> None:
        self._stream = stream
        self._which = which

    def __iter__(self) -> Iterator[Any]:
        if self._stream.read_once:
            name = self._stream.name
            raise TypeError(
                f"{name} is a Python iterator, which gives its batches only once, and something "
                f"has to be learned from {name} before training (classes, normalisation, class "
                "weights, words); pass a keras.utils.PyDataset, or "
                "tf.data.Dataset.from_generator(function, ...)"
            )
        return self.read()

    def read(self) -> Iterator[Any]:
        """Yield the batches of one pass."""
        read, most = 0, self._stream.most
        dataset = self._stream.dataset if most is None else self._stream._beginning(most)
        try:
            for batch in dataset.as_numpy_iterator():
                if self._stream.steps is None and most is None and read == MOST_BATCHES:
                    raise self._stream.too_long()
                found = tuple(batch[i] if i < len(batch) else None for i in self._which)
                yield found if len(found) > 1 else found[0]
                read += 1
        except Exception as error:
            self._stream.reraise(error, read)
            raise
        finally:
            self._stream.stop_workers()


class _Source:
    """A PyDataset read through Keras' adapter, which runs its workers.

    Attributes:
        first: Its first batch, as trees of NumPy arrays.
        error: The exception it raised in a pass, which TensorFlow passes on only as text.
    """

    def __init__(self, dataset: Any, name: str, *, endless: bool = False) -> None:
        from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter

        self.name = name
        self.first: tuple[Any, ...] | None = None
        self.error: Exception | None = None
        self._read = 0
        source = self

        class Adapter(PyDatasetAdapter):
            def _standardize_batch(self, batch: Any) -> Any:
                return source.received(super()._standardize_batch(batch))

            def _get_iterator(self) -> Iterator[Any]:
                return source.watched(super()._get_iterator())

        if dataset.num_batches == 0:
            raise ValueError(f"{name} is empty: a PyDataset with 0 sample(s)")
        if dataset.num_batches is None and not endless:
            raise ValueError(
                f"{name} is an infinite PyDataset; define its num_batches, or pass steps_per_epoch "
                "to fit"
            )
        self._adapter = Adapter(dataset)

    def dataset(self) -> Any:
        """Return the batches as a tf.data.Dataset; reads a few to determine their spec."""
        try:
            return self._adapter.get_tf_dataset().map(_as_tuple)
        except Exception as error:
            self._add_note(error)
            raise

    def received(self, batch: Any) -> Any:
        """Count a batch, and convert its text to tensors."""
        import tensorflow as tf

        for role, part in zip(("x", "y", "sample_weight"), batch, strict=False):
            for where, leaf in leaves(part, role):
                check_dense(leaf, f"the elements of {self.name}: {where}")
        if self.first is None:
            self.first = map_tree(np.asarray, _as_tuple(*batch))
        self._read += 1

        def convert(array: Any) -> Any:
            is_text = getattr(getattr(array, "dtype", None), "kind", "") in ("O", "S", "U")
            return tf.constant(array, tf.string) if is_text else array

        return map_tree(convert, batch)

    def watched(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Yield the batches, and save the exception that ends the pass."""
        self._read = 0
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except Exception as error:
                self._add_note(error)
                self.error = error
                raise
            yield batch

    def _add_note(self, error: Exception) -> None:
        error.add_note(f"raised while reading batch {self._read} of {self.name}")

    def stop_workers(self) -> None:
        """Abort a pass that is not part of training; on_epoch_end is not called."""
        if self._adapter.enqueuer is not None:
            self._adapter.enqueuer.stop()

    def around_epoch(self, begins: bool) -> None:
        """Call the PyDataset's on_epoch_begin or on_epoch_end."""
        if begins:
            self._adapter.on_epoch_begin()
        elif self._adapter._within_epoch:
            self._adapter.on_epoch_end()


class _Iterated:
    """A Python iterator of batches, read through Keras' adapter for generators.

    Attributes:
        first: Its first batch, as trees of NumPy arrays.
        error: The exception it raised, which TensorFlow passes on only as text.
    """

    def __init__(self, iterator: Iterator[Any], name: str) -> None:
        from keras.src.trainers.data_adapters.generator_data_adapter import GeneratorDataAdapter

        self.name = name
        self.error: Exception | None = None
        self._read = 0
        self._refused = False
        try:
            self._adapter = GeneratorDataAdapter(self._watched(iterator))
        except ValueError as error:
            if self.error is not None or self._refused or self._read:
                raise
            raise ValueError(f"{name} is empty: an iterator with 0 sample(s)") from error
        # Keras would give the batches that were read for the spec at each pass again.
        batches = self._adapter.generator()
        self._adapter.generator = lambda: batches
        first = self._adapter._first_batches[0]
        self.first = map_tree(lambda leaf: np.asarray(_dense(leaf)), _as_tuple(*first))

    def dataset(self) -> Any:
        """Return the batches as a tf.data.Dataset; the ones read for the spec come first."""
        return self._adapter.get_tf_dataset()

    def _watched(self, iterator: Iterator[Any]) -> Iterator[Any]:
        while True:
            try:
                batch = next(iterator)
            except StopIteration:
                return
            except Exception as error:
                error.add_note(f"raised while reading batch {self._read} of {self.name}")
                self.error = error
                raise
            if not isinstance(batch, (tuple, list)) and _has_rows(batch):
                batch = (batch,)  # x alone, as of a tf.data.Dataset
            if not isinstance(batch, tuple) or not 1 <= len(batch) <= 3:
                self._refused = True
                kind = type(batch).__name__
                parts = f" with {len(batch)} parts" if isinstance(batch, tuple) else ""
                raise ValueError(
                    f"{self.name} is an iterator of {kind}{parts}; it must give batches: x (an "
                    "array, or a dict of them), or tuples (x,), (x, y) or (x, y, sample_weight)"
                )
            self._read += 1
            while len(batch) > 1 and batch[-1] is None:  # as of Keras' own adapters
                batch = batch[:-1]
            for role, part in zip(("x", "y", "sample_weight"), batch, strict=False):
                for where, leaf in leaves(map_tree(_dense, part), role):
                    if hasattr(leaf, "iloc") and hasattr(leaf, "columns"):
                        raise TypeError(
                            f"{self.name} is an iterator of tables, and a stream has arrays; call "
                            "the method for each table, or give table.to_numpy() in each batch"
                        )
                    check_dense(leaf, f"the elements of {self.name}: {where}")
            yield batch

    def stop_workers(self) -> None:
        """Do nothing: there are none."""

    def around_epoch(self, begins: bool) -> None:
        """Do nothing: an iterator has no hooks."""


def _has_rows(batch: Any) -> bool:
    """Return whether what an iterator gave is an array of several rows, or a dict of them."""
    shapes = [getattr(leaf, "shape", ()) for _, leaf in leaves(batch, "x")]
    return bool(shapes) and all(len(shape) > 0 for shape in shapes)


def _dense(leaf: Any) -> Any:
    """Return a sparse matrix or tensor of a batch as a dense array; anything else unchanged."""
    if hasattr(leaf, "nnz") and hasattr(leaf, "toarray"):
        return leaf.toarray()
    if hasattr(leaf, "nse") and hasattr(leaf, "todense"):  # of JAX
        return np.asarray(leaf.todense())
    return _to_dense(leaf).numpy() if type(leaf).__name__ == "SparseTensor" else leaf


def _to_dense(tensor: Any) -> Any:
    import tensorflow as tf

    dense = tf.sparse.to_dense(tf.sparse.reorder(tensor))  # SciPy's may be in any order
    return tf.ensure_shape(dense, tensor.shape)


def _check_parts(spec: Any, name: str) -> None:
    """Refuse elements of more parts than x, y and weights."""
    if isinstance(spec, tuple) and len(spec) > 3:
        raise ValueError(
            f"{name}: its elements have {len(spec)} parts; they must be (x,), (x, y) or (x, y, "
            "sample_weight); several inputs are one x, ((a, b), y) or ({'a': a, 'b': b}, y)"
        )


def _check_dense(spec: Any, name: str) -> None:
    """Refuse elements that are ragged tensors."""
    parts = spec if isinstance(spec, tuple) else (spec,)
    for role, part in zip(("x", "y", "sample_weight"), parts, strict=False):
        for where, leaf in leaves(part, role):
            if type(leaf).__name__ != "SparseTensorSpec":
                check_dense(leaf, f"the elements of {name}: {where}")


def _is_numbers(spec: Any) -> bool:
    """Return whether x is one number for each row of a batch."""
    shape = getattr(spec, "shape", None)
    return (
        shape is not None and shape.rank == 1 and (spec.dtype.is_floating or spec.dtype.is_integer)
    )


def _as_column(x: Any, *rest: Any) -> tuple[Any, ...]:
    return (x[:, None], *rest)


def _as_tuple(*element: Any) -> tuple[Any, ...]:
    return element


def _without_reading_ahead(dataset: Any) -> Any:
    """Return a data set without a last prefetch(), whose maps are not made parallel.

    Behind a repeat() these would begin a further repetition, and with it draw the next order of a
    shuffle(), or not, as their threads happen to be scheduled. A map that the user made parallel
    stays so.
    """
    import tensorflow as tf

    while type(dataset).__name__ == "_PrefetchDataset":
        (dataset,) = dataset._inputs()
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    return dataset.with_options(options)


def _is_batched_as(value: Any, row_rank: int | None) -> tuple[bool, bool]:
    """Return whether elements are batches, and whether x, if it is numbers, becomes a column."""
    dataset = value.map(_as_tuple)
    x = dataset.element_spec[0]
    if row_rank == 1 and _is_numbers(x) and (x.shape[0] is None or _ends_in_batches(dataset)):
        row_rank = None  # trained on one number for each row, of which this is a batch
    return _is_batched(dataset, row_rank), row_rank != 0


def _is_batched(dataset: Any, row_rank: int | None) -> bool:
    """Return whether the elements of a data set are batches.

    Known by the rank of a row, or by how the data set was made; otherwise all parts of an element
    must have the same leading dimension.
    """
    import keras

    spec = dataset.element_spec
    x = spec[0]
    if hasattr(x, "shape") and x.shape.rank is not None and row_rank is not None:
        return bool(x.shape.rank > row_rank)
    shapes = [s.shape for s in keras.tree.flatten(spec)]
    if any(s.rank == 0 for s in shapes):
        return False
    if any(s.rank is None for s in shapes):
        return True
    leading = {s[0] for s in shapes}
    if len(leading) > 1:
        return False
    if None in leading or _ends_in_batches(dataset):
        return True
    if hasattr(x, "shape") and x.shape.rank == 1:
        return False  # a batch of vectors has two axes
    return len(shapes) > 1


def _ends_in_batches(dataset: Any) -> bool:
    """Return whether what makes the elements of a data set last is a batch().

    The shapes do not say so of batches of numbers with drop_remainder=True: a row of 16 columns
    has the shape of a batch of 16 numbers.
    """
    kind = type(dataset).__name__
    inputs = dataset._inputs()
    if kind == "_DirectedInterleaveDataset":
        inputs = inputs[1:]  # the first one says which of the others is next
    elif any(part in kind for part in ("Unbatch", "FlatMap", "Interleave", "Window")):
        return False  # their elements are not those of their inputs
    if "Batch" in kind:
        return True
    return bool(inputs) and all(_ends_in_batches(each) for each in inputs)
