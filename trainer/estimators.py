"""Classifier and Regressor: Trainers for classification and regression.

Responsible for scores, probabilities, and the methods that plot predictions. Not for the tasks
(`tasks`) or the training (`base`, `engine`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score

from trainer.base import Trainer
from trainer.data import arrays, preparation, thresholds
from trainer.data.arrays import Tree, map_tree
from trainer.data.preparation import MissingTargets
from trainer.data.streams import Stream
from trainer.data.targets import Classes, Targets
from trainer.data.writing import Out
from trainer.network import probabilities
from trainer.network.network import Network
from trainer.tasks import Classification, Regression
from trainer.utils import checks

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Classifier(ClassifierMixin, Trainer):
    """A Trainer for binary, multiclass and multi-label classification.

    Labels may be strings, booleans or whole numbers, which need not be contiguous; y has shape
    (n,), or is a 0/1 matrix (n, n_labels) for multi-label classification, or a dict or tuple of
    these for several outputs.

        >>> from sklearn.datasets import load_iris
        >>> x, y = load_iris(return_X_y=True)
        >>> Classifier(epochs=30, random_state=0).fit(x, y).score(x, y) > 0.9
        True

    After fit, classes_ has the sorted labels (nested for several outputs).

    The default loss is a crossentropy that fits the model's outputs: a softmax over the classes,
    a single sigmoid unit for two classes, sigmoids for multi-label, or the logits of these. The
    default metric is accuracy.

    Metrics given by name ("auc", "precision", "recall", "f1_score", ...) are computed from labels
    and probabilities, whatever the form of y and the outputs: with two classes for pos_label, with
    more as the macro average.

    Attributes:
        from_logits: Whether the outputs of the network are logits, or scores about zero (True), or
            probabilities (False). None: determined by the last layer and the loss; fit raises an
            error if these do not settle it.
        pos_label: With two classes, the one that precision, recall and other metrics by name are
            computed for. None: the last of classes_.
        decision_threshold: The probability above which pos_label is predicted, or each label of
            a multi-label y: a number above 0 and below 1, or the name of a metric of labels
            ("f1", "balanced_accuracy", "accuracy", "precision_macro", ...: scikit-learn's
            scorers) for which it is tuned on the validation rows when training has ended; then
            validation_split or validation_data is needed. With several labels per row each has
            a threshold of its own, tuned separately. predict, score and the confusion matrix use
            it; the metrics of evaluate and of the history are those of Keras, with thresholds of
            their own. None: the most probable class.

    After fit, decision_threshold_ has the threshold in use.
    """

    from_logits: bool | None = None
    pos_label: Any = None
    decision_threshold: float | str | None = None

    @property
    def decision_threshold_(self) -> float | np.ndarray | None:
        """The threshold that predict uses: of two classes a number, of several labels [n_labels].

        It is the number given or found. None without the field decision_threshold: predict
        returns the most probable class, and labels with a probability above 0.5.

        Raises:
            sklearn.exceptions.NotFittedError: before fit.
        """
        labels = self._classes(self.network_.targets).labels
        found = getattr(labels, "thresholds", None)
        if found is None:
            return None
        return np.array(found) if labels.kind == "multilabel" else float(found[0])

    def predict(
        self,
        x: Any,
        *,
        batch_size: int | None = None,
        steps: int | None = None,
        callbacks: Any = (),
        extra_columns: str = "raise",
        out: Out | None = None,
    ) -> Any:
        """Predict labels; with decision_threshold, by that threshold.

        Args:
            x: As for Trainer.predict.
            batch_size: As for Trainer.predict.
            steps: As for Trainer.predict.
            callbacks: As for Trainer.predict.
            extra_columns: As for Trainer.predict.
            out: As for Trainer.predict; of the dtype of classes_.

        Returns:
            Labels [n], in the form of y; nested for several outputs.
        """
        self._warn_if_untuned()
        return super().predict(
            x,
            batch_size=batch_size,
            steps=steps,
            callbacks=callbacks,
            extra_columns=extra_columns,
            out=out,
        )

    def _y_like(self, outputs: Tree) -> Any:
        """Labels from 0 to n - 1 for an output of n columns: see Trainer."""
        return map_tree(lambda a: np.resize(np.arange(max(2, a.shape[-1])), len(a)), outputs)

    def _warn_if_untuned(self) -> None:
        if isinstance(self.decision_threshold, str) and self.decision_threshold_ is None:
            warnings.warn(
                f"decision_threshold={self.decision_threshold!r}: was not tuned, as no fit with it "
                "has ended; predictions use 0.5 until fit is called",
                stacklevel=3,
            )

    def predict_proba(
        self,
        x: Any,
        *,
        batch_size: int | None = None,
        extra_columns: str = "raise",
        out: Out | None = None,
    ) -> Any:
        """Predict probabilities.

        Args:
            x: As for predict.
            batch_size: As for predict.
            extra_columns: As for predict.
            out: As for predict; [n, n_classes] of the network's dtype.

        Returns:
            [n, n_classes] in the order of classes_; for multi-label the probability of each
            label, [n, n_labels]; nested for several outputs.
        """
        return self.predict_with(
            lambda outputs: self._classes(self.network_.targets).probabilities(outputs),
            x,
            batch_size=batch_size,
            extra_columns=extra_columns,
            out=out,
        )

    def score(self, x: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the accuracy, averaged over the outputs if there are several.

        Args:
            x: As for fit.
            y: As for fit; None for a stream.
            sample_weight: Row weights, [n].
        """
        self.initialize_given(x, y)
        return _mean_score(self, self._chosen, x, y, sample_weight, _accuracy)

    def _chosen(self, x: Any) -> Any:
        """Predict labels, also where y has one-hot rows."""
        self._warn_if_untuned()
        return self.predict_with(lambda o: self._classes(self.network_.targets).choose(o), x)

    def plot_confusion_matrix(self, x: Any, y: Any, **options: Any) -> Axes:
        """Plot a confusion matrix; see trainer.plots.plot_confusion_matrix.

        Here class_names are the names of classes_, in that order, as in Dataset.class_names.
        """
        from trainer import plots

        found = (self._without_rows(y), self._chosen(x))
        true, predicted = (self._named(labels, options) for labels in found)
        return plots.plot_confusion_matrix(true, predicted, **options)

    def plot_roc(self, x: Any, y: Any, **options: Any) -> Axes:
        """Plot ROC curves; see trainer.plots.plot_roc.

        Here class_names are the names of classes_, in that order; the curve of two classes is that
        of pos_label.
        """
        from trainer import plots

        return plots.plot_roc(*self._scored(x, y, options), **options)

    def plot_precision_recall(self, x: Any, y: Any, **options: Any) -> Axes:
        """Plot precision-recall curves; see trainer.plots.plot_precision_recall, and plot_roc."""
        from trainer import plots

        return plots.plot_precision_recall(*self._scored(x, y, options), **options)

    def plot_calibration(self, x: Any, y: Any, **options: Any) -> Axes:
        """Plot calibration curves; see trainer.plots.plot_calibration, and plot_roc."""
        from trainer import plots

        return plots.plot_calibration(*self._scored(x, y, options), **options)

    def _scored(self, x: Any, y: Any, options: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """Return y as 0/1 columns, one for each curve, and their probabilities; name the curves."""
        labels = self._classes(self.network_.targets).labels
        if arrays.is_nested(labels):
            raise ValueError(
                "y has several outputs, and a plot is of one; pass the labels and probabilities of "
                "one to the function of this name in trainer.plots"
            )
        from trainer import plots

        names = options.pop("class_names", None)
        names = list(map(str, labels.classes.tolist())) if names is None else plots.names_of(names)
        given = self.predict_proba(x)
        encoded = labels.encode(y, "y")
        if len(names) != labels.n_classes:
            raise ValueError(
                f"class_names={names!r}: must have a name for each of the {labels.n_classes} "
                "classes or labels, in the order of classes_"
            )
        if encoded.ndim == 1:
            encoded = np.eye(labels.n_classes, dtype=np.float32)[encoded]
        if labels.kind != "multilabel" and labels.n_classes == 2:
            positive = next(iter(self.network_.readings.values())).positive or 0
            columns = [positive]
            encoded, given, names = encoded[:, columns], given[:, columns], [names[positive]]
        options["class_names"] = names
        return encoded.astype(np.int64), np.asarray(given)

    def plot_images(self, x: Any, y: Any = None, **options: Any) -> Any:
        """Plot images with their true and predicted classes; see trainer.plots.plot_images.

        Here class_names are the names of classes_, in that order, as in Dataset.class_names.
        """
        from trainer import plots

        rows, columns = options.get("rows", 3), options.get("columns", 6)
        for name, value in (("rows", rows), ("columns", columns)):
            checks.integer(name, value, low=1, example=3)
        x = x[: rows * columns]
        true = None if y is None else self._named(self._without_rows(y[: len(x)]), options)
        return plots.plot_images(x, true, self._named(self._chosen(x), options), **options)

    def _without_rows(self, y: Any) -> Any:
        """Return one-hot rows, if training had such, as labels."""
        labels = self._classes(self.network_.targets).labels
        if not getattr(labels, "rows", False) or np.ndim(y) != 2:
            return y
        return labels.classes[np.asarray(y).argmax(axis=1)]

    def _named(self, labels: Any, options: dict[str, Any]) -> Any:
        """Return integer labels as names if they are not 0 to n - 1.

        Needed because in `plots`, class_names[i] is the name of label i.
        """
        from trainer import plots

        names, classes = options.get("class_names"), self.classes_
        names = None if names is None else plots.names_of(names)
        if names is None or not isinstance(classes, np.ndarray) or classes.dtype.kind not in "iu":
            return labels
        counted = np.array_equal(classes, np.arange(len(classes)))
        if counted or len(names) != len(classes) or not np.isin(labels, classes).all():
            return labels
        return np.array(names, dtype=str)[np.searchsorted(classes, labels)]

    # ---- the parts of a fit ------------------------------------------------------------------

    def missing_targets(self) -> MissingTargets:
        """What is done with rows that have no label: no loss sees one."""
        return MissingTargets(self.missing_target)

    def configure_task(self) -> Classification:
        """Return the task."""
        own = type(self).configure_loss is not Trainer.configure_loss
        return Classification(
            self.configure_loss() if own else self.loss,
            from_logits=self.from_logits,
            pos_label=self.pos_label,
            decision_threshold=self.decision_threshold,
            **self.task_options(),
        )

    def _check_values(self) -> None:
        thresholds.check("decision_threshold", self.decision_threshold)
        super()._check_values()

    def adopt(self, network: Network, history: Any, seed: int) -> None:
        """Become fitted with a network, and know its classes."""
        super().adopt(network, history, seed)
        self.classes_ = self._classes(network.targets).classes

    @staticmethod
    def _classes(targets: Targets) -> Classes:
        if not isinstance(targets, Classes):
            raise TypeError(f"a Classifier's targets must be Classes, not {type(targets).__name__}")
        return targets

    def _read(self, outputs: Tree) -> Tree:
        return probabilities.as_probabilities(outputs, self.network_.readings)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.target_tags.multi_output = True
        return tags


class Regressor(RegressorMixin, Trainer):
    """A Trainer for regression: y has shape (n,) or (n, n_columns), or is a dict or tuple of these.

        >>> from sklearn.datasets import load_diabetes
        >>> x, y = load_diabetes(return_X_y=True)
        >>> Regressor(epochs=30, random_state=0).fit(x, y).score(x, y) > 0.4
        True

    Ready-made architectures learn standardised y and predict in the units of y; their default loss
    is the squared error in units of y's variance, so that predicting the mean has a loss of 1. A
    custom build_model learns y unchanged, with mean squared error. The default metric is the mean
    absolute error, in the units of y.
    """

    def score(self, x: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return R squared, averaged over the outputs if there are several.

        Args:
            x: As for fit.
            y: As for fit; None for a stream.
            sample_weight: Row weights, [n].
        """
        self.initialize_given(x, y)
        return _mean_score(self, self.predict, x, y, sample_weight, _r2)

    def plot_residuals(self, x: Any, y: Any, **options: Any) -> Axes:
        """Plot residuals against predictions; see trainer.plots.plot_residuals."""
        from trainer import plots

        return plots.plot_residuals(y, self.predict(x), **options)

    def plot_forecast(
        self,
        x: Any,
        y: Any = None,
        *,
        row: int = 0,
        column: int = 0,
        times: Any = None,
        **options: Any,
    ) -> Axes:
        """Plot the forecast of one window of a series; see trainer.plots.plot_forecast.

        Args:
            x: Windows [n, past, columns]; see datasets.windows.
            y: The true values, [n, horizon] or [n, horizon, targets]; None if they are unknown.
            row: Which window.
            column: Which column of x, and which target if y has several.
            times: The times of y, [n, horizon], such as Windows.times.test.
            **options: As for plots.plot_forecast.

        Raises:
            ValueError: x is not made of windows, there is no such row or column, or y or times do
                not have as many rows as x.
        """
        from trainer import plots

        shape = np.shape(x)
        if len(shape) != 3:
            raise ValueError(
                f"x has shape {shape}: must be windows [n, past, columns]; write x[None] for one"
            )
        for name, value, n in (("row", row, shape[0]), ("column", column, shape[2])):
            if not checks.integer(name, value, low=0, example=0) < n:
                raise ValueError(f"{name}={value!r}: x has {n}; write {name}=0, for example")
        for name, values in (("y", y), ("times", times)):
            if values is not None and np.shape(values)[:1] != shape[:1]:
                n = len(values) if np.ndim(values) else "no"
                raise ValueError(
                    f"{name} has {n} rows and x has {shape[0]}: write the {name} of the same "
                    "windows, such as *data.test with times=data.times.test"
                )
        one = np.asarray(x)[row : row + 1]
        found = np.asarray(self.predict(one))[0]
        target = min(column, found.shape[-1] - 1) if found.ndim == 2 else None

        def of_target(values: Any) -> np.ndarray:
            own = np.atleast_1d(np.asarray(values))
            return own if target is None else own[:, target]

        return plots.plot_forecast(
            one[0, :, column],
            None if y is None else of_target(np.asarray(y)[row]),
            of_target(found),
            times=None if times is None else np.atleast_1d(np.asarray(times)[row]),
            **options,
        )

    def configure_task(self) -> Regression:
        """Return the task."""
        return Regression(**self.task_options())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _mean_score(
    trainer: Trainer,
    predict: Callable[[Any], Any],
    x: Any,
    y: Any,
    weight: Any,
    metric: Callable[..., float],
) -> float:
    rows: Any = preparation.collect(
        trainer.network_.inputs.as_table(x),
        y,
        weight,
        batch_size=trainer.resolved_.batch_size,
        needs_y=type(trainer).__name__,
        missing=MissingTargets(trainer.missing_target),
    )
    if isinstance(rows, Stream):
        # A single pass for both: a shuffled stream changes its order in each pass.
        pairs = [(predict(arrays.decoded(x)), target) for x, target in rows.part(0, 1)]
        predicted = arrays.concatenate([found for found, _ in pairs])
        y = arrays.concatenate([target for _, target in pairs])
        _check_truth(trainer.network_.targets, y)
    else:
        y, weight = rows.y, rows.weight
        _check_truth(trainer.network_.targets, y)
        _check_row_weights(weight)
        predicted = predict(rows.x)
    if isinstance(y, list) or not arrays.is_nested(y):
        return float(metric(y, predicted, sample_weight=weight))
    truth, found = dict(arrays.leaves(y, "y")), dict(arrays.leaves(predicted, "y"))
    weights = dict.fromkeys(found, weight)
    if arrays.is_nested(weight):
        weights = dict(arrays.leaves(weight, "y"))
    return float(np.mean([metric(truth[n], found[n], sample_weight=weights[n]) for n in found]))


def _check_truth(targets: Targets, y: Any) -> None:
    """Refuse y of another form than in training; labels may be others, which count as wrong."""
    if isinstance(targets, Classes):
        targets.check(y, "y")
        return
    for name, leaf in arrays.leaves(targets.encode(y, "y"), "y"):
        arrays.check_finite(leaf, name)


def _check_row_weights(weight: Tree | None) -> None:
    for name, leaf in () if weight is None else arrays.leaves(weight, "sample_weight"):
        if leaf.ndim > 1:
            raise ValueError(
                f"{name} has shape {leaf.shape}: a score has one weight for each row; write "
                f"{name}.mean(axis=1), or call evaluate, which uses weights of steps"
            )


def _r2(y: Any, predicted: Any, sample_weight: Any) -> float:
    """Return R squared; targets with more than one axis count as so many columns."""
    y, predicted = np.asarray(y), np.asarray(predicted)
    if y.ndim > 2 and y.shape == predicted.shape:
        y, predicted = y.reshape(len(y), -1), predicted.reshape(len(y), -1)
    return float(r2_score(y, predicted, sample_weight=sample_weight))


def _accuracy(y: Any, predicted: np.ndarray, sample_weight: Any) -> float:
    truth = np.asarray(y)
    if truth.ndim == 2 and predicted.ndim == 1:
        # one-hot rows, or a column of labels
        truth = truth.argmax(axis=1) if truth.shape[1] > 1 else truth[:, 0]
    return float(accuracy_score(truth, predicted, sample_weight=sample_weight))
