"""Short fits without side effects, on a clone with a single plugin.

Responsible for what all finders have in common: checking and fitting a clone of the Trainer.
"""

from __future__ import annotations

from typing import Any

from trainer import doctor, sklearn_callbacks
from trainer.state.isolation import globals_kept


def check_trainer(name: str, trainer: Any) -> None:
    """Check that the argument of the finder `name` is a Trainer.

    Raises:
        TypeError: It is not.
    """
    from trainer.base import Trainer

    if not isinstance(trainer, Trainer):
        given = f"the class {trainer.__name__}" if isinstance(trainer, type) else repr(trainer)
        raise TypeError(
            f"{name}({given}): must be a Trainer object; write {name}(Classifier(), x, y)"
        )


def short_fit(trainer: Any, plugin: Any, x: Any, y: Any, weight: Any, **fields: Any) -> None:
    """Fit a clone of a Trainer with one plugin instead of its callbacks.

    Args:
        trainer: The Trainer to clone. It stays unchanged, as do the random states of all
            libraries.
        plugin: Ends the training by setting stop_training.
        x: As for Trainer.fit.
        y: As for Trainer.fit.
        weight: The sample_weight, as for Trainer.fit.
        **fields: Fields to set besides those that keep the fit silent and free of side effects.
    """
    from sklearn.base import clone

    # A range test trains until the loss diverges.
    with globals_kept(), doctor.failure_expected():
        copy = clone(trainer)
        if "decision_threshold" in copy.get_params(deep=False):
            fields["decision_threshold"] = None  # a search for a rate has no rows to tune it on
        copy.set_params(validation_split=0.0, run_dir=None, verbose=0, **fields)
        copy.configure_callbacks = lambda: [plugin]
        sklearn_callbacks.without_callbacks(copy)
        copy.fit(x, y, sample_weight=weight)
