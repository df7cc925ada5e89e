"""The plugin that unfreezes a model layer by layer, from the outputs down.

Responsible for which layers are trained in which epoch. Not for the steps: those are Keras' own,
compiled once a stage, and the layers' flag `trainable` is cleared only while Keras makes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import keras

from trainer.callbacks.callback import Callback, Session
from trainer.hyperparameters import Int
from trainer.utils import checks


class Unfreeze(Callback):
    """Gradual unfreezing (Howard & Ruder 2018, Universal language model fine-tuning).

    Training begins with the last `start` layers; every `epochs` epochs `layers` more follow, from
    the outputs down. Frozen layers behave as with `trainable = False` in Keras: their weights and
    what the optimizer keeps of them do not move at all, weight decay included, and batch
    normalization is in inference mode; dropout stays on. Outside of training steps all layers are
    `trainable` as build_model left them, so that the optimizer is built for all and files hold
    nothing of this plugin. Each stage is compiled once.

    Layers are counted that have trainable weights, in the order of `model.layers`; of a model
    within the model its layers count, and any other layer is one with what it holds. Layers that
    build_model froze stay so.

    Attributes:
        start: how many layers are trained at first.
        layers: how many more are trained with each stage.
        epochs: of a stage.
    """

    start: Annotated[int, Int(1, 4)] = 1
    layers: Annotated[int, Int(1, 4)] = 1
    epochs: Annotated[int, Int(1, 5)] = 1

    def setup(self, session: Session) -> None:
        """Find the layers.

        Raises:
            TypeError, ValueError: a field is no whole number of 1 or more, or no layer would be
                frozen.
        """
        for name in ("start", "layers", "epochs"):
            checks.integer(name, getattr(self, name), low=1, example=1)
        core = session.network.core
        if not core.optimizer.built:
            raise ValueError(
                "callbacks=['unfreeze']: the model makes its layers in its first step; build them "
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
        self._frozen = count - self.start

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Come to the stage of this epoch."""
        trained = self.start + self.layers * (epoch // self.epochs)
        self._frozen = max(0, len(self._layers) - trained)

    def before_step(self, model: keras.Model) -> None:
        """Freeze layers for the step that Keras makes now."""
        held = [
            part
            for layer in self._layers[: self._frozen]
            for each in layer._flatten_layers()
            for part in (each, *each._trainable_variables)
        ]
        self._flags = [(part, part.trainable) for part in held]
        for layer in self._layers[: self._frozen]:
            layer.trainable = False

    def after_step(self, model: keras.Model) -> None:
        """Set the flags as they were."""
        # a layer's flag sets those of what it holds, which stands after it
        for part, flag in self._flags:
            part.trainable = flag
        self._flags = []

    def traced_key(self) -> str:
        """How many layers are frozen."""
        return f"{self.name} {self._frozen}"

    def teardown(self) -> None:
        """Let go of the model's layers."""
        self._layers = []

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the stage is a function of the epoch."""
        return {}


def _weighted(model: keras.Model) -> Iterator[Any]:
    """The layers with trainable weights, from the inputs to the outputs."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _weighted(layer)
        elif layer.trainable_weights:
            yield layer
