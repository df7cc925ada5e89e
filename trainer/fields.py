"""Fields: annotated class attributes that become the keyword arguments of a Trainer.

Responsible for turning a class body into a dataclass (keyword-only, inherited, with domains) and
for the errors that a wrong name gets. Not for checking values: that happens at fit, in `checks`.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, dataclass_transform, get_args, get_origin, get_type_hints

from trainer.checks import did_you_mean
from trainer.hyperparameters import Domain


@dataclass_transform(kw_only_default=True)
class Fields:
    """Base of classes whose annotated attributes are keyword arguments with defaults."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _annotate_new_defaults(cls)
        own_init = "__init__" in cls.__dict__
        dataclasses.dataclass(kw_only=True, eq=False, repr=False, init=not own_init)(cls)
        if not own_init:
            cls.__init__ = _with_helpful_errors(cls, cls.__init__)  # type: ignore[method-assign]

    @classmethod
    def domains(cls) -> dict[str, Domain]:
        """The fields that a search may vary, each with its domain, in order of definition.

        Example:
            >>> class T(Classifier):
            ...     units: Annotated[int, Int(8, 64)] = 16
            >>> T.domains()
            {'units': Int(when=None, low=8, high=64, step=None, log=False)}
        """
        hints = get_type_hints(cls, include_extras=True)
        found = {}
        for f in dataclasses.fields(cls):  # type: ignore[arg-type]
            hint = hints[f.name]
            if get_origin(hint) is Annotated:
                for extra in get_args(hint)[1:]:
                    if isinstance(extra, Domain):
                        found[f.name] = extra
        return found


def _annotate_new_defaults(cls: type) -> None:
    """Let a subclass write `epochs = 20` for an inherited field.

    A dataclass looks at annotated attributes only, and would silently keep the parent's default.
    """
    own = cls.__dict__.get("__annotations__", {})
    inherited = {f.name: f for base in cls.__mro__[1:] for f in _fields_of(base)}
    for name in [n for n in cls.__dict__ if n in inherited and n not in own]:
        own[name] = inherited[name].type
    cls.__annotations__ = own


def _fields_of(cls: type) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()


def _with_helpful_errors(cls: type, init: Callable[..., None]) -> Callable[..., None]:
    names = [p for p in inspect.signature(init).parameters if p != "self"]

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        if args:
            raise TypeError(
                f"{cls.__name__}({args[0]!r}): fields are given by name, "
                f"such as {cls.__name__}({names[0]}=...)"
            )
        for name in kwargs:
            if name not in names:
                raise TypeError(f"{cls.__name__}({name}=...): {_why_unknown(cls, name, names)}")
        init(self, **kwargs)

    return __init__


def _why_unknown(cls: type, name: str, names: list[str]) -> str:
    value = inspect.getattr_static(cls, name, None)
    if value is not None and not callable(value) and not isinstance(value, (property, classmethod)):
        return (
            f"{name!r} is a plain class attribute; annotate it to make it a field: "
            f"`{name}: {type(value).__name__} = {value!r}`"
        )
    return f"there is no field {name!r}; {did_you_mean(name, names)}"


__all__ = ["Fields"]
