"""Metrics of Keras for a classifier: of labels and probabilities, in whatever form these are.

Responsible for what a metric's name means for a classifier, and for giving each metric y and the
outputs in the form that it takes. Not for the names that Keras knows (`compile`), or for how
outputs are read (`probabilities`). Imports Keras: import this module only where a model is built.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from trainer.network.probabilities import Reading

# The forms of y and the outputs that a metric takes. "chosen": a 0/1 column for each class, or of
# two classes one for the positive; "columns": the same with probabilities; "one-hot" and "sparse":
# probabilities of all classes, with one-hot rows or class indices; "raw": the outputs as they are.
_FORMS = {
    "auc": "columns",
    "binary_accuracy": "columns",
    "binary_crossentropy": "columns",
    "binary_io_u": "columns",
    "categorical_accuracy": "one-hot",
    "categorical_crossentropy": "one-hot",
    "kl_divergence": "one-hot",
    "sparse_categorical_accuracy": "sparse",
    "sparse_categorical_crossentropy": "sparse",
    "sparse_top_k_categorical_accuracy": "sparse",
    "top_k_categorical_accuracy": "one-hot",
}
_COUNTED: dict[str, Callable[..., Any]] = {
    "precision": lambda tp, said, true, rows: _ratio(tp, said),
    "recall": lambda tp, said, true, rows: _ratio(tp, true),
    "f1_score": lambda tp, said, true, rows: _ratio(2 * tp, said + true),
    "fbeta_score": lambda tp, said, true, rows: _ratio(2 * tp, said + true),  # Keras' beta is 1
    "true_positives": lambda tp, said, true, rows: tp,
    "false_positives": lambda tp, said, true, rows: said - tp,
    "false_negatives": lambda tp, said, true, rows: true - tp,
    "true_negatives": lambda tp, said, true, rows: rows - said - true + tp,
}
# In whatever spelling they were given: FBetaScore is f_beta_score for Keras, too.
_USUAL = {name.replace("_", ""): name for name in (*_FORMS, *_COUNTED, "crossentropy", "ce")}
_USUAL["bce"], _USUAL["kld"] = "binary_crossentropy", "kl_divergence"
_DOWN = ("false_positives", "false_negatives")


def _ratio(part: Any, whole: Any) -> Any:
    return ops.divide_no_nan(part, whole)


def for_classes(metric: Any, reading: Reading, *, one_hot: bool) -> Any:
    """Return a metric of one output, of labels and probabilities if it was given by its name.

    Args:
        metric: A name that Keras knows, a function or a keras.metrics.Metric.
        reading: How to read the output.
        one_hot: Whether the targets are one-hot rows.
    """
    view = _View(reading, one_hot)
    if isinstance(metric, str):
        return _named(metric, view)
    if not view.one_unit or not isinstance(metric, keras.metrics.Metric):
        return metric
    # These take a column for each unit, or the classes as columns, and y has shape (n,).
    if isinstance(metric, keras.metrics.FBetaScore):
        if metric.threshold is None:
            kind = type(metric).__name__
            warnings.warn(
                f"metrics=[{kind}()]: without a threshold it counts the largest output of each "
                f"row, and of a single output every row; write {kind}(threshold=0.5), or "
                "'f1_score'",
                stacklevel=2,
            )
        return OfClasses(metric, view, "raw", metric.name)
    if isinstance(metric, keras.metrics.TopKCategoricalAccuracy):
        return OfClasses(metric, view, "one-hot", metric.name)
    if isinstance(metric, keras.metrics.SparseTopKCategoricalAccuracy):
        return OfClasses(metric, view, "sparse", metric.name)
    return metric


def _named(given: str, view: _View) -> Any:
    reading = view.reading
    if given.lower() in ("accuracy", "acc"):
        if not view.one_unit and reading.exclusive:
            return given  # Keras compares the largest output with y
        threshold = 0.5 if reading.meaning == "probabilities" else 0.0
        return keras.metrics.MeanMetricWrapper(
            keras.metrics.binary_accuracy, name=given, threshold=threshold
        )
    name = _USUAL.get(given.lower().replace("_", ""), given)
    if name in ("crossentropy", "ce"):
        sparse = reading.exclusive and not view.one_unit
        name = "sparse_categorical_crossentropy" if sparse else "binary_crossentropy"
    if name in _COUNTED:
        of_keras = view.columns == 1 and name not in ("f1_score", "fbeta_score")
        return OfClasses(
            keras.metrics.get(name)
            if of_keras
            else Counted(name, view.columns, exclusive=reading.exclusive),
            view,
            "chosen",
            given,
        )
    if name == "auc":
        inner = MeanAUC(num_labels=view.columns) if view.columns > 1 else keras.metrics.AUC()
        return OfClasses(inner, view, "columns", given)
    form = _FORMS.get(name)
    if form is None or (form in ("one-hot", "sparse") and not reading.exclusive):
        # The errors of numbers, and hinges: of the outputs as they are.
        if not reading.exclusive or view.one_hot or view.one_unit:
            return given
        form = "raw"
    inner = keras.metrics.get(name)
    if not isinstance(inner, keras.metrics.Metric):
        inner = keras.metrics.MeanMetricWrapper(inner)
    return OfClasses(inner, view, form, given)


@dataclass(frozen=True)
class _View:
    """How targets and outputs become what a metric takes."""

    reading: Reading
    one_hot: bool

    @property
    def one_unit(self) -> bool:
        """Whether two classes have a single unit."""
        return self.reading.exclusive and self.reading.units == 1

    @property
    def columns(self) -> int:
        """The number of columns: one for each class or label, one for two classes."""
        return self.reading.classes if self.reading.positive is None else 1

    def __call__(self, form: str, y: Any, output: Any) -> tuple[Any, Any]:
        classes = self.reading.classes
        if not self.reading.exclusive:
            if form == "chosen":
                return y, ops.cast(self._probabilities(output) > 0.5, output.dtype)
            return y, output if form == "raw" else self._probabilities(output)
        index = ops.argmax(y, axis=-1) if self.one_hot else ops.cast(ops.reshape(y, (-1,)), "int32")
        if form == "raw":
            rows = ops.expand_dims(index, -1) if self.one_unit else ops.one_hot(index, classes)
            return ops.cast(rows, output.dtype), output
        both = self._probabilities(output)
        if self.one_unit:
            both = ops.concatenate([1 - both, both], axis=-1)
        if form == "sparse":
            return index, both
        rows = ops.one_hot(index, classes, dtype=output.dtype)
        if form == "one-hot":
            return rows, both
        if form == "chosen":
            largest = ops.argmax(both if self.one_unit else output, axis=-1)
            both = ops.one_hot(largest, classes, dtype=output.dtype)
        if self.reading.positive is not None:
            at = slice(self.reading.positive, self.reading.positive + 1)
            return rows[:, at], both[:, at]
        return rows, both

    def _probabilities(self, output: Any) -> Any:
        """Return what `probabilities.as_probabilities` does, in a graph."""
        joint = self.reading.exclusive and not self.one_unit
        if self.reading.meaning == "logits":
            return ops.softmax(output, axis=-1) if joint else ops.sigmoid(output)
        if self.reading.meaning == "scores":
            return (1 + output) / 2
        if not joint:
            return ops.clip(output, 0, 1)
        above = ops.maximum(output, 0)
        return ops.divide_no_nan(above, ops.sum(above, axis=-1, keepdims=True))


@keras.saving.register_keras_serializable("trainer")
class OfClasses(keras.metrics.Metric):  # type: ignore[misc, unused-ignore]
    """A metric that gets y and the outputs of a classifier in the form that it takes.

    Args:
        metric: The metric.
        view: How to convert them.
        form: To what.
        name: The name of the log.

    Attributes:
        of_classes: True, by which the class is known without importing Keras.
    """

    of_classes = True

    def __init__(self, metric: Any, view: _View, form: str, name: str) -> None:
        super().__init__(name=name, dtype=metric.dtype)
        self.metric = metric
        self.view = view
        self.form = form
        if hasattr(metric, "_direction"):
            self._direction = metric._direction  # by which callbacks know what is better

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch."""
        y, found = self.view(self.form, ops.convert_to_tensor(y_true), y_pred)
        self.metric.update_state(y, found, sample_weight=sample_weight)

    def result(self) -> Any:
        """Return the metric's value."""
        return self.metric.result()

    def reset_state(self) -> None:
        """Start again from zero."""
        self.metric.reset_state()


