"""The Keras model that stands for a trial while keras-tuner handles it.

Responsible for a model that can be built before its data are known, and that keras-tuner can save
and load. Not for what is searched, nor for training (`hypermodels`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
from keras_tuner.errors import FatalValueError

from trainer import Trainer, callbacks, models
from trainer.data.inputs import Inputs
from trainer.history import History
from trainer.network.build import rebuild


class TrialModel(keras.Model):
    """The model of a trial, as keras-tuner builds, saves and loads it.

    It computes what its network does, from raw x. It has no network before fit, and before
    keras-tuner has loaded it; then all it can do is get one.

    Attributes:
        trainer: the Trainer with the trial's values; fitted once there is a network.
        network: the Keras model, or None.
    """

    def __init__(self, trainer: Trainer) -> None:
        super().__init__()
        self.trainer = trainer
        self.network: keras.Model | None = None
        self.optimizer = None
        self._form: dict[str, Any] | None = None

    def adopt(self, trainer: Trainer) -> None:
        """Take the network of a fitted Trainer."""
        network = trainer.network_
        self.trainer, self.network, self.built = trainer, network.whole, True
        self._form = {
            "inputs": network.inputs.to_dict(),
            "targets": network.targets.to_dict(),
            "precision": network.precision,
            "seed": trainer.seed_,
            "architecture": network.architecture.to_dict(),
        }

    def get_build_config(self) -> dict[str, Any] | None:
        """Return what the network is built from, besides the Trainer; keras-tuner saves it."""
        return self._form

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Build the network with initial weights."""
        trainer = self.trainer
        architecture = models.restore(config.get("architecture"))
        inputs = Inputs.from_dict(config["inputs"], architecture.encoding)
        network = rebuild(
            trainer.recipe(architecture),
            inputs,
            trainer.configure_task().restore(config["targets"]),
            precision=config["precision"],
            seed=config["seed"],
            callbacks=callbacks.make_all(trainer.configure_callbacks()),
        )
        trainer.adopt(network, History(), config["seed"])
        self.adopt(trainer)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Refuse: the Trainer compiles its network.

        Raises:
            keras_tuner.errors.FatalValueError: always.
        """
        raise FatalValueError(
            "a Trainer ignores optimizer=, loss= and metrics= of a tuner: write "
            f"{type(self.trainer).__name__}(optimizer=..., loss=..., metrics=...)"
        )

    def call(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Return the network's outputs for raw x."""
        return self._made()(x, training=training, mask=mask)

    def load_weights(self, filepath: Any, **kwargs: Any) -> None:
        """Read the weights of the network from a file."""
        self._made().load_weights(filepath, **kwargs)

    def save_weights(self, filepath: Any, **kwargs: Any) -> None:
        """Write the weights of the network to a file."""
        self._made().save_weights(filepath, **kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Predict as keras.Model.predict does."""
        return self._made().predict(*args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate as keras.Model.evaluate does, on encoded labels; trainer.evaluate takes any."""
        return self._made().evaluate(*args, **kwargs)

    def summary(self, *args: Any, **kwargs: Any) -> None:
        """Print a summary as keras.Model.summary does."""
        self._made().summary(*args, **kwargs)

    def save(self, filepath: str | Path) -> None:
        """Save one .keras file, as Trainer.save; plain Keras and the Trainer's class load it."""
        self._made()
        self.trainer.save(filepath)

    def export(self, *args: Any, **kwargs: Any) -> None:
        """Export as keras.Model.export does."""
        self._made().export(*args, **kwargs)

    def _made(self) -> keras.Model:
        if self.network is None:
            raise ValueError(
                f"{type(self.trainer).__name__}: a trial has no network until it is trained; call "
                "tuner.search first, and take the model from tuner.get_best_models()"
            )
        return self.network
