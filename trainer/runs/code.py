"""Digests of code: whether a run or a study resumes with the code that it started with.

Responsible for one short text for each method and function that an estimator brings with it. Not
for the values that it holds (`values`), nor for what is done when one has changed (`directory`,
and `search.study.folder`).

A digest is that of the syntax tree without docstrings; comments and layout are not in it. Code of
libraries has none: its version is recorded instead. Functions that are only called, and not
passed, have none either.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import linecache
import os
import re
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from trainer.network import given

OURS = ("trainer", "search")  # packages whose version is recorded
VALUE = "value of "  # what the names of values begin with, among those of code
_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def of(*values: Any) -> dict[str, str]:
    """Return the digests of the code that values bring with them.

    Args:
        values: estimators, functions, classes, or containers of these. The parameters of an
            estimator belong to it.

    Returns:
        A digest for each function and class attribute, by a name such as "Net.build_model".
    """
    found: dict[str, str] = {}
    seen: dict[int, Any] = {}  # the objects themselves, so that no address is used again
    for value in values:
        _collect(value, found, seen)
    return dict(sorted(found.items()))


def changes(earlier: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return what differs between two records, as "the code of Net.build_model changed".

    Args:
        earlier: The results of `of` and of `values.of`, in one, when the run or study began.
        now: The same, now. A value that was not recorded earlier is not compared: the code that
            brings it has changed too, or an earlier version recorded no values.
    """
    said = []
    for name in dict.fromkeys([*earlier, *now]):
        is_value = name.startswith(VALUE)
        if earlier.get(name) == now.get(name) or (is_value and name not in earlier):
            continue
        what = "changed" if name in earlier and name in now else "is new"
        subject = f"the {name}" if is_value else f"the code of {name}"
        said.append(f"{subject} {what if name in now else 'is gone'}")
    return said


def _collect(value: Any, found: dict[str, str], seen: dict[int, Any]) -> None:
    if isinstance(value, _PLAIN) or id(value) in seen:
        return
    seen[id(value)] = value
    if isinstance(value, type):
        for base in reversed(value.__mro__):
            if not of_library(base):
                _collect_class(base, found, seen)
    elif isinstance(value, types.FunctionType):
        # a decorator's function has the name and module of what it wraps, wherever it is from
        if not of_library(value) and not _installed(value.__code__.co_filename):
            _collect_function(value, found, seen)
        _collect(getattr(value, "__wrapped__", None), found, seen)
    else:
        for part in _parts(value):
            _collect(part, found, seen)


def _parts(value: Any) -> Iterable[Any]:
    """Return what may hold code in a container, or in an object and what it was made with."""
    if isinstance(value, types.MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, (list, tuple, set, frozenset)):
        return value
    if hasattr(value, "get_params"):
        return [type(value), *value.get_params(deep=False).values()]
    kept = getattr(value, "__dict__", {}).values()
    if isinstance(getattr(value, "python_function", None), types.FunctionType):
        kept = [value.python_function]  # of a tf.function
    # not the rest of an object of a library: it may be a network, or hold one
    code = (types.FunctionType, types.MethodType, functools.partial)
    own = [part for part in kept if isinstance(part, code) or not of_library(type(part))]
    if given.is_model(value):
        own += [part for _, part in given.own_parts(value)]
    return [type(value), *own]


def _collect_class(owner: type, found: dict[str, str], seen: dict[int, Any]) -> None:
    written = _assignments(owner)
    for name, text in written.items():
        _add(f"{owner.__qualname__}.{name}", text, found)
    for name, value in list(vars(owner).items()):
        if isinstance(value, (staticmethod, classmethod)):
            value = value.__func__
        if isinstance(value, property):
            for part in (value.fget, value.fset, value.fdel):
                _collect(part, found, seen)
        elif isinstance(value, functools.cached_property):
            _collect(value.func, found, seen)
        elif isinstance(value, (types.FunctionType, functools.partial)):
            _collect(value, found, seen)
        elif isinstance(value, type):
            if value.__qualname__.startswith(f"{owner.__qualname__}."):
                _collect(value, found, seen)
        elif isinstance(getattr(value, "python_function", None), types.FunctionType):
            _collect(value, found, seen)
        elif not name.startswith("__") and isinstance(value, _PLAIN) and not written:
            _add(f"{owner.__qualname__}.{name}", repr(value), found)


def _collect_function(
    function: types.FunctionType, found: dict[str, str], seen: dict[int, Any]
) -> None:
    texts = [_tree(function)]
    names = function.__code__.co_freevars
    for name, cell in zip(names, function.__closure__ or (), strict=True):
        try:
            kept = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
        if is_plain(kept):
            texts.append(f"{name}={as_text(kept)}")
        elif name != "__class__":
            _collect(kept, found, seen)
    for default in (function.__defaults__, function.__kwdefaults__):
        if default and is_plain(default):
            texts.append(as_text(default))
        else:
            _collect(default, found, seen)
    _add(function.__qualname__, "\n".join(texts), found)


def _add(name: str, text: str, found: dict[str, str]) -> None:
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    earlier = found.get(name, "").split(" ") if name in found else []
    # two of one name, such as lambdas
    found[name] = " ".join(sorted({*earlier, digest}))


