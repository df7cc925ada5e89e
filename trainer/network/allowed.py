"""The classes that a file may name, and the creation of Keras objects from configs.

A config contains the names of classes and functions. Keras looks them up in all its modules, which
include layers that run code, read files or load other models, and among everything that the
process has registered. Therefore every name in a config is first checked against fixed tables, and
every number against limits; and Keras always runs in its safe mode, whatever the process has set.

Responsible for these tables and for what a config may contain. Not for the file (`saving`).
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import operator
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

from trainer.utils.checks import with_article
from trainer.utils.forms import Malformed, shown

# The modules whose public classes or functions a file may name.
_CLASSES = (
    "optimizers",
    "optimizers.schedules",
    "losses",
    "metrics",
    "initializers",
    "regularizers",
    "constraints",
)
# Layers are allowed only in the config of a model that the user gave: build_model makes all others.
# Not those that run code, read files or hold models of other libraries.
_UNSAFE_LAYERS = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
_FILES = ("vocabulary", "idf_weights")  # as text, these are names of files that Keras would read
_STRUCTURES = {"__keras_tensor__", "__tuple__", "__ellipsis__", "__slice__"}
_FUNCTIONS = ("losses", "metrics", "activations")
_HELPERS = ("get", "serialize", "deserialize")
_KEYS = {"module", "class_name", "config", "registered_name"}
_MODEL_KEYS = {*_KEYS, "build_config", "compile_config", "inbound_nodes", "name"}
_COUNTS = 100_000  # limit for num_thresholds, num_classes and the like, which use memory
_ELEMENTS = 1_000_000  # limit for an array within a config
_DTYPES = {
    *("bool", "float16", "float32", "float64", "bfloat16"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
}


class NotGiven(Malformed):
    """A file names a class or function of the user's own, which the caller has not passed."""


@contextlib.contextmanager
def safe_mode() -> Iterator[None]:
    """Enter Keras' safe mode, even if the process has called enable_unsafe_deserialization."""
    from keras.src.saving.serialization_lib import SafeModeScope

    with SafeModeScope(True):
        yield


