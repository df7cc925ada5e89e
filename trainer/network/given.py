"""A Keras model that the user has already: copied with its state, and described.

Responsible for the copy that a fit trains, and for the digest by which a run recognises the model.
Not for what it was compiled with (`compiled`), or for checking it against the data (`build`).
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import re
import sys
import tempfile
import types
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.network import compile, compiled
from trainer.network.outputs import called_as_graph
from trainer.utils.checks import with_article

if TYPE_CHECKING:
    import keras

_INSTEAD = "override build_model, and return the model from it"
# What Keras sets on a model in compile, fit, evaluate and predict; TensorFlow's begins with _self_.
_OF_KERAS = {
    *("_compile_config", "_compiled_trainable_state", "_eval_epoch_iterator", "history"),
    *("optimizer", "stop_evaluating", "stop_predicting", "stop_training"),
}
# What a layer's constructor may set after that of Layer has given it a value.
_SET_LATER = (
    *("supports_masking", "activity_regularizer", "autocast", "input_spec", "supports_jit"),
    *("_convert_input_args", "_allow_non_tensor_positional_args"),
)
_SHARED = (bool, int, float, str, bytes, np.generic, np.dtype)


def is_model(value: Any) -> bool:
    """Return whether a value is a Keras model; Keras is not imported for it."""
    if value is None or isinstance(value, (str, Mapping)) or "keras" not in sys.modules:
        return False
    import keras

    return isinstance(value, keras.Model)


def columns(model: keras.Model) -> int | None:
    """Return the width of a model's only output; None if it has several, or is not known."""
    found = getattr(model, "outputs", None) or []
    known = len(found) == 1 and called_as_graph(model)
    return found[0].shape[-1] if known else None


def by_output(model: keras.Model, y: Any) -> Any:
    """Return y in the structure of a model's outputs, if it is a matrix with a column for each.

    Args:
        model: A Keras model.
        y: Targets; anything else than a matrix [n, outputs] is returned unchanged. So is the y of a
            model that was compiled without a loss for some outputs: it belongs to the others.
    """
    output = getattr(model, "output", None) if getattr(model, "outputs", None) else None
    found = compiled.find(model)
    losses = None if found is None else found.loss
    if isinstance(losses, (list, tuple, dict)):
        each = list(losses.values()) if isinstance(losses, dict) else losses
        if sum(loss is not None for loss in each) != len(getattr(model, "outputs", None) or ()):
            return y
    shape: tuple[int, ...] = getattr(y, "shape", ())
    if not isinstance(output, (dict, list, tuple)) or len(output) < 2:
        return y
    if len(shape) != 2 or shape[1] != len(output):
        return y
    columns: tuple[Any, ...] = tuple(
        y.iloc[:, i] if hasattr(y, "iloc") else y[:, i] for i in range(shape[1])
    )
    return dict(zip(output, columns, strict=True)) if isinstance(output, dict) else columns


class CannotCopy(ValueError):
    """The model cannot be copied; the message says why, and what to write instead."""


def copied(model: keras.Model, *, to_compile: bool = True) -> keras.Model:
    """Return a copy of a model with its weights, its optimizer's state and what it compiled.

    Sequential and functional models are copied layer by layer, and layers by `get_config` and
    `from_config`. A class of the user's own that has no usable config is copied attribute by
    attribute. Layers that hold a vocabulary or statistics keep them.

    Args:
        model: A Keras model; it is not changed.
        to_compile: Whether the copy is compiled as the model is, if that is.

    Raises:
        CannotCopy: A class has no usable config, and an attribute cannot be copied; or the copy
            has other weights.
    """
    copy = _Copy(model)
    made = copy.of(model)
    originals, copies = model._flatten_layers(), made._flatten_layers()
    for original, new in zip(originals, copies, strict=True):
        if new.trainable != original.trainable:
            new.trainable = original.trainable
    copy.assign(made.variables, model.variables, "weights")
    _set_variables(made.variables, _variable_settings(model.variables))
    copy.assign_untracked(model)
    for original, new in zip(model._flatten_layers(), made._flatten_layers(), strict=True):
        _take_assets(new, original)
    found = compiled.find(model) if to_compile else None
    if found is None:
        return made
    if found.own:
        raise copy.refused(
            "its class has a compile of its own, whose arguments are not known; " + _INSTEAD
        )
    optimizer = compile.without_exclusions(model.optimizer)
    left_out = compile.excluded(model.optimizer, model.variables)
    if left_out is not None:
        compile.exclude(optimizer, left_out, made.variables)
    if _has_states(model.optimizer):
        optimizer.build(made.trainable_variables)
        copy.assign(optimizer.variables, model.optimizer.variables, "states of the optimizer")
    made.compile(optimizer=optimizer, **_compile_arguments(model, found))
    return made


