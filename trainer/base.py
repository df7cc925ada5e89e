"""Trainer: fields, hooks, and fit / evaluate / predict / save / load.

Responsible for the class that users subclass and call, and for the order of events in a fit. Not
for labels (`estimators`), data (`preparation`), the model (`network`) or the loop (`engine`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from trainer import callbacks as plugins
from trainer import doctor, exporting, fitting, models, saving, sklearn_callbacks
from trainer.data import arrays, preparation, records, sparse, writing
from trainer.data.arrays import Tree, map_tree
from trainer.data.preparation import MissingTargets, Rows
from trainer.data.streams import Stream, is_stream
from trainer.data.writing import Out
from trainer.doctor import Diagnosis, Training
from trainer.engine import memory
from trainer.engine.backend import plan, strategy
from trainer.exporting import Exported
from trainer.fields import path_fields
from trainer.fitting import Passes, Settings
from trainer.history import History
from trainer.models import Architecture, Chosen, Look, ModelSpec, Values
from trainer.network import compile, given
from trainer.network.allowed import Allowed
from trainer.network.build import Recipe
from trainer.network.network import Network, own_loss
from trainer.parameters import Parameters
from trainer.runs import code, reading
from trainer.runs import values as held
from trainer.runs.directory import FREE, Run, described, earlier_architecture, keeps_state_alone
from trainer.saving import Fitted
from trainer.sklearn_callbacks import SupportsCallbacks
from trainer.state import callback_state
from trainer.state.isolation import thread_kept
from trainer.state.walking import NOT_STATE
from trainer.tasks import Task
from trainer.utils import checks
from trainer.utils.drawings import as_text

if TYPE_CHECKING:
    import keras

    from trainer.callbacks.callback import Session

_ROWS_TO_LOOK_AT = 32  # to find out how many rows to predict at once
_ROWS_PER_PART = 1_024  # of x, at least, to predict between two writes to `out`


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
            a dict with its name and options, such as {"name": "mlp", "hidden": (64,)}; or a Keras
            model of your own, compiled or not, of which each fit trains a copy: see from_keras.
            None: one that suits the data. Ignored if build_model is overridden.
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
        loss_weights: numbers to multiply the losses of several outputs by, in the structure of
            loss, as in Keras. None: 1 for each.
        weighted_metrics: metrics that count each row by its sample weight; in the form of metrics.
        normalize: "standard" (mean 0, deviation 1) or "minmax" (0 to 1), inside the saved model.
            None: "standard" for the ready-made architectures, nothing for a custom build_model.
        validation_split: the share of the rows held out for validation; stratified for classes,
            the last rows for "sequence" where rows are windows of one series. Or a splitter of
            scikit-learn, such as GroupShuffleSplit(test_size=0.2): its first split is used, with
            the groups that are passed to fit.
            Nothing is held out if validation_data are passed to fit, as in Keras.
            None: the architecture's own, or 0. An architecture with one ends with the weights of
            its best epoch, unless `callbacks` has early stopping of its own.
        shuffle: whether to reshuffle the rows every epoch. A stream keeps its order.
        callbacks: plugin names, dicts with a name and parameters, or keras.callbacks.Callback
            objects or classes; one of these, a sequence of them, or a dict {"name": callback}, of
            which a nested parameter is callbacks__name__patience. trainer.callbacks.names() lists
            the names of plugins.
        class_weight: {label: weight} or "balanced" (classes of equal weight, as in scikit-learn),
            for a Classifier with one label per row; with several outputs a dict of these by output.
            For a Trainer {number: weight} if y has whole numbers from 0, as in Keras.
        missing_target: "drop" leaves out rows that have no target (NaN, None, NaT or pd.NA), with a
            warning that counts them; "raise" is an error. A Trainer's or Regressor's own loss (a
            function, keras.losses.Loss or compute_loss) sees such rows, and one that build_model
            compiles sees them with "raise". Streams have to leave them out themselves.
        precision: "float32", "float64", "mixed_bfloat16" or "mixed_float16". "auto": float32, but
            float64 for a ready-made architecture on float64 vectors or tables without a GPU, the
            precision of scikit-learn's estimators, or where the mean of y is so large that float32
            has too few digits for the deviations from it.
        jit: whether to compile the training steps with XLA; "auto" decides by model and machine.
        strategy: which devices train together. None: one device, or the strategy in whose scope
            fit is called; "mirrored": all GPUs of this machine, or its logical CPU devices;
            "multi_worker": the workers in TF_CONFIG; "tpu"; "auto": "multi_worker" if TF_CONFIG is
            set, "mirrored" if there are several GPUs, else one device; or a
            tf.distribute.Strategy. batch_size is that of all devices together: see
            docs/distributed.md.
        resident_bytes: the most memory that data may take as tensors; larger arrays, such as
            memory-mapped ones, are read in chunks. None: a quarter of the memory available at fit.
        run_eagerly: run every step in Python, for debugging.
        steps_per_execution: how many steps a callback sees as one, as in Keras: its batch hooks are
            called once per so many steps. It changes neither results nor speed, as many steps run
            at a time anyway. None: 1, or what a compiled model says.
        warm_start: whether fit trains the fitted model further, with its encoders and classes, its
            optimizer's state and its history; also one that was loaded. epochs is then the number
            of further ones. Fields that make or compile the model must be as before, but for a
            number as learning_rate.
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

    model: Any = None
    epochs: int | None = None
    batch_size: int | None = None
    optimizer: Any = None
    learning_rate: Any = None
    loss: Any = None
    metrics: Any = None
    loss_weights: Any = None
    weighted_metrics: Any = None
    normalize: str | None = None
    validation_split: Any = None
    shuffle: bool = True
    callbacks: Any = ()
    class_weight: Any = None
    missing_target: str = "drop"
    precision: str = "auto"
    jit: bool | str = "auto"
    strategy: Any = None
    resident_bytes: int | None = None
    run_eagerly: bool = False
    steps_per_execution: int | None = None
    warm_start: bool = False
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
        if given.is_model(self.model):
            return given.copied(self.model)
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
        return plugins.listed(self.callbacks)

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
        sample_weight: Any = None,
        *,
        validation_data: Any = None,
        groups: Any = None,
        initial_epoch: int | None = None,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
        resume: bool | str = "auto",
        **misplaced: Any,
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
                or a keras.utils.PyDataset of (x, y) or (x, y, sample_weight), or a Python
                generator of these.
            y: targets of n rows, nested for several outputs; None if x is a stream.
            sample_weight: weights of the rows, [n].
            validation_data: (x, y), (x, y, sample_weight) or a stream, evaluated every epoch.
            groups: the group of each row, [n], for a splitter as validation_split.
            initial_epoch: the epoch to start at, counted from 0; the field epochs is then the one
                before which training ends, as in Keras. None: 0, or with warm_start after the
                epochs of the fits before.
            steps_per_epoch: the most steps of an epoch; the next epoch continues the same pass
                over the data, as in Keras. Needed for endless streams, and for generators that are
                to be read for more than one epoch. None: an epoch is a pass.
            validation_steps: the most steps of a validation, from the first row. None: all.
            validation_batch_size: rows per step of a validation. None: the field batch_size; more
                where that changes no result.
            validation_freq: every how many epochs to validate, or the epochs to validate after,
                counted from 1.
            resume: "auto": if run_dir holds a run with the same fields and data, resume it, or
                return it if it is finished; raise an error that lists the differences if they, or
                the code of the Trainer's class or arguments, changed. True: the same, but fail if
                there is no run; a larger epochs trains a finished run further. "force": as "auto",
                but resume a run although the code has changed. False: start a new run.
            **misplaced: refused; the error says where such an argument belongs.

        Returns:
            self.

        Raises:
            TypeError, ValueError: bad arguments or fields, before any training starts.
            KeyboardInterrupt: Ctrl-C; the Trainer is fitted as far as training got.
        """
        fields = self._get_param_names()
        checks.misplaced(misplaced, type(self), "fit", fields, _arguments(Trainer.fit))
        passes = Passes(
            initial_epoch, steps_per_epoch, validation_steps, validation_batch_size, validation_freq
        )
        before = self._trained_before() if self.warm_start else None
        return self._fit(
            x,
            y,
            sample_weight,
            validation_data,
            groups,
            passes=passes,
            resume=resume,
            before=before,
        )

    def _fit(
        self,
        x: Any,
        y: Any,
        weight: Any,
        validation_data: Any = None,
        groups: Any = None,
        *,
        passes: Passes,
        resume: bool | str = "auto",
        before: Network | None = None,
        classes: Any = None,
        partial: bool = False,
    ) -> Self:
        """Fit; see `fit` and `partial_fit`.

        Args:
            x: as for fit.
            y: as for fit.
            weight: as for fit.
            validation_data: as for fit.
            groups: as for fit.
            passes: the arguments of fit that limit its steps.
            resume: as for fit.
            before: the network to train further, or None for a new one.
            classes: all labels, if y need not have them all.
            partial: whether this is one epoch of `partial_fit`.
        """
        plan.limit_threads()
        with thread_kept(), self._distributed():
            passes.check()
            checks.one_of("resume", resume, ("auto", True, False, "force"))
            if before is not None:
                self._check_unchanged()
            seed = fitting.draw_seed(self.random_state) if before is None else self.seed_
            train, architecture = self._collect(
                x, y, weight, before=before, most=passes.steps_per_epoch
            )
            if partial:
                values = dataclasses.replace(architecture.values, epochs=1, validation_split=0.0)
                architecture = dataclasses.replace(architecture, values=values)
            values = architecture.values
            splitter = None if partial or validation_data is not None else self._splitter
            self._check_groups(groups, splitter)
            with self._resolved(architecture):
                chosen = self._check_hooks()
                owner = type(self).__name__ if self.configure_task().needs_y else None
            valid = preparation.collect_validation(
                validation_data,
                batch_size=passes.validation_batch_size or values.batch_size,
                needs_y=owner,
                missing=self.missing_targets(),
                most=passes.validation_steps,
            )
            if not partial:
                has_validation = valid is not None or splitter is not None
                chosen += self._added(architecture, chosen, has_validation)
            callback_state.fit_begins(chosen, fresh=before is None)
            done = 0 if before is None else _epochs_of(self.history_)
            settings = dataclasses.replace(
                self._settings(values),
                passes=passes,
                first_epoch=done if passes.initial_epoch is None else passes.initial_epoch,
            )
            end = settings.epochs + (done if passes.initial_epoch is None else 0)
            fitting.check_range(settings, end, done, train)
            epochs = fitting.limited_epochs(settings, end)
            validated = valid is not None or splitter is not None or values.validation_split > 0
            passes.warn_of_unused(validated, range(settings.first_epoch, epochs))
            fields = self.get_params(deep=False) | _shared(values) | passes.described()
            if splitter is not None:
                fields["validation_split"] = splitter
            if before is not None:
                fields["weights at the start"] = given.described(before.core)
            written = {}
            if self.run_dir is not None and not keeps_state_alone():
                written = code.of(self) | held.of(self, FREE, validation_split=splitter)
            with fitting.run_of(
                settings, fields, architecture.resolved(), written, train, valid, seed, resume
            ) as run:
                seed, tables_as_0_1 = fitting.agreed_start(run, seed, fields, train)
                if splitter is not None:
                    train, valid = self._split_by(splitter, groups, train, seed)
                elif valid is None and values.validation_split:
                    train, valid = self._split(train, values, seed)
                task = self.configure_task()
                task.known = classes
                network, feed, validation_feed = fitting.prepare(
                    self.recipe(architecture),
                    task,
                    settings,
                    chosen,
                    train,
                    valid,
                    seed,
                    tables_as_0_1=tables_as_0_1,
                    network=before,
                )
                task.check_validation(network.targets, valid)
                tune = functools.partial(task.tune, network, valid)
                history = History() if before is None else self.history_.copy()
                with self._as_it_was_unless_started() as started:
                    self.adopt(network, history, seed)
                    self.run_, self.callbacks_ = None if run is None else run.path, chosen
                    session = self._session(feed, validation_feed, run, epochs, tune)
                    own = fitting.own_state(
                        self,
                        network,
                        chosen,
                        takes_back=type(self).set_extra_state is not Trainer.set_extra_state,
                        reported=run is not None,
                    )

                    def begin() -> None:
                        started.set()
                        if run is not None:
                            run.start(self._save_start)

                    with self._watched(x, y, train, session, tune) as watched:
                        if fitting.give_back(session, settings, own, run):
                            started.set()
                            tune()
                        else:
                            fitting.train(session, settings, own, run, tune, begin, watched)
            memory.fit_ended()
            if not partial and strategy.is_chief():
                doctor.warn_of_failure(self._training())
        return self

    @contextlib.contextmanager
    def _distributed(self) -> Iterator[None]:
        """Within this context the fit runs on the devices of the field strategy."""
        self._check_values()
        found = strategy.resolve(self.strategy)
        with strategy.left(), strategy.using(found):
            yield

    def partial_fit(
        self, x: Any, y: Any = None, classes: Any = None, sample_weight: Any = None
    ) -> Self:
        """Train one epoch on the given rows: a new model at first, then the same one further.

        Encoders, classes and normalisation are those of the first call. Each call equals one epoch
        of a fit on the same rows without validation; all its rows are trained on.

        Args:
            x: as for fit.
            y: as for fit.
            classes: of a classifier, all labels that later calls may have; needed in the first
                call if its y lacks some. A Trainer and a Regressor have none.
            sample_weight: as for fit.

        Returns:
            self.

        Raises:
            TypeError, ValueError: as for fit; or run_dir is set, which belongs to one fit.
        """
        if self.run_dir is not None:
            raise ValueError(
                f"run_dir={str(self.run_dir)!r}: a run is one fit, and partial_fit is a part of "
                "one; write run_dir=None, and save the estimator with save('model.keras')"
            )
        return self._fit(
            x,
            y,
            sample_weight,
            passes=Passes(),
            before=self._trained_before(),
            classes=classes,
            partial=True,
        )

    def _save_start(self, path: Path) -> None:
        """Write the model before its training: see Run.start."""
        fitted = self._as_fitted(History())
        saving.save(fitted, self._network, path, weights_only=True)

    @contextlib.contextmanager
    def _as_it_was_unless_started(self) -> Iterator[threading.Event]:
        """Restore all attributes if this context fails before the event in it is set."""
        before, started = dict(self.__dict__), threading.Event()
        try:
            yield started
        except BaseException:
            if not started.is_set():
                self.__dict__.clear()
                self.__dict__.update(before)
            raise

    def _trained_before(self) -> Network | None:
        """The network to train further; None before the first fit, or if it was made without y."""
        guessed = self.__dict__.get("_y_guessed", False)
        return None if guessed else getattr(self, "_network", None)

    def initialize(self, x: Any, y: Any = None) -> Self:
        """Build the network for the given data without training it.

        The estimator is then fitted with untrained weights, or with those of the model that was
        given: it predicts, evaluates, saves and, with warm_start, is trained further.

        Args:
            x: as for fit; a few rows are enough if they have all classes and categories.
            y: as for fit.

        Returns:
            self.
        """
        with thread_kept():
            self._check_values()
            seed = fitting.draw_seed(self.random_state)
            train, architecture = self._collect(x, y, None)
            with self._resolved(architecture):
                chosen = self._check_hooks()
            network = fitting.untrained(
                self.recipe(architecture),
                self.configure_task(),
                self._settings(architecture.values),
                chosen,
                train,
                seed,
            )
            self.adopt(network, History(), seed)
            self.run_, self.callbacks_ = None, chosen
            self._y_guessed = y is None and not is_stream(x)
        return self

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        *,
        sample_weight: Any = None,
        batch_size: int | None = None,
        steps: int | None = None,
        callbacks: Any = (),
    ) -> dict[str, float]:
        """The loss and every metric on the given data, by name.

        Args:
            x: as for fit; or rows as dicts, as for predict.
            y: as for fit.
            sample_weight: as for fit.
            batch_size: rows per step. None: the field batch_size; more where that changes no
                result and takes little memory. A stream has batches of its own.
            steps: the most steps, from the first row. None: all.
            callbacks: as the field, but only of this evaluation.

        Raises:
            sklearn.exceptions.NotFittedError: before fit.
            TypeError, ValueError: the data do not match the training data.
        """
        hooks = plugins.make_all(callbacks)
        if steps is not None:
            checks.integer("steps", steps, low=1, example=100)
        if isinstance(x, Iterator) and is_stream(x):
            x = Stream.of(x, batch_size=plan.BATCH_ROWS, name="x")
        self.initialize_given(x, y)
        network = self.network_
        owner = type(self).__name__ if self.configure_task().needs_y else None
        preparation.check_batch_size(batch_size, x)
        values = self.resolved_
        data = preparation.collect(
            network.inputs.as_table(x),
            y if self._given is None else given.by_output(self._given, y),
            sample_weight,
            batch_size=values.batch_size,
            needs_y=owner,
            missing=self.missing_targets(),
            most=steps,
        )
        settings = self._settings(values)
        if batch_size is not None:
            settings = dataclasses.replace(settings, batch_size=batch_size)
        exact = batch_size is not None or steps is not None or bool(hooks)
        feed = fitting.evaluation_feed(settings, network, data, exact=exact, steps=steps)
        return fitting.evaluate(network, feed, hooks)

    def predict(
        self,
        x: Any,
        *,
        batch_size: int | None = None,
        steps: int | None = None,
        callbacks: Any = (),
        extra_columns: str = "raise",
        out: Out | None = None,
    ) -> Any:
        """Predictions for the rows of x.

        Args:
            x: as for fit; a stream's targets and weights are ignored. If training had a table,
                also a row as a dict, {"age": 31, "city": "Rome"}, or a list of such dicts; None
                stands for a missing value.
            batch_size: rows per step. None: 32, as in Keras; more where they take little memory. A
                stream has batches of its own.
            steps: the most steps, from the first row. None: all.
            callbacks: as the field, but only of this prediction.
            extra_columns: "ignore" to ignore columns that training did not have; "raise" for an
                error.
            out: where to write the predictions, batch by batch, so that they need not fit in
                memory: an array of their shape and dtype, such as an np.memmap; or the path of a
                .npy file, which appears once it is complete. For a stream, whose number of rows is
                not known before its end, a path.

        Returns:
            The network's outputs [n, ...]: numbers for a Regressor, in the shape of the training
            y; labels [n] for a Classifier; nested for several outputs. With out, that array; for a
            path the file as a read-only np.memmap.

        Raises:
            sklearn.exceptions.NotFittedError: before fit.
            TypeError, ValueError: x does not match the training data, or out the predictions;
                nothing has been written then.
            OSError: the file cannot be written.
        """
        return self.predict_with(
            lambda outputs: self.network_.targets.decode(outputs),
            x,
            batch_size=batch_size,
            steps=steps,
            callbacks=callbacks,
            extra_columns=extra_columns,
            out=out,
        )

    def summary(self) -> str:
        """Describe the model and its training as text.

        Raises:
            sklearn.exceptions.NotFittedError: before fit.
        """
        from trainer.network.summary import describe

        return describe(type(self).__name__, self.network_, self.history_, self.seed_)

    def _html_repr(self) -> str:
        """Return what a notebook shows: scikit-learn's diagram and, after fit, how it went."""
        diagram: str = super()._html_repr()
        if "model_" not in vars(self):
            return diagram
        done, wanted = len(self.history_), self.network_.architecture.values.epochs
        head = f"trained for {done}{f' of {wanted}' if done < wanted else ''} epochs\n"
        head += self.summary().split("\nModel:")[0]  # without the table of layers
        curves = self.history_._repr_html_() if len(self.history_) else ""
        return f"<div>{diagram}{as_text(head)}{curves}</div>"

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

    def export(self, path: str | Path, *, format: str = "tf_saved_model") -> Exported:
        """Write the fitted network, with its encoder or normalisation, for another runtime.

        What is written takes x as `model_` does, a DataFrame as one input [n, 1] per column, and
        returns the outputs of the network: probabilities, logits, or numbers in the units of y.
        It is float32, also if training was not. Before it is moved into place, it is run by its
        own runtime on a few rows, and compared with predict in float32.

        Args:
            path: a folder for "tf_saved_model"; else a file that ends in .onnx, .tflite (litert),
                .xml (openvino; the weights are in a .bin file beside it) or .pt2 (torch). A file,
                or a folder that export wrote, is replaced by a complete one.
            format: "tf_saved_model" holds every model. The others, which come with the extra of
                the same name, hold what docs/exporting.md lists.

        Returns:
            The names and forms of inputs and outputs, the classes, and how far its outputs are
            from predict. Print it.

        Raises:
            sklearn.exceptions.NotFittedError: before fit.
            ImportError: a package for the format is missing; the message has the extra.
            ValueError: a bad format or ending; the format cannot hold a layer of the model; or the
                outputs differ by more than 1e-5, relative to the largest.
            OSError: the path cannot be written to, or holds something that export did not write.
        """
        network = self.network_
        with thread_kept():
            return exporting.export(
                network,
                path,
                format=format,
                owner=type(self).__name__,
                in_float32=self._in_float32,
            )

    def _in_float32(self) -> Network:
        """The fitted network once more, in float32."""
        network = self._network
        return saving.network_from_bytes(
            self.recipe,
            self.configure_task(),
            plugins.make_all(self.configure_callbacks()),
            saving.to_bytes(self._as_fitted(), network, precision="float32"),
        )

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        state: str = "last",
        custom_objects: Mapping[str, Any] | None = None,
    ) -> Self:
        """Load a Trainer of this class from a file written by `save`, or from a run.

        Nothing in the file is executed or unpickled, even with Keras' unsafe deserialization
        enabled. build_model makes the network, or the file's config of a Keras model that was
        given as the field model; that field is then the trained model. The file may name only
        classes and plugins of Keras, of this package, of the module that defines this class, and
        of custom_objects, and no Keras layer that runs code or reads files.

        Args:
            path: the file; or the run_dir of a fit: of a finished run its model, else the model
                as of the last saved state. The run itself is not changed.
            state: "best" for the best epoch of a run that the plugin checkpoint or early stopping
                has kept, or "last".
            custom_objects: more classes, functions and plugins that the file may use, by name.

        Raises:
            FileNotFoundError: there is no such file.
            RunError, BadState: the folder has no run, or none of its states can be used.
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

        if str(path) == "":
            raise ValueError("path='': is empty; write the name of a .keras file, or a run_dir")
        loaded: Self
        with thread_kept():
            run = None
            if isinstance(path, (str, Path)) and Path(path).is_dir():
                run = reading.find(Path(path), checks.one_of("state", state, ("last", "best")))
                path = run.file
            elif state != "last":
                raise ValueError(
                    f"state={state!r}: path={str(path)!r} is not the folder of a run, and only a "
                    "run has several states; leave state out"
                )
            loaded, network, history, seed = saving.load(
                path,
                owner=cls.__name__,
                names=cls._get_param_names(),
                paths=path_fields(cls),
                allowed=Allowed(cls, custom_objects),
                make=make,
            )
            if run is not None and run.state is not None:
                history = reading.restore(network, run)
            if loaded._given is not None:
                given.take_state(loaded._given, network.core)
        loaded.adopt(network, history, seed)
        return loaded

    @classmethod
    def from_keras(cls, model: keras.Model, **fields: Any) -> Self:
        """A Trainer for a Keras model that you have already, trained or not.

        The model is copied with its weights, its optimizer's state and what it was compiled with,
        and is not changed. Each fit without warm_start starts from this copy; clones and
        cross-validation too. Not compiled, it is compiled with the fields optimizer, loss and
        metrics, or their defaults. `evaluate` and `predict` work before the first fit.

        A Classifier takes labels from 0 to n - 1 for an output of n columns as the numbers of
        these columns, also where y lacks some. For a model with k outputs y may be a matrix
        [n, k], with a column for each output in their order.

            model.compile("sgd", "sparse_categorical_crossentropy")
            Classifier.from_keras(model, epochs=5).fit(x, y)

        Args:
            model: a Sequential, functional or subclassed keras.Model.
            **fields: fields of this class.

        Raises:
            TypeError: it is not a Keras model, or a field is unknown.
            ValueError: it cannot be copied; the message says why.
        """
        if cls.build_model is not Trainer.build_model:
            raise TypeError(
                f"{cls.__name__}.from_keras: {cls.__name__} has a build_model of its own, which "
                "makes the model; call from_keras of Trainer, Classifier or Regressor"
            )
        if not given.is_model(model):
            raise TypeError(
                f"model={model!r}: must be a keras.Model, such as keras.Sequential([...])"
            )
        return cls(model=given.copied(model), **fields)

    # ---- the parts of a fit ------------------------------------------------------------------

    @property
    def _ready_made(self) -> bool:
        own = type(self).build_model is not Trainer.build_model
        return not own and not given.is_model(self.model)

    @property
    def _given(self) -> keras.Model | None:
        """The Keras model that was given as the field model, or None."""
        own = type(self).build_model is not Trainer.build_model
        return self.model if given.is_model(self.model) and not own else None

    def task_options(self) -> dict[str, Any]:
        """The arguments for a Task: owner, ready_made, class_weight and model."""
        return {
            "owner": type(self).__name__,
            "ready_made": self._ready_made,
            "class_weight": self.class_weight,
            "model": self._given,
        }

    def missing_targets(self) -> MissingTargets:
        """What to do with rows that have no target: see the field missing_target."""
        if type(self).compute_loss is not Trainer.compute_loss:
            return MissingTargets(self.missing_target, lambda part: True)
        loss = self.configure_loss()
        if loss is None:
            # A build_model may compile its own loss; if not, an error says so once it is built.
            unknown = self.missing_target == "raise" and not self._ready_made
            return MissingTargets(self.missing_target, lambda part: unknown)
        return MissingTargets(self.missing_target, lambda part: own_loss(loss, part))

    def _settings(self, values: Values) -> Settings:
        names = (field.name for field in dataclasses.fields(Settings))
        found = {name: getattr(self, name) for name in names if name in self.__dataclass_fields__}
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
        if strategy.is_object(self.strategy):
            fields["strategy"] = None  # it belongs to this process, as paths do to this machine
        return Fitted(type(self).__name__, fields, self.seed_, history or self.history_)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if strategy.is_object(self.strategy):
            checks.warn(
                f"strategy=<{type(self.strategy).__name__}>: belongs to this process, and is left "
                "out of the pickle; write strategy='mirrored' or 'multi_worker' to keep it"
            )
            state["strategy"] = None
        for name in ("optimizer", "loss", "metrics", "weighted_metrics"):
            state[name] = compile.portable(state[name])
        if given.is_model(state.get("model")):
            state["model"] = given.Portable(state["model"])
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
        for name in ("model", "optimizer", "loss", "metrics", "weighted_metrics"):
            if name in state:
                state[name] = compile.opened(state[name])
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
        if self._splitter is not None:
            own["validation_split"] = 0.0  # how many rows it holds out is its own matter
        return dataclasses.replace(values, **{k: v for k, v in own.items() if v is not None})

    def _collect(
        self,
        x: Any,
        y: Any,
        weight: Any,
        *,
        warns: bool = True,
        before: Network | None = None,
        most: int | None = None,
    ) -> tuple[Rows | Stream, Chosen]:
        """Check the training data; return them with the architecture chosen for them.

        Args:
            x: as for fit.
            y: as for fit.
            weight: as for fit.
            warns: whether to warn of rows that are left out.
            before: the network to train further, or None.
            most: the steps of an epoch, if fit limits them.
        """
        owner = type(self).__name__ if self.configure_task().needs_y else None
        y = y if self._given is None else given.by_output(self._given, y)
        first = self._with_fields(Values()).batch_size
        missing = dataclasses.replace(self.missing_targets(), warns=warns)
        collect = functools.partial(
            preparation.collect, x, y, weight, needs_y=owner, missing=missing, most=most
        )
        data = collect(batch_size=first)
        chosen = self._choose(data) if before is None else self._chosen_before(before, data)
        if isinstance(data, Stream) and not data.read_once and chosen.values.batch_size != first:
            data = collect(batch_size=chosen.values.batch_size)
        if isinstance(data, Stream) and data.most is not None and most is not None:
            data.most = most * chosen.values.epochs  # what training reads of it
        return data, chosen

    def _chosen_before(self, before: Network, data: Rows | Stream) -> Chosen:
        """The architecture of a network that is trained further, with the values of fields."""
        values = before.architecture.values
        if isinstance(data, Stream):
            values = dataclasses.replace(values, validation_split=0.0)
        return dataclasses.replace(before.architecture, values=self._with_fields(values))

    def _check_unchanged(self) -> None:
        """Check that the fields that make or compile the model are as in the fits before.

        A number as learning_rate is set in the optimizer.

        Raises:
            ValueError: One has changed.
        """
        before = vars(self)["_built_with"]
        for name, value in self._built_by().items():
            was = before[name]
            if value == was:
                continue
            optimizer = self._network.core.optimizer
            if name == "learning_rate" and isinstance(value, (int, float)) and optimizer:
                optimizer.learning_rate = value
                continue
            raise ValueError(
                f"{name}: was {was!r} when the model was trained, and is {value!r}, but training "
                f"it further cannot change it; set {name} back, or write warm_start=False (a "
                "clone, for partial_fit) to train a new model"
            )

    def _built_by(self) -> dict[str, Any]:
        """The fields that make or compile the model, by name, in JSON form."""
        fields = self.get_params(deep=False)
        return {n: described(value) for n, value in fields.items() if n not in _CHANGEABLE}

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
            given=self._given,
            loss_weights=self.loss_weights,
            weighted_metrics=lambda: compile.metrics(self.weighted_metrics, "weighted_metrics"),
            steps_per_execution=self.steps_per_execution,
        )

    def _compiled_by(self) -> tuple[str, ...]:
        """The fields and hooks that say how to compile the model."""
        fields = (
            *("optimizer", "learning_rate", "loss", "metrics"),
            *("loss_weights", "weighted_metrics"),
        )
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
        strategy.check(self.strategy)
        if self._ready_made and self.model is not None:
            models.named(self.model)

    def _check_hooks(self) -> list[Any]:
        """Raise an error for bad optimizers, losses, metrics or callbacks; return the callbacks."""
        self.configure_optimizer()
        self.configure_loss()
        self.configure_metrics()
        compile.metrics(self.weighted_metrics, "weighted_metrics")
        chosen = plugins.make_all(self.configure_callbacks())
        plugins.check(chosen)
        return chosen

    @property
    def _splitter(self) -> Any:
        """The splitter that was given as validation_split, or None."""
        return self.validation_split if checks.is_splitter(self.validation_split) else None

    def _check_groups(self, groups: Any, splitter: Any) -> None:
        if groups is not None and splitter is None:
            raise ValueError(
                "groups: only used by a splitter; write validation_split=GroupShuffleSplit("
                "test_size=0.2), for example, and leave validation_data out"
            )

    def _split_by(
        self, splitter: Any, groups: Any, data: Rows | Stream, seed: int
    ) -> tuple[Rows, Rows]:
        """Split rows as a splitter of scikit-learn does first."""
        data = self._as_rows(data, splitter)
        if groups is not None and len(groups) != data.n:
            raise ValueError(
                f"groups has {len(groups)} values, but x has {data.n} rows with a target; pass one "
                "for each of these"
            )
        strata = self.configure_task().strata(data)
        return preparation.split_by(splitter, data, strata, groups, seed)

    @staticmethod
    def _as_rows(data: Rows | Stream, share: Any) -> Rows:
        if isinstance(data, Stream):
            raise ValueError(
                f"validation_split={share}: a stream cannot be split; pass "
                "validation_data, for example x.take(k), and train on x.skip(k)"
            )
        return data

    def _split(self, data: Rows | Stream, values: Values, seed: int) -> tuple[Rows, Rows]:
        share = values.validation_split
        data = self._as_rows(data, share)
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
        for name in ("n_features_in_", "feature_names_in_", "_y_guessed"):
            self.__dict__.pop(name, None)
        self._network = network
        self._built_with: dict[str, Any] = self._built_by()
        self.model_ = network.whole
        self.history_: History = history
        self.seed_: int = seed
        if network.inputs.n_features is not None:
            self.n_features_in_ = network.inputs.n_features
        if network.inputs.names is not None:
            self.feature_names_in_ = np.array(network.inputs.names, dtype=object)

    def initialize_given(self, x: Any, y: Any = None) -> None:
        """Make an estimator that is not fitted, but was given a model, ready to use it.

        Args:
            x: the rows to evaluate or predict.
            y: their targets; None if there are none, as for predict.
        """
        model, guessed = self._given, self.__dict__.get("_y_guessed", False)
        if model is None or (hasattr(self, "_network") and (y is None or not guessed)):
            return
        guess = y is None and not is_stream(x)
        if guess:
            few = map_tree(lambda a: np.asarray(a)[:2], x) if not hasattr(x, "iloc") else x[:2]
            y = self._y_like(map_tree(np.asarray, model(few)))
            x = few
        self.initialize(x, y)
        self._y_guessed = guess

    def _y_like(self, outputs: Tree) -> Any:
        """Targets of the form that outputs of a given model have, to predict before a fit."""
        return outputs

    def predict_with(
        self,
        decode: Callable[[Tree], Tree],
        x: Any,
        *,
        batch_size: int | None = None,
        steps: int | None = None,
        callbacks: Any = (),
        extra_columns: str = "raise",
        out: Out | None = None,
    ) -> Any:
        """What `decode` makes of the outputs for x; for methods such as predict.

        Args:
            decode: called with the outputs of some rows; a Classifier's are probabilities.
            x: as for predict.
            batch_size: as for predict.
            steps: as for predict.
            callbacks: as for predict.
            extra_columns: as for predict.
            out: as for predict.
        """
        hooks = plugins.make_all(callbacks)
        x = self._ready_for(x)
        if hooks or steps is not None:
            found = self._outputs_by_step(x, batch_size, steps, hooks, extra_columns)
            if out is None:
                return decode(arrays.concatenate(list(found)))
            return writing.write(out, None, map(decode, found))
        if out is None:
            return decode(self._outputs(x, batch_size, extra_columns))
        preparation.check_batch_size(batch_size, x)
        if is_stream(x):
            return writing.write(out, None, map(decode, self._outputs_of_stream(x)))
        if self.network_.inputs.table is not None and records.of(x) is not None:
            x = [x] if isinstance(x, Mapping) else x
        else:
            x = writing.sliceable(x)
        n = writing.count(x)
        writing.check(out, n)
        return writing.write(
            out, n, map(decode, self._outputs_by_part(x, n, batch_size, extra_columns))
        )

    def _outputs(
        self, x: Any, batch_size: int | None = None, extra_columns: str = "raise", name: str = "x"
    ) -> Tree:
        network = self.network_
        preparation.check_batch_size(batch_size, x)
        if is_stream(x):
            self._ignores_extra(extra_columns)
            return self._read(network.predict_stream(self._encoded_stream(x)))
        return self._read(network.predict(self._prepared(x, extra_columns, name), batch_size))

    def _prepared(
        self, x: Any, extra_columns: str, name: str = "x", *, quiet: bool = False
    ) -> Tree:
        ignore = self._ignores_extra(extra_columns)
        return self.network_.inputs.prepare(
            x, type(self).__name__, name, quiet=quiet, ignore_extra=ignore
        )

    def _ignores_extra(self, extra_columns: str) -> bool:
        checks.one_of("extra_columns", extra_columns, ("raise", "ignore"))
        if extra_columns == "ignore" and self.network_.inputs.table is None:
            raise ValueError(
                "extra_columns='ignore': training had no table, so that columns have no names; "
                "leave extra_columns out"
            )
        return extra_columns == "ignore"

    def _outputs_by_part(
        self, x: Any, n: int, batch_size: int | None, extra_columns: str
    ) -> Iterator[Tree]:
        """Yield the outputs of part after part of x, equal to those of all rows at once."""
        few = writing.part(x, 0, min(n, _ROWS_TO_LOOK_AT))
        few = self._prepared(few, extra_columns, quiet=True)
        piece = self.network_.predicted_rows(few, n, batch_size)
        step = piece * max(1, _ROWS_PER_PART // piece)
        for start in range(0, n, step):
            stop = min(n, start + step)
            name = "x" if stop - start == n else f"x[{start}:{stop}]"
            yield self._outputs(writing.part(x, start, stop), batch_size, extra_columns, name)

    def _outputs_by_step(
        self,
        x: Any,
        batch_size: int | None,
        steps: int | None,
        callbacks: Sequence[Any],
        extra_columns: str,
    ) -> Iterator[Tree]:
        """Yield the outputs of step after step, up to `steps`, and call the callbacks."""
        preparation.check_batch_size(batch_size, x)
        if steps is not None:
            checks.integer("steps", steps, low=1, example=100)
        if is_stream(x):
            total, found = None, self._outputs_of_stream(x, steps)
        else:
            records_given = self.network_.inputs.table is not None and records.of(x) is not None
            x = ([x] if isinstance(x, Mapping) else x) if records_given else writing.sliceable(x)
            size, n = batch_size or plan.BATCH_ROWS, writing.count(x)
            starts = range(0, n, size)[:steps]
            total = len(starts)
            found = (
                self._outputs(writing.part(x, i, min(n, i + size)), size, extra_columns)
                for i in starts
            )
        return fitting.predicted_by_step(self.network_, found, total, callbacks)

    def _ready_for(self, x: Any) -> Any:
        """Make an estimator that was given a model ready to predict x; return x.

        An iterator becomes a Stream, as its first batches are read to look at them.
        """
        if isinstance(x, Iterator) and is_stream(x):
            x = Stream.of(x, batch_size=plan.BATCH_ROWS, name="x")
        self.initialize_given(x)
        return x

    def _encoded_stream(self, x: Any, steps: int | None = None) -> Stream:
        inputs = self.network_.inputs
        size = self.resolved_.batch_size
        stream = Stream.of(x, batch_size=size, name="x", row_rank=inputs.row_rank, most=steps)
        inputs.check_stream(stream.x_spec, type(self).__name__)
        return inputs.encode_stream(stream)

    def _outputs_of_stream(self, x: Any, steps: int | None = None) -> Iterator[Tree]:
        """Yield the outputs of batch after batch of a stream, up to `steps`."""
        stream = self._encoded_stream(x, steps)
        for batch in (stream if steps is None else stream.first_batches(steps)).once(0):
            yield self._read(self.network_.predict(batch))

    def _read(self, outputs: Tree) -> Tree:
        """Return outputs in the form in which `predict` decodes them."""
        return outputs

    @property
    def network_(self) -> Network:
        """The trained model with its encoders and compiled functions, for plugins and tools.

        Raises:
            sklearn.exceptions.NotFittedError: before fit.
        """
        if "model_" not in vars(self):
            check_is_fitted(self, "model_")
        return self._network


# Fields that a fitted model can be trained further with, whatever they were before.
_CHANGEABLE = (
    *("epochs", "batch_size", "validation_split", "shuffle", "callbacks", "class_weight"),
    *(
        "missing_target",
        "jit",
        "strategy",
        "resident_bytes",
        "warm_start",
        "run_dir",
        "save_minutes",
    ),
    *("save_steps", "verbose", "decision_threshold"),
)


def _epochs_of(history: History) -> int:
    """The number of the last epoch that was trained, counted from 1; 0 before the first."""
    return int(history.records[-1]["epoch"]) if history.records else 0


def _arguments(method: Callable[..., Any]) -> list[str]:
    return [
        p.name for p in inspect.signature(method).parameters.values() if p.kind != p.VAR_KEYWORD
    ]


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
    | {
        "_built_with",
        "_network",
        "_y_guessed",
        "added_callbacks_",
        "callbacks_",
        "history_",
        "model_",
        "run_",
        "seed_",
    }
    | {sklearn_callbacks.CALLBACKS, *sklearn_callbacks.OF_A_FIT},
)
