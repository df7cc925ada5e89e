"""Optimizer, loss and metrics, to compile a Keras model with.

Responsible for finding Keras objects by name (suggesting similar names for a wrong one), for the
defaults of each task, and for testing loss and metrics before training. Not for the meaning of a
model's outputs (`outputs`), or for training.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import math
import numbers
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trainer.data import arrays
from trainer.data.arrays import Tree, is_shape
from trainer.engine.backend import tensors
from trainer.models import ModelSpec
from trainer.network import outputs, probabilities
from trainer.network.allowed import safe_mode
from trainer.utils.checks import did_you_mean, finite, with_article

if TYPE_CHECKING:
    import keras


# Of each optimizer in a chain of wrapped ones: a regular expression for names of weights, or None,
# and places among the variables of its model.
Exclusions = list[tuple[str | None, list[int]]]


def optimizer(value: Any, learning_rate: Any) -> keras.optimizers.Optimizer:
    """Create a new optimizer.

    Args:
        value: A name such as "adam", a Keras config, a class, or an optimizer, which is copied
            because an optimizer belongs to one model. None: "adam".
        learning_rate: A number or schedule to replace the optimizer's learning rate, or None.

    Raises:
        ValueError: The name is unknown; the message suggests similar ones.
        TypeError: The value is of another type.
    """
    import keras

    if value is None:
        value = "adam"
    if isinstance(value, keras.optimizers.Optimizer):
        made = _new_optimizer(value)
    elif isinstance(value, (str, dict)):
        made = _named("optimizer", value, keras.optimizers.get, keras.optimizers.Optimizer)
    elif isinstance(value, type) and issubclass(value, keras.optimizers.Optimizer):
        made = value()
    else:
        raise TypeError(
            f"optimizer={value!r}: must be a name such as 'adam', or a keras.optimizers.Optimizer "
            "or class of one"
        )
    if learning_rate is not None:
        if isinstance(learning_rate, Mapping):
            learning_rate = _schedule(learning_rate)
        number = isinstance(learning_rate, numbers.Real)  # Keras takes Python's float only
        return _new_optimizer(made, learning_rate=float(learning_rate) if number else learning_rate)
    return made


def _schedule(config: Mapping[str, Any]) -> keras.optimizers.schedules.LearningRateSchedule:
    import keras

    try:
        with safe_mode():
            made = keras.optimizers.schedules.deserialize(dict(config))
        if not isinstance(made, keras.optimizers.schedules.LearningRateSchedule):
            raise ValueError(f"{config['class_name']!r} is none")
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"learning_rate={dict(config)!r}: no schedule of Keras can be made of this config "
            f"({reason(error)}); write keras.optimizers.schedules.ExponentialDecay(0.1, 1000, 0.9)"
            ", for example"
        ) from error
    return made


def checked_optimizer(value: Any, maker: str) -> keras.optimizers.Optimizer:
    """Return what a hook returned as an optimizer; a name or a config becomes one.

    Args:
        value: What the hook returned.
        maker: The hook, for errors.

    Raises:
        TypeError: It is not an optimizer.
    """
    import keras

    if value is None:
        raise TypeError(
            f"{maker} returned None: it must return a keras.optimizers.Optimizer; is `return` "
            "missing?"
        )
    if isinstance(value, (str, dict)):
        return optimizer(value, None)
    if not isinstance(value, keras.optimizers.Optimizer):
        raise TypeError(
            f"{maker} returned {with_article(type(value).__name__)}: it must return a "
            "keras.optimizers.Optimizer"
        )
    return value


def optimizer_config(value: keras.optimizers.Optimizer) -> dict[str, Any]:
    """Return the config of an optimizer, with its schedule, or other function, as it is.

    Keras serializes a schedule, which fails for one of the user's own class without a get_config.
    """
    import keras

    rate = value._learning_rate
    if isinstance(rate, keras.Variable) or not callable(rate):
        return dict(value.get_config())
    twin = object.__new__(type(value))
    vars(twin).update(vars(value), _learning_rate=0.5)
    config: dict[str, Any] = twin.get_config()
    return config | {"learning_rate": rate}


class Portable:
    """An optimizer, loss or metric, which is pickled and comes back as what it was.

    Keras pickles them by their configs, from which it makes no class that is not registered, and
    which leave out the arguments of classes without a get_config.

    Args:
        value: The object; or a variable that a metric holds.
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        import keras

        value = self.value
        if isinstance(value, keras.Variable):
            return _variable, (value.numpy(), value.dtype, value.name)
        if isinstance(value, (keras.losses.Loss, keras.metrics.Metric)):
            attributes = {k: _plain(v) for k, v in _attributes(value).items()}
            return _with_attributes, (type(value), portable(attributes))
        left_out = excluded(value)
        kind, arguments, by_config = _recipe(value)
        if "inner_optimizer" in arguments and not by_config:
            arguments["inner_optimizer"] = Portable(arguments["inner_optimizer"])
        return _remade, (kind, arguments, by_config, left_out)