# What Keras keeps in each variable, whatever the config of its layer says: whether it is trained,
# the penalty on it, and what it must fulfil.
VariableSettings = list[tuple[bool, Any, Any]]


def _variable_settings(variables: Any) -> VariableSettings:
    return [(v.trainable, v.regularizer, v.constraint) for v in variables]


def _set_variables(variables: Any, settings: VariableSettings) -> None:
    for variable, found in zip(variables, settings, strict=True):
        variable.trainable, variable.regularizer, variable.constraint = found


def frozen(model: keras.Model) -> list[int]:
    """Return the places of variables that are not trained although their layers are.

    Keras writes whether a layer is trained, not whether each of its variables is.
    """
    layers = model._flatten_layers()
    own = {id(v) for layer in layers if layer.trainable for v in layer._trainable_variables}
    return [i for i, v in enumerate(model.variables) if id(v) in own and not v.trainable]


def penalties_beside_config(model: keras.Model) -> list[str]:
    """Return the paths of variables whose regularizer or constraint no config of a layer has.

    Raises:
        CannotCopy: As for `copied`.
    """
    made = _Copy(model).of(model).variables
    pairs = zip(model.variables, made, strict=True)
    return [a.path for a, b in pairs if _penalties(a) != _penalties(b)]


def _penalties(variable: Any) -> list[Any]:
    # as text: those of the user's own may hold arrays, which have no single truth
    found = (variable.regularizer, variable.constraint)
    return [(type(each), repr(vars(each))) if hasattr(each, "__dict__") else each for each in found]


def _compile_arguments(model: keras.Model, found: compiled.Compiled) -> dict[str, Any]:
    """Return the arguments of compile, but for the optimizer, to compile a copy with."""
    return {
        "loss": found.loss,
        "loss_weights": found.loss_weights,
        "metrics": compile.metrics(found.metrics),
        "weighted_metrics": compile.metrics(found.weighted_metrics),
        "run_eagerly": found.eager,
        "steps_per_execution": model.steps_per_execution,
        "jit_compile": model.jit_compile,
        "auto_scale_loss": False,  # the optimizer does so already, if this one does
    }


