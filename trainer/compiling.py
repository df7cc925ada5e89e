"""Optimizer, loss and metrics: from fields to a compiled Keras model.

Responsible for finding Keras objects by name (with near names for a wrong one), and for the
defaults of each task. Not for what a model's outputs mean (`outputs`), nor for training.
"""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from trainer import arrays, outputs
from trainer.allowed import safe_mode
from trainer.arrays import Tree
from trainer.checks import did_you_mean
from trainer.models import ModelSpec, is_shape

if TYPE_CHECKING:
    import keras

    from trainer.base import Trainer
    from trainer.targets import Classes, Numbers


def optimizer(value: Any, learning_rate: Any) -> keras.optimizers.Optimizer:
    """A fresh optimizer.

    Args:
        value: a name such as "adam", a Keras config, or an optimizer, of which a copy is made
            because an optimizer belongs to one model.
        learning_rate: a number or schedule that replaces the optimizer's own, or None.

    Raises:
        ValueError: an unknown name, with near ones.
        TypeError: something else.
    """
    import keras

    if isinstance(value, keras.optimizers.Optimizer):
        made = _from_config(value, value.get_config())
    elif isinstance(value, (str, dict)):
        made = _named("optimizer", value, keras.optimizers.get, keras.optimizers.Optimizer)
    else:
        made = f"; write optimizer={value.__name__}()" if isinstance(value, type) else ""
        raise TypeError(
            f"optimizer={value!r}: must be a name such as 'adam' or a keras.optimizers.Optimizer"
            + made
        )
    if learning_rate is not None:
        inner = getattr(made, "inner_optimizer", made)
        config = inner.get_config()
        config["learning_rate"] = learning_rate
        fresh = _from_config(inner, config)
        if inner is made:
            return fresh
        made.inner_optimizer = fresh
    return made


def _from_config(value: keras.optimizers.Optimizer, config: dict[str, Any]) -> Any:
    with safe_mode():
        made = value.__class__.from_config(config)
    # a config does not tell of which weights the optimizer was told to leave undecayed
    names = getattr(value, "_exclude_from_weight_decay_pattern", None)
    if names is not None:
        made.exclude_from_weight_decay(var_names=[names.pattern])
    return made


