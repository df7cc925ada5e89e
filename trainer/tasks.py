"""Tasks: how y is encoded, and the default loss, metrics and weights that follow from it.

Responsible for the differences between classification, regression and custom tasks. Not for
encoding labels (`labels`), the structure of y (`targets`), or training.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from trainer.data import arrays, preparation, targets, thresholds
from trainer.data.arrays import Tree
from trainer.data.labels import Labels, known_labels
from trainer.data.preparation import Rows
from trainer.data.streams import Stream
from trainer.data.targets import Classes, Numbers, Targets
from trainer.engine.backend import tensors
from trainer.network import compile, compiled, given, probabilities
from trainer.network.outputs import named
from trainer.network.probabilities import Reading
from trainer.utils import checks

if TYPE_CHECKING:
    import keras

    from trainer.models import ModelSpec
    from trainer.network.network import Network

_HINGE_LOSSES = ("hinge", "squaredhinge", "categoricalhinge")
_ONE_HOT_LOSSES = (
    "categoricalcrossentropy",
    "categoricalfocalcrossentropy",
    "categoricalhinge",
)


class Task:
    """A task. The base class takes numeric y unchanged, with any loss.

    To define a task, override what differs, and return an object of your class from
    `Trainer.configure_task`. The Targets returned by `learn` encode y for the network and decode
    its outputs into predictions; they are saved with the model, and loaded by `restore`.

    Args:
        name: The `spec.task` that build_model receives.
        owner: The name of the estimator, for errors.
        ready_made: Whether the network is one of the ready-made architectures.
        class_weight: As the field of Trainer.
        model: The Keras model that the user gave; None without one.

    Attributes:
        columns: The number of outputs of that model; None if it has several, or is not there.
        known: All labels, where the rows need not have them all; see Trainer.partial_fit.
    """

    needs_y: ClassVar[bool] = False
    known: Any = None

    def __init__(
        self,
        name: str = "custom",
        *,
        owner: str = "Trainer",
        ready_made: bool = False,
        class_weight: Any = None,
        model: keras.Model | None = None,
    ) -> None:
        self.name = name
        self.columns = None if model is None else given.columns(model)
        self.owner = owner
        self.ready_made = ready_made
        self.class_weight = class_weight

    def learn(self, data: Rows | Stream) -> Targets:
        """Learn the encoding of y from the training rows.

        Args:
            data: The training rows, with `y` as passed by the user, or a stream of batches.

        Raises:
            TypeError, ValueError: y does not fit the task.
        """
        self.check_keys(data)
        if (data.y_spec if isinstance(data, Stream) else data.y) is None:
            return Numbers(self.name, 1, False, None)
        if isinstance(data, Stream):
            batches = data.part(1, 2) if self.ready_made else None
            return Numbers.learn_stream(self.name, batches, data.y_spec)
        return Numbers.learn(self.name, data.y, "y", data.row_weight)

    def take_loss(self, model: keras.Model) -> bool:
        """Look at what build_model compiled its model with; return whether y must be learnt again.

        Args:
            model: The model, built for the targets that `learn` returned.
        """
        return False

    def warn_of(self, learned: Targets) -> None:
        """Warn of targets that may mean something else."""

    def check_keys(self, data: Rows | Stream) -> None:
        """Check the keys of x and y if they become names of layers in a ready-made architecture.

        Raises:
            ValueError: A key cannot be one.
        """
        if self.ready_made:
            given = (data.x_spec, data.y_spec) if isinstance(data, Stream) else (data.x, data.y)
            for name, tree in zip(("x", "y"), given, strict=True):
                if arrays.is_nested(tree):
                    arrays.check_keys(tree, name)

    def restore(self, form: Any) -> Targets:
        """Restore the Targets returned by `learn` from their to_dict()."""
        return targets.from_dict(form)

    def strata(self, data: Rows) -> np.ndarray | None:
        """Return class indices [n] to stratify a validation split by, or None."""
        return None

    def row_weights(self, learned: Targets, y: Tree | None, weight: Tree | None) -> Tree | None:
        """Return the weights of the training rows, [n], including class weights, or None.

        Args:
            learned: The Targets returned by `learn`.
            y: The encoded targets.
            weight: Sample weights, [n], [n, steps] or in the structure of y; or None.
        """
        if self.class_weight is None:
            return weight
        by_number = preparation.weights_of_numbers(self.class_weight, self.owner, y)
        return by_number if weight is None else np.asarray(by_number * weight)

    def stream_weights(self, learned: Targets, data: Stream) -> Mapping[int, float] | None:
        """Return the weight of each class index in a stream, or None; later ones have the last."""
        if self.class_weight is None:
            return None
        return preparation.table_of_numbers(self.class_weight, self.owner)

    def default_loss(
        self, model: keras.Model, spec: ModelSpec, learned: Targets, probe: Callable[[], Any]
    ) -> Any:
        """Return the default loss, in a form that keras.Model.compile accepts.

        Args:
            model: The built model.
            spec: The spec that it was built for.
            learned: The Targets returned by `learn`.
            probe: Returns the model's outputs for a few rows.

        Raises:
            ValueError: The task has no default, and the model neither computes nor adds a loss.
        """
        if compile.has_own_loss(model, probe):
            return None
        raise ValueError(
            f"loss=None: {self.owner} has no default loss; write loss='mse', for example, override "
            "compute_loss, or call add_loss in a layer"
        )

    def default_metrics(self, spec: ModelSpec, learned: Targets, loss: Any) -> Any:
        """Return the default metrics, in a form that keras.Model.compile accepts."""
        return None

    def read_outputs(
        self,
        model: keras.Model,
        spec: ModelSpec,
        learned: Targets,
        loss: Any,
        probe: Callable[..., Any],
        own_loss: Callable[[Any, Any], Any] | None,
    ) -> Mapping[str, Reading]:
        """Return how to read each output as probabilities; empty if they are only numbers.

        Args:
            model: The built model.
            spec: The spec that it was built for.
            learned: The Targets returned by `learn`.
            loss: The loss that it is compiled with.
            probe: Returns the model's outputs for a few rows.
            own_loss: Computes the loss of y and outputs where the model does not use the compiled
                loss; otherwise None.

        Raises:
            ValueError: It cannot be told how to read them.
        """
        return {}

    def read_metrics(
        self,
        metrics: Any,
        model: keras.Model,
        spec: ModelSpec,
        learned: Targets,
        readings: Mapping[str, Reading],
    ) -> Any:
        """Return the metrics as they are compiled, given how to read the outputs."""
        return metrics

    def check_validation(self, learned: Targets, valid: Rows | Stream | None) -> None:
        """Raise an error, before training, if `tune` cannot use the validation rows.

        Args:
            learned: The Targets returned by `learn`.
            valid: The validation rows, or None.

        Raises:
            ValueError: It cannot; or partial_fit was given `known` labels, and there are none, or
                they are others than those of the training before.
        """
        if self.known is not None and type(self).learn is Task.learn:
            raise ValueError(
                f"classes={self.known!r:.200}: {self.owner} has no classes; leave classes out"
            )

    def tune(self, network: Network, valid: Rows | Stream | None) -> None:
        """Choose from validation rows how predictions are read from outputs; by default nothing.

        Called when training has ended, and whenever the estimator is saved before that.

        Args:
            network: The trained network; what is chosen is kept in its targets.
            valid: The validation rows, or None.
        """


@dataclass(frozen=True)
class _Whole:
    """A dict that is one value of a tree."""

    value: Any


class Classification(Task):
    """Classification: binary, multiclass or multi-label.

    Args:
        loss: As the field of Trainer, or what configure_loss makes; some expect one-hot rows.
        from_logits: As the field of Classifier.
        pos_label: As the field of Classifier.
        decision_threshold: As the field of Classifier.
        model: As for Task; without another loss, that which it was compiled with counts.
        **options: owner, ready_made and class_weight ({label: weight} or "balanced"), as for Task.
    """

    needs_y = True

    def __init__(
        self,
        loss: Any = None,
        *,
        from_logits: bool | None = None,
        pos_label: Any = None,
        decision_threshold: float | str | None = None,
        model: keras.Model | None = None,
        **options: Any,
    ) -> None:
        super().__init__("classification", model=model, **options)
        self.decision_threshold = decision_threshold
        self.loss = loss
        self.from_logits = from_logits
        self.pos_label = pos_label
        self.one_hot = _one_hot(loss)
        if model is not None:
            self.take_loss(model)

    def take_loss(self, model: keras.Model) -> bool:
        """Take the loss that the model was compiled with, if no field or hook says another."""
        found = compiled.find(model) if self.loss is None else None
        if found is None or found.loss is None:
            return False
        self.loss, self.one_hot = found.loss, _one_hot(found.loss, model)
        return any(self.one_hot.values()) if isinstance(self.one_hot, dict) else self.one_hot

    def warn_of(self, learned: Targets) -> None:
        """Warn of rows that are taken as several labels, and look like one-hot classes."""
        for name, label in arrays.leaves(_classes(learned).labels, "y"):
            if label.may_be_one_hot:
                checks.warn(
                    f"{name}: every row has a single 1, as one-hot classes have, but rows of 0 and "
                    "1 are taken as several labels, any number of which may be true; for classes "
                    f"write {name}.argmax(axis=1), or loss='categorical_crossentropy' with a "
                    "build_model that ends in a softmax"
                )

    def learn(self, data: Rows | Stream) -> Classes:
        """Learn the classes of each output."""
        if self.from_logits is not None:
            checks.boolean("from_logits", self.from_logits)
        self.check_keys(data)
        weight = None if isinstance(data, Stream) else data.row_weight
        learned = self._learn(data, weight)
        positive = self._positive(learned)
        if self.decision_threshold is not None:
            label = self._thresholded(learned)
            label.positive = next(iter(positive.values())) or 0
            if not isinstance(self.decision_threshold, str):
                count = label.n_classes if label.kind == "multilabel" else 1
                label.thresholds = (float(self.decision_threshold),) * count
        return learned

    def _learn(self, data: Rows | Stream, weight: np.ndarray | None = None) -> Classes:
        options = {"one_hot": self.one_hot, "known": self.known, "columns": self.columns}
        if not isinstance(data, Stream):
            return Classes.learn(data.y, "y", weight=weight, **options)
        if data.read_once and (self.known is not None or self.columns is not None):
            return Classes.learn(arrays.concatenate([data.first()[1]]), "y", **options)
        return Classes.learn_stream(data.part(1), **options)

    def strata(self, data: Rows) -> np.ndarray | None:
        """Return the labels of a single output that is not multi-label, else None."""
        labels = self._learn(data).labels
        if not isinstance(labels, Labels) or labels.kind == "multilabel":
            return None
        encoded = labels.encode(data.y, "y")
        return np.asarray(labels.classes[encoded if encoded.ndim == 1 else encoded.argmax(axis=-1)])

    def row_weights(self, learned: Targets, y: Tree | None, weight: Tree | None) -> Tree | None:
        """Return sample weights times class weights."""
        if self.class_weight is None:
            return weight
        classes = _classes(learned)
        if not isinstance(classes.labels, Labels):
            return self._weights_of_outputs(classes, y, weight)
        per_row = weight if isinstance(weight, np.ndarray) and weight.ndim == 1 else None
        table = preparation.class_weights(self.class_weight, _classes(learned), y, per_row)
        values = np.array([table[i] for i in sorted(table)])
        index: Any = y
        by_class: np.ndarray = values[index if index.ndim == 1 else index.argmax(axis=-1)]
        if not by_class.any():
            raise ValueError(
                f"class_weight={self.class_weight!r}: gives every row a weight of zero; at least "
                "one class in y must have a weight above 0"
            )
        return by_class if weight is None else np.asarray(by_class * weight)

    def _weights_of_outputs(self, classes: Classes, y: Tree, weight: Tree | None) -> Tree:
        """Return sample weights times class weights, which are given for each output by name."""
        names = [name for name, _ in arrays.leaves(classes.labels, "")]
        given = self.class_weight
        by_name = (
            dict(arrays.leaves({k: _Whole(v) for k, v in given.items()}, ""))
            if isinstance(given, Mapping)
            else {}
        )
        if not by_name or not set(by_name) <= set(names):
            raise ValueError(
                f"class_weight={given!r}: y has the outputs {', '.join(names)}; write a dict with "
                "the weights of each, such as {'kind': {'rare': 5.0}} or {'kind': 'balanced'}, or "
                "pass sample_weight to fit"
            )

        def one(name: str, label: Labels) -> np.ndarray:
            encoded = dict(arrays.leaves(y, ""))[name]
            own = (
                weight
                if weight is None or hasattr(weight, "shape")
                else (dict(arrays.leaves(weight, "")).get(name))
            )
            if name not in by_name:
                return np.ones(len(encoded)) if own is None else own
            options = {"class_weight": by_name[name].value, "owner": self.owner}
            found = Classification(self.loss, **options).row_weights(Classes(label), encoded, own)
            return np.asarray(found)

        return arrays.map_named(one, classes.labels, "")

    def stream_weights(self, learned: Targets, data: Stream) -> Mapping[int, float] | None:
        """Return the weight of each class; takes one pass over the targets."""
        if self.class_weight is None:
            return None
        classes = _classes(learned)
        parts = list(data.part(1, 2)) if data.is_weighted else [(y, None) for y in data.part(1)]
        y = classes.encode(arrays.concatenate([part for part, _ in parts]), "y")
        given = [np.asarray(weight) for _, weight in parts if weight is not None]
        weight = np.concatenate(given) if given and given[0].ndim == 1 else None
        return preparation.class_weights(self.class_weight, classes, y, weight)

    def default_loss(
        self, model: keras.Model, spec: ModelSpec, learned: Targets, probe: Callable[[], Any]
    ) -> Any:
        """Return a crossentropy that fits the model's outputs."""
        kinds = _classes(learned).kinds
        several = [f"y{name}" for name, kind in kinds.items() if kind == "multilabel"]
        if self.ready_made and several and len(kinds) > 1:
            raise ValueError(
                f"{several[0]} is multi-label: the ready-made architectures do not support this "
                "together with other outputs; override build_model"
            )
        try:
            return compile.crossentropy(
                model, spec, kinds, self.one_hot is True, probe, self.from_logits
            )
        except probabilities.Unknown as error:
            raise self._unknown(error) from error

    def default_metrics(self, spec: ModelSpec, learned: Targets, loss: Any) -> Any:
        """Return the accuracy for each output."""
        return arrays.map_tree(lambda _: ["accuracy"], spec.n_outputs)

    def read_outputs(
        self,
        model: keras.Model,
        spec: ModelSpec,
        learned: Targets,
        loss: Any,
        probe: Callable[..., Any],
        own_loss: Callable[[Any, Any], Any] | None,
    ) -> Mapping[str, Reading]:
        """Return how to read each output, by its last layer and its loss."""
        labels = dict(arrays.leaves(_classes(learned).labels, ""))
        layers = list(getattr(model, "output_names", None) or ())
        losses = probabilities.by_output(loss, list(labels), layers)
        if own_loss is not None:
            losses = dict.fromkeys(labels)
        exclusive = {name: label.kind != "multilabel" for name, label in labels.items()}
        units = probabilities.units(model, spec, probe)

        def try_loss(name: str, own: Any, width: int) -> Mapping[str, float]:
            if own_loss is not None and len(labels) > 1:
                raise probabilities.Unknown("compute_loss is one for several outputs")
            if own_loss is None and own is None:
                raise probabilities.Unknown(f"y{name} has no loss")
            function = own_loss or compile.as_function(own)
            return _tried(function, self.loss, labels[name], width)

        try:
            meanings = probabilities.read(
                model,
                spec,
                exclusive,
                losses,
                units,
                from_logits=self.from_logits,
                probe=probe,
                try_loss=try_loss,
            )
        except probabilities.Unknown as error:
            raise self._unknown(error) from error
        self._check_threshold(meanings, losses if own_loss is None else {})
        positive = self._positive(_classes(learned))
        return {
            name: Reading(
                meanings[name], exclusive[name], label.n_classes, units[name], positive[name]
            )
            for name, label in labels.items()
        }

    def read_metrics(
        self,
        metrics: Any,
        model: keras.Model,
        spec: ModelSpec,
        learned: Targets,
        readings: Mapping[str, Reading],
    ) -> Any:
        """Return the metrics; those that were given by name are of labels and probabilities."""
        from trainer.network.metrics import for_classes

        labels = dict(arrays.leaves(_classes(learned).labels, ""))
        given = _by_output(metrics, list(labels), list(getattr(model, "output_names", None) or ()))
        if given is None or not readings:
            return metrics  # Keras says what is wrong with it

        def one(name: str, _: Any) -> list[Any]:
            one_hot = labels[name].one_hot
            return [for_classes(m, readings[name], one_hot=one_hot) for m in given[name]]

        return arrays.map_named(one, spec.n_outputs, "")

    def check_validation(self, learned: Targets, valid: Rows | Stream | None) -> None:
        """Raise an error if a threshold cannot be tuned on the validation rows.

        Raises:
            ValueError: There are none, or y has only one value in them; or partial_fit was given
                other labels than those of the training before.
        """
        self._check_known(_classes(learned))
        metric = self.decision_threshold
        if not isinstance(metric, str):
            return
        if valid is None:
            raise ValueError(
                f"decision_threshold={metric!r}: the threshold is tuned on validation rows, and "
                "there are none; write validation_split=0.2, or pass validation_data to fit; "
                "partial_fit holds out none: write a number, such as decision_threshold=0.5"
            )
        classes = _classes(learned)
        if isinstance(valid, Stream):
            y, weight = arrays.concatenate(list(valid.part(1))), None
        else:
            y, weight = valid.y, valid.row_weight
        truth = _is_positive(classes, y)
        if weight is not None:
            truth = truth[weight > 0]
        if not (truth.any(axis=0) & ~truth.all(axis=0)).any():
            raise ValueError(
                f"decision_threshold={metric!r}: the {len(truth)} validation rows all have the "
                "same label, and no threshold can be tuned on them; pass validation_data of both "
                "classes, or write a larger validation_split"
            )

    def _check_known(self, learned: Classes) -> None:
        label = learned.labels
        if self.known is None or not isinstance(label, Labels) or label.kind == "multilabel":
            return
        if not label.rows and known_labels(self.known).tolist() != label.classes.tolist():
            raise ValueError(
                f"classes={self.known!r:.200}: the model was made for {label.classes.tolist()!r}; "
                "leave classes out, or fit a new model for others"
            )

    def tune(self, network: Network, valid: Rows | Stream | None) -> None:
        """Find the threshold that maximises a metric on the validation rows, label by label.

        Warns, and leaves 0.5, where a label has one value in all of these rows or where the
        predictions are not finite.
        """
        metric = self.decision_threshold
        if not isinstance(metric, str) or valid is None:
            return
        classes = _classes(network.targets)
        label = self._thresholded(classes)
        label.thresholds = None
        if isinstance(valid, Stream):
            which = (0, 1, 2) if valid.is_weighted else (0, 1)
            # one pass for all: a shuffled stream changes its order in each
            batches = [(network.predict(x), *rest) for x, *rest in valid.part(*which)]
            outputs: Any = np.concatenate([batch[0] for batch in batches])
            truth = _is_positive(classes, arrays.concatenate([batch[1] for batch in batches]))
            weight: np.ndarray | None = None
            if valid.is_weighted:
                weight = np.concatenate([np.asarray(batch[2]) for batch in batches])
        else:
            outputs = network.predict(network.inputs.prepare(valid.x, self.owner))
            truth, weight = _is_positive(classes, valid.y), valid.row_weight
        outputs = probabilities.as_probabilities(outputs, network.readings)
        given = label.probabilities(np.asarray(outputs))
        if label.kind != "multilabel":
            given = given[:, [label.positive]]
        if not np.isfinite(given).all():
            warnings.warn(
                f"decision_threshold={metric!r}: the predictions for validation rows are not "
                "finite, so that no threshold was tuned; predictions use 0.5",
                stacklevel=2,
            )
            return
        label.thresholds = thresholds.tune(metric, truth, given, weight)

    def _thresholded(self, learned: Classes) -> Labels:
        """Return the labels that a threshold applies to.

        Raises:
            ValueError: y has several outputs, or more than two classes.
        """
        label = learned.labels
        several = None
        if not isinstance(label, Labels):
            n = len(learned.kinds)
            several = f"{n} outputs" if n > 1 else "its one output in a dict or tuple"
        if several is None and label.kind != "multilabel" and label.n_classes != 2:
            several = f"{label.n_classes} classes"
        if several is not None:
            raise ValueError(
                f"decision_threshold={self.decision_threshold!r}: y has {several}, and a threshold "
                "decides between two classes, or about each of several labels a row; leave it out, "
                "and decide by predict_proba"
            )
        found: Labels = label
        return found

    def _check_threshold(self, meanings: Mapping[str, str], losses: Mapping[str, Any]) -> None:
        """Refuse a number as the threshold of outputs that are not probabilities.

        Args:
            meanings: What each output means.
            losses: The loss of each output.

        Raises:
            ValueError: They are not.
        """
        if self.decision_threshold is None or isinstance(self.decision_threshold, str):
            return
        hinge = any(_is_one_of(loss, _HINGE_LOSSES) for loss in losses.values())
        if hinge or "scores" in meanings.values():
            outputs = "margins, as the loss is a hinge" if hinge else "scores from -1 to 1"
            raise ValueError(
                f"decision_threshold={self.decision_threshold!r}: is a threshold of probabilities, "
                f"and the outputs of {self.owner}'s model are {outputs}; write the name of a "
                "metric, such as decision_threshold='balanced_accuracy', to tune it, or end the "
                "model with a sigmoid"
            )

    def _unknown(self, error: Exception) -> probabilities.Unknown:
        return probabilities.Unknown(
            f"from_logits=None: it cannot be told whether the outputs of {self.owner}'s model are "
            f"probabilities ({error}); write from_logits=True if they are logits or scores about "
            "zero, from_logits=False if they are probabilities, or end the model with an activation"
        )

    def _positive(self, learned: Classes) -> dict[str, int | None]:
        """Return, for each output with two classes, the index of the positive one."""
        labels = dict(arrays.leaves(learned.labels, ""))
        two = {n: v.kind != "multilabel" and v.n_classes == 2 for n, v in labels.items()}
        if self.pos_label is None:
            return {name: 1 if binary else None for name, binary in two.items()}
        name, label = next(iter(labels.items()))
        if len(labels) > 1 or not two[name]:
            kind = "labels a row" if label.kind == "multilabel" else "classes"
            found = f"{len(labels)} outputs" if len(labels) > 1 else f"{label.n_classes} {kind}"
            raise ValueError(
                f"pos_label={self.pos_label!r}: y has {found}, and one of two classes can be the "
                "positive one; leave pos_label out, and metrics by name are macro averages"
            )
        value = self.pos_label.item() if isinstance(self.pos_label, np.generic) else self.pos_label
        known = label.classes.tolist()
        if value not in known or isinstance(value, str) != isinstance(known[0], str):
            raise ValueError(
                f"pos_label={self.pos_label!r}: is not a class of y, which has {known}; write "
                f"pos_label={known[-1]!r}, for example"
            )
        return {name: known.index(value)}