class Allowed:
    """The classes and functions that one load may use.

    Args:
        owner: The Trainer's class; everything defined in its module is allowed.
        custom: More classes and functions, by their names in the file.

    Raises:
        TypeError: `custom` is not a dict of classes and functions by name.
    """

    def __init__(self, owner: type, custom: Mapping[str, Any] | None = None) -> None:
        custom = {} if custom is None else custom
        good = isinstance(custom, Mapping) and all(
            isinstance(name, str) and callable(value) for name, value in custom.items()
        )
        if not good:
            raise TypeError(
                f"custom_objects={custom!r}: must be a dict of classes and functions by name; "
                "write custom_objects={'MyLoss': MyLoss}"
            )
        self._named = dict(custom)
        self._of_model = False  # whether layers may be named now
        module = sys.modules.get(owner.__module__)
        self._own = {
            name: value
            for name, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", None) == owner.__module__
        }

    def __contains__(self, thing: Any) -> bool:
        """Return whether a registered class or function is allowed: ours, or the caller's."""
        ours = str(getattr(thing, "__module__", "")).split(".")[0] == "trainer"
        return ours or any(thing is each for each in self._custom().values())

    def make(self, config: Any) -> Any:
        """Create the Keras object of a config.

        Raises:
            Malformed: The config names something that is not allowed, or Keras rejects it.
        """
        import keras

        self.check(config)
        try:
            with safe_mode():
                return keras.saving.deserialize_keras_object(
                    config, custom_objects=self._custom(), safe_mode=True
                )
        except Exception as error:
            name = config.get("class_name") if isinstance(config, dict) else config
            raise Malformed(f"{shown(name)} cannot be created from its config ({error})") from error

    def make_model(self, config: Any) -> Any:
        """Create the Keras model of a config, which may name layers of Keras.

        Raises:
            Malformed: The config names something that is not allowed, or Keras rejects it.
        """
        import keras

        self._of_model = True
        try:
            made = self.make(config)
        finally:
            self._of_model = False
        if not isinstance(made, keras.Model):
            raise Malformed(
                f"its model is {with_article(type(made).__name__)}; it must be a Keras model"
            )
        return made

    def check(self, value: Any) -> None:
        """Check all configs in a value, at any depth.

        Args:
            value: JSON content, or fields created from it; Keras objects in it are ignored.

        Raises:
            Malformed: It names a class or function that is not allowed, or a number is too large.
        """
        if isinstance(value, Mapping):
            if "class_name" in value:
                self._check_config(value)
            else:
                for each in value.values():
                    self.check(each)
        elif isinstance(value, (list, tuple)):
            for each in value:
                self.check(each)
        elif isinstance(value, str):
            found = _registered(value, {})
            if found is not None and found not in self:
                raise self._refusal(value)

    def _custom(self) -> dict[str, Any]:
        return {**self._own, **self._named}

    def _check_form(self, config: Mapping[Any, Any]) -> None:
        """Check the types of a config's parts, and that it has no others."""
        name = config["class_name"]
        if not isinstance(name, str):
            raise Malformed(f"class_name is {shown(name)}; it must be text")
        for key in ("module", "registered_name"):
            value = config.get(key)
            if value is not None and not isinstance(value, str):
                raise Malformed(f"{key} of {shown(name)} is {shown(value)}; it must be text")
        more = [key for key in config if key not in (_MODEL_KEYS if self._of_model else _KEYS)]
        if more:
            raise Malformed(
                f"the config of {shown(name)} has {shown(more[0])}, which we do not write"
            )

    def _check_config(self, config: Mapping[Any, Any]) -> None:
        self._check_form(config)
        name, module = config["class_name"], config.get("module")
        registered, inner = config.get("registered_name"), config.get("config")
        if name in ("__numpy__", "__tensor__"):
            _check_array(name, inner)
            return
        if name == "function":
            self._check_function(module, inner, registered)
            return
        if self._of_model:
            for key in ("build_config", "compile_config", "inbound_nodes"):
                self.check(config.get(key))
            if name in _STRUCTURES and module in (None, "builtins"):
                self.check(inner)
                return
        found = _registered(registered or name, self._custom())
        if found is not None:
            if found not in self or not self._may_make(found):
                raise self._refusal(registered or name)
        elif not self._is_of_keras(module, name) or registered not in (None, name):
            raise self._refusal(name, module)
        if inner is not None and not isinstance(inner, dict):
            raise Malformed(f"config of {shown(name)} is {shown(inner)}; it must be a dict")
        for key, value in (inner or {}).items():
            _check_number(name, key, value)
            if key in _FILES and isinstance(value, str):
                raise Malformed(
                    f"{key} of {shown(name)} is {shown(value)}; no file may name another"
                )
            self.check(value)

    def _may_make(self, found: Any) -> bool:
        import keras

        layer = self._of_model and isinstance(found, type) and issubclass(found, keras.Layer)
        return layer or _is_made_from_config(found)

    def _is_of_keras(self, module: Any, name: str) -> bool:
        layer = name in _keras_layers().get(module, ()) or _is_operation(module, name)
        return (self._of_model and layer) or _is_keras_class(module, name)

    def _check_function(self, module: Any, name: Any, registered: Any) -> None:
        if not isinstance(name, str):
            raise Malformed(f"the name of a function is {shown(name)}; it must be text")
        found = _registered(name, self._custom())
        if found is not None:
            if found not in self:
                raise self._refusal(name)
        elif not _is_keras_function(module, name) or registered not in (None, "function", name):
            raise self._refusal(name, module)

    def check_plugin(self, name: str, registered: type | None) -> None:
        """Check that a plugin from outside this package is allowed.

        Args:
            name: The name of the plugin.
            registered: Its class, or None if it belongs to an installed package, which is not
                imported unless the caller allows the plugin.

        Raises:
            Malformed: It is neither in the Trainer's module nor among custom_objects.
        """
        if name not in self._named and (registered is None or registered not in self):
            raise self._refusal(name)

    @staticmethod
    def _refusal(name: str, module: str | None = None) -> Malformed:
        where = f"{module}.{name}" if module else name
        last = name.rsplit(">", 1)[-1]
        # Keras writes a function of one's own as one of the module builtins.
        if module == "builtins" and last.isidentifier() and not hasattr(builtins, last):
            where = name
        elif module is not None and module.split(".")[0] in ("keras", "builtins"):
            return Malformed(f"it names {shown(where)}, which no file may use")
        last = last if last.isidentifier() else "MyClass"
        return NotGiven(
            f"it names {shown(where)}, which a file may not use by itself; if it is yours and you "
            f"trust the file, write load(path, custom_objects={{{shown(name)}: {last}}})"
        )