def loss(value: Any) -> Any:
    """A loss, or a structure of losses for several outputs, found by name where it is one.

    Raises:
        ValueError: an unknown name, with near ones.
        TypeError: neither a name, a callable nor a structure of them.
    """
    import keras

    if isinstance(value, dict):
        if "class_name" in value:
            return _named("loss", value, keras.losses.get, keras.losses.Loss)
        return {k: loss(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [loss(v) for v in value]
    if isinstance(value, str):
        _named("loss", value, keras.losses.get, keras.losses.Loss)
        return value
    if value is None or callable(value):
        return value
    raise TypeError(f"loss={value!r}: must be a name such as 'mse', a Keras loss or a function")


def metrics(value: Any) -> Any:
    """Fresh metrics: instances are copied, because a metric counts for one model.

    Raises:
        ValueError: an unknown name, with near ones.
        TypeError: something that is no metric, or one name where a list must stand.
    """
    import keras

    def one(metric: Any) -> Any:
        if isinstance(metric, str):
            if metric not in ("accuracy", "acc", "crossentropy", "ce"):
                _named("metrics", metric, keras.metrics.get, keras.metrics.Metric)
            return metric
        if isinstance(metric, keras.metrics.Metric):
            return _copied(metric)
        if isinstance(metric, (list, tuple)):
            return [one(m) for m in metric]
        if isinstance(metric, dict):
            return {k: one(m) for k, m in metric.items()}
        if callable(metric):
            return metric
        raise TypeError(
            f"metrics=[{metric!r}]: must be names such as 'accuracy', functions or "
            "keras.metrics.Metric objects"
        )

    if isinstance(value, str):
        raise TypeError(f"metrics={value!r}: must be a list; write metrics=[{value!r}]")
    return None if value is None else one(value)


def _copied(metric: keras.metrics.Metric) -> keras.metrics.Metric:
    # not by way of its config, which leaves options out even of some of Keras' own
    made = object.__new__(type(metric))
    vars(made).update(copy.deepcopy(vars(metric), {id(metric): made}))
    return made


_SINGULAR = {"metrics": "metric"}


def _named(field: str, value: Any, get: Callable[[Any], Any], base: type) -> Any:
    import keras

    try:
        with safe_mode():
            found = get(value)
    except (ValueError, TypeError) as error:
        module = {
            "optimizer": keras.optimizers,
            "loss": keras.losses,
            "metrics": keras.metrics,
        }[field]
        known = [
            name
            for name in vars(module)
            if not name.startswith("_")
            and name not in ("get", "serialize", "deserialize", "schedules", "legacy")
            and (
                not isinstance(getattr(module, name), type) or issubclass(vars(module)[name], base)
            )
        ]
        raise ValueError(
            f"{field}={value!r}: Keras has no such {_SINGULAR.get(field, field)}; "
            f"{did_you_mean(value if isinstance(value, str) else value.get('class_name'), known)}"
        ) from error
    return found


def crossentropy(
    model: keras.Model, spec: ModelSpec, kinds: dict[str, str], one_hot: bool, probe: Any
) -> Any:
    """The loss of a classifier, or one for each output, chosen by the model's outputs.

    Classes: sparse categorical crossentropy, or binary crossentropy for a single unit. Several
    labels a row: binary crossentropy. From logits where the outputs are no probabilities.

    Args:
        model: the built model.
        spec: what it was built for.
        kinds: of each output, as `Labels.kind`.
        one_hot: whether targets are one-hot rows.
        probe: gives the model's outputs on a few rows.
    """
    import keras

    exclusive = {name: kind != "multilabel" for name, kind in kinds.items()}
    logits = outputs.are_logits(model, spec, probe, exclusive)
    made = outputs.symbolic(model)
    widths = outputs.named(model, spec, probe() if made is None else made)

    def one(name: str) -> Any:
        if not exclusive[name] or widths[name].shape[-1] == 1:
            return keras.losses.BinaryCrossentropy(from_logits=logits[name])
        kind = (
            keras.losses.CategoricalCrossentropy
            if one_hot
            else keras.losses.SparseCategoricalCrossentropy
        )
        return kind(from_logits=logits[name])

    return arrays.map_named(lambda name, _: one(name), spec.n_outputs, "")


def accuracies(kinds: dict[str, str], loss: Any, widths: Tree) -> Any:
    """The default metric of each output of a classifier, always called accuracy.

    Keras' "accuracy" takes several labels a row for one class, and logits for probabilities.

    Args:
        kinds: of each output, as `Labels.kind`.
        loss: the loss, or one for each output.
        widths: in the structure of y.
    """
    import keras

    losses = dict(arrays.leaves(loss, ""))

    def one(name: str, _: int) -> Any:
        own = losses.get(name, loss)
        binary = kinds[name] == "multilabel" or type(own).__name__.startswith("Binary")
        if not binary:
            return ["accuracy"]
        threshold = 0.0 if getattr(own, "from_logits", False) else 0.5
        each = keras.metrics.binary_accuracy
        return [keras.metrics.MeanMetricWrapper(each, name="accuracy", threshold=threshold)]

    return arrays.map_named(one, widths, "")


def compile_model(
    model: keras.Model,
    trainer: Trainer,
    spec: ModelSpec,
    targets: Numbers | Classes,
    loss: Any,
    callbacks: Sequence[Any],
    *,
    run_eagerly: bool,
) -> None:
    """Compile a model with a Trainer's optimizer, metrics and, if it has one, compute_loss.

    Callbacks that have a configure_optimizer may change the optimizer.
    """
    from trainer.base import Trainer as Base

    metrics = trainer.configure_metrics()
    made = trainer.configure_optimizer()
    for callback in callbacks:
        if hasattr(callback, "configure_optimizer"):
            made = callback.configure_optimizer(made)
    model.compile(
        optimizer=made,
        loss=loss,
        metrics=trainer._default_metrics(spec, targets, loss) if metrics is None else metrics,
        run_eagerly=run_eagerly,
        jit_compile=False,  # the engine compiles whole chunks, not steps
    )
    if type(trainer).compute_loss is not Base.compute_loss:

        def compute_loss(
            x: Any = None,
            y: Any = None,
            y_pred: Any = None,
            sample_weight: Any = None,
            training: bool = True,
        ) -> Any:
            return trainer.compute_loss(x, y, y_pred, sample_weight)

        model.compute_loss = compute_loss


@contextlib.contextmanager
def state_kept(model: keras.Model) -> Iterator[None]:
    """Undo what trying a model out does to its seeds: fit starts where Keras' own does."""
    import keras

    from trainer.own_state import kept_variables

    # Keras does not count the states of recurrent layers among the variables
    states = [getattr(layer, "states", None) for layer in model._flatten_layers()]
    kept = [*model.non_trainable_variables, *keras.tree.flatten(states)]
    before = [(v, v.numpy()) for v in kept if isinstance(v, keras.Variable)]
    own = [(held, held.value) for held in kept_variables(model)]
    try:
        yield
    finally:
        for held, value in own:
            held.assign(value)
        for variable, value in before:
            variable.assign(value)


def try_out(model: keras.Model, fields: dict[str, Any], x: Tree, y: Tree) -> None:
    """Refuse a loss or metrics that do not fit the targets, by computing them on a few rows.

    A loss or training step of the model's own is left alone: it may want whole batches.

    Args:
        model: the compiled model; its metrics are reset.
        fields: loss and metrics as the user gave them; None for those that are not to be tried.
        x, y: tensors of a few rows, as the model is fed.

    Raises:
        ValueError: naming the field, its value and the shapes.
    """
    import keras
    import tensorflow as tf

    own = "compute_loss" in vars(model) or any(
        getattr(type(model), hook) is not getattr(keras.Model, hook)
        for hook in ("train_step", "compute_loss", "compute_metrics")
    )
    if own or all(value is None for value in fields.values()):
        return
    y_pred = model(x, training=False)
    tries = {
        "loss": lambda: model.compute_loss(x=x, y=y, y_pred=y_pred),
        "metrics": lambda: model.compute_metrics(x, y, y_pred),
    }
    for field, value in fields.items():
        if value is None:
            continue
        try:
            tries[field]()
        except (ValueError, TypeError, KeyError, tf.errors.OpError) as error:
            raise ValueError(
                f"{field}={value!r}: cannot be computed for y of shape {_shapes(y)} and outputs of "
                f"shape {_shapes(y_pred)} ({_reason(error)}); choose another, or leave {field} out "
                "for the usual one"
            ) from error
    model.reset_metrics()


def _shapes(tree: Tree) -> str:
    def shown(leaf: Any) -> str:
        return f"(n, {', '.join(map(str, leaf.shape[1:]))})" if len(leaf.shape) > 1 else "(n,)"

    return ", ".join(f"{name} {shown(leaf)}".strip() for name, leaf in arrays.leaves(tree, ""))


def _reason(error: Exception) -> str:
    # the first line, without the nodes and operations that TensorFlow's errors name
    text = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", str(getattr(error, "message", "") or error)).strip()
    return text.splitlines()[0].rstrip(". ") if text else type(error).__name__


def check_model(model: Any, owner: str) -> None:
    """Refuse what is no Keras model."""
    import keras

    if model is None:
        raise TypeError(
            f"{owner}.build_model returned None: it must return a keras.Model; is the `return` "
            "missing?"
        )
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"{owner}.build_model returned a {type(model).__name__}: it must return a keras.Model"
        )


def misfit(error: Exception, owner: str, spec: ModelSpec) -> ValueError:
    """The error for a model that cannot take its inputs."""
    shape = spec.input_shape
    shown = f"(n, {', '.join(map(str, shape))})" if is_shape(shape) else repr(shape)
    return ValueError(
        f"{owner}.build_model: the model does not take x of shape {shown}; start it with "
        f"keras.Input(spec.input_shape) ({_reason(error)})"
    )