def portable(value: Any) -> Any:
    """Return a value whose optimizers, losses and metrics, at any depth, can be pickled."""
    if holds_keras_objects(value, "Variable"):
        if isinstance(value, dict):
            return {k: portable(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            items = [portable(v) for v in value]
            return tuple(items) if isinstance(value, tuple) else items
        return Portable(value)
    return value


def opened(value: Any) -> Any:
    """Return what `portable` was given: copy.copy takes the state of a pickle as it is."""
    if isinstance(value, dict):
        return {k: opened(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        items = [opened(v) for v in value]
        return tuple(items) if isinstance(value, tuple) else items
    return value.value if isinstance(value, Portable) else value


def shared(value: Any) -> Any:
    """Return a copy of a structure of losses and metrics, which has the same objects in it.

    A deep copy would be made from their configs, which may leave out arguments. Fits copy metrics,
    and losses have no state.
    """
    if isinstance(value, dict):
        return {k: shared(v) for k, v in value.items()}
    return [shared(v) for v in value] if isinstance(value, list) else value


def holds_keras_objects(value: Any, *others: str) -> bool:
    """Return whether a value is an optimizer, loss or metric object, or a structure with one.

    Args:
        value: Any value.
        others: The names of further classes of Keras.
    """
    if isinstance(value, (list, tuple, dict)):
        each = value.values() if isinstance(value, dict) else value
        return any(holds_keras_objects(v, *others) for v in each)
    if "keras" not in sys.modules:  # then it is none of them, and Keras need not be imported
        return False
    import keras

    kinds = (keras.optimizers.Optimizer, keras.losses.Loss, keras.metrics.Metric)
    return isinstance(value, (*kinds, *(getattr(keras, name) for name in others)))


def complete(config: Any, value: Any) -> None:
    """Add to configs of losses and metrics the arguments that Keras leaves out of them.

    Such as the delta of Huber: a loss that is made from its config would have the default.

    Args:
        config: What Keras serializes the value as; it is changed.
        value: A loss or metric, or a structure of them.
    """
    if isinstance(value, Mapping) and isinstance(config, dict):
        for name, part in value.items():
            complete(config.get(name), part)
    elif isinstance(value, (list, tuple)) and isinstance(config, list):
        for form, part in zip(config, value, strict=True):
            complete(form, part)
    elif isinstance(config, dict) and isinstance(config.get("config"), dict):
        arguments = getattr(value, "_fn_kwargs", None) or {}
        taken = inspect.signature(type(value)).parameters if arguments else {}
        for name in arguments.keys() & taken.keys():
            config["config"].setdefault(name, arguments[name])


def _attributes(value: Any) -> dict[str, Any]:
    """Return the attributes of a loss or metric, but for what Keras tracks in it."""
    tracking = ("_tracker", "_variables", "_metrics")
    return {k: v for k, v in vars(value).items() if k not in tracking}


def _plain(value: Any) -> Any:
    """Return a dict or list in the place of Keras' own, which tracks what is in it."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list) else value


def _variable(array: Any, dtype: str, name: str) -> keras.Variable:
    import keras

    return keras.Variable(array, dtype=dtype, name=name, trainable=False)


def _with_attributes(kind: type, attributes: dict[str, Any]) -> Any:
    """Return a loss or metric with these attributes; its constructor is not called."""
    import keras

    made: Any = object.__new__(kind)
    if issubclass(kind, keras.metrics.Metric):
        keras.metrics.Metric.__init__(made)  # makes the tracker, which setattr needs
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def _recipe(value: keras.optimizers.Optimizer, **changes: Any) -> tuple[type, dict[str, Any], bool]:
    """Return an optimizer's class, arguments that make an equal one, and whether by from_config.

    Args:
        value: The optimizer.
        changes: Arguments to have in the place of its own.

    Raises:
        ValueError: Its class does not say what its arguments were.
    """
    import keras

    if type(value) is keras.optimizers.LossScaleOptimizer:
        names = ("initial_scale", "dynamic_growth_steps", "name")
        arguments = {name: getattr(value, name) for name in names}
        inner = without_exclusions(value.inner_optimizer, **changes)
        return type(value), {"inner_optimizer": inner, **arguments}, False
    kind = type(value)
    try:
        config = optimizer_config(value) | changes
        owner = next(cls for cls in kind.__mro__ if "get_config" in vars(cls))
        if kind.__module__.startswith("keras.") or not owner.__module__.startswith("keras."):
            return kind, config, True
        return kind, _arguments(value, config), False
    except Exception as error:  # code of the user's class may raise anything
        raise _not_copied(value, reason(error)) from error


def _remade(
    kind: type, arguments: dict[str, Any], by_config: bool, left_out: Exclusions | None = None
) -> Any:
    with safe_mode():
        cls: Any = kind
        made = cls.from_config(dict(arguments)) if by_config else cls(**arguments)
    if left_out is not None:
        exclude(made, left_out)
    return made


def _new_optimizer(value: keras.optimizers.Optimizer, **changes: Any) -> Any:
    """Return a new optimizer that does what another one does, but for the changes.

    Raises:
        ValueError: Its class does not say what its arguments were, or it excludes the weights of
            a certain model from weight decay.
    """
    left_out = excluded(value)
    made = without_exclusions(value, **changes)
    if left_out is not None:
        exclude(made, left_out)
    return made


def excluded(value: keras.optimizers.Optimizer, variables: Sequence[Any] = ()) -> Exclusions | None:
    """Return what an optimizer excludes from weight decay, which its config does not say.

    Args:
        value: The optimizer.
        variables: Those of its model, if it has one.

    Returns:
        For the optimizer and the one that it wraps: a regular expression for names of weights, or
        None, and the places among the variables. None if it excludes nothing.

    Raises:
        ValueError: It excludes others than these variables.
    """
    found: Exclusions = []
    for each in _chain(value):
        place = {each._var_key(variable): i for i, variable in enumerate(variables)}
        listed = getattr(each, "_exclude_from_weight_decay", None) or set()
        if not listed <= place.keys():
            raise ValueError(
                f"optimizer=<{type(value).__name__}>: exclude_from_weight_decay(var_list=...) "
                "names weights that another model has not; write var_names=['bias'], which holds "
                "for the weights of any model by their names"
            )
        pattern = getattr(each, "_exclude_from_weight_decay_pattern", None)
        text = None if pattern is None else pattern.pattern
        found.append((text, sorted(place[key] for key in listed)))
    return found if any(text is not None or places for text, places in found) else None


def exclude(
    made: keras.optimizers.Optimizer, left_out: Exclusions, variables: Sequence[Any] = ()
) -> None:
    """Exclude the same from weight decay in an optimizer that is not built.

    Args:
        made: The optimizer.
        left_out: What `excluded` returned for another one.
        variables: Those of its model, in the same order.
    """
    for each, (text, places) in zip(_chain(made), left_out, strict=True):
        if text is not None or places:
            each.exclude_from_weight_decay(
                var_list=[variables[i] for i in places],
                var_names=None if text is None else [text],
            )


def _chain(value: Any) -> list[Any]:
    found = [value]
    while (inner := getattr(found[-1], "inner_optimizer", None)) is not None:
        found.append(inner)
    return found


def without_exclusions(value: keras.optimizers.Optimizer, **changes: Any) -> Any:
    """Return a new optimizer with the arguments of another one, but for the changes.

    Raises:
        ValueError: Its class does not say what its arguments were.
    """
    recipe = _recipe(value, **changes)
    try:
        made = _remade(*recipe)
        wanted, found = optimizer_config(value) | changes, optimizer_config(made)
    except Exception as error:  # code of the user's class may raise anything
        raise _not_copied(value, reason(error)) from error
    inner = {"inner_optimizer", "learning_rate"} if "inner_optimizer" in wanted else set()
    for name in wanted.keys() - {"name"} - inner:
        if not _is_same(found.get(name), wanted[name]):
            raise _not_copied(
                value, f"the copy has {name}={found.get(name)!r}, not {wanted[name]!r}"
            )
    return made


def _arguments(value: keras.optimizers.Optimizer, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that an optimizer of a class without a config of its own was made with.

    Those that its base does not know are read from attributes of the same name.
    """
    import keras

    parameters = inspect.signature(type(value)).parameters.values()
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    arguments = dict(config) if takes_any else {}
    for parameter in parameters:
        name = parameter.name
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if name in config:
            arguments[name] = config[name]
            continue
        kept = next((n for n in (name, f"_{name}") if n in vars(value)), None)
        if kept is None:
            raise ValueError(f"no attribute says what {name} was")
        found = vars(value)[kept]
        arguments[name] = float(found) if isinstance(found, keras.Variable) else found
    return arguments


def _is_same(a: Any, b: Any) -> bool:
    both = isinstance(a, numbers.Real) and isinstance(b, numbers.Real)
    # Keras keeps learning rates in float32
    return math.isclose(a, b, rel_tol=1e-6) if both else a is b or repr(a) == repr(b)


def _not_copied(value: Any, why: str) -> ValueError:
    kind = type(value).__name__
    return ValueError(
        f"optimizer=<{kind}>: cannot be copied, and a model needs one of its own ({why}); define "
        f"{kind}.get_config, which returns the arguments of the constructor, or make the optimizer "
        "in configure_optimizer"
    )


def loss(value: Any) -> Any:
    """Check a loss, or a structure of losses for several outputs; configs become objects.

    Raises:
        ValueError: A name is unknown (the message suggests similar ones), or there is no loss.
        TypeError: The value is neither a name, a callable nor a structure of them.
    """
    import keras

    if isinstance(value, (dict, list, tuple)) and not value:
        raise ValueError(
            f"loss={value!r}: has no loss in it; write loss='mse', for example, or leave loss out "
            "for the default"
        )
    if isinstance(value, dict):
        if "class_name" in value:
            return _named("loss", value, keras.losses.get, keras.losses.Loss)
        return {k: loss(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [loss(v) for v in value]
    if isinstance(value, str):
        found = _named("loss", value, keras.losses.get, keras.losses.Loss)
        return value if _in_the_list_of_keras(keras.losses.get, value) else found
    if isinstance(value, type) and issubclass(value, keras.losses.Loss):
        return value()
    if value is None or callable(value):
        return value
    raise TypeError(f"loss={value!r}: must be a name such as 'mse', a Keras loss or a function")


def metrics(value: Any, field: str = "metrics") -> Any:
    """Check metrics; metric objects are copied, because their state belongs to one model.

    The copies start afresh: Keras does not reset a compiled metric before its first batch.

    Args:
        value: As the field of Trainer.
        field: Its name, for errors.

    Raises:
        ValueError: A name is unknown; the message suggests similar ones.
        TypeError: A value is not a metric, or a single name instead of a list.
    """
    import keras

    def one(metric: Any) -> Any:
        if isinstance(metric, str):
            if metric in ("accuracy", "acc", "crossentropy", "ce"):
                return metric
            found = _named(field, metric, keras.metrics.get, keras.metrics.Metric)
            if _in_the_list_of_keras(keras.metrics.get, metric):
                return metric
            usual = keras.src.utils.naming.to_snake_case(type(found).__name__)
            return usual if _in_the_list_of_keras(keras.metrics.get, usual) else found
        if isinstance(metric, keras.metrics.Metric):
            return _copied(metric)
        if isinstance(metric, (list, tuple)):
            return [one(m) for m in metric]
        if isinstance(metric, dict):
            return {k: one(m) for k, m in metric.items()}
        if isinstance(metric, type) and issubclass(metric, keras.metrics.Metric):
            return metric()
        if callable(metric):
            return metric
        raise TypeError(
            f"{field}=[{metric!r}]: must be names such as 'accuracy', functions or "
            "keras.metrics.Metric objects"
        )

    if isinstance(value, str):
        raise TypeError(f"{field}={value!r}: must be a list; write {field}=[{value!r}]")
    if value and isinstance(value, (dict, list, tuple)) and not keras.tree.flatten(value):
        raise ValueError(
            f"{field}={value!r}: has no metric in it; write {field}=['mae'], for example, or "
            f"{field}=[] for none"
        )
    return None if value is None else one(value)


def check_outputs(field: str, value: Any, names: Sequence[str]) -> None:
    """Refuse a dict by outputs that names others than the model has.

    Args:
        field: Its name, for errors.
        value: The value of the field.
        names: The names of the outputs; empty if they have none.

    Raises:
        ValueError: There is no such output; the message lists those that there are.
    """
    if not names or not isinstance(value, dict):
        return
    for key in value:
        if key not in names:
            listed = ", ".join(map(repr, names))
            has = f"outputs are {listed}" if len(names) > 1 else f"only output is {listed}"
            raise ValueError(f"{field}={value!r}: there is no output {key!r}; the {has}")


def check_loss_weights(value: Any, loss: Any, names: Sequence[str]) -> None:
    """Check the field loss_weights.

    Args:
        value: The field: a number, or one for each loss; None for none.
        loss: The loss, or those of several outputs.
        names: The names of the outputs; empty if they have none.

    Raises:
        TypeError: A weight is not a number.
        ValueError: A weight is negative or not finite, belongs to no output, or there are not as
            many as losses.
    """
    import keras

    if value is None:
        return
    check_outputs("loss_weights", value, names)
    flat, losses = keras.tree.flatten(value), len(keras.tree.flatten(loss))
    for weight in flat:
        try:
            finite("loss_weights", 0 if weight is None else weight, low=0)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"loss_weights={value!r}: each weight must be a finite number, 0 or more, such as "
                f"1.0, and not {weight!r}"
            ) from None
    if loss is not None and len(flat) != losses:
        says = f"are {losses} losses; write one for each" if losses > 1 else "is 1 loss; write one"
        raise ValueError(
            f"loss_weights={value!r}: has {len(flat)} weight{'' if len(flat) == 1 else 's'}, but "
            f"there {says}"
        )


def loss_weights(value: Any, loss: Any, names: Sequence[str]) -> Any:
    """Return loss_weights as Keras takes it: Python's floats, in the order of the losses.

    Args:
        value: As for `check_loss_weights`.
        loss: As for `check_loss_weights`.
        names: As for `check_loss_weights`.
    """
    import keras

    if value is None:
        return None
    if isinstance(value, dict) and isinstance(loss, (list, tuple)) and set(value) == set(names):
        value = [value[name] for name in names]
    return keras.tree.map_structure(lambda w: float(w) if isinstance(w, numbers.Real) else w, value)


def _copied(metric: keras.metrics.Metric) -> keras.metrics.Metric:
    # Not from the config, which is incomplete even for some Keras metrics. Those that the metric
    # holds are in the memo too, because Keras' deepcopy of a metric is made from its config.
    originals, made = [metric], [object.__new__(type(metric))]
    for original in originals:
        for held in original._metrics:
            if all(held is not known for known in originals):
                originals.append(held)
                made.append(object.__new__(type(held)))
    memo = {id(original): new for original, new in zip(originals, made, strict=True)}
    for original, new in zip(originals, made, strict=True):
        vars(new).update(copy.deepcopy(vars(original), memo))
    if made[0].variables:  # one that makes them in its first update could not be reset
        made[0].reset_state()
    return made[0]


_SINGULAR = {"metrics": "metric", "weighted_metrics": "metric"}


def _named(field: str, value: Any, get: Callable[[Any], Any], base: type) -> Any:
    """Return what a name or config stands for: any public class of Keras, listed by it or not."""
    import keras

    module = {
        "optimizer": keras.optimizers,
        "loss": keras.losses,
        "metrics": keras.metrics,
        "weighted_metrics": keras.metrics,
    }[field]
    public = {
        name: found
        for name, found in vars(module).items()
        if not name.startswith("_")
        and name not in ("get", "serialize", "deserialize", "schedules", "legacy")
        and found is not base
        and (issubclass(found, base) if isinstance(found, type) else callable(found))
    }
    singular = _SINGULAR.get(field, field)
    several = field.endswith("metrics")
    plural = module.__name__.rsplit(".", 1)[-1]
    given = value if isinstance(value, str) else str(value.get("class_name"))
    if _folded(given) == _folded(base.__name__):
        raise ValueError(
            f"{field}={value!r}: keras.{plural}.{base.__name__} is only the base of the classes of "
            f"Keras; write the name of one, or an object of a class of your own"
        )
    try:
        with safe_mode():
            return get(value if isinstance(value, str) else dict(value))
    except (ValueError, TypeError, KeyError) as error:
        # Keras' own lists leave some classes out, and know others in one spelling only.
        by_folded = {_folded(n): n for n in sorted(public, key=lambda n: not n.islower())}
        name = by_folded.get(_folded(given))
        if name is None or not _of_keras(value):
            known = [n for n in public if n != given]
            raise ValueError(
                f"{field}={value!r}: Keras has no such {singular}; {did_you_mean(given, known)}"
            ) from error
        if not isinstance(public[name], type):
            return public[name]
        try:
            with safe_mode():
                return public[name].from_config(
                    {} if isinstance(value, str) else dict(value.get("config") or {})
                )
        except (ValueError, TypeError, KeyError) as why:
            raise ValueError(
                f"{field}={value!r}: keras.{plural}.{name} cannot be made of this "
                f"({type(why).__name__}: {reason(why)}); write "
                f"{field}={'[' if several else ''}keras.{plural}.{name}(...)"
                f"{']' if several else ''} with the arguments that it needs"
            ) from why


def _folded(name: str) -> str:
    return name.lower().replace("_", "")


def _of_keras(value: Any) -> bool:
    if isinstance(value, str):
        return True
    module, registered = value.get("module"), value.get("registered_name")
    return str(module or "keras").split(".")[0] == "keras" and ">" not in str(registered or "")


def _in_the_list_of_keras(get: Callable[[Any], Any], name: str) -> bool:
    try:
        get(name)
    except (ValueError, TypeError):
        return False
    return True


def crossentropy(
    model: keras.Model,
    spec: ModelSpec,
    kinds: dict[str, str],
    one_hot: bool,
    probe: Any,
    from_logits: bool | None = None,
) -> Any:
    """Return the default loss of a classifier, or one per output, according to the model's outputs.

    Binary crossentropy for multi-label outputs and for a single unit; otherwise (sparse)
    categorical crossentropy. With from_logits=True if the outputs are logits.

    Args:
        model: The built model.
        spec: The spec that it was built for.
        kinds: `Labels.kind` of each output.
        one_hot: Whether targets are one-hot rows.
        probe: Returns the model's outputs for a few rows.
        from_logits: Whether the outputs are logits, if the user says so.

    Raises:
        probabilities.Unknown: It cannot be told whether the outputs are logits.
    """
    import keras

    exclusive = {name: kind != "multilabel" for name, kind in kinds.items()}
    logits = (
        probabilities.are_logits(model, spec, probe, exclusive)
        if from_logits is None
        else dict.fromkeys(exclusive, from_logits)
    )
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


def computes_loss(model: keras.Model) -> bool:
    """Return whether the model has a compute_loss of its own, instead of the compiled loss."""
    import keras

    return "compute_loss" in vars(model) or (
        type(model).compute_loss is not keras.Model.compute_loss
    )


def as_function(loss: Any) -> Callable[[Any, Any], Any]:
    """Return a loss, in any form that Keras takes, as a function of y and the outputs."""
    import keras
    from keras.src.losses.losses import LossFunctionWrapper

    found = keras.losses.get(loss)
    made: Callable[[Any, Any], Any] = (
        found if isinstance(found, keras.losses.Loss) else LossFunctionWrapper(found)
    )
    return made


def computes_own_loss(model: keras.Model) -> bool:
    """Return whether the model computes its own loss, in train_step or compute_loss."""
    import keras

    return "compute_loss" in vars(model) or any(
        getattr(type(model), hook) is not getattr(keras.Model, hook)
        for hook in ("compute_loss", "train_step")
    )


def compares_with_y(model: keras.Model, hook: str) -> str | None:
    """Return which of a compiled model's parts compare its outputs with y: "loss" or "metrics".

    Args:
        model: The compiled model.
        hook: "train_step" or "test_step", which the model may have of its own.

    Returns:
        None if none of them does, or if the model does with y what it likes.
    """
    import keras

    own = getattr(type(model), hook) is not getattr(keras.Model, hook)
    if own or computes_loss(model):
        return None
    if model._compile_loss is not None:
        return "loss"
    metrics = model._compile_metrics
    any_metric = metrics is not None and (metrics._user_metrics or metrics._user_weighted_metrics)
    return "metrics" if any_metric else None


def has_own_loss(model: keras.Model, call: Callable[[], Any]) -> bool:
    """Return whether the model computes its own loss, or its layers add losses by add_loss.

    Args:
        model: The built model.
        call: Calls it on a few rows, as losses are added in a call.
    """
    if computes_own_loss(model):
        return True
    with state_kept(model):
        call()
    return any(layer._losses for layer in model._flatten_layers())


def ignores_weights(model: keras.Model) -> bool:
    """Return whether a compiled model has neither a loss nor metrics that use sample weights."""
    metrics = model._compile_metrics
    weighted = metrics is not None and metrics._user_weighted_metrics is not None
    return model._compile_loss is None and not weighted and not computes_own_loss(model)


def replace_loss(model: keras.Model, function: Callable[[Any, Any, Any, Any], Any]) -> None:
    """Make the model compute its loss with a function of (x, y, y_pred, sample_weight)."""

    def compute_loss(
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,  # noqa: ARG001 (Keras passes it)
    ) -> Any:
        return function(x, y, y_pred, sample_weight)

    model.compute_loss = compute_loss


@contextlib.contextmanager
def state_kept(model: keras.Model) -> Iterator[None]:
    """Restore the model's state after a test call, so that fit starts as it does in Keras."""
    import keras

    from trainer.state.own_state import kept_variables

    # Keras does not include the states of recurrent layers in the variables.
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
    """Check that loss and metrics fit the targets, by computing them on a few rows.

    Skipped if the model computes its own loss or metrics, which may require full batches.

    Args:
        model: The compiled model; its metrics are reset.
        fields: Loss and metrics as given by the user; None for those not to test.
        x: A few rows as tensors, as the model receives them.
        y: Their targets.

    Raises:
        ValueError: One cannot be computed; the message has the field, its value and the shapes.
    """
    import keras

    own = computes_own_loss(model) or (
        type(model).compute_metrics is not keras.Model.compute_metrics
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
        except tensors.errors() as error:
            raise not_computed(field, value, y, y_pred, error) from error
    model.reset_metrics()


def not_computed(field: str, value: Any, y: Tree, y_pred: Tree, error: Exception) -> ValueError:
    """Return the error for a loss or metrics that cannot be computed."""
    value = dict(value) if isinstance(value, Mapping) else value  # Keras wraps what a model holds
    return ValueError(
        f"{field}={value!r}: cannot be computed for y of shape {_shapes(y)} and outputs of "
        f"shape {_shapes(y_pred)} ({reason(error)}); choose another, or leave {field} out "
        "for the default"
    )


def _shapes(tree: Tree) -> str:
    def shown(leaf: Any) -> str:
        return f"(n, {', '.join(map(str, leaf.shape[1:]))})" if len(leaf.shape) > 1 else "(n,)"

    return ", ".join(f"{name} {shown(leaf)}".strip() for name, leaf in arrays.leaves(tree, ""))


def reason(error: Exception) -> str:
    """Return the first line of an error, to quote it in another."""
    # The first line, without the names of nodes and operations in TensorFlow's errors.
    text = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", str(getattr(error, "message", "") or error)).strip()
    return text.splitlines()[0].rstrip(". ") if text else type(error).__name__


def check_model(model: Any, maker: str) -> None:
    """Check that build_model returned a Keras model.

    Raises:
        TypeError: It did not.
    """
    import keras

    if model is None:
        raise TypeError(
            f"{maker} returned None: it must return a keras.Model; is `return` missing?"
        )
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"{maker} returned {with_article(type(model).__name__)}: it must return a keras.Model"
        )


def misfit(error: Exception, maker: str, spec: ModelSpec) -> ValueError:
    """Return the error for a model that does not accept its inputs."""
    shape = spec.input_shape
    shown = f"(n, {', '.join(map(str, shape))})" if is_shape(shape) else repr(shape)
    return ValueError(
        f"{maker}: the model does not accept x of shape {shown}; start it with "
        f"keras.Input(spec.input_shape) ({reason(error)})"
    )
