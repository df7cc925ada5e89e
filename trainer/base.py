"""Trainer: fields, hooks, and fit / evaluate / predict / save / load.

Responsible for the class that users subclass and call, and for the order of events in a fit. Not
for labels (`estimators`), data (`preparation`), the model (`network`) or the loop (`engine`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from trainer import callbacks as plugins
from trainer import doctor, fitting, models, saving, sklearn_callbacks
from trainer.data import preparation, sparse
from trainer.data.arrays import Tree
from trainer.data.preparation import MissingTargets, Rows
from trainer.data.streams import Stream, is_stream
from trainer.doctor import Diagnosis, Training
from trainer.engine import memory
from trainer.engine.backend import plan
from trainer.fields import path_fields
from trainer.fitting import Settings
from trainer.history import History
from trainer.models import Architecture, Chosen, Look, ModelSpec, Values
from trainer.network import compile
from trainer.network.allowed import Allowed
from trainer.network.build import Recipe
from trainer.network.network import Network, own_loss
from trainer.parameters import Parameters
from trainer.runs import code
from trainer.runs.directory import Run, described, earlier_architecture
from trainer.saving import Fitted
from trainer.sklearn_callbacks import SupportsCallbacks
from trainer.state.isolation import thread_kept
from trainer.state.walking import NOT_STATE
from trainer.tasks import Task
from trainer.utils import checks

if TYPE_CHECKING:
    import keras

    from trainer.callbacks.callback import Session


class Trainer(SupportsCallbacks, Parameters):
    """A Keras model with everything needed to train it; a scikit-learn estimator.

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

    Use Classifier for labels and Regressor for numbers; a Trainer does not encode its targets.

    Attributes:
        model: a ready-made architecture by its name (trainer.models.ARCHITECTURES lists them), or
            a dict with its name and options, such as {"name": "mlp", "hidden": (64,)}. None: one
            that suits the data. Ignored if build_model is overridden.
        epochs: number of passes over the training data. None: the architecture's own number; 10
            for "mlp", "deep", "cnn", "wide_and_deep" and a build_model of your own.
        batch_size: rows per step. None: the architecture's own, or 32.
        optimizer: a name such as "adam", or a keras.optimizers.Optimizer, which is copied. None:
            the architecture's own, with its schedule of the learning rate; "adam" for a
            build_model of your own, unless that compiles its model.
        learning_rate: a number or Keras schedule that replaces the optimizer's default.
        loss: a name, a Keras loss, a function, or one per output. None: the task's default; then
            only the ratios of the sample weights matter. A custom loss uses them unscaled, as in
            Keras.
        metrics: a list of names, functions or keras.metrics.Metric. None: the task's defaults.
        normalize: "standard" (mean 0, deviation 1) or "minmax" (0 to 1), inside the saved model.
            None: "standard" for the ready-made architectures, nothing for a custom build_model.
        validation_split: the share of the rows held out for validation; stratified for classes,
            the last rows for "sequence" where rows are windows of one series.
            None: the architecture's own, or 0. An architecture with one ends with the weights of
            its best epoch, unless `callbacks` has early stopping of its own; it holds out nothing
            if validation_data are given.
        shuffle: whether to reshuffle the rows every epoch. A stream keeps its order.
        callbacks: plugin names, dicts with a name and parameters, or keras.callbacks.Callback
            objects; trainer.callbacks.names() lists the names.
        class_weight: {label: weight} or "balanced" (classes of equal weight, as in scikit-learn),
            for a Classifier with one output and one label a row; otherwise pass sample_weight.
        missing_target: "drop" leaves out rows that have no target (NaN, None, NaT or pd.NA), with a
            warning that counts them; "raise" is an error. A Trainer's or Regressor's own loss (a
            function, keras.losses.Loss or compute_loss) sees such rows, and one that build_model
            compiles sees them with "raise". Streams have to leave them out themselves.
        precision: "float32", "float64", "mixed_bfloat16" or "mixed_float16". "auto": float32, but
            float64 for a ready-made architecture on float64 vectors or tables without a GPU, the
            precision of scikit-learn's estimators, or where the mean of y is so large that float32
            has too few digits for the deviations from it.
        jit: whether to compile the training steps with XLA; "auto" decides by model and machine.
        resident_bytes: the most memory that data may take as tensors; larger arrays, such as
            memory-mapped ones, are read in chunks. None: a quarter of the memory available at fit.
        run_eagerly: run every step in Python, for debugging.
        random_state: an integer makes fits repeat bit for bit; with a numpy RandomState or None
            the seed is drawn and stored in seed_.
        run_dir: a folder for this run, from which an interrupted fit resumes exactly: see fit.
            None: nothing is written.
        save_minutes: with run_dir, the longest time between two saved states within an epoch. The
            end of each epoch is saved too if that takes less than 2% of the time.
        save_steps: with run_dir, the most steps between two saved states within an epoch.
        verbose: 1 for a bar, 2 for one line per epoch, 0 for nothing; "auto" shows a bar on a
            terminal or in a notebook, nothing elsewhere.

    After fit: model_ (the complete Keras model, which takes raw x), history_, seed_, run_ (the
    run's folder, or None), callbacks_ (the objects, including those made from names), and for
    vectors and tables n_features_in_ (feature_names_in_ if the columns have names).
    """

    model: str | Mapping[str, Any] | None = None
    epochs: int | None = None
    batch_size: int | None = None
    optimizer: Any = None
    learning_rate: Any = None
    loss: Any = None
    metrics: Any = None
    normalize: str | None = None
    validation_split: float | None = None
    shuffle: bool = True
    callbacks: Sequence[Any] = ()
    class_weight: Any = None
    missing_target: str = "drop"
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
        """Build the network. Override it for a custom one; it need not be compiled.

        If it is, it is trained as it was compiled, and the fields optimizer, learning_rate, loss
        and metrics must be left out. What compile does not set, the task does: the loss, unless
        the model adds or computes one, and the metrics. A model with a `compile` of its own, such
        as a GAN, must be compiled here.

        Args:
            spec: the shape of a row, the width of the output, and the task.

        Returns:
            A Keras model: Sequential, functional or subclassed, optionally with a custom
            train_step.
        """
        return models.build(self.model, spec)

    def configure_optimizer(self) -> keras.optimizers.Optimizer:
        """Create the optimizer; by default from the fields optimizer and learning_rate."""
        return compile.optimizer(self.optimizer, self.learning_rate)

    def configure_loss(self) -> Any:
        """Create the loss; by default from the field loss. None: the task's default."""
        return compile.loss(self.loss)

    def configure_metrics(self) -> Any:
        """Create the metrics; by default from the field metrics. None: the task's defaults."""
        return compile.metrics(self.metrics)

    def configure_callbacks(self) -> list[Any]:
        """The callbacks of a fit, given as in the field callbacks; by default that field."""
        return list(self.callbacks)

    def configure_task(self) -> Task:
        """The kind of task: how y is encoded, the default loss and metrics, class weights.

        Override it for a custom task: see docs/extending.md.
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
        """Custom state that a resumed run needs; called whenever a state is saved.

        Variables and random generators that a training step uses are saved anyway. This is for
        plain attributes, such as a counter that a step with run_eagerly=True keeps in Python.
        Override set_extra_state too.

        Returns:
            Numbers, text, arrays, and lists, tuples, sets and dicts of them; preferably a dict
            with your attribute names as keys. None: nothing to save.
        """
        return None

    def set_extra_state(self, state: Any) -> None:
        """Restore what get_extra_state returned; called before the first step of a resumed run.

        Called after on_train_begin, once variables and callbacks have been restored. Not called
        if get_extra_state returned None.

        Args:
            state: what get_extra_state returned; tuples and arrays keep their types.
        """
        raise AttributeError("set_extra_state is called only where a subclass overrides it")

    # ---- public methods ----------------------------------------------------------------------

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

        With run_dir, the training state is saved as the fit proceeds. If the process is killed at
        any moment, the same call resumes from the last saved state and ends with weights that are
        byte for byte those of an uninterrupted run. SIGTERM and Ctrl-C save first. If the run is
        finished, the same call returns the fitted Trainer without training, so a job can be
        restarted at any time.

        Args:
            x: arrays [n, ...], a table (a DataFrame of pandas or polars, an Arrow table), a SciPy
                sparse matrix [n, d], a dict or tuple of arrays (several inputs), a tf.data.Dataset
                or a keras.utils.PyDataset of (x, y) or (x, y, sample_weight).
            y: targets of n rows, nested for several outputs; None if x is a stream.
            validation_data: (x, y), (x, y, sample_weight) or a stream, evaluated every epoch.
            sample_weight: weights of the rows, [n].
            resume: "auto": if run_dir holds a run with the same fields and data, resume it, or
                return it if it is finished; raise an error that lists the differences if they, or
                the code of the Trainer's class or arguments, changed. True: the same, but fail if
                there is no run; a larger epochs trains a finished run further. "force": as "auto",
                but resume a run although the code has changed. False: start a new run.

        Returns:
            self.

        Raises:
            TypeError, ValueError: bad arguments or fields, before any training starts.
            KeyboardInterrupt: Ctrl-C; the Trainer is fitted as far as training got.
        """
        plan.limit_threads()
        with thread_kept():
            self._check_values()
            checks.one_of("resume", resume, ("auto", True, False, "force"))
            seed = fitting.draw_seed(self.random_state)
            train, architecture = self._collect(x, y, sample_weight)
            values = architecture.values
            with self._resolved(architecture):
                chosen = self._check_hooks()
                owner = type(self).__name__ if self.configure_task().needs_y else None
            valid = preparation.collect_validation(
                validation_data,
                batch_size=values.batch_size,
                needs_y=owner,
                missing=self.missing_targets(),
            )
            chosen += self._added(architecture, chosen, valid is not None)
            settings = self._settings(values)
            epochs = fitting.limited_epochs(settings)
            fields = self.get_params(deep=False) | _shared(values)
            written = {} if self.run_dir is None else code.of(self)
            with fitting.run_of(
                settings, fields, architecture.resolved(), written, train, valid, seed, resume
            ) as run:
                seed = seed if run is None else run.seed
                if valid is None and values.validation_split:
                    train, valid = self._split(train, values, seed)
                network, feed, validation_feed = fitting.prepare(
                    self.recipe(architecture),
                    self.configure_task(),
                    settings,
                    chosen,
                    train,
                    valid,
                    seed,
                    tables_as_0_1=run is not None and run.tables_as_0_1,
                )
                task = self.configure_task()
                task.check_validation(network.targets, valid)
                tune = functools.partial(task.tune, network, valid)
                self.adopt(network, History(), seed)
                self.run_, self.callbacks_ = None if run is None else run.path, chosen
                session = self._session(feed, validation_feed, run, epochs, tune)
                own = fitting.own_state(
                    self,
                    network,
                    chosen,
                    takes_back=type(self).set_extra_state is not Trainer.set_extra_state,
                    reported=run is not None,
                )
                with self._watched(x, y, train, session, tune) as watched:
                    if fitting.give_back(session, settings, own, run):
                        tune()
                    else:
                        fitting.train(session, settings, own, run, tune, watched)
            memory.fit_ended()
            doctor.warn_of_failure(self._training())
        return self

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        *,
        sample_weight: Any = None,
        batch_size: int | None = None,
    ) -> dict[str, float]:
        """The loss and every metric on the given data, by name.

        Args:
            x: as for fit.
            y: as for fit.
            sample_weight: as for fit.
            batch_size: rows per step. None: the field batch_size; more where that changes no
                result and takes little memory. A stream has batches of its own.

        Raises:
            sklearn.exceptions.NotFittedError: before fit.
            TypeError, ValueError: the data do not match the training data.
        """
        network = self.network_
        owner = type(self).__name__ if self.configure_task().needs_y else None
        preparation.check_batch_size(batch_size, x)
        values = self.resolved_
        data = preparation.collect(
            x,
            y,
            sample_weight,
            batch_size=values.batch_size,
            needs_y=owner,
            missing=self.missing_targets(),
        )
        settings = self._settings(values)
        if batch_size is not None:
            settings = dataclasses.replace(settings, batch_size=batch_size)
        return network.evaluate(
            fitting.evaluation_feed(settings, network, data, exact=batch_size is not None)
        )

    def predict(self, x: Any, *, batch_size: int | None = None) -> Any:
        """Predictions for the rows of x.

        Args:
            x: as for fit; a stream's targets and weights are ignored.
            batch_size: rows per step. None: 32, as in Keras; more where they take little memory. A
                stream has batches of its own.

        Returns:
            The network's outputs [n, ...]: numbers for a Regressor, in the shape of the training
            y; labels [n] for a Classifier; nested for several outputs.

        Raises:
            sklearn.exceptions.NotFittedError: before fit.
            TypeError, ValueError: x does not match the training data.
        """
        return self.network_.targets.decode(self._outputs(x, batch_size))

    def summary(self) -> str:
        """Describe the model and its training as text.

        Raises:
            sklearn.exceptions.NotFittedError: before fit.
        """
        from trainer.network.summary import describe

        return describe(type(self).__name__, self.network_, self.history_, self.seed_)

    def diagnose(self) -> Diagnosis:
        """Find what is wrong with the training, if anything; the likeliest cause comes first.

        It examines the history and a few rows that fit kept in memory. After a poor training it
        also tries other learning rates on these rows, for about 50 steps each. Print the result.

        Raises:
            sklearn.exceptions.NotFittedError: before fit.
        """
        check_is_fitted(self, "model_")
        with thread_kept():
            return doctor.diagnose(self._training())

    def save(self, path: str | Path, *, adapters_only: bool = False) -> Path:
        """Write the fitted Trainer to one .keras file, which plain Keras can load too.

        The file is written atomically: an existing one is replaced only by a complete one.
        Paths on this machine are left out: run_dir, your own fields that you list in PATHS, and
        the folders of callbacks.

        Args:
            path: a path that ends in .keras.
            adapters_only: leave out the frozen weights, the optimizer's state and the architecture
                for plain Keras: the file is small, and `load` checks that build_model makes the
                same frozen weights again, by their digest. For LoRA and for a frozen backbone.

        Returns:
            The path.

        Raises:
            ValueError: the path does not end in .keras; or adapters_only, and no weight is frozen.
            OSError: the folder cannot be written to, or the disk is full.
        """
        network = self.network_
        with thread_kept():
            return saving.save(self._as_fitted(), network, path, adapters_only=adapters_only)

    @classmethod
    def load(cls, path: str | Path, *, custom_objects: Mapping[str, Any] | None = None) -> Self:
        """Load a Trainer written by `save` of the same class.

        Nothing in the file is executed or unpickled, even with Keras' unsafe deserialization
        enabled. build_model makes the network, and the file may name only classes and plugins of
        Keras, of this package, of the module that defines this class, and of custom_objects.

        Args:
            path: the file.
            custom_objects: more classes, functions and plugins that the file may use, by name.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged, not written by `save`, names something that is not allowed,
                or was saved by another class.
        """

        def make(
            fields: dict[str, Any], architecture: Chosen
        ) -> tuple[Self, Recipe, Task, list[Any]]:
            made = cls(**fields)
            made._check_values()
            with made._resolved(architecture):
                chosen = made._check_hooks()
            return made, made.recipe(architecture), made.configure_task(), chosen

        loaded: Self
        with thread_kept():
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
        """The arguments for a Task: owner, ready_made and class_weight."""
        return {
            "owner": type(self).__name__,
            "ready_made": self._ready_made,
            "class_weight": self.class_weight,
        }

    def missing_targets(self) -> MissingTargets:
        """What is done with rows that have no target: see the field missing_target."""
        if type(self).compute_loss is not Trainer.compute_loss:
            return MissingTargets(self.missing_target, lambda part: True)
        loss = self.configure_loss()
        if loss is None:
            # A build_model may compile its own loss; if not, an error says so once it is built.
            unknown = self.missing_target == "raise" and not self._ready_made
            return MissingTargets(self.missing_target, lambda part: unknown)
        return MissingTargets(self.missing_target, lambda part: own_loss(loss, part))

    def _settings(self, values: Values) -> Settings:
        names = (field.name for field in dataclasses.fields(Settings) if field.name != "owner")
        found = {name: getattr(self, name) for name in names}
        found |= {name: value for name, value in _shared(values).items() if name in found}
        return Settings(type(self).__name__, **found)

    def _session(
        self,
        feed: Any,
        validation: Any,
        run: Run | None,
        epochs: int,
        tune: Callable[[], None],
    ) -> Session:
        from trainer.callbacks.callback import Session

        def save(path: str | Path, history: History | None = None) -> Path:
            tune()  # for the weights that are saved: a checkpoint's file is complete
            if history is None:
                return self.save(path)
            return saving.save(self._as_fitted(history), self._network, path)

        return Session(
            owner=type(self).__name__,
            params={name: described(value) for name, value in self.get_params().items()}
            | _shared(self._network.architecture.values),
            epochs=epochs,
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

    @contextlib.contextmanager
    def _watched(
        self,
        x: Any,
        y: Any,
        train: Rows | Stream,
        session: Session,
        tune: Callable[[], None],
    ) -> Iterator[sklearn_callbacks.Epochs | None]:
        """Report this context to scikit-learn's callbacks as the fit; yield its epochs."""
        weight = None
        if isinstance(train, Rows):  # without those that are held out, or have no target
            x, y, weight = sparse.given(train.x), train.y, train.weight

        def fitted(history: History) -> dict[str, Any]:
            tune()  # for the weights as they are now, as for a checkpoint
            memory.fit_ended()  # the copies before have networks of their own, as fits have
            return {"history_": history}

        with sklearn_callbacks.managed(self):
            task = sklearn_callbacks.root(self, session.epochs, x=x, y=y, sample_weight=weight)
            yield None if task is None else sklearn_callbacks.Epochs(task, fitted)
            if task is not None:
                task.end(lambda: {"history_": self.history_})

    def _training(self) -> Training:
        return Training(
            self.recipe(self._network.architecture),
            self._network,
            self.history_,
            self.seed_,
            self.resolved_.batch_size,
            self.normalize,
        )

    def _as_fitted(self, history: History | None = None) -> Fitted:
        paths = path_fields(type(self))
        fields = {k: v for k, v in self.get_params(deep=False).items() if k not in paths}
        return Fitted(type(self).__name__, fields, self.seed_, history or self.history_)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        for name in ("callbacks_", "added_callbacks_"):  # they may hold open files, for example
            state.pop(name, None)
        if "_network" in state:
            # Keras models of custom classes do not pickle; the saved form of a Trainer does.
            with thread_kept():
                state["_saved"] = saving.to_bytes(self._as_fitted(), state.pop("_network"))
            state.pop("model_")
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        saved = state.pop("_saved", None)
        super().__setstate__(state)
        if saved is not None:
            with thread_kept():
                network = saving.network_from_bytes(
                    self.recipe,
                    self.configure_task(),
                    plugins.make_all(self.configure_callbacks()),
                    saved,
                )
            self._network, self.model_ = network, network.whole

    def resolve(self, x: Any, y: Any = None) -> Chosen:
        """The architecture that fit would choose for these data, and the values it would use.

        Args:
            x: as for fit.
            y: as for fit.

        Returns:
            `name` is the architecture's, None for a build_model of your own; `values` has epochs,
            batch_size and validation_split as fit would use them.

        Raises:
            TypeError, ValueError: bad arguments or fields.
        """
        self._check_values()
        return self._collect(x, y, None, warns=False)[1]  # fit will warn

    @property
    def resolved_(self) -> Values:
        """The values of epochs, batch_size and validation_split, fields that are None included.

        Raises:
            sklearn.exceptions.NotFittedError: before fit.
        """
        return self._with_fields(self.network_.architecture.values)

    def _with_fields(self, values: Values) -> Values:
        """The values with those of the fields that are not None."""
        own = {name: getattr(self, name) for name in _shared(values)}
        return dataclasses.replace(values, **{k: v for k, v in own.items() if v is not None})

    def _collect(
        self, x: Any, y: Any, weight: Any, *, warns: bool = True
    ) -> tuple[Rows | Stream, Chosen]:
        """Check the training data; return them with the architecture chosen for them."""
        owner = type(self).__name__ if self.configure_task().needs_y else None
        first = self._with_fields(Values()).batch_size
        missing = dataclasses.replace(self.missing_targets(), warns=warns)
        data = preparation.collect(x, y, weight, batch_size=first, needs_y=owner, missing=missing)
        chosen = self._choose(data)
        if isinstance(data, Stream) and chosen.values.batch_size != first:
            size = chosen.values.batch_size
            data = preparation.collect(
                x, y, weight, batch_size=size, needs_y=owner, missing=missing
            )
        return data, chosen

    def _choose(self, data: Rows | Stream) -> Chosen:
        look = models.Look.at(data, self.configure_task().name, self.normalize)
        own = [n for n in (*_shared(Values()), "optimizer") if getattr(self, n) is not None]
        if not self._ready_made:
            return Chosen(values=self._with_fields(Values()), task=look.task, own=own)
        if self.model is not None:
            architecture, options = models.named(self.model)
        else:
            architecture, options = self._by_itself(look), {}
        values = architecture.values(look)
        if isinstance(data, Stream):
            values = dataclasses.replace(values, validation_split=0.0)  # it cannot be split
        return Chosen(architecture, options, self._with_fields(values), look.task, own)

    def with_first_choice(self, x: Any, y: Any = None) -> Self:
        """A clone with the architecture that version 0.1 chose where the field model is None.

        Args:
            x: as for fit.
            y: as for fit.
        """
        from sklearn.base import clone

        made: Self = clone(self)
        if self._ready_made and self.model is None:
            data, _ = self._collect(x, y, None)
            look = models.Look.at(data, self.configure_task().name)
            made.model = models.first_choice(look).name
        return made

    def _by_itself(self, look: Look) -> Architecture:
        """The architecture that suits the data, or that of an earlier run in run_dir."""
        if self.run_dir is not None:
            found, name = earlier_architecture(self.run_dir)
            if found and name is None:
                return models.first_choice(look)
            if found and name in models.ARCHITECTURES:
                return models.ARCHITECTURES[name]
        return models.choose(look)

    def _added(self, chosen: Chosen, given: Sequence[Any], has_validation: bool) -> list[Any]:
        """The callbacks that belong to the architecture, where no other does their work."""
        values, found = chosen.values, []
        number = self.learning_rate is None or isinstance(self.learning_rate, (int, float))
        free = "optimizer" not in chosen.own and number and not any(map(_sets_rate, given))
        own_optimizer = type(self).configure_optimizer is not Trainer.configure_optimizer
        if values.schedule is not None and free and not own_optimizer:
            found.append(plugins.make(values.schedule))
        watched = has_validation or values.validation_split > 0
        if values.early_stopping is not None and watched and not any(map(_stops, given)):
            found.append(plugins.make({"name": "early_stopping", **values.early_stopping}))
        self.added_callbacks_ = found
        return found

    @contextlib.contextmanager
    def _resolved(self, chosen: Chosen) -> Iterator[None]:
        """Within this context the fields that may be None have their resolved values, for hooks."""
        values: dict[str, Any] = _shared(chosen.values)
        if chosen.architecture is not None and chosen.values.optimizer is not None:
            values["optimizer"] = chosen.values.optimizer()
        values = {name: v for name, v in values.items() if getattr(self, name) is None}
        try:
            for name, value in values.items():
                setattr(self, name, value)
            with self.python_scalars():
                yield
        finally:
            for name in values:
                setattr(self, name, None)

    def recipe(self, architecture: Chosen) -> Recipe:
        """How this estimator builds its network: its hooks, and the task's defaults.

        Args:
            architecture: the architecture, and the resolved values of fields.
        """

        def plain(hook: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any) -> Any:
                with self._resolved(architecture):
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
            chosen=self._compiled_by(),
            architecture=architecture,
        )

    def _compiled_by(self) -> tuple[str, ...]:
        """The fields and hooks that say how to compile the model."""
        fields = ("optimizer", "learning_rate", "loss", "metrics")
        hooks = ("configure_optimizer", "configure_loss", "configure_metrics", "compute_loss")
        return (
            *(f"{n}={getattr(self, n)!r}" for n in fields if getattr(self, n) is not None),
            *(n for n in hooks if getattr(type(self), n) is not getattr(Trainer, n)),
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = self.configure_task().needs_y
        return tags

    def _check_values(self) -> None:
        """Raise an error for bad values of fields."""
        checks.field_values({f: getattr(self, f) for f in Trainer.__dataclass_fields__})
        if self._ready_made and self.model is not None:
            models.named(self.model)

    def _check_hooks(self) -> list[Any]:
        """Raise an error for bad optimizers, losses, metrics or callbacks; return the callbacks."""
        self.configure_optimizer()
        self.configure_loss()
        self.configure_metrics()
        return plugins.make_all(self.configure_callbacks())

    def _split(self, data: Rows | Stream, values: Values, seed: int) -> tuple[Rows, Rows]:
        share = values.validation_split
        if isinstance(data, Stream):
            raise ValueError(
                f"validation_split={share}: a stream cannot be split; pass "
                "validation_data, for example x.take(k), and train on x.skip(k)"
            )
        strata = self.configure_task().strata(data)
        shuffle = self.shuffle and not values.last_rows
        if self.validation_split is None:
            return preparation.split_some(data, share, strata=strata, shuffle=shuffle, seed=seed)
        return preparation.split_rows(data, share, stratify=strata, shuffle=shuffle, seed=seed)

    def adopt(self, network: Network, history: History, seed: int) -> None:
        """Make this estimator fitted, with the given network.

        Args:
            network: a built network.
            history: the history of its training.
            seed: the seed of its training.
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

    def _outputs(self, x: Any, batch_size: int | None = None) -> Tree:
        network = self.network_
        preparation.check_batch_size(batch_size, x)
        if is_stream(x):
            rank = network.inputs.row_rank
            size = self.resolved_.batch_size
            stream = Stream.of(x, batch_size=size, name="x", row_rank=rank)
            network.inputs.check_stream(stream.x_spec, type(self).__name__)
            return network.predict_stream(network.inputs.encode_stream(stream))
        return network.predict(network.inputs.prepare(x, type(self).__name__), batch_size)

    @property
    def network_(self) -> Network:
        """The trained model with its encoders and compiled functions, for plugins and tools.

        Raises:
            sklearn.exceptions.NotFittedError: before fit.
        """
        check_is_fitted(self, "model_")
        return self._network


def _shared(values: Values) -> dict[str, Any]:
    """The values that are fields too, by name."""
    return {
        "epochs": values.epochs,
        "batch_size": values.batch_size,
        "validation_split": values.validation_split,
    }


def _sets_rate(callback: Any) -> bool:
    """Whether a callback changes the learning rate, so that a schedule would be in its way."""
    import keras

    from trainer.callbacks.learning_rate import LearningRate
    from trainer.callbacks.plateau import Plateau

    stock = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)
    return isinstance(callback, (LearningRate, Plateau, *stock)) or getattr(
        callback, "sets_rate", False
    )


def _stops(callback: Any) -> bool:
    """Whether a callback chooses the epoch whose weights are kept."""
    import keras

    from trainer.callbacks.early_stopping import EarlyStopping

    stock = (EarlyStopping, keras.callbacks.EarlyStopping)
    return isinstance(callback, stock) or bool(getattr(callback, "restore_best", False))


# Attributes that the search for user-defined state skips: fields, and the results of a fit.
setattr(
    Trainer,
    NOT_STATE,
    frozenset(Trainer.__dataclass_fields__)
    | {"_network", "added_callbacks_", "callbacks_", "history_", "model_", "run_", "seed_"}
    | {sklearn_callbacks.CALLBACKS, *sklearn_callbacks.OF_A_FIT},
)