class Regression(Task):
    """Regression. Ready-made architectures learn standardised targets.

    Args:
        **options: owner, ready_made and class_weight (which is refused), as for Task.
    """

    needs_y = True

    def __init__(self, **options: Any) -> None:
        super().__init__("regression", **options)

    def row_weights(self, learned: Targets, y: Tree | None, weight: Tree | None) -> Tree | None:
        """Return the sample weights.

        Raises:
            ValueError: There are class weights.
        """
        if self.class_weight is not None:
            raise ValueError(
                f"class_weight={self.class_weight!r}: {self.owner} has no classes; pass "
                "sample_weight to fit"
            )
        return weight

    def stream_weights(self, learned: Targets, data: Stream) -> Mapping[int, float] | None:
        """Return None; class weights are refused."""
        self.row_weights(learned, None, None)
        return None

    def default_loss(
        self, model: keras.Model, spec: ModelSpec, learned: Targets, probe: Callable[[], Any]
    ) -> Any:
        """Return mean squared error, in units of y's variance for a ready-made architecture.

        Raises:
            ValueError: y has more axes than two, and the outputs do not have its shape.
        """
        if isinstance(learned, Numbers) and not compile.computes_own_loss(model):
            _check_axes(model, spec, learned, probe)
        if self.ready_made and isinstance(learned, Numbers) and learned.scale is not None:
            from trainer.network.losses import ScaledSquaredError

            return ScaledSquaredError(learned.scale[1])
        return "mse"

    def default_metrics(self, spec: ModelSpec, learned: Targets, loss: Any) -> Any:
        """Return mean absolute error for each output."""
        return arrays.map_tree(lambda _: ["mae"], spec.n_outputs)


