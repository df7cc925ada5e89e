"""Callback: the base of plugins.

Responsible for the hooks that a plugin may override and for what it sees of a fit. Not for finding
plugins by name (the package itself), nor for when hooks are called (`engine.loop`).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import keras

from trainer.engine import backend
from trainer.engine.interrupts import Interrupts
from trainer.fields import Fields
from trainer.state import callback_state
from trainer.utils.checks import did_you_mean

if TYPE_CHECKING:
    from trainer.history import History
    from trainer.network.network import Network


class RunFolder(Protocol):
    """The run directory of a fit, as callbacks see it."""

    def may_write(self, path: Path) -> bool:
        """Whether a plugin may write to a path now: see Session.may_write."""


@dataclass(frozen=True)
class Session:
    """What callbacks see of a fit.

    Attributes:
        owner: the name of the estimator's class.
        params: its fields and those of its callbacks, by name, in JSON form.
        epochs: how many epochs to train.
        verbose: the estimator's field of this name.
        callbacks: the callbacks of the fit, in their order.
        network: its built network; `network.core` is the model whose steps run.
        history: the history of the epochs so far.
        feed: the training batches.
        validation: the validation batches, or None.
        seed: of the fit.
        folder: the run's folder, or None without the field run_dir.
        save: writes the estimator to a file, as Trainer.save does; a History as second argument
            replaces the fit's own.
        load_weights: loads the weights and the optimizer state from the content of a file written
            by `save`.
        interrupts: requests to stop the training early.
        run: the run, or None without the field run_dir.
        given_back: whether the run was already finished: then nothing is trained or written, and
            plugins only restore their state.
    """

    owner: str
    params: dict[str, Any]
    epochs: int
    verbose: int | str
    callbacks: Sequence[Any]
    network: Network
    history: History
    feed: Any
    validation: Any
    seed: int
    folder: Path | None
    save: Callable[..., Path]
    load_weights: Callable[[bytes], None]
    interrupts: Interrupts = field(default_factory=Interrupts)
    run: RunFolder | None = None
    given_back: bool = False
    deprecated_trainer: Any = field(default=None, repr=False)  # remove with the property below

    @property
    def trainer(self) -> Any:
        """The Trainer that is being fitted; deprecated, to be removed in the next release."""
        warnings.warn(
            "session.trainer is deprecated and will be removed; write session.epochs, "
            "session.params, session.history, session.callbacks or session.save(path)",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.deprecated_trainer

    def stop(self, name: str) -> None:
        """Stop the training after the current dispatch, without finishing the run.

        The state is saved at exactly that point, and the same call of fit resumes there, even in
        the middle of an epoch. The partial epoch is validated and recorded, so that the Trainer is
        fitted, but on_epoch_end is not called. To finish a run early, so that it is not resumed,
        set `model.stop_training` instead.

        Args:
            name: the name of the plugin that stops the training.
        """
        self.interrupts.asked = name

    def may_write(self, path: Path) -> bool:
        """Whether a plugin may write to a path now.

        Returns False for all workers but the chief; and, after a warning, if the path is in the
        run's folder and that folder was removed or taken by another process, or if the path has
        become a link.
        """
        return self.is_chief and (self.run is None or self.run.may_write(path))

    @property
    def is_chief(self) -> bool:
        """Whether this worker is the one whose plugins write files and logs."""
        return backend.strategy.is_chief()

    def sample(self, *, validation: bool = False) -> tuple[Any, ...] | None:
        """The first batch of training or validation rows, unshuffled.

        Returns:
            (x,), (x, y) or (x, y, sample_weight) as tensors [batch, ...], as the core's
            train_step takes them; None if there are no validation data.
        """
        feed = self.validation if validation else self.feed
        return None if feed is None else self.network.program.transformed(feed.first())


class Callback(Fields, keras.callbacks.Callback):
    """A keras.callbacks.Callback with parameters as fields and a state that runs restore.

    Annotate parameters as in a Trainer, and override the hooks of Keras that you need:

        class Patience(Callback):
            epochs: Annotated[int, Int(1, 20)] = 3

            def on_epoch_end(self, epoch, logs=None):
                ...

    Hooks beyond those of Keras: `on_chunk_end`, which is called a few times per second and costs
    nothing, `configure_optimizer` and `before_step`.

    Attributes:
        name: the plugin's name in `callbacks=["name"]` and in nested parameters; the class name
            in snake case unless it is registered under another name.
        every_n_batches: how often to call on_train_batch_begin and on_train_batch_end, if they are
            overridden: at every n-th batch and at the last. None: at every batch, which costs one
            dispatch per batch. 0: this callback does not need them.
        session: the fit in progress, from on_train_begin to on_train_end; otherwise None.
    """

    name: ClassVar[str] = "callback"
    every_n_batches: ClassVar[int | None] = None

    # None outside a fit. Not typed as optional, or every hook would need an assert.
    session: ClassVar[Session] = None  # type: ignore[assignment]
    params: ClassVar[Any] = None
    _model: ClassVar[Any] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__)
            cls.name = cls.name.lower()

    # ---- hooks beyond those of Keras ---------------------------------------------------------

    def check(self) -> None:
        """Called first in a fit, before the data are split and the model is built.

        The place to raise errors for values of fields that no model and no data would allow. The
        message is shown with the callback's place in the field callbacks.
        """

    def setup(self, session: Session) -> None:
        """Called once per fit, after the model is built and before anything is traced or trained.

        The place to raise errors for unsuitable models or data, and to create variables that
        before_step uses. After an error the estimator is what it was before the fit.

        Args:
            session: the same as `self.session` until on_train_end.
        """

    def teardown(self) -> None:
        """Called once per fit, after everything else, even if the fit failed."""

    def on_chunk_end(self, steps: int, logs: dict[str, float]) -> None:
        """Called after each dispatch of training steps, a few times per second.

        Args:
            steps: how many steps of the epoch are done.
            logs: the loss and metrics of the epoch so far.
        """

    def configure_optimizer(self, optimizer: keras.optimizers.Optimizer) -> Any:
        """Change or replace the optimizer before the model is compiled.

        Args:
            optimizer: a new optimizer, not built yet.

        Returns:
            The optimizer to use.
        """
        return optimizer

    def before_step(self, model: keras.Model) -> None:
        """Add operations to the start of the compiled training step; traced, not run in Python.

        Only tensor operations take effect; create the plugin's variables in `setup`.

        Args:
            model: the model whose train_step follows.
        """

    def after_step(self, model: keras.Model) -> None:
        """Undo changes that before_step made to Python objects; called after each traced step.

        Args:
            model: the model given to before_step; its step may have failed.
        """

    def traced_key(self) -> str | None:
        """A key that identifies the operations before_step adds; None: never share or reuse them.

        Identically built models with equal keys share their compiled steps. If the key changes
        during a fit, between two dispatches, the step is recompiled.
        """
        return None

    def traced_variables(self) -> list[keras.Variable]:
        """The plugin's variables that before_step uses; called after setup."""
        return []

    @property
    def extends_step(self) -> bool:
        """Whether before_step is overridden, and so is part of the training step."""
        return type(self).before_step is not Callback.before_step

    # ---- exact resuming ----------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The state that a resumed run needs: numbers, text, arrays, and lists and dicts of them.

        By default, every attribute that holds such values and is not a field.
        """
        fields = set(self._get_param_names())
        found = callback_state.plain_attributes(self)
        return {name: value for name, value in found.items() if name not in fields}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what state_dict returned; called after on_train_begin.

        Args:
            state: what state_dict returned; tuples and arrays keep their types.
        """
        callback_state.set_attributes(self, state, fixed=self._get_param_names())

    # ---- parameters --------------------------------------------------------------------------

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The fields by name, as in scikit-learn; `deep` makes no difference."""
        return {name: getattr(self, name) for name in self._get_param_names()}

    def set_params(self, of_fit: dict[str, Any] | None = None, /, **params: Any) -> Any:
        """Set fields by name; returns self.

        Args:
            of_fit: epochs and steps: Keras passes them to callbacks with a method of this name.
            **params: the fields.

        Raises:
            ValueError: an unknown name; the message suggests similar ones.
        """
        if of_fit is not None:
            self.params = of_fit  # type: ignore[misc]
        known = self._get_param_names()
        for name, value in params.items():
            if name not in known:
                raise ValueError(
                    f"{name}={value!r}: {type(self).__name__} has no such field; "
                    f"{did_you_mean(name, known)}"
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{type(self).__name__}({shown})"