class Counted(keras.metrics.Metric):  # type: ignore[misc, unused-ignore]
    """A metric that follows from counts for each class: precision, recall and their kin.

    The mean over classes is scikit-learn's macro average: of exclusive classes, those count that
    are in y or in the predictions.

    Args:
        kind: The name of the metric.
        columns: The number of columns of 0 and 1.
        exclusive: Whether each row has one class.
    """

    def __init__(self, kind: str, columns: int, exclusive: bool) -> None:
        super().__init__(name=kind)
        self.kind = kind
        self.exclusive = exclusive
        self._direction = "down" if kind in _DOWN else "up"
        self.both = self.add_variable((columns,), "zeros", name="both")
        self.said = self.add_variable((columns,), "zeros", name="said")
        self.true = self.add_variable((columns,), "zeros", name="true")
        self.rows = self.add_variable((), "zeros", name="rows")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch of 0/1 columns."""
        y, said = ops.cast(y_true, self.dtype), ops.cast(y_pred, self.dtype)
        weight = ops.ones_like(y[:, 0])
        if sample_weight is not None:
            weight = ops.reshape(ops.cast(sample_weight, self.dtype), (-1,))
        column = ops.expand_dims(weight, -1)
        self.both.assign_add(ops.sum(column * y * said, axis=0))
        self.said.assign_add(ops.sum(column * said, axis=0))
        self.true.assign_add(ops.sum(column * y, axis=0))
        self.rows.assign_add(ops.sum(weight))

    def result(self) -> Any:
        """Return the mean over the classes."""
        values = _COUNTED[self.kind](self.both, self.said, self.true, self.rows)
        if values.shape[0] == 1 or not self.exclusive:
            return ops.mean(values)
        occurs = ops.cast(self.said + self.true > 0, self.dtype)
        return ops.divide_no_nan(ops.sum(values * occurs), ops.sum(occurs))


class MeanAUC(keras.metrics.AUC):  # type: ignore[misc, unused-ignore]
    """The mean AUC of each class against the others, of those for which y has both."""

    def __init__(self, num_labels: int) -> None:
        super().__init__(multi_label=True, num_labels=num_labels)

    def result(self) -> Any:
        """Return the mean."""
        with_it = self.true_positives[0] + self.false_negatives[0]
        without = self.false_positives[0] + self.true_negatives[0]
        self.label_weights = ops.cast(ops.logical_and(with_it > 0, without > 0), self.dtype)
        try:
            return super().result()
        finally:
            self.label_weights = None