class Portable(compile.Portable):
    """A model, which is pickled and comes back as what it was.

    Keras pickles its layers, by their configs. What it was compiled with is pickled beside them,
    because Keras writes configs of that too, which may leave something out.

    Args:
        value: The model.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        model: keras.Model = self.value
        found = compiled.find(model)
        own = found is not None and found.own
        try:
            layers: tuple[Any, ...] = (
                model if own else copied(model, to_compile=False)
            ).__reduce__()
        except Exception as error:  # of configs of user-defined classes
            raise TypeError(
                f"model=<{type(model).__name__}>: cannot be pickled, as joblib and searches in "
                f"several processes do it ({compile.reason(error)}); define get_config in each "
                "class of your own, or override build_model, and return the model from it"
            ) from error
        if own:
            return layers
        if found is None:
            return _unpickled, (*layers, _variable_settings(model.variables))
        optimizer, states = model.optimizer, None
        if _has_states(optimizer):
            states = [variable.numpy() for variable in optimizer.variables]
        settings = {
            name: compile.portable(v) for name, v in _compile_arguments(model, found).items()
        }
        made_of = compile.Portable(compile.without_exclusions(optimizer))
        left_out = compile.excluded(optimizer, model.variables)
        of_variables = _variable_settings(model.variables)
        return _unpickled, (*layers, of_variables, made_of, left_out, states, settings)


def _unpickled(
    make: Callable[[Any], keras.Model],
    layers: tuple[Any, ...],
    of_variables: VariableSettings,
    optimizer: keras.optimizers.Optimizer | None = None,
    left_out: compile.Exclusions | None = None,
    states: list[np.ndarray] | None = None,
    settings: dict[str, Any] | None = None,
) -> keras.Model:
    model = make(*layers)
    _set_variables(model.variables, of_variables)
    if optimizer is None or settings is None:
        return model
    if left_out is not None:
        compile.exclude(optimizer, left_out, model.variables)
    if states is not None:
        optimizer.build(model.trainable_variables)
        for variable, value in zip(optimizer.variables, states, strict=True):
            variable.assign(value)
    model.compile(optimizer=optimizer, **settings)
    return model


def _take_assets(made: Any, layer: Any) -> None:
    """Copy what a layer holds besides variables: a vocabulary, or what statistics were made to."""
    if hasattr(layer, "save_assets"):
        with tempfile.TemporaryDirectory() as folder:
            layer.save_assets(folder)
            made.load_assets(folder)
    if hasattr(made, "finalize_state") and layer.built:
        made.finalize_state()


def take_state(model: keras.Model, trained: keras.Model) -> None:
    """Give a model the weights of an equal one that was trained, and its optimizer's state.

    Args:
        model: The model, compiled or not.
        trained: The trained one.

    Raises:
        CannotCopy: They are not equal.
    """
    copy = _Copy(model)
    copy.assign(model.variables, trained.variables, "weights")
    for made, original in zip(model._flatten_layers(), trained._flatten_layers(), strict=True):
        _take_assets(made, original)
    if model.compiled and trained.optimizer is not None and _has_states(trained.optimizer):
        model.optimizer.build(model.trainable_variables)
        states = trained.optimizer.variables
        copy.assign(model.optimizer.variables, states, "states of the optimizer")


def _has_states(optimizer: Any) -> bool:
    """Return whether an optimizer was built for variables.

    Keras builds that of an untrained model for none when it loads a file of HDF5.
    """
    return bool(optimizer.built and optimizer._trainable_variables)


class _Copy:
    """One copy of a model; a layer that is used several times is copied once.

    Args:
        model: The model, for errors.
    """

    def __init__(self, model: keras.Model) -> None:
        self._name = type(model).__name__
        self._known: dict[int, Any] = {}
        self._pairs: list[tuple[Any, Any]] = []  # layers and their copies

    def refused(self, why: str) -> CannotCopy:
        """Return the error that says why the model cannot be copied."""
        return CannotCopy(f"model=<{self._name}>: cannot be copied: {why}")

    def of(self, layer: Any) -> Any:
        """Return a layer or model of the same structure with new weights, not compiled.

        Not keras.models.clone_model, which compiles the copy from a config; user-defined losses
        have none.
        """
        import keras
        from keras.src.models.functional import Functional

        if id(layer) not in self._known:
            if type(layer) is keras.Sequential:
                made = self._sequential(layer)
            elif type(layer) is Functional:
                made = self._functional(layer)
            elif type(layer) is keras.layers.Lambda:
                made = self._lambda(layer)
            else:
                made = self._by_config(layer)
            self._known[id(layer)] = made
            if isinstance(layer, keras.Layer):  # and not an operation without state
                self._pairs.append((layer, made))
                self._know_variables(layer, made)
        return self._known[id(layer)]

    def _know_variables(self, layer: Any, made: Any) -> None:
        """Remember the variables of a copy: others may refer to them, as tied weights do."""
        if len(layer.variables) == len(made.variables):
            for variable, new in zip(layer.variables, made.variables, strict=True):
                self._known.setdefault(id(variable), new)

    def _sequential(self, model: keras.Sequential) -> keras.Sequential:
        """Copy a Sequential model, or what one of the user's own class is as such."""
        import keras

        layers = [self.of(layer) for layer in model.layers]
        first = next(iter(vars(model)["_layers"]), None)
        if isinstance(first, keras.layers.InputLayer):
            layers.insert(0, _like(first.output))
        cls: Any = type(model)
        made = cls.__new__(cls)
        keras.Sequential.__init__(made, layers, name=model.name)
        return self._built_as(model, made)

    def _functional(self, model: Any) -> keras.Model:
        """Copy a functional model, or what one of the user's own class is as such."""
        import keras
        from keras.src.models.functional import Functional

        inputs = keras.tree.map_structure(_like, model.input)
        outputs = model._run_through_graph(inputs, operation_fn=self.of)
        cls: Any = type(model)
        made = cls.__new__(cls)
        Functional.__init__(made, inputs, outputs, name=model.name)
        return made

    def _lambda(self, layer: Any) -> Any:
        """Copy a Lambda with the function itself: from a config it would lose its globals."""
        self._value(layer.function, "Lambda.function")
        config = {k: v for k, v in layer.get_config().items() if k in ("name", "dtype")}
        made = type(layer)(
            layer.function,
            output_shape=layer._output_shape,
            mask=layer.mask,
            arguments=layer.arguments,
            **config,
        )
        return self._built_as(layer, made)

    def _by_config(self, layer: Any) -> Any:
        try:
            config = _config(layer)
            lost = _not_in_config(type(layer), config)
            if lost:
                raise ValueError(f"its get_config leaves out {', '.join(lost)}")
            made = type(layer).from_config(config)
        except Exception as error:  # configs of user-defined layers may raise anything
            return self._by_attributes(layer, error)
        if type(made) is not type(layer):
            raise self.refused(
                f"the config of {type(layer).__name__} makes "
                f"{with_article(type(made).__name__)}; define "
                f"get_config and from_config, or {_INSTEAD}"
            )
        made = self._built_as(layer, made)
        if not _is_of_keras(type(layer)):
            for name, value in list(vars(layer).items()):
                # It may have been set after the constructor, and then no config has it.
                plain = isinstance(value, _SHARED) and not name.startswith("_") and name != "built"
                if plain and vars(made).get(name, value) != value:
                    setattr(made, name, value)
        return made

    def _built_as(self, layer: Any, made: Any) -> Any:
        if getattr(layer, "built", False) and not made.built:
            try:
                made.build_from_config(layer.get_build_config() or {})
                made.built = made.built or bool(made.variables)  # Keras leaves this to its loader
            except Exception as error:  # of user-defined layers
                raise self.refused(
                    f"the copy of {type(layer).__name__} cannot be built "
                    f"({compile.reason(error)}); define build, or {_INSTEAD}"
                ) from error
        return made

    def _by_attributes(self, layer: Any, error: Exception) -> Any:
        """Copy a layer or model attribute by attribute.

        Keras makes no config by itself for a model whose __init__ has arguments, and a layer of
        Keras that holds one of the user's own cannot be made from its config.
        """
        import keras
        from keras.src.models.functional import Functional

        cls: Any = type(layer)
        base: Any = next(c for c in cls.__mro__ if _is_of_keras(c))
        made: Any
        if base is keras.Sequential:
            made = self._sequential(layer)
        elif base is Functional:
            made = self._functional(layer)
        elif isinstance(layer, keras.Model) and base is not keras.Model:
            raise self.refused(
                f"{cls.__name__} has no usable config ({compile.reason(error)}); define get_config "
                f"and from_config, or {_INSTEAD}"
            ) from error
        else:
            made = cls.__new__(cls)
            plain: Any = keras.Model if isinstance(layer, keras.Model) else keras.Layer
            plain.__init__(made, name=layer.name, dtype=layer.dtype_policy)
        known = _OF_KERAS | set(vars(made))
        own = [n for n in vars(layer) if n not in known and not n.startswith("_self_")]
        self._known[id(layer)] = made
        for name in own:
            setattr(made, name, self._value(vars(layer)[name], f"{cls.__name__}.{name}"))
        for name in _SET_LATER:
            setattr(made, name, getattr(layer, name))
        made.built = layer.built
        vars(made)["_build_shapes_dict"] = layer._build_shapes_dict
        return made

    def _value(self, value: Any, name: str) -> Any:
        """Return an attribute for the copy; what is never changed is shared."""
        import keras

        without_state = (
            *_settings(),
            keras.losses.Loss,
            keras.optimizers.schedules.LearningRateSchedule,
            keras.dtype_policies.DTypePolicy,
            keras.layers.InputSpec,
            functools.partial,
        )

        if isinstance(value, keras.Operation):
            return self.of(value)
        if isinstance(value, keras.metrics.Metric):
            return compile.metrics([value])[0]
        if isinstance(value, keras.Variable):
            return self._variable(value)
        if isinstance(value, keras.random.SeedGenerator):
            return keras.random.SeedGenerator(0, name=value.name)  # its state is a variable
        if isinstance(value, Mapping):
            return {k: self._value(v, f"{name}[{k!r}]") for k, v in value.items()}
        if isinstance(value, (list, tuple, set)):
            items = [self._value(v, f"{name}[{i}]") for i, v in enumerate(value)]
            return items if isinstance(value, list) else type(value)(items)
        if isinstance(value, np.ndarray):
            return value.copy()
        shape = type(value).__name__ == "TensorShape"
        if shape or isinstance(value, without_state):  # a config may leave out arguments
            return value
        if isinstance(value, types.MethodType) and id(value.__self__) in self._known:
            return types.MethodType(value.__func__, self._known[id(value.__self__)])
        if isinstance(value, types.FunctionType) and not _closes_over_state(value):
            return value
        if value is None or isinstance(value, (*_SHARED, type, types.BuiltinFunctionType)):
            return value
        raise self.refused(
            f"its attribute {name} is {with_article(type(value).__name__)}, which may not be "
            f"copied; define get_config and from_config, or {_INSTEAD}"
        )

    def _variable(self, variable: keras.Variable) -> keras.Variable:
        import keras

        if id(variable) not in self._known:
            made = keras.Variable(
                variable.numpy(),
                dtype=variable.dtype,
                trainable=variable.trainable,
                autocast=variable._autocast,
                aggregation=variable.aggregation,
                synchronization=variable.synchronization,
                name=variable.name,
            )
            # Keras sets these in add_weight: a penalty on the weights, and what they must fulfil.
            made.regularizer, made.constraint = variable.regularizer, variable.constraint
            made.overwrite_with_gradient = variable.overwrite_with_gradient
            self._known[id(variable)] = made
        return self._known[id(variable)]

    def assign_untracked(self, model: keras.Model) -> None:
        """Assign the variables of layers that the model does not list among its own.

        Keras does not track a layer that a subclass of Sequential has beside those in its sequence.
        """
        listed = {id(variable) for variable in model.variables}
        for original, copy in self._pairs:
            if any(id(variable) not in listed for variable in original.variables):
                self.assign(copy.variables, original.variables, f"weights in {original.name}")
                _set_variables(copy.variables, _variable_settings(original.variables))

    def assign(self, copies: Any, originals: Any, what: str) -> None:
        """Assign variables in their order, after checking that they belong together."""
        wanted, found = (
            [(_own_name(v), tuple(v.shape), v.dtype) for v in variables]
            for variables in (originals, copies)
        )
        if found != wanted:
            raise self.refused(
                f"the copy has other {what} ({len(found)}, and the model {len(wanted)}); define "
                f"build, or get_config and from_config, so that it has the same, or {_INSTEAD}"
            )
        for copy, original in zip(copies, originals, strict=True):
            copy.assign(original)


