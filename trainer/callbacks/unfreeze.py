"""The plugin that unfreezes a model layer by layer, from the outputs down.

Responsible for which layers are trained in which epoch. Not for the training steps: Keras makes
them, once per stage, and the layers' `trainable` flags are cleared only while it traces them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import keras

from trainer.callbacks.callback import Callback, Session
from trainer.hyperparameters import Int
from trainer.network import inference
from trainer.utils import checks


class Unfreeze(Callback):
    """Gradual unfreezing (Howard & Ruder 2018, Universal language model fine-tuning).

    Training starts with the last `start` layers; every `epochs` epochs, `layers` more are unfrozen,
    from the outputs down. Frozen layers behave as with `trainable = False` in Keras: their weights
    and optimizer slots do not change at all, not even by weight decay, and batch normalization runs
    in inference mode; dropout stays on. Outside training steps all layers keep the `trainable`
    flags set by build_model, so the optimizer is built for all of them and saved files show no
    trace of this plugin. Each stage is compiled once.

    A nested model that build_model calls with `training=False` stays in inference mode when it is
    unfrozen: batch normalization keeps its statistics, and dropout is off in it, as Keras' guide to
    transfer learning says. (In Keras 3 itself the mode of the outer model wins, so that a plain fit
    does update the statistics, with a warning.)

    Only layers with trainable weights count, in the order of `model.layers`. The layers of a nested
    model count individually; any other layer counts as one, with the layers inside it. Layers
    frozen by build_model stay frozen.

    Attributes:
        start: how many layers are trained at first.
        layers: how many more are trained in each further stage.
        epochs: the number of epochs per stage.
    """

    keeps_inference: ClassVar[bool] = True  # of layers that are called with training=False

    start: Annotated[int, Int(1, 4)] = 1
    layers: Annotated[int, Int(1, 4)] = 1
    epochs: Annotated[int, Int(1, 5)] = 1

    def check(self) -> None:
        """Raise an error for a bad field."""
        for name in ("start", "layers", "epochs"):
            checks.integer(name, getattr(self, name), low=1, example=1)

    def setup(self, session: Session) -> None:
        """Find the layers.

        Raises:
            ValueError: no layer would be frozen, or the layers are not built yet.
        """
        core = session.network.core
        if not core.optimizer.built:
            raise ValueError(
                "callbacks=['unfreeze']: the model builds its layers in its first step; build them "
                "before, in build_model, or leave 'unfreeze' out"
            )
        self._layers: list[Any] = list({id(layer): layer for layer in _weighted(core)}.values())
        count = len(self._layers)
        if self.start >= count:
            raise ValueError(
                f"start={self.start}: the model has {count} layer(s) with trainable weights, so "
                "none would be frozen; "
                + (f"write start={count - 1} or less" if count > 1 else "leave 'unfreeze' out")
            )
        self._flags: list[tuple[Any, bool]] = []
        self._inference = [layer for layer in inference.called(core) if layer.built]
        self._frozen = count - self.start

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Set the number of frozen layers for this epoch."""
        trained = self.start + self.layers * (epoch // self.epochs)
        self._frozen = max(0, len(self._layers) - trained)

    def before_step(self, model: keras.Model) -> None:
        """Freeze layers while Keras traces the step."""
        held = [
            part
            for layer in self._layers[: self._frozen]
            for each in layer._flatten_layers()
            for part in (each, *each._trainable_variables)
        ]
        self._flags = [(part, part.trainable) for part in held]
        for layer in self._layers[: self._frozen]:
            layer.trainable = False
        for layer in self._inference:
            # not by assignment, which Keras would track
            vars(layer)["call"] = inference.kept(layer)

    def after_step(self, model: keras.Model) -> None:
        """Restore the flags."""
        # setting a layer's flag sets those inside it too, which come later in the list
        for part, flag in self._flags:
            part.trainable = flag
        self._flags = []
        for layer in self._inference:
            vars(layer).pop("call", None)

    def traced_key(self) -> str:
        """How many layers are frozen."""
        return f"{self.name} {self._frozen}"

    def teardown(self) -> None:
        """Release the model's layers."""
        self._layers, self._inference = [], []

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the stage follows from the epoch."""
        return {}


def _weighted(model: keras.Model) -> Iterator[Any]:
    """The layers with trainable weights, from the inputs to the outputs."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _weighted(layer)
        elif layer.trainable_weights:
            yield layer