def is_plain(value: Any) -> bool:
    """Return whether a value is a number, text, or a container of these."""
    if isinstance(value, Mapping):
        return all(map(is_plain, value)) and all(map(is_plain, value.values()))
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(map(is_plain, value))
    return isinstance(value, _PLAIN)


def as_text(value: Any) -> str:
    """Return a plain value as text that is the same in every process."""
    if isinstance(value, (set, frozenset)):  # their order differs between processes
        return repr(sorted(map(repr, value)))
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}({', '.join(map(as_text, value))})"
    if isinstance(value, Mapping):
        return f"dict({', '.join(f'{k!r}: {as_text(v)}' for k, v in value.items())})"
    return repr(value)


# ---- source ------------------------------------------------------------------------------------


def _tree(function: types.FunctionType) -> str:
    """Return a function's syntax tree as text; its instructions where there is no source."""
    code = function.__code__
    linecache.checkcache(code.co_filename)
    source = "".join(linecache.getlines(code.co_filename, function.__globals__))
    nodes = _nodes(source)
    # the file may differ from what is loaded: it may be edited while a notebook is running
    if source and code in _codes(source, code.co_filename):
        name = "" if code.co_name == "<lambda>" else code.co_name
        trees = nodes.get((code.co_firstlineno, name), [])
        if trees:
            return "\n".join(trees)
    return _instructions(code)


@functools.lru_cache(maxsize=32)
def _nodes(source: str) -> dict[tuple[int, str], list[str]]:
    """The text of each function in a file, by its first line and name ("" for a lambda)."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return {}
    found: dict[tuple[int, str], list[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            body = node.body
            first = body[0].value if isinstance(body[0], ast.Expr) else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                node.body = body[1:] or [ast.Pass()]
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            line = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            found.setdefault((line, node.name), []).append(ast.unparse(node))
        elif isinstance(node, ast.Lambda):
            found.setdefault((node.lineno, ""), []).append(ast.unparse(node))
    return found


def _assignments(owner: type) -> dict[str, str]:
    """Return what a class assigns to its attributes, as its source says: values may change.

    Nothing where there is no source of what is loaded.
    """
    codes = [f.__code__ for f in vars(owner).values() if isinstance(f, types.FunctionType)]
    module = sys.modules.get(owner.__module__)
    files = [code.co_filename for code in codes] or [getattr(module, "__file__", None) or ""]
    for file in dict.fromkeys(files):
        linecache.checkcache(file)
        source = "".join(linecache.getlines(file, getattr(module, "__dict__", None)))
        own = [code for code in codes if code.co_filename == file]
        if not source or (own and not _codes(source, file).issuperset(own)):
            continue
        found = _bodies(source).get(owner.__qualname__.replace("<locals>.", ""))
        if found is not None:
            return found
    return {}


@functools.lru_cache(maxsize=32)
def _bodies(source: str) -> dict[str, dict[str, str]]:
    """The assignments in each class of a file, by the names of what it is in and its own."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return {}
    found: dict[str, dict[str, str]] = {}

    def visit(node: ast.AST, place: str) -> None:
        for part in ast.iter_child_nodes(node):
            if not isinstance(part, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                visit(part, place)
                continue
            name = f"{place}{part.name}"
            if isinstance(part, ast.ClassDef):
                found[name] = {}
                for line in part.body:
                    if isinstance(line, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
                        targets = line.targets if isinstance(line, ast.Assign) else [line.target]
                        for target in map(ast.unparse, targets):
                            found[name][target] = ast.unparse(line)
            visit(part, f"{name}.")

    visit(tree, "")
    return found


@functools.lru_cache(maxsize=32)
def _codes(source: str, filename: str) -> frozenset[types.CodeType]:
    try:
        module = compile(source, filename, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return frozenset()
    return frozenset(_within(module))


def _within(code: types.CodeType) -> Iterator[types.CodeType]:
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield part
            yield from _within(part)


def _instructions(code: types.CodeType) -> str:
    """What a compiled function does, which another version of Python compiles otherwise."""
    import dis

    lines = [f"Python {sys.version_info.major}.{sys.version_info.minor}"]
    for step in dis.get_instructions(code):
        if isinstance(step.argval, types.CodeType):
            lines.append(_instructions(step.argval))
        else:
            lines.append(_ADDRESS.sub("", f"{step.opname} {step.argrepr}"))
    return "\n".join(lines)


def of_library(value: Any) -> bool:
    """Whether a class or function comes with Python, a package, or this library."""
    name = getattr(value, "__module__", None) or "builtins"
    root = name.partition(".")[0]
    if root == "__main__":
        return False
    if root in OURS:
        return True
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if file is None:
        return module is not None and getattr(module, "__spec__", None) is not None
    return _installed(file)


@functools.cache
def _installed(file: str) -> bool:
    path = Path(os.path.realpath(file))
    if {"site-packages", "dist-packages"} & set(path.parts):
        return True
    return any(
        path.is_relative_to(os.path.realpath(sysconfig.get_path(kind)))
        for kind in ("stdlib", "platstdlib")
    )