def cannot_be_named(value: Any, form: Any) -> str | None:
    """Say why the functions in a value would not come back from its form, or would be others.

    Keras writes a function as its name only. By that name it finds a function of its own, or a
    registered one, before it looks for the user's.

    Args:
        value: A Keras object, or a structure with some.
        form: What Keras wrote of it.

    Returns:
        The reason; None if each function is Keras' own, or can be passed by its name to `load`.
    """
    import keras

    names: set[str] = set()
    for text in _texts(form):
        if text in ("__lambda__", "method"):
            kind = "lambda" if text == "__lambda__" else "method"
            return f"a {kind} cannot be found by its name"
        # Only the config of a model may name these modules.
        if text.startswith("keras.src.") and not (isinstance(form, Mapping) and "model" in form):
            return f"{text} is a private module of Keras"
        names.add(text)
    seen: dict[str, Any] = {}
    for function in _functions(value):
        name = function.__name__
        ours = str(function.__module__).split(".")[0] == "keras"
        registered = keras.saving.get_registered_name(function)
        if ours or registered != name or name not in names:
            continue
        others = [getattr(getattr(keras, place), name, None) for place in _FUNCTIONS]
        others.append(_registered(name, {}))
        others.append(getattr(sys.modules.get(function.__module__), name, None))
        others.append(seen.setdefault(name, function))
        if any(other is not None and other is not function for other in others):
            return f"the name of its function {name!r} stands for another function too"
    return None


def _texts(form: Any) -> Iterator[str]:
    """Yield all texts in JSON content but for keys."""
    if isinstance(form, str):
        yield form
    elif isinstance(form, Mapping):
        for each in form.values():
            yield from _texts(each)
    elif isinstance(form, (list, tuple)):
        for each in form:
            yield from _texts(each)


def _functions(value: Any) -> Iterator[types.FunctionType]:
    """Yield the functions that a Keras object, or a structure with some, holds at any depth."""
    seen: dict[int, Any] = {}
    left = [value]
    while left:
        each = left.pop()
        if id(each) in seen:
            continue
        seen[id(each)] = each
        if isinstance(each, types.FunctionType):
            yield each
        elif isinstance(each, Mapping):
            left.extend(each.values())
        elif isinstance(each, (list, tuple, set)):
            left.extend(each)
        elif hasattr(each, "get_config") and not isinstance(each, type):
            left.extend(vars(each).values())


def _registered(name: str, custom: Mapping[str, Any]) -> Any:
    """Return the registered object that Keras would prefer over its own for a name, or None."""
    from keras.src.saving.object_registration import get_registered_object

    return get_registered_object(name, custom_objects=dict(custom))


def _is_made_from_config(found: Any) -> bool:
    import keras

    kinds = (
        keras.optimizers.Optimizer,
        keras.optimizers.schedules.LearningRateSchedule,
        keras.losses.Loss,
        keras.metrics.Metric,
        keras.initializers.Initializer,
        keras.regularizers.Regularizer,
        keras.constraints.Constraint,
    )
    return isinstance(found, type) and issubclass(found, kinds)


