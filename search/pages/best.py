"""The best configuration of a study, as a table, as Python and as YAML for `trainer fit`.

Responsible for text that can be copied and run: a value that cannot be written as a literal or in a
file is described in a comment.
"""

from __future__ import annotations

import keyword
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.reports import summary
from search.reports.results import column
from search.space import Space, assembled, shown

if TYPE_CHECKING:
    import pandas as pd

_PLAIN = (str, int, float, bool)
_OWN = ("Classifier", "Regressor")  # the classes that `trainer fit` knows by name


@dataclass(frozen=True)
class Best:
    """The configuration of the best trial.

    Attributes:
        trial: Its number.
        params: Its parameters as text.
        code: Python that makes the estimator.
        yaml: The same for `trainer fit --config`, if the class is one that the command line knows;
            otherwise the parameters alone.
        for_fit: Whether it is for `trainer fit`.
    """

    trial: int
    params: list[tuple[str, str]]
    code: str
    yaml: str
    for_fit: bool


def described(space: Space, description: Mapping[str, Any], first: pd.DataFrame) -> Best | None:
    """Return the configuration of the best trial.

    Args:
        space: of the study.
        description: what the search wrote about itself.
        first: the row of the best trial; empty if none has a score.
    """
    if not len(first):
        return None
    row = first.iloc[0]
    found = {n: row[column(n)] for n in space.domains if column(n) in first}
    point = {n: _plain(v) for n, v in found.items() if not _is_missing(space, n, v)}
    params = assembled(point)
    estimator = dict(description.get("estimator") or {})
    cls = str(estimator.pop("class", ""))
    fixed = {n: v for n, v in estimator.items() if v is not None and n not in params}
    yaml, for_fit = _as_yaml(cls, fixed, params)
    return Best(
        int(row.trial),
        [(summary.one_line(n), summary.one_line(shown(v))) for n, v in point.items()],
        _as_code(cls, fixed, params),
        yaml,
        for_fit,
    )


def _is_missing(space: Space, name: str, value: Any) -> bool:
    """Whether a condition switched a parameter off; None may also be one of its values."""
    if value is None:
        return not space.domains[name].contains(None)
    return isinstance(value, float) and math.isnan(value)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _is_plain(value: Any) -> bool:
    """Whether YAML and a literal of Python can hold a value."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return "class" not in value and all(
            isinstance(k, str) and _is_plain(v) for k, v in value.items()
        )
    return value is None or isinstance(value, _PLAIN)


def _literal(value: Any) -> str:
    """Return a plain value as Python reads it; there is no literal of infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"float({str(value)!r})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k!r}: {_literal(v)}' for k, v in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(_literal, value))}{',' if len(value) == 1 else ''})"
    return repr(value)


def _as_code(cls: str, fixed: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    lines = []
    if cls in _OWN and all(map(_is_plain, fixed.values())):
        lines += [f"from trainer import {cls}", "", f"estimator = {cls}("]
        lines += [f"    {name}={_literal(value)}," for name, value in fixed.items()]
        lines += [")"]
    else:
        lines += [f"# estimator: the {cls or 'estimator'} that was given to the search"]
    lines += ["estimator.set_params("]
    nested = []
    for name, value in params.items():
        shortly = summary.one_line(shown(value))
        written = _literal(value) if _is_plain(value) else f"...,  # {shortly}"
        end = "" if written.startswith("...") else ","
        if name.isidentifier() and not keyword.iskeyword(name):
            lines.append(f"    {name}={written}{end}")
        else:
            nested.append(f"        {name!r}: {written}{end}")
    if nested:
        lines += ["    **{", *nested, "    },"]
    return "\n".join([*lines, ")"])


def _as_yaml(cls: str, fixed: Mapping[str, Any], params: Mapping[str, Any]) -> tuple[str, bool]:
    import yaml

    left: list[str] = []
    fields: dict[str, Any] = dict(params)
    if cls in _OWN:
        fields = {n: v for n, v in fixed.items() if _is_plain(v)}
        left += [n for n, v in fixed.items() if not _is_plain(v)]
        for name, value in params.items():
            if not _set(fields, name, value):
                left.append(name)
    left += [n for n, v in fields.items() if not _is_plain(v)]
    known = {n: _listed(v) for n, v in fields.items() if _is_plain(v)}
    if cls in _OWN:
        known = {"trainer": cls, **known}
    text: str = yaml.safe_dump(known, sort_keys=False, allow_unicode=True, default_flow_style=False)
    said = [f"# {summary.one_line(n)}: is not a value that a file can name\n" for n in left]
    return "".join([*said, text]).rstrip(), cls in _OWN


def _set(fields: dict[str, Any], name: str, value: Any) -> bool:
    """Set a parameter, nested ones as the fields that `trainer fit` takes: {name: mlp, hidden: 8}.

    Returns:
        Whether that is possible.
    """
    field, _, rest = name.partition("__")
    if not rest:
        fields[name] = value
        return True
    whole = fields.get(field)
    if field == "model" and "__" not in rest and isinstance(whole, (str, dict)):
        own = {"name": whole} if isinstance(whole, str) else whole
        fields[field] = {**own, rest: value}
        return True
    part, _, key = rest.partition("__")
    if not isinstance(whole, list) or not key or "__" in key:
        return False
    for i, each in enumerate(whole):
        own = {"name": each} if isinstance(each, str) else each
        if isinstance(own, dict) and own.get("name") == part:
            fields[field] = [*whole[:i], {**own, key: value}, *whole[i + 1 :]]
            return True
    return False


def _listed(value: Any) -> Any:
    """Return tuples as lists, which YAML has."""
    if isinstance(value, (list, tuple)):
        return [_listed(v) for v in value]
    if isinstance(value, dict):
        return {k: _listed(v) for k, v in value.items()}
    return value


__all__ = ["Best", "described"]
