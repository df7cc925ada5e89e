"""A PyTorch-style Trainer over Keras 3, and a scikit-learn estimator in every respect.

    from trainer import Classifier, datasets

    digits = datasets.load("digits")
    t = Classifier(epochs=10).fit(*digits.train, validation_data=digits.valid)
    t.score(*digits.test)

Names are loaded when they are first used: importing this package does not import TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from trainer.engine.tensorflow import quiet as _quiet

if TYPE_CHECKING:
    from trainer import datasets as datasets
    from trainer import models as models
    from trainer import plots as plots
    from trainer.base import Trainer
    from trainer.estimators import Classifier, Regressor
    from trainer.finders import find_batch_size, find_learning_rate
    from trainer.history import History
    from trainer.hyperparameters import Bool, Choice, DefineByRun, Drawn, Float, Int, Repeat
    from trainer.launching import launch
    from trainer.models import ModelSpec
    from trainer.serving import serve
    from trainer.tasks import Task

_quiet.install()

__version__ = "0.2.0"

__all__ = [
    "Bool",
    "Choice",
    "Classifier",
    "DefineByRun",
    "Drawn",
    "Float",
    "History",
    "Int",
    "ModelSpec",
    "Regressor",
    "Repeat",
    "Task",
    "Trainer",
    "datasets",
    "find_batch_size",
    "find_learning_rate",
    "launch",
    "models",
    "plots",
    "serve",
]

_HOMES = {
    "Bool": "trainer.hyperparameters",
    "Choice": "trainer.hyperparameters",
    "Classifier": "trainer.estimators",
    "DefineByRun": "trainer.hyperparameters",
    "Drawn": "trainer.hyperparameters",
    "Float": "trainer.hyperparameters",
    "History": "trainer.history",
    "Int": "trainer.hyperparameters",
    "ModelSpec": "trainer.models",
    "Regressor": "trainer.estimators",
    "Repeat": "trainer.hyperparameters",
    "Task": "trainer.tasks",
    "Trainer": "trainer.base",
    "find_batch_size": "trainer.finders",
    "find_learning_rate": "trainer.finders",
    "launch": "trainer.launching",
    "serve": "trainer.serving",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in __all__:
        return importlib.import_module(f"trainer.{name}")
    raise AttributeError(f"module 'trainer' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
