"""The space of a search: the domains of an estimator's parameters, and points in it.

Responsible for collecting domains from annotated fields, and for drawing, listing and checking
points. Not for a space in keras-tuner (`proposers.keras_tuner`), nor for proposing points.

A point is a dict from parameter to value. It holds only active parameters: one whose condition does
not hold is left out, and the estimator keeps its own value for it.
"""

from __future__ import annotations

import ast
import dataclasses
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.hyperparameters import Bool, Choice, Domain, Drawn, Float, Int, Repeat
from trainer.utils.checks import did_you_mean, integer, python_scalar

LEVELS = 10  # number of values of a domain without steps in a grid

Point = dict[str, Any]

_PLAIN = (type(None), bool, int, float, str)  # types that JSON restores exactly


@dataclass(frozen=True)
class Space:
    """Domains by parameter; a parameter comes after those in its condition.

    Attributes:
        domains: at least one; of a list of spaces all values that a parameter may have.
        parts: the spaces of a list, each point lying in one of them; empty if there is one space.
    """

    domains: Mapping[str, Domain]
    parts: tuple[Space, ...] = ()

    @classmethod
    def of(cls, estimator: Any, space: Any = None) -> Space:
        """Return the space of an estimator.

        Args:
            estimator: a scikit-learn estimator; the annotated fields of Trainers in it, of their
                callbacks and of the steps of pipelines have domains.
            space: None for all of these; names, to search only these; or a dict from name to Int,
                Float, Choice, Bool, a list of values, or any frozen distribution of scipy.stats,
                to search these instead; or a list of such dicts, each a space of its own.

        Raises:
            TypeError, ValueError: an unknown name, an empty space, or something that is not a
                domain.
        """
        check_estimator(estimator)
        if isinstance(space, (list, tuple)) and any(isinstance(part, Mapping) for part in space):
            if not all(isinstance(part, Mapping) for part in space):
                raise TypeError(f"space={space!r}: must be dicts of domains only, or names only")
            parts = tuple(cls.of(estimator, part) for part in space)
            return parts[0] if len(parts) == 1 else cls(_merged(parts), parts)
        own = annotated(estimator)
        params = estimator.get_params(deep=True)
        if space is None:
            found = dict(own)
            if not found:
                raise ValueError(
                    f"space=None: {type(estimator).__name__} has no annotated domains; annotate a "
                    "field, `units: Annotated[int, Int(8, 64)] = 16`, or write "
                    'space={"learning_rate": Float(1e-4, 1e-1, log=True)}'
                )
        elif isinstance(space, str) or not isinstance(space, (Mapping, Sequence)):
            raise TypeError(f"space={space!r}: must be a dict of domains, or a list of names")
        elif isinstance(space, Mapping):
            found = {name: _domain(name, value) for name, value in space.items()}
        else:
            for name in space:
                if name not in own:
                    raise ValueError(
                        f"space=[{name!r}]: {type(estimator).__name__} has no domain of this "
                        f"name; {did_you_mean(name, own)}"
                    )
            found = {name: own[name] for name in space}
        if not found:
            raise ValueError("space is empty; write at least one domain")
        found = _expanded(found)
        for name in found:
            if field_of(name) not in params:
                raise ValueError(
                    f"space={{{name!r}: ...}}: {type(estimator).__name__} has no such parameter; "
                    f"{did_you_mean(name, params)}"
                )
        for name, domain in found.items():
            _check_step(name, domain)
        return cls(_ordered(_settled(found, params)))

    def active(self, point: Mapping[str, Any]) -> list[str]:
        """Return the parameters that matter, given the values of those before them."""
        if self.parts:
            return self.parts[self.part_of(point)].active(point)
        names: list[str] = []
        for name, domain in self.domains.items():
            if all(p in names and _among(point[p], v) for p, v in (domain.when or {}).items()):
                names.append(name)
        return names

    def is_active(self, name: str, point: Mapping[str, Any]) -> bool:
        """Whether a parameter matters, given the active parameters before it and their values."""
        conditions = (self.domains[name].when or {}).items()
        return all(p in point and _among(point[p], v) for p, v in conditions)

    def check(self, point: Mapping[str, Any]) -> Point:
        """Return the point if it lies in the space, without values of inactive parameters.

        Raises:
            ValueError: an unknown name, a missing one, or a value outside its domain.
        """
        for name in point:
            if name not in self.domains:
                raise ValueError(
                    f"{name}={point[name]!r}: the space has no such parameter; "
                    f"{did_you_mean(name, self.domains)}"
                )
        if self.parts:
            part = self.parts[self.part_of(point)]
            return part.check({name: point[name] for name in part.domains if name in point})
        checked: Point = {}
        for name, domain in self.domains.items():
            if not self.is_active(name, checked):
                continue
            if name not in point:
                raise ValueError(
                    f"{name}: the point {dict(point)!r} has no value for it; write one that lies "
                    f"in {domain!r}"
                )
            if not domain.contains(point[name]):
                raise ValueError(f"{name}={point[name]!r}: must lie in {domain!r}")
            checked[name] = python_scalar(point[name])
        return checked

    def part_of(self, point: Mapping[str, Any]) -> int:
        """Return in which of several spaces a point lies: the one that takes most of its values.

        Raises:
            ValueError: in none.
        """
        sizes: dict[int, int] = {}
        for i, part in enumerate(self.parts):
            try:
                sizes[i] = len(part.check({n: v for n, v in point.items() if n in part.domains}))
            except ValueError:
                continue
        if not sizes:
            raise ValueError(
                f"the point {dict(point)!r} lies in none of the {len(self.parts)} spaces"
            )
        return max(sizes, key=lambda i: (sizes[i], -i))

    def draw(self, generator: np.random.Generator) -> Point:
        """Draw a random point: each active parameter from its domain's distribution.

        Of several spaces each is drawn in proportion to its size if all are finite, as in
        scikit-learn, and all alike otherwise.
        """
        if self.parts:
            sizes = np.array([part.size for part in self.parts])
            shares = sizes / sizes.sum() if self.finite else None
            return self.parts[int(generator.choice(len(sizes), p=shares))].draw(generator)
        point: Point = {}
        for name, domain in self.domains.items():
            value = from_unit(domain, float(generator.random()))  # drawn for inactive ones too
            if self.is_active(name, point):
                point[name] = value
        return point

    def grid(self, levels: float = LEVELS) -> Iterator[Point]:
        """Return every combination once, the last parameter changing fastest.

        Args:
            levels: number of values of a domain without steps, or of a logarithmic Int that has
                more; infinity for all.

        Raises:
            TypeError, ValueError: levels is no whole number from 1 on.
        """
        if levels != math.inf:
            integer("levels", levels, low=1)
        if self.parts:
            return itertools.chain.from_iterable(part.grid(levels) for part in self.parts)
        return self._combinations(levels)

    def _combinations(self, levels: float) -> Iterator[Point]:
        seen = set()
        for values in itertools.product(*(listed(d, levels) for d in self.domains.values())):
            whole = dict(zip(self.domains, values, strict=True))
            point = {name: whole[name] for name in self.active(whole)}
            key = tuple((name, key_of(v)) for name, v in point.items())
            if key not in seen:
                seen.add(key)
                yield point

    def to_json(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """Return the point as JSON values: other objects as their index in the Choice."""
        written: dict[str, Any] = {}
        for name, value in point.items():
            domain, value = self.domains[name], python_scalar(value)
            if isinstance(domain, Choice) and type(value) not in _PLAIN:
                place = next(i for i, v in enumerate(domain.values) if v is value or same(v, value))
                written[name] = {"choice": place, "value": text_of(value)}
            else:
                written[name] = value
        return written

    def from_json(self, written: Mapping[str, Any]) -> Point:
        """Return the point that `to_json` wrote."""
        point: Point = {}
        for name, value in written.items():
            domain = self.domains[name]
            if isinstance(value, dict) and isinstance(domain, Choice):
                value = domain.values[value["choice"]]
            point[name] = value
        return point

    def described(self) -> dict[str, Any]:
        """Return the space as JSON values, from which `Space.recorded` makes it again."""
        if self.parts:
            return {"parts": [part.described() for part in self.parts]}
        return {
            "domains": [
                {"name": name, **self._described(domain)} for name, domain in self.domains.items()
            ]
        }

    def _described(self, domain: Domain) -> dict[str, Any]:
        found: dict[str, Any] = {"kind": type(domain).__name__}
        if isinstance(domain, Choice):
            found["values"] = [_written(value) for value in domain.values]
        elif isinstance(domain, (Int, Float)):
            found |= {n: getattr(domain, n) for n in ("low", "high", "step", "log")}
        elif isinstance(domain, Drawn):
            found |= _described_distribution(domain)
        when = {}
        for parent, wanted in (domain.when or {}).items():
            options = wanted if isinstance(wanted, tuple) else (wanted,)
            when[parent] = [self.to_json({parent: v})[parent] for v in options]
        return found | ({"when": when} if when else {})

    @classmethod
    def recorded(cls, description: Mapping[str, Any]) -> Space:
        """Return the space that `described` wrote, without the classes that it was made with.

        Values that JSON does not have are texts in it, lists and tuples of plain values excepted:
        a layer is known by its configuration, a function by its name.
        """
        if "parts" in description:
            parts = tuple(cls.recorded(part) for part in description["parts"])
            return of_parts(parts)
        space = cls({})
        found: dict[str, Domain] = {}
        for entry in description["domains"]:
            space = cls(found)  # a domain comes after those in its condition
            when = {
                parent: tuple(space.from_json({parent: v})[parent] for v in options)
                for parent, options in entry.get("when", {}).items()
            }
            found[entry["name"]] = _recorded_domain(entry, when or None)
        return cls(found)

    @property
    def finite(self) -> bool:
        """Whether there are finitely many points."""
        return self.size < math.inf

    @property
    def size(self) -> float:
        """The number of combinations of values, those of inactive parameters included."""
        if self.parts:
            return sum(part.size for part in self.parts)
        counts = [values(domain) for domain in self.domains.values()]
        return math.prod(math.inf if found is None else len(found) for found in counts)


def _merged(parts: Sequence[Space]) -> dict[str, Domain]:
    """Return for each parameter a domain with the values that it has in any of the spaces."""
    found: dict[str, Domain] = {}
    for name in dict.fromkeys(name for part in parts for name in part.domains):
        domains = [with_when(p.domains[name], {}) for p in parts if name in p.domains]
        listed = [values(domain) for domain in domains]
        numbers = [d for d in domains if isinstance(d, (Int, Float))]
        if all(domain == domains[0] for domain in domains):
            found[name] = domains[0]
        elif all(options is not None for options in listed):
            found[name] = _domain(name, [v for options in listed for v in options or ()])
        elif len(numbers) == len(domains):
            low, high = min(float(d.low) for d in numbers), max(float(d.high) for d in numbers)
            found[name] = Float(low, high, log=low > 0 and all(d.log for d in numbers))
        else:
            raise ValueError(
                f"space: {name!r} is a list of values in one dict and a range in another; write "
                "lists, or Float and Int, in all of them"
            )
    return found


def check_estimator(estimator: Any) -> None:
    """Refuse what is no estimator: a class, for example.

    Raises:
        TypeError: it has no get_params.
    """
    if isinstance(estimator, type):
        name = estimator.__name__
        raise TypeError(
            f"estimator={name}: must be an estimator with get_params, and is a class; write "
            f"{name}()"
        )
    if not hasattr(estimator, "get_params"):
        raise TypeError(
            f"estimator={estimator!r}: must be an estimator with get_params; write Classifier()"
        )


def field_of(name: str) -> str:
    """Return the parameter of an estimator that a name of a space belongs to."""
    return name.partition("[")[0]


def _expanded(found: Mapping[str, Domain]) -> dict[str, Domain]:
    """Return the domains with one for each value of each part of those that repeat."""
    expanded: dict[str, Domain] = {}
    for name, domain in found.items():
        if not isinstance(domain, Repeat):
            expanded[name] = domain
            continue
        expanded[name] = with_when(domain.count, domain.when or {})
        counts = values(domain.count) or ()
        for i in range(max(counts)):
            enough = tuple(count for count in counts if count > i)
            for key, part in domain.parts.items():
                inner = {f"{name}[{i}].{k}": v for k, v in (part.when or {}).items()}
                expanded[f"{name}[{i}].{key}"] = with_when(part, {name: enough} | inner)
    return expanded


def assembled(point: Mapping[str, Any]) -> dict[str, Any]:
    """Return a point as an estimator's set_params takes it: parts that repeat as tuples of dicts.

    Args:
        point: of a space; {"layers": 1, "layers[0].units": 8} becomes {"layers": ({"units": 8},)}.
    """
    repeated = {field_of(name) for name in point if "[" in name}
    made = {
        name: tuple({} for _ in range(value)) if name in repeated else value
        for name, value in point.items()
        if "[" not in name
    }
    for name, value in point.items():
        field, bracket, rest = name.partition("[")
        if bracket:
            place, _, key = rest.partition("].")
            made[field][int(place)][key] = value
    return made


def taken_apart(params: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """Return the parameters of an estimator by the names of a space: the reverse of `assembled`."""
    found = dict(params)
    for field in {field_of(name) for name in space.domains if "[" in name}:
        parts = params.get(field)
        if isinstance(parts, (tuple, list)):
            found[field] = len(parts)
            found |= {f"{field}[{i}].{k}": v for i, p in enumerate(parts) for k, v in p.items()}
    return found


def annotated(estimator: Any) -> dict[str, Domain]:
    """Return the domains declared by an estimator and its parts, by parameter name."""
    found: dict[str, Domain] = {}
    if hasattr(estimator, "search_space"):
        found |= estimator.search_space()
    for name, part in estimator.get_params(deep=True).items():
        if hasattr(part, "search_space") and not isinstance(part, type):
            found |= {f"{name}__{field}": domain for field, domain in part.search_space().items()}
    # in a part's condition the parent has its name within the part
    return {name: _prefixed(name, domain) for name, domain in found.items()}


def _prefixed(name: str, domain: Domain) -> Domain:
    prefix = name[: name.rfind("__") + 2] if "__" in name else ""
    return with_when(domain, {prefix + p: v for p, v in (domain.when or {}).items()})


def with_when(domain: Domain, when: Mapping[str, Any]) -> Domain:
    """Return the domain with another condition."""
    kept = dict(when) or None
    if isinstance(domain, Choice):
        return Choice(*domain.values, when=kept)
    if isinstance(domain, Bool):
        return Bool(when=kept)
    if isinstance(domain, Repeat):
        return Repeat(domain.count, when=kept, **domain.parts)
    assert isinstance(domain, (Int, Float, Drawn))
    return dataclasses.replace(domain, when=kept)


def _domain(name: Any, value: Any) -> Domain:
    if not isinstance(name, str):
        raise TypeError(
            f"space={{{name!r}: ...}}: must be the name of a parameter; write "
            "{'learning_rate': ...}"
        )
    if isinstance(value, Domain):
        return value
    if isinstance(value, (list, np.ndarray)) or (isinstance(value, tuple) and value):
        if len(value) == 0:
            raise ValueError(f"space={{{name!r}: []}}: an empty list; write at least one value")
        different: list[Any] = []
        for v in map(python_scalar, value):
            if not any(v is other or same(v, other) for other in different):
                different.append(v)
        return Choice(*different)
    kind = getattr(getattr(value, "dist", None), "name", None)
    if kind in ("loguniform", "reciprocal", "uniform", "randint"):
        low, high = value.support()
        if kind == "randint":
            return Int(int(low), int(high))
        return Float(float(low), float(high), log=kind != "uniform")
    if all(callable(getattr(value, m, None)) for m in ("ppf", "cdf", "support", "rvs")):
        return Drawn(value)
    raise TypeError(
        f"space={{{name!r}: {value!r}}}: must be Int, Float, Choice, Bool, a list of values or "
        "a frozen distribution of scipy.stats; write Float(0.1, 1.0), for example"
    )


def _check_step(name: str, domain: Domain) -> None:
    if isinstance(domain, (Int, Float)) and domain.step is not None:
        if domain.log:
            if domain.low < domain.high < domain.low * domain.step:
                raise ValueError(
                    f"{name}: {domain!r}: the first step, a factor of {domain.step:g}, already "
                    f"exceeds the end; write [{domain.low!r}] for this value alone"
                )
            return
        width = domain.high - domain.low
        if 0 < width < domain.step:
            raise ValueError(
                f"{name}: {domain!r}: the first step already exceeds the end; write a step of "
                f"{width:g} or less, or [{domain.low!r}] for this value alone"
            )


def _settled(found: dict[str, Domain], params: Mapping[str, Any]) -> dict[str, Domain]:
    """Settle conditions on parameters outside the space by the estimator's own values."""
    settled = {}
    dropped: set[str] = set()
    for name in _by_dependence(found):
        domain = found[name]
        inside = {}
        holds = True
        for parent, wanted in (domain.when or {}).items():
            if parent in dropped:
                holds = False
            elif parent in found:
                inside[parent] = _reachable(name, parent, wanted, found[parent])
            elif parent in params:
                holds = holds and _among(params[parent], wanted)
            else:
                raise ValueError(
                    f"{name}: when={dict(domain.when or {})!r} names {parent!r}, which is not a "
                    f"parameter; {did_you_mean(parent, params)}"
                )
        if holds:
            settled[name] = with_when(domain, inside)
        else:
            dropped.add(name)
    return settled


def _reachable(name: str, parent: str, wanted: Any, domain: Domain) -> tuple[Any, ...]:
    options = wanted if isinstance(wanted, tuple) else (wanted,)
    for value in options:
        if not domain.contains(value):
            raise ValueError(
                f"{name}: when={{{parent!r}: {wanted!r}}} can never hold: {parent} lies in "
                f"{domain!r}"
            )
    return options


def _by_dependence(found: Mapping[str, Domain]) -> list[str]:
    """Return the names sorted so that each comes after those in its condition."""
    order: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise ValueError(f"when: {' -> '.join([*above, name])} is a circle")
        for parent in found[name].when or {}:
            if parent in found:
                visit(parent, (*above, name))
        if name not in order:
            order.append(name)

    for name in found:
        visit(name, ())
    return order


def _ordered(found: dict[str, Domain]) -> dict[str, Domain]:
    return {name: found[name] for name in _by_dependence(found)}


def _among(value: Any, wanted: Any) -> bool:
    options = wanted if isinstance(wanted, tuple) else (wanted,)
    return any(same(value, option) for option in options)


def text_of(value: Any) -> str:
    """Return a value as text that is the same in every process: objects by configuration."""
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, (list, tuple)):
        inside = ", ".join(map(text_of, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside})"
    if hasattr(value, "__qualname__"):
        return str(value.__qualname__)
    if hasattr(value, "get_config"):
        config = {k: v for k, v in value.get_config().items() if k != "name" and v is not None}
        return (
            f"{type(value).__name__}({', '.join(f'{k}={_config(v)}' for k, v in config.items())})"
        )
    return " ".join(re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value)).split())


