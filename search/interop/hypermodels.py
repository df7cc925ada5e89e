"""A Trainer as a keras_tuner.HyperModel, for people who drive keras-tuner themselves.

Responsible for training a trial with the Trainer as keras-tuner asks for it. Not for expressing
values in keras-tuner (`hyperspace`), nor for the model it handles (`trial_model`), nor for our own
searches, which survive crashes and use all cores (`coordinator`).

keras-tuner builds a model before it has seen data, but a Trainer's network depends on its data. So
`build` returns a `TrialModel`, which gets its network in fit, or from the build configuration that
keras-tuner saves beside the weights of each trial: the form of the data and the labels.
"""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import keras
import keras_tuner
from keras_tuner.errors import FailedTrialError, FatalTypeError, FatalValueError
from keras_tuner.src.engine import tuner_utils  # its callbacks have no public name
from sklearn.base import clone

from search.interop.trial_model import TrialModel
from search.proposers import hyperspace
from search.space import Point, Space, assembled
from trainer import Trainer
from trainer.history import History
from trainer.models import Values
from trainer.utils.checks import did_you_mean

# arguments of Keras' fit that tuner.search accepts: data, and fields of the Trainer
_DATA = ("x", "y", "sample_weight", "validation_data")
_FIELDS = ("epochs", "batch_size", "validation_split", "shuffle", "class_weight", "verbose")
_EPOCHS = "tuner/epochs"
_PARENT = "tuner/trial_id"


def hypermodel(trainer: Trainer, space: Any = None) -> TrainerHyperModel:
    """Return a Trainer's models for keras-tuner's tuners.

    It is searched like any other hypermodel:

        tuner = keras_tuner.RandomSearch(
            hypermodel(Classifier(epochs=5)), objective="val_accuracy", max_trials=10
        )
        tuner.search(x, y, validation_data=(xv, yv))
        best = tuner.get_best_models(1)[0]  # a Keras model; best.trainer is the fitted Trainer

    tuner.search takes x, y, sample_weight, validation_data and callbacks as Trainer.fit and Keras
    do, and epochs, batch_size, validation_split, shuffle, class_weight and verbose, which override
    the Trainer's fields. The tuner's own optimizer, loss and metrics are refused: the Trainer has
    its own. A promoted trial of Hyperband resumes from the last state of its parent, optimizer and
    callbacks included, as if it had never stopped (a schedule over the number of epochs counts
    those of each round), and is scored by the best epoch of the entire training.

    Args:
        trainer: with the fields that are not searched.
        space: as in Space.of: None for all annotated domains, names, or a dict of domains.

    Raises:
        TypeError, ValueError: not a Trainer, or not a valid space.
    """
    if not isinstance(trainer, Trainer):
        raise TypeError(
            f"trainer={trainer!r}: must be a Trainer, such as Classifier(epochs=5); for another "
            "estimator of scikit-learn write search.SklearnSearch"
        )
    if trainer.run_dir is not None:
        raise ValueError(
            f"run_dir={str(trainer.run_dir)!r}: all trials would share the folder; leave it None, "
            "and pass a directory to the tuner"
        )
    return TrainerHyperModel(trainer, Space.of(trainer, space))


