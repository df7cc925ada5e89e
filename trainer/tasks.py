"""Task: what is learnt of y, and what follows from it for loss, metrics and weights.

Responsible for the difference between labels, numbers and targets of your own. Not for encoding
one output's labels (`labels`), for the form of y (`targets`), or for training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from trainer import arrays, compiling, preparation, targets
from trainer.arrays import Tree
from trainer.labels import Labels
from trainer.preparation import Rows
from trainer.streams import Stream
from trainer.targets import Classes, Numbers, Targets

if TYPE_CHECKING:
    import keras

    from trainer.models import ModelSpec

_ONE_HOT_LOSSES = ("categoricalcrossentropy", "categoricalfocalcrossentropy", "categoricalhinge")


class Task:
    """A kind of task. This one takes y as numbers, as they are, and any loss.

    Override what differs, and return an object of your class from `Trainer.configure_task`. What
    `learn` returns encodes y for the network and turns its outputs into predictions; it is saved
    with the model, and `restore` makes it again.

    Args:
        name: what build_model finds as `spec.task`.
        owner: the estimator's name, for errors.
        ready_made: whether the network is one of the ready architectures.
        class_weight: the field of this name; only Classification accepts one.
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
        """Learn the form of y from the training rows alone.

        Args:
            data: the training rows, whose `y` is as the user gave it, or a stream of batches.

        Raises:
            TypeError, ValueError: y does not suit the task.
        """
        if isinstance(data, Stream):
            batches = data.part(1, 2) if self.ready_made else None
            return Numbers.learn_stream(self.name, batches, data.y_spec)
        if data.y is None:
            return Numbers(self.name, 1, False, None)
        return Numbers.learn(self.name, data.y, "y", data.weight)

    def restore(self, form: Mapping[str, Any]) -> Targets:
        """What `learn` returned, from its to_dict()."""
        return targets.from_dict(dict(form))

    def strata(self, data: Rows) -> np.ndarray | None:
        """Class numbers [n] whose shares a validation split preserves, or None."""
        return None

    def row_weights(
        self, learned: Targets, y: Tree | None, weight: np.ndarray | None
    ) -> np.ndarray | None:
        """The weights of the training rows, [n], with class weights if there are any.

        Args:
            learned: what `learn` returned.
            y: the encoded targets.
            weight: sample weights, [n], or None.
        """
        if self.class_weight is not None:
            raise ValueError(
                f"class_weight={self.class_weight!r}: {self.owner} has no classes; pass "
                "sample_weight to fit"
            )
        return weight

    def stream_weights(self, learned: Targets, data: Stream) -> Mapping[int, float] | None:
        """The weight of each class number in a stream, or None."""
        self.row_weights(learned, None, None)
        return None

    def default_loss(
        self, model: keras.Model, spec: ModelSpec, learned: Targets, probe: Callable[[], Any]
    ) -> Any:
        """The loss where none was chosen, in a form that keras.Model.compile accepts.

        Args:
            model: the built model.
            spec: what it was built for.
            learned: what `learn` returned.
            probe: gives the model's outputs on a few rows.

        Raises:
            ValueError: the task has none, and the model computes none itself.
        """
        if compiling.computes_own_loss(model):
            return None
        raise ValueError(
            f"loss=None: {self.owner} does not know the task; write loss='mse', for example, or "
            "override compute_loss"
        )

    def default_metrics(self, spec: ModelSpec, learned: Targets, loss: Any) -> Any:
        """The metrics where none were chosen, in a form that keras.Model.compile accepts."""
        return None


class Classification(Task):
    """Labels: two classes, many, or several labels per row.

    Args:
        loss: the field of this name: some losses want one-hot rows.
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
        return Classes.learn(data.y, "y", one_hot=self.one_hot, weight=data.weight)

    def strata(self, data: Rows) -> np.ndarray | None:
        """The labels of a single output with one label per row."""
        labels = Classes.learn(data.y, "y", one_hot=self.one_hot).labels
        if not isinstance(labels, Labels) or labels.kind == "multilabel":
            return None
        encoded = labels.encode(data.y, "y")
        return np.asarray(labels.classes[encoded if encoded.ndim == 1 else encoded.argmax(axis=-1)])

    def row_weights(
        self, learned: Targets, y: Tree | None, weight: np.ndarray | None
    ) -> np.ndarray | None:
        """Sample weights times the weight of each row's class."""
        if self.class_weight is None:
            return weight
        table = preparation.class_weights(self.class_weight, _classes(learned), y)
        values = np.array([table[i] for i in sorted(table)])
        index: Any = y
        by_class: np.ndarray = values[index if index.ndim == 1 else index.argmax(axis=-1)]
        if not by_class.any():
            raise ValueError(
                f"class_weight={self.class_weight!r}: leaves every row with a weight of zero"
            )
        return by_class if weight is None else np.asarray(by_class * weight)

    def stream_weights(self, learned: Targets, data: Stream) -> Mapping[int, float] | None:
        """The weight of each class; takes one pass over the targets."""
        if self.class_weight is None:
            return None
        classes = _classes(learned)
        y = classes.encode(arrays.concatenate(data.part(1)), "y")
        return preparation.class_weights(self.class_weight, classes, y)

    def default_loss(
        self, model: keras.Model, spec: ModelSpec, learned: Targets, probe: Callable[[], Any]
    ) -> Any:
        """A crossentropy that suits the model's outputs."""
        kinds = _classes(learned).kinds
        several = [f"y{name}" for name, kind in kinds.items() if kind == "multilabel"]
        if self.ready_made and several and len(kinds) > 1:
            raise ValueError(
                f"{several[0]} has several labels per row: beside other outputs, no ready "
                "architecture has sigmoids for one and a softmax for another; override build_model"
            )
        return compiling.crossentropy(model, spec, kinds, self.one_hot, probe)

    def default_metrics(self, spec: ModelSpec, learned: Targets, loss: Any) -> Any:
        """The accuracy of each output."""
        return compiling.accuracies(_classes(learned).kinds, loss, spec.n_outputs)


class Regression(Task):
    """Numbers. A ready architecture learns them in units of their deviation.

    Args:
        **options: owner, ready_made and class_weight (which is refused), as for Task.
    """

    needs_y = True

    def __init__(self, **options: Any) -> None:
        super().__init__("regression", **options)

    def default_loss(
        self, model: keras.Model, spec: ModelSpec, learned: Targets, probe: Callable[[], Any]
    ) -> Any:
        """The mean squared error, in units of y's variance for a ready architecture."""
        if self.ready_made and isinstance(learned, Numbers) and learned.scale is not None:
            from trainer.losses import ScaledSquaredError

            return ScaledSquaredError(learned.scale[1])
        return "mse"

    def default_metrics(self, spec: ModelSpec, learned: Targets, loss: Any) -> Any:
        """The mean absolute error of each output."""
        return arrays.map_tree(lambda _: ["mae"], spec.n_outputs)


def _classes(learned: Targets) -> Classes:
    if not isinstance(learned, Classes):
        raise TypeError(f"a Classifier's targets are Classes, not {type(learned).__name__}")
    return learned
