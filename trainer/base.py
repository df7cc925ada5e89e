"""Trainer: fields, hooks, and fit / evaluate / predict / save / load.

Responsible for what a user subclasses and calls, and for the order of events in a fit. Not for
labels (`estimators`), data (`preparation`), the model's life (`network`) or the loop (`engine`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from trainer import callbacks as plugins
from trainer import doctor, fitting, models, saving
from trainer.data import preparation
from trainer.data.arrays import Tree, is_shape
from trainer.data.preparation import Rows
from trainer.data.streams import Stream
from trainer.doctor import Diagnosis, Training
from trainer.engine import memory
from trainer.engine.tensorflow import plan
from trainer.fields import path_fields
from trainer.fitting import Settings
from trainer.history import History
from trainer.models import ModelSpec
from trainer.network import compile
from trainer.network.allowed import Allowed
from trainer.network.build import Recipe
from trainer.network.network import Network
from trainer.parameters import Parameters
from trainer.runs.directory import Run, described
from trainer.saving import Fitted
from trainer.state.walking import NOT_STATE
from trainer.tasks import Task
from trainer.utils import checks

if TYPE_CHECKING:
    import keras

    from trainer.callbacks.callback import Session


class Trainer(Parameters):
    """A Keras model with everything that training it takes; a scikit-learn estimator.

    Subclass it, annotate hyperparameters as fields, and override the hooks you need:

        class Autoencoder(Trainer):
            units: Annotated[int, Int(2, 64)] = 8

            def build_model(self, spec):
                return keras.Sequential([
                    keras.Input(spec.input_shape),
                    keras.layers.Dense(self.units, "relu"),
                    keras.layers.Dense(spec.n_outputs),
                ])

        Autoencoder(loss="mse").fit(x, x)

    Use Classifier for labels and Regressor for numbers; a Trainer takes targets as they are.

    Attributes:
        model: a ready architecture ("mlp", "deep", "cnn", "wide_and_deep"), or None for one that
            suits the data; not used where build_model is overridden.
        epochs: how many times to go through the training data.
        batch_size: rows a step.
        optimizer: a name such as "adam", or a keras.optimizers.Optimizer, which is copied.
        learning_rate: a number or Keras schedule that replaces the optimizer's own.
        loss: a name, a Keras loss, a function, or one for each output. None: the task's usual
            one; then only the ratios of sample weights matter. With a loss of your own they are
            used as they are, as in Keras.
        metrics: a list of names, functions or keras.metrics.Metric. None: the task's usual ones.
        normalize: "standard" (mean 0, deviation 1) or "minmax" (0 to 1), inside the saved model.
            None: the ready architectures use "standard", a build_model of yours gets x as it is.
        validation_split: the share of the rows held out for validation; stratified for classes.
        shuffle: whether each epoch has an order of its own. A stream keeps its order.
        callbacks: names of plugins, dicts of a name and parameters, or keras.callbacks.Callback
            objects; trainer.callbacks.names() lists the names.
        class_weight: {label: weight} or "balanced", for a Classifier.
        precision: "float32", "float64", "mixed_bfloat16" or "mixed_float16". "auto": float32,
            but float64 for a ready architecture on vectors or a table of float64 without a GPU,
            as scikit-learn's estimators compute.
        jit: whether XLA compiles the training steps; "auto" decides by model and machine.
        resident_bytes: the most that data may take as tensors; larger arrays, memory-mapped ones
            say, are read chunk by chunk. None: a quarter of the memory available at fit.
        run_eagerly: run every step in Python, for debugging.
        random_state: a whole number makes fits repeat to the bit; a numpy RandomState or None
            draws one, kept in seed_.
        run_dir: a folder for this run, from which a fit that was killed goes on exactly: see fit.
            None: nothing is written.
        save_minutes: with run_dir, the longest time between two saved states within an epoch;
            each epoch's end is saved too, where that takes less than 2% of the time.
        save_steps: with run_dir, the most steps between two saved states within an epoch.
        verbose: 1 a bar, 2 a line an epoch, 0 silence; "auto" a bar on a terminal or in a
            notebook, silence elsewhere.

    After fit: model_ (the whole Keras model, which takes raw x), history_, seed_, run_ (the run's
    folder, or None), callbacks_ (the objects, those made from names too), and for vectors and
    tables n_features_in_ (feature_names_in_ where columns have names).
    """

    model: str | None = None
    epochs: int = 10
    batch_size: int = 32
    optimizer: Any = "adam"
    learning_rate: Any = None
    loss: Any = None
    metrics: Any = None
    normalize: str | None = None
    validation_split: float = 0.0
    shuffle: bool = True
    callbacks: Sequence[Any] = ()
    class_weight: Any = None
    precision: str = "auto"
    jit: bool | str = "auto"
    resident_bytes: int | None = None
    run_eagerly: bool = False
    random_state: Any = None
    run_dir: str | Path | None = None
    save_minutes: float | None = 10.0
    save_steps: int | None = None
    verbose: int | str = "auto"

    PATHS: ClassVar[tuple[str, ...]] = ("run_dir",)

    # ---- hooks -------------------------------------------------------------------------------

    def build_model(self, spec: ModelSpec) -> keras.Model:
        """Make the network. Override it for your own; it need not be compiled.

        Args:
            spec: the shape of a row, the width of the output, and the task.

        Returns:
            A Keras model: Sequential, functional or subclassed, with a train_step of its own if
            you like.
        """
        return models.build(self.model, spec)

    def configure_optimizer(self) -> keras.optimizers.Optimizer:
        """Make the optimizer; by default from the fields optimizer and learning_rate."""
        return compile.optimizer(self.optimizer, self.learning_rate)

    def configure_loss(self) -> Any:
        """Make the loss; by default from the field loss. None: the task's usual one."""
        return compile.loss(self.loss)

    def configure_metrics(self) -> Any:
        """Make the metrics; by default from the field metrics. None: the task's usual ones."""
        return compile.metrics(self.metrics)

    def configure_callbacks(self) -> list[Any]:
        """The callbacks of a fit, in the forms of the field callbacks; by default that field's."""
        return list(self.callbacks)

    def configure_task(self) -> Task:
        """The kind of task: what is learnt of y, default loss and metrics, class weights.

        Override it for a task of your own: see docs/extending.md.
        """
        return Task(**self.task_options())

    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
        """The loss of a batch as a scalar tensor; override it to replace the field loss.

        Args:
            x: the inputs as the network sees them.
            y: the encoded targets.
            y_pred: the network's outputs.
            sample_weight: weights of the rows, or None.
        """
        raise AttributeError("compute_loss is called only where a subclass overrides it")

    def get_extra_state(self) -> Any:
        """What of your own a resumed run must have back; called whenever a state is saved.

        The variables and generators that a step works on are saved without it. It is for plain
        attributes, such as a count that a step of run_eagerly=True keeps in Python. Override
        set_extra_state with it.

        Returns:
            Numbers, text, arrays, and lists, tuples, sets and dicts of them; a dict with the names
            of your attributes as keys, best. None: nothing.
        """
        return None

    def set_extra_state(self, state: Any) -> None:
        """Take back what get_extra_state gave; called before the first step of a resumed run.

        Called after on_train_begin, when variables and callbacks have their states. Not called
        where get_extra_state gave None.

        Args:
            state: with tuples, arrays and their types as they were.
        """
        raise AttributeError("set_extra_state is called only where a subclass overrides it")

    # ---- what people call --------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        validation_data: Any = None,
        sample_weight: Any = None,
        resume: bool | str = "auto",
    ) -> Self:
        """Train a new model, or resume the run in the folder run_dir.

        With run_dir, the state of the training is saved while it lasts. After a kill at any
        instant, the same call resumes from the last state and ends with the same bytes of weights
        as if nothing had happened. SIGTERM and Ctrl-C save first. Of a finished run the same call
        returns the fitted Trainer, without training: a job can be started again at any time.

        Args:
            x: arrays [n, ...], a DataFrame, a dict or tuple of arrays (several inputs), a
                tf.data.Dataset or a keras.utils.PyDataset of (x, y) or (x, y, sample_weight).
            y: targets of n rows, nested for several outputs; None if x is a stream.
            validation_data: (x, y), (x, y, sample_weight) or a stream, evaluated each epoch.
            sample_weight: weights of the rows, [n].
            resume: "auto": if run_dir holds a run with the same fields and data, resume it, or
                return it if it is finished; refuse, with the differences, if these changed. True:
                the same, but fail where there is no run; more epochs than a run had train it
                further. False: begin a new run.

        Returns:
            self.

        Raises:
            TypeError, ValueError: bad arguments or fields, before any training starts.
            KeyboardInterrupt: Ctrl-C; the Trainer is fitted as far as it came.
        """
        plan.limit_threads()
        chosen = self._check_fields()
        checks.one_of("resume", resume, ("auto", True, False))
        seed = fitting.draw_seed(self.random_state)
        owner = type(self).__name__ if self.configure_task().needs_y else None
        train = preparation.collect(x, y, sample_weight, batch_size=self.batch_size, needs_y=owner)
        valid = preparation.collect_validation(
            validation_data, batch_size=self.batch_size, needs_y=owner
        )
        settings = self._settings()
        fields = self.get_params(deep=False)
        with fitting.run_of(settings, fields, train, valid, seed, resume) as run:
            seed = seed if run is None else run.seed
            if valid is None and self.validation_split:
                train, valid = self._split(train, seed)
            network, feed, validation_feed = fitting.prepare(
                self.recipe(), self.configure_task(), settings, chosen, train, valid, seed
            )
            self.adopt(network, History(), seed)
            self.run_, self.callbacks_ = None if run is None else run.path, chosen
            session = self._session(feed, validation_feed, run)
            own = fitting.own_state(
                self,
                network,
                chosen,
                takes_back=type(self).set_extra_state is not Trainer.set_extra_state,
                reported=run is not None,
            )
            if not fitting.give_back(session, settings, own, run):
                fitting.train(session, settings, own, run)
        memory.fit_ended()
        doctor.warn_of_failure(self._training())
        return self

    def evaluate(self, x: Any, y: Any = None, *, sample_weight: Any = None) -> dict[str, float]:
        """The loss and every metric on the given data, by name.

        Args:
            x, y, sample_weight: as for fit.

        Raises:
            sklearn.exceptions.NotFittedError: before fit.
            TypeError, ValueError: data that do not fit what training saw.
        """
        network = self.network_
        owner = type(self).__name__ if self.configure_task().needs_y else None
        data = preparation.collect(x, y, sample_weight, batch_size=self.batch_size, needs_y=owner)
        return network.evaluate(fitting.evaluation_feed(self._settings(), network, data))

    def predict(self, x: Any) -> Any:
        """Predictions for the rows of x.

        Args:
            x: as for fit; of a stream only its x is used.

        Returns:
            The network's outputs [n, ...]: numbers for a Regressor, in the shape of the training
            y; labels [n] for a Classifier; nested for several outputs.

        Raises:
            sklearn.exceptions.NotFittedError: before fit.
            TypeError, ValueError: x does not fit what training saw.
        """
        return self.network_.targets.decode(self._outputs(x))

    def summary(self) -> str:
        """What was trained, and how it went, as text.

        Raises:
            sklearn.exceptions.NotFittedError: before fit.
        """
        from trainer.network.summary import describe

        return describe(type(self).__name__, self.network_, self.history_, self.seed_)

    def diagnose(self) -> Diagnosis:
        """What is wrong with the training, if anything: the likeliest cause first; prints well.

        It looks at the history and at a few rows that fit kept, in memory only. After a poor
        training it also tries other learning rates on these, for some 50 steps each.

        Raises:
            sklearn.exceptions.NotFittedError: before fit.
        """
        check_is_fitted(self, "model_")
        return doctor.diagnose(self._training())

    def save(self, path: str | Path) -> Path:
        """Write the fitted Trainer as one .keras file, which plain Keras can load too.

        The file is written beside its place and renamed: an earlier one stays whole until then.
        Where things are on this machine is not in it: neither run_dir, nor fields of yours that
        you name in PATHS, nor the folders of callbacks.

        Args:
            path: a path that ends in .keras.

        Returns:
            The path.

        Raises:
            ValueError: another ending.
            OSError: the folder cannot be written to, or the disk is full.
        """
        network = self.network_
        return saving.save(self._as_fitted(), network, path)

    @classmethod
    def load(cls, path: str | Path, *, custom_objects: Mapping[str, Any] | None = None) -> Self:
        """Read a Trainer that `save` of the same class wrote.

        Nothing in the file is executed or unpickled, whatever the process has switched on: its
        network is made by build_model, and it may name classes and plugins of Keras and of this
        package only, of the module in which this class is defined, and those of custom_objects.

        Args:
            path: the file.
            custom_objects: more classes, functions and plugins that the file may use, by name.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged, foreign, names what it may not, or was saved by another
                class.
        """

        def make(fields: dict[str, Any]) -> tuple[Self, Recipe, Task, list[Any]]:
            made = cls(**fields)
            chosen = made._check_fields()
            return made, made.recipe(), made.configure_task(), chosen

        loaded: Self
        loaded, network, history, seed = saving.load(
            path,
            owner=cls.__name__,
            names=cls._get_param_names(),
            paths=path_fields(cls),
            allowed=Allowed(cls, custom_objects),
            make=make,
        )
        loaded.adopt(network, history, seed)
        return loaded

    # ---- the parts of a fit ------------------------------------------------------------------

    @property
    def _ready_made(self) -> bool:
        return type(self).build_model is Trainer.build_model

    def task_options(self) -> dict[str, Any]:
        """What a Task takes from the estimator: owner, ready_made and class_weight."""
        return {
            "owner": type(self).__name__,
            "ready_made": self._ready_made,
            "class_weight": self.class_weight,
        }

    def _settings(self) -> Settings:
        names = (field.name for field in dataclasses.fields(Settings) if field.name != "owner")
        return Settings(type(self).__name__, **{name: getattr(self, name) for name in names})

    def _session(self, feed: Any, validation: Any, run: Run | None) -> Session:
        from trainer.callbacks.callback import Session

        def save(path: str | Path, history: History | None = None) -> Path:
            if history is None:
                return self.save(path)
            return saving.save(self._as_fitted(history), self._network, path)

        return Session(
            owner=type(self).__name__,
            params={name: described(value) for name, value in self.get_params().items()},
            epochs=self.epochs,
            verbose=self.verbose,
            callbacks=self.callbacks_,
            network=self._network,
            history=self.history_,
            feed=feed,
            validation=validation,
            seed=self.seed_,
            folder=None if run is None else run.path,
            save=save,
            load_weights=functools.partial(saving.load_weights, self._network),
            run=run,
            deprecated_trainer=self,
        )

    def _training(self) -> Training:
        return Training(
            self.recipe(),
            self._network,
            self.history_,
            self.seed_,
            self.batch_size,
            self.normalize,
        )

    def _as_fitted(self, history: History | None = None) -> Fitted:
        paths = path_fields(type(self))
        fields = {k: v for k, v in self.get_params(deep=False).items() if k not in paths}
        return Fitted(type(self).__name__, fields, self.seed_, history or self.history_)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("callbacks_", None)  # they may hold files and the like
        if "_network" in state:
            # Keras models of custom classes do not pickle; the saved form of a Trainer does.
            state["_saved"] = saving.to_bytes(self._as_fitted(), state.pop("_network"))
            state.pop("model_")
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        saved = state.pop("_saved", None)
        super().__setstate__(state)
        if saved is not None:
            network = saving.network_from_bytes(
                self.recipe(),
                self.configure_task(),
                plugins.make_all(self.configure_callbacks()),
                saved,
            )
            self._network, self.model_ = network, network.whole

    def recipe(self) -> Recipe:
        """What this estimator specifies about its network: its hooks, and the task's defaults."""

        def plain(hook: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any) -> Any:
                with self.python_scalars():
                    return hook(*args)

            return call

        own_loss = type(self).compute_loss is not Trainer.compute_loss
        return Recipe(
            owner=type(self).__name__,
            build_model=plain(self.build_model),
            optimizer=plain(self.configure_optimizer),
            loss=plain(self.configure_loss),
            metrics=plain(self.configure_metrics),
            compute_loss=self.compute_loss if own_loss else None,
            defaults=self.configure_task(),
            ready_made=self._ready_made,
            run_eagerly=self.run_eagerly,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.configure_task().needs_y
        return tags

    def _check_fields(self) -> list[Any]:
        """Refuse wrong fields; gives the callbacks."""
        checks.field_values({f: getattr(self, f) for f in Trainer.__dataclass_fields__})
        if self._ready_made and self.model is not None:
            if not isinstance(self.model, str):
                raise TypeError(
                    f"model={self.model!r}: must be the name of a ready architecture, such as "
                    "'mlp'; for a network of your own override build_model"
                )
            checks.one_of("model", self.model, models.ARCHITECTURES)
        self.configure_optimizer()
        self.configure_loss()
        self.configure_metrics()
        return plugins.make_all(self.configure_callbacks())

    def _split(self, data: Rows | Stream, seed: int) -> tuple[Rows, Rows]:
        if isinstance(data, Stream):
            raise ValueError(
                f"validation_split={self.validation_split}: a stream cannot be split; pass "
                "validation_data, for example x.take(k), and train on x.skip(k)"
            )
        return preparation.split_rows(
            data,
            self.validation_split,
            stratify=self.configure_task().strata(data),
            shuffle=self.shuffle,
            seed=seed,
        )

    def adopt(self, network: Network, history: History, seed: int) -> None:
        """Become fitted with a network.

        Args:
            network: A built network.
            history: The history of its training.
            seed: The seed of its training.
        """
        for name in ("n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)
        self._network = network
        self.model_ = network.whole
        self.history_ = history
        self.seed_ = seed
        if network.inputs.n_features is not None:
            self.n_features_in_ = network.inputs.n_features
        if network.inputs.names is not None:
            self.feature_names_in_ = np.array(network.inputs.names, dtype=object)

    def _outputs(self, x: Any) -> Tree:
        network = self.network_
        if preparation.is_stream(x):
            shapes = network.inputs.shapes
            rank = len(shapes) if is_shape(shapes) else None
            stream = Stream.of(x, batch_size=self.batch_size, name="x", row_rank=rank)
            network.inputs.check_stream(stream.x_spec, type(self).__name__)
            return network.predict_stream(stream)
        return network.predict(network.inputs.prepare(x, type(self).__name__))

    @property
    def network_(self) -> Network:
        """The trained model with its encoders and compiled functions: for plugins and tools.

        Raises:
            sklearn.exceptions.NotFittedError: Before fit.
        """
        check_is_fitted(self, "model_")
        return self._network


# What the walk for a person's own state passes over: fields, and what a fit leaves.
setattr(
    Trainer,
    NOT_STATE,
    frozenset(Trainer.__dataclass_fields__)
    | {"_network", "callbacks_", "history_", "model_", "run_", "seed_"},
)
