"""Callbacks: plugins of a fit, by name or as objects.

    Classifier(callbacks=["early_stopping", {"name": "checkpoint", "keep": 3}, Mine(patience=2)])

Any keras.callbacks.Callback works unchanged. Plugins of this package extend `Callback`: their
parameters can be searched, and a resumed run restores their state. Your own package can add
plugins with the decorator `register`, or with entry points in the group `trainer.callbacks`.

Responsible for finding plugins by name. Classes are loaded on first use: importing this package
does not import TensorFlow.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from trainer.utils.checks import did_you_mean

if TYPE_CHECKING:
    from trainer.callbacks.callback import Callback, Session

GROUP = "trainer.callbacks"
BUILT_IN = {
    "checkpoint": "checkpoint:Checkpoint",
    "csv": "csv_file:CSVFile",
    "early_stopping": "early_stopping:EarlyStopping",
    "ema": "ema:EMA",
    "image_predictions": "image_predictions:ImagePredictions",
    "learning_rate": "learning_rate:LearningRate",
    "mlflow": "mlflow:MLflow",
    "nan_guard": "nan_guard:NaNGuard",
    "plateau": "plateau:Plateau",
    "progress": "progress:Progress",
    "statistics": "statistics:Statistics",
    "swa": "swa:SWA",
    "tensorboard": "tensorboard:TensorBoard",
    "throughput": "throughput:Throughput",
    "time_limit": "time_limit:TimeLimit",
    "unfreeze": "unfreeze:Unfreeze",
}
_CLASSES = {place.split(":")[1]: place for place in BUILT_IN.values()}
_registered: dict[str, type] = {}

__all__ = ["Callback", "Session", "names", "register", *sorted(_CLASSES)]


def register(name: str) -> Callable[[type], type]:
    """Register a plugin class under a name for `callbacks=["name"]`; a class decorator.

    Args:
        name: letters, digits and underscores.

    Raises:
        ValueError: another plugin has this name.
        TypeError: the name is not text, or the class is not a keras.callbacks.Callback.
    """
    if not isinstance(name, str):
        raise TypeError(
            f"register({name!r}): takes the plugin's name; write @register('my_plugin') before the "
            "class"
        )
    if not name.isidentifier() or "__" in name:
        raise ValueError(
            f"register({name!r}): must be letters, digits and single underscores, such as "
            "'my_plugin'"
        )

    def decorate(cls: type) -> type:
        import keras

        if not (isinstance(cls, type) and issubclass(cls, keras.callbacks.Callback)):
            raise TypeError(f"register({name!r}): {cls!r} is not a keras.callbacks.Callback class")
        other = _registered.get(name)
        taken = name in BUILT_IN or (
            other is not None
            # running a notebook cell again defines the same class again
            and (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__)
        )
        if taken:
            raise ValueError(f"register({name!r}): a plugin has this name already; choose another")
        _registered[name] = cls
        cls.name = name  # type: ignore[attr-defined]
        return cls

    return decorate


def names() -> list[str]:
    """The names of all plugins: built-in, registered, and from installed packages."""
    return sorted({*BUILT_IN, *_registered, *_installed()})


def is_registered(name: str) -> bool:
    """Whether a plugin of this name was registered in this process."""
    return name in _registered


def find(name: str, place: str = "callbacks") -> type:
    """The class of a plugin.

    Args:
        name: of a built-in, registered or installed plugin.
        place: how error messages refer to it.

    Raises:
        ValueError: no plugin has this name.
    """
    if name in _registered:
        return _registered[name]
    if name in BUILT_IN:
        module, cls = BUILT_IN[name].split(":")
        return _checked(getattr(importlib.import_module(f"{__name__}.{module}"), cls), name)
    entry = _installed().get(name)
    if entry is None:
        raise ValueError(
            f"{place}={name!r}: there is no such plugin; {did_you_mean(name, names())}"
        )
    return _checked(entry.load(), name)


def make(spec: Any, place: str = "callbacks") -> Any:
    """Make a callback from its name, or from a dict of its name and parameters.

    Args:
        spec: one of these, or a callback, which is returned unchanged.
        place: how error messages refer to it.

    Raises:
        TypeError, ValueError: none of these, or parameters that the plugin does not have.
    """
    if isinstance(spec, str):
        return find(spec, place)()
    if isinstance(spec, Mapping):
        name = spec.get("name")
        if not isinstance(name, str):
            raise ValueError(
                f"{place}={dict(spec)!r}: a dict needs the plugin's name; "
                "write {'name': 'early_stopping', 'patience': 3}"
            )
        return find(name, place)(**{k: v for k, v in spec.items() if k != "name"})
    import keras

    if isinstance(spec, keras.callbacks.Callback):
        return spec
    if isinstance(spec, type) and issubclass(spec, keras.callbacks.Callback):
        try:
            return spec()
        except TypeError as error:
            raise TypeError(
                f"{place}={spec.__name__}: needs arguments ({error}); write {spec.__name__}(...)"
            ) from error
    raise TypeError(
        f"{place}={spec!r}: must be a plugin's name, a dict with its name and parameters, or a "
        "keras.callbacks.Callback object or class"
    )


def listed(specs: Any) -> list[Any]:
    """The entries of the field callbacks, which may be one of them, a sequence, or a dict by name.

    Raises:
        TypeError: it is none of these.
    """
    import keras

    if specs is None:
        return []
    if isinstance(specs, (str, keras.callbacks.Callback, type)):
        return [specs]
    if isinstance(specs, Mapping):
        return [specs] if isinstance(specs.get("name"), str) else _values(specs)
    if isinstance(specs, keras.callbacks.CallbackList):
        return list(specs.callbacks)
    if isinstance(specs, Iterable):
        return list(specs)
    raise TypeError(
        f"callbacks={specs!r}: must be a plugin's name or a keras.callbacks.Callback, or a "
        "sequence or dict of these; write callbacks=()"
    )


def _values(specs: Mapping[Any, Any]) -> list[Any]:
    for key, spec in specs.items():
        if spec is None or isinstance(spec, (bool, int, float)):
            raise TypeError(
                f"callbacks={dict(specs)!r}: the dict has no plugin's 'name', so each of its "
                f"values must be a callback, but {key!r} is {spec!r}; write "
                "{'name': 'early_stopping', 'patience': 3} for a plugin with parameters, or "
                "{'first': keras.callbacks.Callback()} for callbacks by names of your own"
            )
    return list(specs.values())


def make_all(specs: Any) -> list[Any]:
    """Apply `make` to each entry of `listed`; names and dicts give a new object every time."""
    return [make(spec, f"callbacks[{i}]") for i, spec in enumerate(listed(specs))]


def check(callbacks: Sequence[Any]) -> None:
    """Have the plugins check their fields; see Callback.check.

    Raises:
        TypeError, ValueError: a bad field; the message begins with the callback's place.
    """
    from trainer.callbacks.callback import Callback

    for place, callback in enumerate(callbacks):
        if not isinstance(callback, Callback):
            continue
        try:
            callback.check()
        except (TypeError, ValueError) as error:
            if type(error) not in (TypeError, ValueError):
                raise  # others may need more than a message
            raise type(error)(f"callbacks[{place}] ({callback.name}): {error}") from error


@cache
def _installed() -> dict[str, metadata.EntryPoint]:
    return {entry.name: entry for entry in metadata.entry_points(group=GROUP)}


def _checked(cls: Any, name: str) -> type:
    import keras

    if not (isinstance(cls, type) and issubclass(cls, keras.callbacks.Callback)):
        raise TypeError(
            f"callbacks=[{name!r}]: the entry point of this name gives {cls!r}, which is not "
            "a keras.callbacks.Callback class"
        )
    return cls


def __getattr__(name: str) -> Any:
    if name in ("Callback", "Session"):
        return getattr(importlib.import_module(f"{__name__}.callback"), name)
    if name in _CLASSES:
        module, cls = _CLASSES[name].split(":")
        return getattr(importlib.import_module(f"{__name__}.{module}"), cls)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
