"""Spaces that a method asks for value by value, as in KerasTuner and Optuna.

Responsible for turning such a method into fields with domains and conditions. Not for searching
them (`search`), nor for what a domain is (`hyperparameters`).
"""

from __future__ import annotations

import copy
import dataclasses
import keyword
import random
from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Any, Protocol

from trainer.hyperparameters.domains import Bool, Choice, Domain, Float, Int

RUNS = 1_000  # of `define`, when a class is made
MOST_LISTED = 64  # values of an Int that may decide what else is asked for


class Ask(Protocol):
    """What `define` is called with: returns the value of a name."""

    def __call__(self, name: str, domain: Domain, default: Any = None) -> Any:
        """Return the value of a hyperparameter.

        Args:
            name: the name of the field that it becomes.
            domain: Int, Float, Choice or Bool, the same whenever this name is asked for.
            default: outside of a search. None: that of an inherited field, or the first value.
        """


class DefineByRun:
    """A Trainer whose hyperparameters are asked for one by one, with loops and conditions.

        class Net(DefineByRun, Classifier):
            @staticmethod
            def define(ask):
                layers = ask("layers", Int(1, 3))
                return [ask(f"units_{i}", Int(8, 64, log=True)) for i in range(layers)]

            def build_model(self, spec):
                x = inputs = keras.Input(spec.input_shape)
                for units in self.defined():
                    x = keras.layers.Dense(units, "relu")(x)
                return keras.Model(inputs, keras.layers.Dense(spec.n_outputs)(x))

        Net(layers=2, units_1=16)
        TunerSearch(Net(), max_trials=20).fit(x, y)

    Each name becomes a field of the class, with its domain and a condition. So searches, files,
    clones and the command line treat it as any other field. To find the names, `define` is run
    1,000 times with values drawn at random when the class is made: it must not do anything but ask.
    The condition of a name is found from these runs: which values of the choices, booleans and
    small integers asked for before it lead to it.

    The style is that of Optuna (Akiba, Sano, Yanase, Ohta and Koyama 2019, "Optuna: A
    Next-generation Hyperparameter Optimization Framework").
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if "define" in cls.__dict__:
            _add_fields(cls)
        super().__init_subclass__(**kwargs)

    @staticmethod
    def define(ask: Ask) -> Any:
        """Ask for hyperparameters; return what `build_model` needs of them.

        Args:
            ask: called as ask(name, domain), returns a value.
        """
        raise TypeError(f"define({ask!r}): a class of DefineByRun must have a static method define")

    def defined(self) -> Any:
        """Return what `define` returns with the values of the fields.

        Raises:
            ValueError: it asks for a name that is not a field, as with a value outside its domain.
        """

        def ask(name: str, *_domain: Any, **_default: Any) -> Any:
            if name not in getattr(type(self), "_asked", {}):
                raise ValueError(
                    f"{type(self).__name__}.define: asks for {name!r}, which it did not in "
                    f"{RUNS:,} runs with values of all domains; check that the fields lie in them"
                )
            return getattr(self, name)

        return type(self).define(ask)


def _add_fields(cls: type) -> None:
    """Make a field of each name that `define` asks for."""
    domains, defaults, points = _explored(cls)
    own = dict(cls.__dict__.get("__annotations__", {}))
    # what the method of a parent class asked for, and this one does not, is no longer searched
    for name in getattr(cls, "_asked", {}):
        if name not in domains:
            own[name] = Any
            setattr(cls, name, getattr(cls, name))
    for name, domain in domains.items():
        conditional = copy.copy(domain)
        object.__setattr__(conditional, "when", _condition(cls, name, domains, points))  # frozen
        own[name] = Annotated[_type_of(domain), conditional]
        inherited = getattr(cls, name, None)
        if defaults[name] is not None:
            value = defaults[name]
        elif inherited is not None and domain.contains(inherited):
            value = inherited
        else:
            value = _values(domain)[0]
        setattr(cls, name, value)
    cls.__annotations__ = own
    cls._asked = domains  # type: ignore[attr-defined]  # of classes with this mixin


def _explored(cls: type) -> tuple[dict[str, Domain], dict[str, Any], list[dict[str, Any]]]:
    """Return the domains and defaults of all names, and the points of the runs."""
    generator = random.Random(0)
    define: Any = cls.__dict__["define"]
    if not isinstance(define, (staticmethod, classmethod)):
        raise TypeError(
            f"{cls.__name__}.define: must be a static method, since it is run before there is an "
            "object; write @staticmethod above it, and define(ask)"
        )
    define = define.__get__(None, cls)
    fields = {f.name for b in cls.__mro__[1:] if dataclasses.is_dataclass(b) for f in _fields(b)}
    domains: dict[str, Domain] = {}
    defaults: dict[str, Any] = {}
    points: list[dict[str, Any]] = []
    listed: dict[str, Sequence[Any]] = {}

    def ask(name: str, domain: Domain, default: Any = None) -> Any:
        point = points[-1]
        if name not in domains:
            _check(cls, name, domain, default, fields)
            domains[name], defaults[name], listed[name] = domain, default, _values(domain)
        elif domains[name] != domain:
            raise ValueError(
                f"{cls.__name__}.define: asks for {name!r} with {domain!r}, and before with "
                f"{domains[name]!r}; write another name for each domain"
            )
        if name in point:
            raise ValueError(
                f"{cls.__name__}.define: asks for {name!r} twice in a run; keep its value"
            )
        point[name] = generator.choice(listed[name])
        return point[name]

    for _ in range(RUNS):
        points.append({})
        define(ask)
    if not domains:
        raise ValueError(f"{cls.__name__}.define: asks for nothing; write ask('units', Int(8, 64))")
    return domains, defaults, points


def _fields(cls: type) -> tuple[dataclasses.Field[Any], ...]:
    found: Any = cls  # a dataclass
    return dataclasses.fields(found)


def _check(cls: type, name: Any, domain: Any, default: Any, fields: set[str]) -> None:
    told = f"{cls.__name__}.define: ask({name!r}, {domain!r})"
    plain = isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name)
    if not plain or "__" in name or name.startswith("_"):
        raise ValueError(
            f"{told}: the name becomes a field, so it must be a Python name without '__'; write "
            "f'units_{i}' in a loop"
        )
    if name not in fields and hasattr(cls, name) and name not in getattr(cls, "_asked", {}):
        raise ValueError(f"{told}: {cls.__name__} has {name!r} already; write another name")
    if not isinstance(domain, (Int, Float, Choice, Bool)):
        raise TypeError(f"{told}: must be an Int, Float, Choice or Bool")
    if domain.when is not None:
        raise ValueError(f"{told}: leave out when=; write an if around the call")
    if default is not None and not domain.contains(default):
        raise ValueError(f"{told}: the default {default!r} lies outside of the domain")


def _type_of(domain: Domain) -> Any:
    kinds: Mapping[type, Any] = {Int: int, Float: float, Bool: bool}
    return kinds.get(type(domain), Any)


def _values(domain: Domain) -> Sequence[Any]:
    """Return values to run `define` with: all of a discrete domain, if they are not many."""
    if isinstance(domain, Bool):
        return (False, True)
    if isinstance(domain, Choice):
        return tuple(domain.values)
    assert isinstance(domain, (Int, Float))
    if isinstance(domain, Int):
        if domain.log and domain.step is not None:
            found, value = [], domain.low
            while value <= domain.high:
                found.append(value)
                value *= domain.step
            return found
        every = range(domain.low, domain.high + 1, domain.step or 1)
        if len(every) <= MOST_LISTED:
            return every
        return sorted(
            {every[i * (len(every) - 1) // (MOST_LISTED - 1)] for i in range(MOST_LISTED)}
        )
    return (domain.low, (domain.low + domain.high) / 2, domain.high)


def _decides(domain: Domain) -> bool:
    return not isinstance(domain, Float) and len(_values(domain)) < MOST_LISTED


def _condition(
    cls: type, name: str, domains: Mapping[str, Domain], points: Sequence[Mapping[str, Any]]
) -> dict[str, tuple[Any, ...]] | None:
    """Return the condition under which a name is asked for; None: always.

    Raises:
        ValueError: it does not follow from single values of earlier names.
    """
    with_it = [point for point in points if name in point]
    if len(with_it) == len(points):
        return None
    found: dict[str, dict[Hashable, Any]] = {}
    for parent in domains:
        if parent == name:
            break  # names are in the order in which they were first asked for
        if not _decides(domains[parent]) or any(parent not in point for point in with_it):
            continue
        leading = {_key(point[parent]): point[parent] for point in with_it}
        if len(leading) < len(_values(domains[parent])):
            found[parent] = leading

    def holds(point: Mapping[str, Any], parents: Sequence[str]) -> bool:
        return all(p in point and _key(point[p]) in found[p] for p in parents)

    def exact(parents: Sequence[str]) -> bool:
        return all(holds(point, parents) == (name in point) for point in points)

    parents = [*reversed(found)]
    single = next(([parent] for parent in parents if exact([parent])), None)
    if single is None and not exact(parents):
        raise ValueError(
            f"{cls.__name__}.define: whether it asks for {name!r} must follow from values of "
            "choices, booleans or small integers before it, such as 'if kind == ...' or "
            "'range(n)', all of which must hold; give it a name of its own in each branch, or ask "
            "for it always"
        )
    chosen = single or parents
    for parent in list(chosen):
        fewer = [p for p in chosen if p != parent]
        if fewer and exact(fewer):
            chosen = fewer
    return {p: _sorted(found[p].values(), domains[p]) for p in chosen}


def _key(value: Any) -> Hashable:
    # 1 and True are different choices
    return (type(value), value) if isinstance(value, Hashable) else id(value)


def _sorted(leading: Any, domain: Domain) -> tuple[Any, ...]:
    keys = {_key(value) for value in leading}
    return tuple(value for value in _values(domain) if _key(value) in keys)