def _check_axes(
    model: keras.Model, spec: ModelSpec, learned: Numbers, probe: Callable[[], Any]
) -> None:
    """Refuse y of more than two axes where the outputs of the model have others.

    Args:
        model: The built model.
        spec: The spec that it was built for.
        learned: What was learned of y.
        probe: Returns the model's outputs for a few rows.

    Raises:
        ValueError: The squared error of y and outputs cannot be computed.
    """
    shapes = {name: shape for name, shape in learned.row_shapes.items() if len(shape) > 1}
    if not shapes:
        return
    found = named(model, spec, probe())
    for name, shape in shapes.items():
        given = tuple(found[name].shape)[1:]
        # Keras leaves out a last axis of length 1 that only one of the two has
        without = shape[:-1] if len(given) == len(shape) - 1 and shape[-1] == 1 else shape
        pairs = zip(without, given, strict=False)
        if len(without) != len(given) or any(a != b and None not in (a, b) for a, b in pairs):
            of_y, of_output = (
                f"({', '.join(['n', *('any' if k is None else str(k) for k in one)])})"
                for one in (shape, given)
            )
            raise ValueError(
                f"y{name} has shape {of_y}, but the network's output has shape {of_output}; write "
                f"y{name}.reshape(len(y{name}), -1) if the values of a row are so many targets, or "
                "override build_model to return outputs of the shape of y"
            )


