"""Callback: the base of plugins.

Responsible for what a plugin may override and for what a fit tells it. Not for finding plugins by
name (the package itself does), nor for when hooks are called (`engine.loop`).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import keras

from trainer.callbacks import states
from trainer.checks import did_you_mean
from trainer.engine.interrupts import Interrupts
from trainer.fields import Fields

if TYPE_CHECKING:
    from trainer.history import History
    from trainer.network import Network
    from trainer.runs import Run


@dataclass(frozen=True)
class Session:
    """What callbacks see of a fit.

    Attributes:
        owner: the name of the estimator's class.
        params: its fields and those of its callbacks, by name.
        epochs: for how many it is trained.
        verbose: its field of this name.
        callbacks: the callbacks of the fit, in their order.
        network: its built network; `network.core` is the model whose steps run.
        history: of the epochs so far.
        feed: the training batches.
        validation: the validation batches, or None.
        seed: of the fit.
        folder: the run's folder, or None without the field run_dir.
        save: writes the estimator to a file, as Trainer.save; with a History as second argument,
            that one takes the place of the history.
        interrupts: what stops the training before its end.
        run: the run, or None without the field run_dir.
        given_back: whether the run had been finished before: then nothing is trained or written,
            and plugins only take their state back.
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
    interrupts: Interrupts = field(default_factory=Interrupts)
    run: Run | None = None
    given_back: bool = False
    deprecated_trainer: Any = field(default=None, repr=False)  # goes with the property below

    @property
    def trainer(self) -> Any:
        """The Trainer that is being fitted; deprecated, and gone in the next release."""
        warnings.warn(
            "session.trainer is deprecated and will be removed; write session.epochs, "
            "session.params, session.history, session.callbacks or session.save(path)",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.deprecated_trainer

    def stop(self, name: str) -> None:
        """Stop the training after the running dispatch, without finishing the run.

        The state is saved at that very place, and the same call of fit resumes there, even in the
        middle of an epoch. That epoch is validated and recorded as it is, so that the Trainer is
        fitted; callbacks are not told of its end. To finish a run early, so that it is not
        resumed, set `model.stop_training` instead.

        Args:
            name: of the plugin that asks for it.
        """
        self.interrupts.asked = name

    def may_write(self, path: Path) -> bool:
        """Whether a plugin may write to a path now.

        False, after a warning, where the path is in the run's folder, and that was removed or
        taken by another process, or the path has become a link.
        """
        return self.run is None or self.run.may_write(path)

    def sample(self, *, validation: bool = False) -> tuple[Any, ...] | None:
        """The first batch of training or validation rows, in their own order.

        Returns:
            (x,), (x, y) or (x, y, sample_weight) as tensors [batch, ...], as the core's
            train_step takes them; None where there are no validation data.
        """
        feed = self.validation if validation else self.feed
        return None if feed is None else self.network.program.transformed(feed.first())


class Callback(Fields, keras.callbacks.Callback):
    """A keras.callbacks.Callback whose parameters are fields, and that a resumed run goes on with.

    Annotate parameters as in a Trainer, and override the hooks of Keras that you need:

        class Patience(Callback):
            epochs: Annotated[int, Int(1, 20)] = 3

            def on_epoch_end(self, epoch, logs=None):
                ...

    Hooks beyond those of Keras: `on_chunk_end`, which is called some times a second and costs
    nothing, `configure_optimizer` and `before_step`.

    Attributes:
        name: what the plugin is called in `callbacks=["name"]` and in nested parameters; the
            class's name in snake case unless it is registered under another one.
        every_n_batches: how often on_train_batch_begin and on_train_batch_end are to be called,
            where they are overridden: at every n-th batch and at the last. None: at every batch,
            which costs a dispatch for each. 0: not for this callback's sake.
        session: what is being trained, from on_train_begin to on_train_end; otherwise None.
    """

    name: ClassVar[str] = "callback"
    every_n_batches: ClassVar[int | None] = None

    # None outside a fit. Not typed so: every hook would have to assert that there is one.
    session: ClassVar[Session] = None  # type: ignore[assignment]
    params: ClassVar[Any] = None
    _model: ClassVar[Any] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__)
            cls.name = cls.name.lower()

    # ---- hooks beyond those of Keras ---------------------------------------------------------

    def setup(self, session: Session) -> None:
        """Called once a fit, when the model is built and before anything is traced or trained.

        Here a plugin refuses what it cannot work with, and makes variables that before_step uses.

        Args:
            session: the same as `self.session` up to on_train_end.
        """

    def teardown(self) -> None:
        """Called once a fit, after everything else, however it ended."""

    def on_chunk_end(self, steps: int, logs: dict[str, float]) -> None:
        """Called after each dispatch of training steps, some times a second.

        Args:
            steps: how many steps of the epoch are done.
            logs: the loss and metrics of the epoch so far.
        """

    def configure_optimizer(self, optimizer: keras.optimizers.Optimizer) -> Any:
        """Change, or replace, the optimizer before the model is compiled.

        Args:
            optimizer: fresh, and not built yet.

        Returns:
            The optimizer to use.
        """
        return optimizer

    def before_step(self, model: keras.Model) -> None:
        """Add operations to the compiled training step, before its own; traced, not run in Python.

        Only tensor operations take effect; variables of the plugin's own are made in `setup`.

        Args:
            model: the model whose train_step follows.
        """

    def after_step(self, model: keras.Model) -> None:
        """Undo, after each step that before_step was called for, what it did to Python's objects.

        Args:
            model: the same; its step may have failed.
        """

    def traced_key(self) -> str | None:
        """What determines what before_step does to a step; None: anything may.

        Models that are built alike share their compiled steps where it is equal. Where it changes
        during a fit, between two dispatches, the step is compiled anew.
        """
        return None

    def traced_variables(self) -> list[keras.Variable]:
        """The variables of its own that before_step works on; asked for after setup."""
        return []

    @property
    def extends_step(self) -> bool:
        """Whether before_step is overridden, so that it joins the training step."""
        return type(self).before_step is not Callback.before_step

    # ---- exact resuming ----------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs: numbers, text, arrays, and lists and dicts of them.

        By default every attribute that holds such values and is no field.
        """
        fields = set(self._get_param_names())
        found = states.plain_attributes(self)
        return {name: value for name, value in found.items() if name not in fields}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what state_dict gave; called after on_train_begin.

        Args:
            state: with tuples, arrays and their types as they were.
        """
        states.set_attributes(self, state, fixed=self._get_param_names())

    # ---- parameters --------------------------------------------------------------------------

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The fields by name, as scikit-learn asks for them."""
        return {name: getattr(self, name) for name in self._get_param_names()}

    def set_params(self, of_fit: dict[str, Any] | None = None, /, **params: Any) -> Any:
        """Set fields by name; returns self.

        Args:
            of_fit: what Keras tells a callback of a fit, by the same method: epochs and steps.
            **params: the fields.

        Raises:
            ValueError: an unknown name, with near ones.
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
