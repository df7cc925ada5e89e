"""The arguments of commands: written out, or read from the fields of a class.

Responsible for names, types, defaults and help. The fields of the library's own classes are read
from their source, because importing the classes takes longer than a help text may; those of a class
of the user's are read from the class.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

_TYPES = {"Any": Any, "Path": str, "str": str, "int": int, "float": float, "bool": bool}
_SECTIONS = r"\n\s*(?:Args|Attributes):\n"
REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True)
class Argument:
    """An argument of a command.

    Attributes:
        name: Of the flag, without the dashes; or of a positional argument, in capitals.
        kind: Its type.
        help: What it means.
        default: The value if it is left out; REQUIRED if it must not be.
        choices: The values that it may have, or None for all of its type.
        flag: Whether it is a switch without a value.
        many: Whether it is a positional argument that takes any number of values.
    """

    name: str
    kind: Any
    help: str
    default: Any = REQUIRED
    choices: tuple[str, ...] | None = None
    flag: bool = False
    many: bool = False

    @property
    def shown(self) -> str:
        """Its type in words."""
        if self.choices is not None:
            return f"one of {', '.join(self.choices)}"
        names = {"int": "a whole number", "float": "a number", "bool": "true or false"}
        kinds = typing.get_args(self.kind) or (self.kind,)
        words = [
            "null" if kind is type(None) else names.get(kind.__name__, "text")
            for kind in kinds
            if hasattr(kind, "__name__")
        ]
        return " or ".join(dict.fromkeys(words)) or "a value"

    def add_to(self, parser: ArgumentParser) -> None:
        """Add it to a parser."""
        text = self.help  # jsonargparse's formatter leaves percent signs as they are
        if self.flag:
            parser.add_argument(f"--{self.name}", action="store_true", help=text)
        elif self.name.isupper():
            some: dict[str, Any] = {"nargs": "*", "default": []} if self.many else {}
            if not self.many and self.default is not REQUIRED:
                some = {"nargs": "?", "default": self.default}
            kind = typing.Literal[self.choices] if self.choices else self.kind
            parser.add_argument(self.name, type=kind, help=text, **some)
        elif self.default is REQUIRED:
            parser.add_argument(f"--{self.name}", type=self.kind, required=True, help=text)
        else:
            kind = typing.Literal[self.choices] if self.choices else self.kind
            default = list(self.default) if isinstance(self.default, tuple) else self.default
            try:
                parser.add_argument(f"--{self.name}", type=kind, default=default, help=text)
            except ValueError:  # a type that jsonargparse cannot parse, such as a class of Keras
                parser.add_argument(f"--{self.name}", type=Any, default=default, help=text)


def of_class(cls: type) -> list[Argument]:
    """Return the fields of a Trainer's class.

    Args:
        cls: A dataclass, as every subclass of Trainer is.
    """
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        texts |= described(inspect.getdoc(base) or "")
    hints = typing.get_type_hints(cls)
    found = []
    for field in dataclasses.fields(cls):
        made = field.default_factory
        default = field.default if made is dataclasses.MISSING else made()
        kind = _parsable(hints.get(field.name, Any))
        found.append(Argument(field.name, kind, texts.get(field.name, ""), default))
    return found


def _parsable(hint: Any) -> Any:
    """Return a type that can be read from a command line; Any for others."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    kinds = typing.get_args(hint) if union else (hint,)
    if not all(kind in (int, float, str, bool, type(None), Path) for kind in kinds):
        return Any
    found: Any = None
    for kind in kinds:
        plain = str if kind is Path else kind
        found = plain if found is None else found | plain
    return found


def of_source(*places: tuple[str, str]) -> list[Argument]:
    """Return the fields or arguments of classes, from their source, without importing them.

    Args:
        *places: The module and name of each class; the later ones replace fields of the earlier.
    """
    found: dict[str, Argument] = {}
    for module, name in places:
        node = _class(module, name)
        texts = described(ast.get_docstring(node) or "")
        found |= {a.name: a for a in _of_body(node, texts)}
    return list(found.values())


def summary_of(module: str, name: str) -> str:
    """Return the first sentence of a class' docstring, without importing it."""
    text = ast.get_docstring(_class(module, name)) or ""
    first = " ".join(text.split("\n\n")[0].split())
    end = r"(?<=\.)(?<!et al\.)\s|: "  # of a sentence
    return re.split(end, first)[0].rstrip(".:")


@cache
def _class(module: str, name: str) -> ast.ClassDef:
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text("utf-8"))
    return next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)


def _of_body(node: ast.ClassDef, texts: Mapping[str, str]) -> Iterable[Argument]:
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            kind = ast.unparse(part.annotation)
            # without a value it is only declared
            if (
                part.value is not None
                and not part.target.id.startswith("_")
                and (not kind.startswith("ClassVar"))
            ):
                name = part.target.id
                default = ast.literal_eval(part.value)
                yield Argument(name, _evaluated(kind), texts.get(name, ""), default)
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            yield from _of_init(part.args, texts)


def _of_init(arguments: ast.arguments, texts: Mapping[str, str]) -> Iterable[Argument]:
    for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        assert argument.annotation is not None
        default = REQUIRED if value is None else ast.literal_eval(value)
        kind = _evaluated(ast.unparse(argument.annotation))
        yield Argument(argument.arg, kind, texts.get(argument.arg, ""), default)


def _evaluated(annotation: str) -> Any:
    found: Any = None
    for name in annotation.split(" | "):
        kind = type(None) if name == "None" else _TYPES.get(name, Any)
        if kind is Any:
            return Any
        found = kind if found is None else found | kind
    return found


def described(docstring: str) -> dict[str, str]:
    """Return what a docstring in Google's style says of each argument or attribute."""
    parts = re.split(_SECTIONS, "\n" + inspect.cleandoc(docstring))
    found: dict[str, str] = {}
    for part in parts[1:]:
        lines = textwrap.dedent(re.split(r"\n\n?(?=\S)", part.rstrip())[0]).splitlines()
        name = ""
        for line in lines:
            entry = re.match(r"(\w+): (.*)", line)
            if entry:
                name = entry[1]
                found[name] = entry[2].strip()
            elif name and line.strip():
                found[name] += " " + line.strip()
    return found


def words(*arguments: Argument | Sequence[Argument]) -> list[Argument]:
    """Return arguments and lists of these as one list."""
    found: list[Argument] = []
    for one in arguments:
        found += [one] if isinstance(one, Argument) else one
    return found
