"""Fields: annotated class attributes that become keyword arguments of a Trainer.

Responsible for turning a class body into a dataclass (keyword-only, inherited, with domains) and
for the errors for wrong names. Not for checking values, which `checks` does in fit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import (
    Annotated,
    Any,
    ClassVar,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np

from trainer.hyperparameters import Domain
from trainer.utils.checks import did_you_mean


@dataclass_transform(kw_only_default=True)
class Fields:
    """Base of classes whose annotated attributes are keyword arguments with defaults.

    Attributes:
        PATHS: The names of fields that are paths on this machine. They are not saved, and files
            cannot set them. The PATHS of base classes are included.
    """

    PATHS: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own_init = "__init__" in cls.__dict__
        with _new_defaults_annotated(cls), _mutable_defaults_explained(cls):
            dataclasses.dataclass(kw_only=True, eq=False, repr=False, init=not own_init)(cls)
        if not own_init:
            cls.__init__ = _with_helpful_errors(cls.__init__)  # type: ignore[method-assign]

    @classmethod
    def _get_param_names(cls) -> list[str]:
        # scikit-learn's list of parameters. A custom __init__ that forwards **kwargs accepts every
        # field, so include all: otherwise clone would silently drop their values.
        signature = inspect.signature(cls.__init__).parameters.values()
        names = [p.name for p in signature if p.name != "self" and p.kind != p.VAR_KEYWORD]
        if any(p.kind == p.VAR_KEYWORD for p in signature):
            names += [f.name for f in _fields_of(cls)]
        return sorted(set(names))

    @contextlib.contextmanager
    def python_scalars(self) -> Iterator[None]:
        """Replace NumPy scalars in fields by Python scalars within the context.

        A search over an array sets fields to NumPy scalars. Keras layers refuse these, but
        scikit-learn requires fields to stay as they were set.
        """
        values = {name: getattr(self, name) for name in self._get_param_names()}
        numpy = {name: v for name, v in values.items() if isinstance(v, np.generic)}
        try:
            for name, value in numpy.items():
                setattr(self, name, value.item())
            yield
        finally:
            for name, value in numpy.items():
                setattr(self, name, value)

    @classmethod
    def domains(cls) -> dict[str, Domain]:
        """Return the fields that a search may vary, with their domains, in order of definition.

        Example:
            >>> class T(Classifier):
            ...     units: Annotated[int, Int(8, 64)] = 16
            >>> T.domains()
            {'units': Int(when=None, low=8, high=64, step=None, log=False)}
        """
        try:
            hints = get_type_hints(cls, include_extras=True)
        except NameError as error:
            raise NameError(
                f"{cls.__name__}: an annotation uses {error.name!r}, which is not defined in its "
                "module; import it there, at the top and outside `if TYPE_CHECKING:`"
            ) from error
        found = {}
        for f in dataclasses.fields(cls):  # type: ignore[arg-type]
            hint = hints[f.name]
            if get_origin(hint) is Annotated:
                for extra in get_args(hint)[1:]:
                    if isinstance(extra, Domain):
                        found[f.name] = extra
        return found


def path_fields(cls: type) -> tuple[str, ...]:
    """Return the fields of a class that are paths: the PATHS of the class and its bases."""
    found = [name for base in cls.__mro__ for name in vars(base).get("PATHS", ())]
    return tuple(dict.fromkeys(found))


@contextlib.contextmanager
def _new_defaults_annotated(cls: type) -> Iterator[None]:
    """Let a subclass write `epochs = 20` for an inherited field, without an annotation.

    A dataclass ignores attributes without an annotation, and would silently keep the parent's
    default. The annotations are removed afterwards: they are strings that can be resolved only in
    the parent's module.
    """
    own = cls.__dict__.get("__annotations__", {})
    inherited = {f.name: f for base in cls.__mro__[1:] for f in _fields_of(base)}
    new = [n for n in cls.__dict__ if n in inherited and n not in own]
    cls.__annotations__ = own | {name: inherited[name].type for name in new}
    yield
    cls.__annotations__ = own


@contextlib.contextmanager
def _mutable_defaults_explained(cls: type) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        for name, value in cls.__dict__.items():
            if f"for field {name} " in str(error):
                instead = (
                    f"write {name} = {tuple(value)!r}"
                    if isinstance(value, (list, set))
                    else f"write {name} = None, and pass it: {cls.__name__}({name}={value!r})"
                )
                raise ValueError(
                    f"{cls.__name__}.{name} = {value!r}: all objects share a default, so it must "
                    f"not be a {type(value).__name__}; {instead}"
                ) from error
        raise


def _fields_of(cls: type) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()


def _with_helpful_errors(init: Callable[..., None]) -> Callable[..., None]:
    names = [p for p in inspect.signature(init).parameters if p != "self"]

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        owner = type(self)  # may be a subclass with a custom __init__ that calls this one
        if args:
            raise TypeError(
                f"{owner.__name__}({args[0]!r}): fields must be passed by name, "
                f"such as {owner.__name__}({names[0]}={args[0]!r})"
            )
        for name in kwargs:
            if name not in names:
                raise TypeError(f"{owner.__name__}({name}=...): {_why_unknown(owner, name)}")
        init(self, **kwargs)

    return __init__


def _why_unknown(cls: type[Fields], name: str) -> str:
    value = inspect.getattr_static(cls, name, None)
    if value is not None and not callable(value) and not isinstance(value, (property, classmethod)):
        return (
            f"{name!r} is a plain class attribute; annotate it to make it a field: "
            f"`{name}: {type(value).__name__} = {value!r}`"
        )
    return f"there is no field {name!r}; {did_you_mean(name, cls._get_param_names())}"


__all__ = ["Fields", "path_fields"]