def _config(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"  # Keras keeps 0.01 as 0.009999999776482582
    if isinstance(value, dict) and "class_name" in value:
        inner = value.get("config") or {}
        return f"{value['class_name']}({', '.join(f'{k}={_config(v)}' for k, v in inner.items())})"
    return text_of(value)


def shown(value: Any) -> str:
    """Return a value as people read it: text without quotes, objects by configuration."""
    return str(value) if isinstance(value, (*_PLAIN, np.generic)) else text_of(value)


def described_domain(domain: Domain) -> str:
    """Return a domain as text that is the same in every process."""
    if not isinstance(domain, Choice) or all(isinstance(v, _PLAIN) for v in domain.values):
        return repr(domain)
    return f"Choice(when={domain.when!r}, values=({', '.join(map(text_of, domain.values))}))"


def _written(value: Any) -> Any:
    return value if isinstance(value, _PLAIN) else {"text": text_of(value)}


def _recorded_domain(entry: Mapping[str, Any], when: Mapping[str, Any] | None) -> Domain:
    kind = entry["kind"]
    if kind == "Choice":
        return Choice(*_told_apart([_read(value) for value in entry["values"]]), when=when)
    if kind == "Bool":
        return Bool(when=when)
    if kind == "Drawn" and entry["name_in_scipy"]:
        from scipy import stats

        named = getattr(stats, entry["name_in_scipy"], None)
        if isinstance(named, stats.rv_continuous | stats.rv_discrete):
            return Drawn(named(*entry["args"], **entry["kwds"]), when=when)
    if kind == "Drawn":
        return Float(entry["low"], entry["high"], when=when)
    if kind not in ("Int", "Float"):
        raise ValueError(f"a space has no domains of the kind {kind!r}")
    limits = {name: entry[name] for name in ("low", "high", "step", "log")}
    return (Int if kind == "Int" else Float)(**limits, when=when)


def _described_distribution(domain: Drawn) -> dict[str, Any]:
    """Return a distribution as scipy.stats knows it, and the range of nearly all of its values."""
    own = domain.distribution
    args, kwds = list(getattr(own, "args", ())), dict(getattr(own, "kwds", {}))
    plain = all(isinstance(v, (int, float)) for v in [*args, *kwds.values()])
    ends = zip(own.support(), own.ppf([1e-9, 1 - 1e-9]), strict=True)
    low, high = (float(end if math.isfinite(end) else near) for end, near in ends)
    found: dict[str, Any] = {"name_in_scipy": None, "low": low, "high": high}
    if plain:
        name = getattr(getattr(own, "dist", None), "name", None)
        found |= {"name_in_scipy": name, "args": args, "kwds": kwds}
    return found


def _read(written: Any) -> Any:
    if not isinstance(written, dict):
        return written
    try:
        value = ast.literal_eval(written["text"])
    except (ValueError, SyntaxError):
        return written["text"]
    return value if isinstance(value, (list, tuple)) else written["text"]


def _told_apart(values: list[Any]) -> list[Any]:
    """Number the values if two of them are equal: objects with the same text."""
    if not any(same(v, other) for i, v in enumerate(values) for other in values[:i]):
        return values
    return [f"{i}: {text_of(value)}" for i, value in enumerate(values)]


def recorded_before(texts: Mapping[str, Any]) -> Space | None:
    """Return the space of a study that has only the texts of its domains, as until 0.2.

    Args:
        texts: of the domains by parameter; or of those of several spaces by their number.

    Returns:
        None if a text names objects of classes that are not known here.
    """
    if texts and all(isinstance(text, Mapping) for text in texts.values()):
        parts = tuple(recorded_before(part) for part in texts.values())
        known = tuple(part for part in parts if part is not None)
        return of_parts(known) if len(known) == len(parts) else None
    found: dict[str, Domain] = {}
    for name, text in texts.items():
        try:
            call = ast.parse(text, mode="eval").body
            assert isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
            given = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
        except (SyntaxError, ValueError, AssertionError):
            return None
        if call.func.id == "Choice":
            found[name] = Choice(*given["values"], when=given["when"])
        else:
            found[name] = {"Int": Int, "Float": Float, "Bool": Bool}[call.func.id](**given)
    return Space(found)


def of_parts(parts: tuple[Space, ...]) -> Space:
    """Return several spaces as one."""
    return Space(_merged(parts), parts)


def key_of(value: Any) -> Any:
    """Return what tells a value of a point from others: objects are what they are."""
    plain = isinstance(value, (*_PLAIN, np.generic))
    return (type(value).__name__, repr(value)) if plain else id(value)


def same(a: Any, b: Any) -> bool:
    """Whether two values of a parameter are the same; 1, 1.0 and True are different."""
    a, b = python_scalar(a), python_scalar(b)
    return type(a) is type(b) and bool(a == b)


# ---- one domain ----------------------------------------------------------------------------------


def values(domain: Domain) -> Sequence[Any] | None:
    """Return all values of a domain in order; None if there are infinitely many."""
    if isinstance(domain, Choice):
        return domain.values
    if isinstance(domain, Bool):
        return (False, True)
    if isinstance(domain, Drawn):
        return None
    if isinstance(domain, (Int, Float)) and domain.log and domain.step is not None:
        count = math.floor(math.log(domain.high / domain.low) / math.log(domain.step) + 1e-9)
        powers = [domain.low * domain.step**i for i in range(count + 1)]
        whole = isinstance(domain, Int)
        return [int(v) if whole else min(float(v), float(domain.high)) for v in powers]
    if isinstance(domain, Int):
        return range(int(domain.low), int(domain.high) + 1, int(domain.step or 1))
    assert isinstance(domain, Float)
    if domain.step is None:
        return (float(domain.low),) if domain.low == domain.high else None
    steps = math.floor((domain.high - domain.low) / domain.step + 1e-9)
    # each from the start, so that errors do not accumulate, and none above the end
    return [min(float(domain.low + i * domain.step), float(domain.high)) for i in range(steps + 1)]


def listed(domain: Domain, levels: float) -> list[Any]:
    """Return the values of a domain in a grid, in order.

    All of them if the domain has steps or at most `levels` values; otherwise `levels` evenly spaced
    values (by ratio if it is logarithmic), both ends included.
    """
    found = values(domain)
    if isinstance(domain, Drawn):
        count = int(levels)
        quantiles = [from_unit(domain, (i + 0.5) / count) for i in range(count)]
        return list(dict.fromkeys(quantiles))
    if isinstance(domain, (Int, Float)) and domain.step is None:
        if found is not None and len(found) <= levels:
            return list(found)
        count = int(levels)
        spread = (np.geomspace if domain.log else np.linspace)(domain.low, domain.high, count)
        if isinstance(domain, Float):
            return [float(domain.low), *spread[1:].tolist()[:-1], float(domain.high)][:count]
        return list(dict.fromkeys(spread.round().astype(int).tolist()))
    assert found is not None
    return list(found)


def from_unit(domain: Domain, u: float) -> Any:
    """Return the value at `u` in 0..1; a uniform `u` has the domain's distribution.

    In a logarithmic Int the whole number k has a share proportional to log((k + 1) / k).
    """
    if isinstance(domain, Drawn):
        # the ends of an open support are never drawn
        drawn = domain.distribution.ppf(min(max(u, 1e-12), 1 - 1e-12))
        return int(drawn) if domain.discrete else float(drawn)
    if isinstance(domain, Int) and domain.log and domain.step is None:
        low, high = math.log(domain.low), math.log(domain.high + 1)
        return min(max(int(math.exp(low + u * (high - low))), domain.low), domain.high)
    found = values(domain)
    if found is not None:
        return found[min(int(u * len(found)), len(found) - 1)]
    assert isinstance(domain, Float)
    if domain.log:
        low, high = math.log(domain.low), math.log(domain.high)
        return min(max(math.exp(low + u * (high - low)), domain.low), domain.high)
    return min(domain.low + u * (domain.high - domain.low), domain.high)


def to_unit(domain: Domain, value: Any) -> float:
    """Return a `u` for which `from_unit` returns the value: the middle of its share."""
    if isinstance(domain, Drawn):
        reached = float(domain.distribution.cdf(value))
        return reached - float(domain.distribution.pmf(value)) / 2 if domain.discrete else reached
    if isinstance(domain, Int) and domain.log and domain.step is None:
        low, high = math.log(domain.low), math.log(domain.high + 1)
        if high == low:
            return 0.5
        middle = (math.log(value) + math.log(value + 1)) / 2
        return (middle - low) / (high - low)
    found = values(domain)
    if found is not None:
        # a range finds the index of a number without a search
        near = found.index(value) if isinstance(found, range) else None
        index = next(i for i, v in enumerate(found) if _close(v, value)) if near is None else near
        return (index + 0.5) / len(found)
    assert isinstance(domain, Float)
    if domain.log:
        low, high = math.log(domain.low), math.log(domain.high)
        return (math.log(value) - low) / (high - low)
    return float((value - domain.low) / (domain.high - domain.low))


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
    return same(a, b)