@functools.cache
def _keras_names() -> tuple[dict[str, set[str]], dict[str, set[str]], set[str]]:
    """List what a file may name.

    Returns:
        The classes and the functions of each module, and the names allowed without a module, in
        the forms that Keras' `get` accepts.
    """
    import keras

    classes: dict[str, set[str]] = {}
    functions: dict[str, set[str]] = {}
    for place in _CLASSES:
        content = vars(operator.attrgetter(place)(keras))
        classes[f"keras.{place}"] = {n for n, v in content.items() if _is_made_from_config(v)}
    for place in _FUNCTIONS:
        content = vars(operator.attrgetter(place)(keras))
        functions[f"keras.{place}"] = {
            name
            for name, value in content.items()
            if callable(value)
            and not isinstance(value, type)
            and not name.startswith("_")
            and name not in _HELPERS
        }
    functions["builtins"] = set().union(*functions.values())
    classes["keras"] = {"Loss", "Metric", "Optimizer", "Initializer", "Regularizer"}
    plain = {n for names in classes.values() for n in names}
    return classes, functions, plain | {name.lower() for name in plain}


@functools.cache
def _keras_layers() -> dict[str | None, set[str]]:
    """List the layers, models and dtype policies that the config of a model may name, by module."""
    import keras

    def public(module: Any, base: type) -> set[str]:
        found = vars(module).items()
        return {n for n, v in found if isinstance(v, type) and issubclass(v, base)}

    return {
        "keras.layers": public(keras.layers, keras.Layer) - _UNSAFE_LAYERS,
        "keras": {"Sequential", "Functional", "Model", "DTypePolicy", "FloatDTypePolicy"},
        "keras.models": {"Sequential", "Functional", "Model"},
        "keras.src.models.functional": {"Functional"},
    }


def _is_operation(module: str | None, name: str) -> bool:
    """Return whether a name is an operation on tensors, as in the graph of a functional model.

    Not those of keras.ops.core, which call functions.
    """
    import keras

    if module is None or not module.startswith("keras.src.ops.") or module.endswith(".core"):
        return False
    found = getattr(sys.modules.get(module), name, None)
    return isinstance(found, type) and issubclass(found, keras.Operation)


def _is_keras_class(module: str | None, name: str) -> bool:
    classes, _, plain = _keras_names()
    return name in plain if module is None else name in classes.get(module, ())


def _is_keras_function(module: str | None, name: str) -> bool:
    return name in _keras_names()[1].get("builtins" if module is None else module, ())


def _check_number(owner: str, key: Any, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return
    limit = _COUNTS if isinstance(key, str) and key.startswith("num_") else 2.0**63
    # Some configs contain NaN or infinity. Integers must fit the types that Keras uses.
    if not (isinstance(value, float) or abs(value) <= limit):
        raise Malformed(f"{key} of {shown(owner)} is {shown(value)}; the most is {limit:g}")


def _check_array(name: str, inner: Any) -> None:
    if not isinstance(inner, dict) or set(inner) != {"value", "dtype"}:
        raise Malformed(f"config of {name!r} is {shown(inner)}; it must hold value and dtype")
    if not isinstance(inner["dtype"], str) or inner["dtype"] not in _DTYPES:
        raise Malformed(f"dtype of {name!r} is {shown(inner['dtype'])}; it must be numeric")
    count, level = 0, [inner["value"]]
    while level:
        below: list[Any] = []
        for item in level:
            if isinstance(item, list):
                below += item
            elif not isinstance(item, (bool, int, float)):
                raise Malformed(f"value of {name!r} holds {shown(item)}; it must hold numbers")
            elif isinstance(item, int) and abs(item) > 2**63:
                raise Malformed(f"value of {name!r} holds {shown(item)}, which is too large")
        count += len(level)
        level = below
    if count > _ELEMENTS:
        raise Malformed(f"value of {name!r} holds more than {_ELEMENTS:,} numbers")
