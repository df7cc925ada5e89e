"""Optimizer, loss and metrics: from fields to a compiled Keras model.

Responsible for finding Keras objects by name (with near names for a wrong one), for the defaults
of each task, and for checking that a model's output fits its targets. Not for training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer import arrays
from trainer.checks import did_you_mean
from trainer.models import ModelSpec, is_shape

if TYPE_CHECKING:
    import keras

    from trainer.base import Trainer


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
        made = value.__class__.from_config(value.get_config())
    elif isinstance(value, (str, dict)):
        made = _named("optimizer", value, keras.optimizers.get, keras.optimizers.Optimizer)
    else:
        raise TypeError(
            f"optimizer={value!r}: must be a name such as 'adam' or a keras.optimizers.Optimizer"
        )
    if learning_rate is not None:
        inner = getattr(made, "inner_optimizer", made)
        config = inner.get_config()
        config["learning_rate"] = learning_rate
        fresh = inner.__class__.from_config(config)
        if inner is made:
            return fresh
        made.inner_optimizer = fresh
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
            return metric.__class__.from_config(metric.get_config())
        if isinstance(metric, (list, tuple)):
            return [one(m) for m in metric]
        if isinstance(metric, dict):
            return {k: one(m) for k, m in metric.items()}
        if callable(metric):
            return metric
        raise TypeError(f"metrics: {metric!r} is no name, function or keras.metrics.Metric")

    if isinstance(value, str):
        raise TypeError(f"metrics={value!r}: must be a list; write metrics=[{value!r}]")
    return None if value is None else one(value)


def _named(field: str, value: Any, get: Callable[[Any], Any], base: type) -> Any:
    import keras

    try:
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
            f"{field}={value!r}: Keras has no such {field.rstrip('s')}; "
            f"{did_you_mean(value if isinstance(value, str) else value.get('class_name'), known)}"
        ) from error
    return found


def default_loss(model: keras.Model, spec: ModelSpec, one_hot: bool, probe: Any) -> Any:
    """The loss of a task, chosen by the model's outputs.

    Classes: sparse categorical crossentropy, or binary crossentropy for a single sigmoid unit;
    from logits where the last layer has no activation. Labels: binary crossentropy. Numbers:
    squared error.

    Args:
        model: the built model.
        spec: what it was built for.
        one_hot: whether targets are one-hot rows.
        probe: gives the model's outputs on a few rows, where layers do not tell the activation.
    """
    import keras

    def one(width: int, name: str, output: Any) -> Any:
        if spec.task == "regression":
            return keras.losses.MeanSquaredError()
        logits = _gives_logits(model, output, probe, name)
        if spec.task == "multilabel" or output.shape[-1] == 1:
            return keras.losses.BinaryCrossentropy(from_logits=logits)
        kind = (
            keras.losses.CategoricalCrossentropy
            if one_hot
            else keras.losses.SparseCategoricalCrossentropy
        )
        return kind(from_logits=logits)

    outputs = named_outputs(spec, model.outputs if getattr(model, "outputs", None) else probe())
    widths = dict(arrays.leaves(spec.n_outputs, ""))
    chosen = {name: one(widths[name], name, output) for name, output in outputs.items()}
    if isinstance(spec.n_outputs, int):
        return next(iter(chosen.values()))
    values = iter(chosen.values())
    return (
        {key: next(values) for key in spec.n_outputs}
        if isinstance(spec.n_outputs, dict)
        else list(values)
    )


def named_outputs(spec: ModelSpec, outputs: Any) -> dict[str, Any]:
    """The model's outputs by the name that `arrays.leaves` gives the targets."""
    names = [name for name, _ in arrays.leaves(spec.n_outputs, "")]
    if isinstance(outputs, dict):
        flat = [
            outputs[k] for k in (spec.n_outputs if isinstance(spec.n_outputs, dict) else outputs)
        ]
    else:
        flat = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
    if len(names) != len(flat):
        raise ValueError(
            f"build_model returned a model with {len(flat)} outputs, but y has {len(names)}; "
            "give the model one output for each part of y"
        )
    return dict(zip(names, flat, strict=True))


