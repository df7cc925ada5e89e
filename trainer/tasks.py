"""Tasks: how y is encoded, and the default loss, metrics and weights that follow from it.

Responsible for the differences between classification, regression and custom tasks. Not for
encoding labels (`labels`), the structure of y (`targets`), or training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from trainer.data import arrays, preparation, targets
from trainer.data.arrays import Tree
from trainer.data.labels import Labels
from trainer.data.preparation import Rows
from trainer.data.streams import Stream
from trainer.data.targets import Classes, Numbers, Targets
from trainer.network import compile

if TYPE_CHECKING:
    import keras

    from trainer.models import ModelSpec

_ONE_HOT_LOSSES = ("categoricalcrossentropy", "categoricalfocalcrossentropy", "categoricalhinge")


class Task:
    """A task. The base class takes numeric y unchanged, with any loss.

    To define a task, override what differs, and return an object of your class from
    `Trainer.configure_task`. The Targets returned by `learn` encode y for the network and decode
    its outputs into predictions; they are saved with the model, and loaded by `restore`.

    Args:
        name: The `spec.task` that build_model receives.
        owner: The name of the estimator, for errors.
        ready_made: Whether the network is one of the ready-made architectures.
        class_weight: As the field of Trainer; only Classification accepts it.
    """

    needs_y: ClassVar[bool] = False

    def __init__(
        self,
        name: str = "custom",
        *,
        owner: str = "Trainer",
        ready_made: bool = False,
        class_weight: Any = None,
    ) -> None:
        self.name = name
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
        if isinstance(data, Stream):
            batches = data.part(1, 2) if self.ready_made else None
            return Numbers.learn_stream(self.name, batches, data.y_spec)
        if data.y is None:
            return Numbers(self.name, 1, False, None)
        return Numbers.learn(self.name, data.y, "y", data.row_weight)

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
        if self.class_weight is not None:
            raise ValueError(
                f"class_weight={self.class_weight!r}: {self.owner} has no classes; pass "
                "sample_weight to fit"
            )
        return weight

    def stream_weights(self, learned: Targets, data: Stream) -> Mapping[int, float] | None:
        """Return the weight of each class index in a stream, or None."""
        self.row_weights(learned, None, None)
        return None

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
            ValueError: The task has no default, and the model does not compute its own loss.
        """
        if compile.computes_own_loss(model):
            return None
        raise ValueError(
            f"loss=None: {self.owner} has no default loss; write loss='mse', for example, or "
            "override compute_loss"
        )

    def default_metrics(self, spec: ModelSpec, learned: Targets, loss: Any) -> Any:
        """Return the default metrics, in a form that keras.Model.compile accepts."""
        return None


class Classification(Task):
    """Classification: binary, multiclass or multi-label.

    Args:
        loss: As the field of Trainer; some losses expect one-hot rows.
        **options: owner, ready_made and class_weight ({label: weight} or "balanced"), as for Task.
    """

    needs_y = True

    def __init__(self, loss: Any = None, **options: Any) -> None:
        super().__init__("classification", **options)
        name = loss if isinstance(loss, str) else type(loss).__name__
        self.one_hot = name.lower().replace("_", "") in _ONE_HOT_LOSSES

    def learn(self, data: Rows | Stream) -> Classes:
        """Learn the classes of each output."""
        if isinstance(data, Stream):
            return Classes.learn_stream(data.part(1), one_hot=self.one_hot)
        return Classes.learn(data.y, "y", one_hot=self.one_hot, weight=data.row_weight)

    def strata(self, data: Rows) -> np.ndarray | None:
        """Return the labels of a single output that is not multi-label, else None."""
        labels = Classes.learn(data.y, "y", one_hot=self.one_hot).labels
        if not isinstance(labels, Labels) or labels.kind == "multilabel":
            return None
        encoded = labels.encode(data.y, "y")
        return np.asarray(labels.classes[encoded if encoded.ndim == 1 else encoded.argmax(axis=-1)])

    def row_weights(self, learned: Targets, y: Tree | None, weight: Tree | None) -> Tree | None:
        """Return sample weights times class weights."""
        if self.class_weight is None:
            return weight
        table = preparation.class_weights(self.class_weight, _classes(learned), y)
        values = np.array([table[i] for i in sorted(table)])
        index: Any = y
        by_class: np.ndarray = values[index if index.ndim == 1 else index.argmax(axis=-1)]
        if not by_class.any():
            raise ValueError(
                f"class_weight={self.class_weight!r}: gives every row a weight of zero; at least "
                "one class in y must have a weight above 0"
            )
        return by_class if weight is None else np.asarray(by_class * weight)

    def stream_weights(self, learned: Targets, data: Stream) -> Mapping[int, float] | None:
        """Return the weight of each class; takes one pass over the targets."""
        if self.class_weight is None:
            return None
        classes = _classes(learned)
        y = classes.encode(arrays.concatenate(data.part(1)), "y")
        return preparation.class_weights(self.class_weight, classes, y)

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
        return compile.crossentropy(model, spec, kinds, self.one_hot, probe)

    def default_metrics(self, spec: ModelSpec, learned: Targets, loss: Any) -> Any:
        """Return the accuracy for each output."""
        return compile.accuracies(_classes(learned).kinds, loss, spec.n_outputs)


class Regression(Task):
    """Regression. Ready-made architectures learn standardised targets.

    Args:
        **options: owner, ready_made and class_weight (which is refused), as for Task.
    """

    needs_y = True

    def __init__(self, **options: Any) -> None:
        super().__init__("regression", **options)

    def default_loss(
        self, model: keras.Model, spec: ModelSpec, learned: Targets, probe: Callable[[], Any]
    ) -> Any:
        """Return mean squared error, in units of y's variance for a ready-made architecture."""
        if self.ready_made and isinstance(learned, Numbers) and learned.scale is not None:
            from trainer.network.losses import ScaledSquaredError

            return ScaledSquaredError(learned.scale[1])
        return "mse"

    def default_metrics(self, spec: ModelSpec, learned: Targets, loss: Any) -> Any:
        """Return mean absolute error for each output."""
        return arrays.map_tree(lambda _: ["mae"], spec.n_outputs)


def _classes(learned: Targets) -> Classes:
    if not isinstance(learned, Classes):
        raise TypeError(f"a Classifier's targets must be Classes, not {type(learned).__name__}")
    return learned
