"""A space as keras-tuner's hyperparameters, with values that read well in its summaries.

Responsible for expressing a domain in keras-tuner without changing its distribution, and for
reading the values back exactly. Not for our own searches, whose values are not shown in keras-tuner
(`proposers.keras_tuner`).
"""

from __future__ import annotations

import math
from typing import Any

from search.space import Space, from_unit, same, to_unit, values
from trainer.hyperparameters import Bool, Domain, Drawn, Float, Int


def register(hp: Any, name: str, domain: Domain, default: Any) -> None:
    """Register a domain in keras-tuner as the same kind if that is exact, or as a Choice.

    keras-tuner's Float with a step may miss the last value, and its Choice accepts neither None nor
    mixed types and turns booleans into numbers: these become choices of numbers or of text.
    """
    kept = {"default": _encoded(domain, default)} if domain.contains(default) else {}
    sampling = "log" if getattr(domain, "log", False) else "linear"
    if isinstance(domain, Bool):
        hp.Boolean(name, **kept)
    elif isinstance(domain, Int):
        # its logarithmic Int has our distribution, and its step is a factor, as ours is
        reached = values(domain)
        assert reached is not None
        step = domain.step if domain.log else int(domain.step or 1)
        hp.Int(name, int(domain.low), int(reached[-1]), step=step, sampling=sampling, **kept)
    elif isinstance(domain, Float) and domain.step is None:
        hp.Float(name, domain.low, domain.high, sampling=sampling, **kept)
    elif isinstance(domain, Drawn):
        hp.Float(name, 0.0, 1.0, **kept)  # the quantile
    else:
        hp.Choice(name, _options(domain), **kept)


def _options(domain: Domain) -> list[Any]:
    """Return the values of a finite domain as keras-tuner's Choice takes them, in order."""
    found = list(values(domain) or ())
    if len({type(v) for v in found}) == 1 and type(found[0]) in (str, int, float):
        return found
    texts = [repr(v) for v in found]
    if len(set(texts)) < len(texts):
        texts = [f"{i}: {text}" for i, text in enumerate(texts)]
    return texts


def _encoded(domain: Domain, value: Any) -> Any:
    """Return a value of the domain as keras-tuner represents it."""
    if isinstance(domain, Bool):
        return value
    if isinstance(domain, Int):
        return int(value)
    if isinstance(domain, Float) and domain.step is None:
        return float(value)
    if isinstance(domain, Drawn):
        return to_unit(domain, value)
    if isinstance(domain, Float):
        return min(_options(domain), key=lambda v: abs(v - value))
    listed = values(domain) or ()
    return _options(domain)[next(i for i, v in enumerate(listed) if same(v, value))]


def decoded(domain: Domain, value: Any) -> Any:
    """Return a value of keras-tuner as the Trainer takes it."""
    if isinstance(domain, Bool):
        return value
    if isinstance(domain, Drawn):
        return from_unit(domain, float(value))
    if isinstance(domain, (Int, Float)):
        # rounding may push it beyond an end, and an Int to one above the last value
        last = domain.high + 1 if isinstance(domain, Int) and domain.log else domain.high
        for end, reached in ((domain.low, domain.low), (last, domain.high)):
            if math.isclose(value, end, rel_tol=1e-12):
                value = reached
        return int(value) if isinstance(domain, Int) else float(value)
    options = _options(domain)
    if value not in options:
        raise ValueError(f"{value!r}: must be one of {options!r}")
    return (values(domain) or ())[options.index(value)]


def conditions(space: Space, name: str) -> dict[str, list[Any]] | None:
    """Return, by parameter, the values that keras-tuner must have chosen for this one to be active.

    The conditions of the parents are included: keras-tuner tries to make each condition hold in
    turn, and would try forever if one depended on another that it does not know.

    Returns:
        None if they can never hold.
    """
    accepted: dict[str, list[Any]] = {}
    for parent, wanted in (space.domains[name].when or {}).items():
        above = conditions(space, parent)
        if above is None:
            return None
        domain = space.domains[parent]
        listed = values(domain)
        own = [
            _encoded(domain, option)
            for option in (wanted if isinstance(wanted, tuple) else (wanted,))
            if (any(same(v, option) for v in listed) if listed is not None else True)
        ]
        for ancestor, options in (*above.items(), (parent, own)):
            both = [v for v in options if v in accepted.get(ancestor, options)]
            if not both:
                return None
            accepted[ancestor] = both
    return {n: accepted[n] for n in space.domains if n in accepted}