def _gives_logits(model: keras.Model, output: Any, probe: Any, name: str) -> bool:
    activation = _last_activation(output)
    if activation is not None:
        return activation in ("linear", None)
    values = probe()
    if isinstance(values, (list, tuple, dict)):
        return False  # several outputs of a subclassed model: taken at their word
    array = np.asarray(values, dtype=np.float64)
    if array.shape[-1] == 1:
        return bool((array < 0).any() or (array > 1).any())
    return bool((array < 0).any() or (np.abs(array.sum(axis=-1) - 1) > 0.05).any())


def _last_activation(output: Any) -> str | None:
    """The name of the activation that made a symbolic output, or None if it cannot be told."""
    history = getattr(output, "_keras_history", None)
    layer: Any = getattr(history, "operation", None)
    while getattr(layer, "outputs", None) and getattr(layer, "layers", None):
        layer = layer.layers[-1]
    activation = getattr(layer, "activation", None)
    if activation is not None:
        return str(getattr(activation, "__name__", activation))
    if layer is not None and type(layer).__name__ in ("Softmax", "Sigmoid"):
        return type(layer).__name__.lower()
    return None


def compile_model(model: keras.Model, trainer: Trainer, loss: Any, *, run_eagerly: bool) -> None:
    """Compile a model with a Trainer's optimizer, metrics and, if it has one, compute_loss."""
    from trainer.base import Trainer as Base

    metrics = trainer.configure_metrics()
    model.compile(
        optimizer=trainer.configure_optimizer(),
        loss=loss,
        metrics=trainer._default_metrics(model) if metrics is None else metrics,
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


def from_logits(compiled: Any) -> bool:
    """Whether a loss takes the network's outputs as logits."""
    return bool(getattr(compiled, "from_logits", False))


def as_probabilities(outputs: Any, model: keras.Model, spec: ModelSpec) -> Any:
    """The outputs of a trained classifier as probabilities, where its loss takes logits."""
    flat = named_outputs(spec, outputs)
    losses = model.loss if isinstance(model.loss, (dict, list, tuple)) else [model.loss]
    each = list(losses.values()) if isinstance(losses, dict) else list(losses)
    if len(each) != len(flat) or not any(map(from_logits, each)):
        return outputs
    done = {
        name: _squash(value, spec.task) if from_logits(one) else value
        for (name, value), one in zip(flat.items(), each, strict=True)
    }
    if isinstance(spec.n_outputs, int):
        return next(iter(done.values()))
    return list(done.values())


def _squash(logits: np.ndarray, task: str) -> np.ndarray:
    from scipy.special import expit, softmax

    if task == "multilabel" or logits.shape[-1] == 1:
        return np.asarray(expit(logits))
    return np.asarray(softmax(logits, axis=-1))


def check_outputs(model: keras.Model, spec: ModelSpec, outputs: Any) -> None:
    """Refuse a model whose output width does not fit its targets.

    Args:
        model: the built model.
        spec: what it was to be built for.
        outputs: its outputs, symbolic or not, each with `shape`.

    Raises:
        ValueError: with the width expected and the width got.
    """
    if spec.task == "custom":
        return
    widths = dict(arrays.leaves(spec.n_outputs, ""))
    for name, output in named_outputs(spec, outputs).items():
        expected, shape = widths[name], tuple(output.shape)
        got = shape[-1] if len(shape) > 1 else 1
        binary = spec.task == "classification" and expected == 2 and got == 1
        if got != expected and not binary:
            where = f" for y{name}" if name else ""
            unit = {"classification": "classes", "multilabel": "labels"}.get(spec.task, "columns")
            raise ValueError(
                f"build_model: the output{where} has the wrong width: expected {expected} "
                f"({expected} {unit} in y), got {got}; end the model with "
                f"Dense(spec.n_outputs, {spec.output_activation!r})"
            )


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
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ValueError(
        f"{owner}.build_model: the model does not take x of shape {shown}; start it with "
        f"keras.Input(spec.input_shape). Keras says: {first}"
    )
