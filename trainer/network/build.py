"""Builds, compiles and checks a network.

Responsible for calling build_model with the right precision and seed, adding preprocessing and
output scaling to its model, and refusing a model that does not fit the data. Not for using the
network (`network`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from trainer.data import arrays
from trainer.data.arrays import Tree, leaves, map_named, map_shapes, map_tree
from trainer.data.inputs import Inputs
from trainer.data.preparation import PROBE_ROWS
from trainer.data.targets import Classes, Numbers, Targets
from trainer.engine import backend
from trainer.engine.backend import Program
from trainer.models import Chosen, ModelSpec
from trainer.network import compile, compiled, outputs, vocabularies
from trainer.network.compiled import Compiled
from trainer.network.network import Network, has_only_a_step, save_state_once, tensors
from trainer.network.probabilities import Reading, Unknown
from trainer.state.isolation import Ambient
from trainer.state.variables import draws_from

if TYPE_CHECKING:
    import keras


class Defaults(Protocol):
    """The loss and metrics of a task, where none were chosen: see trainer.Task."""

    def default_loss(
        self, model: keras.Model, spec: ModelSpec, learned: Any, probe: Callable[[], Any]
    ) -> Any:
        """The loss, in a form that keras.Model.compile accepts."""

    def default_metrics(self, spec: ModelSpec, learned: Any, loss: Any) -> Any:
        """The metrics, in a form that keras.Model.compile accepts."""

    def read_outputs(
        self,
        model: keras.Model,
        spec: ModelSpec,
        learned: Any,
        loss: Any,
        probe: Callable[..., Any],
        own_loss: Callable[[Any, Any], Any] | None,
    ) -> Mapping[str, Reading]:
        """How to read the outputs as probabilities."""

    def read_metrics(
        self,
        metrics: Any,
        model: keras.Model,
        spec: ModelSpec,
        learned: Any,
        readings: Mapping[str, Reading],
    ) -> Any:
        """The metrics as they are compiled."""


@dataclass(frozen=True)
class Recipe:
    """What an estimator specifies about its network.

    Attributes:
        owner: The name of the estimator, for errors.
        build_model: Builds the model for a ModelSpec.
        optimizer: Creates an optimizer.
        loss: Creates the loss, or returns None for the task's default.
        metrics: Creates metrics, or returns None for the task's defaults.
        compute_loss: Replaces the loss (see Trainer.compute_loss), or None.
        defaults: The loss and metrics where none are chosen.
        ready_made: Whether build_model builds one of the ready-made architectures.
        architecture: The architecture that it builds, with the resolved values of fields.
        run_eagerly: Whether to run steps in Python.
        chosen: The fields and hooks that set optimizer, loss or metrics, for errors.
        given: The Keras model that build_model copies, or None.
        loss_weights: As the field of Trainer.
        weighted_metrics: Creates the metrics that use the sample weights, or returns None.
        steps_per_execution: As the field of Trainer.
    """

    owner: str
    build_model: Callable[[ModelSpec], keras.Model]
    optimizer: Callable[[], keras.optimizers.Optimizer]
    loss: Callable[[], Any]
    metrics: Callable[[], Any]
    compute_loss: Callable[[Any, Any, Any, Any], Any] | None
    defaults: Defaults
    ready_made: bool
    run_eagerly: bool
    chosen: tuple[str, ...] = ()
    architecture: Chosen = field(default_factory=Chosen)
    given: keras.Model | None = None
    loss_weights: Any = None
    weighted_metrics: Callable[[], Any] = lambda: None
    steps_per_execution: int | None = None

    @property
    def maker(self) -> str:
        """What the model comes from, for errors."""
        if self.given is not None:
            return f"model=<{type(self.given).__name__}>"
        return f"{self.owner}.build_model"

    @property
    def precision(self) -> str | None:
        """The precision that a given model computes in; None if the estimator chooses it."""
        return None if self.given is None else str(self.given.dtype_policy.name)


def build(
    recipe: Recipe,
    inputs: Inputs,
    targets: Targets,
    *,
    precision: str,
    seed: int,
    probe: Tree,
    callbacks: Sequence[Any] = (),
    again: bool = False,
    texts: vocabularies.Texts | None = None,
) -> Network:
    """Build, compile and check a network.

    Args:
        recipe: What the estimator specifies about it.
        inputs: The learned preprocessing of x.
        targets: The learned encoding of y.
        precision: The precision that Keras computes in.
        seed: The seed of initial weights and dropout: layers get the same weights as after
            keras.utils.set_random_seed(seed).
        probe: A few prepared rows of x to test the model with.
        callbacks: Callbacks that may change the optimizer.
        again: Whether it was trained before: if so, outputs of which nothing tells what they mean
            are a warning, not an error. Fields beside a compiled
            model are then from version 0.1.0, where they replaced what it was compiled with.
        texts: Returns the batches of text of an input of the training rows; see
            vocabularies.fill.

    Raises:
        TypeError, ValueError: build_model returned no model, or one that does not fit the data.
    """
    import keras
    from keras.src.random import seed_generator

    found_architecture = recipe.architecture if recipe.ready_made else None
    spec = ModelSpec(inputs.shapes, targets.n_outputs, targets.task, found_architecture)
    dtype = "float64" if precision == "float64" else "float32"
    ambient = Ambient(seed, precision)
    with ambient():
        core = recipe.build_model(spec)
        # Keras creates this generator when a layer without a seed first draws. Create it now, so
        # that it depends on our seed.
        generator = seed_generator.global_seed_generator()
        compile.check_model(core, recipe.maker)
        vocabularies.fill(core, inputs, texts, recipe.maker)
        found_compiled = compiled.find(core)
        if found_compiled is not None:
            compiled.check_optimizer(recipe.owner, core)
        if found_compiled is not None and recipe.chosen:
            if not again:
                compiled.refuse_both(recipe.owner, recipe.maker, recipe.chosen)
            found_compiled = None
        eager = recipe.run_eagerly or (found_compiled is not None and found_compiled.eager)
        transform = inputs.transform(dtype)
        with compile.state_kept(core):
            found = _outputs(core, transform, probe, dtype, recipe.maker, spec)
        if found is not None:
            outputs.check(core, spec, found, recipe.maker)

        def few(scale: float = 1.0) -> Any:
            # Not the user's rows: a loaded Trainer has none, but must choose the same loss.
            return core(tensors(_noise_like(probe, scale), transform, dtype))

        if recipe.ready_made and spec.task == "regression":
            core = _in_units_of_y(core, targets)
        draws_from(core, generator)
        if recipe.compute_loss is not None:
            compile.replace_loss(core, recipe.compute_loss)
        default, readings = _compile(
            recipe,
            core,
            spec,
            targets,
            few,
            None if found is None else lambda: tensors(_noise_like(probe), transform, dtype),
            callbacks,
            found_compiled,
            eager,
            again=again,
        )
        program = Program(core, transform, eager=eager, ambient=ambient)
        if has_only_a_step(core):
            _check_without_call(core, inputs, recipe.maker)
            _make_by_step(program, inputs, targets, recipe.maker, run=again)
        whole = inputs.whole_model(core, dtype)
        plain_loss = getattr(core.loss, "plain", None)
        if whole is core and plain_loss is not None:
            whole = keras.Model(core.input, core.output, name=core.name)
        if whole is not core:
            # Callbacks and users see the whole model: it shares weights and optimizer with the
            # core, and has a loss that Keras can load without this package.
            loss = plain_loss or core.loss
            whole.compile(optimizer=core.optimizer, loss=loss, auto_scale_loss=False)
            # EarlyStopping infers its mode from the metrics. Set them untracked, as they belong to
            # the core.
            vars(whole)["_compile_metrics"] = core._compile_metrics
            save_state_once(whole, core)
    default_loss = default and not compile.computes_own_loss(core)
    return Network(
        inputs,
        targets,
        spec,
        precision,
        core,
        whole,
        program,
        ambient,
        default_loss=default_loss,
        readings=readings,
        architecture=recipe.architecture,
    )


def _compile(
    recipe: Recipe,
    core: keras.Model,
    spec: ModelSpec,
    targets: Targets,
    few: Callable[..., Any],
    rows: Callable[[], Tree] | None,
    callbacks: Sequence[Any],
    found: Compiled | None,
    eager: bool,
    *,
    again: bool,
) -> tuple[bool, Mapping[str, Reading]]:
    """Compile a model with what build_model, the estimator or the task chose, in that order.

    Args:
        recipe: As for `build`.
        core: The model.
        spec: The spec that it was built for.
        targets: The learned encoding of y.
        few: Returns its outputs for a few rows.
        rows: Returns these rows; None for a model without call, which has no outputs to read.
        callbacks: As for `build`.
        found: What build_model compiled it with, or None.
        eager: Whether to run steps in Python.
        again: As for `build`.

    Returns:
        Whether the loss is the task's default, and how to read the outputs.
    """
    import keras

    if found is None:
        hook = f"{recipe.owner}.configure_optimizer"
        optimizer: Any = compile.checked_optimizer(recipe.optimizer(), hook)
        loss, metrics = recipe.loss(), recipe.metrics()
    else:
        optimizer, loss, metrics = found.optimizer, found.loss, found.metrics
    own = found is not None and found.own
    default = loss is None and not own
    if default and not (found is not None and compile.has_own_loss(core, few)):
        own_default = recipe.architecture.default_loss(spec, targets)
        with compile.state_kept(core):
            loss = recipe.defaults.default_loss(core, spec, targets, few)
        loss = loss if own_default is None else own_default
    weighted = recipe.weighted_metrics() if found is None else found.weighted_metrics
    if found is None:
        loss = _one_each(loss, recipe.loss_weights, spec)
        loss_weights = _weights(recipe, core, spec, loss, metrics, weighted, again=again)
    else:
        loss_weights = found.loss_weights
    if metrics is None and not own:
        metrics = recipe.defaults.default_metrics(spec, targets, loss)
    readings: Mapping[str, Reading] = {}
    if rows is not None:
        own_loss = _own_loss(core, loss, rows, compiled_before=own)
        readings = _readings(recipe, core, spec, targets, loss, few, own_loss, again=again)
        if not own:
            metrics, weighted = (
                recipe.defaults.read_metrics(each, core, spec, targets, readings)
                for each in (metrics, weighted)
            )
    for callback in callbacks:
        if hasattr(callback, "configure_optimizer"):
            optimizer = compile.checked_optimizer(
                callback.configure_optimizer(optimizer),
                f"{type(callback).__name__}.configure_optimizer",
            )
    if own:
        core.optimizer, core.run_eagerly, core.jit_compile = optimizer, eager, False
        return False, readings
    try:
        core.compile(
            optimizer=optimizer,
            loss=loss,
            loss_weights=loss_weights,
            metrics=metrics,
            weighted_metrics=weighted,
            run_eagerly=eager,
            steps_per_execution=recipe.steps_per_execution or core.steps_per_execution,
            jit_compile=False,  # the engine compiles whole chunks, not steps
            auto_scale_loss=found is None or found.scales,
        )
    except TypeError as error:
        if not compiled.overrides_compile(core):
            raise
        raise TypeError(
            f"{recipe.maker}: {type(core).__name__}.compile has arguments of its own "
            f"({error}); call model.compile(...) in build_model, and super().compile() in it"
        ) from error
    if any(getattr(m, "of_classes", False) for m in keras.tree.flatten(metrics)):
        # Plain Keras cannot load what metrics by name become for a classifier.
        core._compile_config.config["metrics"] = None
    return default, readings


def _one_each(loss: Any, weights: Any, spec: ModelSpec) -> Any:
    """Return a loss of all outputs once for each of several, if these have weights."""
    nested = (dict, list, tuple)
    if loss is None or isinstance(loss, nested) or not isinstance(weights, nested):
        return loss
    return map_tree(lambda _: loss, spec.n_outputs)


def _weights(
    recipe: Recipe,
    core: keras.Model,
    spec: ModelSpec,
    loss: Any,
    metrics: Any,
    weighted: Any,
    *,
    again: bool,
) -> Any:
    """Return the weights of the losses, after checking them and the outputs that fields name."""
    names = _output_names(core, spec, ready_made=recipe.ready_made)
    if not again:  # else it has been trained with them
        compile.check_outputs("metrics", metrics, names)
        compile.check_outputs("weighted_metrics", weighted, names)
        compile.check_loss_weights(recipe.loss_weights, loss, names)
    return compile.loss_weights(recipe.loss_weights, loss, names)


def _output_names(core: keras.Model, spec: ModelSpec, *, ready_made: bool) -> list[str]:
    """Return the names by which fields may refer to outputs; empty if they have none."""
    names = list(spec.n_outputs) if isinstance(spec.n_outputs, dict) else []
    names += getattr(core, "output_names", None) or ()
    if ready_made and isinstance(spec.n_outputs, int):
        names = ["output"]  # of a regression a layer with the units of y follows
    return list(dict.fromkeys(names))


def _check_without_call(core: keras.Model, inputs: Inputs, maker: str) -> None:
    """Refuse preprocessing in front of a model that cannot be called."""
    if inputs.table is None and not inputs.scaling:
        return
    what = "x is a DataFrame" if inputs.table is not None else "normalize is set"
    write = "pass arrays" if inputs.table is not None else "write normalize=None"
    raise ValueError(
        f"{maker}: {what}, but {type(core).__name__} has train_step and no call, so "
        f"that nothing can be put in front of it; {write}, or define call"
    )


def _make_by_step(
    program: Program, inputs: Inputs, targets: Targets, maker: str, *, run: bool
) -> None:
    """Create the variables of a model that only its train_step calls.

    They must exist before weights are loaded, and a file knows no batch. So fit creates them from
    the same forms of a batch as loading does, and refuses a model for which none of them works.

    Args:
        program: Runs the steps of the model.
        inputs: The learned preprocessing of x.
        targets: The learned encoding of y.
        maker: What the model comes from, for errors.
        run: Whether a step that runs in Python may change the weights.
    """
    program.model.built = True  # Keras saves and loads no other
    if program.eager and not run:
        return  # the first step creates them
    x, y = batch_spec(inputs, targets, keras_float())
    # Of targets with more than two axes only the last is known; most often they are x itself.
    like_x = getattr(targets, "scale", ()) is None and hasattr(x, "shape") and hasattr(y, "shape")
    forms = [(x, x)] if like_x and x.shape.rank > 2 and x.shape[-1] == y.shape[-1] else []
    errors = []
    for form in (*forms, (x, y), (x,)):
        try:
            program.look("train", form, 2)
        except Exception as error:  # train_step may raise anything
            errors.append(error)
        else:
            return
    raise ValueError(
        f"{maker}: {type(program.model).__name__} has train_step and no call, and its "
        f"train_step cannot be tried before training ({compile.reason(errors[0])}), which loading "
        "needs; define call, and use it in train_step"
    ) from errors[0]


def batch_spec(inputs: Inputs, targets: Targets, floats: str) -> tuple[Any, Any]:
    """Return the form of a batch of x and y: trees of tf.TensorSpec.

    Args:
        inputs: The learned preprocessing of x.
        targets: The learned encoding of y.
        floats: The dtype of floats.
    """
    dtypes = {"x": inputs.dtypes} if isinstance(inputs.dtypes, str) else dict(leaves(inputs.dtypes))

    def one(name: str, row: _Row) -> Any:
        dtype = np.dtype(dtypes[name])
        return backend.tensors.spec([None, *row.shape], floats if dtype.kind in "fb" else dtype)

    return map_named(one, map_shapes(_Row, inputs.shapes)), targets_spec(targets, floats)


def targets_spec(targets: Targets, floats: str) -> Any:
    """Return the form of a batch of encoded targets: a tree of tf.TensorSpec."""
    if isinstance(targets, Classes):

        def label(each: Any) -> Any:
            if each.kind == "multilabel" or each.one_hot:
                return backend.tensors.spec([None, each.n_classes], "float32")
            return backend.tensors.spec([None], "int32")

        return map_tree(label, targets.labels)
    if isinstance(targets, Numbers):
        return map_tree(
            lambda width, flat: backend.tensors.spec([None] if flat else [None, width], floats),
            targets.n_outputs,
            targets.flat,
        )
    return map_tree(lambda width: backend.tensors.spec([None, width], floats), targets.n_outputs)


def keras_float() -> str:
    """Return the float type that Keras computes in."""
    import keras

    return str(keras.config.floatx())


def rebuild(
    recipe: Recipe,
    inputs: Inputs,
    targets: Targets,
    *,
    precision: str,
    seed: int,
    callbacks: Sequence[Any] = (),
) -> Network:
    """Build the network of an earlier fit again, with new weights and an equal optimizer.

    Args:
        recipe: As for `build`.
        inputs: As for `build`.
        targets: As for `build`.
        precision: As for `build`.
        seed: As for `build`.
        callbacks: As for `build`.
    """
    network = build(
        recipe,
        inputs,
        targets,
        precision=precision,
        seed=seed,
        probe=blank_rows(inputs),
        callbacks=callbacks,
        again=True,
    )
    optimizer = network.core.optimizer
    # without call the tried train_step has built it, or does not use it
    if optimizer is not None and not has_only_a_step(network.core):
        with network.ambient():
            optimizer.build(network.core.trainable_variables)  # its state is in the file
    return network


def blank_rows(inputs: Inputs) -> Tree:
    """Return two rows of zeros as the network receives them."""
    dtypes = dict(leaves(inputs.dtypes))
    if isinstance(inputs.dtypes, str):
        dtypes = {"x": inputs.dtypes}
    shaped = map_shapes(_Row, inputs.shapes)

    def rows(name: str, row: _Row) -> np.ndarray:
        # Broadcasting a single zero uses no memory: a file may contain any shape.
        zero = np.asarray(b"", object) if dtypes[name] == "object" else np.zeros((), dtypes[name])
        return np.broadcast_to(zero, (2, *(d or side(row.shape) for d in row.shape)))

    return map_named(rows, shaped)


def side(shape: Sequence[int | None]) -> int:
    """Return a size for the open axes of a row: convolutions and pooling need more than 1."""
    known = int(np.prod([d for d in shape if d is not None], dtype=np.int64))
    size = 64
    while size > 1 and known * size ** sum(d is None for d in shape) > 1 << 20:
        size //= 2
    return size


class _Row:
    # Wraps a shape so that the tree functions treat it as a leaf.
    def __init__(self, shape: tuple[int | None, ...]) -> None:
        self.shape = shape


def _in_units_of_y(core: keras.Model, targets: Targets) -> keras.Model:
    """Rescale the outputs of a model, which are of order 1, to the units of y."""
    import keras

    if not isinstance(targets, Numbers) or targets.scale is None:
        return core
    mean, deviation = targets.scale
    output = core.outputs[0]
    # In the dtype of the output, not the policy: float16 is too small for, say, house prices.
    units = keras.layers.Rescaling(deviation, offset=mean, dtype=output.dtype, name="units")
    return keras.Model(core.input, units(output), name=core.name)


def _readings(
    recipe: Recipe,
    core: keras.Model,
    spec: ModelSpec,
    targets: Targets,
    loss: Any,
    few: Callable[..., Any],
    own_loss: Callable[[Any, Any], Any] | None,
    *,
    again: bool,
) -> Mapping[str, Reading]:
    with compile.state_kept(core):
        try:
            return recipe.defaults.read_outputs(core, spec, targets, loss, few, own_loss)
        except Unknown as error:
            if not again:
                raise
            # trained by 0.1.0, which took the outputs as they were
            warnings.warn(str(error), stacklevel=2)
            return {}


def _own_loss(
    core: keras.Model, loss: Any, rows: Callable[[], Tree], *, compiled_before: bool
) -> Callable[[Any, Any], Any] | None:
    """Return the model's compute_loss as a function of y and outputs; None if it has none."""
    if not compile.computes_loss(core):
        return None

    import keras

    def compute(y: Any, y_pred: Any) -> Any:
        if not compiled_before:
            core.compile("sgd", loss=loss)  # it may use the compiled loss
        same = map_tree(lambda a: keras.ops.repeat(a[:1], len(y), axis=0), rows())
        return core.compute_loss(x=same, y=y, y_pred=y_pred, sample_weight=None)

    return compute