def _by_output(metrics: Any, names: list[str], layers: list[str]) -> dict[str, list[Any]] | None:
    """Return the metrics of each output; None if Keras would not take them."""

    def flat(value: Any) -> Iterator[Any]:
        if isinstance(value, (list, tuple)):
            for each in value:
                yield from flat(each)
        elif isinstance(value, Mapping):
            yield from flat(list(value.values()))
        elif value is not None:
            yield value

    if not metrics:
        return None
    if len(names) == 1:
        return {names[0]: list(flat(metrics))}
    if isinstance(metrics, Mapping):
        known = {name[2:-2] for name in names if name.startswith("['")} | set(layers)
        if not all(key in known for key in metrics):
            return None
    elif len(metrics) != len(names):
        if not all(isinstance(metric, str) for metric in metrics):
            return None
        return {name: list(metrics) for name in names}  # each by its name, for each output
    found = probabilities.by_output(metrics, names, layers)
    return {name: list(flat(value)) for name, value in found.items()}


def _tried(
    function: Callable[[Any, Any], Any], field: Any, label: Labels, width: int
) -> Mapping[str, float]:
    """Compute a loss for rows of the first class and rows of the last: see `centre`."""
    last = label.n_classes - 1
    y: np.ndarray = np.array([0, last], np.int32)
    if label.kind == "multilabel":
        y = np.array([np.zeros(width), np.ones(width)], np.float32)
    elif label.one_hot:
        y = np.eye(label.n_classes, dtype=np.float32)[y]

    # as many rows as columns would let shapes pass that do not fit
    repeats = 3 if width == 4 else 2
    y = np.repeat(y, repeats, axis=0)

    def outputs(own: float, others: float) -> np.ndarray:
        if width == 1 or label.kind == "multilabel":
            return np.array([[others] * width, [own] * width], np.float32)
        made = np.full((2, width), others, np.float32)
        made[0, 0] = made[1, -1] = own
        return made

    tries = {"right": (0.5, 0.0), "below": (0.5, -0.5), "none": (0.0, 0.0), "wrong": (-0.5, 0.0)}
    found = {}
    for name, values in tries.items():
        z = np.repeat(outputs(*values), repeats, axis=0)
        try:
            value = function(tensors.constant(y), tensors.constant(z))
            found[name] = float(np.mean(np.asarray(value, np.float64)))
        except tensors.errors() as error:
            raise compile.not_computed("loss", field, y, z, error) from error
    return found