def _like(tensor: Any) -> Any:
    """Return an input of a model as that of another one."""
    import keras

    layer = tensor._keras_history[0]
    return keras.Input(
        batch_shape=layer.batch_shape,
        dtype=layer.dtype,
        sparse=layer.sparse,
        ragged=layer.ragged,
        optional=layer.optional,
        name=layer.name,
    )


def own_parts(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """Yield what a model has of the user's own, and what it was compiled with, by place.

    These are layers, and functions and settings of layers: a config may leave out what they hold,
    and has no code.
    """
    for i, layer in enumerate(model._flatten_layers()):
        where = f".layers[{i}]" if i else ""
        if not _is_of_keras(type(layer)):
            yield where, layer
        for name, value in list(vars(layer).items()):
            function = isinstance(value, (types.FunctionType, functools.partial))
            if function or isinstance(value, _settings()):
                kind = value if isinstance(value, types.FunctionType) else type(value)
                if not _is_of_keras(kind):
                    yield f"{where}.{name}", value
    made = compiled.find(model)
    if made is not None:
        for name in ("optimizer", "loss", "metrics", "weighted_metrics"):
            yield f".{name}", getattr(made, name)


def _is_of_keras(defined: Any) -> bool:
    return str(defined.__module__).split(".")[0] == "keras"


def _settings() -> tuple[type, ...]:
    """Return the classes of what layers are set up with, which have no state of their own."""
    import keras

    return (
        keras.initializers.Initializer,
        keras.regularizers.Regularizer,
        keras.constraints.Constraint,
    )


def _config(layer: Any) -> dict[str, Any]:
    """Return the config of a layer, with the user's own functions and settings as they are.

    Keras serializes them, and makes none of them again that is not registered.
    """
    if not _is_of_keras(type(layer)):
        return dict(layer.get_config())
    arguments = inspect.signature(type(layer)).parameters
    twin, own = _without_own(layer, arguments)
    if hasattr(layer, "cell"):  # a recurrent layer's settings are those of its cell
        vars(twin)["cell"], of_cell = _without_own(layer.cell, arguments)
        own |= of_cell
    config: dict[str, Any] = twin.get_config()
    return config | own


def _without_own(layer: Any, arguments: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return a twin of a layer with Keras' settings only, and the others by their arguments."""
    import keras

    twin, own = object.__new__(type(layer)), {}
    vars(twin).update(vars(layer))
    for name, value in vars(layer).items():
        function = isinstance(value, (types.FunctionType, functools.partial))
        if not function and not isinstance(value, _settings()):
            continue
        of_keras = _is_of_keras(value if isinstance(value, types.FunctionType) else type(value))
        argument = name.removeprefix("_")
        if argument in arguments and not of_keras:
            own[argument] = value
            vars(twin)[name] = keras.activations.linear  # anything that has a config
    return twin, own


def _not_in_config(cls: type, config: Mapping[str, Any]) -> list[str]:
    """Return the arguments of a user-defined layer that the get_config of its base leaves out."""
    owner = next(c for c in cls.__mro__ if "get_config" in vars(c))
    if _is_of_keras(cls) or not _is_of_keras(owner) or "__init__" not in vars(cls):
        return []
    parameters = inspect.signature(cls).parameters.values()
    named = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return [name for name in named if name not in config]


def _kind(variable: Any) -> str:
    """Return the last word of a variable's name, which is the same in a copy: "kernel", say."""
    return re.sub(r"_\d+$", "", variable.path).replace("/", "_").rsplit("_", 1)[-1]


def _own_name(variable: Any) -> str:
    """Return the last word of a variable's name, with the number that tells "w_1" from "w_2".

    Keras calls those without a name "variable", and counts all of the process.
    """
    name = re.sub(r"\bvariable_\d+$", "variable", variable.path)
    return re.split(r"[/_](?!\d+$)", name)[-1]


def _closes_over_state(function: types.FunctionType) -> bool:
    """Return whether a function refers to something of the original, so that it is of that only."""
    import keras

    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    return any(isinstance(c, (keras.Operation, keras.Variable, list, dict)) for c in cells)


def described(model: keras.Model) -> dict[str, Any]:
    """Describe a model so that an equal one has an equal description, as JSON."""
    try:
        config = json.dumps(_unnumbered(model.get_config()), sort_keys=True, default=_named)
    except Exception:  # a class without a config is described by its name and its weights
        config = ""
    optimizer = model.optimizer if model.compiled else None
    states = [] if optimizer is None else optimizer.variables
    return {
        "class": type(model).__name__,
        "architecture": hashlib.sha256(config.encode()).hexdigest()[:16],
        "weights": _digest(model.variables),
        "optimizer": None if optimizer is None else type(optimizer).__name__,
        "optimizer's state": _digest(states),
    }


def _named(value: Any) -> str:
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def _digest(variables: Any) -> str:
    found = hashlib.sha256()
    for variable in variables:
        array = np.ascontiguousarray(variable.numpy())
        found.update(f"{array.dtype} {array.shape} ".encode())
        found.update(array.tobytes())
    return found.hexdigest()[:16]


def _unnumbered(config: Any) -> Any:
    """Return a config with names that do not count what else the process has made."""
    names: dict[str, str] = {}

    def collect(form: Any) -> None:
        if isinstance(form, Mapping):
            if isinstance(form.get("name"), str):
                names.setdefault(form["name"], f"#{len(names)}")
            for value in form.values():
                collect(value)
        elif isinstance(form, (list, tuple)):
            for value in form:
                collect(value)

    def renamed(form: Any) -> Any:
        if isinstance(form, Mapping):
            return {k: renamed(v) for k, v in form.items() if k != "build_config"}
        if isinstance(form, (list, tuple)):
            return [renamed(v) for v in form]
        return names.get(form, form) if isinstance(form, str) else form

    collect(config)
    return renamed(config)