def _noise_like(probe: Tree, scale: float = 1.0) -> Tree:
    """Return random rows of the same shape: normal numbers, or 0 and 1 for integers.

    As many of them however many there are in the probe, which has fewer when a file is loaded.
    """
    generator = np.random.default_rng(0)

    def one(array: np.ndarray) -> np.ndarray:
        row = array.shape[1:]
        shape = (PROBE_ROWS if np.prod(row, dtype=np.int64) < 2**20 else 2, *row)
        if array.dtype.kind == "f":
            return (scale * generator.normal(size=shape)).astype(array.dtype)
        if array.dtype.kind == "O":
            return np.full(shape, b"", object)  # text
        return generator.integers(0, 2, size=shape).astype(array.dtype)

    return map_tree(one, probe)


def _outputs(
    core: keras.Model, transform: Any, probe: Tree, dtype: str, maker: str, spec: ModelSpec
) -> Any:
    """Return the model's outputs, calling it on the probe if it is not built yet.

    None for a model that defines train_step but no call; its layers are built in training.
    """
    if has_only_a_step(core):
        return None
    import keras

    try:
        if isinstance(core, keras.Sequential) and not core.built and hasattr(probe, "shape"):
            # a call would fix the number of rows of a batch to that of the probe
            core.build((None, *probe.shape[1:]))
        declared = outputs.symbolic(core)
        if declared is not None:
            _check_symbolic(core.inputs, probe)
            return declared
        return core(tensors(probe, transform, dtype))
    except (ValueError, TypeError) as error:
        raise compile.misfit(error, maker, spec) from error
    except Exception as error:
        if type(error).__module__.startswith(("tensorflow", "keras")):
            raise compile.misfit(error, maker, spec) from error
        raise


def _check_symbolic(symbolic: Any, probe: Tree) -> None:
    found = [a.shape[1:] for _, a in arrays.leaves(probe)]
    expected = [tuple(s.shape[1:]) for s in symbolic]
    if len(found) != len(expected):
        raise ValueError(f"the model has {len(expected)} inputs, but x has {len(found)}")
    texts = sum(a.dtype.kind == "O" for _, a in arrays.leaves(probe))
    if texts != sum(s.dtype == "string" for s in symbolic):
        kinds = ", ".join(str(s.dtype) for s in symbolic)
        raise ValueError(
            f"its inputs are {kinds}, but {texts} of the {len(found)} inputs of x are text; write "
            "keras.Input((), dtype='string') and a TextVectorization layer for text"
        )
    if len(found) == 1:
        want, got = expected[0], found[0]
        fits = len(want) == len(got) and all(
            w is None or w == g for w, g in zip(want, got, strict=True)
        )
        if not fits and not (want == (*got, 1) or (*want, 1) == got):
            raise ValueError(f"its input has shape {want}, but the rows of x have {got}")