def _is_positive(classes: Classes, y: Any) -> np.ndarray:
    """Return where y has the positive class, [n, 1], or each of several labels, [n, n_labels]."""
    encoded = np.asarray(classes.encode(y, "validation_data: y"))
    if classes.labels.kind == "multilabel":
        return encoded > 0
    index = encoded if encoded.ndim == 1 else encoded.argmax(axis=-1)
    return np.asarray(index == classes.labels.positive)[:, None]


def _one_hot(loss: Any, model: keras.Model | None = None) -> bool | dict[str, bool]:
    """Return whether a loss expects one-hot rows; of several losses, by the name in y.

    Args:
        loss: In any form that Keras takes, or several of them.
        model: The model that was compiled with them, whose outputs have names; None: they are named
            as the losses are.
    """
    if isinstance(loss, (list, tuple)):
        each: dict[Any, bool] = dict(enumerate(map(_expects_rows, loss)))
    elif isinstance(loss, Mapping) and "class_name" not in loss:
        each = {name: _expects_rows(own) for name, own in loss.items()}
    else:
        return _expects_rows(loss)
    output = getattr(model, "output", None) if getattr(model, "outputs", None) else None
    if model is not None and isinstance(output, (Mapping, list, tuple)):
        keys = list(output) if isinstance(output, Mapping) else range(len(output))
        for place, names in enumerate(zip(keys, model.output_names, strict=True)):
            named = [each[n] for n in (*names, place) if n in each]
            each |= dict.fromkeys((*names, place), any(named))
    if len(each) == 1:
        return next(iter(each.values()))
    return {f"[{name!r}]": expected for name, expected in each.items()}


def _expects_rows(loss: Any) -> bool:
    """Return whether a loss, in any form that Keras takes, compares the outputs to one-hot rows."""
    return _is_one_of(loss, _ONE_HOT_LOSSES)


def _is_one_of(loss: Any, known: tuple[str, ...]) -> bool:
    """Return whether a loss, in any form that Keras takes, has one of these names."""
    while isinstance(loss, functools.partial):
        loss = loss.func
    if isinstance(loss, Mapping):
        loss = str(loss.get("class_name"))
    if isinstance(loss, str):
        names = [loss]
    else:
        names = [getattr(loss, "__name__", ""), *(base.__name__ for base in type(loss).__mro__)]
    return any(name.lower().replace("_", "") in known for name in names)


def _classes(learned: Targets) -> Classes:
    if not isinstance(learned, Classes):
        raise TypeError(f"a Classifier's targets must be Classes, not {type(learned).__name__}")
    return learned
