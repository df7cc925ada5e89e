"""Fits that leave no trace: on a clone, with one plugin, all else as it was.

Responsible for what every finder does to a Trainer before it trains.
"""

from __future__ import annotations

import warnings
from typing import Any

from trainer.isolation import globals_kept


def check_trainer(name: str, trainer: Any) -> None:
    """Refuse what is no Trainer.

    Raises:
        TypeError: naming the finder.
    """
    from trainer.base import Trainer

    if not isinstance(trainer, Trainer):
        given = f"the class {trainer.__name__}" if isinstance(trainer, type) else repr(trainer)
        raise TypeError(
            f"{name}({given}): must be a Trainer object; write {name}(Classifier(), x, y)"
        )


def short_fit(trainer: Any, plugin: Any, x: Any, y: Any, weight: Any, **fields: Any) -> None:
    """Fit a clone of a Trainer with one plugin in the place of its callbacks.

    Args:
        trainer: which stays as it is; so do the random states of all libraries.
        plugin: ends the training by stop_training.
        x, y, weight: as for Trainer.fit.
        **fields: to set beside those that keep the fit silent and short.
    """
    from sklearn.base import clone

    with globals_kept(), warnings.catch_warnings():
        # a test ends where the training fails: that is no news
        warnings.filterwarnings("ignore", ".*went nowhere", RuntimeWarning)
        copy = clone(trainer)
        copy.set_params(validation_split=0.0, run_dir=None, verbose=0, **fields)
        copy.configure_callbacks = lambda: [plugin]
        copy.fit(x, y, sample_weight=weight)