class TrainerHyperModel(keras_tuner.HyperModel):
    """A HyperModel made by `hypermodel`.

    Attributes:
        space: the space of the search.
    """

    def __init__(self, trainer: Trainer, space: Space) -> None:
        super().__init__(name=type(trainer).__name__)
        self.space = space
        self._trainer = trainer
        self._conditions = {name: hyperspace.conditions(space, name) for name in space.domains}

    def build(self, hp: keras_tuner.HyperParameters) -> TrialModel:
        """Return the model of a trial; fit makes its network."""
        defaults = self._trainer.get_params(deep=True)
        for name, domain in self.space.domains.items():
            conditions = self._conditions[name]
            if conditions is None:
                continue  # never active
            with contextlib.ExitStack() as scopes:
                for parent, accepted in conditions.items():
                    scopes.enter_context(hp.conditional_scope(parent, accepted))
                hyperspace.register(hp, name, domain, defaults.get(name))
        return TrialModel(self.trainer(hp))

    def trainer(self, hp: keras_tuner.HyperParameters) -> Trainer:
        """Return a new Trainer with the values of `hp`.

        Raises:
            ValueError: a value lies outside its domain.
        """
        made: Trainer = clone(self._trainer).set_params(**assembled(self.point(hp)))
        return made

    def point(self, hp: keras_tuner.HyperParameters) -> Point:
        """Return the values of `hp` by parameter, as the Trainer takes them.

        Raises:
            ValueError: a value lies outside its domain.
        """
        found = {
            name: hyperspace.decoded(domain, hp.values[name])
            for name, domain in self.space.domains.items()
            if name in hp.values
        }
        return self.space.check({name: found[name] for name in self.space.active(found)})

    def fit(
        self, hp: keras_tuner.HyperParameters, model: TrialModel, *args: Any, **kwargs: Any
    ) -> keras.callbacks.History:
        """Train a trial with the Trainer: see `hypermodel`.

        Raises:
            keras_tuner.errors.FatalValueError, FatalTypeError: invalid arguments for every trial.
            keras_tuner.errors.FailedTrialError: the objective was not a number in any epoch.
            TypeError, ValueError: as in Trainer.fit.
        """
        added = list(kwargs.pop("callbacks", None) or ())
        trainer = self.trainer(hp)
        data = self._settle(trainer, hp, args, kwargs)
        tuner, trial = next(
            ((c.tuner, c.trial) for c in added if isinstance(c, tuner_utils.TunerCallback)),
            (None, None),
        )
        resume: bool | str = "auto"
        if tuner is not None:
            _check_tuner(tuner, trainer, trainer.resolve(data["x"], data.get("y")).values)
            added = [_adapted(callback, tuner) for callback in added]
        if _EPOCHS in hp.values:
            resume = _continue(trainer, hp, tuner, trial)
        # not through the field: a tuner's callbacks hold the tuner, and are not the Trainer's
        own = trainer.configure_callbacks
        trainer.__dict__["configure_callbacks"] = lambda: [*own(), *added]
        try:
            trainer.fit(**data, resume=resume)
        finally:
            del trainer.__dict__["configure_callbacks"]
        trainer.run_dir = None
        model.adopt(trainer)
        return _results(trainer.history_, None if tuner is None else tuner.oracle.objective)

    def _settle(
        self, trainer: Trainer, hp: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        """Set the fields passed to tuner.search; return the data for Trainer.fit."""
        if len(args) > 2:
            raise FatalTypeError(
                f"search: {len(args)} positional arguments; pass x and y by position and all "
                "others by name, such as epochs=5"
            )
        given = dict(zip(_DATA, args, strict=False)) | kwargs
        initial = given.pop("initial_epoch", 0)
        if _EPOCHS in hp.values:
            given["epochs"] = hp.values[_EPOCHS]
        elif initial:
            raise FatalValueError(f"initial_epoch={initial}: a trial starts at epoch 0")
        for name in given:
            if name in _FIELDS and name in self.space.domains:
                raise FatalValueError(
                    f"{name}={given[name]!r}: {name} is searched, and cannot be set as well; leave "
                    f"{name!r} out of the space, or out of the call"
                )
            if name not in (*_FIELDS, *_DATA):
                known = [*_DATA, *_FIELDS, "callbacks"]
                raise FatalTypeError(
                    f"search({name}=...): not an argument of a Trainer's trials; "
                    f"{did_you_mean(name, known)}"
                )
        trainer.set_params(**{name: given[name] for name in _FIELDS if name in given})
        return {name: given[name] for name in _DATA if name in given}


# ---- one trial -----------------------------------------------------------------------------------


def _check_tuner(tuner: Any, trainer: Trainer, values: Values) -> None:
    if tuner.distribution_strategy is not None:
        raise FatalValueError(
            f"distribution_strategy={tuner.distribution_strategy!r}: not supported by a Trainer; "
            "leave it out"
        )
    split = values.validation_split and not isinstance(trainer.random_state, Integral)
    if tuner.executions_per_trial > 1 and split:
        raise FatalValueError(
            f"validation_split={values.validation_split}: each of executions_per_trial="
            f"{tuner.executions_per_trial} would hold out different rows; pass "
            "validation_data=(xv, yv)"
        )


def _adapted(callback: Any, tuner: Any) -> Any:
    """Adapt a callback of keras-tuner to a Trainer; return other callbacks unchanged."""
    if isinstance(callback, tuner_utils.TunerCallback):
        return _Told(tuner, callback.trial)
    if isinstance(callback, tuner_utils.SaveBestEpoch):
        # the file is this trial's; the best value includes the trial that it continues
        callback.state_dict = lambda: {"best_value": callback.best_value}
        callback.load_state_dict = lambda state: vars(callback).update(state)
    return callback


class _Told(keras.callbacks.Callback):
    """Notify a tuner of epochs, and of batches if it overrides those hooks: they cost speed."""

    def __init__(self, tuner: Any, trial: Any) -> None:
        super().__init__()
        self._tuner, self._trial = tuner, trial
        stock = keras_tuner.Tuner
        if (type(tuner).on_batch_begin, type(tuner).on_batch_end) != (
            stock.on_batch_begin,
            stock.on_batch_end,
        ):
            self.on_train_batch_begin = self._begin
            self.on_train_batch_end = self._end

    def _begin(self, batch: int, logs: Any = None) -> None:
        self._tuner.on_batch_begin(self._trial, self.model, batch, logs)

    def _end(self, batch: int, logs: Any = None) -> None:
        self._tuner.on_batch_end(self._trial, self.model, batch, logs)

    def on_train_begin(self, logs: Any = None) -> None:
        size = sum(math.prod(w.shape) for w in self.model.trainable_weights)
        most = self._tuner.max_model_size
        if most and size > most:
            raise FailedTrialError(f"max_model_size={most}: the model has {size} parameters")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._tuner.on_epoch_begin(self._trial, self.model, epoch, logs=logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._tuner.on_epoch_end(self._trial, self.model, epoch, logs=logs)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def _continue(trainer: Trainer, hp: Any, tuner: Any, trial: Any) -> bool:
    """Make a Hyperband trial save its state, and resume from its parent's if it has one.

    Returns:
        Whether it resumes.
    """
    if tuner is None or tuner.executions_per_trial > 1:
        raise FatalValueError(
            "Hyperband: promoted trials resume a single training; leave executions_per_trial=1"
            if tuner is not None
            else "Hyperband: its trials need the callbacks that its tuner passes to fit"
        )
    here = Path(tuner.get_trial_dir(trial.trial_id))
    shutil.rmtree(here / "run", ignore_errors=True)  # of an attempt that was killed or failed
    trainer.run_dir = here / "run"
    if _PARENT not in hp.values:
        return False
    parent = Path(tuner.get_trial_dir(hp.values[_PARENT]))
    if not (parent / "run").is_dir():
        raise FatalValueError(
            f"{parent / 'run'}: the state of trial {hp.values[_PARENT]} is gone, and trial "
            f"{trial.trial_id} resumes from it; start a new search in another directory"
        )
    shutil.copytree(parent / "run", here / "run", ignore=shutil.ignore_patterns(".*"))
    for file in parent.glob("checkpoint*"):  # the best epoch may stay one of the parent's
        shutil.copy2(file, here / file.name)
    return True


def _results(history: History, objective: Any) -> keras.callbacks.History:
    """Return the history in Keras' form, with the worst value where the objective is not a number.

    keras-tuner would take NaN in the first epoch for the best value.

    Raises:
        FatalValueError: the objective is not a log.
        FailedTrialError: it is not a number in any epoch.
    """
    found = keras.callbacks.History()
    found.history = {name: history[name] for name in history.metrics}
    found.epoch = [int(number) - 1 for number in history["epoch"]]
    several = getattr(objective, "objectives", None)
    wanted: Sequence[Any] = several or ([] if objective is None else [objective])
    for one in wanted:
        if one.name == "default_objective":
            raise FatalValueError('objective=None: write objective="val_loss", for example')
        if one.name not in found.history:
            raise FatalValueError(
                f"objective={one.name!r}: no metric of this name; "
                f"{did_you_mean(one.name, found.history)}"
                + ("" if "val_loss" in found.history else "; val_ needs validation_data")
            )
        worst = math.inf if one.direction == "min" else -math.inf
        column = [v if math.isfinite(v) else worst for v in found.history[one.name]]
        if not any(map(math.isfinite, column)):
            raise FailedTrialError(
                f"{one.name}: is not a number in any of {len(column)} epochs; the training "
                "diverged, try a smaller learning_rate"
            )
        found.history[one.name] = column
    return found
